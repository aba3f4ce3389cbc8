"""Responses with the advantages that a trainer would store, and what single precision and less make of them."""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from budget_cli.evidence.advantages import Advantages
from budget_cli.evidence.responses import ObservationSpec, Responses
from budget_cli.groups.groups import Groups
from budget_cli.groups.moments import Layout

Floats = NDArray[np.float64]
Group = tuple[Floats, Floats]  # rewards and lengths of a prompt


class Stored(NamedTuple):
    """Responses in order; a is the stored advantage."""

    prompt: NDArray[np.intp]
    r: Floats
    length: Floats
    a: Floats


def drawn(seed: int, prompts: int = 40, graded: bool = True, sizes: tuple[int, ...] = (4, 6, 8)) -> list[Group]:
    """Rewards and lengths of some prompts; longer where right."""
    chance = np.random.default_rng(seed)
    made = []
    for p in range(prompts):
        n = sizes[p % len(sizes)]
        rate = chance.random()
        right = chance.random(n) < rate
        r = np.round(chance.random(n), 2) if graded else right.astype(np.float64)
        made.append((r, chance.integers(100, 4000, n).astype(np.float64)))
    return made


class Every(NamedTuple):
    """The rewards of all responses, as adjusted, and less the mean of their prompt."""

    x: Floats
    centred: Floats


Give = Callable[[Floats, Floats, Every], Floats]


def stored(groups: list[Group], give: Give, phi: Any = None) -> Stored:
    """The advantages of `give(x, lengths, those of all)`, x the rewards less what `phi(r, L)` takes off."""
    xs = [r - (phi(r, length) if phi else 0.0) for r, length in groups]
    every = Every(np.concatenate(xs), np.concatenate([x - x.mean() for x in xs]))
    a = [give(x, length, every) for x, (_, length) in zip(xs, groups, strict=True)]
    prompt = np.repeat(np.arange(len(groups)), [r.size for r, _ in groups])
    return Stored(
        prompt, np.concatenate([r for r, _ in groups]), np.concatenate([n for _, n in groups]), np.concatenate(a)
    )


def scanned(one: Stored, budget: int | None = None, blocks: int = 3) -> tuple[Advantages, Groups]:
    """What a scan in some blocks holds of these responses."""
    budgets = () if budget is None else (budget,)
    advantages, groups = Advantages(), Groups(Layout(budgets))
    bounds = np.linspace(0, one.r.size, blocks + 1).astype(int).tolist()
    for begin, end in itertools.pairwise(bounds):
        names, codes = np.unique(one.prompt[begin:end], return_inverse=True)
        keys = [f"p{name}" for name in names.tolist()]
        r, length, a = (column[begin:end] for column in one[1:])
        block = Responses(keys, codes, np.arange(codes.size), r, length, advantage=a)
        rows = groups.merge(Groups.from_responses(Layout(budgets), keys, codes, r, length, None))
        advantages.merge(Advantages.from_responses(ObservationSpec(budgets), block), rows)
    return advantages, groups


def bfloat16(values: Floats) -> Floats:
    """Round to bfloat16, half to even."""
    bits = values.astype(np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
    return rounded.view(np.float32).astype(np.float64)


ROUNDINGS: dict[str, Callable[[Floats], Floats]] = {
    "double": lambda a: a,
    "single": lambda a: a.astype(np.float32).astype(np.float64),
    "half": lambda a: a.astype(np.float16).astype(np.float64),
    "bfloat16": bfloat16,
    "4 decimals": lambda a: np.round(a, 4),
}


def estimator(name: str, ddof: int = 0, eps: float = 0.0) -> Give:
    """The definition of an estimator, by itself."""
    return {
        "centred": lambda x, length, every: x - x.mean(),
        "rloo": lambda x, length, every: np.array([x[i] - np.delete(x, i).mean() for i in range(x.size)]),
        "grpo": lambda x, length, every: (x - x.mean()) / (x.std(ddof=ddof) + eps) if np.ptp(x) else 0 * x,
        "maxrl": lambda x, length, every: (x - x.mean()) / (x.mean() + eps) if np.ptp(x) else 0 * x,
        "opo": lambda x, length, every: x - (length @ x) / length.sum(),
        "batch-std": lambda x, length, every: (x - x.mean()) / (every.centred.std(ddof=ddof) + eps),
        "reinforce++": lambda x, length, every: (x - every.x.mean()) / (every.x.std(ddof=ddof) + eps),
        "reward": lambda x, length, every: x,
    }[name]
