"""Strings of the data → text that is safe for a terminal, a Markdown table or a spreadsheet; text → ASCII."""

import unicodedata

SHOWN = 80  # characters
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\0")


ASCII = str.maketrans(
    {
        "β": "beta",
        "α": "alpha",
        "²": "^2",
        "±": "+/-",
        "…": "...",
        "│": "|",
        "·": "*",
        "≤": "<=",
        "←": "<-",
        "—": "-",
        "–": "-",
    }
    | dict(zip("▁▂▃▄▅▆▇█", "..::==##", strict=True))
    | {"→": "->", "Σ": "sum", "−": "-", "░": ".", "▒": ":", "▓": "=", "×": "x"}
)


def spelled(text: str, encoding: str) -> str:
    """Return the text as it is, or in ASCII if the encoding cannot express it."""
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.translate(ASCII).encode("ascii", "backslashreplace").decode()
    return text


def for_terminal(text: object, limit: int = SHOWN) -> str:
    """Escape control, C1, bidi and zero-width characters, and cut the text at `limit` characters."""
    shown = "".join(_escaped(c) if unicodedata.category(c) in HIDDEN else c for c in str(text)[: limit + 1])
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def end_for_terminal(text: object, limit: int) -> str:
    """Do the same but cut at the front, because paths differ at their ends."""
    shown = for_terminal(text, 4 * limit + 10 * len(str(text)))
    return shown if len(shown) <= limit else "…" + shown[len(shown) - limit + 1 :]


HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def for_csv(value: object) -> object:
    """Keep a spreadsheet from taking a cell for a formula; numbers stay numbers."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA_STARTS) else value


def for_markdown(text: object, limit: int = SHOWN) -> str:
    """Keep a cell in its column, and escape its markup."""
    shown = for_terminal(text, limit)
    return "".join(f"\\{c}" if c in "\\`*_{}[]<>()#+!|~$&" else c for c in shown)
