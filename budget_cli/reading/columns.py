"""What the reading of a block gives: its responses as columns, and what was refused. No bytes, no JSON."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Key = str | int
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


@dataclass
class Tally:
    """Records by what became of them; tallies add."""

    read: int = 0
    used: int = 0
    rejected: int = 0
    blank: int = 0
    skipped: int = 0  # lines that are no samples
    by_code: Counter[str] = field(default_factory=Counter)
    lacking: Counter[str] = field(default_factory=Counter)  # rejected for want of this field: missing or null

    def add(self, other: "Tally") -> None:
        """Count the other's records too."""
        self.read += other.read
        self.used += other.used
        self.rejected += other.rejected
        self.blank += other.blank
        self.skipped += other.skipped
        self.by_code += other.by_code
        self.lacking += other.lacking


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


def optional(values: Sequence[float | None]) -> Floats | None:
    """Numbers, some of which are not there → NaN in their place, or None when none is there."""
    if values.count(None) == len(values):
        return None
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
