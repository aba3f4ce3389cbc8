"""A finished scan → what `annotate` writes, piece by piece: the records with their terms, or a row per response."""

from collections.abc import Callable, Iterator
from typing import Any

from budget_cli.cli.objectives import Asked
from budget_cli.cli.own_options import AnnotateFormat
from budget_cli.cli.session import Session
from budget_cli.records.columns import ALL_REJECTIONS, Tally
from budget_cli.records.jsonl import Limits
from budget_cli.rendering import annotate as rendering
from budget_cli.scanning import annotate
from budget_cli.scanning.annotate import AnnotatedBlock, AnnotationPlan, Forms
from budget_cli.scanning.plan import scan_plan
from budget_cli.scanning.responses import responses
from budget_cli.scanning.terms import Trained


def annotated(
    session: Session,
    asked: Asked,
    format: AnnotateFormat,
    forms: Forms,
    jobs: int | None,
    update: Callable[[Any], None] | None,
) -> Iterator[AnnotatedBlock]:
    """Yield the pieces of the output, and of the rejects beside it.

    Memory is O(responses) for a table in Parquet, and O(block) otherwise.

    Args:
        session: its sources have been scanned, and can be read again.
        asked: the objective and its coefficients.
        format: the records, or which table.
        forms: what the rows of Parquet become, if they are written as records.
        jobs: number of processes, as for the scan.
        update: called after every block.

    Raises:
        UsageProblem: pyarrow is missing.
        InputProblem: a source has changed since the scan.
    """
    scan, (_, beta, alpha) = session.scanned, asked.at
    limits = Limits(session.max_line_bytes, ALL_REJECTIONS)
    plan = scan_plan(session.fields, session.layout(asked.budgets), limits)
    terms = AnnotationPlan(plan, Trained.of(scan.groups, beta, alpha, asked.objective), scan.responses, forms)
    if format is AnnotateFormat.RECORDS:
        yield from annotate.annotate(session.found, terms, scan, jobs, update)
        return
    found = responses(session.found, terms, scan, jobs, update)
    if format is AnnotateFormat.PARQUET:
        from budget_cli.cli import tables  # and pyarrow, an extra
        from budget_cli.cli.arrow import table_of_responses

        yield _piece(tables.encoded(table_of_responses(found)))
        return
    is_csv = format is AnnotateFormat.CSV
    if is_csv:
        yield _piece(rendering.csv_header())
    write = rendering.csv if is_csv else rendering.jsonl
    for part in found:
        yield _piece(write(part.source, part.columns, part.keys, part.terms))


def _piece(of_table: bytes) -> AnnotatedBlock:
    return AnnotatedBlock(of_table, b"", 0, Tally(), 0)
