"""If this fails, responses of several steps form one group, whose mean no trainer uses."""

import json
from pathlib import Path
from typing import Any

import pytest
from command import LossJson, Run

STEPS = Path(__file__).parents[2] / "sample_data/steps"
RECORD = {"log_prob": -1.0, "old_log_prob": -1.0, "response_length": 5}


def dump(path: Path, *responses: tuple[Any, Any, float], **more: Any) -> Path:
    """Write a dump of (step, prompt id, reward); a step of ... is left out of the record."""
    with path.open("w") as file:
        for step, prompt, reward in responses:
            record = {"prompt_id": prompt, "reward": reward, **RECORD, **more} | ({} if step is ... else {"step": step})
            file.write(json.dumps(record) + "\n")
    return path


FREE = ("--beta", "0", "--kl-coef", "0")


def test_the_sample_of_four_steps_has_the_loss_of_its_steps(loss_json: LossJson) -> None:
    found = loss_json(STEPS, "-B", "1024")
    assert (round(found["loss"], 4), found["prompts"], found["groups"]["phantom"]) == (0.3379, 24, 4)
    joined = loss_json(STEPS, "-B", "1024", "--group", "prompt")
    assert (round(joined["loss"], 4), joined["prompts"]) == (0.6362, 7)


@pytest.mark.parametrize("steps", [(1, 2), ("a", "b"), (1, "1"), ("a/b", "c"), (1, None)])
@pytest.mark.parametrize("prompt", ["p", "7", 7, "a/b", "ü"])
def test_equal_ids_of_different_steps_are_different_prompts(
    loss_json: LossJson, tmp_path: Path, steps: tuple[Any, Any], prompt: Any
) -> None:
    one, two = steps
    path = dump(tmp_path / "a.jsonl", (one, prompt, 1.0), (two, prompt, 0.0), (one, prompt, 1.0), (two, prompt, 0.0))
    assert loss_json(path, *FREE)["loss"] == 0.0
    assert loss_json(path, *FREE, "--group", "prompt")["loss"] == 0.25


@pytest.mark.parametrize("prompt", ["p", "7", 7, "a/b", ""])
def test_a_dump_of_one_step_keeps_its_ids(loss_json: LossJson, tmp_path: Path, prompt: Any) -> None:
    path = dump(tmp_path / "a.jsonl", (40, prompt, 1.0), (40, prompt, 0.0))
    (only,) = loss_json(path, *FREE, "--per-prompt")["per_prompt"]
    assert (only["prompt_id"], only["responses"]) == (prompt, 2)


def test_two_dumps_of_one_step_each_are_paired_by_prompt(budget_cli: Run, tmp_path: Path) -> None:
    base = dump(tmp_path / "a.jsonl", (1, "p", 1.0), (1, "q", 0.0))
    new = dump(tmp_path / "b.jsonl", (2, "p", 0.0), (2, "q", 0.0))
    done = budget_cli("compare", base, new, *FREE, "-f", "json")
    assert json.loads(done.stdout)["prompts"]["paired"] == 2


def test_records_without_a_step_keep_their_ids(loss_json: LossJson, tmp_path: Path) -> None:
    path = dump(tmp_path / "a.jsonl", (..., "p", 1.0), (..., "p", 0.0))
    assert loss_json(path, *FREE, "--per-prompt")["per_prompt"][0]["prompt_id"] == "p"


def test_annotate_uses_the_baseline_of_the_step(budget_cli: Run, tmp_path: Path) -> None:
    path = dump(tmp_path / "a.jsonl", (1, "p", 1.0), (1, "p", 0.0), (2, "p", 0.0), (2, "p", 0.0))
    lines = budget_cli("annotate", path, *FREE).stdout.splitlines()
    assert [json.loads(line)["budget_cli"]["baseline"] for line in lines] == [0.5, 0.5, 0.0, 0.0]


def files_of(path: Path, *names: str, sizes: tuple[int, ...] = (2, 2)) -> list[Path]:
    """Write files with the same prompts, and no step."""
    for name in names:
        rewards = [(..., f"p{p}", float(i == 0 or name == "a")) for p, size in enumerate(sizes) for i in range(size)]
        dump(path / f"{name}.jsonl", *rewards)
    return sorted(path.iterdir())


GIVE = "give --ids-per-file if each file is a step of its own, or --group prompt if they belong together"
SIZE = "with the same number of responses"
AGAIN = GIVE.replace("per-file", "per-file (to summarize, of summaries)")
RECUR = f"warning: 4 of the 4 prompts after the first file recur from an earlier one, {SIZE}: {AGAIN}"
COMMANDS = {
    "loss": FREE,
    "check": (),
    "sweep": ("--beta", "0", "--alpha", "0"),
    "annotate": FREE,
    "report": FREE,
    "summarize": FREE,
}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_warns_of_ids_that_recur_at_full_size(budget_cli: Run, tmp_path: Path, command: str) -> None:
    files, options = files_of(tmp_path, "a", "b", "c"), COMMANDS[command]
    assert f"budget-cli: {RECUR}\n" in budget_cli(command, *files, *options).stderr.decode()
    for way in (("--ids-per-file",), ("--group", "prompt")):
        assert b"recur" not in budget_cli(command, *files, *options, *way).stderr
    assert b"recur" not in budget_cli(command, files[0], *options).stderr


def test_each_side_of_a_comparison_warns_of_ids_that_recur(budget_cli: Run, tmp_path: Path) -> None:
    for side in ("old", "new"):
        (tmp_path / side).mkdir()
        files_of(tmp_path / side, "a", "b", "c")
    done = budget_cli("compare", tmp_path / "old", tmp_path / "new", *FREE)
    assert done.stderr.decode().count(RECUR) == 2


def test_ids_that_recur_are_apart_or_joined_as_the_warning_says(loss_json: LossJson, tmp_path: Path) -> None:
    files = files_of(tmp_path, "a", "b", "c")
    assert loss_json(*files, *FREE)["warnings"] == [RECUR.removeprefix("warning: ")]
    assert loss_json(*files, *FREE, "--ids-per-file")["prompts"] == 6
    assert loss_json(*files, *FREE, "--group", "prompt")["prompts"] == 2


def test_fields_warns_of_ids_that_recur(budget_cli: Run, tmp_path: Path) -> None:
    files = files_of(tmp_path, "a", "b")
    said = f"the prompt ids of the first file recur in the second: {GIVE}"
    assert json.loads(budget_cli("fields", *files, "-f", "json").stdout)["warnings"] == [said]
    for arguments in ((files[0],), (*files, "--ids-per-file"), (*files, "--group", "prompt"), (STEPS,)):
        assert json.loads(budget_cli("fields", *arguments, "-f", "json").stdout)["warnings"] == []


def test_summaries_with_ids_that_recur_have_to_be_made_again(budget_cli: Run, tmp_path: Path) -> None:
    def summaries(*options: str) -> list[Path]:
        made = []
        for file in files_of(tmp_path, "a", "b"):
            if file.suffix == ".jsonl":
                made.append(tmp_path / f"{file.stem}{len(options)}.summary")
                assert budget_cli("summarize", file, *FREE, *options, "-o", made[-1]).returncode == 0
        return made

    done = budget_cli("check", *summaries(), "-f", "json")
    assert f", {SIZE}: {AGAIN}\n" in done.stderr.decode()
    (found,) = (one for one in json.loads(done.stdout)["findings"] if one["code"] == "recurring-ids")
    assert (found["count"], found["of"], found["severity"]) == (2, 2, "warning")
    again = budget_cli("check", *summaries("--ids-per-file"), "-f", "json")
    assert (b"recur" in again.stderr, b"recurring-ids" in again.stdout.partition(b'"checked"')[0]) == (False, False)


def test_a_prompt_that_is_spread_over_files_unevenly_does_not_recur(budget_cli: Run, tmp_path: Path) -> None:
    files_of(tmp_path, "a", sizes=(3, 5))
    files = files_of(tmp_path, "b", sizes=(2, 1))
    for command, options in COMMANDS.items():
        assert b"recur" not in budget_cli(command, *files, *options).stderr


def test_summaries_keep_the_step_in_their_ids(budget_cli: Run, loss_json: LossJson, tmp_path: Path) -> None:
    parts = []
    for step in (1, 2):
        path = dump(tmp_path / f"{step}.jsonl", (step, "p", 1.0), (step, "p", float(step == 1)))
        parts.append(tmp_path / f"{step}.summary")
        assert budget_cli("summarize", path, *FREE, "-o", parts[-1]).returncode == 0
    found = loss_json(*parts, *FREE)
    assert (found["loss"], found["prompts"]) == (0.125, 2)


def test_group_and_ids_per_file_contradict_each_other(budget_cli: Run, tmp_path: Path) -> None:
    path = dump(tmp_path / "a.jsonl", (1, "p", 1.0))
    done = budget_cli("loss", path, *FREE, "--group", "line", "--ids-per-file")
    assert (done.returncode, done.stderr) == (
        2,
        b"budget-cli: --group and --ids-per-file both define the prompt: give one of them\n",
    )


@pytest.mark.parametrize("key", ["epoch", "global_step", "training_step"])
def test_an_id_that_comes_back_at_another_epoch_is_a_warning(loss_json: LossJson, tmp_path: Path, key: str) -> None:
    path = tmp_path / "a.jsonl"

    def write(**more: Any) -> None:
        rows = [{"prompt_id": "p", "reward": n // 2, key: n // 2, **RECORD, **more} for n in range(4)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))

    write()  # rewards 0, 0 and 1, 1: as one prompt, 0.25; as two, 0
    says = f"1 of the first 1 prompt ids comes back at another {key}: --field step={key} groups by that"
    found = loss_json(path, *FREE)
    assert (found["loss"], found["warnings"]) == (0.25, [says])
    found = loss_json(path, *FREE, "--field", f"step={key}")
    assert (found["loss"], found["prompts"], found["warnings"]) == (0.0, 2, [])
    assert loss_json(path, *FREE, "--group", "prompt")["warnings"] == []  # somebody has said so
    write(step=7)
    says = f"1 of the first 1 prompt ids comes back at another {key}"
    says += f": --field 'prompt_id=[{key}, prompt_id]' groups by that"
    found = loss_json(path, *FREE)
    assert (found["loss"], found["warnings"]) == (0.25, [says])
    found = loss_json(path, *FREE, "--field", f"prompt_id=[{key}, prompt_id]")
    assert (found["loss"], found["warnings"]) == (0.0, [])
    write(**{key: 3})
    assert loss_json(path, *FREE)["warnings"] == []


@pytest.mark.parametrize(
    "command",
    [("sweep", "-B", "9"), ("sweep", "--suggest"), ("loss", *FREE)],
    ids=lambda command: " ".join(command[:2]),
)
def test_every_result_says_why_its_numbers_may_not_be_the_trainers(
    budget_cli: Run, tmp_path: Path, command: tuple[str, ...]
) -> None:
    path = tmp_path / "a.jsonl"
    rows = [{"prompt_id": f"p{i % 4 // 2}", "reward": i % 2, "epoch": i // 4, **RECORD} for i in range(8)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (warning,) = json.loads(budget_cli(command[0], path, *command[1:], "-f", "json").stdout)["warnings"]
    assert "at another epoch" in warning


def test_each_side_of_a_comparison_has_its_warnings_also_as_a_result(budget_cli: Run, tmp_path: Path) -> None:
    one, other, result = (tmp_path / name for name in ("1.jsonl", "2.jsonl", "2.json"))
    for path, epochs in ((one, 1), (other, 2)):
        rows = [{"prompt_id": f"p{i % 4 // 2}", "reward": i % 2, "epoch": i // 4, **RECORD} for i in range(4 * epochs)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert budget_cli("loss", other, "-B", "9", "-f", "json", "-o", result).returncode == 0
    for new in (other, result):
        answer = json.loads(budget_cli("compare", one, new, "-B", "9", "-f", "json").stdout)
        assert (answer["base"]["warnings"], len(answer["new"]["warnings"])) == ([], 1)
