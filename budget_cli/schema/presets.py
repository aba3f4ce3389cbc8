"""presets.toml and users' own files → the presets; some records → the preset that fits them.

A framework is a stanza of data, not code. Knows no bytes and prints nothing.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any, NamedTuple

from budget_cli.errors import UsageProblem, nearest
from budget_cli.schema import proposals, small_files
from budget_cli.schema.fields import EXTRAS, KINDS, WHERE, Fields, names_for
from budget_cli.schema.json_values import Invalid
from budget_cli.schema.lookup import MISSING, split_records, value_at
from budget_cli.schema.parsing import parse_place, place_text
from budget_cli.schema.paths import Place, traverses_list
from budget_cli.schema.small_files import shown

BUILT_IN = FilePath(__file__).with_name("presets.toml")
CANONICAL = "canonical"
CANONICAL_FIELDS = Fields()
SETTINGS = ("source", "detect", "unless", "document", "records", "group", "per_file", "skips", "leave_out")
EMPTY = "empty"  # in `leave_out`, the key that holds a reason in place of an expression
ROOM = 420  # characters of a refusal, which is cut at 500
ALL = "all"  # to --keep, every reason
REASON = "[a-z][a-z0-9-]*"
OPTIONAL = tuple(name for name in EXTRAS if name != "by")
NAMED = (*SETTINGS, *KINDS, *OPTIONAL)


class Preset(NamedTuple):
    """How the dumps of one framework are laid out; the head of presets.toml explains each setting."""

    name: str
    source: str
    detect: tuple[str, ...]  # places that every sample has
    unless: tuple[str, ...]  # places that no sample has
    places: tuple[tuple[str, str], ...]  # (canonical field, place as text)
    extras: tuple[tuple[str, str], ...] = ()  # the same for the optional fields
    records: str = ""
    group: str = ""
    skip_unscored: bool = False
    document: bool = False
    ids_are_per_file: bool = False
    leave_out: tuple[tuple[str, str], ...] = ()  # (reason, place as text)
    empty_reason: str = ""

    def apply_to(self, fields: Fields) -> Fields:
        """Return the fields as this preset places them; a field that it does not map keeps its canonical name."""
        read = {*fields.extras} | ({"response_text"} if fields.tokenizer is not None else set())
        wanted = [(name, place) for name, place in self.extras if name in read]
        mapped = fields.with_places({name: parse_place(place) for name, place in (*self.places, *wanted)})
        group = fields.group or self.group
        known = {name for name, _ in self.places} | ({"prompt_id"} if group else set())
        if known & {"log_prob", "old_log_prob"}:
            known.add("response_length")  # the number of log-probs gives it
        if fields.tokenizer is not None:
            known |= {name for name, _ in wanted}
        return replace(
            mapped,
            known=frozenset(known),
            records=self.records,
            group=group,
            id_file_prefix="" if self.ids_are_per_file else None,
            skip_unscored=self.skip_unscored,
            document=self.document,
            leave_out=fields.leave_out
            + tuple((reason, parse_place(place, is_condition=True)) for reason, place in self.leave_out),
            empty_reason=self.empty_reason,
        )

    @property
    def reasons(self) -> tuple[str, ...]:
        """The reasons for which samples are left out."""
        return (*(reason for reason, _ in self.leave_out), *filter(None, (self.empty_reason,)))

    def summary(self, fields: Fields) -> str:
        """Write `prompt_id←input, reward←score`: the places in `fields`, which may differ from those of this preset."""
        mapped, canonical = dict(self.places), CANONICAL_FIELDS.paths
        names = [name for name in KINDS if name in mapped or fields.paths[name] != canonical[name]]
        shown = {name: place_text(fields.paths[name]) for name in names}
        if fields.counts_every_text:
            shown["response_length"] = f"tokens of {place_text(fields.paths['response_text'])}"
        if fields.group:
            shown = {"prompt_id": f"each {fields.group}"} | {n: place for n, place in shown.items() if n != "prompt_id"}
        elif fields.id_file_prefix is not None:
            shown["prompt_id"] += " in each file"
        return ", ".join(f"{name}←{place}" for name, place in shown.items())


def load(files: Sequence[str] = ()) -> dict[str, Preset]:
    """Load the presets by name: those of the user's files, which take precedence, and the built-in ones.

    Raises:
        UsageProblem: a file cannot be read, is not TOML, or holds a stanza that is not a valid preset.
    """
    presets: dict[str, Preset] = {}
    for path in [*files, BUILT_IN]:
        for name, stanza in small_files.table("--presets", str(path)).items():
            presets.setdefault(name, _preset(str(path), name, stanza))
    return presets


def _preset(path: str, name: str, stanza: Any) -> Preset:
    where = f"--presets {path}: [{name}]"
    if not isinstance(stanza, dict):
        raise UsageProblem(f"{where}: expected a table, found {shown(stanza)}")
    for key in stanza:
        if key not in NAMED:
            near = nearest(key, NAMED)
            hint = f" (did you mean {near}?)" if near else f"; expected one of {', '.join(NAMED)}"
            raise UsageProblem(f"{where}: unknown key {key!r}{hint}")
    if stanza.get("group", "") not in ("", "line", "file"):
        raise UsageProblem(f"{where}: group: expected line or file, found {shown(stanza['group'])}")
    for key in ("document", "per_file", "skips"):
        if not isinstance(stanza.get(key, False), bool):
            raise UsageProblem(f"{where}: {key}: expected true or false, found {shown(stanza[key])}")
    for key in ("detect", "unless"):
        paths = stanza.get(key, [])
        if not isinstance(paths, list) or not all(isinstance(place, str) for place in paths):
            raise UsageProblem(f"{where}: {key}: expected a list of paths, found {shown(paths)}")
    for key in (*KINDS, *OPTIONAL, "records", "source"):
        if not isinstance(stanza.get(key, ""), str):
            what = "a text" if key == "source" else "a path or an expression"
            raise UsageProblem(f"{where}: {key}: expected {what}, found {shown(stanza[key])}")
    places = tuple((field, stanza[field]) for field in KINDS if field in stanza)
    left_out = stanza.get("leave_out", {})
    if not isinstance(left_out, dict) or not all(isinstance(place, str) for place in left_out.values()):
        raise UsageProblem(f'{where}: leave_out: expected a table of REASON = "EXPRESSION", found {shown(left_out)}')
    empty_reason = left_out.get(EMPTY, "")
    if empty_reason and stanza.get("records", "") in ("", "columns"):
        raise UsageProblem(f"{where}: leave_out: {EMPTY}: only a line that is a list of records can be empty")
    reasons = [reason for reason in left_out if reason != EMPTY] + [empty_reason] * bool(empty_reason)
    for reason in reasons:
        if not re.fullmatch(REASON, reason) or reason in (WHERE, ALL):
            raise UsageProblem(f"{where}: leave_out: {reason!r}: expected a name such as failed or no-reward")
    if path != str(BUILT_IN):
        _require_places(where, stanza)
    return Preset(
        name,
        stanza.get("source", path),
        tuple(stanza.get("detect", ())),
        tuple(stanza.get("unless", ())),
        places,
        tuple((field, stanza[field]) for field in OPTIONAL if field in stanza),
        stanza.get("records", ""),
        stanza.get("group", ""),
        stanza.get("skips", False),
        stanza.get("document", False),
        stanza.get("per_file", False),
        tuple((reason, place) for reason, place in left_out.items() if reason != EMPTY),
        empty_reason,
    )


def _require_places(where: str, stanza: Mapping[str, Any]) -> None:
    """Check that every place in a user's preset can be parsed; those of presets.toml are checked by a test.

    Raises:
        UsageProblem: one cannot.
    """
    from budget_cli.schema import containers  # which few presets need

    written_places = [(key, place) for key in ("detect", "unless") for place in stanza.get(key, [])]
    written_places += [(field, stanza[field]) for field in (*KINDS, *OPTIONAL) if field in stanza]
    written_places += [
        (f"leave_out.{reason}", place) for reason, place in stanza.get("leave_out", {}).items() if reason != EMPTY
    ]
    if stanza.get("records", "") not in ("", "columns") and containers.parse(stanza["records"]) is None:
        written_places.append(("records", stanza["records"]))  # an expression, or a mistake
    for key, place in written_places:
        try:
            parsed = parse_place(place, is_condition=key.startswith("leave_out"))
        except UsageProblem as problem:
            raise UsageProblem(f"{where}: {key}: {problem}") from None
        if key == "prompt_id" and traverses_list(parsed):
            raise UsageProblem(f"{where}: {key}: a prompt id is a single value, so its path cannot contain []")


def find(name: str, presets: Mapping[str, Preset]) -> Preset:
    """Return the preset of this name.

    Raises:
        UsageProblem: there is none.
    """
    if name not in presets:
        near = nearest(name, presets)
        hint = f" (did you mean {near}?)" if near else f"; expected one of {', '.join(presets)}"
        raise UsageProblem(f"--preset: unknown preset {name!r}{hint}")
    return presets[name]


class Fit(NamedTuple):
    """How well a preset fits some records."""

    preset: Preset
    missing: tuple[str, ...]  # the conditions of the preset that the records do not meet

    @property
    def fits(self) -> bool:
        """True if the records meet every condition."""
        return not self.missing

    @property
    def is_near(self) -> bool:
        """True if the records meet more than half of the conditions, but not all."""
        return 0 < len(self.missing) * 2 < len(self.preset.detect)


def rank(values: Sequence[Any], presets: Mapping[str, Preset]) -> list[Fit]:
    """Rank the detectable presets by how well the values of some lines fit them, best first."""
    ranked = []
    for preset in presets.values():
        if preset.detect:
            fit = Fit(preset, tuple(_missing(values[:2], preset)))  # more records cannot fit better
            ranked.append(Fit(preset, tuple(_missing(values, preset))) if fit.fits or fit.is_near else fit)
    return sorted(ranked, key=lambda fit: (len(fit.missing), -len(fit.preset.detect)))


def choose(
    values: Sequence[Any], presets: Mapping[str, Preset], given: Fields = CANONICAL_FIELDS, some_mapped: bool = False
) -> Preset | None:
    """Choose the one preset that some records fit; None if their fields are where `given` says.

    Args:
        values: the values of the first lines.
        presets: the candidates by name.
        given: the places of fields by their canonical names and the user's mappings.
        some_mapped: True if the user mapped some fields; the others may then have their canonical names.

    Raises:
        UsageProblem: no preset fits, or several do; the message names those that nearly fit and the options that help.
    """
    if any(is_canonical(value, given) for value in values):
        return None
    must_choose = not some_mapped or not any(has_required(value, given) for value in values)
    ranked = rank(values, presets)
    fitting = [fit.preset for fit in ranked if fit.fits]
    best = [preset for preset in fitting if not any(set(preset.detect) < set(other.detect) for other in fitting)]
    if len(best) == 1:
        return best[0]
    if best and must_choose:
        names = " and ".join(preset.name for preset in best)
        raise UsageProblem(f"these records fit {names}: name one, as in --preset {best[0].name}")
    if some_mapped:
        return None
    near = [f"{fit.preset.name} (but for {', '.join(fit.missing)})" for fit in ranked if fit.is_near][:3]
    keys = next((list(value)[:12] for value in values if isinstance(value, dict)), [])
    found = f"found {', '.join(keys)}" if keys else "no record is an object"
    from budget_cli.schema.guesses import options  # only for a refusal

    records = [value for value in values if isinstance(value, dict)]
    if records and (side_file := proposals.no_dump(records[0])):
        raise UsageProblem(f"this is no dump but {side_file}")
    if records and (choice := proposals.a_choice(records[0])):
        ways = options(records, given)
        raise UsageProblem(f"{choice}, so no loss over these is the trainer's; if yours kept all, give {ways}")
    nearest = f"; nearest: {', '.join(near)}" if near else ""
    ways = f"give {options(records, given)}, or --preset NAME"
    if len(found) + len(nearest) + len(ways) > ROOM:  # the options come last, and half of them would not help
        found, nearest = found[: max(ROOM - len(ways), 60)] + "…", ""
    if len(ways) > ROOM:
        ways = "budget-cli fields shows the options that place its fields"
    raise UsageProblem(f"no prompt_id and reward, and no preset fits ({found}){nearest}; {ways}")


def is_canonical(value: Any, given: Fields = CANONICAL_FIELDS) -> bool:
    """True if a record has a `prompt_id`, a name that no framework uses, and a reward at its given place."""
    rewards = (given.paths[name] for name in names_for("reward"))
    return isinstance(value, dict) and "prompt_id" in value and any(_is_at(value, place) for place in rewards)


def has_required(value: Any, given: Fields) -> bool:
    """True if a record has, at their given places, the two fields that every command needs."""
    return (bool(given.group) or _has_field(value, "prompt_id", given)) and _has_field(value, "reward", given)


def has_reward(value: Any, given: Fields) -> bool:
    """True if a record has a reward at its given place."""
    return _has_field(value, "reward", given)


def _has_field(value: Any, field: str, given: Fields) -> bool:
    return any(_is_at(value, given.paths[name]) for name in names_for(field))


def _missing(values: Sequence[Any], preset: Preset) -> list[str]:
    """List the conditions that some sample fails: a place in `detect` is missing, one in `unless` is there."""
    samples = list(values)
    if preset.records:  # only then: to parse the places of every preset takes 8 ms
        fields = preset.apply_to(Fields())
        try:
            samples = [sample for value in values for sample in split_records(value, fields)]
        except Invalid:
            return list(preset.detect)
    if preset.skip_unscored and len(samples) > 1:
        samples = samples[1:]
    if not samples:
        return list(preset.detect)
    required = {text: parse_place(text) for text in preset.detect}
    excluded = {text: parse_place(text) for text in preset.unless}
    missing = [text for text, place in required.items() if not all(_is_at(sample, place) for sample in samples)]
    return missing + [
        f"no {text}" for text, place in excluded.items() if any(_is_at(sample, place) for sample in samples)
    ]


def _is_at(sample: Any, place: Place) -> bool:
    try:
        return value_at(sample, place) is not MISSING
    except Invalid:
        return False
