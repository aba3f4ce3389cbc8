"""SIGINT, SIGHUP and SIGTERM → one `Terminated` in the main thread, whatever that is doing.

Python leaves two gaps, in each of which a process would go on as if there had been no signal. What a handler raises
may never arrive: a destructor and the callback of a weak reference (every import has one) drop it, and some code in C
clears it or raises its own error in its place. And a signal that comes between Python's last look for one and a call
that waits, such as a read of a pipe, does not end the wait. So the first signal wakes a thread that nudges the main
thread as long as the process is there: a nudge ends a wait, so that the signal is seen, and raises again what was
lost.
"""

import _thread
import contextlib
import os
import signal
import sys
import time
from typing import Any

from budget_cli import system

AGAIN = 0.05  # seconds from nudge to nudge
OUT_OF_THE_WAY = 100  # the least number of an own descriptor: -o /dev/fd/3 means one of the caller's

_lost: list[int] = []  # the signal whose exception is gone and has not arrived


class Terminated(BaseException):
    """A signal asked the process to end. Who catches it sets `arrived`, or it is raised again."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.signal = signal.Signals(number)
        self.arrived = False

    def __del__(self) -> None:
        if not self.arrived:
            _lost.append(self.signal)


def cause_of(error: BaseException) -> BaseException:
    """Return the `Terminated` in whose place an error has come, or the error."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, Terminated):
        cause = cause.__context__
    return cause or (Terminated(_lost.pop()) if _lost else error)


def end_on_signals() -> None:
    """Have the signals raise `Terminated`, so that what is half-written is removed and workers end.

    One that is ignored, as nohup does, stays ignored; a second one ends the process at once.
    """
    report = sys.unraisablehook

    def end(number: int, frame: Any) -> None:
        for each in ours:
            signal.signal(each, signal.SIG_DFL)
        raise Terminated(number)

    def raise_lost(number: int, frame: Any) -> None:
        if _lost:
            raise Terminated(_lost.pop())

    def keep_quiet(unraisable: Any) -> None:
        if not isinstance(unraisable.exc_value, Terminated):
            report(unraisable)

    ours = [each for each in system.ENDING if signal.getsignal(each) in (signal.SIG_DFL, signal.default_int_handler)]
    for each in ours:
        signal.signal(each, end)
    sys.unraisablehook = keep_quiet
    if not system.CAN_NUDGE:
        return
    signal.signal(signal.SIGURG, raise_lost)  # does nothing where nobody asks for it
    with contextlib.suppress(OSError, RuntimeError):  # no descriptor or no thread is free: the gaps stay
        woken, wakes = map(_out_of_the_way, os.pipe())
        os.set_blocking(wakes, False)
        signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
        # the thread takes none: they come to the main one, which holds them back while it starts workers
        with system.ending_held_back():
            _thread.start_new_thread(_nudge, (_thread.get_ident(), woken))


def _out_of_the_way(descriptor: int) -> int:
    import fcntl  # not on Windows

    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, OUT_OF_THE_WAY)
    os.close(descriptor)
    return int(moved)


def _nudge(main: int, woken: int) -> None:
    """Wait for the first signal, then nudge the main thread until the process ends."""
    os.read(woken, 1)
    while True:
        signal.pthread_kill(main, signal.SIGURG)
        time.sleep(AGAIN)
