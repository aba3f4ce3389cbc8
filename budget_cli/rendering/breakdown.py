"""The rows of `--by` → a table with trends, JSON, lines for a tracker, CSV and Markdown."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from budget_cli.analysis.breakdown import Row, trend
from budget_cli.analysis.loss import Loss, number_at, number_names
from budget_cli.rendering.formats import as_dict, json_line, markdown_table, rounded, utf8, utf8_key
from budget_cli.rendering.safe import end_for_terminal, for_terminal
from budget_cli.rendering.text import BARS, INFO, MISSING, WIDTH, Line, Piece, figure

FIRST_SHOWN, LAST_SHOWN = 10, 20  # rows of a table; a trend is in all of them
NAME = 20  # characters of a label
NO_LABEL = "(none)"
FEW = 3  # rows that the line on samples left out names
BINS = 8  # of a trend, at most


class Breakdown(NamedTuple):
    """The rows of `--by`, and what they were made by."""

    by: str  # a field or `file`, as the user wrote it
    rows: Sequence[Row]
    prompt_id: str  # the place of the prompt ids, as the user would write it


class Column(NamedTuple):
    """One number of each row on the screen."""

    name: str
    path: str
    width: int
    shown: Callable[[float | None, int], str]


def _integer(value: float | None, _: int) -> str:
    return figure(value, 0)


def _percent(value: float | None, _: int) -> str:
    return MISSING if value is None else f"{value:.0%}"


COLUMNS = (
    Column("n", "responses", 7, _integer),
    Column("loss", "loss", 10, figure),
    Column("reward", "reward.mean", 9, figure),
    Column("by length", "advantage.budget_share", 10, _percent),
    Column("length", "length.mean", 8, _integer),
    Column("over", "over_budget.fraction", 6, _percent),
    Column("k1", "kl.k1", 9, figure),
)
NARROW_COLUMNS = tuple(column._replace(width=column.width - (column.name != "by length")) for column in COLUMNS[:-1])


def screen(split: Breakdown, total: Loss, precision: int, width: int = WIDTH) -> Iterator[Line]:
    """Yield one row per label, under the trend of each column; narrower and without the last column if need be."""
    rows = split.rows
    columns, label = (NARROW_COLUMNS, NAME - 6) if width < WIDTH else (COLUMNS, NAME)
    names = _names(split, label)
    heads = "".join(f"{column.name:>{column.width}}" for column in columns)
    yield [Piece(f"{for_terminal('by ' + split.by, label):<{label}}{heads}", "bold")]
    if len(rows) > 1:
        bars = "".join(f"{_sparkline(rows, column):>{column.width}}" for column in columns)
        yield [Piece(f"{'trend':<{label}}", "dim"), Piece(bars, "cyan")]
    left_out = len(rows) - FIRST_SHOWN - LAST_SHOWN
    for i, row in enumerate(rows):
        if left_out > 1 and i == FIRST_SHOWN:
            yield [Piece(f"… {left_out:,} more: --format csv or json has them all", "dim")]
        if left_out > 1 and FIRST_SHOWN <= i < FIRST_SHOWN + left_out:
            continue
        cells = "".join(f"{c.shown(number_at(row.loss, c.path), precision):>{c.width}}" for c in columns)
        failed = any(not gate.passed for gate in row.gates)
        yield [Piece(f"{names[i]:<{label}}"), Piece(cells), Piece("  fail" if failed else "", "bold red")]
    if columns is not COLUMNS:
        yield [Piece("k1 is shown from 80 columns on, and in --format csv", "dim")]
    yield from _left_out(rows, names)
    yield []
    if sum(row.loss.prompts for row in rows) > total.prompts:
        yield [INFO, Piece("a prompt in several rows forms a group in each, but one in the total")]
        if not set(split.by + split.prompt_id) & set("()|`[],&") and split.by != "file":
            yield [
                Piece(f"          (to split it there too: --field 'prompt_id=[{split.by}, {split.prompt_id}]')", "dim")
            ]


def _left_out(rows: Sequence[Row], names: Sequence[str]) -> Iterator[Line]:
    """Yield a line on the rows from which samples are left out, those with most of them first."""
    counts = [(row.loss.records.left_out, name) for row, name in zip(rows, names, strict=True)]
    most = sorted(((count, name) for count, name in counts if count), key=lambda pair: -pair[0])
    if most:
        each = ", ".join(f"{count:,} of {name}" for count, name in most[:FEW])
        more = f", and more of {len(most) - FEW} others" if len(most) > FEW else ""
        yield [Piece(f"left out            {each}{more}", "dim")]


def _names(split: Breakdown, width: int) -> list[str]:
    """Return the labels as shown: the last part of a file's path if that is unique, and the end of a long label."""
    names = [NO_LABEL if row.key is None else str(row.key) for row in split.rows]
    last = [name.rpartition("/")[2] for name in names]
    if split.by == "file" and len(set(last)) == len(names):
        names = last
    return [end_for_terminal(name, width - 1) for name in names]


def _sparkline(rows: Sequence[Row], column: Column) -> str:
    """Return one character per stretch of the rows, scaled from their lowest to their highest value."""
    means = trend([number_at(row.loss, column.path) for row in rows], min(BINS, column.width - 1))
    present = [value for value in means if value is not None]
    if not present:
        return ""
    low, span = min(present), max(present) - min(present)
    scale = (len(BARS) - 1) / span if span else 0.0
    return "".join(" " if value is None else BARS[round((value - low) * scale)] for value in means)


def json_rows(split: Breakdown, precision: int) -> list[dict[str, Any]]:
    """Return one object per label: its key, its numbers and its gates."""
    dicts = []
    for row in split.rows:
        body = rounded(as_dict(row.loss), precision)
        del body["objective"]  # of the whole
        del body["aggregate"], body["coefficients"]
        dicts.append({"key": utf8_key(row.key), **body, "gates": [as_dict(gate) for gate in row.gates]})
    return dicts


def table(split: Breakdown, precision: int) -> tuple[Sequence[str], Iterable[Sequence[object]]]:
    """Return dotted names and one row per label; the key of records without a label is None."""
    names = _names_of_numbers()
    body = ([row.key, *(rounded(number_at(row.loss, name), precision) for name in names)] for row in split.rows)
    return ["key", *names], body


def jsonl(split: Breakdown, precision: int) -> bytes:
    """Return one line per label: the field with the label, and the numbers by their names for a tracker."""
    lines = ({utf8(split.by): utf8_key(row.key), **tracked(row.loss, precision)} for row in split.rows)
    return b"".join(map(json_line, lines))


def tracked(loss: Loss, precision: int) -> dict[str, float]:
    """Return the numbers that exist, by the names of the JSON below `budget`, with the slashes that trackers take."""
    numbers = ((name, number_at(loss, name)) for name in _names_of_numbers())
    return {
        f"budget/{name.replace('.', '/')}": rounded(value, precision) for name, value in numbers if value is not None
    }


def _names_of_numbers() -> list[str]:
    return [name for name in number_names() if not name.startswith("coefficients.")]


def markdown(split: Breakdown, precision: int) -> bytes:
    """Return one row per label, with the columns of the screen."""
    paths = [column.path for column in COLUMNS]
    if any(row.loss.left_out for row in split.rows):
        paths.append("records.left_out")
    body = (
        [NO_LABEL if row.key is None else row.key, *(rounded(number_at(row.loss, path), precision) for path in paths)]
        for row in split.rows
    )
    return markdown_table([split.by, *paths], body).encode("utf-8", "backslashreplace")
