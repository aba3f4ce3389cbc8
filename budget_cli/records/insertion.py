"""A line and one value per sample → the line with each value as a member of its sample, every other byte unchanged.

Works on the bytes of a valid JSON line: it finds strings and brackets, ignores numbers, and decodes and encodes
nothing. Knows where samples lie in a line, and nothing about the values.
"""

import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import orjson

from budget_cli.errors import UsageProblem
from budget_cli.schema.fields import Fields
from budget_cli.schema.lookup import TABLE
from budget_cli.schema.paths import Expression

if TYPE_CHECKING:
    from budget_cli.schema.containers import Container

Span = tuple[int, int]  # of an object: the offset of its first byte, and the one after its last
STRING_OR_BRACKET = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[][{}]', re.DOTALL)
WHITESPACE = b" \t\r\n"


class Insertion:
    """Inserts a member of one name into each sample of a line, or replaces its value."""

    def __init__(self, name: str, fields: Fields, source: str = "") -> None:
        """Prepare to insert `name` into lines such as those of a source, whose name is for messages.

        Raises:
            UsageProblem: a line is a table, or an expression finds its samples, so their bytes are not known.
        """
        self._quoted = orjson.dumps(name)
        self._name, self._named, self._added = name, self._quoted + b":", b"," + self._quoted + b":"
        # as this class writes it: the last member of the line, whose value holds no braces
        self._as_left = re.compile(b"," + re.escape(self._quoted) + rb":(\{[^{}]*\})\}[ \t\r\n]*\Z")
        self._ways = _ways_to_samples(fields, source)

    def into(self, line: bytes, values: Sequence[bytes | None]) -> bytes:
        """Return the line with one value inserted into each of its samples, in order; None leaves a sample as it is."""
        if self._ways is None and self._quoted not in line and values[0] is not None:
            end = line.rindex(b"}")
            if line[end - 1] not in b"{ \t\r\n":  # the usual end: a value, then the brace
                return b"".join((line[:end], self._added, values[0], line[end:]))
        spans = [(0, len(line))] if self._ways is None else list(_samples(line, _skip(line, 0), self._ways))
        parts, done = [], 0
        for span, value in sorted(zip(spans, values, strict=True), key=lambda pair: pair[0]):
            if value is None:
                continue
            start, stop, added = self._place(line, span)
            parts += [line[done:start], added, value]
            done = stop
        return b"".join((*parts, line[done:]))

    def into_each(self, lines: Sequence[bytes], values: Iterable[bytes]) -> list[bytes]:
        """Return lines of one sample each with a value inserted into each."""
        if self._ways is not None:
            return [self.into(line, [value]) for line, value in zip(lines, values, strict=True)]
        name, added, into = self._quoted, self._added, self.into
        return [
            line[:-1] + added + value + b"}"
            if line[-1:] == b"}" and line[-2] not in b"{ \t\r\n" and name not in line  # as most lines end
            else into(line, [value])
            for line, value in zip(lines, values, strict=True)
        ]

    def _place(self, line: bytes, span: Span) -> tuple[int, int, bytes]:
        """Return the offsets between which a sample's value goes, and what to write before it."""
        start, stop = span
        if line.find(self._quoted, start, stop) >= 0:
            once = line.count(self._quoted, start, stop) == 1
            left = self._as_left.search(line, start, stop) if once else None
            if left is not None:
                return *left.span(1), b""
            spans = [at for key, *at in _members(line, _skip(line, start)) if key == self._name]
            if spans:  # the last value of a repeated key counts
                return spans[-1][0], spans[-1][1], b""
        end = line.rindex(b"}", start, stop)
        is_empty = line[_end_before(line, end) - 1] == ord("{")
        return end, end, self._named if is_empty else self._added


def _ways_to_samples(fields: Fields, source: str) -> "Container | None":
    """Return the ways from a line to its samples; None if the line is a sample, or an object of parallel arrays."""
    if fields.records in ("", "columns"):
        return None
    if fields.records == TABLE:
        rows = "jq -c '.columns as $names | .data[] | [$names, .] | transpose | map({(.[0]): .[1]}) | add'"
        raise UsageProblem(
            f"{source}: a table has no records to which terms could be added: make lines of it:"
            f" {rows} {shlex.quote(source)} | budget-cli annotate -"
        )
    from budget_cli.schema import containers  # which few dumps need

    ways = containers.parse(fields.records)
    if ways is None and not isinstance(fields.records_place, Expression):
        ways = containers.parse(f"{fields.records}[]")
    if ways is None:
        raise UsageProblem(
            f"records = {fields.records!r}: an expression finds the samples, so their bytes are not known;"
            " records can be annotated only at a path, as in traces[]"
        )
    return ways


def _samples(line: bytes, at: int, ways: "Container") -> Iterator[Span]:
    """Yield the spans of the objects to which the ways lead, and of lists in their place, from the value at `at`."""
    way, rest = ways[0], ways[1:]
    if way.through == "key":
        starts = [start for key, start, _ in _members(line, at) if key == way.key] if line[at] == ord("{") else []
        if starts:
            yield from _samples(line, starts[-1], rest)
        return
    spans: Iterable[Span]
    if way.through == "[]":
        spans = _elements(line, at)
    else:  # of a repeated key, the last value counts
        members = {key: (start, stop) for key, start, stop in _members(line, at)}
        spans = [span for span in members.values() if line[span[0]] in b"{["]
    for start, stop in spans:
        if rest:
            yield from _samples(line, start, rest)
        else:
            yield start, stop


def _members(line: bytes, at: int) -> Iterator[tuple[str, int, int]]:
    """Yield each key, and the start and end of its value, of the object at offset `at`."""
    key, begun, depth = "", 0, 0
    for token in STRING_OR_BRACKET.finditer(line, at):
        opening = token[0][0]
        if opening in b"{[":
            depth += 1
        elif opening in b"]}":
            depth -= 1
            if not depth:
                if begun:
                    yield key, begun, _end_before(line, token.start())
                return
        elif depth == 1:
            after = _skip(line, token.end())
            if line[after] == ord(":"):
                if begun:
                    yield key, begun, _end_before(line, line.rindex(b",", begun, token.start()))
                key, begun = orjson.loads(token[0]), _skip(line, after + 1)


def _elements(line: bytes, at: int) -> Iterator[Span]:
    """Yield the spans of the objects in the array at offset `at`."""
    start, depth = 0, 0
    for token in STRING_OR_BRACKET.finditer(line, at):
        opening = token[0][0]
        if opening in b"{[":
            depth += 1
            if depth == 2:
                start = token.start()
        elif opening in b"]}":
            depth -= 1
            if depth == 1:
                yield start, token.end()
            elif not depth:
                return


def _skip(line: bytes, at: int) -> int:
    while line[at] in WHITESPACE:
        at += 1
    return at


def _end_before(line: bytes, at: int) -> int:
    while line[at - 1] in WHITESPACE:
        at -= 1
    return at
