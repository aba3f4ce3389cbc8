"""The counts of samples that are left out → the sentence that gives the reasons and the option that uses them."""

from collections.abc import Mapping

from budget_cli.analysis.numbers import counted
from budget_cli.schema.fields import UNUSABLE, WHERE


def described(reasons: Mapping[str, int], of: int | None = None) -> str:
    """Write `3 samples: 2 failed, 1 by --where; --keep failed uses 2 of them`.

    Args:
        reasons: the number of samples by reason; at least one.
        of: the number of all samples, which makes it `3 of 12 samples`.
    """
    number = sum(reasons.values())
    samples = counted(number, "sample") if of is None else f"{number:,} of {counted(of, 'sample')}"
    each = ", ".join(f"{count:,} {'by --where' if reason == WHERE else reason}" for reason, count in reasons.items())
    usable = {reason: count for reason, count in reasons.items() if reason not in (WHERE, *UNUSABLE)}
    if not usable:
        return f"{samples}: {each}"
    kept = sum(usable.values())
    them = f"{kept:,} of them" if kept < number else "them" if number > 1 else "it"
    return f"{samples}: {each}; --keep {next(iter(usable)) if len(usable) == 1 else 'all'} uses {them}"
