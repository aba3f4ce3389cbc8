"""A number → None if it does not exist; or the words for it in a message. Knows no answers."""

import math

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
