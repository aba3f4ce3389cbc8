"""If this fails, a run uses other settings than its user believes."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import typer
from command import Run
from samples import GOOD, lines

from budget_cli.cli import settings as settings_module
from budget_cli.cli.app import build_app

ROOT = Path(__file__).parents[2]
DUMP = ROOT / "sample_data" / "rollouts.jsonl"


def place(folder: Path, text: str, name: str = "budget-cli.toml") -> Path:
    folder.mkdir(exist_ok=True, parents=True)
    (folder / name).write_text(text, encoding="utf-8")
    return folder


def settings(budget_cli: Run, cwd: Path, *flags: str, **environment: str) -> dict[str, Any]:
    """Return the coefficients and gates that the loss of the sample was computed with."""
    done = budget_cli("loss", DUMP, "-f", "json", *flags, cwd=cwd, **environment)
    assert done.stdout, done.stderr.decode()
    answer = json.loads(done.stdout)
    return answer["coefficients"] | {"gates": [gate["expression"] for gate in answer["gates"]]}


def test_flags_beat_the_environment_which_beats_the_file(budget_cli: Run, tmp_path: Path) -> None:
    place(tmp_path, 'token-budget = 1\nbeta = 0.25\nkl_coef = 0.5\nfail-if = ["loss > 99"]')
    assert settings(budget_cli, tmp_path) == {
        "token_budget": 1,
        "budget_penalty_coef": 0.25,
        "kl_coef": 0.5,
        "gates": ["loss > 99"],
    }
    environment = {"BUDGET_CLI_TOKEN_BUDGET": "2", "BUDGET_CLI_FAIL_IF": "loss > 98\nreward.mean < 0"}
    found = settings(budget_cli, tmp_path, **environment)
    assert (found["token_budget"], found["gates"]) == (2, ["loss > 98", "reward.mean < 0"])
    found = settings(budget_cli, tmp_path, "-B", "3", "--fail-if", "loss > 97", **environment)
    assert (found["token_budget"], found["kl_coef"], found["gates"]) == (3, 0.5, ["loss > 97"])


def test_the_search_goes_upward_and_stops_at_the_first_file(budget_cli: Run, tmp_path: Path) -> None:
    place(tmp_path, "token-budget = 1\nkl-coef = 0.5")
    below = place(tmp_path / "a" / "b", '[project]\nname = "x"', "pyproject.toml")
    assert settings(budget_cli, below)["token_budget"] == 1  # this pyproject.toml has no settings
    middle = place(tmp_path / "a", "[tool.budget-cli]\ntoken-budget = 2", "pyproject.toml")
    assert settings(budget_cli, below) == {
        "token_budget": 2,
        "budget_penalty_coef": 0.01,
        "kl_coef": 0.1,
        "gates": [],
    }
    place(middle, "token-budget = 3")
    assert settings(budget_cli, below)["token_budget"] == 3  # budget-cli.toml precedes pyproject.toml


def test_a_table_named_after_a_command_applies_to_that_command(budget_cli: Run, tmp_path: Path) -> None:
    place(tmp_path, "token-budget = 1\n[loss]\ntoken-budget = 2\n[compare]\ntoken-budget = 3\ntop = 1")
    assert settings(budget_cli, tmp_path)["token_budget"] == 2
    done = budget_cli("compare", DUMP, DUMP, "-f", "json", cwd=tmp_path)
    assert json.loads(done.stdout)["coefficients"]["token_budget"] == 3
    done = budget_cli("annotate", DUMP, "--alpha", "0", cwd=tmp_path)
    assert done.returncode == 0


def test_fields_can_be_a_table_or_a_list(budget_cli: Run, tmp_path: Path) -> None:
    for text in (
        '[field]\nreward = "response_length"',
        'field = ["reward=response_length"]',
        'field = "reward=response_length"',
    ):
        place(tmp_path, text)
        done = budget_cli("loss", DUMP, "-B", "1024", "-f", "json", cwd=tmp_path)
        assert json.loads(done.stdout)["reward"]["max"] == 1280


def test_a_file_named_in_the_settings_is_relative_to_them(budget_cli: Run, tmp_path: Path) -> None:
    below = tmp_path / "below"
    below.mkdir()
    place(tmp_path, 'presets = ["mine.toml"]\npreset = "mine"\nkl-coef = 0\nbeta = 0')
    place(tmp_path, '[mine]\nprompt_id = "prompt_id"\nreward = "response_length"', "mine.toml")
    done = budget_cli("loss", DUMP, "-f", "json", cwd=below)
    assert json.loads(done.stdout)["reward"]["max"] == 1280


def test_a_flag_can_be_set_to_true_or_false(budget_cli: Run, tmp_path: Path) -> None:
    place(tmp_path, "allow-empty = true\ntoken-budget = 1")
    assert budget_cli("loss", stdin=b"", cwd=tmp_path).returncode == 0
    place(tmp_path, "allow-empty = false\ntoken-budget = 1")
    assert budget_cli("loss", stdin=b"", cwd=tmp_path).returncode == 1


WRONG: list[tuple[str, str]] = [
    ("tokn-budget = 1", "tokn-budget: unknown option (did you mean token-budget?)"),
    ("[los]\nbeta = 1", "los: unknown option (did you mean loss?)"),
    ("[loss]\nbetta = 1", "loss.betta: unknown option (did you mean beta?)"),
    (
        "[annotate]\nfail-if = 'loss > 1'",
        "annotate.fail-if: unknown option; keys are the long names of options, as in token-budget",
    ),
    ("xyzzy = 1", "xyzzy: unknown option; keys are the long names of options, as in token-budget"),
    ("output = 'x'", "output: can be given only on the command line"),
    ("token-budget = true", "token-budget: expected a whole number, found true"),
    ("token-budget = 1.5", "token-budget: expected a whole number of tokens, 0 or more, found '1.5'"),
    ("token-budget = -1", "token-budget: expected a whole number of tokens, 0 or more, found -1"),
    ("token-budget = [1]", "token-budget: expected a whole number, found [1]"),
    ("kl-coef = nan", "kl-coef: expected a finite number, found nan"),
    ("preset = 2020-01-01", "preset: expected a string, found datetime.date(2020, 1, 1)"),
    ("allow-empty = 'yes'", "allow-empty: expected true or false, found 'yes'"),
    (
        "[loss]\nformat = 'tabel'",
        "loss.format: expected table, json, jsonl, csv, parquet, markdown, github or junit, found 'tabel'"
        " (did you mean table?)",
    ),
    ("a = ", "not TOML: Invalid value (at end of document)"),
]


@pytest.mark.exhaustive
@pytest.mark.parametrize(("text", "message"), WRONG)
@pytest.mark.parametrize("command", ["loss", "fields"])
def test_an_invalid_setting_is_an_error_that_names_it(
    budget_cli: Run, tmp_path: Path, text: str, message: str, command: str
) -> None:
    place(tmp_path, text)
    below = tmp_path / "below"
    below.mkdir()
    done = budget_cli(command, DUMP, cwd=below)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.decode().startswith(f"budget-cli: ../budget-cli.toml: {message}")
    assert done.stderr.count(b"\n") == 1


def test_help_and_version_work_with_an_invalid_file(budget_cli: Run, tmp_path: Path) -> None:
    place(tmp_path, "nonsense")
    for flags in (["--help"], ["--version"], ["loss", "--help"], ["loss", "-h"]):
        assert budget_cli(*flags, cwd=tmp_path).returncode == 0


def test_config_names_another_file_and_no_config_ignores_all(budget_cli: Run, tmp_path: Path) -> None:
    place(tmp_path, "token-budget = 1")
    other = place(tmp_path / "other", "[tool.budget-cli]\ntoken-budget = 2", "pyproject.toml") / "pyproject.toml"
    flags = ("loss", DUMP, "-f", "json")
    named = budget_cli("--config", other, *flags, cwd=tmp_path)
    assert json.loads(named.stdout)["coefficients"]["token_budget"] == 2
    assert budget_cli(*flags, cwd=tmp_path, BUDGET_CLI_CONFIG=str(other)).stdout == named.stdout
    assert budget_cli("--no-config", *flags, cwd=tmp_path).returncode == 2  # no budget
    for path, message in (("no.toml", "no such file"), ("other", "no such file"), (DUMP, "not TOML")):
        done = budget_cli("--config", path, *flags, cwd=tmp_path)
        assert (done.returncode, message in done.stderr.decode()) == (2, True)
    place(tmp_path / "other", "[project]", "pyproject.toml")
    done = budget_cli("--config", other, *flags, cwd=tmp_path)
    assert (done.returncode, done.stderr.decode()) == (2, f"budget-cli: --config {other}: has no [tool.budget-cli]\n")


def test_the_settings_file_in_the_documentation_works(budget_cli: Run, tmp_path: Path) -> None:
    (shown,) = re.findall(
        r"^```toml\n(# budget-cli.toml\n.*?)^```$", (ROOT / "docs" / "settings.md").read_text("utf-8"), re.M | re.S
    )
    place(tmp_path, shown)
    done = budget_cli("loss", DUMP, "-f", "json", "--field", "reward=reward", cwd=tmp_path)
    answer = json.loads(done.stdout)
    assert answer["coefficients"]["token_budget"] == 4096
    assert ([row["key"] for row in answer["by"]], len(answer["gates"])) == ([40], 2)


def test_options_that_replace_a_budget_override_the_budget_of_a_file(budget_cli: Run, tmp_path: Path) -> None:
    place(tmp_path, "token-budget = 4096\nbeta = 0.02")
    for flags in (["--suggest"], ["--max-response-length", "1280", "--overlong-buffer", "256"], ["--alpha", "0"]):
        assert budget_cli("sweep", DUMP, *flags, cwd=tmp_path).returncode == 0
    assert budget_cli("sweep", DUMP, "--suggest", "-B", "9", cwd=tmp_path).returncode == 2


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("BUDGET_CLI_FAIL_IFS", "BUDGET_CLI_FAIL_IFS: unknown option (did you mean BUDGET_CLI_FAIL_IF?)"),
        (
            "BUDGET_CLI_TOKEN_BUDGTE",
            "BUDGET_CLI_TOKEN_BUDGTE: unknown option (did you mean BUDGET_CLI_TOKEN_BUDGET?)",
        ),
        ("BUDGET_CLI_CONFIGS", "BUDGET_CLI_CONFIGS: unknown option (did you mean BUDGET_CLI_CONFIG?)"),
    ],
)
def test_a_misspelled_variable_is_refused(budget_cli: Run, name: str, message: str) -> None:
    done = budget_cli("loss", DUMP, "-B", "9", **{name: "1"})
    assert (done.returncode, done.stdout, done.stderr.decode()) == (2, b"", f"budget-cli: {message}\n")


def test_variables_of_other_commands_and_of_scripts_are_ignored(budget_cli: Run) -> None:
    arguments = ("loss", DUMP, "-B", "9", "-f", "json")
    plain = budget_cli(*arguments)
    assert plain.returncode == 0
    assert budget_cli(*arguments, BUDGET_CLI_SUGGEST="1", BUDGET_CLI_VERSION="0.1.0").stdout == plain.stdout


# ---- a file that a stranger put there

LIMIT = "larger than 1,048,576 bytes"
HOSTILE = {
    "brackets": ("token-budget = " + "[" * 100_000, "not TOML: nested too deeply"),
    "tables": ("token-budget = " + "{a = " * 5_000, "not TOML: nested too deeply"),
    "a long integer": ("token-budget = " + "9" * 5000, "not TOML: Exceeds the limit (4300 digits)"),
    "a long integer in hexadecimal": ("token-budget = 0x" + "f" * 1_000_000, "expected a number of at most 64 bits"),
    "a list of such": ("token-budget = [0x" + "f" * 1_000_000 + "]", "found a value that cannot be shown"),
    "a long key": ("a." * 30_000 + "a = 1", "not TOML: a key of more than 64 parts"),
    "a long table": ("[" + "'a' . " * 30_000 + "a]", "not TOML: a key of more than 64 parts"),
    "a long value": ("token-budget = [" + "1," * 100_000 + "]", "expected a whole number, found [1, 1"),
    "a large file": ("#" + "x" * (1 << 20), f"cannot be read: {LIMIT}; --no-config does without it"),
    "an output": ('output = "/tmp/x"', "output: can be given only on the command line"),
    "an output of a command": ('[loss]\noutput = "/tmp/x"', "loss.output: can be given only on the command line"),
    "rejects": ('rejects = "/tmp/x"', "rejects: can be given only on the command line"),
    "a nul": ("token-budget = 1\0", "not TOML"),
}


@pytest.mark.exhaustive
@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_file_is_a_usage_error_of_one_line(budget_cli: Run, tmp_path: Path, case: str) -> None:
    text, says = HOSTILE[case]
    below = place(place(tmp_path, text) / "below", "", "notes.txt")
    for options, folder in (((), below), (("--config", tmp_path / "budget-cli.toml"), below)):
        done = budget_cli(*options, "loss", DUMP, "-B", "9", cwd=folder)
        message = done.stderr.decode()
        assert (done.returncode, done.stdout) == (2, b""), message
        assert says.removesuffix("; --no-config does without it" if options else "") in message
        assert message.count("\n") == 1
        assert len(message) < 400


@pytest.mark.parametrize("name", ["budget-cli.toml", "pyproject.toml"])
def test_a_pipe_or_a_device_in_place_of_a_settings_file_is_refused(budget_cli: Run, tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    done = budget_cli("loss", DUMP, "-B", "9", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.decode() == (
        f"budget-cli: {name}: cannot be read: not a regular file; --no-config does without it\n"
    )
    assert budget_cli("--no-config", "loss", DUMP, "-B", "9", cwd=tmp_path).returncode == 0
    for path in (name, "/dev/zero"):
        done = budget_cli("--config", path, "loss", DUMP, "-B", "9", cwd=tmp_path)
        assert done.returncode == 2
        assert done.stderr.decode() == f"budget-cli: {path}: cannot be read: not a regular file\n"
        done = budget_cli("--no-config", "loss", DUMP, "-B", "9", "--preset", "a", "--presets", path, cwd=tmp_path)
        assert done.returncode == 2
        assert done.stderr.decode() == f"budget-cli: --presets {path}: cannot be read: not a regular file\n"
        done = budget_cli("--no-config", "check", DUMP, "-B", "9", "--baseline", path, cwd=tmp_path)
        assert done.returncode == 2
        assert done.stderr.decode() == f"budget-cli: --baseline {path}: cannot be read: not a regular file\n"


IN_FORCE = [  # settings file, arguments, what is said
    ("token-budget = 9", (), "budget-cli.toml: sets token-budget"),
    ("token-budget = 9", ("-q",), None),
    ("token-budget = 9", ("-B", "10"), None),
    ("token-budget = 9\nallow-empty = false\nmax-errors = 0\nkl-coef = 0.1", (), "budget-cli.toml: sets token-budget"),
    (
        'token-budget = 9\nmax-errors = "100%"\n[loss]\nkeep = ["all"]\n[field]\nreward = "reward"',
        (),
        "budget-cli.toml: sets token-budget, field, keep, max-errors; keep, max-errors can let a verdict pass that"
        " would fail: --no-config ignores the file",
    ),
    (
        'token-budget = 9\nquiet = true\nmax-errors = "100%"',
        (),
        "budget-cli.toml: sets token-budget, max-errors, quiet; max-errors can let a verdict pass that would fail:"
        " --no-config ignores the file",
    ),
    ('token-budget = 9\nmax-errors = "100%"', ("--max-errors", "0", "-q"), None),
]


@pytest.mark.parametrize(("file", "arguments", "said"), IN_FORCE)
def test_the_settings_in_force_are_named(
    budget_cli: Run, tmp_path: Path, file: str, arguments: tuple[str, ...], said: str | None
) -> None:
    (tmp_path / "budget-cli.toml").write_text(file)
    done = budget_cli("loss", *arguments, cwd=tmp_path, stdin=lines([GOOD]))
    assert done.returncode == 0
    assert done.stderr.decode() == ("" if said is None else f"budget-cli: {said}\n")
    (tmp_path / "sub").mkdir()
    done = budget_cli("loss", *arguments, cwd=tmp_path / "sub", stdin=lines([GOOD]))
    assert done.stderr.decode() == ("" if said is None else f"budget-cli: ../{said}\n")


READ = {"presets", "tokenizer", "baseline", "objective"}  # options that name a file to read


def test_no_option_that_names_a_file_to_write_can_be_set_by_a_file() -> None:
    commands = typer.main.get_command(build_app()).commands  # type: ignore[attr-defined]  # a group
    of_files = {
        option.name for command in commands.values() for option in command.params if "FILE" in str(option.metavar)
    }
    assert of_files - {"files", "base", "new"} - READ == {"output", "rejects"} <= set(settings_module.COMMAND_LINE_ONLY)
