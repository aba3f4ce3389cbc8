"""Canonical fields → the place of each in a record. Knows no bytes and no values."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal, Protocol

from budget_cli.errors import UsageProblem
from budget_cli.schema.parsing import parse_place
from budget_cli.schema.paths import Expression, Path, Place, Step, traverses_list

if TYPE_CHECKING:
    from budget_cli.schema.containers import Container

Kind = Literal["id", "number", "tokens", "log_prob"]

# what the value of each canonical field must be; a log-prob is one number, or the list of its tokens' log-probs
KINDS: dict[str, Kind] = {
    "prompt_id": "id",
    "reward": "number",
    "log_prob": "log_prob",
    "old_log_prob": "log_prob",
    "response_length": "tokens",
}
PLURALS = {  # the arrays of a record that holds all responses to a prompt
    "reward": "rewards",
    "log_prob": "log_probs",
    "old_log_prob": "old_log_probs",
    "response_length": "response_lengths",
}
ExtraKind = Literal["number", "label", "text", "log_prob"]

# optional fields, read only on request; a label is a string or an integer
EXTRAS: dict[str, ExtraKind] = {
    "prompt_text": "text",
    "response_text": "text",
    "finish_reason": "label",
    "step": "label",
    "advantage": "number",  # as stored by the trainer
    "prompt_length": "number",  # tokens
    "sampler_log_prob": "log_prob",  # under the policy that generated the response, as its inference engine computed it
    "rollout_id": "label",  # rows of one prompt with the same rollout are one response
    "turn": "number",  # the order of such rows
    "budget": "number",  # the response's own, in tokens
    "budget_label": "label",  # of which the objective knows the budget
    "by": "label",  # the field that --by names
}
EXTRA_PLURALS = {  # in a record that holds all responses to a prompt, which share any other extra
    "response_text": "response_texts",
    "finish_reason": "finish_reasons",
    "advantage": "advantages",
    "sampler_log_prob": "sampler_log_probs",
}
SAMPLER = "sampler_log_prob"
# the log-probs of two policies that are compared; the importance weight of a response is e^(first − second)
PAIRS = {"reference": ("log_prob", "old_log_prob"), "sampler": ("log_prob", SAMPLER)}
# columns beside the optional fields, for each pair whose log-probs are lists: what a comparison token by token shows
COMPARED = (
    "unfilled",  # index of the first token with a log-prob of exactly 0 in the first list and one far below in the
    "unfilled_other",  # other, as where a writer fills a list with zeros; and the other way round
    "outside",  # number of tokens with a ratio outside TOKEN_CAP
    "size",  # sum of the sizes of the log-ratios, nats
    "worst",  # index of the token with the largest of them
    "worst_log_ratio",  # its log-ratio, nats
    "shift",  # by how many tokens the second list has to move to fit far better: 1 or −1; the next two only then
    "size_as_is",  # mean size of the log-ratios of the first tokens, nats per token
    "size_shifted",  # the same, with one list moved by `shift`
)
EDGES = (-3.0, -1.0, -0.3, -0.1, -0.03, -0.01, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)  # nats, between bins of log-ratios
# columns beside those, if tokens are counted by their log-ratios: how many are in each bin, which holds its lower edge
BINS = tuple(f"bin_{i}" for i in range(len(EDGES) + 1))
UNUSABLE = frozenset({"no-reward", "no-trace"})  # reasons for which there is nothing that could be used
WHERE = "where"  # the reason to leave out a sample for which --where is not true
LINE = "_line"  # in a sample that expressions judge: the whole line, whose keys those of the sample may hide
NAMES = (*KINDS, *PLURALS.values(), *EXTRAS, *EXTRA_PLURALS.values())
NAMED = tuple(name for name in NAMES if name not in ("by", "budget", "budget_label"))  # what --field may map


class TokenCounter(Protocol):
    """Counts the tokens of texts. Can be hashed and pickled, as workers use it."""

    @property
    def label(self) -> str:
        """The tokenizer's name and digest, which differ for different tokenizers."""

    def count(self, texts: Sequence[str]) -> Sequence[int]:
        """Return the number of tokens of each text.

        Raises:
            UsageProblem: the tokenizer cannot encode one of the texts.
        """


@dataclass(frozen=True, repr=False)
class Fields:
    """The place of each canonical field, the shape of a record, and which fields the coefficients need."""

    places: tuple[tuple[str, Place], ...] = tuple((name, (Step(name),)) for name in NAMES)
    document: bool = False  # True if a source is one JSON value, however many lines it spans
    # a line is "": a record; "[]": a list of records; "columns": an object of parallel arrays; "table": an object of
    # `columns`, which are names, and `data`, a list of values for each record; PATH[]: an object that holds a list of
    # records at this path; another place of `containers`: what holds lists of them, as `eval.*[]` and `[][]`
    records: str = ""
    # what makes a prompt: "": prompt_id; "line" or "file": each line or file is one; "N lines", with group_size N
    group: str = ""
    group_size: int = 0  # lines of a prompt, which follow each other; 0: not so
    known: frozenset[str] = frozenset(KINDS)  # fields mapped by the preset or by --field
    # ids are unique only within a file, so the name of the file, without this prefix, becomes part of them; None: they
    # are unique in the dump
    id_file_prefix: str | None = None
    prompts_of_steps: bool = False  # True if the same id in another step is another prompt: the step becomes part of it
    has_rollouts: bool = False  # True if rows of one prompt with the same rollout_id are one response
    skip_unscored: bool = (
        False  # True if a line without a reward is no sample (a header, a summary): counted, not rejected
    )
    # (reason, place): a sample is left out, neither rejected nor used, for the first reason whose place holds what is
    # true; for `where`, what is not
    leave_out: tuple[tuple[str, Place], ...] = ()
    empty_reason: str = ""  # the reason to leave out a line whose list of samples is empty; "": there is none
    # which of `reward` and `rewards` the preset or the user placed, so that it alone counts; "": neither, or both
    scored_by: Literal["", "reward", "rewards"] = ""
    ignore_unneeded: bool = False  # True to read an invalid field that the coefficients do not need as absent
    needs_length: bool = True
    needs_log_probs: bool = True
    without_length: str = "--budget-penalty-coef 0"  # the options that do without lengths
    extras: tuple[str, ...] = ()  # which of EXTRAS to read
    by: str = ""  # the extra that labels the rows of a breakdown, to which samples that are left out belong, too
    compares_tokens: bool = False  # True to compare the log-probs of every token, for COMPARED
    bins_tokens: bool = False  # True to count those tokens by their log-ratios, for BINS
    tokenizer: TokenCounter | None = None  # counts the text of a response without a length; None: nothing does

    @cached_property
    def paths(self) -> Mapping[str, Place]:
        """The place of each canonical name."""
        return dict(self.places)

    def required(self, name: str) -> bool:
        """True if a record without this (singular) field must be rejected."""
        if name in ("log_prob", "old_log_prob"):
            return self.needs_log_probs
        return self.needs_length if name == "response_length" else True

    @cached_property
    def extra_kinds(self) -> Mapping[str, ExtraKind]:
        """The kind of each column beside the required fields, in the order of the columns."""
        kinds = {name: EXTRAS[name] for name in self.extras}
        return kinds | dict.fromkeys((compared(pair, what) for pair in self.pairs for what in self.compared), "number")

    @cached_property
    def pairs(self) -> tuple[str, ...]:
        """Which of PAIRS are compared token by token."""
        return tuple(pair for pair in PAIRS if pair_is_read(pair, self.extras)) if self.compares_tokens else ()

    @property
    def compared(self) -> tuple[str, ...]:
        """The columns of a comparison token by token."""
        return COMPARED + BINS if self.bins_tokens else COMPARED

    @cached_property
    def unmapped(self) -> list[str]:
        """The required fields for which dumps of this preset have no place."""
        return [
            name
            for name in KINDS
            if self.required(name)
            and name not in self.known
            and (name != "response_length" or not self.counts_every_text)
        ]

    @property
    def counts_every_text(self) -> bool:
        """True if such dumps have no lengths, but texts, and there is a tokenizer to count them."""
        return self.tokenizer is not None and "response_text" in self.known and "response_length" not in self.known

    @cached_property
    def container(self) -> "Container | None":
        """The ways to the records within a value; None if a path, an expression or a form of its own leads there."""
        if not self.records or (self.records == "[]" and not self.document):
            return None
        from budget_cli.schema import containers  # which few dumps need

        ways = containers.parse(self.records)
        return ways if ways is None or self.document or containers.is_no_path(ways) else None

    @cached_property
    def records_place(self) -> Place:
        """The place of the list of records within a line, if `records` is a path."""
        return parse_place(self.records)

    def with_places(self, places: Mapping[str, Place]) -> "Fields":
        """Return these fields with the canonical names of `places` (see `parse_mappings`) moved there."""
        mapped = {singular(name) for name in places}
        scored_by = self.scored_by
        if "reward" in mapped:
            scored_by = "reward" if "rewards" not in places else "rewards" if "reward" not in places else ""
        return replace(
            self,
            places=tuple({**self.paths, **places}.items()),
            known=self.known | mapped,
            scored_by=scored_by,
            id_file_prefix=None if "prompt_id" in mapped else self.id_file_prefix,
        )


def parse_mappings(mappings: Sequence[str]) -> dict[str, Place]:
    """Parse each `NAME=PLACE` of `--field`; if a name occurs twice, the last one counts.

    Raises:
        UsageProblem: a mapping is not of that form, or no canonical field has that name.
    """
    places: dict[str, Place] = {}
    for mapping in mappings:
        name, equals, text = mapping.partition("=")
        if not equals or not text:
            raise UsageProblem(f"--field {mapping}: expected NAME=dotted.path, as in reward=score")
        if name not in NAMES:
            raise UsageProblem(f"--field {mapping}: unknown field {name!r}; expected one of {', '.join(NAMED)}")
        places[name] = place = parse_place(text)
        if name == "prompt_id" and traverses_list(place):
            raise UsageProblem(f"--field {mapping}: a prompt id is a single value, so its path cannot contain []")
    return places


def compared(pair: str, what: str) -> str:
    """Return the name of a column of COMPARED or BINS."""
    return f"{pair}_{what}"


def pair_is_read(pair: str, extras: Sequence[str]) -> bool:
    """True if both log-probs of a pair are read where these optional fields are."""
    return all(name in KINDS or name in extras for name in PAIRS[pair])


def names_for(field: str) -> tuple[str, ...]:
    """Return the names that a field may have: that of one response, and that of an array over a prompt's responses."""
    return next(((field, many[field]) for many in (PLURALS, EXTRA_PLURALS) if field in many), (field,))


def singular(name: str) -> str:
    """Return the field of one response that a canonical name, singular or plural, stands for."""
    return next((one for one, many in (PLURALS | EXTRA_PLURALS).items() if many == name), name)


def weights_expression(texts: Sequence[str]) -> list[str]:
    """Turn `accuracy=1,format=0.5` into a `--field` mapping of the reward to that weighted sum.

    Raises:
        UsageProblem: a part is not NAME=NUMBER, or a name occurs twice.
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
            raise UsageProblem(f"--reward-weights {part!r}: {name} already has a weight")
        weights[name] = weight
    if not weights:
        return []
    names = ", ".join(".".join(_identifier(step.key) for step in _plain_path(name)) for name in weights)
    return [f"reward=nandot([{names}], `[{', '.join(f'{weight!r}' for weight in weights.values())}]`)"]


def reward_names(texts: Sequence[str]) -> list[str]:
    """Return the first key of each path that `--reward-weights` names."""
    parts = (part.strip() for text in texts for part in text.split(","))
    return [_plain_path(part.rpartition("=")[0])[0].key for part in parts]


def as_expression(place: Place) -> str:
    """Write a place as JMESPath, to be used within an expression."""
    if isinstance(place, Expression):
        return place.text
    return ".".join(_identifier(step.key) + ("[]" if step.each else "") for step in place)


def _plain_path(text: str) -> Path:
    path = parse_place(text)
    if isinstance(path, Expression) or traverses_list(path):
        raise UsageProblem(f"--reward-weights: {text!r}: expected the name of a number, as in accuracy=1")
    return path


def _identifier(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", key) else json.dumps(key)
