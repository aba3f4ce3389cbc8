"""A scan and what it may have wrong with it → the verdict's reasons, and what is told on standard error."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from budget_cli.analysis import verdict
from budget_cli.analysis.gates import Verdict
from budget_cli.analysis.loss import Loss
from budget_cli.analysis.verdict import Allowance
from budget_cli.cli import console
from budget_cli.errors import Exit
from budget_cli.groups.groups import Groups
from budget_cli.records.columns import Rejection
from budget_cli.scanning.state import LINES_PER_SOURCE, Scan

if TYPE_CHECKING:
    from budget_cli.analysis.checks.findings import CheckInput


def reasons_to_fail(scan: Scan, allowance: Allowance, gates: Sequence[Verdict] = ()) -> list[str]:
    """Why the verdict is fail, in words; empty: it is pass."""
    reasons = [str(problem) for problem in scan.problems]
    nowhere = verdict.nowhere(scan.tally, scan.rejections)
    if nowhere is not None:
        reasons.append(nowhere)
    if scan.problems:  # "no records at all" is not what is wrong with a file that was not read
        allowance = allowance._replace(empty=True)
    return reasons + verdict.reasons_to_fail(scan.tally, allowance, gates)


def told(scan: Scan, most: int | None = None) -> list[Rejection]:
    """The rejections that are shown, so many at most: none, where one reason stands for all of them."""
    return scan.rejections[:most] if verdict.nowhere(scan.tally, scan.rejections) is None else []


def subject(
    scan: Scan,
    groups: Groups,
    loss: Loss,
    thresholds: Mapping[str, float],
    texts: bool | None = None,
    keys: bool = False,
) -> "CheckInput":
    """What the checks look at.

    Args:
        scan: which was told what to watch for.
        groups: its groups, with the budget of the loss and no other.
        loss: of these groups.
        thresholds: of the checks, all of them.
        texts: whether there are any; None: they were not asked for.
        keys: whether keys that occur twice were looked for.
    """
    from budget_cli.analysis.checks.findings import CheckInput

    seen = scan.observations
    assert seen is not None
    return CheckInput(
        loss,
        groups,
        seen.counters,
        seen.per_prompt,
        scan.tally,
        scan.rejections,
        scan.sources,
        scan.first_rows,
        thresholds,
        texts,
        LINES_PER_SOURCE,
        keys,
    )


def tell(scan: Scan, reasons: list[str], on_screen: bool, quiet: bool, most: int | None = None) -> None:
    """On standard error: what went wrong, where the result itself is not for people (`on_screen`).

    Args:
        most: rejections shown; None: as many as were kept.
    """
    if not quiet:
        for note in scan.notes:
            console.say(note)
    if not on_screen or not console.shows_result():
        for problem in scan.problems:
            console.say(str(problem))
    if on_screen:
        return
    rejections = told(scan, most)
    for rejection in [] if quiet else rejections:
        console.say(str(rejection))
    more = scan.tally.rejected - len(rejections)
    if rejections and more > 0 and not quiet:
        console.say(f"and {more:,} more rejected records (-v shows all)")
    for reason in reasons:
        if reason not in map(str, scan.problems):
            console.say(f"fail: {reason}")


def exit_code(scan: Scan, reasons: list[str]) -> Exit:
    """What the command leaves with."""
    if scan.problems:
        return Exit.IO
    return Exit.FAIL if reasons else Exit.PASS
