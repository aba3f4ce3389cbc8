"""Rows of Parquet → JSON lines, or Parquet again with the terms of each row. Imported, with pyarrow, only for these.

What JSON has no type for: times become text, as Arrow writes them; NaN and infinities become null; columns of other
types, such as bytes, are refused, as there is no one way to write them.
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson
import pyarrow
from numpy.typing import NDArray
from pyarrow import compute, types
from pyarrow.parquet import ParquetWriter

from budget_cli.errors import InputProblem, UsageProblem
from budget_cli.records import parquet
from budget_cli.records.columns import Floats
from budget_cli.records.parquet_values import json_values
from budget_cli.schema.json_values import Invalid, type_name
from budget_cli.sources.local import Source

KEEPS = "a name that ends in .parquet keeps it"

# ---- as lines


def require_json(source: Source) -> None:
    """Refuse a file with a column that JSON cannot hold.

    Raises:
        UsageProblem: there is one.
        InputProblem: the file is damaged.
    """
    for field in parquet.schema_of(source):
        if (kind := _without_form(field.type)) is not None:
            raise UsageProblem(
                f"{source.name}: JSON has no form for the column {field.name}, of type {kind}: {KEEPS} (-o, --rejects)"
            )


def json_lines(source: Source, batch: pyarrow.RecordBatch, option: str) -> list[bytes]:
    """Return each row as a JSON object, without a newline; `option` names the output, for messages.

    Raises:
        InputProblem: a text is not UTF-8, a number is beyond 64 bits, or a time zone is not known here.
    """
    names = batch.schema.names
    try:
        cells = [json_values(_times_as_text(batch.column(i))) for i in range(len(names))]
        return [orjson.dumps(dict(zip(names, row, strict=True)), default=_refused) for row in zip(*cells, strict=True)]
    except (orjson.JSONEncodeError, pyarrow.ArrowException) as error:
        why = str(error.__cause__ or error).splitlines()[0]
        raise InputProblem(source.name, f"a value that JSON cannot hold ({why}): for {option}, {KEEPS}") from None


def _refused(value: Any) -> None:
    raise ValueError(value.message if isinstance(value, Invalid) else f"a value of type {type_name(value)}")


def _without_form(kind: pyarrow.DataType) -> pyarrow.DataType | None:
    """Return the first type within this one that has no form in JSON; None if there is none."""
    if isinstance(kind, pyarrow.BaseExtensionType):
        return _without_form(kind.storage_type)
    if types.is_dictionary(kind):
        return _without_form(kind.value_type)
    if types.is_nested(kind):
        return next((inner for i in range(kind.num_fields) if (inner := _without_form(kind.field(i).type))), None)
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind):
        return kind
    if types.is_duration(kind) or types.is_interval(kind) or str(kind) == "binary_view":
        return kind
    return None


def _times_as_text(column: pyarrow.Array) -> pyarrow.Array:
    kind = _with_texts(column.type)
    return column if kind is column.type else compute.cast(column, kind)


def _with_texts(kind: pyarrow.DataType) -> pyarrow.DataType:
    """Return the type with text in place of times; the same object if it has no times."""
    if types.is_timestamp(kind) or types.is_date(kind) or types.is_time(kind):
        return pyarrow.string()
    if types.is_struct(kind):
        fields = [kind.field(i).with_type(_with_texts(kind.field(i).type)) for i in range(kind.num_fields)]
        return pyarrow.struct(fields) if _differ(kind, fields) else kind
    if types.is_map(kind):
        fields = [kind.key_field, kind.item_field]
        fields = [field.with_type(_with_texts(field.type)) for field in fields]
        differ = (fields[0].type, fields[1].type) != (kind.key_type, kind.item_type)
        return pyarrow.map_(*fields) if differ else kind
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        inner = _with_texts(kind.value_type)
        make = pyarrow.large_list if types.is_large_list(kind) else pyarrow.list_
        return kind if inner is kind.value_type or inner == kind.value_type else make(inner)
    return kind


def _differ(kind: pyarrow.DataType, fields: Sequence[pyarrow.Field]) -> bool:
    return any(field.type != kind.field(i).type for i, field in enumerate(fields))


# ---- as Parquet


def require_one_schema(found: Sequence[Source]) -> None:
    """Refuse files that one file of Parquet cannot hold together.

    Raises:
        UsageProblem: they have other columns than the first, or other types.
        InputProblem: a file is damaged.
    """
    first = parquet.schema_of(found[0])
    for source in found[1:]:
        if not parquet.schema_of(source).equals(first):
            raise UsageProblem(
                f"{source.name}: has other columns than {found[0].name}, so one file of Parquet cannot hold both:"
                " annotate them one by one"
            )


def schema_with(schema: pyarrow.Schema, name: str, members: Sequence[str]) -> pyarrow.Schema:
    """Return the schema with a column of this name, of one number for each of these members."""
    kind = pyarrow.struct([(member, pyarrow.float64()) for member in members])
    at = schema.get_field_index(name)
    field = pyarrow.field(name, kind)
    return schema.append(field) if at < 0 else schema.set(at, field)


def with_terms(
    batch: pyarrow.RecordBatch, name: str, terms: Mapping[str, Floats], there: NDArray[np.bool_]
) -> pyarrow.RecordBatch:
    """Return the rows with a column of their terms.

    Args:
        batch: the rows.
        name: of the column; one of this name is replaced.
        terms: by name, one number for each row; what is not finite is null.
        there: which rows have terms; for the others, the column is null.
    """
    members = [pyarrow.array(values + 0.0, mask=~(np.isfinite(values) & there)) for values in terms.values()]
    column = pyarrow.StructArray.from_arrays(members, list(terms), mask=pyarrow.array(~there))
    schema = schema_with(batch.schema, name, list(terms))
    columns = dict(zip(batch.schema.names, batch.columns, strict=True)) | {name: column}
    return pyarrow.RecordBatch.from_arrays([columns[each] for each in schema.names], schema=schema)


def table(batches: Sequence[pyarrow.RecordBatch], schema: pyarrow.Schema) -> pyarrow.Table:
    """Return the rows of all batches, in columns of this schema."""
    return pyarrow.Table.from_batches([batch.cast(schema) for batch in batches], schema=schema)


class Encoder:
    """Encodes a file of Parquet piece by piece, a row group for each table."""

    def __init__(self, schema: pyarrow.Schema) -> None:
        """Begin the file."""
        self._pieces = _Pieces()
        self._writer = ParquetWriter(pyarrow.PythonFile(self._pieces, mode="w"), schema)

    def add(self, table: pyarrow.Table) -> bytes:
        """Return the next bytes of the file."""
        if table.num_rows:
            self._writer.write_table(table, row_group_size=table.num_rows)
        return self._pieces.taken()

    def finish(self) -> bytes:
        """Return the last bytes of the file."""
        self._writer.close()
        return self._pieces.taken()


class _Pieces(io.RawIOBase):
    """A file that keeps what is written until it is taken."""

    def __init__(self) -> None:
        self._held: list[bytes] = []
        self._at = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._held.append(bytes(data))
        self._at += len(data)
        return len(data)

    def tell(self) -> int:
        return self._at

    def taken(self) -> bytes:
        held, self._held = self._held, []
        return b"".join(held)
