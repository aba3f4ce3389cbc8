"""If this fails, a difference between two dumps is called clear that is chance, or chance that is clear."""

import math
import statistics
from collections.abc import Mapping, Sequence
from fractions import Fraction

import grouping
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from budget_cli.analysis import compare
from budget_cli.analysis.compare import Comparison, compare_groups, compare_results
from budget_cli.analysis.differences import Difference
from budget_cli.analysis.loss import Aggregate, Coefficients, compute_loss
from budget_cli.groups.groups import Groups
from budget_cli.groups.moments import Layout
from budget_cli.ids import Key
from budget_cli.records.columns import Tally

LAYOUT = Layout((100,))
COEFFICIENTS = Coefficients(100, 0.01, 0.1)
Response = tuple[float, float, float]  # reward, tokens, log-ratio
Dump = Mapping[Key, Sequence[Response]]


def groups_of(dump: Dump) -> Groups:
    return grouping.groups_of([(key, *response) for key, each in dump.items() for response in each], LAYOUT.budgets)


def rewards(dump: Mapping[Key, Sequence[float]], length: float = 50) -> Dump:
    return {key: [(reward, length, 0.0) for reward in values] for key, values in dump.items()}


def compared(base: Dump, new: Dump, aggregate: Aggregate = "response") -> Comparison:
    one, two = groups_of(base), groups_of(new)
    return compare_groups(one, two, compare.pair(one, two), COEFFICIENTS, aggregate)


def test_a_paired_standard_error_worked_by_hand() -> None:
    # differences of the prompts' means: 1/2, 0, 1/2; their standard deviation is 1/√12, over √3 prompts 1/6
    found = compared(rewards({"a": [0, 1], "b": [1, 1], "c": [0, 0]}), rewards({"a": [1, 1], "b": [1, 1], "c": [0, 1]}))
    assert found.pairing == "prompt"
    assert found.reward == pytest.approx((0.5, 5 / 6, 1 / 3, 1 / 6, 2))


def test_prompts_of_unequal_size_weigh_by_their_responses() -> None:
    # base: M = 1/4, u = ±(3/4)/4 = ±3/16; new: M = 1, u = 0; se² = 2/1 · 2 · (3/16)² = (3/8)²
    found = compared(rewards({"a": [1], "b": [0, 0, 0]}), rewards({"b": [1], "a": [1]}))
    assert found.reward == pytest.approx((0.25, 1, 0.75, 3 / 8, 2))


def test_dumps_that_share_no_prompt_are_compared_as_two_samples() -> None:
    # se² = 2 · 2 · (3/16)² of the one, 2 · 2 · (1/4)² of the other: M = 1/2, u = ±(1/2)/2
    found = compared(rewards({"a": [1], "b": [0, 0, 0]}), rewards({1: [1], 2: [0]}))
    assert (found.pairing, found.prompts) == ("none", (2, 2, 0, 2, 2))
    assert found.reward == pytest.approx((0.25, 0.5, 0.25, math.sqrt(9 / 64 + 1 / 4), 0.25 / math.sqrt(25 / 64)))


def test_what_only_one_dump_has_is_left_out_and_counted() -> None:
    base = rewards({"a": [0, 1], "x": [9, 9], "b": [1, 1]})
    new = rewards({"b": [1, 1], "a": [0, 1], "y": [7], "z": [5]})
    found = compared(base, new)
    assert found.prompts == (3, 4, 2, 1, 2)
    assert found.responses == (4, 4)
    assert found.reward == (0.75, 0.75, 0, 0, None)
    one, two = groups_of(base), groups_of(new)
    pairing = compare.pair(one, two)
    assert compare.prompt_ids(one, pairing.only_base, 10) == ["x"]
    assert compare.prompt_ids(two, pairing.only_new, 1) == ["y"]


def test_1_and_the_text_1_are_two_prompts() -> None:
    assert compared(rewards({1: [0, 1]}), rewards({"1": [0, 1]})).pairing == "none"


def test_every_quantity_is_that_of_the_loss_where_the_prompts_are_the_same() -> None:
    base = {"a": [(1.0, 150.0, 0.2), (0.5, 80.0, -0.2)], "b": [(1.0, 50.0, 0.0), (1.0, 160.0, 0.5), (1.0, 90.0, 1.0)]}
    new = {"b": [(0.0, 250.0, 0.1)], "a": [(1.0, 150.0, 0.3), (0.0, 80.0, -0.1)]}
    for aggregate in ("response", "prompt"):
        found = compared(base, new, aggregate)
        for side, dump in (("base", base), ("new", new)):
            loss = compute_loss(groups_of(dump), COEFFICIENTS, Tally(), aggregate)
            expected = compare.from_loss(loss, Tally()).quantities
            assert {name: getattr(getattr(found, name), side) for name in compare.QUANTITIES} == pytest.approx(expected)


def test_one_prompt_has_no_standard_error() -> None:
    assert compared(rewards({"a": [0, 1]}), rewards({"a": [1, 1]})).reward == (0.5, 1, 0.5, None, None)


@pytest.mark.parametrize(("base", "new"), [({}, {}), ({}, {"a": [1]}), ({"a": [1]}, {})])
def test_a_dump_without_responses_has_nothing_to_compare(
    base: Mapping[Key, Sequence[float]], new: Mapping[Key, Sequence[float]]
) -> None:
    found = compared(rewards(base), rewards(new))
    assert all(getattr(found, name).delta is None for name in compare.QUANTITIES)


def test_what_some_responses_lack_is_not_compared() -> None:
    groups = Groups.from_responses(LAYOUT, ["a"], np.zeros(2, dtype=np.intp), np.array([0.0, 1.0]), None, None)
    whole = groups_of(rewards({"a": [0, 1]}))
    found = compare_groups(whole, groups, compare.pair(whole, groups), Coefficients(None, 0, 0))
    nothing = {name for name in compare.QUANTITIES if getattr(found, name).delta is None}
    assert nothing == {"log_ratio", "length", "over_budget"}


def test_the_prompts_that_moved_most_come_first_and_those_that_did_not_move_do_not_come() -> None:
    base = groups_of(rewards({"a": [0, 1], "b": [1, 1], "c": [0, 0], "d": [5]}))
    new = groups_of(rewards({"c": [1, 1], "b": [1, 1], "a": [0, 0.5]}, length=60))
    pairing = compare.pair(base, new)
    moved = compare.moved(base, new, pairing, COEFFICIENTS, "reward", 10)
    assert [(prompt.prompt_id, prompt.reward_delta) for prompt in moved] == [("c", 1), ("a", -0.25)]
    assert [prompt.length_delta for prompt in moved] == [10, 10]
    assert moved[1][:6] == ("a", 2, 2, 0.25, 0.0625, -0.1875)
    assert [p.prompt_id for p in compare.moved(base, new, pairing, COEFFICIENTS, "length", 2)] == ["a", "b"]


def test_results_without_prompts_have_differences_and_no_errors() -> None:
    loss = compute_loss(groups_of(rewards({"a": [0, 1]})), COEFFICIENTS, Tally(2, 2))
    one = compare.from_loss(loss, Tally(2, 2))
    two = one._replace(quantities=one.quantities | {"loss": 0.75, "length": None})
    found = compare_results(one, two, COEFFICIENTS, "response")
    assert found.loss == Difference(0.25, 0.75, 0.5, None, None)
    assert found.length == Difference(50, None, None, None, None)
    assert found.prompts == (1, 1, 0, None, None)


numbers = st.floats(-10, 10).map(lambda x: round(x, 3))
sizes = st.integers(1, 5)
pairs = st.lists(st.lists(st.tuples(numbers, numbers), min_size=3, max_size=3), min_size=2, max_size=8)


@given(pairs)
def test_with_prompts_of_one_size_it_is_the_standard_error_of_the_mean_difference(
    drawn: list[list[tuple[float, float]]],
) -> None:
    base, new = ({i: [pair[side] for pair in prompt] for i, prompt in enumerate(drawn)} for side in (0, 1))
    differences = [statistics.fmean(b - a for a, b in prompt) for prompt in drawn]
    found = compared(rewards(base), rewards(new)).reward
    assert found.delta == pytest.approx(statistics.fmean(differences), abs=1e-9)
    assert found.se == pytest.approx(statistics.stdev(differences) / math.sqrt(len(differences)), abs=1e-9)


response = st.tuples(numbers, st.integers(0, 300).map(float), numbers)
dumps = st.dictionaries(
    st.sampled_from(["a", "b", "c", 1, "1"]), st.lists(response, min_size=1, max_size=4), min_size=1
)


@given(dumps, dumps)
def test_turned_round_the_differences_change_their_sign_only(base: Dump, new: Dump) -> None:
    there, back = compared(base, new), compared(new, base)
    for name in compare.QUANTITIES:
        one, two = getattr(there, name), getattr(back, name)
        assert (one.base, one.new) == pytest.approx((two.new, two.base))
        assert one.delta == pytest.approx(-two.delta)
        assert (one.se is None) == (two.se is None)
        assert one.se is None or one.se == pytest.approx(two.se, rel=1e-6, abs=1e-9)
    assert there.prompts == (
        back.prompts.new,
        back.prompts.base,
        back.prompts.paired,
        back.prompts.only_new,
        back.prompts.only_base,
    )


@pytest.mark.exhaustive
@given(dumps, dumps)
def test_the_sampling_of_prompts_is_what_the_standard_error_measures(base: Dump, new: Dump) -> None:
    found = compared(base, new).reward
    paired = [key for key in base if key in new]

    def influence(dump: Dump, keys: Sequence[Key]) -> list[float]:
        flat = [r for key in keys for r, _, _ in dump[key]]
        mean = statistics.fmean(flat)
        return [sum(r - mean for r, _, _ in dump[key]) / len(flat) for key in keys]

    def spread(u: Sequence[float]) -> float:
        return len(u) / (len(u) - 1) * sum(x * x for x in u)

    if paired:
        clusters = [[b - a for a, b in zip(influence(base, paired), influence(new, paired), strict=True)]]
    else:
        clusters = [influence(base, list(base)), influence(new, list(new))]
    if any(len(u) < 2 for u in clusters):
        assert found.se is None
    else:
        assert found.se == pytest.approx(math.sqrt(sum(map(spread, clusters))), abs=1e-9)


NEAR = st.integers(-1000, 1000).map(lambda millis: 1e9 + millis / 1024)  # exact in a double, like every difference


@given(
    base=st.lists(st.lists(NEAR, min_size=1, max_size=4), min_size=2, max_size=6),
    new=st.lists(st.lists(NEAR, min_size=1, max_size=4), min_size=2, max_size=6),
    paired=st.booleans(),
)
def test_a_difference_of_close_means_keeps_its_digits(
    base: list[list[float]], new: list[list[float]], paired: bool
) -> None:
    key = (lambda i: f"p{i}") if paired else (lambda i: i)
    both = min(len(base), len(new))
    one, two = {f"p{i}": row for i, row in enumerate(base[:both])}, {key(i): row for i, row in enumerate(new[:both])}
    found = compared(rewards(one), rewards(two)).reward

    def influences(rows: list[list[float]]) -> tuple[Fraction, list[Fraction]]:
        exact = [[Fraction(value) for value in row] for row in rows]
        n = sum(map(len, exact))
        mean = sum((sum(row) for row in exact), Fraction()) / n
        return mean, [(sum(row) - mean * len(row)) / n for row in exact]

    (m_one, u_one), (m_two, u_two) = influences(base[:both]), influences(new[:both])
    variance = (
        sum((b - a) ** 2 for a, b in zip(u_one, u_two, strict=True)) if paired else sum(u * u for u in [*u_one, *u_two])
    ) * Fraction(both, both - 1)
    assert found.delta == pytest.approx(float(m_two - m_one), rel=1e-12, abs=0)
    assert found.se == pytest.approx(math.sqrt(variance), rel=1e-12, abs=1e-20)


def test_shares_that_differ_in_their_last_digits_differ_exactly() -> None:
    over, within = (1.0, 150.0, 0.0), (1.0, 50.0, 0.0)
    base, new = {"a": [over] * 333 + [within] * 667}, {"a": [over] * 334 + [within] * 669}
    assert compared(base, new).over_budget.delta == pytest.approx(1 / 1003000, rel=1e-15, abs=0)


def test_a_difference_beyond_the_range_of_a_double_is_missing() -> None:
    found = compared(rewards({"a": [1.5e308], "b": [1.5e308]}), rewards({"a": [-1.5e308], "b": [-1.5e308]}))
    assert found.reward.delta is None


def test_prompts_that_all_moved_alike_have_no_standard_error() -> None:
    def dump(tokens: float) -> Dump:
        return {"a": [(0, tokens, 0)], "b": [(0, tokens + 7, 0)] * 10}  # the mean is no double, nor two

    assert compared(dump(1017), dump(1018)).length[2:] == (1, 0, None)
