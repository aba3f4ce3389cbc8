"""Errors that are not bugs of the program → one line for the user and an exit code.

Every error here survives a process boundary, as all constructor arguments are in `args`. Any other exception is a bug
and keeps its traceback (exit 70).
"""

from collections.abc import Iterable
from enum import IntEnum

NEAR = 0.72  # of 1: of two names as alike as `--budget` and `--quiet`, one is not meant by the other
NEARER = 0.85  # of a part of a name


class Exit(IntEnum):
    """The exit codes, as listed in docs/ci.md."""

    PASS = 0
    FAIL = 1  # everything was read, and the verdict is fail
    USAGE = 2
    IO = 3  # not all bytes could be read, or the result could not be written
    BUG = 70
    RESOURCES = 71  # out of memory, or a worker process was killed
    HANGUP = 129  # 128 and the number of the signal, from here on
    INTERRUPTED = 130
    CLOSED_PIPE = 141
    TERMINATED = 143


class BudgetCliError(Exception):
    """Base of all errors: `exit_code` is the exit code of the command, `str()` the line that the user sees."""

    exit_code = Exit.BUG


class UsageProblem(BudgetCliError):
    """The command line or a setting is invalid."""

    exit_code = Exit.USAGE


class InputProblem(BudgetCliError):
    """A source could not be read to its end, or does not hold records at all.

    Args:
        source: the source's name as the user gave it.
        problem: what was found, what was expected, and what to do.
    """

    exit_code = Exit.IO

    def __init__(self, source: str, problem: str) -> None:
        super().__init__(source, problem)
        self.source = source
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.source}: {self.problem}"


class DumpRejected(BudgetCliError):
    """In Python, more records were rejected than allowed, or there is none; the commands give a result that fails."""

    exit_code = Exit.FAIL


class OutputProblem(BudgetCliError):
    """The result could not be written."""

    exit_code = Exit.IO


class WorkerDied(BudgetCliError):
    """A worker process could not be started, or ended without a result."""

    exit_code = Exit.RESOURCES


def nearest(name: str, names: Iterable[str]) -> str | None:
    """Return what a misspelled name probably means, for a message; None if no name is near.

    That is the names that hold it (`dr-grpo or trl-grpo` for `grpo`, at most three), or one that is nearly the same.
    """
    import re
    from difflib import get_close_matches  # 2 ms, and only for what is wrong

    plain = {_folded(each): each for each in reversed([*names])}  # of equal ones the first
    wanted = _folded(name)
    if wanted in plain:
        return plain[wanted]
    holding = [each for each in reversed(plain) if len(wanted) > 2 and wanted in each]
    if holding:
        *others, last = [plain[each] for each in sorted(holding, key=len)[:3]]
        return f"{', '.join(others)} or {last}" if others else last
    close = get_close_matches(wanted, reversed(plain), n=1, cutoff=NEAR)
    if not close:  # a part of one, such as `phantm` of `groups.phantom`
        words = {part: each for each in plain for part in re.split(r"[.:/ -]", each)}
        parts = words | {part: each for each in plain for part in each.split(".")}  # rather a whole part of a path
        close = [parts[part] for part in get_close_matches(wanted, parts, n=1, cutoff=NEARER)]
    return plain[close[0]] if close else None


def _folded(name: str) -> str:
    return name.casefold().replace("_", "-").strip("-")
