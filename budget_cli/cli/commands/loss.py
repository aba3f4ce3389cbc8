"""`budget-cli loss FILES…`: the loss and what it is made of."""

from typing import TYPE_CHECKING

from budget_cli.cli import console, options
from budget_cli.cli.options import Aggregate, Format
from budget_cli.errors import Exit, UsageProblem

if TYPE_CHECKING:
    from budget_cli.analysis.gates import Verdict
    from budget_cli.analysis.loss import Loss
    from budget_cli.records.columns import Rejection
    from budget_cli.rendering.breakdown import Breakdown
    from budget_cli.scanning.state import Scan

EPILOG = """Examples:

\b
  budget-cli loss rollouts/ -B 4096
  zcat rollouts/*.gz | budget-cli loss - -B 4096 -f json | jq .loss
  budget-cli loss 40.jsonl -B 4096 --fail-if 'over_budget.fraction > 0.2'

Exit: 0 all read and all held, 1 verdict fail, 2 usage, 3 input or output, 70 a bug.
"""


@console.exits
def command(
    files: options.Files = None,
    token_budget: options.TokenBudget = None,
    budget_penalty_coef: options.BudgetPenaltyCoef = 0.01,
    kl_coef: options.KlCoef = 0.1,
    aggregate: options.AggregateBy = Aggregate.RESPONSE,
    field: options.FieldMappings = None,
    reward_weights: options.RewardWeights = None,
    group: options.Group = None,
    preset: options.PresetName = None,
    presets: options.PresetFiles = None,
    per_prompt: options.PerPrompt = False,
    by: options.By = None,
    each: options.Each = False,
    format: options.OutputFormat = Format.TABLE,
    precision: options.Precision = 4,
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
    verbose: options.Verbose = False,
) -> Exit:
    """The budget-aware loss of a dump, and what it is made of.

    Reads JSON lines with prompt_id, reward, log_prob, old_log_prob and response_length, one record a response or
    one a prompt with the arrays rewards, log_probs, old_log_probs and response_lengths.
    """
    options.require_budget(token_budget, budget_penalty_coef)
    if each and by is None:
        raise UsageProblem("--each: every row of what? give --by FIELD or --by file")
    console.require_writable(output)
    from budget_cli.analysis import breakdown, gates, verdict
    from budget_cli.analysis.loss import (
        Coefficients,
        compute_loss,
        judge_gates,
        number_names,
    )
    from budget_cli.cli import outcome
    from budget_cli.cli.session import as_typed, find, labelled, placed, scanned
    from budget_cli.rendering.breakdown import Breakdown
    from budget_cli.schema.fields import Fields
    from budget_cli.schema.parsing import place_text

    wanted_gates = gates.parse(fail_if or [], number_names())
    allowed, in_percent = verdict.parse_max_errors(max_errors)
    fields = Fields(needs_length=budget_penalty_coef != 0, needs_log_probs=kl_coef != 0)
    mappings, fields = as_typed(fields, field, reward_weights, group)  # said before anything is read
    label = ""
    if by is not None:
        label, fields = labelled(by, fields)
    found = find(files, output)
    fields = placed(found, fields, mappings, preset, presets or [], quiet)
    budgets = () if token_budget is None else (token_budget,)
    scan = scanned(found, fields, budgets, max_line_bytes, jobs, quiet, verbose, by=label, engine=engine)

    coefficients = Coefficients(token_budget, budget_penalty_coef, kl_coef)
    loss = compute_loss(scan.groups, coefficients, scan.tally, aggregate.value)
    judged = judge_gates(loss, wanted_gates)
    rows = breakdown.rows_by_label(
        scan.by, scan.tallies, coefficients, aggregate.value, wanted_gates if each else (), in_order=by == "file"
    )
    allowance = verdict.Allowance(allowed, in_percent, allow_truncated_tail, allow_empty)
    reasons = outcome.reasons_to_fail(scan, allowance, judged)
    if each:
        reasons += breakdown.failed_gates(rows)
    if by is not None and loss.responses and set(scan.by) == {None}:
        reasons.append(f"--by {by}: no record has it")
    if loss.loss is None and loss.responses:
        reasons.append("the numbers are too large: their squares are beyond the range of a double")

    told = outcome.told(scan)
    split = None if by is None else Breakdown(by, rows, place_text(fields.paths["prompt_id"]))
    result = _rendered(scan, told, loss, judged, reasons, split, format, precision, per_prompt, output, color)
    console.write(result, output)
    outcome.tell(scan, reasons, format is Format.TABLE, quiet)
    return outcome.exit_code(scan, reasons)


def _rendered(
    scan: "Scan",
    told: "list[Rejection]",
    loss: "Loss",
    judged: "list[Verdict]",
    reasons: list[str],
    split: "Breakdown | None",
    format: Format,
    precision: int,
    per_prompt: bool,
    output: str | None,
    color: options.Colour,
) -> bytes:
    """The result in the format asked for."""
    from budget_cli.analysis.loss import per_prompt_losses, phantom_prompts
    from budget_cli.rendering import breakdown
    from budget_cli.rendering import loss as rendering

    status = "fail" if reasons else "pass"
    prompts = per_prompt_losses(scan.groups, loss.coefficients) if per_prompt else None
    if format is Format.TABLE:
        from budget_cli.groups.lengths import length_histogram

        bins = max(20, min(console.columns(), 120) - 46)
        histogram = length_histogram(scan.groups.lengths, bins, loss.coefficients.token_budget)
        phantoms = phantom_prompts(scan.groups, most=3) if loss.groups.phantom else []
        rows = () if split is None else breakdown.screen(split, loss, precision)
        shown = list(rendering.screen(loss, histogram, reasons, judged, told, precision, phantoms, rows))
        if prompts is not None:
            shown += rendering.prompts_screen(prompts, precision)
        return console.drawn(shown, output, color)
    if format is Format.MARKDOWN:
        if prompts is not None:
            return rendering.prompts_markdown(prompts, precision)
        text = rendering.markdown(loss, status, reasons, judged, precision)
        return text if split is None else text + b"\n" + breakdown.markdown(split, precision)
    incomplete = [str(problem) for problem in scan.problems]
    if format is Format.GITHUB:
        from budget_cli.cli import step_summary
        from budget_cli.rendering import github

        page = _rendered(scan, told, loss, judged, reasons, split, Format.MARKDOWN, precision, False, None, color)
        step_summary.append(page)
        untold = scan.tally.rejected - len(told) if told else 0
        return github.workflow_commands(
            rendering.annotations(loss, told, incomplete, reasons, precision), omitted=untold
        )
    if format is Format.JUNIT:
        from budget_cli.rendering import junit

        cases = rendering.cases(loss, told, incomplete, reasons, judged, () if split is None else split.rows)
        return junit.xml(rendering.TITLE, cases)
    if format is Format.CSV and split is not None and prompts is None:
        return breakdown.csv(split, precision)
    if format is Format.CSV:
        return rendering.prompts_csv(prompts, precision) if prompts else rendering.csv(loss, status, precision)
    by = None if split is None else breakdown.json_rows(split, precision)
    return rendering.json(loss, status, judged, scan.rejections, incomplete, prompts, precision, by)
