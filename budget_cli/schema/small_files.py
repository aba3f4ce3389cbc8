"""A path → the bytes of a small file, and TOML → its table: settings and presets, which may come from a stranger.

A checkout may hold anything under the name of such a file: a pipe, a device, a gigabyte. Knows no settings.
"""

import errno
import os
import re
import stat
from typing import Any

from budget_cli.errors import UsageProblem

MOST_BYTES = 1 << 20
SHOWN = 80  # characters of a value in a message
MOST_PARTS = 64  # of a dotted key, which tomllib takes quadratic time for
# searched for only where a part begins: from every character, it would take quadratic time on a long one
LONG_KEY = rf"(?<![\w\"'-])(?:[\w\"'-]+[ \t]*\.[ \t]*){{{MOST_PARTS}}}"


def read(path: str, most: int = MOST_BYTES) -> bytes:
    """Read a whole file.

    Raises:
        OSError: it cannot be read, is no regular file, or has more than `most` bytes.
    """

    def open_without_waiting(path: str, flags: int) -> int:
        return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # a pipe would wait for its writer

    with open(path, "rb", opener=open_without_waiting) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", path)
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"larger than {most:,} bytes", path)
    return content


def parse_toml(content: bytes) -> dict[str, Any]:
    """Parse TOML.

    Raises:
        ValueError: the text is not TOML, or has a key or a nesting that no settings need.
    """
    import tomllib  # 2.3 ms, which a run without such a file does not need

    text = content.decode()
    if re.search(LONG_KEY, text):
        raise ValueError(f"a key of more than {MOST_PARTS} parts")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def table(option: str, path: str) -> dict[str, Any]:
    """Read a file of TOML that an option names.

    Raises:
        UsageProblem: it cannot be read, or is not TOML.
    """
    try:
        return parse_toml(read(path))
    except OSError as error:
        raise UsageProblem(f"{option} {path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise UsageProblem(f"{option} {path}: not TOML: {error}") from None


def shown(value: Any) -> str:
    """Write a value for a message, as TOML where that differs from Python, and shortened."""
    if isinstance(value, bool):
        return str(value).lower()
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # Python writes no integer of thousands of digits
        return "a value that cannot be shown"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
