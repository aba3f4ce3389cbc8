"""If this fails, an expression gives a wrong value, or an invalid one is not refused at once."""

import json
import math
from collections.abc import Callable
from typing import Any

import jmespath
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jmespath.exceptions import JMESPathError

from budget_cli.errors import UsageProblem
from budget_cli.records import jsonl, reference
from budget_cli.records.columns import ALL_REJECTIONS, Decoded, Floats
from budget_cli.schema import expressions, presets
from budget_cli.schema.fields import Fields, parse_mappings
from budget_cli.schema.json_values import Invalid, canonical
from budget_cli.schema.parsing import parse_place
from budget_cli.schema.paths import Expression
from budget_cli.sources.blocks import Block

REWARDS_ALONE = Fields(needs_length=False, needs_log_probs=False)


def read(record: dict[str, Any] | str, *mappings: str, fields: Fields = REWARDS_ALONE) -> Decoded:
    """Decode one record whose unmapped fields have canonical names."""
    line = record if isinstance(record, str) else json.dumps({"prompt_id": "p", "reward": 1} | record)
    return reference.decode(f"{line}\n".encode(), fields.with_places(parse_mappings(mappings)), 1 << 20, ALL_REJECTIONS)


def refused(record: dict[str, Any] | str, *mappings: str, fields: Fields = REWARDS_ALONE) -> tuple[Any, ...]:
    """Return code, field and message of the only rejection."""
    decoded = read(record, *mappings, fields=fields)
    assert (decoded.tally.used, decoded.tally.rejected) == (0, 1)
    (rejection,) = decoded.rejections
    assert "\n" not in str(rejection)
    return rejection[3:6]


def only(column: Floats | None) -> float:
    assert column is not None
    (value,) = column.tolist()
    return float(value)


# ---- the functions

VALUES: list[tuple[str, dict[str, Any], Any]] = [  # expression, record, what it finds
    ("kept(m)", {"m": [0, 1, 1, 0, 1]}, 3),
    ("kept(m)", {"m": [False, True, 0.0, -100, 5, -1, -100.0]}, 3),
    ("kept(m)", {"m": ["", None, {}]}, 3),
    ("kept(m[])", {"m": [[0, 1, 1], [], [1, -100]]}, 3),
    ("kept(m)", {"m": []}, 0),
    ("masked(v, m)", {"v": [-1, -2, -4], "m": [0, 1, 1]}, [-2, -4]),
    ("masked(v, m)", {"v": ["a", None], "m": [-100, True]}, [None]),
    ("masked(v, m)", {"v": [], "m": []}, []),
    ("until_kept(v, m)", {"v": [7, 8, 9], "m": [0, 0, 1]}, [7, 8]),
    ("until_kept(v, m)", {"v": [7, 8, 9], "m": [1, 0, 1]}, []),
    ("until_kept(v, m)", {"v": [7, 8, 9], "m": [-100, False, 0]}, [7, 8, 9]),
    ("part(u, '_', `-1`)", {"u": "a_0_1"}, "1"),
    ("part(u, '_', `0`)", {"u": "a_0_1"}, "a"),
    ("part(u, '_', `-2`)", {"u": "a"}, None),
    ("graded(s)", {"s": {"match": {"value": "C"}}}, 1.0),
    ("graded(s)", {"s": {"match": {"value": "N", "answer": ""}}}, 0.0),
    ("graded(s.match)", {"s": {"match": {"value": "P"}, "judge": {"value": 3}}}, 0.5),
    ("graded(s)", {"s": {"match": {"value": True}}}, 1.0),
    ("graded(s)", {"s": {"value": 0.25}}, 0.25),
    ("total(s)", {"s": [0.5, 0.25, -1]}, -0.25),
    ("total(s)", {"s": [1e16, 1, -1e16]}, 1),
    ("total(s)", {"s": []}, 0),
    ("dot(s, w)", {"s": [1, 2, 3], "w": [1, 0.5, -1]}, -1),
    ("dot([a, b], `[1.0, 0.5]`)", {"a": 1, "b": 3}, 2.5),
    ("nandot([a, b], `[1.0, 0.5]`)", {"a": 1, "b": 3}, 2.5),
    ("nandot([a, b], `[1.0, 0.5]`)", {"a": None, "b": 3}, 1.5),
    ("nandot([a, b], `[1.0, 0.5]`)", {"a": 1, "b": math.nan}, 1),
    ("number(a)", {"a": True}, 1),
    ("number(a)", {"a": False}, 0),
    ("number(a)", {"a": 0.25}, 0.25),
    ("number(a)", {"a": [True, 0.5, [False], None, "x"]}, [1, 0.5, [0], None, "x"]),
    ("number(a)", {}, None),
    ("minus(a, b)", {"a": 900, "b": 47}, 853),
    ("minus(a, b)", {"a": 0.5, "b": 2}, -1.5),
    ("stem(s, '_', `2`)", {"s": "algebra_017_0_5"}, "algebra_017"),
    ("stem(s, '_', `1`)", {"s": "algebra"}, "algebra"),
    ("stem(s, '_', `0`)", {"s": "a_b"}, "a_b"),
    ("stem(s, '::', `1`)", {"s": "a::b::c"}, "a::b"),
    ("weighted(r)", {"r": {"right": {"score": 1, "weight": 0.5}, "short": {"score": -2, "weight": 0.25}}}, 0),
    ("weighted(r)", {"r": {"right": {"score": 0.75}}}, 0.75),
    ("from_json(m).a[1]", {"m": '{"a": [0, 0.5]}'}, 0.5),
    ("from_json(m).b", {"m": '{"a": [0, 0.5]}'}, None),
    ("from_json(m)", {}, None),
    ("weighted(r)", {"r": {"right": {"score": 2, "weight": 3}, "note": "x"}}, 6),
    ("sum(steps[].n)", {"steps": [{"n": 3}, {"n": 4}, {}]}, 7),
    ("a || b", {"a": None, "b": 2}, 2),
    ("a[0]", {"a": [3, 4]}, 3),
]


@pytest.mark.parametrize(("expression", "record", "value"), VALUES)
def test_a_function_finds_what_is_worked_out_by_hand(expression: str, record: dict[str, Any], value: Any) -> None:
    expressions.require_valid(expression)
    assert expressions.evaluate(expression, record) == value


@pytest.mark.parametrize("value", [0.5, 3, 0])
def test_the_total_of_a_number_is_that_number(value: float) -> None:
    assert expressions.evaluate("total(s)", {"s": value}) == value


DIGESTS = [  # as `printf '"abc"' | b2sum --length 128` says it
    ("abc", "d2aafd907802109a7abbb70d452a9cee"),
    ([40, "abc"], "2e617290c8dd8cae9bde5b44615cf9b6"),
    ({"b": "é", "a": 1}, "711ca9d738b3975f82200417c1dac176"),
]


@pytest.mark.parametrize(("value", "digest"), DIGESTS)
def test_a_digest_is_blake2b_of_the_value_s_shortest_json_with_its_keys_in_order(value: Any, digest: str) -> None:
    assert expressions.evaluate("digest(x)", {"x": value}) == digest


def test_a_value_as_deep_as_the_parser_takes_has_a_digest() -> None:
    deep: Any = 1
    expected = "1"  # by hand, as json writes no value of this depth on Python 3.12
    for level in range(1020):
        deep = {"b": [deep, {}, []], "a": "é"} if level % 2 else [deep, None]
        expected = f'{{"a":"é","b":[{expected},{{}},[]]}}' if level % 2 else f"[{expected},null]"
    assert canonical(deep) == expected


scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters())
json_values = st.recursive(
    scalars | st.sampled_from(['"', "\\", "\x1f", "\x7f", "\u2028", "\ud800", 2**64]),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters()), inner),
    max_leaves=12,
)


@given(json_values)
def test_the_text_of_a_digest_is_that_of_json_with_sorted_keys(value: Any) -> None:
    assert canonical(value) == json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def test_digests_are_equal_where_values_are_and_only_there() -> None:
    values = ["1", 1, [1], [[1]], ["1"], {"a": 1}, {"a": [1]}, "", "\ud800", [], {}, True]
    assert len({expressions.evaluate("digest(x)", {"x": value}) for value in values}) == len(values)
    one, other = ({"x": {"a": 1, "b": [2]}}, {"x": {"b": [2], "a": 1}})
    assert expressions.evaluate("digest(x)", one) == expressions.evaluate("digest(x)", other)


# ---- as fields


def test_log_probs_behind_a_mask_are_summed_and_counted() -> None:
    record = {"lp": [-9, -0.5, -0.25], "old": [-9, -1, -1], "mask": [0, 1, 1]}
    columns = read(record, "log_prob=masked(lp, mask)", "old_log_prob=masked(old, mask)", fields=Fields()).columns
    assert (only(columns.log_prob), only(columns.old_log_prob), only(columns.length)) == (-0.75, -2, 2)


@pytest.mark.parametrize(
    ("record", "key"),
    [({"step": 40, "i": 3}, "40/3"), ({"step": "a", "i": "b"}, "a/b"), ({"step": 40.0, "i": "x"}, "40/x")],
)
def test_several_values_are_one_prompt_id(record: dict[str, Any], key: str) -> None:
    assert read(record, "prompt_id=[step, i]").columns.keys == [key]


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"step": 40}, "expected a string or an integer, found null"),
        ({"step": 40, "i": [3]}, "expected a string or an integer, found a list"),
        ({"step": 40, "i": True}, "expected a string or an integer, found true"),
    ],
)
def test_every_part_of_a_prompt_id_must_be_one(record: dict[str, Any], message: str) -> None:
    assert refused(record, "prompt_id=[step, i]") == ("wrong-type", "prompt_id ([step, i])", message)


def test_prompt_ids_of_different_parts_are_different() -> None:
    ids = [read({"a": a, "b": b}, "prompt_id=[a, b]").columns.keys for a, b in (("x/y", "z"), ("x", "y/z"))]
    assert ids[0] != ids[1]


def test_an_expression_gives_the_numbers_of_a_plain_path() -> None:
    plain = ("prompt_id=task.id", "reward=score", "log_prob=out[].lp", "old_log_prob=old", "response_length=n")
    same = (
        "prompt_id=not_null(task.id)",
        "reward=minus(score, `0`)",
        "log_prob=out[*].lp[]",
        "old_log_prob=minus(old, `0`)",
        "response_length=not_null(gone, n)",
    )
    data = "".join(
        json.dumps(
            {"task": {"id": i % 7}, "score": i / 8, "out": [{"lp": [-i, -0.1]}, {"lp": [-0.2]}], "old": -i, "n": i}
        )
        + "\n"
        for i in range(20)
    ).encode()
    by_path, by_expression = (
        jsonl.decode(
            Block("x", data, 0, len(data), first=True), Fields().with_places(parse_mappings(mappings)), jsonl.Limits()
        ).columns
        for mappings in (plain, same)
    )
    assert by_expression.keys == by_path.keys
    for name in ("codes", "reward", "length", "log_prob", "old_log_prob"):
        assert getattr(by_expression, name).tolist() == getattr(by_path, name).tolist()


@pytest.mark.parametrize("record", [{"a": None}, {"a": [None]}, {"a": []}, {"a": 3}, {}])
def test_null_and_nothing_are_a_missing_field(record: dict[str, Any]) -> None:
    keys = ", ".join(["prompt_id", "reward", *record])
    message = f"missing (the record has {keys}); give --field reward=PATH"
    assert refused(record, "reward=a[0]") == ("missing", "reward (a[0])", message)


def test_null_is_absent_where_the_field_is_not_required() -> None:
    columns = read({"a": [None]}, "response_length=a[0]", "log_prob=b[0]").columns
    assert (only(columns.reward), columns.length, columns.log_prob) == (1.0, None, None)


# ---- what does not fit


def found(function: str, value: str, types: str, received: str) -> str:
    value = f"invalid type for value: {value}"
    return f"In function {function}(), {value}, expected one of: [{types}], received: {received}"


NESTED = "the mask is a list of lists; MASK[] joins them, if they are the response's turns"
WRONG: list[tuple[str, dict[str, Any], str, str]] = [  # mapping, record, code, message
    ("response_length=kept(x)", {"x": 3}, "wrong-type", found("kept", "3", "'array'", '"number"')),
    ("log_prob=masked(x, m)", {"x": "a", "m": []}, "wrong-type", found("masked", "a", "'array'", '"string"')),
    ("response_length=kept(m)", {"m": [[1, 1], [0]]}, "wrong-type", "kept: " + NESTED),
    ("log_prob=masked(x, m)", {"x": [[1], [1]], "m": [[1], [0]]}, "wrong-type", "masked: " + NESTED),
    ("log_prob=until_kept(x, m)", {"x": [1, 1], "m": [[0], [1]]}, "wrong-type", "until_kept: " + NESTED),
    ("log_prob=masked(x, m)", {"x": [1], "m": [1, 1]}, "unequal-lengths", "1 values, but 2 elements in the mask"),
    ("log_prob=masked(x, m)", {"x": ["a"], "m": [1]}, "wrong-type", "element 0: expected a number, found a string"),
    ("log_prob=until_kept(x, m)", {"x": {}, "m": []}, "wrong-type", found("until_kept", "{}", "'array'", '"object"')),
    ("response_length=minus(x, y)", {"x": "a", "y": 1}, "wrong-type", found("minus", "a", "'number'", '"string"')),
    ("response_length=minus(x, y)", {"x": True, "y": 1}, "wrong-type", found("minus", "True", "'number'", '"boolean"')),
    (
        "response_length=minus(x, y)",
        {"x": 1, "y": 2},
        "wrong-value",
        "expected a whole number of tokens, 0 or more, found -1",
    ),
    ("prompt_id=stem(x, '_', `2`)", {"x": 5}, "wrong-type", found("stem", "5", "'string'", '"number"')),
    ("prompt_id=a[0]", {"a": [{}]}, "wrong-type", "expected a string or an integer, found an object"),
]


@pytest.mark.parametrize(("mapping", "record", "code", "message"), WRONG)
def test_types_that_do_not_fit_refuse_the_record_with_its_field_in_one_line(
    mapping: str, record: dict[str, Any], code: str, message: str
) -> None:
    name, _, expression = mapping.partition("=")
    if name != "prompt_id":
        message += "; --ignore-unneeded reads on without it"
    assert refused(record, mapping) == (code, f"{name} ({expression})", message)


WRONG_REWARDS: list[tuple[str, dict[str, Any], str, str]] = [
    ("minus(x, y)", {"x": "a", "y": 1}, "wrong-type", found("minus", "a", "'number'", '"string"')),
    ("dot(x, `[1, 2]`)", {"x": [1]}, "unequal-lengths", "1 values, but 2 weights"),
    ("dot([a, b], `[1, 2]`)", {"a": 1, "b": None}, "null", "value 2 of 2 is null or missing"),
    ("dot([a, b], `[1, 2]`)", {"a": 1, "c": 2}, "missing", "no b (the record has prompt_id, reward, a, c)"),
    ("dot(x, `[1, 2]`)", {"x": ["1", 2]}, "wrong-type", "value 1 of 2: expected a number, found a string"),
    ("dot(x, `[1, 2]`)", {"x": [1, True]}, "wrong-type", "value 2 of 2: expected a number, found true"),
    ("nandot([a, b], `[1, 2]`)", {"a": None, "b": None}, "null", "all 2 values are null or NaN"),
    ("nandot([a, b], `[1, 2]`)", {"a": None, "c": 2}, "missing", "no b (the record has prompt_id, reward, a, c)"),
    ("nandot([a], `[1]`)", {"a": None}, "null", "the only value is null or NaN"),
    ("nandot(x, `[1, 2]`)", {"x": [1]}, "unequal-lengths", "1 values, but 2 weights"),
    (
        "nandot(x, `[1, 2]`)",
        {"x": [None, True]},
        "wrong-type",
        "value 2 of 2: expected a number, found true; number(…) counts it",
    ),
    (
        "weighted(x)",
        {"x": {"right": {"score": 1}, "short": {"score": None}}},
        "null",
        "the score of short is null or missing",
    ),
    ("weighted(x)", {"x": {"right": {"weight": 1}}}, "null", "the score of right is null or missing"),
    (
        "weighted(x)",
        {"x": {"right": {"score": True}}},
        "wrong-type",
        "the score of right: expected a number, found true",
    ),
    (
        "weighted(x)",
        {"x": {"right": {"score": 1, "weight": "1"}}},
        "wrong-type",
        "the weight of right: expected a number, found a string",
    ),
    ("weighted(x)", {"x": {"note": 1}}, "missing", "expected members like {score, weight}, found none"),
    ("from_json(x)", {"x": "{"}, "wrong-type", "from_json: the string is not JSON"),
    ("from_json(x).a", {"x": '{"a": NaN}'}, "non-finite", "NaN is not a number that can be averaged"),
    ("from_json(x).a", {"x": '{"a": "b"}'}, "wrong-type", "expected a number, found a string"),
    ("weighted(x)", {"x": [1]}, "wrong-type", found("weighted", "[1]", "'object'", '"array"')),
]


@pytest.mark.parametrize(("expression", "record", "code", "message"), WRONG_REWARDS)
def test_a_reward_whose_types_do_not_fit_is_refused_with_its_field(
    expression: str, record: dict[str, Any], code: str, message: str
) -> None:
    assert refused(record, f"reward={expression}") == (code, f"reward ({expression})", message)


def test_a_length_whose_types_do_not_fit_is_refused_with_its_field_beside_tokens_too() -> None:
    record = {"x": "a", "log_prob": [-1, -2]}
    assert refused(record, "response_length=kept(x)")[1] == "response_length (kept(x))"


BEYOND: list[tuple[str, str]] = [  # mapping, the JSON text of x
    ("reward=total(x)", "[1e308, 1e308]"),
    ("reward=dot(x, x)", f"[{'9' * 390}, 0.5]"),
    ("reward=minus(x, `0.5`)", "9" * 390),
    ("reward=weighted(x)", f'{{"a": {{"score": {"9" * 390}}}}}'),
    ("prompt_id=stem(x, '', `1`)", '"a_b"'),
    ("prompt_id=x[::0]", "[1]"),
]


@pytest.mark.parametrize(("mapping", "text"), BEYOND, ids=[mapping for mapping, _ in BEYOND])
def test_a_function_that_cannot_be_computed_rejects_the_record(mapping: str, text: str) -> None:
    line = f'{{"prompt_id": "p", "reward": 1, "x": {text}}}'
    assert refused(line, mapping)[1] == mapping.replace("=", " (", 1) + ")"


@pytest.mark.parametrize("record", [{}, {"x": None}])
def test_a_digest_of_nothing_is_no_prompt_id(record: dict[str, Any]) -> None:
    assert refused(record, "prompt_id=digest(x)")[1] == "prompt_id (digest(x))"


KNOWN = (
    "abs, avg, ceil, contains, digest, dot, ends_with, floor, from_json, graded, join, kept, keys, length, map, "
    "masked, max, max_by, merge, min, min_by, minus, nandot, not_null, number, part, reverse, sort, sort_by, "
    "starts_with, stem, sum, "
    "to_array, to_number, to_string, total, type, until_kept, values, weighted"
)
INCOMPLETE = "neither a dotted path nor JMESPath: Invalid jmespath expression: Incomplete expression"
MISTAKES = [
    ("keep(m)", f"unknown function 'keep'; expected one of {KNOWN}"),
    ("[step, minus(a, nope(b))]", f"unknown function 'nope'; expected one of {KNOWN}"),
    ("a[?f(x) == `1`]", f"unknown function 'f'; expected one of {KNOWN}"),
    ("max_by(a, &g(b))", f"unknown function 'g'; expected one of {KNOWN}"),
    ("{k: h(b)}", f"unknown function 'h'; expected one of {KNOWN}"),
    ("minus(a", INCOMPLETE),
    ("a | ", INCOMPLETE),
    ("a[0", INCOMPLETE),
]


@pytest.mark.parametrize(("expression", "message"), MISTAKES)
def test_an_invalid_expression_is_refused_before_anything_is_read(expression: str, message: str) -> None:
    with pytest.raises(UsageProblem) as raised:
        Fields().with_places(parse_mappings([f"reward={expression}"]))
    assert str(raised.value) == f"expression {expression!r}: {message}"


def refused_expression(text: str) -> str:
    with pytest.raises(UsageProblem) as raised:
        parse_place(text)
    return str(raised.value)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 5000 + "a" + "]" * 5000,
        "(" * 5000 + "a" + ")" * 5000,
        "a | " * 5000 + "a",
        "a || " * 5000 + "a",
        "a[?" + "!" * 5000 + "b]",
        "length(" * 5000 + "a" + ")" * 5000,
        "a" + "[?b" * 5000 + "]" * 5000,
        "`" + "[" * 5000 + "]" * 5000 + "`",
        "`" + '[{"a":' * 100 + "[1]" + "}]" * 100 + "`",
        "[" * 201 + "a" + "]" * 201,
    ],
)
def test_an_expression_nested_too_deep_is_refused(text: str) -> None:
    assert refused_expression(text).endswith("nested deeper than 200 levels")
    assert len(refused_expression(text)) < 200


def test_a_literal_as_deep_as_allowed_is_taken() -> None:
    expressions.require_valid("`" + '[{"a":' * 100 + "1" + "}]" * 100 + "`")


def test_an_expression_as_deep_as_allowed_is_computed() -> None:
    (value,) = (expressions.evaluate("[" * 150 + "a" + "]" * 150, {"a": 1}),)
    for _ in range(150):
        (value,) = value
    assert value == 1


@pytest.mark.parametrize(
    ("text", "times"),
    [
        ("|".join(["[a, a]"] * 20), "1.05e+06"),
        ("|".join(["{a: a, b: a}"] * 20) + "", "1.05e+06"),
        ("digest(" + "|".join(["[@, @]"] * 40) + ")", "1.1e+12"),
        ("a" + "[].[@, @]" * 20, "1.05e+06"),
        ("to_string(" * 20 + "a" + ")" * 20, "1.05e+06"),
        ("map(&[@, @], " * 20 + "a" + ")" * 20, "1.05e+06"),
    ],
)
def test_an_expression_that_would_explode_is_refused(text: str, times: str) -> None:
    assert refused_expression(text).endswith(
        f"may make {times} times as much as a record holds, and the limit is 10,000 times"
    )


def test_a_join_that_would_explode_rejects_the_record() -> None:
    record = {"x": "s" * 20_000, "y": [""] * 20_000}
    assert refused(record, "prompt_id=join(x, y)", fields=REWARDS_ALONE)[0] == "wrong-value"
    assert expressions.evaluate("join('-', y)", {"y": ["a", "b"]}) == "a-b"


@pytest.mark.parametrize("text", [r'`"\ud800"`', r'a == `["\uDFFF"]`', r'{a: `{"\ud800": 1}`}.a'])
def test_a_literal_that_is_no_text_is_refused(text: str) -> None:
    assert refused_expression(text) == f"expression {text!r}: a literal has half of a \\u surrogate pair"
    assert expressions.evaluate(r'`"\ud83d\ude00 \\ud800"`', {}) == r"😀 \ud800"


@pytest.mark.parametrize("text", ["caf\udce9", "a.b\udcff", "length(caf\udce9)"])
def test_a_place_that_is_not_utf_8_is_refused(text: str) -> None:
    assert "expected UTF-8, as in every JSON file" in refused_expression(text)


@pytest.mark.parametrize("text", ['["\\ud800"]', '{"\\udc00": 1}', "[1, 2", "NaN x"])
def test_json_within_a_string_is_read_as_strictly_as_json(text: str) -> None:
    line = json.dumps({"prompt_id": "p", "reward": 1, "x": text})
    assert refused(line, "prompt_id=from_json(x)[0]")[2] == "from_json: the string is not JSON"
    assert expressions.evaluate("from_json(x)", {"x": r'["\\u0041\ud83d\ude00", 1e999]'}) == [r"\u0041😀", math.inf]


@pytest.mark.parametrize("digits", [19, 20, 309, 350, 5000])
def test_an_integer_within_a_string_is_what_it_is_in_a_record(digits: int) -> None:
    number = "9" * digits
    expected = json.loads(number) if digits < 20 else float(number)
    assert expressions.evaluate("from_json(x)", {"x": number}) == expected


# ---- the keys that it needs

ROOTS: list[tuple[str, set[str] | None]] = [
    ("minus(a, b.c)", {"a", "b"}),
    ("ok == `false` || errors || !reward", {"ok", "errors", "reward"}),
    ("a && b > `3`", {"a", "b"}),
    ("length(a[?b == c]) > `0`", {"a"}),
    ("a | @.b", {"a"}),
    ("[step, prompt_idx]", {"step", "prompt_idx"}),
    ("digest([step, input])", {"step", "input"}),
    ("a[0].b", {"a"}),
    ("a[1:3]", {"a"}),
    ("a[*].b", {"a"}),
    ("sum(steps[].n)", {"steps"}),
    ("stem(uid, '_', `2`)", {"uid"}),
    ("`1`", set()),
    ("@", None),
    ("length(@)", None),
    ("[0]", None),
    ("*.a", None),
    ("max_by(a, &b)", None),
]


@pytest.mark.parametrize(("expression", "keys"), ROOTS)
def test_the_roots_are_the_record_s_keys_that_the_value_depends_on(expression: str, keys: set[str] | None) -> None:
    assert expressions.roots(expression) == keys


@pytest.mark.parametrize(("expression", "record"), [(expression, record) for expression, record, _ in VALUES])
def test_a_record_of_the_roots_alone_gives_the_same_value(expression: str, record: dict[str, Any]) -> None:
    keys = expressions.roots(expression)
    more = record | {"zzz": math.pi}
    cut = {key: value for key, value in more.items() if keys is None or key in keys}
    assert expressions.evaluate(expression, cut) == expressions.evaluate(expression, more)


def test_a_call_with_the_wrong_number_of_arguments_is_refused_before_reading() -> None:
    with pytest.raises(UsageProblem, match=r"^expression 'minus\(x\)': minus takes 2 arguments, not 1$"):
        Fields().with_places(parse_mappings(["response_length=minus(x)"]))


# ---- what is computed by functions of Python is what jmespath computes

FORMS = [
    *sorted({place for preset in presets.load().values() for _, place in (*preset.places, *preset.extras)}),
    *(expression for expression, _, _ in VALUES),
    "a[0].b",
    "a[*]",
    "a[].b[].a",
    "a[?b].a",
    "a[?b == a][0]",
    "a[-1]",
    "a[1][0] || b",
    "a && b",
    "[a, b[0]]",
    "length(a)",
    "not_null(a, b)",
    "sum(a)",
    "a[*].b",
    "a[0:2]",
    "minus(a, b) || total(a)",
    "dot(a, b)",
    "stem(a, b, `1`)",
    "to_number(a)",
    "a == b",
    "!a",
    "{x: a}",
    "a | b",
]
SMALL = st.recursive(
    st.sampled_from([None, True, False, 0, 1, -100, 0.5, "", "a", "a_b_c", "p:1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "id", "score"]), inner),
    max_leaves=5,
)


@given(st.sampled_from(FORMS), st.data())
def test_closures_compute_what_jmespath_computes(form: str, data: st.DataObject) -> None:
    names = sorted(expressions.roots(form) or ["a", "b"])
    record = {name: data.draw(SMALL) for name in names if data.draw(st.booleans())}

    def outcome(search: Callable[[], Any]) -> Any:
        try:
            return search()
        except (JMESPathError, Invalid, ArithmeticError, ValueError, TypeError) as error:
            return type(error), str(error)

    by_library = outcome(lambda: jmespath.compile(form).search(record, options=expressions.OPTIONS))
    assert repr(outcome(lambda: expressions._closure(form)(record))) == repr(by_library)


def test_the_expressions_of_presets_are_all_compiled_to_closures() -> None:
    slow = {
        place
        for preset in presets.load().values()
        for _, place in (*preset.places, *preset.leave_out)
        if isinstance(parse_place(place), Expression)
        and expressions._closure_of(jmespath.compile(place).parsed) is None
    }
    assert not slow
