"""Groups and coefficients → the loss and what it is made of.

The named tuples are the result's contract: their field names, in this order, are the names in the JSON, in the CSV
and in gates. A number that does not exist is None, never 0. (Fifteen dataclasses would cost every start 8 ms.)
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import UnionType
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from budget_cli import objective
from budget_cli.analysis.gates import Gate, Verdict
from budget_cli.analysis.numbers import finite_or_none, whole_or_none
from budget_cli.groups.groups import Groups
from budget_cli.groups.moments import Floats, quiet_overflow
from budget_cli.ids import Key, keys_at
from budget_cli.records.columns import Tally

SCHEMA = "budget-cli/loss/1"
ROWS = 1 << 13  # prompts at a time: their columns fit a cache
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
def compute_loss(
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
    known = Availability.from_groups(groups, coefficients)
    total = Aggregates(groups, coefficients, aggregate, budget)
    loss, square = total.weighed("loss", known.loss), total.weighed("square", known.adjustable)
    over, excess = total.count("over", known.budgeted), total.count("excess", known.budgeted)
    k2 = total.mean("kk", known.log_ratio)
    return Loss(
        loss=loss,
        aggregate=aggregate,
        coefficients=coefficients,
        prompts=len(groups),
        responses=groups.responses,
        reward=Reward(*total.reward(), finite_or_none(total.least["r_min"]), finite_or_none(total.most["r_max"])),
        adjusted_reward=AdjustedReward(*(total.adjusted_reward() if known.adjustable else (None, None))),
        advantage=Advantage(square, total.penalty_share() if known.adjustable else None),
        kl=Kl(
            k1=total.mean("k", known.log_ratio),
            k2=k2 and k2 / 2,
            k3=total.mean("k3", known.log_ratio),
            r2=finite_or_none(1 - loss / square) if square and loss is not None and known.log_ratio else None,
        ),
        length=_length(groups, total) if known.length else Length(None, None, None, None, None, None),
        over_budget=OverBudget(
            over,
            over / groups.responses if over is not None else None,
            excess,
            excess / over if over and excess is not None else None,
        ),
        groups=GroupCounts(
            total.size(),
            total.sizes[1],
            _doubled(total.sizes),
            total.zero_variance,
            total.count("zero_variance_adjusted", known.adjustable),
            total.count("phantom", known.adjustable),
            total.count("reordered", known.adjustable and coefficients.budget_penalty_coef >= 0),
        ),
        coverage=Coverage(
            groups.with_length,
            groups.with_log_ratio,
            *(tally.by_absent_field[name] for name in ("response_length", "log_prob", "old_log_prob")),
        ),
        records=Records(tally.read, tally.used, tally.rejected, tally.blank, tally.skipped),
    )


def judge_gates(loss: Loss, gates: Iterable[Gate]) -> list[Verdict]:
    """What each of these gates says of the loss."""
    return [Verdict(gate.expression, value := number_at(loss, gate.path), gate.passes(value)) for gate in gates]


def phantom_prompts(groups: Groups, most: int, budget: int = 0) -> list[Key]:
    """The first `most` prompts whose advantage, for any β above 0, is made of length alone."""
    same_reward = groups.column("r_min") == groups.column("r_max")
    rows = np.flatnonzero(same_reward & (groups.column("ee", budget) > 0))
    return keys_at(groups.keys(), rows[:most].tolist())


def per_prompt_losses(groups: Groups, coefficients: Coefficients, budget: int = 0) -> Iterator[Prompt]:
    """The same numbers for each prompt, in the order in which they were first seen."""
    view = PromptColumns(groups, coefficients, budget)
    known, beta = view.known, coefficients.budget_penalty_coef
    n = view.n
    for i, key in enumerate(groups.keys()):
        size = float(n[i])
        share = _budget_share(float(view.penalty_scatter[i]), float(view.rr[i])) if known.adjustable else None
        yield Prompt(
            prompt_id=key,
            responses=int(size),
            loss=finite_or_none(view.loss_sums[i] / size),
            reward_mean=float(view.r_mean[i]),
            reward_std=finite_or_none(math.sqrt(view.rr[i] / size)),
            adjusted_reward_mean=float(view.r_mean[i] - beta * view.e_mean[i]) if known.adjustable else None,
            advantage_mean_square=finite_or_none(view.advantage_sums[i] / size) if known.adjustable else None,
            budget_share=share,
            k1=finite_or_none(view.k_mean[i]) if known.log_ratio else None,
            length_mean=float(view.column("L_sum")[i]) / size if known.length else None,
            length_max=int(view.column("L_max")[i]) if known.length else None,
            over_budget=int(view.at_budget("over")[i]) if known.budgeted else None,
            zero_variance=bool(view.zero_variance[i]),
            phantom=bool(view.phantom[i]) if known.adjustable else None,
        )


class Availability(NamedTuple):
    """What can be said, as every response has what it needs."""

    length: bool
    budgeted: bool  # lengths, and a budget
    adjustable: bool  # the adjusted reward
    log_ratio: bool
    loss: bool

    @classmethod
    def from_groups(cls, groups: Groups, coefficients: Coefficients) -> "Availability":
        """Of these groups; nothing but an adjusted reward where there is no response."""
        length = 0 < groups.responses == groups.with_length
        log_ratio = 0 < groups.responses == groups.with_log_ratio
        budgeted = length and bool(groups.layout.budgets)
        adjustable = budgeted or coefficients.budget_penalty_coef == 0
        return cls(length, budgeted, adjustable, log_ratio, adjustable and (log_ratio or not coefficients.kl_coef))


class PromptColumns:
    """The columns that the formulas name, for one budget and some prompts; shape (prompts,) each."""

    @quiet_overflow
    def __init__(self, groups: Groups, coefficients: Coefficients, budget: int, rows: slice | None = None) -> None:
        self.known = Availability.from_groups(groups, coefficients)
        self.beta = beta = coefficients.budget_penalty_coef
        self._budget, self._layout = budget, groups.layout
        self._table = groups.table if rows is None else np.asfortranarray(groups.table[rows])
        column = self.column
        self.n, self.rr, self.r0, self.r1 = column("n"), column("rr"), column("r0"), column("r1")
        self.r_mean = self.r0 + self.r1 / self.n
        self.k_mean, self.kk = column("k0") + column("k1") / self.n, column("kk")
        self.e0, self.e1, self.ee, self.re, ek = map(self.at_budget, ("e0", "e1", "ee", "re", "ek"))
        self.e_mean = self.e0 + self.e1 / self.n
        self.adjusted_r0, self.adjusted_r1 = self.r0 - beta * self.e0, self.r1 - beta * self.e1
        self.advantage_sums = objective.adjusted_scatter(self.rr, self.re, self.ee, beta)
        self.loss_sums = objective.loss_sum(
            self.n, self.rr, self.re, self.ee, self.k_mean, self.kk, column("rk"), ek, beta, coefficients.kl_coef
        )
        several = self.n > 1
        self.zero_variance = several & (column("r_min") == column("r_max"))
        self.zero_variance_adjusted = several & (self.advantage_sums == 0)
        self.penalty_scatter = beta * beta * self.ee
        self.phantom = self.zero_variance & (self.penalty_scatter > 0)

    def column(self, name: str) -> Floats:
        """One quantity by its name in `moments`."""
        return self._table[:, self._layout.at(name)]

    def at_budget(self, name: str) -> Floats:
        """One of the excess; 0 where there is no budget."""
        if not self._layout.budgets:
            return np.zeros(len(self._table))
        return self._table[:, self._layout.at(name, self._budget)]

    def reorder_coefs(self) -> Floats:
        """The β above which a prompt's best response gets less than its worst."""
        budgets = self._layout.budgets
        return reorder_coefs(
            self.column("r_max") - self.column("r_min"),
            self.column("L_best"),
            self.column("L_worst"),
            budgets[self._budget] if budgets else math.inf,
        )


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


class Aggregates:
    """What all prompts add up to: over parts of ROWS first, so that every sum has two levels and keeps its digits."""

    def __init__(self, groups: Groups, coefficients: Coefficients, aggregate: Aggregate, budget: int) -> None:
        self._responses, self._prompts = groups.responses, len(groups)
        self._weight = groups.responses if aggregate == "response" else len(groups)
        self._sums: dict[str, float] = defaultdict(float)
        self.least: dict[str, float] = defaultdict(lambda: math.inf)
        self.most: dict[str, float] = defaultdict(lambda: -math.inf)
        self.sizes = Counter[int]()
        self._rewards: list[_Pooled] = []
        self._adjusted_rewards: list[_Pooled] = []
        self._pivot = self._adjusted_pivot = math.nan
        for start in range(0, len(groups), ROWS):
            view = PromptColumns(groups, coefficients, budget, slice(start, start + ROWS))
            if not start:
                self._pivot, self._adjusted_pivot = float(view.r0[0]), float(view.adjusted_r0[0])
            self._add(view, aggregate)

    def _add(self, view: PromptColumns, aggregate: Aggregate) -> None:
        n, sums = view.n, self._sums
        weight = 1.0 if aggregate == "response" else n
        for name, values in (
            ("loss", view.loss_sums / weight),
            ("square", view.advantage_sums / weight),
            ("rr", view.rr),
            ("penalty", view.penalty_scatter),
            ("excess", n * view.e_mean),
            ("over", view.at_budget("over")),
            ("k", n * view.k_mean),
            ("kk", view.kk + n * view.k_mean**2),
            ("k3", view.column("k3")),
            ("L", view.column("L_sum")),
            ("zero_variance", view.zero_variance),
            ("zero_variance_adjusted", view.zero_variance_adjusted),
            ("phantom", view.phantom),
            ("reordered", view.reorder_coefs() < view.beta),
        ):
            sums[name] += float(values.sum())
        for name in ("r_min", "L_min"):
            self.least[name] = min(self.least[name], float(view.column(name).min()))
        for name in ("r_max", "L_max"):
            self.most[name] = max(self.most[name], float(view.column(name).max()))
        sizes, numbers = np.unique(n, return_counts=True)
        self.sizes.update(dict(zip(map(int, sizes.tolist()), numbers.tolist(), strict=True)))
        # differences of pivots keep the digits of close means
        self._rewards.append(_pool(n, (view.r0 - self._pivot) + view.r1 / n, view.rr))
        adjusted = (view.adjusted_r0 - self._adjusted_pivot) + view.adjusted_r1 / n
        self._adjusted_rewards.append(_pool(n, adjusted, view.advantage_sums))

    def count(self, name: str, there: bool) -> int | None:
        """A sum of whole numbers."""
        return round(self._sums[name]) if there else None

    @property
    def zero_variance(self) -> int:
        """Prompts."""
        return round(self._sums["zero_variance"])

    def weighed(self, name: str, there: bool) -> float | None:
        """The mean of a sum over the prompts' responses, as the aggregate weighs them."""
        return finite_or_none(self._sums[name] / self._weight) if there and self._weight else None

    def mean(self, name: str, there: bool) -> float | None:
        """Over responses."""
        return finite_or_none(self._sums[name] / self._responses) if there and self._responses else None

    def penalty_share(self) -> float | None:
        """Of the scatter."""
        return _budget_share(self._sums["penalty"], self._sums["rr"])

    def reward(self) -> tuple[float | None, float | None]:
        """Mean and std over responses."""
        return _mean_and_std(self._pivot, self._rewards)

    def adjusted_reward(self) -> tuple[float | None, float | None]:
        """Mean and std over responses."""
        return _mean_and_std(self._adjusted_pivot, self._adjusted_rewards)

    def size(self) -> Size:
        """Of the groups."""
        if not self.sizes:
            return Size(None, None, None)
        return Size(min(self.sizes), self._responses / self._prompts, max(self.sizes))


class _Pooled(NamedTuple):
    """Of responses in groups: how many, their mean about a pivot, and their scatter."""

    n: float
    mean: float
    scatter: float


def _pool(n: Floats, mean: Floats, scatter: Floats) -> _Pooled:
    """Of all, from that of each group (Chan, Golub & LeVeque, 1983)."""
    total = n.sum()
    of_all = (n * mean).sum() / total
    return _Pooled(total, of_all, scatter.sum() + (n * (mean - of_all) ** 2).sum())


def _mean_and_std(pivot: float, parts: Sequence[_Pooled]) -> tuple[float | None, float | None]:
    if not parts:
        return None, None
    n, mean, scatter = _pool(*map(np.array, zip(*parts, strict=True)))
    return finite_or_none(pivot + mean), finite_or_none(math.sqrt(scatter / n))


def _length(groups: Groups, total: Aggregates) -> Length:
    p50, p90, p99 = groups.lengths.percentiles([50, 90, 99])
    shortest, longest = whole_or_none(total.least["L_min"]), whole_or_none(total.most["L_max"])
    return Length(total.mean("L", True), shortest, p50, p90, p99, longest)


def _budget_share(part: float, rest: float) -> float | None:
    """Of two scatters, the first one's part of both."""
    return part / (part + rest) if 0 < part + rest < math.inf else None


def _doubled(sizes: Mapping[int, int]) -> int:
    """Prompts whose size is a multiple of the size that more than half of all prompts have."""
    usual = max(sizes, key=lambda size: (sizes[size], -size), default=0)
    if usual < 2 or sizes[usual] * 2 <= sum(sizes.values()):
        return 0
    return sum(count for size, count in sizes.items() if size > usual and size % usual == 0)


def number_names(kind: type = Loss, prefix: str = "") -> list[str]:
    """The dotted path of every number of a result, in its order."""
    names: list[str] = []
    for name, annotation in kind.__annotations__.items():
        options = get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)
        if hasattr(annotation, "_fields"):
            names += number_names(annotation, f"{prefix}{name}.")
        elif int in options or float in options:
            names.append(prefix + name)
    return names


def number_at(result: object, path: str) -> float | None:
    """The number of a result at its dotted path."""
    for name in path.split("."):
        result = getattr(result, name)
    return result  # type: ignore[return-value]
