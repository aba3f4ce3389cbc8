"""If this fails, a string of the data can move a cursor, hide text, run a formula or break out of a table."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from budget_cli.rendering.safe import LINKED, end_for_terminal, for_csv, for_markdown, for_terminal

ESCAPED = [
    ("\x1b[31mred", "\\x1b[31mred"),
    ("a\nb\rc\td\0", "a\\x0ab\\x0dc\\x09d\\x00"),
    ("\x7f\x85\x9b", "\\x7f\\x85\\x9b"),
    ("\u202eevil\u202c", "\\u202eevil\\u202c"),
    ("\u2066a\u2069\u200f", "\\u2066a\\u2069\\u200f"),
    ("\u200ba\u200d\ufeff\u2060\u00ad", "\\u200ba\\u200d\\ufeff\\u2060\\xad"),
    ("\u2028\u2029", "\\u2028\\u2029"),
    ("\ud800", "\\ud800"),
    ("\udcff", "\\udcff"),
    ("\ue000", "\\ue000"),
    ("\U000e0041", "\\U000e0041"),
]
KEPT = ["", "p1", "a b", "[/INST] [bold]x[/bold]", "日本 é ß", "😀", "β·e ≤ 3", "a\\x1bb", "\u00a0"]


@pytest.mark.parametrize(("text", "shown"), ESCAPED)
def test_what_a_terminal_would_obey_or_hide_is_shown_as_an_escape(text: str, shown: str) -> None:
    assert for_terminal(text) == shown


@pytest.mark.parametrize("text", KEPT)
def test_visible_characters_are_unchanged(text: str) -> None:
    assert for_terminal(text) == text


@given(st.text(), st.integers(1, 100))
def test_the_end_of_a_name_is_as_safe_and_as_short(text: str, limit: int) -> None:
    whole, shown = for_terminal(text, 10 * len(text) + 10), end_for_terminal(text, limit)
    assert len(shown) <= limit
    assert shown == whole or (shown[0] == "…" and len(shown) == limit and whole.endswith(shown[1:]))


@given(st.text(), st.integers(1, 100))
def test_nothing_hidden_is_left_and_no_more_than_the_limit(text: str, limit: int) -> None:
    shown = for_terminal(text, limit)
    assert len(shown) <= limit
    assert not {unicodedata.category(c) for c in shown} & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("x" * 80, "x" * 80),
        ("x" * 81, "x" * 79 + "…"),
        ("\x1b" * 21, "\\x1b" * 19 + "\\x1…"),
        ("x" * 10**6, "x" * 79 + "…"),
    ],
)
def test_long_text_is_cut_with_a_mark(text: str, shown: str) -> None:
    assert for_terminal(text) == shown


def test_what_is_no_text_is_shown_as_text() -> None:
    assert for_terminal(17) == "17"
    assert for_markdown(-17) == "-17"


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "＝", "＋", "－", "＠"])
def test_a_cell_that_looks_like_a_formula_is_quoted(start: str) -> None:
    assert for_csv(f"{start}1") == f"'{start}1"


CELLS = [
    ("\n=1", "\\x0a=1"),
    ("\t=1", "\\x09=1"),
    ("\r=1", "\\x0d=1"),
    ("\0=1", "\\x00=1"),
    ("x;=1+1", "x;'=1+1"),  # where ; separates cells
    ("x; @SUM(1)", "x; '@SUM(1)"),
    ("a;b", "a;b"),
    ("\x1b]0;t\x07\x9b\u202e", "\\x1b]0;t\\x07\\x9b\\u202e"),
    ("::set-output name=a::b", ":\\x3aset-output name=a::b"),
    ("a\n::stop-commands::t", "a\\x0a::stop-commands::t"),
    ("x ##[error]y", "x #\\x23[error]y"),
    ("x" * 1000, "x" * 1000),
]


@pytest.mark.parametrize(("text", "shown"), CELLS)
def test_a_cell_is_one_line_that_nothing_obeys(text: str, shown: str) -> None:
    assert for_csv(text) == shown


@pytest.mark.parametrize("value", [-1, -1.5, 0, None, "", "p1", "a=b", "1-2", "'=1", " =1"])
def test_numbers_and_other_text_stay_as_they_are(value: object) -> None:
    assert for_csv(value) == value
    assert type(for_csv(value)) is type(value)


MARKDOWN = [
    ("a|b", "a\\|b"),
    ("`rm`", "\\`rm\\`"),
    ("<img src=x>", "\\<img src=x\\>"),
    ("&lt;", "\\&lt;"),
    ("**b** _i_ ~s~", "\\*\\*b\\*\\* \\_i\\_ \\~s\\~"),
    ("[a](x)", "\\[a\\]\\(x\\)"),
    ("![i](x)", "\\!\\[i\\]\\(x\\)"),
    ("a\nb", "a\\\\x0ab"),
    ("\\|", "\\\\\\|"),
    ("$x$ # 1 {y}", "\\$x\\$ \\# 1 \\{y\\}"),
    ("\u202e", "\\\\u202e"),
]


@pytest.mark.parametrize(("text", "shown"), MARKDOWN)
def test_markup_is_shown_not_obeyed(text: str, shown: str) -> None:
    assert for_markdown(text) == shown


CODE = [  # what GitHub makes a link, a mention, an emoji or a reference, even after a backslash
    ("https://evil.example", "`https://evil.example`"),
    ("see www.evil.example", "`see www.evil.example`"),
    ("@octocat", "`@octocat`"),
    ("a@b.example", "`a@b.example`"),
    (":tada: now", "`:tada: now`"),
    ("fixes #12", "`fixes #12`"),
    ("`@a`", "`` `@a` ``"),
    ("@a``b`", "``` @a``b` ```"),
    ("@a|b", "`@a\\x7cb`"),
    (" @a", "`  @a `"),
    ("10:30", "10:30"),
]


@pytest.mark.parametrize(("text", "shown"), CODE)
def test_what_github_would_link_or_notify_is_code(text: str, shown: str) -> None:
    assert for_markdown(text) == shown
    html = MarkdownIt("commonmark").enable("table").render(f"| {for_markdown(text)} | b |\n| --- | --- |\n")
    assert html.count("<th>") == 2
    assert ("<code>" in html) == (shown[0] == "`")
    content = re.search("<th>(?:<code>)?(.*?)(?:</code>)?</th>", html)
    assert content is not None
    assert content[1].replace("\\x7c", "|") == text


COMMANDS = [
    ("::error::x", ":\\x3aerror::x"),
    ("  ::error::x", "  :\\x3aerror::x"),
    ("a::b", "a::b"),
    ("a ##[group]b", "a #\\x23[group]b"),
    ("###[group]", "##\\x23[group]"),
    ("## [x]", "## [x]"),
]


@pytest.mark.parametrize(("text", "shown"), COMMANDS)
def test_what_the_runner_of_github_would_obey_is_escaped(text: str, shown: str) -> None:
    assert for_terminal(text) == shown


@given(st.text().filter(lambda text: re.search(LINKED, for_terminal(text)) is None))
def test_every_character_that_means_something_in_markdown_has_a_backslash(text: str) -> None:
    shown = for_markdown(text)
    plain = ""
    rest = iter(shown)
    for character in rest:
        if character == "\\":
            plain += next(rest)
        else:
            assert character not in "`*_[]<>|"
            plain += character
    assert plain == for_terminal(text)
