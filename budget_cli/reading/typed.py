"""A whole block → columns at once, or None: right whenever it answers, and silent where anything is unexpected.

The fields compile to a msgspec type, so types are checked in C and what is not read is skipped, not built. What msgspec
does not look at is looked at here: UTF-8 in skipped strings, and that each line holds exactly one record. None means
only "read this block again with `careful`", which knows the reasons; a property test holds the two equal.
"""

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import chain
from operator import attrgetter
from typing import Annotated, Any

import msgspec
import numpy as np

from budget_cli.ids import Ids
from budget_cli.reading import columns
from budget_cli.reading.blocks import Block
from budget_cli.reading.columns import Columns, Decoded, Floats, Tally
from budget_cli.reading.diagnosis import MAX_DEPTH
from budget_cli.reading.fields import KINDS, PLURALS, Expression, Fields, Kind, Path
from budget_cli.reading.values import MAX_EXACT, exact_sum

Key = str | Annotated[int, msgspec.Meta(gt=-(2**63), lt=2**63 - 1)]
SLICE_BYTES = 1 << 18
LEAVES: dict[Kind, Any] = {"key": Key, "number": float, "whole": float, "sequence": float | list[float]}


def decode(block: Block, fields: Fields, max_line_bytes: int) -> Decoded | None:
    """The block's columns if every line is a plain, valid record of one shape; None if anything is unexpected."""
    if not len(block) or len(block) > max_line_bytes or fields.records or fields.group or fields.extras:
        return None
    ids, parts, lines = Ids(), [], 0
    for part in _slices(block):
        if not _is_utf8(part):
            return None
        for shape in shapes(fields):
            try:
                records = shape.decoder.decode_lines(part.view)
            except (msgspec.MsgspecError, RecursionError):
                continue
            plain = _is_one_a_line(part, len(records)) and _is_shallow(part, len(records))
            made = shape.columns(records, ids) if plain else None
            break
        else:
            return None
        if made is None:
            return None
        made.line += lines
        parts.append(made)
        lines += len(records)
    return Decoded(columns.joined(parts, ids), Tally(read=lines, used=lines), lines, [])


def _slices(block: Block) -> Iterator[Block]:
    """The block in pieces of whole lines whose records fit a processor's cache; worth 10 % on short records."""
    at = block.start
    while at < block.stop:
        end = block.stop
        if end - at > SLICE_BYTES:
            end = block.buffer.rfind(b"\n", at, at + SLICE_BYTES) + 1
            end = end or block.buffer.find(b"\n", at, block.stop) + 1 or block.stop
        yield replace(block, start=at, stop=end)
        at = end


def _is_utf8(block: Block) -> bool:
    if np.frombuffer(block.view, dtype=np.uint8).max() < 0x80:
        return True
    try:
        str(block.view, "utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _is_one_a_line(block: Block, records: int) -> bool:
    """Whether the block has as many lines as records, and every newline stands between two of them.

    Within one value no newline can stand between } and {, so then each line holds exactly one.
    """
    buffer, start, stop = block.buffer, block.start, block.stop
    stop -= buffer.endswith(b"\n", start, stop)
    stop -= buffer.endswith(b"\r", start, stop)
    if buffer[start] != ord("{") or buffer[stop - 1] != ord("}"):
        return False
    if records and (stop - start) // records > LONG_LINE:
        newline, newlines = buffer.find(b"\n", start, stop), 0
        while newline >= 0:
            before = newline - 1 - (buffer[newline - 1] == ord("\r"))
            if buffer[before] != ord("}") or buffer[newline + 1] != ord("{"):
                return False
            newlines += 1
            newline = buffer.find(b"\n", newline + 1, stop)
        return newlines + 1 == records
    octets = np.frombuffer(buffer, dtype=np.uint8, count=stop - start, offset=start)
    at = np.flatnonzero(octets == ord("\n"))
    ends = np.where(octets[at - 1] == ord("\r"), octets[at - 2], octets[at - 1])
    return at.size + 1 == records and bool(np.all(ends == ord("}")) and np.all(octets[at + 1] == ord("{")))


def _is_shallow(block: Block, records: int) -> bool:
    """Whether no record can be nested deeper than the careful reading allows; msgspec goes as deep as the stack."""
    buffer, start, stop = block.buffer, block.start, block.stop
    opened = buffer.count(b"[", start, stop) + buffer.count(b"{", start, stop)
    if opened - records < MAX_DEPTH:
        return True
    lines = bytes(block.view).split(b"\n")
    return all(line.count(b"[") + line.count(b"{") <= MAX_DEPTH for line in lines)


LONG_LINE = 1000  # bytes; beyond it a search for each newline beats comparing every byte


@lru_cache(maxsize=1)
def shapes(fields: Fields) -> "list[Shape]":
    """The types to try: a record a response, then a record a prompt; fewer if a path cannot be typed."""
    return [shape for make in (_response_shape, _prompt_shape) if (shape := make(fields))]


class Shape:
    """A decoder for one shape of record, and the way from its records to columns."""

    def __init__(
        self, leaves: dict[Path, Any], build: "Callable[[list[Any], dict[Path, Getter], Ids], Columns | None]"
    ) -> None:
        self._getters: dict[Path, Getter] = {}
        self._build = build
        self.decoder = msgspec.json.Decoder(_struct(leaves, self._getters))

    def columns(self, records: list[Any], ids: Ids) -> Columns | None:
        """The columns of these records, or None if a value is not valid; their keys are left to the `ids`."""
        return self._build(records, self._getters, ids)


Getter = Callable[[list[Any]], list[Any]]  # records → the value of one field in each


def _response_shape(fields: Fields) -> Shape | None:
    paths = _all_paths(fields, KINDS)
    if paths is None:
        return None
    leaves: dict[Path, Any] = {}
    for name, kind in KINDS.items():
        if any(step.each for step in paths[name][:-1]) and kind != "sequence":
            return None
        leaf = LEAVES[kind]
        if any(step.each for step in paths[name]):
            leaf = list[float] if kind == "sequence" else None
        if leaf is None or leaves.get(paths[name], leaf) != leaf:
            return None
        leaves[paths[name]] = leaf
    for name in ("log_prob", "old_log_prob", "response_length"):
        if not fields.required(name) and not any(step.each for step in paths[name]):
            leaves[paths[name]] |= None
    leaves[paths["response_length"]] |= msgspec.UnsetType  # may come from the number of tokens
    if not _is_tree(leaves):
        return None

    def build(records: list[Any], get: dict[Path, Getter], ids: Ids) -> Columns | None:
        return of_responses(fields, {path: getter(records) for path, getter in get.items()}, ids)

    return Shape(leaves, build)


def of_responses(fields: Fields, values: dict[Path, list[Any]], ids: Ids) -> Columns | None:
    """The columns of a record a response, or None if anything is unexpected.

    Args:
        fields: where the values were found.
        values: by path, one a record, of the right types: ids; floats; for log-probs floats, or lists of them, or
            (sum, number of tokens); None for null, and UNSET or None for missing.
        ids: of the block.
    """
    paths: Any = fields.paths
    log_probs = _sequences(values[paths["log_prob"]])
    old_log_probs = log_probs
    if paths["old_log_prob"] != paths["log_prob"]:
        old_log_probs = _sequences(values[paths["old_log_prob"]])
    if log_probs is None or old_log_probs is None:
        return None
    if log_probs.tokens is not None and old_log_probs.tokens not in (None, log_probs.tokens):
        return None
    if not all(s.sums is None or np.isfinite(s.sums).all() for s in (log_probs, old_log_probs)):
        return None
    if fields.needs_log_probs and (log_probs.sums is None or old_log_probs.sums is None):
        return None
    length = _lengths(values[paths["response_length"]], fields.needs_length, log_probs, old_log_probs)
    if length is INVALID:
        return None
    codes = ids.places(values[paths["prompt_id"]])
    reward = _floats(values[paths["reward"]])
    line = np.arange(1, len(reward) + 1)
    counts = log_probs.tokens if log_probs.tokens is not None else old_log_probs.tokens
    tokens = None if counts is None else _floats(counts)
    return Columns([], codes, line, reward, length, log_probs.sums, old_log_probs.sums, tokens)


def _prompt_shape(fields: Fields) -> Shape | None:
    plural = _all_paths(fields, [PLURALS.get(name, name) for name in KINDS])
    singular = _all_paths(fields, ["reward"])
    if plural is None or singular is None:
        return None
    paths = dict(zip(KINDS, plural.values(), strict=True))
    if any(step.each for path in paths.values() for step in path):
        return None
    types: dict[str, Any] = {
        "prompt_id": Key,
        "reward": list[float],
        "log_prob": list[float] | None,
        "old_log_prob": list[float] | None,
        "response_length": list[float],
    }
    if fields.needs_log_probs:
        types["log_prob"] = types["old_log_prob"] = list[float]
    if not fields.needs_length:
        types["response_length"] = list[float] | None
    leaves: dict[Path, Any] = {}
    for name, leaf in types.items():
        if leaves.get(paths[name], leaf) != leaf:
            return None
        leaves[paths[name]] = leaf
    # a record with `reward` is a response, so that key must be absent here
    if paths["reward"] != singular["reward"]:
        leaves[singular["reward"]] = msgspec.UnsetType
    if not _is_tree(leaves):
        return None

    def build(records: list[Any], get: dict[Path, Getter], ids: Ids) -> Columns | None:
        rewards = get[paths["reward"]](records)
        counts = list(map(len, rewards))
        if not all(counts):
            return None
        flat: dict[str, Floats | None] = {}
        for name in ("log_prob", "old_log_prob", "response_length"):
            arrays = get[paths[name]](records)
            if arrays.count(None) == len(arrays):
                flat[name] = None
            elif None in arrays or list(map(len, arrays)) != counts:
                return None
            else:
                flat[name] = _floats(list(chain.from_iterable(arrays)))
        length = flat["response_length"]
        if length is not None and not _whole(length):
            return None
        codes = ids.places(get[paths["prompt_id"]](records))
        reward = _floats(list(chain.from_iterable(rewards)))
        line = np.repeat(np.arange(1, len(counts) + 1), counts)
        codes = np.repeat(codes, counts)
        return Columns([], codes, line, reward, length, flat["log_prob"], flat["old_log_prob"], None)

    return Shape(leaves, build)


def _all_paths(fields: Fields, names: Iterable[str]) -> dict[str, Path] | None:
    """Where these fields are, if every one is at a path."""
    paths: dict[str, Path] = {}
    for name in names:
        place = fields.paths[name]
        if isinstance(place, Expression):
            return None
        paths[name] = place
    return paths


# ---- paths → a type, and how to get at the values


def _is_tree(leaves: dict[Path, Any]) -> bool:
    """No path goes on where another ends, and no key is a list in one path and an object in another."""
    for a in leaves:
        for b in leaves:
            for depth, (x, y) in enumerate(zip(a, b, strict=False)):
                if x.key != y.key:
                    break
                if x.each != y.each or (a != b and depth + 1 in (len(a), len(b))):
                    return False
    return True


def _struct(leaves: dict[Path, Any], getters: dict[Path, Getter], above: tuple[str, ...] = ()) -> type[msgspec.Struct]:
    """The struct type whose fields lead to these leaves; fills `getters` with the way to each."""
    keys = list(dict.fromkeys(path[0] for path in leaves))
    members: list[Any] = []
    for number, step in enumerate(keys):
        name = f"f{number}"
        where = (*above, name)
        below = {path[1:]: leaf for path, leaf in leaves.items() if path[0] == step}
        if () in below:
            leaf = below[()]
            for path in leaves:
                if path[0] == step:
                    getters[path] = _scalar_getter(where)
        else:
            inner_getters: dict[Path, Getter] = {}
            if step.each:
                each = _struct({rest: leaf | msgspec.UnsetType for rest, leaf in below.items()}, inner_getters)
                getters.update({(step, *rest): _joined_getter(where, inner) for rest, inner in inner_getters.items()})
                leaf = list[each]  # type: ignore[valid-type]
            else:
                leaf = _struct(below, inner_getters, where)
                getters.update({(step, *rest): getter for rest, getter in inner_getters.items()})
        members.append((name, leaf, *_default(leaf)))
    members.sort(key=len)  # those with a default come last
    return msgspec.defstruct("Record", members, rename={f"f{i}": step.key for i, step in enumerate(keys)}, gc=False)


def _default(leaf: Any) -> tuple[Any, ...]:
    """The value of a member that may be absent, if it may."""
    options = getattr(leaf, "__args__", (leaf,))
    if leaf is msgspec.UnsetType or msgspec.UnsetType in options:
        return (msgspec.UNSET,)
    return (None,) if type(None) in options else ()


def _scalar_getter(where: tuple[str, ...]) -> Getter:
    # the attribute written out takes half the time of attrgetter; the names are f0, f1, … from above
    getter: Getter = eval(f"lambda records: [record.{'.'.join(where)} for record in records]")
    return getter


def _joined_getter(where: tuple[str, ...], inner: Getter) -> Getter:
    read = attrgetter(".".join(where))
    return lambda records: [
        list(chain.from_iterable(v for v in inner(read(record)) if v is not msgspec.UNSET)) for record in records
    ]


# ---- values → columns


class _Sequences:
    """Log-probs as read: their sums, and the number of tokens where they came as lists."""

    def __init__(self, sums: Floats | None, tokens: list[int] | None) -> None:
        self.sums, self.tokens = sums, tokens


INVALID: Any = object()


def _floats(values: Sequence[float]) -> Floats:
    return np.frombuffer(struct.pack(f"{len(values)}d", *values))  # twice as fast as np.array or np.fromiter of a list


def _sequences(values: list[Any]) -> _Sequences | None:
    first = values[0]
    if isinstance(first, tuple):
        if set(map(type, values)) != {tuple}:
            return None
        return _Sequences(_floats([total for total, _ in values]), [count for _, count in values])
    if first is None or first is msgspec.UNSET:
        return _Sequences(None, None) if values.count(None) + values.count(msgspec.UNSET) == len(values) else None
    try:
        if isinstance(first, (float, int)):
            return _Sequences(_floats(values), None)
        tokens = list(map(len, values))
        if not all(tokens):
            return None
        return _Sequences(_floats([exact_sum(value) for value in values]), tokens)
    except (struct.error, TypeError):  # numbers, lists and nulls mixed
        return None


def _lengths(values: list[Any], needed: bool, *log_probs: _Sequences) -> Any:
    first = values[0]
    if first is msgspec.UNSET:
        if values.count(msgspec.UNSET) != len(values):
            return INVALID
        tokens = next((s.tokens for s in log_probs if s.tokens is not None), None)
        if tokens is None:
            return INVALID if needed else None
        return _floats([float(n) for n in tokens])
    if first is None:
        return None if values.count(None) == len(values) and not needed else INVALID
    try:
        length = _floats(values)
    except struct.error:
        return INVALID
    return length if _whole(length) else INVALID


def _whole(length: Floats) -> bool:
    # 2**53 itself may have been 2**53 + 1: the careful reading knows
    return bool(np.all((length >= 0) & (length < MAX_EXACT) & (length == np.floor(length))))
