"""Many command lines, each in a fork of one process, which starts in a locale and on a terminal of its own.

As a script: reads a list of `Line` as JSON objects and prints [[exit code, stdout, stderr], …], both streams in
hexadecimal. The interpreter and its imports start once.
"""

import contextlib
import gc
import importlib
import json
import os
import pkgutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, NamedTuple

import typer.main

STREAMS = ("stdin", "stdout", "stderr")
OPEN = "open"


class Line(NamedTuple):
    """A command line, the streams that are closed, what is standard input, and Python to run before the command.

    Where standard input is OPEN, it is a pipe into which nobody writes, and a command that waits for more than a minute
    is ended by SIGALRM.
    """

    arguments: tuple[str, ...]
    closed: tuple[int, ...] = ()
    stdin: str = os.devnull
    patch: str = ""


class Ended(NamedTuple):
    """How a command line ended."""

    code: int
    out: bytes
    err: bytes


def run(lines: Sequence[Line], environment: Mapping[str, str], cwd: Path | None = None) -> list[Ended]:
    """Run each command line in a fork of one process with this environment."""
    asked = json.dumps([line._asdict() for line in lines]).encode()
    done = subprocess.run(
        [sys.executable, __file__], input=asked, env=environment, cwd=cwd, capture_output=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return [Ended(code, bytes.fromhex(out), bytes.fromhex(err)) for code, out, err in json.loads(done.stdout)]


@contextlib.contextmanager
def _source(stdin: str) -> Iterator[IO[bytes]]:
    if stdin != OPEN:
        with open(stdin, "rb") as file:
            yield file
        return
    read_end, write_end = os.pipe()
    with open(read_end, "rb") as pipe, open(write_end, "wb"):
        yield pipe


def _run_here(arguments: list[str], closed: list[int], stdin: str, patch: str) -> tuple[int, str, str]:
    from budget_cli.__main__ import main

    with _source(stdin) as source, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if child == 0:
            if stdin == OPEN:
                signal.alarm(60)
            for number, file in enumerate((source, out, err)):
                os.dup2(file.fileno(), number)
            for number in closed:  # as the interpreter does where it starts without them
                os.close(number)
                setattr(sys, STREAMS[number], None)
            sys.argv = ["budget-cli", *(os.fsdecode(each.encode()) for each in arguments)]
            try:
                exec(patch, {"__name__": "__main__"})
                main()
            finally:
                os._exit(99)  # it should have left
        _, status = os.waitpid(child, 0)
        out.seek(0)
        err.seek(0)
        return os.waitstatus_to_exitcode(status), out.read().hex(), err.read().hex()


def _build() -> None:
    """Build here what every fork would build for itself: the command lines, and the presets."""
    import built_once

    from budget_cli.cli import app
    from budget_cli.schema import presets

    built_once.keep()
    presets.load()
    typer.main.get_command(app.build_app(with_options=()))
    for name in app.COMMANDS:
        typer.main.get_command(app.build_app([name], [name]))


def _main() -> None:
    asked = json.loads(sys.stdin.buffer.read())
    import rich.console  # noqa: F401

    import budget_cli

    for module in pkgutil.walk_packages(budget_cli.__path__, "budget_cli."):
        if not module.name.endswith(("__main__", ".ray", ".tokenizer", ".parquet", ".native")):  # of extras
            with contextlib.suppress(ImportError):
                importlib.import_module(module.name)
    _build()
    gc.freeze()
    done = [_run_here(**line) for line in asked]
    os.write(1, json.dumps(done).encode())


if __name__ == "__main__":
    _main()
