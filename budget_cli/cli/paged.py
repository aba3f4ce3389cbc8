"""What `budget-cli report` is asked for → the scan of a dump, and the data of its page."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from typing import NamedTuple

from numpy import nan_to_num

from budget_cli.analysis import breakdown
from budget_cli.analysis.checks.catalogue import CHECKS, THRESHOLDS
from budget_cli.analysis.checks.findings import Evidence, Finding
from budget_cli.analysis.checks.run import run_checks
from budget_cli.analysis.grid import parse_budgets
from budget_cli.analysis.report import PageData, build_page_data, grid_around, prompts_that_matter
from budget_cli.cli.bundles import ReadingOptions
from budget_cli.cli.objectives import Asked
from budget_cli.cli.options import Engine
from budget_cli.cli.own_options import ReportOptions
from budget_cli.cli.session import ScanSpec, Session, counted_twice, observation_spec
from budget_cli.cli.shown import have_texts, plan_of, texts_of
from budget_cli.errors import UsageProblem
from budget_cli.evidence.counters import FEW
from budget_cli.groups.groups import Groups
from budget_cli.ids import Key
from budget_cli.records import detection
from budget_cli.records.columns import FIRST_TEN, RejectionLimit
from budget_cli.rendering.page_texts import LONGEST, PromptText, Texts
from budget_cli.scanning import show as second_pass
from budget_cli.schema.fields import BINS, PAIRS
from budget_cli.schema.lookup import field_value
from budget_cli.sources.local import Kind

# read where the records have them
PROMPTS = 12  # whose texts are in the page, at most
RESPONSES = 4  # to each of them
BYTES = 1 << 18  # characters of all texts, at most
OPTIONAL = ("finish_reason", "step", "advantage", "prompt_length", "sampler_log_prob")


class Paged(NamedTuple):
    """What a page shows of a dump."""

    data: PageData
    by: str | None  # what its trends are over
    findings: Sequence[Finding] | None  # None if the checks cannot be made of a summary
    places: Sequence[Evidence]  # of the first response to each prompt of the page, if they are known
    groups: Groups  # at the budgets of the page


def paged(session: Session, files: Sequence[str] | None, asked: Asked, page: ReportOptions) -> Paged:
    """Scan the dump and compute its page.

    The trends are over the steps, if the first records have them; over the files, if there are several, and all of one
    step.

    Raises:
        UsageProblem: there are budgets for the slider, but none to start from.
    """
    at, trained, aggregate = asked
    if page.budgets is not None and at.token_budget is None:
        raise UsageProblem("--budgets: the slider needs a budget to start from: give -B TOKENS")
    offered = () if page.budgets is None else parse_budgets("--budgets", page.budgets)
    session.find(files)
    from_summary = session.summary_budgets
    by = page.by
    label = "" if by is None else session.placement.label(by)
    optional = [name for name in OPTIONAL if name not in session.placement.fields.extras]
    session.placement.also_read(optional)
    session.place(optional)
    if by is None and from_summary is None:
        by = _usual(session)
        label = by or ""
        session.fields = replace(session.fields, by="step" if by == "step" else session.fields.by)
    observe = observation_spec(asked.budgets, THRESHOLDS, at.budget_penalty_coef)
    unchecked = session.why_unchecked(observe)
    spec = ScanSpec(
        by=label,
        hold=from_summary is None,
        part_rows=from_summary is None,
        observe=None if unchecked else observe,
        keep=RejectionLimit(FIRST_TEN.first, FEW),
        if_penalised=counted_twice(at.budget_penalty_coef),
        keep_responses=session.fields.has_rollouts,
    )
    grid = grid_around(at, offered or from_summary or ())
    scan = session.scan(asked.budgets if spec.hold else grid.budgets, spec)
    if unchecked:
        scan.notes.append(f"the page has no findings of check: {unchecked}")
    if spec.hold:
        grid = grid_around(at, offered, len(scan.groups))

    def at_budgets(groups: Groups) -> Groups:
        return session.at_budgets(groups, grid.budgets)

    parts = {each: scan.by[each] for each in breakdown.ordered(scan.by, in_order=by == "file")}
    groups = at_budgets(scan.groups)
    data = build_page_data(groups, parts, grid, at, scan.tally, aggregate.value, trained, at_budgets)
    if unchecked:
        return Paged(data, by, None, (), groups)
    subject = session.check_input(data.loss, scan.groups if spec.hold else groups.at(data.at[0]), THRESHOLDS)
    binned = {
        pair: [int(subject.counters.total(f"{pair}_{name}")) for name in BINS] for pair in PAIRS if session.fields.pairs
    }
    data = data._replace(log_ratios={pair: counts for pair, counts in binned.items() if any(counts)})
    places = subject.prompts_at(data.rows) if spec.hold and not session.fields.group_size else ()
    return Paged(data, by, run_checks(subject, set(CHECKS)).findings, places, groups)


def texts(session: Session, asked: Asked, found: Paged, reading: ReadingOptions) -> Texts:
    """Read again what the prompts that matter and the responses to them say."""
    scan, fields = session.scanned, session.fields
    are_summaries = all(source.kind is Kind.SUMMARY for source in session.found)  # which hold no texts
    if found.findings is None or not scan.groups.responses or are_summaries:
        return Texts()
    is_stream = any(source.size is None for source in session.found)  # whose beginning is gone
    if scan.problems or not (is_stream or have_texts(detection.glance(session.found, fields), fields)):
        return Texts()
    if reading.engine is Engine.RAY:
        return Texts(why_none="the dump was read on a cluster")
    if is_stream:
        return Texts(why_none="standard input and pipes cannot be read twice: give the files by name")
    severe = [one for one in found.findings if one.severity in ("error", "warning")]
    named = [each.prompt_id for one in severe for each in one.evidence[:1] if each.prompt_id is not None]
    keys = prompts_that_matter(found.data, found.groups, named, PROMPTS)
    wanted = second_pass.Wanted(frozenset(keys))
    responses: dict[Key, list[second_pass.Found]] = {key: [] for key in keys}
    for one in second_pass.show(session.found, plan_of(session, scan, asked.at, wanted), scan, reading.jobs):
        responses[one.key].append(one)
    made, left = [], BYTES
    for key in keys:
        worst = sorted(responses[key], key=lambda one: -nan_to_num(one.terms.loss))[:RESPONSES]
        text = PromptText(key, len(responses[key]), *texts_of(worst, asked.at, fields))
        left -= len((text.question or "")[:LONGEST]) + sum(len((one.text or "")[:LONGEST]) for one in text.shown)
        if left < 0:
            break
        made.append(text)
    return Texts(made)


def _usual(session: Session) -> str | None:
    """Return what the trends are over, if nobody says."""
    has_steps, several = "step" in session.fields.extras, len(session.found) > 1
    if has_steps and several:
        ends = (session.found[0], session.found[-1])
        first = chain.from_iterable(detection.glance([source], session.fields) for source in ends)
        has_steps = len({field_value(sample, session.fields, "step") for sample in first}) > 1
    return "step" if has_steps else "file" if several else None
