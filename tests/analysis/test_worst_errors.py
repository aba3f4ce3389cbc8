"""If this fails, a number of some command has lost digits, or `docs/numbers.md` promises too many.

A few of the dumps that `tests/oracles/worst_errors.py` makes; it has the table of ten thousand.
"""

import pytest
from worst_errors import COMMANDS, KINDS, worst_of

PROMISE = 1e-12
SEEDS = {"thousands": range(1)}


@pytest.mark.exhaustive
@pytest.mark.parametrize("kind", KINDS)
def test_every_number_keeps_its_promise(kind: str) -> None:
    commands = [name for name in COMMANDS if name != "page"]  # which starts a process
    for name, (error, seed) in worst_of(kind, SEEDS.get(kind, range(8)), commands).items():
        assert error <= PROMISE, f"{name} of seed {seed}: {error:.1e}"
