"""Healthy dumps of many shapes and sizes → every finding at warning or error, and every warning of `loss`, as a table.

    PYTHONPATH=tests/support:tests/oracles python tests/oracles/false_alarms.py --dumps 400

There must be none but what TRUE names. Dump i is made from the seed i alone; `--first i --dumps 1 --keep DIRECTORY`
writes it there.
Rewards fall with length in many of them, long responses are cut off, tokens have a log-prob of exactly 0: all of that
is ordinary.
"""

import argparse
import itertools
import json
import math
import random
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from command import run

Dice = random.Random
SHOWN = 20  # findings
TRUE = {  # code: how it is true of healthy dumps, too
    "phantom-advantage": "where every response to a prompt is right, the penalty alone makes the advantages",
    "zero-variance": "of few prompts, half may be easy or hard",
}
WORDS = ["the", "sum", "of", "two", "numbers", "is", "even", "so", "we", "try", "each", "case", "and", "find", "that"]


class Dump(NamedTuple):
    """The records of each file, and the options that belong to them."""

    files: dict[str, list[dict[str, Any]]]
    options: list[str]
    shape: str  # in words


def made(seed: int) -> Dump:
    """Make the healthy dump of a seed."""
    dice = Dice(seed)
    prompts, size = dice.choice([4, 6, 12, 40, 100]), dice.choice([4, 8, 16])
    steps, length_name, reward_name = dice.choice([0, 1, 3]), dice.choice([*LENGTHS]), dice.choice([*REWARDS])
    falls, form = dice.choice([0.0, 0.15, 0.4]), dice.choice(["number", "number", "tokens", "none"])
    texts, whole, sparse = dice.random() < 0.5, dice.random() < 0.3, dice.random() < 0.5
    advantage, turns = dice.choice([None, *ADVANTAGES]), dice.choice([1, 1, 1, 3])
    shape = f"{prompts} prompts of {size}, {steps} steps, {length_name}, {reward_name} less {falls}, {form}"
    shape += f"{', texts' if texts else ''}{', arrays' if whole else ''}, advantages {advantage}, {turns} turns"
    length = LENGTHS[length_name](dice)
    drawn = sorted(length() for _ in range(1000))
    middle, most = drawn[500], dice.choice([None, None, drawn[-1], drawn[990]])
    files: dict[str, list[dict[str, Any]]] = {}
    lengths, rewards = [], []
    for step in range(max(1, steps)):
        records = files.setdefault(f"{step}.jsonl", [])
        again = dice.random() < 0.5  # the same prompts in every step
        for number in range(prompts):
            prompt = number if again else step * prompts + number
            skill = dice.gauss(0, 0.3)
            group = []
            for _ in range(size):
                tokens = length()
                is_cut = most is not None and tokens >= most
                tokens = min(tokens, most or tokens)
                quality = 0.5 + skill - falls * (tokens / middle - 1) + dice.gauss(0, 0.3)
                reward = REWARDS[reward_name](0.0 if is_cut else min(1.0, max(0.0, quality)), dice)
                lengths.append(tokens)
                rewards.append(reward)
                group.append(response(dice, tokens, reward, is_cut, form, texts, sparse))
            if advantage is not None:
                for one, stored in zip(group, ADVANTAGES[advantage]([one["reward"] for one in group]), strict=True):
                    one["advantage"] = stored
            if turns > 1 and not whole:
                group = [row for number, one in enumerate(group) for row in rows_of(dice, one, number, turns)]
            head = {"prompt_id": f"task-{prompt}"} | ({"step": step} if steps else {})
            if texts:
                head["prompt_text"] = f"Problem {prompt}: {' '.join(Dice(prompt).choices(WORDS, k=12))}"
            records += in_arrays(head, group) if whole else [head | one for one in group]
        dice.shuffle(records)
    budget = max(one for one in sorted(lengths)[: len(lengths) * dice.choice([6, 8]) // 10] if one < max(lengths))
    beta = 0.1 * (max(rewards) - min(rewards)) / max(1, max(lengths) - budget)
    options = ["-B", str(budget), "--beta", f"{beta:.3g}", "--kl-coef", "0" if form == "none" else "0.1"]
    return Dump(files, options, shape)


def response(
    dice: Dice, tokens: int, reward: float, is_cut: bool, form: str, texts: bool, sparse: bool
) -> dict[str, Any]:
    """Return the fields of one response."""
    record: dict[str, Any] = {"reward": reward, "response_length": tokens}
    if form == "tokens":  # many of them certain, as in bfloat16
        log_probs = [0.0 if dice.random() < 0.3 else -dice.expovariate(2.5) for _ in range(tokens)]
        record["log_prob"] = log_probs
        record["old_log_prob"] = [min(0.0, one + dice.gauss(0, 0.02)) if one else 0.0 for one in log_probs]
        record["sampler_log_prob"] = [one - log_weight(dice) if one < -0.1 else one for one in log_probs]
    elif form == "number":
        record["log_prob"] = -sum(dice.expovariate(2.5) for _ in range(min(tokens, 50))) * tokens / min(tokens, 50)
        record["old_log_prob"] = record["log_prob"] + dice.gauss(0, 0.02) * math.sqrt(tokens)
        record["sampler_log_prob"] = record["log_prob"] - log_weight(dice, tokens)
    if texts:
        record["response_text"] = " ".join(dice.choices(WORDS, k=tokens))
    if sparse:
        record["finish_reason"] = "length" if is_cut else "stop"
    return record


def log_weight(dice: Dice, tokens: int = 1) -> float:
    """Return the log-ratio of trainer and sampler, whose importance weight is 1 on average."""
    return dice.gauss(-0.00005 * tokens, 0.01 * math.sqrt(tokens))


def rows_of(dice: Dice, response: dict[str, Any], number: int, turns: int) -> list[dict[str, Any]]:
    """Return a row for each turn of a response, whose lengths and log-probs add."""
    cuts = sorted(dice.sample(range(1, response["response_length"]), min(turns - 1, response["response_length"] - 1)))
    bounds = [0, *cuts, response["response_length"]]
    rows = []
    for turn, (begin, end) in enumerate(itertools.pairwise(bounds)):
        row = response | {"rollout_id": f"r{number}", "turn": turn, "response_length": end - begin}
        for name in ("log_prob", "old_log_prob", "sampler_log_prob"):
            value = response.get(name)
            if value is not None:
                row[name] = value[begin:end] if isinstance(value, list) else value * (end - begin) / bounds[-1]
        if "response_text" in row:
            row["response_text"] = " ".join(response["response_text"].split()[begin:end])
        rows.append(row)
    return rows


def in_arrays(head: dict[str, Any], group: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the record of a whole prompt."""
    return [head | {f"{name}s": [one[name] for one in group] for name in group[0]}]


def _lognormal(middle: float, spread: float) -> Callable[[Dice], Callable[[], int]]:
    return lambda dice: lambda: max(1, round(dice.lognormvariate(math.log(middle), spread)))


LENGTHS: dict[str, Callable[[Dice], Callable[[], int]]] = {
    "short": _lognormal(40, 0.4),
    "usual": _lognormal(300, 0.6),
    "long": _lognormal(900, 0.8),
    "alike": lambda dice: lambda: max(8, round(dice.gauss(200, 20))),
    "of two kinds": lambda dice: lambda: max(8, round(dice.gauss(*dice.choice([(80, 15), (400, 60)])))),
    "a long tail": lambda dice: lambda: min(2000, 50 + round(60 * dice.paretovariate(1.5))),
}
ADVANTAGES: dict[str, Callable[[list[float]], list[float]]] = {
    "centred": lambda rewards: [reward - statistics.fmean(rewards) for reward in rewards],
    "over the standard deviation": lambda rewards: [
        (reward - statistics.fmean(rewards)) / (statistics.stdev(rewards) + 1e-6) for reward in rewards
    ],
    "against the others": lambda rewards: [
        reward - (math.fsum(rewards) - reward) / (len(rewards) - 1) for reward in rewards
    ],
}
REWARDS: dict[str, Callable[[float, Dice], float]] = {
    "0 or 1": lambda quality, dice: float(dice.random() < quality),
    "-1 or 1": lambda quality, dice: 1.0 if dice.random() < quality else -1.0,
    "0 or 1 and a form": lambda quality, dice: (dice.random() < quality) + dice.choice([0, 0.1]),
    "tenths": lambda quality, dice: round(quality, 1),
    "hundredths": lambda quality, dice: round(quality, 2),
    "tests of 7": lambda quality, dice: round(7 * quality) / 7,
    "marks of 5": lambda quality, dice: float(round(5 * quality)),
    "a model": lambda quality, dice: 4 * quality - 2 + dice.gauss(0, 0.2),
    "in single precision": lambda quality, dice: round(quality + dice.gauss(0, 0.05), 6),
}


def alarms(dump: Dump, folder: Path) -> list[str]:
    """Return each finding at warning or error, with its message, and each warning of `loss`."""
    for name, records in dump.files.items():
        (folder / name).write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    found = []
    for extra in ([], ["--text"]):
        done = run("check", folder, *dump.options, *extra, "--format", "json")
        findings = [one for one in json.loads(done.stdout)["findings"] if one["severity"] != "info"]
        found += [f"{one['code']}: {one['message']}" for one in findings if one["code"] not in TRUE]
    done = run("loss", folder, *dump.options, "--format", "json")
    return list(dict.fromkeys([*found, *(f"loss: {warning}" for warning in json.loads(done.stdout)["warnings"])]))


def main() -> int:
    """Count the alarms over many dumps; exit with 1 if there are any."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dumps", type=int, default=400)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--keep", type=Path)
    given = parser.parse_args()
    counts: Counter[str] = Counter()
    for seed in range(given.first, given.first + given.dumps):
        dump = made(seed)
        with tempfile.TemporaryDirectory() as scratch:
            folder = given.keep or Path(scratch)
            folder.mkdir(exist_ok=True)
            for alarm in alarms(dump, folder):
                counts[alarm.partition(":")[0]] += 1
                if counts.total() <= SHOWN:
                    sys.stdout.write(f"{seed}: {alarm}\n    {dump.shape}: {' '.join(dump.options)}\n")
    for code, count in counts.most_common():
        sys.stdout.write(f"{code:<32}{count:>6} of {given.dumps:,} dumps\n")
    sys.stdout.write(f"{counts.total():,} alarms in {given.dumps:,} healthy dumps\n")
    return 1 if counts else 0


if __name__ == "__main__":
    sys.exit(main())
