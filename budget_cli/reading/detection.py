"""The first records of a dump → the preset that they fit. Reads only the head of the first source."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from budget_cli.reading import sources
from budget_cli.reading.presets import Preset, detected, is_canonical
from budget_cli.reading.sources import Source

RECORDS = 1000  # looked at, at most
HEAD_BYTES = 1 << 22


def first_values(found: Sequence[Source]) -> list[Any]:
    """The values of the first lines that are JSON; of a file that is one JSON value over many lines, that value."""
    if not found:
        return []
    head = sources.head(found[0], HEAD_BYTES)
    values = []
    for line in head.split(b"\n")[:RECORDS]:
        try:
            values.append(orjson.loads(line))
        except orjson.JSONDecodeError:
            continue
    if len(values) * 2 <= min(head.count(b"\n"), RECORDS):  # hardly any line is a value of its own
        try:
            return [json.loads(head)]
        except ValueError:
            return values
    return values


def is_canonical_at_once(found: Sequence[Source]) -> bool:
    """Whether the first line of a file has the canonical fields: no preset need be looked at."""
    if not found or not found[0].in_ranges:
        return False
    with open(str(found[0].path), "rb") as file:
        try:
            return is_canonical(orjson.loads(file.readline(HEAD_BYTES)))
        except (orjson.JSONDecodeError, OSError):
            return False


def preset_of(found: Sequence[Source], presets: Mapping[str, Preset]) -> Preset | None:
    """The preset of these sources, or None where the fields have their canonical names or nothing can be read.

    Raises:
        UsageProblem: none fits, or several do.
    """
    values = first_values(found)
    return detected(values, presets) if values else None
