"""A JSON value → the places in it where records may be, of which the first records show which it is. Knows no bytes."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from budget_cli.schema import containers
from budget_cli.schema.containers import Container, Found, Through, Way
from budget_cli.schema.json_values import Invalid

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
    lists: list[tuple[int | str, ...]]  # of each of `own`, the same for those in one list


def candidates(value: Any) -> list[Candidate]:
    """Find the places in a value where lists of objects are: `results[]`, `eval.*[]`, `[][]`.

    An object of nothing but lists is one such place, `*[]`, as is one of nothing but objects of the same keys, `*`.
    Lists within the objects of a list are none: of a rollout's steps, say.
    """
    return [_candidate([value], ways) for ways in _places(value, ())]


def by_key(value: Any) -> list[Candidate]:
    """Find the place `*[]` of an object with lists of like records under several keys, and other members beside them.

    The lists of a dump's splits are none.

    Raises:
        Invalid: a member is a record that is in no list.
    """
    lists = [each for each in value.values() if isinstance(each, list) and each] if isinstance(value, dict) else []
    if len(lists) < 2 or not all(isinstance(each[0], dict) for each in lists):
        return []
    common = set.intersection(*(set(each[0]) for each in lists))
    is_split = any(key.lower() in SPLITS for key in value)
    if is_split or not all(2 * len(common) > len(each[0]) for each in lists):
        return []
    ways = (MEMBERS, ELEMENTS)
    for _ in containers.find(value, ways):  # which raises where a member is of another shape
        pass
    return [_candidate([value], ways)]


def inner_candidates(values: Sequence[Any], is_document: bool) -> list[Candidate]:
    """Find the places of lists within the objects of a list: `[].samples[]`, or `samples[]` of each line.

    Args:
        values: of the first lines, or one document.
        is_document: True for a document.
    """
    outer = list(_places(values[0], ())) if is_document else [()]
    found = []
    while outer:
        inner: dict[Container, None] = {}
        for ways in outer:
            for one in _within(values, ways)[:EXAMINED]:
                for key, each in one.value.items() if len(ways) < DEEPEST else ():
                    if isinstance(each, list) and _objects(each):
                        inner[(*ways, Way(Through.KEY, key), ELEMENTS)] = None
        found += [_candidate(values, ways) for ways in inner]
        outer = list(inner)
    return found


def _candidate(values: Sequence[Any], ways: Container) -> Candidate:
    inside = _within(values, ways)
    first = inside[:EXAMINED]
    records = containers.records_of(first, ways)
    lists = [(*map(id, one.around), *one.steps[:-1]) for one in first]
    return Candidate(containers.written(ways), records, [one.value for one in first], len(inside), lists)


def _within(values: Sequence[Any], ways: Container) -> list[Found]:
    """Return the objects at a place in values, of which some may be of another shape."""
    found: list[Found] = []
    for value in values:
        with suppress(Invalid):
            found += containers.find(value, ways) if ways else [Found((), value, ())]
    return [one for one in found if isinstance(one.value, dict)]


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
