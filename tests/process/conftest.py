"""Fixtures that run the command in a process of its own."""

import command
import pytest
from command import Start


@pytest.fixture(scope="session")
def budget_cli() -> Start:
    return command.start
