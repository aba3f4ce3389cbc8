"""Stored advantages, rewards and lengths of whole prompts → the penalty on length that only the advantages hold.

Within a prompt, every estimator here gives advantages that are, but for a constant, a multiple of the adjusted reward:
h·(a − ā) = (r − r̄) − β·(φ − φ̄). Given which responses are over the budget, φ is linear in its unknowns, so the
reward is regressed on the advantage (a slope h of its own for each prompt) and on φ (one β for all). The budget is
looked for among the lengths of the dump. Knows no estimators and no files.
"""

from collections.abc import Iterable, Iterator
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]
MOST = 1 << 11  # responses that are looked at
CELLS = 1 << 20  # numbers of one array
KNOTS = (64, 16)  # lengths tried at a time for a budget; for each of a budget and a limit
ROUNDS = 8
KEPT = 3  # of the best of them, around which more are tried
SHARE = 0.3  # of what the advantages do not explain of the rewards, the most that may be left
TRIMS, FAR = 3, 3.0  # times that prompts are left out whose residual is so many times the median


class Penalty(NamedTuple):
    """A penalty that is in the advantages and not in the stored rewards."""

    beta: float  # reward per token; below 0: it is in the rewards and not in the advantages
    budget: int  # tokens
    cap: int | None = None  # tokens over the budget from which it no longer grows
    right_only: bool = False  # True if only rewards above 0 are penalised

    def excess(self, reward: Floats, length: Floats) -> Floats:
        """Return φ of each response, in tokens; NaN where the length is unknown."""
        excess = np.clip(length - self.budget, 0, np.inf if self.cap is None else self.cap)
        return excess * (reward > 0) if self.right_only else excess

    def __str__(self) -> str:
        """Describe it, as in `β 0.0005 over 8,192 tokens`."""
        limit = "" if self.cap is None else f", capped at {self.cap:,} tokens over it"
        return f"β {abs(self.beta):.10g} over {self.budget:,} tokens{limit}" + (
            ", of right responses only" if self.right_only else ""
        )


class _Prompts:
    """The responses to prompts that can show a penalty, and the projections of the regression."""

    def __init__(self, codes: Codes, reward: Floats, length: Floats, advantage: Floats) -> None:
        starts = np.flatnonzero(np.append(True, np.diff(codes) != 0))
        sizes = np.diff(np.append(starts, codes.size))
        some = np.repeat((sizes > 2) & (np.cumsum(sizes) <= MOST), sizes)
        self.codes, self.r, self.length, a = codes[some], reward[some], length[some], advantage[some]
        self.a = a
        self._starts = np.flatnonzero(np.append(True, np.diff(codes[some]) != 0))
        self._sizes = np.diff(np.append(self._starts, self.r.size))
        self.scale = float(self.length.max(initial=1.0))
        if not self.r.size:
            return
        self._a = self._centred(a[None, :])[0]
        self._aa = self._sums(self._a[None, :] ** 2)
        self.y = self.projected(self.r[None, :])[0]
        self.yy = float(self.y @ self.y)
        self.freedom = int((self._sizes - 2).sum())

    def projected(self, values: Floats) -> Floats:
        """Return what the prompts' means and advantages leave of some columns; shape (columns, responses)."""
        centred = self._centred(values)
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = np.where(self._aa > 0, self._sums(centred * self._a) / self._aa, 0.0)
        centred -= np.repeat(slope, self._sizes, axis=1) * self._a
        return centred

    def near(self, penalty: Penalty) -> "_Prompts":
        """Return the prompts that a penalty does not miss by far."""
        excess = self.projected(penalty.excess(self.r, self.length)[None, :])[0]
        off = np.sqrt(self._sums((self.y - penalty.beta * excess)[None, :] ** 2)[0] / self._sizes)
        kept = np.repeat(off <= FAR * np.median(off), self._sizes)
        return _Prompts(self.codes[kept], self.r[kept], self.length[kept], self.a[kept])

    def _sums(self, values: Floats) -> Floats:
        return np.asarray(np.add.reduceat(values, self._starts, axis=1))

    def _centred(self, values: Floats) -> Floats:
        return values - np.repeat(self._sums(values) / self._sizes, self._sizes, axis=1)


def find_penalties(codes: Codes, reward: Floats, length: Floats, advantage: Floats) -> Iterator[Penalty]:
    """Yield the penalties that may be in the advantages, the simplest first; the caller sees whether one is.

    Args:
        codes: shape (responses,), the prompt of each, those of a prompt together.
        reward, length, advantage: of each.
    """
    prompts = _Prompts(codes, reward, length, advantage)
    if not prompts.r.size or not 0 < prompts.yy < np.inf or np.isnan(prompts.length).any() or prompts.freedom < 4:
        return
    for capped, right_only in product((False, True), (False, True)):
        found, some = _best(prompts, capped, right_only), prompts
        for _ in range(TRIMS):
            if found is None:
                break
            yield found
            some = some.near(found)  # as the advantages of some prompts may be others'
            if 2 * some.r.size < prompts.r.size or not some.yy > 0:
                break
            found = _best(some, capped, right_only)


def _best(prompts: _Prompts, capped: bool, right_only: bool) -> Penalty | None:
    gate = prompts.r > 0 if right_only else np.ones_like(prompts.r, dtype=np.bool_)
    lengths = np.unique(prompts.length[gate])
    if lengths.size < 3 or (right_only and gate.all()):
        return None
    lengths = np.append(0.0, lengths)  # a budget lies between two of these, or at one
    windows = [(np.arange(lengths.size - 1), np.arange(lengths.size if capped else 1))]
    found: dict[tuple[int, int], tuple[float, float, float, float]] = {}
    for _ in range(ROUNDS):
        pairs = [pair for window in windows for pair in _knots(window, KNOTS[capped])]
        pairs = [(i, j) for i, j in dict.fromkeys(pairs) if (i, j) not in found and (not capped or j >= i)]
        if not pairs:
            break
        found |= _tried(prompts, gate, lengths, pairs, capped)
        best = sorted(found, key=lambda pair: found[pair][0])[:KEPT]
        windows = [(_around(found, pair, 0), _around(found, pair, 1)) for pair in best]
    if not found:
        return None
    pair = min(found, key=lambda each: found[each][0])
    left, beta, budget, limit = found[pair]
    if left > SHARE * prompts.yy or beta == 0:
        return None
    return Penalty(beta, max(0, round(budget)), round(limit - budget) if capped else None, right_only)


def _knots(window: tuple[Codes, Codes], number: int) -> Iterator[tuple[int, int]]:
    """Yield pairs of places in two ranges, so many of each at most."""
    some = (each[np.unique(np.linspace(0, each.size - 1, number).astype(int))].tolist() for each in window)
    yield from product(*some)


def _around(found: Iterable[tuple[int, int]], pair: tuple[int, int], axis: int) -> Codes:
    """Return the places between the neighbours of one of a pair's among those tried."""
    known = sorted({each[axis] for each in found})
    at = known.index(pair[axis])
    return np.arange(known[max(0, at - 1)], known[min(len(known) - 1, at + 1)] + 1)


def _tried(
    prompts: _Prompts, gate: NDArray[np.bool_], lengths: Floats, pairs: list[tuple[int, int]], capped: bool
) -> dict[tuple[int, int], tuple[float, float, float, float]]:
    """Return what each pair of a budget and a limit, in places among the lengths, leaves; with β, budget and limit."""
    made: dict[tuple[int, int], tuple[float, float, float, float]] = {}
    at_once = max(1, CELLS // (3 * prompts.r.size))
    scaled = prompts.length / prompts.scale
    for start in range(0, len(pairs), at_once):
        some = pairs[start : start + at_once]
        low, high = (np.array([lengths[pair[axis]] for pair in some])[:, None] for axis in (0, 1))
        over = (prompts.length > low) & gate
        top = (prompts.length > high) & gate if capped else np.zeros_like(over)
        middle = over & ~top
        columns = [prompts.projected(middle * scaled), prompts.projected(middle.astype(np.float64))]
        if capped:
            columns.append(prompts.projected(top.astype(np.float64)))
        features = np.stack(columns, axis=1)  # (pairs, columns, responses)
        gram = features @ features.transpose(0, 2, 1)
        along = features @ prompts.y
        bad = ~(np.isfinite(gram).all(axis=(1, 2)) & np.isfinite(along).all(axis=1))
        gram[bad], along[bad] = 0.0, 0.0  # numbers whose squares are beyond the range of a double
        solved = np.einsum("pij,pj->pi", np.linalg.pinv(gram, rcond=1e-10, hermitian=True), along)
        for i, pair in enumerate(some):
            made[pair] = _bounded(gram[i], along[i], solved[i], prompts, lengths, pair)
    return made


def _bounded(
    gram: Floats, along: Floats, solved: Floats, prompts: _Prompts, lengths: Floats, pair: tuple[int, int]
) -> tuple[float, float, float, float]:
    """Return what is left with the budget and the limit inside their intervals, and β, budget and limit."""
    scale = prompts.scale

    def between(value: float, at: int) -> float:
        low = lengths[at] / scale
        high = lengths[at + 1] / scale if at + 1 < lengths.size else np.inf
        return float(min(max(value, low), high)) if value == value else float(low)

    slope = float(solved[0])
    budget = between(-float(solved[1]) / slope if slope else 0.0, pair[0])
    limit = budget
    weights = [1.0, -budget]
    if solved.size > 2:
        limit = between(budget + float(solved[2]) / slope if slope else 0.0, pair[1])
        weights.append(limit - budget)
    w = np.array(weights)
    square = float(w @ gram @ w)
    slope = float(w @ along) / square if square > 0 else 0.0
    left = prompts.yy - slope * float(w @ along)
    return left, slope / scale, budget * scale, limit * scale
