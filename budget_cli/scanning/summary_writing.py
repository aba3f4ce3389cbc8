"""A finished scan → the lines of a summary, which another scan, elsewhere or later, takes in place of the records.

A header holds the settings and counts. Then follows one line per prompt: its id, and for each source that holds it the
number of the source and the columns of its row. Rows and evidence of different sources stay apart, so that a scan of
several summaries can fold all sources in their order and has the bits of a single scan, however the files were
distributed. Numbers are written so that they read back unchanged; docs/summaries.md has the format. Knows no records.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from budget_cli.evidence.advantages import FIRST, Advantages, AdvantageSample, column_names
from budget_cli.evidence.observations import Observations
from budget_cli.evidence.responses import ObservationSpec
from budget_cli.groups.groups import returning
from budget_cli.groups.lengths import Lengths
from budget_cli.groups.moments import RIGHT, Layout, Table
from budget_cli.ids import Ids, Key
from budget_cli.records.columns import Tally
from budget_cli.scanning import evidence_json
from budget_cli.scanning.state import Scan
from budget_cli.scanning.summary import MOST_STEPS, SCHEMA, settings_of, thresholds_of
from budget_cli.scanning.summary_checks import sealed
from budget_cli.schema.fields import Fields

TALLY_COUNTERS = ("by_code", "by_absent_field", "left_out", "length_origins")
CHUNK = 1 << 13  # prompts converted to Python's numbers at a time


def write(
    scan: Scan,
    fields: Fields,
    layout: Layout,
    spec: ObservationSpec | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Iterator[bytes]:
    """Yield the header, then the lines of the prompts in order of first occurrence.

    Counts in the scan which prompts recur in later sources, as only here the ids of all sources come together.

    Args:
        scan: a scan that kept its sources apart.
        fields: what was read from the records.
        layout: the budgets of the scan, and what is right.
        spec: what was observed; None: write no evidence.
        settings: as `settings_of` returns them, if they are not only those of the fields.
    """
    sources = [result.groups for result in scan.source_results]
    total = Lengths()
    for groups in sources:
        total.merge(groups.lengths)
    ids = Ids()
    place = np.concatenate([np.zeros(0, np.intp), *(ids.places(groups.keys()) for groups in sources)])
    sizes = [len(groups) for groups in sources]
    _count_recurring(scan, np.split(place, np.cumsum(sizes)[:-1]), len(ids))
    number = np.repeat(np.arange(len(sources)), sizes)
    table = np.concatenate([layout.empty(0), *(groups.table for groups in sources)])
    observed = [result.observations for result in scan.source_results if result.observations is not None]
    observed = observed if spec is not None and len(observed) == len(sources) else []  # all sources were observed
    of_advantages, advantages = _advantages(observed, sizes)
    all_known = spec is not None and len(observed) == len(sources) and all(one.advantages.is_known for one in observed)
    identity = layout.empty(1)[0]
    written = [name == "n" or bool(np.any(table[:, i] != identity[i])) for i, name in enumerate(layout.names)]
    # read from a summary that does not have them, or not with this threshold: then this one has none, either
    is_right_known = not np.isnan(table[:, layout.at("right")]).any()
    if not is_right_known:
        for name in RIGHT:
            written[layout.at(name)] = False
    header = {
        "schema": SCHEMA,
        "budgets": layout.budgets,
        **({"correct_above": layout.correct_above} if is_right_known else {}),
        **({"right": layout.right} if layout.right else {}),
        **({"by_token": True} if layout.by_token else {}),
        **({"own": {**layout.own._asdict(), "labels": dict(layout.own.labels)}} if layout.own is not None else {}),
        **(settings_of(fields) if settings is None else settings),
        "steps": sorted(scan.steps, key=repr)[:MOST_STEPS],
        "columns": [name for name, is_written in zip(layout.names, written, strict=True) if is_written]
        + (column_names(of_advantages) if advantages.size else []),
        "prompts": len(ids),
        "sources": [result.name for result in scan.source_results],
        "responses": int(table[:, layout.at("n")].sum()),
        "rows": sum(groups.row_count for groups in sources),
        "with_length": sum(groups.with_length for groups in sources),
        "with_log_ratio": sum(groups.with_log_ratio for groups in sources),
        **({"with_advantage": int(advantages[:, :1].sum())} if all_known else {}),
        "lengths": np.stack(total.items(), axis=1).tolist(),
        "records": {
            name: getattr(scan.tally, name) for name in Tally.__dataclass_fields__ if name not in TALLY_COUNTERS
        },
        "rejected": dict(scan.tally.by_code),
        "lacking": dict(scan.tally.by_absent_field),
        "length_origins": dict(scan.tally.length_origins),
        "rejections": [one.as_dict() for one in scan.rejections],
        "incomplete": [[problem.source, _utf8(problem.problem)] for problem in scan.problems],
    }
    if scan.tally.left_out:
        header["left_out"] = dict(scan.tally.left_out)
        header["left_out_places"] = [list(place) for place in scan.left_out]
    if spec is not None and len(observed) == len(sources):
        header["thresholds"] = thresholds_of(spec)
        prompts = np.split(place, np.cumsum(sizes)[:-1])
        _trim_samples([one.advantages for one in observed])
        header["seen"] = [
            evidence_json.to_json(one.counters, of, one.advantages) for one, of in zip(observed, prompts, strict=False)
        ]
    keys, rows = ids.all(), np.column_stack([number, table[:, written], advantages])
    digest = hashlib.blake2b(orjson.dumps(header), digest_size=16)
    for line in _prompts(keys, place, rows):  # made twice, as the header comes first, and all lines take much memory
        digest.update(line)
    yield sealed(header, digest.hexdigest())
    yield from _prompts(keys, place, rows)


def _advantages(observed: Sequence[Observations], sizes: Sequence[int]) -> tuple[Sequence[int], Table]:
    """Return the budgets that all sources have, and the sums of their advantages, one row per prompt of each source.

    There are no columns if no source has advantages.
    """
    whole = Advantages()
    for one, size, before in zip(observed, sizes, np.cumsum([0, *sizes]).tolist(), strict=False):
        whole.merge(one.advantages, before + np.arange(size))
    return whole.budgets, whole.table(sum(sizes)) if whole else np.zeros((sum(sizes), 0))


def _trim_samples(advantages: Sequence[Advantages]) -> None:
    """Drop from the samples of each source what does not fit beside those of the others."""
    whole, room = AdvantageSample(), FIRST
    for one in advantages:
        whole.merge(one.sample, np.arange(one.sample.rows.max(initial=0) + 1))
        one.first = one.first[:, :room]
        room -= one.first.shape[1]
    for one in advantages:
        one.sample.trim(whole.below)


def _count_recurring(scan: Scan, rows: Sequence[NDArray[np.intp]], prompts: int) -> None:
    """Count the prompts of later sources that come back, as if the sources had been added up."""
    scan.later_prompts = scan.recurring = 0
    sizes = np.zeros(prompts)
    for at, (result, of_source) in enumerate(zip(scan.source_results, rows, strict=False)):
        n = result.groups.column("n")
        sizes[of_source] += n
        if at and sizes.any():
            scan.later_prompts += n.size
            scan.recurring += returning(sizes[of_source], n)


def _prompts(keys: Sequence[Key], place: NDArray[np.intp], rows: Table) -> Iterator[bytes]:
    """Yield the lines of the prompts.

    Args:
        keys: prompt ids, in order of first occurrence.
        place: shape (rows,), the index into `keys` of each row.
        rows: shape (rows, 1 + columns): the number of the source, then the columns.
    """
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
            yield orjson.dumps({"prompt_id": key, "row": row}, option=orjson.OPT_APPEND_NEWLINE)


def _utf8(text: str) -> str:
    """Return the text with bytes that are not UTF-8, as in the target of a link, escaped."""
    return text.encode("utf-8", "backslashreplace").decode()
