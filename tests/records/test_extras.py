"""If this fails, a check gets a wrong finish reason, advantage or text, or one of them rejects a record."""

import json
import math
from typing import Any

import numpy as np
import pytest
from written_json import extra_bits

from budget_cli.ids import Ids
from budget_cli.records import columns, reference
from budget_cli.records.columns import ALL_REJECTIONS, LabelColumn, ResponseColumns, TextColumn
from budget_cli.schema.fields import EXTRAS, Fields, parse_mappings

WANTED = tuple(EXTRAS)
RESPONSE = {"prompt_id": "p", "reward": 1.0, "log_prob": -1.0, "old_log_prob": -2.0, "response_length": 3}
PROMPT: dict[str, Any] = {
    "prompt_id": "p",
    "rewards": [1.0, 0.5],
    "log_probs": [-1.0, [-1.0, -1.0]],
    "old_log_probs": [-2.0, -2.5],
    "response_lengths": [3, 2],
}
NONE_OF: dict[str, Any] = {"number": None, "label": None, "text": (0, -1)}


def read(*records: dict[str, Any], mappings: tuple[str, ...] = (), wanted: tuple[str, ...] = WANTED) -> ResponseColumns:
    data = b"".join(json.dumps(record).encode() + b"\n" for record in records)
    decoded = reference.decode(
        data, Fields(extras=wanted).with_places(parse_mappings(mappings)), 1 << 20, ALL_REJECTIONS
    )
    assert decoded.rejections == []
    return decoded.columns


def values(found: ResponseColumns, name: str) -> list[Any]:
    extra = found.extras[name]
    if isinstance(extra, LabelColumn):
        return [None if code < 0 else extra.values[code] for code in extra.codes]
    if isinstance(extra, TextColumn):
        return list(zip(extra.digest.tolist(), extra.characters.tolist(), strict=True))
    return [None if math.isnan(value) else value for value in extra.tolist()]


IN_PLACE: list[tuple[str, Any, Any]] = [
    ("advantage", 0.5, 0.5),
    ("advantage", -3, -3.0),
    ("advantage", [0.25, 0.25, 0.25], 0.25),  # stored once a token
    ("finish_reason", "stop", "stop"),
    ("step", 7, 7),
    ("step", 7.0, 7),
    ("step", "7", "7"),
    ("by", "algebra", "algebra"),
    ("by", True, "true"),
    ("by", 0.7, "0.7"),
    ("by", 1, 1),
    ("by", 1.0, "1.0"),
    ("by", -0.0, "0.0"),
    ("by", 1e20, "1e+20"),
]
ABSENT: list[tuple[str, Any]] = [
    ("advantage", None),
    ("advantage", "0.5"),
    ("advantage", True),
    ("advantage", [0.5, 0.25]),
    ("advantage", []),
    ("finish_reason", None),
    ("finish_reason", False),
    ("finish_reason", {"type": "stop"}),
    ("step", 1.5),
    ("step", 2**64),
    ("by", {}),
    ("prompt_text", None),
    ("prompt_text", 5),
    ("response_text", True),
]


@pytest.mark.parametrize(("name", "value", "expected"), IN_PLACE)
def test_a_number_and_a_label_are_as_the_record_has_them(name: str, value: Any, expected: Any) -> None:
    (found,) = values(read({**RESPONSE, name: value}), name)
    assert (type(found), found) == (type(expected), expected)


@pytest.mark.parametrize(("name", "value"), ABSENT)
def test_an_extra_that_is_null_or_of_the_wrong_type_is_absent_and_rejects_no_record(name: str, value: Any) -> None:
    found = read({**RESPONSE, name: value}, RESPONSE)
    assert found.reward.tolist() == [1.0, 1.0]
    assert values(found, name) == [NONE_OF[EXTRAS[name]]] * 2


def test_an_extra_whose_place_is_no_place_in_this_record_is_absent() -> None:
    found = read({**RESPONSE, "a": 1}, mappings=("step=a[].b", "advantage=minus(a, b)"))
    assert (values(found, "step"), values(found, "advantage")) == ([None], [None])


def test_labels_are_numbered_as_they_come_and_1_is_not_the_string_1() -> None:
    labels = read(*({**RESPONSE, "step": step} for step in (2, "2", 2, None, "a"))).extras["step"]
    assert isinstance(labels, LabelColumn)
    assert (labels.values, labels.codes.tolist()) == ([2, "2", "a"], [0, 1, 0, -1, 2])


def test_the_last_of_several_turns_gives_the_label_but_the_list_of_an_expression_is_one_label() -> None:
    record = {**RESPONSE, "turns": [{"why": "tool"}, {"why": "length"}], "epoch": 1, "step": 40}
    found = read(record, mappings=("finish_reason=turns[].why", "by=[epoch, step]"))
    assert (values(found, "finish_reason"), values(found, "by")) == (["length"], ["1/40"])


SAME_TEXTS: list[tuple[Any, Any]] = [
    ("a", "a"),
    ([{"role": "user", "content": "é"}], [{"content": "é", "role": "user"}]),
]
OTHER_TEXTS: list[tuple[Any, Any]] = [("a", "b"), ("", " "), ([1, 2], [2, 1]), ([1], ["1"]), ("[1]", [1])]


@pytest.mark.parametrize(("one", "other"), SAME_TEXTS + OTHER_TEXTS)
def test_equal_texts_have_equal_digests_and_different_ones_do_not(one: Any, other: Any) -> None:
    first, second = values(
        read({**RESPONSE, "response_text": one}, {**RESPONSE, "response_text": other}), "response_text"
    )
    same = (one, other) in SAME_TEXTS
    assert first[0] != 0
    assert second[0] != 0 or other == "[1]"
    assert (first[0] == second[0]) is (same or (one, other) == ("[1]", [1]))


CHARACTERS: list[tuple[Any, int]] = [
    ("", 0),
    ("héllo 😀", 7),
    (["ab", "c"], 3),
    ([1, 2, 3], -1),
    ([], -1),
    ({"content": "abc", "role": "user"}, 3),
    ([{"role": "user", "content": "ab"}, {"role": "assistant", "content": None, "reasoning_content": "cde"}], 5),
    ([{"role": "user", "content": [{"type": "text", "text": "ab"}, {"type": "image", "url": "x"}]}], 2),
]


@pytest.mark.parametrize(("value", "characters"), CHARACTERS)
def test_the_characters_of_a_text_are_those_of_its_visible_parts(value: Any, characters: int) -> None:
    ((_, found),) = values(read({**RESPONSE, "response_text": value}), "response_text")
    assert found == characters


def test_a_record_of_a_prompt_has_extras_of_its_own_and_of_each_response() -> None:
    record = {
        **PROMPT,
        "prompt_text": "2 + 2",
        "step": 40,
        "finish_reasons": ["stop", "length"],
        "advantages": [0.25, None],
        "response_texts": ["4", 4],
    }
    found = read(record)
    prompt_texts = values(found, "prompt_text")
    assert prompt_texts[0] == prompt_texts[1] != (0, -1)
    assert values(found, "step") == [40, 40]
    assert values(found, "finish_reason") == ["stop", "length"]
    assert values(found, "advantage") == [0.25, None]
    assert [characters for _, characters in values(found, "response_text")] == [1, -1]


@pytest.mark.parametrize("several", [["stop"], ["stop"] * 3, "stop", None])
def test_an_array_of_another_size_than_the_rewards_is_absent(several: Any) -> None:
    assert values(read({**PROMPT, "finish_reasons": several}), "finish_reason") == [None, None]


def test_extras_are_read_only_on_request() -> None:
    assert read({**RESPONSE, "step": 3}, wanted=()).extras == {}
    assert list(read({**RESPONSE, "step": 3}, wanted=("step", "advantage")).extras) == ["step", "advantage"]


def test_the_tokens_of_a_list_of_log_probs_are_counted_beside_the_length_that_is_given() -> None:
    listed = {**RESPONSE, "log_prob": [-1.0, -0.5], "old_log_prob": [-1.0, -0.25]}
    found = read(RESPONSE, listed, {**listed, "log_prob": -1.0})
    assert found.tokens is not None
    assert np.array_equal(found.tokens, [np.nan, 2, 2], equal_nan=True)
    assert found.length is not None
    assert found.length.tolist() == [3, 3, 3]
    assert read(RESPONSE).tokens is None
    many = read(PROMPT)
    assert many.tokens is not None
    assert np.array_equal(many.tokens, [np.nan, 2], equal_nan=True)


def test_slices_of_a_block_are_joined_with_their_extras() -> None:
    records = [
        {**RESPONSE, "step": step, "prompt_text": text, "advantage": advantage}
        for step, text, advantage in [(3, "a", 1.0), (None, "b", None), ("x", "a", 0.0), (3, None, 2.0), (4, "c", 1.0)]
    ]
    ids = Ids()
    slices = [read(*records[:2]), read(*records[2:3]), read(*records[3:])]
    for part in slices:
        part.codes = ids.places([part.keys[code] for code in part.codes])
    joined, whole = columns.concatenate(slices, ids), read(*records)
    assert list(joined.extras) == list(WANTED)
    for name in WANTED:
        assert extra_bits(joined.extras[name]) == extra_bits(whole.extras[name])
