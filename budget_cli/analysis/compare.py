"""The groups of two dumps → the differences between them, with standard errors.

Prompts are the clusters: responses to one prompt resemble each other, so the prompts are the independent draws, and a
standard error from single responses would be too small. Prompts that both dumps have are compared pairwise.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from budget_cli import objective
from budget_cli.analysis.differences import Column, Difference, Squares, Sums, difference, steps_by_prompt
from budget_cli.analysis.earlier_result import EarlierResult
from budget_cli.analysis.loss import (
    Aggregate,
    Coefficients,
    Loss,
    ObjectiveGiven,
    PromptColumns,
    given,
    length_source,
)
from budget_cli.analysis.numbers import finite_or_none
from budget_cli.errors import UsageProblem
from budget_cli.groups.advantage import advantages_of
from budget_cli.groups.double_double import DoubleDouble
from budget_cli.groups.groups import Groups
from budget_cli.groups.moments import Floats, quiet_overflow
from budget_cli.ids import Key, keys_at
from budget_cli.objective.estimators import ESTIMATORS
from budget_cli.objective.settings import DEFAULT, Objective
from budget_cli.records.columns import Label, Tally

SCHEMA = "budget-cli/compare/1"
Rows = NDArray[np.intp]
Order = Literal["loss", "reward", "length"]


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
    objective: ObjectiveGiven
    uncertain: Mapping[str, float]  # quantities whose delta, se and z may have a relative error above 1e-12: a bound


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
    base: Groups,
    new: Groups,
    pairing: Pairing,
    coefficients: Coefficients,
    aggregate: Aggregate = "response",
    trained: Objective = DEFAULT,
) -> Comparison:
    """Compare two dumps on the prompts of a pairing.

    Args:
        base, new: moments by prompt, both with the budget of the coefficients.
        pairing: the prompts to compare.
        coefficients: B, β and α, the same for both.
        aggregate: as in `compute_loss`; it affects the loss only.
        trained: the objective, which `require_comparable` allows.
    """
    one, two = (_columns(groups, coefficients, trained) for groups in (base, new))
    pivots = _Pivots.from_columns(one if len(base) else two)
    of_base = _sums(base, one, pairing.base, aggregate, pivots)
    of_new = _sums(new, two, pairing.new, aggregate, pivots)
    found = {name: difference(of_base.get(name), of_new.get(name), pairing.paired) for name in QUANTITIES}
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
        **{name: one for name, (one, _) in found.items()},
        objective=given(trained),
        uncertain={name: error for name, (_, error) in found.items() if error is not None},
    )


def is_comparable(advantage: str, singletons: str) -> bool:
    """True if the loss is a sum over prompts that depends on nothing but each of them."""
    return not ESTIMATORS[advantage].of_batch and advantage != "opo" and singletons != "reward"


def require_comparable(trained: Objective) -> None:
    """Require an objective whose loss is a sum over prompts that depends on nothing but each of them.

    Raises:
        UsageProblem: the batch, or a baseline of its own, gives the advantage.
    """
    if not is_comparable(trained.advantage, trained.singletons):
        key = "singletons=reward" if trained.singletons == "reward" else f"advantage={trained.advantage}"
        raise UsageProblem(
            f"{key}: compare has standard errors only for advantages that are centred in each prompt: compare the"
            " results of budget-cli loss --format json instead, or give --set advantage=centred"
        )


def _columns(groups: Groups, coefficients: Coefficients, trained: Objective) -> PromptColumns:
    advantages = advantages_of(groups, trained, coefficients.budget_penalty_coef)
    return PromptColumns(groups, coefficients, 0, advantages=advantages)


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
        quantities,
        loss.coefficients,
        loss.aggregate,
        loss.prompts,
        loss.responses,
        tally,
        length_source(tally),
        [],
        objective_name=loss.objective.name,
        objective=loss.objective.settings,
        objective_sentence=loss.objective.sentence,
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
    made = ObjectiveGiven(base.objective_name, base.objective, base.objective_sentence)
    return Comparison(
        "none", aggregate, coefficients, prompts, responses, {}, **differences, objective=made, uncertain={}
    )


@quiet_overflow
def moved(
    base: Groups,
    new: Groups,
    pairing: Pairing,
    coefficients: Coefficients,
    order: Order,
    most: int,
    trained: Objective = DEFAULT,
) -> list[Moved]:
    """Return the paired prompts whose quantity `order` changed most, the largest change first."""
    if not pairing.paired:
        return []
    sides = (base, pairing.base), (new, pairing.new)
    views = [_columns(groups, coefficients, trained) for groups, _ in sides]
    both = [_means(groups, view, rows) for view, (groups, rows) in zip(views, sides, strict=True)]
    deltas = {name: both[1][name] - both[0][name] for name in ("loss", "length")}
    if all(view.available.loss for view in views):
        sums = [_loss_sums(view, rows) for view, (_, rows) in zip(views, sides, strict=True)]
        deltas["loss"] = steps_by_prompt(*(one._replace(size=one.n) for one in sums))
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


def _sums(groups: Groups, view: PromptColumns, rows: Rows, aggregate: Aggregate, pivots: _Pivots) -> dict[str, Sums]:
    """Return the sums at these rows of each quantity for which all responses have the fields that it needs."""
    n, available = view.n, view.available
    each = np.ones_like(n)

    def of(weight: Floats, *parts: Column, pivot: float = 0.0) -> Sums:
        return Sums(parts, weight, pivot, signs=(1,) * len(parts)).at(rows)

    def counted(y: Floats) -> Column:
        return Column(DoubleDouble(y, np.zeros_like(n)), y)

    def added(y: DoubleDouble, scatter: Floats) -> Column:
        return Column(y, np.abs(y.hi) + np.sqrt(n * scatter))

    reward = added(view.reward_sums(pivots.reward), view.rr)
    sums = {"reward": of(n, reward, pivot=pivots.reward)}
    if available.loss:
        loss = _loss_sums(view, rows)
        sums["loss"] = loss if aggregate == "response" else loss._replace(n=each[rows], size=loss.n)
    if available.adjustable:
        penalty = view.penalty_sums()
        sums["adjusted_reward"] = of(n, reward, Column(penalty, np.abs(penalty.hi)), pivot=pivots.reward)
    if available.log_ratio:
        log_ratio = added(view.log_ratio_sums(pivots.log_ratio), view.kk)
        sums["log_ratio"] = of(n, log_ratio, pivot=pivots.log_ratio)
    if available.length:
        sums["length"] = of(n, counted(groups.column("L_sum")))
    if available.budgeted:
        sums["over_budget"] = of(n, counted(groups.column("over", 0)))
    sums["zero_variance"] = of(each, counted(view.zero_variance.astype(np.float64)))
    return sums


def _loss_sums(view: PromptColumns, rows: Rows) -> Sums:
    """Return the sums of the loss, whose parts are the products about the mean, of which a tie has none, and n·k̄²."""
    beta, alpha, counts = view.beta, view.alpha, ~view.is_tie[rows]

    def form(parts: Sequence[Any], number: Callable[[float], Any]) -> Any:
        rr, re, ee, kk, rk, ek, squares = parts
        b, a = number(beta), number(alpha)
        return objective.loss_form(rr, re, ee, kk, rk, ek, b, a) + a * a * squares

    roots = {name: np.sqrt(view.in_full(name * 2, rows).hi) for name in "rek"}
    products = []
    for name in ("rr", "re", "ee", "kk", "rk", "ek"):
        product = view.in_full(name, rows)
        terms = roots[name[0]] * roots[name[1]] * counts
        products.append(Column(DoubleDouble(product.hi * counts, product.lo * counts), terms))
    squares = Squares(view.n[rows], view.k0[rows], view.k1[rows], view.kk[rows])
    return Sums((*products, squares), view.n[rows], form=form, signs=(1, -1, 1, 1, -1, 1, 1))


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
