"""Groups → all that a page of one dump shows: its numbers now, and the sums that give them for other coefficients.

The page computes again what its reader asks for, so what is here is data for a program that sees no records: totals at
each budget of a grid, the prompts that matter most with their moments, and the responses of a sample.
"""

import bisect
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from budget_cli import objective
from budget_cli.analysis.grid import Grid
from budget_cli.analysis.loss import Aggregate, Coefficients, Loss, compute_loss, phantom_prompts
from budget_cli.analysis.totals import Totals, compute_totals
from budget_cli.groups.groups import Groups
from budget_cli.groups.lengths import Lengths
from budget_cli.groups.moments import quiet_overflow
from budget_cli.groups.prompt_sample import SampledPrompt
from budget_cli.ids import Key, keys_at
from budget_cli.records.columns import Label, Tally

SCHEMA = "budget-cli/report/1"
SAMPLED = 4_000  # responses at most
PROMPTS = 120  # prompts at most
BINS = 48
PARTS = 200  # files or steps at most
PER_DECADE = 10


class Bins(NamedTuple):
    """How many in each bin of equal width."""

    first: float  # the left edge of the first bin
    width: float
    counts: list[int]


class PromptMoments(NamedTuple):
    """One prompt's row; the last five hold one number for each budget."""

    prompt_id: Key
    n: int
    r_mean: float
    k_mean: float
    rr: float
    kk: float
    rk: float
    length_mean: float | None
    length_max: float | None
    e_mean: list[float]
    ee: list[float]
    re: list[float]
    ek: list[float]
    over: list[int]


class Segment(NamedTuple):
    """The responses of one file, step or the like, taken as a dump of their own."""

    label: Label
    totals: Totals


class PageData(NamedTuple):
    """What a page shows."""

    loss: Loss
    grid: Grid  # what the sliders offer
    at: tuple[int, int, int]  # where the loss's own coefficients are in the grid
    totals: Totals | None  # None: no records
    parts: list[Segment]  # in their order; of many, some; none, where there is one
    parts_in_all: int
    phantoms: list[Key]  # the first of them
    lengths: Bins | None
    rates: Bins | None  # prompts by their mean reward
    prompts: list[PromptMoments]
    sample: list[SampledPrompt]


def grid_around(coefficients: Coefficients, budgets: Sequence[int] = ()) -> Grid:
    """The values that the sliders offer: the coefficients themselves, and what lies about them.

    Args:
        coefficients: of the page.
        budgets: those to offer; none: from a quarter of B to four times B.
    """
    budget = coefficients.token_budget
    if budget is None:
        offered: tuple[int | None, ...] = (None,)
    elif budgets:
        offered = tuple(sorted({budget, *budgets}))
    else:
        sixteenths = [*range(4, 33), *range(36, 65, 4)]
        offered = tuple(sorted({budget, *(round(budget * part / 16) for part in sixteenths)}))
    return Grid(
        offered,
        _decades(-5, 0, coefficients.budget_penalty_coef) if budget is not None else (0.0,),
        _decades(-4, 1, coefficients.kl_coef),
    )


def _decades(first: int, last: int, own: float) -> tuple[float, ...]:
    """0, the powers from 10^first to 10^last in equal ratios, and `own`."""
    powers = {float(f"{10 ** (i / PER_DECADE):.3g}") for i in range(first * PER_DECADE, last * PER_DECADE + 1)}
    return tuple(sorted({0.0, own} | powers))


def build_page_data(
    groups: Groups,
    by: Mapping[Label, Groups],
    grid: Grid,
    coefficients: Coefficients,
    tally: Tally,
    aggregate: Aggregate = "response",
) -> PageData:
    """The overview of these groups, which know the grid's budgets and hold a sample.

    Args:
        groups: moments by prompt.
        by: the groups of each file, step or the like, in their order.
        grid: what the sliders offer.
        coefficients: the page's own, among the grid's.
        tally: what became of the records, handed through.
        aggregate: what weighs the same.
    """
    at = tuple(
        bisect.bisect_left(values, own) if own is not None else 0  # type: ignore[type-var]
        for values, own in zip(grid, coefficients, strict=True)
    )
    loss = compute_loss(groups.at(at[0]), coefficients, tally, aggregate)
    longest = loss.length.max if loss.length.max is not None else math.inf
    shorter = sum(1 for budget in grid.token_budget if budget is None or budget < longest)
    offered = max(at[0] + 1, min(shorter + 1, len(grid.token_budget)))  # beyond the longest response one is enough
    totals = compute_totals(groups, grid.budget_penalty_coef, aggregate) if len(groups) else None
    return PageData(
        loss=loss,
        grid=grid._replace(token_budget=grid.token_budget[:offered]),
        at=(at[0], at[1], at[2]),
        totals=totals.with_first_budgets(offered) if totals is not None else None,
        parts=_parts(by, offered, aggregate),
        parts_in_all=len(by),
        phantoms=phantom_prompts(groups, 20, at[0]) if loss.groups.phantom else [],
        lengths=_lengths(groups.lengths) if groups.with_length == loss.responses else None,
        rates=_rates(groups),
        prompts=_top_prompts(groups, at[0], offered, coefficients),
        sample=groups.sample.prompts() if groups.sample is not None else [],
    )


def _parts(by: Mapping[Label, Groups], offered: int, aggregate: Aggregate) -> list[Segment]:
    there = [(label, groups) for label, groups in by.items() if len(groups)]
    if len(there) < 2:
        return []
    segments = []
    for i in dict.fromkeys(round(place) for place in np.linspace(0, len(there) - 1, min(PARTS, len(there)))):
        label, groups = there[i]
        segments.append(Segment(label, compute_totals(groups, (), aggregate).with_first_budgets(offered)))
    return segments


def _lengths(lengths: Lengths) -> Bins | None:
    """Responses by length, in bins of whole tokens."""
    values, counts = lengths.items()
    if not values.size:
        return None
    width = max(1, -(-(int(values[-1]) + 1) // BINS))
    binned = np.bincount(values // width, weights=counts)
    return Bins(0.0, float(width), [int(count) for count in binned])


@quiet_overflow
def _rates(groups: Groups) -> Bins | None:
    """Prompts by the mean reward of their responses."""
    means = groups.column("r0") + groups.column("r1") / groups.column("n")
    means = means[np.isfinite(means)]
    if not means.size:
        return None
    low, high = min(0.0, float(means.min())), max(1.0, float(means.max()))
    counts, edges = np.histogram(means, bins=20, range=(low, high))
    return Bins(low, float(edges[1] - edges[0]), counts.tolist())


@quiet_overflow
def _top_prompts(groups: Groups, at: int, offered: int, coefficients: Coefficients) -> list[PromptMoments]:
    """All prompts; of many, those with the largest loss.

    That is at the page's budget (`at`) and at some others, with its β and ten times as much: in turn the first of each,
    the second of each, until there is no more room.
    """
    column = groups.column
    n, k_mean = column("n"), column("k0") + column("k1") / column("n")
    budgets = range(min(offered, len(groups.layout.budgets)))
    chosen: dict[int, None] = {}
    if len(groups) > PROMPTS:
        beta, alpha = coefficients.budget_penalty_coef, coefficients.kl_coef
        asked = [(i, beta * factor) for factor in (1, 10) for i in sorted({at, *budgets[::4]})]
        nothing = np.zeros_like(n)
        ranked = []
        for i, each in asked:
            re, ee, ek = (column(name, i) if budgets else nothing for name in ("re", "ee", "ek"))
            sums = objective.loss_sum(n, column("rr"), re, ee, k_mean, column("kk"), column("rk"), ek, each, alpha)
            sums = np.nan_to_num(sums / n)
            most = np.argpartition(-sums, PROMPTS)[:PROMPTS]
            ranked.append(most[np.argsort(-sums[most], kind="stable")].tolist())
        for place in zip(*ranked, strict=True):
            chosen |= dict.fromkeys(place)
            if len(chosen) >= PROMPTS:
                break
    rows = np.array(sorted(list(chosen)[:PROMPTS] or range(len(groups))), dtype=np.intp)
    keys = keys_at(groups.keys(), rows.tolist())
    with_length = groups.with_length == n.sum()
    by_budget = {
        name: np.stack([column(name, i)[rows] for i in budgets], axis=-1) if budgets else np.zeros((rows.size, 1))
        for name in ("e0", "e1", "ee", "re", "ek", "over")
    }
    e_mean = by_budget["e0"] + by_budget["e1"] / n[rows, None]
    r_mean = column("r0") + column("r1") / n

    def listed(values: NDArray[np.float64], row: int) -> list[float]:
        return [float(value) for value in values[row]]

    return [
        PromptMoments(
            prompt_id=key,
            n=int(n[row]),
            r_mean=float(r_mean[row]),
            k_mean=float(k_mean[row]),
            rr=float(column("rr")[row]),
            kk=float(column("kk")[row]),
            rk=float(column("rk")[row]),
            length_mean=float(column("L_sum")[row] / n[row]) if with_length else None,
            length_max=float(column("L_max")[row]) if with_length else None,
            e_mean=listed(e_mean, i),
            ee=listed(by_budget["ee"], i),
            re=listed(by_budget["re"], i),
            ek=listed(by_budget["ek"], i),
            over=[int(value) for value in by_budget["over"][i]],
        )
        for i, (row, key) in enumerate(zip(rows.tolist(), keys, strict=True))
    ]
