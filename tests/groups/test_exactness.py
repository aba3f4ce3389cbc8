"""If this fails, the loss has lost digits to the order, the size or the offset of the numbers it was made from.

The reference is exact rational arithmetic on the very doubles that went in; the promise is a relative error of at most
1e-12, also where the adjusted rewards of all prompts nearly tie, or two dumps are nearly alike.
"""

import random
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import pytest
from exact import exact_loss
from exact_numbers import Exact, Root, differences, loss_numbers, relative_error
from examples import QUICK, TWICE, examples
from grouping import groups_of
from hypothesis import given
from hypothesis import strategies as st

from budget_cli.analysis.compare import compare_groups, pair
from budget_cli.analysis.loss import Aggregate, Coefficients, compute_loss, number_at
from budget_cli.groups.groups import Groups
from budget_cli.groups.moments import Layout, from_responses
from budget_cli.ids import Key
from budget_cli.records.columns import Tally

PROMISE = Fraction(1, 10**12)
SEEDS = range(15 if QUICK else 30)  # each with the compiled parts and without; worst_errors.py has ten thousand


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


def folded(draw: Draw, cuts: Sequence[int]) -> Groups:
    """Return the groups merged from the parts between the cuts."""
    budgets = (draw.coefficients.token_budget or 0,)
    groups = Groups(Layout(budgets))
    ends = [*sorted(cuts), len(draw.responses)]
    for first, last in zip([0, *ends], ends, strict=False):
        groups.merge(groups_of(draw.responses[first:last], budgets))
    return groups


def ours(draw: Draw, aggregate: Aggregate, cuts: Sequence[int] = ()) -> Fraction:
    """Compute the loss of these groups."""
    loss = compute_loss(folded(draw, cuts), draw.coefficients, Tally(), aggregate).loss
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
    assert_kept(ours(draw, "response", range(0, size, 7)), exact)


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
    assert_kept(ours(draw, "response", range(0, size, 7)), exact)


@st.composite
def near_ties(draw: st.DrawFn) -> tuple[Draw, list[int]]:
    """Prompts in which rewards are what the penalty and α·k take away, but for a gap; and where the dump is split."""
    beta, alpha = (draw(st.sampled_from([1.0, 0.01, 1 / 3, 1e-6, 1e6])) for _ in range(2))
    gap = draw(st.sampled_from([1e-7, 1e-6, 1e-4, 1e-2]))
    responses = []
    for prompt in range(draw(st.integers(1, 3))):
        level = draw(st.integers(-300, 300)) / 3
        for excess, k_997ths, off in draw(
            st.lists(
                st.tuples(st.integers(0, 4000), st.integers(-3000, 3000), st.integers(-9, 9)), min_size=2, max_size=6
            )
        ):
            k, scale = k_997ths / 997, beta * 4000 + alpha * 3
            reward = level * scale + beta * excess + alpha * k + gap * off * scale
            responses.append(Response(prompt, reward, 100 + excess, k))
    cuts = draw(st.lists(st.integers(0, len(responses)), max_size=2))
    return Draw(responses, Coefficients(100, beta, alpha)), cuts


CANCELLING = ("loss", "advantage.mean_square", "adjusted_reward.mean", "adjusted_reward.std", "kl.r2")


@examples(TWICE)
@given(near_ties(), st.sampled_from(["response", "prompt"]))
def test_what_nearly_cancels_has_twelve_digits(near: tuple[Draw, list[int]], aggregate: Aggregate) -> None:
    draw, cuts = near
    groups = folded(draw, cuts)
    for alpha in (draw.coefficients.kl_coef, 0.0):
        coefficients = draw.coefficients._replace(kl_coef=alpha)
        loss = compute_loss(groups, coefficients, Tally(), aggregate)
        exact = loss_numbers(draw.responses, coefficients, aggregate)  # type: ignore[arg-type]
        terms = loss_numbers(draw.responses, coefficients._replace(budget_penalty_coef=0), aggregate)["reward.std"]  # type: ignore[arg-type]
        for name in CANCELLING:
            if name not in exact or is_tie(exact, terms) or ties_about_k(draw.responses, coefficients):
                continue
            error = relative_error(number_at(loss, name), exact[name])
            assert error <= PROMISE, f"{name}: {error:.1e}"


def test_thousands_of_responses_that_tie_but_for_1e_9_have_twelve_digits() -> None:
    dice, beta = random.Random(1), 0.1
    responses = [
        Response(0, beta * (i % 977) * (1 + dice.choice([-1e-9, 1e-9])), 100 + i % 977, 0.0) for i in range(4000)
    ]
    draw = Draw(responses, Coefficients(100, beta, 0.0))
    for cuts in ([], [1000, 1500]):
        assert_kept(ours(draw, "response", cuts), exactly(draw, "response"))


def is_tie(exact: Mapping[str, Exact], rewards: Exact) -> bool:
    """True where nothing but rounding is left of a sum: it is then 0 by definition."""
    assert isinstance(rewards, Root)
    return any(exact[name] <= rewards.square / 10**18 for name in ("loss", "advantage.mean_square"))  # type: ignore[operator]


def ties_about_k(responses: Sequence[Response], coefficients: Coefficients) -> bool:
    """True where rounding alone is left of A − α·(k − k̄): it is then 0 by definition, and of the loss α²·k̄² is left."""
    beta, alpha = Fraction(coefficients.budget_penalty_coef), Fraction(coefficients.kl_coef)
    left, scale = Fraction(), Fraction()
    for prompt in {one.prompt for one in responses}:
        own = [one for one in responses if one.prompt == prompt]
        rewards = [Fraction(one.reward) for one in own]
        excess = [Fraction(max(0, one.length - (coefficients.token_budget or 0))) for one in own]
        log_ratios = [Fraction(one.log_ratio) for one in own]
        left += scatter([r - beta * e - alpha * k for r, e, k in zip(rewards, excess, log_ratios, strict=True)])
        scale += scatter(rewards)
    return left <= scale / 10**18


def scatter(values: Sequence[Fraction]) -> Fraction:
    mean = sum(values, Fraction()) / len(values)
    return sum(((value - mean) ** 2 for value in values), Fraction())


@pytest.mark.parametrize("by", [1e-9, 1e-6])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_difference_of_two_dumps_that_are_nearly_alike_has_twelve_digits(seed: int, by: float) -> None:
    draw, cuts = drawn(seed), [seed % 7]
    other = [one._replace(reward=one.reward * (1 + by * (i % 3))) for i, one in enumerate(draw.responses)]
    groups = folded(draw, cuts), folded(draw._replace(responses=other), cuts)
    comparison = compare_groups(*groups, pair(*groups), draw.coefficients)
    exact = differences(draw.responses, other, draw.coefficients)  # type: ignore[arg-type]
    for quantity in ("loss", "reward", "adjusted_reward"):
        for name, number in exact[quantity].items():
            error = relative_error(getattr(getattr(comparison, quantity), name), number)
            assert error <= PROMISE, f"{quantity}.{name}: {error:.1e}"


@pytest.mark.parametrize("seed", SEEDS)
def test_a_dump_differs_from_itself_by_nothing_however_it_is_split(seed: int) -> None:
    draw = drawn(seed)
    groups = folded(draw, []), folded(draw, [seed % 5, seed % 11])
    comparison = compare_groups(*groups, pair(*groups), draw.coefficients)
    for difference in (comparison.loss, comparison.reward, comparison.adjusted_reward, comparison.log_ratio):
        assert (difference.delta, difference.se) == (0, 0)


@pytest.mark.parametrize("over", [1, 700, 2**20])
def test_the_scatter_of_the_excess_of_many_responses_is_that_of_whole_numbers(over: int) -> None:
    count = 300_000 // (1 if over < 2**20 else 100)
    excess = [(i % 7 == 0) * (over + i % 1000) for i in range(count)]
    columns = np.array([0.0] * count), np.array(excess, dtype=np.float64) + 10
    row = from_responses(Layout((10,)), np.zeros(count, np.intp), 1, *columns, None)[0]
    exact = sum(e * e for e in excess) - Fraction(sum(excess) ** 2, count)
    assert abs(Fraction(float(row[Layout((10,)).at("ee", 0)])) / exact - 1) < Fraction(1, 10**15)
