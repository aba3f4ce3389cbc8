"""objectives.toml, or a user's file of such → the keys of an objective by its name."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import budget_cli.objective
from budget_cli.errors import UsageProblem, nearest
from budget_cli.objective.settings import DEFAULT, Objective, parse
from budget_cli.schema import small_files

BUILT_IN = Path(budget_cli.objective.__file__).with_name("objectives.toml")
OF_ADVANTAGE = ("ddof", "eps")  # of a recipe, they go with its advantage
ABOUT = ("source", "frameworks")  # of a stanza, beside the keys of the objective


def load(path: str | Path = BUILT_IN) -> dict[str, dict[str, Any]]:
    """Load the objectives of a file by name.

    Raises:
        UsageProblem: the file cannot be read, or is not what such a file is.
    """
    stanzas = small_files.table("--objective", str(path))
    if stanzas and not any(isinstance(stanza, dict) for stanza in stanzas.values()):
        stanzas = {Path(path).stem: stanzas}  # the keys of one objective
    for name, stanza in stanzas.items():
        if not isinstance(stanza, dict):
            raise UsageProblem(f"--objective {path}: {name}: expected a table, found {small_files.shown(stanza)}")
    return stanzas


def of_framework(preset: str) -> Objective | None:
    """Return the objective that the framework of a preset trains with by default; None if none here does."""
    for name, stanza in load().items():
        if any(preset == each or preset.startswith(f"{each}-") for each in stanza.get("frameworks", ())):
            return parse(*keys_of(name))
    return None


def flags_of(name: str, settings: Mapping[str, Any]) -> list[str]:
    """Return the options that give an objective with these settings; none for the default.

    Args:
        name: of the objective, which may be that of a file.
        settings: what results say of it.
    """
    keys = load().get(name)
    flags, values = ([], {}) if keys is None or name == DEFAULT.name else (["--objective", name], keys)
    plain, pairs = {**DEFAULT._asdict(), **values}, []
    for key, value in settings.items():
        if key == "budgets":
            pairs += [f"{key}.{label}={tokens}" for label, tokens in value.items()]
        elif key == "constant":
            pairs += ["aggregate=constant", f"constant={value}"]
        elif plain.get(key) != value or (key in OF_ADVANTAGE and plain["advantage"] != settings.get("advantage")):
            pairs.append(f"{key}={'none' if value is None else value}")
    return flags + [part for pair in pairs for part in ("--set", pair)]


def keys_of(given: str) -> tuple[str, dict[str, Any]]:
    """Return the name of an objective and its keys."""
    path, _, name = given.rpartition(":") if ".toml:" in given else (given, "", "")
    if path.endswith(".toml"):
        stanzas = load(path)
        if not name and len(stanzas) != 1:
            which = ", ".join(f"{path}:{one}" for one in stanzas) or "none"
            raise UsageProblem(f"--objective {given}: expected one objective in the file, found {which}")
        name = name or next(iter(stanzas))
    else:
        stanzas, name = load(), given
    if name not in stanzas:
        near = nearest(name, stanzas)
        names = f"{', '.join(stanzas)}, or a file NAME.toml"
        if path.endswith(".toml"):
            names, near = " or ".join(f"{path}:{one}" for one in stanzas), ""
        hint = f" (did you mean {near}?)" if near else f"; expected {names}"
        raise UsageProblem(f"--objective {given}: unknown objective{hint}")
    return name, {key: value for key, value in stanzas[name].items() if key not in ABOUT}
