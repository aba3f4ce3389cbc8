"""The loss in DuckDB: python duckdb_loss.py FILE [--tokens]. One query; DuckDB streams the file and keeps the groups.

Σ(A − α·k)² of a prompt is n·(var_pop(a − α·k) + (α·k̄)²), a the adjusted reward, so no second pass over the records.
"""

import sys

import duckdb

tokens = "--tokens" in sys.argv
kind, total = ("DOUBLE[]", "list_sum") if tokens else ("DOUBLE", "")
query = f"""
WITH responses AS (
    SELECT prompt_id,
           reward - 0.01 * greatest(0, response_length - 1024) AS adjusted,
           {total}(log_prob) - {total}(old_log_prob) AS log_ratio
    FROM read_json(?, format = 'newline_delimited', columns = {{
        prompt_id: 'VARCHAR', reward: 'DOUBLE', log_prob: '{kind}', old_log_prob: '{kind}', response_length: 'BIGINT'
    }})
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
