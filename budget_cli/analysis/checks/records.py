"""Rejected records, and samples left out → one finding per reason; objects with duplicate keys."""

from budget_cli.analysis.checks.findings import CheckInput, Evidence, Findings, finding
from budget_cli.analysis.left_out import described
from budget_cli.analysis.numbers import counted
from budget_cli.evidence.counters import FEW


def check(dump: CheckInput) -> Findings:
    """Yield one finding per reason to reject records, the most frequent first; then duplicate keys."""
    for code, count in sorted(dump.tally.by_code.items(), key=lambda pair: (-pair[1], pair[0])):
        first = [rejection for rejection in dump.rejections if rejection.code == code][:FEW]
        example = ""
        if first:
            example = f": {first[0].field}: {first[0].message}" if first[0].field else f": {first[0].message}"
        message = f"{counted(count, 'record')} of {dump.tally.read:,}{example}"
        evidence = [Evidence(one.source, one.line, one.column, None, one.path) for one in first]
        yield finding(code, message, count, dump.tally.read, "records", evidence)
    yield from _left_out(dump)
    yield from _duplicate_keys(dump)


def _left_out(dump: CheckInput) -> Findings:
    reasons = dump.tally.left_out
    if reasons:
        of = dump.responses + reasons.total()
        evidence = [
            Evidence(one.source, one.line, None, None, dump.path_of(one.source, one.line))
            for one in dump.left_out[:FEW]
        ]
        yield finding("left-out", described(reasons, of), reasons.total(), of, "samples", evidence)


def _duplicate_keys(dump: CheckInput) -> Findings:
    count = dump.counters.count("repeated_keys")
    if not count:
        return
    names = [str(name) for name in dump.counters.values["repeated_keys"] if name is not None]
    more = ", …" if len(names) > FEW else ""
    message = f"{counted(count, 'record')} of {dump.tally.read:,} with a duplicate key: {', '.join(names[:FEW])}{more}"
    yield finding("duplicate-keys", message, count, dump.tally.read, "records", dump.occurrences("repeated_keys"))
