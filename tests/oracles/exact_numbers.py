"""Every number of the results by its definition, in exact arithmetic on the very doubles that the program is given.

A standard deviation, a standard error and a z are roots of rational numbers, so a value here is a `Root`: the number
whose square, with its sign, is known exactly.
"""

from collections.abc import Mapping, Sequence
from decimal import localcontext
from fractions import Fraction
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple

from exact import exact_k3

from budget_cli.analysis.loss import Coefficients
from budget_cli.ids import Key


class Response(NamedTuple):
    """A response of a dump; its log-ratio is the double to which the difference of the two log-probs is rounded."""

    prompt: Key
    reward: float
    length: int  # tokens
    log_ratio: float  # nats


class Root(NamedTuple):
    """The number with this square."""

    square: Fraction
    sign: int = 1


Exact = Fraction | Root
Values = Sequence[Fraction]
PERCENTS = (50, 90, 99)


def mean(values: Values) -> Fraction:
    """Return the mean; values that are none have none."""
    return sum(values, Fraction()) / len(values)


def relative_error(found: float | None, exact: Exact) -> float:
    """Return |found − exact| / |exact|; 0 where both are 0, infinite where only the exact number is."""
    square = exact.square if isinstance(exact, Root) else exact
    if found is None or not square:
        return 0.0 if found == 0 else float("inf")
    if not isinstance(exact, Root):
        return float(abs((Fraction(found) - exact) / exact))
    if (found < 0) != (exact.sign < 0):
        return 1.0
    return float(abs(Fraction(found) ** 2 / square - 1) / 2)  # of a root, the error is half that of its square


class _Prompt:
    """The terms of the responses of one prompt."""

    def __init__(self, responses: Sequence[Response], coefficients: Coefficients) -> None:
        beta, alpha = Fraction(coefficients.budget_penalty_coef), Fraction(coefficients.kl_coef)
        budget = coefficients.token_budget or 0
        self.length = [Fraction(each.length) for each in responses]
        self.excess = [Fraction(max(0, each.length - budget)) for each in responses]
        self.reward = [Fraction(each.reward) for each in responses]
        self.k = [Fraction(each.log_ratio) for each in responses]
        self.penalty = [beta * e for e in self.excess]
        self.adjusted = [r - p for r, p in zip(self.reward, self.penalty, strict=True)]
        self.baseline = mean(self.adjusted)
        self.advantage = [a - self.baseline for a in self.adjusted]
        self.loss = [(a - alpha * k) ** 2 for a, k in zip(self.advantage, self.k, strict=True)]


def scatter(values: Values) -> Fraction:
    """Return the centred sum of squares."""
    middle = mean(values)
    return sum(((x - middle) ** 2 for x in values), Fraction())


def std(values: Values) -> Root:
    """Return the standard deviation with ddof 0."""
    return Root(scatter(values) / len(values))


def percentile(values: Values, percent: int) -> Fraction:
    """Return a percentile, interpolated linearly."""
    ranked = sorted(values)
    below, part = divmod(Fraction(percent, 100) * (len(ranked) - 1), 1)
    above = min(int(below) + 1, len(ranked) - 1)
    return ranked[int(below)] * (1 - part) + ranked[above] * part


@lru_cache(maxsize=1 << 16)
def k3(k: float) -> Fraction:
    """Return e^-k - 1 + k to 40 digits."""
    if k > 150:
        return Fraction(k) - 1  # e^-k is below 1e-65
    with localcontext(prec=40):
        return Fraction(+exact_k3(k))


def by_prompt(responses: Sequence[Response], coefficients: Coefficients) -> Sequence[_Prompt]:
    """Return the prompts in the order in which they first occur."""
    return _by_prompt(tuple(responses), coefficients)


@lru_cache(maxsize=8)  # what is asked of thousands of responses has the same prompts
def _by_prompt(responses: tuple[Response, ...], coefficients: Coefficients) -> Sequence[_Prompt]:
    order = {prompt: i for i, prompt in enumerate(dict.fromkeys(each.prompt for each in responses))}
    ranked = sorted(responses, key=lambda each: order[each.prompt])
    return [_Prompt(list(each), coefficients) for _, each in groupby(ranked, key=lambda one: one.prompt)]


def _share(prompts: Sequence[_Prompt]) -> Fraction | None:
    penalty = sum((scatter(one.penalty) for one in prompts), Fraction())
    rest = sum((scatter(one.reward) for one in prompts), Fraction())
    return penalty / (penalty + rest) if penalty + rest else None


def loss_numbers(responses: Sequence[Response], coefficients: Coefficients, by: str = "response") -> dict[str, Exact]:
    """Return the numbers of `loss`, by their dotted path; those that do not exist are not in it."""
    prompts = by_prompt(responses, coefficients)

    def of(name: str) -> Values:
        return [value for one in prompts for value in getattr(one, name)]

    def averaged(name: str, power: int) -> Fraction:
        rows = [[value**power for value in getattr(one, name)] for one in prompts]
        return mean([mean(row) for row in rows]) if by == "prompt" else mean([value for row in rows for value in row])

    loss, square = averaged("loss", 1), averaged("advantage", 2)
    over = sum(e > 0 for e in of("excess"))
    found: dict[str, Exact | None] = {
        "loss": loss,
        "reward.mean": mean(of("reward")),
        "reward.std": std(of("reward")),
        "reward.min": min(of("reward")),
        "reward.max": max(of("reward")),
        "adjusted_reward.mean": mean(of("adjusted")),
        "adjusted_reward.std": std(of("adjusted")),
        "advantage.mean_square": square,
        "advantage.budget_share": _share(prompts),
        "kl.k1": mean(of("k")),
        "kl.k2": mean([k * k / 2 for k in of("k")]),
        "kl.k3": mean([k3(float(k)) for k in of("k")]) if min(of("k")) > -700 else None,
        "kl.r2": 1 - loss / square if square else None,
        "length.mean": mean(of("length")),
        **{f"length.p{percent}": percentile(of("length"), percent) for percent in PERCENTS},
        "over_budget.fraction": Fraction(over, len(responses)),
        "over_budget.excess_tokens": sum(of("excess"), Fraction()),
        "over_budget.excess_mean": sum(of("excess"), Fraction()) / over if over else None,
        "groups.size.mean": Fraction(len(responses), len(prompts)),
    }
    return {name: value for name, value in found.items() if value is not None}


def prompt_numbers(responses: Sequence[Response], coefficients: Coefficients) -> list[dict[str, Exact]]:
    """Return the numbers of each prompt."""
    found = []
    for one in by_prompt(responses, coefficients):
        numbers: dict[str, Exact | None] = {
            "loss": mean(one.loss),
            "reward_mean": mean(one.reward),
            "reward_std": std(one.reward),
            "adjusted_reward_mean": one.baseline,
            "advantage_mean_square": mean([a * a for a in one.advantage]),
            "budget_share": _share([one]),
            "k1": mean(one.k),
            "length_mean": mean(one.length),
        }
        found.append({name: value for name, value in numbers.items() if value is not None})
    return found


def budget_numbers(responses: Sequence[Response], budget: int) -> dict[str, Exact]:
    """Return the effects of a budget: the share over it, the β of half the variance, the β that reorders a prompt."""
    prompts = by_prompt(responses, Coefficients(budget, 1.0, 0.0))
    over = sum(e > 0 for one in prompts for e in one.excess)
    penalty = sum((scatter(one.penalty) for one in prompts), Fraction())
    rewards = sum((scatter(one.reward) for one in prompts), Fraction())
    found: dict[str, Exact] = {"fraction": Fraction(over, len(responses))}
    if penalty and rewards:
        found["half_share_coef"] = Root(rewards / penalty)
    reorder = []
    for one in prompts:
        best, worst = max(one.reward), min(one.reward)
        longest = max(e for e, r in zip(one.excess, one.reward, strict=True) if r == best)
        shortest = min(e for e, r in zip(one.excess, one.reward, strict=True) if r == worst)
        if best > worst and longest > shortest:
            reorder.append((best - worst) / (longest - shortest))
    if reorder:
        found["reorder_coef"] = min(reorder)
    return found


def term_numbers(responses: Sequence[Response], coefficients: Coefficients) -> list[dict[str, Exact]]:
    """Return the terms of each response, with the responses of a prompt together."""
    return [
        {"penalty": p, "adjusted_reward": a, "baseline": one.baseline, "advantage": v, "log_ratio": k, "loss": loss}
        for one in by_prompt(responses, coefficients)
        for p, a, v, k, loss in zip(one.penalty, one.adjusted, one.advantage, one.k, one.loss, strict=True)
    ]


def differences(
    base: Sequence[Response], new: Sequence[Response], coefficients: Coefficients
) -> Mapping[str, dict[str, Exact]]:
    """Return base, new, delta, se and z of each quantity; both dumps have the same prompts, paired by their ids."""
    sides = []
    for responses in (base, new):
        order = sorted({each.prompt for each in responses}, key=str)
        sides.append(by_prompt(sorted(responses, key=lambda each: order.index(each.prompt)), coefficients))
    return {name: _difference(*(_sums(side, name) for side in sides)) for name in QUANTITIES}


QUANTITIES = ("loss", "reward", "adjusted_reward", "log_ratio", "length", "over_budget", "zero_variance")


def _sums(prompts: Sequence[_Prompt], name: str) -> list[tuple[Fraction, Fraction]]:
    if name == "zero_variance":
        return [(Fraction(len(one.reward) > 1 and len(set(one.reward)) == 1), Fraction(1)) for one in prompts]
    if name == "over_budget":
        return [(Fraction(sum(e > 0 for e in one.excess)), Fraction(len(one.excess))) for one in prompts]
    column = {"adjusted_reward": "adjusted", "log_ratio": "k"}.get(name, name)
    return [(sum(getattr(one, column), Fraction()), Fraction(len(one.k))) for one in prompts]


def _difference(
    base: Sequence[tuple[Fraction, Fraction]], new: Sequence[tuple[Fraction, Fraction]]
) -> dict[str, Exact]:
    ratios, influences = [], []
    for side in (base, new):
        size = sum((n for _, n in side), Fraction())
        ratios.append(sum((y for y, _ in side), Fraction()) / size)
        influences.append([(y - ratios[-1] * n) / size for y, n in side])
    prompts = len(base)
    delta = ratios[1] - ratios[0]
    found: dict[str, Exact] = {"base": ratios[0], "new": ratios[1], "delta": delta}
    if prompts > 1:
        moves = [two - one for one, two in zip(*influences, strict=True)]
        variance = sum((move * move for move in moves), Fraction()) * prompts / (prompts - 1)
        found["se"] = Root(variance)
        if variance:
            found["z"] = Root(delta * delta / variance, -1 if delta < 0 else 1)
    return found
