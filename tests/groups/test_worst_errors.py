"""If this fails, a number of some command has lost digits, or `docs/numbers.md` promises too many.

A few of the dumps that `tests/oracles/worst_errors.py` makes; it has the table of ten thousand.
"""

import pytest
from worst_errors import KINDS, worst_of

TIES = {"ties to 1e-2": 1e-11, "ties to 1e-5": 1e-3, "explained": 1e-1}  # what sums of squares that cancel may lose
CANCELLING = ("loss", "mean_square", "adjusted_reward.std", "r2")
SEEDS = {"thousands": range(1)}


def promised(kind: str, name: str) -> float | None:
    """Return the largest relative error that may be; None if there is no promise."""
    command, *number = name.split()
    if command == "compare" and (number[0] == "loss" or kind == "scales") and number[1] in ("delta", "se", "z"):
        return None  # the difference of two numbers of one double each
    if command != "annotate" and any(word in name.split(maxsplit=1)[1] for word in CANCELLING):
        return TIES.get(kind, 1e-12)
    return 1e-12


@pytest.mark.exhaustive
@pytest.mark.parametrize("kind", KINDS)
def test_every_number_keeps_its_promise(kind: str) -> None:
    for name, (error, seed) in worst_of(kind, SEEDS.get(kind, range(8))).items():
        most = promised(kind, name)
        assert most is None or error <= most, f"{name} of seed {seed}: {error:.1e}"
