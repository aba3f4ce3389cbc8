"""Compressed bytes → bytes, strictly: cut off, wrongly summed or followed by junk is an error, never the end.

Told by magic bytes, not by name. The standard library's file objects ignore junk after bz2 and xz, so the members are
walked here with its decompressors.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from budget_cli.errors import InputProblem

PIECE_BYTES = 1 << 18
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


class Member(Protocol):
    """One gzip, bz2 or xz stream being read."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = ..., /) -> bytes: ...


MAGIC = {"gzip": b"\x1f\x8b", "bz2": b"BZh", "xz": b"\xfd7zXZ\x00"}
MAGIC_BYTES = 6


def codec_of(start: bytes) -> str | None:
    """The codec whose magic bytes these are, or None."""
    return next((name for name, magic in MAGIC.items() if start.startswith(magic)), None)


def _codec(name: str) -> tuple[Callable[[], Member], type[Exception]]:
    """What makes a decompressor, and what it raises on damaged data; imported only when met."""
    if name == "gzip":
        import zlib

        return lambda: zlib.decompressobj(wbits=31), zlib.error
    if name == "bz2":
        import bz2

        return bz2.BZ2Decompressor, OSError
    import lzma

    return lambda: lzma.LZMADecompressor(format=lzma.FORMAT_XZ), lzma.LZMAError


def decompressed(source: str, codec: str, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The bytes inside, in pieces of bounded size, whatever the ratio.

    Raises:
        InputProblem: cut off, damaged, or followed by something else; everything before was given out.
    """
    new_member, damage = _codec(codec)
    member = new_member()
    members, fresh = 0, True  # fresh: nothing of this member has been read yet
    for piece in pieces:
        while piece:
            if member.eof:
                piece = piece.lstrip(b"\0") if codec != "bz2" else piece  # gzip and xz allow zero padding
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
        if data:
            yield data
        piece = getattr(member, "unconsumed_tail", b"")  # zlib hands back what it has not looked at
        if member.eof or not (piece or (hasattr(member, "needs_input") and not member.needs_input)):
            return
