"""Where the records of a JSON value are, as in `results[]`, `eval.*[]` or `[][]` ↔ ways; a value → its records.

The ways lead from the value to its records: through the member of a key, through each element of a list (`[]`), or
through each member of an object, whatever its key (`*`). The last is one of many. Knows no fields and no bytes.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import pairwise
from typing import Any, NamedTuple

from budget_cli.schema.json_values import Invalid, type_name
from budget_cli.schema.paths import GROUP

MOST_WAYS = 16
TOKEN = r"\[\]|(?:(?<!.)|\.)(\*|(?:\\.|[^][.\\()|?*@&{}'`,])+)"


class Through(StrEnum):
    """What a way leads through."""

    KEY = "key"
    ELEMENTS = "[]"
    MEMBERS = "*"


class Way(NamedTuple):
    """One step of the way to the records."""

    through: Through
    key: str = ""


Container = tuple[Way, ...]
Steps = tuple[str | int, ...]  # the keys and indexes that lead to a record


class Found(NamedTuple):
    """A record, where it is, and the objects around it, from the outside in."""

    steps: Steps
    value: Any
    around: tuple[Mapping[str, Any], ...]


def parse(text: str) -> Container | None:
    """Parse the place of records; None if it is no such place."""
    ways: list[Way] = []
    at, tokens = 0, re.compile(TOKEN, re.DOTALL)
    if text.startswith("."):
        return None
    while at < len(text):
        token = tokens.match(text, at)
        if token is None or len(ways) == MOST_WAYS:
            return None
        if token[1] is None:
            ways.append(Way(Through.ELEMENTS))
        elif token[1] == "*":
            ways.append(Way(Through.MEMBERS))
        else:
            ways.append(Way(Through.KEY, re.sub(r"\\(.)", r"\1", token[1], flags=re.DOTALL)))
        at = token.end()
    return tuple(ways) if ways and ways[-1].through is not Through.KEY else None


def is_no_path(ways: Container) -> bool:
    """True if a path of a field could not lead there: through any member, or through a list without a key."""
    kinds = [Through.ELEMENTS, *(way.through for way in ways)]
    lists = any(one is other is Through.ELEMENTS for one, other in pairwise(kinds))
    return lists or Through.MEMBERS in kinds


def written(ways: Sequence[Way]) -> str:
    """Write the place of records; the inverse of `parse`."""
    text = ""
    for way in ways:
        if way.through is Through.ELEMENTS:
            text += "[]"
        else:
            name = "*" if way.through is Through.MEMBERS else re.sub(r"([][.\\()|?*@&{}'`,])", r"\\\1", way.key)
            text += f".{name}" if text else name
    return text


def place_of(steps: Steps) -> str:
    """Write where one record is, as in `results[17]` or `eval["HumanEval/0"][3]`."""
    text = ""
    for step in steps:
        if isinstance(step, str) and re.fullmatch(r"[^\W\d]\w*", step):
            text += f".{step}" if text else step
        else:
            quoted = '"' + step.replace("\\", "\\\\").replace('"', '\\"') + '"' if isinstance(step, str) else step
            text += f"[{quoted}]"
    return text


def find(value: Any, ways: Container) -> Iterator[Found]:
    """Yield the records in a value, in their order.

    Raises:
        Invalid: the value is of another shape.
    """
    yield from _find(value, ways, (), ())


def _find(value: Any, ways: Container, steps: Steps, around: tuple[Mapping[str, Any], ...]) -> Iterator[Found]:
    for i, (through, key) in enumerate(ways):
        if through is Through.KEY:
            if not isinstance(value, dict):
                raise _other_shape("an object", value, steps)
            if key not in value:
                raise Invalid("missing", f"missing: expected {_expected(ways[i + 1])}", place_of((*steps, key)))
            value, steps, around = value[key], (*steps, key), (*around, value)
            continue
        members: Iterator[tuple[Any, Any]]
        if through is Through.ELEMENTS:
            if not isinstance(value, list):
                raise _other_shape("a list", value, steps)
            members = enumerate(value)
        else:
            if not isinstance(value, dict):
                raise _other_shape("an object", value, steps)
            members = iter(value.items())
        rest = ways[i + 1 :]
        left_out = set(beside(value, ways[i:])) if through is Through.MEMBERS else ()
        for step, member in members:
            if step in left_out:
                continue
            if rest:
                yield from _find(member, rest, (*steps, step), around)
            else:
                yield Found((*steps, step), member, around)
        return


def beside(value: Any, ways: Container) -> list[str]:
    """Return the keys of what is beside the lists of records of `*[]`, and is no list and no record itself."""
    if len(ways) < 2 or not isinstance(value, dict):
        return []
    if ways[0].through is not Through.MEMBERS or ways[1].through is not Through.ELEMENTS:
        return []
    lists = [each for each in value.values() if isinstance(each, list)]
    if len(lists) == len(value):
        return []
    known = {key for each in lists for record in each[:1] if isinstance(record, dict) for key in record}
    if not known:
        return []
    others = {key: each for key, each in value.items() if not isinstance(each, list)}
    return [key for key, each in others.items() if not (isinstance(each, dict) and known & each.keys())]


def left_out(value: Any, ways: Container) -> list[str]:
    """Return the places in a value of what `beside` leaves out."""
    return [
        place_of((*steps, name))
        for i in range(len(ways))
        if ways[i].through is Through.MEMBERS
        for steps, each, way in objects_on(value, ways[: i + 1])
        if way is ways[i]
        for name in beside(each, ways[i:])
    ]


def objects_on(value: Any, ways: Container) -> Iterator[tuple[Steps, dict[str, Any], Way]]:
    """Yield the objects that ways lead through by a key, or through each member, each with its steps and that way."""
    values: list[tuple[Steps, Any]] = [((), value)]
    for way in ways:
        inner: list[tuple[Steps, Any]] = []
        for steps, each in values:
            if isinstance(each, list) and way.through is Through.ELEMENTS:
                inner += (((*steps, n), one) for n, one in enumerate(each))
            elif isinstance(each, dict) and way.through is not Through.ELEMENTS:
                yield steps, each, way
                names = [way.key] if way.through is Through.KEY else each
                inner += (((*steps, name), each[name]) for name in names if name in each)
        values = inner


def _expected(way: Way) -> str:
    return "a list" if way.through is Through.ELEMENTS else "an object"


def _other_shape(expected: str, value: Any, steps: Steps) -> Invalid:
    return Invalid("wrong-type", f"expected {expected}, found {type_name(value)}", place_of(steps) or None, column=1)


def records_of(found: Sequence[Found], ways: Container) -> list[Any]:
    """Return the records with the members of the objects around them, and with the list that they are in as GROUP.

    A member counts for all records or for none: not where some of them have one of their own by its name.
    """
    many = [i for i, way in enumerate(ways) if way.through is not Through.KEY]
    of_group = many if ways[-1].through is Through.MEMBERS else many[:-1]
    records = [one.value for one in found]
    if not of_group and not any(one.around for one in found):
        return records
    own = {key for record in records if isinstance(record, dict) for key in record}
    shared: dict[tuple[int, ...], dict[str, Any]] = {}  # by the identity of the objects, which `found` keeps alive
    full = []
    for one in found:
        if not isinstance(one.value, dict):
            full.append(one.value)
            continue
        objects = tuple(map(id, one.around))
        if objects not in shared:
            members = {key: value for each in one.around for key, value in each.items()}
            shared[objects] = {key: value for key, value in members.items() if key not in own}
        record = {**shared[objects], **one.value}
        if of_group:
            group = [one.steps[i] for i in of_group]
            record[GROUP] = group[0] if len(group) == 1 else group
        full.append(record)
    return full
