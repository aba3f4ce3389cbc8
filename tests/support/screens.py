"""The commands that pages show, run as a reader runs them."""

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from command import ENVIRONMENT
from pages import PAGES, ROOT, fenced, text

ELSEWHERE = {"docs/dumps.md"}  # tests/schema/test_presets.py runs its commands, which are shown without their output
SHOWN = [page for page in PAGES if page not in ELSEWHERE and fenced(page, "console")]


def printed(page: str, folder: Path) -> list[str]:
    """Run the commands of a page in one folder, in which nothing else is, and return its blocks as they should be."""
    for name in ("sample_data", "tests/dumps", "tests/trainer"):
        shutil.copytree(ROOT / name, folder / name)
    shutil.copy(ROOT / "tests" / "trainer" / "own_names.jsonl", folder / "mine.jsonl")  # a reader's own dump
    given = [[line[2:] for line in block.splitlines() if line.startswith("$ ")] for block in fenced(page, "console")]
    out = iter(_run([command for block in given for command in block], folder))
    return ["".join(f"$ {command}\n{next(out)}" for command in block) for block in given]


def _run(commands: list[str], cwd: Path) -> list[str]:
    """Return what each command prints on standard output and error; `$?` is that of the previous command."""
    script = "exec 2>&1\nstatus=0\n"
    script += "".join(f"(exit $status)\n{command}\nstatus=$?; printf '\\001'\n" for command in commands)
    done = subprocess.run(
        ["bash", "-c", script], cwd=cwd, env=ENVIRONMENT, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    return done.stdout.decode().split("\1")[:-1]


def renew() -> None:
    """Write into every page what its commands print now."""
    for page in SHOWN:
        with tempfile.TemporaryDirectory() as folder:
            printed_blocks = printed(page, Path(folder))
        if any("Traceback" in block for block in printed_blocks):
            raise SystemExit(f"{page}: a command ends with a traceback; is what is compiled that of these sources?")
        blocks = iter(printed_blocks)
        new = re.sub(
            r"^(```console\n)(.*?)^```$",
            lambda found: found[1] + next(blocks) + "```",  # noqa: B023  # called before the next page
            text(page),
            flags=re.DOTALL | re.MULTILINE,
        )
        (ROOT / page).write_text(new, encoding="utf-8")
