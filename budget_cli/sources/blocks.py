"""Bytes → blocks of whole lines, whose boundaries depend only on the bytes, not on who reads them. Knows no JSON.

Block k holds the lines whose first byte lies in [k·BLOCK_BYTES, (k+1)·BLOCK_BYTES) of the (decompressed) source, so a
file that many threads read in ranges and a stream that one reads give the same blocks.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from budget_cli import system
from budget_cli.errors import InputProblem

BLOCK_BYTES = 1 << 22  # enough lines for arithmetic on columns to pay off even if each has 10 KB
PIECE_BYTES = 1 << 16


@dataclass(eq=False, repr=False)
class Block:
    """Whole lines of one source. A line without a newline is the last of the source, or exceeds the limit."""

    source: str
    buffer: bytes | bytearray  # the block is buffer[start:stop]; a bytearray is reused for the next block
    start: int
    stop: int
    first: bool

    @property
    def view(self) -> memoryview:
        """The bytes of the block, without a copy."""
        return memoryview(self.buffer)[self.start : self.stop]

    def __len__(self) -> int:
        return self.stop - self.start


Fill = Callable[[int, memoryview], None]  # (offset, memory): fill the memory with the bytes from this offset on


class OpenFile:
    """Fills memory from an open file, and closes it when it is no longer referenced.

    Raises:
        InputProblem: on a call, if the file has become shorter.
    """

    def __init__(self, fd: int, source: str) -> None:
        self._fd = fd
        self._source = source

    def __call__(self, offset: int, memory: memoryview) -> None:
        start = 0
        while start < len(memory):  # a signal or a network file system may cause short reads
            got = system.read_at(self._fd, memory[start:], offset)
            if not got:
                raise InputProblem(self._source, f"became shorter while being read: byte {offset:,} is gone")
            start += got
            offset += got

    def __del__(self) -> None:
        os.close(self._fd)


class RangeReader:
    """Reads blocks of uncompressed sources at their own offsets, into one buffer.

    Fresh memory for each block would cost a page fault every 4 KiB: half of the time of a scan of long lines. A block
    is valid until the next one is read.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()  # as large as a block needs: all of it is a page fault every 4 KiB for a small file

    def read(self, fill: Fill, source: str, number: int, size: int, max_line_bytes: int) -> Block:
        """Read block `number` of a source of `size` bytes by means of `fill`.

        Raises:
            InputProblem: `fill` cannot read the bytes.
        """
        begin, end = number * BLOCK_BYTES, min((number + 1) * BLOCK_BYTES, size)
        lead = 1 if number else 0  # the byte before the block shows whether a line begins at its start
        held = lead + end - begin
        if held > len(self._buffer):
            self._buffer = bytearray(held + 1)  # one more, for the lead of the next block
        buffer = self._buffer
        self._fill(fill, begin - lead, 0, held)
        start = 0
        if lead:
            newline = buffer.find(b"\n", 0, held)
            if newline < 0 or newline + 1 == held:
                return Block(source, buffer, 0, 0, first=False)
            start = newline + 1
        line = buffer.rfind(b"\n", start, held) + 1 or start  # start of the last line
        while end < size and line < held:
            if held - line > max_line_bytes:
                held = line + max_line_bytes + 1  # enough for a reader to reject it; the rest is never in memory
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
    """Cut a stream that arrives in pieces of any size into blocks.

    Raises:
        InputProblem: as the pieces do, after the whole lines before it were yielded.
    """
    problems: list[InputProblem] = []
    held = bytearray()
    start = 0  # offset of held[0] in the stream; always the first byte of a line
    searched = 0  # offset from held[0] before which no newline ends the block
    first = True
    skipping = False  # True inside a line that exceeds the limit and whose beginning was yielded
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
            stop = (start // BLOCK_BYTES + 1) * BLOCK_BYTES - start  # end of the block as an offset from held[0]
            newline = held.find(b"\n", max(stop - 1, searched))
            line = held.rfind(b"\n", 0, stop - 1) + 1  # start of the last line
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
        del held[held.rfind(b"\n") + 1 :]  # the rest of this line is missing, as the problem will say
    if held:
        yield Block(source, bytes(held), 0, len(held), first)
    if problems:
        raise problems[0]


def _up_to_problem(pieces: Iterable[bytes], problems: list[InputProblem]) -> Iterator[bytes]:
    try:
        yield from pieces
    except InputProblem as problem:
        problems.append(problem)
