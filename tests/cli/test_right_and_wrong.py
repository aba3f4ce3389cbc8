"""If this fails, the numbers of right and wrong responses depend on how a dump is read, or a gate on them is silent."""

import json
import re
from pathlib import Path

import pytest
from command import Run
from samples import lines

from budget_cli import native

SAMPLE = Path(__file__).parents[2] / "sample_data"
STEPS, B = str(SAMPLE / "steps"), ("-B", "1024")


def records(rewards: dict[str, list[float]], **fields: object) -> list[dict[str, object]]:
    return [
        {"prompt_id": key, "reward": reward, "response_length": 10 * i + 10, **fields}
        for key, of in rewards.items()
        for i, reward in enumerate(of)
    ]


ONLY_REWARDS = ("--kl-coef", "0", "--beta", "0")


def test_the_screen_tells_right_from_wrong(budget_cli: Run) -> None:
    for columns in ("80", "120"):
        said = budget_cli("loss", STEPS, *B, COLUMNS=columns).stdout.decode()
        assert "\n  right            58.3% (reward above 0)   mean length 844, wrong 964\n" in said
        assert "\n  prompts          7 all right, 3 all wrong, 14 mixed   pass@4 87.5%\n" in said


NOTHING_TO_SAY = [
    pytest.param({"a": [0.5, 1.5], "b": [0.1, 3.0]}, False, False, id="graded rewards, all above 0"),
    pytest.param({"a": [-0.5, 0], "b": [0.0, -3.0]}, False, False, id="none above 0"),
    pytest.param({"a": [1, 1], "b": [0, 0]}, True, False, id="no prompt is mixed"),
    pytest.param({"a": [1, 0], "b": [0]}, True, True, id="one is"),
]


@pytest.mark.parametrize(("rewards", "right", "prompts"), NOTHING_TO_SAY)
def test_a_line_is_shown_where_it_says_something(
    budget_cli: Run, tmp_path: Path, rewards: dict[str, list[float]], right: bool, prompts: bool
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(lines(records(rewards)))
    said = budget_cli("loss", path, *ONLY_REWARDS).stdout.decode()
    assert (bool(re.search("^  right ", said, re.M)), bool(re.search("^  prompts ", said, re.M))) == (right, prompts)


@pytest.mark.parametrize("compiler", sorted({False, native.AVAILABLE}))
def test_however_a_dump_is_read_the_bytes_are_the_same(
    budget_cli: Run, tmp_path: Path, compiler: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = sorted(map(str, Path(STEPS).iterdir()))
    expected = json.loads(budget_cli("loss", STEPS, *B, "-f", "json", "--precision", "17").stdout)["learnability"]
    monkeypatch.setattr(native, "AVAILABLE", compiler)
    parts = [tmp_path / "a.summary", tmp_path / "b.summary"]
    for part, of in zip(parts, (files[:1], files[1:]), strict=True):
        assert budget_cli("summarize", *of, *B, "-q", "-o", part).returncode == 0
    both = tmp_path / "both.summary"
    assert budget_cli("summarize", *parts, *B, "-q", "-o", both).returncode == 0
    inputs: list[tuple[object, ...]] = [
        (STEPS, "-j", "1"),
        (STEPS, "-j", "2"),
        tuple(parts),
        (both,),
        tuple(files[::-1]),
    ]
    for given in inputs:
        found = json.loads(budget_cli("loss", *given, *B, "-f", "json", "--precision", "17").stdout)
        assert found["learnability"] == expected


def test_the_rows_of_a_breakdown_and_the_cells_of_a_sweep_have_them(budget_cli: Run) -> None:
    loss = json.loads(budget_cli("loss", STEPS, *B, "--by", "step", "-f", "json").stdout)
    assert [row["learnability"]["all_right"] for row in loss["by"]] == [1, 0, 2, 4]
    assert sum(row["learnability"]["right"] for row in loss["by"]) == loss["learnability"]["right"] == 56
    swept = budget_cli("sweep", STEPS, "-B", "512,1024", "--all-numbers", "-f", "jsonl").stdout.splitlines()
    assert {json.loads(cell)["learnability"]["right"] for cell in swept} == {56}


GATES = [
    ("learnability.pass_at.4 < 0.9", False, "it is 0.875"),
    ("learnability.pass_at.8 < 0.9", False, "it is null, which fails every gate"),
    ("learnability.prompts_by_rate.up_to_half < 6", True, ""),
    ("learnability.zero_variance_at.8 > 0.3", True, ""),
    ("learnability.length_right > 900", True, ""),
]


@pytest.mark.parametrize(("gate", "holds", "said"), GATES)
def test_a_gate_names_any_of_them(budget_cli: Run, gate: str, holds: bool, said: str) -> None:
    for command in ("loss", "check", "sweep"):
        done = budget_cli(command, STEPS, *B, *(("--ignore", "all") if command == "none" else ()), "--fail-if", gate)
        assert (f"gate {gate}" in done.stdout.decode()) is not holds, command
        assert said in done.stdout.decode()
        assert done.returncode == (0 if holds else 1)


def test_a_gate_on_a_k_that_is_no_power_of_two_names_the_nearest(budget_cli: Run) -> None:
    done = budget_cli("loss", STEPS, *B, "--fail-if", "learnability.pass_at.3 < 0.9")
    assert done.returncode == 2
    assert re.search(
        r"no number is called 'learnability.pass_at.3' \(did you mean learnability.pass_at.\d+\?\)",
        done.stderr.decode(),
    )


NOT_COUNTED = "this summary does not count right responses (columns right and L_right): summarize again"


def without_the_columns(path: Path) -> None:
    """Write the same summary as an earlier version did."""
    header, *rows = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    at = {i for i, name in enumerate(header["columns"], start=1) if name not in ("right", "L_right")}
    for row in rows:
        row["row"] = [value for i, value in enumerate(row["row"]) if i in at | {0}]
    header["columns"] = [name for name in header["columns"] if name not in ("right", "L_right")]
    header["schema"] = "budget-cli/summary/1"
    del header["checksum"], header["correct_above"]
    path.write_text("".join(json.dumps(each) + "\n" for each in (header, *rows)), encoding="utf-8")


def test_of_an_earlier_summary_they_are_null_and_a_gate_says_why(budget_cli: Run, tmp_path: Path) -> None:
    old = tmp_path / "old.summary"
    budget_cli("summarize", SAMPLE / "rollouts.jsonl", *B, "-q", "-o", old)
    without_the_columns(old)
    found = json.loads(budget_cli("loss", old, *B, "-f", "json").stdout)
    expected = json.loads(budget_cli("loss", SAMPLE / "rollouts.jsonl", *B, "-f", "json").stdout)
    numbers = found.pop("learnability")
    assert (
        numbers["correct_above"],
        numbers["right"],
        numbers["pass_at"]["1"],
        numbers["prompts_by_rate"]["all"],
    ) == (
        0.0,
        *(None,) * 3,
    )
    assert {name: value for name, value in expected.items() if name != "learnability"} == found
    screen = budget_cli("loss", old, *B)
    assert (screen.returncode, screen.stderr) == (0, b"")
    done = budget_cli("loss", old, *B, "--fail-if", "learnability.all_wrong > 3")
    assert done.returncode == 1
    assert done.stderr.decode() == (f"budget-cli: {old}: {NOT_COUNTED}\n")
    assert "gate learnability.all_wrong > 3: it is null, which fails every gate\n" in done.stdout.decode()


BY_SOLVE_RATE = [("--set", "scale=solve-rate"), ("--set", "gate=0.5"), ("--objective", "alp")]


@pytest.mark.parametrize("objective", BY_SOLVE_RATE)
def test_an_objective_of_solve_rates_refuses_a_summary_that_does_not_know_them(
    budget_cli: Run, tmp_path: Path, objective: tuple[str, str]
) -> None:
    old, new = tmp_path / "old.summary", tmp_path / "new.summary"
    for path, above in ((old, "0"), (new, "0.6")):
        budget_cli("summarize", SAMPLE / "rollouts.jsonl", *B, "--set", f"correct_above={above}", "-q", "-o", path)
    without_the_columns(old)
    done = budget_cli("loss", old, *B, *objective)
    assert (done.returncode, done.stdout, done.stderr.decode()) == (
        2,
        b"",
        f"budget-cli: {old}: {NOT_COUNTED}\n",
    )
    assert budget_cli("loss", SAMPLE / "rollouts.jsonl", *B, *objective).returncode == 0
    done = budget_cli("loss", new, *B, *objective)
    remedy = "correct_above=0.6"
    assert (done.returncode, f"give --set {remedy}, or " in done.stderr.decode()) == (2, True)
    found = budget_cli("loss", new, *B, *objective, "--set", remedy, "-f", "json")
    expected = budget_cli("loss", SAMPLE / "rollouts.jsonl", *B, *objective, "--set", remedy, "-f", "json")
    assert (found.returncode, found.stdout) == (0, expected.stdout)


def test_another_threshold_is_said_where_a_summary_does_not_know_it(budget_cli: Run, tmp_path: Path) -> None:
    made = tmp_path / "a.summary"
    budget_cli("summarize", STEPS, *B, "-q", "-o", made)
    done = budget_cli("loss", made, *B, "--set", "correct_above=0.6")
    assert done.returncode == 0
    assert done.stderr.decode() == (
        f"budget-cli: {made}: in this summary a response is right above a reward of 0, not 0.6: give --set"
        " correct_above=0, or summarize again with --set correct_above=0.6\n"
    )
    assert "\n  right " not in done.stdout.decode()


def test_markdown_leaves_out_the_pass_at_k_that_do_not_exist(budget_cli: Run) -> None:
    said = budget_cli("loss", STEPS, *B, "-f", "markdown").stdout.decode()
    assert "| learnability.pass\\_at.4 | 0.875 |\n" in said
    assert "pass\\_at.8" not in said


def test_the_page_has_them(budget_cli: Run, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert budget_cli("report", STEPS, *B, "-q", "-o", page).returncode == 0
    text = page.read_text(encoding="utf-8")
    assert 'data-number="learnability.all_right" data-kind="whole" data-value="7">7<' in text
    assert 'data-number="learnability.pass_at.8" data-kind="percent" data-value="null">–<' in text
