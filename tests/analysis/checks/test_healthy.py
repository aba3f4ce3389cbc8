"""If this fails, `check` or `loss` warns of a dump that is healthy; tests/oracles/false_alarms.py tries many more."""

from pathlib import Path

import pytest
from false_alarms import alarms, made


@pytest.mark.parametrize("seed", range(10))
def test_a_healthy_dump_is_not_warned_of(seed: int, tmp_path: Path) -> None:
    assert alarms(made(seed), tmp_path) == []
