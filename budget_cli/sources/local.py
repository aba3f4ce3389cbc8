"""Paths and URLs as typed → sources, checked before any is read; a source → its bytes.

Knows files, directories, stdin and pipes, and leaves URLs to `remote`. Knows no lines and no JSON.
"""

import contextlib
import os
import re
import stat
import sys
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from enum import StrEnum
from importlib.util import find_spec
from io import FileIO
from pathlib import Path
from typing import IO, TYPE_CHECKING

from budget_cli.errors import InputProblem, UsageProblem
from budget_cli.sources import compression, folders
from budget_cli.sources.folders import Patterns

if TYPE_CHECKING:
    from budget_cli.sources.remote import Remote

PIECE_BYTES = 1 << 20
STDIN = "<stdin>"
URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
PARQUET = b"PAR1"
PEEK_BYTES = 1 << 12  # of a plain file, to recognize its kind
PEEK_PACKED_BYTES = 1 << 18  # of a compressed file; more is read if that is not enough, as for a block of bz2
BEGINS_AS_OURS = re.compile(rb'\s*\{\s*"schema"\s*:\s*"budget-cli/([^"]*)"')
LFS_POINTER = b"version https://git-lfs.github.com/spec/"
SUMMARY = "summary/2"  # the schema of a summary; of any version, what begins as this


class Kind(StrEnum):
    """What a source holds, recognized by its first bytes."""

    RECORDS = "records"  # JSON lines, a JSON document, or what its reader will reject
    PARQUET = "parquet"
    CSV = "csv"
    TSV = "tsv"
    SUMMARY = "summary"  # written by `budget-cli summarize`
    RESULT = "result"  # another JSON result of this program


@dataclass(frozen=True)
class Source:
    """One stream of bytes."""

    name: str  # as given by the user; for messages
    path: str | None  # None: standard input, or remote
    size: int | None  # bytes when it was found; None: not known before the end
    in_ranges: bool  # True if uncompressed, so that many can read at any offset at once
    identity: tuple[int, int] | str | None = field(repr=False)  # device and inode, or the URL with its secrets
    remote: "Remote | None" = None
    kind: Kind = field(default=Kind.RECORDS, compare=False)  # decided by `find`
    schema: str = field(default="", compare=False)  # of a summary or a result: `summary/2`, `loss/1`
    changed_at: int = field(default=0, repr=False)  # of a file: its time of change, ns
    start_sum: int = field(default=0, compare=False, repr=False)  # of a file: CRC-32 of its first PEEK_BYTES

    @property
    def at_once(self) -> bool:
        """True if many can read it at the same time, each a part."""
        return self.in_ranges or self.kind is Kind.PARQUET


def find(
    names: Sequence[str], patterns: Patterns = folders.ALL, left_out: dict[str, str] | None = None
) -> list[Source]:
    """Find the sources that paths, folders and URLs stand for, in order.

    Args:
        names: the paths and URLs.
        patterns: what the user wants of the folders among them.
        left_out: where to note, for each folder, what is not read of it and why.

    Raises:
        InputProblem: a path does not exist, cannot be read, or is a folder without dumps.
        UsageProblem: a file or stdin is given twice, a folder has two kinds of dumps, or there are patterns and no
            folder.
    """
    sources: list[Source] = []
    name_of: dict[tuple[int, int] | str, str] = {}
    left_out = {} if left_out is None else left_out
    remote = _remote([name for name in names if is_url(name)], patterns, left_out)
    if patterns and not any(is_url(name) or os.path.isdir(name) for name in names):
        raise UsageProblem("--include and --exclude choose among the files of a folder, and none is given")
    for name in names:
        for source in [_stdin()] if name == "-" else remote.get(name) or _under(name, patterns, left_out):
            if source.identity is not None and source.identity in name_of:
                raise UsageProblem(f"{source.name}: the same file as {name_of[source.identity]}; give it once")
            if source.identity is not None:
                name_of[source.identity] = source.name
            sources.append(source)
    named = [replace(source, name=_as_unicode(source.name)) for source in sources]
    return [_with_kind(source) for source in _with_distinct_names(named)]


def _as_unicode(name: str) -> str:
    """Write bytes of a file's name that are not UTF-8 as `\\xff`: names become ids, and JSON has no such text."""
    return name if name.isascii() else os.fsencode(name).decode("utf-8", "backslashreplace")


def _with_kind(source: Source) -> Source:
    """Recognize the kind of a source from as few bytes as possible."""
    if source.kind is Kind.PARQUET:
        return source
    start = _peek(source)
    if start.startswith(LFS_POINTER):
        raise InputProblem(source.name, "a pointer of Git LFS in place of the file: `git lfs pull` fetches it")
    begins = BEGINS_AS_OURS.match(start)
    if begins is None:
        if source.size is None and start.lstrip()[:1] not in (b"{", b"[") and start.count(b"\n") < 2:
            start = head(source, PEEK_BYTES)  # a pipe may give a header alone
        kind = _kind_of_rows(source.name, start)
        return source if kind is None else replace(source, kind=kind, in_ranges=False)  # a cell may hold newlines
    schema = begins[1].decode("utf-8", "replace")
    return replace(source, kind=Kind.SUMMARY if schema.startswith("summary/") else Kind.RESULT, schema=schema)


def _kind_of_rows(name: str, start: bytes) -> Kind | None:
    """Return CSV or TSV if a source is named so, or begins with names of columns and a row of as many cells."""
    text = start.removeprefix(b"\xef\xbb\xbf")
    if text.lstrip()[:1] in (b"{", b"[", b"<", b""):
        return None
    header, _, rest = text.partition(b"\n")
    bare = name.lower()
    for ending in (*compression.SUFFIXES, ".zip"):
        bare = bare.removesuffix(ending)
    if bare.endswith((".csv", ".tsv")):
        is_tsv = b"\t" in header if bare.endswith(".csv") and b"," not in header else bare.endswith(".tsv")
        return Kind.TSV if is_tsv and (b"\t" in header or b"," not in header) else Kind.CSV
    second = rest.partition(b"\n")[0]
    for kind, delimiter in ((Kind.TSV, b"\t"), (Kind.CSV, b",")):
        names = [each.strip().removeprefix(b'"').removesuffix(b'"') for each in header.split(delimiter)]
        are_names = len(names) > 1 and all(re.fullmatch(rb"[A-Za-z_][\w./-]*", each) for each in names)
        if are_names and len(set(names)) == len(names) and second.count(delimiter) >= len(names) - 1:
            return kind
    return None


def _peek(source: Source) -> bytes:
    """Read the first decompressed bytes of a source; problems are raised only when it is read in full."""
    if source.path is None or source.size is None:
        return head(source, 1)
    try:
        with open(source.path, "rb") as file:
            start = file.read(PEEK_BYTES if source.in_ranges else PEEK_PACKED_BYTES)
    except OSError:
        return b""
    if source.in_ranges:
        return start
    return b"".join(_until_problem(_unpacked(source, iter([start])))) or head(source, 1)


def _with_distinct_names(sources: list[Source]) -> list[Source]:
    """Number the sources whose names are the same, as those of URLs may be, which leave out the query."""
    if len({source.name for source in sources}) == len(sources):
        return sources
    times = Counter(source.name for source in sources)
    number: Counter[str] = Counter()
    distinct = []
    for source in sources:
        number[source.name] += 1
        if times[source.name] > 1:
            source = replace(source, name=f"{source.name} ({number[source.name]})")
        distinct.append(source)
    return distinct


def _stdin() -> Source:
    try:
        info = os.fstat(0)
    except OSError as error:
        raise InputProblem(STDIN, f"cannot be read: {error.strerror}") from None
    return Source(STDIN, None, None, in_ranges=False, identity=(info.st_dev, info.st_ino))


def is_url(name: str) -> bool:
    """True if the name is a URL."""
    return URL.match(name) is not None


def without_secrets(name: str) -> str:
    """Return the name of a file or a URL for a message: a URL without what may be secret in it."""
    if not is_url(name):
        return name
    from budget_cli.sources import remote  # as in _remote

    return remote.redacted(name)


def _remote(urls: list[str], patterns: Patterns, left_out: dict[str, str]) -> dict[str, list[Source]]:
    """Find the sources that URLs stand for, by URL."""
    if not urls:
        return {}
    from budget_cli.sources import remote  # 17 ms, which only URLs need

    def under(url: str) -> list[Source]:
        return [_object(each) for each in remote.find(url, patterns, left_out)]

    return dict(zip(urls, remote.in_parallel(under, urls), strict=True))


def _object(found: "Remote") -> Source:
    kind = _kind_of_start(found.name, found.start)
    if kind is Kind.PARQUET and not found.in_ranges:
        raise InputProblem(
            found.name,
            "this is Parquet, which is read from its end, and this server gives no ranges: download it first",
        )
    plain = found.in_ranges and _is_plain(found.start)
    return Source(found.name, None, found.size, plain, identity=found.url, remote=found, kind=kind)


def _kind_of_start(name: str, start: bytes) -> Kind:
    """Recognize Parquet by the first bytes of a file.

    Raises:
        InputProblem: the package that reads it is missing.
    """
    if not start.startswith(PARQUET):
        return Kind.RECORDS
    if find_spec("pyarrow") is None:
        from budget_cli.sources.extras import install  # only for this message

        raise InputProblem(name, f"this is Parquet, which needs another package: {install('parquet')}")
    return Kind.PARQUET


def identity_of(path: str) -> tuple[int, int] | None:
    """Return device and inode of a regular file; None if there is no such file."""
    try:
        info = os.stat(path)
    except OSError:
        return None
    return (info.st_dev, info.st_ino) if stat.S_ISREG(info.st_mode) else None


def _under(name: str, patterns: Patterns, left_out: dict[str, str]) -> list[Source]:
    try:
        info = os.stat(name)
    except (FileNotFoundError, NotADirectoryError):
        if os.path.islink(name):
            raise InputProblem(name, f"a link to {os.readlink(name)}, which does not exist") from None
        raise InputProblem(name, f"no such file or directory{_suggestion(name)}") from None
    except OSError as error:
        raise InputProblem(name, f"cannot be read: {error.strerror}") from None
    if not stat.S_ISDIR(info.st_mode):
        return [_file(name)]
    names, links = folders.names_in(name, hidden=bool(patterns.include))
    dumps = folders.dumps_in(name, "in this folder", names, patterns, links, left_out)
    return [_file_in(name, str(Path(name) / each)) for each in dumps]


def _file_in(folder: str, name: str) -> Source:
    """Find a file that a folder stands for, none of which may be passed over.

    Raises:
        InputProblem: it cannot be read, or is no regular file.
    """
    try:
        mode = os.stat(name).st_mode
    except OSError as error:
        if os.path.islink(name) and isinstance(error, FileNotFoundError):
            raise InputProblem(name, f"a link to {os.readlink(name)}, which does not exist") from None
        raise InputProblem(name, f"cannot be read: {error.strerror}") from None
    if not stat.S_ISREG(mode):
        what = "a directory" if stat.S_ISDIR(mode) else "a pipe, a socket or a device"
        raise InputProblem(name, f"{what} where {folder} should hold a file: rename it, or give the files by name")
    return _file(name)


def _file(name: str) -> Source:
    try:
        if not stat.S_ISREG(os.stat(name).st_mode):  # opening a pipe twice would lose its writer
            return Source(name, name, None, in_ranges=False, identity=None)
        with open(name, "rb", buffering=0) as file:
            info = os.fstat(file.fileno())
            start = file.read(PEEK_BYTES)
    except OSError as error:
        raise InputProblem(name, f"cannot be read: {error.strerror}") from None
    kind = _kind_of_start(name, start)
    found = Source(name, name, info.st_size, _is_plain(start), (info.st_dev, info.st_ino), kind=kind)
    return replace(found, changed_at=info.st_mtime_ns, start_sum=zlib.crc32(start[: info.st_size]))


def _is_plain(start: bytes) -> bool:
    return compression.codec_of(start) is None and not start.startswith(
        (compression.ZIP, *compression.PICKLED, PARQUET)
    )


# streams whose beginning `head` has read: the stored bytes that it read, the rest, and the problem that it met
_started: dict[Source, tuple[list[bytes], Iterator[bytes], InputProblem | None]] = {}


def head(source: Source, most: int) -> bytes:
    """Read the first (decompressed) bytes of a source, about `most` or as many as there are.

    `pieces` still yields them afterwards, from a stream too, and raises the problems that this function ignores.
    """
    if source.kind is Kind.PARQUET:  # which has no beginning to read
        return b""
    if source.remote is not None and source.size is not None:  # inspecting many objects must not fetch them
        start = b"".join(_until_problem(_unpacked(source, iter([source.remote.start]))))
        if len(start) >= most or len(source.remote.start) == source.size:
            return start
    raw = _raw(source)
    stored: list[bytes] = []
    problem: InputProblem | None = None

    def recorded() -> Iterator[bytes]:
        nonlocal problem
        try:
            for piece in raw:
                stored.append(piece)
                yield piece
        except InputProblem as raised:
            problem = raised
            raise

    found: list[bytes] = []
    with contextlib.suppress(InputProblem):
        for piece in _unpacked(source, recorded()):
            found.append(piece)
            if sum(map(len, found)) >= most:
                break
    if source.size is None:
        _started[source] = (stored, raw, problem)
    return b"".join(found)


def pieces(source: Source) -> Iterator[bytes]:
    """Read the (decompressed) bytes of a source in order.

    Raises:
        InputProblem: some cannot be read; those before them were yielded.
    """
    yield from _unpacked(source, _raw(source))
    require_unchanged(source)


def _unpacked(source: Source, raw: Iterator[bytes]) -> Iterator[bytes]:
    """Decompress the stored bytes of a source, if they are compressed."""
    start = b""
    while len(start) < compression.MAGIC_BYTES and (piece := next(raw, b"")):
        start += piece
    rest = _joined(start, raw)
    codec = compression.codec_of(start)
    if start.startswith(compression.PICKLED):
        raise InputProblem(source.name, compression.PICKLE)
    if start.startswith(compression.ZIP):
        if source.path is None or source.size is None:
            raise InputProblem(source.name, "a zip archive cannot be read from a pipe or a URL: give it as a file")
        yield from compression.unzip(source.name, source.path)
    else:
        plain = rest if codec is None else compression.decompress(source.name, codec, rest)
        yield from _refuse_parquet(source, codec, plain)


def _until_problem(pieces: Iterator[bytes]) -> Iterator[bytes]:
    with contextlib.suppress(InputProblem):
        yield from pieces


def spool(source: Source, file: IO[bytes], path: str) -> Source:
    """Copy a source to a temporary file, and return that as a source of the same name, which can be read twice.

    Args:
        source: what to copy.
        file: to write to.
        path: where the file can be opened.

    Raises:
        InputProblem: the bytes cannot be read.
        OSError: they cannot be written.
    """
    for piece in _raw(source):
        file.write(piece)
    file.flush()
    return _with_kind(replace(_file(path), name=source.name))


def _raw(source: Source) -> Iterator[bytes]:
    """Read the bytes as they are stored."""
    if source in _started:
        stored, rest, problem = _started.pop(source)
        yield from stored
        if problem is not None:
            raise problem
        yield from rest
        return
    if source.remote is not None:
        from budget_cli.sources import remote  # as in _remote

        yield from remote.pieces(source.remote)
        return
    got = 0
    try:
        with FileIO(0 if source.path is None else source.path, closefd=source.path is not None) as file:
            while piece := os.read(
                file.fileno(), PIECE_BYTES if source.size is None else min(PIECE_BYTES, source.size - got)
            ):
                got += len(piece)
                yield piece
    except OSError as error:
        raise InputProblem(source.name, f"cannot be read: {error.strerror}") from None


def _refuse_parquet(source: Source, codec: str | None, pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the pieces, unless they are of a Parquet file, whose last bytes would have to be read first."""
    first = next(pieces, b"")
    if first.startswith(PARQUET):
        advice = "Parquet cannot be read as a stream: give it as a file"
        raise InputProblem(source.name, f"Parquet inside {codec}: decompress it first" if codec else advice)
    yield from _joined(first, pieces)


def _joined(start: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if start:
        yield start
    yield from rest


def require_unchanged(source: Source) -> None:
    """Check that the file is still the one that was found, except that a running job may have added to its end.

    Raises:
        InputProblem: it was replaced, removed, truncated or rewritten while being read.
    """
    if source.remote is not None:
        from budget_cli.sources import remote  # as in _remote

        remote.require_unchanged(source.remote)
    if source.path is None or source.size is None:
        return
    try:
        now = os.stat(source.path)
    except OSError:
        raise InputProblem(source.name, "was removed while being read") from None
    if (now.st_dev, now.st_ino) != source.identity:
        raise InputProblem(source.name, "was replaced by another file while being read")
    if now.st_size < source.size:
        raise InputProblem(source.name, f"became shorter while being read: {source.size:,} bytes, now {now.st_size:,}")
    if now.st_mtime_ns == source.changed_at:
        return
    if now.st_size == source.size or _start_sum(source) != source.start_sum:
        raise InputProblem(source.name, "was rewritten while being read: run again when nothing writes to it")


def _start_sum(source: Source) -> int:
    assert source.path is not None
    try:
        with open(source.path, "rb", buffering=0) as file:
            return zlib.crc32(file.read(min(PEEK_BYTES, source.size or 0)))
    except OSError:
        return -1


def growth(source: Source) -> int:
    """Return the number of bytes by which a file has grown since it was found; they are not read."""
    if source.path is None or source.size is None:
        return 0
    try:
        return max(0, os.stat(source.path).st_size - source.size)
    except OSError:
        return 0


def _suggestion(name: str) -> str:
    path = Path(name)
    try:
        names = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return ""
    close = get_close_matches(path.name, names, n=1)
    if not close:
        return ""
    found = path.parent / close[0]
    return f" (did you mean {found}{'/' if found.is_dir() else ''}?)"


def stdin_is_piped() -> bool:
    """True if standard input is not a terminal."""
    return sys.stdin is not None and not sys.stdin.isatty()
