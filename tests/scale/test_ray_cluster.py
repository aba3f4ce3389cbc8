"""If this fails, a Ray cluster gives another result than one process, or loses one when a node dies.

Three nodes on this machine, each a `ray start` of its own. What a test ends are the processes of its own nodes.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command import Start
from servers import Server

sys.path.insert(0, os.fspath(Path(__file__).parents[2] / "benchmarks"))
import generate

pytestmark = pytest.mark.scale

RAY = Path(sys.executable).with_name("ray")
OPTIONS = ("-B", "1000", "-f", "json", "--precision", "17", "--max-errors", "1%")
WORKLOADS = {"small": 300_000, "text": 20_000, "tokens": 2_500}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Nodes:
    """A head and two more."""

    def __init__(self, folder: Path) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        self._folder = folder
        port = self.address.rpartition(":")[2]
        self.running = [self._start("--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={folder}")]

    def join(self) -> None:
        """One node more."""
        self.running.append(self._start(f"--address={self.address}"))

    def _start(self, *options: str) -> subprocess.Popen[bytes]:
        number = len(list(self._folder.glob("*.log")))
        log = self._folder / f"node{number}.log"
        with log.open("wb") as file:
            node = subprocess.Popen(
                [
                    RAY,
                    "start",
                    *options,
                    "--block",
                    "--node-ip-address=127.0.0.1",
                    "--num-cpus=1",
                    "--object-store-memory=200000000",
                    "--disable-usage-stats",
                ],
                stdout=file,
                stderr=file,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        with subprocess.Popen(
            ["tail", "-n", "+1", "-F", log], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as tail:
            assert tail.stdout is not None
            for line in tail.stdout:
                if b"Ray runtime started" in line:
                    break
                assert node.poll() is None, log.read_text()
            tail.kill()
        return node

    @staticmethod
    def end(node: subprocess.Popen[bytes]) -> None:
        """As when the machine is switched off: all processes of the node at once."""
        for pid in processes_of(node):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        node.wait()


def processes_of(node: subprocess.Popen[bytes]) -> list[int]:
    """What this `ray start` has begun, and itself."""
    begun, parents = [node.pid], parents_of_all()
    for pid in begun:
        begun += [child for child, parent in parents.items() if parent == pid and child not in begun]
    return begun


def parents_of_all() -> dict[int, int]:
    parents = {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError, IndexError):
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    return parents


def asks(node: subprocess.Popen[bytes], port: int) -> bool:
    """Whether a process of this node is what speaks from this port."""
    table = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    sockets = {f"socket:[{row[9]}]" for row in table if int(row[1].rpartition(":")[2], 16) == port}
    for pid in processes_of(node):
        with contextlib.suppress(OSError):
            for descriptor in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    if os.readlink(descriptor) in sockets - {"socket:[0]"}:
                        return True
    return False


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    cluster = Nodes(tmp_path_factory.mktemp("ray", numbered=True))
    try:
        cluster.join()
        cluster.join()
        yield cluster
    finally:
        for node in reversed(cluster.running):
            cluster.end(node)


def both(budget_cli: Start, nodes: Nodes, *arguments: Any, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """What one process says, once the cluster has said the same."""
    alone = budget_cli(*arguments, **environment)
    together = budget_cli(*arguments, "--engine", "ray", RAY_ADDRESS=nodes.address, **environment)
    assert together.returncode == alone.returncode, together.stderr.decode()
    assert together.stdout == alone.stdout
    assert together.stderr == alone.stderr
    return alone


OBJECTIVES = [
    ("--objective", "verl-grpo", "--set", "penalize=correct"),
    ("--objective", "dapo", "--set", "cap=200", "--set", "scale=solve-rate"),
    ("--set", "penalty=distance", "--aggregate", "token"),
    ("--objective", "opo"),
]


@pytest.mark.parametrize("given", OBJECTIVES, ids=" ".join)
def test_an_objective_gives_the_bytes_of_one_process(
    budget_cli: Start, nodes: Nodes, given: tuple[str, ...], tmp_path: Path
) -> None:
    for number in range(3):
        with (tmp_path / f"{number}.jsonl").open("w", encoding="utf-8") as file:
            file.writelines(generate.WORKLOADS["small"](20_000, 300 + 20 * number))  # many prompts come back
    assert both(budget_cli, nodes, "loss", tmp_path, *OPTIONS, *given, "--per-prompt").returncode == 0


@pytest.mark.parametrize("name", WORKLOADS)
def test_the_benchmarks_give_the_bytes_of_one_process(
    budget_cli: Start, nodes: Nodes, name: str, tmp_path: Path
) -> None:
    records = WORKLOADS[name]
    dump = tmp_path / "dump.jsonl"
    with dump.open("w", encoding="utf-8") as file:
        file.writelines(generate.WORKLOADS[name](records, records // 50))
    assert both(budget_cli, nodes, "loss", dump, *OPTIONS, "--per-prompt").returncode == 0


def test_many_sources_of_all_kinds_give_the_bytes_of_one_process(
    budget_cli: Start, nodes: Nodes, tmp_path: Path
) -> None:
    sample = Path(__file__).parents[2] / "sample_data"
    for number in range(20):
        (tmp_path / f"{number}.jsonl").write_bytes((sample / "steps" / f"{41 + number % 4}.jsonl").read_bytes())
    subprocess.run(["gzip", tmp_path / "3.jsonl", tmp_path / "11.jsonl"], check=True)
    (tmp_path / "5.jsonl").write_bytes((sample / "damaged.jsonl").read_bytes())
    (tmp_path / "6.jsonl").write_bytes(b"")
    (tmp_path / "7.jsonl").unlink()
    (tmp_path / "7.jsonl.gz").write_bytes((tmp_path / "3.jsonl.gz").read_bytes()[:-9])
    summary = tmp_path / "8.jsonl"
    assert budget_cli("summarize", sample / "steps", "-B", "1000", "-o", summary).returncode == 0
    assert both(budget_cli, nodes, "loss", tmp_path, *OPTIONS, "--per-prompt").returncode == 3
    summary.unlink()
    both(budget_cli, nodes, "loss", tmp_path, *OPTIONS, "--by", "file", "-v")
    both(budget_cli, nodes, "loss", tmp_path, *OPTIONS, "--by", "step")
    both(budget_cli, nodes, "check", tmp_path, "-B", "1000", "-f", "json")
    both(budget_cli, nodes, "summarize", tmp_path, "-B", "1000")
    both(budget_cli, nodes, "report", sample / "steps", "-B", "1000", "--by", "file")
    both(budget_cli, nodes, "sweep", sample / "steps", "-B", "512,1024", "-f", "json")
    both(budget_cli, nodes, "compare", sample / "steps/41.jsonl", sample / "steps/44.jsonl", "-B", "1000", "-f", "json")


IN_SHARDS = """
import sys
from budget_cli.scanning import ray as cluster
cluster.MANY, cluster.FOLDED, begin = 1000, 3, cluster._Driver._start_sharding
cluster._Driver._start_sharding = lambda driver: (begin(driver), print("in shards", file=sys.stderr))
"""


def test_many_prompts_are_merged_in_shards_to_the_numbers_of_one_process(
    budget_cli: Start, nodes: Nodes, tmp_path: Path
) -> None:
    for number in range(24):
        with (tmp_path / f"{number}.jsonl").open("w", encoding="utf-8") as file:
            file.writelines(generate.WORKLOADS["small"](4000, 300 + 20 * number))  # many prompts come back
    for number in (3, 17):
        dump, summary = tmp_path / f"{number}.jsonl", tmp_path / f"{number}.summary.jsonl"
        assert budget_cli("summarize", dump, "-B", "1000", "-o", summary).returncode == 0
        dump.unlink()
    arguments = ("loss", tmp_path, *OPTIONS, "--per-prompt")
    alone = budget_cli(*arguments)
    together = budget_cli(*arguments, "--engine", "ray", RAY_ADDRESS=nodes.address, patch=IN_SHARDS)
    assert b"prompts after the first file" in alone.stderr
    assert together.stderr == b"in shards\n" + alone.stderr
    assert together.returncode == 0
    found, expected = json.loads(together.stdout), json.loads(alone.stdout)
    assert len(expected["warnings"]) == 1
    assert found == expected


def test_a_node_that_dies_in_the_middle_changes_nothing(
    budget_cli: Start, nodes: Nodes, server: Server, dump: Path
) -> None:
    data = dump.read_bytes()
    urls = []
    for number in range(4):
        server.objects[f"/{number}.jsonl"] = data
        urls.append(f"{server.url}/{number}.jsonl")
    alone = budget_cli("loss", *urls, *OPTIONS)
    assert alone.returncode == 0
    server.got.clear()
    nodes.join()
    victim = nodes.running.pop()
    lost = []
    lock = threading.Lock()

    def kill(handler: Any) -> None:
        with lock:
            if not lost and asks(victim, handler.client_address[1]):
                nodes.end(victim)
                lost.append((handler.command, handler.path, handler.headers["Range"]))

    server.seen = kill
    together = budget_cli("loss", *urls, *OPTIONS, "--engine", "ray", RAY_ADDRESS=nodes.address)
    assert together.returncode == 0, together.stderr.decode()
    assert together.stdout == alone.stdout
    assert victim.returncode == -signal.SIGKILL
    assert server.got.count(lost[0]) > 1  # what it was reading was read again


def test_no_cluster_is_a_usage_error_and_none_is_started(budget_cli: Start, tmp_path: Path) -> None:
    dump = Path(__file__).parents[2] / "sample_data" / "rollouts.jsonl"
    address = f"127.0.0.1:{free_port()}"
    done = budget_cli("loss", dump, *OPTIONS, "--engine", "ray", RAY_ADDRESS=address)
    assert (done.returncode, done.stdout) == (2, b"")
    advice = "start one (ray start --head), or name one (RAY_ADDRESS=HOST:6379)"
    assert done.stderr.decode() == f"budget-cli: --engine ray: there is no Ray cluster at {address}: {advice}\n"
