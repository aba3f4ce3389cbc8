"""Answers of commands → objects for Python: their numbers by name, the command's JSON as a dict, its screen as HTML."""

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Self

import orjson

from budget_cli.analysis.checks.findings import Finding
from budget_cli.analysis.checks.verdict import CheckResult
from budget_cli.analysis.loss import Loss
from budget_cli.analysis.sweep import Sweep
from budget_cli.analysis.verdict import Reason
from budget_cli.records.columns import Rejection
from budget_cli.rendering import check as check_rendering
from budget_cli.rendering import text
from budget_cli.rendering.loss import LossAnswer
from budget_cli.rendering.sweep import SweepAnswer

if TYPE_CHECKING:
    import pyarrow

ALL_DIGITS = 400  # places after the point: no double has more
SHOWN = 4  # places on a screen
Verdict = Literal["pass", "fail"]


class Answered:
    """What the command says beside the numbers of its answer."""

    _answer: LossAnswer | SweepAnswer

    @property
    def verdict(self) -> Verdict:
        """`pass` or `fail`."""
        return "fail" if self._answer.reasons else "pass"

    @property
    def reasons(self) -> list[str]:
        """Why the verdict is fail."""
        return [reason.text for reason in self._answer.reasons]

    @property
    def warnings(self) -> list[str]:
        """Why the numbers may not be the trainer's."""
        return list(self._answer.warnings)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON of the command, with all digits."""
        return _parsed(self._answer._replace(precision=ALL_DIGITS).json())

    def __repr__(self) -> str:
        """Return the screen of the command."""
        return text.plain(self._answer._replace(precision=SHOWN).lines(text.WIDTH))

    def _repr_html_(self) -> str:
        """Return the same for a notebook."""
        return _block(repr(self), self.warnings)


class DumpLoss(Answered, Loss):
    """The loss and its components, by the names of the JSON of `budget-cli loss`: `loss.loss`, `loss.kl.k1`, …"""

    @classmethod
    def of(cls, answer: LossAnswer) -> Self:
        """Make it of the answer of the command."""
        made = cls(*answer.loss)
        made._answer = answer
        return made


class DumpSweep(Answered, Sweep):
    """The numbers of a grid's cells; `cells` is the table of them."""

    @classmethod
    def of(
        cls,
        sweep: Sweep,
        reasons: Sequence[Reason],
        rejections: Sequence[Rejection],
        shown: Sequence[Rejection],
        warnings: Sequence[str],
    ) -> Self:
        """Make it of the numbers, and what the command says beside them."""
        made = cls(*sweep)
        made._answer = SweepAnswer(sweep, None, reasons, rejections, shown, True, SHOWN, warnings=warnings)
        return made

    @property
    def cells(self) -> "pyarrow.Table":
        """A row per cell, with all numbers of `sweep --all-numbers` by their dotted names."""
        from budget_cli.cli.arrow import table_of_cells  # and pyarrow, an extra

        return table_of_cells(self)


class CheckedDump(CheckResult):
    """What `budget-cli check` found: `findings`, the `loss` beside them, and `reasons` why the verdict is fail."""

    warnings: list[str]  # why the numbers may not be the trainer's
    _answer: CheckResult

    @classmethod
    def of(cls, result: CheckResult, warnings: list[str]) -> Self:
        """Make it of the result of the command."""
        made = cls(*result)
        made._answer, made.warnings = result, warnings
        return made

    @property
    def verdict(self) -> Verdict:
        """`pass` or `fail`."""
        return "fail" if self.reasons else "pass"

    @property
    def reasons(self) -> list[str]:  # type: ignore[override]  # texts, as those of a loss
        """Why the verdict is fail."""
        return [reason.text for reason in self._answer.reasons]

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was found: each has a code, a severity, a message and evidence."""
        return tuple(self.run.findings)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON of the command."""
        return _parsed(check_rendering.json(self._answer))

    def __repr__(self) -> str:
        """Return the screen of the command."""
        return text.plain(check_rendering.screen(self._answer, False, text.WIDTH))

    def _repr_html_(self) -> str:
        """Return the same for a notebook."""
        return _block(repr(self), self.warnings)


def _parsed(document: bytes) -> dict[str, Any]:
    parsed: dict[str, Any] = orjson.loads(document)
    return parsed


def _block(screen: str, warnings: Sequence[str]) -> str:
    """Return a screen as HTML, with the warnings below it."""
    lines = "".join(f"warning: {warning}\n" for warning in warnings)
    return f"<pre>{html.escape(screen + lines)}</pre>"
