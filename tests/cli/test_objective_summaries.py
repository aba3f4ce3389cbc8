"""If this fails, a summary answers for an objective with other numbers than its records, or not at all."""

import json
import random
import shlex
from pathlib import Path
from typing import Any

import pytest
from command import Run
from samples import lines

PRECISE = ["-f", "json", "--precision", "17"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a dump in two files."""
    folder, chance = tmp_path_factory.mktemp("summaries"), random.Random(4)
    records: list[dict[str, Any]] = []
    for i in range(80):
        record = {"prompt_id": f"p{i % 13}", "reward": chance.choice([0, 1, 1, -0.5])}
        record["response_length"] = chance.randint(20, 160)
        records.append(record | {"log_prob": -chance.random(), "old_log_prob": -chance.random()})
    (folder / "a.jsonl").write_bytes(lines(records[:50]))
    (folder / "b.jsonl").write_bytes(lines(records[50:]))
    return folder


def numbers(budget_cli: Run, folder: Path, command: str) -> dict[str, Any]:
    done = budget_cli(*shlex.split(command), *PRECISE, cwd=folder)
    assert done.returncode == 0, done.stderr.decode()
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


MADE = [  # how the summary is made, and the objective that it then answers for
    ("-B 80,100", "--set penalty=capped --set cap=20"),
    ("-B 80,100", "--objective dapo --max-response-length 100 --overlong-buffer 20"),
    ("-B 80,81", "--set penalty=step"),
    ("-B 0,80", "--set penalty=distance"),
    ("-B 80", "--objective alp"),
    ("-B 80", "--objective areal --set gate=0.3"),
    ("-B 80", "--objective rloo --set singletons=reward"),
    ("-B 0,80", "--objective opo"),
    ("-B 80,90 --set penalize=correct", "--set penalize=correct"),
    (
        "-B 80 --objective dapo --set cap=9 --set penalize=correct",
        "--objective dapo --set cap=9 --set penalize=correct",
    ),
    ("-B 80 --set penalty=distance --set penalize=correct", "--set penalty=distance --set penalize=correct"),
]


@pytest.mark.parametrize(("made", "objective"), MADE)
def test_a_summary_answers_for_an_objective_as_its_records_do(
    budget_cli: Run, folder: Path, tmp_path: Path, made: str, objective: str
) -> None:
    summary = tmp_path / "s.summary"
    done = budget_cli("summarize", "a.jsonl", "b.jsonl", *made.split(), "-o", summary, cwd=folder)
    assert done.returncode == 0, done.stderr.decode()
    at = objective if "overlong" in objective else f"-B 80 {objective}"
    of_records = numbers(budget_cli, folder, f"loss a.jsonl b.jsonl {at}")
    of_summary = numbers(budget_cli, folder, f"loss {summary} {at}")
    assert of_summary == of_records


def test_workers_and_parts_do_not_change_an_objective(budget_cli: Run, folder: Path) -> None:
    for objective in ("dapo --set cap=9", "opo", "reinforce-pp", "kimi-k2 --set penalize=correct"):
        command = f"loss a.jsonl b.jsonl -B 80 --objective {objective}"
        alone, two = (numbers(budget_cli, folder, f"{command} --jobs {jobs}") for jobs in (1, 2))
        assert alone == two


LACKING = [  # the objective, what is said
    ("--set penalty=capped --set cap=20", "has the excess over 80, and the objective needs that over 100, too"),
    ("--set penalty=distance", "has the excess over 80, and the objective needs that over 0, too"),
    ("--objective opo", "has the excess over 80, and the objective needs that over 0, too"),
    (
        "--set penalize=correct",
        "has no excess of right responses (reward above 0), which the objective penalises alone",
    ),
    (
        "--set penalize=correct --set correct_above=0.5",
        "has no excess of right responses (reward above 0.5), which the objective penalises alone",
    ),
]


@pytest.mark.parametrize(("objective", "said"), LACKING)
def test_a_summary_without_what_an_objective_needs_is_refused_and_made_again_it_is_not(
    budget_cli: Run, folder: Path, tmp_path: Path, objective: str, said: str
) -> None:
    summary = tmp_path / "s.summary"
    assert budget_cli("summarize", "a.jsonl", "-B", "80", "-o", summary, cwd=folder).returncode == 0
    refused = budget_cli("loss", summary, "-B", "80", *objective.split(), cwd=folder)
    assert (refused.returncode, refused.stdout) == (2, b"")
    way = "summarize again with the same --objective and --set"
    assert refused.stderr.decode() == f"budget-cli: {summary}: this summary {said}: {way}\n"
    again = ["summarize", "a.jsonl", "-B", "80", *objective.split(), "-o", summary]
    assert budget_cli(*again, cwd=folder).returncode == 0
    of_records = numbers(budget_cli, folder, f"loss a.jsonl -B 80 {objective}")
    assert numbers(budget_cli, folder, f"loss {summary} -B 80 {objective}") == of_records
