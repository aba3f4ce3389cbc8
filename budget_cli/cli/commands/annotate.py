"""`budget-cli annotate FILES…`: the records back, each with what the loss makes of it."""

import contextlib
import os
from typing import TYPE_CHECKING, Annotated

import typer

from budget_cli.cli import console, options
from budget_cli.errors import Exit, UsageProblem

if TYPE_CHECKING:
    from budget_cli.records.columns import Tally

EPILOG = """Examples:

\b
  budget-cli annotate rollouts/ -B 4096 -o annotated.jsonl
  budget-cli annotate 40.jsonl -B 4096 | jq -c 'select(.budget_cli.advantage > 1)'
  zcat 40.jsonl.gz | budget-cli annotate -B 4096 --rejects rejected.jsonl | gzip >annotated.jsonl.gz

Exit: 0 all read and all held, 1 verdict fail, 2 usage, 3 input or output, 70 a bug.
"""
Rejects = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        rich_help_panel="Output",
        show_default=False,
        help="Write the rejected lines there, as they were.",
    ),
]


@console.exits
def command(
    files: options.Files = None,
    token_budget: options.TokenBudget = None,
    budget_penalty_coef: options.BudgetPenaltyCoef = 0.01,
    kl_coef: options.KlCoef = 0.1,
    field: options.FieldMappings = None,
    reward_weights: options.RewardWeights = None,
    group: options.Group = None,
    preset: options.PresetName = None,
    presets: options.PresetFiles = None,
    rejects: Rejects = None,
    max_errors: options.MaxErrors = "0",
    max_line_bytes: options.MaxLineBytes = 64 << 20,
    allow_truncated_tail: options.AllowTruncatedTail = False,
    allow_empty: options.AllowEmpty = False,
    jobs: options.Jobs = None,
    output: options.Output = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> Exit:
    """The records back, each with its own terms of the loss.

    Each record gets the key budget_cli: {penalty, adjusted_reward, baseline, advantage, log_ratio, loss}, unrounded.
    Every other byte of it stays as it was, and so does the order. A record that holds a whole prompt gets arrays; in a
    list of samples each sample gets the key. Where the key is there already, its value is replaced. Blank lines and
    lines that are no samples pass as they are.

    Rejected records are not in the output: --rejects keeps them. The input is read twice, so standard input goes to a
    temporary file ($TMPDIR). Where not all bytes can be read, nothing is written.
    """
    options.require_budget(token_budget, budget_penalty_coef)
    console.require_writable(output)
    console.require_writable(rejects, "--rejects")
    if rejects is not None and output is not None and os.path.realpath(rejects) == os.path.realpath(output):
        raise UsageProblem(f"--rejects {rejects}: the same file as -o")
    from budget_cli.analysis import verdict
    from budget_cli.cli import outcome
    from budget_cli.cli.session import as_typed, find, placed, progress_over, require_records, rereadable, scanned
    from budget_cli.groups.moments import Layout
    from budget_cli.records.columns import ALL_REJECTIONS
    from budget_cli.records.insertion import Insertion
    from budget_cli.records.jsonl import Limits
    from budget_cli.scanning import annotate
    from budget_cli.scanning.state import Plan
    from budget_cli.schema.fields import Fields
    from budget_cli.sources.local import Kind

    allowed, in_percent = verdict.parse_max_errors(max_errors)
    allowance = verdict.Allowance(allowed, in_percent, allow_truncated_tail, allow_empty)
    fields = Fields(needs_length=budget_penalty_coef != 0, needs_log_probs=kl_coef != 0)
    mappings, fields = as_typed(fields, field, reward_weights, group)
    budgets = () if token_budget is None else (token_budget,)
    with contextlib.ExitStack() as stack:
        found = stack.enter_context(rereadable(find(files, output, rejects)))
        require_records(found, "annotate")
        for source in found:
            if source.kind is Kind.PARQUET:
                wanted = "only records that are lines can be given back as they were"
                raise UsageProblem(f"{source.name}: this is Parquet: {wanted}")
        fields = placed(found, fields, mappings, preset, presets or [], quiet)
        Insertion(annotate.KEY, fields)  # what cannot be annotated is said before anything is read
        scan = scanned(found, fields, budgets, max_line_bytes, jobs, quiet, verbose)
        if scan.problems:
            outcome.tell(scan, [], on_screen=False, quiet=quiet)
            console.say("nothing was annotated: a baseline needs all of its prompt's responses")
            return Exit.IO
        plan = Plan(fields, Layout(budgets), Limits(max_line_bytes, ALL_REJECTIONS))
        terms = annotate.AnnotationPlan(plan, scan.groups, budget_penalty_coef, kl_coef)
        put = stack.enter_context(console.sink(output))
        put_rejects = None if rejects is None else stack.enter_context(console.sink(rejects))
        unheld = 0
        with progress_over(found, quiet or (output is None and console.shows_result())) as update:
            for part in annotate.annotate(found, terms, scan, jobs, update):
                put(part.annotated)
                unheld += part.unheld
                if put_rejects is not None:
                    put_rejects(part.rejects)
    reasons = outcome.reasons_to_fail(scan, allowance)
    if scan.tally.rejected and not quiet:
        _say_where(scan.tally, rejects, unheld)
    outcome.tell(scan, reasons, on_screen=False, quiet=quiet)
    return outcome.exit_code(scan, reasons)


def _say_where(tally: "Tally", rejects: str | None, unheld: int) -> None:
    """What became of the records that are not in the output."""
    where = "are not in the output; --rejects FILE keeps them"
    if rejects is not None:
        rest = f", but for {unheld:,} too long to be held" if unheld else ""
        where = f"are in {rejects} instead of the output{rest}"
    console.say(f"{tally.rejected:,} of {tally.read:,} records {where}")
