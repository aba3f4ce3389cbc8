"""A scan's counts and the gates → pass, or the reasons to fail: what an exit code of 0 stands for."""

import re
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from budget_cli.analysis.gates import GateResult
from budget_cli.analysis.numbers import counted
from budget_cli.errors import UsageProblem
from budget_cli.records.columns import Rejection, Tally

NEEDED_BY = {
    "log_prob": "--kl-coef",
    "old_log_prob": "--kl-coef",
    "response_length": "--budget-penalty-coef",
}
TORN = "truncated-tail"


class Reason(NamedTuple):
    """Why the verdict is fail."""

    kind: Literal["incomplete", "rejected", "empty", "gate", "finding", "result"]
    text: str


class Allowance(NamedTuple):
    """What may be wrong with a dump that still passes."""

    rejected: float = 0  # records, or their share in percent
    in_percent: bool = False
    truncated_tail: bool = False
    empty: bool = False


def parse_max_errors(text: str) -> tuple[float, bool]:
    """Parse `N` records or `P%` of them; True if it is the latter.

    Raises:
        UsageProblem: it is neither.
    """
    form = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(%?)", text.strip())
    if form is None or (not form[2] and "." in form[1]) or (form[2] and float(form[1]) > 100):
        raise UsageProblem(f"--max-errors {text!r}: expected a number of records, as in 10, or a share, as in 0.5%")
    return float(form[1]), bool(form[2])


def incomplete_reasons(problems: Iterable[str]) -> list[Reason]:
    """Return a reason per source that could not be read to its end."""
    return [Reason("incomplete", problem) for problem in problems]


def reasons_to_fail(
    tally: Tally,
    rejections: Sequence[Rejection],
    incomplete: Iterable[str],
    allowance: Allowance,
) -> list[Reason]:
    """Return why reading alone makes the verdict fail; nothing if it passes.

    Args:
        tally: the counts of the records.
        rejections: the first of them, as evidence.
        incomplete: sources that could not be read to their end, and why.
        allowance: what may be wrong.
    """
    reasons = incomplete_reasons(incomplete)
    if reasons:  # "no records at all" is not what is wrong with a file that was not read
        allowance = allowance._replace(empty=True)
    nowhere = missing_everywhere(tally, rejections)
    if nowhere is not None:
        reasons.append(Reason("rejected", nowhere))
    too_many = too_many_rejected(tally, allowance)
    if too_many:
        reasons += [Reason("rejected", text) for text in (too_many, *_missing_in_some(tally))]
    return reasons + nothing_used(tally, allowance)


def failed_gates(results: Iterable[GateResult]) -> list[Reason]:
    """Return a reason per gate that does not pass."""
    return [Reason("gate", f"gate {result.expression}: {result}") for result in results if not result.passed]


def too_many_rejected(tally: Tally, allowance: Allowance) -> str | None:
    """Return how many records were rejected, if that is more than the allowance."""
    rejected = tally.rejected - (tally.by_code[TORN] if allowance.truncated_tail else 0)
    limit = tally.read * allowance.rejected / 100 if allowance.in_percent else allowance.rejected
    return f"{counted(rejected, 'record')} of {tally.read:,} rejected" if rejected > limit else None


def nothing_used(tally: Tally, allowance: Allowance) -> list[Reason]:
    """Return the reason that there is nothing to judge, unless that is allowed."""
    if tally.used or allowance.empty:
        return []
    left_out = f": {counted(tally.left_out.total(), 'sample')} left out" if tally.left_out else ""
    return [Reason("empty", "no records at all" if not tally.read else f"no record could be used{left_out}")]


def _missing_in_some(tally: Tally) -> list[str]:
    """Where some records lack a field that a coefficient needs, and that is why most were rejected: the ways out."""
    if not tally.used:
        return []
    return [
        f"{name} is missing in {tally.by_absent_field[name]:,} of {tally.read:,}: give {coefficient} 0, or"
        f" --max-errors {tally.rejected} for the other {tally.used:,}"
        for name, coefficient in NEEDED_BY.items()
        if 0 < tally.rejected <= 2 * tally.by_absent_field[name]
    ]


def missing_everywhere(tally: Tally, rejections: Sequence[Rejection]) -> str | None:
    """Return what is wrong with all records, if every one lacks the same field: one message instead of ten."""
    absent = tally.by_absent_field
    if tally.used or len(absent) != 1 or absent.total() != tally.rejected or tally.read < 2:
        return None
    first = rejections[0]
    if first.code == "missing":
        return f"{first.field} is in no record: {first.message}"
    name = next(iter(absent))
    without = f"{NEEDED_BY[name]} 0 does without it, or " if name in NEEDED_BY else ""
    return f"{first.field} is null in every record: {without}give --field {name}=PATH"
