"""What Python's callers give → the options that the commands take, or a `UsageProblem` that names the argument.

Numbers may be numpy's or Python's, alone or in any iterable.
"""

import math
import os
from collections.abc import Collection, Mapping
from typing import Any

from budget_cli.errors import UsageProblem

NAME = "the name of a file or a folder, or several"


def paths(name: str, given: Any, least: int = 0) -> list[str]:
    """Return names of files; a single one may stand alone.

    Raises:
        UsageProblem: something in it is no name, or there are fewer than `least`.
    """
    if hasattr(given, "read"):
        raise UsageProblem(f"{name}: expected {NAME}, found an open file: give its name")
    found = [path(name, each) for each in _several(given)]
    if len(found) < least:
        raise UsageProblem(f"{name}: expected {NAME}, found none")
    return found


def path(name: str, given: Any) -> str:
    """Return the name of a file. Raises as `paths`."""
    if not isinstance(given, str | bytes | os.PathLike):
        raise UsageProblem(f"{name}: expected {NAME}, found {given!r}")
    found = os.fsdecode(given)
    if "\0" in found:
        raise UsageProblem(f"{name}: expected {NAME}, found {given!r}, with a null character")
    return found


def text(name: str, given: Any) -> str | None:
    """Return a text, or None.

    Raises:
        UsageProblem: it is neither.
    """
    if given is not None and not isinstance(given, str):
        raise UsageProblem(f"{name}: expected a text, found {given!r}")
    return given


def texts(name: str, given: Any) -> list[str]:
    """Return texts; a single one may stand alone. Raises as `text`."""
    found = [] if given is None else _several(given)
    for each in found:
        if not isinstance(each, str):
            raise UsageProblem(f"{name}: expected texts, found {each!r}")
    return found


def choice(name: str, given: Any, known: Collection[str]) -> str | None:
    """Return one of these texts, or None.

    Raises:
        UsageProblem: it is neither.
    """
    if given is not None and (not isinstance(given, str) or given not in known):
        raise UsageProblem(f"{name}={given}: expected one of {', '.join(known)}")
    return given


def pairs(name: str, given: Any, example: str) -> dict[str, Any]:
    """Return a mapping whose keys are texts, with Python's numbers in place of numpy's.

    Raises:
        UsageProblem: it is no such mapping.
    """
    given = {} if given is None else given
    if not isinstance(given, Mapping) or not all(isinstance(key, str) for key in given):
        raise UsageProblem(f"{name}: expected a dict, as in {name}={example}, found {given!r}")
    return {key: _plain(value) for key, value in given.items()}


def number(name: str, given: Any) -> float:
    """Return a finite number.

    Raises:
        UsageProblem: it is none.
    """
    value = _plain(given)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UsageProblem(f"{name}={given}: expected a finite number")
    return float(value)


def numbers(name: str, given: Any) -> tuple[float, ...]:
    """Return the distinct numbers in ascending order; a single one may stand alone.

    Raises:
        UsageProblem: there is none, or one is not finite.
    """
    found = _several(given)
    try:
        values = {number(name, each) for each in found}
    except UsageProblem:
        values = set()
    if not values:
        raise UsageProblem(f"{name}: expected one or more finite numbers, found {found!r}")
    return tuple(sorted(values))


def is_whole(given: Any, least: int, most: int) -> bool:
    """True for a whole number in this range; 4.0 is one, and True is not."""
    value = _plain(given)
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and least <= value <= most
        and value == int(value)
    )


def whole(name: str, given: Any, least: int, most: int) -> int:
    """Return a whole number in this range.

    Raises:
        UsageProblem: it is none.
    """
    if not is_whole(given, least, most):
        raise UsageProblem(f"{name}={given!r}: expected a whole number from {least} to {most}")
    return int(given)


def wholes(name: str, given: Any, most: int) -> tuple[int, ...]:
    """Return the distinct numbers of tokens in ascending order; a single one may stand alone.

    Raises:
        UsageProblem: one is no whole number of tokens.
    """
    found = _several(given)
    for each in found:
        if not is_whole(each, 0, most):
            raise UsageProblem(f"{name}: expected whole numbers of tokens, from 0 to {most}, found {_plain(each)!r}")
    return tuple(sorted({int(each) for each in found}))


def _several(given: Any) -> list[Any]:
    """Return what is in an iterable, or the one thing that is given."""
    if isinstance(given, str | bytes | os.PathLike):
        return [given]
    try:
        return [*given]
    except TypeError:  # a number, of whatever kind; an array without dimensions
        return [given]


def _plain(value: Any) -> Any:
    """Return the number of Python that a scalar of numpy or PyTorch is; anything else as it is."""
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        return value.item()
    return value
