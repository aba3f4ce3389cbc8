"""Excess and rewards → findings on whether the budget has the effect that it should."""

from budget_cli import objective
from budget_cli.analysis.checks.findings import CheckInput, Findings, finding
from budget_cli.analysis.numbers import counted, percent


def check(dump: CheckInput) -> Findings:
    """Yield the findings on the budget and its penalty."""
    if not dump.is_penalised:
        return
    c, length, over = dump.loss.coefficients, dump.loss.length, dump.loss.over_budget.responses
    budget, beta, responses = c.token_budget or 0, c.budget_penalty_coef, dump.responses
    if over == 0 and length.max:
        message = f"no response is over the budget of {budget:,} tokens; the longest has {length.max:,.0f}"
        yield finding("budget-never-reached", message, responses, responses, "responses")
    if over == responses:
        message = (
            f"all {responses:,} responses are over the budget of {budget:,} tokens; the shortest has {length.min:,.0f}"
        )
        yield finding("budget-always-exceeded", message, responses, responses, "responses")
    least, most = dump.loss.reward.min, dump.loss.reward.max
    if least is not None and most is not None and most > least:
        spread, times = most - least, dump.threshold("penalty-outweighs-reward.times")
        penalty = beta * objective.excess(dump.groups.column("L_max"), budget)
        crushed = penalty > times * spread
        if crushed.any():
            count, prompts = int(crushed.sum()), len(dump.groups)
            message = (
                f"penalties reach {float(penalty.max()):.3g} but rewards differ by at most {spread:.3g}; a penalty"
                f" exceeds that in {count:,} of {counted(prompts, 'prompt')}"
            )
            yield finding("penalty-outweighs-reward", message, count, prompts, "prompts", dump.prompts(crushed))
    yield from _already_in_reward(dump)


def _already_in_reward(dump: CheckInput) -> Findings:
    """Yield a finding if rewards over the budget look as if the penalty had already been subtracted."""
    values, budget = dump.counters.values, dump.loss.coefficients.token_budget
    within, over = values.get(f"reward_within@{budget}", {}), values.get(f"reward_over@{budget}", {})
    if not within or None in within or len(within) > dump.threshold("penalty-in-reward.values"):
        return
    new = {value: number for value, number in over.items() if value not in within}
    top = max(value for value in within if isinstance(value, float))
    if len(new) <= len(within) or any(isinstance(value, float) and value > top for value in new):
        return
    count, of = sum(new.values()), sum(over.values())
    rewards = ", ".join(f"{value:g}" for value in sorted(value for value in within if isinstance(value, float)))
    others = f"{count:,} ({percent(count, of)}) have other rewards, none of them higher"
    message = f"within the budget, rewards are {rewards}; of the {counted(of, 'response')} over it {others}"
    yield finding("penalty-in-reward", message, count, of, "responses")
