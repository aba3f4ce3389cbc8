"""Every number of any objective by its definition, in exact arithmetic on the very doubles that the program is given.

A standard deviation that divides is a root to 60 digits; all else is exact.
"""

import math
from collections.abc import Sequence
from decimal import Decimal, localcontext
from fractions import Fraction

from exact_numbers import Exact, Response, Values, mean, scatter, std

from budget_cli.analysis.learnability import ATTEMPTS, SIZES
from budget_cli.analysis.loss import Coefficients
from budget_cli.objective.settings import TOKENS, Objective

DIGITS = 60


def root(value: Fraction) -> Fraction:
    """Return the square root to 60 digits."""
    if not value:
        return value
    power = max(0, DIGITS + (len(str(value.denominator)) - len(str(value.numerator))) // 2)
    return Fraction(math.isqrt(value.numerator * 10 ** (2 * power) // value.denominator), 10**power)


class _Prompt:
    """The responses to one prompt, with their penalty and what is made of it."""

    def __init__(self, responses: Sequence[Response], coefficients: Coefficients, of: Objective) -> None:
        beta, above = Fraction(coefficients.budget_penalty_coef), of.correct_above
        budget = coefficients.token_budget or 0
        self.length = [Fraction(each.length) for each in responses]
        self.reward = [Fraction(each.reward) for each in responses]
        self.k = [Fraction(each.log_ratio) for each in responses]
        rate = Fraction(sum(each.reward > above for each in responses), len(responses))
        weight = Fraction(1)
        if of.scale == "solve-rate":
            floor = of.scale_floor
            weight = max(rate, Fraction(1, len(responses)) if isinstance(floor, str) else Fraction(floor))
        if of.gate is not None and rate < Fraction(of.gate):
            weight = Fraction(0)
        phi = [
            _shape(of, each.length, budget) * (of.penalize == "all" or each.reward > above) * weight
            for each in responses
        ]
        self.penalty = [beta * each for each in phi]
        self.x = [r - p for r, p in zip(self.reward, self.penalty, strict=True)]
        self.baseline = mean(self.x)
        self.factor = Fraction(1)
        self.advantage: list[Fraction] = []

    def take(self, factor: Fraction, baseline: Fraction) -> None:
        """Set A = factor · (x − baseline)."""
        self.factor, self.advantage = factor, [factor * (x - baseline) for x in self.x]
        self.baseline = baseline if factor else self.baseline

    @property
    def is_phantom(self) -> bool:
        """True if the rewards are equal and the penalties are not."""
        return len(self.x) > 1 and len(set(self.reward)) == 1 and len(set(self.penalty)) > 1


def _shape(of: Objective, length: int, budget: int) -> int:
    over = max(0, length - budget)
    if of.penalty == "capped":
        return min(of.cap or 0, over)
    return {"linear": over, "step": int(over > 0), "distance": abs(length - budget)}[of.penalty]


def _inverse(value: Fraction, eps: float) -> Fraction:
    total = value + Fraction(eps)
    return 1 / total if total else total


def _deviation(squares: Fraction, n: int, ddof: int) -> Fraction:
    return root(squares / (n - ddof if n > ddof else n))


def prompts_of(responses: Sequence[Response], coefficients: Coefficients, of: Objective) -> list[_Prompt]:
    """Return the prompts in the order in which they first occur, with their advantages."""
    names = list(dict.fromkeys(each.prompt for each in responses))
    prompts = [_Prompt([each for each in responses if each.prompt == name], coefficients, of) for name in names]
    every = [x for one in prompts for x in one.x]
    within = sum((scatter(one.x) for one in prompts), Fraction())
    for one in prompts:
        n, about = len(one.x), mean(one.x)
        tokens = sum(one.length, Fraction())
        if n == 1 and of.singletons == "reward":
            one.take(1 / (1 + Fraction(of.eps)) if of.estimator.divides else Fraction(1), Fraction(0))
        elif of.advantage == "centred":
            one.take(Fraction(1), about)
        elif of.advantage == "rloo":
            one.take(Fraction(n, max(n - 1, 1)), about)
        elif of.advantage == "grpo":
            one.take(_inverse(_deviation(scatter(one.x), n, of.ddof), of.eps), about)
        elif of.advantage == "batch-std":
            one.take(_inverse(_deviation(within, len(every), of.ddof), of.eps), about)
        elif of.advantage == "maxrl":
            one.take(_inverse(about, of.eps), about)
        elif of.advantage == "opo":
            weighted = sum((t * x for t, x in zip(one.length, one.x, strict=True)), Fraction())
            one.take(Fraction(1), weighted / tokens if tokens else about)
        else:
            one.take(_inverse(_deviation(scatter(every), len(every), of.ddof), of.eps), mean(every))
    return prompts


def _aggregated(prompts: Sequence[_Prompt], of: Objective, rows: Sequence[Values]) -> Fraction | None:
    """Return the mean of one number of each response, as the objective weighs them."""
    if of.aggregate not in TOKENS:
        return mean([mean(row) for row in rows] if of.aggregate == "prompt" else [each for row in rows for each in row])
    tokens = [sum(one.length, Fraction()) for one in prompts]
    sums = [
        sum((t * each for t, each in zip(one.length, row, strict=True)), Fraction())
        for one, row in zip(prompts, rows, strict=True)
    ]
    some = [total / n for total, n in zip(sums, tokens, strict=True) if n]
    if not some:
        return None
    if of.aggregate == "prompt-token":
        return mean(some)
    whole = sum(tokens) if of.aggregate == "token" else (of.constant or 1) * sum(len(row) for row in rows)
    return sum(sums, Fraction()) / whole


def _losses(one: _Prompt, alpha: Fraction) -> list[Fraction]:
    return [(a - alpha * k) ** 2 for a, k in zip(one.advantage, one.k, strict=True)]


def _share(prompts: Sequence[_Prompt], scaled: bool) -> Fraction | None:
    factors = [one.factor**2 if scaled else Fraction(1) for one in prompts]
    penalty = sum((f * scatter(one.penalty) for f, one in zip(factors, prompts, strict=True)), Fraction())
    rest = sum((f * scatter(one.reward) for f, one in zip(factors, prompts, strict=True)), Fraction())
    return penalty / (penalty + rest) if penalty + rest else None


def objective_numbers(
    responses: Sequence[Response], coefficients: Coefficients, of: Objective
) -> tuple[dict[str, Exact], list[dict[str, Exact]], list[dict[str, Exact]]]:
    """Return the numbers of `loss` that an objective changes, those of its prompts, and those of `annotate`.

    The responses of `annotate` are those of each prompt together.
    """
    prompts, alpha = prompts_of(responses, coefficients, of), Fraction(coefficients.kl_coef)
    losses = [_losses(one, alpha) for one in prompts]
    squares = [[a * a for a in one.advantage] for one in prompts]
    loss, square = _aggregated(prompts, of, losses), _aggregated(prompts, of, squares)
    whole = sum((sum(row, Fraction()) for row in squares), Fraction())
    phantom = [sum(row, Fraction()) for one, row in zip(prompts, squares, strict=True) if one.is_phantom]
    x = [each for one in prompts for each in one.x]
    numbers: dict[str, Exact | None] = {
        "loss": loss,
        "adjusted_reward.mean": mean(x),
        "adjusted_reward.std": std(x),
        "advantage.mean_square": square,
        "advantage.budget_share": _share(prompts, True),
        "advantage.phantom_share": sum(phantom, Fraction()) / whole if whole else None,
        "kl.r2": 1 - loss / square if square and loss is not None else None,
    }
    of_prompts: list[dict[str, Exact | None]] = [
        {
            "loss": mean(row),
            "adjusted_reward_mean": mean(one.x),
            "advantage_mean_square": mean(of_a),
            "budget_share": _share([one], False),
        }
        for one, row, of_a in zip(prompts, losses, squares, strict=True)
    ]
    terms: list[dict[str, Exact]] = [
        {"penalty": p, "adjusted_reward": x, "advantage": a, "loss": each}
        | ({"baseline": one.baseline} if one.baseline else {})  # sums that cancel to 0 leave 1e-32 of their terms
        for one, row in zip(prompts, losses, strict=True)
        for p, x, a, each in zip(one.penalty, one.x, one.advantage, row, strict=True)
    ]
    return _known(numbers), [_known(each) for each in of_prompts], terms


def _known(numbers: dict[str, Exact | None]) -> dict[str, Exact]:
    return {name: value for name, value in numbers.items() if value is not None}


def learnability_numbers(responses: Sequence[Response], above: float) -> dict[str, Exact]:
    """Return the numbers of `learnability` that are no counts."""
    right = [each.reward > above for each in responses]
    lengths: dict[bool, list[Fraction]] = {True: [], False: []}
    of: dict[object, list[bool]] = {}
    for each, is_right in zip(responses, right, strict=True):
        lengths[is_right].append(Fraction(each.length))
        of.setdefault(each.prompt, []).append(is_right)
    pairs = [(len(row), sum(row)) for row in of.values()]
    several = [(n, c) for n, c in pairs if n > 1]
    alike = [sum(n > 1 and c == wanted(n) for n, c in pairs) for wanted in (lambda n: n, lambda _: 0)]
    found: dict[str, Exact | None] = {
        "right_fraction": Fraction(sum(right), len(right)),
        "length_right": mean(lengths[True]) if lengths[True] else None,
        "length_wrong": mean(lengths[False]) if lengths[False] else None,
        **{
            f"pass_at.{k}": mean([1 - _drawn(n - c, n, k) for n, c in pairs if n >= k])
            for k in ATTEMPTS
            if 2 * sum(n >= k for n, _ in pairs) > len(pairs)
        },
    }
    if several:
        found |= {
            "all_right_fraction": Fraction(alike[0], len(several)),
            "all_wrong_fraction": Fraction(alike[1], len(several)),
            "mixed_fraction": Fraction(len(several) - sum(alike), len(several)),
            "zero_variance_fraction": Fraction(sum(alike), len(several)),
            **{f"zero_variance_at.{size}": mean([_alike(n, c, size) for n, c in several]) for size in SIZES},
        }
    return _known(found)


def _drawn(some: int, n: int, k: int) -> Fraction:
    """Return the probability that all of k of n are among these."""
    return Fraction(math.comb(some, k), math.comb(n, k))


def _alike(n: int, right: int, size: int) -> Fraction:
    of_these = min(n, size)
    chance = _drawn(right, n, of_these) + _drawn(n - right, n, of_these)
    return chance * math.prod((Fraction(2 * i + 1, 2 * i + 2) for i in range(n, size)), start=Fraction(1))


def policy_numbers(log_ratios: Sequence[float]) -> dict[str, Exact]:
    """Return the numbers of two policies, from the log-ratios of the responses, to 60 digits or more."""
    ks = [Decimal(k) for k in log_ratios]
    with localcontext(prec=2 * DIGITS, Emin=-(10**9), Emax=10**9):
        weights = [Fraction(k.exp()) for k in ks]
        largest = Fraction(max(ks).exp())
    total, squares, n = sum(weights, Fraction()), sum((w * w for w in weights), Fraction()), len(ks)
    effective = total * total / squares
    return {
        "effective_sample_size": effective,
        "effective_share": effective / n,
        "mean_weight": total / n,
        "max_weight": largest,
        "chi_square": squares / n - 1,
    }
