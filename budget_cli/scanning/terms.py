"""Responses and the groups of a finished scan → the terms of the loss, one number per response."""

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from budget_cli import objective
from budget_cli.groups.advantage import advantages_of, batch_of
from budget_cli.groups.double_double import DoubleDouble
from budget_cli.groups.groups import Groups
from budget_cli.groups.moments import Floats, quiet_overflow
from budget_cli.groups.penalty import penalised, weights
from budget_cli.ids import Ids
from budget_cli.objective.estimators import Advantages, Batch
from budget_cli.objective.settings import DEFAULT, Objective
from budget_cli.records.columns import LabelColumn, ResponseColumns
from budget_cli.records.record import part_of_id
from budget_cli.scanning.parts import own_budgets
from budget_cli.scanning.rollouts import ROWS


class Trained(NamedTuple):
    """What the terms of a response are computed from; the same in every worker."""

    groups: Groups  # with the penalty of the objective, of one budget
    beta: float  # reward per token, or per unit of the penalty
    alpha: float  # reward per nat
    objective: Objective = DEFAULT
    advantages: Advantages | None = None  # of the groups; None: the advantage is the adjusted reward minus its mean
    batch: Batch | None = None  # of all responses, if the estimator needs them

    @classmethod
    def of(cls, groups: Groups, beta: float, alpha: float, trained: Objective) -> "Trained":
        """Compute what the terms of the responses of these groups need."""
        batch = batch_of(groups, beta) if trained.estimator.of_batch else None
        return cls(groups, beta, alpha, trained, advantages_of(groups, trained, beta, 0, batch), batch)

    def within(self, groups: Groups) -> "Trained":
        """Return the same for a part of the responses, with the groups of their scan."""
        own = penalised(groups, self.objective, self.groups.layout.budgets)
        return self._replace(groups=own, advantages=advantages_of(own, self.objective, self.beta, 0, self.batch))


def rows_of_prompts(columns: ResponseColumns, trained: Trained) -> NDArray[np.intp]:
    """Return the row of the prompt of each response, shape (responses,).

    Raises:
        ValueError: the groups do not have a prompt, so they are not of these responses.
    """
    rows = trained.groups.rows(columns.keys)
    if np.any(rows < 0):
        raise ValueError("these responses are not those of the groups: a prompt is missing")
    return rows[columns.codes]


@quiet_overflow
def terms_of(columns: ResponseColumns, rows: Any, trained: Trained) -> objective.Terms:
    """Compute the terms of these responses, shape (responses,) each; `rows` holds the row of each one's prompt.

    They are computed in two doubles and rounded once, so that a term keeps its digits where reward and penalty cancel.
    """
    return objective.Terms(*(term.value for term in _in_full(columns, rows, trained)))


def _in_full(columns: ResponseColumns, rows: Any, trained: Trained) -> objective.Terms:
    """Return the terms in two doubles."""
    groups, beta, alpha = trained.groups, trained.beta, trained.alpha
    r, e = columns.reward, np.zeros_like(columns.reward)
    e_mean = DoubleDouble(e)
    if groups.layout.budgets and columns.length is not None:
        e = _penalties(columns, rows, trained)
        e_mean = groups.means(rows, "e", 0)
    k = np.full_like(r, np.nan) if columns.log_ratio is None else columns.log_ratio
    r_mean = groups.means(rows, "r")
    terms = objective.terms(DoubleDouble(r), DoubleDouble(e), DoubleDouble(k), r_mean, e_mean, beta, alpha)
    if trained.advantages is None:
        return terms
    factor, shift, gap = trained.advantages
    factor, shift = factor[rows], shift[rows]
    inverse: Any = np.divide(shift, factor, out=np.zeros_like(shift), where=factor != 0)
    if gap is None:
        advantage = terms.advantage * factor + shift
    else:
        inverse = DoubleDouble(gap.hi[rows], gap.lo[rows])
        advantage = (terms.advantage + inverse) * factor
    centred = advantage - DoubleDouble(k) * alpha if alpha else advantage
    return terms._replace(baseline=terms.baseline - inverse, advantage=advantage, loss=centred * centred)


def _penalties(columns: ResponseColumns, rows: Any, trained: Trained) -> Floats:
    """Return the penalty of each response, before β."""
    assert columns.length is not None
    budget, of, own = trained.groups.layout.budgets[0], trained.objective, trained.groups.layout.own
    length, reward = np.nan_to_num(columns.length), columns.reward
    if own is not None:
        length = length - np.round(own.factors[0] * own_budgets(columns, own))
    if of.has_plain_penalty:
        return np.asarray(objective.excess(length, budget))
    found = of.shape(budget).at(length)
    if of.is_gated:
        found = found * (reward > of.correct_above)
    return np.asarray(found * weights(trained.groups, of)[rows] + 0.0)


@quiet_overflow
def means_over_rows(
    responses: Iterable[ResponseColumns], trained: Trained
) -> tuple[float | None, float | None, float | None]:
    """Return the mean of (A − α·k)², of A² and of A² − (A − α·k)², each response weighted by its rows."""
    losses, squares, explained, counts = [], [], [], []
    for columns in responses:
        terms = _in_full(columns, rows_of_prompts(columns, trained), trained)
        rows, by_k = np.asarray(columns.extras[ROWS], dtype=np.float64), terms.log_ratio * trained.alpha
        losses.append(terms.loss * rows)
        squares.append(terms.advantage * terms.advantage * rows)
        explained.append(by_k * (terms.advantage * 2 - by_k) * rows)
        counts.append(rows)
    return _ratio(losses, counts), _ratio(squares, counts), _ratio(explained, counts)


def _ratio(values: list[DoubleDouble], weights: list[Floats]) -> float | None:
    """The sum of all values over that of all weights; None if there is none, or it is not finite."""
    weight = math.fsum(np.concatenate([*weights, np.zeros(0)]))
    total = np.concatenate([*(half for each in values for half in (each.hi, each.lo)), np.zeros(0)])
    return math.fsum(total) / weight if weight and np.isfinite(total).all() else None


def responses_of_rows(rows: ResponseColumns, responses: ResponseColumns | None) -> ResponseColumns:
    """Return the rows with the reward, length and log-probs of the responses that they are part of."""
    if responses is None:
        return rows
    ids = Ids()
    ids.places(_names(responses))
    at = ids.find(_names(rows))

    def of(mine: Floats | None, theirs: Floats | None) -> Floats | None:
        if theirs is None:
            return mine
        return np.where(at >= 0, theirs[at], np.nan if mine is None else mine)

    reward = of(rows.reward, responses.reward)
    assert reward is not None
    return replace(
        rows,
        reward=reward,
        length=of(rows.length, responses.length),
        log_prob=of(rows.log_prob, responses.log_prob),
        old_log_prob=of(rows.old_log_prob, responses.old_log_prob),
    )


def _names(columns: ResponseColumns) -> list[str]:
    """A name for the rollout of each row; one that no rollout has for a row without a rollout."""
    rollouts = columns.extras["rollout_id"]
    assert isinstance(rollouts, LabelColumn)
    prompts = [part_of_id(key) for key in columns.keys]
    parts = [part_of_id(value) for value in rollouts.values]
    codes: list[tuple[int, int]] = list(zip(columns.codes.tolist(), rollouts.codes.tolist(), strict=True))
    return [f"{prompts[p]}/{parts[r]}" if r >= 0 else f"//{p}/{i}" for i, (p, r) in enumerate(codes)]
