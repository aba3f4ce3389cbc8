"""If this fails, a line is lost, read twice or split where blocks meet, or a file and a pipe give different blocks."""

import itertools
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from budget_cli.errors import InputProblem
from budget_cli.sources import blocks

BLOCK, PIECE = 16, 8
NO_LIMIT = 1 << 30

# few letters and many newlines, so that lines end at, just before and just after the edges of blocks
TEXTS = st.lists(st.sampled_from([b"a", b"b", b"\n", b"\r\n", b"cde", b"x" * 7, b"y" * 30]), max_size=40).map(b"".join)


@pytest.fixture(autouse=True, scope="module")
def _small_blocks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "BLOCK_BYTES", BLOCK)
        patch.setattr(blocks, "PIECE_BYTES", PIECE)
        yield


def opened(fd: int) -> blocks.OpenFile:
    return blocks.OpenFile(os.dup(fd), "x")


def of_file(data: bytes, limit: int) -> list[tuple[bytes, bool]]:
    """Read the blocks of a file in ranges; drop the empty ones."""
    reader = blocks.RangeReader()
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        count = -(-len(data) // BLOCK)
        fill = opened(file.fileno())
        read = (reader.read(fill, "x", number, len(data), limit) for number in range(count))
        return [(bytes(block.view), block.first) for block in read if len(block)]


def of_stream(data: bytes, sizes: list[int], limit: int) -> list[tuple[bytes, bool]]:
    """Cut the same blocks from a stream that arrives in pieces of these sizes, repeated."""
    pieces, at = [], 0
    for size in itertools.cycle(sizes):
        if at >= len(data):
            break
        pieces.append(data[at : at + size])
        at += size
    return [(bytes(block.view), block.first) for block in blocks.cut("x", pieces, limit)]


def lines_shown(read: list[tuple[bytes, bool]], limit: int) -> list[list[bytes]]:
    """Return the lines of each block; a line over the limit ends one byte after it."""
    return [[line[: limit + 1] for line in data.removesuffix(b"\n").split(b"\n")] for data, _ in read]


@given(data=TEXTS, sizes=st.lists(st.integers(1, 50), min_size=1, max_size=5))
@example(data=b"", sizes=[1])
@example(data=b"\n" * BLOCK, sizes=[BLOCK])
@example(data=b"x" * (BLOCK - 1) + b"\n" + b"y" * BLOCK + b"\n", sizes=[BLOCK])
@example(data=b"x" * 5 * BLOCK, sizes=[7])
def test_a_file_and_a_stream_give_the_same_blocks_and_together_the_whole_input(data: bytes, sizes: list[int]) -> None:
    in_ranges = of_file(data, NO_LIMIT)
    assert of_stream(data, sizes, NO_LIMIT) == in_ranges
    assert b"".join(block for block, _ in in_ranges) == data
    assert [first for _, first in in_ranges] == [True, *[False] * (len(in_ranges) - 1)][: len(in_ranges)]
    assert all(block.endswith(b"\n") for block, _ in in_ranges[:-1])


@given(data=TEXTS, sizes=st.lists(st.integers(1, 50), min_size=1, max_size=5), limit=st.integers(1, 40))
@example(data=b"x" * 100 + b"\na\n" + b"y" * 15 + b"\n" + b"z" * 16 + b"\nb", sizes=[9], limit=12)
@example(data=b"a\n" + b"x" * 100, sizes=[3], limit=40)
def test_a_line_over_the_limit_stays_one_line_over_the_limit(data: bytes, sizes: list[int], limit: int) -> None:
    in_ranges, stream = of_file(data, limit), of_stream(data, sizes, limit)
    assert lines_shown(stream, limit) == lines_shown(in_ranges, limit)
    assert [first for _, first in stream] == [first for _, first in in_ranges]
    lines = data.removesuffix(b"\n").split(b"\n") if data else []
    assert [line for shown in lines_shown(stream, limit) for line in shown] == [line[: limit + 1] for line in lines]


def test_only_as_much_of_a_long_line_is_held_as_shows_that_it_is_too_long() -> None:
    limit, given_out = 40, 0

    def pieces() -> Iterator[bytes]:
        nonlocal given_out
        for _ in range(1000):
            given_out += 10
            yield b"x" * 10
        yield b"\nend\n"

    stream = blocks.cut("x", pieces(), limit)
    block = next(stream)
    assert (len(block), given_out) == (limit + 1, limit + 10)
    assert [bytes(block.view) for block in stream] == [b"end\n"]
    assert max(len(data) for data, _ in of_file(b"x" * 10_000 + b"\nend\n", limit)) <= limit + 1 + PIECE


def test_where_blocks_begin_depends_on_the_bytes_alone() -> None:
    assert of_file(b"0123456789abcde\nX\n0123456789abcdefghi\nY\n", NO_LIMIT) == [
        (b"0123456789abcde\n", True),
        (b"X\n0123456789abcdefghi\n", False),
        (b"Y\n", False),
    ]


def test_a_file_that_became_shorter_is_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"0123456\n" * 10)
    reader = blocks.RangeReader()
    with path.open("rb") as file:
        fill = blocks.OpenFile(os.dup(file.fileno()), "a.jsonl")
        assert bytes(reader.read(fill, "a.jsonl", 0, 80, NO_LIMIT).view) == b"0123456\n" * 2
        os.truncate(path, 40)
        assert bytes(reader.read(fill, "a.jsonl", 1, 80, NO_LIMIT).view) == b"0123456\n" * 2
        with pytest.raises(InputProblem) as raised:
            reader.read(fill, "a.jsonl", 2, 80, NO_LIMIT)
    assert str(raised.value) == "a.jsonl: became shorter while being read: byte 40 is gone"


def test_the_whole_lines_before_a_problem_are_yielded_and_then_the_problem_is_raised() -> None:
    def pieces() -> Iterator[bytes]:
        yield b"one\ntwo\nthr"
        raise InputProblem("x", "cut off")

    stream = blocks.cut("x", pieces(), NO_LIMIT)
    assert bytes(next(stream).view) == b"one\ntwo\n"
    with pytest.raises(InputProblem, match="cut off"):
        next(stream)


def test_the_memory_of_a_reader_follows_the_longest_lines_not_the_file() -> None:
    reader = blocks.RangeReader()
    with tempfile.TemporaryFile() as file:
        file.write(b"0123456\n" * 1000)
        file.flush()
        fill = opened(file.fileno())
        read = [reader.read(fill, "x", number, 8000, NO_LIMIT) for number in range(500)]
        assert {id(block.buffer) for block in read} == {id(read[0].buffer)}
        assert len(read[0].buffer) <= 2 * BLOCK
