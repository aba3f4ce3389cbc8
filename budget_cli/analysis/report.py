"""Groups and coefficients → the loss and what it is made of.

The named tuples are the result's contract: their field names, in this order, are the names in the JSON, in the CSV
and in gates. A number that does not exist is None, never 0. (Fifteen dataclasses would cost every start 8 ms.)
"""

import math
from collections.abc import Iterable, Iterator
from itertools import islice
from types import UnionType
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from budget_cli import objective
from budget_cli.analysis.gates import Gate, Verdict
from budget_cli.groups.groups import Groups, Key
from budget_cli.groups.moments import Floats, quiet_overflow
from budget_cli.reading.columns import Tally

SCHEMA = "budget-cli/loss/1"
Aggregate = Literal["response", "prompt"]


class Coefficients(NamedTuple):
    """B in tokens, β in reward per token, α in reward per nat."""

    token_budget: int | None
    budget_penalty_coef: float
    kl_coef: float


class Reward(NamedTuple):
    """Over responses; std with ddof 0."""

    mean: float | None
    std: float | None
    min: float | None
    max: float | None


class AdjustedReward(NamedTuple):
    """Reward minus β·excess, over responses; std with ddof 0."""

    mean: float | None
    std: float | None


class Advantage(NamedTuple):
    """`budget_share` = β²·S_ee / (S_rr + β²·S_ee), summed over prompts; None when both are 0."""

    mean_square: float | None
    budget_share: float | None


class Kl(NamedTuple):
    """Estimates from the sequence log-ratio k (nats): k1 mean k, k2 mean k²/2, k3 mean e^−k − 1 + k; unclamped."""

    k1: float | None
    k2: float | None
    k3: float | None
    r2: float | None  # 1 − loss / mean A²: how much of the advantage α·k already explains


class Length(NamedTuple):
    """In tokens; percentiles by linear interpolation."""

    mean: float | None
    min: float | None
    p50: float | None
    p90: float | None
    p99: float | None
    max: float | None


class OverBudget(NamedTuple):
    """Responses longer than B."""

    responses: int | None
    fraction: float | None
    excess_tokens: int | None
    excess_mean: float | None  # tokens, over the responses that are over


class Size(NamedTuple):
    """Responses per prompt."""

    min: int | None
    mean: float | None
    max: int | None


class GroupCounts(NamedTuple):
    """Prompts by what their responses have in common."""

    size: Size
    singletons: int
    doubled: int  # prompts of two, three, … times the usual number of responses: two groups under one id?
    zero_variance: int  # two or more responses, all rewards equal
    zero_variance_adjusted: int | None  # the same of the adjusted reward
    phantom: int | None  # zero variance, but the penalties differ: an advantage made of length alone
    reordered: int | None  # the longest of the best responses gets less than the shortest of the worst; null for β < 0


class Records(NamedTuple):
    """Lines by what became of them."""

    read: int
    used: int
    rejected: int
    blank: int
    skipped: int


class Coverage(NamedTuple):
    """Responses that carry what only a coefficient other than 0 needs."""

    length: int
    log_ratio: int
    no_length: int  # records rejected for want of it: missing or null
    no_log_prob: int
    no_old_log_prob: int


class Loss(NamedTuple):
    """The loss of a dump, and what it is made of."""

    loss: float | None
    aggregate: Aggregate
    coefficients: Coefficients
    prompts: int
    responses: int
    reward: Reward
    adjusted_reward: AdjustedReward
    advantage: Advantage
    kl: Kl
    length: Length
    over_budget: OverBudget
    groups: GroupCounts
    coverage: Coverage
    records: Records


class Prompt(NamedTuple):
    """One prompt's share; the same definitions, over its responses."""

    prompt_id: Key
    responses: int
    loss: float | None
    reward_mean: float
    reward_std: float | None
    adjusted_reward_mean: float | None
    advantage_mean_square: float | None
    budget_share: float | None
    k1: float | None
    length_mean: float | None
    length_max: int | None
    over_budget: int | None
    zero_variance: bool
    phantom: bool | None


@quiet_overflow
def of_groups(
    groups: Groups, coefficients: Coefficients, tally: Tally, aggregate: Aggregate = "response", budget: int = 0
) -> Loss:
    """The loss of these groups.

    Args:
        groups: moments by prompt.
        coefficients: B, β and α; B is that of the groups' layout at position `budget`.
        tally: what became of the records, handed through.
        aggregate: `response`: every response weighs the same; `prompt`: the mean over prompts of each prompt's mean.
        budget: position in the layout.

    Returns:
        The loss; None where some responses lack what a coefficient other than 0 needs.
    """
    view = View(groups, coefficients, budget)
    n, responses = view.n, int(view.n.sum())
    mean_of = _mean(view.n, aggregate)
    square = mean_of(view.advantage_sums) if view.adjustable else None
    loss = mean_of(view.loss_sums) if view.has_loss else None
    sizes = Size(_whole(n.min()), _number(n.sum() / n.size), _whole(n.max())) if n.size else Size(None, None, None)
    mean_excess, total_excess, over = None, None, None
    if view.budgeted:
        total_excess = round(float((n * view.e_mean).sum()))
        over = int(groups.column("over", budget).sum())
        mean_excess = total_excess / over if over else None
    return Loss(
        loss=loss,
        aggregate=aggregate,
        coefficients=coefficients,
        prompts=int(n.size),
        responses=responses,
        reward=Reward(
            *_mean_and_std(view.n, groups.column("r0"), groups.column("r1"), view.rr),
            _number(groups.column("r_min").min()) if n.size else None,
            _number(groups.column("r_max").max()) if n.size else None,
        ),
        adjusted_reward=AdjustedReward(*view.adjusted_mean_and_std()),
        advantage=Advantage(
            square, _share(float(view.penalty_scatter.sum()), float(view.rr.sum())) if view.adjustable else None
        ),
        kl=_kl(view, groups, loss, square),
        length=_length(groups, responses),
        over_budget=OverBudget(
            over, over / responses if over is not None and responses else None, total_excess, mean_excess
        ),
        groups=GroupCounts(
            sizes,
            int((n == 1).sum()),
            _doubled(n),
            int(view.zero_variance.sum()),
            int((view.zero_variance_adjusted).sum()) if view.adjustable else None,
            int(view.phantom.sum()) if view.adjustable else None,
            int((view.reorder_coef < view.beta).sum()) if view.adjustable and view.beta >= 0 else None,
        ),
        coverage=Coverage(
            groups.with_length,
            groups.with_log_ratio,
            *(tally.lacking[name] for name in ("response_length", "log_prob", "old_log_prob")),
        ),
        records=Records(tally.read, tally.used, tally.rejected, tally.blank, tally.skipped),
    )


def verdicts(loss: Loss, gates: Iterable[Gate]) -> list[Verdict]:
    """What each of these gates says of the loss."""
    return [Verdict(gate.expression, value := number_at(loss, gate.path), gate.passes(value)) for gate in gates]


def phantoms(groups: Groups, most: int, budget: int = 0) -> list[Key]:
    """The first `most` prompts whose advantage, for any β above 0, is made of length alone."""
    same_reward = groups.column("r_min") == groups.column("r_max")
    rows = np.flatnonzero(same_reward & (groups.column("ee", budget) > 0))[:most].tolist()
    last = rows[-1] + 1 if rows else 0
    keys = list(islice(groups.keys(), last))
    return [keys[row] for row in rows]


def prompts(groups: Groups, coefficients: Coefficients, budget: int = 0) -> Iterator[Prompt]:
    """The same numbers for each prompt, in the order in which they were first seen."""
    view = View(groups, coefficients, budget)
    beta = coefficients.budget_penalty_coef
    n = view.n
    with_length = groups.with_length == n.sum()
    r_mean = groups.column("r0") + groups.column("r1") / n
    for i, key in enumerate(groups.keys()):
        size = float(n[i])
        share = _share(float(view.penalty_scatter[i]), float(view.rr[i])) if view.adjustable else None
        yield Prompt(
            prompt_id=key,
            responses=int(size),
            loss=_number(view.loss_sums[i] / size),
            reward_mean=float(r_mean[i]),
            reward_std=_number(math.sqrt(view.rr[i] / size)),
            adjusted_reward_mean=float(r_mean[i] - beta * view.e_mean[i]) if view.adjustable else None,
            advantage_mean_square=_number(view.advantage_sums[i] / size) if view.adjustable else None,
            budget_share=share,
            k1=_number(view.k_mean[i]) if view.with_k else None,
            length_mean=float(groups.column("L_sum")[i]) / size if with_length else None,
            length_max=int(groups.column("L_max")[i]) if with_length else None,
            over_budget=int(groups.column("over", budget)[i]) if view.budgeted else None,
            zero_variance=bool(view.zero_variance[i]),
            phantom=bool(view.phantom[i]) if view.adjustable else None,
        )


class View:
    """The columns that the formulas name, for one budget; shape (prompts,) each."""

    @quiet_overflow
    def __init__(self, groups: Groups, coefficients: Coefficients, budget: int) -> None:
        beta, alpha = coefficients.budget_penalty_coef, coefficients.kl_coef
        column = groups.column
        self.n = column("n")
        self.rr = column("rr")
        responses = int(self.n.sum())
        self.budgeted = bool(groups.layout.budgets) and groups.with_length == responses and responses > 0
        self.adjustable = self.budgeted or beta == 0
        self.with_k = groups.with_log_ratio == responses and responses > 0
        nothing = np.zeros_like(self.n)
        has_e = bool(groups.layout.budgets)
        self.ee = column("ee", budget) if has_e else nothing
        re = column("re", budget) if has_e else nothing
        ek = column("ek", budget) if has_e else nothing
        self.e0 = column("e0", budget) if has_e else nothing
        self.e1 = column("e1", budget) if has_e else nothing
        self.e_mean = self.e0 + self.e1 / self.n
        self.re = re
        self.k_mean = column("k0") + column("k1") / self.n
        self.kk = column("kk")
        self.beta = beta
        self.has_loss = self.adjustable and (self.with_k or not alpha)
        self.r0, self.r1 = column("r0"), column("r1")
        self.r_mean = self.r0 + self.r1 / self.n
        self.advantage_sums = objective.adjusted_scatter(self.rr, re, self.ee, beta)
        self.loss_sums = objective.loss_sum(
            self.n, self.rr, re, self.ee, self.k_mean, self.kk, column("rk"), ek, beta, alpha
        )
        several = self.n > 1
        self.zero_variance = several & (column("r_min") == column("r_max"))
        self.zero_variance_adjusted = several & (self.advantage_sums == 0)
        self.penalty_scatter = beta * beta * self.ee
        self.phantom = self.zero_variance & (self.penalty_scatter > 0)
        self.reorder_coef = reorder_coefs(
            column("r_max") - column("r_min"), column("L_best"), column("L_worst"),
            groups.layout.budgets[budget] if has_e else math.inf,
        )  # fmt: skip

    def adjusted_mean_and_std(self) -> tuple[float | None, float | None]:
        """Of r − β·e over all responses."""
        if not self.adjustable:
            return None, None
        beta = self.beta
        return _mean_and_std(self.n, self.r0 - beta * self.e0, self.r1 - beta * self.e1, self.advantage_sums)


@np.errstate(divide="ignore", invalid="ignore")
def reorder_coefs(gap: Floats, best: Floats, worst: Floats, budget: Any) -> Floats:
    """The β above which a prompt's best response gets less than its worst; inf where none does.

    Args:
        gap: the prompt's highest reward minus its lowest.
        best, worst: the longest response with the highest reward, the shortest with the lowest; tokens.
        budget: B, a number or an array that broadcasts.

    Returns:
        gap / (e_best − e_worst). With two different rewards it is where any order first changes; with more, some may
        before.
    """
    excess = np.maximum(best - budget, 0) - np.maximum(worst - budget, 0)
    return np.where((excess > 0) & (gap > 0), gap / excess, np.inf)


def _mean_and_std(n: Floats, x0: Floats, x1: Floats, scatter: Floats) -> tuple[float | None, float | None]:
    """Over all responses, from each prompt's pivot, sum about it, and scatter."""
    if not n.size:
        return None, None
    total = n.sum()
    about_first = (x0 - x0[0]) + x1 / n  # subtracting one of the pivots keeps the digits of close means
    shift = float((n * about_first).sum() / total)
    spread = float(scatter.sum() + (n * (about_first - shift) ** 2).sum())
    return _number(x0[0] + shift), _number(math.sqrt(spread / total))


def _mean(n: Floats, aggregate: Aggregate) -> Any:
    """From the sum over each prompt's responses to the mean over the dump."""

    def mean(sums: Floats) -> float | None:
        if not n.size:
            return None
        return _number(sums.sum() / n.sum() if aggregate == "response" else (sums / n).sum() / n.size)

    return mean


def _kl(view: View, groups: Groups, loss: float | None, square: float | None) -> Kl:
    if not view.with_k:
        return Kl(None, None, None, None)
    total = view.n.sum()
    squares = view.kk.sum() + (view.n * view.k_mean**2).sum()
    return Kl(
        k1=_number((view.n * view.k_mean).sum() / total),
        k2=_number(squares / total / 2),
        k3=_number(groups.column("k3").sum() / total),
        r2=_number(1 - loss / square) if square and loss is not None else None,
    )


def _length(groups: Groups, responses: int) -> Length:
    if groups.with_length != responses or not responses:
        return Length(None, None, None, None, None, None)
    p50, p90, p99 = groups.lengths.percentiles([50, 90, 99])
    return Length(
        mean=_number(groups.column("L_sum").sum() / responses),
        min=_whole(groups.column("L_min").min()),
        p50=p50,
        p90=p90,
        p99=p99,
        max=_whole(groups.column("L_max").max()),
    )


def _share(part: float, rest: float) -> float | None:
    """Of two scatters, the first one's part of both."""
    return part / (part + rest) if 0 < part + rest < math.inf else None


def _doubled(n: Floats) -> int:
    """Prompts whose size is a multiple of the size that more than half of all prompts have."""
    sizes, counts = np.unique(n, return_counts=True)
    usual = float(sizes[counts.argmax()]) if sizes.size else 0.0
    if usual < 2 or counts.max() * 2 <= n.size:
        return 0
    return int(((n > usual) & (n % usual == 0)).sum())


def _number(value: float) -> float | None:
    """A number of the result: what overflowed or never was is None."""
    return float(value) if math.isfinite(value) else None


def _whole(value: float) -> int | None:
    return int(value) if math.isfinite(value) else None


def numbers(kind: type = Loss, prefix: str = "") -> list[str]:
    """The dotted path of every number of a result, in its order."""
    names: list[str] = []
    for name, annotation in kind.__annotations__.items():
        options = get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)
        if hasattr(annotation, "_fields"):
            names += numbers(annotation, f"{prefix}{name}.")
        elif int in options or float in options:
            names.append(prefix + name)
    return names


def number_at(result: object, path: str) -> float | None:
    """The number of a result at its dotted path."""
    for name in path.split("."):
        result = getattr(result, name)
    return result  # type: ignore[return-value]
