"""The edges of the process: standard output and error, the output file, signals and exit codes."""

import contextlib
import errno
import functools
import os
import shutil
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from typing import IO, TYPE_CHECKING, NoReturn, ParamSpec

from budget_cli.cli.bundles import CheckScreenOptions, InventoryOptions, ScreenOptions
from budget_cli.cli.options import Colour
from budget_cli.errors import BudgetCliError, Exit, OutputProblem, UsageProblem
from budget_cli.rendering.safe import for_terminal

if TYPE_CHECKING:
    from budget_cli.rendering.text import Line

P = ParamSpec("P")
MESSAGE = 500  # characters of a message that may hold a path or a value of the data


def exits(command: Callable[P, Exit]) -> Callable[P, None]:
    """End the process with the exit code that a command returns, or that fits the exception it raises."""

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
            traceback.print_exc()
            say("this is a bug in budget-cli; please report it with the lines above")
            code = Exit.BUG
        leave(code)

    return run


def leave(code: Exit) -> NoReturn:
    """End the process. Output that cannot be flushed is discarded, so that Python does not report it at exit."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1 if stream is sys.stdout else 2)
    raise SystemExit(int(code))


def say(message: str) -> None:
    """Print one line on standard error."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        print(f"budget-cli: {for_terminal(message, MESSAGE)}", file=sys.stderr)  # noqa: T201  # the only print of the program


def require_writable(output: str | None, option: str = "-o", compresses: bool = False) -> None:
    """Refuse an output file that cannot be created, before hours of reading.

    Raises:
        UsageProblem: the name cannot be that of an output file.
        OutputProblem: the directory is not writable.
    """
    if output is None:
        return
    if not output:
        raise UsageProblem(f"{option}: expected a file name, found nothing")
    from budget_cli.sources.compression import SUFFIXES  # bz2, lzma and zipfile: not for --help

    if output.endswith(SUFFIXES) and not compresses:
        raise UsageProblem(
            f"{option} {output}: only summarize compresses; give another name, or pipe into a compressor"
        )
    if _is_url(output):
        from budget_cli.sources import remote  # 5 ms, and only for URLs

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
    """Write the result to standard output, or atomically to a file.

    Raises:
        OutputProblem: the result could not be written in full.
        BrokenPipeError: the reader of standard output has closed it.
    """
    with sink(output) as put:
        put(result)


@contextlib.contextmanager
def sink(output: str | None) -> Iterator[Callable[[bytes], None]]:
    """Accept a result in pieces. Write atomically: the file appears only when complete, and not after an error.

    Raises:
        OutputProblem: the result could not be written in full.
        BrokenPipeError: the reader of standard output has closed it.
    """

    @contextlib.contextmanager
    def naming_errors() -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            raise
        except OSError as error:
            where = "standard output" if output is None else _without_credentials(output)
            raise OutputProblem(f"{where}: the result could not be written: {error.strerror or error}") from None

    with contextlib.ExitStack() as stack:
        with naming_errors():
            file, finish = _open(output, stack)

        def put(piece: bytes) -> None:
            with naming_errors():
                file.write(piece)

        yield put
        with naming_errors():
            finish()


def _open(output: str | None, stack: contextlib.ExitStack) -> tuple[IO[bytes], Callable[[], None]]:
    """Return the file to write to and what to call once it is complete; the stack cleans up."""
    if output is None:
        if sys.stdout is None:
            raise OSError(errno.EBADF, "it is closed")
        return sys.stdout.buffer, sys.stdout.flush
    if _is_url(output):
        return _open_url(output, stack)
    if os.path.exists(output) and not os.path.isfile(output):  # a device or a pipe cannot be renamed over
        file: IO[bytes] = open(output, "wb")  # noqa: SIM115  # the stack closes it
        stack.callback(_close, file)
        return file, file.close
    return _open_atomic(os.path.realpath(output), stack)


def _is_url(output: str) -> bool:
    """True if the output is a URL that can be written to, not the name of a file."""
    if "://" not in output:
        return False
    from budget_cli.sources import local  # 4 ms: not for --help

    return local.is_url(output)


def _close(file: IO[bytes]) -> None:
    """Close a file that is no longer needed; its errors have been reported already."""
    with contextlib.suppress(OSError):
        file.close()


def _without_credentials(output: str) -> str:
    """Return the name of an output for a message; a URL without its credentials."""
    if "://" not in output:
        return output
    from budget_cli.sources import remote  # 5 ms, and only for URLs

    return remote.redacted(output)


def _open_url(url: str, stack: contextlib.ExitStack) -> tuple[IO[bytes], Callable[[], None]]:
    """Open a temporary file, which is uploaded once it is complete."""
    import tempfile  # 1.4 ms, with random, and only for outputs

    from budget_cli.sources import remote  # 5 ms, and only for URLs

    file = tempfile.NamedTemporaryFile(prefix="budget-cli-")  # noqa: SIM115  # the stack closes it
    stack.callback(file.close)

    def send() -> None:
        file.flush()
        remote.upload(file.name, url)

    return file.file, send


def _open_atomic(target: str, stack: contextlib.ExitStack) -> tuple[IO[bytes], Callable[[], None]]:
    """Open a temporary file beside the target, which replaces the target once it is complete."""
    import tempfile  # 1.4 ms, with random, and only for outputs

    descriptor, temporary = tempfile.mkstemp(dir=os.path.dirname(target), prefix=f".{os.path.basename(target)}.")

    def remove() -> None:
        with contextlib.suppress(OSError):
            os.unlink(temporary)

    stack.callback(remove)
    file = os.fdopen(descriptor, "wb")
    stack.callback(_close, file)

    def rename() -> None:
        file.flush()
        os.fsync(file.fileno())
        file.close()
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, target)

    return file, rename


def draw(screen: "Iterable[Line]", to: ScreenOptions | CheckScreenOptions | InventoryOptions) -> bytes:
    """Encode a screen, with colour if wanted, in characters that the output can show."""
    from budget_cli.rendering import text  # numpy: not for --help

    if wants_colour(to.output, to.color):
        return text.coloured(screen).encode()
    encoding = "utf-8" if to.output is not None or sys.stdout is None else (sys.stdout.encoding or "utf-8")
    return text.plain(screen, encoding).encode(encoding)


def wants_colour(output: str | None, colour: Colour) -> bool:
    """True if the option says so; with `auto`, on a terminal or if FORCE_COLOR is set, but never if NO_COLOR is set."""
    if colour is not Colour.AUTO:
        return colour is Colour.ALWAYS
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return output is None and sys.stdout is not None and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def append_step_summary(markdown: bytes) -> None:
    """Append to the step summary of GitHub Actions, the file that GITHUB_STEP_SUMMARY names, if it is set.

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
    """True if standard output is a terminal."""
    return sys.stdout is not None and sys.stdout.isatty()


def columns() -> int:
    """Return the width to draw for: that of the terminal, or 80."""
    return shutil.get_terminal_size((80, 24)).columns


def progress_wanted(quiet: bool) -> bool:
    """True if progress is to be shown: standard error is a terminal, and --quiet is not given."""
    return not quiet and sys.stderr is not None and sys.stderr.isatty()
