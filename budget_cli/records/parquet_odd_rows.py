"""The columns of numbers of a batch → the rows in which a number is missing or invalid, to be read row by row.

What is not found here is found by the reader of columns, which then leaves the whole batch to the reader of rows: a row
that this calls odd without need costs time, and no row is read otherwise than it would be alone.
"""

from collections.abc import Mapping

import numpy as np
import pyarrow
from numpy.typing import NDArray
from pyarrow import types

from budget_cli.records.parquet_values import is_float

Rows = NDArray[np.bool_]


def odd_rows(columns: Mapping[str, pyarrow.Array], rows: int) -> Rows:
    """Return which rows have null, NaN, an infinity or an empty list, lists of different sizes, or no length.

    Args:
        columns: the column of each field that is read from one.
        rows: their size.
    """
    odd = np.zeros(rows, dtype=np.bool_)
    sizes: list[NDArray[np.int64]] = []
    for name, column in columns.items():
        if types.is_list(column.type) or types.is_large_list(column.type):
            offsets = column.offsets.to_numpy().astype(np.int64)
            inner = _odd_numbers(column.values.slice(offsets[0], offsets[-1] - offsets[0]))
            before = np.concatenate([[0], np.cumsum(inner)])[offsets - offsets[0]]
            sizes.append(np.diff(offsets))
            odd |= _is_null(column) | (sizes[-1] == 0) | (np.diff(before) > 0)
        else:
            odd |= _odd_numbers(column)
            if name == "response_length" and is_float(column.type):
                length = column.to_numpy(zero_copy_only=False)
                odd |= (length < 0) | (length != np.floor(length))
            elif name == "response_length" and types.is_integer(column.type):
                odd |= column.to_numpy(zero_copy_only=False) < 0
    for one in sizes[1:]:
        odd |= one != sizes[0]
    return odd


def _odd_numbers(column: pyarrow.Array) -> Rows:
    odd = _is_null(column)
    return odd | ~np.isfinite(column.to_numpy(zero_copy_only=False)) if is_float(column.type) else odd


def _is_null(column: pyarrow.Array) -> Rows:
    """Return which values are null. (`is_null` of an array imports pyarrow.compute.)"""
    if types.is_null(column.type) or not column.null_count:
        return np.full(len(column), types.is_null(column.type))
    bits = np.unpackbits(np.frombuffer(column.buffers()[0], dtype=np.uint8), bitorder="little")
    null: Rows = bits[column.offset : column.offset + len(column)] == 0
    return null
