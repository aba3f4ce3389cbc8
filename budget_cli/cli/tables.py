"""Names and rows of an answer → a file of Parquet. Imported, with pyarrow, only for these."""

from collections.abc import Iterable, Sequence
from typing import Any

from budget_cli.errors import UsageProblem
from budget_cli.sources.extras import install

try:
    import pyarrow as pa
    from pyarrow import parquet as files
except ImportError:
    raise UsageProblem(f"--format parquet needs another package: {install('parquet')}") from None


def parquet(names: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """Return a file with a column for each name: int64, double, bool or string; null stands for what does not exist."""
    columns = [*zip(*rows, strict=True)] or [()] * len(names)
    return encoded(pa.table([_column(column) for column in columns], list(names)))


def encoded(table: pa.Table) -> bytes:
    """Return a table as a file."""
    written = pa.BufferOutputStream()
    files.write_table(table, written)
    return bytes(written.getvalue())


def _column(values: Sequence[Any]) -> Any:
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float}:
        try:
            return pa.array(values, pa.int64() if kinds == {int} else pa.float64())
        except (OverflowError, pa.ArrowInvalid):  # an id beyond 64 bits
            pass
    elif kinds == {bool}:
        return pa.array(values, pa.bool_())
    return pa.array([None if value is None else str(value) for value in values], pa.string())
