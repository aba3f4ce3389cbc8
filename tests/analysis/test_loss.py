"""If this fails, a number of the report is not what its name says, or is 0 where it does not exist."""

import math
import warnings
from collections import Counter
from collections.abc import Sequence

import grouping
import numpy as np
import pytest

from budget_cli.analysis import loss
from budget_cli.analysis.learnability import ByRate
from budget_cli.analysis.loss import (
    Aggregate,
    Coefficients,
    Loss,
    Prompt,
    compute_loss,
    number_at,
    number_names,
    per_prompt_losses,
    phantom_prompts,
)
from budget_cli.groups.groups import Groups
from budget_cli.groups.moments import Layout
from budget_cli.ids import Key
from budget_cli.records.columns import Tally

Response = tuple[Key, float, float | None, float | None]  # prompt, reward, tokens, log-ratio

# Four prompts, of three, two, two and one response; B = 100, β = 0.01, α = 0.5. On paper:
#   prompt  adjusted       advantage          α·k              Σ A²   Σ (A − α·k)²
#   a       0.5  0   0.5   1/6  −1/3  1/6     0.1  −0.1  0.3   1/6    23/300        both rewards and lengths differ
#   b       0.8  1         −0.1  0.1          0  0             1/50   1/50          only the lengths differ: phantom
#   c       0.3  0.3       0  0               0.05  0.05       0      1/200         the penalty makes a tie
#   d       2              0                  −0.2             0      1/25          alone
RESPONSES: list[Response] = [
    ("a", 1.0, 150, 0.2),
    ("a", 0.0, 80, -0.2),
    ("a", 0.5, 100, 0.6),
    ("b", 1.0, 120, 0.0),
    ("b", 1.0, 100, 0.0),
    ("c", 0.5, 120, 0.1),
    ("c", 0.3, 100, 0.1),
    ("d", 2.0, 40, -0.4),
]
COEFFICIENTS = Coefficients(100, 0.01, 0.5)
LACKING = Counter({"old_log_prob": 2, "response_length": 1})
ORIGINS = Counter({"field": 4, "tokens": 3, "m/tokenizer.json@1": 1})
TALLY = Tally(read=13, used=8, rejected=3, blank=1, skipped=2, by_absent_field=LACKING, length_origins=ORIGINS)
K3 = sum(math.exp(-k) - 1 + k for k in (0.2, -0.2, 0.6, 0, 0, 0.1, 0.1, -0.4)) / 8

ON_PAPER: dict[str, float | None] = {
    "loss": 17 / 960,
    "coefficients.token_budget": 100,
    "coefficients.budget_penalty_coef": 0.01,
    "coefficients.kl_coef": 0.5,
    "prompts": 4,
    "responses": 8,
    "rows": 8,
    "reward.mean": 6.3 / 8,
    "reward.std": math.sqrt(7.59 / 8 - 0.7875**2),
    "reward.min": 0.0,
    "reward.max": 2.0,
    "adjusted_reward.mean": 5.4 / 8,
    "adjusted_reward.std": math.sqrt(6.32 / 8 - 0.675**2),
    "advantage.mean_square": 7 / 300,
    "advantage.budget_share": 31 / 109,  # S_rr = 0.52, β²·S_ee = 0.62/3
    "advantage.phantom_share": 3 / 28,  # that of b, 1/50 of 14/75
    "kl.k1": 0.05,
    "kl.k2": 0.62 / 16,
    "kl.k3": K3,
    "kl.r2": 27 / 112,
    "length.mean": 810 / 8,
    "length.min": 40,
    "length.p50": 100.0,
    "length.p90": 129.0,
    "length.p99": 147.9,
    "length.max": 150,
    "over_budget.responses": 3,
    "over_budget.fraction": 3 / 8,
    "over_budget.excess_tokens": 90.0,
    "over_budget.excess_mean": 30.0,
    "groups.size.min": 1,
    "groups.size.mean": 2.0,
    "groups.size.max": 3,
    "groups.singletons": 1,
    "groups.doubled": 0,
    "groups.zero_variance": 1,
    "groups.zero_variance_adjusted": 1,
    "groups.phantom": 1,
    "groups.reordered": 0,
    "coverage.length": 8,
    "coverage.log_ratio": 8,
    "coverage.no_length": 1,
    "coverage.no_log_prob": 0,
    "coverage.no_old_log_prob": 2,
    "records.read": 13,
    "records.used": 8,
    "records.rejected": 3,
    "records.blank": 1,
    "records.skipped": 2,
    "records.left_out": 0,
    "length_origins.field": 4,
    "length_origins.tokens": 3,
    "length_origins.tokenizer": 1,
    # right are two of three in a, both in b and c, and d: 7 of 8, with 730 tokens
    "learnability.correct_above": 0.0,
    "learnability.right": 7,
    "learnability.right_fraction": 7 / 8,
    "learnability.prompts": 3,
    "learnability.all_right": 2,
    "learnability.all_wrong": 0,
    "learnability.mixed": 1,
    "learnability.all_right_fraction": 2 / 3,
    "learnability.all_wrong_fraction": 0.0,
    "learnability.mixed_fraction": 1 / 3,
    **{
        f"learnability.{of}_by_rate.{name}": number
        for of, numbers in (("prompts", (0, 0, 0, 1, 0, 2)), ("responses", (0, 0, 0, 3, 0, 4)))
        for name, number in zip(ByRate.KEYS, numbers, strict=True)
    },
    "learnability.length_right": 730 / 7,
    "learnability.length_wrong": 80.0,
    "learnability.pass_at.1": (2 / 3 + 3) / 4,
    "learnability.pass_at.2": 1.0,
    **{f"learnability.pass_at.{k}": None for k in (4, 8, 16, 32, 64, 128, 256)},
    "learnability.pass_at_prompts.1": 4,
    "learnability.pass_at_prompts.2": 3,
    **{f"learnability.pass_at_prompts.{k}": 0 for k in (4, 8, 16, 32, 64, 128, 256)},
    "learnability.zero_variance_fraction": 2 / 3,
    "learnability.zero_variance_at.2": (1 / 3 + 2) / 3,
    **{
        f"learnability.zero_variance_at.{size}": 2 / 3 * math.prod((i + 0.5) / (i + 1) for i in range(2, size))
        for size in (4, 8, 16, 32, 64)
    },
}
ABSENT = {name for name, number in ON_PAPER.items() if number is None}
NO_PENALTY: set[str] = {
    "loss",
    "adjusted_reward.mean",
    "adjusted_reward.std",
    "advantage.mean_square",
    "advantage.budget_share",
    "advantage.phantom_share",
    "kl.r2",
    "groups.zero_variance_adjusted",
    "groups.phantom",
    "groups.reordered",
}
NO_BUDGET = {f"over_budget.{name}" for name in ("responses", "fraction", "excess_tokens", "excess_mean")}
NO_LENGTHS = {f"length.{name}" for name in ("mean", "min", "p50", "p90", "p99", "max")} | {
    f"learnability.length_{name}" for name in ("right", "wrong")
}
NO_LOG_PROBS = {"kl.k1", "kl.k2", "kl.k3", "kl.r2"}


def groups_of(responses: Sequence[Response], budgets: Sequence[int] = (100,)) -> Groups:
    return grouping.groups_of(responses, budgets)


def without(responses: Sequence[Response], *columns: int, of: int | None = None) -> list[Response]:
    """The responses with these columns unknown: in all of them, or in response number `of`."""
    rows = [list(each) for each in responses]
    for number, row in enumerate(rows):
        for column in columns:
            if of is None or of == number:
                row[column] = None
    return [tuple(row) for row in rows]  # type: ignore[misc]


def missing(loss: Loss) -> set[str]:
    """Names of the numbers that do not exist; pass@k does for some k only."""
    names = (name for name in number_names() if not name.startswith("learnability.pass_at."))
    return {name for name in names if number_at(loss, name) is None}


def test_every_number_of_the_report_is_the_one_worked_out_on_paper() -> None:
    loss = compute_loss(groups_of(RESPONSES), COEFFICIENTS, TALLY)
    found = {name: number_at(loss, name) for name in number_names()}
    assert {name for name, number in found.items() if number is None} == ABSENT
    assert {**found, **dict.fromkeys(ABSENT, 0.0)} == pytest.approx(
        {**ON_PAPER, **dict.fromkeys(ABSENT, 0.0)}, rel=1e-12
    )
    assert loss.aggregate == "response"


@pytest.mark.parametrize(
    ("aggregate", "loss", "square"),
    [("response", 17 / 960, 7 / 300), ("prompt", 281 / 14400, 59 / 3600)],
)
def test_ragged_groups_weigh_by_response_or_by_prompt(aggregate: Aggregate, loss: float, square: float) -> None:
    found = compute_loss(groups_of(RESPONSES), COEFFICIENTS, TALLY, aggregate)
    assert found.aggregate == aggregate
    assert found.loss == pytest.approx(loss, rel=1e-12)
    assert found.advantage.mean_square == pytest.approx(square, rel=1e-12)
    assert found.kl.r2 == pytest.approx(1 - loss / square, rel=1e-12)


def test_the_aggregate_changes_nothing_but_the_loss_and_what_is_measured_against_it() -> None:
    by = [compute_loss(groups_of(RESPONSES), COEFFICIENTS, TALLY, aggregate) for aggregate in ("response", "prompt")]
    assert {name for name in number_names() if number_at(by[0], name) != number_at(by[1], name)} == {
        "loss",
        "advantage.mean_square",
        "kl.r2",
    }


def test_each_budget_of_a_scan_gives_the_report_of_a_scan_with_that_budget_alone() -> None:
    budgets = (50, 100, 130)
    several = groups_of(RESPONSES, budgets)
    for position, budget in enumerate(budgets):
        coefficients = COEFFICIENTS._replace(token_budget=budget)
        alone = groups_of(RESPONSES, (budget,))
        assert compute_loss(several, coefficients, TALLY, budget=position) == compute_loss(alone, coefficients, TALLY)
        assert list(per_prompt_losses(several, coefficients, position)) == list(per_prompt_losses(alone, coefficients))


@pytest.mark.parametrize(
    ("beta", "share"),
    [(0.0, 0.0), (0.01, 31 / 109), (1.0, (6200 / 3) / (0.52 + 6200 / 3))],
)
def test_the_budget_share_is_the_penalty_s_part_of_the_scatter(beta: float, share: float) -> None:
    found = compute_loss(groups_of(RESPONSES), COEFFICIENTS._replace(budget_penalty_coef=beta), TALLY)
    assert found.advantage.budget_share == pytest.approx(share, rel=1e-12)


def test_where_nothing_varies_there_is_no_budget_share_and_no_r2() -> None:
    same: list[Response] = [("a", 1.0, 150, 0.1), ("a", 1.0, 150, 0.3), ("b", 7.0, 20, 0.0)]
    found = compute_loss(groups_of(same), COEFFICIENTS, TALLY)
    assert (found.advantage.mean_square, found.advantage.budget_share, found.kl.r2) == (0.0, None, None)
    lacking = {"advantage.budget_share", "advantage.phantom_share", "kl.r2", "learnability.length_wrong"}
    assert missing(found) == lacking


UNUSED = (0.0, 0.0)  # β, α
MISSING = [
    pytest.param(RESPONSES, (), UNUSED, NO_BUDGET, id="no budget"),
    pytest.param(RESPONSES, (), (0.01, 0.0), NO_BUDGET | NO_PENALTY, id="no budget, which the penalty needs"),
    pytest.param(without(RESPONSES, 2), (100,), UNUSED, NO_BUDGET | NO_LENGTHS, id="no lengths"),
    pytest.param(
        without(RESPONSES, 2),
        (100,),
        (0.01, 0.0),
        NO_BUDGET | NO_LENGTHS | NO_PENALTY,
        id="no lengths, which the penalty needs",
    ),
    pytest.param(without(RESPONSES, 2, of=3), (100,), UNUSED, NO_BUDGET | NO_LENGTHS, id="a length is missing"),
    pytest.param(
        without(RESPONSES, 2, of=3),
        (100,),
        (0.01, 0.0),
        NO_BUDGET | NO_LENGTHS | NO_PENALTY,
        id="a length is missing, which the penalty needs",
    ),
    pytest.param(without(RESPONSES, 3), (100,), (0.01, 0.0), NO_LOG_PROBS, id="no log-probs"),
    pytest.param(without(RESPONSES, 3, of=0), (100,), (0.01, 0.0), NO_LOG_PROBS, id="a log-prob is missing"),
    pytest.param(
        without(RESPONSES, 3, of=0),
        (100,),
        (0.01, 0.5),
        NO_LOG_PROBS | {"loss"},
        id="a log-prob is missing, which the KL term needs",
    ),
    pytest.param(without(RESPONSES, 2, 3), (), UNUSED, NO_BUDGET | NO_LENGTHS | NO_LOG_PROBS, id="rewards alone"),
    pytest.param(
        [(key, r, 100, k) for key, r, _, k in RESPONSES],
        (100,),
        (0.01, 0.5),
        {"over_budget.excess_mean"},
        id="nobody is over the budget",
    ),
]


@pytest.mark.parametrize(("responses", "budgets", "weights", "expected"), MISSING)
def test_a_number_that_does_not_exist_is_none(
    responses: list[Response], budgets: tuple[int, ...], weights: tuple[float, float], expected: set[str]
) -> None:
    coefficients = Coefficients(budgets[0] if budgets else 0, *weights)
    assert missing(compute_loss(groups_of(responses, budgets), coefficients, TALLY)) == expected


def test_rewards_alone_have_a_loss_when_both_coefficients_are_zero() -> None:
    found = compute_loss(groups_of(without(RESPONSES, 2, 3), ()), Coefficients(None, 0.0, 0.0), TALLY)
    assert found.loss == pytest.approx(0.52 / 8, rel=1e-12)
    assert found.advantage == (found.loss, 0.0, 0.0)
    assert found.adjusted_reward == found.reward[:2]
    assert (found.coverage.length, found.coverage.log_ratio) == (0, 0)


def test_nothing_over_the_budget_is_a_count_of_zero() -> None:
    found = compute_loss(groups_of([(key, r, 100, k) for key, r, _, k in RESPONSES]), COEFFICIENTS, TALLY)
    assert found.over_budget == (0, 0.0, 0.0, None)
    assert found.groups.phantom == 0


@pytest.mark.parametrize("aggregate", ["response", "prompt"])
@pytest.mark.parametrize("budgets", [(), (100,)])
def test_no_responses_have_counts_of_zero_and_no_other_number(budgets: tuple[int, ...], aggregate: Aggregate) -> None:
    found = compute_loss(Groups(Layout(budgets)), COEFFICIENTS, Tally(), aggregate)
    assert (found.prompts, found.responses, found.coverage, found.records) == (
        0,
        0,
        (0, 0, 0, 0, 0),
        (0, 0, 0, 0, 0, 0),
    )
    assert (found.groups.singletons, found.groups.zero_variance) == (0, 0)
    assert found.reward == found.length[:4] == (None,) * 4
    assert {"loss", "groups.size.min", "groups.size.mean", "groups.size.max"} <= missing(found)
    assert missing(found) >= NO_BUDGET | NO_LENGTHS | NO_LOG_PROBS
    assert list(per_prompt_losses(Groups(Layout(budgets)), COEFFICIENTS)) == []


@pytest.mark.parametrize(
    ("huge", "gone"),
    [
        (
            [("a", 1e200, 10, 0.0), ("a", -1e200, 10, 0.0)],
            {
                "loss",
                "reward.std",
                "adjusted_reward.std",
                "advantage.mean_square",
                "advantage.budget_share",
                "advantage.phantom_share",
                "kl.r2",
            },
        ),
        ([("a", 1.0, 10, 1e200), ("a", 0.0, 10, -1e200)], {"loss", "kl.k2", "kl.k3", "kl.r2"}),
        ([("a", 1.0, 10, math.inf), ("a", 0.0, 10, 0.0)], {"loss", "kl.k1", "kl.k2", "kl.k3", "kl.r2"}),
        ([("a", 1.0, 10, -800.0), ("a", 0.0, 10, 0.0)], {"kl.k3"}),
    ],
)
def test_what_is_beyond_a_double_is_none_and_makes_no_noise(huge: list[Response], gone: set[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        groups = groups_of(huge)
        found = compute_loss(groups, COEFFICIENTS, TALLY)
        (prompt,) = per_prompt_losses(groups, COEFFICIENTS)
    assert missing(found) == gone | {"over_budget.excess_mean"}
    assert prompt.responses == 2


def test_close_means_far_from_zero_keep_the_digits_of_their_spread() -> None:
    far: list[Response] = [("a", 1e9 + 1, 90, 0.0), ("a", 1e9 - 1, 90, 0.0), ("b", 1e9 + 3, 90, 0.0)]
    found = compute_loss(groups_of(far), COEFFICIENTS, TALLY)
    assert found.reward.mean == 1e9 + 1
    assert found.reward.std == found.adjusted_reward.std == pytest.approx(math.sqrt(8 / 3), rel=1e-14)


@pytest.mark.parametrize(
    ("responses", "beta", "counts"),  # singletons, zero variance, zero variance adjusted, phantom, reordered
    [
        pytest.param([("a", 1, 150, 0)], 0.01, (1, 0, 0, 0, 0), id="one response varies in nothing"),
        pytest.param([("a", 1, 150, 0), ("a", 1, 150, 0)], 0.01, (0, 1, 1, 0, 0), id="equal in all"),
        pytest.param([("a", 1, 150, 0), ("a", 1, 151, 0)], 0.01, (0, 1, 0, 1, 0), id="phantom"),
        pytest.param([("a", 1, 150, 0), ("a", 1, 151, 0)], 0.0, (0, 1, 1, 0, 0), id="no phantom without a penalty"),
        pytest.param([("a", 1, 50, 0), ("a", 1, 99, 0)], 0.01, (0, 1, 1, 0, 0), id="no phantom within the budget"),
        pytest.param([("a", 1, 150, 0), ("a", 0.5, 80, 0)], 0.01, (0, 0, 1, 0, 0), id="the penalty makes a tie"),
        pytest.param([("a", 1, 50, 0), ("a", 1 + 2**-52, 50, 0)], 0.01, (0, 0, 0, 0, 0), id="one bit apart"),
        pytest.param([("a", 1, 150, 0), ("a", 0.4, 80, 0)], 0.0121, (0, 0, 0, 0, 1), id="the worst above the best"),
        pytest.param([("a", 1, 150, 0), ("a", 0.4, 80, 0)], 0.0119, (0, 0, 0, 0, 0), id="the best still above"),
        pytest.param([("a", 0, 150, 0), ("a", 1, 80, 0)], 9.0, (0, 0, 0, 0, 0), id="the worst is the longest"),
        pytest.param([("a", 0, 150, 0), ("a", 1, 80, 0)], -9.0, (0, 0, 0, 0, None), id="nothing is said of a bonus"),
    ],
)
def test_prompts_are_counted_by_what_their_responses_have_in_common(
    responses: list[Response], beta: float, counts: tuple[int | None, ...]
) -> None:
    found = compute_loss(groups_of(responses), COEFFICIENTS._replace(budget_penalty_coef=beta), TALLY)
    groups = found.groups
    assert (groups.singletons, *groups[3:]) == counts


BY_PROMPT: dict[str, list[float | str | bool | None]] = {
    "prompt_id": ["a", "b", "c", "d"],
    "responses": [3, 2, 2, 1],
    "loss": [23 / 900, 1 / 100, 1 / 400, 1 / 25],
    "reward_mean": [0.5, 1.0, 0.4, 2.0],
    "reward_std": [math.sqrt(1 / 6), 0.0, 0.1, 0.0],
    "adjusted_reward_mean": [1 / 3, 0.9, 0.3, 2.0],
    "advantage_mean_square": [1 / 18, 1 / 100, 0.0, 0.0],
    "budget_share": [1 / 4, 1.0, 1 / 2, None],
    "k1": [0.2, 0.0, 0.1, -0.4],
    "length_mean": [110.0, 110.0, 110.0, 40.0],
    "length_max": [150, 120, 120, 40],
    "over_budget": [1, 1, 1, 0],
    "zero_variance": [False, True, False, False],
    "phantom": [False, True, False, False],
}


@pytest.mark.parametrize("name", Prompt._fields)
def test_every_number_of_a_prompt_is_the_one_worked_out_on_paper(name: str) -> None:
    found = [getattr(prompt, name) for prompt in per_prompt_losses(groups_of(RESPONSES), COEFFICIENTS)]
    assert found == [pytest.approx(x, rel=1e-12) if isinstance(x, float) else x for x in BY_PROMPT[name]]


@pytest.mark.parametrize(("most", "expected"), [(0, []), (1, ["b"]), (2, ["b", 1]), (9, ["b", 1, "1"])])
def test_phantoms_are_the_first_prompts_whose_advantage_is_made_of_length_alone(most: int, expected: list[Key]) -> None:
    more: list[Response] = [(key, 0.0, tokens, 0.0) for key in (1, "1") for tokens in (90, 200)]
    groups = groups_of(RESPONSES + more)
    assert phantom_prompts(groups, most) == expected
    assert phantom_prompts(groups_of(without(RESPONSES + more, 2)), most) == []


def test_phantoms_of_a_budget_are_those_that_the_report_with_that_budget_counts() -> None:
    groups = groups_of(RESPONSES, (50, 100, 130))
    for position, expected in enumerate((["b"], ["b"], [])):
        assert phantom_prompts(groups, 9, position) == expected
        assert compute_loss(groups, COEFFICIENTS, TALLY, budget=position).groups.phantom == len(expected)


@pytest.mark.parametrize("name", ["over_budget.responses", "over_budget.excess_tokens", "length.min", "length.max"])
def test_whole_tokens_and_counts_are_whole_numbers(name: str) -> None:
    assert isinstance(number_at(compute_loss(groups_of(RESPONSES), COEFFICIENTS, TALLY), name), int)


def test_the_prompts_losses_add_up_to_that_of_the_dump() -> None:
    groups = groups_of(RESPONSES)
    total = sum(prompt.loss * prompt.responses for prompt in per_prompt_losses(groups, COEFFICIENTS))
    assert total / 8 == pytest.approx(compute_loss(groups, COEFFICIENTS, TALLY).loss, rel=1e-14)


def test_a_prompt_s_numbers_that_do_not_exist_are_none() -> None:
    rewards_alone = groups_of(without(RESPONSES, 2, 3), ())
    for prompt in per_prompt_losses(rewards_alone, COEFFICIENTS):
        assert {name for name, value in prompt._asdict().items() if value is None} == {
            "adjusted_reward_mean",
            "advantage_mean_square",
            "budget_share",
            "k1",
            "length_mean",
            "length_max",
            "over_budget",
            "phantom",
        }


def test_the_names_of_the_numbers_are_the_contract_in_its_order() -> None:
    assert number_names() == list(ON_PAPER)
    assert loss.SCHEMA == "budget-cli/loss/1"


@pytest.mark.parametrize(
    ("sizes", "doubled"),
    [
        ([8, 8, 8], 0),
        ([8, 16, 8], 1),
        ([8, 16, 24, 8, 8, 8], 2),
        ([8, 12, 8], 0),
        ([1, 1, 2], 0),
        ([8, 16], 0),
        ([], 0),
    ],
)
def test_two_groups_under_one_id_are_recognised_by_their_size(sizes: list[int], doubled: int) -> None:
    codes = np.repeat(np.arange(len(sizes)), sizes)
    keys: list[str | int] = list(range(len(sizes)))
    groups = Groups.from_responses(Layout(()), keys, codes, np.zeros(len(codes)), None, None)
    found = compute_loss(groups, Coefficients(None, 0.0, 0.0), Tally())
    assert found.groups.doubled == doubled
