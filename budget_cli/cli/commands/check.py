"""`budget-cli check FILES…`: find what is wrong or suspicious in a dump."""

import typer

from budget_cli.cli import console, objectives, options, output
from budget_cli.cli.bundles import (
    CheckScreenOptions,
    FieldOptions,
    ObjectiveOptions,
    OverlongOptions,
    ReadingOptions,
    VerdictOptions,
)
from budget_cli.cli.own_options import CheckFormat, CheckFormatOption, CheckOptions
from budget_cli.errors import Exit

EPILOG = """Examples:

\b
  budget-cli check rollouts/ -B 4096
  budget-cli check rollouts/ -B 4096 --text --fail-on warning
  budget-cli check new/ --baseline old.json --tolerance 5% -f json -o new.json
  budget-cli check rollouts/ --select groups --ignore singleton,one-prompt
  budget-cli explain phantom-advantage

--text reads prompt_text and response_text (found by presets, else with --field) to detect one text under two ids or
two texts under one id, lengths in characters or turns, and responses with equal texts. It takes longer.

FILES can be summaries, alone or together with dumps: checks that need individual records are then listed as skipped.

Exit codes: 0 no finding as severe as --fail-on, 1 verdict fail, 2 usage error, 3 input or output error, 70 bug,
71 out of memory.
"""


def command(
    *,
    context: typer.Context,
    files: options.Files = None,
    token_budget: options.TokenBudget = None,
    budget_penalty_coef: options.BudgetPenaltyCoef = 0.01,
    overlong: OverlongOptions,
    objective: ObjectiveOptions,
    checks: CheckOptions,
    fields: FieldOptions,
    format: CheckFormatOption = CheckFormat.TABLE,
    verdict: VerdictOptions,
    reading: ReadingOptions,
    screen: CheckScreenOptions,
) -> Exit:
    """Find what is wrong or suspicious in a dump.

    Examines groups, budget, lengths, log-probs, ids, and records that cannot be used, and says how far two policies are
    apart. Without a budget (-B), checks that need one are listed as skipped.
    """
    if checks.explain is not None:
        return console.show(_explanation(checks.explain), screen.output)
    token_budget, budget_penalty_coef = overlong.coefficients(context, token_budget, budget_penalty_coef)
    trained = objectives.chosen(context, objective, overlong.overlong_buffer)
    trained, token_budget = objectives.with_own_budgets(trained, token_budget)
    output.require_writable(screen.output)
    from budget_cli.cli.checking import checked  # numpy from here on: not for --help
    from budget_cli.rendering import check

    at = token_budget, budget_penalty_coef
    session, result = checked(files, at, trained, checks, fields, verdict, reading, screen)
    if format is CheckFormat.GITHUB:
        console.append_step_summary(check.markdown(result))
    on_screen = format is CheckFormat.TABLE
    lines = check.screen(result, screen.verbose, console.columns())
    shown = console.draw(lines, screen) if on_screen else check.FORMS[format](result)
    output.write(shown, screen.output)
    return session.finish(result.reasons, on_screen, most=0)


def _explanation(code: str) -> str:
    """Return the section on a check, or the page of all checks."""
    from budget_cli.analysis.checks.selection import check_called
    from budget_cli.rendering import explain

    return explain.all_checks() if code == "all" else explain.check_section(check_called(code))
