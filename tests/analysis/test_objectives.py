"""If this fails, the loss of an objective that somebody trained with is not the one of its definition."""

import math
import re
from collections import Counter
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from trained import Sample, advantages, penalties

from budget_cli.analysis.grid import Grid
from budget_cli.analysis.loss import Coefficients, Loss, compute_loss, number_at, per_prompt_losses
from budget_cli.analysis.sweep import VARYING, compute_sweep
from budget_cli.groups.groups import Groups
from budget_cli.groups.penalty import hinges_of, penalised
from budget_cli.objective.estimators import ESTIMATORS
from budget_cli.objective.penalties import SHAPES
from budget_cli.objective.settings import DEFAULT, Objective, parse
from budget_cli.records.columns import Tally

SAMPLES = some.lists(
    some.builds(
        Sample,
        some.sampled_from("abcd"),
        some.sampled_from([0.0, 1.0, -1.0, 0.5, 0.3]),
        some.integers(0, 40),
        some.floats(-1, 1).map(lambda k: round(k, 3)),
        some.integers(0, 30),
    ),
    min_size=1,
    max_size=14,
)


@some.composite
def objectives(draw: some.DrawFn) -> Objective:
    """Any objective without a contradiction."""
    values: dict[str, Any] = {
        "penalty": draw(some.sampled_from(sorted(SHAPES))),
        "penalize": draw(some.sampled_from(["all", "correct"])),
        "correct_above": draw(some.sampled_from([0.0, 0.4, -2.0])),
        "scale": draw(some.sampled_from(["none", "solve-rate"])),
        "gate": draw(some.sampled_from(["none", 0.5])),
        "advantage": draw(some.sampled_from(sorted(ESTIMATORS))),
    }
    if values["penalty"] == "capped":
        values["cap"] = draw(some.integers(1, 12))
    if values["scale"] != "none":
        values["scale_floor"] = draw(some.sampled_from([0.0, 0.25, "1/n"]))
    estimator = ESTIMATORS[values["advantage"]]
    if estimator.divides:
        values["eps"] = draw(some.sampled_from([0.0137, 1.37e-4]))  # not what a mean of such rewards can cancel
        values |= {} if values["advantage"] == "maxrl" else {"ddof": draw(some.sampled_from([0, 1]))}
    if not estimator.of_batch:
        values["singletons"] = draw(some.sampled_from(["zero", "reward"]))
    if values["advantage"] != "opo" and draw(some.booleans()):
        values["budget_field"] = "budget"
    return parse("mine", values)._replace(factors=(draw(some.sampled_from([1.0, 0.5, 1.7])),))


def groups_of(samples: list[Sample], of: Objective, budgets: tuple[int, ...]) -> Groups:
    keys = list(dict.fromkeys(one.prompt for one in samples))
    codes = np.array([keys.index(one.prompt) for one in samples], dtype=np.intp)
    columns = (np.array([float(one[i]) for one in samples]) for i in (1, 2, 3))
    own = np.array([float(one.own) for one in samples])
    scanned = Groups.from_responses(hinges_of(of, budgets), list(keys), codes, *columns, own=own)
    return penalised(scanned, of, budgets)


def loss_of(samples: list[Sample], of: Objective, at: Coefficients) -> Loss:
    assert at.token_budget is not None
    groups = groups_of(samples, of, (at.token_budget,))
    return compute_loss(groups, at, Tally(used=len(samples)), trained=of)


@given(SAMPLES, objectives(), some.integers(0, 30), some.sampled_from([0.0, 0.01, 0.25]), some.sampled_from([0.0, 0.3]))
@settings(max_examples=400)
def test_the_loss_of_every_objective_is_that_of_its_definition(
    samples: list[Sample], of: Objective, budget: int, beta: float, alpha: float
) -> None:
    a = advantages(samples, of, budget, beta)
    phi = penalties(samples, of, budget)
    found = loss_of(samples, of, Coefficients(budget, beta, alpha))
    n, near = len(samples), {"rel": 1e-9, "abs": 1e-11}
    scale = 1 + max(abs(each) for each in a) ** 2  # a near tie, divided by a small ε, is known to its terms' digits
    near["abs"] *= scale
    terms = [(each - alpha * one.log_ratio) ** 2 for each, one in zip(a, samples, strict=True)]
    assert found.loss == pytest.approx(math.fsum(terms) / n, **near)
    assert found.advantage.mean_square == pytest.approx(math.fsum(each * each for each in a) / n, **near)
    x = [one.reward - beta * each for one, each in zip(samples, phi, strict=True)]
    assert found.adjusted_reward.mean == pytest.approx(math.fsum(x) / n, **near)
    # lengths and excess are those of the responses, whatever the penalty
    over = [one.length - (round(of.factors[0] * one.own) if of.has_own_budgets else budget) for one in samples]
    assert found.over_budget.responses == sum(each > 0 for each in over)
    assert found.over_budget.excess_tokens == sum(max(0, each) for each in over)


@given(SAMPLES, some.integers(0, 30))
def test_the_default_is_the_definition_to_the_last_bit(samples: list[Sample], budget: int) -> None:
    at = Coefficients(budget, 0.01, 0.3)
    named = parse("kimi-k2", {"penalty": "linear", "advantage": "centred"})
    assert named == DEFAULT
    assert loss_of(samples, named, at) == loss_of(samples, DEFAULT, at)


@given(SAMPLES, objectives(), some.integers(0, 30))
def test_prompts_add_up_to_the_whole(samples: list[Sample], of: Objective, budget: int) -> None:
    at = Coefficients(budget, 0.02, 0.3)
    groups = groups_of(samples, of, (budget,))
    whole = compute_loss(groups, at, Tally(used=len(samples)), trained=of)
    each = list(per_prompt_losses(groups, at, trained=of))
    counts = Counter(one.prompt for one in samples)
    assert whole.loss is not None
    total = math.fsum((one.loss or 0) * counts[str(one.prompt_id)] for one in each)
    assert whole.loss == pytest.approx(total / len(samples), rel=1e-9, abs=1e-12)


@given(SAMPLES, objectives())
def test_every_cell_of_a_sweep_is_the_loss_with_its_coefficients(samples: list[Sample], of: Objective) -> None:
    grid = Grid((3, 20), (0.0, 0.02), (0.0, 0.3))
    if of.has_own_budgets:
        of, grid = of._replace(factors=(0.5, 1.7)), grid._replace(token_budget=(None, None), budget_factor=(0.5, 1.7))
    groups = groups_of(samples, of, (3, 20))
    tally = Tally(used=len(samples))
    swept = compute_sweep(groups, grid, tally, trained=of)
    for i, j, k in grid.indices():
        at = Coefficients(grid.token_budget[i], grid.budget_penalty_coef[j], grid.kl_coef[k])
        alone = compute_loss(groups, at, tally, budget=i, trained=of)
        for name in VARYING:
            found, expected = swept.at(name)[i, j, k], number_at(alone, name)
            # A tie that is divided by a small ε is known to the digits of its terms.
            wanted = math.nan if expected is None else expected
            assert found == pytest.approx(wanted, rel=1e-9, abs=1e-11, nan_ok=True), (name, at)


NO_BUDGET = [
    ([Sample("p", 1, 100, 0), Sample("p", 0, 300, 0)], 0.75**2 + 0.25**2),
    ([Sample("p", 1, 0, 0), Sample("p", 0, 0, 0)], 0.5),  # no tokens to weigh by: the mean
]


@pytest.mark.parametrize(("samples", "squares"), NO_BUDGET)
def test_a_baseline_weighted_by_length_needs_no_budget(samples: list[Sample], squares: float) -> None:
    opo = parse("mine", {"advantage": "opo"})
    found = compute_loss(groups_of(samples, opo, ()), Coefficients(None, 0.0, 0.0), Tally(used=2), trained=opo)
    assert found.advantage.mean_square == pytest.approx(squares / 2, rel=1e-15)
    assert found.over_budget.responses is None


def test_a_phantom_prompt_has_a_full_size_advantage_at_any_beta_once_it_is_divided_by_its_deviation() -> None:
    # p: rewards 1, 1, lengths 10, 30 (over 20: 0, 10): phantom. q: rewards 0, 1, short.
    samples = [Sample("p", 1, 10, 0), Sample("p", 1, 30, 0), Sample("q", 0, 5, 0), Sample("q", 1, 5, 0)]
    grpo = parse("mine", {"advantage": "grpo", "ddof": 0, "eps": 0})
    for beta in (1e-6, 1e-3, 0.1):
        centred = loss_of(samples, DEFAULT, Coefficients(20, beta, 0.0))
        # centred: Σ A² of p is 2·(5β)², of q 1/2
        assert centred.advantage.phantom_share == pytest.approx(50 * beta**2 / (50 * beta**2 + 0.5), rel=1e-12)
        divided = loss_of(samples, grpo, Coefficients(20, beta, 0.0))
        assert divided.advantage.phantom_share == pytest.approx(0.5, rel=1e-12)
        assert divided.advantage.mean_square == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize("name", sorted(SHAPES))
@given(length=some.integers(0, 60), budget=some.integers(0, 40), cap=some.integers(1, 20))
def test_the_hinges_of_a_shape_add_up_to_it(name: str, length: int, budget: int, cap: int) -> None:
    hinges = SHAPES[name].hinges(budget, cap, 0)
    of = Objective(penalty=name, cap=cap)
    assert hinges.at(length) == penalties([Sample("p", 1.0, length, 0.0)], of, budget)[0]


CONTRADICTIONS = [
    ({"penalti": "capped"}, "penalti: unknown key (did you mean penalty?)"),
    ({"penalty": "cap"}, "penalty=cap: expected linear or capped or step or distance (did you mean capped?)"),
    ({"penalty": "capped"}, "penalty=capped: give the tokens over which it grows, as in --set cap=2048"),
    ({"cap": "8"}, "cap=8: only penalty=capped has one, and the penalty is linear"),
    ({"penalty": "capped", "cap": "0"}, "cap=0: expected a whole number of tokens from 1 on"),
    ({"penalty": "capped", "cap": True}, "cap=True: expected a whole number of tokens from 1 on"),
    ({"gate": "2"}, "gate=2: expected a solve rate from 0 to 1, or none"),
    ({"advantage": "grpo", "ddof": "2"}, "ddof=2: expected 0 or 1"),
    ({"advantage": "grpo", "eps": "nan"}, "eps=nan: expected a number of 0 or more"),
    ({"eps": "1e-4"}, "eps=0.0001: advantage=centred has no eps"),
    ({"advantage": "maxrl", "ddof": "0"}, "ddof=0: advantage=maxrl has no ddof"),
    ({"scale_floor": "0.5"}, "scale_floor=0.5: applies to scale=solve-rate, and nothing is scaled"),
    (
        {"advantage": "batch-std", "singletons": "reward"},
        "singletons=reward: advantage=batch-std takes its mean or deviation from the batch",
    ),
    (
        {"advantage": "ppo"},
        "advantage=ppo: expected centred or rloo or grpo or batch-std or maxrl or opo or reinforce++; ppo clips the"
        " ratio of each token, which no sum over responses gives",
    ),
    (
        {"penalty": "gr3"},
        "penalty=gr3: expected linear or capped or step or distance; gr3 is made of the lengths of the other responses"
        " to the prompt, which no sum over responses gives: write the adjusted reward into the records, and give it by"
        " --field reward=PATH --beta 0",
    ),
]


@pytest.mark.parametrize(("values", "message"), CONTRADICTIONS)
def test_what_is_no_objective_is_refused_in_a_sentence(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match="^" + re.escape(message) + "$"):
        parse("mine", values)


@given(SAMPLES, objectives(), some.integers(0, 30), some.sampled_from(["token", "prompt-token", "constant"]))
@settings(max_examples=200)
def test_a_token_has_the_terms_of_its_response(
    samples: list[Sample], of: Objective, budget: int, aggregate: Literal["token", "prompt-token", "constant"]
) -> None:
    at, of = Coefficients(budget, 0.02, 0.3), of._replace(aggregate=aggregate, constant=50)
    groups = groups_of(samples, of, (budget,))
    found = compute_loss(groups, at, Tally(used=len(samples)), aggregate, trained=of)
    a = advantages(samples, of, budget, 0.02)
    terms = [(each - 0.3 * one.log_ratio) ** 2 * one.length for each, one in zip(a, samples, strict=True)]
    tokens = sum(one.length for one in samples)
    if not tokens:
        assert found.loss is None if aggregate != "constant" else found.loss in (0, None)
        return
    if aggregate == "token":
        expected = math.fsum(terms) / tokens
    elif aggregate == "constant":
        expected = math.fsum(terms) / (50 * len(samples))
    else:
        means = []
        for prompt in {one.prompt for one in samples}:
            own = [(term, one.length) for term, one in zip(terms, samples, strict=True) if one.prompt == prompt]
            if sum(length for _, length in own):
                means.append(math.fsum(term for term, _ in own) / sum(length for _, length in own))
        expected = math.fsum(means) / len(means)
    scale = 1 + max(abs(each) for each in a) ** 2
    assert found.loss == pytest.approx(expected, rel=1e-9, abs=1e-11 * scale)


def test_token_aggregates_on_paper() -> None:
    # SkyRL's and oat's examples, with a loss per response: 1, 3 over 2 tokens and 1: (2·1 + 1·9)/3, and over 10 tokens
    samples = [Sample("p", 1, 2, 0), Sample("q", 3, 1, 0)]
    raw = parse("mine", {"singletons": "reward"})
    for aggregate, expected in (("token", 11 / 3), ("constant", 11 / 20), ("prompt-token", 10 / 2)):
        of = raw._replace(aggregate=aggregate, constant=10)
        groups = groups_of(samples, of, (9,))
        found = compute_loss(groups, Coefficients(9, 0.0, 0.0), Tally(used=2), aggregate, trained=of)  # type: ignore[arg-type]  # one of its names
        assert found.loss == pytest.approx(expected, rel=1e-15)
