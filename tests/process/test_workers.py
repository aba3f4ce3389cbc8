"""If this fails, the number of processes, or how they start, shows in the result, or a process is left behind."""

import multiprocessing
import os
import resource
import threading
from pathlib import Path
from typing import Any

import pytest
from command import Start
from scans import content

from budget_cli.groups.moments import Layout
from budget_cli.records.jsonl import Limits
from budget_cli.scanning import workers
from budget_cli.scanning.plan import scan_plan
from budget_cli.scanning.scan import scan
from budget_cli.schema.fields import Fields
from budget_cli.sources import blocks
from budget_cli.sources import local as sources

GOOD = b'{"prompt_id": "p", "reward": 1, "log_prob": -1, "old_log_prob": -2, "response_length": 3}\n'
PLAN = scan_plan(Fields(), Layout((100,)), Limits(), hold=True)


@pytest.fixture(scope="module")
def dump(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file of several blocks: prompts recur in later blocks, and one line in a thousand is no record."""
    path = tmp_path_factory.mktemp("dump") / "a.jsonl"
    good = '{"prompt_id": "p%d", "reward": %r, "log_prob": %r, "old_log_prob": -1.25, "response_length": %d}\n'
    with path.open("w") as file:
        for i in range(2 * blocks.BLOCK_BYTES // 90):
            file.write("{\n" if i % 1000 == 999 else good % (i % 777, i % 7 / 3, -i / 11, i % 300))
    return str(path)


@pytest.fixture(scope="module")
def alone(dump: str) -> dict[str, Any]:
    """Return the scan of one process."""
    return content(scan(sources.find([dump]), PLAN, jobs=1))


@pytest.mark.parametrize("jobs", [2, 3])
@pytest.mark.parametrize("start_method", multiprocessing.get_all_start_methods())
def test_any_number_of_workers_gives_the_scan_of_one_process(
    dump: str, alone: dict[str, Any], start_method: str, jobs: int
) -> None:
    assert content(scan(sources.find([dump]), PLAN, jobs, start_method=start_method)) == alone
    assert not multiprocessing.active_children()


def test_many_files_are_not_all_open_at_once(tmp_path: Path) -> None:
    for number in range(100):
        (tmp_path / f"{number}.jsonl").write_bytes(GOOD)
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)
    in_use = len(os.listdir("/dev/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (in_use + 40, allowed[1]))
    try:
        found = scan(sources.find([str(tmp_path)]), PLAN, jobs=2)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, allowed)
    assert (found.problems, found.tally.used) == ([], 100)


def _square(task: int, plan: int) -> int:
    return task * task + plan


def test_a_waiting_thread_does_not_delay_an_interruption() -> None:
    over, finished = threading.Event(), threading.Event()

    def work(task: int, plan: int) -> int:
        if threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt
        over.wait(60)
        finished.set()
        return task

    with pytest.raises(KeyboardInterrupt):
        list(workers.run(work, 0, range(10), jobs=2, at_once=True, threads=True))
    assert not finished.is_set()
    over.set()


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("tasks", [0, 1, 3, 60])
def test_outcomes_come_in_the_order_of_the_tasks(at_once: bool, tasks: int) -> None:
    outcomes = list(workers.run(_square, 5, range(tasks), jobs=3, at_once=at_once))
    assert outcomes == [(i, i * i + 5) for i in range(tasks)]


def test_no_byte_of_a_result_depends_on_the_seed_that_a_process_draws(budget_cli: Start, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"".join(GOOD.replace(b'"p"', b'"prompt %d"' % (i * 7919 % 1000)) for i in range(5000)))
    commands = (["summarize", path], ["loss", path, "--per-prompt", "-f", "csv"], ["check", path, "-f", "json"])
    for command in commands:
        one, other = (budget_cli(*command, "-B", "4") for _ in range(2))
        assert one.stdout == other.stdout != b""
