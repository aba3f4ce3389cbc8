"""Findings and the allowance → which findings count, and why the verdict is fail."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from budget_cli.analysis import verdict
from budget_cli.analysis.baseline import KnownFinding, is_no_worse
from budget_cli.analysis.checks import catalogue
from budget_cli.analysis.checks.findings import Finding, Severity
from budget_cli.analysis.checks.run import CheckRun
from budget_cli.analysis.loss import Loss
from budget_cli.analysis.numbers import counted
from budget_cli.analysis.verdict import Allowance, Reason
from budget_cli.records.columns import Label, Tally

NO_LABEL = "the records without one"


class LabelRun(NamedTuple):
    """What the checks found in the responses with one label."""

    key: Label
    loss: Loss
    run: CheckRun


class CheckResult(NamedTuple):
    """The answer of `budget-cli check`."""

    run: CheckRun
    loss: Loss
    reasons: Sequence[Reason]  # why the verdict is fail; none if it is pass
    incomplete: Sequence[str]  # files that could not be read to their end
    sources: Sequence[str]  # names of the files
    thresholds: Mapping[str, float]
    fail_on: Severity
    by: str | None = None  # a field or `file`, as the user wrote it
    rows: Sequence[LabelRun] = ()  # one for each value of it
    show: str = ""  # the command that shows responses, without what it is to show; "": none can

    @property
    def status(self) -> str:
        """`pass` or `fail`."""
        return "fail" if self.reasons else "pass"

    def fails(self, finding: Finding) -> bool:
        """Return True if this finding makes the verdict fail."""
        return finding.accepted is None and finding.rank >= self.fail_on


def judge(
    findings: Sequence[Finding],
    tally: Tally,
    allowance: Allowance,
    fail_on: Severity,
    known: Mapping[str, KnownFinding],
    tolerance: float,
) -> tuple[tuple[Finding, ...], list[Reason]]:
    """Return the findings, with a reason on each that does not count; and the reasons why the verdict is fail.

    Rejected records count if there are more than the allowance, as in every command; other findings count by their
    severity. A finding that is in the baseline and is no worse now does not count.
    """
    too_many = verdict.too_many_rejected(tally, allowance)
    marked = []
    for finding in findings:
        if is_no_worse(finding, known, tolerance):
            finding = replace(finding, accepted="no worse than in the baseline")
        elif is_rejection(finding) and (not too_many or (finding.code == verdict.TORN and allowance.truncated_tail)):
            finding = replace(finding, accepted="as many as allowed")
        marked.append(finding)
    accepted = sum(is_rejection(finding) and finding.accepted is not None for finding in marked)
    reasons = [Reason("rejected", too_many)] if too_many and accepted < len(tally.by_code) else []
    reasons += verdict.nothing_used(tally, allowance)
    count: dict[str, int] = {}
    for finding in marked:
        if finding.accepted is None and finding.rank >= fail_on and not is_rejection(finding):
            count[finding.severity] = count.get(finding.severity, 0) + 1
    if count:
        summary = " and ".join(
            f"{number} info" if severity == "info" else counted(number, severity) for severity, number in count.items()
        )
        reasons.append(Reason("finding", f"{summary}, with --fail-on {fail_on.name}"))
    return tuple(marked), reasons


def failed_rows(rows: Sequence[LabelRun], findings: Sequence[Finding], fail_on: Severity) -> list[Reason]:
    """Return why rows make the verdict fail: findings of a row that the whole dump does not have."""
    known = {finding.code for finding in findings}
    failing = [(row.key, one) for row in rows for one in row.run.findings if one.code not in known]
    failing = [(key, one) for key, one in failing if one.rank >= fail_on]
    if not failing:
        return []
    shown = ", ".join(f"{one.code} in {NO_LABEL if key is None else key}" for key, one in failing[:3])
    more = f" and {len(failing) - 3:,} more" if len(failing) > 3 else ""
    return [Reason("finding", f"{counted(len(failing), 'finding')} in rows of --by: {shown}{more}")]


def is_rejection(finding: Finding) -> bool:
    """Return True if the finding is about rejected records."""
    return catalogue.CHECKS[finding.code].topic == "records" and finding.code != "left-out"
