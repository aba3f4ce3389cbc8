"""Responses by prompt → themselves, held until a scan ends, for what depends on all of them: the page's budgets and its
sample of responses.

A page needs the moments of a prompt at each budget of its slider. To hold 28 bytes of a response until the end takes
less time and memory than a row of 300 columns for each prompt of each block. Knows no files.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from budget_cli.groups import moments
from budget_cli.groups.moments import Floats, Layout, Table

ROWS = 2048  # prompts at a time, whose responses fit in a cache


class Held:
    """The responses of groups, in the order of the input; `merge` adds a later part's."""

    def __init__(self) -> None:
        self._rows: list[NDArray[np.int32]] = []  # of each part: the rows of the prompts of its responses
        self._columns: list[tuple[Floats | None, ...]] = []  # reward, length, log-ratio, own budget

    def add(self, rows: NDArray[Any], *columns: Floats | None) -> None:
        """Add the responses to the prompts in these rows: reward, length, log-ratio and own budget."""
        self._rows.append(rows.astype(np.int32))
        self._columns.append(columns)

    def merge(self, later: "Held", rows: NDArray[np.intp]) -> None:
        """Add the responses of a later part, whose prompts are in these rows."""
        self._rows += [rows[part].astype(np.int32) for part in later._rows]
        self._columns += later._columns

    def by_prompt(self) -> tuple[NDArray[np.intp], list[Floats | None]]:
        """Return the row of each response in ascending order, and its columns; a prompt's are in the input's order."""
        if not self._rows:
            return np.zeros(0, dtype=np.intp), [np.zeros(0), None, None, None]
        rows = np.concatenate(self._rows).astype(np.intp)
        columns = [_joined(parts, self._rows) for parts in zip(*self._columns, strict=True)]
        if (rows[1:] >= rows[:-1]).all():
            return rows, columns
        order = np.argsort(rows, kind="stable")
        return rows[order], [None if column is None else column[order] for column in columns]

    def table(self, layout: Layout, prompts: int) -> Table:
        """Compute the moments of all prompts in another layout, shape (prompts, layout.width)."""
        table = np.empty((prompts, layout.width))
        rows, columns = self.by_prompt()
        for first in range(0, prompts, ROWS):
            stop = min(first + ROWS, prompts)
            part = slice(*np.searchsorted(rows, (first, stop)))
            reward, length, log_ratio, own = (None if column is None else column[part] for column in columns)
            assert reward is not None
            table[first:stop] = moments.from_responses(
                layout, rows[part] - first, stop - first, reward, length, log_ratio, own
            )
        return table


def _joined(parts: tuple[Floats | None, ...], rows: list[NDArray[np.int32]]) -> Floats | None:
    """Join a column of all parts; one that a part does not have is unknown there."""
    if all(part is None for part in parts):
        return None
    return np.concatenate(
        [np.full(at.size, np.nan) if part is None else part for part, at in zip(parts, rows, strict=True)]
    )
