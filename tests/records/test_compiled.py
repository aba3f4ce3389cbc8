"""If this fails, the compiled reader reads other numbers than Python, defers lines needlessly, or can be crashed."""

import json
import math
import random
import sys
from typing import Any

import numpy as np
import orjson
import pytest
from examples import examples
from hypothesis import example, given
from hypothesis import strategies as st
from written_json import bits, block_of

from budget_cli import native

if not native.AVAILABLE:
    pytest.skip("there was no C compiler", allow_module_level=True)

from budget_cli.native.reader import ID, LOG_PROB, MAX_CHILDREN, MAX_DEPTH, NUMBER, SPAN, Reader
from budget_cli.records import compiled, jsonl, reference
from budget_cli.records.columns import ALL_REJECTIONS, FIRST_TEN
from budget_cli.schema.fields import Fields, parse_mappings

MANY = 1 << 20


def read_one(kind: int, *texts: str) -> list[float | None]:
    """Read lines whose `x` is each of these texts; None for a deferred line."""
    reader = Reader([(b'"', 0, -1, -1, 1, 1), (b'x"', 0, 0, -1, 0, 0)], [(kind, 0, 0)])
    data = "".join(f'{{"x": {text}}}\n' for text in texts).encode()
    read = reader.read(data, 0, len(data), MANY)
    numbers = np.frombuffer(read.numbers, dtype=np.int64).tolist()
    by_line = dict(zip(numbers, np.frombuffer(read.slots[0].values).tolist(), strict=True))
    return [by_line.get(number) for number in range(1, len(texts) + 1)]


DIGITS = st.text("0123456789", min_size=1, max_size=24)
WHOLE_PART = DIGITS.map(lambda digits: str(int(digits)))
EXPONENT = st.integers(-330, 330) | st.integers(-30, 30)


@st.composite
def decimals(draw: st.DrawFn) -> str:
    """Write a number as JSON may, with any digits and exponent."""
    text = draw(st.sampled_from(["", "-"])) + draw(WHOLE_PART)
    if draw(st.booleans()):
        text += "." + draw(DIGITS)
    if draw(st.booleans()):
        text += draw(st.sampled_from("eE")) + draw(st.sampled_from(["", "+"])) + str(draw(EXPONENT))
    return text.replace("+-", "-")


@given(decimals() | st.floats(allow_nan=False, allow_infinity=False).map(repr))
@example("9007199254740993")  # 2**53 + 1: a tie between two doubles
@example("9007199254740992.5")
@example("9007199254740993.0000000000000001")
@example("0.1")
@example("1e23")
@example("8.5e-27")
@example("1.7976931348623157e308")
@example("18446744073709551615")
@example("-0")
@example("-0.0")
@example("0e-999")
@example("0.000000000000000000000000000000")
@example("0." + "0" * 30 + "1234567890123456789")
@example("5e-324")
@example("2.2250738585072011e-308")
def test_a_number_is_the_double_that_python_reads(text: str) -> None:
    (value,) = read_one(NUMBER, text)
    expected = float(int(text)) if text.lstrip("-").isdecimal() else float(text)
    if math.isinf(expected) or len(text) > 60:
        assert value is None or value == expected
    else:
        assert value is not None
        assert np.float64(value).tobytes() == np.float64(expected).tobytes()


@pytest.mark.parametrize("text", ["01", "-", "1.", ".5", "1e", "1e+", "+1", "0x1", "1_0", "٣", "--1", "1e5.0", "NaN"])
def test_what_is_not_a_number_in_json_is_deferred(text: str) -> None:
    assert read_one(NUMBER, text) == [None]


LOG_PROBS = st.floats(-50, 0) | st.floats(-1e300, 1e300) | st.integers(-(2**60), 2**60).map(lambda n: n / 2**53)


@given(st.lists(LOG_PROBS, min_size=1, max_size=30))
@example([1.0, 2.0**-53, 2.0**-106])  # just above a tie
@example([1.0, 2.0**-53])  # a tie
@example([1e16, 1.0, -1e16])
@example([-0.0])
@example([1e308, 1e308, -1e308])
def test_a_sum_of_log_probs_is_rounded_once_or_deferred(tokens: list[float]) -> None:
    (total,) = read_one(LOG_PROB, "[" + ", ".join(map(repr, tokens)) + "]")
    if total is not None:
        assert np.float64(total).tobytes() == np.float64(math.fsum(tokens) + 0.0).tobytes()


@pytest.mark.exhaustive
def test_a_sum_is_not_deferred_for_a_tie() -> None:
    tokens = [k / 2**30 for k in range(-2000, 0)]  # on a coarse grid, as single precision gives: ties are common
    assert None not in read_one(LOG_PROB, *(str(tokens[i:]) for i in range(0, 1500, 7)))


GOOD = b'{"prompt_id": "p%d", "reward": 1.0, "log_prob": -1.5, "old_log_prob": -2.0, "response_length": 12}\n'
BAD = b'{"prompt_id": "p", "reward": NaN, "log_prob": -1.5, "old_log_prob": -2.0, "response_length": 12}\n'


@pytest.fixture
def deferred_lines(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Collect the numbers of the lines that the reference reader reads."""
    numbers: list[int] = []
    read = reference.ReferenceReader.read_line

    def spy(self: reference.ReferenceReader, number: int, line: bytes, torn: bool) -> None:
        numbers.append(number)
        read(self, number, line, torn)

    monkeypatch.setattr(reference.ReferenceReader, "read_line", spy)
    return numbers


@pytest.mark.parametrize("seed", range(50))
def test_no_line_is_deferred_for_the_form_of_the_lines_before_it(deferred_lines: list[int], seed: int) -> None:
    """The reader expects what stood between two values the last time, and finds them wherever they are."""
    chance = random.Random(seed)
    lines = []
    for number in range(20):
        if not lines or chance.random() < 0.4:
            order = chance.sample(["prompt_id", "reward", "log_prob", "old_log_prob", "response_length", "x"], 6)
            comma, colon, begin = (chance.choice([mark, mark + " ", " " + mark, mark + "  "]) for mark in ",:{")
        record = {"prompt_id": f"p{number}", "x": {"a": number, "reward": 0}}
        record |= {"reward": number / 4, "log_prob": -1.5, "old_log_prob": -float(number), "response_length": number}
        pairs = [f'"{key}"{colon}{json.dumps(record[key])}' for key in order]
        lines.append(begin + comma.join(pairs) + "}\n")
    read = compiled.decode(block_of("".join(lines).encode()), Fields(), MANY, FIRST_TEN)
    assert read is not None
    assert deferred_lines == []
    assert read.columns.reward.tolist() == [number / 4 for number in range(20)]
    assert read.columns.old_log_prob.tolist() == [-number for number in range(20)]


def test_only_the_malformed_line_is_deferred(deferred_lines: list[int]) -> None:
    data = b"".join(GOOD % (i % 9) for i in range(40)) + BAD + b"".join(GOOD % i for i in range(40))
    read = compiled.decode(block_of(data), Fields(), MANY, FIRST_TEN)
    assert read is not None
    assert deferred_lines == [41]
    assert (read.tally.read, read.tally.used) == (81, 80)
    assert [(rejection.line, rejection.code) for rejection in read.rejections] == [(41, "non-finite")]


def test_ids_that_escapes_spell_in_two_ways_are_one_prompt() -> None:
    data = GOOD.replace(b"p%d", b"\\u0070") + GOOD.replace(b"p%d", b"p") + GOOD.replace(b"p%d", b"q")
    read = compiled.decode(block_of(data), Fields(), MANY, FIRST_TEN)
    assert read is not None
    assert (read.columns.keys, read.columns.codes.tolist()) == (["p", "q"], [0, 0, 1])


@pytest.mark.parametrize(
    ("start", "stop"), [(-1, 3), (0, 0), (0, 99), (0, 2), (3, 3), (-sys.maxsize - 1, 3), (sys.maxsize - 1, sys.maxsize)]
)
def test_the_reader_refuses_anything_but_whole_lines(start: int, stop: int) -> None:
    reader = Reader([(b'"', 0, -1, -1, 1, 0)], [])
    with pytest.raises(ValueError, match="expected whole lines"):
        reader.read(b"{}\n", start, stop, MANY)


@pytest.mark.parametrize("compiler", [True, False])
def test_without_a_c_compiler_the_same_is_read(compiler: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    decode = compiled.decode
    monkeypatch.setattr(compiled, "decode", lambda *args: asked.append(1) or decode(*args))
    monkeypatch.setattr(native, "AVAILABLE", compiler)
    data = b"".join(GOOD % (i % 9) for i in range(1000))
    read = jsonl.decode(block_of(data), Fields(), jsonl.Limits())
    assert bits(read) == bits(reference.decode(data, Fields(), MANY, FIRST_TEN))
    assert bool(asked) == compiler


@pytest.mark.parametrize(
    "fields",
    [
        Fields().with_places(parse_mappings(["reward=minus(reward, `0`)"])),
        Fields().with_places(parse_mappings(["reward=max([reward, reward])"])),
        Fields(extras=("response_text", "prompt_text")),
    ],
)
def test_a_number_beyond_a_double_in_a_part_that_python_evaluates_is_deferred(fields: Fields) -> None:
    data = GOOD + GOOD.replace(b"1.0", b"1e400") + GOOD[:-2] + b', "prompt_text": "a", "response_text": 1e400}\n'
    read = compiled.decode(block_of(data), fields, MANY, FIRST_TEN)
    assert read is not None
    assert bits(read) == bits(reference.decode(data, fields, MANY, FIRST_TEN))
    assert [rejection.line for rejection in read.rejections] == [2]


PIECES = [
    b"\\n",
    b"\\\\",
    b'\\"',
    b"\\/",
    b"\\u00e9",
    b"\\ud83d\\ude00",
    "é".encode(),
    "答案".encode(),
    "😀".encode(),
    b"\x7f",
]
BROKEN = [b"\\x", b"\\ud800", b"\\udc00", b"\\u12g4", b"\t", b"\xff", b"\xc3", b"\xed\xa0\x80", b'"', b"\\"]
PLAIN = st.integers(0, 70).map(lambda size: b"x" * size)


@examples(150)
@given(
    st.lists(PLAIN | st.sampled_from(PIECES) | st.sampled_from(PIECES), max_size=60),
    st.lists(st.tuples(st.integers(0, 60), st.sampled_from(BROKEN)), max_size=1),
    st.integers(0, 130),
)
def test_a_string_is_read_if_it_is_json_and_else_deferred(
    pieces: list[bytes], broken: list[tuple[int, bytes]], after: int
) -> None:
    for place, piece in broken:
        pieces.insert(place, piece)
    line = b'{"x": "' + b"".join(pieces) + b'"}'
    try:
        orjson.loads(line)
        is_json = True
    except orjson.JSONDecodeError:
        is_json = False
    reader = Reader([(b'"', 0, -1, -1, 1, 0)], [])
    data = line + b"\n" + b" " * after + b"\n"
    read = reader.read(data, 0, len(data), MANY)
    assert (len(read.numbers), len(read.deferred)) == ((8, 0) if is_json else (0, 24))


# ---- the results have names


def test_the_result_of_a_read_has_names() -> None:
    reader = Reader([(b'"', 0, -1, -1, 1, 1), (b'x"', 0, 0, -1, 0, 0)], [(ID, 0, 0)])
    data = b'{"x": "a"}\n\n{"x": tru}\n{"x": 7}\n'
    read = reader.read(data, 0, len(data), MANY)
    assert (read.lines, read.blank) == (4, 1)
    assert np.frombuffer(read.numbers, dtype=np.int64).tolist() == [1, 4]
    assert np.frombuffer(read.deferred, dtype=np.int64).tolist() == [3, 12, 22]
    (slot,) = read.slots
    assert (slot.states, slot.counts, slot.id_texts) == (bytes([native.reader.VALUE]), b"", b'"a",7,')
    assert np.frombuffer(slot.values, dtype=np.int64).tolist() == [0, 1]
    assert np.frombuffer(slot.id_ends, dtype=np.int64).tolist() == [4, 6]


# ---- misuse: an exception, not a crash

ROOT = (b'"', 0, -1, -1, 1, 1)
LEAF = (b'x"', 0, 0, -1, 0, 0)


@pytest.mark.parametrize(
    ("nodes", "slots", "reason"),
    [
        ([ROOT, (b'x"', 1, -1, -1, 0, 0)], [(NUMBER, 1, 0)], "the elements of a list need a slot or children"),
        ([ROOT, (b'x"', 0, 1, -1, 0, 0)], [(NUMBER, 0, 0)], "no such slot"),
        ([ROOT, (b'x"', 0, -2, -1, 0, 0)], [(NUMBER, 0, 0)], "no such slot"),
        ([ROOT, (b'x"', 0, -1, 1, 0, 0)], [(SPAN, 0, 0)], "no such slot"),
        ([ROOT, LEAF], [(SPAN, 0, 0)], "a value needs another kind of slot"),
        ([ROOT, (b'x"', 0, -1, 0, 0, 0)], [(ID, 0, 0)], "a span needs a slot of its kind"),
        ([ROOT, LEAF], [(8, 0, 0)], "no kind of slot is 8"),
        ([ROOT, LEAF], [(-1, 0, 0)], "no kind of slot is -1"),
        ([ROOT, LEAF], [(NUMBER, 0, 0, 1)], "only a slot of log-probs keeps them"),
        ([ROOT, (b"", 0, 0, -1, 0, 0)], [(NUMBER, 0, 0)], "a key has at least its closing quote"),
        ([(b'"', 0, -1, -1, 0, 1)], [], "children do not follow one another"),  # its own child
        ([ROOT, (b'x"', 0, -1, -1, 0, 2)], [], "children do not follow one another"),  # its parent's parent
        ([(b'"', 0, -1, -1, 1, 2), LEAF], [(NUMBER, 0, 0)], "no such child"),
        ([(b'"', 0, -1, -1, 1, -1)], [], "too many children"),
        ([(b'"', 0, -1, -1, 1, MAX_CHILDREN + 1)], [], "too many children"),
        ([ROOT, LEAF, LEAF], [(NUMBER, 0, 0)], "a node without a parent"),
        ([], [], "a node without a parent"),
        ([(b'x"', 0, -1, -1, i + 1, 1) for i in range(MAX_DEPTH + 1)] + [LEAF], [(NUMBER, 0, 0)], "too deep"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(nodes: list[Any], slots: list[Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Reader(nodes, slots)


@pytest.mark.parametrize("items", [([ROOT, None], []), ([ROOT], [None]), ([list(ROOT)], [])])
def test_a_node_or_a_slot_that_is_not_a_tuple_is_refused(items: tuple[list[Any], list[Any]]) -> None:
    with pytest.raises(TypeError, match="expected a tuple for each"):
        Reader(*items)


def test_a_reader_without_a_plan_does_not_read() -> None:
    reader = Reader.__new__(Reader)
    with pytest.raises(RuntimeError, match="the reader has no plan"):
        reader.read(b"{}\n", 0, 3, MANY)
    with pytest.raises(TypeError):
        reader.__init__([ROOT, (b'x"', 0, 0, -1, 0, "0")], [(NUMBER, 0, 0)])  # type: ignore[misc, list-item]  # misuse
    with pytest.raises(RuntimeError, match="the reader has no plan"):
        reader.read(b'{"x": 1}\n', 0, 9, MANY)
    reader.__init__([ROOT, LEAF], [(NUMBER, 0, 0)])  # type: ignore[misc]  # after a failure it may be called again
    assert reader.read(b'{"x": 1}\n', 0, 9, MANY).lines == 1
    with pytest.raises(TypeError, match="made once"):
        reader.__init__([ROOT, LEAF], [(NUMBER, 0, 0)])  # type: ignore[misc]  # misuse


class Emptying:
    """The integer 0, which empties a list when it is read."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __index__(self) -> int:
        self.items.clear()
        return 0


def test_a_list_that_changes_while_it_is_read_is_read_as_it_was() -> None:
    nodes: list[Any] = []
    key = b"".join([b"x" * 40, b'"'])  # held by nothing but its tuple, which is held by nothing but the list
    nodes += [ROOT, (key, Emptying(nodes), 0, -1, 0, 0)]
    del key
    slots: list[Any] = []
    slots += [(NUMBER, 0, Emptying(slots)), (NUMBER, 0, 0)]
    reader = Reader(nodes, slots)
    line = b'{"%b": 1.5}\n' % (b"x" * 40)
    assert (nodes, slots) == ([], [])
    assert np.frombuffer(reader.read(line, 0, len(line), MANY).slots[0].values).tolist() == [1.5]


@pytest.mark.parametrize("levels", [2, MAX_DEPTH, MAX_DEPTH + 1, 600])
def test_a_field_however_deep_is_read(levels: int) -> None:
    path, value = ".".join(["a"] * levels), b'{"a": ' * (levels - 1) + b'{"a": 0.5}' + b"}" * (levels - 1)
    fields = Fields(needs_length=False, needs_log_probs=False).with_places(parse_mappings([f"reward={path}"]))
    data = b'{"prompt_id": "p", ' + value[1:] + b"\n"
    read = jsonl.decode(block_of(data), fields, jsonl.Limits())
    assert read.columns.reward.tolist() == [0.5]
    assert bits(read) == bits(reference.decode(data, fields, MANY, FIRST_TEN))


@pytest.mark.parametrize(
    ("key", "is_read"),
    [
        (r"\u0072eward", True),
        (r"rewar\u0064", True),
        (r"\u0072\u0065ward", True),
        (r"reward\u0000", False),
        (r"r\u0065war", False),
        (r"\u0072eward_", False),
        (r"\u00e9", False),
        (r"\ud83d\ude00", False),
        (r"\"\\\/\b", False),
    ],
)
def test_a_key_that_is_written_with_escapes_is_the_same_key(key: str, is_read: bool) -> None:
    text = '{"prompt_id":"p","KEY":0.5,"log_prob":-1,"old_log_prob":-1,"response_length":3}\n'.replace("KEY", key)
    others = [text.replace('"prompt_id"', f'{other},"prompt_id"') for other in ('"reward":1', r'"\u0072eward":1')]
    for data in (text, *others):
        decoded = compiled.decode(block_of(data.encode() * 2), Fields(), 1 << 20, ALL_REJECTIONS)
        assert decoded is not None
        assert bits(decoded) == bits(reference.decode(data.encode() * 2, Fields(), 1 << 20, ALL_REJECTIONS))
        assert decoded.tally.used == (2 if is_read or data != text else 0)
