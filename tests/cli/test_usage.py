"""If this fails, a usage error is found late or not explained, or a flag does not do what its help says."""

import json
from pathlib import Path

import pytest
from command import Run
from samples import GOOD, lines

from budget_cli.analysis import loss

MISTAKES = [
    (
        ("-B", "9", "--fail-if", "lenght.p99 > 4000"),
        "--fail-if: no number is called 'lenght.p99' (did you mean length.p99?)",
    ),
    (("-B", "9", "--fail-if", "loss"), "--fail-if 'loss': expected NAME OPERATOR NUMBER, as in"),
    (("-B", "9", "--fail-if", "loss > much"), "expected a finite number after >, found 'much'"),
    (("-B", "9", "--fail-if", "loss > nan"), "expected a finite number after >, found 'nan'"),
    ((), "give a budget (-B TOKENS), or --budget-penalty-coef 0 to do without one"),
    (("-B", "-5"), "-5 is not in the range 0<=x<=9007199254740992"),
    (("-B", "1.5"), "'1.5' is not a valid int"),
    (("-B", "9", "--beta", "inf"), "expected a finite number, found inf"),
    (("-B", "9", "--beta", "nan"), "expected a finite number, found nan"),
    (("-B", "9", "--alpha=-inf"), "expected a finite number, found -inf"),
    (("-B", "9", "--max-errors", "few"), "expected a number of records, as in 10, or a share, as in 0.5%"),
    (("-B", "9", "--max-errors", "101%"), "expected a number of records, as in 10, or a share, as in 0.5%"),
    (("-B", "9", "--field", "reward"), "--field reward: expected NAME=dotted.path, as in reward=score"),
    (("-B", "9", "--field", "rewrd=score"), "unknown field 'rewrd'; expected one of prompt_id, reward, "),
    (("-B", "9", "--field", "reward=a..b"), "expected keys joined by dots"),
    (("-B", "9", "--format", "xml"), "'xml' is not one of 'table', 'json', 'csv', 'markdown'"),
    (("-B", "9", "--jobs", "0"), "0 is not in the range 1<=x<=65536"),
    (("-B", "9", "--precision", "18"), "18 is not in the range 0<=x<=17"),
    (("-B", "9", "-o", "nowhere/x.json"), "-o nowhere/x.json: there is no directory "),
    (("-B", "9", "-o", "."), "-o .: is a directory, expected a file"),
    (("-B", "9", "--nope"), "No such option: --nope"),
]


@pytest.mark.parametrize(("arguments", "message"), MISTAKES)
def test_a_usage_error_is_reported_before_anything_is_read(
    budget_cli: Run, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    done = budget_cli("loss", "does-not-exist.jsonl", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == b""
    assert message in done.stderr.decode()
    assert "does-not-exist" not in done.stderr.decode()
    assert "Traceback" not in done.stderr.decode()


LARGE = [  # command, option, value, what is said: a number beyond what the arithmetic holds
    ("loss", "token-budget", 1 << 63, "is not in the range 0<=x<=9007199254740992"),
    ("loss", "token-budget", (1 << 53) + 1, "is not in the range 0<=x<=9007199254740992"),
    ("sweep", "token-budget", 1 << 63, "expected at most 9007199254740992 tokens, found 9.22337e+18"),
    ("summarize", "token-budget", 1 << 64, "expected at most 9007199254740992 tokens, found 1.84467e+19"),
    ("report", "budgets", 1 << 63, "expected at most 9007199254740992 tokens, found 9.22337e+18"),
    ("sweep", "overlong-buffer", 1 << 63, "is not in the range 1<=x<=9007199254740992"),
    ("annotate", "max-line-bytes", 1 << 63, "is not in the range 1<=x<=1099511627776"),
    ("compare", "group-size", 1 << 63, "is not in the range 1<=x<=9007199254740992"),
    ("loss", "jobs", 1 << 63, "is not in the range 1<=x<=65536"),
    ("loss", "jobs", 30000, "--jobs 30000: expected at most 1024 on one machine"),
    ("sweep", "token-budget", "1:2:" + "9" * 5000, "--token-budget '1:2:999"),
]


@pytest.mark.exhaustive
@pytest.mark.parametrize(("command", "option", "value", "message"), LARGE)
def test_a_number_that_is_too_large_is_a_usage_error_wherever_it_is_given(
    budget_cli: Run, tmp_path: Path, command: str, option: str, value: object, message: str
) -> None:
    files = ["a.jsonl", "b.jsonl"] if command == "compare" else ["a.jsonl"]
    for name in files:
        (tmp_path / name).write_bytes(lines([GOOD]))
    more = () if option == "token-budget" else ("--beta", "0")
    if option == "budgets":
        more = ("-B", "9")
    if option == "overlong-buffer":
        more = ("--max-response-length", "4096")
    given = budget_cli(command, *files, *more, f"--{option}={value}", cwd=tmp_path)
    variable = {f"BUDGET_CLI_{option.upper().replace('-', '_')}": str(value)}
    in_environment = budget_cli(command, *files, *more, cwd=tmp_path, **variable)
    (tmp_path / "budget-cli.toml").write_text(f"[{command}]\n{option} = '{value}'")
    in_file = budget_cli(command, *files, *more, cwd=tmp_path)
    for done in (given, in_environment, in_file):
        assert (done.returncode, done.stdout) == (2, b"")
        assert message in done.stderr.decode()


@pytest.mark.parametrize("twice", [("-", "-"), ("a.jsonl", "./a.jsonl"), (".", "a.jsonl")])
def test_the_same_file_twice_is_a_usage_error(budget_cli: Run, tmp_path: Path, twice: tuple[str, str]) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines([GOOD]))
    done = budget_cli("loss", *twice, "-B", "9", cwd=tmp_path)
    assert done.returncode == 2
    assert "the same file as " in done.stderr.decode()


def test_flags_beat_the_environment(budget_cli: Run, small: Path) -> None:
    done = budget_cli("loss", small, "-f", "json", BUDGET_CLI_TOKEN_BUDGET="7", BUDGET_CLI_KL_COEF="0.5")
    assert json.loads(done.stdout)["coefficients"] == {"token_budget": 7, "budget_penalty_coef": 0.01, "kl_coef": 0.5}
    done = budget_cli("loss", small, "-f", "json", "-B", "8", BUDGET_CLI_TOKEN_BUDGET="7")
    assert json.loads(done.stdout)["coefficients"]["token_budget"] == 8


def test_quiet_prints_only_failures_on_standard_error(budget_cli: Run) -> None:
    done = budget_cli("loss", "-B", "9", "-f", "json", "-q", stdin=lines([GOOD]) + b"x\n")
    assert done.returncode == 1
    assert "not JSON" not in done.stderr.decode()


def test_help_names_every_option_and_the_exit_codes(budget_cli: Run) -> None:
    text = budget_cli("loss", "--help").stdout.decode()
    names = "token-budget beta alpha aggregate field format precision fail-if max-errors jobs output quiet verbose"
    for name in names.split():
        assert f"--{name}" in text
    assert "Exit codes: 0 " in text


def test_a_bug_keeps_its_traceback_and_is_exit_70(
    budget_cli: Run, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loss, "compute_loss", lambda *args, **options: 1 / 0)
    done = budget_cli("loss", small, "-B", "9")
    assert (done.returncode, done.stdout) == (70, b"")
    errors = done.stderr.decode()
    assert "Traceback" in errors
    assert "ZeroDivisionError" in errors
    assert errors.endswith("budget-cli: this is a bug in budget-cli; please report it with the lines above\n")
