"""What the reading of a block gives: its responses as columns, and what was refused. No bytes, no JSON."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from budget_cli.ids import Ids, Key, keys_at
from budget_cli.schema.fields import ExtraKind

Label = Key | None  # of a response that has none: None
Floats = NDArray[np.float64]


class Rejection(NamedTuple):
    """One record that was not used, and why."""

    source: str
    line: int  # 1-based, physical; of Parquet: the row
    column: int | None  # 1-based, in characters; None: a row of Parquet
    code: str
    field: str | None
    message: str

    def __str__(self) -> str:
        what = self.message if self.field is None else f"{self.field}: {self.message}"
        column = "" if self.column is None else f":{self.column}"
        return f"{self.source}:{self.line}{column}: {what}"


class RejectionLimit(NamedTuple):
    """Which rejections are kept in full, in the order of the input; all of them are counted."""

    first: int | None = 10  # so many; None: all
    of_each: int = 0  # and of every code so many, wherever they are

    def wants(self, kept: int, of_code: int) -> bool:
        """Whether one more is kept, after so many that were kept, and so many with its code."""
        return self.first is None or kept < self.first or of_code < self.of_each

    def merge(self, kept: list[Rejection], later: Sequence[Rejection]) -> None:
        """Add those of a later part of the input; what the part itself did not keep would not be kept here either."""
        if self.first is None:
            kept += later
        elif later:
            codes = Counter(one.code for one in kept)
            for one in later:
                if self.wants(len(kept), codes[one.code]):
                    kept.append(one)
                codes[one.code] += 1


FIRST_TEN, ALL_REJECTIONS = RejectionLimit(), RejectionLimit(None)


@dataclass
class LabelColumn:
    """A string or an integer a response."""

    values: Sequence[Key]  # the distinct ones, first seen first
    codes: NDArray[np.intp]  # index into values; -1: the response has none


@dataclass
class TextColumn:
    """What stands for a text a response."""

    digest: NDArray[np.uint64]  # equal texts, equal digests; 0: the response has none
    characters: NDArray[np.int64]  # how long it is; -1: it has none, or is no text but a list of tokens


ExtraColumn = Floats | LabelColumn | TextColumn  # numbers: NaN where a response has none


@dataclass
class ResponseColumns:
    """The responses of a block; every array has one entry a response."""

    keys: Sequence[Key]  # the distinct prompt ids, first seen first
    codes: NDArray[np.intp]  # index into keys
    line: NDArray[np.intp]  # where it came from, 1-based, counted from the block's first line
    reward: Floats
    length: Floats | None  # tokens; NaN where a response has none, None where no response has one
    log_prob: Floats | None  # nats, summed over the response; NaN and None as above
    old_log_prob: Floats | None
    tokens: Floats | None  # how many a list of log-probs had; NaN and None as above
    extras: dict[str, ExtraColumn] = field(default_factory=dict)  # those asked for, whether a response has them or not

    @property
    def log_ratio(self) -> Floats | None:
        """In nats; NaN where a response lacks one of the two, None where no response has both."""
        if self.log_prob is None or self.old_log_prob is None:
            return None
        with np.errstate(over="ignore"):  # beyond a double: the report says null
            return self.log_prob - self.old_log_prob

    def select(self, rows: NDArray[Any]) -> "ResponseColumns":
        """These rows only, by their places or by a mask; keys and labels stay."""

        def of(array: Floats | None) -> Floats | None:
            return None if array is None else array[rows]

        return ResponseColumns(
            self.keys,
            self.codes[rows],
            self.line[rows],
            self.reward[rows],
            of(self.length),
            of(self.log_prob),
            of(self.old_log_prob),
            of(self.tokens),
            {name: _extra_at(one, rows) for name, one in self.extras.items()},
        )


def _extra_at(one: ExtraColumn, rows: NDArray[Any]) -> ExtraColumn:
    if isinstance(one, LabelColumn):
        return LabelColumn(one.values, one.codes[rows])
    return TextColumn(one.digest[rows], one.characters[rows]) if isinstance(one, TextColumn) else one[rows]


@dataclass
class Tally:
    """Records by what became of them; tallies add."""

    read: int = 0
    used: int = 0
    rejected: int = 0
    blank: int = 0
    skipped: int = 0  # lines that are no samples
    by_code: Counter[str] = field(default_factory=Counter)
    by_absent_field: Counter[str] = field(default_factory=Counter)  # rejected because this field is missing or null

    def merge(self, other: "Tally") -> None:
        """Count the other's records too."""
        self.read += other.read
        self.used += other.used
        self.rejected += other.rejected
        self.blank += other.blank
        self.skipped += other.skipped
        self.by_code += other.by_code
        self.by_absent_field += other.by_absent_field


@dataclass
class Decoded:
    """A block as read: `rejections` carry line numbers that count from the block's first line."""

    columns: ResponseColumns
    tally: Tally
    lines: int  # physical lines
    rejections: list[Rejection]


def concatenate(slices: list[ResponseColumns], ids: Ids) -> ResponseColumns:
    """The columns of slices whose codes come from the same ids, one after the other."""
    if len(slices) == 1:
        return replace(slices[0], keys=ids.all())
    return ResponseColumns(
        ids.all(),
        np.concatenate([part.codes for part in slices]),
        np.concatenate([part.line for part in slices]),
        np.concatenate([part.reward for part in slices]),
        _joined([part.length for part in slices], slices),
        _joined([part.log_prob for part in slices], slices),
        _joined([part.old_log_prob for part in slices], slices),
        _joined([part.tokens for part in slices], slices),
        {name: _joined_extra([part.extras[name] for part in slices]) for name in slices[0].extras},
    )


def _joined_extra(parts: list[Any]) -> ExtraColumn:
    if isinstance(parts[0], TextColumn):
        return TextColumn(
            np.concatenate([part.digest for part in parts]), np.concatenate([part.characters for part in parts])
        )
    if isinstance(parts[0], LabelColumn):
        values = Ids()
        # a last place for -1 to point to
        places = [np.append(values.places(part.values), -1)[part.codes] for part in parts]
        return LabelColumn(list(values.all()), np.concatenate(places))
    return np.concatenate(parts)


def _joined(arrays: list[Floats | None], slices: list[ResponseColumns]) -> Floats | None:
    if all(array is None for array in arrays):
        return None
    pairs = zip(arrays, slices, strict=True)
    return np.concatenate([np.full(part.reward.size, np.nan) if array is None else array for array, part in pairs])


def sort_by_line(joined: ResponseColumns) -> ResponseColumns:
    """The same responses as one reading from top to bottom gives them: rows, keys and labels in the order of lines."""
    rows = compact_keys(joined.select(np.argsort(joined.line, kind="stable")))
    labels = {
        name: LabelColumn(*_first_seen_first(one.values, one.codes))
        for name, one in rows.extras.items()
        if isinstance(one, LabelColumn)
    }
    return replace(rows, extras={**rows.extras, **labels})


def compact_keys(rows: ResponseColumns) -> ResponseColumns:
    """The same responses, with no keys but theirs, first seen first."""
    keys, codes = _first_seen_first(rows.keys, rows.codes)
    return replace(rows, keys=keys, codes=codes)


def _first_seen_first(values: Sequence[Key], codes: NDArray[np.intp]) -> tuple[list[Key], NDArray[np.intp]]:
    """The values that some code points to, in the order of the codes; -1 points nowhere."""
    seen, first = np.unique(codes, return_index=True)
    order = seen[np.argsort(first)]
    order = order[order >= 0]
    place = np.full(len(values) + 1, -1, dtype=np.intp)  # a last place for -1
    place[order] = np.arange(order.size)
    return keys_at(values, order.tolist()), place[codes]


def drop_empty(made: ResponseColumns) -> ResponseColumns:
    """The same columns, None for those of which every number is missing."""

    def of(array: Floats | None) -> Floats | None:
        return None if array is None or np.isnan(array).all() else array

    length, log_prob, old_log_prob = of(made.length), of(made.log_prob), of(made.old_log_prob)
    return replace(made, length=length, log_prob=log_prob, old_log_prob=old_log_prob, tokens=of(made.tokens))


def optional_column(values: Sequence[float | None]) -> Floats | None:
    """Numbers, some of which are not there → NaN in their place, or None when none is there."""
    if values.count(None) == len(values):
        return None
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def extra_column(kind: ExtraKind, values: Sequence[Any]) -> ExtraColumn:
    """The column of an extra, from each response's value: a number, a label, (digest, characters), or None."""
    if kind == "number":
        return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    if kind == "label":
        distinct = Ids()
        there = distinct.places([value for value in values if value is not None])
        codes = np.full(len(values), -1, dtype=np.intp)
        codes[[value is not None for value in values]] = there
        return LabelColumn(list(distinct.all()), codes)
    pairs = [(0, -1) if value is None else value for value in values]
    return TextColumn(
        np.array([digest for digest, _ in pairs], dtype=np.uint64),
        np.array([characters for _, characters in pairs], dtype=np.int64),
    )
