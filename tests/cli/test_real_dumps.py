"""If this fails, dumps that real trainers wrote are misread."""

import json
from collections import defaultdict
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from command import LossJson, Run

DUMPS = Path(__file__).parents[3] / "shared" / "dumps"
PRIME_RL = DUMPS / "prime_rl_train_j1i1ys.jsonl"
NEMO_GYM = DUMPS / "nemo_gym_competitive_coding_logprobs.jsonl"
pytestmark = pytest.mark.skipif(not DUMPS.is_dir(), reason="the dumps are not beside this checkout")

TOKENS = "response.output[].generation_log_probs"
REWARD_ONLY = ("--budget-penalty-coef", "0", "--kl-coef", "0")
HOW: dict[Path, tuple[str, ...]] = {
    PRIME_RL: ("--field", "prompt_id=problem_id", *REWARD_ONLY),
    NEMO_GYM: (
        "--field",
        "prompt_id=_ng_task_index",
        "--field",
        f"log_prob={TOKENS}",
        "--field",
        f"old_log_prob={TOKENS}",
        "-B",
        "1000",
    ),
    DUMPS / "nemo_gym_aalcr.jsonl": ("--field", "prompt_id=_ng_task_index", *REWARD_ONLY),
    DUMPS / "verifiers_wordle_oldid_gpt41mini.jsonl": ("--field", "prompt_id=id", *REWARD_ONLY),
    DUMPS / "verl_sdpo_excerpt.jsonl": ("--field", "prompt_id=input", "--field", "reward=score", *REWARD_ONLY),
}


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_the_loss_is_the_mean_square_of_the_advantages_that_prime_rl_stored(loss_json: LossJson) -> None:
    answer = loss_json(PRIME_RL, *HOW[PRIME_RL], "--precision", "15")
    stored = [record["advantage"] for record in records(PRIME_RL)]
    assert answer["responses"] == len(stored) == 25
    assert round(answer["loss"], 12) == 0.07
    assert answer["loss"] == pytest.approx(fmean(a * a for a in stored), rel=1e-12)
    assert answer["advantage"]["mean_square"] == answer["loss"]


def test_per_token_log_probs_of_nemo_gym_are_summed_and_counted(loss_json: LossJson) -> None:
    answer = loss_json(NEMO_GYM, *HOW[NEMO_GYM])
    lengths = [record["response"]["usage"]["output_tokens"] for record in records(NEMO_GYM)]
    assert answer["responses"] == len(lengths) == 5
    assert (answer["length"]["min"], answer["length"]["max"]) == (min(lengths), max(lengths)) == (785, 1277)
    assert answer["length"]["mean"] == fmean(lengths)
    assert answer["over_budget"]["excess_tokens"] == sum(max(0, length - 1000) for length in lengths)
    assert answer["kl"]["k1"] == answer["kl"]["k2"] == answer["kl"]["k3"] == 0


@pytest.mark.parametrize("path", HOW, ids=lambda path: path.stem)
def test_rewards_are_averaged_by_prompt_for_any_number_of_workers(budget_cli: Run, path: Path) -> None:
    paths = dict(mapping.split("=") for mapping in HOW[path][1::2] if "=" in mapping)
    rewards = defaultdict(list)
    for record in records(path):
        rewards[record[paths["prompt_id"]]].append(record[paths.get("reward", "reward")])
    alone = budget_cli("loss", path, *HOW[path], "-f", "json", "--precision", "17", "--per-prompt", "--jobs", "1")
    assert alone.returncode == 0, alone.stderr
    answer = json.loads(alone.stdout)
    found = {prompt["prompt_id"]: prompt["reward_mean"] for prompt in answer["per_prompt"]}
    assert found == pytest.approx({key: fmean(values) for key, values in rewards.items()}, rel=1e-12)
    for jobs in ("2", "3", "7"):
        done = budget_cli("loss", path, *HOW[path], "-f", "json", "--precision", "17", "--per-prompt", "--jobs", jobs)
        assert (done.returncode, done.stdout) == (0, alone.stdout)


def test_each_record_of_atropos_is_one_prompt(loss_json: LossJson) -> None:
    path = DUMPS / "atropos_rubiks_groups.jsonl"
    answer = loss_json(path, *REWARD_ONLY, "--precision", "15")
    groups = [record["scores"] for record in records(path)]
    assert (answer["prompts"], answer["responses"]) == (len(groups), sum(map(len, groups))) == (6, 24)
    squares = [(score - fmean(scores)) ** 2 for scores in groups for score in scores]
    assert answer["loss"] == pytest.approx(fmean(squares), rel=1e-12)
    assert answer["groups"]["zero_variance"] == sum(len(set(scores)) == 1 for scores in groups)


# findings that a person would name after examining these dumps: code, severity, count
FINDINGS: dict[str, dict[str, tuple[str, int]]] = {
    # one page of 25 responses of a step, which cuts off the last prompt; without token counts, lengths are 0
    "prime_rl_train_j1i1ys": {
        "singleton": ("warning", 1),
        "all-lengths-zero": ("warning", 25),
        "zero-variance": ("info", 1),
    },
    "nemo_gym_competitive_coding_logprobs": {"constant-reward": ("warning", 5)},
    "nemo_gym_aalcr": {"uneven-groups": ("warning", 1), "zero-variance": ("info", 2)},
    # the state of the cube differs within a group, and most responses are the same move
    "atropos_rubiks_groups": {
        "id-over-texts": ("warning", 4),
        "identical-responses": ("warning", 14),
        "zero-variance": ("info", 2),
    },
    # every game begins with the same words, without the secret
    "verifiers_wordle_oldid_gpt41mini": {"text-under-ids": ("info", 5)},
    "verl_sdpo_excerpt": {"singleton": ("warning", 2)},
}


@pytest.mark.parametrize("name", FINDINGS)
def test_the_findings_are_those_that_a_person_would_name_and_none_is_an_error(budget_cli: Run, name: str) -> None:
    done = budget_cli("check", DUMPS / f"{name}.jsonl", "--text", "-f", "json")
    assert done.returncode == 0
    found = {f["code"]: (f["severity"], f["count"]) for f in json.loads(done.stdout)["findings"]}
    assert found == FINDINGS[name]


def test_with_a_budget_lengths_that_are_all_0_are_an_error(budget_cli: Run) -> None:
    done = budget_cli("check", PRIME_RL, "-B", "512", "-f", "json")
    assert done.returncode == 1
    errors = [f["code"] for f in json.loads(done.stdout)["findings"] if f["severity"] == "error"]
    assert errors == ["all-lengths-zero"]
