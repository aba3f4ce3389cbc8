"""Rewards, log-probabilities, lengths → the budget-aware loss.

The loss twice: as its plain definition, to be read, and in closed form on a prompt's moments, to be computed. Pure
arithmetic: knows no files, no records and no numpy; the closed form takes numbers and arrays alike.

Symbols, per response i of a prompt:

    r     reward
    L, B  length and token budget, in tokens
    e     excess = max(0, L − B), in tokens
    k     log-ratio = logπ_θ(y|x) − logπ_ref(y|x), in nats, summed over the response's tokens
    β, α  budget penalty coefficient (reward per token), KL coefficient (reward per nat)
    A     advantage = (r − β·e) minus its mean over the prompt

    loss = mean over responses of (A − α·k)²

Source: Kimi Team, "Kimi K2" (arXiv 2507.20534), 2025, §3.2.3, with a linear token budget; A. "PMD-mean" in
arXiv 2602.05933. The penalty is DAPO's overlong form without its floor (Yu et al., arXiv 2503.14476, 2025, eq. 13).
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

Rows = Sequence[Sequence[float]]
Number = Any  # a float, an array of them, or numbers of two doubles each: the closed form takes all

TIE = 1e-14  # of a sum of squares in one double: 64 units in the last place of the terms that cancelled
DUST = 1e-24  # of one in two doubles: rewards, and their decimals, are of one double each


def rl_budget_loss(
    rewards: Rows,
    log_probs: Rows,
    old_log_probs: Rows,
    response_lengths: Rows,
    token_budget: float,
    kl_coef: float,
    budget_penalty_coef: float,
) -> float:
    """The budget-aware loss of a batch, by its definition.

    Args:
        rewards: one row per prompt, one number per response; rows may have different lengths.
        log_probs: sequence log-probabilities under the current policy, in nats, same shape.
        old_log_probs: the same under the reference policy.
        response_lengths: in tokens, same shape.
        token_budget: B, in tokens.
        kl_coef: α.
        budget_penalty_coef: β, reward per token over the budget.

    Returns:
        The mean over all responses of (A − α·k)².

    Raises:
        ValueError: the shapes differ, a list is flat, a number is not finite, or there is no response at all.
    """
    _require_same_shape(
        {
            "rewards": rewards,
            "log_probs": log_probs,
            "old_log_probs": old_log_probs,
            "response_lengths": response_lengths,
        }
    )
    _require_finite_coefficients(token_budget, kl_coef, budget_penalty_coef)
    terms: list[float] = []
    for r, log_p, log_ref, length in zip(rewards, log_probs, old_log_probs, response_lengths, strict=True):
        adjusted = [
            r_i - budget_penalty_coef * excess(length_i, token_budget) for r_i, length_i in zip(r, length, strict=True)
        ]
        baseline = math.fsum(adjusted) / len(adjusted)
        terms += [
            ((a - baseline) - kl_coef * (p - ref)) ** 2 for a, p, ref in zip(adjusted, log_p, log_ref, strict=True)
        ]
    return math.fsum(terms) / len(terms)


def excess(length: Number, budget: float) -> Number:
    """Return max(0, L − B), in tokens: a number or an array; NaN where the length is."""
    return (length - budget) * (length > budget) + 0.0  # not −0.0


class Terms(NamedTuple):
    """The terms of the loss, for one response or an array of them."""

    penalty: Number  # β·e
    adjusted_reward: Number  # r − β·e
    baseline: Number  # the mean adjusted reward of the prompt
    advantage: Number  # A
    log_ratio: Number  # k, nats
    loss: Number  # (A − α·k)²


def terms(
    r: Number,
    e: Number,
    k: Number,
    r_mean: Number,
    e_mean: Number,
    beta: float,
    alpha: float,
) -> Terms:
    """Compute the terms of responses from their values and their prompts' means.

    Args:
        r, e: reward and excess.
        k: log-ratio in nats; ignored if α is 0.
        r_mean, e_mean: means over the response's prompt.
        beta, alpha: β and α.
    """
    penalty = beta * e
    adjusted, baseline = r - penalty, r_mean - beta * e_mean
    advantage = adjusted - baseline
    centred = advantage - alpha * k if alpha else advantage
    return Terms(penalty, adjusted, baseline, advantage, k, centred * centred)


def adjusted_scatter(rr: Number, re: Number, ee: Number, beta: float) -> Number:
    """Σ A² of a prompt, from the scatter of its rewards and excess: S_rr − 2β·S_re + β²·S_ee.

    Args:
        rr, re, ee: centred sums of products, per prompt; a scalar or an array.
        beta: β.

    Returns:
        The sum, never below zero, and exactly zero where adjusted rewards tie but for 1e-7 of what cancels.
    """
    return without_dust(adjusted_form(rr, re, ee, beta), rr + beta * beta * ee, TIE)


def adjusted_form(rr: Number, re: Number, ee: Number, beta: Number) -> Number:
    """S_rr − 2β·S_re + β²·S_ee, as it rounds."""
    return rr - 2 * beta * re + beta * beta * ee


def loss_form(
    rr: Number, re: Number, ee: Number, kk: Number, rk: Number, ek: Number, beta: Number, alpha: Number
) -> Number:
    """wᵀSw with w = (1, −β, −α), as it rounds."""
    return adjusted_form(rr, re, ee, beta) - 2 * alpha * (rk - beta * ek) + alpha * alpha * kk


def loss_sum(
    n: Number,
    rr: Number,
    re: Number,
    ee: Number,
    k_mean: Number,
    kk: Number,
    rk: Number,
    ek: Number,
    beta: float,
    alpha: float,
) -> Number:
    """Σ (A − α·k)² of a prompt in closed form: wᵀSw + n·α²·k̄², w = (1, −β, −α).

    Args:
        n: responses of the prompt.
        rr, re, ee, kk, rk, ek: the centred scatter S of (reward, excess, log-ratio).
        k_mean: k̄, nats.
        beta, alpha: β and α.

    Returns:
        The sum over the prompt's responses; scalars in, scalar out, arrays in, array out.
    """
    scale = rr + beta * beta * ee + alpha * alpha * kk
    centred = without_dust(loss_form(rr, re, ee, kk, rk, ek, beta, alpha), scale, TIE)
    return centred + n * (alpha * k_mean) ** 2


def explained_sum(rk: Number, ek: Number, kk: Number, beta: Number, alpha: Number) -> Number:
    """Σ A² − Σ (A − α·k)² of a prompt, the part of the advantage's square that α·k explains.

    By itself, as the difference of the two sums would cancel its digits where the part is small.

    Args:
        rk, ek: centred sums of products with the log-ratio.
        kk: Σk², not centred.
        beta, alpha: β and α.
    """
    return 2 * alpha * (rk - beta * ek) - alpha * alpha * kk


def without_dust(value: Number, scale: Number, dust: float) -> Number:
    """Return `value`, or 0 where it is no more than this share of terms as large as `scale`, which cancelled.

    A squared length cannot be negative, and a tie between adjusted rewards should be a tie.
    """
    return value * (value > dust * scale)


def _require_same_shape(named: dict[str, Rows]) -> None:
    first, *others = named
    for name, table in named.items():
        if not hasattr(table, "__len__"):
            raise ValueError(f"{name}: expected one row of numbers per prompt, found {table!r}")
        for prompt, row in enumerate(table):
            if not hasattr(row, "__len__") or isinstance(row, str):
                raise ValueError(
                    f"{name}[{prompt}]: expected a row of numbers, found {row!r}: give one row per prompt; for a single"
                    " prompt, [[...]]"
                )
    rows = named[first]
    if not len(rows) or not all(len(row) for row in rows):
        raise ValueError(f"{first}: expected one or more responses for every prompt, found {_shape(rows)}")
    for name in others:
        if _shape(named[name]) != _shape(rows):
            raise ValueError(
                f"{name}: expected the shape of {first}, {_shape(rows)}, found {_shape(named[name])}"
                " (one row per prompt, one number per response)"
            )
    for name, table in named.items():
        for prompt, row in enumerate(table):
            for response, value in enumerate(row):
                if not math.isfinite(value):
                    raise ValueError(f"{name}[{prompt}][{response}]: expected a finite number, found {value}")


def _require_finite_coefficients(token_budget: float, kl_coef: float, budget_penalty_coef: float) -> None:
    named = {"token_budget": token_budget, "kl_coef": kl_coef, "budget_penalty_coef": budget_penalty_coef}
    for name, value in named.items():
        if not math.isfinite(value):
            raise ValueError(f"{name}: expected a finite number, found {value}")
    if token_budget < 0:
        raise ValueError(f"token_budget: expected 0 tokens or more, found {token_budget}")


def _shape(rows: Rows) -> list[int]:
    return [len(row) for row in rows]
