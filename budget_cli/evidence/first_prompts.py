"""Responses by prompt → the rewards and lengths of the first prompts' responses; parts merge in the order of the input.

For checks that compare the responses to a prompt with each other, and need only some prompts. Knows no files.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
PROMPTS = 256  # prompts whose responses are kept
MOST = 1 << 14  # responses


class FirstPrompts:
    """The first responses to the first prompts, in the order of the input; `merge` adds a later part's."""

    def __init__(self) -> None:
        self._parts: list[Floats] = []  # shape (3, responses): row of the prompt, reward, length
        self._held = 0

    def add(self, codes: NDArray[np.intp], reward: Floats, length: Floats) -> None:
        """Add responses; shape (responses,) each, with the row of the prompt. Those without a length do not count."""
        first = np.flatnonzero(codes < PROMPTS)[:MOST]
        self._take(np.stack([codes[first].astype(np.float64), reward[first], length[first]]))

    def merge(self, later: "FirstPrompts", rows: NDArray[np.intp]) -> None:
        """Add those of a later part; `rows` holds the row here of each of its prompts."""
        for part in later._parts:
            moved = part.copy()
            moved[0] = rows[part[0].astype(np.intp)]
            self._take(moved)

    def rows(self) -> Floats:
        """Return shape (3, responses): the row of the prompt, the reward and the length (tokens) of each."""
        return np.concatenate([np.zeros((3, 0)), *self._parts], axis=1)

    def _take(self, part: Floats) -> None:
        part = part[:, (part[0] < PROMPTS) & ~np.isnan(part[2])][:, : MOST - self._held]
        if part.size:
            self._parts.append(part)
            self._held += part.shape[1]
