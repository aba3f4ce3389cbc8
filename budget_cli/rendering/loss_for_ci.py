"""A loss → annotations of GitHub and test cases of JUnit."""

from collections.abc import Sequence

from budget_cli.analysis.breakdown import Row
from budget_cli.analysis.gates import GateResult
from budget_cli.analysis.left_out import described
from budget_cli.analysis.loss import Loss
from budget_cli.analysis.numbers import counted
from budget_cli.analysis.verdict import Reason
from budget_cli.records.columns import Rejection
from budget_cli.rendering.github import Annotation, workflow_commands
from budget_cli.rendering.headline import headline
from budget_cli.rendering.junit import Case, joined, xml
from budget_cli.rendering.text import figure

TITLE = "budget-cli loss"


def github(
    loss: Loss, rejections: Sequence[Rejection], reasons: Sequence[Reason], precision: int, warnings: Sequence[str]
) -> bytes:
    """Return the loss, the reasons to fail, the warnings, and the rejected records at their locations."""
    size = f"{counted(loss.responses, 'response')}, {counted(loss.prompts, 'prompt')}"
    status = "fail" if reasons else "pass"
    said = f"loss {figure(loss.loss, precision)}, {size}: {status}. {headline(loss)}"
    notes = [Annotation("notice", TITLE, said.rstrip(". ") + "." * bool(loss.responses))]
    if loss.left_out:
        notes.append(Annotation("notice", TITLE, f"left out: {described(loss.left_out)}"))
    notes += [Annotation("error", TITLE, reason.text) for reason in reasons]
    notes += [Annotation("warning", TITLE, warning) for warning in warnings]
    level = "error" if reasons else "warning"  # records may be rejected and the verdict be pass
    notes += [
        Annotation(
            level,
            f"{TITLE}: {r.code}",
            str(r._replace(source="")).removeprefix(": ")
            if r.path
            else r.message
            if r.field is None
            else f"{r.field}: {r.message}",
            r.source,
            r.line if r.path is None else None,
            r.column,
        )
        for r in rejections
    ]
    return workflow_commands(notes, omitted=loss.records.rejected - len(rejections) if rejections else 0)


def junit(
    loss: Loss,
    rejections: Sequence[Rejection],
    reasons: Sequence[Reason],
    gates: Sequence[GateResult],
    rows: Sequence[Row],
) -> bytes:
    """Return a case for the records, one per gate, and with --each one per gate of each row."""
    records = loss.records
    failures = [reason.text for reason in reasons if reason.kind != "gate"]
    output = f"{records.read:,} read, {records.used:,} used, {records.rejected:,} rejected"
    output += f", {records.left_out:,} left out" if records.left_out else ""
    places = [str(rejection) for rejection in rejections]
    if places and records.rejected > len(places):
        places.append(f"and {records.rejected - len(places):,} more")
    made = [Case("records", TITLE, joined([*failures, *places]) if failures else None, output=output)]
    made += [_case(gate, TITLE) for gate in gates]
    for row in rows:
        name = "(none)" if row.key is None else str(row.key)
        made += [_case(gate, f"{TITLE}: {name}") for gate in row.gates]
    return xml(TITLE, made)


def _case(gate: GateResult, group: str) -> Case:
    failure, output = (None, joined([gate])) if gate.passed else (joined([gate]), "")
    return Case(f"--fail-if {gate.expression}", group, failure, output=output)
