"""If this fails, the table of responses differs from the records with their terms, or from Python's table."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as files
import pytest
from command import Run
from samples import GOOD, SAMPLE, lines

from budget_cli import scan

AT = ("-B", "1024")
DAMAGED = SAMPLE.parent / "damaged.jsonl"
HEADER = (
    "source,line,sample,prompt_id,reward,length,log_prob,old_log_prob,"
    "penalty,adjusted_reward,baseline,advantage,log_ratio,loss"
)


def rows(run: Run, *arguments: Any, exits: int = 0) -> list[dict[str, Any]]:
    done = run("annotate", *arguments, "--format", "jsonl")
    assert done.returncode == exits, done.stderr.decode()
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("name", ["rollouts.jsonl", "rollouts_arrays.jsonl", "steps"])
def test_every_format_is_the_table_of_python(budget_cli: Run, name: str, tmp_path: Path) -> None:
    path = SAMPLE.parent / name
    expected = scan(path, 1024).responses()
    found = rows(budget_cli, path, *AT)
    assert found == expected.to_pylist()
    written = tmp_path / "responses.parquet"
    assert budget_cli("annotate", path, *AT, "-f", "parquet", "-o", written).returncode == 0
    assert files.read_table(written).equals(expected)
    text = budget_cli("annotate", path, *AT, "-f", "csv").stdout.decode()
    assert text.splitlines()[0] == HEADER
    cells = list(csv.DictReader(io.StringIO(text)))
    assert [float(row["advantage"]) for row in cells] == [row["advantage"] for row in found]
    assert [row["prompt_id"] for row in cells] == [row["prompt_id"] for row in found]


@pytest.mark.parametrize("jobs", ["1", "3"])
def test_any_number_of_jobs_gives_the_same_bytes(budget_cli: Run, large: Path, jobs: str) -> None:
    alone = budget_cli("annotate", large, *AT, "-f", "csv", "-j", "2")
    assert budget_cli("annotate", large, *AT, "-f", "csv", "-j", jobs).stdout == alone.stdout
    assert alone.stdout.count(b"\n") == 901


def test_rejected_records_have_no_row_and_fail(budget_cli: Run) -> None:
    found = rows(budget_cli, DAMAGED, *AT, exits=1)
    records = [json.loads(line) for line in budget_cli("annotate", DAMAGED, *AT).stdout.splitlines() if line.strip()]
    assert len(found) == 6
    losses = [record["budget_cli"]["loss"] for record in records]
    flat = [loss for each in losses for loss in (each if isinstance(each, list) else [each])]
    assert [row["loss"] for row in found] == flat


def test_what_is_missing_is_empty_and_an_empty_dump_has_a_header(budget_cli: Run, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("prompt_id,reward\np,1\np,0\n")
    free = ("--beta", "0", "--kl-coef", "0")
    found = budget_cli("annotate", path, *free, "-f", "csv").stdout.decode().splitlines()
    assert found == [
        HEADER,
        f"{path},2,0,p,1.0,,,,0.0,1.0,0.5,0.5,,0.25",
        f"{path},3,0,p,0.0,,,,0.0,0.0,0.5,-0.5,,0.25",
    ]
    empty = tmp_path / "empty.jsonl"
    empty.write_bytes(b"")
    done = budget_cli("annotate", empty, *free, "-f", "csv")
    assert (done.returncode, done.stdout.decode()) == (1, f"{HEADER}\n")


def test_an_id_that_a_spreadsheet_would_compute_is_text(budget_cli: Run, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(lines([{**GOOD, "prompt_id": "=1+1"}]))
    assert ",'=1+1," in budget_cli("annotate", path, *AT, "-f", "csv").stdout.decode()


def test_what_cannot_be_a_table_is_refused(budget_cli: Run, tmp_path: Path) -> None:
    done = budget_cli("annotate", SAMPLE, *AT, "-f", "csv", "--rejects", tmp_path / "rejects")
    expected = f"--rejects {tmp_path / 'rejects'}: goes with the records themselves: leave out --format csv"
    assert (done.returncode, done.stderr.decode()) == (2, f"budget-cli: {expected}\n")
    summary = tmp_path / "kept.summary"
    budget_cli("summarize", SAMPLE, *AT, "-o", summary)
    done = budget_cli("annotate", summary, *AT, "-f", "csv")
    assert done.returncode == 2
    assert b"a summary has no individual records, which annotate needs" in done.stderr
