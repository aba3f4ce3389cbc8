"""Advantages that the trainer stored → the estimator that gives them, and a penalty that only they hold.

Which estimator it is, a sample of whole prompts shows; in how many prompts it gives the stored advantages, the sums of
all of them show. A residual is the root mean square, over the responses to a prompt, of what is stored less what the
estimator gives. Knows no options and no files.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from budget_cli.analysis import estimators_known as known
from budget_cli.analysis.estimators_known import OWN_BASELINE, REWARD, Candidate, Floats, Moments
from budget_cli.analysis.hidden_penalty import Penalty, find_penalties
from budget_cli.evidence.advantages import BUDGET, Advantages
from budget_cli.evidence.counters import FEW
from budget_cli.groups.groups import Groups
from budget_cli.groups.moments import quiet_overflow
from budget_cli.objective import adjusted_scatter
from budget_cli.objective.estimators import Batch

Mask = NDArray[np.bool_]
Rows = NDArray[np.intp]

SINGLE = 2.0**-24  # the relative rounding of single precision, in which trainers compute
CLOSE = 1e-6  # a residual in single precision, as a share of the root mean square of a prompt's advantages
BRAIN, HALF = 2.0**-8, 2.0**-10  # the same of advantages stored in bfloat16 and float16: twice their rounding
SLACK = 4  # roundings of single precision, of the rewards that advantages are computed from
MOST_DUST = 0.1  # the largest advantage that rounding makes of equal rewards
DECIMALS = 6  # after the point, to which stored advantages may be rounded, at most
SHARE, SHARE_FITTED = 0.5, 0.9  # of the prompts that show something, how many an estimator must fit
FEWEST = 3  # prompts that a slope of all prompts must fit
FREEDOM = 4  # responses beyond what is fitted, to find a penalty
SAME = 1e-5  # of a slope, what the deviation of the batch may be off
TWICE = 2.0  # a residual up to so many times the best one is as good
CENTRED = Candidate("centred")
MOST_IN_GROUP = 64  # responses
NEARLY_0 = 0.01  # of the root mean square: a mean that is 0 but for rounding to 16 bits
MOST_EPS = 0.1  # that is fitted
DIGITS = 10  # of a β that is fitted, at most
NEARLY = 0.98  # of the prompts that the best estimator fits, how many another must
ROUNDS, FAR = 4, 20  # of refining β, without residuals so many times the median
ROUNDS_TO = 1.05  # a residual so many times as large is that of the same β, with fewer digits


class Fit(NamedTuple):
    """An estimator with its settings, and how well it gives the stored advantages."""

    candidate: Candidate
    eps: tuple[float, ...] = ()  # all ε that fit as well


class Singletons(NamedTuple):
    """Prompts of one response, by what their stored advantage is."""

    prompts: int
    zero: int
    reward: int  # the reward itself, as adjusted
    other: int
    by_estimator: int  # what the estimator of a batch gives


class ByPosition(NamedTuple):
    """Groups of so many responses that follow each other, whatever their prompts."""

    size: int
    candidate: Candidate  # gives their advantages
    agreeing: int  # groups
    groups: int  # of the first responses


class StoredAdvantages(NamedTuple):
    """Whose advantages the trainer stored."""

    fits: tuple[Fit, ...]  # those that fit equally well, the simplest first; none: no estimator known here does
    penalty: Penalty | None  # that is in the advantages and not in the stored rewards
    prompts: int  # with two responses or more, all of which have an advantage; or those of the sample
    agreeing: int  # of them
    largest_residual: float  # of a prompt that agrees
    of_sample: bool  # True if the prompts are those of a sample, as the sums do not hold the excess over that budget
    regrouped: int  # prompts whose advantages do not sum to what they should (or to 0), but together do: other groups'
    differing: tuple[int, ...]  # rows of prompts that do not agree, the worst first
    worst_residual: float  # of those
    singletons: Singletons
    nearest: Candidate  # the estimator of the first fit, or the one that is least off
    nearest_residual: float  # its root mean square residual over the sample
    typical: float  # root mean square of the advantages of the sample
    tolerance: tuple[float, float]  # that a residual may have: a share of the prompt's advantages, and a number
    incomplete: int  # prompts of which some responses have no advantage
    by_position: ByPosition | None  # of what groups they are instead, if none fits

    @property
    def centred(self) -> bool:
        """False if the estimator is known, and its baseline is another than the prompt's mean."""
        return not self.fits or self.fits[0].candidate.name not in ("opo", "reinforce++")

    @property
    def options(self) -> str | None:
        """What reproduces the advantages; None if nothing does."""
        if not self.fits or (self.penalty is not None and self.penalty.beta < 0):
            return None
        found, keeps = self.fits[0].candidate, self.singletons.reward > 0
        if found.name == REWARD or found.slope is not None:
            return None
        recipe = known.RECIPES.get((found.name, found.ddof, found.eps))
        parts = [f"--objective {recipe}"] if recipe else [f"--set advantage={found.name}"]
        if recipe is None:
            parts += [f"--set ddof={found.ddof}"] if found.ddof is not None else []
            parts += [f"--set eps={known.plain(found.eps)}"] if found.eps is not None else []
        if keeps != (recipe in known.KEEP_SINGLETONS) and self.singletons.zero + self.singletons.reward:
            parts.append(f"--set singletons={'reward' if keeps else 'zero'}")
        if self.penalty is None:
            return " ".join([*parts, "--beta 0"])
        if self.penalty.cap is not None:
            parts.append(f"--set penalty=capped --set cap={self.penalty.cap}")
        if self.penalty.right_only:
            parts.append("--set penalize=correct")
        return " ".join([*parts, f"-B {self.penalty.budget} --beta {self.penalty.beta:.10g}"])


class _Sample:
    """Whole prompts: their responses, with the adjusted reward x."""

    def __init__(self, codes: Rows, rows: Rows, reward: Floats, length: Floats, advantage: Floats) -> None:
        self.codes, self.rows, self.r, self.length, self.a = codes, rows, reward, length, advantage
        self.n = np.bincount(codes).astype(np.float64)
        starts = np.append(0, np.cumsum(self.n[:-1]).astype(np.intp))
        differ = np.maximum.reduceat(reward, starts) > np.minimum.reduceat(reward, starts)
        self.shows = differ | (np.maximum.reduceat(np.abs(advantage), starts) > 0)  # not that 0 is 0

    def moments(self, x: Floats) -> Moments:
        """Return the statistics of the prompts."""
        mean, a_mean = self._sum(x) / self.n, self._sum(self.a) / self.n
        xc, ac = x - mean[self.codes], self.a - a_mean[self.codes]
        xc[np.abs(xc) <= 1e-12 * np.abs(x)] = 0.0  # equal rewards but for the rounding of their mean
        weighted = self._sum(self.length * x) / self._sum(self.length)
        return Moments(self.n, mean, self._sum(xc * xc), weighted, a_mean, self._sum(ac * ac), self._sum(ac * xc))

    def residual(self, x: Floats, m: Moments, c: Candidate) -> Floats:
        """Return the root mean square residual of each prompt."""
        off = self.off(x, m, c)
        return np.sqrt(self._sum(off * off) / self.n)

    def off(self, x: Floats, m: Moments, c: Candidate) -> Floats:
        """Return what is stored of each response, less what a candidate gives it."""
        f, mean = known.given(m, c)
        return self.a - f[self.codes] * (x - m.x[self.codes]) - mean[self.codes]

    def _sum(self, values: Floats) -> Floats:
        return np.bincount(self.codes, values, self.n.size).astype(np.float64)


class _Judged(NamedTuple):
    """A candidate, and which prompts of the sample it fits."""

    candidate: Candidate
    residual: Floats
    agrees: Mask
    judged: Mask  # the prompts that show whether it fits

    @property
    def number(self) -> int:
        """How many it fits."""
        return int(np.count_nonzero(self.agrees & self.judged))

    @property
    def share(self) -> float:
        """The share of the prompts that show it."""
        return self.number / max(1, int(np.count_nonzero(self.judged)))

    @property
    def is_accepted(self) -> bool:
        """True if it fits enough of them."""
        if self.candidate.is_fitted:
            return self.number >= FEWEST and self.share >= SHARE_FITTED
        return self.number > 0 and self.share >= SHARE


class _Tolerance(NamedTuple):
    """By how much what is stored may differ from what an estimator gives."""

    share: float  # of the root mean square of a prompt's advantages
    most: float = 0.0  # by rounding to decimals

    def of(self, m: Moments, c: Candidate, batch: Batch | None = None) -> Floats:
        """Return the largest residual of each prompt that agrees."""
        f, size = np.abs(known.given(m, c, batch).factor), np.abs(m.x) + np.sqrt(m.xx / m.n)
        rounding = SLACK * SINGLE * size * np.where(m.xx > 0, f, 1.0)
        typical = np.sqrt(m.aa / m.n + m.a * m.a)
        # of equal rewards, the rounding of their mean, which the deviation divides, gives all one advantage
        dust = (m.xx == 0) & (m.aa <= CLOSE * m.n * m.a * m.a)
        rounding = np.where(dust, np.minimum(MOST_DUST, SLACK * SINGLE * size * np.maximum(1.0, f)), rounding)
        return np.asarray(self.share * typical + self.most + rounding)


@quiet_overflow
@np.errstate(divide="ignore")
def identify(
    advantages: Advantages,
    groups: Groups,
    penalties: Sequence[Penalty] | None = None,
) -> StoredAdvantages | None:
    """Return whose advantages these are; None if no prompt shows it.

    Args:
        advantages: the stored advantages.
        groups: the moments of the same prompts.
        penalties: the penalties that they may hold; None: look for them.
    """
    sample = _sample_of(advantages, groups)
    if sample is None:
        return None
    found, penalty = _Identification(sample), None
    fits = found.best(sample.r)
    if not fits:
        if penalties is None:
            looked_for = find_penalties(sample.codes, sample.r, sample.length, sample.a)
        else:
            looked_for = iter(penalties)
        for each in looked_for:
            fits, penalty = found.with_penalty(each)
            if fits:
                break
    return _Answer(found, fits, penalty, advantages, groups).give()


def _sample_of(advantages: Advantages, groups: Groups) -> _Sample | None:
    """Return the whole prompts of the sample that have two responses or more; None if none shows anything."""
    rows, reward, length, advantage = advantages.sample.responses()
    if not rows.size:
        return None
    starts = np.flatnonzero(np.append(True, np.diff(rows) != 0))
    sizes = np.diff(np.append(starts, rows.size))
    is_whole = sizes == groups.column("n")[rows[starts]]
    chosen = (sizes > 1) & is_whole
    if not chosen.any():
        return None
    some = np.repeat(chosen, sizes)
    codes = np.repeat(np.arange(np.count_nonzero(chosen)), sizes[chosen])
    sample = _Sample(codes, rows[starts][chosen], reward[some], length[some], advantage[some])
    return sample if sample.shows.any() else None


class _Identification:
    """Looks for the estimator that gives the advantages of a sample."""

    def __init__(self, sample: _Sample) -> None:
        self.sample = sample
        self.typical = float(np.sqrt(np.mean(sample.a * sample.a)))
        self.tolerances, self._floor = _tolerances(sample.a)
        self.tolerance = self.tolerances[0]

    def best(self, x: Floats) -> list[_Judged]:
        """Return the candidates that fit equally well, with the finest tolerance with which most prompts agree.

        Args:
            x: the adjusted rewards.
        """
        m = self.sample.moments(x)
        tried = [(c, self.sample.residual(x, m, c)) for c in [*known.candidates(), *_fitted(m)]]
        by_tolerance, every = [], np.ones_like(self.sample.shows)
        for tolerance in self.tolerances:
            judged = [
                # 0 for equal rewards shows that a baseline is the prompt's own
                _Judged(c, off, off <= tolerance.of(m, c), self.sample.shows if c.name in OWN_BASELINE else every)
                for c, off in tried
            ]
            fits = [one for one in judged if one.is_accepted]
            if fits:
                by_tolerance.append((max(one.share for one in fits), tolerance, fits))
        if not by_tolerance:
            return []
        most = max(share for share, _, _ in by_tolerance)
        _, self.tolerance, fits = next(each for each in by_tolerance if each[0] >= NEARLY * most)
        return self._equal(fits, m)

    def _equal(self, fits: list[_Judged], m: Moments) -> list[_Judged]:
        most = max(one.share for one in fits)
        fits = [one for one in fits if one.share >= NEARLY * most]
        given = [one for one in fits if not one.candidate.is_fitted]
        fits = [*given, *(one for one in fits if one.candidate.is_of_batch)] if given else fits[:1]
        core = max(fits, key=lambda one: (one.share, -float(np.mean(one.residual[one.agrees])))).agrees
        off = [float(np.sqrt(np.mean(one.residual[core] ** 2))) for one in fits]
        typical = float(np.sqrt(np.mean((m.aa / m.n + m.a * m.a)[core])))
        good = TWICE * min(off) + self._floor * typical
        return [one for one, each in zip(fits, off, strict=True) if each <= good]

    def with_penalty(self, penalty: Penalty) -> tuple[list[_Judged], Penalty]:
        """Return the candidates that fit the rewards less a penalty, and the penalty with a refined β."""
        excess = penalty.excess(self.sample.r, self.sample.length)
        beta = penalty.beta
        fits = self.best(self.sample.r - beta * excess)
        if not fits:
            beta = self._refined(self.nearest(self.sample.r - beta * excess)[0], beta, excess)
            fits = self.best(self.sample.r - beta * excess)
        if not fits or float(self.sample.n[fits[0].agrees].sum()) - int(np.count_nonzero(fits[0].agrees)) < FREEDOM + 3:
            return [], penalty
        tolerance = self.tolerance
        beta = _rounded(self._refined(fits[0].candidate, beta, excess), fits[0], self._misfit(fits[0], excess))
        fits = self.best(self.sample.r - beta * excess) or fits
        self.tolerance = tolerance
        return fits, penalty._replace(beta=beta)

    def nearest(self, x: Floats) -> tuple[Candidate, float]:
        """Return the candidate that is least off in most prompts, and its residual in all of them."""
        m = self.sample.moments(x)
        best = None
        for c in [*known.candidates(), *_fitted(m)]:
            residual = self.sample.residual(x, m, c)
            off = float(np.median(residual[self.sample.shows]))
            if best is None or off < best[0] * (1 - CLOSE):
                best = off, c, float(np.sqrt(np.mean(residual * residual)))
        assert best is not None
        return best[1:]

    def _refined(self, c: Candidate, beta: float, excess: Floats) -> float:
        """Return β after steps of Gauss and Newton on the residuals, without the prompts that are far off."""

        def off(at: float) -> Floats:
            x = self.sample.r - at * excess
            return self.sample.off(x, self.sample.moments(x), c)

        for _ in range(ROUNDS):
            step = 1e-4 * beta
            here = off(beta)
            slope = (off(beta + step) - off(beta - step)) / (2 * step)
            size = np.abs(here)
            near = size <= FAR * np.median(size) + CLOSE * self.typical
            square = float(slope[near] @ slope[near])
            if not square > 0:
                break
            moved = beta - float(slope[near] @ here[near]) / square
            if not abs(moved - beta) < 0.5 * abs(beta):
                break
            beta = moved
        return beta

    def _misfit(self, one: _Judged, excess: Floats) -> Callable[[float], float]:
        def misfit(beta: float) -> float:
            x = self.sample.r - beta * excess
            residual = self.sample.residual(x, self.sample.moments(x), one.candidate)[one.agrees]
            return float(np.sqrt(np.mean(residual * residual))) - self._floor * self.typical

        return misfit


def _rounded(beta: float, one: _Judged, misfit: Callable[[float], float]) -> float:
    """Return β with the fewest digits that fit as well."""
    best = max(0.0, misfit(beta))
    for digits in range(1, DIGITS):
        short = float(f"{beta:.{digits}g}")
        if misfit(short) <= ROUNDS_TO * best:
            return short
    return beta


def _fitted(m: Moments) -> list[Candidate]:
    """Return the candidates whose settings are fitted: an unusual ε, and the slope and baseline of a batch."""
    some = (m.xx > 0) & (m.ax > 0)
    if not some.any():
        return []
    slopes = m.ax[some] / m.xx[some]
    made = []
    for ddof in (1, 0):
        eps = float(np.median(1 / slopes - np.sqrt(m.xx[some] / (m.n[some] - ddof))))
        eps = float(f"{eps:.3g}")
        if 0 < eps <= MOST_EPS and eps not in known.EPSILONS:
            made.append(Candidate("grpo", ddof, eps))
    middle = float(np.median(slopes))
    near = np.abs(slopes - middle) <= BRAIN * middle
    scale = float(m.ax[some][near].sum() / m.xx[some][near].sum())
    if not 0 < scale < np.inf:  # beyond the range of a double
        return made
    made.append(Candidate("batch-std", slope=scale))
    shifts = m.x - m.a / scale
    middle = float(np.median(shifts))
    near = np.abs(shifts - middle) <= BRAIN * (abs(middle) + 1 / scale)
    if near.any():
        made.append(Candidate("reinforce++", slope=scale, baseline=float(np.mean(shifts[near]))))
    return made


def _tolerances(a: Floats) -> tuple[list[_Tolerance], float]:
    """Return the tolerances, the finest first, and the relative residual that rounding alone leaves.

    Args:
        a: stored advantages.
    """
    single = a.astype(np.float32)
    is_single = bool(np.all(single == a))
    tolerances, floor = [_Tolerance(CLOSE)], 1e-11
    if is_single or all(float(f"{value:.9g}") == value for value in a.tolist()):
        floor = 4 * SINGLE
    with np.errstate(over="ignore"):
        is_half = bool(np.all(a.astype(np.float16) == a))
    if is_half:
        tolerances.append(_Tolerance(HALF))
        floor = HALF
    if is_single and not np.any(single.view(np.uint32) & 0xFFFF):
        tolerances.append(_Tolerance(BRAIN))
        floor = BRAIN
    digits = next((d for d in range(1, DECIMALS + 1) if np.all(np.round(a, d) == a)), None)
    if digits is not None:
        tolerances.append(_Tolerance(CLOSE, 0.5 * 10.0**-digits))
    return tolerances, floor


class _Answer:
    """Counts in how many prompts of the dump, or of the sample, the estimator gives what is stored."""

    def __init__(
        self,
        found: _Identification,
        fits: Sequence[_Judged],
        penalty: Penalty | None,
        advantages: Advantages,
        groups: Groups,
    ) -> None:
        self.found, self.fits, self.groups, self.advantages = found, fits, groups, advantages
        self.penalty = penalty if fits else None
        self.n = groups.column("n")
        self.with_advantage = advantages.column("a_n", len(groups))
        self.all = self._moments_of_all(advantages)
        self.rows = np.flatnonzero((self.with_advantage == self.n) & (self.n > 1))

    def give(self) -> StoredAdvantages:
        sample, penalty = self.found.sample, self.penalty
        x = sample.r if penalty is None else sample.r - penalty.beta * penalty.excess(sample.r, sample.length)
        nearest, off = self.found.nearest(x)
        rows, m = sample.rows, sample.moments(x)
        if self.all is not None:
            rows = self.rows
            m = Moments(*(column[rows] for column in self.all))
        fits = self._fits()
        tolerance = self.found.tolerance.of(m, CENTRED)
        agrees, residual = np.ones(rows.size, dtype=np.bool_), np.zeros(rows.size)
        regrouped = _regrouped(m.a, m.n, ~agrees, tolerance)
        if fits:
            nearest = fits[0].candidate
            batch = None if self.all is None else self.all.batch
            agrees, residual, tolerance = self._agrees(m, nearest, batch)
            if self.all is None:
                residual = sample.residual(x, m, nearest)
                agrees = residual <= tolerance
            regrouped = _regrouped(m.a - known.given(m, nearest, batch).mean, m.n, agrees, tolerance)
            off = float(np.sqrt(np.mean(residual[agrees] ** 2))) if agrees.any() else off
        worst = np.argsort(-residual, kind="stable")
        worst = worst[~agrees[worst]]
        return StoredAdvantages(
            tuple(fits),
            penalty,
            int(rows.size),
            int(np.count_nonzero(agrees)) if fits else 0,
            float(residual[agrees].max(initial=0.0)),
            self.all is None,
            regrouped,
            tuple(rows[worst[:FEW]].tolist()),
            float(residual[worst].max(initial=0.0)),
            self._singletons(nearest if fits else None),
            nearest,
            off,
            self.found.typical,
            (self.found.tolerance.share, self.found.tolerance.most),
            int(np.count_nonzero((self.with_advantage > 0) & (self.with_advantage < self.n))),
            None if fits else _by_position(self.advantages.first, self.found.typical),
        )

    def _moments_of_all(self, advantages: Advantages) -> Moments | None:
        """Return the statistics of all prompts; None if the sums do not hold the excess over the penalty's budget."""
        groups, penalty, n = self.groups, self.penalty, self.n
        total, prompts = advantages.column("a", len(groups)), len(groups)
        x = groups.column("r0") + groups.column("r1") / n
        xx, ax = groups.column("rr"), advantages.column("ar", prompts) - total * x
        with np.errstate(divide="ignore", invalid="ignore"):
            weighted = advantages.column("rL", prompts) / groups.column("L_sum")
        if penalty is not None:
            budgets = () if groups.layout.is_penalised else groups.layout.budgets
            known_here = penalty.budget in budgets and penalty.budget in advantages.budgets
            if not known_here or penalty.cap is not None or penalty.right_only:
                return None
            at = budgets.index(penalty.budget)
            mean = groups.column("e0", at) + groups.column("e1", at) / n
            xx = adjusted_scatter(xx, groups.column("re", at), groups.column("ee", at), penalty.beta)
            ax = ax - penalty.beta * (advantages.column(f"{BUDGET}@{penalty.budget}", prompts) - total * mean)
            x, weighted = x - penalty.beta * mean, np.full(prompts, np.nan)
            if self.fits[0].candidate.name == "opo":
                return None
        a = total / n
        aa = np.maximum(0.0, advantages.column("aa", prompts) - total * a)
        return Moments(n, x, xx, weighted, a, aa, ax)

    def _fits(self) -> list[Fit]:
        """Join the fits that differ only in ε; beside others, one of a batch only if its constants are this dump's."""
        joined: dict[tuple[str, int | None], list[Candidate]] = {}
        for one in self.fits:
            of_batch = self._of_this_batch(one.candidate) if one.candidate.slope is not None else []
            if not joined or of_batch or one.candidate.slope is None:
                for each in of_batch or [one.candidate]:
                    joined.setdefault((each.name, each.ddof), []).append(each)
        return [Fit(each[0], tuple(sorted(c.eps for c in each if c.eps is not None))) for each in joined.values()]

    def _of_this_batch(self, c: Candidate) -> list[Candidate]:
        """Return the settings with which the constants of this dump are those that were fitted, the nearest ones."""
        if self.all is None or c.slope is None:
            return []
        share, most = self.found.tolerance.share, self.found.tolerance.most
        noise = max(4 * SINGLE, share if share > CLOSE else 0.0, most / (self.found.typical or 1.0))
        batch, same = self.all.batch, max(SAME, noise)
        if c.baseline is not None and abs(c.slope * (c.baseline - batch.mean)) > same:
            return []
        one = Moments(*(np.ones(1) for _ in Moments._fields))
        off = {each: abs(known.given(one, each, batch).factor[0] / c.slope - 1) for each in known.settings(c.name)}
        good = TWICE * min(off.values()) + noise
        near = [each for each in off if off[each] <= min(same, good)]
        m = Moments(*(column[self.rows] for column in self.all))
        agreeing = [int(np.count_nonzero(self._agrees(m, each, batch)[0])) for each in near]
        return [
            each for each, number in zip(near, agreeing, strict=True) if number >= NEARLY * max(agreeing, default=0)
        ]

    def _agrees(self, m: Moments, c: Candidate, batch: Batch | None) -> tuple[Mask, Floats, Floats]:
        """Return which prompts agree, the residual of each, and the largest that it may have."""
        residual = np.sqrt(known.mean_square_residual(m, c, batch))
        tolerance = self.found.tolerance.of(m, c, batch)
        return residual <= tolerance, residual, tolerance

    def _singletons(self, c: Candidate | None) -> Singletons:
        single = (self.n == 1) & (self.with_advantage == 1)
        if self.all is None or not single.any():
            return Singletons(int(np.count_nonzero(single)), 0, 0, 0, 0)
        m = Moments(*(column[single] for column in self.all))
        close = CLOSE * (1 + np.abs(m.x)) + self.found.tolerance.share * np.abs(m.a) + self.found.tolerance.most
        given = np.zeros(m.n.size, dtype=np.bool_)
        if c is not None and c.name not in OWN_BASELINE:
            given = np.abs(m.a - known.given(m, c, self.all.batch).mean) <= close
        eps = (c.eps if c is not None else None) or 0.0
        kept = np.minimum(np.abs(m.a - m.x), np.abs(m.a - m.x / (1 + eps))) <= close
        zero = np.abs(m.a) <= close
        kept &= ~given & ~zero
        zero &= ~given
        counts = (int(np.count_nonzero(each)) for each in (zero, kept, ~(given | kept | zero), given))
        return Singletons(int(m.n.size), *counts)


def _by_position(first: Floats, typical: float) -> ByPosition | None:
    """Return the smallest groups of following responses whose advantages an estimator gives; None if there are none.

    Args:
        first: reward, length and advantage of the first responses, in the order of the input.
        typical: the root mean square of advantages.
    """
    reward, length, advantage = first
    for size in range(2, min(MOST_IN_GROUP, reward.size // 2) + 1):
        number = reward.size // size
        sums = advantage[: number * size].reshape(number, size).sum(axis=1)
        if np.any(np.abs(sums) > NEARLY_0 * size * typical):
            continue
        some, rows = slice(number * size), np.arange(number)
        sample = _Sample(np.repeat(rows, size), rows, reward[some], length[some], advantage[some])
        fits = _Identification(sample).best(sample.r) if sample.shows.any() else []
        if fits and not fits[0].candidate.is_fitted:
            return ByPosition(size, fits[0].candidate, int(np.count_nonzero(fits[0].agrees)), number)
    return None


def _regrouped(off: Floats, n: Floats, agrees: Mask, tolerance: Floats) -> int:
    """Return the number of prompts whose sums are wrong by amounts that cancel: they hold advantages of each other.

    Args:
        off: by how much the mean advantage of each prompt is off.
        n: responses of each.
        agrees: whether it agrees.
        tolerance: by how much it may be off.
    """
    wrong = ~agrees & (np.abs(off) > tolerance)
    number = int(np.count_nonzero(wrong))
    total = abs(float((n * off)[wrong].sum()))
    return number if number > 1 and total <= float((n * tolerance)[wrong].sum()) else 0
