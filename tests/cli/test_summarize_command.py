"""If this fails, summaries cannot replace records, or a wrong use of them is not reported in one line."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command import Run

STEPS = Path(__file__).parents[2] / "sample_data" / "steps"
FILES = sorted(STEPS.glob("*.jsonl"))
WHOLE = ("-B", "1024", "--format", "json", "--precision", "17", "--per-prompt")


@pytest.fixture
def parts(budget_cli: Run, tmp_path: Path) -> list[Path]:
    """A summary of each step, the last of them compressed."""
    made = []
    for path in FILES:
        part = tmp_path / f"{path.stem}.summary{'.gz' if path is FILES[-1] else ''}"
        done = budget_cli("summarize", path, "-B", "512,1024", "-o", part)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
        made.append(part)
    return made


def test_every_command_accepts_summaries_in_place_of_records(budget_cli: Run, parts: list[Path]) -> None:
    for command in (("loss", *WHOLE), ("sweep", "-B", "512,1024", "--beta", "0:0.1:5", "-f", "json")):
        of_records, of_parts = budget_cli(*command, *FILES), budget_cli(*command, *parts)
        assert of_parts.stdout == of_records.stdout != b""
        assert (of_parts.returncode, of_parts.stderr) == (0, b"")
    compared = budget_cli("compare", parts[0], parts[1], "-B", "1024", "-f", "json").stdout
    assert (
        compared.replace(b".summary", b".jsonl").replace(bytes(parts[0].parent), bytes(STEPS))
        == budget_cli("compare", FILES[0], FILES[1], "-B", "1024", "-f", "json").stdout
    )


def test_check_accepts_summaries_in_place_of_records(budget_cli: Run, parts: list[Path]) -> None:
    of_records, of_parts = (
        json.loads(budget_cli("check", *inputs, "-B", "1024", "-f", "json").stdout) for inputs in (FILES, parts)
    )
    assert len(of_parts["findings"]) > 3
    assert [finding["message"] for finding in of_parts["findings"]] == [
        finding["message"] for finding in of_records["findings"] if finding["code"] in of_parts["checked"]
    ]


def test_summaries_can_be_summarized_through_a_pipe(budget_cli: Run, parts: list[Path]) -> None:
    packed = gzip.compress(budget_cli("summarize", *parts, "-B", "1024").stdout)
    assert budget_cli("loss", "-", *WHOLE, stdin=packed).stdout == budget_cli("loss", *FILES, *WHOLE).stdout


@pytest.mark.parametrize("command", ["check", "sweep", "summarize", "report"])
def test_every_command_takes_a_summary_through_a_pipe(
    budget_cli: Run, parts: list[Path], tmp_path: Path, command: str
) -> None:
    (tmp_path / "s").write_bytes(summary := budget_cli("summarize", *parts, "-B", "1024").stdout)
    through = budget_cli(command, "-", "-B", "1024", "-o", "a", cwd=tmp_path, stdin=summary)
    assert through.returncode == budget_cli(command, "s", "-B", "1024", "-o", "b", cwd=tmp_path).returncode
    a, b = ((tmp_path / name).read_bytes() for name in "ab")
    assert a == b or (command == "report" and len(a) == len(b))  # its page has the name of the input, - or s


@pytest.mark.parametrize("name", ["s", "s.gz", "s.bz2", "s.xz", "s.zst"])
def test_summaries_are_reproducible_and_compressed_by_their_name(budget_cli: Run, tmp_path: Path, name: str) -> None:
    made = []
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        assert budget_cli("summarize", *FILES, "-B", "1024", "-o", tmp_path / folder / name).returncode == 0
        made.append((tmp_path / folder / name).read_bytes())
    assert made[0] == made[1]
    assert made[0].startswith(
        {"s": b"{", "s.gz": b"\x1f\x8b", "s.bz2": b"BZh", "s.xz": b"\xfd7zXZ"}.get(name, b"\x28\xb5")
    )
    assert budget_cli("loss", tmp_path / "one" / name, *WHOLE).stdout == budget_cli("loss", *FILES, *WHOLE).stdout


def test_a_summary_carries_rejected_records_along(
    budget_cli: Run, loss_json: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    damaged = STEPS.parent / "damaged.jsonl"
    part = tmp_path / "part.jsonl"
    done = budget_cli("summarize", damaged, "-B", "1024", "-o", part)
    assert (done.returncode, part.exists()) == (1, True)
    assert done.stderr.decode().endswith("budget-cli: fail: 23 records of 28 rejected\n")
    assert loss_json(part, "-B", "1024", exits=1) == loss_json(damaged, "-B", "1024", exits=1)
    assert loss_json(part, "-B", "1024", "--max-errors", "23")["status"] == "pass"


def test_a_summary_keeps_a_location_per_reason_and_ten_rejections_are_listed(budget_cli: Run, tmp_path: Path) -> None:
    good = b'{"prompt_id": "p", "reward": 1, "log_prob": -1, "old_log_prob": -1, "response_length": 9}\n'
    (tmp_path / "a.jsonl").write_bytes(good + b"{\n" * 30 + b"[]\n")
    done = budget_cli("summarize", "a.jsonl", "-B", "4", "-o", "s.jsonl", cwd=tmp_path)
    errors = done.stderr.decode().splitlines()
    assert (done.returncode, len(errors)) == (1, 12)
    assert errors[-2:] == [
        "budget-cli: and 21 more rejected records (-v shows all)",
        "budget-cli: fail: 31 records of 32 rejected",
    ]
    kept = json.loads((tmp_path / "s.jsonl").read_bytes().partition(b"\n")[0])["rejections"]
    assert [one["line"] for one in kept] == [*range(2, 12), 32]
    shown = budget_cli("loss", "s.jsonl", "-B", "4", "-f", "json", cwd=tmp_path)
    assert shown.stdout == budget_cli("loss", "a.jsonl", "-B", "4", "-f", "json", cwd=tmp_path).stdout


def test_a_truncated_summary_gives_no_result(budget_cli: Run, parts: list[Path]) -> None:
    parts[0].write_bytes(parts[0].read_bytes()[:-40])
    done = budget_cli("loss", *parts, *WHOLE)
    assert done.returncode == 3
    assert f"{parts[0]}: damaged or edited summary: line 7: not JSON".encode() in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("summarize", "{}"), "give budgets (-B TOKENS,…), or --budget-penalty-coef 0 to do without lengths"),
        (
            ("summarize", "{}", "-B", "x"),
            "--token-budget 'x': expected numbers separated by commas, a:b:n or a:b:logn, found 'x'",
        ),
        (
            ("loss", "{}", "-B", "9"),
            "{}: this summary was made for other budgets (512, 1024), not 9: give one of those"
            " with -B, or summarize again with 9",
        ),
        (("loss", "{}", "-B", "1024", "--by", "task"), "--by task: {} is a summary, which has no individual records"),
        (("loss", "{}", "-B", "1024", "--by", "file"), "--by file: {} is a summary, which has no individual records"),
        (("annotate", "{}", "-B", "1024"), "{}: a summary has no individual records, which annotate needs"),
        (("fields", "{}"), "{}: a summary has no individual records, which fields needs"),
    ],
)
def test_invalid_uses_of_summaries_are_one_line(
    budget_cli: Run, parts: list[Path], arguments: tuple[str, ...], message: str
) -> None:
    done = budget_cli(*(argument.replace("{}", str(parts[0])) for argument in arguments))
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.decode() == f"budget-cli: {message.replace('{}', str(parts[0]))}\n"


@pytest.mark.parametrize("command", ["loss", "check", "sweep", "compare", "report", "summarize", "fields", "annotate"])
@pytest.mark.parametrize(
    "text",
    [
        '{"schema":"budget-cli/summary/2"}',
        '{"schema":"budget-cli/summary/2"}\n',
        '{"schema":"budget-cli/summary/2","budgets":4}\n',
        '{"schema":"budget-cli/summary/2"',
        '{"schema":"budget-cli/summary/2"' + "," + '"a":[' * 2000,
    ],
)
def test_what_only_begins_as_a_summary_is_refused_by_every_command(
    budget_cli: Run, tmp_path: Path, command: str, text: str
) -> None:
    (tmp_path / "s.jsonl").write_text(text)
    files = ["s.jsonl", "s.jsonl"] if command == "compare" else ["s.jsonl"]
    budget = [] if command == "fields" else ["-B", "4"]
    done = budget_cli(command, *files, *budget, cwd=tmp_path)
    assert done.returncode in (2, 3), done.stderr.decode()
    assert (done.stdout, done.stderr.count(b"\n")) == (b"", 1)


@pytest.mark.parametrize(
    ("made_with", "given", "refusal"),
    [
        ((), ("--group", "prompt"), "--group prompt: {} was made with prompts of steps"),
        ((), ("--group", "line"), "--group line: {} was made without it"),
        ((), ("--group-size", "4"), "--group-size 4: {} was made without it"),
        (("--group-size", "4"), ("--group-size", "8"), "--group-size 8: {} was made without it"),
        ((), ("--field", "reward=score"), "--field reward=score: {} was made with reward=reward"),
        ((), ("--field", "prompt_id=step"), "--field prompt_id=step: {} was made with prompt_id=prompt_id"),
        (("--group", "prompt"), ("--group", "prompt"), ""),
        (("--group", "prompt"), (), ""),
        (("--group-size", "4"), ("--group-size", "4"), ""),
        ((), ("--field", "reward=reward", "--field", "log_prob=unneeded"), ""),
    ],
)
def test_an_option_that_a_summary_was_made_without_is_refused_rather_than_without_effect(
    budget_cli: Run, tmp_path: Path, made_with: tuple[str, ...], given: tuple[str, ...], refusal: str
) -> None:
    needs = ("-B", "1024", "--kl-coef", "0")
    budget_cli("summarize", FILES[0], FILES[1], *needs, *made_with, "-o", tmp_path / "s")
    records = budget_cli("loss", FILES[0], FILES[1], *needs, *made_with).stdout
    again = "a summary holds no single records, so leave it out, or summarize again with it"
    for command in ("loss", "check", "sweep", "compare"):
        files = [tmp_path / "s"] * (2 if command == "compare" else 1)
        done = budget_cli(command, *files, *(needs if command != "sweep" else ("-B", "1024", "--alpha", "0")), *given)
        if refusal:
            assert (done.returncode, done.stdout) == (2, b"")
            assert f"{refusal.format(tmp_path / 's')}: {again}\n" in done.stderr.decode()
        else:
            assert done.returncode == 0, done.stderr.decode()
            assert command != "loss" or done.stdout == records
