"""A line that is not a record → the reason and the column. Parses what orjson refused again, to explain it plainly."""

import json
import math
from collections.abc import Callable, Iterator
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
    column = error.colno
    if line.count(b"[") + line.count(b"{") > MAX_DEPTH and ("depth" in error.msg or "memory" in error.msg):
        raise Invalid("too-deep", f"nested deeper than {MAX_DEPTH} levels", column=column)
    if "surrogate" in error.msg:
        raise Invalid("lone-surrogate", "half of a \\u surrogate pair in a string", column=column)
    if "unexpected content" in error.msg:
        raise Invalid("not-json", "more text after the end of the value: expected one record per line", column=column)
    constants: list[str] = []  # NaN, Infinity and -Infinity, which Python writes

    def record_constant(name: str) -> float:
        constants.append(name)
        return math.nan

    try:
        value = json.loads(text, parse_constant=record_constant, parse_int=_integer)
    except (ValueError, RecursionError):
        raise Invalid("not-json", f"not JSON: {error.msg}", column=column) from None
    if constants and not accepts_nan:
        where = _location_of_first(value, lambda x: isinstance(x, float) and math.isnan(x))
        column = column - constants[0].startswith("-")
        raise Invalid("non-finite", f"{constants[0]} is not a number that can be averaged", field=where, column=column)
    return value  # the record is rejected only if a field holds the number that is beyond a double


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) < 400 else float(digits)  # Python refuses to convert thousands of digits


def _location_of_first(value: Any, wanted: Callable[[Any], bool]) -> str | None:
    """Locate the first wanted element of a JSON value, as in `a.b[3]`; None if it is the value itself or not there."""
    pending: list[tuple[str, Any]] = [("", value)]
    while pending:
        name, node = pending.pop()
        if wanted(node):
            return name or None
        if isinstance(node, dict):
            pending += reversed([(f"{name}.{key}" if name else key, child) for key, child in node.items()])
        elif isinstance(node, list):
            pending += reversed([(f"{name}[{i}]", child) for i, child in enumerate(node)])
    return None


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


def find_duplicate_keys(data: bytes) -> Iterator[tuple[int, list[str]]]:
    """Yield the line number and the repeated keys of every line in which an object has a key more than once.

    All readers use the last value of such a key. Slow, since it builds every object again: for checks on request.
    """
    repeated: list[str] = []

    def record_repeated(pairs: list[tuple[str, Any]]) -> None:
        keys = [key for key, _ in pairs]
        if len(set(keys)) < len(keys):
            repeated.extend(dict.fromkeys(key for key in keys if keys.count(key) > 1))

    decoder = json.JSONDecoder(object_pairs_hook=record_repeated, parse_int=len, parse_float=len)
    for number, line in enumerate(data.split(b"\n"), start=1):
        if line.count(b'"') < 4:  # fewer than two keys
            continue
        repeated.clear()
        try:
            decoder.decode(line.decode())
        except (ValueError, RecursionError):  # such a line is rejected anyway
            continue
        if repeated:
            yield number, list(dict.fromkeys(repeated))
