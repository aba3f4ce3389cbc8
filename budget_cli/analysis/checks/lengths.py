"""Response lengths → findings on whether they are token counts, and on responses that were truncated."""

import math

import numpy as np

from budget_cli.analysis.checks import log_probs
from budget_cli.analysis.checks.findings import CheckInput, Findings, finding
from budget_cli.analysis.numbers import counted, percent
from budget_cli.records.first_lengths import Sizes

BEYOND = 1.5  # tokens per character; more are neither the tokens nor the characters of the text
TELLING = 20  # mean characters per text, below which their number means nothing
SEVERAL = 8  # responses, below which equal lengths mean nothing
LONG = 16  # tokens; answers that are shorter may well be equally long
FEWEST_SUMS = 16  # responses, below which sums of log-probs that differ mean nothing
LOG_PROBS = "all-lengths-equal.log-probs"
FEW_PROMPTS = 4  # below which responses to a prompt may be equally long by chance, or because they repeat


def check(dump: CheckInput) -> Findings:
    """Yield the findings on lengths."""
    responses = dump.responses
    known = dump.groups.with_length
    if 0 < known < responses:
        count = responses - known
        message = f"{count:,} of {counted(responses, 'response')} have no length"
        yield finding("some-without-length", message, count, responses, "responses", dump.occurrences("without_length"))
    yield from _zero(dump, known)
    yield from _one_token(dump, known)
    yield from _equal(dump)
    yield from _equal_by_prompt(dump)
    yield from _tokens(dump)
    yield from _unit(dump)
    yield from _truncated(dump)


def _zero(dump: CheckInput, known: int) -> Findings:
    zero = dump.counters.count("zero_length")
    if not zero:
        return
    evidence = dump.occurrences("zero_length")
    if zero == known:
        message = f"every length is 0, in all {counted(known, 'response')}"
        severity = "error" if dump.loss.coefficients.token_budget is not None else "warning"
        yield finding("all-lengths-zero", message, zero, known, "responses", evidence, severity)
    else:
        message = f"{zero:,} of {counted(known, 'response')} {'is' if zero == 1 else 'are'} 0 tokens long"
        yield finding("zero-length", message, zero, known, "responses", evidence)


def _one_token(dump: CheckInput, known: int) -> Findings:
    """Yield a finding if some responses have one token, and no other has nearly as few."""
    count = dump.counters.count("one_token")
    if not count or count > dump.threshold("one-token.share") * known:
        return
    lengths, _ = dump.groups.lengths.items()
    longer = lengths[lengths > 1]
    if not longer.size:  # all others have none
        return
    next_length = int(longer[0])
    if next_length >= LONG:
        message = f"{count:,} of {counted(known, 'response')} {'has' if count == 1 else 'have'} one token, and no other"
        message += f" fewer than {next_length:,}"
        yield finding("one-token", message, count, known, "responses", dump.occurrences("one_token"))


def _equal(dump: CheckInput) -> Findings:
    """Yield a finding if every length is the same and that is not because every response was truncated."""
    lengths, _ = dump.groups.lengths.items()
    counters, responses = dump.counters, dump.responses
    if lengths.size != 1 or lengths[0] < LONG or responses < SEVERAL or not dump.has_lengths:
        return
    if counters.count("truncated") == responses:
        return
    length, other = int(lengths[0]), counters.count("other_tokens")
    truncated = counters.count("truncated")
    ended = sum(counters.values.get("finish_reason", {}).values()) - truncated
    message, severity = f"every length is {length:,} tokens, in all {counted(responses, 'response')}", "error"
    may_be_maximum = length % 8 == 0 or length % 10 == 0
    sizes = _sizes(dump)
    if other:
        message += f"; {other:,} of them {'has' if other == 1 else 'have'} another number of log-probs"
        severity = "error" if 2 * other > responses else "warning"
    elif truncated and ended >= SEVERAL:
        message += f", but only {truncated:,} of them {'was' if truncated == 1 else 'were'} cut off at the length limit"
    elif counters.total("with_tokens"):
        return
    elif sizes is not None and sizes.mean >= TELLING:
        if sizes.spread < dump.threshold("all-lengths-equal.spread") * sizes.mean:
            return
        severity = "warning" if may_be_maximum else "error"
        whose = "their texts" if sizes.samples == responses else f"the first {sizes.samples:,} texts"
        message += f", but {whose} have {sizes.mean:,.0f} ± {sizes.spread:,.0f} {sizes.unit}"
    elif not truncated and responses >= FEWEST_SUMS and log_probs.spread(dump) >= dump.threshold(LOG_PROBS):
        least = "a standard deviation of"
        message += f", but their log-probs are not alike: {least} {percent(log_probs.spread(dump), 1)} of the mean"
    elif sizes is not None or truncated or may_be_maximum:
        return
    else:
        message, severity = f"{message}, and that is not a usual maximum; --text compares it with the texts", "info"
    yield finding("all-lengths-equal", message, responses, responses, "responses", severity=severity)


def _sizes(dump: CheckInput) -> Sizes | None:
    """Return the sizes of the texts: of all if they were read, otherwise those of the first records."""
    total, responses = dump.counters.total, dump.responses
    if total("texts") != responses:
        return dump.first_lengths.sizes
    mean = total("characters") / responses
    spread = math.sqrt(max(0.0, total("characters_squared") / responses - mean * mean))
    return Sizes("characters", responses, mean, spread, 0, 0)


def _equal_by_prompt(dump: CheckInput) -> Findings:
    """Yield a finding if the lengths of every prompt's responses are equal, and those of different prompts are not."""
    n, shortest, longest = (dump.groups.column(name) for name in ("n", "L_min", "L_max"))
    several = n > 1
    prompts, count = int(np.count_nonzero(several)), int(n[several].sum())
    if prompts < FEW_PROMPTS or not dump.has_lengths or np.any((shortest != longest)[several]):
        return
    lengths, counters = longest[several], dump.counters
    if lengths.min() == lengths.max() or lengths.mean() < LONG or counters.count("truncated") == dump.responses:
        return
    message, severity = f"the responses to a prompt are equally long, in all {counted(prompts, 'prompt')}", "warning"
    other, sizes = counters.count("other_tokens"), dump.first_lengths.sizes
    if other:
        message += f"; {other:,} responses have another number of log-probs"
    elif counters.total("with_tokens"):
        return
    elif sizes is not None and sizes.prompts:
        if 2 * sizes.uneven < sizes.prompts:
            return
        message += f", but not the texts of {sizes.uneven:,} of the first {counted(sizes.prompts, 'prompt')}"
    else:
        severity = "info"
    yield finding("lengths-equal-by-prompt", message, count, dump.responses, "responses", severity=severity)


def _tokens(dump: CheckInput) -> Findings:
    """Yield a finding if lengths differ from the number of log-probs in the same record."""
    count = dump.counters.count("other_tokens")
    if not count:
        return
    by_one = max(dump.counters.total("off_by_one_more"), dump.counters.total("off_by_one_less"))
    far, severity = dump.counters.total("far_off"), "error"
    message = f"in {count:,} of {counted(dump.responses, 'response')} the length differs from the number of log-probs"
    if by_one == count:
        message, severity = f"{message}, by one token each", "warning"
    elif far > count / 2:
        message, severity = (
            f"{message}, by more than a factor of 2: the lists do not hold one log-prob per token",
            "warning",
        )
    yield finding(
        "token-count-differs",
        message,
        count,
        dump.responses,
        "responses",
        dump.occurrences("other_tokens"),
        severity,
    )


def _unit(dump: CheckInput) -> Findings:
    found = {one.code: one for one in _unit_in_texts(dump)}
    unit = dump.first_lengths.wrong_unit
    if unit is not None:
        code = f"length-is-{unit.unit}"
        remedy = f"Map the number of tokens: `--field 'response_length={unit.tokens}'`." if unit.tokens else None
        found.setdefault(code, finding(code, str(unit), unit.samples, unit.samples, "responses", remedy=remedy))
    yield from found.values()
    other = dump.first_lengths.other_text
    if other is not None:
        severity = "warning" if other.is_counted else "info"
        yield finding("lengths-hold-other-text", str(other), other.texts, other.of, "responses", severity=severity)
    runs = dump.first_lengths.zero_runs
    if runs is not None:
        yield finding("lengths-hold-masked-tokens", str(runs), runs.responses, runs.of, "responses")


def _unit_in_texts(dump: CheckInput) -> Findings:
    counters = dump.counters
    texts, characters, tokens = counters.total("texts"), counters.total("characters"), counters.total("length_of_texts")
    if not texts or not tokens or characters < TELLING * texts:
        return
    equal, each = counters.total("as_many_characters"), tokens / characters if characters else 0
    if equal > texts / 2 or dump.threshold("length-is-characters.share") < each < BEYOND:
        message = f"the lengths sum to {percent(each, 1)} of the characters of the texts"
        message += f"; in {equal:,.0f} of {counted(int(texts), 'text')} they are equal" if equal else ""
        yield finding("length-is-characters", message, int(equal or texts), int(texts), "responses")
    if characters > dump.threshold("length-is-turns.characters") * tokens:
        message = f"a token would be {characters / tokens:,.0f} characters long, over {counted(int(texts), 'text')}"
        yield finding("length-is-turns", message, int(texts), int(texts), "responses")


def _truncated(dump: CheckInput) -> Findings:
    counters, responses = dump.counters, dump.responses
    known, count = sum(counters.values.get("finish_reason", {}).values()), counters.count("truncated")
    if count:
        message = (
            f"{count:,} of {counted(known, 'response')} ({percent(count, known)}) were cut off at the length limit"
        )
        severity = "warning" if count >= dump.threshold("truncated.share") * known else "info"
        yield finding("truncated", message, count, known, "responses", dump.occurrences("truncated"), severity)
        return
    lengths, numbers = dump.groups.lengths.items()
    if not lengths.size or (lengths.size == 1 and (responses < SEVERAL or any(_equal(dump)))):
        return
    longest, count = int(lengths[-1]), int(numbers[-1])
    near = numbers[:-1][lengths[:-1] >= 0.9 * longest]
    is_spike = count >= 3 and count >= 3 * np.max(near, initial=0) and longest >= 16
    if is_spike and count >= dump.threshold("at-maximum.share") * responses:
        message = (
            f"{count:,} of {counted(responses, 'response')} ({percent(count, responses)}) have the same maximum length,"
            f" {longest:,} tokens"
        )
        yield finding(
            "at-maximum",
            message,
            count,
            responses,
            "responses",
            dump.prompts(dump.groups.column("L_max") == longest, placed=False),
        )
