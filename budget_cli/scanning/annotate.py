"""Sources and the groups of a finished scan → the same bytes, with the terms of the loss inserted into each record.

The second pass over the input: a response's advantage needs the mean over its prompt, which is known only at the end of
the first. Joins records, groups and the objective; computes nothing but the terms of the loss.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from budget_cli import objective
from budget_cli.errors import InputProblem
from budget_cli.groups.moments import Floats
from budget_cli.records import reference
from budget_cli.records.columns import ResponseColumns, Tally
from budget_cli.records.insertion import Insertion
from budget_cli.records.jsonl import UTF8_BOM
from budget_cli.records.record import is_prompt_record, reason_to_leave_out
from budget_cli.scanning import formats
from budget_cli.scanning.parts import under_prompts
from budget_cli.scanning.plan import Plan, Task
from budget_cli.scanning.responses import TermsPlan
from budget_cli.scanning.second_pass import outcomes
from budget_cli.scanning.state import ReadSoFar, Scan
from budget_cli.schema.fields import Fields
from budget_cli.schema.lookup import located_records, split_records, value_at
from budget_cli.schema.paths import Expression
from budget_cli.sources.blocks import Block
from budget_cli.sources.local import Kind, Source

KEY = "budget_cli"


class Forms(NamedTuple):
    """What the rows of Parquet become; lines stay lines."""

    to_parquet: bool = False
    rejects_to_parquet: bool = False
    keeps_rejects: bool = False


LINES = Forms()


@dataclass(frozen=True)
class AnnotationPlan(TermsPlan):
    """What the terms of a response are computed from, and how they are written; the same in every worker."""

    forms: Forms = LINES


class AnnotatedBlock(NamedTuple):
    """The annotated lines of one block."""

    annotated: bytes
    rejects: bytes
    unheld: int  # rejected lines that are missing from `rejects`, as they are too long to hold
    tally: Tally
    bytes: int
    rows: Any = None  # in place of the annotated lines: a table of pyarrow
    rejected_rows: Any = None  # in place of the rejects


def annotate(
    found: Sequence[Source],
    terms: AnnotationPlan,
    first_pass: Scan,
    jobs: int | None = None,
    progress: Callable[[ReadSoFar], None] | None = None,
) -> Iterator[AnnotatedBlock]:
    """Yield the lines of every source in order, each record with its terms, and rejected lines separately.

    Args:
        found: the sources, which can all be read twice.
        terms: the groups of the first pass, and the objective.
        first_pass: its counts must equal those of the second pass.
        jobs: number of processes, as for the scan.
        progress: called after every block.

    Raises:
        InputProblem: a source has changed since the first pass.
        WorkerDied: a worker process was killed.
    """
    encoders = _Encoders(found[0], terms.forms) if any(terms.forms[:2]) else None
    for _, outcome in outcomes(found, run, terms, terms.plan, first_pass, jobs, progress):
        yield outcome if encoders is None else encoders.encoded(outcome)
    if encoders is not None:
        yield encoders.ends()


class _Encoders:
    """The files of Parquet that are being written."""

    def __init__(self, source: Source, forms: Forms) -> None:
        from budget_cli.records import parquet, parquet_writing  # and pyarrow, which only Parquet needs

        schema = parquet.schema_of(source)
        with_terms = parquet_writing.schema_with(schema, KEY, objective.Terms._fields)
        self._annotated = parquet_writing.Encoder(with_terms) if forms.to_parquet else None
        self._rejects = parquet_writing.Encoder(schema) if forms.rejects_to_parquet else None

    def encoded(self, block: AnnotatedBlock) -> AnnotatedBlock:
        """Return the block with bytes in place of its tables."""
        annotated = self._annotated.add(block.rows) if self._annotated else block.annotated
        rejects = self._rejects.add(block.rejected_rows) if self._rejects else block.rejects
        return block._replace(annotated=annotated, rejects=rejects, rows=None, rejected_rows=None)

    def ends(self) -> AnnotatedBlock:
        """Return what the files end with."""
        ends = [each.finish() if each else b"" for each in (self._annotated, self._rejects)]
        return AnnotatedBlock(ends[0], ends[1], 0, Tally(), 0)


def run(task: Task, terms: AnnotationPlan) -> AnnotatedBlock | InputProblem:
    """Read the block again and insert the terms of its responses."""
    try:
        return _of_rows(task, terms) if task.source.kind is Kind.PARQUET else _of_lines(task, terms)
    except InputProblem as problem:
        return problem


def _of_lines(task: Task, terms: AnnotationPlan) -> AnnotatedBlock:
    plan = terms.plan
    block = formats.block_of(task, plan.limits.max_line_bytes)
    decoded = formats.decode(task.source, block, plan)
    columns, computed = terms.of_responses(decoded, task.source, task.before)
    rejected = {rejection.line: rejection.code for rejection in decoded.rejections}
    lines = lines_of(block, plan.fields.document)
    if plan.fields.container is not None and plan.fields.document and not any(r.path == "" for r in decoded.rejections):
        whole, refused = _written_document(lines[0], columns, computed, rejected, plan)
        return AnnotatedBlock(_joined([whole]), _joined(refused), 0, decoded.tally, len(block))
    written = _written(lines, columns, computed, rejected, plan)
    held = [lines[at - 1] for at, code in rejected.items() if code != "line-too-long"]
    return AnnotatedBlock(_joined(written), _joined(held), len(rejected) - len(held), decoded.tally, len(block))


def _of_rows(task: Task, terms: AnnotationPlan) -> AnnotatedBlock:
    """Annotate a row group of Parquet."""
    from budget_cli.records import parquet, parquet_writing  # and pyarrow, which only Parquet needs

    assert isinstance(task.unit, parquet.RowGroup)
    plan, source, before = terms.plan, task.source, task.before
    annotated: list[Any] = []  # lines, or batches
    rejects: list[Any] = []
    tally = Tally()
    for batch, decoded in parquet.decode_with_rows(source, task.unit, plan.fields, plan.limits.keep):
        columns, computed = terms.of_responses(under_prompts(decoded, source, plan), source, before)
        tally.merge(decoded.tally)
        rejected = {rejection.line: rejection.code for rejection in decoded.rejections}
        stays = np.ones(batch.num_rows, dtype=np.bool_)
        stays[[line - 1 for line in rejected]] = False
        if terms.forms.to_parquet:
            one_each = _one_per_row(columns, computed, batch.num_rows, source, before)
            annotated.append(parquet_writing.with_terms(batch, KEY, *one_each).filter(stays))
        else:
            lines = parquet_writing.json_lines(source, batch.filter(stays), "-o")
            in_order = iter(lines)
            spread = [next(in_order) if stay else b"" for stay in stays.tolist()]
            annotated += _written(spread, columns, computed, rejected, plan)
        if rejected and terms.forms.keeps_rejects:
            left = batch.filter(~stays)
            as_rows = terms.forms.rejects_to_parquet
            rejects += [left] if as_rows else parquet_writing.json_lines(source, left, "--rejects")
        before += batch.num_rows
    schema = parquet.schema_of(source)
    rows = rejected_rows = None
    if terms.forms.to_parquet:
        with_terms = parquet_writing.schema_with(schema, KEY, objective.Terms._fields)
        rows, annotated = parquet_writing.table(annotated, with_terms), []
    if terms.forms.rejects_to_parquet:
        rejected_rows, rejects = parquet_writing.table(rejects, schema), []
    return AnnotatedBlock(_joined(annotated), _joined(rejects), 0, tally, task.unit.bytes, rows, rejected_rows)


def _one_per_row(
    columns: ResponseColumns, terms: objective.Terms, rows: int, source: Source, before: int
) -> tuple[dict[str, Floats], NDArray[np.bool_]]:
    """Return the terms of each row of a batch, and which rows have any.

    Raises:
        InputProblem: a row holds several responses, whose terms are lists.
    """
    responses = np.bincount(columns.line - 1, minlength=rows)
    if responses.max(initial=0) > 1:
        row = before + int(np.argmax(responses > 1)) + 1
        why = f"row {row} holds {int(responses.max())} responses, and a column of Parquet has one number for each row"
        raise InputProblem(source.name, f"{why}: give -o a name that does not end in .parquet, for JSON lines")
    spread = {name: np.full(rows, np.nan) for name in terms._fields}
    for name, values in zip(terms._fields, terms, strict=True):
        spread[name][columns.line - 1] = values
    return spread, responses > 0


def lines_of(block: Block, document: bool) -> list[bytes]:
    """Return the lines of a block without their newlines; of a document, the one that it is."""
    data = bytes(block.view)
    if block.first:
        data = data.removeprefix(UTF8_BOM)
    if document:
        return [data.removesuffix(b"\n")]
    lines = data.split(b"\n")
    if not lines[-1]:
        lines.pop()
    return lines


def _joined(lines: list[bytes]) -> bytes:
    return b"".join((b"\n".join(lines), b"\n")) if lines else b""


def _written(
    lines: list[bytes], columns: ResponseColumns, terms: objective.Terms, rejected: dict[int, str], plan: Plan
) -> list[bytes]:
    """Return the lines that are not rejected, with the terms of their responses inserted."""
    insertion = _insertion(plan.fields)
    if lines and _has_one_response_per_line(lines, columns, plan.fields):  # as in most dumps
        return insertion.into_each(lines, _as_json(terms))
    values = [_listed(term) for term in terms]
    names = objective.Terms._fields
    starts = np.searchsorted(columns.line, np.arange(1, len(lines) + 2)).tolist()
    written = []
    for number, line in enumerate(lines, start=1):
        at, end = starts[number - 1], starts[number]
        if number in rejected:
            continue
        if at == end:  # a blank line, or one without a sample
            written.append(line)
            continue
        if plan.fields.records == "columns" and plan.fields.leave_out:
            kept = _kept(line, plan)
            spread = [_spread(value[at:end], kept) for value in values]
            written.append(insertion.into(line, [orjson.dumps(dict(zip(names, spread, strict=True)))]))
            continue
        pieces: list[bytes | None] = []
        for size in _sizes(line, plan, end - at):
            if size == 0:  # left out: the sample stays as it is
                pieces.append(None)
                continue
            part = [value[at] if size is None else value[at : at + size] for value in values]
            pieces.append(orjson.dumps(dict(zip(names, part, strict=True))))
            at += 1 if size is None else size
        written.append(insertion.into(line, pieces))
    return written


def _written_document(
    document: bytes, columns: ResponseColumns, terms: objective.Terms, rejected: dict[int, str], plan: Plan
) -> tuple[bytes, list[bytes]]:
    """Return a document with the terms inserted into its records, and the rejected ones, which stay in it, as lines."""
    from budget_cli.records import documents  # which few dumps are

    fields, ways = plan.fields, plan.fields.container
    assert ways is not None
    records = located_records(documents.value_of(document, "")[0], fields, ways)
    values, names = [_listed(term) for term in terms], objective.Terms._fields
    starts = np.searchsorted(columns.line, np.arange(1, len(records) + 2)).tolist()
    pieces: list[bytes | None] = []
    refused = []
    for number, (one, record) in enumerate(records, start=1):
        at, end = starts[number - 1], starts[number]
        if number in rejected:
            refused.append(orjson.dumps(one.value))
        if not isinstance(record, dict | list):
            continue  # no object, so there is no place in it
        if at == end or not isinstance(record, dict):
            pieces.append(None)
            continue
        arrays = is_prompt_record(record, fields)
        part = [value[at:end] if arrays else value[at] for value in values]
        pieces.append(orjson.dumps(dict(zip(names, part, strict=True))))
    return _insertion(fields).into(document, pieces), refused


def _kept(line: bytes, plan: Plan) -> list[bool]:
    """Return, for each sample of a line, whether it is not left out."""
    value = reference.value_of(line, len(line), plan.fields.ignore_unneeded)
    return [reason_to_leave_out(record, plan.fields) is None for record in split_records(value, plan.fields)]


def _spread(values: Sequence[float | None], kept: Sequence[bool]) -> list[float | None]:
    """Return the values in the places of the samples that are kept, and None in the others."""
    each = iter(values)
    return [next(each) if is_kept else None for is_kept in kept]


def _as_json(terms: objective.Terms) -> Iterator[bytes]:
    """Yield the terms of each response as an object of JSON, from columns that are written whole."""
    columns = [orjson.dumps(term + 0.0, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].split(b",") for term in terms]
    members = ",".join(f'"{name}":%b' for name in objective.Terms._fields)
    return map(f"{{{members}}}".encode().__mod__, zip(*columns, strict=True))


@lru_cache(maxsize=1)
def _insertion(fields: Fields) -> Insertion:
    return Insertion(KEY, fields)


def _listed(values: Floats) -> list[float | None]:
    """Convert to Python's numbers, with None for a missing value or one beyond the range of a double."""
    finite = np.isfinite(values)
    listed: list[float | None] = (values + 0.0).tolist()  # -0.0 becomes 0.0
    for i in np.flatnonzero(~finite).tolist():
        listed[i] = None
    return listed


def _has_one_response_per_line(lines: list[bytes], columns: ResponseColumns, fields: Fields) -> bool:
    """True if every line is the record of one response: no arrays, no lists of samples, no blank or rejected line."""
    rewards = fields.paths["rewards"]
    if fields.records or isinstance(rewards, Expression):
        return False
    name = orjson.dumps(rewards[-1].key)
    return np.array_equal(columns.line, np.arange(1, len(lines) + 1)) and name not in b"\n".join(lines)


def _sizes(line: bytes, plan: Plan, responses: int) -> list[int | None]:
    """Return, for each record of a line, the number of responses in its arrays; None if it is a single response.

    0 stands for a sample that is left out.
    """
    fields = plan.fields
    if fields.records == "columns":
        return [responses]
    sizes: list[int | None] = []
    value = reference.value_of(line, len(line), fields.ignore_unneeded)  # not longer than what was read
    for record in split_records(value, fields):
        if reason_to_leave_out(record, fields) is not None:
            sizes.append(0)
            continue
        arrays = is_prompt_record(record, fields)
        sizes.append(len(value_at(record, fields.paths["rewards"])) if arrays else None)
    return sizes
