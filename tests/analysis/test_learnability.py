"""If this fails, a prompt that teaches nothing is not seen, or pass@k is another than that of the literature."""

import math
import random
from collections.abc import Sequence
from fractions import Fraction
from itertools import combinations
from math import comb, lgamma

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from budget_cli.analysis import learnability
from budget_cli.analysis.learnability import (
    ATTEMPTS,
    SIZES,
    UNKNOWN,
    ByRate,
    Learnability,
    alike_at,
    compute_learnability,
    pass_at,
)
from budget_cli.groups.groups import Groups
from budget_cli.groups.moments import Layout
from budget_cli.ids import Key

Response = tuple[Key, float, float | None, float | None]  # prompt, reward, tokens, log-ratio

# Four prompts, of four, three, two and one response. On paper, with c the right of n responses:
#   prompt  c/n   pass@1  pass@2               all alike of 2         of 4
#   a       2/4   1/2     1 − 1/C(4, 2) = 5/6  (1 + 1)/C(4, 2) = 1/3  0
#   b       3/3   1       1                    1                      7/8: one more, of Beta(3 + ½, ½)
#   c       0/2   0       0                    1                      5/6 · 7/8 = 35/48: two more, of Beta(2 + ½, ½)
#   d       1/1   1       alone
HAND_MADE: list[Response] = [
    ("a", 1.0, 10, None),
    ("a", 1.0, 20, None),
    ("a", 0.0, 30, None),
    ("a", 0.0, 40, None),
    ("b", 0.5, 50, None),
    ("b", 0.5, 60, None),
    ("b", 1.0, 70, None),
    ("c", -1.0, 5, None),
    ("c", 0.0, 15, None),
    ("d", 2.0, 100, None),
]


def found_in(responses: Sequence[Response], above: float = 0.0) -> Learnability:
    return compute_learnability(groups_of(responses, above))


def groups_of(responses: Sequence[Response], above: float = 0.0) -> Groups:
    keys = list(dict.fromkeys(each[0] for each in responses))
    codes = np.array([keys.index(each[0]) for each in responses], dtype=np.intp)
    rewards = np.array([each[1] for each in responses], dtype=np.float64)
    lengths = np.array([math.nan if each[2] is None else each[2] for each in responses], dtype=np.float64)
    return Groups.from_responses(Layout((), above), keys, codes, rewards, lengths, None)


def test_the_numbers_are_those_worked_out_on_paper() -> None:
    found = found_in(HAND_MADE)
    assert found[:7] == (0.0, 6, 0.6, 3, 1, 1, 1)
    assert found[7:10] == (1 / 3, 1 / 3, 1 / 3)
    assert list(found.prompts_by_rate.values()) == [1, 0, 1, 0, 0, 1]
    assert list(found.responses_by_rate.values()) == [2, 0, 4, 0, 0, 3]
    assert (found.length_right, found.length_wrong) == (310 / 6, 90 / 4)
    known = {k: value for k, value in found.pass_at.items() if value is not None}
    assert known == pytest.approx({"1": 2.5 / 4, "2": 11 / 18}, rel=1e-15)
    assert found.pass_at_prompts == {**dict.fromkeys(map(str, ATTEMPTS), 0), "1": 4, "2": 3, "4": 1}
    assert found.zero_variance_fraction == 2 / 3
    assert [found.zero_variance_at[size] for size in ("2", "4")] == pytest.approx([7 / 9, 77 / 144], rel=1e-15)


@pytest.mark.parametrize(
    ("rewards", "above", "right"),
    [
        pytest.param([1, -1, -1], 0.0, 1, id="of −1 and 1, 1 is right"),
        pytest.param([1, 0, 0.25, 0.5], 0.0, 3, id="whatever got anything"),
        pytest.param([1, 0, 0.25, 0.5], 0.5, 1, id="above, not at"),
        pytest.param([-3, -2], -2.5, 1, id="a threshold below 0"),
        pytest.param([1, 1], 1.0, 0, id="nothing is above the highest"),
    ],
)
def test_a_response_is_right_above_the_threshold(rewards: list[float], above: float, right: int) -> None:
    found = found_in([("a", reward, None, None) for reward in rewards], above)
    assert (found.correct_above, found.right) == (above, right)
    assert found.mixed == int(0 < right < len(rewards))


@pytest.mark.parametrize(
    ("right", "band"),
    [
        (0, "none"),
        (1, "up_to_quarter"),
        (2, "up_to_quarter"),
        (3, "up_to_half"),
        (4, "up_to_half"),
        (5, "up_to_three_quarters"),
        (6, "up_to_three_quarters"),
        (7, "below_all"),
        (8, "all"),
    ],
)
def test_a_solve_rate_at_a_bound_is_in_the_band_below_it(right: int, band: str) -> None:
    found = found_in([("a", float(i < right), None, None) for i in range(8)])
    assert {name: number for name, number in found.prompts_by_rate.items() if number} == {band: 1}
    assert {name: number for name, number in found.responses_by_rate.items() if number} == {band: 8}


SMALL_GROUPS = [(n, right) for n in range(1, 8) for right in range(n + 1)]


@pytest.mark.parametrize(("n", "right"), SMALL_GROUPS)
def test_pass_at_k_is_the_share_of_the_choices_of_k_with_a_right_one(n: int, right: int) -> None:
    found = pass_at(np.array([n]), np.array([right]), range(1, n + 1))
    for k in range(1, n + 1):
        chosen = list(combinations([True] * right + [False] * (n - right), k))
        assert found[k][0] == pytest.approx(sum(map(any, chosen)) / len(chosen), rel=1e-14)


@pytest.mark.parametrize(("n", "right"), SMALL_GROUPS)
def test_up_to_n_all_alike_is_the_share_of_such_choices(n: int, right: int) -> None:
    found = alike_at(np.array([n]), np.array([right]), range(2, n + 1))
    for size in range(2, n + 1):
        chosen = list(combinations([True] * right + [False] * (n - right), size))
        assert found[size][0] == pytest.approx(sum(len({*one}) == 1 for one in chosen) / len(chosen), rel=1e-14)


@pytest.mark.parametrize("n", [1, 2, 3, 8, 16])
@pytest.mark.parametrize("size", SIZES)
def test_beyond_n_it_is_a_moment_of_the_posterior(n: int, size: int) -> None:
    more = max(0, size - n)
    exact = Fraction(1)
    for i in range(more):  # E[p^m] of Beta(a, b): the product of (a + i)/(a + b + i)
        exact *= (Fraction(2 * n + 1, 2) + i) / (n + 1 + i)
    by_gamma = math.exp(lgamma(n + 0.5 + more) + lgamma(n + 1) - lgamma(n + 0.5) - lgamma(n + 1 + more))
    for right in (0, n):
        found = alike_at(np.array([n]), np.array([right]), [size])[size][0]
        assert abs(Fraction(float(found)) / exact - 1) < Fraction(1, 10**14)
        assert found == pytest.approx(by_gamma, rel=1e-12)
    if n > 1 and size >= n:
        assert alike_at(np.array([n]), np.array([1]), [size])[size][0] == 0


def test_what_is_expected_of_the_size_that_there_is_is_what_was_observed() -> None:
    chance = random.Random(1)
    of_8: list[Response] = [(i, float(chance.random() < i / 40), None, None) for i in range(40) for _ in range(8)]
    found = found_in(of_8)
    assert found.zero_variance_at["8"] == pytest.approx(found.zero_variance_fraction, rel=1e-14)
    shares = [found.zero_variance_at[str(size)] or 0 for size in SIZES]
    assert shares == sorted(shares, reverse=True)
    assert found.pass_at["8"] == pytest.approx(1 - (found.all_wrong_fraction or 0), rel=1e-14)


def test_one_right_response_of_a_million_keeps_its_digits() -> None:
    found = pass_at(np.array([1e6]), np.array([1.0]), [1, 2, 256])
    assert [found[k].tolist() for k in found] == [[pytest.approx(k * 1e-6, rel=1e-13)] for k in found]


def test_large_groups_do_not_overflow() -> None:
    n, right = np.array([10.0**6]), np.array([4.0 * 10**5])
    k = 256
    exact = 1 - Fraction(comb(600_000, k), comb(10**6, k))
    assert pass_at(n, right, ATTEMPTS)[k][0] == pytest.approx(float(exact), rel=1e-14)
    assert 0 <= alike_at(n, right, SIZES)[64][0] < 1e-10


def test_pass_at_k_is_given_up_to_the_size_that_most_prompts_have() -> None:
    sizes = [8, 8, 8, 3, 3]  # three of five have 8
    found = found_in([(i, float(j == 0), None, None) for i, n in enumerate(sizes) for j in range(n)])
    assert [k for k, value in found.pass_at.items() if value is not None] == ["1", "2", "4", "8"]
    assert [found.pass_at_prompts[k] for k in ("1", "2", "4", "8", "16")] == [5, 5, 3, 3, 0]
    assert found.pass_at["4"] == pytest.approx(4 / 8, rel=1e-14)  # of the three


response = st.tuples(
    st.sampled_from("aabcd"), st.sampled_from([-1.0, 0.0, 0.5, 1.0]), st.integers(0, 5000).map(float), st.none()
)


@given(st.lists(response, min_size=1, max_size=40), st.integers(0, 40), st.randoms(use_true_random=False))
def test_neither_order_nor_splits_change_a_bit(responses: list[Response], cut: int, chance: random.Random) -> None:
    expected = found_in(responses)
    shuffled = responses.copy()
    chance.shuffle(shuffled)
    assert found_in(shuffled) == expected
    merged = Groups(Layout())
    for part in (responses[:cut], responses[cut:]):
        if part:
            merged.merge(groups_of(part))
    assert compute_learnability(merged) == expected


def test_many_responses_to_a_prompt_are_counted_as_few_are(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(2)
    responses: list[Response] = [
        (i, float(chance.random() < 0.4), 7, None) for i in range(50) for _ in range(chance.randrange(1, 12))
    ]
    expected = found_in(responses)
    for attribute, value in (("SMALL", 3), ("PART", 7)):
        monkeypatch.setattr(learnability, attribute, value)
        assert found_in(responses) == expected


def test_without_every_length_there_are_no_lengths_of_right_and_wrong() -> None:
    expected = found_in(HAND_MADE)._replace(length_right=None, length_wrong=None)
    assert found_in([(*each[:2], None, None) for each in HAND_MADE]) == expected
    assert found_in([(*HAND_MADE[0][:2], None, None), *HAND_MADE[1:]]) == expected


def test_where_all_are_right_no_length_of_wrong_ones_exists() -> None:
    found = found_in([("a", 1.0, 10, None), ("a", 1.0, 20, None)])
    assert (found.length_right, found.length_wrong) == (15.0, None)
    found = found_in([("a", 0.0, 10, None), ("a", 0.0, 20, None)])
    assert (found.length_right, found.length_wrong) == (None, 15.0)


def test_singletons_are_in_no_share_of_prompts() -> None:
    found = found_in([(i, float(i % 2), 10, None) for i in range(4)])
    assert (found.right, found.prompts, found.all_right, found.all_wrong, found.mixed) == (2, 0, 0, 0, 0)
    assert found.all_right_fraction is found.mixed_fraction is found.zero_variance_fraction is None
    assert set(found.zero_variance_at.values()) == {None}
    assert found.prompts_by_rate == found.responses_by_rate == dict.fromkeys(ByRate.KEYS, 0)
    assert (found.pass_at["1"], found.pass_at["2"]) == (0.5, None)


def test_of_no_responses_there_are_counts_of_zero_and_no_shares() -> None:
    found = compute_learnability(Groups(Layout((100,), 0.5)))
    assert found[:7] == (0.5, 0, None, 0, 0, 0, 0)
    assert set(found.pass_at.values()) | set(found.zero_variance_at.values()) == {None}


def test_where_it_is_not_known_what_is_right_nothing_is_zero() -> None:
    groups = groups_of(HAND_MADE, 0.5)
    groups.table[2, groups.layout.at("right")] = np.nan  # as `scanning/summary.py` reads what has no such column
    assert compute_learnability(groups) == UNKNOWN._replace(correct_above=0.5)
