"""A dump in which nothing is wrong, and ways to spoil it; shared by the tests of the checks."""

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import command
from samples import lines

Record = dict[str, Any]
BUDGET = ("-B", "1024", "--beta", "0.001")
LETTERS = "abcdefghij klmnopqrst"


def healthy(prompts: int = 12, size: int = 6) -> list[Record]:
    """Responses to prompts, some right and some wrong, a few of them over 1,024 tokens."""
    chance = random.Random(5)
    records = []
    for p in range(prompts):
        right = p % (size - 1) + 1
        for i in range(size):
            length = 1100 + p if i == 0 and p % 3 == 0 else chance.randrange(150, 950)
            log_prob = -0.4 * length - chance.random()
            records.append(
                {
                    "prompt_id": f"p{p:02}",
                    "reward": float(i < right),
                    "response_length": length,
                    "log_prob": log_prob,
                    "old_log_prob": log_prob + chance.uniform(-0.5, 0.3),
                    "sampler_log_prob": log_prob + 0.01 * ((i + p) % 3 - 1),
                    "finish_reason": "stop",
                    "step": 1,
                    "advantage": float(i < right) - right / size,
                    "prompt_text": f"question {p}",
                    "response_text": "".join(chance.choices(LETTERS, k=4 * length)),
                }
            )
    return records


def change(records: Sequence[Record], **new: Callable[[Record], Any]) -> list[Record]:
    """Every record with these fields made anew from the record itself; None drops the field."""
    return [{**record, **{name: make(record) for name, make in new.items()}} for record in records]


def without(records: Sequence[Record], *names: str) -> list[Record]:
    """Every record without these fields."""
    return [{name: value for name, value in record.items() if name not in names} for record in records]


class Files(list[Sequence[Record]]):
    """The records of several files."""


def checked(path: Path, data: bytes | Sequence[Record] | Files, *arguments: str) -> dict[str, Any]:
    """The JSON of `budget-cli check` of these lines."""
    dumps = []
    for number, each in enumerate(data if isinstance(data, Files) else [data]):
        dumps.append(path / f"dump{number or ''}.jsonl")
        dumps[-1].write_bytes(each if isinstance(each, bytes) else lines(each))
    done = command.run("check", *dumps, *arguments, "-f", "json")
    assert done.returncode in (0, 1), done.stderr.decode()
    answer: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == (answer["status"] == "fail")
    return answer


def codes(answer: dict[str, Any]) -> list[str]:
    return [finding["code"] for finding in answer["findings"]]
