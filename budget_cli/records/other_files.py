"""The first bytes of a source that holds no JSON → what it is instead, as far as it is plain to see. Reads nothing."""

import re

LINES = 20  # that are looked at
SHOWN = 60  # characters of a line
MARKUP = rb"(?i)<(?:!doctype html|html|head|body|!--|\?xml|[a-z]+[ >])"
LEVEL = r"(?:DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|CRITICAL|FATAL)"
TIME = r"\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d|\d\d:\d\d:\d\d"
LOG = rf"^[\[(]?(?:{TIME})|^[\[(]?{LEVEL}\b|^Traceback \(most recent call last\)|^\S* ?[\[(]?(?:{TIME}).*\b{LEVEL}\b"


def described(start: bytes) -> str | None:
    """Say what a source is that begins like this and holds no JSON: a page, a log; None if it is not plain."""
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n")
    if re.match(MARKUP, text):
        html = re.match(rb"(?i)(?:<\?xml[^>]*>\s*)?<(?:!doctype html|html|head|body)", text)
        what = "an HTML page" if html else "XML"
        title = re.search(rb"(?is)<(title|code|message|h1)>\s*([^<]{1,200}?)\s*</", text)
        said = "" if title is None else f" ({_shown(title[2])})"
        return f"{what} in place of the dump{said}, as servers send with an error or a login: download it again"
    lines = [line.decode("utf-8", "replace") for line in text.split(b"\n")[:LINES] if line.strip()]
    if lines and sum(bool(re.search(LOG, line)) for line in lines[:3]) == len(lines[:3]):
        return f"a log, not a dump: its first line is {_shown(lines[0].encode())!r}"
    return None


def _shown(text: bytes) -> str:
    line = " ".join(text.decode("utf-8", "replace").split())
    return line if len(line) <= SHOWN else f"{line[:SHOWN]}…"
