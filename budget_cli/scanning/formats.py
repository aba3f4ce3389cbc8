"""How a source is read: as JSON lines, a JSON document, CSV or TSV, Parquet, or a summary. One interface for all.

Each format cuts a source into units that can be read on their own, in order, and reads a unit into a part of the scan.
"""

import os
import threading
from collections.abc import Iterator
from functools import lru_cache, partial
from typing import Protocol

from budget_cli import system
from budget_cli.errors import InputProblem
from budget_cli.groups.groups import Groups
from budget_cli.records import jsonl
from budget_cli.records.columns import Decoded, Tally, merge_left_out
from budget_cli.scanning.parts import merge_labels, merge_named, part_from, under_prompts
from budget_cli.scanning.plan import Part, Plan, Task, Unit
from budget_cli.scanning.rollouts import Rollouts
from budget_cli.scanning.state import Summary
from budget_cli.sources import blocks
from budget_cli.sources import local as sources
from budget_cli.sources.blocks import Block, Fill, OpenFile, RangeReader
from budget_cli.sources.local import Kind, Source


class Format(Protocol):
    """A way to read a source."""

    def units(self, source: Source, max_line_bytes: int, shared: bool) -> Iterator[Unit]:
        """Cut the source into units, in order.

        Args:
            source: what to cut.
            max_line_bytes: the longest line to read.
            shared: True if the workers share this process's memory, and so what it has fetched; otherwise only this
                process fetches.

        Raises:
            InputProblem: the source cannot be read to its end.
        """

    def read(self, task: Task, plan: Plan) -> Part | Summary:
        """Read a unit.

        Raises:
            InputProblem: it cannot be read.
        """


def format_of(source: Source, plan: Plan) -> Format:
    """The format of a source under this plan."""
    if source.kind is Kind.SUMMARY:
        return SUMMARY
    if source.kind is Kind.PARQUET:
        return PARQUET
    if source.kind in (Kind.CSV, Kind.TSV):
        return DELIMITED
    return DOCUMENT if plan.fields.document else JSON_LINES


class _JsonLines:
    """Blocks of lines: by their number in a file that is read in ranges, or as they come from a stream."""

    def units(self, source: Source, max_line_bytes: int, shared: bool) -> Iterator[Unit]:
        if source.in_ranges and (shared or source.remote is None):
            yield from range(-(-(source.size or 0) // blocks.BLOCK_BYTES))
        else:
            yield from blocks.cut(source.name, sources.pieces(source), max_line_bytes)

    def read(self, task: Task, plan: Plan) -> Part:
        block = block_of(task, plan.limits.max_line_bytes)
        part = part_from(decode(task.source, block, plan), task.source, len(block), plan)
        if part.observations is not None and plan.look_for_duplicate_keys:
            from budget_cli.records import diagnosis  # only on request

            data = bytes(block.view)
            if plan.fields.document:  # as one line
                data = data.replace(b"\n", b" ")
            found = list(diagnosis.find_duplicate_keys(data))
            part.observations.counters.note("repeated_keys", found)
        return part


class _Document(_JsonLines):
    """A source that is one JSON value: a block of one line, as a newline can only stand between tokens."""

    def units(self, source: Source, max_line_bytes: int, shared: bool) -> Iterator[Unit]:
        whole = b""
        for piece in sources.pieces(source):
            whole += piece
            if len(whole) > max_line_bytes:
                raise jsonl.too_long(source, max_line_bytes)
        yield Block(source.name, whole, 0, len(whole), first=True)


class _Delimited:
    """Rows of CSV or TSV, cut where a row ends."""

    def units(self, source: Source, max_line_bytes: int, shared: bool) -> Iterator[Unit]:
        from budget_cli.records import delimited  # which few dumps are

        yield from delimited.units(source, max_line_bytes)

    def read(self, task: Task, plan: Plan) -> Part:
        from budget_cli.records import delimited

        assert isinstance(task.unit, delimited.Rows)
        decoded = delimited.decode(task.source, task.unit, plan.fields, plan.limits)
        return part_from(under_prompts(decoded, task.source, plan), task.source, task.unit.bytes, plan)


class _Parquet:
    """Row groups, each read batch by batch; pyarrow is imported once there is such a file."""

    def units(self, source: Source, max_line_bytes: int, shared: bool) -> Iterator[Unit]:
        from budget_cli.records import parquet

        yield from parquet.row_groups(source)

    def read(self, task: Task, plan: Plan) -> Part:
        from budget_cli.records import parquet

        assert isinstance(task.unit, parquet.RowGroup)
        whole = Part(Groups(plan.keep.layout, plan.keep.hold), Tally(), task.unit.rows, [], task.unit.bytes, {}, {})
        whole.observations = observations = plan.keep.empty_observations()
        rollouts = Rollouts(plan.fields.has_rollouts)
        for decoded in parquet.decode(task.source, task.unit, plan.fields, plan.limits.keep):
            part = part_from(under_prompts(decoded, task.source, plan), task.source, 0, plan)
            whole.steps |= part.steps
            merge_named(whole.has_named, part.has_named)
            if part.rows is not None:
                rollouts.add(part.rows, 0)  # rows are numbered from the row group's first already
                whole.rows = part.rows
            rows = whole.groups.merge(part.groups)
            if observations is not None and part.observations is not None:
                observations.merge(part.observations, rows, 0)  # rows are numbered from the row group's first already
            merge_labels((whole.by, whole.observed), (part.by, part.observed), plan.keep)  # rows are numbered as above
            for label, tally in part.tallies.items():
                whole.tallies.setdefault(label, Tally()).merge(tally)
            whole.tally.merge(part.tally)
            plan.limits.keep.merge(whole.rejections, part.rejections)
            merge_left_out(whole.left_out, part.left_out)
        if whole.rows is not None:
            whole.rows = rollouts.responses()
        return whole


class _Summary:
    """What an earlier run made of its sources: one unit."""

    def units(self, source: Source, max_line_bytes: int, shared: bool) -> Iterator[Unit]:
        yield None

    def read(self, task: Task, plan: Plan) -> Summary:
        from budget_cli.scanning import summary  # 2 ms, and few dumps have one

        most = plan.limits.max_line_bytes
        return summary.read(task.source, plan.keep.layout, plan.keep.observe, plan.keep.reward_sample, most)


JSON_LINES, DOCUMENT, DELIMITED = _JsonLines(), _Document(), _Delimited()
PARQUET, SUMMARY = _Parquet(), _Summary()


# ---- blocks of lines, for `annotate`, too


def block_of(task: Task, max_line_bytes: int) -> Block:
    """Return the bytes of a unit of lines.

    Raises:
        InputProblem: they are no longer there.
    """
    if not isinstance(task.unit, int):
        assert isinstance(task.unit, Block)
        return task.unit
    source = task.source
    if not hasattr(_of_thread, "reader"):
        _of_thread.reader = RangeReader()  # keeps its memory
    block: Block = _of_thread.reader.read(_bytes_of(source), source.name, task.unit, source.size or 0, max_line_bytes)
    return block


def decode(source: Source, block: Block, plan: Plan) -> Decoded:
    """Decode a block's responses, under the prompts of the plan.

    Raises:
        InputProblem: the source is not JSON lines, or not a JSON document, at all.
    """
    read = jsonl.decode_document if plan.fields.document else jsonl.decode
    return under_prompts(read(block, plan.fields, plan.limits), source, plan)


_of_thread = threading.local()


def forget_buffers() -> None:
    """Free the memory that this thread keeps for blocks."""
    _of_thread.__dict__.clear()


def forget_files() -> None:
    """Close the files that are kept open for another pass, for a process that goes on; one in use is closed after."""
    _bytes_of.cache_clear()


@lru_cache(maxsize=8)
def _bytes_of(source: Source) -> Fill:
    """Give access to the bytes of a source; a file is opened once per process and checked to be the one found."""
    if source.remote is not None:
        from budget_cli.sources import remote  # of an extra

        return partial(remote.fill, source.remote)
    assert source.path is not None
    try:
        fd = os.open(source.path, os.O_RDONLY | system.BINARY)
    except OSError as error:
        raise InputProblem(source.name, f"cannot be read: {error.strerror}") from None
    file = OpenFile(fd, source.name)
    sources.require_unchanged(source)
    return file
