"""A block → columns, by the compiled reader (`native/reader.c`), which checks every byte and gives no reasons.

Lines that it cannot handle are deferred to the reference reader, which knows the reasons, and their records take their
place among the others: one bad record in a thousand costs a thousandth. Expressions are evaluated here, on the parts of
the record that they use. A property test holds the result equal to that of the reference reader alone.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, pairwise
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from budget_cli.ids import Ids, Key, Packed, keys_at
from budget_cli.native.reader import (
    ID,
    LIST,
    LOG_PROB,
    MISSING,
    NULL,
    NUMBER_ARRAY,
    SPAN,
    UNUSABLE,
    VALUE,
    Lines,
    Reader,
    Slot,
)
from budget_cli.native.unfold import unfold
from budget_cli.records import columns, values
from budget_cli.records.columns import (
    PLACES_OF_EACH,
    Decoded,
    ExtraColumn,
    Floats,
    LabelColumn,
    LeftOut,
    LengthFrom,
    RejectionLimit,
    ResponseColumns,
    merge_left_out,
)
from budget_cli.records.reader_plan import ReaderPlan, plan_for
from budget_cli.records.record import composite, extra_value, reason_to_leave_out, response_texts
from budget_cli.records.reference import ReferenceReader
from budget_cli.schema.fields import EXTRAS, KINDS, PAIRS, PLURALS, SAMPLER, WHERE, ExtraKind, Fields, Kind, compared
from budget_cli.schema.json_values import Invalid
from budget_cli.schema.paths import Expression
from budget_cli.sources.blocks import Block

SCALARS = ("prompt_id", "reward", "response_length", "log_prob", "old_log_prob")
CHECKS: dict[Kind, Callable[[Any], Any]] = {
    "id": lambda value: values.prompt_id(composite(value)),
    "number": values.finite_number,
    "tokens": values.token_count,
    "log_prob": values.sequence_log_prob,
}

NO_TOKENS = np.zeros(0)

Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]


def decode(block: Block, fields: Fields, max_line_bytes: int, keep: RejectionLimit) -> Decoded | None:
    """Decode the block exactly as `reference.decode` does; None if the compiled reader cannot take these fields."""
    plan = plan_for(fields)
    if plan is None:
        return None
    reference = ReferenceReader(fields, max_line_bytes, keep)
    if not len(block):
        return Decoded(reference.columns(Ids()), reference.tally, 0, [])
    buffer, start, stop = block.buffer, block.start, block.stop
    torn = buffer[stop - 1] != ord("\n")
    if torn:
        buffer = bytes(block.view) + b"\n"
        start, stop = 0, len(buffer)
    rows = _rows(plan, buffer, start, stop, max_line_bytes)
    read, line = rows.read, rows.line

    def slot_values(slot: int) -> SlotValues:
        return SlotValues.from_slot(read.slots[slot], plan.slots[slot][0], line.size)

    by_field = {name: slot_values(plan.slot_of[name]) for name in (*KINDS, *fields.extras) if name in plan.slot_of}
    if fields.group:
        by_field["prompt_id"] = SlotValues.of_lines(line)
    extras: dict[str, ExtraColumn] = {}
    readable = np.ones(line.size, dtype=bool)
    view = rows.view

    def partial_records(roots: Sequence[str], rows: Mask | None = None) -> list[dict[str, Any] | None]:
        spans = [slot_values(plan.roots[root]).values for root in roots]
        places = [(at if rows is None else at[rows]).tolist() for at in spans]
        return list(_partial_records(view, roots, places))

    def counted_lengths(rows: Mask) -> Floats:
        """Count the tokens of the texts of these lines; NaN for a line without a text, inf for one to be deferred."""
        parts = partial_records(plan.counted, rows)
        texts = [None if part is None else response_texts(part, fields) for part in parts]
        lengths = np.array([np.inf if part is None else np.nan for part in parts])
        assert fields.tokenizer is not None
        lengths[[one is not None for one in texts]] = columns.count_tokens(
            fields.tokenizer, [one for one in texts if one is not None]
        )
        return lengths

    if plan.computed:
        partial = partial_records(plan.computed)
        readable = np.array([record is not None for record in partial], dtype=bool)
        for name, place in plan.expressions.items():
            by_field[name] = _computed(partial, place, KINDS[name], fields.compares_tokens)
        for name in plan.extras:
            if name == SAMPLER:
                by_field[name] = _computed_sampler(partial, fields)
            else:
                extras[name] = _computed_extra(partial, fields, name)
    if SAMPLER in fields.extras:
        _drop_unfitting(by_field[SAMPLER], by_field["log_prob"])
    for pair in fields.pairs:
        one, other = (by_field[name] for name in PAIRS[pair])
        extras |= {compared(pair, what): column for what, column in _compared(one, other, fields.bins_tokens).items()}
    has_rewards = "rewards" in plan.slot_of and read.slots[plan.slot_of["rewards"]].states
    rewards = slot_values(plan.slot_of["rewards"]) if has_rewards else None
    if rewards is not None and not fields.scored_by:
        # both a reward and a list of them: the reference reader gives the reason
        readable &= ~((rewards.states == LIST) | (rewards.states == UNUSABLE)) | by_field["reward"].absent()
    left_out = np.zeros(line.size, dtype=bool)
    if fields.leave_out:
        if plan.conditions:
            reasons = _reasons_of([slot_values(slot) for slot in plan.conditions], line.size, fields)
        else:
            spans = {root: slot_values(plan.roots[root]).values.tolist() for root in plan.judged}
            reasons = _reasons(view, spans, line.size, fields)
        readable &= reasons == USED
        left_out = reasons >= 0
        if fields.skip_unscored:  # a line without a reward is skipped, whatever else holds
            scored = by_field["reward"].states == VALUE if fields.scored_by != "rewards" else False
            left_out &= scored  # those that have an array of rewards are deferred
        if fields.by in by_field:
            left_out &= by_field[fields.by].states != UNUSABLE
    skipped = np.zeros(line.size, dtype=bool)
    if fields.skip_unscored and rows.unfit is None and "rewards" in plan.slot_of:
        skipped = slot_values(plan.slot_of["rewards"]).states == MISSING
        if fields.scored_by != "rewards":
            skipped &= by_field["reward"].states == MISSING
        readable &= ~skipped
        left_out &= ~skipped
    if rewards is not None and plan.reads_prompts and not fields.extra_kinds:  # some line has such an array
        by_field |= {name: slot_values(plan.slot_of[name]) for name in PLURALS.values()}
        arrays = True
    else:
        arrays = False
    while True:
        shapes = [_responses(by_field, fields, line, extras, readable, counted_lengths)]
        if arrays:
            shapes.append(_prompts(by_field, fields, line, readable))
        parts, used = [], np.zeros(line.size, dtype=bool)
        for part, mask in shapes:
            if part is not None:
                parts.append(part)
                used |= mask
        whole = rows.whole_lines([left_out, *(mask for _, mask in shapes)])
        if np.array_equal(used | left_out, whole):
            break
        readable &= whole  # a line of several records is used in whole, or left to the reference reader
        left_out &= whole
    deferred = rows.deferred
    all_used = bool(used.all())
    if not all_used:
        deferred = sorted(deferred + _line_places(buffer, start, stop, np.unique(line[~(used | left_out | skipped)])))
    for number, begin, end in deferred:
        text = bytes(memoryview(buffer)[start + begin : start + end])
        reference.read_line(number, text, torn and number == rows.lines)
    reference.tally.blank += rows.blank
    reference.tally.read += rows.count_lines(used | left_out | skipped)
    reference.tally.used += rows.count_lines(used)
    reference.tally.skipped += rows.count_lines(skipped)
    places = reference.left_out
    if left_out.any():
        names = [reason for reason, _ in fields.leave_out]
        at = np.flatnonzero(left_out)
        first = []
        for number, reason in enumerate(names):
            of_reason = at[reasons[at] == number]
            reference.tally.left_out += Counter({reason: of_reason.size})
            first += of_reason[:PLACES_OF_EACH].tolist()
        places = []
        found = [*reference.left_out, *(LeftOut("", int(line[i]), names[reasons[i]]) for i in sorted(first))]
        merge_left_out(places, sorted(found, key=lambda one: one.line))
        counts = reference.tally.left_out  # by reason, in the order of the lines, as without deferred lines
        reference.tally.left_out = Counter(
            {reason: counts[reason] for reason in dict.fromkeys(one.reason for one in places)}
        )
        if fields.by:
            labels = extras[fields.by] if fields.by in extras else _extra(by_field[fields.by], "label")
            assert isinstance(labels, LabelColumn)
            codes, counted = labels.codes[at].tolist(), [(int(line[i]), names[reasons[i]]) for i in at.tolist()]
            of_each = [labels.values[code] if code >= 0 else None for code in codes]
            both = [*reference.left_out_by, *((label, *one) for label, one in zip(of_each, counted, strict=True))]
            reference.left_out_by = sorted(both, key=lambda one: one[1])
    if len(parts) == 1 and all_used and not reference.rows and all(one.distinct for one in by_field.values()):
        merged = replace(parts[0], keys=by_field["prompt_id"].keys)
    else:
        merged = _merged(parts, by_field["prompt_id"].keys, reference)
    reference.tally.length_origins = merged.length_origins(fields.tokenizer)
    return Decoded(merged, reference.tally, rows.lines, reference.rejections, places, reference.left_out_by)


def _merged(parts: list[ResponseColumns], keys: Sequence[Key], reference: ReferenceReader) -> ResponseColumns:
    """Merge the parts, whose codes are places among `keys`, and what the reference reader read, in line order."""
    ids = Ids()
    places = ids.places(keys)
    for part in parts:
        part.codes = places[part.codes]
    return columns.sort_by_line(columns.concatenate([*parts, reference.columns(ids)], ids))


def ids_and_rows(data: bytes, id_key: str, row_key: str) -> tuple[Sequence[Key], Integers, Floats] | None:
    """Read lines that hold an id and a list of numbers: the ids, how many numbers each has, and all those numbers.

    None if any line is anything else. Empty data has no ids.
    """
    if not data.endswith(b"\n"):
        return None if data else ([], np.zeros(0, dtype=np.int64), np.zeros(0))
    nodes = [
        (b'"', 0, -1, -1, 1, 2),
        (id_key.encode() + b'"', 0, 0, -1, 0, 0),
        (row_key.encode() + b'"', 0, 1, -1, 0, 0),
    ]
    read = Reader(nodes, [(ID, 0, 0), (NUMBER_ARRAY, 0, 0)]).read(data, 0, len(data), len(data))
    id_slot, row_slot = read.slots
    if len(read.numbers) != 8 * read.lines or set(id_slot.states) != {VALUE} or set(row_slot.states) != {LIST}:
        return None
    ids = SlotValues.from_slot(id_slot, ID, read.lines)
    rows = SlotValues.from_slot(row_slot, NUMBER_ARRAY, read.lines)
    keys, places = ids.keys, ids.values
    if not np.array_equal(places, np.arange(len(keys))):
        keys = keys_at(keys, places.tolist())
    return keys, rows.counts, rows.values


@dataclass(eq=False, repr=False)
class Rows:
    """What the reader made of a block: a row for each record, of one line or several to a line."""

    read: Lines
    line: Integers  # of each row, the number of its line
    view: memoryview  # the text to which places in spans refer
    deferred: list[list[int]]  # number, start and end of each line that is not among the rows
    lines: int
    blank: int
    unfit: Integers | None  # the lines of which some records are not among the rows; None: each line is one record

    def whole_lines(self, shapes: Sequence[Mask]) -> Mask:
        """Return the rows of the lines of which all records are rows that have one of these shapes, and the same."""
        if self.unfit is None:
            return np.asarray(np.logical_or.reduce(shapes))
        unfit = [self.unfit, self.line[~np.logical_or.reduce(shapes)]]
        if all(shape.any() for shape in shapes[1:]):
            unfit += [np.intersect1d(self.line[one], self.line[other]) for one, other in pairwise(shapes[1:])]
        return ~np.isin(self.line, np.concatenate(unfit))

    def count_lines(self, rows: Mask) -> int:
        """Count the lines of these rows."""
        if self.unfit is None:
            return int(rows.sum())
        lines = self.line[rows]  # in their order
        return int((lines[1:] != lines[:-1]).sum()) + bool(lines.size)


def _rows(plan: ReaderPlan, buffer: bytes | bytearray, start: int, stop: int, longest: int) -> Rows:
    """Read the lines of a block, which ends with a newline."""
    if plan.unfolding is None:
        read = _thread_reader(plan).read(buffer, start, stop, longest)
        deferred = np.frombuffer(read.deferred, dtype=np.int64).reshape(-1, 3).tolist()
        line = np.frombuffer(read.numbers, dtype=np.int64)
        return Rows(read, line, memoryview(buffer)[start:stop], deferred, read.lines, read.blank, None)
    text, of_row, not_unfolded, lines, blank = unfold(buffer, start, stop, longest, *plan.unfolding)
    read = _thread_reader(plan).read(text or b"\n", 0, len(text) or 1, len(text))
    of_rows = np.frombuffer(of_row, dtype=np.int64)
    line = of_rows[np.frombuffer(read.numbers, dtype=np.int64) - 1]
    unfit = of_rows[np.frombuffer(read.deferred, dtype=np.int64)[::3] - 1]
    deferred = np.frombuffer(not_unfolded, dtype=np.int64).reshape(-1, 3).tolist()
    others = _line_places(buffer, start, stop, np.setdiff1d(unfit, line)) if unfit.size else []
    return Rows(read, line, memoryview(text or b"\n"), sorted(deferred + others), lines, blank, unfit)


_thread = threading.local()


def _thread_reader(plan: ReaderPlan) -> Reader:
    """Return this thread's reader, which reads one block at a time and keeps its memory for the next."""
    if getattr(_thread, "plan", None) is not plan:
        _thread.plan = plan
        _thread.reader = Reader(plan.nodes, plan.slots, plan.operations, plan.programs)
    reader: Reader = _thread.reader
    return reader


# ---- the columns of the reader


@dataclass(eq=False, repr=False)
class SlotValues:
    """The values of a slot: one entry per line; of an array, one entry per row."""

    states: NDArray[np.uint8]
    values: NDArray[Any]  # float64; of ids int64, their places among `keys`; of spans, shape (lines, 2)
    counts: Integers  # of log-probs, tokens (-1 for a plain number); of an array, its rows
    keys: Sequence[Key] = ()
    distinct: bool = True  # the keys; False if escapes may spell one key in two ways
    uniform: int = -1  # the state of every line, if it is known to be the same
    tokens: Floats = field(
        default_factory=lambda: NO_TOKENS
    )  # the log-probs of all lists, one after another, if they are kept

    @classmethod
    def from_slot(cls, slot: Slot, kind: int, lines: int) -> "SlotValues":
        """Wrap a slot of the reader's result."""
        if not slot.states:
            return cls.nothing(lines, kind)
        numbers = np.frombuffer(slot.values, dtype=np.int64 if kind in (ID, SPAN) else np.float64)
        uniform = slot.states[0] if len(slot.states) == 1 else -1
        counts, texts = np.frombuffer(slot.counts, dtype=np.int64), slot.id_texts
        escaped = b"\\" in texts  # without escapes, the texts are as orjson writes them
        return cls(
            np.frombuffer(slot.states, dtype=np.uint8) if uniform < 0 else np.full(lines, uniform, dtype=np.uint8),
            numbers.reshape(-1, 2) if kind == SPAN else numbers,
            counts if counts.size or kind != LOG_PROB else np.broadcast_to(np.int64(-1), lines),
            orjson.loads(b"[%b]" % texts[:-1])
            if escaped
            else Packed(texts, np.frombuffer(slot.id_ends, dtype=np.int64)),
            not escaped,
            uniform,
            np.frombuffer(slot.tokens, dtype=np.float64),
        )

    @classmethod
    def nothing(cls, lines: int, kind: int) -> "SlotValues":
        """Make a slot for which no line has anything."""
        values = np.full((lines, 2) if kind == SPAN else lines, -1 if kind in (ID, SPAN) else np.nan)
        return cls(np.full(lines, MISSING, dtype=np.uint8), values, np.full(lines, -1 if kind == LOG_PROB else 0))

    @classmethod
    def of_lines(cls, line: Integers) -> "SlotValues":
        """Make ids of the numbers of the lines."""
        states, counts = np.full(line.size, VALUE, dtype=np.uint8), np.zeros(line.size, dtype=np.int64)
        distinct, places = np.unique(line, return_inverse=True)
        return cls(states, places, counts, distinct.tolist(), uniform=VALUE)

    def present(self) -> Mask:
        """Return the mask of the lines that have a value."""
        return np.asarray((self.states == VALUE) | (self.states == LIST))

    def absent(self) -> Mask:
        """Return the mask of the lines in which it is missing or null."""
        return np.asarray((self.states == MISSING) | (self.states == NULL))


def _responses(
    by_field: dict[str, SlotValues],
    fields: Fields,
    line: Integers,
    computed: dict[str, ExtraColumn],
    readable: Mask,
    counted_lengths: Callable[[Mask], Floats],
) -> tuple[ResponseColumns | None, Mask]:
    """Return the lines that are records of one response, and their mask; the rules are those of `record`."""
    prompt_id, reward, length = by_field["prompt_id"], by_field["reward"], by_field["response_length"]
    log_prob, old_log_prob = by_field["log_prob"], by_field["old_log_prob"]
    single = fields.scored_by != "rewards"
    plain = single and not fields.extra_kinds and readable.all() and all(by_field[n].uniform == VALUE for n in SCALARS)
    if plain:  # like most blocks
        numbers = length.values, log_prob.values, old_log_prob.values
        return ResponseColumns([], prompt_id.values, line, reward.values, *numbers, None), readable
    used = readable & (prompt_id.states == VALUE) & (reward.states == VALUE) & single
    for one in (log_prob, old_log_prob):
        used &= one.present() if fields.needs_log_probs else one.present() | one.absent()
    both = (log_prob.counts >= 0) & (old_log_prob.counts >= 0)
    used &= ~both | (log_prob.counts == old_log_prob.counts)
    tokens = np.where(log_prob.counts >= 0, log_prob.counts, old_log_prob.counts)
    for name in fields.extras:
        if name in by_field:
            used &= by_field[name].states != UNUSABLE
    counts_text = fields.tokenizer is not None
    counted = (length.absent() if counts_text else length.states == MISSING) & (tokens >= 0)
    known = (length.states == VALUE) | counted
    lengths = np.where(counted, tokens, length.values) if counted.any() else length.values
    without = used & length.absent() & ~known
    if counts_text and without.any():
        lengths = lengths.copy()
        lengths[without] = counted_lengths(without)
        used &= ~np.isinf(lengths)
        without &= np.isfinite(lengths)
        known |= without
    else:
        without = np.zeros_like(counted)
    used &= known if fields.needs_length else known | length.absent()
    if not used.any():
        return None, used
    length_from = None
    if ((counted | without) & used).any():
        length_from = np.where(without, LengthFrom.TOKENIZER, np.where(counted, LengthFrom.TOKENS, LengthFrom.FIELD))
        length_from = length_from.astype(np.uint8)
    read = {name: _extra(one, EXTRAS[name]) for name, one in by_field.items() if name in fields.extras} | computed
    in_order = {name: read[name] for name in fields.extra_kinds}
    optionals = (lengths, log_prob.values, old_log_prob.values, np.where(tokens >= 0, tokens, np.nan))
    responses = ResponseColumns([], prompt_id.values, line, reward.values, *optionals, in_order, length_from)
    return columns.drop_empty(responses if used.all() else responses.select(used)), used


def _drop_unfitting(sampler: SlotValues, log_prob: SlotValues) -> None:
    """Drop the log-probs of the sampler that are not of as many tokens; changes the values in place."""
    unfitting = (sampler.counts >= 0) & (log_prob.counts >= 0) & (sampler.counts != log_prob.counts)
    if unfitting.any():
        sampler.values = np.where(unfitting, np.nan, sampler.values)


def _compared(one: SlotValues, other: SlotValues, bins: bool) -> dict[str, Floats]:
    """Return the columns COMPARED of all lines, and BINS if asked for."""
    from budget_cli.records.token_comparison import compare_tokens, spread  # which only the checks need

    both = (one.counts > 0) & (one.counts == other.counts)
    return spread(compare_tokens(one.counts[both], _tokens(one, both), _tokens(other, both), bins), both)


def _tokens(slot: SlotValues, lines: Mask) -> Floats:
    """Return the log-probs of these lines, which have lists."""
    listed = slot.counts > 0
    return slot.tokens if lines[listed].all() else slot.tokens[np.repeat(lines[listed], slot.counts[listed])]


def _extra(slot: SlotValues, kind: ExtraKind) -> ExtraColumn:
    return LabelColumn(list(slot.keys), slot.values) if kind == "label" else slot.values


def _prompts(
    by_field: dict[str, SlotValues], fields: Fields, line: Integers, readable: Mask
) -> tuple[ResponseColumns | None, Mask]:
    """Return the responses of the lines that hold arrays of plain numbers, one entry per response, and their mask."""
    rewards = by_field["rewards"]
    used = readable & (rewards.states == LIST) & (by_field["prompt_id"].states == VALUE)
    if fields.scored_by != "rewards":
        used &= by_field["reward"].states == MISSING
    if not used.any():
        return None, used
    length, log_prob, old_log_prob = by_field["response_lengths"], by_field["log_probs"], by_field["old_log_probs"]
    for name, one in (("response_length", length), ("log_prob", log_prob), ("old_log_prob", old_log_prob)):
        may_be_absent = not fields.required(name) and (name != "response_length" or fields.tokenizer is None)
        used &= ((one.states == LIST) & (one.counts == rewards.counts)) | (one.absent() & may_be_absent)
    lines = np.flatnonzero(used)
    sizes = rewards.counts[lines]
    within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)

    def rows(one: SlotValues) -> Floats:
        if not one.values.size:
            return np.full(within.size, np.nan)
        starts = (np.cumsum(one.counts) - one.counts)[lines]
        present = np.repeat(one.states[lines] == LIST, sizes)
        return np.where(present, one.values[np.where(present, np.repeat(starts, sizes) + within, 0)], np.nan)

    codes, row_lines = np.repeat(by_field["prompt_id"].values[lines], sizes), np.repeat(line[lines], sizes)
    optionals = rows(length), rows(log_prob), rows(old_log_prob)
    return columns.drop_empty(ResponseColumns([], codes, row_lines, rows(rewards), *optionals, None)), used


# ---- expressions


def _partial_records(
    view: memoryview, roots: Sequence[str], places: list[list[list[int]]]
) -> Iterator[dict[str, Any] | None]:
    """Yield these parts of the records of some lines; None if a number in them is beyond a double."""
    loads = orjson.loads
    for parts in zip(*places, strict=True):
        try:
            yield {root: loads(view[begin:end]) for root, (begin, end) in zip(roots, parts, strict=True) if begin >= 0}
        except orjson.JSONDecodeError:
            yield None


def _computed(partial: list[dict[str, Any] | None], place: Expression, kind: Kind, keeps: bool) -> SlotValues:
    from budget_cli.schema import expressions  # and jmespath, which only expressions need

    evaluate, check = expressions.evaluator(place.text), CHECKS[kind]
    checked: list[Any] = []  # the values; None if there is none, Invalid if the reference reader has to give the reason
    for record in partial:
        try:
            value = Invalid if record is None else evaluate(record)
            checked.append(value if value is None or value is Invalid else check(value))
        except Invalid:
            checked.append(Invalid)
    found = _slot_values(checked, kind)
    return _with_tokens(found, checked) if keeps and kind == "log_prob" else found


def _computed_sampler(partial: list[dict[str, Any] | None], fields: Fields) -> SlotValues:
    found = [extra_value({} if record is None else record, fields, SAMPLER) for record in partial]
    return _with_tokens(_slot_values(found, "log_prob"), found)


def _with_tokens(slot: SlotValues, checked: list[Any]) -> SlotValues:
    """Add the log-probs of all lists among the values of a slot."""
    lists = (one.tokens for one in checked if isinstance(one, values.LogProb))
    slot.tokens = np.array(list(chain.from_iterable(lists)), dtype=np.float64)
    return slot


def _computed_extra(partial: list[dict[str, Any] | None], fields: Fields, name: str) -> ExtraColumn:
    return columns.extra_column(
        EXTRAS[name], [extra_value({} if record is None else record, fields, name) for record in partial]
    )


SHORT = 64  # bytes of what an expression judges; few lines differ in so few, so the judgement is kept
JUDGEMENTS = 1 << 12  # that are kept


USED, REJECTED = (
    -1,
    -2,
)  # in place of the number of a reason to leave a sample out: none, or it is for the reference reader


def _reasons(view: memoryview, spans: dict[str, list[list[int]]], lines: int, fields: Fields) -> Integers:
    """Return, for each line, the number of the reason to leave it out, or one of the two above."""
    numbers = {reason: number for number, (reason, _) in enumerate(fields.leave_out)}
    judged: dict[tuple[bytes | None, ...], int] = {}
    places = list(zip(*spans.values(), strict=True))
    reasons = []
    for i in range(lines):
        parts = tuple([bytes(view[begin:end]) if begin >= 0 else None for begin, end in places[i]])
        if parts in judged:
            reasons.append(judged[parts])
            continue
        try:
            record = {root: orjson.loads(part) for root, part in zip(spans, parts, strict=True) if part is not None}
            reason = reason_to_leave_out(record, fields)
            number = USED if reason is None else numbers[reason]
        except (Invalid, orjson.JSONDecodeError):
            number = REJECTED
        if len(judged) < JUDGEMENTS and sum(len(part or b"") for part in parts) <= SHORT:
            judged[parts] = number
        reasons.append(number)
    return np.array(reasons, dtype=np.int64)


def _reasons_of(conditions: list[SlotValues], lines: int, fields: Fields) -> Integers:
    """Return what `_reasons` does, where the reader has computed each condition."""
    reasons, judged = np.full(lines, USED), np.zeros(lines, dtype=bool)
    for number, (one, (reason, _)) in enumerate(zip(conditions, fields.leave_out, strict=True)):
        unusable, holds = one.states == UNUSABLE, (one.values == 1) != (reason == WHERE)
        reasons[~judged & unusable] = REJECTED
        reasons[~judged & ~unusable & holds] = number
        judged = reasons != USED
    return reasons


def _slot_values(checked: list[Any], kind: Kind) -> SlotValues:
    """Arrange checked values like those of a slot."""
    states = np.array([MISSING if v is None else UNUSABLE if v is Invalid else VALUE for v in checked], dtype=np.uint8)
    present = [None if v is Invalid else v for v in checked]
    tokens = np.full(len(checked), -1)
    if kind == "id":
        ids = Ids()
        codes = ids.places([0 if v is None else v for v in present])
        return SlotValues(states, codes, tokens, ids.all())
    if kind == "log_prob":
        tokens = np.array([-1 if v is None or v.size is None else v.size for v in present], dtype=np.int64)
        present = [None if v is None else v.total for v in present]
    numbers = np.array([np.nan if v is None else v for v in present], dtype=np.float64)
    return SlotValues(states, numbers, tokens)


def _line_places(buffer: bytes | bytearray, start: int, stop: int, lines: Integers) -> list[list[int]]:
    """Return number, start and end (bytes from the beginning of the block) of each of these lines."""
    ends = np.flatnonzero(np.frombuffer(buffer, dtype=np.uint8, count=stop - start, offset=start) == ord("\n"))
    begins = np.concatenate([[0], ends[:-1] + 1])
    return [
        list(place) for place in zip(lines.tolist(), begins[lines - 1].tolist(), ends[lines - 1].tolist(), strict=True)
    ]
