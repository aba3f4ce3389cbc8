"""Reward, length and log-ratio of responses → moments that add, one row per prompt.

A row holds all that the report needs of a prompt: how many responses, centred sums of squares and products (the
scatter S), extremes. Rows of two shards combine into the row of both (Chan, Golub & LeVeque, "Algorithms for Computing
the Sample Variance", 1983, eq. 2.1), so a scan may cut its input anywhere. Knows no prompt ids and no files.

Every sum is taken about a pivot, the prompt's first value: x̄ = x0 + x1/n with x1 = Σ(x − x0). Deviations then keep all
their digits when the mean is 1e9 times the spread, and a constant column has scatter exactly 0.

Symbols: r reward, k log-ratio (nats), L length (tokens), e excess over a budget (tokens); x0 pivot, x1 sum about it,
xy the centred sum of products. A row with n = 0 is the identity.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from budget_cli import native

Floats = NDArray[np.float64]
Table = NDArray[np.float64]  # shape (prompts, layout.width)

quiet_overflow = np.errstate(over="ignore", invalid="ignore")  # a decorator; what overflows the report gives as null

PROMPT = (
    "n",
    "r0",
    "r1",
    "rr",
    "r_min",
    "r_max",
    "k0",
    "k1",
    "kk",
    "rk",
    "k3",
    "L_sum",
    "L_min",
    "L_max",
    "L_best",  # the longest of the responses with the prompt's highest reward,
    "L_worst",  # the shortest of those with its lowest: where a penalty first sets the worst above the best
)
BUDGET = ("e0", "e1", "ee", "re", "ek", "over")  # repeated for every budget of the scan
EXACT = 2.0**53  # below it a double holds every whole number
IDENTITY = {
    "r_min": np.inf,
    "r_max": -np.inf,
    "L_min": np.inf,
    "L_max": -np.inf,
    "L_best": -np.inf,
    "L_worst": np.inf,
}

if native.AVAILABLE and (native.moments.PROMPT, native.moments.BUDGET) != (PROMPT, BUDGET):
    raise ImportError("the compiled moments are of another version: install budget-cli again")


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

    @property
    def names(self) -> list[str]:
        """What the columns are called outside: `rr`, and `ee@1024` for a quantity of the excess over 1024 tokens."""
        return [*PROMPT, *(f"{name}@{budget}" for budget in self.budgets for name in BUDGET)]

    def empty(self, prompts: int) -> Table:
        """The identity, once for each of `prompts` rows."""
        table = np.zeros((prompts, self.width))
        for name, value in IDENTITY.items():
            table[:, self.at(name)] = value
        return table


@quiet_overflow
def from_responses(
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
    if not native.AVAILABLE:
        return _in_numpy(layout, codes, prompts, reward, length, log_ratio)
    table = np.empty((prompts, layout.width))
    budgets = np.array(layout.budgets, dtype=np.int64)
    k3 = None if log_ratio is None else k3_terms(log_ratio)
    native.moments.fill(table, budgets, codes, reward, length, log_ratio, k3)
    return table


def _in_numpy(
    layout: Layout,
    codes: NDArray[np.intp],
    prompts: int,
    reward: Floats,
    length: Floats | None,
    log_ratio: Floats | None,
) -> Table:
    """The same moments to the last bit, each as a formula: `bincount` adds a prompt's values in their order."""
    table = layout.empty(prompts)
    n = np.bincount(codes, minlength=prompts)
    first = np.empty(prompts, dtype=np.intp)
    first[codes[::-1]] = np.arange(codes.size)[::-1]  # of equal codes the last assignment stays

    def put(name: str, values: NDArray[Any], budget: int | None = None) -> None:
        table[:, layout.at(name, budget)] = values

    def total(values: Floats) -> Floats:
        return np.asarray(np.bincount(codes, values, prompts))

    def extreme(pick: np.ufunc, values: Floats, start: float) -> Floats:
        found = np.full(prompts, start)
        pick.at(found, codes, values)
        return found

    def centred(name: str, values: Floats) -> Floats:
        pivot = values[first]
        about_pivot = values - pivot[codes]
        put(f"{name}0", pivot)
        put(f"{name}1", total(about_pivot))
        return np.asarray(about_pivot - (table[:, layout.at(f"{name}1")] / n)[codes])

    put("n", n)
    r = centred("r", reward)
    best, worst = extreme(np.maximum, reward, -np.inf), extreme(np.minimum, reward, np.inf)
    put("rr", total(r * r))
    put("r_min", worst)
    put("r_max", best)
    k = None
    if log_ratio is not None:
        log_ratio = np.nan_to_num(log_ratio, posinf=np.inf, neginf=-np.inf)
        k = centred("k", log_ratio)
        put("kk", total(k * k))
        put("rk", total(r * k))
        put("k3", total(k3_terms(log_ratio)))
    if length is None:
        return table
    tokens = np.nan_to_num(length)
    shortest = extreme(np.minimum, tokens, np.inf)
    put("L_sum", total(tokens))
    put("L_min", shortest)
    put("L_max", extreme(np.maximum, tokens, -np.inf))
    put("L_best", extreme(np.maximum, np.where(reward == best[codes], tokens, -np.inf), -np.inf))
    put("L_worst", extreme(np.minimum, np.where(reward == worst[codes], tokens, np.inf), np.inf))
    for i, budget in enumerate(layout.budgets):
        # The pivot is the prompt's smallest excess: e − e_min = max(0, L − max(B, L_min)), whole tokens, not rounded.
        start = np.maximum(shortest, budget)
        above = np.maximum(tokens, start[codes]) - start[codes]
        first_sum, squares = total(above), total(above * above)
        scaled = n * squares
        e = above - (first_sum / n)[codes]
        exact = scaled < EXACT  # then nothing is lost in the difference of whole numbers
        put("over", np.where(shortest > budget, n, total((above > 0).astype(np.float64))), i)
        put("e0", start - budget, i)
        put("e1", first_sum, i)
        put("ee", np.where(exact, (scaled - first_sum * first_sum) / n, total(e * e)), i)
        put("re", total(r * above), i)
        if k is not None:
            put("ek", total(k * above), i)
    return table


@quiet_overflow
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
    for name, length, pick in (("r_max", "L_best", np.maximum), ("r_min", "L_worst", np.minimum)):
        of, column = layout.at(name), layout.at(length)
        either = pick(a[:, column], b[:, column])
        extreme = np.where(a[:, of] == both[:, of], a[:, column], b[:, column])  # of the side that has the reward
        both[:, column] = np.where(a[:, of] == b[:, of], either, extreme)
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
