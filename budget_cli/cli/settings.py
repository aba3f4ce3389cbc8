"""budget-cli.toml, or [tool.budget-cli] of pyproject.toml → options that neither a flag nor the environment gives.

Searched from the current directory upward; the first directory that has one ends the search. A key is an option's long
name; a table of a command's name holds for that command alone. Costs a few failing `open` where there is no file.
"""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import typer

from budget_cli.errors import UsageProblem

OWN, SHARED = "budget-cli.toml", "pyproject.toml"
PREFIX, OF_ALL = "BUDGET_CLI_", {"CONFIG", "NO_CONFIG"}  # of variables; the options of the program itself
ON_THE_COMMAND_LINE = ("output", "rejects", "explain", "help")  # said for one run only


Commands = Callable[[], Mapping[str, Any]]  # every command by its name, with its `params`; made only for a file


def defaults(this: Any, commands: Commands, command: str, path: str | None, search: bool = True) -> dict[str, Any]:
    """The values of this command's options, by the names of their parameters.

    Args:
        this: the command that is run, with its `params`.
        commands: all of them.
        command: its name.
        path: the file; None: search for it, if `search`.

    Raises:
        UsageProblem: the file cannot be read, or says what no option is or takes.
    """
    for option in this.params:
        if getattr(option, "multiple", False):  # or the environment's would be split at spaces: 'loss > 1' is one gate
            option.type.envvar_list_splitter = "\n"
    _require_no_slip(this, commands)
    if path is not None:
        table = _table(path, _bytes(path, missing_is_fine=False))
        if table is None:
            raise UsageProblem(f"--config {path}: has no [tool.budget-cli]")
        return _checked(path, table, commands(), command)
    return _found(commands, command) if search else {}


def _require_no_slip(this: Any, commands: Commands) -> None:
    """That no variable is nearly the name of an option: a gate that is never looked at would pass everything.

    Raises:
        UsageProblem: one is.
    """
    names = {name.removeprefix(PREFIX) for name in os.environ if name.startswith(PREFIX)}
    names -= {option.name.upper() for option in this.params} | OF_ALL
    if not names:
        return
    from difflib import get_close_matches

    known = {option.name.upper() for command in commands().values() for option in command.params} | OF_ALL
    for name in sorted(names - known):
        close = get_close_matches(name, sorted(known), n=1, cutoff=0.8)
        if close:  # else it is a script's own
            raise UsageProblem(f"{PREFIX}{name}: no option is called that (did you mean {PREFIX}{close[0]}?)")


def _found(commands: Commands, command: str) -> dict[str, Any]:
    prefix = ""
    try:
        folder = os.getcwd()
    except FileNotFoundError:  # it was removed
        return {}
    while True:
        for name in (OWN, SHARED):
            place = os.path.join(prefix, name)
            table = _table(place, _bytes(place, missing_is_fine=True))
            if table is not None:
                return _checked(place, table, commands(), command)
        above = os.path.dirname(folder)
        if above == folder:
            return {}
        folder, prefix = above, os.path.join(os.pardir, prefix)


def _bytes(path: str, missing_is_fine: bool) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        if missing_is_fine:
            return None
        raise UsageProblem(f"--config {path}: no such file") from None
    except OSError as error:
        raise UsageProblem(f"{path}: cannot be read: {error.strerror}") from None


def _table(path: str, content: bytes | None) -> dict[str, Any] | None:
    """What the file says of this program; None: it does not speak of it."""
    shared = os.path.basename(path) == SHARED
    if content is None or (shared and b"budget-cli" not in content):
        return None
    import tomllib

    try:
        whole = tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageProblem(f"{path}: not TOML: {error}") from None
    if not shared:
        return whole
    tool = whole.get("tool", {})
    table = tool.get("budget-cli") if isinstance(tool, dict) else None
    if table is not None and not isinstance(table, dict):
        raise UsageProblem(f"{path}: tool.budget-cli: expected a table, found {table!r}")
    return table


def _checked(path: str, table: dict[str, Any], commands: Mapping[str, Any], command: str) -> dict[str, Any]:
    """The values for this command; every key of the file is looked at, whichever command is run."""
    options = {name: _options(known) for name, known in commands.items()}
    values: dict[str, Any] = {}
    own: dict[str, Any] = {}
    for key, value in table.items():
        if key in commands and isinstance(value, dict):
            for inner, inner_value in value.items():
                option = _known(path, f"{key}.{inner}", inner, options[key], ())
                told = _value(path, f"{key}.{inner}", option, inner_value)
                if key == command:
                    own[option.name] = told
            continue
        everywhere = {name: option for known in options.values() for name, option in known.items()}
        _known(path, key, key, everywhere, tuple(commands))
        for name, known in options.items():
            option = known.get(_dashed(key))
            if option is not None:
                told = _value(path, key, option, value)
                if name == command:
                    values[option.name] = told
    return values | own


def _options(command: Any) -> dict[str, Any]:
    """The command's options by their long names."""
    return {
        name[2:]: option
        for option in command.params
        for name in option.opts
        if name.startswith("--") and option.name not in ON_THE_COMMAND_LINE
    }


def _dashed(key: str) -> str:
    return key.replace("_", "-")


def _known(path: str, where: str, key: str, options: Mapping[str, Any], tables: Sequence[str]) -> Any:
    if _dashed(key) in options:
        return options[_dashed(key)]
    from difflib import get_close_matches

    if key in ON_THE_COMMAND_LINE:
        raise UsageProblem(f"{path}: {where}: belongs on the command line")
    close = get_close_matches(_dashed(key), [*options, *tables], n=1)
    hint = f" (did you mean {close[0]}?)" if close else ": the keys are the long options, as in token-budget"
    raise UsageProblem(f"{path}: {where}: no option is called that{hint}")


def _value(path: str, where: str, option: Any, value: Any) -> Any:
    """The value as the command line would give it."""
    if option.is_flag:
        if not isinstance(value, bool):
            raise UsageProblem(f"{path}: {where}: expected true or false, found {_shown(value)}")
        return value
    if option.multiple:
        if isinstance(value, dict):
            value = [f"{name}={place}" for name, place in value.items()]
        values = value if isinstance(value, list) else [value]
        return [_one(path, where, option, each) for each in values]
    return _one(path, where, option, value)


def _one(path: str, where: str, option: Any, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise UsageProblem(f"{path}: {where}: expected a {_kind(option)}, found {_shown(value)}")
    if isinstance(value, float) and not math.isfinite(value):
        raise UsageProblem(f"{path}: {where}: expected a finite number, found {value}")
    text = str(value)
    try:
        option.type.convert(text, option, None)
    except typer.BadParameter as error:
        raise UsageProblem(f"{path}: {where}: {error.message.rstrip('.')}") from None
    if option.metavar == "FILE":
        return os.path.join(os.path.dirname(path), text)  # as the file's author meant it
    return text


def _kind(option: Any) -> str:
    name: str = option.type.name
    return "whole number" if "int" in name else "number" if "float" in name else "text"


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)
