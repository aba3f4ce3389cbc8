"""If this fails, the same dump has another loss where there was a C compiler."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
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


number = st.floats(-1e12, 1e12) | st.sampled_from([0.0, 1.0, -1.0, 1e9 + 0.1])
log_ratio = st.floats(-30, 30) | st.just(math.nan)
tokens = st.integers(0, 3000).map(float) | st.sampled_from([math.nan, 2.0**31, 2.0**52])


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 5), number, tokens, st.floats(-30, 30) | st.just(math.nan)), min_size=1, max_size=60
    ),
    st.sampled_from(["neither", "lengths", "log-ratios", "both"]),
    st.lists(st.integers(0, 3000), max_size=3),
    st.booleans(),
)
def test_compiled_moments_are_those_of_numpy_to_the_last_bit(
    responses: list[tuple[int, float, float, float]], known: str, budgets: list[int], in_order: bool
) -> None:
    if in_order:
        responses.sort(key=lambda each: each[0])
    ids = list(dict.fromkeys(each[0] for each in responses))
    codes = np.array([ids.index(each[0]) for each in responses], dtype=np.intp)
    r, lengths, k = (np.array([each[i] for each in responses]) for i in (1, 2, 3))
    args = (
        Layout(tuple(budgets)),
        codes,
        len(ids),
        r,
        lengths if known in ("lengths", "both") else None,
        k if known in ("log-ratios", "both") else None,
    )
    plain = moments.quiet_overflow(moments._in_numpy)(*args)
    assert np.array_equal(moments.from_responses(*args), plain, equal_nan=True)


@pytest.mark.parametrize(
    ("codes", "reward", "rows"),
    [([0, 2], [1.0, 1.0], 2), ([0, -1], [1.0, 1.0], 2), ([0, 0], [1.0, 1.0], 2), ([0, 1], [1.0], 2), ([0], None, 1)],
)
def test_what_is_no_response_of_a_row_is_refused(codes: list[int], reward: list[float] | None, rows: int) -> None:
    table, at = np.zeros((rows, Layout().width)), np.array(codes, dtype=np.intp)
    with pytest.raises(ValueError, match=r"expected .* for each"):
        native.moments.fill(
            table, np.zeros(0, dtype=np.int64), at, None if reward is None else np.array(reward), None, None, None
        )
