"""Moments of blocks → moments by prompt id: the one thing that every scan keeps.

Memory is O(prompts): a row of the table (8 bytes per column, 30 columns with one budget), the id and its place. Knows
no files and no JSON.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from budget_cli.groups import moments
from budget_cli.groups.double_double import DoubleDouble
from budget_cli.groups.held import Held
from budget_cli.groups.lengths import Lengths
from budget_cli.groups.moments import BUDGET, PROMPT, Floats, Layout, Table
from budget_cli.ids import Ids, Key

LARGE = 256 << 20  # bytes; a table of this size or more grows in place, as a copy would need the memory twice


class Groups:
    """Prompt id → row of moments, in the order in which the prompts first occur; `merge` adds another's.

    Merging is associative up to rounding, the empty Groups is its identity, and the same parts merged in the same
    order give the same bits.
    """

    def __init__(self, layout: Layout, hold: bool = False) -> None:
        self.layout = layout
        self.held = Held() if hold else None  # all responses
        self.lengths = Lengths()
        self.responses = 0
        self.row_count = 0  # records that the responses were written in, as many as there are responses in most dumps
        self.without_budget = 0  # responses without a budget of their own, where others have one
        self.with_length = 0  # responses whose length is known
        self.with_log_ratio = 0  # responses whose two log-probs are known
        self._keys: Sequence[Key] | Ids = ()  # becomes Ids, which can be searched, when first needed
        self._table = layout.empty(0)

    @classmethod
    def from_responses(
        cls,
        layout: Layout,
        keys: Sequence[Key],
        codes: NDArray[np.intp],
        reward: Floats,
        length: Floats | None,
        log_ratio: Floats | None,
        hold: bool = False,
        own: Floats | None = None,
    ) -> "Groups":
        """Create the groups of one block; `codes` gives each response's index into the distinct `keys`."""
        groups = cls(layout, hold)
        if not keys:
            return groups
        groups.responses = groups.row_count = codes.size
        if length is not None:
            known = length if not np.isnan(length).any() else length[~np.isnan(length)]
            groups.with_length = int(known.size)
            groups.lengths.add(known)
        if log_ratio is not None:
            groups.with_log_ratio = int(log_ratio.size - np.isnan(log_ratio).sum())
        if groups.held is not None:
            groups.held.add(codes, reward, length, log_ratio, own)
        groups._keys = keys
        groups._table = moments.from_responses(layout, codes, len(keys), reward, length, log_ratio, own)
        return groups

    @classmethod
    def from_rows(cls, layout: Layout, keys: Sequence[Key], table: Table) -> "Groups":
        """Create groups with these ids and rows; the caller sets lengths, with_length and with_log_ratio."""
        groups = cls(layout)
        groups._keys, groups._table = keys, table
        groups.responses = groups.row_count = int(table[:, layout.at("n")].sum())
        return groups

    def merge(self, later: "Groups") -> NDArray[np.intp]:
        """Add the groups of a later part of the input.

        Returns:
            The row of each of the part's prompts in this table.

        Raises:
            ValueError: the budgets, or what is right, differ.
        """
        if later.layout != self.layout:
            raise ValueError(f"groups of {later.layout} cannot merge into those of {self.layout}")
        self.lengths.merge(later.lengths)
        self.responses += later.responses
        self.row_count += later.row_count
        self.without_budget += later.without_budget
        self.with_length += later.with_length
        self.with_log_ratio += later.with_log_ratio
        known, rows = len(self), self._ids().places(later.keys())
        if self.held is not None and later.held is not None:
            self.held.merge(later.held, rows)
        self._reserve(known, len(self))
        if len(self) == known + rows.size:  # all are new: in most dumps a prompt's responses lie together
            self._table[known : len(self)] = later.table
            return rows
        new = rows >= known
        self._table[rows[new]] = later.table[new]
        old = rows[~new]
        if old.size:
            self._table[old] = moments.merge(self.layout, self._table[old], later.table[~new])
        return rows

    def rename(self, new: Callable[[Key], Key]) -> None:
        """Replace every prompt's id by `new(id)`; the new ids must differ, too."""
        self._keys = [new(key) for key in self.keys()]

    def _reserve(self, known: int, prompts: int) -> None:
        held = self._table
        if prompts <= len(held):
            return
        if held.nbytes < LARGE or not held.flags.owndata:  # an array from another process cannot grow in place
            # pages that are not touched yet take no memory
            self._table = np.empty((max(prompts, 2 * len(held)), self.layout.width))
            self._table[:known] = held[:known]
        else:  # by realloc, which moves large arrays without a copy, but fills the new part with zeros
            held.resize((max(prompts, len(held) * 9 // 8), self.layout.width), refcheck=False)

    def _ids(self) -> Ids:
        if not isinstance(self._keys, Ids):
            keys, self._keys = self._keys, Ids()
            self._keys.places(keys)
        return self._keys

    def keys(self) -> Sequence[Key]:
        """Return the prompt ids in order of first occurrence; they are packed, so avoid iterating over many."""
        return self._keys.all() if isinstance(self._keys, Ids) else self._keys

    def rows(self, keys: Sequence[Key]) -> NDArray[np.intp]:
        """Return the row of each of these prompts in `table`; -1 if it has none."""
        return self._ids().find(keys)

    def at(self, budget: int) -> "Groups":
        """Return a view for reading, not merging: only this budget of the layout, with its columns contiguous."""
        if len(self.layout.budgets) < 2 and not self.layout.right:
            return self
        if self.layout.by_token:
            halves = [half.at(budget) for half in (self.of_responses(), self.of_tokens())]
            table = np.concatenate([half.table for half in halves], axis=1)
            return self.in_layout(halves[0].layout._replace(by_token=True), table)
        first = self.layout.at(BUDGET[0], budget)
        columns = self.table[:, first : first + len(self.layout.block)]
        table = np.concatenate([self.table[:, : len(PROMPT)], columns], axis=1)
        layout = self.layout._replace(budgets=self.layout.budgets[budget : budget + 1], right=())
        return _with_state({**vars(self), "layout": layout, "held": None, "_table": table})

    def with_prompts(self, keys: Sequence[Key], table: Table) -> "Groups":
        """Return groups with the same lengths and counts, but these prompts instead."""
        return _with_state({**vars(self), "_keys": keys, "_table": table})

    def of_responses(self) -> "Groups":
        """Return a view without the moments of tokens."""
        return self._half(slice(self.layout.width // 2)) if self.layout.by_token else self

    def of_tokens(self) -> "Groups":
        """Return a view of the moments of tokens, where n is their number."""
        return self._half(slice(self.layout.width // 2, None))

    def _half(self, columns: slice) -> "Groups":
        return self.in_layout(self.layout._replace(by_token=False), self.table[:, columns])

    def held_in(self, layout: Layout) -> "Groups":
        """Return a view for reading, not merging: the same prompts in another layout, if their responses are held."""
        return self if self.held is None else self.in_layout(layout, self.held.table(layout, len(self)))

    def in_layout(self, layout: Layout, table: Table) -> "Groups":
        """Return a view for reading, not merging: the same prompts with these columns instead."""
        return _with_state({**vars(self), "layout": layout, "_table": table})

    @property
    def table(self) -> Table:
        """Moments, shape (prompts, layout.width), in the order of `keys`."""
        return self._table[: len(self)]

    def column(self, name: str, budget: int | None = None) -> Floats:
        """Return one quantity of every prompt by its name in `moments`; shape (prompts,)."""
        return self.table[:, self.layout.at(name, budget)]

    def means(self, rows: Any, name: str, budget: int | None = None) -> DoubleDouble:
        """Return the mean of a quantity, `r`, `k` or `e`, over the responses of each of these rows."""
        n, x0, x1 = (
            self.column(each, at)[rows] for each, at in (("n", None), (name + "0", budget), (name + "1", budget))
        )
        found: DoubleDouble = DoubleDouble(x1) / n + x0
        return found

    def __len__(self) -> int:
        return len(self._keys)

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the ids without their hash table: their order gives their places."""
        return _with_state, ({**vars(self), "_keys": self.keys(), "_table": self.table},)


def _with_state(state: dict[str, Any]) -> Groups:
    groups = Groups.__new__(Groups)
    vars(groups).update(state)
    return groups


def returning(sizes: Floats, later_sizes: Floats) -> int:
    """Count the prompts that came back with as many responses as they had before, or a part of that: two or more.

    Args:
        sizes: shape (prompts,), the responses of each prompt of a later source, with those of the sources before.
        later_sizes: shape (prompts,), those of the later source alone.
    """
    before = sizes - later_sizes
    return int(np.count_nonzero((before > 0) & (later_sizes > 1) & (before % later_sizes == 0)))
