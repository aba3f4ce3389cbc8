"""Sources → a scan, read by the tasks of a Ray cluster that is there already; never starts one.

A task reads a source, or of a large one a part of it; what tasks give is folded in the order of the bytes by other
tasks, source by source, and here the sources are folded into the total. Once many prompts have come back from source to
source, tasks fold them, too, a share each by a hash of the id, and every prompt comes here once. So this process holds
no more than the groups and a bounded number of references, and the result is that of one process to the last bit. What
a node that dies had done or was doing, Ray does again.
"""

import contextlib
import os
import pickle
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, TypeVar

from budget_cli.errors import BudgetCliError, InputProblem, UsageProblem, WorkerDied
from budget_cli.groups import shards
from budget_cli.groups.groups import Groups
from budget_cli.groups.shards import Shard
from budget_cli.records.columns import Tally
from budget_cli.scanning import scan as scanning
from budget_cli.scanning.state import Part, Plan, ReadSoFar, Scan, Summary, Task
from budget_cli.sources import blocks
from budget_cli.sources.local import Kind, Source

SPAN = 16  # blocks of a large source that a task reads
FOLDED = 16  # spans, or shares, that a task folds
MANY = 1 << 20  # prompts that came here, from which on they are folded in shares,
OFTEN = 2  # if each came so often; those that come once only gain nothing
MOST_SHARES = 64
LARGE = 1 << 32  # bytes; a source is split from here on, and below where there are too few sources for all CPUs
AHEAD = 4  # tasks per CPU that are handed out and not yet done
RETRIES = 8  # of a task whose worker or node died
ADVICE = "start one (ray start --head), or name one (RAY_ADDRESS=HOST:6379)"


def scan(
    found: Sequence[Source],
    plan: Plan,
    most: int | None = None,
    progress: Callable[[ReadSoFar], None] | None = None,
) -> Scan:
    """Read every source to its end, as `scanning.scan` does.

    Args:
        found: what to read, in order; every node must be able to.
        plan: what to read from each record, and what to keep.
        most: tasks handed out at once; None: a few for every CPU of the cluster.
        progress: called after every task.

    Raises:
        UsageProblem: there is no cluster, or it cannot read such sources.
        WorkerDied: a task failed as often as it may.
    """
    for source in found:
        if source.size is None and source.remote is None:
            advice = "name files that every node sees, or URLs"
            raise UsageProblem(f"{source.name}: a cluster cannot read standard input or a pipe: {advice}")
    # a node's own directory is another
    found = [source if source.path is None else replace(source, path=os.path.abspath(source.path)) for source in found]
    with _connected() as ray:
        return _Driver(ray, plan, most, progress).scan(found)


class _Driver:
    """Hands out tasks and takes what they give, in order."""

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
        self._handed_out: deque[Any] = deque()  # what the tasks say of how far they are, in order
        self._results: deque[tuple[Source, Any]] = deque()  # the sources, in order, and their scans
        self._came = 0  # prompts, each as often as it came
        self._to_come = 0  # sources that are not handed out yet
        self._shares: _Shards | None = None
        self._so_far = ReadSoFar()
        self._result = Scan.empty(plan)

    def scan(self, found: Sequence[Source]) -> Scan:
        many = len(found) >= self._cpus * AHEAD
        self._to_come = len(found)
        for source in found:
            size, span = source.size or 0, SPAN * blocks.BLOCK_BYTES
            if source.kind is Kind.SUMMARY:
                result, told = self._read_summary.remote(self._shared, source, _changed_at(source))
                self._hand_out(told)
                self._come(source, result)
            elif not source.in_ranges or self._plan.fields.document or size <= span or (many and size < LARGE):
                result, told = self._read_whole.remote(self._shared, source, _changed_at(source))
                self._hand_out(told)
                self._come(source, result)
            else:
                self._come(source, self._split(source))
        self._drain(0)
        self._result.close_source(self._plan)  # a summary, if it was the last
        if self._shares is not None:
            self._result.groups = shards.join(list(map(self._got, self._shares.folded())), self._result.groups)
        if self._plan.by == "file":
            by, tallies = self._result.by, self._result.tallies
            self._result.by = {source.name: by.get(source.name, Groups(self._plan.layout)) for source in found}
            self._result.tallies = {source.name: tallies.get(source.name, Tally()) for source in found}
        return self._result

    def _split(self, source: Source) -> Any:
        """A large source: its spans, and the tasks that fold them."""
        count = -(-(source.size or 0) // blocks.BLOCK_BYTES)
        state, spans, changed_at = None, [], _changed_at(source)
        for first in range(0, count, SPAN):
            stop = min(first + SPAN, count)
            parts, told = self._read_span.remote(self._shared, source, changed_at, first, stop)
            self._hand_out(told)
            spans.append(parts)
            if len(spans) == FOLDED or stop == count:
                at_end = changed_at if stop == count else None
                state = self._fold.remote(self._shared, source, at_end, state, *spans)
                spans = []
        return state

    def _come(self, source: Source, result: Any) -> None:
        """The result of the next source, once it is there."""
        self._to_come -= 1
        self._results.append((source, result if self._shares is None else self._shares.without(result)))

    def _hand_out(self, told: Any) -> None:
        self._handed_out.append(told)
        self._drain(self._most - 1)

    def _drain(self, most: int) -> None:
        """Wait until no more than so many tasks are handed out, and fold the sources that are done."""
        while len(self._handed_out) > most:
            tally, size = self._got(self._handed_out.popleft())
            self._so_far.tally.merge(tally)
            self._so_far.bytes += size
            if self._progress is not None:
                self._progress(self._so_far)
        while self._results and (most == 0 or self._ray.wait([self._results[0][1]], timeout=0)[0]):
            source, reference = self._results.popleft()
            later = self._got(reference)
            if not self._result.groups.responses:  # then it is what the others are added to
                later = _own(later)
            if isinstance(later, Scan):
                self._came += len(later.groups)
                self._result.fold_scan(later, self._plan)
            else:
                self._came += (
                    0 if isinstance(later, InputProblem) else sum(len(part.groups) for part in later.source_results)
                )
                self._result.fold(source, later, self._plan)
            often = self._came >= max(MANY, OFTEN * len(self._result.groups))
            if self._shares is None and often and (self._results or self._to_come):
                self._share_out()

    def _share_out(self) -> None:
        """From now on, tasks fold the prompts: those that are here, then those of the results that are to come."""
        if (
            self._plan.keep_sources_apart or self._plan.observe is not None
        ):  # what is observed of a prompt is folded with it
            return
        self._result.close_source(self._plan)
        groups = self._result.groups
        self._shares = _Shards(self._ray, min(MOST_SHARES, max(2, self._cpus)), groups)
        self._result.groups = groups.with_prompts((), groups.layout.empty(0))
        self._results = deque((source, self._shares.without(result)) for source, result in self._results)

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
    """The prompts of all sources in so many shares, each folded by tasks in the order of the sources."""

    def __init__(self, ray: Any, number: int, groups: Groups) -> None:
        self._states = [ray.put(share) for share in shards.split(groups, number, part=0)]
        self._waiting: list[list[Any]] = [[] for _ in range(number)]
        self._parts = 1
        self._share_out = ray.remote(num_returns=number + 1, num_cpus=1, max_retries=RETRIES)(_shared_out)
        self._fold = ray.remote(num_cpus=1, max_retries=RETRIES)(_folded_share)

    def without(self, result: Any) -> Any:
        """The result without its prompts, which have gone into the shares."""
        rest, *found = self._share_out.remote(result, len(self._states), self._parts)
        self._parts += 1
        for waiting, share in zip(self._waiting, found, strict=True):
            waiting.append(share)
        if len(self._waiting[0]) == FOLDED:
            self._fold_waiting()
        return rest

    def folded(self) -> list[Any]:
        """The shares."""
        self._fold_waiting()
        return self._states

    def _fold_waiting(self) -> None:
        pairs = zip(self._states, self._waiting, strict=True)
        self._states = [self._fold.remote(state, *waiting) if waiting else state for state, waiting in pairs]
        self._waiting = [[] for _ in self._waiting]


@contextlib.contextmanager
def _connected() -> Iterator[Any]:
    """Ray, as a driver of the cluster that is there; what it has to say meanwhile is no result, so not for stdout."""
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
        needed = "pip install 'budget-cli[ray]', in the version that the cluster has"
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
    """That something is there, which Ray itself would take minutes to find out."""
    import socket

    host, colon, port = address.rpartition(":")
    if not colon or "/" in address or not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except OSError:
        raise UsageProblem(f"--engine ray: there is no Ray cluster at {address}: {ADVICE}") from None


@lru_cache(maxsize=1)
def _version() -> str:
    from importlib.metadata import version

    return version("budget-cli")


def _changed_at(source: Source) -> int:
    """Nanoseconds: by this, and its size, another node knows a file again, which has other numbers there."""
    try:
        return 0 if source.path is None else os.stat(source.path).st_mtime_ns
    except OSError:
        return 0  # the task says what is wrong


# ---- in the tasks


def _whole(shared: tuple[Plan, str], source: Source, changed_at: int) -> tuple[Scan, tuple[Tally, int]]:
    """A whole source, read here."""
    plan = _plan_of(shared)
    try:
        result = scanning.scan([_as_seen_here(source, changed_at)], plan, jobs=1)
    except InputProblem as problem:
        result = Scan.empty(plan)
        result.problems.append(problem)
        scanning.finish(result, [], replace(plan, by=""))
    return result, (result.tally, result.bytes)


def _span(
    shared: tuple[Plan, str], source: Source, changed_at: int, first: int, stop: int
) -> tuple[list[Part | InputProblem], tuple[Tally, int]]:
    """The blocks of a part of a source, up to what goes wrong."""
    plan = _plan_of(shared)
    parts: list[Part | InputProblem] = []
    tally, size = Tally(), 0
    try:
        here = _as_seen_here(source, changed_at)
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
    """The scan of a source so far, with its next spans; `at_end`: these are the last, and when it was changed."""
    plan, _ = shared
    result = Scan.empty(plan) if state is None else _own(state)
    for parts in spans:
        for part in parts:
            result.fold(source, part, plan)
    if at_end is not None:
        here = []
        try:
            here = [] if source in result.broken else [_as_seen_here(source, at_end)]
        except InputProblem as problem:
            result.problems.append(problem)
        scanning.finish(result, here, replace(plan, by=""))
    return result


def _summary(
    shared: tuple[Plan, str], source: Source, changed_at: int
) -> tuple[Summary | InputProblem, tuple[Tally, int]]:
    """A summary, read here."""
    plan = _plan_of(shared)
    try:
        found = scanning.run(Task(_as_seen_here(source, changed_at), None), plan)
    except InputProblem as problem:
        found = problem
    assert not isinstance(found, Part)
    return found, (Tally(), 0) if isinstance(found, InputProblem) else (found.tally, found.bytes)


Rest = TypeVar("Rest", Scan, Summary, InputProblem)


def _shared_out(found: Rest, number: int, part: int) -> tuple[Rest | list[Shard], ...]:
    """A result without its prompts, and those of each share in the order of the sources."""
    found_shares: list[list[Shard]] = [[] for _ in range(number)]
    before = 0

    def without(groups: Groups) -> Groups:
        nonlocal before
        for of_share, share in zip(found_shares, shards.split(groups, number, part, before), strict=True):
            of_share.append(share)
        before += len(groups)
        return groups.with_prompts((), groups.layout.empty(0))

    if isinstance(found, Scan):
        found.groups = without(found.groups)
    elif isinstance(found, Summary):
        for one in found.source_results:
            one.groups = without(one.groups)
    return found, *found_shares


def _folded_share(state: Shard, *later: list[Shard]) -> Shard:
    """A share so far, with what later sources have of it."""
    state = _own(state)
    for parts in later:
        for share in parts:
            state.merge(share)
    return state


def _own(found: Any) -> Any:
    """The same in memory of its own: what Ray hands over is in memory that others read."""
    return pickle.loads(pickle.dumps(found))


def _plan_of(shared: tuple[Plan, str]) -> Plan:
    plan, version = shared
    if version != _version():
        raise UsageProblem(
            f"--engine ray: a node has budget-cli {_version()}, here it is {version}: install the same on every node"
        )
    return plan


def _as_seen_here(source: Source, changed_at: int) -> Source:
    """The source on this node.

    Raises:
        InputProblem: it is not there, or is another.
    """
    if source.path is None:
        return source
    try:
        info = os.stat(source.path)
    except OSError as error:
        raise InputProblem(source.name, f"{_on_this_node()}: {error.strerror}: {SHARED}") from None
    if info.st_size < (source.size or 0) or (info.st_size == source.size and info.st_mtime_ns != changed_at):
        raise InputProblem(source.name, f"{_on_this_node()}: this is another file than where the scan began: {SHARED}")
    return replace(source, identity=(info.st_dev, info.st_ino))


SHARED = "every node of the cluster must see the file, on a shared file system, or give a URL"


def _on_this_node() -> str:
    import socket

    return f"cannot be read on node {socket.gethostname()}"
