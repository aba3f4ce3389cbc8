"""If this fails, a signal or a killed worker leaves half a result, a file or a process, or no useful message."""

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import forks
import pytest
from command import COMMAND, ENVIRONMENT, Start
from forks import Ended, Line
from samples import GOOD, SAMPLE, lines


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_ctrl_c_gives_one_line_exit_130_and_no_output(large: Path, jobs: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "budget_cli", "loss", "-B", "9", "-f", "json", "--jobs", jobs],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell lets its background jobs ignore it
    )
    assert process.stdin is not None
    process.stdin.write(large.read_bytes())  # returns when all but one pipe buffer has been read
    process.stdin.flush()
    os.killpg(process.pid, signal.SIGINT)
    assert process.stdout is not None
    assert process.stderr is not None
    out, err = process.stdout.read(), process.stderr.read()
    process.stdin.close()
    assert process.wait() == 130
    assert (out, err) == (b"", b"budget-cli: interrupted; there is no result\n")
    process.stdout.close()
    process.stderr.close()


def test_a_killed_worker_is_reported_in_one_line(budget_cli: Start, large: Path) -> None:
    patch = (
        "import os\nfrom budget_cli.scanning import scan\nparent = os.getpid()\nwhole = scan.run\n"
        "def run(*args):\n    if os.getpid() != parent: os.kill(os.getpid(), 9)\n    return whole(*args)\n"
        "scan.run = run"
    )
    in_python = (
        "--field",
        "reward=max([reward, reward])",
    )  # what is compiled is read by threads, which cannot be killed
    done = budget_cli("loss", large, "-B", "9", "--jobs", "2", *in_python, patch=patch)
    assert (done.returncode, done.stdout) == (71, b"")
    assert done.stderr.decode() == (
        "budget-cli: a worker process was killed (out of memory?), so there is no result; "
        "--jobs 1 needs the least memory\n"
    )


IN_PYTHON = ("--field", "reward=max([reward, reward])", "--jobs", "3")  # what is compiled is read by threads


def waiting(command: str, large: Path, tmp_path: Path, *more: str, **environment: str) -> tuple[Any, Any]:
    """The command with two workers, waiting for input; and a pipe that ends once all of these processes have."""
    alive, held = os.pipe()
    process = subprocess.Popen(
        [*COMMAND, command, "-", "-B", "9", *IN_PYTHON, *more],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT | {"TMPDIR": str(tmp_path)} | environment,
        pass_fds=[held],  # every worker has it, too
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    os.close(held)
    assert process.stdin is not None
    process.stdin.write(large.read_bytes())  # returns when all but one pipe buffer has been read
    process.stdin.flush()
    return process, open(alive, "rb")


ENDINGS = [
    (signal.SIGTERM, 143, b"budget-cli: ended by SIGTERM; there is no result\n"),
    (signal.SIGHUP, 129, b"budget-cli: ended by SIGHUP; there is no result\n"),
    (signal.SIGINT, 130, b"budget-cli: interrupted; there is no result\n"),
    (signal.SIGKILL, -9, b""),
]


@pytest.mark.parametrize("command", ["loss", "annotate"])  # one streams its input, one keeps it in a temporary file
@pytest.mark.parametrize(("number", "code", "message"), ENDINGS, ids=lambda each: getattr(each, "name", ""))
def test_a_signal_leaves_no_process_and_no_file(
    large: Path, tmp_path: Path, command: str, number: signal.Signals, code: int, message: bytes
) -> None:
    out = tmp_path / "out.jsonl"
    out.write_bytes(b"old")
    process, alive = waiting(command, large, tmp_path, "-o", str(out))
    process.send_signal(number)
    with alive, process:
        assert alive.read() == b""  # returns when no process is left
        assert (process.wait(), process.stderr.read(), process.stdout.read()) == (code, message, b"")
        process.stdin.close()
    assert (os.listdir(tmp_path), out.read_bytes()) == (["out.jsonl"], b"old")


@pytest.mark.parametrize(("number", "code", "message"), ENDINGS, ids=lambda each: getattr(each, "name", ""))
def test_a_signal_leaves_no_worker_that_waits_for_a_reader(
    large: Path, number: signal.Signals, code: int, message: bytes
) -> None:
    process = subprocess.Popen(
        [*COMMAND, "annotate", large, "-B", "9", *IN_PYTHON],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert len(process.stdout.read(10)) == 10
        process.send_signal(number)
        assert process.stderr.read() == message  # returns when no process is left that could write there
        assert process.wait() == code


SIGNALS = ENDINGS[:3]
BEFORE_READING = """
import signal, sys, types, weakref
from budget_cli.sources import local
class Referred: pass
class Name(str):
    def __repr__(self): signal.raise_signal({number})
def drop():  # nobody gets what the callback of a weak reference raises
    referred = Referred()
    reference = weakref.ref(referred, lambda _: signal.raise_signal({number}))
    del referred
def replace():  # TypeError: the message about the missing name could not be made
    sys.modules["module"] = module = types.ModuleType("module")
    module.__name__ = Name("module")
    from module import missing
def swallow():
    try: replace()
    except TypeError: pass
whole = local._raw
def raw(source):
    {how}()
    yield from whole(source)
local._raw = raw
"""
ELSEWHERE = """
import os, signal, threading
from budget_cli.sources import local
number, take, main = {number}, os.read, threading.get_ident()
reads = threading.Event()
def read(descriptor, size):
    reads.set()
    return take(descriptor, size)
def elsewhere():  # a signal in this thread interrupts no call of the main one
    reads.wait()
    with open(f"/proc/self/task/{{os.getpid()}}/stat") as stat:
        while stat.read().rpartition(")")[2].split()[0] != "S":
            stat.seek(0)
    signal.pthread_kill(threading.get_ident(), number)
threading.Thread(target=elsewhere, daemon=True).start()
class Os:
    def __getattr__(self, name): return read if name == "read" else getattr(os, name)
local.os = Os()
"""


WAYS = [ELSEWHERE, *(BEFORE_READING.replace("{how}", how) for how in ("drop", "replace", "swallow"))]
NAMES = ["elsewhere", "dropped", "replaced", "swallowed"]
WAITING: list[tuple[str | Path, ...]] = [
    ("loss", "-"),
    ("loss", "-", *IN_PYTHON),
    ("check", "-"),
    ("sweep", "-"),
    ("report", "-"),
    ("compare", SAMPLE, "-"),
    ("annotate", "-"),
    ("summarize", "-"),
    ("fields", "-"),
]


def begun(command: Sequence[str | Path], stdin: int | None = None) -> subprocess.Popen[bytes]:
    """Start a command as from a terminal: a shell lets its background jobs ignore SIGINT."""
    return subprocess.Popen(
        command,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def interrupted(way: str, arguments: tuple[str | Path, ...], number: int) -> Line:
    """A command to which `way` sends a signal, as it waits for its standard input, which stays open."""
    budget = () if arguments[0] == "fields" else ("-B", "9")
    return Line((*map(str, arguments), *budget), stdin=forks.OPEN, patch=way.format(number=int(number)))


@pytest.fixture(scope="module")
def ended() -> dict[Line, Ended]:
    """How all of them end, which are forks of one process."""
    if not Path("/proc/self/task").exists():
        pytest.skip("this system does not tell whether a thread waits")
    lines = [interrupted(way, arguments, SIGNALS[0][0]) for way in WAYS for arguments in WAITING]
    lines += [interrupted(way, WAITING[0], ending[0]) for way in WAYS for ending in SIGNALS[1:]]
    return dict(zip(lines, forks.run(lines, ENVIRONMENT), strict=True))


@pytest.mark.parametrize("arguments", WAITING, ids=lambda each: " ".join(map(str, each[::2])))
@pytest.mark.parametrize("way", WAYS, ids=NAMES)
def test_a_signal_ends_every_command_whatever_it_did_as_the_signal_came(
    ended: dict[Line, Ended], way: str, arguments: tuple[str | Path, ...]
) -> None:
    number, code, message = SIGNALS[0]
    assert ended[interrupted(way, arguments, number)] == (code, b"", message)


@pytest.mark.parametrize("way", WAYS, ids=NAMES)
@pytest.mark.parametrize(("number", "code", "message"), SIGNALS[1:], ids=["SIGHUP", "SIGINT"])
def test_every_signal_ends_a_command_whatever_it_did(
    ended: dict[Line, Ended], number: signal.Signals, code: int, message: bytes, way: str
) -> None:
    assert ended[interrupted(way, WAITING[0], number)] == (code, b"", message)


@pytest.mark.parametrize(("number", "code", "message"), SIGNALS, ids=lambda each: getattr(each, "name", ""))
def test_a_signal_ends_a_command_whose_reader_has_stopped_without_leaving(
    tmp_path: Path, number: signal.Signals, code: int, message: bytes
) -> None:
    dump = tmp_path / "dump.jsonl"
    records = [GOOD | {"prompt_id": f"p{each}"} for each in range(3000)]
    dump.write_bytes(lines(records))
    process = begun([*COMMAND, "summarize", dump, "-B", "9"])  # in many pieces: some wait in Python's buffer
    with process:
        try:
            assert process.stdout is not None
            assert len(process.stdout.read(10)) == 10
            process.send_signal(number)
            assert process.wait(60) == code
        finally:
            process.kill()
        assert process.stderr is not None
        assert process.stderr.read() == message


def test_a_signal_to_all_of_them_gives_one_line(large: Path, tmp_path: Path) -> None:
    process, alive = waiting("loss", large, tmp_path)
    with alive, process:
        workers = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        if not workers.exists():
            pytest.skip("this system does not list the children of a process")
        for child in workers.read_text().split():
            os.kill(int(child), signal.SIGTERM)
        process.send_signal(signal.SIGTERM)
        assert alive.read() == b""
        assert (process.wait(), process.stderr.read()) == (143, ENDINGS[0][2])
        process.stdin.close()


def test_an_ignored_signal_stays_ignored(large: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, "loss", "-", "-B", "9", "-f", "json"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=ENVIRONMENT,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),  # as nohup does
    )
    with process:
        assert process.stdin is not None
        process.stdin.write(large.read_bytes())
        process.send_signal(signal.SIGHUP)
        process.stdin.close()
        assert process.wait() == 0


ORPHAN = """
import os, sys
from budget_cli.scanning import workers
def big(task, plan):
    return b"x" * (1 << 24)  # more than a pipe holds, so that a worker sleeps while it hands it over
if __name__ == "__main__":
    for done in workers.run(big, 0, range(40), 3, True, start_method=sys.argv[1]):
        print("working", flush=True)
        sys.stdin.read()
"""


@pytest.mark.parametrize("start_method", multiprocessing.get_all_start_methods())
def test_no_worker_outlives_its_parent_however_it_was_started(tmp_path: Path, start_method: str) -> None:
    script = tmp_path / "orphan.py"
    script.write_text(ORPHAN)
    process = subprocess.Popen(
        [sys.executable, script, start_method], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=ENVIRONMENT
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"working\n"
        process.kill()
        assert process.stdout.read() == b""  # every worker has its other end; ends when none is left


def test_a_worker_that_cannot_be_started_is_no_bug(budget_cli: Start, large: Path) -> None:
    patch = (
        "import os, errno\ndef fork(): raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))\nos.fork = fork"
    )
    done = budget_cli("loss", large, "-B", "9", *IN_PYTHON, patch=patch)
    assert (done.returncode, done.stdout, done.stderr.decode()) == (
        71,
        b"",
        "budget-cli: only 0 of 2 worker processes could be started: Resource temporarily unavailable;"
        " give a smaller --jobs\n",
    )


def test_a_bug_in_a_worker_shows_where_it_is(budget_cli: Start, large: Path) -> None:
    patch = "from budget_cli.scanning import scan\ndef run(*args):\n    return {}['lost']\nscan.run = run"
    done = budget_cli("loss", large, "-B", "9", *IN_PYTHON, patch=patch)
    assert done.returncode == 70
    assert b"KeyError: 'lost'" in done.stderr


def test_no_memory_is_no_bug(budget_cli: Start, large: Path) -> None:
    patch = "from budget_cli.scanning import scan\ndef run(*args):\n    raise MemoryError\nscan.run = run"
    done = budget_cli("loss", large, "-B", "9", "--jobs", "1", patch=patch)
    message = b"budget-cli: out of memory, so there is no result; --jobs 1 needs the least\n"
    assert (done.returncode, done.stdout, done.stderr) == (71, b"", message)
