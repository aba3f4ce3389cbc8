"""If this fails, the percentiles of the lengths are not those of the full list of lengths."""

import numpy as np
import pytest
from examples import TWICE, examples
from hypothesis import given
from hypothesis import strategies as st

from budget_cli.groups.lengths import DENSE, Lengths

PERCENTS = [0, 1, 25, 50, 90, 99, 99.9, 100]

tokens = st.integers(0, 300) | st.integers(0, 3 * DENSE) | st.sampled_from([DENSE - 1, DENSE, DENSE + 1, 10**12])


def counted(*parts: list[int]) -> Lengths:
    lengths = Lengths()
    for part in parts:
        lengths.add(np.array(part, dtype=np.float64))
    return lengths


def listed(lengths: Lengths) -> tuple[list[int], list[int]]:
    values, counts = lengths.items()
    return values.tolist(), counts.tolist()


@examples(TWICE)
@given(st.lists(tokens, min_size=1, max_size=60))
def test_percentiles_equal_those_of_numpy_on_the_full_list(every: list[int]) -> None:
    assert counted(every).percentiles(PERCENTS) == pytest.approx(np.percentile(every, PERCENTS), rel=1e-12)


@pytest.mark.parametrize(
    ("every", "percent", "expected"),
    [
        ([7], 50, 7.0),
        ([10, 20], 50, 15.0),
        ([10, 20], 90, 19.0),
        ([0, 100, 100, 100], 1, 3.0),
        ([65535, 65536], 50, 65535.5),
        ([1, 70_000, 3], 100, 70_000.0),
        ([1, 70_000, 3], 0, 1.0),
    ],
)
def test_a_percentile_lies_on_the_line_between_the_closest_ranks(
    every: list[int], percent: float, expected: float
) -> None:
    assert counted(every).percentiles([percent]) == pytest.approx([expected], rel=1e-15)


@examples(TWICE)
@given(st.lists(st.lists(tokens, max_size=10), max_size=5))
def test_adding_in_parts_and_merging_both_count_what_one_list_counts(parts: list[list[int]]) -> None:
    every = counted([length for part in parts for length in part])
    merged = Lengths()
    for part in parts:
        merged.merge(counted(part))
    assert listed(counted(*parts)) == listed(merged) == listed(every)


@examples(TWICE)
@given(st.lists(tokens, max_size=60))
def test_every_distinct_length_is_counted_in_ascending_order(every: list[int]) -> None:
    values, counts = np.unique(np.array(every, dtype=np.int64), return_counts=True)
    assert listed(counted(every)) == (values.tolist(), counts.tolist())


def test_merging_leaves_the_other_unchanged() -> None:
    one, other = counted([1, 2, 70_000]), counted([2, 3, 70_000])
    one.merge(other)
    assert listed(one) == ([1, 2, 3, 70_000], [1, 2, 1, 2])
    assert listed(other) == ([2, 3, 70_000], [1, 1, 1])
    other.merge(one)
    assert listed(one) == ([1, 2, 3, 70_000], [1, 2, 1, 2])


@pytest.mark.parametrize("lengths", [Lengths(), counted([]), counted([], [])])
def test_no_lengths_have_no_percentiles(lengths: Lengths) -> None:
    assert lengths.percentiles([50, 99]) == [None, None]
    assert listed(lengths) == ([], [])
