"""A finished scan ↔ the lines of a summary: what another scan, elsewhere or later, takes in place of the records.

A header with the settings and the counts, then a line a prompt: its id, and for each source in which it occurs that
source's number and the columns of its row. The rows of the sources stay apart, so that whatever takes several
summaries can fold all sources in their order: the result is that of one scan to the last bit, however the files were
shared out. Numbers are written so that they read back as they were; docs/scale.md has the format.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
from numpy.typing import NDArray

from budget_cli.errors import InputProblem, UsageProblem
from budget_cli.groups.groups import Groups
from budget_cli.groups.lengths import Lengths
from budget_cli.groups.moments import Floats, Layout, Table
from budget_cli.ids import Ids, Key, Packed, taken
from budget_cli.reading import blocks, decoding, results, sources
from budget_cli.reading.columns import Rejection, Tally
from budget_cli.reading.fields import KINDS, Fields, written
from budget_cli.reading.sources import Source

if TYPE_CHECKING:
    from budget_cli.scanning.scan import Scan

KIND = "summary/1"
SCHEMA = f"budget-cli/{KIND}"
COUNTERS = ("by_code", "lacking")  # of a tally
CHUNK = 1 << 13  # prompts turned into Python's numbers at a time
LONGEST = 1 << 30  # bytes of a line: a prompt that occurs in a million files


@dataclass
class Summary:
    """What a summary holds, ready to be folded."""

    parts: list[tuple[str, Groups]]  # of each source, in order
    tally: Tally
    rejections: list[Rejection]
    incomplete: list[tuple[str, str]]  # sources that could not be read to their end, and why
    bytes: int


# ---- a scan → lines


def lines(found: "Scan", fields: Fields, layout: Layout) -> Iterator[bytes]:
    """The header, and the lines of the prompts, first seen first. The scan kept its sources apart."""
    parts = [groups for _, groups in found.parts]
    total = Lengths()
    for groups in parts:
        total.merge(groups.lengths)
    ids = Ids()
    place = np.concatenate([np.zeros(0, np.intp), *(ids.places(groups.keys()) for groups in parts)])
    number = np.repeat(np.arange(len(parts)), [len(groups) for groups in parts])
    table = np.concatenate([layout.empty(0), *(groups.table for groups in parts)])
    identity = layout.empty(1)[0]
    told = [name == "n" or bool(np.any(table[:, i] != identity[i])) for i, name in enumerate(layout.names)]
    header = {
        "schema": SCHEMA,
        "budgets": layout.budgets,
        **_settings(fields),
        "columns": [name for name, has in zip(layout.names, told, strict=True) if has],
        "prompts": len(ids),
        "sources": [name for name, _ in found.parts],
        "responses": int(table[:, layout.at("n")].sum()),
        "with_length": sum(groups.with_length for groups in parts),
        "with_log_ratio": sum(groups.with_log_ratio for groups in parts),
        "lengths": np.stack(total.items(), axis=1).tolist(),
        "records": {name: getattr(found.tally, name) for name in Tally.__dataclass_fields__ if name not in COUNTERS},
        "rejected": dict(found.tally.by_code),
        "lacking": dict(found.tally.lacking),
        "rejections": [rejection._asdict() for rejection in found.rejections],
        "incomplete": [[problem.source, problem.problem] for problem in found.problems],
    }
    yield orjson.dumps(header, option=orjson.OPT_APPEND_NEWLINE)
    yield from _prompts(ids.all(), place, np.column_stack([number, table[:, told]]))


def _settings(fields: Fields) -> dict[str, Any]:
    """What must be the same in all that is folded together."""
    return {
        "fields": {name: written(fields.paths[name]) for name in KINDS},
        "records_are": fields.records,
        "group": fields.group,
        "needs": {"length": fields.needs_length, "log_probs": fields.needs_log_probs},
    }


def _prompts(keys: Sequence[Key], place: NDArray[np.intp], rows: Table) -> Iterator[bytes]:
    """`rows`: the number of the source and the columns; `place`: of which key, first seen first."""
    order = np.argsort(place, kind="stable")
    ends = np.searchsorted(place[order], np.arange(len(keys) + 1))
    for start in range(0, len(keys), CHUNK):
        bounds = ends[start : start + CHUNK + 1].tolist()
        chunk = rows[order[bounds[0] : bounds[-1]]]
        plain = bool(np.isfinite(chunk).all())
        values = chunk.tolist()
        for key, (begin, end) in zip(keys[start : start + CHUNK], pairwise(bounds), strict=True):
            row: list[Any] = []
            for one in values[begin - bounds[0] : end - bounds[0]]:
                one[0] = int(one[0])
                row += one if plain else [value if value - value == 0 else str(value) for value in one]
            yield orjson.dumps({"prompt_id": key, "row": row}, option=orjson.OPT_APPEND_NEWLINE)


# ---- lines → what can be folded


def is_summary(source: Source) -> bool:
    """Whether the source begins as a summary does."""
    return results.kind_of(source) == KIND


def header_of(source: Source) -> dict[str, Any]:
    """The summary's first line.

    Raises:
        InputProblem: it is none.
    """
    head = b""
    for most in (1 << 16, 1 << 20, LONGEST):
        head = sources.head(source, most)
        if b"\n" in head or len(head) < most:
            break
    return _header(source, head.partition(b"\n")[0])


def _header(source: Source, line: bytes) -> dict[str, Any]:
    try:
        header: dict[str, Any] = orjson.loads(line)
    except orjson.JSONDecodeError:
        raise InputProblem(source.name, "begins as a summary of budget-cli, but its header is cut off") from None
    return header


def require_alike(
    headers: Mapping[str, dict[str, Any]], fields: Fields, budgets: Sequence[int], beside_records: bool
) -> None:
    """That these summaries (by name) can be folded together, and answer what is asked.

    Args:
        headers: their first lines.
        fields: what the coefficients need; and, `beside_records`, where records that are read have it.
        budgets: tokens.

    Raises:
        UsageProblem: one lacks a budget or the log-probs, or was made of other fields than the rest.
    """
    first, expected = next(iter(headers.items()))
    if beside_records:
        first, expected = "the records", _settings(fields)
    for name, header in headers.items():
        for budget in budgets:
            if budget not in header["budgets"]:
                has = ", ".join(map(str, header["budgets"])) or "none"
                raise UsageProblem(
                    f"{name}: a summary for other budgets: asked for {budget}, it has {has}; give one of those with -B,"
                    " or summarize again with this one"
                )
        for need, known, what, instead in (
            (fields.needs_log_probs, header["with_log_ratio"], "log-probs", "--kl-coef 0"),
            (fields.needs_length, header["with_length"], "lengths", "--budget-penalty-coef 0"),
        ):
            if need and known < header["responses"]:
                raise UsageProblem(
                    f"{name}: a summary with {what} of {known:,} of {header['responses']:,} responses: give {instead}"
                )
        for setting in ("fields", "records_are", "group"):
            if header[setting] != expected[setting]:
                one, other = _differing(header[setting], expected[setting])
                raise UsageProblem(
                    f"{name}: a summary of other prompts: {setting} {one}, but {other} in {first}; they do not add"
                )


def _differing(one: Any, other: Any) -> tuple[str, str]:
    if not isinstance(one, dict):
        return repr(one), repr(other)
    names = [name for name in one if one[name] != other.get(name)]
    return tuple(", ".join(f"{name}={each.get(name)}" for name in names) for each in (one, other))  # type: ignore[return-value]


def read(source: Source, layout: Layout) -> Summary:
    """All of a summary, for the budgets of this layout.

    Raises:
        InputProblem: it is cut off, or a line of it is none.
    """
    stream = blocks.cut(source.name, sources.pieces(source), LONGEST)
    first = next(stream, None)
    line, _, rest = (b"" if first is None else bytes(first.view)).partition(b"\n")
    header = _header(source, line)
    width = len(header["columns"]) + 1  # beside the number of the source
    keys, prompts = [Packed.of([])], 0
    places, rows, size = [np.zeros(0, np.intp)], [np.zeros((0, width))], len(line) + 1
    for data in chain([rest], (bytes(block.view) for block in stream)):
        size += len(data)
        found, counts, values = _parsed(source, data)
        if np.any(counts % width):
            raise InputProblem(source.name, f"a summary, but some row of it does not have {width} numbers")
        places.append(np.repeat(np.arange(prompts, prompts + len(found)), counts // width))
        rows.append(values.reshape(-1, width))
        keys.append(Packed.of(found))
        prompts += len(found)
    if prompts != header["prompts"]:
        raise InputProblem(source.name, f"a summary that is cut off: {prompts:,} prompts of {header['prompts']:,}")
    parts = _parts(header, layout, Packed.joined(keys), np.concatenate(places), np.concatenate(rows))
    tally = Tally(**header["records"], by_code=Counter(header["rejected"]), lacking=Counter(header["lacking"]))
    rejections = [Rejection(**rejection) for rejection in header["rejections"]]
    return Summary(parts, tally, rejections, [(name, why) for name, why in header["incomplete"]], size)


def _parsed(source: Source, data: bytes) -> tuple[Sequence[Key], NDArray[np.int64], Floats]:
    """The ids of some lines, how many numbers each has, and all those numbers."""
    if decoding.has_compiled_reader():
        from budget_cli.reading import compiled

        plain = compiled.rows_by_key(data, "prompt_id", "row")
        if plain is not None:
            return plain
    try:
        found = orjson.loads(b"[%b]" % b",".join(data.splitlines()))
        rows = [one["row"] for one in found]
        values = np.array([float(value) for row in rows for value in row], dtype=np.float64)
        return [one["prompt_id"] for one in found], np.array([len(row) for row in rows], dtype=np.int64), values
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        raise InputProblem(source.name, "a summary that is damaged: some line of it is no prompt and row") from None


def _parts(
    header: dict[str, Any], layout: Layout, keys: Packed, places: NDArray[np.intp], rows: Table
) -> list[tuple[str, Groups]]:
    """The groups of each source; what adds without order (the lengths, the counts) is with the first."""
    table = np.repeat(layout.empty(1), len(rows), axis=0)
    column = {name: i for i, name in enumerate(header["columns"], start=1)}
    for i, name in enumerate(layout.names):
        if name in column:
            table[:, i] = rows[:, column[name]]
    number = rows[:, 0].astype(np.intp)
    order = np.argsort(number, kind="stable")
    bounds = np.searchsorted(number[order], np.arange(len(header["sources"]) + 1)).tolist()
    parts = []
    for name, (begin, end) in zip(header["sources"], pairwise(bounds), strict=True):
        of_source = order[begin:end]
        if np.array_equal(places, np.arange(len(keys))) and of_source.size == len(keys):  # all there is, in its order
            parts.append((name, Groups.of_rows(layout, keys, table)))
        else:
            parts.append((name, Groups.of_rows(layout, taken(keys, places[of_source]), table[of_source])))
    if parts:
        first = parts[0][1]
        first.lengths = Lengths.of_items(header["lengths"])
        first.with_length, first.with_log_ratio = header["with_length"], header["with_log_ratio"]
    return parts
