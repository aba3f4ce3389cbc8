"""What is wrong with a command line → one line: what was expected, what was found, and what to give instead.

Click says it in its own words ("'1k' is not a valid int range"); this says the same as every other message does.
"""

import re
from typing import Any

from budget_cli.analysis.numbers import in_full
from budget_cli.errors import nearest

MANY = 1 << 40  # an upper end from here on is said only to who exceeds it
LARGEST = 1 << 20  # and one from here on is not in the help
FOUND = re.compile(
    r"(?s)(?P<found>.*?) is not (?:a valid (?P<kind>int|float).*|in the range .*|one of (?P<those>.*?))\.?"
)
UNITS = {"TOKENS": "tokens", "BYTES": "bytes", "PLACES": "places"}
RANGE = re.compile(r"(?:(-?[0-9.]+)<=)?x(?:<=([0-9.]+)|>=([0-9.]+))?")


def message(problem: Any) -> str:
    """Return the line for an exception of click."""
    kind = type(problem).__name__
    context: Any = getattr(problem, "ctx", None)
    path = "budget-cli" if context is None else context.command_path
    if kind == "NoSuchOption":
        given = problem.option_name
        return f"no such option: {given}{_near_option(given, context)}; {path} --help lists all"
    if kind == "BadOptionUsage":
        return f"{problem.option_name}: expected {'a value' if 'requires' in problem.message else 'no value'}"
    if kind in ("BadParameter", "MissingParameter") and problem.param is not None:
        name = _name(problem.param)
        if kind == "MissingParameter":
            return f"{name} is missing: {_usage(context)}"
        return f"{name}: {in_words(problem.message, problem.param)}"
    command = re.fullmatch(r"No such command '(.*?)'\..*", problem.message, flags=re.DOTALL)
    if command is not None and context is not None:
        near = nearest(command[1], context.command.commands)
        hint = f" (did you mean {near}?)" if near else ""
        return f"no such command: {command[1]}{hint}; budget-cli --help lists all"
    said = problem.message.rstrip(".")
    return f"{said[:1].lower()}{said[1:]}: {_usage(context)}"


def in_words(said: str, option: Any) -> str:
    """Return what click says of a value of an option as `expected …, found …`, with what to give instead."""
    form = FOUND.fullmatch(said)
    if form is None:
        return said.rstrip(".")
    found = form["found"]
    if form["those"]:
        those = re.findall(r"'(.*?)'", form["those"])
        near = nearest(found.strip("'\""), those)
        hint = f" (did you mean {near}?)" if near else ""
        return f"expected {', '.join(those[:-1])} or {those[-1]}, found {found}{hint}"
    of_type = option.type
    whole = "int" in of_type.name
    noun = "a whole number" if whole else "a number"
    if option.metavar in UNITS:
        noun += f" of {UNITS[option.metavar]}"
    number = found if form["kind"] is None else ""
    low, high = getattr(of_type, "min", None), getattr(of_type, "max", None)
    return f"expected {noun}{_range(low, high, number)}, found {found}{in_full(found) if whole else ''}"


def _range(low: float | None, high: float | None, found: str) -> str:
    exceeds = high is not None and found and (int(found) if found.isdigit() else float(found)) > high
    if high is not None and (high < MANY or exceeds):
        return f" from {low:,} to {high:,}" if low is not None else f", at most {high:,}"
    return f", {low:,} or more" if low is not None else ""


def for_help(record: str) -> str:
    """Return the help of an option with numbers and ranges as people write them."""

    def within(form: re.Match[str]) -> str:
        low, high, least = form.groups()
        low = low or least
        if high is None or float(high) >= LARGEST:
            return f"{low} or more"
        return f"{low} to {int(high):,}" if high.isdigit() else f"{low} to {high}"

    def shown(form: re.Match[str]) -> str:
        text = re.sub(r"\d{5,}", lambda number: f"{int(number[0]):,}", RANGE.sub(within, form[1]))
        return f"[{text}]"

    return re.sub(r"\[((?:default: |x>=|-?[0-9.]+<=x)[^][]*)\]$", shown, record)


def _name(parameter: Any) -> str:
    """Return the name of a parameter as it is typed: all names of an option, or the metavar of an argument."""
    flags = [name for name in parameter.opts if name.startswith("-")]
    return " / ".join(flags) if flags else str(parameter.metavar or parameter.name)


def _near_option(given: str, context: Any) -> str:
    known = [name for option in context.command.params for name in option.opts if name.startswith("--")]
    near = nearest(given, known)
    return f" (did you mean {near}?)" if near else ""


def _usage(context: Any) -> str:
    return "budget-cli --help" if context is None else " ".join(context.get_usage().removeprefix("Usage: ").split())
