"""If this fails, the loss of a dump depends on whether there was a C compiler."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from budget_cli import native
from budget_cli.groups import moments
from budget_cli.groups.moments import Layout

if not native.AVAILABLE:
    pytest.skip("there was no C compiler", allow_module_level=True)


@pytest.fixture(autouse=True, scope="module")
def extensions() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "AVAILABLE", True)
        yield


number = st.floats(-1e12, 1e12) | st.sampled_from([0.0, 1.0, -1.0, 1e9 + 0.1, 1e16, 1e16 + 2])
log_ratio = st.floats(-30, 30) | st.just(math.nan)
tokens = st.integers(0, 3000).map(float) | st.sampled_from([math.nan, 2.0**25 + 1, 2.0**31, 2.0**52])


@given(
    st.lists(
        st.tuples(st.integers(0, 5), number, tokens, st.floats(-30, 30) | st.just(math.nan)), min_size=1, max_size=60
    ),
    st.sampled_from(["neither", "lengths", "log-ratios", "both"]),
    st.lists(st.integers(0, 3000), max_size=3),
    st.booleans(),
    st.sampled_from([0.0, 0.5, -1.0, 1e9, math.inf]),
)
def test_compiled_moments_equal_those_of_numpy_to_the_last_bit(
    responses: list[tuple[int, float, float, float]],
    known: str,
    budgets: list[int],
    in_order: bool,
    correct_above: float,
) -> None:
    if in_order:
        responses.sort(key=lambda each: each[0])
    ids = list(dict.fromkeys(each[0] for each in responses))
    codes = np.array([ids.index(each[0]) for each in responses], dtype=np.intp)
    r, lengths, k = (np.array([each[i] for each in responses]) for i in (1, 2, 3))
    args = (
        Layout(tuple(budgets), correct_above),
        codes,
        len(ids),
        r,
        lengths if known in ("lengths", "both") else None,
        k if known in ("log-ratios", "both") else None,
    )
    plain = moments.quiet_overflow(moments._in_numpy)(*args)
    assert np.array_equal(moments.from_responses(*args), plain, equal_nan=True)


@given(
    st.lists(
        st.tuples(st.integers(0, 3), number | st.sampled_from([1e160, -1e300]), tokens, log_ratio),
        min_size=1,
        max_size=30,
    ),
    st.integers(0, 30),
    st.lists(st.integers(0, 3000), max_size=2),
    st.lists(st.integers(0, 3000), max_size=2),
)
def test_compiled_merging_equals_that_of_numpy_to_the_last_bit(
    responses: list[tuple[int, float, float, float]], cut: int, budgets: list[int], right: list[int]
) -> None:
    layout = Layout(tuple(budgets), 0.0, tuple(right))
    parts = []
    for part in (responses[:cut], responses[cut:]):
        table = layout.empty(4)  # a prompt that a part does not have is the identity
        ids = list(dict.fromkeys(each[0] for each in part))
        codes = np.array([ids.index(each[0]) for each in part], dtype=np.intp)
        columns = [np.array([each[i] for each in part]) for i in (1, 2, 3)]
        if part:
            table[ids] = moments.from_responses(layout, codes, len(ids), *columns)
        parts.append(table)
    found, plain = moments.merge(layout, *parts), moments.quiet_overflow(moments._merge_in_numpy)(layout, *parts)
    assert np.array_equal(found, plain, equal_nan=True)


@pytest.mark.parametrize(
    ("table", "later"), [((2, 30), (3, 30)), ((2, 30), (2, 21)), ((2, 20), (2, 20)), ((2, 22), (2, 22)), ((30,), (30,))]
)
def test_tables_of_other_shapes_do_not_merge(table: tuple[int, ...], later: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected two tables of one shape, a column for each moment"):
        native.moments.merge(np.zeros(table), np.zeros(later))


@pytest.mark.parametrize(
    ("codes", "reward", "rows"),
    [([0, 2], [1.0, 1.0], 2), ([0, -1], [1.0, 1.0], 2), ([0, 0], [1.0, 1.0], 2), ([0, 1], [1.0], 2)],
)
def test_responses_that_do_not_fit_the_rows_are_refused(codes: list[int], reward: list[float], rows: int) -> None:
    table, at = np.zeros((rows, Layout().width)), np.array(codes, dtype=np.intp)
    with pytest.raises(ValueError, match=r"expected .* for each"):
        native.moments.fill(table, np.zeros(0, dtype=np.int64), at, np.array(reward), None, None, None, 0.0)


def arrays(**changed: Any) -> list[Any]:
    """Make the arrays of `fill` for two responses of one prompt and one budget, some of them changed."""
    fitting = {
        "table": np.zeros((1, Layout((8,)).width)),
        "budgets": np.array([8]),
        "codes": np.zeros(2, dtype=np.int64),
        **{name: np.zeros(2) for name in ("reward", "length", "log_ratio", "k3")},
    }
    return list((fitting | changed).values())


def test_arrays_that_fit_are_taken() -> None:
    native.moments.fill(*arrays(), 0.0)
    native.moments.fill(*arrays(length=None, log_ratio=None, k3=None), 0.0)


@pytest.mark.parametrize(
    ("changed", "error", "reason"),
    [
        ({"table": np.zeros((1, 22), dtype=np.int64)}, TypeError, "table: expected an array of float64"),
        ({"budgets": np.zeros(1)}, TypeError, "budgets: expected an array of int64"),
        ({"budgets": np.zeros(2, dtype=np.int32)}, TypeError, "budgets: expected an array of int64"),
        ({"codes": np.zeros(2)}, TypeError, "codes: expected an array of int64"),
        ({"codes": np.zeros(2, dtype=np.uint64)}, TypeError, "codes: expected an array of int64"),
        ({"codes": np.zeros(2, dtype=">i8")}, TypeError, "codes: expected an array of int64"),
        ({"reward": np.zeros(2, dtype=np.int64)}, TypeError, "reward: expected an array of float64"),
        ({"reward": np.zeros(4, dtype=np.float32)}, TypeError, "reward: expected an array of float64"),
        ({"reward": bytes(16)}, TypeError, "reward: expected an array of float64"),
        ({"reward": None}, TypeError, "None"),
        ({"length": np.zeros(2, dtype=np.int64)}, TypeError, "length: expected an array of float64"),
        ({"k3": np.zeros(2, dtype=np.complex64)}, TypeError, "k3: expected an array of float64"),
        ({"table": np.zeros(22)}, ValueError, "table: expected an array of 2 dimensions"),
        ({"reward": np.zeros((2, 1))}, ValueError, "reward: expected an array of 1 dimensions"),
        ({"reward": np.zeros(4)[::2]}, ValueError, "contiguous"),
        ({"table": np.zeros((1, 16))}, ValueError, "table: expected a column for each moment"),
        ({"log_ratio": None}, ValueError, "expected both log_ratio and k3"),
        ({"k3": None}, ValueError, "expected both log_ratio and k3"),
    ],
)
def test_arrays_of_another_type_or_shape_are_refused(
    changed: dict[str, Any], error: type[Exception], reason: str
) -> None:
    with pytest.raises(error, match=reason):
        native.moments.fill(*arrays(**changed), 0.0)


def test_a_table_that_may_not_be_written_is_refused() -> None:
    table = np.zeros((1, Layout((8,)).width))
    table.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        native.moments.fill(*arrays(table=table), 0.0)


def test_the_compiled_columns_are_those_of_a_layout() -> None:
    assert (native.moments.PROMPT, native.moments.BUDGET) == (moments.PROMPT, moments.BUDGET)


@pytest.mark.parametrize(
    ("values", "offsets", "sums"),
    [
        (np.zeros(3), [0, 4], np.zeros(1)),
        (np.zeros(3), [-1, 2], np.zeros(1)),
        (np.zeros(3), [2, 1], np.zeros(1)),
        (np.zeros(3), [0, 2**62, 3], np.zeros(2)),
        (np.zeros(3), [0, 1], np.zeros(2)),
        (np.zeros(3), [], np.zeros(0)),
        (np.zeros((3, 1)), [0, 1], np.zeros(1)),
    ],
)
def test_lists_that_are_not_within_the_values_are_refused(values: Any, offsets: list[int], sums: Any) -> None:
    with pytest.raises(ValueError, match="offsets: expected places in the values, in order, one more than sums"):
        native.moments.sum_lists(values, np.array(offsets, dtype=np.int64), sums)


def test_what_is_not_settled_is_nan() -> None:
    sums = np.zeros(4)
    values = np.array([1.0, 1e308, 1e308, math.inf, -0.0])
    native.moments.sum_lists(values, np.array([0, 1, 3, 4, 5]), sums)
    assert sums.tolist()[0] == 1.0
    assert np.isnan(sums[1:3]).all()
    assert str(sums[3]) == "0.0"
