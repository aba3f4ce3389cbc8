"""If this fails, tasks that run elsewhere, separately and out of order, give a different result than one process.

Ray is played by a stand-in that pickles what it is given and gives, as Ray does; tests/scale has the real one.
"""

import os
import pickle
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scans import content

from budget_cli.errors import InputProblem, UsageProblem, WorkerDied
from budget_cli.evidence.responses import ObservationSpec
from budget_cli.groups.moments import Layout
from budget_cli.records.jsonl import Limits
from budget_cli.scanning import formats, summary_writing
from budget_cli.scanning import ray as cluster
from budget_cli.scanning.plan import Plan, scan_plan
from budget_cli.scanning.scan import scan
from budget_cli.schema.fields import Fields
from budget_cli.sources import blocks
from budget_cli.sources import local as sources

PLAN = scan_plan(Fields(), Layout((100,)), Limits())
OBSERVED = PLAN.keeping(hold=True, observe=ObservationSpec((100,), 0.5, 20.0, beta=0.01))
TWO = Layout((50, 100))
SUMMARIZED = PLAN.keeping(
    layout=TWO, sources_apart=True, observe=ObservationSpec(TWO.budgets, 0.5, 20.0, per_prompt=False)
)
LINE = '{"prompt_id": "p%d", "reward": %r, "log_prob": %r, "old_log_prob": -1.25, "response_length": %d}\n'


class RayError(Exception):
    pass


class RayTaskError(RayError):
    def __init__(self, cause: Exception) -> None:
        super().__init__(repr(cause))
        self.cause = cause


class StandIn:
    """Ray's interface, as far as it is used; it hands out read-only arrays."""

    exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)

    def __init__(self, cpus: int) -> None:
        self._cpus = cpus
        self.waiting = self.most_waiting = 0
        self.calls: list[str] = []
        self.node: Path | None = None  # the directory where tasks are done

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": self._cpus}

    def put(self, value: Any) -> Any:
        buffers: list[pickle.PickleBuffer] = []
        data = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
        return SimpleNamespace(data=data, buffers=[bytes(buffer.raw()) for buffer in buffers], waited_for=False)

    def get(self, reference: Any) -> Any:
        if isinstance(reference.data, Exception):
            raise reference.data
        if reference.waited_for:
            self.waiting -= 1
        return pickle.loads(reference.data, buffers=reference.buffers)

    def wait(self, references: list[Any], timeout: float) -> tuple[list[Any], list[Any]]:
        return references, []

    def remote(self, num_returns: int = 1, **_: Any) -> Callable[..., Any]:
        def made(function: Callable[..., Any]) -> Any:
            def run(*given: Any) -> Any:
                self.calls.append(function.__name__)
                here = os.getcwd()
                try:
                    os.chdir(self.node or here)
                    answer = function(*(self.get(each) if hasattr(each, "data") else each for each in given))
                except Exception as error:
                    failed = SimpleNamespace(data=RayTaskError(error), waited_for=False)
                    return [failed] * num_returns if num_returns > 1 else failed
                finally:
                    os.chdir(here)
                if num_returns == 1:
                    return self.put(answer)
                references = [self.put(each) for each in answer]
                if function.__name__ == "_split_prompts":
                    return references
                references[1].waited_for = True
                self.waiting += 1
                self.most_waiting = max(self.most_waiting, self.waiting)
                return references

            return SimpleNamespace(remote=run)

        return made

    def shutdown(self) -> None:
        pass


@pytest.fixture(params=[2, 3])
def ray(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    stand_in = StandIn(request.param)
    monkeypatch.setattr(cluster, "_driver", lambda: stand_in)
    return stand_in


@pytest.fixture
def dumps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files of no, one and hundreds of small blocks; prompts recur in other blocks and files."""
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 1000)
    monkeypatch.setattr(blocks, "PIECE_BYTES", 100)
    monkeypatch.setattr(cluster, "SPAN", 4)
    monkeypatch.setattr(cluster, "FOLDED", 4)
    monkeypatch.setattr(formats, "_of_thread", threading.local())  # a reader's memory is as large as a block
    for name, records in enumerate([0, 3, 300, 40, 100]):
        with (tmp_path / f"{name}.jsonl").open("w") as file:
            for i in range(records):
                file.write("{\n" if i % 100 == 99 else LINE % (i % 77, i % 7 / 3, -i / 11, i % 300))
    return tmp_path


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "plan", [PLAN, PLAN.keeping(by="file"), PLAN.keeping(sources_apart=True), OBSERVED, SUMMARIZED]
)
def test_tasks_give_the_scan_of_one_process(ray: StandIn, dumps: Path, plan: Plan) -> None:
    found = sources.find([str(dumps)])
    assert content(cluster.scan(found, plan)) == content(scan(found, plan, jobs=1))
    assert {"_whole", "_span", "_folded"} <= set(ray.calls)
    assert ray.calls.count("_folded") > ray.calls.count("_span") / cluster.FOLDED


@pytest.mark.exhaustive
@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("last", [4, 5])
def test_a_summary_takes_its_place_among_the_tasks(ray: StandIn, dumps: Path, last: int, apart: bool) -> None:
    paths = [str(dumps / f"{name}.jsonl") for name in range(5)]
    part = scan(sources.find(paths[3:last]), SUMMARIZED, jobs=1)
    (dumps / "summary").write_bytes(b"".join(summary_writing.write(part, PLAN.fields, TWO, SUMMARIZED.keep.observe)))
    found, plan = (
        sources.find([*paths[:3], str(dumps / "summary"), *paths[last:]]),
        SUMMARIZED.keeping(sources_apart=apart),
    )
    answer = content(cluster.scan(found, plan))
    assert answer == content(scan(found, plan, jobs=1))
    whole = content(scan(sources.find(paths), plan, jobs=1))
    for name in ("sources", "first_rows", "evidence"):
        assert answer[name] == whole[name]


@pytest.mark.exhaustive
@pytest.mark.parametrize("many", [1, 80, 1 << 20])
@pytest.mark.parametrize("plan", [PLAN, PLAN.keeping(by="file"), PLAN.keeping(sources_apart=True), OBSERVED])
def test_prompts_merged_in_shards_equal_those_of_one_process(
    ray: StandIn, dumps: Path, monkeypatch: pytest.MonkeyPatch, plan: Plan, many: int
) -> None:
    monkeypatch.setattr(cluster, "MANY", many)
    monkeypatch.setattr(cluster, "FOLDED", 2)
    for name in range(5, 12):  # prompts that are known, and that are new
        lines = (LINE % (i * name, i % 7 / 3, -i / 11, i % 300) for i in range(60))
        (dumps / f"{name}.jsonl").write_text("".join(lines))
    found = sources.find([str(dumps)])
    assert content(cluster.scan(found, plan)) == content(scan(found, plan, jobs=1))
    in_shards = many < 1 << 20 and not plan.keep.sources_apart and plan.keep.observe is None
    assert ("_merged_shard" in ray.calls) == in_shards


@pytest.mark.parametrize("many", [1, 1 << 20])
def test_summaries_are_merged_in_shards_too(
    ray: StandIn, dumps: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, many: int
) -> None:
    monkeypatch.setattr(cluster, "MANY", many)
    plan = PLAN
    folder = tmp_path / "parts"
    folder.mkdir()
    for name in ("1", "2", "4"):
        part = scan(
            sources.find([str(dumps / f"{name}.jsonl"), str(dumps / "3.jsonl")]), plan.keeping(sources_apart=True)
        )
        (folder / f"{name}.summary.jsonl").write_bytes(
            b"".join(summary_writing.write(part, plan.fields, plan.keep.layout))
        )
    (folder / "2.jsonl").write_bytes((dumps / "2.jsonl").read_bytes())
    found = sources.find([str(folder)])
    of_cluster, of_one = cluster.scan(found, plan), scan(found, plan, jobs=1)
    assert of_cluster.groups.table.tobytes() == of_one.groups.table.tobytes()
    assert list(of_cluster.groups.keys()) == list(of_one.groups.keys())
    assert (of_cluster.tally, of_cluster.rejections) == (of_one.tally, of_one.rejections)
    assert of_cluster.groups.lengths.percentiles([9, 50]) == of_one.groups.lengths.percentiles([9, 50])
    assert (of_cluster.later_prompts, of_cluster.recurring) == (of_one.later_prompts, of_one.recurring)
    assert (ray.calls.count("_summary"), "_merged_shard" in ray.calls) == (3, many == 1)


@pytest.mark.parametrize("many", [1, 60, 1 << 20])
def test_prompts_that_recur_at_full_size_are_counted_in_shards_too(
    ray: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, many: int
) -> None:
    """Five files of 20 prompts of two, the last with ten others: the warning says 70 of 80."""
    monkeypatch.setattr(cluster, "MANY", many)
    for file in range(5):
        numbers = [number + 10 * (file == 4) for number in range(20) for _ in range(2)]
        lines = (LINE % (number, i % 3 / 2, -1.0, 9) for i, number in enumerate(numbers))
        (tmp_path / f"{file}.jsonl").write_text("".join(lines))
    found = cluster.scan(sources.find([str(tmp_path)]), PLAN)
    assert (found.later_prompts, found.recurring) == (80, 70)
    assert ("_merged_shard" in ray.calls) == (many < 1 << 20)


@pytest.mark.parametrize("most", [1, 5, None])
def test_no_more_tasks_are_handed_out_than_the_limit(ray: StandIn, dumps: Path, most: int | None) -> None:
    cluster.scan(sources.find([str(dumps)]), PLAN, most)
    assert ray.most_waiting == (most or ray.cluster_resources()["CPU"] * cluster.AHEAD)


def test_progress_ends_at_all_bytes_and_records(ray: StandIn, dumps: Path) -> None:
    reports: list[tuple[int, int]] = []
    found = cluster.scan(
        sources.find([str(dumps)]),
        PLAN,
        progress=lambda so_far: reports.append((so_far.bytes, so_far.tally.read)),
    )
    assert reports == sorted(reports)
    assert reports[-1] == (found.bytes, found.tally.read)


def test_with_many_sources_each_is_one_task(ray: StandIn, tmp_path: Path) -> None:
    for name in range(20):
        (tmp_path / f"{name}.jsonl").write_text(LINE % (name, 1.0, -1, 3))
    found = sources.find([str(tmp_path)])
    assert content(cluster.scan(found, PLAN)) == content(scan(found, PLAN, jobs=1))
    assert ray.calls == ["_whole"] * 20


def test_a_relative_name_is_the_file_of_the_directory_where_the_scan_began(
    ray: StandIn, dumps: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(dumps)
    found = sources.find(["1.jsonl"])
    alone = scan(found, PLAN, jobs=1)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setattr(ray, "node", tmp_path / "elsewhere")
    assert content(cluster.scan(found, PLAN)) == content(alone)


def as_elsewhere(source: sources.Source, changed_at: int) -> str:
    with pytest.raises(InputProblem) as raised:
        cluster._local(source, changed_at)
    return str(raised.value)


def test_a_node_without_the_file_reports_it(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(LINE % (1, 1.0, -1, 3))
    (source,) = sources.find([str(path)])
    source = replace(source, name="a.jsonl", identity=(0, 0))  # as another node numbers it
    changed_at = path.stat().st_mtime_ns
    assert cluster._local(source, changed_at).identity == (path.stat().st_dev, path.stat().st_ino)
    advice = "every node of the cluster must see the file, on a shared file system, or give a URL"
    node = f"a.jsonl: cannot be read on node {os.uname().nodename}: "
    other = f"{node}it differs from the file where the scan began: {advice}"
    assert as_elsewhere(source, changed_at + 1) == other
    with path.open("a") as file:
        file.write("{}\n")
    assert cluster._local(source, changed_at).size == source.size  # it grew
    path.write_text("{}\n")
    assert as_elsewhere(source, changed_at) == other
    path.unlink()
    assert as_elsewhere(source, changed_at) == f"{node}No such file or directory: {advice}"


@pytest.mark.parametrize("task", ["_whole", "_span"])
def test_a_source_that_a_node_cannot_read_is_a_problem_of_the_scan(
    ray: StandIn, dumps: Path, task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "_changed_at", lambda source: 0)
    name = {"_whole": "1.jsonl", "_span": "2.jsonl"}[task]
    found = cluster.scan(sources.find([str(dumps / name)]), PLAN)
    assert [problem.problem.partition(": ")[2][:24] for problem in found.problems] == ["it differs from the file"]
    assert len(found.groups) == 0


@pytest.mark.parametrize(
    ("error", "raised", "message"),
    [
        (UsageProblem("bad"), UsageProblem, "bad"),
        (
            ModuleNotFoundError("No module named 'budget_cli'"),
            UsageProblem,
            "--engine ray: a node has no budget-cli: install the same version on every node",
        ),
        (RayError("x"), WorkerDied, "the cluster lost a task for good (RayError), so there is no result"),
        (ZeroDivisionError("a bug"), RayTaskError, "ZeroDivisionError('a bug')"),
    ],
)
def test_an_error_in_a_task_is_reported_in_one_line(
    error: Exception, raised: type[Exception], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = cluster._Driver(StandIn(1), PLAN, None, None)
    failed = error if isinstance(error, RayError) else RayTaskError(error)
    with pytest.raises(raised) as caught:
        driver._got(SimpleNamespace(data=failed))
    assert str(caught.value) == message


def test_another_version_on_a_node_is_refused() -> None:
    with pytest.raises(UsageProblem, match=r"^--engine ray: a node has budget-cli .*, here it is 9.9: "):
        cluster._plan_of((PLAN, "9.9"))


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(b"",))
    writer.start()
    with pytest.raises(UsageProblem, match="/pipe: a cluster cannot read standard input or a pipe: name files that"):
        cluster.scan(sources.find([str(pipe)]), PLAN)
    writer.join()


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("local", "--engine ray: RAY_ADDRESS is local, which would start a cluster: start one (ray start --head), or"),
        (
            "127.0.0.1:1",
            "--engine ray: there is no Ray cluster at 127.0.0.1:1: start one (ray start --head), or name one",
        ),
        ("", "--engine ray: there is no Ray cluster at auto: start one (ray start --head), or name one (RAY_ADDRESS="),
    ],
)
def test_a_cluster_is_never_started(address: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def init(address: str, **_: Any) -> None:
        assert address == "auto"
        raise ConnectionError

    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(init=init))  # type: ignore[arg-type]
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(UsageProblem) as raised:
        cluster._driver()
    assert str(raised.value).startswith(message)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageProblem, match=r"needs one more package: .*pip install .*\[ray\]'?, in the version"):
        cluster._driver()


def test_groups_from_shared_read_only_memory_can_be_merged_into(ray: StandIn) -> None:
    array = np.arange(4.0)
    assert not ray.get(ray.put(array)).flags.writeable
