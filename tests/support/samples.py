"""Records and dumps that the command is given."""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "sample_data" / "rollouts.jsonl"
GOOD = {"prompt_id": "p", "reward": 1.0, "log_prob": -1.0, "old_log_prob": -1.5, "response_length": 120}


def lines(records: Sequence[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def response(number: int, chance: random.Random, **more: Any) -> dict[str, Any]:
    return {
        "prompt_id": f"p{number % 37}",
        "reward": chance.choice([0.0, 0.5, 1.0]),
        "log_prob": -chance.random() * 90,
        "old_log_prob": -chance.random() * 90,
        "response_length": chance.randrange(1, 2000),
        **more,
    }
