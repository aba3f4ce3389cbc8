"""If this fails, a dump that a resumed run wrote twice counts twice, or a healthy one is taken for such a dump."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from command import LossJson, Run

from budget_cli.scanning import rollouts

TRAINER = Path(__file__).parents[1] / "trainer"
REWARDS = ("--kl-coef", "0", "--beta", "0")
MAPPED = ("--field", "rollout_id=sid", "--field", "turn=t")
NOTE = "repeat an earlier one, of the same rollout and turn and with the same numbers: each counts once"


def dump(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def sessions(prompts: int, seed: int = 3) -> list[dict[str, Any]]:
    """Prompts with three sessions each, of one to three turns."""
    chosen = random.Random(seed)
    return [
        {"prompt_id": f"p{p}", "sid": s, "t": t, "reward": chosen.choice([0.0, 1.0]), "response_length": 9 + t}
        for p in range(prompts)
        for s in "abc"
        for t in range(chosen.randrange(1, 4))
    ]


@pytest.mark.parametrize("command", ["loss", "check", "sweep", "annotate", "summarize", "report"])
def test_every_command_says_that_rows_were_written_again(budget_cli: Run, command: str) -> None:
    options = {"check": ["--beta", "0"], "sweep": ["--beta", "0", "--alpha", "0"]}.get(command, list(REWARDS))
    done = budget_cli(command, TRAINER / "verl_written_twice.jsonl", *options)
    assert f"6 of 12 records {NOTE}\n" in done.stderr.decode()
    assert NOTE not in budget_cli(command, TRAINER / "verl_written_once.jsonl", *options).stderr.decode()


@pytest.mark.parametrize("slack", [3, 1 << 14])
@pytest.mark.parametrize("start", [0, 57])
def test_rows_that_were_written_again_count_once(
    loss_json: LossJson, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, start: int, slack: int
) -> None:
    monkeypatch.setattr(rollouts, "SLACK", slack)
    rows = sessions(40)
    at = ("-B", "10", "--kl-coef", "0", *MAPPED, "--precision", "17")
    once = loss_json(dump(tmp_path / "once.jsonl", rows), *at)
    again = loss_json(dump(tmp_path / "again.jsonl", rows + rows[start:]), *at)
    for name in ("loss", "responses", "rows", "length", "over_budget", "groups"):
        assert again[name] == once[name], name
    assert again["records"]["used"] == len(rows) + len(rows[start:])


def test_rows_are_told_over_blocks(loss_json: LossJson, tmp_path: Path) -> None:
    rows = [row | {"pad": "x" * 400} for row in sessions(900)]
    path = dump(tmp_path / "again.jsonl", rows + rows[1000:])
    assert path.stat().st_size > 4 << 20  # more than a block
    once = loss_json(dump(tmp_path / "once.jsonl", rows), *REWARDS, *MAPPED)
    again = loss_json(path, *REWARDS, *MAPPED)
    assert [again[name] for name in ("loss", "responses", "rows")] == [
        once[name] for name in ("loss", "responses", "rows")
    ]


@pytest.mark.parametrize(
    "other", [{"reward": 0.5}, {"response_length": 10}, {"t": 1}, {"sid": "b"}, {"prompt_id": "q"}]
)
def test_a_row_that_differs_in_anything_is_no_copy(budget_cli: Run, tmp_path: Path, other: dict[str, Any]) -> None:
    row = {"prompt_id": "p", "sid": "a", "t": 0, "reward": 1.0, "response_length": 9}
    path = dump(tmp_path / "a.jsonl", [row, row | other])
    assert NOTE not in budget_cli("loss", path, *REWARDS, *MAPPED).stderr.decode()


def test_rows_without_a_turn_or_a_rollout_are_not_compared(loss_json: LossJson, tmp_path: Path) -> None:
    row = {"prompt_id": "p", "sid": "a", "reward": 1.0, "response_length": 9}
    path = dump(tmp_path / "a.jsonl", [row, row, {**row, "sid": None, "t": 0}, {**row, "sid": None, "t": 0}])
    assert (loss_json(path, *REWARDS, *MAPPED)["responses"], loss_json(path, *REWARDS, *MAPPED)["rows"]) == (3, 4)


def test_copies_are_annotated_like_the_first(budget_cli: Run) -> None:
    done = budget_cli("annotate", TRAINER / "verl_written_twice.jsonl", *REWARDS)
    advantages = [round(json.loads(line)["budget_cli"]["advantage"], 4) for line in done.stdout.splitlines()]
    assert advantages == [0.6667, -0.3333, -0.3333, -0.6667, 0.3333, 0.3333] * 2


def test_a_summary_says_that_rows_were_written_again(budget_cli: Run, tmp_path: Path) -> None:
    kept = tmp_path / "kept.jsonl"
    assert budget_cli("summarize", TRAINER / "verl_written_twice.jsonl", *REWARDS, "-o", kept).returncode == 0
    (found,) = json.loads(budget_cli("check", kept, "-f", "json").stdout)["findings"]
    assert (found["code"], found["count"], found["evidence"][0]["prompt_id"]) == ("duplicate-records", 6, "a")


@pytest.mark.parametrize("step", [1, 2])
def test_copies_in_any_order_are_the_same_finding_with_any_jobs(budget_cli: Run, tmp_path: Path, step: int) -> None:
    chosen = random.Random(4)
    rows = [
        {"prompt_id": f"p{i // 4}", "reward": chosen.choice([0.0, 1.0]), "response_length": length, "step": 1}
        | {"log_prob": -length * chosen.uniform(0.1, 0.3), "pad": "x" * 900}
        for i in range(3000)
        for length in [chosen.randrange(50, 900)]
    ]
    path = dump(tmp_path / "again.jsonl", chosen.sample(rows + [{**row, "step": step} for row in rows], 6000))
    assert path.stat().st_size > 4 << 20  # more than a block
    one, two = (budget_cli("check", path, "-f", "json", "--jobs", jobs) for jobs in ("1", "2"))
    assert (one.returncode, one.stdout) == (1, two.stdout)
    (found,) = [each for each in json.loads(one.stdout)["findings"] if each["code"] == "duplicate-records"]
    assert (found["severity"], found["count"]) == ("error", 3000)
    of_step = "step 2 repeats step 1: 3,000 of 6,000 responses have the numbers and texts of an earlier step's"
    assert found["message"].startswith("every response to 750 prompts occurs 2 times" if step == 1 else of_step)
