"""Commands → seconds and megabytes of whole processes. Knows nothing of what the commands do.

Time and memory come from separate runs: reading a process's page tables a hundred times a second would slow it down.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

SAMPLE_SECONDS = 0.01
PROC = Path("/proc")
HAS_PSS = (PROC / "self/smaps_rollup").exists()
BYTECODE = Path(__file__).parent / "data" / "bytecode"  # kept, as an installed package has it, whatever the caller set
DROPPED = ("BUDGET_CLI_", "PYTHONDONTWRITEBYTECODE")
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(DROPPED)}
ENVIRONMENT["PYTHONPYCACHEPREFIX"] = str(BYTECODE)

Command = Sequence[str]


@dataclass
class Usage:
    """What a command took; `output` is that of its last run."""

    walls: list[float] = field(default_factory=list)  # seconds, one a run
    cpus: list[float] = field(default_factory=list)  # seconds, user and system, workers included
    largest: float = 0.0  # MB, resident peak of the largest single process, over all runs
    peak: float | None = None  # MB, proportional set size, process and workers together
    peak_anonymous: float | None = None  # MB of it that is not a mapped file
    output: str = ""

    @property
    def wall(self) -> float:
        """Median, seconds."""
        return statistics.median(self.walls)

    @property
    def cpu(self) -> float:
        """Median, seconds."""
        return statistics.median(self.cpus)


def in_turn(commands: Mapping[str, Command], runs: Mapping[str, int], cwd: Path) -> dict[str, Usage]:
    """Each command as often as `runs` says, A B C A B C, then once more each for its memory."""
    usages = {name: Usage() for name in commands}
    for turn in range(max(runs.values())):
        for name, command in commands.items():
            if turn < runs[name]:
                print(f"  run {turn + 1}: {name}", file=sys.stderr)
                _run(command, cwd, usages[name], sampled=False)
    for name, command in commands.items():
        if HAS_PSS:
            print(f"  memory: {name}", file=sys.stderr)
            _run(command, cwd, usages[name], sampled=True)
    return usages


def _run(command: Command, cwd: Path, usage: Usage, sampled: bool) -> None:
    """One run, added to `usage`; a command that fails ends the benchmark."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        begin = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, stderr=err, cwd=cwd, env=ENVIRONMENT)
        if sampled:
            _sample_until_done(process.pid, usage)
        _, status, spent = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if process.returncode:
            raise SystemExit(f"{' '.join(command)}: exit {process.returncode}\n{err.read().decode()}")
        usage.output = out.read().decode()
    kilobytes = spent.ru_maxrss / (1024 if sys.platform == "darwin" else 1)
    usage.largest = max(usage.largest, kilobytes * 1024 / 1e6)
    if not sampled:
        usage.walls.append(wall)
        usage.cpus.append(spent.ru_utime + spent.ru_stime)


def _sample_until_done(pid: int, usage: Usage) -> None:
    """Highest sum over the process and its descendants; leaves the finished process to be waited for."""
    usage.peak = usage.peak_anonymous = 0.0
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        total = anonymous = 0
        for each in _tree(pid):
            held = _rollup(each)
            total += held.get("Pss", 0)
            anonymous += held.get("Pss_Anon", 0) + held.get("Pss_Shmem", 0)
        usage.peak = max(usage.peak, total * 1024 / 1e6)
        usage.peak_anonymous = max(usage.peak_anonymous, anonymous * 1024 / 1e6)
        time.sleep(SAMPLE_SECONDS)


def _tree(pid: int) -> list[int]:
    found = [pid]
    for each in found:  # grows while it is read
        for children in PROC.glob(f"{each}/task/*/children"):
            try:
                found += map(int, children.read_text().split())
            except OSError:
                continue  # the thread has ended
    return found


def _rollup(pid: int) -> dict[str, int]:
    """Kilobytes by name, from smaps_rollup; nothing once the process has ended."""
    try:
        lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()[1:]
    except OSError:
        return {}
    return {line.split(":")[0]: int(line.split()[1]) for line in lines}
