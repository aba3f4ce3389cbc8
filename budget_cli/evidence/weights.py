"""Log-ratios of two policies → sums of their importance weights w = e^k, and where the largest are; they merge.

Sums are kept as multiples of a power of e, so that weights beyond the range of a double can be summed, and squared.
Knows no files: a place is a number that the scan makes of a source and a line.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from budget_cli.groups.double_double import DoubleDouble, total
from budget_cli.groups.moments import k3_of_small

Floats = NDArray[np.float64]
LARGEST = 5  # responses that are kept of each kind
NEAR = 0.02  # nats; of log-ratios that are smaller, w² − 1 is summed in two parts
STEP = 512.0  # nats; pivots are multiples of this, so the largest weight, its square and 2^53 of these are in range
UNKNOWN = math.nan, math.nan


class Extreme(NamedTuple):
    """A response, or a token of it, that stands out."""

    log_ratio: float  # nats
    place: int
    row: int  # of its prompt
    token: int = -1  # its index in the response, from 0; -1: the response as a whole


class Weights:
    """Σw, Σw² and Σ(w² − 1) of responses, and those with the largest w; `merge` adds a later part's.

    The first two are total·e^pivot and squares·e^(2·pivot); the third is by itself, in two doubles, as it is next to
    nothing where the policies are close. The pivot is 0 up to a weight of e^256, and all there is to do
    then is to add; so parts that are merged in the same order have the same bits.
    """

    def __init__(
        self,
        pivot: float = -math.inf,
        total: float = 0.0,
        squares: float = 0.0,
        largest: Sequence[Extreme] = (),
        worst: Sequence[Extreme] = (),
        beyond: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        self.pivot, self.total, self.squares = pivot, total, squares  # -inf: of no responses; inf: a k is infinite
        self.largest = list(largest)  # by w
        self.beyond = beyond  # Σ(w² − 1), hi and lo; NaN if it is not known, or not finite
        self.worst = list(worst)  # tokens, by |k|, at most one of each response

    @classmethod
    def from_log_ratios(cls, log_ratio: Floats, place: NDArray[Any], row: NDArray[Any]) -> "Weights":
        """Sum the weights of responses; shape (responses,) each, log-ratios in nats and none of them NaN."""
        weights = cls()
        if not log_ratio.size:
            return weights
        largest = float(log_ratio.max())
        weights.largest = extremes(log_ratio, log_ratio, place, row)
        if largest == math.inf:
            weights.pivot = weights.total = weights.squares = math.inf
        elif largest > -math.inf:  # else all weights are 0
            weights.pivot = STEP * round(largest / STEP)
            scaled = np.exp(log_ratio - weights.pivot)
            weights.total, weights.squares = float(scaled.sum()), float((scaled * scaled).sum())
        weights.beyond = _beyond(2 * log_ratio) if weights.pivot == 0 else UNKNOWN
        return weights

    def merge(self, later: "Weights", rows: NDArray[np.intp], offset: int) -> None:
        """Add the weights of a later part.

        Args:
            later: the weights to add.
            rows: the row here of each prompt of the later part.
            offset: added to its places.
        """
        pivot = max(self.pivot, later.pivot)
        self.total = _at(pivot, self.pivot, self.total) + _at(pivot, later.pivot, later.total)
        self.squares = _at(pivot, self.pivot, self.squares, 2) + _at(pivot, later.pivot, later.squares, 2)
        self.pivot = pivot
        both = DoubleDouble(*self.beyond) + DoubleDouble(*later.beyond)
        self.beyond = (both.hi, both.lo) if math.isfinite(both.hi) and math.isfinite(both.lo) else UNKNOWN

        def here(extremes: Iterable[Extreme]) -> list[Extreme]:
            return [one._replace(place=one.place + offset, row=int(rows[one.row])) for one in extremes]

        self.largest = sorted([*self.largest, *here(later.largest)], key=_by_weight)[:LARGEST]
        self.worst = sorted([*self.worst, *here(later.worst)], key=_by_size)[:LARGEST]

    @property
    def effective(self) -> float | None:
        """The effective sample size (Σw)² / Σw² (Kish, 1965); None if there are no weights, or one is infinite."""
        known = self.squares > 0 and math.isfinite(self.squares)
        return self.total * self.total / self.squares if known else None

    def chi_square(self, responses: int) -> float | None:
        """Return the mean of w² − 1; None where it is beyond the range of a double."""
        if math.isfinite(self.beyond[0]):
            return (self.beyond[0] + self.beyond[1]) / responses if responses else None
        squares = self.moment(2, responses)
        return None if squares is None else squares - 1

    def moment(self, power: int, responses: int) -> float | None:
        """Return the mean of w, or of w² with power 2; None where it is beyond the range of a double."""
        scaled = self.total if power == 1 else self.squares
        if not responses or not math.isfinite(scaled):
            return None
        if scaled and self.pivot > STEP:
            return None
        mean = scaled / responses
        for _ in range(power):
            mean *= math.exp(min(self.pivot, STEP))
        return mean if math.isfinite(mean) else None


def _beyond(log_squares: Floats) -> tuple[float, float]:
    """Return Σ(e^x − 1), hi and lo; of small x as Σx, which may cancel, and Σ(e^x − 1 − x), which does not."""
    near = np.abs(log_squares) < NEAR
    small = log_squares[near]
    found = total(small) + total(k3_of_small(-small)) + total(np.expm1(log_squares[~near]))
    return (float(found.hi), float(found.lo)) if math.isfinite(found.hi) and math.isfinite(found.lo) else UNKNOWN


def _at(pivot: float, own: float, value: float, power: int = 1) -> float:
    """Return a sum, held with a pivot of its own, for another pivot that is not smaller."""
    if own == pivot or not value:
        return value
    if pivot == math.inf:
        return math.inf
    for _ in range(power):  # one after the other, as the product of the factors may be too small for a double
        value *= math.exp(own - pivot)
    return value


def _by_weight(one: Extreme) -> float:
    return -one.log_ratio


def _by_size(one: Extreme) -> float:
    return -abs(one.log_ratio)


def extremes(
    value: Floats, log_ratio: Floats, place: NDArray[Any], row: NDArray[Any], index: Floats | None = None
) -> list[Extreme]:
    """Return the responses with the largest values, the largest first and of equal ones the first.

    Args:
        value: shape (responses,), none of them NaN.
        log_ratio: of the response or of one of its tokens, nats.
        place: of the response.
        row: of its prompt.
        index: of the token; None: the response as a whole.
    """
    some = np.arange(value.size)
    if value.size > LARGEST:
        some = np.flatnonzero(value >= np.partition(value, value.size - LARGEST)[-LARGEST])
    some = some[np.argsort(-value[some], kind="stable")][:LARGEST]
    tokens = np.full(some.size, -1) if index is None else index[some].astype(np.int64)
    columns = (log_ratio[some], place[some], row[some], tokens)
    return [Extreme(*one) for one in zip(*(column.tolist() for column in columns), strict=True)]
