"""Responses of a block → sums of the advantages that the trainer stored, by prompt, and a sample of whole prompts.

Both merge in the order of the input and travel in summaries. A dump without stored advantages costs nothing. Knows no
estimators and no files.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from budget_cli.evidence.distinct_sample import mix
from budget_cli.evidence.responses import Floats, ObservationSpec, Responses
from budget_cli.groups.moments import quiet_overflow
from budget_cli.ids import Key, Packed

# sums over the responses to a prompt that have an advantage a, of reward r, length L (tokens) and excess e over B
PROMPT = ("a_n", "a", "aa", "ar", "rL")  # their number, Σa, Σa², Σa·r, Σr·L
BUDGET = "ae"  # Σa·e, one for each budget
LIMIT = 1 << 12  # responses in the sample
FIRST = 1 << 9  # responses whose order is kept
EVERY = 2**64 - 1  # every hash is below


def column_names(budgets: Sequence[int]) -> list[str]:
    """Return the names of the sums, in order; `ae@B` for each budget B."""
    return [*PROMPT, *(f"{BUDGET}@{budget}" for budget in budgets)]


class Advantages:
    """Sums by prompt, of no prompt if no response has an advantage; `merge` adds a later part's."""

    def __init__(self, budgets: Sequence[int] = (), table: Floats | None = None) -> None:
        self.budgets = tuple(budgets)  # tokens
        self.sample = AdvantageSample()
        self.first = np.zeros((3, 0))  # reward, length, advantage of the first responses, in the order of the input
        self.is_known = True  # False with a summary of an earlier version, which does not say
        self._table = np.zeros((0, len(PROMPT) + len(self.budgets))) if table is None else table
        self._prompts = len(self._table)

    @classmethod
    @quiet_overflow
    def from_responses(cls, spec: ObservationSpec, responses: Responses) -> "Advantages":
        """Sum the advantages of a block, which may have none."""
        advantage = responses.advantage
        if advantage is None:
            return cls()
        known = np.flatnonzero(~np.isnan(advantage))
        if not known.size:
            return cls()
        codes, a, r = responses.codes[known], advantage[known], responses.reward[known]
        length = np.full(a.size, np.nan) if responses.length is None else responses.length[known]
        terms = [None, a, a * a, a * r, r * length]
        terms += [a * ((length - budget) * (length > budget) + 0 * length) for budget in spec.budgets]
        prompts = len(responses.keys)
        sums = [np.bincount(codes, term, prompts) for term in terms]
        table = np.stack(sums, axis=1).astype(np.float64)
        made = cls(spec.budgets, table)
        values = np.stack([r, length, a])
        made.sample.add(responses.keys, codes, values)
        made.first = values[:, :FIRST]
        return made

    @quiet_overflow
    def merge(self, later: "Advantages", rows: NDArray[np.intp]) -> None:
        """Add the sums of a later part; `rows` holds the row here of each of its prompts."""
        self.is_known &= later.is_known
        if later._prompts == 0:
            return
        if self._prompts == 0 and not len(self._table):
            self.budgets, self._table = later.budgets, np.zeros((0, later._table.shape[1]))
        self.first = np.concatenate([self.first, later.first], axis=1)[:, :FIRST]
        if later.budgets != self.budgets:
            budgets = [budget for budget in self.budgets if budget in later.budgets]
            self._table, self.budgets = self._of(budgets), tuple(budgets)
        rows = rows[: later._prompts]
        size = int(rows.max()) + 1
        if len(self._table) < size:
            grown = np.zeros((max(size, len(self._table) * 3 // 2), self._table.shape[1]))
            grown[: self._prompts] = self._table[: self._prompts]
            self._table = grown
        self._table[rows] += later._of(self.budgets)[: later._prompts]
        self._prompts = max(self._prompts, size)
        self.sample.merge(later.sample, rows)

    def _of(self, budgets: Sequence[int]) -> Floats:
        """Return the columns with only these budgets."""
        if tuple(budgets) == self.budgets:
            return self._table
        names = column_names(self.budgets)
        return self._table[:, [names.index(name) for name in column_names(budgets)]]

    def table(self, prompts: int) -> Floats:
        """Return the sums of so many prompts, in the order of the rows; shape (prompts, columns)."""
        held = self._table[: min(prompts, self._prompts)]
        if len(held) == prompts:
            return held
        return np.concatenate([held, np.zeros((prompts - len(held), held.shape[1]))])

    def column(self, name: str, prompts: int) -> Floats:
        """Return one of the sums of every prompt; shape (prompts,)."""
        names = column_names(self.budgets)
        if name not in names:
            return np.full(prompts, np.nan)
        column: Floats = self.table(prompts)[:, names.index(name)]
        return column

    def __bool__(self) -> bool:
        """Return True if any response has an advantage."""
        return self._prompts > 0


class SampledResponses(NamedTuple):
    """Responses to some prompts, those of a prompt together and in the order of the input."""

    row: NDArray[np.intp]  # of the prompt
    reward: Floats
    length: Floats  # tokens; NaN: unknown
    advantage: Floats


class AdvantageSample:
    """The responses with an advantage to the prompts with the smallest hashes, at most LIMIT; `merge` adds a later
    part's.

    Which prompts they are depends on ids and sizes alone, not on order, blocks or files.
    """

    def __init__(self) -> None:
        self.below = EVERY  # a prompt with this hash or a larger one does not fit
        self.hashes = np.zeros(0, dtype=np.uint64)  # shape (responses,)
        self.rows = np.zeros(0, dtype=np.intp)  # of the prompts
        self.values = np.zeros((3, 0))  # reward, length, advantage

    def add(self, keys: Sequence[Key], codes: NDArray[np.intp], values: Floats) -> None:
        """Add the responses of a block; `codes` gives each one's index into the distinct `keys`."""
        texts = Packed.from_ids(keys).split()
        hashes = mix(np.fromiter(map(crc32, texts), dtype=np.uint64, count=len(keys)))
        sizes = np.bincount(codes, minlength=len(keys))
        order = np.argsort(hashes)
        chosen = hashes < self.below
        chosen[order[np.cumsum(sizes[order]) - sizes[order] > LIMIT]] = False  # cannot fit, whatever follows
        some = np.flatnonzero(chosen[codes])
        self._take(hashes[codes[some]], codes[some], values[:, some])

    def merge(self, later: "AdvantageSample", rows: NDArray[np.intp]) -> None:
        """Add the sample of a later part; `rows` holds the row here of each of its prompts."""
        self.below = min(self.below, later.below)
        self._take(later.hashes, rows[later.rows], later.values)

    def responses(self) -> SampledResponses:
        """Return the sample, prompt by prompt."""
        order = np.lexsort((np.arange(self.rows.size), self.rows, self.hashes))
        return SampledResponses(self.rows[order], *self.values[:, order])

    def _take(self, hashes: NDArray[np.uint64], rows: NDArray[np.intp], values: Floats) -> None:
        self.hashes = np.concatenate([self.hashes, hashes])
        self.rows = np.concatenate([self.rows, rows])
        self.values = np.concatenate([self.values, values], axis=1)
        self.trim(self.below)

    def trim(self, below: int) -> None:
        """Keep prompts with a smaller hash, as many as fit; of a single one beyond the limit the first responses."""
        self.below = min(self.below, below)
        fits = self.hashes < np.uint64(self.below)
        if fits.all() and self.hashes.size <= LIMIT:
            return
        distinct, sizes = np.unique(self.hashes[fits], return_counts=True)
        kept = max(1, int(np.searchsorted(np.cumsum(sizes), LIMIT, side="right")))
        if kept < distinct.size:
            self.below = int(distinct[kept])
            fits &= self.hashes < distinct[kept]
        fits[np.flatnonzero(fits)[LIMIT:]] = False
        self.hashes, self.rows, self.values = self.hashes[fits], self.rows[fits], self.values[:, fits]

    def to_json(self, prompts: NDArray[np.intp]) -> list[Any]:
        """Return the hash from which prompts do not fit, and [prompt, hash, reward, length, advantage, …] of each.

        Args:
            prompts: the number of each row's prompt.
        """
        order = np.lexsort((np.arange(self.rows.size), self.rows, self.hashes))
        shown: list[Any] = [self.below]
        last = -1
        for at in order.tolist():
            row = int(self.rows[at])
            if row != last:
                shown.append([int(prompts[row]), int(self.hashes[at])])
                last = row
            shown[-1] += [value if value - value == 0 else None for value in self.values[:, at].tolist()]
        return shown

    @classmethod
    def from_json(cls, shown: Sequence[Any], row_of: dict[int, int]) -> "AdvantageSample":
        """Create the sample that this JSON describes; `row_of` maps the number of a prompt to its row.

        Raises:
            ValueError, TypeError, KeyError: it is not such JSON.
        """
        sample = cls()
        sample.below = shown[0]
        hashes, rows, values = [], [], []
        for prompt, hashed, *numbers in shown[1:]:
            if not numbers or len(numbers) % 3 or type(hashed) is not int or type(prompt) is not int:
                raise ValueError(prompt)
            for number in numbers:
                if number is not None and type(number) not in (int, float):
                    raise ValueError(number)
            count = len(numbers) // 3
            hashes += [hashed] * count
            rows += [row_of[prompt]] * count
            values += [np.nan if number is None else float(number) for number in numbers]
        if type(sample.below) is not int or not 0 <= sample.below <= EVERY or not all(0 <= h <= EVERY for h in hashes):
            raise ValueError("hash")
        sample.hashes, sample.rows = np.array(hashes, dtype=np.uint64), np.array(rows, dtype=np.intp)
        sample.values = np.array(values, dtype=np.float64).reshape(-1, 3).T.copy()
        return sample
