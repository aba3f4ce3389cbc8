"""A line that is not a record → the reason and the column. Parses what orjson refused again, to explain it plainly."""

import contextlib
import json
import math
import os
import re
from collections.abc import Iterator, Sequence
from json.decoder import scanstring  # type: ignore[attr-defined]  # typeshed leaves it out
from typing import Any

import orjson

from budget_cli.schema.json_values import Invalid
from budget_cli.schema.paths import Expression, Place

MAX_DEPTH = 1024  # orjson's limit on nesting


def diagnose(line: bytes, error: orjson.JSONDecodeError, accepts_nan: bool = False) -> Any:
    """Explain why orjson refused the line; return its value if the only trouble is a number beyond a double.

    If `accepts_nan`, the same holds for NaN, Infinity and -Infinity, which are all read as NaN.

    Raises:
        Invalid: the reason, with its column.
    """
    try:
        text = line.decode()
    except UnicodeDecodeError as bad_bytes:
        column = len(line[: bad_bytes.start].decode()) + 1
        raise Invalid("invalid-utf8", f"byte 0x{line[bad_bytes.start]:02x} is not UTF-8", column=column) from None
    if not text.strip("\0 \t\r"):
        raise Invalid("nul-bytes", "a run of NUL bytes, as left by an interrupted write", column=1)
    begin = error.pos - text[: error.pos].endswith("-")
    if not NOT_FINITE.match(text, begin):
        raise _reason(line, error, error.colno)
    return _read_again(line, text, begin, accepts_nan)


def _reason(line: bytes, error: orjson.JSONDecodeError, column: int) -> Invalid:
    """Word an error of orjson in a line of UTF-8."""
    if is_too_deep(line, error):
        return Invalid("too-deep", f"nested deeper than {MAX_DEPTH} levels", column=column)
    if "surrogate" in error.msg:
        return Invalid("lone-surrogate", "half of a \\u surrogate pair in a string", column=column)
    if "unexpected content" in error.msg:
        return Invalid("not-json", "more text after the end of the value: expected one record per line", column=column)
    return Invalid("not-json", f"not JSON: {error.msg}", column=column)


def is_too_deep(line: bytes, error: orjson.JSONDecodeError) -> bool:
    """True if orjson refused the line for its levels. Python's own parser takes more of them from 3.14 on."""
    return line.count(b"[") + line.count(b"{") > MAX_DEPTH and ("depth" in error.msg or "memory" in error.msg)


# What is not a finite number to orjson, where no string is open. A key of an object is none of these.
NOT_FINITE = re.compile(r"(?:-?(?:0|[1-9]\d*+)(?:\.\d++)?+(?:[eE][+-]?\d++)?+(?![\d.eE+-])|NaN|-?Infinity)(?!\s*+:)")
TOKEN = re.compile(rf'"(?:[^"\\]++|\\.)*+"|{NOT_FINITE.pattern}')
CONSTANTS = ("NaN", "Infinity", "-Infinity")  # which Python writes
OTHERS = {float, int, bool, type(None)}  # neither a string nor a container
MARK = os.urandom(8).hex()  # begins a string that stands for a number; no file can foresee it


def _read_again(line: bytes, text: str, begin: int, accepts_nan: bool) -> Any:
    """Parse a line whose numbers from offset `begin` on need not be finite, with the parser that read it first.

    So what is valid does not depend on which values there are. Each such number is put into a string for the parser.

    Raises:
        Invalid: the reason, with its column.
    """
    marked: list[int] = []  # offset in `text` of each
    constants: list[tuple[int, str]] = []

    def mark(token: re.Match[str]) -> str:
        found = token[0]
        if found[0] == '"' or math.isfinite(float(found)):
            return found
        marked.append(token.start())
        if found in CONSTANTS:
            constants.append((token.start(), found))
        return f'"{MARK}{found}"'

    shown = text[:begin] + TOKEN.sub(mark, text[begin:])
    marked, constants = [begin + at for at in marked], [(begin + at, name) for at, name in constants]
    try:
        value = orjson.loads(shown)
    except orjson.JSONDecodeError as error:
        at = error.pos
        for i, start in enumerate(marked):
            at = error.pos if start + i * (len(MARK) + 2) >= error.pos else error.pos - (i + 1) * (len(MARK) + 2)
            if at == error.pos:
                break
        raise _reason(line, error, at + 1) from None
    whole = [value]
    del value
    first = _put_numbers(whole)
    if constants and not accepts_nan:
        whole.clear()  # which the traceback would keep, while the line may be parsed once more
        at, name = constants[0]
        raise Invalid("non-finite", f"{name} is not a number that can be averaged", field=first, column=at + 1)
    return whole[0]  # the record is rejected only if a field holds the number that is beyond a double


def _put_numbers(whole: list[Any]) -> str | None:
    """Put numbers in the place of the strings that stand for them; locate the first constant, as in `a.b[3]`.

    Args:
        whole: a list of one JSON value.
    """
    first: str | None = None
    steps: list[str | int] = []  # from the value to the container that is being looked through
    pending: list[tuple[Any, Iterator[tuple[Any, Any]]]] = [
        (whole, enumerate(whole))
    ]  # a loop, since values may be nested deeper than calls
    while pending:
        container, members = pending[-1]
        for key, member in members:
            if type(member) in OTHERS:
                continue
            if isinstance(member, (dict, list)):
                steps.append(key)
                pending.append((member, iter(member.items()) if isinstance(member, dict) else enumerate(member)))
                break
            if isinstance(member, str) and member.startswith(MARK):
                token = member.removeprefix(MARK)
                if token in CONSTANTS:
                    first = _path([*steps, key][1:]) if first is None else first
                    container[key] = math.nan
                else:
                    container[key] = float(token)
        else:
            pending.pop()
            del steps[-1:]
    return first or None


def _path(steps: Sequence[str | int]) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).removeprefix(".")


def is_torn(line: bytes, bad: Invalid) -> bool:
    """True if a line without a newline was cut off: it opens an object and does not close it."""
    if bad.code not in ("not-json", "invalid-utf8", "lone-surrogate") or not line.lstrip().startswith(b"{"):
        return False
    return not line.rstrip().endswith(b"}") or "unexpected end" in bad.message


def column_of(line: bytes, path: Place | None) -> int:
    """Return the column (1-based, in characters) at which the value at a path begins; 1 if there is none."""
    if path is None or isinstance(path, Expression):
        return 1
    text = line.decode()
    at = _skip_space(text, 0)
    for step in path:
        if text[at] != "{":
            break
        try:
            inner = dict(_members(text, at))
        except RecursionError:  # the json module allows a little less nesting than orjson
            return 1
        if step.key not in inner:
            return 1
        at = inner[step.key]
    return at + 1


_SKIPPED = json.JSONDecoder(parse_int=str)  # Python refuses to convert thousands of digits


def _members(text: str, at: int) -> Iterator[tuple[str, int]]:
    """Yield each key, and the offset of its value, of the object at offset `at` of valid JSON."""
    at = _skip_space(text, at + 1)
    while text[at] != "}":
        key, at = scanstring(text, at + 1)
        at = _skip_space(text, _skip_space(text, at) + 1)
        yield key, at
        _, at = _SKIPPED.raw_decode(text, at)
        at = _skip_space(text, at)
        if text[at] == ",":
            at = _skip_space(text, at + 1)


def _skip_space(text: str, at: int) -> int:
    while text[at] in " \t\r\n":
        at += 1
    return at


# a string, with the colon after it if it is a key; or a brace
_KEY_OR_BRACE = re.compile(rb'"((?:[^"\\]++|\\.)*+)"\s*+(:?)|[{}]')

NESTED = frozenset({dict, list})
_END_OF_KEY = re.compile(rb'"\s*+:')  # and of what a string may hold: never fewer than there are keys


def find_duplicate_keys(data: bytes) -> Iterator[tuple[int, list[str]]]:
    """Yield the line number and the repeated keys of every valid line in which an object has a key more than once.

    All readers use the last value of such a key. Slow, since it looks at every string: for checks on request.
    """
    for number, line in enumerate(data.split(b"\n"), start=1):
        if _repeats_no_key(line):
            continue
        repeated = _repeated_keys(line)
        if repeated and _is_valid(line):
            yield number, repeated


def _repeats_no_key(line: bytes) -> bool:
    """Return True if parsing loses no key; False if an object may repeat one, or the line is no JSON."""
    try:
        return len(_END_OF_KEY.findall(line)) == _count_keys(orjson.loads(line))
    except orjson.JSONDecodeError:
        return False


def _count_keys(value: Any) -> int:
    """Return the number of keys of all objects in a parsed value."""
    found, pending = 0, [value]
    while pending:
        node = pending.pop()
        members = list(node.values()) if isinstance(node, dict) else node if isinstance(node, list) else []
        found += len(node) if isinstance(node, dict) else 0
        if not NESTED.isdisjoint(map(type, members)):
            pending += [member for member in members if type(member) in NESTED]
    return found


def _repeated_keys(line: bytes) -> list[str]:
    """Return the keys that an object of this line repeats; of invalid JSON, anything."""
    repeated: dict[str, None] = {}
    open_objects: list[set[bytes]] = [set()]
    for token in _KEY_OR_BRACE.finditer(line):
        text, colon = token[1], token[2]
        if text is None:
            if token[0] == b"{":
                open_objects.append(set())
            elif len(open_objects) > 1:
                open_objects.pop()
        elif colon:
            if b"\\" in text:
                with contextlib.suppress(orjson.JSONDecodeError):
                    text = orjson.loads(b'"%b"' % text).encode()
            if text in open_objects[-1]:
                repeated[text.decode(errors="replace")] = None
            open_objects[-1].add(text)
    return list(repeated)


def _is_valid(line: bytes) -> bool:
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError as error:
        try:
            diagnose(line, error, accepts_nan=True)
        except Invalid:
            return False
    return True
