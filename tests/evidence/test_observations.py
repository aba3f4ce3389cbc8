"""If this fails, a finding depends on where a dump was split into blocks, or blames the wrong prompt."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from budget_cli.evidence.counters import FEW, MANY_VALUES, Location
from budget_cli.evidence.observations import Observations
from budget_cli.evidence.per_prompt import ROWS as KEPT
from budget_cli.evidence.responses import ObservationSpec, Responses
from budget_cli.groups.groups import Groups
from budget_cli.groups.moments import Layout

SPEC = ObservationSpec(budgets=(100, 60), positive=0.5, outlier=3.0, beta=0.01)
NONE = np.nan
REASONS = ["stop", "length", "eos"]


def block(rows: Sequence[dict[str, Any]]) -> Responses:
    """Return the responses of some rows, as a reader would."""
    keys = list(dict.fromkeys(row["key"] for row in rows))

    def column(name: str) -> Any:
        values = np.array([row.get(name, NONE) for row in rows], dtype=np.float64)
        return None if np.isnan(values).all() else values

    def labels(name: str) -> Any:
        values = list(dict.fromkeys(row[name] for row in rows if row.get(name) is not None))
        return values, np.array([-1 if row.get(name) is None else values.index(row[name]) for row in rows])

    def digests(name: str) -> Any:
        return np.array([row.get(name, 0) for row in rows], dtype=np.uint64)

    return Responses(
        keys,
        np.array([keys.index(row["key"]) for row in rows], dtype=np.intp),
        np.arange(1, len(rows) + 1, dtype=np.intp),
        np.array([row["reward"] for row in rows], dtype=np.float64),
        column("length"),
        column("log_prob"),
        column("old_log_prob"),
        column("tokens"),
        column("advantage"),
        labels("finish_reason"),
        labels("step"),
        digests("prompt_text"),
        digests("response_text"),
        np.array([row.get("characters", -1) for row in rows], dtype=np.int64),
    )


def folded(parts: Sequence[Sequence[dict[str, Any]]], before: int = 0) -> tuple[Groups, Observations]:
    """Return the groups and observations of rows that come in these blocks."""
    groups, observed = Groups(Layout()), Observations()
    for part in parts:
        made = block(part)
        rows = groups.merge(Groups.from_responses(Layout(), list(made.keys), made.codes, made.reward, None, None))
        observed.merge(Observations.from_responses(SPEC, made), rows, before)
        before += len(part)
    return groups, observed


def folded_twice(sources: Sequence[Sequence[Sequence[dict[str, Any]]]]) -> tuple[Groups, Observations]:
    """Return the same for blocks that come in these sources."""
    groups, observed, before = Groups(Layout()), Observations(), 0
    for parts in sources:
        source_groups, observed_there = folded(parts, before)
        observed.merge(observed_there, groups.merge(source_groups), 0)
        before += sum(map(len, parts))
    return groups, observed


def state(observed: Observations, prompts: int) -> dict[str, Any]:
    """Return everything that the observations hold, as plain values."""
    counters, per_prompt = observed.counters, observed.per_prompt
    sample = per_prompt.sample
    return {
        "spotted": {name: (one.count, one.first) for name, one in counters.occurrences.items()},
        "sums": {name: pytest.approx(value, rel=1e-12) for name, value in counters.sums.items() if value},
        "values": counters.values,
        "rows": {name: per_prompt.row(name, prompts).tolist() for name in KEPT},
        "sample": (
            per_prompt.digested,
            sample.level,
            *(column.tolist() for column in (sample.digest, sample.row, sample.place, sample.record)),
        ),
    }


DIGITS = st.integers(0, 3)
ROWS = st.fixed_dictionaries(
    {"key": st.sampled_from(["a", "b", 1, "1"]), "reward": st.sampled_from([0.0, 1.0, 0.5])},
    optional={
        "length": st.sampled_from([0.0, 1.0, 50.0, 100.0, 101.0, 250.0]),
        "log_prob": st.sampled_from([0.0, -1.5, -20.25, 1.0]),
        "old_log_prob": st.sampled_from([0.0, -1.5, -2.0, 1.0]),
        "tokens": st.sampled_from([1.0, 50.0, 51.0]),
        "advantage": st.sampled_from([0.5, -0.25]),
        "finish_reason": st.sampled_from(REASONS),
        "step": st.sampled_from([1, 2, "2"]),
        "prompt_text": DIGITS,
        "response_text": DIGITS,
        "characters": st.integers(-1, 300),
    },
)


@given(rows=st.lists(ROWS, min_size=1, max_size=12), data=st.data())
def test_observations_are_the_same_wherever_the_dump_is_split(rows: list[dict[str, Any]], data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=4)))
    edges = [0, *cuts, len(rows)]
    parts = [rows[a:b] for a, b in pairwise(edges) if a < b]
    first = data.draw(st.integers(0, len(parts)))  # these blocks are of one source, the others of another
    whole_groups, whole = folded([rows])
    groups, cut = folded_twice([parts[:first], parts[first:]])
    keys = list(groups.keys())
    assert keys == list(whole_groups.keys())
    expected, found = state(whole, len(keys)), state(cut, len(keys))
    assert {name: found["sums"].get(name, 0) for name in expected["sums"]} == expected["sums"]
    del expected["sums"], found["sums"]
    assert found == expected


def test_the_first_locations_are_kept_and_the_rest_is_counted() -> None:
    rows = [{"key": f"p{i % 3}", "reward": 0.0, "length": 0.0} for i in range(9)]
    groups, observed = folded([rows[:2], rows[2:4], rows[4:]])
    assert list(groups.keys()) == ["p0", "p1", "p2"]
    assert observed.counters.count("zero_length") == 9
    assert observed.counters.occurrences["zero_length"].first == [
        Location(line, (line - 1) % 3) for line in range(1, FEW + 1)
    ]


def test_the_best_reward_is_kept_before_and_after_the_penalty() -> None:
    # reward 1 at 250 tokens is 1 - 1.5; reward 0.5 within the budget stays
    rows = [
        {"key": "a", "reward": 1.0, "length": 250.0},
        {"key": "a", "reward": 0.5, "length": 100.0},
        {"key": "b", "reward": 0.0, "length": 90.0},
        {"key": "a", "reward": 1.0, "length": 190.0},
    ]
    for parts in ([rows], [rows[:1], rows[1:]], [rows[:3], rows[3:]]):
        _, observed = folded(parts)
        assert observed.per_prompt.row("r_max", 2).tolist() == [1.0, 0.0]
        assert observed.per_prompt.row("a_of_best", 2).tolist() == pytest.approx([0.1, 0.0])
        assert observed.per_prompt.row("a_max", 2).tolist() == [0.5, 0.0]


def test_beyond_many_distinct_values_the_rest_is_counted_together() -> None:
    rows = [{"key": "a", "reward": float(i)} for i in range(MANY_VALUES + 8)]
    for parts in ([rows], [rows[:20], rows[20:]], [[row] for row in rows]):
        _, observed = folded(parts)
        assert observed.counters.values["reward"] == {**{float(i): 1 for i in range(MANY_VALUES)}, None: 8}
