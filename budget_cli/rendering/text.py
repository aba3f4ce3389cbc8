"""Lines of styled pieces → plain text, or text with colour; and the sentences that several answers share.

Every piece is already safe for a terminal.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
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
BARS = "▁▂▃▄▅▆▇█"
MISSING = "–"  # stands for a number that does not exist


class Piece(NamedTuple):
    """Some text and the name of a rich style, or "" for none."""

    text: str
    style: str = ""


Line = Sequence[Piece]

FAIL = Piece("fail      ", "bold red")
PASS = Piece("pass      ", "bold green")
WARNING = Piece("warning   ", "yellow")
INFO = Piece("info      ", "cyan")


def plain(lines: Iterable[Line]) -> str:
    """Return the lines without colour."""
    return "".join("".join(piece.text for piece in line).rstrip() + "\n" for line in lines)


def coloured(lines: Iterable[Line]) -> str:
    """Return the lines with ANSI colour."""
    from rich.console import Console  # 50 ms, and only a terminal needs it
    from rich.text import Text

    # a width of its own, as rich shows nothing at all where COLUMNS is 0; lines are not wrapped whatever it is
    console = Console(force_terminal=True, highlight=False, soft_wrap=True, color_system="standard", width=WIDTH)
    with console.capture() as capture:
        for line in lines:
            console.print(Text.assemble(*line))
    return capture.get()


def figure(value: float | None, precision: int) -> str:
    """Return a number rounded for the screen; a dash if it does not exist."""
    if value is None:
        return MISSING
    return f"{round(value, precision) + 0.0:,.{precision}f}" if abs(value) < 1e12 else f"{value:.{precision}g}"


def coefficients(c: Coefficients, defaults: Collection[str] = ()) -> Line:
    """Return the line of B, β and α; those among `defaults` are said to be what nobody gave."""
    budget = "no budget" if c.token_budget is None else f"B {c.token_budget:,} tokens"
    beta, alpha = (" (default)" if name in defaults else "" for name in ("budget_penalty_coef", "kl_coef"))
    return [Piece(f"{budget}   β {c.budget_penalty_coef:g} per token{beta}   α {c.kl_coef:g}{alpha}", "dim")]


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
        yield [Piece("rejected  ", "red"), Piece(for_terminal(rejection, 240))]
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


def passes(records: Records, gates: Sequence[GateResult] = ()) -> Iterator[Line]:
    """Yield "pass" and what was read."""
    blank = f", {counted(records.blank, 'blank line')}" if records.blank else ""
    summary = f"{counted(records.read, 'record')} read{blank}"
    summary += f", {records.rejected:,} rejected as allowed" if records.rejected else ", none rejected"
    yield [PASS, Piece(summary + gates_hold(gates))]


def failures(reasons: Sequence[Reason], limit: int) -> Iterator[Line]:
    """Yield a line per reason to fail, each cut at `limit` characters."""
    for reason in reasons:
        yield [FAIL, Piece(for_terminal(reason.text, limit))]


def gates_hold(gates: Sequence[GateResult]) -> str:
    """Return the end of a "pass" line that says that the gates hold; "" if there are none."""
    if not gates:
        return ""
    return "; the gate holds" if len(gates) == 1 else f"; all {len(gates)} gates hold"
