"""If this fails, the numbers of a dump depend on how it was split into parts, or two prompts become one."""

import pickle
from collections.abc import Sequence

import grouping
import numpy as np
import pytest
from examples import TWICE, examples
from hypothesis import given
from hypothesis import strategies as st

from budget_cli.groups.groups import Groups
from budget_cli.groups.moments import Layout
from budget_cli.ids import Key

LAYOUT = Layout((100, 500))
Response = tuple[Key, float, float, float]  # prompt, reward, tokens, log-ratio

response = st.tuples(
    st.sampled_from(["a", "b", 1, "1", 2]), st.floats(-100, 100), st.integers(0, 1000).map(float), st.floats(-5, 5)
)
part = st.lists(response, max_size=8)
parts = st.lists(part, max_size=6)


def groups_of(responses: Sequence[Response], layout: Layout = LAYOUT) -> Groups:
    return grouping.groups_of(responses, layout.budgets)


def folded(of: Sequence[Sequence[Response]]) -> Groups:
    groups = Groups(LAYOUT)
    for one in of:
        groups.merge(groups_of(one))
    return groups


def flat(of: Sequence[Sequence[Response]]) -> list[Response]:
    return [each for one in of for each in one]


def bits(groups: Groups) -> tuple[list[Key], bytes, list[list[int]], dict[str, int]]:
    lengths = [column.tolist() for column in groups.lengths.items()]
    counts = {name: value for name, value in vars(groups).items() if isinstance(value, int)}
    return list(groups.keys()), groups.table.tobytes(), lengths, counts


def assert_same_numbers(found: Groups, expected: Groups) -> None:
    """Assert the same prompts in any order, and the same numbers up to rounding; pivot and sum only by their mean."""

    def facts(groups: Groups) -> dict[tuple[type, Key], list[float]]:
        table = groups.table.copy()
        at = LAYOUT.at
        for x0, x1 in [(at("r0"), at("r1")), (at("k0"), at("k1")), *((at("e0", i), at("e1", i)) for i in (0, 1))]:
            table[:, x0] += table[:, x1] / table[:, at("n")]
            table[:, x1] = 0
        return {(type(key), key): row for key, row in zip(groups.keys(), table.tolist(), strict=True)}

    ours, theirs = facts(found), facts(expected)
    assert ours.keys() == theirs.keys()
    for key, row in ours.items():
        assert row == pytest.approx(theirs[key], rel=1e-9, abs=1e-7), key
    assert bits(found)[2:] == bits(expected)[2:]


@examples(TWICE)
@given(parts)
def test_parts_merge_into_the_groups_of_the_whole(of: list[list[Response]]) -> None:
    whole = groups_of(flat(of))
    assert_same_numbers(folded(of), whole)
    assert list(folded(of).keys()) == list(whole.keys())


@examples(TWICE)
@given(parts.flatmap(lambda of: st.tuples(st.just(of), st.permutations(of))))
def test_the_order_of_the_parts_changes_no_number(both: tuple[list[list[Response]], list[list[Response]]]) -> None:
    assert_same_numbers(folded(both[0]), folded(both[1]))


@examples(TWICE)
@given(part.flatmap(lambda of: st.tuples(st.just(of), st.permutations(of))))
def test_the_order_of_the_responses_changes_no_number(both: tuple[list[Response], list[Response]]) -> None:
    assert_same_numbers(groups_of(both[0]), groups_of(both[1]))


@examples(TWICE)
@given(parts, parts, parts)
def test_merging_groups_is_associative(
    a: list[list[Response]], b: list[list[Response]], c: list[list[Response]]
) -> None:
    left, right, last = folded(a), folded(b), folded(c)
    left.merge(right)
    left.merge(last)
    tail = folded(b)
    tail.merge(folded(c))
    again = folded(a)
    again.merge(tail)
    assert_same_numbers(again, left)


@examples(TWICE)
@given(parts)
def test_the_same_parts_in_the_same_order_give_the_same_bits(of: list[list[Response]]) -> None:
    sent = Groups(LAYOUT)
    for one in of:
        sent.merge(pickle.loads(pickle.dumps(groups_of(one))))
    assert bits(folded(of)) == bits(folded(of)) == bits(sent)


@examples(TWICE)
@given(part)
def test_the_empty_groups_are_an_exact_identity_on_both_sides(responses: list[Response]) -> None:
    expected = bits(groups_of(responses))
    before, after = Groups(LAYOUT), groups_of(responses)
    before.merge(groups_of(responses))
    after.merge(Groups(LAYOUT))
    assert bits(before) == bits(after) == expected


def test_merging_leaves_the_later_groups_unchanged() -> None:
    one, later = groups_of([("a", 1, 10, 0.1)]), groups_of([("b", 2, 20, 0.2), ("a", 3, 30, 0.3)])
    before = bits(later)
    one.merge(later)
    one.merge(groups_of([("b", 9, 90, 0.9)]))
    assert bits(later) == before


def test_the_number_1_and_the_text_1_are_two_prompts() -> None:
    groups = folded([[(1, 0.5, 10, 0.0), ("1", 0.25, 20, 0.0)], [("1", 0.75, 30, 0.0)]])
    assert list(groups.keys()) == [1, "1"]
    assert [type(key) for key in groups.keys()] == [int, str]  # noqa: SIM118  Groups is not a dict
    assert groups.column("n").tolist() == [1, 2]


def test_prompts_stay_in_the_order_of_their_first_occurrence() -> None:
    groups = folded([[("z", 0, 0, 0), ("b", 0, 0, 0)], [], [("a", 0, 0, 0), ("z", 0, 0, 0)], [("c", 0, 0, 0)]])
    assert list(groups.keys()) == ["z", "b", "a", "c"]
    assert groups.column("n").tolist() == [2, 1, 1, 1]
    assert len(groups) == 4


def test_many_prompts_keep_their_own_rows_as_the_table_grows() -> None:
    of = [[(number, float(number), 10.0, 0.0) for number in range(first, first + 30)] for first in range(0, 600, 20)]
    groups = folded(of)
    assert list(groups.keys()) == list(range(610))
    assert groups.column("r_min").tolist() == groups.column("r_max").tolist() == list(range(610))


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_groups_sent_to_another_process_arrive_unchanged_and_can_still_merge(protocol: int) -> None:
    groups = folded([[("a", 1, 700, 0.5), (1, 0, 90, 0.1)], [("1", 2, 70_000, -0.5), ("a", 0, 20, 0.2)]])
    arrived = pickle.loads(pickle.dumps(groups, protocol))
    assert bits(arrived) == bits(groups)
    assert arrived.layout == groups.layout
    more = groups_of([("a", 5, 10, 0.0), ("new", 6, 10, 0.0)])
    arrived.merge(more)
    groups.merge(more)
    assert bits(arrived) == bits(groups)


@pytest.mark.parametrize("budgets", [(), (100,), (500, 100), (100, 501)])
def test_groups_with_other_budgets_do_not_merge(budgets: tuple[int, ...]) -> None:
    groups, other = groups_of([("a", 1, 700, 0.5)]), groups_of([("a", 1, 700, 0.5)], Layout(budgets))
    before = bits(groups)
    with pytest.raises(ValueError, match="cannot merge") as refused:
        groups.merge(other)
    assert str(refused.value) == f"groups of {Layout(budgets)} cannot merge into those of {LAYOUT}"
    assert bits(groups) == before


@pytest.mark.parametrize("layout", [Layout(), Layout((100,)), Layout((100, 500, 900))])
def test_one_budget_of_several_equals_a_scan_for_it_alone(layout: Layout) -> None:
    responses: list[Response] = [("a", 1, 150, 0.5), ("b", 0, 90, 0.1), ("a", 0, 950, 0.2)]
    several = groups_of(responses, layout)
    for i, budget in enumerate(layout.budgets):
        assert several.at(i).layout == Layout((budget,))
        assert bits(several.at(i)) == bits(groups_of(responses, Layout((budget,))))
    assert bits(several.at(0)) == bits(groups_of(responses, Layout(layout.budgets[:1])))


def test_responses_without_a_length_or_a_log_ratio_are_counted_separately() -> None:
    keys, codes, r = ["a", "b"], np.array([0, 0, 1]), np.array([1.0, 0.0, 2.0])
    some = Groups.from_responses(LAYOUT, keys, codes, r, np.array([10, np.nan, 30]), np.array([np.nan, np.nan, 0.5]))
    assert (some.with_length, some.with_log_ratio) == (2, 1)
    assert some.lengths.items()[0].tolist() == [10, 30]
    none = Groups.from_responses(LAYOUT, keys, codes, r, None, None)
    assert (none.with_length, none.with_log_ratio) == (0, 0)
    some.merge(none)
    assert (some.with_length, some.with_log_ratio, some.column("n").tolist()) == (2, 1, [4, 2])
