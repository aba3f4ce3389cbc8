"""Compressed bytes → bytes, strictly: cut off, wrongly summed or followed by junk is an error, never the end.

Told by magic bytes, not by name. The standard library's file objects ignore junk after bz2 and xz, so the members are
walked here with its decompressors.
"""

import bz2
import lzma
import zlib
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


CODECS: dict[str, tuple[bytes, Callable[[], Member]]] = {
    "gzip": (b"\x1f\x8b", lambda: zlib.decompressobj(wbits=31)),
    "bz2": (b"BZh", bz2.BZ2Decompressor),
    "xz": (b"\xfd7zXZ\x00", lambda: lzma.LZMADecompressor(format=lzma.FORMAT_XZ)),
}
MAGIC_BYTES = 6


def codec_of(start: bytes) -> str | None:
    """The codec whose magic bytes these are, or None."""
    return next((name for name, (magic, _) in CODECS.items() if start.startswith(magic)), None)


def decompressed(source: str, codec: str, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The bytes inside, in pieces of bounded size, whatever the ratio.

    Raises:
        InputProblem: cut off, damaged, or followed by something else; everything before was given out.
    """
    _, new_member = CODECS[codec]
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
            except (zlib.error, OSError, lzma.LZMAError, EOFError) as error:
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
