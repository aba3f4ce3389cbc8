"""The JSON of an earlier check → whether a finding is no worse than it was. Reads no files."""

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
    """Return the findings of an earlier check, by code.

    Raises:
        UsageProblem: the text is not the JSON of a check.
    """
    problem = UsageProblem(f"--baseline {name}: expected the result of `budget-cli check --format json`")
    try:
        earlier = json.loads(text)
    except (ValueError, RecursionError):
        raise problem from None
    if not isinstance(earlier, dict) or earlier.get("schema") != SCHEMA:
        raise problem
    known: dict[str, KnownFinding] = {}
    try:
        for finding in earlier["findings"]:
            code, count, of = finding["code"], finding["count"], finding["of"]
            if type(code) is not str or not all(type(n) is int and 0 <= n < 2**63 for n in (count, of)):
                raise problem
            severity, share = Severity[finding["severity"]], _fraction(count, of)
            before = known.get(code, KnownFinding(severity, 0.0))
            known[code] = KnownFinding(max(severity, before.severity), max(share, before.share))
    except (KeyError, TypeError):
        raise problem from None
    return known


def parse_tolerance(text: str) -> float:
    """Parse a share: `10%` is 0.1.

    Raises:
        UsageProblem: the text is not a share in percent.
    """
    form = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)%", text.strip())
    if form is None:
        raise UsageProblem(f"--tolerance {text!r}: expected a share, as in 10%")
    return float(form[1]) / 100


def is_no_worse(finding: Finding, known: Mapping[str, KnownFinding], tolerance: float) -> bool:
    """Return True if the baseline has the finding, as severe as it is now and with a similar share.

    The share may have grown by at most `tolerance` of itself.
    """
    before = known.get(finding.code)
    if before is None or finding.rank > before.severity:
        return False
    return _fraction(finding.count, finding.of) <= before.share * (1 + tolerance) * (1 + 1e-12)


def _fraction(count: float, of: float) -> float:
    return count / of if of else 0.0
