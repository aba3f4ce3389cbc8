"""`budget-cli check FILES…`: find what is wrong or suspicious in a dump."""

import typer

from budget_cli.cli import console, objectives, options, output
from budget_cli.cli.bundles import (
    CheckScreenOptions,
    FieldOptions,
    ObjectiveOptions,
    OverlongOptions,
    ReadingOptions,
    VerdictOptions,
)
from budget_cli.cli.own_options import CheckFormat, CheckFormatOption, CheckOptions
from budget_cli.errors import Exit

EPILOG = """Examples:

\b
  budget-cli check rollouts/ -B 4096
  budget-cli check rollouts/ -B 4096 --text --fail-on warning
  budget-cli check new/ --baseline old.json --tolerance 5% -f json -o new.json
  budget-cli check rollouts/ --select groups --ignore singleton,one-prompt
  budget-cli explain phantom-advantage

--text reads prompt_text and response_text (found by presets, else with --field) to detect one text under two ids or
two texts under one id, lengths in characters or turns, and responses with equal texts. It takes longer.

FILES can be summaries, alone or together with dumps: checks that need individual records are then listed as skipped.

Exit codes: 0 no finding as severe as --fail-on, 1 verdict fail, 2 usage error, 3 input or output error, 70 bug,
71 out of memory.
"""
OPTIONAL = (
    "finish_reason",
    "step",
    "advantage",
    "prompt_length",
    "sampler_log_prob",
)  # read where the records have them
TEXTS = ("prompt_text", "response_text")


def command(
    *,
    context: typer.Context,
    files: options.Files = None,
    token_budget: options.TokenBudget = None,
    budget_penalty_coef: options.BudgetPenaltyCoef = 0.01,
    overlong: OverlongOptions,
    objective: ObjectiveOptions,
    checks: CheckOptions,
    fields: FieldOptions,
    format: CheckFormatOption = CheckFormat.TABLE,
    verdict: VerdictOptions,
    reading: ReadingOptions,
    screen: CheckScreenOptions,
) -> Exit:
    """Find what is wrong or suspicious in a dump.

    Examines groups, budget, lengths, log-probs, ids, and records that cannot be used, and says how far two policies are
    apart. Without a budget (-B), checks that need one are listed as skipped.
    """
    if checks.explain is not None:
        return console.show(_explanation(checks.explain), screen.output)
    token_budget, budget_penalty_coef = overlong.coefficients(context, token_budget, budget_penalty_coef)
    trained = objectives.chosen(context, objective, overlong.overlong_buffer)
    trained, token_budget = objectives.with_own_budgets(trained, token_budget)
    output.require_writable(screen.output)
    from budget_cli.analysis import baseline  # numpy from here on: not for --help
    from budget_cli.analysis.checks import selection
    from budget_cli.analysis.checks.findings import Severity
    from budget_cli.analysis.checks.run import run_checks
    from budget_cli.analysis.checks.verdict import CheckResult, LabelRun, failed_rows, judge
    from budget_cli.analysis.loss import Coefficients, compute_loss, number_at
    from budget_cli.analysis.verdict import failed_gates, incomplete_reasons
    from budget_cli.cli.inputs import content_of, require_records, show_command
    from budget_cli.cli.session import ScanSpec, Session, needed_fields, observation_spec
    from budget_cli.evidence.counters import FEW
    from budget_cli.records.columns import RejectionLimit
    from budget_cli.rendering import check

    wanted = selection.wanted_checks(checks.select or [], checks.ignore or [])
    thresholds = selection.parse_thresholds(checks.threshold or [])
    tolerance = baseline.parse_tolerance(checks.tolerance)
    known = baseline.parse(checks.baseline, content_of("--baseline", checks.baseline)) if checks.baseline else {}
    # a missing length is a finding, not a reason to refuse the dump
    optional = TEXTS + OPTIONAL if checks.text else OPTIONAL
    needs = needed_fields(False, bool(checks.kl_coef), optional, compares_tokens=True)
    session = Session(fields, verdict, reading, screen, needs, trained)
    label = "" if checks.by is None else session.placement.label(checks.by)
    session.find(files)
    for option, given in (("--text", checks.text), ("--duplicate-keys", checks.duplicate_keys)):
        if given:
            require_records(session.found, f"check {option}")
    session.place(optional=[name for name in needs.extras if name != label])
    budgets = () if token_budget is None else (token_budget,)
    spec = ScanSpec(
        by=label,
        observe_labels=True,
        observe=observation_spec(budgets, thresholds, budget_penalty_coef),
        keep=RejectionLimit(0, FEW),
        verbose_keeps_all=False,
        duplicate_keys=checks.duplicate_keys,
    )
    scan = session.scan(budgets, spec)

    at = Coefficients(token_budget, budget_penalty_coef, checks.kl_coef or 0.0)
    loss = compute_loss(scan.groups, at, scan.tally, trained=trained)
    texts = bool(set(TEXTS) & set(session.fields.extras)) if checks.text else None
    dump = session.check_input(loss, scan.groups, thresholds, texts, checks.duplicate_keys)
    run = run_checks(dump, wanted)
    by_label = session.check_inputs_by_label(dump, in_order=checks.by == "file")
    rows = [LabelRun(key, of_row.loss, run_checks(of_row, wanted)) for key, of_row in by_label]
    gates = [gate.evaluate(number_at(loss, gate.path)) for gate in session.gates]
    severity = Severity[checks.fail_on.value]
    findings, reasons = judge(run.findings, scan.tally, session.allowance, severity, known, tolerance)
    reasons = [*incomplete_reasons(session.problems), *reasons, *failed_gates(gates)]
    reasons += [*failed_rows(rows, findings, severity), *session.no_label(checks.by)]
    names = [source.name for source in session.found]
    run = run._replace(findings=findings)
    result = CheckResult(run, loss, reasons, session.problems, names, thresholds, severity, checks.by, rows)
    result = result._replace(show=show_command(files, session.found, loss, checks.kl_coef, fields, reading))
    if format is CheckFormat.GITHUB:
        console.append_step_summary(check.markdown(result))
    on_screen = format is CheckFormat.TABLE
    lines = check.screen(result, screen.verbose, console.columns())
    shown = console.draw(lines, screen) if on_screen else check.FORMS[format](result)
    output.write(shown, screen.output)
    return session.finish(reasons, on_screen, most=0)


def _explanation(code: str) -> str:
    """Return the section on a check, or the page of all checks."""
    from budget_cli.analysis.checks.selection import check_called
    from budget_cli.rendering import explain

    return explain.all_checks() if code == "all" else explain.check_section(check_called(code))
