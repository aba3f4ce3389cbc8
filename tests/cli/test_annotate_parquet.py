"""If this fails, annotated rows of Parquet have other terms than the same lines, or lose a row or a column."""

import io
import json
import math
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from command import Run
from pyarrow.parquet import ParquetFile, read_table, write_table
from samples import lines

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "sample_data" / "rollouts.jsonl"
RECORDS = [json.loads(line) for line in SAMPLE.read_text(encoding="utf-8").splitlines()]
TERMS = ["penalty", "adjusted_reward", "baseline", "advantage", "log_ratio", "loss"]
FREE = ("--beta", "0", "--kl-coef", "0")


def written(path: Path, table: pyarrow.Table | list[dict[str, Any]], **options: Any) -> Path:
    write_table(pyarrow.Table.from_pylist(table) if isinstance(table, list) else table, path, **options)
    return path


def terms(out: bytes) -> list[Any]:
    return [json.loads(line)["budget_cli"] for line in out.splitlines()]


@pytest.mark.parametrize("jobs", ["1", "3"])
@pytest.mark.parametrize("rows", [5, 1000])
def test_rows_get_the_terms_of_the_same_lines(budget_cli: Run, tmp_path: Path, jobs: str, rows: int) -> None:
    path = written(tmp_path / "a.parquet", RECORDS, row_group_size=rows)
    of_lines = terms(budget_cli("annotate", SAMPLE, "-B", "1024").stdout)
    done = budget_cli("annotate", path, "-B", "1024", "--jobs", jobs)
    assert (done.returncode, done.stderr) == (0, b"")
    assert terms(done.stdout) == of_lines
    assert [{k: v for k, v in json.loads(line).items() if k != "budget_cli"} for line in done.stdout.splitlines()] == (
        pyarrow.Table.from_pylist(RECORDS).to_pylist()
    )
    out = tmp_path / "out.parquet"
    done = budget_cli("annotate", path, "-B", "1024", "--jobs", jobs, "-o", out)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    made = read_table(out)
    assert made.column("budget_cli").to_pylist() == of_lines
    assert made.drop_columns("budget_cli").equals(read_table(path))
    assert ParquetFile(out).metadata.num_row_groups == -(-48 // rows)


def test_a_column_of_one_float_for_each_term_is_added_and_the_schema_stays(budget_cli: Run, tmp_path: Path) -> None:
    table = pyarrow.table(
        {
            "prompt_id": pyarrow.array(["p", "p"]).dictionary_encode(),
            "reward": pyarrow.array([1, 0], pyarrow.int8()),
            "raw": pyarrow.array([b"\xff", None], pyarrow.binary()),
            "at": pyarrow.array([1, 2], pyarrow.timestamp("ns", "UTC")),
            "turns": pyarrow.array([[{"role": "user"}], []], pyarrow.list_(pyarrow.struct({"role": pyarrow.string()}))),
        }
    ).replace_schema_metadata({"made by": "hand"})
    path, out = written(tmp_path / "a.parquet", table), tmp_path / "out.parquet"
    assert budget_cli("annotate", path, *FREE, "-o", out).returncode == 0
    made = read_table(out)
    kind = pyarrow.struct([(name, pyarrow.float64()) for name in TERMS])
    before = read_table(path)
    assert made.schema.equals(before.schema.append(pyarrow.field("budget_cli", kind)), check_metadata=True)
    assert made.drop_columns("budget_cli").equals(before)
    whole = dict.fromkeys(TERMS) | {"penalty": 0.0, "baseline": 0.5}
    assert made.column("budget_cli").to_pylist() == [
        whole | {"adjusted_reward": 1.0, "advantage": 0.5, "loss": 0.25},
        whole | {"adjusted_reward": 0.0, "advantage": -0.5, "loss": 0.25},
    ]


def test_annotating_again_replaces_the_column_and_what_was_added_can_be_read(budget_cli: Run, tmp_path: Path) -> None:
    path = written(tmp_path / "a.parquet", RECORDS)
    once, again, other = (tmp_path / f"{name}.parquet" for name in ("once", "again", "other"))
    budget_cli("annotate", path, "-B", "512", "-o", other)
    budget_cli("annotate", path, "-B", "1024", "-o", once)
    done = budget_cli("annotate", other, "-B", "1024", "-o", again)
    assert (done.returncode, done.stderr) == (0, b"")
    assert again.read_bytes() == once.read_bytes()
    field = ("--field", "reward=budget_cli.adjusted_reward")
    adjusted = json.loads(budget_cli("loss", once, *field, "--beta", "0", "-f", "json").stdout)
    assert adjusted["loss"] == json.loads(budget_cli("loss", path, "-B", "1024", "-f", "json").stdout)["loss"]
    lines_again = budget_cli("annotate", once, "-B", "1024").stdout
    assert lines_again == budget_cli("annotate", path, "-B", "1024").stdout


def test_rejected_rows_go_to_the_rejects_and_those_left_out_have_no_terms(budget_cli: Run, tmp_path: Path) -> None:
    rows = [
        {"prompt_id": "p", "reward": 1.0, "kind": "train"},
        {"prompt_id": "p", "reward": None, "kind": "train"},
        {"prompt_id": "p", "reward": 5.0, "kind": "eval"},
        {"prompt_id": "p", "reward": 3.0, "kind": "train"},
        {"prompt_id": "p", "reward": math.nan, "kind": "train"},
    ]
    path = written(tmp_path / "a.parquet", rows, row_group_size=2)
    options = (*FREE, "--where", "kind == 'train'")
    out, rejects = tmp_path / "out.parquet", tmp_path / "rejects.parquet"
    done = budget_cli("annotate", path, *options, "-o", out, "--rejects", rejects)
    assert done.returncode == 1
    assert f"2 of 5 records are in {rejects} instead of the output" in done.stderr.decode()
    found = read_table(out).to_pylist()
    assert [row["reward"] for row in found] == [1.0, 5.0, 3.0]
    assert [row["budget_cli"] and row["budget_cli"]["advantage"] for row in found] == [-1.0, None, 1.0]
    assert read_table(rejects).slice(0, 1).to_pylist() == [rows[1]]
    assert read_table(rejects).num_rows == 2
    done = budget_cli("annotate", path, *options, "--rejects", tmp_path / "rejects.jsonl")
    assert [json.loads(line).get("budget_cli", {}).get("advantage") for line in done.stdout.splitlines()] == [
        -1.0,
        None,
        1.0,
    ]
    assert (tmp_path / "rejects.jsonl").read_bytes() == lines([rows[1], rows[4] | {"reward": None}]).replace(b" ", b"")


def test_a_row_of_a_whole_prompt_gets_lists_in_lines_and_is_refused_in_parquet(budget_cli: Run, tmp_path: Path) -> None:
    path = written(tmp_path / "a.parquet", [{"prompt_id": "p", "rewards": [1.0, 0.0]}, {"rewards": None}])
    done = budget_cli("annotate", path, *FREE, "--max-errors", "1")
    assert [each["advantage"] for each in terms(done.stdout)] == [[0.5, -0.5]]
    out = tmp_path / "out.parquet"
    done = budget_cli("annotate", path, *FREE, "--max-errors", "1", "-o", out)
    assert (done.returncode, out.exists()) == (3, False)
    assert done.stderr.decode().splitlines()[-1] == (
        f"budget-cli: {path}: row 1 holds 2 responses, and a column of Parquet has one number for each row: give -o a"
        " name that does not end in .parquet, for JSON lines"
    )


def test_times_become_text_and_what_is_not_finite_null(budget_cli: Run, tmp_path: Path) -> None:
    table = pyarrow.table(
        {
            "prompt_id": ["p", "p"],
            "reward": [1.0, 0.0],
            "at": pyarrow.array([datetime(2026, 1, 2, 3, 4, 5), None], pyarrow.timestamp("us")),
            "days": pyarrow.array([[19000], None], pyarrow.list_(pyarrow.date32())),
            "made": pyarrow.array([{"t": 1}, None], pyarrow.struct({"t": pyarrow.time64("us")})),
            "x": [math.nan, math.inf],
        }
    )
    done = budget_cli("annotate", written(tmp_path / "a.parquet", table), *FREE)
    assert done.returncode == 0, done.stderr
    first, second = map(json.loads, done.stdout.splitlines())
    assert (first["at"], first["days"], first["made"]) == (
        "2026-01-02 03:04:05.000000",
        ["2022-01-08"],
        {"t": "00:00:00.000001"},
    )
    assert (second["at"], second["days"], second["made"]) == (None, None, None)
    assert (first["x"], second["x"]) == (None, None)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (pyarrow.binary(), "binary"),
        (pyarrow.binary(2), "fixed_size_binary[2]"),
        (pyarrow.list_(pyarrow.binary()), "binary"),
        (pyarrow.struct({"x": pyarrow.duration("s")}), "duration[s]"),
        (pyarrow.map_(pyarrow.string(), pyarrow.large_binary()), "large_binary"),
    ],
)
def test_a_column_without_a_form_in_json_is_refused_before_anything_is_read(
    budget_cli: Run, tmp_path: Path, kind: Any, name: str
) -> None:
    columns = {"prompt_id": ["p"], "reward": [1.0], "raw": pyarrow.nulls(1, kind)}
    path = written(tmp_path / "a.parquet", pyarrow.table(columns))
    done = budget_cli("annotate", path, *FREE)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.decode() == (
        f"budget-cli: {path}: JSON has no form for the column raw, of type {name}: a name that ends in .parquet"
        " keeps it (-o, --rejects)\n"
    )
    out = tmp_path / "out.parquet"
    assert budget_cli("annotate", path, *FREE, "-o", out).returncode == 0
    refused = budget_cli("annotate", path, *FREE, "-o", out, "--rejects", tmp_path / "rejects")
    assert refused.returncode == 2


def test_a_value_that_json_cannot_hold_is_one_line(budget_cli: Run, tmp_path: Path) -> None:
    raw = pyarrow.array([b"a", b"\xff"], pyarrow.binary())
    text = pyarrow.Array.from_buffers(pyarrow.string(), 2, raw.buffers())
    large = pyarrow.array([10**30, None], pyarrow.decimal128(38))
    for column, why in ((text, "byte 0xff is not UTF-8"), (large, "Integer exceeds 64-bit range")):
        columns = {"prompt_id": ["p", "p"], "reward": [1.0, 0.0], "other": column}
        path, out = written(tmp_path / "a.parquet", pyarrow.table(columns)), tmp_path / "out.jsonl"
        done = budget_cli("annotate", path, *FREE, "-o", out)
        assert (done.returncode, out.exists()) == (3, False)
        assert done.stderr.decode() == (
            f"budget-cli: {path}: a value that JSON cannot hold ({why}): for -o, a name that ends in .parquet keeps"
            " it\n"
        )
        assert budget_cli("annotate", path, *FREE, "-o", tmp_path / "out.parquet").returncode == 0
        rejected = budget_cli(
            "annotate", path, *FREE, "--field", "prompt_id=other", "-o", tmp_path / "out.parquet", "--rejects", out
        )
        assert b"Traceback" not in rejected.stderr


def test_lines_and_files_of_other_columns_are_refused_as_parquet(budget_cli: Run, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    done = budget_cli("annotate", SAMPLE, "-B", "1024", "-o", out)
    assert (done.returncode, out.exists()) == (2, False)
    assert done.stderr.decode() == (
        f"budget-cli: -o {out}: {SAMPLE} is not Parquet, so its records stay JSON lines: give a name that does not end"
        " in .parquet\n"
    )
    one = written(tmp_path / "1.parquet", RECORDS)
    two = written(tmp_path / "2.parquet", [record | {"more": 1} for record in RECORDS])
    done = budget_cli("annotate", one, two, "-B", "1024", "-o", out)
    assert (done.returncode, out.exists()) == (2, False)
    assert done.stderr.decode() == (
        f"budget-cli: {two}: has other columns than {one}, so one file of Parquet cannot hold both: annotate them one"
        " by one\n"
    )
    both = budget_cli("annotate", one, SAMPLE, "-B", "1024", "--ids-per-file")
    assert both.returncode == 0, both.stderr
    assert len(terms(both.stdout)) == 96


def test_several_files_become_one_in_their_order(budget_cli: Run, tmp_path: Path) -> None:
    for name, part in (("2", RECORDS[:20]), ("10", RECORDS[20:])):
        write_table(
            pyarrow.Table.from_pylist(part, pyarrow.Table.from_pylist(RECORDS).schema), tmp_path / f"{name}.parquet"
        )
    out = tmp_path.parent / f"{tmp_path.name}.parquet"
    done = budget_cli("annotate", tmp_path, "-B", "1024", "-o", out)
    assert done.returncode == 0, done.stderr
    assert read_table(out).column("budget_cli").to_pylist() == terms(
        budget_cli("annotate", SAMPLE, "-B", "1024").stdout
    )


def test_standard_input_is_kept_and_read_twice(budget_cli: Run, tmp_path: Path) -> None:
    path = written(tmp_path / "a.parquet", RECORDS)
    piped = budget_cli("annotate", "-B", "1024", stdin=path.read_bytes())
    assert (piped.returncode, piped.stdout) == (0, budget_cli("annotate", path, "-B", "1024").stdout), piped.stderr


def test_nothing_is_left_of_a_file_that_is_damaged(budget_cli: Run, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    write_table(
        pyarrow.Table.from_pylist(RECORDS), buffer, row_group_size=16, write_page_checksum=True, compression="none"
    )
    data = bytearray(buffer.getvalue())
    column = ParquetFile(buffer).metadata.row_group(1).column(4)
    data[column.data_page_offset + column.total_compressed_size - 3] ^= 0xFF
    path, out = tmp_path / "a.parquet", tmp_path / "out.parquet"
    path.write_bytes(data)
    done = budget_cli("annotate", path, "-B", "1024", "-o", out)
    assert (done.returncode, list(tmp_path.iterdir())) == (3, [path])
    assert done.stderr.endswith(b"nothing was annotated: a baseline needs all of its prompt's responses\n")


@pytest.mark.parametrize("group", [["--group-size", "4"], ["--group", "file"], ["--ids-per-file"]])
def test_prompts_of_lines_and_files_are_those_of_rows(budget_cli: Run, tmp_path: Path, group: list[str]) -> None:
    path = written(tmp_path / "a.parquet", RECORDS, row_group_size=6)
    of_lines, of_rows = (budget_cli("annotate", each, "-B", "1024", *group) for each in (SAMPLE, path))
    assert of_rows.returncode == of_lines.returncode == 0, of_rows.stderr
    assert terms(of_rows.stdout) == terms(of_lines.stdout)
