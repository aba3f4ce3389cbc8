"""If this fails, a program that reads the JSON or CSV gets NaN, a wrong digit, a 0 for nothing, or a broken row."""

import csv
import io
import json
import math
import unicodedata
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import Result

from budget_cli.analysis.gates import GateResult
from budget_cli.analysis.loss import Coefficients, Loss, Prompt, compute_loss, number_names, per_prompt_losses
from budget_cli.groups.groups import Groups
from budget_cli.groups.moments import Layout
from budget_cli.records.columns import Rejection, Tally
from budget_cli.rendering import formats
from budget_cli.rendering import loss as rendering
from budget_cli.rendering.safe import HIDDEN, for_csv

Show = Callable[..., Result]
Make = Callable[..., dict[str, Any]]


def loss_of(*rewards: float) -> Loss:
    """One prompt with these rewards, and nothing else known."""
    groups = Groups(Layout(()))
    if rewards:
        codes = np.zeros(len(rewards), dtype=np.intp)
        groups.merge(Groups.from_responses(Layout(()), ["p"], codes, np.array(rewards), None, None))
    return compute_loss(groups, Coefficients(None, 0.0, 0.0), Tally(read=len(rewards), used=len(rewards)))


def as_json(loss: Loss, *, precision: int = 4, gates: tuple[GateResult, ...] = (), **more: Any) -> dict[str, Any]:
    arguments: dict[str, Any] = {"rejections": [], "incomplete": [], "prompts": None} | more
    text = rendering.json(loss, "pass", gates, precision=precision, **arguments)
    assert text.endswith(b"}\n")

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    answer: dict[str, Any] = json.loads(text, parse_constant=refuse)
    return answer


ROUNDED = [
    (0.123456, 4, 0.1235),
    (0.5, 0, 0.0),
    (1.5, 0, 2.0),
    (-0.00001, 4, 0.0),
    (-0.0, 4, 0.0),
    (1e300, 4, 1e300),
    (1 / 3, 17, 0.3333333333333333),
    (1234567, 0, 1234567),
    (None, 4, None),
    ("0.12345", 2, "0.12345"),
    (True, 2, True),
]


@pytest.mark.parametrize(("value", "places", "shown"), ROUNDED)
def test_floats_are_rounded_and_nothing_else(value: object, places: int, shown: object) -> None:
    rounded = formats.rounded(value, places)
    assert rounded == shown
    assert type(rounded) is type(value)
    assert not (isinstance(rounded, float) and math.copysign(1, rounded) < 0 and rounded == 0)


def test_rounding_goes_into_objects() -> None:
    assert formats.rounded({"a": {"b": 0.126, "c": 3}, "d": None}, 2) == {"a": {"b": 0.13, "c": 3}, "d": None}


def test_what_does_not_exist_is_null_and_never_zero() -> None:
    answer = as_json(loss_of())
    assert answer["loss"] is None
    assert answer["responses"] == 0
    for name in ("reward", "adjusted_reward", "kl", "length"):
        assert set(answer[name].values()) == {None}
    assert answer["advantage"] == {"mean_square": None, "budget_share": None, "phantom_share": None}
    assert answer["over_budget"]["fraction"] is None
    assert answer["groups"]["size"] == {"min": None, "mean": None, "max": None}


@pytest.mark.parametrize("rewards", [(1e300, -1e300), (1e308, 1e308), (5e-324, 0.0), (-0.0, 0.0), (1.0,)])
def test_the_json_never_holds_a_number_that_is_none(rewards: tuple[float, ...]) -> None:
    with np.errstate(over="ignore", invalid="ignore"):
        answer = as_json(loss_of(*rewards), precision=17)
    assert answer["responses"] == len(rewards)


def test_zeros_have_no_sign() -> None:
    text = json.dumps(as_json(loss_of(-0.0, -1e-9), precision=4))
    assert "-0.0" not in text


def test_coefficients_and_gates_are_not_rounded() -> None:
    loss = loss_of(1.0, 0.0)._replace(coefficients=Coefficients(9, 0.00001, 0.123456789))
    answer = as_json(
        loss, precision=2, gates=(GateResult("loss > 1", 0.123456789, True), GateResult("kl.k1 > 1", None, False))
    )
    assert answer["coefficients"] == {"token_budget": 9, "budget_penalty_coef": 0.00001, "kl_coef": 0.123456789}
    assert [gate["value"] for gate in answer["gates"]] == [0.123456789, None]


def test_strings_of_the_data_keep_their_true_value() -> None:
    prompt = next(per_prompt_losses(_groups_of("\x1b\u202e=1"), Coefficients(None, 0.0, 0.0)))
    rejection = Rejection("a\x1b.jsonl", 3, 7, "missing", None, "missing (there are \u202e)")
    answer = as_json(loss_of(1.0), prompts=[prompt], rejections=[rejection])
    assert answer["per_prompt"][0]["prompt_id"] == "\x1b\u202e=1"
    assert answer["rejections"] == [rejection.as_dict()]


def test_a_file_name_that_is_not_utf8_is_written_with_escapes() -> None:
    rejection = Rejection("a\udcff.jsonl", 3, 7, "missing", None, "missing")
    answer = as_json(loss_of(1.0), rejections=[rejection], incomplete=["b\udcfe.gz: cut off"])
    assert answer["rejections"][0]["source"] == "a\\xff.jsonl"
    assert answer["incomplete"] == ["b\\xfe.gz: cut off"]


def _groups_of(*ids: str | int) -> Groups:
    ones = np.ones(len(ids))
    return Groups.from_responses(Layout(()), list(ids), np.arange(len(ids)), ones, None, None)


TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.lists(TEXT | st.integers(-(2**60), 2**60), min_size=1, max_size=5, unique_by=lambda key: (type(key), key)))
def test_every_id_comes_back_from_the_csv(ids: list[str | int]) -> None:
    text = formats.csv_table(
        *rendering.prompts_table(per_prompt_losses(_groups_of(*ids), Coefficients(None, 0.0, 0.0)), 4)
    ).decode()
    header, *rows = csv.reader(io.StringIO(text, newline=""))
    assert tuple(header) == Prompt._fields
    assert [len(row) for row in rows] == [len(header)] * len(ids)
    for key, row in zip(ids, rows, strict=True):
        assert row[0] == str(for_csv(key))
        plain = not {unicodedata.category(c) for c in str(key)} & HIDDEN and not str(key).lstrip().startswith("::")
        assert not plain or row[0].removeprefix("'").replace(";'", ";") == str(key).removeprefix("'").replace(";'", ";")


def test_the_csv_has_empty_cells_for_nothing_and_lowercase_booleans() -> None:
    text = formats.csv_table(
        *rendering.prompts_table(per_prompt_losses(_groups_of("p"), Coefficients(None, 0.0, 0.0)), 4)
    ).decode()
    (row,) = csv.DictReader(io.StringIO(text))
    assert (row["k1"], row["length_mean"], row["over_budget"]) == ("", "", "")
    assert row["zero_variance"] == "false"
    assert "\r" not in text


def test_the_csv_of_a_loss_names_every_number() -> None:
    header, row = csv.reader(
        io.StringIO(formats.csv_table(*rendering.loss_table(loss_of(1.0, 0.0), "pass", 4)).decode())
    )
    assert header == ["status", "aggregate", *number_names()]
    cells = dict(zip(header, row, strict=True))
    assert (cells["loss"], cells["responses"], cells["kl.k1"], cells["coefficients.token_budget"]) == (
        "0.25",
        "2",
        "",
        "",
    )


def test_json_shows_no_terminal_what_it_would_obey_or_hide() -> None:
    hidden = "\x85\x9b\xad\u061c\u200b\u200d\u200e\u2028\u202e\u2060\u2066\ufeff"
    value = {"p\x9b2J": [hidden, "ä€漢😀 \u2019"]}
    for write in (formats.json_document, formats.json_line):
        written = write(value)
        assert json.loads(written) == value
        text = written.decode()
        assert not {*hidden} & {*text}
        assert "ä€漢😀 \u2019" in text
        assert "\\u202e" in text
