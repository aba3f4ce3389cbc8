"""The canonical fields → where each of them is in a record. Knows no bytes and no values."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from budget_cli.errors import UsageProblem
from budget_cli.schema.parsing import parse_place
from budget_cli.schema.paths import Expression, Path, Place, Step, traverses_list

Kind = Literal["id", "number", "tokens", "log_prob"]

# what a value must be, by canonical field: a prompt id, a number, a whole number of tokens, a log-prob (or its tokens')
KINDS: dict[str, Kind] = {
    "prompt_id": "id",
    "reward": "number",
    "log_prob": "log_prob",
    "old_log_prob": "log_prob",
    "response_length": "tokens",
}
PLURALS = {  # the arrays of a record that holds a whole prompt
    "reward": "rewards",
    "log_prob": "log_probs",
    "old_log_prob": "old_log_probs",
    "response_length": "response_lengths",
}
ExtraKind = Literal["number", "label", "text"]

# what is read only where somebody asks for it, and is never needed: a number, a string or an integer, a text
EXTRAS: dict[str, ExtraKind] = {
    "prompt_text": "text",
    "response_text": "text",
    "finish_reason": "label",
    "step": "label",
    "advantage": "number",  # as the trainer stored it
    "by": "label",  # what --by names
}
EXTRA_PLURALS = {  # in a record that holds a whole prompt; what is not here belongs to the prompt
    "response_text": "response_texts",
    "finish_reason": "finish_reasons",
    "advantage": "advantages",
}
NAMES = (*KINDS, *PLURALS.values(), *EXTRAS, *EXTRA_PLURALS.values())
NAMED = tuple(name for name in NAMES if name != "by")  # by --field


@dataclass(frozen=True)
class Fields:
    """Where each canonical field is, and which of them the coefficients need."""

    places: tuple[tuple[str, Place], ...] = tuple((name, (Step(name),)) for name in NAMES)
    document: bool = False  # a source is one JSON value, whatever its lines
    records: str = ""  # a line is a record; "[]": a list of them, "columns": arrays side by side, PATH[]: a list inside
    group: str = ""  # "": prompt_id says; "line" or "file": those are the prompts
    known: frozenset[str] = frozenset(KINDS)  # the fields that a preset places, or somebody with --field
    # ids are unique within their file only, so its name without this prefix is part of them; None: within the dump
    id_file_prefix: str | None = None
    skip_unscored: bool = False  # a line without a reward is no sample (a header, a summary): counted, not rejected
    needs_length: bool = True
    needs_log_probs: bool = True
    extras: tuple[str, ...] = ()  # which of EXTRAS are to be read

    @cached_property
    def paths(self) -> Mapping[str, Place]:
        """The place of each canonical name."""
        return dict(self.places)

    def required(self, name: str) -> bool:
        """Whether a record without this (singular) field is of no use."""
        if name in ("log_prob", "old_log_prob"):
            return self.needs_log_probs
        return self.needs_length if name == "response_length" else True

    @cached_property
    def unmapped(self) -> list[str]:
        """The fields that are needed and that dumps of this preset do not hold."""
        return [name for name in KINDS if self.required(name) and name not in self.known]

    @cached_property
    def records_place(self) -> Place:
        """Where a line's list of records is, if `records` is a path."""
        return parse_place(self.records)

    def with_places(self, places: Mapping[str, Place]) -> "Fields":
        """These fields, with the canonical names in `places` looked up there; `parse_mappings` reads such a mapping."""
        mapped = {singular(name) for name in places}
        return replace(
            self,
            places=tuple({**self.paths, **places}.items()),
            known=self.known | mapped,
            id_file_prefix=None if "prompt_id" in mapped else self.id_file_prefix,
        )

    def with_mappings(self, mappings: Sequence[str]) -> "Fields":
        """These fields with each `NAME=PLACE` applied.

        Raises:
            UsageProblem: not of that form, or no such canonical field.
        """
        return self.with_places(parse_mappings(mappings))


def parse_mappings(mappings: Sequence[str]) -> dict[str, Place]:
    """The place of each canonical name that `--field NAME=PLACE` maps; the last mapping of a name counts.

    Raises:
        UsageProblem: a mapping is not of that form, or no canonical field has that name.
    """
    places: dict[str, Place] = {}
    for mapping in mappings:
        name, equals, text = mapping.partition("=")
        if not equals or not text:
            raise UsageProblem(f"--field {mapping}: expected NAME=dotted.path, as in reward=score")
        if name not in NAMES:
            raise UsageProblem(f"--field {mapping}: no field is called {name!r}; there are {', '.join(NAMED)}")
        places[name] = place = parse_place(text)
        if name == "prompt_id" and traverses_list(place):
            raise UsageProblem(f"--field {mapping}: a prompt id is one value, so its path cannot hold []")
    return places


def names_for(field: str) -> tuple[str, ...]:
    """The canonical names under which a field may be: of one response, and of the arrays of a prompt."""
    return next(((field, many[field]) for many in (PLURALS, EXTRA_PLURALS) if field in many), (field,))


def singular(name: str) -> str:
    """The field of one response that this canonical name stands for."""
    return next((one for one, many in (PLURALS | EXTRA_PLURALS).items() if many == name), name)


def weights_expression(texts: Sequence[str]) -> list[str]:
    """`accuracy=1,format=0.5` → the reward's mapping, as `--field` takes it: the sum of these, each by its weight.

    Raises:
        UsageProblem: not of that form, no number, or a name twice.
    """
    weights: dict[str, float] = {}
    for part in (part.strip() for text in texts for part in text.split(",")):
        name, _, number = part.rpartition("=")
        try:
            weight = float(number)
        except ValueError:
            weight = math.nan
        if not name or not math.isfinite(weight):
            raise UsageProblem(f"--reward-weights {part!r}: expected NAME=WEIGHT, as in accuracy=1,format=0.5")
        if name in weights:
            raise UsageProblem(f"--reward-weights {part!r}: {name} has a weight already")
        weights[name] = weight
    if not weights:
        return []
    names = ", ".join(".".join(_identifier(step.key) for step in _plain_path(name)) for name in weights)
    return [f"reward=dot([{names}], `[{', '.join(f'{weight!r}' for weight in weights.values())}]`)"]


def _plain_path(text: str) -> Path:
    path = parse_place(text)
    if isinstance(path, Expression) or traverses_list(path):
        raise UsageProblem(f"--reward-weights: {text!r}: expected the name of a number, as in accuracy=1")
    return path


def _identifier(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", key) else json.dumps(key)
