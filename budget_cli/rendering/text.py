"""Lines of styled pieces → plain text, or text with colour; and the sentences that several answers share.

Every piece is already safe for a terminal.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from textwrap import wrap
from typing import NamedTuple

from budget_cli.analysis.gates import GateResult
from budget_cli.analysis.left_out import described
from budget_cli.analysis.loss import Coefficients, Records
from budget_cli.analysis.numbers import counted
from budget_cli.analysis.verdict import Reason
from budget_cli.ids import Key
from budget_cli.records.columns import LISTED, Rejection
from budget_cli.rendering.safe import for_terminal

WIDTH = 80  # characters
WHOLE = "whole"  # style of what is never broken
NARROW = 60  # the narrowest terminal that a screen is made for
BARS = "▁▂▃▄▅▆▇█"
MISSING = "–"  # stands for a number that does not exist


class Piece(NamedTuple):
    """Some text and the name of a rich style, or "" for none."""

    text: str
    style: str = ""


Line = Sequence[Piece]

FAIL = Piece("fail      ", "bold red")
PASS = Piece("pass      ", "bold green")
PASS_AND_WARN = Piece("pass      ", "bold")  # not green beside warnings
WARNING = Piece("warning   ", "yellow")
INFO = Piece("info      ", "cyan")


# Of the 256 colours of a terminal, those whose contrast is 4.5 or more on white and on black. None of the first 16 is
# such, whose looks differ from terminal to terminal: its yellow is 1.1 to 5.2 on white, its red 2.4 to 4.1 on black.
COLOURS = {"red": 131, "yellow": 163, "green": 29, "cyan": 63, "dim": 243}


def room_for(columns: int) -> int:
    """Return how wide a screen is drawn on a terminal of so many columns."""
    return max(NARROW, min(columns, WIDTH))


def in_bold(sentence: str, width: int) -> Iterator[Line]:
    """Yield the lines of a sentence, none of which ends in a symbol that belongs to the number after it."""
    for line in wrap(sentence.replace("β ", "β\0"), width, break_on_hyphens=False):
        yield [Piece(line.replace("\0", " "), "bold")]


def fitted(lines: Iterable[Line], width: int) -> Iterator[Line]:
    """Break lines that are wider, between their parts if possible, and indent what follows as the text before it.

    A line with a piece of the style `whole`, which somebody may paste or search for, is not broken.
    """
    width = max(width, NARROW)
    for line in lines:
        while sum(len(piece.text) for piece in line) > width and all(piece.style != WHOLE for piece in line):
            text = "".join(piece.text for piece in line)
            first = line[0].text
            margin = len(first) - len(first.lstrip()) + 4
            if len(line) > 1 and first.endswith("  ") and len(first) <= width // 2:
                margin = len(first)
            end = text.rfind("   ", margin, width + 3)
            if end <= margin or not text[:end].strip():
                end = text.rfind(" ", margin, width + 1)
            if end <= margin or not text[margin:end].strip():
                break
            yield _part(line, 0, end)
            rest = end + len(text[end:]) - len(text[end:].lstrip())
            line = [Piece(" " * margin), *_part(line, rest, len(text))]
        yield line


def _part(line: Line, start: int, end: int) -> list[Piece]:
    """Return the pieces of a line from one character to another."""
    part, at = [], 0
    for piece in line:
        text = piece.text[max(start - at, 0) : max(end - at, 0)]
        if text:
            part.append(Piece(text, piece.style))
        at += len(piece.text)
    return part


def plain(lines: Iterable[Line]) -> str:
    """Return the lines without colour."""
    return "".join("".join(piece.text for piece in line).rstrip() + "\n" for line in lines)


def coloured(lines: Iterable[Line]) -> str:
    """Return the lines with ANSI colour."""
    from rich.console import Console  # 50 ms, and only a terminal needs it
    from rich.text import Text

    # a width of its own, as rich shows nothing at all where COLUMNS is 0; lines are not wrapped whatever it is
    console = Console(force_terminal=True, highlight=False, soft_wrap=True, color_system="256", width=WIDTH)
    with console.capture() as capture:
        for line in lines:
            console.print(Text.assemble(*((piece.text, _colour(piece.style)) for piece in line)))
    return capture.get()


def _colour(style: str) -> str:
    """Return a style as rich has it, in colours that can be read on white and on black."""
    words = (f"color({COLOURS[word]})" if word in COLOURS else word for word in style.split() if word != WHOLE)
    return " ".join(words)


def figure(value: float | None, precision: int) -> str:
    """Return a number rounded for the screen; a dash if it does not exist."""
    if value is None:
        return MISSING
    return f"{round(value, precision) + 0.0:,.{precision}f}" if abs(value) < 1e12 else f"{value:.{precision}g}"


def coefficients(c: Coefficients, defaults: Collection[str] = (), has_own_budgets: bool = False) -> Line:
    """Return the line of B, β and α; those among `defaults` are said to be what nobody gave."""
    budget = "B of each record" if has_own_budgets else "no budget"
    if c.token_budget is not None:
        budget = f"B {c.token_budget:,} tokens"
    beta, alpha = (" (default)" if name in defaults else "" for name in ("budget_penalty_coef", "kl_coef"))
    return [Piece(f"{budget}   β {c.budget_penalty_coef:g} per token{beta}   α {c.kl_coef:g}{alpha}", "dim")]


def objective(sentence: str) -> Iterator[Line]:
    """Yield the line that says which objective it is."""
    yield [Piece(for_terminal(sentence, 400), "dim")]


def listed(ids: Sequence[Key], total: int, room: int) -> str:
    """Return `: p07, p11, …` in at most `room` characters, with as many ids as fit; "" if none does."""
    text = ""
    for shown, key in enumerate(ids, start=1):
        longer = text + (", " if text else ": ") + for_terminal(key, 20)
        if len(longer) + (3 if shown < total else 0) > room:
            return f"{text}, …" if text else ""
        text = longer
    return f"{text}, …" if text and len(ids) < total else text


def rejected(rejections: Sequence[Rejection], total: int) -> Iterator[Line]:
    """Yield the location and reason of each of the first rejected records; `total` counts all of them."""
    for rejection in rejections:
        yield [Piece("rejected  ", "red"), Piece(for_terminal(rejection, 240), WHOLE)]
    if rejections and total > len(rejections):
        hint = how_to_list(len(rejections), total)
        yield [Piece(f"          and {total - len(rejections):,} more{hint}", "dim")]


def how_to_list(shown: int, total: int) -> str:
    """Return ` (-v shows all)`, or how many it shows at most; "" if these are as many."""
    most = LISTED.first or 0
    return f" (-v shows {'all' if total <= most else f'{most:,}'})" if shown < most else ""


def left_out(reasons: Mapping[str, int]) -> Iterator[Line]:
    """Yield a line on the samples that are left out, by reason, with the option that uses them."""
    if reasons:
        yield [Piece("left out  ", "cyan"), Piece(for_terminal(described(reasons), 240))]


def passes(records: Records, gates: Sequence[GateResult] = (), warnings: int = 0, others: int = 0) -> Iterator[Line]:
    """Yield "pass" and what it means: that all was read, that gates hold, and in spite of how many warnings.

    Args:
        records: what was read.
        gates: their results.
        warnings: number of warnings on the screen.
        others: of those on standard error.
    """
    blank = f" and {counted(records.blank, 'blank line')}" if records.blank else ""
    rejected = f"{records.rejected:,} rejected as allowed" if records.rejected else "none rejected"
    summary = f"read completely: {counted(records.read, 'record')}{blank}, {rejected}"
    yield passed(summary + gates_hold(gates), warnings, others)


def passed(summary: str, warnings: int = 0, others: int = 0) -> Line:
    """Return a "pass" line; it is not green beside warnings, those on the screen or others."""
    return [
        PASS_AND_WARN if warnings or others else PASS,
        Piece(summary + (f"; {counted(warnings, 'warning')}" if warnings else "")),
    ]


def failures(reasons: Sequence[Reason], limit: int) -> Iterator[Line]:
    """Yield a line per reason to fail, each cut at `limit` characters."""
    for reason in reasons:
        yield [FAIL, Piece(for_terminal(reason.text, limit))]


def gates_hold(gates: Sequence[GateResult]) -> str:
    """Return the end of a "pass" line that says that the gates hold; "" if there are none."""
    if not gates:
        return ""
    return "; the gate holds" if len(gates) == 1 else f"; all {len(gates)} gates hold"
