"""If this fails, the screen wraps, shows codes where nobody draws colour, or says something else than the numbers."""

import random
import re
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import Result

from budget_cli.rendering import text

Show = Callable[..., Result]
Make = Callable[..., dict[str, Any]]

ANSI = re.compile(r"\x1b\[[0-9;]*m")


def dump(response: Make, count: int, id_length: int = 12) -> list[dict[str, Any]]:
    """Responses of 9 prompts, six of which were never solved, of up to 40,000 tokens."""
    chance = random.Random(count)
    records = []
    for number in range(count):
        length = chance.randrange(40_000)
        log_prob = -0.3 * length
        records.append(
            response(
                prompt_id=f"{number % 9:0{id_length}d}",
                response_length=length,
                reward=0.0 if number % 9 < 6 else chance.choice([-1, 0, 0.5, 1]),
                log_prob=log_prob,
                old_log_prob=log_prob + chance.gauss(0, 5),
            )
        )
    return records


@pytest.mark.exhaustive
@pytest.mark.parametrize("columns", [None, "80", "60", "0", "wide"])
@pytest.mark.parametrize("id_length", [1, 12, 60])
@pytest.mark.parametrize("more", [(), ("--per-prompt",), ("--aggregate", "prompt"), ("--kl-coef", "0")])
def test_no_line_is_wider_than_80_characters(
    show: Show, response: Make, columns: str | None, id_length: int, more: tuple[str, ...]
) -> None:
    done = show(dump(response, 300, id_length=id_length), "-B", "16384", *more, COLUMNS=columns)
    assert done.exit_code == 0, done.output
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_a_wider_terminal_gets_a_finer_histogram_and_no_more(show: Show, response: Make) -> None:
    def bars(columns: str) -> str:
        (line,) = [
            line for line in show(dump(response, 300), "-B", "9000", COLUMNS=columns).stdout.splitlines() if "│" in line
        ]
        return line

    assert len(bars("80")) < len(bars("120")) <= 120
    assert bars("120") == bars("400")


def test_a_pipe_gets_no_colour_and_no_trailing_spaces(show: Show, response: Make) -> None:
    out = show(dump(response, 50), "-B", "99", "--per-prompt").stdout
    assert "\x1b" not in out
    assert not [line for line in out.splitlines() if line != line.rstrip()]
    assert out.endswith("\n")


@pytest.mark.parametrize(
    ("settings", "colour"),
    [
        ({}, False),
        ({"FORCE_COLOR": "1"}, True),
        ({"FORCE_COLOR": ""}, False),
        ({"NO_COLOR": "1"}, False),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
        ({"NO_COLOR": "", "FORCE_COLOR": "1"}, True),
    ],
)
def test_colour_is_asked_for_by_the_usual_variables(
    show: Show, response: Make, settings: dict[str, str], colour: bool
) -> None:
    records = dump(response, 50)
    out = show(records, "-B", "99", **settings).stdout
    assert ("\x1b[" in out) is colour
    without = [line.rstrip() for line in ANSI.sub("", out).splitlines()]
    assert without == show(records, "-B", "99").stdout.splitlines()


def test_an_encoding_without_the_signs_gets_plain_ones(show: Show, response: Make) -> None:
    records = [*dump(response, 50), response(prompt_id="é日😀", response_length=1)]
    out = show(records, "-B", "99", "--per-prompt", charset="ascii").stdout_bytes
    assert out.isascii()
    assert b"B 99 tokens   beta 0.01 per token (default)   alpha 0.1 (default)\n" in out
    assert b"mean A^2 " in out
    assert b" +/- " in out
    assert b"\\xe9\\u65e5\\U0001f600 " in out
    assert b"| budget" in out


def test_rich_markup_in_an_id_is_text(show: Show, response: Make) -> None:
    for settings in ({}, {"FORCE_COLOR": "1"}):
        records = [response(prompt_id="[/INST][red]", response_length=length) for length in (1, 500)]
        done = show(records, "-B", "99", "--per-prompt", **settings)
        assert done.exit_code == 0, done.output
        assert ANSI.sub("", done.stdout).count("[/INST][red]") == 2  # in the warning and in its row


COUNTS = [  # records, arguments, what must be said
    (["one"], (), "     1 response, 1 prompt\n"),
    (["one", "two"], (), "     2 responses, 2 prompts\n"),
    (["one"], (), "\nwarning   1 prompt with a single response, whose advantage is 0\n"),
    (["one", "two"], (), "\nwarning   2 prompts with a single response, whose advantage is 0\n"),
    (["one"], (), "\npass      read completely: 1 record, none rejected; 1 warning\n"),
    (["one", "two"], (), "\npass      read completely: 2 records, none rejected; 1 warning\n"),
    (["one", "one"], (), "\npass      read completely: 2 records, none rejected\n"),
    (["one", "one"], (), "\ninfo      1 of 1 prompt with zero variance: all rewards equal\n"),
    (["one", "one", "two"], (), "\ninfo      1 of 2 prompts with zero variance: all rewards equal\n"),
    (["one", "long"], (), "\nwarning   1 prompt gets an advantage from length alone (phantom): one\n"),
    (
        ["one", "long", "two", "two long"],
        (),
        "\nwarning   2 prompts get an advantage from length alone (phantom): one, two\n",
    ),
    (["one"], ("--fail-if", "loss > 9"), "none rejected; the gate holds; 1 warning\n"),
    (["one"], ("--fail-if", "loss > 9", "--fail-if", "loss > 8"), "none rejected; all 2 gates hold; 1 warning\n"),
    (
        ["one", "bad"],
        ("--max-errors", "1"),
        "\npass      read completely: 2 records, 1 rejected as allowed; 1 warning\n",
    ),
    (["one", "bad"], (), "\nfail      1 record of 2 rejected\n"),
    (["bad", "bad"], (), "\nfail      2 records of 2 rejected\n"),
    ([], (), "\nfail      no records at all"),
    (["bad"], (), "\nfail      no record could be used"),
    (["one", "one"], (), "\n  group size       2 each\n"),
    (["one", "one", "two"], (), "\n  group size       1 to 2, mean 1.5\n"),
    (["one"], (), "\n  over budget      0 of 1 (0.0%)\n"),
    (["long", "one"], (), "\n  over budget      1 of 2 (50.0%)   501 excess tokens, 501 each\n"),
]


@pytest.mark.parametrize(("records", "arguments", "wanted"), COUNTS)
def test_counts_and_nouns_agree(
    show: Show, response: Make, records: list[str], arguments: tuple[str, ...], wanted: str
) -> None:
    made = {
        "one": response(prompt_id="one"),
        "two": response(prompt_id="two"),
        "bad": response(reward=None),
        "long": response(prompt_id="one", response_length=1500),
        "two long": response(prompt_id="two", response_length=1500),
    }
    done = show([made[name] for name in records], "-B", "999", *arguments)
    assert wanted in done.stdout


def test_phantom_prompts_are_named_as_far_as_there_is_room(show: Show, response: Make) -> None:
    def warning(*ids: str) -> str:
        records = [response(prompt_id=one, response_length=length) for one in ids for length in (1, 500)]
        (line,) = [line for line in show(records, "-B", "9").stdout.splitlines() if line.startswith("warning")]
        return line.partition("(phantom)")[2]

    assert warning("p07", "p11", "p12") == ": p07, p11, p12"
    assert warning("p1", "p2", "p3", "p4", "p5").endswith(", …")
    assert warning("x" * 50, "p2") in ("", ": " + "x" * 12)
    assert warning("a" * 9, "b" * 9) == ": aaaaaaaaa, …"


def test_what_does_not_exist_is_a_dash_or_left_out(show: Show) -> None:
    out = show([{"prompt_id": 1, "reward": 1}], "--beta", "0", "--alpha", "0").stdout
    assert "no budget   β 0 per token   α 0\n" in out
    for name in ("over budget", "log-ratio", "length", "adjusted reward", "nan", "None"):
        assert name not in out


def test_numbers_that_only_some_responses_have_are_counted_and_not_averaged(show: Show, response: Make) -> None:
    out = show([response(), {"prompt_id": 1, "reward": 1}], "--beta", "0", "--alpha", "0").stdout
    assert "  length           known for 1 of 2 responses, so not shown\n" in out
    assert "  log-ratio        known for 1 of 2 responses, so not shown\n" in out


def test_no_number_is_shown_as_minus_zero(show: Show, response: Make) -> None:
    records = [response(log_prob=-1.0, old_log_prob=-1.0 + 1e-9, reward=reward) for reward in (-1e-9, 0.0)]
    assert not re.search(r"-0\.0*(?![0-9])", show(records, "-B", "999").stdout)


def test_every_colour_can_be_read_on_white_and_on_black() -> None:
    def luminance(red: float, green: float, blue: float) -> float:
        parts = [c / 255 / 12.92 if c <= 10.3 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in (red, green, blue)]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    levels = (0, 95, 135, 175, 215, 255)  # of the cube of 256 colours, as in xterm
    for number in text.COLOURS.values():
        cube = number - 16
        grey = 8 + 10 * (number - 232)
        rgb = (grey,) * 3 if number >= 232 else (levels[cube // 36], levels[cube // 6 % 6], levels[cube % 6])
        light = luminance(*rgb)
        assert (1 + 0.05) / (light + 0.05) >= 4.5
        assert (light + 0.05) / 0.05 >= 4.5


@pytest.mark.parametrize("command", [("loss",), ("loss", "--per-prompt"), ("check",), ("check", "-v")])
def test_no_colour_but_those_is_used(show: Show, response: Make, command: tuple[str, ...]) -> None:
    records = [*dump(response, 300), response(reward=None)]
    out = show(records, "-B", "9000", *command[1:], command=command[0], FORCE_COLOR="1").stdout
    used = set(re.findall(r"\x1b\[([0-9;]*)m", out)) - {"0", "1"}
    assert used
    assert used <= {f"{bold}38;5;{number}" for number in text.COLOURS.values() for bold in ("", "1;")}


@pytest.mark.parametrize("warns", [False, True])
def test_a_pass_is_green_only_without_warnings(show: Show, response: Make, warns: bool) -> None:
    records = [response(reward=reward, prompt_id="p" if i < 2 else "q") for i, reward in enumerate([1, 0, 1, 0])]
    out = show(records[: 3 if warns else 4], "-B", "999", FORCE_COLOR="1").stdout
    assert (f"\x1b[1;38;5;{text.COLOURS['green']}mpass " in out) is not warns
    assert ("; 1 warning\n" in out) is warns


@pytest.mark.parametrize("columns", ["60", "80", "120"])
@pytest.mark.parametrize("command", ["loss", "check"])
def test_nothing_is_broken_within_a_word_or_cut_on_a_narrow_terminal(
    show: Show, response: Make, command: str, columns: str
) -> None:
    more = ("--per-prompt",) if command == "loss" else ()
    records = dump(response, 300)
    budget = ("-B", "16384", "--beta", "0.0001")
    narrow = show(records, *budget, *more, command=command, COLUMNS=columns).stdout
    whole = show(records, *budget, *more, command=command).stdout
    lines = narrow.splitlines()
    place = ("show      ", "explain   ")  # to be pasted
    assert max(len(line) for line in lines if not line.startswith(place) and ".jsonl:" not in line) <= int(columns)

    def words(text: str) -> set[str]:
        return set(re.findall(r"[^ \n▁-█│*]+", text)) - {"phantom", "phantom:", "an"}

    assert words(whole) - words(narrow) == set()
