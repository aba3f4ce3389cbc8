"""Values of an answer → JSON, CSV and Markdown tables. Knows no answers.

Names are stable, and what does not exist is null or an empty cell.
"""

import io
import itertools
import re
from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from budget_cli.analysis.gates import GateResult
from budget_cli.records.columns import Rejection
from budget_cli.rendering.safe import COMMAND, for_csv, for_markdown


def json_document(value: object) -> bytes:
    """Return indented JSON and a newline."""
    return _without_commands(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


def json_line(value: object) -> bytes:
    """Return JSON on one line."""
    return _without_commands(orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE))


# UTF-8 of C1 controls, marks of direction, zero-width characters and line separators, which a terminal may obey or hide
INVISIBLE = rb"\xc2[\x80-\x9f]|\xc2\xad|\xd8\x9c|\xe2\x80[\x8b-\x8f\xa8-\xae]|\xe2\x81[\xa0-\xaf]|\xef\xbb\xbf"


def _without_commands(document: bytes) -> bytes:
    """Spell what a runner of CI or a terminal would obey in another way; it can only be inside a string."""
    if b"##" in document:
        document = re.sub(COMMAND.encode(), rb"#\\u0023", document)
    if document.isascii():
        return document
    return re.sub(INVISIBLE, lambda found: b"\\u%04x" % ord(found[0].decode()), document)


def csv_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """Return a header and rows in which no cell is taken for a formula."""
    import csv  # 1 ms, and only for this format

    text = io.StringIO(newline="")
    quoted = csv.writer(text, lineterminator="\r\n")  # with "\n" alone it would not quote a lone "\r"
    written = []
    for row in itertools.chain([header], rows):
        quoted.writerow([for_csv(_csv_cell(value)) for value in row])
        written.append(text.getvalue().removesuffix("\r\n") + "\n")
        text.seek(0)
        text.truncate()
    return "".join(written).encode("utf-8", "backslashreplace")


def _csv_cell(value: object) -> object:
    """Spell booleans as JSON does; the writer leaves the cell of None empty."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table whose cells cannot add markup of their own."""
    lines = [_markdown_row(map(_markdown_cell, header)), _markdown_row(["---"] * len(header))]
    return "".join(lines) + "".join(_markdown_row(map(_markdown_cell, row)) for row in rows)


def _markdown_row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |\n"


def _markdown_cell(value: object) -> str:
    if value is None:
        return ""
    return for_markdown(value) if isinstance(value, str) else str(value)


def gates_table(gates: Sequence[GateResult]) -> str:
    """Return a Markdown table of gates, after an empty line; "" if there are none."""
    if not gates:
        return ""
    rows = [(gate.expression, gate.value, "pass" if gate.passed else "fail") for gate in gates]
    return "\n" + markdown_table(("gate", "value", "verdict"), rows)


def as_dict(answer: Any) -> dict[str, Any]:
    """Convert a named tuple, and those inside it, to dicts."""
    pairs = zip(answer._fields, answer, strict=True)
    return {name: as_dict(value) if hasattr(value, "_fields") else value for name, value in pairs}


def rejections_as_dicts(rejections: Sequence[Rejection]) -> list[dict[str, Any]]:
    """Convert rejections to the objects of the JSON, which have a path in JSON documents only."""
    return [{**rejection.as_dict(), "source": utf8(rejection.source)} for rejection in rejections]


def utf8(text: str) -> str:
    """Escape the bytes of a file name that are not UTF-8."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def utf8_key(key: Any) -> Any:
    """Escape the same in a key, which is a prompt id or a label and may be the name of a file."""
    return utf8(key) if isinstance(key, str) else key


def rounded(value: Any, precision: int) -> Any:
    """Round every float in `value` to `precision` places; -0.0 becomes 0.0."""
    if isinstance(value, float):
        return round(value, precision) + 0.0
    if isinstance(value, dict):
        return {key: rounded(inner, precision) for key, inner in value.items()}
    return value
