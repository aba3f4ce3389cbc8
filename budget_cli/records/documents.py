"""A source that is one JSON value → columns and rejections, record by record, like those of the readers of lines.

Its records are numbered in their order, and a rejection names the path to what is wrong, as in `results[17].score`. The
value is parsed once, in whole. What is no JSON at all is a problem of the source: where in it, and what was found.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import orjson

from budget_cli import native
from budget_cli.errors import InputProblem
from budget_cli.ids import Ids
from budget_cli.records.columns import Decoded, RejectionLimit
from budget_cli.records.record import is_unscored
from budget_cli.records.reference import ReferenceReader
from budget_cli.schema import containers
from budget_cli.schema.containers import Container, Found, Steps, Through, place_of
from budget_cli.schema.fields import KINDS, Fields, names_for
from budget_cli.schema.json_values import Invalid
from budget_cli.schema.lookup import TABLE, NotASample, located_records, root_keys, rows_of_table
from budget_cli.schema.parsing import place_text
from budget_cli.schema.paths import Expression
from budget_cli.sources.blocks import Block

LONGEST_EXPLAINED = 1 << 24  # bytes before what is wrong, in which its path is looked for
STRING = rb'("[^"\\]*+(?:\\.[^"\\]*+)*+")(\s*+:)?'  # each whole, so that none begins within another; and if it is a key
TOKEN = rb'"(?:[^"\\]++|\\.)*+"|[][{},:]'


def decode(data: bytes, source: str, fields: Fields, keep: RejectionLimit) -> Decoded:
    """Read every record of a document.

    Args:
        data: all of it.
        source: its name, for messages.
        fields: the places of fields; their `records` is the place of the records.
        keep: which rejections are kept in full.

    Raises:
        InputProblem: it is not one JSON value.
    """
    value, has_nan = value_of(data, source)
    of_line = 1 if fields.group in ("line", "file") else 0
    try:
        found = _located(value, fields)
        if fields.skip_unscored and is_unscored([record for _, record in found], fields):
            found = []
    except (Invalid, NotASample):  # as one record, which is rejected or skipped
        found = []
    if found and fields.container is not None:
        _require_keys_once(data, value, fields.container, source)
    if not found:
        reader = ReferenceReader(fields, 0, keep, lambda number, bad: "")
        reader.read_row(1, value)
        lines = 1
    else:

        def path_of(number: int, bad: Invalid) -> str:
            inside = "" if bad.path is None or isinstance(bad.path, Expression) else place_text(bad.path)
            return ".".join(filter(None, (place_of(found[number - 1][0].steps), inside)))

        each = replace(fields, records="", document=False, skip_unscored=False)
        at_once = None if has_nan else _decoded_at_once([record for _, record in found], fields, each, keep)
        if at_once is not None:
            at_once.paths = _first_of_lists([one.steps for one, _ in found])
            return at_once
        reader, lines = ReferenceReader(each, 0, keep, path_of), len(found)
        for number, (one, record) in enumerate(found, start=1):
            holds_nan = has_nan and not fields.ignore_unneeded and _holds_nan(one.value)
            reader.read_row(number, _non_finite() if holds_nan else record, of_line)
    read = reader.columns(Ids())
    reader.tally.length_origins = read.length_origins(fields.tokenizer)
    paths = _first_of_lists([one.steps for one, _ in found])
    return Decoded(read, reader.tally, lines, reader.rejections, reader.left_out, reader.left_out_by, paths)


def _require_keys_once(data: bytes, value: Any, ways: Container, source: str) -> None:
    """Refuse a document in which a key on the way to the records stands twice: the first of its values is lost.

    Args:
        data: the document.
        value: what it holds, of each such key the last value.
        ways: the ways to the records.
        source: its name, for messages.

    Raises:
        InputProblem: there is such a key.
    """
    expected: Counter[str] = Counter()
    for _, each, way in containers.objects_on(value, ways):
        expected.update([way.key] if way.through is Through.KEY else list(each))
    if not expected:
        return
    if b"\\u" not in data and all(way.through is not Through.MEMBERS for way in ways):
        seen = Counter({key: data.count(orjson.dumps(key)) for key in expected})
    else:
        written = Counter(key for key, colon in re.findall(STRING, data, re.DOTALL) if colon)
        seen = Counter()
        for key, times in written.items():
            seen[_unquoted(key)] += times
    if all(seen[key] <= times for key, times in expected.items()):
        return
    repeated: dict[int, list[str]] = {}
    alive = []  # else another object may have the identity of one that is lost

    def object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        whole = dict(pairs)
        if len(whole) < len(pairs):
            repeated[id(whole)] = [key for key, times in Counter(key for key, _ in pairs).items() if times > 1]
            alive.append(whole)
        return whole

    try:
        again = json.loads(data, object_pairs_hook=object_of, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return
    for steps, each, way in containers.objects_on(again, ways):
        for key in repeated.get(id(each), ()):
            if way.through is Through.MEMBERS or key == way.key:
                what = f"the key {place_of((*steps, key))} stands twice, and only the last would count"
                raise InputProblem(source, f"{what}: rename one of the two")


def _decoded_at_once(records: list[Any], fields: Fields, each: Fields, keep: RejectionLimit) -> Decoded | None:
    """Read records by the compiled reader, as lines of JSON with the keys that are read; None if one is rejected.

    The reasons, and what the compiled reader cannot take, are left to the reader that goes record by record.

    Args:
        records: in their order.
        fields: the places of fields, and of the records.
        each: the places of fields in a record.
        keep: which rejections are kept in full.
    """
    keys = _keys_to_read(fields)
    if not native.AVAILABLE or keys is None or not all(isinstance(record, dict) for record in records):
        return None
    from budget_cli.records import compiled

    try:
        lines = [orjson.dumps({key: record[key] for key in keys if key in record}) for record in records]
    except orjson.JSONEncodeError:  # nested more deeply than it writes
        return None
    data = b"\n".join((*lines, b""))
    read = compiled.decode(Block("", data, 0, len(data), first=False), each, len(data), keep)
    return None if read is None or read.tally.rejected or read.lines != len(records) else read


def _keys_to_read(fields: Fields) -> list[str] | None:
    """Return the keys of a record in which fields are; None if it is not known, or one holds the records themselves."""
    if fields.leave_out or fields.group in ("line", "file"):
        return None
    read = (*KINDS, *fields.extras, *(["response_text"] if fields.tokenizer is not None else []))
    roots = [list(root_keys(fields.paths[name])) for field in read for name in names_for(field)]
    keys = list(dict.fromkeys(chain.from_iterable(roots)))
    around = {way.key for way in fields.container or () if way.key}
    return None if not all(roots) or around & set(keys) else keys


def _first_of_lists(steps: Sequence[Steps]) -> list[tuple[int, str]]:
    """Return the number and the path of each record that is not the next element of the list of the one before."""
    first = []
    for number, one in enumerate(steps, start=1):
        index = one[-1]
        if number == 1 or isinstance(index, str) or steps[number - 2] != (*one[:-1], index - 1):
            first.append((number, place_of(one)))
    return first


def records_in(data: bytes, source: str, fields: Fields) -> list[tuple[str | None, Any]]:
    """Return the records of a document, numbered from 1 by `decode`, each with its path.

    The path is None where the document is read as one line, whose value this is.

    Raises:
        InputProblem: it is not one JSON value.
    """
    value, _ = value_of(data, source)
    try:
        found = _located(value, fields)
    except (Invalid, NotASample):
        found = []
    return [(place_of(one.steps), record) for one, record in found] or [(None, value)]


def _located(value: Any, fields: Fields) -> list[tuple[Found, Any]]:
    if fields.records == TABLE:
        return [(Found(("data", i), row, ()), row) for i, row in enumerate(rows_of_table(value))]
    return [] if fields.container is None else located_records(value, fields, fields.container)


def _non_finite() -> Invalid:
    return Invalid("non-finite", "NaN or Infinity is not a number that can be averaged")


def _holds_nan(record: Any) -> bool:
    """True if a value holds NaN, which stands for an infinity, too: no reader of lines takes such a line."""
    pending = [record]
    while pending:
        node = pending.pop()
        if isinstance(node, float) and math.isnan(node):
            return True
        if isinstance(node, dict | list):
            pending += node.values() if isinstance(node, dict) else node
    return False


def value_of(data: bytes, source: str) -> tuple[Any, bool]:
    """Parse a document; also True if it holds NaN or infinities, which all are NaN in the value.

    Raises:
        InputProblem: it is not one JSON value.
    """
    try:
        return orjson.loads(data), False
    except orjson.JSONDecodeError as error:
        from budget_cli.records import diagnosis, other_files

        if data.lstrip()[:1] not in (b"{", b"[") and (what := other_files.described(data[:4096])) is not None:
            raise InputProblem(source, what) from None
        flat = data.replace(b"\n", b" ").replace(b"\r", b" ")
        try:
            return diagnosis.diagnose(flat, _at_start(flat, error), accepts_nan=True), True
        except Invalid as bad:
            raise InputProblem(source, _explained(data, bad)) from None


def _at_start(flat: bytes, error: orjson.JSONDecodeError) -> orjson.JSONDecodeError:
    """Return the same error in a text of one line, whose columns are offsets."""
    try:
        orjson.loads(flat)
    except orjson.JSONDecodeError as again:
        return again
    return error


def _explained(data: bytes, bad: Invalid) -> str:
    """Say what is wrong with a document, and where; `bad.column` counts the characters of all of it."""
    if bad.code == "too-deep":
        return f"this JSON document is {bad.message}"
    before = data.decode("utf-8", "replace")[: bad.column - 1]
    at = f"line {before.count(chr(10)) + 1}, column {len(before) - before.rfind(chr(10))}"
    rest = data.decode("utf-8", "replace")[bad.column - 1 :]
    if bad.message.startswith("more text after"):
        return f"a second JSON value begins at {at}: expected one JSON document, or one record on each line"
    steps = _steps_to(before.encode())
    inside = "" if steps is None or not steps else f" in {place_of(steps)}"
    if not rest.strip() or "unexpected end" in bad.message:
        return f"this JSON document is cut off{inside} ({at}): none of it was read"
    return f"this is no JSON document: {bad.message.removeprefix('not JSON: ')}{inside} ({at})"


def _steps_to(begun: bytes) -> Steps | None:
    """Return the keys and indexes that lead to the end of what a JSON document begins with; None if it is too long."""
    if len(begun) > LONGEST_EXPLAINED:
        return None
    steps: list[str | int] = []
    key = ""
    for token in re.finditer(TOKEN, begun, re.DOTALL):
        text = token[0]
        if text == b"{":
            steps.append("")
        elif text == b"[":
            steps.append(0)
        elif text in b"]}":
            del steps[-1:]
        elif text == b"," and steps:
            last = steps[-1]
            steps[-1] = last + 1 if isinstance(last, int) else ""
        elif text == b":" and steps:
            steps[-1] = key
        elif text[:1] == b'"':
            key = _unquoted(text)
    return tuple(steps[:-1] if steps and steps[-1] == "" else steps)


def _unquoted(text: bytes) -> str:
    try:
        return str(orjson.loads(text))
    except orjson.JSONDecodeError:
        return text[1:-1].decode("utf-8", "replace")
