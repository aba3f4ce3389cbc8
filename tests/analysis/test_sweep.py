"""If this fails, a sweep gives other numbers than the losses that it stands for, or names the wrong prompts."""

import random
from collections.abc import Sequence

import pytest
from grouping import groups_of
from hypothesis import given
from hypothesis import strategies as st

from budget_cli.analysis import sweep, totals
from budget_cli.analysis.grid import Grid
from budget_cli.analysis.loss import Aggregate, Coefficients, compute_loss, number_at, number_names
from budget_cli.analysis.sweep import compute_sweep
from budget_cli.groups.groups import Groups
from budget_cli.ids import Key
from budget_cli.records.columns import Tally

Response = tuple[Key, float, float | None, float | None]  # prompt, reward, tokens, log-ratio

TALLY = Tally(read=9, used=8, rejected=1)

AGGREGATES: tuple[Aggregate, ...] = ("response", "prompt")


def assert_cells_are_losses(
    groups: Groups, grid: Grid, aggregate: Aggregate, alone: Sequence[Groups] | None = None
) -> None:
    """Every number of every cell is that of a loss with its coefficients: counts exactly, others to 1e-12 of the
    terms that they are a sum of; the loss, of itself."""
    found = compute_sweep(groups, grid, TALLY, aggregate)
    names = number_names()
    for place, *cell in zip(grid.indices(), *map(found.numbers, names), strict=True):
        coefficients = Coefficients(*(values[i] for values, i in zip(grid[:3], place, strict=True)))  # type: ignore[arg-type]
        if alone is None:
            loss = compute_loss(groups, coefficients, TALLY, aggregate, place[0])
        else:
            loss = compute_loss(alone[place[0]], coefficients, TALLY, aggregate)
        beta, excess = coefficients.budget_penalty_coef, loss.over_budget.excess_tokens
        level = abs(loss.reward.mean or 0) + abs(beta) * (excess or 0) / max(1, loss.responses)
        scale = {
            "adjusted_reward.mean": level,
            "adjusted_reward.std": level + (loss.adjusted_reward.std or 0),
            "kl.r2": 1 + abs(loss.kl.r2 or 0),
        }
        for name, number in zip(names, cell, strict=True):
            expected = number_at(loss, name)
            if expected is None or isinstance(expected, int):
                assert (name, type(number), number) == (name, type(expected), expected), coefficients
            else:
                assert number is not None, (name, coefficients)
                room = 1e-12 * scale.get(name, abs(expected)) + 1e-300  # below, doubles lose their digits
                assert abs(number - expected) <= room, (name, number, expected, coefficients)


reward = st.sampled_from([0.0, 0.0, 1.0, 0.5, 0.3]) | st.floats(-100, 100)
length = st.integers(0, 40).map(lambda tens: tens * 10)
response = st.tuples(st.sampled_from("aaabbcd"), reward, length, st.sampled_from([0.0, 0.25]) | st.floats(-20, 20))
coefficient = st.sampled_from([0.0, 0.01, 0.1]) | st.floats(-2, 2)


@given(
    st.lists(response, min_size=1, max_size=24),
    st.sets(st.integers(0, 45).map(lambda tens: tens * 10), min_size=1, max_size=4),
    st.sets(coefficient, min_size=1, max_size=4),
    st.sets(coefficient, min_size=1, max_size=3),
    st.sampled_from(AGGREGATES),
)
def test_every_cell_is_the_loss_of_a_run_of_its_own(
    responses: list[Response],
    budgets: set[int],
    betas: set[float],
    alphas: set[float],
    aggregate: Aggregate,
) -> None:
    grid = Grid(tuple(sorted(budgets)), tuple(sorted(betas)), tuple(sorted(alphas)))
    alone = [groups_of(responses, (budget,)) for budget in sorted(budgets)]
    assert_cells_are_losses(groups_of(responses, sorted(budgets)), grid, aggregate, alone)


@pytest.mark.parametrize("aggregate", AGGREGATES)
@pytest.mark.parametrize("per_prompt", [1, 2, 5])
def test_the_cells_of_a_dump_of_several_blocks_of_prompts_are_its_losses(
    aggregate: Aggregate, per_prompt: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(totals, "ROWS", 7)
    dice = random.Random(per_prompt)
    responses: list[Response] = [
        (prompt, dice.choice([0, 1, 1e9]) + dice.random(), dice.randrange(4000), dice.gauss(0, 2))
        for prompt in range(40)
        for _ in range(per_prompt)
    ]
    grid = Grid((0, 500, 2000, 3999, 5000), (0.0, 1e-4, 0.1), (0.0, 0.5))
    assert_cells_are_losses(groups_of(responses, (0, 500, 2000, 3999, 5000)), grid, aggregate)


@pytest.mark.parametrize("aggregate", AGGREGATES)
def test_where_the_penalty_cancels_the_reward_the_prompts_are_asked_one_by_one(aggregate: Aggregate) -> None:
    rewarded = [("a", 0.01 * i, 100 + i, 0.0) for i in (0, 7, 31, 50)]  # the reward is what a β of 0.01 takes away
    nearly = [("b", 0.01 * i + 1e-6 * i * i, 100 + i, 0.0) for i in (0, 7, 31, 50)]
    grid = Grid((50, 100), (0.0, 0.0099999, 0.01, 0.0100001, 0.02), (0.0, 0.1))
    for responses in (rewarded, nearly, rewarded + nearly):
        assert_cells_are_losses(groups_of(responses, (50, 100)), grid, aggregate)  # type: ignore[arg-type]


@pytest.mark.parametrize("beta", [1e-160, 1e-153, 1e-100, 1e150])
def test_coefficients_whose_squares_vanish_or_overflow_are_no_exception(beta: float) -> None:
    responses: list[Response] = [("a", 1, 150, 0.1), ("a", 1, 250, 0.2), ("b", 1, 90, 0.3), ("b", 0, 300, 0)]
    assert_cells_are_losses(groups_of(responses, (100,)), Grid((100,), (0.0, beta), (0.0, beta)), "response")


@pytest.mark.parametrize("large", [1e160, 1e308])
def test_rewards_beyond_the_range_of_squares_give_no_number_and_no_noise(large: float) -> None:
    responses: list[Response] = [("a", large, 150, 0.1), ("a", -large, 250, 0.2), ("b", 1, 90, 0.3), ("b", 0, 300, 0)]
    assert_cells_are_losses(groups_of(responses, (100,)), Grid((100,), (0.0, 0.1), (0.0, 0.1)), "response")


def test_what_does_not_exist_is_null_in_every_cell() -> None:
    responses: list[Response] = [("a", 1, None, None), ("a", 0, None, None)]
    assert_cells_are_losses(groups_of(responses, ()), Grid((None,), (0.0,), (0.0,)), "response")
    assert_cells_are_losses(groups_of(responses, (10,)), Grid((10,), (0.0,), (0.0, 0.1)), "response")
    found = compute_sweep(groups_of(responses, (10,)), Grid((10,), (0.0,), (0.1,)), TALLY)
    assert found.numbers("loss") == found.numbers("over_budget.fraction") == [None]
    assert found.budgets == [sweep.AtBudget(10, None, None, None, [], None, None, None)]


def test_a_dump_without_responses_has_cells_without_numbers() -> None:
    grid = Grid((10, 20), (0.0, 0.1), (0.0,))
    assert_cells_are_losses(groups_of([], (10, 20)), grid, "response")


# prompts turn phantom as the budget falls; lengths 100, 200 / 250, 300 / equal / different rewards
NAMED: list[Response] = [
    ("short", 1, 100, 0),
    ("short", 1, 200, 0),
    ("long", 0, 250, 0),
    ("long", 0, 300, 0),
    ("even", 1, 280, 0),
    ("even", 1, 280, 0),
    ("mixed", 1, 290, 0),
    ("mixed", 0, 190, 0),
    ("mixed", 1, 140, 0),
    ("alone", 1, 500, 0),
]


def test_each_prompt_turns_phantom_once_as_the_budget_falls() -> None:
    budgets = (50, 199, 200, 299, 300)
    found = compute_sweep(groups_of(NAMED, budgets), Grid(budgets, (0.01,), (0.0,)), TALLY).budgets
    assert [(b.token_budget, b.phantom, b.turns_phantom) for b in found] == [
        (50, 2, []),
        (199, 2, ["short"]),
        (200, 1, []),
        (299, 1, ["long"]),
        (300, 0, []),
    ]
    assert [b.over for b in found] == [10, 7, 6, 2, 1]


def test_the_penalty_reorders_from_the_reward_gap_over_the_excess_gap() -> None:
    budgets = (50, 240, 290)
    grid = Grid(budgets, (0.01, 0.0100001, 0.02, 0.0200001), (0.0,))
    found = compute_sweep(groups_of(NAMED, budgets), grid, TALLY)
    # the best of "mixed" has up to 290 tokens, the worst 190: gaps of 100, 50 and 0 tokens for a reward of 1
    assert [(b.reorder_coef, b.reorder_prompt) for b in found.budgets] == [
        (0.01, "mixed"),
        (0.02, "mixed"),
        (None, None),
    ]
    assert found.at("groups.reordered")[:, :, 0].tolist() == [[0, 1, 1, 1], [0, 0, 0, 1], [0, 0, 0, 0]]


def test_half_of_the_advantage_is_made_by_length_at_the_root_of_the_scatters_ratio() -> None:
    budgets = (50, 240, 600)
    groups = groups_of(NAMED, budgets)
    halves = [b.half_share_coef for b in compute_sweep(groups, Grid(budgets, (0.01,), (0.0,)), TALLY).budgets]
    assert halves[2] is None
    for i in (0, 1):
        share = compute_loss(groups, Coefficients(budgets[i], halves[i] or 0, 0), TALLY, budget=i)
        assert share.advantage.budget_share == pytest.approx(0.5, rel=1e-12)
