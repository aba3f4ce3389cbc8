"""A remote object → a file that is read at any place, as Parquet is: its end first, then what is needed of the rest.

Fetches what is read or announced by `expect`, in few ranges and some ahead of use. A file is of one thread, and holds
32 MiB at most, or 192 KiB for each span that is read at the same time if that is more.
"""

import io
from bisect import bisect_right, insort
from collections import OrderedDict
from collections.abc import Iterable
from concurrent.futures import Future
from functools import lru_cache

from budget_cli.sources import remote
from budget_cli.sources.remote import Remote

HELD_BYTES = 1 << 25
SMALLEST = 1 << 16  # per request
GAP_BYTES = 1 << 16  # less than a request costs
END_BYTES = 1 << 16  # as pyarrow first reads of a file


class RemoteFile(io.RawIOBase):
    """The bytes of a remote object, read-only."""

    def __init__(self, found: Remote) -> None:
        """Fetch nothing yet."""
        self._remote, self._size, self._at = found, found.size or 0, 0
        self._starts: list[int] = []  # of ranges, which do not overlap
        self._stops: dict[int, int] = {}
        self._held: OrderedDict[int, Future[bytes]] = OrderedDict()  # by start; the one that was used last is last
        self._ahead, self._most = 0, HELD_BYTES
        self._ends: set[int] = set()  # of spans that are read at the same time: what follows is not ahead, but used

    def expect(self, spans: Iterable[tuple[int, int]]) -> None:
        """Announce the spans that are read next, each from its start; what is held of others is dropped."""
        spans = [(max(0, start), min(stop, self._size)) for start, stop in sorted(spans)]
        spans = [(start, stop) for start, stop in spans if start < stop]
        for start in list(self._starts):
            within = any(a <= start and self._stops[start] <= b for a, b in spans)
            if start not in self._held or not within:
                self._drop(start)
        total = sum(stop - start for start, stop in spans)
        size = remote.RANGE_BYTES
        if total > HELD_BYTES:  # what is used, what was, and what is ahead, of each span
            size = min(size, max(SMALLEST, HELD_BYTES // (3 * len(spans))))
        most = max(HELD_BYTES, 3 * size * len(spans))
        self._ahead = len(spans) + most // size if total <= HELD_BYTES else most // (size * len(spans)) - 2
        self._most = most + self._held_bytes()  # what was read to find the spans is read again
        self._ends = set() if total <= HELD_BYTES else {stop for _, stop in spans}
        for start, stop in spans if self._ends else _joined(spans):
            for begin, end in self._missing(start, stop):
                for at in range(begin, end, size):
                    self._add(at, min(at + size, end))

    def read(self, size: int | None = -1) -> bytes:
        """Read so many bytes, or all that are left, fewer at the end of the object.

        Raises:
            InputProblem: they cannot be read.
        """
        stop = self._size if size is None or size < 0 else min(self._at + size, self._size)
        parts = []
        while self._at < stop:
            part = self._some(self._at, stop)
            parts.append(part)
            self._at += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to this byte."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        """Return the place of the byte that is read next."""
        return self._at

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def _some(self, start: int, stop: int) -> bytes:
        """Return the bytes from `start` on, at least one and at most those before `stop`."""
        if start >= self._size - END_BYTES:
            end = _end(self._remote)
            return end[start - self._size :][: stop - start]
        at = bisect_right(self._starts, start) - 1
        if at < 0 or self._stops[self._starts[at]] <= start:  # not announced
            after = self._starts[at + 1] if at + 1 < len(self._starts) else self._size
            self._add(start, min(stop, after))
            at += 1
        first = self._starts[at]
        for soon in self._starts[at : at + 1 + self._ahead]:
            self._request(soon)
            if self._stops[soon] in self._ends:
                break
        data = self._held[first].result()
        while len(self._held) * remote.RANGE_BYTES > self._most and self._held_bytes() > self._most:
            self._held.popitem(last=False)
        return data[start - first : stop - first]

    def _held_bytes(self) -> int:
        return sum(self._stops[start] - start for start in self._held)

    def _request(self, start: int) -> None:
        if start not in self._held:
            self._held[start] = remote.request(self._remote, start, self._stops[start])
        self._held.move_to_end(start)

    def _add(self, start: int, stop: int) -> None:
        insort(self._starts, start)
        self._stops[start] = stop

    def _drop(self, start: int) -> None:
        self._starts.remove(start)
        del self._stops[start]
        self._held.pop(start, None)

    def _missing(self, start: int, stop: int) -> Iterable[tuple[int, int]]:
        """Return the parts of a span that are in no range."""
        missing, at = [], start
        for begin in [each for each in self._starts if start <= each < stop]:
            missing.append((at, begin))
            at = max(at, self._stops[begin])
        return [(a, b) for a, b in [*missing, (at, stop)] if a < b]


def _joined(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join spans that overlap, or have less between them than a request costs."""
    joined: list[tuple[int, int]] = []
    for start, stop in spans:
        if joined and start - joined[-1][1] <= GAP_BYTES:
            joined[-1] = (joined[-1][0], max(stop, joined[-1][1]))
        else:
            joined.append((start, stop))
    return joined


@lru_cache(maxsize=64)
def _end(found: Remote) -> bytes:
    """The last bytes of an object, which every thread that opens it needs."""
    size = found.size or 0
    return remote.fetch(found, max(0, size - END_BYTES), size)
