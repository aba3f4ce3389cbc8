"""What a check looks at, and what it says. No check is here."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np

from budget_cli.analysis.checks import catalogue
from budget_cli.analysis.loss import Loss
from budget_cli.evidence.counters import FEW, Counters, Location
from budget_cli.evidence.per_prompt import PerPrompt
from budget_cli.groups.groups import Groups
from budget_cli.ids import Key
from budget_cli.records.columns import Rejection, Tally


class Severity(IntEnum):
    """How bad it is; the larger the worse."""

    info = 0
    warning = 1
    error = 2


class Evidence(NamedTuple):
    """Where it was counters."""

    source: str | None
    line: int | None  # 1-based
    column: int | None  # 1-based, where something is wrong in the line
    prompt_id: Key | None


@dataclass(frozen=True)
class Finding:
    """Something wrong or suspicious."""

    code: str
    severity: str
    message: str  # what, with its numbers
    why: str  # it matters
    remedy: str
    count: int
    of: int
    unit: str  # responses, prompts or records
    evidence: tuple[Evidence, ...]
    accepted: str | None = None  # why it does not count for the verdict

    @property
    def rank(self) -> Severity:
        """Its severity, to be compared."""
        return Severity[self.severity]


class CheckInput(NamedTuple):
    """What the checks look at."""

    loss: Loss
    groups: Groups
    counters: Counters
    per_prompt: PerPrompt | None  # None: one of the files is a summary, which holds no single records
    tally: Tally
    rejections: Sequence[Rejection]
    sources: Sequence[str]  # names, by source number
    first_rows: Sequence[int]  # per source, the row of the first prompt that it added
    thresholds: Mapping[str, float]
    has_texts: bool | None  # None: texts were not read
    lines_per_source: int  # a place is source number · lines_per_source + line
    duplicate_keys: bool  # True if duplicate keys were looked for

    def threshold(self, name: str) -> float:
        """The threshold of this name."""
        return self.thresholds[name]

    @property
    def responses(self) -> int:
        """All of them."""
        return self.loss.responses

    @property
    def has_lengths(self) -> bool:
        """Whether every response has a length."""
        return 0 < self.responses == self.groups.with_length

    @property
    def has_log_ratios(self) -> bool:
        """Whether every response has both log-probs."""
        return 0 < self.responses == self.groups.with_log_ratio

    @property
    def is_penalised(self) -> bool:
        """Whether there are penalties to be looked at."""
        c = self.loss.coefficients
        return c.token_budget is not None and c.budget_penalty_coef > 0 and self.has_lengths

    def row(self, name: str) -> Any:
        """What was kept of each prompt, where something was; shape (prompts,)."""
        assert self.per_prompt is not None
        return self.per_prompt.row(name, len(self.groups))

    def prompts(self, mask: Any, placed: bool = True) -> tuple[Evidence, ...]:
        """The first of the prompts where the mask is true, each at its first response, or at no place.

        Of a response that is in a summary no more is known than its source.
        """
        rows = np.flatnonzero(mask)[:FEW].tolist()
        if not placed or self.per_prompt is None:
            sources = [self.sources[bisect_right(self.first_rows, row) - 1] if placed else None for row in rows]
            keys = self.groups.keys()
            return tuple(Evidence(source, None, None, keys[row]) for source, row in zip(sources, rows, strict=True))
        return self.evidence(Location(int(self.row("place")[row]), row) for row in rows)

    def occurrences(self, name: str) -> tuple[Evidence, ...]:
        """The first responses that show something."""
        return self.evidence(self.counters.occurrences[name].first) if name in self.counters.occurrences else ()

    def evidence(self, locations: Iterable[Location]) -> tuple[Evidence, ...]:
        """Where things were seen: sources, lines and prompt ids."""
        keys, found = self.groups.keys(), []
        for place, row in locations:
            source, line = divmod(place, self.lines_per_source)
            found.append(Evidence(self.sources[source], line, None, keys[row] if row >= 0 else None))
        return tuple(found)


Findings = Iterator[Finding]


def finding(
    code: str,
    message: str,
    count: int,
    of: int,
    unit: str,
    evidence: Sequence[Evidence] = (),
    severity: str | None = None,
) -> Finding:
    """A finding with the words of the catalogue; its severity is the check's own unless said otherwise."""
    check = catalogue.CHECKS[code]
    return Finding(code, severity or check.severity, message, check.why, check.remedy, count, of, unit, tuple(evidence))
