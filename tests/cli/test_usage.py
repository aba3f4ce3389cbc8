"""If this fails, a usage error is found late or not explained, or a flag does not do what its help says."""

import json
from pathlib import Path

import pytest
from command import Run
from samples import GOOD, lines

from budget_cli.analysis import loss
from budget_cli.errors import nearest

MISTAKES = [
    (
        ("-B", "9", "--fail-if", "lenght.p99 > 4000"),
        "--fail-if: no number is called 'lenght.p99' (did you mean length.p99?)",
    ),
    (("-B", "9", "--fail-if", "loss"), "--fail-if 'loss': expected NAME OPERATOR NUMBER, as in"),
    (("-B", "9", "--fail-if", "loss > much"), "expected a finite number after >, found 'much'"),
    (("-B", "9", "--fail-if", "loss > nan"), "expected a finite number after >, found 'nan'"),
    ((), "give a budget (-B TOKENS), or --budget-penalty-coef 0 to do without one"),
    (("-B", "-5"), "--token-budget / -B: expected a whole number of tokens, 0 or more, found -5\n"),
    (("-B", "1.5"), "expected a whole number of tokens, 0 or more, found '1.5'\n"),
    (("-B", "9", "--beta", "inf"), "expected a finite number, found inf"),
    (("-B", "9", "--beta", "nan"), "expected a finite number, found nan"),
    (("-B", "9", "--alpha=-inf"), "expected a finite number, found -inf"),
    (("-B", "9", "--max-errors", "few"), "expected a number of records, as in 10, or a share, as in 0.5%"),
    (("-B", "9", "--max-errors", "101%"), "expected a number of records, as in 10, or a share, as in 0.5%"),
    (("-B", "9", "--field", "reward"), "--field reward: expected NAME=dotted.path, as in reward=score"),
    (("-B", "9", "--field", "rewrd=score"), "unknown field 'rewrd'; expected one of prompt_id, reward, "),
    (("-B", "9", "--field", "reward=a..b"), "expected keys joined by dots"),
    (
        ("-B", "9", "--format", "xml"),
        "--format / -f: expected table, json, jsonl, csv, parquet, markdown, github or junit, found 'xml'\n",
    ),
    (("-B", "9", "--jobs", "0"), "--jobs / -j: expected a whole number from 1 to 65,536, found 0\n"),
    (("-B", "9", "--precision", "18"), "--precision: expected a whole number of places from 0 to 17, found 18\n"),
    (("-B", "9", "-o", "nowhere/x.json"), "-o nowhere/x.json: there is no directory "),
    (("-B", "9", "-o", "."), "-o .: is a directory, expected a file"),
    # k is 1,000 to some tools and 1,024 to others: both are named, neither is guessed
    (
        ("-B", "1k"),
        "--token-budget / -B: expected a whole number of tokens, 0 or more, found '1k': give 1000 or 1024\n",
    ),
    (("-B", "2.5K"), "found '2.5K': give 2500 or 2560\n"),
    (("-B", "1.3k"), "found '1.3k': give 1300\n"),
    (("-B", "1M"), "found '1M': give 1000000 or 1048576\n"),
    (("-B", "9", "--max-line-bytes", "64MiB"), "found '64MiB': give 64000000 or 67108864\n"),
    (("-B", "many"), "expected a whole number of tokens, 0 or more, found 'many'\n"),
    (("-B", "9", "--beta", "x"), "--budget-penalty-coef / --beta: expected a number, found 'x'\n"),
    (("-B", "9", "--format", "jsn"), "github or junit, found 'jsn' (did you mean json?)\n"),
    (("-B", "9", "--beta"), "budget-cli: --beta: expected a value\n"),
    (("-B", "9", "--quiet=yes"), "budget-cli: --quiet: expected no value\n"),
    # a name is only proposed if it is near
    (
        ("--budget", "9"),
        "no such option: --budget (did you mean --token-budget or --budget-penalty-coef?); budget-cli loss --help",
    ),
    (("-B", "9", "--per-promt"), "no such option: --per-promt (did you mean --per-prompt?)"),
    (("-B", "9", "--lenght", "3"), "no such option: --lenght; "),
    (("-B", "9", "--select", "groups"), "no such option: --select; "),
    (("-B", "9", "--fail-if", "phantm > 0"), "no number is called 'phantm' (did you mean groups.phantom?)"),
    (("-B", "9", "--fail-if", "zzz > 0"), "no number is called 'zzz'; the names are those of --format json"),
    (("-B", "9", "--nope"), "budget-cli: no such option: --nope; budget-cli loss --help lists all\n"),
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
    ("loss", "token-budget", 1 << 63, "expected a whole number of tokens from 0 to 9,007,199,254,740,992, found 9"),
    (
        "loss",
        "token-budget",
        (1 << 53) + 1,
        "expected a whole number of tokens from 0 to 9,007,199,254,740,992, found 9",
    ),
    ("sweep", "token-budget", 1 << 63, "expected at most 9007199254740992 tokens, found 9.22337e+18"),
    ("summarize", "token-budget", 1 << 64, "expected at most 9007199254740992 tokens, found 1.84467e+19"),
    ("report", "budgets", 1 << 63, "expected at most 9007199254740992 tokens, found 9.22337e+18"),
    ("sweep", "overlong-buffer", 1 << 63, "expected a whole number of tokens from 1 to 9,007,199,254,740,992"),
    ("annotate", "max-line-bytes", 1 << 63, "expected a whole number of bytes from 1 to 1,099,511,627,776"),
    ("compare", "group-size", 1 << 63, "expected a whole number from 1 to 9,007,199,254,740,992"),
    ("loss", "jobs", 1 << 63, "expected a whole number from 1 to 65,536"),
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


COMMAND_LINES: list[tuple[tuple[str, ...], str]] = [
    (("losss", "x"), "no such command: losss (did you mean loss?); budget-cli --help lists all"),
    (("foo",), "no such command: foo; budget-cli --help lists all"),
    (("compare", "a", "-B", "1"), "NEW is missing: budget-cli compare [OPTIONS] {BASE} {NEW}"),
    (("compare", "a", "b", "c"), "got unexpected extra argument(s) (c): budget-cli compare [OPTIONS] {BASE} {NEW}"),
    (("sweep", "x", "-B", "1k,2k"), "--token-budget '1k,2k': expected numbers separated by commas, a:b:n or a:b:logn,"
     " found '1k': give 1000 or 1024"),
    (("sweep", "x", "--suggest", "--share", "2"), "--share: expected a number from 0.001 to 0.999, found 2.0"),
    (("check", "x", "--select", "phantm"), "--select: no check is called 'phantm' (did you mean phantom-advantage?)"),
    (("check", "x", "--select", "zzz"), "--select: no check is called 'zzz'; budget-cli explain lists all"),
    (("check", "x", "--threshold", "y=1"), "--threshold: none is called 'y'; budget-cli explain CODE has those of a"
     " check"),
    (("check", "x", "--fail-on", "warn"), "--fail-on: expected error, warning or info, found 'warn' (did you mean"
     " warning?)"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "message"), COMMAND_LINES)
def test_what_is_wrong_with_a_command_line_is_one_line(
    budget_cli: Run, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    done = budget_cli(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr.decode()) == (2, b"", f"budget-cli: {message}\n")


NEAREST: list[tuple[str, list[str], str | None]] = [
    ("lenght", ["length", "loss"], "length"),
    ("LENGTH", ["loss", "length"], "length"),
    ("token_budget", ["token-budget"], "token-budget"),
    ("budget", ["quiet", "budget-penalty-coef", "token-budget"], "token-budget or budget-penalty-coef"),
    ("grpo", ["grpo-x", "b-grpo", "dr-grpo", "trl-grpo"], "grpo-x, b-grpo or dr-grpo"),
    ("phantm", ["loss", "groups.phantom", "advantage.phantom_share"], "groups.phantom"),
    ("quiet", ["budget"], None),
    ("prompt", ["preset"], None),
    ("jobs", ["top", "loss"], None),
    ("", ["a"], None),
    ("b", ["beta"], None),
    ("x", [], None),
]


@pytest.mark.parametrize(("name", "names", "near"), NEAREST)
def test_only_what_is_near_is_proposed(name: str, names: list[str], near: str | None) -> None:
    assert nearest(name, names) == near


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
