"""If this fails, the entry point is broken, a start is slower than necessary, or the hash seed affects a result."""

import json
import re
import subprocess
from pathlib import Path

import pytest
from command import ENVIRONMENT, Start, run
from samples import ROOT, SAMPLE


@pytest.mark.parametrize("arguments", [("--version",), ("--help",), ("loss", "--help"), ("loss",), ("loss", "--nope")])
def test_a_command_that_reads_nothing_imports_neither_numpy_nor_rich(
    budget_cli: Start, arguments: tuple[str, ...]
) -> None:
    done = budget_cli(*arguments, PYTHONPROFILEIMPORTTIME="1")
    imported = {
        line.rpartition("|")[2].strip() for line in done.stderr.decode().splitlines() if line.startswith("import time:")
    }
    assert "budget_cli.cli.app" in imported
    assert not imported & {"numpy", "rich", "rich.table", "msgspec", "orjson", "pydantic", "multiprocessing"}
    assert b"Traceback" not in done.stderr
    if arguments == ("--version",):
        assert done.stdout.startswith(b"budget-cli ")


OF_OTHER_RUNS = {
    *("numpy._core._add_newdocs", "numpy.ma", "numpy.random", "numpy.fft", "numpy.polynomial"),
    *("jmespath", "pyarrow", "pydantic", "rich"),
    *("asyncio", "concurrent.futures", "fractions", "http.client", "logging", "multiprocessing"),
}


@pytest.mark.parametrize("command", ["loss", "check"])
def test_a_run_imports_nothing_that_only_other_runs_need(budget_cli: Start, tmp_path: Path, command: str) -> None:
    loaded = "(name for name in sys.modules if hasattr(sys.modules[name], '__file__'))"
    said = f"print('imported:', *{loaded}, file=sys.stderr)"
    patch = f"import os, sys, atexit; os._exit = sys.exit; atexit.register(lambda: {said})"
    done = budget_cli(command, SAMPLE, "-B", "1024", "-f", "json", cwd=tmp_path, patch=patch)
    _, *imported = done.stderr.decode().partition("imported:")[2].split()
    assert {"numpy", "budget_cli.scanning.scan"} <= set(imported)
    assert sorted(OF_OTHER_RUNS & set(imported)) == []
    here = "budget_cli.cli.commands."
    assert {name for name in imported if name.startswith(here)} == {f"{here}{command}"}


def test_without_a_settings_file_nothing_is_imported_for_it(budget_cli: Start, tmp_path: Path) -> None:
    patch = "import sys, atexit; atexit.register(lambda: print('tomllib' in sys.modules, 'numpy' in sys.modules))"
    leave = "import os; os._exit = sys.exit"
    done = budget_cli("loss", SAMPLE, cwd=tmp_path, patch=f"{patch}\n{leave}")
    assert (done.returncode, done.stdout) == (2, b"False False\n")


COMMANDS: list[tuple[str, ...]] = [
    ("--version",),
    ("--help",),
    ("loss", "sample_data/rollouts.jsonl", "-B", "1024"),
    ("loss", "sample_data/rollouts.jsonl", "-B", "1024", "-f", "json", "--per-prompt"),
    ("loss", "sample_data/damaged.jsonl", "-B", "1024", "-f", "csv", "--max-errors", "3"),
    ("loss", "sample_data/rollouts.jsonl", "-B", "1024", "-f", "markdown", "--fail-if", "loss > 0.1"),
    ("loss", "sample_data/rollouts.jsonl", "-B", "1024", "--by", "step", "--color", "always"),
    ("loss", "no-such-file", "-B", "1024"),
    ("loss", "sample_data/rollouts.jsonl"),
    ("check", "sample_data/rollouts.jsonl", "-B", "1024", "--text"),
    ("check", "sample_data/rollouts.jsonl", "-B", "1024", "-f", "json"),
    ("check", "--explain", "all"),
    ("explain", "phantom"),
    ("sweep", "sample_data/rollouts.jsonl", "-B", "256:2048:4"),
    ("sweep", "sample_data/rollouts.jsonl", "--suggest"),
    ("compare", "sample_data/steps/41.jsonl", "sample_data/steps/42.jsonl", "-B", "1024"),
    ("annotate", "sample_data/rollouts.jsonl", "-B", "1024"),
    ("summarize", "sample_data/steps", "-B", "1024"),
    ("fields", "sample_data/rollouts_nested.jsonl"),
    ("fields", "tests/dumps/trl.parquet"),
]


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_process_gives_the_same_result_as_an_in_process_call(budget_cli: Start, arguments: tuple[str, ...]) -> None:
    alone, within = budget_cli(*arguments, cwd=ROOT), run(*arguments, cwd=ROOT)
    assert (alone.returncode, alone.stdout, alone.stderr) == (within.returncode, within.stdout, within.stderr)


def test_piped_records_give_the_same_result_as_an_in_process_call(budget_cli: Start) -> None:
    arguments, data = ("loss", "-B", "1024", "-f", "json"), SAMPLE.read_bytes()
    alone, within = budget_cli(*arguments, stdin=data), run(*arguments, stdin=data)
    assert (alone.returncode, alone.stdout, alone.stderr) == (within.returncode, within.stdout, within.stderr)
    assert json.loads(alone.stdout)["responses"] == 48


def test_the_installed_script_is_the_command() -> None:
    done = subprocess.run(["budget-cli", "--version"], env=ENVIRONMENT, capture_output=True, check=True)
    assert re.fullmatch(rb"budget-cli [\d.]+\n", done.stdout)


@pytest.mark.parametrize("jobs", ["1", "3"])
def test_the_result_does_not_depend_on_the_hash_seed(budget_cli: Start, large_damaged: Path, jobs: str) -> None:
    arguments = ("loss", large_damaged, "-B", "1000", "-f", "json", "--per-prompt", "-v", "--jobs", jobs)
    one, other = (budget_cli(*arguments, PYTHONHASHSEED=seed) for seed in ("1", "2"))
    assert (one.returncode, one.stdout, one.stderr) == (other.returncode, other.stdout, other.stderr)
    assert len(json.loads(one.stdout)["per_prompt"]) == 37


def test_the_completion_script_works_in_bash(tmp_path: Path) -> None:
    script = (
        'eval "$(_BUDGET_CLI_COMPLETE=source_bash budget-cli)"; COMP_WORDS=(budget-cli loss --aggregate ro)'
        '; COMP_CWORD=3; _budget_cli_completion budget-cli; echo "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "-c", script], env={"PATH": ENVIRONMENT["PATH"]}, capture_output=True, check=True, cwd=tmp_path
    )
    assert done.stdout == b"row\n"
