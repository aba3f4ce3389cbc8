"""Compressed bytes → bytes, and back. Truncation, a wrong checksum and trailing junk are errors, never the end.

A codec is recognized by magic bytes, not by name. The file objects of the standard library ignore junk after bz2 and
xz, so this module goes through the members with its decompressors. Knows nothing of lines or JSON.
"""

import bz2
import lzma
import os
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

from budget_cli.errors import InputProblem, UsageProblem

if TYPE_CHECKING:
    import zipfile

PIECE_BYTES = 1 << 18


class Member(Protocol):
    """A decompressor of one gzip, bz2, xz or zstd stream."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = ..., /) -> bytes: ...


SUFFIXES = (".gz", ".bz2", ".xz", ".zst")  # of what is compressed as one stream
MAGIC = {"gzip": b"\x1f\x8b", "bz2": b"BZh", "xz": b"\xfd7zXZ\x00", "zstd": b"\x28\xb5\x2f\xfd"}
ZIP = b"PK\x03\x04"
ZIP_ZSTANDARD = 93  # the method's number in the zip format
LOCAL_NAMES_AT = 26  # where the header of a zip member holds the lengths of its name and of its extra field
SUMMARIES = "summaries.json"  # of a log of inspect_ai: the id, scores and token counts of every sample
PICKLED = tuple(bytes([0x80, protocol]) for protocol in range(2, 6))
PICKLE = "a pickle: loading it would run any code inside it; docs/dumps.md shows three lines that convert it"
MAGIC_BYTES = 6
# what zipfile raises on damage besides an error of its own: from the decompressors, its arithmetic, or a method that it
# does not know, such as deflate64
OF_DAMAGED_ZIP = (
    zlib.error,
    lzma.LZMAError,
    struct.error,
    OSError,
    EOFError,
    MemoryError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OverflowError,
    LookupError,
)
LZMA_BYTES = 1 << 28  # of memory; xz -9 takes a quarter
ZSTD_BYTES = 1 << 13  # expands to tens of MB at the highest ratios of zstd


def codec_of(start: bytes) -> str | None:
    """Recognize the codec by its magic bytes; None if there is none."""
    return next((name for name, magic in MAGIC.items() if start.startswith(magic)), None)


def _codec(source: str, name: str) -> tuple[Callable[[], Member], type[Exception]]:
    """Return a function that makes a decompressor, and what that raises on damaged data."""
    if name == "zstd":
        try:
            import zstandard  # only an extra installs it
        except ImportError:
            from budget_cli.sources.extras import install  # only for this message

            advice = f"{install('zstd')}, or zstdcat FILE | budget-cli loss -"
            raise InputProblem(source, f"this is zstd, which needs another package: {advice}") from None
        return lambda: _ZstdMember(zstandard.ZstdDecompressor().decompressobj()), zstandard.ZstdError
    if name == "gzip":
        return lambda: zlib.decompressobj(wbits=31), zlib.error
    if name == "bz2":
        return bz2.BZ2Decompressor, OSError
    assert name == "xz", name
    return lambda: lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=LZMA_BYTES), lzma.LZMAError


class _ZstdMember:
    """A zstd frame with the interface of the standard library, fed slowly since zstandard has no output limit."""

    def __init__(self, frame: Any) -> None:
        self._frame = frame
        self._waiting = b""

    @property
    def eof(self) -> bool:
        return bool(self._frame.eof)

    @property
    def needs_input(self) -> bool:
        return not self._waiting

    @property
    def unused_data(self) -> bytes:
        return bytes(self._frame.unused_data) + self._waiting

    def decompress(self, data: bytes, max_length: int = -1, /) -> bytes:
        self._waiting += data
        portion, self._waiting = self._waiting[:ZSTD_BYTES], self._waiting[ZSTD_BYTES:]
        return bytes(self._frame.decompress(portion))


def unzip(source: str, path: str) -> Iterator[bytes]:
    """Read the only file of a zip archive, or the summaries of the samples in a log of inspect_ai (`.eval`).

    Raises:
        InputProblem: the archive is damaged, or holds several other files; bytes before the damage were yielded.
    """
    import zipfile  # 1.6 ms, and only for archives

    try:
        with zipfile.ZipFile(path) as archive:
            names = [entry.filename for entry in archive.infolist() if not entry.is_dir()]
            if any(name.endswith("data.pkl") for name in names):
                raise InputProblem(source, PICKLE)
            if len(names) != 1 and SUMMARIES not in names:
                raise InputProblem(source, f"a zip archive of {len(names)} files, expected one: unpack it first")
            entry = archive.getinfo(names[0] if len(names) == 1 else SUMMARIES)
            if entry.compress_type == ZIP_ZSTANDARD:  # which zipfile knows from Python 3.14 on
                yield from decompress(source, "zstd", _stored(path, entry))
                return
            with archive.open(entry) as member:
                while piece := member.read(PIECE_BYTES):
                    yield piece
    except (*OF_DAMAGED_ZIP, zipfile.BadZipFile) as error:
        reason = str(error).partition("\n")[0][:120] or type(error).__name__
        raise InputProblem(source, f"damaged zip archive ({reason}): the data before the damage was read") from None


def _stored(path: str, entry: "zipfile.ZipInfo") -> Iterator[bytes]:
    """Read a member of an archive as it is stored there, compressed."""
    with open(path, "rb") as file:
        file.seek(entry.header_offset + LOCAL_NAMES_AT)
        name, extra = int.from_bytes(file.read(2), "little"), int.from_bytes(file.read(2), "little")
        file.seek(name + extra, os.SEEK_CUR)
        left = entry.compress_size
        while left and (piece := file.read(min(left, PIECE_BYTES))):
            left -= len(piece)
            yield piece


def decompress(source: str, codec: str, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Decompress into pieces of bounded size, at any ratio.

    Raises:
        InputProblem: the data is cut off, damaged or followed by junk; everything before that was yielded.
    """
    new_member, damage = _codec(source, codec)
    member = new_member()
    members, fresh = 0, True  # fresh: this member has read nothing yet
    for piece in pieces:
        while piece:
            if member.eof:
                piece = (
                    piece.lstrip(b"\0") if codec in ("gzip", "xz") else piece
                )  # these formats allow padding with zeros
                if not piece:
                    break
                member, fresh = new_member(), True
            try:
                yield from _fed(member, piece)
            except (damage, OSError, EOFError) as error:
                what = f"junk after the {codec} data" if fresh and members else f"damaged {codec} data ({error})"
                raise InputProblem(source, f"{what}: the data before it was read, the rest was not") from None
            piece = member.unused_data if member.eof else b""
            members += member.eof
            fresh = False
    if not member.eof:
        raise InputProblem(source, f"the {codec} data is cut off: the data before that was read, the rest is missing")


def _fed(member: Member, piece: bytes) -> Iterator[bytes]:
    """Feed one piece to a member, and yield at most PIECE_BYTES at a time."""
    while True:
        data = member.decompress(piece, PIECE_BYTES)
        for at in range(0, len(data), PIECE_BYTES):
            yield data[at : at + PIECE_BYTES]
        piece = getattr(member, "unconsumed_tail", b"")  # input that zlib has not used yet
        if member.eof or not (piece or (hasattr(member, "needs_input") and not member.needs_input)):
            return


def compressor(name: str) -> Callable[[Iterable[bytes]], Iterator[bytes]]:
    """Return what compresses a file of this name: .gz, .bz2, .xz and .zst are compressed, other files are not.

    Equal input gives equal output: no time stamp is written.

    Raises:
        UsageProblem: the package for zstd is not installed.
    """
    if not name.endswith(SUFFIXES):
        return iter
    ending = name.rpartition(".")[2]
    if ending == "zst":
        try:
            import zstandard  # only an extra installs it
        except ImportError:
            from budget_cli.sources.extras import install  # only for this message

            raise UsageProblem(f"-o {name}: zstd needs another package: {install('zstd')}") from None

    def packed(pieces: Iterable[bytes]) -> Iterator[bytes]:
        frame: Any
        if ending == "gz":
            frame = zlib.compressobj(wbits=31)
        elif ending == "bz2":
            frame = bz2.BZ2Compressor()
        elif ending == "xz":
            frame = lzma.LZMACompressor()
        else:
            frame = zstandard.ZstdCompressor().compressobj()
        for piece in pieces:
            yield frame.compress(piece)
        yield frame.flush()

    return packed
