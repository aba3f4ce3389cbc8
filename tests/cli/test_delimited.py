"""If this fails, a row of CSV or TSV is read as another record than the same row as JSON."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from command import LossJson, Run

REWARDS = ("--kl-coef", "0", "--beta", "0")
ROWS = [
    {"prompt_id": "p", "reward": 1.0, "response_length": 12, "log_prob": -3.5, "old_log_prob": -3.25, "step": 4},
    {"prompt_id": "p", "reward": 0, "response_length": 30, "log_prob": -7e-1, "old_log_prob": -0.5, "step": 4},
    {"prompt_id": "q,r", "reward": 0.5, "response_length": 7, "log_prob": -1, "old_log_prob": -2, "step": 4},
    {"prompt_id": 'a "b"\nc', "reward": -0.25, "response_length": 9, "log_prob": -1, "old_log_prob": -1, "step": 4},
]


def cell(value: Any, delimiter: str) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return '"' + text.replace('"', '""') + '"' if set(text) & {delimiter, '"', "\n"} else text


def delimited(rows: list[dict[str, Any]], delimiter: str = ",", newline: str = "\n") -> str:
    lines = [
        delimiter.join(rows[0]),
        *(delimiter.join(cell(value, delimiter) for value in row.values()) for row in rows),
    ]
    return "".join(line + newline for line in lines)


def write(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize(("ending", "delimiter"), [("csv", ","), ("tsv", "\t")])
def test_rows_are_read_as_the_same_records_as_json(
    loss_json: LossJson, budget_cli: Run, tmp_path: Path, ending: str, delimiter: str, newline: str
) -> None:
    lines = write(tmp_path / "a.jsonl", "".join(json.dumps(row) + "\n" for row in ROWS))
    text = delimited(ROWS, delimiter, newline)
    path = write(tmp_path / f"a.{ending}", text)
    expected = loss_json(lines, "-B", "8", "--per-prompt", "--precision", "17")
    answer = loss_json(path, "-B", "8", "--per-prompt", "--precision", "17")
    assert answer == expected
    assert loss_json(write(tmp_path / "b", "\ufeff" + text), "-B", "8", "--per-prompt", "--precision", "17") == expected
    packed = tmp_path / f"c.{ending}.gz"
    packed.write_bytes(gzip.compress(text.encode()))
    assert loss_json(packed, "-B", "8", "--per-prompt", "--precision", "17") == expected
    piped = budget_cli("loss", "-", "-B", "8", "--per-prompt", "--precision", "17", "-f", "json", stdin=text.encode())
    assert json.loads(piped.stdout) == expected


def test_every_command_reads_rows_and_annotate_says_why_it_does_not(budget_cli: Run, tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", delimited(ROWS))
    for command in (
        ("check", path, "-B", "8", "--text", "--duplicate-keys"),
        ("sweep", path, "-B", "8:16:2"),
        ("report", path, "-B", "8", "-o", tmp_path / "a.html"),
        ("compare", path, path, "-B", "8"),
        ("fields", path),
        ("loss", path, "-B", "8", "--by", "step", "--where", "reward >= `0`"),
        ("summarize", path, "-B", "8", "-o", tmp_path / "s.jsonl"),
        ("loss", tmp_path / "s.jsonl", "-B", "8"),
        ("loss", path, "-B", "8", "--jobs", "3"),
    ):
        done = budget_cli(*command)
        assert done.returncode == 0, done.stderr.decode()
    done = budget_cli("annotate", path, "-B", "8")
    assert done.returncode == 2
    assert done.stderr.decode().endswith(
        "a.csv: this is CSV: annotate keeps every record byte for byte, which it can do for JSON only\n"
    )


def test_files_of_a_folder_are_read_in_order(loss_json: LossJson, tmp_path: Path) -> None:
    for step in ("1", "2"):
        write(tmp_path / f"{step}.csv", f"prompt_id,reward,step\np,1,{step}\np,0,{step}\n")
    answer = loss_json(tmp_path, *REWARDS, "--per-prompt")
    assert [one["prompt_id"] for one in answer["per_prompt"]] == ["1/p", "2/p"]


# ---- what a cell is


CELLS = [
    ("1", 1),
    ("-0.5", -0.5),
    ("2e-1", 0.2),
    ("1E2", 100),
    ("true", "number"),
    ("True", "number"),
    ("01", "string"),
    ("1.", "string"),
    (".5", "string"),
    ("+1", "string"),
    ("1_0", "string"),
    ("0x1", "string"),
    ('"1,5"', "string"),
    ("NaN", "string"),
    ("inf", "string"),
    (" 1", "string"),
    ("١", "string"),
    ("", "null"),
    ("1e999", "a number beyond the range of a double"),
]


@pytest.mark.parametrize(("text", "expected"), CELLS)
def test_a_cell_is_a_number_only_if_it_is_one_in_json(
    budget_cli: Run, tmp_path: Path, text: str, expected: Any
) -> None:
    path = write(tmp_path / "a.csv", f"prompt_id,reward\np,{text}\n")
    done = budget_cli("loss", path, *REWARDS, "-f", "json")
    answer = json.loads(done.stdout)
    if isinstance(expected, int | float):
        assert answer["reward"]["mean"] == expected
        return
    (rejection,) = answer["rejections"]
    assert (rejection["line"], rejection["column"]) == (2, None)
    assert expected in rejection["message"]
    if expected == "number":
        counted = budget_cli("loss", path, *REWARDS, "-f", "json", "--field", "reward=number(reward)")
        assert json.loads(counted.stdout)["reward"]["mean"] == 1


def test_ids_keep_their_text_unless_they_are_whole_numbers(loss_json: LossJson, tmp_path: Path) -> None:
    ids = ["7", "07", "7.0", "7e0", "-7", "-0", "true", "99999999999999999999", '" 7"']
    path = write(tmp_path / "a.csv", "prompt_id,reward\n" + "".join(f"{one},1\n" for one in ids))
    answer = loss_json(path, *REWARDS, "--per-prompt")
    found = [one["prompt_id"] for one in answer["per_prompt"]]
    assert found == [7, "07", "7.0", "7e0", -7, "-0", "true", "99999999999999999999", " 7"]


def test_a_text_that_looks_like_a_number_is_a_text(budget_cli: Run, tmp_path: Path) -> None:
    """Two equal answers, which check finds by their texts."""
    path = write(tmp_path / "a.csv", "prompt_id,reward,response_text\n" + "p,1,42\np,0,42\n" * 2)
    findings = json.loads(budget_cli("check", path, "--text", "-f", "json").stdout)["findings"]
    assert any(one["code"] in ("identical-responses", "text-with-two-rewards") for one in findings), findings


def test_other_names_and_presets_apply(loss_json: LossJson, budget_cli: Run, tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "uid,input,output,score\nu,i,o,1\nu,i,o,0\n")
    done = budget_cli("loss", path, *REWARDS, "-f", "json")
    assert json.loads(done.stdout)["loss"] == 0.25
    assert b"reading as verl-uid: prompt_id" in done.stderr
    path = write(tmp_path / "b.csv", "task name,points\nt,1\nt,0\n")
    named = ("--field", "prompt_id=task name", "--field", "reward=points")
    assert loss_json(path, *REWARDS, *named)["loss"] == 0.25
    path = write(tmp_path / "c.csv", "points\n1\n0\n0\n0\n")
    answer = loss_json(path, *REWARDS, "--field", "reward=points", "--group-size", "2")
    assert (answer["prompts"], answer["loss"]) == (2, 0.125)


# ---- what is wrong with a row


BAD = [
    ("p,1,5\n", "unequal-lengths", "3: 3 cells, but the header names 2 columns"),
    ("p\n", "unequal-lengths", "3: 1 cell, but the header names 2 columns"),
    ("prompt_id,reward\n", "not-json", "3: the header again, where a record is expected: files were joined"),
    ("p,\0\n", "nul-bytes", "3: a NUL byte, as left by an interrupted write"),
    ('"p"x,1\n', "not-json", "3: more text after the quote that ends a cell: a quote within quotes is written twice"),
    ('p,"1\np,1\n', "not-json", "3: a quote opens here and is not closed in the 2 lines after this one"),
]


@pytest.mark.parametrize(("row", "code", "message"), BAD)
def test_a_bad_row_is_rejected_with_its_line(
    budget_cli: Run, tmp_path: Path, row: str, code: str, message: str
) -> None:
    path = write(tmp_path / "a.csv", f"prompt_id,reward\np,1\n{row}p,0\n")
    answer = json.loads(budget_cli("loss", path, *REWARDS, "-f", "json").stdout)
    (rejection,) = answer["rejections"]
    assert (rejection["code"], f"{rejection['line']}: {rejection['message']}") == (
        code,
        rejection["message"] and message,
    )
    assert answer["records"]["used"] == (1 if "is not closed" in message else 2)
    assert f"a.csv:{message[:2]} " in budget_cli("loss", path, *REWARDS).stdout.decode()


def test_bytes_that_are_not_utf8_are_rejected_with_their_line(budget_cli: Run, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b'prompt_id,reward\n"a\nb",1\n\n\xe9,1\np,x\n')
    answer = json.loads(budget_cli("loss", tmp_path / "a.csv", *REWARDS, "-f", "json").stdout)
    assert [(one["line"], one["code"]) for one in answer["rejections"]] == [(5, "invalid-utf8"), (6, "wrong-type")]
    assert answer["records"] == {**answer["records"], "read": 3, "used": 1, "rejected": 2, "blank": 1}


@pytest.mark.parametrize("tail", ["p", 'p,"0', "p,1,"])
def test_a_last_row_that_is_cut_off_is_a_cut_off_tail(budget_cli: Run, tmp_path: Path, tail: str) -> None:
    path = write(tmp_path / "a.csv", f"prompt_id,reward,n\np,1,2\np,0,3\n{tail}")
    answer = json.loads(budget_cli("loss", path, *REWARDS, "-f", "json").stdout)
    if tail == "p,1,":  # a whole row, whose last cell is empty
        assert answer["records"]["used"] == 3
        return
    assert [one["code"] for one in answer["rejections"]] == ["truncated-tail"]
    assert budget_cli("loss", path, *REWARDS, "--allow-truncated-tail").returncode == 0


HEADERS = [
    ("p0,1.0\np0,0.0\n", "no header: expected the names of the columns on line 1, found p0,1.0"),
    ("prompt_id,reward,reward\np,1,0\n", "the header names the column 'reward' twice"),
    ("prompt_id;reward\np;1\n", "columns with semicolons between them, expected commas or tabs: prompt_id;reward"),
    ("prompt_id,reward\rp,1\rp,0\r", "line 1, which should name the columns: a carriage return that ends no line"),
    ('prompt_id,"reward\np,1\n', "line 1, which should name the columns: a quote opens here and is not closed"),
]


@pytest.mark.parametrize(("text", "message"), HEADERS)
def test_a_header_that_names_no_columns_is_one_line(budget_cli: Run, tmp_path: Path, text: str, message: str) -> None:
    done = budget_cli("loss", write(tmp_path / "a.csv", text), *REWARDS)
    assert (done.returncode, done.stdout) == (3, b"")
    (line,) = done.stderr.decode().splitlines()
    assert f"a.csv: {message}" in line


def test_rows_in_utf16_are_called_that(budget_cli: Run, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("prompt_id,reward\np,1\n".encode("utf-16"))
    done = budget_cli("loss", "a.csv", *REWARDS, cwd=tmp_path)
    assert done.returncode == 3
    assert done.stderr.decode() == (
        "budget-cli: a.csv: this is UTF-16, expected UTF-8: try `iconv -f UTF-16 -t UTF-8 a.csv`\n"
    )


def test_a_file_without_rows_is_empty(budget_cli: Run, tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "prompt_id,reward\n")
    assert budget_cli("loss", path, *REWARDS).returncode == 1
    assert budget_cli("loss", path, *REWARDS, "--allow-empty").returncode == 0
    assert b"no records" in budget_cli("fields", path).stderr


def test_a_line_that_is_too_long_ends_the_file(budget_cli: Run, tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "prompt_id,reward\np,1\n" + "x" * (3 << 20))
    done = budget_cli("loss", path, *REWARDS, "--max-line-bytes", "1000000")
    assert done.returncode == 3
    assert "a line of more than 1,000,000 bytes (--max-line-bytes)" in done.stderr.decode()


@pytest.mark.parametrize(
    "text", ['{"a": 1}\n', "[1, 2]\n", "hello, world\n", "1,2\n3,4\n", "a\nb\n", "INFO, x\nINFO, y\n"]
)
def test_what_only_has_commas_is_not_taken_for_rows(budget_cli: Run, tmp_path: Path, text: str) -> None:
    path = write(tmp_path / "a.jsonl", text)
    found = budget_cli("loss", path, *REWARDS)
    assert b"header" not in found.stdout + found.stderr


def test_rows_of_many_blocks_keep_their_lines(loss_json: LossJson, budget_cli: Run, tmp_path: Path) -> None:
    rows = [f'p{i // 4},{i % 2},"{"x" * 100}\n{i}"\n' for i in range(30_000)]
    rows[25_000] = "p,high,x\n"
    path = write(tmp_path / "a.csv", "prompt_id,reward,text\n" + "".join(rows))
    for jobs in ("1", "3"):
        answer = json.loads(budget_cli("loss", path, *REWARDS, "-f", "json", "--jobs", jobs).stdout)
        assert [one["line"] for one in answer["rejections"]] == [2 + 2 * 25_000]
        assert (answer["records"]["used"], answer["prompts"]) == (29_999, 7_500)


def test_a_list_in_a_cell_is_read_by_an_expression(loss_json: LossJson, tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'task,scores,usage.tokens\nt,"[1, 0]",7\n')
    named = ("--field", "prompt_id=task", "--field", "rewards=from_json(scores)")
    assert loss_json(path, *REWARDS, *named)["loss"] == 0.25
    path = write(tmp_path / "b.csv", "prompt_id,reward,usage.tokens\nt,1,7\nt,0,9\n")
    answer = loss_json(path, "-B", "8", "--kl-coef", "0", "--field", r"response_length=usage\.tokens")
    assert answer["length"]["max"] == 9
