"""If this fails, annotating changes other bytes of the data, or puts the terms of one response into another."""

import json
from typing import Any

import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from written_json import Writer

from budget_cli.errors import UsageProblem
from budget_cli.records.insertion import Insertion
from budget_cli.schema.fields import Fields

KEY = "budget_cli"


def put(line: str, *values: str, records: str = "") -> str:
    return Insertion(KEY, Fields(records=records)).into(line.encode(), [v.encode() for v in values]).decode()


CASES: list[tuple[str, str, tuple[str, ...], str]] = [  # records, the line, values, the line after
    ("", '{"a":1}', ("7",), '{"a":1,"budget_cli":7}'),
    ("", '{ "a" : [1, 2.50, 1e400] }  \r', ("7",), '{ "a" : [1, 2.50, 1e400] ,"budget_cli":7}  \r'),
    ("", '{"a":"}\\"}"}', ("7",), '{"a":"}\\"}","budget_cli":7}'),
    ("", '{"a":{"budget_cli":1}}', ("7",), '{"a":{"budget_cli":1},"budget_cli":7}'),
    ("", '{"a":"\\"budget_cli\\":{}}"}', ("7",), '{"a":"\\"budget_cli\\":{}}","budget_cli":7}'),
    ("", '{"budget_cli": {"x": "}"} , "a":1}', ("7",), '{"budget_cli": 7 , "a":1}'),
    ("", '{"a":1,"budget_cli":null}', ("7",), '{"a":1,"budget_cli":7}'),
    ("", '{"a":1,"budget_cli":"b" }', ("7",), '{"a":1,"budget_cli":7 }'),
    ("", '{"a":1,"budget_cli":{"loss":[0,1]}}\r', ("7",), '{"a":1,"budget_cli":7}\r'),
    ("", '{"budget_cli":1,"budget_cli":{"b":{}}}', ("7",), '{"budget_cli":1,"budget_cli":7}'),
    ("", '{"a":"budget_cli","b":["budget_cli"]}', ("7",), '{"a":"budget_cli","b":["budget_cli"],"budget_cli":7}'),
    ("", '{"a":{"b":1,"budget_cli":{"c":2}}}', ("7",), '{"a":{"b":1,"budget_cli":{"c":2}},"budget_cli":7}'),
    ("columns", '{"a":[1,2]}', ("[7,8]",), '{"a":[1,2],"budget_cli":[7,8]}'),
    ("[]", '[{"a":1}, {"b":[{"c":{}}]}]', ("7", "8"), '[{"a":1,"budget_cli":7}, {"b":[{"c":{}}],"budget_cli":8}]'),
    ("[]", "[{}, { }]", ("7", "8"), '[{"budget_cli":7}, { "budget_cli":8}]'),
    ("[]", '[{"budget_cli":{"l":1}},{"budget_cli":{"l":2}}]', ("7", "8"), '[{"budget_cli":7},{"budget_cli":8}]'),
    (
        "t[]",
        '{"t":[{"a":1},{"a":2}],"u":[{}]}',
        ("7", "8"),
        '{"t":[{"a":1,"budget_cli":7},{"a":2,"budget_cli":8}],"u":[{}]}',
    ),
    ("t[]", '{"t":[{"a":1}],"budget_cli":{"x":0}}', ("7",), '{"t":[{"a":1,"budget_cli":7}],"budget_cli":{"x":0}}'),
    ("t[]", '{"t":[0],"\\u0074":[{"a":1}]}', ("7",), '{"t":[0],"\\u0074":[{"a":1,"budget_cli":7}]}'),
    (
        "t.u[].v[]",
        '{"t":{"u":[{"v":[{}, {}]},{"w":1},{"v":[{}]}]}}',
        ("7", "8", "9"),
        '{"t":{"u":[{"v":[{"budget_cli":7}, {"budget_cli":8}]},{"w":1},{"v":[{"budget_cli":9}]}]}}',
    ),
]


@pytest.mark.parametrize(("records", "line", "values", "after"), CASES)
def test_a_value_goes_into_each_sample_and_nothing_else_changes(
    records: str, line: str, values: tuple[str, ...], after: str
) -> None:
    json.loads(after)  # the table itself is in order
    assert put(line, *values, records=records) == after


def test_samples_that_only_an_expression_finds_are_refused() -> None:
    with pytest.raises(UsageProblem, match=r"records = 'traces\[\?reward\]'.* only at a path, as in traces\[\]"):
        Insertion(KEY, Fields(records="traces[?reward]"))


texts = st.text() | st.sampled_from(['"budget_cli"', ',"budget_cli":{}}', "}", "]", "\\", '\\"', "budget_cli", "{[,:"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
objects = st.dictionaries(texts, values, max_size=5)
writers = st.sampled_from([Writer(), Writer(",", ":"), Writer(" , ", " : ", ascii=False)])


@given(objects, writers, st.sampled_from(["", " ", "\r"]))
def test_a_record_keeps_its_members_and_its_bytes(record: dict[str, Any], writer: Writer, end: str) -> None:
    line = writer.text(record) + end
    once = put(line, '{"loss":1}')
    assert json.loads(once) == {**record, KEY: {"loss": 1}}
    assert list(json.loads(once)) == list({**record, KEY: 0})
    if KEY not in record:
        comma = "," if record else ""
        assert once.replace(f'{comma}"budget_cli":{{"loss":1}}', "", 1) == line or f'"{KEY}"' in line
        assert len(once.encode()) == len(line.encode()) + len(f'{comma}"budget_cli":{{"loss":1}}')
    assert put(once, '{"loss":[2,null]}') == put(line, '{"loss":[2,null]}')


@pytest.mark.exhaustive
@examples(60)
@given(st.lists(objects, min_size=1, max_size=4), objects, writers)
def test_each_sample_of_a_list_gets_its_own(
    samples: list[dict[str, Any]], around: dict[str, Any], writer: Writer
) -> None:
    values = [str(i) for i in range(len(samples))]
    expected = [{**sample, KEY: i} for i, sample in enumerate(samples)]
    assert json.loads(put(writer.text(samples), *values, records="[]")) == expected
    line = writer.text({**around, "samples": samples})
    assert json.loads(put(line, *values, records="samples[]")) == {**around, "samples": expected}
