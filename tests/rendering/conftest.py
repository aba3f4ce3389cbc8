"""The command in this process, with the settings of a terminal or a pipe."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from budget_cli.cli import app

Show = Callable[..., Result]


@pytest.fixture
def show(tmp_path: Path) -> Show:
    """`budget-cli COMMAND ARGUMENTS… FILE` on a file of these records; settings are environment variables."""

    def run(
        records: Sequence[dict[str, Any]],
        *arguments: str,
        command: str = "loss",
        charset: str = "utf-8",
        **settings: str | None,
    ) -> Result:
        path = tmp_path / "dump.jsonl"
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
        clean: dict[str, str | None] = {"NO_COLOR": None, "FORCE_COLOR": None, "COLUMNS": None, "TERM": None}
        runner = CliRunner(charset=charset)
        with runner.isolation(env=clean | settings) as (out, err, both):
            with pytest.raises(SystemExit) as ended:
                app.run([command, *arguments, str(path)])
            streams = out.getvalue(), err.getvalue(), both.getvalue()
            return Result(runner, *streams, None, ended.value.code, ended.value)

    return run


@pytest.fixture(scope="session")
def response() -> Callable[..., dict[str, Any]]:
    """A record, with these fields changed."""

    def make(**fields: Any) -> dict[str, Any]:
        whole = {"prompt_id": "p", "reward": 1.0, "log_prob": -1.0, "old_log_prob": -1.5, "response_length": 120}
        return whole | fields

    return make
