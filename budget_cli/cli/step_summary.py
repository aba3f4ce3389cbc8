"""Markdown → the summary of a step of GitHub Actions, where one is running."""

import os

from budget_cli.errors import OutputProblem


def append(markdown: bytes) -> None:
    """Add to the file that GITHUB_STEP_SUMMARY names; without one, nothing.

    Raises:
        OutputProblem: it cannot be written.
    """
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if not path:
        return
    try:
        with open(path, "ab") as file:
            file.write(markdown + b"\n")
    except OSError as error:
        raise OutputProblem(f"GITHUB_STEP_SUMMARY: {path} could not be written: {error.strerror}") from None
