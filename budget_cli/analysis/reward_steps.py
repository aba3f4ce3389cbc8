"""Rewards in equal steps, such as tenths, less a penalty on length → the line that the penalty may be.

The model is that of `penalty_in_reward` where rewards without the penalty are multiples of a step: r = k·s − β·(x − B)
over the budget. Without knowing the multiples k, the phase 2π·r/s turns evenly with x, so β is a frequency: that at
which the mean of e^(2πi·(r + β·x)/s) is long (a periodogram). Whether the line is more than chance is for others to
judge. Knows no files and no options.
"""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Line = tuple[float, float]  # β, reward per token, and the budget in tokens

PARTS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20)  # a step is 1 over one of these
MOST_STEPS = 100  # from the smallest to the largest reward without the penalty
FIRST = 8  # of the shortest responses, how many must have whole steps
OFF = 9  # whole steps outweighed by one reward between the steps: nine tenths of the first rewards are whole
WIDER = 0.25  # share of the range of the shortest responses' rewards by which those of long ones may be beyond it
WHOLE = 0.05  # tokens by which a budget may seem to be off a whole number, and what the tolerance adds
FINEST = 8  # times the error of a reward that a step must be, at least
JUDGED = 128  # points that a frequency is measured by
TRIED = 4096  # frequencies, at most
TURNS = 8  # frequencies for each turn of the phase from the shortest to the longest point
STEEPER = 1.25  # times the slope that spreads the largest penalty over all lengths
LIMITED = 0.1  # share of the points over the budget that are equally far from whole steps if the penalty has a limit
PEAKS = 4  # frequencies that are looked at
MOST_OF_THEM = 0.6  # share of the points that must be on the line, before its budget is looked for
MOST_BUDGETS = 16
LONG = 0.4  # length of the mean; by chance it is 0.3 at most


def lines(x: Floats, reward: Floats, tolerance: float) -> Iterator[tuple[float, Floats, Floats, Line]]:
    """Yield steps, coarse ones first, rewards without a penalty: of short responses, of all, and the line that fits.

    Args:
        x: lengths, ascending.
        reward: their rewards.
        tolerance: by how much a reward may differ from the model.
    """
    tried = 0
    for parts in PARTS:
        step = 1 / parts
        if step < FINEST * tolerance:
            return
        whole = np.abs(reward - np.round(reward * parts) / parts) <= tolerance
        if whole.all() or whole.sum() == tried:  # no penalty shows; finer steps tell no more
            continue
        tried = int(whole.sum())
        score = np.cumsum(np.where(whole, 1, -OFF))
        last = x[int(score.argmax())]
        within, over = x <= last, x > last
        if score.max() < FIRST or np.unique(x[over]).size < FIRST:
            continue
        low, high = np.round(reward[within & whole].min() * parts), np.ceil(reward.max() * parts - tolerance * parts)
        if high - low > MOST_STEPS:
            continue
        usual = np.arange(low, high + 1) / parts
        line = _line(x, reward, usual, float(last), step, tolerance)
        if line is None:
            continue
        beta, budget = line
        steps = (reward + beta * np.maximum(0.0, x - budget)) * parts  # long responses may have others
        near = np.abs(steps - (low + high) / 2) <= (high - low) / 2 + max(2.0, WIDER * (high - low))
        steps = np.round(steps[near & (np.abs(steps - np.round(steps)) <= 2 * tolerance * parts)])
        yield step, usual, np.arange(min(low, steps.min()), max(high, steps.max()) + 1) / parts, line


def _line(x: Floats, reward: Floats, values: Floats, last: float, step: float, tolerance: float) -> Line | None:
    """Return the line that most points lie on, of those that begin about where the last whole steps are.

    None if there is no such line, or another one that is a step away and that as many points lie on.
    """
    over = x > last
    at, r = _below_limit(x[over] - last, reward[over], step, tolerance)
    if np.unique(at).size < FIRST:
        return None
    best: Line | None = None
    most, is_only = 0, True
    for beta in _slopes(at, r, step, float(values[-1] - r.min())):
        slope, phase, near = _refined(at, r, beta, step, tolerance)
        if slope <= 0 or near < MOST_OF_THEM * at.size:
            continue
        for budget in _budgets(last, float(at[0]), slope, phase, step):
            if abs(budget - round(budget)) > WHOLE + 2 * tolerance / slope:
                continue
            penalty = slope * np.maximum(0.0, x - budget)
            steps = np.clip(np.round((reward + penalty - values[0]) / step), 0, values.size - 1)
            fitting = int(np.count_nonzero(np.abs(values[0] + steps * step - reward - penalty) <= 2 * tolerance))
            same = best is not None and abs(best[1] - budget) < 1 and math.isclose(best[0], slope, rel_tol=0.01)
            if fitting > most:
                best, most, is_only = (slope, budget), fitting, True
            elif fitting == most and not same:
                is_only = False
    return best if is_only else None


def _below_limit(at: Floats, r: Floats, step: float, tolerance: float) -> tuple[Floats, Floats]:
    """Return the points without those that are equally far from whole steps, as at the largest penalty."""
    ring = max(1, math.floor(step / (4 * tolerance)))  # bins
    bins = np.round((r % step) / step * ring).astype(np.int64) % ring
    numbers, times = np.unique(bins, return_counts=True)
    usual = numbers[times.argmax()]
    if ring * LIMITED < 2 or times.max() < max(3, LIMITED * r.size):
        return at, r
    below = np.minimum((bins - usual) % ring, (usual - bins) % ring) > 1
    return at[below], r[below]


def _slopes(at: Floats, r: Floats, step: float, largest: float) -> list[float]:
    """Return the slopes at which the phases of most points agree."""
    judges = np.unique(np.linspace(0, at.size - 1, JUDGED).round().astype(np.intp))
    span = float(at[-1])
    number = min(TRIED, math.ceil(STEEPER * TURNS * largest / step))
    slopes = np.arange(1, number + 1) * (step / (TURNS * span))
    phases = (r[judges] / step) % 1.0 + slopes[:, None] * (at[judges] / step)
    score = np.abs(np.exp(2j * np.pi * phases).mean(axis=1))
    beside = np.concatenate([[0.0], score, [0.0]])
    peaks = np.flatnonzero((score >= LONG) & (score >= beside[:-2]) & (score >= beside[2:]))
    return list(map(float, slopes[peaks[np.argsort(-score[peaks], kind="stable")[:PEAKS]]]))


def _refined(at: Floats, r: Floats, slope: float, step: float, tolerance: float) -> tuple[float, float, int]:
    """Return slope and phase by least squares over points nearer and nearer to the line, and the number of the last."""
    phase = float(np.angle(np.exp(2j * np.pi * (r + slope * at) / step).mean())) / (2 * np.pi) * step
    near = step / 4
    while True:
        off = r + slope * at - phase
        off -= step * np.round(off / step)
        close = np.abs(off) <= max(near, 2 * tolerance)
        x, y = at[close], off[close]
        if x.size < 2 or x[0] == x[-1]:
            return 0.0, 0.0, 0
        centred = x - x.mean()
        tilt = float(centred @ y / (centred @ centred))
        slope, phase = slope - tilt, phase + float(y.mean() - tilt * x.mean())
        if near <= 2 * tolerance:
            return slope, phase, x.size
        near /= 4


def _budgets(last: float, first_over: float, slope: float, phase: float, step: float) -> Iterator[float]:
    """Yield the budgets at which such a line has no penalty, from the first point over it to the last whole steps."""
    turn = math.floor((slope * first_over - phase) / step)
    for _ in range(MOST_BUDGETS):
        yield last + (phase + turn * step) / slope
        if phase + turn * step < 0:
            return
        turn -= 1
