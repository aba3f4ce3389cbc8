"""What JSON calls a value, and the reason to reject one. Knows no fields and no records."""

import json
from typing import Any

from budget_cli.schema.paths import Place

MESSAGE_TEXT_KEYS = ("content", "text", "reasoning_content")  # the keys of a message that hold what it says


class Invalid(Exception):
    """Why a record is not used; caught where the line is known, never seen outside."""

    def __init__(self, code: str, message: str, field: str | None = None, path: Place | None = None, column: int = 0):
        super().__init__(code, message, field, path, column)
        self.code, self.message, self.field, self.path, self.column = code, message, field, path, column


def canonical(value: Any) -> str:
    """JSON that is the same for equal values, whatever the order of their keys."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def count_characters(value: Any) -> int:
    """Of a string, or of what the messages say; -1 where nothing is a string."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        value = [value[key] for key in MESSAGE_TEXT_KEYS if key in value]
    lengths = [count_characters(part) for part in value] if isinstance(value, list) else []
    return sum(length for length in lengths if length >= 0) if max(lengths, default=-1) >= 0 else -1


def type_name(value: Any) -> str:
    """What JSON calls the type of a value, with its article."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    names = {str: "a string", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return names.get(type(value), f"a {type(value).__name__}")  # a timestamp, bytes: Parquet has more than JSON
