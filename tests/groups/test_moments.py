"""If this fails, a prompt's numbers depend on where its input was split, or differ from numpy's."""

import math
import warnings
from collections.abc import Sequence
from decimal import Decimal

import numpy as np
import pytest
from exact import exact_k3
from examples import TWICE, examples
from hypothesis import given
from hypothesis import strategies as st

from budget_cli.groups import moments
from budget_cli.groups.moments import Layout, Table, k3_terms

BUDGETS = Layout((100, 500))
Response = tuple[float, float, float]  # reward, tokens, log-ratio

response = st.tuples(st.floats(-1e3, 1e3), st.integers(0, 1000).map(float), st.floats(-30, 30))
shard = st.lists(response, max_size=6)  # of 0 and of 1 response too


def table_of(shards: Sequence[Sequence[Response]], codes: Sequence[int] | None = None) -> Table:
    """Return one row per shard; or one per code, with the responses in the order given."""
    responses = [each for one in shards for each in one]
    if codes is None:
        codes = [code for code, one in enumerate(shards) for _ in one]
    assert len(codes) == len(responses)
    r, lengths, k = (np.array([each[i] for each in responses], dtype=np.float64) for i in range(3))
    return moments.from_responses(BUDGETS, np.array(codes, dtype=np.intp), max(codes) + 1, r, lengths, k)


def row_of(responses: Sequence[Response]) -> Table:
    return table_of([responses]) if responses else BUDGETS.empty(1)


def merged(*rows: Table) -> Table:
    first, *others = rows
    for other in others:
        first = moments.merge(BUDGETS, first, other)
    return first


def assert_same_prompt(found: Table, expected: Table) -> None:
    """Assert equal counts and extremes, and means and sums equal to 1e-12 of their scale."""

    def both(name: str, budget: int | None = None) -> tuple[float, float]:
        column = BUDGETS.at(name, budget)
        return float(found[0, column]), float(expected[0, column])

    def close(pair: tuple[float, float], scale: float) -> None:
        assert abs(pair[0] - pair[1]) <= 1e-12 * scale + 1e-140  # below, squares underflow

    for name in ("n", "r_min", "r_max", "L_sum", "L_min", "L_max", "L_best", "L_worst", "right", "L_right"):
        assert both(name)[0] == both(name)[1], name
    close(both("k3"), both("k3")[1])
    names: list[tuple[str, int | None]] = [("r", None), ("k", None), ("e", 0), ("e", 1)]
    spread = {each: math.sqrt(both(each[0] * 2, each[1])[1]) for each in names}
    n = max(both("n")[1], 1)
    for x, budget in names:
        (x0, expected_x0), (x1, expected_x1) = both(f"{x}0", budget), both(f"{x}1", budget)
        close((x0 + x1 / n, expected_x0 + expected_x1 / n), abs(expected_x0) + spread[x, budget])
        close(both(x * 2, budget), spread[x, budget] ** 2)
    close(both("rk"), spread["r", None] * spread["k", None])
    for budget in (0, 1):
        assert both("over", budget)[0] == both("over", budget)[1]
        close(both("re", budget), spread["r", None] * spread["e", budget])
        close(both("ek", budget), spread["e", budget] * spread["k", None])


@examples(TWICE)
@given(shard)
def test_the_empty_row_is_an_exact_identity_on_both_sides(responses: list[Response]) -> None:
    row, empty = row_of(responses), BUDGETS.empty(1)
    assert merged(empty, row).tobytes() == row.tobytes()
    assert merged(row, empty).tobytes() == row.tobytes()


def test_the_empty_row_is_an_identity_even_beside_what_overflows() -> None:
    row, empty = row_of([(1e200, 10, 1e300), (-1e200, 10, 0.0)]), BUDGETS.empty(1)
    assert merged(empty, row).tobytes() == merged(row, empty).tobytes() == row.tobytes()


@examples(TWICE)
@given(shard, shard, shard)
def test_merging_is_associative(a: list[Response], b: list[Response], c: list[Response]) -> None:
    rows = row_of(a), row_of(b), row_of(c)
    assert_same_prompt(merged(rows[0], merged(rows[1], rows[2])), merged(*rows))


@examples(TWICE)
@given(shard, shard)
def test_merging_is_commutative_but_for_the_pivot(a: list[Response], b: list[Response]) -> None:
    assert_same_prompt(merged(row_of(a), row_of(b)), merged(row_of(b), row_of(a)))


@examples(TWICE)
@given(st.lists(shard, min_size=1, max_size=6))
def test_a_block_is_the_merge_of_any_of_its_splits(shards: list[list[Response]]) -> None:
    whole = row_of([each for one in shards for each in one])
    assert_same_prompt(merged(BUDGETS.empty(1), *map(row_of, shards)), whole)


@pytest.mark.parametrize(
    ("shards", "best", "worst"),
    [
        ([[(1, 90, 0), (1, 80, 0), (0, 50, 0), (0, 40, 0)]], 90, 40),
        ([[(1, 90, 0), (0, 50, 0)], [(1, 95, 0), (0, 45, 0)]], 95, 45),  # equal extremes: of both
        ([[(1, 90, 0), (0, 50, 0)], [(2, 10, 0), (-1, 70, 0)]], 10, 70),  # the later shard has the extremes
        ([[(2, 10, 0), (-1, 70, 0)], [(1, 90, 0), (0, 50, 0)]], 10, 70),
        ([[(1, 90, 0)], [(1, 95, 0)], [(1, 20, 0)]], 95, 20),  # all rewards are both highest and lowest
    ],
)
def test_the_longest_of_the_best_and_the_shortest_of_the_worst(
    shards: list[list[Response]], best: int, worst: int
) -> None:
    row = merged(*map(row_of, shards))[0]
    assert (row[BUDGETS.at("L_best")], row[BUDGETS.at("L_worst")]) == (best, worst)


@pytest.mark.parametrize(
    ("above", "right", "tokens"),
    [
        (0.0, 2, 160.0),
        (0.5, 1, 70.0),
        (-1.0, 3, 200.0),
        (-2.0, 4, 700.0),
        (1.0, 0, 0.0),
    ],  # a reward that is equal is not
)
@pytest.mark.parametrize("lengths", [True, False])
def test_right_is_what_is_rewarded_above_the_threshold(above: float, right: int, tokens: float, lengths: bool) -> None:
    layout = Layout((100,), above)
    r, tokens_of = np.array([1.0, 0.5, 0.0, -1.0]), np.array([70.0, 90.0, 40.0, 500.0])
    row = moments.from_responses(layout, np.zeros(4, np.intp), 1, r, tokens_of if lengths else None, None)
    both = moments.merge(layout, row, row)
    assert row[0, layout.at("right")] == right
    assert row[0, layout.at("L_right")] == (tokens if lengths else 0)
    assert (both[0, layout.at("right")], both[0, layout.at("L_right")]) == (2 * right, 2 * tokens * lengths)


def test_merging_leaves_its_arguments_unchanged() -> None:
    a, b = row_of([(1, 200, 0.1)]), row_of([(0, 600, 0.2)])
    before = a.tobytes(), b.tobytes()
    moments.merge(BUDGETS, a, b)
    assert (a.tobytes(), b.tobytes()) == before


def test_rows_merge_each_with_its_own_partner() -> None:
    shards: list[list[Response]] = [[(1, 200, 0.1), (0, 50, -0.2)], [(3, 700, 0.5)], [(5, 90, 1.0), (6, 501, 0.3)]]
    both = moments.merge(BUDGETS, table_of(shards), table_of(shards[::-1]))
    for i in range(3):
        assert both[i].tobytes() == merged(row_of(shards[i]), row_of(shards[2 - i])).tobytes()


HAND_MADE: list[Response] = [(1.0, 90, 0.2), (0.0, 150, -0.4), (0.5, 700, 0.1), (0.25, 101, 0.0)]


def test_the_columns_are_what_numpy_gives_for_the_same_responses() -> None:
    r, k = (np.array([each[i] for each in HAND_MADE]) for i in (0, 2))
    row = row_of(HAND_MADE)[0]
    expected: dict[tuple[str, int | None], float] = {
        ("n", None): 4,
        ("r_min", None): 0,
        ("r_max", None): 1,
        ("L_sum", None): 1041,
        ("L_min", None): 90,
        ("L_max", None): 700,
        ("L_best", None): 90,
        ("L_worst", None): 150,
        ("right", None): 3,
        ("L_right", None): 891,
        ("over", 0): 3,
        ("over", 1): 1,
        ("rr", None): 4 * np.var(r),
        ("kk", None): 4 * np.var(k),
        ("rk", None): 4 * np.cov(r, k, ddof=0)[0, 1],
        ("k3", None): float(np.sum(np.exp(-k) - 1 + k)),
    }
    for i, excess in enumerate([[0, 50, 600, 1], [0, 0, 200, 0]]):
        e = np.array(excess, dtype=np.float64)
        expected |= {
            ("ee", i): 4 * np.var(e),
            ("re", i): 4 * np.cov(r, e, ddof=0)[0, 1],
            ("ek", i): 4 * np.cov(e, k, ddof=0)[0, 1],
        }
        assert row[BUDGETS.at("e0", i)] + row[BUDGETS.at("e1", i)] / 4 == pytest.approx(e.mean(), rel=1e-14)
    for at, value in expected.items():
        assert row[BUDGETS.at(*at)] == pytest.approx(value, rel=1e-13), at
    assert row[BUDGETS.at("r0")] + row[BUDGETS.at("r1")] / 4 == r.mean() == 0.4375
    assert row[BUDGETS.at("k0")] + row[BUDGETS.at("k1")] / 4 == pytest.approx(k.mean(), rel=1e-13)


def test_the_hand_made_example_has_the_scatter_worked_out_on_paper() -> None:
    layout = Layout((100,))
    # rewards 1, 0, 2 about 1; excess 0, 30, 60 about 30; log-ratios 0.5, 0.5, -1 about 0
    columns = ([1, 0, 2], [100, 130, 160], [0.5, 0.5, -1.0])
    r, lengths, k = (np.array(column, dtype=np.float64) for column in columns)
    row = moments.from_responses(layout, np.zeros(3, dtype=np.intp), 1, r, lengths, k)[0]
    found = {name: row[layout.at(name)] for name in ("rr", "rk", "kk")}
    found |= {name: row[layout.at(name, 0)] for name in ("ee", "re", "ek", "over")}
    assert found == {"rr": 2, "rk": -1.5, "kk": 1.5, "ee": 1800, "re": 30, "ek": -45, "over": 2}


def test_interleaved_responses_give_the_rows_of_the_same_responses_in_order() -> None:
    shards: list[list[Response]] = [HAND_MADE, [(2, 300, 0.3)], HAND_MADE[::-1][:2]]
    interleaved = table_of(
        [[shards[0][0], shards[2][0], shards[0][1], shards[1][0], shards[2][1], shards[0][2], shards[0][3]]],
        codes=[0, 2, 0, 1, 2, 0, 0],
    )
    assert interleaved.tobytes() == table_of(shards).tobytes()


@examples(TWICE)
@given(st.lists(st.lists(response, min_size=1, max_size=3), min_size=1, max_size=3), st.integers(30, 70))
def test_a_prompt_is_not_touched_by_much_larger_ones_beside_it(small: list[list[Response]], repeats: int) -> None:
    beside = [HAND_MADE * repeats, *small, HAND_MADE * 2]
    table = table_of(beside)
    for i, responses in enumerate(beside):
        assert_same_prompt(table[i : i + 1], row_of(responses))


@pytest.mark.parametrize("prompts", [0, 3])
def test_a_layout_without_budgets_has_only_the_columns_of_a_prompt(prompts: int) -> None:
    layout = Layout()
    codes = np.arange(prompts)
    table = moments.from_responses(layout, codes, prompts, np.ones(prompts), None, None)
    assert table.shape == (prompts, len(moments.PROMPT))
    assert table[:, layout.at("r0")].tolist() == [1.0] * prompts


def test_missing_lengths_and_log_ratios_count_as_zero() -> None:
    some = table_of([[(1, 200, 0.5), (0, math.nan, math.nan)]])
    assert some.tobytes() == table_of([[(1, 200, 0.5), (0, 0, 0)]]).tobytes()


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("constant", [1e9 + 0.1, 0.1, -1 / 3, 0.0])
def test_constant_rewards_have_scatter_exactly_zero(constant: float, size: int) -> None:
    row = row_of([(constant, 150.0 + i, 0.0) for i in range(size)])
    for table in (row, merged(row, row), merged(*(row_of([(constant, 7.0, 0.1)]) for _ in range(size)))):
        at = BUDGETS.at
        assert table[0, at("rr")] == 0
        assert table[0, at("re", 0)] == table[0, at("rk")] == 0
        assert table[0, at("r_min")] == table[0, at("r_max")] == constant


def test_a_mean_of_1e9_times_the_spread_costs_no_digits() -> None:
    row = row_of([(1e9 + x, 10, -1e9 - x) for x in (-1, 0, 1, 4)])[0]
    assert [row[BUDGETS.at(name)] for name in ("rr", "kk", "rk")] == [14, 14, -14]


def test_squares_beyond_a_double_are_not_finite_and_make_no_noise() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        row = row_of([(1e200, 10, 0.0), (-1e200, 10, 0.0)])
        both = merged(row, row)
    for table in (row, both):
        assert not math.isfinite(table[0, BUDGETS.at("rr")])
        assert table[0, BUDGETS.at("r_max")] == 1e200


@examples(TWICE)
@given(
    st.floats(-700, 700)
    | st.builds(lambda sign, e: sign * 10.0**e, st.sampled_from([-1, 1]), st.floats(-150, 2))
    | st.floats(-0.03, 0.03)
)
def test_k3_has_twelve_digits_however_small_the_log_ratio(k: float) -> None:
    found, exact = k3_terms(np.array([k]))[0], exact_k3(k)
    assert abs(Decimal(float(found)) - exact) <= Decimal("1e-12") * exact + Decimal("1e-300")


@pytest.mark.parametrize(
    ("k", "k3"),
    [
        (0.0, 0.0),
        (1.0, 1 / math.e),
        (-1.0, math.e - 2),
        (math.log(2), math.log(2) - 0.5),
        (1e-9, 5e-19),
        (800.0, 799.0),
        (-800.0, math.inf),
    ],
)
def test_k3_is_known_at(k: float, k3: float) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = k3_terms(np.array([k]))
    assert found[0] == pytest.approx(k3, rel=1e-9)


def test_k3_of_no_responses_is_no_terms() -> None:
    assert k3_terms(np.array([])).size == 0
