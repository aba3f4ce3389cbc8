"""`budget-cli summarize FILES… -o part.jsonl`: moments and what checks count, to be taken in place of the records."""

from typing import Annotated

import typer

from budget_cli.cli import console, options
from budget_cli.errors import Exit, UsageProblem

EPILOG = """Examples:

\b
  budget-cli summarize step-7/ -B 1024,4096 -o step-7.summary.jsonl
  ls *.jsonl | xargs -P 8 -I{} budget-cli summarize {} -B 4096 -o parts/{}.gz
  budget-cli loss parts -B 4096
  budget-cli check parts -B 4096

A summary answers for every β and α, and for the budgets that it was made with. Several of them give what one scan of
all their files gives, in the order in which they are named.

Exit: 0 all read and all held, 1 verdict fail (the summary is written and says so), 2 usage, 3 input or output.
"""
FINISH_REASON = "finish_reason"  # read where the records have it, for the checks


@console.exits
def command(
    files: options.Files = None,
    token_budget: Annotated[
        str | None,
        typer.Option(
            "--token-budget",
            "-B",
            metavar="TOKENS,…",
            show_default=False,
            help="The budgets, in tokens, that the summary can answer for: 1024,2048, or a range as in sweep.",
        ),
    ] = None,
    budget_penalty_coef: options.BudgetPenaltyCoef = 0.01,
    kl_coef: options.KlCoef = 0.1,
    field: options.FieldMappings = None,
    reward_weights: options.RewardWeights = None,
    group: options.Group = None,
    preset: options.PresetName = None,
    presets: options.PresetFiles = None,
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
    """The moments of every prompt, to stand for its records.

    JSON lines that all commands which need no single records take in place of them; what the checks count is there,
    too. The coefficients only say what a record needs: with --kl-coef 0 no log-probs, with --budget-penalty-coef 0
    neither lengths nor budgets. Where the name after -o ends in .gz, .bz2, .xz or .zst, the summary is compressed.
    """
    if budget_penalty_coef and token_budget is None:
        raise UsageProblem("give budgets (-B TOKENS,…), or --budget-penalty-coef 0 to do without lengths")
    console.require_writable(output, compresses=True)
    from budget_cli.analysis import grid, verdict
    from budget_cli.analysis.checks.catalogue import THRESHOLDS
    from budget_cli.cli import outcome
    from budget_cli.cli.session import as_typed, find, placed, scanned, uncounted, watch_of, with_those_there
    from budget_cli.evidence.counters import FEW
    from budget_cli.groups.moments import Layout
    from budget_cli.records.columns import FIRST_TEN, RejectionLimit
    from budget_cli.scanning import summary
    from budget_cli.schema.fields import Fields
    from budget_cli.sources import compression

    allowed, in_percent = verdict.parse_max_errors(max_errors)
    allowance = verdict.Allowance(allowed, in_percent, allow_truncated_tail, allow_empty)
    budgets = () if token_budget is None else grid.parse_budgets("--token-budget", token_budget)
    fields = Fields(needs_length=budget_penalty_coef != 0, needs_log_probs=kl_coef != 0, extras=(FINISH_REASON,))
    mappings, fields = as_typed(fields, field, reward_weights, group)
    compressed = compression.compressor(output or "")
    found = find(files, output)
    fields = placed(found, fields, mappings, preset, presets or [], quiet, in_full=True)
    fields = with_those_there(found, fields, [FINISH_REASON])
    watch = watch_of(budgets, THRESHOLDS, per_prompt=False)
    unchecked = uncounted(found, watch)
    scan = scanned(
        found,
        fields,
        budgets,
        max_line_bytes,
        jobs,
        quiet,
        verbose,
        apart=True,
        watch=watch,
        keep=RejectionLimit(FIRST_TEN.first, FEW),
        engine=engine,
    )
    if unchecked:
        scan.notes.append(f"check cannot take the result: {unchecked}")
    reasons = outcome.reasons_to_fail(scan, allowance)
    with console.sink(output) as put:
        for piece in compressed(summary.write(scan, fields, Layout(budgets), watch)):
            put(piece)
    outcome.tell(scan, reasons, on_screen=False, quiet=quiet, most=None if verbose else FIRST_TEN.first)
    return outcome.exit_code(scan, reasons)
