"""Responses of a block → counters for the checks: occurrences with their first places, sums, and counts by value.

Small whatever the size of the input, so they can travel in a summary, without the records. Counters merge in the order
of the input. Knows no files: a place is a number that the scan makes of a source and a line.
"""

import math
from collections import Counter as Tally
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from budget_cli.evidence.responses import Floats, ObservationSpec, Responses
from budget_cli.evidence.reward_sample import RewardSample
from budget_cli.evidence.weights import Weights, extremes
from budget_cli.groups.moments import quiet_overflow
from budget_cli.ids import Key

Number = TypeVar("Number", np.float64, np.intp)
Counts = dict[Key | float | None, int]  # by value; None: all values beyond the first MANY_VALUES

FEW = 5  # locations kept as evidence
CELLS = 1 << 18  # size of a table of rewards by budgets that is counted at a time
MANY_VALUES = 32  # distinct rewards or labels that are counted one by one
COPIED_ROWS = "copied_rows"  # rows of rollouts that were written before
SIZES = (2.0**-12, 2.0**18)  # nats; log-ratios between these are counted by powers of two, others with the nearest
FAR_APART = math.log(8)  # logarithm of the factor between two log-probs, beyond which one is an outlier
LEAST_OUTLIER = 8.0  # nats, a power of two; log-ratios of this size and more keep their places
CLIP = 0.2  # weights outside 1 ± CLIP are counted, the range of PPO (Schulman et al., 2017)
# log-probs that may be unfilled, and the column that finds them, by pair of policies
UNFILLED = {
    "reference": {"log_prob": "unfilled", "old_log_prob": "unfilled_other"},
    "sampler": {"sampler_log_prob": "unfilled_other", "log_prob_beside_sampler": "unfilled"},
}
TRUNCATED = frozenset(  # finish reasons, in lower case, of truncated responses
    {
        "length",
        "max_length",
        "max_tokens",
        "max_output_tokens",
        "max_new_tokens",
        "truncated",
        "incomplete",
        "length_limit",
        "token_limit",
        "max_model_len",
    }
)


class Location(NamedTuple):
    """A place, and the row of the prompt; row -1: no prompt."""

    place: int
    row: int = -1


class Occurrences:
    """How often something occurs, and the first few locations."""

    def __init__(self, count: int = 0, first: Sequence[Location] = ()) -> None:
        self.count, self.first = count, list(first)

    def merge(self, later: "Occurrences", rows: NDArray[np.intp], offset: int) -> None:
        """Add those of a later part; `rows` maps its rows to rows here, and `offset` is added to its places."""
        self.count += later.count
        for place, row in later.first[: FEW - len(self.first)]:
            self.first.append(Location(place + offset, int(rows[row]) if row >= 0 else row))


class Counters:
    """Occurrences, sums and counts by value, each under a name, and a sample of rewards; `merge` adds a later part's.

    The names are part of the format of a summary.
    """

    def __init__(self) -> None:
        self.occurrences: dict[str, Occurrences] = {}
        self.sums: dict[str, float] = {}
        self.values: dict[str, Counts] = {}
        self.reward_sample = RewardSample()
        self.weights: dict[str, Weights] = {}  # by pair of policies, if both log-probs of some response are known

    @classmethod
    @quiet_overflow
    def from_responses(cls, spec: ObservationSpec, responses: Responses) -> "Counters":
        """Count what this block shows; its places are its lines."""
        counters = cls()
        if responses.keys:
            _Block(counters, spec, responses).observe()
        return counters

    def merge(self, later: "Counters", rows: NDArray[np.intp], offset: int) -> None:
        """Add the counters of a later part.

        Args:
            later: the counters to add.
            rows: the row here of each prompt of the later part.
            offset: added to its places.
        """
        for name, occurrences in later.occurrences.items():
            self.occurrences.setdefault(name, Occurrences()).merge(occurrences, rows, offset)
        for name, value in later.sums.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        for name, counts in later.values.items():
            _add_counts(self.values.setdefault(name, {}), counts)
        self.reward_sample.merge(later.reward_sample)
        for pair, weights in later.weights.items():
            self.weights.setdefault(pair, Weights()).merge(weights, rows, offset)

    def note(self, name: str, lines: Sequence[tuple[int, Sequence[str]]]) -> None:
        """Record lines of a block that show something of no prompt; `lines`: (line, the values found in it)."""
        if lines:
            self.occurrences[name] = Occurrences(len(lines), [Location(line) for line, _ in lines[:FEW]])
            counts = self.values.setdefault(name, {})
            for _, values in lines:
                _add_counts(counts, dict.fromkeys(values, 1))

    def count(self, name: str) -> int:
        """Return the number of occurrences under this name."""
        return self.occurrences[name].count if name in self.occurrences else 0

    def total(self, name: str) -> float:
        """Return the sum under this name; 0 if nothing was added."""
        return self.sums.get(name, 0.0)


class _Block:
    """Fills empty counters from one block."""

    def __init__(self, counters: Counters, spec: ObservationSpec, responses: Responses) -> None:
        self.counters, self.spec, self.r = counters, spec, responses

    def observe(self) -> None:
        """Count everything that the block's columns allow."""
        self._lengths()
        self._log_probs()
        self._rewards()
        self._labels()
        self._texts()

    def _mark(self, name: str, mask: NDArray[np.bool_]) -> None:
        count = int(np.count_nonzero(mask))
        if count:
            r, first = self.r, np.flatnonzero(mask)[:FEW].tolist()
            locations = [Location(int(r.line[i]), int(r.codes[i])) for i in first]
            self.counters.occurrences[name] = Occurrences(count, locations)

    def _add(self, name: str, value: Any) -> None:
        self.counters.sums[name] = float(value)

    def _lengths(self) -> None:
        r = self.r
        if r.length is None:
            self._mark("without_length", np.ones(r.reward.size, dtype=np.bool_))
            return
        self.counters.reward_sample.add(r.reward, r.length, r.prompt_length)
        self._mark("without_length", np.isnan(r.length))
        self._mark("zero_length", r.length == 0)
        self._mark("one_token", r.length == 1)
        if r.tokens is not None:
            off = r.tokens - r.length
            self._mark("other_tokens", (off != 0) & ~np.isnan(off))
            self._add("off_by_one_more", np.count_nonzero(off == 1))
            self._add("off_by_one_less", np.count_nonzero(off == -1))
            far = (2 * r.tokens < r.length) | (r.tokens > 2 * r.length)
            self._add("far_off", np.count_nonzero(far))
            self._add("with_tokens", np.count_nonzero(~np.isnan(off)))

    def _log_probs(self) -> None:
        r, spec = self.r, self.spec
        for name, log_prob in (("log_prob", r.log_prob), ("old_log_prob", r.old_log_prob)):
            if log_prob is None:
                self._mark(f"without_{name}", np.ones(r.reward.size, dtype=np.bool_))
                continue
            self._mark(f"without_{name}", np.isnan(log_prob))
            self._mark(f"positive_{name}", log_prob > spec.positive)
            zero = log_prob == 0
            zeros = np.count_nonzero(zero)
            self._add(f"zero_{name}", zeros)
            if zeros and r.length is not None:
                self._mark(f"zero_{name}", zero & (r.length > 1))
        for pair in r.compared:
            self._unfilled(pair)
        if r.log_prob is not None and r.length is not None:
            self._against_length(r.log_prob, r.length)
        if r.log_prob is not None and r.old_log_prob is not None:
            self._log_ratios(r.log_prob - r.old_log_prob)
            self._related(r.log_prob, r.old_log_prob, r.length)
            self._weights("reference", r.log_prob - r.old_log_prob)
        if r.log_prob is not None and r.sampler_log_prob is not None:
            self._weights("sampler", r.log_prob - r.sampler_log_prob)

    def _unfilled(self, pair: str) -> None:
        """Count the responses with a token whose log-prob is 0 under one policy, and far below under the other."""
        for name, what in UNFILLED[pair].items():
            first = self.r.compared[pair][what]
            some = ~np.isnan(first)
            if some.any():
                self._mark(f"unfilled_{name}", some)
                counts = self.counters.values[f"unfilled_{name}"] = {}  # in the order of the locations
                _add_counts(counts, Tally(first[some].astype(np.int64).tolist()))

    def _weights(self, pair: str, log_ratio: Floats) -> None:
        """Sum the importance weights of a pair of policies, and what the comparison of their tokens shows."""
        r, known = self.r, ~np.isnan(log_ratio)
        if not known.any():
            return
        k = _where(known, log_ratio)
        self._add(f"{pair}_weights", k.size)
        self._add(f"{pair}_weights_below", np.count_nonzero(k < math.log1p(-CLIP)))
        self._add(f"{pair}_weights_above", np.count_nonzero(k > math.log1p(CLIP)))
        lines, rows = _where(known, r.line), _where(known, r.codes)
        weights = self.counters.weights[pair] = Weights.from_log_ratios(k, lines, rows)
        found = r.compared.get(pair)
        if found is None or r.tokens is None:
            return
        listed = ~np.isnan(found["size"])
        if not listed.any():
            return
        self._add(f"{pair}_listed", np.count_nonzero(listed))
        for what, values in (("tokens", r.tokens), ("outside", found["outside"]), ("size", found["size"])):
            self._add(f"{pair}_{what}", _where(listed, values).sum())
        for what in found:
            if what.startswith("bin_"):
                self._add(f"{pair}_{what}", _where(listed, found[what]).sum())
        worst, at = _where(listed, found["worst_log_ratio"]), _where(listed, found["worst"])
        weights.worst = extremes(np.abs(worst), worst, _where(listed, r.line), _where(listed, r.codes), at)
        shifted = ~np.isnan(found["shift"])
        if shifted.any():
            self._mark(f"{pair}_shifted", shifted)
            self._add(f"{pair}_shifted_late", np.count_nonzero(found["shift"] > 0))
            for what in ("size_as_is", "size_shifted"):
                self._add(f"{pair}_{what}", found[what][shifted].sum())

    def _against_length(self, log_prob: Floats, length: Floats) -> None:
        """Sums for the correlation of log-prob and length, without log-probs that were summed from a list."""
        some = ~(np.isnan(log_prob) | np.isnan(length))
        if self.r.tokens is not None:
            some &= np.isnan(self.r.tokens)
        size, long = np.abs(_where(some, log_prob)), _where(some, length)
        self._add("grows_n", size.size)
        for name, values in (("p", size), ("L", long), ("pp", size * size), ("LL", long * long), ("pL", size * long)):
            self._add(f"grows_{name}", values.sum())

    def _related(self, log_prob: Floats, old_log_prob: Floats, length: Floats | None) -> None:
        """Sums for the correlation of the logarithms of both log-probs per token, but for those that are FAR_APART.

        In logarithms a single outlier does not decide it.
        """
        tokens = 1.0 if length is None else length
        with np.errstate(divide="ignore", invalid="ignore"):
            p, q = np.log(log_prob / -tokens), np.log(old_log_prob / -tokens)
            some = np.abs(p - q) < FAR_APART  # not what is unknown, or 0, or above it
        p, q = _where(some, p), _where(some, q)
        self._add("related_n", p.size)
        for name, value in (("p", p.sum()), ("q", q.sum()), ("pp", p @ p), ("qq", q @ q), ("pq", p @ q)):
            self._add(f"related_{name}", value)

    def _log_ratios(self, log_ratio: Floats) -> None:
        size, length = np.abs(log_ratio), self.r.length
        known = ~np.isnan(size)
        self._add("with_log_ratio", np.count_nonzero(known))
        self._add("no_log_ratio", np.count_nonzero(log_ratio == 0))
        self._mark("outlier", size > self.spec.outlier)
        self._sizes(size, known)
        if length is not None:
            self._add_per_token(known & (length > 0), size, length, "log_ratio")

    def _add_per_token(self, some: NDArray[np.bool_], size: Floats, length: Floats, name: str) -> None:
        """Sum the sizes of some log-ratios and their tokens, for the mean per token."""
        self._add(f"{name}_size", _where(some, size).sum())
        self._add(f"{name}_tokens", _where(some, length).sum())

    def _sizes(self, size: Floats, known: NDArray[np.bool_]) -> None:
        """Count log-ratios by the power of two that is just above their size, and locate the large ones.

        What an outlier is depends on all sizes, which are known only at the end.
        """
        exponents = np.frexp(np.clip(_where(known, size), *SIZES))[1]
        if not exponents.size:
            return
        least = int(exponents.min())
        numbers = np.bincount(exponents - least)
        self._count("log_ratio_below", np.ldexp(1.0, np.arange(least, least + numbers.size)), numbers)
        large = known & (size >= LEAST_OUTLIER)
        if large.any():
            above = np.ldexp(1.0, np.frexp(np.minimum(size, SIZES[1]))[1])
            for edge in np.unique(above[large]).tolist():
                these, name = large & (above == edge), f"log_ratio_below_{edge:.0f}"
                self._mark(name, these)
                if self.r.length is not None:
                    self._add_per_token(these & (self.r.length > 0), size, self.r.length, name)

    def _rewards(self) -> None:
        """Counts by reward: of all responses, and of those within and over each budget."""
        reward, budgets = self.r.reward, sorted(self.spec.budgets)
        low, high = float(reward.min()), float(reward.max())
        is_high = reward == high
        if low == high:
            distinct, codes = np.array([low]), np.zeros(reward.size, dtype=np.intp)
        elif np.all(is_high | (reward == low)):
            distinct, codes = np.array([low, high]), is_high.astype(np.intp)
        else:  # more than two: sort
            distinct, codes = np.unique(reward, return_inverse=True)
        every = np.bincount(codes, minlength=distinct.size)
        self._count("reward", distinct, every)
        exceeded, at_once = self._exceeded(budgets), max(1, CELLS // distinct.size)
        for start in range(0, len(budgets), at_once):
            some = budgets[start : start + at_once]
            cells = np.clip(exceeded - start, 0, len(some)) * distinct.size + codes
            each = np.bincount(cells, minlength=(len(some) + 1) * distinct.size).reshape(-1, distinct.size)
            for budget, within in zip(some, np.cumsum(each, axis=0), strict=False):
                self._count(f"reward_within@{budget}", distinct, within)
                self._count(f"reward_over@{budget}", distinct, every - within)

    def _exceeded(self, budgets: Sequence[int]) -> NDArray[np.intp]:
        """Number of budgets (ascending) that each response exceeds; 0 if its length is unknown."""
        length = self.r.length
        if length is None:
            return np.zeros(self.r.reward.size, dtype=np.intp)
        if len(budgets) == 1:
            return (length > budgets[0]).astype(np.intp)
        exceeded = np.searchsorted(np.array(budgets, dtype=np.float64), length)
        exceeded[np.isnan(length)] = 0
        return exceeded

    def _count(self, name: str, distinct: NDArray[Any], numbers: NDArray[np.intp]) -> None:
        first = np.flatnonzero(numbers[: 4 * MANY_VALUES])[:MANY_VALUES]
        if first.size < MANY_VALUES:  # the first values may all be 0 here
            first = np.flatnonzero(numbers)[:MANY_VALUES]
        counts: Counts = dict(zip(distinct[first].tolist(), numbers[first].tolist(), strict=True))
        rest = int(numbers.sum() - numbers[first].sum())
        if rest:
            counts[None] = rest
        if counts:
            self.counters.values[name] = counts

    def _labels(self) -> None:
        reasons = self.r.finish_reason
        if reasons is None:
            return
        values, codes = reasons
        numbers = np.bincount(codes[codes >= 0], minlength=len(values))
        self._count("finish_reason", np.array(values, dtype=object), numbers)
        cut = np.array([str(value).lower() in TRUNCATED for value in values] + [False], dtype=np.bool_)
        self._mark("truncated", cut[codes])

    def _texts(self) -> None:
        r = self.r
        if r.characters is not None and r.length is not None:
            both = (r.characters >= 0) & ~np.isnan(r.length)
            characters, length = r.characters[both], r.length[both]
            self._add("characters", characters.sum())
            self._add("characters_squared", np.square(characters, dtype=np.float64).sum())
            self._add("length_of_texts", length.sum())
            self._add("texts", characters.size)
            self._add("as_many_characters", np.count_nonzero(characters == length))


def _where(mask: NDArray[np.bool_], values: NDArray[Number]) -> NDArray[Number]:
    """Return the values where the mask is true, without a copy if it is true everywhere."""
    return values if mask.all() else values[mask]


def _add_counts(counts: Counts, more: Mapping[Key | float | None, int]) -> None:
    """Add counts by value; values beyond the first MANY_VALUES are counted together under None."""
    for value, number in more.items():
        place = value if value in counts or len(counts) < MANY_VALUES else None
        counts[place] = counts.get(place, 0) + number
