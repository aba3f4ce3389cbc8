"""The input of the checks, and their findings: data only. Contains no check."""

from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from budget_cli.analysis.checks import catalogue
from budget_cli.analysis.loss import Loss
from budget_cli.analysis.penalty_in_reward import Penalty
from budget_cli.evidence.advantages import Advantages
from budget_cli.evidence.counters import FEW, Counters, Location
from budget_cli.evidence.per_prompt import PerPrompt
from budget_cli.groups.groups import Groups
from budget_cli.groups.moments import Floats
from budget_cli.ids import Key
from budget_cli.objective.settings import DEFAULT, Objective
from budget_cli.records.columns import Label, LeftOut, Rejection, Tally
from budget_cli.records.doubts import Doubt, FirstIds
from budget_cli.records.first_lengths import FirstLengths

if TYPE_CHECKING:
    from budget_cli.analysis.stored_advantages import StoredAdvantages  # which only dumps with advantages need


class Severity(IntEnum):
    """The severity of a finding; a larger value is worse."""

    info = 0
    warning = 1
    error = 2


class Evidence(NamedTuple):
    """A location that shows a finding."""

    source: str | None
    line: int | None  # 1-based
    column: int | None  # 1-based, where something is wrong in the line
    prompt_id: Key | None
    path: str | None = None  # of a record in a JSON document, which `line` counts


@dataclass(frozen=True)
class Finding:
    """Something wrong or suspicious in a dump."""

    code: str
    severity: str
    message: str  # what was found, with numbers
    why: str  # why it matters
    remedy: str
    count: int
    of: int
    unit: str  # responses, prompts, records or samples
    evidence: tuple[Evidence, ...]
    accepted: str | None = None  # why it does not count towards the verdict

    @property
    def rank(self) -> Severity:
        """The severity as a comparable value."""
        return Severity[self.severity]


class CheckInput(NamedTuple):
    """Everything that the checks look at."""

    loss: Loss
    groups: Groups
    counters: Counters
    advantages: Advantages  # as the trainer stored them
    stored: "StoredAdvantages | None"  # whose advantages those are; None: there are none, or they do not show it
    no_advantages: str  # which summary does not say what was stored; "": none
    per_prompt: PerPrompt | None  # None: one of the files is a summary, which has no individual records
    tally: Tally
    rejections: Sequence[Rejection]
    left_out: Sequence[LeftOut]  # the first places of each reason
    sources: Sequence[str]  # names, by source number
    first_rows: Sequence[int]  # per source, the row of the first prompt that it added
    thresholds: Mapping[str, float]
    has_texts: bool | None  # None: texts were not read
    lines_per_source: int  # a place is source number · lines_per_source + line
    penalty: Penalty | None  # that the rewards hold, fitted
    keys_not_compared: str  # why no duplicate keys were looked for; "": they were
    by_prompt_text: str  # the options that group by the text of the prompt; "": the lines make the groups
    doubts: Sequence[Doubt]  # of the first samples
    recurring: int  # prompts of later files that recur at full size, if most do
    later_prompts: int  # prompts of later files
    first_lengths: FirstLengths  # what those samples show of their lengths
    first_ids: FirstIds  # and of their answers, beside their ids
    steps: Collection[Label]  # of the responses, if prompts are those of a step; None: without one
    paths: Mapping[str, Sequence[tuple[int, str]]] = {}  # of JSON documents: the first records of lists, by source
    sampler_key: str = ""  # a key of the first records that is named like the log-probs of a sampler and is not read
    is_row: bool = False  # True if these are the responses with one label of several
    trained: Objective = DEFAULT
    is_cut: bool = False  # True if the labels are those of responses, so that a prompt may lie in several rows

    def threshold(self, name: str) -> float:
        """Return the threshold of this name."""
        return self.thresholds[name]

    @property
    def responses(self) -> int:
        """The number of responses."""
        return self.loss.responses

    @property
    def has_lengths(self) -> bool:
        """True if every response has a length."""
        return 0 < self.responses == self.groups.with_length

    @property
    def has_log_ratios(self) -> bool:
        """True if every response has both log-probs."""
        return 0 < self.responses == self.groups.with_log_ratio

    @property
    def is_penalised(self) -> bool:
        """True if there is a budget, β is above 0, and every response has a length."""
        c = self.loss.coefficients
        return c.token_budget is not None and c.budget_penalty_coef > 0 and self.has_lengths

    def row(self, name: str) -> Any:
        """Return one per-prompt quantity, which requires that no file is a summary; shape (prompts,)."""
        assert self.per_prompt is not None
        return self.per_prompt.row(name, len(self.groups))

    def of_advantages(self, name: str) -> Floats:
        """Return one of the sums of the stored advantages of each prompt; shape (prompts,)."""
        return self.advantages.column(name, len(self.groups))

    def prompts(self, mask: Any, placed: bool = True) -> tuple[Evidence, ...]:
        """Return the first prompts for which the mask is true, each at its first response.

        The evidence holds no location if `placed` is false, and only a source if one of the files is a summary.
        """
        return self.prompts_at(np.flatnonzero(mask)[:FEW].tolist(), placed)

    def prompts_at(self, rows: Sequence[int], placed: bool = True) -> tuple[Evidence, ...]:
        """Return the prompts of these rows, as `prompts` does."""
        if not placed or self.per_prompt is None:
            sources = [self.sources[bisect_right(self.first_rows, row) - 1] if placed else None for row in rows]
            keys = self.groups.keys()
            return tuple(Evidence(source, None, None, keys[row]) for source, row in zip(sources, rows, strict=True))
        return self.evidence(Location(int(self.row("place")[row]), row) for row in rows)

    def occurrences(self, *names: str) -> tuple[Evidence, ...]:
        """Return the first responses that a counter, or any of several, has counted."""
        counted = [self.counters.occurrences[name].first for name in names if name in self.counters.occurrences]
        return self.evidence(sorted(chain.from_iterable(counted))[:FEW])

    def evidence(self, locations: Iterable[Location]) -> tuple[Evidence, ...]:
        """Return the source, line and prompt id of each location."""
        return tuple(self.at(place, row) for place, row in locations)

    def at(self, place: int, row: int) -> Evidence:
        """Return the source and line of a place, and the id of the prompt with this row; row -1: no prompt."""
        source, line = divmod(place, self.lines_per_source)
        name, key = self.sources[source], self.groups.keys()[row] if row >= 0 else None
        return Evidence(name, line, None, key, self.path_of(name, line))

    def path_of(self, source: str, number: int) -> str | None:
        """Return the path of a record of a JSON document; None in a source of lines or rows."""
        paths = self.paths.get(source)
        if not paths:
            return None
        first, path = paths[bisect_right(paths, number, key=lambda each: each[0]) - 1]
        base, bracket, index = path.rpartition("[")
        return path if first == number else f"{base}{bracket}{int(index[:-1]) + number - first}]"


Findings = Iterator[Finding]


def finding(
    code: str,
    message: str,
    count: int,
    of: int,
    unit: str,
    evidence: Sequence[Evidence] = (),
    severity: str | None = None,
    remedy: str | None = None,
) -> Finding:
    """Return a finding worded as in the catalogue; its severity and remedy are the check's own unless given."""
    check = catalogue.CHECKS[code]
    remedy = remedy or check.remedy
    return Finding(code, severity or check.severity, message, check.why, remedy, count, of, unit, tuple(evidence))
