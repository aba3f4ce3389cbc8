"""If this fails, whether a penalty is seen in the rewards depends on where a dump was split."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from budget_cli.evidence import reward_sample
from budget_cli.evidence.reward_sample import RewardSample

NONE = np.nan


def sample_of(reward: list[float], length: list[float], prompt: list[float] | None = None) -> RewardSample:
    sample = RewardSample()
    prompts = None if prompt is None else np.array(prompt)
    sample.add(np.array(reward), np.array(length), prompts)
    return sample


def as_counts(sample: RewardSample) -> dict[tuple[float | None, ...], int]:
    rows = sample.rows().T.tolist()
    return {tuple(None if value != value else value for value in row[:3]): int(row[3]) for row in rows}


def test_equal_responses_are_counted_and_those_without_a_length_are_not() -> None:
    sample = sample_of([1.0, 0.0, -0.0, 1.0, 1.0], [7.0, 8.0, 8.0, NONE, 7.0])
    assert as_counts(sample) == {(1.0, 7.0, None): 2, (0.0, 8.0, None): 2}


def test_the_length_of_the_prompt_distinguishes() -> None:
    sample = sample_of([1.0, 1.0, 1.0], [7.0, 7.0, 7.0], [2.0, 3.0, 2.0])
    assert as_counts(sample) == {(1.0, 7.0, 2.0): 2, (1.0, 7.0, 3.0): 1}


def test_two_rewards_are_counted_by_length_as_others_are(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = np.random.default_rng(3)
    reward, length = (
        chance.integers(0, 2, 500).astype(float).tolist(),
        chance.integers(0, 90, 500).astype(float).tolist(),
    )
    slow = as_counts(sample_of(reward, length))
    monkeypatch.setattr(reward_sample, "HELD", 100)
    assert (
        as_counts(sample_of(reward, length))
        == slow
        == Counter((r, n, None) for r, n in zip(reward, length, strict=True))
    )


@given(
    seed=st.integers(0, 2**32),
    rewards=st.sampled_from([1, 2, 5, 100000]),
    parts=st.lists(st.integers(1, 900), max_size=6),
)
def test_a_sample_is_the_same_however_the_responses_are_split(seed: int, rewards: int, parts: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reward_sample, "KEPT", 64)
        patch.setattr(reward_sample, "HELD", 200)
        chance = np.random.default_rng(seed)
        reward, length = chance.integers(0, rewards, 900) / 7, chance.integers(0, 300, 900).astype(float)
        whole = RewardSample()
        whole.add(reward, length)
        merged, cuts = RewardSample(), sorted({0, 900, *parts})
        for begin, end in pairwise(cuts):
            one = RewardSample()
            one.add(reward[begin:end], length[begin:end])
            merged.merge(one)
        assert merged == whole
        assert whole.rows().shape[1] <= 64
        counts = Counter(zip(reward.tolist(), length.tolist(), strict=True))
        assert all(counts[r, n] == count for r, n, _, count in whole.rows().T.tolist())


def test_more_rewards_than_a_number_are_told_without_sorting() -> None:
    sample = sample_of([1.0, 0.0, 0.5, 1.0], [7.0, 8.0, 8.0, 9.0])
    assert sample.has_more_rewards(2)
    assert not sample.has_more_rewards(3)
    assert not RewardSample().has_more_rewards(0)
