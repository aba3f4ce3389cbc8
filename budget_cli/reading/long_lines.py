"""A block of long lines → columns at once, or None: as `fast`, for lines of which most is text or per-token lists.

simdjson reads such a line faster than msgspec does and gives a list of numbers as one array, but a short record two
times slower. What it does not mind is looked for here: a key twice (it takes the first, the last counts), an array
inside an array of numbers (it flattens them).
"""

from typing import Any

import msgspec
import numpy as np
import simdjson

from budget_cli.reading import columns, fast
from budget_cli.reading.blocks import Block
from budget_cli.reading.columns import Decoded, Tally
from budget_cli.reading.fields import KINDS, Expression, Fields, Kind, Path
from budget_cli.reading.values import token_sum

_parser = simdjson.Parser()  # one a process: it keeps its memory from line to line


class Unexpected(Exception):
    """Leave the block to another reading; never seen outside."""


# types of a column, by kind: JSON's own, in simdjson's Python forms; a tuple is a list already summed
ALLOWED: dict[Kind, set[type]] = {
    "key": {str, int},
    "number": {float, int},
    "whole": {float, int, type(None), msgspec.UnsetType},
    "sequence": {float, int, tuple, type(None), msgspec.UnsetType},
}
SCALARS = frozenset({str, int, float, bool, type(None), msgspec.UnsetType})


def decode(block: Block, fields: Fields, max_line_bytes: int) -> Decoded | None:
    """The block's columns if every line is a plain, valid record of a response; None if anything is unexpected."""
    kinds = set()
    for name, kind in KINDS.items():
        place = fields.paths[name]
        if isinstance(place, Expression):
            return None
        kinds.add((place, kind))
    values: dict[Path, list[Any]] = {path: [] for path, _ in kinds}
    if len(block) > max_line_bytes or len(values) < len(kinds) or fields.records or fields.group or fields.extras:
        return None
    records = 0
    buffer, at = block.buffer, block.start
    try:
        while at < block.stop:
            newline = buffer.find(b"\n", at, block.stop)
            end = newline if newline >= 0 else block.stop
            if buffer[at] != ord("{"):
                return None
            document = _parser.parse(memoryview(buffer)[at:end])
            keys = _keys(document)
            for path, found in values.items():
                value = _found(document, keys, path)
                if type(value) not in SCALARS:
                    value = _summed(value, buffer, at, end)
                found.append(value)
            del document  # or the parser would not go on
            records += 1
            at = end + 1
    except (ValueError, RuntimeError, TypeError, Unexpected):
        return None
    if not records or not all(_of_kind(values[path], kind) for path, kind in kinds):
        return None
    ids = columns.Ids()
    made = fast.of_responses(fields, values, ids)
    return (
        None if made is None else Decoded(columns.joined([made], ids), Tally(read=records, used=records), records, [])
    )


def _of_kind(column: list[Any], kind: Kind) -> bool:
    types = set(map(type, column))
    return types <= ALLOWED[kind] and not (
        kind == "key" and int in types and any(type(v) is int and abs(v) >= 2**63 for v in column)
    )


def _keys(node: Any) -> list[str]:
    """The keys of an object, each of them once."""
    if type(node) is not simdjson.Object:
        raise Unexpected
    keys = list(node.keys())
    if len(set(keys)) != len(keys):
        raise Unexpected
    return keys


def _found(node: Any, keys: list[str], path: Path) -> Any:
    """The value at the path, UNSET where there is none; for a path through `[]`, the list of its parts."""
    for depth, step in enumerate(path):
        if depth:
            keys = _keys(node)
        if step.key not in keys:
            return msgspec.UNSET
        node = node[step.key]
        if step.each:
            rest = path[depth + 1 :]
            if type(node) is not simdjson.Array or any(later.each for later in rest):
                raise Unexpected
            if not rest:
                return node
            parts = [_found(element, _keys(element), rest) for element in node]
            return [part for part in parts if part is not msgspec.UNSET]
    return node


def _summed(value: Any, buffer: bytes | bytearray, start: int, end: int) -> tuple[float, int]:
    """Per-token log-probs, in one array or in several: their sum, and how many there are.

    Raises:
        Unexpected: anything but numbers, or none.
    """
    parts = value if type(value) is list else [value]
    if any(type(part) is not simdjson.Array for part in parts) or _may_nest(buffer, start, end):
        raise Unexpected
    arrays = [np.frombuffer(part.as_buffer(of_type="d")) for part in parts]
    tokens = arrays[0] if len(arrays) == 1 else np.concatenate([np.empty(0), *arrays])
    if not tokens.size:
        raise Unexpected
    return token_sum(tokens), tokens.size


def _may_nest(buffer: bytes | bytearray, start: int, end: int) -> bool:
    """Whether an array may be an element of an array; text that looks like it counts, too."""
    bracket = buffer.find(b"[", start, end)
    while bracket >= 0:
        before = bracket - 1
        while buffer[before] in b" \t":
            before -= 1
        if buffer[before] in b"[,":
            return True
        bracket = buffer.find(b"[", bracket + 1, end)
    return False
