"""decode(block, fields) → columns and rejections: the seam on which speed depends.

Tries the whole block at once, and reads it again line by line when anything is unexpected. Everything behind it sees
arrays only.
"""

import shlex
from dataclasses import dataclass, replace

from budget_cli.errors import InputProblem
from budget_cli.reading import careful
from budget_cli.reading.blocks import Block
from budget_cli.reading.columns import Decoded
from budget_cli.reading.fields import Fields
from budget_cli.reading.sources import STDIN

WORTH_FAST = 1 << 15  # bytes; below this, importing msgspec and compiling its types takes longer than the careful way
LONG_LINE = 10_000  # bytes; from here on simdjson is faster than msgspec
UTF8_BOM = b"\xef\xbb\xbf"
OTHER_BOMS = {
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}


@dataclass(frozen=True)
class Limits:
    """How much of a block may be held and told."""

    max_line_bytes: int = 64 << 20
    rejections: int | None = 10  # kept in full per block; None: all


def decode(block: Block, fields: Fields, limits: Limits) -> Decoded:
    """The block's responses as columns, and its rejected records.

    Raises:
        InputProblem: the source is not JSON lines at all.
    """
    if block.first:
        block = _without_bom(block)
        if fields.records != "[]":
            _require_json_lines(block)
    quick = None
    if len(block) >= WORTH_FAST:
        first_line = block.buffer.find(b"\n", block.start, block.stop) - block.start
        if not 0 <= first_line < LONG_LINE:
            quick = _long_lines(block, fields, limits)
        if quick is None:
            from budget_cli.reading import fast

            quick = fast.decode(block, fields, limits.max_line_bytes)
    return quick or careful.decode(bytes(block.view), fields, limits.max_line_bytes, limits.rejections)


def _long_lines(block: Block, fields: Fields, limits: Limits) -> Decoded | None:
    try:
        from budget_cli.reading import long_lines
    except ImportError:  # no simdjson for this platform
        return None
    return long_lines.decode(block, fields, limits.max_line_bytes)


def _without_bom(block: Block) -> Block:
    start = bytes(block.view[:4])
    for bom, name in OTHER_BOMS.items():
        if start.startswith(bom):
            raise InputProblem(
                block.source, f"this is {name}, expected UTF-8: try `iconv -f {name} -t UTF-8{_file(block.source)}`"
            )
    return replace(block, start=block.start + len(UTF8_BOM)) if start.startswith(UTF8_BOM) else block


def _require_json_lines(block: Block) -> None:
    for line in bytes(block.view[:4096]).split(b"\n"):
        first = line.strip()
        if first:
            if first.startswith(b"["):
                raise InputProblem(block.source, f"this is JSON, not JSONL: try `jq -c '.[]'{_file(block.source)}`")
            if first == b"{":
                raise InputProblem(block.source, f"this is JSON, not JSONL: try `jq -c .{_file(block.source)}`")
            return


def _file(source: str) -> str:
    """The source as an argument of a shell command; standard input needs none."""
    return "" if source == STDIN else f" {shlex.quote(source)}"
