"""What a scan is told, what it does next, and what it has so far. Reads nothing.

The order of folding is that of the bytes, whoever did the work, so the result is the same to the last bit for any
number of workers: the blocks of a source are folded into that source's groups, and the sources into the total.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from budget_cli.errors import InputProblem
from budget_cli.evidence.observations import Observations
from budget_cli.evidence.responses import ObservationSpec
from budget_cli.groups.groups import Groups
from budget_cli.groups.moments import Layout
from budget_cli.records.columns import Label, Rejection, Tally
from budget_cli.records.jsonl import Limits
from budget_cli.schema.fields import Fields
from budget_cli.sources.blocks import Block
from budget_cli.sources.local import Source

if TYPE_CHECKING:
    from budget_cli.records.parquet import RowGroup

PLACES = 1 << 40  # a place is source number · PLACES + line


@dataclass(frozen=True)
class Plan:
    """What to read from every record and what to keep of it; the same in every worker."""

    fields: Fields
    layout: Layout
    limits: Limits
    by: str = ""  # "": no rows; "file": a row a source; else the label that is read as this extra
    sample: int = 0  # responses to keep of some prompts
    watch: ObservationSpec | None = None  # what to look for in single responses; None: nothing
    repeated_keys: bool = False  # whether to look for keys that occur twice in an object
    apart: bool = False  # what the sources give is kept side by side, for a summary, and makes no total

    def no_observations(self) -> Observations | None:
        """What is seen of no response, if single responses are looked at."""
        return None if self.watch is None else Observations(self.watch.per_prompt)


class Task(NamedTuple):
    """A block to be read: the block itself, or its number in a file read in ranges; a row group; None: a summary."""

    source: Source
    block: "Block | int | RowGroup | None"


@dataclass
class Part:
    """What one block gave."""

    groups: Groups
    tally: Tally
    lines: int
    rejections: list[Rejection]
    bytes: int
    by: dict[Label, Groups]  # the same responses, by label
    tallies: dict[Label, Tally]  # their records; a rejected one has no label
    observations: Observations | None = None


@dataclass
class SourceResult:
    """What one source gave."""

    name: str
    groups: Groups
    observations: Observations | None = None  # its places are lines; None: nobody looked
    by: dict[Label, Groups] = field(default_factory=dict)  # the same responses, by label


@dataclass
class Summary:
    """What a summary holds, ready to be folded."""

    parts: list[SourceResult]  # in order
    tally: Tally
    rejections: list[Rejection]
    incomplete: list[tuple[str, str]]  # sources that could not be read to their end, and why
    bytes: int


@dataclass
class Progressed:
    """How far the second pass is."""

    tally: Tally = field(default_factory=Tally)
    bytes: int = 0


@dataclass
class Scan:
    """What all the sources gave."""

    groups: Groups  # the total, once the scan is done
    parts: list[SourceResult] = field(default_factory=list)  # of each source, where the plan keeps them apart
    tally: Tally = field(default_factory=Tally)
    rejections: list[Rejection] = field(default_factory=list)  # those that the plan keeps; tally has the counts
    problems: list[InputProblem] = field(default_factory=list)  # sources that could not be read to their end
    notes: list[str] = field(default_factory=list)
    bytes: int = 0
    lines: Counter[str] = field(default_factory=Counter)  # physical lines so far, by source
    by: dict[Label, Groups] = field(default_factory=dict)
    tallies: dict[Label, Tally] = field(default_factory=dict)
    observations: Observations | None = None  # where the plan says what to watch for
    sources: list[str] = field(default_factory=list)  # their names, by their number in a place
    begun_at: list[int] = field(default_factory=list)  # how many prompts there were before each of them

    broken: set[Source] = field(default_factory=set)  # sources of which no more is read

    _source: Source | None = None  # being read
    _of_source: SourceResult | None = None  # what it gave so far

    @classmethod
    def begun(cls, plan: Plan) -> "Scan":
        """Of no source yet."""
        return cls(Groups(plan.layout, plan.sample), observations=plan.no_observations())

    def receive(self, source: Source, outcome: "Part | Summary | InputProblem", plan: Plan) -> None:
        """Add what became of the next task of this source."""
        if source in self.broken:
            return
        if isinstance(outcome, InputProblem):
            self.broken.add(source)
            self.problems.append(outcome)
        elif isinstance(outcome, Summary):
            self.take(outcome, plan)
        else:
            self.fold(source, outcome, plan)

    def fold(self, source: Source, part: Part, plan: Plan) -> None:
        """Add the next block of this source."""
        before = self.lines[source.name]
        if plan.fields.group == "line":  # a worker knows only how far into its block a line is
            for groups in {id(groups): groups for groups in (part.groups, *part.by.values())}.values():
                groups.rename(lambda line: f"{source.name}:{before + int(line)}")
        if source != self._source or self._of_source is None:
            self.settle(plan)
            empty = Groups(plan.layout, plan.sample)
            self._source, self._of_source = source, SourceResult(source.name, empty, plan.no_observations())
        so_far = self._of_source
        rows = so_far.groups.fold(part.groups)
        if so_far.observations is not None and part.observations is not None:
            so_far.observations.fold(part.observations, rows, before)
        for label, groups in part.by.items():
            so_far.by.setdefault(label, Groups(plan.layout)).fold(groups)
            self.tallies.setdefault(label, Tally()).merge(part.tallies[label])
        self.tally.merge(part.tally)
        self.bytes += part.bytes
        rejections = [one._replace(source=source.name, line=before + one.line) for one in part.rejections]
        plan.limits.keep.merge(self.rejections, rejections)
        self.lines[source.name] += part.lines

    def take(self, summary: Summary, plan: Plan) -> None:
        """Add what was summarized elsewhere: source by source, as if they were read here."""
        for part in summary.parts:
            self.settle(plan)
            self._of_source = part
        self.tally.merge(summary.tally)
        self.bytes += summary.bytes
        plan.limits.keep.merge(self.rejections, summary.rejections)
        self.problems += [InputProblem(name, problem) for name, problem in summary.incomplete]

    def settle(self, plan: Plan) -> None:
        """Fold what the source gave into the total, or put it beside what others gave."""
        part, self._source, self._of_source = self._of_source, None, None
        if part is None:
            return
        if plan.apart:
            self.parts.append(part)
        else:
            before = len(self.groups)
            if self.groups.responses:
                rows = self.groups.fold(part.groups)
            else:
                self.groups, rows = part.groups, np.arange(len(part.groups))
            if self.observations is not None and part.observations is not None:
                self.begun_at.append(before)
                self.observations.fold(part.observations, rows, len(self.sources) * PLACES)
        self.sources.append(part.name)
        for label, groups in part.by.items():
            self.by.setdefault(label, Groups(plan.layout)).fold(groups)

    def add(self, later: "Scan", plan: Plan) -> None:
        """Add the finished scan of one later source that holds records."""
        self.settle(plan)
        if plan.apart:
            self.parts += later.parts
            self.sources += later.sources
        else:
            for name in later.sources:  # none, if it is empty
                self._of_source = SourceResult(name, later.groups, later.observations, later.by)
            self.settle(plan)
        self.tally.merge(later.tally)
        for label, tally in later.tallies.items():
            self.tallies.setdefault(label, Tally()).merge(tally)
        self.bytes += later.bytes
        plan.limits.keep.merge(self.rejections, later.rejections)
        self.problems += later.problems
        self.notes += later.notes
        self.lines.update(later.lines)
