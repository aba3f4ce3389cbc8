"""If this fails, responses of several steps form one group, whose mean no trainer uses."""

import json
from pathlib import Path
from typing import Any

import pytest
from command import LossJson, Run

STEPS = Path(__file__).parents[2] / "sample_data/steps"
RECORD = {"log_prob": -1.0, "old_log_prob": -1.0, "response_length": 5}


def dump(path: Path, *responses: tuple[Any, Any, float], **more: Any) -> Path:
    """Write a dump of (step, prompt id, reward); a step of ... is left out of the record."""
    with path.open("w") as file:
        for step, prompt, reward in responses:
            record = {"prompt_id": prompt, "reward": reward, **RECORD, **more} | ({} if step is ... else {"step": step})
            file.write(json.dumps(record) + "\n")
    return path


FREE = ("--beta", "0", "--kl-coef", "0")


def test_the_sample_of_four_steps_has_the_loss_of_its_steps(loss_json: LossJson) -> None:
    found = loss_json(STEPS, "-B", "1024")
    assert (round(found["loss"], 4), found["prompts"], found["groups"]["phantom"]) == (0.3379, 24, 4)
    joined = loss_json(STEPS, "-B", "1024", "--group", "prompt")
    assert (round(joined["loss"], 4), joined["prompts"]) == (0.6362, 7)


@pytest.mark.parametrize("steps", [(1, 2), ("a", "b"), (1, "1"), ("a/b", "c"), (1, None)])
@pytest.mark.parametrize("prompt", ["p", "7", 7, "a/b", "ü"])
def test_equal_ids_of_different_steps_are_different_prompts(
    loss_json: LossJson, tmp_path: Path, steps: tuple[Any, Any], prompt: Any
) -> None:
    one, two = steps
    path = dump(tmp_path / "a.jsonl", (one, prompt, 1.0), (two, prompt, 0.0), (one, prompt, 1.0), (two, prompt, 0.0))
    assert loss_json(path, *FREE)["loss"] == 0.0
    assert loss_json(path, *FREE, "--group", "prompt")["loss"] == 0.25


@pytest.mark.parametrize("prompt", ["p", "7", 7, "a/b", ""])
def test_a_dump_of_one_step_keeps_its_ids(loss_json: LossJson, tmp_path: Path, prompt: Any) -> None:
    path = dump(tmp_path / "a.jsonl", (40, prompt, 1.0), (40, prompt, 0.0))
    (only,) = loss_json(path, *FREE, "--per-prompt")["per_prompt"]
    assert (only["prompt_id"], only["responses"]) == (prompt, 2)


def test_two_dumps_of_one_step_each_are_paired_by_prompt(budget_cli: Run, tmp_path: Path) -> None:
    base = dump(tmp_path / "a.jsonl", (1, "p", 1.0), (1, "q", 0.0))
    new = dump(tmp_path / "b.jsonl", (2, "p", 0.0), (2, "q", 0.0))
    done = budget_cli("compare", base, new, *FREE, "-f", "json")
    assert json.loads(done.stdout)["prompts"]["paired"] == 2


def test_records_without_a_step_keep_their_ids(loss_json: LossJson, tmp_path: Path) -> None:
    path = dump(tmp_path / "a.jsonl", (..., "p", 1.0), (..., "p", 0.0))
    assert loss_json(path, *FREE, "--per-prompt")["per_prompt"][0]["prompt_id"] == "p"


def test_annotate_uses_the_baseline_of_the_step(budget_cli: Run, tmp_path: Path) -> None:
    path = dump(tmp_path / "a.jsonl", (1, "p", 1.0), (1, "p", 0.0), (2, "p", 0.0), (2, "p", 0.0))
    lines = budget_cli("annotate", path, *FREE).stdout.splitlines()
    assert [json.loads(line)["budget_cli"]["baseline"] for line in lines] == [0.5, 0.5, 0.0, 0.0]


def test_ids_that_recur_at_full_size_in_other_files_are_noted(budget_cli: Run, tmp_path: Path) -> None:
    for name in "abc":
        dump(
            tmp_path / f"{name}.jsonl",
            (..., "p", float(name == "a")),
            (..., "p", 0.0),
            (..., "q", 1.0),
            (..., "q", 0.0),
        )
    files = sorted(tmp_path.iterdir())
    for command in (("loss",), ("check",), ("sweep", "--alpha", "0")):
        done = budget_cli(command[0], *files, "--beta", "0", *command[1:])
        assert "give --ids-per-file if each file is a step of its own" in done.stderr.decode()
    apart = budget_cli("loss", *files, *FREE, "-f", "json", "--ids-per-file")
    assert (json.loads(apart.stdout)["prompts"], apart.stderr) == (6, b"")
    assert budget_cli("loss", *files, *FREE, "--group", "prompt").stderr == b""


def test_summaries_keep_the_step_in_their_ids(budget_cli: Run, loss_json: LossJson, tmp_path: Path) -> None:
    parts = []
    for step in (1, 2):
        path = dump(tmp_path / f"{step}.jsonl", (step, "p", 1.0), (step, "p", float(step == 1)))
        parts.append(tmp_path / f"{step}.summary")
        assert budget_cli("summarize", path, *FREE, "-o", parts[-1]).returncode == 0
    found = loss_json(*parts, *FREE)
    assert (found["loss"], found["prompts"]) == (0.125, 2)


def test_group_and_ids_per_file_contradict_each_other(budget_cli: Run, tmp_path: Path) -> None:
    path = dump(tmp_path / "a.jsonl", (1, "p", 1.0))
    done = budget_cli("loss", path, *FREE, "--group", "line", "--ids-per-file")
    assert (done.returncode, done.stderr) == (
        2,
        b"budget-cli: --group and --ids-per-file both define the prompt: give one of them\n",
    )
