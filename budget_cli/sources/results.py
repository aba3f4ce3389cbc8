"""A source that is an earlier JSON result of this program → its object. Does not know what is in it."""

from typing import Any

import orjson

from budget_cli.errors import InputProblem
from budget_cli.sources import local as sources
from budget_cli.sources.local import Source

MOST_BYTES = 64 << 20  # with -v, a result lists all rejected records


def read_result(source: Source) -> dict[str, Any]:
    """The whole result.

    Raises:
        InputProblem: it is cut off or far too long, or something else follows.
    """
    found = bytearray()
    for piece in sources.pieces(source):
        found += piece
        if len(found) > MOST_BYTES:
            raise InputProblem(source.name, f"begins as a result of budget-cli and is longer than {MOST_BYTES:,} bytes")
    try:
        result: dict[str, Any] = orjson.loads(found)
    except orjson.JSONDecodeError as error:
        raise InputProblem(source.name, f"begins as a result of budget-cli and is not a whole one: {error}") from None
    return result
