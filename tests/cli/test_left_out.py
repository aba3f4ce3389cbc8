"""If this fails, samples that are left out are lost, counted otherwise by another way of reading, or touched."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from command import LossJson, Run

from budget_cli.errors import UsageProblem
from budget_cli.schema import presets

TRAINER = Path(__file__).parent.parent / "trainer"
REWARDS = ("--kl-coef", "0", "--beta", "0")
FAILED = TRAINER / "verifiers_failed.jsonl"
SEATS = TRAINER / "prime_rl_seats.jsonl"
WHERE = ("--where", "!failed || step == `3`")


def dump(folder: Path, files: int = 3, lines: int = 40) -> list[Path]:
    """Write records of which some failed."""
    paths = []
    for number in range(files):
        rows = [
            {
                "prompt_id": f"p{i % 5}",
                "reward": i % 3,
                "log_prob": -i - number / 8,
                "old_log_prob": -i - number / 8 - 0.5,
                "response_length": i,
                "step": i % 4,
                "failed": i % 7 == number,
            }
            for i in range(lines)
        ]
        paths.append(folder / f"{number}.jsonl")
        paths[-1].write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return paths


def test_every_number_is_that_of_a_dump_without_these_records(loss_json: LossJson, tmp_path: Path) -> None:
    paths = dump(tmp_path)
    left = 0
    kept = tmp_path / "kept"
    kept.mkdir()
    for path in paths:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        used = [row for row in rows if not row["failed"] or row["step"] == 3]
        left += len(rows) - len(used)
        (kept / path.name).write_text("".join(json.dumps(row) + "\n" for row in used), encoding="utf-8")
    answer, expected = loss_json(*paths, *WHERE, "-B", "20"), loss_json(kept, "-B", "20")
    assert answer["left_out"] == {"where": left}
    read = answer["records"].pop("read")
    assert (read, answer["records"].pop("left_out")) == (expected["records"].pop("read") + left, left)
    assert left > 5
    del expected["records"]["left_out"]
    assert answer | {"left_out": {}} == expected


@pytest.mark.parametrize("command", [("loss",), ("check",), ("sweep",), ("loss", "--by", "file")])
def test_workers_and_summaries_leave_out_the_same(budget_cli: Run, tmp_path: Path, command: tuple[str, ...]) -> None:
    paths = dump(tmp_path)
    name, *more = command
    options = (*WHERE, "-B", "20", *(() if name == "sweep" else ("--format", "json")))

    def answer(*arguments: Any) -> bytes:
        done = budget_cli(name, *arguments, *more)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    one = answer(*paths, *options, "--jobs", "1")
    assert answer(*paths, *options, "--jobs", "2") == one
    if more:
        assert [row["left_out"]["where"] for row in json.loads(one)["by"]] == [4, 5, 5]
        return
    parts = [tmp_path / "part-1", tmp_path / "part-2"]
    for part, files in zip(parts, (paths[:2], paths[2:]), strict=True):
        assert budget_cli("summarize", *files, *WHERE, "-B", "20", "-o", part).returncode == 0
    merged = answer(*parts, "-B", "20", *(() if name == "sweep" else ("--format", "json")))
    if name == "check":
        names = ("left_out", "records", "responses")
        assert [json.loads(merged)[key] for key in names] == [json.loads(one)[key] for key in names]
        found = [[f for f in json.loads(a)["findings"] if f["code"] == "left-out"] for a in (merged, one)]
        assert found[0] == found[1] != []
        assert [place["line"] for place in found[0][0]["evidence"]] == [1, 15, 22, 29, 2]
    else:
        assert merged == one


ROWS = [("math", [1, 1, 0, 0], "1001"), ("code", [1, 0], "11"), ("game", [1, 1], "00"), (0.5, [1], "0")]


def labelled(folder: Path) -> Path:
    """Write records of four environments, in two of which all are left out."""
    rows = [
        {"prompt_id": f"p{env}", "reward": reward, "env": env, "ok": ok == "1"}
        for env, rewards, all_ok in ROWS
        for reward, ok in zip(rewards, all_ok, strict=True)
    ]
    (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder / "a.jsonl"


@pytest.mark.parametrize("by", ["env", "join('', [to_string(env)])"])
def test_what_is_left_out_belongs_to_the_row_of_its_label(loss_json: LossJson, tmp_path: Path, by: str) -> None:
    path = labelled(tmp_path)
    answer = loss_json(path, *REWARDS, "--where", "ok", "--by", by)
    found = {str(row["key"]): (row["responses"], row["left_out"], row["records"]["read"]) for row in answer["by"]}
    assert found == {
        "0.5": (0, {"where": 1}, 1),
        "code": (2, {}, 2),
        "game": (0, {"where": 2}, 2),
        "math": (2, {"where": 2}, 4),
    }
    assert answer["left_out"] == {"where": 5}


def test_samples_left_out_of_one_line_belong_to_rows_of_their_own(loss_json: LossJson, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    samples = [("x", 1, True), ("y", 0, False), ("x", 0, False), ("x", 0, True)]
    line = [{"group_id": "a", "output_tokens": 5, "reward": r, "env": e, "ok": ok} for e, r, ok in samples]
    path.write_text(json.dumps(line) + "\n", encoding="utf-8")
    answer = loss_json(path, "--preset", "pipeline-rl", *REWARDS, "--where", "ok", "--by", "env")
    assert [(row["key"], row["loss"], row["left_out"], row["records"]["read"]) for row in answer["by"]] == [
        ("x", 0.25, {"where": 1}, 1),
        ("y", None, {"where": 1}, 1),
    ]


@pytest.mark.parametrize("by", ["file", "env"])
def test_rows_of_rollouts_have_what_is_left_out_of_them(loss_json: LossJson, tmp_path: Path, by: str) -> None:
    path = tmp_path / "a.jsonl"
    rows = [("r1", 0, True), ("r1", 1, True), ("r2", 0, True), ("r3", 0, False)]
    text = "".join(
        json.dumps({"prompt_id": "p", "rollout": rollout, "reward": reward, "ok": ok, "env": "m"}) + "\n"
        for rollout, reward, ok in rows
    )
    path.write_text(text, encoding="utf-8")
    rollouts = ("--field", "rollout_id=rollout")
    (row,) = loss_json(path, *REWARDS, *rollouts, "--where", "ok", "--by", by)["by"]
    assert (row["loss"], row["responses"], row["left_out"]) == (0.25, 2, {"where": 1})
    assert row["records"] == {"read": 4, "used": 3, "rejected": 0, "blank": 0, "skipped": 0, "left_out": 1}


def test_each_form_of_the_rows_says_what_is_left_out_of_them(budget_cli: Run, tmp_path: Path) -> None:
    options = ("loss", labelled(tmp_path), *REWARDS, "--where", "ok", "--by", "env")
    assert "left out            2 of game, 2 of math, 1 of 0.5\n" in budget_cli(*options).stdout.decode()
    page = budget_cli(*options, "-f", "markdown").stdout.decode()
    assert "| math | 2 | 0.25 | 0.5 | 0.0 |  |  |  | 2 |" in page
    assert r"records.left\_out" in page
    sheet = list(csv.DictReader(budget_cli(*options, "-f", "csv").stdout.decode().splitlines()))
    assert {row["key"]: row["records.left_out"] for row in sheet} == {"0.5": "1", "code": "0", "game": "2", "math": "2"}


@pytest.mark.parametrize("name", ["loss", "check"])
def test_annotations_of_github_say_what_is_left_out(budget_cli: Run, name: str) -> None:
    found = budget_cli(name, FAILED, *REWARDS, "-f", "github").stdout.decode()
    assert "2 failed; --keep failed uses them" in found
    assert [line.split(" ")[0] for line in found.splitlines() if "--keep failed" in line] == ["::notice"]


def test_a_suggestion_says_what_is_left_out(budget_cli: Run) -> None:
    done = budget_cli("sweep", FAILED, "--kl-coef", "0", "--suggest", "-f", "json")
    assert json.loads(done.stdout)["left_out"] == {"failed": 2}


def test_a_summary_is_not_asked_for_another_selection(budget_cli: Run, tmp_path: Path) -> None:
    paths, part, other = dump(tmp_path), tmp_path / "part", tmp_path / "other"
    budget_cli("summarize", *paths[:1], *WHERE, "-B", "20", "-o", part)
    budget_cli("summarize", *paths[1:], "-B", "20", "-o", other)
    assert budget_cli("loss", part, *WHERE, "-B", "20").returncode == 0
    assert budget_cli("loss", part, paths[1], *WHERE, "-B", "20").returncode == 0
    for arguments, message in (
        ((part, "--where", "step == `1`"), "was made with --where '!failed || step == `3`'"),
        ((other, *WHERE), "was made without it"),
        ((part, other), "was made with leave_out where="),
    ):
        done = budget_cli("loss", *arguments, "-B", "20")
        assert done.returncode == 2
        assert message in done.stderr.decode()


def test_what_is_left_out_passes_through_annotate_beside_others_of_its_line(budget_cli: Run) -> None:
    lines = budget_cli("annotate", SEATS, *REWARDS, "-q").stdout.splitlines()
    written = SEATS.read_bytes().splitlines()
    first, second = (json.loads(line)["traces"] for line in lines[:2])
    assert [trace.get("budget_cli", {}).get("advantage") for trace in first + second] == [0.5, None, -0.5, None]
    assert lines[2] == written[2]
    for line in (first, second):
        del line[0]["budget_cli"]
    assert [first, second] == [json.loads(line)["traces"] for line in written[:2]]


def test_arrays_of_a_line_have_null_for_a_sample_that_is_left_out(budget_cli: Run, tmp_path: Path) -> None:
    preset = tmp_path / "presets.toml"
    preset.write_text(
        'detect = ["ids", "ok"]\nrecords = "columns"\nprompt_id = "ids"\nreward = "r"\n'.join(("[house]\n", ""))
        + 'leave_out = { failed = "!ok" }\n',
        encoding="utf-8",
    )
    line = b'{"ids": ["a", "a", "a"], "ok": [true, false, true], "r": [1, 9, 0]}\n'
    done = budget_cli("annotate", "-", "--presets", preset, *REWARDS, "-q", stdin=line)
    assert json.loads(done.stdout)["budget_cli"]["advantage"] == [0.5, None, -0.5]


def test_parquet_leaves_out_what_the_same_lines_do(loss_json: LossJson, tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow.parquet import write_table

    (path,) = dump(tmp_path, files=1)
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    write_table(pyarrow.Table.from_pylist(rows), tmp_path / "rows.parquet")
    assert loss_json(tmp_path / "rows.parquet", *WHERE, "-B", "20") == loss_json(path, *WHERE, "-B", "20")


GATES = [
    ("left_out.failed > 1", 1),
    ("left_out.failed > 2", 0),
    ("left_out.no-trace > 0", 0),
    ("records.left_out >= 2", 1),
    ("left_out.fialed > 0", 2),
]


@pytest.mark.parametrize(("gate", "code"), GATES)
@pytest.mark.parametrize("command", ["loss", "check", "sweep", "report"])
def test_gates_name_what_is_left_out(budget_cli: Run, tmp_path: Path, command: str, gate: str, code: int) -> None:
    rewards = REWARDS if command != "check" else ()
    done = budget_cli(command, FAILED, *rewards, "--fail-if", gate, "-o", tmp_path / "answer")
    assert done.returncode == code


@pytest.mark.parametrize(
    ("gate", "code"),
    [
        ("left_out.failed.base > 1", 1),
        ("left_out.failed.new > 0", 0),
        ("left_out.failed.delta < -1", 1),
        ("left_out.failed.delta < -2", 0),
        ("left_out.no-trace.new > 0", 0),
        ("left_out.failed > 0", 2),
        ("left_out.fialed.new > 0", 2),
    ],
)
def test_gates_of_a_comparison_name_what_is_left_out_of_both(
    budget_cli: Run, loss_json: LossJson, tmp_path: Path, gate: str, code: int
) -> None:
    healthy = tmp_path / "healthy.jsonl"
    healthy.write_text(json.dumps(episode("ok")) + "\n", encoding="utf-8")
    earlier = tmp_path / "earlier.json"
    earlier.write_text(json.dumps(loss_json(FAILED, *REWARDS)), encoding="utf-8")
    for base in (FAILED, earlier):
        assert budget_cli("compare", base, healthy, *REWARDS, "--fail-if", gate).returncode == code
    answer = json.loads(budget_cli("compare", FAILED, healthy, *REWARDS, "-f", "json").stdout)
    assert answer["left_out"] == {"failed": {"base": 2, "new": 0, "delta": -2}}


REFUSED = [
    (("--keep", "fialed"), "--keep fialed: no sample is left out for this reason; expected all, or one of failed"),
    (("--where", "a["), "--where: "),
    (("--where", "reward", "--max-errors", "9"), "no record could be used"),
]


@pytest.mark.parametrize(("options", "message"), REFUSED)
def test_a_selection_that_makes_no_sense_is_refused(budget_cli: Run, options: tuple[str, ...], message: str) -> None:
    done = budget_cli("loss", FAILED, *REWARDS, *options)
    assert done.returncode in (1, 2)
    assert message in (done.stderr + done.stdout).decode()


def test_a_number_is_neither_true_nor_false(loss_json: LossJson) -> None:
    answer = loss_json(FAILED, *REWARDS, "--where", "reward", exits=1)
    assert answer["rejections"][0]["message"] == (
        "expected true or false, found a number: compare it, as in reward == `1.0`"
    )


def test_fields_says_what_a_preset_leaves_out(budget_cli: Run) -> None:
    done = budget_cli("fields", SEATS, "--format", "json")
    left_out = {one["reason"]: one["samples"] for one in json.loads(done.stdout)["left_out"]}
    assert left_out == {"evaluation": 0, "failed": 0, "untrainable": 1, "no-reward": 1, "no-trace": 1}
    done = budget_cli("fields", SEATS, "--keep", "all", "--where", "reward != `0`", "--format", "json")
    assert [one["reason"] for one in json.loads(done.stdout)["left_out"]] == ["where", "no-reward", "no-trace"]


WRONG_PRESETS = [
    ('leave_out = "failed"', "leave_out: expected a table"),
    ('leave_out = { Failed = "x" }', "'Failed': expected a name such as failed or no-reward"),
    ('leave_out = { where = "x" }', "'where': expected a name"),
    ('leave_out = { failed = "x ==" }', "leave_out.failed: expression 'x =='"),
    ('leave_out = { empty = "no-trace" }', "only a line that is a list of records can be empty"),
]


@pytest.mark.parametrize(("line", "message"), WRONG_PRESETS)
def test_a_preset_of_the_user_is_checked_when_it_is_loaded(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "house.toml"
    path.write_text(f'[house]\nprompt_id = "id"\nreward = "r"\n{line}\n', encoding="utf-8")
    with pytest.raises(UsageProblem) as raised:
        presets.load([str(path)])
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("lines", "said", "used"),
    [
        (["ok", "failed"], "1 sample: 1 failed; --keep failed uses it", 2),
        (["ok", "failed", "failed"], "2 samples: 2 failed; --keep failed uses them", 3),
        (["ok", "failed", "no-trace"], "2 samples: 1 failed, 1 no-trace; --keep failed uses 1 of them", 2),
        (["ok", "no-trace"], "1 sample: 1 no-trace", 1),
        (["ok", "judge"], "1 sample: 1 no-reward", 1),
        (
            ["ok", "failed", "opponent", "judge", "no-trace"],
            "4 samples: 1 failed, 1 untrainable, 1 no-reward, 1 no-trace; --keep all uses 2 of them",
            3,
        ),
    ],
)
def test_the_way_back_that_is_named_uses_what_there_is_to_use(
    budget_cli: Run, tmp_path: Path, lines: list[str], said: str, used: int
) -> None:
    path = tmp_path / "traces.jsonl"
    path.write_text("".join(json.dumps(episode(kind)) + "\n" for kind in lines), encoding="utf-8")
    screen = budget_cli("loss", path, *REWARDS).stdout.decode().splitlines()
    assert f"left out  {said}" in screen
    back = said.partition("; ")[2].split(" uses")[0].split()
    for keep in (back, ["--keep", "all"]):
        done = budget_cli("loss", path, *REWARDS, *keep, "--format", "json")
        assert (done.returncode, json.loads(done.stdout)["responses"]) == (0, used if keep else 1)


def episode(kind: str) -> dict[str, Any]:
    """Return an episode of prime-rl with one trace, or none."""
    reward = {} if kind == "judge" else {"correct": {"score": 1.0, "weight": 1.0}}
    trace = {
        "agent": {"name": kind, "trainable": kind != "opponent"},
        "nodes": [{"sampled": True, "logprobs": [-0.5]}],
        "rewards": reward,
    }
    traces = [] if kind == "no-trace" else [trace]
    return {"id": kind, "group": {"id": "g"}, "ok": kind != "failed", "traces": traces}


def test_a_summary_that_was_made_with_keep_all_is_read_with_it(budget_cli: Run, tmp_path: Path) -> None:
    path, made = tmp_path / "traces.jsonl", tmp_path / "s"
    path.write_text("".join(json.dumps(episode(kind)) + "\n" for kind in ("ok", "failed", "judge")), encoding="utf-8")
    for keep, exits in (((), 2), (("--keep", "all"), 0)):
        budget_cli("summarize", path, *REWARDS, *keep, "-o", made)
        assert budget_cli("loss", made, *REWARDS, "--keep", "all").returncode == exits
