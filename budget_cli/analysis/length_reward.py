"""Rewards and lengths of some prompts' responses → whether the reward is a function of length.

Such as the length reward of Kimi k1.5 or a cosine of the length: one function for right responses and one for wrong
ones, which never rises (or never falls) with the length, either in tokens or relative to the prompt's other responses.
Which response is right need not be known. Knows no files.
"""

from bisect import bisect_left
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

KINDS = 2  # functions: one for right responses and one for wrong ones
PROMPTS, REWARDS = 4, 8  # fewer prompts or distinct rewards tell nothing
LARGEST = 1e100  # a reward; the differences of larger ones may be beyond a double
ERROR = 1e-5  # of a reward, as a share of the range of all


class LengthReward(NamedTuple):
    """A reward that is a function of length."""

    how: str  # what it does with length, as in `never rises with length`
    responses: int
    prompts: int
    rewards: int  # distinct ones


def length_reward(prompt: Floats, reward: Floats, length: Floats, least_responses: float) -> LengthReward | None:
    """Return how the reward depends on length; None if it is no function of it, or too little is known.

    Args:
        prompt: shape (responses,), the number of each one's prompt.
        reward: shape (responses,).
        length: shape (responses,), tokens.
        least_responses: the smallest number of responses that tells.
    """
    if reward.size < least_responses or np.abs(reward).max() > LARGEST:
        return None
    numbers, codes = np.unique(prompt, return_inverse=True)
    least, most = np.full(numbers.size, np.inf), np.zeros(numbers.size)
    np.minimum.at(least, codes, length)
    np.maximum.at(most, codes, length)
    several = (most > least)[codes]
    reward, length, codes = reward[several], length[several], codes[several]
    rewards, prompts = len(set(reward.tolist())), len(set(codes.tolist()))  # np.unique would import numpy.ma
    if reward.size < least_responses or rewards < REWARDS or prompts < PROMPTS:
        return None
    for x in _measures(length, codes, least, most):
        how = _dependence(x, reward)
        if how is not None:
            return LengthReward(how, reward.size, prompts, rewards)
    return None


def _measures(length: Floats, codes: NDArray[np.intp], least: Floats, most: Floats) -> Iterator[Floats]:
    """Yield what the reward may depend on: the length, and where it is among those of the prompt."""
    yield length
    yield np.round((length - least[codes]) / (most - least)[codes], 9)


def _dependence(x: Floats, reward: Floats) -> str | None:
    """Return how rewards change with x if they are one of two monotone functions of it."""
    error = ERROR * float(reward.max() - reward.min())
    if _kinds(x, reward, error) <= KINDS:
        return "never rises with length"
    if _kinds(x, -reward, error) <= KINDS:
        return "never falls with length"
    values = np.sort(reward)
    low = reward <= values[np.diff(values).argmax()]  # of the two kinds that are furthest apart
    for falling, falls, rises in ((low, "lower", "higher"), (~low, "higher", "lower")):
        enough = min(np.count_nonzero(low), np.count_nonzero(~low)) >= REWARDS
        falling_kinds = _kinds(x[falling], reward[falling], error)
        if enough and falling_kinds == _kinds(x[~falling], -reward[~falling], error) == 1:
            return f"never rises with length where it is {falls}, and never falls where it is {rises}"
    return None


def _kinds(x: Floats, reward: Floats, error: float) -> int:
    """Return how many functions of x that never rise make up these rewards; KINDS + 1 if there are more.

    That is the length of the longest sequence of rewards that rise (Dilworth, 1950).
    """
    ends: list[float] = []  # the smallest end of a rising sequence, by its length
    for one in reward[np.lexsort((reward, x))].tolist():
        at = bisect_left(ends, one - error)
        if at == KINDS:
            return KINDS + 1
        if at == len(ends):
            ends.append(one)
        ends[at] = min(ends[at], one)
    return len(ends)
