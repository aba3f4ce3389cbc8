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
    """Where it was seen."""

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
    seen: Counters
    kept: PerPrompt | None  # None: there is a summary among the files, which has none
    tally: Tally
    rejections: Sequence[Rejection]
    sources: Sequence[str]  # by their number in a place
    begun_at: Sequence[int]  # the row of the first prompt that each of them brought
    thresholds: Mapping[str, float]
    texts: bool | None  # whether there are any; None: they were not asked for
    places: int  # lines of a source that places tell apart
    keys: bool  # whether keys that occur twice were looked for

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
        assert self.kept is not None
        return self.kept.row(name, len(self.groups))

    def prompts(self, mask: Any, placed: bool = True) -> tuple[Evidence, ...]:
        """The first of the prompts where the mask is true, each at its first response, or at no place.

        Of a response that is in a summary no more is known than its source.
        """
        rows = np.flatnonzero(mask)[:FEW].tolist()
        if not placed or self.kept is None:
            sources = [self.sources[bisect_right(self.begun_at, row) - 1] if placed else None for row in rows]
            keys = self.groups.keys()
            return tuple(Evidence(source, None, None, keys[row]) for source, row in zip(sources, rows, strict=True))
        return self.evidence(Location(int(self.row("place")[row]), row) for row in rows)

    def occurrences(self, name: str) -> tuple[Evidence, ...]:
        """The first responses that show something."""
        return self.evidence(self.seen.occurrences[name].first) if name in self.seen.occurrences else ()

    def evidence(self, seen: Iterable[Location]) -> tuple[Evidence, ...]:
        """Where things were seen: sources, lines and prompt ids."""
        keys, found = self.groups.keys(), []
        for place, row in seen:
            source, line = divmod(place, self.places)
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


def counted(number: int, noun: str) -> str:
    """`1 prompt`, `2 prompts`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def share(part: float, whole: float) -> str:
    """`25%`, `0.4%`."""
    percent = 100 * part / whole if whole else 0.0
    return f"{percent:.0f}%" if percent >= 10 or percent == 0 else f"{percent:.2g}%"
