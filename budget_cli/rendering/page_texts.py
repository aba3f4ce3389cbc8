"""What prompts and responses say → the part of the page that shows it, folded. Every string of the data is escaped."""

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from budget_cli.analysis.numbers import counted
from budget_cli.analysis.show import ShownResponse
from budget_cli.ids import Key
from budget_cli.rendering.safe import for_terminal
from budget_cli.rendering.text import MISSING, figure

LONGEST = 4_000  # characters of a text in the page


class PromptText(NamedTuple):
    """A prompt that matters: its question, and those of its responses with the largest losses."""

    prompt_id: Key
    responses: int  # all of them
    question: str | None
    shown: Sequence[ShownResponse]


class Texts(NamedTuple):
    """The texts of a page."""

    prompts: Sequence[PromptText] = ()
    why_none: str = ""  # though the input may have some


NO_TEXTS = Texts()


def section(texts: Texts, coefficients: str) -> str:
    """Return the folded texts of each prompt; "" if there is nothing to say.

    Args:
        texts: what to show.
        coefficients: those of the numbers, in words.
    """
    if not texts.prompts:
        return f'<p class="quiet">Texts are left out: {escape(texts.why_none)}.</p>' if texts.why_none else ""
    about = (
        '<p class="quiet">The prompts that findings name, and those with the largest losses, with the responses that'
        f" lose most; numbers with {coefficients}, wherever the sliders are.</p>"
    )
    return about + "".join(_prompt(text, number) for number, text in enumerate(texts.prompts))


def _prompt(text: PromptText, number: int) -> str:
    shown = "" if len(text.shown) == text.responses else f", {len(text.shown)} of them here"
    asked = "" if text.question is None else f"<h3>Prompt</h3><pre>{_text(text.question)}</pre>"
    return (
        f'<details class="text" id="text-{number}"><summary><b>{escape(for_terminal(text.prompt_id, 200))}</b>'
        f" {counted(text.responses, 'response')}{shown}</summary>{asked}{''.join(map(_response, text.shown))}</details>"
    )


def _response(one: ShownResponse) -> str:
    numbers = (
        f"reward {figure(one.reward, 4)}",
        f"length {MISSING if one.length is None else f'{one.length:,.0f}'}",
        f"penalty {figure(one.penalty, 4)}",
        f"advantage {figure(one.advantage, 4)}",
        f"log-ratio {figure(one.log_ratio, 4)}",
        f"loss {figure(one.loss, 4)}",
    )
    said = "<p>no text</p>" if one.text is None else f"<pre>{_text(one.text)}</pre>"
    where = place(one.source, one.line, one.path)
    return f'<h3>{escape(where)}</h3><p class="quiet">{", ".join(numbers)}</p>{said}'


def place(source: str | None, line: int | None, path: str | None) -> str:
    """Return where a response is, as `file:line`; not escaped for HTML."""
    if source is None:
        return ""
    if path is not None:
        return f"{for_terminal(source, 200)}: {for_terminal(path, 200)}"
    return for_terminal(source, 200) + ("" if line is None else f":{line}")


def _text(text: str) -> str:
    """Return a text, shortened in its middle, each line escaped."""
    if len(text) > LONGEST:
        half = LONGEST // 2
        text = f"{text[:half]}\n… {len(text) - 2 * half:,} characters …\n{text[-half:]}"
    return "\n".join(escape(for_terminal(line, 10 * len(line) + 10)) for line in text.split("\n"))
