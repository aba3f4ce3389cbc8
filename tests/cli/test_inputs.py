"""If this fails, the result depends on how records are supplied, or unreadable input passes."""

import bz2
import functools
import gzip
import json
import lzma
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command import LossJson, Run
from samples import GOOD, lines

from budget_cli import native
from budget_cli.cli import session
from budget_cli.sources import local


def test_a_dash_or_no_files_means_standard_input(budget_cli: Run, loss_json: LossJson, small: Path) -> None:
    arguments = ("loss", "-B", "1000", "-f", "json")
    plain = budget_cli(*arguments, small).stdout
    assert budget_cli(*arguments, stdin=small.read_bytes()).stdout == plain
    assert budget_cli(*arguments, "-", stdin=small.read_bytes()).stdout == plain
    damaged = loss_json("-B", "9", stdin=b"x\n", exits=1)
    assert damaged["rejections"][0]["source"] == "<stdin>"


@functools.cache
def packed_by(way: str, path: Path) -> bytes:
    data = path.read_bytes()
    if way.endswith("gz"):
        return gzip.compress(data, 1)
    return {"bz2": lambda: bz2.compress(data, 1), "xz": lambda: lzma.compress(data, preset=0)}.get(way, lambda: data)()


@pytest.mark.exhaustive
@pytest.mark.parametrize("way", ["gz", "bz2", "xz", "stdin.gz", "stdin"])
@pytest.mark.parametrize("jobs", ["1", "3"])
def test_the_result_does_not_depend_on_how_records_are_supplied(
    budget_cli: Run, large: Path, tmp_path: Path, way: str, jobs: str
) -> None:
    arguments = ("loss", "-B", "1000", "-f", "json", "--precision", "17")
    plain = budget_cli(*arguments, large)
    assert plain.returncode == 0
    packed = packed_by(way, large)
    if way.startswith("stdin"):
        done = budget_cli(*arguments, "--jobs", jobs, stdin=packed)
    else:
        path = tmp_path / "any.name"
        path.write_bytes(packed)
        done = budget_cli(*arguments, "--jobs", jobs, path)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout == plain.stdout


@pytest.mark.parametrize("dump", ["large", "large_damaged"])
def test_the_result_does_not_depend_on_the_number_of_workers(
    budget_cli: Run, dump: str, request: pytest.FixtureRequest
) -> None:
    path: Path = request.getfixturevalue(dump)
    arguments = ("loss", path, "-B", "1000", "-f", "json", "--per-prompt", "--precision", "17", "-v")
    alone = budget_cli(*arguments, "--jobs", "1")
    assert alone.returncode == (0 if dump == "large" else 1)
    assert len(json.loads(alone.stdout)["per_prompt"]) == 37
    for jobs in ("2", "3", "7"):
        done = budget_cli(*arguments, "--jobs", jobs)
        assert done.returncode == alone.returncode
        assert done.stdout == alone.stdout
        assert done.stderr == alone.stderr


def test_rejections_in_a_large_file_have_their_physical_line_numbers(loss_json: LossJson, large_damaged: Path) -> None:
    answer = loss_json(large_damaged, "-B", "1000", "-v", "--jobs", "2", exits=1)
    physical = large_damaged.read_bytes().split(b"\n")
    assert answer["records"]["rejected"] == len(answer["rejections"]) > 10
    assert answer["records"]["blank"] == sum(not line.strip() for line in physical)
    assert answer["records"]["read"] == sum(bool(line.strip()) for line in physical)
    assert answer["rejections"][-1]["code"] == "truncated-tail"
    assert answer["rejections"][-1]["line"] == len(physical)
    for rejection in answer["rejections"]:
        line = physical[rejection["line"] - 1]
        assert (rejection["code"] == "non-finite") == (b"NaN" in line)
        assert (rejection["code"] == "invalid-utf8") == (b"\xff" in line)
        assert (rejection["code"] == "nul-bytes") == line.startswith(b"\0")


def test_a_missing_file_is_named_and_a_similar_one_suggested(budget_cli: Run, tmp_path: Path, small: Path) -> None:
    (tmp_path / "rollouts").mkdir()
    done = budget_cli("loss", "rolouts/", "-B", "1024", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (3, b"")
    assert done.stderr.decode() == "budget-cli: rolouts/: no such file or directory (did you mean rollouts/?)\n"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "no such file or directory"),
        ("a" * 300, "cannot be read: File name too long"),
        ("empty", "no dump in this folder: expected files that end in .jsonl, .ndjson, "),
        ("object.jsonl", "a JSON document, an object without records in it: expected a list of objects"),
        ("utf16.jsonl", "this is UTF-16, expected UTF-8"),
        ("a.zst", "damaged zstd data"),
    ],
)
def test_unreadable_input_is_one_line_and_exit_3(budget_cli: Run, tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "object.jsonl").write_bytes(b'{\n"prompt_id": 1}\n')
    (tmp_path / "utf16.jsonl").write_bytes(lines([GOOD]).decode().encode("utf-16"))
    (tmp_path / "a.zst").write_bytes(b"\x28\xb5\x2f\xfd" + b"\xff" * 20)
    done = budget_cli("loss", name, "-B", "9", "-f", "json", cwd=tmp_path)
    assert done.returncode == 3
    assert message in done.stderr.decode()
    assert len([line for line in done.stderr.decode().splitlines() if not line.startswith("budget-cli: fail: ")]) == 1


@pytest.mark.parametrize("document", [[GOOD], {"run": 7, "samples": [GOOD]}], ids=["list", "object"])
def test_the_one_list_of_records_in_a_document_is_read(budget_cli: Run, tmp_path: Path, document: Any) -> None:
    (tmp_path / "a.json").write_text(json.dumps(document, indent=2), encoding="utf-8")
    done = budget_cli("loss", "a.json", "-B", "9", "-f", "json", cwd=tmp_path)
    assert (done.returncode, json.loads(done.stdout)["responses"]) == (0, 1)


@pytest.mark.parametrize("form", ["json", "table"])
def test_a_truncated_gzip_is_read_up_to_the_cut_but_never_passes(
    budget_cli: Run, tmp_path: Path, small: Path, form: str
) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(small.read_bytes())[:-9])
    done = budget_cli("loss", path, small, "-B", "9", "-f", form, "--allow-truncated-tail", "--max-errors", "9")
    assert done.returncode == 3
    assert "the gzip data is cut off" in done.stderr.decode() + done.stdout.decode()
    if form == "json":
        answer = json.loads(done.stdout)
        assert answer["status"] == "fail"
        assert 60 + 50 < answer["responses"] <= 60 + 60
        assert len(answer["incomplete"]) == 1
        assert answer["incomplete"][0].startswith(f"{path}: the gzip data is cut off")
    else:
        assert "\nfail " in done.stdout.decode()
        assert "\npass " not in done.stdout.decode()


CHANGES: list[tuple[Callable[[Path], object], int, str]] = [
    (lambda path: os.truncate(path, 300), 3, "became shorter while being read: "),
    (lambda path: path.with_name("other").rename(path), 3, "was replaced by another file while being read"),
    (lambda path: path.unlink(), 3, "cannot be read: No such file or directory"),
    (lambda path: path.write_bytes(path.read_bytes() + b"more"), 0, "grew by 4 bytes while being read; those were not"),
]


@pytest.mark.parametrize(("change", "exits", "message"), CHANGES)
@pytest.mark.parametrize("packed", [True, False])
def test_a_file_that_changes_while_it_is_read_never_passes_silently(
    budget_cli: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Path], object],
    exits: int,
    message: str,
    packed: bool,
) -> None:
    data = lines([GOOD] * 9)
    (tmp_path / "a").write_bytes(gzip.compress(data) + b"\0" * 300 if packed else data)
    (tmp_path / "other").write_bytes(data)
    find = local.find

    def find_and_change(names: list[str], *more: Any) -> list[local.Source]:
        found = find(names, *more)
        change(tmp_path / "a")
        return found

    monkeypatch.setattr(local, "find", find_and_change)
    done = budget_cli("loss", "a", "-B", "9", "-f", "json", cwd=tmp_path)
    assert done.returncode == exits
    assert f"budget-cli: a: {message}" in done.stderr.decode()
    answer = json.loads(done.stdout)
    assert answer["status"] == ("fail" if exits else "pass")
    assert len(answer["incomplete"]) == bool(exits)


@pytest.mark.parametrize("data", [b"\x80\x04\x95abc", b"\x80\x02}q"])
def test_a_pickle_is_refused_with_a_reason(budget_cli: Run, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.pkl").write_bytes(data)
    done = budget_cli("loss", "a.pkl", "-B", "9", "-f", "json", cwd=tmp_path)
    assert done.returncode == 3
    assert "a.pkl: a pickle: loading it would run any code inside it" in done.stderr.decode()


def test_reading_a_large_dump_without_the_compiled_reader_is_reported(
    budget_cli: Run, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = budget_cli("loss", small, "-B", "9", "-f", "json")
    monkeypatch.setattr(session, "WORTH_A_COMPILER", 1)
    monkeypatch.setattr(native, "AVAILABLE", False)
    done = budget_cli("loss", small, "-B", "9", "-f", "json")
    assert done.returncode == 0
    assert done.stderr.decode() == (
        "budget-cli: read without the compiled reader, which is many times faster: budget-cli was installed without a C"
        " compiler\n"
    )
    assert done.stdout == compiled.stdout


def test_what_a_large_dump_leaves_to_python_is_said_once_with_its_price(
    budget_cli: Run, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "WORTH_A_COMPILER", 1)
    mappings = ("--field", "reward=max([reward, `0`])", "--where", "type(reward) == 'number'")
    done = budget_cli("loss", small, "-B", "9", "-f", "json", *mappings)
    assert (done.returncode, done.stderr.decode()) == (
        0,
        "budget-cli: computed in Python, about 5 µs for each record and place, as the compiled reader does not know all"
        " of it: reward=max([reward, `0`]), where=type(reward) == 'number'\n",
    )
    known = ("--field", "reward=total(reward)", "--where", "reward >= `0`")
    assert budget_cli("loss", small, "-B", "9", "-f", "json", *known).stderr == b""


def test_the_summary_beside_the_episodes_of_rllm_is_named_and_not_read(budget_cli: Run) -> None:
    step = Path(__file__).parent.parent / "trainer" / "rllm_step"
    free = ("--beta", "0", "--kl-coef", "0")
    done = budget_cli("loss", step, *free, "-f", "json")
    assert (done.returncode, json.loads(done.stdout)["records"]["read"]) == (0, 4)
    said = done.stderr.decode().splitlines()
    assert said[0] == f"budget-cli: {step}: not read: batch_summary.json (rllm's summary of the episodes beside it)"
    assert "batch_summary" not in budget_cli("loss", step, *free, "-q").stderr.decode()
