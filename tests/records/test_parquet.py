"""If this fails, the records of a Parquet file differ from its rows, are not checked like lines, or are cut short."""

import dataclasses
import decimal
import io
import json
import math
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from command import run
from hypothesis import given
from hypothesis import strategies as st
from pyarrow.parquet import ParquetFile, write_table

from budget_cli.errors import InputProblem
from budget_cli.groups.moments import Layout
from budget_cli.records import parquet, parquet_places, parquet_values
from budget_cli.records.columns import (
    ALL_REJECTIONS,
    Decoded,
    ExtraColumn,
    LabelColumn,
    RejectionLimit,
    ResponseColumns,
    TextColumn,
)
from budget_cli.records.jsonl import Limits
from budget_cli.scanning.plan import scan_plan
from budget_cli.scanning.scan import scan
from budget_cli.scanning.state import Scan
from budget_cli.schema.fields import Fields, parse_mappings
from budget_cli.schema.json_values import exact_sum
from budget_cli.schema.parsing import parse_place
from budget_cli.sources import local as sources
from budget_cli.sources.extras import install

SAMPLE = Path(__file__).parents[2] / "sample_data" / "rollouts.jsonl"
RECORDS = [json.loads(line) for line in SAMPLE.read_text(encoding="utf-8").splitlines()]
REWARD_ONLY = Fields(needs_length=False, needs_log_probs=False)
GOOD: dict[str, Any] = {"prompt_id": "p", "reward": 1.0, "log_prob": -1.0, "old_log_prob": -2.0, "response_length": 3}


def written(path: Path, table: pyarrow.Table | list[dict[str, Any]], **options: Any) -> Path:
    table = pyarrow.Table.from_pylist(table) if isinstance(table, list) else table
    write_table(table, path, **options)
    return path


def scanned(path: Path, fields: Fields = Fields(), jobs: int = 1, keep: RejectionLimit = ALL_REJECTIONS) -> Scan:  # noqa: B008
    return scan(sources.find([str(path)]), scan_plan(fields, Layout((1024,)), Limits(keep=keep)), jobs)


def said(found: Scan) -> list[str]:
    return [str(rejection).rpartition("/")[2] for rejection in found.rejections]


def facts(found: Scan) -> tuple[Any, ...]:
    """Return everything that a scan found, except the number of bytes."""
    groups = found.groups
    lengths = [array.tobytes() for array in groups.lengths.items()]
    return groups.table.tobytes(), list(groups.keys()), lengths, found.tally, [str(p) for p in found.problems]


# ---- the same records as lines


@pytest.mark.parametrize("row_group", [1, 7, 48])
@pytest.mark.parametrize("compression", ["snappy", "zstd", "none"])
def test_rows_are_read_like_lines_of_the_same_records(tmp_path: Path, row_group: int, compression: str) -> None:
    path = written(tmp_path / "a.parquet", RECORDS, row_group_size=row_group, compression=compression)
    lines, rows = scanned(SAMPLE), scanned(path)
    assert rows.tally == lines.tally
    assert list(rows.groups.keys()) == list(lines.groups.keys())
    assert rows.groups.table == pytest.approx(lines.groups.table, rel=1e-12)
    assert rows.problems == []


def test_parquet_is_recognized_by_its_first_bytes_whatever_the_name(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", RECORDS)
    assert scanned(path).tally.used == 48


@pytest.mark.parametrize("row_group", [10, 1000])
def test_any_number_of_processes_gives_the_same_to_the_last_bit(tmp_path: Path, row_group: int) -> None:
    records = [{**RECORDS[i % 48], "reward": math.sin(i)} for i in range(1000)]
    records[500]["reward"] = math.nan
    path = written(tmp_path / "a.parquet", records, row_group_size=row_group)
    alone = scanned(path)
    assert said(alone) == ["a.parquet:501: reward: NaN is not a number that can be averaged"]
    for jobs in (2, 3):
        assert facts(scanned(path, jobs=jobs)) == facts(alone)


@pytest.mark.parametrize("by", ["step", "file"])
@pytest.mark.parametrize("row_group", [7, 1000])
def test_rows_have_labels_as_lines_have(tmp_path: Path, by: str, row_group: int) -> None:
    records = [record | {"step": 40 + i // 20} for i, record in enumerate(RECORDS)]
    lines = tmp_path / "a"
    lines.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    fields = Fields(extras=("step",) if by == "step" else ())
    of_lines, of_rows = (
        scan(sources.find([str(path)]), scan_plan(fields, Layout((1024,)), Limits(), by=by), 1)
        for path in (lines, written(tmp_path / "b.parquet", records, row_group_size=row_group))
    )
    assert list(of_rows.by) == ([40, 41, 42] if by == "step" else [str(tmp_path / "b.parquet")])
    for rows, same in zip(of_rows.by.values(), of_lines.by.values(), strict=True):
        assert list(rows.keys()) == list(same.keys())
        assert rows.table == pytest.approx(same.table, rel=1e-12)
    assert list(of_rows.tallies.values()) == list(of_lines.tallies.values())


@pytest.mark.exhaustive
def test_a_row_group_is_read_in_batches_of_only_the_columns_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "BATCH_BYTES", parquet.BATCH_BYTES // 10)
    text = ["x" * 5_000 + str(i) for i in range(2000)]
    table = pyarrow.table({"prompt_id": ["p"] * 2000, "reward": [1.0] * 2000, "completion": text})
    path = written(tmp_path / "a.parquet", table)
    source = sources.find([str(path)])[0]
    (group,) = parquet.row_groups(source)
    assert [part.lines for part in parquet.decode(source, group, REWARD_ONLY, ALL_REJECTIONS)] == [2000]
    with_text = REWARD_ONLY.with_places(parse_mappings(["prompt_id=digest(completion)"]))
    parts = list(parquet.decode(source, group, with_text, ALL_REJECTIONS))
    assert max(part.lines for part in parts) * 5_000 <= 2 * parquet.BATCH_BYTES
    assert sum(part.lines for part in parts) == 2000
    assert [line for part in parts for line in part.columns.line.tolist()] == [*range(1, 2001)]


# ---- the strictness of lines

CASES: list[tuple[str, Any, str | None]] = [  # a field, the values of three rows, what is said of the second
    ("reward", [1.0, math.nan, 0.5], "reward: NaN is not a number that can be averaged"),
    ("reward", [1.0, -math.inf, 0.5], "reward: a number beyond the range of a double"),
    ("reward", [1.0, None, 0.5], "reward: null"),
    ("response_length", [1, -2, 3], "response_length: expected a whole number of tokens, 0 or more, found -2"),
    ("response_length", [1, 2.5, 3], "response_length: expected a whole number of tokens, 0 or more, found 2.5"),
    ("log_prob", [-1.0, None, -3.0], "log_prob: null"),
    ("log_prob", [[-1.0], [-1.0, math.nan], [-2.0]], "log_prob: element 1: NaN is not a number that can be averaged"),
    ("log_prob", [[-1.0], [], [-2.0]], "log_prob: an empty list holds no log-probs; --kl-coef 0 does without them"),
    ("log_prob", [[-1.0], [None], [-2.0]], "log_prob: element 0: expected a number, found null"),
    ("prompt_id", ["a", None, "b"], "prompt_id: null"),
    (
        "prompt_id",
        pyarrow.array([1, 2**64 - 1, 2], pyarrow.uint64()),
        "prompt_id: this integer is too large to be exact in every JSON reader: write it as a string",
    ),
    (
        "reward",
        pyarrow.array(np.array([1.0, math.nan, 2.0], np.float16)),
        "reward: NaN is not a number that can be averaged",
    ),
    # what a type is for: as numbers
    ("reward", pyarrow.array(list(map(decimal.Decimal, ("1.5", "2", "3")))), None),
    ("reward", pyarrow.array([1, 2, 3], pyarrow.uint8()), None),
    ("prompt_id", pyarrow.array(["a", "b", "a"]).dictionary_encode(), None),
    ("prompt_id", pyarrow.array(["a", "b", "a"], pyarrow.large_string()), None),
    ("log_prob", pyarrow.array([[-1.0], [-2.0], [-3.0]], pyarrow.large_list(pyarrow.float32())), None),
]


@pytest.mark.parametrize(("name", "values", "message"), CASES)
def test_a_cell_is_checked_like_a_value_in_a_line(tmp_path: Path, name: str, values: Any, message: str | None) -> None:
    columns = {field: [value] * 3 for field, value in GOOD.items()} | {name: values}
    found = scanned(written(tmp_path / "a.parquet", pyarrow.table(columns)))
    assert said(found) == ([] if message is None else [f"a.parquet:2: {message}"])
    assert (found.tally.read, found.tally.used) == (3, 3 if message is None else 2)


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([True, False], "true"),
        (["x", "1.0"], "a string"),
        (["1.0", "x"], 'the string "1.0"'),
        ([datetime(2026, 1, 1), datetime(2026, 1, 2)], "a value of type timestamp[us]"),
        ([b"1", b"2"], "a value of type binary"),
    ],
)
def test_a_value_that_is_not_a_number_is_named(tmp_path: Path, values: list[Any], found: str) -> None:
    path = written(tmp_path / "a.parquet", pyarrow.table({"prompt_id": ["p", "p"], "reward": values}))
    assert said(scanned(path, REWARD_ONLY))[0].startswith(f"a.parquet:1: reward: expected a number, found {found}")


def test_text_that_is_not_utf8_rejects_only_its_row(tmp_path: Path) -> None:
    raw = pyarrow.array([b"a", b"\xff", b"b"], pyarrow.binary())
    ids = pyarrow.Array.from_buffers(pyarrow.string(), 3, raw.buffers())
    path = written(tmp_path / "a.parquet", pyarrow.table({"prompt_id": ids, "reward": [1.0, 2.0, 3.0]}))
    found = scanned(path, REWARD_ONLY)
    assert said(found) == ["a.parquet:2: byte 0xff is not UTF-8"]
    assert list(found.groups.keys()) == ["a", "b"]


def test_a_missing_column_is_reported_with_the_names_of_all_columns(tmp_path: Path) -> None:
    path = written(tmp_path / "a.parquet", [{"prompt_id": "p", "score": 1.0, "output": "x"}])
    assert said(scanned(path, REWARD_ONLY)) == [
        "a.parquet:1: reward: missing (the record has prompt_id, score, output); give --field reward=PATH"
    ]


def test_rows_are_numbered_over_row_groups_and_a_row_may_be_the_prompt(tmp_path: Path) -> None:
    records = [{"rewards": [1.0, 0.0]}, {"rewards": None}, {"rewards": [2.0, 0.0, 1.0]}]
    path = written(tmp_path / "a.parquet", records, row_group_size=2)
    found = scanned(path, Fields(group="line", needs_length=False, needs_log_probs=False))
    assert list(found.groups.keys()) == [f"{path}:1", f"{path}:3"]
    assert said(found)[0].startswith("a.parquet:2: rewards: null")


@pytest.mark.parametrize("row_group", [6, 1000])
def test_prompts_of_so_many_rows_are_those_of_so_many_lines(tmp_path: Path, row_group: int) -> None:
    path = written(tmp_path / "a.parquet", RECORDS, row_group_size=row_group)
    of_lines, of_rows = (
        json.loads(run("loss", p, "-B", "9", "--group-size", "4", "-f", "json").stdout) for p in (SAMPLE, path)
    )
    assert (of_rows["prompts"], of_rows["loss"]) == (of_lines["prompts"], of_lines["loss"])


def test_nested_columns_are_objects_and_lists(tmp_path: Path) -> None:
    records = [
        {
            "group": {"id": 7},
            "usage": {"output": decimal.Decimal(4)},
            "turns": [{"logps": [-1.0, -0.5]}, {"logps": [-2.0]}],
        },
        {"group": {"id": 7}, "usage": {"output": None}, "turns": [{"logps": [-1.0]}]},
    ]
    path = written(tmp_path / "a.parquet", [record | {"reward": 1.0} for record in records])
    mappings = ["prompt_id=group.id", "response_length=usage.output", "log_prob=turns[].logps"]
    found = scanned(path, Fields(needs_length=False, needs_log_probs=False).with_places(parse_mappings(mappings)))
    assert (found.tally.used, list(found.groups.keys())) == (2, [7])


def test_a_map_is_an_object(tmp_path: Path) -> None:
    parts = pyarrow.map_(pyarrow.string(), pyarrow.struct({"score": pyarrow.float64(), "weight": pyarrow.float64()}))
    rewards = pyarrow.array([{"a": {"score": 1.0, "weight": 0.5}, "b": {"score": 2.0, "weight": 1.0}}], parts)
    path = written(tmp_path / "a.parquet", pyarrow.table({"prompt_id": ["p"], "rewards": rewards}))
    found = scanned(path, REWARD_ONLY.with_places(parse_mappings(["reward=weighted(rewards)"])))
    assert found.groups.column("r_max").tolist() == [2.5]


# ---- column by column, and row by row

ids = st.sampled_from([st.sampled_from(["a", "b", "ä", ""]), st.integers(-3, 3), st.none() | st.just("a")])
numbers = st.floats(allow_nan=False, allow_infinity=False, width=32) | st.sampled_from([0.0, 1e308, 2.0**53])
anything = numbers | st.sampled_from([math.nan, math.inf, None])
lengths = st.sampled_from([st.integers(0, 9), st.integers(-1, 9) | st.none(), st.sampled_from([0.0, 2.0, 2.5])])
log_probs = st.sampled_from(
    [numbers, anything, st.lists(numbers, min_size=1, max_size=3), st.lists(anything, max_size=2) | st.none()]
)
types = st.sampled_from([None, pyarrow.float32(), pyarrow.float64()])


WANTED = ("finish_reason", "step", "advantage", "response_text")
labels = st.sampled_from(
    [
        st.sampled_from(["stop", "length", "", None]),
        st.integers(-(2**63), 2**63 - 1) | st.none(),
        st.none(),
        numbers,
        anything,
        st.booleans(),
    ]
)


@st.composite
def tables(draw: st.DrawFn) -> pyarrow.Table:
    rows = draw(st.integers(1, 5))
    columns = {}
    for name, kinds in {
        "prompt_id": ids,
        "reward": st.sampled_from([numbers, anything]),
        "log_prob": log_probs,
        "old_log_prob": log_probs,
        "response_length": lengths,
    }.items():
        if draw(st.integers(0, 9)):
            values = draw(st.lists(draw(kinds), min_size=rows, max_size=rows))
            kind = draw(types) if name == "reward" else None
            columns[name] = pyarrow.array(values, kind)
    for name in draw(st.sets(st.sampled_from(WANTED))):
        columns[name] = pyarrow.array(draw(st.lists(draw(labels), min_size=rows, max_size=rows)))
    return pyarrow.table(columns or {"prompt_id": ["a"] * rows})


def plain(one: ExtraColumn) -> Any:
    if isinstance(one, LabelColumn):
        return one.values, one.codes.tolist()
    if isinstance(one, TextColumn):
        return one.digest.tolist(), one.characters.tolist()
    return [None if math.isnan(value) else value for value in one.tolist()]


def same(a: ResponseColumns, b: ResponseColumns) -> bool:
    arrays = ("codes", "line", "reward", "length", "log_prob", "old_log_prob")
    pairs = [(getattr(a, name), getattr(b, name)) for name in arrays]
    extras = [{name: plain(one) for name, one in columns.extras.items()} for columns in (a, b)]
    return (
        a.keys == b.keys
        and extras[0] == extras[1]
        and all((x is None) is (y is None) and (x is None or np.array_equal(x, y, equal_nan=True)) for x, y in pairs)
    )


@given(
    table=tables(),
    needs_length=st.booleans(),
    needs_log_probs=st.booleans(),
    wanted=st.sets(st.sampled_from(WANTED)),
    compares_tokens=st.booleans(),
)
def test_decoding_by_column_gives_what_decoding_by_row_gives(
    table: pyarrow.Table, needs_length: bool, needs_log_probs: bool, wanted: set[str], compares_tokens: bool
) -> None:
    extras = tuple(sorted(wanted))
    fields = Fields(
        needs_length=needs_length, needs_log_probs=needs_log_probs, extras=extras, compares_tokens=compares_tokens
    )
    (batch,) = table.to_batches()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet, "WORTH_A_FILTER", 0)
        quick = parquet._decode_by_column(batch, fields, 5)
        any_way = parquet._decode_batch(batch, table.schema.names, fields, 5, ALL_REJECTIONS)
    by_row = parquet._decode_by_row(batch, table.schema.names, fields, range(6, 6 + batch.num_rows), ALL_REJECTIONS)
    if quick is not None:
        assert same(quick.columns, by_row.columns)
        assert (quick.tally, quick.lines, quick.rejections) == (by_row.tally, by_row.lines, [])
    assert same(any_way.columns, by_row.columns)
    assert (any_way.tally, any_way.lines, any_way.rejections) == (by_row.tally, by_row.lines, by_row.rejections)


texts = st.sampled_from(["a", "b_1", "ä", "", "a_2_3"])
whole = st.integers(-3, 3) | st.sampled_from([2**31, 2**53 + 1, -(2**63)])
doubles = st.sampled_from([0.0, -0.0, 0.1, 0.2, 0.3, 1.0, -1e308, 1e308, math.nan, math.inf])
CELLS = [texts, texts | st.none(), whole, whole | st.none(), doubles, doubles | st.none(), st.booleans(), numbers]
sums = st.sampled_from([0.1, 0.2, 0.3, 1e16, -1e16, 1.0, -0.0]) | numbers
SANE = {
    "a": [texts, st.just("q"), st.integers(-2, 2)],
    "b": [texts, st.integers(0, 3), sums],
    "x": [sums, st.integers(-3, 3)],
    "y": [st.integers(0, 9), sums | st.sampled_from([math.nan, None])],
    "z": [sums, st.integers(0, 9), sums | st.sampled_from([math.nan, None])],
}
TALK = pyarrow.list_(pyarrow.struct({"role": pyarrow.string(), "said": pyarrow.list_(pyarrow.float64())}))
turns = st.fixed_dictionaries(
    {"role": texts | st.none(), "said": st.lists(doubles | st.none(), max_size=2) | st.none()}
)
talks = st.lists(turns | st.none(), max_size=2) | st.none()
PLACES = {
    "prompt_id": [
        "digest(m)",
        "digest([a, m])",
        "m[0].role",
        "a",
        "digest([a, b])",
        "digest(a)",
        "[a, b]",
        "stem(a, '_', `1`)",
        "a || b",
        "s.a",
        "missing",
    ],
    "reward": [
        "x",
        "nandot([x, y], `[1.0, 0.5]`)",
        "nandot([x, y, z], `[1, 0.1, 2]`)",
        "nandot([x, missing], `[1.0, 0.5]`)",
        "nandot([x], `[1e308]`)",
        "dot([x, y, z], `[1, 0.5, 0.25]`)",
        "dot([x, x], `[1, 3]`)",
        "total(x)",
        "number(x)",
        "s.x",
    ],
    "response_length": ["y", "minus(y, z)", "s.x", "missing", "length(a)", "a && length(a) || y"],
    "step": ["b", "[a, b]", "s.a", "x"],
    "by": ["m[0].role", "b", "x", "[a, x]", "a || x"],
    "advantage": ["z", "minus(x, y)", "s.x", "nandot([x, y], `[1.0, 0.5]`)"],
    "prompt_text": ["m", "s.m", "a", "b", "[a, b]", "s.a"],
}
SOME = ("step", "by", "advantage", "prompt_text")


@st.composite
def batches(draw: st.DrawFn) -> pyarrow.RecordBatch:
    rows = draw(st.integers(1, 6))
    columns = {}
    sane = draw(st.booleans())
    for name in "abxyz":
        if sane or draw(st.integers(0, 9)):
            cells = draw(st.sampled_from(SANE[name] if sane else CELLS[:4] if name in "ab" else CELLS[2:]))
            column = pyarrow.array(draw(st.lists(cells, min_size=rows, max_size=rows)))
            columns[name] = column.dictionary_encode() if name in "ab" and draw(st.booleans()) else column
    if draw(st.booleans()):
        columns["m"] = pyarrow.array(draw(st.lists(talks, min_size=rows, max_size=rows)), TALK)
    if len(columns) > 1 and draw(st.booleans()):
        gone = pyarrow.array(draw(st.lists(st.integers(0, 5).map(lambda n: n == 0), min_size=rows, max_size=rows)))
        columns["s"] = pyarrow.StructArray.from_arrays(list(columns.values()), list(columns), mask=gone)
    (batch,) = pyarrow.table(columns or {"a": ["a"] * rows}).to_batches()
    return batch


@given(
    batch=batches(),
    places=st.fixed_dictionaries({name: st.sampled_from(places) for name, places in PLACES.items()}),
    wanted=st.sets(st.sampled_from(SOME)),
    where=st.sampled_from(["", "", "", "a != 'a'", "x > `0`", "x", "missing", "s.a"]),
    options=st.fixed_dictionaries(
        {
            "group": st.sampled_from(["", "", "line"]),
            "skip_unscored": st.booleans(),
            "scored_by": st.sampled_from(["", "", "reward", "rewards"]),
            "needs_length": st.booleans(),
            "ignore_unneeded": st.booleans(),
        }
    ),
)
def test_expressions_of_columns_give_what_those_of_rows_give(
    batch: pyarrow.RecordBatch, places: dict[str, str], wanted: set[str], where: str, options: dict[str, Any]
) -> None:
    extras = tuple(sorted(wanted))
    fields = Fields(
        needs_log_probs=False, extras=extras, **{key: options[key] for key in options if key != "scored_by"}
    )
    fields = fields.with_places(parse_mappings([f"{name}={place}" for name, place in places.items() if name != "by"]))
    fields = dataclasses.replace(
        fields,
        places=(*fields.places, ("by", parse_place(places["by"]))),
        scored_by=options["scored_by"],
        leave_out=(("where", parse_place(where)),) if where else (),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet, "WORTH_A_FILTER", 0)
        quick = parquet._decode_by_column(batch, fields, 5)
        any_way = parquet._decode_batch(batch, batch.schema.names, fields, 5, ALL_REJECTIONS)
    by_row = parquet._decode_by_row(batch, batch.schema.names, fields, range(6, 6 + batch.num_rows), ALL_REJECTIONS)
    if quick is not None:
        assert same(quick.columns, by_row.columns)
        assert (quick.tally, quick.lines, quick.rejections) == (by_row.tally, by_row.lines, [])
        assert quick.left_out == by_row.left_out
    assert same(any_way.columns, by_row.columns)
    assert (any_way.tally, any_way.lines, any_way.rejections) == (by_row.tally, by_row.lines, by_row.rejections)
    assert any_way.left_out == by_row.left_out


summands = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([1e16, -1e16, 1.0, 0.1, 2.0**-60, 1e308])


@given(lists=st.lists(st.lists(summands, max_size=6), min_size=1, max_size=5))
def test_the_sums_of_lists_are_rounded_once(lists: list[list[float]]) -> None:
    offsets = np.cumsum([0, *map(len, lists)])
    values = np.array([value for each in lists for value in each])
    assert parquet_places.sums_of_lists(values, offsets).tolist() == [exact_sum(each) for each in lists]


def test_a_row_without_a_reward_is_skipped_before_a_condition_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "WORTH_A_FILTER", 0)
    (batch,) = pyarrow.table({"prompt_id": ["a", "a"], "step": [1, 2], "reward": [None, 1.0]}).to_batches()
    where = (("where", parse_place("step == `2`")),)
    fields = Fields(needs_length=False, needs_log_probs=False, skip_unscored=True, leave_out=where)
    fields = fields.with_places(parse_mappings(["reward=total(reward)"]))  # of which null is missing
    found = parquet._decode_batch(batch, batch.schema.names, fields, 0, ALL_REJECTIONS)
    assert (found.tally.skipped, found.tally.used, found.left_out) == (1, 1, [])


def test_the_rows_that_a_condition_keeps_are_decoded_by_column(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = {"step": [1, 2, None, 2], "reward": [None, 1.0, 7.0, 3.0], "prompt_id": ["a", "b", "a", "b"]}
    (batch,) = pyarrow.table(columns).to_batches()
    fields = Fields(needs_length=False, needs_log_probs=False, leave_out=(("where", parse_place("step == `2`")),))
    assert parquet._decode_by_column(batch, fields, 10) is None
    monkeypatch.setattr(parquet, "WORTH_A_FILTER", 4)
    found = parquet._decode_by_column(batch, fields, 10)
    assert found is not None
    assert (found.tally.read, found.tally.used, dict(found.tally.left_out), found.lines) == (4, 2, {"where": 2}, 4)
    assert [(each.line, each.reason) for each in found.left_out] == [(11, "where"), (13, "where")]
    assert (list(found.columns.keys), found.columns.line.tolist()) == (["b"], [12, 14])
    assert found.columns.reward.tolist() == [1.0, 3.0]


def test_rows_without_a_number_do_not_keep_the_others_from_being_decoded_by_column(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    columns = {
        "prompt_id": ["b", "a", "b", "a", "a", "b"],
        "reward": [1.0, None, 0.0, 1.0, 0.5, 0.25],
        "log_prob": [[-1.0], [-2.0], [], [-3.0, -1.0], [-2.0, None], [-0.5]],
        "old_log_prob": [[-1.0], [-2.0], [-2.0], [-3.0, -2.0], [-2.0, -1.0], [-0.5, -0.5]],
    }
    (batch,) = pyarrow.table(columns).to_batches()
    monkeypatch.setattr(parquet, "WORTH_A_FILTER", 6)
    sizes: list[int] = []
    by_row = parquet._decode_by_row
    monkeypatch.setattr(parquet, "_decode_by_row", lambda *args: sizes.append(args[0].num_rows) or by_row(*args))
    found = parquet._decode_batch(batch, batch.schema.names, Fields(), 10, ALL_REJECTIONS)
    assert sizes == [4]
    assert [(one.line, one.code, one.field) for one in found.rejections] == [
        (12, "null", "reward"),
        (13, "missing", "log_prob"),
        (15, "wrong-type", "log_prob"),
        (16, "unequal-lengths", "old_log_prob"),
    ]
    assert (found.tally.read, found.tally.used, found.tally.rejected, found.lines) == (6, 2, 4, 6)
    assert (list(found.columns.keys), found.columns.codes.tolist(), found.columns.line.tolist()) == (
        ["b", "a"],
        [0, 1],
        [11, 14],
    )


EXPRESSIONS = [
    ["prompt_id=digest([step, talk])", "reward=x"],  # TRL, of a conversation
    ["prompt_id=talk[0].content", "reward=x"],
    ["prompt_id=kind", "reward=x"],
    ["prompt_id=digest([step, prompt])", "reward=nandot([x, y], `[1.0, 0.5]`)"],  # TRL
    ["prompt_id=task", "response_length=version && sum(version) || minus(total, before)", "reward=x"],  # AReaL
    ["prompt_id=[step, task]", "reward=made.score", "response_length=total"],
]


@pytest.mark.parametrize("mappings", EXPRESSIONS)
def test_expressions_of_plain_columns_are_decoded_by_column(mappings: list[str]) -> None:
    columns = {
        "step": [1, 1, 1],
        "prompt": ["q", "q", "r"],
        "task": ["t", "t", "u"],
        "talk": [[{"role": "user", "content": text}] for text in ("q", "q", "r")],
        "kind": pyarrow.array(["t", "t", "u"]).dictionary_encode(),
        "x": [1.0, 0.5, 0.0],
        "y": [None, 1.0, math.nan],
        "total": [10, 12, 14],
        "before": [4, 4, 5],
        "made": [{"score": 1.0}, {"score": 2.0}, {"score": 3.0}],
    }
    (batch,) = pyarrow.table(columns).to_batches()
    fields = Fields(needs_length=False, needs_log_probs=False, extras=("step", "prompt_text"))
    fields = fields.with_places(parse_mappings([*mappings, "prompt_text=prompt"]))
    found = parquet._decode_by_column(batch, fields, 0)
    by_row = parquet._decode_by_row(batch, batch.schema.names, fields, range(1, batch.num_rows + 1), ALL_REJECTIONS)
    assert found is not None
    assert same(found.columns, by_row.columns)
    assert found.columns.codes.tolist() == [0, 0, 1]


@pytest.mark.parametrize("ids", [["a", "b", "a"], [1, 2, 1]])
@pytest.mark.parametrize("log_prob", [[-1.0, -2.0, -3.0], [[-1.0], [-1.0, -2.0], [-0.5]]])
def test_plain_columns_are_decoded_by_column(ids: list[Any], log_prob: list[Any]) -> None:
    columns = {"prompt_id": ids, "reward": [1, 0, 1], "log_prob": log_prob, "old_log_prob": log_prob}
    more = {"response_length": [1, 2, 1], "finish_reason": ["stop", None, "length"], "advantage": [0.5, -1, 0.5]}
    (batch,) = pyarrow.table(columns | more).to_batches()
    found = parquet._decode_by_column(batch, Fields(extras=("finish_reason", "step", "advantage")), 0)
    assert isinstance(found, Decoded)
    assert found.tally.used == 3
    assert {name: plain(one) for name, one in found.columns.extras.items()} == {
        "finish_reason": (["stop", "length"], [0, -1, 1]),
        "step": ([], [-1] * 3),
        "advantage": [0.5, -1, 0.5],
    }


def test_tokens_are_compared_by_column() -> None:
    lists = [[-1.0, -2.0], [-0.5, -0.25, 0.0], [0.0]]
    others = [[-1.0, 0.0], [0.0, -0.25, -3.0], [-1.0]]
    ids = {"prompt_id": ["a"] * 3, "reward": [1, 0, 1]}
    table = pyarrow.table(ids | {"log_prob": lists, "old_log_prob": others, "sampler_log_prob": lists})
    (batch,) = table.to_batches()
    fields = Fields(compares_tokens=True, extras=("sampler_log_prob",))
    found = parquet._decode_by_column(batch, fields, 0)
    assert isinstance(found, Decoded)
    shown = {name: plain(one) for name, one in found.columns.extras.items()}
    assert shown["reference_unfilled"] == [None, 2, None]  # -1 is not far enough from 0
    assert shown["reference_unfilled_other"] == [1, None, None]
    assert (shown["reference_worst"], shown["reference_worst_log_ratio"]) == ([1, 2, 0], [-2.0, 3.0, 1.0])
    assert shown["reference_outside"] == [1, 1, 1]
    assert shown["reference_size"] == [2.0, 3.5, 1.0]
    assert shown["sampler_log_prob"] == [-3.0, -0.75, 0.0]
    assert shown["sampler_size"] == [0.0, 0.0, 0.0]
    by_row = parquet._decode_by_row(batch, batch.schema.names, fields, range(1, batch.num_rows + 1), ALL_REJECTIONS)
    assert same(found.columns, by_row.columns)


# ---- what cannot be read


def bytes_of(records: list[dict[str, Any]], **options: Any) -> bytes:
    buffer = io.BytesIO()
    write_table(pyarrow.Table.from_pylist(records), buffer, **options)
    return buffer.getvalue()


DAMAGE: list[Callable[[bytes], bytes]] = [
    lambda data: data[: len(data) // 2],
    lambda data: data[:-1],
    lambda data: data[:4],
    lambda data: data[:-12] + b"\xff\xff\xff\x7fPAR1",
]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_file_that_is_cut_off_or_has_no_end_is_a_problem_of_one_line(
    tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(damage(bytes_of(RECORDS)))
    found = scanned(path)
    (problem,) = map(str, found.problems)
    assert problem.startswith(f"{path}: damaged or cut-off Parquet: none of it was read (")
    assert "\n" not in problem
    assert found.tally.read == 0


def test_row_groups_before_a_damaged_one_are_read_and_the_problem_names_it(tmp_path: Path) -> None:
    data = bytearray(bytes_of(RECORDS, row_group_size=16, write_page_checksum=True, compression="none"))
    path = tmp_path / "a.parquet"
    path.write_bytes(data)
    column = ParquetFile(path).metadata.row_group(1).column(4)  # the rewards
    data[column.data_page_offset + column.total_compressed_size - 3] ^= 0xFF
    path.write_bytes(data)
    for jobs in (1, 2):
        found = scanned(path, jobs=jobs)
        (problem,) = map(str, found.problems)
        assert problem.startswith(f"{path}: row group 2 of the Parquet file is damaged; the rows before it were read (")
        assert found.tally.used == 16


@pytest.mark.parametrize(
    ("packed", "message"),
    [
        (False, "Parquet cannot be read as a stream: give it as a file"),
        (True, "Parquet inside gzip: decompress it first"),
    ],
)
def test_a_stream_of_parquet_is_refused_since_its_index_is_at_the_end(
    tmp_path: Path, packed: bool, message: str
) -> None:
    import gzip
    import os
    import threading

    data = bytes_of(RECORDS)
    pipe = tmp_path / "a"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(gzip.compress(data) if packed else data))
    writer.start()
    found = scanned(pipe)
    writer.join()
    assert [problem.problem for problem in found.problems] == [message]


def test_without_the_extra_one_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "a.parquet", RECORDS)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputProblem) as caught:
        sources.find([str(path)])
    assert str(caught.value) == (f"{path}: this is Parquet, which needs another package: {install('parquet')}")


def test_rows_are_checked_as_lines_are(tmp_path: Path) -> None:
    records = [
        record | {"reward": 1.0, "response_text": "forty two"} if i < 20 else record for i, record in enumerate(RECORDS)
    ]
    lines = tmp_path / "a.jsonl"
    lines.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    found = []
    for path in (lines, *(written(tmp_path / f"{n}.parquet", records, row_group_size=n) for n in (7, 1000))):
        said = run("check", path, "-B", "1024", "--text", "-f", "json").stdout.decode()
        answer = json.loads(said.replace(str(path), "a"))
        found.append([(one["code"], one["message"], one["evidence"]) for one in answer["findings"]])
    assert found[0]
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("option", [[], ["--duplicate-keys"]])
def test_duplicate_keys_are_not_said_to_be_looked_for_in_parquet(tmp_path: Path, option: list[str]) -> None:
    path = written(tmp_path / "a.parquet", RECORDS)
    once = "Parquet, CSV and TSV have each column once, so --duplicate-keys does not apply to them"
    alone = run("check", path, "-B", "1024", *option, "-f", "json")
    reason = once if option else "keys are compared only with --duplicate-keys"
    answer = json.loads(alone.stdout)
    assert [each["reason"] for each in answer["unchecked"] if "duplicate-keys" in each["codes"]] == [reason]
    assert "duplicate-keys" not in answer["checked"]
    assert alone.stderr == b""
    beside = run("check", path, SAMPLE, "-B", "1024", *option, "-f", "json")
    assert beside.stderr.decode().count(f"budget-cli: {once}\n") == len(option)
    assert ("duplicate-keys" in json.loads(beside.stdout)["checked"]) is bool(option)


def test_a_column_that_is_there_twice_is_refused_where_it_is_read(tmp_path: Path) -> None:
    columns = [pyarrow.array([1.0, 2.0]), pyarrow.array([3.0, 4.0])]
    ids = pyarrow.array(["p", "p"])
    path = written(tmp_path / "a.parquet", pyarrow.table([ids, *columns], names=["prompt_id", "reward", "reward"]))
    found = scanned(path, REWARD_ONLY)
    assert list(map(str, found.problems)) == [f'{path}: 2 columns are named "reward": give each a name of its own']
    path = written(tmp_path / "b.parquet", pyarrow.table([ids, *columns], names=["prompt_id", "x", "x"]))
    assert scanned(path, REWARD_ONLY.with_places(parse_mappings(["reward=prompt_id"]))).problems == []


# ---- columns of types that JSON does not have

NANOSECONDS = [1_700_000_000_000_000_001, None, -1]
UNUSUAL: dict[str, Any] = {
    "a time with nanoseconds": pyarrow.array(NANOSECONDS, pyarrow.timestamp("ns")),
    "a time with a zone": pyarrow.array(NANOSECONDS, pyarrow.timestamp("ns", "Europe/Berlin")),
    "a time beyond Python's": pyarrow.array([2**62, None, -(2**62)], pyarrow.timestamp("us")),
    "a duration": pyarrow.array([2**62, None, 1], pyarrow.duration("ns")),
    "a date beyond Python's": pyarrow.array([2**31 - 1, None, 0], pyarrow.date32()),
    "a time of day": pyarrow.array([1, None, 2], pyarrow.time64("ns")),
    "bytes": pyarrow.array([b"\xff", None, b""], pyarrow.binary()),
    "bytes of one size": pyarrow.array([b"\xff\xff", None, b"ab"], pyarrow.binary(2)),
    "a large text": pyarrow.array(["a", None, "b"], pyarrow.large_string()),
    "a decimal": pyarrow.array([decimal.Decimal("9" * 38), None, decimal.Decimal(1)], pyarrow.decimal128(38)),
    "a large decimal": pyarrow.array([decimal.Decimal("9" * 76), None, decimal.Decimal(1)], pyarrow.decimal256(76)),
    "a dictionary": pyarrow.array(["a", None, "b"]).dictionary_encode(),
    "half a float": pyarrow.array(np.array([1, 2, 3], np.float16)),
    "an unsigned integer": pyarrow.array([2**64 - 1, None, 0], pyarrow.uint64()),
    "nothing": pyarrow.nulls(3),
    "a list of times": pyarrow.array([NANOSECONDS, None, []], pyarrow.list_(pyarrow.timestamp("ns"))),
    "a large list": pyarrow.array([[b"a"], None, []], pyarrow.large_list(pyarrow.binary())),
    "a list of one size": pyarrow.array([[1, 2], None, [3, None]], pyarrow.list_(pyarrow.timestamp("ns"), 2)),
    "an object with a time": pyarrow.array(
        [{"at": 1, "x": 1}, None, {"at": None, "x": 2}],
        pyarrow.struct([("at", pyarrow.timestamp("ns")), ("x", pyarrow.int8())]),
    ),
    "maps of maps": pyarrow.array(
        [[(b"k", [("a", 1)])], None, []],
        pyarrow.map_(pyarrow.binary(), pyarrow.map_(pyarrow.string(), pyarrow.duration("ns"))),
    ),
    "a type of an extension": pyarrow.ExtensionArray.from_storage(
        pyarrow.uuid(), pyarrow.array([b"0" * 16, None, b"1" * 16], pyarrow.binary(16))
    ),
    "JSON": pyarrow.ExtensionArray.from_storage(pyarrow.json_(), pyarrow.array(['{"a": 1}', None, "[]"])),
}
PLAIN_COLUMNS = {"prompt_id": ["p", "p", "q"], "reward": [1.0, 0.0, 1.0], "response_length": [1, 2, 3]}
LOG_PROBS = {"log_prob": [-1.0, -2.0, -3.0], "old_log_prob": [-1.0, -2.0, -3.0]}


def with_column(path: Path, name: str, column: Any, **replaced: Any) -> Path:
    columns = PLAIN_COLUMNS | LOG_PROBS | replaced
    return written(path, pyarrow.table({name: column, **{key: each for key, each in columns.items() if key != name}}))


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("kind", "command"),
    [
        *(("a time with nanoseconds", command) for command in ("sweep", "summarize", "compare")),
        *((kind, command) for kind in UNUSUAL for command in ("loss", "fields")),
    ],
)
def test_a_column_that_nothing_needs_may_be_of_any_type(tmp_path: Path, kind: str, command: str) -> None:
    path = with_column(tmp_path / "a.parquet", "created", UNUSUAL[kind])
    files = [path, SAMPLE] if command == "compare" else [path]
    budget = [] if command == "fields" else ["-B", "2"]
    output = ["-o", tmp_path / "out"] if command in ("summarize", "report") else []
    done = run(command, *files, *budget, *output)
    assert (done.returncode, done.stderr) == (0, b""), done.stderr.decode()


@pytest.mark.exhaustive
@pytest.mark.parametrize("kind", UNUSUAL)
@pytest.mark.parametrize("name", ["prompt_id", "reward", "log_prob", "prompt_text", "step"])
def test_a_field_of_any_type_is_read_or_refused_row_by_row(tmp_path: Path, kind: str, name: str) -> None:
    path = with_column(tmp_path / "a.parquet", name, UNUSUAL[kind])
    for command in (
        ["check", "--text", "-B", "2"],
        ["loss", "-B", "2", "--where", f"digest([{name}, reward]) != '0'"],
    ):
        done = run(command[0], path, *command[1:])
        assert done.returncode in (0, 1, 2), done.stderr.decode()
        assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("place", ["made.x", "made.list[]", "made.map.k"])
def test_a_member_is_read_whatever_stands_beside_it(tmp_path: Path, place: str) -> None:
    kind = pyarrow.struct(
        [
            ("at", pyarrow.timestamp("ns")),
            ("x", pyarrow.float64()),
            ("list", pyarrow.list_(pyarrow.float32())),
            ("map", pyarrow.map_(pyarrow.string(), pyarrow.decimal128(5, 2))),
        ]
    )
    values = [
        {"at": 1, "x": value, "list": [value, 0.0], "map": [("k", decimal.Decimal(value)), ("j", None)]}
        for value in (0.5, 1.0, 2.0)
    ]
    path = with_column(tmp_path / "a.parquet", "made", pyarrow.array(values, kind))
    found = scanned(path, REWARD_ONLY.with_places(parse_mappings([f"reward={place}"])))
    assert found.groups.column("n").tolist() == [2, 1]
    n, r0, r1 = map(found.groups.column, ("n", "r0", "r1"))
    assert (r0 + r1 / n).tolist() == [0.75, 2.0]


def test_the_rows_of_a_slice_keep_their_own_members(tmp_path: Path) -> None:
    rows = 200  # more than a batch takes, so that all arrays are slices
    values = [{"id": f"p{i}", "r": [float(i)] * (i % 3), "m": [("k", i)], "f": [i, i + 1]} for i in range(rows)]
    kind = pyarrow.struct(
        [
            ("id", pyarrow.string()),
            ("r", pyarrow.list_(pyarrow.float64())),
            ("m", pyarrow.map_(pyarrow.string(), pyarrow.int64())),
            ("f", pyarrow.list_(pyarrow.int32(), 2)),
        ]
    )
    table = pyarrow.table({"row": pyarrow.array([None if i % 7 == 0 else v for i, v in enumerate(values)], kind)})
    (batch,) = table.to_batches()
    expected = [None if i % 7 == 0 else v | {"m": {"k": i}} for i, v in enumerate(values)]
    for start, size in ((0, rows), (3, 50), (7, 1), (199, 1), (5, 0)):
        assert parquet_values.json_values(batch.column(0).slice(start, size)) == expected[start : start + size]


# ---- damage


def flipped(data: bytes, places: range) -> Iterator[bytes]:
    for place in places:
        for bit in (0x01, 0x20, 0x80):
            yield data[:place] + bytes([data[place] ^ bit]) + data[place + 1 :]


@pytest.mark.exhaustive
def test_a_flipped_bit_never_gives_another_result_where_pages_have_checksums(tmp_path: Path) -> None:
    table = pyarrow.Table.from_pylist(RECORDS[:20])
    path = written(tmp_path / "a.parquet", table, write_page_checksum=True, use_dictionary=False, compression="none")
    whole = facts(scanned(path))
    data = path.read_bytes()
    differing = 0
    for damaged in flipped(data, range(0, len(data), 11)):
        parquet._opened.cache_clear()  # the damaged files have one size
        path.write_bytes(damaged)
        try:
            found = scanned(path, Fields())
        except InputProblem:
            continue
        differing += facts(found) != whole and not found.problems and not found.tally.rejected
        assert all("\n" not in str(problem) for problem in found.problems)
    assert differing == 0
