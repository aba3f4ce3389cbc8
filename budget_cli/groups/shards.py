"""Groups → shares by a hash of the prompt, each to be folded apart from the others; and back, as if they were one.

A share knows where among all prompts each of its own was first seen, so that in the end they are in that order again:
sums over prompts then have the same bits, however many shares there were.
"""

from collections.abc import Sequence
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from budget_cli.groups.groups import Groups
from budget_cli.ids import Packed

AFTER = 1 << 32  # prompts of the part before, at most


class Shard:
    """Some prompts of parts of a dump, in the order of `first`; `fold` adds those of a later part."""

    def __init__(self, groups: Groups, first: NDArray[np.int64]) -> None:
        self.groups = groups
        self.first = first  # shape (prompts,), ascending: the number of the part that has it first, and its row there

    def merge(self, later: "Shard") -> None:
        """Add the same share of a later part."""
        known = len(self.groups)
        rows = self.groups.merge(later.groups)
        self.first = np.concatenate([self.first, later.first[rows >= known]])


def split(groups: Groups, shares: int, part: int, before: int = 0) -> list[Shard]:
    """The prompts of these groups in so many shares.

    Args:
        groups: of a part of a dump, with `before` prompts before them in the same part.
        shares: how many.
        part: its number; later parts have larger ones.
    """
    ids, table = Packed.from_ids(groups.keys()), groups.table
    share = np.fromiter((crc32(text) % shares for text in ids.split()), dtype=np.intp, count=len(ids))
    found = []
    for number in range(shares):
        rows = np.flatnonzero(share == number)
        own = Groups.from_rows(groups.layout, ids.take(rows), table[rows])
        found.append(Shard(own, part * AFTER + before + rows))
    return found


def join(shares: Sequence[Shard], rest: Groups) -> Groups:
    """All prompts, first seen first; lengths and counts are those of `rest`."""
    order = np.argsort(np.concatenate([share.first for share in shares]))
    place = np.empty_like(order)
    place[order] = np.arange(order.size)
    table = np.empty((order.size, rest.layout.width))
    at = 0
    for share in shares:
        table[place[at : at + len(share.groups)]] = share.groups.table
        at += len(share.groups)
    ids = Packed.concatenate([Packed.from_ids(share.groups.keys()) for share in shares])
    return rest.with_prompts(ids.take(order), table)
