"""Columns of a block → what single responses show and moments do not keep. It adds, in the order of the input.

Counts, and the first few places as evidence; sums; a little for each prompt; and a sample of all responses in which to
look for equal ones. Memory is O(prompts), and a bounded number of responses. Knows no files: a place is a number that
the scan makes of a source and a line.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from budget_cli.groups import digests
from budget_cli.groups.digests import Digests

Floats = NDArray[np.float64]
Key = str | int
Counts = dict[Key | float | None, int]  # by value; under None those beyond MANY_VALUES

FEW = 5  # places kept as evidence
MANY_VALUES = 32  # distinct rewards or labels that are told apart; beyond it they are many
LONG_CHARACTERS, LONG_TOKENS = 100, 32  # a text from here on is hardly ever written twice
TRUNCATED = frozenset(  # finish reasons, in lower case, of a response that was cut off
    {"length", "max_length", "max_tokens", "max_output_tokens", "max_new_tokens", "truncated", "incomplete",
     "length_limit", "token_limit", "max_model_len"}
)  # fmt: skip


class Watch(NamedTuple):
    """What to look for."""

    budget: int | None = None  # tokens
    beta: float = 0.0  # reward per token
    positive: float = 0.0  # nats from which on a log-prob is above 0
    outlier: float = np.inf  # nats of a log-ratio


class Responses(NamedTuple):
    """The responses of a block; arrays have one entry a response, NaN where it has none, or are None."""

    keys: Sequence[Key]  # the distinct prompt ids
    codes: NDArray[np.intp]  # index into keys
    line: NDArray[np.intp]
    reward: Floats
    length: Floats | None = None  # tokens
    log_prob: Floats | None = None  # nats
    old_log_prob: Floats | None = None  # nats
    tokens: Floats | None = None  # of a list of log-probs
    advantage: Floats | None = None  # as the trainer stored it
    finish_reason: tuple[Sequence[Key], NDArray[np.intp]] | None = None  # the distinct ones and an index, -1 for none
    step: tuple[Sequence[Key], NDArray[np.intp]] | None = None
    prompt_text: NDArray[np.uint64] | None = None  # digests, 0 for none
    response_text: NDArray[np.uint64] | None = None
    characters: NDArray[np.int64] | None = None  # of the response, -1 where unknown


class Seen(NamedTuple):
    """Where something was seen: a place, and the row of the prompt; -1: it is no prompt's."""

    place: int
    row: int = -1


class Spotted:
    """How many responses show something, and the first few of them."""

    def __init__(self, count: int = 0, first: Sequence[Seen] = ()) -> None:
        self.count, self.first = count, list(first)

    def fold(self, later: "Spotted", rows: NDArray[np.intp], offset: int) -> None:
        """Add what a later block holds, of whose prompts these are the rows, and whose places begin at `offset`."""
        self.count += later.count
        for place, row in later.first[: FEW - len(self.first)]:
            self.first.append(Seen(place + offset, int(rows[row]) if row >= 0 else row))


# what is kept of each prompt, and the value that says nothing
ROWS: dict[str, Any] = {
    "place": np.int64(0),  # of its first response
    "r_max": -np.inf,  # the best reward,
    "a_of_best": -np.inf,  # the best adjusted reward among those that have it,
    "a_max": -np.inf,  # and among all
    "advantage": 0.0,  # sums of the stored advantages and of their squares
    "advantage_squares": 0.0,
    "with_advantage": 0.0,  # responses
    "text": np.uint64(0),  # digest of its prompt's text
    "text_at": np.int64(0),  # and its place
    "text_place": np.int64(0),  # where another text was first seen
    "step": np.uint64(0),  # digest of its step
}
PLACES = ("place", "text_at", "text_place")
ADDED = ("advantage", "advantage_squares", "with_advantage")


class Observations:
    """What a scan was told to watch for; `fold` adds a later block's."""

    def __init__(self) -> None:
        self.spotted: dict[str, Spotted] = {}
        self.sums: dict[str, float] = {}
        self.values: dict[str, Counts] = {}
        self.rows: dict[str, NDArray[Any]] = {}
        self.sample = Digests()
        self._prompts = 0  # of which something is in the rows

    @classmethod
    def of_responses(cls, watch: Watch, responses: Responses) -> "Observations":
        """What this block shows; its places are its lines."""
        seen = cls()
        if responses.keys:
            _Block(seen, watch, responses).observe()
        return seen

    def fold(self, later: "Observations", rows: NDArray[np.intp], offset: int) -> None:
        """Add what a later block shows.

        Args:
            rows: the row of each of its prompts among all.
            offset: what makes a place of its lines.
        """
        for name, spotted in later.spotted.items():
            self.spotted.setdefault(name, Spotted()).fold(spotted, rows, offset)
        for name, value in later.sums.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        for name, counts in later.values.items():
            _add_counts(self.values.setdefault(name, {}), counts)
        self._fold_rows({name: later.row(name, rows.size) for name in later.rows}, rows, offset)
        sample = later.sample
        self.sample.add(sample.digest, rows[sample.row], sample.place + offset, sample.record, sample.level)

    def note(self, name: str, lines: Sequence[tuple[int, Sequence[str]]]) -> None:
        """Lines of a block that show something, and what each of them shows."""
        if lines:
            self.spotted[name] = Spotted(len(lines), [Seen(line) for line, _ in lines[:FEW]])
            counts = self.values.setdefault(name, {})
            for _, shown in lines:
                _add_counts(counts, dict.fromkeys(shown, 1))

    def count(self, name: str) -> int:
        """Responses that show it."""
        return self.spotted[name].count if name in self.spotted else 0

    def total(self, name: str) -> float:
        """A sum; 0 where nothing was added."""
        return self.sums.get(name, 0.0)

    def row(self, name: str, prompts: int) -> NDArray[Any]:
        """What is kept of each prompt under this name, in the order of the groups' rows."""
        held = self.rows.get(name, np.full(0, ROWS[name]))[:prompts]
        return np.concatenate([held, np.full(prompts - held.size, ROWS[name])]) if held.size < prompts else held

    def _fold_rows(self, later: Mapping[str, NDArray[Any]], rows: NDArray[np.intp], offset: int) -> None:
        if not rows.size:
            return
        first, size = int(rows.min()), int(rows.max()) + 1
        for name in later:
            held = self.rows.get(name)
            if held is None or held.size < size:
                there = 0 if held is None else held.size
                grown = np.empty(max(size, there * 3 // 2), dtype=np.asarray(ROWS[name]).dtype)
                if held is not None:
                    grown[:there] = held
                grown[there:] = ROWS[name]
                self.rows[name] = grown
        if first >= self._prompts and rows.size == size - first:  # all of them new, as in most dumps
            for name, values in later.items():
                self.rows[name][first:size] = np.where(values > 0, values + offset, 0) if name in PLACES else values
        else:
            mine = {name: self.rows[name][rows] for name in later}
            for name, values in merged_rows(mine, later, offset).items():
                self.rows[name][rows] = values
        self._prompts = max(self._prompts, size)


def merged_rows(a: Mapping[str, Any], b: Mapping[str, Any], offset: int) -> dict[str, Any]:
    """What is kept of prompts in two parts, row by row; `a` came first, the places of `b` begin at `offset`."""
    both = {name: a[name] + b[name] for name in ADDED if name in b}
    both["place"] = np.where(a["place"] > 0, a["place"], b["place"] + offset)
    if "r_max" in b:
        a_best, b_best = a["a_of_best"], b["a_of_best"]
        both["a_of_best"] = np.where(
            a["r_max"] == b["r_max"], np.maximum(a_best, b_best), np.where(a["r_max"] > b["r_max"], a_best, b_best)
        )
        both["r_max"] = np.maximum(a["r_max"], b["r_max"])
        both["a_max"] = np.maximum(a["a_max"], b["a_max"])
    if "step" in b:
        both["step"] = np.where(a["step"] > 0, a["step"], b["step"])
    if "text" in b:
        both["text"] = np.where(a["text"] > 0, a["text"], b["text"])
        other = np.where(b["text_place"] > 0, b["text_place"] + offset, 0)
        differs = (a["text"] > 0) & (b["text"] > 0) & (a["text"] != b["text"])
        other = np.where(differs, b["text_at"] + offset, other)
        both["text_at"] = np.where(a["text"] > 0, a["text_at"], np.where(b["text"] > 0, b["text_at"] + offset, 0))
        both["text_place"] = np.where(a["text_place"] > 0, a["text_place"], other)
    return both


class _Block:
    """One block under observation."""

    def __init__(self, seen: Observations, watch: Watch, responses: Responses) -> None:
        self.seen, self.watch, self.r = seen, watch, responses
        steps = np.diff(responses.codes)
        self.starts = None  # where each prompt's responses begin, if they lie together
        if np.all(steps >= 0):
            self.starts = np.append(0, np.flatnonzero(steps) + 1)

    def observe(self) -> None:
        """Everything that the block's columns allow."""
        r = self.r
        place = np.zeros(len(r.keys), dtype=np.int64)
        if self.starts is not None:
            place[:] = r.line[self.starts]
        else:
            place[r.codes[::-1]] = r.line[::-1]  # of equal codes the last assignment stays: the first response
        self.seen.rows["place"] = place
        self._lengths()
        self._log_probs()
        self._rewards()
        self._labels()
        self._texts()

    def _spot(self, name: str, mask: NDArray[np.bool_]) -> None:
        count = int(np.count_nonzero(mask))
        if count:
            first = np.flatnonzero(mask)[:FEW].tolist()
            r = self.r
            self.seen.spotted[name] = Spotted(count, [Seen(int(r.line[i]), int(r.codes[i])) for i in first])

    def _add(self, name: str, value: Any) -> None:
        self.seen.sums[name] = float(value)

    def _lengths(self) -> None:
        r = self.r
        if r.length is None:
            self._spot("without_length", np.ones(r.reward.size, dtype=np.bool_))
            return
        self._spot("without_length", np.isnan(r.length))
        self._spot("zero_length", r.length == 0)
        if r.tokens is not None:
            off = r.tokens - r.length
            self._spot("other_tokens", (off != 0) & ~np.isnan(off))
            self._add("off_by_one_more", np.count_nonzero(off == 1))
            self._add("off_by_one_less", np.count_nonzero(off == -1))
            far = (2 * r.tokens < r.length) | (r.tokens > 2 * r.length)
            self._add("far_off", np.count_nonzero(far))

    def _log_probs(self) -> None:
        r, watch = self.r, self.watch
        for name, log_prob in (("log_prob", r.log_prob), ("old_log_prob", r.old_log_prob)):
            if log_prob is None:
                self._spot(f"without_{name}", np.ones(r.reward.size, dtype=np.bool_))
                continue
            self._spot(f"without_{name}", np.isnan(log_prob))
            self._spot(f"positive_{name}", log_prob > watch.positive)
            zero = log_prob == 0
            self._add(f"zero_{name}", np.count_nonzero(zero))
            if r.length is not None:
                self._spot(f"zero_{name}", zero & (r.length > 1))
            if r.length is not None and name == "log_prob":
                self._against_length(log_prob, r.length)
        if r.log_prob is None or r.old_log_prob is None:
            return
        log_ratio = r.log_prob - r.old_log_prob
        size = np.abs(log_ratio)
        known = ~np.isnan(size)
        self._add("with_log_ratio", np.count_nonzero(known))
        self._add("no_log_ratio", np.count_nonzero(log_ratio == 0))
        self._spot("outlier", size > watch.outlier)
        if r.length is not None:
            some = known & (r.length > 0)
            self._add("log_ratio_size", size[some].sum())
            self._add("log_ratio_tokens", r.length[some].sum())

    def _against_length(self, log_prob: Floats, length: Floats) -> None:
        """Σ of what tells whether a log-prob grows with its length; only those not summed here from a list."""
        some = ~(np.isnan(log_prob) | np.isnan(length))
        if self.r.tokens is not None:
            some &= np.isnan(self.r.tokens)
        size, long = np.abs(log_prob[some]), length[some]
        for name, values in (("n", some), ("p", size), ("L", long), ("pp", size * size), ("LL", long * long),
                             ("pL", size * long)):  # fmt: skip
            self._add(f"grows_{name}", values.sum())

    def _rewards(self) -> None:
        r, watch = self.r, self.watch
        over = None
        if watch.budget is not None:
            excess = np.zeros(r.reward.size)  # also of those without a length
            if r.length is not None:
                np.maximum(0.0, r.length - watch.budget, out=excess, where=~np.isnan(r.length))
            over = excess > 0
            if watch.beta:
                self._best(r.reward - watch.beta * excess)
        self._values(over)
        if r.advantage is not None:
            known = ~np.isnan(r.advantage)
            codes, a = r.codes[known], r.advantage[known]
            prompts, rows = len(r.keys), self.seen.rows
            rows["with_advantage"] = np.bincount(codes, minlength=prompts).astype(np.float64)
            rows["advantage"] = np.bincount(codes, a, prompts)
            rows["advantage_squares"] = np.bincount(codes, a * a, prompts)

    def _best(self, adjusted: Floats) -> None:
        """The best reward of each prompt, the best adjusted reward, and that of the responses with the former."""
        r = self.r
        r_max = self._greatest(r.reward)
        best = r.reward == r_max[r.codes]
        a_of_best = self._greatest(np.where(best, adjusted, -np.inf))
        self.seen.rows |= {"r_max": r_max, "a_max": self._greatest(adjusted), "a_of_best": a_of_best}

    def _greatest(self, values: Floats) -> Floats:
        """Of each prompt's responses."""
        if self.starts is not None:
            return np.asarray(np.maximum.reduceat(values, self.starts))
        greatest = np.full(len(self.r.keys), -np.inf)
        np.maximum.at(greatest, self.r.codes, values)
        return greatest

    def _values(self, over: NDArray[np.bool_] | None) -> None:
        """The distinct rewards, where they are few: of all, and of those within and over the budget."""
        reward = self.r.reward
        low, high = float(reward.min()), float(reward.max())
        is_high = reward == high
        if low < high and not np.all(is_high | (reward == low)):  # not two values: worth a sort
            parts = {"reward": reward}
            if over is not None:
                parts |= {"reward_within": reward[~over], "reward_over": reward[over]}
            for name, values in parts.items():
                distinct, numbers = np.unique(values, return_counts=True)
                self._count(name, dict(zip(distinct.tolist(), numbers.tolist(), strict=True)))
            return
        total, at_high = reward.size, int(np.count_nonzero(is_high))
        self._count("reward", {low: total - at_high, high: at_high})
        if over is not None:
            total_over, high_over = int(np.count_nonzero(over)), int(np.count_nonzero(is_high & over))
            self._count("reward_over", {low: total_over - high_over, high: high_over})
            within = total - total_over
            high_within = at_high - high_over
            self._count("reward_within", {low: within - high_within, high: high_within})

    def _count(self, name: str, numbers: Mapping[Key | float | None, int]) -> None:
        counts: Counts = {}
        _add_counts(counts, {value: number for value, number in numbers.items() if number})
        if counts:
            self.seen.values[name] = counts

    def _labels(self) -> None:
        reasons = self.r.finish_reason
        if reasons is None:
            return
        values, codes = reasons
        there = codes >= 0
        numbers = np.bincount(codes[there], minlength=len(values)).tolist()
        self._count("finish_reason", dict(zip(values, numbers, strict=True)))
        cut = np.array([str(value).lower() in TRUNCATED for value in values] + [False], dtype=np.bool_)
        self._spot("truncated", cut[codes])

    def _texts(self) -> None:
        r, rows, prompts = self.r, self.seen.rows, len(self.r.keys)
        if r.prompt_text is not None:
            there = np.flatnonzero(r.prompt_text)[::-1]
            text = np.zeros(prompts, dtype=np.uint64)
            text[r.codes[there]] = r.prompt_text[there]
            differs = there[r.prompt_text[there] != text[r.codes[there]]]
            other = np.zeros(prompts, dtype=np.int64)
            other[r.codes[differs]] = r.line[differs]
            at = np.zeros(prompts, dtype=np.int64)
            at[r.codes[there]] = r.line[there]
            rows |= {"text": text, "text_at": at, "text_place": other}
            if r.step is not None:
                values, codes = r.step
                told = np.array([digests.of_label(value) for value in values] + [0], dtype=np.uint64)[codes]
                there = np.flatnonzero(told)[::-1]
                step = np.zeros(prompts, dtype=np.uint64)
                step[r.codes[there]] = told[there]
                rows["step"] = step
        if r.characters is not None and r.length is not None:
            both = (r.characters >= 0) & ~np.isnan(r.length)
            characters, length = r.characters[both], r.length[both]
            self._add("characters", characters.sum())
            self._add("length_of_texts", length.sum())
            self._add("texts", characters.size)
            self._add("as_many_characters", np.count_nonzero(characters == length))
        self._digests()

    def _digests(self) -> None:
        """What stands for each response: its text, or else its numbers where there is a log-prob among them."""
        r = self.r
        numbers = digests.of_numbers(r.reward.size, (r.log_prob, r.old_log_prob, r.length))
        tells = np.zeros(r.reward.size, dtype=np.bool_)
        if r.log_prob is not None:
            tells = ~np.isnan(r.log_prob) & (r.log_prob != 0)
        digest = np.where(tells, numbers, np.uint64(0))
        record = digests.spread(numbers ^ r.reward.view(np.uint64))
        if r.response_text is not None:
            told = r.response_text > 0
            if r.characters is not None:
                told &= r.characters != 0
                tells |= r.characters >= LONG_CHARACTERS
            if r.length is not None:
                tells |= r.length >= LONG_TOKENS
            digest = np.where(told, digests.spread(r.response_text), digest)
            record = digests.spread(record ^ r.response_text)
        some = digest > 0
        if some.any():
            record = np.where(tells, record, np.uint64(0))
            self.seen.sample.add(digest[some], r.codes[some], r.line[some].astype(np.int64), record[some])
            self._add("told_apart", np.count_nonzero(some))


def _add_counts(counts: Counts, more: Mapping[Key | float | None, int]) -> None:
    """Add counts of values; beyond MANY_VALUES of them the rest is counted together."""
    for value, number in more.items():
        place = value if value in counts or len(counts) < MANY_VALUES else None
        counts[place] = counts.get(place, 0) + number
