"""If this fails, the pre-commit hooks or the GitHub action do not agree with the command."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
from command import Run
from pages import ROOT, fenced, text

from budget_cli.cli.app import COMMANDS


def test_no_input_is_pasted_into_a_script() -> None:
    text = (ROOT / "action.yml").read_text("utf-8")
    scripts = re.findall(r"^      run: (.*(?:\n(?:        .*)?)*)", text, flags=re.MULTILINE)
    assert len(scripts) == 2
    assert not [each for each in scripts if "${{" in each]


def test_the_hooks_run_existing_commands() -> None:
    text = (ROOT / ".pre-commit-hooks.yaml").read_text("utf-8")
    entries = re.findall(r"^  entry: budget-cli (\w+)$", text, flags=re.MULTILINE)
    assert entries == re.findall(r"^- id: budget-cli-(\w+)$", text, flags=re.MULTILINE)
    assert set(entries) == {"loss", "check"} <= set(COMMANDS)
    for pattern in re.findall(r"^  files: (.*)$", text, flags=re.MULTILINE):
        assert re.search(pattern, "a/b.jsonl")
        assert re.search(pattern, "b.jsonl.gz")
        for ending in ("parquet", "jsonl.zst", "ndjson.zip", "csv", "tsv.xz"):
            assert re.search(pattern, f"x/a.{ending}")
        assert not re.search(pattern, "a.json")


LINES = [
    line
    for language in ("yaml", "groovy", "bash")
    for block in fenced("docs/ci.md", language)
    for line in re.findall(r"budget-cli (?:loss|check|compare) (?:\w+/|-)[^\"\n]*", block)
]
GATES = re.findall(r"^\| [^|]+ \| `([^-`][^`]+)` \|", text("docs/ci.md").split("## GitHub")[0], flags=re.MULTILINE)


def test_the_page_uses_existing_inputs_hooks_and_commands() -> None:
    page = "\n".join(fenced("docs/ci.md", "yaml"))
    inputs = (ROOT / "action.yml").read_text("utf-8").split("\ninputs:\n")[1].split("\noutputs:\n")[0]
    (action,) = (block for block in fenced("docs/ci.md", "yaml") if block.startswith("- uses: "))
    given = re.findall(r"^    (\w+):", action, flags=re.MULTILINE)
    assert given
    assert set(given) <= set(re.findall(r"^  ([\w-]+):", inputs, flags=re.MULTILINE))
    for hook in re.findall(r"- id: (\S+)", page):
        assert f"- id: {hook}\n" in (ROOT / ".pre-commit-hooks.yaml").read_text("utf-8")


@pytest.mark.parametrize("line", LINES)
def test_every_line_to_paste_gives_a_verdict(budget_cli: Run, line: str, tmp_path: Path) -> None:
    for folder, step in (("yesterday", "41.jsonl"), ("rollouts", "44.jsonl")):
        (tmp_path / folder).mkdir()
        shutil.copy(ROOT / "sample_data" / "steps" / step, tmp_path / folder)
    _, *arguments = shlex.split(line.removesuffix(" || exit"))
    if "--token-budget=4096" in arguments:  # of a hook, which gets the files
        arguments.append("rollouts/44.jsonl")
    done = budget_cli(*arguments, cwd=tmp_path)
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False), done.stderr
    written = arguments[arguments.index("-o") + 1] if "-o" in arguments else None
    assert written is None or (tmp_path / written).read_bytes().startswith(b"<?xml")


def test_every_gate_of_the_table_names_a_number(budget_cli: Run) -> None:
    gates = [part for gate in GATES for part in ("--fail-if", gate)]
    done = budget_cli("loss", ROOT / "sample_data" / "rollouts.jsonl", "-B", "1024", *gates)
    failed = re.findall(r"^fail +gate (.*): it is", done.stdout.decode(), flags=re.MULTILINE)
    assert failed == ["advantage.budget_share > 0.2", "groups.reordered > 0", "groups.phantom > 0"]
    assert len(LINES) >= 8
    assert len(GATES) >= 10
