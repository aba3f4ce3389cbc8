"""The first records of a dump → the preset that they fit. Reads only the head of the first source."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from budget_cli.reading import sources
from budget_cli.reading.fields import Fields, names_of
from budget_cli.reading.presets import Preset, detected, fits, is_canonical
from budget_cli.reading.records import MISSING, Skipped, found_in, spread
from budget_cli.reading.sources import Source
from budget_cli.reading.values import Bad

RECORDS = 1000  # looked at, at most
HEAD_BYTES = 1 << 22
GLANCE_BYTES = 1 << 18  # enough to see which fields there are
LONGEST_BYTES = 1 << 26  # of a first line, or of a document: a step's arrays side by side are one line


def first_values(found: Sequence[Source]) -> tuple[list[Any], bool]:
    """The values of the first lines that are JSON; or of one value over many lines, and then True."""
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


def extras_there(found: Sequence[Source], fields: Fields) -> set[str]:
    """Which of the extras that these fields want are in any of the first records."""
    values = _values_of_lines(sources.head(found[0], GLANCE_BYTES)) or first_values(found)[0]
    there: set[str] = set()
    for value in values:
        try:
            samples = spread(value, fields)
        except (Bad, Skipped):
            continue
        for name in set(fields.extras) - there:
            if any(isinstance(sample, dict) and _has(sample, fields, name) for sample in samples):
                there.add(name)
        if len(there) == len(fields.extras):
            break
    return there


def _has(sample: dict[str, Any], fields: Fields, name: str) -> bool:
    for each in names_of(name):
        try:
            value = found_in(sample, fields.paths[each])
        except Bad:
            continue
        if value is not MISSING and value is not None:
            return True
    return False
