"""If this fails, the page shows different responses from run to run, or a part of a prompt as the whole."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from examples import TWICE, examples
from hypothesis import given
from hypothesis import strategies as st

from budget_cli.groups.prompt_sample import PromptSample, hash_key
from budget_cli.ids import Key

Response = tuple[Key, float]


def sample_of(responses: Sequence[Response], limit: int) -> PromptSample:
    sample = PromptSample(limit)
    if responses:
        keys = list(dict.fromkeys(key for key, _ in responses))
        codes = np.array([keys.index(key) for key, _ in responses], dtype=np.intp)
        reward = np.array([reward for _, reward in responses], dtype=np.float64)
        sample.add(keys, codes, reward, reward + 100, None)
    return sample


def shown(sample: PromptSample) -> list[tuple[Key, list[float]]]:
    return [(one.prompt_id, one.reward.tolist()) for one in sample.prompts()]


responses = st.lists(st.tuples(st.sampled_from([0, 1, 2, "0", "a", "b", "c", "d"]), st.integers(0, 9)), max_size=30)


@examples(TWICE)
@given(responses, st.integers(1, 20), st.lists(st.integers(0, 30), max_size=4))
def test_the_sample_is_the_same_however_the_input_is_split(each: list[Response], limit: int, cuts: list[int]) -> None:
    ends = [*sorted(cuts), len(each)]
    parts = [sample_of(each[a:b], limit) for a, b in zip([0, *ends], ends, strict=False)]
    first, *others = parts
    for other in others:
        first.merge(other)
    assert shown(first) == shown(sample_of(each, limit))


@examples(TWICE)
@given(responses, st.integers(1, 20))
def test_a_prompt_is_sampled_with_all_its_responses_or_not_at_all(each: list[Response], limit: int) -> None:
    found = shown(sample_of(each, limit))
    kept = sum(len(rewards) for _, rewards in found)
    assert kept <= limit
    for key, rewards in found:
        whole = [float(reward) for k, reward in each if k == key and type(k) is type(key)]
        assert rewards == whole[: len(rewards)]
        assert len(rewards) == len(whole) or (len(found) == 1 and len(whole) > limit)
    left = {key for key, _ in each} - {key for key, _ in found}
    if left and found and kept < limit:
        nearest = min(left, key=hash_key)
        assert hash_key(nearest) > max(hash_key(key) for key, _ in found)
        assert kept + sum(k == nearest for k, _ in each) > limit


def test_everything_is_kept_if_it_fits() -> None:
    (one,) = sample_of([("a", 3), ("a", 1), ("a", 2)], 3).prompts()
    assert (one.prompt_id, one.reward.tolist(), one.length.tolist()) == ("a", [3, 1, 2], [103, 101, 102])
    assert all(math.isnan(k) for k in one.log_ratio)
    assert sample_of([], 3).prompts() == []


def test_renamed_prompts_of_two_parts_do_not_meet() -> None:
    first, second = sample_of([("1", 5), ("2", 6)], 9), sample_of([("1", 7)], 9)
    first.rename(lambda key: f"x:{key}")
    second.rename(lambda key: f"y:{key}")
    first.merge(second)
    assert sorted(shown(first)) == [("x:1", [5]), ("x:2", [6]), ("y:1", [7])]


@pytest.mark.parametrize("key", ["", "a", 0, 1, -5, "1", "\ud800", 2**64])
def test_a_hash_is_a_number_below_every_limit(key: Key) -> None:
    assert 0 <= hash_key(key) < 2**64 - 1
    assert hash_key(key) == hash_key(key)


def test_an_integer_and_its_digits_are_two_prompts() -> None:
    assert hash_key(1) != hash_key("1")
