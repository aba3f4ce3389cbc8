"""Answers → Markdown tables, for a pull request or a step summary."""

from collections.abc import Iterable, Sequence

from budget_cli.analysis.gates import Verdict
from budget_cli.analysis.loss import Loss, Prompt, number_at, number_names
from budget_cli.rendering.formats import rounded
from budget_cli.rendering.safe import for_markdown


def of_loss(loss: Loss, status: str, gates: Sequence[Verdict], precision: int) -> bytes:
    """Every number of the result, a row each, and the gates."""
    rows: list[tuple[object, ...]] = [("status", status)]
    rows += [(name, rounded(number_at(loss, name), precision)) for name in number_names()]
    text = table(("number", "value"), rows)
    if gates:
        judged = [(gate.expression, gate.value, "pass" if gate.passed else "fail") for gate in gates]
        text += "\n" + table(("gate", "value", "verdict"), judged)
    return text.encode()


def of_prompts(prompts: Iterable[Prompt], precision: int) -> bytes:
    """A row a prompt."""
    names = Prompt._fields
    rows = ([rounded(getattr(prompt, name), precision) for name in names] for prompt in prompts)
    return table(names, rows).encode("utf-8", "backslashreplace")


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table whose cells bring no markup along."""
    lines = [_row(header), _row(["---"] * len(header), escape=False)]
    return "".join(lines) + "".join(_row(row) for row in rows)


def _row(cells: Sequence[object], escape: bool = True) -> str:
    shown = ["" if cell is None else str(cell) if not escape else _cell(cell) for cell in cells]
    return "| " + " | ".join(shown) + " |\n"


def _cell(value: object) -> str:
    return for_markdown(value) if isinstance(value, str) else str(value)
