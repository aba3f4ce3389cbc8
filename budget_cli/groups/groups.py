"""Moments of blocks → moments by prompt id: the one thing that a scan keeps.

Memory is O(prompts): a row of the table (8 bytes a column, 22 columns with one budget), the id, and its place in a
dict. Knows no files and no JSON.
"""

from collections import defaultdict
from collections.abc import Callable, Collection

import numpy as np
from numpy.typing import NDArray

from budget_cli.groups import moments
from budget_cli.groups.lengths import Lengths
from budget_cli.groups.moments import BUDGET, PROMPT, Floats, Layout, Table
from budget_cli.groups.sample import Key as Key
from budget_cli.groups.sample import Sample


class Groups:
    """Prompt id → row of moments, in the order in which the prompts were first seen; `fold` adds another's.

    Folding is associative up to rounding, the empty Groups is its identity, and the same parts folded in the same
    order give the same bits.
    """

    def __init__(self, layout: Layout, sample: int = 0) -> None:
        self.layout = layout
        self.sample = Sample(sample) if sample else None  # of so many responses
        self.lengths = Lengths()
        self.with_length = 0  # responses whose length is known
        self.with_log_ratio = 0  # responses whose two log-probs are known
        self._keys: list[Key] | None = []  # the ids, until somebody needs their places
        self._places: defaultdict[Key, int] | None = None
        self._table = layout.empty(0)

    @classmethod
    def of_responses(
        cls,
        layout: Layout,
        keys: list[Key],
        codes: NDArray[np.intp],
        reward: Floats,
        length: Floats | None,
        log_ratio: Floats | None,
        sample: int = 0,
    ) -> "Groups":
        """The groups of one block: `codes` says which of the distinct `keys` each response belongs to."""
        groups = cls(layout, sample)
        if not keys:
            return groups
        if length is not None:
            known = length if not np.isnan(length).any() else length[~np.isnan(length)]
            groups.with_length = int(known.size)
            groups.lengths.add(known)
        if log_ratio is not None:
            groups.with_log_ratio = int(log_ratio.size - np.isnan(log_ratio).sum())
        if groups.sample is not None:
            groups.sample.add(keys, codes, reward, length, log_ratio)
        groups._keys = keys
        groups._table = moments.of_responses(layout, codes, len(keys), reward, length, log_ratio)
        return groups

    @classmethod
    def of_rows(cls, layout: Layout, keys: list[Key], table: Table) -> "Groups":
        """The groups of which these are the ids and the rows; lengths and counts are the caller's to add."""
        groups = cls(layout)
        groups._keys, groups._table = keys, table
        return groups

    def fold(self, later: "Groups") -> NDArray[np.intp]:
        """Add what a later part of the input holds.

        Returns:
            The row of each of its prompts.
        """
        if later.layout != self.layout:
            raise ValueError(f"groups with budgets {later.layout.budgets} cannot join those with {self.layout.budgets}")
        self.lengths.merge(later.lengths)
        self.with_length += later.with_length
        self.with_log_ratio += later.with_log_ratio
        if self.sample is not None and later.sample is not None:
            self.sample.merge(later.sample)
        row_of, keys = self._row_of(), later.keys()
        known = len(row_of)
        if row_of.keys().isdisjoint(keys):  # as in most dumps, whose prompts lie together: half the time
            row_of.update(zip(keys, range(known, known + len(keys)), strict=True))
            self._reserve(len(row_of))
            self._table[known : len(row_of)] = later.table
            return np.arange(known, len(row_of))
        rows = np.fromiter(map(row_of.__getitem__, keys), dtype=np.intp, count=len(keys))
        self._reserve(len(row_of))
        new = rows >= known
        self._table[rows[new]] = later.table[new]
        old = rows[~new]
        if old.size:
            self._table[old] = moments.merge(self.layout, self._table[old], later.table[~new])
        return rows

    def rename(self, new: Callable[[Key], Key]) -> None:
        """Give every prompt the id that `new` makes of its own; they must stay different."""
        self._keys, self._places = [new(key) for key in self.keys()], None
        if self.sample is not None:
            self.sample.rename(new)

    def _reserve(self, prompts: int) -> None:
        if prompts > len(self._table):
            if not self._table.flags.owndata:  # it came from another process
                self._table = self._table.copy()
            # resize goes through realloc, which for large arrays moves pages and does not copy them
            self._table.resize((max(prompts, len(self._table) * 9 // 8), self.layout.width), refcheck=False)

    def _row_of(self) -> defaultdict[Key, int]:
        """Prompt id → row; an unknown id gets the next one."""
        if self._places is None:
            self._places = defaultdict(None, zip(self.keys(), range(len(self)), strict=True))
            self._places.default_factory = self._places.__len__
            self._keys = None
        return self._places

    def keys(self) -> Collection[Key]:
        """The prompt ids, first seen first."""
        if self._keys is not None:
            return self._keys
        return self._row_of().keys()

    def rows(self, keys: Collection[Key]) -> NDArray[np.intp]:
        """Where each of these prompts is in `table`; -1 for one that is not here."""
        row_of = self._row_of()
        return np.fromiter((row_of.get(key, -1) for key in keys), dtype=np.intp, count=len(keys))

    def at(self, budget: int) -> "Groups":
        """The same for one budget of the layout alone, whose columns then lie close together; not to be folded."""
        if len(self.layout.budgets) < 2:
            return self
        one = Groups(Layout(self.layout.budgets[budget : budget + 1]))
        one.lengths, one.with_length, one.with_log_ratio = self.lengths, self.with_length, self.with_log_ratio
        one._keys, one._places = self._keys, self._places
        first = self.layout.at(BUDGET[0], budget)
        of_budget = self.table[:, first : first + len(BUDGET)]
        one._table = np.concatenate([self.table[:, : len(PROMPT)], of_budget], axis=1)
        return one

    @property
    def table(self) -> Table:
        """shape (prompts, layout.width), in the order of `keys`."""
        return self._table[: len(self)]

    def column(self, name: str, budget: int | None = None) -> Floats:
        """One quantity of every prompt, by its name in `moments`; shape (prompts,)."""
        return self.table[:, self.layout.at(name, budget)]

    def __len__(self) -> int:
        return len(self.keys())

    def __reduce__(self) -> tuple[object, ...]:
        """To another process: a list of ids, whose order says their places."""
        return _rebuilt, (
            self.layout,
            self.lengths,
            self.with_length,
            self.with_log_ratio,
            list(self.keys()),
            self.table,
            self.sample,
        )


def _rebuilt(
    layout: Layout, lengths: Lengths, with_length: int, with_log_ratio: int, keys: list[Key], table: Table,
    sample: Sample | None,
) -> Groups:  # fmt: skip
    groups = Groups(layout)
    groups.sample = sample
    groups.lengths, groups.with_length, groups.with_log_ratio = lengths, with_length, with_log_ratio
    groups._keys, groups._table = keys, table
    return groups
