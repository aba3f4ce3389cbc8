"""`budget-cli report FILES… -o report.html`: one page to look at."""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from budget_cli.cli import console, options
from budget_cli.cli.options import Aggregate
from budget_cli.errors import Exit, UsageProblem

if TYPE_CHECKING:
    from budget_cli.rendering.report import Assets

EPILOG = """Examples:

\b
  budget-cli report rollouts/ -B 4096 -o report.html
  budget-cli report rollouts.jsonl -B 4096 --by step -o report.html
  budget-cli report step-40.jsonl -B 4096 --beta 0.002 --budgets 1024:8192:29 -o report.html

Needs the extra: pip install 'budget-cli[report]'.

Exit: 0 all read, 1 verdict fail (the page is there and says why), 2 usage, 3 input or output, 70 a bug.
"""
WATCHED = ("finish_reason", "advantage")  # what the checks look at, where the records have it


@console.exits
def command(
    files: options.Files = None,
    token_budget: options.TokenBudget = None,
    budget_penalty_coef: options.BudgetPenaltyCoef = 0.01,
    kl_coef: options.KlCoef = 0.1,
    budgets: Annotated[
        str | None,
        typer.Option(
            "--budgets",
            metavar="VALUES",
            show_default=False,
            help="Budgets that the report's slider offers, as in sweep. Default: from B/4 to 4·B.",
        ),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            "--by",
            metavar="FIELD|file",
            show_default=False,
            help="What the trends are along, as in --by step. Default: the files, if there are several.",
        ),
    ] = None,
    aggregate: options.AggregateBy = Aggregate.RESPONSE,
    field: options.FieldMappings = None,
    reward_weights: options.RewardWeights = None,
    group: options.Group = None,
    preset: options.PresetName = None,
    presets: options.PresetFiles = None,
    fail_if: options.FailIf = None,
    max_errors: options.MaxErrors = "0",
    max_line_bytes: options.MaxLineBytes = 64 << 20,
    allow_truncated_tail: options.AllowTruncatedTail = False,
    allow_empty: options.AllowEmpty = False,
    jobs: options.Jobs = None,
    engine: options.ReadBy = options.Engine.LOCAL,
    output: options.Output = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> Exit:
    """A page of HTML with the numbers, pictures, and sliders.

    The sliders compute every number and picture again, for any B, β and α. The page opens from disk and asks nobody for
    anything. Without -o it goes to standard output.
    """
    if budget_penalty_coef and token_budget is None:
        raise UsageProblem("give a budget (-B TOKENS), or --budget-penalty-coef 0 to do without one")
    console.require_writable(output)
    if output is None and console.shows_result():
        raise UsageProblem("the page is a file: give -o report.html, or send standard output somewhere")
    assets = _assets()
    from budget_cli.analysis import breakdown, gates, verdict
    from budget_cli.analysis.checks import run
    from budget_cli.analysis.checks.catalogue import CHECKS, THRESHOLDS
    from budget_cli.analysis.grid import parse_budgets
    from budget_cli.analysis.loss import Coefficients, judge_gates, number_names
    from budget_cli.analysis.report import SAMPLED, build_page_data, grid_around
    from budget_cli.cli import outcome
    from budget_cli.cli.session import (
        as_typed,
        budgets_of_summaries,
        find,
        labelled,
        placed,
        scanned,
        uncounted,
        watch_of,
        with_those_there,
    )
    from budget_cli.evidence.counters import FEW
    from budget_cli.records.columns import FIRST_TEN, RejectionLimit
    from budget_cli.rendering import report
    from budget_cli.schema.fields import Fields

    wanted_gates = gates.parse(fail_if or [], number_names())
    allowed, in_percent = verdict.parse_max_errors(max_errors)
    allowance = verdict.Allowance(allowed, in_percent, allow_truncated_tail, allow_empty)
    coefficients = Coefficients(token_budget, budget_penalty_coef, kl_coef)
    if budgets is not None and token_budget is None:
        raise UsageProblem("--budgets: the slider begins at a budget, give it with -B")
    offered = () if budgets is None else parse_budgets("--budgets", budgets)
    fields = Fields(needs_length=budget_penalty_coef != 0, needs_log_probs=kl_coef != 0)
    mappings, fields = as_typed(fields, field, reward_weights, group)
    found = find(files, output)
    summarized = budgets_of_summaries(found)
    grid = grid_around(coefficients, offered or summarized or ())
    if by is None and len(found) > 1 and summarized is None:
        by = "file"
    label = ""
    if by is not None:
        label, fields = labelled(by, fields)
    optional = [name for name in WATCHED if name not in fields.extras]
    fields = replace(fields, extras=(*fields.extras, *optional))
    fields = placed(found, fields, mappings, preset, presets or [], quiet)
    fields = with_those_there(found, fields, optional)
    known = tuple(budget for budget in grid.token_budget if budget is not None)
    watch = watch_of(() if token_budget is None else (token_budget,), THRESHOLDS, budget_penalty_coef)
    unchecked = uncounted(found, watch)
    scan = scanned(
        found,
        fields,
        known,
        max_line_bytes,
        jobs,
        quiet,
        verbose,
        label,
        sample=SAMPLED,
        watch=None if unchecked else watch,
        keep=RejectionLimit(FIRST_TEN.first, FEW),
        engine=engine,
    )
    if unchecked:
        scan.notes.append(f"the page has no findings of check: {unchecked}")
    labels = list(scan.by) if by == "file" else breakdown.ordered(scan.by)
    parts = {each: scan.by[each] for each in labels}
    shown = build_page_data(scan.groups, parts, grid, coefficients, scan.tally, aggregate.value)
    reasons = outcome.reasons_to_fail(scan, allowance, judge_gates(shown.loss, wanted_gates))
    if by is not None and shown.loss.responses and set(scan.by) == {None}:
        reasons.append(f"--by {by}: no record has it")
    if shown.loss.loss is None and shown.loss.responses:
        reasons.append("the numbers are too large: their squares are beyond the range of a double")
    findings = None
    if not unchecked:
        subject = outcome.subject(scan, scan.groups.at(shown.at[0]), shown.loss, THRESHOLDS)
        findings = run.run_checks(subject, set(CHECKS)).findings
    names = list(files or ["-"])
    most = None if verbose else FIRST_TEN.first
    console.write(report.html(shown, names, by, reasons, outcome.told(scan, most), findings, assets), output)
    outcome.tell(scan, reasons, on_screen=False, quiet=quiet, most=most)
    return outcome.exit_code(scan, reasons)


def _assets() -> "Assets":
    """The scripts and the style of the page.

    Raises:
        UsageProblem: the charting library is not installed.
    """
    try:
        from vl_convert import javascript_bundle
    except ImportError:
        raise UsageProblem("the pictures need the extra: pip install 'budget-cli[report]'") from None
    from importlib import resources  # a millisecond of every start

    from budget_cli.rendering.report import Assets

    here = resources.files("budget_cli.rendering")
    return Assets(
        style=here.joinpath("page.css").read_text("utf-8"),
        script=here.joinpath("page.js").read_text("utf-8"),
        charts=javascript_bundle("globalThis.vegaEmbed = vegaEmbed;"),
    )
