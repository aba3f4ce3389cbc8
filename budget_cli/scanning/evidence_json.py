"""What was seen of a source's responses ↔ what the header of a summary says of it, in JSON.

A place is a line, and a prompt its number among all of the summary. Knows no file, and not what was looked for.
"""

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from budget_cli.evidence.counters import FEW, Counters, Location, Occurrences
from budget_cli.evidence.observations import Observations

VALUES = (str, int, float, type(None))  # bool is none of them


def to_json(seen: Counters, prompts: NDArray[np.intp]) -> dict[str, Any]:
    """For JSON, what was seen; `prompts`: the number of each row's prompt. What is empty is left out."""
    parts = {
        "spotted": {
            name: [one.count, [[line, int(prompts[row])] for line, row in one.first]]
            for name, one in seen.occurrences.items()
        },
        "sums": {name: number(value) for name, value in seen.sums.items() if value},
        "values": {name: list(counts.items()) for name, counts in seen.values.items()},
    }
    return {name: part for name, part in parts.items() if part}


def number(value: float) -> float | str:
    """As JSON can write it: what is not finite as `inf`, `-inf` or `nan`."""
    return value if value - value == 0 else str(value)


def from_json(told: Any, prompts: NDArray[np.intp], budgets: Collection[int]) -> Observations | None:
    """What was seen of a source, without what is about other budgets; None: this says nothing of the kind.

    Args:
        told: from JSON.
        prompts: the number of each row's prompt, in ascending order.
        budgets: tokens.
    """
    observations = Observations(per_prompt=False)
    seen = observations.counters
    about = {"", *map(str, budgets)}
    try:
        for name, (count, first) in told.get("spotted", {}).items():
            places = [Location(_whole(line, 1), _row(prompts, _whole(prompt, 0))) for line, prompt in first]
            seen.occurrences[name] = Occurrences(_whole(count, max(1, len(places))), places[:FEW])
        seen.sums = {name: float(value) for name, value in told.get("sums", {}).items()}
        for name, counts in told.get("values", {}).items():
            if name.partition("@")[2] in about:
                seen.values[name] = {_value(value): _whole(times, 1) for value, times in counts}
    except (AttributeError, TypeError, ValueError):
        return None
    return observations


def _whole(value: Any, least: int) -> int:
    if type(value) is not int or value < least:
        raise ValueError(value)
    return value


def _value(value: Any) -> Any:
    if type(value) not in VALUES:
        raise ValueError(value)
    return value


def _row(prompts: NDArray[np.intp], prompt: int) -> int:
    row = int(np.searchsorted(prompts, prompt))
    if row == prompts.size or prompts[row] != prompt:
        raise ValueError(prompt)
    return row
