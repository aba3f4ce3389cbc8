"""If this fails, a check counts the wrong responses or misses some."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from budget_cli.evidence import counters
from budget_cli.evidence.counters import MANY_VALUES, SIZES, Counters, Counts, Location
from budget_cli.evidence.responses import ObservationSpec, Responses

NONE = np.nan


def counters_of(
    spec: ObservationSpec, reward: list[float], length: list[float] | None, **more: list[float]
) -> Counters:
    """Return the counters of responses to one prompt."""
    size = len(reward)
    codes, line = np.zeros(size, dtype=np.intp), np.arange(1, size + 1, dtype=np.intp)
    columns = {name: np.array(values, dtype=np.float64) for name, values in more.items()}
    lengths = None if length is None else np.array(length, dtype=np.float64)
    return Counters.from_responses(spec, Responses(["p"], codes, line, np.array(reward), lengths, **columns))


def test_rewards_are_counted_within_and_over_every_budget() -> None:
    rewards = [0.0, 1.0, 1.0, 0.0, 0.5, 1.0]
    lengths = [50.0, 100.0, 101.0, 300.0, NONE, 200.0]  # one without a length is over no budget
    values = counters_of(ObservationSpec((200, 100)), rewards, lengths).values
    assert values == {
        "reward": {0.0: 2, 0.5: 1, 1.0: 3},
        "reward_within@100": {0.0: 1, 0.5: 1, 1.0: 1},
        "reward_over@100": {0.0: 1, 1.0: 2},
        "reward_within@200": {0.0: 1, 0.5: 1, 1.0: 3},
        "reward_over@200": {0.0: 1},
    }


@pytest.mark.parametrize("rewards", [[1.0, 1.0], [0.0, 1.0], [0.0, 0.5, 1.0]])
def test_without_lengths_no_response_is_over_a_budget(rewards: list[float]) -> None:
    values = counters_of(ObservationSpec((0, 9)), rewards, None).values
    assert (
        values["reward_within@0"]
        == values["reward_within@9"]
        == values["reward"]
        == dict.fromkeys(rewards, 0) | {value: rewards.count(value) for value in rewards}
    )
    assert set(values) == {"reward", "reward_within@0", "reward_within@9"}


REWARDS = st.sampled_from([0.0, 1.0]) | st.integers(0, 3).map(float) | st.floats(-10, 10)
LENGTHS = st.integers(0, 40).map(float) | st.just(NONE)


@given(
    responses=st.lists(st.tuples(REWARDS, LENGTHS), min_size=1, max_size=80),
    budgets=st.lists(st.integers(0, 45), max_size=4, unique=True),
)
def test_the_counts_equal_those_of_counting_each_response(
    responses: list[tuple[float, float]], budgets: list[int]
) -> None:
    def counted(some: list[float]) -> Counts:
        values = sorted(set(some))
        counts: Counts = {value: some.count(value) for value in values[:MANY_VALUES]}
        rest = sum(some.count(value) for value in values[MANY_VALUES:])
        return counts | ({None: rest} if rest else {})

    expected = {"reward": counted([reward for reward, _ in responses])}
    for budget in budgets:
        expected[f"reward_within@{budget}"] = counted([r for r, length in responses if not length > budget])
        expected[f"reward_over@{budget}"] = counted([r for r, length in responses if length > budget])
    for cells in (1, 1 << 18):  # a budget at a time, and all at once
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(counters, "CELLS", cells)
            found = counters_of(ObservationSpec(tuple(budgets)), *map(list, zip(*responses, strict=True))).values
        assert found == {name: counts for name, counts in expected.items() if counts}


def test_log_prob_findings_are_counted_with_their_locations() -> None:
    found = counters_of(
        ObservationSpec(positive=0.5, outlier=3.0),
        [0.0] * 5,
        [2.0, 1.0, 3.0, 4.0, NONE],
        log_prob=[0.6, 0.0, -1.0, -9.0, NONE],
        old_log_prob=[0.5, 0.0, 0.0, -5.0, -1.0],
    )
    assert {name: (one.count, one.first) for name, one in found.occurrences.items()} == {
        "without_length": (1, [Location(5, 0)]),
        "without_log_prob": (1, [Location(5, 0)]),
        "positive_log_prob": (1, [Location(1, 0)]),
        "zero_old_log_prob": (1, [Location(3, 0)]),  # of one token it may be certain
        "outlier": (1, [Location(4, 0)]),
        "one_token": (1, [Location(2, 0)]),
    }
    sums = {
        name: found.total(name) for name in ("zero_log_prob", "zero_old_log_prob", "with_log_ratio", "no_log_ratio")
    }
    assert sums == {"zero_log_prob": 1, "zero_old_log_prob": 2, "with_log_ratio": 4, "no_log_ratio": 1}
    # sizes of the log-ratios 0.1, 0, 1 and 4 over 2, 1, 3 and 4 tokens
    assert (found.total("log_ratio_size"), found.total("log_ratio_tokens")) == (pytest.approx(5.1), 10)
    # log-probs of size 0.6, 0, 1 and 9 beside lengths of 2, 1, 3 and 4
    names = ("n", "p", "L", "pp", "LL", "pL")
    assert [found.total(f"grows_{name}") for name in names] == pytest.approx([4, 10.6, 10, 82.36, 30, 40.2])


def test_log_ratios_are_counted_by_powers_of_two_and_the_large_ones_located() -> None:
    log_ratio = [0.0, -0.03, 0.04, 0.25, -7.9, 8.0, -15.0, 16.0, 1e300, -np.inf, NONE]
    zeros = [0.0] * len(log_ratio)
    found = counters_of(ObservationSpec(), zeros, None, log_prob=log_ratio, old_log_prob=zeros)
    assert found.values["log_ratio_below"] == {
        2.0**-11: 1,  # the smallest and the largest are counted with their neighbours
        2.0**-5: 1,
        2.0**-4: 1,
        0.5: 1,
        8.0: 1,
        16.0: 2,
        32.0: 1,
        2.0**19: 2,
    }
    places = {name: one.first for name, one in found.occurrences.items() if name.startswith("log_ratio")}
    assert places == {
        "log_ratio_below_16": [Location(6, 0), Location(7, 0)],
        "log_ratio_below_32": [Location(8, 0)],
        "log_ratio_below_524288": [Location(9, 0), Location(10, 0)],
    }


def test_large_log_ratios_have_sums_of_their_own_so_that_the_others_can_be_measured_without_them() -> None:
    zeros = [0.0] * 5
    log_ratio = [0.5, 9.0, -10.0, 40.0, 20.0]
    found = counters_of(ObservationSpec(), zeros, [2.0, 3.0, 4.0, 5.0, NONE], log_prob=log_ratio, old_log_prob=zeros)
    sums = {name: value for name, value in found.sums.items() if name.startswith("log_ratio_")}
    assert sums == {
        "log_ratio_size": 59.5,
        "log_ratio_tokens": 14.0,
        "log_ratio_below_16_size": 19.0,
        "log_ratio_below_16_tokens": 7.0,
        "log_ratio_below_32_size": 0.0,  # of unknown length
        "log_ratio_below_32_tokens": 0.0,
        "log_ratio_below_64_size": 40.0,
        "log_ratio_below_64_tokens": 5.0,
    }


def test_each_power_of_two_that_log_ratios_are_counted_by_has_its_own_count() -> None:
    low, high = (int(np.log2(size)) for size in SIZES)
    assert high - low + 1 <= MANY_VALUES


def test_values_are_counted_one_by_one_even_if_the_smallest_are_all_over_the_budget() -> None:
    rewards = [float(i) for i in range(200)]
    found = counters_of(ObservationSpec((100,)), rewards, [300.0] * 190 + [50.0] * 10)
    assert found.values["reward_within@100"] == {float(i): 1 for i in range(190, 200)}
    assert found.values["reward_over@100"] == {**{float(i): 1 for i in range(MANY_VALUES)}, None: 190 - MANY_VALUES}
