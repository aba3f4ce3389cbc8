"""The log-probs of the tokens of responses, under two policies → the columns COMPARED. Knows no records and no files.

A token's log-ratio is k = one − other, in nats, and its ratio e^k. All sums are taken response by response, so their
bits do not depend on what else is compared in the same call.
"""

import math
import threading
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from budget_cli.schema.fields import BINS, COMPARED, EDGES

Floats = NDArray[np.float64]
FAR = 1.0  # nats below 0 at which no rounding makes a log-prob of exactly 0
TOKEN_CAP = 2.0  # ratios outside [1 / TOKEN_CAP, TOKEN_CAP] are counted; truncated importance sampling caps there
FEWEST_TOKENS = 8  # of a response, below which a shift could be chance
APART = 0.05  # nats per token; lists that are closer than this fit as they are
SHOWS = 64  # of the first tokens of a response, whether its lists are shifted
LONG = 64  # tokens of a response on average, from which a loop over responses is quicker
MOST_KEPT = 1 << 18  # doubles of the array that is kept from call to call
FITS = 4.0  # times as close, from which a list that is moved by one token fits far better


@np.errstate(over="ignore")  # inf, of which no number is made
def compare_tokens(counts: NDArray[np.int64], one: Floats, other: Floats, bins: bool = False) -> dict[str, Floats]:
    """Compare two lists of log-probs for each response.

    Args:
        counts: shape (responses,), the number of tokens of each, 1 or more.
        one: the log-probs of all tokens in nats, response by response.
        other: those under another policy.
        bins: True to count the tokens by their log-ratios, too.

    Returns:
        The columns COMPARED, and BINS if asked for, shape (responses,) each; NaN where a response has no such token, or
        shows no shift.
    """
    found = {name: np.full(counts.size, np.nan) for name in (*COMPARED, *(BINS if bins else ()))}
    if not counts.size:
        return found
    starts = np.cumsum(counts) - counts
    for name, a, b in (("unfilled", one, other), ("unfilled_other", other, one)):
        zeros = np.flatnonzero(a == 0)
        _put_first(found[name], zeros[b[zeros] < -FAR], starts)
    size = _scratch(one.size)
    np.subtract(one, other, out=size)
    if bins:
        at = np.searchsorted(EDGES, size, side="right") + np.repeat(np.arange(counts.size) * len(BINS), counts)
        in_bins = np.bincount(at, minlength=counts.size * len(BINS)).reshape(counts.size, len(BINS))
        found |= {name: in_bins[:, i].astype(np.float64) for i, name in enumerate(BINS)}
    np.abs(size, out=size)
    found["size"] = np.add.reduceat(size, starts)
    far = (size > math.log(TOKEN_CAP)).view(np.int8)
    found["outside"] = np.add.reduceat(far, starts, dtype=np.int64).astype(np.float64)
    if size.size > LONG * counts.size:
        largest = [int(size[begin:end].argmax()) for begin, end in pairwise([*starts.tolist(), size.size])]
        found["worst"] = np.array(largest, dtype=np.float64)
    else:
        worst = np.maximum.reduceat(size, starts)
        _put_first(found["worst"], np.flatnonzero(size == np.repeat(worst, counts)), starts)
    worst_at = starts + found["worst"].astype(np.intp)
    found["worst_log_ratio"] = one[worst_at] - other[worst_at]
    _put_shifts(found, counts, starts, one, other)
    return found


_kept = threading.local()


def _scratch(size: int) -> Floats:
    """Return an array for one call, kept from call to call: fresh pages would cost more than the rest of it."""
    if size > MOST_KEPT:
        return np.empty(size)
    if not hasattr(_kept, "doubles") or _kept.doubles.size < size:
        _kept.doubles = np.empty(size)
    array: Floats = _kept.doubles[:size]
    return array


def _rows(at: NDArray[np.intp], starts: NDArray[np.int64]) -> NDArray[np.intp]:
    """Return the response of each of these tokens."""
    return np.searchsorted(starts, at, side="right") - 1


def _put_first(column: Floats, at: NDArray[np.intp], starts: NDArray[np.int64]) -> None:
    """Put the index within its response of the first of these tokens, which are in order."""
    rows = _rows(at, starts)
    column[rows[::-1]] = (at - starts[rows])[::-1]  # of repeated rows the last assignment stays


def _put_shifts(
    found: Mapping[str, Floats], counts: NDArray[np.int64], starts: NDArray[np.int64], one: Floats, other: Floats
) -> None:
    """Find the responses whose lists fit far better if the second is moved by one token, as with a mask off by one."""
    rows = np.flatnonzero((found["size"] > APART * counts) & (counts >= FEWEST_TOKENS))
    if not rows.size:
        return
    counts = np.minimum(counts[rows], SHOWS)
    before = np.cumsum(counts) - counts
    some = np.arange(counts.sum()) + np.repeat(starts[rows] - before, counts)
    one, other, starts = one[some], other[some], before
    as_is = np.add.reduceat(np.abs(one - other), starts) / counts
    for shift in (-1, 1):  # the last one stays
        size = np.zeros(one.size)
        moved = (one[1:], other[:-1]) if shift > 0 else (one[:-1], other[1:])
        np.abs(moved[0] - moved[1], out=size[:-1])
        size[starts + counts - 1] = 0.0  # here are two responses
        shifted = np.add.reduceat(size, starts) / (counts - 1)
        fits = FITS * shifted < as_is
        found["shift"][rows[fits]] = shift
        found["size_as_is"][rows[fits]], found["size_shifted"][rows[fits]] = as_is[fits], shifted[fits]


def compare_lists(
    pairs: Sequence[tuple[Sequence[float], Sequence[float]] | None], bins: bool = False
) -> dict[str, Floats]:
    """Do what `compare_tokens` does, for a pair of lists for each response; None where it has no such lists."""
    known = np.array([pair is not None for pair in pairs], dtype=np.bool_)
    some = [pair for pair in pairs if pair is not None]
    counts = np.array([len(one) for one, _ in some], dtype=np.int64)
    one, other = (np.array([x for pair in some for x in pair[i]], dtype=np.float64) for i in (0, 1))
    return spread(compare_tokens(counts, one, other, bins), known)


def spread(found: Mapping[str, Floats], known: NDArray[np.bool_]) -> dict[str, Floats]:
    """Return the columns of all responses, where `found` holds those of the known ones; NaN for the others."""
    if known.all():
        return dict(found)
    columns = {name: np.full(known.size, np.nan) for name in found}
    for name, values in found.items():
        columns[name][known] = values
    return columns
