"""A workload's name and size → a seeded dump in `benchmarks/data/`, written once and used again.

The same name and size give the same bytes everywhere. Writes a chunk at a time. Knows nothing of what reads the files.

    python benchmarks/generate.py small
    python benchmarks/generate.py small --records 1000000 --prompts 100
"""

import argparse
import json
import os
import random
from collections.abc import Iterator
from pathlib import Path

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


WORKLOADS = {"small": small, "text": text, "tokens": tokens}


def write(workload: str, records: int | None = None, prompts: int | None = None) -> Path:
    """The dump, written if it is not there, whole or not at all; by default a prompt for every eight records."""
    records = records or RECORDS[workload]
    prompts = prompts or -(-records // GROUP)
    path = DATA / f"{workload}-{records}-{prompts}.jsonl"
    if not path.exists():
        DATA.mkdir(exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}.part")
        try:
            with part.open("w", encoding="utf-8") as file:
                file.writelines(WORKLOADS[workload](records, prompts))
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    return path


def main() -> None:
    """Write one dump and print where it is."""
    parser = argparse.ArgumentParser(description="Write one seeded dump, unless it is there.")
    parser.add_argument("workload", choices=WORKLOADS)
    parser.add_argument("--records", type=int)
    parser.add_argument("--prompts", type=int, help="default: a prompt for every eight records")
    asked = parser.parse_args()
    print(write(asked.workload, asked.records, asked.prompts))


if __name__ == "__main__":
    main()
