"""If this fails, the prompts or the rows of `loss` as lines or as Parquet are not those of its JSON and its CSV."""

import csv
import io
import json
import re
import sys
from pathlib import Path

import pytest
from command import Run
from samples import ROOT

STEPS = ("loss", "sample_data/steps", "-B", "1024", "--precision", "17")
TAG = r"[a-z0-9_]+(/[a-z0-9_]+)+"  # letters, digits, _ and /: what wandb, trackio, TensorBoard and MLflow all take


def test_a_line_is_a_step_with_names_that_trackers_take(budget_cli: Run) -> None:
    lines = [
        json.loads(line) for line in budget_cli(*STEPS, "--by", "step", "-f", "jsonl", cwd=ROOT).stdout.splitlines()
    ]
    rows = json.loads(budget_cli(*STEPS, "--by", "step", "-f", "json", cwd=ROOT).stdout)["by"]
    assert [line["step"] for line in lines] == [row["key"] for row in rows] == [41, 42, 43, 44]
    for line, row in zip(lines, rows, strict=True):
        numbers = {name: value for name, value in line.items() if name != "step"}
        assert all(re.fullmatch(f"budget/{TAG}|budget/[a-z]+", name) for name in numbers)
        assert all(isinstance(value, int | float) for value in numbers.values())
        assert numbers["budget/loss"] == row["loss"]
        assert numbers["budget/over_budget/fraction"] == row["over_budget"]["fraction"]
        assert numbers["budget/learnability/pass_at/4"] == row["learnability"]["pass_at"]["4"]
        assert not any(name.startswith("budget/coefficients/") for name in numbers)


def test_a_number_that_does_not_exist_is_not_in_the_line(budget_cli: Run) -> None:
    records = b'{"step": 1, "prompt_id": "p", "reward": 1}\n{"step": 1, "prompt_id": "p", "reward": 0}\n'
    (line,) = budget_cli(
        "loss", "-", "--beta", "0", "--kl-coef", "0", "--by", "step", "-f", "jsonl", stdin=records
    ).stdout.splitlines()
    assert json.loads(line)["budget/loss"] == 0.25
    assert "budget/length/mean" not in json.loads(line)


def test_without_rows_there_is_one_line(budget_cli: Run) -> None:
    (line,) = budget_cli(*STEPS, "-f", "jsonl", cwd=ROOT).stdout.splitlines()
    assert json.loads(line)["budget/prompts"] == 24


def test_a_prompt_is_a_line_with_the_names_of_the_json(budget_cli: Run) -> None:
    lines = budget_cli(*STEPS, "--per-prompt", "--top", "3", "-f", "jsonl", cwd=ROOT).stdout.splitlines()
    whole = json.loads(budget_cli(*STEPS, "--per-prompt", "--top", "3", "-f", "json", cwd=ROOT).stdout)
    assert [json.loads(line) for line in lines] == whole["per_prompt"]


@pytest.mark.parametrize("flags", [("--per-prompt",), ("--by", "step"), ()])
def test_parquet_holds_the_table_of_the_csv(budget_cli: Run, tmp_path: Path, flags: tuple[str, ...]) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    done = budget_cli(*STEPS, *flags, "-f", "parquet", "-o", tmp_path / "a.parquet", cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, b"")
    table = parquet.read_table(tmp_path / "a.parquet")
    shown = list(csv.DictReader(io.StringIO(budget_cli(*STEPS, *flags, "-f", "csv", cwd=ROOT).stdout.decode())))
    assert table.column_names == list(shown[0])
    for row, cells in zip(table.to_pylist(), shown, strict=True):
        for name, value in row.items():
            cell = cells[name]
            spelled = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
            assert cell == spelled or float(cell) == value, name


def test_columns_have_types_whatever_the_values(budget_cli: Run) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    records = b"".join(b'{"prompt_id": %b, "reward": 1}\n' % key for key in (b"1", b"1", b'"b"'))
    flags = ("--beta", "0", "--kl-coef", "0", "--per-prompt", "-f", "parquet")
    table = parquet.read_table(io.BytesIO(budget_cli("loss", "-", *flags, stdin=records).stdout))
    assert table.column("prompt_id").to_pylist() == ["1", "b"]
    assert str(table.schema.field("length_mean").type) == "double"
    nothing = parquet.read_table(io.BytesIO(budget_cli("loss", "-", *flags, "--max-errors", "9", stdin=b"x\n").stdout))
    assert nothing.num_rows == 0


def test_without_pyarrow_the_message_names_what_to_install(budget_cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "budget_cli.cli.tables", raising=False)
    monkeypatch.delattr("budget_cli.cli.tables", raising=False)
    done = budget_cli(*STEPS, "-f", "parquet", cwd=ROOT)
    assert done.returncode == 2
    assert done.stderr.decode().startswith("budget-cli: --format parquet needs another package: ")
    assert "[parquet]" in done.stderr.decode()
