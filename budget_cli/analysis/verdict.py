"""A scan's counts and the gates → pass or fail: what an exit code of 0 stands for."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from budget_cli.analysis.gates import Verdict
from budget_cli.errors import UsageProblem
from budget_cli.reading.columns import Rejection, Tally

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
    reasons = [too_many] if too_many else []
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


def nowhere(tally: Tally, rejections: Sequence[Rejection]) -> Rejection | None:
    """The rejection that stands for all, where every record lacks the same field: one message says more than ten."""
    alike = {(rejection.code, rejection.field) for rejection in rejections}
    if tally.used or len(alike) != 1 or tally.by_code["missing"] != tally.read - tally.skipped or tally.read < 2:
        return None
    return rejections[0]


def _shown(value: float | None) -> str:
    return "null, which no gate passes" if value is None else f"{value:.6g}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
