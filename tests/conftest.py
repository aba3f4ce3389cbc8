"""The command, and dumps for it."""

import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import built_once
import command
import examples
import pytest
from command import Run
from hypothesis import settings
from samples import lines, response

from budget_cli.sources import blocks

built_once.keep()
settings.load_profile("quick" if examples.QUICK else "full")


@pytest.fixture(scope="session", autouse=True)
def cache_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache directory of the session, so that the page's charting library is bundled once."""
    session = tmp_path_factory.getbasetemp()
    path = (session.parent if "PYTEST_XDIST_WORKER" in os.environ else session) / "cache-home"
    path.mkdir(exist_ok=True)
    command.ENVIRONMENT["XDG_CACHE_HOME"] = str(path)
    return path


@pytest.fixture(scope="session")
def budget_cli() -> Run:
    return command.run


@pytest.fixture(scope="session")
def loss_json(budget_cli: Run) -> Callable[..., dict[str, Any]]:
    """The JSON of `budget-cli loss`, which must exit as said."""

    def run(*arguments: str | Path, stdin: bytes | None = None, exits: int = 0) -> dict[str, Any]:
        done = budget_cli("loss", *arguments, "--format", "json", stdin=stdin)
        assert done.returncode == exits, done.stderr.decode()
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    return run


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 good records."""
    chance = random.Random(1)
    path = tmp_path_factory.mktemp("dumps") / "small.jsonl"
    path.write_bytes(lines([response(number, chance) for number in range(60)]))
    return path


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good records in several blocks, more than are read before a stream gets workers."""
    chance = random.Random(2)
    path = tmp_path_factory.mktemp("dumps") / "large.jsonl"
    text = "x" * (blocks.BLOCK_BYTES // 150)
    path.write_bytes(lines([response(number, chance, text=text) for number in range(6 * 150)]))
    return path


@pytest.fixture(scope="session")
def large_damaged(large: Path) -> Path:
    """The same with damage of many kinds in every block, blank lines, and a torn tail."""
    chance = random.Random(3)
    damage: list[Callable[[bytes], bytes]] = [
        lambda line: line.replace(b'"reward": ', b'"reward": NaN, "x": '),
        lambda line: line.replace(b'"text"', b'"te\xfft"'),
        lambda line: line.replace(b'"response_length": ', b'"response_length": -'),
        lambda line: line[:50] + b"\n" + line[50:],
        lambda line: b"\r\n \n" + line,
        lambda line: b"\0" * 9 + b"\n",
        lambda line: line[:-1],
    ]
    damaged = [
        chance.choice(damage)(line) if chance.random() < 0.03 else line for line in large.read_bytes().splitlines(True)
    ]
    path = large.with_name("large_damaged.jsonl")
    path.write_bytes(b"".join(damaged) + b'{"prompt_id": "p1", "rewa')
    return path
