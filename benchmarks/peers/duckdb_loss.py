"""The loss in DuckDB: python duckdb_loss.py FILE. One query; DuckDB streams the file and keeps the groups.

Σ(A − α·k)² of a prompt is n·(var_pop(a − α·k) + (α·k̄)²), a the adjusted reward, so no second pass over the records.
"""

import sys

import duckdb
from fields import places

tokens = "--tokens" in sys.argv
kind, total = ("DOUBLE[]", "list_sum") if tokens else ("DOUBLE", "")
types = ["VARCHAR", "DOUBLE", kind, kind, "BIGINT"]
paths = places()
prompt_id, reward, log_prob, old_log_prob, length = (".".join(f'"{key}"' for key in path) for path in paths.values())
columns: dict[str, str] = {}
members: dict[str, list[str]] = {}
for path, each in zip(paths.values(), types, strict=True):
    if len(path) == 1:
        columns[path[0]] = each
    else:
        members.setdefault(path[0], []).append(f'"{path[1]}" {each}')
columns |= {name: f"STRUCT({', '.join(inner)})" for name, inner in members.items()}
query = f"""
WITH responses AS (
    SELECT {prompt_id} AS prompt_id,
           {reward} - 0.01 * greatest(0, {length} - 1024) AS adjusted,
           {total}({log_prob}) - {total}({old_log_prob}) AS log_ratio
    FROM read_json(?, format = 'newline_delimited', columns = {columns})
),
prompts AS (
    SELECT count(*) AS n, var_pop(adjusted - 0.1 * log_ratio) AS spread, 0.1 * avg(log_ratio) AS shift
    FROM responses GROUP BY prompt_id
)
SELECT sum(n * (spread + shift * shift)) / sum(n) FROM prompts
"""
row = duckdb.execute(query, [sys.argv[1]]).fetchone()
assert row is not None
print(repr(row[0]))
