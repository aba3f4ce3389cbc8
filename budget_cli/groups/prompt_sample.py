"""Responses by prompt → all responses of some prompts, chosen by a hash of the prompt's id; samples merge.

The choice depends on ids and sizes alone, not on order, blocks or processes: the prompts with the smallest hashes, as
many as have at most `limit` responses together. Knows no files.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from budget_cli.ids import Key

Floats = NDArray[np.float64]
Hashes = NDArray[np.uint64]

EVERY = 2**64 - 1  # every hash is below


class SampledPrompt(NamedTuple):
    """All responses of one prompt, in the order of the input."""

    prompt_id: Key
    reward: Floats
    length: Floats  # tokens; NaN: unknown
    log_ratio: Floats  # nats; NaN: unknown


class PromptSample:
    """Responses of the prompts with the smallest hashes; `merge` adds a later part's."""

    def __init__(self, limit: int) -> None:
        self.limit = limit  # responses
        self._below = EVERY  # a prompt with this hash or a larger one does not fit
        self._keys: dict[int, Key] = {}  # by hash
        self._hashes = np.zeros(0, dtype=np.uint64)  # shape (responses,)
        self._values = np.zeros((3, 0))  # reward, length, log-ratio of each

    def add(
        self,
        keys: Sequence[Key],
        codes: NDArray[np.intp],
        reward: Floats,
        length: Floats | None,
        log_ratio: Floats | None,
    ) -> None:
        """Add the responses of a block; `codes` gives each one's index into the distinct `keys`."""
        hashes = np.fromiter(map(hash_key, keys), dtype=np.uint64, count=len(keys))
        small = hashes < self._below
        sizes = np.bincount(codes, minlength=len(keys))
        order = np.argsort(hashes)
        small[order[np.cumsum(sizes[order]) - sizes[order] > self.limit]] = False  # cannot fit, whatever follows
        chosen = small[codes]
        unknown = np.full(codes.size, np.nan)
        values = np.stack([reward, *(unknown if each is None else each for each in (length, log_ratio))])
        self._keys |= {int(hashes[i]): keys[i] for i in np.flatnonzero(small).tolist()}
        self._hashes = np.concatenate([self._hashes, hashes[codes][chosen]])
        self._values = np.concatenate([self._values, values[:, chosen]], axis=1)
        self._trim()

    def merge(self, later: "PromptSample") -> None:
        """Add the sample of a later part of the input."""
        self._below = min(self._below, later._below)
        self._keys |= later._keys
        self._hashes = np.concatenate([self._hashes, later._hashes])
        self._values = np.concatenate([self._values, later._values], axis=1)
        self._trim()

    def rename(self, new: Callable[[Key], Key]) -> None:
        """Replace every prompt's id by `new(id)`; the ids must not occur in another part."""
        renamed = {old: new(key) for old, key in self._keys.items()}
        hashes = {old: hash_key(key) for old, key in renamed.items()}
        self._keys = {hashes[old]: key for old, key in renamed.items()}
        self._hashes = np.array([hashes[old] for old in self._hashes.tolist()], dtype=np.uint64)
        self._below = EVERY

    def _trim(self) -> None:
        """Drop prompts that do not fit; of a single prompt beyond the limit, keep the first responses."""
        fits = self._hashes < self._below
        if fits.all() and self._hashes.size <= self.limit:
            return
        distinct, sizes = np.unique(self._hashes[fits], return_counts=True)
        responses_up_to = np.cumsum(sizes)
        kept = max(1, int(np.searchsorted(responses_up_to, self.limit, side="right")))
        if kept < distinct.size:
            self._below = min(self._below, int(distinct[kept]))
        fits &= self._hashes < self._below
        if fits.sum() > self.limit:
            fits[np.flatnonzero(fits)[self.limit :]] = False
        self._hashes, self._values = self._hashes[fits], self._values[:, fits]
        left = set(np.unique(self._hashes).tolist())
        self._keys = {hashed: key for hashed, key in self._keys.items() if hashed in left}

    def prompts(self) -> list[SampledPrompt]:
        """Return the sampled prompts, ordered by hash."""
        order = np.argsort(self._hashes, kind="stable")
        hashes = self._hashes[order]
        first = np.flatnonzero(np.diff(hashes, prepend=hashes[:1] + np.uint64(1)))
        parts = np.split(self._values[:, order], first[1:], axis=1) if hashes.size else []
        return [SampledPrompt(self._keys[int(hashes[at])], *part) for at, part in zip(first, parts, strict=True)]


def hash_key(key: Key) -> int:
    """Hash an id to a number below 2**64 - 1, the same in every process; 1 and "1" differ."""
    from hashlib import blake2b  # takes 3 ms to import (OpenSSL), and only a sample needs it

    text = key if isinstance(key, str) else f"\0{key}"
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return min(int.from_bytes(digest), EVERY - 1)
