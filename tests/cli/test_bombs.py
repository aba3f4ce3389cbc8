"""If this fails, a dump that was made to do harm takes the memory, the time or the result of a run."""

import re
from pathlib import Path

import pytest
from command import Run
from samples import GOOD, lines

from budget_cli.cli import session
from budget_cli.records.columns import RejectionLimit
from budget_cli.rendering import text

OK = lines([GOOD])
DEEP = 300_000  # calls within each other, of which each takes more than 28 bytes of a stack of 8 MiB


def test_a_list_of_all_rejected_records_has_an_end(
    budget_cli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text, "LISTED", RejectionLimit(12))
    monkeypatch.setattr(session, "LISTED", RejectionLimit(12))
    (tmp_path / "a.jsonl").write_bytes(b"{}\n" * 30 + OK)
    command = ("loss", "a.jsonl", "-B", "9", "--max-errors", "99%")
    for form, shown in (("table", lambda done: done.stdout), ("json", lambda done: done.stderr)):
        few = shown(budget_cli(*command, "-f", form, cwd=tmp_path)).decode()
        assert few.count("prompt_id: missing") == 10
        assert re.search(r"and 20 more( rejected records)? \(-v shows 12\)\n", few)
        many = shown(budget_cli(*command, "-f", form, "-v", cwd=tmp_path)).decode()
        assert many.count("prompt_id: missing") == 12
        assert re.search(r"and 18 more( rejected records)?\n", many)


def test_keys_of_any_length_make_no_message_of_that_length(budget_cli: Run, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"%b": 1}\n{"%b": NaN}\n' % (b"x" * 100_000, b"y" * 100_000) + OK)
    done = budget_cli("loss", "a.jsonl", "-B", "9", "--max-errors", "99%", "-f", "json", cwd=tmp_path)
    assert len(done.stdout) < 10_000


@pytest.mark.exhaustive
@pytest.mark.parametrize("key", ["x", "prompt_text", "response_text", "prompt_id", "step"])
@pytest.mark.parametrize("begin", ["[", '{"a":', '[{"content":'])
def test_a_value_as_deep_as_a_line_may_have_is_no_bug(budget_cli: Run, tmp_path: Path, key: str, begin: str) -> None:
    depth = 1000 // begin.count("[") // (begin.count("{") + 1) if begin != '{"a":' else 1000
    end = begin.translate(str.maketrans("[{", "]}", 'a":content'))[::-1]
    record = OK.decode().strip().removesuffix("}") + f',"{key}":{begin * depth}1{end * depth}}}'
    (tmp_path / "a.jsonl").write_text(f"{record}\n{record}\n")
    for command in (
        ["check", "--text", "--duplicate-keys"],
        ["loss", "--field", f"prompt_id=digest({key})"],
        ["loss", "--by", key],
        ["fields"],
        ["fields", "-f", "json"],
    ):
        budget = [] if command[0] == "fields" else ["-B", "9"]
        done = budget_cli(command[0], "a.jsonl", *command[1:], *budget, cwd=tmp_path)
        assert done.returncode in (0, 1, 2), done.stderr.decode()
        assert b"Traceback" not in done.stderr


@pytest.mark.exhaustive
@pytest.mark.parametrize("begin", [b"[", b'{"a":', b'[{"a":'])
@pytest.mark.parametrize("closed", [True, False])
def test_a_document_nested_deeper_than_any_stack_is_refused(
    budget_cli: Run, tmp_path: Path, begin: bytes, closed: bool
) -> None:
    end = begin.translate(bytes.maketrans(b"[{", b"]}"), b'a":')[::-1]
    (tmp_path / "a.json").write_bytes(begin * DEEP + (b"1" + end * DEEP) * closed)
    for command in (
        ["loss", "-B", "9"],
        ["check", "-B", "9", "--text", "--duplicate-keys"],
        ["fields"],
        ["annotate", "-B", "9"],
    ):
        done = budget_cli(command[0], "a.json", *command[1:], cwd=tmp_path)
        assert done.returncode in (1, 2, 3), done.stderr.decode()
        assert b"Traceback" not in done.stderr
        assert len(done.stderr) < 2000
