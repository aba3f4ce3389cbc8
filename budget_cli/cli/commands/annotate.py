"""`budget-cli annotate FILES…`: the records, each with its terms of the loss."""

import contextlib
import os
from typing import Annotated

import typer

from budget_cli.cli import console, objectives, options, output
from budget_cli.cli.bundles import (
    AllowanceOptions,
    CoefficientOptions,
    FieldOptions,
    LocalReadingOptions,
    ObjectiveOptions,
    OutputOptions,
    OverlongOptions,
)
from budget_cli.cli.own_options import AnnotateFormat, AnnotateFormatOption
from budget_cli.errors import Exit, UsageProblem

EPILOG = """Examples:

\b
  budget-cli annotate rollouts/ -B 4096 -o annotated.jsonl
  budget-cli annotate 40.jsonl -B 4096 | jq 'select(.budget_cli.penalty > 1)'
  budget-cli annotate rollouts.parquet -B 4096 -o annotated.parquet
  budget-cli annotate rollouts/ -B 4096 -f parquet -o responses.parquet
  zcat 40.jsonl.gz | budget-cli annotate -B 4096 | gzip >annotated.jsonl.gz

Exit codes: 0 verdict pass, 1 verdict fail, 2 usage error, 3 input or output error, 70 bug,
71 out of memory.
"""
Rejects = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        rich_help_panel="Output",
        show_default=False,
        help="Write the rejected lines to FILE, unchanged.",
    ),
]


def command(
    *,
    context: typer.Context,
    files: options.Files = None,
    coefficients: CoefficientOptions,
    overlong: OverlongOptions,
    objective: ObjectiveOptions,
    fields: FieldOptions,
    format: AnnotateFormatOption = AnnotateFormat.RECORDS,
    rejects: Rejects = None,
    allowance: AllowanceOptions,
    reading: LocalReadingOptions,
    to: OutputOptions,
) -> Exit:
    """Add to each record its terms of the loss.

    Each record gets the key budget_cli: {penalty, adjusted_reward, baseline, advantage, log_ratio, loss}, unrounded.
    All its other bytes and the order of the records stay the same. A record of a whole prompt gets arrays; in a list of
    samples, each sample gets the key. An existing value of the key is replaced. Blank lines and lines without samples
    are passed through.

    Rejected records are left out of the output; --rejects saves them. The input is read twice, so standard input goes
    to a temporary file ($TMPDIR). If any bytes cannot be read, nothing is written. Rows of Parquet become JSON lines,
    or Parquet again, with a column of the terms, if the output's name ends in .parquet.
    With --format csv, jsonl or parquet the result is a table instead: a row per response, with its place and numbers.
    """
    asked = objectives.asked(context, coefficients, overlong, objective)
    output.require_writable(to.output)
    if format is AnnotateFormat.PARQUET:
        console.require_no_terminal(to.output, "Parquet", "responses.parquet")
    output.require_writable(rejects, "--rejects")
    if rejects is not None and to.output is not None and os.path.realpath(rejects) == os.path.realpath(to.output):
        raise UsageProblem(f"--rejects {rejects}: the same file as -o")
    is_table = format is not AnnotateFormat.RECORDS
    if is_table and rejects is not None:
        raise UsageProblem(f"--rejects {rejects}: goes with the records themselves: leave out --format {format.value}")
    from budget_cli.analysis.left_out import described  # numpy from here on: not for --help
    from budget_cli.cli.annotating import annotated
    from budget_cli.cli.inputs import require_records, require_written_as, rereadable
    from budget_cli.cli.progress import progress_over
    from budget_cli.cli.session import ScanSpec, Session, counted_twice, needed_fields
    from budget_cli.records.insertion import Insertion
    from budget_cli.rendering.annotate import where_rejected
    from budget_cli.scanning.annotate import KEY, LINES

    session = Session(fields, allowance, reading, to, needed_fields(*asked.needs), asked.objective)
    session.find(files, rejects)
    with contextlib.ExitStack() as stack:
        session.found = stack.enter_context(rereadable(session.found))
        require_records(session.found, "annotate")
        forms = LINES if is_table else require_written_as(session.found, to.output, rejects)
        session.place()
        if not is_table:  # refuse what cannot be annotated before anything is read
            Insertion(KEY, session.fields, session.found[0].name)
        twice = counted_twice(asked.at.budget_penalty_coef)
        scan = session.scan(asked.budgets, ScanSpec(keep_responses=session.fields.has_rollouts, if_penalised=twice))
        if scan.problems:
            code = session.finish([], on_screen=False)
            console.say("nothing was annotated: a baseline needs all of its prompt's responses")
            return code
        put = stack.enter_context(output.sink(to.output))
        put_rejects = None if rejects is None else stack.enter_context(output.sink(rejects))
        unheld = 0
        with progress_over(session.found, to.quiet or (to.output is None and console.shows_result())) as update:
            for part in annotated(session, asked, format, forms, reading.jobs, update):
                put(part.annotated)
                unheld += part.unheld
                if put_rejects is not None:
                    put_rejects(part.rejects)
    reasons = session.reasons()
    if scan.tally.rejected and not is_table and not to.quiet:
        console.say(where_rejected(scan.tally, rejects, unheld, session.fields.document))
    if scan.tally.left_out and not to.quiet:
        where = "left out" if is_table else "left out, so in the output without terms"
        console.say(f"{where}: {described(scan.tally.left_out)}")
    return session.finish(reasons, on_screen=False)
