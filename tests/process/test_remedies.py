"""If this fails, a command that a refusal names does not do what it promises."""

import json
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from command import ENVIRONMENT, Start

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
