"""Statistics of prompts → the advantages that an estimator gives them, and the settings that are looked for.

What an estimator is, `objective/estimators.py` defines. Here is how it is named in a sentence, and the two cases that
no objective has: the constants of a batch that is not this dump, and the reward itself. Knows no stored advantages.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from budget_cli.objective.estimators import ESTIMATORS, Adjusted, Batch

Floats = NDArray[np.float64]
EPSILONS = (1e-6, 1e-4, 1e-8, 1e-5, 1e-3, 1e-7, 1e-9, 0.0)  # the usual ones first
REWARD = "reward"  # no estimator at all: A = x
WORDS = {
    "centred": "the centred reward",
    "rloo": "RLOO",
    "grpo": "GRPO",
    "maxrl": "MaxRL",
    "opo": "OPO",
    "batch-std": "batch-std",
    "reinforce++": "REINFORCE++",
    REWARD: "the reward itself, without a baseline",
}
RECIPES = {  # objectives that have these settings by name
    ("centred", None, None): "kimi-k2",
    ("rloo", None, None): "rloo",
    ("grpo", 1, 1e-4): "trl-grpo",
    ("grpo", 1, 1e-6): "verl-grpo",
    ("maxrl", None, 1e-6): "maxrl",
    ("opo", None, None): "opo",
    ("batch-std", 1, 1e-5): "areal",
    ("reinforce++", 1, 1e-6): "reinforce-pp",
}
KEEP_SINGLETONS = ("verl-grpo",)  # of those; a prompt's only response keeps its reward as its advantage
OWN_BASELINE = ("centred", "rloo", "grpo", "maxrl", "opo", "batch-std")  # of the prompt: equal rewards give 0


class Moments(NamedTuple):
    """Statistics of prompts, shape (prompts,) each: x the adjusted reward, a the stored advantage, L the length."""

    n: Floats  # responses
    x: Floats  # mean of x
    xx: Floats  # Σ(x − x̄)²
    weighted: Floats  # ΣL·x / ΣL; NaN: unknown
    a: Floats  # mean of a
    aa: Floats  # Σ(a − ā)²
    ax: Floats  # Σ(a − ā)(x − x̄)

    @property
    def batch(self) -> Batch:
        """All responses together."""
        number = float(self.n.sum())
        mean, within = float(self.n @ self.x) / number, float(self.xx.sum())
        return Batch(number, mean, within + float(self.n @ (self.x - mean) ** 2), within)


class Candidate(NamedTuple):
    """An estimator with its settings; fitted: the constants of a batch that is not known."""

    name: str
    ddof: int | None = None
    eps: float | None = None
    slope: float | None = None  # fitted
    baseline: float | None = None  # fitted

    @property
    def is_of_batch(self) -> bool:
        """True if all responses of a batch share a constant."""
        return self.name != REWARD and ESTIMATORS[self.name].of_batch

    @property
    def is_fitted(self) -> bool:
        """True if a setting is fitted to the advantages."""
        return self.slope is not None or self.eps not in (None, *EPSILONS)


class Given(NamedTuple):
    """The advantages that an estimator gives the responses to each prompt: A = factor·(x − x̄) + mean."""

    factor: Floats
    mean: Floats


def given(m: Moments, c: Candidate, batch: Batch | None = None) -> Given:
    """Return the advantages that a candidate gives; one of a batch needs that, or what was fitted."""
    if c.name == REWARD:
        return Given(np.ones_like(m.n), m.x)
    if c.slope is not None:
        slope = np.full_like(m.n, c.slope)
        return Given(slope, 0 * m.x if c.baseline is None else slope * (m.x - c.baseline))
    batch = Batch(0.0, 0.0, 0.0, 0.0) if batch is None else batch
    adjusted = Adjusted(m.n, m.x, m.xx, m.weighted - m.x, m.x - batch.mean, batch)
    return Given(*map(np.asarray, ESTIMATORS[c.name].of(adjusted, c.ddof or 0, c.eps or 0.0)[:2]))


def candidates() -> list[Candidate]:
    """Return every estimator with each of its settings, except those of a batch."""
    names = [name for name in WORDS if name != REWARD and not ESTIMATORS[name].of_batch]
    return [each for name in names for each in settings(name)] + [Candidate(REWARD)]


def settings(name: str) -> list[Candidate]:
    """Return an estimator with each of its settings."""
    if not ESTIMATORS[name].divides:
        return [Candidate(name)]
    return [Candidate(name, ddof, eps) for ddof in ((None,) if name == "maxrl" else (1, 0)) for eps in EPSILONS]


def mean_square_residual(m: Moments, c: Candidate, batch: Batch | None = None) -> Floats:
    """Return the mean over each prompt of the square of what is stored less what a candidate gives."""
    f, mean = given(m, c, batch)
    return np.maximum(0.0, m.aa - 2 * f * m.ax + f * f * m.xx) / m.n + (m.a - mean) ** 2


def in_words(c: Candidate) -> str:
    """Name the estimator with its settings, as in `GRPO (ddof 1, ε 1e-6)`."""
    shown = [f"ddof {c.ddof}"] if c.ddof is not None else []
    shown += [f"ε {plain(c.eps)}"] if c.eps is not None else []
    shown += [f"slope {c.slope:.6g} for all prompts"] if c.slope is not None else []
    shown += [f"baseline {c.baseline:.6g}"] if c.baseline is not None else []
    return WORDS[c.name] + (f" ({', '.join(shown)})" if shown else "")


def plain(number: float) -> str:
    """Write a small number without needless zeros, as in 1e-6."""
    return f"{number:.3g}".replace("0.0001", "1e-4").replace("e-0", "e-")
