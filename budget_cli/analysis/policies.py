"""What is counted of two policies' log-probs → effective sample size, importance weights, and the worst tokens.

The weight of a response is w = e^k, k its log-ratio in nats. For responses y sampled from μ, the mean of w = π(y)/μ(y)
is 1 in expectation, and χ² = mean w² − 1 estimates the χ²-divergence of π from μ, which may come out below 0. Of a
policy and its reference nobody sampled from the second one, so these numbers only say how far apart the two are.
"""

import math
from typing import NamedTuple

from budget_cli.analysis.checks.findings import CheckInput, Evidence
from budget_cli.evidence.counters import CLIP
from budget_cli.evidence.weights import Extreme, Weights
from budget_cli.groups.moments import quiet_overflow
from budget_cli.records.token_comparison import TOKEN_CAP
from budget_cli.schema.fields import PAIRS

NAMES = {"reference": "policy/reference", "sampler": "trainer/sampler"}
OLD_SUMMARY = "a summary of an earlier version does not hold these sums: summarize the records again"


class WorstToken(NamedTuple):
    """The token of a response whose log-probs under the two policies differ most."""

    at: Evidence
    token: int  # its index in the response, from 0
    log_ratio: float | None  # nats


class Shift(NamedTuple):
    """Responses whose two lists fit far better if one is moved by a token."""

    responses: int
    late: int  # of them, those whose log_prob is one token late; the others are early
    mean_size: float | None  # of the log-ratio as it is, nats per token, the mean over these responses
    mean_size_shifted: float | None  # with one list moved


class Tokens(NamedTuple):
    """What the responses show for which both policies' log-probs are lists."""

    responses: int
    tokens: int
    mean_size: float | None  # of the log-ratio, nats per token
    cap: tuple[float, float]  # of a token's ratio
    outside: int  # tokens
    outside_share: float | None
    worst: tuple[WorstToken, ...]  # the worst first
    shifted: Shift


class Policies(NamedTuple):
    """Two policies compared; a number that does not exist, or is beyond a double, is None."""

    pair: str  # of PAIRS
    policies: str
    log_probs: tuple[str, str]
    responses: int  # with both log-probs
    of: int
    effective_sample_size: float | None  # responses
    effective_share: float | None
    mean_weight: float | None
    max_weight: float | None
    max_log_weight: float | None  # nats
    max_at: Evidence | None
    chi_square: float | None
    clip: tuple[float, float]  # of a weight
    below: int | None  # responses
    above: int | None
    outside_share: float | None
    tokens: Tokens | None  # None: no lists
    missing: str | None = None  # why there are no numbers, and what to do

    @property
    def is_sampler(self) -> bool:
        """True if the responses were sampled from the second policy."""
        return self.pair == "sampler"


@quiet_overflow
def compare_policies(dump: CheckInput) -> tuple[Policies, ...]:
    """Return each pair of policies of which this dump has both log-probs."""
    found = []
    for pair in PAIRS:
        weights = dump.counters.weights.get(pair)
        counted = _count(dump, f"{pair}_weights")
        known = _count(dump, "with_log_ratio") if pair == "reference" else counted
        if weights is not None and 0 < counted == known:
            found.append(_numbers(dump, pair, weights, counted))
        elif known:
            nothing = (None,) * 7
            clip = _clip()
            found.append(
                Policies(
                    pair, NAMES[pair], PAIRS[pair], known, dump.responses, *nothing, clip, *nothing[:4], OLD_SUMMARY
                )
            )
    return tuple(found)


def _clip() -> tuple[float, float]:
    return 1 - CLIP, 1 + CLIP


def _numbers(dump: CheckInput, pair: str, weights: Weights, responses: int) -> Policies:
    below, above = (_count(dump, f"{pair}_weights_{side}") for side in ("below", "above"))
    effective = weights.effective
    largest = weights.largest[0] if weights.largest else None
    return Policies(
        pair,
        NAMES[pair],
        PAIRS[pair],
        responses,
        dump.responses,
        effective,
        None if effective is None else effective / responses,
        weights.moment(1, responses),
        None if largest is None else _exp(largest.log_ratio),
        None if largest is None else _finite(largest.log_ratio),
        None if largest is None else _place(dump, largest),
        weights.chi_square(responses),
        _clip(),
        below,
        above,
        (below + above) / responses,
        _tokens(dump, pair, weights),
    )


def _tokens(dump: CheckInput, pair: str, weights: Weights) -> Tokens | None:
    total = dump.counters.total
    responses, tokens, outside = (_count(dump, f"{pair}_{what}") for what in ("listed", "tokens", "outside"))
    if not responses or not tokens or not weights.worst:
        return None
    worst = tuple(WorstToken(_place(dump, one), one.token, _finite(one.log_ratio)) for one in weights.worst)
    shifted = dump.counters.count(f"{pair}_shifted")
    sizes = [_finite(total(f"{pair}_{what}") / shifted) if shifted else None for what in ("size_as_is", "size_shifted")]
    shift = Shift(shifted, _count(dump, f"{pair}_shifted_late"), sizes[0], sizes[1])
    mean, cap = _finite(total(f"{pair}_size") / tokens), (1 / TOKEN_CAP, TOKEN_CAP)
    return Tokens(responses, tokens, mean, cap, outside, outside / tokens, worst, shift)


def _count(dump: CheckInput, name: str) -> int:
    """Return a sum that counts; 0 if a summary holds no number there."""
    value = dump.counters.total(name)
    return int(value) if math.isfinite(value) else 0


def _place(dump: CheckInput, one: Extreme) -> Evidence:
    return dump.at(one.place, one.row)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _exp(log_weight: float) -> float | None:
    try:
        return _finite(math.exp(log_weight))
    except OverflowError:
        return None
