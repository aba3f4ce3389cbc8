"""`512,1024` or `0.0001:0.1:log10` → the distinct values of a coefficient, in ascending order.

The grammar is a comma-separated list of parts. A part is a number; `a:b:n`, n numbers from a to b in equal steps; or
`a:b:logn`, n numbers from a to b in equal ratios. Knows flags only by name, for messages.
"""

import math
import re
from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

from budget_cli.analysis.numbers import MOST_TOKENS, in_full
from budget_cli.errors import UsageProblem

CELLS = 1_000_000  # the most that anybody could use
RANGE = re.compile(r"([^:]*):([^:]*):(log)?([0-9]{1,9})")


GROWS_ON = "DAPO's penalty stays as it is above the maximum length, this one grows on; --objective dapo caps it"


class Grid(NamedTuple):
    """The values of B (tokens), β (reward per token) and α (reward per nat), with one cell per combination."""

    token_budget: tuple[int | None, ...]
    budget_penalty_coef: tuple[float, ...]
    kl_coef: tuple[float, ...]
    budget_factor: tuple[
        float, ...
    ] = ()  # of the budgets that records have of their own, one for each B, which is None

    @property
    def shape(self) -> tuple[int, int, int]:
        """The number of values of each coefficient."""
        return len(self.token_budget), len(self.budget_penalty_coef), len(self.kl_coef)

    @property
    def budgets(self) -> tuple[int, ...]:
        """The budgets in the form that a scan takes."""
        return tuple(budget for budget in self.token_budget if budget is not None)

    @property
    def cells(self) -> int:
        """The number of combinations."""
        return math.prod(self.shape)

    def require_sane(self) -> None:
        """Require that the grid is not too large.

        Raises:
            UsageProblem: there are too many cells.
        """
        if self.cells > CELLS:
            raise UsageProblem(f"a grid of {self.cells:,} cells, expected at most {CELLS:,}: give fewer values")

    def indices(self) -> Iterator[tuple[int, int, int]]:
        """Yield the index of every cell; B changes slowest and α fastest."""
        b, beta, alpha = map(range, self.shape)
        return product(b, beta, alpha)


class Overlong(NamedTuple):
    """A penalty in DAPO's terms (Yu et al., arXiv 2503.14476, eq. 13), and the budgets and β equivalent to it."""

    max_response_length: tuple[int, ...]  # tokens
    overlong_buffer: int  # tokens
    overlong_penalty: tuple[float, ...]  # reward at the end of the buffer
    token_budget: tuple[int, ...]  # length − buffer
    budget_penalty_coef: tuple[float, ...]  # penalty / buffer

    def explained(self, cap: int | None = None) -> str:
        """Say what the buffer stands for; `cap` is that of the penalty, if it has one."""
        budgets = ", ".join(f"{budget:,}" for budget in self.token_budget)
        betas = ", ".join(f"{beta:g}" for beta in self.budget_penalty_coef)
        return (
            f"overlong buffer of {self.overlong_buffer:,} tokens: B {budgets} tokens, β {betas} per token"
            f" ({'capped as DAPO does' if cap == self.overlong_buffer else GROWS_ON})"
        )


def own_grid(budget_factor: str, budget_penalty_coef: str | None, kl_coef: str) -> Grid:
    """Return the grid of these factors of the budgets that records have of their own, of β and α.

    Raises:
        UsageProblem: a value is not of the grammar, a factor is negative, or there are too many cells.
    """
    factors = parse_coefficients("--budget-factor", budget_factor)
    if factors[0] < 0:
        raise UsageProblem(f"--budget-factor {budget_factor!r}: expected numbers of 0 or more, found {factors[0]:g}")
    betas = parse_coefficients("--budget-penalty-coef", "0.01" if budget_penalty_coef is None else budget_penalty_coef)
    grid = Grid((None,) * len(factors), betas, parse_coefficients("--kl-coef", kl_coef), factors)
    grid.require_sane()
    return grid


def parse_grid(token_budget: str | None, budget_penalty_coef: str | None, kl_coef: str) -> Grid:
    """Return the grid of these values of B, β and α.

    Raises:
        UsageProblem: a value is not of the grammar, a penalty has no budget, or there are too many cells.
    """
    budgets = (None,) if token_budget is None else parse_budgets("--token-budget", token_budget)
    betas = parse_coefficients("--budget-penalty-coef", "0.01" if budget_penalty_coef is None else budget_penalty_coef)
    alphas = parse_coefficients("--kl-coef", kl_coef)
    if budgets == (None,) and any(betas):
        raise UsageProblem("give budgets (-B 512,1024), or --budget-penalty-coef 0 to do without; --suggest finds some")
    grid = Grid(budgets, betas, alphas)
    grid.require_sane()
    return grid


def overlong_grid(overlong: Overlong, kl_coef: str) -> Grid:
    """Return the grid of the budgets and β that an overlong buffer stands for.

    Raises:
        UsageProblem: the values of α are not of the grammar, or there are too many cells.
    """
    grid = Grid(overlong.token_budget, overlong.budget_penalty_coef, parse_coefficients("--kl-coef", kl_coef))
    grid.require_sane()
    return grid


def overlong(length: str, buffer: int, penalty: str) -> Overlong:
    """Convert DAPO's maximum lengths, buffer and penalties to budgets and β.

    Raises:
        UsageProblem: a text does not follow the grammar, or the buffer is longer than a response may be.
    """
    lengths, penalties = (
        parse_budgets("--max-response-length", length),
        parse_coefficients("--overlong-penalty", penalty),
    )
    if buffer > lengths[0]:
        raise UsageProblem(f"--overlong-buffer {buffer}: expected at most --max-response-length, {lengths[0]}")
    budgets, betas = tuple(each - buffer for each in lengths), tuple(each / buffer for each in penalties)
    return Overlong(lengths, buffer, penalties, budgets, betas)


def parse_coefficients(flag: str, text: str) -> tuple[float, ...]:
    """Parse the values of a coefficient.

    Raises:
        UsageProblem: the text does not follow the grammar, or a number is not finite.
    """
    return tuple(sorted({value for part in text.split(",") for value in _values(flag, text, part)}))


def parse_budgets(flag: str, text: str) -> tuple[int, ...]:
    """Parse numbers of tokens; those inside a range are rounded to whole numbers.

    Raises:
        UsageProblem: the text does not follow the grammar, or a number is negative, not whole or too large.
    """
    budgets = set()
    for part in text.split(","):
        values = _values(flag, text, part)
        for value in values:
            whole = round(value)
            if value < 0 or (len(values) == 1 and whole != value):
                raise UsageProblem(f"{flag} {text!r}: expected whole numbers of tokens, 0 or more, found {value:g}")
            if whole > MOST_TOKENS:
                raise UsageProblem(f"{flag} {text!r}: expected at most {MOST_TOKENS} tokens, found {value:g}")
            budgets.add(whole)
    return tuple(sorted(budgets))


def _values(flag: str, text: str, part: str) -> list[float]:
    form = RANGE.fullmatch(part.strip())
    if form is None:
        return [_parsed(flag, text, part.strip())]
    first, last, points = _parsed(flag, text, form[1]), _parsed(flag, text, form[2]), int(form[4])
    if points < 2 or not 0 < last - first < math.inf:
        raise UsageProblem(
            f"{flag} {text!r}: expected at least two points from a smaller to a larger number, found {part!r}"
        )
    if points > CELLS:
        raise UsageProblem(f"{flag} {text!r}: {points:,} points, expected at most {CELLS:,}")
    if not form[3]:
        inner = [first + (last - first) * (i / (points - 1)) for i in range(1, points - 1)]
        return [first, *(_without_noise(value, last - first) for value in inner), last]
    if first <= 0:
        raise UsageProblem(f"{flag} {text!r}: expected a range of equal ratios to begin above 0, found {first:g}")
    from_log, to_log = math.log(first), math.log(last)
    inner = [math.exp(from_log + (to_log - from_log) * (i / (points - 1))) for i in range(1, points - 1)]
    return [first, *(_without_noise(value, value) for value in inner), last]


def _without_noise(value: float, scale: float) -> float:
    """Return `value` without digits that come from rounding alone: 0.15 instead of 0.15000000000000002."""
    return round(value, max(0, 12 - math.floor(math.log10(scale))))


def _parsed(flag: str, text: str, written: str) -> float:
    try:
        value = float(written) if re.fullmatch(r"[-+]?[0-9.]+([eE][-+]?[0-9]+)?", written) else math.nan
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        wanted = "expected numbers separated by commas, a:b:n or a:b:logn"
        raise UsageProblem(f"{flag} {text!r}: {wanted}, found {written!r}{in_full(written)}")
    return value
