"""`budget-cli check FILES…`: what is wrong or suspicious in a dump."""

import math
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from budget_cli.cli import console, options
from budget_cli.errors import Exit, UsageProblem

if TYPE_CHECKING:
    from budget_cli.analysis.checks.verdict import CheckResult
    from budget_cli.scanning.state import Scan

EPILOG = """Examples:

\b
  budget-cli check rollouts/ -B 4096
  budget-cli check rollouts/ -B 4096 --text --fail-on warning
  budget-cli check new/ --format json -o new.json --baseline old.json --tolerance 10%
  budget-cli check rollouts/ --select groups --ignore singleton --threshold zero-variance.share=0.3
  budget-cli check --explain phantom-advantage

--text reads prompt_text and response_text (presets know where; else --field) for: one text under two ids and one id
over two texts, lengths in characters or turns, and equal responses by their text. It takes longer.

FILES may be summaries, alone or beside dumps: what needs single records is not checked then, and that is said.

Exit: 0 all read and nothing as bad as --fail-on, 1 verdict fail, 2 usage, 3 input or output, 70 a bug.
"""
EXTRAS = ("finish_reason", "step", "advantage")
TEXTS = ("prompt_text", "response_text")


class Format(StrEnum):
    """What the findings are written as."""

    TABLE = "table"
    JSON = "json"
    MARKDOWN = "markdown"
    GITHUB = "github"
    JUNIT = "junit"


class FailOn(StrEnum):
    """From which severity on the verdict is fail."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@console.exits
def command(
    files: options.Files = None,
    token_budget: options.TokenBudget = None,
    budget_penalty_coef: options.BudgetPenaltyCoef = 0.01,
    kl_coef: Annotated[
        float | None,
        typer.Option(
            "--kl-coef",
            "--alpha",
            callback=options.finite,
            show_default=False,
            help="α: above 0 a record without log-probs is rejected, as in loss; by default it is not.",
        ),
    ] = None,
    text: Annotated[bool, typer.Option("--text", help="Read the texts of prompts and responses, too.")] = False,
    duplicate_keys: Annotated[
        bool, typer.Option("--duplicate-keys", help="Look for keys that occur twice in an object, too (slow).")
    ] = False,
    select: Annotated[
        list[str] | None,
        typer.Option(metavar="CODE", show_default=False, help="Only these checks or topics. Repeatable, or a,b."),
    ] = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option(metavar="CODE", show_default=False, help="All but these checks or topics. Repeatable, or a,b."),
    ] = None,
    threshold: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            show_default=False,
            help="Another threshold, as in truncated.share=0.1. Repeatable; --explain CODE names them.",
        ),
    ] = None,
    fail_on: Annotated[FailOn, typer.Option(help="From which severity on the exit code is 1.")] = FailOn.ERROR,
    baseline: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            show_default=False,
            help="The JSON of an earlier check: what was found there and is no worse now does not fail.",
        ),
    ] = None,
    tolerance: Annotated[
        str, typer.Option(metavar="P%", help="By how much of itself the share of a finding may have grown since.")
    ] = "0%",
    explain: Annotated[
        str | None,
        typer.Option(metavar="CODE", show_default=False, help="Print what there is to know about a check, or all."),
    ] = None,
    field: options.FieldMappings = None,
    reward_weights: options.RewardWeights = None,
    group: options.Group = None,
    preset: options.PresetName = None,
    presets: options.PresetFiles = None,
    format: Annotated[Format, typer.Option("--format", "-f", help="What the check are written as.")] = Format.TABLE,
    fail_if: options.FailIf = None,
    max_errors: options.MaxErrors = "0",
    max_line_bytes: options.MaxLineBytes = 64 << 20,
    allow_truncated_tail: options.AllowTruncatedTail = False,
    allow_empty: options.AllowEmpty = False,
    jobs: options.Jobs = None,
    engine: options.ReadBy = options.Engine.LOCAL,
    output: options.Output = None,
    color: options.WhenColour = options.Colour.AUTO,
    quiet: options.Quiet = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Also of an info: why it matters and what to do.")
    ] = False,
) -> Exit:
    """What is wrong or suspicious in a dump.

    Looks at groups, budget, lengths, log-probs, ids, and records that cannot be used.
    Without a budget (-B) what needs one is not checked, and that is said.
    """
    if explain is not None:
        console.write(_explained(explain).encode(), output)
        return Exit.PASS
    console.require_writable(output)
    from budget_cli.analysis import baseline as baselines
    from budget_cli.analysis import gates, verdict
    from budget_cli.analysis.checks import run
    from budget_cli.analysis.checks.findings import Severity
    from budget_cli.analysis.checks.verdict import CheckResult, judge
    from budget_cli.analysis.loss import Coefficients, compute_loss, judge_gates, number_names
    from budget_cli.cli import outcome
    from budget_cli.cli.session import as_typed, find, placed, require_records, scanned, watch_of, with_those_there
    from budget_cli.evidence.counters import FEW
    from budget_cli.records.columns import RejectionLimit
    from budget_cli.schema.fields import Fields

    wanted = _wanted(select or [], ignore or [])
    thresholds = _thresholds(threshold or [])
    wanted_gates = gates.parse(fail_if or [], number_names())
    allowed, in_percent = verdict.parse_max_errors(max_errors)
    grown = baselines.parse_tolerance(tolerance)
    known = {} if baseline is None else baselines.parse(baseline, _content(baseline))
    # a length that is not there is a finding, not a reason to refuse the dump
    fields = Fields(needs_length=False, needs_log_probs=bool(kl_coef), extras=TEXTS + EXTRAS if text else EXTRAS)
    mappings, fields = as_typed(fields, field, reward_weights, group)
    found = find(files, output)
    for option, asked in (("--text", text), ("--duplicate-keys", duplicate_keys)):
        if asked:
            require_records(found, f"check {option}")
    fields = placed(found, fields, mappings, preset, presets or [], quiet)
    fields = with_those_there(found, fields, fields.extras)
    budgets = () if token_budget is None else (token_budget,)
    watch = watch_of(budgets, thresholds, budget_penalty_coef)
    scan = scanned(
        found,
        fields,
        budgets,
        max_line_bytes,
        jobs,
        quiet,
        verbose=False,
        watch=watch,
        keep=RejectionLimit(0, FEW),
        repeated_keys=duplicate_keys,
        engine=engine,
    )

    coefficients = Coefficients(token_budget, budget_penalty_coef, kl_coef or 0.0)
    loss = compute_loss(scan.groups, coefficients, scan.tally)
    texts = bool(set(TEXTS) & set(fields.extras)) if text else None
    subject = outcome.subject(scan, scan.groups, loss, thresholds, texts, duplicate_keys)
    audited = run.run_checks(subject, wanted)
    severity = Severity[fail_on.value]
    allowance = verdict.Allowance(allowed, in_percent, allow_truncated_tail, allow_empty)
    findings, reasons = judge(audited.findings, scan.tally, allowance, severity, known, grown)
    reasons = [*reasons, *verdict.failed_gates(judge_gates(loss, wanted_gates))]
    incomplete = [str(problem) for problem in scan.problems]
    names = [source.name for source in found]
    answer = CheckResult(
        audited._replace(findings=findings), loss, [*incomplete, *reasons], incomplete, names, thresholds, severity
    )
    console.write(_rendered(answer, format, output, color, verbose), output)
    _tell(scan, answer, format, quiet)
    if scan.problems:
        return Exit.IO
    return Exit.FAIL if reasons else Exit.PASS


def _wanted(select: list[str], ignore: list[str]) -> set[str]:
    """The codes that are to be looked for."""
    from budget_cli.analysis.checks.catalogue import CHECKS

    chosen = _codes("--select", select) if select else set(CHECKS)
    return chosen - _codes("--ignore", ignore)


def _codes(option: str, names: list[str]) -> set[str]:
    from budget_cli.analysis.checks.catalogue import CHECKS, TOPICS

    codes = set()
    for name in [part.strip() for given in names for part in given.split(",")]:
        if name in TOPICS:
            codes |= {check.code for check in CHECKS.values() if check.topic == name}
        elif name in CHECKS:
            codes.add(name)
        else:
            raise UsageProblem(f"{option}: no check is called {name!r}{_near(name, [*CHECKS, *TOPICS])}")
    return codes


def _thresholds(given: list[str]) -> dict[str, float]:
    """All thresholds, those given in place of their defaults."""
    from budget_cli.analysis.checks.catalogue import THRESHOLDS

    thresholds = dict(THRESHOLDS)
    for text in given:
        name, _, value = text.partition("=")
        if name not in THRESHOLDS:
            raise UsageProblem(f"--threshold: none is called {name!r}{_near(name, list(THRESHOLDS))}")
        try:
            thresholds[name] = float(value)
        except ValueError:
            thresholds[name] = math.nan
        if not math.isfinite(thresholds[name]):
            raise UsageProblem(f"--threshold {text}: expected NAME=NUMBER, as in {name}={THRESHOLDS[name]:g}")
    return thresholds


def _near(name: str, names: list[str]) -> str:
    from difflib import get_close_matches

    close = [each for each in names if name and name in each][:1] or get_close_matches(name, names, n=1)
    return f" (did you mean {close[0]}?)" if close else f"; there are {', '.join(names)}"


def _explained(code: str) -> str:
    """The section about a check, or the page with all of them."""
    from budget_cli.analysis.checks.catalogue import CHECKS
    from budget_cli.rendering import check

    if code == "all":
        return check.explain_all()
    if code not in CHECKS:
        raise UsageProblem(f"--explain: no check is called {code!r}{_near(code, [*CHECKS, 'all'])}")
    return check.explain(CHECKS[code])


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise UsageProblem(f"--baseline {path}: cannot be read: {error.strerror}") from None


def _rendered(answer: "CheckResult", format: Format, output: str | None, color: options.Colour, verbose: bool) -> bytes:
    """The findings in the format asked for."""
    from budget_cli.rendering import check

    if format is Format.JSON:
        return check.json(answer)
    if format is Format.MARKDOWN:
        return check.markdown(answer)
    if format is Format.GITHUB:
        from budget_cli.cli import step_summary
        from budget_cli.rendering import github

        step_summary.append(check.markdown(answer))
        return github.workflow_commands(check.annotations(answer))
    if format is Format.JUNIT:
        from budget_cli.rendering import junit

        return junit.xml("budget-cli check", check.cases(answer))
    return console.drawn(check.screen(answer, verbose), output, color)


def _tell(scan: "Scan", answer: "CheckResult", format: Format, quiet: bool) -> None:
    """On standard error: notes, and why it failed where the result itself is not for people."""
    if not quiet:
        for note in scan.notes:
            console.say(note)
    if format is not Format.TABLE or not console.shows_result():
        for problem in answer.incomplete:
            console.say(problem)
    if format is not Format.TABLE:
        for reason in answer.reasons:
            if reason not in answer.incomplete:
                console.say(f"fail: {reason}")
