"""Paths and URLs as typed → sources: where the bytes come from, checked before anything is read.

Knows files, directories, stdin and pipes, and of what is remote that it is; nothing of lines or JSON.
"""

import contextlib
import os
import re
import stat
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from importlib.util import find_spec
from io import FileIO
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING

from budget_cli.errors import InputProblem, UsageProblem
from budget_cli.sources import compression

if TYPE_CHECKING:
    from budget_cli.sources.remote import Remote

PIECE_BYTES = 1 << 20
STDIN = "<stdin>"
PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip")
URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
DUMPS = ("*.jsonl*", "*.parquet")  # what a directory stands for
PARQUET = b"PAR1"
PEEK_BYTES = 1 << 12  # of a plain file, to see what it is
PEEK_PACKED_BYTES = 1 << 18  # of a compressed one; a block of bz2 needs more, and is read further
BEGINS_AS_OURS = re.compile(rb'\s*\{\s*"schema"\s*:\s*"budget-cli/([^"]*)"')
SUMMARY = "summary/1"  # the schema of a summary


class Kind(StrEnum):
    """What a source holds, by its first bytes."""

    RECORDS = "records"  # JSON lines, a JSON document, or whatever its reader will refuse
    PARQUET = "parquet"
    SUMMARY = "summary"  # what `budget-cli summarize` wrote
    RESULT = "result"  # another JSON result of this program


@dataclass(frozen=True)
class Source:
    """One stream of bytes. `in_ranges`: uncompressed, and many can read it at once, each where it likes."""

    name: str  # as the user gave it; for messages
    path: str | None  # None: standard input, or remote
    size: int | None  # bytes there when the scan began; None: not known before the end
    in_ranges: bool
    identity: tuple[int, int] | str | None = field(repr=False)  # device and inode; the URL, which may hold secrets
    remote: "Remote | None" = None
    kind: Kind = field(default=Kind.RECORDS, compare=False)  # decided by `find`
    schema: str = field(default="", compare=False)  # of a summary or a result: `summary/1`, `loss/1`

    @property
    def at_once(self) -> bool:
        """Whether many can read it at the same time, each a part."""
        return self.in_ranges or self.kind is Kind.PARQUET


def find(names: Sequence[str]) -> list[Source]:
    """The sources that these paths mean, in order.

    Raises:
        InputProblem: a path that is not there, cannot be read, or is a directory without dumps.
        UsageProblem: the same file twice, stdin twice, or a directory with two kinds of dumps.
    """
    sources: list[Source] = []
    seen: dict[tuple[int, int] | str, str] = {}
    remote = _remote([name for name in names if is_url(name)])
    for name in names:
        for source in [_stdin()] if name == "-" else remote.get(name) or _under(name):
            if source.identity is not None and source.identity in seen:
                raise UsageProblem(f"{source.name}: the same file as {seen[source.identity]}; give it once")
            if source.identity is not None:
                seen[source.identity] = source.name
            sources.append(source)
    return [_with_kind(source) for source in _told_apart(sources)]


def _with_kind(source: Source) -> Source:
    """The source with its kind, for which as little as possible of it is read."""
    if source.kind is Kind.PARQUET:
        return source
    begins = BEGINS_AS_OURS.match(_peek(source))
    if begins is None:
        return source
    schema = begins[1].decode("utf-8", "replace")
    return replace(source, kind=Kind.SUMMARY if schema == SUMMARY else Kind.RESULT, schema=schema)


def _peek(source: Source) -> bytes:
    """The first decompressed bytes of a source; what is wrong with it is said when it is read."""
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


def _told_apart(sources: list[Source]) -> list[Source]:
    """The sources, those numbered whose names are the same: of a URL the name does not hold the query."""
    if not any(source.remote for source in sources):
        return sources
    times = Counter(source.name for source in sources)
    number: Counter[str] = Counter()
    told = []
    for source in sources:
        number[source.name] += 1
        if times[source.name] > 1:
            source = replace(source, name=f"{source.name} ({number[source.name]})")
        told.append(source)
    return told


def _stdin() -> Source:
    try:
        info = os.fstat(0)
    except OSError as error:
        raise InputProblem(STDIN, f"cannot be read: {error.strerror}") from None
    return Source(STDIN, None, None, in_ranges=False, identity=(info.st_dev, info.st_ino))


def is_url(name: str) -> bool:
    """Whether this names something that is not on this machine."""
    return URL.match(name) is not None


def _remote(urls: list[str]) -> dict[str, list[Source]]:
    """What these URLs mean, by URL."""
    if not urls:
        return {}
    from budget_cli.sources import remote

    def under(url: str) -> list[Source]:
        return [
            Source(each.name, None, each.size, each.in_ranges and _is_plain(each.start), identity=each.url, remote=each)
            for each in sorted(remote.find(url), key=lambda each: natural_order(each.name))
        ]

    return dict(zip(urls, remote.in_parallel(under, urls), strict=True))


def identity_of(path: str) -> tuple[int, int] | None:
    """Device and inode of a regular file; None where there is none."""
    try:
        info = os.stat(path)
    except OSError:
        return None
    return (info.st_dev, info.st_ino) if stat.S_ISREG(info.st_mode) else None


def _under(name: str) -> list[Source]:
    try:
        info = os.stat(name)
    except (FileNotFoundError, NotADirectoryError):
        if os.path.islink(name):
            raise InputProblem(name, f"a link to {os.readlink(name)}, which is not there") from None
        raise InputProblem(name, f"no such file or directory{_suggestion(name)}") from None
    except OSError as error:
        raise InputProblem(name, f"cannot be read: {error.strerror}") from None
    if not stat.S_ISDIR(info.st_mode):
        return [_file(name)]
    path = Path(name)
    found = [[str(p) for p in path.glob(dumps) if p.is_file()] for dumps in DUMPS]
    if all(found):  # one may have been made of the other, and nobody can tell from here
        raise UsageProblem(f"{name}: holds both {' and '.join(DUMPS)} files: say which, as in {path / DUMPS[0]}")
    if not any(found):
        below = next(iter(sorted(inner for dumps in DUMPS for inner in path.rglob(dumps))), None)
        hint = f"; there are some in {below.parent}/" if below else ""
        if not below and any(path.glob("*.json")):
            hint = f"; there are *.json, which must be named: {path / '*.json'}"
        raise InputProblem(name, f"no {' and no '.join(DUMPS)} files in this directory{hint}")
    files = sorted(chain.from_iterable(found), key=natural_order)
    packed = {os.path.splitext(file)[0]: file for file in files if file.endswith(PACKED)}
    for file in files:
        if file in packed:
            raise UsageProblem(f"{name}: holds both {file} and {packed[file]}, which is probably the same: say which")
    return [_file(each) for each in files]


def _file(name: str) -> Source:
    try:
        if not stat.S_ISREG(os.stat(name).st_mode):  # a pipe loses its writer if it is opened twice
            return Source(name, name, None, in_ranges=False, identity=None)
        with open(name, "rb") as file:
            info = os.fstat(file.fileno())
            start = file.read(compression.MAGIC_BYTES)
    except OSError as error:
        raise InputProblem(name, f"cannot be read: {error.strerror}") from None
    if start.startswith(PARQUET) and find_spec("pyarrow") is None:
        raise InputProblem(name, "this is Parquet, which needs one more package: pip install 'budget-cli[parquet]'")
    kind = Kind.PARQUET if start.startswith(PARQUET) else Kind.RECORDS
    return Source(name, name, info.st_size, _is_plain(start), (info.st_dev, info.st_ino), kind=kind)


def _is_plain(start: bytes) -> bool:
    return compression.codec_of(start) is None and not start.startswith(
        (compression.ZIP, *compression.PICKLED, PARQUET)
    )


# streams whose beginning was looked at: the stored bytes that were read, the rest, and what went wrong then
_begun: dict[Source, tuple[list[bytes], Iterator[bytes], InputProblem | None]] = {}


def head(source: Source, most: int) -> bytes:
    """The first (decompressed) bytes of a source, about `most` or all that can be had.

    A stream still gives them afterwards, and what is wrong with a source is said only then, by `pieces`.
    """
    if source.remote is not None and source.size is not None:  # a look at many objects must not fetch them
        begun = b"".join(_until_problem(_unpacked(source, iter([source.remote.start]))))
        if len(begun) >= most or len(source.remote.start) == source.size:
            return begun
    raw = _raw(source)
    stored: list[bytes] = []
    wrong: InputProblem | None = None

    def recorded() -> Iterator[bytes]:
        nonlocal wrong
        try:
            for piece in raw:
                stored.append(piece)
                yield piece
        except InputProblem as problem:
            wrong = problem
            raise

    seen: list[bytes] = []
    with contextlib.suppress(InputProblem):
        for piece in _unpacked(source, recorded()):
            seen.append(piece)
            if sum(map(len, seen)) >= most:
                break
    if source.size is None:
        _begun[source] = (stored, raw, wrong)
    return b"".join(seen)


def pieces(source: Source) -> Iterator[bytes]:
    """The (decompressed) bytes of a source, in order.

    Raises:
        InputProblem: not all of them can be had.
    """
    yield from _unpacked(source, _raw(source))
    require_unchanged(source)


def _unpacked(source: Source, raw: Iterator[bytes]) -> Iterator[bytes]:
    """What is stored as these bytes."""
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
        yield from _no_parquet(source, codec, plain)


def _until_problem(pieces: Iterator[bytes]) -> Iterator[bytes]:
    with contextlib.suppress(InputProblem):
        yield from pieces


def spool(source: Source, file: IO[bytes]) -> Source:
    """The source's bytes in this named temporary file, as a source that can be read twice; keeps its name.

    Raises:
        InputProblem: the bytes cannot be had.
        OSError: they cannot be written.
    """
    for piece in _raw(source):
        file.write(piece)
    file.flush()
    return replace(_file(file.name), name=source.name)


def _raw(source: Source) -> Iterator[bytes]:
    """The bytes as they are stored."""
    if source in _begun:
        stored, rest, wrong = _begun.pop(source)
        yield from stored
        if wrong is not None:
            raise wrong
        yield from rest
        return
    if source.remote is not None:
        from budget_cli.sources import remote

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


def _no_parquet(source: Source, codec: str | None, pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The pieces, unless they are those of a Parquet file, whose last bytes would have to be read first."""
    first = next(pieces, b"")
    if first.startswith(PARQUET):
        what = (
            f"Parquet inside {codec}: unpack it" if codec else "Parquet cannot be read as a stream: give it as a file"
        )
        raise InputProblem(source.name, what)
    yield from _joined(first, pieces)


def _joined(start: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if start:
        yield start
    yield from rest


def require_unchanged(source: Source) -> None:
    """That the file is still the one that was found, and not shorter.

    Raises:
        InputProblem: it was replaced, removed or cut while being read.
    """
    if source.remote is not None:
        from budget_cli.sources import remote

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


def growth(source: Source) -> int:
    """By how many bytes a file has grown since the scan began; those were not read."""
    if source.path is None or source.size is None:
        return 0
    try:
        return max(0, os.stat(source.path).st_size - source.size)
    except OSError:
        return 0


def natural_order(name: str) -> list[tuple[int, int | str]]:
    """A sort key that puts `2.jsonl` before `10.jsonl`."""
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in re.split(r"(\d+)", name)]


def _suggestion(name: str) -> str:
    from difflib import get_close_matches

    path = Path(name)
    try:
        there = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return ""
    close = get_close_matches(path.name, there, n=1)
    if not close:
        return ""
    found = path.parent / close[0]
    return f" (did you mean {found}{'/' if found.is_dir() else ''}?)"


def stdin_is_piped() -> bool:
    """Whether something other than a person feeds standard input."""
    return sys.stdin is not None and not sys.stdin.isatty()
