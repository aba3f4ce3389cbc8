"""Tasks → outcomes in the order of the tasks, computed by this process and by workers. Knows nothing of what a task is.

Workers are processes, or threads if the work is done in compiled code that releases Python's lock: threads share
memory, so nothing is copied to them or back.
"""

import contextlib
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from budget_cli.errors import WorkerDied

if TYPE_CHECKING:
    from concurrent.futures import Future

Work = TypeVar("Work")
Outcome = TypeVar("Outcome")

ALONE_FIRST = 4  # tasks of a stream of unknown length that are done before workers are started
HELD = 4  # outcomes per worker that may wait for an earlier one to be folded
AHEAD = 2  # unfinished tasks handed out per worker

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
    """Yield (task, function(task, plan)) for every task, in order.

    Args:
        function: what to do with a task.
        plan: its second argument, the same for every task.
        tasks: what to do; may be a stream of unknown length.
        jobs: number of workers, including this process's main thread.
        at_once: True to start the other workers for the first task, False to wait until the stream proves long.
        threads: True if the other workers are threads, not processes.
        start_method: of multiprocessing; None: fork where the platform forks safely, otherwise its default.

    Raises:
        WorkerDied: a process ended without an answer; no later outcome is given.
    """
    stream = iter(tasks)
    if jobs == 1:
        yield from ((task, function(task, plan)) for task in stream)
        return
    if not at_once:
        yield from ((task, function(task, plan)) for task in islice(stream, ALONE_FIRST))
    first = next(stream, None)
    if first is not None:
        rest = chain([first], stream)
        if threads:
            yield from _in_threads(function, plan, rest, jobs)
        else:
            yield from _in_processes(function, plan, rest, jobs, start_method)


def _in_threads(
    function: Callable[[Work, Any], Outcome], plan: Any, stream: Iterator[Work], jobs: int
) -> Iterator[tuple[Work, Outcome]]:
    """Run the tasks in threads that Ctrl-C need not wait for.

    Those of concurrent.futures are joined at exit, so one that waits for a silent server would keep the process alive;
    and they made a loss over 20 MB 15 ms slower (paired median of 41 runs), as they import logging.
    """
    waiting: SimpleQueue[tuple[Work, _Future[Outcome]] | None] = SimpleQueue()

    def work() -> None:
        while (given := waiting.get()) is not None:
            task, future = given
            try:
                future.set_result(function(task, plan))
            except BaseException as error:
                future.set_exception(error)

    def submit(task: Work) -> _Future[Outcome]:
        future = _Future[Outcome]()
        waiting.put((task, future))
        return future

    for _ in range(jobs - 1):
        Thread(target=work, daemon=True).start()
    try:
        yield from _in_order(submit, function, plan, stream, jobs)
    finally:
        with contextlib.suppress(Empty):
            while True:
                waiting.get_nowait()
        for _ in range(jobs - 1):
            waiting.put(None)


def _in_processes(
    function: Callable[[Work, Any], Outcome], plan: Any, stream: Iterator[Work], jobs: int, start_method: str | None
) -> Iterator[tuple[Work, Outcome]]:
    import multiprocessing  # as slow to import as concurrent.futures, and most scans need no processes
    from concurrent.futures import BrokenExecutor, ProcessPoolExecutor

    context = multiprocessing.get_context(start_method or ("fork" if sys.platform == "linux" else None))
    pool = ProcessPoolExecutor(jobs - 1, mp_context=context, initializer=_start_process, initargs=(function, plan))
    try:
        yield from _in_order(lambda task: pool.submit(_run_in_process, task), function, plan, stream, jobs)
    except BrokenExecutor:
        raise WorkerDied(
            "a worker process was killed (out of memory?), so there is no result; --jobs 1 needs the least memory"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _in_order(
    submit: Callable[[Work], "_Future[Outcome] | Future[Outcome]"],
    function: Callable[[Work, Any], Outcome],
    plan: Any,
    stream: Iterator[Work],
    jobs: int,
) -> Iterator[tuple[Work, Outcome]]:
    """Yield outcomes in order; `submit` hands a task to the other workers, and this thread does tasks itself, too."""
    pending: deque[tuple[Work, _Future[Outcome] | Future[Outcome]]] = deque()
    for task in stream:
        if sum(not future.done() for _, future in pending) < (jobs - 1) * AHEAD:
            pending.append((task, submit(task)))
        else:  # the other workers are busy
            own = _Future[Outcome]()
            own.set_result(function(task, plan))
            pending.append((task, own))
        while pending and (pending[0][1].done() or len(pending) >= jobs * HELD):
            done, future = pending.popleft()
            yield done, future.result()
    while pending:
        done, future = pending.popleft()
        yield done, future.result()


class _Future(Generic[Outcome]):
    """The outcome of a task; the part of `concurrent.futures.Future` that is needed here."""

    def __init__(self) -> None:
        self._done = Event()
        self._outcome: Outcome
        self._error: BaseException | None = None

    def set_result(self, outcome: Outcome) -> None:
        """Set the outcome."""
        self._outcome = outcome
        self._done.set()

    def set_exception(self, error: BaseException) -> None:
        """Set the error that `result` raises."""
        self._error = error
        self._done.set()

    def done(self) -> bool:
        """Return True if the outcome or an error is set."""
        return self._done.is_set()

    def result(self) -> Outcome:
        """Wait for the outcome and return it, or raise the error."""
        self._done.wait()
        if self._error is not None:
            raise self._error
        return self._outcome


def _start_process(function: Any, plan: Any) -> None:
    """Prepare a new process: remember the work, and ignore Ctrl-C, as the parent ends its workers."""
    global _plan, _function
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _plan, _function = plan, function


def _run_in_process(task: Any) -> Any:
    return _function(task, _plan)
