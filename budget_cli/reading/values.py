"""One JSON value → a checked number, token count, log-prob or prompt id, or why not. Knows no records and no lines."""

import math
import re
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from budget_cli.reading.columns import Floats, Key
from budget_cli.reading.fields import Place

MAX_EXACT = 2**53  # the largest integer up to which a float is exact


class Bad(Exception):
    """Why a record is not used; caught where the line is known, never seen outside."""

    def __init__(self, code: str, message: str, field: str | None = None, path: Place | None = None, column: int = 0):
        super().__init__(code, message, field, path, column)
        self.code, self.message, self.field, self.path, self.column = code, message, field, path, column


def number(value: Any) -> float:
    """A JSON number, finite."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Bad("wrong-type", f"expected a number, found {_said(value)}")
    try:
        as_float = float(value)
    except OverflowError:
        as_float = math.inf
    if not math.isfinite(as_float):
        raise Bad("non-finite", _not_finite(as_float))
    return as_float


def _said(value: Any) -> str:
    """The type of what is no number, and of a number that became text, how."""
    if isinstance(value, str) and _WRITTEN.fullmatch(value):
        return f'the text "{value}" (so json.dumps writes a numpy number with default=str)'
    return type_name(value)


_WRITTEN = re.compile(r"[-+]?\d{1,20}(\.\d{0,20})?([eE][-+]?\d{1,3})?|[-+]?(nan|inf)|True|False")


def is_number_as_text(value: Any) -> bool:
    """Whether a text is what Python's str makes of a number."""
    return isinstance(value, str) and _WRITTEN.fullmatch(value) is not None and value[-1].isdecimal()


def whole(value: Any) -> float:
    """A whole number of tokens, 0 or more; 12.0 is 12."""
    as_float = number(value)
    if as_float < 0 or as_float != int(as_float) or value > MAX_EXACT:
        raise Bad("wrong-value", f"expected a whole number of tokens, 0 or more, found {value}")
    return as_float


def sequence(value: Any) -> tuple[float, int | None]:
    """A log-probability (nats) and its number of tokens: a number, or the non-empty list of its tokens', summed."""
    if not isinstance(value, list):
        return number(value), None
    if not value:
        raise Bad("wrong-value", "an empty list of log-probabilities has no sum")
    for i, token in enumerate(value):
        try:
            number(token)
        except Bad as bad:
            bad.message = f"element {i}: {bad.message}"
            raise
    return finite(token_sum(np.array(value, dtype=np.float64))), len(value)


def token_sum(tokens: Floats) -> float:
    """The sum of per-token log-probs, to 1e-12 whatever their order.

    Where little cancels, as among log-probs, numpy's pairwise sum: its error is below (8 + log2 n) units in the last
    place of Σ|x|, here at most 100 times the sum. Else Shewchuk's exact sum (1997, by math.fsum).
    """
    with np.errstate(over="ignore"):
        total, size = float(tokens.sum()), np.abs(tokens).sum()
    return total if 100 * abs(total) >= size else exact_sum(tokens)


def exact_sum(values: Iterable[float]) -> float:
    """The correctly rounded sum, or inf if it is beyond the range of a double."""
    try:
        return math.fsum(values)
    except OverflowError:
        return math.inf


def finite(total: float) -> float:
    if not math.isfinite(total):
        raise Bad("non-finite", "the sum is beyond the range of a double")
    return total


def prompt_id(value: Any) -> Key:
    """A string, or an integer that is exact."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Bad("wrong-type", f"expected a string or an integer, found {type_name(value)}")
    if not math.isfinite(value):
        raise Bad("non-finite", _not_finite(value))
    if isinstance(value, int) and abs(value) < 2**63:
        return value
    if isinstance(value, int) or (value == value // 1 and abs(value) > MAX_EXACT):
        raise Bad("inexact-id", "an integer too large to be exact everywhere: quote it")
    if value != value // 1:
        raise Bad("wrong-value", f"expected a string or an integer, found {value}")
    return int(value)


def _not_finite(value: float) -> str:
    if math.isnan(value):  # of a column of Parquet, or computed of one: no JSON holds it
        return "NaN is not a number that can be averaged"
    return "a number beyond the range of a double"


def each(check: Callable[[Any], Any]) -> Callable[[Any], list[Any]]:
    def checked(values: Any) -> list[Any]:
        if not isinstance(values, list):
            raise Bad("wrong-type", f"expected a list, found {type_name(values)}")
        if not values:
            raise Bad("wrong-value", "an empty list: a prompt has at least one response")
        checked_values = []
        for i, value in enumerate(values):
            try:
                checked_values.append(check(value))
            except Bad as bad:
                bad.message = f"response {i}: {bad.message}"
                raise
        return checked_values

    return checked


def type_name(value: Any) -> str:
    """What JSON calls the type of a value, with its article."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    names = {str: "a string", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return names.get(type(value), f"a {type(value).__name__}")  # a timestamp, bytes: Parquet has more than JSON
