"""`budget-cli sweep FILES…`: the loss over a grid of budgets and coefficients, from one scan."""

import contextlib
from collections.abc import Iterable
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from budget_cli.cli import console, options
from budget_cli.cli.options import Aggregate
from budget_cli.errors import Exit, UsageProblem

if TYPE_CHECKING:
    from budget_cli.analysis.gates import Gate
    from budget_cli.analysis.grid import Grid, Overlong
    from budget_cli.analysis.suggestion import Suggestion
    from budget_cli.analysis.sweep import Sweep
    from budget_cli.scanning.state import Scan

EPILOG = """Values: a list (512,1024), n numbers from a to b with equal steps (a:b:n) or with equal ratios (a:b:logn),
or both (0,0.0001:0.1:log10).

Examples:

\b
  budget-cli sweep rollouts/ -B 512,1024,2048 --beta 0,0.001,0.01
  budget-cli sweep rollouts/ -B 512:4096:8 --beta 0.0001:0.1:log10 --alpha 0:0.5:11 -f csv
  budget-cli sweep rollouts/ --max-response-length 3072,4096 --overlong-buffer 512
  budget-cli sweep rollouts/ --suggest

Exit: 0 all read, 1 verdict fail, 2 usage, 3 input or output, 70 a bug.
"""


class Format(StrEnum):
    """What the cells are written as."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"
    MARKDOWN = "markdown"


@console.exits
def command(
    context: typer.Context,
    files: options.Files = None,
    token_budget: Annotated[
        str | None,
        typer.Option(
            "--token-budget",
            "-B",
            metavar="VALUES",
            show_default=False,
            help="Budgets, in tokens.",
        ),
    ] = None,
    budget_penalty_coef: Annotated[
        str | None,
        typer.Option(
            "--budget-penalty-coef",
            "--beta",
            metavar="VALUES",
            help="β, reward lost per token over the budget.",
            show_default="0.01",
        ),
    ] = None,
    kl_coef: Annotated[
        str,
        typer.Option(
            "--kl-coef",
            "--alpha",
            metavar="VALUES",
            help="α, weight of the log-ratio to the reference.",
        ),
    ] = "0.1",
    max_response_length: Annotated[
        str | None,
        typer.Option(
            "--max-response-length",
            metavar="VALUES",
            show_default=False,
            help="In DAPO's terms, with --overlong-buffer in place of -B and --beta: the longest a response may be.",
        ),
    ] = None,
    overlong_buffer: Annotated[
        int | None,
        typer.Option(
            "--overlong-buffer",
            min=1,
            metavar="TOKENS",
            show_default=False,
            help="Tokens before that length in which the penalty grows: B = length − buffer, β = penalty / buffer.",
        ),
    ] = None,
    overlong_penalty: Annotated[
        str,
        typer.Option("--overlong-penalty", metavar="VALUES", help="The penalty at the end of the buffer."),
    ] = "1",
    suggest: Annotated[
        bool,
        typer.Option(
            "--suggest",
            help="Say which budgets and β to try, and why. Reads the input twice; a pipe is kept meanwhile.",
        ),
    ] = False,
    share: Annotated[
        float,
        typer.Option(
            "--share", min=0.001, max=0.999, help="--suggest: the part of the advantage that length is to make."
        ),
    ] = 0.1,
    all_numbers: Annotated[
        bool, typer.Option("--all-numbers", help="json, jsonl, csv, markdown: every number of the loss in each cell.")
    ] = False,
    aggregate: options.AggregateBy = Aggregate.RESPONSE,
    field: options.FieldMappings = None,
    reward_weights: options.RewardWeights = None,
    group: options.Group = None,
    preset: options.PresetName = None,
    presets: options.PresetFiles = None,
    format: Annotated[Format, typer.Option("--format", "-f", help="What the cells are written as.")] = Format.TABLE,
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
    """The loss over a grid of budgets and coefficients.

    From one scan: many cells cost little more than one. Shows where the loss and the part of length are high, which
    prompts turn phantom at which budget, and from which β on the penalty puts a prompt's worst response above its best.
    """
    console.require_writable(output)
    from budget_cli.analysis import verdict
    from budget_cli.cli import outcome
    from budget_cli.cli.session import as_typed, budgets_of_summaries, find, placed, rereadable, scanned
    from budget_cli.schema.fields import Fields

    allowed, in_percent = verdict.parse_max_errors(max_errors)
    gates = _gates(fail_if or [], suggest)
    allowance = verdict.Allowance(allowed, in_percent, allow_truncated_tail, allow_empty)
    if suggest or max_response_length is not None or overlong_buffer is not None:  # in place of what settings say
        token_budget = token_budget if _is_typed(context, "token_budget") else None
        budget_penalty_coef = budget_penalty_coef if _is_typed(context, "budget_penalty_coef") else None
    grid, overlong = None, None
    if suggest:
        if any(
            given is not None for given in (token_budget, budget_penalty_coef, max_response_length, overlong_buffer)
        ):
            raise UsageProblem("--suggest finds budgets and β itself: give it no -B, no --beta and no overlong buffer")
        fields = Fields(needs_length=True, needs_log_probs=False)
    else:
        if max_response_length is not None or overlong_buffer is not None:
            overlong = _overlong(
                token_budget, budget_penalty_coef, max_response_length, overlong_buffer, overlong_penalty
            )
        grid = _grid(token_budget, budget_penalty_coef, kl_coef, overlong)
        fields = Fields(needs_length=any(grid.budget_penalty_coef), needs_log_probs=any(grid.kl_coef))
    mappings, fields = as_typed(fields, field, reward_weights, group)  # said before anything is read
    with contextlib.ExitStack() as stack:
        found = find(files, output)
        if grid is None:
            found = stack.enter_context(rereadable(found))
        if grid is None and budgets_of_summaries(found) is not None:
            raise UsageProblem(
                "--suggest finds budgets of its own, and a summary has only those it was made with: give -B"
            )
        fields = placed(found, fields, mappings, preset, presets or [], quiet)

        def scan_at(budgets: Iterable[int]) -> "Scan":
            return scanned(found, fields, tuple(budgets), max_line_bytes, jobs, quiet, verbose, engine=engine)

        if grid is not None:
            from budget_cli.analysis.sweep import compute_sweep, failed_gates

            if overlong is not None and not quiet:
                _say(overlong)
            scan = scan_at(budget for budget in grid.token_budget if budget is not None)
            swept = compute_sweep(scan.groups, grid, scan.tally, aggregate.value)
            reasons = outcome.reasons_to_fail(scan, allowance)
            reasons += failed_gates(swept, gates)
            if scan.tally.used and None in swept.numbers("loss"):
                reasons.append("the numbers are too large: their squares are beyond the range of a double")
            result = _rendered(scan, swept, overlong, reasons, format, precision, all_numbers, output, color)
        else:
            from budget_cli.analysis import suggestion

            percentiles = suggestion.budgets(scan_at([]).groups.lengths)
            scan = scan_at(percentiles.values())
            suggestions = suggestion.suggest_budgets(scan.groups, percentiles, share, scan.tally)
            reasons = outcome.reasons_to_fail(scan, allowance)
            result = _rendered_suggestions(scan, suggestions, share, reasons, format, precision, output, color)
    console.write(result, output)
    outcome.tell(scan, reasons, format is Format.TABLE, quiet)
    return outcome.exit_code(scan, reasons)


def _gates(expressions: list[str], suggest: bool) -> "list[Gate]":
    """What must not be in any cell."""
    from budget_cli.analysis import gates
    from budget_cli.analysis.loss import number_names

    if expressions and suggest:
        raise UsageProblem("--fail-if: a suggestion has no cells; give it with -B")
    return gates.parse(expressions, number_names())


def _is_typed(context: typer.Context, name: str) -> bool:
    """Whether an option is on the command line, not only in the environment or a file."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _grid(
    token_budget: str | None, budget_penalty_coef: str | None, kl_coef: str, overlong: "Overlong | None"
) -> "Grid":
    """The cells that were asked for."""
    from budget_cli.analysis.grid import Grid, parse_budgets, parse_coefficients

    alphas = parse_coefficients("--kl-coef", kl_coef)
    if overlong is not None:
        grid = Grid(overlong.token_budget, overlong.budget_penalty_coef, alphas)
    else:
        budgets = (None,) if token_budget is None else parse_budgets("--token-budget", token_budget)
        betas = parse_coefficients(
            "--budget-penalty-coef", "0.01" if budget_penalty_coef is None else budget_penalty_coef
        )
        if budgets == (None,) and any(betas):
            raise UsageProblem(
                "give budgets (-B 512,1024), or --budget-penalty-coef 0 to do without; --suggest finds some"
            )
        grid = Grid(budgets, betas, alphas)
    grid.require_sane()
    return grid


def _overlong(
    token_budget: str | None, budget_penalty_coef: str | None, length: str | None, buffer: int | None, penalty: str
) -> "Overlong":
    """The budgets and β that a buffer in DAPO's terms stands for."""
    from budget_cli.analysis.grid import overlong

    if token_budget is not None or budget_penalty_coef is not None:
        raise UsageProblem("--overlong-buffer stands for a budget and a β: give it, or -B and --beta, not both")
    if length is None or buffer is None:
        raise UsageProblem("--max-response-length and --overlong-buffer go together: give both")
    return overlong(length, buffer, penalty)


def _say(overlong: "Overlong") -> None:
    """What was made of the buffer."""
    budgets = ", ".join(f"{budget:,}" for budget in overlong.token_budget)
    betas = ", ".join(f"{beta:g}" for beta in overlong.budget_penalty_coef)
    console.say(
        f"overlong buffer of {overlong.overlong_buffer:,} tokens: B {budgets} tokens, β {betas} per token"
        " (DAPO's penalty stays as it is above the maximum length, this one grows on)"
    )


def _rendered(
    scan: "Scan",
    swept: "Sweep",
    overlong: "Overlong | None",
    reasons: list[str],
    format: Format,
    precision: int,
    all_numbers: bool,
    output: str | None,
    color: options.Colour,
) -> bytes:
    """The sweep in the format asked for."""
    if format is Format.TABLE:
        from budget_cli.cli import outcome
        from budget_cli.rendering import sweep as rendering

        shown = rendering.screen(swept, reasons, outcome.told(scan), precision, console.columns())
        return console.drawn(shown, output, color)
    from budget_cli.rendering import sweep as rendering

    if format is Format.JSON:
        status = "fail" if reasons else "pass"
        incomplete = [str(problem) for problem in scan.problems]
        return rendering.json(swept, overlong, status, scan.rejections, incomplete, all_numbers, precision)
    forms = {
        Format.JSONL: rendering.jsonl,
        Format.CSV: rendering.csv,
        Format.MARKDOWN: rendering.markdown,
    }
    return forms[format](swept, all_numbers, precision)


def _rendered_suggestions(
    scan: "Scan",
    suggestions: "list[Suggestion]",
    share: float,
    reasons: list[str],
    format: Format,
    precision: int,
    output: str | None,
    color: options.Colour,
) -> bytes:
    """The suggestions in the format asked for."""
    if format is Format.TABLE:
        from budget_cli.cli import outcome
        from budget_cli.rendering import suggestion as rendering

        shown = rendering.screen(suggestions, share, scan.tally, reasons, outcome.told(scan))
        return console.drawn(shown, output, color)
    from budget_cli.rendering import suggestion as rendering

    if format is Format.JSON:
        status = "fail" if reasons else "pass"
        incomplete = [str(problem) for problem in scan.problems]
        return rendering.json(suggestions, share, status, scan.rejections, incomplete, precision)
    forms = {
        Format.JSONL: rendering.jsonl,
        Format.CSV: rendering.csv,
        Format.MARKDOWN: rendering.markdown,
    }
    return forms[format](suggestions, precision)
