"""If this fails, a dump with several records to a line is read otherwise than the reference reader reads it.

The compiled reader unfolds such lines into one record each; a line of which it doubts anything is left in whole to the
reference reader.
"""

import random
from dataclasses import replace
from typing import Any

import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from written_json import Pairs, Raw, Writer, bits, block_of

from budget_cli import native

if not native.AVAILABLE:
    pytest.skip("there was no C compiler", allow_module_level=True)

from budget_cli.native.unfold import COLUMNS, LISTS, MAX_KEYS, PATH, unfold
from budget_cli.records import compiled, reference
from budget_cli.records.columns import ALL_REJECTIONS, RejectionLimit
from budget_cli.schema.fields import Fields, parse_mappings
from budget_cli.schema.parsing import parse_place

LIMIT = 64 << 20
FORMS = ("[]", "data[]", "out.data[]", "columns")
LEAVE_OUT = (
    (),
    (),
    (("failed", parse_place("failed", is_condition=True)),),
    (("failed", parse_place("failed || _line.failed", is_condition=True)),),
    (("failed", parse_place("_line.failed && x", is_condition=True)),),
)
VALUES: dict[str, list[Any]] = {
    "prompt_id": ["p", "q", "é", 'a"b', 7],
    "reward": [0, 1, 0.5, -0.25],
    "log_prob": [-1.5, -2, [-0.5, -0.25]],
    "old_log_prob": [-1.5, -2, [-0.5, -0.25]],
    "response_length": [0, 1, 12, 12.0],
    "step": [1, "a", None],
    "failed": [True, False, None, {}],
    "rewards": [[1, 0.5], []],
    "x": [1, [1, 2], [[1], [2]], {"prompt_id": "p"}, "y" * 90, None],
}
WRONG = [None, "1", [], [1], [1, 2], {}, True, Raw("1e400"), Raw("NaN"), Raw('"\\ud800"'), Raw("[1,]"), Raw(" ")]
DAMAGE = [b"\n", b",", b"]", b"[", b"{", b"}", b'"', b"\\", b"\xff", b"NaN", b"null", b" ", b"{},", b"[],", b"\r", b"1"]


def assert_same(data: bytes, fields: Fields, before: bytes = b"", after: bytes = b"") -> int:
    """Compare the readers; return how many lines the compiled one used."""
    for keep in (ALL_REJECTIONS, RejectionLimit(1)):
        decoded = compiled.decode(block_of(data, before, after), fields, LIMIT, keep)
        assert decoded is not None
        assert bits(decoded) == bits(reference.decode(data, fields, LIMIT, keep))
    return decoded.tally.used


def records_of(chance: random.Random, wrong: float) -> list[Pairs]:
    """Make records with mostly the same keys."""
    required = ["prompt_id", "reward", "log_prob", "old_log_prob", "response_length"]
    names = required + [name for name in ("step", "failed", "x") if chance.random() < 0.5]
    made = []
    for _ in range(chance.randrange(1, 4)):
        record = Pairs((name, chance.choice(VALUES[name])) for name in names if chance.random() >= wrong)
        if chance.random() < wrong:
            record.append((chance.choice(list(VALUES)), chance.choice([*WRONG, 1])))
        if chance.random() < 0.3:
            chance.shuffle(record)
        made.append(record)
    return made


def line_of(chance: random.Random, form: str, wrong: float) -> Any:
    """Make a line of several records."""
    records: list[Any] = [*records_of(chance, wrong)]
    around = Pairs((name, chance.choice(VALUES[name])) for name in VALUES if chance.random() < 0.2)
    if chance.random() < wrong:
        records = chance.choice([[], [*records, 1], [*records, []], "x", None])
    if chance.random() < wrong:
        around.append((chance.choice(["data", "out", "_line", "reward"]), chance.choice(WRONG)))
    if form == "[]":
        return records
    if form == "columns":
        size = len(records) if isinstance(records, list) else 1
        arrays = Pairs(
            (name, [chance.choice(VALUES[name]) for _ in range(size - (chance.random() < wrong))])
            for name in ("prompt_id", "reward", "log_prob", "old_log_prob", "response_length", "step", "failed")
            if chance.random() < 0.9
        )
        return Pairs([*arrays, *(pair for pair in around if pair[0] == "x" or chance.random() < wrong)])
    inner: Any = Pairs([("data", records), *around]) if form == "data[]" else Pairs([("data", records)])
    if form == "out.data[]":
        inner = Pairs([("out", inner), *around])
    if chance.random() < 0.5:
        chance.shuffle(inner)
    return inner


@examples(300)
@given(
    form=st.sampled_from(FORMS),
    seed=st.integers(0, 2**32),
    wrong=st.sampled_from([0, 0, 0.05]),
    leave_out=st.sampled_from(LEAVE_OUT),
    skips=st.booleans(),
    group=st.sampled_from(["", "", "line"]),
    needs=st.booleans(),
    extras=st.sampled_from([(), ("step",), ("step", "by")]),
    empty=st.sampled_from(["", "no-trace"]),
)
def test_lines_of_several_records_are_read_as_the_reference_reader_reads_them(
    form: str, seed: int, wrong: float, leave_out: Any, skips: bool, group: str, needs: bool, extras: Any, empty: str
) -> None:
    chance = random.Random(seed)
    fields = Fields(
        records=form,
        group=group,
        needs_length=needs,
        needs_log_probs=needs,
        extras=extras,
        by="by" if "by" in extras else "",
        leave_out=leave_out,
        skip_unscored=skips,
        empty_reason=empty,
    ).with_places(parse_mappings(["by=step"]))
    writer = Writer(chance.choice([",", ", "]), chance.choice([":", ": "]), chance.random() < 0.5)
    lines = [writer.text(line_of(chance, form, wrong)) for _ in range(chance.randrange(1, 5))]
    data = "".join(line + "\n" for line in lines).encode("utf-8", "surrogatepass")
    for _ in range(chance.randrange(3) if wrong else 0):
        at = chance.randrange(len(data))
        data = data[:at] + chance.choice(DAMAGE) + data[at + chance.choice([0, 0, 1, 2]) :]
    if chance.random() < 0.1:
        data = data.removesuffix(b"\n")
    assert_same(data, fields, chance.choice([b"", b'{"a": 1}\n']), chance.choice([b"", b"]\n"]))


def test_what_a_record_holds_hides_what_its_line_holds() -> None:
    fields = Fields(records="data[]", needs_length=False, needs_log_probs=False)
    data = b'{"data":[{"reward":1},{"reward":0,"prompt_id":"own"}],"prompt_id":"of all","reward":5}\n'
    decoded = compiled.decode(block_of(data), fields, LIMIT, ALL_REJECTIONS)
    assert decoded is not None
    assert list(decoded.columns.keys) == ["of all", "own"]
    assert decoded.columns.reward.tolist() == [1, 0]
    assert decoded.columns.line.tolist() == [1, 1]
    assert assert_same(data, fields) == 1


def test_a_line_of_which_one_record_is_bad_is_rejected_whole() -> None:
    fields = Fields(records="[]", needs_length=False, needs_log_probs=False)
    good, bad = '{"prompt_id":"p","reward":1}', '{"prompt_id":"p","reward":"1"}'
    data = f"[{good},{good}]\n[{good},{bad}]\n[{bad}]\n[{good}]\n[{good},{{}},{good}]\n".encode()
    assert assert_same(data, fields) == 2


def test_shared_text_that_would_be_written_too_often_is_left_to_the_reference_reader() -> None:
    fields = Fields(records="data[]", needs_length=False, needs_log_probs=False, extras=("prompt_text",))
    records = ",".join(['{"prompt_id":"p","reward":1}'] * 400)
    data = f'{{"data":[{records}],"prompt_text":"{"x" * 100_000}"}}\n'.encode()
    assert len(unfolded(data, PATH, (b'prompt_id"', b'prompt_text"'), path=(b'data"',))[0]) == 0
    assert assert_same(data, fields) == 1


def test_rows_of_whole_prompts_and_of_single_responses_keep_their_order() -> None:
    fields = Fields(records="[]", needs_length=False, needs_log_probs=False)
    data = b'[{"prompt_id":"a","rewards":[1,0]},{"prompt_id":"b","reward":0.5}]\n[{"prompt_id":"a","rewards":[1,0]}]\n'
    assert assert_same(data, fields) == 2


def unfolded(data: bytes, form: int, read: tuple[bytes, ...], **more: Any) -> tuple[Any, ...]:
    more = {"longest": LIMIT, "sizing": 0, "path": (), "around": (), "line_key": -1} | more
    return unfold(
        data,
        0,
        len(data),
        more["longest"],
        form,
        read,
        more["sizing"],
        more["path"],
        more["around"],
        more["line_key"],
    )


def test_lines_become_one_for_each_record() -> None:
    text, *_, lines, blank = unfolded(b'[{"a":1,"b":2},{"b": [3]}]\n\n', LISTS, (b'a"', b'b"'))
    assert (text, lines, blank) == (b'{"a":1,"b":2}\n{"b":[3]}\n', 2, 1)
    columns = b'{"b":[1,2],"a":["x","y"],"c":7}\n'
    assert unfolded(columns, COLUMNS, (b'a"', b'b"', b'c"'), sizing=1)[0] == (
        b'{"a":"x","b":1,"c":7}\n{"a":"y","b":2,"c":7}\n'
    )
    below = b'{"ok":false,"data":[{"a":1}]}\n'
    text = unfolded(below, PATH, (b'a"', b'_line"'), path=(b'data"',), around=(b'ok"', b'x"'), line_key=1)[0]
    assert text == b'{"a":1,"_line":{"ok":false}}\n'


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ({"form": 3}, "no such form or key"),
        ({"form": PATH}, "no such form or key"),
        ({"line_key": 1}, "no such form or key"),
        ({"sizing": 2}, "no such form or key"),
        ({"read": (b"",)}, "at least its closing quote"),
        ({"read": (b'a"',) * (MAX_KEYS + 1)}, "too many keys"),
        ({"data": b"[]"}, "expected whole lines"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments: dict[str, Any], what: str) -> None:
    given: dict[str, Any] = {"data": b"[]\n", "form": LISTS, "read": (b'a"',)} | arguments
    with pytest.raises(ValueError, match=what):
        unfolded(**given)


def test_a_document_option_or_a_nested_list_is_left_to_other_readers() -> None:
    for records in ("data[].inner[]", "*[]", "[][]", "table"):
        assert compiled.plan_for(Fields(records=records)) is None
    assert compiled.plan_for(replace(Fields(records="[]"), document=True)) is None
