"""Sources → groups: every block decoded, its moments taken, and the parts folded in source order.

Joins reading and groups, which do not know each other. The order of folding is that of the bytes, whoever did the
work, so the result is the same to the last bit for any number of workers: the blocks of a source into the groups of
that source, and the sources into the total. So a source that was summarized elsewhere folds in as if it were read here.
"""

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from budget_cli.errors import InputProblem
from budget_cli.groups.groups import Groups
from budget_cli.groups.moments import Layout
from budget_cli.groups.observations import Observations
from budget_cli.groups.responses import Responses, Watch
from budget_cli.reading import blocks, decoding, sources
from budget_cli.reading.blocks import Block, Fill, OpenFile, RangeReader
from budget_cli.reading.columns import Columns, Decoded, Label, Labels, Rejection, Tally, in_order_of_keys
from budget_cli.reading.decoding import Limits
from budget_cli.reading.fields import Fields
from budget_cli.reading.records import part_of_id
from budget_cli.reading.sources import Source
from budget_cli.scanning import summaries, workers
from budget_cli.scanning.summaries import OfSource, Summary

if TYPE_CHECKING:
    from budget_cli.reading.parquet import RowGroup

PLACES = 1 << 40  # a place is source number · PLACES + line
WORTH_WORKERS = 16 << 20  # bytes; below this one process is done before others have started


@dataclass(frozen=True)
class Plan:
    """What to read from every record and what to keep of it; the same in every worker."""

    fields: Fields
    layout: Layout
    limits: Limits
    by: str = ""  # "": no rows; "file": a row a source; else the label that is read as this extra
    sample: int = 0  # responses to keep of some prompts
    watch: Watch | None = None  # what to look for in single responses; None: nothing
    repeated_keys: bool = False  # whether to look for keys that occur twice in an object
    apart: bool = False  # what the sources give is kept side by side, for a summary, and makes no total

    def nothing_seen(self) -> Observations | None:
        """What is seen of no response, if single responses are looked at."""
        return None if self.watch is None else Observations(self.watch.particulars)


class Task(NamedTuple):
    """A block to be read: the block itself, or its number in a file read in ranges; a row group; None: a summary."""

    source: Source
    block: "Block | int | RowGroup | None"


@dataclass
class Part:
    """What one block gave."""

    groups: Groups
    tally: Tally
    lines: int
    rejections: list[Rejection]
    bytes: int
    by: dict[Label, Groups]  # the same responses, by label
    tallies: dict[Label, Tally]  # their records; a rejected one has no label
    observations: Observations | None = None


@dataclass
class Scan:
    """What all the sources gave."""

    groups: Groups  # the total, once the scan is done
    parts: list[OfSource] = field(default_factory=list)  # of each source, where the plan keeps them apart
    tally: Tally = field(default_factory=Tally)
    rejections: list[Rejection] = field(default_factory=list)  # those that the plan keeps; tally has the counts
    problems: list[InputProblem] = field(default_factory=list)  # sources that could not be read to their end
    notes: list[str] = field(default_factory=list)
    bytes: int = 0
    lines: Counter[str] = field(default_factory=Counter)  # physical lines so far, by source
    by: dict[Label, Groups] = field(default_factory=dict)
    tallies: dict[Label, Tally] = field(default_factory=dict)
    observations: Observations | None = None  # where the plan says what to watch for
    sources: list[str] = field(default_factory=list)  # their names, by their number in a place
    begun_at: list[int] = field(default_factory=list)  # how many prompts there were before each of them

    broken: set[Source] = field(default_factory=set)  # sources of which no more is read

    _source: Source | None = None  # being read
    _of_source: OfSource | None = None  # what it gave so far

    @classmethod
    def begun(cls, plan: Plan) -> "Scan":
        """Of no source yet."""
        return cls(Groups(plan.layout, plan.sample), observations=plan.nothing_seen())

    def receive(self, source: Source, outcome: "Part | Summary | InputProblem", plan: Plan) -> None:
        """Add what became of the next task of this source."""
        if source in self.broken:
            return
        if isinstance(outcome, InputProblem):
            self.broken.add(source)
            self.problems.append(outcome)
        elif isinstance(outcome, Summary):
            self.take(outcome, plan)
        else:
            self.fold(source, outcome, plan)

    def fold(self, source: Source, part: Part, plan: Plan) -> None:
        """Add the next block of this source."""
        before = self.lines[source.name]
        if plan.fields.group == "line":  # a worker knows only how far into its block a line is
            for groups in {id(groups): groups for groups in (part.groups, *part.by.values())}.values():
                groups.rename(lambda line: f"{source.name}:{before + int(line)}")
        if source != self._source or self._of_source is None:
            self.settle(plan)
            empty = Groups(plan.layout, plan.sample)
            self._source, self._of_source = source, OfSource(source.name, empty, plan.nothing_seen())
        so_far = self._of_source
        rows = so_far.groups.fold(part.groups)
        if so_far.seen is not None and part.observations is not None:
            so_far.seen.fold(part.observations, rows, before)
        for label, groups in part.by.items():
            so_far.by.setdefault(label, Groups(plan.layout)).fold(groups)
            self.tallies.setdefault(label, Tally()).add(part.tallies[label])
        self.tally.add(part.tally)
        self.bytes += part.bytes
        rejections = [one._replace(source=source.name, line=before + one.line) for one in part.rejections]
        plan.limits.keep.extend(self.rejections, rejections)
        self.lines[source.name] += part.lines

    def take(self, summary: Summary, plan: Plan) -> None:
        """Add what was summarized elsewhere: source by source, as if they were read here."""
        for part in summary.parts:
            self.settle(plan)
            self._of_source = part
        self.tally.add(summary.tally)
        self.bytes += summary.bytes
        plan.limits.keep.extend(self.rejections, summary.rejections)
        self.problems += [InputProblem(name, problem) for name, problem in summary.incomplete]

    def settle(self, plan: Plan) -> None:
        """Fold what the source gave into the total, or put it beside what others gave."""
        part, self._source, self._of_source = self._of_source, None, None
        if part is None:
            return
        if plan.apart:
            self.parts.append(part)
        else:
            before = len(self.groups)
            if self.groups.responses:
                rows = self.groups.fold(part.groups)
            else:
                self.groups, rows = part.groups, np.arange(len(part.groups))
            if self.observations is not None and part.seen is not None:
                self.begun_at.append(before)
                self.observations.fold(part.seen, rows, len(self.sources) * PLACES)
        self.sources.append(part.name)
        for label, groups in part.by.items():
            self.by.setdefault(label, Groups(plan.layout)).fold(groups)

    def add(self, later: "Scan", plan: Plan) -> None:
        """Add the finished scan of one later source that holds records."""
        self.settle(plan)
        if plan.apart:
            self.parts += later.parts
            self.sources += later.sources
        else:
            for name in later.sources:  # none, if it is empty
                self._of_source = OfSource(name, later.groups, later.observations, later.by)
            self.settle(plan)
        self.tally.add(later.tally)
        for label, tally in later.tallies.items():
            self.tallies.setdefault(label, Tally()).add(tally)
        self.bytes += later.bytes
        plan.limits.keep.extend(self.rejections, later.rejections)
        self.problems += later.problems
        self.notes += later.notes
        self.lines.update(later.lines)

    def finish(self, found: Sequence[Source], plan: Plan) -> None:
        """Close the books on these sources, once all tasks are done."""
        self.settle(plan)
        if plan.by == "file":  # a source without records is a row, too
            self.by = {source.name: self.by.get(source.name, Groups(plan.layout)) for source in found}
            self.tallies = {source.name: self.tallies.get(source.name, Tally()) for source in found}
        self.problems += _changed([source for source in found if source.at_once and source not in self.broken])
        for source in found:
            if grown := sources.grown(source):
                self.notes.append(f"{source.name}: grew by {grown:,} bytes while being read; those were not read")


def scan(
    found: Sequence[Source],
    plan: Plan,
    jobs: int | None = None,
    progress: Callable[[Scan], None] | None = None,
    start_method: str | None = None,
) -> Scan:
    """Read every source to its end.

    Args:
        found: what to read, in order.
        plan: what to read from each record, and what to keep.
        jobs: workers, this process among them; None: as many as it has cores, if the input is worth it. The others
            are threads where the compiled reader does the work, else processes.
        progress: called after every block with the scan so far.
        start_method: processes in any case, started so (fork, spawn, forkserver).

    Returns:
        The scan. A source that could not be read to its end is among the `problems`, and what came before is in the
        groups.

    Raises:
        WorkerDied: a worker process was killed.
    """
    result = Scan.begun(plan)
    wanted = jobs or available_cores()
    worth = jobs is not None or sum(source.size or 0 for source in found if source.at_once) >= WORTH_WORKERS
    threads = start_method is None and decoding.is_compiled(plan.fields)
    stream = tasks(found, plan, result.problems, result.broken, shared=threads or wanted == 1)
    for task, outcome in workers.run(run, plan, stream, wanted, worth, threads, start_method):
        result.receive(task.source, outcome, plan)
        if progress is not None:
            progress(result)
    _of_thread.__dict__.clear()  # the reader's memory: the report needs some, too
    result.finish(found, plan)
    return result


def tasks(
    found: Sequence[Source], plan: Plan, problems: list[InputProblem], broken: set[Source], shared: bool = False
) -> Iterator[Task]:
    """The blocks of all sources, in order; a source that breaks ends there, and the next begins.

    `shared`: the workers have this process's memory, and so what it has fetched; else only this process fetches.
    """
    for at, source in enumerate(found):
        if source.remote is not None:
            from budget_cli.reading import remote

            remote.expect([each.remote for each in found[at : at + remote.AHEAD] if each.remote is not None])
        if summaries.is_summary(source):
            yield Task(source, None)
            continue
        if source.parquet:
            from budget_cli.reading import parquet

            try:
                for group in parquet.row_groups(source):
                    if source in broken:
                        break
                    yield Task(source, group)
            except InputProblem as problem:
                problems.append(problem)
                broken.add(source)
            continue
        if plan.fields.document:
            try:
                yield Task(source, _document(source, plan.limits.max_line_bytes))
            except InputProblem as problem:
                problems.append(problem)
            continue
        if source.in_ranges and (shared or source.remote is None):
            count = -(-(source.size or 0) // blocks.BLOCK_BYTES)
            for number in range(count):
                if source in broken:
                    break
                yield Task(source, number)
            continue
        try:
            for block in blocks.cut(source.name, sources.pieces(source), plan.limits.max_line_bytes):
                if source in broken:
                    break
                yield Task(source, block)
        except InputProblem as problem:
            problems.append(problem)


def _document(source: Source, max_bytes: int) -> Block:
    """A source that is one JSON value."""
    whole = b""
    for piece in sources.pieces(source):
        whole += piece
        if len(whole) > max_bytes:
            raise InputProblem(source.name, f"one JSON value of more than {max_bytes:,} bytes (--max-line-bytes)")
    return Block(source.name, whole, 0, len(whole), first=True)


def run(task: Task, plan: Plan) -> Part | Summary | InputProblem:
    """Read the block and take its moments; what is wrong with its source is an answer, too."""
    try:
        if task.block is None:
            return summaries.read(task.source, plan.layout, plan.watch)
        if task.source.parquet:
            return _of_rows(task, plan)
        block = block_of(task, plan)
        decoded = decode(task.source, block, plan)
    except InputProblem as problem:
        return problem
    part = _part(decoded, task.source, len(block), plan)
    if part.observations is not None and plan.repeated_keys:
        from budget_cli.reading import repeats

        part.observations.sightings.note("repeated_keys", list(repeats.of_block(bytes(block.view))))
    return part


def _of_rows(task: Task, plan: Plan) -> Part:
    """A row group: its batches one after the other, folded in their order."""
    from budget_cli.reading import parquet

    assert isinstance(task.block, parquet.RowGroup)
    whole = Part(Groups(plan.layout, plan.sample), Tally(), task.block.rows, [], task.block.bytes, {}, {})
    whole.observations = seen = plan.nothing_seen()
    for decoded in parquet.decode(task.source, task.block, plan.fields, plan.limits.keep):
        part = _part(_under_prompts(decoded, task.source, plan), task.source, 0, plan)
        rows = whole.groups.fold(part.groups)
        if seen is not None and part.observations is not None:
            seen.fold(part.observations, rows, 0)  # its rows are numbered from the row group's first already
        for label, groups in part.by.items():
            whole.by.setdefault(label, Groups(plan.layout)).fold(groups)
            whole.tallies.setdefault(label, Tally()).add(part.tallies[label])
        whole.tally.add(part.tally)
        plan.limits.keep.extend(whole.rejections, part.rejections)
    return whole


def _part(decoded: Decoded, source: Source, size: int, plan: Plan) -> Part:
    groups = groups_of(decoded.columns, plan)
    by, tallies = _by_label(decoded, groups, source, plan)
    seen = None if plan.watch is None else Observations.of_responses(plan.watch, _responses(decoded.columns))
    return Part(groups, decoded.tally, decoded.lines, decoded.rejections, size, by, tallies, seen)


def _by_label(
    decoded: Decoded, groups: Groups, source: Source, plan: Plan
) -> tuple[dict[Label, Groups], dict[Label, Tally]]:
    """The block's responses by label, and the records that hold them."""
    if not plan.by:
        return {}, {}
    if plan.by == "file":
        return {source.name: groups}, {source.name: decoded.tally}
    columns = decoded.columns
    labels = columns.extras[plan.by]
    assert isinstance(labels, Labels)
    by: dict[Label, Groups] = {}
    tallies: dict[Label, Tally] = {}
    for code in np.unique(labels.codes).tolist():
        of_label = in_order_of_keys(columns.at(labels.codes == code))
        label = labels.values[code] if code >= 0 else None
        lines = np.unique(of_label.line).size
        by[label], tallies[label] = groups_of(of_label, plan), Tally(read=lines, used=lines)
    return by, tallies


def block_of(task: Task, plan: Plan) -> Block:
    """The bytes that the task is about.

    Raises:
        InputProblem: they cannot be had any more.
    """
    block = _read(task.source, task.block, plan) if isinstance(task.block, int) else task.block
    assert isinstance(block, Block)
    return block


def decode(source: Source, block: Block, plan: Plan) -> Decoded:
    """The block's responses, under the prompts that the plan groups them by.

    Raises:
        InputProblem: the source is not JSON lines at all.
    """
    if plan.fields.document:  # read as one line: a newline can only stand between tokens
        flat = bytes(block.view).replace(b"\n", b" ").replace(b"\r", b" ")
        block = Block(block.source, flat, 0, len(flat), block.first)
    return _under_prompts(decoding.decode(block, plan.fields, plan.limits), source, plan)


def _under_prompts(decoded: Decoded, source: Source, plan: Plan) -> Decoded:
    """The same, with the source in the prompts' ids where it is a part of them."""
    columns = decoded.columns
    if plan.fields.group == "file":
        columns.keys = [source.name for _ in columns.keys[:1]]
        columns.codes = np.zeros_like(columns.codes)
    elif plan.fields.per_file is not None:
        name = source.name.removeprefix(plan.fields.per_file)
        columns.keys = [f"{name}:{part_of_id(key)}" for key in columns.keys]
    return decoded


def groups_of(columns: Columns, plan: Plan) -> Groups:
    """The moments of these responses."""
    keys, codes, log_ratio = columns.keys, columns.codes, columns.log_ratio
    return Groups.of_responses(plan.layout, keys, codes, columns.reward, columns.length, log_ratio, plan.sample)


def _responses(columns: Columns) -> Responses:
    """A block's columns as what is observed of them, which does not know how they were read."""
    extras: Any = columns.extras
    finish_reason, step = extras.get("finish_reason"), extras.get("step")
    prompt_text, response_text = extras.get("prompt_text"), extras.get("response_text")
    return Responses(
        columns.keys,
        columns.codes,
        columns.line,
        columns.reward,
        columns.length,
        columns.log_prob,
        columns.old_log_prob,
        columns.tokens,
        extras.get("advantage"),
        finish_reason and (finish_reason.values, finish_reason.codes),
        step and (step.values, step.codes),
        prompt_text and prompt_text.digest,
        response_text and response_text.digest,
        response_text and response_text.characters,
    )


def _read(source: Source, number: int, plan: Plan) -> Block:
    size, limit = source.size or 0, plan.limits.max_line_bytes
    if not hasattr(_of_thread, "reader"):
        _of_thread.reader = RangeReader()  # keeps its memory
    block: Block = _of_thread.reader.read(_bytes_of(source), source.name, number, size, limit)
    return block


_of_thread = threading.local()


@lru_cache(maxsize=8)
def _bytes_of(source: Source) -> Fill:
    """Gives the source's bytes; a file is opened once a process and checked to be the one that was found."""
    if source.remote is not None:
        from budget_cli.reading import remote

        return partial(remote.fill, source.remote)
    assert source.path is not None
    try:
        fd = os.open(source.path, os.O_RDONLY)
    except OSError as error:
        raise InputProblem(source.name, f"cannot be read: {error.strerror}") from None
    file = OpenFile(fd, source.name)
    sources.require_unchanged(source)
    return file


def _changed(found: Sequence[Source]) -> list[InputProblem]:
    """What became of the sources that were read in ranges while they were."""

    def look(source: Source) -> InputProblem | None:
        try:
            sources.require_unchanged(source)
        except InputProblem as problem:
            return problem
        return None

    if any(source.remote for source in found):
        from budget_cli.reading import remote

        problems = remote.in_parallel(look, list(found))
    else:
        problems = [look(source) for source in found]
    return [problem for problem in problems if problem is not None]


def available_cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
