"""The real command, run as a user runs it; and the dumps that it is given."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import pytest

from budget_cli.reading import blocks

COMMAND = [sys.executable, "-m", "budget_cli"]
SETTINGS = ("BUDGET_CLI_", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "TERM", "PYTHON", "LC_", "LANG")
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)}
ENVIRONMENT["LC_ALL"] = "C.UTF-8"
WITH_PATCH = "import sys; sys.argv[0] = 'budget-cli'\n{}\nfrom budget_cli.__main__ import main; main()"


class Run(Protocol):
    """`budget-cli ARGUMENTS…`; `patch` is Python to run first, in the same process."""

    def __call__(
        self, *arguments: str | Path, stdin: bytes | None = None, patch: str | None = None, cwd: Path | None = None,
        stdout: Any = subprocess.PIPE, **environment: str,
    ) -> subprocess.CompletedProcess[bytes]: ...  # fmt: skip


@pytest.fixture(scope="session")
def budget_cli() -> Run:
    def run(
        *arguments: str | Path, stdin: bytes | None = None, patch: str | None = None, cwd: Path | None = None,
        stdout: Any = subprocess.PIPE, **environment: str,
    ) -> subprocess.CompletedProcess[bytes]:  # fmt: skip
        command = COMMAND if patch is None else [sys.executable, "-c", WITH_PATCH.format(patch)]
        source: dict[str, Any] = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
        return subprocess.run(
            [*command, *map(os.fspath, arguments)], stdout=stdout, stderr=subprocess.PIPE, cwd=cwd, timeout=120,
            env=ENVIRONMENT | environment, check=False, **source,
        )  # fmt: skip

    return run


@pytest.fixture(scope="session")
def loss_json(budget_cli: Run) -> Callable[..., dict[str, Any]]:
    """The JSON of `budget-cli loss`, which must exit as said."""

    def run(*arguments: str | Path, stdin: bytes | None = None, exits: int = 0) -> dict[str, Any]:
        done = budget_cli("loss", *arguments, "--format", "json", stdin=stdin)
        assert done.returncode == exits, done.stderr.decode()
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    return run


def lines(records: Sequence[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def response(number: int, chance: random.Random, **more: Any) -> dict[str, Any]:
    return {
        "prompt_id": f"p{number % 37}", "reward": chance.choice([0.0, 0.5, 1.0]), "log_prob": -chance.random() * 90,
        "old_log_prob": -chance.random() * 90, "response_length": chance.randrange(1, 2000), **more,
    }  # fmt: skip


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
