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
from budget_cli.records.columns import Tally


class CheckResult(NamedTuple):
    """The answer of `budget-cli check`."""

    run: CheckRun
    loss: Loss
    reasons: Sequence[Reason]  # why the verdict is fail; none if it is pass
    incomplete: Sequence[str]  # files that could not be read to their end
    sources: Sequence[str]  # names of the files
    thresholds: Mapping[str, float]
    fail_on: Severity

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


def is_rejection(finding: Finding) -> bool:
    """Return True if the finding is about rejected records."""
    return catalogue.CHECKS[finding.code].topic == "records" and finding.code != "left-out"
