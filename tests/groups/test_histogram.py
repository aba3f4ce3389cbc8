"""If this fails, the histogram shows responses or the budget at the wrong length."""

import numpy as np
import pytest
from examples import TWICE, examples
from hypothesis import given
from hypothesis import strategies as st

from budget_cli.groups.lengths import Histogram, Lengths, length_histogram


def counted(every: list[int]) -> Lengths:
    lengths = Lengths()
    lengths.add(np.array(every, dtype=np.float64))
    return lengths


@pytest.mark.parametrize(
    ("every", "bins", "budget", "expected"),
    [
        ([0, 9, 10, 19, 99, 99], 10, None, Histogram(99, (2, 2, 0, 0, 0, 0, 0, 0, 0, 2), None)),
        ([100], 10, None, Histogram(100, (0,) * 9 + (1,), None)),  # 11 tokens a bin
        ([1, 3, 3], 10, 2, Histogram(3, (0, 1, 0, 2), 2)),  # never narrower than a token
        ([0, 0], 10, 0, Histogram(0, (2,), 0)),
        ([0, 5], 1, 5, Histogram(5, (2,), 0)),
        ([99], 10, 0, Histogram(99, (0,) * 9 + (1,), 0)),
        ([99], 10, 9, Histogram(99, (0,) * 9 + (1,), 0)),
        ([99], 10, 10, Histogram(99, (0,) * 9 + (1,), 1)),
        ([99], 10, 99, Histogram(99, (0,) * 9 + (1,), 9)),
        ([99], 10, 100, Histogram(99, (0,) * 9 + (1,), None)),
        ([1, 200_000], 2, 70_000, Histogram(200_000, (1, 1), 0)),
    ],
)
def test_lengths_fall_into_bins_of_equal_width_from_zero(
    every: list[int], bins: int, budget: int | None, expected: Histogram
) -> None:
    assert length_histogram(counted(every), bins, budget) == expected


@pytest.mark.parametrize("budget", [None, 0, 100])
def test_no_lengths_have_no_histogram(budget: int | None) -> None:
    assert length_histogram(Lengths(), 10, budget) is None


@examples(TWICE)
@given(
    st.lists(st.integers(0, 500) | st.integers(0, 200_000), min_size=1, max_size=50),
    st.integers(1, 80),
    st.integers(0, 200_000),
)
def test_every_response_is_in_one_bin_and_the_budget_in_the_bin_of_its_length(
    every: list[int], bins: int, budget: int
) -> None:
    histogram = length_histogram(counted(every), bins, budget)
    assert histogram is not None
    assert histogram.longest == max(every)
    assert len(histogram.counts) <= bins
    assert sum(histogram.counts) == len(every)
    assert histogram.counts[-1] > 0
    if budget > max(every):
        assert histogram.budget_at is None
    else:
        together = length_histogram(counted([*every, budget]), bins, budget)
        assert together is not None
        assert histogram.budget_at is not None
        assert together.counts[histogram.budget_at] == histogram.counts[histogram.budget_at] + 1
