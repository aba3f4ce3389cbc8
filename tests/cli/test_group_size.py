"""If this fails, a dump without ids is cut into other groups than those sampled, or a cut that is off passes."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from command import LossJson, Run

from budget_cli.sources import blocks

FREE = ("--beta", "0", "--kl-coef", "0", "--precision", "17")
REWARDS = [1.0, 0.0, 0.0, 0.0, 1.0, 1.0]


def dump(path: Path, rewards: list[float], pad: int = 0) -> Path:
    path.write_text("".join(json.dumps({"reward": r, "pad": "x" * pad}) + "\n" for r in rewards))
    return path


def test_every_n_lines_are_a_prompt(loss_json: LossJson, tmp_path: Path) -> None:
    path = dump(tmp_path / "a.jsonl", REWARDS)
    found = loss_json(path, *FREE, "--group-size", "2", "--per-prompt")
    assert (found["loss"], found["prompts"]) == (pytest.approx(0.5 / 6, rel=1e-15), 3)
    assert [each["prompt_id"] for each in found["per_prompt"]] == [f"{path}:{line}" for line in (1, 3, 5)]
    assert loss_json(path, *FREE, "--group-size", "3")["loss"] == pytest.approx(2 / 9, rel=1e-15)


@pytest.mark.exhaustive
@pytest.mark.parametrize("jobs", ["1", "2", "3"])
def test_groups_go_through_blocks_and_begin_anew_in_each_file(loss_json: LossJson, tmp_path: Path, jobs: str) -> None:
    rewards = [float(i % 3 == 0) for i in range(6000)]
    paths = [dump(tmp_path / name, rewards, pad=700) for name in ("a.jsonl", "b.jsonl")]
    found = loss_json(*paths, *FREE, "--group-size", "8", "--jobs", jobs)
    with_ids = tmp_path / "ids.jsonl"
    with_ids.write_text(
        "".join(json.dumps({"prompt_id": i // 8, "reward": r}) + "\n" for i, r in enumerate(rewards + rewards))
    )
    assert found["prompts"] == 1500
    assert found["loss"] == pytest.approx(loss_json(with_ids, *FREE)["loss"], rel=1e-14)


def test_a_rejected_line_keeps_its_place_in_the_group(loss_json: LossJson, tmp_path: Path) -> None:
    path = dump(tmp_path / "a.jsonl", REWARDS)
    lines = path.read_text().splitlines()
    lines[1] = '{"reward": "none"}'
    path.write_text("\n".join(lines) + "\n")
    found = loss_json(path, *FREE, "--group-size", "2", "--max-errors", "1")
    assert (found["prompts"], found["responses"], found["groups"]["singletons"]) == (3, 5, 1)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ('{"reward": 1}\n' * 5, "expected groups of 2 lines (--group-size), found 5 lines: the last group has 1"),
        ('{"reward": 1}\n\n{"reward": 1}\n', "--group-size needs a record on every line: remove empty lines, and"),
    ],
)
def test_lines_that_are_no_whole_groups_never_pass(budget_cli: Run, tmp_path: Path, content: str, why: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(content)
    done = budget_cli("loss", path, *FREE, "--group-size", "2")
    assert done.returncode == 3
    assert f"budget-cli: {path}: {why}" in done.stderr.decode()


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (("--group", "line"), "--group and --group-size both define the prompt"),
        (("--ids-per-file",), "--group-size and --ids-per-file both define the prompt"),
        (("--field", "prompt_id=q"), "--group-size and --field prompt_id=… both define the prompt"),
        (("--field", "rollout_id=q"), "--group-size counts lines, and --field rollout_id=… joins them"),
    ],
)
def test_two_definitions_of_a_prompt_are_refused(
    budget_cli: Run, tmp_path: Path, more: tuple[str, ...], why: str
) -> None:
    done = budget_cli("loss", dump(tmp_path / "a.jsonl", REWARDS), *FREE, "--group-size", "2", *more)
    assert (done.returncode, why in done.stderr.decode()) == (2, True)


def test_annotate_takes_the_baseline_of_every_n_lines(budget_cli: Run, tmp_path: Path) -> None:
    path = dump(tmp_path / "a.jsonl", REWARDS)
    done = budget_cli("annotate", path, *FREE[:4], "--group-size", "2")
    found = [json.loads(line)["budget_cli"] for line in done.stdout.splitlines()]
    assert [one["baseline"] for one in found] == [0.5, 0.5, 0, 0, 1, 1]
    assert [one["advantage"] for one in found] == [0.5, -0.5, 0, 0, 0, 0]
    lines = path.read_text().splitlines()
    lines[2] = '{"reward": "none"}'
    path.write_text("\n".join(lines) + "\n")
    done = budget_cli("annotate", path, *FREE[:4], "--group-size", "2", "--max-errors", "1", "-q")
    assert done.returncode == 0
    assert [json.loads(line)["budget_cli"]["baseline"] for line in done.stdout.splitlines()] == [0.5, 0.5, 0, 1, 1]


@pytest.mark.exhaustive
@pytest.mark.parametrize("jobs", ["1", "2", "3"])
@pytest.mark.parametrize("packed", [False, True])
def test_annotate_finds_the_groups_through_blocks_and_files(
    budget_cli: Run, tmp_path: Path, jobs: str, packed: bool
) -> None:
    rewards = [float(i % 3 == 0) for i in range(800)]
    paths = [dump(tmp_path / name, rewards, pad=blocks.BLOCK_BYTES // 500) for name in ("a.jsonl", "b.jsonl")]
    for path in paths if packed else ():
        path.write_bytes(gzip.compress(path.read_bytes(), 1))
    done = budget_cli("annotate", *paths, *FREE[:4], "--group-size", "8", "--jobs", jobs, "-q")
    assert done.returncode == 0, done.stderr.decode()
    found = [json.loads(line)["budget_cli"]["baseline"] for line in done.stdout.splitlines()]
    expected = [sum(rewards[i - i % 8 : i - i % 8 + 8]) / 8 for i in range(len(rewards))]
    assert found == pytest.approx(expected * 2, rel=1e-12)


def test_a_summary_holds_the_groups(loss_json: LossJson, budget_cli: Run, tmp_path: Path) -> None:
    path, kept = dump(tmp_path / "a.jsonl", REWARDS), tmp_path / "kept.bcs"
    mapped: Any = ("--beta", "0", "--kl-coef", "0", "--group-size", "2")
    assert budget_cli("summarize", path, *mapped, "-o", kept).returncode == 0
    assert loss_json(kept, *FREE)["loss"] == pytest.approx(0.5 / 6, rel=1e-15)
