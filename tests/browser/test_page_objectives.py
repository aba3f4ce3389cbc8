"""If this fails, the page of an objective shows other numbers than the command that it names."""

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from page_numbers import NODE, Shown, shown_by

from budget_cli.analysis.grid import Grid
from budget_cli.analysis.loss import Coefficients, Loss, Prompt, compute_loss, number_at, per_prompt_losses
from budget_cli.analysis.report import PROMPTS, PageData, build_page_data
from budget_cli.analysis.sweep import VARYING
from budget_cli.groups.groups import Groups
from budget_cli.groups.penalty import hinges_of, penalised
from budget_cli.objective.settings import Objective, parse
from budget_cli.records.columns import Tally

OBJECTIVES: list[dict[str, Any]] = [
    {"advantage": "grpo", "eps": 1e-4},
    {"advantage": "grpo", "ddof": 0, "singletons": "reward"},
    {"advantage": "rloo"},
    {"advantage": "rloo", "singletons": "reward"},
    {"advantage": "maxrl", "eps": 0.00371},
    {"advantage": "opo"},
    {"advantage": "opo", "penalty": "capped", "cap": 25, "penalize": "correct"},
    {"advantage": "batch-std"},
    {"advantage": "reinforce++", "ddof": 0},
    {"penalty": "capped", "cap": 30},
    {"penalty": "step"},
    {"penalty": "distance", "advantage": "grpo"},
    {"penalize": "correct"},
    {"scale": "solve-rate", "scale_floor": "1/n"},
    {"gate": 0.5, "penalty": "capped", "cap": 12, "advantage": "grpo"},
]
GRID = Grid((60, 100, 140), (0.0, 0.003, 0.02), (0.0, 0.3))
pytestmark = pytest.mark.skipif(NODE is None, reason="there is no Node.js to run page.js")


def groups_of(dice: random.Random, of: Objective, prompts: int) -> Groups:
    """Groups of one to five responses, some of equal rewards."""
    codes, rewards, lengths, log_ratios = [], [], [], []
    for prompt in range(prompts):
        values = dice.choice([[1.0], [0.0], [0.0, 1.0], [0.0, 1.0, 0.3, -0.5]])
        for _ in range(dice.choice([1, 4, 4, 5])):
            codes.append(prompt)
            rewards.append(dice.choice(values))
            lengths.append(float(dice.randint(0, 200)))
            log_ratios.append(dice.gauss(0, 0.5))
    columns = (np.array(rewards), np.array(lengths), np.array(log_ratios))
    keys = [f"p{i}" for i in range(prompts)]
    scanned = Groups.from_responses(hinges_of(of, GRID.token_budget), keys, np.array(codes, dtype=np.intp), *columns)
    return penalised(scanned, of, GRID.token_budget)


def pages(dice: random.Random, prompts: int, dumps: int) -> Iterator[tuple[PageData, Loss, dict[str, Prompt]]]:
    """Yield the pages of every objective, each with its loss and those of its prompts, at a place of the sliders."""
    for values in OBJECTIVES:
        of = parse("mine", values)
        for _ in range(dumps):
            groups = groups_of(dice, of, prompts)
            at = Coefficients(*(dice.choice(each) for each in GRID[:3]))
            i = GRID.token_budget.index(at.token_budget)
            tally = Tally(used=groups.responses)
            yield (
                build_page_data(groups, {}, GRID, at, tally, trained=of),
                compute_loss(groups, at, tally, budget=i, trained=of),
                {str(one.prompt_id): one for one in per_prompt_losses(groups, at, i, of)},
            )


def test_every_number_of_a_page_is_that_of_the_loss_with_its_objective() -> None:
    made = list(pages(random.Random(5), 12, 3))
    for (page, loss, prompts), shown in zip(made, shown_by([each for each, *_ in made]), strict=True):
        about = (page.trained.settings(), loss.coefficients)
        for name in VARYING:
            assert shown.numbers[name] == _near(number_at(loss, name)), (name, about)
        _assert_prompts(shown, prompts, about)


def test_the_prompts_of_a_page_are_those_with_the_largest_losses() -> None:
    made = list(pages(random.Random(6), PROMPTS + 60, 1))
    for (page, _, prompts), shown in zip(made, shown_by([each for each, *_ in made]), strict=True):
        about = (page.trained.settings(), page.loss.coefficients)
        _assert_prompts(shown, prompts, about)
        largest = sorted((one.loss or 0 for one in prompts.values()), reverse=True)[: len(shown.prompts)]
        found = sorted((each["loss"] or 0 for each in shown.prompts.values()), reverse=True)
        assert found == pytest.approx(largest, rel=1e-9, abs=1e-11), about


def _assert_prompts(shown: Shown, prompts: dict[str, Prompt], about: object) -> None:
    assert shown.prompts
    for key, numbers in shown.prompts.items():
        for name, value in numbers.items():
            assert value == _near(getattr(prompts[key], name)), (key, name, about)


def _near(number: float | None) -> Any:
    return None if number is None else pytest.approx(number, rel=1e-9, abs=1e-11)
