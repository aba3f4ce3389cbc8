"""If this fails, a string of the data can act on a terminal or in a spreadsheet."""

import csv
import gzip
import io
import json
import os
import re
from pathlib import Path

import pytest
from command import Run
from samples import GOOD, lines

HOSTILE = "\x1b]0;t\x9b2J\u202e\u200b\ufeff\x07[/INST][red]\u2028"

RAW = ("\x1b", "\x9b", "\u202e", "\u200b", "\ufeff", "\x07", "\u2028")


@pytest.mark.parametrize("form", ["table", "markdown", "json"])
@pytest.mark.parametrize("colour", [True, False])
def test_strings_of_the_data_are_escaped_on_the_terminal(
    budget_cli: Run, tmp_path: Path, form: str, colour: bool
) -> None:
    path = tmp_path / f"{HOSTILE.replace('/', '')}.jsonl"
    phantom = [{**GOOD, "prompt_id": HOSTILE, "response_length": length} for length in (1, 500)]
    bad = [{**GOOD, "prompt_id": HOSTILE, "reward": HOSTILE}, {HOSTILE: 1}]
    path.write_bytes(lines([*phantom, *bad]) + f'{{"{HOSTILE[9:]}": NaN}}\n'.encode() + b"\xff\n")
    more = {"FORCE_COLOR": "1"} if colour else {}
    done = budget_cli("loss", path, tmp_path / "x.jsonl", "-B", "9", "--per-prompt", "-f", form, **more)
    assert done.stderr.decode().count("\n") == 1, done.stderr.decode()
    done = budget_cli("loss", path, "-B", "9", "--per-prompt", "-f", form, **more)
    assert done.returncode == 1
    shown = done.stderr.decode() + (done.stdout.decode() if form != "json" else "")
    shown = re.sub("\x1b\\[[0-9;]*m", "", shown) if colour else shown  # the program's own colours
    for character in RAW:
        assert character not in shown
    assert "\\x1b" in shown
    if form == "json":
        assert json.loads(done.stdout)["per_prompt"][0]["prompt_id"] == HOSTILE


@pytest.mark.parametrize("form", ["table", "markdown", "json", "csv"])
def test_a_file_name_that_is_not_utf_8_can_be_reported(budget_cli: Run, tmp_path: Path, form: str) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.jsonl"))
    path.write_bytes(lines([GOOD]) + b"x\n")
    cut = path.with_suffix(".gz")
    cut.write_bytes(gzip.compress(lines([GOOD]))[:-1])
    done = budget_cli("loss", path, "-B", "9", "-f", form)
    assert done.returncode == 1, done.stderr.decode()
    done = budget_cli("loss", cut, "-B", "9", "-f", form)
    assert done.returncode == 3, done.stderr.decode()


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\0"])
def test_no_cell_of_the_csv_is_a_formula_and_numbers_stay_numbers(budget_cli: Run, start: str) -> None:
    data = lines([{**GOOD, "prompt_id": f'{start}SUM(1),"\n2'}, {**GOOD, "prompt_id": -5}])
    done = budget_cli("loss", "-B", "500", "--per-prompt", "-f", "csv", stdin=data)
    rows = list(csv.reader(io.StringIO(done.stdout.decode(), newline="")))
    assert [row[0] for row in rows] == ["prompt_id", f"'{start}SUM(1),\"\n2", "-5"]
    assert {len(row) for row in rows} == {len(rows[0])}
