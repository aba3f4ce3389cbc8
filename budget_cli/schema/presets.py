"""presets.toml, and a user's own → where the fields of a framework's dump are, and which preset some records fit.

Data, not code: a framework is a stanza. Knows no bytes and prints nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path as FilePath
from typing import Any, NamedTuple

from budget_cli.errors import UsageProblem
from budget_cli.schema.fields import EXTRAS, KINDS, Fields, names_for
from budget_cli.schema.json_values import Invalid
from budget_cli.schema.lookup import MISSING, split_records, value_at
from budget_cli.schema.parsing import parse_place, place_text
from budget_cli.schema.paths import Place

BUILT_IN = FilePath(__file__).with_name("presets.toml")
CANONICAL = "canonical"
CANONICAL_FIELDS = Fields()
SETTINGS = ("source", "detect", "unless", "document", "records", "group", "per_file", "skips")
OPTIONAL = tuple(name for name in EXTRAS if name != "by")
NAMED = (*SETTINGS, *KINDS, *OPTIONAL)


class Preset(NamedTuple):
    """A framework's dump."""

    name: str
    source: str
    detect: tuple[str, ...]  # paths that every sample has
    unless: tuple[str, ...]  # paths that no sample has
    places: tuple[tuple[str, str], ...]  # canonical field, and where it is
    extras: tuple[tuple[str, str], ...] = ()  # the same of what is only read if asked for
    records: str = ""
    group: str = ""
    skip_unscored: bool = False
    document: bool = False
    ids_are_per_file: bool = False

    def apply_to(self, fields: Fields) -> Fields:
        """The fields of such a dump; what it does not hold stays under its canonical name."""
        wanted = [(name, place) for name, place in self.extras if name in fields.extras]
        mapped = fields.with_mappings([f"{name}={place}" for name, place in (*self.places, *wanted)])
        group = fields.group or self.group
        known = {name for name, _ in self.places} | ({"prompt_id"} if group else set())
        if known & {"log_prob", "old_log_prob"}:
            known.add("response_length")  # as many tokens as they are of
        return replace(
            mapped,
            known=frozenset(known),
            records=self.records,
            group=group,
            id_file_prefix="" if self.ids_are_per_file else None,
            skip_unscored=self.skip_unscored,
            document=self.document,
        )

    def summary(self, fields: Fields) -> str:
        """`prompt_id←input, reward←score`, for one line on standard error; `fields`: with what was put on top."""
        of_preset, canonical = dict(self.places), dict(Fields().places)
        names = [name for name in KINDS if name in of_preset or fields.paths[name] != canonical[name]]
        said = {name: place_text(fields.paths[name]) for name in names}
        if fields.group:
            said = {"prompt_id": f"each {fields.group}"} | {n: place for n, place in said.items() if n != "prompt_id"}
        elif fields.id_file_prefix is not None:
            said["prompt_id"] += " in each file"
        return ", ".join(f"{name}←{place}" for name, place in said.items())


def load(files: Sequence[str] = ()) -> dict[str, Preset]:
    """The presets by name: the built-in ones, and those of the user's own files, which come first.

    Raises:
        UsageProblem: a file that is no TOML, or a stanza that is none of a preset.
    """
    import tomllib  # a millisecond of every start

    presets: dict[str, Preset] = {}
    for path in [*files, BUILT_IN]:
        try:
            stanzas = tomllib.loads(FilePath(str(path)).read_text(encoding="utf-8"))
        except OSError as error:
            raise UsageProblem(f"--presets {path}: cannot be read: {error.strerror}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UsageProblem(f"--presets {path}: not TOML: {error}") from None
        for name, stanza in stanzas.items():
            presets.setdefault(name, _preset(str(path), name, stanza))
    return presets


def _preset(path: str, name: str, stanza: Any) -> Preset:
    where = f"--presets {path}: [{name}]"
    if not isinstance(stanza, dict):
        raise UsageProblem(f"{where}: expected a table, found {stanza!r}")
    for key in stanza:
        if key not in NAMED:
            close = get_close_matches(key, NAMED, n=1)
            hint = f" (did you mean {close[0]}?)" if close else f"; there are {', '.join(NAMED)}"
            raise UsageProblem(f"{where}: nothing is called {key!r}{hint}")
    if stanza.get("group", "") not in ("", "line", "file"):
        raise UsageProblem(f"{where}: group: expected line or file, found {stanza['group']!r}")
    for key in ("detect", "unless"):
        paths = stanza.get(key, [])
        if not isinstance(paths, list) or not all(isinstance(place, str) for place in paths):
            raise UsageProblem(f"{where}: {key}: expected a list of paths, found {paths!r}")
    for key in (*KINDS, *OPTIONAL):
        if not isinstance(stanza.get(key, ""), str):
            raise UsageProblem(f"{where}: {key}: expected a path or an expression, found {stanza[key]!r}")
    places = tuple((field, stanza[field]) for field in KINDS if field in stanza)
    if path != str(BUILT_IN):
        _require_places(where, stanza)
    return Preset(
        name,
        str(stanza.get("source", path)),
        tuple(stanza.get("detect", ())),
        tuple(stanza.get("unless", ())),
        places,
        tuple((field, stanza[field]) for field in OPTIONAL if field in stanza),
        str(stanza.get("records", "")),
        str(stanza.get("group", "")),
        bool(stanza.get("skips", False)),
        bool(stanza.get("document", False)),
        bool(stanza.get("per_file", False)),
    )


def _require_places(where: str, stanza: Mapping[str, Any]) -> None:
    """That every place in a user's preset is one."""
    written_places = [(key, place) for key in ("detect", "unless") for place in stanza.get(key, [])]
    written_places += [(field, stanza[field]) for field in KINDS if field in stanza]
    if stanza.get("records", "") not in ("", "[]", "columns"):
        written_places.append(("records", stanza["records"]))
    for key, place in written_places:
        try:
            parse_place(place)
        except UsageProblem as problem:
            raise UsageProblem(f"{where}: {key}: {problem}") from None


def find(name: str, presets: Mapping[str, Preset]) -> Preset:
    """The preset of this name.

    Raises:
        UsageProblem: there is none.
    """
    if name not in presets:
        close = get_close_matches(name, presets, n=1)
        hint = f" (did you mean {close[0]}?)" if close else f"; there are {', '.join(presets)}"
        raise UsageProblem(f"--preset: none is called {name!r}{hint}")
    return presets[name]


class Fit(NamedTuple):
    """How well a preset fits some records."""

    preset: Preset
    missing: tuple[str, ...]  # what it would need, and the records do not have

    @property
    def fits(self) -> bool:
        """Whether it does."""
        return not self.missing

    @property
    def is_near(self) -> bool:
        """Whether the records have more than half of what it asks, and not all."""
        return 0 < len(self.missing) * 2 < len(self.preset.detect)


def rank(values: Sequence[Any], presets: Mapping[str, Preset]) -> list[Fit]:
    """Each preset that says what to detect it by, with what it misses in these lines' values; the best first."""
    judged = []
    for preset in presets.values():
        if preset.detect:
            fit = Fit(preset, tuple(_missing(values[:2], preset)))  # more records can only lack more
            judged.append(Fit(preset, tuple(_missing(values, preset))) if fit.fits or fit.is_near else fit)
    return sorted(judged, key=lambda fit: (len(fit.missing), -len(fit.preset.detect)))


def choose(
    values: Sequence[Any], presets: Mapping[str, Preset], given: Fields = CANONICAL_FIELDS, some_mapped: bool = False
) -> Preset | None:
    """The preset that these lines' values fit; None where they have the canonical fields.

    Args:
        values: of the first lines.
        presets: by name.
        given: where the fields are by their canonical names and by what the user says.
        some_mapped: the user says where some are, so where no preset fits the others may have their canonical names.

    Raises:
        UsageProblem: none fits, or several do: which came near, and what to give.
    """
    if any(is_canonical(value, given) for value in values):
        return None
    asks = not some_mapped or not any(_is_whole(value, given) for value in values)
    judged = rank(values, presets)
    fitting = [fit.preset for fit in judged if fit.fits]
    best = [preset for preset in fitting if not any(set(preset.detect) < set(other.detect) for other in fitting)]
    if len(best) == 1:
        return best[0]
    if best and asks:
        names = " and ".join(preset.name for preset in best)
        raise UsageProblem(f"these records fit {names}: say which, as in --preset {best[0].name}")
    if some_mapped:
        return None
    near = [f"{fit.preset.name} (but for {', '.join(fit.missing)})" for fit in judged if fit.is_near][:3]
    there = next((list(value)[:12] for value in values if isinstance(value, dict)), [])
    has = f"there are {', '.join(there)}" if there else "no record is an object"
    if not there and any(isinstance(value, list) for value in values):
        raise UsageProblem("each line is a JSON list and not a record: try `jq -c '.[]'`, or --preset NAME")
    came = f"; near: {', '.join(near)}" if near else ""
    raise UsageProblem(
        f"no prompt_id and reward, and no preset fits ({has}){came};"
        " give --field prompt_id=PATH --field reward=PATH, or --preset NAME"
    )


def is_canonical(value: Any, given: Fields = CANONICAL_FIELDS) -> bool:
    """Whether a record has a `prompt_id`, as no framework calls it, and a reward where it is given."""
    return isinstance(value, dict) and "prompt_id" in value and _has_field(value, "reward", given)


def _is_whole(value: Any, given: Fields) -> bool:
    """Whether a record has, where it is told, what nothing can do without."""
    return (bool(given.group) or _has_field(value, "prompt_id", given)) and _has_field(value, "reward", given)


def _has_field(value: Any, field: str, given: Fields) -> bool:
    return any(_is_at(value, given.paths[name]) for name in names_for(field))


def _missing(values: Sequence[Any], preset: Preset) -> list[str]:
    """The paths of `detect` that a sample lacks, and those of `unless` that one has."""
    fields = preset.apply_to(Fields())
    samples: list[Any] = []
    for value in values:
        try:
            samples += split_records(value, fields)
        except Invalid:
            return list(preset.detect)
    if preset.skip_unscored and len(samples) > 1:
        samples = samples[1:]
    if not samples:
        return list(preset.detect)
    lacks = [path for path in preset.detect if any(not _has(sample, path) for sample in samples)]
    return lacks + [f"no {path}" for path in preset.unless if any(_has(sample, path) for sample in samples)]


def _has(sample: Any, path: str) -> bool:
    return _is_at(sample, parse_place(path))


def _is_at(sample: Any, place: Place) -> bool:
    try:
        return value_at(sample, place) is not MISSING
    except Invalid:
        return False
