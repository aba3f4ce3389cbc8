"""`budget-cli show FILES…`: the prompts and responses behind a number, with their texts."""

import contextlib

import typer

from budget_cli.cli import console, objectives, options, output
from budget_cli.cli.bundles import (
    AllowanceOptions,
    CoefficientOptions,
    FieldOptions,
    LocalReadingOptions,
    ObjectiveOptions,
    OverlongOptions,
    ScreenOptions,
    defaults,
    is_typed,
)
from budget_cli.cli.own_options import ShowFormat, ShowOptions
from budget_cli.errors import Exit, UsageProblem

EPILOG = """Examples:

\b
  budget-cli show rollouts/ -B 4096 --top 3 --by length
  budget-cli show rollouts/ -B 4096 --prompt algebra-017 --full
  budget-cli show rollouts/ -B 4096 --finding phantom-advantage
  budget-cli show 40.jsonl -B 4096 -f json | jq '.prompts[].shown[].text'

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
    show: ShowOptions,
    fields: FieldOptions,
    allowance: AllowanceOptions,
    reading: LocalReadingOptions,
    screen: ScreenOptions,
) -> Exit:
    """Show prompts and responses, with their texts.

    Shows the responses that rank first (--top, --by), all responses to a prompt (--prompt), or the prompts behind a
    finding of check (--finding): the question, and for each response its text, reward, length, penalty, advantage and
    log-ratio, its place in the files, and its worst tokens where there are log-probs of tokens.

    The input is read twice, so standard input goes to a temporary file ($TMPDIR).
    """
    asked = objectives.asked(context, coefficients, overlong, objective)
    at = asked.at
    chosen = [flag for flag, given in (("--prompt", show.prompt), ("--finding", show.finding)) if given]
    ranks = [f"--{name}" for name in ("top", "by") if is_typed(context, name)]
    if len(chosen) > 1 or (chosen and ranks):
        raise UsageProblem(f"{[*chosen, *ranks][0]} and {[*chosen, *ranks][1]} both choose what is shown: give one")
    output.require_writable(screen.output)
    from budget_cli.analysis.show import RANKS  # numpy from here on: not for --help
    from budget_cli.cli import shown
    from budget_cli.cli.inputs import require_records, rereadable
    from budget_cli.cli.progress import progress_over
    from budget_cli.cli.session import Session, needed_fields
    from budget_cli.rendering import show as rendering
    from budget_cli.scanning import show as second_pass

    needs = needed_fields(*asked.needs, shown.EXTRAS, compares_tokens=show.finding is not None)
    session = Session(fields, allowance, reading, screen, needs, asked.objective)
    session.find(files)
    with contextlib.ExitStack() as stack:
        session.found = stack.enter_context(rereadable(session.found))
        require_records(session.found, "show")
        session.place(optional=shown.EXTRAS)
        scan, finding = shown.first_pass(session, at, show.finding)
        if scan.problems or not scan.groups.responses:
            return session.finish(session.reasons(), on_screen=False)
        term, by_size = RANKS[show.by.value]
        if show.prompt:
            wanted = second_pass.Wanted(shown.known_prompts(scan.groups.keys(), show.prompt))
        elif finding is not None:
            wanted = second_pass.Wanted(finding.prompts)
        else:
            wanted = second_pass.Wanted(term=term, by_size=by_size, most=show.top)
        plan = shown.plan_of(session, scan, at, wanted)
        with progress_over(session.found, screen.quiet) as update:
            found = second_pass.show(session.found, plan, scan, reading.jobs, update)
    answer = shown.answer(session.fields, scan.groups, at, found, wanted, finding, asked.objective)
    if show.format is ShowFormat.JSON:
        output.write(rendering.json(answer, show.precision), screen.output)
    else:
        answer = answer._replace(defaults=defaults(context))
        lines = rendering.screen(answer, show.precision, console.columns(), show.full)
        console.page(console.draw(lines, screen), screen.output)
    return session.finish(session.reasons(), on_screen=False)
