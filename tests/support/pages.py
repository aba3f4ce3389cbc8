"""The pages of the documentation."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def fenced(page: str, language: str) -> list[str]:
    """The contents of the page's blocks in this language."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
