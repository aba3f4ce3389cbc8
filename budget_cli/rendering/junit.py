"""Things that passed, failed or were not looked at → JUnit XML, as CI servers read it (the schema of Jenkins' xUnit
plugin)."""

from collections.abc import Sequence
from typing import NamedTuple

from budget_cli.rendering.safe import for_terminal

MESSAGE = 4000  # characters
ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"})


class Case(NamedTuple):
    """One check or gate: `failure` says why it failed, `skipped` why it was not looked at; neither: it passed."""

    name: str
    group: str
    failure: str | None = None
    skipped: str | None = None
    output: str = ""  # what there is to say all the same


def of_cases(suite: str, cases: Sequence[Case]) -> bytes:
    """One test suite."""
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


def _text(text: str) -> str:
    """Text whose characters XML allows; lines stay lines."""
    return "\n".join(for_terminal(line, MESSAGE) for line in text.split("\n")).translate(ESCAPES)


def _value(text: str) -> str:
    return f'"{for_terminal(text, MESSAGE).translate(ESCAPES)}"'
