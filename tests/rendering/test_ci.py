"""If this fails, a workflow or a test report shows another verdict than the exit code, or takes data for commands."""

import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

GOOD = ("-B", "100")


def test_the_loss_comes_first_then_why_it_failed_then_where(show: Any, response: Callable[..., Any]) -> None:
    records = [response(), response(prompt_id=["a::b,%\n"]), response(reward=None)]
    result = show(records, *GOOD, "--fail-if", "loss > 0", "-f", "github")
    path = result.stdout.split("file=", 1)[1].split(",", 1)[0]
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "::notice title=budget-cli loss::loss 0.0025, 1 response, 1 prompt: fail. 2 of 3 records are rejected; of the"
        " others, nothing can be learned: the only prompt has a single response.",
        "::error title=budget-cli loss::2 records of 3 rejected",
        "::error title=budget-cli loss::gate loss > 0: it is 0.0025",
        f"::error file={path},line=2,col=15,title=budget-cli loss%3A wrong-type"
        "::prompt_id: expected a string or an integer, found a list",
        f"::error file={path},line=3,col=30,title=budget-cli loss%3A null::reward: null",
    ]


def test_what_is_allowed_is_a_warning(show: Any, response: Callable[..., Any]) -> None:
    result = show([response(), response(reward=None)], *GOOD, "--max-errors", "1", "-f", "github")
    assert result.exit_code == 0
    assert [line.split(" ")[0] for line in result.stdout.splitlines()] == ["::notice", "::warning"]


def test_ten_annotations_are_shown_and_the_rest_counted(show: Any, response: Callable[..., Any]) -> None:
    result = show([response(reward=None) for _ in range(20)] + [response()], *GOOD, "-f", "github")
    lines = result.stdout.splitlines()
    assert len(lines) == 11
    assert lines[-1] == "::notice title=budget-cli::and 12 more"  # of 22: the loss, the verdict, 20 rejections


def test_the_summary_of_the_step_is_markdown_with_the_reasons(
    show: Any, response: Callable[..., Any], tmp_path: Path
) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("# before\n\n")
    flags = (*GOOD, "--by", "t", "--each", "--fail-if", "loss > 0")
    show([response(t="<b>|*x*")], *flags, "-f", "github", GITHUB_STEP_SUMMARY=str(summary))
    page = summary.read_text("utf-8")
    html = MarkdownIt("commonmark").enable("table").render(page)
    assert "<li>gate loss &gt; 0: it is 0.0025</li>" in html
    assert "<td>&lt;b&gt;|*x*</td>" in html
    assert "<b>" not in html.replace("<body>", "")
    rows = [row.count("<td>") for row in html.split("<tr>") if "<td>" in row]
    assert set(rows) == {2, 3, 8}  # numbers; gates; the rows of --by


def cases(text: str) -> list[tuple[str, str, str | None]]:
    suite = ET.fromstring(text.encode())[0]
    found = [(case.attrib["name"], case.attrib["classname"], case.find("failure")) for case in suite]
    assert suite.attrib["tests"] == str(len(found))
    assert suite.attrib["failures"] == str(sum(failure is not None for _, _, failure in found))
    return [(name, group, None if failure is None else failure.text) for name, group, failure in found]


def test_a_report_has_a_case_for_the_records_and_one_for_each_gate(show: Any, response: Callable[..., Any]) -> None:
    flags = ("--fail-if", "loss > 0", "--fail-if", "loss < 0", "-f", "junit")
    result = show([response()], *GOOD, *flags)
    assert (result.exit_code, cases(result.stdout)) == (
        1,
        [
            ("records", "budget-cli loss", None),
            ("--fail-if loss > 0", "budget-cli loss", "it is 0.0025"),
            ("--fail-if loss < 0", "budget-cli loss", None),
        ],
    )
    result = show([response(), response(reward=None)], *GOOD, *flags)
    (_, _, failure), *_ = cases(result.stdout)
    assert failure is not None
    assert failure.splitlines()[0] == "1 record of 2 rejected"
    assert failure.splitlines()[1].endswith("dump.jsonl:2:30: reward: null")
    assert cases(show([], *GOOD, "-f", "junit").stdout) == [("records", "budget-cli loss", "no records at all")]


def test_with_each_every_row_has_its_cases(show: Any, response: Callable[..., Any]) -> None:
    records = [response(step=1), response(step='"<&\x1b', old_log_prob=-9.0)]
    result = show(records, *GOOD, "--by", "step", "--each", "--fail-if", "loss > 0.5", "-f", "junit")
    assert cases(result.stdout) == [
        ("records", "budget-cli loss", None),
        ("--fail-if loss > 0.5", "budget-cli loss", None),
        ("--fail-if loss > 0.5", "budget-cli loss: 1", None),
        ("--fail-if loss > 0.5", 'budget-cli loss: "<&\\x1b', "it is 0.64"),
    ]


@pytest.mark.parametrize("format", ["github", "junit"])
def test_what_could_not_be_read_to_its_end_is_no_pass(
    show: Any, response: Callable[..., Any], tmp_path: Path, format: str
) -> None:
    cut = tmp_path / "cut.gz"
    cut.write_bytes(b"\x1f\x8b\x08\0\0\0\0\0\0\x03")
    result = show([response()], *GOOD, "-f", format, str(cut))
    assert result.exit_code == 3
    assert "the gzip data is cut off" in result.stdout
    assert ": pass" not in result.stdout
