"""If this fails, the compiled reader makes another number of a text than Python, or leaves lines that it could read."""

import math

import numpy as np
import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from written_json import bits, block_of

from budget_cli import native

if not native.AVAILABLE:
    pytest.skip("there was no C compiler", allow_module_level=True)

from budget_cli.native.reader import Reader
from budget_cli.records import compiled, jsonl, reference
from budget_cli.records.columns import FIRST_TEN
from budget_cli.records.reader_plan import LOG_PROB, NUMBER
from budget_cli.schema.fields import Fields

MANY = 1 << 20


def read_one(kind: int, *texts: str) -> list[float | None]:
    """The values of `x` in lines that hold these; None for an odd line."""
    reader = Reader([(b'"', 0, -1, -1, 1, 1), (b'x"', 0, 0, -1, 0, 0)], [(kind, 0, 0)])
    data = "".join(f'{{"x": {text}}}\n' for text in texts).encode()
    _, _, lines, _, slots = reader.read(data, 0, len(data), MANY)
    read = dict(zip(np.frombuffer(lines, dtype=np.int64).tolist(), np.frombuffer(slots[0][1]).tolist(), strict=True))
    return [read.get(number) for number in range(1, len(texts) + 1)]


DIGITS = st.text("0123456789", min_size=1, max_size=24)
WHOLE_PART = DIGITS.map(lambda digits: str(int(digits)))
EXPONENT = st.integers(-330, 330) | st.integers(-30, 30)


@st.composite
def decimals(draw: st.DrawFn) -> str:
    """A number as JSON may write it, whatever its digits and exponent."""
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
def test_what_json_does_not_call_a_number_is_odd(text: str) -> None:
    assert read_one(NUMBER, text) == [None]


LOG_PROBS = st.floats(-50, 0) | st.floats(-1e300, 1e300) | st.integers(-(2**60), 2**60).map(lambda n: n / 2**53)


@given(st.lists(LOG_PROBS, min_size=1, max_size=30))
@example([1.0, 2.0**-53, 2.0**-106])  # just above a tie
@example([1.0, 2.0**-53])  # a tie
@example([1e16, 1.0, -1e16])
@example([-0.0])
@example([1e308, 1e308, -1e308])
def test_a_sum_of_log_probs_is_rounded_once_or_left_to_the_careful_reading(tokens: list[float]) -> None:
    (total,) = read_one(LOG_PROB, "[" + ", ".join(map(repr, tokens)) + "]")
    if total is not None:
        assert np.float64(total).tobytes() == np.float64(math.fsum(tokens) + 0.0).tobytes()


def test_a_sum_is_not_left_for_its_ties() -> None:
    tokens = [k / 2**30 for k in range(-2000, 0)]  # on a coarse grid, as single precision gives: ties are common
    assert None not in read_one(LOG_PROB, *(str(tokens[i:]) for i in range(1500)))


GOOD = b'{"prompt_id": "p%d", "reward": 1.0, "log_prob": -1.5, "old_log_prob": -2.0, "response_length": 12}\n'
BAD = b'{"prompt_id": "p", "reward": NaN, "log_prob": -1.5, "old_log_prob": -2.0, "response_length": 12}\n'


@pytest.fixture
def careful_lines(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of the lines that the careful reading was asked for."""
    asked: list[int] = []
    read = reference.ReferenceReader.read_line

    def noted(self: reference.ReferenceReader, number: int, line: bytes, torn: bool) -> None:
        asked.append(number)
        read(self, number, line, torn)

    monkeypatch.setattr(reference.ReferenceReader, "read_line", noted)
    return asked


def test_only_the_line_that_is_wrong_is_read_again(careful_lines: list[int]) -> None:
    data = b"".join(GOOD % (i % 9) for i in range(40)) + BAD + b"".join(GOOD % i for i in range(40))
    read = compiled.decode(block_of(data), Fields(), MANY, FIRST_TEN)
    assert read is not None
    assert careful_lines == [41]
    assert (read.tally.read, read.tally.used) == (81, 80)
    assert [(rejection.line, rejection.code) for rejection in read.rejections] == [(41, "non-finite")]


def test_keys_that_escapes_spell_in_two_ways_are_one_prompt() -> None:
    data = GOOD.replace(b"p%d", b"\\u0070") + GOOD.replace(b"p%d", b"p") + GOOD.replace(b"p%d", b"q")
    read = compiled.decode(block_of(data), Fields(), MANY, FIRST_TEN)
    assert read is not None
    assert (read.columns.keys, read.columns.codes.tolist()) == (["p", "q"], [0, 0, 1])


@pytest.mark.parametrize(("start", "stop"), [(-1, 3), (0, 0), (0, 99), (0, 2)])
def test_the_reader_refuses_what_is_no_whole_lines(start: int, stop: int) -> None:
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
    [Fields().with_mappings(["reward=minus(reward, `0`)"]), Fields(extras=("response_text", "prompt_text"))],
)
def test_a_number_beyond_a_double_in_what_python_looks_at_is_left_to_the_careful_reading(fields: Fields) -> None:
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


@settings(max_examples=400)
@given(
    st.lists(PLAIN | st.sampled_from(PIECES) | st.sampled_from(PIECES), max_size=60),
    st.lists(st.tuples(st.integers(0, 60), st.sampled_from(BROKEN)), max_size=1),
    st.integers(0, 130),
)
def test_a_string_is_read_or_odd_as_it_is_json_or_not(
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
    _, _, lines, odd, _ = reader.read(data, 0, len(data), MANY)
    assert (len(lines), len(odd)) == ((8, 0) if is_json else (0, 24))
