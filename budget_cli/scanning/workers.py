"""Tasks → outcomes in the order of the tasks, run here or in several processes. Knows nothing of what a task is."""

import signal
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from typing import Any, TypeVar

from budget_cli.errors import WorkerDied

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
    start_method: str | None = None,
) -> Iterator[tuple[Work, Outcome]]:
    """(task, function(task, plan)) for every task, in order.

    Args:
        jobs: processes that work on tasks, this one among them.
        at_once: start the workers for the first task; else only once the stream has shown to be long.
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
        yield from _in_processes(function, plan, chain([first], stream), jobs, start_method)


def _in_processes(
    function: Callable[[Work, Any], Outcome], plan: Any, stream: Iterator[Work], jobs: int, start_method: str | None
) -> Iterator[tuple[Work, Outcome]]:
    import multiprocessing
    from concurrent.futures import Future, ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    context = multiprocessing.get_context(start_method or ("fork" if sys.platform == "linux" else None))
    pending: deque[tuple[Work, Future[Outcome]]] = deque()
    pool = ProcessPoolExecutor(jobs - 1, mp_context=context, initializer=_begin, initargs=(function, plan))
    try:
        for task in stream:
            if sum(not future.done() for _, future in pending) < (jobs - 1) * AHEAD:
                pending.append((task, pool.submit(_do, task)))
            else:  # the others have enough to do: this process takes a share, too
                own: Future[Outcome] = Future()
                own.set_result(function(task, plan))
                pending.append((task, own))
            while pending and (pending[0][1].done() or len(pending) >= jobs * HELD):
                done, future = pending.popleft()
                yield done, future.result()
        while pending:
            done, future = pending.popleft()
            yield done, future.result()
    except BrokenProcessPool:
        raise WorkerDied(
            "a worker process was killed (out of memory?), so there is no result; --jobs 1 needs the least memory"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begin(function: Any, plan: Any) -> None:
    """In a new worker: remember the work, and leave Ctrl-C to the parent, which ends the workers."""
    global _plan, _function
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _plan, _function = plan, function


def _do(task: Any) -> Any:
    return _function(task, _plan)
