"""Log-probs → findings on whether they can be sums over tokens, and whether the two policies match. In nats."""

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import accumulate

import numpy as np

from budget_cli.analysis.checks.findings import CheckInput, Evidence, Findings, finding
from budget_cli.analysis.numbers import counted, percent
from budget_cli.evidence.counters import LEAST_OUTLIER, SIZES, Counters
from budget_cli.groups.groups import Groups
from budget_cli.records.token_comparison import FAR
from budget_cli.schema.fields import SAMPLER

BOTH = ("log_prob", "old_log_prob")
UNFILLED = (  # counter, the log-prob that is 0, and the one beside it
    ("log_prob", *BOTH),
    ("old_log_prob", *BOTH[::-1]),
    ("log_prob_beside_sampler", "log_prob", SAMPLER),
    (SAMPLER, SAMPLER, "log_prob"),
)
FEWEST = 16  # responses, below which a correlation or a spread means little
UNLIKE = 0.1  # relative standard deviation, below which numbers are alike
LARGEST = 2 * SIZES[1]  # nats; all log-ratios are counted as below this


def check(dump: CheckInput) -> Findings:
    """Yield the findings on log-probs."""
    yield from _missing(dump)
    yield from _impossible(dump)
    yield from _unfilled(dump)
    yield from _scale(dump)
    yield from _log_ratio(dump)


def _missing(dump: CheckInput) -> Findings:
    counts = {name: dump.counters.count(f"without_{name}") for name in BOTH}
    partial = {name: count for name, count in counts.items() if 0 < count < dump.responses}
    if len(set(partial.values())) == 1:  # these are mostly the same responses
        partial = {" and no ".join(partial): next(iter(partial.values()))}
    for names, count in partial.items():
        message = f"{count:,} of {counted(dump.responses, 'response')} have no {names}"
        yield finding(
            "some-without-log-prob",
            message,
            count,
            dump.responses,
            "responses",
            dump.occurrences(f"without_{names.split()[0]}"),
        )


def _known(dump: CheckInput, name: str) -> int:
    if name == SAMPLER:
        return int(dump.counters.total("sampler_weights"))
    return dump.responses - dump.counters.count(f"without_{name}")


def _impossible(dump: CheckInput) -> Findings:
    counters = dump.counters
    for name in BOTH:
        known, above = _known(dump, name), counters.count(f"positive_{name}")
        if above:
            message = f"{name} is above 0 in {above:,} of {counted(known, 'response')}: no probability exceeds 1"
            yield finding("positive-log-prob", message, above, known, "responses", dump.occurrences(f"positive_{name}"))
        zero = int(counters.total(f"zero_{name}"))
        if zero and zero == known:
            message = f"{name} is exactly 0 in all {counted(known, 'response')}"
            severity = "error" if known > 1 else "warning"
            yield finding("zero-log-prob", message, zero, known, "responses", _first(dump), severity)
        elif counters.count(f"zero_{name}"):
            several = counters.count(f"zero_{name}")
            message = f"{name} is exactly 0 in {several:,} of {counted(known, 'response')} of more than one token"
            yield finding(
                "zero-log-prob", message, several, known, "responses", dump.occurrences(f"zero_{name}"), "warning"
            )


def _first(dump: CheckInput) -> tuple[Evidence, ...]:
    return dump.prompts(dump.groups.column("n") > 0)


def _unfilled(dump: CheckInput) -> Findings:
    """Yield a finding for each log-prob of a pair that is 0 for a token whose other log-prob is far from it."""
    shown = []
    for counter, name, other in UNFILLED:
        count, known = dump.counters.count(f"unfilled_{counter}"), _known(dump, name)
        if count:
            indices = [index for index in dump.counters.values[f"unfilled_{counter}"] if isinstance(index, int)]
            which = "the first at" if count > 1 and len(indices) > 1 else "always at" if count > 1 else "at"
            message = (
                f"{name} is exactly 0 for a token whose {other} is below −{FAR:g}, in {count:,} of"
                f" {counted(known, 'response')}; {which} token {indices[0] + 1:,} of the response (index {indices[0]})"
            )
            places = dump.occurrences(f"unfilled_{counter}")
            if places in shown:  # where one field is mapped to two names
                continue
            shown.append(places)
            yield finding("unfilled-log-prob", message, count, known, "responses", places)


def _scale(dump: CheckInput) -> Findings:
    """Yield a finding if log-probs given as one number are too small or too large to be sums over their tokens."""
    total = dump.counters.total
    n, tokens, nats = total("grows_n"), total("grows_L"), total("grows_p")
    if not n or not tokens or not nats:
        return
    each = nats / tokens
    summary = f"log_prob averages {-nats / n:.3g} nats over {tokens / n:,.0f} tokens: {each:.2g} nats per token"
    if each > dump.threshold("implausible-log-prob.nats"):
        yield finding("implausible-log-prob", summary, int(n), int(n), "responses")
    if n < 8 or tokens / n < dump.threshold("averaged-log-prob.tokens"):
        return
    shared = total("grows_pL") - nats * tokens / n
    scatter = (total("grows_pp") - nats * nats / n) * (total("grows_LL") - tokens * tokens / n)
    correlation = shared / math.sqrt(scatter) if scatter > 0 else 0.0
    if each < dump.threshold("averaged-log-prob.nats") and correlation < 0.3:
        message = f"{summary}, and it does not grow with the length (correlation {correlation:.2f})"
        lengths = total("grows_LL") > tokens * tokens / n * (1 + UNLIKE**2)
        alike = n >= FEWEST and lengths and spread(dump) < dump.threshold("averaged-log-prob.spread")
        yield finding("averaged-log-prob", message, int(n), int(n), "responses", (), "error" if alike else None)


def spread(dump: CheckInput) -> float:
    """Return the standard deviation of the log-probs given as one number, as a share of their mean; 0 if unknown."""
    n, nats, squares = (dump.counters.total(f"grows_{name}") for name in ("n", "p", "pp"))
    return math.sqrt(max(0.0, squares * n / (nats * nats) - 1)) if nats > 0 else 0.0


def _log_ratio(dump: CheckInput) -> Findings:
    counters = dump.counters
    known = int(counters.total("with_log_ratio"))
    if not known:
        return
    if counters.total("no_log_ratio") == known:
        message = f"log_prob equals old_log_prob in all {counted(known, 'response')}"
        is_filled = counters.total("zero_log_prob") < known
        severity = "error" if is_filled and known >= FEWEST and _is_updated(dump) else None
        yield finding("equals-reference", message, known, known, "responses", severity=severity)
        return
    sizes = _sizes(counters, known)
    beside, typical = _outlier_beside(sizes, known, dump.threshold("log-ratio-outlier.times"))
    apart = [f"log_ratio_below_{edge:.0f}" for edge in sizes if edge > beside]
    if sum(map(counters.count, apart)) > dump.threshold("log-ratio-outlier.share") * known:
        apart = []  # these are too many for outliers
    tokens, nats = (
        counters.total(f"log_ratio_{what}") - sum(counters.total(f"{name}_{what}") for name in apart)
        for what in ("tokens", "size")
    )
    is_large = tokens > 0 and nats > dump.threshold("log-ratio-large.nats") * tokens
    if is_large:
        differ = f"policy and reference differ by {_factor(nats / tokens)}"
        but = " outside the outliers" if apart else ""
        message = f"the log-ratio is {nats / tokens:.2g} nats per token{but}: {differ}"
        yield finding("log-ratio-large", message, known, known, "responses")
        yield from _unrelated(dump, known)
    yield from _outliers(dump, known, beside, typical, apart, is_large)
    if dump.has_log_ratios:
        mean, error = clustered_mean(dump.groups)
        if mean < 0 and error > 0 and mean < -dump.threshold("negative-k1.standard-errors") * error:
            message = f"k1, the mean log-ratio, is {mean:.3g} ± {error:.2g} nats; a KL divergence is never negative"
            yield finding("negative-k1", message, known, known, "responses")


def _is_updated(dump: CheckInput) -> bool:
    """True if some responses are of a step after the first update."""
    steps = [step for step in dump.steps if type(step) is int]
    return 0 < len(steps) == len(dump.steps) and max(steps) > dump.threshold("equals-reference.step")


def _unrelated(dump: CheckInput, known: int) -> Findings:
    """Yield a finding if the two log-probs of `known` responses have nothing to do with each other, per token."""
    n, p, q, pp, qq, pq = (dump.counters.total(f"related_{name}") for name in ("n", "p", "q", "pp", "qq", "pq"))
    if n < max(FEWEST, known / 2) or pp - p * p / n < n * UNLIKE**2 or qq - q * q / n < n * UNLIKE**2:
        return
    correlation = (pq - p * q / n) / math.sqrt((pp - p * p / n) * (qq - q * q / n))
    if correlation < dump.threshold("unrelated-reference.correlation"):
        message = f"log_prob and old_log_prob, in nats per token, have a correlation of {correlation:.2f} only"
        yield finding("unrelated-reference", message, known, known, "responses")


def _sizes(counters: Counters, known: int) -> dict[float, int]:
    """Return the number of log-ratios by the power of two that is just above their size, in nats; none if unknown."""
    below = counters.values.get("log_ratio_below", {})
    sizes = {edge: count for edge, count in below.items() if isinstance(edge, float) and 0 < edge <= LARGEST}
    return sizes if sum(sizes.values()) == known else {}  # a summary of an earlier version does not count them


def _outliers(
    dump: CheckInput, known: int, beside: float, typical: float, apart: Sequence[str], is_large: bool
) -> Findings:
    """Yield a finding if a few log-ratios are huge, whether by themselves or beside the others of this dump.

    Args:
        dump: the dump.
        known: the number of log-ratios.
        beside: the size from which a log-ratio is an outlier beside the others, in nats.
        typical: a size that half of them are below.
        apart: the counters of those beyond it.
        is_large: True if the others are large as a whole, so that only a comparison with them tells.
    """
    most, limit = dump.threshold("log-ratio-outlier.share") * known, dump.threshold("log-ratio-outlier.nats")
    count = dump.counters.count
    choices = [(beside, f"has a size of {beside:,.0f} nats or more", sum(map(count, apart)), apart)]
    if not is_large:
        choices.append((limit, f"is beyond ±{limit:g} nats", count("outlier"), ["outlier"]))
    for _, what, outliers, names in sorted(choices):  # the smaller size, unless too many have it
        if 0 < outliers <= most:
            of = f"{outliers:,} of {counted(known, 'response')} ({percent(outliers, known)})"
            half = f"; at least half are within ±{typical:.2g}" if typical else ""
            message = f"the log-ratio {what} in {of}{half}"
            yield finding("log-ratio-outlier", message, outliers, known, "responses", dump.occurrences(*names))
            return


def _outlier_beside(sizes: Mapping[float, int], known: int, times: float) -> tuple[float, float]:
    """Return the size from which a log-ratio is an outlier among these, and a size that half of them are below.

    Args:
        sizes: as `_sizes` returns them.
        known: the number of log-ratios.
        times: how many times the second an outlier is.
    """
    if not sizes:
        return math.inf, 0.0
    ranked = sorted(sizes)
    typical = ranked[bisect_left(list(accumulate(sizes[edge] for edge in ranked)), known / 2)]
    return 2.0 ** math.ceil(math.log2(min(max(LEAST_OUTLIER, times * typical), LARGEST))), typical


def clustered_mean(groups: Groups) -> tuple[float, float]:
    """Return the mean log-ratio and its standard error, in nats.

    The standard error treats the responses to a prompt as one draw (Liang and Zeger, 1986); with fewer than two
    prompts it is 0.
    """
    n = groups.column("n")
    sums = n * groups.column("k0") + groups.column("k1")
    mean, prompts = float(sums.sum() / n.sum()), n.size
    if prompts < 2:
        return mean, 0.0
    deviations = sums - n * mean
    return mean, float(np.sqrt((deviations**2).sum() * prompts / (prompts - 1)) / n.sum())


def _factor(nats: float) -> str:
    return (
        f"{100 * math.expm1(nats):.2g}% in a token's probability"
        if nats < 1
        else f"a factor of {math.exp(min(nats, 700)):.2g}"
    )
