"""Sources → a scan: every unit read by a worker, and the parts folded in the order of the bytes.

A source that was summarized elsewhere is folded in as if it were read here.
"""

import os
from collections.abc import Callable, Iterator, Sequence

from budget_cli.errors import InputProblem
from budget_cli.groups.groups import Groups
from budget_cli.records import jsonl
from budget_cli.records.columns import Tally
from budget_cli.scanning import workers
from budget_cli.scanning.formats import forget_buffers, format_of
from budget_cli.scanning.plan import Keep, Part, Plan, Task
from budget_cli.scanning.state import Scan, Summary
from budget_cli.sources import local as sources
from budget_cli.sources.local import Kind, Source

WORTH_WORKERS = 16 << 20  # bytes; one process finishes less than this before others have started


def scan(
    found: Sequence[Source],
    plan: Plan,
    jobs: int | None = None,
    progress: Callable[[Scan], None] | None = None,
    start_method: str | None = None,
) -> Scan:
    """Read every source to its end.

    Args:
        found: what to read, in order.
        plan: what to read from each record, and what to keep.
        jobs: number of workers, including this process; None: one per core, if the input is large enough. The other
            workers are threads if the compiled reader does the work, otherwise processes.
        progress: called after every block with the scan so far.
        start_method: always use processes, and start them by this method (fork, spawn, forkserver).

    Returns:
        The scan. A source that could not be read to its end is among the `problems`; what was read of it counts.

    Raises:
        WorkerDied: a worker process was killed.
    """
    keep = plan.keep
    result = Scan.empty(keep)
    wanted = jobs or available_cores()
    size = sum(source.size or 0 for source in found if source.at_once)
    threads = start_method is None and (jsonl.is_compiled(plan.fields) or fetches_apart(found))
    counts = plan.fields.tokenizer is not None and threads  # slow work, and threads cost nothing to start
    worth = jobs is not None or size >= WORTH_WORKERS or counts
    stream = tasks(found, plan, result.problems, result.broken, shared=threads or wanted == 1)
    for task, outcome in workers.run(run, plan, stream, wanted, worth, threads, start_method):
        result.fold(task.source, outcome, keep)
        if progress is not None:
            progress(result)
    forget_buffers()  # the answer needs memory, too
    finish(result, found, keep)
    return result


def fetches_apart(found: Sequence[Source]) -> bool:
    """True if a source is fetched by the worker that reads it: with connections, which no fork takes over."""
    return any(source.kind is Kind.PARQUET and source.remote is not None for source in found)


def finish(result: Scan, found: Sequence[Source], keep: Keep) -> None:
    """Finish the scan of these sources, after all their tasks."""
    result.close_source(keep)
    if keep.by == "file":  # a source without records has a row, too
        result.by = {source.name: result.by.get(source.name, Groups(keep.layout)) for source in found}
        result.tallies = {source.name: result.tallies.get(source.name, Tally()) for source in found}
    result.problems += changed([source for source in found if source not in result.broken])
    for source in found:
        if grown := sources.growth(source):
            result.notes.append(f"{source.name}: grew by {grown:,} bytes while being read; those were not read")


def tasks(
    found: Sequence[Source], plan: Plan, problems: list[InputProblem], broken: set[Source], shared: bool = False
) -> Iterator[Task]:
    """Yield the units of all sources, in order; a source that breaks ends there, and the next begins.

    Args:
        found: the sources.
        plan: of the scan.
        problems: where to note what is wrong with a source.
        broken: sources of which no more is read.
        shared: as in `Format.units`.
    """
    for at, source in enumerate(found):
        if source.remote is not None:
            from budget_cli.sources import remote  # of an extra

            soon = [each for each in found[at : at + remote.AHEAD] if each.kind is not Kind.PARQUET]
            remote.prefetch([each.remote for each in soon if each.remote is not None])
        begun = False
        try:
            for unit in format_of(source, plan).units(source, plan.limits.max_line_bytes, shared):
                if source in broken:
                    break
                begun = True
                yield Task(source, unit)
        except InputProblem as problem:
            problems.append(problem)
            if not begun:
                broken.add(source)


def run(task: Task, plan: Plan) -> Part | Summary | InputProblem:
    """Read a unit; what is wrong with its source is an answer, too."""
    try:
        return format_of(task.source, plan).read(task, plan)
    except InputProblem as problem:
        return problem


def changed(found: Sequence[Source]) -> list[InputProblem]:
    """Return a problem for each source that changed while it was read in ranges; others are asked at their end."""
    found = [source for source in found if source.at_once]

    def look(source: Source) -> InputProblem | None:
        try:
            sources.require_unchanged(source)
        except InputProblem as problem:
            return problem
        return None

    if any(source.remote for source in found):
        from budget_cli.sources import remote

        problems = remote.in_parallel(look, list(found))
    else:
        problems = [look(source) for source in found]
    return [problem for problem in problems if problem is not None]


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
