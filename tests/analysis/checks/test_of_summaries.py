"""If this fails, `check` says something else of summaries than of the files that they stand for."""

import json
import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import command
import pytest
from dump_of import Record
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from samples import lines

from budget_cli.analysis.checks.catalogue import CHECKS

OF_RECORDS = {code for code, check in CHECKS.items() if "records" in check.needs}
DAMAGED = [
    b"{",
    b"[]",
    b'{"prompt_id": "a", "reward": NaN}',
    b'{"prompt_id": "a", "reward": "1"}',
    b'{"reward": 1}',
    b'{"prompt_id": "a", "reward": null}',
    b"\xff",
    b"\0\0",
    b'{"prompt_id": 1.5, "reward": 1}',
]


def run(*arguments: Any) -> int:
    done = command.run(*arguments)
    assert done.returncode in (0, 1), done.stderr.decode()
    return done.returncode


def summarized(paths: list[Path], to: Path, *options: str) -> Path:
    run("summarize", *paths, "-q", "-o", to, *options)
    return to


def checked(paths: list[Path], *options: str) -> dict[str, Any]:
    """All that `check` says in JSON, and its exit code."""
    out = paths[0].parent / "out.json"
    code = run("check", *paths, "-q", "-f", "json", "-o", out, *options)
    return {"exit": code, **json.loads(out.read_bytes())}


def of_records_less(answer: dict[str, Any]) -> dict[str, Any]:
    """What is said of records, as far as summaries can say it: the place of a prompt is its source, without a line."""
    for finding in answer["findings"]:
        if finding["unit"] == "prompts" or " in all " in finding["message"]:
            for one in finding["evidence"]:
                one["line"] = None
    return without_tokens(answer)


def without_tokens(answer: dict[str, Any]) -> dict[str, Any]:
    """What is said but for the tokens of lists, which are compared where the first records of a scan have lists."""
    for pair in answer["policies"]:
        pair["tokens"] = None
    return answer


def dump(chance: random.Random, whole: bool, rewards: list[float], reasons: bool) -> bytes:
    """Responses, some of which show something, and lines that hold none; the first line is good."""
    made = b""
    for number in range(chance.randrange(40)):
        if number and chance.random() < 0.2:
            made += chance.choice(DAMAGED) + b"\n"
            continue
        record: Record = {"prompt_id": chance.choice(["a", "b", "é", 7, "7"]), "reward": chance.choice(rewards)}
        if whole or chance.random() < 0.9:
            record["response_length"] = chance.choice([0, 1, 90, 300, 301, 700, 1500])
        if whole or chance.random() < 0.9:
            record["log_prob"] = chance.choice([0.0, 0.5, -1.0, -300.0, [-0.5, -0.25], chance.gauss(-100, 30)])
            record["old_log_prob"] = chance.choice([record["log_prob"], -2.0, -3000.0])
            if isinstance(record["log_prob"], list):
                record["old_log_prob"] = [-1.0, -2.0]
        if reasons:
            record["finish_reason"] = chance.choice(["stop", "length"]) if number else "stop"
        made += lines([record])
    return made


@pytest.mark.exhaustive
@examples(30)
@given(
    seed=st.integers(0, 2**32),
    whole=st.booleans(),
    reasons=st.booleans(),
    rewards=st.sampled_from([[1.0], [0.0, 1.0], [0.0, 0.25, 1.0], [i / 50 for i in range(50)]]),
    cuts=st.lists(st.integers(0, 5), max_size=4),
    again=st.booleans(),
    budget=st.sampled_from([(), ("-B", "300"), ("-B", "600", "--beta", "0.5"), ("-B", "5000")]),
)
def test_however_the_files_are_shared_out_the_findings_are_those_of_one_scan(
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    whole: bool,
    reasons: bool,
    rewards: list[float],
    cuts: list[int],
    again: bool,
    budget: tuple[str, ...],
) -> None:
    folder, chance = tmp_path_factory.mktemp("dumps"), random.Random(seed)
    paths = [folder / f"{number}.jsonl" for number in range(5)]
    for path in paths:
        path.write_bytes(dump(chance, whole, rewards, reasons))
    how = ("-B", "300,600,5000", "--beta", "0", "--kl-coef", "0")  # so that no record is rejected for what it lacks
    inputs = []
    for part, (begin, end) in enumerate(pairwise([0, *sorted(cuts), 5])):
        if (part + seed) % 3 or part == 0:
            inputs.append(summarized(paths[begin:end], folder / f"{part}.summary", *how) if begin < end else None)
        else:
            inputs += paths[begin:end]  # summaries and records side by side
    there = [path for path in inputs if path is not None]
    if again and there:
        there = [summarized(there, folder / "all.summary", *how)]
    if not any(path.suffix == ".summary" for path in there):
        return
    options = (*budget, "--ignore", ",".join(OF_RECORDS))
    assert without_tokens(checked(there, *options)) == of_records_less(checked(paths, *options))


def test_the_token_without_a_log_prob_is_named_by_summaries_too(tmp_path: Path) -> None:
    record = {"prompt_id": "p", "reward": 1.0, "response_length": 3, "log_prob": [-0.5, -9.0, -0.25]}
    for name, old in (
        ("a", [[-0.5, -9.0, -0.25]] * 3),
        ("b", [[-0.5, -9.0, -0.25], [-0.5, 0.0, -0.25], [0.0, -9.0, 0.0]]),
    ):
        (tmp_path / f"{name}.jsonl").write_bytes(lines([{**record, "old_log_prob": each} for each in old]))
        made = command.run("summarize", f"{name}.jsonl", "-B", "9", "-o", f"{name}.summary", cwd=tmp_path)
        assert made.returncode == 0, made.stderr.decode()
    done = command.run("check", "a.summary", "b.summary", "-B", "9", "-f", "json", cwd=tmp_path)
    (found,) = [one for one in json.loads(done.stdout)["findings"] if one["code"] == "unfilled-log-prob"]
    assert found["message"].endswith("in 1 of 6 responses; at token 2 of the response (index 1)")
    assert [(place["source"], place["line"]) for place in found["evidence"]] == [("b.jsonl", 2)]
