"""If this fails, `fields` does not explain why nothing can be read from a file."""

import gzip
from pathlib import Path

import pytest
from command import Run

RECORD = b'{"prompt_id": "p", "reward": 1, "log_prob": -1, "old_log_prob": -2, "response_length": 3}\n'
NOTHING = "no records: these files are empty or blank"


@pytest.mark.parametrize(
    ("name", "content", "status", "message"),
    [
        ("utf16.jsonl", RECORD.decode().encode("utf-16"), 1, "{}:1:1: byte 0xff is not UTF-8"),
        ("log.jsonl", b"\n\nsaved 8 rollouts\n", 1, "{}:3:1: not JSON: unexpected character"),
        ("empty.jsonl", b"", 1, NOTHING),
        ("blank.jsonl", b"\n \n", 1, NOTHING),
        ("cut.jsonl.gz", gzip.compress(RECORD, mtime=0)[:20], 3, "{}: the gzip data is cut off: the data before that"),
        ("cut.parquet", b"PAR1", 3, "{}: "),
    ],
)
def test_the_reason_why_a_file_has_no_records_is_reported(
    budget_cli: Run, tmp_path: Path, name: str, content: bytes, status: int, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    done = budget_cli("fields", path)
    assert done.returncode == status
    assert done.stderr.decode().startswith(f"budget-cli: {message.format(path)}")


def test_the_canonical_names_can_be_given_as_a_preset(budget_cli: Run, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(RECORD)
    for command in (("fields",), ("loss", "-B", "2"), ("check", "-B", "2")):
        done = budget_cli(*command, path, "--preset", "canonical")
        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout == budget_cli(*command, path).stdout
