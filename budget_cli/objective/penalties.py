"""A length → its penalty φ, before β: every shape is a sum of hinges, so the moments of hinges give those of any shape.

    φ(L) = Σ_j c_j·max(0, L − t_j) + c

A hinge max(0, L − t) is the excess over a budget t, whose moments a scan keeps. A shape that can be written so needs
nothing else from the records; to add one, write its function here and a line of SHAPES. Pure arithmetic.

Symbols: L length, B budget, c cap; all in tokens. φ is in tokens, but for the step, which is a number.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

Number = Any  # a number or an array


class Hinges(NamedTuple):
    """A penalty as a sum of hinges."""

    terms: tuple[tuple[int, int], ...]  # (t, coefficient) of each hinge, t ascending
    constant: int = 0

    def at(self, length: Number) -> Number:
        """Return φ at these lengths (tokens)."""
        return sum(((length - t) * (length > t) * c for t, c in self.terms), self.constant + 0.0 * length)


class Shape(NamedTuple):
    """A penalty's formula, who trains with it, and its hinges."""

    formula: str
    source: str
    hinges: Callable[[int, int, int], Hinges]  # of B, the cap, and a number of tokens that no length is below
    is_monotone: bool = True  # True if φ never falls as a response grows


def linear(budget: int, cap: int, floor: int) -> Hinges:
    """φ = max(0, L − B)."""
    return Hinges(((budget, 1),))


def capped(budget: int, cap: int, floor: int) -> Hinges:
    """φ = min(c, max(0, L − B)) = max(0, L − B) − max(0, L − B − c)."""
    return Hinges(((budget, 1), (budget + cap, -1)))


def step(budget: int, cap: int, floor: int) -> Hinges:
    """φ = 1 for L > B, else 0: the capped penalty with c = 1, as lengths are whole tokens."""
    return capped(budget, 1, floor)


def distance(budget: int, cap: int, floor: int) -> Hinges:
    """φ = |L − B| = 2·max(0, L − B) − (L − B); B is a target. L − floor is the hinge at the floor."""
    if budget <= floor:
        return Hinges(((floor, 1),), floor - budget)
    return Hinges(((floor, -1), (budget, 2)), budget - floor)


SHAPES = {
    "linear": Shape("max(0, L − B)", "Kimi K2 (arXiv 2507.20534), verl, AReaL, ms-swift, NeMo-RL", linear),
    "capped": Shape("min(c, max(0, L − B))", "DAPO (arXiv 2503.14476, eq. 13), TRL, OpenRLHF", capped),
    "step": Shape("1[L > B]", "ThinkPrune, DLER; Kimi K3 (arXiv 2607.24653)", step),
    "distance": Shape("|L − B|", "L1-exact (arXiv 2503.04697), INTELLECT-2", distance, is_monotone=False),
}


OF_THE_GROUP = "is made of the lengths of the other responses to the prompt, which no sum over responses gives"
NOT_HERE = dict.fromkeys(
    ("kimi-k1.5", "min-max", "gr3", "shorterbetter", "efficiency", "group-relative"),
    f"{OF_THE_GROUP}: write the adjusted reward into the records, and give it by --field reward=PATH --beta 0",
)


def gated(hinges: Hinges, floor: int) -> Hinges:
    """Return a penalty of right responses only, over hinges that are 0 for wrong ones.

    Its constant c holds for right responses alone, so it is c·(max(0, L − floor + 1) − max(0, L − floor)), gated.
    """
    if not hinges.constant:
        return hinges
    terms = dict(hinges.terms)
    terms[floor - 1] = terms.get(floor - 1, 0) + hinges.constant
    terms[floor] = terms.get(floor, 0) - hinges.constant
    return Hinges(tuple(sorted((t, c) for t, c in terms.items() if c)))
