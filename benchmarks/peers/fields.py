"""Where the fields of a record are → what the peers read, from `--fields '{"reward": "scores.main", …}'`."""

import json
import sys

FIELDS = ("prompt_id", "reward", "log_prob", "old_log_prob", "response_length")


def places() -> dict[str, list[str]]:
    """The keys that lead to each field, one or two; without `--fields`, its own name."""
    at = sys.argv.index("--fields") + 1 if "--fields" in sys.argv else 0
    named: dict[str, str] = json.loads(sys.argv[at]) if at else {}
    return {field: named.get(field, field).split(".") for field in FIELDS}
