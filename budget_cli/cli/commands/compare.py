"""`budget-cli compare BASE NEW`: how two dumps differ, with standard errors."""

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
    is_typed,
)
from budget_cli.cli.options import Aggregate
from budget_cli.cli.own_options import Base, CompareFormat, CompareOptions, New
from budget_cli.errors import Exit, UsageProblem

EPILOG = """Examples:

\b
  budget-cli compare monday/ tuesday/ -B 4096
  budget-cli compare 40.jsonl 41.jsonl -B 4096 --fail-if 'loss.delta > 0.05'
  budget-cli compare base.jsonl new.jsonl -B 4096 --fail-if 'reward.z < -2'
  budget-cli loss main.jsonl -B 4096 -f json -o main.json
  budget-cli compare main.json 41.jsonl -f markdown >>"$GITHUB_STEP_SUMMARY"

Exit codes: 0 verdict pass, 1 verdict fail, 2 usage error, 3 input or output error, 70 bug,
71 out of memory.
"""


def command(
    *,
    context: typer.Context,
    base: Base,
    new: New,
    coefficients: CoefficientOptions,
    overlong: OverlongOptions,
    objective: ObjectiveOptions,
    aggregate: options.AggregateBy = Aggregate.RESPONSE,
    fields: FieldOptions,
    compare: CompareOptions,
    verdict: VerdictOptions,
    reading: ReadingOptions,
    screen: ScreenOptions,
) -> Exit:
    """Compare two dumps, with a standard error for each difference.

    Compares loss, reward, adjusted reward, log-ratio, length, over-budget share and zero-variance share.

    Prompts are paired by id; those that only one dump has are counted and left out. If the dumps share no id, all
    prompts are compared, unpaired. Standard errors are clustered by prompt. The result of an earlier loss --format json
    no longer has prompts, so it is compared as a whole, without standard errors.

    A gate names a quantity (loss, reward, adjusted_reward, log_ratio, length, over_budget, zero_variance) and one of
    base, new, delta (new - base), se (its standard error) and z (delta / se), as in 'loss.delta > 0.05'. Samples that
    are left out have base, new and delta for each reason: 'left_out.failed.new > 0'.
    """
    output.require_writable(screen.output)
    trained = objectives.chosen(context, objective, overlong.overlong_buffer)
    aggregate = objectives.aggregate_of(context, aggregate, trained)
    from budget_cli.analysis.compare import Comparison, require_comparable  # numpy from here on: not for --help
    from budget_cli.analysis.loss import Coefficients, number_at
    from budget_cli.analysis.verdict import failed_gates
    from budget_cli.cli.compare_sides import Side, common_settings, compare_labels, compare_sides
    from budget_cli.cli.session import Session, needed_fields, require_no_rows, say_failures
    from budget_cli.rendering import compare as rendering

    require_no_rows(aggregate, "compare", "-f json of each dump gives results that compare takes")
    budget, beta = overlong.coefficients(context, *coefficients.values[:2])
    trained, budget = objectives.with_own_budgets(trained, budget)
    given = Coefficients(budget, beta, coefficients.kl_coef)
    needs = needed_fields(*given[1:])
    sessions = [Session(fields, verdict, reading, screen, needs, trained, Comparison) for _ in range(2)]
    if base == new == "-":
        raise UsageProblem("BASE and NEW are both standard input: give one of them as a file")
    sides = Side(base, sessions[0]), Side(new, sessions[1])
    typed = [name for name in context.params if is_typed(context, name)]
    if any(side.earlier is None for side in sides):
        require_comparable(trained)
    common, weighing = common_settings(sides, given, aggregate.value, typed)
    for side in sides:
        if side.earlier is None and not trained.has_own_budgets:
            coefficients.changed(token_budget=common.token_budget, budget_penalty_coef=beta).require_budget()
        side.read(common, compare.by)

    comparison, moved = compare_sides(sides[0], sides[1], common, weighing, compare.moved_by.value, compare.top)
    rows = None if compare.by is None else compare_labels(*sides, common, weighing)
    gates = [gate.evaluate(number_at(comparison, gate.path)) for gate in sessions[0].gates]
    reasons = [*(reason for side in sides for reason in side.reasons()), *failed_gates(gates)]
    shown = (sides[0].shown(), sides[1].shown())
    on_screen = compare.format is CompareFormat.TABLE
    if on_screen:
        order = compare.moved_by.value
        body = (comparison, shown, moved, order, reasons, gates, compare.precision, compare.by, rows)
        result = console.draw(rendering.screen(*body, console.columns()), screen)
    else:
        write = rendering.json if compare.format is CompareFormat.JSON else rendering.markdown
        result = write(comparison, shown, moved, "fail" if reasons else "pass", gates, compare.precision, rows)
    output.write(result, screen.output)
    for side in sides:
        if side.earlier is None:
            side.session.finish([], on_screen)
    one, other = (side.lengths_are_from for side in sides)
    differ = None not in (one, other) and one != other
    if (on_screen or differ) and not screen.quiet:
        for side, source in zip(sides, (one, other), strict=True):
            said = not on_screen and side.earlier is None and side.lengths.origins.tokenizer  # by its session
            if source is not None and not said and (differ or source != "the field"):
                console.say(f"{side.name}: lengths are from {source}")
    if not on_screen:
        say_failures(reasons)
    if any(side.problems for side in sides):
        return Exit.IO
    return Exit.FAIL if reasons else Exit.PASS
