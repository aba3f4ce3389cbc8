"""If this fails, the sample files do not show what sample_data/README.md describes."""

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from command import run

from budget_cli import rl_budget_loss

SAMPLES = Path(__file__).parent.parent / "sample_data"
NESTED_FIELDS = {
    "prompt_id": "task.id",
    "reward": "verifier.reward",
    "response_length": "response.usage.output_tokens",
    "log_prob": "response.output[].logprobs",
    "old_log_prob": "response.output[].ref_logprobs",
}
DAMAGE = {
    2: "non-finite",
    3: "non-finite",
    4: "non-finite",
    5: "non-finite",
    7: "wrong-type",
    8: "number-as-string",
    9: "null",
    10: "missing",
    11: "wrong-value",
    12: "wrong-value",
    14: "wrong-type",
    15: "inexact-id",
    17: "invalid-utf8",
    18: "lone-surrogate",
    19: "nul-bytes",
    20: "not-json",
    21: "not-json",
    22: "not-an-object",
    24: "missing",
    25: "wrong-type",
    26: "unequal-lengths",
    27: "too-deep",
    29: "truncated-tail",
}


def loss(name: str, *options: str) -> dict[str, Any]:
    """Return the JSON of `budget-cli loss` on a sample, with unrounded numbers."""
    done = run("loss", SAMPLES / name, "-B", "1024", "--format", "json", "--precision", "15", *options)
    assert done.returncode in (0, 1), done.stderr.decode()
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.fixture(scope="module")
def flat() -> dict[str, Any]:
    return loss("rollouts.jsonl", "--per-prompt")


@pytest.fixture(scope="module")
def damaged() -> dict[str, Any]:
    return loss("damaged.jsonl", "--verbose")


def test_arrays_give_the_same_numbers(flat: dict[str, Any]) -> None:
    arrays = loss("rollouts_arrays.jsonl", "--per-prompt")
    assert arrays.pop("records") == {"read": 6, "used": 6, "rejected": 0, "blank": 0, "skipped": 0, "left_out": 0}
    assert arrays == {name: value for name, value in flat.items() if name != "records"}


def test_nested_fields_give_the_same_numbers(flat: dict[str, Any]) -> None:
    mappings = [f"--field={name}={path}" for name, path in NESTED_FIELDS.items()]
    assert loss("rollouts_nested.jsonl", "--per-prompt", *mappings) == flat


def test_the_loss_agrees_with_the_definition(flat: dict[str, Any]) -> None:
    prompts = [json.loads(line) for line in (SAMPLES / "rollouts_arrays.jsonl").read_text("utf-8").splitlines()]
    rows = {name: [p[name] for p in prompts] for name in ("rewards", "log_probs", "old_log_probs", "response_lengths")}
    by_definition = rl_budget_loss(**rows, token_budget=1024, kl_coef=0.1, budget_penalty_coef=0.01)
    assert flat["loss"] == pytest.approx(by_definition, rel=1e-12)
    assert round(by_definition, 4) == 0.4236


def test_the_good_files_show_what_the_page_describes(flat: dict[str, Any]) -> None:
    assert (flat["status"], flat["prompts"], flat["responses"]) == ("pass", 6, 48)
    assert flat["groups"] == {
        "size": {"min": 8, "mean": 8, "max": 8},
        "singletons": 0,
        "doubled": 0,
        "zero_variance": 2,
        "zero_variance_adjusted": 1,
        "phantom": 1,
        "reordered": 1,
    }
    assert (flat["over_budget"]["responses"], flat["over_budget"]["excess_tokens"]) == (12, 1676)
    assert flat["length"]["max"] == 1280
    by_id = {prompt["prompt_id"]: prompt for prompt in flat["per_prompt"]}
    assert [name for name, prompt in by_id.items() if prompt["phantom"]] == ["geometry-203"]
    assert (by_id["geometry-203"]["over_budget"], by_id["geometry-203"]["budget_share"]) == (6, 1)
    assert (by_id["series-311"]["over_budget"], by_id["series-311"]["zero_variance"]) == (0, True)


def test_prompts_are_interleaved_in_the_flat_file() -> None:
    ids = [json.loads(line)["prompt_id"] for line in (SAMPLES / "rollouts.jsonl").read_text("utf-8").splitlines()]
    assert sum(a != b for a, b in pairwise(ids)) > len(set(ids))


def test_every_damaged_line_is_rejected_with_its_code(damaged: dict[str, Any]) -> None:
    assert {rejection["line"]: rejection["code"] for rejection in damaged["rejections"]} == DAMAGE
    assert damaged["status"] == "fail"
    assert damaged["records"] == {
        "read": 28,
        "used": 5,
        "rejected": len(DAMAGE),
        "blank": 1,
        "skipped": 0,
        "left_out": 0,
    }


def test_the_rest_of_the_damaged_file_counts(damaged: dict[str, Any]) -> None:
    by_hand = rl_budget_loss(
        rewards=[[1, 0, 0], [0, 1, 0]],
        log_probs=[[-120.5, -210.25, -150], [-100.5, -88.5, -130]],
        old_log_probs=[[-121, -209.75, -150.5], [-100, -89, -131.5]],
        response_lengths=[[600, 1100, 800], [540, 470, 1060]],
        token_budget=1024,
        kl_coef=0.1,
        budget_penalty_coef=0.01,
    )
    assert (damaged["prompts"], damaged["responses"]) == (2, 6)
    assert damaged["loss"] == pytest.approx(by_hand, rel=1e-12)


def test_the_page_describes_the_damage() -> None:
    page = (SAMPLES / "README.md").read_text("utf-8")
    assert {int(line): code for line, code in re.findall(r"^\| (\d+) \| `([\w-]+)` \|", page, re.MULTILINE)} == DAMAGE
