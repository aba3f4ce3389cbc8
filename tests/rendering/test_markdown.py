"""If this fails, a pull request shows a broken table, or the data writes its own markup into it."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import Result

from budget_cli.rendering.safe import for_terminal

Show = Callable[..., Result]
Make = Callable[..., dict[str, Any]]

IDS = [
    "a|b",
    "`code`",
    "<img src=x onerror=alert(1)>",
    "[x](http://y)",
    "line\nbreak",
    "\\",
    "\\|",
    "**b**",
    "\u202e",
    "| --- |",
]


def cells(line: str) -> list[str]:
    """The cells of a row, as a Markdown reader splits it: at bars that have no backslash."""
    assert line.startswith("| ")
    assert line.endswith(" |")
    return [cell.strip() for cell in re.split(r"(?<!\\)(?:\\\\)*\|", line)[1:-1]]


@pytest.mark.parametrize("one", IDS)
def test_an_id_stays_in_its_cell_and_brings_no_markup(show: Show, response: Make, one: str) -> None:
    out = show([response(prompt_id=one), response(prompt_id=2)], "-B", "9", "--per-prompt", "-f", "markdown").stdout
    header, rule, first, second = out.splitlines()
    assert len(cells(header)) == len(cells(rule)) == len(cells(first)) == len(cells(second))
    assert set(cells(rule)) == {"---"}
    shown = first[2 : first.index(" | 1 | ")]
    if shown.startswith("`"):  # what would become a link is code
        assert shown.strip("`") == for_terminal(one)
        return
    assert re.sub(r"\\(.)", r"\1", shown) == for_terminal(one)
    assert not re.search(r"(?<!\\)(?:\\\\)*[|`*<>\[\]]", shown)


def test_every_number_has_a_row_and_what_does_not_exist_an_empty_cell(show: Show) -> None:
    out = show([{"prompt_id": 1, "reward": 1}], "--beta", "0", "--alpha", "0", "-f", "markdown").stdout
    lines = out.splitlines()
    assert lines[:2] == ["Nothing can be learned: the only prompt has a single response.", ""]
    assert lines[2:5] == ["| number | value |", "| --- | --- |", "| status | pass |"]
    assert "| loss | 0.0 |" in lines
    assert "| kl.k1 |  |" in lines
    assert "| over\\_budget.fraction |  |" in lines
    assert "None" not in out
    assert "nan" not in out


def test_gates_have_a_table_of_their_own(show: Show, response: Make) -> None:
    done = show([response()], "-B", "9", "-f", "markdown", "--fail-if", "loss > 5", "--fail-if", "responses == 1")
    assert done.exit_code == 1
    assert "| status | fail |\n" in done.stdout
    first, second = done.stdout.splitlines()[-2:]
    assert re.fullmatch(r"\| loss \\> 5 \| 0\.\d+ \| pass \|", first)
    assert second == "| responses == 1 | 1 | fail |"
