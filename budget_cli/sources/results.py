"""A source that is an earlier JSON result of this program → its object. Knows how one begins, not what is in it."""

import re
from typing import Any

import orjson

from budget_cli.errors import InputProblem
from budget_cli.sources import local as sources
from budget_cli.sources.local import Source

BEGINS = re.compile(rb'\s*\{\s*"schema"\s*:\s*"budget-cli/([^"]*)"')


def kind_of(source: Source) -> str | None:
    """`loss/1`, if that is what the source begins as; None: it is no result."""
    found = BEGINS.match(sources.head(source, 1))
    return found[1].decode("utf-8", "replace") if found else None


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
