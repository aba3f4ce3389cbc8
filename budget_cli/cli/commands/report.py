"""`budget-cli report FILES… -o report.html`: a self-contained page with charts and sliders."""

import typer

from budget_cli.cli import console, objectives, options, output
from budget_cli.cli.bundles import (
    CoefficientOptions,
    FieldOptions,
    ObjectiveOptions,
    OutputOptions,
    OverlongOptions,
    ReadingOptions,
    VerdictOptions,
)
from budget_cli.cli.options import Aggregate
from budget_cli.cli.own_options import ReportOptions
from budget_cli.errors import Exit

EPILOG = """Examples:

\b
  budget-cli report rollouts/ -B 4096 -o report.html
  budget-cli report rollouts.jsonl -B 4096 --by step -o report.html
  budget-cli report 40.jsonl -B 4096 --budgets 1024:8192:29 -o report.html

Needs the extra: pip install 'budget-cli[report]'.

Exit codes: 0 verdict pass, 1 verdict fail (the page is written and says why), 2 usage error,
3 input or output error, 70 bug, 71 out of memory.
"""


def command(
    *,
    context: typer.Context,
    files: options.Files = None,
    coefficients: CoefficientOptions,
    overlong: OverlongOptions,
    objective: ObjectiveOptions,
    page: ReportOptions,
    aggregate: options.AggregateBy = Aggregate.RESPONSE,
    fields: FieldOptions,
    verdict: VerdictOptions,
    reading: ReadingOptions,
    to: OutputOptions,
) -> Exit:
    """Write an HTML page with the numbers, charts and sliders.

    The sliders recompute every number and chart for any B, β and α. The page is self-contained and works offline.
    Without -o it goes to standard output.
    """
    asked = objectives.asked(context, coefficients, overlong, objective, aggregate)
    _, trained, aggregate = asked
    output.require_writable(to.output)
    console.require_no_terminal(to.output, "the page", "report.html")
    from budget_cli.cli import charts  # hashlib: 3 ms; numpy from the next line on: not for --help

    assets = charts.page_assets()
    from dataclasses import replace

    from budget_cli.analysis.loss import number_at
    from budget_cli.analysis.verdict import failed_gates
    from budget_cli.cli.origin import origin_of
    from budget_cli.cli.paged import paged, texts
    from budget_cli.cli.session import Session, needed_fields, require_no_rows
    from budget_cli.records.columns import FIRST_TEN
    from budget_cli.rendering import report
    from budget_cli.sources.local import without_secrets

    require_no_rows(aggregate, "report", "computes it at one B, β and α")
    needs = replace(needed_fields(*asked.needs, compares_tokens=True), bins_tokens=True)
    session = Session(fields, verdict, reading, to, needs, trained)
    found = paged(session, files, asked, page)
    loss = found.data.loss
    gates = [gate.evaluate(number_at(loss, gate.path)) for gate in session.gates]
    reasons = [*session.reasons(), *failed_gates(gates), *session.loss_reasons(loss, found.by)]
    most = None if to.verbose else FIRST_TEN.first
    names = [without_secrets(name) for name in files or ["-"]]
    origin = origin_of(names, asked, page, fields, verdict, reading, session.summary_budgets is None)
    rejections = session.rejections(most)
    said = texts(session, asked, found, reading)
    html = report.html(
        found.data, names, origin, found.by, reasons, rejections, found.findings, assets, found.places, said
    )
    output.write(html, to.output)
    return session.finish(reasons, on_screen=False, most=most)
