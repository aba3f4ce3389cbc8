"""Rows → responses, where a trainer writes one rollout as several rows: a turn each, or an output of a session each.

Rows of one prompt with the same `rollout_id` are one response: its reward, labels and advantage are those of its last
row (the largest `turn`, otherwise the last in the dump), its lengths and log-probs the sums over its rows. A row
without a rollout is a response of its own. A row that was written again (same rollout, turn and numbers) counts once.
Memory is O(rollouts of a source), 8 bytes for each of its rows with a turn, and 8 for each rollout of all sources.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from budget_cli.evidence.distinct_sample import mix, number_digests
from budget_cli.ids import Ids, Key
from budget_cli.records.columns import ExtraColumn, Floats, LabelColumn, ResponseColumns, TextColumn, concatenate
from budget_cli.schema.fields import BINS, COMPARED, PAIRS, SAMPLER, compared

ROWS = "rows"  # the extra column that counts the rows of a response
SLACK = 1 << 14  # rows that may be held beside as many again as there are rollouts


class Copy(NamedTuple):
    """A row that was written before."""

    line: int
    prompt_id: Key


class Digests:
    """A set of 64-bit digests."""

    def __init__(self) -> None:
        self._parts: list[NDArray[np.uint64]] = []  # sorted; each at least twice as long as the next

    def add(self, digests: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Add these, which are sorted and distinct.

        Returns:
            A mask of those that were not there yet.
        """
        is_new = np.ones(digests.size, dtype=np.bool_)
        for part in self._parts:
            at = np.minimum(np.searchsorted(part, digests), part.size - 1)
            is_new &= part[at] != digests
        if is_new.any():
            self._parts.append(digests[is_new])
        while len(self._parts) > 1 and self._parts[-2].size < 2 * self._parts[-1].size:
            last = self._parts.pop()
            self._parts[-1] = np.sort(np.concatenate([self._parts[-1], last]))
        return is_new

    def merge(self, later: "Digests") -> int:
        """Add those of a later part; return how many of them were there."""
        return sum(int(np.count_nonzero(~self.add(part))) for part in later._parts)


class Rollouts:
    """The rows of a source so far, one per rollout; `add` takes those of the next block."""

    def __init__(self, fold: bool = True) -> None:
        self._folds = fold  # False if each row is a response
        self._parts: list[ResponseColumns] = []
        self._held = self._folded = 0
        self._seen = Digests()  # of rows with a turn
        self.copies = 0  # rows that were written before
        self.first: list[Copy] = []  # the first of them

    def add(self, rows: ResponseColumns, before: int) -> None:
        """Add the rows of a block that has `before` lines before it."""
        rows.line = rows.line + before
        if self._folds:
            rows = self._without_copies(rows)
            rows.extras.setdefault(ROWS, np.ones(rows.codes.size))  # where the block is not folded yet
        self._parts.append(rows)
        self._held += rows.line.size
        if self._held > 2 * self._folded + SLACK:
            self._fold()

    def _without_copies(self, rows: ResponseColumns) -> ResponseColumns:
        """Drop the rows that are there already, in this block or an earlier one."""
        numbered = np.flatnonzero(is_numbered(rows))
        if not numbered.size:
            return rows
        digests, first = np.unique(_digests(rows.select(numbered)), return_index=True)
        stays = np.ones(rows.codes.size, dtype=np.bool_)
        stays[numbered] = False
        stays[numbered[first[self._seen.add(digests)]]] = True
        if stays.all():
            return rows
        from budget_cli.evidence.counters import FEW

        copies = np.flatnonzero(~stays)
        self.copies += copies.size
        for i in copies[: FEW - len(self.first)].tolist():
            self.first.append(Copy(int(rows.line[i]), rows.keys[int(rows.codes[i])]))
        return rows.select(stays)

    def responses(self) -> ResponseColumns:
        """Return the responses, in the order in which they begin."""
        self._fold()
        return self._parts[0]

    def _fold(self) -> None:
        if len(self._parts) > 1:
            ids = Ids()
            for part in self._parts:
                part.codes = ids.places(part.keys)[part.codes]
            self._parts = [concatenate(self._parts, ids)]
        if self._folds and self._held != self._folded:
            self._parts = [one_row_per_rollout(self._parts[0])]
        self._held = self._folded = self._parts[0].line.size


def is_numbered(rows: ResponseColumns) -> NDArray[np.bool_]:
    """Return a mask of the rows that say of which rollout they are, and which of its rows."""
    rollouts, turns = rows.extras["rollout_id"], rows.extras["turn"]
    assert isinstance(rollouts, LabelColumn)
    assert isinstance(turns, np.ndarray)
    return np.asarray((rollouts.codes >= 0) & ~np.isnan(turns))


def _digests(rows: ResponseColumns) -> NDArray[np.uint64]:
    """Hash what makes a row, its prompt, rollout, turn and numbers, to 64 bits; the same within one process."""
    rollouts, turns = rows.extras["rollout_id"], rows.extras["turn"]
    assert isinstance(rollouts, LabelColumn)
    assert isinstance(turns, np.ndarray)
    digests = turns.view(np.uint64) ^ mix(rows.reward.view(np.uint64))
    for values, codes in ((rows.keys, rows.codes), (rollouts.values, rollouts.codes)):
        hashes = np.fromiter(map(hash, values), dtype=np.int64, count=len(values)).view(np.uint64)
        digests = mix(digests) ^ hashes[codes]
    numbers = number_digests(rows.reward.size, (rows.log_prob, rows.old_log_prob, rows.length))
    return mix(mix(digests) ^ numbers)


def rollout_digests(columns: ResponseColumns) -> NDArray[np.uint64]:
    """Hash the prompt and the rollout of each response that has one, the same in every process; sorted and distinct."""
    import hashlib  # with OpenSSL, 4 ms and 4 MiB, which only rollouts need

    rollouts = columns.extras["rollout_id"]
    assert isinstance(rollouts, LabelColumn)
    keys, values = ([repr(value).encode() for value in those] for those in (columns.keys, rollouts.values))
    pairs = zip(columns.codes.tolist(), rollouts.codes.tolist(), strict=True)
    hashed = b"".join(
        hashlib.blake2b(keys[key] + b" " + values[value], digest_size=8).digest() for key, value in pairs if value >= 0
    )
    return np.unique(np.frombuffer(hashed, dtype=np.uint64))


def make_prompts_of_lines(columns: ResponseColumns, size: int, source: str) -> None:
    """Make every `size` lines of the source a prompt, named after its first line; changes the columns in place."""
    first, columns.codes = np.unique((columns.line - 1) // size, return_inverse=True)
    columns.keys = [f"{source}:{at * size + 1}" for at in first.tolist()]


def rows_of(columns: ResponseColumns) -> int:
    """Return how many rows these responses were written in."""
    rows = columns.extras.get(ROWS)
    return columns.codes.size if rows is None else int(np.asarray(rows).sum())


def one_row_per_rollout(columns: ResponseColumns) -> ResponseColumns:
    """Fold the rows of each rollout into one, in the order in which the rollouts begin."""
    size = columns.codes.size
    rollouts, turns = columns.extras["rollout_id"], columns.extras["turn"]
    assert isinstance(rollouts, LabelColumn)
    assert isinstance(turns, np.ndarray)
    own = len(rollouts.values) + np.arange(size)  # a row without a rollout
    pairs = columns.codes * (len(rollouts.values) + size) + np.where(rollouts.codes >= 0, rollouts.codes, own)
    distinct, first, inverse = np.unique(pairs, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(order.size)
    group, first = rank[inverse.reshape(-1)], first[order]
    in_turn = np.lexsort((np.arange(size), np.where(np.isnan(turns), -np.inf, turns), group))
    last = in_turn[np.cumsum(np.bincount(group, minlength=distinct.size)) - 1]

    def total(values: Floats | None) -> Floats | None:
        return None if values is None else np.asarray(np.bincount(group, values, distinct.size))

    counts = columns.extras.get(ROWS)
    extras = {name: _taken(name, one, first, last) for name, one in columns.extras.items() if name != ROWS}
    if SAMPLER in extras:
        extras[SAMPLER] = np.asarray(np.bincount(group, np.asarray(columns.extras[SAMPLER]), distinct.size))
    extras |= _compared(columns, group, in_turn, distinct.size)
    extras[ROWS] = np.bincount(group, None if counts is None else np.asarray(counts), distinct.size).astype(np.float64)
    return ResponseColumns(
        columns.keys,
        columns.codes[first],
        columns.line[last],
        columns.reward[last],
        total(columns.length),
        total(columns.log_prob),
        total(columns.old_log_prob),
        total(columns.tokens),
        extras,
        None if columns.length_from is None else _highest(columns.length_from, group, distinct.size),
    )


def _compared(
    columns: ResponseColumns, group: NDArray[np.intp], in_turn: NDArray[np.intp], size: int
) -> dict[str, ExtraColumn]:
    """Return what the comparison of tokens shows of each response, where an index counts the tokens of all its rows.

    Args:
        columns: the rows.
        group: the response of each row.
        in_turn: the rows, response by response, each in its order.
        size: the number of responses.
    """
    made: dict[str, ExtraColumn] = {}
    pairs = [pair for pair in PAIRS if compared(pair, COMPARED[0]) in columns.extras]
    if not pairs:
        return made
    tokens = np.zeros(group.size) if columns.tokens is None else np.nan_to_num(columns.tokens)
    ends = np.empty(group.size)
    ends[in_turn] = np.cumsum(tokens[in_turn])
    begins = np.full(size, np.inf)
    np.minimum.at(begins, group, ends - tokens)
    before = ends - tokens - begins[group]  # tokens of the response in its earlier rows
    for pair in pairs:
        bins = BINS if compared(pair, BINS[0]) in columns.extras else ()
        kept = (*COMPARED, *bins)
        of_row = {what: np.asarray(columns.extras[compared(pair, what)]) for what in kept}
        found: dict[str, NDArray[np.float64]] = {}
        for what in ("outside", "size", *bins):
            found[what] = np.asarray(np.bincount(group, of_row[what], size))
        for what in ("unfilled", "unfilled_other"):
            found[what] = np.full(size, np.nan)
            np.fmin.at(found[what], group, of_row[what] + before)
        sizes = np.where(np.isnan(of_row["worst"]), -1.0, np.abs(of_row["worst_log_ratio"]))
        by_size = in_turn[np.lexsort((-sizes[in_turn], group[in_turn]))]  # stable: of equal ones the first
        worst = by_size[np.searchsorted(group[by_size], np.arange(size))]
        found["worst"], found["worst_log_ratio"] = (of_row["worst"] + before)[worst], of_row["worst_log_ratio"][worst]
        is_shifted = ~np.isnan(of_row["shift"][in_turn])
        by_shift = in_turn[np.lexsort((~is_shifted, group[in_turn]))]
        shifted = by_shift[np.searchsorted(group[by_shift], np.arange(size))]  # the first row that shows one
        for what in ("shift", "size_as_is", "size_shifted"):
            found[what] = of_row[what][shifted]
        made |= {compared(pair, what): found[what] for what in kept}
    return made


def _highest(origins: NDArray[np.uint8], group: NDArray[np.intp], size: int) -> NDArray[np.uint8]:
    """Where the length of each response comes from: a sum of lengths is counted here if one of them is."""
    highest = np.zeros(size, dtype=np.uint8)
    np.maximum.at(highest, group, origins)
    return highest


def _taken(name: str, one: ExtraColumn, first: NDArray[np.intp], last: NDArray[np.intp]) -> ExtraColumn:
    """The optional field of the last row; the prompt's text is that of the first row."""
    rows = first if name == "prompt_text" else last
    if isinstance(one, LabelColumn):
        return LabelColumn(one.values, one.codes[rows])
    return TextColumn(one.digest[rows], one.characters[rows]) if isinstance(one, TextColumn) else one[rows]
