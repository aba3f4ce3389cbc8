"""If this fails, a terminal, named pipe, full disk or closed stream causes a traceback or a wrong exit code."""

import contextlib
import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from command import ENVIRONMENT, Start
from samples import SAMPLE

from budget_cli.sources import blocks


def test_no_files_on_a_terminal_is_a_usage_error(small: Path) -> None:
    main, terminal = pty.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "budget_cli", "loss", "-B", "9"], stdin=terminal, capture_output=True, check=False
        )
    finally:
        os.close(main)
        os.close(terminal)
    assert done.returncode == 2
    assert done.stderr.decode().startswith("budget-cli: no input: give files or a directory, or pipe records in")


def on_terminal(columns: int, *arguments: str | Path, exits: int = 0, **environment: str) -> str:
    """Return what the command shows on a terminal of 24 lines and so many columns."""
    main, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "budget_cli", *arguments],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            env=ENVIRONMENT | {"TERM": "xterm-256color"} | environment,
        )
    finally:
        os.close(terminal)
    shown = b""
    with contextlib.suppress(OSError):  # the end of a terminal
        while part := os.read(main, 1 << 16):
            shown += part
    os.close(main)
    assert process.wait() == exits
    return re.sub("\x1b\\[[0-9;]*m", "", shown.decode()).replace("\r\n", "\n")


def test_a_terminal_gets_lines_that_fit_and_a_pipe_whole_ones(budget_cli: Start) -> None:
    whole = budget_cli("loss", SAMPLE, "-B", "1024").stdout.decode().splitlines()
    shown = on_terminal(60, "loss", SAMPLE, "-B", "1024").splitlines()
    assert max(map(len, shown)) <= 60 < max(map(len, whole))
    assert "  components       mean A² 0.3664   KL terms 0.0572\n                   R² -0.1561" in "\n".join(shown)


@pytest.mark.parametrize(
    ("command", "what", "name"),
    [
        (("loss", "-f", "parquet"), "Parquet", "loss.parquet"),
        (("annotate", "-f", "parquet"), "Parquet", "responses.parquet"),
        (("report",), "the page", "report.html"),
    ],
)
def test_what_is_not_to_be_read_on_a_terminal_is_not_written_to_one(
    command: tuple[str, ...], what: str, name: str
) -> None:
    shown = on_terminal(200, *command, SAMPLE, "-B", "1024", exits=2)
    assert shown == f"budget-cli: {what} is meant for a file: give -o {name}, or redirect standard output\n"


def test_help_that_is_longer_than_the_terminal_goes_through_a_pager(tmp_path: Path) -> None:
    pager = tmp_path / "pager"
    pager.write_text("#!/bin/sh\necho paged; head -3\n")
    pager.chmod(0o755)
    assert on_terminal(80, "loss", "--help", PAGER=str(pager)).startswith("paged\nUsage: budget-cli loss")


def test_a_named_pipe_is_read_like_a_file(budget_cli: Start, tmp_path: Path, small: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = subprocess.Popen(["sh", "-c", 'cat "$0" "$0" > "$1"', small, pipe])
    done = budget_cli("loss", pipe, "-B", "9", "-f", "json")
    assert writer.wait() == 0
    assert json.loads(done.stdout)["responses"] == 120


def test_a_full_disk_is_one_line_and_exit_3(budget_cli: Start, small: Path) -> None:
    with open("/dev/full", "wb") as full:
        done = budget_cli("loss", small, "-B", "9", stdout=full)
    assert done.returncode == 3
    assert done.stderr.decode() == (
        "budget-cli: standard output: the result could not be written: No space left on device\n"
    )


def test_a_closed_pipe_is_silent(budget_cli: Start, small: Path) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        done = budget_cli("loss", small, "-B", "9", stdout=write_end)
    finally:
        os.close(write_end)
    assert (done.returncode, done.stderr.decode()) == (141, "")


@pytest.mark.parametrize(
    ("closed", "exits", "message"),
    [
        (">&-", 3, "budget-cli: standard output: the result could not be written: "),
        ("<&-", 3, "budget-cli: <stdin>: cannot be read: "),
        ("2>&-", 0, ""),
    ],
)
def test_a_closed_stream_causes_no_traceback(small: Path, closed: str, exits: int, message: str) -> None:
    name = "-" if closed == "<&-" else str(small)
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-m", "budget_cli", "loss", name, "-B", "9"],
        capture_output=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == exits
    assert done.stderr.decode().startswith(message)
    assert done.stderr.decode().count("\n") == bool(message)


@pytest.mark.parametrize("number", [3, 4, 5])
def test_a_descriptor_that_nobody_opened_is_none_of_the_program_s_own(
    small: Path, budget_cli: Start, number: int
) -> None:
    done = budget_cli("loss", small, "-B", "9", "-o", f"/dev/fd/{number}")
    message = f"budget-cli: /dev/fd/{number}: the result could not be written: Bad file descriptor\n"
    assert (done.returncode, done.stderr.decode()) == (3, message)


def test_a_named_pipe_can_be_read_twice(small: Path, budget_cli: Start) -> None:
    command = f"'{sys.executable}' -m budget_cli annotate -B 1000 <(cat '{small}')"
    done = subprocess.run(["bash", "-c", command], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, budget_cli("annotate", small, "-B", "1000").stdout)


def test_a_reader_that_closes_its_pipe_ends_the_command_quietly(small: Path, tmp_path: Path) -> None:
    path = tmp_path / "long.jsonl"
    path.write_bytes(small.read_bytes() * (3 * blocks.BLOCK_BYTES // small.stat().st_size))
    command = f"set -o pipefail; '{sys.executable}' -m budget_cli annotate -B 9 '{path}' --jobs 1 | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, check=False)
    assert (done.returncode, done.stderr, done.stdout.count(b"\n")) == (141, b"", 1)
