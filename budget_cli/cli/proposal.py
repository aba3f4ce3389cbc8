"""The fields that a dump lacks, and what is guessed of them → the command line that reads it, or settings that do."""

import os
from collections.abc import Collection, Sequence
from enum import Enum
from typing import Any

import orjson

from budget_cli.cli import output
from budget_cli.cli.bundles import FieldOptions, FolderOptions
from budget_cli.cli.inputs import file_argument
from budget_cli.cli.settings import OWN
from budget_cli.errors import UsageProblem
from budget_cli.schema import small_files
from budget_cli.schema.fields import singular
from budget_cli.schema.guesses import PATH, Guesses
from budget_cli.schema.proposals import quoted

Flags = Sequence[tuple[str, str]]
SEVERAL = ("field", "keep", "presets", "reward-weights", "include", "exclude")  # keys that hold a list
WHOLE = ("--kl-coef", "--budget-penalty-coef", "--group-size")
NEW = "# where the fields are, as `budget-cli fields --write` guessed\n"


def typed(fields: FieldOptions, folders: FolderOptions, missing: Collection[str]) -> list[tuple[str, str]]:
    """Return the options that are given, each with its value; "" for one that takes none.

    A place where none of the missing fields was found is not among them.
    """
    found: list[tuple[str, str]] = []
    for bundle in (fields, folders):
        for name in type(bundle).__annotations__:
            value = getattr(bundle, name)
            for each in value if isinstance(value, list | tuple) else [value]:
                if each is not None and each is not False:
                    shown = each.value if isinstance(each, Enum) else "" if each is True else str(each)
                    found.append((f"--{name.replace('_', '-')}", shown))
    return [(option, value) for option, value in found if option != "--field" or not _places_any(value, missing)]


def _places_any(mapping: str, missing: Collection[str]) -> bool:
    return singular(mapping.partition("=")[0]) in missing


def command_line(files: Sequence[str], given: Flags, chosen: Flags, length: int | None) -> str:
    """Write the command that computes the loss, at the median length as a budget, ready to be pasted."""
    words = ["budget-cli", "loss", *map(file_argument, files)]
    for option, value in (*given, *chosen):
        words += [option, quoted(value)] if value else [option]
    if ("--budget-penalty-coef", "0") not in chosen:
        words += ["-B", "N" if length is None else str(length)]
    return " ".join(words)


def write(guesses: Guesses, reader: str, given: Flags, chosen: Flags, in_force: str | None) -> str:
    """Put the options into budget-cli.toml of the current folder, beside what it holds.

    Args:
        guesses: as they are shown.
        reader: the preset that reads the files.
        given: the options of the command line.
        chosen: what the guesses add.
        in_force: the settings file that holds here; None if there is none.

    Returns:
        The keys that were written.

    Raises:
        UsageProblem: the reward or the prompt is not known, another file holds, or the file says it already.
        OutputProblem: the file could not be written.
    """
    weights = next((value for option, value in chosen if option == "--reward-weights"), None)
    if weights is not None:
        raise UsageProblem(f"--write: give --reward-weights {quoted(weights)} with the weights of the run, and --write")
    unsure = [name for name in ("prompt_id", "reward") if guesses.unsure(name)]
    unsure += [value.partition("=")[0] for _, value in chosen if value.endswith(f"={PATH}")]
    if unsure:
        raise UsageProblem(
            f"--write: {' and '.join(unsure)} {'is' if len(unsure) == 1 else 'are'} not known for sure: give"
            f" {' '.join(f'--field {name}={PATH}' for name in unsure)} and --write"
        )
    values: dict[str, Any] = {}
    for option, value in (*given, *chosen):
        key = option.removeprefix("--")
        if key in SEVERAL:
            values.setdefault(key, []).append(value)
        else:
            values[key] = int(value) if option in WHOLE else value or True
    if not values:
        raise UsageProblem(f"--write: {reader} reads these files without any option: there is nothing to write")
    if in_force is not None and os.path.abspath(in_force) != os.path.abspath(OWN):
        raise UsageProblem(
            f"--write: {in_force} holds here, and {OWN} would take its place: add {_shown(values)} to it"
        )
    output.require_writable(OWN, "--write")
    output.write(_added(values), OWN)
    return ", ".join(values)


def _added(values: dict[str, Any]) -> bytes:
    """Return the content of the file with these keys before its first table.

    Raises:
        UsageProblem: it has one of the keys, or cannot be read.
    """
    try:
        content = small_files.read(OWN)
        had, old = small_files.parse_toml(content), content.decode()
    except FileNotFoundError:
        return (NEW + _lines(values)).encode()
    except (OSError, ValueError) as error:
        raise UsageProblem(f"--write: {OWN}: cannot be read: {error}") from None
    lines = old.splitlines(keepends=True)
    for key in values:
        if {key, key.replace("-", "_")} & had.keys():
            at = next((i for i, line in enumerate(lines, 1) if _key_of(line) == key), 1)
            raise UsageProblem(
                f"--write: {OWN}:{at}: has {key} already: put {_shown({key: values[key]})} in its place, or give its"
                " values with --no-config"
            )
    first = next((i for i, line in enumerate(lines) if line.lstrip().startswith("[")), len(lines))
    begun = "".join(lines[:first])
    begun += "" if begun.endswith("\n") or not begun else "\n"
    new = begun + _lines(values) + ("\n" if first < len(lines) else "") + "".join(lines[first:])
    try:
        whole = small_files.parse_toml(new.encode())
    except ValueError:
        whole = {}
    if whole != had | values:  # a line of a text begins with "["
        raise UsageProblem(f"--write: {OWN}: cannot be added to: put {_shown(values)} at its beginning")
    return new.encode()


def _key_of(line: str) -> str:
    """Return the key that a line of TOML begins with, or the table that it opens."""
    return line.strip().removeprefix("[").partition("=")[0].partition("]")[0].strip().strip("\"'").replace("_", "-")


def _shown(values: dict[str, Any]) -> str:
    """Write keys and values as TOML, on one line for a message."""
    return " and ".join(f"{key} = {orjson.dumps(value).decode()}" for key, value in values.items())


def _lines(values: dict[str, Any]) -> str:
    """Write keys and values as TOML, a value of a list on each line."""
    return "".join(f"{key} = {_toml(value)}\n" for key, value in values.items())


def _toml(value: Any) -> str:
    if isinstance(value, list) and len(value) > 1:
        return "[\n" + "".join(f"    {_toml(each)},\n" for each in value) + "]"
    return orjson.dumps(value).decode()
