"""If this fails, the GitHub action does not run the command as described."""

import shutil
import subprocess
from pathlib import Path

import pytest
from command import ENVIRONMENT
from pages import ROOT


def script() -> str:
    """Return the last `run` line of the action."""
    return (ROOT / "action.yml").read_text("utf-8").rsplit("run: ", 1)[1]


def run(tmp_path: Path, **inputs: str) -> tuple[int, str, str]:
    """Return the exit code, the text and the outputs of the script, run as by GitHub (bash -eo pipefail)."""
    shutil.copytree(ROOT / "sample_data", tmp_path / "sample_data")
    out = tmp_path / "out"
    environment = {
        "PATH": ENVIRONMENT["PATH"],
        "GITHUB_OUTPUT": str(out),
        "HERE": str(ROOT),
        "COMMAND": "loss",
        "ARGS": "",
        "LC_ALL": "C.UTF-8",
    }
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script()],
        cwd=tmp_path,
        env=environment | inputs,
        capture_output=True,
        check=False,
    )
    return done.returncode, done.stdout.decode(), out.read_text()


RUNS: list[tuple[dict[str, str], int, str]] = [
    ({"FILES": "sample_data/steps/*.jsonl", "ARGS": "--token-budget=1024\n"}, 0, "96 responses, 24 prompts: pass"),
    (
        {
            "FILES": "sample_data/steps/41.jsonl\n\nsample_data/steps/42.jsonl\n",
            "ARGS": "\n--token-budget=1024\n--fail-if=loss > 0.2",
        },
        1,
        "48 responses, 12 prompts: fail",
    ),
    ({"FILES": "sample_data/rollouts.jsonl", "COMMAND": "check", "ARGS": "--token-budget=1024"}, 0, "::warning "),
    (
        {"FILES": "**/4*.jsonl", "ARGS": "-B 1024 --fail-if='loss > 0.2' --fail-if=over_budget.fraction>0.9"},
        1,
        "96 responses, 24 prompts: fail",
    ),
    (
        {"FILES": "no such file*", "ARGS": "-B 9"},
        3,
        "::error title=budget-cli loss (input or output error)::no such fi",
    ),
    (
        {"FILES": "sample_data/steps", "ARGS": "--buget 9"},
        2,
        "::error title=budget-cli loss (usage error)::no such opt",
    ),
    ({"FILES": "sample_data/steps", "ARGS": "-B 9 --fail-if='x"}, 2, "usage error)::args: No closing quotation"),
    ({"FILES": "$(touch sample_data/pwned)", "ARGS": "--token-budget=1024\n; touch pwned"}, 3, ""),
    ({"FILES": "--help", "ARGS": "--token-budget=1024"}, 3, ""),
]


@pytest.mark.parametrize(("inputs", "code", "message"), RUNS)
def test_the_action_runs_the_command_and_returns_its_exit_code(
    tmp_path: Path, inputs: dict[str, str], code: int, message: str
) -> None:
    found, text, out = run(tmp_path, **inputs)
    assert (found, out) == (code, f"exit-code={code}\n")
    assert message in text
    assert not list(tmp_path.rglob("pwned"))
