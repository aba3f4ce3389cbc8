"""Compressed bytes → bytes, strictly: cut off, wrongly summed or followed by junk is an error, never the end. And back.

Told by magic bytes, not by name. The standard library's file objects ignore junk after bz2 and xz, so the members are
walked here with its decompressors.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from budget_cli.errors import InputProblem, UsageProblem

PIECE_BYTES = 1 << 18


class Member(Protocol):
    """One gzip, bz2, xz or zstd stream being read."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = ..., /) -> bytes: ...


MAGIC = {"gzip": b"\x1f\x8b", "bz2": b"BZh", "xz": b"\xfd7zXZ\x00", "zstd": b"\x28\xb5\x2f\xfd"}
ZIP = b"PK\x03\x04"
PICKLED = tuple(bytes([0x80, protocol]) for protocol in range(2, 6))
PICKLE = "a pickle: loading it would run whatever code is inside; docs/dumps.md has the three lines that convert it"
MAGIC_BYTES = 6
ZSTD_BYTES = 1 << 13  # at zstd's highest ratios still only tens of MB at a time


def codec_of(start: bytes) -> str | None:
    """The codec whose magic bytes these are, or None."""
    return next((name for name, magic in MAGIC.items() if start.startswith(magic)), None)


def _codec(source: str, name: str) -> tuple[Callable[[], Member], type[Exception]]:
    """What makes a decompressor, and what it raises on damaged data; imported only when met."""
    if name == "zstd":
        try:
            import zstandard
        except ImportError:
            advice = "pip install 'budget-cli[zstd]', or zstdcat FILE | budget-cli loss -"
            raise InputProblem(source, f"this is zstd, which needs one more package: {advice}") from None
        return lambda: _ZstdMember(zstandard.ZstdDecompressor().decompressobj()), zstandard.ZstdError
    if name == "gzip":
        import zlib

        return lambda: zlib.decompressobj(wbits=31), zlib.error
    if name == "bz2":
        import bz2

        return bz2.BZ2Decompressor, OSError
    import lzma

    return lambda: lzma.LZMADecompressor(format=lzma.FORMAT_XZ), lzma.LZMAError


class _ZstdMember:
    """A zstd frame with the manners of the standard library: zstandard gives out all at once, so it is fed slowly."""

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
    """The bytes of the one file in a zip archive.

    Raises:
        InputProblem: there is not exactly one, or it is damaged; what came before was given out.
    """
    import zipfile

    try:
        with zipfile.ZipFile(path) as archive:
            names = [entry.filename for entry in archive.infolist() if not entry.is_dir()]
            if any(name.endswith("data.pkl") for name in names):
                raise InputProblem(source, PICKLE)
            if len(names) != 1:
                raise InputProblem(source, f"a zip archive of {len(names)} files, expected one: unpack it")
            with archive.open(names[0]) as member:
                while piece := member.read(PIECE_BYTES):
                    yield piece
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        raise InputProblem(source, f"damaged zip archive ({error}): what came before was read") from None


def decompress(source: str, codec: str, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The bytes inside, in pieces of bounded size, whatever the ratio.

    Raises:
        InputProblem: cut off, damaged, or followed by something else; everything before was given out.
    """
    new_member, damage = _codec(source, codec)
    member = new_member()
    members, fresh = 0, True  # fresh: nothing of this member has been read yet
    for piece in pieces:
        while piece:
            if member.eof:
                piece = piece.lstrip(b"\0") if codec in ("gzip", "xz") else piece  # these allow zero padding
                if not piece:
                    break
                member, fresh = new_member(), True
            try:
                yield from _some(member, piece)
            except (damage, OSError, EOFError) as error:
                what = f"junk after the {codec} data" if fresh and members else f"damaged {codec} data ({error})"
                raise InputProblem(source, f"{what}: what came before was read, the rest was not") from None
            piece = member.unused_data if member.eof else b""
            members += member.eof
            fresh = False
    if not member.eof:
        raise InputProblem(source, f"the {codec} data is cut off: what came before was read, the rest is missing")


def _some(member: Member, piece: bytes) -> Iterator[bytes]:
    """Feed one piece, give out at most PIECE_BYTES at a time."""
    while True:
        data = member.decompress(piece, PIECE_BYTES)
        for at in range(0, len(data), PIECE_BYTES):
            yield data[at : at + PIECE_BYTES]
        piece = getattr(member, "unconsumed_tail", b"")  # zlib hands back what it has not looked at
        if member.eof or not (piece or (hasattr(member, "needs_input") and not member.needs_input)):
            return


def compressor(name: str) -> Callable[[Iterable[bytes]], Iterator[bytes]]:
    """What a file of this name holds: .gz, .bz2, .xz and .zst are compressed, all else is as it is.

    The same bytes in, the same bytes out, whatever the time of day.

    Raises:
        UsageProblem: the package for it is not there.
    """
    ending = name.rpartition(".")[2] if "." in name else ""
    if ending not in ("gz", "bz2", "xz", "zst"):
        return iter
    if ending == "zst":
        try:
            import zstandard
        except ImportError:
            raise UsageProblem(f"-o {name}: zstd needs one more package: pip install 'budget-cli[zstd]'") from None

    def packed(pieces: Iterable[bytes]) -> Iterator[bytes]:
        frame: Any
        if ending == "gz":
            import zlib

            frame = zlib.compressobj(wbits=31)
        elif ending == "bz2":
            import bz2

            frame = bz2.BZ2Compressor()
        elif ending == "xz":
            import lzma

            frame = lzma.LZMACompressor()
        else:
            frame = zstandard.ZstdCompressor().compressobj()
        for piece in pieces:
            yield frame.compress(piece)
        yield frame.flush()

    return packed
