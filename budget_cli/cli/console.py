"""The edges of the process: what is said on standard error, signals and exit codes; how a screen is drawn."""

import contextlib
import os
import re
import shlex
import shutil
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from signal import SIGINT
from typing import TYPE_CHECKING, NoReturn

from budget_cli import system
from budget_cli.cli import output, signals
from budget_cli.cli.bundles import CheckScreenOptions, InventoryOptions, ScreenOptions
from budget_cli.cli.options import Colour
from budget_cli.errors import BudgetCliError, Exit, OutputProblem, UsageProblem
from budget_cli.rendering.safe import for_terminal, spelled

if TYPE_CHECKING:
    from budget_cli.rendering.text import Line

MESSAGE = 500  # characters of a message that may hold a path or a value of the data
USAGE_LINE = 2000  # characters of a line about the command line, which may quote an argument
URLS = r"(?i)[a-z][a-z0-9+.-]*://[^\s'\"<>]+?(?=:?(?:[\s'\"<>]|$))"  # without the colon after one
ENDED_BY = {each: Exit(128 + each) for each in system.ENDING}


def say_why(error: BaseException) -> Exit:
    """Say why there is no result, and return the exit code that fits the error, or the signal that caused it."""
    error = signals.cause_of(error)
    if isinstance(error, signals.Terminated):
        error.arrived = True
        cause = "interrupted" if error.signal is SIGINT else f"ended by {error.signal.name}"
        say(f"{cause}; there is no result")
        return ENDED_BY[error.signal]
    if isinstance(error, BudgetCliError):
        say(str(error))
        return error.exit_code
    if isinstance(error, BrokenPipeError):
        return Exit.CLOSED_PIPE
    if isinstance(error, MemoryError):
        say("out of memory, so there is no result; --jobs 1 needs the least")
        return Exit.RESOURCES
    say_lines("".join(traceback.format_exception(error)))
    say("this is a bug in budget-cli; please report it with the lines above")
    return Exit.BUG


def leave(code: Exit) -> NoReturn:
    """End the process. Output that cannot be flushed is discarded, so that Python does not report it at exit."""
    if code in ENDED_BY.values():
        _discard(1)  # a reader that has stopped without leaving would be waited for
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            _discard(1 if stream is sys.stdout else 2)
    raise SystemExit(int(code))


def _discard(descriptor: int) -> None:
    """Have no place for what is still to be written to a standard stream."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)


_heard: ContextVar[list[str] | None] = ContextVar("_heard", default=None)  # what takes messages instead of the screen


@contextlib.contextmanager
def heard() -> Iterator[list[str]]:
    """Keep what is said in a list, in place of standard error, as Python's callers want it."""
    messages: list[str] = []
    before = _heard.set(messages)
    try:
        yield messages
    finally:
        _heard.reset(before)


def say(message: str) -> None:
    """Print one line on standard error."""
    text, messages = for_terminal(without_secrets(message), MESSAGE), _heard.get()
    if messages is None:
        _print(f"budget-cli: {text}\n")
    else:
        messages.append(text)


def say_lines(text: str) -> None:
    """Print lines that are not this program's own on standard error: about the command line, or of a bug."""
    lines = without_secrets(text.removesuffix("\n")).split("\n")
    _print("".join(f"{for_terminal(line, USAGE_LINE)}\n" for line in lines))


def _print(text: str) -> None:
    """Write to standard error what it can show. If it is closed or full, there is nobody to tell."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(spelled(text, sys.stderr.encoding or "utf-8"))
        sys.stderr.flush()


def without_secrets(text: str) -> str:
    """Remove what may be secret from each URL in a text."""
    if "://" not in text:
        return text
    from budget_cli.sources import remote  # 5 ms, and only for URLs

    return re.sub(URLS, lambda found: remote.redacted(found[0]), text)


def show(text: str, target: str | None = None) -> Exit:
    """Write a text, such as a help page, in what its place can show. Raises as `output.write`."""
    encoding = _encoding(target)
    output.write(spelled(text, encoding).encode(encoding), target)
    return Exit.PASS


def show_page(text: str) -> None:
    """Write a text that may be longer than the terminal that it is for, such as a help page. Raises as `page`."""
    encoding = _encoding(None)
    page(spelled(text, encoding).encode(encoding), None)


def _encoding(target: str | None) -> str:
    """Return the encoding of text in a file, or on standard output."""
    return "utf-8" if target is not None or sys.stdout is None else (sys.stdout.encoding or "utf-8")


def draw(screen: "Iterable[Line]", to: ScreenOptions | CheckScreenOptions | InventoryOptions) -> bytes:
    """Encode a screen, with colour if wanted, in characters that the output can show."""
    from budget_cli.rendering import text  # numpy: not for --help

    encoding = _encoding(to.output)
    if to.output is None and (shows_result() or os.environ.get("COLUMNS")):  # a pipe gets whole lines
        screen = text.fitted(screen, columns())
    drawn = text.coloured(screen) if wants_colour(to.output, to.color) else text.plain(screen)
    return spelled(drawn, encoding).encode(encoding)


def wants_colour(target: str | None, colour: Colour) -> bool:
    """True if the option says so; with `auto`, on a terminal or if FORCE_COLOR is set, but never if NO_COLOR is set."""
    if colour is not Colour.AUTO:
        return colour is Colour.ALWAYS
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return target is None and sys.stdout is not None and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def append_step_summary(markdown: bytes) -> None:
    """Append to the step summary of GitHub Actions, the file that GITHUB_STEP_SUMMARY names, if it is set.

    Raises:
        OutputProblem: it cannot be written.
    """
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if not path:
        return
    try:
        output.append(path, markdown + b"\n")
    except OSError as error:
        raise OutputProblem(f"GITHUB_STEP_SUMMARY: {path} could not be written: {error.strerror}") from None


def page(result: bytes, target: str | None) -> None:
    """Write a screen; through a pager ($PAGER, or less) if it is longer than the terminal that it is for.

    Raises:
        OutputProblem: it cannot be written.
    """
    rows = shutil.get_terminal_size((80, 24)).lines
    pager = shlex.split(os.environ.get("PAGER", "less -R"))
    if target is None and shows_result() and pager and result.count(b"\n") >= rows and shutil.which(pager[0]):
        import subprocess  # 5 ms, and only here

        with contextlib.suppress(BrokenPipeError):  # who reads has seen enough
            subprocess.run(pager, input=result, check=False)
        return
    output.write(result, target)


def shows_result() -> bool:
    """True if standard output is a terminal."""
    return sys.stdout is not None and sys.stdout.isatty()


def require_no_terminal(target: str | None, what: str, name: str) -> None:
    """Refuse to write to a terminal what is not to be read there.

    Args:
        target: the file of -o; None: standard output.
        what: the kind of output.
        name: of a file, for the message.

    Raises:
        UsageProblem: it would go to one.
    """
    if target is None and shows_result():
        raise UsageProblem(f"{what} is meant for a file: give -o {name}, or redirect standard output")


def columns() -> int:
    """Return the width to draw for: that of the terminal, or 80."""
    return shutil.get_terminal_size((80, 24)).columns


def progress_wanted(quiet: bool) -> bool:
    """True if progress is to be shown: standard error is a terminal, and --quiet is not given."""
    return not quiet and _heard.get() is None and sys.stderr is not None and sys.stderr.isatty()
