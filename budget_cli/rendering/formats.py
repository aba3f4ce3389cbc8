"""Answers → JSON and CSV: stable names, null for what does not exist."""

import io
import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from budget_cli.analysis.fields import SCHEMA as FIELDS_SCHEMA
from budget_cli.analysis.fields import Inventory
from budget_cli.analysis.gates import Verdict
from budget_cli.analysis.loss import SCHEMA, Loss, Prompt, number_at, number_names
from budget_cli.records.columns import Rejection
from budget_cli.rendering.safe import for_csv


def json_of_loss(
    loss: Loss,
    status: str,
    gates: Sequence[Verdict],
    rejections: Sequence[Rejection],
    incomplete: Sequence[str],
    prompts: Iterable[Prompt] | None,
    precision: int,
    by: Sequence[dict[str, Any]] | None = None,
) -> bytes:
    """One JSON object and a newline; numbers rounded to `precision` places, except the coefficients and the gates."""
    body = rounded(as_dict(loss), precision)
    body["coefficients"] = as_dict(loss.coefficients)
    result = {
        "schema": SCHEMA,
        "status": status,
        **body,
        "rejections": rejections_as_dicts(rejections),
        "gates": [as_dict(gate) for gate in gates],
        "incomplete": [utf8(problem) for problem in incomplete],
    }
    if prompts is not None:
        result["per_prompt"] = [rounded(as_dict(prompt), precision) for prompt in prompts]
    if by is not None:
        result["by"] = by
    return orjson.dumps(result, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def json_of_inventory(inventory: Inventory) -> bytes:
    """One JSON object and a newline."""
    result = {"schema": FIELDS_SCHEMA, **as_dict(inventory), "fields": [as_dict(found) for found in inventory.fields]}
    return orjson.dumps(result, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def csv_of_loss(loss: Loss, status: str, precision: int) -> bytes:
    """A header of dotted names and one row."""
    names = number_names()
    row = {name: rounded(number_at(loss, name), precision) for name in names}
    return csv_of(["status", "aggregate", *names], [[status, loss.aggregate, *row.values()]])


def csv_of_prompts(prompts: Iterable[Prompt], precision: int) -> bytes:
    """A header and one row a prompt."""
    names = Prompt._fields
    return csv_of(names, ([rounded(getattr(prompt, name), precision) for name in names] for prompt in prompts))


def as_dict(answer: Any) -> dict[str, Any]:
    """A named tuple, and those inside it, as dicts."""
    pairs = zip(answer._fields, answer, strict=True)
    return {name: as_dict(value) if hasattr(value, "_fields") else value for name, value in pairs}


def rejections_as_dicts(rejections: Sequence[Rejection]) -> list[dict[str, Any]]:
    """As the JSON has them."""
    return [{**rejection._asdict(), "source": utf8(rejection.source)} for rejection in rejections]


def utf8(text: str) -> str:
    """Text that may hold the name of a file, whose bytes need not be UTF-8."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def rounded(value: Any, precision: int) -> Any:
    """`value` with every float in it rounded to `precision` places."""
    if isinstance(value, float):
        return round(value, precision) + 0.0  # -0.0 becomes 0.0
    if isinstance(value, dict):
        return {key: rounded(inner, precision) for key, inner in value.items()}
    return value


def csv_of(header: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """A header and rows; no cell is taken for a formula."""
    import csv

    text = io.StringIO(newline="")
    quoted = csv.writer(text, lineterminator="\r\n")  # with "\n" alone it would not quote a lone "\r"
    written = []
    for row in itertools.chain([header], rows):
        quoted.writerow([for_csv(_cell(value)) for value in row])
        written.append(text.getvalue().removesuffix("\r\n") + "\n")
        text.seek(0)
        text.truncate()
    return "".join(written).encode("utf-8", "backslashreplace")


def _cell(value: object) -> object:
    """None is an empty cell; true and false as JSON writes them."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value
