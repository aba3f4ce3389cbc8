"""Excess and rewards → findings on whether the budget has the effect that it should."""

from collections.abc import Iterable

from budget_cli.analysis.checks.findings import CheckInput, Findings, finding
from budget_cli.analysis.length_reward import KINDS, length_reward
from budget_cli.analysis.numbers import counted, percent
from budget_cli.evidence.counters import Counts
from budget_cli.evidence.first_prompts import PROMPTS, FirstPrompts
from budget_cli.groups.penalty import largest_penalties

MOST_LISTED = 6  # rewards in a message


def check(dump: CheckInput) -> Findings:
    """Yield the findings on the budget and its penalty."""
    yield from _already_in_reward(dump)
    if dump.penalty is None and dump.per_prompt is not None:
        yield from _of_length(dump, dump.per_prompt.first)
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
        penalty = beta * largest_penalties(dump.groups, dump.trained, budget)
        crushed = penalty > times * spread
        if crushed.any():
            count, prompts = int(crushed.sum()), len(dump.groups)
            message = (
                f"penalties reach {float(penalty.max()):.3g} but rewards differ by at most {spread:.3g}; a penalty"
                f" exceeds that in {count:,} of {counted(prompts, 'prompt')}"
            )
            yield finding("penalty-outweighs-reward", message, count, prompts, "prompts", dump.prompts(crushed))


def _already_in_reward(dump: CheckInput) -> Findings:
    """Yield a finding if rewards hold a penalty, or look as if they held one that cannot be fitted."""
    c, penalty = dump.loss.coefficients, dump.penalty
    if penalty is not None:
        of = f"{'sampled ' if penalty.sampled else ''}response{'' if penalty.over == 1 else 's'}"
        message = (
            f"the reward already holds a penalty of {penalty}: {penalty.fitting:,} of the {penalty.over:,} {of} over it"
            f" have {listed(penalty.rewards)} less that penalty"
        )
        if dump.is_penalised and not penalty.is_about(c.token_budget, c.budget_penalty_coef):
            message += f"; given: β {c.budget_penalty_coef:.10g} over {c.token_budget:,} tokens"
        severity = "error" if dump.is_penalised else "info"
        yield finding("penalty-in-reward", message, penalty.fitting, penalty.over, "responses", severity=severity)
    elif dump.is_penalised:
        yield from _other_rewards(dump)


def _other_rewards(dump: CheckInput) -> Findings:
    """Yield a finding if rewards over the budget differ from those within it."""
    values, budget = dump.counters.values, dump.loss.coefficients.token_budget
    within, over = values.get(f"reward_within@{budget}", {}), values.get(f"reward_over@{budget}", {})
    if not within or None in within or len(within) > dump.threshold("penalty-in-reward.values"):
        return
    new = {value: number for value, number in over.items() if value not in within}
    top = max(value for value in within if isinstance(value, float))
    if len(new) <= len(within) or any(isinstance(value, float) and value > top for value in new):
        return
    count, of = sum(new.values()), sum(over.values())
    others = f"{count:,} ({percent(count, of)}) have other rewards, none of them higher"
    message = f"within the budget, rewards are {_values(within)}; of the {counted(of, 'response')} over it {others}"
    yield finding("penalty-in-reward", message, count, of, "responses")


def _of_length(dump: CheckInput, first: FirstPrompts) -> Findings:
    """Yield a finding if the rewards of the first prompts are a function of the length."""
    prompt, reward, length = first.rows()
    found = length_reward(prompt, reward, length, dump.threshold("length-in-reward.responses"))
    if found is None:
        return
    some = f"the first {found.prompts:,} prompts" if len(dump.groups) > PROMPTS else f"{found.prompts:,} prompts"
    message = (
        f"the reward is a function of length within each prompt: for responses of {KINDS} kinds at most, as right and"
        f" wrong ones, it {found.how} ({found.responses:,} responses to {some}, {found.rewards:,} different rewards)"
    )
    places = dump.prompts(dump.groups.column("n") > 1)
    yield finding("length-in-reward", message, found.prompts, found.prompts, "prompts", places)


def without_penalty(dump: CheckInput) -> str | None:
    """Say that responses over the budget have the rewards of those within it; None if that is not so, or not known."""
    values, budget = dump.counters.values, dump.loss.coefficients.token_budget
    within, over = values.get(f"reward_within@{budget}", {}), values.get(f"reward_over@{budget}", {})
    few = 0 < len(within) <= dump.threshold("penalty-in-reward.values")
    if (
        not dump.is_penalised
        or dump.penalty is not None
        or not few
        or not over
        or not set(over) <= set(within) - {None}
    ):
        return None
    return f"no penalty is in them: over {budget:,} tokens they are {_values(over)}, too"


def _values(counts: Counts) -> str:
    return listed(sorted(value for value in counts if isinstance(value, float)))


def listed(values: Iterable[float]) -> str:
    """Return the rewards in words: `0, 0.5 or 1`, and of many the first two and the last: `0, 0.1, … or 1`."""
    shown = [f"{value:g}" for value in values]
    if len(shown) > MOST_LISTED:
        shown = [*shown[:2], "…", shown[-1]]
        return f"{', '.join(shown[:3])} or {shown[3]}"
    return " or ".join(", ".join(shown).rsplit(", ", 1))
