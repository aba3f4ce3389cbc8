"""A scan: what all sources have given so far, folded in the order of the bytes. Reads nothing.

Results are folded in the order of the bytes, no matter which worker produced them: the blocks of a source into that
source's groups, and then the sources into the total. So the result has the same bits for any number of workers.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from budget_cli.errors import InputProblem
from budget_cli.evidence.reward_sample import RewardSample
from budget_cli.groups.groups import Groups, returning
from budget_cli.records.columns import Label, LabelColumn, LeftOut, Rejection, ResponseColumns, Tally, merge_left_out
from budget_cli.scanning.parts import merge_labels, merge_named, require_few_labels, sample_rewards, take
from budget_cli.scanning.plan import Keep, Part
from budget_cli.scanning.rollouts import Digests, Rollouts, make_prompts_of_lines, rollout_digests
from budget_cli.sources.local import Source

if TYPE_CHECKING:
    from budget_cli.evidence.observations import Observations

LINES_PER_SOURCE = 1 << 40  # place = number of the source · LINES_PER_SOURCE + line


@dataclass(eq=False, repr=False)
class SourceResult:
    """The result of one source."""

    name: str
    groups: Groups
    observations: "Observations | None" = None  # its places are lines; None: responses were not observed
    by: dict[Label, Groups] = field(default_factory=dict)  # the same responses, by label
    observed: "dict[Label, Observations]" = field(default_factory=dict)  # the same, if the plan observes labels
    rollouts: Rollouts | None = None  # rows that make up responses, until the source is closed
    part_rows: list[NDArray[np.int32] | None] = field(default_factory=list)  # as in the scan, of this source's groups


@dataclass(eq=False, repr=False)
class Summary:
    """The content of a summary, ready to be folded."""

    source_results: list[SourceResult]  # in order
    tally: Tally
    rejections: list[Rejection]
    incomplete: list[tuple[str, str]]  # sources that could not be read to their end, and why
    bytes: int
    steps: set[Label] = field(default_factory=set)  # of its responses, if prompts are those of a step
    left_out: list[LeftOut] = field(default_factory=list)  # the first places of each reason
    reward_sample: RewardSample | None = None  # of all responses, if it was asked for


@dataclass(eq=False, repr=False)
class ReadSoFar:
    """Records and bytes read so far, for the progress line."""

    tally: Tally = field(default_factory=Tally)
    bytes: int = 0


@dataclass(eq=False, repr=False)
class Scan:
    """The result of all sources that have been folded in.

    `fold` takes the outcomes of tasks in the order of the tasks, `fold_scan` finished scans in the order of their
    sources, and `close_source` ends the last source.
    """

    groups: Groups  # the total; complete once the last source is closed
    source_results: list[SourceResult] = field(default_factory=list)  # if sources are kept apart
    tally: Tally = field(default_factory=Tally)
    rejections: list[Rejection] = field(default_factory=list)  # as many as the plan keeps; `tally` counts all of them
    left_out: list[LeftOut] = field(default_factory=list)  # the first places of each reason; `tally` counts all
    problems: list[InputProblem] = field(default_factory=list)  # sources that could not be read to their end
    notes: list[str] = field(default_factory=list)
    bytes: int = 0
    lines: Counter[str] = field(default_factory=Counter)  # physical lines so far, by source
    lines_before: list[int] = field(default_factory=list)  # each part, in its source
    # of each part: the rows of its prompts, if the plan notes them; None: only the whole source's are known
    part_rows: list[NDArray[np.int32] | None] = field(default_factory=list)
    by: dict[Label, Groups] = field(default_factory=dict)
    observed: "dict[Label, Observations]" = field(default_factory=dict)  # by label
    first_rows_by: dict[Label, list[int]] = field(default_factory=dict)  # as `first_rows`, by label; of the last
    # sources, which do not have the label, there may be none
    tallies: dict[Label, Tally] = field(default_factory=dict)
    observations: "Observations | None" = None  # None: the plan observes nothing
    sources: list[str] = field(default_factory=list)  # names; the index is the number of the source in a place
    first_rows: list[int] = field(default_factory=list)  # number of prompts before each source was added
    steps: set[Label] = field(default_factory=set)  # of all responses, if prompts are those of a step
    # prompts of all sources but the first, counted again in each; of sources kept apart, once they are written
    later_prompts: int = 0
    recurring: int = 0  # those of them that an earlier source has with as many responses
    paths: dict[str, list[tuple[int, str]]] = field(default_factory=dict)  # by source that is a document: `Part.paths`
    has_named: dict[str, bool] = field(default_factory=dict)  # whether any response has the extras of Plan.named
    copied_rows: int = 0  # rows of rollouts that were written before, which count once
    rollouts: Digests = field(default_factory=Digests)  # of all sources
    cut_rollouts: int = 0  # those that an earlier source has, too
    reward_sample: RewardSample = field(default_factory=RewardSample)  # of the first responses of blocks
    without_rollout: int = 0  # responses without a rollout_id, if the plan folds the rows of rollouts
    broken: set[Source] = field(default_factory=set)  # sources that are not read any further

    responses: dict[str, ResponseColumns] = field(default_factory=dict)  # by source, if the plan keeps them

    _source: Source | None = None  # the source being read
    _current: SourceResult | None = None  # its result so far

    @classmethod
    def empty(cls, keep: Keep) -> "Scan":
        """Create the scan of no sources."""
        return cls(Groups(keep.layout, keep.hold), observations=keep.empty_observations())

    def fold(self, source: Source, outcome: "Part | Summary | InputProblem", keep: Keep) -> None:
        """Add the outcome of the next task. After a problem, further outcomes of the same source are ignored."""
        if source in self.broken:
            return
        if isinstance(outcome, InputProblem):
            self.broken.add(source)
            self.problems.append(outcome)
        elif isinstance(outcome, Summary):
            self._fold_summary(outcome, keep)
        else:
            self._fold_part(source, outcome, keep)

    def _fold_part(self, source: Source, part: Part, keep: Keep) -> None:
        before = self.lines[source.name]
        if keep.group_size and part.lines != part.tally.read + part.tally.skipped:
            self.broken.add(source)
            advice = "remove empty lines, and write one record per line"
            self.problems.append(InputProblem(source.name, f"--group-size needs a record on every line: {advice}"))
            return
        self.lines_before.append(before)
        if keep.lines_are_prompts:  # a worker knows the line's number only within its block
            for groups in {id(groups): groups for groups in (part.groups, *part.by.values())}.values():
                groups.rename(lambda line: f"{source.name}:{before + int(line)}")
        if source != self._source or self._current is None:
            self.close_source(keep)
            empty = Groups(keep.layout, keep.hold)
            self._source, self._current = source, SourceResult(source.name, empty, keep.empty_observations())
        current = self._current
        if part.rows is not None:
            current.rollouts = current.rollouts or Rollouts(keep.has_rollouts)
            current.rollouts.add(part.rows, before)
        rows = current.groups.merge(part.groups)
        if keep.part_rows:
            current.part_rows.append(None if part.rows is not None else rows.astype(np.int32))
        if current.observations is not None and part.observations is not None:
            current.observations.merge(part.observations, rows, before)
        merge_labels((current.by, current.observed), (part.by, part.observed), keep, before)
        for label, tally in part.tallies.items():
            self.tallies.setdefault(label, Tally()).merge(tally)
        if keep.by != "file":
            require_few_labels(len(self.tallies), self.tallies)
        self.tally.merge(part.tally)
        self.steps |= part.steps
        if part.paths:
            self.paths[source.name] = part.paths
        merge_named(self.has_named, part.has_named)
        if part.reward_sample is not None:
            self.reward_sample.merge(part.reward_sample)
        self.bytes += part.bytes
        rejections = [one._replace(source=source.name, line=before + one.line) for one in part.rejections]
        keep.rejections.merge(self.rejections, rejections)
        places = [one._replace(source=source.name, line=before + one.line) for one in part.left_out]
        merge_left_out(self.left_out, places)
        self.lines[source.name] += part.lines

    def _fold_summary(self, summary: Summary, keep: Keep) -> None:
        """Add a summary source by source, as if the sources were read here."""
        for result in summary.source_results:
            self.close_source(keep)
            self._current = result
        self.tally.merge(summary.tally)
        self.steps |= summary.steps
        if summary.reward_sample is not None:
            self.reward_sample.merge(summary.reward_sample)
        self.bytes += summary.bytes
        keep.rejections.merge(self.rejections, summary.rejections)
        merge_left_out(self.left_out, summary.left_out)
        self.problems += [InputProblem(name, problem) for name, problem in summary.incomplete]

    def close_source(self, keep: Keep) -> None:
        """End the source being read: add its result to the total, or keep it apart if that is to be kept."""
        result, source, self._source, self._current = self._current, self._source, None, None
        if result is None:
            return
        if result.rollouts is not None:
            self._take_responses(result, result.rollouts, keep)
        size, lines = keep.group_size, self.lines[result.name]
        if size and lines % size and source not in self.broken:
            found = f"found {lines:,} lines: the last group has {lines % size}"
            self.problems.append(InputProblem(result.name, f"expected groups of {size} lines (--group-size), {found}"))
        if keep.sources_apart:
            self.source_results.append(result)
        else:
            before = len(self.groups)
            if self.groups.responses:
                rows = self.groups.merge(result.groups)
                self.later_prompts += rows.size
                self.recurring += returning(self.groups.column("n")[rows], result.groups.column("n"))
            else:
                self.groups, rows = result.groups, np.arange(len(result.groups))
            self.part_rows += [None if part is None else rows[part].astype(np.int32) for part in result.part_rows]
            if self.observations is not None and result.observations is not None:
                self.first_rows.append(before)
                self.observations.merge(result.observations, rows, len(self.sources) * LINES_PER_SOURCE)
        for label in result.observed:
            firsts = self.first_rows_by.setdefault(label, [])
            firsts += [len(self.by.get(label, ()))] * (len(self.sources) + 1 - len(firsts))
        places = len(self.sources) * LINES_PER_SOURCE
        merge_labels((self.by, self.observed), (result.by, result.observed), keep, places)
        self.sources.append(result.name)

    def _take_responses(self, result: SourceResult, rollouts: Rollouts, keep: Keep) -> None:
        """Take the moments and observations of the responses that a source's rows make up."""
        columns = rollouts.responses()
        if keep.group_size:
            make_prompts_of_lines(columns, keep.group_size, result.name)
        taken = take(columns, result.name, keep)
        result.groups, result.observations, result.observed = taken.groups, taken.observations, taken.observed
        result.by |= taken.by  # beside labels of which all samples are left out
        result.rollouts = None
        if keep.has_rollouts:
            labels = columns.extras["rollout_id"]
            assert isinstance(labels, LabelColumn)
            self.without_rollout += int(np.count_nonzero(labels.codes < 0))
            self.copied_rows += rollouts.copies
            self.cut_rollouts += int(np.count_nonzero(~self.rollouts.add(rollout_digests(columns))))
            if result.observations is not None and rollouts.copies:
                rows = result.groups.rows([copy.prompt_id for copy in rollouts.first]).tolist()
                from budget_cli.evidence.counters import COPIED_ROWS, Location, Occurrences

                places = [Location(copy.line, row) for copy, row in zip(rollouts.first, rows, strict=True)]
                result.observations.counters.occurrences[COPIED_ROWS] = Occurrences(rollouts.copies, places)
        self.tally.length_origins += columns.length_origins(keep.tokenizer)
        if keep.reward_sample:
            self.reward_sample.merge(sample_rewards(columns))
        for label, tally in taken.tallies.items():
            self.tallies.setdefault(label, Tally()).merge(tally)
        if keep.responses:
            self.responses[result.name] = columns

    def fold_scan(self, later: "Scan", keep: Keep) -> None:
        """Add the finished scan of the next source, which holds records and is no summary."""
        self.close_source(keep)
        if keep.sources_apart:
            self.source_results += later.source_results
            self.sources += later.sources
        else:
            for name in later.sources:  # one name, or none if the source is empty
                self._current = SourceResult(name, later.groups, later.observations, later.by, later.observed)
            self.close_source(keep)
        self.tally.merge(later.tally)
        for label, tally in later.tallies.items():
            self.tallies.setdefault(label, Tally()).merge(tally)
        if keep.by != "file":
            require_few_labels(len(self.tallies), self.tallies)
        self.steps |= later.steps
        self.paths |= later.paths
        merge_named(self.has_named, later.has_named)
        self.responses |= later.responses
        self.reward_sample.merge(later.reward_sample)
        self.without_rollout += later.without_rollout
        self.copied_rows += later.copied_rows
        self.cut_rollouts += later.cut_rollouts + self.rollouts.merge(later.rollouts)
        self.bytes += later.bytes
        keep.rejections.merge(self.rejections, later.rejections)
        merge_left_out(self.left_out, later.left_out)
        self.problems += later.problems
        self.notes += later.notes
        self.lines.update(later.lines)
