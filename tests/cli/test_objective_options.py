"""If this fails, --objective or --set means another objective than its user reads, or one output does not say which."""

import html
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from command import Done, Run
from samples import lines

from budget_cli.cli import recipes

COMMANDS = ("loss", "sweep", "check", "compare", "show", "annotate", "report", "summarize")
CAPPED = "trl-grpo: capped penalty min(16, max(0, L − B)), advantage (x − mean x)/(s + ε) (ddof 1, ε 0.0001)"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the dump a.jsonl, and objectives in mine.toml and one.toml."""
    folder = tmp_path_factory.mktemp("objectives")
    records: list[dict[str, Any]] = []
    for i in range(24):
        record = {
            "prompt_id": f"p{i // 4}",
            "reward": 1 if i < 4 else i * 7 % 5 % 2,
            "response_length": 40 + 37 * i % 90,
        }
        records.append(record | {"log_prob": -9 - i % 3, "old_log_prob": -9.5, "task": "ab"[i // 12]})
    (folder / "a.jsonl").write_bytes(lines(records))
    (folder / "mine.toml").write_text(
        '[short]\nsource = "ours"\npenalty = "capped"\ncap = 16\n\n[left-out]\nadvantage = "rloo"\n'
    )
    (folder / "one.toml").write_text('penalty = "step"\n')
    return folder


def of(done: Done) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr.decode()
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def arguments(command: str, more: str, dump: str = "a.jsonl") -> list[str]:
    """Return a command line; of `compare`, with the dump as both sides."""
    return [command, dump, *([dump] if command == "compare" else []), *shlex.split(more)]


# ---- names and files


@pytest.mark.parametrize("name", sorted(recipes.load()))
@pytest.mark.parametrize("command", COMMANDS)
def test_every_named_objective_is_taken_by_every_command(
    budget_cli: Run, folder: Path, command: str, name: str
) -> None:
    more = f"-B 80 --objective {name}" + (" --set cap=16" if name == "dapo" else "")
    done = budget_cli(*arguments(command, more), cwd=folder)
    if command == "compare" and name in ("verl-grpo", "opo", "reinforce-pp", "areal"):
        assert (done.returncode, b"compare has standard errors only for advantages" in done.stderr) == (2, True)
    elif command == "check":
        assert done.returncode in (0, 1), done.stderr.decode()
    else:
        assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize("name", sorted(recipes.load()))
@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "compare"])
def test_no_objective_needs_a_budget_where_nothing_is_penalised(
    budget_cli: Run, folder: Path, command: str, name: str
) -> None:
    more = f"--beta 0 --objective {name}" + (" --set cap=16" if name == "dapo" else "")
    done = budget_cli(*arguments(command, more), cwd=folder)
    assert done.returncode in ((0, 1) if command == "check" else (0,)), done.stderr.decode()


FILES = [
    ("mine.toml:short", "short: capped penalty min(16, max(0, L − B)), advantage x − mean x"),
    ("./mine.toml:left-out", "left-out: linear penalty max(0, L − B), advantage n/(n − 1)·(x − mean x)"),
    ("one.toml", "one: step penalty 1[L > B], advantage x − mean x"),
    ("one.toml:one", "one: step penalty 1[L > B], advantage x − mean x"),
]


@pytest.mark.parametrize(("given", "sentence"), FILES)
def test_an_objective_of_a_file_is_that_of_its_keys(budget_cli: Run, folder: Path, given: str, sentence: str) -> None:
    done = budget_cli("loss", "a.jsonl", "-B", "80", "--objective", given, cwd=folder)
    assert done.stdout.decode().splitlines()[2] == sentence


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            "--objective dapo --set penalty=linear",
            "dapo: linear penalty max(0, L − B), advantage (x − mean x)/(s + ε) (ddof 1, ε 1e-06)",
        ),
        (
            "--objective trl-grpo --set advantage=opo",
            "trl-grpo: linear penalty max(0, L − B), advantage x − Σ L·x/Σ L",
        ),
        (
            "--objective verl-grpo --set advantage=reinforce++",
            "verl-grpo: linear penalty max(0, L − B), advantage (x − X)/(σ + ε) (ddof 1, ε 1e-06)",
        ),
        (
            "--objective alp --set scale=none",
            "alp: linear penalty max(0, L − B), advantage (x − mean x)/(s + ε) (ddof 1, ε 1e-06)",
        ),
    ],
)
def test_a_key_that_another_one_makes_meaningless_goes_with_it(
    budget_cli: Run, folder: Path, given: str, sentence: str
) -> None:
    done = budget_cli(*arguments("loss", f"-B 80 {given}"), cwd=folder)
    assert done.stdout.decode().splitlines()[2] == sentence


NAMES = ", ".join(recipes.load())
KEYS = "penalty, cap, penalize, correct_above, scale, scale_floor, gate, advantage, ddof, eps, singletons, aggregate"
REFUSED = [
    ("--objective drgrpo", "--objective drgrpo: unknown objective (did you mean dr-grpo?)"),
    ("--objective DAPO", "--objective DAPO: unknown objective (did you mean dapo?)"),
    ("--objective xyz", f"--objective xyz: unknown objective; expected {NAMES}, or a file NAME.toml"),
    ("--objective ''", f"--objective : unknown objective; expected {NAMES}, or a file NAME.toml"),
    (
        "--objective mine.toml",
        "--objective mine.toml: expected one objective in the file, found mine.toml:short, mine.toml:left-out",
    ),
    (
        "--objective mine.toml:shrt",
        "--objective mine.toml:shrt: unknown objective; expected mine.toml:short or mine.toml:left-out",
    ),
    ("--objective none.toml", "--objective none.toml: cannot be read: No such file or directory"),
    (
        "--objective dapo",
        "--objective dapo: penalty=capped: give the tokens over which it grows, as in --set cap=2048",
    ),
    ("--set penalti=capped", "--set penalti: unknown key (did you mean penalty?)"),
    (
        "--set penalty=CAPPED",
        "--set penalty=CAPPED: expected linear or capped or step or distance (did you mean capped?)",
    ),
    ("--set cap=512", "--set cap=512: only penalty=capped has one, and the penalty is linear"),
    ("--objective rloo --set ddof=1", "--set ddof=1: advantage=rloo has no ddof"),
    (
        "--objective areal --set singletons=reward",
        "--set singletons=reward: advantage=batch-std takes its mean or deviation from the batch",
    ),
    (
        "--max-response-length 90",
        "--max-response-length and --overlong-buffer go together: give both",
    ),
    (
        "--max-response-length 90 --overlong-buffer 91",
        "--overlong-buffer 91: expected at most --max-response-length, 90",
    ),
]


@pytest.mark.parametrize("command", ["loss", "check", "annotate"])
@pytest.mark.parametrize(("given", "message"), REFUSED)
def test_what_is_no_objective_is_refused_before_anything_is_read(
    budget_cli: Run, folder: Path, command: str, given: str, message: str
) -> None:
    budget = "" if "overlong" in given or "max-" in given else " -B 80"
    done = budget_cli(*arguments(command, given + budget, "no-such-file.jsonl"), cwd=folder)
    assert (done.returncode, done.stdout, done.stderr.decode()) == (2, b"", f"budget-cli: {message}\n")


@pytest.mark.parametrize("given", ["penalty", "penalty=", "=capped"])
def test_a_key_without_a_value_is_refused_with_the_keys(budget_cli: Run, folder: Path, given: str) -> None:
    done = budget_cli("loss", "a.jsonl", "-B", "80", "--set", given, cwd=folder)
    assert (done.returncode, done.stdout) == (2, b"")
    start, _, keys = done.stderr.decode().rpartition("; the keys are ")
    assert start == f"budget-cli: --set {given}: expected KEY=VALUE, as in penalty=capped"
    assert set(KEYS.split(", ")) <= set(keys.strip().split(", "))


# ---- the settings file

SETTINGS = '[objective]\nname = "trl-grpo"\npenalty = "capped"\ncap = 16\n'
PRECEDENCE: list[tuple[str, dict[str, str], str]] = [
    ("", {}, CAPPED),
    ("--set cap=9", {}, CAPPED.replace("16", "9")),
    ("--set penalty=step", {}, "trl-grpo: step penalty 1[L > B], advantage (x − mean x)/(s + ε) (ddof 1, ε 0.0001)"),
    ("--set advantage=rloo", {}, "trl-grpo: capped penalty min(16, max(0, L − B)), advantage n/(n − 1)·(x − mean x)"),
    ("--objective rloo", {}, "rloo: linear penalty max(0, L − B), advantage n/(n − 1)·(x − mean x)"),
    ("--objective kimi-k2", {}, "kimi-k2: linear penalty max(0, L − B), advantage x − mean x"),
    ("", {"BUDGET_CLI_OBJECTIVE": "kimi-k2"}, "kimi-k2: linear penalty max(0, L − B), advantage x − mean x"),
    ("", {"BUDGET_CLI_SET": "cap=9"}, CAPPED.replace("16", "9")),
    ("--no-config", {}, "kimi-k2: linear penalty max(0, L − B), advantage x − mean x"),
]


@pytest.mark.parametrize(("given", "variables", "sentence"), PRECEDENCE)
def test_the_command_line_changes_keys_of_the_settings_file_and_its_name_replaces_them(
    budget_cli: Run, folder: Path, tmp_path: Path, given: str, variables: dict[str, str], sentence: str
) -> None:
    (tmp_path / "budget-cli.toml").write_text(SETTINGS)
    no_config = ["--no-config"] if given == "--no-config" else []
    more = [] if no_config else given.split()
    command = [*no_config, "loss", folder / "a.jsonl", "-B", "80", "-f", "json", *more]
    done = budget_cli(*command, cwd=tmp_path, **variables)
    assert of(done)["objective"]["sentence"] == sentence


def test_what_is_said_to_be_of_the_settings_file_is(budget_cli: Run, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "budget-cli.toml").write_text(SETTINGS)
    for given, said in (("", "objective, set"), ("--set cap=9", "objective"), ("--objective rloo", None)):
        done = budget_cli("loss", folder / "a.jsonl", "-B", "80", *given.split(), cwd=tmp_path)
        expected = "" if said is None else f"budget-cli: budget-cli.toml: sets {said}\n"
        assert done.stderr.decode() == expected


IN_FILE = [
    ('penalti = "capped"', "objective.penalti: unknown key (did you mean penalty?)"),
    ("ddof = true", "objective.ddof: expected a text or a number, found true"),
    ("penalty = 3", "objective.penalty=3: expected linear or capped or step or distance"),
    ("cap = 16", "objective.cap=16: only penalty=capped has one, and the penalty is linear"),
]


@pytest.mark.parametrize(("line", "message"), IN_FILE)
def test_a_wrong_objective_in_the_settings_file_is_refused_by_its_key(
    budget_cli: Run, folder: Path, tmp_path: Path, line: str, message: str
) -> None:
    (tmp_path / "budget-cli.toml").write_text(f"[objective]\n{line}\n")
    done = budget_cli("loss", folder / "a.jsonl", "-B", "80", "-q", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.decode() == f"budget-cli: budget-cli.toml: {message}\n"


def test_an_unknown_key_of_the_objective_is_refused_by_commands_without_one(
    budget_cli: Run, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "budget-cli.toml").write_text('[objective]\npenalti = "capped"\n')
    assert budget_cli("fields", folder / "a.jsonl", cwd=tmp_path).returncode == 2


def test_a_file_of_objectives_is_relative_to_the_settings_file(budget_cli: Run, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "budget-cli.toml").write_text('[objective]\nname = "mine.toml:short"\n')
    (tmp_path / "mine.toml").write_text('[short]\npenalty = "step"\n')
    (tmp_path / "inner").mkdir()
    done = budget_cli("loss", folder / "a.jsonl", "-B", "80", "-f", "json", cwd=tmp_path / "inner")
    assert of(done)["objective"]["settings"]["penalty"] == "step"


# ---- DAPO's terms


@pytest.mark.parametrize("command", ["loss", "check", "compare", "show", "annotate", "report"])
@pytest.mark.parametrize("objective", ["", "--objective dapo"])
def test_the_terms_of_dapo_are_a_budget_and_a_beta_on_every_command(
    budget_cli: Run, folder: Path, command: str, objective: str
) -> None:
    form = "" if command in ("annotate", "report") else " -f json"
    cap = " --set cap=20" if objective else ""
    theirs = f"--max-response-length 100 --overlong-buffer 20 --overlong-penalty 0.5 {objective}{form}"
    ours = f"-B 80 --beta 0.025 {objective}{cap}{form}"
    one, two = (budget_cli(*arguments(command, more), cwd=folder) for more in (theirs, ours))
    assert one.returncode == two.returncode < 2
    assert one.stdout == two.stdout
    assert len(one.stdout) > 100


@pytest.mark.parametrize("command", ["loss", "check", "compare", "show", "annotate", "report"])
@pytest.mark.parametrize("given", ["-B 80", "--beta 0.1"])
def test_the_terms_of_dapo_and_a_budget_or_a_beta_are_refused_together(
    budget_cli: Run, folder: Path, command: str, given: str
) -> None:
    both = f"--max-response-length 100 --overlong-buffer 20 {given}"
    done = budget_cli(*arguments(command, both), cwd=folder)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.decode() == (
        "budget-cli: --overlong-buffer sets both the budget and β: give either it or -B and --beta\n"
    )


def test_a_cap_that_is_given_is_not_the_overlong_buffer(budget_cli: Run, folder: Path) -> None:
    dapo = "--max-response-length 100 --overlong-buffer 20 --objective dapo --set cap=15 -f json"
    found = of(budget_cli(*arguments("loss", dapo), cwd=folder))
    assert found["objective"]["settings"]["cap"] == 15


# ---- every output says which


@pytest.mark.parametrize("command", ["loss", "sweep", "check", "compare", "show"])
def test_every_json_has_the_objective(budget_cli: Run, folder: Path, command: str) -> None:
    done = budget_cli(*arguments(command, "-B 80 --set penalty=capped --set cap=16 -f json"), cwd=folder)
    found = json.loads(done.stdout)["objective"]
    assert found == {
        "name": "kimi-k2",
        "settings": {
            "penalty": "capped",
            "cap": 16,
            "penalize": "all",
            "correct_above": 0.0,
            "scale": "none",
            "gate": None,
            "advantage": "centred",
            "singletons": "zero",
        },
        "sentence": "kimi-k2: capped penalty min(16, max(0, L − B)), advantage x − mean x",
    }


OTHERS = [
    "--objective rloo",
    "--objective dapo --set cap=9",
    "--objective trl-grpo --set penalty=capped --set cap=9 --set eps=0.01",
    "--objective alp --set advantage=rloo",
    "--objective mine.toml:short",
    "--set gate=0.25 --set penalize=correct",
]


SAYING = [  # in a table of numbers alone, such as -f csv, the objective has no place
    *("loss", "loss --by task", "loss -f markdown", "sweep", "check", "check -f markdown"),
    *("compare", "compare -f markdown", "show", "report"),
]


@pytest.mark.parametrize("command", SAYING)
def test_every_screen_and_page_says_the_objective_in_a_line(budget_cli: Run, folder: Path, command: str) -> None:
    name, _, more = command.partition(" ")
    done = budget_cli(*arguments(name, f"{more} -B 80 --set penalty=step"), cwd=folder)
    text = " ".join(html.unescape(done.stdout.decode()).replace("\\", "").split())
    assert "kimi-k2: step penalty 1[L > B], advantage x − mean x" in text


@pytest.mark.parametrize("given", ["--objective dapo --max-response-length 100 --overlong-buffer 20", *OTHERS])
def test_a_command_that_an_output_names_has_its_objective(budget_cli: Run, folder: Path, given: str) -> None:
    budget = "" if "overlong" in given else "-B 80 --beta 0.05"
    made = of(budget_cli(*arguments("loss", f"{given} {budget} --kl-coef 0 -f json"), cwd=folder))
    page = budget_cli(*arguments("report", f"{given} {budget} --kl-coef 0"), cwd=folder).stdout.decode()
    same = re.search(r'"command":"budget-cli (.*?)","', page)
    assert same is not None
    again = of(
        budget_cli(*shlex.split(same[1]), *["-B", "80", "--beta", "0.05", "--alpha", "0", "-f", "json"], cwd=folder)
    )
    assert again["loss"] == made["loss"]
    checked = budget_cli(*arguments("check", f"{given} {budget}"), cwd=folder).stdout.decode()
    shown = re.search("^show +budget-cli (.*)$", checked, re.MULTILINE)
    assert shown is not None
    found = of(budget_cli(*shlex.split(shown[1]), "-f", "json", cwd=folder))
    assert found["objective"]["settings"] == made["objective"]["settings"]


# ---- the aggregate


def test_the_aggregate_is_that_of_the_option_or_else_of_the_objective(budget_cli: Run, folder: Path) -> None:
    for given, expected in (
        ("", "response"),
        ("--set aggregate=prompt", "prompt"),
        ("--aggregate prompt", "prompt"),
        ("--set aggregate=prompt --aggregate response", "response"),
    ):
        found = of(budget_cli(*arguments("loss", f"-B 80 -f json {given}"), cwd=folder))
        assert found["aggregate"] == expected


# ---- compare


@pytest.mark.parametrize("given", ["--objective rloo", "--objective slime-grpo", "--set penalty=capped --set cap=9"])
def test_a_comparison_is_of_the_losses_of_the_objective(
    budget_cli: Run, folder: Path, tmp_path: Path, given: str
) -> None:
    changed = [
        json.loads(line) | {"reward": i * 3 % 4 // 2}
        for i, line in enumerate((folder / "a.jsonl").read_bytes().splitlines())
    ]
    (tmp_path / "b.jsonl").write_bytes(lines(changed))
    more = ["-B", "80", *given.split(), "-f", "json", "--precision", "17"]
    compared = of(budget_cli("compare", folder / "a.jsonl", tmp_path / "b.jsonl", *more))
    base, new = (of(budget_cli("loss", dump, *more))["loss"] for dump in (folder / "a.jsonl", tmp_path / "b.jsonl"))
    assert compared["loss"]["base"] == pytest.approx(base, rel=1e-14)
    assert compared["loss"]["new"] == pytest.approx(new, rel=1e-14)
    assert compared["loss"]["delta"] == pytest.approx(new - base, rel=1e-12)
    assert compared["loss"]["se"] > 0


@pytest.mark.parametrize("given", OTHERS)
def test_a_result_of_another_objective_is_refused_with_the_options_that_fit(
    budget_cli: Run, folder: Path, tmp_path: Path, given: str
) -> None:
    made = budget_cli(*arguments("loss", f"-B 80 {given} -f json"), cwd=folder)
    (tmp_path / "earlier.json").write_bytes(made.stdout)
    command = ["compare", tmp_path / "earlier.json", "a.jsonl", "-B", "80"]
    refused = budget_cli(*command, cwd=folder)
    assert (refused.returncode, refused.stdout) == (2, b"")
    _, _, flags = refused.stderr.decode().strip().rpartition(": give ")
    taken = of(budget_cli(*command, *shlex.split(flags), "-f", "json", cwd=folder))
    assert taken["loss"]["delta"] == pytest.approx(0, abs=1e-4)  # the result is rounded
    assert taken["objective"]["settings"] == json.loads(made.stdout)["objective"]["settings"]


def test_results_of_an_objective_without_standard_errors_are_compared_as_wholes(
    budget_cli: Run, folder: Path, tmp_path: Path
) -> None:
    made = budget_cli(*arguments("loss", "-B 80 --objective areal -f json"), cwd=folder)
    (tmp_path / "earlier.json").write_bytes(made.stdout)
    refused = budget_cli("compare", tmp_path / "earlier.json", "a.jsonl", "-B", "80", cwd=folder)
    assert refused.returncode == 2
    way = re.search("compare two results: budget-cli (.*) makes the other", refused.stderr.decode())
    assert way is not None
    other = budget_cli(*shlex.split(way[1]), cwd=folder)
    (tmp_path / "other.json").write_bytes(other.stdout)
    compared = of(budget_cli("compare", tmp_path / "earlier.json", tmp_path / "other.json", "-f", "json"))
    assert (compared["loss"]["delta"], compared["objective"]["name"]) == (0, "areal")


def test_two_results_of_different_objectives_are_refused(budget_cli: Run, folder: Path, tmp_path: Path) -> None:
    for name in ("rloo", "kimi-k2"):
        made = budget_cli(*arguments("loss", f"-B 80 --objective {name} -f json"), cwd=folder)
        (tmp_path / f"{name}.json").write_bytes(made.stdout)
    refused = budget_cli("compare", "rloo.json", "kimi-k2.json", cwd=tmp_path)
    assert (refused.returncode, refused.stdout, refused.stderr.decode()) == (
        2,
        b"",
        "budget-cli: kimi-k2.json: computed with kimi-k2: linear penalty max(0, L − B), advantage x − mean x, not with"
        " rloo: linear penalty max(0, L − B), advantage n/(n − 1)·(x − mean x): make both by budget-cli loss with the"
        " same --objective and --set\n",
    )
