"""If this fails, a page says something else than the program does, or a man page cannot be read."""

import re
import shutil
import subprocess
from pathlib import Path

import generate
import pytest
from command import Run
from pages import ROOT

from budget_cli.cli.app import COMMANDS


def test_the_generated_pages_are_those_of_this_version() -> None:
    written = {name: (ROOT / "docs" / name).read_text("utf-8") for name in generate.pages()}
    other = [name for name, text in generate.pages().items() if text != written[name]]
    assert other == [], "make pages writes them anew"
    assert {f"commands/{path.name}" for path in (ROOT / "docs/commands").iterdir()} <= set(written)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_page_and_a_man_page_say_all_that_help_says(budget_cli: Run, command: str) -> None:
    shown = budget_cli(command, "--help", COLUMNS="80").stdout.decode()
    options = re.findall(r"^  (?:-\w, )?(--[a-z-]+)", shown, flags=re.MULTILINE)
    page = (ROOT / "docs" / "commands" / f"{command}.md").read_text("utf-8")
    man = generate.man_pages()[f"budget-cli-{command}.1"]
    assert len(options) >= 3
    assert [each for each in options if not re.search(rf"^- `[^`]*{each}\b", page, re.MULTILINE)] == []
    bold = [line for line in man.replace("\\-", "-").splitlines() if line.startswith("\\fB")]
    assert [
        each for each in options if not any(f"{each} " in f"{line[3:-3]} " or f"{each}," in line for line in bold)
    ] == []
    for example in re.findall(r"^    (.*budget-cli .*)$", shown, flags=re.MULTILINE):
        assert f"\n{example}\n" in page
        assert f"\n{example}\n" in man.replace("\\-", "-").replace("\\e", "\\")


def test_a_line_of_a_man_page_is_text_and_no_request() -> None:
    assert generate._roff(".SH x") == "\\&.SH x"
    assert generate._roff("'a' -b \\n") == "\\&'a' \\-b \\en"


@pytest.mark.skipif(shutil.which("mandoc") is None, reason="no mandoc here")
def test_mandoc_has_nothing_against_the_man_pages(tmp_path: Path) -> None:
    generate.write(tmp_path, generate.man_pages())
    files = [str(path) for path in sorted(tmp_path.iterdir())]
    done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", *files], capture_output=True, check=False)
    assert (len(files), done.returncode, done.stdout) == (1 + len(COMMANDS), 0, b"")
