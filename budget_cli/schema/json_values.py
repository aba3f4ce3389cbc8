"""A JSON value → its type, its canonical text, its length, the reason to reject it. Knows no fields and no records."""

import json
from typing import Any

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


def canonical(value: Any) -> str:
    """Return the value as JSON text that does not depend on the order of keys."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def count_characters(value: Any) -> int:
    """Count the characters of a string, or of all text in a list of messages; -1 if there is no string."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        value = [value[key] for key in MESSAGE_TEXT_KEYS if key in value]
    lengths = [count_characters(part) for part in value] if isinstance(value, list) else []
    return sum(length for length in lengths if length >= 0) if max(lengths, default=-1) >= 0 else -1


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
    names = {str: "a string", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return names.get(type(value), f"a {type(value).__name__}")  # Parquet has more types than JSON: timestamps, bytes
