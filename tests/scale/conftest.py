"""The command, and a server and a dump for it. All modules here need the `scale` extra."""

import random
from collections.abc import Iterator
from pathlib import Path

import command
import pytest
from command import Start
from servers import Server, serving


@pytest.fixture(scope="session")
def budget_cli() -> Start:
    return command.start


@pytest.fixture
def server() -> Iterator[Server]:
    """A plain HTTP server."""
    with serving(Server()) as running:
        yield running


@pytest.fixture(scope="session")
def dump(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 MB: 100,000 records of 2 KB, a bad one in ten thousand."""
    chance = random.Random(5)
    path = tmp_path_factory.mktemp("scale") / "dump.jsonl"
    text = "x" * 1880
    with path.open("w") as file:
        for i in range(100_000):
            reward = "NaN" if i % 10_000 == 77 else chance.random()
            file.write(
                f'{{"prompt_id": "p{i // 8:06d}", "text": "{text}", "reward": {reward}, '
                f'"log_prob": -{chance.random()}, "old_log_prob": -0.5, "response_length": {chance.randrange(2000)}}}\n'
            )
    return path
