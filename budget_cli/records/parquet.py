"""A Parquet file → its row groups → columns and rejections, like those of the readers of lines.

One row is one record, and row numbers replace line numbers. A batch in which every row is a plain, valid response is
decoded as columns; rows without a number go to the reference reader, which knows the reasons, and so does a batch with
anything else that is unexpected. Imported, with pyarrow, only if there is such a file.
"""

import math
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow
import pyarrow.types
from numpy.typing import NDArray
from pyarrow.parquet import ParquetFile

from budget_cli.errors import InputProblem
from budget_cli.ids import Ids, Key
from budget_cli.records.columns import (
    PLACES_OF_EACH,
    Decoded,
    ExtraColumn,
    Floats,
    LabelColumn,
    LeftOut,
    LengthFrom,
    RejectionLimit,
    ResponseColumns,
    Tally,
    TextColumn,
    concatenate,
    extra_column,
    sort_by_line,
)
from budget_cli.records.parquet_odd_rows import odd_rows
from budget_cli.records.parquet_places import Distinct, Places, distinct_values, sums_of_lists
from budget_cli.records.parquet_values import is_float, json_values, unreadable
from budget_cli.records.record import composite, read_extra
from budget_cli.records.reference import ReferenceReader
from budget_cli.records.values import MAX_EXACT, finite_number, prompt_id
from budget_cli.schema.fields import EXTRAS, KINDS, PAIRS, WHERE, Fields, compared, names_for
from budget_cli.schema.lookup import MISSING, root_keys
from budget_cli.schema.paths import Expression, Path, Place
from budget_cli.sources import local as sources
from budget_cli.sources.local import Source

if TYPE_CHECKING:
    from budget_cli.sources.remote_file import RemoteFile

BATCH_BYTES = 1 << 22  # encoded bytes of the columns that are read
BATCH_ROWS = (64, 1 << 16)  # minimum and maximum
DAMAGED = "damaged or cut-off Parquet: none of it was read"
NO_TOKENS = np.zeros(0)
WORTH_A_FILTER = 1000  # rows: for fewer, pyarrow.compute takes longer to import than the reference reader to read them
READ_BYTES = 1 << 18  # of one column at a time, or pyarrow would hold the whole column of a row group


class RowGroup(NamedTuple):
    """A part of a file that can be read by itself."""

    number: int
    rows: int
    bytes: int  # on disk, about


def row_groups(source: Source) -> list[RowGroup]:
    """List the row groups of a file, in order.

    Raises:
        InputProblem: the file is cut off or damaged.
    """
    with _damage_as_problem(source, DAMAGED):
        meta = _file(source).metadata
        groups = [meta.row_group(i) for i in range(meta.num_row_groups)]
        if sum(group.num_rows for group in groups) != meta.num_rows:
            raise ValueError("its row groups do not have as many rows as the file")
        sizes = [max(0, int(group.total_byte_size)) for group in groups]  # decompressed
        stored = (source.size or 0) / max(1, sum(sizes))
        return [RowGroup(i, group.num_rows, int(sizes[i] * stored)) for i, group in enumerate(groups)]


def decode(source: Source, group: RowGroup, fields: Fields, keep: RejectionLimit) -> Iterator[Decoded]:
    """Decode a row group batch by batch; row numbers count from its first row.

    The number of rows in a batch depends only on the file and the fields.

    Args:
        source: the file.
        group: which of its row groups.
        fields: the places of fields; other columns are not read.
        keep: which rejections of a batch are kept in full.

    Raises:
        InputProblem: the row group cannot be read.
    """
    every = schema_of(source).names
    before = 0
    for batch in _whole(source, group, _names_to_read(source, fields)):
        yield _decode_batch(batch, every, fields, before, keep)
        before += batch.num_rows


def decode_with_rows(
    source: Source, group: RowGroup, fields: Fields, keep: RejectionLimit
) -> Iterator[tuple[pyarrow.RecordBatch, Decoded]]:
    """Yield the batches of a row group with all columns, and what `decode` finds in each; rows count from its first.

    Raises:
        InputProblem: as `decode`, or two columns have one name.
    """
    every = schema_of(source).names
    _require_once(source, every, every)
    read = _names_to_read(source, fields)
    for batch in _whole(source, group, every):
        needed = batch.select(read)
        yield batch, _decode_batch(needed, every, fields, 0, keep)


def schema_of(source: Source) -> pyarrow.Schema:
    """Return the columns of a file.

    Raises:
        InputProblem: the file is cut off or damaged.
    """
    return _file(source).schema_arrow


def _names_to_read(source: Source, fields: Fields) -> list[str]:
    every = schema_of(source).names
    needed = _columns_to_read(fields)
    read = [name for name in dict.fromkeys(every) if needed is None or name in needed]
    read = read or every[:1]  # without a column, a batch has no rows
    _require_once(source, every, read)
    return read


def _whole(source: Source, group: RowGroup, names: Sequence[str]) -> Iterator[pyarrow.RecordBatch]:
    """Yield the batches of a row group, as many rows as its file says."""
    damaged = f"row group {group.number + 1} of the Parquet file is damaged; the rows before it were read"
    rows = 0
    for batch in _batches(source, [group.number], names, damaged):
        yield batch
        rows += batch.num_rows
    if rows != group.rows:
        raise InputProblem(source.name, f"{damaged} (it has {rows:,} rows, and its end says {group.rows:,})")


def _require_once(source: Source, every: Sequence[str], read: Sequence[str]) -> None:
    """Refuse a file that has two columns of one name, of which nobody can tell which is meant.

    Raises:
        InputProblem: one of the columns to read is there twice.
    """
    for name in read:
        if (times := every.count(name)) > 1:
            raise InputProblem(source.name, f'{times} columns are named "{name}": give each a name of its own')


def head(source: Source, most: int, most_bytes: int) -> list[dict[str, Any]]:
    """Return the first rows as records, with all columns.

    Raises:
        InputProblem: as `row_groups`.
    """
    file = _file(source)
    found: list[dict[str, Any]] = []
    size = 0
    groups = list(range(file.metadata.num_row_groups))
    for batch in _batches(source, groups, file.schema_arrow.names, DAMAGED, BATCH_ROWS[0]):
        names = batch.schema.names
        cells = [json_values(batch.column(i)) for i in range(len(names))]
        found += [dict(zip(names, row, strict=True)) for row in zip(*cells, strict=True) if not unreadable(row)]
        size += batch.nbytes
        if len(found) >= most or size >= most_bytes:
            break
    return found[:most]


def records_at(source: Source, group: RowGroup, rows: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Return these rows of a row group, numbered from 1, as records with all columns.

    Raises:
        InputProblem: they cannot be read.
    """
    wanted, found, before = sorted(set(rows)), dict[int, dict[str, Any]](), 0
    if not wanted:
        return found
    for batch in _batches(source, [group.number], schema_of(source).names, DAMAGED):
        here = [row for row in wanted if before < row <= before + batch.num_rows]
        for row in here:
            cells = [json_values(column.slice(row - before - 1, 1))[0] for column in batch.columns]
            if not unreadable(cells):
                found[row] = dict(zip(batch.schema.names, cells, strict=True))
        before += batch.num_rows
    return found


# ---- the file


class Opened(NamedTuple):
    """A file, and if it is elsewhere, the ranges of it."""

    file: ParquetFile
    ranges: "RemoteFile | None"


def _file(source: Source) -> ParquetFile:
    return _of_thread(source).file


def _of_thread(source: Source) -> Opened:
    return _opened(source, os.getpid(), threading.get_ident())  # a ParquetFile must not be read by two threads at once


@lru_cache(maxsize=32)
def _opened(source: Source, process: int, thread: int) -> Opened:
    """Open the file once per worker, and check that it is the one that was found."""
    ranges = None
    if source.remote is not None:
        from budget_cli.sources.remote_file import RemoteFile  # of an extra

        ranges = RemoteFile(source.remote)
    with _damage_as_problem(source, DAMAGED):
        where = source.path if ranges is None else pyarrow.PythonFile(ranges, mode="r")
        # pre_buffer would hold a whole row group
        file = ParquetFile(where, buffer_size=READ_BYTES, pre_buffer=False, page_checksum_verification=True)
        "".join(file.schema_arrow.names).encode()  # a name that is not UTF-8 is damage, too
    sources.require_unchanged(source)
    return Opened(file, ranges)


@contextmanager
def _damage_as_problem(source: Source, what: str) -> Iterator[None]:
    """Turn what pyarrow raises on damaged data into an InputProblem of one line."""
    try:
        yield
    except (pyarrow.ArrowException, OSError, ValueError, ArithmeticError, LookupError, MemoryError, TypeError) as error:
        sources.require_unchanged(source)  # a change explains it better
        reason = str(error).strip().splitlines()[0][:120] if str(error).strip() else type(error).__name__
        raise InputProblem(source.name, f"{what} ({reason})") from None


def _batches(
    source: Source, groups: list[int], names: Sequence[str], damaged: str, rows: int = 0
) -> Iterator[pyarrow.RecordBatch]:
    """Yield the batches of these row groups; `rows` each, or as many as take about BATCH_BYTES.

    Raises:
        InputProblem: with the message `damaged`, if a batch cannot be read.
    """
    file, ranges = _of_thread(source)
    try:
        with _damage_as_problem(source, damaged):
            rows = rows or _batch_rows(file, ranges, groups[0], names)
            # one thread, since row groups are read in parallel already, and a process with threads cannot be forked
            batches = file.iter_batches(rows, groups, list(names), use_threads=False)
        while True:
            with _damage_as_problem(source, damaged):
                batch = next(batches, None)
            if batch is None:
                return
            yield batch
    finally:
        if ranges is not None:
            ranges.expect(())


def _batch_rows(file: ParquetFile, ranges: "RemoteFile | None", group: int, names: Sequence[str]) -> int:
    """Return the number of rows for which these columns take about BATCH_BYTES; announce the columns to `ranges`."""
    # A reader checks what it reads of a column before its first row. Asked for the size of a column whose description
    # is damaged, pyarrow would end the process.
    next(file.iter_batches(1, [group], list(names), use_threads=False), None)
    meta = file.metadata.row_group(group)
    columns = [meta.column(i) for i in range(meta.num_columns) if file.schema.column(i).path.split(".")[0] in names]
    if ranges is not None:
        starts = [min(filter(None, (c.dictionary_page_offset, c.data_page_offset)), default=0) for c in columns]
        ranges.expect((a, a + column.total_compressed_size) for a, column in zip(starts, columns, strict=True))
    size = sum(int(column.total_uncompressed_size) for column in columns)
    least, most = BATCH_ROWS
    return max(least, min(most, BATCH_BYTES * int(meta.num_rows) // max(size, 1)))


def _columns_to_read(fields: Fields) -> set[str] | None:
    """Return the columns in which fields are; None for all of them."""
    if fields.records:
        return None
    names: set[str] = set()
    read = (*KINDS, *fields.extras, *(["response_text"] if fields.tokenizer is not None else []))
    mapped = [fields.paths[name] for field in read for name in names_for(field)]
    for place in (*mapped, *(place for _, place in fields.leave_out)):
        roots = root_keys(place)
        if not roots:
            return None
        names |= set(roots)
    return names


# ---- a batch, row by row


def _decode_batch(
    batch: pyarrow.RecordBatch, every: Sequence[str], fields: Fields, before: int, keep: RejectionLimit
) -> Decoded:
    """Decode a batch that has `before` rows before it; `every` lists the columns of the file, for messages."""
    quick = _decode_by_column(batch, fields, before) or _decode_apart(batch, every, fields, before, keep)
    return quick or _decode_by_row(batch, every, fields, range(before + 1, before + batch.num_rows + 1), keep)


def _decode_apart(
    batch: pyarrow.RecordBatch, every: Sequence[str], fields: Fields, before: int, keep: RejectionLimit
) -> Decoded | None:
    """Decode the rows without a number row by row, and the others by column; None if that is not all there is to it."""
    if fields.records or fields.group or fields.leave_out or batch.num_rows < WORTH_A_FILTER:
        return None
    places = [(name, fields.paths[name]) for name in ("reward", "log_prob", "old_log_prob", "response_length")]
    try:
        plain = {name: _column(batch, place) for name, place in places if not isinstance(place, Expression)}
    except LookupError:
        return None
    odd = odd_rows({name: column for name, column in plain.items() if column is not None}, batch.num_rows)
    if not odd.any() or odd.all():
        return None
    rest = _decode_by_column(batch.filter(pyarrow.array(~odd)), fields, 0)
    if rest is None:
        return None
    rows = before + 1 + np.flatnonzero(odd)
    found = _decode_by_row(batch.filter(pyarrow.array(odd)), every, fields, rows.tolist(), keep)
    ids = Ids()
    rest.columns.line = before + 1 + np.flatnonzero(~odd)
    for part in (rest.columns, found.columns):
        part.codes = ids.places(part.keys)[part.codes]
    found.tally.merge(rest.tally)
    columns = sort_by_line(concatenate([rest.columns, found.columns], ids))
    return replace(found, columns=columns, lines=batch.num_rows)


def _decode_by_row(
    batch: pyarrow.RecordBatch, every: Sequence[str], fields: Fields, numbers: Sequence[int], keep: RejectionLimit
) -> Decoded:
    """Read each row as a record; `numbers` has the number of each, `every` the columns of the file, for messages."""
    reader = ReferenceReader(fields, 0, keep)
    names = batch.schema.names
    cells = [json_values(batch.column(i)) for i in range(len(names))]
    unread = dict.fromkeys(every)
    for i, number in enumerate(numbers):
        row = [column[i] for column in cells]
        reader.read_row(number, unreadable(row) or {**unread, **dict(zip(names, row, strict=True))})
    found = reader.columns(Ids())
    reader.tally.length_origins = found.length_origins(fields.tokenizer)
    return Decoded(found, reader.tally, batch.num_rows, reader.rejections, reader.left_out, reader.left_out_by)


# ---- a batch, column by column


def _decode_by_column(batch: pyarrow.RecordBatch, fields: Fields, before: int) -> Decoded | None:
    """Decode a batch if every row is a plain, valid response; None if anything is unexpected."""
    if fields.records or not batch.num_rows:
        return None
    arrays = set(root_keys(fields.paths["rewards"]))
    if fields.scored_by == "rewards" or (fields.scored_by == "" and (not arrays or arrays & set(batch.schema.names))):
        return None
    places = Places(batch)
    left_out = _left_out(places, batch.num_rows, fields)
    if left_out is None or (left_out >= 0).any():
        return None if left_out is None else _decode_the_rest(batch, left_out, fields, before)
    found: dict[str, Any] = {}
    for name in (*KINDS, *fields.extras):
        try:
            found[name] = _found(batch, places, fields.paths[name], KINDS.get(name) or EXTRAS[name])
        except LookupError:
            return None
    ids = _numbered(before, batch.num_rows) if fields.group else _ids(found["prompt_id"], fields.paths["prompt_id"])
    reward = _numbers(found["reward"])
    log_prob, old_log_prob = _log_probs(found["log_prob"]), _log_probs(found["old_log_prob"])
    if ids is None or reward is None or log_prob is None or old_log_prob is None:
        return None
    if fields.needs_log_probs and (log_prob.sums is None or old_log_prob.sums is None):
        return None
    tokens = log_prob.tokens if log_prob.tokens is not None else old_log_prob.tokens
    if tokens is not None and old_log_prob.tokens is not None and not np.array_equal(tokens, old_log_prob.tokens):
        return None
    length = tokens
    if found["response_length"] is not None:
        length = _numbers(found["response_length"])
        if length is None or not np.all((length >= 0) & (length < MAX_EXACT) & (length == np.floor(length))):
            return None
    length_from = None
    if length is None and fields.tokenizer is not None:
        texts = _texts(batch, fields)
        if texts is None:
            return None
        length = np.array(fields.tokenizer.count(texts), dtype=np.float64)
        length_from = np.full(length.size, LengthFrom.TOKENIZER, dtype=np.uint8)
    elif length is tokens and tokens is not None:
        length_from = np.full(tokens.size, LengthFrom.TOKENS, dtype=np.uint8)
    if fields.needs_length and length is None:
        return None
    keys, codes = ids
    rows = batch.num_rows
    extras: dict[str, ExtraColumn] = {}
    under = {"log_prob": log_prob, "old_log_prob": old_log_prob}
    for name in fields.extras:
        if EXTRAS[name] == "log_prob":
            read = _log_probs(found[name])
            if read is None or not _have_as_many(log_prob, read):
                return None
            under[name] = read
            extras[name] = np.full(rows, np.nan) if read.sums is None else read.sums
            continue
        made = _extra(found[name], name, fields, rows)
        if made is None:
            return None
        extras[name] = made
    for pair in fields.pairs:
        one, other = (under[name] for name in PAIRS[pair])
        from budget_cli.records.token_comparison import compare_tokens, spread  # which only the checks need

        is_listed = np.full(rows, one.tokens is not None and other.tokens is not None)
        counts = one.tokens.astype(np.int64) if one.tokens is not None and is_listed.all() else np.zeros(0, np.int64)
        columns_of_pair = spread(compare_tokens(counts, one.each, other.each, fields.bins_tokens), is_listed)
        extras |= {compared(pair, what): column for what, column in columns_of_pair.items()}
    line = np.arange(before + 1, before + rows + 1)
    optionals = length, log_prob.sums, old_log_prob.sums, tokens
    columns = ResponseColumns(keys, codes, line, reward, *optionals, extras, length_from)
    return Decoded(columns, Tally(rows, rows, length_origins=columns.length_origins(fields.tokenizer)), rows, [])


def _texts(batch: pyarrow.RecordBatch, fields: Fields) -> list[str] | None:
    """Return the text of every response if they are a column of strings; None if a closer look is needed."""
    place = fields.paths["response_text"]
    if isinstance(place, Expression) or len(place) > 1 or place[0].each:
        return None
    at = batch.schema.get_field_index(place[0].key)
    column = None if at < 0 else batch.column(at)
    if column is None or column.null_count:
        return None
    if not (pyarrow.types.is_string(column.type) or pyarrow.types.is_large_string(column.type)):
        return None
    values = json_values(column)
    return None if unreadable(values) else values


class _LogProbs(NamedTuple):
    """Sums over each response (nats), and the numbers of tokens if they came as lists."""

    sums: Floats | None
    tokens: Floats | None
    each: Floats  # of every token; none if they came as numbers


def _have_as_many(one: _LogProbs, other: _LogProbs) -> bool:
    """True unless both are lists and some are not of as many tokens."""
    return one.tokens is None or other.tokens is None or np.array_equal(one.tokens, other.tokens)


def _left_out(places: Places, rows: int, fields: Fields) -> NDArray[np.int64] | None:
    """Return for each row the first reason for which it is left out, or -1; None if that takes a closer look."""
    first = np.full(rows, -1)
    for at, (reason, place) in enumerate(fields.leave_out):
        found = places.distinct(place)
        if found is None:
            return None
        if any(isinstance(value, (int, float, str)) and not isinstance(value, bool) for value in found.values):
            return None  # neither true nor false
        out = [(value is not MISSING and bool(value)) is not (reason == WHERE) for value in found.values]
        first[(first < 0) & np.array(out)[found.codes]] = at
    return first


def _decode_the_rest(
    batch: pyarrow.RecordBatch, left_out: NDArray[np.int64], fields: Fields, before: int
) -> Decoded | None:
    """Decode the rows that are not left out; None if anything is unexpected, or the rows are few."""
    if fields.by or fields.group or fields.skip_unscored or batch.num_rows < WORTH_A_FILTER:
        return None
    stays = left_out < 0
    rest = _decode_by_column(batch.filter(pyarrow.array(stays)), replace(fields, leave_out=()), 0)
    if rest is None:
        return None
    rest.columns.line = before + 1 + np.flatnonzero(stays)
    rest.tally.read = batch.num_rows
    places: list[LeftOut] = []
    for at in np.flatnonzero(~stays).tolist():
        reason = fields.leave_out[left_out[at]][0]
        if rest.tally.left_out[reason] < PLACES_OF_EACH:
            places.append(LeftOut("", before + at + 1, reason))
        rest.tally.left_out[reason] += 1
    return replace(rest, lines=batch.num_rows, left_out=places)


def _found(
    batch: pyarrow.RecordBatch, places: Places, place: Place, kind: str
) -> pyarrow.Array | Distinct | Floats | None:
    """Return what stands at a place: a column, distinct values, numbers, or nothing.

    Raises:
        LookupError: it takes a closer look, row by row.
    """
    if isinstance(place, Expression):
        weighted = places.weighted(place) if kind == "number" else None
        found = places.distinct(place) if weighted is None else weighted
        if found is None:
            raise LookupError
        return None if isinstance(found, Distinct) and found.is_missing else found
    column = _column(batch, place)
    if column is None or kind not in ("id", "label", "text") or pyarrow.types.is_null(column.type):
        return column
    found = distinct_values(column)
    if found is None:
        raise LookupError
    return None if found.is_missing and kind != "id" else found


def _column(batch: pyarrow.RecordBatch, place: Path) -> pyarrow.Array | None:
    """Return the column at a path; None if there is none.

    Raises:
        LookupError: it takes a closer look, row by row.
    """
    if any(step.each for step in place):
        raise LookupError
    times = batch.schema.names.count(place[0].key)
    if times > 1:  # the name is ambiguous
        raise LookupError
    column = batch.column(place[0].key) if times else None
    for step in place[1:]:
        if column is None or pyarrow.types.is_null(column.type):
            return None
        if not pyarrow.types.is_struct(column.type) or len(column.type.get_all_field_indices(step.key)) > 1:
            raise LookupError
        at = column.type.get_field_index(step.key)
        column = column.flatten()[at] if at >= 0 else None
    return column


def _numbered(before: int, rows: int) -> tuple[Sequence[Key], Any]:
    """Make each row a prompt of its own."""
    return _places_of(range(before + 1, before + rows + 1))


def _places_of(keys: Sequence[Key]) -> tuple[Sequence[Key], Any]:
    ids = Ids()
    codes = ids.places(keys)
    return ids.all(), codes


def _ids(found: Any, place: Place) -> tuple[Sequence[Key], Any] | None:
    """Return the distinct ids, in order of first occurrence, and the index of that of each row."""
    if found is None:
        return None
    if not isinstance(found, Distinct):
        return None  # nothing but null
    if set(map(type, found.values)) == {str} and not isinstance(place, Expression):
        return found.values, found.codes
    values = found.checked(lambda value: prompt_id(composite(value) if isinstance(place, Expression) else value))
    if values is None:
        return None
    distinct, codes = _places_of(values)
    return distinct, codes[found.codes]


def _extra(found: Any, name: str, fields: Fields, rows: int) -> ExtraColumn | None:
    """Return the column of an optional field; None if it takes a closer look, row by row."""
    if found is None or (isinstance(found, pyarrow.Array) and pyarrow.types.is_null(found.type)):
        return extra_column(EXTRAS[name], [None] * rows)
    if isinstance(found, Distinct):
        values = [None if value is MISSING else read_extra(value, name, fields) for value in found.values]
        return _at(extra_column(EXTRAS[name], values), found.codes)
    if isinstance(found, pyarrow.Array) and found.null_count:
        found = found.fill_null(math.nan) if is_float(found.type) else None
    if isinstance(found, pyarrow.Array) and is_float(found.type):
        numbers: Floats = found.to_numpy().astype(np.float64)
        return np.where(np.isfinite(numbers), numbers, np.nan)
    return _numbers(found)


def _at(column: ExtraColumn, codes: NDArray[np.int64]) -> ExtraColumn:
    """Return the column of rows that have these places in another column."""
    if isinstance(column, LabelColumn):
        return LabelColumn(column.values, column.codes[codes])
    if isinstance(column, TextColumn):
        return TextColumn(column.digest[codes], column.characters[codes])
    return column[codes]


def _numbers(column: Any) -> Floats | None:
    if isinstance(column, Distinct):
        checked = column.checked(finite_number)
        return None if checked is None else np.array(checked, dtype=np.float64)[column.codes]
    if isinstance(column, np.ndarray):
        return column if np.isfinite(column).all() else None
    if column is None or column.null_count:
        return None
    if not pyarrow.types.is_integer(column.type) and not is_float(column.type):
        return None
    numbers: Floats = column.to_numpy().astype(np.float64, copy=False)
    return numbers if np.isfinite(numbers).all() else None


def _log_probs(column: Any) -> _LogProbs | None:
    if column is None:
        return _LogProbs(None, None, NO_TOKENS)
    lists = isinstance(column, pyarrow.Array) and (
        pyarrow.types.is_list(column.type) or pyarrow.types.is_large_list(column.type)
    )
    if not lists:
        sums = _numbers(column)
        return None if sums is None else _LogProbs(sums, None, NO_TOKENS)
    offsets = column.offsets.to_numpy()
    values = _numbers(column.values.slice(offsets[0], offsets[-1] - offsets[0]))
    counts = np.diff(offsets)
    if column.null_count or values is None or not counts.all():
        return None
    sums = sums_of_lists(values, (offsets - offsets[0]).astype(np.int64))
    return _LogProbs(sums, counts.astype(np.float64), values) if np.isfinite(sums).all() else None
