"""If this fails, an expression means one thing to the compiled reader and another in Python.

Each operation of the compiled plan gives exactly what Python gives, or leaves the line to the reference reader.
"""

import hashlib
import json
import random
from typing import Any

import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from written_json import Raw, Writer, bits, block_of

from budget_cli import native

if not native.AVAILABLE:
    pytest.skip("there was no C compiler", allow_module_level=True)

from budget_cli.native.reader import ID, NUMBER, OPERATIONS, SPAN, TRUTH, Reader
from budget_cli.records import compiled, reference
from budget_cli.records.columns import ALL_REJECTIONS
from budget_cli.records.expression_plan import NUMBER_OF, Operations
from budget_cli.records.reader_plan import plan_for
from budget_cli.schema.fields import Fields, parse_mappings
from budget_cli.schema.parsing import parse_place

LIMIT = 64 << 20
IDS = [
    "a",
    "stem(a, '_', `1`)",
    "stem(a, '__', `2`)",
    "stem(a, 'é', `0`)",
    "part(a, '_', `-1`)",
    "part(a, '_', `1`)",
    "digest(a)",
    "digest([a, b])",
    "[b, digest(c)]",
    "digest(until_kept(c, m))",
    "[a, b]",
    "[a, c]",
    "[a]",
    "a || b || digest(c)",
    "join('/', [a, to_string(b)])",
    "from_json(j).a",
    "from_json(j).[a, b] | [0]",
    "from_json(j).stem(a, '_', b > `1` && `2` || `1`)",
    "to_string(c)",
    "digest(o)",
    "not_null(a, b)",
    "o.a",
    "c[0]",
    "c[-1]",
    "o.c[].a | [0]",
    "values(o)[0]",
]
NUMBERS = [
    "minus(b, `1`)",
    "minus(a, b)",
    "total(c)",
    "total(b)",
    "dot(c, `[1.0, 0.5]`)",
    "nandot([a, b, o.a], `[1.0, 0.5, 2]`)",
    "number(b)",
    "number(c)[0]",
    "length(c)",
    "length(a)",
    "length(o)",
    "sum(c)",
    "sum(c[*].a)",
    "sum(c[].a)",
    "kept(m)",
    "kept(m[])",
    "weighted(o)",
    "graded(o)",
    "to_number(a)",
    "to_number(part(a, '_', `-1`))",
    "c[0] || b",
    "from_json(j).b",
    "length(o) == `1` && values(o)[0] || `null`",
    "m[] && kept(m[]) || `null`",
    "c[?a].a | [0]",
    "c[?a == `1`].a | [0]",
    "b > `0` && b || `7`",
]
LISTS = [
    "masked(c, m)",
    "masked(c[], m[])",
    "c && masked(c, m)",
    "c || `null`",
    "until_kept(c, m)",
    "c[*].a",
    "number(c)",
]
CONDITIONS = [
    "a == b",
    "a != b",
    "a == 'x_1'",
    "b == `0`",
    "b > `1` || b <= `-1`",
    "b < `1` && b >= `0`",
    "!a",
    "o",
    "c",
    "o == c[0]",
    "c == m",
    "o.a == `true`",
    "a && !b || c",
    "`null`",
    "a == 'é\"'",
    "c == `[1, 2]`",
    'o == `{"a": 1}`',
]
SIMPLE = [
    None,
    True,
    False,
    0,
    1,
    2,
    -1,
    -100,
    0.5,
    1.0,
    -0.0,
    12345678901234567,
    10**25,
    Raw("1e400"),
    Raw("1e2"),
    Raw("-0"),
    "",
    "x",
    "x_1",
    "x__1_22",
    "_",
    "12",
    "-3",
    "007",
    "1.5",
    "a/b",
    '"',
    "é",
    "xé1",
    "\u0661",
    "--",
    "-12",
    "tab\tnew\nline\u0001/\\",
    "😀",
    Raw('"\\u0078_1"'),
    Raw('"\\/\\u00e9\\u0000\\ud83d\\ude00"'),
    "C",
    "P",
]
WIDE = [
    {},
    {"a": 1},
    {"a": True, "b": 1},
    {"b": {"z": 1, "a": [None, "é"]}, "a": "x"},
    {"value": "C"},
    {"value": 0.5},
    {"s": {"value": "I"}},
    {"s": {"score": 1, "weight": 0.5}, "t": {"score": 0.25}, "n": None},
    {"score": 1},
    [],
    [0],
    [1, 0],
    [0, 1, 1],
    [0.5, 0.25],
    [-0.5, -0.25, -100],
    [False, True],
    [[1, 0], [1]],
    [None, 1],
    ["x", "y"],
    [1e308, 1e308],
    [0.1, 0.2, 0.3],
    [{"a": 1}, {"a": 2}, {}],
    [{"a": [1, 2]}, {"a": [3]}],
    [1, 2],
    [[[1]]],
]
TEXTS = [
    json.dumps({"a": "x_1_2", "b": 2}),
    json.dumps({"a": 'é"\\\n', "b": 1}, ensure_ascii=False),
    "[1, 2",
    "{}",
    "7",
    "",
    '{"a": 1} ',
    '{"a": NaN}',
    '{"a": "\\ud800"}',
    '{"b": 1, "b": 2}',
]


def read_alike(lines: list[Any], fields: Fields, writer: Writer) -> tuple[int, int]:
    """Compare the readers; return how many lines there are, and how many the compiled one read itself."""
    data = "".join(writer.text(line) + "\n" for line in lines).encode()
    decoded = compiled.decode(block_of(data), fields, LIMIT, ALL_REJECTIONS)
    assert decoded is not None
    expected = reference.decode(data, fields, LIMIT, ALL_REJECTIONS)
    assert bits(decoded) == bits(expected), data
    return len(lines), decoded.tally.used


def any_value(chance: random.Random) -> Any:
    return chance.choice(SIMPLE if chance.random() < 0.5 else WIDE)


def record_of(chance: random.Random, **more: Any) -> dict[str, Any]:
    record = {name: any_value(chance) for name in "abcmo" if chance.random() < 0.9}
    if chance.random() < 0.7:
        size = chance.randrange(4)
        record["c"] = [chance.choice([-0.5, -1, 0, 2, -0.25]) for _ in range(size)]
        record["m"] = [chance.choice([0, 1, True, False, -100, 5, 0.0]) for _ in range(size)]
    if chance.random() < 0.3:
        record["o"] = chance.choice([each for each in WIDE if isinstance(each, dict)])
    record["j"] = chance.choice(TEXTS)
    record |= {name: value for name, value in more.items() if name not in record}
    if chance.random() < 0.3:
        record = dict(chance.sample(list(record.items()), len(record)))
    return record


WRITERS = [Writer(), Writer(",", ":"), Writer(ascii=False)]


@pytest.mark.parametrize(
    ("field", "expression"),
    [
        *(("prompt_id", each) for each in IDS),
        *(("reward", each) for each in NUMBERS),
        *(("response_length", each) for each in NUMBERS),
        *(("log_prob", each) for each in [*LISTS, *NUMBERS[:4]]),
        *(("rollout_id", each) for each in IDS),
        *(("turn", each) for each in [*NUMBERS, *LISTS]),
        *(("sampler_log_prob", each) for each in LISTS),
    ],
)
@examples(25)
@given(seed=st.integers(0, 2**32), needs=st.booleans(), compares=st.booleans())
def test_an_expression_gives_what_python_gives(
    field: str, expression: str, seed: int, needs: bool, compares: bool
) -> None:
    chance = random.Random(seed)
    extras = (field,) if field in ("rollout_id", "turn", "sampler_log_prob") else ()
    fields = Fields(
        extras=extras,
        needs_length=needs and field == "response_length",
        needs_log_probs=needs and field == "log_prob",
        compares_tokens=compares,
    ).with_places(parse_mappings([f"{field}={expression}"]))
    plan = plan_for(fields)
    assert plan is not None
    assert not plan.computed
    rest = {"prompt_id": "p", "reward": 1, "log_prob": [-0.5, -0.25], "old_log_prob": [-0.5, -0.5]}
    read_alike([record_of(chance, **rest) for _ in range(8)], fields, chance.choice(WRITERS))


@pytest.mark.parametrize("expression", CONDITIONS)
@examples(25)
@given(seed=st.integers(0, 2**32), where=st.booleans())
def test_a_condition_holds_where_it_holds_in_python(expression: str, seed: int, where: bool) -> None:
    chance = random.Random(seed)
    place, other = (parse_place(text, is_condition=True) for text in (expression, "b == `1`"))
    reasons = (("where" if where else "failed", place), ("other", other))
    fields = Fields(needs_length=False, needs_log_probs=False, leave_out=reasons)
    plan = plan_for(fields)
    assert plan is not None
    assert plan.conditions
    assert not plan.judged
    read_alike([record_of(chance, prompt_id="p", reward=1) for _ in range(8)], fields, chance.choice(WRITERS))


def test_every_operation_is_tried_here_and_read_without_python() -> None:
    tried = set()
    for text in [*IDS, *NUMBERS, *LISTS, *CONDITIONS]:
        operations = Operations(lambda key: 0)
        assert operations.compile_place(parse_place(text, is_condition=True)) is not None, text
        tried |= {OPERATIONS[which] for which, *_ in operations.all}
    assert tried | {"current"} >= set(OPERATIONS)


@pytest.mark.parametrize(
    ("expression", "record", "expected"),
    [
        ("stem(uid, '_', `2`)", {"uid": "a_b_0_1"}, "a_b"),
        ("digest(text)", {"text": "é\n"}, hashlib.blake2b('"é\\n"'.encode(), digest_size=16).hexdigest()),
        ("digest([s, t])", {"s": 1, "t": "x" * 500}, None),
        ("[s, t]", {"s": 1, "t": "2"}, '1/"2"'),
        ("[s, t]", {"s": 1, "t": "b"}, "1/b"),
        ("from_json(j).a", {"j": '{"a": "\\u00e9"}'}, "é"),
    ],
)
def test_ids_are_computed_without_the_reference_reader(
    expression: str, record: dict[str, Any], expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = Fields(needs_length=False, needs_log_probs=False).with_places(parse_mappings([f"prompt_id={expression}"]))
    data = (json.dumps({**record, "reward": 1}) + "\n").encode()
    slow = reference.decode(data, fields, LIMIT, ALL_REJECTIONS)
    monkeypatch.setattr(reference.ReferenceReader, "read_line", None)
    decoded = compiled.decode(block_of(data), fields, LIMIT, ALL_REJECTIONS)
    assert decoded is not None
    assert list(decoded.columns.keys) == list(slow.columns.keys)
    assert expected in (None, *decoded.columns.keys)


@pytest.mark.parametrize("size", [0, 1, 63, 64, 125, 126, 127, 128, 253, 254, 255, 256, 1000])
def test_digests_of_any_size_are_those_of_hashlib(size: int) -> None:
    fields = Fields(needs_length=False, needs_log_probs=False).with_places(parse_mappings(["prompt_id=digest(a)"]))
    assert read_alike([{"a": "x" * size, "reward": 1}, {"a": [7] * size, "reward": 1}], fields, Writer()) == (2, 2)


def test_lists_in_lists_are_joined_and_empty_ones_hold_nothing() -> None:
    fields = Fields(needs_length=False).with_places(parse_mappings(["log_prob=n[].lp", "old_log_prob=n[].lp"]))
    rest = {"prompt_id": "p", "reward": 1}
    good = [{"lp": [-0.5]}, {"lp": []}, [{"lp": [-0.25, -1]}], {}]
    lines = [{**rest, "n": n} for n in (good, [{"lp": []}], [[[]]], [[], good[0]], [[1]], [])]
    assert read_alike(lines, fields, Writer())[1] == 2


@pytest.mark.parametrize("scored", [(), ("rewards=rewards",), ("reward=reward",)])
def test_lines_without_a_reward_are_skipped(scored: tuple[str, ...]) -> None:
    fields = Fields(needs_length=False, needs_log_probs=False, skip_unscored=True).with_places(parse_mappings(scored))
    lines = [
        {"mean": 1},
        {"prompt_id": "p", "reward": 1},
        {"prompt_id": "p", "reward": None},
        {"prompt_id": "p", "rewards": [1, 0]},
        {},
        {"prompt_id": "p"},
    ]
    read_alike(lines, fields, Writer())


NODES = [(b'"', 0, -1, -1, 1, 1), (b'a"', 0, -1, 0, 2, 0)]
SLOTS = [(SPAN, 0, 0, 0), (ID, 0, 0, 0), (TRUTH, 0, 0, 0)]
ROOT = (NUMBER_OF["root"], 0, 0, b"", ())


@pytest.mark.parametrize(
    ("expressions", "programs", "what"),
    [
        ([(99, 0, 0, b"", ())], [], "no such operation"),
        ([(-1, 0, 0, b"", ())], [], "no such operation"),
        ([(NUMBER_OF["root"], 1, 0, b"", ())], [], "a root needs a span"),
        ([(NUMBER_OF["root"], 9, 0, b"", ())], [], "a root needs a span"),
        ([(NUMBER_OF["not"], 0, 0, b"", (0,))], [], "come before it"),
        ([ROOT, (NUMBER_OF["or"], 0, 0, b"", (0,))], [], "of other parts"),
        ([ROOT, (NUMBER_OF["stem"], 0, 0, b"", (0, 0))], [], "of other parts"),
        ([(NUMBER_OF["chain"], 0, 0, b"", ())], [], "of other parts"),
        ([(NUMBER_OF["field"], 0, 0, b"", ())], [], "needs its text"),
        ([(NUMBER_OF["literal"], 0, 0, b"[1\n", ())], [], "JSON and a newline"),
        ([(NUMBER_OF["literal"], 0, 0, b"[1]", ())], [], "JSON and a newline"),
        ([ROOT, *((NUMBER_OF["not"], 0, 0, b"", (at,)) for at in range(70))], [], "too deep"),
        ([ROOT], [(0, 0)], "no such program"),
        ([ROOT], [(1, 1)], "no such program"),
        ([ROOT], [(9, 0)], "no such program"),
    ],
)
def test_a_plan_of_expressions_that_makes_no_sense_is_refused(expressions: Any, programs: Any, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        Reader(NODES, SLOTS, expressions, programs)


@pytest.mark.parametrize("name", ["field", "index", "current"])
def test_what_applies_to_a_value_gives_nothing_of_the_record_itself(name: str) -> None:
    text = b'a"' if name == "field" else b""
    reader = Reader(NODES, [*SLOTS, (NUMBER, 0, 0, 0)], [(NUMBER_OF[name], 0, 0, text, ())], [(3, 0)])
    read = reader.read(b'{"a": 1}\n', 0, 9, 9)
    assert read.slots[3].states == bytes([compiled.UNUSABLE])
