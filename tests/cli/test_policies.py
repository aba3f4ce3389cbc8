"""If this fails, `check` says something wrong of how far two policies are apart, or of the tokens that tell."""

import json
import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import command
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from samples import lines

ROOT = Path(__file__).parents[2]
Record = dict[str, Any]


def response(log_prob: Any, old: Any = None, sampler: Any = None, prompt: str = "p", **more: Any) -> Record:
    given_ones = {"log_prob": log_prob, "old_log_prob": old, "sampler_log_prob": sampler}
    known = {name: value for name, value in given_ones.items() if value is not None}
    return {"prompt_id": prompt, "reward": 1.0, "response_length": 8, **known, **more}


def policies(paths: Path | Sequence[Path], *options: str) -> list[dict[str, Any]]:
    return list(answer(paths, *options)["policies"])


def answer(paths: Path | Sequence[Path], *options: str) -> dict[str, Any]:
    done = command.run("check", *([paths] if isinstance(paths, Path) else paths), *options, "-f", "json")
    assert done.returncode in (0, 1), done.stderr.decode()
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def written(path: Path, records: Sequence[Record]) -> Path:
    path.write_bytes(lines(records))
    return path


def test_three_responses_by_hand(tmp_path: Path) -> None:
    ln2 = math.log(2)
    path = written(tmp_path / "a.jsonl", [response(-3.0, -3.0), response(-1.0, -1.0 - ln2), response(-1.0, -1 + ln2)])
    (pair,) = policies(path)  # w is 1, 2 and 1/2: Σw is 3.5 and Σw² 5.25
    numbers = {name: value for name, value in pair.items() if isinstance(value, float)}
    assert numbers == pytest.approx(
        {
            "effective_sample_size": 3.5**2 / 5.25,
            "effective_share": 3.5**2 / 5.25 / 3,
            "mean_weight": 3.5 / 3,
            "max_weight": 2.0,
            "max_log_weight": ln2,
            "chi_square": 5.25 / 3 - 1,
            "outside_share": 2 / 3,
        }
    )
    rest = {name: value for name, value in pair.items() if name not in numbers}
    assert rest == {
        "policies": "policy/reference",
        "log_probs": ["log_prob", "old_log_prob"],
        "responses": 3,
        "of": 3,
        "max_at": {"source": str(path), "line": 2, "prompt_id": "p"},
        "clip": [0.8, 1.2],
        "below": 1,
        "above": 1,
        "tokens": None,
        "missing": None,
    }


def test_equal_policies_leave_the_sample_as_it_is(tmp_path: Path) -> None:
    (pair,) = policies(written(tmp_path / "a.jsonl", [response(-2.5 * i, -2.5 * i) for i in range(1, 8)]))
    shown = [pair[name] for name in ("effective_sample_size", "effective_share", "mean_weight", "chi_square")]
    assert shown == [7.0, 1.0, 1.0, 0.0]


def test_a_weight_beyond_a_double_takes_only_its_own_numbers_with_it(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", [response(-1.0, -1.0), response(-1.0, -801.0), response(-801.0, -1.0)])
    (pair,) = policies(path)
    assert [pair[name] for name in ("mean_weight", "max_weight", "chi_square")] == [None] * 3
    assert (pair["effective_sample_size"], pair["max_log_weight"]) == (1.0, 800.0)
    assert (pair["below"], pair["above"], pair["max_at"]["line"]) == (1, 1, 2)


def test_three_log_probs_make_two_pairs(tmp_path: Path) -> None:
    records = [response(-1.0, -2.0, -1.0), response([-0.5, -0.5], [-1.0, -1.0], [-0.5, -0.25]), response(-1.0, -1.5)]
    found = policies(written(tmp_path / "a.jsonl", records))
    assert [(pair["policies"], pair["responses"], pair["of"]) for pair in found] == [
        ("policy/reference", 3, 3),
        ("trainer/sampler", 2, 3),
    ]
    assert found[1]["mean_weight"] == pytest.approx((1 + math.exp(-0.25)) / 2)


def test_a_list_of_the_sampler_of_another_length_does_not_count(tmp_path: Path) -> None:
    records = [response([-0.5, -1.0], None, [-0.5]), response([-0.5, -1.0], None, [-0.5, -0.5])]
    (pair,) = policies(written(tmp_path / "a.jsonl", records))
    assert (pair["policies"], pair["responses"], pair["of"]) == ("trainer/sampler", 1, 2)
    assert pair["tokens"]["tokens"] == 2


def test_the_worst_tokens_are_shown_with_line_and_index(tmp_path: Path) -> None:
    one = [-0.5] * 6
    records = [
        response(one, one, one),
        response(one, [*one[:4], -9.5, -0.5], [*one[:2], -1.5, *one[3:]]),
        response([-0.5, -4.5], [-0.5, -0.5], [-0.5, -5.5], prompt="q"),
    ]
    path = written(tmp_path / "a.jsonl", records)
    of_reference, of_sampler = (pair["tokens"] for pair in policies(path))
    shown = [(one["line"], one["prompt_id"], one["token"], one["log_ratio"]) for one in of_reference["worst"]]
    assert shown == [(2, "p", 4, 9.0), (3, "q", 1, -4.0), (1, "p", 0, 0.0)]
    assert [(one["line"], one["token"]) for one in of_sampler["worst"]] == [(2, 2), (3, 1), (1, 0)]
    assert (of_reference["responses"], of_reference["tokens"], of_reference["outside"]) == (3, 14, 2)
    assert of_reference["mean_size"] == pytest.approx(13 / 14)
    screen = command.run("check", path).stdout.decode()
    words = " ".join(line.strip() for line in screen.splitlines())
    assert f"2 of 14 tokens (14%) have a ratio outside 0.5 to 2, the worst at {path}:2, index 4 (9 nats)" in words


def shifted(by: int, size: int = 40) -> list[Record]:
    chance = random.Random(3)
    records = []
    for i in range(20):
        each = [-abs(chance.gauss(0, 1)) for _ in range(size + 2)]
        other = [one + chance.gauss(0, 0.01) for one in each]
        records.append(response(each[1:-1], None, other[1 + by : 1 + by + size], prompt=f"p{i}"))
    return records


@pytest.mark.parametrize("by", [-1, 0, 1])
def test_a_mask_that_is_off_by_one_is_found(by: int, tmp_path: Path) -> None:
    said = answer(written(tmp_path / "a.jsonl", shifted(by)))
    (pair,) = said["policies"]
    shift = pair["tokens"]["shifted"]
    found = [finding["message"] for finding in said["findings"] if finding["code"] == "shifted-log-prob"]
    if not by:
        assert (shift["responses"], shift["mean_size"], found) == (0, None, [])
        return
    assert (shift["responses"], shift["late"]) == (20, 20 if by > 0 else 0)
    assert shift["mean_size_shifted"] < 0.02 < 0.5 < shift["mean_size"]
    side = "late" if by > 0 else "early"
    assert found[0].startswith(f"log_prob is one token {side} beside sampler_log_prob in 20 of 20 responses: their")


def test_a_healthy_dump_has_one_line(tmp_path: Path) -> None:
    chance = random.Random(4)
    records = []
    for i in range(32):
        each = [-abs(chance.gauss(0, 1)) for _ in range(50)]
        records.append(response(each, None, [one + chance.gauss(0, 0.002) for one in each], prompt=f"p{i}"))
    done = command.run("check", written(tmp_path / "a.jsonl", records))
    found = [line for line in done.stdout.decode().splitlines() if line.startswith("policies")]
    assert found == ["policies  trainer/sampler: effective sample 31.99 of 32, mean weight 1"]


LOG_PROB = st.floats(-30, 0) | st.sampled_from([0.0, -800.0])


@examples(40)
@given(
    responses=st.lists(
        st.lists(st.tuples(LOG_PROB, LOG_PROB, LOG_PROB), min_size=1, max_size=5), min_size=1, max_size=12
    ),
    as_lists=st.booleans(),
    cut=st.integers(0, 12),
)
def test_the_numbers_are_those_of_counting_each_response(
    tmp_path_factory: pytest.TempPathFactory,
    responses: list[list[tuple[float, float, float]]],
    as_lists: bool,
    cut: int,
) -> None:
    folder = tmp_path_factory.mktemp("dumps")
    records = []
    for tokens in responses:
        columns = [list(each) for each in zip(*tokens, strict=True)]
        records.append(response(*(each if as_lists else math.fsum(each) for each in columns)))
    paths = [written(folder / f"{i}.jsonl", part) for i, part in enumerate((records[:cut], records[cut:])) if part]
    summaries = []
    for path in paths:
        summaries.append(path.with_suffix(".summary"))
        command.run("summarize", path, "-B", "4", "-o", summaries[-1])
    found = policies(paths, "--kl-coef", "0")
    assert found == policies(summaries, "--kl-coef", "0")  # to the last bit
    for pair, at in zip(found, (1, 2), strict=True):
        k = [math.fsum(token[0] for token in one) - math.fsum(token[at] for token in one) for one in responses]
        top = max(k)
        w = [math.exp(one - top) for one in k]
        effective = math.fsum(w) ** 2 / math.fsum(one * one for one in w)
        assert pair["effective_sample_size"] == pytest.approx(effective, rel=1e-9)
        assert pair["max_log_weight"] == top
        place = pair["max_at"]["source"], pair["max_at"]["line"]
        places = [(str(path), line + 1) for path in paths for line in range(path.read_bytes().count(b"\n"))]
        assert place == places[k.index(top)]
        assert pair["below"] == sum(one < math.log(0.8) for one in k)
        assert pair["above"] == sum(one > math.log(1.2) for one in k)
        if top < 700:
            mean = math.fsum(map(math.exp, k)) / len(k)
            assert pair["mean_weight"] == pytest.approx(mean, rel=1e-9, abs=1e-300)
        if not as_lists:
            assert pair["tokens"] is None
            continue
        sizes = [[abs(token[0] - token[at]) for token in one] for one in responses]
        every = [size for one in sizes for size in one]
        assert pair["tokens"]["outside"] == sum(size > math.log(2) for size in every)
        assert pair["tokens"]["mean_size"] == pytest.approx(math.fsum(every) / len(every))
        ranked = sorted(range(len(sizes)), key=lambda i: (-max(sizes[i]), i))[:5]
        worst = [(one["source"], one["line"], one["token"]) for one in pair["tokens"]["worst"]]
        assert worst == [(*places[i], sizes[i].index(max(sizes[i]))) for i in ranked]


def test_any_number_of_jobs_gives_the_same_bytes(tmp_path: Path) -> None:
    chance = random.Random(8)
    for number in range(3):
        made = []
        for i in range(400):
            each = [-abs(chance.gauss(0, 1)) for _ in range(chance.randrange(1, 30))]
            noise = 100 if i == 7 else 0.05
            made.append(response(each, [x * 1.1 for x in each], [x - noise * chance.random() for x in each], f"p{i}"))
        written(tmp_path / f"{number}.jsonl", made)
    one, *others = (command.run("check", tmp_path, "-f", "json", "-j", jobs).stdout for jobs in ("1", "2", "3"))
    assert [pair["tokens"]["responses"] for pair in json.loads(one)["policies"]] == [1200, 1200]
    assert others == [one, one]


def test_rows_of_a_rollout_are_one_sequence(tmp_path: Path) -> None:
    rows = [([-0.5, -1.0], [-0.5, -1.0]), ([-0.25, -3.0, 0.0], [-0.25, -1.0, -4.0]), ([-0.5], [-0.5])]
    records = [
        response(one, None, other, rollout_id="r", turn=turn) for turn, (one, other) in reversed([*enumerate(rows)])
    ]
    options = ("--field", "rollout_id=rollout_id", "--field", "turn=turn")
    said = answer(written(tmp_path / "a.jsonl", records), *options)
    (pair,) = said["policies"]
    assert (pair["responses"], pair["max_log_weight"]) == (1, 2.0)
    (worst,) = pair["tokens"]["worst"]
    assert (worst["token"], worst["log_ratio"], pair["tokens"]["tokens"]) == (4, 4.0, 6)
    (unfilled,) = [one["message"] for one in said["findings"] if one["code"] == "unfilled-log-prob"]
    assert "at token 5 of the response (index 4)" in unfilled


def test_rows_of_a_breakdown_have_their_own(tmp_path: Path) -> None:
    records = [response(-1.0, -1.0, task="a"), response(-1.0, -2.0, task="b"), response(-1.0, -1.0, task="b")]
    said = answer(written(tmp_path / "a.jsonl", records), "--by", "task")
    shown = {row["key"]: [pair["responses"] for pair in row["policies"]] for row in said["by"]}
    assert shown == {"a": [1], "b": [2]}
    assert said["policies"][0]["responses"] == 3


def test_a_summary_of_an_earlier_version_says_what_to_do(tmp_path: Path) -> None:
    path, summary = written(tmp_path / "a.jsonl", [response(-1.0, -2.0)]), tmp_path / "a.summary"
    assert command.run("summarize", path, "-B", "4", "-o", summary).returncode == 0
    head, rest = summary.read_bytes().split(b"\n", 1)
    header = json.loads(head)
    del header["checksum"]  # as version 0.1.0 wrote it
    header["schema"] = "budget-cli/summary/1"
    (seen,) = header["seen"]
    del seen["weights"]
    seen["sums"] = {name: value for name, value in seen["sums"].items() if not name.startswith("reference_")}
    summary.write_bytes(json.dumps(header).encode() + b"\n" + rest)
    (pair,) = policies(summary)
    assert pair["missing"] == "a summary of an earlier version does not hold these sums: summarize the records again"
    assert {pair[name] for name in ("effective_sample_size", "mean_weight", "below", "max_at", "tokens")} == {None}
    words = " ".join(command.run("check", summary).stdout.decode().split())
    assert f"policies policy/reference: {pair['missing']}" in words


def test_without_two_policies_there_is_nothing_to_compare(tmp_path: Path) -> None:
    said = answer(written(tmp_path / "a.jsonl", [response(-1.0)]))
    assert said["policies"] == []
    reasons = {code: one["reason"] for one in said["unchecked"] for code in one["codes"]}
    assert reasons["shifted-log-prob"] == "no log-probs of the reference in these records"
    assert reasons["mean-weight-off"] == "no log-probs of the sampler in these records"


def test_nemo_rl_s_dumps_have_trainer_and_sampler() -> None:
    (pair,) = policies(ROOT / "tests" / "trainer" / "nemo_rl_unfilled.jsonl")
    assert (pair["policies"], pair["responses"], pair["tokens"]["worst"][0]["token"]) == ("trainer/sampler", 4, 2)


def test_a_record_of_a_whole_prompt_has_the_sampler_s_too(tmp_path: Path) -> None:
    record = {
        "prompt_id": "p",
        "rewards": [1, 0],
        "log_probs": [[-0.5, -1.0], [-2.0]],
        "sampler_log_probs": [[-0.5, -3.0], [-2.5]],
    }
    (pair,) = policies(written(tmp_path / "a.jsonl", [record]))
    assert (pair["policies"], pair["max_log_weight"]) == ("trainer/sampler", 2.0)
    assert [one["token"] for one in pair["tokens"]["worst"]] == [1, 0]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("rollout_log_probs", [-0.5, -1.5]),
        ("sampling_per_token_logps", [-0.5, -1.5]),
        ("inference_logprobs", [-0.5, -1.5]),
        ("generation_logprob", -2.0),
    ],
)
def test_a_field_named_like_a_sampler_s_log_probs_is_pointed_out(key: str, value: Any, tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", [response([-0.5, -1.0], **{key: value})])
    reasons = {code: one["reason"] for one in answer(path)["unchecked"] for code in one["codes"]}
    remedy = f"--field sampler_log_prob={key}"
    assert reasons["mean-weight-off"] == (
        f"no log-probs of the sampler in these records: {remedy} compares {key} with log_prob"
    )
    (pair,) = policies(path, *remedy.split())
    assert (pair["policies"], pair["max_log_weight"]) == ("trainer/sampler", 0.5)


def test_no_field_that_is_read_is_pointed_out(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", [response(None, rollout_log_probs=[-0.5], logprobs_rollout=[-1.0])])
    said = answer(path, "--field", "log_prob=rollout_log_probs")
    reasons = {code: one["reason"] for one in said["unchecked"] for code in one["codes"]}
    assert reasons["mean-weight-off"] == "no log-probs of the sampler in these records"


def test_log_probs_at_the_ends_of_a_double_are_compared(tmp_path: Path) -> None:
    one, other = [-1e308] + [0.0] * 15, [0.0, -1e308] + [0.0] * 14
    huge = [response(one, other, [1e308] * 16), response(-1e308, 1e308, 1e308), response(1e308, -1e308, -1e308)]
    said = answer(written(tmp_path / "a.jsonl", huge), "--ignore", "positive-log-prob")
    of_reference = said["policies"][0]
    assert (of_reference["responses"], of_reference["mean_weight"], of_reference["max_log_weight"]) == (3, None, None)
    assert of_reference["tokens"]["worst"][0]["token"] == 0
    assert command.run("check", tmp_path / "a.jsonl").returncode == 1
    summary = tmp_path / "a.summary"
    assert command.run("summarize", tmp_path / "a.jsonl", "-B", "4", "-o", summary).returncode == 0
    assert answer(summary)["policies"] == said["policies"]
