"""If this fails, the rows of --by come in an order that hides the trend, or a row that fails passes."""

import grouping
import pytest

from budget_cli.analysis import breakdown, gates
from budget_cli.analysis.breakdown import Row
from budget_cli.analysis.loss import Coefficients
from budget_cli.analysis.verdict import Reason
from budget_cli.groups.groups import Groups
from budget_cli.records.columns import Label, Tally

COEFFICIENTS = Coefficients(None, 0, 0)


def groups_of(*rewards: float) -> Groups:
    return grouping.groups_of([("p", reward, None, None) for reward in rewards], ())


def rows(by: dict[Label, Groups], *expressions: str, in_order: bool = False) -> list[Row]:
    wanted = [gates.parse(expression, ["loss", "length.mean"]) for expression in expressions]
    return breakdown.rows_by_label(by, dict.fromkeys(by, Tally()), COEFFICIENTS, "response", wanted, in_order)


def test_numbers_come_before_texts_2_before_10_and_those_without_a_label_last() -> None:
    by: dict[Label, Groups] = dict.fromkeys(["step10", 10, None, "b", "step2", 2, "1", -1], groups_of(1))
    assert [row.key for row in rows(by)] == [-1, 2, 10, "1", "b", "step2", "step10", None]
    assert [row.key for row in rows(by, in_order=True)] == list(by)


def test_a_row_is_the_loss_of_its_own_groups() -> None:
    found = rows({1: groups_of(0, 1), 2: groups_of(0, 0, 2), 3: groups_of()})
    assert [row.loss.loss for row in found] == [0.25, pytest.approx(8 / 9), None]


def test_a_gate_says_in_which_rows_it_does_not_hold() -> None:
    by: dict[Label, Groups] = {step: groups_of(0, step) for step in range(1, 7)}
    found = rows(by, "loss > 1", "loss > 100", "length.mean > 1")
    assert [[gate.passed for gate in row.gates] for row in found] == [[step < 3, True, False] for step in range(1, 7)]
    assert [reason.text for reason in breakdown.failed_in_rows(found)] == [
        "gate loss > 1 in 4 of 6 rows: 3 (2.25), 4 (4), 5 (6.25) and 1 more",
        "gate length.mean > 1 in 6 of 6 rows: 1 (null), 2 (null), 3 (null) and 3 more",
    ]
    without = breakdown.failed_in_rows(rows({None: groups_of(0, 4)}, "loss > 1"))
    assert without == [Reason("gate", "gate loss > 1 in 1 of 1 rows: the records without one (4)")]
    assert breakdown.failed_in_rows([]) == breakdown.failed_in_rows(rows(by, "loss > 100")) == []


TRENDS: list[tuple[list[float | None], int, list[float | None]]] = [
    ([], 4, []),
    ([1], 4, [1]),
    ([1, None, 3], 4, [1, None, 3]),
    ([1, 2, 3, 4], 2, [1.5, 3.5]),
    ([1, 2, 3, 4, 6], 2, [1.5, 13 / 3]),
    ([None, 2, None, None], 2, [2, None]),
]


@pytest.mark.parametrize(("values", "bins", "means"), TRENDS)
def test_a_trend_is_the_means_of_stretches(values: list[float | None], bins: int, means: list[float | None]) -> None:
    assert breakdown.trend(values, bins) == means
