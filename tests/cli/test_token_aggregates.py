"""If this fails, a loss over tokens is not the mean over the tokens, or a summary answers without knowing it."""

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

LossJson = Callable[..., dict[str, Any]]
REST = ("-B", "100", "--beta", "0", "--alpha", "0", "--precision", "12")
# A of p: 1/2 over 30 tokens, −1/2 over 10; of q: 1/4 over 20 tokens, −1/4 over 100.
RECORDS = [("p", 1, 30), ("p", 0, 10), ("q", 1, 20), ("q", 0.5, 100)]
TOKEN = (40 / 4 + 120 / 16) / 160


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    path = tmp_path / "tokens.jsonl"
    names = ("prompt_id", "reward", "response_length")
    path.write_text("".join(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in RECORDS))
    return path


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (("--aggregate", "token"), TOKEN),
        (("--set", "aggregate=token"), TOKEN),
        (("--aggregate", "prompt-token"), (1 / 4 + 1 / 16) / 2),
        (("--aggregate", "constant", "--set", "constant=50"), (40 / 4 + 120 / 16) / (4 * 50)),
    ],
)
def test_each_weighs_tokens_in_its_way(
    loss_json: LossJson, dump: Path, given: tuple[str, ...], expected: float
) -> None:
    answer = loss_json(dump, *REST, *given)
    assert answer["loss"] == pytest.approx(expected, abs=1e-12)
    assert answer["advantage"]["mean_square"] == answer["loss"]
    assert answer["reward"] == loss_json(dump, *REST)["reward"]


def test_rows_and_summaries_and_jobs_agree(budget_cli: Any, loss_json: LossJson, dump: Path) -> None:
    token = (*REST, "--aggregate", "token")
    whole = loss_json(dump, *token)
    by = loss_json(dump, *token, "--by", "prompt_id")["by"]
    assert [row["loss"] for row in by] == pytest.approx([1 / 4, 1 / 16], abs=1e-12)
    assert loss_json(dump, *token, "--jobs", "2") == whole
    summary = dump.with_name("tokens.summary")
    made = budget_cli("summarize", dump, "-B", "100", "--alpha", "0", "--set", "aggregate=token", "-o", summary)
    assert made.returncode == 0, made.stderr
    assert loss_json(summary, *token) == whole
    assert loss_json(summary, *REST) == loss_json(dump, *REST)
    budget_cli("summarize", dump, "-B", "100", "--alpha", "0", "-o", summary)
    refused = budget_cli("loss", summary, *token)
    assert refused.returncode == 2
    assert refused.stderr.decode() == (
        f"budget-cli: {summary}: this summary has no sums over tokens: summarize again with --set aggregate=token, or"
        " give --aggregate response\n"
    )


@pytest.mark.parametrize("command", ["sweep", "compare", "report"])
def test_commands_that_keep_sums_of_responses_refuse_it(budget_cli: Any, dump: Path, command: str) -> None:
    files = (dump, dump) if command == "compare" else (dump,)
    refused = budget_cli(command, *files, "-B", "100", "--aggregate", "token", "-o", dump.with_name("out"))
    assert refused.returncode == 2
    assert f"--aggregate token weighs single responses, and {command} keeps only their sums" in refused.stderr.decode()


def test_a_constant_has_to_be_given(budget_cli: Any, dump: Path) -> None:
    refused = budget_cli("loss", dump, *REST, "--aggregate", "constant")
    assert refused.returncode == 2
    assert refused.stderr.decode() == (
        "budget-cli: --aggregate constant: give the tokens that sums are divided by: --set constant=8192\n"
    )


@pytest.mark.parametrize(
    ("given", "remedy"),
    [
        (("--aggregate", "token", "-B", "5"), "--aggregate response --budget-penalty-coef 0"),
        (("--objective", "opo", "--beta", "0"), "--set advantage=centred --budget-penalty-coef 0"),
    ],
)
def test_what_does_without_lengths_is_said_and_does(
    budget_cli: Any, tmp_path: Path, given: tuple[str, ...], remedy: str
) -> None:
    path = tmp_path / "no_lengths.jsonl"
    path.write_text('{"prompt_id": "a", "reward": 1}\n{"prompt_id": "a", "reward": 0}\n')
    failed = budget_cli("loss", path, "--alpha", "0", *given, "-f", "json")
    assert failed.returncode == 1
    assert f"; {remedy} does without it, or give --field response_length=PATH" in failed.stderr.decode()
    assert budget_cli("loss", path, "--alpha", "0", *given, *remedy.split()).returncode == 0


def test_a_near_tie_keeps_its_digits(loss_json: LossJson, tmp_path: Path) -> None:
    # β·e is 1 and 2; with it x is 1e-6 and 0, over 200 and 300 tokens: A is ±5e-7, the loss its square
    path = tmp_path / "ties.jsonl"
    names = ("prompt_id", "reward", "response_length")
    rows = [("p", 1 + 2**-20, 200), ("p", 2, 300)]
    path.write_text("".join(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows))
    found = loss_json(path, "-B", "100", "--beta", "0.01", "--alpha", "0", "--aggregate", "token", "--precision", "17")
    beta = Fraction(0.01)
    half = ((1 + Fraction(1, 2**20) - 100 * beta) - (2 - 200 * beta)) / 2
    assert found["loss"] == pytest.approx(float(half * half), rel=1e-13)
