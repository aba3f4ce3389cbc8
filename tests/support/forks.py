"""Many command lines, each in a fork of one process, which starts in a locale and on a terminal of its own.

As a script: reads [{"arguments": […], "closed": [0], "stdin": path}, …] and prints [[exit code, stdout, stderr], …],
both streams in hexadecimal. The interpreter and its imports start once.
"""

import contextlib
import gc
import importlib
import json
import os
import pkgutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import typer.main

STREAMS = ("stdin", "stdout", "stderr")


class Line(NamedTuple):
    """A command line, the streams that are closed, and what is standard input."""

    arguments: tuple[str, ...]
    closed: tuple[int, ...] = ()
    stdin: str = os.devnull


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


def _run_here(arguments: list[str], closed: list[int], stdin: str) -> tuple[int, str, str]:
    from budget_cli.__main__ import main

    with open(stdin, "rb") as source, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if child == 0:
            for number, file in enumerate((source, out, err)):
                os.dup2(file.fileno(), number)
            for number in closed:  # as the interpreter does where it starts without them
                os.close(number)
                setattr(sys, STREAMS[number], None)
            sys.argv = ["budget-cli", *(os.fsdecode(each.encode()) for each in arguments)]
            try:
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
