"""A sweep, or suggestions → JSON, JSON lines, CSV and Markdown, with the names of the loss's JSON."""

from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from budget_cli.analysis.grid import Overlong
from budget_cli.analysis.loss import number_names
from budget_cli.analysis.suggestion import SCHEMA as SUGGESTION_SCHEMA
from budget_cli.analysis.suggestion import Suggestion
from budget_cli.analysis.sweep import SCHEMA as SWEEP_SCHEMA
from budget_cli.analysis.sweep import SHOWN, AtBudget, Sweep
from budget_cli.records.columns import Rejection
from budget_cli.rendering import markdown
from budget_cli.rendering.formats import as_dict, csv_of, rejections_as_dicts, rounded, utf8


def json_of_sweep(
    sweep: Sweep,
    overlong: Overlong | None,
    status: str,
    rejections: Sequence[Rejection],
    incomplete: Sequence[str],
    all_numbers: bool,
    precision: int,
) -> bytes:
    """One JSON object and a newline: the grid, its cells, and what each budget does."""
    result = {
        "schema": SWEEP_SCHEMA,
        "status": status,
        "aggregate": sweep.first.aggregate,
        "grid": as_dict(sweep.grid),
        "overlong": None if overlong is None else as_dict(overlong),
        "prompts": sweep.first.prompts,
        "responses": sweep.first.responses,
        "cells": list(_cells(sweep, all_numbers, precision)),
        "budgets": [_budget(budget, precision) for budget in sweep.budgets],
        "records": as_dict(sweep.first.records),
        "rejections": rejections_as_dicts(rejections),
        "incomplete": [utf8(problem) for problem in incomplete],
    }
    return orjson.dumps(result, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _budget(budget: AtBudget, precision: int) -> dict[str, Any]:
    prompts = [_id(key) for key in budget.turns_phantom]
    named = {"turns_phantom": prompts, "reorder_prompt": _id(budget.reorder_prompt)}
    return as_dict(budget) | {"fraction": rounded(budget.fraction, precision)} | named


def _id(key: Any) -> Any:
    """A prompt id; it may be the name of a file."""
    return utf8(key) if isinstance(key, str) else key


def jsonl_of_sweep(sweep: Sweep, all_numbers: bool, precision: int) -> bytes:
    """A line a cell."""
    return b"".join(orjson.dumps(cell) + b"\n" for cell in _cells(sweep, all_numbers, precision))


def csv_of_sweep(sweep: Sweep, all_numbers: bool, precision: int) -> bytes:
    """A header of dotted names and a row a cell."""
    names = names_of(all_numbers)
    return csv_of(names, rows_of(sweep, names, precision))


def markdown_of_sweep(sweep: Sweep, all_numbers: bool, precision: int) -> bytes:
    """A row a cell."""
    names = names_of(all_numbers)
    return markdown.table(names, rows_of(sweep, names, precision)).encode()


def names_of(all_numbers: bool) -> Sequence[str]:
    """The dotted names of a cell's numbers."""
    return number_names() if all_numbers else SHOWN


def rows_of(sweep: Sweep, names: Sequence[str], precision: int) -> Iterator[tuple[float | None, ...]]:
    """These numbers of each cell, rounded but for the coefficients."""
    columns = []
    for name in names:
        column = sweep.numbers(name)
        if not name.startswith("coefficients."):
            column = [round(n, precision) + 0.0 if isinstance(n, float) else n for n in column]
        columns.append(column)
    return zip(*columns, strict=True)


def _cells(sweep: Sweep, all_numbers: bool, precision: int) -> Iterator[dict[str, Any]]:
    """Each cell as nested objects, named as in the JSON of a loss."""
    names = names_of(all_numbers)
    paths = [name.split(".") for name in names]
    for row in rows_of(sweep, names, precision):
        cell: dict[str, Any] = {}
        for (*above, last), number in zip(paths, row, strict=True):
            inside = cell
            for name in above:
                inside = inside.setdefault(name, {})
            inside[last] = number
        yield cell


def json_of_suggestions(
    suggestions: Sequence[Suggestion],
    share: float,
    status: str,
    rejections: Sequence[Rejection],
    incomplete: Sequence[str],
    precision: int,
) -> bytes:
    """One JSON object and a newline; the coefficients are not rounded."""
    exact = ("token_budget", "budget_penalty_coef")
    result = {
        "schema": SUGGESTION_SCHEMA,
        "status": status,
        "share": share,
        "suggestions": [
            {name: value if name in exact else rounded(value, precision) for name, value in as_dict(one).items()}
            for one in suggestions
        ],
        "rejections": rejections_as_dicts(rejections),
        "incomplete": [utf8(problem) for problem in incomplete],
    }
    return orjson.dumps(result, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def jsonl_of_suggestions(suggestions: Sequence[Suggestion], precision: int) -> bytes:
    """A line a suggestion."""
    return b"".join(
        orjson.dumps(dict(zip(Suggestion._fields, row, strict=True))) + b"\n"
        for row in rows_of_suggestions(suggestions, precision)
    )


def csv_of_suggestions(suggestions: Sequence[Suggestion], precision: int) -> bytes:
    """A header and a row a suggestion."""
    return csv_of(Suggestion._fields, _in_one_cell(suggestions, precision))


def markdown_of_suggestions(suggestions: Sequence[Suggestion], precision: int) -> bytes:
    """A row a suggestion."""
    return markdown.table(Suggestion._fields, _in_one_cell(suggestions, precision)).encode()


def _in_one_cell(suggestions: Sequence[Suggestion], precision: int) -> Iterator[list[Any]]:
    """With the reasons as one text."""
    for *row, reasons in rows_of_suggestions(suggestions, precision):
        yield [*row, "; ".join(reasons)]


def rows_of_suggestions(suggestions: Sequence[Suggestion], precision: int) -> Iterator[list[Any]]:
    """The values of each, rounded but for the coefficients."""
    for one in suggestions:
        yield [
            value if name == "budget_penalty_coef" else rounded(value, precision)
            for name, value in zip(one._fields, one, strict=True)
        ]
