"""If this fails, a page offers other values than it says, leaves out a prompt that matters, or bins wrongly."""

import random
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from grouping import groups_of

from budget_cli.analysis import report
from budget_cli.analysis.loss import Coefficients, per_prompt_losses
from budget_cli.analysis.report import PageData, build_page_data, grid_around
from budget_cli.analysis.totals import compute_totals
from budget_cli.groups.double_double import DoubleDouble
from budget_cli.groups.groups import Groups
from budget_cli.ids import Key
from budget_cli.records.columns import Tally

Response = tuple[Key, float, float | None, float | None]  # prompt, reward, tokens, log-ratio


def overview_of(
    responses: Sequence[Response],
    coefficients: Coefficients,
    by: Mapping[str | int | None, Groups] = MappingProxyType({}),
) -> PageData:
    grid = grid_around(coefficients)
    groups = groups_of(responses, [budget for budget in grid.token_budget if budget is not None])
    return build_page_data(groups, by, grid, coefficients, Tally())


@pytest.mark.parametrize(
    "coefficients", [Coefficients(1000, 0.0123, 0.1), Coefficients(3, 0, 0), Coefficients(0, 5, 99)]
)
def test_the_coefficients_themselves_are_among_what_the_sliders_offer(coefficients: Coefficients) -> None:
    grid = grid_around(coefficients)
    for values, own in zip(grid[:3], coefficients, strict=True):
        assert own in values
        assert list(values) == sorted(set(values))  # type: ignore[type-var]
    assert {0.0, 0.00001, 0.001, 1.0} <= set(grid.budget_penalty_coef)
    assert {0.0, 0.0001, 1.0, 10.0} <= set(grid.kl_coef)


def test_the_budgets_lie_about_the_budget_or_are_those_that_were_given() -> None:
    budgets = grid_around(Coefficients(1024, 0.01, 0.1)).token_budget
    assert (budgets[0], budgets[-1], 1024 in budgets, len(budgets)) == (256, 4096, True, 37)
    assert grid_around(Coefficients(1024, 0.01, 0.1), (9, 4000)).token_budget == (9, 1024, 4000)
    assert grid_around(Coefficients(None, 0, 0.1))[:2] == ((None,), (0.0,))


def test_beyond_the_longest_response_one_budget_is_offered() -> None:
    coefficients = Coefficients(100, 0.01, 0.1)
    found = overview_of([("a", 1, 120, 0.1), ("a", 0, 90, 0.2)], coefficients)
    assert found.grid.token_budget[-3:] == (112, 119, 125)
    assert found.totals is not None
    assert (
        len(found.totals.over) == found.totals.mean.ee.hi.size == found.totals.spread.ee.hi.size == len(found.grid[0])
    )
    assert found.prompts[0].ee.hi.size == len(found.grid.token_budget)
    short = overview_of([("a", 1, 20, 0.1)], coefficients)
    assert short.grid.token_budget[-1] == 100  # the page's own stays
    assert found.grid.token_budget[found.at[0]] == short.grid.token_budget[short.at[0]] == 100


def test_the_first_budgets_totals_are_those_of_a_scan_for_them_alone() -> None:
    responses: list[Response] = [("a", 1, 120, 0.1), ("a", 0, 90, 0.2), ("b", 1, 400, 0)]
    few = compute_totals(groups_of(responses, (50, 100)), (0.0, 0.1), "prompt")
    cut = compute_totals(groups_of(responses, (50, 100, 300)), (0.0, 0.1), "prompt").with_first_budgets(2)
    assert_same(cut, few)


def assert_same(found: Any, expected: Any) -> None:
    """Assert that the numbers of two totals are equal, in two doubles where they have two."""
    if isinstance(expected, DoubleDouble):
        found, expected = (found.hi, found.lo), (expected.hi, expected.lo)
    if isinstance(expected, tuple):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    else:
        np.testing.assert_array_equal(found, expected)


def test_lengths_and_mean_rewards_are_counted_in_bins() -> None:
    responses: list[Response] = [("a", 1, 0, 0), ("a", 0, 95, 0), ("b", 1, 96, 0), ("c", 0, 10, 0)]
    found = overview_of(responses, Coefficients(100, 0.01, 0.1))
    assert found.lengths is not None
    assert (found.lengths.first, found.lengths.width, sum(found.lengths.counts)) == (0, 3, 4)
    assert [found.lengths.counts[i] for i in (0, 3, 31, 32)] == [1, 1, 1, 1]
    assert found.rates is not None
    assert (found.rates.first, found.rates.width) == (0, 0.05)
    assert [(i, n) for i, n in enumerate(found.rates.counts) if n] == [(0, 1), (10, 1), (19, 1)]


def test_few_prompts_are_all_there_with_their_moments() -> None:
    responses: list[Response] = [("a", 1, 150, 0.5), ("a", 0, 90, 0.1), ("b", 1, 400, 0)]
    coefficients = Coefficients(100, 0.01, 0.1)
    found = overview_of(responses, coefficients)
    at = found.at[0]
    expected = {prompt.prompt_id: prompt for prompt in per_prompt_losses(groups_of(responses, (100,)), coefficients)}
    assert [one.prompt_id for one in found.prompts] == ["a", "b"]
    for one in found.prompts:
        beta, alpha = coefficients[1:]
        rr, kk, rk = one.rr.value, one.kk.value, one.rk.value
        re, ee, ek = (each.value[at] for each in (one.re, one.ee, one.ek))
        square = rr - 2 * beta * re + beta**2 * ee
        loss = square - 2 * alpha * (rk - beta * ek) + alpha**2 * (kk + one.n * one.k_mean**2)
        assert loss / one.n == pytest.approx(expected[one.prompt_id].loss, rel=1e-12)
        assert one.r_mean == expected[one.prompt_id].reward_mean
        same = expected[one.prompt_id]
        assert (one.length_max, one.over[at]) == (same.length_max, same.over_budget)


def test_of_many_prompts_those_with_the_largest_loss_are_there() -> None:
    dice = random.Random(3)
    responses: list[Response] = [
        (prompt, dice.choice([0, 1]), dice.randrange(2000), dice.gauss(0, 1)) for prompt in range(500) for _ in range(4)
    ]
    coefficients = Coefficients(1000, 0.01, 0.1)
    found = overview_of(responses, coefficients)
    assert len(found.prompts) == report.PROMPTS
    losses = {one.prompt_id: one.loss or 0 for one in per_prompt_losses(groups_of(responses, (1000,)), coefficients)}
    largest = sorted(losses, key=lambda key: -losses[key])[:10]
    assert set(largest) <= {one.prompt_id for one in found.prompts}


def test_a_dump_without_responses_or_lengths_has_an_overview() -> None:
    nothing = overview_of([], Coefficients(100, 0.01, 0.1))
    assert (nothing.totals, nothing.lengths, nothing.rates, nothing.prompts) == (None, None, None, [])
    rewards = overview_of([("a", 1, None, None), ("a", 0, None, None)], Coefficients(None, 0, 0))
    assert rewards.lengths is None
    assert rewards.prompts[0].length_max is None
    assert rewards.loss.loss == 0.25


def test_one_part_is_no_trend_and_of_many_some_are_there() -> None:
    responses: list[Response] = [("a", 1, 150, 0.5), ("a", 0, 90, 0.1)]
    coefficients = Coefficients(100, 0.01, 0.1)
    groups = groups_of(responses, [budget or 0 for budget in grid_around(coefficients).token_budget])
    nothing = groups_of([], groups.layout.budgets)
    assert overview_of(responses, coefficients, {"x": groups, "y": nothing}).parts == []
    found = overview_of(responses, coefficients, {"x": groups, 7: groups, None: groups})
    assert [one.label for one in found.parts] == ["x", 7, None]
    assert len(found.parts[0].totals.over) == len(found.grid.token_budget)
    assert float(found.parts[0].totals.whole.rr.value) == 0.5
    many = overview_of(responses, coefficients, dict.fromkeys(range(400), groups))
    assert (many.parts_in_all, len(many.parts), many.parts[0].label, many.parts[-1].label) == (400, 200, 0, 399)
