"""If this fails, evidence changes on its way through a summary, or damaged JSON passes for evidence."""

from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from budget_cli.evidence.counters import FEW, Counters, Location, Occurrences
from budget_cli.scanning import evidence_json

PROMPTS = np.array([2, 3, 7])  # the numbers, in the summary, of this source's prompts


def counters(
    occurrences: dict[str, Occurrences] | None = None, sums: dict[str, float] | None = None, values: Any = None
) -> Counters:
    made = Counters()
    made.occurrences, made.sums, made.values = occurrences or {}, sums or {}, values or {}
    return made


def plain(shown: Any, budgets: tuple[int, ...] = (100,)) -> Any:
    """Return what is read from this JSON, with the types of values, since 1 == 1.0."""
    observed = evidence_json.from_json(shown, PROMPTS, budgets)
    if observed is None:
        return None
    found = observed.counters
    return (
        {name: (one.count, one.first) for name, one in found.occurrences.items()},
        {name: repr(value) for name, value in found.sums.items()},
        {name: [(type(key), key, times) for key, times in counts.items()] for name, counts in found.values.items()},
    )


def test_empty_counters_are_an_empty_object() -> None:
    assert evidence_json.to_json(counters(sums={"zero_log_prob": 0.0}), PROMPTS) == {}
    assert plain({}) == ({}, {}, {})


def test_the_json_of_counters() -> None:
    shown = evidence_json.to_json(
        counters(
            {"zero_length": Occurrences(9, [Location(12, 0), Location(40, 2)])},
            {"grows_n": 24.0, "grows_pp": float("inf"), "grows_pL": float("nan"), "far_off": 0.0},
            {"finish_reason": {"stop": 20, 1: 3, "1": 2, None: 5}, "reward": {0.0: 1, 1.0: 2}},
        ),
        PROMPTS,
    )
    assert orjson.dumps(shown).decode() == (
        '{"spotted":{"zero_length":[9,[[12,2],[40,7]]]},'
        '"sums":{"grows_n":24.0,"grows_pp":"inf","grows_pL":"nan"},'
        '"values":{"finish_reason":[["stop",20],[1,3],["1",2],[null,5]],"reward":[[0.0,1],[1.0,2]]}}'
    )


KEYS = st.none() | st.text(max_size=3) | st.integers(-(2**62), 2**62)
REWARDS = st.none() | st.floats(allow_nan=False, allow_infinity=False)


@given(
    occurrences=st.dictionaries(
        st.text(max_size=3),
        st.builds(
            lambda more, first: Occurrences(len(first) + more, [Location(*one) for one in first]),
            st.integers(0, 2**40),
            st.lists(st.tuples(st.integers(1, 2**40 - 1), st.integers(0, 2)), min_size=1, max_size=FEW),
        ),
    ),
    sums=st.dictionaries(st.text(max_size=3), st.floats()),
    values=st.fixed_dictionaries(
        {},
        optional={
            "finish_reason": st.dictionaries(KEYS, st.integers(1, 2**40), min_size=1),
            "reward@100": st.dictionaries(REWARDS, st.integers(1, 9), min_size=1),
        },
    ),
)
def test_counters_read_back_as_written(
    occurrences: dict[str, Occurrences], sums: dict[str, float], values: Any
) -> None:
    shown = orjson.loads(orjson.dumps(evidence_json.to_json(counters(occurrences, sums, values), PROMPTS)))
    assert plain(shown) == (
        {name: (one.count, one.first) for name, one in occurrences.items()},
        {name: repr(value) for name, value in sums.items() if value},
        {name: [(type(key), key, times) for key, times in counts.items()] for name, counts in values.items()},
    )


@given(st.lists(st.tuples(st.floats(-9, 9), st.integers(0, 2**40)), max_size=40))
def test_a_sample_of_rewards_reads_back_as_written(responses: list[tuple[float, int]]) -> None:
    made = Counters()
    made.reward_sample.add(np.array([r for r, _ in responses]), np.array([float(length) for _, length in responses]))
    shown = orjson.loads(orjson.dumps(evidence_json.to_json(made, PROMPTS)))
    found = evidence_json.from_json(shown, PROMPTS, ())
    assert found is not None
    assert found.counters.reward_sample == made.reward_sample
    assert evidence_json.reward_sample([shown, {}]) == made.reward_sample


def test_the_json_of_a_sample_of_rewards_has_lengths_and_counts_by_reward() -> None:
    made = Counters()
    made.reward_sample.add(np.array([1.0, 0.5, 1.0, 1.0]), np.array([7.0, 9.0, 7.0, 8.0]))
    (level, *by_reward) = evidence_json.to_json(made, PROMPTS)["by_length"]
    assert level == 0
    assert sorted((r, sorted(zip(n[::2], n[1::2], strict=True))) for r, n in by_reward) == [
        (0.5, [(9, 1)]),
        (1.0, [(7, 2), (8, 1)]),
    ]


@pytest.mark.parametrize(
    "shown",
    [
        7,
        [None, [1.0, [7, 1]]],
        [-1, [1.0, [7, 1]]],
        [64, [1.0, [7, 1]]],
        [0, [1.0]],
        [0, [1.0, [7]]],
        [0, [1.0, [7, 0]]],
        [0, [1.0, [7.5, 1]]],
        [0, [1.0, [-7, 1]]],
        [0, ["1", [7, 1]]],
        [0, [1.0, 7]],
    ],
)
def test_a_damaged_sample_of_rewards_is_refused(shown: Any) -> None:
    assert evidence_json.from_json({"by_length": shown}, PROMPTS, ()) is None
    assert evidence_json.reward_sample([{"by_length": shown}]) is None


def test_counts_for_other_budgets_are_left_out() -> None:
    shown = {
        "values": {name: [[1.0, 2]] for name in ("reward", "reward_over@100", "reward_over@1000", "reward_over@10")}
    }
    found = evidence_json.from_json(shown, PROMPTS, (100, 7))
    assert found is not None
    assert set(found.counters.values) == {"reward", "reward_over@100"}


@pytest.mark.parametrize(
    "shown",
    [
        None,
        [],
        3,
        {"spotted": []},
        {"sums": [1]},
        {"values": 7},
        {"spotted": {"x": 3}},
        {"spotted": {"x": [3]}},
        {"spotted": {"x": [True, []]}},
        {"spotted": {"x": [-1, []]}},
        {"spotted": {"x": [1, [[2**40, 2]]]}},
        {"spotted": {"x": [0, []]}},
        {"spotted": {"x": ["3", []]}},
        {"spotted": {"x": [2.0, []]}},
        {"spotted": {"x": [1, [[1, 2], [2, 2]]]}},  # fewer than the locations
        {"spotted": {"x": [1, [[0, 2]]]}},
        {"spotted": {"x": [1, [[1.5, 2]]]}},
        {"spotted": {"x": [1, [[1, 2, 3]]]}},
        {"spotted": {"x": [1, [[1, 4]]]}},
        {"spotted": {"x": [1, [[1, 8]]]}},
        {"spotted": {"x": [1, [[1, -1]]]}},
        {"sums": {"x": None}},
        {"sums": {"x": "many"}},
        {"sums": {"x": [1]}},
        {"values": {"x": [[1.0]]}},
        {"values": {"x": [[1.0, 0]]}},
        {"values": {"x": [[[], 1]]}},
        {"values": {"x": [[True, 1]]}},
        {"values": {"x": {"1": 2}}},
        {"values": {"x": [[1.0, "2"]]}},
    ],
)
def test_damaged_json_is_no_evidence(shown: Any) -> None:
    assert plain(shown) is None
