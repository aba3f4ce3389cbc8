"""The loss as a first script has it: python orjson_loss.py FILE. A dict for each line, a list for each prompt."""

import sys
from collections import defaultdict

import orjson


def total(log_prob: float | list[float]) -> float:
    """A sequence log-probability, summed over tokens where the record has a list."""
    return sum(log_prob) if isinstance(log_prob, list) else log_prob


prompts: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
with open(sys.argv[1], "rb") as file:
    for line in file:
        record = orjson.loads(line)
        adjusted = record["reward"] - 0.01 * max(0, record["response_length"] - 1024)
        log_ratio = total(record["log_prob"]) - total(record["old_log_prob"])
        prompts[record["prompt_id"]].append((adjusted, log_ratio))
squares, responses = 0.0, 0
for group in prompts.values():
    baseline = sum(adjusted for adjusted, _ in group) / len(group)
    squares += sum((adjusted - baseline - 0.1 * log_ratio) ** 2 for adjusted, log_ratio in group)
    responses += len(group)
print(repr(squares / responses))
