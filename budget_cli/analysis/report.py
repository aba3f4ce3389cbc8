"""Groups → the data of the page of one dump: its numbers, and the sums that give them for other coefficients.

The page recomputes its numbers as the sliders move and never sees records, so it holds totals at each budget of a grid,
the moments of the prompts with the largest losses, and a sample of responses.
"""

import bisect
import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from budget_cli import objective
from budget_cli.analysis.grid import Grid
from budget_cli.analysis.loss import Aggregate, Coefficients, Loss, PromptColumns, compute_loss, phantom_prompts
from budget_cli.analysis.totals import Totals, compute_totals
from budget_cli.evidence.prompt_sample import SampledPrompt, sampled_prompts
from budget_cli.groups.advantage import advantages_of
from budget_cli.groups.double_double import DoubleDouble
from budget_cli.groups.groups import Groups
from budget_cli.groups.lengths import Lengths
from budget_cli.groups.moments import BUDGET, Floats, quiet_overflow
from budget_cli.ids import Key, keys_at
from budget_cli.objective.settings import DEFAULT, Objective
from budget_cli.records.columns import Label, Tally
from budget_cli.schema.fields import EDGES

SCHEMA = "budget-cli/report/1"
SAMPLED = 4_000  # responses, at most
PROMPTS = 120  # at most
BINS = 48
PARTS = 200  # files or steps, at most
PER_DECADE = 10
MANY = 50_000  # prompts, from which on fewer budgets are offered: each takes time


class Bins(NamedTuple):
    """A histogram with bins of equal width."""

    first: float  # the left edge of the first bin
    width: float
    counts: list[int]


class PromptMoments(NamedTuple):
    """The moments of one prompt, sums of products in two doubles; from e_mean on, one number for each budget."""

    prompt_id: Key
    n: int
    r_mean: float
    k_mean: float
    rr: DoubleDouble
    kk: DoubleDouble
    rk: DoubleDouble
    length_mean: float | None
    length_max: float | None
    e_mean: list[float]
    ee: DoubleDouble
    re: DoubleDouble
    ek: DoubleDouble
    over: list[int]
    r_gap: list[float]  # for opo, as in `moments.PENALTY`; otherwise empty
    p_gap: list[float]


class Segment(NamedTuple):
    """The totals of the responses with one label, such as a file or a step, and numbers that no slider changes."""

    label: Label
    totals: Totals
    reward: float | None  # mean over responses
    length: float | None  # the same, tokens
    k1: float | None  # nats
    k3: float | None


class PageData(NamedTuple):
    """The data of the page."""

    loss: Loss
    grid: Grid  # values of the sliders
    at: tuple[int, int, int]  # indices of the coefficients of `loss` in the grid
    totals: Totals | None  # None if there are no records
    parts: list[Segment]  # in order; evenly spaced ones if there are many, none if there is only one
    parts_in_all: int
    phantoms: list[Key]  # the first ones
    lengths: Bins | None
    rates: Bins | None  # prompts by their mean reward
    prompts: list[PromptMoments]
    rows: list[int]  # of each of these prompts, in the groups
    sample: list[SampledPrompt]
    trained: Objective = DEFAULT
    log_ratios: Mapping[str, list[int]] = MappingProxyType({})  # tokens in each of BINS, by pair of policies
    edges: Sequence[float] = EDGES  # nats, between the bins


def grid_around(coefficients: Coefficients, budgets: Sequence[int] = (), prompts: int = 0) -> Grid:
    """Return the values of the sliders: the coefficients themselves, and values around them.

    Args:
        coefficients: those of the page.
        budgets: the budgets to offer; if empty, from a quarter of B to four times B.
        prompts: of the dump.
    """
    budget, beta = coefficients.token_budget, coefficients.budget_penalty_coef
    if budget is None:
        offered: tuple[int | None, ...] = (None,)
    elif budgets:
        offered = tuple(sorted({budget, *budgets}))
    else:
        sixteenths = [*range(4, 33), *range(36, 65, 4)] if prompts < MANY else [4, 6, 8, 12, 24, 32, 48, 64]
        offered = tuple(sorted({budget, *(round(budget * part / 16) for part in sixteenths)}))
    return Grid(
        offered,
        _decades(-5, 0, beta) if budget is not None or beta else (0.0,),  # records may have budgets of their own
        _decades(-4, 1, coefficients.kl_coef),
    )


def _decades(first: int, last: int, own: float) -> tuple[float, ...]:
    """Return 0, values from 10^first to 10^last in equal ratios, and `own`, in ascending order."""
    powers = {float(f"{10 ** (i / PER_DECADE):.3g}") for i in range(first * PER_DECADE, last * PER_DECADE + 1)}
    return tuple(sorted({0.0, own} | powers))


def build_page_data(
    groups: Groups,
    by: Mapping[Label, Groups],
    grid: Grid,
    coefficients: Coefficients,
    tally: Tally,
    aggregate: Aggregate = "response",
    trained: Objective = DEFAULT,
    at_budgets: Callable[[Groups], Groups] = lambda groups: groups,
) -> PageData:
    """Build the data of the page.

    Args:
        groups: moments by prompt, with the budgets of the grid, and their responses, if they hold them.
        by: groups by label, such as a file or a step, in order.
        grid: the values of the sliders.
        coefficients: those of the page, which are in the grid.
        tally: what became of the records, which is passed through.
        aggregate: as in `compute_loss`.
        trained: the objective, whose penalty the groups have.
        at_budgets: gives the groups of a label the budgets of the grid.
    """
    at = tuple(
        bisect.bisect_left(values, own) if own is not None else 0  # type: ignore[type-var]  # the values of a grid are comparable with their coefficient
        for values, own in zip(grid[:3], coefficients, strict=True)
    )
    loss = compute_loss(groups.at(at[0]), coefficients, tally, aggregate, trained=trained)
    longest = loss.length.max if loss.length.max is not None else math.inf
    shorter = sum(1 for budget in grid.token_budget if budget is None or budget < longest)
    offered = max(at[0] + 1, min(shorter + 1, len(grid.token_budget)))  # one beyond the longest response is enough
    rows = _top_rows(groups, at[0], offered, coefficients, trained)
    totals = compute_totals(groups, grid.budget_penalty_coef, aggregate, trained) if len(groups) else None
    return PageData(
        loss=loss,
        grid=grid._replace(token_budget=grid.token_budget[:offered]),
        at=(at[0], at[1], at[2]),
        totals=totals.with_first_budgets(offered) if totals is not None else None,
        parts=_parts(by, at[0], offered, loss, trained, at_budgets),
        parts_in_all=len(by),
        phantoms=phantom_prompts(groups, 20, at[0]) if loss.groups.phantom else [],
        lengths=_lengths(groups.lengths) if groups.with_length == loss.responses else None,
        rates=_rates(groups),
        prompts=_moments_of(groups, rows, offered),
        rows=rows.tolist(),
        trained=trained,
        sample=[] if trained.has_own_budgets else sampled_prompts(groups, SAMPLED),
    )


def _parts(
    by: Mapping[Label, Groups],
    at: int,
    offered: int,
    whole: Loss,
    trained: Objective,
    at_budgets: Callable[[Groups], Groups],
) -> list[Segment]:
    filled = [(label, groups) for label, groups in by.items() if len(groups)]
    if len(filled) < 2:
        return []
    segments = []
    for i in dict.fromkeys(round(place) for place in np.linspace(0, len(filled) - 1, min(PARTS, len(filled)))):
        label, groups = filled[i]
        # only advantages that are no linear function of the reward need a β, and one is enough for a trend
        betas = () if trained.has_plain_advantage else (whole.coefficients.budget_penalty_coef,)
        groups = at_budgets(groups)
        totals = compute_totals(groups, betas, whole.aggregate, trained).with_first_budgets(offered)
        loss = compute_loss(groups.at(at), whole.coefficients, Tally(), whole.aggregate, trained=trained)
        segments.append(Segment(label, totals, loss.reward.mean, loss.length.mean, loss.kl.k1, loss.kl.k3))
    return segments


def _lengths(lengths: Lengths) -> Bins | None:
    """Return a histogram of the lengths, in bins of whole tokens."""
    values, counts = lengths.items()
    if not values.size:
        return None
    width = max(1, -(-(int(values[-1]) + 1) // BINS))
    binned = np.bincount(values // width, weights=counts)
    return Bins(0.0, float(width), [int(count) for count in binned])


@quiet_overflow
def _rates(groups: Groups) -> Bins | None:
    """Return a histogram of the mean reward per prompt."""
    means = groups.column("r0") + groups.column("r1") / groups.column("n")
    means = means[np.isfinite(means)]
    if not means.size:
        return None
    low, high = min(0.0, float(means.min())), max(1.0, float(means.max()))
    counts, edges = np.histogram(means, bins=20, range=(low, high))
    return Bins(low, float(edges[1] - edges[0]), counts.tolist())


@quiet_overflow
def _moments_of(groups: Groups, rows: NDArray[np.intp], offered: int) -> list[PromptMoments]:
    """Return the moments of the prompts in these rows."""
    column = groups.column
    n = column("n")
    budgets = range(min(offered, len(groups.layout.budgets)))
    keys = keys_at(groups.keys(), rows.tolist())
    with_length = groups.with_length == n.sum()
    has_gaps = groups.layout.is_penalised and not np.isnan(column("r_gap", 0)).all()
    by_budget = {
        name: np.stack([column(name, i)[rows] for i in budgets], axis=-1) if budgets else np.zeros((rows.size, 1))
        for name in BUDGET
    }
    if has_gaps:
        by_budget |= {
            name: np.stack([column(name, i)[rows] for i in budgets or [0]], axis=-1) for name in ("r_gap", "p_gap")
        }
    e_mean = by_budget["e0"] + by_budget["e1"] / n[rows, None]
    r_mean, k_mean = column("r0") + column("r1") / n, column("k0") + column("k1") / n
    return [
        PromptMoments(
            prompt_id=key,
            n=int(n[row]),
            r_mean=float(r_mean[row]),
            k_mean=float(k_mean[row]),
            **{name: DoubleDouble(column(name)[row], _few(column(name + "_low")[row])) for name in ("rr", "kk", "rk")},
            length_mean=float(column("L_sum")[row] / n[row]) if with_length else None,
            length_max=float(column("L_max")[row]) if with_length else None,
            e_mean=e_mean[i].tolist(),
            **{
                name: DoubleDouble(by_budget[name][i], _few(by_budget[name + "_low"][i])) for name in ("ee", "re", "ek")
            },
            over=[int(value) for value in by_budget["over"][i]],
            r_gap=by_budget["r_gap"][i].tolist() if has_gaps else [],
            p_gap=by_budget["p_gap"][i].tolist() if has_gaps else [],
        )
        for i, (row, key) in enumerate(zip(rows.tolist(), keys, strict=True))
    ]


def _few(low: Any) -> Floats:
    """Return what one double lost with nine digits: 25 in all are enough for a page, which is then a little smaller."""
    return np.array([float(f"{each:.9g}") for each in np.ravel(low).tolist()]).reshape(np.shape(low))


@quiet_overflow
def _top_rows(
    groups: Groups, at: int, offered: int, coefficients: Coefficients, trained: Objective
) -> NDArray[np.intp]:
    """Return the rows of all prompts, or of the PROMPTS with the largest losses if there are many; in ascending order.

    Losses are ranked at the budget of the page (`at`) and at some others, with its β and with ten times its β; the
    first prompts of each ranking are taken, then the second ones, until there are enough.
    """
    if len(groups) <= PROMPTS:
        return np.arange(len(groups))
    budgets, beta = range(min(offered, len(groups.layout.budgets))), coefficients.budget_penalty_coef
    rankings = []
    for i, each in [(i, beta * factor) for factor in (1, 10) for i in sorted({at, *budgets[::4]})]:
        losses = _losses(groups, i, each, coefficients.kl_coef, trained)
        most = np.argpartition(-losses, PROMPTS)[:PROMPTS]
        rankings.append(most[np.argsort(-losses[most], kind="stable")].tolist())
    chosen: dict[int, None] = {}
    for rows in zip(*rankings, strict=True):
        chosen |= dict.fromkeys(rows)
        if len(chosen) >= PROMPTS:
            break
    return np.array(sorted(list(chosen)[:PROMPTS]), dtype=np.intp)


@quiet_overflow
def _losses(groups: Groups, at: int, beta: float, alpha: float, trained: Objective) -> Floats:
    """Return the loss of each prompt, shape (prompts,); 0 if it is not known."""
    column = groups.column
    n = column("n")
    if trained.has_plain_advantage:
        zeros = np.zeros_like(n)
        re, ee, ek = (column(name, at) if groups.layout.budgets else zeros for name in ("re", "ee", "ek"))
        k_mean = column("k0") + column("k1") / n
        sums = objective.loss_sum(n, column("rr"), re, ee, k_mean, column("kk"), column("rk"), ek, beta, alpha)
    else:
        advantages = advantages_of(groups, trained, beta, at)
        sums = PromptColumns(groups, Coefficients(None, beta, alpha), at, advantages=advantages).loss_sums
    return np.asarray(np.nan_to_num(sums / n))


def prompts_that_matter(data: PageData, groups: Groups, named: Sequence[Key], most: int) -> list[Key]:
    """Return the prompts whose texts are worth showing: those that findings name, and those with the largest losses.

    Args:
        data: the data of the page.
        groups: what it was built from.
        named: the prompts that findings name, which take at most half of the places.
        most: how many there are to be.
    """
    coefficients = data.loss.coefficients
    losses = _losses(groups, data.at[0], coefficients.budget_penalty_coef, coefficients.kl_coef, data.trained)
    order = np.argsort(-losses[data.rows], kind="stable").tolist()
    by_loss = [data.prompts[place].prompt_id for place in order]
    return list(dict.fromkeys([*list(dict.fromkeys(named))[: most // 2], *by_loss]))[:most]
