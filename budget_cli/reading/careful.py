"""A block of lines → columns, line by line: the reading that can name file, line, column, field and reason.

It defines what a valid record is. The fast reading (`fast`) agrees with it wherever it answers at all.
"""

import json
import math
from collections.abc import Callable, Iterable, Iterator
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any, Final

import numpy as np
import orjson

from budget_cli.reading import columns
from budget_cli.reading.columns import Columns, Decoded, Floats, Key, Rejection, Tally
from budget_cli.reading.fields import KINDS, Fields, Path, written

MAX_EXACT = 2**53  # the largest integer up to which a float is exact
KEYS_SHOWN = 12  # of a record, where the one looked for is missing
MAX_DEPTH = 1024  # orjson's limit on nesting
MISSING: Final = object()

# prompt id, reward, length (tokens), log-prob and old log-prob (nats)
Response = tuple[Key, float, float | None, float | None, float | None]


class Bad(Exception):
    """Why a record is not used; caught by `decode`, never seen outside."""

    def __init__(self, code: str, message: str, field: str | None = None, path: Path | None = None, column: int = 0):
        super().__init__(code, message, field, path, column)
        self.code, self.message, self.field, self.path, self.column = code, message, field, path, column


def decode(data: bytes, fields: Fields, max_line_bytes: int, keep: int | None) -> Decoded:
    """Read every line of the block; `keep` at most so many rejections (None: all), count all of them."""
    rows: list[Response] = []
    tally = Tally()
    rejections: list[Rejection] = []
    lines = data.split(b"\n")
    torn = lines[-1]  # what follows the last newline: nothing, or a line without its end
    if not torn:
        lines.pop()
    for number, line in enumerate(lines, start=1):
        if len(line) <= max_line_bytes and not line.strip(b" \t\r"):
            tally.blank += 1
            continue
        tally.read += 1
        try:
            rows += _record(line, fields, max_line_bytes)
        except Bad as bad:
            if number == len(lines) and torn and _is_torn(line, bad):
                bad = Bad("truncated-tail", f"the last line is cut off ({bad.message})", column=bad.column)
            tally.rejected += 1
            tally.by_code[bad.code] += 1
            if keep is None or len(rejections) < keep:
                column = bad.column or _column_of(line, bad.path)
                rejections.append(Rejection("", number, column, bad.code, bad.field, bad.message))
        else:
            tally.used += 1
    keys, codes = columns.of_ids([row[0] for row in rows])
    reward = np.array([row[1] for row in rows], dtype=np.float64)
    length = columns.optional([row[2] for row in rows])
    log_prob = columns.optional([row[3] for row in rows])
    old_log_prob = columns.optional([row[4] for row in rows])
    return Decoded(Columns(keys, codes, reward, length, log_prob, old_log_prob), tally, len(lines), rejections)


# ---- a line → its value


def _is_torn(line: bytes, bad: Bad) -> bool:
    """Whether a line without its newline was cut off, not just wrong: it begins an object and does not end it."""
    if bad.code not in ("not-json", "invalid-utf8", "lone-surrogate") or not line.lstrip().startswith(b"{"):
        return False
    return not line.rstrip().endswith(b"}") or "unexpected end" in bad.message


def _parsed(line: bytes, max_line_bytes: int) -> Any:
    if len(line) > max_line_bytes:
        raise Bad("line-too-long", f"longer than {max_line_bytes:,} bytes (--max-line-bytes)", column=1)
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return _diagnosed(line, error)


def _diagnosed(line: bytes, error: orjson.JSONDecodeError) -> Any:
    """Why orjson refused the line, in plain words; or its value, if a double's range was the only trouble."""
    try:
        text = line.decode()
    except UnicodeDecodeError as bad_bytes:
        column = len(line[: bad_bytes.start].decode()) + 1
        raise Bad("invalid-utf8", f"byte 0x{line[bad_bytes.start]:02x} is not UTF-8", column=column) from None
    if not text.strip("\0 \t\r"):
        raise Bad("nul-bytes", "a run of NUL bytes, as an interrupted write leaves it", column=1)
    column = error.colno
    if line.count(b"[") + line.count(b"{") > MAX_DEPTH and ("depth" in error.msg or "memory" in error.msg):
        raise Bad("too-deep", f"nested deeper than {MAX_DEPTH} levels", column=column)
    if "surrogate" in error.msg:
        raise Bad("lone-surrogate", "half of a \\u surrogate pair in a string", column=column)
    if "unexpected content" in error.msg:
        raise Bad("not-json", "more after the end of the value: one record a line was expected", column=column)
    constants: list[str] = []

    def noted(name: str) -> float:
        constants.append(name)
        return math.nan

    try:
        value = json.loads(text, parse_constant=noted, parse_int=_integer)
    except (ValueError, RecursionError):
        raise Bad("not-json", f"not JSON: {error.msg}", column=column) from None
    if constants:
        where = _name_of_first(value, lambda x: isinstance(x, float) and math.isnan(x))
        column = column - constants[0].startswith("-")
        raise Bad("non-finite", f"{constants[0]} is not a number that can be averaged", field=where, column=column)
    return value  # a number beyond the range of a double: rejected only where it is read


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) < 400 else float(digits)  # Python refuses to convert thousands of digits


def _name_of_first(value: Any, wanted: Callable[[Any], bool]) -> str | None:
    """`a.b[3]`: where in a JSON value the first such element is."""
    pending: list[tuple[str, Any]] = [("", value)]
    while pending:
        name, node = pending.pop()
        if wanted(node):
            return name or None
        if isinstance(node, dict):
            pending += reversed([(f"{name}.{key}" if name else key, child) for key, child in node.items()])
        elif isinstance(node, list):
            pending += reversed([(f"{name}[{i}]", child) for i, child in enumerate(node)])
    return None


# ---- a value → responses


def _record(line: bytes, fields: Fields, max_line_bytes: int) -> list[Response]:
    """The responses that the line holds."""
    record = _parsed(line, max_line_bytes)
    if not isinstance(record, dict):
        raise Bad("not-an-object", f"expected an object, found {type_name(record)}", column=1)
    key = _field(record, fields, "prompt_id", "prompt_id", prompt_id)
    if _found(record, fields.paths["reward"]) is MISSING and _found(record, fields.paths["rewards"]) is not MISSING:
        return _prompt(record, fields, key)
    reward = _field(record, fields, "reward", "reward", number)
    log_prob, tokens = _field(record, fields, "log_prob", "log_prob", sequence) or (None, None)
    old_log_prob, old_tokens = _field(record, fields, "old_log_prob", "old_log_prob", sequence) or (None, None)
    if tokens is not None and old_tokens is not None and tokens != old_tokens:
        raise Bad(
            "unequal-lengths",
            f"{_count(old_tokens)}, but log_prob has {tokens}",
            "old_log_prob",
            fields.paths["old_log_prob"],
        )
    length = _length(record, fields, "response_length", whole, tokens if tokens is not None else old_tokens)
    return [(key, reward, length, log_prob, old_log_prob)]


def _prompt(record: dict[str, Any], fields: Fields, key: Key) -> list[Response]:
    """A record with the arrays of a prompt's responses."""
    rewards = _field(record, fields, "rewards", "reward", _each(number))
    log_probs = _field(record, fields, "log_probs", "log_prob", _each(sequence))
    old_log_probs = _field(record, fields, "old_log_probs", "old_log_prob", _each(sequence))
    tokens = next((p for p in (log_probs, old_log_probs) if p and all(n is not None for _, n in p)), None)
    lengths = _length(record, fields, "response_lengths", _each(whole), [n for _, n in tokens] if tokens else None)
    named = {"log_probs": log_probs, "old_log_probs": old_log_probs, "response_lengths": lengths}
    for name, values in named.items():
        if values is not None and len(values) != len(rewards):
            message = f"{_count(len(values))}, but rewards has {len(rewards)}"
            raise Bad("unequal-lengths", message, name, fields.paths[name])
    for i, ((_, tokens_i), (_, old_tokens_i)) in enumerate(zip(log_probs or [], old_log_probs or [], strict=False)):
        if tokens_i is not None and old_tokens_i is not None and tokens_i != old_tokens_i:
            message = f"response {i}: {_count(old_tokens_i)}, but log_probs has {tokens_i}"
            raise Bad("unequal-lengths", message, "old_log_probs", fields.paths["old_log_probs"])
    nothing = [None] * len(rewards)
    return [
        (key, reward, length, log_prob and log_prob[0], old and old[0])
        for reward, length, log_prob, old in zip(
            rewards, lengths or nothing, log_probs or nothing, old_log_probs or nothing, strict=True
        )
    ]


def _count(elements: int) -> str:
    return f"{elements} element{'' if elements == 1 else 's'}"


def _field(record: dict[str, Any], fields: Fields, name: str, canonical: str, check: Callable[[Any], Any]) -> Any:
    """The checked value of a field; None where it is not there and not needed."""
    path = fields.paths[name]
    value = _found(record, path)
    try:
        if value is MISSING or value is None:
            if not fields.required(canonical):
                return None
            raise _absent(value, canonical, record, path)
        if any(step.each for step in path):
            value = _summable(value, KINDS[canonical])
        return check(value)
    except Bad as bad:
        shown = written(path)
        bad.field = name if shown == name else f"{name} ({shown})"
        bad.path = path
        raise


def _absent(value: Any, canonical: str, record: dict[str, Any], path: Path) -> Bad:
    """What is not there and is needed, and every way out."""
    if value is None:
        return Bad("null", "null")
    without = {
        "log_prob": "--kl-coef 0 does without it, or ",
        "old_log_prob": "--kl-coef 0 does without it, or ",
        "response_length": "--budget-penalty-coef 0 does without it, or ",
    }.get(canonical, "")
    there = list(record)[:KEYS_SHOWN]
    keys = (
        f" (there are {', '.join(there)}{', …' if len(record) > KEYS_SHOWN else ''})"
        if path[0].key not in record
        else ""
    )
    return Bad("missing", f"missing{keys}; {without}give --field {canonical}=PATH")


def _length(record: dict[str, Any], fields: Fields, name: str, check: Callable[[Any], Any], tokens: Any) -> Any:
    """The length as given, else the number of tokens of a log-prob list, else None where none is needed."""
    if tokens is not None and _found(record, fields.paths[name]) is MISSING:
        return tokens
    return _field(record, fields, name, "response_length", check)


def _found(record: Any, path: Path) -> Any:
    """The value at the path, a flat list of values if the path goes through `[]`, or MISSING."""
    for depth, step in enumerate(path):
        if not isinstance(record, dict) or step.key not in record:
            return MISSING
        record = record[step.key]
        if step.each:
            if not isinstance(record, list):
                raise Bad("wrong-type", f"expected a list, found {type_name(record)}", written(path), path)
            rest = path[depth + 1 :]
            for i, element in enumerate(record):
                if rest and not isinstance(element, dict):
                    message = f"element {i}: expected an object, found {type_name(element)}"
                    raise Bad("wrong-type", message, written(path), path)
            found = [_found(element, rest) for element in record] if rest else record
            inner = any(later.each for later in rest)
            values: list[Any] = []
            for value in found:
                if value is not MISSING:
                    values += value if inner else [value]
            return values or MISSING
    return record


def _summable(values: list[Any], kind: str) -> Any:
    """What `[]` found, as one value of this kind: tokens are joined, numbers are summed."""
    if kind == "sequence":
        joined: list[Any] = []
        for value in values:
            joined += value if isinstance(value, list) else [value]
        return joined
    check = whole if kind == "whole" else number
    return _finite(exact_sum(map(check, values)))


# ---- checks of one value


def number(value: Any) -> float:
    """A JSON number, finite."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Bad("wrong-type", f"expected a number, found {type_name(value)}")
    try:
        as_float = float(value)
    except OverflowError:
        as_float = math.inf
    if not math.isfinite(as_float):
        raise Bad("non-finite", "a number beyond the range of a double")
    return as_float


def whole(value: Any) -> float:
    """A whole number of tokens, 0 or more; 12.0 is 12."""
    as_float = number(value)
    if as_float < 0 or as_float != int(as_float) or as_float > MAX_EXACT:
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
    return _finite(token_sum(np.array(value, dtype=np.float64))), len(value)


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


def _finite(total: float) -> float:
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
        raise Bad("non-finite", "a number beyond the range of a double")
    if isinstance(value, int) and abs(value) < 2**63:
        return value
    if isinstance(value, int) or (value == value // 1 and abs(value) > MAX_EXACT):
        raise Bad("inexact-id", "an integer too large to be exact everywhere: quote it")
    if value != value // 1:
        raise Bad("wrong-value", f"expected a string or an integer, found {value}")
    return int(value)


def _each(check: Callable[[Any], Any]) -> Callable[[Any], list[Any]]:
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
    return names[type(value)]


# ---- where in the line


def _column_of(line: bytes, path: Path | None) -> int:
    """The column (characters, 1-based) at which the value at the path begins, or 1 where there is none."""
    if path is None:
        return 1
    text = line.decode()
    at = _skip_space(text, 0)
    for step in path:
        if text[at] != "{":
            break
        try:
            inner = dict(_members(text, at))
        except RecursionError:  # the json module gives up at a little less depth than orjson
            return 1
        if step.key not in inner:
            return 1
        at = inner[step.key]
    return at + 1


_SKIPPED = json.JSONDecoder(parse_int=str)  # a number of thousands of digits is not converted


def _members(text: str, at: int) -> Iterator[tuple[str, int]]:
    """(key, where its value begins) of the object that begins at `at`, in a text known to be JSON."""
    at = _skip_space(text, at + 1)
    while text[at] != "}":
        key, at = scanstring(text, at + 1)
        at = _skip_space(text, _skip_space(text, at) + 1)
        yield key, at
        _, at = _SKIPPED.raw_decode(text, at)
        at = _skip_space(text, at)
        if text[at] == ",":
            at = _skip_space(text, at + 1)


def _skip_space(text: str, at: int) -> int:
    while text[at] in " \t\r\n":
        at += 1
    return at
