"""Groups with a budget at each percentile of the lengths → a β for each budget, and the reasons in words.

β is chosen so that length makes a given share of the advantage's variance: share = β²·S_ee / (S_rr + β²·S_ee) gives
β = √(share / (1 − share) · S_rr / S_ee), with S_rr and S_ee summed over prompts.
"""

import math
from typing import NamedTuple

from budget_cli import objective
from budget_cli.analysis.loss import Coefficients, Loss, compute_loss
from budget_cli.analysis.totals import compute_totals
from budget_cli.groups.groups import Groups
from budget_cli.groups.lengths import Lengths
from budget_cli.records.columns import Tally

SCHEMA = "budget-cli/suggestion/1"
PERCENTS = (50, 75, 90, 95, 99)


class Suggestion(NamedTuple):
    """A budget, a β, and their effect."""

    percentile: int  # of the lengths, at which the budget lies
    token_budget: int
    budget_penalty_coef: float | None  # reward per token; None if no β reaches the share
    over: int  # responses
    fraction: float
    budget_share: float | None
    longest_penalty: float | None  # reward that the longest response loses
    phantom: int | None  # prompts
    reordered: int | None
    reasons: list[str]


def budgets(lengths: Lengths) -> dict[int, int]:
    """Return the budget at each percentile, in whole tokens; of equal budgets only the first."""
    budgets_by_percentile: dict[int, int] = {}
    for percent, value in zip(PERCENTS, lengths.percentiles(PERCENTS), strict=True):
        if value is not None and round(value) not in budgets_by_percentile.values():
            budgets_by_percentile[percent] = round(value)
    return budgets_by_percentile


def suggest_budgets(groups: Groups, percentiles: dict[int, int], share: float, tally: Tally) -> list[Suggestion]:
    """Suggest a β for each budget of the groups' layout, in order.

    Args:
        groups: moments by prompt, at these budgets.
        percentiles: budget by percentile.
        share: the share of the advantage's variance that length should make, between 0 and 1.
        tally: what became of the records, which is passed through.
    """
    if not len(groups):
        return []
    whole = compute_totals(groups, (0.0,), "response").whole.each(lambda sums: sums.value)
    suggestions = []
    for i, (percent, budget) in enumerate(percentiles.items()):
        beta = _beta(share, whole.rr, whole.ee[i])
        loss = compute_loss(groups, Coefficients(budget, beta or 0.0, 0.0), tally, budget=i)
        longest = int(groups.column("L_max").max())
        over = loss.over_budget
        assert over.responses is not None
        assert over.fraction is not None
        suggestions.append(
            Suggestion(
                percentile=percent,
                token_budget=budget,
                budget_penalty_coef=beta,
                over=over.responses,
                fraction=over.fraction,
                budget_share=loss.advantage.budget_share if beta else None,
                longest_penalty=beta * objective.excess(longest, budget) if beta else None,
                phantom=loss.groups.phantom if beta else None,
                reordered=loss.groups.reordered if beta else None,
                reasons=_reasons(loss, percent, longest, beta, float(whole.rr)),
            )
        )
    return suggestions


def _beta(share: float, rr: float, ee: float) -> float | None:
    """Return the β for this share; None if advantages come from length alone, or not at all."""
    if not (rr > 0 and ee > 0):
        return None
    beta = math.sqrt(share / (1 - share) * rr / ee)
    return beta if 0 < beta < math.inf else None


def _reasons(loss: Loss, percent: int, longest: int, beta: float | None, rr: float) -> list[str]:
    over = loss.over_budget
    by = f", by {over.excess_mean:,.0f} tokens on average" if over.excess_mean is not None else ""
    share_over = f"p{percent}: {over.responses:,} of {loss.responses:,} responses ({over.fraction:.1%}) are over"
    reasons = [share_over + by]
    if longest == 0:
        return [
            *reasons,
            "every length is 0: the field was never filled, or another one has them (budget-cli fields)",
        ]
    if beta is None and not rr > 0:
        return [*reasons, "no prompt has unequal rewards: the advantage comes from length alone, or there is none"]
    if beta is None:
        return [*reasons, "within each prompt, all responses are equally far over it or none is: β makes no difference"]
    share, budget = loss.advantage.budget_share, loss.coefficients.token_budget
    assert share is not None
    assert budget is not None
    reasons.append(
        f"length makes {share:.0%} of the advantage; the longest ({longest:,} tokens) loses "
        f"{beta * objective.excess(longest, budget):.3g}"
    )
    phantom, reordered = loss.groups.phantom or 0, loss.groups.reordered or 0
    get = "1 prompt gets" if phantom == 1 else f"{phantom:,} prompts get" if phantom else "no prompt gets"
    where = "1 prompt" if reordered == 1 else f"{reordered:,} prompts" if reordered else "no prompt"
    return [
        *reasons,
        f"{get} an advantage from length alone",
        f"the worst response beats the best in {where}",
    ]
