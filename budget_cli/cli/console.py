"""The process's edges: standard output and error, the output file, signals and exit codes."""

import contextlib
import errno
import functools
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import IO, TYPE_CHECKING, NoReturn, ParamSpec

from budget_cli.cli.bundles import InventoryOptions, ScreenOptions
from budget_cli.cli.options import Colour
from budget_cli.errors import BudgetCliError, Exit, OutputProblem, UsageProblem
from budget_cli.rendering.safe import for_terminal

if TYPE_CHECKING:
    from budget_cli.rendering.text import Line

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


def require_writable(output: str | None, option: str = "-o", compresses: bool = False) -> None:
    """That the output file can be made, found out before hours of reading.

    Raises:
        UsageProblem: it cannot.
    """
    if output is None:
        return
    if not output:
        raise UsageProblem(f"{option}: expected a file name, found nothing")
    if output.endswith((".gz", ".bz2", ".xz", ".zst")) and not compresses:
        raise UsageProblem(
            f"{option} {output}: only summarize compresses; give another name, or pipe into a compressor"
        )
    if "://" in output:
        from budget_cli.sources import local as sources
        from budget_cli.sources import remote

        if sources.is_url(output):
            remote.require_writable(output, option)
            return
    folder = os.path.dirname(os.path.abspath(output))
    if os.path.isdir(output) or output.endswith(os.sep):
        raise UsageProblem(f"{option} {output}: is a directory, expected a file")
    if not os.path.isdir(folder):
        raise UsageProblem(f"{option} {output}: there is no directory {folder}")
    if not os.access(folder, os.W_OK):
        raise OutputProblem(f"{option} {output}: the directory {folder} cannot be written to")


def write(result: bytes, output: str | None) -> None:
    """The result to standard output, or to a file that is whole or not there.

    Raises:
        OutputProblem: not all of it could be written.
        BrokenPipeError: the reader of standard output has gone.
    """
    with sink(output) as put:
        put(result)


@contextlib.contextmanager
def sink(output: str | None) -> Iterator[Callable[[bytes], None]]:
    """Takes a result in pieces; a file is there only once all of it is, and not if the work on it ends with an error.

    Raises:
        OutputProblem: not all of it could be written.
        BrokenPipeError: the reader of standard output has gone.
    """

    @contextlib.contextmanager
    def named() -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            raise
        except OSError as error:
            where = "standard output" if output is None else _shown(output)
            raise OutputProblem(f"{where}: the result could not be written: {error.strerror or error}") from None

    with contextlib.ExitStack() as stack:
        with named():
            file, finish = _opened(output, stack)

        def put(piece: bytes) -> None:
            with named():
                file.write(piece)

        yield put
        with named():
            finish()


def _opened(output: str | None, stack: contextlib.ExitStack) -> tuple[IO[bytes], Callable[[], None]]:
    """Where the result goes, and what to do once all of it is there; the stack undoes what was begun."""
    if output is None:
        if sys.stdout is None:
            raise OSError(errno.EBADF, "it is closed")
        return sys.stdout.buffer, sys.stdout.flush
    if "://" in output:
        from budget_cli.sources import local as sources

        if sources.is_url(output):
            return _elsewhere(output, stack)
    if os.path.exists(output) and not os.path.isfile(output):  # a device or a pipe cannot be renamed over
        file: IO[bytes] = open(output, "wb")  # noqa: SIM115
        stack.callback(_close, file)
        return file, file.close
    return _beside(os.path.realpath(output), stack)


def _close(file: IO[bytes]) -> None:
    """Of a file that is not wanted any more: what went wrong with it was said before."""
    with contextlib.suppress(OSError):
        file.close()


def _shown(output: str) -> str:
    if "://" not in output:
        return output
    from budget_cli.sources import remote

    return remote.redacted(output)


def _elsewhere(url: str, stack: contextlib.ExitStack) -> tuple[IO[bytes], Callable[[], None]]:
    """A temporary file, which is sent once all of the result is there."""
    import tempfile

    from budget_cli.sources import remote

    file = tempfile.NamedTemporaryFile(prefix="budget-cli-")  # noqa: SIM115
    stack.callback(file.close)

    def send() -> None:
        file.flush()
        remote.upload(file.name, url)

    return file.file, send


def _beside(target: str, stack: contextlib.ExitStack) -> tuple[IO[bytes], Callable[[], None]]:
    import tempfile

    descriptor, beside = tempfile.mkstemp(dir=os.path.dirname(target), prefix=f".{os.path.basename(target)}.")

    def remove() -> None:
        with contextlib.suppress(OSError):
            os.unlink(beside)

    stack.callback(remove)
    file = os.fdopen(descriptor, "wb")
    stack.callback(_close, file)

    def rename() -> None:
        file.flush()
        os.fsync(file.fileno())
        file.close()
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(beside, 0o666 & ~umask)
        os.replace(beside, target)

    return file, rename


def drawn(screen: "Iterable[Line]", to: ScreenOptions | InventoryOptions) -> bytes:
    """The bytes of a screen: with colour where somebody wants it, in characters that the output can show."""
    from budget_cli.rendering import text  # not for --help: what it draws needs numpy

    if wants_colour(to.output, to.color):
        return text.coloured(screen).encode()
    encoding = "utf-8" if to.output is not None or sys.stdout is None else (sys.stdout.encoding or "utf-8")
    return text.plain(screen, encoding).encode(encoding)


def wants_colour(output: str | None, colour: Colour) -> bool:
    """True if a table gets colour: by the option, else on a terminal unless NO_COLOR is set, or with FORCE_COLOR."""
    if colour is not Colour.AUTO:
        return colour is Colour.ALWAYS
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return output is None and sys.stdout is not None and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def append_step_summary(markdown: bytes) -> None:
    """Add to the summary of a step of GitHub Actions, the file that GITHUB_STEP_SUMMARY names; if there is one.

    Raises:
        OutputProblem: it cannot be written.
    """
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if not path:
        return
    try:
        with open(path, "ab") as file:
            file.write(markdown + b"\n")
    except OSError as error:
        raise OutputProblem(f"GITHUB_STEP_SUMMARY: {path} could not be written: {error.strerror}") from None


def shows_result() -> bool:
    """Whether a person sees standard output."""
    return sys.stdout is not None and sys.stdout.isatty()


def columns() -> int:
    """The width to draw for: the terminal's, or 80."""
    import shutil

    return shutil.get_terminal_size((80, 24)).columns


def progress_wanted(quiet: bool) -> bool:
    """Whether somebody is looking at standard error."""
    return not quiet and sys.stderr is not None and sys.stderr.isatty()
