"""All that a scan holds, to be compared bit by bit."""

from typing import Any

from budget_cli.evidence.observations import Observations
from budget_cli.groups.groups import Groups
from budget_cli.scanning.state import Scan


def content(found: Scan) -> dict[str, Any]:
    """Return everything that a scan holds, by its name, floats as their bits."""
    return {
        "groups": groups_content(found.groups),
        "source_results": [(one.name, groups_content(one.groups)) for one in found.source_results],
        "by": [(label, groups_content(groups)) for label, groups in found.by.items()],
        "tallies": list(found.tallies.items()),
        "sources": found.sources,
        "first_rows": found.first_rows,
        "evidence": evidence(found.observations),
        "evidence_of_sources": [evidence(one.observations) for one in found.source_results],
        "tally": found.tally,
        "rejections": found.rejections,
        "problems": [str(problem) for problem in found.problems],
        "notes": found.notes,
        "bytes": found.bytes,
        "recurring": (found.later_prompts, found.recurring),
        "rollouts": (found.without_rollout, found.copied_rows, found.cut_rollouts),
        "left_out": found.left_out,
        "named": (found.steps, found.has_named),
    }


def groups_content(groups: Groups) -> dict[str, Any]:
    held = None if groups.held is None else groups.held.by_prompt()
    return {
        "table": groups.table.tobytes(),
        "keys": list(groups.keys()),
        "lengths": [array.tobytes() for array in groups.lengths.items()],
        "with_length": groups.with_length,
        "with_log_ratio": groups.with_log_ratio,
        "held": None
        if held is None
        else [held[0].tobytes(), *(None if column is None else column.tobytes() for column in held[1])],
    }


def evidence(observations: Observations | None) -> Any:
    """Return everything that the observations hold; a sum of 0 is as good as none."""
    if observations is None:
        return None
    counters, kept = observations.counters, observations.per_prompt
    return {
        "occurrences": {name: (one.count, one.first) for name, one in counters.occurrences.items()},
        "sums": {name: value.hex() for name, value in counters.sums.items() if value},
        "values": counters.values,
        "per_prompt": None if kept is None else {name: rows.tobytes() for name, rows in kept.rows.items()},
    }
