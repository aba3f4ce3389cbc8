"""What `check` is asked for → its result: the options parsed, the dump scanned and observed, the checks made."""

from collections.abc import Sequence

from budget_cli.analysis import baseline
from budget_cli.analysis.checks import selection
from budget_cli.analysis.checks.findings import Severity
from budget_cli.analysis.checks.run import run_checks
from budget_cli.analysis.checks.verdict import CheckResult, LabelRun, failed_rows, judge
from budget_cli.analysis.loss import Coefficients, compute_loss, number_at
from budget_cli.analysis.verdict import failed_gates, incomplete_reasons
from budget_cli.cli.bundles import (
    AllowanceOptions,
    CheckScreenOptions,
    FieldOptions,
    OutputOptions,
    ReadingOptions,
    VerdictOptions,
)
from budget_cli.cli.inputs import content_of, require_records, show_command
from budget_cli.cli.own_options import CheckOptions
from budget_cli.cli.session import ScanSpec, Session, needed_fields, observation_spec
from budget_cli.evidence.counters import FEW
from budget_cli.objective.settings import Objective
from budget_cli.records.columns import RejectionLimit

OPTIONAL = (
    "finish_reason",
    "step",
    "advantage",
    "prompt_length",
    "sampler_log_prob",
)  # read where the records have them
TEXTS = ("prompt_text", "response_text")


def checked(
    files: Sequence[str] | None,
    at: tuple[int | None, float],
    trained: Objective,
    checks: CheckOptions,
    fields: FieldOptions,
    verdict: VerdictOptions | AllowanceOptions,
    reading: ReadingOptions,
    output: OutputOptions | CheckScreenOptions,
) -> tuple[Session, CheckResult]:
    """Scan the files and make the checks.

    Args:
        files: names of files and folders; None: standard input.
        at: B, in tokens, and β.
        trained: the objective.
        checks: which checks are made, and what fails.
        fields: where the fields are.
        verdict: the gates, and what is tolerated.
        reading: how to read.
        output: where the result goes.

    Raises:
        UsageProblem: an option is invalid.
        InputProblem: a file cannot be read, or holds no records.
    """
    token_budget, beta = at
    wanted = selection.wanted_checks(checks.select or [], checks.ignore or [])
    thresholds = selection.parse_thresholds(checks.threshold or [])
    tolerance = baseline.parse_tolerance(checks.tolerance)
    known = baseline.parse(checks.baseline, content_of("--baseline", checks.baseline)) if checks.baseline else {}
    # a missing length is a finding, not a reason to refuse the dump
    optional = TEXTS + OPTIONAL if checks.text else OPTIONAL
    needs = needed_fields(False, bool(checks.kl_coef), optional, compares_tokens=True)
    session = Session(fields, verdict, reading, output, needs, trained)
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
        observe=observation_spec(budgets, thresholds, beta),
        keep=RejectionLimit(0, FEW),
        verbose_keeps_all=False,
        duplicate_keys=checks.duplicate_keys,
    )
    scan = session.scan(budgets, spec)

    loss = compute_loss(
        scan.groups, Coefficients(token_budget, beta, checks.kl_coef or 0.0), scan.tally, trained=trained
    )
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
    show = show_command(files, session.found, loss, checks.kl_coef, fields, reading)
    return session, result._replace(show=show)
