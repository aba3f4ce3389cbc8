"""Whose advantages the trainer stored → findings: none known, a hidden penalty, prompts that do not agree."""

from budget_cli.analysis.checks.findings import CheckInput, Findings, finding
from budget_cli.analysis.estimators_known import in_words, plain
from budget_cli.analysis.numbers import counted
from budget_cli.analysis.stored_advantages import Singletons, StoredAdvantages


def check(dump: CheckInput) -> Findings:
    """Yield the findings on the estimator of the stored advantages."""
    stored = dump.stored
    if stored is None:
        return
    if not stored.fits:
        if not stored.typical:  # that all are 0 is a finding of its own
            return
        message = (
            f"no estimator known here gives the stored advantages; the nearest is {in_words(stored.nearest)},"
            f" which is off by {stored.nearest_residual:.3g} (their root mean square is {stored.typical:.3g})"
        )
        other = stored.by_position
        if other is not None:
            message += (
                f"; over every {other.size} responses, whatever their prompts, they are those of"
                f" {in_words(other.candidate)}, in {other.agreeing:,} of the first"
                f" {counted(other.groups, 'such group')}"
            )
        elif stored.regrouped:
            message += (
                f"; in {stored.regrouped:,} prompts they do not sum to 0, but together they do, as in other groups"
            )
        yield finding(
            "advantage-unknown",
            message + _missing(dump),
            stored.prompts,
            stored.prompts,
            "prompts",
            dump.prompts(dump.of_advantages("a_n") > 1),
        )
        return
    places = dump.prompts(dump.of_advantages("a_n") > 0)
    if stored.penalty is not None:
        yield finding("advantage-penalty", _penalty(stored), stored.agreeing, stored.prompts, "prompts", places)
    differing = stored.prompts - stored.agreeing
    if differing:
        message = (
            f"in {differing:,} of {counted(stored.prompts, 'prompt')}{' of a sample' if stored.of_sample else ''}"
            f" the stored advantages are not those of {in_words(stored.fits[0].candidate)}: off by up to"
            f" {stored.worst_residual:.3g}"
        )
        if stored.regrouped:
            those = "they" if stored.regrouped == differing else f"those of {stored.regrouped:,}"
            message += f"; together {those} sum to what they should, as advantages of other groups do"
        message += _missing(dump)
        evidence = dump.prompts_at(stored.differing)
        yield finding("advantage-differs", message, differing, stored.prompts, "prompts", evidence)


def _missing(dump: CheckInput) -> str:
    """Say that responses are missing in groups, which alone may be the reason; nothing if none is known to be."""
    number = dump.tally.rejected + sum(dump.tally.left_out.values())
    if not number:
        return ""
    return f"; {counted(number, 'sample')} rejected or left out, and a group has another mean without its own"


def estimator_sentence(stored: StoredAdvantages) -> str | None:
    """Name the estimators that give the stored advantages, with counts; None if none does."""
    if not stored.fits:
        return None
    first, *others = stored.fits
    sample = " of a sample" if stored.of_sample else ""
    message = (
        f"the stored advantages are those of {in_words(first.candidate)} in {stored.agreeing:,} of"
        f" {counted(stored.prompts, 'prompt')}{sample} (largest residual {plain(stored.largest_residual)})"
    )
    if len(first.eps) > 1:
        message += f"; equally well with any ε from {plain(first.eps[0])} to {plain(first.eps[-1])}"
    if others:
        message += f"; equally well: {', or '.join(in_words(each.candidate) for each in others)}"
    message += _singletons(stored.singletons)
    if stored.incomplete:
        message += f"; in {counted(stored.incomplete, 'prompt')} some responses have none"
    if first.candidate.slope is not None:
        message += "; these constants are not those of this dump: the batch was another"
        if stored.of_sample and stored.penalty is not None:
            message = (
                f"{message.partition('; these')[0]}; give -B {stored.penalty.budget} to compare these with the dump's"
            )
    return message


def _singletons(s: Singletons) -> str:
    if not s.prompts:
        return ""
    counts = ((s.zero, "is 0"), (s.reward, "is the reward"), (s.by_estimator, "is the same"), (s.other, "is neither"))
    shown = ", ".join(f"{what} in {number:,}" for number, what in counts if number)
    return f"; of {counted(s.prompts, 'prompt')} with a single response, it {shown}" if shown else ""


def _penalty(stored: StoredAdvantages) -> str:
    penalty = stored.penalty
    assert penalty is not None
    if penalty.beta < 0:
        return f"the stored rewards hold a penalty of {penalty} that the stored advantages do not"
    return f"the stored advantages hold a penalty of {penalty} that the stored rewards do not"
