"""If this fails, the loss has lost digits to the order, the size or the offset of the numbers it was made from.

The reference is exact rational arithmetic on the very doubles that went in; the promise is a relative error of at most
1e-12. Where the adjusted rewards of all prompts nearly tie, the loss is a small difference of large terms, and the
promise is 1e-14 of those terms.
"""

import random
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import pytest
from exact import exact_loss
from examples import QUICK
from grouping import groups_of

from budget_cli.analysis.loss import Aggregate, Coefficients, compute_loss
from budget_cli.groups.groups import Groups
from budget_cli.groups.moments import Layout, from_responses
from budget_cli.ids import Key
from budget_cli.records.columns import Tally

PROMISE = Fraction(1, 10**12)
SEEDS = range(15 if QUICK else 60)


class Response(NamedTuple):
    prompt: Key
    reward: float
    length: int  # tokens
    log_ratio: float  # nats


class Draw(NamedTuple):
    responses: list[Response]
    coefficients: Coefficients


def drawn(seed: int, mean_over_spread: float | None = None) -> Draw:
    """Several prompts, interleaved; offsets up to 1e9 and up to 1e9 times the spread, coefficients 1e-6 to 1e6."""
    dice = random.Random(seed)
    budget = dice.randint(1, 8000)
    responses = []
    for prompt in range(dice.randint(3, 8)):
        reward_spread, k_spread = 10 ** dice.uniform(-2, 2), 10 ** dice.uniform(-2, 2)
        if mean_over_spread is None:
            reward_mean, k_mean = (
                dice.choice([-1, 0, 1]) * 10 ** dice.uniform(-3, 7) * s for s in (reward_spread, k_spread)
            )
        else:
            reward_mean, k_mean = mean_over_spread * reward_spread, -mean_over_spread * k_spread
        for _ in range(dice.randint(1, 16)):
            reward = dice.gauss(reward_mean, reward_spread)
            length = max(0, round(dice.gauss(budget, budget / 3)))
            responses.append(Response(prompt, reward, length, dice.gauss(k_mean, k_spread)))
    dice.shuffle(responses)
    return Draw(responses, Coefficients(budget, 10 ** dice.uniform(-6, 6), 10 ** dice.uniform(-6, 6)))


def exactly(draw: Draw, aggregate: Aggregate) -> Fraction:
    """Compute the loss by its definition, in rational numbers."""
    coefficients = draw.coefficients
    assert coefficients.token_budget is not None
    beta, alpha = coefficients.budget_penalty_coef, coefficients.kl_coef
    return exact_loss(draw.responses, coefficients.token_budget, beta, alpha, aggregate)


def ours(draw: Draw, aggregate: Aggregate, cuts: Sequence[int] = ()) -> Fraction:
    """Compute the loss from groups merged from the parts between the cuts."""
    budgets = (draw.coefficients.token_budget or 0,)
    groups = Groups(Layout(budgets))
    ends = [*sorted(cuts), len(draw.responses)]
    for first, last in zip([0, *ends], ends, strict=False):
        groups.merge(groups_of(draw.responses[first:last], budgets))
    loss = compute_loss(groups, draw.coefficients, Tally(), aggregate).loss
    assert loss is not None
    return Fraction(loss)


def assert_kept(found: Fraction, exact: Fraction) -> None:
    error = abs(found - exact) / exact
    assert error <= PROMISE, f"relative error {float(error):.1e}"


@pytest.mark.parametrize("aggregate", ["response", "prompt"])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_loss_has_twelve_digits(seed: int, aggregate: Aggregate) -> None:
    draw = drawn(seed)
    assert_kept(ours(draw, aggregate), exactly(draw, aggregate))


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", SEEDS)
def test_the_loss_has_twelve_digits_however_the_input_is_split(seed: int) -> None:
    draw = drawn(seed)
    exact, size = exactly(draw, "response"), len(draw.responses)
    dice = random.Random(seed)
    assert_kept(ours(draw, "response", range(1, size)), exact)  # every response a part of its own
    assert_kept(ours(draw, "response", dice.sample(range(size + 1), min(5, size))), exact)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_loss_has_twelve_digits_where_the_mean_is_1e9_times_the_spread(seed: int) -> None:
    draw = drawn(seed, mean_over_spread=1e9)
    exact, size = exactly(draw, "response"), len(draw.responses)
    assert_kept(ours(draw, "response"), exact)
    assert_kept(ours(draw, "response", range(0, size, 3)), exact)


@pytest.mark.exhaustive
@pytest.mark.parametrize("alpha", [0.0, 1e-6])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_advantage_alone_has_twelve_digits_where_the_mean_is_1e9_times_the_spread(seed: int, alpha: float) -> None:
    draw = drawn(seed, mean_over_spread=1e9)
    draw = draw._replace(
        responses=[one._replace(log_ratio=one.log_ratio % 1) for one in draw.responses],
        coefficients=draw.coefficients._replace(kl_coef=alpha),
    )
    exact, size = exactly(draw, "response"), len(draw.responses)
    assert_kept(ours(draw, "response"), exact)
    assert_kept(ours(draw, "response", range(0, size, 2)), exact)


@pytest.mark.parametrize("gap", [1e-9, 1e-6, 1e-3])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_loss_that_nearly_cancels_is_exact_to_1e_14_of_what_cancelled(seed: int, gap: float) -> None:
    dice = random.Random(seed)
    beta, size = 10 ** dice.uniform(-6, 6), dice.randint(2, 16)
    lengths = [100 + dice.randint(0, 4000) for _ in range(size)]
    responses = [Response("a", beta * (n - 100) * (1 + dice.gauss(0, gap)), n, 0.0) for n in lengths]
    draw = Draw(responses, Coefficients(100, beta, 0.0))
    without_penalty = draw._replace(coefficients=Coefficients(100, 0.0, 0.0))
    cancelled = 2 * exactly(without_penalty, "response")  # S_rr and β²·S_ee are nearly the same
    assert abs(ours(draw, "response") - exactly(draw, "response")) <= cancelled / 10**14


@pytest.mark.parametrize("over", [1, 700, 2**20])
def test_the_scatter_of_the_excess_of_many_responses_is_that_of_whole_numbers(over: int) -> None:
    count = 300_000 // (1 if over < 2**20 else 100)
    excess = [(i % 7 == 0) * (over + i % 1000) for i in range(count)]
    columns = np.array([0.0] * count), np.array(excess, dtype=np.float64) + 10
    row = from_responses(Layout((10,)), np.zeros(count, np.intp), 1, *columns, None)[0]
    exact = sum(e * e for e in excess) - Fraction(sum(excess) ** 2, count)
    assert abs(Fraction(float(row[Layout((10,)).at("ee", 0)])) / exact - 1) < Fraction(1, 10**15)
