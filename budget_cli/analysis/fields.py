"""The first records of a dump and the places of its fields → which fields are present, and what cannot be computed.

The named tuples are the contract of `budget-cli fields --format json`.
"""

import contextlib
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from budget_cli.records import detection
from budget_cli.records.first_lengths import wrong_unit
from budget_cli.records.record import reason_to_leave_out, response_texts
from budget_cli.schema.fields import KINDS, LINE, WHERE, Fields, names_for
from budget_cli.schema.json_values import Foreign, Invalid, type_name
from budget_cli.schema.lookup import MISSING, root_keys, value_at
from budget_cli.schema.parsing import place_text
from budget_cli.schema.presets import Fit

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


def take_inventory(
    values: Sequence[Any],
    fields: Fields,
    preset: str,
    fits: Sequence[Fit],
    numbers: Sequence[str] = (),
    extras: Sequence[str] = (),
) -> Inventory:
    """Take the inventory of the values of some lines.

    Args:
        values: one per line.
        fields: the places of the fields.
        preset: name of the preset in use.
        fits: how well other presets fit.
        numbers: keys of numbers that might be rewards, if there is no total.
        extras: optional fields that are to be looked for, too.
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
    cannot = []
    if "reward" not in present:
        weights = f"--reward-weights {','.join(f'{name}=1' for name in numbers)} with the weights of the run, or "
        cannot.append(f"the loss: give {weights if numbers else ''}--field reward=…")
    if absent := [name for name in ("log_prob", "old_log_prob") if name not in present]:
        mappings = " ".join(f"--field {name}=…" for name in absent)
        cannot.append(f"--kl-coef: give 0, or map the log-probs with {mappings}")
    if "response_length" not in present and not any(_has_tokens(f) for f in found):
        cannot.append(
            "--budget-penalty-coef: give 0, or map the length with --field response_length=…, or count the tokens of"
            " response_text with --tokenizer path/to/tokenizer.json"
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
