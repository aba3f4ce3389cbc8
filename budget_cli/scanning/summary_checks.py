"""The header and the rows of a summary, as anybody may have written them → the same, checked.

A summary is a file like any other: cut off, damaged or edited. Each check names the line and the field. What a summary
says twice must agree, so that a number changed by hand is found; a checksum finds the rest, since version 0.2.
"""

import math
import re
from collections.abc import Callable
from itertools import chain
from operator import lt
from typing import Any, NoReturn

import numpy as np
import orjson
from numpy.typing import NDArray

from budget_cli.errors import InputProblem
from budget_cli.evidence.advantages import column_names
from budget_cli.groups.moments import EXACT, RIGHT, Floats, Layout, OwnBudgets, Table
from budget_cli.ids import Key
from budget_cli.objective.settings import OWN_FLOOR

VERSIONS = ("budget-cli/summary/1", "budget-cli/summary/2")
CHECKSUM = re.compile(rb',"checksum":"([0-9a-f]{32})"\}$')  # the last member of a header
TALLY = ("read", "used", "rejected", "blank", "skipped")
SIGNS = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}  # numbers that JSON cannot write
LOST = 2.0**-52  # of a number, the most that rounding it loses
SLACK = 1e-9  # between a mean and the extremes, relative to their size


def refuse(source: str, line: int, what: str) -> NoReturn:
    """Raise what is wrong with a line of a summary."""
    raise InputProblem(source, f"damaged or edited summary: line {line:,}: {what}: summarize the files again")


def sealed(header: dict[str, Any], checksum: str) -> bytes:
    """Return the line of a header with its checksum, which is over the line without it and all lines after it."""
    return b'%b,"checksum":"%b"}\n' % (orjson.dumps(header)[:-1], checksum.encode())


def opened(line: bytes) -> tuple[bytes, str | None]:
    """Return the line of a header without its checksum, and that; None if an earlier version wrote it."""
    seal = CHECKSUM.search(line)
    return (line, None) if seal is None else (line[: seal.start()] + b"}", seal[1].decode())


def checked_header(source: str, line: bytes) -> dict[str, Any]:
    """Parse the first line of a summary.

    Raises:
        InputProblem: it is not a header, or its numbers do not agree with each other.
    """
    try:
        header = orjson.loads(line)
    except orjson.JSONDecodeError:
        raise InputProblem(source, "truncated summary: its header is incomplete") from None
    if not isinstance(header, dict):
        refuse(source, 1, "expected a header")
    if header.get("schema", VERSIONS[0]) not in VERSIONS:
        expected = " or ".join(VERSIONS)
        raise InputProblem(source, f"schema {header['schema']!r}, expected {expected}: summarize the files again")
    for name, (what, fits) in FIELDS.items():
        if name not in header and name not in SINCE:
            refuse(source, 1, f"the header has no {name}")
        if name in header and not fits(header[name]):
            refuse(source, 1, f"{name}: expected {what}")
    for what, holds in AGREEMENTS.items():
        if not holds(header):
            refuse(source, 1, what)
    return header


def whole(value: Any) -> bool:
    """True for a number of things: an integer from 0 on that a double holds exactly."""
    return type(value) is int and 0 <= value <= EXACT


def _is_text(value: Any) -> bool:
    return type(value) is str


def _list_of(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(fits, value))


def _map_to(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, dict) and all(map(fits, value.values()))


def _tuple_of(*fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: (
        isinstance(value, list) and len(value) == len(fits) and all(fit(v) for fit, v in zip(fits, value, strict=True))
    )


def _is_label(value: Any) -> bool:
    return value is None or type(value) is str or (type(value) is int and abs(value) < 2**63)


def _is_rejection(value: Any) -> bool:
    wanted: dict[str, Callable[[Any], bool]] = {
        "source": _is_text,
        "line": whole,
        "column": lambda column: column is None or whole(column),
        "code": _is_text,
        "field": lambda field: field is None or _is_text(field),
        "message": _is_text,
    }
    if isinstance(value, dict) and "path" in value:  # in a JSON document
        wanted["path"] = _is_text
    return isinstance(value, dict) and value.keys() == wanted.keys() and all(fit(value[k]) for k, fit in wanted.items())


def _are_options(value: Any) -> bool:
    texts = _list_of(_is_text)
    wanted: dict[str, Callable[[Any], bool]] = {
        "places": _map_to(_is_text),
        "preset": _is_text,
        "records": _is_text,
        "presets": texts,
        "keep": texts,
        "ids_per_file": lambda given: given is True,
        "ignore_unneeded": lambda given: given is True,
        "tokenizer": _is_text,
    }
    return (
        isinstance(value, dict)
        and "places" in value
        and all(name in wanted and wanted[name](given) for name, given in value.items())
    )


def _is_tally(value: Any) -> bool:
    return isinstance(value, dict) and set(TALLY[:3]) <= set(value) <= set(TALLY) and all(map(whole, value.values()))


def _are_distinct(values: Any, fits: Callable[[Any], bool]) -> bool:
    return _list_of(fits)(values) and len(set(values)) == len(values)


def _are_lengths(value: Any) -> bool:
    """True for pairs of a length and a number of responses, which may be many: without a call for each."""
    if not isinstance(value, list) or any(map(_is_no_pair, value)):
        return False
    numbers = list(chain.from_iterable(value))
    lengths, counts = numbers[::2], numbers[1::2]
    return not numbers or (
        set(map(type, numbers)) == {int}
        and min(lengths) >= 0
        and min(counts) > 0
        and max(numbers) <= EXACT
        and all(map(lt, lengths, lengths[1:]))
    )


def _is_no_pair(value: Any) -> bool:
    return type(value) is not list or len(value) != 2


def _is_finite(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 2**1000


def _is_knot(value: Any) -> bool:
    """True for a budget, or for what is below all lengths, or all distances to a response's own budget."""
    return type(value) is int and OWN_FLOOR - 1 <= value <= EXACT


def _are_own_budgets(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == {*OwnBudgets._fields}
        and _is_text(value["of"])
        and _are_distinct(value["factors"], _is_finite)
        and _map_to(whole)(value["labels"])
        and (value["otherwise"] is None or whole(value["otherwise"]))
        and isinstance(value["is_distance"], bool)
    )


COUNT = "a whole number, 0 or more"
FIELDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "schema": ("a text", _is_text),
    "budgets": ("different whole numbers", lambda value: _are_distinct(value, _is_knot)),
    "correct_above": ("a number", _is_finite),
    "right": ("different whole numbers", lambda value: _are_distinct(value, _is_knot)),
    "by_token": ("true", lambda value: value is True),
    "own": (", ".join(OwnBudgets._fields), _are_own_budgets),
    "fields": ("a place for each field", _map_to(_is_text)),
    "records_are": ("a text", _is_text),
    "group": ("a text", _is_text),
    "prompts_of_steps": ("true or false", lambda value: isinstance(value, bool)),
    "needs": ("true or false for each field", _map_to(lambda value: isinstance(value, bool))),
    "leave_out": ("an expression for each reason", _map_to(_is_text)),
    "options": ("values of options", _are_options),
    "steps": ("texts and whole numbers", _list_of(_is_label)),
    "columns": ("different names", lambda value: _are_distinct(value, _is_text)),
    "prompts": (COUNT, whole),
    "sources": ("names", _list_of(_is_text)),
    "responses": (COUNT, whole),
    "rows": (COUNT, whole),
    "with_length": (COUNT, whole),
    "with_log_ratio": (COUNT, whole),
    "with_advantage": (COUNT, whole),
    "lengths": ("pairs of a length and a number of responses, in ascending order", _are_lengths),
    "records": (f"{', '.join(TALLY)}: whole numbers, 0 or more", _is_tally),
    "rejected": ("a whole number for each reason", _map_to(whole)),
    "lacking": ("a whole number for each field", _map_to(whole)),
    "length_origins": ("a whole number for each origin", _map_to(whole)),
    "rejections": ("places and reasons", _list_of(_is_rejection)),
    "incomplete": ("pairs of a source and a reason", _list_of(_tuple_of(_is_text, _is_text))),
    "left_out": ("a whole number for each reason", _map_to(whole)),
    "warnings": ("texts", _list_of(_is_text)),
    "left_out_places": ("places and reasons", _list_of(_tuple_of(_is_text, whole, _is_text))),
    "thresholds": ("a number for each check", _map_to(_is_finite)),
    "seen": ("an object for each source", _list_of(lambda value: isinstance(value, dict))),
}
# what not every version or run writes
SINCE = {
    "correct_above",
    "right",
    "by_token",
    "own",
    "records_are",
    "group",
    "prompts_of_steps",
    "needs",
    "leave_out",
    "options",
    "steps",
    "rows",
    "with_advantage",
    "length_origins",
    "left_out",
    "warnings",
    "left_out_places",
    "thresholds",
    "seen",
}


def _records_add_up(header: dict[str, Any]) -> bool:
    records, left_out = header["records"], sum(header.get("left_out", {}).values())
    rest = records["read"] - records["used"] - records["rejected"] - records.get("skipped", 0)
    return bool(0 <= rest <= left_out)


AGREEMENTS: dict[str, Callable[[dict[str, Any]], bool]] = {
    "columns: expected the names of moments": lambda header: (
        "n" in header["columns"]
        and set(header["columns"]) <= {*layout_of(header).names, *column_names(header["budgets"])}
    ),
    "with_length, with_log_ratio: more than responses": lambda header: (
        max(header["with_length"], header["with_log_ratio"]) <= header["responses"]
    ),
    "correct_above: missing": lambda header: "correct_above" in header or not set(RIGHT) & set(header["columns"]),
    "with_advantage: more than responses": lambda header: header.get("with_advantage", 0) <= header["responses"],
    "columns: expected all sums of advantages, or none": lambda header: (
        len({*column_names(())} & {*header["columns"]})
        in (0, len(column_names(())) if "with_advantage" in header else 0)
    ),
    "rows: fewer than responses": lambda header: header.get("rows", header["responses"]) >= header["responses"],
    "prompts: more than responses": lambda header: header["prompts"] <= header["responses"],
    "lengths: not as many as with_length": lambda header: (
        sum(count for _, count in header["lengths"]) == header["with_length"]
    ),
    "length_origins: not as many as with_length": lambda header: (
        sum(header.get("length_origins", {"field": header["with_length"]}).values()) == header["with_length"]
    ),
    "records: used, rejected and skipped do not add up to read": _records_add_up,
    "rejected: not as many as records.rejected": lambda header: (
        sum(header["rejected"].values()) == header["records"]["rejected"]
    ),
    "lacking: more than records.rejected": lambda header: (
        sum(header["lacking"].values()) <= header["records"]["rejected"]
    ),
    "rejections: more than records.rejected": lambda header: len(header["rejections"]) <= header["records"]["rejected"],
    "seen: not as many as sources": lambda header: len(header.get("seen", header["sources"])) == len(header["sources"]),
}


# ---- the lines after the header


def parsed_lines(source: str, data: bytes, line: int) -> tuple[list[Key], NDArray[np.int64], Floats]:
    """Return the ids in these lines, how many numbers each line has, and all the numbers.

    Args:
        source: the name of the summary.
        data: whole lines.
        line: the number of the first.

    Raises:
        InputProblem: a line holds anything else.
    """
    keys: list[Key] = []
    counts: list[int] = []
    values: list[float] = []
    for number, text in enumerate(data.removesuffix(b"\n").split(b"\n") if data else (), start=line):
        try:
            found = orjson.loads(text)
        except orjson.JSONDecodeError:
            refuse(source, number, "not JSON")
        if not isinstance(found, dict) or found.keys() != {"prompt_id", "row"} or not isinstance(found["row"], list):
            refuse(source, number, "a line holds no prompt_id and row")
        key = found["prompt_id"]
        if key is None or not _is_label(key):
            refuse(source, number, "prompt_id: expected a text or a whole number")
        keys.append(key)
        counts.append(len(found["row"]))
        values += [_number(source, number, value) for value in found["row"]]
    return keys, np.array(counts, dtype=np.int64), np.array(values, dtype=np.float64)


def _number(source: str, line: int, value: Any) -> float:
    if type(value) in (int, float):
        return float(value)
    if not isinstance(value, str) or value not in SIGNS:
        refuse(source, line, "row: expected numbers")
    return SIGNS[value]


def check_rows(source: str, header: dict[str, Any], numbers: Table, places: NDArray[np.intp], table: Table) -> None:
    """Check that the rows can be moments, and agree with the header.

    Args:
        source: the name of the summary.
        header: as checked.
        numbers: shape (rows, 1 + columns), the number of the source of each row, then the columns of the header.
        places: shape (rows,), the prompt of each row: the line after the header, counted from 0.
        table: shape (rows, columns), of the budgets of the header.

    Raises:
        InputProblem: a row is no row of moments, or the sums differ from those in the header.
    """
    layout, number = layout_of(header), numbers[:, 0]

    def column(name: str, budget: int | None = None) -> Floats:
        values: Floats = table[:, layout.at(name, budget)]
        return values

    def require(holds: NDArray[np.bool_], what: str) -> None:
        if not holds.all():
            refuse(source, int(places[np.argmin(holds)]) + 2, f"row: {what}")

    sources = len(header["sources"])
    require((number >= 0) & (number < sources) & (number == np.floor(number)), "expected the number of a source first")
    again = (np.diff(places) == 0) & (np.diff(number) <= 0)
    require(~np.append(again, np.zeros(min(1, places.size), dtype=bool)), "expected each source once, in order")
    n = column("n")
    require(_are_whole(n) & (n >= 1), "n: expected a whole number of responses, 1 or more")
    for name in ("rr", "kk"):
        require(~(column(name) < 0), f"{name}: expected a sum of squares")
    for name in ("L_sum", "L_min", "L_max"):
        require(_are_whole(column(name)) | ~np.isfinite(column(name)), f"{name}: expected a whole number of tokens")
    for low, high in (("r_min", "r_max"), ("L_min", "L_max")):
        require(~(column(low) > column(high)) | np.isinf(column(low)), f"{low}: more than {high}")
    require(np.isfinite(column("r_min")) & np.isfinite(column("r_max")), "r_min, r_max: expected numbers")
    if "correct_above" in header:
        right, above, tokens = column("right"), layout.correct_above, column("L_right")
        some, all_are = column("r_max") > above, column("r_min") > above
        require(_are_whole(right) & (right >= 0) & (right <= n), "right: expected a whole number, at most n")
        fits = ((right > 0) == some) & ((right == n) == all_are)
        require(fits, f"right: not the responses above {above:g} that r_min and r_max allow")
        fits = _are_whole(tokens) & (tokens >= 0) & (tokens <= column("L_sum")) | ~np.isfinite(column("L_sum"))
        require(fits, "L_right: expected a whole number of tokens, at most L_sum")
    columns = dict(zip(layout.names, table.T, strict=True))
    for name, low in columns.items():
        if "_low" in name:
            rounded = name.replace("_low", "")
            fits = (np.abs(low) <= LOST * np.abs(columns[rounded])) | ~np.isfinite(columns[rounded])
            require(fits, f"{name}: more than a rounding of {rounded}")
    with np.errstate(all="ignore"):
        mean, least, most = column("r0") + column("r1") / n, column("r_min"), column("r_max")
        slack = SLACK * (np.abs(least) + np.abs(most) + np.abs(column("r0")))
        require(~((mean < least - slack) | (mean > most + slack)), "r1: a mean beyond r_min and r_max")
        largest = n * np.square((most - least) * (1 + SLACK) + slack)
        require(~(column("rr") > largest), "rr: more than r_min and r_max allow")
    for at, budget in enumerate(layout.budgets):
        require(~(column("ee", at) < 0), f"ee@{budget}: expected a sum of squares")
        over = column("over", at)
        require(_are_whole(over) & (over >= 0) & (over <= n), f"over@{budget}: expected a whole number, at most n")
    if "a_n" in header["columns"]:
        with_advantage = numbers[:, header["columns"].index("a_n") + 1]
        fits = _are_whole(with_advantage) & (with_advantage >= 0) & (with_advantage <= n)
        require(fits, "a_n: expected a whole number, at most n")
        if with_advantage.sum() != header["with_advantage"]:
            refuse(source, 1, "with_advantage: the sum of a_n differs")
    for name, total, what in (
        ("responses", n.sum(), "the sum of n"),
        ("lengths", column("L_sum").sum(), "the sum of L_sum"),
    ):
        given = sum(length * count for length, count in header[name]) if name == "lengths" else header[name]
        if given != total and given <= EXACT:
            refuse(source, 1, f"{name}: {what} differs")


def layout_of(header: dict[str, Any]) -> Layout:
    """Return the columns that a summary with this header can have."""
    right = tuple(header.get("right", ()))
    own = header.get("own")
    if own is not None:
        own = OwnBudgets(**{**own, "factors": tuple(own["factors"]), "labels": tuple(own["labels"].items())})
    return Layout(tuple(header["budgets"]), float(header.get("correct_above", 0.0)), right, own, "by_token" in header)


def _are_whole(values: Floats) -> NDArray[np.bool_]:
    with np.errstate(invalid="ignore"):
        return np.asarray((values == np.floor(values)) & (np.abs(values) <= EXACT))


def row_of_duplicate(places: NDArray[np.intp]) -> int | None:
    """Return the number of the first id that was there before, of ids whose places are given; None if all differ."""
    expected = np.arange(places.size)
    return None if np.array_equal(places, expected) else int(np.argmax(places != expected))
