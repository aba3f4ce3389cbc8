"""The result of every reader: responses as columns, and rejected records. Knows no bytes and no JSON."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from budget_cli.ids import Ids, Key, keys_at
from budget_cli.schema.fields import ExtraKind, TokenCounter

Label = Key | None  # None: the response has no label
Floats = NDArray[np.float64]


class LengthFrom(IntEnum):
    """Where the length of a response comes from."""

    FIELD = 0  # the dump has it
    TOKENS = 1  # the number of its log-probs
    TOKENIZER = 2  # the tokens of its text, counted here


class Rejection(NamedTuple):
    """One record that is not used, and why."""

    source: str
    line: int  # 1-based physical line; in Parquet, the row; in a JSON document, the number of the record
    column: int | None  # 1-based, in characters; None where there are no lines of text
    code: str
    field: str | None
    message: str
    path: str | None = None  # in a JSON document: where it is, as in `results[17].score`; "" for the whole document

    def __str__(self) -> str:
        what = self.message if self.field is None else f"{self.field}: {self.message}"
        if self.path is not None:
            return f"{self.source}: {self.path}: {what}" if self.path else f"{self.source}: {what}"
        column = "" if self.column is None else f":{self.column}"
        return f"{self.source}:{self.line}{column}: {what}"

    def as_dict(self) -> dict[str, Any]:
        """Return the members by name, without a path where there is none."""
        return {name: value for name, value in self._asdict().items() if name != "path" or value is not None}


class LeftOut(NamedTuple):
    """The place of a sample that is left out, and why."""

    source: str
    line: int  # as that of a rejection
    reason: str


PLACES_OF_EACH = 5  # places kept of each reason to leave samples out; all of them are counted


def merge_left_out(kept: list[LeftOut], later: Sequence[LeftOut]) -> None:
    """Merge the places of a later part of the input, up to `PLACES_OF_EACH` for each reason."""
    if later:
        counts = Counter(one.reason for one in kept)
        for one in later:
            if counts[one.reason] < PLACES_OF_EACH:
                kept.append(one)
            counts[one.reason] += 1


class RejectionLimit(NamedTuple):
    """How many rejections to keep in full, in the order of the input; all of them are counted."""

    first: int | None = 10  # the number of first rejections to keep; None: all
    of_each: int = 0  # the number to keep for each code, wherever they are

    def wants(self, kept: int, of_code: int) -> bool:
        """True if one more is to be kept, after `kept` rejections that were kept and `of_code` that have its code."""
        return self.first is None or kept < self.first or of_code < self.of_each

    def merge(self, kept: list[Rejection], later: Sequence[Rejection]) -> None:
        """Merge the kept rejections of a later part of the input; none that the part dropped would be kept here."""
        if self.first is None:
            kept += later
        elif not self.of_each:
            kept += later[: max(0, self.first - len(kept))]
        elif later:
            codes = Counter(one.code for one in kept)
            for one in later:
                if self.wants(len(kept), codes[one.code]):
                    kept.append(one)
                codes[one.code] += 1


FIRST_TEN, ALL_REJECTIONS = RejectionLimit(), RejectionLimit(None)
LISTED = RejectionLimit(100_000)  # with --verbose: each takes 800 bytes, and there may be as many as records


@dataclass(eq=False, repr=False)
class LabelColumn:
    """One string or integer per response."""

    values: Sequence[Key]  # distinct, in order of first occurrence
    codes: NDArray[np.intp]  # index into values; -1 if the response has no label


@dataclass(eq=False, repr=False)
class TextColumn:
    """One text per response, as a digest and a length."""

    digest: NDArray[np.uint64]  # equal for equal texts; 0 if the response has no text
    characters: NDArray[np.int64]  # -1 if the response has no text, or a list of tokens instead


ExtraColumn = Floats | LabelColumn | TextColumn  # a number is NaN where a response has none


@dataclass(eq=False, repr=False)
class ResponseColumns:
    """The responses of a block; every array has one entry per response."""

    keys: Sequence[Key]  # distinct prompt ids, in order of first occurrence
    codes: NDArray[np.intp]  # index into keys
    line: NDArray[np.intp]  # 1-based, counted from the first line of the block
    reward: Floats
    length: Floats | None  # tokens; NaN where a response has none, None if no response has one
    log_prob: Floats | None  # nats, summed over the response; NaN and None as above
    old_log_prob: Floats | None
    tokens: Floats | None  # number of log-probs, where they came as a list; NaN and None as above
    extras: dict[str, ExtraColumn] = field(default_factory=dict)  # one for each field in Fields.extras
    length_from: NDArray[np.uint8] | None = None  # LengthFrom; None: every length is that of the field

    @property
    def log_ratio(self) -> Floats | None:
        """log_prob − old_log_prob in nats; NaN where a response lacks either, None if no response has both."""
        if self.log_prob is None or self.old_log_prob is None:
            return None
        with np.errstate(over="ignore"):  # an overflow to inf becomes null in the result
            return self.log_prob - self.old_log_prob

    def select(self, rows: NDArray[Any]) -> "ResponseColumns":
        """Select rows by index or mask; keys and label values stay as they are."""

        def selected(array: Floats | None) -> Floats | None:
            return None if array is None else array[rows]

        return ResponseColumns(
            self.keys,
            self.codes[rows],
            self.line[rows],
            self.reward[rows],
            selected(self.length),
            selected(self.log_prob),
            selected(self.old_log_prob),
            selected(self.tokens),
            {name: _select_extra(one, rows) for name, one in self.extras.items()},
            None if self.length_from is None else self.length_from[rows],
        )

    def length_origins(self, tokenizer: TokenCounter | None) -> Counter[str]:
        """Count the lengths by origin: `field`, `tokens`, or the label of the tokenizer."""
        if self.length is None:
            return Counter()
        unknown = np.isnan(self.length)
        names = ("field", "tokens", "" if tokenizer is None else tokenizer.label)
        if self.length_from is None:
            counts = [self.length.size - int(np.count_nonzero(unknown))]
        else:
            counts = np.bincount(self.length_from[~unknown], minlength=len(names)).tolist()
        return Counter({name: count for name, count in zip(names, counts, strict=False) if count})


def _select_extra(one: ExtraColumn, rows: NDArray[Any]) -> ExtraColumn:
    if isinstance(one, LabelColumn):
        return LabelColumn(one.values, one.codes[rows])
    return TextColumn(one.digest[rows], one.characters[rows]) if isinstance(one, TextColumn) else one[rows]


@dataclass
class Tally:
    """The number of records by their fate."""

    read: int = 0
    used: int = 0
    rejected: int = 0
    blank: int = 0
    skipped: int = 0  # lines that are not samples
    by_code: Counter[str] = field(default_factory=Counter)
    by_absent_field: Counter[str] = field(default_factory=Counter)  # rejected because this field is missing or null
    left_out: Counter[str] = field(default_factory=Counter)  # samples that the trainer does not train on, by reason
    # lengths of responses, as `ResponseColumns.length_origins`; of rollouts they are known once the source is closed
    length_origins: Counter[str] = field(default_factory=Counter, compare=False)

    def merge(self, other: "Tally") -> None:
        """Merge the counts of another tally."""
        self.read += other.read
        self.used += other.used
        self.rejected += other.rejected
        self.blank += other.blank
        self.skipped += other.skipped
        self.by_code += other.by_code
        self.by_absent_field += other.by_absent_field
        self.left_out += other.left_out
        self.length_origins += other.length_origins


@dataclass(eq=False, repr=False)
class Decoded:
    """The content of a block; line numbers count from its first line."""

    columns: ResponseColumns
    tally: Tally
    lines: int  # physical lines
    rejections: list[Rejection]
    left_out: list[LeftOut] = field(default_factory=list)  # the first places of each reason
    left_out_by: list[tuple[Label, int, str]] = field(default_factory=list)  # label, line and reason, if `fields.by`
    paths: list[tuple[int, str]] = field(default_factory=list)  # of a JSON document: as `Part.paths`


def concatenate(slices: list[ResponseColumns], ids: Ids) -> ResponseColumns:
    """Concatenate slices whose codes index the same `ids`."""
    if len(slices) == 1:
        return replace(slices[0], keys=ids.all())
    return ResponseColumns(
        ids.all(),
        np.concatenate([part.codes for part in slices]),
        np.concatenate([part.line for part in slices]),
        np.concatenate([part.reward for part in slices]),
        _concatenate_optional([part.length for part in slices], slices),
        _concatenate_optional([part.log_prob for part in slices], slices),
        _concatenate_optional([part.old_log_prob for part in slices], slices),
        _concatenate_optional([part.tokens for part in slices], slices),
        {name: _concatenate_extra([part.extras[name] for part in slices]) for name in slices[0].extras},
        None if all(part.length_from is None for part in slices) else np.concatenate(list(map(_origins, slices))),
    )


def _origins(part: ResponseColumns) -> NDArray[np.uint8]:
    return np.zeros(part.reward.size, dtype=np.uint8) if part.length_from is None else part.length_from


def _concatenate_extra(parts: list[Any]) -> ExtraColumn:
    if isinstance(parts[0], TextColumn):
        return TextColumn(
            np.concatenate([part.digest for part in parts]), np.concatenate([part.characters for part in parts])
        )
    if isinstance(parts[0], LabelColumn):
        values = Ids()
        # the last entry is the one that code -1 picks
        places = [np.append(values.places(part.values), -1)[part.codes] for part in parts]
        return LabelColumn(list(values.all()), np.concatenate(places))
    return np.concatenate(parts)


def _concatenate_optional(arrays: list[Floats | None], slices: list[ResponseColumns]) -> Floats | None:
    if all(array is None for array in arrays):
        return None
    pairs = zip(arrays, slices, strict=True)
    return np.concatenate([np.full(part.reward.size, np.nan) if array is None else array for array, part in pairs])


def sort_by_line(columns: ResponseColumns) -> ResponseColumns:
    """Order rows, keys and labels by line, as if one reader had read every line in turn."""
    rows = compact_keys(columns.select(np.argsort(columns.line, kind="stable")))
    labels = {
        name: LabelColumn(*_in_order_of_occurrence(one.values, one.codes))
        for name, one in rows.extras.items()
        if isinstance(one, LabelColumn)
    }
    return replace(rows, extras={**rows.extras, **labels})


def compact_keys(rows: ResponseColumns) -> ResponseColumns:
    """Drop the keys that no row uses, and order the rest by first occurrence."""
    keys, codes = _in_order_of_occurrence(rows.keys, rows.codes)
    return replace(rows, keys=keys, codes=codes)


def _in_order_of_occurrence(values: Sequence[Key], codes: NDArray[np.intp]) -> tuple[list[Key], NDArray[np.intp]]:
    """Return the values in use, ordered by first occurrence, and the codes that index them; -1 stays -1."""
    used, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    order = np.argsort(first)
    order = order[used[order] >= 0]
    place = np.full(used.size, -1, dtype=np.intp)
    place[order] = np.arange(order.size)
    return keys_at(values, used[order].tolist()), place[inverse.reshape(-1)]


def drop_empty(columns: ResponseColumns) -> ResponseColumns:
    """Replace the optional columns that hold no number by None."""

    def unless_empty(array: Floats | None) -> Floats | None:
        return None if array is None or np.isnan(array).all() else array

    return replace(
        columns,
        length=unless_empty(columns.length),
        log_prob=unless_empty(columns.log_prob),
        old_log_prob=unless_empty(columns.old_log_prob),
        tokens=unless_empty(columns.tokens),
    )


def count_tokens(counter: TokenCounter, texts: Sequence[Sequence[str]]) -> Floats:
    """Return the number of tokens of each response, whose texts are counted apart; all in one batch.

    Raises:
        UsageProblem: the tokenizer cannot encode one of the texts.
    """
    each = np.array([0, *counter.count([text for of_response in texts for text in of_response])], dtype=np.float64)
    ends = np.cumsum([0, *map(len, texts)])
    return np.diff(np.cumsum(each)[ends])


def optional_column(values: Sequence[float | None]) -> Floats | None:
    """Turn numbers into a column with NaN for each None; None if there is no number."""
    if values.count(None) == len(values):
        return None
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def extra_column(kind: ExtraKind, values: Sequence[Any]) -> ExtraColumn:
    """Build the column of an optional field; None where it is absent.

    Args:
        kind: what the values are.
        values: numbers, labels, (digest, characters), or the `LogProb` of a response, whose sum is kept.
    """
    if kind == "log_prob":
        return np.array([np.nan if value is None else value.total for value in values], dtype=np.float64)
    if kind == "number":
        return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    if kind == "label":
        distinct = Ids()
        codes = np.full(len(values), -1, dtype=np.intp)
        codes[[value is not None for value in values]] = distinct.places([v for v in values if v is not None])
        return LabelColumn(list(distinct.all()), codes)
    pairs = [(0, -1) if value is None else value for value in values]
    return TextColumn(
        np.array([digest for digest, _ in pairs], dtype=np.uint64),
        np.array([characters for _, characters in pairs], dtype=np.int64),
    )
