"""The command, in this process or as one of its own."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Protocol

COMMAND = [sys.executable, "-m", "budget_cli"]
SETTINGS = ("BUDGET_CLI_", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "TERM", "PYTHON", "LC_", "LANG")
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)}
ENVIRONMENT["LC_ALL"] = "C.UTF-8"
ENVIRONMENT["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
WITH_PATCH = "import sys; sys.argv[0] = 'budget-cli'\n{}\nfrom budget_cli.__main__ import main; main()"
# what nohup or a script's background job has ignored, every process would inherit; a handler is not inherited
for each in (signal.SIGHUP, signal.SIGINT):
    if threading.current_thread() is threading.main_thread() and signal.getsignal(each) is signal.SIG_IGN:
        signal.signal(each, signal.default_int_handler if each is signal.SIGINT else lambda *_: None)
Done = subprocess.CompletedProcess[bytes]
LossJson = Callable[..., dict[str, Any]]  # the JSON of `budget-cli loss ARGUMENTS…`


class Run(Protocol):
    """`budget-cli ARGUMENTS…`, in this process or in one of its own."""

    def __call__(
        self, *arguments: str | Path, stdin: bytes | None = None, cwd: Path | None = None, **environment: str
    ) -> Done: ...


class Start(Protocol):
    """`budget-cli ARGUMENTS…` as a process; `patch` is Python to run first, in that process."""

    def __call__(
        self,
        *arguments: str | Path,
        stdin: bytes | None = None,
        patch: str | None = None,
        cwd: Path | None = None,
        stdout: Any = subprocess.PIPE,
        **environment: str,
    ) -> Done: ...


def start(
    *arguments: str | Path,
    stdin: bytes | None = None,
    patch: str | None = None,
    cwd: Path | None = None,
    stdout: Any = subprocess.PIPE,
    **environment: str,
) -> Done:
    """Run the command as a user does."""
    command = COMMAND if patch is None else [sys.executable, "-c", WITH_PATCH.format(patch)]
    source: dict[str, Any] = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
    return subprocess.run(
        [*command, *map(os.fspath, arguments)],
        stdout=stdout,
        stderr=subprocess.PIPE,
        cwd=cwd,
        timeout=120,
        env=ENVIRONMENT | environment,
        check=False,
        **source,
    )


def run(*arguments: str | Path, stdin: bytes | None = None, cwd: Path | None = None, **environment: str) -> Done:
    """Run the command in this process: a tenth of the time, and a bug in it ends the test with its traceback.

    The program gets what a process has: descriptors 0, 1 and 2 (a pipe or /dev/null, and two files), `sys.std*` on top
    of them, its own `sys.argv`, environment and directory. What acts when an interpreter starts or ends, terminals,
    signals and closed streams need `start`.
    """
    from budget_cli.cli import app

    command = ["budget-cli", *map(os.fspath, arguments)]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        with _fed(stdin) as source, _place(cwd, environment), _streams(source, out, err), _fresh(command):
            code: Any = 0
            try:
                app.run(command[1:])
            except SystemExit as leaving:
                code = leaving.code or 0
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(command, code, out.read(), err.read())


@contextlib.contextmanager
def _fed(data: bytes | None) -> Iterator[int]:
    """The end of a pipe from which these bytes can be read; without any, /dev/null.

    A worker process that is forked meanwhile holds the pipe's other end, too, and would wait for its end for ever: what
    a pipe cannot hold at once is for `start`, if the command forks.
    """
    if data is None:
        descriptor = os.open(os.devnull, os.O_RDONLY)
        try:
            yield descriptor
        finally:
            os.close(descriptor)
        return

    def feed() -> None:
        with contextlib.suppress(BrokenPipeError), open(write_end, "wb") as pipe:
            pipe.write(data)

    read_end, write_end = os.pipe()
    holds = 1 << 14  # bytes; what a pipe holds at least
    with contextlib.suppress(ImportError, OSError):  # Linux can have it larger
        from fcntl import F_SETPIPE_SZ, fcntl

        holds = fcntl(write_end, F_SETPIPE_SZ, 1 << 20)
    feeder = threading.Thread(target=feed)
    feeder.start()
    if len(data) <= holds:
        feeder.join()
    try:
        yield read_end
    finally:
        os.close(read_end)  # ends the feeder, if the program has not read it all
        feeder.join()


@contextlib.contextmanager
def _place(cwd: Path | None, environment: dict[str, str]) -> Iterator[None]:
    """The directory and the environment of the program."""
    before, here = dict(os.environ), os.getcwd()
    os.environ.clear()
    os.environ.update(ENVIRONMENT | environment)
    try:
        os.chdir(cwd or here)
        yield
    finally:
        os.chdir(here)
        os.environ.clear()
        os.environ.update(before)


@contextlib.contextmanager
def _streams(source: int, out: IO[bytes], err: IO[bytes]) -> Iterator[None]:
    """Descriptors 0, 1 and 2, and Python's streams on top of them as in the locale C.UTF-8."""
    outer = sys.stdin, sys.stdout, sys.stderr
    saved = [os.dup(number) for number in range(3)]
    try:
        for number, descriptor in enumerate((source, out.fileno(), err.fileno())):
            os.dup2(descriptor, number)
        with (
            open(0, encoding="utf-8", errors="surrogateescape", closefd=False) as sys.stdin,
            open(1, "w", encoding="utf-8", errors="surrogateescape", closefd=False) as sys.stdout,
            open(2, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False) as sys.stderr,
        ):
            yield
    finally:
        sys.stdin, sys.stdout, sys.stderr = outer
        for number, descriptor in enumerate(saved):
            os.dup2(descriptor, number)
            os.close(descriptor)


@contextlib.contextmanager
def _fresh(command: list[str]) -> Iterator[None]:
    """Arguments of its own, and nothing left in this process by a run before, nor for the next."""
    import gc

    from budget_cli.sources import local

    arguments, sys.argv = sys.argv, command
    try:
        yield
    finally:
        sys.argv = arguments
        local._started.clear()  # beginnings of streams that were read ahead and not consumed
        gc.unfreeze()
