"""Held responses → all responses to some prompts, chosen by a hash of the prompt's id.

The choice depends on ids and sizes alone, not on order, blocks or processes: the prompts with the smallest hashes, as
many as have at most `limit` responses together. Knows no files.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from budget_cli.evidence.distinct_sample import mix
from budget_cli.groups.groups import Groups
from budget_cli.groups.moments import Floats
from budget_cli.ids import Key, Packed, keys_at

BYTES = 1 << 20  # of ids that are hashed at a time


class SampledPrompt(NamedTuple):
    """All responses to one prompt, in the order of the input."""

    prompt_id: Key
    reward: Floats
    length: Floats  # tokens; NaN: unknown
    log_ratio: Floats  # nats; NaN: unknown


def sampled_prompts(groups: Groups, limit: int) -> list[SampledPrompt]:
    """Return a sample of at most `limit` responses, its prompts ordered by hash; empty if the groups hold none.

    Of a single prompt beyond the limit, the first responses are the sample.
    """
    if groups.held is None or not len(groups):
        return []
    rows, (reward, length, log_ratio, _) = groups.held.by_prompt()
    assert reward is not None
    ends = np.cumsum(np.bincount(rows, minlength=len(groups)))
    sizes = np.diff(ends, prepend=0)
    order = np.argsort(hashes(groups.keys()), kind="stable")
    order = order[sizes[order] > 0]
    fit = max(1, int(np.searchsorted(np.cumsum(sizes[order]), limit, side="right")))
    chosen = order[:fit].tolist()
    found = []
    for row, key in zip(chosen, keys_at(groups.keys(), chosen), strict=True):
        part = slice(int(ends[row] - sizes[row]), int(ends[row]))
        columns = (np.full(sizes[row], np.nan) if each is None else each[part] for each in (length, log_ratio))
        found.append(SampledPrompt(key, *(each[:limit] for each in (reward[part], *columns))))
    return found


def hashes(ids: Sequence[Key]) -> NDArray[np.uint64]:
    """Hash each id to 64 bits, the same in every process; 1 and "1" differ. Shape (ids,)."""
    packed = Packed.from_ids(ids)
    texts, sizes = np.frombuffer(packed.texts, dtype=np.uint8), np.diff(packed.ends, prepend=0)
    found, done = np.empty(len(packed), dtype=np.uint64), 0
    while done < len(packed):
        before = int(packed.ends[done] - sizes[done])
        stop = max(done + 1, int(np.searchsorted(packed.ends, before + BYTES, side="right")))
        begins = packed.ends[done:stop] - sizes[done:stop] - before
        place = np.arange(int(packed.ends[stop - 1]) - before) - np.repeat(begins, sizes[done:stop])
        letters = texts[before : int(packed.ends[stop - 1])].astype(np.uint64)
        found[done:stop] = mix(np.add.reduceat(mix(letters + (place.astype(np.uint64) << np.uint64(8))), begins))
        done = stop
    return found
