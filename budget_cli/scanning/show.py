"""Sources and the groups of a finished scan → the responses that are asked for, with their terms and their records.

The second pass over the input, as for `annotate`: which responses are the largest is known only with the means of their
prompts. Each worker keeps no more than what may be shown.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from budget_cli import objective
from budget_cli.errors import InputProblem
from budget_cli.groups.moments import Floats
from budget_cli.ids import Key
from budget_cli.records import reference
from budget_cli.records.columns import Decoded, ResponseColumns, Tally
from budget_cli.records.record import is_prompt_record, reason_to_leave_out
from budget_cli.scanning import formats
from budget_cli.scanning.annotate import lines_of
from budget_cli.scanning.parts import groups_from, under_prompts
from budget_cli.scanning.plan import Plan, Task
from budget_cli.scanning.rollouts import make_prompts_of_lines
from budget_cli.scanning.second_pass import CHANGED, outcomes
from budget_cli.scanning.state import ReadSoFar, Scan
from budget_cli.scanning.terms import Trained, responses_of_rows, terms_of
from budget_cli.schema.fields import Fields
from budget_cli.schema.json_values import Invalid
from budget_cli.schema.lookup import split_records, value_at
from budget_cli.sources.local import Kind, Source


class Wanted(NamedTuple):
    """Which responses: all of some prompts, or those that rank first."""

    keys: frozenset[Key] = frozenset()
    term: str = ""  # of `objective.Terms`, or `length`; the largest rank first; "": all of the prompts
    by_size: bool = False  # True to rank by the distance from 0
    most: int = 0


class ShowPlan(NamedTuple):
    """What is looked for, and what its terms are computed from; the same in every worker."""

    plan: Plan
    trained: Trained
    responses: Mapping[str, ResponseColumns]  # by source, where several rows make up one
    wanted: Wanted


class Found(NamedTuple):
    """A response, its terms, and the record that holds it."""

    rank: float
    source: str
    line: int  # 1-based
    sample: int  # from 0, among the responses of its line
    key: Key
    reward: float
    length: float
    terms: objective.Terms
    value: Any  # of its line, or the record itself; None if it cannot be read again
    path: str | None = None  # to the record in its document; None: it is on a line


class _FoundInBlock(NamedTuple):
    found: list[Found]  # their lines are of the block
    tally: Tally
    bytes: int


def show(
    found: Sequence[Source],
    plan: ShowPlan,
    first_pass: Scan,
    jobs: int | None = None,
    progress: Callable[[ReadSoFar], None] | None = None,
) -> list[Found]:
    """Find the responses, in the order of their rank, or of the input if they are those of prompts.

    Args:
        found: the sources, which can all be read twice.
        plan: what to look for.
        first_pass: its counts must equal those of the second pass.
        jobs: number of processes, as for the scan.
        progress: called after every block.

    Raises:
        InputProblem: a source has changed since the first pass.
        WorkerDied: a worker process was killed.
    """
    kept = list[Found]()
    rows = None if plan.wanted.term else first_pass.groups.rows(list(plan.wanted.keys))
    for task, outcome in outcomes(found, run, plan, plan.plan, first_pass, jobs, progress, rows):
        kept += [one._replace(line=task.before + one.line) for one in outcome.found]
        if plan.wanted.term:
            kept = sorted(kept, key=lambda one: -one.rank)[: plan.wanted.most]
    return kept


def run(task: Task, plan: ShowPlan) -> _FoundInBlock | InputProblem:
    """Read the block again, and find the responses in it."""
    try:
        if task.source.kind is Kind.PARQUET:
            return _in_row_group(task, plan)
        if task.source.kind in (Kind.CSV, Kind.TSV):
            return _in_rows(task, plan)
        block = formats.block_of(task, plan.plan.limits.max_line_bytes)
        decoded = formats.decode(task.source, block, plan.plan)
        chosen = _chosen(decoded, task, plan)
    except InputProblem as problem:
        return problem
    fields = plan.plan.fields
    lines = lines_of(block, fields.document) if chosen else []
    if fields.document and chosen:
        from budget_cli.records import documents  # which few dumps are

        records = documents.records_in(lines[0], task.source.name, fields)
        found = [one._replace(path=records[one.line - 1][0], value=records[one.line - 1][1]) for one in chosen]
    else:
        found = [one._replace(value=_value(lines[one.line - 1], plan.plan)) for one in chosen]
    return _FoundInBlock(found, decoded.tally, len(block))


def _in_rows(task: Task, plan: ShowPlan) -> _FoundInBlock:
    from budget_cli.records import delimited  # which few dumps are

    part, fields = task.unit, plan.plan.fields
    assert isinstance(part, delimited.Rows)
    decoded = delimited.decode(task.source, part, fields, plan.plan.limits)
    chosen = _chosen(under_prompts(decoded, task.source, plan.plan), task, plan)
    records = delimited.records_at(part, fields, [one.line for one in chosen])
    found = [one._replace(value=records.get(one.line)) for one in chosen]
    return _FoundInBlock(found, decoded.tally, part.bytes)


def _in_row_group(task: Task, plan: ShowPlan) -> _FoundInBlock:
    from budget_cli.records import parquet

    group = task.unit
    assert isinstance(group, parquet.RowGroup)
    found: list[Found] = []
    tally = Tally()
    for decoded in parquet.decode(task.source, group, plan.plan.fields, plan.plan.limits.keep):
        found += _chosen(under_prompts(decoded, task.source, plan.plan), task, plan)
        tally.merge(decoded.tally)
        if plan.wanted.term:
            found = sorted(found, key=lambda one: -one.rank)[: plan.wanted.most]
    records = parquet.records_at(task.source, group, [one.line for one in found])
    found = [one._replace(value=records.get(one.line)) for one in found]
    return _FoundInBlock(found, tally, group.bytes)


def _value(line: bytes, plan: Plan) -> Any:
    try:
        return reference.value_of(line, plan.limits.max_line_bytes, accepts_nan=True)
    except Invalid:
        return None


def _chosen(decoded: Decoded, task: Task, plan: ShowPlan) -> list[Found]:
    """Choose among the responses of a block."""
    columns, fields, wanted = decoded.columns, plan.plan.fields, plan.wanted
    own = columns.line
    if fields.group_size:
        columns.line = columns.line + task.before
        make_prompts_of_lines(columns, fields.group_size, task.source.name)
    of_lines = fields.group == "line"
    trained = (
        plan.trained.within(groups_from(columns, plan.plan.keep.layout, source=task.source.name))
        if of_lines
        else plan.trained
    )
    places = trained.groups.rows(columns.keys)
    if np.any(places < 0):
        raise InputProblem(task.source.name, CHANGED)
    keys = [f"{task.source.name}:{task.before + int(key)}" for key in columns.keys] if of_lines else columns.keys
    if not wanted.term:
        is_wanted = np.array([key in wanted.keys for key in keys], dtype=np.bool_)
        chosen = np.flatnonzero(is_wanted[columns.codes]) if len(keys) else np.zeros(0, dtype=np.intp)
        if not chosen.size:
            return []
    if plan.responses:
        columns = responses_of_rows(columns, plan.responses.get(task.source.name))
    terms = terms_of(columns, places[columns.codes], trained)
    nothing = np.full(columns.reward.size, np.nan)
    length = nothing if columns.length is None else columns.length
    ranks = nothing
    if wanted.term:
        ranks = np.asarray(length if wanted.term == "length" else getattr(terms, wanted.term))
        ranks = np.where(np.isnan(ranks), -np.inf, np.abs(ranks) if wanted.by_size else ranks)
        chosen = np.argsort(-ranks, kind="stable")[: wanted.most]
    first = np.searchsorted(own, own, side="left")  # of the responses of the same line
    return [
        Found(
            float(ranks[i]),
            task.source.name,
            int(own[i]),
            i - int(first[i]),
            keys[int(columns.codes[i])],
            float(columns.reward[i]),
            float(length[i]),
            objective.Terms(*(_at(term, i) for term in terms)),
            None,
        )
        for i in chosen.tolist()
    ]


def _at(term: Floats, i: int) -> float:
    return float(term[i])


def sample_of(one: Found, fields: Fields) -> tuple[dict[str, Any], int | None] | None:
    """Return the record of a response, and its index in the record's arrays, if it has such."""
    sample = one.sample
    try:
        for record in split_records(one.value, fields) if one.path is None else [one.value]:
            if not isinstance(record, dict) or reason_to_leave_out(record, fields) is not None:
                continue
            if not is_prompt_record(record, fields):
                if sample == 0:
                    return record, None
                sample -= 1
                continue
            size = len(value_at(record, fields.paths["rewards"]))
            if sample < size:
                return record, sample
            sample -= size
    except (Invalid, TypeError):
        pass
    return None
