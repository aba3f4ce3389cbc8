"""A number → None if it does not exist; or the words for it in a message. Knows no answers."""

import math
import re

MOST_TOKENS = 1 << 53  # beyond, not every whole number is a double


def finite_or_none(value: float) -> float | None:
    """Return `value`, or None if it overflowed or is not a number."""
    return float(value) if math.isfinite(value) else None


def whole_or_none(value: float) -> int | None:
    """Return `value` as an integer, or None if it is not finite."""
    return int(value) if math.isfinite(value) else None


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: `1 prompt`, `2 prompts`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def percent(part: float, whole: float) -> str:
    """Return a share in percent with two digits or more: `25%`, `0.4%`."""
    value = 100 * part / whole if whole else 0.0
    return f"{value:.0f}%" if value >= 10 or value == 0 else f"{value:.2g}%"


def in_full(written: str) -> str:
    """Return what to give in place of `4k`, for the end of a message: `: give 4000 or 4096`; "" if it is no such text.

    It is not guessed which: vLLM, for one, takes 4k for 4,000 and 4K for 4,096.
    """
    form = re.fullmatch(r"'?([0-9]+(?:\.[0-9]+)?) ?([kKmMgG])(?:i?[bB])?'?", written)
    if form is None:
        return ""
    power = "kmg".index(form[2].lower()) + 1
    counts = [float(form[1]) * base**power for base in (1000, 1024)]
    return f": give {' or '.join(f'{count:.0f}' for count in counts if count.is_integer())}"
