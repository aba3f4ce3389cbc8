"""One JSON value → a checked number, token count, log-prob, prompt id or text. Knows no records and no lines.

Each function raises `Invalid` with the reason if the value is not what it must be.
"""

import math
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from budget_cli.ids import Key
from budget_cli.schema.json_values import Invalid, canonical, count_characters, exact_sum, type_name

MAX_EXACT = 2**53  # every integer up to this is exact as a double


def finite_number(value: Any) -> float:
    """Check that the value is a finite JSON number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        code = "number-as-string" if is_number_as_text(value) else "wrong-type"
        raise Invalid(code, f"expected a number, {_found(value)}")
    try:
        as_float = float(value)
    except OverflowError:
        as_float = math.inf
    if not math.isfinite(as_float):
        raise Invalid("non-finite", _not_finite(as_float))
    return as_float


def _found(value: Any) -> str:
    """Say what was found in place of a number; for a number that was written as a string, also how that happens."""
    if isinstance(value, str) and _WRITTEN.fullmatch(value):
        return f'found the string "{value}" (json.dumps with default=str writes numpy numbers like this)'
    return f"found {type_name(value)}"


_WRITTEN = re.compile(r"[-+]?\d{1,20}(\.\d{0,20})?([eE][-+]?\d{1,3})?|[-+]?(nan|inf)|True|False")


def is_number_as_text(value: Any) -> bool:
    """True if the value is a string that Python's str could have made of a number."""
    return isinstance(value, str) and _WRITTEN.fullmatch(value) is not None and value[-1].isdecimal()


def token_count(value: Any) -> float:
    """Check that the value is a whole number of tokens, 0 or more; 12.0 is 12."""
    as_float = finite_number(value)
    if as_float < 0 or as_float != int(as_float) or value > MAX_EXACT:
        raise Invalid("wrong-value", f"expected a whole number of tokens, 0 or more, found {value}")
    return as_float


class LogProb(NamedTuple):
    """The log-probability of a sequence."""

    total: float | None = None  # nats; None: there is none
    size: int | None = None  # number of its tokens; None: it is one number
    tokens: Sequence[float] = ()  # nats, of each token


def sequence_log_prob(value: Any) -> LogProb:
    """Return a sequence's log-probability.

    The value is a number, or a non-empty list with the log-probability of each token.
    """
    if not isinstance(value, list):
        return LogProb(finite_number(value))
    if not value:
        raise Invalid("missing", "an empty list holds no log-probs; --kl-coef 0 does without them")
    for i, token in enumerate(value):
        try:
            finite_number(token)
        except Invalid as bad:
            bad.message = f"element {i}: {bad.message}"
            raise
    return LogProb(finite_sum(exact_sum(value) + 0.0), len(value), value)


def summed_if_any(value: Any) -> LogProb:
    """Return what `sequence_log_prob` does, or that there are no log-probs for an empty list."""
    return LogProb() if value == [] else sequence_log_prob(value)


def finite_sum(total: float) -> float:
    """Check that a sum did not overflow."""
    if not math.isfinite(total):
        raise Invalid("non-finite", "the sum is beyond the range of a double")
    return total


def prompt_id(value: Any) -> Key:
    """Check that the value is a string, or an integer that every reader keeps exact."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Invalid("wrong-type", f"expected a string or an integer, found {type_name(value)}")
    if isinstance(value, int) and abs(value) < 2**63:
        return value
    if isinstance(value, float) and not math.isfinite(value):
        raise Invalid("non-finite", _not_finite(value))
    if isinstance(value, int) or (value == value // 1 and abs(value) > MAX_EXACT):
        raise Invalid("inexact-id", "this integer is too large to be exact in every JSON reader: write it as a string")
    if value != value // 1:
        raise Invalid("wrong-value", f"expected a string or an integer, found {value}")
    return int(value)


def label(value: Any) -> Key:
    """Return a string or an integer as it is, any other finite number and a boolean as they are written in JSON."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(finite_number(value) + 0.0)
    return prompt_id(value)


def same_for_every_token(values: list[Any]) -> Any:
    """Return the one number that a list repeats for every token, as trainers store advantages."""
    if any(value != values[0] for value in values):
        raise Invalid("wrong-value", "expected the same number for every token")
    return values[0]


def text_digest(value: Any) -> tuple[int, int]:
    """Return an 8-byte digest of a string, messages or tokens, never 0, and the number of characters; -1 for tokens."""
    if not isinstance(value, (str, list, dict)):
        raise Invalid("wrong-type", f"expected a text, found {type_name(value)}")
    import hashlib  # 4 ms, which only runs that read texts need

    whole_text = value if isinstance(value, str) else canonical(value)
    digest = hashlib.blake2b(whole_text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little") or 1, count_characters(value)


def _not_finite(value: float) -> str:
    if math.isnan(value):  # from Parquet or an expression: JSON has no NaN
        return "NaN is not a number that can be averaged"
    return "a number beyond the range of a double"


def list_of(check: Callable[[Any], Any]) -> Callable[[Any], list[Any]]:
    """Make a check for a non-empty list with one value per response."""

    def checked(values: Any) -> list[Any]:
        if not isinstance(values, list):
            raise Invalid("wrong-type", f"expected a list, found {type_name(values)}")
        if not values:
            raise Invalid("wrong-value", "an empty list: a prompt has at least one response")
        checked_values = []
        for i, value in enumerate(values):
            try:
                checked_values.append(check(value))
            except Invalid as bad:
                bad.message = f"response {i}: {bad.message}"
                raise
        return checked_values

    return checked
