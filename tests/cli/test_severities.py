"""If this fails, a CI job passes a broken dump, or fails a healthy one because of the budget that it was given."""

import json
import random
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import pytest
from command import Run

from budget_cli.analysis.checks.catalogue import CHECKS

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared"
BUDGETS: tuple[tuple[str, ...], ...] = ((), ("-B", "40"), ("-B", "100"), ("-B", "1000"), ("-B", "100000"))
BROKEN = {  # the finding that names what is wrong
    "02_truncated_half": "uneven-groups",
    "04_rewards_all_one": "constant-reward",
    "06_logprob_equal": "equals-reference",
    "08_logprob_zero": "zero-log-prob",
    "10_logprob_mean_not_sum": "averaged-log-prob",
    "12_len_const_padded": "all-lengths-equal",
    "12b": "all-lengths-equal",
    "14_dup_all": "duplicate-records",
    "16_ids_all_same": "one-prompt",
    "18_ids_shuffled": "scattered-answers",
    "20_reward_nan_one": "non-finite",
    "22_ref_is_policy_next_shift": "unrelated-reference",
    "24_reward_minus_penalty_already": "penalty-in-reward",
    "26_torn_tail_at_newline": "uneven-groups",
    "28_html": "",  # refused: exit 3
    "30_reward_constant_per_prompt": "zero-variance",
}
NO_PENALTY = "24_reward_minus_penalty_already"  # right without a budget: then nothing is subtracted again
ALLOWED = {  # dumps in which something is broken, and what
    "prime_rl_train_j1i1ys.jsonl": {"singleton", "all-lengths-zero"},  # cut at 25 records; lengths never filled
    "nemo-gym-hermes-empty-logprobs.jsonl": {"all-lengths-zero"},
    "prime-rl-platform.jsonl": {"all-lengths-zero"},
    "prime-rl-platform.upload.parquet": {"all-lengths-zero"},
    "lengths_all_equal.jsonl": {"all-lengths-equal"},
    "log_ratio_outlier_3000.jsonl": {"positive-log-prob"},
    "nemo_rl_path_in_prompt.jsonl": {"singleton"},
    "open_instruct_nan_logprob.jsonl": {"non-finite"},
    "overlong_applied.jsonl": {"penalty-in-reward"},
    "overlong_wrong_maximum.jsonl": {"penalty-in-reward"},
    "trl_multitask_null.parquet": {"null"},  # one response without any reward
    "verl_written_twice.jsonl": {"duplicate-records"},
    "wild_both.jsonl": {"wrong-value"},
}
WEIGHTS = {  # what a dump does not say
    "trl": ("--reward-weights", "accuracy_reward=1,format_reward=0.5"),
    "ms-swift": ("--reward-weights", "Accuracy=1,Format=0.5"),
    "ms-swift-megatron": ("--reward-weights", "Accuracy=1,Format=0.5"),
    "trl_multitask_null": ("--reward-weights", "math_reward=1,code_reward=1"),
    "wandb_completions": ("--reward-weights", "accuracy_reward=1,format_reward=1"),
    "nemo-rl-without-tokens": ("--group-size", "2"),
}


def errors(run: Run, path: Path, *options: str) -> tuple[int, set[str]]:
    """The exit code of `check`, and the codes of the findings that are errors; exit 2 or 3: refused."""
    done = run("check", path, *options, "--format", "json")
    findings = json.loads(done.stdout)["findings"] if done.returncode < 2 else []
    return done.returncode, {each["code"] for each in findings if each["severity"] == "error"}


@pytest.mark.skipif(not (SHARED / "broken").is_dir(), reason="the broken dumps are not beside this checkout")
@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_dump_fails_whatever_the_budget_by_the_finding_that_names_it(budget_cli: Run, name: str) -> None:
    for budget in BUDGETS:
        code, found = errors(budget_cli, SHARED / "broken" / f"{name}.jsonl", *budget)
        if name == NO_PENALTY and not budget:
            assert (code, found) == (0, set())
        else:
            assert (code, BROKEN[name] in found) == ((3, False) if name == "28_html" else (1, True)), budget


@pytest.mark.skipif(not (SHARED / "broken").is_dir(), reason="the broken dumps are not beside this checkout")
def test_the_clean_dump_beside_them_passes_and_each_file_is_in_the_table(budget_cli: Run) -> None:
    for budget in BUDGETS:
        assert errors(budget_cli, SHARED / "broken" / "00_ok.jsonl", *budget) == (0, set())
    assert {path.stem for path in (SHARED / "broken").glob("*.jsonl")} == {*BROKEN, "00_ok"}


def sources() -> list[Path]:
    """Every real dump and sample: those of this project, and those beside it if there are any."""
    own = [*(ROOT / "tests" / "dumps").iterdir(), *(ROOT / "sample_data").glob("rollouts*"), ROOT / "sample_data/steps"]
    shared = [*(SHARED / "dumps").rglob("*.json*"), *(SHARED / "threads").glob("*.[jp]*"), *SHARED.glob("threads/*/")]
    return sorted({path for path in own + shared if path.suffix != ".md"})


@pytest.mark.exhaustive
@pytest.mark.parametrize("path", sources(), ids=lambda path: path.name)
def test_no_real_dump_has_an_error_but_those_in_which_something_is_broken(budget_cli: Run, path: Path) -> None:
    options = WEIGHTS.get(path.name.partition(".")[0], ())
    for budget in (("--beta", "0", "--kl-coef", "0"), ("-B", "40"), ("-B", "1000")):
        _, found = errors(budget_cli, path, *options, *budget)
        assert found <= ALLOWED.get(path.name, set()), budget


# ---- the same in every form, and with every option


class Broken(NamedTuple):
    """A dump, the finding that names what is wrong, and a threshold with which it is no error."""

    records: list[dict[str, Any]]
    code: str
    threshold: str


def responses(prompts: int = 6, size: int = 8) -> list[dict[str, Any]]:
    """A healthy dump without texts: rewards differ, log-probs grow with length."""
    chance = random.Random(2)
    made = []
    for i in range(prompts * size):
        length = chance.randrange(200, 900)
        log_prob = -length * chance.uniform(0.15, 0.35)
        made.append(
            {
                "prompt_id": f"p{i // size}",
                "reward": float(i % size < 1 + i // size % (size - 1)),
                "response_length": length,
                "log_prob": log_prob,
                "old_log_prob": log_prob + chance.gauss(0, 0.5),
                "step": 40,
            }
        )
    return made


GOOD = responses()
DUMPS = [
    Broken([{**r, "reward": 0.0} for r in GOOD], "constant-reward", "constant-reward.responses=49"),
    Broken(
        [{**r, "reward": float(r["prompt_id"] > "p2")} for r in GOOD], "zero-variance", "zero-variance.responses=49"
    ),
    Broken([{**r, "prompt_id": "x"} for r in GOOD], "one-prompt", "one-prompt.responses=49"),
    Broken([{**r, "prompt_id": i} for i, r in enumerate(GOOD)], "singleton", "singleton.prompts=49"),
    Broken(GOOD[:-3], "uneven-groups", "uneven-groups.missing=0.4"),
    Broken(random.Random(3).sample(GOOD, 24), "uneven-groups", "uneven-groups.spread=0.6"),
    Broken([{**r, "old_log_prob": r["log_prob"]} for r in GOOD], "equals-reference", "equals-reference.step=40"),
    Broken(
        [{**r, "log_prob": r["log_prob"] / r["response_length"], "old_log_prob": None} for r in GOOD],
        "averaged-log-prob",
        "averaged-log-prob.spread=0.1",
    ),
    Broken([{**r, "response_length": 1280} for r in GOOD], "all-lengths-equal", "all-lengths-equal.log-probs=0.9"),
    Broken(
        [{**r, "old_log_prob": GOOD[i - 1]["old_log_prob"]} for i, r in enumerate(GOOD)],
        "unrelated-reference",
        "unrelated-reference.correlation=-1",
    ),
    Broken(GOOD + GOOD, "duplicate-records", "duplicate-records.share=2"),
    Broken(random.Random(5).sample(GOOD + GOOD, 96), "duplicate-records", "duplicate-records.share=3"),
    Broken(GOOD + [{**r, "step": 41} for r in GOOD], "duplicate-records", "duplicate-records.share=0.6"),
]
EACH = pytest.mark.parametrize("dump", DUMPS, ids=[f"{dump.code} {dump.threshold}" for dump in DUMPS])


def written(folder: Path, records: list[dict[str, Any]]) -> Path:
    path = folder / "dump.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def test_what_is_broken_below_is_healthy_here(budget_cli: Run, tmp_path: Path) -> None:
    for budget in BUDGETS:
        assert errors(budget_cli, written(tmp_path, GOOD), *budget) == (0, set())


@EACH
def test_an_error_fails_the_run_in_every_form(dump: Broken, budget_cli: Run, tmp_path: Path) -> None:
    path = written(tmp_path, dump.records)
    assert errors(budget_cli, path) == (1, {dump.code})
    assert f"error  {dump.code}" in budget_cli("check", path).stdout.decode()
    assert f"| error | {dump.code} |" in budget_cli("check", path, "--format", "markdown").stdout.decode()
    notes = budget_cli("check", path, "--format", "github").stdout.decode().splitlines()
    assert [note for note in notes if note.startswith("::error") and f"title={dump.code}::" in note]
    junit = ElementTree.fromstring(budget_cli("check", path, "--format", "junit").stdout)
    failed = [case.get("name") for case in junit.iter("testcase") if case.find("failure") is not None]
    assert failed == [dump.code]


@EACH
def test_an_error_that_is_ignored_known_or_beyond_its_threshold_fails_nothing(
    dump: Broken, budget_cli: Run, tmp_path: Path
) -> None:
    path = written(tmp_path, dump.records)
    assert errors(budget_cli, path, "--ignore", dump.code) == (0, set())
    assert errors(budget_cli, path, "--select", dump.code) == (1, {dump.code})
    assert errors(budget_cli, path, "--threshold", dump.threshold) == (0, set())
    (tmp_path / "known.json").write_bytes(budget_cli("check", path, "--format", "json").stdout)
    assert errors(budget_cli, path, "--baseline", str(tmp_path / "known.json")) == (0, {dump.code})


def test_a_choice_of_the_budget_is_a_warning_and_fails_only_where_that_is_asked_for(
    budget_cli: Run, tmp_path: Path
) -> None:
    path = written(tmp_path, GOOD)
    done = budget_cli("check", path, "-B", "40", "--format", "json")
    found = {each["code"]: (each["class"], each["severity"]) for each in json.loads(done.stdout)["findings"]}
    assert found["budget-always-exceeded"] == ("choice", "warning")
    assert found["penalty-outweighs-reward"] == ("choice", "warning")
    assert done.returncode == 0
    assert budget_cli("check", path, "-B", "40", "--fail-on", "warning").returncode == 1


def test_a_label_that_cuts_groups_makes_no_error_of_its_rows(budget_cli: Run, tmp_path: Path) -> None:
    path = written(tmp_path, [{**r, "ok": r["reward"] == 1, "number": i % 8} for i, r in enumerate(GOOD)])
    for label in ("ok", "number", "prompt_id"):
        done = budget_cli("check", path, "--by", label, "--format", "json")
        assert done.returncode == 0, (label, done.stdout)


def test_a_finding_on_the_choice_of_the_budget_is_never_an_error() -> None:
    choice = [check for check in CHECKS.values() if check.class_ == "choice"]
    assert [check.code for check in choice] == [
        "phantom-advantage",
        "penalty-cancels",
        "best-response-changes",
        "budget-never-reached",
        "budget-always-exceeded",
        "penalty-outweighs-reward",
    ]
    assert all(check.severity != "error" and "error" not in check.otherwise for check in choice)


def test_the_class_is_explained(budget_cli: Run) -> None:
    for code, words in (("one-prompt", "*dump*, of the records themselves"), ("phantom-advantage", "*choice*, of B")):
        assert f"**Class**: {words}" in budget_cli("check", "--explain", code).stdout.decode()
