"""If this fails, a sweep is over other values than those that were written, or a slip of the finger is swept, too."""

import itertools
import math

import pytest

from budget_cli.analysis.grid import Grid, parse_budgets, parse_coefficients
from budget_cli.errors import UsageProblem


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("0.01", (0.01,)),
        ("0", (0.0,)),
        ("0.1,0.01, 1e-3", (0.001, 0.01, 0.1)),
        ("0.1,0.1", (0.1,)),
        ("0:0.5:11", (0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5)),
        ("-1:1:3", (-1, 0, 1)),
        ("0.0001:0.1:log4", (0.0001, 0.001, 0.01, 0.1)),
        ("1e-4:1e-1:log4,0", (0, 0.0001, 0.001, 0.01, 0.1)),
        ("0.3:0.9:2", (0.3, 0.9)),
    ],
)
def test_coefficients_are(text: str, values: tuple[float, ...]) -> None:
    assert parse_coefficients("--beta", text) == values


def test_a_range_of_equal_ratios_has_as_many_points_as_it_says_and_both_ends() -> None:
    values = parse_coefficients("--beta", "0.0001:0.1:log10")
    assert (len(values), values[0], values[-1]) == (10, 0.0001, 0.1)
    assert [b / a for a, b in itertools.pairwise(values)] == pytest.approx([1000 ** (1 / 9)] * 9, rel=1e-11)


@pytest.mark.parametrize(
    ("text", "budgets"),
    [
        ("1024", (1024,)),
        ("2048,512,1024,512", (512, 1024, 2048)),
        ("1e3", (1000,)),
        ("0:10:5", (0, 2, 5, 8, 10)),
        ("100:1000:log3", (100, 316, 1000)),
        ("0,100:102:3", (0, 100, 101, 102)),
    ],
)
def test_budgets_are_whole_tokens(text: str, budgets: tuple[int, ...]) -> None:
    found = parse_budgets("-B", text)
    assert found == budgets
    assert all(type(budget) is int for budget in found)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected numbers separated by commas, a:b:n or a:b:logn, found ''"),
        ("1,,2", "found ''"),
        ("a", "found 'a'"),
        ("nan", "found 'nan'"),
        ("1e999", "found '1e999'"),
        ("1.2.3", "found '1.2.3'"),
        ("0:1", "found '0:1'"),
        ("0:1:2:3", "found '0:1:2:3'"),
        ("0:1:log", "found '0:1:log'"),
        ("0:inf:3", "found 'inf'"),
        ("0:1:1", "expected at least two points from a smaller to a larger number, found '0:1:1'"),
        ("1:0:3", "expected at least two points from a smaller to a larger number, found '1:0:3'"),
        ("0:1:log3", "expected a range of equal ratios to begin above 0, found 0"),
        ("0:1:9999999", "9,999,999 points, expected at most 1,000,000"),
    ],
)
def test_what_is_no_list_of_numbers_is_refused(text: str, message: str) -> None:
    for parse in (parse_coefficients, parse_budgets):
        with pytest.raises(UsageProblem) as raised:
            parse("--flag", text)
        assert str(raised.value).startswith(f"--flag {text!r}: ")
        assert message in str(raised.value)


@pytest.mark.parametrize(("text", "found"), [("-1", "-1"), ("12.5", "12.5"), ("-10:10:3", "-10")])
def test_a_budget_that_is_no_number_of_tokens_is_refused(text: str, found: str) -> None:
    with pytest.raises(UsageProblem, match=f"expected whole numbers of tokens, 0 or more, found {found}$"):
        parse_budgets("-B", text)


def test_the_cells_of_a_grid_are_every_combination_with_alpha_changing_fastest() -> None:
    grid = Grid((1, 2), (0.1,), (0.0, 0.5, 1.0))
    assert grid.cells == len(list(grid.indices())) == 6
    assert list(grid.indices())[:4] == [(0, 0, 0), (0, 0, 1), (0, 0, 2), (1, 0, 0)]


def test_a_grid_that_nobody_could_read_is_refused() -> None:
    many = tuple(float(i) for i in range(1001))
    Grid((1,), many[:1000], many[:1000]).require_sane()
    with pytest.raises(UsageProblem, match="a grid of 1,002,001 cells, expected at most 1,000,000"):
        Grid((1,), many, many).require_sane()
    assert math.prod(Grid((1,), many, many).shape) == 1_002_001
