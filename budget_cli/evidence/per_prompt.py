"""Responses of a block → a little of each prompt, and a sample of all responses. It adds, in the order of the input.

What checks need that compare responses with others to their prompt. Memory is O(prompts), and a bounded number of
responses. Knows no files: a place is a number that the scan makes of a source and a line.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from budget_cli.evidence import distinct_sample
from budget_cli.evidence.distinct_sample import DistinctSample
from budget_cli.evidence.responses import Floats, ObservationSpec, Responses
from budget_cli.groups.moments import quiet_overflow

LONG_CHARACTERS, LONG_TOKENS = 100, 32  # a text from here on is hardly ever written twice

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


class PerPrompt:
    """What is kept of each prompt, and the sample; `fold` adds a later part's."""

    def __init__(self) -> None:
        self.rows: dict[str, NDArray[Any]] = {}
        self.sample = DistinctSample()
        self.digested = 0  # responses that something stands for, in the sample or not
        self._prompts = 0  # of which something is in the rows

    @classmethod
    @quiet_overflow
    def from_responses(cls, spec: ObservationSpec, responses: Responses) -> "PerPrompt":
        """Those of this block; its places are its lines."""
        kept = cls()
        if responses.keys:
            _Block(kept, spec, responses).observe()
        return kept

    def merge(self, later: "PerPrompt", rows: NDArray[np.intp], offset: int) -> None:
        """Add those of a later part.

        Args:
            rows: the row of each of its prompts among all.
            offset: what makes a place of its lines.
        """
        self._merge_rows({name: later.row(name, rows.size) for name in later.rows}, rows, offset)
        self.sample.merge(later.sample, rows, offset)
        self.digested += later.digested

    def row(self, name: str, prompts: int) -> NDArray[Any]:
        """What is kept of each prompt under this name, in the order of the groups' rows."""
        held = self.rows.get(name, np.full(0, ROWS[name]))[:prompts]
        return np.concatenate([held, np.full(prompts - held.size, ROWS[name])]) if held.size < prompts else held

    def _merge_rows(self, later: Mapping[str, NDArray[Any]], rows: NDArray[np.intp], offset: int) -> None:
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
    """One block, of which something is kept."""

    def __init__(self, kept: PerPrompt, spec: ObservationSpec, responses: Responses) -> None:
        self.kept, self.spec, self.r = kept, spec, responses
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
        self.kept.rows["place"] = place
        if self.spec.budgets and self.spec.beta:
            self._best(self.spec.budgets[0], self.spec.beta)
        if r.advantage is not None:
            self._advantages(r.advantage)
        if r.prompt_text is not None:
            self._texts(r.prompt_text)
        self._digests()

    def _best(self, budget: int, beta: float) -> None:
        """The best reward of each prompt, the best adjusted reward, and that of the responses with the former."""
        r = self.r
        excess = np.zeros(r.reward.size)  # also of those without a length
        if r.length is not None:
            np.maximum(0.0, r.length - budget, out=excess, where=~np.isnan(r.length))
        adjusted = r.reward - beta * excess
        r_max = self._greatest(r.reward)
        best = r.reward == r_max[r.codes]
        a_of_best = self._greatest(np.where(best, adjusted, -np.inf))
        self.kept.rows |= {"r_max": r_max, "a_max": self._greatest(adjusted), "a_of_best": a_of_best}

    def _greatest(self, values: Floats) -> Floats:
        """Of each prompt's responses."""
        if self.starts is not None:
            return np.asarray(np.maximum.reduceat(values, self.starts))
        greatest = np.full(len(self.r.keys), -np.inf)
        np.maximum.at(greatest, self.r.codes, values)
        return greatest

    def _advantages(self, advantage: Floats) -> None:
        """Sums over each prompt."""
        known = ~np.isnan(advantage)
        codes, a = self.r.codes[known], advantage[known]
        prompts, rows = len(self.r.keys), self.kept.rows
        rows["with_advantage"] = np.bincount(codes, minlength=prompts).astype(np.float64)
        rows["advantage"] = np.bincount(codes, a, prompts)
        rows["advantage_squares"] = np.bincount(codes, a * a, prompts)

    def _texts(self, prompt_text: NDArray[np.uint64]) -> None:
        """What stands for each prompt's text and its step, and where another text was seen."""
        r, rows, prompts = self.r, self.kept.rows, len(self.r.keys)
        there = np.flatnonzero(prompt_text)[::-1]
        text = np.zeros(prompts, dtype=np.uint64)
        text[r.codes[there]] = prompt_text[there]
        differs = there[prompt_text[there] != text[r.codes[there]]]
        other = np.zeros(prompts, dtype=np.int64)
        other[r.codes[differs]] = r.line[differs]
        at = np.zeros(prompts, dtype=np.int64)
        at[r.codes[there]] = r.line[there]
        rows |= {"text": text, "text_at": at, "text_place": other}
        if r.step is not None:
            values, codes = r.step
            told = np.array([distinct_sample.label_digest(value) for value in values] + [0], dtype=np.uint64)[codes]
            there = np.flatnonzero(told)[::-1]
            step = np.zeros(prompts, dtype=np.uint64)
            step[r.codes[there]] = told[there]
            rows["step"] = step

    def _digests(self) -> None:
        """What stands for each response: its text, or else its numbers where there is a log-prob among them."""
        r = self.r
        numbers = distinct_sample.number_digests(r.reward.size, (r.log_prob, r.old_log_prob, r.length))
        tells = np.zeros(r.reward.size, dtype=np.bool_)
        if r.log_prob is not None:
            tells = ~np.isnan(r.log_prob) & (r.log_prob != 0)
        digest = np.where(tells, numbers, np.uint64(0))
        record = distinct_sample.mix(numbers ^ r.reward.view(np.uint64))
        if r.response_text is not None:
            told = r.response_text > 0
            if r.characters is not None:
                told &= r.characters != 0
                tells |= r.characters >= LONG_CHARACTERS
            if r.length is not None:
                tells |= r.length >= LONG_TOKENS
            digest = np.where(told, distinct_sample.mix(r.response_text), digest)
            record = distinct_sample.mix(record ^ r.response_text)
        some = digest > 0
        if some.any():
            record = np.where(tells, record, np.uint64(0))
            self.kept.sample.add(digest[some], r.codes[some], r.line[some].astype(np.int64), record[some])
            self.kept.digested = int(np.count_nonzero(some))
