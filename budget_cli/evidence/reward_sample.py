"""Rewards and lengths of responses → a bounded sample of their distinct combinations, with counts; samples merge.

From them one can tell whether a penalty on length is in the rewards. The sample is the same in whatever order and parts
responses come. Knows no prompts, no budgets and no files.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from budget_cli.evidence.distinct_sample import number_digests

Floats = NDArray[np.float64]
KEPT = 1 << 10  # distinct combinations in a sample, at most
HELD = 8 * KEPT  # rows that may wait to be counted
LEVELS = 64  # as many as bits of a digest
DENSE = 1 << 16  # tokens; lengths below it are counted without sorting


class RewardSample:
    """The combinations of a reward, a length and the length of the prompt, at most KEPT, chosen by their digests.

    Level l keeps the digests that begin with l zero bits, with all their responses; as in `DistinctSample`.
    """

    def __init__(self) -> None:
        self.level = 0
        self._parts: list[Floats] = []  # shape (4, rows): reward, length, length of the prompt, number of responses
        self._held = 0

    def add(self, reward: Floats, length: Floats, prompt_length: Floats | None = None) -> None:
        """Add responses; shape (responses,) each. Those without a length (tokens; NaN) do not count."""
        if np.isnan(length).any():
            known = ~np.isnan(length)
            reward, length = reward[known], length[known]
            prompt_length = None if prompt_length is None else prompt_length[known]
        if prompt_length is None and reward.size > HELD and length.max() < DENSE:
            parts = _by_length(reward, length)
            if parts:
                for rows in parts:
                    self._take(rows)
                return
        rows = np.ones((4, reward.size))
        rows[0], rows[1] = reward, length
        rows[2] = np.nan if prompt_length is None else prompt_length
        self._take(rows)

    def merge(self, other: "RewardSample") -> None:
        """Add the responses of another sample."""
        self.level = max(self.level, other.level)
        for rows in other._parts:
            self._take(rows)

    @classmethod
    def from_rows(cls, level: int, rows: Sequence[Sequence[float]]) -> "RewardSample":
        """Create the sample that `level` and `rows` describe; each row as in `rows`.

        Raises:
            ValueError: there is no such level.
        """
        if level >= LEVELS:
            raise ValueError(level)
        sample = cls()
        sample.level = level
        sample._take(np.array(rows, dtype=np.float64).reshape(-1, 4).T)
        return sample

    def has_more_rewards(self, number: int) -> bool:
        """Return True if there are more distinct rewards than this; quick if there are few or many."""
        left = [rows[0] for rows in self._parts]
        for _ in range(number):
            left = [reward for reward in left if reward.size]
            if not left:
                return False
            left = [reward[reward != left[0][0]] for reward in left]
        return any(reward.size for reward in left)

    def rows(self) -> Floats:
        """Return shape (4, combinations): reward, length, length of the prompt (NaN: unknown), number of responses."""
        if self._parts:
            self._count()
        return self._parts[0] if self._parts else np.zeros((4, 0))

    def _take(self, rows: Floats) -> None:
        if rows.size:
            self._parts.append(rows)
            self._held += rows.shape[1]
        if self._held > HELD:
            self._count()

    def _count(self) -> None:
        """Join equal rows, and raise the level until no more than KEPT are left; in the order of their digests."""
        rows = np.concatenate(self._parts, axis=1) if len(self._parts) != 1 else self._parts[0]
        rows[0] += 0.0  # -0 is 0
        digest = number_digests(rows.shape[1], list(rows[:3]))
        for level in range(_most_level(rows.shape[1]), self.level, -1):  # most have few rows to sort
            if _joined(rows, digest, level)[1].size > KEPT:
                self.level = level
                break
        rows, digest = _joined(rows, digest, self.level)
        while digest.size > KEPT and self.level < LEVELS - 1:
            self.level += 1
            stays = _stays(digest, self.level)
            rows, digest = rows[:, stays], digest[stays]
        self._parts, self._held = [rows], rows.shape[1]

    def __eq__(self, other: object) -> bool:
        """Return True if the other has the same combinations with the same counts."""
        if not isinstance(other, RewardSample):
            return NotImplemented
        same = np.array_equal(self.rows(), other.rows(), equal_nan=True)
        return same and self.level == other.level

    __hash__ = None  # type: ignore[assignment]  # it changes


def _by_length(reward: Floats, length: Floats) -> list[Floats]:
    """Count the responses by length for each of two rewards or one, without sorting; nothing if there are more."""
    low, high = reward.min(), reward.max()
    is_high = reward == high
    if not np.all(is_high | (reward == low)):
        return []
    lengths, parts = length.astype(np.intp), []
    for value, mask in ((high, is_high), (low, ~is_high)):
        counts = np.bincount(lengths[mask])
        found = np.flatnonzero(counts)
        parts.append(np.stack([np.full(found.size, value), found, np.full(found.size, np.nan), counts[found]]))
    return parts


def _most_level(rows: int) -> int:
    """Return the level at which about as many of these rows would stay as are kept, if all differed."""
    return max(0, (rows // KEPT).bit_length() - 1)


def _stays(digest: NDArray[np.uint64], level: int) -> NDArray[np.bool_]:
    return digest <= np.uint64((1 << (64 - level)) - 1)


def _joined(rows: Floats, digest: NDArray[np.uint64], level: int) -> tuple[Floats, NDArray[Any]]:
    """Return the distinct rows of a level with the sums of their counts, and their digests in ascending order."""
    if level:
        stays = _stays(digest, level)
        rows, digest = rows[:, stays], digest[stays]
    order = np.argsort(digest)  # np.unique would import numpy.ma
    digest = digest[order]
    first = np.flatnonzero(np.append(True, digest[1:] != digest[:-1])) if digest.size else np.zeros(0, np.intp)
    distinct = rows[:, order[first]]
    if digest.size:
        distinct[3] = np.add.reduceat(rows[3, order], first)
    return distinct, digest[first]
