"""If this fails, a mean whose values cancel, or a difference of two like dumps, has fewer digits than shown."""

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from examples import TWICE, examples
from hypothesis import given
from hypothesis import strategies as st

from budget_cli import native
from budget_cli.groups import moments
from budget_cli.groups.double_double import (
    DoubleDouble,
    product_in_parts,
    sums_about,
    total,
    total_about,
    two_product,
    two_sum,
)
from budget_cli.groups.moments import Layout

number = st.floats(-1e100, 1e100).map(lambda x: x if abs(x) > 1e-100 else 0.0)  # beyond, products leave the range
close = st.floats(-1e6, 1e6).map(lambda x: round(x * 2**40) / 2**40)  # no more than 60 bits from end to end
ALMOST = Fraction(1, 2**100)
ORIGINAL = Layout()


def exactly(value: DoubleDouble) -> Fraction:
    return Fraction(float(value.hi)) + Fraction(float(value.lo))


@examples(TWICE)
@given(number, number)
def test_what_a_rounding_loses_is_known_exactly(a: float, b: float) -> None:
    assert sum(map(Fraction, two_sum(a, b))) == Fraction(a) + Fraction(b)
    product, lost = two_product(a, b)
    assert Fraction(product) + Fraction(float(lost)) == Fraction(a) * Fraction(b)


@examples(TWICE)
@given(st.integers(0, 2**26 - 1), number)
def test_a_whole_multiple_is_exact_in_two_parts(n: int, x: float) -> None:
    assert sum(map(Fraction, product_in_parts(float(n), x))) == n * Fraction(x)


OPERATIONS: list[Callable[..., object]] = [
    lambda a, b: a + b,
    lambda a, b: a - b,
    lambda a, b: a * b,
    lambda a, b: b - a,
]


@pytest.mark.parametrize("operation", OPERATIONS)
@examples(TWICE)
@given(a=st.tuples(number, number), b=st.tuples(number, number), plain=st.booleans())
def test_results_have_thirty_digits(
    operation: Callable[..., DoubleDouble], a: tuple[float, float], b: tuple[float, float], plain: bool
) -> None:
    one, other = DoubleDouble(*two_sum(*a)), DoubleDouble(*two_sum(*b))
    right, exact_right = (b[0], Fraction(b[0])) if plain else (other, exactly(other))
    exact: Fraction = operation(exactly(one), exact_right)  # type: ignore[assignment]  # of fractions, a fraction
    assert abs(exactly(operation(one, right)) - exact) <= ALMOST * abs(exact)


@examples(TWICE)
@given(number, number, st.integers(1, 2**53))
def test_a_quotient_has_thirty_digits(a: float, b: float, n: int) -> None:
    one = DoubleDouble(*two_sum(a, b))
    assert abs(exactly(one / float(n)) - exactly(one) / n) <= ALMOST * abs(exactly(one) / n) + Fraction(1, 10**300)


any_number = st.floats() | number
columns = st.lists(st.tuples(*[any_number] * 4), min_size=1, max_size=5)


@pytest.mark.skipif(not native.AVAILABLE, reason="needs the compiled extensions")
@pytest.mark.parametrize("operation", [*OPERATIONS, lambda a, b: a / b.hi])
@examples(TWICE)
@given(rows=columns, plain=st.booleans())
@np.errstate(all="ignore")
def test_compiled_operations_give_the_bits_of_those_in_numpy(
    operation: Callable[..., DoubleDouble], rows: list[tuple[float, ...]], plain: bool
) -> None:
    parts = np.array(rows).T.copy()
    one, other = DoubleDouble(*two_sum(*parts[:2])), DoubleDouble(*two_sum(*parts[2:]))
    if plain:
        other = DoubleDouble(float(other.hi[0]), float(other.lo[0]))
    quick = operation(one, other)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "AVAILABLE", False)
        slow = operation(one, other)
    for half in ("hi", "lo"):
        found, wanted = (np.asarray(getattr(each, half)) for each in (quick, slow))
        known = ~np.isnan(wanted)
        assert np.array_equal(np.isnan(found), ~known)
        assert found[known].tobytes() == wanted[known].tobytes()


@pytest.mark.skipif(not native.AVAILABLE, reason="needs the compiled extensions")
def test_operands_that_are_no_columns_of_doubles_are_left_to_numpy() -> None:
    column, result = np.array([1.0, 2.0]), np.zeros((2, 2))
    for bad in (np.array([1, 2]), np.array([1.0]), np.array([[1.0, 2.0]]), np.zeros(4)[::2], 1, None):
        assert not native.moments.combine("+", bad, column, column, 0.0, result)  # type: ignore[arg-type]
    assert not result.any()
    for operation, out in (("%", result), ("+", np.zeros(2)), ("+", np.zeros((3, 2)))):
        with pytest.raises(ValueError, match="combine: expected"):
            native.moments.combine(operation, column, 0.0, column, 0.0, out)


def test_a_product_beyond_the_halves_is_rounded_once() -> None:
    with np.errstate(over="ignore", invalid="ignore"):  # as in all that computes with them
        assert (DoubleDouble(1e305) * 10.0).value == 1e305 * 10.0
        assert total_about(0.0, np.array([1.0]), np.array([1e305]), np.array([0.0])).value == 1e305


@examples(TWICE)
@given(st.lists(close, min_size=1, max_size=40), close)
def test_a_sum_that_cancels_keeps_its_digits(values: list[float], pivot: float) -> None:
    x = np.array([*values, *(-value for value in values), 1e-9])
    exact = sum(map(Fraction, x.tolist()))
    assert abs(exactly(total(x)) - exact) <= Fraction(1, 2**100) * max(map(abs, x.tolist())) * x.size
    n = np.full(x.size, 3.0)
    exact_about = 3 * sum(Fraction(value) - Fraction(pivot) for value in x.tolist())
    scale = sum(3 * abs(Fraction(value) - Fraction(pivot)) for value in x.tolist())
    for found in (total_about(pivot, n, x, np.zeros(x.size)), sums_about(pivot, n, x, np.zeros(x.size)).sum()):
        assert abs(exactly(found) - exact_about) <= ALMOST * x.size * scale


def test_sums_of_nothing_of_zeros_and_beyond_a_double() -> None:
    assert exactly(total(np.zeros(0))) == exactly(total(np.zeros(3))) == 0
    with np.errstate(over="ignore", invalid="ignore"):
        assert not np.isfinite(total(np.array([1e308, 1e308])).value)
    assert total(np.array([1e308, -1e308, 1.0])).value == 1.0


@examples(TWICE)
@given(st.lists(close, min_size=1, max_size=20), st.lists(close, max_size=20), st.floats(-1e9, 1e9))
def test_the_mean_of_a_prompt_is_known_in_two_doubles_however_it_was_split(
    first: list[float], second: list[float], offset: float
) -> None:
    def rows(values: list[float]) -> moments.Table:
        if not values:
            return ORIGINAL.empty(1)
        return moments.from_responses(ORIGINAL, np.zeros(len(values), np.intp), 1, np.array(values), None, None)

    first, second = [x + offset for x in first], [offset - x for x in second]
    n, r0, r1 = (Fraction(float(x)) for x in moments.merge(ORIGINAL, rows(first), rows(second))[0, :3])
    exact = sum(map(Fraction, first + second)) / n
    scale = max(abs(Fraction(x)) for x in first + second)
    assert abs(r0 + r1 / n - exact) <= scale / 2**98


def test_a_sum_of_rewards_that_cancels_to_nothing_is_nothing() -> None:
    rewards = np.array([0.1, -0.1, 1e9 + 0.3, -1e9 - 0.3])
    row = moments.from_responses(ORIGINAL, np.zeros(4, np.intp), 1, rewards, None, None)[0]
    n, r0, r1 = row[:3]
    assert r0 + r1 / n == 0
