"""Groups → shards by a hash of the prompt id, which can be merged independently; and shards → groups again.

A shard records where among all prompts each of its own first occurred, so that `join` restores that order: sums over
prompts then have the same bits for any number of shards. Knows no files and no cluster.
"""

from collections.abc import Sequence
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from budget_cli.groups.groups import Groups, returning
from budget_cli.ids import Packed

MOST_PROMPTS = 1 << 32  # of one part


class Shard:
    """Some prompts of consecutive parts of a dump, in the order of `first`; `merge` adds the shard of a later part."""

    def __init__(self, groups: Groups, first: NDArray[np.int64]) -> None:
        self.groups = groups
        self.first = first  # shape (prompts,), ascending: number of the prompt's first part · MOST_PROMPTS + row there
        self.later_prompts = 0  # of the parts that were merged, counted again in each
        self.recurring = 0  # those of them that an earlier part has with as many responses

    def merge(self, later: "Shard") -> None:
        """Add the same shard of a later part."""
        known = len(self.groups)
        rows = self.groups.merge(later.groups)
        self.later_prompts += rows.size
        self.recurring += returning(self.groups.column("n")[rows], later.groups.column("n"))
        self.first = np.concatenate([self.first, later.first[rows >= known]])


def split(groups: Groups, shards: int, part: int, before: int = 0) -> list[Shard]:
    """Split the prompts of these groups into shards.

    Args:
        groups: the groups of one part of a dump, or of a section of it.
        shards: how many to make.
        part: the number of the part; later parts have larger numbers.
        before: the number of prompts in earlier sections of the same part.
    """
    ids, table = Packed.from_ids(groups.keys()), groups.table
    shard_of = np.fromiter((crc32(text) % shards for text in ids.split()), dtype=np.intp, count=len(ids))
    made = []
    for number in range(shards):
        rows = np.flatnonzero(shard_of == number)
        own = Groups.from_rows(groups.layout, ids.take(rows), table[rows])
        made.append(Shard(own, part * MOST_PROMPTS + before + rows))
    return made


def join(shards: Sequence[Shard], rest: Groups) -> Groups:
    """Return all prompts in order of first occurrence, with the lengths and counts of `rest`."""
    order = np.argsort(np.concatenate([shard.first for shard in shards]))
    place = np.empty_like(order)
    place[order] = np.arange(order.size)
    table = np.empty((order.size, rest.layout.width))
    at = 0
    for shard in shards:
        table[place[at : at + len(shard.groups)]] = shard.groups.table
        at += len(shard.groups)
    ids = Packed.concatenate([Packed.from_ids(shard.groups.keys()) for shard in shards])
    return rest.with_prompts(ids.take(order), table)
