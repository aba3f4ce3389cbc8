"""Prompts whose ids count within their file → whether the files cut groups of one step.

Where a preset says that ids start anew in each file, the shards of one step look like steps. What tells them apart is
the sizes: the parts of a group that was cut differ, and together they are as many as the other groups are.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from budget_cli.ids import Key

SURE = 0.9  # share of the groups with unequal parts that have to be whole together


class CutGroups(NamedTuple):
    """Groups that the files cut."""

    prompts: int
    size: int  # responses of a whole group


def cut_groups(
    parts: Iterable[tuple[Collection[Key], NDArray[np.float64]]], names: Collection[str]
) -> CutGroups | None:
    """Return what shows that files are shards of one step; None if nothing does.

    Args:
        parts: prompt ids, `FILE:ID`, and the number of responses of each.
        names: of the files, as in the ids.
    """
    parts = list(parts)
    if len(names) < 2 or np.unique(np.concatenate([np.zeros(0), *(sizes for _, sizes in parts)])).size < 2:
        return None
    by_id: defaultdict[str, list[float]] = defaultdict(list)
    known = set(names)
    for keys, sizes in parts:
        for key, size in zip(keys, sizes.tolist(), strict=True):
            name, _, prompt = str(key).rpartition(":")
            while name and name not in known:  # the id may hold colons, too
                name, _, more = name.rpartition(":")
                prompt = f"{more}:{prompt}"
            if not name:
                return None
            by_id[prompt].append(size)
    shared = [sizes for sizes in by_id.values() if len(sizes) > 1]
    ((whole, _),) = Counter(sum(sizes) for sizes in by_id.values()).most_common(1)
    ((usual, often),) = Counter(size for sizes in by_id.values() for size in sizes).most_common(1)
    if usual != whole and 2 * often >= sum(map(len, by_id.values())):
        return None  # steps, of which a few responses failed
    unequal = [sizes for sizes in shared if len(set(sizes)) > 1]
    if not unequal or sum(sum(sizes) == whole for sizes in unequal) < SURE * len(unequal):
        return None
    return CutGroups(sum(sum(sizes) == whole for sizes in shared), int(whole))
