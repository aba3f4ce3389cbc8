"""`over_budget.fraction > 0.2` and a result → passed or not. A gate states what must not be.

Parsed and checked against the result's own names before anything is read. A number that does not exist passes no gate.
"""

import math
import operator
import re
from collections.abc import Callable, Sequence
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
FORM = re.compile(r"\s*([A-Za-z_][\w.]*)\s*(<=|>=|==|!=|<|>)\s*(\S+)\s*")


class Gate(NamedTuple):
    """Fails when the number at `path` compares as written."""

    expression: str
    path: str
    compare: str
    bound: float

    def passes(self, value: float | None) -> bool:
        """Whether this value passes; what does not exist never does."""
        if value is None or math.isnan(value):
            return False
        return not OPERATORS[self.compare](value, self.bound)


class Verdict(NamedTuple):
    """A gate and what it said; `value` is unrounded."""

    expression: str
    value: float | None
    passed: bool


def parse(expressions: Sequence[str], names: Sequence[str]) -> list[Gate]:
    """The gates that these expressions write, over a result that has these numbers.

    Raises:
        UsageProblem: not of the form NAME OPERATOR NUMBER, or no number of that name.
    """
    return [_parsed(expression, names) for expression in expressions]


def _parsed(expression: str, names: Sequence[str]) -> Gate:
    form = FORM.fullmatch(expression)
    if form is None:
        raise UsageProblem(
            f"--fail-if {expression!r}: expected NAME OPERATOR NUMBER, as in 'over_budget.fraction > 0.2'"
        )
    path, compare, bound = form.groups()
    if path not in names:
        from difflib import get_close_matches

        close = get_close_matches(path, names, n=1)
        hint = f" (did you mean {close[0]}?)" if close else "; the names are those of --format json, as in length.p99"
        raise UsageProblem(f"--fail-if: no number is called {path!r}{hint}")
    number = float(bound) if re.fullmatch(r"[-+]?[0-9]*\.?[0-9]+([eE][-+]?[0-9]+)?", bound) else math.nan
    if not math.isfinite(number):
        raise UsageProblem(f"--fail-if {expression!r}: expected a finite number after {compare}, found {bound!r}")
    return Gate(expression, path, compare, number)
