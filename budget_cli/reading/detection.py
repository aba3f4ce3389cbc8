"""The first records of a dump → the preset that they fit. Reads only the head of the first source."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from budget_cli.errors import InputProblem
from budget_cli.reading import sources
from budget_cli.reading.presets import Preset, detected, fits, is_canonical
from budget_cli.reading.sources import Source

RECORDS = 1000  # looked at, at most
HEAD_BYTES = 1 << 22
LONGEST_BYTES = 1 << 26  # of a first line, or of a document: a step's arrays side by side are one line


def first_values(found: Sequence[Source]) -> tuple[list[Any], bool]:
    """The values of the first lines that are JSON, or the first rows; or one value over many lines, and then True."""
    if found[0].parquet:
        return _first_rows(found[0]), False
    values: list[Any] = []
    for most in (HEAD_BYTES, LONGEST_BYTES):
        head = sources.head(found[0], most)
        values = _values_of_lines(head)
        if len(values) * 2 > min(head.count(b"\n"), RECORDS):
            return values, False
        try:  # hardly any line is a value of its own
            return [json.loads(head)], True
        except (ValueError, RecursionError):
            if len(head) < most:  # that was all
                break
    return values, False


def _first_rows(source: Source) -> list[Any]:
    from budget_cli.reading import parquet

    try:
        return parquet.head(source, RECORDS, HEAD_BYTES)
    except InputProblem:
        return []  # the scan says so


def _values_of_lines(head: bytes) -> list[Any]:
    values = []
    for line in head.split(b"\n", RECORDS)[:RECORDS]:
        try:
            values.append(orjson.loads(line))
        except orjson.JSONDecodeError:
            continue
    return values


def is_canonical_at_once(found: Sequence[Source]) -> bool:
    """Whether the first line of a file has the canonical fields: no preset need be looked at."""
    if not found[0].in_ranges:
        return False
    try:
        with open(str(found[0].path), "rb") as file:
            return is_canonical(orjson.loads(file.readline(HEAD_BYTES)))
    except (orjson.JSONDecodeError, OSError):
        return False


def preset_of(found: Sequence[Source], presets: Mapping[str, Preset]) -> Preset | None:
    """The preset of these sources, or None where the fields have their canonical names or nothing can be read.

    Raises:
        UsageProblem: none fits, or several do.
    """
    values, is_document = first_values(found)
    samples = [
        v for v in values if isinstance(v, dict) or (isinstance(v, list) and any(isinstance(e, dict) for e in v))
    ]
    if not samples:
        return None
    known = {name: preset for name, preset in presets.items() if preset.document == is_document}
    if is_document and not any(fit.fits for fit in fits(samples, known)):
        return None  # the scan says what is wrong with JSON that is not a record a line
    return detected(samples, known)
