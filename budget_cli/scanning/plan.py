"""What a scan is to do (Plan, of which the fold knows Keep), its unit of work (Task), and the result of one (Part)."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from budget_cli.evidence.reward_sample import RewardSample
from budget_cli.groups.groups import Groups
from budget_cli.groups.moments import Layout
from budget_cli.records.columns import Label, LeftOut, Rejection, RejectionLimit, ResponseColumns, Tally
from budget_cli.records.jsonl import Limits
from budget_cli.schema.fields import Fields, TokenCounter
from budget_cli.sources.blocks import Block
from budget_cli.sources.local import Source

if TYPE_CHECKING:
    from budget_cli.evidence.observations import Observations
    from budget_cli.evidence.responses import ObservationSpec
    from budget_cli.records.delimited import Rows
    from budget_cli.records.parquet import RowGroup


class Keep(NamedTuple):
    """What to keep of the responses, wherever in a record their fields were; the fold knows no more than this."""

    layout: Layout
    rejections: RejectionLimit
    by: str = ""  # "": no breakdown; "file": one row per source; otherwise the name of an extra, one row per label
    hold: bool = False  # True to hold all responses until the end, for the page
    part_rows: bool = False  # True to note which prompts are in which part, for a second pass over a few of them
    observe: "ObservationSpec | None" = None  # what to observe in single responses; None: nothing
    observe_labels: bool = False  # True to observe the responses of each label of `by` apart, too
    responses: bool = False  # True to keep the responses that several rows make up, for what needs them again
    reward_sample: bool = False  # True to keep rewards and lengths of some responses of each block
    sources_apart: bool = False  # True to keep the sources side by side, for a summary, instead of adding them up
    lines_are_prompts: bool = False  # True if each line is one
    group_size: int = 0  # lines of a prompt; 0: not so
    has_rollouts: bool = False  # True if several rows may be one response
    tokenizer: TokenCounter | None = None  # that counts lengths

    def empty_observations(self) -> "Observations | None":
        """Observations of no response; None if nothing is observed."""
        if self.observe is None:
            return None
        from budget_cli.evidence.observations import Observations  # which only the checks need

        return Observations(self.observe.per_prompt)


class Plan(NamedTuple):
    """What to read from every record and what to keep of it; the same in every worker."""

    fields: Fields
    limits: Limits
    keep: Keep
    look_for_duplicate_keys: bool = False  # True to look for keys that occur twice in an object
    named: tuple[str, ...] = ()  # extras of which to note whether any response has them

    def keeping(self, **changes: Any) -> "Plan":
        """Return this plan with other values of these fields of `keep`."""
        return self._replace(keep=self.keep._replace(**changes))


def scan_plan(fields: Fields, layout: Layout, limits: Limits, **keep: Any) -> Plan:
    """Plan a scan of these fields; `keep` has the fields of `Keep` that do not follow from them."""
    follows = Keep(
        layout,
        limits.keep,
        lines_are_prompts=fields.group == "line",
        group_size=fields.group_size,
        has_rollouts=fields.has_rollouts,
        tokenizer=fields.tokenizer,
    )
    return Plan(fields, limits, follows._replace(**keep))


Unit: TypeAlias = (
    "Block | int | Rows | RowGroup | None"  # int: a block's number in a file read in ranges; None: a summary
)


class Task(NamedTuple):
    """The unit of work: a part of a source that can be read on its own."""

    source: Source
    unit: "Unit"
    before: int = 0  # lines of the source before it, where the prompts of a second pass depend on that


@dataclass(eq=False, repr=False)
class Part:
    """The result of one block."""

    groups: Groups
    tally: Tally
    lines: int
    rejections: list[Rejection]
    bytes: int
    by: dict[Label, Groups]  # the same responses, by label
    tallies: dict[Label, Tally]  # their records; a rejected record has no label
    observations: "Observations | None" = None
    reward_sample: RewardSample | None = None  # of the first responses, if the plan says so
    left_out: list[LeftOut] = field(default_factory=list)  # the first places of each reason
    steps: set[Label] = field(default_factory=set)  # of its responses, if prompts are those of a step
    has_named: dict[str, bool] = field(default_factory=dict)  # whether its responses have the extras of Plan.named
    observed: "dict[Label, Observations]" = field(default_factory=dict)  # by label, if the plan says so
    # of a JSON document: the number and the path of the first record of each list, where those after it count on
    paths: list[tuple[int, str]] = field(default_factory=list)
    rows: ResponseColumns | None = None  # if several rows may be one response: they are not in the groups yet
