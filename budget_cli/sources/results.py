"""A source that is an earlier JSON result of this program → its object. Knows not what is in it."""

from typing import Any

import orjson

from budget_cli.errors import InputProblem
from budget_cli.sources import local as sources
from budget_cli.sources.local import Source


def read_result(source: Source) -> dict[str, Any]:
    """The whole result.

    Raises:
        InputProblem: it is cut off, or something else follows.
    """
    try:
        result: dict[str, Any] = orjson.loads(b"".join(sources.pieces(source)))
    except orjson.JSONDecodeError as error:
        raise InputProblem(source.name, f"begins as a result of budget-cli and is not a whole one: {error}") from None
    return result
