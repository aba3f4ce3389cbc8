"""A loss → one sentence: how much of the learning signal is length, which β would change it, and who learns nothing.

Every word of it follows from numbers of the result, so a person can check it.
"""

import math

from budget_cli.analysis.loss import Loss

OWN_FACTOR = ("grpo", "maxrl")  # estimators that divide by what β changes in each prompt: then no share follows
BATCH_MEAN = "reinforce++"  # the estimator whose baseline is not of the prompt
MUCH = 0.1  # share of the learning signal above which the sentence names the β that makes it this


def headline(loss: Loss) -> str:
    """Return the verdict on what a dump teaches in one sentence; "" if there are no responses."""
    if not loss.responses:
        return ""
    said = "; ".join(filter(None, (_signal(loss), _prompts(loss), _no_loss(loss))))
    records = loss.records
    if records.rejected:
        are = "is" if records.rejected == 1 else "are"
        said = f"{records.rejected:,} of {records.read:,} records {are} rejected; of the others, {said}"
    return f"{said[0].upper() if said[0].isascii() else said[0]}{said[1:]}."


def _signal(loss: Loss) -> str:
    """Return how much of the learning signal comes from length."""
    c, groups, share = loss.coefficients, loss.groups, loss.advantage.budget_share
    trained = loss.objective.settings
    signal = "the learning signal within prompts" if _is_beyond(loss) else "the learning signal"
    rewards_alone = f"{signal} is that of the rewards alone"
    if loss.advantage.mean_square is None:
        return _unknown(loss)
    equal = f"within {'the only prompt' if loss.prompts == 1 else 'each prompt'}, all adjusted rewards are equal"
    if not loss.advantage.mean_square:
        if loss.prompts == groups.singletons:
            equal = f"{'the only prompt has' if loss.prompts == 1 else 'every prompt has'} a single response"
        return f"nothing can be learned: {equal}"
    if share is None:
        return f"{equal}, so responses are told apart by their prompts alone"
    if not c.budget_penalty_coef:
        return f"β is 0, so {rewards_alone}"
    if not loss.over_budget.responses and trained["penalty"] != "distance":
        return f"no response is over the budget, so {rewards_alone}"
    if not share:
        return f"the penalty is the same for all responses to a prompt, so {rewards_alone}"
    if share == 1:
        return f"all of {signal} is length, at any β above 0: within no prompt do rewards differ"
    said = f"{_percent(share)} of {signal} is length"
    if _percent(share) != f"{MUCH:.0%}" and share > MUCH and trained["advantage"] not in OWN_FACTOR:
        said += f"; β {beta_of_share(c.budget_penalty_coef, share, MUCH):.2g} would make it {MUCH:.0%}"
    return said


def _is_beyond(loss: Loss) -> bool:
    """True if advantages are not 0 where the adjusted rewards of a prompt are equal, so that more than these teach."""
    trained = loss.objective.settings
    keeps = trained["singletons"] != "zero" and loss.groups.singletons > 0
    return bool(trained["advantage"] == BATCH_MEAN or keeps)


def beta_of_share(beta: float, share: float, wanted: float) -> float:
    """Return the β at which length makes `wanted` of the learning signal, where `beta` makes `share` of it.

    share = β²·S_ee / (S_rr + β²·S_ee), so share / (1 − share) grows with β².
    """
    return beta * math.sqrt(wanted / (1 - wanted) * (1 - share) / share)


def _unknown(loss: Loss) -> str:
    have = loss.coverage.length
    if loss.coefficients.token_budget is None and not loss.objective.has_own_budgets:
        why = "without a budget (-B TOKENS)"
    elif have < loss.responses:
        verb = "has" if loss.responses - have == 1 else "have"
        why = f"as {loss.responses - have:,} of {loss.responses:,} responses {verb} no length"
    else:
        return "the advantages exceed the range of a double"
    return f"{why}, the share of length in the learning signal is not known"


def _prompts(loss: Loss) -> str:
    """Return how many prompts teach length alone, and how many nothing; "" if it is none, or said already."""
    groups = loss.groups
    if groups.zero_variance_adjusted is None or groups.phantom is None or _is_beyond(loss):
        return ""
    nothing = groups.zero_variance_adjusted + groups.singletons
    parts = [(groups.phantom, "length alone"), (nothing, "nothing")]
    parts = [(number, what) for number, what in parts if number]
    if not parts or nothing == loss.prompts or loss.prompts == 1:
        return ""
    if len(parts) == 1:
        number, what = parts[0]
        teach = "teaches" if number == 1 else "teach"
        return f"{number:,} of {loss.prompts:,} prompts {teach} {what}"
    (some, what), (others, _) = parts
    return f"of {loss.prompts:,} prompts, {some:,} {'teaches' if some == 1 else 'teach'} {what} and {others:,} nothing"


def _no_loss(loss: Loss) -> str:
    """Return why there is no loss, if only log-probs are missing."""
    if loss.loss is not None or loss.advantage.mean_square is None:
        return ""
    missing = loss.responses - loss.coverage.log_ratio
    if not missing:
        return "the loss exceeds the range of a double"
    verb = "has" if missing == 1 else "have"
    return f"there is no loss, as {missing:,} of {loss.responses:,} responses {verb} no log-ratio"


def _percent(share: float) -> str:
    """Return a share in whole percent that is 0% or 100% only if the share is."""
    return "less than 1%" if share < 0.005 else "more than 99%" if share > 0.995 else f"{share:.0%}"
