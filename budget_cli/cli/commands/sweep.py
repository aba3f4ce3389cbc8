"""`budget-cli sweep FILES…`: the loss over a grid of budgets and coefficients, from one scan."""

from typing import TYPE_CHECKING

import typer

from budget_cli.analysis.grid import overlong_grid, parse_grid
from budget_cli.cli import console, objectives, options, output
from budget_cli.cli.bundles import FieldOptions, ObjectiveOptions, ReadingOptions, ScreenOptions, VerdictOptions
from budget_cli.cli.options import Aggregate
from budget_cli.cli.own_options import SweepFormat, SweepFormatOption, SweepOptions
from budget_cli.errors import Exit, UsageProblem

if TYPE_CHECKING:
    from budget_cli.rendering.suggestion import SuggestionAnswer

EPILOG = """VALUES: a list (512,1024), n numbers from a to b with equal steps (a:b:n) or equal ratios (a:b:logn), or
both (0,0.0001:0.1:log10).

Examples:

\b
  budget-cli sweep rollouts/ -B 512,1024,2048 --beta 0,0.001,0.01
  budget-cli sweep rollouts/ -B 512:4096:8 --beta 0.0001:0.1:log10 -f csv
  budget-cli sweep 40.jsonl --max-response-length 4096 --overlong-buffer 512
  budget-cli sweep rollouts/ --suggest

Exit codes: 0 verdict pass, 1 verdict fail, 2 usage error, 3 input or output error, 70 bug,
71 out of memory.
"""


def command(
    *,
    context: typer.Context,
    files: options.Files = None,
    sweep: SweepOptions,
    objective: ObjectiveOptions,
    aggregate: options.AggregateBy = Aggregate.RESPONSE,
    fields: FieldOptions,
    format: SweepFormatOption = SweepFormat.TABLE,
    precision: options.Precision = 4,
    verdict: VerdictOptions,
    reading: ReadingOptions,
    screen: ScreenOptions,
) -> Exit:
    """Compute the loss over a grid of budgets and coefficients.

    A single scan serves all cells, so many cost little more than one. Shows where the loss and the share of length are
    high, which prompts become phantom (learn from length alone) at which budget, and from which β on the penalty ranks
    a prompt's worst response above its best.
    """
    trained = objectives.chosen(context, objective, sweep.overlong_buffer)
    aggregate = objectives.aggregate_of(context, aggregate, trained)
    output.require_writable(screen.output)
    from budget_cli.analysis.breakdown import ordered  # numpy from here on: not for --help
    from budget_cli.analysis.sweep import compute_sweep, failed_in_cells
    from budget_cli.cli.session import TOO_LARGE, ScanSpec, Session, counted_twice, needed_fields, require_no_rows
    from budget_cli.rendering.sweep import SweepAnswer

    require_no_rows(aggregate, "sweep", "computes one cell at a time")
    sweep = sweep.as_typed(context)
    if sweep.suggest:
        sweep.require_suggestion_alone(verdict, trained)
        from budget_cli.cli.suggesting import suggested

        session, suggestion = suggested(files, sweep.share, precision, fields, verdict, reading, screen)
        answer: SuggestionAnswer | SweepAnswer = suggestion
    else:
        overlong = sweep.overlong()
        if trained.has_own_budgets:
            trained, grid = sweep.of_own_budgets(trained)
        elif sweep.budget_factor is not None:
            raise UsageProblem(
                "--budget-factor: records have budgets of their own only by --set budget_field or budget_by"
            )
        elif overlong is None:
            grid = parse_grid(sweep.token_budget, sweep.budget_penalty_coef, sweep.kl_coef)
        else:
            grid = overlong_grid(overlong, sweep.kl_coef)
        penalised = objectives.needs_length(trained, any(grid.budget_penalty_coef))
        session = Session(fields, verdict, reading, screen, needed_fields(penalised, any(grid.kl_coef)), trained)
        label = "" if sweep.by is None else session.placement.label(sweep.by)
        session.find(files)
        session.place()
        if overlong is not None and not screen.quiet:
            console.say(overlong.explained(trained.cap))
        spec = ScanSpec(by=label, if_penalised=counted_twice(max(grid.budget_penalty_coef)))
        scan = session.scan((budget for budget in grid.token_budget if budget is not None), spec)
        swept = compute_sweep(scan.groups, grid, scan.tally, aggregate.value, trained)
        rows = None
        if sweep.by is not None:
            labels = ordered(scan.by, in_order=sweep.by == "file")
            rows = [
                (one, compute_sweep(scan.by[one], grid, scan.tallies[one], aggregate.value, trained)) for one in labels
            ]
        reasons = [*session.reasons(), *failed_in_cells(swept, session.gates)]
        reasons += session.no_label(sweep.by)
        reasons += [TOO_LARGE] if scan.tally.used and None in swept.numbers("loss") else []
        answer = SweepAnswer(
            swept,
            overlong,
            reasons,
            scan.rejections,
            session.rejections(),
            sweep.all_numbers,
            precision,
            sweep.by,
            rows,
        )
    answer = answer._replace(warnings=session.warnings)
    on_screen = format is SweepFormat.TABLE
    result = console.draw(answer.lines(console.columns()), screen) if on_screen else getattr(answer, format.value)()
    output.write(result, screen.output)
    return session.finish(answer.reasons, on_screen)
