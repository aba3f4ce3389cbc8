"""Strings of the data → what may reach a terminal, a Markdown table or a spreadsheet."""

import unicodedata

SHOWN = 80  # characters
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\0")


def for_terminal(text: object, limit: int = SHOWN) -> str:
    """`text` with control, C1, bidi and zero-width characters as escapes, cut at `limit` characters."""
    shown = "".join(_escaped(c) if unicodedata.category(c) in HIDDEN else c for c in str(text)[: limit + 1])
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def end_for_terminal(text: object, limit: int) -> str:
    """The same, cut at the front: the end of a path tells it from its neighbours."""
    shown = for_terminal(text, 4 * limit + 10 * len(str(text)))
    return shown if len(shown) <= limit else "…" + shown[len(shown) - limit + 1 :]


HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def for_csv(value: object) -> object:
    """A cell that no spreadsheet takes for a formula; numbers stay numbers."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA_STARTS) else value


def for_markdown(text: object, limit: int = SHOWN) -> str:
    """A cell that stays in its column and brings no markup along."""
    shown = for_terminal(text, limit)
    return "".join(f"\\{c}" if c in "\\`*_{}[]<>()#+!|~$&" else c for c in shown)
