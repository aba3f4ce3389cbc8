"""A scan's counts and the gates → pass or fail: what an exit code of 0 stands for."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from budget_cli.analysis.gates import Verdict
from budget_cli.errors import UsageProblem
from budget_cli.records.columns import Rejection, Tally

NEEDED_BY = {
    "log_prob": "--kl-coef",
    "old_log_prob": "--kl-coef",
    "response_length": "--budget-penalty-coef",
}
TORN = "truncated-tail"


class Allowance(NamedTuple):
    """What a passing dump may have wrong with it."""

    rejected: float = 0  # records, or their share in percent
    in_percent: bool = False
    truncated_tail: bool = False
    empty: bool = False


def parse_max_errors(text: str) -> tuple[float, bool]:
    """`N` records or `P%` of them, and whether it is the latter.

    Raises:
        UsageProblem: neither.
    """
    form = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(%?)", text.strip())
    if form is None or (not form[2] and "." in form[1]) or (form[2] and float(form[1]) > 100):
        raise UsageProblem(f"--max-errors {text!r}: expected a number of records, as in 10, or a share, as in 0.5%")
    return float(form[1]), bool(form[2])


def reasons_to_fail(tally: Tally, allowance: Allowance, gates: Sequence[Verdict]) -> list[str]:
    """Why the verdict is fail, in words; empty: it is pass."""
    too_many = too_many_rejected(tally, allowance)
    reasons = [too_many, *_without(tally)] if too_many else []
    return reasons + nothing_used(tally, allowance) + failed_gates(gates)


def failed_gates(gates: Sequence[Verdict]) -> list[str]:
    """What each gate that does not hold found."""
    return [f"gate {gate.expression}: it is {_shown(gate.value)}" for gate in gates if not gate.passed]


def too_many_rejected(tally: Tally, allowance: Allowance) -> str | None:
    """How many records were rejected, if that is more than may be."""
    counted = tally.rejected - (tally.by_code[TORN] if allowance.truncated_tail else 0)
    limit = tally.read * allowance.rejected / 100 if allowance.in_percent else allowance.rejected
    return f"{_count(counted, 'record')} of {tally.read:,} rejected" if counted > limit else None


def nothing_used(tally: Tally, allowance: Allowance) -> list[str]:
    """That there is nothing to judge, if there should be."""
    if tally.used or allowance.empty:
        return []
    return ["no records at all" if not tally.read else "no record could be used"]


def _without(tally: Tally) -> list[str]:
    """Where only some records lack what a coefficient needs: how many, and every way out."""
    if not tally.used:
        return []
    return [
        f"{name} is missing in {tally.by_absent_field[name]:,} of {tally.read:,}: give {coefficient} 0, or"
        f" --max-errors {tally.rejected} for the other {tally.used:,}"
        for name, coefficient in NEEDED_BY.items()
        if tally.by_absent_field[name]
    ]


def nowhere(tally: Tally, rejections: Sequence[Rejection]) -> str | None:
    """What is wrong with all, where every record lacks the same field: one message says more than ten."""
    absent = tally.by_absent_field
    if tally.used or len(absent) != 1 or absent.total() != tally.read - tally.skipped or tally.read < 2:
        return None
    first = rejections[0]
    if first.code == "missing":
        return f"{first.field} is in no record: {first.message}"
    name = next(iter(absent))
    without = f"{NEEDED_BY[name]} 0 does without it, or " if name in NEEDED_BY else ""
    return f"{first.field} is null in every record: {without}give --field {name}=PATH"


def _shown(value: float | None) -> str:
    return "null, which no gate passes" if value is None else f"{value:.6g}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
