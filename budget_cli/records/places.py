"""The first values of a dump → the place of the records in them, where they are no records themselves.

A place is found, not guessed: it is the only one whose objects have a reward and the id of a prompt, or fit a preset.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from budget_cli.errors import InputProblem, UsageProblem
from budget_cli.records.detection import Sniffed, presets_for
from budget_cli.schema import containers, presets
from budget_cli.schema.candidates import SPLITS, Candidate, by_key, candidates, inner_candidates
from budget_cli.schema.containers import Through, Way
from budget_cli.schema.fields import Fields
from budget_cli.schema.guesses import PATH, guess, options
from budget_cli.schema.json_values import Invalid
from budget_cli.schema.lookup import NotASample, field_value
from budget_cli.schema.parsing import parse_place
from budget_cli.schema.paths import GROUP, Step
from budget_cli.schema.presets import CANONICAL_FIELDS, Preset
from budget_cli.schema.proposals import quoted

Opened = tuple[Sniffed, Sniffed]  # the first values, as a document if they are one; the records in their place
ENOUGH = 20  # lines that show whether a preset fits
GROUP_PLACE = (Step(GROUP),)


def within(start: Sniffed, place: str, where: str) -> Opened:
    """Take the records out of the values at a place that the user names.

    Raises:
        UsageProblem: there are none.
    """
    try:
        inner = start.within(place) if start.values else start
    except (Invalid, NotASample) as bad:
        why = (
            f"{bad.field}: {bad.message}"
            if isinstance(bad, Invalid) and bad.field
            else str(getattr(bad, "message", ""))
        )
        there = [one.place for one in candidates(start.values[0])]
        hint = f"; there are objects in {' and '.join(there[:3])}" if there else ""
        raise UsageProblem(f"--records {place}: {where}: {why or 'no such list'}{hint}") from None
    return _as_document(start), inner


def left_out(start: Sniffed, inner: Sniffed) -> list[str]:
    """Return the places of what is beside the lists of records under any key, in the first values."""
    ways = containers.parse(inner.records)
    if ways is None or all(way.through is not Through.MEMBERS for way in ways):
        return []
    return list(dict.fromkeys(place for value in start.values for place in containers.left_out(value, ways)))


def find(
    start: Sniffed,
    given: Fields,
    known: Mapping[str, Preset],
    named: Preset | None,
    where: str,
    any_place: bool = False,
) -> Opened:
    """Find the records in the first values.

    Args:
        start: the first values.
        given: the places of fields by their canonical names and the user's mappings.
        known: the presets that may fit.
        named: the preset that the user names.
        where: what the values are of, for messages.
        any_place: True to take the only place with objects even where their fields are not known yet.

    Raises:
        UsageProblem: the user must say where the records, or their fields, are.
        InputProblem: a document holds none.
    """
    are_lists = all(isinstance(value, list) for value in start.values)
    if not start.values or start.is_table:
        return start, start
    is_document = start.may_be_document or are_lists
    if not is_document and not all(isinstance(value, dict) for value in start.values):
        return start, start
    if named is not None and (named.records or named.document):
        return start, start
    first = start.values[0]
    if isinstance(first, dict) and presets.has_required(first, given):
        return start, start
    some = start.values if is_document else start.values[:ENOUGH]  # lines of a preset are ranked again, all of them
    if named is None and any(fit.fits for fit in presets.rank(some, presets_for(start, known))):
        return start, start
    found, is_told = candidates(first) if is_document else [], False
    fitting = [one for one in found if _fits(one, given, known, named)]
    if named is None and not given.group and not fitting:
        try:
            apart = by_key(first) if is_document else []
        except Invalid as bad:
            why = f"{bad.field}: {bad.message}, beside lists of records"
            raise UsageProblem(
                f"{where}: {why}: make it a list, or name one, as in --records '{found[0].place}'"
            ) from None
        if apart and _is_prompt_by_list(apart[0].records, given):
            found, fitting, is_told = apart, [one for one in apart if _fits(one, given, known, None)], True
        elif apart and _names_prompts(apart[0].own, apart[0].lists, given):
            found, is_told = apart, True
        elif nested := _with_own_prompts(start, are_lists, given):
            found, fitting, is_told = nested, [one for one in nested if _has_required(one.own, given)], True
    if not is_document and not found:
        return start, start
    if len(fitting) > 1:
        places = [one.place for one in fitting]
        raise UsageProblem(
            f"{where}: there are records in {' and in '.join(places[:3])}: name one, as in --records '{places[0]}'"
        )
    if is_told and not fitting and not (any_place and len(found) == 1):
        one = found[0]
        holds = "a JSON document" if start.may_be_document else "lines"
        raise UsageProblem(
            f"{where}: {holds} with records in {one.place}: give --records {quoted(one.place)} {_options(one, given)}"
        )
    if not fitting and start.may_be_document and not (any_place and len(found) == 1):
        _refuse(start, found, given, where)
        return start, start  # one record on one line
    if not (fitting or found):
        return start, start
    place = (fitting or found)[0].place
    start, inner = _as_document(start), start.within(place)
    _require_one_dump(inner, _placed(inner.values, given, known, named), where)
    return start, inner


def _with_own_prompts(start: Sniffed, are_lists: bool, given: Fields) -> list[Candidate]:
    """Find the lists within the objects of a list whose records name several prompts, which the objects do not.

    There are none where the objects have rewards, by a guess, too: the lists may be of a rollout's turns.
    """
    is_document = start.may_be_document or are_lists
    outer = candidates(start.values[0]) if is_document else []
    objects = [record for one in outer for record in one.own] if is_document else start.values
    if any(presets.has_reward(each, given) or field_value(each, given, "prompt_id") is not None for each in objects):
        return []
    inner = inner_candidates(start.values, is_document)
    told = [one for one in inner if _has_required(one.own, given) or _names_prompts(one.own, one.lists, given)]
    reward = guess([each for each in objects if isinstance(each, dict)]).best("reward") if told else None
    return [] if reward is not None and reward.field == "reward" else told


def _has_required(records: Sequence[Any], given: Fields) -> bool:
    return any(presets.has_required(record, given) for record in records)


def _names_prompts(own: Sequence[Mapping[str, Any]], lists: Sequence[Hashable], given: Fields) -> bool:
    """True if the best guess of a prompt id differs within a list, and comes back in it: it is no index."""
    best = guess(own).best("prompt_id")
    if best is None or best.option != "--field":
        return False
    placed = given.with_places({"prompt_id": parse_place(best.value)})
    found: dict[Hashable, list[str]] = {}
    for of_list, record in zip(lists, own, strict=True):
        found.setdefault(of_list, []).append(repr(field_value(record, placed, "prompt_id")))
    return any(1 < len(set(ids)) < len(ids) for ids in found.values())


def fields_within(inner: Sniffed, fields: Fields, folder: str) -> Fields:
    """Return the fields with the lists that records are in as their prompts, where they have no ids.

    Args:
        inner: the records that were found in the first values.
        fields: the places of fields by their canonical names and the user's mappings.
        folder: what the names of all files begin with, which is no part of the id of a list.
    """
    if fields.group or not _is_prompt_by_list(inner.values, fields):
        return fields
    fields = fields.with_places({"prompt_id": GROUP_PLACE})
    first = next(record[GROUP] for record in inner.values if isinstance(record, dict))
    parts = first if isinstance(first, list) else [first]
    by_index = any(isinstance(part, int) for part in parts)  # as in every other file
    return replace(fields, id_file_prefix=folder) if by_index else fields


def _as_document(start: Sniffed) -> Sniffed:
    return start._replace(is_document=start.may_be_document)


def _is_prompt_by_list(records: Sequence[Any], given: Fields) -> bool:
    """True if records come from several lists and none has the id of a prompt, for which there is no place given.

    Nor is there one by another name, of several prompts in one list.
    """
    objects = [record for record in records if isinstance(record, dict)]
    place = given.paths["prompt_id"]
    if not objects or GROUP not in objects[0] or place != CANONICAL_FIELDS.paths["prompt_id"]:
        return False
    if any(field_value(record, given, "prompt_id") is not None for record in objects):
        return False
    own = [{key: value for key, value in record.items() if key != GROUP} for record in objects]
    return not _names_prompts(own, [repr(record[GROUP]) for record in objects], given)


def _fits(one: Candidate, given: Fields, known: Mapping[str, Preset], named: Preset | None) -> bool:
    if named is not None:
        return not named.detect or any(fit.fits for fit in presets.rank(one.records, {named.name: named}))
    if any(presets.has_required(record, given) for record in one.records):
        return True
    if _is_prompt_by_list(one.records, given) and any(presets.has_reward(record, given) for record in one.records):
        return True
    return _preset_of(one.records, known) is not None


def _preset_of(records: Sequence[Any], known: Mapping[str, Preset]) -> Preset | None:
    flat = presets_for(Sniffed(list(records), records="[]"), known)
    return next((fit.preset for fit in presets.rank(records, flat) if fit.fits), None)


def _placed(records: Sequence[Any], given: Fields, known: Mapping[str, Preset], named: Preset | None) -> Fields:
    """Return the places of fields in these records."""
    if any(isinstance(record, dict) and presets.has_required(record, given) for record in records):
        return given
    preset = named or _preset_of(records, known)
    return given if preset is None else preset.apply_to(given)


def _options(one: Candidate, given: Fields) -> str:
    """Write the options that place the fields of some records, whose prompts may be the lists that they are in."""
    by_list = _is_prompt_by_list(one.records, given)
    return options(one.own, replace(given, group="line") if by_list else given)


def _refuse(start: Sniffed, found: list[Candidate], given: Fields, where: str) -> None:
    """Refuse a document in which no place fits, unless it may be one record on one line.

    Raises:
        UsageProblem: the options that place the fields of its records.
        InputProblem: there are no records.
    """
    first = start.values[0]
    if first == {}:
        raise InputProblem(where, "a JSON document that is empty, {}: expected records")
    is_record = isinstance(first, dict) and start.is_alone
    if is_record and (not found or PATH not in options([first], given)):
        return
    if not found:
        what = "an object" if isinstance(first, dict) else "a list"
        raise InputProblem(where, f"a JSON document, {what} without records in it: expected a list of objects")
    placed = [one for one in found if PATH not in _options(one, given)]
    if len(placed) == 1 or len(found) == 1:
        one = (placed or found)[0]
        choice = "" if len(found) == 1 else f" --records '{one.place}'"
        held = f"a JSON document with a list of {one.total} records: give{choice} {_options(one, given)}"
        raise UsageProblem(f"{where}: {held}, or --preset NAME")
    lists = ", ".join(one.place for one in found[:3])
    raise UsageProblem(
        f"{where}: a JSON document with objects in {lists}, none with a prompt_id and a reward:"
        f" give --records '{found[0].place}' {_options(found[0], given)}"
    )


def _require_one_dump(inner: Sniffed, placed: Fields, where: str) -> None:
    """Refuse to read several lists as one dump if they may be several.

    Raises:
        UsageProblem: the lists are named like splits, or the id of a prompt is in two of them, at the same step.
    """
    records = [record for record in inner.values if isinstance(record, dict) and GROUP in record]
    labels = list(dict.fromkeys(str(part) for record in records for part in _parts(record[GROUP])))
    ways = containers.parse(inner.records)
    assert ways is not None
    if any(label.lower() in SPLITS for label in labels):
        one, other = (_one_of(ways, label) for label in [*labels, *labels][:2])
        raise UsageProblem(f"{where}: there are records in {one} and in {other}: name one, as in --records '{one}'")
    of_id: dict[str, Any] = {}
    for record in records:
        value, step = (field_value(record, placed, name) for name in ("prompt_id", "step"))
        if value is None or placed.paths["prompt_id"] == GROUP_PLACE:
            continue
        group = of_id.setdefault(repr((step, value)), record[GROUP])
        if group != record[GROUP]:
            raise UsageProblem(
                f"{where}: the prompt {value!r:.40} is in two lists of {inner.records} ({_shown(group)},"
                f" {_shown(record[GROUP])}): give --field step=_group if each list is a step of its own, or --records"
                f" '{inner.records}' if they belong together"
            )


def _parts(group: Any) -> list[Any]:
    return group if isinstance(group, list) else [group]


def _shown(group: Any) -> str:
    return containers.place_of(tuple(_parts(group)))


def _one_of(ways: Sequence[Way], label: str) -> str:
    """Write the place of the one list under this key."""
    at = next((i for i, way in enumerate(ways) if way.through is Through.MEMBERS), 0)
    return containers.written([*ways[:at], Way(Through.KEY, label), *ways[at + 1 :]])
