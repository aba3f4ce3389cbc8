"""Lines → columns, one line at a time. Names the line, column, field and reason of every rejection.

The reference reader defines what a valid record is. The fast readers (compiled, Parquet by column) must agree with it.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from budget_cli.ids import Ids, Key
from budget_cli.records import columns, record
from budget_cli.records.columns import (
    PLACES_OF_EACH,
    Decoded,
    Floats,
    LeftOut,
    LengthFrom,
    Rejection,
    RejectionLimit,
    ResponseColumns,
    Tally,
)
from budget_cli.records.record import responses
from budget_cli.schema.fields import Fields, compared, singular
from budget_cli.schema.json_values import Invalid
from budget_cli.schema.lookup import NotASample

LONGEST_MESSAGE = 1000  # characters


def decode(data: bytes, fields: Fields, max_line_bytes: int, keep: RejectionLimit) -> Decoded:
    """Read every line of a block; `keep` limits the rejections that are kept in full."""
    reader = ReferenceReader(fields, max_line_bytes, keep)
    lines = data.split(b"\n")
    torn = bool(lines[-1])  # the last line has no newline
    if not torn:
        lines.pop()
    for number, line in enumerate(lines, start=1):
        reader.read_line(number, line, torn=torn and number == len(lines))
    read = reader.columns(Ids())
    reader.tally.length_origins = read.length_origins(fields.tokenizer)
    return Decoded(read, reader.tally, len(lines), reader.rejections, reader.left_out, reader.left_out_by)


def _short(text: str) -> str:
    """Shorten a text with keys of the record in it, which may be of any length."""
    return text if len(text) <= LONGEST_MESSAGE else f"{text[:LONGEST_MESSAGE]}…"


class ReferenceReader:
    """Collects the responses of lines, their tally and the rejections."""

    def __init__(
        self,
        fields: Fields,
        max_line_bytes: int,
        keep: RejectionLimit,
        path_of: Callable[[int, Invalid], str] | None = None,
    ) -> None:
        """Read nothing yet.

        Args:
            fields: the places of fields.
            max_line_bytes: the longest line that is read.
            keep: which rejections are kept in full.
            path_of: the path to what is wrong in the record of this number; None where records are lines or rows.
        """
        self._path_of = path_of
        self.tally = Tally()
        self.rejections: list[Rejection] = []
        self.left_out: list[LeftOut] = []  # the first places of each reason
        self.left_out_by: list[tuple[Key | None, int, str]] = []  # label, line and reason of all, if there are labels
        self._fields, self._max_line_bytes, self._keep = fields, max_line_bytes, keep
        self.rows: list[record.Response] = []
        self._lines: list[int] = []  # of each row

    def read_line(self, number: int, line: bytes, torn: bool) -> None:
        """Read a line, given without its newline; `torn` if it had none."""
        if len(line) <= self._max_line_bytes and not line.strip(b" \t\r"):
            self.tally.blank += 1
            return
        accepts_nan = self._fields.ignore_unneeded
        self._read(number, lambda: value_of(line, self._max_line_bytes, accepts_nan), line, torn)

    def read_row(self, number: int, value: Any, of_line: int = 0) -> None:
        """Read a record that is not a line of text, or count the `Invalid` that stands for one that cannot be read.

        Args:
            number: of the record.
            value: the record.
            of_line: the prompt, where each line is one and the record is one of several in it; 0: its own number.
        """
        self._read(number, lambda: value, None, torn=False, of_line=of_line)

    def _read(self, number: int, parsed: Callable[[], Any], line: bytes | None, torn: bool, of_line: int = 0) -> None:
        tally = self.tally
        tally.read += 1
        try:
            value = parsed()
            if isinstance(value, Invalid):
                raise value
            rows, left_out = responses(value, self._fields, of_line or number)
        except NotASample:
            tally.skipped += 1
        except Invalid as bad:
            from budget_cli.records.diagnosis import column_of, is_torn  # which only damaged input needs

            if torn and line is not None and is_torn(line, bad):
                bad = Invalid("truncated-tail", f"the last line is cut off ({bad.message})", column=bad.column)
            tally.rejected += 1
            tally.by_code[bad.code] += 1
            if bad.code in ("missing", "null") and bad.field is not None:
                tally.by_absent_field[singular(bad.field.partition(" ")[0])] += 1
            if self._keep.wants(len(self.rejections), tally.by_code[bad.code] - 1):
                column = None if line is None else bad.column or column_of(line, bad.path)
                if self._is_unneeded(number, line, parsed):
                    bad.message += "; --ignore-unneeded reads on without it"
                field = None if bad.field is None else _short(bad.field)
                path = None if self._path_of is None else _short(self._path_of(number, bad))
                self.rejections.append(Rejection("", number, column, bad.code, field, _short(bad.message), path))
        else:
            tally.used += bool(rows or not left_out)
            self.rows += rows
            self._lines += [number] * len(rows)
            for reason, label in left_out:
                self.note_left_out(number, reason, label)

    def note_left_out(self, number: int, reason: str, label: Key | None) -> None:
        """Count a sample that is left out of a line."""
        if self._fields.by:
            self.left_out_by.append((label, number, reason))
        if self.tally.left_out[reason] < PLACES_OF_EACH:
            self.left_out.append(LeftOut("", number, reason))
        self.tally.left_out[reason] += 1

    def _is_unneeded(self, number: int, line: bytes | None, parsed: Callable[[], Any]) -> bool:
        """True if a rejected record is valid but for fields that the coefficients do not need."""
        fields = self._fields
        if fields.ignore_unneeded or (fields.needs_length and fields.needs_log_probs and line is None):
            return False
        try:
            value = parsed() if line is None else value_of(line, self._max_line_bytes, accepts_nan=True)
            if isinstance(value, Invalid):
                return False
            responses(value, replace(fields, ignore_unneeded=True), number)
        except (Invalid, NotASample):
            return False
        return True

    def columns(self, ids: Ids) -> ResponseColumns:
        """Return the responses so far; their prompt ids are added to `ids`."""
        rows = self.rows
        codes = ids.places([row[0] for row in rows])
        line = np.array(self._lines, dtype=np.intp)
        reward = np.array([row[1] for row in rows], dtype=np.float64)
        length, length_from = self._lengths()
        log_prob = columns.optional_column([row[3] for row in rows])
        old_log_prob = columns.optional_column([row[4] for row in rows])
        tokens = columns.optional_column([row[5] for row in rows])
        extras = {
            name: columns.extra_column(kind, [row[6][place] for row in rows])
            for place, (name, kind) in enumerate(self._fields.extra_kinds.items())
            if name in self._fields.extras
        }
        for at, pair in enumerate(self._fields.pairs):
            from budget_cli.records.token_comparison import compare_lists  # which only the checks need

            found = compare_lists([row[7][at] for row in rows], self._fields.bins_tokens)
            extras |= {compared(pair, what): column for what, column in found.items()}
        optionals = length, log_prob, old_log_prob, tokens
        return ResponseColumns(ids.all(), codes, line, reward, *optionals, extras, length_from)

    def _lengths(self) -> tuple[Floats | None, NDArray[np.uint8] | None]:
        """Return the length of each response, and where it comes from; count the tokens of texts, in one batch."""
        lengths = [row[2] for row in self.rows]
        found = columns.optional_column([length.tokens for length in lengths])
        origins = np.array([length.origin for length in lengths], dtype=np.uint8)
        if not origins.any():
            return found, None
        counted = origins == LengthFrom.TOKENIZER
        if counted.any():
            assert self._fields.tokenizer is not None
            found = np.full(origins.size, np.nan) if found is None else found
            texts = [length.texts for length in lengths if length.origin is LengthFrom.TOKENIZER]
            found[counted] = columns.count_tokens(self._fields.tokenizer, texts)
        return found, origins


def value_of(line: bytes, max_line_bytes: int, accepts_nan: bool = False) -> Any:
    """Parse a line.

    Args:
        line: without its newline.
        max_line_bytes: the longest that is read.
        accepts_nan: True to leave it to the fields to refuse NaN and infinities, which are not JSON.

    Raises:
        Invalid: it is too long or is not JSON.
    """
    if len(line) > max_line_bytes:
        raise Invalid("line-too-long", f"longer than {max_line_bytes:,} bytes (--max-line-bytes)", column=1)
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as error:
        from budget_cli.records.diagnosis import diagnose

        return diagnose(line, error, accepts_nan)
