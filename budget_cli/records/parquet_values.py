"""A column of Parquet → its values as those of JSON. Knows no files and no fields."""

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pyarrow
import pyarrow.types

from budget_cli.schema.json_values import Foreign, Invalid, type_name


def unreadable(row: Sequence[Any]) -> Invalid | None:
    return next((cell for cell in row if isinstance(cell, Invalid)), None)


def json_values(column: pyarrow.Array) -> list[Any]:
    """Convert the values of a column to those of JSON; one with a string that is not UTF-8 becomes an `Invalid`."""
    try:
        return _converted(column)
    except UnicodeDecodeError:
        return [_one_value(column.slice(i, 1)) for i in range(len(column))]


def _one_value(column: pyarrow.Array) -> Any:
    try:
        (value,) = _converted(column)
    except UnicodeDecodeError as error:
        return Invalid("invalid-utf8", f"byte 0x{error.object[error.start]:02x} is not UTF-8")
    return value


def _converted(column: pyarrow.Array) -> list[Any]:
    """Convert the values of a column, level by level, so that a strange type within others is only that member's.

    Raises:
        UnicodeDecodeError: a string is not UTF-8.
    """
    kind, types = column.type, pyarrow.types
    if isinstance(kind, pyarrow.BaseExtensionType):
        return _converted(column.storage)
    if types.is_dictionary(kind):
        values = _converted(column.dictionary)
        return [None if i is None else values[i] for i in column.indices.to_pylist()]
    if types.is_boolean(kind) or types.is_integer(kind) or types.is_null(kind) or is_float(kind) or _is_text(kind):
        plain: list[Any] = column.to_pylist()
        return plain
    if types.is_float16(kind):
        return [None if value is None else float(value) for value in column.to_pylist()]
    if types.is_decimal(kind):
        return [None if value is None else _number_of(value) for value in column.to_pylist()]
    if types.is_struct(kind):
        names, members = [field.name for field in kind], map(_converted, column.flatten())
        rows = zip(*members, strict=True) if names else iter([()] * len(column))
        return _where_valid(column, (dict(zip(names, row, strict=True)) for row in rows))
    if types.is_map(kind):
        keys, items = (_within(column, part) for part in (column.keys, column.items))
        pairs = zip(keys, items, strict=True)
        return _where_valid(column, ({_key(key): item for key, item in zip(*pair, strict=True)} for pair in pairs))
    if types.is_list(kind) or types.is_large_list(kind):
        return _where_valid(column, _within(column, column.values))
    if types.is_fixed_size_list(kind):
        return _converted(column.cast(pyarrow.list_(kind.value_type)))
    return _where_valid(column, (Foreign(str(kind)) for _ in range(len(column))))


def _where_valid(column: pyarrow.Array, values: Iterable[Any]) -> list[Any]:
    """Return the values, with None for those that are null."""
    if not column.null_count:
        return list(values)
    return [value if valid else None for value, valid in zip(values, column.is_valid().to_pylist(), strict=True)]


def _within(column: pyarrow.Array, members: pyarrow.Array) -> Iterator[list[Any]]:
    """Yield the members of each list of a column."""
    ends = column.offsets.to_pylist()
    first, last = (ends[0], ends[-1]) if ends else (0, 0)
    values = _converted(members.slice(first, last - first))
    return (values[begin - first : end - first] for begin, end in pairwise(ends))


def _key(key: Any) -> str:
    return key if isinstance(key, str) else type_name(key) if isinstance(key, Foreign) else str(key)


def _number_of(value: Decimal) -> int | float:
    whole = int(value)
    return whole if whole == value else float(value)


def _is_text(kind: pyarrow.DataType) -> bool:
    return bool(pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind) or str(kind) == "string_view")


def is_float(kind: pyarrow.DataType) -> bool:
    return bool(pyarrow.types.is_float32(kind) or pyarrow.types.is_float64(kind))
