"""A block of JSON lines → columns and rejections.

The compiled reader decodes it where it was built and can read these fields, else the reference reader. Everything that
follows sees arrays only.
"""

import shlex
from dataclasses import replace
from typing import NamedTuple

import orjson

from budget_cli import native
from budget_cli.errors import InputProblem
from budget_cli.records import reference
from budget_cli.records.columns import FIRST_TEN, Decoded, RejectionLimit
from budget_cli.schema.fields import EXTRAS, Fields
from budget_cli.schema.paths import Expression
from budget_cli.sources.blocks import Block
from budget_cli.sources.local import STDIN, Source

if native.AVAILABLE:
    from budget_cli.records import compiled
    from budget_cli.records.reader_plan import plan_for

TEXTS = {name for name, kind in EXTRAS.items() if kind == "text"}  # always read in Python
UTF8_BOM = b"\xef\xbb\xbf"
OTHER_BOMS = {
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}


class Limits(NamedTuple):
    """The longest line to read, and the rejections to keep."""

    max_line_bytes: int = 64 << 20
    keep: RejectionLimit = FIRST_TEN


def decode(block: Block, fields: Fields, limits: Limits) -> Decoded:
    """Decode the responses of a block.

    Raises:
        InputProblem: the source is not JSON lines at all.
    """
    if block.first:
        block = _without_bom(block)
        if not fields.records.startswith("[]"):
            _require_json_lines(block)
    decoded = None
    if native.AVAILABLE:
        decoded = compiled.decode(block, fields, limits.max_line_bytes, limits.keep)
    return decoded or reference.decode(bytes(block.view), fields, limits.max_line_bytes, limits.keep)


def too_long(source: Source, most: int) -> InputProblem:
    """Say that a source is a JSON document of more than `most` bytes, and what allows for it."""
    size = source.size if source.in_ranges and source.size else 4 * most
    limit = f"a JSON document of more than {most:,} bytes, which is read in whole"
    return InputProblem(source.name, f"{limit}: --max-line-bytes {size} allows for it")


def decode_document(block: Block, fields: Fields, limits: Limits) -> Decoded:
    """Decode the records of a block that is one JSON value, over any number of lines.

    Raises:
        InputProblem: it is not one JSON value.
    """
    from budget_cli.records import documents  # which few dumps are

    return documents.decode(bytes(_without_bom(block).view), block.source, fields, limits.keep)


def is_compiled(fields: Fields) -> bool:
    """True if reading blocks with these fields is almost all compiled code, which runs without Python's lock."""
    if fields.counts_every_text:  # the tokenizer takes thirty times as long as everything that Python does
        return True
    if not native.AVAILABLE:
        return False
    plan = plan_for(fields)
    return plan is not None and not plan.computed and not plan.judged


def in_python(fields: Fields) -> list[str]:
    """Return the expressions that the compiled reader leaves to Python, as NAME=EXPRESSION; none without it."""
    plan = plan_for(fields) if native.AVAILABLE and not fields.document else None
    if plan is None:
        return []
    places = [(name, fields.paths[name]) for name in (*plan.expressions, *plan.extras) if name not in TEXTS]
    places += fields.leave_out if plan.judged else ()
    return [f"{name}={place.text}" for name, place in places if isinstance(place, Expression)]


def require_utf8(source: str, start: bytes) -> None:
    """Refuse a source that begins as one of another encoding.

    Raises:
        InputProblem: it does.
    """
    for bom, name in OTHER_BOMS.items():
        if start.startswith(bom):
            raise InputProblem(source, f"this is {name}, expected UTF-8: try `iconv -f {name} -t UTF-8{_file(source)}`")


def _without_bom(block: Block) -> Block:
    start = bytes(block.view[:4])
    require_utf8(block.source, start)
    return replace(block, start=block.start + len(UTF8_BOM)) if start.startswith(UTF8_BOM) else block


def _is_whole_line(block: Block) -> bool:
    """True if the first line is a value, and another line follows it."""
    line, _, rest = bytes(block.view).lstrip().partition(b"\n")
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return bool(rest.strip())


def _require_json_lines(block: Block) -> None:
    """Refuse a source that is something else as a whole: each of its lines would be rejected."""
    start = bytes(block.view[:4096])
    first = start.lstrip().partition(b"\n")[0].strip()
    if first[:1] == b"[" and _is_whole_line(block):
        lines = "jq -c 'if type == \"array\" then .[] else . end'"
        raise InputProblem(
            block.source,
            "a list on its first line, and more lines after it: expected one record on each line, or nothing but lists:"
            f" make lines of it: {lines}{_file(block.source)} | budget-cli loss -",
        )
    if first[:1] == b"[" or first == b"{":
        raise InputProblem(
            block.source, "a JSON document, where JSON lines are expected, as the first file is: read it by itself"
        )
    if first[:1] in b'{"' or b"\n{" in start:  # whatever else there is, it holds records
        return
    from budget_cli.records import other_files  # which only such a source needs

    if (what := other_files.described(start)) is not None:
        raise InputProblem(block.source, what)


def _file(source: str) -> str:
    """Write the source as a shell argument; standard input needs none."""
    return "" if source == STDIN else f" {shlex.quote(source)}"
