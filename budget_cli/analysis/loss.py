"""Groups and coefficients → the loss and its components. Knows no records and no files.

The named tuples are the contract of the result: their field names, in this order, are the names in the JSON, in the CSV
and in gates. A number that does not exist is None, never 0. (Fifteen dataclasses would add 8 ms to every start.)
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from types import UnionType
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from budget_cli import objective
from budget_cli.analysis.learnability import UNKNOWN, Learnability, compute_learnability
from budget_cli.analysis.numbers import finite_or_none, whole_or_none
from budget_cli.groups.advantage import advantages_of
from budget_cli.groups.double_double import DoubleDouble, sums_about, total, total_about
from budget_cli.groups.groups import Groups
from budget_cli.groups.moments import Floats, quiet_overflow
from budget_cli.ids import Key, keys_at
from budget_cli.objective.estimators import Advantages
from budget_cli.objective.settings import DEFAULT, Objective
from budget_cli.records.columns import Tally

SCHEMA = "budget-cli/loss/1"
ROWS = 1 << 13  # prompts at a time, so that their columns fit in a cache
CANCELS = 1e-2  # share of its terms below which a sum is computed in two doubles
Aggregate = Literal["response", "prompt", "row", "token", "prompt-token", "constant"]


class Coefficients(NamedTuple):
    """The coefficients of the loss: B in tokens, β in reward per token, α in reward per nat."""

    token_budget: int | None
    budget_penalty_coef: float
    kl_coef: float


class Reward(NamedTuple):
    """Reward over responses; the standard deviation has ddof 0."""

    mean: float | None
    std: float | None
    min: float | None
    max: float | None


class AdjustedReward(NamedTuple):
    """Reward minus β·excess over responses; the standard deviation has ddof 0."""

    mean: float | None
    std: float | None


class Advantage(NamedTuple):
    """The advantage A; `budget_share` = β²·S_ee / (S_rr + β²·S_ee), summed over prompts, None if both are 0."""

    mean_square: float | None
    budget_share: float | None
    phantom_share: float | None  # of ΣA², in prompts whose rewards are equal and whose penalties are not


class Kl(NamedTuple):
    """Estimates from the sequence log-ratio k (nats): k1 mean k, k2 mean k²/2, k3 mean e^−k − 1 + k; unclamped."""

    k1: float | None
    k2: float | None
    k3: float | None
    r2: float | None  # 1 − loss / mean A²: the share of the advantage that α·k explains


class Length(NamedTuple):
    """Response lengths in tokens; percentiles use linear interpolation."""

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
    excess_mean: float | None  # tokens, over the responses that are over the budget


class Size(NamedTuple):
    """Responses per prompt."""

    min: int | None
    mean: float | None
    max: int | None


class GroupCounts(NamedTuple):
    """Numbers of prompts whose responses have something in common."""

    size: Size
    singletons: int
    doubled: int  # a multiple of the usual number of responses, so perhaps two groups under one id
    zero_variance: int  # two or more responses with equal rewards
    zero_variance_adjusted: int | None  # two or more responses with equal adjusted rewards
    phantom: int | None  # zero variance but unequal penalties: the advantage comes from length alone
    reordered: int | None  # the worst response ends above the best, see `reorder_coefs`; None for β < 0


class Records(NamedTuple):
    """Numbers of records by what became of them."""

    read: int
    used: int
    rejected: int
    blank: int
    skipped: int
    left_out: int  # samples, of which a line may hold several

    @classmethod
    def from_tally(cls, tally: Tally) -> "Records":
        """Take the numbers of a tally."""
        return cls(tally.read, tally.used, tally.rejected, tally.blank, tally.skipped, tally.left_out.total())


class Coverage(NamedTuple):
    """Numbers of responses with, and records without, the fields that only a coefficient other than 0 needs."""

    length: int
    log_ratio: int
    no_length: int  # records rejected because the field is missing or null
    no_log_prob: int
    no_old_log_prob: int


class LengthOrigins(NamedTuple):
    """Numbers of lengths by where they come from."""

    field: int  # the dump has it
    tokens: int  # the number of log-probs of the response
    tokenizer: int  # the tokens of its text, counted by `--tokenizer`


class LengthSource(NamedTuple):
    """Where the lengths come from, as a result has it."""

    name: Literal["field", "tokens", "tokenizer", "mixed"] | None  # None: there are no lengths
    origins: LengthOrigins
    tokenizer: str | None  # the file that counted, with its digest

    @property
    def sentence(self) -> str | None:
        """Where they come from in words; None if from the field alone."""
        field, tokens, counted_here = self.origins
        if not tokens and not counted_here:
            return None
        if self.name == "tokens":
            return "the number of log-probs of each response"
        if self.name == "tokenizer":
            return f"the texts, counted by {self.tokenizer}"
        parts = [(field, "the field"), (tokens, "log-probs"), (counted_here, f"texts, counted by {self.tokenizer}")]
        return ", ".join(f"{count:,} from {origin}" for count, origin in parts if count)


def length_source(tally: Tally) -> LengthSource:
    """Return where the lengths come from."""
    counts = dict(tally.length_origins)
    field, tokens = counts.pop("field", 0), counts.pop("tokens", 0)
    origins = LengthOrigins(field, tokens, sum(counts.values()))
    tokenizer = next(iter(counts), None)
    several = sum(count > 0 for count in origins) > 1
    if several:
        return LengthSource("mixed", origins, tokenizer)
    return LengthSource(
        "field" if field else "tokens" if tokens else "tokenizer" if counts else None, origins, tokenizer
    )


class ObjectiveGiven(NamedTuple):
    """The objective, as a result has it."""

    name: str
    settings: Mapping[str, Any]
    sentence: str  # in one line

    @property
    def has_own_budgets(self) -> bool:
        """True if records have budgets of their own."""
        return not {"budget_field", "budget_by"}.isdisjoint(self.settings)


def given(trained: Objective) -> ObjectiveGiven:
    """Return an objective as a result has it."""
    return ObjectiveGiven(trained.name, trained.settings(), trained.sentence())


class Loss(NamedTuple):
    """The loss of a dump and its components."""

    loss: float | None
    aggregate: Aggregate
    coefficients: Coefficients
    prompts: int
    responses: int
    rows: int  # records that the responses were written in
    reward: Reward
    adjusted_reward: AdjustedReward
    advantage: Advantage
    kl: Kl
    length: Length
    over_budget: OverBudget
    groups: GroupCounts
    coverage: Coverage
    records: Records
    left_out: Mapping[str, int]  # samples that the trainer does not train on, by reason
    lengths_from: Literal["field", "tokens", "tokenizer", "mixed"] | None = None  # None: there are no lengths
    length_origins: LengthOrigins = LengthOrigins(0, 0, 0)
    tokenizer: str | None = None  # the file that counted, with its digest
    learnability: Learnability = UNKNOWN
    objective: ObjectiveGiven = given(DEFAULT)

    @property
    def length_sentence(self) -> str | None:
        """Where the lengths come from in words; None if from the field alone."""
        return LengthSource(self.lengths_from, self.length_origins, self.tokenizer).sentence


class Prompt(NamedTuple):
    """The same numbers over the responses to one prompt."""

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
    groups: Groups,
    coefficients: Coefficients,
    tally: Tally,
    aggregate: Aggregate = "response",
    budget: int = 0,
    by_row: tuple[float | None, float | None, float | None] | None = None,
    trained: Objective = DEFAULT,
) -> Loss:
    """Compute the loss of these groups.

    Args:
        groups: moments by prompt.
        coefficients: B, β and α; B is the budget at position `budget` of the groups' layout.
        tally: what became of the records, which is passed through.
        aggregate: `response` weighs all responses equally; `prompt` takes the mean over prompts of each prompt's mean;
            `row` weighs each response by the records that it was written in; `token` by its tokens, `prompt-token`
            does so within each prompt, and `constant` divides the sum over the tokens of a response by a constant.
        budget: position of the budget in the groups' layout.
        by_row: the loss, the mean A² and their difference over rows, for `row`; None: each response is one row.
        trained: the objective whose penalty the groups have; it gives the advantage.

    Returns:
        The loss. Numbers are None if some responses have no value for a field that they need.
    """
    available = Availability.from_groups(groups, coefficients)
    source = length_source(tally)
    total = Aggregates(groups, coefficients, "prompt" if aggregate == "prompt" else "response", budget, trained)
    loss = total.weighted_mean("loss", available.loss)
    square = total.weighted_mean("square", available.adjustable)
    explained = total.explained(available.loss and available.log_ratio)
    if groups.layout.by_token:
        by_row = _means_over_tokens(groups, coefficients, budget, trained, aggregate) if available.loss else (None,) * 3
    if by_row is not None:
        loss, square, explained = by_row
    return Loss(
        loss=loss,
        aggregate=aggregate,
        coefficients=coefficients,
        prompts=len(groups),
        responses=groups.responses,
        rows=groups.row_count,
        reward=Reward(*total.reward(), finite_or_none(total.least["r_min"]), finite_or_none(total.most["r_max"])),
        adjusted_reward=AdjustedReward(*(total.adjusted_reward() if available.adjustable else (None, None))),
        advantage=Advantage(
            square,
            total.budget_share() if available.adjustable else None,
            total.phantom_share() if available.adjustable else None,
        ),
        kl=_kl(total, available, loss, square, explained),
        length=_length(groups, total) if available.length else Length(None, None, None, None, None, None),
        over_budget=_over_budget(total, available, groups.responses),
        groups=GroupCounts(
            total.size(),
            total.sizes[1],
            _doubled(total.sizes),
            total.count("zero_variance"),
            total.count("zero_variance_adjusted") if available.adjustable else None,
            total.count("phantom") if available.adjustable else None,
            total.reordered() if available.adjustable and coefficients.budget_penalty_coef >= 0 else None,
        ),
        coverage=Coverage(
            groups.with_length,
            groups.with_log_ratio,
            *(tally.by_absent_field[name] for name in ("response_length", "log_prob", "old_log_prob")),
        ),
        records=Records.from_tally(tally),
        left_out=dict(tally.left_out),
        lengths_from=source.name,
        length_origins=source.origins,
        tokenizer=source.tokenizer,
        learnability=compute_learnability(groups),
        objective=given(trained),
    )


def _means_over_tokens(
    groups: Groups, coefficients: Coefficients, budget: int, trained: Objective, aggregate: Aggregate
) -> tuple[float | None, float | None, float | None]:
    """Return the loss, the mean A² and their difference, over tokens: each has the terms of its response.

    Σ L·(A − α·k)² of a prompt is the closed form on the moments of its tokens, whose mean x differs from that of its
    responses: A = f·(x − x̃) + f·(x̃ − x̄) + shift.
    """
    beta, tokens, n = coefficients.budget_penalty_coef, groups.of_tokens(), groups.of_tokens().column("n")
    found = advantages_of(groups.of_responses(), trained, beta, budget)
    factor, shift = (np.ones_like(n), np.zeros_like(n)) if found is None else found[:2]

    def means(of: Groups) -> DoubleDouble:
        e_mean = of.means(slice(None), "e", budget) if of.layout.budgets else DoubleDouble(np.zeros_like(n))
        return of.means(slice(None), "r") - e_mean * beta

    some = n > 0
    table = tokens.table.copy()
    table[~some, tokens.layout.at("n")] = 1.0  # of a prompt without tokens, the sums are not used
    tokens = tokens.in_layout(tokens.layout, table)
    moved = factor * (means(tokens) - means(groups.of_responses())).value + shift
    view = PromptColumns(tokens, coefficients, budget, advantages=Advantages(factor, moved))
    weight = {"token": n.sum(), "constant": float(trained.constant or 1) * groups.responses}.get(aggregate)
    each = np.where(some, view.n, 1.0) * some.sum() if weight is None else np.full_like(n, weight)
    loss, square = (
        float((sums / each)[some].sum()) if some.any() else None for sums in (view.loss_sums, view.advantage_sums)
    )
    explained = None
    if loss is not None:
        rk, ek, kk = view.with_advantage(), view.in_full("ek"), view.scatter(slice(None)).k_squares()
        found = objective.explained_sum(rk, ek, kk, DoubleDouble(beta), DoubleDouble(coefficients.kl_coef))
        explained = float((found * some / each).sum().value)
    return tuple(None if value is None else finite_or_none(value) for value in (loss, square, explained))  # type: ignore[return-value]  # of three


def phantom_prompts(groups: Groups, most: int, budget: int = 0) -> list[Key]:
    """Return the first `most` prompts whose advantage comes from length alone for any β above 0."""
    same_reward = groups.column("r_min") == groups.column("r_max")
    rows = np.flatnonzero(same_reward & (groups.column("ee", budget) > 0))
    return keys_at(groups.keys(), rows[:most].tolist())


def per_prompt_losses(
    groups: Groups, coefficients: Coefficients, budget: int = 0, trained: Objective = DEFAULT
) -> Iterator[Prompt]:
    """Yield the numbers of each prompt, in the order of their first responses."""
    advantages = advantages_of(groups, trained, coefficients.budget_penalty_coef, budget)
    view = PromptColumns(groups, coefficients, budget, advantages=advantages)
    available, n = view.available, view.n
    adjusted = view.adjusted_means()
    for i, key in enumerate(groups.keys()):
        size = float(n[i])
        share = _budget_share(float(view.penalty_scatter[i]), float(view.rr[i])) if available.adjustable else None
        yield Prompt(
            prompt_id=key,
            responses=int(size),
            loss=finite_or_none(view.loss_sums[i] / size),
            reward_mean=float(view.r_mean[i]),
            reward_std=finite_or_none(math.sqrt(view.rr[i] / size)),
            adjusted_reward_mean=float(adjusted[i]) if available.adjustable else None,
            advantage_mean_square=finite_or_none(view.advantage_sums[i] / size) if available.adjustable else None,
            budget_share=share,
            k1=finite_or_none(view.k_mean[i]) if available.log_ratio else None,
            length_mean=float(view.column("L_sum")[i]) / size if available.length else None,
            length_max=int(view.column("L_max")[i]) if available.length else None,
            over_budget=int(view.at_budget("over")[i]) if available.budgeted else None,
            zero_variance=bool(view.zero_variance[i]),
            phantom=bool(view.phantom[i]) if available.adjustable else None,
        )


class Availability(NamedTuple):
    """The numbers that can be computed, because every response has the fields that they need."""

    length: bool
    budgeted: bool  # lengths, and a budget
    adjustable: bool  # the adjusted reward
    log_ratio: bool
    loss: bool

    @classmethod
    def from_groups(cls, groups: Groups, coefficients: Coefficients) -> "Availability":
        """Determine what is available; without responses, at most the adjusted reward is."""
        length = 0 < groups.responses == groups.with_length
        log_ratio = 0 < groups.responses == groups.with_log_ratio
        budgeted = length and bool(groups.layout.budgets)
        adjustable = budgeted or coefficients.budget_penalty_coef == 0
        return cls(length, budgeted, adjustable, log_ratio, adjustable and (log_ratio or not coefficients.kl_coef))


class PromptColumns:
    """The columns that the formulas use, for one budget and some prompts; each has shape (prompts,)."""

    @quiet_overflow
    def __init__(
        self,
        groups: Groups,
        coefficients: Coefficients,
        budget: int,
        rows: slice | None = None,
        advantages: Advantages | None = None,
    ) -> None:
        self.available = Availability.from_groups(groups, coefficients)
        self.beta = beta = coefficients.budget_penalty_coef
        self._budget, self._layout = budget, groups.layout
        self._table = groups.table if rows is None else np.asfortranarray(groups.table[rows])
        column = self.column
        self.n, self.rr, self.r0, self.r1 = column("n"), column("rr"), column("r0"), column("r1")
        self.r_mean = self.r0 + self.r1 / self.n
        self.k0, self.k1, self.kk = column("k0"), column("k1"), column("kk")
        self.k_mean = self.k0 + self.k1 / self.n
        self.e0, self.e1, self.ee, self.re, ek = map(self.at_budget, ("e0", "e1", "ee", "re", "ek"))
        self.alpha = alpha = coefficients.kl_coef
        self.penalty_scatter = beta * beta * self.ee
        several, scale = self.n > 1, self.rr + self.penalty_scatter
        square = objective.adjusted_form(self.rr, self.re, self.ee, beta)
        self.zero_variance = several & (column("r_min") == column("r_max"))
        self.zero_variance_adjusted = several & (square <= objective.TIE * scale)
        self.phantom = self.zero_variance & (self.penalty_scatter > 0)
        self.factor: Floats | None = None
        self.shift: Floats | None = None
        self.adjusted_scatter = self._mended(square, scale, _Scatter.adjusted_form)
        shifts = self.n * self.k_mean**2
        self.k_squares = self.kk + shifts
        rk = column("rk")
        if advantages is None:
            self.advantage_sums = self.adjusted_scatter
            centred = objective.loss_form(self.rr, self.re, self.ee, self.kk, rk, ek, beta, alpha)
        else:  # the scatter of f·r, f·e and k, and the shift
            f, shift = (each if rows is None else each[rows] for each in advantages[:2])
            self.factor, self.shift = f, shift
            with_e, with_r = f * (rk - beta * ek), f * f
            scale = scale * with_r
            self.advantage_sums = with_r * self.adjusted_scatter + self.n * shift * shift
            centred = with_r * self.adjusted_scatter - 2 * alpha * with_e + alpha * alpha * self.kk
        centred = self._mended(centred, scale + alpha * alpha * self.kk, _Scatter.loss_form)
        self.is_tie = centred == 0
        if self.shift is None:
            self.loss_sums = centred + alpha * alpha * shifts
        else:
            self.loss_sums = centred + self.n * (alpha * self.k_mean - self.shift) ** 2

    def _mended(self, sums: Floats, terms: Floats, form: "Callable[[_Scatter], DoubleDouble]") -> Floats:
        """Return the sums; those that are a small part of their terms computed in two doubles, and 0 for no part."""
        rows = np.flatnonzero(sums < CANCELS * terms)
        if rows.size:
            sums[rows] = objective.without_dust(form(self.scatter(rows)).value, terms[rows], objective.DUST)
        return sums

    def scatter(self, rows: Any) -> "_Scatter":
        """Return the scatter of some of these prompts in two doubles, and what the forms need beside it."""
        n = self.n[rows]
        k_mean: DoubleDouble = DoubleDouble(self.k1[rows]) / n + self.k0[rows]
        rr, re, ee, kk, rk, ek = (self.in_full(name, rows) for name in ("rr", "re", "ee", "kk", "rk", "ek"))
        return _Scatter(n, k_mean, rr, re, ee, kk, rk, ek, DoubleDouble(self.beta), DoubleDouble(self.alpha))

    def in_full(self, name: str, rows: Any = slice(None)) -> DoubleDouble:
        """Return a sum of products in two doubles; of advantages with a factor, those of what it multiplies."""
        of = self.at_budget if "e" in name else self.column
        found = DoubleDouble(of(name)[rows], of(name + "_low")[rows])
        if self.factor is not None:
            for _ in range(2 - name.count("k")):
                found = found * self.factor[rows]
        return found

    def with_advantage(self) -> DoubleDouble:
        """Return Σ A·k of each prompt, less β·Σ φ·k times its factor."""
        found = self.in_full("rk")
        if self.shift is None:
            return found
        k_mean: DoubleDouble = DoubleDouble(self.k1) / self.n + self.k0
        shifted: DoubleDouble = found + k_mean * self.shift * self.n
        return shifted

    def column(self, name: str) -> Floats:
        """Return one moment, by its name in `moments`."""
        return self._table[:, self._layout.at(name)]

    def at_budget(self, name: str) -> Floats:
        """Return one moment of the excess; 0 if there is no budget."""
        if not self._layout.budgets:
            return np.zeros(len(self._table))
        return self._table[:, self._layout.at(name, self._budget)]

    def reward_sums(self, pivot: float) -> DoubleDouble:
        """Return the sum of r − pivot over the responses to each prompt."""
        return sums_about(pivot, self.n, self.r0, self.r1)

    def log_ratio_sums(self, pivot: float) -> DoubleDouble:
        """Return the sum of k − pivot."""
        return sums_about(pivot, self.n, self.k0, self.k1)

    def penalty_sums(self) -> DoubleDouble:
        """Return the sum of −β·e."""
        return sums_about(0.0, self.n, self.e0, self.e1) * -self.beta

    def excess(self) -> Floats:
        """Return the tokens over the budget of each prompt."""
        return self.at_budget("excess") if self._layout.is_penalised else self.n * self.e0 + self.e1

    def adjusted_sums(self, pivot: float) -> DoubleDouble:
        """Return the sum of r − β·e − pivot."""
        return self.reward_sums(pivot) + self.penalty_sums()

    @quiet_overflow
    def adjusted_means(self) -> Floats:
        """Return the mean of r − β·e."""
        means: Floats = (self.adjusted_sums(0.0) / self.n).value
        return means

    def reorder_coefs(self) -> Floats:
        """Return the β above which each prompt's worst response beats its best; NaN if that cannot be told."""
        budgets = self._layout.budgets
        if self._layout.is_penalised:
            return coefs_between(
                self.column("r_max") - self.column("r_min"), self.at_budget("p_best") - self.at_budget("p_worst")
            )
        return reorder_coefs(
            self.column("r_max") - self.column("r_min"),
            self.column("L_best"),
            self.column("L_worst"),
            budgets[self._budget] if budgets else math.inf,
        )


class _Scatter(NamedTuple):
    """What the forms are of, in two doubles but for n."""

    n: Floats
    k_mean: DoubleDouble
    rr: DoubleDouble
    re: DoubleDouble
    ee: DoubleDouble
    kk: DoubleDouble
    rk: DoubleDouble
    ek: DoubleDouble
    beta: DoubleDouble
    alpha: DoubleDouble

    def adjusted_form(self) -> DoubleDouble:
        """Σ A² of each prompt."""
        found: DoubleDouble = objective.adjusted_form(self.rr, self.re, self.ee, self.beta)
        return found

    def loss_form(self) -> DoubleDouble:
        """Σ (A − α·(k − k̄))² of each prompt."""
        found: DoubleDouble = objective.loss_form(*self[2:])
        return found

    def k_squares(self) -> DoubleDouble:
        """Σk² of each prompt."""
        found: DoubleDouble = self.kk + self.k_mean * self.k_mean * self.n
        return found


@np.errstate(divide="ignore", invalid="ignore")
def reorder_coefs(gap: Floats, best: Floats, worst: Floats, budget: Any) -> Floats:
    """Return the β above which a prompt's worst response has a higher adjusted reward than its best; inf if none does.

    Args:
        gap: the prompt's highest reward minus its lowest.
        best, worst: length of the longest response with the highest reward, and of the shortest with the lowest;
            tokens.
        budget: B, a number or an array that broadcasts.

    Returns:
        gap / (e_best − e_worst). With two distinct rewards this is where the first pair changes order; with more,
        other pairs may change order before.
    """
    excess = np.maximum(best - budget, 0) - np.maximum(worst - budget, 0)
    return coefs_between(gap, np.where(np.isnan(excess), 0.0, excess))  # without lengths or a budget


@np.errstate(divide="ignore", invalid="ignore")
def coefs_between(gap: Floats, penalty: Floats) -> Floats:
    """Return the same from how much the penalty of the best exceeds that of the worst; NaN where that is NaN."""
    return np.where((penalty > 0) & (gap > 0), gap / penalty, np.where(np.isnan(penalty), np.nan, np.inf))


class Aggregates:
    """Sums over all prompts, taken over parts of ROWS first, so that each sum has two levels and keeps its digits."""

    def __init__(
        self,
        groups: Groups,
        coefficients: Coefficients,
        aggregate: Aggregate,
        budget: int,
        trained: Objective = DEFAULT,
    ) -> None:
        self._responses, self._prompts = groups.responses, len(groups)
        advantages = advantages_of(groups, trained, coefficients.budget_penalty_coef, budget)
        self._view_at = partial(PromptColumns, groups, coefficients, budget, advantages=advantages)
        self._by_prompt = aggregate == "prompt"
        self._weight = groups.responses if aggregate == "response" else len(groups)
        self._sums: dict[str, float] = defaultdict(float)
        self.least: dict[str, float] = defaultdict(lambda: math.inf)
        self.most: dict[str, float] = defaultdict(lambda: -math.inf)
        self.sizes = Counter[int]()
        self._rewards: list[_Pooled] = []
        self._penalties: list[_Pooled] = []
        self._adjusted_rewards: list[_Pooled] = []
        self._beta, self._alpha = coefficients.budget_penalty_coef, coefficients.kl_coef
        self._totals: dict[str, DoubleDouble] = defaultdict(DoubleDouble.zero)
        self._r_pivot = self._k_pivot = self._e_pivot = 0.0
        for part, view in enumerate(self._views()):
            if not part:
                self._r_pivot, self._k_pivot, self._e_pivot = (float(x0[0]) for x0 in (view.r0, view.k0, view.e0))
            self._add(view)

    def _views(self) -> Iterator[PromptColumns]:
        return (self._view_at(slice(start, start + ROWS)) for start in range(0, self._prompts, ROWS))

    def _add(self, view: PromptColumns) -> None:
        n, sums = view.n, self._sums
        weight = n if self._by_prompt else 1.0
        reorder = view.reorder_coefs()
        for name, values in (
            ("loss", view.loss_sums / weight),
            ("square", view.advantage_sums / weight),
            ("rr", view.rr if view.factor is None else view.factor**2 * view.rr),
            ("penalty", view.penalty_scatter if view.factor is None else view.factor**2 * view.penalty_scatter),
            ("squares", view.advantage_sums),
            ("phantom_squares", view.advantage_sums * view.phantom),
            ("over", view.at_budget("over")),
            ("k_squares", view.k_squares / weight),
            ("kk", view.k_squares),
            ("k3", view.column("k3")),
            ("L", view.column("L_sum")),
            ("zero_variance", view.zero_variance),
            ("zero_variance_adjusted", view.zero_variance_adjusted),
            ("phantom", view.phantom),
            ("reordered", reorder < view.beta),
            ("unordered", np.isnan(reorder)),
        ):
            sums[name] += float(values.sum())
        for name in ("r_min", "L_min"):
            self.least[name] = min(self.least[name], float(view.column(name).min()))
        for name in ("r_max", "L_max"):
            self.most[name] = max(self.most[name], float(view.column(name).max()))
        sizes, numbers = np.unique(n, return_counts=True)
        self.sizes.update(dict(zip(map(int, sizes.tolist()), numbers.tolist(), strict=True)))
        self._totals["r"] += total_about(self._r_pivot, n, view.r0, view.r1)
        self._totals["k"] += total_about(self._k_pivot, n, view.k0, view.k1)
        self._totals["e"] += total(n * view.e0 + view.e1)
        self._totals["excess"] += total(view.excess())
        for name, products in (("rk", view.with_advantage()), ("ek", view.in_full("ek"))):
            self._totals[name] += (products / n if self._by_prompt else products).sum()
        # differences between pivots keep the digits of close means
        r, e = (view.r0 - self._r_pivot) + view.r1 / n, (view.e0 - self._e_pivot) + view.e1 / n
        self._rewards.append(_pool(n, r, view.rr))
        self._penalties.append(_pool(n, self._beta * e, view.penalty_scatter))
        self._adjusted_rewards.append(_pool(n, r - self._beta * e, view.adjusted_scatter))

    def count(self, name: str) -> int:
        """Return a sum of whole numbers."""
        return round(self._sums[name])

    def weighted_mean(self, name: str, available: bool) -> float | None:
        """Return the mean of a sum over responses, as the aggregate weighs them."""
        return finite_or_none(self._sums[name] / self._weight) if available and self._weight else None

    def mean(self, name: str, available: bool) -> float | None:
        """Return the mean over responses."""
        return finite_or_none(self._sums[name] / self._responses) if available and self._responses else None

    def budget_share(self) -> float | None:
        """Return the share of the penalty in the scatter of the adjusted reward."""
        return _budget_share(self._sums["penalty"], self._sums["rr"])

    def phantom_share(self) -> float | None:
        """Return the share of ΣA² in prompts whose rewards are equal and whose penalties are not."""
        whole = self._sums["squares"]
        return self._sums["phantom_squares"] / whole if 0 < whole < math.inf else None

    def reordered(self) -> int | None:
        """Return the number of prompts whose order β changes; None if the penalty does not tell."""
        return None if self._sums["unordered"] else self.count("reordered")

    def reward(self) -> tuple[float | None, float | None]:
        """Mean and std over responses."""
        scatter = _scatter(self._rewards) if self._rewards else None
        return self._mean(self._totals["r"], self._r_pivot), self._std(scatter)

    def adjusted_reward(self) -> tuple[float | None, float | None]:
        """Mean and std over responses."""
        adjusted = self._totals["r"] - self._totals["e"] * self._beta
        return self._mean(adjusted, self._r_pivot), self._std(self._adjusted_scatter(adjusted))

    def _adjusted_scatter(self, adjusted: DoubleDouble) -> float | None:
        """Return the scatter of the adjusted rewards of all responses about their mean."""
        if not self._responses:
            return None
        scatter = _scatter(self._adjusted_rewards)
        if scatter < CANCELS * (_scatter(self._rewards) + _scatter(self._penalties)):
            mean, scatter = adjusted / self._responses, 0.0
            for view in self._views():
                about = (view.adjusted_sums(self._r_pivot) / view.n - mean).value
                scatter += float((view.adjusted_scatter + view.n * about * about).sum())
        return scatter

    def _std(self, scatter: float | None) -> float | None:
        return None if scatter is None else finite_or_none(math.sqrt(scatter / self._responses))

    def explained(self, available: bool) -> float | None:
        """Return the mean of A² − (A − α·k)², as the aggregate weighs it."""
        if not available or not self._weight:
            return None
        rk, ek, beta, alpha = self._totals["rk"], self._totals["ek"], self._beta, self._alpha
        k_squares: Any = self._sums["k_squares"]
        terms = 2 * abs(alpha * rk.hi) + 2 * abs(alpha * beta * ek.hi) + alpha * alpha * k_squares
        found = objective.explained_sum(rk, ek, DoubleDouble(k_squares), DoubleDouble(beta), DoubleDouble(alpha))
        if abs(found.hi) < CANCELS * terms:
            parts = [(view.n, view.scatter(slice(None)).k_squares()) for view in self._views()]
            k_squares = sum(((one / n if self._by_prompt else one).sum() for n, one in parts), DoubleDouble.zero())
            found = objective.explained_sum(rk, ek, k_squares, DoubleDouble(beta), DoubleDouble(alpha))
        return finite_or_none(float(found.value) / self._weight)

    def log_ratio(self) -> float | None:
        """Mean over responses."""
        return self._mean(self._totals["k"], self._k_pivot)

    def excess(self) -> int | None:
        """Return the sum over responses."""
        return whole_or_none(self._totals["excess"].value)

    def _mean(self, total: DoubleDouble, pivot: float) -> float | None:
        return finite_or_none((total / self._responses + pivot).value) if self._responses else None

    def size(self) -> Size:
        """Return the sizes of the groups."""
        if not self.sizes:
            return Size(None, None, None)
        return Size(min(self.sizes), self._responses / self._prompts, max(self.sizes))


class _Pooled(NamedTuple):
    """Responses of several groups: their number, their mean about a pivot, and their scatter."""

    n: float
    mean: float
    scatter: float


def _pool(n: Floats, mean: Floats, scatter: Floats) -> _Pooled:
    """Pool the mean and scatter of groups (Chan, Golub & LeVeque, 1983)."""
    total = n.sum()
    of_all = (n * mean).sum() / total
    return _Pooled(total, of_all, scatter.sum() + (n * (mean - of_all) ** 2).sum())


def _scatter(parts: Sequence[_Pooled]) -> float:
    return float(_pool(*map(np.array, zip(*parts, strict=True))).scatter)


def _kl(
    total: Aggregates, available: Availability, loss: float | None, square: float | None, explained: float | None
) -> Kl:
    """Return the estimates; `explained` is the mean of A² minus the loss, if it is known better than by these two."""
    k2 = total.mean("kk", available.log_ratio)
    r2 = None
    if square and loss is not None and available.log_ratio:
        r2 = finite_or_none(1 - loss / square if explained is None or not loss else explained / square)
    return Kl(
        k1=total.log_ratio() if available.log_ratio else None,
        k2=k2 and k2 / 2,
        k3=total.mean("k3", available.log_ratio),
        r2=r2,
    )


def _over_budget(total: Aggregates, available: Availability, responses: int) -> OverBudget:
    if not available.budgeted:
        return OverBudget(None, None, None, None)
    over, excess = total.count("over"), total.excess()
    return OverBudget(
        responses=over,
        fraction=over / responses,
        excess_tokens=excess,
        excess_mean=excess / over if over and excess is not None else None,
    )


def _length(groups: Groups, total: Aggregates) -> Length:
    p50, p90, p99 = groups.lengths.percentiles([50, 90, 99])
    shortest, longest = whole_or_none(total.least["L_min"]), whole_or_none(total.most["L_max"])
    return Length(total.mean("L", True), shortest, p50, p90, p99, longest)


def _budget_share(part: float, rest: float) -> float | None:
    """Return the share of the first scatter in the sum of both."""
    return part / (part + rest) if 0 < part + rest < math.inf else None


def _doubled(sizes: Mapping[int, int]) -> int:
    """Return the number of prompts whose size is a multiple of the size that more than half of all prompts have."""
    usual = max(sizes, key=lambda size: (sizes[size], -size), default=0)
    if usual < 2 or sizes[usual] * 2 <= sum(sizes.values()):
        return 0
    return sum(count for size, count in sizes.items() if size > usual and size % usual == 0)


def number_names(kind: type = Loss, prefix: str = "") -> list[str]:
    """Return the dotted path of every number of a result, in order."""
    names: list[str] = []
    for name, annotation in kind.__annotations__.items():
        options = get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)
        if hasattr(annotation, "_fields"):
            names += number_names(annotation, f"{prefix}{name}.")
        elif hasattr(annotation, "KEYS"):
            names += [f"{prefix}{name}.{key}" for key in annotation.KEYS]
        elif int in options or float in options:
            names.append(prefix + name)
    return names


def number_at(result: object, path: str) -> float | None:
    """Return the number of a result at its dotted path; 0 for a reason for which no sample is left out."""
    for name in path.split("."):
        if isinstance(result, Mapping):
            if name not in result:
                return 0
            result = result[name]
        else:
            result = getattr(result, name)
    return result  # type: ignore[return-value]  # the path names a number
