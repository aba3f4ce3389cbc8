"""If this fails, a gate that somebody wrote lets pass what it was written to stop."""

import math

import pytest

from budget_cli.analysis.gates import Gate, parse
from budget_cli.errors import Exit, UsageProblem

NAMES = ["loss", "reward.mean", "over_budget.fraction", "kl.k1", "prompts"]


@pytest.mark.parametrize(
    ("expression", "path", "compare", "bound"),
    [
        ("loss > 0.2", "loss", ">", 0.2),
        ("loss>0.2", "loss", ">", 0.2),
        ("  over_budget.fraction   >=  1  ", "over_budget.fraction", ">=", 1.0),
        ("kl.k1 < -1e-3", "kl.k1", "<", -0.001),
        ("kl.k1<=+.5", "kl.k1", "<=", 0.5),
        ("prompts == 0", "prompts", "==", 0.0),
        ("prompts!=64", "prompts", "!=", 64.0),
        ("reward.mean\t<\t1", "reward.mean", "<", 1.0),
    ],
)
def test_a_gate_is_a_name_an_operator_and_a_number(expression: str, path: str, compare: str, bound: float) -> None:
    assert parse(expression, NAMES) == Gate(expression, path, compare, bound)


FORM = "expected NAME OPERATOR NUMBER, as in 'over_budget.fraction > 0.2'"
ALL = "the names are those of --format json, as in length.p99"


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("", f"--fail-if '': {FORM}"),
        ("loss", f"--fail-if 'loss': {FORM}"),
        ("loss >", f"--fail-if 'loss >': {FORM}"),
        ("> 1", f"--fail-if '> 1': {FORM}"),
        ("1 > loss", f"--fail-if '1 > loss': {FORM}"),
        ("loss = 1", f"--fail-if 'loss = 1': {FORM}"),
        ("loss > 1 or prompts < 2", f"--fail-if 'loss > 1 or prompts < 2': {FORM}"),
        ("lost > 1", "--fail-if: no number is called 'lost' (did you mean loss?)"),
        (
            "over_budget.fracton > 1",
            "--fail-if: no number is called 'over_budget.fracton' (did you mean over_budget.fraction?)",
        ),
        ("reward.maen < 1", "--fail-if: no number is called 'reward.maen' (did you mean reward.mean?)"),
        ("zzz > 1", f"--fail-if: no number is called 'zzz'; {ALL}"),
        ("LOSS > 1", "--fail-if: no number is called 'LOSS' (did you mean loss?)"),
        ("loss > nan", "--fail-if 'loss > nan': expected a finite number after >, found 'nan'"),
        ("loss < -inf", "--fail-if 'loss < -inf': expected a finite number after <, found '-inf'"),
        ("loss >= 1e999", "--fail-if 'loss >= 1e999': expected a finite number after >=, found '1e999'"),
        ("loss > 5%", "--fail-if 'loss > 5%': expected a finite number after >, found '5%'"),
        ("loss >== 1", f"--fail-if 'loss >== 1': {FORM}"),
        ("loss >==1", "--fail-if 'loss >==1': expected a finite number after >=, found '=1'"),
    ],
)
def test_what_is_no_gate_is_refused_with_what_was_expected(expression: str, message: str) -> None:
    with pytest.raises(UsageProblem) as refused:
        parse(expression, NAMES)
    assert str(refused.value) == message
    assert refused.value.exit_code == Exit.USAGE


BELOW, AT, ABOVE = math.nextafter(0.2, 0), 0.2, math.nextafter(0.2, 1)


@pytest.mark.parametrize(
    ("compare", "fails_below", "fails_at", "fails_above"),
    [
        ("<", True, False, False),
        ("<=", True, True, False),
        (">", False, False, True),
        (">=", False, True, True),
        ("==", False, True, False),
        ("!=", True, False, True),
    ],
)
def test_a_gate_fails_exactly_when_the_value_compares_as_written(
    compare: str, fails_below: bool, fails_at: bool, fails_above: bool
) -> None:
    gate = parse(f"loss {compare} 0.2", NAMES)
    assert [not gate.evaluate(value).passed for value in (BELOW, AT, ABOVE)] == [fails_below, fails_at, fails_above]


@pytest.mark.parametrize("compare", ["<", "<=", ">", ">=", "==", "!="])
@pytest.mark.parametrize("value", [None, math.nan])
def test_a_number_that_does_not_exist_passes_no_gate(value: float | None, compare: str) -> None:
    gate = parse(f"loss {compare} 0", NAMES)
    assert gate.evaluate(value).passed is False


@pytest.mark.parametrize(("compare", "passes"), [("<", True), (">", False)])
def test_a_count_compares_as_a_number(compare: str, passes: bool) -> None:
    gate = parse(f"prompts {compare} 64", NAMES)
    assert gate.evaluate(65).passed is passes
