"""If this fails, a message on a missing field does not name the field or one of the ways out."""

import json
import random
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from command import Run
from samples import lines, response


def test_a_field_that_no_record_has_is_one_message_with_both_ways_out(budget_cli: Run, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"prompt_id": 1, "reward": 1, "response_length": 3}\n' * 30)
    done = budget_cli("loss", "a.jsonl", "-B", "9", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout.decode().splitlines()[4:] == [
        "fail      log_prob is in no record: missing (the record has prompt_id, reward, response_length);"
        " --kl-coef 0 does without it, or give --field log_prob=PATH",
        "fail      30 records of 30 rejected",
        "fail      no record could be used",
    ]


def test_a_field_that_is_null_in_every_record_is_one_message_with_both_ways_out(
    budget_cli: Run, tmp_path: Path
) -> None:
    record = {"prompt_id": 1, "reward": 1, "log_prob": -1, "old_log_prob": None}
    (tmp_path / "a.jsonl").write_bytes(lines([record] * 30))
    done = budget_cli("loss", "a.jsonl", "--beta", "0", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout.decode().splitlines()[4] == (
        "fail      old_log_prob is null in every record: --kl-coef 0 does without it, or give --field old_log_prob=PATH"
    )


@pytest.mark.parametrize("place", ["rewards", "score.of run"])
def test_one_number_in_place_of_an_array_of_rewards_is_read_by_the_option_of_the_message(
    budget_cli: Run, tmp_path: Path, place: str
) -> None:
    record: dict[str, Any] = {"prompt_id": 1, "log_prob": -1, "old_log_prob": -1, "response_length": 3}
    outer, _, inner = place.partition(".")
    (tmp_path / "a.jsonl").write_bytes(lines([record | {outer: {inner: 0.5} if inner else 0.5}] * 2))
    given = () if place == "rewards" else ("--field", f"rewards={place}")
    failed = budget_cli("loss", "a.jsonl", "-B", "9", *given, cwd=tmp_path)
    _, message, remedy, does = re.split(
        "; (?=--field)| (?=reads)|: (?=expected)", failed.stdout.decode().splitlines()[4]
    )
    assert (message, does) == ("expected a list, found a number", "reads it as that of one response")
    passed = budget_cli("loss", "a.jsonl", "-B", "9", "-f", "json", *shlex.split(remedy), cwd=tmp_path)
    assert json.loads(passed.stdout)["reward"]["mean"] == 0.5


PARTLY: list[
    tuple[dict[str, Any], str, str]
] = [  # what every third record has, the missing field, the flags to do without it
    ({"old_log_prob": None}, "old_log_prob", "--kl-coef 0"),
    ({"log_prob": None}, "log_prob", "--kl-coef 0"),
    ({"log_prob": []}, "log_prob", "--kl-coef 0"),
    ({"response_length": None}, "response_length", "--budget-penalty-coef 0"),
]


@pytest.mark.parametrize(("changed", "name", "without"), PARTLY)
def test_a_needed_field_missing_in_some_records_is_counted_with_both_ways_out(
    budget_cli: Run, tmp_path: Path, changed: dict[str, Any], name: str, without: str
) -> None:
    chance = random.Random(7)
    records = [response(number, chance) | (changed if number % 3 == 0 else {}) for number in range(60)]
    (tmp_path / "a.jsonl").write_bytes(lines(records))
    failed = budget_cli("loss", "a.jsonl", "-B", "9", cwd=tmp_path)
    assert failed.returncode == 1
    assert failed.stdout.decode().splitlines()[-2:] == [
        "fail      20 records of 60 rejected",
        f"fail      {name} is missing in 20 of 60: give {without}, or --max-errors 20 for the other 40",
    ]
    allowed = budget_cli("loss", "a.jsonl", "-B", "9", "--max-errors", "20", cwd=tmp_path)
    assert allowed.returncode == 0
    text = allowed.stdout.decode()
    assert f"warning   20 records of 60 without {name}: the loss leaves them out\n" in text
    assert re.search(r"\npass      read completely: 60 records, 20 rejected as allowed; \d warnings?\n$", text)
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


MISTYPED = [  # what --field maps, the option that makes check read it, what is expected there
    ("finish_reason=stop_reson", (), "a string or an integer"),
    ("finish_reasons=stop_reson", (), "a string or an integer"),
    ("advantage=adv", (), "a number"),
    ("advantage=text", (), "a number"),  # it is there, but is none
    ("step=at.stp", (), "a string or an integer"),
    ("prompt_text=promt", ("--text",), "a text"),
    ("response_text=length(text)", ("--text",), "a text"),
]


@pytest.mark.parametrize(("mapping", "options", "expected"), MISTYPED)
def test_an_optional_field_by_a_name_that_no_record_has_is_refused(
    budget_cli: Run, tmp_path: Path, mapping: str, options: tuple[str, ...], expected: str
) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines([{"prompt_id": 1, "reward": i, "text": "ab"} for i in range(3)]))
    done = budget_cli("check", "a.jsonl", "--field", mapping, *options, cwd=tmp_path)
    why = f"--field {mapping}: no record has {expected} there; budget-cli fields shows what each path holds"
    assert (done.returncode, done.stdout, done.stderr.decode()) == (2, b"", f"budget-cli: {why}\n")


def test_an_optional_field_that_only_the_last_record_has_is_read_if_it_is_named(
    budget_cli: Run, tmp_path: Path
) -> None:
    records = [{"prompt_id": 1, "reward": i % 2, "text": "ab" * 300} for i in range(1200)]
    (tmp_path / "a.jsonl").write_bytes(lines([*records, {"prompt_id": 1, "reward": 1, "why": "length"}]))
    done = budget_cli("check", "a.jsonl", "--field", "finish_reason=why", "-f", "json", cwd=tmp_path)
    assert "truncated" in [finding["code"] for finding in json.loads(done.stdout)["findings"]]


@pytest.mark.parametrize("place", ["why", "part(why, '_', `0`)"])
def test_an_optional_field_that_is_null_in_every_record_is_there(budget_cli: Run, tmp_path: Path, place: str) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines([{"prompt_id": 1, "reward": i, "why": None} for i in range(3)]))
    done = budget_cli("check", "a.jsonl", "--field", f"finish_reason={place}", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    assert "no finish reason in these records (1)" in " ".join(done.stdout.decode().split())


def test_an_optional_field_is_not_missed_where_no_record_can_be_used(budget_cli: Run, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"prompt_id": 1, "reward": null}\n')
    done = budget_cli("check", "a.jsonl", "--field", "finish_reason=why", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, b"")


def test_an_optional_field_by_a_name_that_no_row_has_is_refused(budget_cli: Run, tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pyarrow.table({"prompt_id": ["p", "p"], "reward": [1.0, 0.0], "why": ["stop", None]})
    parquet.write_table(table, tmp_path / "a.parquet")
    wrong = budget_cli("check", tmp_path / "a.parquet", "--field", "finish_reason=wy")
    assert (wrong.returncode, wrong.stderr.decode().startswith("budget-cli: --field finish_reason=wy: no")) == (2, True)
    right = budget_cli("check", tmp_path / "a.parquet", "--field", "finish_reason=why")
    assert (right.returncode, right.stderr) == (0, b"")


def test_the_ways_out_are_named_only_where_they_are_ways_out(budget_cli: Run, tmp_path: Path) -> None:
    chance = random.Random(8)
    records = [response(number, chance) | ({"reward": None} if number < 5 else {}) for number in range(9)]
    records[7]["log_prob"] = []
    (tmp_path / "a.jsonl").write_bytes(lines(records))
    failed = budget_cli("loss", "a.jsonl", "-B", "9", cwd=tmp_path)
    assert failed.stdout.decode().splitlines()[-1] == "fail      6 records of 9 rejected"


NAMED: list[tuple[list[dict[str, Any]], tuple[str, ...], str]] = [  # records, what is given, what is then said to give
    (
        [{"prompt_id": i // 4, "reward": i % 2, "n_tok_out": 9 + i} for i in range(12)],
        (),
        "log_prob and no old_log_prob and no response_length: give --field response_length=n_tok_out --kl-coef 0;",
    ),
    (
        [{"qid": f"q{i // 4}", "pts": i % 2, "gen_len": 9 + i} for i in range(12)],
        ("--field", "prompt_id=qid", "--field", "reward=pts"),
        "log_prob and no old_log_prob and no response_length: give --field response_length=gen_len --kl-coef 0;",
    ),
    (
        [{"prompt_id": i // 4, "reward": i % 2, "note": "a"} for i in range(12)],
        (),
        "log_prob and no old_log_prob and no response_length: give --kl-coef 0 --budget-penalty-coef 0 to do without",
    ),
    (
        [{"qid": f"q{i // 4}", "reward": i % 2, "lp": [-0.5] * (4 + i), "ref_lp": [-0.4] * (4 + i)} for i in range(12)],
        ("--field", "reward=reward"),
        "prompt_id and no log_prob and no old_log_prob and no response_length: give --field prompt_id=qid"
        " --field log_prob=lp --field old_log_prob=ref_lp;",
    ),
]


@pytest.mark.parametrize(("records", "given", "said"), NAMED)
def test_all_that_is_missing_is_named_at_once_with_what_may_be_it(
    budget_cli: Run, tmp_path: Path, records: list[dict[str, Any]], given: tuple[str, ...], said: str
) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines(records))
    failed = budget_cli("loss", "a.jsonl", "-B", "9", *given, cwd=tmp_path)
    assert failed.returncode == 1
    message = failed.stderr.decode()
    assert message.startswith(f"budget-cli: a.jsonl: the first records have no {said}")
    options = re.split(r";| to do without", message.partition(": give ")[2])[0]
    done = budget_cli("loss", "a.jsonl", "-B", "9", *given, *shlex.split(options), cwd=tmp_path)
    assert done.returncode == 0, done.stdout.decode()


def test_what_a_preset_does_not_know_is_guessed_in_its_refusal(budget_cli: Run, tmp_path: Path) -> None:
    records = [
        {"input": f"What is {i // 4} and {i // 4}?", "output": "x" * (30 + 3 * i), "score": i % 2, "step": 1}
        | {"gts": "4", "out_toks": 10 + i}
        for i in range(12)
    ]
    (tmp_path / "a.jsonl").write_bytes(lines(records))
    refused = budget_cli("loss", "a.jsonl", "-B", "9", cwd=tmp_path)
    assert refused.returncode == 2
    assert refused.stderr.decode().splitlines()[-1] == (
        "budget-cli: this verl-v0 dump has no log_prob and no old_log_prob and no response_length:"
        " give --field response_length=out_toks --kl-coef 0; budget-cli fields says why"
    )
    done = budget_cli(
        "loss", "a.jsonl", "-B", "9", "--field", "response_length=out_toks", "--kl-coef", "0", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr


def test_what_is_only_possible_is_said_after_the_options(budget_cli: Run, tmp_path: Path) -> None:
    records = [{"uid": i // 4, "score_a": i % 3, "score_b": i % 2, "logp": -1.5 - i} for i in range(12)]
    (tmp_path / "a.jsonl").write_bytes(lines(records))
    command = ("loss", "a.jsonl", "--budget-penalty-coef", "0", "--field", "prompt_id=uid")
    refused = budget_cli(*command, cwd=tmp_path).stderr.decode().splitlines()[-1]
    assert refused == (
        "budget-cli: a.jsonl: the first records have no reward and no log_prob and no old_log_prob:"
        " give --field reward=score_a --field log_prob=logp --kl-coef 0, though reward may be another"
        " (or reward=score_b); budget-cli fields says why"
    )
    for reward in ("score_a", "score_b"):
        named = ("--field", f"reward={reward}", "--field", "log_prob=logp", "--kl-coef", "0")
        assert budget_cli(*command, *named, cwd=tmp_path).returncode == 0
