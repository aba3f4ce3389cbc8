"""Tasks → outcomes in the order of the tasks, run here and in others beside. Knows nothing of what a task is.

The others are processes; or threads, where the work is done in compiled code that leaves Python's lock alone: they
need no memory of their own and nothing is sent between them.
"""

import signal
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, TypeVar

from budget_cli.errors import WorkerDied

if TYPE_CHECKING:
    from concurrent.futures import Executor

Work = TypeVar("Work")
Outcome = TypeVar("Outcome")

ALONE_FIRST = 4  # tasks of a stream of unknown length that are done here before workers are started
HELD = 8  # outcomes per process that may wait for an earlier one to be folded
AHEAD = 2  # tasks handed out per worker and not yet done

_plan: Any = None
_function: Any = None


def run(
    function: Callable[[Work, Any], Outcome],
    plan: Any,
    tasks: Iterable[Work],
    jobs: int,
    at_once: bool,
    threads: bool = False,
    start_method: str | None = None,
) -> Iterator[tuple[Work, Outcome]]:
    """(task, function(task, plan)) for every task, in order.

    Args:
        jobs: workers, this process's main thread among them.
        at_once: start the others for the first task; else only once the stream has shown to be long.
        threads: the others are threads, not processes.
        start_method: of multiprocessing; None: fork where the platform forks safely, else its own default.

    Raises:
        WorkerDied: a process ended without an answer; no outcome after it is given.
    """
    stream = iter(tasks)
    if jobs == 1:
        yield from ((task, function(task, plan)) for task in stream)
        return
    if not at_once:
        yield from ((task, function(task, plan)) for task in islice(stream, ALONE_FIRST))
    first = next(stream, None)
    if first is not None:
        others = _threads(jobs) if threads else _processes(function, plan, jobs, start_method)
        yield from _beside(others, threads, function, plan, chain([first], stream), jobs)


def _threads(jobs: int) -> "Executor":
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(jobs - 1)


def _processes(function: Callable[[Work, Any], Outcome], plan: Any, jobs: int, start_method: str | None) -> "Executor":
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    context = multiprocessing.get_context(start_method or ("fork" if sys.platform == "linux" else None))
    return ProcessPoolExecutor(jobs - 1, mp_context=context, initializer=_begin, initargs=(function, plan))


def _beside(
    pool: "Executor",
    threads: bool,
    function: Callable[[Work, Any], Outcome],
    plan: Any,
    stream: Iterator[Work],
    jobs: int,
) -> Iterator[tuple[Work, Outcome]]:
    from concurrent.futures import BrokenExecutor, Future

    pending: deque[tuple[Work, Future[Outcome]]] = deque()
    try:
        for task in stream:
            if sum(not future.done() for _, future in pending) < (jobs - 1) * AHEAD:
                pending.append((task, pool.submit(function, task, plan) if threads else pool.submit(_do, task)))
            else:  # the others have enough to do: the main thread takes a share, too
                own: Future[Outcome] = Future()
                own.set_result(function(task, plan))
                pending.append((task, own))
            while pending and (pending[0][1].done() or len(pending) >= jobs * HELD):
                done, future = pending.popleft()
                yield done, future.result()
        while pending:
            done, future = pending.popleft()
            yield done, future.result()
    except BrokenExecutor:
        raise WorkerDied(
            "a worker process was killed (out of memory?), so there is no result; --jobs 1 needs the least memory"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begin(function: Any, plan: Any) -> None:
    """In a new process: remember the work, and leave Ctrl-C to the parent, which ends the workers."""
    global _plan, _function
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _plan, _function = plan, function


def _do(task: Any) -> Any:
    return _function(task, _plan)
