"""If this fails, a CI server cannot read the report, or counts a failure as a pass."""

from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from budget_cli.rendering.junit import Case, xml


def test_a_case_passed_failed_or_was_skipped() -> None:
    written = xml(
        "budget-cli check",
        [
            Case("singleton", "groups"),
            Case("non-finite", "records", failure="2 records\na.jsonl:3"),
            Case("id-over-texts", "identity", skipped="texts are read only with --text"),
            Case("truncated", "lengths", output='1 of "48" <responses> & more'),
        ],
    ).decode()
    assert written == (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        "<testsuites>\n"
        '  <testsuite name="budget-cli check" tests="4" failures="1" errors="0" skipped="1">\n'
        '    <testcase name="singleton" classname="groups"/>\n'
        '    <testcase name="non-finite" classname="records">\n'
        '      <failure message="2 records" type="failure">2 records\na.jsonl:3</failure>\n'
        "    </testcase>\n"
        '    <testcase name="id-over-texts" classname="identity">\n'
        '      <skipped message="texts are read only with --text"/>\n'
        "    </testcase>\n"
        '    <testcase name="truncated" classname="lengths">\n'
        "      <system-out>1 of &quot;48&quot; &lt;responses&gt; &amp; more</system-out>\n"
        "    </testcase>\n"
        "  </testsuite>\n"
        "</testsuites>\n"
    )


TEXT = st.text(st.characters(codec=None), max_size=30)


@given(TEXT, TEXT, TEXT)
def test_whatever_the_strings_are_it_is_xml_of_so_many_cases(name: str, failure: str, output: str) -> None:
    cases = [Case(name, "g", failure=failure), Case("b", name, output=output), Case("c", "g", skipped=output)]
    (suite,) = ElementTree.fromstring(xml(name, cases))
    assert [child.tag for child in suite] == ["testcase"] * 3
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("3", "1", "1")
    assert [case.find("failure") is not None for case in suite] == [True, False, False]
