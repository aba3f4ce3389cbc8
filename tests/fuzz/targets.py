"""Fuzz targets: each makes an input from a source of randomness and compares with a slow oracle.

One for each compiled part, and one for each format that an earlier step writes: summaries and Parquet. `test_seeds.py`
runs a few seeds of each; `run.py` (make fuzz) runs them for as long as wished. The headers have targets of their own,
in C, for libFuzzer.
"""

import io
import json
import math
import random
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn
from unittest import mock

import numpy as np
import orjson
import pyarrow
from pyarrow.parquet import write_table
from written_json import bits, block_of

from budget_cli import native
from budget_cli.errors import InputProblem, UsageProblem
from budget_cli.groups import moments
from budget_cli.native.reader import LOG_PROB, MAX_DEPTH, NUMBER, Lines, Reader
from budget_cli.records import compiled, reference
from budget_cli.records.columns import ALL_REJECTIONS
from budget_cli.records.jsonl import Limits
from budget_cli.scanning import summary_writing
from budget_cli.scanning.plan import Plan
from budget_cli.scanning.scan import scan
from budget_cli.schema.fields import Fields, parse_mappings
from budget_cli.sources import local

Target = Callable[[random.Random], None]

ROOT, LEAF = (b'"', 0, -1, -1, 1, 1), (b'x"', 0, 0, -1, 0, 0)
A_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
LONGEST_NUMBER = 63  # characters that the compiled reader reads in any case


def read_lines(data: bytes, kind: int | None = None) -> Lines:
    """Read data with a plan of one field, `x`, or of none."""
    plan: Any = ([(b'"', 0, -1, -1, 1, 0)], []) if kind is None else ([ROOT, LEAF], [(kind, 0, 0)])
    return Reader(*plan).read(data, 0, len(data), len(data))


# ---- the scanner

PIECES = [
    *rb'{ } [ ] , : " \ true false null NaN -Infinity 0 -1.5e-7 12 01 1. 1e400 "a" "x":1 [[]] {} {"k":[1]}'.split(),
    *rb"\n \" \u00e9 \ud83d\ude00 \ud800 \x".split(),  # escapes
    *"é 😀".encode().split(),
    *(b" ", b"\t", b"\r", b"\0", b"\x7f", b"\xff", b"\xc3", b"\xed\xa0\x80"),
    *(b"9" * 30, b"x" * 15, b"y" * 64),
]


def json_value(chance: random.Random, depth: int = 0) -> str:
    """Write a random value in JSON."""
    if depth < 4 and chance.random() < 0.5:
        inner = [json_value(chance, depth + 1) for _ in range(chance.randrange(4))]
        space = chance.choice(["", " ", "\t"])
        if chance.random() < 0.5:
            return f"[{space}{f',{space}'.join(inner)}{space}]"
        return "{" + space + f",{space}".join(f"{json_text(chance)}{space}:{space}{value}" for value in inner) + "}"
    return chance.choice([json_text(chance), number_text(chance), "true", "false", "null"])


def json_text(chance: random.Random) -> str:
    """Write a random string in JSON."""
    characters = ["a", "b" * 20, "é", "答", "😀", "\n", '"', "\\", "\x7f", "\u2028", "x" * chance.randrange(70)]
    characters += ["x" * chance.randrange(70, 90) + '"']  # an escape around the end of a step of 64 bytes
    text = "".join(chance.choices(characters, k=chance.randrange(6)))
    return json.dumps(text, ensure_ascii=chance.random() < 0.5)


def mutated(chance: random.Random, data: bytes) -> bytes:
    """Change, insert or delete a few bytes."""
    for _ in range(chance.choice([0, 0, 1, 1, 2, 4])):
        at = chance.randrange(len(data) + 1)
        piece = chance.choice(PIECES) if chance.random() < 0.8 else bytes([chance.randrange(256)])
        data = data[:at] + piece + data[at + chance.choice([0, 0, 1, len(piece)]) :]
    return data


def refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def is_json(line: bytes) -> bool:
    """True if Python's json reads the line as RFC 8259 has it: no NaN, no half of a surrogate pair."""
    try:
        json.dumps(json.loads(line.decode(), parse_constant=refuse), ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return False
    return True


def is_plain(value: Any, depth: int = 1) -> bool:
    """True if the compiled reader reads this value whatever its text: not too deep."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return depth <= MAX_DEPTH and all(is_plain(each, depth + 1) for each in inner)


def scanner(chance: random.Random) -> None:
    """Lines are read if they are objects in JSON; those that are not are never read."""
    lines = []
    for _ in range(chance.randrange(1, 4)):
        line = ("{" + f'"a": {json_value(chance)}' * chance.randrange(2) + "}").encode()
        if chance.random() < 0.1:
            deep = chance.randrange(240, 280)
            line = b'{"a": ' + b"[" * deep + b"]" * deep + b"}"
        if chance.random() < 0.1:
            line = b"".join(chance.choices(PIECES, k=chance.randrange(30)))
        lines.append(mutated(chance, line).replace(b"\n", b""))
    data = b"".join(line + b"\n" for line in lines) + b" " * chance.randrange(80) + b"\n"
    read = set(np.frombuffer(read_lines(data).numbers, dtype=np.int64).tolist())
    for number, line in enumerate(lines, 1):
        if number in read:
            assert is_json(line), line
            continue
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        keys_without_escapes = isinstance(value, dict) and set(value) <= {"a", "x"}
        assert not keys_without_escapes or not is_plain(value), line


# ---- the reader

MAPPINGS: list[list[str]] = [
    [],
    ["reward=score", "prompt_id=task.id"],
    ["log_prob=output[].lp", "old_log_prob=output[].ref"],
    ["log_prob=lp[]", "old_log_prob=lp[]"],
    ["reward=minus(reward, `0`)"],
]


def field_text(chance: random.Random, kind: str) -> str:
    """Write a value for a field of this kind, or, rarely, any value."""
    if chance.random() < 0.05:
        return json_value(chance)
    if kind == "id":
        return chance.choice(['"p1"', '"p2"', '"\\u0070"', '"é"', "7", "-3", "12.0", str(2**63)])
    if kind == "tokens":
        return chance.choice([str(chance.randrange(5000)), "12.0", "1e2", str(2**53)])
    if kind == "log_prob" and chance.random() < 0.3:
        return "[" + ", ".join(number_text(chance) for _ in range(chance.randrange(1, 5))) + "]"
    return number_text(chance)


def record_text(chance: random.Random) -> str:
    """Write a record of one response, or of the arrays of a prompt."""
    kinds = {"reward": "number", "log_prob": "log_prob", "old_log_prob": "log_prob", "response_length": "tokens"}
    fields = [("prompt_id", field_text(chance, "id"))]
    if chance.random() < 0.25:
        size = chance.randrange(1, 4)
        fields += [
            (f"{name}s", f"[{', '.join(field_text(chance, kind) for _ in range(size))}]")
            for name, kind in kinds.items()
        ]
    else:
        fields += [(name, field_text(chance, kind)) for name, kind in kinds.items()]
    fields += [("score", number_text(chance)), ("task", f'{{"id": {field_text(chance, "id")}}}')]
    fields += [
        ("lp", f"[{number_text(chance)}]"),
        ("output", f'[{{"lp": {number_text(chance)}, "ref": 1.5}}, {{"a": 1}}]'),
    ]
    fields += [("x", json_value(chance))]
    if chance.random() < 0.5:
        chance.shuffle(fields)
    if chance.random() < 0.1:
        fields.append(chance.choice(fields))
    return "{" + ", ".join(f'"{name}": {text}' for name, text in fields if chance.random() < 0.97) + "}"


def reader(chance: random.Random) -> None:
    """A block decodes to what the reference reader makes of it, to the last bit, rejections included."""
    needed = chance.random() < 0.5
    fields = Fields(needs_length=needed, needs_log_probs=needed).with_places(parse_mappings(chance.choice(MAPPINGS)))
    data = "".join(record_text(chance) + "\n" for _ in range(chance.randrange(1, 5))).encode()
    if chance.random() < 0.3:
        data = mutated(chance, data)
    if chance.random() < 0.2:
        data = data.removesuffix(b"\n")
    limit = chance.choice([1 << 20, 1 << 20, 200])
    after = chance.choice([b"", b"\n", b"}", b"\xff" * 70])
    decoded = compiled.decode(block_of(data, b'"' * chance.randrange(9), after), fields, limit, ALL_REJECTIONS)
    assert decoded is not None
    assert bits(decoded) == bits(reference.decode(data, fields, limit, ALL_REJECTIONS)), data


# ---- decimals

DIGITS = "0123456789"


def number_text(chance: random.Random) -> str:
    """Write a number as JSON may: short, with many digits, near a tie between two doubles, or of extreme size."""
    form = chance.randrange(6)
    if form == 0:
        return repr(chance.uniform(-50, 0))
    if form == 1:
        return repr(np.frombuffer(chance.randbytes(8)).item()).replace("inf", "1").replace("nan", "0")
    if form == 2:  # halfway between two doubles, and a little beside
        tie = (2 * chance.randrange(2**52, 2**53) + 1) * 2 ** chance.randrange(1, 60) // 2
        return str(tie) + chance.choice(["", ".0", ".5", "e0", ".0000000001"])
    sign, exponent = chance.choice(["", "-"]), chance.choice([30, 30, 350])
    whole = str(int("".join(chance.choices(DIGITS, k=chance.randrange(1, 24)))))
    part = "." + "".join(chance.choices(DIGITS, k=chance.randrange(1, 24))) if chance.random() < 0.6 else ""
    power = f"{chance.choice('eE')}{chance.choice(['', '+', '-'])}{chance.randrange(exponent)}" if form > 3 else ""
    return sign + whole + part + power


def decimal(chance: random.Random) -> None:
    """A number is the double that Python reads, and what is no number in JSON is deferred."""
    texts = [number_text(chance) for _ in range(8)]
    if chance.random() < 0.3:
        at, changed = chance.randrange(8), texts[0]
        cut = chance.randrange(len(changed) + 1)
        texts[at] = changed[:cut] + chance.choice(["", "0", ".", "e", "-", "+", "x", "_", " ", "00"]) + changed[cut:]
    padding = b" " * chance.randrange(12)  # so that the digits end at any distance from the limit
    data = b"".join(b'{"x":' + text.strip().encode() + b"}\n" for text in texts) + padding + b"\n"
    read = read_lines(data, NUMBER)
    numbers = np.frombuffer(read.numbers, dtype=np.int64).tolist()
    values = dict(zip(numbers, np.frombuffer(read.slots[0].values).tolist(), strict=False))
    for number, text in enumerate(map(str.strip, texts), 1):
        if not A_NUMBER.fullmatch(text):
            assert number not in numbers, text
            continue
        expected = float(int(text)) if text.lstrip("-").isdecimal() and len(text) < 300 else float(text)
        if number in numbers:
            assert np.float64(values[number]).tobytes() == np.float64(expected).tobytes(), text
        else:
            assert math.isinf(expected) or len(text) > LONGEST_NUMBER, text


# ---- exact sums


def exact_sum(chance: random.Random) -> None:
    """A sum is that of math.fsum, to the last bit, or deferred; it is deferred only if it overflows or nearly ties."""
    size, form = chance.randrange(1, 40), chance.randrange(4)
    if form == 0:
        terms = [chance.uniform(-50, 0) for _ in range(size)]
    elif form == 1:
        terms = [
            chance.choice([-1, 1]) * math.ldexp(chance.random(), chance.randrange(-1000, 1000)) for _ in range(size)
        ]
    elif form == 2:  # cancellation
        terms = [chance.uniform(-1, 1) * 10 ** chance.randrange(20) for _ in range(size)]
        terms += [-term for term in terms] + [chance.random()]
        chance.shuffle(terms)
    else:  # ties
        terms = [1.0, 2.0**-53, chance.choice([0.0, 2.0**-106, -(2.0**-106)]), *([0.0] * chance.randrange(3))]
    data = f'{{"x": {json.dumps(terms)}}}\n'.encode()
    read = read_lines(data, LOG_PROB)
    if read.numbers:
        (total,) = np.frombuffer(read.slots[0].values).tolist()
        assert np.float64(total).tobytes() == np.float64(math.fsum(terms) + 0.0).tobytes(), terms
    else:
        assert form != 0, terms


# ---- moments


def a_number(chance: random.Random) -> float:
    return chance.choice([0.0, 1.0, -1.0, 1e9 + 0.1, chance.random(), chance.uniform(-1e12, 1e12), chance.gauss(0, 1)])


def compiled_moments(chance: random.Random) -> None:
    """The moments of a block are those of the numpy formulas, to the last bit."""
    size = chance.randrange(1, 50)
    codes = [chance.randrange(6) for _ in range(size)]
    if chance.random() < 0.5:
        codes.sort()
    rows = list(dict.fromkeys(codes))
    lengths = [chance.choice([math.nan, 2.0**31, 2.0**52, float(chance.randrange(3000))]) for _ in range(size)]
    log_ratios = [chance.choice([math.nan, chance.uniform(-30, 30)]) for _ in range(size)]
    arguments = (
        moments.Layout(tuple(sorted(chance.sample(range(3000), chance.randrange(4))))),
        np.array([rows.index(code) for code in codes], dtype=np.intp),
        len(rows),
        np.array([a_number(chance) for _ in range(size)]),
        np.array(lengths) if chance.random() < 0.7 else None,
        np.array(log_ratios) if chance.random() < 0.7 else None,
    )
    table = moments.from_responses(*arguments)
    with mock.patch.object(native, "AVAILABLE", False):
        expected = moments.from_responses(*arguments)
    assert np.array_equal(table, expected, equal_nan=True)
    assert np.array_equal(np.signbit(table), np.signbit(expected))


# ---- ids


def ids(chance: random.Random) -> None:
    """A table gives the places of a dict."""
    table, known = native.ids.Table(), dict[bytes, int]()
    shared = chance.randbytes(60)
    for _ in range(chance.randrange(1, 5)):
        texts = [
            shared[: chance.randrange(61)] + chance.randbytes(chance.choice([0, 0, 1, 9]))
            for _ in range(chance.randrange(150))
        ]
        packed, ends = b"".join(texts), np.cumsum([len(text) for text in texts], dtype=np.int64)
        found = np.frombuffer(table.find(packed, ends), dtype=np.int64).tolist()
        assert found == [known.get(text, -1) for text in texts]
        places = np.frombuffer(table.places(packed, ends), dtype=np.int64).tolist()
        assert places == [known.setdefault(text, len(known)) for text in texts]
    assert (table.texts()[0], len(table)) == (b"".join(known), len(known))


# ---- files that hold what an earlier step wrote


def some_records(chance: random.Random) -> list[dict[str, Any]]:
    return [
        {
            "prompt_id": chance.choice(["p", "q", "é", 7]),
            "reward": chance.choice([0.0, 0.5, 1.0]),
            "log_prob": -chance.random() * 9,
            "old_log_prob": -chance.random() * 9,
            "response_length": chance.randrange(9),
            "step": chance.choice([1, 2]),
        }
        for _ in range(chance.randrange(1, 30))
    ]


PLAN = Plan(Fields(), moments.Layout((4,)), Limits(), keep_sources_apart=True)
TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*|true|false|null|[][{},:]')


def contents(data: bytes, name: str) -> tuple[Any, ...] | None:
    """Return what a file of these bytes gives; None if it is refused, or said to be read in part."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(data)
        try:
            found = scan(local.find([str(path)]), PLAN, jobs=1)
        except (InputProblem, UsageProblem):
            return None
    if found.problems or found.tally.rejected:
        return None
    results = [(list(one.groups.keys()), one.groups.table.tobytes()) for one in found.source_results]
    return (
        results,
        found.tally.read,
        [part.tolist() for one in found.source_results for part in one.groups.lengths.items()],
    )


def summary(chance: random.Random) -> None:
    """An edited summary is refused, or gives what it gave before; one without a checksum is never a bug."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.jsonl")
        path.write_bytes(b"".join(orjson.dumps(record) + b"\n" for record in some_records(chance)))
        made = scan(local.find([str(path)]), PLAN, jobs=1)
    data = b"".join(summary_writing.write(made, PLAN.fields, PLAN.layout))
    sealed = chance.random() < 0.5
    if not sealed:
        data = re.sub(rb',"checksum":"\w+"', b"", data, count=1)
    whole = contents(data, "s.jsonl")
    assert whole is not None
    for _ in range(4):
        tokens = list(TOKEN.finditer(data))
        token, other = chance.choice(tokens), chance.choice(tokens)[0]
        other = chance.choice([other, *PIECES, b"-1", b"0", b"[]"])
        edited = data[: token.start()] + other + data[token.end() :]
        if chance.random() < 0.3:
            edited = mutated(chance, data)
        found = contents(edited, "s.jsonl")
        assert found in (None, whole) or not sealed or not edited.startswith(data[:30]), edited


def parquet(chance: random.Random) -> None:
    """A Parquet file with a flipped bit, whose pages have checksums, is refused, or gives what it gave before."""
    rows = [{**record, "log_prob": [record["log_prob"]] * 2} for record in some_records(chance)]
    columns = {
        name: pyarrow.array([str(row[name]) if name == "prompt_id" else row[name] for row in rows]) for name in rows[0]
    }
    out = io.BytesIO()
    write_table(
        pyarrow.table(columns),
        out,
        compression=chance.choice(["none", "snappy", "zstd"]),
        use_dictionary=chance.random() < 0.5,
        row_group_size=chance.choice([5, 100]),
        write_page_checksum=True,
    )
    data = out.getvalue()
    whole = contents(data, "a.parquet")
    assert whole is not None
    for _ in range(4):
        at = chance.randrange(4, len(data))
        flipped = data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]
        # a column of another name is another dump, and the format has no checksum of names
        names = all(flipped.count(name.encode()) == data.count(name.encode()) for name in columns)
        assert not names or contents(flipped, "a.parquet") in (None, whole), at


TARGETS: dict[str, Target] = {
    "scanner": scanner,
    "reader": reader,
    "decimal": decimal,
    "exact_sum": exact_sum,
    "moments": compiled_moments,
    "ids": ids,
    "summary": summary,
    "parquet": parquet,
}
