"""What the reading of a block gives: its responses as columns, and what was refused. No bytes, no JSON."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Key = str | int
Floats = NDArray[np.float64]


class Rejection(NamedTuple):
    """One record that was not used, and why."""

    source: str
    line: int  # 1-based, physical
    column: int  # 1-based, in characters
    code: str
    field: str | None
    message: str

    def __str__(self) -> str:
        what = self.message if self.field is None else f"{self.field}: {self.message}"
        return f"{self.source}:{self.line}:{self.column}: {what}"


@dataclass
class Columns:
    """The responses of a block; every array has one entry a response."""

    keys: list[Key]  # the distinct prompt ids, first seen first
    codes: NDArray[np.intp]  # index into keys
    line: NDArray[np.intp]  # where it came from, 1-based, counted from the block's first line
    reward: Floats
    length: Floats | None  # tokens; NaN where a response has none, None where no response has one
    log_prob: Floats | None  # nats, summed over the response; NaN and None as above
    old_log_prob: Floats | None

    def at(self, rows: NDArray[Any]) -> "Columns":
        """These rows only, by their places or by a mask; the keys stay."""
        told = (None if array is None else array[rows] for array in (self.length, self.log_prob, self.old_log_prob))
        return Columns(self.keys, self.codes[rows], self.line[rows], self.reward[rows], *told)


@dataclass
class Tally:
    """Records by what became of them; tallies add."""

    read: int = 0
    used: int = 0
    rejected: int = 0
    blank: int = 0
    skipped: int = 0  # lines that are no samples
    by_code: Counter[str] = field(default_factory=Counter)

    def add(self, other: "Tally") -> None:
        """Count the other's records too."""
        self.read += other.read
        self.used += other.used
        self.rejected += other.rejected
        self.blank += other.blank
        self.skipped += other.skipped
        self.by_code += other.by_code


@dataclass
class Decoded:
    """A block as read: `rejections` carry line numbers that count from the block's first line."""

    columns: Columns
    tally: Tally
    lines: int  # physical lines
    rejections: list[Rejection]


class Ids:
    """Prompt ids → their places among the distinct ones, first seen first; for a block that is read in slices."""

    def __init__(self) -> None:
        self._place: defaultdict[Key, int] = defaultdict()
        self._place.default_factory = self._place.__len__  # asked before the new id is in: its place is the next

    def codes(self, ids: Sequence[Key]) -> NDArray[np.intp]:
        """The place of each of these ids."""
        return np.fromiter(map(self._place.__getitem__, ids), dtype=np.intp, count=len(ids))

    def keys(self) -> list[Key]:
        """The distinct ids."""
        return list(self._place)


def joined(slices: list[Columns], ids: Ids) -> Columns:
    """The columns of slices whose codes come from the same ids, one after the other."""
    if len(slices) == 1:
        return replace(slices[0], keys=ids.keys())
    return Columns(
        ids.keys(),
        np.concatenate([part.codes for part in slices]),
        np.concatenate([part.line for part in slices]),
        np.concatenate([part.reward for part in slices]),
        _joined([part.length for part in slices], slices),
        _joined([part.log_prob for part in slices], slices),
        _joined([part.old_log_prob for part in slices], slices),
    )


def _joined(arrays: list[Floats | None], slices: list[Columns]) -> Floats | None:
    if all(array is None for array in arrays):
        return None
    pairs = zip(arrays, slices, strict=True)
    return np.concatenate([np.full(part.reward.size, np.nan) if array is None else array for array, part in pairs])


def in_order_of_lines(joined: Columns) -> Columns:
    """The same responses as one reading from top to bottom gives them: rows and keys in the order of the lines."""
    rows = joined.at(np.argsort(joined.line, kind="stable"))
    seen, first = np.unique(rows.codes, return_index=True)
    order = np.argsort(first)
    place = np.empty(len(joined.keys), dtype=np.intp)
    place[seen[order]] = np.arange(order.size)
    return replace(rows, keys=[joined.keys[code] for code in seen[order].tolist()], codes=place[rows.codes])


def tidy(
    keys: list[Key],
    codes: NDArray[np.intp],
    line: NDArray[np.intp],
    reward: Floats,
    length: Floats,
    log_prob: Floats,
    old_log_prob: Floats,
) -> Columns:
    """Columns from arrays that have NaN where there is nothing, and None for those that have nothing else."""
    told = [None if np.isnan(array).all() else array for array in (length, log_prob, old_log_prob)]
    return Columns(keys, codes, line, reward, *told)


def optional(values: Sequence[float | None]) -> Floats | None:
    """Numbers, some of which are not there → NaN in their place, or None when none is there."""
    if values.count(None) == len(values):
        return None
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
