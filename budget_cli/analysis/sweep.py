"""Groups and a grid → every number of the loss in every cell, from the totals of one scan.

A cell equals the loss of a run with its coefficients to 1e-12. Where nearly all of the terms of its sums cancels, the
cell is computed again from the single prompts, some of which may tie.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from budget_cli import objective
from budget_cli.analysis.gates import Gate
from budget_cli.analysis.grid import Grid
from budget_cli.analysis.loss import Aggregate, Coefficients, Loss, compute_loss, number_at
from budget_cli.analysis.totals import Scatter, Totals, compute_totals
from budget_cli.analysis.verdict import Reason
from budget_cli.groups.double_double import DoubleDouble
from budget_cli.groups.groups import Groups
from budget_cli.groups.moments import Floats, quiet_overflow
from budget_cli.ids import Key, keys_at
from budget_cli.objective.settings import DEFAULT, Objective
from budget_cli.records.columns import Tally

SCHEMA = "budget-cli/sweep/1"
NEARLY_ALL = 1e-10  # share of its terms below which a sum in two doubles is computed again from the prompts

OF_ONE_DOUBLE = 1e-3  # the same share of a sum in one double

# the numbers of a cell unless --all-numbers is given
SHOWN = (
    "coefficients.token_budget",
    "coefficients.budget_penalty_coef",
    "coefficients.kl_coef",
    "loss",
    "adjusted_reward.mean",
    "advantage.mean_square",
    "advantage.budget_share",
    "over_budget.fraction",
    "groups.phantom",
    "groups.reordered",
)
FACTOR = "coefficients.budget_factor"  # of a cell, where records have budgets of their own
VARYING = (
    "loss",
    "adjusted_reward.mean",
    "adjusted_reward.std",
    "advantage.mean_square",
    "advantage.budget_share",
    "advantage.phantom_share",
    "kl.r2",
    "over_budget.responses",
    "over_budget.fraction",
    "over_budget.excess_tokens",
    "over_budget.excess_mean",
    "groups.zero_variance_adjusted",
    "groups.phantom",
    "groups.reordered",
)
WHOLE = frozenset(
    {"coefficients.token_budget", "over_budget.responses", "over_budget.excess_tokens"}
    | {f"groups.{name}" for name in ("zero_variance_adjusted", "phantom", "reordered")}
)


class AtBudget(NamedTuple):
    """The effect of a budget, for any β > 0 and any α."""

    token_budget: int | None
    over: int | None  # responses
    fraction: float | None
    phantom: int | None  # prompts
    turns_phantom: list[Key]  # phantom here, but not at the next larger budget
    half_share_coef: float | None  # the β at which half of the advantage's variance comes from length; None if divided
    reorder_coef: float | None  # the β above which some prompt's worst response beats its best
    reorder_prompt: Key | None  # the first such prompt
    budget_factor: float | None = None  # of the budgets that records have of their own


class Sweep(NamedTuple):
    """The numbers of a grid's cells."""

    grid: Grid
    first: Loss  # of the first cell; numbers that are not in `varying` are the same in all cells
    varying: dict[
        str, NDArray[np.float64]
    ]  # by dotted path, shape (B, β, α); NaN stands for a number that does not exist
    budgets: list[AtBudget]

    def numbers(self, name: str) -> list[float | None]:
        """Return one number of every cell, in the order of `Grid.indices`; None if it does not exist."""
        values = self.varying.get(name)
        if values is None:
            return [number_at(self.first, name)] * self.grid.cells
        numbers = values.ravel().tolist()
        if name in WHOLE:
            return [None if number != number else int(number) for number in numbers]
        return [None if number != number else number for number in numbers]

    def at(self, name: str) -> NDArray[np.float64]:
        """Return one varying number, shape (B, β, α)."""
        return self.varying[name]


def failed_in_cells(sweep: Sweep, gates: Sequence[Gate]) -> list[Reason]:
    """Return, for each gate that fails in some cells, the first of them and how many there are."""
    reasons = []
    cells, grid = list(sweep.grid.indices()), sweep.grid
    for gate in gates:
        results = [gate.evaluate(value) for value in sweep.numbers(gate.path)]
        broken = [at for at, result in enumerate(results) if not result.passed]
        if broken:
            b, beta, alpha = cells[broken[0]]
            where = f"B {grid.token_budget[b]}, β {grid.budget_penalty_coef[beta]:g}, α {grid.kl_coef[alpha]:g}"
            many = f"in {len(broken):,} of {len(cells):,} cells"
            reasons.append(Reason("gate", f"gate {gate.expression}: {many}, first at {where}: {results[broken[0]]}"))
    return reasons


def compute_sweep(
    groups: Groups, grid: Grid, tally: Tally, aggregate: Aggregate = "response", trained: Objective = DEFAULT
) -> Sweep:
    """Compute the loss of these groups in every cell of the grid.

    Args:
        groups: moments by prompt, with the budgets of the grid.
        grid: budgets, β and α; if the only budget is None, the groups have no budget and every β is 0.
        tally: what became of the records, which is passed through.
        aggregate: as in `compute_loss`.
        trained: the objective, whose penalty the groups have.
    """
    first = compute_loss(groups.at(0), _coefficients(grid, (0, 0, 0)), tally, aggregate, trained=trained)
    varying = {
        "coefficients.token_budget": _broadcast(grid, [math.nan if b is None else b for b in grid.token_budget], 0),
        "coefficients.budget_penalty_coef": _broadcast(grid, grid.budget_penalty_coef, 1),
        "coefficients.kl_coef": _broadcast(grid, grid.kl_coef, 2),
    }
    if grid.budget_factor:
        varying[FACTOR] = _broadcast(grid, grid.budget_factor, 0)
    summed = compute_totals(groups, grid.budget_penalty_coef, aggregate, trained) if len(groups) else None
    cells = _cells(summed, grid, first) if summed else dict.fromkeys(VARYING, math.nan) | {"cancels": True}
    varying |= {name: np.array(np.broadcast_to(each, grid.shape)) for name, each in cells.items()}
    at_budget: dict[int, Groups] = {}
    for cell in np.argwhere(varying.pop("cancels")):
        place = tuple(map(int, cell))
        if place[0] not in at_budget:
            at_budget = {place[0]: groups.at(place[0])}
        at = _coefficients(grid, place)
        exact = compute_loss(at_budget[place[0]], at, tally, aggregate, trained=trained)
        for name, values in varying.items():
            if name == FACTOR:
                continue
            number = number_at(exact, name)
            values[place] = math.nan if number is None else number
    return Sweep(grid, first, varying, _at_budgets(groups, grid, summed, first))


@quiet_overflow
@np.errstate(divide="ignore")
def _cells(summed: Totals, grid: Grid, first: Loss) -> dict[str, Any]:
    """Return the numbers that vary, in shapes that broadcast to the grid's; `cancels` marks cells to compute again."""
    beta = np.array(grid.budget_penalty_coef)[None, :, None]
    alpha = np.array(grid.kl_coef)[None, None, :]
    mean, whole = _by_budget(summed.mean), _by_budget(summed.whole)
    spread = summed.spread
    spread_re, spread_ee = _reshaped(spread.re), _reshaped(spread.ee)
    e_mean = DoubleDouble(summed.penalty[:, None, None]) / summed.responses
    budgeted = first.over_budget.responses is not None
    with_k = first.coverage.log_ratio == summed.responses
    adjustable = (beta == 0) | budgeted
    available = adjustable & ((alpha == 0) | with_k)

    full_beta, full_alpha = DoubleDouble(beta), DoubleDouble(alpha)
    k_squares = mean.kk + mean.k2
    square = objective.adjusted_form(mean.rr, mean.re, mean.ee, full_beta).value
    square_terms = mean.rr.hi + beta**2 * mean.ee.hi
    loss = objective.loss_form(mean.rr, mean.re, mean.ee, k_squares, mean.rk, mean.ek, full_beta, full_alpha).value
    loss_terms = square_terms + alpha**2 * k_squares.hi
    explained = objective.explained_sum(mean.rk, mean.ek, k_squares, full_beta, full_alpha).value
    by_length = beta**2 * whole.ee.hi
    share = by_length / (whole.rr.hi + by_length)
    whole_square = objective.adjusted_form(whole.rr, whole.re, whole.ee, full_beta).value
    phantom_share = beta**2 * summed.phantom_ee[:, None, None] / whole_square
    if summed.estimated is not None:
        square, of_k, share, phantom_share = (each[:, :, None] for each in summed.estimated)
        whole_square = square  # prompts may have advantages without a scatter
        square_terms, explained = square, 2 * alpha * of_k - alpha**2 * k_squares.hi
        loss, loss_terms = square - explained, square + alpha**2 * k_squares.hi
    rr, re, ee = whole.rr + spread.rr, whole.re + spread_re, whole.ee + spread_ee
    variance = objective.adjusted_form(rr, re, ee, full_beta).value
    variance_terms = rr.hi + beta**2 * ee.hi
    over = summed.over[:, None, None]

    cancels: Any = np.asarray((beta != 0) & (beta**2 < 1e-300))  # β²·e² may vanish
    if summed.estimated is not None:
        explained_terms = 2 * abs(alpha * of_k) + alpha**2 * k_squares.hi
        for value, terms in ((loss, loss_terms), (abs(explained), explained_terms)):
            cancels = cancels | (with_k & (terms > 0) & (value < OF_ONE_DOUBLE * terms))
    for value, terms in ((loss, loss_terms), (square, square_terms), (variance, variance_terms)):
        cancels = cancels | ~((value > NEARLY_ALL * terms) | (terms == 0))
    counts = {
        f"groups.{name}": np.where(adjustable, getattr(summed, name)[:, :, None], math.nan)
        for name in ("zero_variance_adjusted", "phantom", "reordered")
    }
    unknown = (beta < 0) | np.isnan(summed.reorder_coef)[:, None, None]
    counts["groups.reordered"] = np.where(unknown, math.nan, counts["groups.reordered"])
    return {
        "loss": _finite(loss, available),
        "adjusted_reward.mean": _finite((DoubleDouble(*summed.reward_mean) - e_mean * beta).value, adjustable),
        "adjusted_reward.std": _finite(np.sqrt(np.maximum(variance, 0) / summed.responses), adjustable),
        "advantage.mean_square": _finite(square, adjustable),
        "advantage.budget_share": _finite(share, adjustable),
        "advantage.phantom_share": _finite(phantom_share, adjustable & (whole_square > 0)),
        "kl.r2": _finite(explained / square, available & with_k & (square != 0)),
        "over_budget.responses": _finite(over, budgeted),
        "over_budget.fraction": _finite(over / summed.responses, budgeted),
        "over_budget.excess_tokens": _finite(summed.excess_tokens[:, None, None], budgeted),
        "over_budget.excess_mean": _finite(summed.excess_tokens[:, None, None] / over, budgeted & (over > 0)),
        **counts,
        "cancels": cancels & available,
    }


def _by_budget(scatter: Scatter) -> Scatter:
    """Return the scatter with the budgets along the first axis of the grid."""
    return scatter._replace(**{name: _reshaped(getattr(scatter, name)) for name in ("ee", "re", "ek")})


def _reshaped(sums: DoubleDouble) -> DoubleDouble:
    return DoubleDouble(sums.hi[:, None, None], sums.lo[:, None, None])


def _at_budgets(groups: Groups, grid: Grid, summed: Totals | None, first: Loss) -> list[AtBudget]:
    if summed is None or first.over_budget.responses is None:
        return [AtBudget(budget, None, None, None, [], None, None, None) for budget in grid.token_budget]
    same_reward = np.flatnonzero((groups.column("n") > 1) & (groups.column("r_min") == groups.column("r_max")))
    keys = groups.keys() if same_reward.size or np.isfinite(summed.reorder_coef).any() else []
    rows = same_reward.tolist()
    known = dict(zip(rows, keys_at(keys, rows), strict=True))
    effects: list[AtBudget] = []
    larger = np.zeros(same_reward.size, dtype=np.bool_)
    for i in reversed(range(len(grid.token_budget))):
        phantom = groups.column("ee", i)[same_reward] > 0
        row, coef = int(summed.reorder_row[i]), float(summed.reorder_coef[i])
        reorders = math.isfinite(coef)
        rr, ee = float(summed.whole.rr.value), float(summed.whole.ee.value[i])
        half = math.sqrt(rr / ee) if ee > 0 and summed.estimated is None else math.nan
        effects.append(
            AtBudget(
                token_budget=grid.token_budget[i],
                over=int(summed.over[i]),
                fraction=int(summed.over[i]) / summed.responses,
                phantom=int(phantom.sum()),
                turns_phantom=[known[row] for row in same_reward[phantom & ~larger].tolist()],
                half_share_coef=half if 0 < half < math.inf else None,
                reorder_coef=coef if reorders else None,
                reorder_prompt=keys[row] if reorders else None,
                budget_factor=grid.budget_factor[i] if grid.budget_factor else None,
            )
        )
        larger = phantom
    return effects[::-1]


def _coefficients(grid: Grid, place: Sequence[int]) -> Coefficients:
    return Coefficients(*(values[i] for values, i in zip(grid[:3], place, strict=True)))  # type: ignore[arg-type]  # the grid has the fields of Coefficients


def _broadcast(grid: Grid, values: Sequence[float], axis: int) -> Floats:
    shape = [1, 1, 1]
    shape[axis] = len(values)
    return np.array(np.broadcast_to(np.reshape(np.asarray(values, dtype=np.float64), shape), grid.shape))


def _finite(values: Any, available: Any) -> Floats:
    """Return `values`, with NaN where they are not `available` or not finite."""
    return np.where(available & np.isfinite(values), values, math.nan)
