"""The loss by its definition, in exact arithmetic on the very doubles that the program is given."""

from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Literal

from budget_cli.ids import Key

Response = tuple[Key, float, int, float]  # prompt, reward, tokens, log-ratio in nats


def exact_loss(
    responses: Iterable[Response],
    token_budget: int,
    budget_penalty_coef: float,
    kl_coef: float,
    aggregate: Literal["response", "prompt"] = "response",
) -> Fraction:
    """Return the mean, over responses or over prompts, of (A - α·k)², A the advantage of r - β·max(0, L - B)."""
    beta, alpha = Fraction(budget_penalty_coef), Fraction(kl_coef)
    rows: defaultdict[Key, list[tuple[Fraction, Fraction]]] = defaultdict(list)
    for prompt, reward, length, log_ratio in responses:
        adjusted = Fraction(reward) - beta * max(0, length - token_budget)
        rows[prompt].append((adjusted, alpha * Fraction(log_ratio)))
    sums, sizes = [], []
    for row in rows.values():
        baseline = sum((adjusted for adjusted, _ in row), Fraction()) / len(row)
        sums.append(sum(((adjusted - baseline - kl) ** 2 for adjusted, kl in row), Fraction()))
        sizes.append(len(row))
    if aggregate == "response":
        return sum(sums, Fraction()) / sum(sizes)
    return sum((total / size for total, size in zip(sums, sizes, strict=True)), Fraction()) / len(sizes)


def exact_k3(k: float) -> Decimal:
    """Return e^-k - 1 + k, to more digits than a double has."""
    with localcontext(prec=60 + 2 * max(0, -Decimal(k).adjusted())):  # it cancels 2·150 digits at k = 1e-150
        return (-Decimal(k)).exp() - 1 + Decimal(k)
