"""Some records that no preset fits → where their fields may be, the reason, and the options that say so.

Knows no bytes. Guesses are shown, never applied. A guess is `sure` or `likely` only where its name and its
values agree.
"""

import re
from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import Any, NamedTuple

from budget_cli.schema.fields import KINDS, NAMED, Fields, singular
from budget_cli.schema.guessed_numbers import (
    doubted_log_probs,
    length_guesses,
    log_prob_guesses,
    reward_guesses,
    text_guesses,
)
from budget_cli.schema.guessed_prompts import (
    FEWEST,
    Guess,
    id_rank,
    may_be_id,
    prompt_guesses,
    step_guess,
    step_of,
    with_step,
)
from budget_cli.schema.leaves import Leaf, leaves, of_responses
from budget_cli.schema.parsing import place_text
from budget_cli.schema.paths import Expression, Step
from budget_cli.schema.proposals import quoted

PATH = "PATH"
SHARED = {"prompt_text", "response_text", "by"}  # what holds one of these may hold another field, too
PROMPT_TEXT = {"prompt", "question", "problem", "input", "query"}
LISTS = {  # of one response, whatever is in them
    *("messages", "turn", "turns", "choices", "tool", "tools", "calls", "step", "steps", "nodes", "conversation"),
    *("token", "tokens", "move", "moves", "hop", "hops", "action", "actions", "per", "logprobs"),
}


class Guesses(NamedTuple):
    """What is guessed of some records."""

    guesses: tuple[Guess, ...]  # by field, the best of each first
    remarks: tuple[str, ...]  # on what is not known, and why
    weights: tuple[str, ...] = ()  # names that --reward-weights may take
    median_length: int | None = None  # tokens

    def best(self, field: str) -> Guess | None:
        """Return the guess of a field that stands in the command; None if there is none."""
        return next((each for each in self.guesses if each.one == field and each.is_confident), None)

    def unsure(self, field: str) -> list[Guess]:
        """Return what a field may be, where none of it is confident."""
        found = [each for each in self.guesses if each.one == field]
        return [] if any(each.is_confident for each in found) else found

    def doubted(self, why: str) -> "Guesses":
        """Return the same, none of it confident."""
        guesses = (each._replace(confidence="possible", reason=f"{each.reason}; {why}") for each in self.guesses)
        return self._replace(guesses=tuple(guesses), median_length=None)


def guess(records: Sequence[Mapping[str, Any]], known: Collection[str] = (), given: Fields | None = None) -> Guesses:
    """Guess the places of all fields that are not known.

    Args:
        records: the first of a dump.
        known: fields that the user, a preset or their canonical names place, and for which nothing is guessed.
        given: the places of fields, none of which is guessed for another field; None: they are the canonical names.
    """
    found = leaves(records)
    if not found:
        return Guesses((), ())
    step = step_of(found)
    prompts, prompt_remarks = prompt_guesses(found, step)
    groups = _keys(prompts, found, step) if len(records) >= FEWEST else None
    best = _of_one(found, groups)
    if best.best("reward") is None:
        container, several = max(
            ((each, _of_several(found, each)) for each in _containers(found)),
            key=lambda pair: _worth(pair[1]),
            default=("", best),
        )
        if several.best("reward") is not None and groups is not None:
            best = several.doubted("though each record seems to be one response")
        elif several.best("reward") is not None and (other := _prompts_within(found, container)) is not None:
            best = several.doubted("the responses are to several prompts")
            prompts, prompt_remarks = [], [f"prompt_id: a record holds responses to several prompts, by {other.place}"]
        elif several.best("reward") is not None:
            best, (prompts, prompt_remarks) = several, _of_lines(found)
    guesses, remarks = list(best.guesses), list(best.remarks)
    if "prompt_id" not in known:
        steps = (
            step_guess(step) if any(each.field == "prompt_id" and each.option == "--field" for each in prompts) else []
        )
        guesses = [*prompts, *guesses, *([] if "step" in known else steps)]
        remarks = [*prompt_remarks, *remarks]
    placed = {*known, "response_text"} if "response_length" in known else {*known}
    guesses = [each for each in guesses if each.one not in placed]
    guesses, taken = _without_taken(guesses, found, given)
    remarks += taken
    remarks = [each for each in remarks if not {*each.partition(":")[0].split(", ")} <= {*known}]
    return Guesses(tuple(guesses), tuple(remarks), best.weights, best.median_length)


def _without_taken(
    guesses: Sequence[Guess], found: Sequence[Leaf], given: Fields | None
) -> tuple[list[Guess], list[str]]:
    """Drop what holds another field by its canonical name or by the user's word, and say so where nothing is left."""
    owners = [(leaf, owner) for leaf in found if (owner := _owner(leaf, given))]
    kept: list[Guess] = []
    dropped: dict[str, str] = {}
    for each in guesses:
        others = [
            f"{leaf.place} holds {owner}"
            for leaf, owner in owners
            if owner != each.one and each.option == "--field" and _is_within(leaf, each.value)
        ]
        if others:
            dropped.setdefault(each.one, f"{each.one}: {others[0]}")
        else:
            kept.append(each)
    left = {each.one for each in kept}
    return kept, [why for name, why in dropped.items() if name not in left]


def _owner(leaf: Leaf, given: Fields | None) -> str:
    """Return the field that a place holds by an option, a preset or its canonical name; "" if none.

    Texts hold none: ids are made of them, and lengths.
    """
    for name, place in given.places if given is not None else ():
        if singular(name) in SHARED or place == (Step(name),):
            continue
        if isinstance(place, Expression):
            if singular(name) != "response_length" and _is_within(leaf, place.text):  # which counts what others hold
                return singular(name)
        elif place == leaf.path:
            return singular(name)
    last = leaf.path[-1].key
    return singular(last) if last in NAMED and singular(last) not in SHARED else ""


def _is_within(leaf: Leaf, place: str) -> bool:
    """True if a place is that of a leaf, or an expression of it."""
    return place == leaf.place or bool(re.search(rf"(?<![\w.]){re.escape(leaf.expression)}(?![\w.])", place))


def _of_one(found: Sequence[Leaf], groups: Sequence[Hashable] | None) -> Guesses:
    rewards, remarks, weights = reward_guesses(found, groups)
    lengths, length_remarks = length_guesses(found)
    log_probs, log_prob_remarks = log_prob_guesses(found)
    log_probs, doubts = doubted_log_probs(log_probs, found)
    log_prob_remarks += doubts
    median = _median(found, lengths, log_probs)
    texts = [] if median is not None else text_guesses(found)
    guesses = [*rewards, *log_probs, *lengths, *texts]
    remarks = [*remarks, *log_prob_remarks, *length_remarks]
    return Guesses(tuple(guesses), tuple(remarks), tuple(weights), median)


def _of_several(found: Sequence[Leaf], container: str) -> Guesses:
    """Guess of records that hold all responses to a prompt, in a list of objects or in arrays."""
    within = of_responses(found, container)
    if not within:
        return Guesses((), ())
    sizes = next(leaf.values for leaf in found if place_text(leaf.path) == container)
    lines = [i for i, value in enumerate(sizes) for _ in (value if isinstance(value, list) else ())]
    return _of_one(within, lines)


def _worth(guesses: Guesses) -> tuple[bool, int]:
    """Prefer what has a reward, and then what has more fields."""
    return guesses.best("reward") is not None, sum(
        guesses.best(field) is not None for field in ("log_prob", "old_log_prob", "response_length")
    )


def _containers(found: Sequence[Leaf]) -> list[str]:
    """List the places whose lists may hold a value for each response to a prompt."""
    names = []
    for leaf in found:
        if leaf.says(LISTS) or len(leaf.path) != 1 or not leaf.is_everywhere:
            continue
        lists = all(isinstance(value, list) and value for value in leaf.present)
        if lists and any(len(value) > 1 for value in leaf.present):
            names.append(place_text(leaf.path))
    return names


def _prompts_within(found: Sequence[Leaf], container: str) -> Leaf | None:
    """Return what tells several prompts in one record apart, as where its arrays are columns; None if nothing does."""
    for leaf in of_responses(found, container):
        words = {word.removesuffix("s") for word in leaf.last}
        is_prompt = id_rank(leaf) == 2 or leaf.last == ("id",) or (leaf.are_strings and words & PROMPT_TEXT)
        if is_prompt and len(leaf.path) == 1:
            whole = next(each for each in found if each.path == leaf.path)
            if any(len({*map(str, value)}) > 1 for value in whole.present):
                return leaf
    return None


def _of_lines(found: Sequence[Leaf]) -> tuple[list[Guess], list[str]]:
    """Guess the prompts of records that hold all responses to one: each is a prompt, whatever its id."""
    flat = [leaf for leaf in found if not any(step.each for step in leaf.path)]
    ids = [
        (rank, leaf)
        for leaf in flat
        if may_be_id(leaf) and (rank := id_rank(leaf)) and len(leaf.counts) == len(leaf.values)
    ]
    if ids:
        rank, leaf = max(ids, key=lambda each: each[0])
        reason = "named like a prompt's id, another one in each record, which holds all responses to a prompt"
        return [Guess("prompt_id", "--field", leaf.place, "sure" if rank == 2 else "likely", reason)], []
    return [Guess("prompt_id", "--group", "line", "likely", "each record holds several responses")], []


def _keys(prompts: Sequence[Guess], found: Sequence[Leaf], step: Leaf | None) -> list[Hashable] | None:
    """Return what makes the prompt of each record by the best guess; None if none is confident."""
    best = next((each for each in prompts if each.is_confident), None)
    if best is None:
        return None
    rows = len(found[0].values)
    if best.option == "--group-size":
        return [i // int(best.value) for i in range(rows)]
    leaf = next((leaf for leaf in found if best.value in (leaf.place, f"digest({leaf.expression})")), None)
    return None if leaf is None else with_step(leaf, step)


def _median(found: Sequence[Leaf], lengths: Sequence[Guess], log_probs: Sequence[Guess]) -> int | None:
    """Return the median length, of the best guess or else of the lists of log-probs; None if neither is known."""
    best = next((each for each in (*lengths, *log_probs) if each.is_confident), None)
    for leaf in found:
        if best is not None and best.value in (leaf.place, f"length({leaf.expression})", f"kept({leaf.expression})"):
            if best.value.startswith("kept("):
                sizes = [sum(value) for value in leaf.present]
            else:
                sizes = [int(value) if not isinstance(value, list) else len(value) for value in leaf.present]
                if best in log_probs and not leaf.are_number_lists:
                    return None
            return sorted(sizes)[len(sizes) // 2] if sizes else None
    return None


def flags(
    found: Guesses, missing: Collection[str], given: Fields, functions: Sequence[str] = ()
) -> list[tuple[str, str]]:
    """Return the options, each with its value, that say where all missing fields are, or do without them.

    Where the prompt or the reward is not known for sure, that is the first of what it may be, or `PATH`.

    Args:
        found: what is guessed.
        missing: the required fields that nothing places yet.
        given: says whether log-probs and lengths are needed.
        functions: keys of rewards by function, which a preset knows; their weights are taken as 1.
    """
    chosen: list[tuple[str, str]] = []
    for name in ("prompt_id", "reward"):
        best = found.best(name) or next(iter(found.unsure(name)), None)
        if best is not None:
            chosen.append(_flag(best))
        elif name in missing and name == "reward" and functions:
            chosen.append(("--reward-weights", ",".join(f"{key}=1" for key in functions)))
        elif name in missing:
            chosen.append(("--field", f"{name}={PATH}"))
    log_probs = [each for name in ("log_prob", "old_log_prob") if (each := found.best(name)) is not None]
    chosen += map(_flag, log_probs)
    length = found.best("response_length")
    chosen += [_flag(each) for each in (length, found.best("step")) if each is not None]
    absent = {name for name in ("log_prob", "old_log_prob") if name in missing and found.best(name) is None}
    if absent and given.needs_log_probs:
        chosen.append(("--kl-coef", "0"))
    if "response_length" in missing and length is None and found.median_length is None and given.needs_length:
        chosen.append(("--budget-penalty-coef", "0"))
    return chosen


def _flag(best: Guess) -> tuple[str, str]:
    return best.option, f"{best.field}={best.value}" if best.option == "--field" else best.value


def doubt(found: Guesses) -> str:
    """Say after the options which of the prompt and the reward may be another, with what else it may be; "" if none."""
    unsure = [name for name in ("prompt_id", "reward") if found.unsure(name)]
    others = [quoted(_flag(each)[1]) for each in found.unsure("reward")[1:3]]
    such = f" (or {', '.join(others)})" if others else ""
    return f", though {' and '.join(unsure)} may be another{such}" if unsure else ""


def options(records: Sequence[Mapping[str, Any]], given: Fields) -> str:
    """Write the options that would read some records of which no field is placed yet: `--field prompt_id=qid …`."""
    found = guess(records, given=given)
    required = [name for name in KINDS if given.required(name) and not (name == "prompt_id" and given.group)]
    written = " ".join(f"{option} {quoted(value)}" for option, value in flags(found, required, given))
    return written + doubt(found)
