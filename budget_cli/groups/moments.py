"""Reward, length and log-ratio of responses → moments that add, one row per prompt.

A row holds all that the loss and the report need of a prompt: the number of responses, centred sums of squares and
products (the scatter S), and extremes. The rows of two shards merge into the row of both (Chan, Golub & LeVeque,
"Algorithms for Computing the Sample Variance", 1983, eq. 2.1), so a scan may split its input anywhere. Knows no prompt
ids and no files.

Every sum is taken about a pivot: x̄ = x0 + x1/n with x1 = Σ(x − x0). Deviations then keep all their digits when the
mean is 1e9 times the spread, and a constant column has scatter exactly 0. For reward and log-ratio the pivot is the
mean as a plain sum gives it, and x1 what that lost: a mean in two doubles, which keeps its digits where values cancel.
(In summaries of version 0.1.0 the pivot is the first value.) That of the excess is the smallest: whole tokens add
exactly.

Sums of products are in two doubles, xy + xy_low, with about 30 digits, so that a form of them which nearly cancels (a
tie of adjusted rewards) has digits left that are true: products without a rounding error (Dekker), added at two grids,
so that thousands of responses lose no more than a few. They are taken about the pivot and corrected once per prompt.

Symbols: r reward, k log-ratio (nats), L length (tokens), e excess over a budget (tokens); x0 pivot, x1 sum about it,
xy the centred sum of products, xy_low what its rounding lost. A row with n = 0 is the identity.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from budget_cli import native
from budget_cli.groups.double_double import (
    DoubleDouble,
    grid_of,
    power_above,
    product_and_rounding,
    product_in_parts,
    two_sum,
)

Floats = NDArray[np.float64]
Table = NDArray[np.float64]  # shape (prompts, layout.width)

quiet_overflow = np.errstate(over="ignore", invalid="ignore")  # a decorator; a result that overflows is shown as null

PROMPT = (
    "n",
    "r0",
    "r1",
    "rr",
    "rr_low",
    "r_min",
    "r_max",
    "k0",
    "k1",
    "kk",
    "kk_low",
    "rk",
    "rk_low",
    "k3",
    "L_sum",
    "L_min",
    "L_max",
    "L_best",  # the longest response with the prompt's highest reward
    "L_worst",  # the shortest with its lowest: the pair that a growing penalty reorders first
    "right",  # responses with a reward above `Layout.correct_above`; NaN if nothing says how many
    "L_right",  # the sum of their lengths
)
BUDGET = ("e0", "e1", "ee", "ee_low", "re", "re_low", "ek", "ek_low", "over")  # repeated for every budget of the scan
RIGHT = ("right", "L_right")  # what depends on `Layout.correct_above`
# after those of each budget where e is not the excess but another penalty, which `penalty.penalised` makes
PENALTY = (
    "excess",  # tokens over the budget, summed
    "p_best",  # the largest penalty of a response with the prompt's highest reward
    "p_worst",  # the smallest of one with its lowest; both NaN where the penalty may fall as a response grows
    "r_gap",  # Σ L·r / Σ L less the mean reward, for opo; otherwise NaN
    "r_gap_low",
    "p_gap",  # the same for the penalty
    "p_gap_low",
)
SMALL = 2.0**-52  # of a sum: what is less needs no second double itself
FINE = 2.0**-50  # of a grid: above four of what it leaves of a number
EXACT = 2.0**53  # below this a double holds every whole number
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
_PLACE = {name: place for place, name in enumerate(PROMPT)}


class OwnBudgets(NamedTuple):
    """Budgets that responses have of their own; a length is then its distance to a multiple of that."""

    of: str = ""  # the place in a record of its budget, or of its label
    factors: tuple[float, ...] = (1.0,)  # of the budget, which is rounded to whole tokens; a block of columns for each
    labels: tuple[tuple[str, int], ...] = ()  # tokens by label; none: a field has them
    otherwise: int | None = None  # tokens, where a response has neither
    # True if `right` is of the distance to the budget, either way: as a difference of hinges it would lose its digits
    is_distance: bool = False


class Layout(NamedTuple):
    """The columns of a row, for a scan with these budgets (tokens)."""

    budgets: tuple[int, ...] = ()
    correct_above: float = 0.0  # a response is correct, or right, if its reward is above this
    right: tuple[int, ...] = ()  # budgets of which the excess of right responses is kept, too, after the others
    own: OwnBudgets | None = None  # then `budgets` and `right` are tokens above the response's own budget
    by_token: bool = False  # True to keep all columns twice: for responses, and with the weight of their tokens
    is_penalised: bool = False  # True if e is the penalty of each budget, before β, in place of the excess

    @property
    def block(self) -> tuple[str, ...]:
        """Names of the columns of each budget."""
        return (*BUDGET, *PENALTY) if self.is_penalised else BUDGET

    @property
    def blocks(self) -> int:
        """Number of budgets with columns of their own, those of right responses among them."""
        blocks = len(self.budgets) + len(self.right)
        if self.is_penalised:
            return max(blocks, 1)  # a penalty has one without a budget, too
        return blocks * (1 if self.own is None else len(self.own.factors))

    def of_factor(self, factor: int) -> int:
        """Return the position of the first budget of a factor of the responses' own budgets."""
        return factor * (len(self.budgets) + len(self.right))

    @property
    def width(self) -> int:
        """Number of columns of a row."""
        return (len(PROMPT) + len(self.block) * self.blocks) * (2 if self.by_token else 1)

    def at(self, name: str, budget: int | None = None) -> int:
        """Return the column of `name`; for a quantity of the excess, `budget` is the position of its budget."""
        if budget is None:
            return _PLACE[name]
        return len(PROMPT) + len(self.block) * budget + self.block.index(name)

    @property
    def names(self) -> list[str]:
        """Names of the columns in summaries: `rr`, and `ee@1024` for a quantity of the excess over 1024 tokens.

        Those of right responses are `ee@right1024`.
        """
        places = [*map(str, self.budgets), *(f"right{budget}" for budget in self.right)]
        if self.own is not None and not self.is_penalised:
            places = [f"{factor!r}own+{place}" for factor in self.own.factors for place in places]
        names = [*PROMPT, *(f"{name}@{place}" for place in places for name in self.block)]
        return [*names, *(f"token.{name}" for name in names)] if self.by_token else names

    def empty(self, prompts: int) -> Table:
        """Return a table of `prompts` rows, each the identity."""
        table = np.zeros((prompts, self.width))
        for name, value in IDENTITY.items():
            table[:, self.at(name)] = value
            if self.by_token:
                table[:, self.width // 2 + self.at(name)] = value
        return table


@quiet_overflow
def from_responses(
    layout: Layout,
    codes: NDArray[np.intp],
    prompts: int,
    reward: Floats,
    length: Floats | None,
    log_ratio: Floats | None,
    own: Floats | None = None,
) -> Table:
    """Compute the moments of a block of responses.

    Args:
        layout: the budgets and the columns.
        codes: shape (responses,), the row of each response's prompt; every row has at least one response.
        prompts: number of rows.
        reward, length, log_ratio: shape (responses,); NaN or None where a response has no length or log-ratio,
            which then counts as 0 (the caller counts how many are known).
        own: shape (responses,), their own budgets in tokens, if the layout says so.

    Returns:
        shape (prompts, layout.width).
    """
    if layout.by_token:
        plain = layout._replace(by_token=False)
        of_responses = from_responses(plain, codes, prompts, reward, length, log_ratio, own)
        return np.concatenate([of_responses, _by_token(plain, codes, prompts, reward, length, log_ratio, own)], axis=1)
    if layout.own is not None:
        return _with_own(layout, codes, prompts, (reward, length, log_ratio), own)
    if layout.right:
        of_all = from_responses(layout._replace(right=()), codes, prompts, reward, length, log_ratio)
        return np.concatenate([of_all, _of_right(layout, codes, prompts, reward, length, log_ratio)], axis=1)
    if not native.AVAILABLE:
        return _in_numpy(layout, codes, prompts, reward, length, log_ratio)
    table = np.empty((prompts, layout.width))
    budgets = np.array(layout.budgets, dtype=np.int64)
    k3 = None if log_ratio is None else k3_terms(log_ratio)
    native.moments.fill(table, budgets, codes, reward, length, log_ratio, k3, layout.correct_above)
    return table


def _by_token(
    layout: Layout,
    codes: NDArray[np.intp],
    prompts: int,
    reward: Floats,
    length: Floats | None,
    log_ratio: Floats | None,
    own: Floats | None,
) -> Table:
    """Compute the moments of the tokens, each of which has the reward, the log-ratio and the excess of its response.

    Their number n is that of the tokens.
    """
    table = layout.empty(prompts)
    if length is None:
        return table
    weight = np.nan_to_num(length)
    n = np.asarray(np.bincount(codes, weight, prompts))
    some = np.where(n > 0, n, 1.0)
    power = power_above(np.bincount(codes, minlength=prompts) + 1.0)

    def power_of(values: Floats) -> Floats:
        most = np.zeros(prompts)
        np.maximum.at(most, codes, np.abs(values))
        return np.asarray(power_above(most))

    def add_up(values: DoubleDouble, power_of_values: Floats) -> DoubleDouble:
        """Return the sum over each prompt, as `total` adds: the parts above a grid exactly, the rest as it rounds."""
        at = grid_of(power_of_values, power)[codes]
        part = (at + values.hi) - at
        rest = np.bincount(codes, (values.hi - part) + values.lo, prompts)
        return DoubleDouble(*two_sum(np.asarray(np.bincount(codes, part, prompts)), rest))

    of_weight = power_of(weight)

    def centred(name: str, values: Floats) -> _Centred:
        """Put x0 and x1 of each prompt, and return x about x0, and x1."""
        pivot = np.asarray(np.bincount(codes, weight * values, prompts) / some, dtype=np.float64)
        about = DoubleDouble(*two_sum(values, -pivot[codes]))
        weighted, of_one = about * weight, power_of(about.hi)
        rest = add_up(weighted, of_one * of_weight).value
        table[:, layout.at(f"{name}0")], table[:, layout.at(f"{name}1")] = pivot, rest
        return _Centred(about, weighted, DoubleDouble(rest), of_one)

    def put(name: str, x: _Centred, y: _Centred, budget: int | None = None) -> None:
        """Put a sum of products about the means."""
        found = add_up(x.about * y.weighted, x.power * y.power * of_weight) - x.rest * y.rest / some
        is_known = np.isfinite(found.hi) & np.isfinite(found.lo)  # a half may be beyond the range of a double
        plain = np.bincount(codes, weight * x.about.hi * y.about.hi, prompts) if not is_known.all() else found.hi
        table[:, layout.at(name, budget)] = np.where(is_known, found.hi, plain)
        table[:, layout.at(f"{name}_low", budget)] = np.where(is_known, found.lo, 0.0)

    table[:, layout.at("n")] = n
    r = centred("r", reward)
    put("rr", r, r)
    k = None
    if log_ratio is not None:
        k = centred("k", np.nan_to_num(log_ratio))
        put("kk", k, k)
        put("rk", r, k)
    for at, excess in enumerate(_excesses(layout, reward, weight, own)):
        smallest = np.full(prompts, np.inf)
        np.minimum.at(smallest, codes, excess)
        above = excess - smallest[codes]  # whole tokens, which add exactly
        rest = np.asarray(np.bincount(codes, weight * above, prompts))
        table[:, layout.at("e0", at)], table[:, layout.at("e1", at)] = smallest, rest
        nothing = np.zeros_like(above)
        weighted = DoubleDouble(weight * above, nothing)
        e = _Centred(DoubleDouble(above, nothing), weighted, DoubleDouble(rest), power_of(above))
        put("ee", e, e, at)
        put("re", r, e, at)
        if k is not None:
            put("ek", e, k, at)
    table[n == 0] = layout.empty(1)  # a prompt without tokens
    return table


class _Centred(NamedTuple):
    """Values of all responses about the pivot of their prompt, and their sum over the tokens of each prompt."""

    about: DoubleDouble
    weighted: DoubleDouble  # by the tokens
    rest: DoubleDouble
    power: Floats  # the power of two above all, by prompt


def _excesses(layout: Layout, reward: Floats, length: Floats, own: Floats | None) -> Iterator[Floats]:
    """Yield the excess of each response over every budget of the layout, in the order of its columns."""
    is_right = reward > layout.correct_above
    for factor in (None,) if layout.own is None else layout.own.factors:
        above = length if factor is None or own is None else length - np.round(factor * own)
        for budget in layout.budgets:
            yield np.maximum(above - budget, 0.0)
        of_right = np.abs(above) if layout.own is not None and layout.own.is_distance else above
        for budget in layout.right:
            yield np.maximum(of_right - budget, 0.0) * is_right


def _with_own(
    layout: Layout,
    codes: NDArray[np.intp],
    prompts: int,
    columns: tuple[Floats, Floats | None, Floats | None],
    own: Floats | None,
) -> Table:
    """Compute the moments where a length is its distance to a multiple of the response's own budget."""
    assert layout.own is not None
    reward, length, log_ratio = columns
    parts = [from_responses(Layout((), layout.correct_above), codes, prompts, reward, length, log_ratio)]
    for factor in layout.own.factors:
        above = None if length is None or own is None else length - np.round(factor * own)
        plain = layout._replace(own=None, right=())
        parts.append(from_responses(plain, codes, prompts, reward, above, log_ratio)[:, len(PROMPT) :])
        if layout.right:
            right = np.abs(above) if above is not None and layout.own.is_distance else above
            parts.append(_of_right(layout, codes, prompts, reward, right, log_ratio))
    return np.concatenate(parts, axis=1)


NEVER_OVER = -(2.0**40)  # tokens; the length of a response that is over no budget, in `_of_right`


def _of_right(
    layout: Layout,
    codes: NDArray[np.intp],
    prompts: int,
    reward: Floats,
    length: Floats | None,
    log_ratio: Floats | None,
) -> Table:
    """Compute the columns of the excess of right responses; that of the others is 0, as if they were short."""
    if length is not None:
        length = np.where(reward > layout.correct_above, length, NEVER_OVER)
    of_right = layout._replace(budgets=layout.right, right=(), own=None)
    return from_responses(of_right, codes, prompts, reward, length, log_ratio)[:, len(PROMPT) :]


def _in_numpy(
    layout: Layout,
    codes: NDArray[np.intp],
    prompts: int,
    reward: Floats,
    length: Floats | None,
    log_ratio: Floats | None,
) -> Table:
    """Compute the same moments to the last bit: `bincount`, like the C, adds a prompt's values in their order."""
    n = np.bincount(codes, minlength=prompts)
    first = np.empty(prompts, dtype=np.intp)  # the first response of each prompt
    first[codes[::-1]] = np.arange(codes.size)[::-1]  # of repeated codes the last assignment stays

    def total(values: Floats) -> Floats:
        return np.asarray(np.bincount(codes, values, prompts))

    def least(values: Floats) -> Floats:
        found = np.full(prompts, np.inf)
        np.minimum.at(found, codes, values)
        return found

    def greatest(values: Floats) -> Floats:
        found = np.full(prompts, -np.inf)
        np.maximum.at(found, codes, values)
        return found

    power_n = power_above(n + 1.0)

    def add_up(product: Floats, lost: Floats, grid: Floats) -> tuple[Floats, Floats, Floats]:
        """Return the sums of products, of which `lost` was lost, in three parts; as all, in the order of the C."""
        at, fine_at = grid[codes], grid_of(FINE * grid, power_n)[codes]
        part = (at + product) - at
        left = product - part
        fine, finer = (fine_at + left) - fine_at, (fine_at + lost) - fine_at
        both = np.stack((fine, finer), axis=1).ravel()  # of each response the one, then the other
        fine_total = np.asarray(np.bincount(np.repeat(codes, 2), both, prompts), dtype=np.float64)
        return total(part), fine_total, total((left - fine) + (lost - finer))

    def put_sum(name: str, a: _Factor, b: _Factor, at: str = "") -> None:
        """Put a sum of products about the mean, from that about the middle."""
        grid = grid_of(a.power * b.power, power_n)
        product, lost = product_and_rounding(a.about, b.about)
        coarse, fine, finest = add_up(product, lost + (a.about * b.lost + a.lost * b.about), grid)
        high, low = two_sum(coarse, fine)
        low, less = low + finest, a.rest * (b.rest / n)
        direct = DoubleDouble(*two_sum(high, low - less))
        rest = DoubleDouble(*two_sum(high, low)) - DoubleDouble(b.rest) / n * DoubleDouble(a.rest)
        small = np.abs(less) <= SMALL * grid
        hi, lo = np.where(small, direct.hi, rest.hi), np.where(small, direct.lo, rest.lo)
        is_known = np.isfinite(hi) & np.isfinite(lo)  # a half may be beyond the range of a double
        columns[name + at] = np.where(is_known, hi, coarse)
        columns[f"{name}_low{at}"] = np.where(is_known, lo, 0.0)

    def centred(values: Floats) -> tuple[Floats, _Factor]:
        """x0, shape (prompts,), and x about it."""
        pivot = values[first]
        middle = pivot + total(values - pivot[codes]) / n
        about, lost = two_sum(values, -middle[codes])
        power = power_above(greatest(np.abs(about)))
        coarse, fine, finest = add_up(about, lost, grid_of(power, power_n))
        return middle, _Factor(about, lost, coarse + (fine + finest), power)

    columns: dict[str, Floats] = {"n": n.astype(np.float64), "r_min": least(reward), "r_max": greatest(reward)}
    is_right = reward > layout.correct_above
    columns["right"] = total(is_right.astype(np.float64))
    columns["r0"], r = centred(reward)
    columns["r1"] = r.rest
    put_sum("rr", r, r)
    k = None
    if log_ratio is not None:
        log_ratio = np.nan_to_num(log_ratio, posinf=np.inf, neginf=-np.inf)
        columns["k0"], k = centred(log_ratio)
        columns["k1"], columns["k3"] = k.rest, total(k3_terms(log_ratio))
        put_sum("kk", k, k)
        put_sum("rk", r, k)
    if length is not None:
        tokens = np.nan_to_num(length)
        shortest = least(tokens)
        columns |= {
            "L_sum": total(tokens),
            "L_right": total(np.where(is_right, tokens, 0.0)),
            "L_min": shortest,
            "L_max": greatest(tokens),
            "L_best": greatest(np.where(reward == columns["r_max"][codes], tokens, -np.inf)),
            "L_worst": least(np.where(reward == columns["r_min"][codes], tokens, np.inf)),
        }
        for budget in layout.budgets:
            # The pivot is the prompt's smallest excess: e − e_min = max(0, L − max(B, L_min)), exact in whole tokens.
            start, at = np.maximum(shortest, budget), f"@{budget}"
            about_pivot = np.maximum(tokens, start[codes]) - start[codes]
            e1, squares = total(about_pivot), total(about_pivot * about_pivot)
            e = _Factor(about_pivot, np.zeros_like(about_pivot), e1, power_above(greatest(about_pivot)))
            put_sum("ee", e, e, at)
            exact = n * squares < EXACT  # then the difference of whole numbers below loses nothing
            whole = DoubleDouble(n * squares - e1 * e1) / n
            columns |= {
                "e0" + at: start - budget,
                "e1" + at: e1,
                "ee" + at: np.where(exact, whole.hi, columns["ee" + at]),
                "ee_low" + at: np.where(exact, whole.lo, columns["ee_low" + at]),
                "over" + at: np.where(shortest > budget, n, total((about_pivot > 0).astype(np.float64))),
            }
            put_sum("re", r, e, at)
            if k is not None:
                put_sum("ek", k, e, at)
    table = layout.empty(prompts)
    for i, name in enumerate(layout.names):
        if name in columns:
            table[:, i] = columns[name]
    return table


class _Factor(NamedTuple):
    """Values of all responses about the middle of their prompt, in two doubles, and of each prompt what they have."""

    about: Floats
    lost: Floats
    rest: Floats  # their sum
    power: Floats  # the power of two above all


@quiet_overflow
def merge(layout: Layout, a: Table, b: Table) -> Table:
    """Merge the moments of two shards, row by row; `a` came first.

    Args:
        a, b: shape (prompts, layout.width); a row of n = 0 is the identity on either side.

    Returns:
        shape (prompts, layout.width).
    """
    if layout.by_token:
        half, plain = layout.width // 2, layout._replace(by_token=False)
        parts = [merge(plain, a[:, columns], b[:, columns]) for columns in (slice(half), slice(half, None))]
        return np.concatenate(parts, axis=1)
    if native.AVAILABLE:
        both = np.array(a, order="C")
        native.moments.merge(both, np.ascontiguousarray(b))
        return both
    return _merge_in_numpy(layout, a, b)


def _merge_in_numpy(layout: Layout, a: Table, b: Table) -> Table:
    both = a + b
    n_a, n_b = a[:, 0], b[:, 0]
    some_a, some_b = np.maximum(n_a, 1), np.maximum(n_b, 1)
    n = np.maximum(n_a + n_b, 1)

    def gap(name: str, budget: int | None = None) -> DoubleDouble:
        """x̄_b − x̄_a; the pivots subtract without rounding when the shards lie close together."""
        x0, x1 = layout.at(f"{name}0", budget), layout.at(f"{name}1", budget)
        shift = DoubleDouble(*two_sum(b[:, x0], -a[:, x0]))
        means = DoubleDouble(b[:, x1]) / some_b - DoubleDouble(a[:, x1]) / some_a
        between: DoubleDouble = shift + means
        if name == "e":  # whole tokens, which add exactly about any pivot
            both[:, x0] = a[:, x0]
            both[:, x1] = a[:, x1] + (b[:, x1] + n_b * (b[:, x0] - a[:, x0]))
            return between
        both[:, x0] = middle = a[:, x0] + (a[:, x1] / some_a + n_b / n * between.hi)
        both[:, x1] = _sum_about(middle, (n_a, a[:, x0], a[:, x1]), (n_b, b[:, x0], b[:, x1]))
        return between

    weight = DoubleDouble(n_a * n_b) / n

    def add_products(name: str, one: DoubleDouble, other: DoubleDouble, budget: int | None = None) -> None:
        hi, lo = layout.at(name, budget), layout.at(name + "_low", budget)
        sums = [DoubleDouble(table[:, hi], table[:, lo]) for table in (a, b)]
        found = sums[0] + sums[1] + weight * (one * other)
        is_known = np.isfinite(found.hi) & np.isfinite(found.lo)
        both[:, hi] = np.where(is_known, found.hi, a[:, hi] + b[:, hi] + weight.hi * (one.hi * other.hi))
        both[:, lo] = np.where(is_known, found.lo, 0.0)

    r, k = gap("r"), gap("k")
    for name, one, other in (("rr", r, r), ("rk", r, k), ("kk", k, k)):
        add_products(name, one, other)
    for i in range(layout.blocks):
        e = gap("e", i)
        for name, one, other in (("ee", e, e), ("re", r, e), ("ek", e, k)):
            add_products(name, one, other, i)
    for name, pick in (("r_min", np.minimum), ("r_max", np.maximum), ("L_min", np.minimum), ("L_max", np.maximum)):
        column = layout.at(name)
        both[:, column] = pick(a[:, column], b[:, column])
    for name, length, pick in (("r_max", "L_best", np.maximum), ("r_min", "L_worst", np.minimum)):
        reward, column = layout.at(name), layout.at(length)
        either = pick(a[:, column], b[:, column])
        winner = np.where(a[:, reward] == both[:, reward], a[:, column], b[:, column])
        both[:, column] = np.where(a[:, reward] == b[:, reward], either, winner)
    empty_a, empty_b = n_a == 0, n_b == 0
    both[empty_a] = b[empty_a]
    both[empty_b] = a[empty_b]
    return both


def _sum_about(middle: Floats, a: tuple[Floats, Floats, Floats], b: tuple[Floats, Floats, Floats]) -> Floats:
    """Return Σ(x − middle) of two shards, from the n, x0 and x1 of each: the parts that cancel are not rounded."""
    (n_a, about_a, lost_a), (n_b, about_b, lost_b) = ((n, *two_sum(x0, -middle)) for n, x0, _ in (a, b))
    (high_a, low_a), (high_b, low_b) = product_in_parts(n_a, about_a), product_in_parts(n_b, about_b)
    high, lost_high = two_sum(high_a, high_b)
    low, lost_low = two_sum(low_a, low_b)
    found, lost = two_sum(high, low)
    rest = a[2] + b[2]
    found = found + (lost + lost_high + lost_low + (n_a * lost_a + n_b * lost_b) + rest)
    # a half may be beyond the range of a double where the sum is not
    return np.asarray(np.where(np.isfinite(found), found, n_a * about_a + n_b * about_b + rest))


def k3_terms(log_ratio: Floats) -> Floats:
    """Compute e^−k − 1 + k for each log-ratio k (nats): Schulman's k3 estimate of the KL divergence (blog post, 2020).

    Not clamped: below k = −709 it is inf, which is shown as null. For |k| < 0.02 it is computed by its series, because
    the subtraction would cancel the digits.
    """
    with np.errstate(over="ignore"):
        terms = np.expm1(-log_ratio) + log_ratio
    small = np.abs(log_ratio) < 0.02
    if small.any():
        terms[small] = k3_of_small(log_ratio[small])
    return np.asarray(terms)


def k3_of_small(k: Floats) -> Floats:
    """Return the same for |k| < 0.02, by its series."""
    return k * k * (1 / 2 - k * (1 / 6 - k * (1 / 24 - k * (1 / 120 - k * (1 / 720 - k / 5040)))))
