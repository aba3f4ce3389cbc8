"""`over_budget.fraction > 0.2` and a result → passed or not. A gate fails the run when its condition is true.

Gates are parsed and checked against the result's own names before anything is read. A missing number fails every gate.
"""

import math
import operator
import re
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from typing import NamedTuple

from budget_cli.errors import UsageProblem

OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}
FORM = r"\s*([A-Za-z_][\w.-]*)\s*(<=|>=|==|!=|<|>)\s*(\S+)\s*"


class Gate(NamedTuple):
    """Fails where the number at `path` compares with `bound` as written."""

    expression: str
    path: str
    compare: str
    bound: float

    def passes(self, value: float | None) -> bool:
        """True if this value passes; a missing number never does."""
        if value is None or math.isnan(value):
            return False
        return not OPERATORS[self.compare](value, self.bound)


class GateResult(NamedTuple):
    """A gate and the (unrounded) number that it was evaluated on."""

    expression: str
    value: float | None
    passed: bool

    def __str__(self) -> str:
        value = "null, which fails every gate" if self.value is None else f"{self.value:.6g}"
        return f"it is {value}"


def evaluate(gates: Iterable[Gate], numbers: Callable[[str], Iterable[float | None]]) -> list[list[GateResult]]:
    """Evaluate each gate on each result.

    Args:
        gates: what must not hold.
        numbers: dotted path → that number of every result: of one loss, of each row of a breakdown, of each cell.

    Returns:
        For each gate, one `GateResult` per result.
    """
    return [[GateResult(gate.expression, value, gate.passes(value)) for value in numbers(gate.path)] for gate in gates]


def parse(expressions: Sequence[str], names: Sequence[str]) -> list[Gate]:
    """Parse the expressions of gates on a result that has these numbers.

    Raises:
        UsageProblem: an expression is not NAME OPERATOR NUMBER, or no number has that name.
    """
    return [_parsed(expression, names) for expression in expressions]


def _parsed(expression: str, names: Sequence[str]) -> Gate:
    form = re.fullmatch(FORM, expression)
    if form is None:
        raise UsageProblem(
            f"--fail-if {expression!r}: expected NAME OPERATOR NUMBER, as in 'over_budget.fraction > 0.2'"
        )
    path, compare, bound = form.groups()
    if path not in names:
        close = get_close_matches(path, names, n=1)
        hint = f" (did you mean {close[0]}?)" if close else "; the names are those of --format json, as in length.p99"
        raise UsageProblem(f"--fail-if: no number is called {path!r}{hint}")
    number = float(bound) if re.fullmatch(r"[-+]?[0-9]*\.?[0-9]+([eE][-+]?[0-9]+)?", bound) else math.nan
    if not math.isfinite(number):
        raise UsageProblem(f"--fail-if {expression!r}: expected a finite number after {compare}, found {bound!r}")
    return Gate(expression, path, compare, number)
