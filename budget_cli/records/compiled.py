"""A block → columns, by the compiled reader (`native/reader.c`), which checks every byte and names nothing.

A line that it does not understand is read by the careful reading, which knows why, and takes its place among the
others: one bad record in a thousand costs a thousandth. What a path cannot say is computed here, from the parts of the
record that the expression looks at. A property test holds the answer equal to that of the careful reading alone.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from budget_cli.ids import Ids, Key, Packed, keys_at
from budget_cli.native.reader import Reader
from budget_cli.records import columns, values
from budget_cli.records.columns import Decoded, ExtraColumn, Floats, LabelColumn, RejectionLimit, ResponseColumns
from budget_cli.records.reader_plan import ID, LOG_PROB, NUMBER_ARRAY, SPAN, ReaderPlan, plan_for
from budget_cli.records.record import composite, extra_value
from budget_cli.records.reference import ReferenceReader
from budget_cli.schema.fields import EXTRAS, KINDS, PLURALS, ExtraKind, Fields, Kind
from budget_cli.schema.json_values import Invalid
from budget_cli.schema.lookup import MISSING as NOT_THERE
from budget_cli.schema.lookup import value_at
from budget_cli.schema.paths import Expression
from budget_cli.sources.blocks import Block

VALUE, MISSING, NULL, LIST, UNUSABLE = range(5)  # what a line had for a slot, as in native/reader.c
SCALARS = ("prompt_id", "reward", "response_length", "log_prob", "old_log_prob")
CHECKS: dict[Kind, Callable[[Any], Any]] = {
    "id": values.prompt_id,
    "number": values.finite_number,
    "tokens": values.token_count,
    "log_prob": values.sequence_log_prob,
}

Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]


def decode(block: Block, fields: Fields, max_line_bytes: int, keep: RejectionLimit) -> Decoded | None:
    """What `careful.decode` says of the block, or None where the fields are beyond the compiled reader."""
    plan = plan_for(fields)
    if plan is None:
        return None
    careful = ReferenceReader(fields, max_line_bytes, keep)
    if not len(block):
        return Decoded(careful.columns(Ids()), careful.tally, 0, [])
    buffer, start, stop = block.buffer, block.start, block.stop
    torn = buffer[stop - 1] != ord("\n")
    if torn:
        buffer = bytes(block.view) + b"\n"
        start, stop = 0, len(buffer)
    count, blank, numbers, odd, slots = _reader_of(plan).read(buffer, start, stop, max_line_bytes)
    line = np.frombuffer(numbers, dtype=np.int64)

    def told(slot: int) -> SlotValues:
        return SlotValues.from_bytes(line.size, plan.slots[slot][0], *slots[slot])

    found = {name: told(plan.slot_of[name]) for name in (*KINDS, *fields.extras) if name in plan.slot_of}
    extras: dict[str, ExtraColumn] = {}
    readable = np.ones(line.size, dtype=bool)
    if plan.roots:
        spans = {root: told(slot).values.tolist() for root, slot in plan.roots.items()}
        partial = list(_partial_records(memoryview(buffer)[start:stop], spans, line.size))
        readable = np.array([record is not None for record in partial], dtype=bool)
        found |= {name: _computed(partial, place, KINDS[name]) for name, place in plan.expressions.items()}
        extras = {name: _computed_extra(partial, fields, name) for name in plan.extras}
    forms = [_responses(found, fields, line, extras, readable)]
    if slots[plan.slot_of["rewards"]][0] and not fields.extras:  # some line has such an array
        found |= {name: told(plan.slot_of[name]) for name in PLURALS.values()}
        forms.append(_prompts(found, fields, line))
    parts, used = [], np.zeros(line.size, dtype=bool)
    for made, mask in forms:
        if made is not None:
            parts.append(made)
            used |= mask
    left = np.frombuffer(odd, dtype=np.int64).reshape(-1, 3).tolist()
    understood = bool(used.all())
    if not understood:
        left = sorted(left + _places(buffer, start, stop, line[~used]))
    for number, begin, end in left:
        careful.read_line(number, bytes(memoryview(buffer)[start + begin : start + end]), torn and number == count)
    careful.tally.blank += blank
    careful.tally.read += int(used.sum())
    careful.tally.used += int(used.sum())
    if len(parts) == 1 and understood and careful.is_empty and all(one.distinct for one in found.values()):
        together = replace(parts[0], keys=found["prompt_id"].keys)
    else:
        together = _together(parts, found["prompt_id"].keys, careful)
    return Decoded(together, careful.tally, count, careful.rejections)


def _together(parts: list[ResponseColumns], keys: Sequence[Key], careful: ReferenceReader) -> ResponseColumns:
    """The parts, whose codes are places among these keys, and what was read carefully, in the order of the lines."""
    ids = Ids()
    places = ids.places(keys)
    for part in parts:
        part.codes = places[part.codes]
    return columns.sort_by_line(columns.concatenate([*parts, careful.columns(ids)], ids))


def rows_by_key(data: bytes, key: str, row: str) -> tuple[Sequence[Key], Integers, Floats] | None:
    """Of lines with an id and a list of numbers: the ids, how many numbers each has, and all those numbers.

    None where some line is anything else; data of no line has none.
    """
    if not data.endswith(b"\n"):
        return None if data else ([], np.zeros(0, dtype=np.int64), np.zeros(0))
    nodes = [(b'"', 0, -1, -1, 1, 2), (key.encode() + b'"', 0, 0, -1, 0, 0), (row.encode() + b'"', 0, 1, -1, 0, 0)]
    reader = Reader(nodes, [(ID, 0, 0), (NUMBER_ARRAY, 0, 0)])
    count, _, lines, _, (ids, rows) = reader.read(data, 0, len(data), len(data))
    if len(lines) != 8 * count or set(ids[0]) != {VALUE} or set(rows[0]) != {LIST}:
        return None
    found, found_rows = SlotValues.from_bytes(count, ID, *ids), SlotValues.from_bytes(count, NUMBER_ARRAY, *rows)
    keys, places = found.keys, found.values
    if not np.array_equal(places, np.arange(len(keys))):
        keys = keys_at(keys, places.tolist())
    return keys, found_rows.counts, found_rows.values


_of_thread = threading.local()


def _reader_of(plan: ReaderPlan) -> Reader:
    """This thread's reader: it reads a block at a time, and keeps its memory for the next."""
    if getattr(_of_thread, "plan", None) is not plan:
        _of_thread.plan, _of_thread.reader = plan, Reader(plan.nodes, plan.slots)
    reader: Reader = _of_thread.reader
    return reader


# ---- what the reader found


@dataclass
class SlotValues:
    """A slot's values: an entry a line; of a plural, an entry a row, and how many rows each line has."""

    states: NDArray[np.uint8]
    values: NDArray[Any]  # float64; of keys, int64: their places among `keys`; of spans, (lines, 2)
    counts: Integers  # of log-probs: how many tokens, -1 for a plain number; of a plural: how many rows
    keys: Sequence[Key] = ()
    distinct: bool = True  # the keys; not if escapes may spell one in two ways
    every: int = -1  # the state of every line, if it is the same and known

    @classmethod
    def from_bytes(
        cls, lines: int, kind: int, states: bytes, values: bytes, counts: bytes, keys: tuple[bytes, bytes]
    ) -> "SlotValues":
        """A slot as it comes from the reader."""
        if not states:
            return cls.nothing(lines, kind)
        numbers = np.frombuffer(values, dtype=np.int64 if kind in (ID, SPAN) else np.float64)
        every, tokens = states[0] if len(states) == 1 else -1, np.frombuffer(counts, dtype=np.int64)
        texts, ends = keys
        escaped = b"\\" in texts  # else they stand as orjson writes them
        return cls(
            np.frombuffer(states, dtype=np.uint8) if every < 0 else np.full(lines, every, dtype=np.uint8),
            numbers.reshape(-1, 2) if kind == SPAN else numbers,
            tokens if tokens.size or kind != LOG_PROB else np.broadcast_to(np.int64(-1), lines),
            orjson.loads(b"[%b]" % texts[:-1]) if escaped else Packed(texts, np.frombuffer(ends, dtype=np.int64)),
            not escaped,
            every,
        )

    @classmethod
    def nothing(cls, lines: int, kind: int) -> "SlotValues":
        """A slot for which no line has anything."""
        values = np.full((lines, 2) if kind == SPAN else lines, -1 if kind in (ID, SPAN) else np.nan)
        return cls(np.full(lines, MISSING, dtype=np.uint8), values, np.full(lines, -1 if kind == LOG_PROB else 0))

    def there(self) -> Mask:
        """The lines that have a value."""
        return np.asarray((self.states == VALUE) | (self.states == LIST))

    def absent(self) -> Mask:
        """The lines in which it is missing or null."""
        return np.asarray((self.states == MISSING) | (self.states == NULL))


def _responses(
    found: dict[str, SlotValues], fields: Fields, line: Integers, computed: dict[str, ExtraColumn], readable: Mask
) -> tuple[ResponseColumns | None, Mask]:
    """The lines that are records of a response, and which they are; the rules are those of `records`."""
    prompt_id, reward, length = found["prompt_id"], found["reward"], found["response_length"]
    log_prob, old_log_prob = found["log_prob"], found["old_log_prob"]
    plain = not fields.extras and readable.all() and all(found[name].every == VALUE for name in SCALARS)
    if plain:  # as most blocks are
        numbers = length.values, log_prob.values, old_log_prob.values
        return ResponseColumns([], prompt_id.values, line, reward.values, *numbers, None), readable
    used = readable & (prompt_id.states == VALUE) & (reward.states == VALUE)
    for one in (log_prob, old_log_prob):
        used &= one.there() if fields.needs_log_probs else one.there() | one.absent()
    both = (log_prob.counts >= 0) & (old_log_prob.counts >= 0)
    used &= ~both | (log_prob.counts == old_log_prob.counts)
    tokens = np.where(log_prob.counts >= 0, log_prob.counts, old_log_prob.counts)
    counted = (length.states == MISSING) & (tokens >= 0)
    known = (length.states == VALUE) | counted
    used &= known if fields.needs_length else known | length.absent()
    for name in fields.extras:
        if name in found:
            used &= found[name].states != UNUSABLE
    if not used.any():
        return None, used
    lengths = np.where(counted, tokens, length.values) if counted.any() else length.values
    told = {name: _extra(one, EXTRAS[name]) for name, one in found.items() if name in fields.extras} | computed
    in_order = {name: told[name] for name in fields.extras}
    optionals = (lengths, log_prob.values, old_log_prob.values, np.where(tokens >= 0, tokens, np.nan))
    made = ResponseColumns([], prompt_id.values, line, reward.values, *optionals, in_order)
    return columns.drop_empty(made if used.all() else made.select(used)), used


def _extra(found: SlotValues, kind: ExtraKind) -> ExtraColumn:
    return LabelColumn(list(found.keys), found.values) if kind == "label" else found.values


def _prompts(found: dict[str, SlotValues], fields: Fields, line: Integers) -> tuple[ResponseColumns | None, Mask]:
    """The same of the lines that hold a prompt's arrays of plain numbers."""
    rewards = found["rewards"]
    used = (rewards.states == LIST) & (found["reward"].states == MISSING) & (found["prompt_id"].states == VALUE)
    if not used.any():
        return None, used
    length, log_prob, old_log_prob = found["response_lengths"], found["log_probs"], found["old_log_probs"]
    for name, one in (("response_length", length), ("log_prob", log_prob), ("old_log_prob", old_log_prob)):
        used &= ((one.states == LIST) & (one.counts == rewards.counts)) | (one.absent() & (not fields.required(name)))
    lines = np.flatnonzero(used)
    sizes = rewards.counts[lines]
    within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)

    def rows(one: SlotValues) -> Floats:
        if not one.values.size:
            return np.full(within.size, np.nan)
        starts = (np.cumsum(one.counts) - one.counts)[lines]
        there = np.repeat(one.states[lines] == LIST, sizes)
        return np.where(there, one.values[np.where(there, np.repeat(starts, sizes) + within, 0)], np.nan)

    codes, of_line = np.repeat(found["prompt_id"].values[lines], sizes), np.repeat(line[lines], sizes)
    made = ResponseColumns([], codes, of_line, rows(rewards), rows(length), rows(log_prob), rows(old_log_prob), None)
    return columns.drop_empty(made), used


# ---- what a path cannot say


def _partial_records(
    view: memoryview, spans: dict[str, list[list[int]]], lines: int
) -> Iterator[dict[str, Any] | None]:
    """Of every line the keys that are looked at; None where a number in them is beyond a double."""
    for i in range(lines):
        try:
            yield {root: orjson.loads(view[at[i][0] : at[i][1]]) for root, at in spans.items() if at[i][0] >= 0}
        except orjson.JSONDecodeError:
            yield None


def _computed(partial: list[dict[str, Any] | None], place: Expression, kind: Kind) -> SlotValues:
    return _found([Invalid if record is None else _evaluated(record, place, kind) for record in partial], kind)


def _computed_extra(partial: list[dict[str, Any] | None], fields: Fields, name: str) -> ExtraColumn:
    return columns.extra_column(
        EXTRAS[name], [extra_value({} if record is None else record, fields, name) for record in partial]
    )


def _evaluated(record: dict[str, Any], expression: Expression, kind: Kind) -> Any:
    """The checked value; None where there is none, UNUSABLE where the careful reading shall say why."""
    try:
        value = value_at(record, expression)
        if value is NOT_THERE:
            return None
        return CHECKS[kind](composite(value) if kind == "id" else value)
    except Invalid:
        return Invalid


def _found(made: list[Any], kind: Kind) -> SlotValues:
    """Checked values as a slot has them."""
    states = np.array([MISSING if v is None else UNUSABLE if v is Invalid else VALUE for v in made], dtype=np.uint8)
    there = [None if v is Invalid else v for v in made]
    tokens = np.full(len(made), -1)
    if kind == "id":
        ids = Ids()
        codes = ids.places([0 if v is None else v for v in there])
        return SlotValues(states, codes, tokens, ids.all())
    if kind == "log_prob":
        tokens = np.array([-1 if v is None or v[1] is None else v[1] for v in there], dtype=np.int64)
        there = [None if v is None else v[0] for v in there]
    numbers = np.array([np.nan if v is None else v for v in there], dtype=np.float64)
    return SlotValues(states, numbers, tokens)


def _places(buffer: bytes | bytearray, start: int, stop: int, lines: Integers) -> list[list[int]]:
    """Number, start and end of these lines, counted from the block's beginning."""
    ends = np.flatnonzero(np.frombuffer(buffer, dtype=np.uint8, count=stop - start, offset=start) == ord("\n"))
    begins = np.concatenate([[0], ends[:-1] + 1])
    return [
        list(place) for place in zip(lines.tolist(), begins[lines - 1].tolist(), ends[lines - 1].tolist(), strict=True)
    ]
