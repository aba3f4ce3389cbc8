"""Digests of responses (64 bits each) → a sample that holds all copies of a response or none; and how to make digests.

Memory is bounded whatever the number of responses; samples merge. Knows neither the text behind a digest nor any file.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Key = str | int

KEPT = 1 << 18  # responses in a sample, at most


class DistinctSample:
    """At most KEPT responses, chosen by digest: responses with equal digests are all kept, or none is.

    Level l keeps the digests that begin with l zero bits, one in 2^l. The level is the lowest at which no more than
    KEPT responses remain, in whatever order parts are merged (Gibbons, "Distinct Sampling", VLDB 2001).
    """

    def __init__(self) -> None:
        self.level = 0
        self._parts: list[tuple[NDArray[Any], ...]] = []  # digest, row, place, record
        self._held = 0

    def add(
        self,
        digest: NDArray[np.uint64],
        row: NDArray[np.intp],
        place: NDArray[np.int64],
        record: NDArray[np.uint64],
    ) -> None:
        """Add responses; shape (responses,) each."""
        if digest.size:
            self._parts.append(_kept((digest, row, place, record), self.level))
            self._held += self._parts[-1][0].size
        self._trim()

    def merge(self, later: "DistinctSample", rows: NDArray[np.intp], offset: int) -> None:
        """Add the sample of a later part.

        Args:
            later: the sample to add.
            rows: the row here of each prompt of the later part.
            offset: added to its places.
        """
        if later.level > self.level:
            self._raise_to(later.level)
        self.add(later.digest, rows[later.row], later.place + offset, later.record)

    def _trim(self) -> None:
        while self._held > KEPT and self.level < 63:
            self._raise_to(self.level + 1)

    def _raise_to(self, level: int) -> None:
        self.level = level
        self._parts = [_kept(part, level) for part in self._parts]
        self._held = sum(part[0].size for part in self._parts)

    def _column(self, at: int, dtype: Any) -> NDArray[Any]:
        if len(self._parts) > 1:
            self._parts = [tuple(map(np.concatenate, zip(*self._parts, strict=True)))]
        return self._parts[0][at] if self._parts else np.zeros(0, dtype)

    @property
    def digest(self) -> NDArray[np.uint64]:
        """Digest of each response in the sample."""
        return self._column(0, np.uint64)

    @property
    def row(self) -> NDArray[np.intp]:
        """Row of the prompt of each."""
        return self._column(1, np.intp)

    @property
    def place(self) -> NDArray[np.int64]:
        """Place of each."""
        return self._column(2, np.int64)

    @property
    def record(self) -> NDArray[np.uint64]:
        """Digest of the whole record of each, which need not identify it."""
        return self._column(3, np.uint64)


def _kept(part: tuple[NDArray[Any], ...], level: int) -> tuple[NDArray[Any], ...]:
    """Return the responses whose digest this level keeps."""
    if not level:
        return part
    stays = part[0] < np.uint64(1 << (64 - level))
    return tuple(column[stays] for column in part)


def label_digest(label: Key) -> int:
    """Hash a label to 64 bits, never 0 and the same in every process."""
    import hashlib  # takes 3 ms to import (OpenSSL), and only labels of steps need it

    text = f"{type(label).__name__}:{label}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") or 1


def number_digests(size: int, columns: Sequence[Floats | None]) -> NDArray[np.uint64]:
    """Hash the numbers of each row to 64 bits; a missing column counts as NaN."""
    mixed = np.zeros(size, dtype=np.uint64)
    for column in columns:  # each mixed by itself: the low bits of most numbers are 0, and so would be those of a sum
        bits = np.full(size, NAN) if column is None else np.where(np.isnan(column), NAN, column.view(np.uint64))
        mixed = mix(mixed + bits)
    return mixed


NAN = np.uint64(0x7FF8000000000000)


def mix(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Mix bits: an input bit flips about half of the output bits (finaliser of SplitMix64, Steele et al., 2014)."""
    bits = bits + np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))
