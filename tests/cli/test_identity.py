"""If this fails, a command does not say that prompt ids are contradicted, or what it says to do does not help."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from command import Run

TRAINER = Path(__file__).parents[1] / "trainer"
REWARDS = ("--kl-coef", "0", "--beta", "0")
POSITIONS = ("--field", "prompt_id=[step, prompt_idx]")
COMMANDS = [
    ("loss", *REWARDS),
    ("check",),
    ("sweep", "--beta", "0", "--alpha", "0"),
    ("annotate", *REWARDS),
    ("summarize", *REWARDS),
    ("report", *REWARDS),
]


def findings(budget_cli: Run, *arguments: Any) -> dict[str, dict[str, Any]]:
    return {one["code"]: one for one in json.loads(budget_cli("check", *arguments, "-f", "json").stdout)["findings"]}


def options_in(remedy: str) -> list[str]:
    (found,) = re.findall("`(--[^`]*)`", remedy)
    return shlex.split(found)


@pytest.mark.exhaustive
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_every_command_says_that_one_id_stands_for_several_prompts(budget_cli: Run, command: tuple[str, ...]) -> None:
    dump = TRAINER / "open_instruct_regrouped.jsonl"
    done = budget_cli(command[0], dump, *command[1:], *POSITIONS)
    assert (
        f"{dump}: warning: 2 of the first 2 prompt ids stand for several prompts, as they have different prompt_tokens:"
        " --field 'prompt_id=digest(prompt_tokens)' groups by that\n"
    ) in done.stderr.decode()
    assert b"warning" not in budget_cli(command[0], dump, *command[1:]).stderr
    assert b"warning" not in budget_cli(command[0], dump, *command[1:], *POSITIONS, "-q").stderr


def test_the_result_holds_the_warnings_also_where_nothing_is_reported(budget_cli: Run) -> None:
    dump = TRAINER / "open_instruct_regrouped.jsonl"
    (warning,) = json.loads(budget_cli("loss", dump, *REWARDS, *POSITIONS, "-q", "-f", "json").stdout)["warnings"]
    assert warning == (
        "2 of the first 2 prompt ids stand for several prompts, as they have different prompt_tokens:"
        " --field 'prompt_id=digest(prompt_tokens)' groups by that"
    )
    assert json.loads(budget_cli("loss", dump, *REWARDS, "-f", "json").stdout)["warnings"] == []


@pytest.mark.parametrize("text", [(), ("--text",)])
def test_check_finds_an_id_over_several_prompts_and_its_remedy_gives_the_right_loss(
    budget_cli: Run, text: tuple[str, ...]
) -> None:
    dump = TRAINER / "open_instruct_regrouped.jsonl"
    found = findings(budget_cli, dump, *POSITIONS, *text)["id-over-texts"]
    assert (found["count"], found["of"], found["severity"]) == (2, 2, "warning")
    options = options_in(found["remedy"])
    assert options == ["--field", "prompt_id=digest(prompt_tokens)"]
    answer = json.loads(budget_cli("loss", dump, *REWARDS, *options, "-f", "json").stdout)
    assert (answer["loss"], answer["prompts"]) == (0.1944, 3)
    assert "id-over-texts" not in findings(budget_cli, dump, *options, *text)


def test_a_remedy_keeps_ids_of_one_file_apart_from_those_of_another(budget_cli: Run, tmp_path: Path) -> None:
    record = {"example_id": 1, "completion": "a", "reward": 1.0}
    for name in "ab":
        lines = [json.dumps({**record, "prompt": text}) + "\n" for text in ("2 + 2", "3 + 3")]
        (tmp_path / f"{name}.jsonl").write_text("".join(lines))
    (files, found) = (sorted(tmp_path.iterdir()), findings(budget_cli, *sorted(tmp_path.iterdir()), "--text"))
    options = options_in(found["id-over-texts"]["remedy"])
    assert options == ["--field", "prompt_id=digest(prompt)", "--ids-per-file"]
    assert json.loads(budget_cli("loss", *files, *REWARDS, *options, "-f", "json").stdout)["prompts"] == 4


def test_stored_advantages_give_the_size_of_groups_that_fell_apart(budget_cli: Run) -> None:
    dump = TRAINER / "nemo_rl_path_in_prompt.jsonl"
    found = findings(budget_cli, dump)
    assert found["stored-advantage"]["message"] == (
        "in 6 of 6 prompts with a single response the stored advantage is not 0"
    )
    assert found["singleton"]["remedy"] == found["stored-advantage"]["remedy"]
    options = options_in(found["stored-advantage"]["remedy"])
    assert options == ["--group-size", "3"]
    assert json.loads(budget_cli("loss", dump, *REWARDS, *options, "-f", "json").stdout)["loss"] == 0.2222
    done = budget_cli("loss", dump, *REWARDS)
    assert b"over every 3 of them the stored advantages sum to 0: --group-size 3 groups by that" in done.stderr
    assert not {"singleton", "stored-advantage"} & set(findings(budget_cli, dump, *options))
    assert not {"singleton", "stored-advantage"} & set(findings(budget_cli, TRAINER / "nemo_rl_same_prompt.jsonl"))


def test_a_size_that_a_file_is_no_multiple_of_is_not_proposed(budget_cli: Run, tmp_path: Path) -> None:
    lines = (TRAINER / "nemo_rl_path_in_prompt.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "cut.jsonl").write_bytes(b"".join(lines[:5]))
    (tmp_path / "blank.jsonl").write_bytes(b"\n".join([*lines, b""]))
    for dump in sorted(tmp_path.iterdir()):
        found = findings(budget_cli, dump)["stored-advantage"]
        assert "give the number of lines of a group: `--group-size N`" in found["remedy"]


def test_canonical_records_with_the_text_of_their_prompts_are_looked_at(budget_cli: Run, tmp_path: Path) -> None:
    lines = [{"prompt_id": "p", "reward": 1.0, "prompt_text": text} for text in ("2 + 2", "3 + 3")]
    dump = tmp_path / "a.jsonl"
    dump.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert b"--field 'prompt_id=digest(prompt_text)' groups by that" in budget_cli("loss", dump, *REWARDS).stderr


def agent_lightning(path: Path, *rewards: tuple[str, float]) -> Path:
    rows = [
        {"rollout_id": f"ro-{path.stem}{n}", "reward": reward, "prompt": prompt, "response": "so"}
        for n, (prompt, reward) in enumerate(rewards)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


SHARDS = (
    [("2 + 2?", 1.0), *[("3 + 3?", 0.0)] * 3, ("5:5?", 1.0), ("5:5?", 1.0)],
    [("3 + 3?", 1.0), ("5:5?", 0.0), ("5:5?", 0.0), *[("2 + 2?", 0.0)] * 3],
)


def test_shards_that_cut_the_groups_of_a_preset_with_ids_per_file_are_a_warning(
    budget_cli: Run, tmp_path: Path
) -> None:
    paths = [agent_lightning(tmp_path / f"{n}.jsonl", *rewards) for n, rewards in enumerate(SHARDS)]
    advice = (
        "3 prompts have responses in several files, together 4 as other prompts have, and ids count within their file:"
        " give --field 'prompt_id=digest(prompt)' (to summarize, of summaries) if the files are shards of one step"
    )

    def loss(*arguments: Any) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(budget_cli("loss", *arguments, *REWARDS, "-f", "json").stdout)
        return found

    # by file, each part has equal rewards
    apart = loss(*paths)
    assert (apart["loss"], apart["prompts"], apart["warnings"]) == (0.0, 6, [advice])
    for command in COMMANDS:
        done = budget_cli(command[0], *paths, *command[1:])
        assert f"budget-cli: warning: {advice}\n" in done.stderr.decode(), command
    # together, two prompts have one reward of 4 that differs, and one has two: (0.75 + 0.75 + 1) / 12
    (options,) = re.findall(r"(--field '[^']*')", advice)
    together = loss(*paths, *shlex.split(options))
    assert (together["loss"], together["prompts"], together["warnings"]) == (0.2083, 3, [])
    summaries = []
    for name, files in {"both": paths, "one": paths[:1], "two": paths[1:]}.items():
        summaries.append(tmp_path / f"{name}.summary")
        assert budget_cli("summarize", *files, *REWARDS, "-o", summaries[-1]).returncode == 0
    both, *each = summaries
    assert loss(both)["warnings"] == [advice]
    assert loss(*each)["warnings"] == [advice]
    assert loss(*paths, "--ids-per-file")["warnings"] == []  # somebody has said so


@pytest.mark.parametrize(
    "files",
    [
        [[("a", 1.0), ("a", 0.0), ("b", 1.0), ("b", 0.0)]] * 2,  # the same prompts in two steps
        [[("a", 1.0), ("a", 0.0), ("b", 1.0)], [("c", 1.0), ("c", 0.0)]],  # a response failed, other prompts
        [
            [("a", 1.0)] * 4 + [("b", 1.0)] * 3,
            [("a", 1.0)] * 3 + [("b", 1.0)] * 4,
        ],  # one failed of each 4, in two steps
    ],
)
def test_steps_with_ids_of_their_own_are_none(budget_cli: Run, tmp_path: Path, files: list[Any]) -> None:
    paths = [agent_lightning(tmp_path / f"{n}.jsonl", *rewards) for n, rewards in enumerate(files)]
    assert b"warning" not in budget_cli("loss", *paths, *REWARDS).stderr


@pytest.mark.parametrize("key", ["prompt", "prompt_tokens", "prompt_token_ids"])
def test_texts_and_tokens_under_their_usual_keys_contradict_ids_too(budget_cli: Run, tmp_path: Path, key: str) -> None:
    path = tmp_path / "a.jsonl"

    def loss(texts: list[Any], *options: str) -> tuple[float, list[str]]:
        rows = [{"prompt_id": "p", key: text, "reward": n // 2} for n, text in enumerate(texts)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        found = json.loads(budget_cli("loss", path, *REWARDS, *options, "-f", "json").stdout)
        return found["loss"], found["warnings"]

    one, other = ([1, 2], [1, 3]) if "token" in key else ("2 + 2?", "3 + 3?")
    texts = [one, one, other, other]  # rewards 0, 0, 1, 1: as one prompt, 0.25; as two, 0
    remedy = f"--field 'prompt_id=digest({key})'"
    warning = (
        f"1 of the first 1 prompt ids stands for several prompts, as it has different {key}: {remedy} groups by that"
    )
    assert loss(texts) == (0.25, [warning])
    assert loss(texts, *shlex.split(remedy)) == (0.0, [])
    assert loss([one] * 4) == (0.25, [])
    assert loss([one, other, one, None]) == (0.25, [])  # not every record has it
