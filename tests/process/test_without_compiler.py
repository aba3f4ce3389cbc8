"""If this fails, an installation without a C compiler, and so without extensions, fails or answers otherwise."""

from pathlib import Path

import pytest
from command import Start, run
from samples import ROOT

NONE = "import sys; sys.modules.update({f'budget_cli.native.{name}': None for name in ('ids', 'moments', 'reader')})"
COMMANDS: list[tuple[str, ...]] = [
    ("loss", "sample_data/rollouts.jsonl", "-B", "1024", "--per-prompt"),
    ("loss", "sample_data/damaged.jsonl", "-B", "1024", "-f", "json", "-v"),
    ("loss", "tests/dumps/verl-v1.jsonl", "--beta", "0", "--kl-coef", "0", "-f", "json"),
    ("loss", "tests/dumps/trl.parquet", "--beta", "0", "--kl-coef", "0", "--reward-weights", "accuracy_reward=1"),
    ("check", "sample_data/rollouts.jsonl", "-B", "1024", "--text", "--duplicate-keys"),
    ("sweep", "sample_data/steps", "-B", "256:2048:4"),
    ("compare", "sample_data/steps/41.jsonl", "sample_data/steps/42.jsonl", "-B", "1024", "-f", "json"),
    ("annotate", "sample_data/rollouts.jsonl", "-B", "1024"),
    ("summarize", "sample_data/steps", "-B", "1024"),
    ("report", "sample_data/steps", "-B", "1024"),
    ("fields", "sample_data/rollouts_nested.jsonl"),
]


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda arguments: " ".join(arguments[:2]))
def test_every_command_gives_the_same_answer_without_the_extensions(
    budget_cli: Start, arguments: tuple[str, ...]
) -> None:
    without, compiled = budget_cli(*arguments, patch=NONE, cwd=ROOT), run(*arguments, cwd=ROOT)
    assert without.stderr == compiled.stderr
    assert (without.returncode, without.stdout) == (compiled.returncode, compiled.stdout)


def test_the_extensions_are_hidden(budget_cli: Start, tmp_path: Path) -> None:
    shown = f"{NONE}\nfrom budget_cli import native; print(native.AVAILABLE, file=sys.stderr)"
    assert budget_cli("--version", patch=shown, cwd=tmp_path).stderr == b"False\n"
