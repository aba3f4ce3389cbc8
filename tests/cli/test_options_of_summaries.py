"""If these failed, an option would be accepted where it cannot have an effect: the number that follows is then not the
one that was asked for, and nothing says so."""

import inspect
import json
from pathlib import Path

import pytest
from command import Run
from word_counter import write_tokenizer

from budget_cli.cli.bundles import FieldOptions

AGAIN = "a summary holds no single records, so leave it out, or summarize again with it"
NEEDS = ("-B", "10", "--kl-coef", "0")
COMMANDS = ("loss", "check", "sweep", "compare", "report", "summarize")
PRESETS = """[own]
source = "ours"
detect = ["ours"]
prompt_id = "prompt_id"
reward = "reward"
response_length = "response_length"
leave_out = { failed = "failed" }
"""
OWN = ("--preset", "own", "--presets", "own.toml")
# option: what else is given, with a summary that was made without the option as with it; how the option is given; and
# what is said of that summary
OPTIONS: dict[str, tuple[tuple[str, ...], tuple[str, ...], str]] = {
    "field": ((), ("--field", "reward=score"), "--field reward=score: {} was made with reward=reward"),
    "reward_weights": (
        (),
        ("--reward-weights", "score=2"),
        "--field reward=nandot([score], `[2.0]`): {} was made with reward=reward",
    ),
    "group": ((), ("--group", "line"), "--group line: {} was made without it"),
    "group_size": ((), ("--group-size", "2"), "--group-size 2: {} was made without it"),
    "ids_per_file": ((), ("--ids-per-file",), "--ids-per-file: {} was made without it"),
    "records": ((), ("--records", "inside[]"), "--records inside[]: {} was made without it"),
    "preset": (("--presets", "own.toml"), ("--preset", "own"), "--preset own: {} was made without it"),
    "presets": ((), ("--presets", "own.toml"), "--presets own.toml: {} was made without it"),
    "where": ((), ("--where", "score > `1`"), "--where 'score > `1`': {} was made without it"),
    "keep": (OWN, ("--keep", "failed"), "--keep failed: {} was made without it"),
    "ignore_unneeded": ((), ("--ignore-unneeded",), "--ignore-unneeded: {} was made without it"),
    "tokenizer": ((), ("--tokenizer", "words.json"), "--tokenizer"),
}
# the same for other values, and for optional fields
MORE: dict[str, tuple[tuple[str, ...], tuple[str, ...], str]] = {
    "array": ((), ("--field", "rewards=scores"), "--field rewards=scores: {} was made with rewards=rewards"),
    "optional": (
        (),
        ("--field", "finish_reason=why"),
        "--field finish_reason=why: {} was made with finish_reason=finish_reason",
    ),
    "group_file": ((), ("--group", "file"), "--group file: {} was made without it"),
    "keep_all": (OWN, ("--keep", "all"), "--keep all: {} was made without it"),
    "another_preset": (("--presets", "own.toml", "--preset", "canonical"), ("--preset", "own"), "--preset own: {} was"),
}
CASES = OPTIONS | MORE
OTHERS = ("--by", "step"), ("--text",), ("--duplicate-keys",), ("--suggest",)


@pytest.fixture
def dumps(tmp_path: Path) -> Path:
    """Two files of four records, in a directory with presets and a tokenizer."""
    for step in (1, 2):
        records = [
            {
                "prompt_id": f"p{number // 2}",
                "reward": number % 2,
                "score": 3 * number % 4,
                "scores": [number],
                "response_length": 8 + number,
                "ours": step,
                "failed": number == 3,
                "why": "stop",
                "response_text": "one two",
                "inside": [{"first": True}],
            }
            for number in range(4)
        ]
        (tmp_path / f"{step}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    (tmp_path / "own.toml").write_text(PRESETS)
    return tmp_path


def give(run: Run, dumps: Path, command: str, *files: str, options: tuple[str, ...]) -> tuple[int, bytes, str]:
    """Run a command on these files (the first of them is compared with itself)."""
    given = [*files[:1], *files[:1]] if command == "compare" else files
    needs = NEEDS if command != "check" else (*NEEDS[:2], "--ignore", "singleton")
    output = ("-o", f"{command}.out") if command in ("report", "summarize") else ()
    done = run(command, *given, *needs, *options, *output, cwd=dumps)
    return done.returncode, done.stdout, done.stderr.decode()


def test_every_option_for_fields_has_a_row_here() -> None:
    assert list(OPTIONS) == list(inspect.get_annotations(FieldOptions))


@pytest.mark.parametrize("name", CASES)
def test_an_option_has_an_effect_on_a_summary_or_is_refused(budget_cli: Run, dumps: Path, name: str) -> None:
    others, option, refusal = CASES[name]
    if name == "tokenizer":
        pytest.importorskip("tokenizers")
        write_tokenizer(dumps / "words.json")
    files = ("1.jsonl", "2.jsonl")
    assert give(budget_cli, dumps, "summarize", *files, options=others)[0] == 0
    (dumps / "summarize.out").rename(dumps / "without")
    for command in COMMANDS:
        code, out, err = give(budget_cli, dumps, command, "without", options=(*others, *option))
        *_, last = err.splitlines()
        assert (code, out) == (2, b""), command
        assert last.startswith(f"budget-cli: {refusal.format('without')}"), last
        assert last.endswith(f": {AGAIN}"), last
    beside = give(budget_cli, dumps, "loss", "without", "2.jsonl", options=(*others, *option))
    assert (beside[0], beside[1]) == (2, b"")

    if name == "array":
        return  # no loss: these records have no such arrays
    assert give(budget_cli, dumps, "summarize", *files, options=(*others, *option))[0] == 0
    (dumps / "summarize.out").rename(dumps / "with")
    assert give(budget_cli, dumps, "summarize", "with", options=(*others, *option))[0] == 0
    (dumps / "summarize.out").rename(dumps / "again")
    of_records = give(budget_cli, dumps, "loss", *files, options=(*others, *option))
    for made in ("with", "again"):
        for command in COMMANDS:
            code, out, err = give(budget_cli, dumps, command, made, options=(*others, *option))
            assert code == 0, (command, err)
            if command == "loss":
                assert out == of_records[1]
        assert give(budget_cli, dumps, "loss", made, options=())[1] == of_records[1]


@pytest.mark.parametrize("option", OTHERS)
def test_what_needs_single_records_is_refused_by_every_command_that_has_it(
    budget_cli: Run, dumps: Path, option: tuple[str, ...]
) -> None:
    assert give(budget_cli, dumps, "summarize", "1.jsonl", options=())[0] == 0
    (dumps / "summarize.out").rename(dumps / "s")
    commands = {"--by": ("loss", "report"), "--suggest": ("sweep",)}
    for command in commands.get(option[0], ("check",)):
        code, out, err = give(budget_cli, dumps, command, "s", options=option)
        assert (code, out, err.count("\n")) == (2, b"", 1), err


def test_a_summary_that_does_not_say_how_it_was_made_is_not_taken_at_its_word(budget_cli: Run, dumps: Path) -> None:
    assert give(budget_cli, dumps, "summarize", "1.jsonl", options=())[0] == 0
    header, *lines = (dumps / "summarize.out").read_text().splitlines()
    old = {name: value for name, value in json.loads(header).items() if name not in ("options", "checksum")}
    old["schema"] = "budget-cli/summary/1"
    (dumps / "old").write_text("\n".join([json.dumps(old), *lines, ""]))
    assert give(budget_cli, dumps, "loss", "old", options=())[0] == 0
    for option in (("--ids-per-file",), ("--field", "step=step")):
        code, _, err = give(budget_cli, dumps, "loss", "old", options=option)
        why = "old was made by an earlier version, which does not say whether with it"
        assert (code, err) == (2, f"budget-cli: {' '.join(option)}: {why}: {AGAIN}\n")


def test_a_summary_of_summaries_keeps_how_those_were_made(budget_cli: Run, dumps: Path) -> None:
    """It was written as if the fields were at their own names, so it went together with what has other rewards."""
    where = ("--field", "reward=score", "--where", "score > `1`")
    assert give(budget_cli, dumps, "summarize", "1.jsonl", options=where)[0] == 0
    (dumps / "summarize.out").rename(dumps / "s")
    assert give(budget_cli, dumps, "summarize", "s", options=())[0] == 0
    (dumps / "summarize.out").rename(dumps / "of-s")
    first, again = (json.loads((dumps / name).read_text().splitlines()[0]) for name in ("s", "of-s"))
    assert first["fields"]["reward"] == "score"
    for key in ("fields", "leave_out", "needs", "options", "records_are", "group", "prompts_of_steps"):
        assert first[key] == again[key], key
    code, _, err = give(budget_cli, dumps, "loss", "of-s", "2.jsonl", options=())
    assert code == 2
    assert "was made with fields reward=score, but the records with reward=reward: they cannot be combined" in err


def test_ids_of_files_and_ids_of_the_dump_are_not_combined(budget_cli: Run, dumps: Path) -> None:
    for file, options in (("1.jsonl", ("--ids-per-file",)), ("2.jsonl", ())):
        assert give(budget_cli, dumps, "summarize", file, options=options)[0] == 0
        (dumps / "summarize.out").rename(dumps / f"s{file[0]}")
    for files, message in (
        (("s1", "s2"), "s2: this summary was made without, but s1 with --ids-per-file: they cannot be combined"),
        (("s1", "2.jsonl"), "s1: this summary was made with --ids-per-file, but the records without: they cannot"),
    ):
        code, _, err = give(budget_cli, dumps, "loss", *files, options=())
        assert code == 2
        assert message in err
    assert give(budget_cli, dumps, "loss", "s1", "2.jsonl", options=("--ids-per-file",))[0] == 0


def test_presets_are_read_whatever_else_is(budget_cli: Run, dumps: Path) -> None:
    code, _, err = give(budget_cli, dumps, "loss", "1.jsonl", options=("--presets", "missing.toml"))
    assert (code, err) == (2, "budget-cli: --presets missing.toml: cannot be read: No such file or directory\n")


def test_a_reason_that_no_preset_has_is_refused_of_a_summary_too(budget_cli: Run, dumps: Path) -> None:
    assert give(budget_cli, dumps, "summarize", "1.jsonl", options=())[0] == 0
    code, _, err = give(budget_cli, dumps, "loss", "summarize.out", options=("--keep", "nonsense"))
    assert code == 2
    assert err.startswith(
        "budget-cli: --keep nonsense: no sample is left out for this reason; expected all, or one of "
    )
