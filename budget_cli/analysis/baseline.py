"""An earlier check's JSON → which findings are no worse than they were. Reads no files."""

import json
import re
from collections.abc import Mapping
from typing import NamedTuple

from budget_cli.analysis.checks.findings import Finding, Severity
from budget_cli.analysis.checks.run import SCHEMA
from budget_cli.errors import UsageProblem


class KnownFinding(NamedTuple):
    """A finding of an earlier check."""

    severity: Severity
    share: float  # count / of


def parse(name: str, text: bytes) -> dict[str, KnownFinding]:
    """The findings of an earlier check, by code.

    Raises:
        UsageProblem: it is not the JSON of one.
    """
    problem = UsageProblem(f"--baseline {name}: expected the result of `budget-cli check --format json`")
    try:
        earlier = json.loads(text)
    except ValueError:
        raise problem from None
    if not isinstance(earlier, dict) or earlier.get("schema") != SCHEMA:
        raise problem
    known: dict[str, KnownFinding] = {}
    try:
        for finding in earlier["findings"]:
            severity, part = Severity[finding["severity"]], _fraction(finding["count"], finding["of"])
            before = known.get(finding["code"], KnownFinding(severity, 0.0))
            known[finding["code"]] = KnownFinding(max(severity, before.severity), max(part, before.share))
    except (KeyError, TypeError):
        raise problem from None
    return known


def parse_tolerance(text: str) -> float:
    """`10%` → 0.1.

    Raises:
        UsageProblem: not a share.
    """
    form = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)%", text.strip())
    if form is None:
        raise UsageProblem(f"--tolerance {text!r}: expected a share, as in 10%")
    return float(form[1]) / 100


def is_no_worse(finding: Finding, known: Mapping[str, KnownFinding], tolerance: float) -> bool:
    """Whether it was there, as bad as now, in a share that has grown by no more than `tolerance` of itself."""
    before = known.get(finding.code)
    if before is None or finding.rank > before.severity:
        return False
    return _fraction(finding.count, finding.of) <= before.share * (1 + tolerance) * (1 + 1e-12)


def _fraction(count: float, of: float) -> float:
    return count / of if of else 0.0
