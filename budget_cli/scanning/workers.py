"""Tasks → outcomes in the order of the tasks, run here and in others beside. Knows nothing of what a task is.

The others are processes; or threads, where the work is done in compiled code that leaves Python's lock alone: they
need no memory of their own and nothing is sent between them.
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

ALONE_FIRST = 4  # tasks of a stream of unknown length that are done here before workers are started
HELD = 4  # outcomes per process that may wait for an earlier one to be folded
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
        rest = chain([first], stream)
        if threads:
            yield from _in_threads(function, plan, rest, jobs)
        else:
            yield from _in_processes(function, plan, rest, jobs, start_method)


def _in_threads(
    function: Callable[[Work, Any], Outcome], plan: Any, stream: Iterator[Work], jobs: int
) -> Iterator[tuple[Work, Outcome]]:
    """With threads of our own: those of concurrent.futures bring logging along, 5 ms of every start."""
    waiting: SimpleQueue[tuple[Work, _Later[Outcome]] | None] = SimpleQueue()

    def work() -> None:
        while (given := waiting.get()) is not None:
            task, later = given
            try:
                later.give(function(task, plan))
            except BaseException as error:
                later.fail(error)

    def submit(task: Work) -> _Later[Outcome]:
        later = _Later[Outcome]()
        waiting.put((task, later))
        return later

    for _ in range(jobs - 1):  # nobody waits for one that waits for a server that says nothing
        Thread(target=work, daemon=True).start()
    try:
        yield from _beside(submit, function, plan, stream, jobs)
    finally:
        with contextlib.suppress(Empty):
            while True:
                waiting.get_nowait()
        for _ in range(jobs - 1):
            waiting.put(None)


def _in_processes(
    function: Callable[[Work, Any], Outcome], plan: Any, stream: Iterator[Work], jobs: int, start_method: str | None
) -> Iterator[tuple[Work, Outcome]]:
    import multiprocessing
    from concurrent.futures import BrokenExecutor, ProcessPoolExecutor

    context = multiprocessing.get_context(start_method or ("fork" if sys.platform == "linux" else None))
    pool = ProcessPoolExecutor(jobs - 1, mp_context=context, initializer=_begin, initargs=(function, plan))
    try:
        yield from _beside(lambda task: pool.submit(_do, task), function, plan, stream, jobs)
    except BrokenExecutor:
        raise WorkerDied(
            "a worker process was killed (out of memory?), so there is no result; --jobs 1 needs the least memory"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _beside(
    submit: Callable[[Work], "_Later[Outcome] | Future[Outcome]"],
    function: Callable[[Work, Any], Outcome],
    plan: Any,
    stream: Iterator[Work],
    jobs: int,
) -> Iterator[tuple[Work, Outcome]]:
    """The outcomes in order; `submit` gives a task to the others, and this thread takes a share, too."""
    pending: deque[tuple[Work, _Later[Outcome] | Future[Outcome]]] = deque()
    for task in stream:
        if sum(not later.done() for _, later in pending) < (jobs - 1) * AHEAD:
            pending.append((task, submit(task)))
        else:  # the others have enough to do
            own = _Later[Outcome]()
            own.give(function(task, plan))
            pending.append((task, own))
        while pending and (pending[0][1].done() or len(pending) >= jobs * HELD):
            done, later = pending.popleft()
            yield done, later.result()
    while pending:
        done, later = pending.popleft()
        yield done, later.result()


class _Later(Generic[Outcome]):
    """An outcome that is not there yet."""

    def __init__(self) -> None:
        self._there = Event()
        self._outcome: Outcome
        self._error: BaseException | None = None

    def give(self, outcome: Outcome) -> None:
        """Here it is."""
        self._outcome = outcome
        self._there.set()

    def fail(self, error: BaseException) -> None:
        """It will not come: the error is raised where the outcome is asked for."""
        self._error = error
        self._there.set()

    def done(self) -> bool:
        """Whether it is there."""
        return self._there.is_set()

    def result(self) -> Outcome:
        """The outcome, once it is there."""
        self._there.wait()
        if self._error is not None:
            raise self._error
        return self._outcome


def _begin(function: Any, plan: Any) -> None:
    """In a new process: remember the work, and leave Ctrl-C to the parent, which ends the workers."""
    global _plan, _function
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _plan, _function = plan, function


def _do(task: Any) -> Any:
    return _function(task, _plan)
