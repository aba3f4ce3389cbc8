"""The real command, run as a user runs it, and the records that it is given."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

COMMAND = [sys.executable, "-m", "budget_cli"]
SETTINGS = ("BUDGET_CLI_", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "TERM", "PYTHON", "LC_", "LANG")
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)}
ENVIRONMENT["LC_ALL"] = "C.UTF-8"
WITH_PATCH = "import sys; sys.argv[0] = 'budget-cli'\n{}\nfrom budget_cli.__main__ import main; main()"


class Run(Protocol):
    """`budget-cli ARGUMENTS…`; `patch` is Python to run first, in the same process."""

    def __call__(
        self,
        *arguments: str | Path,
        stdin: bytes | None = None,
        patch: str | None = None,
        cwd: Path | None = None,
        stdout: Any = subprocess.PIPE,
        **environment: str,
    ) -> subprocess.CompletedProcess[bytes]: ...


def run(
    *arguments: str | Path,
    stdin: bytes | None = None,
    patch: str | None = None,
    cwd: Path | None = None,
    stdout: Any = subprocess.PIPE,
    **environment: str,
) -> subprocess.CompletedProcess[bytes]:
    command = COMMAND if patch is None else [sys.executable, "-c", WITH_PATCH.format(patch)]
    source: dict[str, Any] = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
    return subprocess.run(
        [*command, *map(os.fspath, arguments)],
        stdout=stdout,
        stderr=subprocess.PIPE,
        cwd=cwd,
        timeout=120,
        env=ENVIRONMENT | environment,
        check=False,
        **source,
    )


def lines(records: Sequence[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def response(number: int, chance: random.Random, **more: Any) -> dict[str, Any]:
    return {
        "prompt_id": f"p{number % 37}",
        "reward": chance.choice([0.0, 0.5, 1.0]),
        "log_prob": -chance.random() * 90,
        "old_log_prob": -chance.random() * 90,
        "response_length": chance.randrange(1, 2000),
        **more,
    }
