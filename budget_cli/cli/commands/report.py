"""`budget-cli report FILES… -o report.html`: a self-contained page with charts and sliders."""

import typer

from budget_cli.analysis.grid import parse_budgets
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
from budget_cli.errors import Exit, UsageProblem

EPILOG = """Examples:

\b
  budget-cli report rollouts/ -B 4096 -o report.html
  budget-cli report rollouts.jsonl -B 4096 --by step -o report.html
  budget-cli report 40.jsonl -B 4096 --budgets 1024:8192:29 -o report.html

Needs the extra: pip install 'budget-cli[report]'.

Exit codes: 0 verdict pass, 1 verdict fail (the page is written and says why), 2 usage error,
3 input or output error, 70 bug, 71 out of memory.
"""
FOR_CHECKS = ("finish_reason", "advantage", "prompt_length", "sampler_log_prob")  # read where the records have them


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
    at, trained, aggregate = asked
    output.require_writable(to.output)
    if to.output is None and console.shows_result():
        raise UsageProblem("the page is meant for a file: give -o report.html, or redirect standard output")
    from budget_cli.cli import charts  # hashlib: 3 ms; numpy from the next line on: not for --help

    assets = charts.page_assets()
    from budget_cli.analysis import breakdown
    from budget_cli.analysis.checks.catalogue import CHECKS, THRESHOLDS
    from budget_cli.analysis.checks.run import run_checks
    from budget_cli.analysis.loss import number_at
    from budget_cli.analysis.report import build_page_data, grid_around
    from budget_cli.analysis.verdict import failed_gates
    from budget_cli.cli.origin import origin_of
    from budget_cli.cli.session import (
        ScanSpec,
        Session,
        counted_twice,
        needed_fields,
        observation_spec,
        require_no_rows,
    )
    from budget_cli.evidence.counters import FEW
    from budget_cli.groups.groups import Groups
    from budget_cli.records.columns import FIRST_TEN, RejectionLimit
    from budget_cli.rendering import report
    from budget_cli.sources.local import without_secrets

    require_no_rows(aggregate, "report", "computes it at one B, β and α")
    session = Session(fields, verdict, reading, to, needed_fields(*asked.needs, compares_tokens=True), trained)
    if page.budgets is not None and at.token_budget is None:
        raise UsageProblem("--budgets: the slider needs a budget to start from: give -B TOKENS")
    offered = () if page.budgets is None else parse_budgets("--budgets", page.budgets)
    session.find(files)
    summary_budgets = session.summary_budgets
    by = page.by
    if by is None and len(session.found) > 1 and summary_budgets is None:
        by = "file"
    label = "" if by is None else session.placement.label(by)
    optional = [name for name in FOR_CHECKS if name not in session.placement.fields.extras]
    session.placement.also_read(optional)
    session.place(optional)
    observe = observation_spec(asked.budgets, THRESHOLDS, at.budget_penalty_coef)
    unchecked = session.why_unchecked(observe)
    keep = RejectionLimit(FIRST_TEN.first, FEW)
    twice = counted_twice(at.budget_penalty_coef)
    holds = summary_budgets is None
    spec = ScanSpec(by=label, hold=holds, observe=None if unchecked else observe, keep=keep, if_penalised=twice)
    around = grid_around(at, offered or summary_budgets or ())
    scan = session.scan(asked.budgets if holds else around.budgets, spec)
    if unchecked:
        scan.notes.append(f"the page has no findings of check: {unchecked}")

    labels = breakdown.ordered(scan.by, in_order=by == "file")
    parts = {each: scan.by[each] for each in labels}
    grid = grid_around(at, offered, len(scan.groups)) if holds else around

    def at_budgets(groups: Groups) -> Groups:
        return session.at_budgets(groups, grid.budgets)

    groups = at_budgets(scan.groups)
    shown = build_page_data(groups, parts, grid, at, scan.tally, aggregate.value, trained, at_budgets)
    gates = [gate.evaluate(number_at(shown.loss, gate.path)) for gate in session.gates]
    reasons = [*session.reasons(), *failed_gates(gates), *session.loss_reasons(shown.loss, by)]
    findings = None
    if not unchecked:
        subject = session.check_input(shown.loss, groups.at(shown.at[0]), THRESHOLDS)
        findings = run_checks(subject, set(CHECKS)).findings
    most = None if to.verbose else FIRST_TEN.first
    names = [without_secrets(name) for name in files or ["-"]]
    origin = origin_of(names, asked, page, fields, verdict, reading, summary_budgets is None)
    html = report.html(shown, names, origin, by, reasons, session.rejections(most), findings, assets)
    output.write(html, to.output)
    return session.finish(reasons, on_screen=False, most=most)
