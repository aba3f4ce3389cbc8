"""A finished scan ↔ the lines of a summary: what another scan, elsewhere or later, takes in place of the records.

A header with the settings and the counts, then a line a prompt: its id, and for each source in which it occurs that
source's number and the columns of its row. The rows of the sources stay apart, and so does what was seen of their
responses, so that whatever takes several summaries can fold all sources in their order: the result is that of one scan
to the last bit, however the files were shared out. Numbers are written so that they read back as they were;
docs/summaries.md has the format.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
from numpy.typing import NDArray

from budget_cli import native
from budget_cli.errors import InputProblem, UsageProblem
from budget_cli.evidence.responses import ObservationSpec
from budget_cli.groups.groups import Groups
from budget_cli.groups.lengths import Lengths
from budget_cli.groups.moments import Floats, Layout, Table
from budget_cli.ids import Ids, Key, Packed
from budget_cli.records.columns import Rejection, Tally
from budget_cli.scanning import evidence_json
from budget_cli.scanning.state import SourceResult, Summary
from budget_cli.schema.fields import KINDS, Fields
from budget_cli.schema.parsing import place_text
from budget_cli.sources import blocks
from budget_cli.sources import local as sources
from budget_cli.sources.local import SUMMARY, Source

if TYPE_CHECKING:
    from budget_cli.scanning.state import Scan

SCHEMA = f"budget-cli/{SUMMARY}"
COUNTERS = ("by_code", "by_absent_field")  # of a tally
# what checks call the thresholds that are used while records are read, and what a Watch calls them
THRESHOLDS = {"positive-log-prob.nats": "positive", "log-ratio-outlier.nats": "outlier"}
CHUNK = 1 << 13  # prompts turned into Python's numbers at a time
DAMAGED = "a summary that is damaged: what its header says was seen cannot be"
LONGEST = 1 << 30  # bytes of a line: a prompt that occurs in a million files


# ---- a scan → lines


def write(found: "Scan", fields: Fields, layout: Layout, spec: ObservationSpec | None = None) -> Iterator[bytes]:
    """The header, and the lines of the prompts, first seen first. The scan kept its sources apart."""
    parts = [part.groups for part in found.source_results]
    total = Lengths()
    for groups in parts:
        total.merge(groups.lengths)
    ids = Ids()
    place = np.concatenate([np.zeros(0, np.intp), *(ids.places(groups.keys()) for groups in parts)])
    sizes = [len(groups) for groups in parts]
    number = np.repeat(np.arange(len(parts)), sizes)
    table = np.concatenate([layout.empty(0), *(groups.table for groups in parts)])
    identity = layout.empty(1)[0]
    told = [name == "n" or bool(np.any(table[:, i] != identity[i])) for i, name in enumerate(layout.names)]
    header = {
        "schema": SCHEMA,
        "budgets": layout.budgets,
        **_settings(fields),
        "columns": [name for name, has in zip(layout.names, told, strict=True) if has],
        "prompts": len(ids),
        "sources": [_utf8(part.name) for part in found.source_results],
        "responses": int(table[:, layout.at("n")].sum()),
        "with_length": sum(groups.with_length for groups in parts),
        "with_log_ratio": sum(groups.with_log_ratio for groups in parts),
        "lengths": np.stack(total.items(), axis=1).tolist(),
        "records": {name: getattr(found.tally, name) for name in Tally.__dataclass_fields__ if name not in COUNTERS},
        "rejected": dict(found.tally.by_code),
        "lacking": dict(found.tally.by_absent_field),
        "rejections": [{**one._asdict(), "source": _utf8(one.source)} for one in found.rejections],
        "incomplete": [[_utf8(problem.source), _utf8(problem.problem)] for problem in found.problems],
    }
    observed = [part.observations for part in found.source_results if part.observations is not None]
    if spec is not None and len(observed) == len(parts):  # else nobody looked, or not at all of them
        header["thresholds"] = _thresholds(spec)
        prompts = np.split(place, np.cumsum(sizes)[:-1])
        header["seen"] = [evidence_json.to_json(one.counters, of) for one, of in zip(observed, prompts, strict=False)]
    yield orjson.dumps(header, option=orjson.OPT_APPEND_NEWLINE)
    yield from _prompts(ids.all(), place, np.column_stack([number, table[:, told]]))


def _settings(fields: Fields) -> dict[str, Any]:
    """What must be the same in all that is folded together."""
    return {
        "fields": {name: place_text(fields.paths[name]) for name in KINDS},
        "records_are": fields.records,
        "group": fields.group,
        "needs": {"length": fields.needs_length, "log_probs": fields.needs_log_probs},
    }


def _thresholds(spec: ObservationSpec) -> dict[str, float]:
    """Those of the checks that are used while records are read."""
    return {name: getattr(spec, called) for name, called in THRESHOLDS.items()}


def _utf8(text: str) -> str:
    """The same, whatever bytes a file's name is made of."""
    return text.encode("utf-8", "backslashreplace").decode()


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
                row += one if plain else [evidence_json.number(value) for value in one]
            key = _utf8(key) if isinstance(key, str) else key  # with --group file it is a name
            yield orjson.dumps({"prompt_id": key, "row": row}, option=orjson.OPT_APPEND_NEWLINE)


# ---- lines → what can be folded


def header_of(source: Source) -> dict[str, Any]:
    """The summary's first line.

    Raises:
        InputProblem: it is none.
    """
    head = b""
    for most in (1 << 16, 1 << 20, 1 << 24, LONGEST):
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


def missing_evidence(headers: Mapping[str, dict[str, Any]], spec: ObservationSpec) -> str | None:
    """Why checks cannot be made of these summaries (by name): which does not know what was seen, and what to do."""
    for name, header in headers.items():
        counted = _counted_with(header)
        if counted is None:
            return f"{name}: a summary without what the checks count, from an earlier version: summarize again"
        for threshold, asked in _thresholds(spec).items():
            used = counted[threshold]
            if used != asked:
                return (
                    f"{name}: a summary that counted with {threshold}={used:g}, not {asked:g}; that is done while"
                    f" records are read: give --threshold {threshold}={used:g}, or check the records"
                )
    return None


def _counted_with(header: dict[str, Any]) -> dict[str, float] | None:
    """The thresholds with which responses were looked at; None: nobody looked."""
    told = header.get("thresholds")
    if "seen" not in header or not isinstance(told, dict):
        return None
    used: dict[str, Any] = {name: told.get(name) for name in THRESHOLDS}
    return used if all(type(value) in (int, float) for value in used.values()) else None


def read(source: Source, layout: Layout, spec: ObservationSpec | None = None) -> Summary:
    """All of a summary, for the budgets of this layout; and what was seen of its responses, if it is wanted and known.

    Raises:
        InputProblem: it is cut off, or a line of it is none.
    """
    stream = blocks.cut(source.name, sources.pieces(source), LONGEST)
    first = next(stream, None)
    line, _, rest = (b"" if first is None else bytes(first.view)).partition(b"\n")
    header = _header(source, line)
    width = len(header["columns"]) + 1  # beside the number of the source
    keys, prompts = [Packed.from_ids([])], 0
    places, rows, size = [np.zeros(0, np.intp)], [np.zeros((0, width))], len(line) + 1
    for data in chain([rest], (bytes(block.view) for block in stream)):
        size += len(data)
        found, counts, values = _parsed(source, data)
        if np.any(counts % width):
            raise InputProblem(source.name, f"a summary, but some row of it does not have {width} numbers")
        places.append(np.repeat(np.arange(prompts, prompts + len(found)), counts // width))
        rows.append(values.reshape(-1, width))
        keys.append(Packed.from_ids(found))
        prompts += len(found)
    if prompts != header["prompts"]:
        raise InputProblem(source.name, f"a summary that is cut off: {prompts:,} prompts of {header['prompts']:,}")
    told, ids = _told(source, header, spec), Packed.concatenate(keys)
    parts = _parts(source, header, layout, ids, np.concatenate(places), np.concatenate(rows), told)
    tally = Tally(**header["records"], by_code=Counter(header["rejected"]), by_absent_field=Counter(header["lacking"]))
    rejections = [Rejection(**rejection) for rejection in header["rejections"]]
    return Summary(parts, tally, rejections, [(name, why) for name, why in header["incomplete"]], size)


def _told(source: Source, header: dict[str, Any], spec: ObservationSpec | None) -> list[Any]:
    """What the header says was seen of each source; None of each, where nobody looked as this spec does."""
    number = len(header["sources"])
    if spec is None or _counted_with(header) != _thresholds(spec):
        return [None] * number
    told = header["seen"]
    if not isinstance(told, list) or len(told) != number or None in told:
        raise InputProblem(source.name, DAMAGED)
    return told


def _parsed(source: Source, data: bytes) -> tuple[Sequence[Key], NDArray[np.int64], Floats]:
    """The ids of some lines, how many numbers each has, and all those numbers."""
    if native.AVAILABLE:
        from budget_cli.records import compiled

        plain = compiled.ids_and_rows(data, "prompt_id", "row")
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
    source: Source,
    header: dict[str, Any],
    layout: Layout,
    keys: Packed,
    places: NDArray[np.intp],
    rows: Table,
    told: list[Any],
) -> list[SourceResult]:
    """What each source gave; what adds without order (the lengths, the counts) is with the first."""
    table = np.repeat(layout.empty(1), len(rows), axis=0)
    column = {name: i for i, name in enumerate(header["columns"], start=1)}
    for i, name in enumerate(layout.names):
        if name in column:
            table[:, i] = rows[:, column[name]]
    number = rows[:, 0].astype(np.intp)
    order = np.argsort(number, kind="stable")
    bounds = np.searchsorted(number[order], np.arange(len(header["sources"]) + 1)).tolist()
    parts = []
    for name, (begin, end), said in zip(header["sources"], pairwise(bounds), told, strict=True):
        of_source = order[begin:end]
        there = places[of_source]
        if np.array_equal(places, np.arange(len(keys))) and of_source.size == len(keys):  # all there is, in its order
            groups = Groups.from_rows(layout, keys, table)
        else:
            groups = Groups.from_rows(layout, keys.take(there), table[of_source])
        observed = None if said is None else evidence_json.from_json(said, there, layout.budgets)
        if said is not None and observed is None:
            raise InputProblem(source.name, DAMAGED)
        parts.append(SourceResult(name, groups, observed))
    if parts:
        first = parts[0].groups
        first.lengths = Lengths.from_items(header["lengths"])
        first.with_length, first.with_log_ratio = header["with_length"], header["with_log_ratio"]
    return parts
