"""If this fails, the result depends on which reader took a block: the compiled one is wrong, or is never used.

The compiled reader must give what the reference reader gives, down to the rejections.
"""

import random
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from examples import examples
from hypothesis import event, example, given
from hypothesis import strategies as st
from written_json import Pairs, Raw, Writer, bits, block_of, put

from budget_cli import native

if not native.AVAILABLE:
    pytest.skip("there was no C compiler", allow_module_level=True)

from budget_cli.records import compiled, reference
from budget_cli.records.columns import ALL_REJECTIONS, RejectionLimit
from budget_cli.schema.fields import EXTRA_PLURALS, EXTRAS, KINDS, PLURALS, SAMPLER, Fields, parse_mappings
from budget_cli.schema.parsing import parse_place
from budget_cli.schema.paths import Expression, Path, Step

LIMIT = 64 << 20
KEPT = (ALL_REJECTIONS, RejectionLimit(1), RejectionLimit(0, 1))
ALL = (ALL_REJECTIONS,)  # for tables of single lines: what a limit leaves out is seen where there are several
RESPONSE = {"prompt_id": "p1", "reward": 1.0, "log_prob": -1.5, "old_log_prob": -2.0, "response_length": 12}
PROMPT: dict[str, Any] = {
    "prompt_id": "p1",
    "rewards": [1.0, 0.5],
    "log_probs": [-1.5, -2.0],
    "old_log_probs": [-1.0, -2.5],
    "response_lengths": [1, 2],
}
NESTED = (
    "prompt_id=task.id",
    "reward=verifier.reward",
    "response_length=usage.out",
    "log_prob=lp.now",
    "old_log_prob=lp.ref",
)
MAPPINGS: dict[str, tuple[str, ...]] = {
    "plain": (),
    "renamed": ("reward=score", "prompt_id=uid", "rewards=scores"),
    "nested": NESTED,
    "nested beside plain": ("prompt_id=task.id", "log_prob=task.log_prob"),
    "through a list": ("log_prob=output[].lp", "old_log_prob=output[].ref"),
    "through nested lists": ("log_prob=r.output[].parts[].lp", "old_log_prob=r.ref[].lp", "response_length=r.out"),
    "a list of numbers": ("log_prob=lp[]", "old_log_prob=ref[]"),
    "one field twice": ("old_log_prob=log_prob",),
    "one list twice": ("log_prob=output[].lp", "old_log_prob=output[].lp"),
    "rewards of the parts": ("reward=parts[].score",),
    "lengths of the parts": ("response_length=parts[].tokens",),
    "a path within another": ("log_prob=reward.lp",),
    "a list that is an object too": ("log_prob=output[].lp", "old_log_prob=output.ref"),
    "a length that is a log-prob": ("response_length=log_prob",),
    "an id of two parts": ("prompt_id=[reward, response_length]",),
    "expressions": (
        "reward=minus(reward, `0`)",
        "log_prob=log_prob || `null`",
        "response_length=not_null(n, response_length)",
    ),
    "names of arrays": ("log_prob=log_probs", "old_log_prob=old_log_probs", "response_length=response_lengths"),
    "a reward by the name of its array": ("reward=rewards",),
    "an array by the name of its field": ("log_probs=log_prob", "response_lengths=response_length"),
    "a length by the name of the rewards": ("response_length=rewards",),
    "a digest beside": ("prompt_id=digest(prompt_id)", "old_log_prob=old_log_prob[0]"),
}


def place_of(fields: Fields, name: str) -> Path:
    """Return where a writer puts a field: at its path, or under its canonical name, where an expression reads it."""
    place = fields.paths[name]
    return (Step(name),) if isinstance(place, Expression) else place


def answers(
    data: bytes,
    fields: Fields,
    limit: int = LIMIT,
    before: bytes = b"",
    after: bytes = b"",
    kept: Sequence[RejectionLimit] = KEPT,
) -> set[str]:
    """Compare the compiled reader, where it can read these fields, with the reference reader; return who answered."""
    slow = reference.decode(data, fields, limit, ALL_REJECTIONS)
    answered = set()
    for keep in kept:
        decoded = compiled.decode(block_of(data, before, after), fields, limit, keep)
        if decoded is not None:
            expected = slow if keep is ALL_REJECTIONS else reference.decode(data, fields, limit, keep)
            assert bits(decoded) == bits(expected), "compiled"
            answered.add("compiled")
    return answered


# ---- the law: None, or exactly what the reference reader gives

FLOATS = (
    st.floats(min_value=-1e300, max_value=1e300)
    | st.integers(-(2**70), 2**70)
    | st.sampled_from(
        [
            0,
            1,
            0.5,
            -0.0,
            2**53 + 1,
            Raw("1E5"),
            Raw("-0"),
            Raw("1e-400"),
            Raw("0.1000000000000000055511151231257827"),
            Raw("2.2250738585072011e-308"),
            Raw("123456789012345678901234567890"),
            Raw("-1.5e+3"),
        ]
    )
)
TEXT = st.sampled_from(["", "p1", "1", "é", "😀", "日本", 'a"b\\c', "a\nb\tc", "\x7f\x85\u2028", "p1 [/INST]", "\0"])
GOOD: dict[str, st.SearchStrategy[Any]] = {
    "id": TEXT | st.sampled_from([0, 1, -7, 12.0, -0.0, Raw("1e3"), 2**53, 2**53 + 1, 2**63 - 1, -(2**63) + 1]),
    "number": FLOATS,
    "tokens": st.integers(0, 5000) | st.sampled_from([12.0, -0.0, Raw("1e2"), 2**53]),
    "log_prob": FLOATS | st.lists(FLOATS, min_size=1, max_size=4),
}
WRONG: dict[str, list[Any]] = {
    "id": [True, None, 1.5, 2**63, -(2**63), 2**64, 2**64 + 1, Raw("1e300"), ["a"], {}],
    "number": [True, None, "0.5", [1], {}, 10**400, Raw("NaN"), Raw("-Infinity"), Raw("1e400")],
    "tokens": [True, None, "12", -1, 1.5, 2**53 + 1, 2**53 + 2, [3], Raw("1e400"), Raw("NaN")],
    "log_prob": [
        False,
        None,
        "x",
        [],
        [None],
        [True],
        [[1.0]],
        ["x"],
        {},
        [1, Raw("NaN")],
        [1, None],
        Raw("[1e400]"),
        [-1e308, -1e308],
        [1e308, 1e308, -1e308],
    ],
}
BAD = {kind: st.sampled_from(values) for kind, values in WRONG.items()}
EXTRA = st.sampled_from(
    [None, True, 1, 7, -0.5, "stop", 'é"', "\u0073top", [0.5, 0.5], [0.5, 1], [], {"a": 1}, 12.0, 2**63, Raw("1e400")]
)
JUNK = st.recursive(
    TEXT | st.sampled_from([None, True, 1, -1.5, 10**30]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=4,
)
UNUSUAL_TEXTS = [
    Raw("1e400"),
    Raw("-1e999"),
    Raw("9" * 400),
    Raw("NaN"),
    Raw("Infinity"),
    Raw('"\\ud800"'),
    Raw('"\\udc00\\ud800"'),
    Raw('"\\ud83d\\ude00"'),
    Raw('{"\\udfff": 1}'),
    Raw("01"),
    Raw("1."),
    Raw(".5"),
    Raw("+1"),
    Raw("-"),
    Raw("1e"),
    Raw('"\t"'),
    Raw('"\\x41"'),
    Raw('"\\u12g4"'),
    Raw("'a'"),
    Raw("[1,]"),
    Raw('{"a":1,}'),
    Raw("{1:2}"),
    Raw("tru"),
    Raw("nul"),
    Raw("/**/1"),
    Raw("[" * 500 + "]" * 500),
    Raw("[" * 1023 + "]" * 1023),
    Raw("[" * 1100 + "]" * 1100),
    Raw('{"a":' * 1022 + "1" + "}" * 1022),
    Raw("[1 2]"),
    Raw('{"a" 1}'),
    Raw(""),
    Raw("[]]"),
    Raw('"a\x7fb"'),
]
UNUSUAL = st.sampled_from(UNUSUAL_TEXTS)
WRITERS = st.builds(Writer, st.sampled_from([", ", ","]), st.sampled_from([": ", ":"]), st.booleans())
DAMAGE = [
    b"NaN",
    b"\0",
    b"\xff",
    b"\xc3",
    b"\xed\xa0\x80",
    b"\n",
    b"\r",
    b"\r\n",
    b"\n\n",
    b" ",
    b"\t",
    b"\x0b",
    b"}",
    b"{",
    b",",
    b"]",
    b'"',
    b"\\",
    b"\\ud800",
    b"true",
    b"\xef\xbb\xbf",
    b"1",
    b"{}",
    b"{}\n",
    b'"a":1,',
    b"\xc2\x85",
    b"}\n{",
    b"}{",
    b"\xe2\x80\xa8",
    b"e5",
    b"-",
    b".",
]
LEAVE_OUT = [
    *[()] * 3,
    (("failed", parse_place("failed", is_condition=True)),),
    (
        ("where", parse_place("!failed", is_condition=True)),
        ("long", parse_place("response_length > `9`", is_condition=True)),
    ),
    (
        ("where", parse_place("reward != `0`", is_condition=True)),
        ("failed", parse_place("failed || step", is_condition=True)),
    ),
]
JUDGED = [True, True, False, None, [], {}, {"error": "Timeout"}, [0], 0, 1.5, "", "503", Raw("1e400"), Raw("NaN")]
LINE_ENDS = [b"\r\n", b"\n\n", b" \n", b"", b" ", b"\r", b"\n "]


@st.composite
def fields_(draw: st.DrawFn) -> Fields:
    mappings = MAPPINGS[draw(st.sampled_from(list(MAPPINGS)))]
    extras = draw(st.sampled_from([(), (), ("step",), ("advantage", "by"), tuple(EXTRAS)]))
    at = draw(st.sampled_from([(), ("by=step",), ("by=[prompt_id, step]", "step=info.step"), ("advantage=info[].a",)]))
    scored = draw(st.sampled_from([(), (), ("reward=reward",), ("rewards=rewards",)])) if not mappings else ()
    fields = Fields(
        group=draw(st.sampled_from(["", "", "", "line", "file"])),
        needs_length=draw(st.booleans()),
        needs_log_probs=draw(st.booleans()),
        extras=extras,
        leave_out=draw(st.sampled_from(LEAVE_OUT)),
        skip_unscored=draw(st.sampled_from([False, False, True])),
        ignore_unneeded=draw(st.sampled_from([False, False, True])),
        compares_tokens=draw(st.booleans()),
    )
    return fields.with_places(parse_mappings([*mappings, *at, *scored]))


@st.composite
def records(draw: st.DrawFn, fields: Fields, chance: random.Random, wrong: float) -> list[Pairs]:
    """Draw records of one writer, with the same fields in each, and a wrong value with probability `wrong`."""

    def sometimes(share: float) -> bool:
        return chance.random() < share

    arrays, tokens = sometimes(0.3), sometimes(0.5)
    kinds = {PLURALS.get(name, name) if arrays else name: kind for name, kind in KINDS.items()}
    optional = {name for name, kind in kinds.items() if kind == "log_prob" and not fields.needs_log_probs}
    if tokens or not fields.needs_length:
        optional |= {"response_length", "response_lengths"}
    absent = {name for name in kinds if sometimes(0.4 if name in optional else wrong)}
    null = {name for name in kinds if sometimes(0.1 if name in optional else wrong)}
    made = []
    for _ in range(chance.randrange(1, 5)):
        record: dict[str, Any] = {}
        responses = chance.randrange(1, 4)
        for name, kind in kinds.items():
            one = GOOD[kind]
            if kind == "log_prob":
                one = st.lists(FLOATS, min_size=1, max_size=3) if tokens and not arrays else FLOATS
            plural = arrays and name != "prompt_id"
            value = draw(st.lists(one, min_size=responses, max_size=responses) if plural else one)
            if sometimes(wrong):
                value = draw(BAD[kind] | GOOD[kind] | st.lists(BAD[kind] | GOOD[kind], max_size=2))
            if (name in absent) == sometimes(wrong / 4):
                put(record, place_of(fields, name), None if name in null else value)
        for name in fields.extras:
            if sometimes(0.8):
                plural = EXTRA_PLURALS.get(name, name) if arrays else name
                one = st.just("stop") if sometimes(0.5) else EXTRA
                value = draw(st.lists(one, min_size=responses, max_size=responses) if plural != name else one)
                put(record, place_of(fields, plural), value)
        pairs = Pairs(record.items())
        if fields.leave_out and sometimes(0.6):
            pairs.append(("failed", chance.choice(JUDGED)))
        if sometimes(0.05):
            pairs.append(("rewards", draw(st.lists(FLOATS, max_size=3) | JUNK)))
        pairs += [(draw(TEXT), draw(JUNK)) for _ in range(chance.randrange(3))]
        if sometimes(wrong):
            pairs.append((draw(TEXT), draw(UNUSUAL)))
        if pairs and sometimes(0.05):  # a key twice
            key, value = chance.choice(pairs)
            pairs.insert(chance.randrange(len(pairs)), (key, draw(st.just(value) | JUNK | FLOATS)))
        if sometimes(0.1):
            pairs.append(("pad", "x" * 2000))
        if sometimes(0.5):
            chance.shuffle(pairs)
        made.append(pairs)
    return made


def damaged(data: bytes, seed: int) -> bytes:
    """Change, remove, insert, move or cut off a few bytes."""
    chance = random.Random(seed)
    for _ in range(chance.choice([0, 0, 1, 1, 2])):
        at, to = sorted(chance.randrange(len(data) + 1) for _ in range(2))
        near = min(at + chance.randrange(4), len(data))
        way = chance.randrange(9)
        if way == 0:
            data = data[:at] + bytes([chance.randrange(256)]) + data[near:]
        elif way == 1:
            data = data[:at] + data[near:]
        elif way <= 3:
            data = data[:at] + chance.choice(DAMAGE) + data[at:]
        elif way == 4:
            data = data[:to]
        elif way == 5:
            data = data.replace(b"\n", chance.choice(LINE_ENDS), chance.choice([1, -1]))
        elif way == 6:  # a value spanning two lines
            data = data.replace(b",", chance.choice([b",\n", b"\n,", b",\r\n"]), 1)
        elif way == 7:
            data = data[:at] + data[at:to] + data[at:]
        else:
            data = data.removesuffix(b"\n")
    return data


@examples(250)
@given(
    data=st.data(),
    fields=fields_(),
    writer=WRITERS,
    seed=st.integers(0, 2**32),
    wrong=st.sampled_from([0, 0.03]),
    limit=st.sampled_from([LIMIT] * 9 + [60]),
)
def test_the_compiled_reader_agrees_with_the_reference_reader(
    data: st.DataObject, fields: Fields, writer: Writer, seed: int, wrong: float, limit: int
) -> None:
    chance = random.Random(seed)
    lines = [writer.text(record) for record in data.draw(records(fields, chance, wrong))]
    text = "".join(line + "\n" for line in lines).encode("utf-8", "surrogatepass")
    if wrong:
        text = damaged(text, seed)
    before = chance.choice([b"", b'{"a": 1}\n', b'ends in a quote"', b"\xff\n"])
    after = chance.choice([b"", b"\n", b'{"a": 1}\n', b"\xff", b"}"])
    answered = answers(text, fields, limit, before, after)
    event(", ".join(sorted(answered)) or "left to the reference reader", payload="damaged" if wrong else "clean")


@examples(150)
@given(seed=st.integers(0, 2**32), plain=st.booleans())
@example(seed=0, plain=True)
def test_any_damage_to_a_plain_block_is_found(seed: int, plain: bool) -> None:
    record = {**RESPONSE, "prompt_id": "pé", "x": ["a"]} if plain else PROMPT
    answers(damaged((Writer().text(record) + "\n").encode() * 3, seed), Fields())


@pytest.mark.exhaustive
@pytest.mark.parametrize("unusual", UNUSUAL_TEXTS)
@pytest.mark.parametrize("needed", [True, False])
def test_unusual_values_of_fields_that_are_not_read_get_the_reference_reader_s_answer(
    unusual: Raw, needed: bool
) -> None:
    fields = Fields(needs_length=needed, needs_log_probs=needed)
    for place in ({"x": unusual}, {"x": [1, {"y": unusual}]}):
        answers((Writer().text({**RESPONSE, **place}) + "\n").encode(), fields, kept=ALL)
        answers((Writer().text({**place, **PROMPT}) + "\n").encode() * 2, fields, kept=ALL)


@pytest.mark.exhaustive
@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize("needed", [True, False])
def test_every_wrong_value_of_every_field_gets_the_reference_reader_s_answer(kind: str, needed: bool) -> None:
    fields = Fields(needs_length=needed, needs_log_probs=needed)
    for value in WRONG[kind]:
        for name, one in KINDS.items():
            if one == kind:
                answers((Writer().text({**RESPONSE, name: value}) + "\n").encode(), fields, kept=ALL)
                plural = PLURALS.get(name, name)
                several = (value, [value], [value, value], [PROMPT[plural][0], value])
                for values in several if plural != name else [value]:
                    answers((Writer().text({**PROMPT, plural: values}) + "\n").encode(), fields, kept=ALL)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", [name for name in KINDS if name != "prompt_id"])
@pytest.mark.parametrize("mappings", MAPPINGS.values(), ids=MAPPINGS)
@pytest.mark.parametrize("needed", [True, False])
def test_a_field_that_is_missing_or_null_gets_the_reference_reader_s_answer(
    name: str, mappings: tuple[str, ...], needed: bool
) -> None:
    fields = Fields(needs_length=needed, needs_log_probs=needed).with_places(parse_mappings(mappings))
    for value in (None, Raw("[]"), Raw("[null]")):
        for given_as in (RESPONSE, {**RESPONSE, "log_prob": [-1.0, -0.5], "old_log_prob": [-1.0, -0.25]}):
            record: dict[str, Any] = {}
            without: dict[str, Any] = {}
            for field, normal in given_as.items():
                put(record, place_of(fields, field), value if field == name else normal)
                if field != name:
                    put(without, place_of(fields, field), normal)
            for mixture in ([record], [without], [record, without], [without, record, without]):
                data = "".join(Writer().text(one) + "\n" for one in mixture).encode()
                answers(data, fields, kept=ALL if len(mixture) < 3 else KEPT)


# ---- and it is taken where it should be

PLAIN_SHAPES: dict[str, tuple[dict[str, Any], Fields]] = {
    "a record a response": (RESPONSE, Fields()),
    "other fields beside": ({"text": "[/INST] é 😀", "info": {"a": [1, None, {"b": "c"}]}, **RESPONSE}, Fields()),
    "long texts": ({"text": "x" * 3000, **RESPONSE}, Fields()),
    "integers for numbers": ({**RESPONSE, "prompt_id": 17, "reward": 1, "log_prob": -3}, Fields()),
    "an integral float as length": ({**RESPONSE, "response_length": 12.0}, Fields()),
    "log-probs of tokens": ({**RESPONSE, "log_prob": [-1.0, -0.5], "old_log_prob": [-1.0, -0.25]}, Fields()),
    "lengths from tokens": (
        {"prompt_id": "p", "reward": 1.0, "log_prob": [-1.0, -0.5], "old_log_prob": [-1.0, -0.25]},
        Fields(),
    ),
    "no log-probs, none needed": (
        {"prompt_id": "p", "reward": 1.0, "response_length": 12},
        Fields(needs_log_probs=False),
    ),
    "no lengths, none needed": (
        {"prompt_id": "p", "reward": 1.0, "log_prob": -1.0, "old_log_prob": -2},
        Fields(needs_length=False),
    ),
    "rewards only": ({"prompt_id": "p", "reward": 1.0}, Fields(needs_length=False, needs_log_probs=False)),
    "a record a prompt": (PROMPT, Fields()),
    "other names": (
        {"uid": 3, "score": 0.5, "log_prob": -1.0, "old_log_prob": -2.0, "response_length": 9},
        Fields().with_places(parse_mappings(["prompt_id=uid", "reward=score"])),
    ),
    "nested fields": (
        {
            "task": {"id": "p"},
            "verifier": {"reward": 1.0},
            "usage": {"in": 4, "out": 9},
            "lp": {"now": -1.0, "ref": -2.0},
        },
        Fields().with_places(parse_mappings(NESTED)),
    ),
    "log-probs through a list": (
        {**RESPONSE, "output": [{"n": 1}, {"lp": [-1.0], "ref": [-2.0]}, {"lp": [-1.5, 0], "ref": [-2.0, -1]}]},
        Fields().with_places(parse_mappings(MAPPINGS["through a list"])),
    ),
    "each line a prompt": ({**RESPONSE, "prompt_id": [None]}, Fields(group="line")),
    "each line a prompt, in arrays": (PROMPT, Fields(group="line")),
    "names of arrays": (
        {"prompt_id": "p", "reward": 1.0, "log_probs": [-1.0], "old_log_probs": [-2.0], "response_lengths": 7},
        Fields().with_places(parse_mappings(MAPPINGS["names of arrays"])),
    ),
    "a reward by the name of its array": (
        {"prompt_id": "p", "rewards": 1.0, "log_prob": -1.0, "old_log_prob": -2.0, "response_length": 7},
        Fields().with_places(parse_mappings(MAPPINGS["a reward by the name of its array"])),
    ),
}


@pytest.mark.exhaustive
@pytest.mark.parametrize("shape", PLAIN_SHAPES)
@pytest.mark.parametrize("writer", [Writer(), Writer(",", ":"), Writer(ascii=False)])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("last", [True, False])
def test_a_plain_block_is_read_at_once(shape: str, writer: Writer, newline: str, last: bool) -> None:
    record, fields = PLAIN_SHAPES[shape]
    for count in (1, 5):
        text = newline.join([writer.text(record)] * count) + (newline if last else "")
        assert answers(text.encode(), fields, kept=ALL) == {"compiled"}


@pytest.mark.parametrize("size", [0, 1])
def test_a_block_without_records_has_none(size: int) -> None:
    assert answers(b"\n" * size, Fields()) == {"compiled"}


UNFILLED_CASES = [  # both log-probs; where the first is 0 and the other far below, and where the other is
    ("[-0.5, 0.0, -0.25]", "[-0.5, -10.8, -0.25]", 1, None),
    ("[-0.5, -10.8]", "[-0.5, 0]", None, 1),
    ("[-2, 0, -3, 0]", "[0, -2, -0.0, -4]", 1, 0),  # the first of each
    ("[0.0, -0.0, 0]", "[-1, -1.0, 0]", None, None),  # certain, or nearly so
    ("[-0.5, 1e-30]", "[-0.5, -10.8]", None, None),
    ("-0.5", "-10.8", None, None),
    ("0", "[-10.8]", None, None),
]


def test_the_first_token_with_one_log_prob_of_exactly_0_is_found_by_both_readers() -> None:
    line = '{"prompt_id": "p", "reward": 1, "response_length": 3, "log_prob": %s, "old_log_prob": %s}\n'
    data = "".join(line % case[:2] for case in UNFILLED_CASES).encode()
    fields = Fields(compares_tokens=True)
    for each in (fields, fields.with_places(parse_mappings(["log_prob=log_prob || `null`"]))):
        assert answers(data, each) == {"compiled"}
        found = reference.decode(data, each, LIMIT, ALL_REJECTIONS).columns.extras
        for name, at in (("reference_unfilled", 2), ("reference_unfilled_other", 3)):
            column = [None if np.isnan(value) else value for value in np.asarray(found[name]).tolist()]
            assert column == [case[at] for case in UNFILLED_CASES]


def test_tokens_are_compared_across_the_lists_of_a_path() -> None:
    parts = '{"prompt_id": "p", "reward": 1, "o": [{"lp": [-1, -2], "ref": [-1]}, {"lp": [0.0], "ref": [-2, -9]}]}\n'
    mapped = parse_mappings(["log_prob=o[].lp", "old_log_prob=o[].ref"])
    fields = Fields(needs_length=False, compares_tokens=True).with_places(mapped)
    assert answers(parts.encode() * 2, fields) == {"compiled"}
    found = reference.decode(parts.encode(), fields, LIMIT, ALL_REJECTIONS).columns.extras
    assert np.asarray(found["reference_unfilled"]).tolist() == [2]


LISTS = (
    "[-0.5, -1.25, -0.25]",
    "[-0.5, 0, -2, -1, -3, -0.125, -1, -0.0625]",
    "-3.5",
    "[0]",
    "[]",
    "null",
    "[-1, null]",
)


@examples(60)
@given(seed=st.integers(0, 2**32), expressions=st.booleans(), needed=st.booleans())
def test_three_lists_of_log_probs_are_compared_alike(seed: int, expressions: bool, needed: bool) -> None:
    chance = random.Random(seed)
    data = b""
    for _ in range(12):
        size = chance.choice([1, 3, 8, 20])
        record: dict[str, Any] = {"prompt_id": "p", "reward": 1, "response_length": 3}
        for name in ("log_prob", "old_log_prob", SAMPLER):
            each = [chance.choice([0, -0.5, -9.25, -chance.random()]) for _ in range(size)]
            record[name] = chance.choice([each, each, each, Raw(chance.choice(LISTS)), 10.0 ** chance.randrange(300)])
        if chance.random() < 0.5:
            record[SAMPLER] = [*record["log_prob"][1:], -0.5] if isinstance(record["log_prob"], list) else -1.0
        data += (Writer().text(record) + "\n").encode()
    fields = Fields(needs_log_probs=needed, extras=(SAMPLER,), compares_tokens=True)
    if expressions:
        mapped = [f"{name}={name} || `null`" for name in ("log_prob", "old_log_prob", SAMPLER)]
        fields = fields.with_places(parse_mappings(mapped))
    answers(data, fields)


def test_the_compiled_reader_reads_extras_itself() -> None:
    fields = Fields(extras=("finish_reason",))
    assert answers((Writer().text(RESPONSE) + "\n").encode() * 3, fields) == {"compiled"}


@pytest.mark.exhaustive
@pytest.mark.parametrize("extra", [("step",), ("by", "step")])
@pytest.mark.parametrize("label", [*WRONG["id"], "a", 3, "3", 12.0, -0.0, Raw("1e3"), Raw('"\\u0061"'), [], ["a", "b"]])
def test_every_label_gets_the_reference_reader_s_answer(extra: tuple[str, ...], label: Any) -> None:
    fields = Fields(extras=extra).with_places(parse_mappings(["by=info.env"]))
    with_label = {"step": label, "info": {"env": label}}
    other = {"step": "a", "info": {"env": 12}}
    for record in (RESPONSE, PROMPT):
        records = [{**record, **with_label}, record, {**record, **other}, {"prompt_id": 1}, {**record, **with_label}]
        data = "".join(Writer().text(one) + "\n" for one in [*records, *([{**RESPONSE, **other}] * 2)]).encode()
        assert answers(data, fields) == {"compiled"}


def test_a_block_longer_than_the_longest_line_gets_the_reference_reader_s_answer() -> None:
    line = (Writer().text(RESPONSE) + "\n").encode()
    assert answers(line * 3, Fields(), limit=3 * len(line) - 1) == {"compiled"}
    assert answers(line * 3, Fields(), limit=3 * len(line)) == {"compiled"}


@pytest.mark.parametrize(("levels", "answered"), [(1023, {"compiled"}), (1024, {"compiled"})])
def test_nesting_has_one_limit_however_deep_the_stack_may_grow(levels: int, answered: set[str]) -> None:
    line = b'{"prompt_id": "p", "reward": 1, "x": ' + b"[" * levels + b"]" * levels + b"}\n"
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)  # as where Python keeps count of C's stack apart
    try:
        assert answers(line * 3, Fields(needs_length=False, needs_log_probs=False)) == answered
    finally:
        sys.setrecursionlimit(before)


def test_a_line_without_the_array_that_counts_is_skipped_before_it_is_judged() -> None:
    fields = Fields(
        needs_length=False,
        needs_log_probs=False,
        skip_unscored=True,
        scored_by="rewards",
        leave_out=(("failed", (Step("failed"),)),),
    )
    lines = [
        b'{"prompt_id": "p", "reward": 1, "failed": true}',
        b'{"prompt_id": "p", "rewards": [1, 0], "failed": true}',
        b'{"prompt_id": "p", "rewards": [1, 0], "failed": false}',
    ]
    data = b"\n".join(lines) + b"\n"
    assert answers(data, fields) == {"compiled"}
    tally = reference.decode(data, fields, LIMIT, ALL_REJECTIONS).tally
    assert (tally.skipped, dict(tally.left_out), tally.used) == (1, {"failed": 1}, 1)


def test_what_is_left_out_is_told_in_the_order_of_the_lines_by_label_too() -> None:
    """A record that the compiled reader leaves to the reference reader is not told before those that it leaves out."""
    fields = Fields(
        needs_length=False,
        needs_log_probs=False,
        extras=("step",),
        by="step",
        leave_out=(("failed", (Step("failed"),)), ("aborted", (Step("aborted"),))),
    )
    lines = [
        b'{"prompt_id": "p", "reward": 1, "step": 7, "aborted": true}',
        b'{"prompt_id": "p", "reward": "none", "step": 7, "failed": true}',
        b'{"prompt_id": "p", "reward": 1, "step": 7}',
        b'{"prompt_id": "p", "reward": 1, "step": 7, "aborted": true}',
    ]
    data = b"\n".join(lines) + b"\n"
    read = compiled.decode(block_of(data), fields, len(data), ALL_REJECTIONS)
    assert read is not None
    assert bits(read) == bits(reference.decode(data, fields, len(data), ALL_REJECTIONS))
    assert read.left_out_by == [(7, 1, "aborted"), (7, 2, "failed"), (7, 4, "aborted")]
