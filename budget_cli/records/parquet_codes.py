"""A column of Parquet → for each row, the number of its value among the distinct ones. Knows no fields.

Two rows have the same number if their values are the same: texts byte for byte, doubles bit for bit (0 and -0 differ in
a digest, and NaN is the same as itself), lists and structs member by member. No value becomes a Python object.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow
from numpy.typing import NDArray
from pyarrow import types

from budget_cli.ids import places_of_texts

Codes = NDArray[np.int64]


def numbered(columns: Sequence[pyarrow.Array], rows: int) -> Codes | None:
    """Number the distinct rows of these columns in order of first occurrence; None where a type is not compared."""
    found = [_codes(column) for column in columns]
    if any(codes is None for codes in found):
        return None
    if len(found) == 1 and found[0] is not None and _are_in_order(found[0]):
        return found[0]
    return _codes_of_rows(np.stack(found, axis=1)) if found else np.zeros(rows, dtype=np.int64)  # type: ignore[arg-type]


def _are_in_order(codes: Codes) -> bool:
    """Return True if the codes count from 0 in order of first occurrence."""
    highest = np.maximum.accumulate(codes)
    return bool(np.all(codes >= 0) and np.all(np.diff(highest, prepend=-1) <= 1))


def _codes(column: pyarrow.Array) -> Codes | None:
    """Return a number for each value, the same for the same value, and -1 for null."""
    codes = _codes_of_valid(column)
    if codes is not None and column.null_count and not types.is_null(column.type):
        bits = np.unpackbits(np.frombuffer(column.buffers()[0], dtype=np.uint8), bitorder="little")
        codes = np.where(bits[column.offset : column.offset + len(column)], codes, -1)
    return codes


def _codes_of_valid(column: pyarrow.Array) -> Codes | None:
    """Return what `_codes` does, and anything for null, where a column may hold any bytes."""
    kind, rows = column.type, len(column)
    if isinstance(kind, pyarrow.BaseExtensionType):
        return _codes(column.storage)
    if types.is_null(kind):
        return np.full(rows, -1)
    if types.is_dictionary(kind):
        values, indices = _codes(column.dictionary), column.indices
        if values is None or not values.size:
            return None if values is None else np.full(rows, -1)
        # Arrow names integers as numpy does; until pyarrow 23, to_pandas_dtype needs pandas
        places = np.frombuffer(indices.buffers()[1], dtype=str(indices.type))
        named: Codes = values[places[indices.offset : indices.offset + rows].clip(0, values.size - 1)]
        return named
    if types.is_struct(kind):
        members = [_codes(member) for member in column.flatten()]
        if any(codes is None for codes in members):
            return None
        return _codes_of_rows(np.stack(members, axis=1)) if members else np.zeros(rows, dtype=np.int64)  # type: ignore[arg-type]
    if types.is_list(kind) or types.is_large_list(kind):
        offsets = column.offsets.to_numpy().astype(np.int64)
        inner = _codes(column.values.slice(offsets[0], offsets[-1] - offsets[0]))
        return None if inner is None else places_of_texts(inner.tobytes(), (offsets[1:] - offsets[0]) * 8)
    if types.is_string(kind) or types.is_large_string(kind) or types.is_binary(kind) or types.is_large_binary(kind):
        _, ends, data = column.buffers()
        wide = types.is_large_string(kind) or types.is_large_binary(kind)
        offsets = np.frombuffer(ends, dtype=np.int64 if wide else np.int32)[column.offset : column.offset + rows + 1]
        if not rows or data is None:
            return np.zeros(rows, dtype=np.int64)
        texts = memoryview(data)[offsets[0] : offsets[-1]]
        return places_of_texts(texts, offsets[1:].astype(np.int64) - offsets[0])
    if types.is_boolean(kind):
        bits = np.unpackbits(np.frombuffer(column.buffers()[1], dtype=np.uint8), bitorder="little")
        return bits[column.offset : column.offset + rows].astype(np.int64)
    if types.is_primitive(kind) or types.is_decimal(kind):
        size = kind.bit_width // 8
        data = np.frombuffer(column.buffers()[1], dtype=np.uint8)
        return _codes_of_rows(data[column.offset * size : (column.offset + rows) * size].reshape(rows, size))
    return None


def _codes_of_rows(rows: NDArray[np.generic]) -> Codes:
    """Number the distinct rows of a matrix in order of first occurrence."""
    size = rows.shape[1] * rows.itemsize
    return places_of_texts(rows.tobytes(), np.arange(1, rows.shape[0] + 1, dtype=np.int64) * size)
