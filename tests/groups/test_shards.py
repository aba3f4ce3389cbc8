"""If this fails, a cluster with many prompts gives a different sum, or loses a prompt between two shards."""

import pickle
from collections.abc import Sequence

import numpy as np
import pytest
from examples import TWICE, examples
from hypothesis import given
from hypothesis import strategies as st
from test_groups import LAYOUT, Response, bits, folded, groups_of, parts

from budget_cli.groups import shards
from budget_cli.groups.groups import Groups
from budget_cli.ids import Packed


@pytest.mark.exhaustive
@examples(TWICE)
@given(parts, st.integers(1, 7))
def test_shards_join_into_the_groups_of_one_process(of: Sequence[Sequence[Response]], number: int) -> None:
    states = shards.split(Groups(LAYOUT), number, part=0)
    rest = Groups(LAYOUT)
    for part, responses in enumerate(of, start=1):
        groups = groups_of(responses)
        for state, share in zip(states, shards.split(groups, number, part), strict=True):
            state.merge(pickle.loads(pickle.dumps(share)))
        rest.merge(groups.with_prompts((), LAYOUT.empty(0)))
    assert bits(shards.join(states, rest)) == bits(folded(of))


def test_a_prompt_is_always_in_the_same_shard() -> None:
    one, other = groups_of([("a", 1, 1, 1), (7, 1, 1, 1)]), groups_of([("7", 1, 1, 1), (7, 2, 2, 2), ("a", 2, 2, 2)])
    of_one, of_other = ([set(share.groups.keys()) for share in shards.split(each, 4, 0)] for each in (one, other))
    for key in ("a", 7):
        assert [key in share for share in of_one] == [key in share for share in of_other]
        assert sum(key in share for share in of_one) == 1


@examples(TWICE)
@given(st.lists(st.text(max_size=5) | st.integers(-9, 9), min_size=1), st.data())
def test_packed_ids_are_taken_and_joined_in_any_order(ids: list[str | int], data: st.DataObject) -> None:
    places = data.draw(st.lists(st.integers(0, len(ids) - 1), max_size=30))
    packed = Packed.from_ids(ids).take(np.array(places, dtype=np.intp))
    assert packed == [ids[place] for place in places]
    assert Packed.concatenate([packed, Packed.from_ids([]), Packed.from_ids(ids)]) == [*packed, *ids]
