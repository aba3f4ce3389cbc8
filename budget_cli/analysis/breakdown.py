"""Groups by label (a step, a file) → one loss per label, with its gates."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from budget_cli.analysis.gates import Gate, GateResult
from budget_cli.analysis.loss import Aggregate, Coefficients, Loss, compute_loss, number_at
from budget_cli.analysis.verdict import Reason
from budget_cli.groups.groups import Groups
from budget_cli.objective.settings import DEFAULT, Objective
from budget_cli.records.columns import Label, Tally


class Row(NamedTuple):
    """The loss of the responses with one label; those to one prompt form a group of their own."""

    key: Label
    loss: Loss
    gates: tuple[GateResult, ...]


def rows_by_label(
    by: Mapping[Label, Groups],
    tallies: Mapping[Label, Tally],
    coefficients: Coefficients,
    aggregate: Aggregate,
    gates: Sequence[Gate] = (),
    in_order: bool = False,
    trained: Objective = DEFAULT,
) -> list[Row]:
    """Return one row per label, in the order of `ordered`, or as they come if `in_order`."""
    labels = ordered(by, in_order)
    losses = [compute_loss(by[label], coefficients, tallies[label], aggregate, trained=trained) for label in labels]
    return [
        Row(label, loss, tuple(gate.evaluate(number_at(loss, gate.path)) for gate in gates))
        for label, loss in zip(labels, losses, strict=True)
    ]


def ordered(labels: Iterable[Label], in_order: bool = False) -> list[Label]:
    """Sort labels: numbers before texts, `step 2` before `step 10`, and None last; files stay `in_order`."""
    return list(labels) if in_order else sorted(labels, key=_rank)


_DECIMAL = re.compile(r"-?\d+(\.\d+(e[-+]\d+)?|e[-+]\d+)")  # a number that is not whole


def _rank(label: Label) -> tuple[int, list[tuple[int, float | str]]]:
    if isinstance(label, int) or (label is not None and _DECIMAL.fullmatch(label)):
        return 0, [(0, float(label))]
    if label is None:
        return 2, []
    parts = re.split(r"([0-9]+)", label)
    return 1, [(0, int(part)) if place % 2 else (1, part) for place, part in enumerate(parts)]


def trend(values: Sequence[float | None], bins: int) -> list[float | None]:
    """Return the means of at most `bins` consecutive stretches of the values; None for a stretch without any."""
    count = min(bins, len(values))
    means: list[float | None] = []
    for i in range(count):
        part = values[len(values) * i // count : len(values) * (i + 1) // count]
        present = [value for value in part if value is not None]
        means.append(sum(present) / len(present) if present else None)
    return means


def failed_in_rows(rows: Sequence[Row], shown: int = 3) -> list[Reason]:
    """Return, for each gate that fails in some rows, in which."""
    reasons = []
    for i in range(len(rows[0].gates) if rows else 0):
        wrong = [(row.key, row.gates[i].value) for row in rows if not row.gates[i].passed]
        if wrong:
            named = [f"{_named(key)} ({'null' if value is None else f'{value:.6g}'})" for key, value in wrong[:shown]]
            more = f" and {len(wrong) - shown:,} more" if len(wrong) > shown else ""
            expression = rows[0].gates[i].expression
            text = f"gate {expression} in {len(wrong):,} of {len(rows):,} rows: {', '.join(named)}{more}"
            reasons.append(Reason("gate", text))
    return reasons


def _named(key: Label) -> str:
    return "the records without one" if key is None else str(key)
