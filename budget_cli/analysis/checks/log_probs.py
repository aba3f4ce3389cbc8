"""Log-probs → findings on whether they can be sums over tokens, and whether the two policies match. In nats."""

import math

import numpy as np

from budget_cli.analysis.checks.findings import CheckInput, Evidence, Findings, finding
from budget_cli.analysis.numbers import counted, percent
from budget_cli.groups.groups import Groups

BOTH = ("log_prob", "old_log_prob")


def check(dump: CheckInput) -> Findings:
    """Yield the findings on log-probs."""
    yield from _missing(dump)
    yield from _impossible(dump)
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
    spread = (total("grows_pp") - nats * nats / n) * (total("grows_LL") - tokens * tokens / n)
    correlation = shared / math.sqrt(spread) if spread > 0 else 0.0
    if each < dump.threshold("averaged-log-prob.nats") and correlation < 0.3:
        message = f"{summary}, and it does not grow with the length (correlation {correlation:.2f})"
        yield finding("averaged-log-prob", message, int(n), int(n), "responses")


def _log_ratio(dump: CheckInput) -> Findings:
    counters = dump.counters
    known = int(counters.total("with_log_ratio"))
    if not known:
        return
    if counters.total("no_log_ratio") == known:
        message = f"log_prob equals old_log_prob in all {counted(known, 'response')}"
        yield finding("equals-reference", message, known, known, "responses")
        return
    tokens, nats = counters.total("log_ratio_tokens"), counters.total("log_ratio_size")
    limit = dump.threshold("log-ratio-large.nats")
    is_large = tokens > 0 and nats > limit * tokens
    if is_large:
        differ = f"policy and reference differ by {_factor(nats / tokens)}"
        message = f"the log-ratio is {nats / tokens:.2g} nats per token: {differ}"
        yield finding("log-ratio-large", message, known, known, "responses")
    outliers, limit = counters.count("outlier"), dump.threshold("log-ratio-outlier.nats")
    if outliers and outliers <= dump.threshold("log-ratio-outlier.share") * known and not is_large:
        of = f"{outliers:,} of {counted(known, 'response')} ({percent(outliers, known)})"
        message = f"the log-ratio is beyond ±{limit:g} nats in {of}"
        yield finding("log-ratio-outlier", message, outliers, known, "responses", dump.occurrences("outlier"))
    if dump.has_log_ratios:
        mean, error = clustered_mean(dump.groups)
        if mean < 0 and error > 0 and mean < -dump.threshold("negative-k1.standard-errors") * error:
            message = f"k1, the mean log-ratio, is {mean:.3g} ± {error:.2g} nats; a KL divergence is never negative"
            yield finding("negative-k1", message, known, known, "responses")


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
