"""The first records of a dump → the preset that they fit. Reads only the beginning of the first source."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import orjson

from budget_cli.errors import InputProblem
from budget_cli.schema.fields import KINDS, PAIRS, SAMPLER, Fields, names_for, pair_is_read
from budget_cli.schema.json_values import Invalid
from budget_cli.schema.lookup import (
    MISSING,
    TABLE,
    NotASample,
    field_value,
    is_table,
    root_keys,
    rows_of_table,
    split_records,
    value_at,
)
from budget_cli.schema.paths import Expression, Place
from budget_cli.schema.presets import CANONICAL_FIELDS, Preset, choose, is_canonical, rank
from budget_cli.sources import local as sources
from budget_cli.sources.local import Kind, Source

RECORDS = 1000  # the most that are examined
HEAD_BYTES = 1 << 22
GLANCE_BYTES = 1 << 18  # enough to find which fields records have
ROWS = (Kind.PARQUET, Kind.CSV, Kind.TSV)
LONGEST_BYTES = 1 << 26  # of a first line or a document: the parallel arrays of a whole step are one line


class Taken(list[Any]):
    """Records that were taken out of the values that hold them."""


class Sniffed(NamedTuple):
    """The first values of a dump: those of its lines or rows, or one document over many lines."""

    values: list[Any]
    is_document: bool = False
    is_table: bool = False  # True if each value was a table, in place of which its rows are given
    is_alone: bool = False  # True if the first source is this one value, and the value is on one line
    records: str = ""  # the place in each value of the records that are given in its place; "": none are

    @property
    def may_be_document(self) -> bool:
        """True if the first source is one JSON value."""
        return self.is_document or self.is_alone

    def within(self, place: str) -> "Sniffed":
        """Put the records at a place in each value in its place.

        Raises:
            Invalid: the first value is of another shape.
        """
        fields = Fields(records=place, document=self.may_be_document)
        found = Taken(split_records(self.values[0], fields)[:RECORDS])
        for value in self.values[1:]:
            if len(found) >= RECORDS:
                break
            found += records_of(value, fields) or ()
        return self._replace(values=Taken(found[:RECORDS]), records=place)


def sniff(found: Sequence[Source], longest: int = LONGEST_BYTES) -> Sniffed:
    """Read the first values of the first source that has any.

    Args:
        found: the sources.
        longest: bytes of a first line or a document that are read.

    Raises:
        InputProblem: it is something else than JSON as a whole, or a document that is damaged or too long.
    """
    longest = max(longest, LONGEST_BYTES)
    for source in found:
        has_rows = source.kind in ROWS
        begun = Sniffed(_first_rows(source)) if has_rows else _first_values(source, longest)
        if begun.values or source.size is None:  # a later stream must not be started early
            return _untabled(begun, source.name)
    return Sniffed([])


def _untabled(begun: Sniffed, source: str) -> Sniffed:
    """Put the rows of tables, such as Weights & Biases writes, in their place.

    Raises:
        InputProblem: two columns have the same name.
    """
    if not begun.values or not all(map(is_table, begun.values)):
        return begun
    try:
        rows = [row for value in begun.values for row in rows_of_table(value)]
    except Invalid as bad:
        if bad.field == "columns":
            raise InputProblem(source, bad.message) from None
        rows = []  # the scan will report it
    return Sniffed(rows[:RECORDS], begun.may_be_document, is_table=True)


def _first_values(source: Source, longest: int) -> Sniffed:
    values: list[Any] = []
    for most in (HEAD_BYTES, longest):
        head = sources.head(source, most)
        values = _values_of_lines(head)
        is_whole = len(head) < most
        blank = sum(not line.strip() for line in head.split(b"\n", RECORDS)[:-1])
        if len(values) * 2 > min(head.count(b"\n"), RECORDS) - blank:
            is_alone = is_whole and isinstance(values[0], dict | list) and b"\n" not in head.strip()
            return Sniffed(values, is_alone=is_alone)
        try:  # hardly any line is a value by itself
            return Sniffed([orjson.loads(head)], is_document=True)
        except orjson.JSONDecodeError:
            if is_whole:
                break
    return _damaged_document(source, head, is_whole, longest) or Sniffed(values)


def _damaged_document(source: Source, head: bytes, is_whole: bool, most: int) -> Sniffed | None:
    """Return the value of a document that holds NaN; None if a source that begins like this may be lines.

    Raises:
        InputProblem: it is a document that is damaged or too long, or is no JSON at all.
    """
    from budget_cli.records import documents, jsonl, other_files  # which only such sources need

    text = head.removeprefix(b"\xef\xbb\xbf")
    first = text.lstrip().partition(b"\n")[0].strip()
    if first[:1] == b"[" or first == b"{":
        if is_whole:
            return Sniffed([documents.value_of(text, source.name)[0]], is_document=True)
        raise jsonl.too_long(source, most)
    if b"{" not in first and b"\n{" not in text and (what := other_files.described(text)) is not None:
        raise InputProblem(source.name, what)
    return None


def _first_rows(source: Source) -> list[Any]:
    if source.kind is not Kind.PARQUET:
        from budget_cli.records import delimited  # which few dumps are

        return delimited.head(source, RECORDS, HEAD_BYTES)
    from budget_cli.records import parquet  # and pyarrow, which only Parquet needs

    try:
        return parquet.head(source, RECORDS, HEAD_BYTES)
    except InputProblem:
        return []  # the scan will report the problem


def _values_of_lines(head: bytes) -> list[Any]:
    values = []
    for line in head.split(b"\n", RECORDS)[:RECORDS]:
        try:
            values.append(orjson.loads(line))
        except orjson.JSONDecodeError as error:
            from budget_cli.records.diagnosis import is_too_deep  # only for what is not JSON

            if is_too_deep(line, error):  # Python takes more levels from 3.14 on
                continue
            try:  # NaN, which Python writes: the scan rejects the record, but it still shows the framework
                values.append(json.loads(line.decode()))
            except (ValueError, RecursionError):
                continue
    return values


def canonical_first_record(found: Sequence[Source], given: Fields) -> Any:
    """Return the first record of a file if its fields are at the given places, so that no preset is needed."""
    if not found[0].in_ranges:
        return None
    try:
        if found[0].path is None:
            record = orjson.loads(sources.head(found[0], HEAD_BYTES).partition(b"\n")[0])
        else:
            with open(found[0].path, "rb") as file:
                record = orjson.loads(file.readline(HEAD_BYTES))
    except (orjson.JSONDecodeError, OSError):
        return None
    return record if is_canonical(record, given) and not are_columns(record, given) else None


def are_columns(value: dict[str, Any], given: Fields) -> bool:
    """True if an object has, at their given places, the ids of prompts and as many rewards, in two lists."""
    ids, rewards = (field_value(value, given, name) for name in ("prompt_id", "reward"))
    return isinstance(ids, list) and isinstance(rewards, list) and len(ids) == len(rewards) > 0


def detect_preset(
    begun: Sniffed, presets: Mapping[str, Preset], given: Fields = CANONICAL_FIELDS, some_mapped: bool = False
) -> Preset | None:
    """Choose the preset of a dump by its first values; None if fields are where `given` says, or nothing can be read.

    Raises:
        UsageProblem: none fits, or several do; see `presets.choose`.
    """
    samples = [
        v for v in begun.values if isinstance(v, dict) or (isinstance(v, list) and any(isinstance(e, dict) for e in v))
    ]
    if not samples:
        return None
    known = presets_for(begun, presets)
    if (
        begun.is_document
        and not begun.is_table
        and not begun.records
        and not any(fit.fits for fit in rank(samples, known))
    ):
        return None  # the scan explains JSON that is not one record per line
    return choose(samples, known, given, some_mapped)


def presets_for(begun: Sniffed, presets: Mapping[str, Preset]) -> dict[str, Preset]:
    """Return the presets that may fit: of a document those of documents; of lines all, as a document may be on one.

    Of a table, and of what was taken out of values, these are the presets of single records.
    """
    if begun.is_table or begun.records:
        flat = (preset for preset in presets.values() if not preset.records and not preset.document)
        return {preset.name: preset for preset in flat}
    if begun.is_document:
        return {name: preset for name, preset in presets.items() if preset.document}
    return {name: preset._replace(document=False) for name, preset in presets.items()}


def canonical_present(begun: Sniffed, fields: Fields) -> frozenset[str]:
    """Return the fields that a preset does not place and that some of the first records have by their own names."""
    if not fields.unmapped:
        return frozenset()
    found = samples(begun.values, fields)
    return frozenset(name for name in fields.unmapped if has_field(found, fields, name))


def reward_functions(begun: Sniffed, preset: Preset | None) -> list[str]:
    """List the keys of the first records that are rewards by function, of a preset whose writers keep no total.

    A function may have any name, so that these are the keys that hold numbers and are not named like anything else.
    """
    if preset is None or any(name == "reward" for name, _ in preset.places):
        return []
    from budget_cli.schema.guessed_numbers import may_be_function  # only where there is no total

    known = {place.split(".")[0] for place in preset.detect}
    found: dict[str, None] = {}
    for value in begun.values:
        for key, inner in value.items() if isinstance(value, dict) else ():
            several = inner if isinstance(inner, list) else [inner]
            if key not in known and any(isinstance(n, (int, float)) and not isinstance(n, bool) for n in several):
                found[key] = None
    return [key for key in found if may_be_function(key)]


def samples(values: Sequence[Any], fields: Fields) -> list[dict[str, Any]]:
    """Return the records that are objects, from the values of some lines, or from what was taken out of them."""
    if fields.records == TABLE or isinstance(values, Taken):
        fields = replace(fields, records="", document=False)
    found = [sample for value in values for sample in records_of(value, fields) or ()]
    return [sample for sample in found if isinstance(sample, dict)]


def records_of(value: Any, fields: Fields) -> list[Any] | None:
    """Return the records that the value of a line holds; None if it has another shape."""
    try:
        return split_records(value, fields)
    except (Invalid, NotASample):
        return None


def extras_present(found: Sequence[dict[str, Any]], fields: Fields) -> set[str]:
    """Return the optional fields in `fields.extras` that some of these samples have."""
    return {name for name in fields.extras if has_field(found, fields, name)}


def glance(found: Sequence[Source], fields: Fields) -> list[dict[str, Any]]:
    """Return the first samples of the first source, fewer than `sniff` would read."""
    in_whole = fields.document or fields.records == TABLE or found[0].kind in ROWS
    values = [] if in_whole else _values_of_lines(sources.head(found[0], GLANCE_BYTES))
    return samples(values or sniff(found).values, fields)


def has_token_pairs(found: Sequence[dict[str, Any]], fields: Fields) -> bool:
    """True if one of these samples has the log-probs of its tokens under two policies, in lists."""
    pairs = [names for pair, names in PAIRS.items() if pair_is_read(pair, fields.extras)]
    return any(
        all(isinstance(field_value(sample, fields, names_for(name)[i]), list) for name in names)
        for sample in found
        for names in pairs
        for i in (0, 1)
    )


# as slime, verl, SkyRL, NeMo-RL, prime-rl, TRL and others call the log-probs of the inference engine
OF_SAMPLER = (
    r"(rollout|generation|inference|infer|sampling|sampler|behaviou?r|vllm|sglang)_?(per_token_)?(log_?probs?|logps?)"
)


def sampler_key(found: Sequence[dict[str, Any]], fields: Fields) -> str:
    """Return the key of these samples that is named like the log-probs of a sampler and read as nothing; "": none."""
    used = {key for name in ("log_prob", "old_log_prob", SAMPLER) for key in root_keys(fields.paths[name])}
    for key, value in (item for sample in found for item in sample.items()):
        if key not in used and re.fullmatch(OF_SAMPLER, key) and isinstance(value, (list, float)) and value:
            return key
    return ""


def lacking(found: Sequence[dict[str, Any]], fields: Fields) -> list[str]:
    """Return the required fields that none of these samples has; lists of log-probs have a length."""
    absent = [name for name in KINDS if fields.required(name) and not has_field(found, fields, name)]
    lists = [each for name in ("log_prob", "old_log_prob") for each in names_for(name)]
    counted = fields.tokenizer is not None or any(
        isinstance(field_value(sample, fields, name), list) for sample in found for name in lists
    )
    given = ({"prompt_id"} if fields.group else set()) | ({"response_length"} if counted else set())
    return [name for name in absent if name not in given]


def has_field(found: Sequence[Any], fields: Fields, name: str) -> bool:
    """True if one of these samples has the field, as one value or as an array over a prompt's responses."""
    records, names = [sample for sample in found if isinstance(sample, dict)], names_for(name)
    return any(field_value(sample, fields, each) is not None for sample in records for each in names)


def has_null(found: Sequence[Any], fields: Fields, name: str) -> bool:
    """True if the optional field is null in one of these samples, rather than missing."""
    places = [fields.paths[each] for each in names_for(name)]
    return any(_is_null(sample, place) for sample in found if isinstance(sample, dict) for place in places)


def _is_null(sample: dict[str, Any], place: Place) -> bool:
    try:
        value = value_at(sample, place)
    except Invalid:
        return False
    if isinstance(place, Expression):  # what is null there is missing, too
        keys = list(root_keys(place))
        return value is MISSING and bool(keys) and all(key in sample for key in keys)
    return value is None
