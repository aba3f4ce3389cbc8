"""JSON as other programs write it, and blocks of it, for the tests of both readers."""

import json
from typing import Any, NamedTuple

import numpy as np

from budget_cli.records.columns import Decoded, ExtraColumn, Key, LabelColumn, TextColumn
from budget_cli.schema.paths import Path
from budget_cli.sources.blocks import Block


class Raw(str):
    """JSON text that no Python value stands for, written as it is (`1e400`, `NaN`, half a surrogate pair)."""

    __slots__ = ()


class Pairs(list[tuple[str, Any]]):
    """An object in which a key may occur twice."""


class Writer(NamedTuple):
    """The JSON style of a program."""

    comma: str = ", "
    colon: str = ": "
    ascii: bool = True

    def text(self, value: Any) -> str:
        """The value as JSON."""
        if isinstance(value, Raw):
            return str(value)
        if isinstance(value, dict):
            value = Pairs(value.items())
        if isinstance(value, Pairs):
            return "{" + self.comma.join(self.text(key) + self.colon + self.text(inner) for key, inner in value) + "}"
        if isinstance(value, list):
            return "[" + self.comma.join(map(self.text, value)) + "]"
        return json.dumps(value, ensure_ascii=self.ascii)


def put(record: dict[str, Any], path: Path, value: Any) -> None:
    """Put a value at a path; `[]` spreads a list over two elements, and makes any other value the only element.

    Where another field's value is in the way, the record stays as it is.
    """
    step, rest = path[0], path[1:]
    if not isinstance(record, dict):
        return
    if not rest:
        record[step.key] = value if not step.each or isinstance(value, list) else [value]
    elif not step.each:
        put(record.setdefault(step.key, {}), rest, value)
    else:
        parts = [value[:1], value[1:]] if isinstance(value, list) and len(value) > 1 else [value]
        elements = record.setdefault(step.key, [])
        if isinstance(elements, list):
            elements += [{"type": "message"} for _ in parts[len(elements) :]]
            for element, part in zip(elements, parts, strict=False):
                put(element, rest, part)


def block_of(data: bytes, before: bytes = b"", after: bytes = b"", first: bool = False) -> Block:
    """Make a block in a buffer with other bytes around it, as in a reused buffer."""
    return Block("x.jsonl", bytearray(before + data + after), len(before), len(before) + len(data), first)


def bits(decoded: Decoded) -> dict[str, object]:
    """Return everything in a decoded block, with floats as bits, for exact comparison."""
    c = decoded.columns
    arrays = ("codes", "line", "reward", "length", "log_prob", "old_log_prob", "tokens")
    return {
        "keys": _typed(c.keys),
        **{name: _bits(getattr(c, name)) for name in (*arrays, "length_from")},
        "extras": {name: extra_bits(extra) for name, extra in c.extras.items()},
        "tally": decoded.tally,
        "length_origins": decoded.tally.length_origins,
        "lines": decoded.lines,
        "rejections": decoded.rejections,
        "left_out": decoded.left_out,
        "reasons": list(decoded.tally.left_out),
        "left_out_by": decoded.left_out_by,
    }


def extra_bits(extra: ExtraColumn) -> tuple[object, ...]:
    """Return the column of an optional field, with floats as bits."""
    if isinstance(extra, LabelColumn):
        return _typed(extra.values), _bits(extra.codes)
    if isinstance(extra, TextColumn):
        return _bits(extra.digest), _bits(extra.characters)
    return (_bits(extra),)


def _typed(keys: list[Key]) -> list[tuple[type, Key]]:
    return [(type(key), key) for key in keys]


def _bits(array: Any) -> tuple[str, bytes] | None:
    return None if array is None else (str(np.asarray(array).dtype), array.tobytes())
