"""Responses → groups, for the tests of what is made of them."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from budget_cli.groups.groups import Groups
from budget_cli.groups.moments import Layout
from budget_cli.ids import Key

Response = tuple[Key, float, float | None, float | None]  # prompt, reward, tokens, log-ratio


@pytest.fixture(scope="session")
def groups_of() -> Callable[[Sequence[Response], Sequence[int]], Groups]:
    """The groups of these responses, at these budgets."""

    def make(responses: Sequence[Response], budgets: Sequence[int]) -> Groups:
        keys = list(dict.fromkeys(each[0] for each in responses))
        codes = np.array([keys.index(each[0]) for each in responses], dtype=np.intp)
        reward, length, log_ratio = (
            np.array([math.nan if each[i] is None else each[i] for each in responses], dtype=np.float64)
            for i in (1, 2, 3)
        )
        return Groups.from_responses(Layout(tuple(budgets)), keys, codes, reward, length, log_ratio)

    return make
