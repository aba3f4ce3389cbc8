"""The loss in Polars: python polars_loss.py FILE [--tokens]. A lazy scan, collected by the streaming engine.

Σ(A − α·k)² of a prompt is n·(var(a − α·k) + (α·k̄)²), a the adjusted reward, so no second pass over the records.
"""

import sys

import polars as pl

tokens = "--tokens" in sys.argv
kind = pl.List(pl.Float64) if tokens else pl.Float64
schema = {
    "prompt_id": pl.String,
    "reward": pl.Float64,
    "log_prob": kind,
    "old_log_prob": kind,
    "response_length": pl.Int64,
}


def total(name: str) -> pl.Expr:
    """A sequence log-probability, summed over tokens where the record has a list."""
    return pl.col(name).list.sum() if tokens else pl.col(name)


n, adjusted, log_ratio = pl.col("n"), pl.col("adjusted"), pl.col("log_ratio")
answer = (
    pl.scan_ndjson(sys.argv[1], schema=schema)
    .select(
        "prompt_id",
        adjusted=pl.col("reward") - 0.01 * (pl.col("response_length") - 1024).clip(0),
        log_ratio=total("log_prob") - total("old_log_prob"),
    )
    .group_by("prompt_id")
    .agg(n=pl.len(), spread=(adjusted - 0.1 * log_ratio).var(ddof=0), shift=0.1 * log_ratio.mean())
    .select((n * (pl.col("spread") + pl.col("shift") ** 2)).sum() / n.sum())
    .collect(engine="streaming")
)
print(repr(answer.item()))
