"""The loss in pandas: python pandas_loss.py FILE [--tokens]. Read in chunks, the needed columns kept, one groupby."""

import sys

import pandas as pd

FIELDS = ["prompt_id", "reward", "log_prob", "old_log_prob", "response_length"]
tokens = "--tokens" in sys.argv
chunks = []
for chunk in pd.read_json(
    sys.argv[1],
    lines=True,
    chunksize=1_000 if tokens else 20_000,
    dtype=False,
    precise_float=True,
):
    chunk = chunk[FIELDS].copy()
    if tokens:
        for name in ("log_prob", "old_log_prob"):
            chunk[name] = chunk[name].map(sum)
    chunks.append(chunk)
frame = pd.concat(chunks, ignore_index=True)
adjusted = frame["reward"] - 0.01 * (frame["response_length"] - 1024).clip(lower=0)
advantage = adjusted - adjusted.groupby(frame["prompt_id"]).transform("mean")
log_ratio = frame["log_prob"] - frame["old_log_prob"]
print(repr(float(((advantage - 0.1 * log_ratio) ** 2).mean())))
