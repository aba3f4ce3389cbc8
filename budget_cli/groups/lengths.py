"""Response lengths → exact counts by length, for percentiles and the histogram; counts merge.

Every distinct length (tokens) is counted and none is binned, so the percentiles are those of the full list. Knows no
prompts and no files.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

DENSE = 1 << 16  # lengths below this have a slot of an array; longer responses are rare and go to a dict


class Lengths:
    """Counts by length; `add` responses, `merge` another's."""

    def __init__(self) -> None:
        self._dense = np.zeros(0, dtype=np.int64)
        self._long: dict[int, int] = {}

    def add(self, lengths: NDArray[np.float64]) -> None:
        """Count these lengths, which are whole numbers of tokens."""
        short = lengths[lengths < DENSE] if lengths.size and lengths.max() >= DENSE else lengths
        self._add_dense(np.bincount(short.astype(np.intp)))
        if short.size < lengths.size:
            for value, count in zip(*np.unique(lengths[lengths >= DENSE], return_counts=True), strict=True):
                self._long[int(value)] = self._long.get(int(value), 0) + int(count)

    @classmethod
    def from_items(cls, items: Sequence[tuple[int, int]]) -> "Lengths":
        """Create counts from pairs of (length, responses) in ascending order, as in a summary."""
        lengths = cls()
        dense = [item for item in items if item[0] < DENSE]
        if dense:
            lengths._dense = np.zeros(max(value for value, _ in dense) + 1, dtype=np.int64)
            lengths._dense[[value for value, _ in dense]] = [count for _, count in dense]
        lengths._long = {value: count for value, count in items if value >= DENSE}
        return lengths

    def merge(self, other: "Lengths") -> None:
        """Add the other's counts to these."""
        self._add_dense(other._dense)
        for value, count in other._long.items():
            self._long[value] = self._long.get(value, 0) + count

    def _add_dense(self, counts: NDArray[np.int64]) -> None:
        if counts.size > self._dense.size:
            self._dense = np.concatenate([self._dense, np.zeros(counts.size - self._dense.size, dtype=np.int64)])
        self._dense[: counts.size] += counts

    def items(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the distinct lengths in ascending order, and the number of responses of each."""
        values = np.nonzero(self._dense)[0]
        long = sorted(self._long)
        return (
            np.concatenate([values, np.array(long, dtype=np.int64)]),
            np.concatenate([self._dense[values], np.array([self._long[v] for v in long], dtype=np.int64)]),
        )

    def percentiles(self, percents: Sequence[int]) -> list[float | None]:
        """Return percentiles in tokens, interpolated linearly as by numpy; None if there are no lengths."""
        values, counts = self.items()
        if not values.size:
            return [None] * len(percents)
        ranks_up_to = np.cumsum(counts)

        def ranked(rank: int) -> int:
            return int(values[np.searchsorted(ranks_up_to, rank, side="right")])

        answers: list[float | None] = []
        for percent in percents:
            below, part = divmod(percent * (int(ranks_up_to[-1]) - 1), 100)
            low, high = ranked(below), ranked(min(below + 1, int(ranks_up_to[-1]) - 1))
            answers.append((low * (100 - part) + high * part) / 100)  # whole numbers, so one rounding
        return answers


class Histogram(NamedTuple):
    """Number of responses by length, in bins of equal width from 0 to the longest."""

    longest: int  # tokens
    counts: tuple[int, ...]
    budget_at: int | None  # the bin that holds the budget; None: it is beyond the longest


def length_histogram(lengths: Lengths, bins: int, budget: int | None) -> Histogram | None:
    """Compute the histogram in at most `bins` bins; None if no length is known."""
    values, counts = lengths.items()
    if not values.size:
        return None
    longest = int(values[-1])
    width = max(1, -(-(longest + 1) // bins))
    binned = np.bincount(values // width, weights=counts, minlength=min(bins, longest // width + 1))
    at = None if budget is None or budget > longest else budget // width
    return Histogram(longest, tuple(int(count) for count in binned), at)
