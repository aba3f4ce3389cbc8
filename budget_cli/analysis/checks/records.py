"""Rejected records → a finding for each reason."""

from budget_cli.analysis.checks.findings import Evidence, Found, Subject, counted, finding
from budget_cli.groups.observations import FEW


def check(subject: Subject) -> Found:
    """What could not be used, by its code; the most frequent first."""
    for code, count in sorted(subject.tally.by_code.items(), key=lambda pair: (-pair[1], pair[0])):
        first = [rejection for rejection in subject.rejections if rejection.code == code][:FEW]
        said = ""
        if first:
            said = f": {first[0].field}: {first[0].message}" if first[0].field else f": {first[0].message}"
        message = f"{counted(count, 'record')} of {subject.tally.read:,}{said}"
        evidence = [Evidence(one.source, one.line, one.column, None) for one in first]
        yield finding(code, message, count, subject.tally.read, "records", evidence)
