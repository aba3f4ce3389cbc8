"""budget-cli.toml, or [tool.budget-cli] of pyproject.toml → options that neither a flag nor the environment sets.

The file is searched for from the current directory upward; the first directory with one ends the search. Keys are the
long names of options; a table named after a command applies to that command alone. Without a file, the search costs a
few failing calls of `open`.
"""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple

import typer

from budget_cli.errors import UsageProblem, nearest
from budget_cli.schema import small_files

OWN, SHARED = "budget-cli.toml", "pyproject.toml"
PREFIX, OF_PROGRAM = "BUDGET_CLI_", {"CONFIG", "NO_CONFIG"}  # of variables; variables of the program itself
COMMAND_LINE_ONLY = ("output", "rejects", "write", "explain", "help")  # these concern a single run
WEAKENING = (  # these can let a verdict pass that would fail without them
    "max_errors",
    "allow_truncated_tail",
    "allow_empty",
    "ignore_unneeded",
    "where",
    "keep",
    "select",
    "ignore",
    "threshold",
    "baseline",
    "tolerance",
)

Commands = Callable[[], Mapping[str, Any]]  # → each command with its `params`, by name; called only if needed


class Found(NamedTuple):
    """The values of the options of a command, by the names of their parameters, and the file that holds them."""

    path: str
    values: dict[str, Any]


def defaults(this: Any, commands: Commands, command: str, path: str | None, search: bool = True) -> Found | None:
    """Return the values of the options of this command; None if there is no file.

    Args:
        this: the command to run, with its `params`.
        commands: returns all commands.
        command: the name of the command to run.
        path: the file; None to search for it.
        search: False to use no file unless `path` is given.

    Raises:
        UsageProblem: the file cannot be read, or has an unknown option or an invalid value.
    """
    for option in this.params:
        if getattr(option, "multiple", False):  # by default split at spaces, but 'loss > 1' is one gate
            option.type.envvar_list_splitter = "\n"
    _require_no_misspelling(this, commands)
    if path is not None:
        table = _table(path, _bytes(path, missing_is_fine=False))
        if table is None:
            raise UsageProblem(f"--config {path}: has no [tool.budget-cli]")
        return Found(path, _checked(path, table, commands(), command))
    return _search(commands, command) if search else None


def in_force(path: str, keys: Sequence[str], quiet: bool) -> str | None:
    """Say which file holds, what it sets, and which of it weakens a verdict; only the latter if `quiet`.

    Args:
        path: the file.
        keys: the names of the parameters that have their values from it, other than the values without it.
        quiet: True to say nothing else.

    Returns:
        One line; None if there is nothing to say.
    """
    weak = [_dashed(key) for key in keys if key in WEAKENING]
    if not keys or (quiet and not weak):
        return None
    said = f"{path}: sets {', '.join(map(_dashed, keys))}"
    if weak:
        said += f"; {', '.join(weak)} can let a verdict pass that would fail: --no-config ignores the file"
    return said


def _require_no_misspelling(this: Any, commands: Commands) -> None:
    """Refuse variables that are nearly the name of an option: a misspelled gate would pass everything.

    Raises:
        UsageProblem: there is such a variable.
    """
    names = {name.removeprefix(PREFIX) for name in os.environ if name.startswith(PREFIX)}
    names -= {option.name.upper() for option in this.params} | OF_PROGRAM
    if not names:
        return
    known = {option.name.upper() for command in commands().values() for option in command.params} | OF_PROGRAM
    for name in sorted(names - known):
        close = get_close_matches(name, sorted(known), n=1, cutoff=0.8)
        if close:  # otherwise it belongs to a script of the user
            raise UsageProblem(f"{PREFIX}{name}: unknown option (did you mean {PREFIX}{close[0]}?)")


def _search(commands: Commands, command: str) -> Found | None:
    """Return the values from the nearest file, from the current directory upward; None without a file."""
    prefix = ""
    try:
        folder = os.getcwd()
    except FileNotFoundError:  # the directory was removed
        return None
    while True:
        for name in (OWN, SHARED):
            place = os.path.join(prefix, name)
            table = _table(place, _bytes(place, missing_is_fine=True))
            if table is not None:
                return Found(place, _checked(place, table, commands(), command))
        above = os.path.dirname(folder)
        if above == folder:
            return None
        folder, prefix = above, os.path.join(os.pardir, prefix)


def _bytes(path: str, missing_is_fine: bool) -> bytes | None:
    try:
        return small_files.read(path)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        if missing_is_fine:
            return None
        raise UsageProblem(f"--config {path}: no such file") from None
    except OSError as error:
        hint = "; --no-config does without it" if missing_is_fine else ""
        raise UsageProblem(f"{path}: cannot be read: {error.strerror}{hint}") from None


def _table(path: str, content: bytes | None) -> dict[str, Any] | None:
    """Return the settings of the program in a file; None if it has none."""
    shared = os.path.basename(path) == SHARED
    if content is None or (shared and b"budget-cli" not in content):
        return None
    try:
        whole = small_files.parse_toml(content)
    except ValueError as error:
        raise UsageProblem(f"{path}: not TOML: {error}") from None
    if not shared:
        return whole
    tool = whole.get("tool", {})
    table = tool.get("budget-cli") if isinstance(tool, dict) else None
    if table is not None and not isinstance(table, dict):
        raise UsageProblem(f"{path}: tool.budget-cli: expected a table, found {small_files.shown(table)}")
    return table


def _checked(path: str, table: dict[str, Any], commands: Mapping[str, Any], command: str) -> dict[str, Any]:
    """Return the values for this command; every key of the file is checked, also those for other commands."""
    options = {name: _options(each) for name, each in commands.items()}
    values: dict[str, Any] = {}
    own: dict[str, Any] = {}
    table = {**table, **_objective(path, table)}
    for key, value in table.items():
        if key in commands and isinstance(value, dict):
            for inner, inner_value in value.items():
                option = _option_named(path, f"{key}.{inner}", inner, options[key], ())
                checked = _value(path, f"{key}.{inner}", option, inner_value)
                if key == command:
                    own[option.name] = checked
            continue
        of_any = {name: option for by_name in options.values() for name, option in by_name.items()}
        _option_named(path, key, key, of_any, tuple(commands))
        for name, by_name in options.items():
            option = by_name.get(_dashed(key))
            if option is not None:
                checked = _value(path, key, option, value)
                if name == command:
                    values[option.name] = checked
    return values | own


def _objective(path: str, table: dict[str, Any]) -> dict[str, Any]:
    """Return the options that the table of an objective stands for: its name, and a KEY=VALUE for each other key."""
    given = table.get("objective")
    if not isinstance(given, dict):
        return {}
    budgets = given.get("budgets")
    if isinstance(budgets, dict):
        given = {key: value for key, value in given.items() if key != "budgets"}
        given |= {f"budgets.{label}": tokens for label, tokens in budgets.items()}
    from budget_cli.objective.settings import KEYS, OF_LABEL  # only for who has such a table

    for key, value in given.items():
        if key not in ("name", *KEYS) and not key.startswith(OF_LABEL):
            near = nearest(key, KEYS)
            hint = f" (did you mean {near}?)" if near else f"; expected name, {', '.join(KEYS)}"
            raise UsageProblem(f"{path}: objective.{key}: unknown key{hint}")
        if not isinstance(value, str | int | float) or isinstance(value, bool):
            raise UsageProblem(
                f"{path}: objective.{key}: expected a text or a number, found {small_files.shown(value)}"
            )
    name = given.get("name", "kimi-k2")
    return {"objective": name, "set": [f"{key}={value}" for key, value in given.items() if key != "name"]}


def _options(command: Any) -> dict[str, Any]:
    """Return the options of a command by their long names."""
    return {
        name[2:]: option
        for option in command.params
        for name in option.opts
        if name.startswith("--") and option.name not in COMMAND_LINE_ONLY
    }


def _dashed(key: str) -> str:
    return key.replace("_", "-")


def _option_named(path: str, where: str, key: str, options: Mapping[str, Any], tables: Sequence[str]) -> Any:
    """Return the option that a key names; refuse an unknown key, with a suggestion."""
    if _dashed(key) in options:
        return options[_dashed(key)]
    if key in COMMAND_LINE_ONLY:
        raise UsageProblem(f"{path}: {where}: can be given only on the command line")
    near = nearest(_dashed(key), [*options, *tables])
    hint = f" (did you mean {near}?)" if near else "; keys are the long names of options, as in token-budget"
    raise UsageProblem(f"{path}: {where}: unknown option{hint}")


def _value(path: str, where: str, option: Any, value: Any) -> Any:
    """Return the value in the form that the command line would give."""
    if option.is_flag:
        if not isinstance(value, bool):
            raise UsageProblem(f"{path}: {where}: expected true or false, found {small_files.shown(value)}")
        return value
    if option.multiple:
        if isinstance(value, dict):
            value = [f"{name}={place}" for name, place in value.items()]
        values = value if isinstance(value, list) else [value]
        return [_one(path, where, option, each) for each in values]
    return _one(path, where, option, value)


def _one(path: str, where: str, option: Any, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise UsageProblem(f"{path}: {where}: expected a {_kind(option)}, found {small_files.shown(value)}")
    if isinstance(value, float) and not math.isfinite(value):
        raise UsageProblem(f"{path}: {where}: expected a finite number, found {value}")
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise UsageProblem(f"{path}: {where}: expected a number of at most 64 bits")
    text = str(value)
    try:
        option.type.convert(text, option, None)
    except typer.BadParameter as error:
        from budget_cli.cli import usage  # only for what is wrong

        raise UsageProblem(f"{path}: {where}: {usage.in_words(error.message, option)}") from None
    if option.metavar == "FILE" or (option.name == "objective" and ".toml" in text):
        return os.path.join(os.path.dirname(path), text)  # relative to the settings file
    return text


def _kind(option: Any) -> str:
    name: str = option.type.name
    return "whole number" if "int" in name else "number" if "float" in name else "string"
