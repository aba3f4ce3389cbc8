"""If this fails, help, completion or settings from the environment are incomplete or wrong."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from command import Run

from budget_cli.cli.app import COMMANDS

ROOT = Path(__file__).parents[2]
DUMPS = ROOT / "tests" / "dumps"
READING = tuple(command for command in COMMANDS if command != "explain")  # the others read dumps
EXAMPLE = re.compile(r"^    (?=.*\bbudget-cli )(.*)$", re.MULTILINE)


def page(budget_cli: Run, *arguments: str) -> str:
    done = budget_cli(*arguments, "--help", COLUMNS="80")
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout.decode()


def test_the_list_of_commands_describes_each_in_a_whole_sentence(budget_cli: Run) -> None:
    text = page(budget_cli)
    for command in COMMANDS:
        (description,) = re.findall(rf"^  {command} +(.*)$", text, flags=re.MULTILINE)
        assert description.endswith(".")
        assert not description.endswith("...")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_page_has_a_description_sections_examples_and_exit_codes(budget_cli: Run, command: str) -> None:
    text = page(budget_cli, command)
    for part in (
        "Usage: budget-cli " + command,
        "Arguments:",
        *(["Fields:"] if command in READING else []),
        "Output:",
        "  Examples:",
        "  Exit codes: 0 ",
        "BUDGET_CLI_TOKEN_BUDGET=4096",
    ):
        assert f"\n{part}" in f"\n{text}" or part in text
    assert not re.search(
        r"(int|float) range|<int|<float|<=x|x>=|\d{5}", text.split("Every option")[0].replace("4096", "")
    )
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("command", READING)
def test_the_first_screen_has_an_example_and_what_most_people_need(budget_cli: Run, command: str) -> None:
    text = page(budget_cli, command)
    places = [
        text.index(f"\n{part}") for part in ("  Examples:", "Arguments:", "Output:", "Fields:", "Help:", "  Exit")
    ]
    assert places == sorted(places)
    assert text.index("\n    budget-cli ") < places[1]
    if command != "fields":
        assert text.index("-B, --token-budget") < places[3]
    assert len(text[: places[1]].splitlines()) <= 28


@pytest.mark.parametrize("command", COMMANDS)
def test_examples_use_only_options_of_their_command(budget_cli: Run, command: str) -> None:
    examples = EXAMPLE.findall(page(budget_cli, command))
    assert len(examples) >= 2
    for example in examples:
        words = shlex.split(example.replace(">>", " > ").replace("|", " | "))
        while "budget-cli" in words:
            words = words[words.index("budget-cli") + 1 :]
            own = words[: next((i for i, word in enumerate(words) if word in ("|", ">")), len(words))]
            known = page(budget_cli, own[0])
            options = [word for word in own if word.startswith("-") and word != "-"]
            known = known.split("\nArguments:")[1]
            assert [option for option in options if f" {option}" not in known] == []


COMPLETIONS: list[tuple[str, str]] = [
    ("lo", "loss"),
    ("loss --fail", "--fail-if"),
    ("loss --format m", "markdown"),
    ("loss --color n", "never"),
    ("loss --preset verl-v", "verl-v1\nverl-v0"),
    ("loss --field old_log_prob", "old_log_prob=\nold_log_probs="),
    ("loss --fail-if over_budget.f", "over_budget.fraction"),
    ("compare --fail-if loss.d", "loss.delta"),
    ("loss --by f", "file\nfinish_reason"),
    ("loss --preset prime-rl-traces --keep u", "untrainable"),
    ("loss --preset verl-v0 --keep u", ""),
    ("explain half", "half-at-β"),
    ("explain phantom", "phantom-share\nphantom\nphantom-advantage"),
    ("check --explain trunc", "truncated-tail\ntruncated"),
    ("check --explain al", "all-lengths-zero\nall-lengths-equal\nall"),
    ("check --select gro", "groups"),
    ("check --ignore one-token,one-p", "one-token,one-prompt"),
    ("check --threshold one-t", "one-token.share="),
    ("show --finding phan", "phantom-advantage"),
    (f"loss {DUMPS}/miles.jsonl --keep a", "aborted\nall"),
    (f"loss {DUMPS}/gone.jsonl --keep lo", "loss-masked"),
    (f"loss {DUMPS}/verl-v0.jsonl --keep a", "all"),
]


@pytest.mark.parametrize(("typed", "offered"), COMPLETIONS)
def test_bash_completes_commands_options_and_values(budget_cli: Run, typed: str, offered: str) -> None:
    words = f"budget-cli {typed}"
    environment = {
        "_BUDGET_CLI_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    done = budget_cli(**environment)
    assert (done.returncode, done.stdout.decode().strip()) == (0, offered)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_gets_its_completion_script(budget_cli: Run, shell: str) -> None:
    done = budget_cli(_BUDGET_CLI_COMPLETE=f"source_{shell}")
    assert done.returncode == 0
    assert b"_BUDGET_CLI_COMPLETE" in done.stdout


@pytest.mark.parametrize("command", READING)
def test_every_option_can_come_from_the_environment(budget_cli: Run, command: str) -> None:
    files = ["x", "y"] if command == "compare" else ["x"]
    wrong = dict.fromkeys(("BUDGET_CLI_MAX_LINE_BYTES", "BUDGET_CLI_FORMAT", "BUDGET_CLI_JOBS"), "none")
    done = budget_cli(command, *files, **wrong)
    assert done.returncode == 2
    assert re.match(r"budget-cli: --[a-z-]+( / -[a-z])?: expected .*, found 'none'\n$", done.stderr.decode())


COLOURS: list[tuple[tuple[str, ...], dict[str, str], bool]] = [
    ((), {}, False),
    (("--color", "always"), {}, True),
    (("--color", "always"), {"NO_COLOR": "1"}, True),
    (("--color", "never"), {"FORCE_COLOR": "1"}, False),
    (("--color", "auto"), {"FORCE_COLOR": "1"}, True),
    ((), {"FORCE_COLOR": "1"}, True),
    ((), {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
    ((), {"BUDGET_CLI_COLOR": "always"}, True),
    (("--color", "never"), {"BUDGET_CLI_COLOR": "always"}, False),
]
DUMP = str(ROOT / "sample_data" / "rollouts.jsonl")
DRAWN = {
    "loss": [DUMP, "-B", "1024"],
    "check": [DUMP, "-B", "1024"],
    "compare": [DUMP, DUMP, "-B", "1024"],
    "fields": [DUMP],
}


@pytest.mark.exhaustive
@pytest.mark.parametrize("command", DRAWN)
@pytest.mark.parametrize(("flags", "environment", "coloured"), COLOURS)
def test_colour_follows_the_flag_then_the_environment_then_the_terminal(
    budget_cli: Run, command: str, flags: tuple[str, ...], environment: dict[str, Any], coloured: bool
) -> None:
    done = budget_cli(command, *DRAWN[command], *flags, **environment)
    assert done.returncode == 0, done.stderr
    assert (b"\x1b[" in done.stdout) is coloured


@pytest.mark.parametrize("columns", ["0", "1", "20", "500"])
@pytest.mark.parametrize("command", [("loss",), ("check",), ("sweep",)])
def test_a_coloured_screen_has_the_same_lines_on_any_terminal(
    budget_cli: Run, small: Path, command: tuple[str, ...], columns: str
) -> None:
    arguments = (*command, small, "-B", "900")
    plain = budget_cli(*arguments, COLUMNS=columns).stdout.decode()
    coloured = budget_cli(*arguments, COLUMNS=columns, FORCE_COLOR="1").stdout.decode()
    shown = re.sub("\x1b\\[[0-9;]*m", "", coloured)
    assert [line.rstrip() for line in shown.splitlines()] == plain.splitlines() != []
