"""A workload's name and size → a seeded dump in `benchmarks/data/`, written once and used again.

The same name, size and seed give the same bytes everywhere. Without a seed, records have the names that budget-cli
looks for; with one, everything that their author is free to choose differs by it (`Shape`). Writes a chunk at a time.
Knows nothing of what reads the files.

    python benchmarks/generate.py small
    python benchmarks/generate.py small --records 1000000 --prompts 100
    python benchmarks/generate.py tokens --seed 3
    python benchmarks/generate.py text --seed random
"""

import argparse
import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

DATA = Path(__file__).parent / "data"
GROUP = 8  # responses of a prompt in a row
RECORDS = {"small": 2_000_000, "text": 40_000, "tokens": 6_000}
TEXT_CHARACTERS = 8_000
VOCABULARY = (
    "the of and we so that model reward token because therefore let then equation step answer first note value"
    ' is are this it by for with compute both sides gives hence check again sum over all terms "quoted" isn\'t = + 3;'
    " 42, \\frac{a}{b} \\sqrt{x^2+1} \\alpha\\cdot\\beta $x_i$ \\(n\\geq1\\) β≤2 x→∞ naïve 答案 ✓ “so” def f(x):\n \n\n"
)
WORDS = VOCABULARY.split(" ")


def small(records: int, prompts: int) -> Iterator[str]:
    """Five scalars a record; the prompts take turns, eight responses at a time."""
    chance = random.Random(7)
    uniform, gauss = chance.random, chance.gauss
    for i in range(records):
        log_prob = -abs(gauss(180.0, 60.0))
        yield (
            f'{{"prompt_id": "p{i // GROUP % prompts:07d}", "reward": {float(uniform() < 0.5)}, '
            f'"log_prob": {log_prob:.10f}, "old_log_prob": {-abs(log_prob - gauss(0.0, 1.0)):.10f}, '
            f'"response_length": {50 + int(uniform() * 3950)}}}\n'
        )


def text(records: int, prompts: int) -> Iterator[str]:
    """8 KB of response text a record, with the quotes, backslashes and escapes of model output."""
    chance = random.Random(11)
    phrases = [" ".join(chance.choices(WORDS, k=12)) + " " for _ in range(500)]
    for i in range(records):
        log_prob = -abs(chance.gauss(180.0, 60.0))
        record = {
            "prompt_id": f"p{i // GROUP % prompts:07d}",
            "response_text": "".join(chance.choices(phrases, k=TEXT_CHARACTERS // 50))[:TEXT_CHARACTERS],
            "reward": float(chance.random() < 0.5),
            "log_prob": log_prob,
            "old_log_prob": -abs(log_prob - chance.gauss(0.0, 1.0)),
            "response_length": chance.randrange(50, 4000),
        }
        yield json.dumps(record) + "\n"


def tokens(records: int, prompts: int) -> Iterator[str]:
    """A log-prob per token under both policies, and the token ids: about 1,378 tokens a record."""
    chance = random.Random(13)
    uniform, gauss = chance.random, chance.gauss
    for i in range(records):
        length = chance.randrange(900, 1857)
        log_prob = [-uniform() for _ in range(length)]
        record = {
            "prompt_id": f"p{i // GROUP % prompts:07d}",
            "reward": float(uniform() < 0.5),
            "tokens": [int(uniform() * 128_000) for _ in range(length)],
            "log_prob": log_prob,
            "old_log_prob": [value + gauss(0.0, 0.01) for value in log_prob],
            "response_length": length,
        }
        yield json.dumps(record) + "\n"


# ---- by other hands

NAMES = {  # some of which are those of another field elsewhere
    "prompt_id": ["prompt_id", "uid", "group", "problem", "question_id", "prompt"],
    "reward": ["reward", "rewards", "score", "r", "return", "acc"],
    "log_prob": ["log_prob", "log_probs", "logp", "lp", "logprobs", "actor_logps"],
    "old_log_prob": ["old_log_prob", "old_log_probs", "ref_logp", "olp", "reference", "ref_logps"],
    "response_length": ["response_length", "response_lengths", "n_tokens", "length", "tokens_out", "size"],
}
BESIDE = ["meta", "info", "timing", "tags", "model", "env", "finish_reason", "worker", "ts", "notes"]
LETTERS = "abcdefghijklmnopqrstuvwxyz_"


class Shape(NamedTuple):
    """What the author of a dump chooses, and what no reader may count on."""

    places: dict[str, str]  # of each field, as budget-cli takes it; `a.b` is a member of an object
    digits: int  # of a log-prob, significant
    is_shuffled: bool  # the keys of each record in an order of its own
    separators: tuple[str, str]
    is_ascii: bool  # False: text as UTF-8, not as escapes
    is_apart: bool  # True: the responses to a prompt are anywhere in the dump
    beside: list[str]  # keys that nobody asks for, with nested values

    @classmethod
    def from_seed(cls, seed: int) -> "Shape":
        """Choose; of an odd seed, names are letters at random."""
        chance = random.Random(seed)

        parent = chance.choice(["", "", "sample", "data"])
        taken, places = {parent, "response_text", "tokens", *BESIDE}, dict[str, str]()
        for field, usual in NAMES.items():
            own = parent
            while own in taken:
                own = "".join(chance.choices(LETTERS, k=chance.randrange(2, 15))) if seed % 2 else chance.choice(usual)
            taken.add(own)
            places[field] = f"{parent}.{own}" if parent and chance.random() < 0.5 else own
        return cls(
            places,
            chance.randrange(6, 18),
            chance.random() < 0.5,
            chance.choice([(", ", ": "), (",", ":")]),
            chance.random() < 0.5,
            chance.random() < 0.5,
            chance.sample(BESIDE, chance.randrange(1, 5)),
        )


def by_other_hands(workload: str, records: int, prompts: int, seed: int) -> Iterator[str]:
    """The records of a workload, written by an author that the seed draws."""
    shape, chance = Shape.from_seed(seed), random.Random(seed)
    for i, line in enumerate(WORKLOADS[workload](records, prompts)):
        found = json.loads(line)
        if shape.is_apart:
            found["prompt_id"] = f"p{i % prompts:07d}"
        record: dict[str, Any] = {}
        for field, place in shape.places.items():
            parent, _, own = place.rpartition(".")
            value = found.pop(field)
            value = _with_digits(value, shape.digits, chance) if "log_prob" in field else value
            (record.setdefault(parent, {}) if parent else record)[own] = value
        record |= {key: value for key, value in found.items() if key not in record}  # text, or token ids
        for key in shape.beside:
            record[key] = {"at": i, "of": [chance.randrange(100), {"x": chance.random()}], "note": chance.choice(WORDS)}
        keys = list(record)
        if shape.is_shuffled:
            chance.shuffle(keys)
        ordered = {key: record[key] for key in keys}
        yield json.dumps(ordered, separators=shape.separators, ensure_ascii=shape.is_ascii) + "\n"


def _with_digits(value: Any, digits: int, chance: random.Random) -> Any:
    """A log-prob, or each of a list, with so many significant digits."""
    if isinstance(value, list):
        return [_with_digits(each, digits, chance) for each in value]
    return float(f"{value * (1 + chance.random() * 1e-9):.{digits}g}")


WORKLOADS = {"small": small, "text": text, "tokens": tokens}


def write(workload: str, records: int | None = None, prompts: int | None = None, seed: int | None = None) -> Path:
    """The dump, written if it is not there, whole or not at all; by default a prompt for every eight records."""
    records = records or RECORDS[workload]
    prompts = prompts or -(-records // GROUP)
    path = DATA / f"{workload}-{records}-{prompts}{'' if seed is None else f'-seed{seed}'}.jsonl"
    lines = WORKLOADS[workload](records, prompts) if seed is None else by_other_hands(workload, records, prompts, seed)
    if not path.exists():
        DATA.mkdir(exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}.part")
        try:
            with part.open("w", encoding="utf-8") as file:
                file.writelines(lines)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    return path


def seed_of(text: str) -> int:
    """The seed that an option gives; `random` is another one each time."""
    return random.SystemRandom().randrange(1 << 31) if text == "random" else int(text)


def main() -> None:
    """Write one dump and print where it is."""
    parser = argparse.ArgumentParser(description="Write one seeded dump, unless it is there.")
    parser.add_argument("workload", choices=WORKLOADS)
    parser.add_argument("--records", type=int)
    parser.add_argument("--prompts", type=int, help="default: a prompt for every eight records")
    parser.add_argument("--seed", type=seed_of, help="of names, order, digits and nesting, or: random")
    asked = parser.parse_args()
    print(write(asked.workload, asked.records, asked.prompts, asked.seed))


if __name__ == "__main__":
    main()
