"""If this fails, `budget-cli loss` does not do what its README says: a wrong number, exit code, stream or message."""

import bz2
import csv
import gzip
import io
import json
import lzma
import os
import pty
import random
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command import response

Run = Callable[..., subprocess.CompletedProcess[bytes]]
LossJson = Callable[..., dict[str, Any]]

WORKED = [  # rewards, log_probs, old_log_probs, response_lengths, kl_coef, budget_penalty_coef, loss
    ([[1.0, 0.5]], [[-1.0, -1.5]], [[-1.2, -1.3]], [[150, 80]], 0.1, 0.01, 0.0004),
    ([[1.0, 2.0]], [[-0.5, -0.8]], [[-0.5, -0.8]], [[50, 60]], 0.1, 0.01, 0.25),
    (
        [[1.0, 0.5], [0.8, 1.2]],
        [[-1.0, -1.2], [-0.8, -0.9]],
        [[-1.1, -1.1], [-0.7, -1.0]],
        [[120, 80], [90, 110]],
        0.05,
        0.02,
        0.0055,
    ),
]
GOOD = {"prompt_id": "p", "reward": 1.0, "log_prob": -1.0, "old_log_prob": -1.5, "response_length": 120}
CONTRACT = {
    "": (
        "schema",
        "status",
        "loss",
        "aggregate",
        "coefficients",
        "prompts",
        "responses",
        "reward",
        "adjusted_reward",
        "advantage",
        "kl",
        "length",
        "over_budget",
        "groups",
        "records",
        "rejections",
        "gates",
    ),
    "coefficients": ("token_budget", "budget_penalty_coef", "kl_coef"),
    "reward": ("mean", "std", "min", "max"),
    "adjusted_reward": ("mean", "std"),
    "advantage": ("mean_square", "budget_share"),
    "kl": ("k1", "k2", "k3", "r2"),
    "length": ("mean", "min", "p50", "p90", "p99", "max"),
    "over_budget": ("responses", "fraction", "excess_tokens", "excess_mean"),
    "groups": ("size", "singletons", "doubled", "zero_variance", "zero_variance_adjusted", "phantom"),
    "groups.size": ("min", "mean", "max"),
    "records": ("read", "used", "rejected", "blank"),
}


def lines(*records: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def said(done: subprocess.CompletedProcess[bytes]) -> str:
    return done.stderr.decode()


def at(answer: dict[str, Any], path: str) -> Any:
    for name in filter(None, path.split(".")):
        answer = answer[name]
    return answer


# ---- numbers


@pytest.mark.parametrize(("rewards", "log_probs", "old", "lengths", "alpha", "beta", "loss"), WORKED)
@pytest.mark.parametrize("arrays", [True, False])
def test_the_worked_examples_hold(
    loss_json: LossJson,
    rewards: Any,
    log_probs: Any,
    old: Any,
    lengths: Any,
    alpha: float,
    beta: float,
    loss: float,
    arrays: bool,
) -> None:
    prompts = zip(rewards, log_probs, old, lengths, strict=True)
    if arrays:
        names = ("rewards", "log_probs", "old_log_probs", "response_lengths")
        data = lines(*({"prompt_id": i, **dict(zip(names, row, strict=True))} for i, row in enumerate(prompts)))
    else:
        names = ("reward", "log_prob", "old_log_prob", "response_length")
        each = [(i, one) for i, row in enumerate(prompts) for one in zip(*row, strict=True)]
        data = lines(*({"prompt_id": i, **dict(zip(names, one, strict=True))} for i, one in each))
    answer = loss_json("-B", "100", "--kl-coef", str(alpha), "--budget-penalty-coef", str(beta), stdin=data)
    assert answer["loss"] == loss
    assert answer["prompts"] == len(rewards)
    assert answer["coefficients"] == {"token_budget": 100, "budget_penalty_coef": beta, "kl_coef": alpha}


def test_the_json_has_every_name_of_the_contract(loss_json: LossJson, small: Path) -> None:
    answer = loss_json(small, "-B", "1000", "--fail-if", "loss < 0")
    for path, names in CONTRACT.items():
        assert set(names) <= set(at(answer, path)), path
    assert answer["schema"] == "budget-cli/loss/1"
    assert answer["status"] == "pass"
    assert answer["gates"] == [{"expression": "loss < 0", "value": answer["gates"][0]["value"], "passed": True}]
    (rejection,) = loss_json("-B", "1", stdin=lines({**GOOD, "reward": None}), exits=1)["rejections"]
    assert {"source", "line", "column", "code", "field", "message"} <= set(rejection)


def test_without_coefficients_what_does_not_exist_is_null(loss_json: LossJson) -> None:
    data = lines({"prompt_id": 1, "reward": 1}, {"prompt_id": 1, "reward": 0})
    answer = loss_json("--beta", "0", "--alpha", "0", stdin=data)
    assert answer["loss"] == 0.25
    for path in ("coefficients.token_budget", "kl.k1", "kl.k2", "kl.k3", "length.mean", "over_budget.fraction"):
        assert at(answer, path) is None, path


def test_precision_rounds_what_is_shown_but_not_what_gates_see(loss_json: LossJson, small: Path) -> None:
    whole = loss_json(small, "-B", "1000", "--precision", "17")["loss"]
    for places in (0, 2, 6):
        answer = loss_json(small, "-B", "1000", "--precision", str(places), "--fail-if", "loss < 0")
        assert answer["loss"] == round(whole, places)
        assert answer["gates"][0]["value"] == whole


def test_mean_over_prompts_weighs_every_prompt_the_same(loss_json: LossJson) -> None:
    two = [{**GOOD, "reward": reward, "response_length": 1, "old_log_prob": -1} for reward in (0, 1)]
    data = lines(*two, *two, {**GOOD, "prompt_id": "q", "old_log_prob": -1, "response_length": 1})
    assert loss_json("-B", "9", stdin=data)["loss"] == 0.2
    assert loss_json("-B", "9", "--aggregate", "prompt", stdin=data)["loss"] == 0.125


def test_per_prompt_says_the_same_in_every_format(budget_cli: Run, loss_json: LossJson, small: Path) -> None:
    wanted = loss_json(small, "-B", "1000", "--per-prompt")["per_prompt"]
    assert len(wanted) == 37
    table = budget_cli("loss", small, "-B", "1000", "--per-prompt", "--format", "csv").stdout.decode()
    rows = list(csv.DictReader(io.StringIO(table)))
    assert [row["prompt_id"] for row in rows] == [prompt["prompt_id"] for prompt in wanted]
    assert [float(row["loss"]) for row in rows] == [prompt["loss"] for prompt in wanted]
    markdown = budget_cli("loss", small, "-B", "1000", "--per-prompt", "-f", "markdown").stdout.decode().splitlines()
    assert markdown[0].split(" | ")[:3] == ["| prompt\\_id", "responses", "loss"]
    assert [line.split(" | ")[2] for line in markdown[2:]] == [str(prompt["loss"]) for prompt in wanted]
    screen = budget_cli("loss", small, "-B", "1000", "--per-prompt").stdout.decode()
    assert "and 17 more: --format csv or json has them all" in screen
    largest = max(wanted, key=lambda prompt: prompt["loss"])
    assert f"\n{largest['prompt_id']} " in screen


def test_csv_and_markdown_have_the_numbers_of_the_json(budget_cli: Run, loss_json: LossJson, small: Path) -> None:
    wanted = loss_json(small, "-B", "1000")
    (row,) = csv.DictReader(io.StringIO(budget_cli("loss", small, "-B", "1000", "-f", "csv").stdout.decode()))
    assert row.pop("status") == "pass"
    assert row.pop("aggregate") == "response"
    assert {name: float(cell) for name, cell in row.items()} == {name: at(wanted, name) for name in row}
    markdown = budget_cli("loss", small, "-B", "1000", "-f", "markdown").stdout.decode()
    assert f"| over\\_budget.fraction | {wanted['over_budget']['fraction']} |\n" in markdown


# ---- gates


@pytest.mark.parametrize(
    ("gate", "passes"),
    [
        ("loss > 1e9", True),
        ("loss < 1e9", False),
        ("responses != 60", True),
        ("responses == 60", False),
        ("responses >= 61", True),
        ("responses>=60", False),
        ("records.rejected > 0", True),
    ],
)
def test_a_gate_decides_the_exit_code_and_nothing_else(budget_cli: Run, small: Path, gate: str, passes: bool) -> None:
    done = budget_cli("loss", small, "-B", "1000", "-f", "json", "--fail-if", gate)
    answer = json.loads(done.stdout)
    assert done.returncode == (0 if passes else 1)
    assert answer["status"] == ("pass" if passes else "fail")
    assert answer["gates"][0]["passed"] is passes
    assert answer["responses"] == 60
    assert (said(done) == "") is passes


@pytest.mark.parametrize("gate", ["kl.k1 > 1e9", "kl.k1 < -1e9", "length.p99 > 4000", "kl.k1 != 0"])
def test_a_number_that_does_not_exist_passes_no_gate(loss_json: LossJson, gate: str) -> None:
    arguments = ("--beta", "0", "--alpha", "0", "--fail-if", gate)
    answer = loss_json(*arguments, stdin=b'{"prompt_id": 1, "reward": 1}\n', exits=1)
    assert answer["gates"] == [{"expression": gate, "value": None, "passed": False}]


def test_every_gate_must_hold(loss_json: LossJson, small: Path) -> None:
    answer = loss_json(small, "-B", "9", "--fail-if", "loss < 0", "--fail-if", "responses > 5", exits=1)
    assert [gate["passed"] for gate in answer["gates"]] == [True, False]


# ---- what cannot mean anything is exit 2, found out before anything is read

MISTAKES = [
    (
        ("-B", "9", "--fail-if", "lenght.p99 > 4000"),
        "--fail-if: no number is called 'lenght.p99' (did you mean length.p99?)",
    ),
    (("-B", "9", "--fail-if", "loss"), "--fail-if 'loss': expected NAME OPERATOR NUMBER, as in"),
    (("-B", "9", "--fail-if", "loss > much"), "expected a finite number after >, found 'much'"),
    (("-B", "9", "--fail-if", "loss > nan"), "expected a finite number after >, found 'nan'"),
    ((), "give a budget (-B TOKENS), or --budget-penalty-coef 0 to do without one"),
    (("-B", "-5"), "-5 is not in the range x>=0"),
    (("-B", "1.5"), "'1.5' is not a valid int"),
    (("-B", "9", "--beta", "inf"), "expected a finite number, found inf"),
    (("-B", "9", "--beta", "nan"), "expected a finite number, found nan"),
    (("-B", "9", "--alpha=-inf"), "expected a finite number, found -inf"),
    (("-B", "9", "--max-errors", "few"), "expected a number of records, as in 10, or a share, as in 0.5%"),
    (("-B", "9", "--max-errors", "101%"), "expected a number of records, as in 10, or a share, as in 0.5%"),
    (("-B", "9", "--field", "reward"), "--field reward: expected NAME=dotted.path, as in reward=score"),
    (("-B", "9", "--field", "rewrd=score"), "no field is called 'rewrd'; there are prompt_id, reward, "),
    (("-B", "9", "--field", "reward=a..b"), "expected keys joined by dots"),
    (("-B", "9", "--format", "xml"), "'xml' is not one of 'table', 'json', 'csv', 'markdown'"),
    (("-B", "9", "--jobs", "0"), "0 is not in the range x>=1"),
    (("-B", "9", "--precision", "18"), "18 is not in the range 0<=x<=17"),
    (("-B", "9", "-o", "nowhere/x.json"), "-o nowhere/x.json: there is no directory "),
    (("-B", "9", "-o", "."), "-o .: is a directory, expected a file"),
    (("-B", "9", "--nope"), "No such option: --nope"),
]


@pytest.mark.parametrize(("arguments", "message"), MISTAKES)
def test_a_mistake_is_told_before_anything_is_read(
    budget_cli: Run, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    done = budget_cli("loss", "does-not-exist.jsonl", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == b""
    assert message in said(done)
    assert "does-not-exist" not in said(done)
    assert "Traceback" not in said(done)


def test_no_files_and_a_keyboard_is_a_mistake(small: Path) -> None:
    main, terminal = pty.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "budget_cli", "loss", "-B", "9"], stdin=terminal, capture_output=True, check=False
        )
    finally:
        os.close(main)
        os.close(terminal)
    assert done.returncode == 2
    assert said(done).startswith("budget-cli: no files: name some, or a directory, or pipe records in")


@pytest.mark.parametrize("twice", [("-", "-"), ("a.jsonl", "./a.jsonl"), (".", "a.jsonl")])
def test_the_same_file_twice_is_a_mistake(budget_cli: Run, tmp_path: Path, twice: tuple[str, str]) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines(GOOD))
    done = budget_cli("loss", *twice, "-B", "9", cwd=tmp_path)
    assert done.returncode == 2
    assert "the same file as " in said(done)


# ---- the same input by other ways


def test_no_files_or_a_dash_is_standard_input(budget_cli: Run, loss_json: LossJson, small: Path) -> None:
    arguments = ("loss", "-B", "1000", "-f", "json")
    plain = budget_cli(*arguments, small).stdout
    assert budget_cli(*arguments, stdin=small.read_bytes()).stdout == plain
    assert budget_cli(*arguments, "-", stdin=small.read_bytes()).stdout == plain
    damaged = loss_json("-B", "9", stdin=b"x\n", exits=1)
    assert damaged["rejections"][0]["source"] == "<stdin>"


def test_a_named_pipe_is_read_like_a_file(budget_cli: Run, tmp_path: Path, small: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = subprocess.Popen(["sh", "-c", 'cat "$0" "$0" > "$1"', small, pipe])
    done = budget_cli("loss", pipe, "-B", "9", "-f", "json")
    assert writer.wait() == 0
    assert json.loads(done.stdout)["responses"] == 120


@pytest.mark.parametrize("way", ["gz", "bz2", "xz", "stdin.gz", "stdin"])
@pytest.mark.parametrize("jobs", ["1", "3"])
def test_the_way_in_does_not_show_in_the_result(
    budget_cli: Run, large: Path, tmp_path: Path, way: str, jobs: str
) -> None:
    arguments = ("loss", "-B", "1000", "-f", "json", "--precision", "17")
    plain = budget_cli(*arguments, large)
    assert plain.returncode == 0
    data = large.read_bytes()
    packed = {
        "gz": lambda: gzip.compress(data, 1),
        "bz2": lambda: bz2.compress(data, 1),
        "stdin": lambda: data,
        "xz": lambda: lzma.compress(data, preset=0),
        "stdin.gz": lambda: gzip.compress(data, 1),
    }[way]()
    if way.startswith("stdin"):
        done = budget_cli(*arguments, "--jobs", jobs, stdin=packed)
    else:
        path = tmp_path / "any.name"
        path.write_bytes(packed)
        done = budget_cli(*arguments, "--jobs", jobs, path)
    assert done.returncode == 0, said(done)
    assert done.stdout == plain.stdout


@pytest.mark.parametrize("dump", ["large", "large_damaged"])
def test_the_number_of_workers_does_not_show_in_the_result(
    budget_cli: Run, dump: str, request: pytest.FixtureRequest
) -> None:
    path: Path = request.getfixturevalue(dump)
    arguments = ("loss", path, "-B", "1000", "-f", "json", "--per-prompt", "--precision", "17", "-v")
    alone = budget_cli(*arguments, "--jobs", "1", PYTHONHASHSEED="1")
    assert alone.returncode == (0 if dump == "large" else 1)
    assert len(json.loads(alone.stdout)["per_prompt"]) == 37
    for jobs in ("2", "3", "7"):
        done = budget_cli(*arguments, "--jobs", jobs, PYTHONHASHSEED=jobs)
        assert done.returncode == alone.returncode
        assert done.stdout == alone.stdout
        assert done.stderr == alone.stderr


def test_rejections_of_a_large_file_carry_their_physical_lines(loss_json: LossJson, large_damaged: Path) -> None:
    answer = loss_json(large_damaged, "-B", "1000", "-v", "--jobs", "2", exits=1)
    physical = large_damaged.read_bytes().split(b"\n")
    assert answer["records"]["rejected"] == len(answer["rejections"]) > 10
    assert answer["records"]["blank"] == sum(not line.strip() for line in physical)
    assert answer["records"]["read"] == sum(bool(line.strip()) for line in physical)
    assert answer["rejections"][-1]["code"] == "truncated-tail"
    assert answer["rejections"][-1]["line"] == len(physical)
    for rejection in answer["rejections"]:
        line = physical[rejection["line"] - 1]
        assert (rejection["code"] == "non-finite") == (b"NaN" in line)
        assert (rejection["code"] == "invalid-utf8") == (b"\xff" in line)
        assert (rejection["code"] == "nul-bytes") == line.startswith(b"\0")


# ---- verdicts

TWO_BAD_OF_FOUR = lines(GOOD) + b"[]\n" + lines(GOOD) + b'{"prompt_id": "p", "rew'
VERDICTS = [
    ((), 1),
    (("--max-errors", "1"), 1),
    (("--max-errors", "2"), 0),
    (("--max-errors", "49.9%"), 1),
    (("--max-errors", "50%"), 0),
    (("--allow-truncated-tail",), 1),
    (("--allow-truncated-tail", "--max-errors", "1"), 0),
]


@pytest.mark.parametrize(("arguments", "exits"), VERDICTS)
def test_what_is_allowed_changes_the_verdict_but_not_the_counts(
    loss_json: LossJson, arguments: tuple[str, ...], exits: int
) -> None:
    answer = loss_json("-B", "100", *arguments, stdin=TWO_BAD_OF_FOUR, exits=exits)
    assert answer["status"] == ("fail" if exits else "pass")
    assert answer["records"].items() >= {"read": 4, "used": 2, "rejected": 2, "blank": 0}.items()
    assert [(r["line"], r["code"]) for r in answer["rejections"]] == [(2, "not-an-object"), (4, "truncated-tail")]
    assert answer["responses"] == 2


@pytest.mark.parametrize(
    ("data", "arguments", "exits"),
    [
        (b"", (), 1),
        (b"", ("--allow-empty",), 0),
        (b"\n\n", (), 1),
        (b"\n\n", ("--allow-empty",), 0),
        (b"[]x\n", ("--max-errors", "1", "--allow-empty"), 3),
        (b"x\n", ("--max-errors", "1"), 1),
        (b"x\n", ("--max-errors", "1", "--allow-empty"), 0),
    ],
)
def test_nothing_to_average_is_a_failure_unless_allowed(
    loss_json: LossJson, data: bytes, arguments: tuple[str, ...], exits: int
) -> None:
    answer = loss_json("-B", "100", *arguments, stdin=data, exits=exits)
    assert answer["loss"] is None
    assert answer["responses"] == 0


def test_the_first_ten_rejections_are_shown_and_v_shows_all(budget_cli: Run) -> None:
    bad = b"x\n" * 14
    done = budget_cli("loss", "-B", "9", "-f", "json", stdin=bad)
    assert len(json.loads(done.stdout)["rejections"]) == 10
    assert "budget-cli: and 4 more rejected records (-v shows all)\n" in said(done)
    screen = budget_cli("loss", "-B", "9", stdin=bad).stdout.decode()
    assert screen.count("\nrejected  <stdin>:") == 10
    assert "and 4 more (-v shows all)" in screen
    assert len(json.loads(budget_cli("loss", "-B", "9", "-f", "json", "-v", stdin=bad).stdout)["rejections"]) == 14


# ---- input and output that fail


def test_a_missing_file_is_named_and_the_likely_one_suggested(budget_cli: Run, tmp_path: Path, small: Path) -> None:
    (tmp_path / "rollouts").mkdir()
    done = budget_cli("loss", "rolouts/", "-B", "1024", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (3, b"")
    assert said(done) == "budget-cli: rolouts/: no such file or directory (did you mean rollouts/?)\n"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "no such file or directory"),
        ("a" * 300, "cannot be read: File name too long"),
        ("empty", "no *.jsonl* and no *.parquet files in this directory"),
        ("array.jsonl", "this is JSON, not JSONL: try `jq -c '.[]'"),
        ("object.jsonl", "this is JSON, not JSONL: try `jq -c ."),
        ("utf16.jsonl", "this is UTF-16, expected UTF-8"),
        ("a.zst", "damaged zstd data"),
    ],
)
def test_what_cannot_be_read_is_one_line_and_exit_3(budget_cli: Run, tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "array.jsonl").write_bytes(b"\n[\n" + lines(GOOD) + b"]\n")
    (tmp_path / "object.jsonl").write_bytes(b'{\n"prompt_id": 1}\n')
    (tmp_path / "utf16.jsonl").write_bytes(lines(GOOD).decode().encode("utf-16"))
    (tmp_path / "a.zst").write_bytes(b"\x28\xb5\x2f\xfd" + b"\xff" * 20)
    done = budget_cli("loss", name, "-B", "9", "-f", "json", cwd=tmp_path)
    assert done.returncode == 3
    assert message in said(done)
    assert len([line for line in said(done).splitlines() if not line.startswith("budget-cli: fail: ")]) == 1


@pytest.mark.parametrize("form", ["json", "table"])
def test_a_truncated_gzip_gives_what_came_before_but_never_a_pass(
    budget_cli: Run, tmp_path: Path, small: Path, form: str
) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(small.read_bytes())[:-9])
    done = budget_cli("loss", path, small, "-B", "9", "-f", form, "--allow-truncated-tail", "--max-errors", "9")
    assert done.returncode == 3
    assert "the gzip data is cut off" in said(done) + done.stdout.decode()
    if form == "json":
        answer = json.loads(done.stdout)
        assert answer["status"] == "fail"
        assert 60 + 50 < answer["responses"] <= 60 + 60
        assert len(answer["incomplete"]) == 1
        assert answer["incomplete"][0].startswith(f"{path}: the gzip data is cut off")
    else:
        assert "\nfail " in done.stdout.decode()
        assert "\npass " not in done.stdout.decode()


CHANGES = [
    ("os.truncate(name, 300)", 3, "became shorter while being read: "),
    ("os.replace('other', name)", 3, "was replaced by another file while being read"),
    ("os.remove(name)", 3, "cannot be read: No such file or directory"),
    ("open(name, 'ab').write(b'more')", 0, "grew by 4 bytes while being read; those were not read"),
]


@pytest.mark.parametrize(("change", "exits", "message"), CHANGES)
@pytest.mark.parametrize("packed", [True, False])
def test_a_file_that_changes_while_it_is_read_is_never_a_silent_pass(
    budget_cli: Run, tmp_path: Path, change: str, exits: int, message: str, packed: bool
) -> None:
    data = lines(*[GOOD] * 9)
    (tmp_path / "a").write_bytes(gzip.compress(data) + b"\0" * 300 if packed else data)
    (tmp_path / "other").write_bytes(data)
    patch = (
        "import os\nfrom budget_cli.sources import local as sources\nfind = sources.find\n"
        f"def changed(names):\n    found = find(names)\n    name = names[0]\n    {change}\n    return found\n"
        "sources.find = changed"
    )
    done = budget_cli("loss", "a", "-B", "9", "-f", "json", patch=patch, cwd=tmp_path)
    assert done.returncode == exits
    assert f"budget-cli: a: {message}" in said(done)
    answer = json.loads(done.stdout)
    assert answer["status"] == ("fail" if exits else "pass")
    assert len(answer["incomplete"]) == bool(exits)


def test_a_full_disk_is_one_line_and_exit_3(budget_cli: Run, small: Path) -> None:
    with open("/dev/full", "wb") as full:
        done = budget_cli("loss", small, "-B", "9", stdout=full)
    assert done.returncode == 3
    assert said(done) == ("budget-cli: standard output: the result could not be written: No space left on device\n")


def test_a_full_disk_at_o_is_exit_3_too(budget_cli: Run, small: Path) -> None:
    done = budget_cli("loss", small, "-B", "9", "-o", "/dev/full")
    assert (done.returncode, done.stdout) == (3, b"")
    assert said(done).count("\n") == 1


def test_a_closed_pipe_is_silent(budget_cli: Run, small: Path) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        done = budget_cli("loss", small, "-B", "9", stdout=write_end)
    finally:
        os.close(write_end)
    assert (done.returncode, said(done)) == (141, "")


@pytest.mark.parametrize(
    ("closed", "exits", "message"),
    [
        (">&-", 3, "budget-cli: standard output: the result could not be written: "),
        ("<&-", 3, "budget-cli: <stdin>: cannot be read: "),
        ("2>&-", 0, ""),
    ],
)
def test_a_closed_stream_is_no_traceback(small: Path, closed: str, exits: int, message: str) -> None:
    name = "-" if closed == "<&-" else str(small)
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-m", "budget_cli", "loss", name, "-B", "9"],
        capture_output=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == exits
    assert said(done).startswith(message)
    assert said(done).count("\n") == bool(message)


def test_o_writes_the_same_bytes_and_leaves_nothing_beside(budget_cli: Run, tmp_path: Path, small: Path) -> None:
    target = tmp_path / "loss.json"
    target.write_text("old")
    arguments = ("loss", small, "-B", "1000", "-f", "json")
    done = budget_cli(*arguments, "-o", target)
    assert (done.returncode, done.stdout, said(done)) == (0, b"", "")
    assert target.read_bytes() == budget_cli(*arguments).stdout
    assert os.listdir(tmp_path) == ["loss.json"]
    link = tmp_path / "link.json"
    link.symlink_to(target)
    assert budget_cli("loss", small, "-B", "5", "-f", "json", "-o", link).returncode == 0
    assert link.is_symlink()
    assert json.loads(target.read_bytes())["coefficients"]["token_budget"] == 5


def test_o_keeps_what_was_there_when_there_is_no_result(budget_cli: Run, tmp_path: Path) -> None:
    target = tmp_path / "loss.json"
    target.write_text("old")
    for patch in (None, "import os; os.replace = None"):
        stdin = None if patch is None else lines(GOOD)
        name = "missing.jsonl" if patch is None else "-"
        done = budget_cli("loss", name, "-B", "9", "-o", target, patch=patch, stdin=stdin)
        assert done.returncode == (3 if patch is None else 70)
        assert target.read_text() == "old"
        assert os.listdir(tmp_path) == ["loss.json"]


def test_a_folder_that_cannot_be_written_to_is_told_before_reading(budget_cli: Run, tmp_path: Path) -> None:
    patch = "import os; os.access = lambda path, mode: False"
    done = budget_cli("loss", "missing.jsonl", "-B", "9", "-o", tmp_path / "x", patch=patch)
    assert done.returncode == 3
    assert "cannot be written to" in said(done)


# ---- interruptions and bugs


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_ctrl_c_is_one_line_130_and_nothing_on_standard_output(large: Path, jobs: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "budget_cli", "loss", "-B", "9", "-f", "json", "--jobs", jobs],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell lets its background jobs ignore it
    )
    assert process.stdin is not None
    process.stdin.write(large.read_bytes())  # returns when all but a pipe's worth has been read
    process.stdin.flush()
    os.killpg(process.pid, signal.SIGINT)
    assert process.stdout is not None
    assert process.stderr is not None
    out, err = process.stdout.read(), process.stderr.read()
    process.stdin.close()
    assert process.wait() == 130
    assert (out, err) == (b"", b"budget-cli: interrupted; there is no result\n")
    process.stdout.close()
    process.stderr.close()


def test_a_bug_keeps_its_traceback_and_is_exit_70(budget_cli: Run, small: Path) -> None:
    patch = "from budget_cli.analysis import loss; loss.compute_loss = lambda *args: 1 / 0"
    done = budget_cli("loss", small, "-B", "9", patch=patch)
    assert (done.returncode, done.stdout) == (70, b"")
    assert "Traceback" in said(done)
    assert "ZeroDivisionError" in said(done)
    assert said(done).endswith("budget-cli: this is a bug in budget-cli; please report it with the lines above\n")


def test_a_killed_worker_is_one_clear_line(budget_cli: Run, large: Path) -> None:
    patch = (
        "import os\nfrom budget_cli.scanning import scan\nparent = os.getpid()\nwhole = scan.run\n"
        "def run(*args):\n    if os.getpid() != parent: os.kill(os.getpid(), 9)\n    return whole(*args)\n"
        "scan.run = run"
    )
    in_python = ("--field", "reward=minus(reward, `0`)")  # plain fields are read by threads, which nobody kills
    done = budget_cli("loss", large, "-B", "9", "--jobs", "2", *in_python, patch=patch)
    assert (done.returncode, done.stdout) == (70, b"")
    assert said(done) == (
        "budget-cli: a worker process was killed (out of memory?), so there is no result; "
        "--jobs 1 needs the least memory\n"
    )


# ---- safety

HOSTILE = "\x1b]0;t\x9b2J\u202e\u200b\ufeff\x07[/INST][red]\u2028"
RAW = ("\x1b", "\x9b", "\u202e", "\u200b", "\ufeff", "\x07", "\u2028")


@pytest.mark.parametrize("form", ["table", "markdown", "json"])
@pytest.mark.parametrize("colour", [True, False])
def test_no_string_of_the_data_reaches_the_terminal_raw(
    budget_cli: Run, tmp_path: Path, form: str, colour: bool
) -> None:
    path = tmp_path / f"{HOSTILE.replace('/', '')}.jsonl"
    phantom = [{**GOOD, "prompt_id": HOSTILE, "response_length": length} for length in (1, 500)]
    bad = [{**GOOD, "prompt_id": HOSTILE, "reward": HOSTILE}, {HOSTILE: 1}]
    path.write_bytes(lines(*phantom, *bad) + f'{{"{HOSTILE[9:]}": NaN}}\n'.encode() + b"\xff\n")
    more = {"FORCE_COLOR": "1"} if colour else {}
    done = budget_cli("loss", path, tmp_path / "x.jsonl", "-B", "9", "--per-prompt", "-f", form, **more)
    assert said(done).count("\n") == 1, said(done)
    done = budget_cli("loss", path, "-B", "9", "--per-prompt", "-f", form, **more)
    assert done.returncode == 1
    shown = said(done) + (done.stdout.decode() if form != "json" else "")
    shown = re.sub("\x1b\\[[0-9;]*m", "", shown) if colour else shown  # the program's own colours
    for character in RAW:
        assert character not in shown
    assert "\\x1b" in shown
    if form == "json":
        assert json.loads(done.stdout)["per_prompt"][0]["prompt_id"] == HOSTILE


@pytest.mark.parametrize("form", ["table", "markdown", "json", "csv"])
def test_a_file_name_that_is_not_utf_8_can_be_told_of(budget_cli: Run, tmp_path: Path, form: str) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.jsonl"))
    path.write_bytes(lines(GOOD) + b"x\n")
    cut = path.with_suffix(".gz")
    cut.write_bytes(gzip.compress(lines(GOOD))[:-1])
    done = budget_cli("loss", path, "-B", "9", "-f", form)
    assert done.returncode == 1, said(done)
    done = budget_cli("loss", cut, "-B", "9", "-f", form)
    assert done.returncode == 3, said(done)


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\0"])
def test_no_cell_of_the_csv_is_a_formula_and_numbers_stay_numbers(budget_cli: Run, start: str) -> None:
    data = lines({**GOOD, "prompt_id": f'{start}SUM(1),"\n2'}, {**GOOD, "prompt_id": -5})
    done = budget_cli("loss", "-B", "500", "--per-prompt", "-f", "csv", stdin=data)
    rows = list(csv.reader(io.StringIO(done.stdout.decode(), newline="")))
    assert [row[0] for row in rows] == ["prompt_id", f"'{start}SUM(1),\"\n2", "-5"]
    assert {len(row) for row in rows} == {len(rows[0])}


# ---- settings and start-up


def test_flags_beat_the_environment(budget_cli: Run, small: Path) -> None:
    done = budget_cli("loss", small, "-f", "json", BUDGET_CLI_TOKEN_BUDGET="7", BUDGET_CLI_KL_COEF="0.5")
    assert json.loads(done.stdout)["coefficients"] == {"token_budget": 7, "budget_penalty_coef": 0.01, "kl_coef": 0.5}
    done = budget_cli("loss", small, "-f", "json", "-B", "8", BUDGET_CLI_TOKEN_BUDGET="7")
    assert json.loads(done.stdout)["coefficients"]["token_budget"] == 8


def test_quiet_leaves_standard_error_to_errors(budget_cli: Run) -> None:
    done = budget_cli("loss", "-B", "9", "-f", "json", "-q", stdin=lines(GOOD) + b"x\n")
    assert done.returncode == 1
    assert "not JSON" not in said(done)


@pytest.mark.parametrize("arguments", [("--version",), ("--help",), ("loss", "--help"), ("loss",), ("loss", "--nope")])
def test_what_reads_nothing_imports_no_numpy_and_no_rich(budget_cli: Run, arguments: tuple[str, ...]) -> None:
    done = budget_cli(*arguments, PYTHONPROFILEIMPORTTIME="1")
    imported = {line.rpartition("|")[2].strip() for line in said(done).splitlines() if line.startswith("import time:")}
    assert "budget_cli.cli.app" in imported
    assert not imported & {"numpy", "rich", "rich.table", "msgspec", "orjson", "pydantic", "multiprocessing"}
    assert b"Traceback" not in done.stderr
    if arguments == ("--version",):
        assert done.stdout.startswith(b"budget-cli ")


def test_help_names_every_option_and_the_exit_codes(budget_cli: Run) -> None:
    text = budget_cli("loss", "--help").stdout.decode()
    names = "token-budget beta alpha aggregate field format precision fail-if max-errors jobs output quiet verbose"
    for name in names.split():
        assert f"--{name}" in text
    assert "Exit: 0 " in text


def test_what_no_record_has_is_one_message_with_both_ways_out(budget_cli: Run, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"prompt_id": 1, "reward": 1, "response_length": 3}\n' * 30)
    done = budget_cli("loss", "a.jsonl", "-B", "9", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout.decode().splitlines()[3:] == [
        "fail      log_prob is in no record: missing (there are prompt_id, reward, response_length);"
        " --kl-coef 0 does without it, or give --field log_prob=PATH",
        "fail      30 records of 30 rejected",
        "fail      no record could be used",
    ]


def test_what_is_null_in_every_record_is_one_message_with_both_ways_out(budget_cli: Run, tmp_path: Path) -> None:
    record = {"prompt_id": 1, "reward": 1, "log_prob": -1, "old_log_prob": None}
    (tmp_path / "a.jsonl").write_bytes(lines(*[record] * 30))
    done = budget_cli("loss", "a.jsonl", "--beta", "0", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout.decode().splitlines()[3] == (
        "fail      old_log_prob is null in every record: --kl-coef 0 does without it, or give --field old_log_prob=PATH"
    )


PARTLY: list[tuple[dict[str, Any], str, str]] = [  # what every third record has, what lacks it, what does without
    ({"old_log_prob": None}, "old_log_prob", "--kl-coef 0"),
    ({"log_prob": None}, "log_prob", "--kl-coef 0"),
    ({"response_length": None}, "response_length", "--budget-penalty-coef 0"),
]


@pytest.mark.parametrize(("lacks", "name", "without"), PARTLY)
def test_where_some_records_lack_what_a_coefficient_needs_it_is_said_how_many_and_both_ways_out(
    budget_cli: Run, tmp_path: Path, lacks: dict[str, Any], name: str, without: str
) -> None:
    chance = random.Random(7)
    records = [response(number, chance) | (lacks if number % 3 == 0 else {}) for number in range(60)]
    (tmp_path / "a.jsonl").write_bytes(lines(*records))
    failed = budget_cli("loss", "a.jsonl", "-B", "9", cwd=tmp_path)
    assert failed.returncode == 1
    assert failed.stdout.decode().splitlines()[-2:] == [
        "fail      20 records of 60 rejected",
        f"fail      {name} is missing in 20 of 60: give {without}, or --max-errors 20 for the other 40",
    ]
    allowed = budget_cli("loss", "a.jsonl", "-B", "9", "--max-errors", "20", cwd=tmp_path)
    assert allowed.returncode == 0
    text = allowed.stdout.decode()
    assert f"warning   20 records of 60 without {name}: the loss is over the others\n" in text
    assert text.endswith("pass      60 records read, 20 rejected as allowed\n")
    answer = json.loads(budget_cli("loss", "a.jsonl", "-B", "9", "-f", "json", cwd=tmp_path).stdout)
    expected = {"no_length": 0, "no_log_prob": 0, "no_old_log_prob": 0}
    expected["no_" + name.removeprefix("response_")] = 20
    assert answer["coverage"] == {"length": 40, "log_ratio": 40} | expected
    gated = budget_cli(
        "loss",
        "a.jsonl",
        "-B",
        "9",
        "--max-errors",
        "20",
        "--fail-if",
        f"coverage.no_{name.removeprefix('response_')} > 10",
        cwd=tmp_path,
    )
    assert gated.returncode == 1
    done = budget_cli("loss", "a.jsonl", "-B", "9", *without.split(), cwd=tmp_path)
    assert done.returncode == 0, done.stdout.decode()


@pytest.mark.parametrize("data", [b"\x80\x04\x95abc", b"\x80\x02}q"])
def test_a_pickle_is_refused_with_the_reason(budget_cli: Run, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.pkl").write_bytes(data)
    done = budget_cli("loss", "a.pkl", "-B", "9", "-f", "json", cwd=tmp_path)
    assert done.returncode == 3
    assert "a.pkl: a pickle: loading it would run whatever code is inside" in said(done)


def test_a_large_dump_read_without_the_compiled_reader_says_so(budget_cli: Run, small: Path) -> None:
    patch = (
        "from budget_cli import native\nfrom budget_cli.cli import session\n"
        "session.WORTH_A_COMPILER = 1\nnative.AVAILABLE = False"
    )
    done = budget_cli("loss", small, "-B", "9", "-f", "json", patch=patch)
    assert done.returncode == 0
    assert done.stderr.decode() == (
        "budget-cli: read without the compiled reader, which takes a fraction of the time: there was no C compiler when"
        " budget-cli was installed\n"
    )
    assert done.stdout == budget_cli("loss", small, "-B", "9", "-f", "json").stdout
