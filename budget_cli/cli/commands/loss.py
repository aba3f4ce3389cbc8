"""`budget-cli loss FILES…`: the loss and its breakdown."""

import typer

from budget_cli.cli import console, objectives, options, output
from budget_cli.cli.bundles import (
    CoefficientOptions,
    FieldOptions,
    ObjectiveOptions,
    OverlongOptions,
    ReadingOptions,
    ScreenOptions,
    VerdictOptions,
    defaults,
)
from budget_cli.cli.options import Aggregate, LossFormat
from budget_cli.errors import Exit, UsageProblem

EPILOG = """Examples:

\b
  budget-cli loss rollouts/ -B 4096
  zcat rollouts/*.gz | budget-cli loss - -B 4096 -f json | jq .loss
  budget-cli loss 40.jsonl -B 4096 --fail-if 'over_budget.fraction > 0.2'

Exit codes: 0 verdict pass, 1 verdict fail, 2 usage error, 3 input or output error, 70 bug,
71 out of memory.
"""


def command(
    *,
    context: typer.Context,
    files: options.Files = None,
    coefficients: CoefficientOptions,
    overlong: OverlongOptions,
    objective: ObjectiveOptions,
    aggregate: options.AggregateBy = Aggregate.RESPONSE,
    fields: FieldOptions,
    per_prompt: options.PerPrompt = False,
    top: options.Top = None,
    sort: options.Sort = None,
    by: options.By = None,
    each: options.Each = False,
    format: options.OutputFormat = LossFormat.TABLE,
    precision: options.Precision = 4,
    verdict: VerdictOptions,
    reading: ReadingOptions,
    screen: ScreenOptions,
) -> Exit:
    """Recompute the budget-aware loss of a dump and break it down.

    Reads JSON lines with prompt_id, reward, log_prob, old_log_prob and response_length: one record per response, or
    one per prompt with the arrays rewards, log_probs, old_log_probs and response_lengths. Malformed records are
    reported and never counted.
    """
    asked = objectives.asked(context, coefficients, overlong, objective, aggregate)
    at, trained, aggregate = asked
    if each and by is None:
        raise UsageProblem("--each applies to the rows of --by: give --by FIELD or --by file")
    output.require_writable(screen.output)
    if format is LossFormat.PARQUET:
        console.require_no_terminal(screen.output, "Parquet", "loss.parquet")
    from budget_cli.analysis.breakdown import failed_in_rows, rows_by_label  # numpy from here on: not for --help
    from budget_cli.analysis.loss import compute_loss, number_at
    from budget_cli.analysis.prompt_order import PromptOrder
    from budget_cli.analysis.verdict import failed_gates
    from budget_cli.cli.session import ScanSpec, Session, counted_twice, needed_fields
    from budget_cli.rendering.breakdown import Breakdown
    from budget_cli.rendering.loss import LossAnswer
    from budget_cli.schema.parsing import place_text

    order = PromptOrder.parse(sort, top)
    session = Session(fields, verdict, reading, screen, needed_fields(*asked.needs), trained)
    label = "" if by is None else session.placement.label(by)
    session.find(files)
    session.place()
    spec = ScanSpec(
        by=label,
        keep_responses=aggregate is Aggregate.ROW,
        if_penalised=counted_twice(at.budget_penalty_coef),
    )
    scan = session.scan(asked.budgets, spec)

    by_row = session.means_over_rows(at, by) if aggregate is Aggregate.ROW else None
    loss = compute_loss(scan.groups, at, scan.tally, aggregate.value, by_row=by_row, trained=trained)
    gates = [gate.evaluate(number_at(loss, gate.path)) for gate in session.gates]
    gates_of_rows = session.gates if each else ()
    rows = rows_by_label(scan.by, scan.tallies, at, aggregate.value, gates_of_rows, by == "file", trained)
    reasons = [*session.reasons(), *failed_gates(gates), *failed_in_rows(rows), *session.loss_reasons(loss, by)]
    split = None if by is None else Breakdown(by, rows, place_text(session.fields.paths["prompt_id"]))
    kept, listed = scan.rejections, session.rejections()
    prompts = order if per_prompt or top or sort else None
    answer = LossAnswer(loss, scan.groups, gates, reasons, kept, listed, split, prompts, precision, session.warnings)
    answer = answer._replace(defaults=defaults(context), trained=trained)
    if format is LossFormat.GITHUB:
        console.append_step_summary(answer.step_summary())
    on_screen = format is LossFormat.TABLE
    if format is LossFormat.PARQUET:
        from budget_cli.cli import tables  # and pyarrow, an extra

        shown = tables.parquet(*answer.table())
    else:
        shown = console.draw(answer.lines(console.columns()), screen) if on_screen else getattr(answer, format.value)()
    output.write(shown, screen.output)
    return session.finish(reasons, on_screen)
