"""A sweep → the screen, JSON, JSON lines, CSV and Markdown, with the names of the loss's JSON."""

import math
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

import numpy as np

from budget_cli.analysis.grid import Overlong
from budget_cli.analysis.loss import number_names
from budget_cli.analysis.numbers import counted
from budget_cli.analysis.sweep import FACTOR, SCHEMA, SHOWN, AtBudget, Sweep
from budget_cli.analysis.verdict import Reason
from budget_cli.groups.moments import Floats
from budget_cli.records.columns import Label, Rejection
from budget_cli.rendering.breakdown import NAME, NO_LABEL
from budget_cli.rendering.formats import (
    as_dict,
    csv_table,
    json_document,
    json_line,
    markdown_table,
    rejections_as_dicts,
    rounded,
    utf8,
    utf8_key,
)
from budget_cli.rendering.safe import end_for_terminal, for_terminal
from budget_cli.rendering.text import (
    MISSING,
    NARROW,
    WARNING,
    WIDTH,
    Line,
    Piece,
    failures,
    left_out,
    listed,
    objective,
    passes,
    rejected,
)

SHADES = (" ", "░", "▒", "▓", "█")
HEAT = ("dim", "", "yellow", "bold yellow", "bold red")
MAPS, TALL = 3, 12  # maps for values of the third coefficient; only one if it has more than TALL rows
ROWS = 40  # of a table or a map
TURN = "    turn phantom: "


class Axis(NamedTuple):
    """A coefficient and its values, as shown."""

    symbol: str
    labels: list[str]


def screen(
    sweep: Sweep,
    reasons: Sequence[Reason],
    rejections: Sequence[Rejection],
    precision: int,
    width: int,
    by: str | None = None,
    rows: "Rows | None" = None,
) -> Iterator[Line]:
    """Yield a heat map if two coefficients vary, or a table if one does; then a row for each budget and each label."""
    axes = _axes(sweep)
    findings = list(_findings(sweep)) if sweep.first.responses else []
    over = " × ".join(_times(len(axis.labels), name) for axis, name in zip(axes, ("budget", "β", "α"), strict=True))
    yield [
        Piece(f"loss in {counted(sweep.grid.cells, 'cell')}", "bold"),
        Piece(f": {over}     {counted(sweep.first.responses, 'response')}, "),
        Piece(f"{counted(sweep.first.prompts, 'prompt')}"),
        Piece("" if sweep.first.aggregate == "response" else ", mean over prompts"),
    ]
    yield from objective(sweep.first.objective.sentence)
    source = sweep.first.length_sentence
    if source is not None:
        yield [Piece(f"lengths are from {for_terminal(source, 200)}", "dim")]
    if sweep.first.responses:
        varying = [i for i, axis in enumerate(axes) if len(axis.labels) > 1]
        if len(varying) > 1:
            yield from _maps(sweep, axes, varying, precision, width)
        else:
            yield from _table(sweep, axes, varying, precision, width)
        yield from _budgets(sweep, width)
        if rows is not None:
            yield from _by_label(rows, by, axes, precision, width)
        yield []
        yield from findings
    yield from left_out(sweep.first.left_out)
    yield from rejected(rejections, sweep.first.records.rejected)
    yield from (
        failures(reasons, 400)
        if reasons
        else passes(sweep.first.records, warnings=sum(WARNING in line for line in findings))
    )


def _axes(sweep: Sweep) -> tuple[Axis, Axis, Axis]:
    grid = sweep.grid
    return (
        Axis("B", [_budget_name(*each) for each in zip_longest(grid.token_budget, grid.budget_factor)]),
        Axis("β", [f"{beta:.3g}" for beta in grid.budget_penalty_coef]),
        Axis("α", [f"{alpha:.3g}" for alpha in grid.kl_coef]),
    )


def _budget_name(budget: int | None, factor: float | None) -> str:
    """Name a budget, or a factor of the budgets that records have of their own."""
    if factor is not None:
        return f"×{factor:.3g}"
    return "none" if budget is None else f"{budget:,}"


def _maps(sweep: Sweep, axes: Sequence[Axis], varying: Sequence[int], precision: int, width: int) -> Iterator[Line]:
    """Yield maps of the loss for some values of the third coefficient, and one of the share of the advantage."""
    losses = sweep.at("loss")
    if len(varying) == 3:
        down, across, third = 1, 0, 2
    else:
        across, down = varying  # B or β across, β or α down
        third = 3 - across - down
    shown = range(len(axes[third].labels))
    if len(axes[down].labels) > TALL:
        shown = shown[len(shown) // 2 :][:1]
    elif len(shown) > MAPS:
        shown = shown[:: (len(shown) - 1) // (MAPS - 1)][:MAPS]
    low, high = _ends(losses)
    where = f"{axes[across].symbol} across, {axes[down].symbol} down"
    for place in shown:
        values = np.moveaxis(losses, (down, across, third), (0, 1, 2))[:, :, place]
        yield []
        yield [Piece("  loss", "bold"), Piece(f"   {axes[third].symbol} {axes[third].labels[place]}, {where}")]
        yield from _map(axes[down], axes[across], values, low, high, precision, width)
    if len(shown) < len(axes[third].labels):
        yield [Piece(f"  of {len(axes[third].labels)} values of {axes[third].symbol}; --format json has all", "dim")]
    if (len(axes[0].labels) > 1 and len(axes[1].labels) > 1) or varying == [1, 2]:
        share = sweep.at("advantage.budget_share")[:, :, 0].T
        if not np.isnan(share).all() and len(axes[0].labels) > 1:
            yield []
            yield [Piece("  share of the advantage that comes from length", "bold"), Piece("   B across, β down")]
            yield from _map(axes[1], axes[0], share, 0.0, 1.0, None, width)


def _map(
    down: Axis, across: Axis, values: Floats, low: float, high: float, precision: int | None, width: int
) -> Iterator[Line]:
    """Yield one row per value of one coefficient, with one column per value of another; shades show the magnitude.

    If the numbers do not fit side by side, only shades are shown. If `precision` is None, numbers are in percent.
    """
    rows = range(len(values)) if len(values) <= ROWS else [round(i) for i in np.linspace(0, len(values) - 1, ROWS)]
    left = max(len(down.labels[i]) for i in rows) + 2
    room = max(NARROW, min(width, 120)) - 2 - left
    for digits in (None, 3):
        numbers = [[_compact(value, precision, digits) for value in values[i]] for i in rows]
        wide = max(max(map(len, row)) for row in [*numbers, across.labels]) + 1
        fits = (wide + 2) * len(across.labels) <= room
        if fits:
            break
    columns = list(range(len(across.labels)))
    if len(columns) > room:
        columns, fits = [round(i) for i in np.linspace(0, len(columns) - 1, room)], False
    stretch = 2 if 2 * len(columns) <= room else 1
    corner = " " * (left + 2)
    if fits:
        yield [Piece(corner + "".join(f"{text:>{wide}}  " for text in across.labels), "dim")]
    else:
        yield [Piece(f"{corner}{across.labels[0]} to {across.labels[-1]}", "dim")]
    for i, row in zip(rows, numbers, strict=True):
        line = [Piece(f"  {down.labels[i]:<{left}}", "dim")]
        for j in columns:
            level, text = _level(float(values[i, j]), low, high), row[j]
            if fits:
                line.append(Piece(f"{text:>{wide}} {SHADES[level]}", HEAT[level]))
            else:
                line.append(Piece(SHADES[level] * stretch, HEAT[level]))
        yield line
    if not fits:
        ends = f"{_compact(low, precision)} to {_compact(high, precision)}"
        yield [Piece(f"  {'':<{left}}{SHADES[1]} low, {SHADES[4]} high: {ends}; --format csv has the numbers", "dim")]


def _by_label(rows: "Rows", by: str | None, axes: Sequence[Axis], precision: int, width: int) -> Iterator[Line]:
    """Yield a map of the loss, labels down and the first coefficient that varies across, and one of the share."""
    place = next((i for i, axis in enumerate(axes) if len(axis.labels) > 1), 0)
    names = [end_for_terminal(NO_LABEL if key is None else str(key), NAME) for key, _ in rows]
    fixed = ", ".join(f"{axis.symbol} {axis.labels[0]}" for i, axis in enumerate(axes) if i != place)
    for name, title in (("loss", "loss"), ("advantage.budget_share", "share of the advantage that comes from length")):
        values = np.array([np.moveaxis(swept.at(name), place, 0)[:, 0, 0] for _, swept in rows])
        if np.isnan(values).all():
            continue
        yield []
        where = f"   by {for_terminal(by, 30)} down, {axes[place].symbol} across, {fixed}"
        yield [Piece(f"  {title}", "bold"), Piece(where)]
        low, high = _ends(values) if name == "loss" else (0.0, 1.0)
        percent = None if name != "loss" else precision
        yield from _map(Axis("", names), axes[place], values, low, high, percent, width)


def _ends(values: Floats) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)


def _level(value: float, low: float, high: float) -> int:
    """Return the index of the shade: linear between the ends, logarithmic if they differ by a factor above 100."""
    if not math.isfinite(value) or high <= low:
        return 0
    if low > 0 and high / low > 100:
        value, low, high = math.log(value), math.log(low), math.log(high)
    return min(len(SHADES) - 1, int((value - low) / (high - low) * len(SHADES)))


def _table(sweep: Sweep, axes: Sequence[Axis], varying: Sequence[int], precision: int, width: int) -> Iterator[Line]:
    """Yield one row per cell, with the varying coefficient first."""
    names = ["loss", "advantage.mean_square", "advantage.budget_share", "groups.phantom", "groups.reordered"]
    axis = axes[varying[0] if varying else 0]
    fixed = [f"{one.symbol} {one.labels[0]}" for one in axes if one is not axis]
    yield [Piece("   ".join(fixed), "dim")]
    yield []
    name, wide, last = (8, 10, 10) if width < WIDTH else (10, 12, 11)
    head = f"  {axis.symbol:<{name}}{'loss':>{wide}}{'mean A²':>{wide}}{'by length':>{last}}{'phantom':>9}"
    head += f"{'reordered':>{last}}"
    yield [Piece(head, "bold")]
    low, high = _ends(sweep.at("loss"))
    cells = list(zip(axis.labels, zip(*map(sweep.numbers, names), strict=True), strict=True))
    for text, (value, square, share, phantom, reordered) in cells[:ROWS]:
        level = _level(math.nan if value is None else value, low, high)
        yield [
            Piece(f"  {text:<{name}}{_compact(value, precision):>{wide}}", HEAT[level] if len(cells) > 1 else ""),
            Piece(f"{_compact(square, precision):>{wide}}{_compact(share, None):>{last}}"),
            Piece(f"{_integer(phantom):>9}{_integer(reordered):>{last}}"),
        ]
    if len(cells) > ROWS:
        yield [Piece(f"  and {len(cells) - ROWS:,} more rows; --format csv has all", "dim")]


def _budgets(sweep: Sweep, width: int) -> Iterator[Line]:
    """Yield one row per budget: its effect for any α, and the β from which it has it."""
    budgets, of = sweep.budgets, sweep.first.objective
    if all(one.over is None for one in budgets):
        return
    own_factor = of.settings["advantage"] != "centred" or of.settings["singletons"] != "zero"
    unordered = of.settings["penalty"] == "distance" or of.has_own_budgets
    yield []
    narrow = width < WIDTH
    head = f"  {'B':<10}{'over':>7}{'phantom':>9}   {'half at beta':<14}{'reorders at':<13}"
    yield [Piece(head + ("" if narrow else "turn phantom"), "bold")]
    for one in budgets[:ROWS]:
        half = (MISSING if own_factor else "never") if one.half_share_coef is None else f"{one.half_share_coef:.3g}"
        reorders = (MISSING if unordered else "never") if one.reorder_coef is None else f"{one.reorder_coef:.3g}"
        over = MISSING if one.fraction is None else f"{one.fraction:.1%}"
        name = _budget_name(one.token_budget, one.budget_factor)
        line = f"  {name:<10}{over:>7}{_integer(one.phantom):>9}   {half:<14}{reorders:<13}"
        room = NARROW - len(TURN) if narrow else WIDTH - len(line)
        named = listed(one.turns_phantom[:3], len(one.turns_phantom), room + 2).removeprefix(": ")
        yield [Piece(line + ("" if narrow else named))]
        if narrow and named:
            yield [Piece(f"{TURN}{named}", "dim")]
    if len(budgets) > ROWS:
        yield [Piece(f"  and {len(budgets) - ROWS:,} more budgets; --format json has all", "dim")]


def _findings(sweep: Sweep) -> Iterator[Line]:
    cells = sweep.grid.cells
    most = int((sweep.at("advantage.budget_share") > 0.5).sum())
    if most:
        text = f"most of the advantage comes from length in {most:,} of {counted(cells, 'cell')}"
        yield [WARNING, Piece(text)]
    reordered = int((sweep.at("groups.reordered") > 0).sum())
    if reordered:
        firsts = [one for one in sweep.budgets if one.reorder_prompt is not None and one.reorder_coef is not None]
        first = min(firsts, key=lambda one: one.reorder_coef or 0)
        text = f"some prompt's worst response beats its best in {reordered:,} of {counted(cells, 'cell')}"
        yield [WARNING, Piece(text)]
        name = for_terminal(first.reorder_prompt, 30)
        at = _budget_name(first.token_budget, first.budget_factor)
        yield [Piece(f"          first {name}, above β {first.reorder_coef:.3g} at B {at}", "dim")]


def _compact(value: float | None, precision: int | None, digits: int | None = None) -> str:
    """Format a number in few characters: in percent if `precision` is None, with `digits` digits if they are given."""
    if value is None or not math.isfinite(value):
        return MISSING
    if precision is None:
        return f"{value:.0%}"
    if digits is not None:
        return f"{value:.{digits}g}"
    text = f"{round(value, precision) + 0.0:,.{precision}f}"
    return text if len(text) <= 10 else f"{value:.{max(3, precision)}g}"


def _integer(value: float | None) -> str:
    return MISSING if value is None else f"{value:,.0f}"


def _times(number: int, name: str) -> str:
    return f"{number} {name}{'s' if name == 'budget' and number != 1 else ''}"


def json(
    sweep: Sweep,
    overlong: Overlong | None,
    status: str,
    rejections: Sequence[Rejection],
    incomplete: Sequence[str],
    warnings: Sequence[str],
    all_numbers: bool,
    precision: int,
    rows: "Rows | None" = None,
) -> bytes:
    """Return one JSON object: the grid, its cells, and the effect of each budget; with `--by`, for each label, too."""
    result = {
        "schema": SCHEMA,
        "status": status,
        "aggregate": sweep.first.aggregate,
        "objective": as_dict(sweep.first.objective),
        "grid": {name: values for name, values in as_dict(sweep.grid).items() if values},
        "overlong": None if overlong is None else as_dict(overlong),
        "prompts": sweep.first.prompts,
        "responses": sweep.first.responses,
        "cells": list(_cells(sweep, all_numbers, precision)),
        "budgets": [_budget(budget, precision) for budget in sweep.budgets],
        "records": as_dict(sweep.first.records),
        "left_out": sweep.first.left_out,
        "lengths_from": sweep.first.lengths_from,
        "length_origins": as_dict(sweep.first.length_origins),
        "tokenizer": sweep.first.tokenizer,
        "rejections": rejections_as_dicts(rejections),
        "incomplete": [utf8(problem) for problem in incomplete],
        "warnings": [utf8(warning) for warning in warnings],
    }
    if rows is not None:
        result["by"] = [
            {
                "key": utf8_key(key),
                "prompts": one.first.prompts,
                "responses": one.first.responses,
                "cells": list(_cells(one, all_numbers, precision)),
                "budgets": [_budget(budget, precision) for budget in one.budgets],
                "records": as_dict(one.first.records),
                "left_out": one.first.left_out,
            }
            for key, one in rows
        ]
    return json_document(result)


def _budget(budget: AtBudget, precision: int) -> dict[str, Any]:
    prompts = [utf8_key(key) for key in budget.turns_phantom]
    named = {"turns_phantom": prompts, "reorder_prompt": utf8_key(budget.reorder_prompt)}
    own = {} if budget.budget_factor is None else {"budget_factor": budget.budget_factor}
    body = as_dict(budget)
    del body["budget_factor"]
    return body | own | {"fraction": rounded(budget.fraction, precision)} | named


def jsonl(sweep: Sweep, all_numbers: bool, precision: int) -> bytes:
    """Return one line per cell."""
    return b"".join(json_line(cell) for cell in _cells(sweep, all_numbers, precision))


def _names(sweep: Sweep, all_numbers: bool) -> Sequence[str]:
    """Return the dotted names of the numbers of a cell."""
    own = (FACTOR,) if sweep.grid.budget_factor else ()
    return (*own, *(number_names() if all_numbers else SHOWN))


def _rows(sweep: Sweep, names: Sequence[str], precision: int) -> Iterator[tuple[float | None, ...]]:
    """Yield these numbers of each cell, rounded except for the coefficients."""
    columns = []
    for name in names:
        column = sweep.numbers(name)
        if not name.startswith("coefficients."):
            column = [round(n, precision) + 0.0 if isinstance(n, float) else n for n in column]
        columns.append(column)
    return zip(*columns, strict=True)


def _cells(sweep: Sweep, all_numbers: bool, precision: int) -> Iterator[dict[str, Any]]:
    """Yield each cell as nested objects, named as in the JSON of a loss."""
    names = _names(sweep, all_numbers)
    paths = [name.split(".") for name in names]
    for row in _rows(sweep, names, precision):
        cell: dict[str, Any] = {}
        for (*above, last), number in zip(paths, row, strict=True):
            inside = cell
            for name in above:
                inside = inside.setdefault(name, {})
            inside[last] = number
        yield cell


Rows = Sequence[tuple[Label, Sweep]]  # of --by


class SweepAnswer(NamedTuple):
    """The answer of `budget-cli sweep`."""

    sweep: Sweep
    overlong: Overlong | None
    reasons: Sequence[Reason]  # why the verdict is fail; none if it is pass
    rejections: Sequence[Rejection]  # the first ones
    shown: Sequence[Rejection]  # those of them that a person sees: none where one reason stands for all
    all_numbers: bool
    precision: int
    by: str | None = None  # a field or `file`, as the user wrote it
    rows: Rows | None = None  # one for each value of it
    warnings: Sequence[str] = ()  # why the numbers may not be the trainer's

    @property
    def status(self) -> str:
        """`pass` or `fail`."""
        return "fail" if self.reasons else "pass"

    @property
    def incomplete(self) -> list[str]:
        """Sources that could not be read to their end, and why."""
        return [reason.text for reason in self.reasons if reason.kind == "incomplete"]

    def lines(self, columns: int) -> Iterator[Line]:
        """Yield the screen for a terminal of that many columns."""
        return screen(self.sweep, self.reasons, self.shown, self.precision, columns, self.by, self.rows)

    def json(self) -> bytes:
        """Return one JSON object."""
        verdict = (self.status, self.rejections, self.incomplete, self.warnings)
        return json(self.sweep, self.overlong, *verdict, self.all_numbers, self.precision, self.rows)

    def jsonl(self) -> bytes:
        """Return one line per cell; with `--by`, per label and cell."""
        if self.rows is None:
            return jsonl(self.sweep, self.all_numbers, self.precision)
        cells = ((key, cell) for key, one in self.rows for cell in _cells(one, self.all_numbers, self.precision))
        return b"".join(json_line({"key": utf8_key(key), **cell}) for key, cell in cells)

    def csv(self) -> bytes:
        """Return one row per cell; with `--by`, per label and cell."""
        return csv_table(*self._table())

    def markdown(self) -> bytes:
        """Return one row per cell; with `--by`, per label and cell."""
        return markdown_table(*self._table(NO_LABEL)).encode("utf-8", "backslashreplace")

    def _table(self, no_label: str | None = None) -> tuple[Sequence[str], Iterator[Sequence[Any]]]:
        names = _names(self.sweep, self.all_numbers)
        if self.rows is None:
            return names, _rows(self.sweep, names, self.precision)
        cells = ((key, cell) for key, one in self.rows for cell in _rows(one, names, self.precision))
        return ["key", *names], ([no_label if key is None else key, *cell] for key, cell in cells)
