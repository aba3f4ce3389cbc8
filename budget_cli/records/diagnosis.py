"""A line that is not a record → why, and where in it. Reads what orjson refused once more, to say so in plain words."""

import json
import math
from collections.abc import Callable, Iterator
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any

import orjson

from budget_cli.schema.json_values import Invalid
from budget_cli.schema.paths import Expression, Place

MAX_DEPTH = 1024  # orjson's limit on nesting


def diagnose(line: bytes, error: orjson.JSONDecodeError) -> Any:
    """Why orjson refused the line, in plain words; or its value, if a double's range was the only trouble."""
    try:
        text = line.decode()
    except UnicodeDecodeError as bad_bytes:
        column = len(line[: bad_bytes.start].decode()) + 1
        raise Invalid("invalid-utf8", f"byte 0x{line[bad_bytes.start]:02x} is not UTF-8", column=column) from None
    if not text.strip("\0 \t\r"):
        raise Invalid("nul-bytes", "a run of NUL bytes, as an interrupted write leaves it", column=1)
    column = error.colno
    if line.count(b"[") + line.count(b"{") > MAX_DEPTH and ("depth" in error.msg or "memory" in error.msg):
        raise Invalid("too-deep", f"nested deeper than {MAX_DEPTH} levels", column=column)
    if "surrogate" in error.msg:
        raise Invalid("lone-surrogate", "half of a \\u surrogate pair in a string", column=column)
    if "unexpected content" in error.msg:
        raise Invalid("not-json", "more after the end of the value: one record a line was expected", column=column)
    constants: list[str] = []

    def noted(name: str) -> float:
        constants.append(name)
        return math.nan

    try:
        value = json.loads(text, parse_constant=noted, parse_int=_integer)
    except (ValueError, RecursionError):
        raise Invalid("not-json", f"not JSON: {error.msg}", column=column) from None
    if constants:
        where = _name_of_first(value, lambda x: isinstance(x, float) and math.isnan(x))
        column = column - constants[0].startswith("-")
        raise Invalid("non-finite", f"{constants[0]} is not a number that can be averaged", field=where, column=column)
    return value  # a number beyond the range of a double: rejected only where it is read


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) < 400 else float(digits)  # Python refuses to convert thousands of digits


def _name_of_first(value: Any, wanted: Callable[[Any], bool]) -> str | None:
    """`a.b[3]`: where in a JSON value the first such element is."""
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
    """Whether a line without its newline was cut off, not just wrong: it begins an object and does not end it."""
    if bad.code not in ("not-json", "invalid-utf8", "lone-surrogate") or not line.lstrip().startswith(b"{"):
        return False
    return not line.rstrip().endswith(b"}") or "unexpected end" in bad.message


def column_of(line: bytes, path: Place | None) -> int:
    """The column (characters, 1-based) at which the value at the path begins, or 1 where there is none."""
    if path is None or isinstance(path, Expression):
        return 1
    text = line.decode()
    at = _skip_space(text, 0)
    for step in path:
        if text[at] != "{":
            break
        try:
            inner = dict(_members(text, at))
        except RecursionError:  # the json module gives up at a little less depth than orjson
            return 1
        if step.key not in inner:
            return 1
        at = inner[step.key]
    return at + 1


_SKIPPED = json.JSONDecoder(parse_int=str)  # a number of thousands of digits is not converted


def _members(text: str, at: int) -> Iterator[tuple[str, int]]:
    """(key, where its value begins) of the object that begins at `at`, in a text known to be JSON."""
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
    """(line, counted from 1; the keys that occur more than once in an object of it), for every line that has one."""
    repeated: list[str] = []

    def noted(pairs: list[tuple[str, Any]]) -> None:
        keys = [key for key, _ in pairs]
        if len(set(keys)) < len(keys):
            repeated.extend(dict.fromkeys(key for key in keys if keys.count(key) > 1))

    decoder = json.JSONDecoder(object_pairs_hook=noted, parse_int=len, parse_float=len)
    for number, line in enumerate(data.split(b"\n"), start=1):
        if line.count(b'"') < 4:  # no two keys
            continue
        repeated.clear()
        try:
            decoder.decode(line.decode())
        except (ValueError, RecursionError):  # the record is rejected for it
            continue
        if repeated:
            yield number, list(dict.fromkeys(repeated))
