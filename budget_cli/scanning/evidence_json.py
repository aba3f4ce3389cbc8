"""Counters of a source ↔ the JSON that the header of a summary holds of them.

In JSON a place is a line, and a prompt is its number in the summary. Knows no files and no thresholds.
"""

import math
from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from budget_cli.evidence.advantages import FIRST, Advantages, AdvantageSample
from budget_cli.evidence.counters import FEW, Counters, Location, Occurrences
from budget_cli.evidence.observations import Observations
from budget_cli.evidence.reward_sample import RewardSample
from budget_cli.evidence.weights import LARGEST, UNKNOWN, Extreme, Weights

MOST_LINES = 1 << 40  # of a source, in a place
VALUES = (str, int, float, type(None))  # not bool: types are compared exactly


def to_json(counters: Counters, prompts: NDArray[np.intp], advantages: Advantages | None = None) -> dict[str, Any]:
    """Return the counters and samples of advantages as JSON, without empty parts.

    Args:
        counters: of a source.
        prompts: the number of each row's prompt.
        advantages: of the source; None or empty: no response has one.
    """
    parts = {
        "spotted": {
            name: [one.count, [[line, int(prompts[row])] for line, row in one.first]]
            for name, one in counters.occurrences.items()
        },
        "sums": {name: number(value) for name, value in counters.sums.items() if value},
        "values": {name: list(counts.items()) for name, counts in counters.values.items()},
        "by_length": _by_length(counters.reward_sample),
        "weights": {pair: _weights(weights, prompts) for pair, weights in counters.weights.items()},
        "weights_beyond": {
            pair: weights.beyond for pair, weights in counters.weights.items() if math.isfinite(weights.beyond[0])
        },
        "advantages": advantages.sample.to_json(prompts) if advantages else [],
        "first_advantages": [_or_null(value) for value in advantages.first.T.ravel().tolist()] if advantages else [],
    }
    return {name: part for name, part in parts.items() if part}


def _or_null(value: float) -> float | None:
    return value if value - value == 0 else None


def _by_length(sample: RewardSample) -> list[Any]:
    """Return the level of the sample, and [reward, [length, responses, …]] for each reward; [] if it is empty."""
    lengths: dict[float, list[int]] = {}
    for reward, length, _, count in sample.rows().T.tolist():  # the length of the prompt is not read for a summary
        lengths.setdefault(reward, []).extend((int(length), int(count)))
    return [sample.level, *lengths.items()] if lengths else []


def _weights(weights: Weights, prompts: NDArray[np.intp]) -> list[Any]:
    """Return the pivot and the two sums, then the largest weights and the worst tokens."""
    sums = [number(value) for value in (weights.pivot, weights.total, weights.squares)]
    shown = [
        [[number(one.log_ratio), one.place, int(prompts[one.row]), one.token] for one in several]
        for several in (weights.largest, weights.worst)
    ]
    return [*sums, *shown]


def number(value: float) -> float | str:
    """Return the value as JSON can hold it: one that is not finite as the string `inf`, `-inf` or `nan`."""
    return value if value - value == 0 else str(value)


def from_json(shown: Any, prompts: NDArray[np.intp], budgets: Collection[int]) -> Observations | None:
    """Return the observations of a source, without counts for other budgets; None if the JSON is not valid.

    Args:
        shown: the decoded JSON, as `to_json` makes it.
        prompts: the number of each row's prompt, in ascending order.
        budgets: tokens; counts by reward are read only for these.
    """
    observations = Observations(per_prompt=False)
    counters = observations.counters
    wanted = {"", *map(str, budgets)}
    try:
        for name, (count, first) in shown.get("spotted", {}).items():
            places = [Location(_line(line), _row(prompts, _whole(prompt, 0))) for line, prompt in first]
            counters.occurrences[name] = Occurrences(_whole(count, max(1, len(places))), places[:FEW])
        counters.sums = {name: float(value) for name, value in shown.get("sums", {}).items()}
        for name, counts in shown.get("values", {}).items():
            if name.partition("@")[2] in wanted:
                counters.values[name] = {_value(value): _whole(times, 1) for value, times in counts}
        if by_length := shown.get("by_length"):
            counters.reward_sample = _reward_sample(by_length)
        for pair, sums in shown.get("weights", {}).items():
            counters.weights[pair] = _weights_from(sums, prompts)
            hi, lo = shown.get("weights_beyond", {}).get(pair, UNKNOWN)
            counters.weights[pair].beyond = (_number(hi), _number(lo))
        if sample := shown.get("advantages"):
            row_of = dict(zip(prompts.tolist(), range(prompts.size), strict=True))
            observations.advantages.sample = AdvantageSample.from_json(sample, row_of)
        if first := shown.get("first_advantages"):
            numbers = [math.nan if value is None else _number(value) for value in first]
            observations.advantages.first = np.array(numbers).reshape(-1, 3).T[:, :FIRST]
    except (KeyError, AttributeError, TypeError, ValueError, OverflowError):
        return None
    return observations


def reward_sample(sources: Any) -> RewardSample | None:
    """Return the sample of the rewards of all sources, whose decoded JSON is given; None if it is not valid."""
    sample = RewardSample()
    try:
        for shown in sources:
            if by_length := shown.get("by_length"):
                sample.merge(_reward_sample(by_length))
    except (AttributeError, TypeError, ValueError, OverflowError):
        return None
    return sample


def _reward_sample(shown: Any) -> RewardSample:
    level, *by_reward = shown
    rows = []
    for reward, lengths in by_reward:
        for length, count in zip(lengths[::2], lengths[1::2], strict=True):
            rows.append((_number(reward), _whole(length, 0), math.nan, _whole(count, 1)))
    return RewardSample.from_rows(_whole(level, 0), rows)


def _weights_from(shown: Any, prompts: NDArray[np.intp]) -> Weights:
    pivot, total, squares, *several = shown
    largest, worst = (
        [
            Extreme(_any_number(log_ratio), _line(line), _row(prompts, _whole(prompt, 0)), _whole(index, -1))
            for log_ratio, line, prompt, index in some
        ]
        for some in several
    )
    sums = _any_number(pivot), _any_number(total), _any_number(squares)
    if min(sums[1:]) < 0:
        raise ValueError(shown)
    return Weights(*sums, largest[:LARGEST], worst[:LARGEST])


def _any_number(value: Any) -> float:
    """Return a number, or an infinity that is written as text."""
    return float(value) if value in ("inf", "-inf") else _number(value)


def _number(value: Any) -> float:
    if type(value) not in (int, float):
        raise ValueError(value)
    return float(value)


def _whole(value: Any, least: int) -> int:
    if type(value) is not int or value < least:
        raise ValueError(value)
    return value


def _line(value: Any) -> int:
    if _whole(value, 1) >= MOST_LINES:
        raise ValueError(value)
    return int(value)


def _value(value: Any) -> Any:
    if type(value) not in VALUES:
        raise ValueError(value)
    return value


def _row(prompts: NDArray[np.intp], prompt: int) -> int:
    row = int(np.searchsorted(prompts, prompt))
    if row == prompts.size or prompts[row] != prompt:
        raise ValueError(prompt)
    return row
