"""The process's edges: standard output and error, the output file, signals and exit codes."""

import contextlib
import errno
import functools
import os
import sys
from collections.abc import Callable
from typing import NoReturn, ParamSpec

from budget_cli.errors import BudgetCliError, Exit, OutputProblem, UsageProblem
from budget_cli.rendering.safe import for_terminal

P = ParamSpec("P")
MESSAGE = 500  # characters of a message that may hold a path or a value of the data


def exits(command: Callable[P, Exit]) -> Callable[P, None]:
    """Turn a command's answer, or what it raised, into the process's exit code."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            code = command(*args, **kwargs)
        except BudgetCliError as error:
            say(str(error))
            code = error.exit_code
        except KeyboardInterrupt:
            say("interrupted; there is no result")
            code = Exit.INTERRUPTED
        except BrokenPipeError:
            code = Exit.CLOSED_PIPE
        except MemoryError:
            say("out of memory; --jobs 1 needs the least")
            code = Exit.BUG
        except Exception:
            import traceback

            traceback.print_exc()
            say("this is a bug in budget-cli; please report it with the lines above")
            code = Exit.BUG
        leave(code)

    return run


def leave(code: Exit) -> NoReturn:
    """End the process; output that cannot be flushed is no longer anybody's."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1 if stream is sys.stdout else 2)
    raise SystemExit(int(code))


def say(message: str) -> None:
    """One line on standard error."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        print(f"budget-cli: {for_terminal(message, MESSAGE)}", file=sys.stderr)  # noqa: T201


def require_writable(output: str | None) -> None:
    """That the output file can be made, found out before hours of reading.

    Raises:
        UsageProblem: it cannot.
    """
    if output is None:
        return
    if not output:
        raise UsageProblem("-o: expected a file name, found nothing")
    folder = os.path.dirname(os.path.abspath(output))
    if os.path.isdir(output):
        raise UsageProblem(f"-o {output}: is a directory, expected a file")
    if not os.path.isdir(folder):
        raise UsageProblem(f"-o {output}: there is no directory {folder}")
    if not os.access(folder, os.W_OK):
        raise OutputProblem(f"-o {output}: the directory {folder} cannot be written to")


def write(result: bytes, output: str | None) -> None:
    """The result to standard output, or to a file that is whole or not there.

    Raises:
        OutputProblem: not all of it could be written.
        BrokenPipeError: the reader of standard output has gone.
    """
    try:
        if output is None:
            _to_stdout(result)
        elif os.path.exists(output) and not os.path.isfile(output):  # a device or a pipe cannot be renamed over
            with open(output, "wb") as file:
                file.write(result)
        else:
            _beside_and_renamed(result, output)
    except BrokenPipeError:
        raise
    except OSError as error:
        where = "standard output" if output is None else output
        raise OutputProblem(f"{where}: the result could not be written: {error.strerror or error}") from None


def _to_stdout(result: bytes) -> None:
    if sys.stdout is None:
        raise OSError(errno.EBADF, "it is closed")
    sys.stdout.buffer.write(result)
    sys.stdout.flush()


def _beside_and_renamed(result: bytes, output: str) -> None:
    import tempfile

    target = os.path.realpath(output)
    descriptor, beside = tempfile.mkstemp(dir=os.path.dirname(target), prefix=f".{os.path.basename(target)}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(result)
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(beside, 0o666 & ~umask)
        os.replace(beside, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        raise


def wants_colour(output: str | None) -> bool:
    """Whether the table gets colour: a terminal, unless NO_COLOR; FORCE_COLOR overrides the terminal."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return output is None and sys.stdout is not None and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def shows_result() -> bool:
    """Whether a person sees standard output."""
    return sys.stdout is not None and sys.stdout.isatty()


def encoding(output: str | None) -> str:
    """What the result's characters must fit into."""
    return "utf-8" if output is not None or sys.stdout is None else (sys.stdout.encoding or "utf-8")


def columns() -> int:
    """The width to draw for: the terminal's, or 80."""
    import shutil

    return shutil.get_terminal_size((80, 24)).columns


def progress_wanted(quiet: bool) -> bool:
    """Whether somebody is looking at standard error."""
    return not quiet and sys.stderr is not None and sys.stderr.isatty()
