"""A loss and its verdict → annotations of a workflow, and the cases of a test report."""

from collections.abc import Sequence

from budget_cli.analysis.breakdown import Row
from budget_cli.analysis.gates import Verdict
from budget_cli.analysis.loss import Loss
from budget_cli.records.columns import Rejection
from budget_cli.rendering.github import Annotation
from budget_cli.rendering.junit import Case
from budget_cli.rendering.loss import count, figure
from budget_cli.rendering.safe import for_markdown

TITLE = "budget-cli loss"


def annotations(
    loss: Loss, rejections: Sequence[Rejection], incomplete: Sequence[str], reasons: Sequence[str], precision: int
) -> list[Annotation]:
    """The loss, why it failed, and the rejected records in their places."""
    size = f"{count(loss.responses, 'response')}, {count(loss.prompts, 'prompt')}"
    verdict = "fail" if incomplete or reasons else "pass"
    told = [Annotation("notice", TITLE, f"loss {figure(loss.loss, precision)}, {size}: {verdict}")]
    told += [Annotation("error", TITLE, reason) for reason in dict.fromkeys([*incomplete, *reasons])]
    level = "error" if reasons else "warning"  # rejected, and allowed
    told += [
        Annotation(
            level,
            f"{TITLE}: {r.code}",
            r.message if r.field is None else f"{r.field}: {r.message}",
            r.source,
            r.line,
            r.column,
        )
        for r in rejections
    ]
    return told


def reasons_as_markdown(reasons: Sequence[str]) -> bytes:
    """Why it failed, a line each, to stand above the numbers."""
    text = "".join(f"- {for_markdown(reason, 400)}\n" for reason in reasons)
    return (text + "\n" * bool(text)).encode("utf-8", "backslashreplace")


def cases(
    loss: Loss,
    rejections: Sequence[Rejection],
    incomplete: Sequence[str],
    reasons: Sequence[str],
    gates: Sequence[Verdict],
    rows: Sequence[Row],
) -> list[Case]:
    """A case for the records, one for each gate, and with --each one for each gate of each row."""
    records = loss.records
    of_gates = {f"gate {gate.expression}" for gate in gates}
    others = [reason for reason in reasons if not any(reason.startswith(gate) for gate in of_gates)]
    failures = list(dict.fromkeys([*incomplete, *others]))
    said = f"{records.read:,} read, {records.used:,} used, {records.rejected:,} rejected"
    places = [str(rejection) for rejection in rejections]
    if places and records.rejected > len(places):
        places.append(f"and {records.rejected - len(places):,} more")
    told = [Case("records", TITLE, "\n".join([*failures, *places]) if failures else None, output=said)]
    told += [_case(gate, TITLE) for gate in gates]
    for row in rows:
        name = "(none)" if row.key is None else str(row.key)
        told += [_case(gate, f"{TITLE}: {name}") for gate in row.gates]
    return told


def _case(gate: Verdict, group: str) -> Case:
    value = "null, which no gate passes" if gate.value is None else f"{gate.value:.6g}"
    failure, output = (None, f"it is {value}") if gate.passed else (f"it is {value}", "")
    return Case(f"--fail-if {gate.expression}", group, failure, output=output)
