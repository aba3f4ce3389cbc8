"""If this fails, an exit code of 0 no longer means that the dump was read and found good."""

from collections import Counter

import pytest

from budget_cli.analysis.gates import GateResult
from budget_cli.analysis.verdict import TORN, Allowance, Reason, failed_gates, parse_max_errors, reasons_to_fail
from budget_cli.errors import UsageProblem
from budget_cli.records.columns import Tally


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", (0.0, False)),
        ("10", (10.0, False)),
        (" 3 ", (3.0, False)),
        ("1000000", (1e6, False)),
        ("0%", (0.0, True)),
        ("0.5%", (0.5, True)),
        ("5%", (5.0, True)),
        ("100%", (100.0, True)),
    ],
)
def test_max_errors_is_a_number_of_records_or_a_share(text: str, expected: tuple[float, bool]) -> None:
    assert parse_max_errors(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", " ", "%", "-1", "+1", "1.5", "0.5", "1e3", "ten", "5 %", "5%%", ".5%", "5.%", "100.1%", "inf", "nan%", "٣"],
)
def test_any_other_max_errors_is_refused(text: str) -> None:
    with pytest.raises(UsageProblem) as refused:
        parse_max_errors(text)
    expected = "expected a number of records, as in 10, or a share, as in 0.5%"
    assert str(refused.value) == f"--max-errors {text!r}: {expected}"


def tally(read: int, rejected: int, torn: int = 0) -> Tally:
    by_code = Counter({"non-finite": rejected - torn, TORN: torn})
    return Tally(read=read, used=read - rejected, rejected=rejected, by_code=by_code)


GOOD, NOTHING = tally(10, 0), Tally()
HOLDS, FAILS = GateResult("loss > 1", 0.5, True), GateResult("kl.k1 > 0.1", 0.2, False)
MISSING, FAILED = GateResult("kl.r2 < 1", None, False), "gate kl.k1 > 0.1: it is 0.2"


@pytest.mark.parametrize(
    ("counts", "allowance", "gates", "reasons"),
    [
        (GOOD, Allowance(), [], []),
        (GOOD, Allowance(), [HOLDS], []),
        (GOOD, Allowance(), [FAILS, HOLDS], [FAILED]),
        (GOOD, Allowance(), [MISSING, FAILS], ["gate kl.r2 < 1: it is null, which fails every gate", FAILED]),
        (GOOD, Allowance(), [GateResult("loss > 1", 1e6 / 3, False)], ["gate loss > 1: it is 333333"]),
        (tally(10, 1), Allowance(), [], ["1 record of 10 rejected"]),
        (tally(20_000, 1234), Allowance(), [], ["1,234 records of 20,000 rejected"]),
        # at the bound, and one beyond it
        (tally(100, 3), Allowance(3), [], []),
        (tally(100, 4), Allowance(3), [], ["4 records of 100 rejected"]),
        (tally(100, 3), Allowance(3, in_percent=True), [], []),
        (tally(100, 4), Allowance(3, in_percent=True), [], ["4 records of 100 rejected"]),
        (tally(1000, 5), Allowance(0.5, in_percent=True), [], []),
        (tally(1000, 6), Allowance(0.5, in_percent=True), [], ["6 records of 1,000 rejected"]),
        # a torn last line
        (tally(10, 1, torn=1), Allowance(), [], ["1 record of 10 rejected"]),
        (tally(10, 1, torn=1), Allowance(truncated_tail=True), [], []),
        (tally(10, 1), Allowance(truncated_tail=True), [], ["1 record of 10 rejected"]),
        (tally(10, 3, torn=1), Allowance(1, truncated_tail=True), [], ["2 records of 10 rejected"]),
        (tally(10, 2, torn=1), Allowance(1, truncated_tail=True), [], []),
        # nothing to judge
        (NOTHING, Allowance(), [], ["no records at all"]),
        (NOTHING, Allowance(empty=True), [], []),
        (NOTHING, Allowance(empty=True, in_percent=True), [], []),
        (NOTHING, Allowance(), [FAILS], ["no records at all", FAILED]),
        (tally(4, 4), Allowance(), [], ["4 records of 4 rejected", "no record could be used"]),
        (tally(4, 4), Allowance(100, in_percent=True), [], ["no record could be used"]),
        (tally(4, 4), Allowance(4, empty=True), [], []),
    ],
)
def test_the_verdict_names_every_reason(
    counts: Tally, allowance: Allowance, gates: list[GateResult], reasons: list[str]
) -> None:
    found = [*reasons_to_fail(counts, [], [], allowance), *failed_gates(gates)]
    assert [reason.text for reason in found] == reasons


def test_blank_lines_are_no_reason_to_fail_and_no_record() -> None:
    assert reasons_to_fail(Tally(read=2, used=2, blank=9), [], [], Allowance()) == []
    assert reasons_to_fail(Tally(blank=9), [], [], Allowance()) == [Reason("empty", "no records at all")]


def test_a_source_that_was_not_read_to_its_end_is_the_reason_and_not_its_few_records() -> None:
    expected = [Reason("incomplete", "a.gz: cut off")]
    assert reasons_to_fail(NOTHING, [], ["a.gz: cut off"], Allowance()) == expected
