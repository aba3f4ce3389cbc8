"""If this fails, a command that a refusal or a finding names does not do what it promises."""

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from command import ENVIRONMENT, Start
from samples import SAMPLE

TABLE = Path(__file__).parent.parent / "trainer" / "completions.table.json"
REWARDS = ("--kl-coef", "0", "--beta", "0", "--reward-weights", "accuracy_reward=1,format_reward=1", "-q")


@pytest.mark.skipif(shutil.which("jq") is None, reason="needs jq")
def test_the_rows_of_a_table_as_lines_can_be_annotated(budget_cli: Start) -> None:
    refusal = budget_cli("annotate", TABLE, *REWARDS).stderr.decode()
    command = refusal.partition("make lines of it: ")[2].partition(" | budget-cli annotate -")[0]
    shell = ["sh", "-c", command.replace("FILE", shlex.quote(str(TABLE)))]
    rows = subprocess.run(shell, check=True, capture_output=True, env=ENVIRONMENT).stdout
    annotated = budget_cli("annotate", "-", *REWARDS, stdin=rows).stdout.splitlines()
    assert [json.loads(line)["budget_cli"]["advantage"] for line in annotated] == [0.5, -0.5, 0, -1, 1]


def test_the_remedy_against_copies_leaves_every_line_once(budget_cli: Start, tmp_path: Path) -> None:
    record = {"reward": 1.0, "log_prob": -3.5, "old_log_prob": -3.25, "response_length": 4}
    lines = [json.dumps({**record, "prompt_id": p, "log_prob": -3.5 - i}) + "\n" for p in "pq" for i in range(3)]
    dump = tmp_path / "it's twice.jsonl"
    dump.write_text("".join(lines * 2))
    (finding,) = (
        one
        for one in json.loads(budget_cli("check", dump, "-f", "json").stdout)["findings"]
        if one["code"] == "duplicate-records"
    )
    (remedy,) = re.findall("`(.*)`", finding["remedy"])
    subprocess.run(["sh", "-c", remedy], cwd=tmp_path, check=True, env=ENVIRONMENT)
    assert (tmp_path / "once.jsonl").read_text() == "".join(lines)


@pytest.mark.parametrize(
    "name", ["a b.jsonl", "-dash.jsonl", "it's.jsonl", os.fsdecode(b"\xff \xe4.jsonl"), "new\nline.jsonl"]
)
def test_the_command_that_shows_a_finding_can_be_pasted_whatever_the_file_is_called(
    budget_cli: Start, tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_bytes((SAMPLE).read_bytes())
    done = budget_cli("check", "-B", "1024", "--kl-coef", "0", "--", name, cwd=tmp_path)
    (command,) = [line[10:] for line in done.stdout.decode().splitlines() if line.startswith("show  ")]
    words = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {command}"], stdout=subprocess.PIPE, check=True
    ).stdout.split(b"\0")[:-1]
    assert os.fsdecode(words[2]) in (name, f"./{name}")
    assert b"--kl-coef 0" in b" ".join(words)
    assert budget_cli(*map(os.fsdecode, words[1:]), cwd=tmp_path).returncode == 0
