"""The loss in Polars: python polars_loss.py FILE. A lazy scan, collected by the streaming engine.

Σ(A − α·k)² of a prompt is n·(var(a − α·k) + (α·k̄)²), a the adjusted reward, so no second pass over the records.
"""

import sys

import polars as pl
from fields import places

tokens = "--tokens" in sys.argv
kind = pl.List(pl.Float64) if tokens else pl.Float64
paths = places()
schema: dict[str, pl.DataType | type[pl.DataType]] = {}
members: dict[str, dict[str, pl.DataType | type[pl.DataType]]] = {}
for path, each in zip(paths.values(), (pl.String, pl.Float64, kind, kind, pl.Int64), strict=True):
    if len(path) == 1:
        schema[path[0]] = each
    else:
        members.setdefault(path[0], {})[path[1]] = each
schema |= {name: pl.Struct(inner) for name, inner in members.items()}


def field(name: str) -> pl.Expr:
    """A field of the record, wherever it is."""
    path = paths[name]
    return pl.col(path[0]) if len(path) == 1 else pl.col(path[0]).struct.field(path[1])


def total(name: str) -> pl.Expr:
    """A sequence log-probability, summed over tokens where the record has a list."""
    return field(name).list.sum() if tokens else field(name)


n, adjusted, log_ratio = pl.col("n"), pl.col("adjusted"), pl.col("log_ratio")
answer = (
    pl.scan_ndjson(sys.argv[1], schema=schema)
    .select(
        prompt_id=field("prompt_id"),
        adjusted=field("reward") - 0.01 * (field("response_length") - 1024).clip(0),
        log_ratio=total("log_prob") - total("old_log_prob"),
    )
    .group_by("prompt_id")
    .agg(n=pl.len(), spread=(adjusted - 0.1 * log_ratio).var(ddof=0), shift=0.1 * log_ratio.mean())
    .select((n * (pl.col("spread") + pl.col("shift") ** 2)).sum() / n.sum())
    .collect(engine="streaming")
)
print(repr(answer.item()))
