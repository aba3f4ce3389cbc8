"""Groups → which prompts can teach something: all right, all wrong or mixed, solve rates, pass@k, other group sizes.

A response is right if its reward is above the threshold of the layout (0, unless it is set): of rewards −1 and 1 those
with 1, of graded rewards all that got anything. Only n, the number of responses to a prompt, and c, that of the right
ones, enter (and the sums of lengths), so that all counts are exact, and the same in whatever order the dump is read.

pass@k, the probability that at least one of k responses is right, is 1 − C(n − c, k)/C(n, k), which is unbiased
(M. Chen et al., "Evaluating Large Language Models Trained on Code", 2021, eq. 1), as a product, which cannot overflow;
where that is nearly 1, as the sum of the probabilities that the first right one is the i-th, which does not cancel.

The share of groups of G' responses that would be all right or all wrong is p^G' + (1 − p)^G' of each prompt, whose
solve rate p is not known. Up to n responses, C(c, G')/C(n, G') + C(n − c, G')/C(n, G') is unbiased in the same way:
the mean over all choices of G' from the n. Beyond, only a prompt whose n are all right (or all wrong) can be so, and
does it with the probability that G' − n more are: their mean p^(G' − n) over the posterior Beta(n + ½, ½), which is
B(G' + ½, ½)/B(n + ½, ½), with the prior of H. Jeffreys ("An invariant form for the prior probability in estimation
problems", 1946). This is no more than a guess: it is low where prompts are always or never solved, and the share at n
is the most that it can be. Knows no files.
"""

import math
from collections import Counter
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import numpy as np

from budget_cli.groups.groups import Groups
from budget_cli.groups.moments import Floats

ATTEMPTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)  # k of pass@k
SIZES = (2, 4, 8, 16, 32, 64)  # G', responses of a prompt
PART = 1 << 16  # prompts at a time
SMALL = 255  # responses of a prompt up to which all pairs of n and c have a place in an array


class PassAt(dict[str, float | None]):
    """A number for each k; None if not most of the prompts have as many responses."""

    KEYS: ClassVar[tuple[str, ...]] = tuple(map(str, ATTEMPTS))


class BySize(dict[str, float | None]):
    """A number for each size of a group."""

    KEYS: ClassVar[tuple[str, ...]] = tuple(map(str, SIZES))


class ByRate(dict[str, float | None]):
    """Numbers of prompts of two or more responses, or of these responses, by the solve rate c/n of the prompt."""

    # 0; above 0 and at most ¼; …; above ¾ and below 1; 1
    KEYS: ClassVar[tuple[str, ...]] = (
        "none",
        "up_to_quarter",
        "up_to_half",
        "up_to_three_quarters",
        "below_all",
        "all",
    )


class Learnability(NamedTuple):
    """What the rewards of a dump can teach; all None but the threshold if it is not known which responses are right."""

    correct_above: float  # a response is right if its reward is above this
    right: int | None  # responses
    right_fraction: float | None  # of all responses
    prompts: int | None  # with two or more responses; the numbers of prompts below are of these, except for pass@k
    all_right: int | None
    all_wrong: int | None
    mixed: int | None
    all_right_fraction: float | None
    all_wrong_fraction: float | None
    mixed_fraction: float | None
    prompts_by_rate: ByRate
    responses_by_rate: ByRate
    length_right: float | None  # mean length of the right responses, tokens
    length_wrong: float | None  # of the others
    pass_at: PassAt  # mean over the prompts with k responses or more
    pass_at_prompts: PassAt  # how many these are
    zero_variance_fraction: float | None  # all right or all wrong
    zero_variance_at: BySize  # the same share, expected of groups of that size


NO_PASSES, NO_SIZES, NO_RATES = (dict.fromkeys(kind.KEYS) for kind in (PassAt, BySize, ByRate))
UNKNOWN = Learnability(
    0.0,
    *(None,) * 9,
    ByRate(NO_RATES),
    ByRate(NO_RATES),
    None,
    None,
    PassAt(NO_PASSES),
    PassAt(NO_PASSES),
    None,
    BySize(NO_SIZES),
)


def compute_learnability(groups: Groups) -> Learnability:
    """Compute the numbers of these groups; lengths are None unless every response has one."""
    unknown = UNKNOWN._replace(correct_above=groups.layout.correct_above)
    right_in_all = float(groups.column("right").sum())
    if math.isnan(right_in_all):  # of a summary that does not count them
        return unknown
    n, c, count = _pairs(groups)
    right, responses = int(right_in_all), groups.responses
    several = n > 1
    prompts, all_right, all_wrong = (
        int(count[these].sum()) for these in (several, several & (c == n), several & (c == 0))
    )
    mixed = prompts - all_right - all_wrong
    length_right = length_wrong = None
    if 0 < responses == groups.with_length:
        tokens, tokens_right = float(groups.column("L_sum").sum()), float(groups.column("L_right").sum())
        length_right = tokens_right / right if right else None
        length_wrong = (tokens - tokens_right) / (responses - right) if right < responses else None
    attempts = [k for k in ATTEMPTS if 2 * count[n >= k].sum() > count.sum()]  # those that most prompts have
    passes = pass_at(n, c, attempts)
    alike = alike_at(n[several], c[several], SIZES)
    return unknown._replace(
        right=right,
        right_fraction=_share(right, responses),
        prompts=prompts,
        all_right=all_right,
        all_wrong=all_wrong,
        mixed=mixed,
        all_right_fraction=_share(all_right, prompts),
        all_wrong_fraction=_share(all_wrong, prompts),
        mixed_fraction=_share(mixed, prompts),
        prompts_by_rate=_by_rate(n, c, several * count),
        responses_by_rate=_by_rate(n, c, several * count * n),
        length_right=length_right,
        length_wrong=length_wrong,
        pass_at=PassAt({**NO_PASSES, **{str(k): _mean(passes[k][n >= k], count[n >= k]) for k in attempts}}),
        pass_at_prompts=PassAt({str(k): int(count[n >= k].sum()) for k in ATTEMPTS}),
        zero_variance_fraction=_share(all_right + all_wrong, prompts),
        zero_variance_at=BySize({str(size): _mean(alike[size], count[several]) for size in SIZES}),
    )


def _pairs(groups: Groups) -> tuple[Floats, Floats, Floats]:
    """Return each pair of n and c that occurs, and how many prompts have it, in ascending order.

    There are few pairs, so what is computed of them costs nothing; and sums over them do not depend on the order of the
    prompts.
    """
    n_of, right_of = groups.column("n"), groups.column("right")
    base = int(n_of.max(initial=0)) + 1
    dense, sparse = np.zeros(base * base if base <= SMALL + 1 else 0, dtype=np.int64), Counter[int]()
    for start in range(0, n_of.size, PART):
        rows = slice(start, start + PART)
        codes = n_of[rows].astype(np.int64) * base + right_of[rows].astype(np.int64)
        if dense.size:
            dense += np.bincount(codes, minlength=dense.size)
        else:
            found, counts = np.unique(codes, return_counts=True)
            sparse.update(dict(zip(found.tolist(), counts.tolist(), strict=True)))
    found = np.flatnonzero(dense) if dense.size else np.array(sorted(sparse), dtype=np.int64)
    count = dense[found] if dense.size else np.array([sparse[code] for code in found.tolist()], dtype=np.int64)
    return (found // base).astype(np.float64), (found % base).astype(np.float64), count.astype(np.float64)


def pass_at(n: Floats, right: Floats, attempts: Sequence[int]) -> dict[int, Floats]:
    """Return pass@k of prompts, for each k; of no meaning where n < k.

    Args:
        n, right: shape (prompts,), responses and right ones.
        attempts: the numbers of k, in ascending order.
    """
    wrong, found = n - right, dict[int, Floats]()
    all_wrong = np.ones_like(n)  # the probability that i responses, drawn without putting back, are all wrong
    some_right = np.zeros_like(n)
    for i in range(max(attempts, default=0)):
        left = np.maximum(n - i, 1)
        some_right = some_right + all_wrong * (right / left)
        all_wrong = all_wrong * (np.maximum(wrong - i, 0) / left)
        if i + 1 in attempts:
            found[i + 1] = np.where(all_wrong < 0.5, 1 - all_wrong, some_right)
    return found


def alike_at(n: Floats, right: Floats, sizes: Sequence[int]) -> dict[int, Floats]:
    """Return the probability that all responses are right, or all are wrong, for each number of responses.

    Args:
        n, right: shape (prompts,), responses and right ones.
        sizes: the numbers of responses; up to n they are drawn from those there are, the others are new.
    """
    all_right, all_wrong, found = np.ones_like(n), np.ones_like(n), dict[int, Floats]()
    largest, of_new = int(n.max(initial=0)), 1.0
    for i in range(max(sizes, default=0)):
        one_more = (i + 0.5) / (i + 1)  # the mean of Beta(i + ½, ½): the next one, after i of the same kind
        if i < largest:
            is_new, left = n <= i, np.maximum(n - i, 1)
            all_right = all_right * np.where(is_new, one_more, np.maximum(right - i, 0) / left)
            all_wrong = all_wrong * np.where(is_new, one_more, np.maximum(n - right - i, 0) / left)
        else:  # new to all
            of_new *= one_more
        if i + 1 in sizes:
            found[i + 1] = (all_right + all_wrong) * of_new
    return found


def _by_rate(n: Floats, right: Floats, count: Floats) -> ByRate:
    quarters = 4 * right  # of n: whole numbers, so that a rate of ¼ is exactly that
    of = [
        right == 0,
        (right > 0) & (quarters <= n),
        (quarters > n) & (quarters <= 2 * n),
        (quarters > 2 * n) & (quarters <= 3 * n),
        (quarters > 3 * n) & (right < n),
        right == n,
    ]
    return ByRate({name: int(count[these].sum()) for name, these in zip(ByRate.KEYS, of, strict=True)})


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _mean(values: Floats, count: Floats) -> float | None:
    total = float(count.sum())
    return math.fsum((values * count).tolist()) / total if total else None
