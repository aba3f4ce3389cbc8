"""If this fails, an objective does not give the numbers that somebody else published for it.

The figures are those of public tests, papers and threads, of which each case names the origin. Where theirs are
coefficients of another form, the command line says the same: a coefficient per sequence length is β, a soft limit is B.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from command import Run
from samples import lines

PRIME = "PrimeIntellect-ai/prime-rl, tests/unit/orchestrator/test_advantage.py"
SKYRL = "a fork of NovaSky-AI/SkyRL, trajectory runners, "
VIVACE = "ViktorM/vivace, tests/test_rewards.py, test_overlong_penalty_*"
LIGHTNING = "microsoft/agent-lightning, tests/examples/test_swe_smith_agent.py, "
NANORL = "nanorl, tests/test_nanorl.py, "


class Case(NamedTuple):
    """A published example: responses, how the command line says the objective, and what it must give."""

    name: str
    origin: str
    arguments: str
    rewards: list[Any]
    lengths: list[Any]
    term: str  # of each response
    expected: list[float]
    tolerance: float
    prompts: str = ""  # a letter for each response; "": all are of one prompt


SOFT = "--objective dapo --max-response-length {} --overlong-buffer {}"
CASES = [
    Case(
        "prime-rl-2829-gated",
        f"{PRIME}, gate_by_correctness (PR 2829): coefficient 0.25 per 100 tokens",
        "--objective prime-rl --set penalize=correct -B 0 --beta 0.0025",
        [1, 1, 0, 0],
        [100, 100, 100, 100],
        "advantage",
        [0.4375, 0.4375, -0.4375, -0.4375],
        1e-6,
    ),
    Case(
        "prime-rl-2829-length-weighted-baseline",
        f"{PRIME}, length_weighted_baseline",
        "--objective opo --beta 0",
        [1, 0],
        [100, 300],
        "advantage",
        [0.75, -0.25],
        1e-6,
    ),
    Case(
        "prime-rl-linear-all-right",
        f"{PRIME}, linear penalty: coefficient 1 per 100 tokens",
        "--objective prime-rl -B 0 --beta 0.01",
        [1, 1],
        [10, 30],
        "advantage",
        [0.1, -0.1],
        1e-6,
    ),
    Case(
        "prime-rl-linear-gated",
        f"{PRIME}, linear penalty, gated: coefficient 2 per 100 tokens",
        "--objective prime-rl --set penalize=correct -B 0 --beta 0.02",
        [1, 1, 0, 0],
        [10, 20, 30, 40],
        "advantage",
        [0.475, 0.375, -0.425, -0.425],
        1e-6,
    ),
    Case(
        "prime-rl-mean-two-problems",
        f"{PRIME}, drgrpo advantages",
        "--objective dr-grpo --beta 0",
        [1, 0, 0.5, 0.5],
        [1, 1, 1, 1],
        "advantage",
        [0.5, -0.5, 0, 0],
        1e-6,
        "aabb",
    ),
    Case(
        "skyrl-fork-successful-length",
        f"{SKYRL}test_successful_length_penalty_only_changes_positive_outcomes: 2 free, 0.1 per token, at most 0.5",
        "--set penalty=capped --set cap=5 --set penalize=correct -B 2 --beta 0.1",
        [1, 1, 0],
        [2, 5, 8],
        "adjusted_reward",
        [1, 0.7, 0],
        1e-6,
    ),
    Case(
        "skyrl-fork-soft-overlong-hinge",
        f"{SKYRL}test_soft_overlong_penalty_applies_to_successful_and_failed_responses",
        SOFT.format(6, 4),
        [1, 1, 0, 0],
        [2, 4, 4, 7],
        "adjusted_reward",
        [1, 0.5, -0.5, -1],
        1e-6,
    ),
    Case(
        "skyrl-fork-soft-overlong-scale-1.0",
        f"{SKYRL}test_soft_overlong_penalty_scale_matches_reward_range",
        SOFT.format(4, 2) + " --overlong-penalty 1",
        [1],
        [4],
        "adjusted_reward",
        [0],
        1e-6,
    ),
    Case(
        "skyrl-fork-stepwise-total-length",
        f"{SKYRL}test_step_wise_soft_overlong_penalty_uses_full_trajectory_length",
        SOFT.format(8, 2) + " --field response_length=total(response_length)",
        [1],
        [[4, 4]],
        "adjusted_reward",
        [0],
        1e-6,
    ),
    Case(
        "vivace-overlong-linear",
        VIVACE,
        SOFT.format(1024, 256),
        [0, 0, 0, 0, 0, 0, 0],
        [0, 100, 500, 768, 832, 896, 1024],
        "adjusted_reward",
        [0, 0, 0, 0, -0.25, -0.5, -1],
        1e-9,
    ),
    Case(
        "vivace-overlong-capped-hinge",
        VIVACE,
        SOFT.format(1024, 256),
        [0, 0],
        [1024, 2000],
        "adjusted_reward",
        [-1, -1],
        1e-9,
    ),
    Case(
        "llm-rl-dapo-overlong",
        "llm_rl, rewards, test_overlong_penalty_is_linear_across_the_cache_window",
        SOFT.format(8192, 2048),
        [0, 0, 0, 0, 0],
        [100, 6144, 7168, 8192, 9999],
        "adjusted_reward",
        [0, 0, -0.5, -1, -1],
        1e-6,
    ),
    Case(
        "agent-lightning-turn-budget",
        f"{LIGHTNING}test_length_penalty_solved_ramps_to_cap: turns in place of tokens, 0.2 from 55 to 100",
        "--objective dapo --set penalize=correct --max-response-length 100 --overlong-buffer 45 --overlong-penalty 0.2",
        [1, 1, 1, 1, 1, 0],
        [30, 55, 69, 90, 100, 100],
        "adjusted_reward",
        [1, 1, 0.9377777777777778, 0.8444444444444444, 0.8, 0],
        1e-9,
    ),
    Case(
        "agent-lightning-prompt-length",
        f"{LIGHTNING}test_prompt_length_penalty_*: prompt tokens in place of those of the response",
        SOFT.format(64000, 14000) + " --overlong-penalty 0.1",
        [1, 1, 1, 1, 1],
        [50000, 53500, 57000, 64000, 80000],
        "adjusted_reward",
        [1, 0.975, 0.95, 0.9, 0.9],
        1e-9,
    ),
    Case(
        "overlong-8192-2048",
        "a custom DAPO reward manager, test_overlong_penalty_grows_linearly_to_hard_limit",
        "--objective dapo --set cap=2048 -B 6144 --beta 0.00048828125",
        [0, 0, 0, 0],
        [4096, 6144, 7168, 8192],
        "adjusted_reward",
        [0, 0, -0.5, -1],
        1e-9,
    ),
    Case(
        "overlong-256-64",
        f"{NANORL}soft overlong penalty",
        "--objective dapo --set cap=64 -B 192 --beta 0.015625",
        [0, 0, 0, 0],
        [100, 192, 224, 256],
        "adjusted_reward",
        [0, 0, -0.5, -1],
        1e-9,
    ),
    Case(
        "overlong-capped-150",
        "evalsi, packs.rl, test_overlong_penalty",
        "--objective dapo --set cap=20 -B 80 --beta 0.05",
        [0, 0, 0, 0],
        [80, 90, 100, 150],
        "adjusted_reward",
        [0, -0.5, -1, -1],
        1e-9,
    ),
    Case(
        "overlong-step",
        "posttrain, rl.algorithms.dapo, test_dapo_overlong_penalty_subtracts_only_long_completions: 9 tokens are long",
        "--set penalty=step -B 8 --beta 0.25",
        [1, 1, 1],
        [8, 9, 16],
        "adjusted_reward",
        [1, 0.75, 0.75],
        1e-9,
    ),
    Case(
        "overlong-factor",
        "a fork of THUDM/slime, examples/kernel_agent, test_overlong_penalty_applied_once_after_quality_selection",
        SOFT.format(2, 2) + " --overlong-penalty 0.2",
        [1, 0],
        [2, 2],
        "adjusted_reward",
        [0.8, -0.2],
        1e-9,
    ),
    Case(
        "overlong-correct-only",
        "a fork of verl, reward_manager/dapo.py, test_overlong_penalty_only_applies_to_positive_scores",
        SOFT.format(4, 2) + " --set penalize=correct",
        [1, -1],
        [4, 4],
        "adjusted_reward",
        [0, -1],
        1e-9,
    ),
    Case(
        "areal-loo-first",
        "inclusionAI/AReaL, tests/test_adv_norm_config.py, test_mean_leave1out_basic: the first of six",
        "--objective rloo --beta 0",
        [1, 2, 3, 4, 5, 6],
        [1, 1, 1, 1, 1, 1],
        "advantage",
        [-3, -1.8, -0.6, 0.6, 1.8, 3],
        1e-5,
    ),
    Case(
        "synth-loo",
        "synth_optimizers, leave-one-out",
        "--objective rloo --beta 0",
        [1, 0, 0],
        [1, 1, 1],
        "advantage",
        [1, -0.5, -0.5],
        1e-6,
    ),
    Case(
        "nanorl-rloo",
        f"{NANORL}test_rloo_leave_one_out",
        "--objective rloo --beta 0",
        [0, 3, 3],
        [1, 1, 1],
        "advantage",
        [-3, 1.5, 1.5],
        1e-6,
    ),
    Case(
        "intellect-2-l1-exact",
        "PrimeIntellect-ai/prime-rl, LenRewardsConfig, from its formula: |L − 1000|",
        "--objective l1-exact -B 1000 --beta 0.0003",
        [1, 1, 0],
        [900, 1200, 1100],
        "adjusted_reward",
        [0.97, 0.94, -0.03],
        1e-9,
    ),
    Case(
        "alp-two-groups",
        "arXiv 2506.05256, from its formula r − β·L·max(p, 1/K): 0.75 and 0.25 times β",
        "--objective alp -B 0 --beta 1e-7",
        [1, 1, 1, 0, 0, 0, 0, 0],
        [1000, 2000, 3000, 4000] * 2,
        "adjusted_reward",
        [0.999925, 0.99985, 0.999775, -0.0003, -0.000025, -0.00005, -0.000075, -0.0001],
        1e-9,
        "aaaabbbb",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_published_example_gives_its_terms(budget_cli: Run, case: Case) -> None:
    done = budget_cli("annotate", *case.arguments.split(), "--kl-coef", "0", stdin=_dump(case))
    assert done.returncode == 0, done.stderr.decode()
    found = [json.loads(line)["budget_cli"][case.term] for line in done.stdout.splitlines()]
    assert found == pytest.approx(case.expected, rel=0, abs=case.tolerance)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_the_loss_is_that_of_the_terms_of_a_published_example(budget_cli: Run, case: Case) -> None:
    done = budget_cli(
        "loss", "-", *case.arguments.split(), "--kl-coef", "0", "-f", "json", "--precision", "17", stdin=_dump(case)
    )
    answer = json.loads(done.stdout)
    mean = sum(case.expected) / len(case.expected)
    if case.term == "adjusted_reward":
        assert answer["adjusted_reward"]["mean"] == pytest.approx(mean, rel=0, abs=case.tolerance)
    else:
        square = sum(each * each for each in case.expected) / len(case.expected)
        assert answer["advantage"]["mean_square"] == pytest.approx(square, rel=1e-5)
        assert answer["loss"] == pytest.approx(square, rel=1e-5)


NUMBERS = [  # name, origin, arguments, rewards, lengths, prompts, number of the JSON, expected
    (
        "skyrl-fork-successful-length-mean",
        f"{SKYRL}test_successful_length_penalty_only_changes_positive_outcomes",
        "--set penalty=capped --set cap=5 --set penalize=correct -B 2 --beta 0.1",
        ([1, 1, 0], [2, 5, 8], "ppp"),
        "adjusted_reward.mean",
        0.5666666666666667,
    ),
    (
        "opd-zero-variance-after-overlong",
        "opd, dynamic filtering after the overlong penalty",
        SOFT.format(16, 8),
        ([1, 1, 1, 1], [6, 6, 6, 14], "pppp"),
        "groups.zero_variance_adjusted",
        0,
    ),
    (
        "opd-zero-variance-before-overlong",
        "opd, dynamic filtering before the overlong penalty",
        SOFT.format(16, 8),
        ([1, 1, 1, 1], [6, 6, 6, 14], "pppp"),
        "groups.zero_variance",
        1,
    ),
    (
        "posttrain-dapo-filter",
        "posttrain, test_dapo_filter_drops_all_correct_and_all_wrong_groups",
        "--objective verl-grpo --beta 0",
        ([1, 1, 0, 1, 0, 0], [1] * 6, "aabbcc"),
        "groups.zero_variance",
        2,
    ),
    (
        "verl-metric-rewards-mean",
        "verl-project/verl, test_metric_utils_on_cpu.py, critic/score/mean: sequence scores 3 and 7",
        "--objective verl-grpo --beta 0 --field reward=total(reward)",
        ([[1, 2], [3, 4]], [2, 2], "pp"),
        "reward.mean",
        5.0,
    ),
]


@pytest.mark.parametrize("case", NUMBERS, ids=[case[0] for case in NUMBERS])
def test_a_published_example_gives_its_number(budget_cli: Run, case: tuple[Any, ...]) -> None:
    _, _, arguments, columns, name, expected = case
    done = budget_cli(
        "loss",
        "-",
        *arguments.split(),
        "--kl-coef",
        "0",
        "-f",
        "json",
        "--precision",
        "17",
        stdin=_records(*columns),
    )
    found = json.loads(done.stdout)
    for part in name.split("."):
        found = found[part]
    assert found == pytest.approx(expected, rel=0, abs=1e-6)


def test_the_divided_estimators_read_log_probs_as_the_default_does(budget_cli: Run, tmp_path: Path) -> None:
    # THUDM/slime, tests/test_ppo_kl_metric.py, k1 per token: 0.1 + 0.2 + 0.3
    record = {"prompt_id": "p", "reward": 0, "response_length": 3}
    record |= {"log_prob": [0.5, 0.7, 0.9], "old_log_prob": [0.4, 0.5, 0.6]}
    (tmp_path / "a.jsonl").write_bytes(lines([record]))
    for objective in ("kimi-k2", "slime-grpo"):
        done = budget_cli(
            "loss", tmp_path / "a.jsonl", "--beta", "0", "--alpha", "1", "--objective", objective, "-f", "json"
        )
        answer = json.loads(done.stdout)
        assert answer["kl"]["k1"] == pytest.approx(0.6, abs=1e-6)
        assert answer["loss"] == pytest.approx(0.36, abs=1e-6)


SKYRL_AGG = "NovaSky-AI/SkyRL, tests/backends/skyrl_train/utils/test_ppo_utils.py, "
TOKENS = [  # name, origin, arguments, the mean over the tokens of each response, tokens, expected
    ("skyrl-agg-token-mean", f"{SKYRL_AGG}token_mean", "--aggregate token", [1.5, 5], [2, 3], 3.6),
    (
        "skyrl-agg-token-sum-norm",
        f"{SKYRL_AGG}seq_mean_token_sum_norm",
        "--aggregate constant --set constant=10",
        [2.5, 9],
        [2, 1],
        0.7,
    ),
    (
        "nanorl-masked-mean",
        f"{NANORL}test_masked_mean_ignores_padding",
        "--aggregate token",
        [1.5, 3],
        [2, 1],
        2.0,
    ),
    (
        "oat-drgrpo-token-mean",
        "oat_drgrpo, dapo, test_token_level_reduction_weights_tokens_not_sequences",
        "--aggregate token",
        [2, 8],
        [2, 1],
        4.0,
    ),
]


@pytest.mark.parametrize("case", TOKENS, ids=[case[0] for case in TOKENS])
def test_a_published_aggregation_gives_its_number(budget_cli: Run, case: tuple[Any, ...]) -> None:
    _, _, arguments, terms, lengths, expected = case
    # without an advantage, a response has the term (α·k)²; each token of it counts with that
    records = [
        {"prompt_id": i, "reward": 0, "response_length": tokens, "log_prob": term**0.5 - 1, "old_log_prob": -1}
        for i, (term, tokens) in enumerate(zip(terms, lengths, strict=True))
    ]
    done = budget_cli(
        "loss", "-", *arguments.split(), "--beta", "0", "--alpha", "1", "-f", "json", stdin=lines(records)
    )
    assert json.loads(done.stdout)["loss"] == pytest.approx(expected, abs=1e-6)


def _dump(case: Case) -> bytes:
    return _records(case.rewards, case.lengths, case.prompts or "p" * len(case.rewards))


def _records(rewards: list[Any], lengths: list[Any], prompts: str) -> bytes:
    return lines(
        [
            {"prompt_id": prompt, "reward": reward, "response_length": length}
            for prompt, reward, length in zip(prompts, rewards, lengths, strict=True)
        ]
    )
