"""The adjusted rewards of a prompt → its advantages: A = f·(x − b), one factor f and one baseline b per prompt.

An estimator gives f and b from sums that add, so the closed form of the loss holds for each of them. To add one, write
its function here and a line of ESTIMATORS. Pure arithmetic, on numbers and arrays alike.

Symbols, per prompt: n responses, x = r − β·φ the adjusted reward, x̄ its mean, S = Σ(x − x̄)²; L length (tokens).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

Number = Any  # a number, or an array with one entry per prompt


class Batch(NamedTuple):
    """The adjusted rewards of all responses."""

    n: float
    mean: Number  # X, in two doubles
    scatter: float  # about X
    within_scatter: float  # about the means of the prompts: Σ S


class Adjusted(NamedTuple):
    """What estimators are made of: the adjusted rewards of each prompt, and of the batch."""

    n: Number
    mean: Number  # x̄
    scatter: Number  # S
    length_gap: Number  # Σ L·x / Σ L − x̄; NaN where it is not known
    batch_gap: Number  # x̄ − X
    batch: Batch


class Advantages(NamedTuple):
    """A = factor·(x − x̄) + shift, per prompt."""

    factor: Number
    shift: Number  # factor·(x̄ − b)
    gap: Number = None  # x̄ − b in two doubles; None: it is 0


class Estimator(NamedTuple):
    """An estimator's formula, who trains with it, and its arithmetic."""

    formula: str
    source: str
    of: Callable[[Adjusted, int, float], Advantages]  # of the prompts, ddof and ε
    is_linear: bool = False  # True if f is 1: any β and α then follow from the sums over all prompts
    divides: bool = False  # True if ddof and ε mean something
    of_batch: bool = False  # True if the batch gives the factor or the baseline


def centred(x: Adjusted, ddof: int, eps: float) -> Advantages:
    """A = x − x̄."""
    return Advantages(_ones(x), 0 * x.mean)


def rloo(x: Adjusted, ddof: int, eps: float) -> Advantages:
    """A = x minus the mean of the others: n/(n − 1)·(x − x̄)."""
    return Advantages(x.n / (x.n - (x.n > 1)), 0 * x.mean)


def grpo(x: Adjusted, ddof: int, eps: float) -> Advantages:
    """A = (x − x̄)/(s + ε) with s² = S/(n − ddof)."""
    return Advantages(_inverse(_std(x.scatter, x.n, ddof), eps), 0 * x.mean)


def batch_std(x: Adjusted, ddof: int, eps: float) -> Advantages:
    """A = (x − x̄)/(σ + ε), where σ is the standard deviation of x − x̄ over the batch."""
    return Advantages(_ones(x) * _inverse(_std(x.batch.within_scatter, x.batch.n, ddof), eps), 0 * x.mean)


def maxrl(x: Adjusted, ddof: int, eps: float) -> Advantages:
    """A = (x − x̄)/(x̄ + ε)."""
    return Advantages(_inverse(x.mean, eps), 0 * x.mean)


def opo(x: Adjusted, ddof: int, eps: float) -> Advantages:
    """A = x − Σ L·x/Σ L: a baseline weighted by length."""
    return Advantages(_ones(x), -x.length_gap)


def reinforce_pp(x: Adjusted, ddof: int, eps: float) -> Advantages:
    """A = (x − X)/(σ + ε), with X and σ the mean and standard deviation of the batch."""
    factor = _ones(x) * _inverse(_std(x.batch.scatter, x.batch.n, ddof), eps)
    return Advantages(factor, factor * x.batch_gap)


ESTIMATORS = {
    "centred": Estimator(
        "x − mean x", "Kimi K2 (arXiv 2507.20534), Dr. GRPO (arXiv 2503.20783)", centred, is_linear=True
    ),
    "rloo": Estimator("n/(n − 1)·(x − mean x)", "RLOO (arXiv 2402.14740)", rloo),
    "grpo": Estimator("(x − mean x)/(s + ε)", "GRPO (arXiv 2402.03300)", grpo, divides=True),
    "batch-std": Estimator("(x − mean x)/(σ + ε)", "AReaL, ROLL, DLER", batch_std, divides=True, of_batch=True),
    "maxrl": Estimator("(x − mean x)/(mean x + ε)", "MaxRL, as in SkyRL and prime-rl", maxrl, divides=True),
    "opo": Estimator("x − Σ L·x/Σ L", "OPO (arXiv 2505.23585)", opo),
    "reinforce++": Estimator(
        "(x − X)/(σ + ε)", "REINFORCE++ (arXiv 2501.03262)", reinforce_pp, divides=True, of_batch=True
    ),
}
NOT_HERE = {  # of which sums per prompt do not give the loss
    "ppo": "clips the ratio of each token, which no sum over responses gives",
    "gspo": "clips the ratio of each response, which no sum over responses gives",
    "gae": "needs the values of a critic for each token, which rollout dumps do not hold",
}


def with_raw_singletons(x: Adjusted, eps: float, divides: bool, of: Advantages) -> Advantages:
    """Return the advantages where a prompt of one response keeps its adjusted reward, divided by 1 + ε if by s."""
    alone = x.n == 1
    factor = 1 / (1 + eps) if divides else 1.0
    return Advantages(of.factor * ~alone + factor * alone, of.shift * ~alone + factor * x.mean * alone)


def _ones(x: Adjusted) -> Number:
    return 0 * x.n + 1.0


def _std(scatter: Number, n: Number, ddof: int) -> Number:
    """Return the standard deviation; 0 of a single response."""
    return (scatter / (n - ddof * (n > ddof))) ** 0.5


def _inverse(value: Number, eps: float) -> Number:
    """Return 1/(value + ε); 0 where that is nothing to divide by, as then nothing is divided."""
    total = value + eps
    return (total != 0) / (total + (total == 0))
