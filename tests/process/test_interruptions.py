"""If this fails, Ctrl-C or a killed worker leaves half a result, or no useful message."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from command import Start


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
    in_python = ("--field", "reward=minus(reward, `0`)")  # plain fields are read by threads, which cannot be killed
    done = budget_cli("loss", large, "-B", "9", "--jobs", "2", *in_python, patch=patch)
    assert (done.returncode, done.stdout) == (70, b"")
    assert done.stderr.decode() == (
        "budget-cli: a worker process was killed (out of memory?), so there is no result; "
        "--jobs 1 needs the least memory\n"
    )
