"""Sources → a scan, read by the tasks of a running Ray cluster; never starts a cluster.

A task reads a source, or a span of a large one. Other tasks fold the spans of a source in the order of the bytes, and
this process folds the sources into the total. Once many prompts recur from source to source, tasks merge the prompts,
too, one shard each by a hash of the id, and every prompt comes to this process once. So this process holds no more than
the groups and a bounded number of references, and the result has the same bits as that of a single process. Ray repeats
the work of a node that dies.
"""

import contextlib
import os
import pickle
import socket
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from importlib.metadata import version
from typing import Any, TypeVar

from budget_cli.errors import BudgetCliError, InputProblem, UsageProblem, WorkerDied
from budget_cli.groups import shards
from budget_cli.groups.groups import Groups
from budget_cli.groups.shards import Shard
from budget_cli.records.columns import Tally
from budget_cli.scanning import scan as scanning
from budget_cli.scanning.plan import Part, Plan, Task
from budget_cli.scanning.state import ReadSoFar, Scan, Summary
from budget_cli.sources import blocks
from budget_cli.sources.local import Kind, Source

SPAN = 16  # blocks of a large source that a task reads
FOLDED = 16  # spans of a source, or results of sources, that one task folds
MANY = 1 << 20  # prompts received (repeats count) from which on they are merged in shards,
OFTEN = 2  # if each was received this often on average; prompts that occur once gain nothing
MOST_SHARDS = 64
LARGE = 1 << 32  # bytes; larger sources are always split, smaller ones if there are too few sources for all CPUs
AHEAD = 4  # unfinished tasks handed out per CPU
RETRIES = 8  # of a task whose worker or node dies
ADVICE = "start one (ray start --head), or name one (RAY_ADDRESS=HOST:6379)"


def scan(
    found: Sequence[Source],
    plan: Plan,
    most: int | None = None,
    progress: Callable[[ReadSoFar], None] | None = None,
) -> Scan:
    """Read every source to its end, as `scanning.scan` does.

    Args:
        found: what to read, in order; every node must be able to read it.
        plan: what to read from each record, and what to keep.
        most: number of tasks handed out at once; None: AHEAD for every CPU of the cluster.
        progress: called after every task.

    Raises:
        UsageProblem: there is no cluster, or it cannot read these sources.
        WorkerDied: a task failed on every retry.
    """
    for source in found:
        if source.size is None and source.remote is None:
            advice = "name files that every node sees, or URLs"
            raise UsageProblem(f"{source.name}: a cluster cannot read standard input or a pipe: {advice}")
    # the working directory of a node may differ
    found = [source if source.path is None else replace(source, path=os.path.abspath(source.path)) for source in found]
    with _connected() as ray:
        return _Driver(ray, plan, most, progress).scan(found)


class _Driver:
    """Hands out tasks and folds their results, in order."""

    def __init__(self, ray: Any, plan: Plan, most: int | None, progress: Callable[[ReadSoFar], None] | None) -> None:
        self._ray = ray
        self._cpus = max(1, int(ray.cluster_resources().get("CPU", 1)))
        self._most = most or self._cpus * AHEAD
        self._plan, self._progress = plan, progress
        self._shared = ray.put((plan, _version()))
        reading = ray.remote(num_returns=2, num_cpus=1, max_retries=RETRIES)
        self._read_whole, self._read_span = reading(_whole), reading(_span)
        self._read_summary = reading(_summary)
        self._fold = ray.remote(num_cpus=1, max_retries=RETRIES)(_folded)
        self._handed_out: deque[Any] = deque()  # per task: the tally and bytes it has read, in order
        self._results: deque[tuple[Source, Any]] = deque()  # per source: its scan or summary, in order
        self._received = 0  # prompts; repeats count
        self._to_come = 0  # sources not handed out yet
        self._shards: _Shards | None = None
        self._so_far = ReadSoFar()
        self._result = Scan.empty(plan.keep)

    def scan(self, found: Sequence[Source]) -> Scan:
        """Read these sources on the cluster."""
        many = len(found) >= self._cpus * AHEAD
        self._to_come = len(found)
        for source in found:
            size, span = source.size or 0, SPAN * blocks.BLOCK_BYTES
            if source.kind is Kind.SUMMARY:
                result, counts = self._read_summary.remote(self._shared, source, _changed_at(source))
                self._hand_out(counts)
                self._expect(source, result)
            elif not source.in_ranges or self._plan.fields.document or size <= span or (many and size < LARGE):
                result, counts = self._read_whole.remote(self._shared, source, _changed_at(source))
                self._hand_out(counts)
                self._expect(source, result)
            else:
                self._expect(source, self._split(source))
        self._drain(0)
        self._result.close_source(self._plan.keep)  # a summary, if it was the last
        if self._shards is not None:
            merged = list(map(self._got, self._shards.merged()))
            self._result.groups = shards.join(merged, self._result.groups)
            self._result.later_prompts += sum(shard.later_prompts for shard in merged)
            self._result.recurring += sum(shard.recurring for shard in merged)
        if self._plan.keep.by == "file":
            by, tallies = self._result.by, self._result.tallies
            self._result.by = {source.name: by.get(source.name, Groups(self._plan.keep.layout)) for source in found}
            self._result.tallies = {source.name: tallies.get(source.name, Tally()) for source in found}
        return self._result

    def _split(self, source: Source) -> Any:
        """Start the tasks that read the spans of a large source, and those that fold them; return the last."""
        count = -(-(source.size or 0) // blocks.BLOCK_BYTES)
        state, spans, changed_at = None, [], _changed_at(source)
        for first in range(0, count, SPAN):
            stop = min(first + SPAN, count)
            parts, counts = self._read_span.remote(self._shared, source, changed_at, first, stop)
            self._hand_out(counts)
            spans.append(parts)
            if len(spans) == FOLDED or stop == count:
                at_end = changed_at if stop == count else None
                state = self._fold.remote(self._shared, source, at_end, state, *spans)
                spans = []
        return state

    def _expect(self, source: Source, result: Any) -> None:
        """Queue the result of the next source, which need not be ready."""
        self._to_come -= 1
        self._results.append((source, result if self._shards is None else self._shards.without(result)))

    def _hand_out(self, counts: Any) -> None:
        """Register a task, and wait if too many are unfinished."""
        self._handed_out.append(counts)
        self._drain(self._most - 1)

    def _drain(self, most: int) -> None:
        """Wait until at most `most` tasks are unfinished, and fold the sources that are ready."""
        while len(self._handed_out) > most:
            tally, size = self._got(self._handed_out.popleft())
            self._so_far.tally.merge(tally)
            self._so_far.bytes += size
            if self._progress is not None:
                self._progress(self._so_far)
        while self._results and (most == 0 or self._ray.wait([self._results[0][1]], timeout=0)[0]):
            source, reference = self._results.popleft()
            later = self._got(reference)
            if not self._result.groups.responses:  # this result becomes the total, which must be writable
                later = _writable(later)
            if isinstance(later, Scan):
                self._received += len(later.groups)
                self._result.fold_scan(later, self._plan.keep)
            else:
                if isinstance(later, Summary):
                    self._received += sum(len(result.groups) for result in later.source_results)
                self._result.fold(source, later, self._plan.keep)
            often = self._received >= max(MANY, OFTEN * len(self._result.groups))
            if self._shards is None and often and (self._results or self._to_come):
                self._start_sharding()

    def _start_sharding(self) -> None:
        """From now on, let tasks merge the prompts in shards: first those received, then those of later results."""
        keep = self._plan.keep
        if keep.sources_apart or keep.hold or keep.observe is not None:
            return  # responses and observations refer to the rows of prompts, so both must be merged together
        self._result.close_source(self._plan.keep)
        groups = self._result.groups
        self._shards = _Shards(self._ray, min(MOST_SHARDS, max(2, self._cpus)), groups)
        self._result.groups = groups.with_prompts((), groups.layout.empty(0))
        self._results = deque((source, self._shards.without(result)) for source, result in self._results)

    def _got(self, reference: Any) -> Any:
        try:
            return self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(cause := error.cause, BudgetCliError):
                raise cause from None
            if "No module named 'budget_cli'" in str(error):
                raise UsageProblem(
                    "--engine ray: a node has no budget-cli: install the same version on every node"
                ) from None
            raise
        except self._ray.exceptions.RayError as error:
            raise WorkerDied(
                f"the cluster lost a task for good ({type(error).__name__}), so there is no result"
            ) from None


class _Shards:
    """The prompts of all sources in shards, each merged by tasks in the order of the sources."""

    def __init__(self, ray: Any, number: int, groups: Groups) -> None:
        self._states = [ray.put(shard) for shard in shards.split(groups, number, part=0)]
        self._waiting: list[list[Any]] = [[] for _ in range(number)]
        self._parts = 1
        self._split = ray.remote(num_returns=number + 1, num_cpus=1, max_retries=RETRIES)(_split_prompts)
        self._merge = ray.remote(num_cpus=1, max_retries=RETRIES)(_merged_shard)

    def without(self, result: Any) -> Any:
        """Return the result without its prompts, which go into the shards."""
        rest, *split = self._split.remote(result, len(self._states), self._parts)
        self._parts += 1
        for waiting, shard in zip(self._waiting, split, strict=True):
            waiting.append(shard)
        if len(self._waiting[0]) == FOLDED:
            self._merge_waiting()
        return rest

    def merged(self) -> list[Any]:
        """Return the shards, once all results are in."""
        self._merge_waiting()
        return self._states

    def _merge_waiting(self) -> None:
        pairs = zip(self._states, self._waiting, strict=True)
        self._states = [self._merge.remote(state, *waiting) if waiting else state for state, waiting in pairs]
        self._waiting = [[] for _ in self._waiting]


@contextlib.contextmanager
def _connected() -> Iterator[Any]:
    """Connect to the running cluster as a driver; what Ray prints goes to stderr, as stdout is for results."""
    with contextlib.redirect_stdout(sys.stderr):
        ray = _driver()
        try:
            yield ray
        finally:
            ray.shutdown()


def _driver() -> Any:
    address = os.environ.get("RAY_ADDRESS") or "auto"
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # or Ray advises so on every start
    try:
        import ray
    except ImportError:
        from budget_cli.sources.extras import install  # only for this message

        needed = f"{install('ray')}, in the version that the cluster has"
        raise UsageProblem(f"--engine ray needs one more package: {needed}") from None
    if address == "local":
        raise UsageProblem(f"--engine ray: RAY_ADDRESS is local, which would start a cluster: {ADVICE}")
    _require_answer(address)
    try:
        ray.init(address, log_to_driver=False, configure_logging=False)
    except ConnectionError:
        raise UsageProblem(f"--engine ray: there is no Ray cluster at {address}: {ADVICE}") from None
    except RuntimeError as error:  # Ray or Python has another version there
        raise UsageProblem(f"--engine ray: {' '.join(str(error).split())}") from None
    return ray


def _require_answer(address: str) -> None:
    """Check that the address answers, as Ray itself would take minutes to give up."""
    host, colon, port = address.rpartition(":")
    if not colon or "/" in address or not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except OSError:
        raise UsageProblem(f"--engine ray: there is no Ray cluster at {address}: {ADVICE}") from None


@lru_cache(maxsize=1)
def _version() -> str:
    return version("budget-cli")


def _changed_at(source: Source) -> int:
    """Return the time of the last change in ns; nodes recognise a file by it and the size, as inodes differ."""
    try:
        return 0 if source.path is None else os.stat(source.path).st_mtime_ns
    except OSError:
        return 0  # the task will report it


# What follows runs in the tasks.


def _whole(shared: tuple[Plan, str], source: Source, changed_at: int) -> tuple[Scan, tuple[Tally, int]]:
    """Read a whole source."""
    plan = _plan_of(shared)
    try:
        result = scanning.scan([_local(source, changed_at)], plan, jobs=1)
    except InputProblem as problem:
        result = Scan.empty(plan.keep)
        result.problems.append(problem)
        scanning.finish(result, [], plan.keep._replace(by=""))
    return result, (result.tally, result.bytes)


def _span(
    shared: tuple[Plan, str], source: Source, changed_at: int, first: int, stop: int
) -> tuple[list[Part | InputProblem], tuple[Tally, int]]:
    """Read a span of a source, block by block, up to the first problem."""
    plan = _plan_of(shared)
    parts: list[Part | InputProblem] = []
    tally, size = Tally(), 0
    try:
        here = _local(source, changed_at)
    except InputProblem as problem:
        return [problem], (tally, 0)
    if here.remote is not None:
        here = replace(here, remote=replace(here.remote, part=(first * blocks.BLOCK_BYTES, stop * blocks.BLOCK_BYTES)))
    for number in range(first, stop):
        part = scanning.run(Task(here, number), plan)
        assert not isinstance(part, Summary)
        parts.append(part)
        if isinstance(part, InputProblem):
            break
        tally.merge(part.tally)
        size += part.bytes
    return parts, (tally, size)


def _folded(
    shared: tuple[Plan, str],
    source: Source,
    at_end: int | None,
    state: Scan | None,
    *spans: list[Part | InputProblem],
) -> Scan:
    """Fold the next spans of a source into its scan.

    Args:
        shared: the plan and version.
        source: where the spans are from.
        at_end: None, or with the last spans the time of the source's last change, as `_changed_at` gives it.
        state: the scan so far; None: there is none.
        spans: the parts of each span.
    """
    plan, _ = shared
    result = Scan.empty(plan.keep) if state is None else _writable(state)
    for parts in spans:
        for part in parts:
            result.fold(source, part, plan.keep)
    if at_end is not None:
        here = []
        try:
            here = [] if source in result.broken else [_local(source, at_end)]
        except InputProblem as problem:
            result.problems.append(problem)
        scanning.finish(result, here, plan.keep._replace(by=""))
    return result


def _summary(
    shared: tuple[Plan, str], source: Source, changed_at: int
) -> tuple[Summary | InputProblem, tuple[Tally, int]]:
    """Read a summary."""
    plan = _plan_of(shared)
    try:
        found = scanning.run(Task(_local(source, changed_at), None), plan)
    except InputProblem as problem:
        found = problem
    assert not isinstance(found, Part)
    return found, (Tally(), 0) if isinstance(found, InputProblem) else (found.tally, found.bytes)


Rest = TypeVar("Rest", Scan, Summary, InputProblem)


def _split_prompts(found: Rest, number: int, part: int) -> tuple[Rest | list[Shard], ...]:
    """Return a result without its prompts, then the prompts of each shard in the order of the sources."""
    split: list[list[Shard]] = [[] for _ in range(number)]
    before = 0

    def without(groups: Groups) -> Groups:
        nonlocal before
        for of_shard, shard in zip(split, shards.split(groups, number, part, before), strict=True):
            of_shard.append(shard)
        before += len(groups)
        return groups.with_prompts((), groups.layout.empty(0))

    if isinstance(found, Scan):
        found.groups = without(found.groups)
    elif isinstance(found, Summary):
        for result in found.source_results:
            result.groups = without(result.groups)
    return found, *split


def _merged_shard(state: Shard, *later: list[Shard]) -> Shard:
    """Merge the shards of later sources into a shard."""
    state = _writable(state)
    for parts in later:
        for shard in parts:
            state.merge(shard)
    return state


def _writable(found: Any) -> Any:
    """Return a writable copy: Ray hands out read-only memory that is shared between tasks."""
    return pickle.loads(pickle.dumps(found))


def _plan_of(shared: tuple[Plan, str]) -> Plan:
    """Return the plan.

    Raises:
        UsageProblem: this node has another version of budget-cli than the driver.
    """
    plan, expected = shared
    if expected != _version():
        raise UsageProblem(
            f"--engine ray: a node has budget-cli {_version()}, here it is {expected}: install the same on every node"
        )
    return plan


def _local(source: Source, changed_at: int) -> Source:
    """Return the source as it is on this node.

    Raises:
        InputProblem: the file is missing here, or is a different one.
    """
    if source.path is None:
        return source
    try:
        info = os.stat(source.path)
    except OSError as error:
        raise InputProblem(source.name, f"{_unreadable_here()}: {error.strerror}: {SHARED}") from None
    if info.st_size < (source.size or 0) or (info.st_size == source.size and info.st_mtime_ns != changed_at):
        raise InputProblem(
            source.name, f"{_unreadable_here()}: it differs from the file where the scan began: {SHARED}"
        )
    return replace(source, identity=(info.st_dev, info.st_ino))


SHARED = "every node of the cluster must see the file, on a shared file system, or give a URL"


def _unreadable_here() -> str:
    return f"cannot be read on node {socket.gethostname()}"
