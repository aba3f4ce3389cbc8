"""Moments of hinges → moments of the penalty that an objective takes of each response, before β.

A penalty is a sum of hinges (objective/penalties.py), so its sums are sums of theirs. Those of products of two hinges
follow from one of them: for t ≤ u, max(0, L − t) is max(0, L − u) + (u − t) wherever the latter is not 0, hence

    Σ h_t·h_u = Σ h_u² + (u − t)·Σ h_u.

All of it is in two doubles: what cancels is whole, or leaves digits that are true.
"""

from typing import NamedTuple

import numpy as np

from budget_cli.groups.double_double import DoubleDouble
from budget_cli.groups.groups import Groups
from budget_cli.groups.moments import BUDGET, PROMPT, Floats, Layout, OwnBudgets, quiet_overflow
from budget_cli.objective.penalties import SHAPES, Hinges
from budget_cli.objective.settings import FLOOR, PER_RESPONSE, TOKENS, Objective

SMALLEST = 0.25  # below the scatter of any whole numbers that are not all the same


OWN = 0  # in place of a budget, where responses have budgets of their own


def hinges_of(objective: Objective, budgets: tuple[int, ...]) -> Layout:
    """Return the layout of a scan from which the penalty of this objective follows at these budgets.

    If responses have budgets of their own, those stand in place of them.
    """
    by_token = objective.aggregate in TOKENS
    if objective.has_own_budgets:
        knots = {t for t, _ in objective.hinges(OWN).terms}
        plain = {OWN} if objective.is_gated else {OWN, *knots}
        own = OwnBudgets(
            objective.budget_field or objective.budget_by or "",
            objective.factors,
            objective.budgets,
            objective.otherwise,
            objective.is_gated and objective.penalty == "distance",
        )
        right = tuple(sorted(knots)) if objective.is_gated else ()
        return Layout(tuple(sorted(plain)), objective.correct_above, right, own, by_token)
    if objective.has_plain_penalty and objective.advantage != "opo":
        return Layout(budgets, objective.correct_above, by_token=by_token)
    knots = {t for budget in budgets for t, _ in objective.hinges(budget).terms}
    plain = set(budgets) if objective.is_gated else {*budgets, *knots}
    if objective.advantage == "opo":
        plain |= {FLOOR}  # its hinge is the length
    right = tuple(sorted(knots)) if objective.is_gated else ()
    return Layout(tuple(sorted(plain)), objective.correct_above, right, by_token=by_token)


@quiet_overflow
def penalised(groups: Groups, objective: Objective, budgets: tuple[int, ...], weight: Floats | None = None) -> Groups:
    """Return the groups with the penalty of this objective in place of the excess, at these budgets.

    Args:
        groups: of a scan with the layout that `hinges_of` gives.
        objective: whose penalty is taken.
        budgets: tokens, in ascending order.
        weight: the factor of β in each prompt; None: from these groups.

    Returns:
        A view for reading, not merging; the groups themselves if the penalty is the excess.
    """
    if groups.layout.by_token:
        weight = weights(groups, objective)
        halves = [penalised(half, objective, budgets, weight) for half in (groups.of_responses(), groups.of_tokens())]
        table = np.concatenate([half.table for half in halves], axis=1)
        return groups.in_layout(halves[0].layout._replace(by_token=True), table)
    own = groups.layout.own
    if objective.has_plain_penalty and objective.advantage != "opo" and own is None:
        return groups
    if own is not None:
        budgets = (OWN,) * len(own.factors)
    layout = Layout(budgets, groups.layout.correct_above, own=own, is_penalised=True)
    table = np.empty((len(groups), layout.width))
    table[:, : len(PROMPT)] = groups.table[:, : len(PROMPT)]
    weight = weights(groups, objective) if weight is None else weight
    if not budgets:  # a baseline may be weighted by length even where nothing is penalised
        table[:, len(PROMPT) :] = 0.0
        if objective.advantage == "opo":
            r_gap = _gaps(groups, [])[0]
            table[:, layout.at("r_gap", 0)], table[:, layout.at("r_gap_low", 0)] = r_gap.hi, r_gap.lo
        else:
            table[:, layout.at("r_gap", 0)] = np.nan
    for i, budget in enumerate(budgets):
        first = groups.layout.of_factor(i) if own is not None else 0
        columns = _of_budget(groups, objective, budget, first, weight)
        for name in layout.block:
            table[:, layout.at(name, i)] = columns[name]
    return groups.in_layout(layout, table)


def _of_budget(groups: Groups, objective: Objective, budget: int, first: int, weight: Floats) -> dict[str, Floats]:
    """Return the columns of one budget, whose hinges have columns that begin at the position `first`."""
    hinges, at = objective.hinges(budget), first + groups.layout.budgets.index(budget)
    parts = _hinges(groups, hinges, objective.is_gated, first)
    n, unknown = groups.column("n"), DoubleDouble(np.full(len(groups), np.nan), np.zeros(len(groups)))
    best, worst = _extremes(groups, hinges, objective)
    r_gap, p_gap = _gaps(groups, parts) if objective.advantage == "opo" else (unknown, unknown)
    return {
        **_moments(groups, hinges, parts, objective.is_gated, weight),
        "over": groups.column("over", at),
        "excess": n * groups.column("e0", at) + groups.column("e1", at),
        "p_best": best * weight,
        "p_worst": worst * weight,
        "r_gap": r_gap.hi,
        "r_gap_low": r_gap.lo,
        "p_gap": (p_gap * weight).hi,
        "p_gap_low": (p_gap * weight).lo,
    }


def weights(groups: Groups, objective: Objective) -> Floats:
    """Return the factor of β in each prompt, shape (prompts,): from its solve rate, or 1."""
    n, found = groups.column("n"), np.ones(len(groups))
    if not objective.needs_solve_rate:
        return found
    rate = groups.column("right") / n
    if objective.scale != "none":
        floor = 1 / n if objective.scale_floor == PER_RESPONSE else float(objective.scale_floor)
        found = np.maximum(rate, floor)
    return found if objective.gate is None else found * (rate >= objective.gate)


def largest_penalties(groups: Groups, objective: Objective, budget: int) -> Floats:
    """Return the largest penalty of a response to each prompt, before β, shape (prompts,).

    Where only correct responses are penalised, it is that of the longest of those with the highest reward.
    """
    shape = objective.shape(budget)
    longest, shortest = (np.nan_to_num(groups.column(name)) for name in ("L_max", "L_min"))
    if objective.has_plain_penalty:
        return np.asarray(shape.at(longest))
    if objective.is_gated:
        best = shape.at(np.nan_to_num(groups.column("L_best")))
        return np.asarray(best * (groups.column("r_max") > objective.correct_above) * weights(groups, objective))
    return np.asarray(np.maximum(shape.at(longest), shape.at(shortest)) * weights(groups, objective))


class _Hinge(NamedTuple):
    """The moments of one hinge, shape (prompts,) each."""

    knot: int
    coefficient: int
    mean: DoubleDouble
    ee: DoubleDouble
    re: DoubleDouble
    ek: DoubleDouble


def _hinges(groups: Groups, hinges: Hinges, of_right: bool, first: int) -> list[_Hinge]:
    """Return the moments of each hinge of a penalty, whose columns begin at the position `first`."""
    n, layout = groups.column("n"), groups.layout
    knots, first = (layout.right, first + len(layout.budgets)) if of_right else (layout.budgets, first)
    parts = []
    for knot, coefficient in hinges.terms:
        column = {name: groups.column(name, first + knots.index(knot)) for name in BUDGET}
        mean = DoubleDouble(column["e1"]) / n + column["e0"]
        sums = (DoubleDouble(column[name], column[name + "_low"]) for name in ("ee", "re", "ek"))
        parts.append(_Hinge(knot, coefficient, mean, *sums))
    return parts


def _moments(groups: Groups, hinges: Hinges, parts: list[_Hinge], of_right: bool, weight: Floats) -> dict[str, Floats]:
    """Return the columns e0 to ek_low of a penalty."""
    n = groups.column("n")
    zero = DoubleDouble(np.zeros_like(n), np.zeros_like(n))
    mean = sum((part.mean * part.coefficient for part in parts), zero + 0.0 * n)
    mean = mean if of_right else mean + hinges.constant
    ee, re, ek = zero, zero, zero
    for i, one in enumerate(parts):
        re, ek = re + one.re * one.coefficient, ek + one.ek * one.coefficient
        ee = ee + one.ee * (one.coefficient * one.coefficient)
        for other in parts[i + 1 :]:  # with a larger knot
            between = other.mean + (other.knot - one.knot) - one.mean
            ee = ee + (other.ee + other.mean * between * n) * (2 * one.coefficient * other.coefficient)
    varies = ee.value >= SMALLEST
    mean = mean * weight
    columns = {"e0": mean.hi, "e1": n * mean.lo}
    for name, found, by in (("ee", ee, DoubleDouble(weight) * weight), ("re", re, weight), ("ek", ek, weight)):
        scaled: DoubleDouble = found * by
        columns |= {name: np.where(varies, scaled.hi, 0.0), f"{name}_low": np.where(varies, scaled.lo, 0.0)}
    return columns


def _gaps(groups: Groups, parts: list[_Hinge]) -> tuple[DoubleDouble, DoubleDouble]:
    """Return Σ L·r / Σ L less the mean reward, and the same for the penalty; L is the hinge at the floor."""
    n, at = groups.column("n"), groups.layout.budgets.index(FLOOR)
    total = groups.column("L_sum")
    by_length = DoubleDouble(np.zeros_like(n), np.zeros_like(n))
    length = groups.means(slice(None), "e", at)
    for part in parts:
        about = part.mean + part.knot - length
        by_length = by_length + (part.ee + part.mean * about * n) * part.coefficient
    some = np.where(total > 0, total, 1.0)  # without tokens, the baseline is the mean
    by_reward = DoubleDouble(groups.column("re", at), groups.column("re_low", at))
    return by_reward / some, by_length / some


def _extremes(groups: Groups, hinges: Hinges, objective: Objective) -> tuple[Floats, Floats]:
    """Return the largest penalty of a best response and the smallest of a worst; NaN if they cannot be told."""
    if not SHAPES[objective.penalty].is_monotone or objective.has_own_budgets:
        unknown = np.full(len(groups), np.nan)
        return unknown, unknown
    best, worst = (hinges.at(np.nan_to_num(groups.column(name))) for name in ("L_best", "L_worst"))
    if objective.is_gated:
        best = best * (groups.column("r_max") > objective.correct_above)
        worst = worst * (groups.column("r_min") > objective.correct_above)
    return best, worst
