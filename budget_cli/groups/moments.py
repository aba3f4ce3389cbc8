"""Reward, length and log-ratio of responses → moments that add, one row per prompt.

A row holds all that the report needs of a prompt: how many responses, centred sums of squares and products (the scatter
S), extremes. Rows of two shards combine into the row of both (Chan, Golub & LeVeque, "Algorithms for Computing the Sample
Variance", 1983, eq. 2.1), so a scan may cut its input anywhere. Knows no prompt ids and no files.

Every sum is taken about a pivot, the prompt's first value: x̄ = x0 + x1/n with x1 = Σ(x − x0). Deviations then keep all
their digits when the mean is 1e9 times the spread, and a constant column has scatter exactly 0.

Symbols: r reward, k log-ratio (nats), L length (tokens), e excess over a budget (tokens); x0 pivot, x1 sum about it,
xy the centred sum of products. A row with n = 0 is the identity.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Table = NDArray[np.float64]  # shape (prompts, layout.width)

PROMPT = ("n", "r0", "r1", "rr", "r_min", "r_max", "k0", "k1", "kk", "rk", "k3", "L_sum", "L_min", "L_max")
BUDGET = ("e0", "e1", "ee", "re", "ek", "over")  # repeated for every budget of the scan
IDENTITY = {"r_min": np.inf, "r_max": -np.inf, "L_min": np.inf, "L_max": -np.inf}


@dataclass(frozen=True)
class Layout:
    """Which column of a row holds what, for a scan that was told these budgets (tokens)."""

    budgets: tuple[int, ...] = ()

    @property
    def width(self) -> int:
        """Columns of a row."""
        return len(PROMPT) + len(BUDGET) * len(self.budgets)

    @cached_property
    def _index(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(PROMPT)}

    def at(self, name: str, budget: int | None = None) -> int:
        """The column of `name`; for a quantity of the excess, that of the budget at position `budget`."""
        if budget is None:
            return self._index[name]
        return len(PROMPT) + len(BUDGET) * budget + BUDGET.index(name)

    def empty(self, prompts: int) -> Table:
        """The identity, once for each of `prompts` rows."""
        table = np.zeros((prompts, self.width))
        for name, value in IDENTITY.items():
            table[:, self.at(name)] = value
        return table


def of_responses(
    layout: Layout,
    codes: NDArray[np.intp],
    prompts: int,
    reward: Floats,
    length: Floats | None,
    log_ratio: Floats | None,
) -> Table:
    """The moments of a block of responses.

    Args:
        layout: the budgets, and where things go.
        codes: shape (responses,), which of the `prompts` rows each response belongs to; every row has at least one.
        prompts: number of rows.
        reward, length, log_ratio: shape (responses,); NaN or None where a response has no length or log-ratio, which
            then counts as 0 (the caller keeps count of those).

    Returns:
        shape (prompts, layout.width).
    """
    if codes.size and np.any(codes[1:] < codes[:-1]):
        order = np.argsort(codes, kind="stable")
        codes, reward = codes[order], reward[order]
        length = None if length is None else length[order]
        log_ratio = None if log_ratio is None else log_ratio[order]
    table = layout.empty(prompts)
    counts = np.bincount(codes, minlength=prompts)
    starts = np.cumsum(counts) - counts
    table[:, 0] = counts

    def put(name: str, values: Floats, budget: int | None = None) -> None:
        table[:, layout.at(name, budget)] = values

    def total(values: Floats) -> Floats:
        return np.add.reduceat(values, starts)

    def centred(values: Floats, name: str, budget: int | None = None) -> Floats:
        pivot = values[starts]
        about_pivot = values - np.repeat(pivot, counts)
        first = total(about_pivot)
        put(f"{name}0", pivot, budget)
        put(f"{name}1", first, budget)
        return np.asarray(about_pivot - np.repeat(first / counts, counts))

    r = centred(reward, "r")
    put("rr", total(r * r))
    put("r_min", np.minimum.reduceat(reward, starts))
    put("r_max", np.maximum.reduceat(reward, starts))
    k = None
    if log_ratio is not None:
        log_ratio = np.nan_to_num(log_ratio)
        k = centred(log_ratio, "k")
        put("kk", total(k * k))
        put("rk", total(r * k))
        put("k3", total(k3_terms(log_ratio)))
    if length is not None:
        length = np.nan_to_num(length)
        put("L_sum", total(length))
        put("L_min", np.minimum.reduceat(length, starts))
        put("L_max", np.maximum.reduceat(length, starts))
        for b, budget in enumerate(layout.budgets):
            excess = np.maximum(0.0, length - budget)
            e = centred(excess, "e", b)
            put("ee", total(e * e), b)
            put("re", total(r * e), b)
            put("over", total((excess > 0).astype(np.float64)), b)
            if k is not None:
                put("ek", total(e * k), b)
    return table


def merge(layout: Layout, a: Table, b: Table) -> Table:
    """The moments of two shards taken together, row by row; `a` came first.

    Args:
        a, b: shape (prompts, layout.width); rows of n = 0 are identities on either side.

    Returns:
        shape (prompts, layout.width); the pivots are those of `a`.
    """
    both = a + b
    n_a, n_b = a[:, 0], b[:, 0]
    n = np.maximum(n_a + n_b, 1)

    def gap(name: str, budget: int | None = None) -> Floats:
        """x̄_b − x̄_a; the pivots subtract without rounding when the shards lie close together."""
        x0, x1 = layout.at(f"{name}0", budget), layout.at(f"{name}1", budget)
        shift = b[:, x0] - a[:, x0]
        both[:, x0] = a[:, x0]
        both[:, x1] = a[:, x1] + (b[:, x1] + n_b * shift)
        return np.asarray(shift + (b[:, x1] / np.maximum(n_b, 1) - a[:, x1] / np.maximum(n_a, 1)))

    weight = n_a * n_b / n
    r, k = gap("r"), gap("k")
    for name, product in (("rr", r * r), ("rk", r * k), ("kk", k * k)):
        both[:, layout.at(name)] += weight * product
    for i in range(len(layout.budgets)):
        e = gap("e", i)
        for name, product in (("ee", e * e), ("re", r * e), ("ek", e * k)):
            both[:, layout.at(name, i)] += weight * product
    for name, pick in (("r_min", np.minimum), ("r_max", np.maximum), ("L_min", np.minimum), ("L_max", np.maximum)):
        column = layout.at(name)
        both[:, column] = pick(a[:, column], b[:, column])
    empty_a, empty_b = n_a == 0, n_b == 0
    both[empty_a] = b[empty_a]
    both[empty_b] = a[empty_b]
    return both


def k3_terms(log_ratio: Floats) -> Floats:
    """e^−k − 1 + k for each log-ratio k (nats): Schulman's k3 estimate of the KL divergence (blog post, 2020).

    Unclamped: beyond k = −709 it is inf, which the report gives as null. Below |k| = 0.02 the series, where
    subtracting would cancel the digits away.
    """
    with np.errstate(over="ignore"):
        terms = np.expm1(-log_ratio) + log_ratio
    small = np.abs(log_ratio) < 0.02
    if small.any():
        k = log_ratio[small]
        terms[small] = k * k * (1 / 2 - k * (1 / 6 - k * (1 / 24 - k * (1 / 120 - k * (1 / 720 - k / 5040)))))
    return np.asarray(terms)
