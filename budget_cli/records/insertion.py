"""A line and values → the line with each value as a member of its samples; every other byte as it was.

Works on the bytes of a line that is known to be JSON: strings and brackets are found, numbers are not looked at and
nothing is decoded and encoded again. Knows where samples lie in a line, and nothing of what is put in.
"""

import re
from collections.abc import Iterator, Sequence

import orjson

from budget_cli.errors import UsageProblem
from budget_cli.schema.fields import Fields
from budget_cli.schema.paths import Expression, Path, Step

Span = tuple[int, int]  # of an object: its first byte, and the one after its last
STRING_OR_BRACKET = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[][{}]', re.DOTALL)
WHITESPACE = b" \t\r\n"


class Insertion:
    """Puts a member of this name into each sample of a line, or in place of the value that is there."""

    def __init__(self, name: str, fields: Fields) -> None:
        """
        Raises:
            UsageProblem: the samples of a line are found by an expression, which has no place in its bytes.
        """
        self._quoted = orjson.dumps(name)
        self._name, self._named, self._added = name, self._quoted + b":", b"," + self._quoted + b":"
        # as this very class leaves it: the last member of the line, a value with no braces inside
        self._as_left = re.compile(b"," + re.escape(self._quoted) + rb":(\{[^{}]*\})\}[ \t\r\n]*\Z")
        self._path = _samples_path(fields)

    def into(self, line: bytes, values: Sequence[bytes]) -> bytes:
        """The line with one value for each of its samples, in their order."""
        if self._path is None and self._quoted not in line:
            end = line.rindex(b"}")
            if line[end - 1] not in b"{ \t\r\n":  # the usual end: a value, the brace
                return b"".join((line[:end], self._added, values[0], line[end:]))
        spans = [(0, len(line))] if self._path is None else list(_samples(line, _skip(line, 0), self._path))
        parts, done = [], 0
        for span, value in zip(spans, values, strict=True):
            start, stop, added = self._place(line, span)
            parts += [line[done:start], added, value]
            done = stop
        return b"".join((*parts, line[done:]))

    def _place(self, line: bytes, span: Span) -> tuple[int, int, bytes]:
        """What of the line makes way for a sample's value, and what stands before that."""
        start, stop = span
        if line.find(self._quoted, start, stop) >= 0:
            once = line.count(self._quoted, start, stop) == 1
            left = self._as_left.search(line, start, stop) if once else None
            if left is not None:
                return *left.span(1), b""
            there = [at for key, *at in _members(line, _skip(line, start)) if key == self._name]
            if there:  # of a key that occurs twice the last one counts
                return there[-1][0], there[-1][1], b""
        end = line.rindex(b"}", start, stop)
        is_empty = line[_end_before(line, end) - 1] == ord("{")
        return end, end, self._named if is_empty else self._added


def _samples_path(fields: Fields) -> Path | None:
    """The way from a line's value to its samples; None: the value itself, or an object of arrays side by side."""
    if fields.records in ("", "columns"):
        return None
    if fields.records == "[]":
        return (Step("", each=True),)
    path = fields.records_place
    if isinstance(path, Expression):
        raise UsageProblem(
            f"records = {fields.records!r}: the samples are found by an expression, so there is no telling which bytes"
            " they are; only a path, as in traces[], can be annotated"
        )
    return (*path[:-1], Step(path[-1].key, each=True))


def _samples(line: bytes, at: int, path: Path) -> Iterator[Span]:
    """Where the objects are that the path leads to, from the value that begins at `at`."""
    step, rest = path[0], path[1:]
    if step.key:
        there = [start for key, start, _ in _members(line, at) if key == step.key] if line[at] == ord("{") else []
        if not there:
            return
        at = there[-1]
    if not step.each:
        yield from _samples(line, at, rest)
        return
    for start, stop in _elements(line, at):
        if rest:
            yield from _samples(line, start, rest)
        else:
            yield start, stop


def _members(line: bytes, at: int) -> Iterator[tuple[str, int, int]]:
    """(key, where its value begins, where it ends) of the object that begins at `at`."""
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
    """Where the objects of the array are that begins at `at`."""
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
