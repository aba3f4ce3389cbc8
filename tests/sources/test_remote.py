"""If this fails, a message contains a key, a truncated response passes for a whole one, or retries never end.

No server is needed: objects are in the memory file system of fsspec. tests/scale has servers.
"""

import gzip
import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from budget_cli.errors import InputProblem, OutputProblem, UsageProblem
from budget_cli.sources import blocks, remote
from budget_cli.sources import local as sources
from budget_cli.sources.extras import install
from budget_cli.sources.remote import redacted

fsspec = pytest.importorskip("fsspec")  # in the dev extra


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Record the pauses instead of waiting."""
    waited: list[float] = []
    monkeypatch.setattr(remote, "pause", waited.append)
    return waited


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Give an empty file system in memory."""
    monkeypatch.setattr(remote, "_ranges", remote._Ranges())
    fs = fsspec.filesystem("memory")
    yield fs
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]


def content(url: str) -> bytes:
    (source,) = sources.find([url])
    return b"".join(sources.pieces(source))


# ---- names and messages


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://host/a.jsonl", "https://host/a.jsonl"),
        ("https://host:8080/a.jsonl", "https://host:8080/a.jsonl"),
        ("https://user:secret@host/a.jsonl", "https://…@host/a.jsonl"),
        ("https://user@host:80/a.jsonl", "https://…@host:80/a.jsonl"),
        ("https://user:se/cret@host/a.jsonl", "https://…"),
        ("https://user:p@secret@host/a.jsonl", "https://…@host/a.jsonl"),
        ("HTTPS://host/a?X-Amz-Credential=secret&X-Amz-Signature=secret", "HTTPS://host/a?…"),
        ("https://host/a?sig=secret#secret", "https://host/a?…"),
        ("http://[::1]:80/a", "http://[::1]:80/a"),
        ("s3://bucket/run@2/a?.jsonl", "s3://bucket/run@2/a?.jsonl"),
        ("s3://key:secret@bucket/a", "s3://…@bucket/a"),
        ("memory:///key:secret@bucket/a", "memory:///…@bucket/a"),
        ("s3://bucket/a?X-Amz-Signature=secret&part=1&Token=secret", "s3://bucket/a?X-Amz-Signature=…&part=1&Token=…"),
        ("hf://datasets/someone/dump@main/a.jsonl", "hf://datasets/someone/dump@main/a.jsonl"),
    ],
)
def test_a_redacted_url_contains_no_secret(url: str, name: str) -> None:
    assert redacted(url) == name
    assert "secret" not in name


def test_a_server_that_is_asked_at_once_and_does_not_answer_is_one_line() -> None:
    with pytest.raises(InputProblem, match=re.escape("ftp://127.0.0.1:1/x: the connection failed (ConnectionRefusedE")):
        sources.find(["ftp://127.0.0.1:1/x"])


class Answered(Exception):
    def __init__(self, status: int) -> None:
        super().__init__("GET https://host/a?X-Amz-Signature=secret")
        self.status = status


def of_boto(status: int) -> OSError:
    error = OSError(5, "The key secret that you gave")
    error.__cause__ = Exception("secret")
    error.__cause__.response = {"ResponseMetadata": {"HTTPStatusCode": status}}  # type: ignore[attr-defined]
    return error


class NoCredentialsError(Exception):
    pass


@pytest.mark.parametrize(
    ("error", "says", "again"),
    [
        (FileNotFoundError("secret"), "no such object", False),
        (Answered(404), "no such object", False),
        (PermissionError("secret"), "access denied: these credentials do not permit this", False),
        (Answered(403), "access denied (HTTP 403): these credentials do not permit this", False),
        (NoCredentialsError("secret"), "no credentials were found", False),
        (Answered(416), "the server responded with HTTP 416", False),
        (Answered(429), "the server responded with HTTP 429", True),
        (Answered(500), "the server responded with HTTP 500", True),
        (of_boto(503), "the server responded with HTTP 503", True),
        (TimeoutError("secret"), f"no response within {remote.TIMEOUT:g} s", True),
        (ConnectionResetError("secret"), "the connection failed (ConnectionResetError)", True),
        (ValueError("secret"), "the storage does not support this (ValueError)", False),
    ],
)
def test_a_message_says_what_went_wrong_in_its_own_words(
    error: Exception, says: str, again: bool, pauses: list[float]
) -> None:
    tries = 0

    def action() -> None:
        nonlocal tries
        tries += 1
        raise error

    with pytest.raises(InputProblem) as raised:
        remote._with_retries("s3://bucket/a", action)
    limit = len(remote.PAUSES)
    assert (tries, len(pauses)) == ((limit + 1, limit) if again else (1, 0))
    assert str(raised.value) == f"s3://bucket/a: {says}{f', after {limit + 1} attempts' if again else ''}"
    assert raised.value.__cause__ is None


def test_a_retry_that_succeeds_gives_the_result_and_the_pauses_grow(pauses: list[float]) -> None:
    answers = [Answered(500)] * len(remote.PAUSES)

    def action() -> int:
        if answers:
            raise answers.pop()
        return 7

    assert remote._with_retries("x", action) == 7
    assert all(middle / 2 <= waited <= middle * 3 / 2 for waited, middle in zip(pauses, remote.PAUSES, strict=True))


@pytest.mark.parametrize(
    ("missing", "url", "says"),
    [
        ("fsspec", "s3://bucket/a", f"s3://bucket/a: a URL needs more packages: {install('remote')}"),
        ("s3fs", "s3://bucket/a", f"s3://bucket/a: s3:// needs more packages: {install('remote')}"),
        ("gcsfs", "gs://bucket/a", f"gs://bucket/a: gs:// needs more packages: {install('gcsfs', False)}"),
        (
            "huggingface_hub",
            "hf://a/b/c",
            f"hf://a/b/c: hf:// needs more packages: {install('huggingface_hub', False)}",
        ),
    ],
)
def test_a_missing_package_is_named(missing: str, url: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(InputProblem) as raised:
        sources.find([url])
    assert str(raised.value) == says


def test_an_unknown_protocol_is_a_usage_error() -> None:
    with pytest.raises(UsageProblem) as raised:
        sources.find(["s4://bucket/a"])
    assert str(raised.value) == "s4://bucket/a: expected s3://, gs://, hf:// or https://, found s4://"


# ---- which objects


def test_a_prefix_stands_for_its_dumps_in_natural_order_and_a_pattern_for_what_fits(memory: Any) -> None:
    for name in ("10.jsonl", "2.jsonl.gz", "1.jsonl", "x.json", "more/3.jsonl"):
        memory.pipe(f"/run/{name}", b"{}\n")
    top = ["memory:///run/1.jsonl", "memory:///run/2.jsonl.gz", "memory:///run/10.jsonl"]
    whole = [*top, "memory:///run/more/3.jsonl"]
    for given, names in (("memory://run", whole), ("memory://run/", whole), ("memory://run/*.jsonl*", top)):
        assert [source.name.replace(":///", "://") for source in sources.find([given])] == [
            name.replace(":///", "://") for name in names
        ]
    memory.pipe("/none/x.txt", b"")
    for given, says in (
        ("memory://none/*.jsonl", "nothing found"),
        ("memory://nowhere", "no such object"),
    ):
        with pytest.raises(InputProblem) as raised:
            sources.find([given])
        assert str(raised.value) == f"{given}: {says}"


def test_a_directory_among_the_objects_of_a_prefix_is_refused(memory: Any) -> None:
    memory.pipe("/run/1.jsonl", b"{}\n")
    memory.pipe("/run/2.jsonl/part-0", b"{}\n")
    for given in ("memory://run/*",):
        with pytest.raises(InputProblem) as raised:
            sources.find([given])
        assert str(raised.value) == (
            f"{given}: stands for a directory, too, which would not be read: give memory:///run/2.jsonl/ by name, or a"
            " pattern without it"
        )


def test_the_same_object_twice_is_refused_and_names_that_look_alike_are_numbered(memory: Any) -> None:
    memory.pipe("/a", b"")
    with pytest.raises(UsageProblem, match="the same file as memory://a; give it once"):
        sources.find(["memory://a", "memory://a"])
    there = [remote.Remote(url, "h/a?…", 0, True, "", b"") for url in "xy"]
    alike = [sources.Source(each.name, None, 0, True, each.url, remote=each) for each in there]
    assert [source.name for source in sources._with_distinct_names(alike)] == ["h/a?… (1)", "h/a?… (2)"]


def test_the_repr_of_a_source_contains_no_secret() -> None:
    url = "https://me:secret@host/a?sig=secret"
    found = remote.Remote(url, redacted(url), 0, True, "", b"")
    assert "secret" not in repr(sources.Source(found.name, None, 0, True, url, remote=found))


# ---- their bytes


@pytest.mark.parametrize("size", [0, 1, 99, 100, 101, 1000])
def test_ranges_give_the_bytes_of_the_object(memory: Any, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(remote, "RANGE_BYTES", 100)
    data = bytes(i % 251 for i in range(size))
    memory.pipe("/a", data)
    assert content("memory://a") == data
    (found,) = remote.find("memory://a")
    for begin, end in ((0, size), (size // 2, size), (size // 3, size // 2), (max(0, size - 1), size)):
        into = bytearray(end - begin)
        remote.fill(found, begin, memoryview(into))
        assert into == data[begin:end]


def test_a_file_system_that_opens_a_file_per_range_does_not_read_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    from fsspec.spec import AbstractBufferedFile, AbstractFileSystem

    data, fetched = bytes(1000), []

    class Opened(AbstractBufferedFile):  # type: ignore[misc]
        def _fetch_range(self, start: int, end: int) -> bytes:
            fetched.append((start, end))
            return data[start:end]

    class Opening(AbstractFileSystem):  # type: ignore[misc]
        def info(self, path: str, **_: Any) -> dict[str, Any]:
            return {"name": path, "size": len(data), "type": "file"}

        def _open(self, path: str, mode: str = "rb", **options: Any) -> Opened:
            return Opened(self, path, mode, **options)

    monkeypatch.setattr(remote, "_file_system", lambda url: (Opening(), url))
    assert remote._read_range("opening://a", "a", 100, 200) == data[100:200]
    assert fetched == [(100, 200)]


def test_a_file_system_with_its_own_ranges_gets_no_other_option(monkeypatch: pytest.MonkeyPatch) -> None:
    from fsspec.asyn import AsyncFileSystem

    class Asynchronous(AsyncFileSystem):  # type: ignore[misc]  # as those of s3:// and https://
        async def _cat_file(self, path: str, start: int, end: int, **more: Any) -> bytes:
            assert more == {}
            return bytes(end - start)

    fs = Asynchronous(skip_instance_cache=True)
    monkeypatch.setattr(remote, "_file_system", lambda url: (fs, url))
    assert remote._read_range("elsewhere://a", "a", 100, 200) == bytes(100)


def test_objects_that_are_read_next_are_fetched_ahead_and_once(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "RANGE_BYTES", 100)
    asked: list[tuple[str, int, int]] = []
    cat_file = type(memory).cat_file

    def recording(self: Any, path: str, start: int, end: int) -> bytes:
        asked.append((path, start, end))
        return bytes(cat_file(self, path, start=start, end=end))

    for name in ("a", "b", "empty"):
        memory.pipe(f"/{name}", b"" if name == "empty" else b"0123456789" * 15)
    found = [remote.find(f"memory://{name}")[0] for name in ("a", "b", "empty")]
    monkeypatch.setattr(type(memory), "cat_file", recording)
    remote.prefetch(found)
    assert b"".join(remote.pieces(found[1])) == b"0123456789" * 15
    assert b"".join(remote.pieces(found[0])) == b"0123456789" * 15
    assert sorted(asked) == [("/a", 0, 100), ("/a", 100, 150), ("/b", 0, 100), ("/b", 100, 150)]


def test_reading_a_part_fetches_little_more_than_that_part(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "RANGE_BYTES", 200)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 100)
    monkeypatch.setattr(blocks, "PIECE_BYTES", 10)
    line = b"x" * 29 + b"\n"
    memory.pipe("/a", line * 40)
    asked: list[tuple[int, int]] = []
    cat_file = type(memory).cat_file

    def recording(self: Any, path: str, start: int, end: int) -> bytes:
        asked.append((start, end))
        return bytes(cat_file(self, path, start=start, end=end))

    (found,) = sources.find(["memory://a"])
    assert found.remote is not None
    monkeypatch.setattr(type(memory), "cat_file", recording)
    part = remote.Remote(**{**vars(found.remote), "part": (400, 800)})
    reader = blocks.RangeReader()

    def fill(offset: int, into: memoryview) -> None:
        remote.fill(part, offset, into)

    read = b"".join(bytes(reader.read(fill, "a", number, 1200, 1 << 20).view) for number in (4, 5, 6, 7))
    assert read == line * (len(read) // 30)
    assert len(read) == 27 * 30 - 14 * 30  # the lines that begin from byte 420 to 780
    assert sorted(asked) == [(399, 400), (400, 600), (600, 800), (800, 810)]


def test_compressed_objects_are_streamed_and_truncation_is_a_problem(memory: Any) -> None:
    memory.pipe("/a", gzip.compress(b"{}\n" * 1000))
    assert content("memory://a") == b"{}\n" * 1000
    memory.pipe("/b", gzip.compress(b"{}\n" * 1000)[:-3])
    with pytest.raises(InputProblem, match="the gzip data is cut off"):
        content("memory://b")
    memory.pipe("/c", b"PK\x03\x04....")
    with pytest.raises(InputProblem, match="a zip archive cannot be read from a pipe or a URL: give it as a file"):
        content("memory://c")


@pytest.mark.parametrize("given", [lambda data: data[:-1], lambda data: data + b"x", lambda data: b""])
def test_a_response_of_the_wrong_length_is_never_used(memory: Any, monkeypatch: pytest.MonkeyPatch, given: Any) -> None:
    memory.pipe("/a", b"0123456789\n")
    (source,) = sources.find(["memory://a"])
    whole = type(memory).cat_file
    monkeypatch.setattr(type(memory), "cat_file", lambda self, path, **asked: given(whole(self, path, **asked)))
    with pytest.raises(InputProblem, match=r"sent \d+ bytes of the 11 requested from byte 0, after 6 attempts"):
        b"".join(sources.pieces(source))


def test_an_object_that_changes_while_being_read_is_a_problem(memory: Any) -> None:
    memory.pipe("/a", b"0123456789\n")
    (source,) = sources.find(["memory://a"])
    memory.pipe("/a", b"01234\n")
    with pytest.raises(InputProblem) as raised:
        b"".join(sources.pieces(source))
    assert str(raised.value) == "memory://a: changed while being read: 11 bytes, now 6"
    memory.rm("/a")
    with pytest.raises(InputProblem, match="no such object"):
        sources.require_unchanged(source)


def test_inspecting_an_object_fetches_only_its_beginning(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, data in (("a", b"{}\n" * 10_000), ("b", gzip.compress(b"{}\n" * 10_000))):
        memory.pipe(f"/{name}", data)
        (source,) = sources.find([f"memory://{name}"])
        monkeypatch.setattr(remote, "_ranges", None)
        assert sources.head(source, 1).startswith(b"{}\n")


# ---- a result


def test_an_uploaded_result_appears_only_when_complete(
    memory: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = tmp_path / "result"
    result.write_bytes(b"whole")
    remote.upload(str(result), "memory://out")
    assert memory.cat("/out") == b"whole"

    def refuse(self: Any, source: str, target: str) -> None:
        raise Answered(403)

    monkeypatch.setattr(type(memory), "put_file", refuse)
    with pytest.raises(OutputProblem) as raised:
        remote.upload(str(result), "memory://out2")
    denied = "access denied (HTTP 403): these credentials do not permit this"
    assert str(raised.value) == f"memory://out2: the result could not be written: {denied}"
    with pytest.raises(UsageProblem, match=r"^-o https://host/a\?…: HTTP servers accept no uploads"):
        remote.require_writable("https://host/a?key=secret", "-o")
