"""Bytes → blocks of whole lines. Where a block begins depends on the bytes alone, never on who reads it or how fast.

Block number k holds the lines whose first byte lies in [k·BLOCK_BYTES, (k+1)·BLOCK_BYTES) of the (decompressed) source,
so a file read in ranges by many and a stream read by one give the same blocks. Knows nothing of JSON.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from budget_cli.errors import InputProblem

BLOCK_BYTES = 1 << 22  # enough lines for the arithmetic on columns to pay, also where a line has 10 KB
PIECE_BYTES = 1 << 16


@dataclass(frozen=True)
class Block:
    """Whole lines of one source; only a source's last line may lack its newline, or one that exceeds the limit."""

    source: str
    buffer: bytes | bytearray  # the block is buffer[start:stop]; a bytearray is used again for the next block
    start: int
    stop: int
    first: bool

    @property
    def view(self) -> memoryview:
        """The block's bytes, not copied."""
        return memoryview(self.buffer)[self.start : self.stop]

    def __len__(self) -> int:
        return self.stop - self.start


Fill = Callable[[int, memoryview], None]  # (offset, memory): the bytes that begin there, as many as the memory holds


class OpenFile:
    """Gives the bytes of an open file, which is closed when nobody needs them any more.

    Raises:
        InputProblem: on call, the file has become shorter.
    """

    def __init__(self, fd: int, source: str) -> None:
        self._fd = fd
        self._source = source

    def __call__(self, offset: int, memory: memoryview) -> None:
        start = 0
        while start < len(memory):  # a signal or a network file system may give less at a time
            got = os.preadv(self._fd, [memory[start:]], offset)
            if not got:
                raise InputProblem(self._source, f"became shorter while being read: byte {offset:,} is gone")
            start += got
            offset += got

    def __del__(self) -> None:
        os.close(self._fd)


class RangeReader:
    """Reads blocks of uncompressed sources at their own offsets, each into the same memory.

    One buffer for all blocks, because fresh memory costs a page fault every 4 KiB: half of the time of a scan of long
    lines. A block is good until the next one is read.
    """

    def __init__(self) -> None:
        self._buffer = bytearray(BLOCK_BYTES + 1)

    def read(self, fill: Fill, source: str, number: int, size: int, max_line_bytes: int) -> Block:
        """Block `number` of a source of `size` bytes, whose bytes `fill` gives.

        Raises:
            InputProblem: they cannot be had; what `fill` raises.
        """
        begin, end = number * BLOCK_BYTES, min((number + 1) * BLOCK_BYTES, size)
        lead = 1 if number else 0  # the byte before tells whether a line begins right here
        buffer, held = self._buffer, lead + end - begin
        self._fill(fill, begin - lead, 0, held)
        start = 0
        if lead:
            newline = buffer.find(b"\n", 0, held)
            if newline < 0 or newline + 1 == held:
                return Block(source, buffer, 0, 0, first=False)
            start = newline + 1
        line = buffer.rfind(b"\n", start, held) + 1 or start  # where the last line begins
        while end < size and line < held:
            if held - line > max_line_bytes:
                held = line + max_line_bytes + 1  # enough to be refused; the rest is never held
                break
            piece = min(PIECE_BYTES, size - end)
            if held + piece > len(buffer):
                buffer.extend(bytes(held + piece - len(buffer)))
            self._fill(fill, end, held, held + piece)
            newline = buffer.find(b"\n", held, held + piece)
            end += piece
            held += piece
            if newline >= 0:
                held = line + max_line_bytes + 1 if newline - line > max_line_bytes else newline + 1
                break
        return Block(source, buffer, start, held, first=number == 0)

    def _fill(self, fill: Fill, offset: int, start: int, stop: int) -> None:
        with memoryview(self._buffer) as view, view[start:stop] as memory:
            fill(offset, memory)


def cut(source: str, pieces: Iterable[bytes], max_line_bytes: int) -> Iterator[Block]:
    """The blocks of a stream that arrives in pieces of any size.

    Raises:
        InputProblem: that of the pieces, once the whole lines before it have been given out.
    """
    problems: list[InputProblem] = []
    held = bytearray()
    start = 0  # offset of held[0] in the stream, always the first byte of a line
    searched = 0  # no newline that ends the block before here, counted from held[0]
    first = True
    skipping = False  # inside a line that exceeds the limit and has been given out
    for piece in _up_to_problem(pieces, problems):
        if skipping:
            newline = piece.find(b"\n")
            start += len(piece) if newline < 0 else newline + 1
            if newline < 0:
                continue
            piece = piece[newline + 1 :]
            skipping = False
        held += piece
        while True:
            stop = (start // BLOCK_BYTES + 1) * BLOCK_BYTES - start  # the block's end, counted from held[0]
            newline = held.find(b"\n", max(stop - 1, searched))
            line = held.rfind(b"\n", 0, stop - 1) + 1  # where the last line begins
            if newline >= 0:
                cut_at = line + max_line_bytes + 1 if newline - line > max_line_bytes else newline + 1
                yield Block(source, bytes(held[:cut_at]), 0, cut_at, first)
                del held[: newline + 1]
                start += newline + 1
                searched, first = 0, False
                continue
            searched = len(held)
            if searched >= stop and searched - line > max_line_bytes:
                cut_at = line + max_line_bytes + 1
                yield Block(source, bytes(held[:cut_at]), 0, cut_at, first)
                start += len(held)
                held.clear()
                searched, first, skipping = 0, False, True
            break
    if problems:
        del held[held.rfind(b"\n") + 1 :]  # the rest of this line is missing, which is what the problem says
    if held:
        yield Block(source, bytes(held), 0, len(held), first)
    if problems:
        raise problems[0]


def _up_to_problem(pieces: Iterable[bytes], problems: list[InputProblem]) -> Iterator[bytes]:
    try:
        yield from pieces
    except InputProblem as problem:
        problems.append(problem)
