"""If this fails, a check misses the bug that it is for, or cries where nothing is wrong.

Each check has a pair: a dump with the bug, and a healthy neighbour of which it must say nothing.
"""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from dump_of import BUDGET, Files, Record, change, checked, codes, healthy, without
from samples import lines

from budget_cli.analysis.checks.catalogue import CHECKS

GOOD = healthy()
ALL = (*BUDGET, "--text", "--duplicate-keys")
LINE = b'{"prompt_id": "p", "reward": 1}\n'


class Pair(NamedTuple):
    """The bug and its neighbour; what the finding must say of the bug."""

    bug: bytes | Sequence[Record]
    neighbour: bytes | Sequence[Record]
    severity: str
    count: int
    message: str  # or a part of it
    options: tuple[str, ...] = ALL
    line: int | None = None  # of the first evidence


def wrong(line: bytes) -> bytes:
    return LINE + line + b"\n" + LINE


def one(field: str, value: Any, at: int = 3) -> list[Record]:
    """The good records, one of them with another value."""
    return [{**record, field: value} if i == at else record for i, record in enumerate(GOOD)]


def groups(*rewards: Sequence[float], lengths: Sequence[Sequence[int]] | None = None) -> list[Record]:
    """Prompts with these rewards, and nothing more than a length."""
    made = []
    for p, row in enumerate(rewards):
        for i, reward in enumerate(row):
            length = lengths[p][i] if lengths else 100 + 17 * (p * len(row) + i)
            made.append({"prompt_id": f"p{p}", "reward": reward, "response_length": length})
    return made


def log_ratios(times: float, others: Mapping[int, float]) -> list[Record]:
    """The good records, their log-ratios so many times as large, and some of them others (nats)."""
    made = []
    for i, record in enumerate(GOOD):
        log_ratio = others.get(i, times * (record["log_prob"] - record["old_log_prob"]))
        made.append({**record, "old_log_prob": record["log_prob"] - log_ratio})
    return made


def up_to_800(record: Record) -> int:
    """The length of a record whose response is cut off at 800 tokens."""
    return min(int(record["response_length"]), 800)


def of_tokens(gaps: Mapping[int, int], name: str = "old_log_prob", other: float = -10.8) -> list[Record]:
    """The good records with log-probs of tokens; in some, the named one of a token is 0 where the other is given."""
    made = []
    for i, record in enumerate(GOOD):
        size = record["response_length"]
        each = [-0.4, -0.1, 0.0, -0.7] * (size // 4 + 1)  # of some tokens the policy is certain
        lists = {"log_prob": each[:size], "old_log_prob": [one * 1.001 for one in each[:size]]}
        if i in gaps:
            lists |= {
                one: [*row[: gaps[i]], 0.0 if one == name else other, *row[gaps[i] + 1 :]] for one, row in lists.items()
            }
        made.append({**record, **lists})
    return made


def moved(by: int, rows: int = 72) -> list[Record]:
    """The good records with log-probs of tokens, in some of which the second list is moved by so many tokens."""
    made, chance = [], random.Random(7)
    for i, record in enumerate(GOOD):
        each = [-abs(chance.gauss(0, 1)) for _ in range(record["response_length"] + 2)]
        other = [one * 1.01 for one in each]
        start = 1 - by if i < rows else 1
        lists = {"log_prob": each[1:-1], "old_log_prob": other[start : start + len(each) - 2]}
        made.append({**record, **lists, "sampler_log_prob": each[1:-1]})
    return made


def sampled(log_ratio: Callable[[int], float]) -> list[Record]:
    """The good records with these log-ratios of trainer and sampler (nats)."""
    return [{**record, "sampler_log_prob": record["log_prob"] - log_ratio(i)} for i, record in enumerate(GOOD)]


def with_zeros(number: int, begin: int, end: int, certain: float = -0.01) -> list[Record]:
    """The good records with log-probs of tokens, of which one record has zeros from one index to before another."""
    made = of_tokens({})
    for i, record in enumerate(made):
        for name in ("log_prob", "old_log_prob"):
            record[name] = [one or certain for one in record[name]]
            if i == number:
                record[name][begin:end] = [0.0] * (end - begin)
    return made


def halves(record: Record) -> int:
    """Step 1 or 2, as many records of each."""
    return 1 + (record["response_text"] >= MIDDLE)


def is_over(record: Record) -> bool:
    """True if the response is over 1,024 tokens."""
    return int(record["response_length"]) > 1024


def less(record: Record) -> float:
    """A penalty of 0.0005 for each token over 600."""
    return 0.0005 * max(0, record["response_length"] - 600)


def less_over_600(record: Record) -> float:
    return float(record["reward"]) - less(record)


def centred(records: Sequence[Record], value: Callable[[Record], float]) -> list[Record]:
    """The records with the advantage of this value: less its mean over the prompt."""
    values: dict[str, list[float]] = {}
    for record in records:
        values.setdefault(record["prompt_id"], []).append(value(record))
    means = {key: sum(of_prompt) / len(of_prompt) for key, of_prompt in values.items()}
    return change(records, advantage=lambda r: value(r) - means[r["prompt_id"]])


FINISHED = {True: "stop", False: "length"}
MIXED = [1.0, 0.0, 1.0, 0.0]
CHANCE = random.Random(11)
# two prompts, each with the advantages of the other
SWAPPED = [{**GOOD[i], "advantage": GOOD[(i - 6 if i >= 18 else i + 6)]["advantage"]} for i in range(12, 24)]
NOISE = [math.sin(7 * i * i) for i in range(len(GOOD))]
DRAWN = [[float(CHANCE.random() < 0.5) for _ in range(4)] for _ in range(200)]
AVERAGED = change(GOOD, log_prob=lambda r: -0.3 - r["response_length"] % 7 / 100, old_log_prob=lambda r: None)
SHAPED = change(GOOD, response_length=lambda r: r["response_length"] * 2)  # many are over the budget
SHAPED = change(SHAPED, advantage=lambda r: None, log_prob=lambda r: None, old_log_prob=lambda r: None)
OVER = sum(r["response_length"] > 1024 for r in SHAPED)
LONG = sum(r["response_length"] > 700 for r in GOOD)
SHORTEST = min(r["response_length"] for i, r in enumerate(GOOD) if i != 3)
AT_800 = sum(r["response_length"] >= 800 for r in GOOD)
TOKENS = sum(r["response_length"] for r in GOOD) / len(GOOD)
SPIKE = without(GOOD, "finish_reason", "log_prob", "old_log_prob", "response_text")

BARE = without(GOOD, "log_prob", "old_log_prob", "response_text", "prompt_text", "advantage")
BARE_STEP = without(BARE, "step")
SHORT = [
    {"prompt_id": f"p{i // 4}", "reward": float(CHANCE.random() < 0.5), "response_text": f"{CHANCE.randrange(90)}"}
    for i in range(72)
]
TURNS = ("--field", "rollout_id=r", "--field", "turn=i")
ROWS = [
    {"prompt_id": p, "reward": float(r == "x"), "r": r, "i": i, "response_length": 5 + i}
    for p in "pq"
    for r in "xy"
    for i in (0, 1)
]
ADJACENT = [record for record in GOOD for _ in (0, 1)]
ADJACENT_HALF = [*ADJACENT[:60], *GOOD[30:]]
EACH_TWICE = "every response to 12 prompts occurs 2 times, in any order: 72 copies"
GREEDY = [{**GOOD[i - i % 6], "reward": r["reward"], "advantage": r["advantage"]} for i, r in enumerate(GOOD)]
# a choice of two, with the log-prob of each: several times in every group
LOG_OF = {"A": -0.4, "B": -1.1}
CHOICES, MORE_CHOICES = (
    [
        {**r, "response_text": c, "log_prob": LOG_OF[c], "old_log_prob": LOG_OF[c] - 0.02, "step": step}
        | {"reward": float(c == "A"), "response_length": 1}
        for r in GOOD
        for c in [CHANCE.choice("AAB")]
    ]
    for step in (1, 2)
)
BARE_CHOICES = without(CHOICES, "response_text", "log_prob", "old_log_prob")
NO_TEXTS = without(GOOD, "response_text")
TOKENS_ONLY = change(NO_TEXTS, response_ids=lambda r: [7] * r["response_length"])
OF_TURNS = change(NO_TEXTS, ids=lambda r: [[7] * 40] * (1 + r["response_length"] % 3), log_prob=lambda r: None)
SEARCHED = "so I look it up <search>Paris</search> <information>a city</information> and so it is a city"

MIDDLE = sorted(str(r["response_text"]) for r in GOOD)[36]
ONE_ID = change(without(GOOD, "prompt_text"), prompt_id=lambda r: "x", advantage=lambda r: None)
ONE_TEXT = change(ONE_ID, prompt_text=lambda r: "question")
HALF = random.Random(3).sample(GOOD, 36)
UNFINISHED = without(GOOD, "response_text", "finish_reason", "prompt_text")
BARE_TEXT = without(GOOD, "log_prob", "old_log_prob", "finish_reason")
RATES = change(GOOD, log_prob=lambda r: -r["response_length"] * (0.1 + 0.5 * (r["log_prob"] % 1)))
RATES = change(RATES, old_log_prob=lambda r: 1.01 * r["log_prob"])
SHIFTED = [{**r, "old_log_prob": RATES[i - 1]["old_log_prob"]} for i, r in enumerate(RATES)]
ANSWERS = [
    {
        "prompt_id": f"q{i // 8}",
        "reward": i % 2,
        "response_length": 50 + i,
        "response_text": f"x = {i // 8 - 9 * (i % 2)}",
    }
    for i in range(48)
]
DRAWN_IDS = random.Random(7).sample([r["prompt_id"] for r in ANSWERS], 48)
ANSWERS_DRAWN = [{**r, "prompt_id": DRAWN_IDS[i]} for i, r in enumerate(ANSWERS)]


def of_prompt(record: Record) -> int:
    """A length that all responses to a prompt share."""
    return 87 + 13 * int(record["prompt_id"][1:])


RECORDS: dict[str, Pair] = {
    "non-finite": Pair(
        wrong(b'{"prompt_id": "p", "reward": NaN}'),
        wrong(b'{"prompt_id": "NaN", "reward": 1e300}'),
        "error",
        1,
        "1 record of 3: reward: NaN is not a number that can be averaged",
        (),
        2,
    ),
    "left-out": Pair(
        one("failed", True), GOOD, "info", 1, "1 of 72 samples: 1 by --where", (*ALL, "--where", "!failed"), 4
    ),
    "number-as-string": Pair(
        wrong(b'{"prompt_id": "p", "reward": "0.5"}'),
        wrong(b'{"prompt_id": "0.5", "reward": 0.5}'),
        "error",
        1,
        "1 record of 3: reward: expected a number, found the string",
        (),
        2,
    ),
    "wrong-type": Pair(
        wrong(b'{"prompt_id": "p", "reward": true}'),
        wrong(b'{"prompt_id": "p", "reward": 1, "ok": true}'),
        "error",
        1,
        "1 record of 3: reward: expected a number, found true",
        (),
        2,
    ),
    "null": Pair(
        wrong(b'{"prompt_id": "p", "reward": null}'),
        wrong(b'{"prompt_id": "p", "reward": 0, "x": null}'),
        "error",
        1,
        "1 record of 3: reward: null",
        (),
        2,
    ),
    "missing": Pair(
        wrong(b'{"prompt_id": "p", "score": 1}'),
        wrong(b'{"prompt_id": "p", "reward": 1, "score": 1}'),
        "error",
        1,
        "1 record of 3: reward: missing",
        (),
        2,
    ),
    "wrong-value": Pair(
        wrong(b'{"prompt_id": "p", "reward": 1, "response_length": 12.5}'),
        wrong(b'{"prompt_id": "p", "reward": 1, "response_length": 12.0}'),
        "error",
        1,
        "1 record of 3: response_length: expected a whole number of tokens, 0 or more, found 12.5",
        (),
        2,
    ),
    "inexact-id": Pair(
        wrong(b'{"prompt_id": 18446744073709551616, "reward": 1}'),
        wrong(b'{"prompt_id": "18446744073709551616", "reward": 1}'),
        "error",
        1,
        "1 record of 3: prompt_id: this integer is too large to be exact",
        (),
        2,
    ),
    "unequal-lengths": Pair(
        wrong(b'{"prompt_id": "p", "rewards": [1, 0], "log_probs": [-1]}'),
        wrong(b'{"prompt_id": "p", "rewards": [1, 0], "log_probs": [-1, -2]}'),
        "error",
        1,
        "1 record of 3: log_probs: 1 element, but rewards has 2",
        (),
        2,
    ),
    "not-an-object": Pair(wrong(b"[]"), wrong(b""), "error", 1, "1 record of 3: expected an object", (), 2),
    "not-json": Pair(wrong(b"INFO saved"), wrong(b" "), "error", 1, "1 record of 3: not JSON: ", (), 2),
    "truncated-tail": Pair(
        LINE + LINE[:20], LINE + LINE[:-1], "error", 1, "1 record of 2: the last line is cut", (), 2
    ),
    "invalid-utf8": Pair(
        wrong(b'{"prompt_id": "\xe9", "reward": 1}'),
        wrong(b'{"prompt_id": "\xc3\xa9", "reward": 1}'),
        "error",
        1,
        "1 record of 3: byte 0xe9 is not UTF-8",
        (),
        2,
    ),
    "lone-surrogate": Pair(
        wrong(rb'{"prompt_id": "\ud83d", "reward": 1}'),
        wrong(rb'{"prompt_id": "\ud83d\ude00", "reward": 1}'),
        "error",
        1,
        "1 record of 3: half of a \\u surrogate pair",
        (),
        2,
    ),
    "nul-bytes": Pair(wrong(b"\0\0\0"), wrong(b"\t\t\t"), "error", 1, "1 record of 3: a run of NUL bytes", (), 2),
    "too-deep": Pair(
        wrong(b'{"a": ' + b"[" * 1100 + b"]" * 1100 + b"}"),
        wrong(LINE[:-2] + b', "a": ' + b"[" * 900 + b"]" * 900 + b"}"),
        "error",
        1,
        "1 record of 3: nested deeper than 1024 levels",
        (),
        2,
    ),
    "line-too-long": Pair(
        wrong(LINE[:-2] + b" " * 100 + b"}"),
        wrong(LINE[:-2] + b" " * 60 + b"}"),
        "error",
        1,
        "1 record of 3: longer than 100 bytes",
        ("--max-line-bytes", "100"),
        2,
    ),
}

KEYS = ("--duplicate-keys",)
PAIRS: dict[str, list[Pair]] = {
    "duplicate-keys": [
        Pair(
            wrong(b'{"prompt_id": "p", "reward": 0, "x": {"a": 1, "a": 2}, "reward": 1}'),
            wrong(b'{"prompt_id": "p", "reward": 0, "x": {"reward": 1, "a": {"a": 2}}}'),
            "warning",
            1,
            "1 record of 3 with a duplicate key: a, reward",
            KEYS,
            2,
        ),
    ],
    **{code: [pair] for code, pair in RECORDS.items()},
    "constant-reward": [
        Pair(groups([0, 0, 0], [0, 0, 0]), groups([0, 0, 0], [0, 0, 1]), "warning", 6, "every reward is 0, in all 6"),
        # 16 are no chance
        Pair(groups(*[[0] * 5] * 3), groups(*[[0, 0, 0, 0, 1]] * 3), "warning", 15, "every reward is 0, in all 15"),
        Pair(groups(*[[1] * 4] * 4), groups(*[[1, 1, 1, 0]] * 4), "error", 16, "every reward is 1, in all 16"),
    ],
    "zero-variance": [
        Pair(
            groups([1, 1, 1, 1], MIXED, MIXED),
            groups(MIXED, MIXED, MIXED),
            "info",
            1,
            "1 of 3 prompts have equal rewards (1 all 1); chance alone, at a pass rate of 67%, gives 0.6",
        ),
        # more than chance gives: a warning
        Pair(
            groups(*[[1] * 8] * 4, *[[0] * 8] * 3, MIXED * 2),
            groups(MIXED * 2, MIXED * 2),
            "warning",
            7,
            "7 of 8 prompts have equal rewards (3 all 0, 4 all 1); chance alone, at a pass rate of 56%, gives 0.1",
        ),
        # nothing is left that teaches anything: an error from 4 prompts and 16 responses
        Pair(groups(*[[1] * 4, [0] * 4] * 2), groups(MIXED), "error", 4, "4 of 4 prompts have equal rewards (2 all 0"),
        Pair(groups([1] * 8, [0] * 8, [0] * 8), groups(MIXED), "info", 3, "3 of 3 prompts have equal rewards"),
        Pair(groups(*[[1] * 3, [0] * 3] * 2, [0]), groups(MIXED), "warning", 4, "4 of 4 prompts have equal rewards"),
        Pair(groups(*[[1] * 8] * 3, [0] * 8, MIXED), groups(MIXED), "warning", 4, "4 of 5 prompts have equal rewards"),
        Pair(
            groups([0.5, 0.5], [0.0, 1.0]),
            groups([0.5, 0.6], [0.0, 1.0]),
            "info",
            1,
            "1 of 2 prompts have equal rewards (1 between)",
        ),
    ],
    "zero-variance-filtered": [
        Pair(groups(*[row for row in DRAWN if len(set(row)) > 1]), groups(*DRAWN), "info", 0, "0 of "),
    ],
    "phantom-advantage": [
        Pair(
            groups([0, 0, 0], MIXED, lengths=[[900, 1100, 1424], [10, 20, 30, 40]]),
            groups([0, 0, 0], MIXED, lengths=[[900, 1000, 1024], [10, 20, 1124, 40]]),
            "warning",
            1,
            "1 prompt has equal rewards but unequal penalties, from 0 to 0.4",
            line=1,
        ),
        # equal penalties: nothing to learn, also of length
        Pair(
            groups(MIXED, [0, 0, 0], lengths=[[10, 20, 30, 40], [1124, 1025, 1024]]),
            groups(MIXED, [0, 0, 0], lengths=[[10, 20, 30, 40], [1124, 1124, 1124]]),
            "warning",
            1,
            "1 prompt",
            line=5,
        ),
    ],
    "penalty-cancels": [
        Pair(
            groups([1, 0], MIXED, lengths=[[1024 + 1000, 1024], [10, 20, 30, 40]]),
            groups([1, 0], MIXED, lengths=[[1024 + 999, 1024], [10, 20, 30, 40]]),
            "info",
            1,
            "in 1 prompt the penalty",
        ),
    ],
    "best-response-changes": [
        Pair(
            groups([1, 0], MIXED, lengths=[[1024 + 1001, 1024], [10, 20, 30, 40]]),
            groups([1, 0], MIXED, lengths=[[1024 + 999, 1024], [10, 20, 30, 40]]),
            "info",
            1,
            "in 1 of 2 prompts the best response",
        ),
        # the better of two equals is still one with the best reward
        Pair(
            groups([1, 1, 0], lengths=[[3000, 2030, 1024]]),
            groups([1, 1, 0], lengths=[[3000, 2020, 1024]]),
            "info",
            1,
            "in 1 of 1 prompt",
        ),
    ],
    "one-prompt": [
        Pair(ONE_ID, ONE_TEXT, "error", 72, "all 72 responses have one prompt id", line=1),
        # without --text, the first records tell
        Pair(ONE_ID, ONE_TEXT, "error", 72, "all 72 responses have one prompt id", BUDGET, 1),
        # several texts
        Pair(change(GOOD, prompt_id=lambda r: "x"), ONE_TEXT, "error", 72, "all 72 responses", line=1),
        Pair(ONE_ID[:32], ONE_ID[:31], "error", 32, "all 32 responses have one prompt id"),
        # the same in every step
        Pair(
            change(ONE_ID, step=halves),
            change(ONE_ID, step=halves, prompt_id=lambda r: f"x{halves(r)}"),
            "error",
            72,
            "all 72 responses have one prompt id in each of 2 steps",
        ),
    ],
    "singleton": [
        Pair(
            [*GOOD, {**GOOD[0], "prompt_id": "x"}],
            GOOD,
            "error",
            1,
            "1 of 13 prompts has a single response; beside the largest group, 5 of 78 responses are missing",
            line=73,
        ),
        # two are no torn end
        Pair(
            [*GOOD, {**GOOD[0], "prompt_id": "x"}, {**GOOD[1], "prompt_id": "y"}],
            GOOD,
            "warning",
            2,
            "2 of 14 prompts have a single response",
        ),
        Pair(groups(*[[i % 2] for i in range(8)]), groups(MIXED), "error", 8, "every prompt has a single response (8"),
        Pair(groups(*[[i % 2] for i in range(7)]), groups(MIXED), "warning", 7, "every prompt has a single response"),
        Pair(
            change(GOOD, prompt_id=lambda r: f"{r['prompt_id']}_{r['response_length']}_{r['log_prob']}"),
            GOOD,
            "error",
            72,
            "every prompt has a single response (72 prompts): does the id identify responses?",
        ),
    ],
    "uneven-groups": [
        Pair(GOOD[:-1], GOOD, "warning", 1, "prompts have unequal numbers of responses: 6 in 11, 5 in 1", line=67),
        # a torn end: one prompt lacks a third of its responses
        Pair(
            GOOD[:-2],
            GOOD,
            "error",
            1,
            "prompts have unequal numbers of responses: 6 in 11, 4 in 1; beside the largest group, 2 of 72 responses"
            " are missing",
            line=67,
        ),
        Pair(GOOD[1:-2], GOOD, "warning", 2, "6 in 10, 4 in 1, 5 in 1"),
        Pair(GOOD[:18][:-2], GOOD, "warning", 1, "6 in 2, 4 in 1"),  # of three prompts
        # half of a shuffled dump
        Pair(HALF, GOOD, "error", 7, "prompts have unequal numbers of responses: 3 in 4, 2 in 3"),
        # what is left out explains it, and so does a sampler that doubles
        Pair(
            [{**r, "failed": r not in HALF} for r in GOOD], GOOD, "warning", 7, "3 in 4", (*ALL, "--where", "!failed")
        ),
        Pair(
            groups(*[[0, 1]] * 3, *[MIXED] * 3, *[MIXED * 2] * 3), groups(*[MIXED] * 4), "warning", 6, "2 in 3, 4 in 3"
        ),
    ],
    "doubled-group": [
        Pair(
            change(GOOD, prompt_id=lambda r: {"p03": "p02"}.get(r["prompt_id"], r["prompt_id"])),
            GOOD,
            "warning",
            1,
            "1 prompt with a multiple of the usual 6 responses: 12",
            line=13,
        ),
    ],
    "advantage-penalty": [
        Pair(
            centred(GOOD, lambda r: r["reward"] - 0.0005 * max(0, r["response_length"] - 600)),
            GOOD,
            "warning",
            12,
            "the stored advantages hold a penalty of β 0.0005 over 600 tokens that the stored rewards do not",
        ),
        Pair(
            centred(change(GOOD, reward=less_over_600), lambda r: r["reward"] + less(r)),
            centred(change(GOOD, reward=less_over_600), lambda r: r["reward"]),
            "warning",
            12,
            "the stored rewards hold a penalty of β 0.0005 over 600 tokens that the stored advantages do not",
        ),
    ],
    "advantage-differs": [
        Pair(
            [*GOOD[:12], *SWAPPED, *GOOD[24:]],
            GOOD,
            "warning",
            2,
            "in 2 of 12 prompts the stored advantages are not those of the centred reward: off by up to",
            line=13,
        ),
    ],
    "advantage-unknown": [
        Pair(
            [{**r, "advantage": one} for r, one in zip(GOOD, NOISE, strict=True)],
            GOOD,
            "warning",
            12,
            "no estimator known here gives the stored advantages; the nearest is",
        ),
    ],
    "stored-advantage": [
        Pair(
            change(GOOD, advantage=lambda r: r["reward"]),
            GOOD,
            "warning",
            12,
            "in 12 of 12 prompts the stored advantages do not sum to 0",
        ),
        Pair(
            change(GOOD, advantage=lambda r: 0.0),
            GOOD,
            "warning",
            12,
            "in 12 of 12 prompts the stored advantages are all 0 although rewards differ",
        ),
        # the id of a response in place of the prompt's
        Pair(
            change(GOOD, prompt_id=lambda r: f"{r['prompt_id']}/{r['log_prob']}", prompt_text=lambda r: None),
            change(GOOD, prompt_id=lambda r: f"{r['prompt_id']}/{r['log_prob']}", advantage=lambda r: 0.0),
            "warning",
            72,
            "in 72 of 72 prompts with a single response the stored advantage is not 0",
            BUDGET,
            1,
        ),
        # divided by the standard deviation they still sum to 0
        Pair(
            change(GOOD, advantage=lambda r: r["advantage"] + 0.1),
            change(GOOD, advantage=lambda r: r["advantage"] * 2.5),
            "warning",
            12,
            "in 12 of 12 prompts the stored advantages do not sum to 0",
        ),
    ],
    "budget-never-reached": [
        Pair(
            one("response_length", 1200),
            one("response_length", 1201),
            "warning",
            72,
            "no response is over the budget of 1,200 tokens; the longest has 1,200",
            ("-B", "1200"),
        ),
    ],
    "budget-always-exceeded": [
        Pair(
            change(GOOD, response_length=lambda r: r["response_length"] + 1024),
            GOOD,
            "warning",
            72,
            "all 72 responses are over the budget of 1,024 tokens; the shortest has 1,17",
            BUDGET,
        ),
    ],
    "penalty-outweighs-reward": [
        Pair(
            groups(MIXED, MIXED, lengths=[[10, 20, 30, 40], [10, 20, 30, 2025]]),
            groups(MIXED, MIXED, lengths=[[10, 20, 30, 40], [10, 20, 30, 2024]]),
            "warning",
            1,
            "penalties reach 1 but rewards differ by at most 1; a penalty exceeds that in 1 of 2 prompts",
            line=5,
        ),
    ],
    "penalty-in-reward": [
        Pair(
            change(SHAPED, reward=lambda r: r["reward"] - max(0, r["response_length"] - 1024) / 500),
            SHAPED,
            "error",
            OVER,
            f"the reward already holds a penalty of β 0.002 over 1,024 tokens: {OVER} of the {OVER} responses over it"
            " have 0 or 1 less that penalty; given: β 0.001 over 1,024 tokens",
        ),
        # nothing would be counted twice
        Pair(
            change(SHAPED, reward=lambda r: r["reward"] - max(0, r["response_length"] - 1024) / 500),
            SHAPED,
            "info",
            OVER,
            "a penalty of β 0.002 over 1,024 tokens",
            ("--text",),
        ),
        # a budget in tokens of prompt and response together
        Pair(
            change(
                SHAPED,
                prompt_length=lambda r: 100 + r["response_length"] % 19,
                reward=lambda r: r["reward"] - max(0, r["response_length"] + r["response_length"] % 19 - 1100) / 500,
            ),
            change(SHAPED, prompt_length=lambda r: 100 + r["response_length"] % 19),
            "error",
            sum(r["response_length"] + r["response_length"] % 19 > 1100 for r in SHAPED),
            "a penalty of β 0.002 over 1,200 tokens of prompt and response together",
        ),
        # other rewards that no penalty explains
        Pair(
            change(
                SHAPED,
                reward=lambda r: -(r["response_length"] % 97) / 97 if is_over(r) else r["reward"],
            ),
            change(SHAPED, reward=lambda r: -(r["response_length"] % 97) / 97),
            "warning",
            OVER,
            f"within the budget, rewards are 0 or 1; of the {OVER} responses over it {OVER} (100%) have other rewards",
        ),
    ],
    "length-in-reward": [
        # 0.001 less for each token, and 0.6 more for a right response
        Pair(
            change(GOOD, reward=lambda r: 0.6 * r["reward"] - r["response_length"] / 1000),
            change(GOOD, reward=lambda r: 0.6 * r["reward"] - r["response_length"] / 1000 - r["log_prob"] % 0.2),
            "warning",
            12,
            "for responses of 2 kinds at most, as right and wrong ones, it never rises with length (72 responses to 12",
            line=1,
        ),
        # longer answers are worth more if they are wrong, as by a cosine
        Pair(
            change(GOOD, reward=lambda r: (2 * r["reward"] - 1) * (1 + math.cos(r["response_length"] / 500))),
            change(GOOD, reward=lambda r: (2 * r["reward"] - 1) * (1 + math.cos(r["response_length"] / 50))),
            "warning",
            12,
            "never rises with length where it is higher, and never falls where it is lower",
        ),
        # what a penalty explains is a penalty
        Pair(
            change(
                SHAPED, reward=lambda r: r["reward"] - max(0, r["response_length"] - 200) / 500 - (r["reward"] < 0.5)
            ),
            change(SHAPED, reward=lambda r: r["reward"] - max(0, r["response_length"] - 1024) / 500),
            "warning",
            12,
            "it never rises with length",
        ),
    ],
    "some-without-length": [
        Pair(one("response_length", None), GOOD, "warning", 1, "1 of 72 responses have no length", ("--text",), 4),
    ],
    "all-lengths-zero": [
        Pair(
            change(GOOD, response_length=lambda r: 0),
            one("response_length", 0),
            "error",
            72,
            "every length is 0, in all 72 responses",
            line=1,
        ),
        Pair(change(GOOD, response_length=lambda r: 0), GOOD, "warning", 72, "every length is 0", (), 1),
    ],
    "all-lengths-equal": [
        # of texts that are all about as long, every response may have reached the maximum
        Pair(
            change(GOOD, response_length=lambda r: 203),
            change(GOOD, response_length=lambda r: 203, response_text=lambda r: "a bc" * (150 + len(r["prompt_id"]))),
            "error",
            72,
            f"every length is 203 tokens, in all 72 responses, but their texts have {4 * TOKENS:,.0f} ± ",
        ),
        Pair(
            change(GOOD, response_length=lambda r: 203),
            change(GOOD, response_length=lambda r: 203, finish_reason=lambda r: "length"),
            "error",
            72,
            "every length is 203 tokens",
        ),
        Pair(change(GOOD[:8], response_length=lambda r: 203), GOOD[:1], "error", 8, "in all 8 responses"),
        # lists of log-probs tell
        Pair(
            change(GOOD[:8], response_length=lambda r: 203, log_prob=lambda r: [-0.4] * r["response_length"]),
            change(GOOD[:8], response_length=lambda r: 203, log_prob=lambda r: [-0.4] * 203),
            "error",
            8,
            "every length is 203 tokens, in all 8 responses; 8 of them have another number of log-probs",
            BUDGET,
        ),
        # without --text, the texts and tokens of the first records tell
        Pair(
            change(GOOD, response_length=lambda r: 203),
            change(GOOD, response_length=lambda r: 203, response_text=lambda r: "a bc" * (150 + len(r["prompt_id"]))),
            "error",
            72,
            "every length is 203 tokens, in all 72 responses, but ",
            BUDGET,
        ),
        Pair(
            change(TOKENS_ONLY, response_length=lambda r: 203),
            change(TOKENS_ONLY, response_length=lambda r: 203, response_ids=lambda r: [7] * 203),
            "error",
            72,
            "every length is 203 tokens, in all 72 responses, but ",
            BUDGET,
        ),
        Pair(
            [
                {**r, "response_length": 203, "log_prob": [-0.4] * (203 if i else r["response_length"])}
                for i, r in enumerate(GOOD[:8])
            ],
            GOOD,
            "warning",
            8,
            "every length is 203 tokens, in all 8 responses; 1 of them has another number of log-probs",
            BUDGET,
        ),
        # responses that ended by themselves are shorter than those that were cut off
        Pair(
            change(
                NO_TEXTS, response_length=lambda r: 1280, finish_reason=lambda r: "stop" if r["reward"] else "length"
            ),
            change(NO_TEXTS, response_length=lambda r: 1280, finish_reason=lambda r: "length"),
            "error",
            72,
            "every length is 1,280 tokens, in all 72 responses, but only 39 of them were cut off at the length limit",
            BUDGET,
        ),
        # the sums of log-probs tell
        Pair(
            change(UNFINISHED, response_length=lambda r: 1280),
            change(UNFINISHED, response_length=lambda r: 1280, log_prob=lambda r: -400 + r["log_prob"] / 4),
            "error",
            72,
            "every length is 1,280 tokens, in all 72 responses, but their log-probs are not alike: a standard deviation"
            " of 50% of the mean",
            BUDGET,
        ),
        Pair(
            change(UNFINISHED[:16], response_length=lambda r: 1280),
            change(UNFINISHED[:15], response_length=lambda r: 1280),
            "error",
            16,
            "their log-probs are not alike",
            BUDGET,
        ),
        # a length that is a usual maximum may be one, whatever the texts
        Pair(
            change(BARE_TEXT, response_length=lambda r: 200),
            change(BARE_TEXT, response_length=lambda r: 200, response_text=lambda r: "a bc" * 150),
            "warning",
            72,
            "every length is 200 tokens, in all 72 responses, but their texts have ",
        ),
        Pair(
            change(BARE, response_length=lambda r: 203),
            change(BARE, response_length=lambda r: 200),
            "info",
            72,
            "every length is 203 tokens, in all 72 responses, and that is not a usual maximum",
            BUDGET,
        ),
    ],
    "lengths-equal-by-prompt": [
        Pair(
            change(GOOD, response_length=of_prompt),
            GOOD,
            "warning",
            72,
            "the responses to a prompt are equally long, in all 12 prompts, but not the texts of ",
            BUDGET,
        ),
        # copies, which other checks find
        Pair(
            change(NO_TEXTS, response_length=of_prompt),
            change(GOOD, response_length=of_prompt, response_text=lambda r: "abcd" * of_prompt(r)),
            "info",
            72,
            "the responses to a prompt are equally long, in all 12 prompts",
            BUDGET,
        ),
        # lists of log-probs tell
        Pair(
            change(NO_TEXTS, response_length=of_prompt, log_prob=lambda r: [-0.4] * r["response_length"]),
            change(NO_TEXTS, response_length=of_prompt, log_prob=lambda r: [-0.4] * of_prompt(r)),
            "warning",
            72,
            "in all 12 prompts; 72 responses have another number of log-probs",
            BUDGET,
        ),
        Pair(
            change(NO_TEXTS[:24], response_length=of_prompt),
            change(NO_TEXTS[:18], response_length=of_prompt),  # three prompts
            "info",
            24,
            "in all 4 prompts",
            BUDGET,
        ),
        Pair(
            change(NO_TEXTS, response_length=of_prompt),
            change(NO_TEXTS, response_length=lambda r: 4 + of_prompt(r) % 9),  # short answers of a fixed form
            "info",
            72,
            "in all 12 prompts",
            BUDGET,
        ),
    ],
    "zero-length": [
        Pair(
            one("response_length", 0), one("response_length", 1), "warning", 1, "1 of 72 responses is 0 tokens", line=4
        ),
    ],
    "one-token": [
        Pair(
            one("response_length", 1),
            one("response_length", 2),
            "warning",
            1,
            f"1 of 72 responses has one token, and no other fewer than {SHORTEST}",
            line=4,
        ),
        # where short answers are usual, and where most are of one token
        Pair(
            change(GOOD, response_length=lambda r: 1 if r["prompt_id"] < "p02" else r["response_length"]),
            [{**r, "response_length": 1 + i % 17} for i, r in enumerate(GOOD)],
            "warning",
            12,
            "12 of 72 responses have one token, and no other fewer than ",
            line=1,
        ),
        Pair(
            change(GOOD, response_length=lambda r: 1 if r["prompt_id"] < "p06" else r["response_length"]),
            change(GOOD, response_length=lambda r: 1 if r["prompt_id"] < "p07" else r["response_length"]),
            "warning",
            36,
            "36 of 72 responses have one token",
        ),
    ],
    "token-count-differs": [
        Pair(
            change(GOOD[:6], log_prob=lambda r: [-0.4] * (r["response_length"] - 2 - r["response_length"] % 7)),
            change(GOOD[:6], log_prob=lambda r: [-0.4] * r["response_length"]),
            "error",
            6,
            "in 6 of 6 responses the length differs from the number of log-probs",
            ("--ignore", "records"),
            1,
        ),
        Pair(
            change(GOOD[:6], log_prob=lambda r: [-0.4] * (r["response_length"] - 1)),
            change(GOOD[:6], log_prob=lambda r: [-0.4] * r["response_length"]),
            "warning",
            6,
            "in 6 of 6 responses the length differs from the number of log-probs, by one token each",
            (),
            1,
        ),
        Pair(
            change(GOOD[:6], log_prob=lambda r: [-30.0] * 3),
            GOOD,
            "warning",
            6,
            "the lists do not hold one log-prob per token",
            (),
            1,
        ),
    ],
    "length-is-characters": [
        Pair(
            change(GOOD, response_length=lambda r: len(r["response_text"])),
            GOOD,
            "warning",
            72,
            "lengths sum to 100% of the characters of the texts; in 72 of 72 texts they are equal",
        ),
        Pair(
            change(GOOD[:12], response_length=lambda r: len(r["response_text"])),
            change(GOOD[:12], response_length=lambda r: len(r["response_text"]) // 4),
            "warning",
            12,
            "response_length is the number of characters of response_text, not of tokens, in all 12 samples examined",
            BUDGET,
        ),
    ],
    "length-is-turns": [
        Pair(
            change(GOOD, response_length=lambda r: 2 + len(r["response_text"]) % 3),
            GOOD,
            "warning",
            72,
            "a token would be ",
        ),
        Pair(
            change(OF_TURNS, response_length=lambda r: len(r["ids"])),
            change(OF_TURNS, response_length=lambda r: sum(map(len, r["ids"]))),
            "warning",
            72,
            "response_length is the number of turns in ids, not of tokens, in all 72 samples examined",
            BUDGET,
        ),
        # every value in a list of its own, as NeMo-RL writes them
        Pair(
            change(OF_TURNS, response_length=lambda r: len(r["ids"])),
            change(OF_TURNS, response_length=lambda r: 1, ids=lambda r: [[5] * 12]),
            "warning",
            72,
            "turns in ids",
            BUDGET,
        ),
    ],
    "lengths-hold-other-text": [
        Pair(
            [{**r, "response_text": SEARCHED} if i % 3 == 0 else r for i, r in enumerate(GOOD)],
            GOOD,
            "info",
            24,
            "24 of the first 72 texts hold <information> and what follows it, which the policy did not write, and the"
            " lengths may count it",
            (*ALL, "--ignore", "identity"),
        ),
        # messages say who wrote them
        Pair(
            change(GOOD[:8], response_text=lambda r: SEARCHED),
            change(GOOD[:8], response_text=lambda r: [{"role": "tool", "content": SEARCHED}]),
            "info",
            8,
            "8 of the first 8 texts hold <information>",
            BUDGET,
        ),
    ],
    "lengths-hold-masked-tokens": [
        # 16 zeros of a tool's answer in both lists, or 15
        Pair(
            with_zeros(3, 20, 36),
            with_zeros(3, 20, 35),
            "warning",
            1,
            "1 of the first 72 lists of log-probs has 16 zeros in a row or more, and hardly a zero elsewhere, and the"
            " length counts them: in sample 4, tokens 21 to 36 of the response (indices 20 to 35)",
            BUDGET,
        ),
        # a policy that is certain of many tokens may be certain of 40 in a row
        Pair(with_zeros(3, 20, 60), with_zeros(3, 20, 60, certain=0.0), "warning", 1, "tokens 21 to 60", BUDGET),
        # a length that does not count them
        Pair(
            with_zeros(3, 20, 60),
            [
                {**r, "response_length": sum(one != 0 for one in r["log_prob"])} if i == 3 else r
                for i, r in enumerate(with_zeros(3, 20, 60))
            ],
            "warning",
            1,
            "tokens 21 to 60",
            BUDGET,
        ),
    ],
    "truncated": [
        Pair(
            one("finish_reason", "length"),
            one("finish_reason", "eos"),
            "info",
            1,
            "1 of 72 responses (1.4%) were cut off at the length limit",
            line=4,
        ),
        Pair(
            change(GOOD, finish_reason=lambda r: "LENGTH" if r["response_length"] > 700 else "stop"),
            GOOD,
            "warning",
            LONG,
            f"{LONG} of 72 responses (29%) were cut off at the length limit",
        ),
    ],
    "at-maximum": [
        Pair(
            change(SPIKE, response_length=up_to_800),
            SPIKE,
            "warning",
            AT_800,
            f"{AT_800} of 72 responses (19%) have the same maximum length, 800 tokens",
        ),
        # finish reasons that say nothing of it, and one that does
        Pair(
            change(SPIKE, response_length=up_to_800, finish_reason=lambda r: "tool_calls"),
            change(SPIKE, response_length=up_to_800, finish_reason=lambda r: FINISHED[r["response_length"] < 800]),
            "warning",
            AT_800,
            f"{AT_800} of 72 responses (19%) have the same maximum length, 800 tokens",
        ),
        Pair(
            change(SPIKE, response_length=up_to_800, finish_reason=lambda r: "stop"),
            change(SPIKE, finish_reason=lambda r: "stop"),
            "warning",
            AT_800,
            f"{AT_800} of 72 responses (19%) have the same maximum length, 800 tokens",
        ),
        # every response is cut off, with and without a finish reason that says so
        Pair(
            change(SPIKE, response_length=lambda r: 800),
            change(SPIKE, response_length=lambda r: 800, finish_reason=lambda r: "length"),
            "warning",
            72,
            "72 of 72 responses (100%) have the same maximum length, 800 tokens",
        ),
    ],
    "some-without-log-prob": [
        Pair(one("log_prob", None), GOOD, "warning", 1, "1 of 72 responses have no log_prob", line=4),
        Pair(one("old_log_prob", None), GOOD, "warning", 1, "1 of 72 responses have no old_log_prob", line=4),
    ],
    "positive-log-prob": [
        Pair(
            one("log_prob", 0.5),
            one("log_prob", 0.0005),
            "error",
            1,
            "log_prob is above 0 in 1 of 72 responses",
            line=4,
        ),
        Pair(one("old_log_prob", 0.5), GOOD, "error", 1, "old_log_prob is above 0 in 1 of 72 responses", line=4),
    ],
    "zero-log-prob": [
        Pair(
            change(GOOD, log_prob=lambda r: 0.0), GOOD, "error", 72, "log_prob is exactly 0 in all 72 responses", line=1
        ),
        Pair(one("old_log_prob", 0.0), GOOD, "warning", 1, "old_log_prob is exactly 0 in 1 of 72 responses", line=4),
        # a single token may be certain
        Pair(
            one("log_prob", 0),
            [{**r, "log_prob": 0.0, "response_length": 1} if i == 3 else r for i, r in enumerate(GOOD)],
            "warning",
            1,
            "log_prob is exactly 0 in 1 of 72",
        ),
    ],
    "unfilled-log-prob": [
        Pair(
            of_tokens({5: 7}),
            of_tokens({}),
            "warning",
            1,
            "old_log_prob is exactly 0 for a token whose log_prob is below −1, in 1 of 72 responses;"
            " at token 8 of the response (index 7)",
            line=6,
        ),
        Pair(
            of_tokens({5: 7, 3: 0, 60: 7}, "log_prob", -1.5),
            of_tokens({5: 7, 3: 0, 60: 7}, "log_prob", -1.0),  # where certainty ends is a convention
            "warning",
            3,
            "log_prob is exactly 0 for a token whose old_log_prob is below −1, in 3 of 72 responses;"
            " the first at token 1 of the response (index 0)",
            BUDGET,
            4,
        ),
        Pair(
            of_tokens({5: 149, 6: 149}),
            GOOD,  # without lists
            "warning",
            2,
            "always at token 150 of the response (index 149)",
            BUDGET,
            6,
        ),
    ],
    "shifted-log-prob": [
        Pair(
            moved(1),
            moved(0),
            "warning",
            72,
            "log_prob is one token early beside old_log_prob in 72 of 72 responses: their log-ratio is",
            BUDGET,
            1,
        ),
        Pair(
            moved(-1, 4),
            moved(2),  # no list fits when it is moved by one
            "warning",
            4,
            "log_prob is one token late beside old_log_prob in 4 of 72 responses: their log-ratio is",
            BUDGET,
            1,
        ),
    ],
    "low-effective-sample-size": [
        Pair(
            sampled(lambda i: 4.0 if i == 8 else 0.0),
            sampled(lambda i: 2.0 if i == 8 else 0.0),
            "warning",
            72,
            "trainer/sampler: an effective sample size of 5.17 of 72 responses (7.2%)",
            BUDGET,
            9,
        ),
    ],
    "mean-weight-off": [
        Pair(
            sampled(lambda i: math.log(0.25)),
            sampled(lambda i: math.log(0.6)),
            "warning",
            72,
            "trainer/sampler: the mean importance weight is 0.25 over 72 responses; 1 is expected",
            BUDGET,
        ),
        Pair(
            sampled(lambda i: 800.0),
            sampled(lambda i: math.log(1.9)),
            "warning",
            72,
            "trainer/sampler: the mean importance weight is beyond the range of a double over 72 responses",
            BUDGET,
        ),
    ],
    "equals-reference": [
        Pair(
            change(GOOD, old_log_prob=lambda r: r["log_prob"]),
            GOOD,
            "info",
            72,
            "log_prob equals old_log_prob in all 72 responses",
        ),
        # after the first update they cannot be
        Pair(
            change(GOOD, old_log_prob=lambda r: r["log_prob"], step=lambda r: 40),
            GOOD,
            "error",
            72,
            "log_prob equals old_log_prob in all 72 responses",
            BUDGET,
        ),
        Pair(change(GOOD, old_log_prob=lambda r: r["log_prob"], step=halves), GOOD, "error", 72, "log_prob equals"),
        Pair(change(GOOD, old_log_prob=lambda r: r["log_prob"], step=lambda r: 0), GOOD, "info", 72, "log_prob equals"),
        Pair(change(BARE_STEP, log_prob=lambda r: -9, old_log_prob=lambda r: -9), GOOD, "info", 72, "log_prob equals"),
        Pair(
            change(GOOD[:15], old_log_prob=lambda r: r["log_prob"], step=lambda r: 40),
            GOOD,
            "info",
            15,
            "log_prob equals old_log_prob in all 15 responses",
        ),
    ],
    "unrelated-reference": [
        # shifted by a record
        Pair(SHIFTED, RATES, "error", 72, "log_prob and old_log_prob, in nats per token, have a correlation of "),
        # a reference that is far away, and an outlier
        Pair(
            SHIFTED,
            change(RATES, old_log_prob=lambda r: 1.5 * r["log_prob"]),
            "error",
            72,
            "have a correlation",
            BUDGET,
        ),
        Pair(
            SHIFTED,
            [{**r, "old_log_prob": (1.5 if i else 7.5) * r["log_prob"]} for i, r in enumerate(RATES)],
            "error",
            72,
            "have a correlation",
        ),
        Pair(SHIFTED[:16], SHIFTED[:15], "error", 16, "have a correlation"),
    ],
    "averaged-log-prob": [
        Pair(
            AVERAGED,
            GOOD,
            "error",
            72,
            f"log_prob averages -0.33 nats over {TOKENS:.0f} tokens: {0.33 / TOKENS:.2g} nats per token",
        ),
        # small, but it grows with the length: the policy is almost certain
        Pair(
            AVERAGED,
            change(GOOD, log_prob=lambda r: r["log_prob"] / 100, old_log_prob=lambda r: r["old_log_prob"] / 100),
            "error",
            72,
            "it does not grow with the length",
        ),
        # of tokens that are almost certain, some sums are far larger than others
        Pair(
            change(AVERAGED, log_prob=lambda r: -0.05 - (r["response_length"] % 7 == 0)),
            GOOD,
            "warning",
            72,
            "it does not grow with the length",
        ),
    ],
    "implausible-log-prob": [
        Pair(change(GOOD, response_length=lambda r: 3), GOOD, "warning", 72, "nats over 3 tokens"),
    ],
    "log-ratio-large": [
        Pair(
            change(GOOD, old_log_prob=lambda r: r["log_prob"] - 0.06 * r["response_length"]),
            change(GOOD, old_log_prob=lambda r: r["log_prob"] - 0.03 * r["response_length"]),
            "warning",
            72,
            "the log-ratio is 0.06 nats per token: policy and reference differ by 6.2% in a token's probability",
        ),
        # a single outlier makes no dump large; beside one, the others are measured by themselves
        Pair(
            change(log_ratios(200, {3: -60000}), response_length=lambda r: 400),
            log_ratios(0.1, {3: -3000}),
            "warning",
            72,
            "nats per token outside the outliers: policy and reference differ by",
        ),
    ],
    "log-ratio-outlier": [
        Pair(
            log_ratios(1, {3: -21}),
            log_ratios(1, {3: -15}),
            "warning",
            1,
            "has a size of 16 nats or more in 1 of 72 responses (1.4%); at least half are within ±0.25",
            line=4,
        ),
        # the smaller the others are, the smaller an outlier is, but for a floor
        Pair(
            log_ratios(0.1, {3: -12}),
            log_ratios(0.1, {3: -7}),
            "warning",
            1,
            "has a size of 8 nats or more in 1 of 72 responses (1.4%); at least half are within ±0.031",
            line=4,
        ),
        # one that makes the log-ratio large as a whole, beside a dump in which it is large everywhere
        Pair(
            log_ratios(0.1, {3: -3000}),
            change(GOOD, old_log_prob=lambda r: r["log_prob"] - 0.06 * r["response_length"]),
            "warning",
            1,
            "has a size of 8 nats or more in 1 of 72 responses (1.4%); at least half are within ±0.031",
            line=4,
        ),
        # beside others that are large an outlier has its own size
        Pair(
            log_ratios(20, {3: 21}),
            log_ratios(20, {3: 19}),
            "warning",
            1,
            "is beyond ±20 nats in 1 of 72 responses (1.4%); at least half are within ±4",
            line=4,
        ),
        # more than a tenth are no outliers, but do not hide one that is larger
        Pair(
            log_ratios(0.1, {3: 25, **dict.fromkeys(range(8, 16), 10)}),
            log_ratios(0.1, dict.fromkeys(range(8, 16), 10)),
            "warning",
            1,
            "is beyond ±20 nats in 1 of 72 responses (1.4%)",
            line=4,
        ),
    ],
    "negative-k1": [
        Pair(
            change(GOOD, old_log_prob=lambda r: r["old_log_prob"] + 1.0),
            GOOD,
            "info",
            72,
            "k1, the mean log-ratio, is -0.",
        ),
    ],
    "mixed-id-types": [
        Pair(
            change(GOOD, prompt_id=lambda r: 7 if r["prompt_id"] == "p03" else r["prompt_id"]),
            GOOD,
            "warning",
            1,
            "prompt ids are of two types: 1 integer and 11 strings",
            line=19,
        ),
        Pair(
            change(GOOD, prompt_id=lambda r: {"p03": 7, "p04": "7"}.get(r["prompt_id"], r["prompt_id"])),
            change(GOOD, prompt_id=lambda r: int(r["prompt_id"][1:])),
            "warning",
            1,
            "; 1 occurs as both, and these are different prompts",
            line=19,
        ),
    ],
    "recurring-ids": [
        Pair(
            Files([BARE_STEP, BARE_STEP, BARE_STEP]),
            Files([BARE_STEP[:36], BARE_STEP[36:], BARE_STEP[:3]]),
            "warning",
            24,
            "24 of the 24 prompts after the first file recur from an earlier one",
            BUDGET,
        ),
        # each file is a step
        Pair(
            Files([BARE_STEP] * 2), Files([BARE, change(BARE, step=lambda r: 2)]), "warning", 12, "12 of the 12", BUDGET
        ),
        Pair(Files([BARE_STEP] * 2), Files([BARE_STEP]), "warning", 12, "12 of the 12 prompts", BUDGET),
    ],
    "id-over-texts": [
        Pair(
            one("prompt_text", "another"),
            GOOD,
            "warning",
            1,
            "1 of 12 prompt ids stand for more than one prompt text",
            line=4,
        ),
    ],
    "text-under-ids": [
        Pair(
            change(GOOD, prompt_text=lambda r: f"question {int(r['prompt_id'][1:]) // 2}"),
            GOOD,
            "warning",
            12,
            "12 of 12 prompt ids share their text with another (6 texts)",
            line=1,
        ),
        # the same prompt in the next step is another group
        Pair(
            change(GOOD, prompt_text=lambda r: f"question {int(r['prompt_id'][1:]) // 2}"),
            change(
                GOOD,
                prompt_text=lambda r: f"question {int(r['prompt_id'][1:]) // 2}",
                step=lambda r: int(r["prompt_id"][1:]) % 2,
            ),
            "warning",
            12,
            "12 of 12",
        ),
        Pair(change(GOOD, prompt_text=lambda r: "play"), GOOD, "info", 12, "12 of 12 prompt ids share their text"),
    ],
    "scattered-answers": [
        Pair(
            ANSWERS_DRAWN,
            ANSWERS,
            "error",
            48,
            " are under one prompt id; ids drawn by lot would give ",
            BUDGET,
        ),
        # a choice of four is right for one question and wrong for the next
        Pair(
            ANSWERS_DRAWN,
            change(ANSWERS_DRAWN, response_text=lambda r: "ABCD"[r["response_length"] % 4]),
            "error",
            48,
            "drawn by lot",
        ),
        # one question under many ids
        Pair(ANSWERS_DRAWN, change(ANSWERS_DRAWN, prompt_text=lambda r: "x?"), "error", 48, "drawn by lot", BUDGET),
        # every response has an id of its own
        Pair(
            ANSWERS_DRAWN, [{**r, "prompt_id": i} for i, r in enumerate(ANSWERS)], "error", 48, "drawn by lot", BUDGET
        ),
        # no answer comes again
        Pair(
            ANSWERS_DRAWN,
            change(ANSWERS_DRAWN, response_text=lambda r: f"{r['response_length']} {r['response_text']}"),
            "error",
            48,
            "(6 different answers that come again are right)",
            BUDGET,
        ),
    ],
    "duplicate-records": [
        Pair(
            GOOD + GOOD[6:12],
            GOOD,
            "warning",
            6,
            "every response to 1 prompt occurs 2 times, in the same order: 6 copies",
            line=73,
        ),
        # told by their numbers where texts are not read
        Pair(GOOD + GOOD[6:12], GOOD, "warning", 6, "every response to 1 prompt occurs 2 times", BUDGET, 73),
        # next to each other, as two requests with one seed give them
        Pair(GOOD * 3, GOOD[:6] + GOOD, "error", 144, "every response to 12 prompts occurs 3 times", BUDGET, 73),
        # in another order, and each line by itself; greedy sampling gives one record many times
        Pair(GOOD * 2, GREEDY, "error", 72, "every response to 12 prompts", BUDGET, 73),
        Pair(GOOD + GOOD[::-1], GOOD + GOOD[:36:-1], "error", 72, EACH_TWICE, BUDGET, 73),
        Pair(ADJACENT, ADJACENT_HALF, "error", 72, EACH_TWICE, BUDGET, 2),
        Pair(ADJACENT, CHOICES, "error", 72, EACH_TWICE, ("--text",), 2),
        Pair([*ADJACENT, *GOOD, *GOOD][:-3], BARE_CHOICES, "error", 198, "occurs 4 times, in any order", BUDGET, 2),
        # another step
        Pair(
            GOOD + change(GOOD, step=lambda r: 2),
            GOOD + change(GOOD, step=lambda r: 2, log_prob=lambda r: r["log_prob"] - 1),
            "error",
            72,
            "step 2 repeats step 1: 72 of 144 responses have the numbers and texts of an earlier step's",
            BUDGET,
            73,
        ),
        Pair(
            CHANCE.sample(GOOD + change(GOOD, step=lambda r: 2), 144),
            CHOICES + MORE_CHOICES,
            "error",
            72,
            "step 2 repeats step 1: 72 of 144 responses",
            ("--text",),
        ),
        # short texts: more than chance, from the point of resumption, and what chance gives
        Pair(
            [*SHORT, *SHORT[40:]],
            [*SHORT, *SHORT[:4], *SHORT[44:46]],
            "error",
            32,
            "every response to 8 prompts occurs 2 times",
            ("--text",),
            73,
        ),
        # rewards and lengths alone
        Pair(BARE * 2, BARE + BARE[-3:], "error", 72, "every response to 12 prompts occurs 2 times", BUDGET, 73),
        Pair(BARE * 2, groups(*[[1, 0, 1, 0]] * 50, lengths=[[9, 7] * 2] * 50), "error", 72, "every", BUDGET),
        # the rows of a rollout
        Pair(ROWS + ROWS[4:], ROWS, "error", 4, "4 of 12 records repeat an earlier one", TURNS, 9),
        Pair(ROWS * 2, change(ROWS, i=lambda r: 0), "error", 8, "every record is there twice: 8 of 16", TURNS, 9),
    ],
    "identical-responses": [
        Pair(
            [*GOOD[:3], GOOD[3] | {"response_text": GOOD[2]["response_text"]}, *GOOD[4:]],
            GOOD,
            "info",
            1,
            "1 of 72 responses (1.4%) repeat another response to their prompt",
            line=4,
        ),
        # the same text under another prompt is no copy, and a short answer that comes several times no second record
        Pair(
            change(GOOD, response_text=lambda r: f"{r['prompt_id']}: {r['reward']}"),
            [{**r, "response_text": f"answer {i % 6}" * 30} for i, r in enumerate(GOOD)],
            "warning",
            48,
            "48 of 72 responses (67%)",
        ),
        Pair(
            [{**GOOD[2], "reward": r["reward"]} if i == 3 else r for i, r in enumerate(GOOD)],
            GOOD,
            "info",
            1,
            "1 of 72",
            BUDGET,
            4,
        ),
    ],
}
CASES = [pytest.param(code, pair, id=f"{code}-{i}") for code, pairs in PAIRS.items() for i, pair in enumerate(pairs)]


def test_every_check_has_a_pair() -> None:
    assert set(PAIRS) == set(CHECKS)


def test_nothing_is_found_where_nothing_is_wrong(tmp_path: Path) -> None:
    answer = checked(tmp_path, GOOD, *ALL, "--fail-on", "info")
    assert (codes(answer), answer["status"], answer["unchecked"]) == ([], "pass", [])
    assert answer["checked"] == list(CHECKS)


@pytest.mark.parametrize(("code", "pair"), CASES)
def test_the_bug_is_found(code: str, pair: Pair, tmp_path: Path) -> None:
    answer = checked(tmp_path, pair.bug, *pair.options)
    (finding,) = [finding for finding in answer["findings"] if finding["code"] == code]
    assert pair.message in finding["message"]
    assert (finding["severity"], finding["count"]) == (pair.severity, pair.count)
    assert finding["count"] <= finding["of"]
    if pair.line is not None:
        assert finding["evidence"][0]["line"] == pair.line
        assert finding["evidence"][0]["source"] == str(tmp_path / "dump.jsonl")
    assert answer["status"] == ("fail" if "error" in {f["severity"] for f in answer["findings"]} else "pass")


@pytest.mark.exhaustive
@pytest.mark.parametrize(("code", "pair"), CASES)
def test_its_neighbour_is_left_alone(code: str, pair: Pair, tmp_path: Path) -> None:
    answer = checked(tmp_path, pair.neighbour, *pair.options)
    of_code = [finding for finding in answer["findings"] if finding["code"] == code]
    assert of_code == []
    assert code in answer["checked"]


@pytest.mark.exhaustive
@pytest.mark.parametrize(("code", "pair"), CASES)
def test_a_check_that_is_ignored_or_not_selected_reports_nothing(code: str, pair: Pair, tmp_path: Path) -> None:
    assert code not in codes(checked(tmp_path, pair.bug, *pair.options, "--ignore", code))
    chosen = checked(tmp_path, pair.bug, *pair.options, "--select", code)
    assert set(codes(chosen)) == {code}


@pytest.mark.parametrize("log_ratio", [-12, -25, -3000])
def test_an_outlier_is_the_same_line_whatever_its_size(log_ratio: float, tmp_path: Path) -> None:
    records = change(log_ratios(0.1, {26: log_ratio}), log_prob=lambda r: r["log_prob"] - 3000)
    records = change(records, old_log_prob=lambda r: r["old_log_prob"] - 3000, sampler_log_prob=lambda r: r["log_prob"])
    (found,) = checked(tmp_path, records, *ALL)["findings"]
    size = "has a size of 8 nats or more in 1 of 72 responses (1.4%); at least half are within ±0.031"
    assert (found["code"], found["message"]) == ("log-ratio-outlier", f"the log-ratio {size}")
    assert [place["line"] for place in found["evidence"]] == [27]


def test_the_bytes_of_a_pair_are_what_they_seem() -> None:
    assert lines(GOOD).count(b"\n") == len(GOOD) == 72
