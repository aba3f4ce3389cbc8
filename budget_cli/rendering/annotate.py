"""The responses of a dump with their terms → CSV and JSON lines; and what `annotate` says of the records it rejects."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from budget_cli.ids import Key
from budget_cli.objective import Terms
from budget_cli.records.columns import ResponseColumns, Tally
from budget_cli.rendering.formats import csv_table, json_line, utf8, utf8_key

NUMBERS = ("reward", "length", "log_prob", "old_log_prob")
NAMES = ("source", "line", "sample", "prompt_id", *NUMBERS, *Terms._fields)


def csv_header() -> bytes:
    """Return the first line of the table."""
    return csv_table(NAMES, ())


def csv(source: str, columns: ResponseColumns, keys: Sequence[Key], terms: Terms) -> bytes:
    """Return a row per response; an empty cell stands for what does not exist."""
    return csv_table(NAMES, rows(source, columns, keys, terms))[len(csv_header()) :]


def jsonl(source: str, columns: ResponseColumns, keys: Sequence[Key], terms: Terms) -> bytes:
    """Return a line per response; null stands for what does not exist."""
    return b"".join(json_line(dict(zip(NAMES, row, strict=True))) for row in rows(source, columns, keys, terms))


def rows(source: str, columns: ResponseColumns, keys: Sequence[Key], terms: Terms) -> Iterator[tuple[Any, ...]]:
    """Yield the place of each response, its prompt, its numbers and its terms, by NAMES."""
    numbers = [*(getattr(columns, name) for name in NUMBERS), *terms]
    listed = [_listed(each, columns.codes.size) for each in numbers]
    names = [utf8_key(key) for key in keys]
    places = columns.line.tolist(), samples(columns.line).tolist(), columns.codes.tolist()
    for line, sample, code, *values in zip(*places, *listed, strict=True):
        yield utf8(source), line, sample, names[code], *values


def samples(line: Any) -> Any:
    """Return the index of each response among those of its line, shape (responses,)."""
    return np.arange(line.size) - np.searchsorted(line, line, side="left")


def _listed(values: Any, size: int) -> list[float | None]:
    if values is None:
        return [None] * size
    return [value + 0.0 if finite else None for value, finite in zip(values.tolist(), np.isfinite(values), strict=True)]


def where_rejected(tally: Tally, rejects: str | None, unheld: int, in_document: bool) -> str:
    """Say where the rejected records are.

    Args:
        tally: what became of the records.
        rejects: the file of --rejects, if there is one.
        unheld: rejected lines that are not in it, as they were too long.
        in_document: True if the input is a JSON document, which keeps them.
    """
    where = "are not in the output; --rejects FILE keeps them"
    if in_document:
        where = f"have no terms{'' if rejects is None else f'; copies are in {rejects}'}"
    elif rejects is not None:
        rest = f", except {unheld:,} that were too long to keep" if unheld else ""
        where = f"are in {rejects} instead of the output{rest}"
    return f"{tally.rejected:,} of {tally.read:,} records {where}"
