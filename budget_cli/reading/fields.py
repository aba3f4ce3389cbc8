"""`NAME=dotted.path` → where each canonical field of a record is. Knows no bytes and no values.

A path is keys joined by dots; a key that ends in `[]` is a list, and the path goes on in each of its elements
(`response.output[].generation_log_probs`). A dot or bracket that is part of a key has
a backslash before it.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, NamedTuple

from budget_cli.errors import UsageProblem

Kind = Literal["key", "number", "whole", "sequence"]

# what a value must be, by canonical field: a prompt id, a number, a whole number of tokens, a log-prob (or its tokens')
KINDS: dict[str, Kind] = {
    "prompt_id": "key",
    "reward": "number",
    "log_prob": "sequence",
    "old_log_prob": "sequence",
    "response_length": "whole",
}
PLURALS = {  # the arrays of a record that holds a whole prompt
    "reward": "rewards",
    "log_prob": "log_probs",
    "old_log_prob": "old_log_probs",
    "response_length": "response_lengths",
}
NAMES = (*KINDS, *PLURALS.values())


class Step(NamedTuple):
    """One key of a path; `each`: its value is a list, go on in every element."""

    key: str
    each: bool = False


Path = tuple[Step, ...]


@dataclass(frozen=True)
class Fields:
    """Where each canonical field is, and which of them the coefficients need."""

    places: tuple[tuple[str, Path], ...] = tuple((name, (Step(name),)) for name in NAMES)
    needs_length: bool = True
    needs_log_probs: bool = True

    @cached_property
    def paths(self) -> Mapping[str, Path]:
        """Canonical name → path."""
        return dict(self.places)

    def required(self, name: str) -> bool:
        """Whether a record without this (singular) field is of no use."""
        if name in ("log_prob", "old_log_prob"):
            return self.needs_log_probs
        return self.needs_length if name == "response_length" else True

    def with_mappings(self, mappings: Iterable[str]) -> "Fields":
        """These fields with `NAME=dotted.path` applied.

        Raises:
            UsageProblem: not of that form, or no such canonical field.
        """
        paths = dict(self.paths)
        for mapping in mappings:
            name, equals, path = mapping.partition("=")
            if not equals or not path:
                raise UsageProblem(f"--field {mapping}: expected NAME=dotted.path, as in reward=score")
            if name not in paths:
                raise UsageProblem(f"--field {mapping}: no field is called {name!r}; there are {', '.join(NAMES)}")
            paths[name] = parse(path)
            if name == "prompt_id" and any(step.each for step in paths[name]):
                raise UsageProblem(f"--field {mapping}: a prompt id is one value, so its path cannot hold []")
        return replace(self, places=tuple(paths.items()))


def parse(text: str) -> Path:
    """The path that `text` writes.

    Raises:
        UsageProblem: an empty key, or a bracket that is not `[]` at the end of a key.
    """
    steps = []
    for part in re.split(r"(?<!\\)\.", text):
        each = part.endswith("[]") and not part.endswith("\\[]")
        key = part[:-2] if each else part
        if not key or re.search(r"(?<!\\)[][]", key):
            raise UsageProblem(f"path {text!r}: expected keys joined by dots, with [] after a list, as in a.b[].c")
        steps.append(Step(re.sub(r"\\(.)", r"\1", key), each))
    return tuple(steps)


def written(path: Path) -> str:
    """The path as the user would write it."""
    return ".".join(re.sub(r"([.\[\]\\])", r"\\\1", step.key) + ("[]" if step.each else "") for step in path)
