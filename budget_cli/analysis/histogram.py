"""Exact lengths → a few bins to look at, with the place of the budget among them."""

from typing import NamedTuple

import numpy as np

from budget_cli.groups.lengths import Lengths


class Histogram(NamedTuple):
    """Responses by length, in bins of equal width from 0 to the longest."""

    longest: int  # tokens
    counts: tuple[int, ...]
    budget_at: int | None  # the budget lies at the left edge of this bin, or inside it; None: beyond the longest


def of_lengths(lengths: Lengths, bins: int, budget: int | None) -> Histogram | None:
    """The histogram in at most `bins` bins; None where no length is known."""
    values, counts = lengths.items()
    if not values.size:
        return None
    longest = int(values[-1])
    width = max(1, -(-(longest + 1) // bins))
    binned = np.bincount(values // width, weights=counts, minlength=min(bins, longest // width + 1))
    at = None if budget is None or budget > longest else budget // width
    return Histogram(longest, tuple(int(count) for count in binned), at)
