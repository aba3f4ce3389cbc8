"""presets.toml, and a user's own → where the fields of a framework's dump are, and which preset some records fit.

Data, not code: a framework is a stanza. Knows no bytes and prints nothing.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path as FilePath
from typing import Any, NamedTuple

from budget_cli.errors import UsageProblem
from budget_cli.reading.fields import EXTRAS, KINDS, Fields, parse
from budget_cli.reading.records import MISSING, found_in, spread
from budget_cli.reading.values import Bad

BUILT_IN = FilePath(__file__).with_name("presets.toml")
CANONICAL = "canonical"
SETTINGS = ("source", "detect", "unless", "document", "records", "group", "skips")
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
    skips: bool = False
    document: bool = False

    def applied(self, fields: Fields) -> Fields:
        """The fields of such a dump; what it does not hold stays under its canonical name."""
        wanted = [(name, place) for name, place in self.extras if name in fields.extras]
        mapped = fields.with_mappings([f"{name}={place}" for name, place in (*self.places, *wanted)])
        known = {name for name, _ in self.places} | ({"prompt_id"} if self.group else set())
        if known & {"log_prob", "old_log_prob"}:
            known.add("response_length")  # as many tokens as they are of
        return replace(
            mapped,
            known=frozenset(known),
            records=self.records,
            group=self.group,
            skips=self.skips,
            document=self.document,
        )

    def summary(self) -> str:
        """`prompt_id←input, reward←score`, for one line on standard error."""
        said = [f"{name}←{place}" for name, place in self.places]
        if self.group:
            said.insert(0, f"prompt_id←each {self.group}")
        return ", ".join(said)


def load(files: Sequence[str] = ()) -> dict[str, Preset]:
    """The presets by name: the built-in ones, and those of the user's own files, which come first.

    Raises:
        UsageProblem: a file that is no TOML, or a stanza that is none of a preset.
    """
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
    )


def named(name: str, presets: Mapping[str, Preset]) -> Preset:
    """The preset of this name.

    Raises:
        UsageProblem: there is none.
    """
    if name not in presets:
        close = get_close_matches(name, presets, n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise UsageProblem(f"--preset: none is called {name!r}{hint}; there are {', '.join(presets)}")
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


def fits(values: Sequence[Any], presets: Mapping[str, Preset]) -> list[Fit]:
    """Each preset that says what to detect it by, with what it misses in these lines' values; the best first."""
    judged = [Fit(preset, tuple(_missing(values, preset))) for preset in presets.values() if preset.detect]
    return sorted(judged, key=lambda fit: (len(fit.missing), -len(fit.preset.detect)))


def detected(values: Sequence[Any], presets: Mapping[str, Preset]) -> Preset | None:
    """The preset that these lines' values fit; None where they have the canonical fields.

    Raises:
        UsageProblem: none fits, or several do: which came near, and what to give.
    """
    if any(is_canonical(value) for value in values):
        return None
    judged = fits(values, presets)
    fitting = [fit.preset for fit in judged if fit.fits]
    best = [preset for preset in fitting if not any(set(preset.detect) < set(other.detect) for other in fitting)]
    if len(best) == 1:
        return best[0]
    if best:
        names = " and ".join(preset.name for preset in best)
        raise UsageProblem(f"these records fit {names}: say which, as in --preset {best[0].name}")
    near = [f"{fit.preset.name} (but for {', '.join(fit.missing)})" for fit in judged if fit.is_near][:3]
    there = next((list(value)[:12] for value in values if isinstance(value, dict)), [])
    has = f"there are {', '.join(there)}" if there else "no record is an object"
    came = f"; near: {', '.join(near)}" if near else ""
    raise UsageProblem(
        f"no prompt_id and reward, and no preset fits ({has}){came};"
        " give --field prompt_id=PATH --field reward=PATH, or --preset NAME"
    )


def is_canonical(value: Any) -> bool:
    """Whether a record has the canonical fields that nothing can do without."""
    return isinstance(value, dict) and "prompt_id" in value and ("reward" in value or "rewards" in value)


def _missing(values: Sequence[Any], preset: Preset) -> list[str]:
    """The paths of `detect` that a sample lacks, and those of `unless` that one has."""
    fields = preset.applied(Fields())
    samples: list[Any] = []
    for value in values:
        try:
            samples += spread(value, fields)
        except Bad:
            return list(preset.detect)
    if preset.skips and len(samples) > 1:
        samples = samples[1:]
    if not samples:
        return list(preset.detect)
    lacks = [path for path in preset.detect if any(not _has(sample, path) for sample in samples)]
    return lacks + [f"no {path}" for path in preset.unless if any(_has(sample, path) for sample in samples)]


def _has(sample: Any, path: str) -> bool:
    try:
        return found_in(sample, parse(path)) is not MISSING
    except Bad:
        return False
