"""If this fails, responses are compared with those of another prompt."""

import numpy as np
import pytest

from budget_cli.evidence import first_prompts
from budget_cli.evidence.first_prompts import FirstPrompts

NONE = np.nan


def of(codes: list[int], reward: list[float], length: list[float]) -> FirstPrompts:
    first = FirstPrompts()
    first.add(np.array(codes, dtype=np.intp), np.array(reward), np.array(length))
    return first


def test_responses_keep_their_prompts_from_part_to_part() -> None:
    first = of([0, 1, 0], [1.0, 0.5, 0.0], [7.0, 8.0, 9.0])
    first.merge(of([0, 1], [0.25, 0.75], [3.0, NONE]), np.array([1, 2]))
    first.merge(of([0, 1], [2.0, 3.0], [4.0, 5.0]), np.array([2, 0]))
    assert first.rows().T.tolist() == [[0, 1, 7], [1, 0.5, 8], [0, 0, 9], [1, 0.25, 3], [2, 2, 4], [0, 3, 5]]


def test_only_the_first_prompts_and_so_many_responses_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_prompts, "PROMPTS", 2)
    first = of([0, 1, 2, 0], [1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0])
    first.merge(of([0, 1], [9.0, 10.0], [1.0, 1.0]), np.array([5, 1]))
    assert first.rows()[1].tolist() == [1, 2, 4, 10]
    monkeypatch.setattr(first_prompts, "MOST", 5)
    first.merge(of([0, 1], [11.0, 12.0], [1.0, 1.0]), np.array([0, 1]))
    assert first.rows()[1].tolist() == [1, 2, 4, 10, 11]


def test_no_responses_have_no_rows() -> None:
    assert FirstPrompts().rows().shape == (3, 0)
