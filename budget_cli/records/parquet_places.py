"""A batch and a place in its rows → the values there: each distinct one once, and which of them each row has.

So an expression, a digest or a check runs once for each distinct value (a prompt has many responses), or for each
distinct combination of the columns that it reads. A weighted sum of columns is computed from the columns.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import repeat
from typing import Any, NamedTuple

import numpy as np
import pyarrow
from numpy.typing import NDArray
from pyarrow import types

from budget_cli import native
from budget_cli.records.columns import Floats
from budget_cli.records.parquet_codes import numbered
from budget_cli.records.parquet_values import json_values, unreadable
from budget_cli.schema.json_values import Invalid, exact_sum
from budget_cli.schema.lookup import MISSING, root_keys, value_at
from budget_cli.schema.paths import Expression, Place

LARGEST_WHOLE = 1 << 31  # of an integer whose products with a weight are those of doubles


class Distinct(NamedTuple):
    """Values in order of first occurrence, as those of JSON; `MISSING` where there is none."""

    values: list[Any]
    codes: NDArray[np.int64]  # of each row, the place of its value

    def checked(self, check: Callable[[Any], Any]) -> list[Any] | None:
        """Return what a check makes of each value; None if a value is missing or invalid."""
        try:
            return None if MISSING in self.values else list(map(check, self.values))
        except Invalid:
            return None

    @property
    def is_missing(self) -> bool:
        """True if no row has a value."""
        return all(value is MISSING or value is None for value in self.values)


class Places:
    """The places of one batch."""

    def __init__(self, batch: pyarrow.RecordBatch) -> None:
        """Compute nothing yet."""
        self._batch = batch
        self._rows: dict[tuple[str, ...], Distinct | None] = {}

    def distinct(self, place: Place) -> Distinct | None:
        """Return the values at a place; None if they take a closer look, row by row."""
        roots = tuple(sorted(root_keys(place)))
        if not roots:
            return None
        if roots not in self._rows:
            self._rows[roots] = self._distinct_rows(roots)
        rows = self._rows[roots]
        if rows is None:
            return None
        try:
            if isinstance(place, Expression):
                from budget_cli.schema.expressions import evaluator  # and jmespath, which only expressions need

                found = map(evaluator(place.text), rows.values)
                return Distinct([MISSING if value is None else value for value in found], rows.codes)
            return Distinct([value_at(row, place) for row in rows.values], rows.codes)
        except Invalid:
            return None

    @np.errstate(over="ignore", invalid="ignore")  # what is not finite is left to the reference reader
    def weighted(self, place: Place) -> Floats | None:
        """Return the values of an expression that is a weighted sum of columns of numbers; None if it is not."""
        found = _weights(place.text) if isinstance(place, Expression) else None
        if found is None or not self._batch.num_rows:
            return None
        parts, there = [], np.zeros(self._batch.num_rows, dtype=np.bool_)
        for name, weight in zip(found.names, found.weights, strict=True):
            if self._batch.schema.names.count(name) != 1:
                return None
            column = self._batch.column(name)
            values = _numbers(column)
            if values is None or (not found.skips and column.null_count):
                return None
            if found.skips:
                there |= ~np.isnan(values)
                values = np.where(np.isnan(values), 0.0, values)
            parts.append(values * weight)
        if found.skips and not there.all():
            return None  # a row without any value is rejected
        return _summed(parts)

    def _distinct_rows(self, names: Sequence[str]) -> Distinct | None:
        """Return the distinct rows of these columns, as records."""
        here = [name for name in names if name in self._batch.schema.names]
        if any(self._batch.schema.names.count(name) > 1 for name in here):
            return None
        found = _distinct([self._batch.column(name) for name in here], self._batch.num_rows)
        if found is None:
            return None
        values, codes = found
        rows = zip(*values, strict=True) if here else repeat((), int(codes.max(initial=-1)) + 1)
        return Distinct([dict(zip(here, row, strict=True)) for row in rows], codes)


def distinct_values(column: pyarrow.Array) -> Distinct | None:
    """Return the values of a column, None for null; None if they take a closer look, row by row."""
    found = _distinct([column], len(column))
    return None if found is None else Distinct(found[0][0], found[1])


def _distinct(columns: Sequence[pyarrow.Array], rows: int) -> tuple[list[list[Any]], NDArray[np.int64]] | None:
    """Return, for each column, its values in the distinct rows of all of them, and which of these each row is."""
    codes = numbered(columns, rows)
    if codes is None:
        return None
    first = np.zeros(int(codes.max(initial=-1)) + 1, dtype=np.int64)
    first[codes[::-1]] = np.arange(codes.size - 1, -1, -1)  # the last one that is put is the first row
    values = [_taken(column, first) for column in columns]
    return None if any(map(unreadable, values)) else (values, codes)


def _taken(column: pyarrow.Array, rows: NDArray[np.int64]) -> list[Any]:
    """Return the values of these rows. (pyarrow.compute, which has `take`, takes 60 ms to import.)"""
    kind = column.type
    quick = types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)
    if not quick and rows.size * 4 < len(column):
        return json_values(pyarrow.concat_arrays([column.slice(row, 1) for row in rows.tolist()]))
    values = json_values(column)
    return values if rows.size == len(column) else [values[row] for row in rows.tolist()]


def _numbers(column: pyarrow.Array) -> Floats | None:
    """Return a column of numbers as doubles, with NaN for null; None if it is another, or a double would round it."""
    kind = column.type
    if not (types.is_float32(kind) or types.is_float64(kind) or types.is_integer(kind)):
        return None
    values: Floats = column.to_numpy(zero_copy_only=False).astype(np.float64)
    if types.is_integer(kind) and not np.all((np.abs(values) <= LARGEST_WHOLE) | np.isnan(values)):
        return None
    return values


def _summed(parts: list[Floats]) -> Floats | None:
    """Add up columns, correctly rounded as `exact_sum` does; None if one is not finite."""
    if len(parts) <= 2:
        return parts[0] + (parts[1] if len(parts) == 2 else 0.0)
    values = np.stack(parts, axis=1)
    if not np.isfinite(values).all():
        return None
    return sums_of_lists(values.ravel(), np.arange(values.shape[0] + 1, dtype=np.int64) * len(parts))


def sums_of_lists(values: Floats, offsets: NDArray[np.int64]) -> Floats:
    """Return the sum of each list, rounded once; inf if it is beyond the range of a double."""
    sums = np.full(offsets.size - 1, np.nan)
    if native.AVAILABLE:
        native.moments.sum_lists(values, offsets, sums)
    for i in np.flatnonzero(np.isnan(sums)).tolist():
        sums[i] = exact_sum(values[offsets[i] : offsets[i + 1]].tolist()) + 0.0
    return sums


class _Weights(NamedTuple):
    names: list[str]
    weights: list[float]
    skips: bool  # True if null and NaN count as nothing


@lru_cache(maxsize=64)
def _weights(text: str) -> _Weights | None:
    """Return the columns and weights of `dot([a, b], `[1, 2]`)` or of nandot; None for another expression."""
    from budget_cli.schema.expressions import syntax_of

    tree = syntax_of(text)
    if tree["type"] != "function_expression" or tree["value"] not in ("dot", "nandot"):
        return None
    columns, weights = tree["children"]
    if columns["type"] != "multi_select_list" or weights["type"] != "literal":
        return None
    names = [child["value"] for child in columns["children"] if child["type"] == "field"]
    if len(names) != len(columns["children"]) or not isinstance(weights["value"], list):
        return None
    if len(names) != len(weights["value"]) or not all(map(_is_weight, weights["value"])):
        return None
    return _Weights(names, list(map(float, weights["value"])), tree["value"] == "nandot")


def _is_weight(value: Any) -> bool:
    return isinstance(value, float) or (type(value) is int and abs(value) < 1 << 20)
