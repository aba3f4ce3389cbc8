"""Prompts, responses and cells → tables of pyarrow, which pandas, Polars and DuckDB take as they are."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from budget_cli import objective
from budget_cli.analysis.loss import Prompt, number_names
from budget_cli.analysis.sweep import WHOLE, Sweep
from budget_cli.errors import UsageProblem
from budget_cli.ids import Key
from budget_cli.rendering.annotate import samples
from budget_cli.rendering.formats import utf8, utf8_key
from budget_cli.scanning.responses import Responses
from budget_cli.sources.extras import install

try:
    import pyarrow as pa
except ImportError:
    raise UsageProblem(f"a table needs another package: {install('parquet')}") from None

PROMPT = {  # the types of `Prompt`, where they are not float64
    "responses": pa.int64(),
    "length_max": pa.int64(),
    "over_budget": pa.int64(),
    "zero_variance": pa.bool_(),
    "phantom": pa.bool_(),
}


def table_of_prompts(prompts: Iterable[Prompt]) -> pa.Table:
    """Return a row per prompt, with the fields of `Prompt`; null stands for what does not exist."""
    rows = list(prompts)
    columns: dict[str, Any] = {"prompt_id": _ids([row.prompt_id for row in rows])}
    for name in Prompt._fields[1:]:
        columns[name] = pa.array([getattr(row, name) for row in rows], PROMPT.get(name, pa.float64()))
    return pa.table(columns)


def table_of_responses(parts: Iterable[Responses]) -> pa.Table:
    """Return a row per response, with its terms of the loss; null stands for what does not exist."""
    found = list(parts)
    keys = _ids([key for part in found for key in part.keys])
    offsets = np.cumsum([0, *(len(part.keys) for part in found)])
    places = _joined([part.columns.codes + offset for part, offset in zip(found, offsets, strict=False)], np.int64)
    sources = pa.DictionaryArray.from_arrays(
        _joined([np.full(part.columns.codes.size, i) for i, part in enumerate(found)], np.int32),
        pa.array([utf8(part.source) for part in found], pa.string()),
    )
    lines = [part.columns.line for part in found]
    columns = {
        "source": sources.cast(pa.string()),
        "line": pa.array(_joined(lines, np.int64)),
        "sample": pa.array(_joined([samples(line) for line in lines], np.int64)),
        "prompt_id": keys.take(pa.array(places)),
        "reward": _floats([part.columns.reward for part in found]),
        "length": _floats([_known(part.columns.length, part) for part in found]),
        "log_prob": _floats([_known(part.columns.log_prob, part) for part in found]),
        "old_log_prob": _floats([_known(part.columns.old_log_prob, part) for part in found]),
    }
    for name in objective.Terms._fields:
        columns[name] = _floats([getattr(part.terms, name) for part in found])
    return pa.table(columns)


def table_of_cells(sweep: Sweep) -> pa.Table:
    """Return a row per cell of a grid, in the order of the command, with every number by its dotted name."""
    names = [name for name in number_names() if name in sweep.varying]
    return pa.table(
        {name: pa.array(sweep.numbers(name), pa.int64() if name in WHOLE else pa.float64()) for name in names}
    )


def _ids(keys: Sequence[Key]) -> pa.Array:
    """Return ids as whole numbers if all are, and as text otherwise."""
    if keys and all(isinstance(key, int) for key in keys):
        try:
            return pa.array(keys, pa.int64())
        except (OverflowError, pa.ArrowInvalid):
            pass
    return pa.array([str(utf8_key(key)) for key in keys], pa.string())


def _known(values: Any, part: Responses) -> Any:
    return np.full(part.columns.codes.size, np.nan) if values is None else values


def _floats(parts: Sequence[Any]) -> pa.Array:
    return pa.array(_joined(parts, np.float64), pa.float64(), from_pandas=True)  # NaN becomes null


def _joined(parts: Sequence[Any], kind: Any) -> Any:
    return np.concatenate([*parts, np.zeros(0)]).astype(kind)
