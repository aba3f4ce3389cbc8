"""If this fails, the hooks for pre-commit or the action for GitHub do not run what they say."""

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from budget_cli.cli.app import COMMANDS

ROOT = Path(__file__).parent.parent


def script() -> str:
    """The last `run` of the action."""
    text = (ROOT / "action.yml").read_text("utf-8")
    return textwrap.dedent(text.rsplit("run: |\n", 1)[1])


def run(tmp_path: Path, **inputs: str) -> tuple[int, str, str]:
    """What the action's script exits with, prints and gives out, as GitHub runs it (bash -eo pipefail)."""
    shutil.copytree(ROOT / "sample_data", tmp_path / "sample_data")
    out = tmp_path / "out"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {"PATH": path, "GITHUB_OUTPUT": str(out), "COMMAND": "loss", "ARGS": "", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script()],
        cwd=tmp_path,
        env=environment | inputs,
        capture_output=True,
        check=False,
    )
    return done.returncode, done.stdout.decode(), out.read_text()


RUNS: list[tuple[dict[str, str], int, str]] = [
    ({"FILES": "sample_data/steps/*.jsonl", "ARGS": "--token-budget=1024\n"}, 0, "96 responses, 7 prompts: pass"),
    (
        {
            "FILES": "sample_data/steps/41.jsonl\n\nsample_data/steps/42.jsonl\n",
            "ARGS": "\n--token-budget=1024\n--fail-if=loss > 0.3",
        },
        1,
        "48 responses, 6 prompts: fail",
    ),
    ({"FILES": "sample_data/rollouts.jsonl", "COMMAND": "check", "ARGS": "--token-budget=1024"}, 0, "::warning "),
    ({"FILES": "no such file*", "ARGS": "--token-budget=1024"}, 3, ""),
    ({"FILES": "$(touch sample_data/pwned)", "ARGS": "--token-budget=1024\n; touch pwned"}, 3, ""),
    ({"FILES": "--help", "ARGS": "--token-budget=1024"}, 3, ""),
]


@pytest.mark.parametrize(("inputs", "code", "said"), RUNS)
def test_the_action_runs_the_command_and_hands_on_its_exit_code(
    tmp_path: Path, inputs: dict[str, str], code: int, said: str
) -> None:
    found, text, out = run(tmp_path, **inputs)
    assert (found, out) == (code, f"exit-code={code}\n")
    assert said in text
    assert not list(tmp_path.rglob("pwned"))


def test_no_input_is_pasted_into_a_script() -> None:
    text = (ROOT / "action.yml").read_text("utf-8")
    scripts = re.findall(r"^      run: (.*(?:\n(?:        .*)?)*)", text, flags=re.MULTILINE)
    assert len(scripts) == 2
    assert not [each for each in scripts if "${{" in each]


def test_the_hooks_run_commands_that_there_are() -> None:
    text = (ROOT / ".pre-commit-hooks.yaml").read_text("utf-8")
    entries = re.findall(r"^  entry: budget-cli (\w+)$", text, flags=re.MULTILINE)
    assert entries == re.findall(r"^- id: budget-cli-(\w+)$", text, flags=re.MULTILINE)
    assert set(entries) == {"loss", "check"} <= set(COMMANDS)
    for pattern in re.findall(r"^  files: (.*)$", text, flags=re.MULTILINE):
        assert re.search(pattern, "a/b.jsonl")
        assert re.search(pattern, "b.jsonl.gz")
        assert not re.search(pattern, "a.json")


def test_the_readme_gives_the_action_and_the_hooks_what_they_take() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    (action, hooks) = re.findall(r"^```yaml\n(.*?)^```$", readme, flags=re.MULTILINE | re.DOTALL)
    inputs = (ROOT / "action.yml").read_text("utf-8").split("\ninputs:\n")[1].split("\noutputs:\n")[0]
    given = re.findall(r"^    (\w+):", action, flags=re.MULTILINE)
    assert given
    assert set(given) <= set(re.findall(r"^  ([\w-]+):", inputs, flags=re.MULTILINE))
    for hook in re.findall(r"- id: (\S+)", hooks):
        assert f"- id: {hook}\n" in (ROOT / ".pre-commit-hooks.yaml").read_text("utf-8")
