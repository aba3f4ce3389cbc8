"""Notes about files → annotations of GitHub Actions: workflow commands, one per line. Knows no answers.

The grammar and the escapes are those of the documentation of workflow commands and of the toolkit's `command.ts`.
"""

from collections.abc import Sequence
from typing import NamedTuple

from budget_cli.rendering.safe import for_terminal

MOST = 10  # GitHub shows no more per level and step
MESSAGE = 1000  # characters


class Annotation(NamedTuple):
    """A message, and the line beside which it appears."""

    level: str  # error, warning or notice
    title: str
    message: str
    file: str | None = None  # relative to the root of the repository
    line: int | None = None
    column: int | None = None


def workflow_commands(annotations: Sequence[Annotation], most: int = MOST, omitted: int = 0) -> bytes:
    """Return a workflow command for each of the first `most` annotations, and one that counts the rest.

    Args:
        annotations: the annotations, the most important first.
        most: how many to write.
        omitted: how many more there are that are not in `annotations`.
    """
    lines = [_command(annotation) for annotation in annotations[:most]]
    more = max(0, len(annotations) - most) + omitted
    if more:
        lines.append(_command(Annotation("notice", "budget-cli", f"and {more:,} more")))
    return "".join(line + "\n" for line in lines).encode("utf-8", "backslashreplace")


def _command(annotation: Annotation) -> str:
    properties: list[tuple[str, object]] = []
    if annotation.file is not None and not annotation.file.startswith("<"):  # standard input is no file
        properties = [("file", annotation.file), ("line", annotation.line), ("col", annotation.column)]
    properties.append(("title", annotation.title))
    written = ",".join(f"{name}={_property(value)}" for name, value in properties if value is not None)
    return f"::{annotation.level} {written}::{_data(for_terminal(annotation.message, MESSAGE))}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(value: object) -> str:
    text = for_terminal(value, MESSAGE) if isinstance(value, str) else str(value)
    return _data(text).replace(":", "%3A").replace(",", "%2C")
