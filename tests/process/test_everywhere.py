"""If this fails, a command, a page of help or a message ends otherwise in some locale, on some terminal or stream.

Each environment is one process, which starts as a user's would; the command lines are forks of it.
"""

import forks
import pytest
from command import ENVIRONMENT
from forks import Ended, Line
from samples import ROOT, SAMPLE

DAMAGED, STEPS = str(ROOT / "sample_data" / "damaged.jsonl"), ROOT / "sample_data" / "steps"
ONE, OTHER, ALL = str(STEPS / "41.jsonl"), str(STEPS / "44.jsonl"), str(SAMPLE)
COMMANDS = ("loss", "check", "sweep", "report", "compare", "show", "annotate", "summarize", "fields", "explain")
LINES: dict[str, tuple[str, ...]] = {  # command lines by what they show
    "loss": ("loss", ALL, "-B", "1024", "--per-prompt"),
    "rows": ("loss", ONE, OTHER, "-B", "1024", "--by", "step"),
    "colour": ("loss", ALL, "-B", "1024", "--color", "always"),
    "check": ("check", ALL, "-B", "1024"),
    "sweep": ("sweep", ALL, "-B", "512,1024", "--beta", "0:0.1:3"),
    "suggestion": ("sweep", ALL, "--suggest"),
    "shown": ("show", ALL, "-B", "1024", "--finding", "phantom-advantage"),
    "comparison": ("compare", ONE, OTHER, "-B", "1024"),
    "fields": ("fields", str(ROOT / "sample_data" / "rollouts_nested.jsonl")),  # it finds no prompt id there
    "explanation": ("check", "--explain", "all"),
    "terms": ("explain",),
    "rejected": ("loss", DAMAGED, "-B", "1024", "-f", "csv", "-v"),
    "usage": ("loss", "-B", "ä😀"),
    "option": ("loss", "--großes-β"),
    "missing": ("loss", "nicht-da-ä😀\x1b.jsonl", "-B", "9"),
    "version": ("--version",),
    "nothing": (),
    "help": ("--help",),
    **{f"{command} --help": (command, "--help") for command in COMMANDS},
}
BYTES: dict[str, tuple[str, ...]] = {  # what a program reads, so the same bytes everywhere
    "json": ("loss", ALL, "-B", "1024", "-f", "json", "--per-prompt"),
    "csv": ("loss", ALL, "-B", "1024", "-f", "csv", "--per-prompt"),
    "markdown": ("compare", ONE, OTHER, "-B", "1024", "-f", "markdown"),
    "findings": ("check", ALL, "-B", "1024", "-f", "junit"),
    "annotated": ("annotate", ALL, "-B", "1024"),
    "summary": ("summarize", ONE, "-B", "1024"),
    "page": ("report", ALL, "-B", "1024"),
}
UTF8 = {**ENVIRONMENT, "LC_ALL": "C.UTF-8"}
ENVIRONMENTS: dict[str, tuple[dict[str, str], str]] = {  # variables, and the encoding of the streams
    "C": ({"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}, "ascii"),
    "POSIX, 20 columns": ({"LC_ALL": "POSIX", "COLUMNS": "20", "LINES": "3", "FORCE_COLOR": "1"}, "utf-8"),
    "Latin-1, dumb": ({"PYTHONIOENCODING": "latin-1", "TERM": "dumb"}, "latin-1"),
    "UTF-16": ({"PYTHONIOENCODING": "utf-16"}, "utf-16"),
}


def every() -> list[Line]:
    return [Line(arguments) for arguments in (LINES | BYTES).values()]


FEW = (
    "loss",
    "check",
    "comparison",
    "fields",
    "annotated",
    "summary",
    "rejected",
    "usage",
    "missing",
    "version",
    "help",
)
CLOSED = {"standard input": (0,), "standard output": (1,), "standard error": (2,), "all three": (0, 1, 2)}
GIVEN, NONE = (
    [Line((command, *given, "-B", "9"), (0,)) for command in ("loss", "check", "annotate", "summarize")]
    for given in (("-",), ())
)


@pytest.fixture(scope="module")
def in_utf_8() -> dict[Line, Ended]:
    """How the command lines end that are tried in UTF-8, all of them forks of one process."""
    closed = [Line((LINES | BYTES)[name], numbers) for numbers in CLOSED.values() for name in FEW]
    lines = [*every(), *closed, *GIVEN, *NONE]
    return dict(zip(lines, forks.run(lines, UTF8), strict=True))


@pytest.fixture(scope="module")
def normal(in_utf_8: dict[Line, Ended]) -> dict[str, Ended]:
    return {name: in_utf_8[Line(arguments)] for name, arguments in (LINES | BYTES).items()}


def test_in_utf_8_every_command_line_ends_as_it_should(normal: dict[str, Ended]) -> None:
    wanted = {"fields": 1, "rejected": 1, "usage": 2, "option": 2, "nothing": 2, "missing": 3}
    assert {name: done.code for name, done in normal.items()} == {name: wanted.get(name, 0) for name in normal}
    for name, done in normal.items():
        assert b"\x1b" not in done.err
        if done.code in (1, 3):
            assert all(line.startswith(b"budget-cli: ") for line in done.err.splitlines()), name


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_in_every_locale_and_terminal_it_ends_in_the_same_way(normal: dict[str, Ended], environment: str) -> None:
    variables, encoding = ENVIRONMENTS[environment]
    for name, done in zip(LINES | BYTES, forks.run(every(), UTF8 | variables), strict=True):
        before = normal[name]
        shown = done.err.decode(encoding)
        assert (done.code, "Traceback" in shown) == (before.code, False), (name, shown)
        assert bool(shown) == bool(before.err), name
        if name in BYTES or name == "rejected":
            assert done.out == before.out, name
        else:
            assert bool(done.out.decode(encoding)) == bool(before.out), name


@pytest.mark.parametrize("closed", CLOSED)
def test_without_a_stream_it_says_so_where_the_stream_was_needed(
    in_utf_8: dict[Line, Ended], normal: dict[str, Ended], closed: str
) -> None:
    numbers = CLOSED[closed]
    for name in FEW:
        before, done = normal[name], in_utf_8[Line((LINES | BYTES)[name], numbers)]
        lost = 1 in numbers and before.out != b""
        assert done.code == (3 if lost else before.code), (name, done.err)
        assert done.out == (b"" if lost else before.out), name
        if 2 in numbers:
            assert done.err == b"", name
        elif lost:
            assert b"standard output: the result could not be written: Bad file descriptor\n" in done.err, name
        else:
            assert done.err == before.err, name


def test_records_from_standard_input_need_it(in_utf_8: dict[Line, Ended]) -> None:
    for line in GIVEN:
        done = in_utf_8[line]
        assert (done.code, b"<stdin>: cannot be read: Bad file descriptor\n" in done.err) == (3, True)
    for line in NONE:
        done = in_utf_8[line]
        assert done.code in (2, 3)
        assert done.err.count(b"\n") == 1
