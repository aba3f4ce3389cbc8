"""The advantage and loss of any objective by its definition, response by response: what the closed form must give."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from budget_cli.objective.settings import Objective


class Sample(NamedTuple):
    """A response: prompt, reward, tokens, log-ratio in nats, and its own budget, which only some objectives look at."""

    prompt: str
    reward: float
    length: int
    log_ratio: float
    own: int = 0


def penalties(samples: Sequence[Sample], of: Objective, budget: int) -> list[float]:
    """φ of every response, with the factor of its prompt."""
    found = []
    for one in samples:
        mates = [other for other in samples if other.prompt == one.prompt]
        own = round(of.factors[0] * one.own) if of.has_own_budgets else budget
        over = max(0, one.length - own)
        phi = {
            "linear": lambda over=over: over,
            "capped": lambda over=over: min(of.cap or 0, over),
            "step": lambda over=over: int(over > 0),
            "distance": lambda one=one, own=own: abs(one.length - own),
        }[of.penalty]()
        if of.penalize == "correct" and one.reward <= of.correct_above:
            phi = 0
        rate = sum(other.reward > of.correct_above for other in mates) / len(mates)
        weight = 1.0
        if of.scale == "solve-rate":
            weight = max(rate, 1 / len(mates) if of.scale_floor == "1/n" else float(of.scale_floor))
        if of.gate is not None and rate < of.gate:
            weight = 0.0
        found.append(phi * weight)
    return found


def advantages(samples: Sequence[Sample], of: Objective, budget: int, beta: float) -> list[float]:
    """A of every response."""
    x = [one.reward - beta * phi for one, phi in zip(samples, penalties(samples, of, budget), strict=True)]
    where = {
        prompt: [i for i, one in enumerate(samples) if one.prompt == prompt] for prompt in {s.prompt for s in samples}
    }
    mean = {prompt: math.fsum(x[i] for i in at) / len(at) for prompt, at in where.items()}
    everywhere = math.fsum(x) / len(x)

    def std(deviations: Sequence[float]) -> float:
        n = len(deviations)
        return math.sqrt(math.fsum(d * d for d in deviations) / (n - of.ddof if n > of.ddof else n))

    found = []
    for i, one in enumerate(samples):
        at = where[one.prompt]
        own, n = mean[one.prompt], len(at)
        if n == 1 and of.singletons == "reward":
            found.append(x[i] / (1 + of.eps) if of.estimator.divides else x[i])
            continue
        about = x[i] - own
        within = [x[j] - mean[samples[j].prompt] for j in range(len(x))]
        if of.advantage == "centred":
            a = about
        elif of.advantage == "rloo":
            a = x[i] - (math.fsum(x[j] for j in at if j != i) / (n - 1)) if n > 1 else 0.0
        elif of.advantage == "opo":
            tokens = sum(samples[j].length for j in at)
            a = x[i] - (math.fsum(samples[j].length * x[j] for j in at) / tokens if tokens else own)
        else:
            by = {
                "grpo": lambda at=at, own=own: std([x[j] - own for j in at]),
                "batch-std": lambda within=within: std(within),
                "maxrl": lambda own=own: own,
                "reinforce++": lambda: std([each - everywhere for each in x]),
            }[of.advantage]() + of.eps
            top = x[i] - everywhere if of.advantage == "reinforce++" else about
            a = top / by if by else 0.0
        found.append(a)
    return found
