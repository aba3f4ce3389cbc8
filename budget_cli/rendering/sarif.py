"""Findings → SARIF 2.1.0, as code scanning reads it: a rule for each check that was run, a result for each finding.

The form is that of the OASIS standard, https://docs.oasis-open.org/sarif/sarif/v2.1.0/, with the members that
GitHub and GitLab show. Columns are counted in characters.
"""

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from budget_cli import __version__
from budget_cli.analysis.checks.catalogue import CHECKS, Check
from budget_cli.analysis.checks.findings import Evidence, Finding
from budget_cli.analysis.checks.verdict import CheckResult
from budget_cli.rendering.formats import utf8

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
LEVELS = {"error": "error", "warning": "warning", "info": "note"}


def document(result: CheckResult) -> dict[str, Any]:
    """Return the log of one run."""
    run = result.run
    codes = list(dict.fromkeys([*run.checked, *(finding.code for finding in run.findings)]))
    notes = [{"level": "error", "message": _message(problem)} for problem in result.incomplete]
    notes += [
        {"level": "error", "message": _message(reason.text)} for reason in result.reasons if reason.kind != "incomplete"
    ]
    invocation = {"executionSuccessful": not result.incomplete, "toolExecutionNotifications": notes}
    driver = {"name": "budget-cli", "version": __version__, "rules": [_rule(CHECKS[code]) for code in codes]}
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": driver},
                "invocations": [invocation],
                "columnKind": "unicodeCodePoints",
                "results": [_result(finding, codes.index(finding.code), result.sources) for finding in run.findings],
                "properties": {"status": result.status, "checked": len(run.checked)},
            }
        ],
    }


def _rule(check: Check) -> dict[str, Any]:
    return {
        "id": check.code,
        "shortDescription": {"text": _plain(check.title)},
        "fullDescription": {"text": _plain(check.why)},
        "help": {
            "text": _plain(f"{check.why} {check.remedy}"),
            "markdown": f"{check.why}\n\n**Do**: {check.remedy}\n\n**False alarms**: {check.false_alarms}",
        },
        "defaultConfiguration": {"level": LEVELS[check.severity]},
        "properties": {"tags": [check.topic, check.class_]},
    }


def _result(finding: Finding, rule: int, sources: Sequence[str]) -> dict[str, Any]:
    first, *others = finding.evidence or [Evidence(None, None, None, None)]
    written: dict[str, Any] = {
        "ruleId": finding.code,
        "ruleIndex": rule,
        "level": LEVELS[finding.severity],
        "message": _message(f"{finding.message}. {finding.remedy}"),
        "locations": [place for place in [_location(first, sources)] if place],
        "occurrenceCount": max(1, finding.count),
        "properties": {"of": finding.of, "unit": finding.unit},
    }
    more = [place for each in others if (place := _location(each, sources))]
    if more:
        written["relatedLocations"] = [place for at, place in enumerate(more) if place not in more[:at]]
    if finding.accepted:
        written["suppressions"] = [{"kind": "external", "justification": finding.accepted}]
    return written


def _location(evidence: Evidence, sources: Sequence[str]) -> dict[str, Any]:
    """Return a place in a file: for what concerns a whole dump, its first line, as viewers want a line."""
    written: dict[str, Any] = {}
    source = evidence.source or (sources[0] if sources else "")
    if source and not source.startswith("<"):  # standard input is no file
        region = {"startLine": 1 if evidence.line is None or evidence.path is not None else evidence.line}
        if evidence.column is not None and evidence.path is None:
            region["startColumn"] = evidence.column
        written["physicalLocation"] = {"artifactLocation": {"uri": _uri(source)}, "region": region}
    if evidence.path:
        written["logicalLocations"] = [{"fullyQualifiedName": utf8(evidence.path)}]
    if evidence.prompt_id is not None:
        written["message"] = _message(f"prompt {evidence.prompt_id}")
    return written


def _message(text: str) -> dict[str, str]:
    """Return a text in which nothing of the data becomes a link."""
    if "](" in text:
        text = text.replace("[", "\\[").replace("]", "\\]")
    return {"text": utf8(text)}


def _uri(source: str) -> str:
    """Return a URL as it is, and a path relative to the folder of the run, or as a file's URL if it is absolute."""
    if "://" in source:
        return quote(source, safe="%/:?#[]@!$&'()*+,;=~")
    path = quote(source.encode("utf-8", "surrogateescape"))
    return f"file://{path}" if path.startswith("/") else path


def _plain(text: str) -> str:
    return text.replace("`", "")
