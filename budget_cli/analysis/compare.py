"""The groups of two dumps → the differences between them, with standard errors.

Prompts are the clusters: responses to one prompt resemble each other, so the prompts are the independent draws, and a
standard error from single responses would be too small. Prompts that both dumps have are compared pairwise.

Every quantity is a ratio M = Σ y_g / Σ n_g over prompts g (the mean reward: y sum of rewards, n responses; the share of
zero-variance prompts: y 0 or 1, n 1). The influence of a prompt on M is u_g = (y_g − M·n_g) / Σ n. Over G prompts

    paired      se² = G/(G−1) · Σ_g (u_g,new − u_g,base)²
    unpaired    se² = the sum of G/(G−1) · Σ_g u_g² over the two dumps

the linearised variance of a ratio of sums over clusters (W. G. Cochran, Sampling Techniques, 3rd ed., 1977, ch. 6);
for evaluations of language models see E. Miller, "Adding Error Bars to Evals" (arXiv 2411.00640, 2024).
"""

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from budget_cli.analysis.earlier_result import EarlierResult
from budget_cli.analysis.loss import Aggregate, Coefficients, Loss, PromptColumns, length_source
from budget_cli.analysis.numbers import finite_or_none
from budget_cli.groups.double_double import DoubleDouble
from budget_cli.groups.groups import Groups
from budget_cli.groups.moments import Floats, quiet_overflow
from budget_cli.ids import Key, keys_at
from budget_cli.records.columns import Label, Tally

SCHEMA = "budget-cli/compare/1"
ROUNDING = 1e-30  # of two ratios, a difference that may be rounding alone
Rows = NDArray[np.intp]
Order = Literal["loss", "reward", "length"]


class Difference(NamedTuple):
    """A quantity in both dumps; None stands for what cannot be computed."""

    base: float | None
    new: float | None
    delta: float | None  # new − base
    se: float | None  # standard error of delta, clustered by prompt
    z: float | None  # delta / se


class PromptCounts(NamedTuple):
    """Numbers of prompts, by the dump that has them."""

    base: int
    new: int
    paired: int
    only_base: int | None  # None: not available, as of one dump there is only the result
    only_new: int | None


class ResponseCounts(NamedTuple):
    """Numbers of responses that are compared."""

    base: int
    new: int


class LeftOutCounts(NamedTuple):
    """Numbers of samples that are left out for a reason."""

    base: int
    new: int
    delta: int  # new − base


class Moved(NamedTuple):
    """A prompt that both dumps have: means over its responses, and new − base."""

    prompt_id: Key
    responses_base: int
    responses_new: int
    loss_base: float | None
    loss_new: float | None
    loss_delta: float | None
    reward_base: float | None
    reward_new: float | None
    reward_delta: float | None
    length_base: float | None  # tokens
    length_new: float | None
    length_delta: float | None


class Comparison(NamedTuple):
    """Two dumps compared, quantity by quantity."""

    pairing: Literal["prompt", "none"]
    aggregate: Aggregate
    coefficients: Coefficients
    prompts: PromptCounts
    responses: ResponseCounts
    left_out: Mapping[str, LeftOutCounts]  # by reason; empty until `left_out_counts` is added
    loss: Difference
    reward: Difference  # mean
    adjusted_reward: Difference  # mean of r − β·e
    log_ratio: Difference  # mean, nats: k1
    length: Difference  # mean, tokens
    over_budget: Difference  # share of the responses
    zero_variance: Difference  # share of the prompts


QUANTITIES = tuple(name for name, kind in Comparison.__annotations__.items() if kind is Difference)


class Row(NamedTuple):
    """The comparison of the responses with one label."""

    key: Label
    comparison: Comparison


class Pairing(NamedTuple):
    """Rows of the compared prompts of two dumps; if paired, `base[i]` and `new[i]` are the same prompt."""

    base: Rows
    new: Rows
    paired: bool
    only_base: Rows
    only_new: Rows


def pair(base: Groups, new: Groups) -> Pairing:
    """Pair the prompts that both dumps have, in the order of `base`; if they share none, take all prompts, unpaired."""
    places = new.rows(base.keys())
    in_base = np.flatnonzero(places >= 0)
    in_new = places[in_base]
    only_base = np.flatnonzero(places < 0)
    only_new = np.setdiff1d(np.arange(len(new)), in_new)
    if in_base.size:
        return Pairing(in_base, in_new, True, only_base, only_new)
    return Pairing(np.arange(len(base)), np.arange(len(new)), False, only_base, only_new)


@quiet_overflow
def compare_groups(
    base: Groups, new: Groups, pairing: Pairing, coefficients: Coefficients, aggregate: Aggregate = "response"
) -> Comparison:
    """Compare two dumps on the prompts of a pairing.

    Args:
        base, new: moments by prompt, both with the budget of the coefficients.
        pairing: the prompts to compare.
        coefficients: B, β and α, the same for both.
        aggregate: as in `compute_loss`; it affects the loss only.
    """
    one, two = PromptColumns(base, coefficients, 0), PromptColumns(new, coefficients, 0)
    pivots = _Pivots.from_columns(one if len(base) else two)
    of_base = _sums(base, one, pairing.base, aggregate, pivots)
    of_new = _sums(new, two, pairing.new, aggregate, pivots)
    return Comparison(
        "prompt" if pairing.paired else "none",
        aggregate,
        coefficients,
        PromptCounts(
            len(base),
            len(new),
            pairing.base.size if pairing.paired else 0,
            pairing.only_base.size,
            pairing.only_new.size,
        ),
        ResponseCounts(int(one.n[pairing.base].sum()), int(two.n[pairing.new].sum())),
        {},
        **{name: _difference(of_base.get(name), of_new.get(name), pairing.paired) for name in QUANTITIES},
    )


def left_out_counts(base: Mapping[str, int], new: Mapping[str, int]) -> dict[str, LeftOutCounts]:
    """Return the samples that are left out of two dumps, by reason."""
    of = {reason: (base.get(reason, 0), new.get(reason, 0)) for reason in dict.fromkeys((*base, *new))}
    return {reason: LeftOutCounts(one, two, two - one) for reason, (one, two) in of.items()}


def from_loss(loss: Loss, tally: Tally) -> EarlierResult:
    """Take the comparable numbers from a loss."""
    quantities = {
        "loss": loss.loss,
        "reward": loss.reward.mean,
        "adjusted_reward": loss.adjusted_reward.mean,
        "log_ratio": loss.kl.k1,
        "length": loss.length.mean,
        "over_budget": loss.over_budget.fraction,
        "zero_variance": loss.groups.zero_variance / loss.prompts if loss.prompts else None,
    }
    return EarlierResult(
        quantities, loss.coefficients, loss.aggregate, loss.prompts, loss.responses, tally, length_source(tally), []
    )


def compare_results(
    base: EarlierResult, new: EarlierResult, coefficients: Coefficients, aggregate: Aggregate
) -> Comparison:
    """Compare two results as wholes: without prompts there are no pairs and no standard errors."""
    differences = {}
    for name in QUANTITIES:
        one, two = base.quantities[name], new.quantities[name]
        delta = two - one if one is not None and two is not None else None
        differences[name] = Difference(one, two, delta, None, None)
    prompts = PromptCounts(base.prompts, new.prompts, 0, None, None)
    responses = ResponseCounts(base.responses, new.responses)
    return Comparison("none", aggregate, coefficients, prompts, responses, {}, **differences)


@quiet_overflow
def moved(
    base: Groups, new: Groups, pairing: Pairing, coefficients: Coefficients, order: Order, most: int
) -> list[Moved]:
    """Return the paired prompts whose quantity `order` changed most, the largest change first."""
    if not pairing.paired:
        return []
    both = [
        _means(groups, PromptColumns(groups, coefficients, 0), rows)
        for groups, rows in ((base, pairing.base), (new, pairing.new))
    ]
    deltas = {name: both[1][name] - both[0][name] for name in ("loss", "length")}
    old_means, new_means = base.means(pairing.base, "r"), new.means(pairing.new, "r")
    deltas["reward"] = (new_means - old_means).value
    ranked = np.argsort(-np.abs(np.where(np.isfinite(deltas[order]), deltas[order], -0.0)), kind="stable")[:most]
    keys = base.keys()
    found = []
    for i in ranked.tolist():
        if not deltas[order][i]:
            break
        numbers: list[float | None] = []
        for name in ("loss", "reward", "length"):
            delta = deltas[name]
            numbers += [finite_or_none(both[0][name][i]), finite_or_none(both[1][name][i]), finite_or_none(delta[i])]
        counts = [int(side["n"][i]) for side in both]
        found.append(Moved(keys[pairing.base[i]], *counts, *numbers))
    return found


class _Pivots(NamedTuple):
    """Values near which means lie, the same for both dumps: sums about them keep the digits of a difference."""

    reward: float = 0.0
    log_ratio: float = 0.0

    @classmethod
    def from_columns(cls, view: PromptColumns) -> "_Pivots":
        """Take the values of the first prompt."""
        if not view.n.size:
            return cls()
        return cls(*(float(x0[0]) if math.isfinite(x0[0]) else 0.0 for x0 in (view.r0, view.k0)))


class _Sums(NamedTuple):
    """A quantity of some prompts, as the ratio Σ y / Σ n about a pivot; y in parts, of which one may be all that moved.

    What did not move then takes no digits from what did.
    """

    parts: tuple[DoubleDouble, ...]
    n: Floats
    pivot: float = 0.0

    def at(self, rows: Rows) -> "_Sums":
        """Return the sums of these prompts."""
        return self._replace(
            parts=tuple(DoubleDouble(part.hi[rows], part.lo[rows]) for part in self.parts), n=self.n[rows]
        )


def _sums(groups: Groups, view: PromptColumns, rows: Rows, aggregate: Aggregate, pivots: _Pivots) -> dict[str, _Sums]:
    """Return the sums at these rows of each quantity for which all responses have the fields that it needs."""
    n, available = view.n, view.available
    each, zero = np.ones_like(n), np.zeros_like(n)

    def of(y: Floats, weight: Floats) -> _Sums:
        return _Sums((DoubleDouble(y, zero),), weight)

    reward = view.reward_sums(pivots.reward)
    sums = {"reward": _Sums((reward,), n, pivots.reward)}
    if available.loss:
        parts = view.loss_sums_in_full()
        sums["loss"] = _Sums(parts, n) if aggregate == "response" else _Sums(tuple(y / n for y in parts), each)
    if available.adjustable:
        sums["adjusted_reward"] = _Sums((reward, view.penalty_sums()), n, pivots.reward)
    if available.log_ratio:
        sums["log_ratio"] = _Sums((view.log_ratio_sums(pivots.log_ratio),), n, pivots.log_ratio)
    if available.length:
        sums["length"] = of(groups.column("L_sum"), n)
    if available.budgeted:
        sums["over_budget"] = of(groups.column("over", 0), n)
    sums["zero_variance"] = of(view.zero_variance.astype(np.float64), each)
    return {name: one.at(rows) for name, one in sums.items()}


def _difference(base: _Sums | None, new: _Sums | None, paired: bool) -> Difference:
    ratios = _exact_ratios(base), _exact_ratios(new)
    one = None if base is None or ratios[0] is None else _as_float(sum(ratios[0], Fraction(base.pivot)))
    two = None if new is None or ratios[1] is None else _as_float(sum(ratios[1], Fraction(new.pivot)))
    if base is None or new is None or ratios[0] is None or ratios[1] is None:
        return Difference(one, two, None, None, None)
    moved = _moved_parts(base, new, paired)
    totals = [sum((parts[i] for i in moved), Fraction()) for parts in (ratios[0], ratios[1])]
    delta = _as_float(totals[1] - totals[0])
    if delta is not None and abs(delta) <= ROUNDING * sum(
        abs(parts[i]) for parts in (ratios[0], ratios[1]) for i in moved
    ):
        delta = 0.0
    influences = [_influence(side, moved, total) for side, total in zip((base, new), totals, strict=True)]
    clusters = [influence.value for influence in influences]
    if paired:
        moves = (influences[1] - influences[0]).value
        shares = _share(base, moved, totals[0]) + _share(new, moved, totals[1])
        clusters = [moves * (np.abs(moves) > 1e-28 * shares)]  # less is rounding: all moved alike
    variances = [_variance(influence) for influence in clusters]
    se = None if None in variances else finite_or_none(math.sqrt(sum(v for v in variances if v is not None)))
    return Difference(one, two, delta, se, delta / se if delta is not None and se else None)


def _moved_parts(base: _Sums, new: _Sums, paired: bool) -> list[int]:
    """Return the parts of which some prompt has another number in the other dump."""
    parts = list(zip(base.parts, new.parts, strict=True))
    if not paired or not np.array_equal(base.n, new.n):
        return list(range(len(parts)))
    return [
        i
        for i, (one, two) in enumerate(parts)
        if not (np.array_equal(one.hi, two.hi) and np.array_equal(one.lo, two.lo))
    ]


def _exact_ratios(sums: _Sums | None) -> list[Fraction] | None:
    """Return Σ y / Σ n about the pivot by part, with no rounding after the sums: shares may differ in the last digits.

    None without prompts, and where a sum is beyond the range of a double.
    """
    if sums is None or not sums.n.size:
        return None
    totals, count = [part.sum() for part in sums.parts], Fraction(math.fsum(sums.n))
    if not all(math.isfinite(total.value) for total in totals):
        return None
    return [(Fraction(float(total.hi)) + Fraction(float(total.lo))) / count for total in totals]


def _as_float(value: Fraction) -> float | None:
    try:
        return float(value)
    except OverflowError:
        return None


def _share(sums: _Sums, parts: Sequence[int], ratio: Fraction) -> Floats:
    """Return the magnitude of the terms of each prompt's influence on the ratio."""
    terms = abs(float(ratio)) * sums.n + sum(np.abs(sums.parts[i].hi) for i in parts)
    return np.asarray(terms / sums.n.sum())


def _influence(sums: _Sums, parts: Sequence[int], ratio: Fraction) -> DoubleDouble:
    """Return each prompt's influence on the ratio, with the digits of a difference between two dumps that are alike."""
    about_ratio = sum((sums.parts[i] for i in parts), DoubleDouble.from_fraction(-ratio) * sums.n)
    influence: DoubleDouble = about_ratio / sums.n.sum()
    return influence


def _variance(influence: Floats) -> float | None:
    """Return G/(G−1) · Σ u²; None for a single prompt, which shows nothing of how prompts differ."""
    prompts = influence.size
    return finite_or_none((influence * influence).sum() * prompts / (prompts - 1)) if prompts > 1 else None


def _means(groups: Groups, view: PromptColumns, rows: Rows) -> dict[str, Floats]:
    """Return the means over the responses to each prompt; NaN if they cannot be computed."""
    n = view.n[rows]
    nothing = np.full_like(n, np.nan)
    has_length = view.available.length
    return {
        "n": n,
        "loss": view.loss_sums[rows] / n if view.available.loss else nothing,
        "reward": view.r_mean[rows],
        "length": groups.column("L_sum")[rows] / n if has_length else nothing,
    }


def prompt_ids(groups: Groups, rows: Rows, most: int) -> list[Key]:
    """Return the ids of the first `most` of these prompts."""
    return keys_at(groups.keys(), rows[:most].tolist())
