"""The same arguments → what was built for them before, in place of building it for each of a thousand runs.

The program builds its command line and reads `presets.toml` once a run; the tests run it some 5,000 times in a process,
where that took a third of the time. What is kept depends on the arguments alone, and no run changes it. Every test of
`tests/process/` builds all of it anew.
"""

import functools
from collections.abc import Collection, Sequence
from typing import Any

import typer.main

from budget_cli.cli import app
from budget_cli.schema import small_files


def keep() -> None:
    """Build each command line, and parse each text of TOML, once in this process."""
    build = functools.cache(app.build_app)

    def build_app(names: Sequence[str] = app.COMMANDS, with_options: Collection[str] = app.COMMANDS) -> typer.Typer:
        return build(tuple(names), frozenset(with_options).intersection(names))

    app.build_app = build_app
    typer.main.get_command = functools.cache(typer.main.get_command)
    parse: Any = functools.cache(small_files.parse_toml)
    small_files.parse_toml = parse
