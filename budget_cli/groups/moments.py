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

try:
    from budget_cli.groups import _moments as compiled
except ImportError:  # no C compiler where this was installed
    compiled = None  # type: ignore[assignment]

Floats = NDArray[np.float64]
Table = NDArray[np.float64]  # shape (prompts, layout.width)

quiet_overflow = np.errstate(over="ignore", invalid="ignore")  # a decorator; what overflows the report gives as null

PROMPT = (
    "n", "r0", "r1", "rr", "r_min", "r_max", "k0", "k1", "kk", "rk", "k3", "L_sum", "L_min", "L_max",
    "L_best",   # the longest of the responses with the prompt's highest reward,
    "L_worst",  # the shortest of those with its lowest: where a penalty first sets the worst above the best
)  # fmt: skip
BUDGET = ("e0", "e1", "ee", "re", "ek", "over")  # repeated for every budget of the scan
EXACT = 2.0**53  # below it a double holds every whole number
IDENTITY = {
    "r_min": np.inf, "r_max": -np.inf, "L_min": np.inf, "L_max": -np.inf, "L_best": -np.inf, "L_worst": np.inf,
}  # fmt: skip


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
    if not compiled:
        return _of_matrices(layout, codes, prompts, reward, length, log_ratio)
    table = np.empty((prompts, layout.width))
    budgets = np.array(layout.budgets, dtype=np.int64)
    compiled.fill(table, budgets, codes, reward, length, log_ratio, None if log_ratio is None else k3_terms(log_ratio))
    return table


def _of_matrices(
    layout: Layout, codes: NDArray[np.intp], prompts: int, reward: Floats, length: Floats | None,
    log_ratio: Floats | None,
) -> Table:  # fmt: skip
    """The same, to the same bits, with a matrix for prompts of similar size."""
    sizes = np.bincount(codes, minlength=prompts)
    order = None
    if np.any(codes[1:] < codes[:-1]):
        order = np.argsort(codes, kind="stable")
    starts = np.cumsum(sizes) - sizes
    similar = _of_similar_size(sizes)
    table = layout.empty(prompts) if len(similar) != 1 else None
    for rows in similar:
        size = sizes[rows]
        place = np.arange(size.max())[:, None]
        there = place < size
        at = np.where(there, starts[rows] + place, starts[rows])  # beyond a group's end, its first response again
        part = _Part(layout, size, None if there.all() else there)
        for name, values in (("r", reward), ("L", length), ("k", log_ratio)):
            if values is not None:
                part.columns[name] = values[at if order is None else order[at]]
        found = part.moments()
        if table is None:
            return found
        table[rows] = found
    assert table is not None
    return table


def _of_similar_size(sizes: NDArray[np.intp]) -> list[Any]:
    """Rows to be laid side by side in one matrix, so that padding to the largest at most doubles the work."""
    if sizes.size * sizes.max(initial=0) <= 2 * sizes.sum():
        return [slice(None)] if sizes.size else []
    binary_digits = np.frexp(sizes - 0.5)[1]
    return [np.flatnonzero(binary_digits == digits) for digits in np.unique(binary_digits)]


class _Part:
    """Prompts of similar size as matrices: a column a prompt, its responses from the top; sums run over the rows."""

    def __init__(self, layout: Layout, size: NDArray[np.intp], there: NDArray[np.bool_] | None) -> None:
        self.layout = layout
        self.size = size  # shape (prompts,)
        self.there = there  # shape (largest size, prompts): where there is a response; None: everywhere
        self.columns: dict[str, Floats] = {}  # shape (largest size, prompts)
        self.table = layout.empty(len(size))
        self.table[:, layout.at("n")] = size

    def moments(self) -> Table:
        """The rows of these prompts."""
        columns, put = self.columns, self._put
        r = self._centred("r", columns["r"])
        put("rr", _total(r * r))
        put("r_min", columns["r"].min(axis=0))
        put("r_max", columns["r"].max(axis=0))
        k = None
        if "k" in columns:
            log_ratio = np.nan_to_num(columns["k"], copy=False, posinf=np.inf, neginf=-np.inf)
            k3 = k3_terms(log_ratio)
            k = self._centred("k", log_ratio)
            put("kk", _total(k * k))
            put("rk", _total(r * k))
            put("k3", _total(k3 if self.there is None else np.where(self.there, k3, 0)))
        if "L" in columns:
            length = np.nan_to_num(columns["L"], copy=False)
            put("L_sum", _total(length if self.there is None else length * self.there))
            put("L_min", length.min(axis=0))
            put("L_max", length.max(axis=0))
            best, worst = self.table[:, self.layout.at("r_max")], self.table[:, self.layout.at("r_min")]
            put("L_best", np.where(columns["r"] == best, length, -np.inf).max(axis=0))
            put("L_worst", np.where(columns["r"] == worst, length, np.inf).min(axis=0))
            if self.layout.budgets:
                self._excess(length, r, k)
        return self.table

    def _excess(self, length: Floats, r: Floats, k: Floats | None) -> None:
        """The moments of the excess over each budget; r and k are centred, so e may stand about any pivot.

        The pivot is the prompt's smallest excess: e − e_min = max(0, L − max(B, L_min)), whole tokens without rounding.
        """
        shortest = length.min(axis=0)
        above = np.empty_like(length)
        counter = np.int8 if len(length) < 128 else np.int64  # summing small integers is five times as fast
        for i, budget in enumerate(self.layout.budgets):
            start = np.maximum(shortest, budget)
            np.subtract(np.maximum(length, start, out=above), start, out=above)
            if self.there is not None:
                above *= self.there
            over = (above > 0).view(np.int8).sum(axis=0, dtype=counter)
            first, squares = _total(above), _total(above * above)
            self._put("over", np.where(shortest > budget, self.size, over), i)
            self._put("e0", start - budget, i)
            self._put("e1", first, i)
            scaled = self.size * squares
            ee = (scaled - first * first) / self.size
            if not np.all(exact := scaled < EXACT):  # if so, whole numbers: nothing is lost in the difference
                e = above - first / self.size
                ee = np.where(exact, ee, _total(e * e if self.there is None else e * e * self.there))
            self._put("ee", ee, i)
            self._put("re", _total(r * above), i)
            if k is not None:
                self._put("ek", _total(k * above), i)

    def _put(self, name: str, values: NDArray[Any], budget: int | None = None) -> None:
        self.table[:, self.layout.at(name, budget)] = values

    def _centred(self, name: str, values: Floats, budget: int | None = None) -> Floats:
        """x − x̄, and 0 where there is no response; puts the pivot and the sum about it."""
        about_pivot = values - values[0]
        first = _total(about_pivot)
        self._put(f"{name}0", values[0], budget)
        self._put(f"{name}1", first, budget)
        about_pivot -= first / self.size
        if self.there is not None:
            about_pivot *= self.there
        return np.asarray(about_pivot)


def _total(values: NDArray[Any]) -> NDArray[Any]:
    """Down each column, from the top: numpy sums in another order where there is one column only."""
    if values.shape[1] == 1:
        return np.asarray(np.add.accumulate(values, axis=0)[-1])
    return np.asarray(values.sum(axis=0))


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
