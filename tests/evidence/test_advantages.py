"""If this fails, the sums or the sample of stored advantages depend on blocks and files, or change in a summary."""

import itertools
import json

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from budget_cli.evidence.advantages import LIMIT, Advantages, AdvantageSample, column_names
from budget_cli.evidence.responses import ObservationSpec, Responses

SPEC = ObservationSpec((5, 9))


def block(prompts: list[int], r: list[float], length: list[float], a: list[float]) -> Responses:
    names, codes = np.unique(prompts, return_inverse=True)
    columns = (np.array(each, dtype=np.float64) for each in (r, length, a))
    reward, lengths, advantage = columns
    return Responses([f"p{n}" for n in names], codes, np.arange(codes.size), reward, lengths, advantage=advantage)


def test_the_sums_of_a_block() -> None:
    made = Advantages.from_responses(SPEC, block([0, 0, 1, 1], [1, 2, 3, 4], [4, 8, 10, 5], [0.5, -0.5, np.nan, 2]))
    assert column_names(SPEC.budgets) == ["a_n", "a", "aa", "ar", "rL", "ae@5", "ae@9"]
    assert made.table(3).tolist() == [[2, 0, 0.5, -0.5, 20, -1.5, 0], [1, 2, 4, 8, 20, 0, 0], [0] * 7]
    assert made.column("ar", 2).tolist() == [-0.5, 8]
    assert np.isnan(made.column("ae@7", 2)).all()
    assert bool(made)


def test_of_different_budgets_those_that_both_have_are_kept() -> None:
    one, other = (
        Advantages.from_responses(SPEC._replace(budgets=b), block([0], [1], [9], [2])) for b in ((5, 9), (9, 4))
    )
    one.merge(other, np.arange(1))
    assert (one.budgets, one.column("a", 1).tolist(), one.column("ae@9", 1).tolist()) == ((9,), [4.0], [0.0])
    assert np.isnan(one.column("ae@5", 1)).all()


def test_no_advantages_take_no_memory() -> None:
    one = block([0, 1], [1, 2], [3, 4], [np.nan, np.nan])
    for made in (Advantages.from_responses(SPEC, one), Advantages.from_responses(SPEC, one._replace(advantage=None))):
        assert not made
        assert made.table(5).shape[0] == 5
        whole = Advantages()
        whole.merge(made, np.arange(2))
        assert not whole


@examples(60)
@given(seed=st.integers(0, 2**32), cuts=st.lists(st.integers(0, 60), max_size=5), every=st.integers(1, 8))
def test_sums_and_sample_do_not_depend_on_blocks(seed: int, cuts: list[int], every: int) -> None:
    chance = np.random.default_rng(seed)
    prompts = chance.integers(0, 12, 60).tolist()
    r, a = chance.integers(-4, 4, (2, 60)).astype(float).tolist()
    length = chance.integers(0, 20, 60).astype(float).tolist()
    order: dict[int, int] = {}
    for p in prompts:
        order.setdefault(p, len(order))

    def taken(bounds: list[int]) -> Advantages:
        whole = Advantages()
        for begin, end in itertools.pairwise([0, *sorted(bounds), 60]):
            if begin < end:
                part = block(*(each[begin:end] for each in (prompts, r, length, a)))
                rows = np.array([order[int(str(key)[1:])] for key in part.keys])
                whole.merge(Advantages.from_responses(SPEC, part), rows)
        return whole

    one, other = taken([]), taken(cuts)
    assert np.array_equal(one.table(12), other.table(12))  # whole numbers add without rounding
    for each, its_twin in zip(one.sample.responses(), other.sample.responses(), strict=True):
        assert np.array_equal(each, its_twin)
    assert one.sample.rows.size == 60


def test_the_sample_is_of_whole_prompts_with_the_smallest_hashes() -> None:
    prompts = [p for p in range(LIMIT) for _ in range(3)]
    numbers = np.arange(len(prompts), dtype=np.float64).tolist()
    whole = Advantages.from_responses(SPEC, block(prompts, numbers, numbers, numbers))
    names = [str(key) for key in np.unique(prompts)]
    parts = Advantages()
    for begin, end in itertools.pairwise(range(0, len(prompts) + 1, 1000 * 3 + 1)):
        part = block(*(each[begin:end] for each in (prompts, numbers, numbers, numbers)))
        rows = np.array([names.index(str(key)[1:]) for key in part.keys])
        parts.merge(Advantages.from_responses(SPEC, part), rows)
    rows, _, _, advantage = whole.sample.responses()
    assert LIMIT - 3 < rows.size <= LIMIT
    assert set(np.bincount(rows)) == {0, 3}
    assert sorted(advantage.tolist())[:2] == sorted(advantage.tolist())[:2]


def test_the_json_of_a_sample() -> None:
    made = Advantages.from_responses(SPEC, block([0, 0, 1], [1, 2, 3], [4, np.nan, 10], [0.5, -0.5, 2])).sample
    shown = json.loads(json.dumps(made.to_json(np.array([7, 9]))))
    assert sorted(each[0] for each in shown[1:]) == [7, 9]
    assert next(each[2:] for each in shown[1:] if each[0] == 7) == [1, 4, 0.5, 2, None, -0.5]
    back = AdvantageSample.from_json(shown, {7: 0, 9: 1})
    assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(back.responses(), made.responses(), strict=True))
    assert back.below == made.below


@pytest.mark.parametrize(
    "shown",
    [
        ["x"],
        [-1, [7, 3, 1, 1, 1]],
        [2**64, [7, 3, 1, 1, 1]],
        [9, [7, 3]],
        [9, [7, 3, 1, 1]],
        [9, [8, 3, 1, 1, 1]],
        [9, [7, "3", 1, 1, 1]],
        [9, [7, 3, 1, 1, "1"]],
        [9, [7, -3, 1, 1, 1]],
        [9, 7],
    ],
)
def test_what_is_no_sample_is_refused(shown: list[object]) -> None:
    with pytest.raises((ValueError, TypeError, KeyError)):
        AdvantageSample.from_json(shown, {7: 0})
