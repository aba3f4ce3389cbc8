"""Some records → the places in them that hold something, each with its values and the words of its name.

Knows no bytes. A place is looked for in objects within each other, and in the objects of a list; a list of anything
else is a value.
"""

import contextlib
import re
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

from budget_cli.schema.fields import as_expression
from budget_cli.schema.json_values import Invalid, canonical
from budget_cli.schema.parsing import place_text
from budget_cli.schema.paths import Path, Step

DEEPEST = 4  # objects within each other
MOST = 400  # places
LARGEST = 1e15  # whose square is finite
MOST_PRESENT = 0.9  # share of the records from which on a place counts as in all


class Leaf:
    """A place, and its value in each record; None where it is missing or null."""

    def __init__(self, path: Path, values: list[Any], of_prompt: bool = False) -> None:
        """Take the values, one for each record.

        Args:
            path: where it is.
            values: for each record, or for each response if `of_prompt`.
            of_prompt: True if the place holds a list, with a value for each response to a prompt.
        """
        self.path, self.values, self.of_prompt = path, values, of_prompt

    @cached_property
    def place(self) -> str:
        """As `--field` takes it."""
        return self.expression if self.of_prompt and any(step.each for step in self.path) else place_text(self.path)

    @cached_property
    def expression(self) -> str:
        """As a part of an expression."""
        return as_expression(self.path).replace("[]", "[*]")

    @cached_property
    def words(self) -> tuple[str, ...]:
        """The words of all keys, in lower case."""
        return tuple(word for step in self.path for word in words_of(step.key))

    @cached_property
    def last(self) -> tuple[str, ...]:
        """The words of the last key."""
        return tuple(words_of(self.path[-1].key))

    def says(self, *vocabularies: Iterable[str]) -> bool:
        """True if a word of the name is in one of these."""
        return any(word in vocabulary for vocabulary in vocabularies for word in self.words)

    @cached_property
    def is_everywhere(self) -> bool:
        """True if hardly a record is without it."""
        there = sum(value is not None for value in self.values)
        return there > 0 and there >= MOST_PRESENT * len(self.values)

    @cached_property
    def present(self) -> list[Any]:
        """The values that are there."""
        return [value for value in self.values if value is not None]

    @cached_property
    def are_numbers(self) -> bool:
        """True if all values are numbers."""
        return self.is_everywhere and all(map(is_number, self.present))

    @cached_property
    def are_whole(self) -> bool:
        """True if all values are whole numbers, 0 or more."""
        return self.are_numbers and all(value >= 0 and value == int(value) for value in self.present)

    @cached_property
    def are_booleans(self) -> bool:
        """True if all values are true or false."""
        return self.is_everywhere and all(isinstance(value, bool) for value in self.present)

    @cached_property
    def are_strings(self) -> bool:
        """True if all values are strings."""
        return self.is_everywhere and all(isinstance(value, str) for value in self.present)

    @cached_property
    def are_number_lists(self) -> bool:
        """True if all values are lists of numbers, and not all are empty."""
        lists = self.is_everywhere and all(isinstance(value, list) for value in self.present) and any(self.present)
        return lists and all(is_number(each) for value in self.present for each in value)

    @cached_property
    def keys(self) -> list[Hashable]:
        """What tells the values apart: themselves, or their text."""
        return [value if isinstance(value, str | int) else _key(value) for value in self.values]

    @cached_property
    def counts(self) -> Counter[Hashable]:
        """How often each value comes."""
        return Counter(self.keys)


def _key(value: Any) -> Hashable:
    with contextlib.suppress(Invalid):  # Parquet may hold what has no text
        return canonical(value)
    return id(value)


def is_number(value: Any) -> bool:
    """True if it is a number of a size that fields have; true and false are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -LARGEST < value < LARGEST


def words_of(key: str) -> list[str]:
    """Split `numGenTokens` or `num_gen_tokens` into its words, in lower case."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", key)]


def leaves(records: Sequence[Mapping[str, Any]]) -> list[Leaf]:
    """Find the places of these records, in the order in which they come."""
    columns: dict[Path, list[Any]] = {}
    for row, record in enumerate(records):
        _walk(record, (), row, columns, DEEPEST)
    return [Leaf(path, values + [None] * (len(records) - len(values))) for path, values in columns.items()]


def _walk(value: Mapping[str, Any], path: Path, row: int, columns: dict[Path, list[Any]], depth: int) -> None:
    for key, inner in value.items():
        if not key or not key.isprintable():  # what no command line could hold
            continue
        if isinstance(inner, dict) and depth > 1:
            _walk(inner, (*path, Step(key)), row, columns, depth - 1)
            continue
        _put((*path, Step(key)), inner, row, columns)
        if isinstance(inner, list) and inner and all(isinstance(each, dict) for each in inner):
            names = dict.fromkeys(name for each in inner for name in each if name and name.isprintable())
            for name in names:
                _put((*path, Step(key, each=True), Step(name)), [each.get(name) for each in inner], row, columns)


def _put(path: Path, value: Any, row: int, columns: dict[Path, list[Any]]) -> None:
    if path not in columns:
        if len(columns) >= MOST:
            return
        columns[path] = []
    column = columns[path]
    column += [None] * (row - len(column))
    column.append(value)


def of_responses(found: Sequence[Leaf], container: str) -> list[Leaf]:
    """Return the places whose lists hold a value for each response to a prompt, with a value for each response.

    Args:
        found: the places of records that hold all responses to a prompt.
        container: the key of the list of objects, or of one of the parallel arrays.
    """
    sizes = next(
        [len(value) if isinstance(value, list) else 0 for value in leaf.values]
        for leaf in found
        if place_text(leaf.path) == container
    )
    several = []
    for leaf in found:
        there = [value for value in leaf.values if value is not None]
        if not there or not all(isinstance(value, list) for value in there):
            continue
        if any(step.each for step in leaf.path) and place_text(leaf.path).partition("[]")[0] != container:
            continue
        if place_text(leaf.path) != container or not any(isinstance(each, dict) for value in there for each in value):
            matched = zip(leaf.values, sizes, strict=True)
            if all(value is None or len(value) == size for value, size in matched):
                values = [
                    each
                    for value, size in zip(leaf.values, sizes, strict=True)
                    for each in (value if value is not None else [None] * size)
                ]
                several.append(Leaf(leaf.path, values, of_prompt=True))
    return several
