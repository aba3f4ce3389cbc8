"""A JSON value → the places in it where records may be, of which the first records show which it is. Knows no bytes."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from budget_cli.schema import containers
from budget_cli.schema.containers import Container, Through, Way

ELEMENTS, MEMBERS = Way(Through.ELEMENTS), Way(Through.MEMBERS)
DEEPEST, MOST_KEYS = 5, 256  # ways to a list of records, and keys of an object that are looked into
EXAMINED = 1000  # records of a place
SPLITS = {"train", "eval", "val", "valid", "validation", "test", "dev", "heldout", "held_out"}  # never one dump


class Candidate(NamedTuple):
    """A place in a document where its records may be."""

    place: str  # as `--records` takes it
    records: list[dict[str, Any]]  # the first of them, with what the objects around them hold
    own: list[dict[str, Any]]  # the same without
    total: int


def candidates(value: Any) -> list[Candidate]:
    """Find the places in a value where lists of objects are: `results[]`, `eval.*[]`, `[][]`.

    An object of nothing but lists is one such place, `*[]`, as is one of nothing but objects of the same keys, `*`.
    Lists within the objects of a list are none: of a rollout's steps, say.
    """
    found = []
    for ways in _places(value, ()):
        place = containers.written(ways)
        inside = [one for one in containers.find(value, ways) if isinstance(one.value, dict)]
        first = inside[:EXAMINED]
        records = containers.records_of(first, ways)
        found.append(Candidate(place, records, [one.value for one in first], len(inside)))
    return found


def _places(value: Any, ways: Container) -> Iterator[Container]:
    if len(ways) == DEEPEST:
        return
    if isinstance(value, list):
        if _objects(value):
            yield (*ways, ELEMENTS)
        elif value and all(isinstance(each, list) for each in value):
            yield from _places([inner for each in value for inner in each], (*ways, ELEMENTS))
        return
    if not isinstance(value, dict):
        return
    members = list(value.values())
    if len(members) > 1 and all(isinstance(each, list) for each in members):
        inner = list(_places([one for each in members for one in each], (*ways, MEMBERS)))
        if any(map(_objects, members)) or inner:
            yield from inner
            return
    if len(members) > 1 and _are_alike(members):
        yield (*ways, MEMBERS)
        return
    for key, inner_value in list(value.items())[:MOST_KEYS]:
        yield from _places(inner_value, (*ways, Way(Through.KEY, key)))


def _are_alike(values: list[Any]) -> bool:
    """True if all are objects of the same keys."""
    first = values[0]
    return (
        isinstance(first, dict)
        and bool(first)
        and all(isinstance(each, dict) and each.keys() == first.keys() for each in values)
    )


def _objects(values: Iterable[Any]) -> list[dict[str, Any]]:
    return [value for value in values if isinstance(value, dict)]
