"""If this fails, `check` names an estimator that the trainer did not use, or misses the one that it did."""

from typing import Any

import numpy as np
import pytest
from advantages import ROUNDINGS, Floats, Group, Stored, drawn, estimator, scanned, stored
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from budget_cli.analysis.checks.stored_advantages import estimator_sentence
from budget_cli.analysis.estimators_known import KEEP_SINGLETONS, RECIPES, in_words
from budget_cli.analysis.hidden_penalty import Penalty
from budget_cli.analysis.stored_advantages import StoredAdvantages, identify
from budget_cli.cli.recipes import keys_of
from budget_cli.objective.settings import parse

SETTINGS: list[tuple[str, int, float]] = [
    ("centred", 0, 0),
    ("rloo", 0, 0),
    *(("grpo", ddof, eps) for ddof in (0, 1) for eps in (0, 1e-8, 1e-6, 1e-5, 1e-4)),
    ("maxrl", 0, 1e-6),
    ("opo", 0, 0),
    ("batch-std", 1, 1e-5),
    ("reinforce++", 1, 1e-6),
    ("reward", 0, 0),
]
PENALTIES = {
    None: None,
    Penalty(0.0005, 2000): lambda r, length: 0.0005 * np.maximum(0, length - 2000),
    Penalty(0.000244140625, 1024): lambda r, length: 2**-12 * np.maximum(0, length - 1024),
    Penalty(0.0003, 1500, cap=1000): lambda r, length: 0.0003 * np.clip(length - 1500, 0, 1000),
    Penalty(0.0002, 1000, right_only=True): lambda r, length: 0.0002 * np.maximum(0, length - 1000) * (r > 0),
    Penalty(-0.0004, 2000): lambda r, length: -0.0004 * np.maximum(0, length - 2000),
}


def identified(one: Any, budget: int | None = None) -> StoredAdvantages:
    found = identify(*scanned(one, budget))
    assert found is not None
    return found


def is_as_made(found: StoredAdvantages, name: str, ddof: int, eps: float) -> bool:
    """True if the first fit is this estimator; of ε, one of those that fit as well."""
    assert found.fits, found
    first = found.fits[0]
    same = first.candidate.ddof in (None, ddof) and (not first.eps or eps in first.eps)
    return first.candidate.name == name and same


def is_about(one: Penalty | None, other: Penalty | None) -> bool:
    """True if they are the same but for the rounding of β."""
    if one is None or other is None:
        return one is other
    return one == other._replace(beta=one.beta) and one.beta == pytest.approx(other.beta, rel=1e-5)


@pytest.mark.parametrize("rounding", ["double", "single"])
@pytest.mark.parametrize("penalty", PENALTIES, ids=str)
@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_every_estimator_is_recovered_with_every_penalty(
    setting: tuple[str, int, float], penalty: Penalty | None, rounding: str
) -> None:
    for seed in range(3):
        # with graded rewards, which are all above 0, right responses are all of them
        for graded in (True, False) if penalty is None or not penalty.right_only else (False,):
            made = stored(drawn(seed, graded=graded), estimator(*setting), PENALTIES[penalty])
            made = made._replace(a=ROUNDINGS[rounding](made.a))
            found = identified(made)
            assert is_as_made(found, *setting)
            assert is_about(found.penalty, penalty)
            ill = setting[0] == "maxrl" and penalty is not None  # a mean near 0 magnifies every rounding
            assert found.agreeing >= found.prompts - ill
            assert found.largest_residual < 2e-6 or ill


@pytest.mark.parametrize("rounding", ["half", "bfloat16", "4 decimals"])
@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_what_is_rounded_to_16_bits_or_decimals_is_recovered(setting: tuple[str, int, float], rounding: str) -> None:
    for seed in range(3):
        for graded in (True, False):
            made = stored(drawn(seed, graded=graded), estimator(*setting))
            found = identified(made._replace(a=ROUNDINGS[rounding](made.a)))
            assert is_as_made(found, *setting)
            assert found.agreeing == found.prompts == 40


@pytest.mark.parametrize("rounding", ["half", "bfloat16", "4 decimals"])
def test_a_penalty_in_16_bits_or_decimals_is_nearly_recovered(rounding: str) -> None:
    for name in ("centred", "rloo"):
        made = stored(drawn(5), estimator(name), lambda r, length: 0.0005 * np.maximum(0, length - 2000))
        found = identified(made._replace(a=ROUNDINGS[rounding](made.a)))
        assert is_as_made(found, name, 0, 0)
        assert found.penalty is not None
        assert found.penalty.budget == pytest.approx(2000, abs=2)
        assert found.penalty.beta == pytest.approx(0.0005, rel=1e-3)


def test_the_options_that_reproduce_them() -> None:
    linear, capped = PENALTIES[Penalty(0.0005, 2000)], PENALTIES[Penalty(0.0003, 1500, cap=1000)]
    right = PENALTIES[Penalty(0.0002, 1000, right_only=True)]
    expected = {
        ("centred", 0, 0, None): "--objective kimi-k2 --beta 0",
        ("rloo", 0, 0, None): "--objective rloo --beta 0",
        ("grpo", 1, 1e-4, None): "--objective trl-grpo --beta 0",
        ("grpo", 1, 1e-6, linear): "--objective verl-grpo -B 2000 --beta 0.0005",
        ("grpo", 0, 1e-8, None): "--set advantage=grpo --set ddof=0 --set eps=1e-8 --beta 0",
        ("maxrl", 0, 1e-6, None): "--objective maxrl --beta 0",
        ("maxrl", 0, 1e-4, None): "--set advantage=maxrl --set eps=1e-4 --beta 0",
        ("opo", 0, 0, None): "--objective opo --beta 0",
        ("batch-std", 1, 1e-5, None): "--objective areal --beta 0",
        ("batch-std", 0, 1e-8, None): "--set advantage=batch-std --set ddof=0 --set eps=1e-8 --beta 0",
        ("reinforce++", 1, 1e-6, None): "--objective reinforce-pp --beta 0",
        ("rloo", 0, 0, capped): "--objective rloo --set penalty=capped --set cap=1000 -B 1500 --beta 0.0003",
        ("rloo", 0, 0, right): "--objective rloo --set penalize=correct -B 1000 --beta 0.0002",
        ("reward", 0, 0, None): None,
        ("centred", 0, 0, PENALTIES[Penalty(-0.0004, 2000)]): None,
    }
    for (name, ddof, eps, phi), options in expected.items():
        assert identified(stored(drawn(1, graded=False), estimator(name, ddof, eps), phi)).options == options


def test_the_objectives_that_are_named_have_the_settings() -> None:
    for (name, ddof, eps), recipe in RECIPES.items():
        trained = parse(*keys_of(recipe))
        assert trained.advantage == name
        assert ddof in (None, trained.ddof)
        assert eps in (None, trained.eps)
        assert (trained.singletons == "reward") == (recipe in KEEP_SINGLETONS)
        assert trained.has_plain_penalty


def test_a_penalty_over_the_budget_that_is_given_is_compared_in_all_prompts() -> None:
    groups = drawn(2, prompts=900, graded=False)  # 5,400 responses, more than are sampled
    made = stored(groups, estimator("grpo", 1, 1e-6), PENALTIES[Penalty(0.0005, 2000)])
    of_sample, of_all = identified(made), identified(made, 2000)
    assert (of_sample.of_sample, of_all.of_sample) == (True, False)
    assert of_sample.penalty == of_all.penalty == Penalty(0.0005, 2000)
    assert 500 < of_sample.agreeing == of_sample.prompts < 800
    assert of_all.agreeing == of_all.prompts == 900


def test_what_fits_equally_well_is_named_too() -> None:
    # groups of one size with as many right: one slope is that of GRPO, of MaxRL (1 / 0.5) and of the batch
    alike: list[Group] = [(np.array([1.0, 0, 1, 0]), np.array([5.0, 6, 7, 8]) + p) for p in range(6)]
    found = identified(stored(alike, estimator("grpo", 0, 1e-6)))
    assert [fit.candidate.name for fit in found.fits] == ["grpo", "maxrl", "batch-std", "reinforce++"]
    assert found.options == "--set advantage=grpo --set ddof=0 --set eps=1e-6 --beta 0"
    # single precision cannot tell so small an ε
    made = stored(drawn(1), estimator("grpo", 1, 1e-8))
    (fit,) = identified(made._replace(a=ROUNDINGS["single"](made.a))).fits
    assert fit.eps == (0.0, 1e-9, 1e-8)
    # bfloat16 cannot tell how many of 200 are divided by
    large: list[Group] = drawn(1, prompts=12, sizes=(200,))
    made = stored(large, estimator("grpo", 1, 1e-6))
    fits = identified(made._replace(a=ROUNDINGS["bfloat16"](made.a))).fits
    assert {fit.candidate.ddof for fit in fits} == {0, 1}


def test_an_unusual_epsilon_is_fitted() -> None:
    found = identified(stored(drawn(1), estimator("grpo", 1, 0.02)))
    assert found.fits[0].eps == (0.02,)
    assert found.options == "--set advantage=grpo --set ddof=1 --set eps=0.02 --beta 0"


def test_the_constants_of_another_batch_are_named_but_not_reproduced() -> None:
    found = identified(stored(drawn(1), lambda x, length, every: 1.7 * (x - x.mean())))
    assert found.fits[0].candidate.name == "batch-std"
    assert found.fits[0].candidate.slope == pytest.approx(1.7)
    assert found.options is None


@pytest.mark.parametrize(
    ("name", "single", "expected"),
    [
        ("rloo", lambda r: 0.0, (4, 4, 0, 0, 0)),
        ("rloo", lambda r: r, (4, 2, 2, 0, 0)),  # of reward 0 both are 0
        ("grpo", lambda r: r / (1 + 1e-6), (4, 2, 2, 0, 0)),  # verl divides by 1 + ε
        ("rloo", lambda r: r - 0.5, (4, 0, 0, 4, 0)),
    ],
)
def test_how_prompts_of_one_response_were_treated(name: str, single: Any, expected: tuple[int, ...]) -> None:
    made = stored(drawn(1, graded=False), estimator(name, 1, 1e-6))
    rewards = np.array([0.0, 1.0, 0.0, 1.0])
    one = made._replace(
        prompt=np.append(made.prompt, 100 + np.arange(4)),
        r=np.append(made.r, rewards),
        length=np.append(made.length, np.full(4, 50.0)),
        a=np.append(made.a, [single(r) for r in rewards.tolist()]),
    )
    found = identified(one)
    assert tuple(found.singletons) == expected
    assert found.agreeing == found.prompts == 40
    wanted = {"rloo": " --set singletons=reward", "grpo": ""}[name] if expected[2] else ""
    assert found.options == f"--objective {'verl-grpo' if name == 'grpo' else name}{wanted} --beta 0"


@pytest.mark.parametrize("name", ["centred", "rloo", "grpo"])
def test_advantages_of_other_groups_are_counted(name: str) -> None:
    for seed in range(5):
        made = stored(drawn(seed), estimator(name, 1, 1e-6))
        theirs = np.flatnonzero(np.isin(made.prompt, [4, 9, 20]))
        a = made.a.copy()
        a[theirs] = a[np.random.default_rng(seed).permutation(theirs)]
        found = identified(made._replace(a=a))
        assert is_as_made(found, name, 1, 1e-6)
        assert (found.agreeing, found.prompts, found.regrouped) == (37, 40, 3)
        assert sorted(found.differing) == [4, 9, 20]
        a[theirs[0]] += 1  # what does not cancel is not regrouped
        assert identified(made._replace(a=a)).regrouped == 0


def test_other_groups_than_the_prompt_ids_say() -> None:
    # the responses of three prompts are dealt out again: their ids are wrong, their advantages right
    made = stored(drawn(3, sizes=(6,)), estimator("centred"))
    theirs = np.flatnonzero(np.isin(made.prompt, [4, 9, 20]))
    prompt = made.prompt.copy()
    prompt[theirs] = np.random.default_rng(0).permutation(prompt[theirs])
    order = np.argsort(prompt, kind="stable")
    found = identified(made._replace(prompt=prompt)._replace(**{})._make(c[order] for c in (prompt, *made[1:])))
    assert (found.agreeing, found.regrouped) == (37, 3)


@pytest.mark.parametrize("seed", range(5))
def test_nonsense_is_not_taken_for_an_estimator(seed: int) -> None:
    chance = np.random.default_rng(seed)
    for graded in (True, False):
        made = stored(drawn(seed, graded=graded), estimator("centred"))
        for a in (
            chance.normal(size=made.a.size),
            made.a * chance.uniform(0.5, 1.5, made.a.size),  # a critic of its own
            np.clip(2 * made.a, -0.3, 0.3),
        ):
            found = identified(made._replace(a=a))
            assert (found.fits, found.penalty, found.agreeing, found.options) == ((), None, 0, None)
            assert found.nearest_residual > 0.01


def test_rewards_far_from_0_and_small_advantages() -> None:
    for scale, offset in ((1e-3, 0.0), (1.0, 1000.0), (1e6, 0.0)):
        groups = [(offset + scale * r, length) for r, length in drawn(1)]
        found = identified(stored(groups, estimator("rloo")))
        assert is_as_made(found, "rloo", 0, 0)
        assert found.agreeing == found.prompts


def test_the_dust_of_equal_rewards_is_no_disagreement() -> None:
    groups = [(0.1 + r, length) for r, length in drawn(1, graded=False)]
    made = stored(groups, estimator("grpo", 1, 1e-6))
    a = made.a.copy()
    for p, (r, _) in enumerate(groups):
        if np.ptp(r) == 0:  # the mean of equal rewards is off by a rounding, which ε divides
            a[made.prompt == p] = 0.007
    found = identified(made._replace(a=a))
    assert found.agreeing == found.prompts == 40


def test_prompts_of_which_some_responses_have_no_advantage_are_not_judged() -> None:
    made = stored(drawn(1), estimator("centred"))
    a = made.a.copy()
    a[np.flatnonzero(made.prompt == 7)[0]] = np.nan
    found = identified(made._replace(a=a))
    assert (found.prompts, found.agreeing, found.incomplete) == (39, 39, 1)


def test_what_shows_nothing_gives_no_answer() -> None:
    assert identify(*scanned(stored([(np.ones(4), np.arange(4.0))] * 3, estimator("centred")))) is None
    alone: list[Group] = [(np.array([1.0]), np.array([9.0]))] * 3
    assert identify(*scanned(stored(alone, estimator("centred")))) is None
    made = stored(drawn(1), estimator("centred"))
    assert identify(*scanned(made._replace(a=np.full(made.a.size, np.nan)))) is None


def test_lengths_that_are_missing_leave_penalties_out() -> None:
    made = stored(drawn(1), estimator("opo"))
    missing: Floats = np.full(made.a.size, np.nan)
    assert identified(made._replace(length=missing)).fits == ()
    made = stored(drawn(1), estimator("rloo"))
    assert is_as_made(identified(made._replace(length=missing)), "rloo", 0, 0)


EXTREME = st.sampled_from([0.0, 1.0, -1.0, 0.1, 1e308, -1e308, 5e-324, 1e-200, 1e200])


@examples(200)
@given(
    data=st.lists(
        st.tuples(st.integers(0, 3), EXTREME | st.sampled_from([0.0, 1.0]), st.sampled_from([0.0, 1, 5, 900]), EXTREME),
        min_size=1,
        max_size=24,
    ),
    budget=st.none() | st.just(3),
)
def test_numbers_at_the_ends_of_a_double_break_nothing(data: list[tuple[float, ...]], budget: int | None) -> None:
    prompt, r, length, a = (np.array(column) for column in zip(*data, strict=True))
    first = list(dict.fromkeys(prompt.tolist()))
    rows = np.array([first.index(p) for p in prompt.tolist()])
    found = identify(*scanned(Stored(rows, r.astype(float), length.astype(float), a.astype(float)), budget))
    if found is not None:  # all of it can be said
        assert estimator_sentence(found) is None or found.fits
        assert in_words(found.nearest)
        assert found.options is None or found.options.startswith("--")
