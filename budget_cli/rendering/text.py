"""Lines of styled pieces → plain text, or text with colour. The pieces are already safe for a terminal."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Piece(NamedTuple):
    """Some text and the name of a rich style, or "" for none."""

    text: str
    style: str = ""


Line = Sequence[Piece]

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
    | {"░": ".", "▒": ":", "▓": "=", "×": "x"}
)


def plain(lines: Iterable[Line], encoding: str = "utf-8") -> str:
    """The lines without colour; in plain characters where the encoding has no others."""
    text = "".join("".join(piece.text for piece in line).rstrip() + "\n" for line in lines)
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.translate(ASCII).encode(encoding, "backslashreplace").decode(encoding)
    return text


def coloured(lines: Iterable[Line]) -> str:
    """The lines with ANSI colour."""
    from rich.console import Console  # 50 ms, and only a terminal needs it
    from rich.text import Text

    console = Console(force_terminal=True, highlight=False, soft_wrap=True, color_system="standard")
    with console.capture() as capture:
        for line in lines:
            console.print(Text.assemble(*line))
    return capture.get()
