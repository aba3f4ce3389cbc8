"""The decoded columns of a block → a part of a scan: moments by prompt and by label, and observations.

Joins records, groups and evidence, which do not know each other.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from budget_cli.errors import InputProblem, UsageProblem
from budget_cli.evidence.reward_sample import RewardSample
from budget_cli.groups.groups import Groups
from budget_cli.groups.moments import Floats, Layout, OwnBudgets
from budget_cli.ids import Key, Packed
from budget_cli.objective.settings import MOST_TOKENS
from budget_cli.records.columns import (
    Decoded,
    ExtraColumn,
    Label,
    LabelColumn,
    ResponseColumns,
    Tally,
    TextColumn,
    compact_keys,
)
from budget_cli.records.record import part_of_id
from budget_cli.scanning.plan import Keep, Part, Plan
from budget_cli.scanning.rollouts import is_numbered, one_row_per_rollout, rows_of
from budget_cli.schema.fields import BINS, COMPARED, PAIRS, SAMPLER, compared
from budget_cli.sources.local import Source

if TYPE_CHECKING:
    from budget_cli.evidence.observations import Observations
    from budget_cli.evidence.responses import Responses

SAMPLED = 512  # responses of a block
MOST_LABELS = 10_000  # of --by: each costs a table, and a row of the result


def part_from(decoded: Decoded, source: Source, size: int, plan: Plan) -> Part:
    """Take the moments and the observations of a block of `size` bytes, whose prompts are those of the plan.

    Where several rows may be one response, or the prompt depends on where in the source a line is, the rows themselves
    are the part: only the fold knows the rest.
    """
    columns, tally, keep = decoded.columns, decoded.tally, plan.keep
    if plan.fields.has_rollouts or plan.fields.group_size:
        groups = Groups(keep.layout, keep.hold)
        part = Part(groups, tally, decoded.lines, decoded.rejections, size, {}, {}, keep.empty_observations())
        part.rows = columns
        if plan.fields.has_rollouts and not is_numbered(columns).any():  # the fold looks for copies of numbered rows
            part.rows = one_row_per_rollout(columns)
        tally.length_origins.clear()  # counted by response
        if keep.by == "file":  # the rows are counted once they are responses
            part.by[source.name] = Groups(keep.layout)
            part.tallies[source.name] = replace(tally, read=tally.read - tally.used, used=0)
    else:
        taken = take(columns, source.name, keep, tally)
        part = Part(taken.groups, tally, decoded.lines, decoded.rejections, size, taken.by, taken.tallies)
        part.observations, part.observed = taken.observations, taken.observed
        if keep.reward_sample:
            part.reward_sample = sample_rewards(columns)
    part.left_out, part.paths = decoded.left_out, decoded.paths
    if decoded.left_out_by:
        _add_left_out(part, decoded, plan)
    if plan.fields.prompts_of_steps:
        part.steps = _steps_in(columns)
    if plan.named and columns.reward.size:
        part.has_named = {name: _has_any(columns.extras[name]) for name in plan.named}
    return part


def merge_named(found: dict[str, bool], later: Mapping[str, bool]) -> None:
    """Merge what is known of `Plan.named` in a later part."""
    for name, has_any in later.items():
        found[name] = found.get(name, False) or has_any


def _has_any(column: ExtraColumn) -> bool:
    """True if any response has this optional field."""
    if isinstance(column, LabelColumn):
        return bool((column.codes >= 0).any())
    return bool(column.digest.any() if isinstance(column, TextColumn) else not np.isnan(column).all())


class Taken(NamedTuple):
    """What a scan takes of some responses; `by` and what follows it are by label."""

    groups: Groups
    observations: "Observations | None"
    by: dict[Label, Groups]
    tallies: dict[Label, Tally]
    observed: "dict[Label, Observations]"


def take(columns: ResponseColumns, source: str, keep: Keep, tally: Tally | None = None) -> Taken:
    """Take the groups, the records and the observations of these responses, together and by label.

    Args:
        columns: the responses.
        source: the name of their source.
        keep: what to keep of them.
        tally: the records that hold them; None: one per row.
    """
    groups, observations = groups_from(columns, keep.layout, keep.hold, source), _observations(columns, keep)
    if keep.by == "file":
        origins = columns.length_origins(keep.tokenizer)
        of_rows = Tally(groups.row_count, groups.row_count, length_origins=origins)
        taken = Taken(groups, observations, {source: groups}, {source: tally or of_rows}, {})
        if observations is not None and keep.observe_labels:
            taken.observed[source] = observations
        return taken
    taken = Taken(groups, observations, {}, {}, {})
    if keep.by:
        _take_by_label(columns, keep, tally, taken)
    return taken


def _observations(columns: ResponseColumns, keep: Keep) -> "Observations | None":
    if keep.observe is None:
        return None
    from budget_cli.evidence.observations import Observations  # which only the checks need

    return Observations.from_responses(keep.observe, _responses(columns))


def merge_labels(
    into: "tuple[dict[Label, Groups], dict[Label, Observations]]",
    later: "tuple[Mapping[Label, Groups], Mapping[Label, Observations]]",
    keep: Keep,
    offset: int = 0,
) -> None:
    """Merge the groups and the observations by label of a later part, whose places begin at `offset`."""
    by, observed = into
    for label, groups in later[0].items():
        rows = by.setdefault(label, Groups(keep.layout, keep.hold)).merge(groups)
        if label in later[1]:
            if label not in observed:
                empty = keep.empty_observations()
                assert empty is not None
                observed[label] = empty
            observed[label].merge(later[1][label], rows, offset)


def sample_rewards(columns: ResponseColumns) -> RewardSample:
    """Sample the rewards and lengths of the first responses, which tells of a penalty and takes next to no time."""
    sample = RewardSample()
    if columns.length is not None:
        sample.add(columns.reward[:SAMPLED], columns.length[:SAMPLED])
    return sample


def require_few_labels(number: int, labels: Iterable[Label]) -> None:
    """Refuse to split a dump by what hardly any two of its records share, unless that is the file.

    Raises:
        UsageProblem: there are more than MOST_LABELS labels.
    """
    if number > MOST_LABELS:
        some = ", ".join(str(label)[:20] for label in islice(labels, 3))
        few = "give a field with fewer, such as a step, or --per-prompt for a row for each prompt"
        raise UsageProblem(f"--by: more than {MOST_LABELS:,} different values ({some}, …): {few}")


def _take_by_label(columns: ResponseColumns, keep: Keep, tally: Tally | None, taken: Taken) -> None:
    """Split the responses and the record counts by label."""
    labels = columns.extras[keep.by]
    assert isinstance(labels, LabelColumn)
    order = np.argsort(labels.codes, kind="stable")  # one pass over the rows, however many labels there are
    codes, begins = np.unique(labels.codes[order], return_index=True)
    require_few_labels(len(codes), labels.values)
    for code, rows in zip(codes.tolist(), np.split(order, begins)[1:], strict=True):
        of_label = compact_keys(columns.select(rows))
        label = labels.values[code] if code >= 0 else None
        taken.by[label] = groups_from(of_label, keep.layout, keep.hold)
        lines = taken.by[label].row_count if tally is None else np.unique(of_label.line).size
        taken.tallies[label] = Tally(lines, lines, length_origins=of_label.length_origins(keep.tokenizer))
        observations = _observations(of_label, keep) if keep.observe_labels else None
        if observations is not None:
            taken.observed[label] = observations


def _add_left_out(part: Part, decoded: Decoded, plan: Plan) -> None:
    """Add the samples that are left out to the records of their labels."""
    labels, lines = decoded.columns.extras[plan.fields.by], decoded.columns.line.tolist()
    assert isinstance(labels, LabelColumn)
    held = {
        (labels.values[code] if code >= 0 else None, at) for code, at in zip(labels.codes.tolist(), lines, strict=True)
    }
    for label, line, reason in decoded.left_out_by:
        part.by.setdefault(label, Groups(plan.keep.layout))
        tally = part.tallies.setdefault(label, Tally())
        tally.left_out[reason] += 1
        tally.read += (label, line) not in held
        held.add((label, line))


def groups_from(columns: ResponseColumns, layout: Layout, hold: bool = False, source: str = "") -> Groups:
    """Take the moments of these responses, and hold them if that is asked for.

    Raises:
        InputProblem: a response has no budget of its own, and needs one.
    """
    keys, codes, log_ratio = columns.keys, columns.codes, columns.log_ratio
    own = None if layout.own is None else own_budgets(columns, layout.own, source)
    groups = Groups.from_responses(layout, keys, codes, columns.reward, columns.length, log_ratio, hold, own)
    groups.row_count = rows_of(columns)
    if layout.own is not None and layout.own.otherwise is not None:
        groups.without_budget = int(np.isnan(_given_budgets(columns, layout.own)).sum())
    return groups


def own_budgets(columns: ResponseColumns, own: OwnBudgets, source: str = "") -> Floats:
    """Return the budget of each response in tokens, shape (responses,).

    Raises:
        InputProblem: a response has none.
    """
    labels, found = columns.extras.get("budget_label"), _given_budgets(columns, own)
    what = "a label with a budget" if own.labels else "its budget in whole tokens"
    if own.otherwise is not None:
        found = np.where(np.isnan(found), own.otherwise, found)
    wrong = ~((found >= 0) & (found == np.floor(found)) & (found <= MOST_TOKENS))
    if wrong.any():
        at = int(np.argmax(wrong))
        shown = f"{found[at]:g}" if np.isfinite(found[at]) else "none"
        if isinstance(labels, LabelColumn) and shown == "none":
            code = labels.codes[at]
            shown = repr(labels.values[code]) if code >= 0 else "no label"
        prompt = part_of_id(columns.keys[columns.codes[at]])
        why = f"a response to the prompt {prompt}: expected {what}, found {shown}"
        raise InputProblem(source, f"{why}: give -B TOKENS for records without one")
    return found


def _given_budgets(columns: ResponseColumns, own: OwnBudgets) -> Floats:
    """Return the budget that the record of each response gives, shape (responses,); NaN if it gives none."""
    labels = columns.extras.get("budget_label")
    if not isinstance(labels, LabelColumn):
        return np.asarray(columns.extras["budget"], dtype=np.float64)
    tokens = dict(own.labels)
    known = np.array([*(tokens.get(str(value), np.nan) for value in labels.values), np.nan])
    return known[labels.codes]  # the last entry is the one of code -1


def under_prompts(decoded: Decoded, source: Source, plan: Plan) -> Decoded:
    """Make the source part of the prompt ids where the plan says so; changes the columns in place."""
    columns = decoded.columns
    if plan.fields.group == "file":
        columns.keys = [source.name for _ in columns.keys[:1]]
        columns.codes = np.zeros_like(columns.codes)
    elif plan.fields.id_file_prefix is not None:
        name = source.name.removeprefix(plan.fields.id_file_prefix)
        columns.keys = [f"{name}:{part_of_id(key)}" for key in columns.keys]
    if plan.fields.prompts_of_steps:
        _make_prompts_of_steps(columns)
    return decoded


def _make_prompts_of_steps(columns: ResponseColumns) -> None:
    """Make the step part of the prompt ids: `40/p3` is the prompt p3 of step 40."""
    steps = columns.extras["step"]
    assert isinstance(steps, LabelColumn)
    if not steps.codes.size:
        return
    if len(steps.values) == 1 and np.all(steps.codes == 0):
        prefix = f"{part_of_id(steps.values[0])}/"
        if isinstance(columns.keys, Packed) and prefix.isascii() and not set(prefix) & set('"\\'):
            prefixed = columns.keys.with_prefix(prefix.encode())
            if prefixed is not None:
                columns.keys = prefixed
                return
    pairs = columns.codes * (len(steps.values) + 1) + steps.codes + 1
    distinct, first, inverse = np.unique(pairs, return_index=True, return_inverse=True)
    order = np.argsort(first)
    place = np.empty_like(order)
    place[order] = np.arange(order.size)
    keys, ids = list(columns.keys), []
    for pair in distinct[order].tolist():
        code, step = divmod(pair, len(steps.values) + 1)
        ids.append(keys[code] if not step else f"{part_of_id(steps.values[step - 1])}/{part_of_id(keys[code])}")
    columns.keys, columns.codes = ids, place[inverse.reshape(-1)]


def without_step(key: Key, step: Label) -> Key:
    """Return the id that `step/id` was made of."""
    if step is None or not isinstance(key, str):
        return key
    part = key.removeprefix(f"{part_of_id(step)}/")
    if part[:1] == '"':
        bare: str = json.loads(part)
        return bare
    return int(part) if part.lstrip("-").isdecimal() else part


def _steps_in(columns: ResponseColumns) -> set[Label]:
    """The steps of a block's responses; None stands for responses without a step."""
    steps = columns.extras["step"]
    assert isinstance(steps, LabelColumn)
    codes = np.flatnonzero(np.bincount(steps.codes + 1)) - 1  # np.unique would import numpy.ma, 10 ms
    return {steps.values[code] if code >= 0 else None for code in codes.tolist()}


def _responses(columns: ResponseColumns) -> "Responses":
    """The columns of a block as evidence takes them, which does not know how they were read."""
    from budget_cli.evidence.responses import Responses

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
        extras.get("prompt_length"),
        extras.get(SAMPLER),
        {
            pair: {what: extras[compared(pair, what)] for what in (*COMPARED, *BINS) if compared(pair, what) in extras}
            for pair in PAIRS
            if compared(pair, COMPARED[0]) in extras
        },
    )
