"""Responses of a block → facts per prompt, and a sample of all responses; both merge in the order of the input.

Checks that compare the responses to a prompt need them. Memory is O(prompts) plus a bounded number of responses. Knows
no files: a place is a number that the scan makes of a source and a line.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from budget_cli.evidence import distinct_sample
from budget_cli.evidence.distinct_sample import DistinctSample
from budget_cli.evidence.first_prompts import FirstPrompts
from budget_cli.evidence.responses import Floats, ObservationSpec, Responses
from budget_cli.groups.moments import quiet_overflow

LONG_CHARACTERS, LONG_TOKENS = 100, 32  # a response of this size is hardly ever generated twice
# bits of the digest of a record
IDENTIFIES = np.uint64(1)  # only copies have it
BARE = np.uint64(2)  # of a reward and a length alone, which different responses have, too

# the facts of a prompt, and the value of each that means "none"
ROWS: dict[str, Any] = {
    "place": np.int64(0),  # of the first response
    "r_max": -np.inf,  # the highest reward
    "a_of_best": -np.inf,  # the highest adjusted reward among the responses with that reward
    "a_max": -np.inf,  # the highest adjusted reward of all responses
    "text": np.uint64(0),  # digest of the first prompt text
    "text_at": np.int64(0),  # place of that text
    "text_place": np.int64(0),  # place of the first text that differs from it
    "step": np.uint64(0),  # digest of the first step
}
HOLD_PLACES = ("place", "text_at", "text_place")


class PerPrompt:
    """Facts of each prompt, and the sample of responses; `merge` adds a later part's."""

    def __init__(self) -> None:
        self.rows: dict[str, NDArray[Any]] = {}
        self.sample = DistinctSample()
        self.first = FirstPrompts()
        self.digested = 0  # number of responses with a digest, sampled or not
        self._prompts = 0  # number of prompts with facts

    @classmethod
    @quiet_overflow
    def from_responses(cls, spec: ObservationSpec, responses: Responses) -> "PerPrompt":
        """Gather the facts of this block; its places are its lines."""
        facts = cls()
        if responses.keys:
            _Block(facts, spec, responses).observe()
        return facts

    def merge(self, later: "PerPrompt", rows: NDArray[np.intp], offset: int) -> None:
        """Add the facts of a later part.

        Args:
            later: the facts to add.
            rows: the row here of each prompt of the later part.
            offset: added to its places.
        """
        self._merge_rows({name: later.row(name, rows.size) for name in later.rows}, rows, offset)
        self.sample.merge(later.sample, rows, offset)
        self.first.merge(later.first, rows)
        self.digested += later.digested

    def row(self, name: str, prompts: int) -> NDArray[Any]:
        """Return this fact of each prompt, in the order of the rows; shape (prompts,)."""
        held = self.rows.get(name, np.full(0, ROWS[name]))[:prompts]
        return np.concatenate([held, np.full(prompts - held.size, ROWS[name])]) if held.size < prompts else held

    def _merge_rows(self, later: Mapping[str, NDArray[Any]], rows: NDArray[np.intp], offset: int) -> None:
        if not rows.size:
            return
        first, size = int(rows.min()), int(rows.max()) + 1
        for name in later:
            held = self.rows.get(name)
            if held is None or held.size < size:
                size_held = 0 if held is None else held.size
                grown = np.empty(max(size, size_held * 3 // 2), dtype=np.asarray(ROWS[name]).dtype)
                if held is not None:
                    grown[:size_held] = held
                grown[size_held:] = ROWS[name]
                self.rows[name] = grown
        if first >= self._prompts and rows.size == size - first:  # all are new, as in most dumps
            for name, values in later.items():
                moved = np.where(values > 0, values + offset, 0) if name in HOLD_PLACES else values
                self.rows[name][first:size] = moved
        else:
            mine = {name: self.rows[name][rows] for name in later}
            for name, values in merged_rows(mine, later, offset).items():
                self.rows[name][rows] = values
        self._prompts = max(self._prompts, size)


def merged_rows(a: Mapping[str, Any], b: Mapping[str, Any], offset: int) -> dict[str, Any]:
    """Merge the facts of two parts row by row; `a` came first, and `offset` is added to the places of `b`."""
    both = {"place": np.where(a["place"] > 0, a["place"], b["place"] + offset)}
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
    """Fills empty facts from one block."""

    def __init__(self, facts: PerPrompt, spec: ObservationSpec, responses: Responses) -> None:
        self.facts, self.spec, self.r = facts, spec, responses
        steps = np.diff(responses.codes)
        self.starts = None  # index of each prompt's first response, if the responses of every prompt lie together
        if np.all(steps >= 0):
            self.starts = np.append(0, np.flatnonzero(steps) + 1)

    def observe(self) -> None:
        """Gather everything that the block's columns allow."""
        r = self.r
        place = np.zeros(len(r.keys), dtype=np.int64)
        if self.starts is not None:
            place[:] = r.line[self.starts]
        else:
            place[r.codes[::-1]] = r.line[::-1]  # of repeated codes the last assignment stays: the first response
        self.facts.rows["place"] = place
        if self.spec.budgets and self.spec.beta:
            self._best(self.spec.budgets[0], self.spec.beta)
        if r.prompt_text is not None:
            self._texts(r.prompt_text)
        self._digests()
        if r.length is not None:
            self.facts.first.add(r.codes, r.reward, r.length)

    def _best(self, budget: int, beta: float) -> None:
        """Find the highest reward of each prompt, and the highest adjusted rewards of the two kinds in ROWS."""
        r = self.r
        excess = np.zeros(r.reward.size)  # stays 0 where the length is unknown
        if r.length is not None:
            np.maximum(0.0, r.length - budget, out=excess, where=~np.isnan(r.length))
        adjusted = r.reward - beta * excess
        r_max = self._greatest(r.reward)
        best = r.reward == r_max[r.codes]
        a_of_best = self._greatest(np.where(best, adjusted, -np.inf))
        self.facts.rows |= {"r_max": r_max, "a_max": self._greatest(adjusted), "a_of_best": a_of_best}

    def _greatest(self, values: Floats) -> Floats:
        """Highest value of each prompt; shape (prompts,)."""
        if self.starts is not None:
            return np.asarray(np.maximum.reduceat(values, self.starts))
        greatest = np.full(len(self.r.keys), -np.inf)
        np.maximum.at(greatest, self.r.codes, values)
        return greatest

    def _texts(self, prompt_text: NDArray[np.uint64]) -> None:
        """Digests of each prompt's text and step, and the place of the first differing text."""
        r, rows, prompts = self.r, self.facts.rows, len(self.r.keys)
        known = np.flatnonzero(prompt_text)[::-1]
        text = np.zeros(prompts, dtype=np.uint64)
        text[r.codes[known]] = prompt_text[known]
        differs = known[prompt_text[known] != text[r.codes[known]]]
        other = np.zeros(prompts, dtype=np.int64)
        other[r.codes[differs]] = r.line[differs]
        at = np.zeros(prompts, dtype=np.int64)
        at[r.codes[known]] = r.line[known]
        rows |= {"text": text, "text_at": at, "text_place": other}
        if r.step is not None:
            values, codes = r.step
            digests = np.array([distinct_sample.label_digest(value) for value in values] + [0], dtype=np.uint64)[codes]
            known = np.flatnonzero(digests)[::-1]
            step = np.zeros(prompts, dtype=np.uint64)
            step[r.codes[known]] = digests[known]
            rows["step"] = step

    def _digests(self) -> None:
        """Digest each response by its text, or by its numbers, and each record by both.

        Where there is neither a text nor a log-prob, the digest is that of the length and the reward, and so marked.
        """
        r = self.r
        numbers = distinct_sample.number_digests(r.reward.size, (r.log_prob, r.old_log_prob, r.length))
        identifies = np.zeros(r.reward.size, dtype=np.bool_)  # True if only copies of a record have its digest
        if r.log_prob is not None:
            identifies = ~np.isnan(r.log_prob) & (r.log_prob != 0)
        digest = np.where(identifies, numbers, np.uint64(0))
        record = distinct_sample.mix(numbers ^ r.reward.view(np.uint64))
        if r.response_text is not None:
            has_text = r.response_text > 0
            if r.characters is not None:
                has_text &= r.characters != 0
                identifies |= r.characters >= LONG_CHARACTERS
            if r.length is not None:
                identifies |= r.length >= LONG_TOKENS
            digest = np.where(has_text, distinct_sample.mix(r.response_text), digest)
            record = distinct_sample.mix(record ^ r.response_text)
        some, bare = digest > 0, np.zeros(r.reward.size, dtype=np.bool_)
        if r.length is not None:
            bare = ~some & ~np.isnan(r.length)
            digest = np.where(bare, record, digest)
        if some.any() or bare.any():
            record = np.where(identifies, record | IDENTIFIES, record & ~IDENTIFIES)
            record = np.where(bare, record | BARE, record & ~BARE)
            wanted = some | bare
            line = r.line[wanted].astype(np.int64)
            self.facts.sample.add(digest[wanted], r.codes[wanted], line, record[wanted])
            self.facts.digested = int(np.count_nonzero(some))
