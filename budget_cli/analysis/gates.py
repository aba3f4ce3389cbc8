"""`over_budget.fraction > 0.2` and a result → passed or not. A gate fails the run when its condition is true.

Gates are parsed and checked against the result's own names before anything is read. A missing number fails every gate.
"""

import math
import operator
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from budget_cli.errors import UsageProblem, nearest

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

    def evaluate(self, value: float | None) -> "GateResult":
        """Evaluate the gate on the number at `path` of a result; a missing one never passes."""
        passed = value is not None and not math.isnan(value) and not OPERATORS[self.compare](value, self.bound)
        return GateResult(self.expression, value, passed)


class GateResult(NamedTuple):
    """A gate and the (unrounded) number that it was evaluated on."""

    expression: str
    value: float | None
    passed: bool

    def __str__(self) -> str:
        value = "null, which fails every gate" if self.value is None else f"{self.value:.6g}"
        return f"it is {value}"


def parse(expression: str, names: Sequence[str]) -> Gate:
    """Parse the expression of a gate on a result that has these numbers.

    Raises:
        UsageProblem: it is not NAME OPERATOR NUMBER, or no number has that name.
    """
    form = re.fullmatch(FORM, expression)
    if form is None:
        raise UsageProblem(
            f"--fail-if {expression!r}: expected NAME OPERATOR NUMBER, as in 'over_budget.fraction > 0.2'"
        )
    path, compare, bound = form.groups()
    if path not in names:
        near = nearest(path, names)
        hint = f" (did you mean {near}?)" if near else "; the names are those of --format json, as in length.p99"
        raise UsageProblem(f"--fail-if: no number is called {path!r}{hint}")
    number = float(bound) if re.fullmatch(r"[-+]?[0-9]*\.?[0-9]+([eE][-+]?[0-9]+)?", bound) else math.nan
    if not math.isfinite(number):
        raise UsageProblem(f"--fail-if {expression!r}: expected a finite number after {compare}, found {bound!r}")
    return Gate(expression, path, compare, number)
