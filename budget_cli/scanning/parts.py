"""The decoded columns of a block → a part of a scan: moments by prompt and by label, and observations.

Joins records, groups and evidence, which do not know each other.
"""

from typing import Any

import numpy as np

from budget_cli.evidence.observations import Observations
from budget_cli.evidence.responses import Responses
from budget_cli.groups.groups import Groups
from budget_cli.records.columns import Decoded, Label, LabelColumn, ResponseColumns, Tally, compact_keys
from budget_cli.records.record import part_of_id
from budget_cli.scanning.state import Part, Plan
from budget_cli.sources.local import Source


def part_from(decoded: Decoded, source: Source, size: int, plan: Plan) -> Part:
    """Take the moments and the observations of a block of `size` bytes, whose prompts are those of the plan."""
    groups = groups_from(decoded.columns, plan)
    by, tallies = _by_label(decoded, groups, source, plan)
    observations = None
    if plan.observe is not None:
        observations = Observations.from_responses(plan.observe, _responses(decoded.columns))
    return Part(groups, decoded.tally, decoded.lines, decoded.rejections, size, by, tallies, observations)


def _by_label(
    decoded: Decoded, groups: Groups, source: Source, plan: Plan
) -> tuple[dict[Label, Groups], dict[Label, Tally]]:
    """Split the groups and the record counts by label."""
    if not plan.by:
        return {}, {}
    if plan.by == "file":
        return {source.name: groups}, {source.name: decoded.tally}
    columns = decoded.columns
    labels = columns.extras[plan.by]
    assert isinstance(labels, LabelColumn)
    by: dict[Label, Groups] = {}
    tallies: dict[Label, Tally] = {}
    for code in np.unique(labels.codes).tolist():
        of_label = compact_keys(columns.select(labels.codes == code))
        label = labels.values[code] if code >= 0 else None
        lines = np.unique(of_label.line).size
        by[label], tallies[label] = groups_from(of_label, plan), Tally(read=lines, used=lines)
    return by, tallies


def groups_from(columns: ResponseColumns, plan: Plan) -> Groups:
    """Take the moments of these responses."""
    keys, codes, log_ratio = columns.keys, columns.codes, columns.log_ratio
    return Groups.from_responses(plan.layout, keys, codes, columns.reward, columns.length, log_ratio, plan.sample)


def under_prompts(decoded: Decoded, source: Source, plan: Plan) -> Decoded:
    """Make the source part of the prompt ids where the plan says so; changes the columns in place."""
    columns = decoded.columns
    if plan.fields.group == "file":
        columns.keys = [source.name for _ in columns.keys[:1]]
        columns.codes = np.zeros_like(columns.codes)
    elif plan.fields.id_file_prefix is not None:
        name = source.name.removeprefix(plan.fields.id_file_prefix)
        columns.keys = [f"{name}:{part_of_id(key)}" for key in columns.keys]
    return decoded


def _responses(columns: ResponseColumns) -> Responses:
    """The columns of a block as evidence takes them, which does not know how they were read."""
    extras: Any = columns.extras
    finish_reason, step = extras.get("finish_reason"), extras.get("step")
    prompt_text, response_text = extras.get("prompt_text"), extras.get("response_text")
    return Responses(
        columns.keys,
        columns.codes,
        columns.line,
        columns.reward,
        columns.length,
        columns.log_prob,
        columns.old_log_prob,
        columns.tokens,
        extras.get("advantage"),
        finish_reason and (finish_reason.values, finish_reason.codes),
        step and (step.values, step.codes),
        prompt_text and prompt_text.digest,
        response_text and response_text.digest,
        response_text and response_text.characters,
    )
