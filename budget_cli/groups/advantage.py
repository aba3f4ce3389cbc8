"""Moments of rewards and penalties → what turns the adjusted rewards of a prompt into its advantages.

A = factor·(x − x̄) + shift for every estimator (objective/estimators.py), with x = r − β·φ; so the closed form of the
loss holds with the scatter times the factor, squared where the advantage is.
"""

import numpy as np

from budget_cli import objective
from budget_cli.groups.double_double import DoubleDouble
from budget_cli.groups.groups import Groups
from budget_cli.groups.moments import Floats, quiet_overflow
from budget_cli.objective.estimators import Adjusted, Advantages, Batch, with_raw_singletons
from budget_cli.objective.settings import Objective

NO_BATCH = Batch(0.0, DoubleDouble.zero(), 0.0, 0.0)  # for the estimators that do not ask for it


@quiet_overflow
@np.errstate(divide="ignore")
def advantages_of(
    groups: Groups, trained: Objective, beta: float, budget: int = 0, batch: Batch | None = None
) -> Advantages | None:
    """Compute the factor and the shift of every prompt.

    Args:
        groups: moments by prompt, with the penalty of the objective.
        trained: the objective.
        beta: β.
        budget: position of the budget in the groups' layout.
        batch: the adjusted rewards of all responses, if the estimator asks for them; None if the groups are of all.

    Returns:
        Arrays of shape (prompts,); None if the advantage is the adjusted reward minus its mean.
    """
    if trained.has_plain_advantage:
        return None
    n, mean, scatter = groups.column("n"), *_means_and_scatter(groups, beta, budget)
    gap = DoubleDouble(np.full_like(n, np.nan))
    if groups.layout.is_penalised:
        r_gap, p_gap = (
            DoubleDouble(groups.column(name, budget), groups.column(name + "_low", budget))
            for name in ("r_gap", "p_gap")
        )
        gap = r_gap - p_gap * beta
    if batch is None:
        batch = batch_of(groups, beta, budget) if trained.estimator.of_batch else NO_BATCH
    from_batch = mean - batch.mean
    x = Adjusted(n, mean.value, scatter, gap.value, from_batch.value, batch)
    found = trained.estimator.of(x, trained.ddof, trained.eps)
    of_baseline = {"opo": -gap, "reinforce++": from_batch}.get(trained.advantage)
    if trained.singletons == "reward":
        found, alone = with_raw_singletons(x, trained.eps, trained.estimator.divides, found), n == 1
        others = of_baseline or DoubleDouble(np.zeros_like(n), np.zeros_like(n))
        of_baseline = DoubleDouble(*(np.where(alone, a, b) for a, b in ((mean.hi, others.hi), (mean.lo, others.lo))))
    return found._replace(gap=of_baseline)


@quiet_overflow
def batch_of(groups: Groups, beta: float, budget: int = 0) -> Batch:
    """Compute what the adjusted rewards of all responses have in common."""
    n, mean, scatter = groups.column("n"), *_means_and_scatter(groups, beta, budget)
    responses, within = float(n.sum()), float(scatter.sum())
    if not responses:
        return NO_BATCH
    pivot = DoubleDouble(float(mean.hi[0]))  # differences from it keep the digits of close means
    about = (mean - pivot).value
    of_all = float((n * about).sum() / responses)
    return Batch(responses, pivot + of_all, within + float((n * (about - of_all) ** 2).sum()), within)


def _means_and_scatter(groups: Groups, beta: float, budget: int) -> tuple[DoubleDouble, Floats]:
    """Return the mean of the adjusted rewards of each prompt, and their scatter about it."""
    n, has_budget = groups.column("n"), bool(groups.layout.budgets)
    zero = DoubleDouble(np.zeros_like(n), np.zeros_like(n))

    def product(name: str) -> DoubleDouble:
        if "e" in name and not has_budget:
            return zero
        at = budget if "e" in name else None
        return DoubleDouble(groups.column(name, at), groups.column(name + "_low", at))

    rr, re, ee = map(product, ("rr", "re", "ee"))
    scatter = objective.adjusted_form(rr, re, ee, DoubleDouble(beta)).value
    scatter = objective.without_dust(scatter, rr.hi + beta * beta * ee.hi, objective.DUST)
    penalty = groups.means(slice(None), "e", budget) if has_budget else zero
    return groups.means(slice(None), "r") - penalty * beta, scatter
