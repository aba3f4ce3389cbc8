"""If this fails, lengths that count no tokens pass without a word, or lengths that do are doubted."""

from typing import Any

import pytest
from word_counter import Words

from budget_cli.records.first_lengths import OtherText, Sizes, first_lengths, other_text, wrong_unit
from budget_cli.schema.fields import Fields, parse_mappings

CANONICAL = Fields()
SEARCHED = "I look it up <information>a city</information> so it is"


def record(length: Any, text: Any = None, **more: Any) -> dict[str, Any]:
    return {"prompt_id": "p", "reward": 1.0, "response_length": length, "response_text": text, **more}


@pytest.mark.parametrize(
    ("lists", "tokens"),
    [
        ([[[7] * 20, [8] * 30], [[7] * 9]], "length(ids[])"),
        ([[[0, 1] * 20, [1] * 30], [[1, -100] * 9]], "kept(ids[])"),
        ([[[7] * 3, [8] * 2], [[7]]], None),  # may be no turns
        ([[[7] * 20], [[7] * 20]], None),  # one of each: every value in a list of its own
        ([[["a"] * 20, ["b"] * 20], [["a"] * 20]], None),
        ([[[7] * 20, []], [[7] * 20]], None),
        ([[1] * 30, [1] * 30], None),
    ],
)
def test_a_length_that_is_the_number_of_turns_is_named_with_what_counts_their_tokens(
    lists: list[Any], tokens: str | None
) -> None:
    found = wrong_unit([record(len(ids), ids=ids) for ids in lists], CANONICAL)
    assert (found.tokens if found and found.unit == "turns" else None) == tokens
    if found is not None and tokens is not None:
        assert str(found) == "response_length is the number of turns in ids, not of tokens, in all 2 samples examined"
        counted = CANONICAL.with_places(parse_mappings([f"response_length={tokens}"]))
        assert wrong_unit([record(0, ids=ids) for ids in lists], counted) is None


def test_a_length_that_is_once_not_the_number_of_turns_is_left_alone() -> None:
    ids = [[7] * 20, [7] * 20]
    assert wrong_unit([record(2, ids=ids), record(40, ids=ids)], CANONICAL) is None


def test_a_key_that_is_no_name_is_quoted() -> None:
    found = wrong_unit([{**record(2), "my ids": [[7] * 20, [8] * 30]}], CANONICAL)
    assert found is not None
    assert found.tokens == 'length("my ids"[])'


def test_the_sizes_of_responses_are_those_of_their_tokens_where_these_are_there() -> None:
    texts = [record(9, "a" * 10), record(9, "a" * 20), {**record(9, "a"), "prompt_id": "q"}, record(None, "a" * 99)]
    assert first_lengths(texts, CANONICAL).sizes == Sizes(
        "characters", 3, pytest.approx(31 / 3), pytest.approx(7.76, abs=0.01), 1, 1
    )
    tokens = [record(9, "a" * 10, output_ids=[3] * size) for size in (4, 8)]
    assert first_lengths(tokens, CANONICAL).sizes == Sizes("tokens", 2, 6.0, 2.0, 1, 1)
    prompts = [record(9, prompt_ids=[3] * size) for size in (4, 8)]  # of the prompt they say nothing
    assert first_lengths(prompts, CANONICAL).sizes is None
    equal = [record(9, [5] * 3), record(9, [6] * 3)]
    assert first_lengths(equal, CANONICAL).sizes == Sizes("tokens", 2, 3.0, 0.0, 1, 0)


@pytest.mark.parametrize("marker", ["<information>", "<tool_response>", "<interpreter>", "<|im_start|>user"])
def test_text_that_the_policy_did_not_write_is_found_by_its_marker(marker: str) -> None:
    samples = [record(30, f"I call it {marker} 42"), record(20, "I know it"), record(None, "no length")]
    assert other_text(samples, CANONICAL) == OtherText(marker, 1, 3, is_counted=False)


@pytest.mark.parametrize(
    "place", ["kept(mask)", "usage.output_tokens", "sum(turns[].completion_tokens)", "sum(version_rle[*][1])"]
)
def test_a_length_of_what_was_generated_is_not_doubted(place: str) -> None:
    assert (
        other_text([record(30, SEARCHED)], CANONICAL.with_places(parse_mappings([f"response_length={place}"]))) is None
    )


def test_messages_are_not_doubted_nor_texts_that_nothing_counts() -> None:
    messages = [{"role": "assistant", "content": "I"}, {"role": "tool", "content": SEARCHED}]
    assert other_text([record(30, messages)], CANONICAL) is None
    assert other_text([record(None, SEARCHED)], CANONICAL) is None


def test_a_tokenizer_counts_such_text_for_certain() -> None:
    counted = Fields(tokenizer=Words())
    found = other_text([record(None, SEARCHED), record(None, "so it is")], counted)
    assert found == OtherText("<information>", 1, 2, is_counted=True)
    assert str(found) == (
        "1 of the first 2 texts holds <information> and what follows it, which the policy did not write, and the"
        " lengths count it"
    )
    assert other_text([record(30, SEARCHED)], counted) == OtherText("<information>", 1, 1, is_counted=False)
