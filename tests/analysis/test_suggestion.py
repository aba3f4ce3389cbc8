"""If this fails, --suggest recommends a budget or a coefficient that does not do what it says."""

import math

import numpy as np
import pytest
from grouping import groups_of

from budget_cli.analysis import suggestion
from budget_cli.analysis.loss import Coefficients, compute_loss
from budget_cli.groups.lengths import Lengths
from budget_cli.ids import Key
from budget_cli.records.columns import Tally

Response = tuple[Key, float, float | None, float | None]  # prompt, reward, tokens, log-ratio

# rewards 0 and 1 in each prompt: S_rr = 1/2 + 1/2; excess over 100: 0 and 40, 0 and 30: S_ee = 800 + 450
KNOWN: list[Response] = [("a", 1, 140, 0), ("a", 0, 100, 0), ("b", 0, 130, 0), ("b", 1, 90, 0)]


@pytest.mark.parametrize(
    ("share", "beta"), [(0.5, math.sqrt(1 / 1250)), (0.1, math.sqrt(1 / 9 / 1250)), (0.8, math.sqrt(4 / 1250))]
)
def test_beta_is_the_root_of_the_share_s_odds_times_the_ratio_of_the_scatters(share: float, beta: float) -> None:
    groups = groups_of(KNOWN, (100,))
    (found,) = suggestion.suggest_budgets(groups, {50: 100}, share, Tally())
    assert found.budget_penalty_coef == pytest.approx(beta, rel=1e-14)
    assert found.budget_share == pytest.approx(share, rel=1e-14)
    check = compute_loss(groups, Coefficients(100, found.budget_penalty_coef or 0, 0), Tally())
    assert check.advantage.budget_share == pytest.approx(share, rel=1e-14)
    assert (found.over, found.fraction) == (2, 0.5)
    assert found.longest_penalty == pytest.approx(40 * beta, rel=1e-14)


def test_the_reasons_say_what_the_suggestion_does() -> None:
    (found,) = suggestion.suggest_budgets(groups_of(KNOWN, (100,)), {50: 100}, 0.5, Tally())
    assert found.reasons == [
        "p50: 2 of 4 responses (50.0%) are over, by 35 tokens on average",
        "length makes 50% of the advantage; the longest (140 tokens) loses 1.13",
        "no prompt gets an advantage from length alone",
        "the worst response beats the best in 1 prompt",
    ]
    assert (found.phantom, found.reordered) == (0, 1)


@pytest.mark.parametrize(
    ("responses", "reason"),
    [
        (
            [("a", 1, 140, 0), ("a", 1, 90, 0)],
            "no prompt has unequal rewards: the advantage comes from length alone, or there is none",
        ),
        (
            [("a", 1, 140, 0), ("a", 0, 140, 0), ("b", 0, 90, 0)],
            "within each prompt, all responses are equally far over it or none is: β makes no difference",
        ),
        (
            [("a", 1, 0, 0), ("a", 0, 0, 0)],
            "every length is 0: the field was never filled, or another one has them (budget-cli fields)",
        ),
    ],
)
def test_where_no_beta_does_it_none_is_suggested(responses: list[Response], reason: str) -> None:
    (found,) = suggestion.suggest_budgets(groups_of(responses, (100,)), {90: 100}, 0.1, Tally())
    assert found[4:-1] == (found.fraction, None, None, None, None)
    assert found.budget_penalty_coef is None
    assert found.reasons[1:] == [reason]


def test_the_budgets_are_the_percentiles_in_whole_tokens_each_once() -> None:
    lengths = Lengths()
    assert suggestion.budgets(lengths) == {}
    lengths.add(np.arange(101, dtype=np.float64) * 10)
    assert suggestion.budgets(lengths) == {50: 500, 75: 750, 90: 900, 95: 950, 99: 990}
    same = Lengths()
    same.add(np.full(10, 7.0))
    assert suggestion.budgets(same) == {50: 7}


def test_a_dump_without_responses_suggests_nothing() -> None:
    assert suggestion.suggest_budgets(groups_of([], ()), {}, 0.1, Tally()) == []
