"""If this fails, the loss does not follow its formula, and every other number of the program is in doubt."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from budget_cli import rl_budget_loss
from budget_cli.groups import moments
from budget_cli.groups.moments import Layout
from budget_cli.objective import adjusted_scatter, loss_sum

INF, NAN = math.inf, math.nan

WORKED = [  # rewards, log_probs, old_log_probs, response_lengths, token_budget, kl_coef, budget_penalty_coef, loss
    ([[1.0, 0.5]], [[-1.0, -1.5]], [[-1.2, -1.3]], [[150, 80]], 100, 0.1, 0.01, 0.0004),
    ([[1.0, 2.0]], [[-0.5, -0.8]], [[-0.5, -0.8]], [[50, 60]], 100, 0.1, 0.01, 0.25),
    (
        [[1.0, 0.5], [0.8, 1.2]],
        [[-1.0, -1.2], [-0.8, -0.9]],
        [[-1.1, -1.1], [-0.7, -1.0]],
        [[120, 80], [90, 110]],
        100,
        0.05,
        0.02,
        0.0055,
    ),
]


@pytest.mark.parametrize("example", WORKED)
def test_the_worked_examples_hold_to_the_fourth_decimal(example: tuple[Any, ...]) -> None:
    *arguments, loss = example
    assert round(rl_budget_loss(*arguments), 4) == loss


def test_rows_of_different_lengths_weigh_every_response_equally() -> None:
    # A = (-1, 0, 1) and (0); k = 0 but for the last, 2 nats: (1 + 0 + 1 + (0.5 * 2)^2) / 4
    loss = rl_budget_loss(
        [[1, 2, 3], [7]],
        [[0, 0, 0], [2]],
        [[0, 0, 0], [0]],
        [[5, 5, 5], [5]],
        token_budget=10,
        kl_coef=0.5,
        budget_penalty_coef=0.1,
    )
    assert loss == 0.75


def test_a_group_of_one_has_advantage_zero_and_keeps_its_kl_term() -> None:
    assert rl_budget_loss([[5.0]], [[-1.0]], [[-1.0]], [[900]], 100, 0.1, 0.01) == 0
    assert rl_budget_loss([[5.0]], [[-1.0]], [[-3.0]], [[900]], 100, 0.5, 0.01) == 1


def test_the_baseline_of_a_prompt_ignores_other_prompts() -> None:
    one = ([[1.0, 0.0]], [[0.0, 0.0]], [[0.0, 0.0]], [[10, 10]])
    loss = rl_budget_loss(*one, token_budget=100, kl_coef=0.1, budget_penalty_coef=0.01)
    many = [[[x + 1000.0 * prompt * (i == 0) for x in table[0]] for prompt in range(50)] for i, table in enumerate(one)]
    assert loss == 0.25
    assert rl_budget_loss(*many, token_budget=100, kl_coef=0.1, budget_penalty_coef=0.01) == 0.25


@pytest.mark.parametrize(
    ("length", "budget", "loss"), [(100, 100, 0.0), (101, 100, 0.25), (99, 100, 0.0), (1, 0, 0.25), (3, 2.5, 0.0625)]
)
def test_only_tokens_beyond_the_budget_are_penalised(length: int, budget: float, loss: float) -> None:
    assert rl_budget_loss([[0, 0]], [[0, 0]], [[0, 0]], [[length, 0]], budget, 0.0, 1.0) == loss


GOOD: dict[str, Any] = {
    "rewards": [[1.0, 0.5], [0.0]],
    "log_probs": [[-1.0, -1.5], [-1.0]],
    "old_log_probs": [[-1.2, -1.3], [-1.0]],
    "response_lengths": [[150, 80], [10]],
    "token_budget": 100,
    "kl_coef": 0.1,
    "budget_penalty_coef": 0.01,
}
SHAPE = "expected the shape of rewards, [2, 1], found"
ROWS = "(one row per prompt, one number per response)"
FINITE = "expected a finite number, found"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"log_probs": [[-1.0, -1.5]]}, f"log_probs: {SHAPE} [2] {ROWS}"),
        ({"old_log_probs": [[-1.0], [-1.5, -1.0]]}, f"old_log_probs: {SHAPE} [1, 2] {ROWS}"),
        ({"response_lengths": [[1, 2], []]}, f"response_lengths: {SHAPE} [2, 0] {ROWS}"),
        ({"rewards": []}, "rewards: expected one or more responses for every prompt, found []"),
        ({"rewards": [[1.0, 0.5], []]}, "rewards: expected one or more responses for every prompt, found [2, 0]"),
        ({"rewards": [[1.0, NAN], [0.0]]}, f"rewards[0][1]: {FINITE} nan"),
        ({"log_probs": [[-1.0, -1.5], [-INF]]}, f"log_probs[1][0]: {FINITE} -inf"),
        ({"old_log_probs": [[INF, -1.5], [-1.0]]}, f"old_log_probs[0][0]: {FINITE} inf"),
        ({"response_lengths": [[150, INF], [10]]}, f"response_lengths[0][1]: {FINITE} inf"),
        ({"token_budget": -1}, "token_budget: expected 0 tokens or more, found -1"),
        ({"token_budget": INF}, f"token_budget: {FINITE} inf"),
        ({"kl_coef": INF}, f"kl_coef: {FINITE} inf"),
        ({"kl_coef": NAN}, f"kl_coef: {FINITE} nan"),
        ({"budget_penalty_coef": -INF}, f"budget_penalty_coef: {FINITE} -inf"),
    ],
)
def test_a_meaningless_argument_is_refused_by_name(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match="expected") as refused:
        rl_budget_loss(**(GOOD | changed))
    assert str(refused.value) == message


def test_zero_coefficients_and_a_budget_of_zero_are_allowed() -> None:
    assert rl_budget_loss(**(GOOD | {"token_budget": 0, "kl_coef": 0, "budget_penalty_coef": 0})) == 0.125 / 3


coefficients = st.floats(0, 10)
responses = st.tuples(st.floats(-1e3, 1e3), st.integers(0, 4000), st.floats(-1e3, 1e3))


@given(st.lists(st.lists(responses, min_size=1, max_size=8), min_size=1, max_size=4), coefficients, coefficients)
def test_the_closed_form_on_moments_equals_the_definition(
    prompts: list[list[tuple[float, int, float]]], beta: float, alpha: float
) -> None:
    budget = 1000
    r, lengths, k = ([[response[i] for response in prompt] for prompt in prompts] for i in range(3))
    nothing = [[0.0] * len(prompt) for prompt in prompts]
    definition = rl_budget_loss(r, k, nothing, lengths, budget, alpha, beta)

    layout = Layout((budget,))
    codes = np.repeat(np.arange(len(prompts)), [len(prompt) for prompt in prompts])
    flat = [np.array([x for row in rows for x in row], dtype=np.float64) for rows in (r, lengths, k)]
    table = moments.from_responses(layout, codes, len(prompts), flat[0], flat[1], flat[2])
    n, rr, kk, rk, k0, k1 = (table[:, layout.at(name)] for name in ("n", "rr", "kk", "rk", "k0", "k1"))
    re, ee, ek = (table[:, layout.at(name, 0)] for name in ("re", "ee", "ek"))
    closed = loss_sum(n, rr, re, ee, k0 + k1 / n, kk, rk, ek, beta, alpha).sum() / n.sum()

    excess = np.maximum(0, flat[1] - budget)
    terms = (
        flat[0] ** 2 + (beta * excess) ** 2 + (alpha * flat[2]) ** 2
    ).mean()  # these terms may cancel, up to rounding
    assert abs(closed - definition) <= 1e-9 * definition + 1e-12 * terms + 1e-300


def test_the_closed_form_accepts_numbers_and_arrays_alike() -> None:
    row = (2.0, 0.125, 12.5, 1250.0, 0.0, 0.08, 0.1, 10.0, 0.01, 0.1)  # the first worked example
    assert loss_sum(*row) == pytest.approx(0.0008, rel=1e-12)
    assert loss_sum(*(np.array([x, x]) for x in row[:8]), *row[8:]) == pytest.approx([0.0008, 0.0008], rel=1e-12)


@given(
    st.lists(st.integers(0, 5000), min_size=2, max_size=32),
    st.sampled_from([1e-6, 0.001, 0.01, 0.02, 0.1, 1 / 3, 2.0, 1e6]),
    st.sampled_from([0.0, 0.3, 1.0, -7.1]),
)
def test_adjusted_rewards_that_tie_have_scatter_exactly_zero(excess: list[int], beta: float, adjusted: float) -> None:
    layout = Layout((0,))
    reward = np.array([adjusted * beta + beta * tokens for tokens in excess])
    one_prompt = np.zeros(len(excess), dtype=np.intp)
    table = moments.from_responses(layout, one_prompt, 1, reward, np.array(excess, dtype=np.float64), None)
    rr, re, ee = table[0, [layout.at("rr"), layout.at("re", 0), layout.at("ee", 0)]]
    assert adjusted_scatter(rr, re, ee, beta) == 0


@pytest.mark.parametrize("gap", [1e-6, 1e-3, 1.0])
def test_adjusted_rewards_that_nearly_tie_do_not_count_as_a_tie(gap: float) -> None:
    r, e = np.array([0.5 + gap, -0.5 - gap]), np.array([50.0, -50.0])
    scatter = adjusted_scatter((r * r).sum(), (r * e).sum(), (e * e).sum(), 0.01)
    assert scatter == pytest.approx(2 * gap**2, rel=1e-3)


def test_ties_are_found_prompt_by_prompt() -> None:
    rr, re, ee = np.array([0.125, 0.125, 0.0]), np.array([12.5, 0.0, 0.0]), np.array([1250.0, 0.0, 0.0])
    assert adjusted_scatter(rr, re, ee, 0.01).tolist() == [0.0, 0.125, 0.0]


PUBLISHED = Path(__file__).parents[2] / "shared" / "cases.json"  # from other projects' tests and papers
CASES = [
    pytest.param(case, id=case["id"])
    for case in (json.loads(PUBLISHED.read_bytes())["cases"] if PUBLISHED.exists() else [])
    if "budget_cli" in case
]


def _rows(inputs: dict[str, Any], name: str, default: float = 0) -> list[list[float]]:
    """Return the numbers of a case, one row per prompt."""
    rewards = inputs.get("rewards", [inputs.get("reward")])
    numbers = inputs.get(name, inputs.get(name.rstrip("s"), [default] * len(rewards)))
    if not isinstance(numbers, list):
        numbers = [numbers]
    if isinstance(numbers[0], list):
        return numbers
    if isinstance(rewards[0], list):
        return [[default] * len(row) for row in rewards]
    return [[numbers[i] for i in group] for group in inputs.get("groups", [range(len(rewards))])]


def _adjusted(rewards: list[list[float]], lengths: list[list[float]], beta: float, budget: float) -> list[list[float]]:
    pairs = (zip(*rows, strict=True) for rows in zip(rewards, lengths, strict=True))
    return [[r - beta * max(0, length - budget) for r, length in row] for row in pairs]


def _flat(numbers: Any) -> list[float]:
    if not isinstance(numbers, list):
        return [numbers]
    return [x for item in numbers for x in _flat(item)]


@pytest.mark.parametrize("case", CASES)
def test_published_cases_give_the_expected_loss(case: dict[str, Any]) -> None:
    inputs, ours, near = case["inputs"], case["budget_cli"], case["tolerance"]
    beta, alpha, budget = ours["beta"], ours.get("alpha", 0), ours.get("B", 0)
    rewards, log_probs, old = (_rows(inputs, name) for name in ("rewards", "log_probs", "old_log_probs"))
    lengths = _rows(inputs, "lengths" if "length" in inputs or "lengths" in inputs else "response_lengths")
    adjusted = _adjusted(rewards, lengths, beta, budget)
    loss = rl_budget_loss(rewards, log_probs, old, lengths, budget, alpha, beta)
    mean_square = rl_budget_loss(rewards, log_probs, old, lengths, budget, 0, beta)

    checked = 0
    if "expected_adjusted_reward" in ours:
        assert _flat(adjusted) == pytest.approx(_flat(ours["expected_adjusted_reward"]), abs=near)
        # the loss depends on them: with an unpenalised partner, A is half the difference
        for r, length, a in zip(_flat(rewards), _flat(lengths), _flat(adjusted), strict=True):
            pair = rl_budget_loss([[r, 10.0]], [[0, 0]], [[0, 0]], [[length, 0]], budget, 0, beta)
            assert pair == pytest.approx(((a - 10.0) / 2) ** 2, abs=near)
        checked += 1
    if "advantages" in case["expected"]:
        theirs = case["expected"]["advantages"]
        advantages = [[a - math.fsum(row) / len(row) for a in row] for row in adjusted]
        if not isinstance(theirs[0], list):
            theirs = [[theirs[i] for i in group] for group in inputs["groups"]]
        assert _flat(advantages) == pytest.approx(_flat(theirs), abs=near)
        assert mean_square == pytest.approx(np.mean(np.square(_flat(theirs))), abs=near)
        checked += 1
    if "expected_loss" in ours:
        assert loss == pytest.approx(ours["expected_loss"], abs=near)
        checked += 1
    assert checked, "the case promises something that this test does not know"
