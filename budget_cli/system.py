"""What Windows lacks of POSIX: the answer to each call, in one place, so that no other module asks which system it is.

On Windows Ctrl-C ends the process when Python sees it, a result gets the permissions of its directory, and the readers
share a position in a file. Imports no other module of the package.
"""

import _thread
import contextlib
import os
import signal
import stat
from collections.abc import Iterator
from typing import TextIO

ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGHUP", "SIGTERM") if hasattr(signal, name))
KILL = getattr(signal, "SIGKILL", signal.SIGTERM)  # either ends a process of Windows at once
CAN_NUDGE = hasattr(signal, "SIGURG") and hasattr(signal, "pthread_kill")  # a signal to one thread of this process
BINARY: int = getattr(os, "O_BINARY", 0)  # of os.open: or Windows writes two bytes for each end of a line

_position = _thread.allocate_lock()


@contextlib.contextmanager
def ending_held_back() -> Iterator[None]:
    """Keep the signals that end the process from this thread, and from what it starts, until the end of the block."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def ignore_ending() -> None:
    """Ignore the signals that end the process, those that were held back when it was forked, too."""
    for each in ENDING:
        signal.signal(each, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)


def read_at(descriptor: int, memory: memoryview, offset: int) -> int:
    """Fill the memory with the bytes of a file from this offset on; return how many were read, 0 at the end."""
    if hasattr(os, "preadv"):
        return os.preadv(descriptor, [memory], offset)
    with _position:  # threads share the descriptor
        os.lseek(descriptor, offset, os.SEEK_SET)
        got = os.read(descriptor, len(memory))
    memory[: len(got)] = got
    return len(got)


def is_only_mine(info: os.stat_result) -> bool:
    """True if only this user can have written the file; on Windows its folder, the user's own, sees to that."""
    if not hasattr(os, "getuid"):
        return True
    return info.st_uid == os.getuid() and not info.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def be_like(descriptor: int, old: os.stat_result) -> None:
    """Take over mode and owner of the file to replace; where the group cannot be kept, it gets no access either."""
    if not hasattr(os, "fchown"):
        return
    mode = stat.S_IMODE(old.st_mode)
    now = os.fstat(descriptor)
    if (now.st_uid, now.st_gid) != (old.st_uid, old.st_gid):
        try:
            os.fchown(descriptor, old.st_uid, old.st_gid)
        except OSError:
            try:
                os.fchown(descriptor, -1, old.st_gid)
            except OSError:
                mode &= ~0o070
    os.fchmod(descriptor, mode)


def encodes_by_itself(stream: TextIO) -> bool:
    """True for a console of Windows, which takes bytes in its own code page but text in any script."""
    return os.name == "nt" and stream.isatty()
