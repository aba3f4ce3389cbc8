"""If this fails, Parquet elsewhere gives other numbers than here, or is fetched whole for a few of its columns."""

import io
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from command import run
from pyarrow.parquet import ParquetFile, write_table

from budget_cli.errors import InputProblem
from budget_cli.groups.moments import Layout
from budget_cli.records import parquet
from budget_cli.records.jsonl import Limits
from budget_cli.scanning.plan import scan_plan
from budget_cli.scanning.scan import scan
from budget_cli.scanning.state import Scan
from budget_cli.schema.fields import Fields, parse_mappings
from budget_cli.sources import local as sources
from budget_cli.sources import remote, remote_file

fsspec = pytest.importorskip("fsspec")  # in the dev extra
OPTIONS = ("-B", "100", "-f", "json", "--precision", "17")
Asked = list[tuple[int, int]]


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Give an empty file system in memory."""
    monkeypatch.setattr(remote, "_ranges", remote._Ranges())
    monkeypatch.setattr(remote, "pause", lambda seconds: None)
    fs = fsspec.filesystem("memory")
    yield fs
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]
    parquet._opened.cache_clear()
    remote_file._end.cache_clear()


@pytest.fixture
def asked(memory: Any, monkeypatch: pytest.MonkeyPatch) -> Asked:
    """Record the ranges that are fetched."""
    ranges: Asked = []
    cat_file = type(memory).cat_file

    def recording(self: Any, path: str, start: int, end: int) -> bytes:
        ranges.append((start, end))
        return bytes(cat_file(self, path, start=start, end=end))

    monkeypatch.setattr(type(memory), "cat_file", recording)
    return ranges


def table(rows: int, text: int = 2000) -> pyarrow.Table:
    made = random.Random(1)
    return pyarrow.table(
        {
            "prompt_id": [f"p{i // 4}" for i in range(rows)],
            "prompt": [made.randbytes(text // 2).hex() for _ in range(rows)],
            "reward": [made.random() for _ in range(rows)],
            "completion": [made.randbytes(text // 2).hex() for _ in range(rows)],
            "log_prob": [[-made.random() for _ in range(5)] for _ in range(rows)],
            "old_log_prob": [[-made.random() for _ in range(5)] for _ in range(rows)],
            "response_length": [i % 200 for i in range(rows)],
        }
    )


def written(made: pyarrow.Table, **options: Any) -> bytes:
    buffer = io.BytesIO()
    write_table(made, buffer, compression="none", use_dictionary=False, **options)
    return buffer.getvalue()


def scanned(name: str, fields: Fields = Fields(), jobs: int = 1) -> Scan:  # noqa: B008
    return scan(sources.find([name]), scan_plan(fields, Layout((100,)), Limits()), jobs)


def facts(found: Scan) -> Any:
    return found.groups.table.tobytes(), list(found.groups.keys()), found.tally, found.problems


def stored(data: bytes, *without: str) -> int:
    """Return the bytes of all columns but these."""
    file = ParquetFile(io.BytesIO(data))
    return sum(
        file.metadata.row_group(i).column(j).total_compressed_size
        for i in range(file.num_row_groups)
        for j in range(file.metadata.num_columns)
        if file.schema.column(j).path.split(".")[0] not in without
    )


def fetched(asked: Asked) -> int:
    return sum(stop - start for start, stop in asked)


@pytest.mark.parametrize("jobs", [1, 3])
def test_only_the_end_and_the_columns_that_are_needed_are_fetched(
    memory: Any, asked: Asked, tmp_path: Path, jobs: int
) -> None:
    data = written(table(4000), row_group_size=1000)
    memory.pipe("/a.parquet", data)
    (tmp_path / "a.parquet").write_bytes(data)
    there = scanned("memory://a.parquet", jobs=jobs)
    assert facts(there) == facts(scanned(str(tmp_path / "a.parquet")))
    assert there.tally.used == 4000
    assert fetched(asked) <= stored(data, "prompt", "completion") + remote.HEAD_BYTES + jobs * remote_file.END_BYTES
    assert fetched(asked) < len(data) / 10
    assert len(asked) <= 1 + jobs + 4 * 5  # a column of a row group is one request


def test_the_command_gives_the_same_and_looks_at_the_first_rows_only(memory: Any, asked: Asked, tmp_path: Path) -> None:
    data = written(table(8000))
    memory.pipe("/run/a.parquet", data)
    (tmp_path / "a.parquet").write_bytes(data)
    for command in ("loss", "check", "fields", "sweep", "show"):
        asked.clear()
        options = ["-f", "json"] if command == "fields" else [*OPTIONS[:4]]
        here, there = run(command, tmp_path / "a.parquet", *options), run(command, "memory:///run/a.parquet", *options)
        name = str(tmp_path / "a.parquet").encode()
        assert there.returncode == here.returncode
        assert there.stdout == here.stdout.replace(name, b"memory:///run/a.parquet")
        assert there.stderr == here.stderr.replace(name, b"memory:///run/a.parquet")
        assert command == "show" or fetched(asked) < len(data) / 3  # which has the texts of the row groups


@pytest.mark.parametrize("held", [1 << 19, 1 << 20, 1 << 25])
@pytest.mark.parametrize("jobs", [1, 3])
def test_a_row_group_larger_than_what_may_be_held_is_fetched_once(
    memory: Any, asked: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: int, jobs: int
) -> None:
    monkeypatch.setattr(remote_file, "HELD_BYTES", held)
    monkeypatch.setattr(remote_file, "SMALLEST", 1 << 12)
    monkeypatch.setattr(parquet, "READ_BYTES", 1 << 13)
    monkeypatch.setattr(parquet, "BATCH_BYTES", 1 << 15)
    data = written(table(4000, text=400), data_page_size=1 << 13, write_batch_size=16)
    memory.pipe("/a.parquet", data)
    (tmp_path / "a.parquet").write_bytes(data)
    fields = Fields().with_places(parse_mappings(["prompt_id=digest([prompt, completion])"]))
    there = scanned("memory://a.parquet", fields, jobs)
    assert facts(there) == facts(scanned(str(tmp_path / "a.parquet"), fields))
    assert there.tally.used == 4000
    assert fetched(asked) <= stored(data, "prompt_id") + remote.HEAD_BYTES + remote_file.END_BYTES


def test_bytes_are_those_of_the_object_whatever_is_announced(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_file, "END_BYTES", 50)
    monkeypatch.setattr(remote_file, "GAP_BYTES", 10)
    monkeypatch.setattr(remote_file, "SMALLEST", 5)
    made = random.Random(2)
    data = made.randbytes(1000)
    memory.pipe("/a", data)
    (found,) = remote.find("memory://a")
    for held in (10, 100, 1000) * 20:
        monkeypatch.setattr(remote_file, "HELD_BYTES", held)
        file = remote_file.RemoteFile(found)
        for _ in range(5):
            file.expect((start, start + made.randrange(-10, 300)) for start in made.choices(range(1100), k=3))
            for _ in range(20):
                start, size = made.randrange(1010), made.choice([0, 1, 7, 100, -1])
                assert file.seek(start) == start
                assert file.read(size) == data[start : start + size if size >= 0 else None]
                assert file._held_bytes() <= file._most


def test_a_request_that_fails_is_tried_again_and_one_that_never_works_is_a_problem(
    memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.pipe("/a.parquet", written(table(200), row_group_size=100))
    cat_file, times = type(memory).cat_file, 0
    failures = 1

    def failing(self: Any, path: str, start: int, end: int) -> bytes:
        nonlocal times
        times += 1
        if times % 4 < failures:
            raise ConnectionResetError("secret")
        return bytes(cat_file(self, path, start=start, end=end))

    monkeypatch.setattr(type(memory), "cat_file", failing)
    found = scanned("memory://a.parquet")
    assert (found.tally.used, found.problems) == (200, [])
    (source,) = sources.find(["memory://a.parquet"])
    parquet._opened.cache_clear()
    remote_file._end.cache_clear()
    failures = 4
    found = scan([source], scan_plan(Fields(), Layout((100,)), Limits()), 1)
    assert list(map(str, found.problems)) == [
        "memory://a.parquet: the connection failed (ConnectionResetError), after 6 attempts"
    ]
    assert found.tally.read == 0


def test_an_object_that_is_replaced_while_it_is_read_is_a_problem(memory: Any) -> None:
    memory.pipe("/a.parquet", written(table(200)))
    (source,) = sources.find(["memory://a.parquet"])
    memory.pipe("/a.parquet", written(table(300)))
    found = scan([source], scan_plan(Fields(), Layout((100,)), Limits()), 1)
    (problem,) = map(str, found.problems)
    assert problem.startswith("memory://a.parquet: changed while being read: ")


def test_a_cut_off_object_is_a_problem(memory: Any) -> None:
    memory.pipe("/a.parquet", written(table(200))[:-100])
    (problem,) = scanned("memory://a.parquet").problems
    assert str(problem).startswith("memory://a.parquet: damaged or cut-off Parquet: none of it was read (")


def test_a_server_without_ranges_is_told_to_have_none() -> None:
    found = remote.Remote("https://host/a", "https://host/a", 1000, False, "", b"PAR1")
    with pytest.raises(InputProblem) as raised:
        sources._object(found)
    assert str(raised.value) == (
        "https://host/a: this is Parquet, which is read from its end, and this server gives no ranges: download it"
        " first"
    )
