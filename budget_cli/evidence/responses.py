"""Columns of a block → the responses that evidence is gathered from, and what to observe. Data only, no computation.

Knows no files: lines are numbered from the first of the block.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from budget_cli.ids import Key

Floats = NDArray[np.float64]


class ObservationSpec(NamedTuple):
    """What to observe in responses."""

    budgets: tuple[int, ...] = ()  # tokens
    positive: float = 0.0  # nats above which a log-prob counts as positive
    outlier: float = np.inf  # nats above which the size of a log-ratio is an outlier
    per_prompt: bool = True  # True to keep per-prompt facts, too
    beta: float = 0.0  # reward per token over the first budget, to find the best adjusted reward of a prompt


# the thresholds of the checks that apply while responses are observed → their names here
THRESHOLDS = {"positive-log-prob.nats": "positive", "log-ratio-outlier.nats": "outlier"}


class Responses(NamedTuple):
    """The responses of a block. A column has one entry per response, NaN for a missing one, or is None."""

    keys: Sequence[Key]  # distinct prompt ids
    codes: NDArray[np.intp]  # index into keys
    line: NDArray[np.intp]
    reward: Floats
    length: Floats | None = None  # tokens
    log_prob: Floats | None = None  # nats
    old_log_prob: Floats | None = None  # nats
    tokens: Floats | None = None  # number of log-probs, if they are a list
    advantage: Floats | None = None  # as stored by the trainer
    finish_reason: tuple[Sequence[Key], NDArray[np.intp]] | None = None  # distinct values and an index, -1: none
    step: tuple[Sequence[Key], NDArray[np.intp]] | None = None
    prompt_text: NDArray[np.uint64] | None = None  # digests; 0: none
    response_text: NDArray[np.uint64] | None = None
    characters: NDArray[np.int64] | None = None  # of the response; -1: unknown
    prompt_length: Floats | None = None  # tokens
    sampler_log_prob: Floats | None = None  # nats
    compared: Mapping[str, Mapping[str, Floats]] = MappingProxyType({})  # by pair of policies: the columns COMPARED
