"""What can go wrong through no fault of this program → one line for the user and an exit code.

Every error here survives a process boundary: all constructor arguments are in `args`. Anything else that is
raised is a bug and keeps its traceback (exit 70).
"""

from enum import IntEnum


class Exit(IntEnum):
    """The exit codes, as in the README."""

    PASS = 0
    FAIL = 1  # everything was read, the verdict is fail
    USAGE = 2
    IO = 3  # not all bytes could be read, or the result could not be written
    BUG = 70
    INTERRUPTED = 130
    CLOSED_PIPE = 141


class BudgetCliError(Exception):
    """The family: `exit_code` is what the command leaves with, `str()` is the line that the user sees."""

    exit_code = Exit.BUG


class UsageProblem(BudgetCliError):
    """The command line, or a setting, cannot mean anything."""

    exit_code = Exit.USAGE


class InputProblem(BudgetCliError):
    """The bytes of a source could not all be had, or are not JSON lines at all.

    Args:
        source: the source's name as the user gave it.
        problem: what was found, what was expected, what to do.
    """

    exit_code = Exit.IO

    def __init__(self, source: str, problem: str) -> None:
        super().__init__(source, problem)
        self.source = source
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.source}: {self.problem}"


class OutputProblem(BudgetCliError):
    """The result could not be written."""

    exit_code = Exit.IO


class WorkerDied(BudgetCliError):
    """A worker process ended without an answer, so there is no result."""

    exit_code = Exit.BUG
