"""If this fails, a penalty in the rewards is overlooked, measured wrongly, or seen where there is none."""

import math
import random
from collections.abc import Sequence

import numpy as np
import pytest
from examples import examples
from hypothesis import example, given
from hypothesis import strategies as st

from budget_cli.analysis.penalty_in_reward import Penalty, fit_penalty
from budget_cli.evidence.reward_sample import RewardSample

BASES = ([1.0], [0.0, 1.0], [-1.0, 1.0], [0.0, 0.5, 1.0], [0.0, 0.2, 1.0, 1.2])


def fitted(
    rewards: Sequence[float], lengths: Sequence[float], prompt_lengths: Sequence[float] | None = None
) -> Penalty | None:
    sample = RewardSample()
    prompts = None if prompt_lengths is None else np.array(prompt_lengths, dtype=np.float64)
    sample.add(np.array(rewards, dtype=np.float64), np.array(lengths, dtype=np.float64), prompts)
    return fit_penalty(sample)


def drawn(chance: random.Random, number: int) -> list[int]:
    """Lengths that many responses share, or hardly any."""
    most = chance.choice([600, 2000, 30000])
    return [min(round(chance.lognormvariate(math.log(most / 4), 0.7)), most) for _ in range(number)]


def test_a_penalty_is_found_by_hand() -> None:
    lengths = [10, 20, 30, 40, 50, 60, 111, 122, 133, 154, 195, 195]
    rewards = [1, 0, 1, 0, 1, 0, 0.89, -0.22, 0.67, -0.54, 0.05, -0.95]  # β 0.01 over 100
    found = fitted(rewards, lengths)
    assert found is not None
    assert found._replace(beta=round(found.beta, 12)) == Penalty(0.01, 100, None, False, (0.0, 1.0), 6, 6, False)
    assert str(found) == "β 0.01 over 100 tokens"


def test_a_penalty_with_a_limit() -> None:
    lengths = [10, 20, 30, 40, 111, 122, 133, 154, 175, 186, 250, 300, 320, 400]
    rewards = [1, 1, 1, 1, 0.89, 0.78, 0.67, 0.46, 0.25, 0.14, -0.2, -0.2, -0.2, -0.2]  # β 0.01 over 100, 1.2 at most
    assert str(fitted(rewards, lengths)) == "β 0.01 over 100 tokens, of 1.2 at most"


def test_a_penalty_on_prompt_and_response_together() -> None:
    lengths = [10, 20, 30, 40, 80, 85, 90, 95, 98, 99]
    prompts = [5, 10, 20, 3, 30, 20, 50, 17, 19, 40]
    rewards = [
        i % 2 - 0.01 * max(0, length + prompt - 100)
        for i, (length, prompt) in enumerate(zip(lengths, prompts, strict=True))
    ]
    assert fitted(rewards, lengths) is None
    found = fitted(rewards, lengths, prompts)
    assert str(found) == "β 0.01 over 100 tokens of prompt and response together"
    assert found is not None
    assert not found.is_about(100, 0.01)


def test_the_penalty_of_the_options_is_told_from_another() -> None:
    found = Penalty(0.00199999, 1024, None, False, (0.0, 1.0), 9, 9, False)
    assert found.is_about(1024, 0.002)
    assert not found.is_about(1025, 0.002)
    assert not found.is_about(1024, 0.0021)


@examples(40)
@given(
    seed=st.integers(0, 2**32),
    base=st.sampled_from(BASES),
    number=st.sampled_from([150, 400, 3000]),
    beta=st.floats(1e-5, 0.1),
    share=st.floats(0.15, 0.6),
    digits=st.sampled_from([None, 6]),
    single=st.booleans(),
)
@example(seed=1, base=[1.0], number=150, beta=0.00035695503795503397, share=0.5, digits=6, single=False)
def test_a_penalty_of_any_size_is_recovered(
    seed: int, base: list[float], number: int, beta: float, share: float, digits: int | None, single: bool
) -> None:
    chance = random.Random(seed)
    lengths = drawn(chance, number)
    budget = sorted(lengths)[int((1 - share) * number)]
    rewards = [chance.choice(base) - beta * max(0, length - budget) for length in lengths]
    if digits is not None and beta > 1e-4:
        rewards = [round(reward, digits) for reward in rewards]
    if single:
        rewards = np.array(rewards, dtype=np.float32).astype(np.float64).tolist()
    found = fitted(rewards, lengths)
    assert found is not None
    assert found.budget == budget
    assert found.beta == pytest.approx(beta, rel=1e-3)
    assert found.cap is None
    over = sum(length > budget for length in lengths)
    assert found.sampled or (found.fitting, found.over) == (over, over)


@examples(40)
@given(
    seed=st.integers(0, 2**32),
    kind=st.sampled_from(["few", "few, lower", "tests", "model", "model, lower", "hundredths", "long ones wrong"]),
    number=st.integers(2, 600),
)
def test_none_is_reported_where_none_was_added(seed: int, kind: str, number: int) -> None:
    chance = random.Random(seed)
    lengths = drawn(chance, number)
    middle, base = sorted(lengths)[number // 2], chance.choice(BASES)

    def reward(length: int) -> float:
        longer = length / (middle + 1) - 1
        if kind == "few":
            return chance.choice(base)
        if kind == "few, lower":
            return base[0] if chance.gauss(longer, 1) > 0 else base[-1]
        if kind == "tests":  # the share of the tests passed, fewer by long responses
            return chance.randrange(8) / 7 if chance.gauss(longer, 1) < 0 else 0.0
        if kind == "model":
            return chance.gauss(0, 1)
        if kind == "model, lower":
            return chance.gauss(-longer, 0.2)
        if kind == "hundredths":
            return round(min(1, max(0, chance.gauss(0.6 - 0.1 * longer, 0.1))), 2)
        return chance.choice([0.0, 1.0]) if length < middle else round(-chance.random(), 6)

    assert fitted([reward(length) for length in lengths], lengths) is None


@pytest.mark.parametrize("times", [1e-320, 1e-200, 1e200, 1e307])
def test_numbers_at_the_limits_of_a_double_are_left_alone(times: float) -> None:
    lengths = list(range(10, 400, 7))
    rewards = [times * (i % 2 - 0.002 * max(0, length - 100)) for i, length in enumerate(lengths)]
    assert fitted(rewards, lengths) is None
    assert fitted([i % 2 - 0.01 * (i % 7) for i in lengths], lengths, [1e300, *lengths[1:]]) is None
    assert fitted([i % 2 - 0.01 * (i % 7) for i in lengths], lengths, [-5, *lengths[1:]]) is None


@pytest.mark.parametrize("number", [0, 1, 3])
def test_few_responses_show_none(number: int) -> None:
    assert fitted([1.0, 0.5, 0.25][:number], [10, 20, 30][:number]) is None


def test_a_reward_linear_in_length_from_the_shortest_on_has_no_budget() -> None:
    lengths = list(range(10, 400, 7))
    assert fitted([1 - 0.002 * length for length in lengths], lengths) is None


def test_a_penalty_in_tenths_is_found_by_hand() -> None:
    lengths = [10, 15, 20, 25, 30, 40, 50, 60, 80, 90, 111, 122, 133, 154, 195, 213, 231, 247, 255, 271, 288, 300]
    tenths = [3, 7, 10, 0, 2, 9, 4, 6, 10, 5, 8, 1, 9, 6, 10, 3, 0, 7, 4, 9, 2, 5]
    rewards = [
        round(tenth / 10 - 0.001 * max(0, length - 100), 3) for tenth, length in zip(tenths, lengths, strict=True)
    ]
    assert rewards[10:13] == [0.789, 0.078, 0.867]
    found = fitted(rewards, lengths)
    assert found is not None
    assert str(found._replace(beta=round(found.beta, 6))) == "β 0.001 over 100 tokens"
    assert (found.fitting, found.over, found.rewards) == (12, 12, (0.0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.9, 1.0))


STEPPED = [1 / 3, 0.25, 0.2, 0.125, 0.1, 0.05, 1.0]


@examples(40)
@given(
    seed=st.integers(0, 2**32),
    step=st.sampled_from(STEPPED),
    number=st.sampled_from([200, 400, 3000]),
    total=st.floats(0.2, 5),
    share=st.floats(0.2, 0.6),
    cap=st.sampled_from([None, 1.0]),
    digits=st.sampled_from([None, 6, 4]),
    single=st.booleans(),
)
def test_a_penalty_in_rewards_in_equal_steps_is_recovered(
    seed: int, step: float, number: int, total: float, share: float, cap: float | None, digits: int | None, single: bool
) -> None:
    chance = random.Random(seed)
    lengths = drawn(chance, number)
    budget = sorted(lengths)[int((1 - share) * number)]
    beta = total / (max(lengths) - budget)  # so much for the longest
    values = range(11) if step == 1 else range(round(1 / step) + 1)
    penalties = [beta * max(0, length - budget) for length in lengths]
    steps = [chance.choice(values) for _ in penalties]
    rewards = [of * step - min(penalty, cap or math.inf) for of, penalty in zip(steps, penalties, strict=True)]
    if digits is not None:
        rewards = [round(reward, digits) for reward in rewards]
    if single:
        rewards = np.array(rewards, dtype=np.float32).astype(np.float64).tolist()
    found = fitted(rewards, lengths)
    # limit and rewards could both be a step less if none of these rewards is the lowest, or more if none the highest
    at_limit = {of for of, penalty in zip(steps, penalties, strict=True) if penalty >= (cap or math.inf)}
    is_told = {values[0], values[-1]} <= at_limit
    below = sum(0 < penalty < (cap or math.inf) for penalty in penalties)
    if found is None:  # a limit leaves few lengths with another penalty than the largest, or no reward shows the budget
        assert below < 100
        return
    assert abs(found.budget - budget) <= 1
    assert found.beta == pytest.approx(beta, rel=5e-3)
    assert found.cap is None or below < 100 or not is_told or found.cap == pytest.approx(cap, abs=1e-3)


HEALTHY = [
    "tenths",
    "quarters",
    "tests",
    "tenths, and a model for long ones",
    "tenths, and hundredths for long ones",
    "tenths, and twentieths for long ones",
    "tenths and a bonus",
    "tenths, less for the form of long ones",
    "tenths and a cosine of the length",
    "tenths and noise for long ones",
    "marks of ten, and half ones",
    "odd twentieths for long ones",
]


@examples(60)
@given(
    seed=st.integers(0, 2**32),
    kind=st.sampled_from(HEALTHY),
    number=st.sampled_from([20, 60, 150, 400, 2000]),
    digits=st.sampled_from([None, 2, 3, 4]),
    multiple=st.sampled_from([1, 1, 1, 64]),
)
def test_none_is_reported_of_rewards_in_steps_that_go_down_with_length(
    seed: int, kind: str, number: int, digits: int | None, multiple: int
) -> None:
    chance = random.Random(seed)
    lengths = [length // multiple * multiple for length in drawn(chance, number)]
    middle = sorted(lengths)[number // 2] + 1

    def reward(length: int) -> float:
        longer = length / middle - 1
        quality = max(0.0, min(1.0, 0.5 - 0.3 * longer + chance.gauss(0, 0.25)))
        tenth = round(quality, 1)
        if kind == "quarters":
            return round(quality * 4) / 4
        if kind == "tests":  # the share of the tests passed
            of = chance.choice([3, 4, 5, 7, 8, 10])
            return round(quality * of) / of
        if kind == "tenths and a bonus":
            return tenth + chance.choice([0, 0.01, 0.05])
        if kind == "marks of ten, and half ones":
            return round(10 * quality) - (0.5 if chance.random() < 0.3 else 0)
        if longer <= 0 or kind == "tenths":
            return tenth
        of_long = {
            "tenths, and a model for long ones": quality,
            "tenths, and hundredths for long ones": round(quality, 2),
            "tenths, and twentieths for long ones": round(quality * 20) / 20,
            "tenths, less for the form of long ones": tenth - chance.choice([0.01, 0.02, 0.03]),
            "tenths and a cosine of the length": tenth * 0.5 * (1 + math.cos(math.pi * min(1, longer / 3))),
            "tenths and noise for long ones": tenth + chance.gauss(0, 0.02),
            "odd twentieths for long ones": chance.choice([0.05, 0.15, 0.25, 0.35]),
        }
        return of_long[kind]

    rewards = [reward(length) for length in lengths]
    assert fitted(rewards if digits is None else [round(one, digits) for one in rewards], lengths) is None
