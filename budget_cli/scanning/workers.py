"""Tasks → outcomes in the order of the tasks, computed by this process and by workers. Knows nothing of what a task is.

Workers are processes, or threads if the work is done in compiled code that releases Python's lock: threads share
memory, so nothing is copied to them or back.
"""

import contextlib
import os
import sys
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import Any, Generic, TypeVar

from budget_cli import system
from budget_cli.errors import WorkerDied

Work = TypeVar("Work")
Outcome = TypeVar("Outcome")

ALONE_FIRST = 4  # tasks of a stream of unknown length that are done before workers are started
HELD = 4  # outcomes per worker that may wait for an earlier one to be folded
AHEAD = 2  # unfinished tasks handed out per worker


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
        WorkerDied: a process could not be started, or ended without an answer; no later outcome is given.
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
            yield from _handed_out([function] * (jobs - 1), function, plan, rest)
        else:
            yield from _in_processes(function, plan, rest, jobs, start_method)


def _handed_out(
    helpers: Sequence[Callable[[Work, Any], Outcome]],
    function: Callable[[Work, Any], Outcome],
    plan: Any,
    stream: Iterator[Work],
) -> Iterator[tuple[Work, Outcome]]:
    """Run the tasks by the function in this thread, and by each helper in a thread that Ctrl-C need not wait for.

    Those of concurrent.futures are joined at exit, so one that waits for a silent server would keep the process alive;
    and they made a loss over 20 MB 15 ms slower (paired median of 41 runs), as they import logging.
    """
    waiting: SimpleQueue[tuple[Work, _Future[Outcome]] | None] = SimpleQueue()
    idle = list(helpers)

    def work(helper: Callable[[Work, Any], Outcome]) -> None:
        while (given := waiting.get()) is not None:
            task, future = given
            try:
                future.set_result(helper(task, plan))
            except BaseException as error:
                future.set_exception(error)

    def submit(task: Work) -> _Future[Outcome]:
        future = _Future[Outcome]()
        waiting.put((task, future))
        if idle:
            try:
                Thread(target=work, args=(idle.pop(),), daemon=True).start()
            except RuntimeError:  # the system allows no more threads: those that there are do the work
                if len(idle) == len(helpers) - 1:
                    raise WorkerDied("not even one thread could be started; --jobs 1 needs none") from None
                idle.clear()
        return future

    try:
        yield from _in_order(submit, function, plan, stream, len(helpers) + 1)
    finally:
        with contextlib.suppress(Empty):
            while True:
                waiting.get_nowait()
        for _ in helpers:
            waiting.put(None)


def _in_processes(
    function: Callable[[Work, Any], Outcome], plan: Any, stream: Iterator[Work], jobs: int, start_method: str | None
) -> Iterator[tuple[Work, Outcome]]:
    """Run the tasks in processes, each asked by a thread of this one."""
    import multiprocessing  # most scans need no processes

    context = multiprocessing.get_context(start_method or ("fork" if sys.platform == "linux" else None))
    processes: list[_Process] = []
    try:
        try:
            with system.ending_held_back():
                for _ in range(jobs - 1):  # before any thread that may hold a lock, as a fork would copy it
                    processes.append(_Process(context, function, plan))  # noqa: PERF401  # those that start must be ended
        except OSError as error:
            why = f"only {len(processes)} of {jobs - 1} worker processes could be started: {error.strerror}"
            raise WorkerDied(f"{why}; give a smaller --jobs") from None
        yield from _handed_out(processes, function, plan, stream)
    finally:
        for process in processes:
            process.end()


class _Process:
    """A worker process, asked through a pipe. It ends when this process does, however that ends."""

    def __init__(self, context: Any, function: Callable[[Any, Any], Any], plan: Any) -> None:
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, function, plan), daemon=True)
        self._process.start()
        theirs.close()

    def __call__(self, task: Any, plan: Any) -> Any:
        """Return the outcome of a task, or raise its error. The process has the plan already."""
        try:
            self._pipe.send(task)
            succeeded, outcome = self._pipe.recv()
        except (EOFError, OSError):
            raise WorkerDied(
                "a worker process was killed (out of memory?), so there is no result; --jobs 1 needs the least memory"
            ) from None
        if succeeded:
            return outcome
        raise outcome

    def end(self) -> None:
        """End the process, which has no work or none that is still wanted."""
        self._process.kill()
        self._process.join()


def _serve(pipe: Any, function: Callable[[Any, Any], Any], plan: Any) -> None:
    """Do the tasks that come through the pipe. The parent ends its workers, so they ignore what is to end them all."""
    system.ignore_ending()
    Thread(target=_end_with_parent, daemon=True).start()
    while True:
        try:
            task = pipe.recv()
        except EOFError:
            return
        try:
            answer = True, function(task, plan)
        except Exception as error:
            error.add_note(f"in a worker process:\n{traceback.format_exc()}")
            answer = False, error
        pipe.send(answer)


def _end_with_parent() -> None:
    """End this process once its parent has: until then, the parent holds the other end of a pipe."""
    from multiprocessing import connection, parent_process

    parent = parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os.kill(os.getpid(), system.KILL)


def _in_order(
    submit: Callable[[Work], "_Future[Outcome]"],
    function: Callable[[Work, Any], Outcome],
    plan: Any,
    stream: Iterator[Work],
    jobs: int,
) -> Iterator[tuple[Work, Outcome]]:
    """Yield outcomes in order; `submit` hands a task to the other workers, and this thread does tasks itself, too."""
    pending: deque[tuple[Work, _Future[Outcome]]] = deque()
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
    """The outcome of a task, once it is there."""

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
