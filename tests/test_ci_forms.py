"""If this fails, the pre-commit hooks or the GitHub action do not agree with the command."""

import re

from pages import ROOT

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


def test_the_readme_uses_existing_inputs_and_hooks() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    (action, hooks) = re.findall(r"^```yaml\n(.*?)^```$", readme, flags=re.MULTILINE | re.DOTALL)
    inputs = (ROOT / "action.yml").read_text("utf-8").split("\ninputs:\n")[1].split("\noutputs:\n")[0]
    given = re.findall(r"^    (\w+):", action, flags=re.MULTILINE)
    assert given
    assert set(given) <= set(re.findall(r"^  ([\w-]+):", inputs, flags=re.MULTILINE))
    for hook in re.findall(r"- id: (\S+)", hooks):
        assert f"- id: {hook}\n" in (ROOT / ".pre-commit-hooks.yaml").read_text("utf-8")
