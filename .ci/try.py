"""Try the installed package: the loss of the sample is that of its definition, and files are written whole."""

import json
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import budget_cli
from budget_cli import native

SAMPLE = Path(__file__).parent.parent / "sample_data" / "rollouts_arrays.jsonl"
NAMES = ("rewards", "log_probs", "old_log_probs", "response_lengths")


def run(*arguments: str) -> str:
    """Return what a command prints."""
    done = subprocess.run([sys.executable, "-m", "budget_cli", *arguments], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b""), (arguments, done)
    return done.stdout.decode()


prompts = [json.loads(line) for line in SAMPLE.read_text("utf-8").splitlines()]
defined = budget_cli.rl_budget_loss(*([p[name] for p in prompts] for name in NAMES), 1024, 0.1, 0.01)
shown = json.loads(run("loss", str(SAMPLE), "-B", "1024", "-f", "json", "--precision", "9"))["loss"]
assert abs(shown - defined) < 1e-8, f"the command says {shown}, the definition {defined}"
with tempfile.TemporaryDirectory() as folder:
    target = Path(folder, "annotated.jsonl")
    for _ in range(2):  # the second takes the place of the first
        run("annotate", str(SAMPLE), "-B", "1024", "-o", str(target))
    assert len(target.read_bytes().splitlines()) == len(prompts)
    assert [each.name for each in Path(folder).iterdir()] == [target.name]
run("check", str(SAMPLE), "-B", "1024", "--fail-on", "error")
assert native.AVAILABLE or platform.system() == "Windows", "this wheel should have the C"
sys.stdout.write(f"loss {shown}, as by its definition; the C is {'there' if native.AVAILABLE else 'not there'}\n")
