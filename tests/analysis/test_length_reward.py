"""If this fails, a reward that is a function of length passes for one of quality, or the other way round."""

import math
import random
from collections.abc import Callable

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from budget_cli.analysis.length_reward import LengthReward, length_reward

Reward = Callable[[bool, int, float], float]  # of whether it is right, the length, and its place among the prompt's


def found(reward: Reward, prompts: int, size: int, seed: int) -> LengthReward | None:
    chance = random.Random(seed)
    rows = []
    for prompt in range(prompts):
        lengths = [round(chance.lognormvariate(7, 0.5)) for _ in range(size)]
        least, most = min(lengths), max(lengths)
        for length in lengths:
            place = (length - least) / max(1, most - least)
            rows.append((prompt, round(reward(chance.random() < 0.5, length, place), 6), length))
    numbers, rewards, lengths_of_all = np.array(rows, dtype=np.float64).T
    return length_reward(numbers, rewards, lengths_of_all, 40)


FUNCTIONS: dict[str, Reward] = {
    "linear": lambda right, length, place: right - length / 5000,
    "of Kimi k1.5": lambda right, length, place: 0.5 - place if right else min(0.0, 0.5 - place),
    "of Kimi k1.5, added": lambda right, length, place: right + (0.5 - place if right else min(0.0, 0.5 - place)),
    "cosine": lambda right, length, place: (1 if right else -1) * (0.75 + 0.25 * math.cos(min(math.pi, length / 6000))),
    "the longer the better": lambda right, length, place: right + 0.2 * math.log(length),
}
CHANCE = random.Random(3)
OTHERS: dict[str, Reward] = {
    "right or wrong": lambda right, length, place: float(right),
    "tests passed": lambda right, length, place: CHANCE.randrange(21) / 20,
    "model": lambda right, length, place: CHANCE.gauss(0, 1),
    "model, lower if long": lambda right, length, place: CHANCE.gauss(-math.log(length), 0.2),
    "length reward beside a model's": lambda right, length, place: 0.5 - place + CHANCE.gauss(0, 0.3),
}


@examples(40)
@given(seed=st.integers(0, 2**32), name=st.sampled_from(list(FUNCTIONS)), prompts=st.integers(6, 20))
def test_a_function_of_length_is_found(seed: int, name: str, prompts: int) -> None:
    of_length = found(FUNCTIONS[name], prompts, 8, seed)
    assert of_length is not None
    assert of_length.prompts == prompts
    assert ("falls" in of_length.how) == (name in ("cosine", "the longer the better"))


@examples(40)
@given(seed=st.integers(0, 2**32), name=st.sampled_from(list(OTHERS)), prompts=st.integers(6, 20))
def test_a_reward_that_only_correlates_with_length_is_none(seed: int, name: str, prompts: int) -> None:
    assert found(OTHERS[name], prompts, 8, seed) is None


def test_rewards_whose_differences_are_no_numbers_are_left_alone() -> None:
    assert found(lambda right, length, place: 1e308 if length > 1000 else -1e308 + length, 9, 8, 0) is None


@pytest.mark.parametrize(("prompts", "size"), [(1, 60), (3, 20), (4, 9), (6, 6)])
def test_little_tells_nothing(prompts: int, size: int) -> None:
    assert found(FUNCTIONS["linear"], prompts, size, 0) is None
