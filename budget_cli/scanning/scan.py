"""Sources → groups: every block decoded, its moments taken, and the parts folded in source order.

Joins reading and groups, which do not know each other. The order of folding is that of the bytes, whoever did the
work, so the result is the same to the last bit for any number of workers: the blocks of a source into the groups of
that source, and the sources into the total. So a source that was summarized elsewhere folds in as if it were read here.
"""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from budget_cli.errors import InputProblem
from budget_cli.evidence.observations import Observations
from budget_cli.evidence.responses import Responses
from budget_cli.groups.groups import Groups
from budget_cli.records import jsonl
from budget_cli.records.columns import Decoded, Label, LabelColumn, ResponseColumns, Tally, compact_keys
from budget_cli.records.record import part_of_id
from budget_cli.scanning import summary, workers
from budget_cli.scanning.state import Part, Plan, Scan, Summary, Task
from budget_cli.sources import blocks
from budget_cli.sources import local as sources
from budget_cli.sources.blocks import Block, Fill, OpenFile, RangeReader
from budget_cli.sources.local import Kind, Source

if TYPE_CHECKING:
    pass

WORTH_WORKERS = 16 << 20  # bytes; below this one process is done before others have started


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
    result = Scan.empty(plan)
    wanted = jobs or available_cores()
    worth = jobs is not None or sum(source.size or 0 for source in found if source.at_once) >= WORTH_WORKERS
    threads = start_method is None and jsonl.is_compiled(plan.fields)
    stream = tasks(found, plan, result.problems, result.broken, shared=threads or wanted == 1)
    for task, outcome in workers.run(run, plan, stream, wanted, worth, threads, start_method):
        result.fold(task.source, outcome, plan)
        if progress is not None:
            progress(result)
    _of_thread.__dict__.clear()  # the reader's memory: the report needs some, too
    finish(result, found, plan)
    return result


def finish(result: Scan, found: Sequence[Source], plan: Plan) -> None:
    """Close the scan of these sources, once all their tasks are done."""
    result.close_source(plan)
    if plan.by == "file":  # a source without records is a row, too
        result.by = {source.name: result.by.get(source.name, Groups(plan.layout)) for source in found}
        result.tallies = {source.name: result.tallies.get(source.name, Tally()) for source in found}
    result.problems += _changed([source for source in found if source.at_once and source not in result.broken])
    for source in found:
        if grown := sources.growth(source):
            result.notes.append(f"{source.name}: grew by {grown:,} bytes while being read; those were not read")


def tasks(
    found: Sequence[Source], plan: Plan, problems: list[InputProblem], broken: set[Source], shared: bool = False
) -> Iterator[Task]:
    """The blocks of all sources, in order; a source that breaks ends there, and the next begins.

    `shared`: the workers have this process's memory, and so what it has fetched; else only this process fetches.
    """
    for at, source in enumerate(found):
        if source.remote is not None:
            from budget_cli.sources import remote

            remote.prefetch([each.remote for each in found[at : at + remote.AHEAD] if each.remote is not None])
        if source.kind is Kind.SUMMARY:
            yield Task(source, None)
            continue
        if source.kind is Kind.PARQUET:
            from budget_cli.records import parquet

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
            return summary.read(task.source, plan.layout, plan.observe)
        if task.source.kind is Kind.PARQUET:
            return _of_rows(task, plan)
        block = block_of(task, plan)
        decoded = decode(task.source, block, plan)
    except InputProblem as problem:
        return problem
    part = _part(decoded, task.source, len(block), plan)
    if part.observations is not None and plan.look_for_duplicate_keys:
        from budget_cli.records import diagnosis

        part.observations.counters.note("repeated_keys", list(diagnosis.find_duplicate_keys(bytes(block.view))))
    return part


def _of_rows(task: Task, plan: Plan) -> Part:
    """A row group: its batches one after the other, folded in their order."""
    from budget_cli.records import parquet

    assert isinstance(task.block, parquet.RowGroup)
    whole = Part(Groups(plan.layout, plan.sample), Tally(), task.block.rows, [], task.block.bytes, {}, {})
    whole.observations = seen = plan.empty_observations()
    for decoded in parquet.decode(task.source, task.block, plan.fields, plan.limits.keep):
        part = _part(_under_prompts(decoded, task.source, plan), task.source, 0, plan)
        rows = whole.groups.merge(part.groups)
        if seen is not None and part.observations is not None:
            seen.merge(part.observations, rows, 0)  # its rows are numbered from the row group's first already
        for label, groups in part.by.items():
            whole.by.setdefault(label, Groups(plan.layout)).merge(groups)
            whole.tallies.setdefault(label, Tally()).merge(part.tallies[label])
        whole.tally.merge(part.tally)
        plan.limits.keep.merge(whole.rejections, part.rejections)
    return whole


def _part(decoded: Decoded, source: Source, size: int, plan: Plan) -> Part:
    groups = groups_of(decoded.columns, plan)
    by, tallies = _by_label(decoded, groups, source, plan)
    seen = None if plan.observe is None else Observations.from_responses(plan.observe, _responses(decoded.columns))
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
    assert isinstance(labels, LabelColumn)
    by: dict[Label, Groups] = {}
    tallies: dict[Label, Tally] = {}
    for code in np.unique(labels.codes).tolist():
        of_label = compact_keys(columns.select(labels.codes == code))
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
    return _under_prompts(jsonl.decode(block, plan.fields, plan.limits), source, plan)


def _under_prompts(decoded: Decoded, source: Source, plan: Plan) -> Decoded:
    """The same, with the source in the prompts' ids where it is a part of them."""
    columns = decoded.columns
    if plan.fields.group == "file":
        columns.keys = [source.name for _ in columns.keys[:1]]
        columns.codes = np.zeros_like(columns.codes)
    elif plan.fields.id_file_prefix is not None:
        name = source.name.removeprefix(plan.fields.id_file_prefix)
        columns.keys = [f"{name}:{part_of_id(key)}" for key in columns.keys]
    return decoded


def groups_of(columns: ResponseColumns, plan: Plan) -> Groups:
    """The moments of these responses."""
    keys, codes, log_ratio = columns.keys, columns.codes, columns.log_ratio
    return Groups.from_responses(plan.layout, keys, codes, columns.reward, columns.length, log_ratio, plan.sample)


def _responses(columns: ResponseColumns) -> Responses:
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
        from budget_cli.sources import remote

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
        from budget_cli.sources import remote

        problems = remote.in_parallel(look, list(found))
    else:
        problems = [look(source) for source in found]
    return [problem for problem in problems if problem is not None]


def available_cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
