"""If this fails, lengths are not those that `--tokenizer` must count, or a result does not say that it counted them."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from command import Run, start
from samples import ROOT, lines
from word_counter import write_tokenizer

from budget_cli.sources import blocks

pytest.importorskip("tokenizers")

# tokens: 3, 1, 5 (a comma and a full stop are one each), 2; the file's <s> is not counted
OUTPUTS = ["one two three", "one", "one, two three.", "unknown words"]
VERL = [
    {"input": "q", "output": output, "score": score, "step": 1, "uid": f"u_{number}_0"}
    for number, (output, score) in enumerate(zip(OUTPUTS, [1.0, 0.0, 1.0, 0.0], strict=True))
]
# excess over 2: 1, 0, 3, 0; adjusted with 0.1: 0.9, 0, 0.7, 0, mean 0.4; squares 0.25, 0.16, 0.09, 0.16
LOSS = 0.165
ARGUMENTS = ("-B", "2", "--beta", "0.1", "--kl-coef", "0", "--tokenizer", "tokenizer.json")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_tokenizer(tmp_path / "tokenizer.json")
    (tmp_path / "verl.jsonl").write_bytes(lines(VERL))
    return tmp_path


def answer(run: Run, folder: Path, *arguments: str, command: str = "loss", exits: int = 0) -> dict[str, Any]:
    done = run(command, *arguments, "-f", "json", cwd=folder)
    assert done.returncode == exits, done.stderr.decode()
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_the_responses_of_verl_get_the_number_of_tokens_of_their_texts(budget_cli: Run, folder: Path) -> None:
    result = answer(budget_cli, folder, "verl.jsonl", *ARGUMENTS)
    assert (result["loss"], result["length"]["mean"], result["length"]["max"]) == (LOSS, 2.75, 5)
    assert (result["lengths_from"], result["length_origins"]) == (
        "tokenizer",
        {"field": 0, "tokens": 0, "tokenizer": 4},
    )
    assert result["tokenizer"].rpartition("@")[0] == "tokenizer.json"


TRL = ("--reward-weights", "accuracy_reward=1,format_reward=1")
SWIFT = ("--reward-weights", "Accuracy=1,Format=0.5")
WITHOUT_LENGTHS = [  # a dump, its tokens in all counted by hand, and what else it needs
    ("verl-v0.jsonl", 20, ()),  # 5 + 2 + 1 + 6 + 1 + 5
    ("trl.parquet", 35, TRL),  # 12 + 12 + 10 + 1: < think > 7 * 6 is 42 </ think > 42
    ("ms-swift.jsonl", 6, SWIFT),
    ("ms-swift-ray.jsonl", 6, ()),  # "Yes." is two
    ("skyrl-eval.jsonl", 4, ()),
    ("agent-lightning.jsonl", 5, ()),
    ("verifiers-2025.jsonl", 4, ()),
    ("agent-r1.jsonl", 22, ()),  # of the steps of a trajectory the sum: 6 + 1, 1, 6 + 6, 2
    ("rllm.json", 3, ()),  # of the steps of a trajectory the sum
    ("art.jsonl", 6, ()),
    ("art-parquet.parquet", 5, ()),
    ("oat.json", 5, ()),
]


@pytest.mark.parametrize(("name", "tokens", "more"), WITHOUT_LENGTHS)
def test_presets_without_lengths_know_where_the_text_is(
    budget_cli: Run, folder: Path, name: str, tokens: int, more: tuple[str, ...]
) -> None:
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow")
    result = answer(budget_cli, folder, str(ROOT / "tests" / "dumps" / name), *ARGUMENTS, *more)
    assert result["length"]["mean"] * result["responses"] == pytest.approx(tokens, abs=1e-3)
    assert result["length_origins"] == {"field": 0, "tokens": 0, "tokenizer": result["responses"]}


def test_the_refusal_names_the_tokenizer_as_a_way_out_and_it_works(budget_cli: Run, folder: Path) -> None:
    done = budget_cli("loss", "verl.jsonl", "-B", "2", "--kl-coef", "0", cwd=folder)
    assert done.returncode == 2
    assert (
        b"has no response_length: give --budget-penalty-coef 0 to do without, or --tokenizer path/to/tokenizer.json in"
        b" place of --budget-penalty-coef 0 to count the tokens of the responses" in done.stderr
    )
    assert budget_cli("loss", "verl.jsonl", *ARGUMENTS, cwd=folder).returncode == 0


def test_screen_page_check_and_sweep_say_where_lengths_come_from(budget_cli: Run, folder: Path) -> None:
    screen = budget_cli("loss", "verl.jsonl", *ARGUMENTS, cwd=folder)
    assert b"\n  lengths from     the texts, counted by tokenizer.json@" in screen.stdout
    assert b"lengths are" not in screen.stderr
    assert "response_length←tokens of output" in screen.stderr.decode()
    checked = budget_cli("check", "verl.jsonl", *ARGUMENTS, cwd=folder)
    assert b"lengths   from the texts, counted by tokenizer.json@" in checked.stdout
    assert b"no lengths" not in checked.stdout
    swept = budget_cli("sweep", "verl.jsonl", "-B", "2,3", "--kl-coef", "0", *ARGUMENTS[-2:], cwd=folder)
    assert b"lengths are from the texts, counted by tokenizer.json@" in swept.stdout
    for command in ("check", "loss"):
        assert answer(budget_cli, folder, "verl.jsonl", *ARGUMENTS, command=command)["lengths_from"] == "tokenizer"
    csv = budget_cli("loss", "verl.jsonl", *ARGUMENTS, "-f", "csv", cwd=folder)
    assert b"verl.jsonl: lengths are from the texts, counted by tokenizer.json@" in csv.stderr
    pytest.importorskip("vl_convert")
    page = budget_cli("report", "verl.jsonl", *ARGUMENTS, cwd=folder)
    assert b"Lengths are from the texts, counted by tokenizer.json@" in page.stdout


def test_fields_names_the_tokenizer_and_misses_no_length_with_it(budget_cli: Run, folder: Path) -> None:
    without, counted = (
        answer(budget_cli, folder, "verl.jsonl", *more, command="fields") for more in ((), ARGUMENTS[-2:])
    )
    assert any("--tokenizer path/to/tokenizer.json" in line for line in without["cannot"])
    assert not any("--budget-penalty-coef" in line for line in counted["cannot"])
    lengths = [next(f for f in each["fields"] if f["name"] == "response_length") for each in (without, counted)]
    assert [(one["place"], one["samples"] > 0) for one in lengths] == [(None, False), ("tokens of output", True)]
    assert ("output" in without["unused"], "output" in counted["unused"]) == (True, False)


def test_a_mixture_is_named_with_its_counts(budget_cli: Run, folder: Path) -> None:
    record = {"prompt_id": "p", "reward": 1.0, "response_text": "one two"}
    records = [
        record,
        record | {"response_length": 9},
        record | {"log_prob": [-1.0]},
        record | {"response_length": None},
    ]
    (folder / "mixed.jsonl").write_bytes(lines(records))
    result = answer(budget_cli, folder, "mixed.jsonl", *ARGUMENTS)
    assert (result["lengths_from"], result["length_origins"]) == ("mixed", {"field": 1, "tokens": 1, "tokenizer": 2})
    screen = budget_cli("loss", "mixed.jsonl", *ARGUMENTS, cwd=folder).stdout.decode()
    assert "lengths from     1 from the field, 1 from log-probs, 2 from texts, counted by tokenizer.json@" in screen
    gated = budget_cli("loss", "mixed.jsonl", *ARGUMENTS, "--fail-if", "length_origins.tokenizer > 1", cwd=folder)
    assert gated.returncode == 1


def test_lengths_that_the_dump_has_are_kept_and_nothing_is_said(budget_cli: Run, folder: Path) -> None:
    record = {"prompt_id": "p", "reward": 1.0, "response_text": "one two", "response_length": 9}
    (folder / "a.jsonl").write_bytes(lines([record] * 3))
    result = answer(budget_cli, folder, "a.jsonl", *ARGUMENTS)
    assert (result["length"]["mean"], result["lengths_from"], result["tokenizer"]) == (9, "field", None)
    assert "lengths from" not in budget_cli("loss", "a.jsonl", *ARGUMENTS, cwd=folder).stdout.decode()


def test_by_says_for_each_row_where_its_lengths_come_from(budget_cli: Run, folder: Path) -> None:
    record = {"prompt_id": "p", "reward": 1.0, "response_text": "one two"}
    records = [record | {"env": "a"}, record | {"env": "b", "response_length": 1}]
    (folder / "a.jsonl").write_bytes(lines(records))
    rows = answer(budget_cli, folder, "a.jsonl", *ARGUMENTS, "--by", "env")["by"]
    assert [row["lengths_from"] for row in rows] == ["tokenizer", "field"]


def test_the_texts_of_the_rows_of_a_session_are_one_length(budget_cli: Run, folder: Path) -> None:
    first, second = VERL[0] | {"uid": "u_0_0"}, VERL[2] | {"uid": "u_0_1"}
    (folder / "sessions.jsonl").write_bytes(lines([first, second, VERL[1] | {"uid": "u_1_0"}]))
    for more in (), ("--by", "file"), ("--by", "step"):
        result = answer(budget_cli, folder, "sessions.jsonl", *ARGUMENTS, *more)
        assert (result["responses"], result["length"]["max"], result["length"]["min"]) == (2, 8, 1)
        assert result["length_origins"]["tokenizer"] == 2
        assert [row["length_origins"]["tokenizer"] for row in result.get("by", [])] == [2] * bool(more)


@pytest.mark.exhaustive
def test_the_result_is_the_same_for_any_number_of_jobs(folder: Path) -> None:
    text = " ".join(["one two three"] * 9000)
    with (folder / "long.jsonl").open("wb") as file:  # more than a block
        for number in range(250):
            file.write(lines([VERL[0] | {"uid": f"u{number % 7}_{number}_0", "output": text[: 160 * number + 3]}]))
    assert (folder / "long.jsonl").stat().st_size > blocks.BLOCK_BYTES * 1.1
    one, two = (start("loss", "long.jsonl", *ARGUMENTS, "-f", "json", "-j", jobs, cwd=folder) for jobs in "12")
    assert (one.returncode, one.stdout) == (0, two.stdout), one.stderr + two.stderr
    assert json.loads(one.stdout)["length_origins"]["tokenizer"] == 250


def test_a_tokenizer_that_truncates_and_pads_counts_all_tokens_and_only_those(budget_cli: Run, folder: Path) -> None:
    write_tokenizer(folder / "cut.json", max_length=3)
    result = answer(budget_cli, folder, "verl.jsonl", *ARGUMENTS[:-1], "cut.json")
    assert (result["loss"], result["length"]["min"], result["length"]["max"]) == (LOSS, 1, 5)


def test_annotate_takes_the_penalty_of_the_counted_length(budget_cli: Run, folder: Path) -> None:
    done = budget_cli("annotate", "verl.jsonl", *ARGUMENTS, cwd=folder)
    assert done.returncode == 0, done.stderr.decode()
    terms = [json.loads(line)["budget_cli"] for line in done.stdout.splitlines()]
    assert [round(each["penalty"], 9) for each in terms] == [0.1, 0, 0.3, 0]
    assert b"verl.jsonl: lengths are from the texts, counted by tokenizer.json@" in done.stderr


def test_a_summary_carries_the_origin_and_the_tokenizer(budget_cli: Run, folder: Path) -> None:
    assert budget_cli("summarize", "verl.jsonl", *ARGUMENTS, "-o", "a.summary.jsonl", cwd=folder).returncode == 0
    header = json.loads((folder / "a.summary.jsonl").read_bytes().splitlines()[0])
    ((label, count),) = header["length_origins"].items()
    assert (label.rpartition("@")[0], count) == ("tokenizer.json", 4)
    result = answer(budget_cli, folder, "a.summary.jsonl", *ARGUMENTS[:-2])
    assert (result["loss"], result["lengths_from"], result["tokenizer"]) == (LOSS, "tokenizer", label)


def test_lengths_of_two_tokenizers_are_not_combined(budget_cli: Run, folder: Path) -> None:
    write_tokenizer(folder / "other.json", ("one",))
    budget_cli("summarize", "verl.jsonl", *ARGUMENTS, "-o", "a.summary.jsonl", cwd=folder)
    (folder / "b.jsonl").write_bytes((folder / "verl.jsonl").read_bytes())
    budget_cli("summarize", "b.jsonl", *ARGUMENTS[:-1], "other.json", "-o", "b.summary.jsonl", cwd=folder)
    for files in (("a.summary.jsonl", "b.summary.jsonl"), ("a.summary.jsonl", "--tokenizer", "other.json")):
        done = budget_cli("loss", *files, *ARGUMENTS[:-2], cwd=folder)
        assert done.returncode == 2
        assert b"a token budget cannot be compared with both; summarize again with one tokenizer" in done.stderr
    (folder / "copy.json").write_bytes((folder / "tokenizer.json").read_bytes())
    same = ("a.summary.jsonl", *ARGUMENTS[:-1], "copy.json")
    assert answer(budget_cli, folder, *same)["loss"] == LOSS


def test_a_comparison_names_both_origins_of_lengths(budget_cli: Run, folder: Path) -> None:
    lengths = [record | {"response_length": 4} for record in VERL]
    (folder / "counted.jsonl").write_bytes(lines(lengths))
    more = ("--field", "response_length=response_length")
    done = budget_cli("compare", "counted.jsonl", "verl.jsonl", *ARGUMENTS, *more, cwd=folder)
    said = [line for line in done.stderr.decode().splitlines() if "lengths are from" in line]
    assert len(said) == 2
    assert said[0] == "budget-cli: counted.jsonl: lengths are from the field"
    assert said[1].startswith("budget-cli: verl.jsonl: lengths are from the texts, counted by tokenizer.json@")


@pytest.mark.parametrize("earlier", [False, True])
def test_a_comparison_says_for_each_side_where_its_lengths_come_from(
    budget_cli: Run, folder: Path, earlier: bool
) -> None:
    (folder / "counted.jsonl").write_bytes(lines([record | {"response_length": 4} for record in VERL]))
    base = "verl.jsonl"
    if earlier:
        base = "earlier.json"
        assert budget_cli("loss", "verl.jsonl", *ARGUMENTS, "-f", "json", "-o", base, cwd=folder).returncode == 0
    more = ("--field", "response_length=response_length", "-f", "json")
    done = budget_cli("compare", base, "counted.jsonl", *ARGUMENTS, *more, cwd=folder)
    result = json.loads(done.stdout)
    assert (result["base"]["lengths_from"], result["new"]["lengths_from"]) == ("tokenizer", "field")
    assert result["base"]["length_origins"] == {"field": 0, "tokens": 0, "tokenizer": 4}
    assert result["new"]["length_origins"] == {"field": 4, "tokens": 0, "tokenizer": 0}
    assert (result["base"]["tokenizer"].rpartition("@")[0], result["new"]["tokenizer"]) == ("tokenizer.json", None)
    said = [line for line in done.stderr.decode().splitlines() if "lengths are from" in line]
    assert [line.split(": ")[1] for line in said] == [base, "counted.jsonl"]


def test_the_settings_file_and_the_environment_name_a_tokenizer(budget_cli: Run, folder: Path) -> None:
    below = folder / "below"
    below.mkdir()
    (folder / "budget-cli.toml").write_text('tokenizer = "tokenizer.json"\n')
    arguments = ("loss", folder / "verl.jsonl", *ARGUMENTS[:-2])
    assert budget_cli(*arguments, cwd=below).returncode == 0
    (folder / "budget-cli.toml").unlink()
    assert budget_cli(*arguments, cwd=below).returncode == 2
    there = str(folder / "tokenizer.json")
    assert budget_cli(*arguments, cwd=below, BUDGET_CLI_TOKENIZER=there).returncode == 0


WRONG = [
    ("missing.json", None, "cannot be read: No such file or directory"),
    (".", None, "is a directory: give ./tokenizer.json"),
    ("cut.json", b'{"version": "1.0", "model": {"type": "WordLe', "expected a tokenizer.json (Cannot"),
    ("vocab.json", b'{"one": 1}', "expected a tokenizer.json (Cannot"),
    ("lfs.json", b"version https://git-lfs.github.com/spec/v1\noid x\n", "run `git lfs pull` beside it"),
    ("model.bin", bytes(range(256)), "AutoTokenizer.from_pretrained('MODEL').save_pretrained('.') of transformers"),
]


@pytest.mark.parametrize(("name", "content", "message"), WRONG)
def test_a_file_that_is_no_tokenizer_is_one_line_with_the_way_out(
    budget_cli: Run, folder: Path, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (folder / name).write_bytes(content)
    done = budget_cli("loss", "verl.jsonl", *ARGUMENTS[:-1], name, cwd=folder)
    assert done.returncode == 2
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith(f"budget-cli: --tokenizer {name}: ")
    assert message in line


def test_a_text_that_cannot_be_encoded_is_one_line(budget_cli: Run, folder: Path) -> None:
    content = json.loads((folder / "tokenizer.json").read_text())
    content["model"]["unk_token"] = "<nothing>"
    (folder / "tokenizer.json").write_text(json.dumps(content))
    done = budget_cli("loss", "verl.jsonl", *ARGUMENTS, cwd=folder)
    assert done.returncode == 2
    assert b"budget-cli: --tokenizer tokenizer.json: cannot encode a text of this dump: " in done.stderr
    assert b"Traceback" not in done.stderr


def test_without_the_library_the_extra_is_named(folder: Path) -> None:
    patch = "sys.modules['tokenizers'] = None"
    done = start("loss", "verl.jsonl", *ARGUMENTS, patch=patch, cwd=folder)
    assert done.returncode == 2
    says = r"budget-cli: --tokenizer needs another package: pip install (-e )?'?\S*\[tokenizer\]'?\n"
    assert re.fullmatch(says, done.stderr.decode())  # of which installation, tests/sources/test_installation.py shows


def test_without_the_option_the_library_is_not_imported(folder: Path) -> None:
    patch = "import atexit; atexit.register(lambda: print('tokenizers' in sys.modules, file=sys.stderr))"
    leave = "import os; os._exit = sys.exit"
    arguments = ("loss", "verl.jsonl", "--beta", "0", "--kl-coef", "0")
    for more, expected in ((), "False"), (ARGUMENTS[-2:], "True"):
        done = start(*arguments, *more, patch=f"{patch}\n{leave}", cwd=folder)
        assert done.returncode == 0, done.stderr.decode()
        assert done.stderr.decode().splitlines()[-1] == expected


def test_text_that_the_policy_did_not_write_is_counted_but_not_in_silence(budget_cli: Run, folder: Path) -> None:
    searched = {"output": "one <information>two</information> three"}
    (folder / "search.jsonl").write_bytes(lines([VERL[0], *({**record, **searched} for record in VERL[1:])]))
    said = "3 of the first 4 texts hold <information> and what follows it, which the policy did not write, and the"
    done = budget_cli("loss", "search.jsonl", *ARGUMENTS, cwd=folder)
    assert f"budget-cli: search.jsonl: warning: {said} lengths count it\n" in done.stderr.decode()
    found = answer(budget_cli, folder, "search.jsonl", *ARGUMENTS, command="check")
    (finding,) = [one for one in found["findings"] if one["code"] == "lengths-hold-other-text"]
    assert (finding["severity"], finding["message"]) == ("warning", f"{said} lengths count it")
    assert "warning: " not in budget_cli("loss", "verl.jsonl", *ARGUMENTS, cwd=folder).stderr.decode()
