"""The sums of two dumps → the difference of their means, with its standard error. Knows no groups and no coefficients.

Every quantity is a ratio M = Σ y_g / Σ n_g over prompts g (the mean reward: y sum of rewards, n responses; the share of
zero-variance prompts: y 0 or 1, n 1). The influence of a prompt on M is u_g = (y_g − M·n_g) / Σ n. Over G prompts

    paired      se² = G/(G−1) · Σ_g (u_g,new − u_g,base)²
    unpaired    se² = the sum of G/(G−1) · Σ_g u_g² over the two dumps

the linearised variance of a ratio of sums over clusters (W. G. Cochran, Sampling Techniques, 3rd ed., 1977, ch. 6);
for evaluations of language models see E. Miller, "Adding Error Bars to Evals" (arXiv 2411.00640, 2024).

The difference of paired prompts is taken prompt by prompt and part by part, in two doubles, before anything is added or
divided: what did not move then takes no digits from what did, however large it is. What the digits of two doubles do
not hold is carried along as a doubt.
"""

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from budget_cli.analysis.numbers import finite_or_none
from budget_cli.groups.double_double import DoubleDouble, Number, two_sum
from budget_cli.groups.moments import Floats

ROUNDING = 1e-30  # of numbers of two doubles, what may be rounding alone
HALF_UNIT = 2.0**-53  # of a number of one double, likewise
PROMISE = 1e-12  # relative error
ROWS = 1 << 13  # prompts at a time, so that their columns fit in a cache
Rows = NDArray[np.intp] | slice


class Difference(NamedTuple):
    """A quantity in both dumps; None stands for what cannot be computed."""

    base: float | None
    new: float | None
    delta: float | None  # new − base
    se: float | None  # standard error of delta, clustered by prompt
    z: float | None  # delta / se


class Step(NamedTuple):
    """What a part of each prompt adds to a difference, and by how much that may be wrong."""

    value: DoubleDouble
    doubt: Floats

    def over(self, divisor: Floats) -> "Step":
        """Return the step divided by a number of each prompt."""
        return Step(self.value / divisor, self.doubt / divisor)


class Column(NamedTuple):
    """A number of each prompt, in two doubles, and how large are the terms that it was added from."""

    y: DoubleDouble
    terms: Floats

    def at(self, rows: Rows) -> "Column":
        """Return the part of these prompts."""
        return Column(DoubleDouble(self.y.hi[rows], self.y.lo[rows]), self.terms[rows])

    def in_full(self) -> DoubleDouble:
        """Return the number."""
        return self.y

    def less(self, base: Any, weight: Number, base_weight: Number) -> Step:
        """Return y·weight less that of the base: exactly 0, and beyond doubt, where it did not move."""
        value = self.y * weight - base.y * base_weight
        terms = self.terms * weight + base.terms * base_weight
        return Step(value, ROUNDING * terms * (value.hi != 0))


class Squares(NamedTuple):
    """n·m² of each prompt, whose mean m is x0 + x1/n."""

    n: Floats
    x0: Floats
    x1: Floats
    xx: Floats  # the scatter

    def at(self, rows: Rows) -> "Squares":
        """Return the part of these prompts."""
        return Squares(*(column[rows] for column in self))

    def mean(self) -> DoubleDouble:
        """Return m."""
        found: DoubleDouble = DoubleDouble(self.x1) / self.n + self.x0
        return found

    def in_full(self) -> DoubleDouble:
        """Return the number."""
        mean = self.mean()
        found: DoubleDouble = mean * mean * self.n
        return found

    def less(self, base: Any, weight: Number, base_weight: Number) -> Step:
        """Return n·m²·weight less that of the base, by (m − m_base)·(m + m_base): squares would cancel their digits."""
        mean, base_mean = self.mean(), base.mean()
        n = np.where(self.n == base.n, self.n, 1.0)  # what both are divided by comes last, as it rounds
        rest = DoubleDouble(self.x1) / (self.n / n) - DoubleDouble(base.x1) / (base.n / n)
        moved = (DoubleDouble(*two_sum(self.x0, -base.x0)) * n + rest) / n
        both = mean + base_mean
        grown = DoubleDouble(self.n) * weight - DoubleDouble(base.n) * base_weight
        value: DoubleDouble = moved * both * self.n * weight + base_mean * base_mean * grown
        lost = (self.lost() + base.lost()) * (moved.hi != 0)
        return Step(value, np.abs(both.hi) * lost * self.n * weight)

    def lost(self) -> Floats:
        """Return what m may have lost: x1 was rounded, and added from numbers as large as the spread."""
        found: Floats = HALF_UNIT * np.abs(self.x1) / self.n + ROUNDING * np.sqrt(self.xx)
        return found


def added(parts: Sequence[Any], _: Callable[[float], Any]) -> Any:
    """Return the sum of the parts."""
    one, *others = parts
    return sum(others, one)


class Sums(NamedTuple):
    """A quantity of some prompts, as the ratio Σ y / Σ n about a pivot; y is a linear form of parts.

    A difference is taken part by part, so that what did not move takes no digits from what did.
    """

    parts: tuple[Column | Squares, ...]
    n: Floats
    pivot: float = 0.0
    form: Callable[[Sequence[Any], Callable[[float], Any]], Any] = added  # of parts, and the kind of their numbers
    signs: Sequence[int] = (1, 1)  # with which the magnitudes of the parts add up in the form
    size: Floats | None = None  # y is the form over this; None: the form

    def at(self, rows: Rows) -> "Sums":
        """Return the sums of these prompts."""
        size = None if self.size is None else self.size[rows]
        return self._replace(parts=tuple(part.at(rows) for part in self.parts), n=self.n[rows], size=size)

    def in_full(self) -> list[DoubleDouble]:
        """Return the parts of y of each prompt."""
        parts = [part.in_full() for part in self.parts]
        return parts if self.size is None else [part / self.size for part in parts]


def difference(base: Sums | None, new: Sums | None, paired: bool) -> tuple[Difference, float | None]:
    """Return the difference of a quantity, and a bound of the relative error of delta, se and z if above PROMISE.

    Args:
        base, new: the sums of both dumps; None where a dump does not have the quantity.
        paired: whether the prompts are the same, in the same order.
    """
    ratios = [None if side is None else _ratio(side) for side in (base, new)]
    one, two = (
        None if side is None or ratio is None else _as_float(ratio + Fraction(side.pivot))
        for side, ratio in zip((base, new), ratios, strict=True)
    )
    if base is None or new is None or ratios[0] is None or ratios[1] is None:
        return Difference(one, two, None, None, None), None
    moved = _moves(base, new) if paired else None
    exact = ratios[1] - ratios[0] if moved is None else moved.total
    if exact is None or _as_float(exact) is None:
        return Difference(one, two, None, None, None), None
    if moved is None:
        doubt = ROUNDING * float(abs(ratios[0]) + abs(ratios[1]))
        clusters = [_influences(base, ratios[0]), _influences(new, ratios[1])]
    else:
        doubt = moved.doubt
        clusters = [_influences_on_the_difference(base, new, moved, exact, ratios[0])]
    delta = 0.0 if abs(exact) <= doubt else _as_float(exact)
    se, doubt_of_se = (_root_of_all([_variance(u) for u in each]) for each in zip(*clusters, strict=True))
    error = (doubt / abs(delta) if delta else 0.0) + (doubt_of_se / se if se and doubt_of_se else 0.0)
    z = delta / se if delta is not None and se else None
    return Difference(one, two, delta, se, z), error if error > PROMISE else None


def steps_by_prompt(base: Sums, new: Sums) -> Floats:
    """Return y − y_base of each prompt; 0 where that may be rounding alone."""
    _, values, doubts = _moved(base, new, (1.0, 1.0))
    found: Floats = values.value
    return found * ~(np.abs(found) <= doubts)


class _Moves(NamedTuple):
    """What each prompt adds to the difference of two ratios, and by how much that may be wrong."""

    total: Fraction | None  # the difference; None: a sum is beyond the range of a double
    values: DoubleDouble
    doubts: Floats

    @property
    def doubt(self) -> float:
        """By how much the difference may be wrong."""
        return float(self.doubts.sum())


def _moves(base: Sums, new: Sums) -> _Moves:
    """Take the difference of two ratios over the same prompts."""
    weights, divisors = _weights(base, new)
    total, value, doubt = _moved(base, new, weights)
    for divisor in divisors:
        value, doubt = value / divisor, doubt / divisor
    return _Moves(None if total is None else total / math.prod(map(Fraction, divisors)), value, doubt)


def _moved(base: Sums, new: Sums, weights: tuple[float, float]) -> _Moves:
    """Take the difference of the weighted sums, part by part."""
    totals, values, doubts = [], [], []
    for at in range(0, base.n.size, ROWS):
        rows = slice(at, at + ROWS)
        steps = _steps(base.at(rows), new.at(rows), *weights)
        totals.append([step.value.sum() for step in steps])
        values.append(new.form([step.value for step in steps], DoubleDouble))
        magnitudes = [step.doubt + ROUNDING * np.abs(step.value.hi) for step in steps]
        doubts.append(new.form([sign * size for sign, size in zip(new.signs, magnitudes, strict=True)], abs))
    total = None
    if all(math.isfinite(one.value) for chunk in totals for one in chunk):
        total = new.form([sum(map(_as_fraction, part), Fraction()) for part in zip(*totals, strict=True)], Fraction)
    value = DoubleDouble(*(np.concatenate([getattr(one, half) for one in values]) for half in ("hi", "lo")))
    return _Moves(total, value, np.concatenate(doubts))


def _weights(base: Sums, new: Sums) -> tuple[tuple[float, float], tuple[float, ...]]:
    """Return what y of the base and of the new dump are multiplied by, and what their difference is divided by.

    Together that divides both by their Σ n, but what has not moved subtracts to 0 before anything is rounded.
    """
    of_base, of_new = float(base.n.sum()), float(new.n.sum())
    return ((1.0, 1.0), (of_new,)) if of_base == of_new else ((of_new, of_base), (of_base, of_new))


def _steps(base: Sums, new: Sums, base_weight: float, weight: float) -> list[Step]:
    """Return what each part of each prompt adds to the difference of the weighted sums."""
    parts = list(zip(base.parts, new.parts, strict=True))
    if base.size is None or new.size is None:
        return [two.less(one, weight, base_weight) for one, two in parts]
    alike = base.size == new.size
    of_base, of_new = np.where(alike, 1.0, base.size), np.where(alike, 1.0, new.size)
    steps = [two.less(one, weight * of_base, base_weight * of_new) for one, two in parts]
    return [step.over(new.size).over(of_base) for step in steps]


def _influences_on_the_difference(
    base: Sums, new: Sums, moved: _Moves, delta: Fraction, base_ratio: Fraction
) -> tuple[Floats, Floats]:
    """Return u_new − u_base of each prompt, 0 where that may be rounding alone, and by how much it may be wrong."""
    weights, divisors = _weights(base, new)
    of_new = new.n.sum()
    share = DoubleDouble(new.n) / of_new * DoubleDouble.from_fraction(delta)
    grown = DoubleDouble(new.n) * weights[1] - DoubleDouble(base.n) * weights[0]
    for divisor in divisors:
        grown = grown / divisor
    rest = grown * DoubleDouble.from_fraction(base_ratio)
    influences = (moved.values - share - rest).value
    doubts = moved.doubts + moved.doubt * new.n / of_new + ROUNDING * (np.abs(share.hi) + np.abs(rest.hi))
    return influences * ~(np.abs(influences) <= doubts), doubts


def _influences(sums: Sums, ratio: Fraction) -> tuple[Floats, Floats]:
    """Return u of each prompt, and by how much it may be wrong."""
    parts, share = sums.in_full(), DoubleDouble.from_fraction(ratio) * sums.n
    influences = ((sums.form(parts, DoubleDouble) - share) / sums.n.sum()).value
    terms = sums.form([sign * np.abs(part.hi) for sign, part in zip(sums.signs, parts, strict=True)], abs)
    return influences, ROUNDING * (terms + np.abs(share.hi)) / sums.n.sum()


def _ratio(sums: Sums) -> Fraction | None:
    """Return Σ y / Σ n about the pivot, with no rounding after the sums: shares may differ in the last digits.

    None without prompts, and where a sum is beyond the range of a double.
    """
    if not sums.n.size:
        return None
    totals = [part.sum() for part in sums.in_full()]
    if not all(math.isfinite(total.value) for total in totals):
        return None
    ratio: Fraction = sums.form([_as_fraction(total) for total in totals], Fraction) / Fraction(math.fsum(sums.n))
    return None if _as_float(ratio) is None else ratio


def _as_fraction(number: DoubleDouble) -> Fraction:
    return Fraction(float(number.hi)) + Fraction(float(number.lo))


def _as_float(value: Fraction) -> float | None:
    try:
        return float(value)
    except OverflowError:
        return None


def _variance(influences: Floats) -> float | None:
    """Return G/(G−1) · Σ u²; None for a single prompt, which shows nothing of how prompts differ."""
    prompts = influences.size
    return finite_or_none((influences * influences).sum() * prompts / (prompts - 1)) if prompts > 1 else None


def _root_of_all(variances: Sequence[float | None]) -> float | None:
    known = [variance for variance in variances if variance is not None]
    return finite_or_none(math.sqrt(sum(known))) if len(known) == len(variances) else None
