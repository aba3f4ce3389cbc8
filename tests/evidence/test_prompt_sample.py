"""If this fails, the page shows different responses from run to run, or a part of a prompt as the whole, or other
moments at its other budgets than a scan at those."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from examples import TWICE, examples
from hypothesis import given
from hypothesis import strategies as st

from budget_cli.evidence.prompt_sample import BYTES, hashes, sampled_prompts
from budget_cli.groups.groups import Groups
from budget_cli.groups.moments import Layout
from budget_cli.ids import Key

Response = tuple[Key, float]


def groups_of(responses: Sequence[Response], layout: Layout | None = None, hold: bool = True) -> Groups:
    keys = list(dict.fromkeys(key for key, _ in responses))
    codes = np.array([keys.index(key) for key, _ in responses], dtype=np.intp)
    reward = np.array([reward for _, reward in responses], dtype=np.float64)
    return Groups.from_responses(layout or Layout(()), keys, codes, reward, reward + 100, None, hold)


def merged(responses: Sequence[Response], cuts: Sequence[int], layout: Layout | None = None) -> Groups:
    ends = [*sorted(cuts), len(responses)]
    found = Groups(layout or Layout(()), hold=True)
    for a, b in zip([0, *ends], ends, strict=False):
        found.merge(groups_of(responses[a:b], layout))
    return found


def shown(groups: Groups, limit: int) -> list[tuple[Key, list[float]]]:
    return [(one.prompt_id, one.reward.tolist()) for one in sampled_prompts(groups, limit)]


KEYS: list[Key] = [0, 1, 2, "0", "a", "b", "c", "d"]
responses = st.lists(st.tuples(st.sampled_from(KEYS), st.integers(0, 9)), max_size=30)
cuts = st.lists(st.integers(0, 30), max_size=4)


@examples(TWICE)
@given(responses, st.integers(1, 20), cuts)
def test_the_sample_is_the_same_however_the_input_is_split(each: list[Response], limit: int, at: list[int]) -> None:
    assert shown(merged(each, at), limit) == shown(groups_of(each), limit)


@examples(TWICE)
@given(responses, st.integers(1, 20))
def test_a_prompt_is_sampled_with_all_its_responses_or_not_at_all(each: list[Response], limit: int) -> None:
    def hashed(key: Key) -> int:
        return int(hashes([key])[0])

    found = shown(groups_of(each), limit)
    kept = sum(len(rewards) for _, rewards in found)
    assert kept <= limit
    for key, rewards in found:
        whole = [float(reward) for k, reward in each if k == key and type(k) is type(key)]
        assert rewards == whole[: len(rewards)]
        assert len(rewards) == len(whole) or (len(found) == 1 and len(whole) > limit)
    left = {key for key, _ in each} - {key for key, _ in found}
    if left and found and kept < limit:
        nearest = min(left, key=hashed)
        assert hashed(nearest) > max(hashed(key) for key, _ in found)
        assert kept + sum(k == nearest for k, _ in each) > limit


def test_everything_is_kept_if_it_fits() -> None:
    (one,) = sampled_prompts(groups_of([("a", 3), ("a", 1), ("a", 2)]), 3)
    assert (one.prompt_id, one.reward.tolist(), one.length.tolist()) == ("a", [3, 1, 2], [103, 101, 102])
    assert all(math.isnan(k) for k in one.log_ratio)
    assert sampled_prompts(groups_of([]), 3) == []
    assert sampled_prompts(groups_of([("a", 1)], hold=False), 3) == []


def test_a_renamed_prompt_keeps_its_responses() -> None:
    groups = groups_of([("1", 5), ("2", 6), ("1", 7)])
    groups.rename(lambda key: f"x:{key}")
    assert sorted(shown(groups, 9)) == [("x:1", [5, 7]), ("x:2", [6])]


@examples(TWICE)
@given(responses, cuts)
def test_held_responses_give_the_moments_at_any_budgets(each: list[Response], at: list[int]) -> None:
    layout = Layout((101, 104, 107))
    held = merged(each, at, Layout((104,))).held_in(layout)
    direct = groups_of(each, layout, hold=False)
    assert (list(held.keys()), held.layout) == (list(direct.keys()), layout)
    assert held.table.tobytes() == direct.table.tobytes()  # as if the input were one block


def test_a_column_that_some_parts_do_not_have_is_unknown_there() -> None:
    groups = groups_of([("a", 1)])
    groups.merge(
        Groups.from_responses(Layout(()), ["b"], np.zeros(1, dtype=np.intp), np.ones(1), None, None, hold=True)
    )
    assert groups.held is not None
    rows, (reward, length, log_ratio, own) = groups.held.by_prompt()
    assert (rows.tolist(), reward is not None and reward.tolist()) == ([0, 1], [1, 1])
    assert length is not None
    assert length[0] == 101
    assert math.isnan(length[1])
    assert (log_ratio, own) == (None, None)


@pytest.mark.parametrize("key", ["", "a", 0, 1, -5, "1", "é\n", 2**60, "x" * 3 * BYTES])
def test_an_id_has_one_hash_wherever_it_is(key: Key) -> None:
    alone = hashes([key])
    assert hashes(["other", key, "x" * BYTES])[1] == alone[0]
    assert alone.dtype == np.uint64


def test_ids_have_different_hashes() -> None:
    ids: list[Key] = [1, "1", *(f"p{i}" for i in range(10_000)), *range(2, 10_000), "ab", "ba", "a", "aa", "aaa"]
    assert np.unique(hashes(ids)).size == len(ids)
