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


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "＝"])
def test_no_cell_of_the_csv_is_a_formula_and_numbers_stay_numbers(budget_cli: Run, start: str) -> None:
    data = lines([{**GOOD, "prompt_id": f'{start}SUM(1),"\n2'}, {**GOOD, "prompt_id": -5}])
    done = budget_cli("loss", "-B", "500", "--per-prompt", "-f", "csv", stdin=data)
    rows = list(csv.reader(io.StringIO(done.stdout.decode(), newline="")))
    assert [row[0] for row in rows] == ["prompt_id", f"'{start}SUM(1),\"\\x0a2", "-5"]
    assert {len(row) for row in rows} == {len(rows[0])}


COMMANDS = (  # of GitHub's runner, of TeamCity and of Azure Pipelines
    "::stop-commands::t",
    "##[error]t",
    " ::add-mask::x",
    "t ##[stop-commands]t",
    "##teamcity[buildProblem description='t']",
    "##vso[task.complete result=Succeeded;]t",
    "t ##VSO[task.setvariable variable=t]t",
)
FORMS = {
    "loss": ("table", "json", "jsonl", "csv", "markdown", "github", "junit"),
    "check": ("table", "json", "markdown", "github", "junit", "sarif"),
    "compare": ("table", "json", "markdown"),
    "sweep": ("table", "json", "csv", "markdown"),
    "show": ("table", "json"),
    "fields": ("table", "json"),
}


@pytest.mark.parametrize(("command", "form"), [(command, form) for command, forms in FORMS.items() for form in forms])
def test_no_line_is_a_command_for_a_runner(budget_cli: Run, tmp_path: Path, command: str, form: str) -> None:
    paths = [tmp_path / f"{name}##[warning]##teamcity[t]t.jsonl" for name in "ab"]
    for path in paths:
        phantom = [{**GOOD, "prompt_id": key, "response_length": n, "t": key} for key in COMMANDS for n in (1, 500)]
        wrong = [{**GOOD, "prompt_id": key, "reward": key} for key in COMMANDS]
        path.write_bytes(lines([*phantom, *wrong, *({key: 1} for key in COMMANDS)]))
    more = ("--per-prompt", "--by", "t", "--fail-if", "loss > 0") if command == "loss" else ()
    names = paths if command == "compare" else paths[:1]
    done = budget_cli(command, *names, *(() if command == "fields" else ("-B", "9", *more)), "-f", form)
    assert done.returncode in (0, 1)
    for line in (done.stdout + done.stderr).decode().splitlines():
        own = form == "github" and line.startswith(("::notice ", "::warning ", "::error "))
        assert own or not line.strip().startswith("::"), line
        assert re.search(r"##\w*\[", line) is None, line


def test_a_test_report_holds_no_line_break_of_the_data(budget_cli: Run) -> None:
    data = lines([GOOD, {**GOOD, "a\nb": 1, "reward": "a\nb"}, {"a\nb": 1}])
    done = budget_cli("loss", "-B", "9", "-f", "junit", stdin=data)
    assert b"a\\x0ab" in done.stdout
    assert b"\nb" not in done.stdout


def test_the_page_holds_no_character_that_hides(budget_cli: Run, tmp_path: Path) -> None:
    path = tmp_path / f"{HOSTILE.replace('/', '')}.jsonl"
    records = [
        {**GOOD, "prompt_id": HOSTILE + str(n % 2), "response_length": n, "t": HOSTILE + str(n)} for n in range(9)
    ]
    path.write_bytes(lines([*records, {HOSTILE: 1}]))
    page = budget_cli("report", path, "-B", "4", "--by", "t").stdout.decode()
    charts = re.search("<script>.*?</script>", page, re.DOTALL)  # the charting library, which is not ours
    assert charts is not None
    shown = page.replace(charts[0], "")
    data = re.search('<script type="application/json" id="data">(.*?)</script>', shown, re.DOTALL)
    assert data is not None
    for text in (shown, str(json.loads(data[1]))):
        assert not set(text) & set(RAW)
    assert "\\u202e" in str(json.loads(data[1]))
