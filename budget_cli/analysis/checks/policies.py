"""Importance weights between two policies → findings on what they leave of the sample, and on shifted lists."""

from budget_cli.analysis.checks.findings import CheckInput, Findings, finding
from budget_cli.analysis.checks.log_probs import FEWEST
from budget_cli.analysis.numbers import counted
from budget_cli.analysis.policies import Policies, compare_policies


def check(dump: CheckInput) -> Findings:
    """Yield the findings on each pair of policies."""
    for pair in compare_policies(dump):
        yield from _shifted(dump, pair)
        if pair.is_sampler:
            yield from _few_effective(dump, pair)
            yield from _mean_off(dump, pair)


def _shifted(dump: CheckInput, pair: Policies) -> Findings:
    if pair.tokens is None:
        return
    shift, listed = pair.tokens.shifted, pair.tokens.responses
    if shift.responses and shift.responses >= dump.threshold("shifted-log-prob.share") * listed:
        one, other = pair.log_probs
        early = shift.responses - shift.late
        sides = [f"{one} is one token {side}" for side, n in (("late", shift.late), ("early", early)) if n]
        message = (
            f"{' or '.join(sides)} beside {other} in {shift.responses:,} of {counted(listed, 'response')}: their"
            f" log-ratio is {_nats(shift.mean_size)} per token, {_nats(shift.mean_size_shifted)} with one list moved"
        )
        places = dump.occurrences(f"{pair.pair}_shifted")
        yield finding("shifted-log-prob", message, shift.responses, listed, "responses", places)


def _nats(size: float | None) -> str:
    return "beyond a double in nats" if size is None else f"{size:.2g} nats"


def _few_effective(dump: CheckInput, pair: Policies) -> Findings:
    share, n = pair.effective_share, pair.responses
    if share is None or n < FEWEST or share >= dump.threshold("low-effective-sample-size.share"):
        return
    message = (
        f"{pair.policies}: an effective sample size of {pair.effective_sample_size:.3g} of {counted(n, 'response')}"
        f" ({100 * share:.2g}%)"
    )
    places = () if pair.max_at is None else (pair.max_at,)
    yield finding("low-effective-sample-size", message, n, n, "responses", places)


def _mean_off(dump: CheckInput, pair: Policies) -> Findings:
    mean, n, factor = pair.mean_weight, pair.responses, dump.threshold("mean-weight-off.factor")
    if n < FEWEST or (mean is not None and 1 / factor <= mean <= factor):
        return
    shown = "beyond the range of a double" if mean is None else f"{mean:.3g}"
    message = f"{pair.policies}: the mean importance weight is {shown} over {counted(n, 'response')}; 1 is expected"
    places = () if pair.max_at is None else (pair.max_at,)
    yield finding("mean-weight-off", message, n, n, "responses", places)
