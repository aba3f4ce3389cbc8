"""decode(block, fields) → columns and rejections: the seam on which speed depends.

The compiled reader where it is installed, else the typed one; the careful one for what they leave. Everything behind it
sees arrays only.
"""

import shlex
from dataclasses import dataclass, replace

from budget_cli.errors import InputProblem
from budget_cli.reading import careful
from budget_cli.reading.blocks import Block
from budget_cli.reading.columns import FIRST, Decoded, Keep
from budget_cli.reading.fields import Fields
from budget_cli.reading.sources import STDIN

WORTH_TYPED = 1 << 15  # bytes; below this, importing msgspec and making its types takes longer than the careful way
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
    keep: Keep = FIRST  # rejections


def decode(block: Block, fields: Fields, limits: Limits) -> Decoded:
    """The block's responses as columns, and its rejected records.

    Raises:
        InputProblem: the source is not JSON lines at all.
    """
    if block.first:
        block = _without_bom(block)
        if fields.records != "[]":
            _require_json_lines(block)
    if has_compiled_reader():
        from budget_cli.reading import compiled

        quick = compiled.decode(block, fields, limits.max_line_bytes, limits.keep)
    else:
        quick = _typed(block, fields, limits)
    return quick or careful.decode(bytes(block.view), fields, limits.max_line_bytes, limits.keep)


def is_compiled(fields: Fields) -> bool:
    """Whether blocks with these fields are read in compiled code, without Python's lock."""
    if not has_compiled_reader():
        return False
    from budget_cli.reading.tree import plan_of

    plan = plan_of(fields)
    return plan is not None and not plan.roots


def has_compiled_reader() -> bool:
    """Whether there was a C compiler when this was installed."""
    try:
        from budget_cli.reading import _block  # noqa: F401
    except ImportError:
        return False
    return True


def _typed(block: Block, fields: Fields, limits: Limits) -> Decoded | None:
    if len(block) < WORTH_TYPED:
        return None
    from budget_cli.reading import typed

    return typed.decode(block, fields, limits.max_line_bytes)


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
