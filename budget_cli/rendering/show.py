"""Prompts and responses → the screen and JSON. Texts of the data are escaped; ids are whole, to be pasted."""

import shlex
from collections.abc import Iterator
from textwrap import wrap
from typing import Any

from budget_cli.analysis.numbers import counted
from budget_cli.analysis.show import SCHEMA, Shown, ShownPrompt, ShownResponse
from budget_cli.rendering.formats import as_dict, json_document, rounded, utf8, utf8_key
from budget_cli.rendering.safe import for_terminal
from budget_cli.rendering.text import MISSING, Line, Piece, coefficients, figure, objective

SHORT = 480  # characters of a text that is not shown in full
LINES = 10  # of the same
ID = 10_000  # characters of an id


def screen(shown: Shown, precision: int, width: int, full: bool) -> Iterator[Line]:
    """Yield each prompt with its question, and its responses with their numbers and texts."""
    yield [Piece(for_terminal(shown.why, 600), "bold")]
    yield coefficients(shown.coefficients, shown.defaults, shown.objective.has_own_budgets)
    yield from objective(shown.objective.sentence)
    width = max(40, min(width, 120))
    for prompt in shown.prompts:
        yield []
        yield from _prompt(prompt, precision, width, full)
    if shown.keys:
        keys = for_terminal(", ".join(shown.keys), 200)
        yield []
        yield [Piece("no text   ", "yellow"), Piece("give --field response_text=PATH and --field prompt_text=PATH")]
        yield [Piece(f"          (the records have {keys})", "dim")]


def _prompt(prompt: ShownPrompt, precision: int, width: int, full: bool) -> Iterator[Line]:
    numbers = prompt.prompt
    yield [Piece("prompt  ", "dim"), Piece(shlex.quote(for_terminal(numbers.prompt_id, ID)), "bold cyan")]
    share = "" if not numbers.budget_share else f", {numbers.budget_share:.0%} of the advantage from length"
    phantom = ", all of it (phantom)" if numbers.phantom else share
    reward = f"reward {figure(numbers.reward_mean, precision)}"
    spread = "" if numbers.reward_std is None else f" ± {figure(numbers.reward_std, precision)}"
    shown = "" if len(prompt.shown) == numbers.responses else f", {len(prompt.shown)} shown"
    yield [Piece(f"        {counted(numbers.responses, 'response')}{shown}, {reward}{spread}{phantom}", "dim")]
    if prompt.question is not None:
        yield from _text("asked", prompt.question, width, full)
    for response in prompt.shown:
        yield []
        yield from _response(response, precision, width, full)


def _response(one: ShownResponse, precision: int, width: int, full: bool) -> Iterator[Line]:
    where = f":{one.line}" if one.path is None else f": {for_terminal(one.path, 200)}"
    place = f"{for_terminal(one.source, 200)}{where}" + (f" #{one.sample}" if one.sample else "")
    end = "" if one.finish_reason is None else f"   {for_terminal(one.finish_reason, 20)}"
    yield [Piece("  > " if one.marked else "    ", "yellow"), Piece(place, "bold"), Piece(end, "dim")]
    over = "" if not one.excess else f" ({one.excess:,.0f} over)"
    numbers = (
        f"reward {figure(one.reward, precision)}",
        f"length {MISSING if one.length is None else f'{one.length:,.0f}'}{over}",
        f"penalty {figure(one.penalty, precision)}",
        f"advantage {figure(one.advantage, precision)}",
        f"log-ratio {figure(one.log_ratio, precision)}",
        f"loss {figure(one.loss, precision)}",
    )
    for line in wrap(
        "   ".join(each.replace(" ", "\0") for each in numbers),
        width - 8,
        break_long_words=False,
        break_on_hyphens=False,
    ):
        yield [Piece(" " * 8 + line.replace("\0", " "))]
    for whose, worst in (("", one.worst_tokens), (" to the sampler", one.worst_tokens_of_sampler)):
        if worst:
            tokens = ", ".join(f"{t.position}: {t.log_ratio:+.3g}" for t in worst)
            yield [Piece(f"        worst tokens by log-ratio{whose}, from 0: {tokens}", "dim")]
    if one.text is not None:
        yield from _text("", one.text, width, full)


def _text(label: str, text: str, width: int, full: bool) -> Iterator[Line]:
    """Yield the lines of a text, escaped; shortened in its middle unless all of it is wanted."""
    lines = [
        part
        for line in (text if full else _shortened(text)).split("\n")
        for part in wrap(for_terminal(line, 10 * len(line) + 10), width - 8, drop_whitespace=False) or [""]
    ]
    if not full and len(lines) > LINES:
        left = len(lines) - LINES + 1
        lines = [*lines[: LINES // 2], f"… {left:,} lines …", *lines[-(LINES - LINES // 2 - 1) :]]
    for number, line in enumerate(lines):
        yield [Piece(f"{label if number == 0 else '':<8}", "dim"), Piece(line)]


def _shortened(text: str) -> str:
    if len(text) <= SHORT:
        return text
    half = SHORT // 2
    return f"{text[:half]} … {len(text) - 2 * half:,} characters … {text[-half:]}"


def json(shown: Shown, precision: int) -> bytes:
    """Return one JSON object; texts are whole."""
    return json_document(
        {
            "schema": SCHEMA,
            "what": utf8(shown.why),
            "coefficients": as_dict(shown.coefficients),
            "objective": as_dict(shown.objective),
            "prompts": [_prompt_dict(prompt, precision) for prompt in shown.prompts],
        }
    )


def _prompt_dict(prompt: ShownPrompt, precision: int) -> dict[str, Any]:
    numbers = rounded(as_dict(prompt.prompt), precision)
    return {
        **numbers,
        "prompt_id": utf8_key(prompt.prompt.prompt_id),
        "question": None if prompt.question is None else utf8(prompt.question),
        "shown": [_response_dict(one, precision) for one in prompt.shown],
    }


def _response_dict(one: ShownResponse, precision: int) -> dict[str, Any]:
    tokens, of_sampler = (
        [rounded(as_dict(token), precision) for token in worst]
        for worst in (one.worst_tokens, one.worst_tokens_of_sampler)
    )
    for token in of_sampler:
        token["sampler_log_prob"] = token.pop("old_log_prob")
    text = None if one.text is None else utf8(one.text)
    body: dict[str, Any] = rounded(as_dict(one._replace(worst_tokens=(), worst_tokens_of_sampler=())), precision)
    tokens_of_both = {"worst_tokens": tokens, "worst_tokens_of_sampler": of_sampler}
    return body | {"source": utf8(one.source), "text": text, **tokens_of_both}
