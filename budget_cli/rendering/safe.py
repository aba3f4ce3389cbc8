"""Strings of the data → text that is safe for a terminal, a Markdown table or a spreadsheet; text → ASCII."""

import re
import unicodedata

SHOWN = 80  # characters
FORMULA_STARTS = ("=", "+", "-", "@", "＝", "＋", "－", "＠")  # a spreadsheet takes these for the same
FORMULA_AFTER = r"(;\s*)(?=[=+\-@＝＋－＠])"  # where ; separates cells
# what runners obey anywhere in a line: GitHub's ##[command], Azure's ##vso[command], TeamCity's ##teamcity[message];
# GitHub's obeys ::command:: at the start of one, too
COMMAND = r"##(?=\w*\[)"
LINKED = r"(?i)@|://|www\.|:[\w+-]+:|#\d|\bGH-\d"  # by GitHub


ASCII = str.maketrans(
    {
        "β": "beta",
        "α": "alpha",
        "ε": "eps",
        "σ": "sigma",
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
    """Escape control, C1, bidi and zero-width characters, and what runners of CI obey; cut at `limit` characters."""
    shown = "".join(_escaped(c) if unicodedata.category(c) in HIDDEN else c for c in str(text)[: limit + 1])
    shown = without_commands(shown)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def without_commands(line: str) -> str:
    """Escape a character of each text that a runner of CI would take for a command, where a log shows the line."""
    if line.lstrip().startswith("::"):
        line = line.replace("::", ":\\x3a", 1)
    return re.sub(COMMAND, r"#\\x23", line) if "##" in line else line


def end_for_terminal(text: object, limit: int) -> str:
    """Do the same but cut at the front, because paths differ at their ends."""
    shown = for_terminal(text, 4 * limit + 10 * len(str(text)))
    return shown if len(shown) <= limit else "…" + shown[len(shown) - limit + 1 :]


HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def for_csv(value: object) -> object:
    """Keep a spreadsheet from taking a cell, or a part of it, for a formula, and a row on one line.

    Numbers stay numbers.
    """
    if not isinstance(value, str):
        return value
    shown = re.sub(FORMULA_AFTER, r"\1'", for_terminal(value, 10 * len(value) + 10))
    return f"'{shown}" if shown.startswith(FORMULA_STARTS) else shown


def for_markdown(text: object, limit: int = SHOWN) -> str:
    """Keep a cell in its column, and escape its markup; what would become a link, a mention or an emoji is code."""
    shown = for_terminal(text, limit)
    if re.search(LINKED, shown) is None:
        return "".join(f"\\{c}" if c in "\\`*_{}[]<>()#+!|~$&" else c for c in shown)
    shown = shown.replace("|", "\\x7c")  # where a backslash before it could not be told from an escape
    fence = "`" * (1 + max(map(len, re.findall("`+", shown)), default=0))
    return f"{fence} {shown} {fence}" if shown[0] in "` " or shown[-1] in "` " else f"{fence}{shown}{fence}"
