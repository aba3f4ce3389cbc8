"""If this fails, `check` ends in a traceback at a rejection that it does not know, or explains what is not so."""

import ast
import re
from pathlib import Path

import pytest

import budget_cli
from budget_cli.analysis.checks.catalogue import CHECKS, THRESHOLDS, Check
from budget_cli.analysis.checks.findings import Severity
from budget_cli.rendering.explain import NEEDS, check_section

SOURCE = Path(budget_cli.__file__).parent
EVERY = pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)


def rejection_codes() -> set[str]:
    """The first argument of every `Invalid(…)`, and the codes that a variable may hold there."""
    codes = set()
    for path in [*(SOURCE / "records").glob("*.py"), *(SOURCE / "schema").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if (
                isinstance(node, ast.Call)
                and ast.unparse(node.func) == "Invalid"
                and isinstance(node.args[0], ast.Constant)
            ):
                codes.add(node.args[0].value)
            elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "code":
                codes |= {one.value for one in ast.walk(node.value) if isinstance(one, ast.Constant)} - {""}
    return {code for code in codes if isinstance(code, str)}


def test_every_reason_to_reject_a_record_is_a_check_and_every_such_check_a_reason() -> None:
    assert rejection_codes() == {code for code, check in CHECKS.items() if check.topic == "records"} - {"left-out"}


def test_every_check_that_is_found_is_in_the_catalogue_and_the_other_way_round() -> None:
    found = set()
    for path in (SOURCE / "analysis" / "checks").glob("*.py"):
        if path.stem == "selection":
            continue
        text = path.read_text("utf-8")
        found |= set(re.findall(r'finding\(\s*"([a-z0-9-]+)"', text)) | set(
            re.findall(r'\("([a-z0-9-]+)", [~a-z]', text)
        )
    assert {code for code, check in CHECKS.items() if check.topic != "records"} <= found
    assert {code for code in found if "-" in code} <= set(CHECKS)


def test_every_threshold_is_asked_for() -> None:
    text = "".join(path.read_text("utf-8") for path in SOURCE.rglob("*.py") if path.name != "catalogue.py")
    assert [name for name in THRESHOLDS if f'"{name}"' not in text] == []


@EVERY
def test_an_entry_consists_of_complete_sentences(check: Check) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", check.code)
    assert check.severity in Severity.__members__
    assert all(text.endswith((".", "`.")) for text in (check.title, check.why, check.remedy, check.false_alarms))
    assert check.example
    assert set(check.needs) <= set(NEEDS)
    assert all(threshold.name.startswith(f"{check.code}.") and threshold.source for threshold in check.thresholds)


@EVERY
def test_a_section_fits_a_terminal_and_renders_as_one(check: Check) -> None:
    section = check_section(check)
    prose = [line for line in section.splitlines() if not line.startswith("    ")]
    assert max(map(len, prose)) <= 80
    assert section.count("\n### ") == 0
    assert section.count("`") % 2 == 0
