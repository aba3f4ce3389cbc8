"""Bytes → standard output, a file or a URL: all of them, or an error. Everything that the program writes goes this way.

Python's own streams may lose bytes: a raw one (PYTHONUNBUFFERED, usual in containers) does not notice that the system
took only some of them, and a buffered one gives up at a pipe that does not block.
"""

import contextlib
import errno
import io
import os
import re
import stat
import sys
from collections.abc import Callable, Iterator
from typing import IO, Any, TextIO

from budget_cli import system
from budget_cli.errors import OutputProblem, UsageProblem

HELD = 1 << 16  # bytes that may wait for more
MOUNTS = "/proc/self/mountinfo"  # a line for each; the fifth field is the place, with spaces as \\040
OF_DESCRIPTOR = r"/dev/(?:std(?P<name>out|err)|fd/(?P<number>\d+))|/proc/self/fd/(?P<same>\d+)"
Finish = Callable[[], None]


class Whole(io.RawIOBase):
    """A descriptor that takes all bytes that it is given, or raises an error."""

    def __init__(self, descriptor: int, owned: bool = False) -> None:
        """Write to this descriptor; close it, too, if it is owned."""
        self._descriptor, self._owned = descriptor, owned

    def write(self, data: Any) -> int:
        """Write all bytes, and wait where a pipe is full and does not block.

        Raises:
            OSError: the system takes no more.
        """
        with memoryview(data) as view, view.cast("B") as rest:
            at = 0
            while at < len(rest):
                try:
                    at += os.write(self._descriptor, rest[at:])
                except BlockingIOError:
                    _wait(self._descriptor)
            return at

    def writable(self) -> bool:
        """True."""
        return True

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._descriptor

    def isatty(self) -> bool:
        """True if it is a terminal."""
        return os.isatty(self._descriptor)

    def close(self) -> None:
        """Close the descriptor if it is owned."""
        if self._owned and not self.closed:
            os.close(self._descriptor)
        super().close()


def _wait(descriptor: int) -> None:
    """Wait until the descriptor takes more, or its reader is gone."""
    import select  # only for what does not block

    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    poll.poll()


def prepare_streams() -> None:
    """Make Python's standard output and error whole, and open what is closed, so that no file gets its number.

    A closed stream stays unusable: standard input cannot be read, the others cannot be written to.
    """
    for number, other_way in enumerate((os.O_WRONLY, os.O_RDONLY, os.O_RDONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, other_way)  # gets the lowest number that is free
    sys.stdout, sys.stderr = _whole_text(sys.stdout, 1), _whole_text(sys.stderr, 2)


def _whole_text(stream: TextIO | None, number: int) -> TextIO:
    if stream is not None and system.encodes_by_itself(stream):
        return stream
    encoding, errors = ("utf-8", None) if stream is None else (stream.encoding, stream.errors)
    return io.TextIOWrapper(
        io.BufferedWriter(Whole(number), HELD),
        encoding,
        errors if errors == "surrogateescape" else "backslashreplace",
        line_buffering=number == 2 or os.isatty(number),
    )


# ---- a result


def require_writable(output: str | None, option: str = "-o", compresses: bool = False) -> None:
    """Refuse an output file that cannot be written, before hours of reading.

    Raises:
        UsageProblem: the name cannot be that of an output file.
        OutputProblem: the file or its directory is not writable.
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
    if _descriptor(output) is not None:
        return
    folder = os.path.dirname(os.path.realpath(output))
    try:
        info = os.stat(output)
    except FileNotFoundError:
        info = None
    except PermissionError as error:
        raise OutputProblem(f"{option} {output}: cannot be written: {error.strerror}") from None
    except OSError as error:  # a name that is too long, a link to itself, a file in place of a directory
        raise UsageProblem(f"{option} {output}: cannot be the name of a file: {error.strerror}") from None
    if output.endswith(os.sep) or (info and stat.S_ISDIR(info.st_mode)):
        raise UsageProblem(f"{option} {output}: is a directory, expected a file")
    if info and stat.S_ISSOCK(info.st_mode):
        raise UsageProblem(f"{option} {output}: is a socket, expected a file")
    if not os.path.isdir(folder):
        raise UsageProblem(f"{option} {output}: there is no directory {folder}")
    if info and not os.access(output, os.W_OK):
        raise OutputProblem(f"{option} {output}: is read-only: chmod u+w it, or give another name")
    if info and not stat.S_ISREG(info.st_mode):
        return  # a device or a named pipe is written to as it is
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputProblem(f"{option} {output}: the directory {folder} cannot be written to")
    if info and _is_mounted(os.path.realpath(output)):
        raise OutputProblem(
            f"{option} {output}: is mounted by itself, so no file can take its place: mount its directory, or use >"
        )
    if info and not _may_replace(info, os.stat(folder)):
        raise OutputProblem(f"{option} {output}: another user's file, in a directory where only they may replace it")


def _is_mounted(path: str) -> bool:
    """True if something is mounted on this file, as containers may do."""
    try:
        with open(MOUNTS, encoding="utf-8", errors="surrogateescape") as mounts:
            places = [line.split()[4] for line in mounts]
    except (OSError, IndexError):  # not Linux
        return False
    return any(re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), place) == path for place in places)


def _may_replace(file: os.stat_result, folder: os.stat_result) -> bool:
    """True unless the directory is one such as /tmp, where files are replaced only by their owners."""
    return not folder.st_mode & stat.S_ISVTX or os.geteuid() in (0, file.st_uid, folder.st_uid)


def write(result: bytes, output: str | None) -> None:
    """Write the result to standard output, or atomically to a file.

    Raises:
        OutputProblem: the result could not be written in full.
        BrokenPipeError: the reader has closed the pipe.
    """
    with sink(output) as put:
        put(result)


@contextlib.contextmanager
def sink(output: str | None) -> Iterator[Callable[[bytes], None]]:
    """Accept a result in pieces. Write atomically: the file appears only when complete, and not after an error.

    Raises:
        OutputProblem: the result could not be written in full.
        BrokenPipeError: the reader has closed the pipe.
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
            file.flush()
            finish()


def append(path: str, text: bytes) -> None:
    """Append to a file.

    Raises:
        OSError: it could not be written in full.
    """
    with Whole(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | system.BINARY, 0o666), owned=True) as file:
        file.write(text)


@contextlib.contextmanager
def scratch() -> Iterator[tuple[IO[bytes], str]]:
    """Yield a temporary file, and a path by which this process and its forks can read it.

    Where the system allows it, it has no name, so that nothing is left whatever ends the process.

    Raises:
        OSError: it could not be made.
    """
    import tempfile  # 1.4 ms, with random, and only for what is read twice or uploaded

    with contextlib.ExitStack() as stack:
        if os.path.exists("/proc/self/fd"):
            nameless = stack.enter_context(tempfile.TemporaryFile(prefix="budget-cli-"))
            yield _buffered(os.dup(nameless.fileno()), stack), f"/proc/self/fd/{nameless.fileno()}"
            return
        descriptor, path = tempfile.mkstemp(prefix="budget-cli-")  # Windows opens NamedTemporaryFile's only once
        stack.callback(_remove, path)
        yield _buffered(descriptor, stack), path


def _open(output: str | None, stack: contextlib.ExitStack) -> tuple[IO[bytes], Finish]:
    """Return the file to write to, and what to call once all is written; the stack cleans up."""
    if output is None:
        if sys.stdout is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        sys.stdout.flush()
        return sys.stdout.buffer, _nothing
    if _is_url(output):
        return _open_url(output, stack)
    number = _descriptor(output)
    if number is not None:
        return _buffered(os.dup(number), stack), _nothing
    if os.path.exists(output) and not os.path.isfile(output):  # a device or a pipe cannot be renamed over
        return _buffered(os.open(output, os.O_WRONLY | system.BINARY), stack), _nothing
    return _open_atomic(os.path.realpath(output), stack)


def _nothing() -> None:
    """Do nothing: the file was complete when it was flushed."""


def _buffered(descriptor: int, stack: contextlib.ExitStack) -> IO[bytes]:
    """Return a file for this descriptor that the stack closes; its errors have been reported by then."""
    file = io.BufferedWriter(Whole(descriptor, owned=True), HELD)

    def close() -> None:
        with contextlib.suppress(OSError):
            file.close()

    stack.callback(close)
    return file


def _descriptor(output: str) -> int | None:
    """Return the open descriptor that a name such as /dev/stdout stands for; None if it is the name of a file.

    A file behind it would otherwise be replaced, with what it held before.
    """
    match = re.fullmatch(OF_DESCRIPTOR, output)
    if match is None:
        return None
    return {"out": 1, "err": 2}.get(match["name"] or "") or int(match["number"] or match["same"])


def _is_url(output: str) -> bool:
    """True if the output is a URL that can be written to, not the name of a file."""
    if "://" not in output:
        return False
    from budget_cli.sources import local  # 4 ms: not for --help

    return local.is_url(output)


def _without_credentials(output: str) -> str:
    """Return the name of an output for a message; a URL without its credentials."""
    if "://" not in output:
        return output
    from budget_cli.sources import local  # 4 ms, and only for URLs

    return local.without_secrets(output)


def _open_url(url: str, stack: contextlib.ExitStack) -> tuple[IO[bytes], Finish]:
    """Open a temporary file, which is uploaded once it is complete."""
    from budget_cli.sources import remote  # 5 ms, and only for URLs

    file, path = stack.enter_context(scratch())
    return file, lambda: remote.upload(path, url)


def _open_atomic(target: str, stack: contextlib.ExitStack) -> tuple[IO[bytes], Finish]:
    """Open a file that takes the place of the target once it is complete, with the target's mode and owner.

    Where the system allows it, it has no name before, so that nothing is left whatever ends the process.
    """
    folder = os.path.dirname(target)
    other = os.path.join(folder, f".budget-cli-{os.urandom(8).hex()}")
    mode = 0o600 if os.path.exists(target) else 0o666  # less the umask
    descriptor = _open_nameless(folder, mode)
    nameless = descriptor is not None
    if descriptor is None:
        descriptor = os.open(other, os.O_WRONLY | os.O_CREAT | os.O_EXCL | system.BINARY, mode)

    stack.callback(_remove, other)
    file = _buffered(descriptor, stack)

    def take_its_place() -> None:
        with contextlib.suppress(FileNotFoundError):
            system.be_like(descriptor, os.stat(target))
        os.fsync(descriptor)
        if nameless:
            try:
                _name(descriptor, target)
                return
            except FileExistsError:
                _name(descriptor, other)
        file.close()  # Windows renames no open file; it was flushed before
        os.replace(other, target)

    return file, take_its_place


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)


def _open_nameless(folder: str, mode: int) -> int | None:
    """Open a file that has no name yet; None where that is not possible."""
    try:
        descriptor = os.open(folder, os.O_WRONLY | os.O_TMPFILE, mode)
    except (AttributeError, OSError):  # not Linux, or a file system that cannot do it
        return None
    if os.path.exists(f"/proc/self/fd/{descriptor}"):  # or it could never get a name
        return descriptor
    os.close(descriptor)
    return None


def _name(descriptor: int, path: str) -> None:
    """Give an open file without a name this one. With `src_dir_fd` it is linkat(2), which follows the link in /proc."""
    os.link(f"/proc/self/fd/{descriptor}", path, src_dir_fd=descriptor, follow_symlinks=True)
