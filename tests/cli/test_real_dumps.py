"""If this fails, dumps that real trainers wrote are misread."""

import json
import shlex
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import pytest
from command import LossJson, Run

DUMPS = Path(__file__).parents[3] / "shared" / "dumps"
PRIME_RL = DUMPS / "prime_rl_train_j1i1ys.jsonl"
NEMO_GYM = DUMPS / "nemo_gym_competitive_coding_logprobs.jsonl"
ATROPOS = DUMPS / "atropos_rubiks_groups.jsonl"
pytestmark = pytest.mark.skipif(not DUMPS.is_dir(), reason="the dumps are not beside this checkout")

REWARD_ONLY = ("--budget-penalty-coef", "0", "--kl-coef", "0")
TOKENS = "response.output[].generation_log_probs"
Rewards = Iterable[tuple[Any, list[float]]]  # a prompt, and the rewards of some responses to it


class Real(NamedTuple):
    """Files of one dump, how they are read, what their records say, and the loss: of ORIGINS, or by hand."""

    files: str  # a pattern
    preset: str  # that detects them; "": the refusal names the options
    rewards: Callable[[Any], Rewards]  # of a record, read without this program
    prompts: int
    responses: int
    loss: float


def of(prompt: str, reward: str) -> Callable[[Any], Rewards]:
    """A record has the key of a prompt and the one reward, or a list of them."""

    def rewards(record: dict[str, Any]) -> Rewards:
        found = record[reward]
        yield str(record[prompt]), [float(each) for each in (found if isinstance(found, list) else [found])]

    return rewards


def each_its_own(record: dict[str, Any]) -> Rewards:
    yield object(), record["scores"]


def of_input(record: dict[str, Any]) -> Rewards:
    yield json.dumps(record["responses_create_params"]["input"]), [record["reward"]]


def of_traces(record: dict[str, Any]) -> Rewards:
    for trace in record["traces"]:
        scored = [each for each in trace["rewards"].values() if each is not None]
        yield record["group"]["id"], [sum(each["score"] * each["weight"] for each in scored)]


def of_evalplus(record: dict[str, Any]) -> Rewards:
    yield record["task_id"], [float(record["base_status"] == "pass")]


REAL = [
    Real(PRIME_RL.name, "prime-rl-platform", of("problem_id", "reward"), 4, 25, 0.07),
    Real(NEMO_GYM.name, "nemo-gym", of("_ng_task_index", "reward"), 1, 5, 0.0),
    Real("nemo_gym_aalcr.jsonl", "nemo-gym", of("_ng_task_index", "reward"), 2, 5, 0.0),
    Real(ATROPOS.name, "atropos", each_its_own, 6, 24, 0.061326),
    Real("verifiers_wordle_oldid_gpt41mini.jsonl", "verifiers-2025", of("id", "reward"), 5, 15, 0.129152),
    Real("verl_sdpo_excerpt.jsonl", "verl-v0", of("input", "score"), 2, 2, 0.0),
    Real("wild/nemo-gym-hermes-empty-logprobs.jsonl", "nemo-gym", of("_ng_task_index", "reward"), 5, 5, 0.0),
    Real("wild/nemo-gym-without-task-index.jsonl", "nemo-gym-without-index", of_input, 3, 3, 0.0),
    Real("wild/verifiers-0.3.1-traces.jsonl", "prime-rl-episodes", of_traces, 2, 3, 0.0),
    Real("wild/nemo-skills-output-rs?.jsonl", "nemo-skills", of("id", "symbolic_correct"), 5, 15, 0.0888888889),
    Real("wild/laser-rm-maj.jsonl", "", of("idx", "score"), 4, 32, 0.0),
    Real("wild/mini-swe-grpo-rollouts.json", "", of("puzzle_id", "rewards"), 6, 48, 0.0390625),
    Real("wild/evalplus-eval-results.json", "", of_evalplus, 8, 8, 0.0),
    Real("wild/ppo-vs-grpo-completions.trimmed.jsonl", "", of("problem_id", "scalar_reward"), 2, 6, 0.0021875),
]
NO_DUMPS = {  # the file, and what the refusal says
    "wild/git-lfs-pointer.jsonl": "a pointer of Git LFS in place of the file: `git lfs pull` fetches it",
    "wild/prime-rl-stream.index.jsonl": "this is no dump but prime-rl's index of its episodes",
}


def test_every_file_is_in_one_row() -> None:
    patterns = [*(real.files for real in REAL), *NO_DUMPS]
    found = Counter(path for pattern in patterns for path in DUMPS.glob(pattern))
    assert found == Counter(path for path in DUMPS.rglob("*.json*"))


def records(path: Path) -> list[Any]:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".json":
        whole = json.loads(text)
        return whole if isinstance(whole, list) else [each for task in whole["eval"].values() for each in task]
    return [json.loads(line) for line in text.splitlines()]


def options_named_by(refusal: str) -> Iterator[list[str]]:
    """Yield the options that a refusal names: those that it proposes, and each alternative in place of its field's."""
    proposed, _, doubt = refusal.partition("give ")[2].partition(", or --preset")[0].partition(", though ")
    alternatives = doubt.partition(" (or ")[2]
    words = shlex.split(proposed)
    yield words
    for other in shlex.split(alternatives.removesuffix(")").replace(",", "")):
        name = other.partition("=")[0].rstrip("s")
        yield [other if word.partition("=")[0].rstrip("s") == name else word for word in words]


@pytest.mark.exhaustive
@pytest.mark.parametrize("real", REAL, ids=[real.files for real in REAL])
def test_a_dump_is_read_by_detection_or_by_the_options_that_the_refusal_names(budget_cli: Run, real: Real) -> None:
    paths = sorted(DUMPS.glob(real.files))
    options: list[str] = []
    if not real.preset:
        refused = budget_cli("loss", *paths, *REWARD_ONLY)
        assert refused.returncode == 2
        options, *others = options_named_by(refused.stderr.decode())
        for other in others:
            assert budget_cli("loss", *paths, *REWARD_ONLY, *other).returncode == 0, other
    arguments = ("loss", *paths, *REWARD_ONLY, *options, "-f", "json", "--precision", "17")
    done = budget_cli(*arguments)
    assert done.returncode == 0, done.stderr.decode()
    assert (f"reading as {real.preset}: " in done.stderr.decode()) is bool(real.preset)
    answer = json.loads(done.stdout)
    assert (answer["prompts"], answer["responses"], answer["records"]["rejected"]) == (real.prompts, real.responses, 0)
    assert answer["loss"] == pytest.approx(real.loss, rel=1e-4)
    by_prompt: dict[Any, list[float]] = defaultdict(list)
    for path in paths:
        for record in records(path):
            for prompt, rewards in real.rewards(record):
                by_prompt[prompt] += rewards
    squares = [(reward - fmean(rewards)) ** 2 for rewards in by_prompt.values() for reward in rewards]
    assert answer["loss"] == pytest.approx(fmean(squares), rel=1e-12, abs=1e-30)
    for jobs in ("2", "3"):
        assert budget_cli(*arguments, "--jobs", jobs).stdout == done.stdout


@pytest.mark.parametrize("file", NO_DUMPS)
def test_what_is_no_dump_is_refused_with_what_it_is(budget_cli: Run, file: str) -> None:
    done = budget_cli("loss", DUMPS / file, *REWARD_ONLY)
    assert done.returncode in (2, 3)
    assert NO_DUMPS[file] in done.stderr.decode()


def test_the_loss_of_prime_rl_is_the_mean_square_of_the_advantages_that_it_stored(loss_json: LossJson) -> None:
    answer = loss_json(PRIME_RL, *REWARD_ONLY, "--precision", "15")
    stored = [record["advantage"] for record in records(PRIME_RL)]
    assert answer["responses"] == len(stored) == 25
    assert round(answer["loss"], 12) == 0.07
    assert answer["loss"] == pytest.approx(fmean(a * a for a in stored), rel=1e-12)
    assert answer["advantage"]["mean_square"] == answer["loss"]


def test_per_token_log_probs_of_nemo_gym_are_summed_and_counted(loss_json: LossJson) -> None:
    reference = ("--field", f"old_log_prob={TOKENS}")
    answer = loss_json(NEMO_GYM, *reference, "-B", "1000", "--preset", "nemo-gym")
    lengths = [record["response"]["usage"]["output_tokens"] for record in records(NEMO_GYM)]
    assert answer["responses"] == len(lengths) == 5
    assert (answer["length"]["min"], answer["length"]["max"]) == (min(lengths), max(lengths)) == (785, 1277)
    assert answer["length"]["mean"] == fmean(lengths)
    assert answer["over_budget"]["excess_tokens"] == sum(max(0, length - 1000) for length in lengths)
    assert answer["kl"]["k1"] == answer["kl"]["k2"] == answer["kl"]["k3"] == 0
    outputs = [record["response"]["output"] for record in records(NEMO_GYM)]
    assert lengths == [sum(len(item.get("generation_log_probs", [])) for item in items) for items in outputs]


def test_the_lengths_of_atropos_are_the_places_that_its_masks_keep(loss_json: LossJson) -> None:
    answer = loss_json(ATROPOS, *REWARD_ONLY, "--precision", "15")
    lengths = [sum(element != -100 for element in mask) for record in records(ATROPOS) for mask in record["masks"]]
    assert [answer["length"][name] for name in ("min", "mean", "max")] == [min(lengths), fmean(lengths), max(lengths)]
    assert answer["groups"]["size"] == {"min": 4, "mean": 4, "max": 4}
    scores = [record["scores"] for record in records(ATROPOS)]
    assert answer["groups"]["zero_variance"] == sum(len(set(each)) == 1 for each in scores)


# findings that a person would name after examining these dumps: code, severity, count
FINDINGS: dict[str, dict[str, tuple[str, int]]] = {
    # one page of 25 responses of a step, which cuts off the last prompt; without token counts, lengths are 0
    "prime_rl_train_j1i1ys": {
        "singleton": (
            "error",
            1,
        ),  # the last prompt, of which 1 of 8 responses is there: the dump was cut at 25 records
        "all-lengths-zero": ("warning", 25),
        "zero-variance": ("info", 1),
    },
    "nemo_gym_competitive_coding_logprobs": {"constant-reward": ("warning", 5)},
    "nemo_gym_aalcr": {"uneven-groups": ("warning", 1), "zero-variance": ("info", 2)},
    # the state of the cube differs within a group, and most responses are the same move
    "atropos_rubiks_groups": {
        "id-over-texts": ("warning", 4),
        "identical-responses": ("warning", 14),
        "zero-variance": ("info", 2),
    },
    # every game begins with the same words, without the secret
    "verifiers_wordle_oldid_gpt41mini": {"text-under-ids": ("info", 5)},
    "verl_sdpo_excerpt": {"singleton": ("warning", 2)},
}


@pytest.mark.parametrize("name", FINDINGS)
def test_the_findings_are_those_that_a_person_would_name_and_no_error_but_that_of_the_dump_that_was_cut(
    budget_cli: Run, name: str
) -> None:
    done = budget_cli("check", DUMPS / f"{name}.jsonl", "--text", "-f", "json")
    assert done.returncode == (1 if name == "prime_rl_train_j1i1ys" else 0)
    found = {f["code"]: (f["severity"], f["count"]) for f in json.loads(done.stdout)["findings"]}
    assert found == FINDINGS[name]


def test_with_a_budget_lengths_that_are_all_0_are_an_error(budget_cli: Run) -> None:
    done = budget_cli("check", PRIME_RL, "-B", "512", "-f", "json")
    assert done.returncode == 1
    errors = [f["code"] for f in json.loads(done.stdout)["findings"] if f["severity"] == "error"]
    assert errors == ["singleton", "all-lengths-zero"]
