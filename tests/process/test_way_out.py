"""If this fails, a result is cut and the exit code says that it is whole, or a message lands in the result."""

import os
import random
import resource
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command import COMMAND, ENVIRONMENT, run, start
from samples import ROOT, SAMPLE, lines, response

DAMAGED = ROOT / "sample_data" / "damaged.jsonl"
DISK = 1 << 14  # bytes that fit on the full disk
LONG: list[tuple[str, ...]] = [
    ("loss", "-B", "9", "-f", "json", "--per-prompt"),
    ("sweep", "-B", "1:300:300", "--beta", "0:1:9", "-f", "csv"),
    ("report", "-B", "9"),
    ("annotate", "-B", "9"),
    ("show", "-B", "9", "--top", "9999"),
    ("summarize", "-B", "9"),
]
RAW = {"PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}  # raw standard output; and no half-written .pyc


@pytest.fixture(scope="module")
def dump(tmp_path_factory: pytest.TempPathFactory) -> Path:
    chance = random.Random(4)
    path = tmp_path_factory.mktemp("way out") / "dump.jsonl"
    path.write_bytes(lines([response(number, chance, prompt_id=f"p{number}") for number in range(700)]))
    return path


def begin(arguments: tuple[str, ...], dump: Path, stdout: Any, before: Callable[[], object] | None = None) -> Any:
    command = [*COMMAND, arguments[0], str(dump), *arguments[1:]]
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT | RAW,
        preexec_fn=before,
    )


def whole(arguments: tuple[str, ...], dump: Path, folder: Path) -> bytes:
    """The result as it should be, from a call in this process, which `test_start.py` shows to be equal."""
    out = folder / "whole"
    run(arguments[0], dump, *arguments[1:], "-o", out)
    return out.read_bytes()


@pytest.mark.parametrize("arguments", LONG, ids=lambda each: each[0])
def test_a_disk_that_fills_up_is_exit_3(arguments: tuple[str, ...], dump: Path, tmp_path: Path) -> None:
    def small_disk() -> None:  # the system takes what fits, and says so only in the number of bytes
        resource.setrlimit(resource.RLIMIT_FSIZE, (DISK, DISK))

    with open(tmp_path / "out", "wb") as out:
        process = begin(arguments, dump, out, small_disk)
    _, err = process.communicate(timeout=60)
    assert (tmp_path / "out").stat().st_size == DISK
    assert (process.returncode, err.decode()) == (
        3,
        "budget-cli: standard output: the result could not be written: File too large\n",
    )


@pytest.mark.parametrize("arguments", LONG, ids=lambda each: each[0])
def test_a_pipe_that_does_not_block_gets_all_of_it(arguments: tuple[str, ...], dump: Path, tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    process = begin(arguments, dump, write_end)
    os.close(write_end)
    with open(read_end, "rb") as pipe:
        got = pipe.read()
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, b"")
    assert got == whole(arguments, dump, tmp_path)


@pytest.mark.parametrize("arguments", LONG, ids=lambda each: each[0])
def test_a_reader_that_stops_is_exit_141(arguments: tuple[str, ...], dump: Path) -> None:
    process = begin(arguments, dump, subprocess.PIPE)
    assert len(os.read(process.stdout.fileno(), 10)) == 10  # a file object would take all that is there
    process.stdout.close()
    process.stdout = None
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (141, b"")


WITHOUT_STDERR = [  # what says something on standard error, and its exit code
    (("loss", "no-such-file", "-B", "9"), 3),
    (("loss", "{damaged}", "-B", "9", "-f", "json"), 1),
    (("loss", "{damaged}", "-B", "nine"), 2),
    (("annotate", "{damaged}", "-B", "9"), 1),
    (("summarize", "{damaged}", "-B", "9"), 1),
]


@pytest.mark.parametrize("how", ["2>&-", "2>/dev/full", "2>&- <&-"])
def test_what_nobody_can_read_goes_nowhere(how: str) -> None:
    for arguments, code in WITHOUT_STDERR:
        arguments = tuple(each.format(damaged=DAMAGED) for each in arguments)
        normal = run(*arguments)
        done = subprocess.run(
            ["sh", "-c", f'exec "$@" {how}', "sh", *COMMAND, *arguments],
            env=ENVIRONMENT,
            capture_output=True,
            check=False,
        )
        assert (done.returncode, done.stdout) == (code, normal.stdout), arguments
        assert normal.stderr.startswith((b"budget-cli: ", b"Usage: "))


def test_no_file_gets_the_number_of_a_closed_stream(tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ("annotate", SAMPLE, "-B", "1024", "-o", out)
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *COMMAND, *arguments], env=ENVIRONMENT, check=False
    )
    assert (done.returncode, out.read_bytes()) == (0, run("annotate", SAMPLE, "-B", "1024").stdout)


SAID = [("--version",), ("--help",), ("loss", "--help"), ("check", "--explain", "all"), ("--show-completion", "bash")]


@pytest.mark.parametrize("arguments", SAID, ids=" ".join)
def test_help_that_cannot_be_written_has_the_same_exit_codes(arguments: tuple[str, ...]) -> None:
    with open("/dev/full", "wb") as full:
        done = start(*arguments, stdout=full)
    message = b"budget-cli: standard output: the result could not be written: No space left on device\n"
    assert (done.returncode, done.stderr) == (3, message)
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = start(*arguments, stdout=write_end)
    os.close(write_end)
    assert (done.returncode, done.stderr) == (141, b"")
