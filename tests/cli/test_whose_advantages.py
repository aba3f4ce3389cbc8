"""If this fails, what `check` says of stored advantages depends on jobs, files or summaries, or is not shown."""

import json
import shlex
from pathlib import Path
from typing import Any

import command
import numpy as np
import pytest
from advantages import Stored, drawn, estimator, stored
from samples import lines

CODES = ("stored-advantage", "advantage-penalty", "advantage-differs", "advantage-unknown")


def records(made: Stored) -> list[dict[str, Any]]:
    rows = zip(*(column.tolist() for column in made), strict=True)
    return [
        {"prompt_id": f"p{p}", "reward": r, "response_length": int(length), "advantage": a, "step": 1 + p % 2}
        for p, r, length, a in rows
    ]


def made(**phi: Any) -> list[dict[str, Any]]:
    return records(stored(drawn(3, graded=False, sizes=(6,)), estimator("grpo", 1, 1e-4), phi.get("phi")))


def answer(*arguments: Any, cwd: Path) -> dict[str, Any]:
    done = command.run("check", *arguments, "--kl-coef", "0", "-f", "json", cwd=cwd)
    assert done.returncode == 0, done.stderr.decode()
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_screen_names_the_estimator_and_the_objective(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines(made()))
    shown = command.run("check", "a.jsonl", "--kl-coef", "0", "--fail-on", "warning", cwd=tmp_path)
    assert shown.returncode == 0
    assert (
        "estimator the stored advantages are those of GRPO (ddof 1, ε 1e-4) in 40 of 40\n"
        "          prompts (largest residual 1.22e-8)\n"
        "objective --objective trl-grpo --beta 0\n"
    ) in shown.stdout.decode()


def test_the_json_has_all_of_it(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines(made()))
    found = answer("a.jsonl", cwd=tmp_path)["stored_advantages"]
    assert 0 < found.pop("largest_residual") < 1e-7
    assert 0 < found["nearest"].pop("residual") < 1e-7
    assert found.pop("root_mean_square") == pytest.approx(0.79, abs=0.1)
    grpo = {"advantage": "grpo", "ddof": 1, "eps": 1e-4, "slope": None, "baseline": None}
    assert found == {
        "found": True,
        "fits": [{**grpo, "all_eps": [1e-4]}],
        "options": "--objective trl-grpo --beta 0",
        "prompts": 40,
        "of_sample": False,
        "agreeing": 40,
        "differing": 0,
        "regrouped": 0,
        "worst_residual": 0.0,
        "tolerance": {"share": 1e-6, "absolute": 0.0},
        "penalty": None,
        "singletons": {"prompts": 0, "zero": 0, "reward": 0, "other": 0, "by_estimator": 0},
        "incomplete": 0,
        "nearest": grpo,
        "by_position": None,
    }
    (tmp_path / "b.jsonl").write_bytes(lines([{**r, "advantage": None} for r in made()]))
    assert answer("b.jsonl", cwd=tmp_path)["stored_advantages"] is None


def test_the_places_of_prompts_with_advantages_of_other_groups(tmp_path: Path) -> None:
    found = made()
    theirs = [i for i, one in enumerate(found) if one["prompt_id"] in ("p4", "p9", "p20")]
    values = [found[i]["advantage"] for i in theirs]
    for i, j in zip(theirs, np.random.default_rng(1).permutation(len(theirs)).tolist(), strict=True):
        found[i]["advantage"] = values[j]
    (tmp_path / "a.jsonl").write_bytes(lines(found))
    (finding,) = [f for f in answer("a.jsonl", cwd=tmp_path)["findings"] if f["code"] == "advantage-differs"]
    assert (finding["count"], finding["of"], finding["severity"]) == (3, 40, "warning")
    assert finding["message"].startswith(
        "in 3 of 40 prompts the stored advantages are not those of GRPO (ddof 1, ε 1e-4): off by up to 1."
    )
    assert finding["message"].endswith("together they sum to what they should, as advantages of other groups do")
    places = sorted((one["line"], one["prompt_id"]) for one in finding["evidence"])
    first = {one["prompt_id"]: i + 1 for i, one in reversed(list(enumerate(found)))}
    assert places == [(first[p], f"{1 + int(p[1:]) % 2}/{p}") for p in ("p4", "p9", "p20")]


@pytest.mark.parametrize("penalised", [False, True])
def test_jobs_and_summaries_say_the_same(tmp_path: Path, penalised: bool) -> None:
    dump = made(phi=(lambda r, length: 0.0005 * np.maximum(0, length - 2000)) if penalised else None)
    dump[7]["advantage"] += 0.5
    half = len(dump) // 2 + 1  # in the middle of a prompt
    for name, part in (("a", dump[:half]), ("b", dump[half:])):
        (tmp_path / f"{name}.jsonl").write_bytes(lines(part))
        done = command.run(
            "summarize", f"{name}.jsonl", "-B", "1000,2000", "--kl-coef", "0", "-o", f"{name}.summary", cwd=tmp_path
        )
        assert done.returncode == 0, done.stderr.decode()
    both = ("a.summary", "b.summary", "-B", "1000,2000", "--kl-coef", "0", "-o", "all.summary")
    assert command.run("summarize", *both, cwd=tmp_path).returncode == 0
    for budget in ((), ("-B", "2000"), ("-B", "1000")):
        expected = answer("a.jsonl", "b.jsonl", "-j", "1", *budget, cwd=tmp_path)
        assert expected["stored_advantages"]["agreeing"] == 39
        assert expected["stored_advantages"]["of_sample"] == (penalised and budget != ("-B", "2000"))
        assert answer("a.jsonl", "b.jsonl", "-j", "2", *budget, cwd=tmp_path) == expected
        for inputs in (("a.summary", "b.summary"), ("all.summary",), ("a.jsonl", "b.summary")):
            found = answer(*inputs, *budget, cwd=tmp_path)
            assert found["stored_advantages"] == expected["stored_advantages"]
            of = [
                [(f["code"], f["message"]) for f in each["findings"] if f["code"] in CODES]
                for each in (found, expected)
            ]
            assert of[0] == of[1]


def test_a_summary_of_an_earlier_version_says_what_it_lacks(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines(made()))
    made_of = ("a.jsonl", "-B", "1000", "--kl-coef", "0", "-o", "a.summary")
    assert command.run("summarize", *made_of, cwd=tmp_path).returncode == 0
    head, *rows = (tmp_path / "a.summary").read_bytes().splitlines(keepends=True)
    header = json.loads(head)
    dropped = [i for i, name in enumerate(header["columns"], 1) if name in ("a_n", "a", "aa", "ar", "rL", "ae@1000")]
    header["columns"] = [name for i, name in enumerate(header["columns"], 1) if i not in dropped]
    header["schema"] = "budget-cli/summary/1"  # of which the lines have no checksum
    del header["with_advantage"], header["seen"][0]["advantages"], header["checksum"]
    kept = [json.loads(row) for row in rows]
    for row in kept:
        row["row"] = [value for i, value in enumerate(row["row"]) if i not in dropped]
    (tmp_path / "old.summary").write_bytes(lines([header, *kept]))
    (tmp_path / "b.jsonl").write_bytes(lines(made()))
    reason = "old.summary: this summary of an earlier version has no sums of stored advantages: summarize again"
    for inputs in (["old.summary"], ["old.summary", "b.jsonl"]):
        found = answer(*inputs, cwd=tmp_path)
        assert found["stored_advantages"] is None
        assert {"codes": [*CODES], "reason": reason} in found["unchecked"]
    assert command.run("summarize", "old.summary", *made_of[1:-1], "b.summary", cwd=tmp_path).returncode == 0
    assert reason.replace("old", "b") in str(answer("b.summary", cwd=tmp_path)["unchecked"])


def test_a_summary_whose_advantages_were_edited_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines(made()))
    made_of = ("a.jsonl", "-B", "1000", "--kl-coef", "0", "-o", "a.summary")
    assert command.run("summarize", *made_of, cwd=tmp_path).returncode == 0
    whole = (tmp_path / "a.summary").read_bytes()
    sample = b'"advantages":[18446744073709551615,['
    prompt = whole[whole.index(sample) + len(sample) :].partition(b",")[0]
    for old, new, what in (
        (b'"with_advantage":240', b'"with_advantage":239', b"with_advantage: the sum of a_n differs"),
        (b'"ar","rL"', b'"ar"', b"columns: expected all sums of advantages, or none"),
        (sample + prompt, sample + b"99", b"checksum: that of the lines is another"),
        (b'"advantages":[18446744073709551615', b'"advantages":["x"', b"checksum: that of the lines is another"),
    ):
        assert whole.count(old) == 1, old
        (tmp_path / "b.summary").write_bytes(whole.replace(old, new))
        done = command.run("check", "b.summary", "--kl-coef", "0", cwd=tmp_path)
        assert done.returncode == 3
        assert b"damaged or edited summary: line" in done.stderr
        assert what in done.stderr


def test_the_rows_of_by_are_judged_by_themselves(tmp_path: Path) -> None:
    dump = made()
    for record in dump:
        if record["step"] == 2:  # of which the trainer had another bug
            record["advantage"] *= -1
    (tmp_path / "a.jsonl").write_bytes(lines(dump))
    found = answer("a.jsonl", "--by", "step", cwd=tmp_path)
    rows = {row["key"]: [f["code"] for f in row["findings"] if f["code"] in CODES] for row in found["by"]}
    assert rows == {1: [], 2: ["advantage-unknown"]}
    assert {row["key"]: row["stored_advantages"]["options"] for row in found["by"]} == {
        1: "--objective trl-grpo --beta 0",
        2: None,
    }
    assert [f["code"] for f in found["findings"] if f["code"] in CODES] in (
        ["advantage-differs"],
        ["advantage-unknown"],
    )


def test_advantages_of_a_part_of_the_prompts_are_judged(tmp_path: Path) -> None:
    dump = [one if int(one["prompt_id"][1:]) % 3 else {**one, "advantage": None} for one in made()]
    (tmp_path / "a.jsonl").write_bytes(lines(dump))
    found = answer("a.jsonl", cwd=tmp_path)["stored_advantages"]
    assert (found["agreeing"], found["prompts"], found["incomplete"]) == (26, 26, 0)


def rising(r: Any, length: Any) -> Any:
    return 0.0005 * np.maximum(0, length - 2000)


def capped(r: Any, length: Any) -> Any:
    return 0.0003 * np.clip(length - 1500, 0, 1000) * (r > 0)


@pytest.mark.parametrize(
    ("name", "ddof", "eps", "phi"),
    [
        ("centred", 0, 0, rising),
        ("rloo", 0, 0, capped),
        ("grpo", 1, 1e-4, None),
        ("grpo", 0, 1e-8, capped),
        ("maxrl", 0, 1e-6, None),
        ("opo", 0, 0, None),
        ("opo", 0, 0, rising),
        ("batch-std", 0, 1e-6, None),
        ("reinforce++", 1, 1e-6, None),
    ],
)
def test_annotate_with_these_options_gives_what_is_stored(
    tmp_path: Path, name: str, ddof: int, eps: float, phi: Any
) -> None:
    dump = records(stored(drawn(3, graded=False), estimator(name, ddof, eps), phi))
    (tmp_path / "a.jsonl").write_bytes(lines(dump))
    done = command.run("check", "a.jsonl", "--kl-coef", "0", "-f", "json", cwd=tmp_path)
    options = shlex.split(json.loads(done.stdout)["stored_advantages"]["options"])
    annotated = command.run("annotate", "a.jsonl", "--kl-coef", "0", "-q", *options, cwd=tmp_path)
    assert annotated.returncode == 0, annotated.stderr.decode()
    for line in annotated.stdout.splitlines():
        record = json.loads(line)
        assert record["budget_cli"]["advantage"] == pytest.approx(record["advantage"], rel=1e-12, abs=1e-14)


@pytest.mark.parametrize("objective", [("--objective", "opo"), ("--set", "penalty=capped", "--set", "cap=500")])
def test_with_another_objective_the_same_is_said(tmp_path: Path, objective: tuple[str, ...]) -> None:
    dump = made(phi=rising)
    (tmp_path / "a.jsonl").write_bytes(lines(dump[:120]))
    (tmp_path / "b.jsonl").write_bytes(lines(dump[120:]))
    made_of = ("a.jsonl", "-B", "2000,2500,0", "--kl-coef", "0", "-o", "a.summary")
    assert command.run("summarize", *made_of, cwd=tmp_path).returncode == 0
    of_records = answer("a.jsonl", "b.jsonl", "-B", "2000", *objective, cwd=tmp_path)["stored_advantages"]
    of_both = answer("a.summary", "b.jsonl", "-B", "2000", *objective, cwd=tmp_path)["stored_advantages"]
    assert of_records == of_both
    assert of_records["options"] == "--objective trl-grpo -B 2000 --beta 0.0005"
    assert of_records["agreeing"] == 40


def test_advantages_of_groups_by_position_are_told(tmp_path: Path) -> None:
    dump = made()
    kept = [one for i, one in enumerate(dump) if i not in (3, 11, 12, 30)]  # a trainer that drops some responses
    for begin in range(0, len(kept), 4):  # and takes every four for a group
        rewards = np.array([one["reward"] for one in kept[begin : begin + 4]])
        for one, advantage in zip(kept[begin:], (rewards - rewards.mean()) / (rewards.std() + 1e-8), strict=False):
            one["advantage"] = float(advantage)
    (tmp_path / "a.jsonl").write_bytes(lines(kept[:100]))
    (tmp_path / "b.jsonl").write_bytes(lines(kept[100:]))
    expected = answer("a.jsonl", "b.jsonl", cwd=tmp_path)
    (finding,) = [f for f in expected["findings"] if f["code"] == "advantage-unknown"]
    assert finding["message"].endswith(
        "; over every 4 responses, whatever their prompts, they are those of GRPO (ddof 0, ε 1e-8), in 59 of the first"
        " 59 such groups"
    )
    grpo = {"advantage": "grpo", "ddof": 0, "eps": 1e-8, "slope": None, "baseline": None}
    assert expected["stored_advantages"]["by_position"] == {"size": 4, **grpo, "agreeing": 59, "of": 59}
    both = ("a.jsonl", "b.jsonl", "-B", "1000", "--kl-coef", "0", "-o", "all.summary")
    assert command.run("summarize", *both, cwd=tmp_path).returncode == 0
    assert answer("all.summary", cwd=tmp_path)["stored_advantages"] == expected["stored_advantages"]


SHARED = Path(__file__).parents[3] / "shared"
REAL = {
    "dumps/prime_rl_train_j1i1ys.jsonl": ("centred", 3, {"prompts": 1, "zero": 1}),
    "threads/nemo_rl_logprob_ok.jsonl": ("centred", 4, {"prompts": 0, "zero": 0}),
    "threads/nemo_rl_logprob_zero.jsonl": ("centred", 4, {"prompts": 0, "zero": 0}),
}


@pytest.mark.parametrize("name", REAL)
def test_real_dumps(name: str) -> None:
    if not (SHARED / name).exists():
        pytest.skip("no shared dumps here")
    advantage, prompts, singletons = REAL[name]
    done = command.run("check", SHARED / name, "--kl-coef", "0", "-f", "json")
    found = json.loads(done.stdout)["stored_advantages"]
    assert (found["fits"][0]["advantage"], found["agreeing"], found["prompts"]) == (advantage, prompts, prompts)
    assert found["largest_residual"] < 1e-9
    assert singletons.items() <= found["singletons"].items()


def test_a_real_dump_of_groups_by_position() -> None:
    path = SHARED / "threads/open_instruct_regrouped.jsonl"
    if not path.exists():
        pytest.skip("no shared dumps here")
    done = command.run("check", path, "--kl-coef", "0", "-f", "json")
    found = json.loads(done.stdout)["stored_advantages"]["by_position"]
    assert (found["size"], found["advantage"], found["ddof"], found["eps"]) == (4, "grpo", 0, 1e-8)
