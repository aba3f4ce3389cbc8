"""Responses → groups, for the tests of what is made of them."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from budget_cli.groups.groups import Groups
from budget_cli.groups.moments import Layout
from budget_cli.ids import Key

# prompt, reward, tokens, log-ratio in nats; None: the record does not have it
Response = tuple[Key, float | None, float | None, float | None]


def groups_of(responses: Sequence[Response], budgets: Sequence[int], layout: Layout | None = None) -> Groups:
    """Return the groups of these responses, with this layout in place of the one of the budgets, if it is given.

    A column that no response has is not given at all.
    """
    keys = list(dict.fromkeys(each[0] for each in responses))
    codes = np.array([keys.index(each[0]) for each in responses], dtype=np.intp)
    columns: list[Any] = []
    for i in (1, 2, 3):
        column = [each[i] for each in responses]
        unknown = i > 1 and all(value is None for value in column)
        columns.append(None if unknown else np.array([math.nan if x is None else x for x in column], dtype=np.float64))
    return Groups.from_responses(layout or Layout(tuple(budgets)), keys, codes, *columns)
