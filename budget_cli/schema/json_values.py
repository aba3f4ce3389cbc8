"""A JSON value → its type, canonical text, length and sum; the reason to reject it. Knows no fields and no records."""

import contextlib
import json
import math
from collections.abc import Iterable
from typing import Any

import orjson

from budget_cli.schema.paths import Place

MESSAGE_TEXT_KEYS = ("content", "text", "reasoning_content")  # where a chat message keeps its text
# roles of messages that the policy did not write
OTHER_ROLES = {"system", "developer", "user", "tool", "function", "ipython", "environment", "observation"}
DEEPEST = 16  # lists and messages within each other in which a text is looked for


class Invalid(Exception):
    """The reason to reject a record. The reference reader catches it and adds the line number."""

    def __init__(self, code: str, message: str, field: str | None = None, path: Place | None = None, column: int = 0):
        super().__init__(code, message, field, path, column)
        self.code, self.message, self.field, self.path, self.column = code, message, field, path, column


class Foreign:
    """A value that JSON has no type for, such as a time in a Parquet file. It is no text, number or id."""

    def __init__(self, kind: str) -> None:
        self.kind = kind


def _refuse(value: Any) -> None:
    raise Invalid("wrong-type", f"{type_name(value)} has no text")


def canonical(value: Any) -> str:
    """Return the value as JSON text that does not depend on the order of keys.

    Raises:
        Invalid: JSON has no such value.
    """
    if _has_no_floats(value):  # tokens and messages, in a quarter of the time
        with contextlib.suppress(orjson.JSONEncodeError):  # an integer beyond 64 bits, or half a surrogate pair
            return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    try:
        return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=_refuse)
    except RecursionError:  # the parser takes a little more nesting
        return _canonical_of_deep(value)


SAME_IN_ORJSON = frozenset({str, int, bool, type(None)})  # of floats, orjson writes 1e+16 as 1e16


def _has_no_floats(value: Any, depth: int = 2) -> bool:
    """Return True if orjson writes the value as json does; False where it might not, or lists are deeply nested."""
    members = list(value.values()) if type(value) is dict else value if type(value) is list else [value]
    inner = set(map(type, members)) - SAME_IN_ORJSON
    if not inner <= {list, dict} or (inner and not depth):
        return False
    return not inner or all(_has_no_floats(one, depth - 1) for one in members if type(one) in (list, dict))


class _Written(str):
    """A piece of the text, in a list of values."""


def _canonical_of_deep(value: Any) -> str:
    """Write what `canonical` does, without a call for each level."""
    written: list[str] = []
    pending = [value]
    while pending:
        node = pending.pop()
        if isinstance(node, _Written):
            written.append(node)
            continue
        if not isinstance(node, (dict, list)):
            written.append(json.dumps(node, ensure_ascii=False, default=_refuse))
            continue
        parts: list[Any] = []
        for key, member in sorted(node.items()) if isinstance(node, dict) else enumerate(node):
            comma = "," if parts else ""
            parts.append(_Written(f"{comma}{json.dumps(key, ensure_ascii=False)}:" if isinstance(key, str) else comma))
            parts.append(member)
        begin, end = "{}" if isinstance(node, dict) else "[]"
        pending += reversed([_Written(begin), *parts, _Written(end)])
    return "".join(written)


def exact_sum(values: Iterable[float]) -> float:
    """Return the correctly rounded sum, or inf if it is beyond the range of a double."""
    listed = list(values)
    try:
        return math.fsum(listed)
    except OverflowError:  # of a partial sum, at least
        return _sum_of_large(listed)


def _sum_of_large(values: list[float]) -> float:
    """Sum in integers, as the correctly rounded quotient of two of them."""
    unit = 1074  # every double is a multiple of 2 to the minus 1074th
    total = 0
    for value in values:
        numerator, denominator = value.as_integer_ratio()
        total += numerator << unit + 1 - denominator.bit_length()
    try:
        return total / (1 << unit)
    except OverflowError:
        return math.inf


def count_characters(value: Any) -> int:
    """Count the characters of a string, or of all text in a list of messages; -1 if there is no string."""
    total, found, pending = 0, False, [value]
    while pending:
        node = pending.pop()
        if isinstance(node, str):
            total, found = total + len(node), True
        elif isinstance(node, dict):
            pending += [node[key] for key in MESSAGE_TEXT_KEYS if key in node]
        elif isinstance(node, list):
            pending += node
    return total if found else -1


def generated_texts(value: Any, depth: int = DEEPEST) -> list[str] | None:
    """Return the texts that the policy wrote: a string, or those of messages and of lists; None if there is no text.

    Messages whose role says that somebody else wrote them, such as a tool, count as no text at all.
    """
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        if isinstance(role := value.get("role"), str) and role in OTHER_ROLES:
            return []
        value = [value[key] for key in MESSAGE_TEXT_KEYS if key in value]
    if not isinstance(value, list) or not depth:
        return None
    parts = [part for part in (generated_texts(one, depth - 1) for one in value) if part is not None]
    return [text for part in parts for text in part] if parts else None


def type_name(value: Any) -> str:
    """Name the JSON type of a value, with its article: `a string`."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Foreign):
        return f"a value of type {value.kind}"
    names = {str: "a string", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return names.get(type(value), f"a {type(value).__name__}")
