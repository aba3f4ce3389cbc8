"""If this fails, the README or another page shows output that the program does not print."""

from pathlib import Path

import pytest
from pages import fenced
from screens import SHOWN, printed

NEEDS = {"report": "vl_convert"}


@pytest.mark.parametrize("page", SHOWN)
def test_every_command_prints_what_the_page_shows(page: str, tmp_path: Path) -> None:
    shown = fenced(page, "console")
    for command, package in NEEDS.items():
        if any(f"budget-cli {command} " in block for block in shown):
            pytest.importorskip(package)
    assert printed(page, tmp_path) == shown, "after a change of a screen: python docs/generate.py screens"
