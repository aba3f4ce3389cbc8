"""A block's responses as those see them who observe more than moments, and what they look for. Computes nothing.

Knows no files: a line counts from the block's first.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from budget_cli.ids import Key

Floats = NDArray[np.float64]


class ObservationSpec(NamedTuple):
    """What to look for."""

    budgets: tuple[int, ...] = ()  # tokens
    positive: float = 0.0  # nats from which on a log-prob is above 0
    outlier: float = np.inf  # nats of a log-ratio
    per_prompt: bool = True  # keep a little of each prompt, too
    beta: float = 0.0  # reward per token: the best response of a prompt is told with this and the first budget


class Responses(NamedTuple):
    """The responses of a block; arrays have one entry a response, NaN where it has none, or are None."""

    keys: Sequence[Key]  # the distinct prompt ids
    codes: NDArray[np.intp]  # index into keys
    line: NDArray[np.intp]
    reward: Floats
    length: Floats | None = None  # tokens
    log_prob: Floats | None = None  # nats
    old_log_prob: Floats | None = None  # nats
    tokens: Floats | None = None  # of a list of log-probs
    advantage: Floats | None = None  # as the trainer stored it
    finish_reason: tuple[Sequence[Key], NDArray[np.intp]] | None = None  # the distinct ones and an index, -1 for none
    step: tuple[Sequence[Key], NDArray[np.intp]] | None = None
    prompt_text: NDArray[np.uint64] | None = None  # digests, 0 for none
    response_text: NDArray[np.uint64] | None = None
    characters: NDArray[np.int64] | None = None  # of the response, -1 where unknown
