"""If this fails, a dump as trainers write it gives a loss that is not the trainer's, or check does not say so.

Each row is a dump in tests/trainer/ with one fault, as people met it, and the numbers worked out by hand; beside it a
healthy neighbour, to which nothing must happen. To add a case, add its file and its row.
"""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
from command import Run

TRAINER = Path(__file__).parent / "trainer"
REWARDS = ("--kl-coef", "0", "--beta", "0")  # neither log-probs nor lengths


class Case(NamedTuple):
    """A dump, the options of `loss`, and what the answer must be."""

    file: str
    options: tuple[str, ...]
    loss: float | None
    responses: int
    numbers: Mapping[str, Any] = MappingProxyType({})  # dotted path in the JSON → its value
    says: str = ""  # a part of the screen, whose spaces and line ends count as one space
    silent: tuple[str, ...] = ("warning", "left out", "rejected ")  # what the screen must not say, if `says` is ""
    exits: int = 0


LEFT_OUT = [
    # (1 + 1) / 2 = 1, so each advantage is 0; with the failed one as 0 the loss would be 2/9
    Case("prime_rl_failed.jsonl", REWARDS, 0.0, 2, {"left_out": {"failed": 1}, "records.left_out": 1}, "1 failed"),
    Case("prime_rl_failed.jsonl", (*REWARDS, "--keep", "failed"), 0.2222, 3, {"left_out": {}}),
    Case("prime_rl_complete.jsonl", REWARDS, 0.2222, 3, {"left_out": {}, "records.left_out": 0}),
    # the solvers' rewards are 1 and 0: the judge has none, the opponent is not trained, an episode has no trace
    Case(
        "prime_rl_seats.jsonl",
        REWARDS,
        0.25,
        2,
        {"left_out": {"no-reward": 1, "untrainable": 1, "no-trace": 1}, "records.used": 2, "records.rejected": 0},
        "left out 3 samples: 1 no-reward, 1 untrainable, 1 no-trace; --keep untrainable uses 1 of them",
    ),
    # 1, 0 of one prompt and a single response: (0.25 + 0.25 + 0) / 3
    Case("verifiers_failed.jsonl", (*REWARDS,), 0.1667, 3, {"left_out": {"failed": 2}, "records.read": 5}, "2 failed"),
    # (1, 0, 0): 2/3; (1, 0): 1/2; together (2/3 + 1/2) / 5
    Case("verifiers_complete.jsonl", REWARDS, 0.2333, 5, {"left_out": {}}),
    Case(
        "verifiers_complete.jsonl",
        (*REWARDS, "--where", "token_usage.output_tokens > `3`"),
        0.25,
        4,
        {"left_out": {"where": 1}},
        "left out 1 sample: 1 by --where pass",
    ),
    Case("verifiers_complete.jsonl", (*REWARDS, "--where", "!is_truncated"), 0.2333, 5, {"left_out": {}}),
]
NUMBER = ("--field", "reward=number(acc)")
NESTED = ("--field", "prompt_id=qid", "--field", "rewards=rollouts[].score")
SCORED = [
    # math 1, 0: 2 · 0.25; code 1, 0.5: 2 · 0.0625; one without either
    Case(
        "multi_task_rewards.jsonl",
        (*REWARDS, "--reward-weights", "math=1,code=1"),
        0.1562,
        4,
        {"records.rejected": 1},
        "all 2 values are null or NaN",
        exits=1,
    ),
    Case(
        "multi_task_rewards.jsonl",
        (*REWARDS, "--reward-weights", "math=2,code=4", "--max-errors", "1"),
        1.0,
        4,
        {},
        "as allowed",
    ),
    Case(
        "boolean_reward.jsonl",
        (*REWARDS, "--field", "reward=acc"),
        None,
        0,
        {"records.rejected": 2},
        "found true; --field 'reward=number(acc)' counts true as 1 and false as 0",
        exits=1,
    ),
    Case("boolean_reward.jsonl", (*REWARDS, *NUMBER), 0.25, 2),
    Case(
        "reward_of_parts.jsonl",
        REWARDS,
        None,
        0,
        {"records.rejected": 2},
        "reward: expected a number, found an object; in it are acc, format; --field reward=reward.acc takes acc",
        exits=1,
    ),
    Case("reward_of_parts.jsonl", (*REWARDS, "--field", "reward=reward.acc"), 0.25, 2),
    Case(
        "nan_log_prob.jsonl",
        ("--kl-coef", "0", "-B", "100"),
        0.0,
        1,
        {"records.rejected": 2},
        "NaN is not a number that can be averaged; --ignore-unneeded reads on without it",
        exits=1,
    ),
    Case("nan_log_prob.jsonl", ("--kl-coef", "0", "-B", "100", "--ignore-unneeded"), 0.2222, 3),
    Case(
        "reward_beside_rewards.jsonl",
        REWARDS,
        None,
        0,
        {"records.rejected": 2},
        "give --field reward=reward for the one number, or --field rewards=rewards for the array",
        exits=1,
    ),
    # 1, 0: 2 · 0.25; 1, 0, 0, 0: 0.75² + 3 · 0.25²
    Case("reward_beside_rewards.jsonl", (*REWARDS, "--field", "rewards=rewards"), 0.2083, 6),
    Case("reward_beside_rewards.jsonl", (*REWARDS, "--field", "reward=reward"), 0.0, 2, {}, "2 records"),
    Case("reward_beside_scores_by_name.jsonl", REWARDS, 0.25, 2),
    Case("group_rewards.jsonl", (*REWARDS, "--field", "rewards=group_rewards"), 0.2083, 6),
    Case("rollouts_inside.jsonl", (*REWARDS, *NESTED), 0.1667, 3, {}, "2 records"),
    Case(
        "rollouts_inside.jsonl",
        (*REWARDS, *NESTED, "--field", "response_lengths=rollouts[].n"),
        0.1667,
        3,
        {"length.mean": 7.6667},
        "2 records",
    ),
    Case(
        "rollouts_without_score.jsonl",
        (*REWARDS, *NESTED),
        None,
        0,
        {"records.rejected": 1},
        "response 1: missing",
        exits=1,
    ),
]
BY_INPUT = ("--field", "prompt_id=digest(input)")
GROUPED = [
    # by their tokens (1, 0), (0, 1, 1) and (1): (1/2 + 2/3) / 6; by prompt_idx, which counts in threes, (1, 0, 0) and
    # (1, 1, 1): 2/3 / 6
    Case("open_instruct_regrouped.jsonl", REWARDS, 0.1944, 6, {"prompts": 3, "groups.singletons": 1}, "3 prompts"),
    Case("open_instruct_regrouped.jsonl", (*REWARDS, "--field", "prompt_id=[step, prompt_idx]"), 0.1111, 6),
    # (1, 0, 1) and (0, 1, 1), by either
    Case("open_instruct_whole.jsonl", REWARDS, 0.2222, 6, {"prompts": 2}),
    # a path in the prompt: the two groups of three fall apart
    Case("nemo_rl_path_in_prompt.jsonl", REWARDS, 0.0, 6, {}, "6 prompts with a single response"),
    Case("nemo_rl_path_in_prompt.jsonl", (*REWARDS, "--group-size", "3"), 0.2222, 6, {"prompts": 2}),
    Case("nemo_rl_same_prompt.jsonl", REWARDS, 0.2222, 6, {"prompts": 2}),
    # the trainer gave each trajectory an id of its own: (1, 0, 0) and (0, 1, 1) fall apart
    Case("verl_uid_of_each_trajectory.jsonl", REWARDS, 0.0, 6, {}, "6 prompts with a single response"),
    Case("verl_uid_of_each_trajectory.jsonl", (*REWARDS, *BY_INPUT), 0.2222, 6, {"prompts": 2}),
    Case("verl_uid_of_each_prompt.jsonl", REWARDS, 0.2222, 6, {"prompts": 2}),
]
SHAPED = [
    # by step and prompt 1.5, 0.5: 2 · 0.25; 1 alone; 0, 2: 2 · 1; over 5 responses
    Case(
        "completions.table.json",
        (*REWARDS, "--reward-weights", "accuracy_reward=1,format_reward=1"),
        0.5,
        5,
        {"prompts": 3, "records.rejected": 0},
        "5 records",
    ),
    # an episode per line or per file; one task in step 2 of epoch 0, with 1, 1, and in step 9 of epoch 1, with 0, 0
    Case("rllm_episodes.jsonl", REWARDS, 0.0, 4, {"prompts": 2}, "2 prompts"),
    Case("rllm_steps", REWARDS, 0.0, 4, {"prompts": 2}, "2 prompts"),
    Case("rllm_one_step.jsonl", REWARDS, 0.25, 4, {"prompts": 1}),
    # group 0 of iteration 3 in training, with 1, 1, and in evaluation, with 0, 0
    Case("tinker_splits", REWARDS, 0.0, 4, {"prompts": 2}, "2 prompts"),
    Case("tinker_one_split.jsonl", REWARDS, 0.25, 4, {"prompts": 1}),
    # a step of rllm as a folder, beside its summary: 1, 0 of one task and 0.5 twice of another
    Case("rllm_step", REWARDS, 0.125, 4, {"prompts": 2, "records.read": 4, "records.rejected": 0}, "4 records"),
]
TWICE = [
    # (1, 0, 0) and (0, 1, 1): 4/3 / 6; no response has two rows
    Case("verl_written_twice.jsonl", REWARDS, 0.2222, 6, {"rows": 6, "records.read": 12}, "6 responses, 2 prompts"),
    Case("verl_written_once.jsonl", REWARDS, 0.2222, 6, {"rows": 6, "records.read": 6}),
]
TURNS = ("-B", "30", "--beta", "0.01", "--kl-coef", "0")
COUNTED = [
    # 1, 1 and a row that pads the batch: 1/3, 1/3, -2/3; 0, 0, 0: (2/9 + 4/9) / 6. Without that row all are 0
    Case("padded.jsonl", REWARDS, 0.1111, 6),
    Case(
        "padded.jsonl",
        (*REWARDS, "--where", "response_length > `1`"),
        0.0,
        5,
        {"left_out": {"where": 1}},
        "left out 1 sample",
    ),
    # rewards 1, 0; 1, 0 and lengths of turns, all within 30: 4 · 0.25 / 4
    Case(
        "lengths_are_turns.jsonl",
        (*TURNS, "--field", "response_length=length(response_token_ids)"),
        0.25,
        4,
        {},
        "pass",
    ),
    # 70, 50; 60, 25 tokens: 0.6, -0.2; 0.7, 0: (0.4² + 0.4² + 0.35² + 0.35²) / 4 = 0.14125
    Case("lengths_are_turns.jsonl", (*TURNS, "--field", "response_length=length(response_token_ids[])"), 0.1413, 4),
    # two tokens of each second turn are masked: 68, 50; 58, 23: 0.62, -0.2; 0.72, 0: (0.41² + 0.36²) / 2 = 0.14885
    Case("lengths_are_turns.jsonl", (*TURNS, "--field", "response_length=kept(response_loss_mask[])"), 0.1488, 4),
    Case(
        "lengths_are_turns.jsonl",
        (*TURNS, "--field", "response_length=kept(response_loss_mask)"),
        None,
        0,
        {"records.rejected": 4},
        "kept: the mask is a list of lists; MASK[] joins them, if they are the response's turns",
        exits=1,
    ),
]
GENERATED = ("-B", "40", "--kl-coef", "0")
TOOLS = [
    # 40, 70; 50, 60 tokens were generated, with rewards 1, 0; 1, 1: 1, -0.3; 0.9, 0.8: (2 · 0.65² + 2 · 0.05²) / 4.
    # With what the tools returned, the first and the third would have 140 and 250
    Case("areal_tool_tokens.jsonl", GENERATED, 0.2125, 4, {"length.max": 70, "over_budget.responses": 3}, "max 70"),
    Case("areal_single_turn.jsonl", GENERATED, 0.2125, 4, {"length.max": 70, "over_budget.responses": 3}, "max 70"),
]
SESSIONS = [
    # three sessions with 1, 0, 0, the first of 3 outputs: (4/9 + 1/9 + 1/9) / 3; by rows (3 · 4/9 + 2 · 1/9) / 5
    Case("verl_sessions.jsonl", REWARDS, 0.2222, 3, {"rows": 5, "groups.size.max": 3}, "3 responses in 5 rows"),
    Case("verl_sessions.jsonl", (*REWARDS, "--aggregate", "row"), 0.3111, 3, {"rows": 5}, "mean over rows"),
]
SUM = ("--field", "old_log_prob=response.output[].generation_log_probs")
UNSCORED = [
    # rewards 1, 0; 1: (1/4 + 1/4 + 0) / 3, whether there are log-probs or not
    Case("nemo_gym_empty_log_probs.jsonl", REWARDS, 0.1667, 3, {"records.rejected": 0}, "3 records, none rejected"),
    Case(
        "nemo_gym_empty_log_probs.jsonl",
        ("--beta", "0", *SUM),
        None,
        0,
        {"records.rejected": 3, "coverage.no_log_prob": 3},
        "an empty list holds no log-probs; --kl-coef 0 does without them",
        exits=1,
    ),
    Case("nemo_gym_log_probs.jsonl", REWARDS, 0.1667, 3, {"records.rejected": 0}, "3 records, none rejected"),
    Case("nemo_gym_log_probs.jsonl", ("--beta", "0", *SUM), 0.1667, 3, {"kl.k1": 0}, "none rejected"),
]
CASES = [*LEFT_OUT, *SCORED, *GROUPED, *SHAPED, *TWICE, *COUNTED, *TOOLS, *SESSIONS, *UNSCORED]


@pytest.mark.parametrize("case", CASES, ids=[f"{case.file} {' '.join(case.options)}" for case in CASES])
def test_the_loss_is_what_the_trainer_would_count(budget_cli: Run, case: Case) -> None:
    done = budget_cli("loss", TRAINER / case.file, *case.options, "--format", "json")
    assert done.returncode == case.exits, done.stderr.decode()
    answer = json.loads(done.stdout)
    assert (answer["loss"], answer["responses"]) == (case.loss, case.responses)
    assert {path: at(answer, path) for path in case.numbers} == dict(case.numbers)
    screen = " ".join(budget_cli("loss", TRAINER / case.file, *case.options, COLUMNS="400").stdout.decode().split())
    if case.says:
        assert case.says in screen
    else:
        assert not [words for words in case.silent if words in screen]


class Finding(NamedTuple):
    """A dump, the options of `check`, and what it must find; in the healthy neighbour it must not find it."""

    file: str
    neighbour: str
    options: tuple[str, ...]
    code: str
    severity: str
    says: str  # a part of the message
    line: int | None = None  # of the first place


SAMPLER = ("--field", "old_log_prob=masked(generation_logprobs[0], token_loss_mask[0])")
FOUND = [
    # the third token of the last response: 0 for the sampler, -6.5 for the policy
    Finding(
        "nemo_rl_unfilled.jsonl",
        "nemo_rl_filled.jsonl",
        ("-B", "64", *SAMPLER),
        "unfilled-log-prob",
        "warning",
        "old_log_prob is exactly 0 for a token whose log_prob is below −1, in 1 of 4 responses; at token 3 of the"
        " response (index 2)",
        4,
    ),
    # rewards 0 and 1, from which a maximum of 800 and a buffer of 200 take (length − 600) / 200
    Finding(
        "overlong_applied.jsonl",
        "overlong_skipped.jsonl",
        ("-B", "600", "--beta", "0.005"),
        "penalty-in-reward",
        "error",
        "the reward already holds a penalty of β 0.005 over 600 tokens: 6 of the 6 responses over it have 0 or 1 less"
        " that penalty",
    ),
    # the same from the length of prompt and response
    Finding(
        "overlong_with_prompt.jsonl",
        "overlong_skipped.jsonl",
        ("-B", "700", "--beta", "0.005"),
        "penalty-in-reward",
        "error",
        "a penalty of β 0.005 over 600 tokens of prompt and response together: 8 of the 8 responses over it have 0 or 1"
        " less that penalty; given: β 0.005 over 700 tokens",
    ),
    Finding(
        "overlong_applied.jsonl",
        "overlong_skipped.jsonl",
        ("--beta", "0"),
        "penalty-in-reward",
        "info",
        "β 0.005 over 600 tokens",
    ),
    # a row that pads the batch: one token, no text, reward 0
    Finding(
        "padded.jsonl",
        "not_padded.jsonl",
        ("-B", "900", "--kl-coef", "0"),
        "one-token",
        "warning",
        "1 of 6 responses has one token, and no other fewer than 180",
        3,
    ),
    # turns that are cut off at the maximum and end in a call of a tool
    Finding(
        "cut_off_calling_tools.jsonl",
        "cut_off_by_reason.jsonl",  # its own finding says so
        ("-B", "900", "--beta", "0.001", "--kl-coef", "0"),
        "at-maximum",
        "warning",
        "6 of 16 responses (38%) have the same maximum length, 1,024 tokens",
    ),
    # a path in the prompt, so that each group of three falls apart: the advantage of a single response is 0
    Finding(
        "nemo_rl_path_in_prompt.jsonl",
        "nemo_rl_same_prompt.jsonl",
        REWARDS,
        "stored-advantage",
        "warning",
        "in 6 of 6 prompts with a single response the stored advantage is not 0",
        1,
    ),
    Finding(
        "verl_uid_of_each_trajectory.jsonl",
        "verl_uid_of_each_prompt.jsonl",
        REWARDS,
        "singleton",
        "warning",
        "every prompt has a single response (6 prompts): does the id identify responses?",
        1,
    ),
    Finding(
        "verl_written_twice.jsonl",
        "verl_written_once.jsonl",
        REWARDS,
        "duplicate-records",
        "error",
        "every record is there twice: 6 of 12 records repeat an earlier one",
        7,
    ),
    Finding(
        "lengths_all_equal.jsonl",
        "lengths_of_the_response.jsonl",
        ("-B", "300", "--kl-coef", "0"),
        "all-lengths-equal",
        "error",
        "every length is 203 tokens, in all 12 responses, but their texts have",
    ),
    Finding(
        "lengths_are_turns.jsonl",
        "lengths_of_the_response.jsonl",
        ("-B", "64", "--kl-coef", "0", "--field", "response_length=length(response_token_ids) || response_length"),
        "length-is-turns",
        "warning",
        "response_length is the number of turns in response_token_ids, not of tokens, in all 4 samples examined",
    ),
    Finding(
        "lengths_of_the_prompt.jsonl",
        "lengths_of_the_response.jsonl",
        ("-B", "64", "--kl-coef", "0"),
        "lengths-equal-by-prompt",
        "warning",
        "the responses to a prompt are equally long, in all 4 prompts, but not the texts of 4 of the first 4 prompts",
    ),
    # 0.5 − u for a right response and min(0, 0.5 − u) for a wrong one, u from 0 for the shortest of the prompt to 1
    Finding(
        "length_reward.jsonl",
        "length_correlated.jsonl",
        (*REWARDS,),
        "length-in-reward",
        "warning",
        "the reward is a function of length within each prompt: for responses of 2 kinds at most, as right and wrong"
        " ones, it never rises with length (40 responses to 5 prompts, 9 different rewards)",
        1,
    ),
]


@pytest.mark.parametrize("case", FOUND, ids=[f"{case.file} {' '.join(case.options)}" for case in FOUND])
def test_check_finds_what_the_trainer_counts_otherwise(budget_cli: Run, case: Finding) -> None:
    found = findings(budget_cli, case.file, case.options)
    assert case.code in found
    finding = found[case.code]
    assert (finding["severity"], case.says in finding["message"]) == (case.severity, True), finding["message"]
    assert case.line is None or finding["evidence"][0]["line"] == case.line
    assert case.code not in findings(budget_cli, case.neighbour, case.options)


def test_a_penalty_in_the_rewards_is_not_counted_twice_unnoticed(budget_cli: Run) -> None:
    penalty = ("-B", "600", "--beta", "0.005", "--kl-coef", "0", "--format", "json")
    done = budget_cli("loss", TRAINER / "overlong_applied.jsonl", *penalty)
    warning = (
        "the rewards already hold a penalty of β 0.005 over 600 tokens: it is counted twice here; --beta 0 gives the"
        " loss of these rewards"
    )
    assert f"budget-cli: warning: {warning}\n" in done.stderr.decode()
    assert json.loads(done.stdout)["warnings"] == [warning]
    github = budget_cli("loss", TRAINER / "overlong_applied.jsonl", *penalty[:-1], "github").stdout.decode()
    assert f"::warning title=budget-cli loss::{warning}\n" in github
    once = json.loads(budget_cli("loss", TRAINER / "overlong_skipped.jsonl", *penalty).stdout)["loss"]
    alone = budget_cli("loss", TRAINER / "overlong_applied.jsonl", *REWARDS, "--format", "json")
    assert (json.loads(alone.stdout)["loss"], once, json.loads(done.stdout)["loss"]) == (0.3391, 0.3391, 0.5815)
    assert b"hold a penalty" not in alone.stderr


@pytest.mark.parametrize("command", ["compare", "annotate", "report"])
def test_every_command_with_a_penalty_of_its_own_says_that_it_is_counted_twice(
    budget_cli: Run, tmp_path: Path, command: str
) -> None:
    for name, beta, is_said in (("applied", "0.005", True), ("applied", "0", False), ("skipped", "0.005", False)):
        files = [TRAINER / f"overlong_{name}.jsonl"] * (2 if command == "compare" else 1)
        options = ("-B", "600", "--kl-coef", "0", "--beta", beta, "-o", tmp_path / "answer")
        done = budget_cli(command, *files, *options)
        said = "warning: the rewards already hold a penalty of β 0.005 over 600 tokens: it is counted twice here"
        assert (said in done.stderr.decode()) is is_said


@pytest.mark.parametrize(
    ("options", "then"),
    [
        (("-B", "600", "--beta", "0,0.005", "--alpha", "0"), "it is counted twice here"),
        (("--suggest",), "what is suggested comes on top of it"),
    ],
)
def test_a_sweep_says_that_the_rewards_hold_a_penalty(budget_cli: Run, options: tuple[str, ...], then: str) -> None:
    said = f"the rewards already hold a penalty of β 0.005 over 600 tokens: {then}"
    assert said in budget_cli("sweep", TRAINER / "overlong_applied.jsonl", *options).stderr.decode()
    assert b"hold a penalty" not in budget_cli("sweep", TRAINER / "overlong_skipped.jsonl", *options).stderr


def test_a_summary_says_that_the_rewards_hold_a_penalty(budget_cli: Run, tmp_path: Path) -> None:
    for name in ("applied", "skipped"):
        budget_cli("summarize", TRAINER / f"overlong_{name}.jsonl", "-B", "600", "--alpha", "0", "-o", tmp_path / name)
    options = ("-B", "600", "--kl-coef", "0")
    assert "β 0.005 over 600 tokens" in budget_cli("loss", tmp_path / "applied", *options).stderr.decode()
    assert b"hold a penalty" not in budget_cli("loss", tmp_path / "skipped", *options).stderr
    checked = budget_cli("check", tmp_path / "applied", "-B", "600", "--format", "json")
    assert json.loads(checked.stdout)["penalty_in_reward"] == {
        "found": True,
        "token_budget": 600,
        "budget_penalty_coef": pytest.approx(0.005),
        "largest": None,
        "counts_prompt": False,
        "responses": 6,
        "of": 6,
    }


def test_check_says_that_no_penalty_is_in_the_rewards(budget_cli: Run) -> None:
    done = budget_cli("check", TRAINER / "overlong_skipped.jsonl", "-B", "600", "--beta", "0.005")
    assert "rewards   no penalty is in them: over 600 tokens they are 0 or 1, too" in done.stdout.decode()
    for options, expected in ((("-B", "600"), {"found": False}), ((), None), (("-B", "900"), None)):
        done = budget_cli("check", TRAINER / "overlong_skipped.jsonl", *options, "--format", "json")
        assert json.loads(done.stdout)["penalty_in_reward"] == expected


@pytest.mark.parametrize("log_ratio", [-12, -25, -3000])
def test_an_outlier_is_found_on_its_line_whatever_its_size(budget_cli: Run, tmp_path: Path, log_ratio: int) -> None:
    """Of 32 log-ratios of ±0.02 one is off, beside a neighbour where none is."""
    found = []
    for each, last in (("outlier", log_ratio), ("healthy", 0.02)):
        ratios = [0.02 * (-1) ** i for i in range(32)]
        ratios[18] = last
        record = '{"prompt_id":"p%d","reward":%d,"log_prob":%r,"old_log_prob":-4000,"response_length":%d}\n'
        lines = [record % (i // 8, i % 2, -4000 + ratio, 40 + i) for i, ratio in enumerate(ratios)]
        (tmp_path / each).write_text("".join(lines), encoding="utf-8")
        done = budget_cli("check", tmp_path / each, "-B", "60", "--format", "json", "--ignore", "lengths")
        found.append([one for one in json.loads(done.stdout)["findings"] if "log-ratio" in one["code"]])
    (outlier,), healthy = found
    assert (outlier["code"], outlier["severity"], healthy) == ("log-ratio-outlier", "warning", [])
    assert [place["line"] for place in outlier["evidence"]] == [19]
    assert "8 nats or more in 1 of 32 responses (3.1%); at least half are within ±0.031" in outlier["message"]


@pytest.mark.parametrize(
    ("field", "rows"),
    [("temperature", ["0.7", "0.95", "1.0"]), ("ok", ["false", "true"]), ("prompt_id", ["a", "b", "c"])],
)
def test_rows_are_named_as_the_records_write_them(budget_cli: Run, field: str, rows: list[str]) -> None:
    done = budget_cli("loss", TRAINER / "settings.jsonl", *REWARDS, "--by", field)
    table = done.stdout.decode().partition("trend")[2].splitlines()[1 : 1 + len(rows)]
    assert [row.split()[0] for row in table] == rows


def test_annotate_writes_the_terms_of_a_session_into_each_of_its_rows(budget_cli: Run) -> None:
    done = budget_cli("annotate", TRAINER / "verl_sessions.jsonl", *REWARDS)
    written = [json.loads(line) for line in done.stdout.splitlines()]
    assert [round(row["budget_cli"]["advantage"], 4) for row in written] == [0.6667, -0.3333, 0.6667, -0.3333, 0.6667]
    assert {round(row["budget_cli"]["baseline"], 4) for row in written} == {0.3333}


def findings(budget_cli: Run, file: str, options: tuple[str, ...]) -> dict[str, Any]:
    """The findings of `check`, by code."""
    done = budget_cli("check", TRAINER / file, *options, "--format", "json")
    assert done.returncode in (0, 1), done.stderr.decode()
    return {finding["code"]: finding for finding in json.loads(done.stdout)["findings"]}


def at(answer: Any, path: str) -> Any:
    """Return what is at a dotted path of the JSON."""
    for key in path.split("."):
        answer = answer[key]
    return answer


def test_a_reward_that_no_record_has_is_refused_before_it_counts_as_null(budget_cli: Run) -> None:
    done = budget_cli("loss", TRAINER / "multi_task_rewards.jsonl", *REWARDS, "--reward-weights", "maths=1,code=1")
    assert done.returncode == 2
    assert "none of the first records has maths (did you mean math?)" in done.stderr.decode()


def test_every_command_says_that_an_id_is_that_of_a_trajectory(budget_cli: Run) -> None:
    path = TRAINER / "verl_uid_of_each_trajectory.jsonl"
    contradicted = "no prompt id comes twice among the first 6 records, but 2 prompts do, by input"
    for command in ("loss", "check", "annotate"):
        said = budget_cli(command, path, *REWARDS).stderr.decode()
        assert f"warning: {contradicted}: --field 'prompt_id=digest(input)' groups by that\n" in said
        assert "warning" not in budget_cli(command, path, *REWARDS, *BY_INPUT).stderr.decode()
    remedy = f"Give `--field 'prompt_id=digest(input)'`: {contradicted}."
    found = json.loads(budget_cli("check", path, *REWARDS, "--format", "json").stdout)["findings"]
    assert [one["remedy"] for one in found if one["code"] == "singleton"] == [remedy]


THREADS = Path(__file__).parents[2] / "shared" / "threads"
SHARED = [  # file, options, exit code, loss, what is left out
    ("areal_tool_tokens.jsonl", "-B 100 --alpha 0", 0, 0.2288, {}),
    ("areal_min.jsonl", "-B 100 --alpha 0", 0, 0.25, {}),
    ("wild_areal_multi_turn.jsonl", "-B 256 --alpha 0", 0, 0.0, {}),
    ("verl_v1_sessions_min.jsonl", "", 0, 0.25, {}),
    ("prime_rl_failed.jsonl", "-B 64", 0, 0.3281, {"failed": 1}),
    ("prime_rl_failed_min.jsonl", "", 0, 0.0, {"failed": 1}),
    ("prime_rl_failed_no_trace.jsonl", "", 0, 0.0, {"failed": 1, "no-trace": 1}),
    ("wild_failed_episode.jsonl", "", 0, 0.25, {"no-trace": 1}),
    ("wild_judge_seat.jsonl", "", 0, 0.0, {"no-reward": 1}),
    ("verifiers_failed.jsonl", "-B 64 --alpha 0", 0, 0.2097, {"failed": 3}),
    ("open_instruct_regrouped.jsonl", "-B 16 --alpha 0", 0, 0.0876, {}),
    ("nemo_rl_path_in_prompt.jsonl", "-B 8 --alpha 0 --group-size 4", 0, 0.2176, {}),
    ("trl_multitask_null.parquet", "--beta 0 --alpha 0 --reward-weights math_reward=1,code_reward=1", 1, 0.197, {}),
    ("open_instruct_nan_logprob.jsonl", "-B 24 --alpha 0", 1, 0.2406, {}),
    ("open_instruct_nan_logprob.jsonl", "-B 24 --alpha 0 --ignore-unneeded", 0, 0.2292, {}),
    ("wild_nemo_gym.jsonl", "", 0, 0.25, {}),
    ("wild_verifiers_v1.jsonl", "", 0, 0.25, {}),
    (
        "wandb_completions.table.json",
        "--beta 0 --alpha 0 --reward-weights accuracy_reward=1,format_reward=1",
        0,
        0.6875,
        {},
    ),
    ("wild_both.jsonl", "", 1, None, {}),
    ("wild_both.jsonl", "--beta 0 --alpha 0 --field rewards=rewards", 0, 0.2333, {}),
    ("wild_explicit.jsonl", "--beta 0 --alpha 0 --field rewards=group_rewards", 0, 0.2333, {}),
    ("wild_nested.jsonl", "--beta 0 --alpha 0 --field prompt_id=qid --field rewards=rollouts[].score", 0, 0.25, {}),
    ("wild_tinker_splits", "", 0, 0.0, {}),
    ("wild_rllm_steps", "", 0, 0.0, {}),
    ("wild_rllm.jsonl", "", 0, 0.0, {}),
]


@pytest.mark.skipif(not THREADS.is_dir(), reason="the inputs are not beside this checkout")
@pytest.mark.parametrize(("file", "options", "exits", "loss", "left_out"), SHARED)
def test_the_loss_of_what_people_met(
    budget_cli: Run, file: str, options: str, exits: int, loss: float | None, left_out: dict[str, int]
) -> None:
    done = budget_cli("loss", THREADS / file, *(shlex.split(options) or REWARDS), "--format", "json")
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["loss"], answer["left_out"]) == (exits, loss, left_out)
