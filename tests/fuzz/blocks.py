"""Blocks of lines → whether both readers give the same, and how many lines went through each operation of the plan.

An operation is what a slot of a plan takes, with its flags (`reader_plan.py`), and who uses the parts of a record of
which only the place is kept. A line has gone through one if the compiled reader has read the line, and found something
for such a slot.
"""

import random
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from texts import json_value, mutated, number_text
from word_counter import Words
from written_json import Pairs, Raw, Writer, bits, block_of, put

from budget_cli.native import reader as compiled_reader
from budget_cli.records import compiled, reference
from budget_cli.records.columns import ALL_REJECTIONS, RejectionLimit
from budget_cli.records.reader_plan import ReaderPlan, plan_for
from budget_cli.schema.fields import EXTRA_PLURALS, EXTRAS, KINDS, PLURALS, Fields, parse_mappings
from budget_cli.schema.parsing import parse_place
from budget_cli.schema.paths import Expression, Step

CORPUS = Path(__file__).parent / "corpus" / "lines.jsonl"
LIMIT = 1 << 20  # bytes of a line
SLOT_KINDS = ("ID", "NUMBER", "TOKENS", "LOG_PROB", "NUMBER_ARRAY", "TOKENS_ARRAY", "SPAN", "TRUTH")
READ, DEFERRED = "(lines that are read)", "(lines that are deferred)"
FLAGS = ("joins", "lenient", "keeps")
LEFT_OUT = (("failed", parse_place("failed", is_condition=True)), ("where", parse_place("!late", is_condition=True)))
IN_PYTHON = (("failed", parse_place("type(failed) == 'boolean' && failed", is_condition=True)),)


class Kind(NamedTuple):
    """A kind of dump: how it is read, and how often a record is one of a whole prompt."""

    fields: Fields
    arrays: float = 0.0


def _fields(*mappings: str, **options: Any) -> Fields:
    return Fields(**options).with_places(parse_mappings(mappings))


KINDS_OF_DUMPS: dict[str, Kind] = {  # as few as have all operations, most of them in every line
    "plain": Kind(_fields(), arrays=0.5),  # first: every plan has slots for arrays, and no other dump has many
    "extras and tokens": Kind(
        _fields(
            *("log_prob=r.o[].parts[].lp", "prompt_id=task.id", "by=info.env"),
            extras=("step", "by", "advantage", "finish_reason"),
            leave_out=LEFT_OUT,
            compares_tokens=True,
        )
    ),
    "lists and expressions": Kind(
        _fields(
            *("log_prob=o[].lp", "reward=parts[].score", "response_length=parts[].tokens"),
            "prompt_id=to_array(prompt_id)[0]",
            extras=("response_text",),
            leave_out=IN_PYTHON,
            tokenizer=Words(),
        )
    ),
    "operations": Kind(
        _fields(
            *("log_prob=log_prob || `null`", "reward=minus(reward, `0`)", "response_length=total(response_length)"),
            *("prompt_id=digest(prompt_id)", "rollout_id=[prompt_id, step]", "turn=number(turn)"),
            extras=("rollout_id", "turn", "step", "sampler_log_prob"),
            compares_tokens=True,
        )
    ),
}


def operations(plan: ReaderPlan) -> list[str]:
    """Name the operation of each slot of a plan."""
    users = {"computed": plan.computed, "judged": plan.judged, "counted": plan.counted}
    spans = {
        slot: " and ".join(user for user, keys in users.items() if key in keys) for key, slot in plan.roots.items()
    }
    names, programs = [], {slot for slot, _ in plan.programs}
    for number, (kind, *flags) in enumerate(plan.slots):
        on = [flag for flag, value in zip(FLAGS, flags, strict=True) if value]
        on += ["by operations"] if number in programs else []
        names.append(
            " ".join([SLOT_KINDS[kind], *on, *([spans[number] or "of operations"] if number in spans else [])])
        )
    return names


def operations_of(kind: str) -> list[str]:
    """Name the operations of the plan by which such a dump is read."""
    plan = plan_for(KINDS_OF_DUMPS[kind].fields)
    assert plan is not None
    return operations(plan)


# ---- lines


def _good(chance: random.Random, kind: str) -> Any:
    """Draw a value that a field of this kind takes."""
    if kind == "id":
        if chance.random() < 0.03:
            return chance.choice(
                [12.0, 0, Raw("-0"), Raw("007"), *(2**63 + each for each in (-1, 0, 1)), 10**18, -(10**18)]
            )
        return chance.choice(["p1", f"p{chance.randrange(10**6)}", "é", 'a"b\\c', Raw('"\\u0070"'), 7, -3, 2**53])
    if kind == "tokens":
        return chance.choice([chance.randrange(5000), chance.randrange(5000), 12.0, Raw("1e2"), 2**53 - 1])
    number = Raw(number_text(chance)) if chance.random() < 0.2 else chance.uniform(-50, 0)
    if kind == "log_prob" and chance.random() < 0.6:
        return [number, *(chance.choice([0.0, chance.uniform(-50, 0)]) for _ in range(chance.randrange(4)))]
    return number


def record_text(chance: random.Random, kind: Kind) -> bytes:
    """Write a record of such a dump; some value is of another kind now and then."""
    fields, arrays = kind.fields, chance.random() < kind.arrays
    size = chance.randrange(1, 4)
    record: dict[str, Any] = {"x": Raw(json_value(chance))} if chance.random() < 0.5 else {}
    for name, of in (KINDS | dict.fromkeys(fields.extras, "extra")).items():
        if chance.random() < 0.03:
            continue
        plural = (PLURALS | EXTRA_PLURALS).get(name, name) if arrays else name
        of = (
            {"number": "number", "label": "id", "text": "text", "log_prob": "log_prob"}[EXTRAS[name]]
            if of == "extra"
            else of
        )
        of = "number" if arrays and of == "log_prob" else of

        def one(of: str = of) -> Any:
            if chance.random() < 0.005:
                return Raw(json_value(chance))
            return chance.choice(["", "one two", "é\n"]) if of == "text" else _good(chance, of)

        place = fields.paths[plural]
        value = [one() for _ in range(size)] if plural != name else one()
        put(record, (Step(plural),) if isinstance(place, Expression) else place, value)
    if fields.leave_out and chance.random() < 0.95:
        record["failed"] = chance.choice([False, False, None, True, {"error": "e"}])
        record["late"] = chance.choice([False, False, 0, "x"])
    pairs = list(record.items())
    if chance.random() < 0.5:
        chance.shuffle(pairs)
    if pairs and chance.random() < 0.02:
        pairs.append(chance.choice(pairs))  # a key twice
    writer = Writer(chance.choice([", ", ","]), chance.choice([": ", ":"]), chance.random() < 0.5)
    text = writer.text(Pairs(pairs))
    if chance.random() < 0.02:
        key = chance.choice(list(record) or ["x"])
        text = text.replace(f'"{key}"', f'"\\u00{ord(key[0]):02x}{key[1:]}"', 1)  # the same key, with an escape
    return text.encode("utf-8", "surrogatepass").replace(b"\n", b" ")


def varied(chance: random.Random, line: bytes) -> bytes:
    """Change some digits, which leaves it well-formed."""
    changed, size = bytearray(line), len(line)
    for _ in range(5 if line else 0):
        at = int(chance.random() * size)
        if 48 <= changed[at] <= 57:
            changed[at] = 49 + int(chance.random() * 9)
    return bytes(changed)


@cache
def corpus() -> list[bytes]:
    """Return the lines of the corpus, each of which once was the first to reach a place of the compiled reader."""
    return CORPUS.read_bytes().split(b"\n")[:-1]


# ---- the comparison


def through(
    data: bytes,
    fields: Fields,
    limit: int = LIMIT,
    keep: RejectionLimit = ALL_REJECTIONS,
    around: bytes = b"",
) -> Counter[str]:
    """Read a block with both readers, and count the lines that went through each operation.

    Raises:
        AssertionError: they differ in a bit of the columns, a rejection or a count.
    """
    plan = plan_for(fields)
    assert plan is not None
    decoded = compiled.decode(block_of(data, around, around), fields, limit, keep)
    assert decoded is not None
    assert bits(decoded) == bits(reference.decode(data, fields, limit, keep)), data
    whole = data if data.endswith(b"\n") else data + b"\n"
    read = compiled_reader.Reader(plan.nodes, plan.slots, plan.operations, plan.programs).read(
        whole, 0, len(whole), limit
    )
    lines, there = len(read.numbers) // 8, dict[str, Any]()
    for name, slot in zip(operations(plan), read.slots, strict=True):
        states = np.frombuffer(slot.states or bytes([compiled_reader.MISSING]), dtype=np.uint8)
        there[name] = there.get(name, np.zeros(lines, dtype=bool)) | (states != compiled_reader.MISSING)
    seen = Counter({name: int(mask.sum()) for name, mask in there.items()})
    return seen + Counter({READ: lines, DEFERRED: len(read.deferred) // 24})


def many_lines(chance: random.Random, lines: int, of: str) -> Counter[str]:
    """Draw a dump of a kind, vary and damage its lines, and compare the readers: see `through`."""
    kind = KINDS_OF_DUMPS[of]
    records = [record_text(chance, kind) for _ in range(max(1, lines // 16))]
    records += chance.choices(corpus(), k=len(records) // 20 + 1)
    made = [varied(chance, chance.choice(records)) for _ in range(lines)]
    made = [mutated(chance, line) if chance.random() < 0.12 else line for line in made]
    data = b"\n".join(made) + chance.choice([b"\n", b"\n", b"", b"\n \n"])
    fields = kind.fields
    if chance.random() < 0.3:
        drawn = {name: chance.random() < 0.5 for name in ("needs_length", "needs_log_probs", "skip_unscored")}
        fields = replace(fields, ignore_unneeded=chance.random() < 0.5, **drawn)
    limit = LIMIT if chance.random() < 0.98 else 200
    keep = chance.choice([ALL_REJECTIONS, RejectionLimit(1), RejectionLimit(0, 1)])
    return through(data, fields, limit, keep, chance.choice([b"", b"\n", b"}", b"\xff" * 70]))


def reader(chance: random.Random) -> None:
    """A block decodes to what the reference reader makes of it, to the last bit, rejections included."""
    many_lines(chance, chance.randrange(1, 9), chance.choice(list(KINDS_OF_DUMPS)))
