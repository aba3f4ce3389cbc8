"""Rewards and lengths → the penalty on length that the rewards already hold: its β and its budget, fitted.

The model is r = v − min(cap, β·max(0, x − B)): v is one of a few rewards that responses have whatever their length, or
a multiple of a step such as 0.1, and x the length of the response, or of prompt and response together. Rewards of a
model are neither, and any penalty could be in them. Reads no options: what the user gave is for others to compare.
Knows no files.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from budget_cli.analysis.reward_steps import lines
from budget_cli.evidence.reward_sample import RewardSample

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

MOST_VALUES = 4  # rewards without the penalty: two values for correctness, times a format bonus
SHARE = 0.9  # of the rewards that are none of those, how many must fit
LENGTHS = 4  # different lengths among them, at least: two of them define a line
REPEATED = 5  # lengths at which a reward occurs that is taken for one without the penalty, wherever it first occurs
BY_CHANCE = 0.01  # expected number of fits as good among rewards drawn at random
TRIED, JUDGED = 16, 64  # of a set of points, how many give the lines that are tried, and how many judge them
SMALLEST = 1e-100  # a reward; the squares of this one and of its inverse are numbers still
LONGEST = 1 << 53  # tokens of a prompt; with the response, no longer exact
VOTED = 32  # lines that most of them lie on, which all points then judge
FINEST = 100  # times the error of a reward that the largest penalty must be, at least
EXACT = 2e-6  # error of a reward that is exact, as a share of the range of the rewards
ROUNDING = 1e-3  # relative error of a fitted β that is taken for the same
SINGLE = 1e-7  # and as a share of the reward, in single precision
TRIES = 1 << 16  # lines that rewards in steps are compared with: frequencies, times steps, times budgets
MOST_DIGITS = 6  # after the point, to which rewards may be rounded


class Penalty(NamedTuple):
    """A penalty that the rewards hold."""

    beta: float  # reward per token
    budget: int  # tokens
    cap: float | None  # the largest penalty; None: no limit shows
    counts_prompt: bool  # True if the length is that of prompt and response together
    rewards: tuple[float, ...]  # those without the penalty, ascending
    fitting: int  # responses over the budget whose rewards are what it gives
    over: int  # responses over the budget
    sampled: bool  # True if these are the responses of a sample

    def is_about(self, budget: int | None, beta: float) -> bool:
        """Return True if this is the penalty with this budget of the response and, but for rounding, this β."""
        return not self.counts_prompt and budget == self.budget and math.isclose(beta, self.beta, rel_tol=ROUNDING)

    def __str__(self) -> str:
        """Describe it, as in `β 0.001953125 over 3,584 tokens`."""
        prompt = " of prompt and response together" if self.counts_prompt else ""
        limit = "" if self.cap is None else f", of {self.cap:.4g} at most"
        return f"β {self.beta:.10g} over {self.budget:,} tokens{prompt}{limit}"


def fit_penalty(sample: RewardSample, most_values: float = MOST_VALUES) -> Penalty | None:
    """Return the penalty that the rewards hold; None if none shows, as where rewards have no few values.

    Args:
        sample: the rewards and lengths.
        most_values: the largest number of rewards that responses have whatever their length.
    """
    if not sample.has_more_rewards(LENGTHS):
        return None
    reward, length, prompt_length, count = sample.rows()
    size = float(np.abs(reward).max())
    if not SMALLEST < size < 1 / SMALLEST:
        return None
    found = _fitted(length, reward, count, int(most_values))
    counts_prompt = found is None and bool(np.all((prompt_length >= 0) & (prompt_length < LONGEST)))
    if counts_prompt:
        found = _fitted(length + prompt_length, reward, count, int(most_values))
    if found is None:
        return None
    return found._replace(counts_prompt=counts_prompt, sampled=sample.level > 0)


def _fitted(x: Floats, reward: Floats, count: Floats, most_values: int) -> Penalty | None:
    """Return the best fit over all choices of rewards without the penalty."""
    order = np.lexsort((reward, x))
    x, reward, count = x[order], reward[order], count[order]
    best: tuple[float, Penalty] | None = None
    for values in _choices(x, reward, most_values):
        fit = _with_values(x, reward, count, values)
        if fit is not None and (best is None or fit[0] < best[0]):
            best = fit
    return _with_steps(x, reward, count) if best is None else best[1]


def _with_steps(x: Floats, reward: Floats, count: Floats) -> Penalty | None:
    """Return the fit with rewards in equal steps without the penalty; of the coarsest steps with which there is one."""
    tolerance = _tolerance(reward)
    for step, usual, steps, rough in lines(x, reward, tolerance):
        line = _refined(x[x > rough[1]], reward[x > rough[1]], steps, rough, tolerance)
        if line is None:
            continue
        beta, budget = line
        within, over = x <= budget, x > budget
        at, r = x[over], reward[over]
        cap = _cap(at, r, steps, line, tolerance)
        if cap is not None:  # what is some steps more or less is as near to the rewards at the limit
            caps = cap + step * np.arange(-steps.size, steps.size)
            caps = caps[caps > tolerance]
            cap = float(max(caps, key=lambda one: np.count_nonzero(_fits(at, r, usual, line, one, tolerance))))
        all_fit = _fits(at, r, steps, line, cap, tolerance)
        if not at.size or np.count_nonzero(all_fit) < SHARE * at.size or FINEST * tolerance > steps[-1] - r.min():
            continue
        counted = all_fit if cap is None else all_fit & (beta * (at - budget) < cap - tolerance)
        lengths, fitting_lengths = np.unique(at).size, np.unique(at[counted]).size
        phases = np.unique(np.round(beta * (at[counted] - budget) % step / (2 * tolerance)))
        expected = math.log(TRIES) + _by_chance(lengths, fitting_lengths, min(1.0, 2 * tolerance / step))
        if min(fitting_lengths, phases.size) < LENGTHS or expected > math.log(BY_CHANCE):
            continue
        used = np.unique(reward[within][_fits(x[within], reward[within], steps, line, None, tolerance)])
        values = tuple(float(value) for value in steps if np.abs(used - value).min() <= tolerance)
        fitting, of = int(count[over][all_fit].sum()), int(count[over].sum())
        return Penalty(beta, round(budget), cap, False, values, fitting, of, False)
    return None


def _choices(x: Floats, reward: Floats, most: int) -> Iterator[Floats]:
    """Yield sets of rewards that may be those without the penalty: the first ones by length, and the usual ones."""
    distinct, first, times = np.unique(reward, return_index=True, return_counts=True)
    by_length = distinct[np.argsort(first)]
    for number in range(1, min(most, distinct.size - 1) + 1):
        yield np.sort(by_length[:number])
    usual = distinct[(times >= REPEATED) & (times >= np.sort(times)[-min(most, times.size)])][:most]
    if usual.size and not np.array_equal(usual, np.sort(by_length[: usual.size])):
        yield usual


def _with_values(x: Floats, reward: Floats, count: Floats, values: Floats) -> tuple[float, Penalty] | None:
    """Return the best fit with these rewards without the penalty, and the logarithm of how many chance would give."""
    other = ~np.isin(reward, values)
    at, r = x[other], reward[other]
    lengths, tolerance = int(np.count_nonzero(np.diff(at))) + 1, _tolerance(reward)
    if lengths < LENGTHS or FINEST * tolerance > values[-1] - r.min():
        return None
    if np.count_nonzero(r > values[-1]) > (1 - SHARE) * r.size:
        return None
    line = _best_line(at, r, values, tolerance)
    if line is None:
        return None
    beta, budget = line
    cap = _cap(at, r, values, line, tolerance)
    fits = _fits(at, r, values, line, cap, tolerance)
    within = x <= budget
    if np.count_nonzero(fits) < SHARE * r.size or not _flat(x[within], reward[within], values):
        return None
    chance = min(1.0, 2 * tolerance * values.size / (values[-1] - r.min()))
    if cap is not None:  # what is at the limit tells nothing of the line
        below = beta * (at - budget) < cap - tolerance
        at, r, fits = at[below], r[below], fits[below]
        lengths = int(np.count_nonzero(np.diff(at))) + 1
    fitting_lengths = int(np.count_nonzero(np.diff(at[fits]))) + 1
    tried = math.log(3 * (MOST_VALUES + 1) * lengths * lengths * values.size**2)
    expected = tried + _by_chance(lengths, fitting_lengths, chance)
    if fitting_lengths < LENGTHS or expected > math.log(BY_CHANCE):
        return None
    over = ~within
    all_fit = _fits(x[over], reward[over], values, line, cap, tolerance)
    used = tuple(float(value) for value in values)
    fitting, of = int(count[over][all_fit].sum()), int(count[over].sum())
    return expected, Penalty(beta, round(budget), cap, False, used, fitting, of, False)


def _flat(x: Floats, reward: Floats, values: Floats) -> bool:
    """Return True if each of the rewards comes at several lengths, but for one that may be rare."""
    lengths = [np.unique(x[reward == value]).size for value in values]
    return max(lengths) > 1 and sum(number < 2 for number in lengths) < 2 and sum(lengths) >= values.size + 2


def _tolerance(reward: Floats) -> float:
    """Return by how much a reward may differ from the model: half a unit of the last digit, and what the fit is off."""
    least = max(EXACT * float(reward.max() - reward.min()), SINGLE * float(np.abs(reward).max()))
    for digits in range(MOST_DIGITS + 1):
        scaled = reward * 10.0**digits
        error = SINGLE * max(1.0, float(np.abs(scaled).max()))
        if error < 0.2 and np.abs(scaled - np.round(scaled)).max() <= error:  # above, any number is nearly whole
            return max(0.6 * 10.0**-digits, least)  # and the fit has an error, too
    return least


def _best_line(at: Floats, r: Floats, values: Floats, tolerance: float) -> tuple[float, float] | None:
    """Return β and B of the line that most points lie on, refined; None if there is none."""
    some = np.unique(np.linspace(0, at.size - 1, TRIED).round().astype(np.intp))
    i, j = (some[each] for each in np.triu_indices(some.size, 1))
    apart = at[j] > at[i]
    i, j = i[apart][:, None, None], j[apart][:, None, None]
    low, high = values[None, :, None] - r[i], values[None, None, :] - r[j]  # penalties
    beta = np.broadcast_to((high - low) / (at[j] - at[i]), (i.shape[0], values.size, values.size))
    low = np.broadcast_to(low, beta.shape)
    good = (beta > 0) & (low > 0)
    if not good.any():
        return None
    beta, budget = beta[good], (np.broadcast_to(at[i], beta.shape)[good] - low[good] / beta[good])
    judges = np.unique(np.linspace(0, at.size - 1, JUDGED).round().astype(np.intp))
    penalty = beta[:, None] * np.maximum(0.0, at[judges] - budget[:, None])
    agree = np.zeros(penalty.shape, dtype=np.bool_)
    for value in values:
        agree |= np.abs(value - r[judges] - penalty) <= 2 * tolerance  # the points that define it have errors, too
    votes = agree.sum(axis=1)
    best, most = None, 0
    seen: set[tuple[str, int]] = set()
    for chosen in np.argsort(-votes, kind="stable").tolist():
        rough = (f"{beta[chosen]:.4g}", round(budget[chosen]))
        if rough not in seen:
            if len(seen) == VOTED or 2 * votes[chosen] < votes.max():
                break
            seen.add(rough)
            line = _refined(at, r, values, (float(beta[chosen]), float(budget[chosen])), tolerance)
            fitting = 0 if line is None else int(np.count_nonzero(_fits(at, r, values, line, None, tolerance)))
            if fitting > most:
                best, most = line, fitting
    return best


def _refined(
    at: Floats, r: Floats, values: Floats, line: tuple[float, float], tolerance: float
) -> tuple[float, float] | None:
    """Return the line of least squares through the points of a line; its budget is whole if it is nearly so."""
    beta, budget = line
    for _ in range(3):
        penalty = beta * np.maximum(0.0, at - budget)
        errors = np.abs(values[:, None] - r - penalty)
        near = errors.min(axis=0) <= 2 * tolerance
        x, y = at[near], values[errors.argmin(axis=0)][near] - r[near]
        if x.size < 2 or x.min() == x.max():
            return None
        centred = x - x.mean()
        beta = float(centred @ y / (centred @ centred))
        if beta <= 0:
            return None
        budget = float(x.mean() - y.mean() / beta)
    whole = float(round(budget))
    excess = x - whole
    return float(excess @ y / (excess @ excess)), whole


def _cap(at: Floats, r: Floats, values: Floats, line: tuple[float, float], tolerance: float) -> float | None:
    """Return the largest penalty, if rewards that the line does not give are equally far below those without one."""
    left = ~_fits(at, r, values, line, None, tolerance)
    if not left.any():
        return None
    beta, budget = line
    penalty = (values[:, None] - r[left]).ravel()
    penalty = penalty[(penalty > tolerance) & (penalty <= np.tile(beta * (at[left] - budget), values.size) + tolerance)]
    if not penalty.size:
        return None
    near = np.abs(penalty[:, None] - penalty) <= tolerance
    usual = int(near.sum(axis=1).argmax())
    return float(penalty[near[usual]].mean()) if near[usual].sum() > 1 else None


def _fits(
    at: Floats, r: Floats, values: Floats, line: tuple[float, float], cap: float | None, tolerance: float
) -> Mask:
    """Return which rewards are one of `values` less the penalty."""
    beta, budget = line
    penalty = beta * np.maximum(0.0, at - budget)
    if cap is not None:
        penalty = np.minimum(cap, penalty)
    return np.asarray((np.abs(values[:, None] - r - penalty) <= tolerance).any(axis=0))


def _by_chance(lengths: int, fitting: int, chance: float) -> float:
    """Return the logarithm of the expected number of fits as good; two lengths define the line."""
    return _log_choose(lengths - 2, fitting - 2) + (fitting - 2) * math.log(chance)


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) if 0 <= k <= n else 0.0
