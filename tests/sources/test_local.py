"""If this fails, a file is skipped, read twice or read in part silently, or the wrong bytes are read for it."""

import bz2
import gzip
import lzma
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from budget_cli.errors import InputProblem, UsageProblem
from budget_cli.records import jsonl
from budget_cli.records.jsonl import Limits
from budget_cli.schema.fields import Fields
from budget_cli.sources import blocks, compression
from budget_cli.sources import local as sources
from budget_cli.sources.folders import natural_order

GOOD = b'{"prompt_id": "p", "reward": 1.0, "log_prob": -1, "old_log_prob": -2, "response_length": 3}\n'


@pytest.fixture(autouse=True)
def _in_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def made(name: str, data: bytes = GOOD) -> str:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return name


def names(*paths: str) -> list[str]:
    return [source.name for source in sources.find(paths)]


def problem_of(*paths: str) -> str:
    with pytest.raises((InputProblem, UsageProblem)) as raised:
        sources.find(paths)
    return str(raised.value)


def content(name: str) -> bytes:
    (source,) = sources.find([name])
    return b"".join(sources.pieces(source))


# ---- which files


def test_a_directory_stands_for_its_dumps_in_natural_order() -> None:
    for name in ("10.jsonl", "2.jsonl.gz", "1.jsonl", "x.json", "notes.txt", "step_9b.jsonl.xz", "step_10a.jsonl"):
        made(f"d/{name}", b"")
    expected = ["1.jsonl", "2.jsonl.gz", "10.jsonl", "step_9b.jsonl.xz", "step_10a.jsonl"]
    assert names("d") == names("d/") == [f"d/{name}" for name in expected]
    assert names("d/10.jsonl", "d/1.jsonl") == ["d/10.jsonl", "d/1.jsonl"]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: os.symlink("/mnt/gone/2.jsonl", path), "a link to /mnt/gone/2.jsonl, which does not exist"),
        (lambda path: os.symlink(os.path.basename(path), path), "cannot be read: Too many levels of symbolic links"),
        (
            os.mkfifo,
            "a pipe, a socket or a device where d should hold a file: rename it, or give the files by name",
        ),
    ],
)
@pytest.mark.parametrize("name", ["2.jsonl", "2.jsonl.gz", "2.parquet"])
def test_what_a_directory_holds_in_place_of_a_file_is_refused(
    make: Callable[[str], None], says: str, name: str
) -> None:
    made(f"d/1.{name.split('.')[1]}", b"PAR1" if name.endswith("parquet") else GOOD)
    make(f"d/{name}")
    assert problem_of("d").startswith(f"d/{name}: {says}")


def test_a_directory_stands_for_its_parquet_where_that_is_what_it_holds() -> None:
    for name in ("completions_00010.parquet", "completions_00009.parquet"):
        made(f"completions/{name}", b"PAR1")
    assert names("completions") == [f"completions/completions_{step}.parquet" for step in ("00009", "00010")]


def test_a_name_may_mix_digits_and_text_anywhere() -> None:
    assert sorted(["a10b", "a9", "9a", "a", "10", "a٣"], key=natural_order)[:2] == ["9a", "10"]


def test_a_missing_file_comes_with_the_likely_one() -> None:
    made("rollouts/1.jsonl")
    made("notes.txt")
    assert problem_of("rolouts") == "rolouts: no such file or directory (did you mean rollouts/?)"
    assert problem_of("rollouts/1.jsnl") == (
        "rollouts/1.jsnl: no such file or directory (did you mean rollouts/1.jsonl?)"
    )
    assert problem_of("zzzzzzzz") == "zzzzzzzz: no such file or directory"
    assert problem_of("nowhere/1.jsonl") == "nowhere/1.jsonl: no such file or directory"
    assert problem_of("notes.txt/1.jsonl") == "notes.txt/1.jsonl: no such file or directory"
    assert problem_of("") == ": no such file or directory"
    assert problem_of("a" * 300) == f"{'a' * 300}: cannot be read: File name too long"


def test_the_same_file_twice_is_refused_whatever_its_name() -> None:
    made("d/1.jsonl")
    os.symlink("d/1.jsonl", "link.jsonl")
    os.link("d/1.jsonl", "hard.jsonl")
    for other in ("d/1.jsonl", "./d/../d/1.jsonl", "link.jsonl", "hard.jsonl", "d"):
        assert problem_of("d/1.jsonl", other).endswith(": the same file as d/1.jsonl; give it once")
    assert problem_of("-", "-") == "<stdin>: the same file as <stdin>; give it once"


def test_two_files_of_the_same_content_are_two_files() -> None:
    assert names(made("a.jsonl"), made("b.jsonl")) == ["a.jsonl", "b.jsonl"]


# ---- what is in them

CODECS = {"gzip": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("suffix", ["jsonl", "jsonl.gz", "bz2", "xz", "jsonl.zst"])
def test_compression_is_recognized_by_the_first_bytes_whatever_the_name(codec: str, suffix: str) -> None:
    name = made(f"a.{suffix}", CODECS[codec](GOOD * 3))
    (source,) = sources.find([name])
    assert not source.in_ranges
    assert content(name) == GOOD * 3


def test_a_plain_file_named_like_a_packed_one_is_plain() -> None:
    name = made("a.jsonl.gz")
    assert sources.find([name])[0].in_ranges
    assert content(name) == GOOD


@pytest.mark.parametrize("data", [b"", b"\x1f", b"B", b"\xfd7zXZ", b"\n"])
def test_a_file_shorter_than_magic_bytes_is_plain(data: bytes) -> None:
    assert sources.find([made("a", data)])[0].in_ranges
    assert content("a") == data


def decoded(data: bytes, name: str = "x.jsonl") -> jsonl.Decoded:
    (block,) = blocks.cut(name, [data], 1 << 20)
    return jsonl.decode(block, Fields(), Limits())


@pytest.mark.parametrize(
    ("data", "found", "remedy"),
    [
        (GOOD.decode().encode("utf-16"), "UTF-16", "iconv -f UTF-16 -t UTF-8"),
        (b"\xfe\xff" + GOOD.decode().encode("utf-16-be"), "UTF-16", "iconv -f UTF-16 -t UTF-8"),
        (GOOD.decode().encode("utf-32"), "UTF-32", "iconv -f UTF-32 -t UTF-8"),
        (b"\0\0\xfe\xff" + GOOD.decode().encode("utf-32-be"), "UTF-32", "iconv -f UTF-32 -t UTF-8"),
        (b"[\n" + GOOD + b"]\n", "a JSON document, where JSON lines are expected", "read it by itself"),
        (b"\n\r\n  [" + GOOD, "a JSON document, where JSON lines are expected", "read it by itself"),
        (b"\xef\xbb\xbf[]", "a JSON document, where JSON lines are expected", "read it by itself"),
        (b'{\n"prompt_id": 1\n}\n', "a JSON document, where JSON lines are expected", "read it by itself"),
        (b"<!DOCTYPE html>\n<title>404</title>", "an HTML page", "download it again"),
        (b"2026-01-01 12:00:01 INFO start\n", "a log, not a dump", "'2026-01-01 12:00:01 INFO start'"),
    ],
)
def test_input_that_is_not_json_lines_is_one_clear_error(data: bytes, found: str, remedy: str) -> None:
    with pytest.raises(InputProblem) as raised:
        decoded(data)
    assert str(raised.value).startswith("x.jsonl: ")
    assert found in str(raised.value)
    assert remedy in str(raised.value)


def test_one_utf8_bom_at_the_start_is_no_part_of_the_first_line() -> None:
    assert decoded(b"\xef\xbb\xbf" + GOOD).tally.used == 1
    twice = decoded(b"\xef\xbb\xbf\xef\xbb\xbf" + GOOD)
    assert (twice.tally.used, twice.tally.rejected) == (0, 1)
    later = decoded(GOOD + b"\xef\xbb\xbf" + GOOD)
    assert [(r.line, r.code) for r in later.rejections] == [(2, "not-json")]


@pytest.mark.parametrize("data", [b"hello [\n" + GOOD, GOOD + b"[]\n", b"{}\n[\n" + GOOD])
def test_a_bracket_further_down_is_only_a_bad_record(data: bytes) -> None:
    assert decoded(data).tally.used == 1


# ---- what changes while it is read


def test_a_file_replaced_while_being_read_is_a_problem() -> None:
    name = made("a.gz", gzip.compress(GOOD))
    (source,) = sources.find([name])
    reading = sources.pieces(source)
    assert next(reading) == GOOD
    os.replace(made("b.gz", gzip.compress(GOOD * 2)), name)
    with pytest.raises(InputProblem, match="was replaced by another file while being read"):
        next(reading)


def test_a_file_removed_while_being_read_is_a_problem() -> None:
    name = made("a.gz", gzip.compress(GOOD))
    (source,) = sources.find([name])
    reading = sources.pieces(source)
    assert next(reading) == GOOD
    os.remove(name)
    with pytest.raises(InputProblem, match="was removed while being read"):
        next(reading)
    with pytest.raises(InputProblem, match="cannot be read: No such file or directory"):
        next(sources.pieces(source))


def test_a_file_truncated_while_being_read_is_a_problem() -> None:
    name = made("a.gz", gzip.compress(GOOD * 5) + b"\0" * 100)
    (source,) = sources.find([name])
    os.truncate(name, os.path.getsize(name) - 50)
    reading = sources.pieces(source)
    assert next(reading) == GOOD * 5
    with pytest.raises(InputProblem, match="became shorter while being read: "):
        next(reading)


@pytest.mark.parametrize("more", [b"", GOOD])
def test_a_file_rewritten_in_place_while_being_read_is_a_problem(more: bytes) -> None:
    for name in (made("a.jsonl", GOOD * 5), made("a.gz", gzip.compress(GOOD * 5))):
        (source,) = sources.find([name])
        reading = sources.pieces(source)
        assert next(reading) == GOOD * 5
        with open(name, "r+b") as file:
            file.write(b"x" * os.path.getsize(name) + more)
        os.utime(name, ns=(0, source.changed_at + 1))  # two writes may fall into one tick of the clock
        with pytest.raises(InputProblem, match="was rewritten while being read: run again when nothing writes to it"):
            next(reading)


def test_a_file_rewritten_with_its_last_byte_is_no_growth() -> None:
    made("a.jsonl", GOOD)
    (source,) = sources.find(["a.jsonl"])
    os.utime("a.jsonl", ns=(0, source.changed_at + 1))
    with pytest.raises(InputProblem, match="was rewritten while being read"):
        sources.require_unchanged(source)


def test_bytes_that_a_file_grows_by_are_counted_but_not_read() -> None:
    for name in (made("a.jsonl"), made("a.gz", gzip.compress(GOOD))):
        (source,) = sources.find([name])
        assert sources.growth(source) == 0
        with open(name, "ab") as file:
            file.write(b"more\n")
        assert b"".join(sources.pieces(source)) == GOOD
        assert sources.growth(source) == 5


@pytest.mark.parametrize("size", [1, 3, 1 << 20])
def test_pieces_may_be_of_any_size(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "PIECE_BYTES", size)
    assert compression.MAGIC_BYTES > 3
    assert content(made("a.jsonl", GOOD * 2)) == GOOD * 2
    assert content(made("a.bz2", bz2.compress(GOOD * 2))) == GOOD * 2
