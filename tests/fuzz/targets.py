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
from blocks import corpus, reader
from pyarrow.parquet import ParquetFile, write_table
from texts import PIECES, json_value, mutated, number_text

from budget_cli import native
from budget_cli.errors import InputProblem, UsageProblem
from budget_cli.groups import moments
from budget_cli.native.reader import LOG_PROB, MAX_DEPTH, NUMBER, Lines, Reader
from budget_cli.records.jsonl import Limits
from budget_cli.scanning import summary_writing
from budget_cli.scanning.plan import scan_plan
from budget_cli.scanning.scan import scan
from budget_cli.schema.fields import Fields
from budget_cli.sources import local

Target = Callable[[random.Random], int | None]  # the number of inputs; None: one

ROOT, LEAF = (b'"', 0, -1, -1, 1, 1), (b'x"', 0, 0, -1, 0, 0)
A_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
LONGEST_NUMBER = 63  # characters that the compiled reader reads in any case


def read_lines(data: bytes, kind: int | None = None) -> Lines:
    """Read data with a plan of one field, `x`, or of none."""
    plan: Any = ([(b'"', 0, -1, -1, 1, 0)], []) if kind is None else ([ROOT, LEAF], [(kind, 0, 0)])
    return Reader(*plan).read(data, 0, len(data), len(data))


# ---- the scanner


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
        if chance.random() < 0.1:
            line = chance.choice(corpus())
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
        assert not isinstance(value, dict) or not is_plain(value), line


# ---- decimals


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
        moments.Layout(tuple(sorted(chance.sample(range(3000), chance.randrange(4)))), chance.choice([0.0, 0.5, -1.0])),
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


EDITS = 4  # of each file that is made
PLAN = scan_plan(Fields(), moments.Layout((4,)), Limits(), sources_apart=True)
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


def with_another_byte(chance: random.Random, data: bytes, at: int) -> bytes:
    """Change a byte: one bit of it, or any."""
    flips = chance.choice([1 << chance.randrange(8), chance.randrange(1, 256)])
    return data[:at] + bytes([data[at] ^ flips]) + data[at + 1 :]


def summary(chance: random.Random) -> int:
    """An edited summary is refused, or gives what it gave before; one without a checksum (version 1) is never a bug."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.jsonl")
        path.write_bytes(b"".join(orjson.dumps(record) + b"\n" for record in some_records(chance)))
        made = scan(local.find([str(path)]), PLAN, jobs=1)
    data = b"".join(summary_writing.write(made, PLAN.fields, PLAN.keep.layout))
    sealed = chance.random() < 0.5
    if not sealed:
        data = re.sub(rb',"checksum":"\w+"', b"", data, count=1).replace(b"summary/2", b"summary/1", 1)
    whole = contents(data, "s.jsonl")
    assert whole is not None
    for _ in range(EDITS):
        tokens = list(TOKEN.finditer(data))
        token, other = chance.choice(tokens), chance.choice(tokens)[0]
        other = chance.choice([other, *PIECES, b"-1", b"0", b"[]"])
        edited = data[: token.start()] + other + data[token.end() :]
        if chance.random() < 0.5:
            edited = mutated(chance, data)
        if chance.random() < 0.3:
            edited = with_another_byte(chance, data, chance.randrange(len(data)))
        found = contents(edited, "s.jsonl")
        assert found in (None, whole) or not sealed or not edited.startswith(data[:30]), edited
    return EDITS


def names_in(data: bytes) -> list[str]:
    """Return the names of the columns of a Parquet file, of which the format has no checksum."""
    return list(ParquetFile(io.BytesIO(data)).schema_arrow.names)


def parquet(chance: random.Random) -> int:
    """A Parquet file with a changed byte, whose pages have checksums, is refused, or gives what it gave before."""
    rows = [{**record, "log_prob": [record["log_prob"]] * 2} for record in some_records(chance)]
    columns = {
        name: pyarrow.array([str(row[name]) if name == "prompt_id" else row[name] for row in rows]) for name in rows[0]
    }
    out = io.BytesIO()
    write_table(
        pyarrow.table(columns),
        out,
        compression=chance.choice(["none", "snappy", "zstd", "gzip", "lz4", "brotli"]),
        data_page_version=chance.choice(["1.0", "2.0"]),
        use_dictionary=chance.random() < 0.5,
        row_group_size=chance.choice([5, 100]),
        write_page_checksum=True,
    )
    data = out.getvalue()
    whole = contents(data, "a.parquet")
    assert whole is not None
    for _ in range(EDITS):
        at = chance.randrange(4, len(data))
        flipped = with_another_byte(chance, data, at)
        found = contents(flipped, "a.parquet")
        assert found in (None, whole) or names_in(flipped) != names_in(data), at  # with other names, another dump
    return EDITS


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
