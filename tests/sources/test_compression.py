"""If this fails, a damaged archive passes for a whole one, or a good one is refused or read by its name."""

import builtins
import bz2
import gzip
import lzma
import random
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import zstandard
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from budget_cli.errors import InputProblem
from budget_cli.sources import compression
from budget_cli.sources import local as sources
from budget_cli.sources.extras import install

PACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstandard.ZstdCompressor(write_checksum=True).compress,
}
TEXT = b"".join(b"%d %d\n" % (i, random.Random(i).getrandbits(60)) for i in range(3000))  # does not compress well


def in_pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def unpacked(codec: str, pieces: Iterable[bytes]) -> tuple[bytes, str | None]:
    """Return the decompressed data, and the problem."""
    out = b""
    try:
        for piece in compression.decompress("a", codec, pieces):
            out += piece
    except InputProblem as problem:
        return out, problem.problem
    return out, None


@pytest.mark.exhaustive
@pytest.mark.parametrize("codec", PACK)
@pytest.mark.parametrize("text", [b"", b"a\n", TEXT])
@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_decompression_restores_the_input(codec: str, text: bytes, size: int) -> None:
    packed = PACK[codec](text)
    assert compression.codec_of(packed) == codec
    assert unpacked(codec, in_pieces(packed, size)) == (text, None)


@examples(50)
@given(
    codec=st.sampled_from(list(PACK)),
    texts=st.lists(st.binary(max_size=40), min_size=1, max_size=4),
    size=st.integers(1, 60),
)
def test_concatenated_members_are_one_text(codec: str, texts: list[bytes], size: int) -> None:
    packed = b"".join(map(PACK[codec], texts))
    assert unpacked(codec, in_pieces(packed, size)) == (b"".join(texts), None)


@pytest.mark.parametrize("codec", ["gzip", "xz"])
@pytest.mark.parametrize("size", [1, 5, 1 << 20])
def test_zero_padding_between_and_after_members_is_fine(codec: str, size: int) -> None:
    packed = PACK[codec](b"one\n") + b"\0" * 12 + PACK[codec](b"two\n") + b"\0" * 512
    assert unpacked(codec, in_pieces(packed, size)) == (b"one\ntwo\n", None)


@pytest.mark.parametrize("codec", PACK)
@pytest.mark.parametrize("size", [1000, 1 << 20])
def test_truncation_anywhere_is_a_problem_after_the_data_before_it(codec: str, size: int) -> None:
    packed = PACK[codec](TEXT)
    for length in (len(packed[:3]), 20, len(packed) // 2, len(packed) - 9, len(packed) - 1):
        out, problem = unpacked(codec, in_pieces(packed[:length], size))
        assert problem == f"the {codec} data is cut off: the data before that was read, the rest is missing"
        assert TEXT.startswith(out)
    out, _ = unpacked(codec, in_pieces(packed[: len(packed) - 1], size))
    assert len(out) > len(TEXT) - 10_000


@pytest.mark.exhaustive
@pytest.mark.parametrize("codec", PACK)
@pytest.mark.parametrize("junk", [b"junk", b"\n", b"{}\n", b"\0\0\0\0junk"])
@pytest.mark.parametrize("size", [1, 1 << 20])
def test_trailing_junk_is_a_problem_after_the_data_before_it(codec: str, junk: bytes, size: int) -> None:
    packed = PACK[codec](TEXT)
    pieces = [packed + junk] if size > len(packed) else [packed, *in_pieces(junk, size)]
    out, problem = unpacked(codec, pieces)
    assert out == TEXT
    assert problem is not None
    assert codec in problem
    assert problem.endswith("the data before it was read, the rest was not") or "cut off" in problem


@pytest.mark.parametrize("codec", PACK)
def test_padding_is_junk_where_the_format_has_none(codec: str) -> None:
    _, problem = unpacked(codec, [PACK[codec](b"one\n") + b"\0" * 4])
    assert (problem is None) == (codec in ("gzip", "xz"))


def flipped(packed: bytes, at: int) -> bytes:
    return packed[:at] + bytes([packed[at] ^ 0x10]) + packed[at + 1 :]


@pytest.mark.parametrize(("codec", "at"), [("gzip", -6), ("gzip", -3), ("bz2", 12), ("xz", -20), ("zstd", -2)])
def test_a_wrong_checksum_or_size_is_damage(codec: str, at: int) -> None:
    packed = PACK[codec](TEXT)
    out, problem = unpacked(codec, [flipped(packed, at % len(packed))])
    assert problem is not None
    assert problem.startswith(f"damaged {codec} data (")
    assert TEXT.startswith(out)


@pytest.mark.parametrize("codec", PACK)
def test_every_flipped_bit_of_the_data_is_detected(codec: str) -> None:
    packed = PACK[codec](TEXT)
    for at in range(len(packed) // 4, len(packed) - 1, len(packed) // 40):
        out, problem = unpacked(codec, [flipped(packed, at)])
        assert problem is not None or out == TEXT


@pytest.mark.parametrize("codec", PACK)
def test_data_that_expands_a_thousandfold_comes_in_pieces_of_bounded_size(codec: str) -> None:
    packed = PACK[codec](b"\n" * (8 << 20))
    sizes = [len(piece) for piece in compression.decompress("a", codec, [packed])]
    assert sum(sizes) == 8 << 20
    assert max(sizes) <= compression.PIECE_BYTES


@pytest.mark.parametrize("start", [b"", b"{", b"\x1f", b"BZ", b"\xfd7zXZ", b'{"prompt_id": 1}\n'])
def test_uncompressed_data_has_no_codec(start: bytes) -> None:
    assert compression.codec_of(start) is None


def test_zstd_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_zstandard(name: str, *rest: Any, **named: Any) -> Any:
        if name == "zstandard":
            raise ImportError(name)
        return real(name, *rest, **named)

    packed = PACK["zstd"](b"a\n")
    monkeypatch.setattr(builtins, "__import__", without_zstandard)
    advice = f"{install('zstd')}, or zstdcat FILE | budget-cli loss -"
    assert unpacked("zstd", [packed]) == (b"", f"this is zstd, which needs another package: {advice}")


def test_an_xz_header_that_claims_gigabytes_is_refused_before_they_are_taken() -> None:
    data = bytearray(lzma.compress(b"x"))
    header = slice(12, 12 + 4 * (data[12] + 1))  # of the block, after that of the stream; its last four bytes are a CRC
    data[16] = 38  # the dictionary: 2 GiB
    data[header.stop - 4 : header.stop] = zlib.crc32(data[header.start : header.stop - 4]).to_bytes(4, "little")
    out, problem = unpacked("xz", [bytes(data)])
    assert (out, problem) == (
        b"",
        "damaged xz data (Memory usage limit exceeded): the data before it was read, the rest was not",
    )


# ---- zip: one file in it, as agent-lightning writes


def zipped(path: Path, **files: bytes) -> str:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return str(path)


def from_zip(name: str) -> tuple[bytes, str | None]:
    """Return the data in the archive, and the problem."""
    out = b""
    (source,) = sources.find([name])
    try:
        for piece in sources.pieces(source):
            out += piece
    except InputProblem as problem:
        return out, problem.problem
    return out, None


def test_a_zip_archive_of_one_file_is_read_whatever_its_name(tmp_path: Path) -> None:
    assert from_zip(zipped(tmp_path / "a.jsonl", one=TEXT)) == (TEXT, None)


def test_a_zip_archive_of_several_files_is_refused(tmp_path: Path) -> None:
    name = zipped(tmp_path / "a.zip", one=b"1\n", two=b"2\n")
    assert from_zip(name) == (b"", "a zip archive of 2 files, expected one: unpack it first")


def test_a_damaged_zip_archive_is_a_problem_after_the_data_before_it(tmp_path: Path) -> None:
    name = zipped(tmp_path / "a.zip", one=TEXT)
    data = bytearray(Path(name).read_bytes())
    data[len(data) // 2] ^= 255
    Path(name).write_bytes(data)
    _, problem = from_zip(name)
    assert problem is not None
    assert problem.startswith("damaged zip archive (")


METHODS = {
    "stored": zipfile.ZIP_STORED,
    "deflate": zipfile.ZIP_DEFLATED,
    "bz2": zipfile.ZIP_BZIP2,
    "lzma": zipfile.ZIP_LZMA,
}


@pytest.mark.exhaustive
@pytest.mark.parametrize("method", METHODS)
def test_a_flipped_bit_of_a_zip_archive_is_a_problem_or_changes_nothing(method: str, tmp_path: Path) -> None:
    name = tmp_path / "a.zip"
    with zipfile.ZipFile(name, "w", METHODS[method]) as archive:
        archive.writestr("a.jsonl", TEXT[:400])
    data = name.read_bytes()
    for at in range(4, len(data)):  # after the bytes that make it a zip archive
        for bit in (1 << at % 8, 0x80 >> at % 8) if method != "lzma" else (0x04,):
            name.write_bytes(data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :])
            found, problem = from_zip(str(name))
            assert found == TEXT[:400] if problem is None else TEXT[:400].startswith(found), at
            assert problem is None or "\n" not in problem


@pytest.mark.parametrize("method", [9, 95, 98])  # deflate64, xz, PPMd: not of the standard library
def test_a_method_that_is_not_known_is_named(method: int, tmp_path: Path) -> None:
    name = zipped(tmp_path / "a.zip", one=TEXT)
    data = Path(name).read_bytes()
    directory = data.index(b"PK\x01\x02")
    for at in (8, directory + 10):  # where the method stands, in the header of the member and in the directory
        data = data[:at] + method.to_bytes(2, "little") + data[at + 2 :]
    Path(name).write_bytes(data)
    _, problem = from_zip(name)
    assert problem is not None
    assert problem.startswith("damaged zip archive (That compression method is not supported")
