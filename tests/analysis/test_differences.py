"""If this fails, the difference of two losses that are nearly alike has digits that are not true, or says so of none.

The reference is exact rational arithmetic on the very doubles that went in.
"""

import itertools
import random
from collections.abc import Mapping, Sequence

import pytest
from exact_numbers import QUANTITIES, Exact, Response, differences, relative_error
from grouping import groups_of
from hypothesis import given
from hypothesis import strategies as st

from budget_cli.analysis.compare import Comparison, compare_groups, moved, pair
from budget_cli.analysis.loss import Coefficients
from budget_cli.groups.groups import Groups
from budget_cli.groups.moments import Layout

PROMISE = 1e-12
BUDGET = 100


def folded(responses: Sequence[Response], cuts: Sequence[int] = ()) -> Groups:
    groups = Groups(Layout((BUDGET,)))
    ends = [0, *sorted(cuts), len(responses)]
    for first, last in itertools.pairwise(ends):
        groups.merge(groups_of(responses[first:last], (BUDGET,)))
    return groups


def compared(
    base: Sequence[Response], new: Sequence[Response], coefficients: Coefficients, cuts: Sequence[int] = ()
) -> Comparison:
    one, two = folded(base), folded(new, cuts)
    return compare_groups(one, two, pair(one, two), coefficients)


def assert_true_digits(comparison: Comparison, exact: Mapping[str, dict[str, Exact]]) -> None:
    """Every digit is true; or the answer is 0 or has a bound, and it holds."""
    for quantity in QUANTITIES:
        found, bound = getattr(comparison, quantity), comparison.uncertain.get(quantity, PROMISE)
        for name in ("delta", "se", "z"):
            number = exact[quantity].get(name)
            if number is not None and getattr(found, name):
                error = relative_error(getattr(found, name), number)
                assert error <= max(bound, PROMISE), f"{quantity}.{name}: {error:.1e}, bound {bound:.1e}"


@st.composite
def near_copies(draw: st.DrawFn) -> tuple[list[Response], list[Response], Coefficients, list[int]]:
    """A dump; one in which some of its numbers moved by little; and where that is split."""
    level = draw(st.sampled_from([0.0, 1.0, 1e9]))
    spread = draw(st.sampled_from([1e-3, 1.0, 1e6]))
    by = draw(st.sampled_from([0.0, 2.0**-40, 2.0**-20, 0.1])) * spread
    dice = random.Random(draw(st.integers(0, 2**32)))
    base = [
        Response(f"p{i % 3}", dice.gauss(level, spread), dice.randint(0, 300), dice.gauss(level, 1.0))
        for i in range(draw(st.integers(3, 14)))
    ]
    what = draw(st.sampled_from(["reward", "log_ratio", "both", "one"]))
    new = []
    for i, one in enumerate(base):
        steps = [by * dice.choice([-1, 0, 1]) * (what != "one" or i == 0) for _ in range(2)]
        reward = one.reward + steps[0] * (what != "log_ratio")
        new.append(one._replace(reward=reward, log_ratio=one.log_ratio + steps[1] * (what != "reward")))
    beta, alpha = (draw(st.sampled_from([1e-6, 0.01, 1.0, 1e6])) for _ in range(2))
    return base, new, Coefficients(BUDGET, beta, alpha), draw(st.lists(st.integers(0, len(base)), max_size=2))


@given(near_copies())
def test_near_copies_differ_by_true_digits(
    case: tuple[list[Response], list[Response], Coefficients, list[int]],
) -> None:
    base, new, coefficients, cuts = case
    exact = differences(base, new, coefficients)
    assert_true_digits(compared(base, new, coefficients, cuts), exact)


def two_prompts(*log_ratios: float) -> list[Response]:
    return [Response("ab"[i // 2], float(i % 2), 50, k) for i, k in enumerate(log_ratios)]


FAR = Coefficients(BUDGET, 0.01, 1.0)
ULP = 2.0**-23  # of 1e9


def test_steps_in_log_ratios_of_1e9_that_nearly_cancel_have_all_their_digits() -> None:
    far, near = 1e9 + 2**-7, 1e9
    base, new = two_prompts(far, far, near, near), two_prompts(far + ULP, far, near - ULP, near)
    found = compared(base, new, FAR)
    exact = differences(base, new, FAR)["loss"]
    # the sums of k² move by 2·ULP·k, up in the one and down in the other: over 4 responses, that leaves ULP·2^-8
    assert found.loss.base == pytest.approx(1e18)
    assert found.loss.delta == pytest.approx(2.0**-31, rel=1e-4)
    for name in ("delta", "se", "z"):
        assert relative_error(getattr(found.loss, name), exact[name]) <= PROMISE, name


def test_what_is_equal_differs_by_exactly_0_however_it_is_split() -> None:
    dice = random.Random(1)
    base = [Response(i % 2, dice.gauss(5, 1), dice.randint(0, 300), dice.gauss(-3, 10)) for i in range(2000)]
    found = compared(base, base, Coefficients(BUDGET, 0.01, 0.1), dice.sample(range(2000), 30))
    assert (found.loss.delta, found.loss.se, found.loss.z, found.uncertain) == (0, 0, None, {})


def test_what_two_doubles_do_not_hold_is_said() -> None:
    # α·k is 1e6, rewards move by 1e-17, so the loss by 2e-24 of itself; folded otherwise, Σk² is rounded otherwise
    dice = random.Random(4)
    base = [Response(i % 2, dice.gauss(0, 1e-9), 50, dice.gauss(0, 1e6)) for i in range(40)]
    new = [one._replace(reward=one.reward + 1e-17 * (i % 3)) for i, one in enumerate(base)]
    found = compared(base, new, FAR, [7, 20, 31])
    exact = differences(base, new, FAR)["loss"]
    bound = found.uncertain["loss"]
    assert PROMISE < bound < 1e-5
    for name in ("delta", "se", "z"):
        assert PROMISE < relative_error(getattr(found.loss, name), exact[name]) <= bound, name


def test_the_loss_of_a_prompt_that_moved_has_all_digits_of_its_difference() -> None:
    base, new = two_prompts(1e9, 1e9, 0.0, 0.0), two_prompts(1e9 + ULP, 1e9, 0.0, 0.0)
    one, two = folded(base), folded(new)
    first, *others = moved(one, two, pair(one, two), FAR, "loss", 3)
    exact = differences(base[:2], new[:2], FAR)["loss"]["delta"]
    assert others == []
    assert relative_error(first.loss_delta, exact) <= PROMISE
