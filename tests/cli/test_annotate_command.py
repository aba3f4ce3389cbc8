"""If this fails, annotated records differ from the input, or their terms differ from those of the loss."""

import gzip
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command import Run
from samples import lines
from test_real_dumps import DUMPS, PRIME_RL

from budget_cli.cli.session import Session

ROOT = Path(__file__).parents[2]
TERMS = ["penalty", "adjusted_reward", "baseline", "advantage", "log_ratio", "loss"]
ADDED = re.compile(rb',"budget_cli":\{[^{}]*\}')


def record(prompt: str = "p", **changed: Any) -> dict[str, Any]:
    whole = {"prompt_id": prompt, "reward": 1.0, "log_prob": -1.0, "old_log_prob": -1.5, "response_length": 120}
    return whole | changed


def terms(out: bytes) -> list[dict[str, Any]]:
    return [json.loads(line)["budget_cli"] for line in out.splitlines()]


def test_terms_match_the_example_worked_by_hand(budget_cli: Run) -> None:
    # the first worked example of the loss: rewards 1 and 0.5, lengths 150 and 80, B 100, β 0.01, α 0.1
    dump = lines(
        [
            record(response_length=150, old_log_prob=-1.2),
            record(reward=0.5, log_prob=-1.5, old_log_prob=-1.3, response_length=80),
        ]
    )
    done = budget_cli("annotate", "-B", "100", stdin=dump)
    assert (done.returncode, done.stderr) == (0, b"")
    first, second = terms(done.stdout)
    assert list(first) == TERMS
    assert first == pytest.approx(dict(zip(TERMS, [0.5, 0.5, 0.5, 0, 0.2, 0.0004], strict=True)), abs=1e-15)
    assert second == pytest.approx(dict(zip(TERMS, [0, 0.5, 0.5, 0, -0.2, 0.0004], strict=True)), abs=1e-15)


@pytest.mark.parametrize("jobs", ["1", "3"])
def test_all_other_bytes_and_the_order_of_records_are_kept(budget_cli: Run, large: Path, jobs: str) -> None:
    done = budget_cli("annotate", large, "-B", "1000", "--jobs", jobs)
    assert done.returncode == 0, done.stderr
    assert ADDED.sub(b"", done.stdout) == large.read_bytes()


def test_the_mean_of_the_terms_is_the_loss(
    budget_cli: Run, loss_json: Callable[..., dict[str, Any]], large: Path
) -> None:
    done = budget_cli("annotate", large, "-B", "1000")
    losses = [term["loss"] for term in terms(done.stdout)]
    advantages = [term["advantage"] for term in terms(done.stdout)]
    answer = loss_json(large, "-B", "1000", "--precision", "17")
    assert sum(losses) / len(losses) == pytest.approx(answer["loss"], rel=1e-12)
    mean_square = sum(a * a for a in advantages) / len(advantages)
    assert mean_square == pytest.approx(answer["advantage"]["mean_square"], rel=1e-12)


def test_advantages_keep_their_digits_where_the_mean_is_far_from_zero(budget_cli: Run) -> None:
    dump = lines([record(reward=1e9 + x, response_length=1) for x in (0.25, 0.5, 0.0)])
    done = budget_cli("annotate", "-B", "100", stdin=dump)
    assert [term["advantage"] for term in terms(done.stdout)] == pytest.approx([0, 0.25, -0.25], rel=1e-15)


def test_output_and_rejects_together_make_up_the_input(budget_cli: Run, large_damaged: Path, tmp_path: Path) -> None:
    rejects = tmp_path / "rejects.jsonl"
    done = budget_cli("annotate", large_damaged, "-B", "1000", "--rejects", rejects, "--jobs", "2")
    assert done.returncode == 1
    kept = [ADDED.sub(b"", line) for line in done.stdout.splitlines(keepends=True)]
    refused = rejects.read_bytes().splitlines(keepends=True)
    whole = large_damaged.read_bytes().splitlines(keepends=True)
    whole[-1] += b"\n"
    assert len(kept) + len(refused) == len(whole)
    left = iter(whole)
    assert all(line in left for line in kept)  # in order: `in` consumes the iterator
    assert sorted(kept + refused) == sorted(whole)
    errors = done.stderr.decode()
    assert f"records are in {rejects} instead of the output\n" in errors
    assert re.search(rf"fail: {len(refused)} records of [\d,]+ rejected\n", errors)


def test_rejected_records_are_counted_and_change_no_baseline(budget_cli: Run) -> None:
    dump = lines([record(reward=1), record(reward=True), record(reward=3)])
    done = budget_cli("annotate", "-B", "100", stdin=dump)
    assert done.returncode == 1
    assert [term["advantage"] for term in terms(done.stdout)] == [-1, 1]
    assert done.stderr.decode() == (
        "budget-cli: 1 of 3 records are not in the output; --rejects FILE keeps them\n"
        "budget-cli: <stdin>:2:30: reward: expected a number, found true"
        "; --field 'reward=number(reward)' counts true as 1 and false as 0\n"
        "budget-cli: fail: 1 record of 3 rejected\n"
    )


def test_a_line_too_long_to_keep_is_missing_from_the_rejects_and_reported(budget_cli: Run, tmp_path: Path) -> None:
    rejects = tmp_path / "rejects"
    long = lines([record(text="x" * 400)])
    done = budget_cli(
        "annotate",
        "-B",
        "9",
        "--max-line-bytes",
        "300",
        "--max-errors",
        "2",
        "--rejects",
        rejects,
        stdin=long + b"{}\n" + lines([record()]),
    )
    assert done.returncode == 0
    assert (len(terms(done.stdout)), rejects.read_bytes()) == (1, b"{}\n")
    assert (
        f"2 of 3 records are in {rejects} instead of the output, except 1 that were too long to keep"
        in done.stderr.decode()
    )


def test_a_record_of_a_whole_prompt_gets_arrays(budget_cli: Run) -> None:
    prompt = {
        "prompt_id": "p",
        "rewards": [1, 3],
        "log_probs": [-1, -2],
        "old_log_probs": [-1.5, -2],
        "response_lengths": [90, 110],
    }
    alone = {"prompt_id": "q", "rewards": [1], "log_probs": [-1], "old_log_probs": [-1.5], "response_lengths": [90]}
    rest = record("p", reward=2, response_length=100)
    done = budget_cli("annotate", "-B", "100", "--beta", "0.1", "--alpha", "0", stdin=lines([prompt, alone, rest]))
    assert done.returncode == 0, done.stderr
    first, second, third = terms(done.stdout)
    assert first["penalty"] == [0, 1]
    assert first["adjusted_reward"] == [1, 2]
    assert first["baseline"] == pytest.approx([5 / 3, 5 / 3])
    assert first["log_ratio"] == [0.5, 0]
    assert second == dict(zip(TERMS, [[0], [1], [1], [0], [0.5], [0]], strict=True))
    assert third["baseline"] == pytest.approx(5 / 3)


def test_terms_that_a_response_has_no_fields_for_are_null(budget_cli: Run) -> None:
    dump = lines([{"prompt_id": 1, "reward": 1}, {"prompt_id": 1, "reward": 0, "log_prob": -1, "old_log_prob": -3}])
    done = budget_cli("annotate", "--beta", "0", "--alpha", "0", stdin=dump)
    assert done.returncode == 0, done.stderr
    assert [(term["log_ratio"], term["loss"]) for term in terms(done.stdout)] == [(None, 0.25), (2, 0.25)]


DUMPED: list[tuple[str, tuple[str, ...]]] = [
    (path.name, ("--beta", "0", "--alpha", "0", *more))
    for path in sorted((ROOT / "tests" / "dumps").glob("*.json*"))
    for more in [("--field", "reward=total(advantages)") if path.name in ("ms-swift.jsonl",) else ()]
    if path.name not in ("ms-swift-megatron.jsonl", "ms-swift.jsonl")
]


@pytest.mark.exhaustive
@pytest.mark.parametrize(("name", "flags"), DUMPED, ids=lambda value: value if isinstance(value, str) else "")
def test_dumps_of_every_shape_get_terms_for_every_response(
    budget_cli: Run, loss_json: Callable[..., dict[str, Any]], name: str, flags: tuple[str, ...], tmp_path: Path
) -> None:
    path = ROOT / "tests" / "dumps" / name
    if name == "areal.jsonl":
        flags += ("--preset", "areal")
    if name == "nemo-rl-without-tokens.jsonl":  # without ids, which annotate needs
        flags += ("--group", "file")
    once = tmp_path / path.name
    done = budget_cli("annotate", path, *flags, "-o", once)
    assert (done.returncode, done.stdout) == (0, b""), done.stderr
    assert ADDED.sub(b"", once.read_bytes()).rstrip(b"\n") == path.read_bytes().rstrip(b"\n")
    answer = loss_json(path, *flags, "--precision", "17", "--aggregate", "row")  # a response may be several rows
    found: list[float] = []
    for added in ADDED.findall(once.read_bytes()):
        loss = json.loads(b"{" + added[1:] + b"}")["budget_cli"]["loss"]
        found += loss if isinstance(loss, list) else [loss]
    assert len(found) == answer["rows"]
    assert sum(found) / len(found) == pytest.approx(answer["loss"], rel=1e-12)
    again = budget_cli("annotate", once, *flags)
    assert (again.returncode, again.stdout) == (0, once.read_bytes()), again.stderr


def test_annotating_again_replaces_the_key_and_keeps_the_others(budget_cli: Run, small: Path, tmp_path: Path) -> None:
    path = tmp_path / "annotated.jsonl"
    assert budget_cli("annotate", small, "-B", "10", "-o", path).returncode == 0
    assert path.read_bytes() != budget_cli("annotate", small, "-B", "1000").stdout
    again = tmp_path / "again.jsonl"
    assert budget_cli("annotate", path, "-B", "1000", "-o", again).returncode == 0
    assert again.read_bytes() == budget_cli("annotate", small, "-B", "1000").stdout


def test_files_are_joined_with_or_without_a_final_newline(budget_cli: Run, tmp_path: Path) -> None:
    one, two = lines([record(reward=0)]), lines([record(reward=1)])
    (tmp_path / "1.jsonl").write_bytes(b"\xef\xbb\xbf" + one.rstrip())
    (tmp_path / "2.jsonl.gz").write_bytes(gzip.compress(b"\r\n" + two.replace(b"\n", b"\r\n")))
    done = budget_cli("annotate", tmp_path, "-B", "1000")
    assert done.returncode == 0, done.stderr
    assert ADDED.sub(b"", done.stdout) == one + b"\r\n" + two.replace(b"\n", b"\r\n")
    assert [t["advantage"] for t in terms(done.stdout.replace(b"\r\n", b"\n").replace(b"\n\n", b"\n"))] == [-0.5, 0.5]


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_standard_input_is_read_twice_and_leaves_no_file_behind(
    budget_cli: Run, small: Path, tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    piped = budget_cli("annotate", "-B", "1000", stdin=pack(small.read_bytes()), TMPDIR=str(tmp_path))
    assert (piped.returncode, piped.stdout) == (0, budget_cli("annotate", small, "-B", "1000").stdout)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_if_some_bytes_cannot_be_read(budget_cli: Run, small: Path, tmp_path: Path) -> None:
    cut, out = tmp_path / "cut.gz", tmp_path / "out.jsonl"
    cut.write_bytes(gzip.compress(small.read_bytes())[:-9])
    done = budget_cli("annotate", cut, "-B", "1000", "-o", out)
    assert (done.returncode, done.stdout, out.exists()) == (3, b"", False)
    assert "the gzip data is cut off" in done.stderr.decode()
    assert done.stderr.endswith(b"nothing was annotated: a baseline needs all of its prompt's responses\n")


CHANGES: dict[str, tuple[Callable[[bytes], bytes], str]] = {  # what happens to the file between the two passes
    "another prompt": (lambda data: data.replace(b"p1", b"q1"), "changed between the two passes"),
    "a record less": (lambda data: data.replace(b"{", b" ", 1), "changed between the two passes"),
    "other numbers": (lambda data: data.replace(b'"log_prob": -', b'"log_prob":  '), "was rewritten while being read"),
    "shorter": (lambda data: data[:-50], "became shorter while being read"),
}


@pytest.mark.parametrize(("change", "message"), CHANGES.values(), ids=CHANGES)
def test_a_file_that_changes_between_the_two_passes_is_noticed(
    budget_cli: Run,
    small: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[bytes], bytes],
    message: str,
) -> None:
    path, out = tmp_path / "a.jsonl", tmp_path / "out.jsonl"
    path.write_bytes(small.read_bytes())
    first_reading = Session.scan

    def scan(*arguments: Any) -> Any:
        found = first_reading(*arguments)
        path.write_bytes(change(path.read_bytes()))
        os.utime(path, ns=(0, 0))  # two writes may fall into one tick of the clock
        return found

    monkeypatch.setattr(Session, "scan", scan)
    done = budget_cli("annotate", path, "-B", "1000", "-o", out)
    assert (done.returncode, out.exists()) == (3, False), done.stderr
    assert message in done.stderr.decode()
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_output_device_is_reported_in_one_line(budget_cli: Run, small: Path) -> None:
    done = budget_cli("annotate", small, "-B", "1000", "-o", "/dev/full")
    assert (done.returncode, done.stderr) == (
        3,
        b"budget-cli: /dev/full: the result could not be written: No space left on device\n",
    )


USAGE: list[tuple[tuple[str, ...], str]] = [
    ((), "give a budget (-B TOKENS), or --budget-penalty-coef 0 to do without one"),
    (("-B", "9", "--rejects", "x", "-o", "x"), "--rejects x: the same file as -o"),
    (("-B", "9", "--rejects", "no/x"), "--rejects no/x: there is no directory "),
]


@pytest.mark.parametrize(("flags", "message"), USAGE)
def test_a_usage_error_is_reported_before_anything_is_read(
    budget_cli: Run, tmp_path: Path, flags: tuple[str, ...], message: str
) -> None:
    done = budget_cli("annotate", "there-is-no-such-file", *flags, cwd=tmp_path)
    assert (done.returncode, done.stderr.decode().startswith(f"budget-cli: {message}")) == (2, True), done.stderr


@pytest.mark.skipif(not DUMPS.is_dir(), reason="the dumps are not beside this checkout")
def test_the_advantages_match_those_that_prime_rl_stored(budget_cli: Run) -> None:
    done = budget_cli("annotate", PRIME_RL, "--beta", "0", "--kl-coef", "0")
    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(records) == 25
    for each in records:
        assert each["budget_cli"]["advantage"] == pytest.approx(each["advantage"], abs=1e-9)
    assert ADDED.sub(b"", done.stdout) == PRIME_RL.read_bytes()


@pytest.mark.parametrize("advantage", ["grpo", "rloo", "opo"])
def test_a_response_that_keeps_its_reward_has_a_baseline_of_0(budget_cli: Run, advantage: str) -> None:
    more = ("--set", f"advantage={advantage}", "--set", "singletons=reward")
    done = budget_cli("annotate", "-B", "500", *more, stdin=lines([record(reward=2.0)]))
    terms = json.loads(done.stdout)["budget_cli"]
    assert terms["baseline"] == 0
    assert terms["advantage"] == pytest.approx(2 / (1 + 1e-6) if advantage == "grpo" else 2, rel=1e-15)
