"""`budget-cli summarize FILES… -o part.jsonl`: a mergeable summary that stands in for the records."""

from typing import Annotated

import typer

from budget_cli.analysis.grid import parse_budgets
from budget_cli.cli import objectives, options, output
from budget_cli.cli.bundles import AllowanceOptions, FieldOptions, ObjectiveOptions, OutputOptions, ReadingOptions
from budget_cli.errors import Exit, UsageProblem

EPILOG = """Examples:

\b
  budget-cli summarize step-7/ -B 1024,4096 -o step-7.summary.jsonl
  ls *.jsonl | xargs -P 8 -I{} budget-cli summarize {} -B 4096 -o parts/{}.gz
  budget-cli loss parts -B 4096
  budget-cli check parts -B 4096

A summary answers for every β and α, but only for the budgets that it was made with. Several summaries give the same
result as a single scan of all their files, in the order in which they are given.

Exit codes: 0 verdict pass, 1 verdict fail (the summary is written and says so), 2 usage error,
3 input or output error, 70 bug, 71 out of memory.
"""
TokenBudgets = Annotated[
    str | None,
    typer.Option(
        "--token-budget",
        "-B",
        metavar="TOKENS,…",
        show_default=False,
        help="Token budgets that the summary can answer for: 1024,2048, or a range as in sweep.",
    ),
]


def command(
    *,
    context: typer.Context,
    files: options.Files = None,
    token_budget: TokenBudgets = None,
    budget_penalty_coef: options.BudgetPenaltyCoef = 0.01,
    kl_coef: options.KlCoef = 0.1,
    objective: ObjectiveOptions,
    fields: FieldOptions,
    allowance: AllowanceOptions,
    reading: ReadingOptions,
    to: OutputOptions,
) -> Exit:
    """Write a mergeable summary that stands in for the records.

    Summaries are for use across machines: JSON lines with the moments of every prompt and the evidence for the checks.
    All commands that need no individual records accept them in place of dumps. The coefficients only determine which
    fields a record needs: with --kl-coef 0 no log-probs, with --budget-penalty-coef 0 neither lengths nor budgets. If
    the name after -o ends in .gz, .bz2, .xz or .zst, the summary is compressed.
    """
    trained = objectives.chosen(context, objective)
    if budget_penalty_coef and token_budget is None and not trained.has_own_budgets:
        raise UsageProblem("give budgets (-B TOKENS,…), or --budget-penalty-coef 0 to do without lengths")
    output.require_writable(to.output, compresses=True)
    from budget_cli.cli.summarizing import summarized  # numpy from here on: not for --help
    from budget_cli.records.columns import FIRST_TEN
    from budget_cli.sources.compression import compressor

    budgets = () if token_budget is None else parse_budgets("--token-budget", token_budget)
    if trained.has_own_budgets:
        if len(budgets) > 1:
            raise UsageProblem(f"-B {token_budget}: records have budgets of their own: give one B, for those without")
        trained, budgets = trained._replace(otherwise=next(iter(budgets), None)), ()
    needs = objectives.needs_length(trained, budget_penalty_coef), bool(kl_coef)
    compressed = compressor(to.output or "")
    session, lines = summarized(files, budgets, trained, needs, fields, allowance, reading, to)
    with output.sink(to.output) as put:
        for piece in compressed(lines):
            put(piece)
    reasons = session.reasons()
    return session.finish(reasons, on_screen=False, most=None if to.verbose else FIRST_TEN.first)
