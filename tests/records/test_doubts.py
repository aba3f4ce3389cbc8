"""If this fails, a command is silent where the first records contradict their prompt ids, or warns without a reason."""

from typing import Any

import pytest

from budget_cli.records.doubts import doubts, lines_of_a_group
from budget_cli.schema.fields import Fields, parse_mappings

CANONICAL = Fields()


def record(prompt_id: Any, text: Any = None, **more: Any) -> dict[str, Any]:
    return {"prompt_id": prompt_id, "reward": 1.0, "prompt_text": text, **more}


def said(samples: list[dict[str, Any]], fields: Fields = CANONICAL) -> list[str]:
    return list(map(str, doubts(samples, fields)))


def test_an_id_over_several_texts_is_named_with_the_option_that_groups_by_the_text() -> None:
    samples = [record("p", "2 + 2"), record("p", "3 + 3"), record("q", "4 + 4"), record("q", "4 + 4")]
    assert said(samples) == [
        "1 of the first 2 prompt ids stands for several prompts, as it has different prompt_text:"
        " --field 'prompt_id=digest(prompt_text)' groups by that"
    ]
    places = parse_mappings(["prompt_text=in put.messages[]", "prompt_id=qid"])
    samples = [{"qid": 1, "in put": {"messages": [text]}} for text in "ab"]
    (doubt,) = doubts(samples, CANONICAL.with_places(places))
    assert doubt.remedy == """--field 'prompt_id=digest("in put".messages[])'"""


@pytest.mark.parametrize(
    "samples",
    [
        [record("p", "2 + 2"), record("p", "2 + 2"), record("q", "2 + 2")],
        [record("p"), record("p", "2 + 2"), record("p", "")],
        [record("p", [1, 2]), record("p", [1, 2])],
        [record("p", [{"role": "user", "content": "a"}]), record("p", [{"content": "a", "role": "user"}])],
        [record(["a"], "2 + 2"), record(["b"], "3 + 3"), {"reward": 1.0}, record(1.5, "4 + 4")],
        [record("p", "2 + 2")],
        [],
    ],
)
def test_equal_texts_and_missing_ones_raise_no_doubt(samples: list[dict[str, Any]]) -> None:
    assert said(samples) == []


def test_the_same_id_in_another_step_is_another_prompt_where_steps_count() -> None:
    samples = [record("p", "2 + 2", step=1), record("p", "3 + 3", step=2)]
    assert said(samples, Fields(prompts_of_steps=True)) == []
    assert len(said(samples)) == 1


def test_a_later_turn_of_a_rollout_may_have_a_longer_prompt() -> None:
    samples = [record("p", "a", rollout_id="r"), record("p", "a b", rollout_id="r"), record("p", "a", rollout_id="s")]
    assert said(samples, Fields(has_rollouts=True)) == []
    assert len(said([*samples, record("p", "b", rollout_id="t")], Fields(has_rollouts=True))) == 1


def test_groups_that_are_given_by_lines_are_not_doubted() -> None:
    samples = [record("p", "2 + 2"), record("p", "3 + 3")]
    assert said(samples, Fields(group="2 lines", group_size=2)) == []


@pytest.mark.parametrize(
    ("advantages", "size"),
    [
        ([0.5, -0.5, -0.25, 0.25], 2),
        ([1, -0.5, -0.5, 0, 0, 0, -1, 0.5, 0.5], 3),
        ([1, -0.5, -0.5, 0, 0, 0, -1, 0.5, 0.5, 2], 3),  # the head of a dump
        ([1, -0.5, -0.5, 0, 0, 0, 0, 0, 0], None),  # one group tells nothing
        ([0.501, -0.5, -0.2, 0.2001], 2),  # rounded to 16 bits
        ([0.5, -0.4, -0.25, 0.25], None),
        ([0, 0, 0, 0], None),
        ([float("nan"), 0, 0.5, -0.5], None),
        ([0.5], None),
        ([], None),
    ],
)
def test_the_size_of_a_group_is_that_over_which_advantages_sum_to_0(advantages: list[float], size: int | None) -> None:
    assert lines_of_a_group(advantages) == size


def test_a_whole_file_holds_whole_groups() -> None:
    assert lines_of_a_group([1, -0.5, -0.5, -1, 0.5, 0.5, 2], whole=True) is None


def test_responses_that_fell_apart_are_named_with_the_size_of_their_groups() -> None:
    samples = [record(f"p{i}", advantage=a) for i, a in enumerate([1, -0.5, -0.5, -1, 0.5, 0.5])]
    assert said(samples) == [
        "no prompt id comes twice among the first 6 records, but over every 3 of them the stored advantages sum to 0:"
        " --group-size 3 groups by that"
    ]
    assert said([*samples, record("p0", advantage=0.0)]) == []
    assert said(samples[:3]) == []
    assert said([*samples[:5], record("p9")]) == []  # without an advantage


def test_ids_of_responses_whose_prompts_come_again_are_named_with_the_option_that_groups_by_the_text() -> None:
    samples = [record(f"{text}{i}", text) for text in ("2 + 2", "3 + 3") for i in range(4)]
    assert said(samples) == [
        "no prompt id comes twice among the first 8 records, but 2 prompts do, by prompt_text:"
        " --field 'prompt_id=digest(prompt_text)' groups by that"
    ]


@pytest.mark.parametrize(
    "samples",
    [
        [record(i, "guess the word") for i in range(8)],  # games that all begin with the same words
        [record(i, f"{i} + 2") for i in range(8)],
        [record(i) for i in range(8)],
        [record(i, "2 + 2" if i < 2 else "3 + 3" if i < 4 else str(i)) for i in range(10)],  # some questions twice
        [record(i % 7, f"{i % 7 % 2} + 2") for i in range(8)],  # an id does come twice
        [record(i, f"{i % 4} + 2", step=i // 4) for i in range(8)],  # the same questions in two steps
        [record(i, f"{i} + 2", step=[i]) for i in range(8)],
    ],
)
def test_ids_that_come_once_raise_no_doubt_where_prompts_do_so_too(samples: list[dict[str, Any]]) -> None:
    assert said(samples) == []
