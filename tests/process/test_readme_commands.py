"""If this fails, the README or another page shows output that the program does not print."""

import shutil
import subprocess
from pathlib import Path

import pytest
from command import ENVIRONMENT
from pages import PAGES, ROOT, fenced

ELSEWHERE = {"docs/dumps.md"}  # tests/schema/test_presets.py runs its commands, which are shown without their output
NEEDS = {"report": "vl_convert"}


def run(commands: list[str], cwd: Path) -> list[str]:
    """Return what each command prints on standard output and error; `$?` is that of the previous command."""
    script = "exec 2>&1\nstatus=0\n"
    script += "".join(f"(exit $status)\n{command}\nstatus=$?; printf '\\001'\n" for command in commands)
    done = subprocess.run(
        ["bash", "-c", script], cwd=cwd, env=ENVIRONMENT, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    return done.stdout.decode().split("\1")[:-1]


@pytest.mark.parametrize("page", [page for page in PAGES if page not in ELSEWHERE and fenced(page, "console")])
def test_every_command_prints_what_the_page_shows(page: str, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "sample_data", tmp_path / "sample_data")
    shutil.copytree(ROOT / "tests" / "dumps", tmp_path / "tests/dumps")
    shutil.copytree(ROOT / "tests" / "trainer", tmp_path / "tests/trainer")
    shutil.copy(ROOT / "tests" / "trainer" / "own_names.jsonl", tmp_path / "mine.jsonl")  # a reader's own dump
    shown = fenced(page, "console")
    for command, package in NEEDS.items():
        if any(f"budget-cli {command} " in block for block in shown):
            pytest.importorskip(package)
    given = [[line[2:] for line in block.splitlines() if line.startswith("$ ")] for block in shown]
    printed = iter(run([command for block in given for command in block], tmp_path))  # one folder, as a reader has it
    assert ["".join(f"$ {command}\n{next(printed)}" for command in block) for block in given] == shown
