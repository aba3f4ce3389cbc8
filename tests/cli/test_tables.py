"""If this fails, a table as Weights & Biases writes it, columns and rows, differs from its rows as lines."""

import json
from pathlib import Path
from typing import Any

import pytest
from command import LossJson, Run

TABLE = Path(__file__).parent.parent / "trainer" / "completions.table.json"
REWARDS = ("--kl-coef", "0", "--beta", "0")
WEIGHTS = ("--reward-weights", "accuracy_reward=1,format_reward=1")
NUMBERS = ("loss", "prompts", "responses", "reward", "groups")


def as_lines(table: dict[str, Any]) -> bytes:
    rows = (dict(zip(table["columns"], row, strict=True)) for row in table["data"])
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("piped", [False, True])
def test_a_table_is_read_as_its_rows(
    budget_cli: Run, loss_json: LossJson, tmp_path: Path, indent: int | None, piped: bool
) -> None:
    table = json.loads(TABLE.read_bytes())
    text, path = json.dumps(table, indent=indent).encode(), tmp_path / "a.table.json"
    path.write_bytes(text)
    done = budget_cli(
        "loss", *(() if piped else (path,)), *REWARDS, *WEIGHTS, "-f", "json", stdin=text if piped else None
    )
    assert done.returncode == 0, done.stderr.decode()
    assert b"reading as trl: prompt_id" in done.stderr
    lines = tmp_path / "lines.jsonl"
    lines.write_bytes(as_lines(table))
    expected, found = loss_json(lines, *REWARDS, *WEIGHTS), json.loads(done.stdout)
    assert {name: found[name] for name in NUMBERS} == {name: expected[name] for name in NUMBERS}


def test_columns_with_names_of_its_own_are_read(loss_json: LossJson, tmp_path: Path) -> None:
    path = tmp_path / "a.table.json"
    path.write_text(json.dumps({"columns": ["prompt_id", "reward", "n"], "data": [["a", 1, 3], ["a", 0, 5]]}))
    assert loss_json(path, *REWARDS)["loss"] == 0.25
    path.write_text(json.dumps({"columns": ["task", "score", "n"], "data": [["a", 1, 3], ["a", 0, 5]]}))
    named = ("--field", "prompt_id=task", "--field", "reward=score", "--field", "response_length=n")
    answer = loss_json(path, "--kl-coef", "0", "-B", "4", *named)
    assert (answer["loss"], answer["length"]["max"]) == (0.255, 5)  # 0.505² = 0.255025
    assert loss_json(path, *REWARDS, *named, "--by", "task")["by"][0]["key"] == "a"


def test_several_tables_are_read_together(loss_json: LossJson, tmp_path: Path) -> None:
    for step in (1, 2):
        table = {"columns": ["step", "prompt_id", "reward"], "data": [[step, "a", 1], [step, "a", step - 1]]}
        (tmp_path / f"{step}.table.json").write_text(json.dumps(table, indent=1))
    answer = loss_json(tmp_path, *REWARDS)
    assert (answer["loss"], answer["prompts"], answer["records"]["read"]) == (0.125, 2, 4)


BROKEN = [
    ({"columns": ["prompt_id", "reward"], "data": [["a", 1], ["a"]]}, "row 1: 1 element, but there are 2 columns"),
    ({"columns": ["prompt_id", "reward"], "data": [["a", 1], 7]}, "row 1: a number, but there are 2 columns"),
    ({"columns": ["prompt_id", "reward"], "data": [["a", "x"]]}, "reward: expected a number, found a string"),
    (
        {"columns": ["prompt_id", "reward"], "data": [["a", 1]], "ncols": 2, "nrows": 20000},
        "data: 1 row, but nrows is 20,000: the logger kept only some of them",
    ),
]


@pytest.mark.parametrize(("table", "message"), BROKEN)
def test_a_broken_table_is_rejected_with_the_reason(
    budget_cli: Run, tmp_path: Path, table: dict[str, Any], message: str
) -> None:
    path = tmp_path / "a.table.json"
    path.write_text(json.dumps(table))
    done = budget_cli("loss", path, *REWARDS)
    assert done.returncode == 1
    assert message in done.stdout.decode()


def test_a_record_that_holds_a_table_is_no_table(budget_cli: Run) -> None:
    records = [{"qid": "q", "ok": ok, "columns": ["a"], "data": [[1]]} for ok in (1, 0)]
    piped = "".join(json.dumps(record) + "\n" for record in records).encode()
    named = ("--field", "prompt_id=qid", "--field", "reward=ok")
    done = budget_cli("loss", *REWARDS, *named, "-f", "json", stdin=piped)
    assert json.loads(done.stdout)["loss"] == 0.25


def test_annotate_refuses_a_table_in_one_line(budget_cli: Run) -> None:
    done = budget_cli("annotate", TABLE, *REWARDS, *WEIGHTS, "-q")
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (2, b"", 1)
    assert done.stderr.decode().startswith(
        f"budget-cli: {TABLE}: a table has no records to which terms could be added: "
    )


@pytest.mark.parametrize("command", ["loss", "fields"])
def test_two_columns_of_a_name_are_refused(budget_cli: Run, tmp_path: Path, command: str) -> None:
    table = {"columns": ["prompt_id", "reward", "reward"], "data": [["p", 1, 2], ["p", 0, 2]]}
    (tmp_path / "a.table.json").write_text(json.dumps(table))
    done = budget_cli(command, "a.table.json", *(REWARDS if command == "loss" else ()), cwd=tmp_path)
    assert done.returncode == 3
    assert done.stderr == b"budget-cli: a.table.json: the table names the column 'reward' twice\n"
