"""If this fails, the loss that PyTorch differentiates is not the one that the command computes.

PyTorch is no dependency of anything here: where it is not installed, these tests are skipped.
"""

import random
from typing import Any

import pytest

from budget_cli import objective
from budget_cli.torch import rl_budget_loss

torch: Any = pytest.importorskip("torch")
NAMES = ("rewards", "log_probs", "old_log_probs", "response_lengths")
AT = {"token_budget": 1000, "kl_coef": 0.1, "budget_penalty_coef": 0.01}


def batch(seed: int) -> tuple[list[list[list[float]]], list[int]]:
    """Rows of prompts of several sizes, by name, and the prompt of each response."""
    chance = random.Random(seed)
    sizes = [chance.randrange(1, 6) for _ in range(4)]
    draws = (lambda: chance.choice([0, 0.5, 1]), *2 * (lambda: -chance.random() * 300,), lambda: chance.randrange(3000))
    return [[[draw() for _ in range(size)] for size in sizes] for draw in draws], [
        7 * prompt for prompt, size in enumerate(sizes) for _ in range(size)
    ]


def tensors(rows: list[list[list[float]]], prompts: list[int], kind: Any, order: list[int]) -> dict[str, Any]:
    flat = [[value for row in table for value in row] for table in rows]
    made = {name: torch.tensor(each, dtype=kind)[order] for name, each in zip(NAMES, flat, strict=True)}
    return {**made, "prompts": torch.tensor(prompts)[order]}


@pytest.mark.parametrize(("kind", "digits"), [("float64", 1e-12), ("float32", 1e-5)])
@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_definition_in_any_order(seed: int, kind: str, digits: float) -> None:
    rows, prompts = batch(seed)
    order = random.Random(seed).sample(range(len(prompts)), len(prompts))
    found = rl_budget_loss(**tensors(rows, prompts, getattr(torch, kind), order), **AT)
    assert found.shape == ()
    assert float(found) == pytest.approx(objective.rl_budget_loss(*rows, **AT), rel=digits)


def test_its_gradient_is_that_of_the_square() -> None:
    """d/dlogπ_i of the mean of (A − α·k)² is −2α·(A_i − α·k_i) / n."""
    rows, prompts = batch(3)
    given = tensors(rows, prompts, torch.float64, list(range(len(prompts))))
    given["log_probs"].requires_grad_()
    rl_budget_loss(**given, **AT).backward()
    expected: list[float] = []
    for r, p, ref, length in zip(*rows, strict=True):
        adjusted = [x - 0.01 * max(0, n - 1000) for x, n in zip(r, length, strict=True)]
        mean = sum(adjusted) / len(adjusted)
        expected += [-0.2 * (a - mean - 0.1 * (x - y)) / len(prompts) for a, x, y in zip(adjusted, p, ref, strict=True)]
    assert given["log_probs"].grad.tolist() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", [*NAMES, "prompts"])
def test_another_shape_is_refused(name: str) -> None:
    rows, prompts = batch(1)
    given = tensors(rows, prompts, torch.float64, list(range(len(prompts))))
    given[name] = given[name][None]
    with pytest.raises(ValueError, match=rf"^{name}: expected the shape \(.*\).*, found \(1, "):
        rl_budget_loss(**given, **AT)
    with pytest.raises(ValueError, match=r"^rewards: expected the shape \(responses,\), one or more, found \(0,\)$"):
        rl_budget_loss(**{key: torch.zeros(0) for key in (*NAMES, "prompts")}, **AT)
