"""The first records of a dump and the places of its fields → which fields are present, and what cannot be computed.

The named tuples are the contract of `budget-cli fields --format json`.
"""

import contextlib
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from budget_cli.analysis.loss import ObjectiveGiven
from budget_cli.records import detection
from budget_cli.records.first_lengths import wrong_unit
from budget_cli.records.record import reason_to_leave_out, response_texts
from budget_cli.schema.fields import KINDS, LINE, WHERE, Fields, names_for
from budget_cli.schema.guessed_prompts import Guess
from budget_cli.schema.guesses import Guesses, guess
from budget_cli.schema.json_values import Foreign, Invalid, type_name
from budget_cli.schema.lookup import MISSING, field_value, root_keys, value_at
from budget_cli.schema.parsing import place_text
from budget_cli.schema.presets import Fit
from budget_cli.schema.proposals import quoted

SCHEMA = "budget-cli/fields/1"
EXAMPLE = 60  # characters of an example value


TOKENS_OF = "tokens of "  # before the place of the text that a tokenizer counts


class FieldCoverage(NamedTuple):
    """A canonical field: its place, and the number of samples that have it."""

    name: str
    place: str | None  # None: dumps of this kind do not have it
    samples: int
    example: Any


class LeftOutSamples(NamedTuple):
    """A reason to leave samples out, and the number of samples for which it is the first."""

    reason: str
    place: str  # it is left out where this is true
    samples: int


class Inventory(NamedTuple):
    """The fields of the first samples."""

    preset: str
    records: int  # lines looked at
    samples: int  # responses, or prompts with their arrays
    fields: tuple[FieldCoverage, ...]
    near: tuple[str, ...]  # presets that would fit except for one or two paths
    unused: tuple[str, ...]  # keys of the samples that no field uses
    cannot: tuple[str, ...]  # what cannot be computed, and what to give
    warnings: tuple[str, ...]  # fields whose values are suspicious
    left_out: tuple["LeftOutSamples", ...] = ()  # what the preset and --where leave out
    missing: tuple[str, ...] = ()  # required fields that no sample has
    guesses: tuple[Guess, ...] = ()  # of the fields that are missing, the best of each first
    not_known: tuple[str, ...] = ()  # FIELD, FIELD: why nothing is guessed, or what only looks like it
    command: str = ""  # that computes the loss, ready to be pasted
    objective: ObjectiveGiven | None = None  # which the framework trains with by default; None: not known here


class Proposal(NamedTuple):
    """What is missing, and what is guessed of it."""

    missing: tuple[str, ...] = ()  # required fields that no sample has
    guesses: Guesses = Guesses((), ())
    length: int | None = None  # tokens: the median, where lengths are known or guessed


NOTHING = Proposal()


def propose(values: Sequence[Any], fields: Fields, functions: Sequence[str]) -> Proposal:
    """Guess the fields that the values of some lines do not have at their places.

    Args:
        values: one per line.
        fields: the places of the fields.
        functions: keys of numbers that are rewards by function, if there is no total.
    """
    samples = detection.samples(values, fields)
    found = [_coverage(samples, fields, name) for name in KINDS]
    by_token = any(_has_tokens(each) for each in found)
    missing = tuple(
        each.name for each in found if not each.samples and (each.name != "response_length" or not by_token)
    )
    lengths = [length for sample in samples if (length := _length(sample, fields)) is not None]
    if lengths and not any(lengths):
        lengths, missing = [], (*missing, "response_length")
    known = {*KINDS} - {*missing} | ({"reward"} if functions else set())
    guesses = guess(samples, known, fields) if missing else Guesses((), ())
    return Proposal(missing, guesses, sorted(lengths)[len(lengths) // 2] if lengths else guesses.median_length)


def _length(sample: dict[str, Any], fields: Fields) -> int | None:
    """Return the tokens of a response: as given, or of its log-probs, or counted; None if it does not tell."""
    length = field_value(sample, fields, "response_length")
    if isinstance(length, int | float):
        return int(length)
    tokens = field_value(sample, fields, "log_prob")
    if isinstance(tokens, list) and tokens:
        return sum(len(each) if isinstance(each, list) else 1 for each in tokens)
    texts = response_texts(sample, fields)
    return sum(fields.tokenizer.count(texts)) if texts is not None and fields.tokenizer is not None else None


def take_inventory(
    values: Sequence[Any],
    fields: Fields,
    preset: str,
    fits: Sequence[Fit],
    functions: Sequence[str] = (),
    extras: Sequence[str] = (),
    proposal: Proposal = NOTHING,
) -> Inventory:
    """Take the inventory of the values of some lines.

    Args:
        values: one per line.
        fields: the places of the fields.
        preset: name of the preset in use.
        fits: how well other presets fit.
        functions: keys of numbers that are rewards by function, if there is no total.
        extras: optional fields that are to be looked for, too.
        proposal: what is guessed of the fields that are missing.
    """
    samples = detection.samples(values, fields)
    found = [_coverage(samples, fields, name) for name in (*KINDS, *extras)]
    places = [fields.paths[n] for found_one in found if found_one.samples for n in names_for(found_one.name)]
    if any((f.place or "").startswith(TOKENS_OF) for f in found):
        places.append(fields.paths["response_text"])
    read = {root for place in places for root in root_keys(place)} | {place_text(place) for place in places}
    keys = dict.fromkeys(key for sample in samples for key in sample if key != LINE)
    unused = tuple(key for key in keys if key not in read)
    present = {f.name for f in found if f.samples}
    guesses = proposal.guesses
    cannot = []
    if "prompt_id" not in present and guesses.best("prompt_id") is None:
        by_place = "--group-size N, the responses to a prompt one after another"
        cannot.append(f"the loss: give --field prompt_id=…, or {by_place}")
    if "reward" not in present and guesses.best("reward") is None:
        names = functions or guesses.weights
        weights = f"--reward-weights {quoted(','.join(f'{name}=1' for name in names))} with the weights of the run, or "
        cannot.append(f"the loss: give {weights if names else ''}--field reward=…")
    absent = [name for name in ("log_prob", "old_log_prob") if name not in present and guesses.best(name) is None]
    if absent:
        mappings = " ".join(f"--field {name}=…" for name in absent)
        cannot.append(f"--kl-coef: give 0, or map the log-probs with {mappings}")
    if "response_length" not in present and not any(_has_tokens(f) for f in found) and guesses.median_length is None:
        text = guesses.best("response_text")
        place = "" if text is None else f" --field {quoted(f'{text.field}={text.value}')}"
        cannot.append(
            "--budget-penalty-coef: give 0, or map the length with --field response_length=…, or count the tokens of"
            f" {'response_text' if text is None else text.value} with --tokenizer path/to/tokenizer.json{place}"
        )
    unit = wrong_unit(samples, fields)
    doubts = [] if unit is None else [str(unit)]
    if _all_zero(samples, fields):
        doubts.append("response_length is 0 in every sample, so it is not a token count")
    near = tuple(f"{fit.preset.name} (but for {', '.join(fit.missing)})" for fit in fits if fit.is_near)
    return Inventory(
        preset,
        len(values),
        len(samples),
        tuple(found),
        near[:3],
        unused,
        tuple(cannot),
        tuple(doubts),
        _left_out(values, samples, fields),
        proposal.missing,
        guesses.guesses,
        guesses.remarks,
    )


def _left_out(values: Sequence[Any], samples: Sequence[dict[str, Any]], fields: Fields) -> tuple[LeftOutSamples, ...]:
    counts: Counter[str | None] = Counter()
    for sample in samples:
        with contextlib.suppress(Invalid):
            counts[reason_to_leave_out(sample, fields)] += 1
    found = [
        LeftOutSamples(reason, f"!({place_text(place)})" if reason == WHERE else place_text(place), counts[reason])
        for reason, place in fields.leave_out
    ]
    if fields.empty_reason:
        empty = sum(detection.records_of(value, fields) == [] for value in values)
        found.append(LeftOutSamples(fields.empty_reason, f"no {fields.records}", empty))
    return tuple(found)


def _coverage(samples: Sequence[Any], fields: Fields, name: str) -> FieldCoverage:
    if name == "prompt_id" and fields.group:
        return FieldCoverage(name, f"each {fields.group}", len(samples), None)
    names = ("rewards",) if name == "reward" and fields.scored_by == "rewards" else names_for(name)
    count, example, place = 0, None, fields.paths[names[0]]
    for sample in samples:
        for candidate in (fields.paths[each] for each in names):
            try:
                value = value_at(sample, candidate)
            except Invalid:
                continue
            if value is not MISSING and value is not None:
                count += 1
                example, place = (value, candidate) if example is None else (example, place)
                break
    if name == "response_length" and not count and fields.tokenizer is not None:
        texts = sum(response_texts(sample, fields) is not None for sample in samples)
        if texts:
            return FieldCoverage(name, TOKENS_OF + place_text(fields.paths["response_text"]), texts, None)
    return FieldCoverage(name, place_text(place) if count or name in fields.known else None, count, _example(example))


def _all_zero(samples: Sequence[Any], fields: Fields) -> bool:
    try:
        lengths = [value_at(sample, fields.paths["response_length"]) for sample in samples]
    except Invalid:
        return False
    return len(lengths) > 1 and all(length == 0 and not isinstance(length, bool) for length in lengths)


def _has_tokens(found: FieldCoverage) -> bool:
    """Return True if the values are lists of per-token log-probs, whose number gives the length."""
    return (
        found.name in ("log_prob", "old_log_prob") and isinstance(found.example, str) and found.example.startswith("[")
    )


def _example(value: Any) -> Any:
    """Return the value; if it is long, its beginning as text."""
    if isinstance(value, list):
        try:
            shown = ", ".join(str(element) for element in value[:3])
        except RecursionError:
            shown = "nested too deeply to be shown"
        return f"[{shown}{', …' if len(value) > 3 else ''}] ({len(value)} in all)"[:EXAMPLE]
    if isinstance(value, dict):
        return f"{{{', '.join(value)}}}"[:EXAMPLE]
    if isinstance(value, Foreign):
        return type_name(value)
    return value if not isinstance(value, str) or len(value) <= EXAMPLE else value[: EXAMPLE - 1] + "…"
