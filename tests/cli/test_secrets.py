"""If this fails, a password or the signature of a link reaches a log, a page or a pull request."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command import Done, Run
from samples import ROOT, SAMPLE

fsspec = pytest.importorskip("fsspec")  # in the dev extra
STEPS = ROOT / "sample_data" / "steps"
URL = "memory://user:hunter2@bucket/{}.jsonl?X-Amz-Credential=hunter2&X-Amz-Signature=hunter2"
ONE, OTHER, DAMAGED, CUT, RESULT, GONE = (URL.format(name) for name in ("1", "2", "damaged", "cut", "result", "gone"))
FORMATS = {
    "loss": ("table", "json", "jsonl", "csv", "markdown", "github", "junit"),
    "check": ("table", "json", "markdown", "github", "junit", "sarif"),
    "sweep": ("table", "json", "jsonl", "csv", "markdown"),
    "compare": ("table", "json", "markdown"),
    "fields": ("table", "json"),
}
SOURCES = [(ONE,), (ONE, OTHER), (DAMAGED,), (CUT,), (GONE,), (ONE, ONE)]


@pytest.fixture(autouse=True)
def bucket(budget_cli: Run) -> Iterator[None]:
    fs = fsspec.filesystem("memory")
    result = budget_cli("loss", STEPS / "41.jsonl", "-B", "1024", "-f", "json").stdout
    content = {ONE: (STEPS / "41.jsonl").read_bytes(), OTHER: (STEPS / "42.jsonl").read_bytes(), RESULT: result}
    content[DAMAGED] = (ROOT / "sample_data" / "damaged.jsonl").read_bytes()
    content[CUT] = b"\x1f\x8b\x08\0\0\0\0\0\0\x03"
    for url, data in content.items():
        fs.pipe_file(url.removeprefix("memory://"), data)
    yield
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]


def cases() -> Iterator[tuple[Any, ...]]:
    """Command lines that read such a URL."""
    for command, formats in FORMATS.items():
        budget = () if command == "fields" else ("-B", "1024", "-v")
        names = itertools.product((ONE, DAMAGED, CUT, RESULT, GONE), (OTHER,)) if command == "compare" else SOURCES
        more = ("--by", "file", "--per-prompt") if command == "loss" else ()
        for form, given in itertools.product(formats, names):
            yield (command, *given, *budget, *more, "-f", form)
    for given in SOURCES:
        yield "report", *given, "-B", "1024"
        yield "annotate", *given, "-B", "1024"
        yield "summarize", *given, "-B", "1024"
    yield "sweep", ONE, "--suggest"
    yield "loss", SAMPLE, "-B", "1024", "-o", "https://user:hunter2@host/x?sig=hunter2"
    yield "loss", SAMPLE, "-B", "1024", "-o", "memory://user:hunter2@bucket/x.gz"
    yield "loss", SAMPLE, "-B", ONE
    yield "loss", SAMPLE, f"--{ONE}"
    yield "compare", ONE, OTHER, DAMAGED
    yield "loss", ONE, "-B", "1024", "--tokenizer", OTHER
    yield "loss", ONE, "-B", "1024", "--presets", OTHER
    yield "check", ONE, "--baseline", OTHER
    yield "loss", "ftp2://user:hunter2@host/x", "-B", "9"
    yield "loss", "HTTPS://user:hunter2@host/x", "--engine", "ray", "-B", "9", "-j", "0"


def name_of(arguments: tuple[str, ...]) -> str:
    return " ".join(str(each).rpartition("/")[2].partition("?")[0] for each in arguments)


@pytest.mark.exhaustive
@pytest.mark.parametrize("arguments", [pytest.param(each, id=name_of(each)) for each in cases()])
def test_no_command_writes_what_a_url_hides(budget_cli: Run, arguments: tuple[str, ...], tmp_path: Path) -> None:
    summary = tmp_path / "summary.md"
    done: Done = budget_cli(*arguments, GITHUB_STEP_SUMMARY=str(summary))
    written = done.stdout + done.stderr + (summary.read_bytes() if summary.exists() else b"")
    assert written
    assert b"hunter2" not in written
    assert done.returncode != 70
