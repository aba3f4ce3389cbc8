"""Sources and the groups of a finished scan → every response with its terms of the loss, unit by unit.

The second pass of those who want the responses themselves, as columns: `annotate` writes them into the records, Python
takes them as a table.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from budget_cli import objective
from budget_cli.errors import InputProblem
from budget_cli.ids import Key
from budget_cli.records.columns import Decoded, ResponseColumns, Tally
from budget_cli.scanning import formats
from budget_cli.scanning.parts import groups_from, under_prompts
from budget_cli.scanning.plan import Plan, Task
from budget_cli.scanning.rollouts import make_prompts_of_lines
from budget_cli.scanning.second_pass import CHANGED, outcomes
from budget_cli.scanning.state import ReadSoFar, Scan
from budget_cli.scanning.terms import Trained, responses_of_rows, rows_of_prompts, terms_of
from budget_cli.sources.local import Kind, Source


@dataclass(frozen=True)
class TermsPlan:
    """What the terms of a response are computed from; the same in every worker."""

    plan: Plan
    trained: Trained
    responses: Mapping[str, ResponseColumns]  # by source, where several rows make up one

    def of_responses(self, decoded: Decoded, source: Source, before: int) -> tuple[ResponseColumns, objective.Terms]:
        """Return the responses of some lines, which have `before` lines of their source before them, and their terms.

        Raises:
            InputProblem: the first pass found other prompts.
        """
        plan, columns = self.plan, decoded.columns
        if plan.fields.group_size:
            own, columns.line = columns.line, columns.line + before
            make_prompts_of_lines(columns, plan.fields.group_size, source.name)
            columns.line = own
        # a line is a whole prompt, so its moments can be computed here; only the scan knows its id
        trained = self.trained
        if plan.fields.group == "line":
            trained = trained.within(groups_from(columns, plan.keep.layout, source=source.name))
        places = trained.groups.rows(columns.keys)
        if np.any(places < 0):
            raise InputProblem(source.name, CHANGED)
        rows = places[columns.codes]
        if self.responses:
            columns = responses_of_rows(columns, self.responses.get(source.name))
        return columns, terms_of(columns, rows, trained)


class Responses(NamedTuple):
    """The responses of a source, or of a part of it, with their terms; the lines are those of the source."""

    source: str
    columns: ResponseColumns
    keys: Sequence[Key]  # the prompts, as results name them
    terms: objective.Terms


class _Unit(NamedTuple):
    parts: list[Responses]  # their lines are of the unit
    lines: int
    tally: Tally
    bytes: int


def responses(
    found: Sequence[Source],
    plan: TermsPlan,
    first_pass: Scan,
    jobs: int | None = None,
    progress: Callable[[ReadSoFar], None] | None = None,
) -> Iterator[Responses]:
    """Yield all responses in the order of the input; those of several rows are one each, in the order of their first.

    Args:
        found: the sources, which can all be read twice.
        plan: what their terms are computed from.
        first_pass: its counts must equal those of the second pass.
        jobs: number of processes, as for the scan.
        progress: called after every unit.

    Raises:
        InputProblem: a source has changed since the first pass.
        WorkerDied: a worker process was killed.
    """
    if plan.plan.fields.has_rollouts:  # whole in memory already
        for source, columns in plan.responses.items():
            terms = terms_of(columns, rows_of_prompts(columns, plan.trained), plan.trained)
            yield Responses(source, columns, columns.keys, terms)
        return
    before: dict[str, int] = {}
    for task, unit in outcomes(found, run, plan, plan.plan, first_pass, jobs, progress):
        name = task.source.name
        start = before.get(name, 0)
        before[name] = start + unit.lines
        for part in unit.parts:
            part.columns.line = part.columns.line + start
            keys = part.keys
            if plan.plan.fields.group == "line":
                keys = [f"{name}:{start + int(key)}" for key in keys]
            yield part._replace(keys=keys)


def run(task: Task, plan: TermsPlan) -> _Unit | InputProblem:
    """Read the unit again, and compute the terms of its responses."""
    unit = _Unit([], 0, Tally(), 0)
    try:
        for decoded, size in _decoded(task, plan.plan):
            columns, terms = plan.of_responses(decoded, task.source, task.before)
            unit.parts.append(Responses(task.source.name, columns, columns.keys, terms))
            unit.tally.merge(decoded.tally)
            unit = unit._replace(lines=unit.lines + decoded.lines, bytes=unit.bytes + size)
    except InputProblem as problem:
        return problem
    return unit


def _decoded(task: Task, plan: Plan) -> Iterator[tuple[Decoded, int]]:
    """Yield what is decoded of a unit, and how many bytes that was."""
    source, unit = task.source, task.unit
    if source.kind is Kind.PARQUET:
        from budget_cli.records import parquet  # and pyarrow

        assert isinstance(unit, parquet.RowGroup)
        for decoded in parquet.decode(source, unit, plan.fields, plan.limits.keep):
            yield under_prompts(decoded, source, plan), 0
        return
    if source.kind in (Kind.CSV, Kind.TSV):
        from budget_cli.records import delimited

        assert isinstance(unit, delimited.Rows)
        yield under_prompts(delimited.decode(source, unit, plan.fields, plan.limits), source, plan), unit.bytes
        return
    block = formats.block_of(task, plan.limits.max_line_bytes)
    yield formats.decode(source, block, plan), len(block)
