"""If this fails, a screen is broken within a number or runs out of a terminal of 60 columns."""

import re
from pathlib import Path

import pytest
from command import Run

from budget_cli.rendering.text import WHOLE, Line, Piece, fitted

ROOT = Path(__file__).parents[2]
SAMPLE, STEPS = "sample_data/rollouts.jsonl", "sample_data/steps"  # from there: a path of this machine may have digits
B = ("-B", "1024")
SCREENS: list[tuple[str, ...]] = [
    ("loss", SAMPLE, *B),
    ("loss", SAMPLE, *B, "--per-prompt", "--aggregate", "prompt"),
    ("loss", STEPS, *B, "--by", "step"),
    ("loss", STEPS, *B, "--by", "file", "--fail-if", "loss > 0.3", "--each"),
    ("check", STEPS, *B, "--by", "step"),
    ("check", SAMPLE, "-v"),
    ("sweep", SAMPLE, "-B", "512,1024"),
    ("sweep", SAMPLE, "-B", "512,1024,1280", "--beta", "0,0.001:0.1:log3"),
    ("sweep", STEPS, "-B", "512,1024,1280", "--by", "step"),
    ("sweep", SAMPLE, "--suggest"),
    ("compare", f"{STEPS}/41.jsonl", f"{STEPS}/42.jsonl", *B),
    ("compare", STEPS, STEPS, *B, "--by", "step"),
    ("show", SAMPLE, *B, "--top", "2"),
    ("fields", SAMPLE),
    ("fields", "tests/trainer/own_names.jsonl"),
]
PLACES = re.compile(r"^(show  |explain  |budget-cli )|\.jsonl|^/")  # to be pasted, or a path of this machine


@pytest.mark.parametrize("columns", ["60", "70", "80", "120"])
@pytest.mark.parametrize("command", SCREENS, ids=" ".join)
def test_a_screen_fits_the_terminal_and_keeps_its_numbers_whole(
    budget_cli: Run, command: tuple[str, ...], columns: str
) -> None:
    whole = budget_cli(*command, cwd=ROOT).stdout.decode()
    lines = budget_cli(*command, cwd=ROOT, COLUMNS=columns).stdout.decode().splitlines()
    assert [line for line in lines if len(line) > int(columns) and not PLACES.search(line)] == []
    shown = set(re.findall(r"[\d.,%+-]*\d[\d.,%+-]*", "\n".join(lines)))
    numbers = set(re.findall(r"[\d.,%+-]*\d[\d.,%+-]*", whole))
    if "--by" not in command or columns in ("80", "120"):  # without k1
        assert numbers - shown == set()


def line(*pieces: str) -> Line:
    return [Piece(piece) for piece in pieces]


BROKEN: list[tuple[Line, list[str]]] = [
    (line("short"), ["short"]),
    # between parts rather than within one, and below what was beside the label
    (line("  label   ", "one two" * 3 + "   " + "x" * 30), ["  label   " + "one two" * 3, " " * 10 + "x" * 30]),
    (line("warning   ", "word " * 20), ["warning   " + " ".join(["word"] * 10), " " * 10 + " ".join(["word"] * 10)]),
    # no word is broken, however long
    (line("x" * 100), ["x" * 100]),
    (line("a " + "x" * 100 + " b"), ["a " + "x" * 100 + " b"]),
    ([Piece("rejected  "), Piece("word " * 20, WHOLE)], ["rejected  " + "word " * 20]),
    (line("a" * 59 + " b c"), ["a" * 59, "    b c"]),
    (line(""), [""]),
    ([], [""]),
]


@pytest.mark.parametrize(("given", "shown"), BROKEN)
def test_a_line_is_broken_between_its_parts(given: Line, shown: list[str]) -> None:
    lines = ["".join(piece.text for piece in one) for one in fitted([given], 60)]
    assert [one.rstrip() for one in lines] == [one.rstrip() for one in shown]


def test_what_is_broken_keeps_its_styles() -> None:
    given = [Piece("warning   ", "yellow"), Piece("a" * 40, "bold"), Piece("   "), Piece("b" * 40, "dim")]
    first, second = fitted([given], 60)
    assert list(first) == [Piece("warning   ", "yellow"), Piece("a" * 40, "bold")]
    assert list(second) == [Piece(" " * 10), Piece("b" * 40, "dim")]


@pytest.mark.parametrize("columns", ["1", "59"])
def test_no_screen_is_narrower_than_60(budget_cli: Run, columns: str) -> None:
    shown = [budget_cli("loss", SAMPLE, *B, cwd=ROOT, COLUMNS=width).stdout for width in (columns, "60")]
    assert shown[0] == shown[1]
