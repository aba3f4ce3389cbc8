"""What `budget-cli show` shows: prompts, and of each some responses with their terms, their texts and worst tokens.

The named tuples are the contract of `budget-cli show --format json`. Knows no files.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from budget_cli.analysis.loss import Coefficients, ObjectiveGiven, Prompt, given
from budget_cli.ids import Key
from budget_cli.objective.settings import DEFAULT

SCHEMA = "budget-cli/show/1"
TOKENS = 5  # worst tokens of a response
RANKS = {  # what --by ranks responses by → the term, and whether only its size counts
    "loss": ("loss", False),
    "penalty": ("penalty", False),
    "length": ("length", False),
    "advantage": ("advantage", True),
    "log-ratio": ("log_ratio", True),
}


class Token(NamedTuple):
    """A token of a response by its log-probs, in nats."""

    position: int  # from 0
    log_prob: float
    old_log_prob: float  # or the sampler's
    log_ratio: float


class ShownResponse(NamedTuple):
    """A response with its terms of the loss; None stands for what it does not have."""

    source: str
    line: int  # 1-based; in Parquet, the row; in a JSON document, the number of the record
    path: str | None  # of the record in a JSON document
    sample: int  # from 0, among the responses of the line
    reward: float
    length: float | None  # tokens
    excess: float | None  # tokens over the budget
    penalty: float | None
    adjusted_reward: float | None
    advantage: float | None
    log_ratio: float | None  # nats
    loss: float | None
    finish_reason: Key | None
    marked: bool  # a place that the finding names
    text: str | None
    worst_tokens: tuple[Token, ...]
    worst_tokens_of_sampler: tuple[Token, ...] = ()  # beside the sampler's log-probs instead of the reference's


class ShownPrompt(NamedTuple):
    """A prompt, its numbers over all its responses, and those of them that are shown."""

    prompt: Prompt
    question: str | None
    shown: Sequence[ShownResponse]


class Shown(NamedTuple):
    """The answer of `budget-cli show`."""

    why: str  # in words, what is shown
    coefficients: Coefficients
    prompts: Sequence[ShownPrompt]
    keys: Sequence[str] = ()  # of a record, if no text was found
    defaults: Collection[str] = ()  # coefficients that nobody gave
    objective: ObjectiveGiven = given(DEFAULT)


def text_of(value: Any) -> str | None:
    """Write a text, a list of messages or a list of tokens as one text; None if it is none of these."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        said = text_of(value.get("content", value.get("text")))
        role = value.get("role")
        return said if said is None or not isinstance(role, str) else f"{role}: {said}"
    if not isinstance(value, list) or not value:
        return None
    if all(isinstance(each, int) for each in value):
        return f"{len(value):,} tokens: {', '.join(map(str, value[:20]))}{', …' if len(value) > 20 else ''}"
    parts = [part for part in map(text_of, value) if part is not None]
    return "\n".join(parts) if parts else None


def worst_tokens(log_prob: Any, old_log_prob: Any) -> tuple[Token, ...]:
    """Return the tokens whose log-ratio is farthest from 0, if both are lists of numbers of the same length."""
    if not isinstance(log_prob, list) or not isinstance(old_log_prob, list) or len(log_prob) != len(old_log_prob):
        return ()
    pairs = [
        Token(i, float(new), float(old), float(new) - float(old))
        for i, (new, old) in enumerate(zip(log_prob, old_log_prob, strict=True))
        if isinstance(new, int | float) and isinstance(old, int | float)
    ]
    ranked = sorted(pairs, key=lambda token: (-abs(token.log_ratio), token.position))
    return tuple(token for token in ranked[:TOKENS] if token.log_ratio and math.isfinite(token.log_ratio))
