"""If this fails, `--field` reads the wrong place, or a mistyped path is accepted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budget_cli.errors import UsageProblem
from budget_cli.schema.fields import NAMES, Fields, parse_mappings
from budget_cli.schema.parsing import parse_place, place_text
from budget_cli.schema.paths import Path, Step

GOOD: list[tuple[str, Path]] = [
    ("a", (Step("a"),)),
    ("a.b.c", (Step("a"), Step("b"), Step("c"))),
    ("a[].b", (Step("a", each=True), Step("b"))),
    ("a.b[].c[].d", (Step("a"), Step("b", each=True), Step("c", each=True), Step("d"))),
    ("a[]", (Step("a", each=True),)),
    (r"a\.b.c", (Step("a.b"), Step("c"))),
    (r"a\[\]", (Step("a[]"),)),
    (r"a\[0\].b", (Step("a[0]"), Step("b"))),
    (r"a\[\][]", (Step("a[]", each=True),)),
    (r"a\\b", (Step("a\\b"),)),
    ("prompt id", (Step("prompt id"),)),
    ("日本.é", (Step("日本"), Step("é"))),
    ("0.1", (Step("0"), Step("1"))),
    ("$.a", (Step("$"), Step("a"))),
    (r"a\\.b", (Step("a\\"), Step("b"))),
    (r"pass\@1.acc\(mean\)", (Step("pass@1"), Step("acc(mean)"))),
]
BAD = ["", ".", "a.", ".a", "a..b", "[]", "a.[]", "a[", "a]", "a[]b", "[]a", "a[][]", "a\\", "a.b[]\\"]


@pytest.mark.parametrize(("text", "path"), GOOD)
def test_a_path_is_keys_joined_by_dots(text: str, path: Path) -> None:
    assert parse_place(text) == path
    assert place_text(path) == text


@pytest.mark.parametrize("text", BAD)
def test_an_invalid_path_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageProblem) as raised:
        parse_place(text)
    assert str(raised.value) == f"path {text!r}: expected keys joined by dots, with [] after a list, as in a.b[].c"


@given(st.lists(st.builds(Step, st.text(min_size=1), st.booleans()), min_size=1, max_size=4).map(tuple))
def test_every_path_can_be_written_and_parsed_again(path: Path) -> None:
    assert parse_place(place_text(path)) == path


def test_fields_are_where_their_names_say_unless_mapped() -> None:
    fields = Fields()
    assert {name: place_text(path) for name, path in fields.paths.items()} == {name: name for name in NAMES}
    mapped = fields.with_places(parse_mappings(["reward=verifier.score", "log_prob=output[].lp", "reward=last.wins"]))
    assert place_text(mapped.paths["reward"]) == "last.wins"
    assert mapped.paths["log_prob"] == (Step("output", each=True), Step("lp"))
    assert place_text(mapped.paths["old_log_prob"]) == "old_log_prob"
    assert fields == Fields()


def test_extras_are_mapped_like_any_field_and_change_nothing_that_the_loss_needs() -> None:
    mapped = Fields().with_places(
        parse_mappings(["finish_reason=choice.why", "response_texts=answers", "by=meta.step"])
    )
    assert place_text(mapped.paths["finish_reason"]) == "choice.why"
    assert place_text(mapped.paths["response_texts"]) == "answers"
    assert place_text(mapped.paths["by"]) == "meta.step"
    assert mapped.extras == ()
    assert mapped.unmapped == Fields().unmapped == []


def test_a_path_may_hold_an_equals_sign() -> None:
    assert parse_mappings(["reward=a=b"]) == {"reward": (Step("a=b"),)}


def test_places_are_known_fields_and_a_mapped_id_is_unique_in_the_dump() -> None:
    fields = Fields(known=frozenset(), id_file_prefix="runs/")
    mapped = fields.with_places(parse_mappings(["prompt_id=uid", "rewards=scores[].total"]))
    assert mapped.known == {"prompt_id", "reward"}
    assert mapped.id_file_prefix is None
    assert fields.with_places(parse_mappings(["reward=score"])).id_file_prefix == "runs/"
    assert fields.with_places({}) == fields


MISTAKES = [
    ("reward", "--field reward: expected NAME=dotted.path, as in reward=score"),
    ("reward=", "--field reward=: expected NAME=dotted.path, as in reward=score"),
    ("", "--field : expected NAME=dotted.path, as in reward=score"),
    ("prompt_id=a[].b", "--field prompt_id=a[].b: a prompt id is a single value, so its path cannot contain []"),
    ("reward=a..b", "path 'a..b': expected keys joined by dots, with [] after a list, as in a.b[].c"),
]


@pytest.mark.parametrize(("mapping", "message"), MISTAKES)
def test_a_wrong_mapping_says_what_was_expected(mapping: str, message: str) -> None:
    with pytest.raises(UsageProblem) as raised:
        Fields().with_places(parse_mappings([mapping]))
    assert str(raised.value) == message


def test_an_unknown_field_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageProblem) as raised:
        Fields().with_places(parse_mappings(["score=reward"]))
    assert str(raised.value).startswith(
        "--field score=reward: unknown field 'score'; expected one of prompt_id, reward, "
    )
    offered = str(raised.value).rpartition("one of ")[2].split(", ")
    assert offered == [name for name in NAMES if name not in ("by", "budget", "budget_label")]


@pytest.mark.parametrize("needed", [True, False])
def test_what_is_required_follows_the_coefficients(needed: bool) -> None:
    lengths, log_probs = Fields(needs_length=needed), Fields(needs_log_probs=needed)
    assert lengths.required("response_length") is needed
    assert log_probs.required("log_prob") is log_probs.required("old_log_prob") is needed
    for fields in (lengths, log_probs):
        assert fields.required("prompt_id")
        assert fields.required("reward")
