"""If this fails, `fields` does not explain why nothing can be read from a file."""

import gzip
import inspect
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from command import Run
from own_names import OwnNames, own_names
from samples import lines
from word_counter import write_tokenizer

from budget_cli.cli.bundles import FieldOptions

ROOT = Path(__file__).parents[2]
RECORD = b'{"prompt_id": "p", "reward": 1, "log_prob": -1, "old_log_prob": -2, "response_length": 3}\n'
NOTHING = "no records: these files are empty or blank"


@pytest.mark.parametrize(
    ("name", "content", "status", "message"),
    [
        ("utf16.jsonl", RECORD.decode().encode("utf-16"), 1, "{}:1:1: byte 0xff is not UTF-8"),
        ("log.jsonl", b"\n\nsaved 8 rollouts\n", 1, "{}:3:1: not JSON: unexpected character"),
        ("empty.jsonl", b"", 1, NOTHING),
        ("blank.jsonl", b"\n \n", 1, NOTHING),
        ("cut.jsonl.gz", gzip.compress(RECORD, mtime=0)[:20], 3, "{}: the gzip data is cut off: the data before that"),
        ("cut.parquet", b"PAR1", 3, "{}: "),
    ],
)
def test_the_reason_why_a_file_has_no_records_is_reported(
    budget_cli: Run, tmp_path: Path, name: str, content: bytes, status: int, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    done = budget_cli("fields", path)
    assert done.returncode == status
    assert done.stderr.decode().startswith(f"budget-cli: {message.format(path)}")


def test_the_canonical_names_can_be_given_as_a_preset(budget_cli: Run, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(RECORD)
    for command in (("fields",), ("loss", "-B", "2"), ("check", "-B", "2")):
        done = budget_cli(*command, path, "--preset", "canonical")
        assert (done.returncode, done.stderr) == (0, b"")
        alone = budget_cli(*command, path).stdout
        assert done.stdout.replace(b" --preset canonical", b"") == alone  # in the command that shows a finding


TRAINED = [  # dump, the objective that its framework trains with by default
    ("trl.parquet", "trl-grpo"),
    ("verl-v1.jsonl", "verl-grpo"),
    ("prime-rl-episodes.jsonl", "dr-grpo"),
    ("tinker-cookbook.jsonl", "dr-grpo"),
    ("nemo-gym.jsonl", None),
]


@pytest.mark.parametrize(("name", "objective"), TRAINED)
def test_the_objective_that_the_framework_trains_with_by_default_is_named(
    budget_cli: Run, name: str, objective: str | None
) -> None:
    dump = ROOT / "tests/dumps" / name
    screen = budget_cli("fields", dump).stdout.decode()
    answer = json.loads(budget_cli("fields", dump, "-f", "json").stdout)
    if objective is None:
        assert answer["objective"] is None
        assert "trained with" not in screen
        return
    assert f"\n  trained with     --objective {objective}, by default of its framework\n" in screen
    assert answer["objective"]["name"] == objective
    assert answer["objective"]["sentence"].startswith(f"{objective}: linear penalty max(0, L − B), advantage ")


RECORDS = b'{"prompt_id": "p", "reward": 1, "score": 2, "scores": [3], "response_text": "one two", "why": "stop"}\n' * 2
OWN = b'[own]\nsource = "ours"\ndetect = ["why"]\nprompt_id = "prompt_id"\nreward = "score"\n'
# option: how it is given, and what is then on the screen that is not there without
OPTIONS: dict[str, tuple[tuple[str, ...], str]] = {
    "field": (("--field", "reward=score"), "reward           ← score   2   e.g. 2\n"),
    "reward_weights": (("--reward-weights", "score=2"), "reward           ← nandot([score], `[2.0]`)   2   e.g. 4.0\n"),
    "group": (("--group", "line"), "prompt_id        ← each line   2\n"),
    "group_size": (("--group-size", "2"), "prompt_id        ← each 2 lines   2\n"),
    "ids_per_file": (("--ids-per-file",), ""),  # takes a warning away
    "records": (("--records", "inside[]"), "--records inside[]: 1.jsonl: inside[]: missing: expected a list"),
    "preset": (("--preset", "trl"), "preset trl "),
    "presets": (("--presets", "own.toml", "--preset", "own"), "preset own "),
    "where": (("--where", "score > `5`"), "left out         where: !(score > `5`)   2\n"),
    "keep": (("--keep", "failed"), "--keep failed: no sample is left out for this reason; the preset in use leaves"),
    "ignore_unneeded": (("--ignore-unneeded",), "--ignore-unneeded: fields rejects no record: leave it out here"),
    "tokenizer": (("--tokenizer", "words.json"), "response_length  ← tokens of response_text   2\n"),
}
MORE: dict[str, tuple[tuple[str, ...], str]] = {
    "an array": (("--field", "rewards=scores"), "reward           ← scores   2   e.g. [3] (1 in all)\n"),
    "an array that is not there": (("--field", "rewards=none"), "reward           ← ?  reward (likely)"),
    "an optional field": (("--field", "finish_reason=why"), "finish_reason    ← why   2   e.g. stop\n"),
    "one that is not there": (("--field", "advantage=none"), "advantage        ← ?  not in these records\n"),
    "ids over steps": (("--group", "prompt"), ""),  # takes a warning away
    "groups of files": (("--group", "file"), "prompt_id        ← each file   2\n"),
}


def test_every_option_for_fields_has_a_row_above() -> None:
    assert list(OPTIONS) == list(inspect.get_annotations(FieldOptions))


@pytest.mark.parametrize("name", OPTIONS | MORE)
def test_an_option_shows_in_the_inventory_or_is_refused(budget_cli: Run, tmp_path: Path, name: str) -> None:
    option, shown = (OPTIONS | MORE)[name]
    if name == "tokenizer":
        pytest.importorskip("tokenizers")
        write_tokenizer(tmp_path / "words.json")
    for file in ("1.jsonl", "2.jsonl"):
        (tmp_path / file).write_bytes(RECORDS)
    (tmp_path / "own.toml").write_bytes(OWN)
    without = budget_cli("fields", "1.jsonl", "2.jsonl", cwd=tmp_path).stdout.decode()
    done = budget_cli("fields", "1.jsonl", "2.jsonl", *option, cwd=tmp_path)
    found = (done.stdout + done.stderr).decode()
    assert shown in found
    assert shown not in without if shown else found != without
    assert (done.returncode == 2) is found.startswith("budget-cli: --")


def test_an_option_of_the_settings_that_does_not_concern_fields_is_not_refused(budget_cli: Run, tmp_path: Path) -> None:
    (tmp_path / "1.jsonl").write_bytes(RECORD)
    (tmp_path / "budget-cli.toml").write_text("ignore-unneeded = true\n")
    assert budget_cli("fields", "1.jsonl", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize("dump", own_names(), ids=lambda dump: dump.name)
def test_the_command_that_is_shown_can_be_pasted(budget_cli: Run, tmp_path: Path, dump: OwnNames) -> None:
    (tmp_path / "it's own.jsonl").write_text("".join(json.dumps(record) + "\n" for record in dump.records))
    shown = budget_cli("fields", "it's own.jsonl", cwd=tmp_path)
    text = shown.stdout.decode()
    program, *words = shlex.split(text.splitlines()[-1])
    assert (program, words[:2]) == ("budget-cli", ["loss", "it's own.jsonl"])
    assert json.loads(budget_cli("fields", "it's own.jsonl", "-f", "json", cwd=tmp_path).stdout)["command"] in text
    if any(word.endswith("=PATH") for word in words):
        assert "with the place of what is not known for PATH" in text
        assert budget_cli(*words, cwd=tmp_path).returncode in (1, 2)
        return
    done = budget_cli(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"{len(dump.records)} records, none rejected" in done.stdout.decode()


RL = [{"qid": f"q{i // 4}", "score": i % 3, "n_out": 5 + i, "lp": [-0.5] * (5 + i)} for i in range(12)]
WRITTEN = """\
# where the fields are, as `budget-cli fields --write` guessed
field = [
    "prompt_id=qid",
    "reward=score",
    "log_prob=lp",
    "response_length=n_out",
]
kl-coef = 0
"""


def own_dump(folder: Path, records: Sequence[dict[str, Any]] = RL) -> None:
    (folder / "rl.jsonl").write_bytes(lines(records))


def test_written_guesses_are_what_the_commands_then_read_by(budget_cli: Run, tmp_path: Path) -> None:
    own_dump(tmp_path)
    assert budget_cli("loss", "rl.jsonl", "-B", "9", cwd=tmp_path).returncode == 2
    written = budget_cli("fields", "rl.jsonl", "--write", cwd=tmp_path)
    assert written.stderr.decode() == "budget-cli: budget-cli.toml: sets field, kl-coef\n"
    assert (tmp_path / "budget-cli.toml").read_text() == WRITTEN
    done = budget_cli("loss", "rl.jsonl", "-B", "9", "-f", "json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (json.loads(done.stdout)["prompts"], json.loads(done.stdout)["responses"]) == (3, 12)
    assert budget_cli("check", "rl.jsonl", "-B", "9", cwd=tmp_path).returncode in (0, 1)


def test_what_the_settings_hold_stays_as_it_is(budget_cli: Run, tmp_path: Path) -> None:
    own_dump(tmp_path)
    (tmp_path / "budget-cli.toml").write_text('# ours\ntoken-budget = 9\n\n[loss]\nby = "file"')
    assert budget_cli("fields", "rl.jsonl", "--write", cwd=tmp_path).returncode == 1  # as without --write
    own = WRITTEN.partition("\n")[2]
    assert (tmp_path / "budget-cli.toml").read_text() == f'# ours\ntoken-budget = 9\n\n{own}\n[loss]\nby = "file"'
    assert budget_cli("loss", "rl.jsonl", cwd=tmp_path).returncode == 0


REFUSED = {  # what the folder holds, options, the refusal
    "a field that is set": (
        {"budget-cli.toml": 'token-budget = 9\nfield = ["reward=r"]\n'},
        (),
        "--write: budget-cli.toml:2: has field already: put field ="
        ' ["prompt_id=qid","reward=score","log_prob=lp","response_length=n_out"] in its place, or',
    ),
    "a table of fields": (
        {"budget-cli.toml": '[field]\nreward = "r"\n'},
        (),
        "--write: budget-cli.toml:1: has field",
    ),
    "settings of a project": (
        {"pyproject.toml": "[tool.budget-cli]\ntoken-budget = 9\n"},
        (),
        "--write: pyproject.toml holds here, and budget-cli.toml would take its place: add field = [",
    ),
    "no reward": (
        {"rl.jsonl": lines([{"qid": f"q{i // 4}", "val": i} for i in range(12)]).decode()},
        (),
        "--write: reward is not known for sure: give --field reward=PATH and --write",
    ),
    "rewards by function": (
        {"rl.jsonl": (ROOT / "tests" / "dumps" / "ms-swift.jsonl").read_text()},
        (),
        "--write: give --reward-weights Accuracy=1,Format=1 with the weights of the run, and --write",
    ),
    "nothing that is missing": (
        {"rl.jsonl": RECORD.decode() * 2},
        (),
        "--write: canonical reads these files",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_settings_that_say_otherwise_are_not_written_over(budget_cli: Run, tmp_path: Path, name: str) -> None:
    files, options, message = REFUSED[name]
    own_dump(tmp_path)
    for file, content in files.items():
        (tmp_path / file).write_text(content)
    done = budget_cli("fields", "rl.jsonl", "--write", *options, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.decode().splitlines()[-1].startswith(f"budget-cli: {message}")
    assert {path.name for path in tmp_path.iterdir()} == {"rl.jsonl", *files}
    assert all((tmp_path / file).read_text() == content for file, content in files.items())


def test_what_is_not_known_is_written_once_it_is_given(budget_cli: Run, tmp_path: Path) -> None:
    own_dump(tmp_path, [{"qid": f"q{i // 4}", "val": i} for i in range(12)])
    budget_cli("fields", "rl.jsonl", "--field", "reward=val", "--write", cwd=tmp_path)
    assert budget_cli("loss", "rl.jsonl", cwd=tmp_path).returncode == 0


def test_settings_cannot_ask_for_writing(budget_cli: Run, tmp_path: Path) -> None:
    own_dump(tmp_path)
    (tmp_path / "budget-cli.toml").write_text("[fields]\nwrite = true\n")
    done = budget_cli("fields", "rl.jsonl", cwd=tmp_path)
    assert (done.returncode, b"can be given only on the command line" in done.stderr) == (2, True)


def test_the_text_that_is_named_can_be_counted(budget_cli: Run, tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    write_tokenizer(tmp_path / "tokenizer.json")
    own_dump(tmp_path, [{"qid": f"q{i // 4}", "score": i % 3, "output": "one two " * (5 + i)} for i in range(12)])
    text = budget_cli("fields", "rl.jsonl", cwd=tmp_path).stdout.decode()
    named = "count the tokens of output with --tokenizer path/to/tokenizer.json --field response_text=output\n"
    assert named in text
    command = shlex.split(text.splitlines()[-1])[1:-2]  # without --budget-penalty-coef 0
    counted = shlex.split(named.partition(" with ")[2].replace("path/to/", ""))
    done = budget_cli(*command, *counted, "-B", "9", "-f", "json", cwd=tmp_path)
    assert json.loads(done.stdout)["lengths_from"] == "tokenizer"


def test_without_a_prompt_there_is_no_loss_and_the_ways_out_are_named(budget_cli: Run, tmp_path: Path) -> None:
    own_dump(tmp_path, [{"sample": i, "score": i % 3} for i in range(12)])
    cannot = [
        "the loss: give --field prompt_id=…, or --group-size N, the responses to a prompt one after another",
        "--kl-coef: give 0, or map the log-probs with --field log_prob=… --field old_log_prob=…",
    ]
    shown = budget_cli("fields", "rl.jsonl", cwd=tmp_path).stdout.decode().splitlines()
    assert [line.removeprefix("cannot    ") for line in shown if line.startswith("cannot    ")][:2] == cannot
    given = budget_cli("fields", "rl.jsonl", "--group-size", "4", "-f", "json", cwd=tmp_path)
    assert json.loads(given.stdout)["cannot"][0] == cannot[1]
    done = budget_cli(
        *("loss", "rl.jsonl", "--group-size", "4", "--field", "reward=score"),
        *("--kl-coef", "0", "--budget-penalty-coef", "0"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr


def test_a_dump_without_the_policys_log_probs_is_not_offered_the_references(budget_cli: Run, tmp_path: Path) -> None:
    """A ratio of 1 would hide that they are missing."""
    own_dump(tmp_path, [{"prompt_id": i // 4, "reward": i % 3, "old_log_prob": -0.5 - i} for i in range(12)])
    shown = budget_cli("fields", "rl.jsonl", cwd=tmp_path).stdout.decode()
    assert "  log_prob         ← ?  not known: the only log-probs are old_log_prob\n" in shown
    assert shown.endswith("\nbudget-cli loss rl.jsonl --kl-coef 0 --budget-penalty-coef 0\n")
