"""Doubles → numbers of two doubles each, hi + lo, with about 32 digits: what cancels leaves digits that are true.

The operations are those of T. J. Dekker ("A floating-point technique for extending the available precision", 1971) and
D. E. Knuth (TAOCP 2, 4.2.2): what a rounding loses is a double, too. Columns of numbers are combined in compiled code
(native/double_double.h), to the same bits. Knows no moments and no records.
"""

import math
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from budget_cli import native

if TYPE_CHECKING:
    from fractions import Fraction

Number = Any  # a float, or an array of them

SPLITTER = 2.0**27 + 1  # cuts the 53 bits of a double into halves, whose products are exact


def two_sum(a: Number, b: Number) -> tuple[Number, Number]:
    """Return a + b as it rounds, and what the rounding lost, exactly."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def two_product(a: Number, b: Number) -> tuple[Number, Number]:
    """Return a · b as it rounds, and what the rounding lost: exactly, or 0 where a half is beyond the range."""
    product, lost = product_and_rounding(a, b)
    return product, np.where(np.isfinite(lost), lost, 0.0)


def product_and_rounding(a: Number, b: Number) -> tuple[Number, Number]:
    """Return a · b as it rounds, and what the rounding lost: exactly, or no number where a half is beyond the range."""
    product = a * b
    (a_hi, a_lo), (b_hi, b_lo) = _halves(a), _halves(b)
    return product, ((a_hi * b_hi - product) + a_hi * b_lo + a_lo * b_hi) + a_lo * b_lo


def _halves(a: Number) -> tuple[Number, Number]:
    scaled = SPLITTER * a
    high = scaled - (scaled - a)
    return high, a - high


class DoubleDouble:
    """hi + lo, where lo is no more than the rounding of hi; numbers or arrays, which broadcast."""

    __slots__ = ("hi", "lo")
    __array_ufunc__ = None  # a numpy operand leaves the operation to this class

    def __init__(self, hi: Number, lo: Number = 0.0) -> None:
        self.hi, self.lo = hi, lo

    @classmethod
    def zero(cls) -> "DoubleDouble":
        """Return 0, to which others are added."""
        return cls(0.0)

    @classmethod
    def from_fraction(cls, value: "Fraction") -> "DoubleDouble":
        """Round to two doubles.

        Raises:
            OverflowError: the value is beyond the range of a double.
        """
        from fractions import Fraction  # only `compare` needs it

        hi = float(value)
        return cls(hi, float(value - Fraction(hi)))

    def __add__(self, other: Any) -> "DoubleDouble":
        if not isinstance(other, DoubleDouble):
            hi, lost = two_sum(self.hi, other)
            return _normal(hi, lost + self.lo)
        quick = _compiled("+", self, other)
        if quick is not None:
            return quick
        hi, lost = two_sum(self.hi, other.hi)
        lost_total, lost_of_lost = two_sum(self.lo, other.lo)
        both = _normal(hi, lost + lost_total)
        return _normal(both.hi, both.lo + lost_of_lost)

    __radd__ = __add__

    def __neg__(self) -> "DoubleDouble":
        return DoubleDouble(-self.hi, -self.lo)

    def __sub__(self, other: Any) -> "DoubleDouble":
        difference: DoubleDouble = self + -other
        return difference

    def __rsub__(self, other: Any) -> "DoubleDouble":
        difference: DoubleDouble = -self + other
        return difference

    def __mul__(self, other: Any) -> "DoubleDouble":
        if not isinstance(other, DoubleDouble):
            other = DoubleDouble(other)
        quick = _compiled("*", self, other)
        if quick is not None:
            return quick
        product, lost = two_product(self.hi, other.hi)
        return _normal(product, lost + (self.hi * other.lo + self.lo * other.hi))

    __rmul__ = __mul__

    def __truediv__(self, other: Number) -> "DoubleDouble":
        """Divide by a number of one double."""
        quick = _compiled("/", self, DoubleDouble(other))
        if quick is not None:
            return quick
        quotient = self.hi / other
        rest = self - DoubleDouble(*two_product(quotient, other))
        return _normal(quotient, rest.hi / other)

    @property
    def value(self) -> Number:
        """The number, rounded to one double."""
        return self.hi + self.lo

    def sum(self) -> "DoubleDouble":
        """Return the sum over the last axis."""
        found: DoubleDouble = total(self.hi) + self.lo.sum(axis=-1)
        return found


def _compiled(operation: str, one: DoubleDouble, other: DoubleDouble) -> DoubleDouble | None:
    """Return what the operation gives, from compiled code; None if they are no columns of numbers of one size."""
    column = one.hi if isinstance(one.hi, np.ndarray) else other.hi
    if not native.AVAILABLE or not isinstance(column, np.ndarray) or column.ndim != 1:
        return None
    found = np.empty((2, column.size))
    if not native.moments.combine(operation, one.hi, one.lo, other.hi, other.lo, found):
        return None
    return DoubleDouble(found[0], found[1])


def total(values: Number) -> DoubleDouble:
    """Return the sum of an array over its last axis, rounded to two doubles.

    A part of each value is cut at one place for all, so that the parts add up exactly (S. M. Rump, T. Ogita & S. Oishi,
    "Accurate floating-point summation", SIAM J. Sci. Comput. 31, 2008); only what remains is rounded.
    """
    most = np.abs(values).max(axis=-1, initial=0.0)
    grid = np.array([_cut_at(each, values.shape[-1]) for each in most.ravel().tolist()]).reshape(most.shape)[..., None]
    parts = grid + values
    parts -= grid
    rest = (values - parts).sum(axis=-1)
    return _normal(parts.sum(axis=-1), rest)


def _cut_at(most: float, n: int) -> float:
    """Return `grid_of` for n numbers, the largest of which is `most`; far faster for few of them than with numpy."""
    exponent = math.frexp(most)[1] + (n + 1).bit_length()
    return math.ldexp(1.0, exponent) if 0 < most < math.inf and exponent < sys.float_info.max_exp else 0.0


def power_above(x: Number) -> Number:
    """Return the smallest power of two above each number; 0 of 0, and where there is none."""
    usable = (x > 0) & (x < 2.0**1023)
    exponent = np.maximum(np.frexp(np.where(usable, x, 1.0))[1], -1022)  # of a normal number
    return np.where(usable, np.ldexp(1.0, exponent), 0.0)


def grid_of(power: Number, power_n: Number) -> Number:
    """Return a power of two that cuts n numbers for `total`, from the powers of two above the numbers and n."""
    grid = power * power_n
    return np.where(np.isfinite(grid), grid, 0.0)


def product_in_parts(n: Number, x: Number) -> tuple[Number, Number]:
    """Return two numbers whose sum is n · x, each without rounding if n is whole and below 2^26."""
    high, low = _halves(x)
    return n * high, n * low


def total_about(pivot: float, n: Number, x0: Number, x1: Number) -> DoubleDouble:
    """Return Σ(x − pivot) of all prompts, from the n and the mean x0 + x1/n of each."""
    about, lost = two_sum(x0, -pivot)
    high, low = product_in_parts(n, about)
    found = total(high) + total(low) + total(n * lost + x1)
    return found if np.isfinite(found.hi) else DoubleDouble((n * about + x1).sum())  # a half may be beyond the range


def sums_about(pivot: float, n: Number, x0: Number, x1: Number) -> DoubleDouble:
    """Return Σ(x − pivot) of each prompt, from its n and its mean x0 + x1/n."""
    found: DoubleDouble = DoubleDouble(*two_sum(x0, -pivot)) * n + x1
    return found


def _normal(hi: Number, lo: Number) -> DoubleDouble:
    total = hi + lo
    return DoubleDouble(total, lo - (total - hi))
