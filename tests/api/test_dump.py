"""If this fails, Python's answer is not the command's, or something is printed, hidden or taken for another error."""

import gzip
import json
import math
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy
import numpy as np
import pyarrow as pa
import pytest
from command import Run
from samples import GOOD, SAMPLE, lines

import budget_cli as package
from budget_cli import BudgetCliError, Dump, DumpRejected, InputProblem, OutputProblem, UsageProblem, scan
from budget_cli.objective.settings import MOST_TOKENS

ROOT = SAMPLE.parent
DUMPS = Path(__file__).parent.parent / "dumps"
EXACT = ("--precision", "17", "--format", "json")
AT = {"field": {"reward": "verifier.reward", "prompt_id": "task.id", "response_length": "response.usage.output_tokens"}}
SESSIONS = [("x", 0, 0.0, 400), ("x", 1, 1.0, 300), ("y", 0, 0.0, 500), ("z", 0, 0.5, 800)]
CASES: dict[str, tuple[Path, dict[str, Any]]] = {
    "lines": (SAMPLE, {}),
    "arrays": (ROOT / "rollouts_arrays.jsonl", {}),
    "mapped": (ROOT / "rollouts_nested.jsonl", {**AT, "log_probs": False}),
    "damaged": (ROOT / "damaged.jsonl", {}),
    "folder": (ROOT / "steps", {}),
    "objective": (SAMPLE, {"objective": "dapo", "set": {"cap": 256, "singletons": "reward"}}),
    "mean over prompts": (SAMPLE, {"set": {"advantage": "grpo"}, "aggregate": "prompt"}),
    "prompts of lines": (SAMPLE, {"group_size": 4}),
    "part": (SAMPLE, {"where": "reward > `0.4`", "max_errors": "10%", "jobs": 2}),
    "Parquet": (DUMPS / "prime-rl-platform.upload.parquet", {"log_probs": False}),
    "document": (DUMPS / "inspect-ai.json", {"log_probs": False}),
    "lists": (DUMPS / "prime-rl-traces.jsonl", {"log_probs": False}),
    "sessions of one step": (Path("sessions.jsonl"), {"log_probs": False, "field": {"rollout_id": "s", "turn": "t"}}),
}
NOT_OF = {"annotate": ("aggregate", "allow_empty"), "check": ("aggregate", "log_probs"), "summarize": ("aggregate",)}


def flags(command: str, options: Mapping[str, Any]) -> list[str]:
    """The options of Python, as this command takes them."""
    written: list[str] = []
    for name, value in options.items():
        if name in NOT_OF.get(command, ()):
            continue
        if name == "log_probs":
            written += ["--kl-coef", "0"]
        elif isinstance(value, Mapping):
            for pair in value.items():
                written += [f"--{name}", "=".join(map(str, pair))]
        else:
            written += [f"--{name.replace('_', '-')}", str(value)]
    return written


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    path, options = CASES[request.param]
    if not path.is_absolute():
        names = ("s", "t", "reward", "response_length")
        path = tmp_path / path
        path.write_bytes(
            lines([{"prompt_id": "a", "step": 3, **dict(zip(names, row, strict=True))} for row in SESSIONS])
        )
    return path, options


def answer(run: Run, *arguments: str | Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(*arguments).stdout)
    return found


def same(mine: Any, theirs: Any) -> bool:
    """True if all is equal, where the command rounds to 17 places."""
    if isinstance(mine, Mapping):
        return mine.keys() == theirs.keys() and all(same(mine[key], theirs[key]) for key in mine)
    if isinstance(mine, list):
        return len(mine) == len(theirs) and all(map(same, mine, theirs))
    return bool(mine == theirs or (isinstance(mine, float) and round(mine, 17) == theirs))


def test_every_answer_is_the_commands(budget_cli: Run, case: Any, tmp_path: Path, capfd: Any) -> None:
    path, options = case

    def given(command: str, *at: str) -> tuple[str | Path, ...]:
        return command, path, *(at or ("-B", "600", "--beta", "0.003")), *flags(command, options)

    rows = answer(budget_cli, *given("loss"), "--per-prompt", *EXACT)
    prompts = rows.pop("per_prompt")
    found = answer(budget_cli, *given("check"), "-f", "json")
    cells = answer(budget_cli, *given("sweep", "-B", "600,900", "--beta", "0,0.003"), "--all-numbers", *EXACT)
    kept = tmp_path / "command.summary"
    budget_cli(*given("summarize", "-B", "600,900"), "-o", kept)
    capfd.readouterr()

    dump = scan(path, [900, 600], strict=False, **options)
    loss = dump.loss(600, 0.003)
    assert same(loss.to_dict(), rows)
    assert loss.loss == pytest.approx(rows["loss"], rel=1e-15)
    assert (loss.verdict, dump.verdict, dump.responses_count) == (rows["status"], rows["status"], rows["responses"])
    assert same(dump.prompts(600, 0.003).to_pylist(), prompts)
    checked = dump.check(600, 0.003)
    assert checked.to_dict() == found
    assert [one.code for one in checked.findings] == [one["code"] for one in found["findings"]]
    swept = dump.sweep([0, 0.003])
    assert same(swept.to_dict(), cells)
    assert same(swept.cells.column("loss").to_pylist(), [cell["loss"] for cell in cells["cells"]])
    dump.to_summary(tmp_path / "python.summary")
    assert (tmp_path / "python.summary").read_bytes() == kept.read_bytes()
    assert capfd.readouterr() == ("", "")


def test_responses_have_the_terms_that_annotate_writes(budget_cli: Run, case: Any) -> None:
    path, options = case
    written: list[Any] = []

    def collect(value: Any) -> None:
        if isinstance(value, dict) and "budget_cli" in value:
            terms = value["budget_cli"]
            is_array = isinstance(terms["loss"], list)
            each = zip(*terms.values(), strict=True) if is_array else [terms.values()]
            written.extend(dict(zip(terms, row, strict=True)) for row in each)
        elif isinstance(value, dict | list):
            for inner in value.values() if isinstance(value, dict) else value:
                collect(inner)

    done = budget_cli("annotate", path, "-B", "600", "--beta", "0.003", *flags("annotate", options))
    for line in [done.stdout] if path.suffix == ".json" else filter(bytes.strip, done.stdout.splitlines()):
        collect(json.loads(line))
    table = scan(path, [600, 900], strict=False, **options).responses(600, 0.003)
    terms = table.select(["penalty", "adjusted_reward", "baseline", "advantage", "log_ratio", "loss"]).to_pylist()
    if path.name == "sessions.jsonl":
        del written[0]  # a row of the same response
    assert terms == written != []


def test_each_response_has_its_place(tmp_path: Path) -> None:
    one = {**GOOD, "prompt_id": 7}
    many = {"prompt_id": "q", "rewards": [0, 1], "response_lengths": [5, 6]}
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\n" + lines([one]) + b"not a record\n" + lines([many, one]))
    table = scan(path, log_probs=False, strict=False).responses()
    found = [(row["line"], row["sample"], row["prompt_id"], row["length"]) for row in table.to_pylist()]
    assert found == [(2, 0, "7", 120), (4, 0, "q", 5), (4, 1, "q", 6), (5, 0, "7", 120)]
    assert set(table.column("source").to_pylist()) == {str(path)}
    assert table.column("log_ratio").null_count == 2


def test_whole_numbers_stay_ids_of_their_kind(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(lines([{"prompt_id": number, "reward": 1} for number in (3, 1, 3)]))
    dump = scan(path, log_probs=False)
    assert dump.prompts().column("prompt_id").to_pylist() == [3, 1]
    assert dump.responses().schema.field("prompt_id").type == pa.int64()


def test_a_table_goes_through_the_capsule_interface() -> None:
    table = scan(SAMPLE, 1024).prompts()
    assert pa.table(table.__arrow_c_stream__() and table) == table
    assert pa.RecordBatchReader.from_stream(table).read_all() == table


def test_a_mean_over_rows_is_the_commands(budget_cli: Run, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    rows = [("x", 0, 1), ("x", 1, 1), ("y", 0, 0)]
    names = ("rollout_id", "turn", "reward")
    path.write_bytes(lines([{"prompt_id": "a", "step": 3, **dict(zip(names, row, strict=True))} for row in rows]))
    where = {"rollout_id": "rollout_id", "turn": "turn"}
    dump = scan(path, log_probs=False, field=where, aggregate="row")
    assert dump.loss().loss == 0.25
    assert dump.responses().column("loss").to_pylist() == [0.25, 0.25]
    assert dump.prompts().column("prompt_id").to_pylist() == ["a"]


def test_lines_that_are_prompts_are_named_by_their_place(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(lines([{"rewards": [0, 1]}, {"rewards": [1, 1, 0]}]))
    dump = scan(path, log_probs=False, group="line", field={"rewards": "rewards"})
    assert dump.prompts().column("prompt_id").to_pylist() == [f"{path}:1", f"{path}:2"]
    assert dump.responses().column("prompt_id").to_pylist() == [f"{path}:1"] * 2 + [f"{path}:2"] * 3


def test_a_summary_answers_but_for_what_needs_records(tmp_path: Path) -> None:
    dump = scan(SAMPLE, [1024, 600])
    kept = tmp_path / "kept.jsonl.gz"
    dump.to_summary(kept)
    again = scan(kept, 600)
    assert again.loss(beta=0.5) == dump.loss(600, 0.5)
    with pytest.raises(UsageProblem, match=r"a summary has no individual records, which responses\(\) needs"):
        again.responses()


def test_the_default_coefficients_are_the_commands(budget_cli: Run) -> None:
    found = answer(budget_cli, "loss", SAMPLE, "-B", "1024", *EXACT)
    assert same(scan(str(SAMPLE), 1024).loss().to_dict(), found)
    free = scan([SAMPLE], log_probs=False).loss()
    assert free.coefficients == (None, 0.0, 0.0)


@pytest.mark.parametrize(
    ("options", "coefficients", "message"),
    [
        ({}, {"beta": 0.1}, "beta=0.1: the scan has no budget: give scan(…, budgets=[4096]), or beta=0"),
        ({"budgets": 9}, {"B": 10}, "B=10: not a budget of the scan: it answers for 9; give scan(…, budgets=[10])"),
        ({"budgets": [9, 7]}, {}, "B: give one of the budgets of the scan: 7, 9"),
        ({"budgets": 9}, {"beta": math.inf}, "beta=inf: expected a finite number"),
        (
            {"log_probs": False},
            {"alpha": 0.1},
            "alpha=0.1: the scan read no log-probs: give scan(…, log_probs=True), or alpha=0",
        ),
        ({"budgets": 1.5}, {}, f"budgets: expected whole numbers of tokens, from 0 to {MOST_TOKENS}, found 1.5"),
        ({"budgets": [True]}, {}, f"budgets: expected whole numbers of tokens, from 0 to {MOST_TOKENS}, found True"),
        ({"aggregate": "line"}, {}, "aggregate=line: expected one of response, prompt, row, token, prompt-token, "),
        ({"group": "files"}, {}, "group=files: expected one of prompt, line, file"),
        ({"objective": "gpro"}, {}, "--objective gpro: unknown objective; expected kimi-k2, dapo"),
        ({"set": {"penalty": "kapped"}}, {}, "set=penalty=kapped: expected linear or capped or step or distance"),
        ({"field": {"rewrad": "score"}}, {}, "--field rewrad=score: unknown field 'rewrad'"),
    ],
)
def test_what_cannot_be_answered_says_what_can(options: Any, coefficients: Any, message: str) -> None:
    with pytest.raises(UsageProblem) as refused:
        scan(SAMPLE, **options).loss(**coefficients)
    assert str(refused.value).startswith(message)


def test_what_was_not_read_whole_is_an_error_unless_asked_for(tmp_path: Path) -> None:
    with pytest.raises(DumpRejected) as refused:
        scan(ROOT / "damaged.jsonl", 1024)
    assert "23 records of 28 rejected; first: " in str(refused.value)
    assert str(refused.value).endswith("(strict=False gives what could be read)")
    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes(gzip.compress(SAMPLE.read_bytes())[:-40])
    with pytest.raises(InputProblem, match="cut"):
        scan(cut, 1024)
    part = scan(cut, 1024, strict=False)
    assert (part.verdict, part.loss().verdict) == ("fail", "fail")
    with pytest.raises(InputProblem):
        part.responses()
    empty = tmp_path / "empty.jsonl"
    empty.write_bytes(b"")
    with pytest.raises(DumpRejected, match="no records"):
        scan(empty, 1024)
    assert scan(empty, 1024, allow_empty=True).loss().loss is None
    with pytest.raises(InputProblem, match="no such file or directory"):
        scan(tmp_path / "nowhere.jsonl")
    for error in (DumpRejected, InputProblem, OutputProblem, UsageProblem):
        assert issubclass(error, BudgetCliError)


def test_a_file_that_changed_is_no_longer_answered_for(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    shutil.copy(SAMPLE, path)
    dump = scan(path, 1024)
    path.write_bytes(SAMPLE.read_bytes().replace(b"primes-128", b"primes-129"))
    with pytest.raises(InputProblem, match=r"was rewritten while being read|changed between the two passes"):
        dump.responses()


def test_what_the_commands_say_is_kept_and_not_printed(capfd: Any) -> None:
    dump = scan(DUMPS / "verl-v1.jsonl", log_probs=False)
    assert any("reading as verl-v1" in note for note in dump.notes)
    assert capfd.readouterr() == ("", "")


def test_a_notebook_shows_the_screen_and_nothing_that_the_data_wrote_as_markup(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    hostile = "<script>alert(1)</script>"
    path.write_bytes(lines([{**GOOD, "prompt_id": hostile, "reward": reward} for reward in (1, 1)] + [GOOD]))
    dump = scan(path, 10)
    shown = [dump._repr_html_(), dump.check()._repr_html_(), dump.sweep()._repr_html_(), dump.loss()._repr_html_()]
    assert all(one.startswith("<pre>") and "<script" not in one for one in shown)
    assert "budget-aware loss" in shown[0]
    assert repr(dump) == "<budget_cli.Dump: 3 responses, 2 prompts, budgets 10, pass>"
    assert repr(dump.loss()).startswith("budget-aware loss")


def test_names_are_imported_when_they_are_asked_for() -> None:
    assert package.Dump is Dump
    assert {"scan", "Dump", "rl_budget_loss"} <= set(dir(package))
    with pytest.raises(AttributeError, match="no attribute 'scam'"):
        _ = package.scam  # type: ignore[attr-defined]  # what the test is about


def test_an_output_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(BudgetCliError):
        scan(SAMPLE, 1024).to_summary(tmp_path / "no" / "such" / "folder.jsonl")
    assert list(tmp_path.iterdir()) == []


def test_numbers_of_numpy_are_numbers() -> None:
    np: Any = numpy  # whose scalars are no numbers to mypy
    one = scan(SAMPLE, np.int64(1024)).loss(np.int32(1024), np.float64(0.01), np.float32(0))
    assert one.to_dict() == scan(SAMPLE, np.array(1024.0)).loss(1024.0, 0.01, 0).to_dict()
    assert '"token_budget": 1024,' in json.dumps(one.to_dict())
    dump = scan(SAMPLE, np.array([1024, 768, 768]), set={"penalty": "capped", "cap": np.int64(256)})
    assert dump.budgets == (768, 1024)
    assert dump.sweep(np.float32(0.5)).cells.num_rows == dump.sweep(np.array(1)).cells.num_rows == 2
    assert dump.sweep(np.linspace(0, 0.1, 3), np.int64(0)).cells.num_rows == 6
    weighed = scan(SAMPLE, 1024, reward_weights={"reward": np.float32(2)})
    assert weighed.loss().loss == scan(SAMPLE, 1024, reward_weights={"reward": 2}).loss().loss


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"budgets": None}, "budgets: expected whole numbers of tokens, "),
        ({"budgets": np.array([[1, 2]])}, "budgets: expected whole numbers of tokens, "),
        ({"budgets": np.bool_(True)}, "budgets: expected whole numbers of tokens, "),
        ({"jobs": 0}, "jobs=0: expected a whole number from 1 to 1024"),
        ({"jobs": "2"}, "jobs='2': expected a whole number from 1 to 1024"),
        ({"group_size": 2.5}, "group_size=2.5: expected a whole number from 1 to "),
        ({"group_size": -1}, "group_size=-1: expected a whole number from 1 to "),
        ({"max_line_bytes": None}, "max_line_bytes=None: expected a whole number from 1 to "),
        ({"where": ["a"]}, "where: expected a text, found ['a']"),
        ({"preset": 1}, "preset: expected a text, found 1"),
        ({"keep": 1}, "keep: expected texts, found 1"),
        ({"group": ["line"]}, "group=['line']: expected one of prompt, line, file"),
        ({"field": ["reward=a"]}, "field: expected a dict, as in field={'reward': 'score'}, found ['reward=a']"),
        ({"field": {"reward": None}}, "field: expected the place of reward as a text, found None"),
        ({"set": "cap=3"}, "set: expected a dict, as in set={'penalty': 'capped', 'cap': 512}, found 'cap=3'"),
        ({"set": {"advantage": {}}}, "set=advantage={}: expected centred or "),
        ({"tokenizer": 1}, "tokenizer: expected the name of a file or a folder, or several, found 1"),
        ({"objective": Path("no.toml")}, "--objective no.toml: cannot be read: "),
        (
            {"objective": "dapo"},
            "objective=dapo: penalty=capped: give the tokens over which it grows, as in set={'cap': ",
        ),
    ],
)
def test_an_argument_of_another_kind_is_named(options: Any, message: str) -> None:
    with pytest.raises(UsageProblem) as refused:
        scan(SAMPLE, **options)
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize(
    ("call", "options", "message"),
    [
        ("loss", {"beta": "0.1"}, "beta=0.1: expected a finite number"),
        ("loss", {"beta": np.array([0.1])}, "beta=[0.1]: expected a finite number"),
        ("loss", {"B": "1024"}, "B='1024': expected a whole number of tokens, "),
        ("loss", {"B": np.array([1, 2])}, "B=array([1, 2]): expected a whole number of tokens, "),
        ("sweep", {"beta": None}, "beta: expected one or more finite numbers, found [None]"),
        ("sweep", {"beta": "0.1"}, "beta: expected one or more finite numbers, found ['0.1']"),
        ("check", {"alpha": math.nan}, "alpha=nan: expected a finite number"),
        ("check", {"fail_on": "bad"}, "fail_on=bad: expected one of "),
        ("check", {"by": ["file"]}, "by: expected a text, found ['file']"),
        ("check", {"threshold": ["a"]}, "threshold: expected a dict, as in threshold={'truncated.share': 0.1}, found"),
        ("to_summary", {"path": 1}, "path: expected the name of a file"),
        ("to_summary", {"path": "a\0b"}, "path: expected the name of a file"),
    ],
)
def test_so_is_one_of_a_call(call: str, options: Any, message: str) -> None:
    dump = scan(SAMPLE, 1024)
    with pytest.raises(UsageProblem) as refused:
        getattr(dump, call)(**options)
    assert str(refused.value).startswith(message)


def test_paths_may_come_in_any_form_but_never_stand_for_standard_input() -> None:
    for given in (os.fsencode(SAMPLE), [os.fsencode(SAMPLE)], (SAMPLE,), iter([SAMPLE]), {str(SAMPLE)}):
        assert scan(given).responses_count == 48  # type: ignore[arg-type]
    with SAMPLE.open() as opened:
        for wrong in ([], None, 3, [3], "a\0b", opened):
            with pytest.raises(UsageProblem, match="paths: expected the name of a file or a folder"):
                scan(wrong)  # type: ignore[arg-type]


def test_a_threshold_of_the_help_is_one() -> None:
    assert "{'truncated.share': 0.1}" in (Dump.check.__doc__ or "").replace('"', "'")
    assert scan(SAMPLE, 1024).check(threshold={"truncated.share": 0.1}).verdict == "pass"


def test_a_summary_never_takes_the_place_of_the_dump(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    shutil.copy(SAMPLE, path)
    dump = scan(path, 1024)
    with pytest.raises(UsageProblem, match="is also an input; give the result another name"):
        dump.to_summary(path)
    assert path.read_bytes() == SAMPLE.read_bytes()


def test_a_file_that_is_damaged_by_now_makes_no_summary(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    shutil.copy(SAMPLE, path)
    dump = scan(path, 1024)
    shutil.copy(ROOT / "damaged.jsonl", path)
    with pytest.raises(DumpRejected, match="23 records of 28 rejected"):
        dump.to_summary(tmp_path / "a.summary")
    assert not (tmp_path / "a.summary").exists()
    scan(path, 1024, strict=False).to_summary(tmp_path / "a.summary")  # as summarize, whose summary says so
    assert (tmp_path / "a.summary").exists()


def test_what_can_be_read_once_is_not_read_again() -> None:
    read, write = os.pipe()
    os.write(write, SAMPLE.read_bytes())
    os.close(write)
    dump = scan(f"/dev/fd/{read}", 1024)
    os.close(read)
    assert dump.loss().loss == scan(SAMPLE, 1024).loss().loss
    for again in (dump.check, dump.responses, lambda: dump.to_summary("/dev/null")):
        with pytest.raises(UsageProblem, match=r"reads it again, and a pipe has nothing left: give a file"):
            again()


def test_a_grid_of_numbers_too_large_fails_as_the_commands_does(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(lines([{**GOOD, "prompt_id": "a", "reward": reward} for reward in (1e200, -1e200)]))
    swept = scan(path, 1024).sweep()
    assert (swept.verdict, swept.to_dict()["status"], swept.warnings) == ("fail", "fail", [])
    assert swept.reasons == ["the numbers are too large: their squares are beyond the range of a double"]


def test_the_reasons_of_a_check_are_texts_as_elsewhere() -> None:
    dump = scan(SAMPLE, 1024)
    assert dump.check(by="nothing").reasons == ["--by nothing: no record has this field"]


def test_a_penalty_in_the_rewards_is_counted_twice_only_where_there_is_one(budget_cli: Run, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    lengths = [900, 1100, 1300, 1500, 1700, 1900, 2100, 2300]
    rows = [
        {
            **GOOD,
            "prompt_id": f"p{i}",
            "response_length": length + 7 * i,
            "reward": right - max(0, length + 7 * i - 1000) / 1000,
        }
        for i in range(40)
        for right, length in zip([0, 1, 0.5, 0.25] * 2, lengths, strict=True)
    ]
    path.write_bytes(lines(rows))
    dump = scan(path, 1000)
    for beta in (0.0, 0.01):
        at = ("-B", "1000", "--beta", str(beta))
        assert dump.loss(beta=beta).warnings == answer(budget_cli, "loss", path, *at, *EXACT)["warnings"]
        assert dump.sweep(beta).warnings == answer(budget_cli, "sweep", path, *at, *EXACT)["warnings"]
    assert [f"warning: {warning}" for warning in dump.loss().warnings] == dump.notes != []


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="lists open files as Linux does")
def test_no_file_stays_open(tmp_path: Path) -> None:
    dump = scan(SAMPLE, 1024)
    for use in (dump.check, dump.responses, lambda: dump.to_summary(tmp_path / "a.summary")):
        use()
        opened = [os.path.realpath(each) for each in Path("/proc/self/fd").iterdir()]
        assert str(SAMPLE.resolve()) not in opened
