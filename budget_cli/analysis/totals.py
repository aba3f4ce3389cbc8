"""Groups → totals, the sums over prompts that give the numbers of every (B, β, α) in constant time.

The moments of a prompt enter the loss linearly (objective.py), so the sums ΣS and Σ n·k̄² stand for all prompts. Counts
of prompts (ties, phantoms, reordered prompts) depend on B and β alone and are made here for each pair. Knows no records
and no files.

Symbols are those of `moments`. Shape (B,) means one number per budget, and (B, β) one per pair.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from budget_cli import objective
from budget_cli.analysis.loss import (
    CANCELS,
    Aggregate,
    Coefficients,
    PromptColumns,
    coefs_between,
    reorder_coefs,
)
from budget_cli.groups.advantage import advantages_of, batch_of
from budget_cli.groups.double_double import DoubleDouble, total_about
from budget_cli.groups.groups import Groups
from budget_cli.groups.moments import PROMPT, Floats, quiet_overflow
from budget_cli.objective.settings import DEFAULT, Objective

ROWS = 2048  # prompts at a time: they fit in a cache, and each sum has two levels and keeps its digits
NEARLY = 1e-10  # distance from 1 of the correlation of reward and excess within which some β may cause a tie
AROUND = 1e-5  # relative distance of β from the tie within which it is checked exactly

Counts = NDArray[np.int64]


class Scatter(NamedTuple):
    """Sums over prompts of their scatter, with some weight for each prompt; in two doubles, or of one each."""

    rr: Any  # these four are scalars
    kk: Any
    rk: Any
    k2: Any  # Σ n·k̄²
    ee: Any  # shape (B,)
    re: Any
    ek: Any

    def each(self, of: Callable[[Any], Any]) -> "Scatter":
        """Return a function of each sum."""
        return Scatter(*map(of, self))


class Spread(NamedTuple):
    """Scatter of the means of prompts about the mean of all responses: Σ n·(x̄ − X)(ȳ − Y).

    The sums of all prompts are in two doubles; the second is 0 at budgets where no β makes much of them cancel.
    """

    r_mean: float
    e_mean: Floats  # tokens, shape (B,)
    rr: Any
    re: Any  # shape (B,)
    ee: Any


class Estimated(NamedTuple):
    """What any α needs of advantages that are no linear function of the reward, shape (B, β) each."""

    square: Floats  # the mean of A², as the aggregate weighs it
    with_k: Floats  # the mean of A·k
    share: Floats  # of ΣA² that comes from length; NaN if there is none
    phantom_share: Floats  # of ΣA², in phantom prompts


class Totals(NamedTuple):
    """The sums over all prompts of a dump."""

    prompts: int
    responses: int
    mean: Scatter  # in two doubles; weighted so that the sums are the means that the aggregate asks for
    whole: Scatter  # in two doubles; every prompt has weight 1
    spread: Spread
    reward_mean: tuple[float, float]  # in two doubles
    over: Counts  # responses over the budget, shape (B,)
    excess_tokens: Floats  # shape (B,)
    phantom_ee: Floats  # Σ S_ee of the prompts whose rewards are equal, shape (B,)
    penalty: Floats  # Σ e: of the seed's objective these are the excess tokens; shape (B,)
    zero_variance_adjusted: Counts  # prompts, shape (B, β)
    phantom: Counts
    reordered: Counts
    reorder_coef: Floats  # smallest β that reorders some prompt, inf if none does; shape (B,)
    reorder_row: NDArray[np.intp]  # the first such prompt
    estimated: Estimated | None = None  # None: the advantage is the adjusted reward minus its mean

    def with_first_budgets(self, budgets: int) -> "Totals":
        """Return the totals of the first budgets only."""

        def cut(value: Any) -> Any:
            if hasattr(value, "_fields"):
                return value._make(map(cut, value))
            if isinstance(value, DoubleDouble):
                return DoubleDouble(cut(value.hi), cut(value.lo))
            return value[:budgets] if isinstance(value, np.ndarray) and value.ndim else value

        return Totals(*map(cut, self))


@quiet_overflow
def compute_totals(
    groups: Groups, betas: Sequence[float], aggregate: Aggregate, trained: Objective = DEFAULT
) -> Totals:
    """Compute the totals for every budget of the groups' layout and these β.

    Without a budget, the totals are those of one that no response exceeds.

    Args:
        groups: at least one prompt.
        betas: shape (β,), finite.
        aggregate: how `mean` is weighted.
        trained: the objective, whose penalty the groups have.
    """
    parts = [_Chunk(groups, start, betas, aggregate) for start in range(0, len(groups), ROWS)]
    responses = sum(part.responses for part in parts)
    weight = responses if aggregate == "response" else len(groups)
    whole = _added([part.whole for part in parts])
    mean = whole if aggregate == "response" else _added([part.mean for part in parts])
    spread = _joined(groups, [part.spread for part in parts], np.array([part.responses for part in parts]))
    reward_mean = _reward_mean(groups, [part.reward for part in parts], responses)
    reorder = np.stack([part.reorder_coef for part in parts])  # shape (parts, B)
    first = reorder.argmin(axis=0)
    penalised = np.array(betas) != 0
    constant, same, phantom, phantom_ee, over, excess, penalty, reordered = (
        sum(getattr(part, name) for part in parts)
        for name in ("constant", "same", "phantom", "phantom_ee", "over", "excess", "penalty", "reordered")
    )
    return Totals(
        prompts=len(groups),
        responses=responses,
        mean=mean.each(lambda sums: sums / weight),
        whole=whole,
        spread=_in_full(groups, whole, spread, reward_mean, DoubleDouble(penalty) / responses),
        reward_mean=(float(reward_mean.hi), float(reward_mean.lo)),
        over=over,
        excess_tokens=excess,
        phantom_ee=phantom_ee,
        penalty=penalty,
        zero_variance_adjusted=_ties(parts, betas) + np.where(penalised, same[:, None], constant),
        phantom=np.where(penalised, phantom[:, None], 0),
        reordered=reordered,
        reorder_coef=reorder.min(axis=0),
        reorder_row=first * ROWS + np.stack([part.reorder_row for part in parts])[first, np.arange(len(first))],
        estimated=None if trained.has_plain_advantage else _estimated(groups, betas, aggregate, trained),
    )


@np.errstate(invalid="ignore", divide="ignore")
def _estimated(groups: Groups, betas: Sequence[float], aggregate: Aggregate, trained: Objective) -> Estimated:
    """Compute the advantages of every budget and β from all prompts: no sum over them serves another β."""
    budgets, shape = len(groups.layout.budgets) or 1, (len(groups.layout.budgets) or 1, len(betas))
    square, with_k, of_length, whole, phantom, squares = (np.zeros(shape) for _ in range(6))
    weight = groups.responses if aggregate == "response" else len(groups)
    for i in range(budgets):
        own = groups.at(i)
        batches = [batch_of(own, beta) if trained.estimator.of_batch else None for beta in betas]
        for start in range(0, len(own), ROWS):
            part = own.in_layout(own.layout, np.asfortranarray(own.table[start : start + ROWS]))
            n = 1.0 if aggregate == "response" else part.column("n")
            for j, beta in enumerate(betas):
                advantages = advantages_of(part, trained, beta, batch=batches[j])
                assert advantages is not None
                view = PromptColumns(part, Coefficients(None, beta, 1.0), 0, advantages=advantages)
                factor = advantages.factor * advantages.factor
                square[i, j] += (view.advantage_sums / n).sum()
                with_k[i, j] += ((view.with_advantage() - view.in_full("ek") * beta) / n).sum().value
                of_length[i, j] += (factor * view.penalty_scatter).sum()
                whole[i, j] += (factor * view.rr).sum()
                phantom[i, j] += (view.advantage_sums * view.phantom).sum()
                squares[i, j] += view.advantage_sums.sum()
    return Estimated(square / weight, with_k / weight, of_length / (of_length + whole), phantom / squares)


class _Chunk:
    """Totals of some prompts, from a transposed copy of their columns."""

    def __init__(self, groups: Groups, start: int, betas: Sequence[float], aggregate: Aggregate) -> None:
        columns = np.ascontiguousarray(groups.table[start : start + ROWS].T)
        of = dict(zip(PROMPT, columns, strict=False))
        n, rr = of["n"], of["rr"]
        budgets, names = np.array(groups.layout.budgets or [math.inf]), groups.layout.block
        if groups.layout.budgets:
            by_budget = columns[len(PROMPT) :].reshape(len(budgets), len(names), n.size)
        else:
            by_budget = np.zeros((1, len(names), n.size))
        of_budget = dict(zip(names, by_budget.transpose(1, 0, 2), strict=True))  # shape (B, prompts) each
        e0, e1, ee, re, over = (of_budget[name] for name in ("e0", "e1", "ee", "re", "over"))

        k_mean = DoubleDouble(of["k1"]) / n + of["k0"]
        k2 = k_mean * k_mean * n
        sums = (
            DoubleDouble(*(np.stack([of[name + low] for name in ("rr", "kk", "rk")]) for low in ("", "_low"))),
            DoubleDouble(*(np.stack([of_budget[name + low] for name in ("ee", "re", "ek")]) for low in ("", "_low"))),
        )
        self.responses = int(n.sum())
        self.whole = _scatter(*(each.sum() for each in (*sums, k2)))
        self.mean = self.whole if aggregate == "response" else _scatter(*((each / n).sum() for each in (*sums, k2)))
        pivot = groups.column("r0")[0]  # differences between pivots keep the digits of close means
        self.reward = total_about(pivot, n, of["r0"], of["r1"])
        self.spread = _spread(n, (of["r0"] - pivot) + of["r1"] / n, e0 + e1 / n)
        self.over = over.sum(axis=-1).astype(np.int64)
        self.penalty = self.excess = (n * e0 + e1).sum(axis=-1)
        if groups.layout.is_penalised:
            self.excess = of_budget["excess"].sum(axis=-1)

        several = n > 1
        self.constant = int((several & (rr == 0)).sum())
        self.same = (ee[:, several & (rr == 0)] == 0).sum(axis=-1)
        phantom = ee[:, several & (of["r_min"] == of["r_max"])]
        self.phantom, self.phantom_ee = (phantom > 0).sum(axis=-1), phantom.sum(axis=-1)
        near = (rr > 0) & (ee > 0) & (np.abs(re) >= (1 - NEARLY) * (np.sqrt(rr) * np.sqrt(ee)))
        at, row = np.nonzero(near)
        self.near_ties = (at, rr[row], re[near], ee[near])

        gap = of["r_max"] - of["r_min"]
        if groups.layout.is_penalised:
            coefs = coefs_between(gap, of_budget["p_best"] - of_budget["p_worst"])
        else:
            coefs = reorder_coefs(gap, of["L_best"], of["L_worst"], budgets[:, None])
        self.reordered = _below(coefs, np.array(betas, dtype=np.float64))
        self.reorder_row = coefs.argmin(axis=-1)
        self.reorder_coef = coefs.min(axis=-1)


def _below(coefs: Floats, betas: Floats) -> Counts:
    """Count the coefs of shape (B, prompts) that are below each β, shape (B, β)."""
    order = np.argsort(betas)
    budget, prompt = np.nonzero(coefs < betas.max(initial=-math.inf))  # few: most prompts are never reordered
    first = np.searchsorted(betas[order], coefs[budget, prompt], side="right")  # the smallest β above each
    found = np.zeros((len(coefs), betas.size), dtype=np.int64)
    np.add.at(found, (budget, first), 1)
    counts = np.empty_like(found)
    counts[:, order] = found.cumsum(axis=-1)
    return counts


def _scatter(of_prompt: DoubleDouble, of_budget: DoubleDouble, k2: DoubleDouble) -> Scatter:
    """Return the sums of rr, kk and rk, those of ee, re and ek, and that of k2 as one."""
    rr, kk, rk, ee, re, ek = (DoubleDouble(of.hi[i], of.lo[i]) for of in (of_prompt, of_budget) for i in range(3))
    return Scatter(rr, kk, rk, k2, ee, re, ek)


def _added(parts: Sequence[Scatter]) -> Scatter:
    return Scatter(*(_stacked(each).sum() for each in zip(*parts, strict=True)))


def _stacked(parts: Sequence[DoubleDouble]) -> DoubleDouble:
    """Return the numbers of all parts, along the last axis."""
    return DoubleDouble(*(np.stack([getattr(part, half) for part in parts], axis=-1) for half in ("hi", "lo")))


def _reward_mean(groups: Groups, parts: Sequence[DoubleDouble], responses: int) -> DoubleDouble:
    mean: DoubleDouble = sum(parts, DoubleDouble.zero()) / responses + groups.column("r0")[0]
    return mean


def _in_full(
    groups: Groups, whole: Scatter, spread: Spread, reward_mean: DoubleDouble, excess_mean: DoubleDouble
) -> Spread:
    """Compute the scatter of means in two doubles at the budgets where reward and excess are nearly collinear."""
    rr, re, ee = (DoubleDouble(np.array(each), np.zeros_like(each)) for each in spread[2:])
    products = (whole.rr.hi + rr.hi) * (whole.ee.hi + ee.hi)
    for budget in np.flatnonzero((products > 0) & ((whole.re.hi + re.hi) ** 2 >= (1 - CANCELS) ** 2 * products)):
        mean = DoubleDouble(excess_mean.hi[budget], excess_mean.lo[budget])
        sums = []
        for start in range(0, len(groups), ROWS):
            rows = slice(start, start + ROWS)
            n, r, e = groups.column("n")[rows], groups.means(rows, "r"), groups.means(rows, "e", int(budget))
            r, e = r - reward_mean, e - mean
            sums.append([(x * y * n).sum() for x, y in ((r, r), (r, e), (e, e))])
        rr, *others = (sum(each, DoubleDouble.zero()) for each in zip(*sums, strict=True))
        for of, found in zip((re, ee), others, strict=True):
            of.hi[budget], of.lo[budget] = found.hi, found.lo
    return spread._replace(rr=rr, re=re, ee=ee)


def _spread(n: Floats, r: Floats, e: Floats) -> Spread:
    """Return the scatter of means, of shapes (prompts,) and (B, prompts), about their weighted mean."""
    total = n.sum()
    r_mean, e_mean = (n * r).sum() / total, (n * e).sum(axis=-1) / total
    r, e = r - r_mean, e - e_mean[:, None]
    return Spread(r_mean, e_mean, (n * r * r).sum(), (n * r * e).sum(axis=-1), (n * e * e).sum(axis=-1))


def _joined(groups: Groups, parts: Sequence[Spread], n: Floats) -> Spread:
    """Merge the scatter of chunks with `n` responses each (Chan, Golub & LeVeque, 1983)."""
    r = np.array([part.r_mean for part in parts])
    e = np.stack([part.e_mean for part in parts], axis=-1)
    between = _spread(n, r, e)
    return Spread(
        between.r_mean + groups.column("r0")[0],
        between.e_mean,
        *(
            one + np.stack(each).sum(axis=0)
            for one, *each in zip(between[2:], *(part[2:] for part in parts), strict=True)
        ),
    )


def _ties(parts: Sequence[_Chunk], betas: Sequence[float]) -> Counts:
    """Count the prompts with unequal rewards whose adjusted rewards tie, shape (B, β).

    Σ A² = S_rr − 2β·S_re + β²·S_ee can vanish only if reward and excess are collinear, and then only at β near
    S_re / S_ee; these few prompts are evaluated exactly.
    """
    counts = np.zeros((len(parts[0].over), len(betas)), dtype=np.int64)
    at, rr, re, ee = (np.concatenate(each) for each in zip(*(part.near_ties for part in parts), strict=True))
    tie = re / ee
    order = np.lexsort((tie, at))
    for i in range(len(counts)):
        rows = order[np.searchsorted(at[order], i) : np.searchsorted(at[order], i, side="right")]
        for j, beta in enumerate(betas):
            ends = sorted((beta * (1 - AROUND), beta * (1 + AROUND)))
            first, last = np.searchsorted(tie[rows], ends)
            close = rows[first:last]
            counts[i, j] = (objective.adjusted_scatter(rr[close], re[close], ee[close], beta) == 0).sum()
    return counts
