"""If this fails, `fields` does not explain why nothing can be read from a file."""

import gzip
import inspect
from pathlib import Path

import pytest
from command import Run
from word_counter import write_tokenizer

from budget_cli.cli.bundles import FieldOptions

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
        alone = budget_cli(*command, path).stdout
        assert done.stdout.replace(b" --preset canonical", b"") == alone  # in the command that shows a finding


RECORDS = b'{"prompt_id": "p", "reward": 1, "score": 2, "scores": [3], "response_text": "one two", "why": "stop"}\n' * 2
OWN = b'[own]\nsource = "ours"\ndetect = ["why"]\nprompt_id = "prompt_id"\nreward = "score"\n'
# option: how it is given, and what is then on the screen that is not there without
OPTIONS: dict[str, tuple[tuple[str, ...], str]] = {
    "field": (("--field", "reward=score"), "reward           ← score   2   e.g. 2\n"),
    "reward_weights": (("--reward-weights", "score=2"), "reward           ← nandot([score], `[2.0]`)   2   e.g. 4.0\n"),
    "group": (("--group", "line"), "prompt_id        ← each line   2\n"),
    "group_size": (("--group-size", "2"), "prompt_id        ← each 2 lines   2\n"),
    "ids_per_file": (("--ids-per-file",), ""),  # takes a warning away
    "records": (("--records", "inside[]"), "--records inside[]: inside[]: missing: expected a list"),
    "preset": (("--preset", "trl"), "preset trl "),
    "presets": (("--presets", "own.toml", "--preset", "own"), "preset own "),
    "where": (("--where", "score > `5`"), "left out         where: !(score > `5`)   2\n"),
    "keep": (("--keep", "failed"), "--keep failed: no sample is left out for this reason; the preset in use leaves"),
    "ignore_unneeded": (("--ignore-unneeded",), "--ignore-unneeded: fields rejects no record: leave it out here"),
    "tokenizer": (("--tokenizer", "words.json"), "response_length  ← tokens of response_text   2\n"),
}
MORE: dict[str, tuple[tuple[str, ...], str]] = {
    "an array": (("--field", "rewards=scores"), "reward           ← scores   2   e.g. [3] (1 in all)\n"),
    "an array that is not there": (("--field", "rewards=none"), "reward           ← ?  not in these records\n"),
    "an optional field": (("--field", "finish_reason=why"), "finish_reason    ← why   2   e.g. stop\n"),
    "one that is not there": (("--field", "advantage=none"), "advantage        ← ?  not in these records\n"),
    "ids over steps": (("--group", "prompt"), ""),  # takes a warning away
    "groups of files": (("--group", "file"), "prompt_id        ← each file   2\n"),
}


def test_every_option_for_fields_has_a_row_above() -> None:
    assert list(OPTIONS) == list(inspect.get_annotations(FieldOptions))


@pytest.mark.parametrize("name", OPTIONS | MORE)
def test_an_option_shows_in_the_inventory_or_is_refused(budget_cli: Run, tmp_path: Path, name: str) -> None:
    option, shown = (OPTIONS | MORE)[name]
    if name == "tokenizer":
        pytest.importorskip("tokenizers")
        write_tokenizer(tmp_path / "words.json")
    for file in ("1.jsonl", "2.jsonl"):
        (tmp_path / file).write_bytes(RECORDS)
    (tmp_path / "own.toml").write_bytes(OWN)
    without = budget_cli("fields", "1.jsonl", "2.jsonl", cwd=tmp_path).stdout.decode()
    done = budget_cli("fields", "1.jsonl", "2.jsonl", *option, cwd=tmp_path)
    found = (done.stdout + done.stderr).decode()
    assert shown in found
    assert shown not in without if shown else found != without
    assert (done.returncode == 2) is found.startswith("budget-cli: --")


def test_an_option_of_the_settings_that_does_not_concern_fields_is_not_refused(budget_cli: Run, tmp_path: Path) -> None:
    (tmp_path / "1.jsonl").write_bytes(RECORD)
    (tmp_path / "budget-cli.toml").write_text("ignore-unneeded = true\n")
    assert budget_cli("fields", "1.jsonl", cwd=tmp_path).returncode == 0
