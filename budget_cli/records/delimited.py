"""A CSV or TSV file → its rows → columns and rejections, like those of the readers of lines.

The first row names the columns, and each other row is a record. A cell is what JSON would take it for: a number, true
or false (also as Python writes them); an empty one is null, any other a text. Where a field reads an id, a label or a
text, its column is read so: `007` and `1.0` are no numbers as ids. What is not as it must be is a rejection, with its
line.
"""

import csv
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import orjson

from budget_cli.errors import InputProblem
from budget_cli.records import jsonl
from budget_cli.records.columns import Decoded, Rejection
from budget_cli.schema.fields import EXTRA_PLURALS, EXTRAS, KINDS, PLURALS, Fields
from budget_cli.schema.paths import Expression
from budget_cli.sources import local as sources
from budget_cli.sources.blocks import Block
from budget_cli.sources.local import Kind, Source

UNIT_BYTES = 1 << 20
DELIMITERS = {Kind.CSV: ",", Kind.TSV: "\t"}
NUMBER = r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
INTEGER = r"-?[1-9][0-9]{0,17}|0"  # what every reader keeps exact
WORDS = {"true": b"true", "True": b"true", "false": b"false", "False": b"false"}
Cell = Callable[[str], bytes]


class Bad(NamedTuple):
    """A row that cannot be read."""

    line: int
    code: str
    message: str


class Rows(NamedTuple):
    """Rows that follow each other in a source; lines count from the first of them."""

    header: tuple[str, ...]
    cells: list[list[str]]
    lines: list[int]  # on which each row begins
    bad: list[Bad]
    blank: int
    total: int  # lines, some of which may be within a row
    bytes: int


def units(source: Source, max_line_bytes: int) -> Iterator[Rows]:
    """Cut a source into rows.

    Raises:
        InputProblem: it cannot be read to its end, or its header is none.
    """
    yield from _cut_into_parts(source, sources.pieces(source), max_line_bytes)


def _cut_into_parts(source: Source, pieces: Iterable[bytes], max_line_bytes: int) -> Iterator[Rows]:
    csv.field_size_limit(min(max_line_bytes, sys.maxsize))
    reading = _Reading(source, _split(source, pieces, max_line_bytes))
    header: tuple[str, ...] = ()
    part = Rows((), [], [], [], 0, 0, 0)
    start = 0  # lines and bytes before this part
    start_bytes = 0
    while (row := reading.next_row()) is not None:
        if not header:
            if row.cells:
                header = _header(source, row)
            elif row.problem:
                raise InputProblem(source.name, f"line {row.line}, which should name the columns: {row.problem}")
            continue
        bad = _bad(row, header, reading)
        if bad is not None:
            part.bad.append(bad._replace(line=bad.line - start))
        elif not row.cells:
            part = part._replace(blank=part.blank + 1)
        else:
            part.cells.append(row.cells)
            part.lines.append(row.line - start)
        if reading.bytes - start_bytes >= UNIT_BYTES:
            yield part._replace(header=header, total=reading.line - start, bytes=reading.bytes - start_bytes)
            part, start, start_bytes = Rows((), [], [], [], 0, 0, 0), reading.line, reading.bytes
    if reading.line > start:
        yield part._replace(header=header, total=reading.line - start, bytes=reading.bytes - start_bytes)


class _Row(NamedTuple):
    line: int  # on which it begins, from 1
    cells: list[str]  # none if it is blank, or cannot be read
    problem: str  # "": none


class _Reading:
    """Reads the rows of a source one by one, and knows the line of each."""

    def __init__(self, source: Source, lines: Iterable[bytes]) -> None:
        self.line = self.bytes = 0  # that were read
        self.is_torn = False  # True once a line without a newline was read
        self._source = source.name
        self._rows = csv.reader(self._decoded(lines), delimiter=DELIMITERS[source.kind], strict=True)

    def _decoded(self, lines: Iterable[bytes]) -> Iterator[str]:
        for line in lines:
            if not self.line:
                jsonl.require_utf8(self._source, line)
            start = line.removeprefix(jsonl.UTF8_BOM) if not self.line else line
            self.line += 1
            self.bytes += len(line)
            self.is_torn = not line.endswith(b"\n")
            yield start.decode("utf-8", "surrogateescape")

    def next_row(self) -> _Row | None:
        """Return the next row; None at the end."""
        begin = self.line + 1
        try:
            cells = next(self._rows, None)
        except csv.Error as error:
            return _Row(begin, [], self._explained(begin, str(error)))
        return None if cells is None else _Row(begin, cells, "")

    def _explained(self, begin: int, error: str) -> str:
        lines = self.line - begin
        if "unexpected end" in error or "field limit" in error:
            return f"a quote opens here and is not closed{f' in the {lines:,} lines after this one' if lines else ''}"
        if "expected after" in error:
            return "more text after the quote that ends a cell: a quote within quotes is written twice"
        if "new-line character" in error:
            return "a carriage return that ends no line: `tr '\\r' '\\n'` makes newlines of them"
        return error


def _split(source: Source, pieces: Iterable[bytes], most: int) -> Iterator[bytes]:
    """Split bytes into lines, each with its newline.

    Raises:
        InputProblem: a line has more than `most` bytes.
    """
    rest = b""
    for piece in pieces:
        lines = (rest + piece).split(b"\n")
        rest = lines.pop()
        for line in lines:
            yield line + b"\n"
        if len(rest) > most:
            raise InputProblem(source.name, f"a line of more than {most:,} bytes (--max-line-bytes)")
    if rest:
        yield rest


def _header(source: Source, row: _Row) -> tuple[str, ...]:
    names = [name.strip() for name in row.cells]
    shown = DELIMITERS[source.kind].join(names)[:60]
    if len(names) == 1 and ";" in names[0]:
        raise InputProblem(
            source.name, f"columns with semicolons between them, expected commas or tabs: {names[0][:60]}"
        )
    if any(re.fullmatch(NUMBER, name) for name in names):
        raise InputProblem(
            source.name, f"no header: expected the names of the columns on line {row.line}, found {shown}"
        )
    if twice := next((name for i, name in enumerate(names) if name in names[:i]), None):
        raise InputProblem(source.name, f"the header names the column {twice!r} twice")
    if any("\udc80" <= character <= "\udcff" or character == "\0" for character in shown):
        raise InputProblem(source.name, "the header is not UTF-8")
    return tuple(names)


def _bad(row: _Row, header: Sequence[str], reading: _Reading) -> Bad | None:
    """Return what is wrong with a row; None if it can be read."""
    is_last = reading.is_torn and reading.line == row.line
    if row.problem:
        return Bad(row.line, "truncated-tail", _cut(row.problem)) if is_last else Bad(row.line, "not-json", row.problem)
    if not row.cells:
        return None
    if len(row.cells) != len(header):
        message = (
            f"{len(row.cells)} cell{'' if len(row.cells) == 1 else 's'}, but the header names {len(header)} columns"
        )
        is_cut = is_last and len(row.cells) < len(header)
        return Bad(row.line, *(("truncated-tail", _cut(message)) if is_cut else ("unequal-lengths", message)))
    if [cell.strip() for cell in row.cells] == list(header):
        return Bad(row.line, "not-json", "the header again, where a record is expected: files were joined")
    text = "".join(row.cells)
    if text.isascii() and "\0" not in text:
        return None
    if "\0" in text:
        return Bad(row.line, "nul-bytes", "a NUL byte, as left by an interrupted write")
    byte = next((ord(each) - 0xDC00 for each in text if "\udc80" <= each <= "\udcff"), None)
    return None if byte is None else Bad(row.line, "invalid-utf8", f"byte 0x{byte:02x} is not UTF-8")


def _cut(reason: str) -> str:
    return f"the last line is cut off ({reason})"


# ---- rows as records


def head(source: Source, most: int, most_bytes: int) -> list[dict[str, object]]:
    """Return the first rows as records.

    Raises:
        InputProblem: as `units`.
    """
    start = sources.head(source, most_bytes)
    lines = start[: start.rfind(b"\n") + 1] if len(start) >= most_bytes else start
    found: list[dict[str, object]] = []
    for part in _cut_into_parts(source, [lines], len(start) + 1):
        found += [json.loads(line) for line in _json_lines(part, Fields())]
    return found[:most]


def decode(source: Source, part: Rows, fields: Fields, limits: jsonl.Limits) -> Decoded:
    """Decode rows, whose lines count from the first of them; from the first row, if those make the prompts."""
    data = b"".join(line + b"\n" for line in _json_lines(part, fields))
    read = jsonl.decode(Block(source.name, data, 0, len(data), first=False), fields, limits)
    lines = np.array([0, *part.lines], dtype=np.intp)
    if not fields.group_size:
        if fields.group == "line":
            read.columns.keys = [int(lines[int(key)]) for key in read.columns.keys]
        read.columns.line = lines[read.columns.line]
        read.left_out = [one._replace(line=int(lines[one.line])) for one in read.left_out]
        read.left_out_by = [(label, int(lines[line]), reason) for label, line, reason in read.left_out_by]
        read.lines = part.total
    bad = [Rejection("", one.line, None, one.code, None, one.message) for one in part.bad]
    found = [one._replace(line=int(lines[one.line]), column=None) for one in read.rejections] + bad
    read.rejections = []
    limits.keep.merge(read.rejections, sorted(found, key=lambda one: one.line))
    tally = read.tally
    tally.read += len(bad)
    tally.rejected += len(bad)
    tally.by_code.update(one.code for one in bad)
    tally.blank += part.blank
    return read


def records_at(part: Rows, fields: Fields, lines: Iterable[int]) -> dict[int, Any]:
    """Return the rows that begin on these lines, numbered as `decode` numbers them, as records."""
    numbers = range(1, len(part.cells) + 1) if fields.group_size else part.lines
    rows = {line: row for line, row in zip(numbers, part.cells, strict=True) if line in set(lines)}
    read = _json_lines(part._replace(cells=list(rows.values())), fields)
    return {line: orjson.loads(record) for line, record in zip(rows, read, strict=True)}


def _json_lines(part: Rows, fields: Fields) -> Iterator[bytes]:
    """Write each row as the JSON object that it stands for."""
    kinds = _kinds(fields)
    readers = [(b",%b:" % orjson.dumps(name), kinds.get(name, _value)) for name in part.header]
    for row in part.cells:
        members = b"".join(
            key + (read(cell) if cell else b"null") for (key, read), cell in zip(readers, row, strict=True)
        )
        yield b"{%b}" % members[1:]


def _kinds(fields: Fields) -> dict[str, Cell]:
    """Return how the cells of a column are read, where a field that is no number says so."""
    kinds: dict[str, Cell] = {}
    numbers: set[str] = set()
    several = {many: one for one, many in (PLURALS | EXTRA_PLURALS).items()}
    for name, place in fields.places:
        if isinstance(place, Expression) or len(place) != 1 or place[0].each:
            continue
        one = several.get(name, name)
        kind = KINDS.get(one) or EXTRAS.get(one)
        if kind in ("id", "label"):
            kinds.setdefault(place[0].key, _id)
        elif kind == "text":
            kinds.setdefault(place[0].key, _text)
        else:
            numbers.add(place[0].key)
    return {key: read for key, read in kinds.items() if key not in numbers}


def _value(cell: str) -> bytes:
    if re.fullmatch(NUMBER, cell):
        return cell.encode()
    return WORDS.get(cell) or _text(cell)


def _id(cell: str) -> bytes:
    return cell.encode() if re.fullmatch(INTEGER, cell) else _text(cell)


def _text(cell: str) -> bytes:
    return orjson.dumps(cell)
