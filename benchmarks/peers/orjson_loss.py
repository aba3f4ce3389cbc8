"""The loss as a first script has it: python orjson_loss.py FILE. A dict for each line, a list for each prompt."""

import sys
from collections import defaultdict
from typing import Any

import orjson
from fields import places


def total(log_prob: float | list[float]) -> float:
    """A sequence log-probability, summed over tokens where the record has a list."""
    return sum(log_prob) if isinstance(log_prob, list) else log_prob


def at(record: dict[str, Any], path: list[str]) -> Any:
    """The value at one or two keys."""
    return record[path[0]] if len(path) == 1 else record[path[0]][path[1]]


prompt_id, reward, log_prob, old_log_prob, length = places().values()
prompts: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
with open(sys.argv[1], "rb") as file:
    for line in file:
        record = orjson.loads(line)
        adjusted = at(record, reward) - 0.01 * max(0, at(record, length) - 1024)
        log_ratio = total(at(record, log_prob)) - total(at(record, old_log_prob))
        prompts[at(record, prompt_id)].append((adjusted, log_ratio))
squares, responses = 0.0, 0
for group in prompts.values():
    baseline = sum(adjusted for adjusted, _ in group) / len(group)
    squares += sum((adjusted - baseline - 0.1 * log_ratio) ** 2 for adjusted, log_ratio in group)
    responses += len(group)
print(repr(squares / responses))
