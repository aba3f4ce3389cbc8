"""Suggestions of `sweep --suggest` → the screen, JSON, JSON lines, CSV and Markdown."""

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from budget_cli.analysis.loss import Records
from budget_cli.analysis.suggestion import SCHEMA, Suggestion
from budget_cli.analysis.verdict import Reason
from budget_cli.records.columns import Rejection, Tally
from budget_cli.rendering.formats import (
    as_dict,
    csv_table,
    json_document,
    json_line,
    markdown_table,
    rejections_as_dicts,
    rounded,
    utf8,
)
from budget_cli.rendering.text import WIDTH, Line, Piece, failures, left_out, passes, rejected, room_for


def screen(
    suggestions: Sequence[Suggestion],
    share: float,
    tally: Tally,
    reasons: Sequence[Reason],
    rejections: Sequence[Rejection],
    width: int = WIDTH,
) -> Iterator[Line]:
    """Yield a few lines per suggestion: the options to give, and the reasons."""
    aim = "B at a percentile of the lengths, β so that length makes"
    aim = f"{aim} {share:.3g} of the advantage's variance (--share)"
    for number, line in enumerate(textwrap.wrap(aim, width - 14)):
        yield [Piece(" " * 11 if number else "suggestions", "bold"), Piece(f"   {line}")]
    for one in suggestions:
        yield []
        beta = "" if one.budget_penalty_coef is None else f" --budget-penalty-coef {one.budget_penalty_coef:.3g}"
        yield [Piece(f"  -B {one.token_budget}{beta}", "bold cyan")]
        for reason in one.reasons:
            yield from ([Piece(f"    {line}")] for line in textwrap.wrap(reason, width - 4))
    yield []
    yield from left_out(tally.left_out)
    yield from rejected(rejections, tally.rejected)
    yield from failures(reasons, 400) if reasons else passes(Records.from_tally(tally))


def json(
    suggestions: Sequence[Suggestion],
    share: float,
    status: str,
    tally: Tally,
    rejections: Sequence[Rejection],
    incomplete: Sequence[str],
    precision: int,
    warnings: Sequence[str] = (),
) -> bytes:
    """Return one JSON object; the coefficients are not rounded."""
    exact = ("token_budget", "budget_penalty_coef")
    result = {
        "schema": SCHEMA,
        "status": status,
        "share": share,
        "suggestions": [
            {name: value if name in exact else rounded(value, precision) for name, value in as_dict(one).items()}
            for one in suggestions
        ],
        "left_out": dict(tally.left_out),
        "rejections": rejections_as_dicts(rejections),
        "incomplete": [utf8(problem) for problem in incomplete],
        "warnings": [utf8(warning) for warning in warnings],
    }
    return json_document(result)


def jsonl(suggestions: Sequence[Suggestion], precision: int) -> bytes:
    """Return one line per suggestion."""
    return b"".join(json_line(dict(zip(Suggestion._fields, row, strict=True))) for row in _rows(suggestions, precision))


def csv(suggestions: Sequence[Suggestion], precision: int) -> bytes:
    """Return a header and one row per suggestion."""
    return csv_table(Suggestion._fields, _in_one_cell(suggestions, precision))


def markdown(suggestions: Sequence[Suggestion], precision: int) -> bytes:
    """Return one row per suggestion."""
    return markdown_table(Suggestion._fields, _in_one_cell(suggestions, precision)).encode()


def _in_one_cell(suggestions: Sequence[Suggestion], precision: int) -> Iterator[list[Any]]:
    """Yield the values of each suggestion, with its reasons as one text."""
    for *row, reasons in _rows(suggestions, precision):
        yield [*row, "; ".join(reasons)]


def _rows(suggestions: Sequence[Suggestion], precision: int) -> Iterator[list[Any]]:
    """Yield the values of each suggestion, rounded except for the coefficients."""
    for one in suggestions:
        yield [
            value if name == "budget_penalty_coef" else rounded(value, precision)
            for name, value in zip(one._fields, one, strict=True)
        ]


class SuggestionAnswer(NamedTuple):
    """The answer of `budget-cli sweep --suggest`."""

    suggestions: Sequence[Suggestion]
    share: float
    tally: Tally
    reasons: Sequence[Reason]  # why the verdict is fail; none if it is pass
    rejections: Sequence[Rejection]  # the first ones
    shown: Sequence[Rejection]  # those of them that a person sees: none where one reason stands for all
    precision: int
    warnings: Sequence[str] = ()  # why the numbers may not be the trainer's

    @property
    def status(self) -> str:
        """`pass` or `fail`."""
        return "fail" if self.reasons else "pass"

    @property
    def incomplete(self) -> list[str]:
        """Sources that could not be read to their end, and why."""
        return [reason.text for reason in self.reasons if reason.kind == "incomplete"]

    def lines(self, columns: int) -> Iterator[Line]:
        """Yield the screen for a terminal of that many columns."""
        return screen(self.suggestions, self.share, self.tally, self.reasons, self.shown, room_for(columns))

    def json(self) -> bytes:
        """Return one JSON object."""
        verdict = (self.status, self.tally, self.rejections, self.incomplete)
        return json(self.suggestions, self.share, *verdict, self.precision, self.warnings)

    def jsonl(self) -> bytes:
        """Return one line per suggestion."""
        return jsonl(self.suggestions, self.precision)

    def csv(self) -> bytes:
        """Return one row per suggestion."""
        return csv(self.suggestions, self.precision)

    def markdown(self) -> bytes:
        """Return one row per suggestion."""
        return markdown(self.suggestions, self.precision)
