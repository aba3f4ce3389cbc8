"""Test cases → JUnit XML, as CI servers read it (the schema of Jenkins' xUnit plugin). Knows no answers."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from budget_cli.rendering.safe import for_terminal

MESSAGE = 4000  # characters
ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"})


class Case(NamedTuple):
    """One check or gate: it passed, unless `failure` says why it failed or `skipped` why it was not run."""

    name: str
    group: str
    failure: str | None = None
    skipped: str | None = None
    output: str = ""  # what to say even if it passed


def xml(suite: str, cases: Sequence[Case]) -> bytes:
    """Return one test suite."""
    failures = sum(case.failure is not None for case in cases)
    skipped = sum(case.skipped is not None for case in cases)
    counts = f'tests="{len(cases)}" failures="{failures}" errors="0" skipped="{skipped}"'
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', "<testsuites>", f"  <testsuite name={_value(suite)} {counts}>"]
    for case in cases:
        lines += _case(case)
    return "\n".join([*lines, "  </testsuite>", "</testsuites>", ""]).encode("utf-8")


def _case(case: Case) -> list[str]:
    head = f"    <testcase name={_value(case.name)} classname={_value(case.group)}"
    inner = []
    if case.skipped is not None:
        inner.append(f"      <skipped message={_value(case.skipped)}/>")
    if case.failure is not None:
        first = case.failure.split("\n", 1)[0]
        inner.append(f'      <failure message={_value(first)} type="failure">{_text(case.failure)}</failure>')
    if case.output:
        inner.append(f"      <system-out>{_text(case.output)}</system-out>")
    return [f"{head}>", *inner, "    </testcase>"] if inner else [f"{head}/>"]


def joined(parts: Iterable[object]) -> str:
    """Join parts that each may hold a string of the data, whose own line breaks are escaped."""
    return "\n".join(for_terminal(part, MESSAGE) for part in parts)


def _text(text: str) -> str:
    """Escape text so that XML allows it; lines stay lines."""
    return joined(text.split("\n")).translate(ESCAPES)


def _value(text: str) -> str:
    return f'"{for_terminal(text, MESSAGE).translate(ESCAPES)}"'
