"""The rows of `--by` → a table with a trend, JSON, CSV and Markdown."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from budget_cli.analysis.breakdown import Row, trend
from budget_cli.analysis.loss import Loss, number_names
from budget_cli.analysis.loss import number_at as number_of
from budget_cli.rendering.formats import as_dict, csv_of, rounded, utf8
from budget_cli.rendering.loss import BARS, figure
from budget_cli.rendering.markdown import table
from budget_cli.rendering.safe import end_for_terminal, for_terminal
from budget_cli.rendering.text import Line, Piece

FIRST_SHOWN, LAST_SHOWN = 10, 20  # rows of a table; a trend is in all of them
NAME = 20  # characters of a label
NO_LABEL = "(none)"
BINS = 8  # of a trend, at most


class Breakdown(NamedTuple):
    """Rows by label."""

    by: str  # as the user named it
    rows: Sequence[Row]
    prompt_id: str  # where the ids are, as the user would write it


class Column(NamedTuple):
    """What the screen shows of each row."""

    name: str
    path: str
    width: int
    shown: Callable[[float | None, int], str]


def _whole(value: float | None, _: int) -> str:
    return figure(value, 0)


def _share(value: float | None, _: int) -> str:
    return "–" if value is None else f"{value:.0%}"


COLUMNS = (
    Column("n", "responses", 7, _whole),
    Column("loss", "loss", 10, figure),
    Column("reward", "reward.mean", 9, figure),
    Column("by length", "advantage.budget_share", 10, _share),
    Column("length", "length.mean", 8, _whole),
    Column("over", "over_budget.fraction", 6, _share),
    Column("k1", "kl.k1", 9, figure),
)


def lines(split: Breakdown, total: Loss, precision: int) -> Iterator[Line]:
    """A row a label, under the trend of each column."""
    rows = split.rows
    names = _names(split)
    heads = "".join(f"{column.name:>{column.width}}" for column in COLUMNS)
    yield [Piece(f"{for_terminal('by ' + split.by, NAME):<{NAME}}{heads}", "bold")]
    if len(rows) > 1:
        bars = "".join(f"{_sparkline(rows, column):>{column.width}}" for column in COLUMNS)
        yield [Piece(f"{'trend':<{NAME}}", "dim"), Piece(bars, "cyan")]
    left_out = len(rows) - FIRST_SHOWN - LAST_SHOWN
    for i, row in enumerate(rows):
        if left_out > 1 and i == FIRST_SHOWN:
            yield [Piece(f"… {left_out:,} more: --format csv or json has them all", "dim")]
        if left_out > 1 and FIRST_SHOWN <= i < FIRST_SHOWN + left_out:
            continue
        cells = "".join(f"{c.shown(number_of(row.loss, c.path), precision):>{c.width}}" for c in COLUMNS)
        failed = any(not gate.passed for gate in row.gates)
        yield [Piece(f"{names[i]:<{NAME}}"), Piece(cells), Piece("  fail" if failed else "", "bold red")]
    yield []
    if sum(row.loss.prompts for row in rows) > total.prompts:
        yield [Piece("info      ", "cyan"), Piece("a prompt in several rows is a group in each, and one in the total")]
        if not set(split.by + split.prompt_id) & set("()|`[],&") and split.by != "file":
            yield [Piece(f"          (apart there, too: --field 'prompt_id=[{split.by}, {split.prompt_id}]')", "dim")]


def _names(split: Breakdown) -> list[str]:
    """Each label in its place: of files the last part, if that tells them apart; of what is too long the end."""
    names = [NO_LABEL if row.key is None else str(row.key) for row in split.rows]
    last = [name.rpartition("/")[2] for name in names]
    if split.by == "file" and len(set(last)) == len(names):
        names = last
    return [end_for_terminal(name, NAME - 1) for name in names]


def _sparkline(rows: Sequence[Row], column: Column) -> str:
    """A character a stretch of the rows, from the lowest to the highest of them."""
    means = trend([number_of(row.loss, column.path) for row in rows], min(BINS, column.width - 1))
    there = [value for value in means if value is not None]
    if not there:
        return ""
    low, span = min(there), max(there) - min(there)
    scale = (len(BARS) - 1) / span if span else 0.0
    return "".join(" " if value is None else BARS[round((value - low) * scale)] for value in means)


def as_dicts(split: Breakdown, precision: int) -> list[dict[str, Any]]:
    """A row a label for the JSON: its key, its numbers, its gates."""
    dicts = []
    for row in split.rows:
        body = rounded(as_dict(row.loss), precision)
        del body["aggregate"], body["coefficients"]
        key = utf8(row.key) if isinstance(row.key, str) else row.key
        dicts.append({"key": key, **body, "gates": [as_dict(gate) for gate in row.gates]})
    return dicts


def csv(split: Breakdown, precision: int) -> bytes:
    """A header of dotted names and a row a label; the cell of those without one is empty."""
    names = [name for name in number_names() if not name.startswith("coefficients.")]
    body = ([row.key, *(rounded(number_of(row.loss, name), precision) for name in names)] for row in split.rows)
    return csv_of(["key", *names], body)


def markdown(split: Breakdown, precision: int) -> bytes:
    """A row a label, with the columns of the screen."""
    body = (
        [NO_LABEL if row.key is None else row.key, *(rounded(number_of(row.loss, c.path), precision) for c in COLUMNS)]
        for row in split.rows
    )
    return table([split.by, *(column.path for column in COLUMNS)], body).encode("utf-8", "backslashreplace")
