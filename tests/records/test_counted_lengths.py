"""If this fails, a length is not the number of tokens of the response's text, or the readers disagree on it."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from word_counter import Words
from written_json import bits, block_of

from budget_cli import native
from budget_cli.errors import UsageProblem
from budget_cli.records import reference
from budget_cli.records.columns import ALL_REJECTIONS, Decoded, LengthFrom
from budget_cli.schema.fields import Fields, parse_mappings
from budget_cli.schema.json_values import generated_texts

LIMIT = 1 << 20
FIELDS = Fields(needs_log_probs=False, tokenizer=Words())
RECORD: dict[str, Any] = {"prompt_id": "p", "reward": 1.0, "response_text": "one two three"}
TEXTS = [
    ("", 0),
    ("one two", 2),
    (["one two", "three"], 3),
    ([["one", ["two"]], "three four"], 4),
    ({"role": "assistant", "content": "one two"}, 2),
    ({"content": "one", "reasoning_content": "two three"}, 3),
    ([{"role": "assistant", "content": "one two"}, {"role": "assistant", "content": "three"}], 3),
    ([{"role": "assistant", "content": "one"}, {"role": "tool", "content": "two three four"}], 1),
    ([{"role": "user", "content": "one"}, {"role": "assistant", "content": None}], 0),
    ([{"role": "assistant", "content": [{"type": "text", "text": "one two"}, {"type": "image_url"}]}], 2),
    (None, None),
    (7, None),
    ([], None),
    ([1, 2, 3], None),
    ({}, None),
    ({"role": "assistant", "content": None}, None),
    ([[]] * 3, None),
]


def decoded(records: list[dict[str, Any]], fields: Fields = FIELDS) -> Decoded:
    data = b"".join(json.dumps(record).encode() + b"\n" for record in records)
    slow = reference.decode(data, fields, LIMIT, ALL_REJECTIONS)
    if native.AVAILABLE:
        from budget_cli.records import compiled

        fast = compiled.decode(block_of(data), fields, LIMIT, ALL_REJECTIONS)
        assert fast is None or bits(fast) == bits(slow)
    return slow


def lengths(found: Decoded) -> list[float]:
    assert found.columns.length is not None, found.rejections
    return list(found.columns.length)


@pytest.mark.parametrize(("value", "words"), TEXTS)
def test_what_the_policy_wrote_is_counted_and_nothing_else(value: Any, words: int | None) -> None:
    texts = generated_texts(value)
    assert (None if texts is None else sum(Words().count(texts))) == words


def test_texts_within_too_many_lists_are_none() -> None:
    value: Any = "one"
    for _ in range(1000):
        value = [value]
    assert generated_texts(value) is None


@pytest.mark.parametrize(
    ("more", "length", "origin"),
    [
        ({}, 3, LengthFrom.TOKENIZER),
        ({"response_length": None}, 3, LengthFrom.TOKENIZER),
        ({"response_length": 7}, 7, LengthFrom.FIELD),
        ({"response_length": 0}, 0, LengthFrom.FIELD),
        ({"log_prob": [-1.0, -2.0]}, 2, LengthFrom.TOKENS),
        ({"log_prob": [-1.0, -2.0], "response_length": None}, 2, LengthFrom.TOKENS),
        ({"old_log_prob": [-1.0], "response_length": 9}, 9, LengthFrom.FIELD),
        ({"log_prob": -3.0}, 3, LengthFrom.TOKENIZER),
    ],
)
@pytest.mark.parametrize("needs_length", [True, False])
def test_a_length_that_the_trainer_counted_wins_over_the_text(
    more: dict[str, Any], length: float, origin: LengthFrom, needs_length: bool
) -> None:
    found = decoded([RECORD | more], Fields(needs_length=needs_length, needs_log_probs=False, tokenizer=Words()))
    assert lengths(found) == [length]
    names = {LengthFrom.FIELD: "field", LengthFrom.TOKENS: "tokens", LengthFrom.TOKENIZER: "words@1"}
    assert found.tally.length_origins == Counter({names[origin]: 1})


@pytest.mark.parametrize(
    ("record", "field", "found"),
    [
        ({}, "response_text", "missing (the record has prompt_id, reward)"),
        ({"response_text": None}, "response_text", "null, not a text"),
        ({"response_text": [1, 2]}, "response_text", "a list, not a text"),
    ],
)
def test_a_response_without_length_and_text_is_rejected_as_one_without_length(
    record: dict[str, Any], field: str, found: str
) -> None:
    (rejection,) = decoded([{"prompt_id": "p", "reward": 1.0} | record]).rejections
    assert str(rejection) == (
        f":1:1: response_length: missing, and {field}, which --tokenizer counts, is {found};"
        f" --budget-penalty-coef 0 does without it, or give --field {field}=PATH or --field response_length=PATH"
    )
    assert rejection.code == "missing"


def test_where_no_length_is_needed_a_response_without_text_has_none() -> None:
    fields = Fields(needs_length=False, needs_log_probs=False, tokenizer=Words())
    found = decoded([RECORD, {"prompt_id": "p", "reward": 0.0}], fields)
    assert found.tally.used == 2
    assert str(lengths(found)) == "[np.float64(3.0), np.float64(nan)]" or lengths(found)[1] != lengths(found)[1]
    assert found.tally.length_origins == Counter({"words@1": 1})


def test_each_text_of_a_prompt_is_counted() -> None:
    record = {"prompt_id": "p", "rewards": [1.0, 0.0], "response_texts": ["one two", [{"content": "three"}]]}
    assert lengths(decoded([record])) == [2, 1]
    assert lengths(decoded([record | {"response_lengths": [5, 6]}])) == [5, 6]
    assert lengths(decoded([record | {"log_probs": [[-1.0], [-1.0, -2.0]]}])) == [1, 2]
    (rejection,) = decoded([record | {"response_texts": ["one"]}]).rejections
    assert "response_texts, which --tokenizer counts, is not one text for each reward" in rejection.message


def test_without_a_tokenizer_a_text_is_no_length() -> None:
    found = decoded([RECORD], Fields(needs_log_probs=False))
    assert found.rejections[0].code == "missing"
    assert "--tokenizer FILE counts the tokens of response_text, or give" in found.rejections[0].message


def test_a_text_that_the_tokenizer_refuses_ends_the_run() -> None:
    with pytest.raises(UsageProblem, match="cannot encode"):
        decoded([RECORD | {"response_text": "refused"}])


VALUES = st.sampled_from([value for value, _ in TEXTS])
RECORDS = st.fixed_dictionaries(
    {"prompt_id": st.sampled_from(["p", "q"]), "reward": st.sampled_from([1.0, 0.0, None])},
    optional={
        "out": VALUES,
        "response_length": st.sampled_from([None, 3, 12.0, -1, "3"]),
        "log_prob": st.sampled_from([None, -1.0, [-1.0, -2.0]]),
        "old_log_prob": st.sampled_from([None, -1.0, [-1.0]]),
        "big": st.just(10**400),
    },
)
PROMPTS = st.fixed_dictionaries(
    {"prompt_id": st.just("p"), "rewards": st.just([1.0, 0.0])},
    optional={
        "response_texts": st.lists(VALUES, max_size=3),
        "response_lengths": st.sampled_from([None, [1, 2], [1]]),
        "log_probs": st.sampled_from([None, [-1.0, -2.0], [[-1.0], [-2.0, -3.0]]]),
    },
)
PLACES = ["out", "out[].content", "out.content", "[out, out]", "out || `null`"]


@given(st.lists(RECORDS | PROMPTS, max_size=8), st.sampled_from(PLACES), st.booleans(), st.booleans())
def test_the_readers_agree_on_lengths_and_where_they_come_from(
    records: list[dict[str, Any]], place: str, needs_length: bool, reads_text: bool
) -> None:
    extras = ("response_text",) if reads_text else ()
    fields = Fields(needs_length=needs_length, needs_log_probs=False, extras=extras, tokenizer=Words())
    found = decoded(records, fields.with_places(parse_mappings([f"response_text={place}"])))
    assert found.tally.read == len(records)


@pytest.mark.parametrize("place", ["out", "out[]", "out.content"])
def test_parquet_gives_the_lengths_of_the_same_lines(place: str, tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    from budget_cli.groups.moments import Layout
    from budget_cli.records.jsonl import Limits
    from budget_cli.scanning.plan import scan_plan
    from budget_cli.scanning.scan import scan
    from budget_cli.sources import local

    texts: dict[str, list[Any]] = {
        "out": ["one two", "three", None, ""],
        "out[]": [["one", "two"], ["three"], None, [""]],
        "out.content": [{"content": "one two"}, {"content": "three"}, {"content": None}, {"content": ""}],
    }
    records = [{"prompt_id": "p", "reward": 1.0, "out": text} for text in texts[place]]
    fields = FIELDS.with_places(parse_mappings([f"response_text={place}"]))
    for chosen in (records, [records[0], records[1], records[3]]):
        path = tmp_path / "a.parquet"
        parquet.write_table(pyarrow.Table.from_pylist(chosen), path)
        found = scan(local.find([str(path)]), scan_plan(fields, Layout((1,)), Limits()))
        lines = decoded(chosen, fields)
        assert (found.tally, found.tally.length_origins) == (lines.tally, lines.tally.length_origins)
        assert found.groups.lengths.items()[0].tolist() == [0, 1, 2]
