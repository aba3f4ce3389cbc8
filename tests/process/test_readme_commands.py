"""If this fails, the README or another page shows output that the program does not print."""

import shutil
import subprocess
from pathlib import Path

import pytest
from command import ENVIRONMENT
from pages import ROOT, fenced

PAGES = ("README.md", "sample_data/README.md", "docs/summaries.md", "docs/story.md")


def run(commands: list[str], cwd: Path) -> list[str]:
    """Return what each command prints on standard output and error; `$?` is that of the previous command."""
    script = "exec 2>&1\nstatus=0\n"
    script += "".join(f"(exit $status)\n{command}\nstatus=$?; printf '\\001'\n" for command in commands)
    done = subprocess.run(
        ["bash", "-c", script], cwd=cwd, env=ENVIRONMENT, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    return done.stdout.decode().split("\1")[:-1]


@pytest.mark.parametrize(
    ("page", "block"),
    [pytest.param(page, block, id=f"{page}-{i}") for page in PAGES for i, block in enumerate(fenced(page, "console"))],
)
def test_every_command_prints_what_the_page_shows(page: str, block: str, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "sample_data", tmp_path / "sample_data")
    shutil.copytree(ROOT / "tests" / "dumps", tmp_path / "tests/dumps")
    shutil.copytree(ROOT / "tests" / "trainer", tmp_path / "tests/trainer")
    commands = [line[2:] for line in block.splitlines() if line.startswith("$ ")]
    printed = run(commands, tmp_path)
    assert "".join(f"$ {command}\n{text}" for command, text in zip(commands, printed, strict=True)) == block
