"""If this fails, a damaged record is used, a good one is rejected, or a message names the wrong place or reason."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budget_cli.records import reference
from budget_cli.records.columns import ALL_REJECTIONS, Decoded, Rejection, RejectionLimit
from budget_cli.schema.fields import Fields, parse_mappings
from budget_cli.schema.parsing import parse_place

LIMIT = 4000
GOOD = '{"prompt_id": "p", "reward": 1.0, "log_prob": -1, "old_log_prob": -2, "response_length": 3}'
MANY = (
    '{"prompt_id": "p", "rewards": [1, 0.5], "log_probs": [-1, -2], "old_log_probs": [-1, -2.5], '
    '"response_lengths": [3, 4]}'
)
NESTED = ("prompt_id=task.id", "reward=verifier.reward", "log_prob=output[].lp")
INSIDE = '{"task": {"id": 7}, "verifier": {"reward": 1}, "output": [], "old_log_prob": -2, "response_length": 3}'


def read(
    text: str | bytes, fields: Fields | None = None, limit: int = LIMIT, keep: RejectionLimit = ALL_REJECTIONS
) -> Decoded:
    return reference.decode(text if isinstance(text, bytes) else text.encode(), fields or Fields(), limit, keep)


def refused(text: str | bytes) -> tuple[int, int, str, str | None, str]:
    """Return line, column, code, field and message of the only rejection; the good record after it must be read."""
    line = text if isinstance(text, bytes) else text.encode()
    decoded = read(line + b"\n" + GOOD.encode() + b"\n")
    assert (decoded.tally.read, decoded.tally.rejected, decoded.tally.used) == (2, 1, 1)
    assert decoded.columns.reward.tolist() == [1.0]
    (rejection,) = decoded.rejections
    assert decoded.tally.by_code == {rejection.code: 1}
    return rejection[1:6]


def with_(field: str, value: str) -> str:
    """Return the good record with other JSON text for the value of one field."""
    before = {"prompt_id": '"p"', "reward": "1.0", "log_prob": "-1", "old_log_prob": "-2", "response_length": "3"}[
        field
    ]
    return GOOD.replace(f'"{field}": {before}', f'"{field}": {value}')


COLUMN = {"prompt_id": 15, "reward": 30, "log_prob": 47, "old_log_prob": 67, "response_length": 90}


def as_text(text: str, field: str | None = None) -> str:
    """Return the message about a number in a string; `to_number` helps if there is a `field`."""
    cause = f'expected a number, found the string "{text}" (json.dumps with default=str writes numpy numbers like this)'
    return cause if field is None else f"{cause}; --field '{field}=to_number({field})' reads it"


RANGE = "a number beyond the range of a double"
LENGTH = "expected a whole number of tokens, 0 or more, found"
ID = "expected a string or an integer, found"
INEXACT = "this integer is too large to be exact in every JSON reader: write it as a string"

COUNTED = "--field 'reward=number(reward)' counts true as 1 and false as 0"
WRONG_VALUES = [  # field, its JSON text, code, message
    ("reward", "NaN", "non-finite", "NaN is not a number that can be averaged"),
    ("reward", "Infinity", "non-finite", "Infinity is not a number that can be averaged"),
    ("reward", "-Infinity", "non-finite", "-Infinity is not a number that can be averaged"),
    ("reward", "1e400", "non-finite", RANGE),
    ("reward", "-1e400", "non-finite", RANGE),
    ("reward", "9" * 400, "non-finite", RANGE),
    ("log_prob", "-Infinity", "non-finite", "-Infinity is not a number that can be averaged"),
    ("log_prob", "1e400", "non-finite", RANGE),
    ("log_prob", "[-1, 1e400]", "non-finite", f"element 1: {RANGE}"),
    ("response_length", "1e400", "non-finite", RANGE),
    ("prompt_id", "1e400", "non-finite", RANGE),
    ("prompt_id", "NaN", "non-finite", "NaN is not a number that can be averaged"),
    ("reward", "true", "wrong-type", f"expected a number, found true; {COUNTED}"),
    ("reward", "false", "wrong-type", f"expected a number, found false; {COUNTED}"),
    ("reward", '"half"', "wrong-type", "expected a number, found a string"),
    ("reward", '"0.5"', "number-as-string", as_text("0.5", "reward")),
    ("reward", '"True"', "wrong-type", as_text("True")),
    ("reward", '"nan"', "wrong-type", as_text("nan")),
    ("reward", "null", "null", "null"),
    ("reward", "[1]", "wrong-type", "expected a number, found a list"),
    ("reward", "{}", "wrong-type", "expected a number, found an object"),
    ("log_prob", "true", "wrong-type", "expected a number, found true"),
    ("log_prob", '"-1"', "number-as-string", as_text("-1", "log_prob")),
    ("log_prob", "null", "null", "null"),
    ("log_prob", "[]", "missing", "an empty list holds no log-probs; --kl-coef 0 does without them"),
    ("log_prob", "[null]", "wrong-type", "element 0: expected a number, found null"),
    ("log_prob", "[-1, true]", "wrong-type", "element 1: expected a number, found true"),
    ("log_prob", "[[-1]]", "wrong-type", "element 0: expected a number, found a list"),
    ("old_log_prob", '[-1, "-2"]', "number-as-string", "element 1: " + as_text("-2")),
    ("old_log_prob", "{}", "wrong-type", "expected a number, found an object"),
    ("response_length", "true", "wrong-type", "expected a number, found true"),
    ("response_length", '"12"', "number-as-string", as_text("12", "response_length")),
    ("response_length", "null", "null", "null"),
    ("response_length", "[3]", "wrong-type", "expected a number, found a list"),
    ("response_length", "-1", "wrong-value", f"{LENGTH} -1"),
    ("response_length", "12.5", "wrong-value", f"{LENGTH} 12.5"),
    ("response_length", "1e300", "wrong-value", f"{LENGTH} 1e+300"),
    ("prompt_id", "true", "wrong-type", f"{ID} true"),
    ("prompt_id", "null", "null", "null"),
    ("prompt_id", "1.5", "wrong-value", f"{ID} 1.5"),
    ("prompt_id", '["a"]', "wrong-type", f"{ID} a list"),
    ("prompt_id", "{}", "wrong-type", f"{ID} an object"),
    ("prompt_id", "9007199254740994.0", "inexact-id", INEXACT),
    ("prompt_id", "1e300", "inexact-id", INEXACT),
    ("prompt_id", "9223372036854775808", "inexact-id", INEXACT),
    ("prompt_id", "18446744073709551616", "inexact-id", INEXACT),
    ("prompt_id", "18446744073709551617", "inexact-id", INEXACT),
    ("prompt_id", "-9223372036854775809", "inexact-id", INEXACT),
]


@pytest.mark.parametrize(("field", "value", "code", "message"), WRONG_VALUES)
def test_a_wrong_value_is_named_with_its_field_and_place(field: str, value: str, code: str, message: str) -> None:
    assert refused(with_(field, value)) == (1, COLUMN[field], code, field, message)


def test_a_constant_inside_a_list_is_named_with_its_place_in_it() -> None:
    line = with_("log_prob", "[-1, NaN]")
    assert refused(line) == (1, 52, "non-finite", "log_prob[1]", "NaN is not a number that can be averaged")


def test_a_sum_beyond_the_range_of_a_double_is_not_a_log_prob() -> None:
    for value in ("[-1e308, -1e308]", "[1e308, 1e308, -1e308, -1e308, 1e308, 1e308]"):
        assert refused(with_("log_prob", value))[2:4] == ("non-finite", "log_prob")


SUMS = [
    ("[1e308, 1e308, -1e308]", 1e308),
    ("[1e308, 1e308, -1e308, -1e308, 5e-324]", 5e-324),
    ("[1.7976931348623157e308, 1.7976931348623157e308, -1.7976931348623157e308, 1, -1, 0.5]", 1.7976931348623157e308),
    ("[9007199254740992, 1e308, 1e308, 1, -1e308, -1e308]", 2.0**53),  # a tie, to even
    ("[9007199254740992, 1e308, 1e308, 1, 1e-300, -1e308, -1e308]", 2.0**53 + 2),
]


@pytest.mark.parametrize(("tokens", "total"), SUMS)
def test_a_sum_within_the_range_is_exact_though_a_part_of_it_is_beyond(tokens: str, total: float) -> None:
    decoded = read(with_("log_prob", tokens).replace("-2", tokens) + "\n")
    assert decoded.columns.log_prob is not None
    assert decoded.columns.log_prob.tolist() == [total]


MISSING = [
    ("prompt_id", '"prompt_id": "p", ', "(the record has reward, log_prob, old_log_prob, response_length); give"),
    ("reward", '"reward": 1.0, ', "(the record has prompt_id, log_prob, old_log_prob, response_length); give"),
    (
        "log_prob",
        '"log_prob": -1, ',
        "(the record has prompt_id, reward, old_log_prob, response_length); --kl-coef 0 does without it, or give",
    ),
    (
        "old_log_prob",
        '"old_log_prob": -2, ',
        "(the record has prompt_id, reward, log_prob, response_length); --kl-coef 0 does without it, or give",
    ),
    (
        "response_length",
        ', "response_length": 3',
        "(the record has prompt_id, reward, log_prob, old_log_prob); --budget-penalty-coef 0 does without it, or give",
    ),
]


@pytest.mark.parametrize(("field", "text", "hint"), MISSING)
def test_missing_differs_from_null_and_the_message_names_the_remedies(field: str, text: str, hint: str) -> None:
    assert refused(GOOD.replace(text, "")) == (1, 1, "missing", field, f"missing {hint} --field {field}=PATH")


def extra(text: str) -> str:
    return GOOD[:-1] + f", {text}}}"


NOT_RECORDS: list[tuple[str | bytes, int, str, str | None, str]] = [  # line, column, code, field, message
    ("[]", 1, "not-an-object", None, "expected an object, found a list"),
    ('"a"', 1, "not-an-object", None, "expected an object, found a string"),
    ("1", 1, "not-an-object", None, "expected an object, found a number"),
    ("null", 1, "not-an-object", None, "expected an object, found null"),
    ("true", 1, "not-an-object", None, "expected an object, found true"),
    ("\0\0\0", 1, "nul-bytes", None, "a run of NUL bytes, as left by an interrupted write"),
    ("hello", 1, "not-json", None, "not JSON: unexpected character, expected a JSON value"),
    ("{'a': 1}", 2, "not-json", None, "not JSON: unexpected character, expected a string key"),
    ('{"a": 01}', 7, "not-json", None, "not JSON: number with leading zero is not allowed"),
    (extra('"x": "a\tb"'), 100, "not-json", None, "not JSON: unexpected control character in string"),
    (GOOD + GOOD, 92, "not-json", None, "more text after the end of the value: expected one record per line"),
    (GOOD + " " + GOOD, 93, "not-json", None, "more text after the end of the value: expected one record per line"),
    (GOOD + "\0", 92, "not-json", None, "more text after the end of the value: expected one record per line"),
    (extra('"x": "\\ud800"'), 99, "lone-surrogate", None, "half of a \\u surrogate pair in a string"),
    (extra('"\\udc00": 1'), 94, "lone-surrogate", None, "half of a \\u surrogate pair in a string"),
    (extra('"x": "')[:-1].encode() + b'\xff"}', 99, "invalid-utf8", None, "byte 0xff is not UTF-8"),
    ('{"é": "日本"'.encode() + b"\xe9}", 11, "invalid-utf8", None, "byte 0xe9 is not UTF-8"),
    (extra('"x": ' + "[" * 1100 + "]" * 1100), 1122, "too-deep", None, "nested deeper than 1024 levels"),
    ("x" * (LIMIT + 1), 1, "line-too-long", None, "longer than 4,000 bytes (--max-line-bytes)"),
    (" " * (LIMIT + 1), 1, "line-too-long", None, "longer than 4,000 bytes (--max-line-bytes)"),
    (extra('"x": 1e999, "y": "\\ud800"'), 111, "lone-surrogate", None, "half of a \\u surrogate pair in a string"),
    (extra('"x": 1e999, "\\uDc00": 1'), 106, "lone-surrogate", None, "half of a \\u surrogate pair in a string"),
    (extra('"x": 1e999, "y": "a\tb"'), 112, "not-json", None, "not JSON: unexpected control character in string"),
    (extra('"x": 01e999'), 98, "not-json", None, "not JSON: number with leading zero is not allowed"),
    (extra('"x": 1e999, 1e999: 2'), 105, "not-json", None, "not JSON: unexpected character, expected a string key"),
    (
        extra('"x": 1e999, "y": -1e999, "z": [}'),
        124,
        "not-json",
        None,
        "not JSON: unexpected character, expected a JSON value",
    ),
    (
        extra('"x": 1e999, "y": ' + "[" * 1100 + "]" * 1100),
        1134,
        "too-deep",
        None,
        "nested deeper than 1024 levels",
    ),
    (
        extra('"a": {"b": [1, {"c": -Infinity}]}'),
        114,
        "non-finite",
        "a.b[1].c",
        "-Infinity is not a number that can be averaged; --ignore-unneeded reads on without it",
    ),
]


@pytest.mark.parametrize(("line", "column", "code", "field", "message"), NOT_RECORDS)
def test_a_line_that_is_no_record_is_named_with_its_place(
    line: str | bytes, column: int, code: str, field: str | None, message: str
) -> None:
    assert refused(line) == (1, column, code, field, message)


ARRAYS = [  # what is replaced, by what, column, code, field, message
    ("[1, 0.5]", "[]", 31, "wrong-value", "rewards", "an empty list: a prompt has at least one response"),
    ("[1, 0.5]", "1", 31, "wrong-type", "rewards", "expected a list, found a number"),
    ("[1, 0.5]", "null", 31, "null", "rewards", "null"),
    ("[1, 0.5]", "[1, null]", 31, "wrong-type", "rewards", "response 1: expected a number, found null"),
    ("[1, 0.5]", "[1, true]", 31, "wrong-type", "rewards", "response 1: expected a number, found true"),
    ("[1, 0.5]", "[1, 1e400]", 31, "non-finite", "rewards", f"response 1: {RANGE}"),
    ("[-1, -2],", "[-1],", 54, "unequal-lengths", "log_probs", "1 element, but rewards has 2"),
    ("[-1, -2.5]", "[-1, -2, -3]", 81, "unequal-lengths", "old_log_probs", "3 elements, but rewards has 2"),
    (
        "[-1, -2],",
        "[[-1, -2], []],",
        54,
        "missing",
        "log_probs",
        "response 1: an empty list holds no log-probs; --kl-coef 0 does without them",
    ),
    (
        "[-1, -2],",
        '[[-1], [-1, "a"]],',
        54,
        "wrong-type",
        "log_probs",
        "response 1: element 1: expected a number, found a string",
    ),
    ("[3, 4]", "[3, 4.5]", 113, "wrong-value", "response_lengths", f"response 1: {LENGTH} 4.5"),
    ("[3, 4]", "[3]", 113, "unequal-lengths", "response_lengths", "1 element, but rewards has 2"),
    ("[3, 4]", "null", 113, "null", "response_lengths", "null"),
    (
        ', "response_lengths": [3, 4]',
        "",
        1,
        "missing",
        "response_lengths",
        "missing (the record has prompt_id, rewards, log_probs, old_log_probs); --budget-penalty-coef 0 does without"
        " it, or give --field response_lengths=PATH",
    ),
]


@pytest.mark.parametrize(("old", "new", "column", "code", "field", "message"), ARRAYS)
def test_one_wrong_array_rejects_the_whole_prompt(
    old: str, new: str, column: int, code: str, field: str, message: str
) -> None:
    assert refused(MANY.replace(old, new, 1)) == (1, column, code, field, message)


PATHS = [  # what is replaced, by what, column, code, field, message
    (
        '"reward": 1',
        '"reward": true',
        44,
        "wrong-type",
        "reward (verifier.reward)",
        "expected a number, found true; --field 'reward=number(verifier.reward)' counts true as 1 and false as 0",
    ),
    ('{"reward": 1}', "5", 33, "missing", "reward (verifier.reward)", "missing; give --field reward=PATH"),
    ('"id": 7', '"id": null', 17, "null", "prompt_id (task.id)", "null"),
    (
        "[]",
        "[]",
        58,
        "missing",
        "log_prob (output[].lp)",
        "missing; --kl-coef 0 does without it, or give --field log_prob=PATH",
    ),
    ("[]", "3", 58, "wrong-type", "log_prob (output[].lp)", "expected a list, found a number"),
    (
        "[]",
        '[{"lp": -1}, 3]',
        58,
        "wrong-type",
        "log_prob (output[].lp)",
        "element 1: expected an object, found a number",
    ),
    (
        "[]",
        '[{"lp": -1}, {"lp": [-1, "x"]}]',
        58,
        "wrong-type",
        "log_prob (output[].lp)",
        "element 2: expected a number, found a string",
    ),
    ("[]", '[{"lp": null}]', 58, "wrong-type", "log_prob (output[].lp)", "element 0: expected a number, found null"),
]


@pytest.mark.parametrize(("old", "new", "column", "code", "field", "message"), PATHS)
def test_a_field_elsewhere_is_named_with_its_path(
    old: str, new: str, column: int, code: str, field: str, message: str
) -> None:
    decoded = read(INSIDE.replace(old, new, 1), Fields().with_places(parse_mappings(NESTED)))
    assert [rejection[1:6] for rejection in decoded.rejections] == [(1, column, code, field, message)]


def test_columns_are_counted_in_characters_and_past_other_fields_of_any_kind() -> None:
    line = '{"é😀": "\\"}{", "z": [{"reward": 1}, "]"], "prompt_id": "p", "reward": "x"}'
    assert refused(line)[:2] == (1, line.index('"x"') + 1)


def test_a_wrong_value_beside_a_very_deep_one_is_still_refused() -> None:
    for depth in (900, 1010):  # the json module gives up at a little less depth than orjson
        line = extra('"x": ' + "[" * depth + "]" * depth).replace("1.0", "true")
        assert refused(line)[2:] == ("wrong-type", "reward", f"expected a number, found true; {COUNTED}")


def test_a_wrong_value_beside_a_number_of_thousands_of_digits_is_still_refused() -> None:
    line = extra('"x": ' + "9" * 5000).replace("1.0", "true")
    assert [tuple(r[2:5]) for r in read(line, limit=9000).rejections] == [(30, "wrong-type", "reward")]
    assert read(with_("reward", "9" * 5000), limit=9000).tally.by_code == {"non-finite": 1}


# ---- what must be accepted

ACCEPTED = [  # line, prompt ids, rewards, lengths, log-probs
    (GOOD, ["p"], [1.0], [3.0], [-1.0]),
    (with_("response_length", "12.0"), ["p"], [1.0], [12.0], [-1.0]),
    (with_("response_length", "1e2"), ["p"], [1.0], [100.0], [-1.0]),
    (with_("response_length", "0"), ["p"], [1.0], [0.0], [-1.0]),
    (with_("response_length", "9007199254740992"), ["p"], [1.0], [2.0**53], [-1.0]),
    (with_("reward", "-0.25"), ["p"], [-0.25], [3.0], [-1.0]),
    (with_("reward", "1E-400"), ["p"], [0.0], [3.0], [-1.0]),
    (with_("log_prob", "2.5"), ["p"], [1.0], [3.0], [2.5]),
    (with_("log_prob", "[-1, -0.5, -2]"), ["p"], [1.0], [3.0], [-3.5]),
    (with_("log_prob", "[1e16, 1, -1e16]"), ["p"], [1.0], [3.0], [1.0]),
    (with_("prompt_id", '""'), [""], [1.0], [3.0], [-1.0]),
    (with_("prompt_id", '"\\ud83d\\ude00"'), ["😀"], [1.0], [3.0], [-1.0]),
    (with_("prompt_id", "12.0"), [12], [1.0], [3.0], [-1.0]),
    (with_("prompt_id", "9007199254740992.0"), [2**53], [1.0], [3.0], [-1.0]),
    (with_("prompt_id", "9223372036854775807"), [2**63 - 1], [1.0], [3.0], [-1.0]),
    (with_("prompt_id", "-5"), [-5], [1.0], [3.0], [-1.0]),
    (extra('"x": 1e400, "y": [-1e999]'), ["p"], [1.0], [3.0], [-1.0]),
    (extra('"x": ' + "[" * 990 + "1e999" + "]" * 990), ["p"], [1.0], [3.0], [-1.0]),
    (extra('"x": [1e999, "NaN", "1e999", "\\\\ud800"]'), ["p"], [1.0], [3.0], [-1.0]),
    (extra('"x": {"reward": "no", "y": [null, true]}'), ["p"], [1.0], [3.0], [-1.0]),
    (extra('"reward": 2, "prompt_id": "q"'), ["q"], [2.0], [3.0], [-1.0]),
    (extra('"reward": null, "reward": 2'), ["p"], [2.0], [3.0], [-1.0]),
    (GOOD + "\r", ["p"], [1.0], [3.0], [-1.0]),
    (" \t" + GOOD + "  ", ["p"], [1.0], [3.0], [-1.0]),
    (MANY, ["p"], [1.0, 0.5], [3.0, 4.0], [-1.0, -2.0]),
    (MANY.replace("[-1, -2],", "[[-1, -2], [-3]],"), ["p"], [1.0, 0.5], [3.0, 4.0], [-3.0, -3.0]),
    (
        MANY.replace("[-1, -2],", "[[-1, -2], [-3]],").replace(', "response_lengths": [3, 4]', ""),
        ["p"],
        [1.0, 0.5],
        [2.0, 1.0],
        [-3.0, -3.0],
    ),
    (MANY.replace("[3, 4]", "[3.0, 4]"), ["p"], [1.0, 0.5], [3.0, 4.0], [-1.0, -2.0]),
]


@pytest.mark.parametrize(("line", "keys", "rewards", "lengths", "log_probs"), ACCEPTED)
@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
def test_a_good_record_is_read_as_it_stands(
    line: str, keys: list[object], rewards: list[float], lengths: list[float], log_probs: list[float], end: str
) -> None:
    decoded = read(line + end)
    assert decoded.rejections == []
    columns = decoded.columns
    assert [(type(key), key) for key in columns.keys] == [(type(key), key) for key in keys]
    assert columns.reward.tolist() == rewards
    assert columns.length is not None
    assert columns.length.tolist() == lengths
    assert columns.log_prob is not None
    assert columns.log_prob.tolist() == log_probs


def test_a_length_that_is_not_given_is_the_number_of_tokens() -> None:
    line = '{"prompt_id": "p", "reward": 1.0, "log_prob": %s, "old_log_prob": %s}'
    for log_prob, old, length in (("[-1, -2, -3]", "-6", 3.0), ("-6", "[-1, -2]", 2.0), ("[-1]", "[-1]", 1.0)):
        columns = read(line % (log_prob, old)).columns
        assert columns.length is not None
        assert columns.length.tolist() == [length]


def test_tokens_are_joined_through_a_list_of_outputs() -> None:
    fields = Fields().with_places(parse_mappings([*NESTED, "response_length=n"]))
    line = INSIDE.replace("[]", '[{"lp": -1}, {}, {"lp": [-0.5, -2]}]')
    columns = read(line, fields).columns
    assert (columns.keys, columns.reward.tolist()) == ([7], [1.0])
    assert columns.log_prob is not None
    assert columns.log_prob.tolist() == [-3.5]
    assert columns.length is not None
    assert columns.length.tolist() == [3.0]


def test_rewards_and_lengths_are_summed_through_a_list() -> None:
    fields = Fields(needs_log_probs=False).with_places(
        parse_mappings(["reward=parts[].score", "response_length=turns[].tokens[]"])
    )
    line = (
        '{"prompt_id": "p", "parts": [{"score": 0.1}, {"score": 0.2}], "turns": [{"tokens": [3, 4]}, {"tokens": [5]}]}'
    )
    columns = read(line, fields).columns
    assert columns.reward.tolist() == [math.fsum([0.1, 0.2])]
    assert columns.length is not None
    assert columns.length.tolist() == [12.0]


def test_a_field_that_a_zero_coefficient_makes_optional_may_be_absent_but_not_wrong() -> None:
    fields = Fields(needs_length=False, needs_log_probs=False)
    decoded = read('{"prompt_id": "p", "reward": 1}\n{"prompt_id": "p", "reward": 0, "log_prob": null}\n', fields)
    columns = decoded.columns
    assert columns.reward.tolist() == [1.0, 0.0]
    assert (columns.length, columns.log_prob, columns.old_log_prob) == (None, None, None)
    wrong = read('{"prompt_id": "p", "reward": 1, "log_prob": "x"}\n', fields)
    assert wrong.tally.by_code == {"wrong-type": 1}


def test_an_empty_list_of_log_probs_is_none_at_all_where_none_are_needed() -> None:
    fields = Fields(needs_length=False, needs_log_probs=False)
    single = '{"prompt_id": "p", "reward": 1, "log_prob": [], "old_log_prob": []}\n'
    several = '{"prompt_id": "p", "rewards": [1, 0], "log_probs": [[], [-1, -2]], "old_log_probs": [[], []]}\n'
    columns = read(single + several, fields).columns
    assert columns.reward.tolist() == [1.0, 1.0, 0.0]
    assert columns.log_prob is not None
    assert columns.log_prob.tolist() == pytest.approx([math.nan, math.nan, -3.0], nan_ok=True)


def test_a_column_shows_which_responses_lack_a_value() -> None:
    fields = Fields(needs_length=False)
    lines = GOOD + "\n" + GOOD.replace(', "response_length": 3', "") + "\n"
    length = read(lines, fields).columns.length
    assert length is not None
    assert length[0] == 3
    assert math.isnan(length[1])


# ---- ids


def test_large_ids_stay_distinct_or_are_rejected_but_never_merge() -> None:
    ids = (2**53, 2**53 + 1, 2**64, 2**64 + 1)
    decoded = read("".join(with_("prompt_id", str(one)) + "\n" for one in ids))
    assert decoded.columns.keys == [2**53, 2**53 + 1]
    assert [(r.line, r.code) for r in decoded.rejections] == [(3, "inexact-id"), (4, "inexact-id")]


@pytest.mark.parametrize("digits", [20, 308, 309, 310, 399, 400, 4000])
@pytest.mark.parametrize("more", ["", ', "x": 1e999'])
@pytest.mark.parametrize("sign", ["", "-"])
def test_an_integer_of_any_length_is_one_rejected_id(digits: int, more: str, sign: str) -> None:
    line = with_("prompt_id", sign + "9" * digits)[:-1] + more + "}"
    decoded = read(f"{line}\n{GOOD}\n", limit=9000)
    assert (decoded.tally.rejected, decoded.tally.used) == (1, 1)
    assert decoded.rejections[0].code == ("inexact-id" if digits < 309 else "non-finite")
    assert decoded.rejections[0].field == "prompt_id"


@pytest.mark.parametrize("name", ["step", "finish_reason", "by", "rollout_id"])
def test_an_integer_of_any_length_is_no_label(name: str) -> None:
    fields = replace(Fields(), extras=(name,)) if name != "by" else labelled("by")
    line = extra(f'"{name}": {"9" * 320}')
    decoded = read(f"{line}\n", fields)
    assert decoded.tally.used == 1
    assert list(decoded.columns.extras[name].codes) == [-1]  # type: ignore[union-attr]  # a label column


def labelled(key: str) -> Fields:
    return replace(Fields(), extras=("by",), places=((*Fields().paths.items(), ("by", parse_place(key)))))


def test_a_number_and_the_same_digits_quoted_are_two_prompts() -> None:
    decoded = read(with_("prompt_id", "1") + "\n" + with_("prompt_id", '"1"') + "\n" + with_("prompt_id", "1.0") + "\n")
    assert decoded.columns.keys == [1, "1"]
    assert decoded.columns.codes.tolist() == [0, 1, 0]


# ---- lines


def test_physical_lines_are_counted_whatever_is_on_them() -> None:
    decoded = read(f"\n{GOOD}\n  \t\r\n[]\n{GOOD}\r\n\r\nx\n")
    assert decoded.lines == 7
    assert (decoded.tally.read, decoded.tally.used, decoded.tally.rejected, decoded.tally.blank) == (4, 2, 2, 3)
    assert [(r.line, r.code) for r in decoded.rejections] == [(4, "not-an-object"), (7, "not-json")]


def test_only_the_first_rejections_are_kept_but_all_are_counted() -> None:
    decoded = read("x\n" * 7 + "[]\n", keep=RejectionLimit(3))
    assert [r.line for r in decoded.rejections] == [1, 2, 3]
    assert decoded.tally.by_code == {"not-json": 7, "not-an-object": 1}
    assert [r.line for r in read("x\n" * 7 + "[]\n", keep=RejectionLimit(0, 2)).rejections] == [1, 2, 8]


@given(
    codes=st.lists(st.sampled_from("abc"), max_size=30),
    cuts=st.lists(st.integers(0, 30), max_size=3),
    first=st.none() | st.integers(0, 8),
    of_each=st.integers(0, 3),
)
def test_the_first_rejections_and_a_few_of_each_code_are_kept_wherever_the_input_is_cut(
    codes: list[str], cuts: list[int], first: int | None, of_each: int
) -> None:
    whole = [Rejection("x", line, None, code, None, "") for line, code in enumerate(codes)]
    keep, kept = RejectionLimit(first, of_each), []
    for begin, end in pairwise([0, *sorted(cuts), 30]):
        part: list[Rejection] = []
        keep.merge(part, whole[begin:end])
        keep.merge(kept, part)
    assert kept == [
        one
        for place, one in enumerate(whole)
        if first is None or place < first or codes[:place].count(one.code) < of_each
    ]


TAILS: list[tuple[str | bytes, str]] = [  # a last line without its newline, and its code
    (GOOD[:40], "truncated-tail"),
    (GOOD[:-1], "truncated-tail"),
    ('{"a": "\\ud83d', "truncated-tail"),
    (GOOD[:50].encode() + b"\xc3", "truncated-tail"),
    (extra('"x": {"y": 1}')[:-1], "truncated-tail"),
    (GOOD.replace("1.0", "NaN"), "non-finite"),
    (GOOD.replace("1.0", "1e400"), "non-finite"),
    (GOOD.replace("1.0", "true"), "wrong-type"),
    (extra('"x": "\\ud800"'), "lone-surrogate"),
    ("[1]", "not-an-object"),
    ("x" * (LIMIT + 1), "line-too-long"),
]


@pytest.mark.parametrize(("line", "code"), TAILS)
def test_a_last_line_is_torn_only_if_its_end_is_missing(line: str | bytes, code: str) -> None:
    data = line if isinstance(line, bytes) else line.encode()
    assert read(data).tally.by_code == {code: 1}
    with_newline = read(data + b"\n").tally.by_code
    assert with_newline.total() == 1
    assert "truncated-tail" not in with_newline
    assert "truncated-tail" not in read(data + b"\n" + GOOD.encode()).tally.by_code


def test_a_torn_tail_says_where_it_ends() -> None:
    (rejection,) = read(GOOD[:40]).rejections
    assert rejection[1:6] == (
        1,
        41,
        "truncated-tail",
        None,
        "the last line is cut off (not JSON: unexpected end of data)",
    )


def test_a_log_ratio_beyond_a_double_is_infinite_without_a_warning() -> None:
    line = b'{"prompt_id": "p", "reward": 1, "log_prob": -1e308, "old_log_prob": 1e308, "response_length": 1}\n'
    log_ratio = reference.decode(line, Fields(), 1 << 20, ALL_REJECTIONS).columns.log_ratio
    assert log_ratio is not None
    assert log_ratio.tolist() == [-math.inf]
