"""If this fails, a row of --by differs from the loss of its own records, or the rows change the total."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from command import LossJson, Run
from samples import lines, response

from budget_cli.scanning import parts
from budget_cli.sources import blocks

ROOT = Path(__file__).parents[2]
STEPS = ROOT / "sample_data" / "steps"
NOT_A_ROWS = (
    "schema",
    "status",
    "aggregate",
    "headline",
    "coefficients",
    "objective",
    "rejections",
    "gates",
    "incomplete",
    "records",
    "warnings",
)
NO_NUMBERS = ("lengths_from", "tokenizer")


def numbers(answer: dict[str, Any], above: str = "") -> dict[str, Any]:
    """Return the leaves of a JSON object by dotted names such as `kl.k1`."""
    found: dict[str, Any] = {}
    for name, value in answer.items():
        if above or name not in (*NOT_A_ROWS, *NO_NUMBERS, "key", "by"):
            found |= numbers(value, f"{above}{name}.") if isinstance(value, dict) else {above + name: value}
    return found


@pytest.fixture(scope="session")
def stepped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """Records of several blocks with interleaved steps, some without a step; prompts recur in all of them."""
    chance = random.Random(4)
    labels = [10, 9, "9", "warm-up", None, {"no": "label"}]
    text = "x" * (blocks.BLOCK_BYTES // 100)
    records = [response(i, chance, at={"step": chance.choice(labels)}, text=text) for i in range(250)]
    path = tmp_path_factory.mktemp("dumps") / "stepped.jsonl"
    path.write_bytes(lines(records))
    return path, records


@pytest.mark.parametrize("aggregate", ["response", "prompt"])
def test_a_row_is_the_loss_of_its_own_records_and_the_total_that_of_all(
    loss_json: LossJson, stepped: tuple[Path, list[dict[str, Any]]], tmp_path: Path, aggregate: str
) -> None:
    path, records = stepped
    flags = ("-B", "1000", "--aggregate", aggregate, "--precision", "12")
    answer = loss_json(path, *flags, "--by", "at.step")
    assert numbers(answer) == numbers(loss_json(path, *flags))
    assert [row["key"] for row in answer["by"]] == [9, 10, "9", "warm-up", None]
    for row in answer["by"]:
        own = [
            r
            for r in records
            if (r["at"]["step"] if not isinstance(r["at"]["step"], dict) else None) == row["key"]
            and isinstance(r["at"]["step"], int) == isinstance(row["key"], int)
        ]
        alone = tmp_path / "alone.jsonl"
        alone.write_bytes(lines(own))
        found, wanted = numbers(row), numbers(loss_json(alone, *flags))
        assert found == {
            name: value if value is None or isinstance(value, str) else pytest.approx(value, rel=1e-12)
            for name, value in wanted.items()
        }
        others = {"rejected": 0, "blank": 0, "skipped": 0, "left_out": 0}
        assert row["records"] == {"read": len(own), "used": len(own), **others}


@pytest.mark.parametrize("by", ["at.step", "file"])
def test_the_rows_are_the_same_for_any_number_of_jobs(
    budget_cli: Run, stepped: tuple[Path, list[dict[str, Any]]], large_damaged: Path, by: str
) -> None:
    flags = ("-B", "1000", "--by", by, "-f", "json", "--precision", "17")
    results = [budget_cli("loss", stepped[0], large_damaged, *flags, "--jobs", jobs).stdout for jobs in ("1", "2", "4")]
    assert results[0] == results[1] == results[2] != b""


def test_by_file_gives_each_file_a_row_of_its_records(
    budget_cli: Run, loss_json: LossJson, small: Path, large_damaged: Path, tmp_path: Path
) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.touch()
    done = budget_cli("loss", large_damaged, empty, small, "-B", "1000", "--by", "file", "-f", "json")
    rows = json.loads(done.stdout)["by"]
    assert [row["key"] for row in rows] == [str(large_damaged), str(empty), str(small)]
    assert (rows[1]["responses"], rows[1]["loss"], rows[1]["reward"]["mean"]) == (0, None, None)
    for row, path, code in ((rows[0], large_damaged, 1), (rows[2], small, 0)):
        alone = loss_json(path, "-B", "1000", exits=code)
        assert numbers(row) == numbers(alone)
        assert row["records"] == alone["records"]


def test_by_finds_a_field_that_a_preset_maps(loss_json: LossJson) -> None:
    dump = ROOT / "tests" / "dumps" / "verl-v1.jsonl"
    answer = loss_json(dump, "--beta", "0", "--alpha", "0", "--by", "step")
    steps = [json.loads(line)["step"] for line in dump.read_text("utf-8").splitlines()]
    assert {row["key"]: row["responses"] for row in answer["by"]} == {step: steps.count(step) for step in steps}


def test_by_accepts_an_expression(loss_json: LossJson, stepped: tuple[Path, list[dict[str, Any]]]) -> None:
    answer = loss_json(stepped[0], "-B", "9", "--by", "[prompt_id, at.step || 'none']")
    assert {row["key"] for row in answer["by"]} >= {"p1/10", "p1/none"}


def test_samples_of_one_line_can_have_different_labels(loss_json: LossJson, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(
        json.dumps(
            [{"group_id": "a", "output_tokens": 5, "reward": r, "env": e} for r, e in ((1, "x"), (0, "y"), (0, "x"))]
        )
        + "\n"
    )
    answer = loss_json(path, "--preset", "pipeline-rl", "-B", "9", "--alpha", "0", "--by", "env")
    assert [(row["key"], row["responses"], row["loss"], row["records"]["used"]) for row in answer["by"]] == [
        ("x", 2, 0.25, 1),
        ("y", 1, 0, 1),
    ]


def test_prompts_that_are_lines_keep_their_names(loss_json: LossJson) -> None:
    dump = ROOT / "tests" / "dumps" / "atropos.jsonl"
    answer = loss_json(dump, dump.with_name("art.jsonl"), "--preset", "atropos", "-B", "3", "--by", "file", exits=1)
    assert [row["prompts"] for row in answer["by"]] == [answer["prompts"], 0]


GATES: list[tuple[tuple[str, ...], int, str]] = [
    (("--fail-if", "loss > 0.7"), 0, ""),
    (("--fail-if", "loss > 0.7", "--each"), 0, ""),
    (("--fail-if", "reward.mean < 0.5", "--by", "step"), 0, ""),
    (
        ("--fail-if", "reward.mean < 0.5", "--each"),
        1,
        "budget-cli: fail: gate reward.mean < 0.5 in 1 of 4 rows: 42 (0.333333)\n",
    ),
    (
        ("--fail-if", "loss > 0.4", "--each"),
        1,
        "budget-cli: fail: gate loss > 0.4 in 1 of 4 rows: 44 (0.479774)\n",
    ),
]


@pytest.mark.parametrize(("flags", "code", "message"), GATES)
def test_gates_apply_to_the_total_and_with_each_to_every_row(
    budget_cli: Run, flags: tuple[str, ...], code: int, message: str
) -> None:
    done = budget_cli("loss", STEPS, "-B", "1024", "--by", "step", "-f", "json", *flags)
    assert (done.returncode, done.stderr.decode()) == (code, message)
    answer = json.loads(done.stdout)
    assert answer["status"] == ("fail" if code else "pass")
    assert [len(row["gates"]) for row in answer["by"]] == [int("--each" in flags)] * 4


def test_by_a_field_that_no_record_has_fails(budget_cli: Run) -> None:
    done = budget_cli("loss", STEPS, "-B", "1024", "--by", "stpe", "-f", "json")
    assert (done.returncode, done.stderr) == (1, b"budget-cli: fail: --by stpe: no record has this field\n")
    assert [row["key"] for row in json.loads(done.stdout)["by"]] == [None]


USAGE: list[tuple[tuple[str, ...], str]] = [
    (("--each",), "--each applies to the rows of --by: give --by FIELD or --by file"),
    (
        ("--by", "a..b"),
        "--by a..b: expected file, the place of a field, or several places: path 'a..b': expected keys joined by dots,"
        " with [] after a list, as in a.b[].c",
    ),
]


@pytest.mark.parametrize(("flags", "message"), USAGE)
def test_invalid_uses_of_by_are_refused(budget_cli: Run, flags: tuple[str, ...], message: str) -> None:
    done = budget_cli("loss", "no-such-file", "-B", "1024", *flags)
    assert (done.returncode, done.stderr.decode()) == (2, f"budget-cli: {message}\n")


def test_the_screen_shows_one_row_per_label_and_the_trend(budget_cli: Run) -> None:
    screen = budget_cli(
        "loss", STEPS, "-B", "1024", "--by", "step", "--fail-if", "loss > 0.4", "--each", "--group", "prompt"
    ).stdout.decode()
    assert (
        "by step                   n      loss   reward by length  length  over       k1\n"
        "trend                  ▁▁▁▁      ▂▁▁█     ▄▁▅█      ▁▅▆█    ▁▄██  ▁▆█▇     ▁▄▇█\n"
        "41                       24    0.3122   0.5417       27%     745   17%   0.2728\n"
        "42                       24    0.2744   0.3333       61%     861   38%   0.5951\n"
        "43                       24    0.2852   0.6250       66%     988   46%   0.8984\n"
        "44                       24    0.4798   0.8333       80%     981   42%   0.9655  fail\n"
        "\n"
        "info      a prompt in several rows forms a group in each, but one in the total\n"
        "          (to split it there too: --field 'prompt_id=[step, prompt_id]')\n"
    ) in screen
    apart = budget_cli("loss", STEPS, "-B", "1024", "--by", "step")
    assert "a prompt in several rows" not in apart.stdout.decode()


def test_a_screen_of_many_rows_shows_the_first_and_the_last(budget_cli: Run) -> None:
    dump = lines([response(i, random.Random(i), step=i) for i in range(50)])
    screen = budget_cli("loss", "-B", "9", "--by", "step", stdin=dump).stdout.decode()
    assert [line.split()[0] for line in screen.splitlines() if " 1   " in line[20:30]] == [
        str(i) for i in (*range(10), *range(30, 50))
    ]
    assert "\n… 20 more: --format csv or json has them all\n" in screen
    assert max(map(len, screen.splitlines())) <= 80


def test_labels_are_safe_on_the_screen_and_in_a_spreadsheet(budget_cli: Run) -> None:
    dump = lines([response(i, random.Random(i), step=label) for i, label in enumerate(["=cmd()", "\x1b[31m[/INST]|x"])])
    screen = budget_cli("loss", "-B", "9", "--by", "step", stdin=dump, FORCE_COLOR="1").stdout.decode()
    assert "\\x1b[31m[/INST]|x" in screen
    sheet = budget_cli("loss", "-B", "9", "--by", "step", "-f", "csv", stdin=dump).stdout.decode().splitlines()
    assert [line.split(",")[0] for line in sheet] == ["key", "\\x1b[31m[/INST]|x", "'=cmd()"]
    page = budget_cli("loss", "-B", "9", "--by", "step", "-f", "markdown", stdin=dump).stdout.decode()
    assert "\n| \\\\x1b\\[31m\\[/INST\\]\\|x | 1 | " in page


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_rows_by_a_number_or_a_boolean_are_named_after_it(loss_json: LossJson, tmp_path: Path, jobs: str) -> None:
    path = tmp_path / "a.jsonl"
    values = [(1, True), (0.7, True), (0.7, False), (1e-05, False), (1.0, True), (10.5, None), (9, [])]
    path.write_bytes(lines([{"prompt_id": "p", "reward": 1, "temperature": t, "ok": ok} for t, ok in values]))
    free = ("--beta", "0", "--kl-coef", "0", "--jobs", jobs)
    by_number = loss_json(path, *free, "--by", "temperature")["by"]
    assert [(row["key"], row["responses"]) for row in by_number] == [
        ("1e-05", 1),
        ("0.7", 2),
        ("1.0", 2),  # written once as 1
        (9, 1),
        ("10.5", 1),
    ]
    by_boolean = loss_json(path, *free, "--by", "ok")["by"]
    assert [(row["key"], row["responses"]) for row in by_boolean] == [("false", 2), ("true", 3), (None, 2)]


@pytest.mark.parametrize("files", [1, 3])
def test_more_labels_than_a_table_can_hold_are_refused(
    budget_cli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: int
) -> None:
    monkeypatch.setattr(parts, "MOST_LABELS", 8)
    names = [f"{number}.jsonl" for number in range(files)]
    for number, name in enumerate(names):
        of_file = [response(i, random.Random(i), env=f"e{number}{i}") for i in range(9 // files)]
        (tmp_path / name).write_bytes(lines(of_file))
    done = budget_cli("loss", *names, "-B", "9", "--by", "env", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.decode() == (
        "budget-cli: --by: more than 8 different values (e00, e01, e02, …): give a field with fewer, such as a step, or"
        " --per-prompt for a row for each prompt\n"
    )
    monkeypatch.setattr(parts, "MOST_LABELS", 9)
    assert budget_cli("loss", *names, "-B", "9", "--by", "env", cwd=tmp_path).returncode == 0
    monkeypatch.setattr(parts, "MOST_LABELS", 0)
    assert budget_cli("loss", *names, "-B", "9", "--by", "file", cwd=tmp_path).returncode == 0


# ---- several fields, and the other commands


@pytest.fixture
def split(tmp_path: Path) -> Path:
    """Sixteen prompts of two tasks and two steps; every reward of geometry is 1."""
    chance = random.Random(8)
    records = [
        {
            "prompt_id": f"p{i // 4}",
            "reward": 1.0 if i // 4 % 2 else i % 2,
            "log_prob": -chance.random(),
            "old_log_prob": -chance.random(),
            "response_length": chance.randrange(50, 200),
            "task": ["algebra", "geometry"][i // 4 % 2],
            "round": i // 32,
            "hard": i // 8 % 2 == 0,
        }
        for i in range(64)
    ]
    path = tmp_path / "split.jsonl"
    path.write_bytes(lines(records))
    return path


def alone(path: Path, where: str) -> tuple[str, ...]:
    return (str(path), "--where", where, "-f", "json", "--precision", "12")


LABELS = [
    ("algebra/0", "task == 'algebra' && round == `0`"),
    ("algebra/1", "task == 'algebra' && round == `1`"),
    ("geometry/0", "task == 'geometry' && round == `0`"),
    ("geometry/1", "task == 'geometry' && round == `1`"),
]


def test_the_values_of_several_fields_are_one_label(loss_json: LossJson, split: Path) -> None:
    rows = loss_json(split, "-B", "100", "--by", "task, round", "--precision", "12")["by"]
    assert [row["key"] for row in rows] == [key for key, _ in LABELS]
    for row, (_, where) in zip(rows, LABELS, strict=True):
        assert row["loss"] == loss_json(*alone(split, where), "-B", "100")["loss"]
    assert [row["key"] for row in loss_json(split, "-B", "100", "--by", "hard,round")["by"]] == [
        "false/0",
        "false/1",
        "true/0",
        "true/1",
    ]
    assert [row["key"] for row in loss_json(split, "-B", "100", "--by", "task,nowhere")["by"]] == [
        "algebra/(none)",
        "geometry/(none)",
    ]


@pytest.mark.parametrize("by", ["file,task", "task,file"])
def test_file_is_not_joined_with_a_field(budget_cli: Run, split: Path, by: str) -> None:
    done = budget_cli("loss", split, "-B", "100", "--by", by)
    assert done.returncode == 2
    assert done.stderr.decode().endswith("file cannot be joined with a field: give one of them\n")


def test_the_rows_of_a_sweep_are_sweeps_of_their_own_records(budget_cli: Run, split: Path) -> None:
    flags = ("-B", "80,120", "--beta", "0,0.01", "--precision", "12")
    answer = json.loads(budget_cli("sweep", split, *flags, "--by", "task,round", "-f", "json").stdout)
    assert [row["key"] for row in answer["by"]] == [key for key, _ in LABELS]
    for row, (_, where) in zip(answer["by"], LABELS, strict=True):
        own = json.loads(budget_cli("sweep", *alone(split, where), *flags).stdout)
        assert {name: row[name] for name in ("prompts", "responses", "cells", "budgets")} == {
            name: own[name] for name in ("prompts", "responses", "cells", "budgets")
        }
    cells = budget_cli("sweep", split, *flags, "--by", "task", "-f", "csv").stdout.decode().splitlines()
    assert [line.split(",")[0] for line in cells] == ["key", *["algebra"] * 4, *["geometry"] * 4]
    jsonl = budget_cli("sweep", split, *flags, "--by", "task", "-f", "jsonl").stdout.splitlines()
    assert [json.loads(line)["key"] for line in jsonl] == ["algebra"] * 4 + ["geometry"] * 4
    table = budget_cli("sweep", split, *flags, "--by", "task").stdout.decode()
    assert "  loss   by task down, B across, β 0, α 0.1\n" in table
    assert budget_cli("sweep", split, "--suggest", "--by", "task").stderr.decode() == (
        "budget-cli: --by: --suggest chooses for the whole dump: select the records of one row by --where\n"
    )


def test_the_rows_of_a_comparison_are_comparisons_of_their_own_records(
    budget_cli: Run, split: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.jsonl"
    records = [json.loads(line) for line in split.read_bytes().splitlines()]
    other.write_bytes(lines([{**record, "reward": 0.5 * (i % 3)} for i, record in enumerate(records)][4:]))
    flags = ("-B", "100", "-f", "json", "--precision", "12")
    answer = json.loads(budget_cli("compare", split, other, *flags, "--by", "task,round").stdout)
    assert [row["key"] for row in answer["by"]] == [key for key, _ in LABELS]
    for row, (_, where) in zip(answer["by"], LABELS, strict=True):
        own = json.loads(budget_cli("compare", split, other, *flags, "--where", where).stdout)
        assert {name: own[name] for name in row if name != "key"} == {
            name: value for name, value in row.items() if name != "key"
        }
    markdown = budget_cli("compare", split, other, "-B", "100", "--by", "task", "-f", "markdown").stdout.decode()
    assert "| geometry | reward | 1.0 |" in markdown
    table = budget_cli("compare", split, other, "-B", "100", "--by", "task").stdout.decode()
    assert "\n  by task                          n       loss              reward   length\n" in table


def test_a_label_of_one_dump_alone_is_compared_with_nothing(budget_cli: Run, split: Path, tmp_path: Path) -> None:
    part = tmp_path / "part.jsonl"
    part.write_bytes(b"".join(line for line in split.read_bytes().splitlines(True) if b"algebra" in line))
    answer = json.loads(budget_cli("compare", split, part, "-B", "100", "--by", "task", "-f", "json").stdout)
    algebra, geometry = answer["by"]
    assert (algebra["responses"], algebra["loss"]["delta"]) == ({"base": 32, "new": 32}, 0.0)
    assert (geometry["responses"], geometry["loss"]["delta"]) == ({"base": 32, "new": 0}, None)


def test_what_cannot_be_split_in_a_comparison_is_refused(budget_cli: Run, split: Path, tmp_path: Path) -> None:
    result = tmp_path / "loss.json"
    assert budget_cli("loss", split, "-B", "100", "-f", "json", "-o", result).returncode == 0
    for by, says in (
        ("task", f"--by task: {result} is a result, which holds no records: give the dump itself"),
        ("file", "--by file: the files of two dumps are not the same: give a field, such as a step"),
    ):
        done = budget_cli("compare", result, split, "-B", "100", "--by", by)
        assert (done.returncode, done.stderr.decode()) == (2, f"budget-cli: {says}\n")


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_the_rows_of_check_are_checks_of_their_own_records(budget_cli: Run, split: Path, jobs: str) -> None:
    flags = ("-B", "100", "--fail-on", "warning", "-f", "json", "-j", jobs)
    answer = json.loads(budget_cli("check", split, *flags, "--by", "task,round").stdout)
    assert [row["key"] for row in answer["by"]] == [key for key, _ in LABELS]
    for row, (_, where) in zip(answer["by"], LABELS, strict=True):
        own = json.loads(budget_cli("check", split, *flags, "--where", where).stdout)
        ours = [finding for finding in own["findings"] if finding["code"] != "left-out"]
        assert row["findings"] == ours
        assert {name: row[name] for name in ("prompts", "responses")} == {n: own[n] for n in ("prompts", "responses")}


def test_a_finding_that_only_a_row_has_fails_the_check(budget_cli: Run, split: Path) -> None:
    flags = ("--select", "constant-reward", "--fail-on", "warning")
    assert budget_cli("check", split, *flags).returncode == 0
    done = budget_cli("check", split, *flags, "--by", "task")
    assert done.returncode == 1
    text = done.stdout.decode()
    assert "geometry                    8       32  constant-reward\n" in text
    assert "\nfail      1 finding in rows of --by: constant-reward in geometry\n" in text
    for command in ("check", "sweep"):
        done = budget_cli(command, split, "-B", "100", "--by", "nowhere", "-f", "json")
        assert (done.returncode, "fail: --by nowhere: no record has this field" in done.stderr.decode()) == (1, True)
