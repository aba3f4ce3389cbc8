"""If this fails, a dump is taken for that of another framework, or is read with a meaning its writer did not intend.

`tests/dumps` holds a small dump per preset, with the shape and the keys that its writer gives it.
"""

import contextlib
import io
import json
import math
import pickle
import re
import runpy
import shlex
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import command
import pytest
from command import Done

from budget_cli.analysis.loss import Coefficients, Loss, compute_loss
from budget_cli.cli.bundles import FieldOptions
from budget_cli.cli.placement import Placement
from budget_cli.errors import UsageProblem
from budget_cli.groups.moments import Layout
from budget_cli.records import detection, parquet, reference
from budget_cli.records.first_lengths import wrong_unit
from budget_cli.records.jsonl import Limits
from budget_cli.scanning.plan import scan_plan
from budget_cli.scanning.scan import scan
from budget_cli.schema import presets
from budget_cli.schema.fields import Fields, parse_mappings
from budget_cli.sources import local as sources

DUMPS = Path(__file__).parent.parent / "dumps"
REAL = Path(__file__).parents[3] / "shared" / "dumps"
REWARD_ONLY = ("--budget-penalty-coef", "0", "--kl-coef", "0")
UPLOADED = DUMPS / "prime-rl-platform.upload.parquet"  # the rows of prime-rl-platform.jsonl
WEIGHTED = "reward=dot([Accuracy, Format], `[1.0, 0.5]`)"
TRL_WEIGHTED = "reward=dot([accuracy_reward, format_reward], `[1.0, 0.5]`)"


class Expected(NamedTuple):
    """The content of a dump; the sum of squared advantages is worked out by hand, prompt by prompt."""

    squares: float
    prompts: int
    responses: int
    lengths: list[int] | None = None
    log_ratios: list[float] | None = None  # where the dump has both log-probabilities
    skipped: int = 0
    left_out: str = ""  # `2 failed, 1 evaluation`
    also: tuple[str, ...] = ()  # files beside the first
    mappings: tuple[str, ...] = ()  # for what the dump does not say
    group_size: int | None = None


EXPECTED = {
    # 1 0 1 around 2/3: 1/9 + 4/9 + 1/9; 0 0
    "verl-v1": Expected(2 / 3, 2, 5),
    # step 12: 1 0 around ½; 0 0; and in the next step 1 0 of the same prompt as the first
    "verl-uid": Expected(1.0, 3, 6),
    # step 3: 1 0 and -1 1, so 1/4·2 + 1·2; step 4: 1 1, of the text that step 3 has too
    "verl-v0": Expected(2.5, 3, 6),
    # two files: accuracy + ½·format is 1.5 0.5 and 0.5 0; and in the next step 1.5 1.5 of the same prompt as the first
    "trl": Expected(0.5 + 0.125, 3, 6, also=("trl.second.parquet",), mappings=(TRL_WEIGHTED,)),
    # 1 0; 1 1. Lengths are the ones of the mask; the log-probabilities of prompt and padding do not count
    "nemo-rl": Expected(0.5, 2, 4, [2, 4, 2, 4], left_out="1 loss-masked"),
    # the same without the prompts, so the first two lines and the next two
    "nemo-rl-without-tokens": Expected(0.5, 2, 4, [2, 4, 2, 4], group_size=2),
    # task 7: 1 0, task 3: 0 1; tokens of one item or two
    "nemo-gym": Expected(1.0, 2, 4, [2, 3, 4, 1]),
    # 1 0; 0 ½, by the text of the prompt; one output is a list for each turn
    "nemo-gym-without-index": Expected(0.5 + 0.125, 2, 4, [2, 3, 4, 1]),
    # score·1 + score·½: 1.5 0.5 and 0.5 1; log-ratios -0.75+1, -1+0.5, -2+1.75, -0.5+1
    "prime-rl-episodes": Expected(
        0.5 + 0.125,
        2,
        4,
        [2, 1, 3, 2],
        [0.25, -0.5, -0.25, 0.5],
        left_out="1 evaluation, 2 failed, 1 untrainable, 1 no-trace",
    ),
    # 1.5 0 around 0.75; 1 1.5 around 1.25
    "prime-rl-traces": Expected(2 * 0.5625 + 2 * 0.0625, 2, 4, [2, 3, 1, 2]),
    # 1.5 0.5; 1.5 1.5. Without tokens: the completion tokens of one call or two
    "verifiers-v1": Expected(0.5, 2, 4, [3, 6, 1, 5], left_out="1 failed, 1 no-trace"),
    # step 40: 1 0 and ¼ ¼; step 41: 1 ½ of a problem that step 40 has too. It says 0 tokens of every response
    "prime-rl-platform": Expected(0.5 + 0.125, 3, 6, [0] * 6),
    # 1 1 0 around 2/3; 0 ½ around ¼
    "verifiers": Expected(2 / 3 + 0.125, 2, 5, [3, 6, 3, 2, 6]),
    # 1.5 0.5; 1 0
    "verifiers-2025": Expected(1.0, 2, 4),
    # 2 0; 1 1
    "verifiers-mid-2025": Expected(2.0, 2, 4),
    # 1 0; 1 1. Lengths 4 + 3 beside a tool's 18, 4, 20 - 8 as no versions are there, 1 + 1
    "areal": Expected(0.5, 2, 4, [7, 4, 12, 2]),
    # sums over tokens: 1 0; -½ ½
    "skyrl-eval": Expected(1.0, 2, 4),
    # in each of two steps, which have the same ids: 1 0 0 around 1/3, so 4/9 + 1/9 + 1/9; 0 1
    "roll": Expected(2 * (2 / 3 + 0.5), 4, 10),
    # 1 0; 0 1. Without the padding after the response: -0.75+0.5, -2+1.5, -0.5+1, -1+1.5
    "roll-logging-board": Expected(1.0, 2, 4, [2, 3, 1, 4], [-0.25, -0.5, 0.5, 0.5]),
    # 10 0; 10 10. The same prompt_idx in two steps
    "open-instruct": Expected(50.0, 2, 4, [3, 5, 2, 4]),
    # two files: 1 0; ½ 0
    "rllm": Expected(0.5 + 0.125, 2, 4, also=("rllm.second.json",)),
    # 1 0 ½; 1 0
    "agent-lightning": Expected(1.0, 2, 5),
    # 1 0; -½ ½; 1 1 of an evaluation, which counts its groups from 0, too. Lengths 4 + 2, 3, 5, 1 + 1, 2, 4
    "tinker-cookbook": Expected(1.0, 3, 6, [6, 3, 5, 2, 2, 4]),
    # 1 0, and one without a reward; 1 0 0 around 1/3
    "trinity-rft": Expected(0.5 + 2 / 3, 2, 5, [5, 7, 4, 4, 9], skipped=1),
    # accuracy + ½·format: 1.5 0.5; 1 0; and in the next step 1.5 0.5 of the same prompt as the first
    "ms-swift": Expected(1.5, 3, 6, mappings=(WEIGHTED,)),
    "ms-swift-megatron": Expected(1.0, 2, 4, mappings=(WEIGHTED,)),
    # 1 0; 1 0 0
    "ms-swift-ray": Expected(0.5 + 2 / 3, 2, 5),
    # 1 -1; 1 0. Without the prompt's three places: -0.75+0.5, -2+2.5, -0.75+0.25, -0.5+0.75
    "atropos": Expected(2.5, 2, 4, [2, 4, 1, 2], [-0.25, 0.5, -0.5, 0.25]),
    # 1 0; ½ 0
    "pipeline-rl": Expected(0.5 + 0.125, 2, 4, [2, 3, 1, 4]),
    # 1 0; 1 0, after a summary
    "xtuner": Expected(1.0, 2, 4, [10, 7, 3, 4], skipped=1),
    # 1 0; ½ ½ -1 around 0
    "art": Expected(0.5 + 1.5, 2, 5),
    # 1 0; ½ ½ -1 around 0
    "art-parquet": Expected(0.5 + 1.5, 2, 5),
    # 1 0; 1 1
    "oat": Expected(0.5, 2, 4),
    # 1 0; ½ ½. Lengths 2, 1 + 3, 1, 2
    "rl2": Expected(0.5, 2, 4, [2, 4, 1, 2], left_out="1 aborted"),
    # 1 0; 1 1; and in the next step ½ ½ of the same prompt as the first
    "marin-skyrl": Expected(0.5, 3, 6, [2, 5, 1, 3, 4, 2]),
    # 1 0; 1 -1
    "miles": Expected(2.5, 2, 4, left_out="1 aborted, 1 failed"),
    # 1 0; 0 1; and in the next step 1 1 of the same group of environments as the first
    "roll-agentic": Expected(1.0, 3, 6, left_out="1 evaluation"),
    # 1 0; ½ 0
    "roll-agentic-proxy": Expected(0.5 + 0.125, 2, 4),
    # two files, a seed each: true false; false true
    "nemo-skills": Expected(1.0, 2, 4, [4, 3, 6, 2], also=("nemo-skills.rs1.jsonl",)),
    # C I; I P
    "inspect-ai": Expected(0.5 + 0.125, 2, 4, [2, 3, 5, 4], left_out="1 failed"),
    "inspect-ai-summaries": Expected(0.5 + 0.125, 2, 4, [2, 3, 5, 4], left_out="1 failed"),
    # step 4: 1 0 and ½ 0; step 5: 1 1 of a prompt that step 4 has too. Log-ratios -0.75+0.5, -1+0.5, -1.25+1,
    # -0.75+1, -0.5+0.5, -0.5+1
    "rl-logging-board": Expected(0.5 + 0.125, 3, 6, [2, 1, 3, 2, 1, 2], [-0.25, -0.5, -0.25, 0.25, 0.0, 0.5]),
    # 0 + 1 and 0; ¼ + ¾ and ½
    "agent-r1": Expected(0.5 + 0.125, 2, 4),
}


def dump(name: str) -> Path:
    return next(path for path in DUMPS.iterdir() if path.stem == name)


def loss(
    paths: Sequence[Path], mappings: Sequence[str] = (), kl_coef: float = 0.0, group_size: int | None = None
) -> tuple[str, Loss]:
    """Return the name of the detected preset, and the loss that it gives."""
    found = sources.find([str(path) for path in paths])
    chosen = detection.detect_preset(detection.sniff(found), presets.load())
    name = chosen.name if chosen else presets.CANONICAL
    fields = Fields(needs_length=False, needs_log_probs=kl_coef != 0)
    options = FieldOptions(field=list(mappings), preset=name if mappings else None, group_size=group_size)
    fields = Placement(options, fields).in_dump(found, quiet=True)
    scanned = scan(found, scan_plan(fields, Layout((3,)), Limits()), 1)
    assert scanned.problems == []
    return name, compute_loss(scanned.groups, Coefficients(3, 0.0, kl_coef), scanned.tally, "response")


def run(*arguments: str | Path, stdin: bytes | None = None, cwd: Path | None = None) -> Done:
    """Run `budget-cli loss ARGUMENTS…`."""
    return command.run("loss", *arguments, stdin=stdin, cwd=cwd)


def of_json(done: Done) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr.decode()
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def last_line(done: Done) -> str:
    return done.stderr.decode().splitlines()[-1]


# ---- each framework's dump


def test_every_preset_has_a_dump_here_and_every_dump_a_preset() -> None:
    assert list(EXPECTED) == list(presets.load())
    named = {path.name for path in DUMPS.iterdir()}
    others = {file for one in EXPECTED.values() for file in one.also} | {UPLOADED.name}
    assert named == {dump(name).name for name in EXPECTED} | others


@pytest.mark.parametrize("name", EXPECTED)
def test_a_dump_is_known_by_its_records_and_its_loss_is_the_one_worked_by_hand(name: str) -> None:
    expected = EXPECTED[name]
    found, answer = loss(
        [dump(name), *(DUMPS / file for file in expected.also)], expected.mappings, group_size=expected.group_size
    )
    assert found == name
    assert (answer.prompts, answer.responses) == (expected.prompts, expected.responses)
    assert answer.loss == pytest.approx(expected.squares / expected.responses, rel=1e-12)
    assert (answer.records.rejected, answer.records.skipped) == (0, expected.skipped)
    assert {reason: n for reason, n in answer.left_out.items() if n} == {
        reason: int(n) for n, reason in (each.split() for each in expected.left_out.split(", ") if each)
    }


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", EXPECTED)
def test_lengths_are_the_tokens_of_the_responses_or_none_where_the_dump_has_none(name: str) -> None:
    expected = EXPECTED[name]
    _, answer = loss(
        [dump(name), *(DUMPS / file for file in expected.also)], expected.mappings, group_size=expected.group_size
    )
    found = (answer.length.min, answer.length.mean, answer.length.max, answer.over_budget.excess_tokens)
    if expected.lengths is None:
        assert found == (None, None, None, None)
    else:
        excess = sum(max(0, length - 3) for length in expected.lengths)
        assert found == (min(expected.lengths), fmean(expected.lengths), max(expected.lengths), excess)


@pytest.mark.parametrize("name", [name for name in EXPECTED if EXPECTED[name].log_ratios])
def test_where_a_dump_has_both_log_probabilities_the_log_ratios_are_those_of_the_responses(name: str) -> None:
    expected = EXPECTED[name].log_ratios or []
    _, answer = loss([dump(name)], kl_coef=1.0)
    assert answer.responses == len(expected)
    assert answer.kl.k1 == pytest.approx(fmean(expected), abs=1e-12)
    assert answer.kl.k2 == pytest.approx(fmean(k * k / 2 for k in expected), rel=1e-12)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", EXPECTED)
def test_no_dump_is_claimed_by_two_presets(name: str) -> None:
    begun = detection.sniff(sources.find([str(dump(name))]))
    values, known = begun.values, detection.presets_for(begun, presets.load())
    fitting = [fit.preset.name for fit in presets.rank(values, known) if fit.fits]
    best = presets.choose(values, known)
    assert best is not None
    assert best.name == name
    assert name in fitting
    assert all(set(known[other].detect) <= set(best.detect) for other in fitting)


@pytest.mark.parametrize("name", ["verl-v1", "nemo-rl", "roll", "pipeline-rl", "xtuner", "atropos", "oat", "rllm"])
def test_a_dump_on_standard_input_is_known_too(name: str) -> None:
    expected = EXPECTED[name]._replace(also=())
    done = run("-", *REWARD_ONLY, "-f", "json", "--precision", "15", stdin=dump(name).read_bytes())
    answer = of_json(done)
    assert done.stderr.decode().startswith(f"budget-cli: <stdin>: reading as {name}: ")
    if name == "rllm":  # a file is an episode, so this is but the first prompt: 1 0
        expected = expected._replace(squares=0.5, prompts=1, responses=2)
    assert (answer["prompts"], answer["responses"]) == (expected.prompts, expected.responses)
    assert answer["loss"] == pytest.approx(expected.squares / expected.responses, rel=1e-12)


def test_a_first_line_of_several_megabytes_is_known_too(tmp_path: Path) -> None:
    line = json.loads(dump("roll").read_bytes().splitlines()[0])
    line["responses"] = ["x" * (detection.HEAD_BYTES // 4)] * 5
    path = tmp_path / "rollout_dump_data.step_6.jsonl"
    path.write_text(json.dumps(line) + "\n", encoding="utf-8")
    name, answer = loss([path])
    assert (name, answer.prompts, answer.responses) == ("roll", 2, 5)


def test_a_document_of_several_megabytes_is_known_too(tmp_path: Path) -> None:
    samples = json.loads(dump("oat").read_bytes())
    samples[0]["output"] = "x" * (detection.HEAD_BYTES + 1)
    path = tmp_path / "100.json"
    path.write_text(json.dumps(samples, indent=4), encoding="utf-8")
    name, answer = loss([path])
    assert (name, answer.prompts, answer.responses) == ("oat", 2, 4)


# what else the first response of a dump has: finish reason, step, the advantage that the trainer stored, and how many
# distinct texts of prompts and of responses there are in the whole file
MORE: dict[str, tuple[object, object, float | None, int, int]] = {
    "verl-v1": (None, 12, None, 2, 5),
    "verl-uid": (None, 12, None, 2, 6),
    "verl-v0": (None, 3, None, 2, 6),
    "trl": (None, 10, 0.7071, 2, 4),
    "nemo-rl": (None, None, 0.5, 2, 4),
    "nemo-rl-without-tokens": (None, None, 0.5, 0, 0),
    "nemo-gym": (None, None, None, 2, 2),
    "nemo-gym-without-index": (None, None, None, 2, 4),
    "prime-rl-episodes": ("stop", None, 0.0, 0, 4),
    "prime-rl-traces": ("stop", None, None, 0, 4),
    "verifiers-v1": ("stop", None, None, 0, 4),
    "prime-rl-platform": (None, 40, 0.5, 1, 1),
    "verifiers": ("max_turns_reached", None, None, 2, 5),
    "verifiers-2025": (None, None, None, 2, 4),
    "verifiers-mid-2025": (None, None, None, 2, 4),
    "areal": (None, None, None, 2, 1),
    "skyrl-eval": ("stop", None, None, 2, 4),
    "roll": (None, 6, None, 2, 5),
    "roll-logging-board": (None, 6, None, 2, 4),
    "open-instruct": ("stop", 1, 5.0, 1, 4),
    "rllm": ("env_done", 5, None, 1, 2),
    "agent-lightning": (None, None, None, 2, 5),
    "tinker-cookbook": ("stop", 8, None, 0, 0),
    "trinity-rft": (None, 2, None, 2, 1),
    "ms-swift": (None, "1", 0.7, 2, 4),
    "ms-swift-megatron": (None, 0, 0.7, 2, 4),
    "ms-swift-ray": (None, 3, None, 2, 5),
    "atropos": (None, None, None, 1, 3),
    "pipeline-rl": ("stop", None, None, 1, 4),
    "xtuner": ("stop", None, None, 1, 1),
    "art": ("stop", None, None, 0, 5),
    "art-parquet": (None, None, None, 0, 4),
    "oat": (None, None, None, 2, 4),
    "rl2": ("stop", None, None, 2, 4),
    "marin-skyrl": ("stop", 7, None, 2, 4),
    "miles": ("completed", None, None, 2, 4),
    "roll-agentic": ("FINISH", 6, None, 0, 5),
    "roll-agentic-proxy": ("stop", 6, None, 0, 4),
    "nemo-skills": ("stop", None, None, 2, 2),
    "inspect-ai": ("stop", None, None, 2, 4),
    "inspect-ai-summaries": (None, None, None, 2, 0),
    "rl-logging-board": (None, 4, None, 2, 6),
    "agent-r1": (None, 9, None, 2, 4),
}


def extras_of(path: Path, fields: Fields) -> dict[str, Any]:
    (source,) = sources.find([str(path)])
    if source.kind is sources.Kind.PARQUET:
        ((decoded,),) = (parquet.decode(source, group, fields, 10) for group in parquet.row_groups(source))
        return decoded.columns.extras
    data = path.read_bytes()
    return reference.decode(data.replace(b"\n", b" ") if fields.document else data, fields, 1 << 30, 10).columns.extras


@pytest.mark.parametrize("name", MORE)
def test_the_optional_fields_of_a_dump_are_read_on_request(name: str) -> None:
    wanted = ("finish_reason", "step", "advantage", "prompt_text", "response_text")
    fields = presets.load()[name].apply_to(Fields(needs_length=False, needs_log_probs=False, extras=wanted))
    if EXPECTED[name].mappings:
        fields = fields.with_places(parse_mappings(EXPECTED[name].mappings))
    if EXPECTED[name].group_size:
        fields = replace(fields, group="line")
    extras = extras_of(dump(name), fields)
    labels = [[None, *extras[one].values][extras[one].codes[0] + 1] for one in wanted[:2]]
    advantage = extras["advantage"][0]
    texts = [len(set(extras[one].digest.tolist()) - {0}) for one in wanted[3:]]
    assert (*labels, None if math.isnan(advantage) else advantage, *texts) == MORE[name]


def test_the_optional_fields_of_every_dump_are_listed_here() -> None:
    assert list(MORE) == list(EXPECTED)


def test_the_rows_that_prime_rl_uploads_are_those_that_its_platform_gives_as_json() -> None:
    name, answer = loss([UPLOADED])
    assert name == "prime-rl-platform"
    assert answer == loss([dump("prime-rl-platform")])[1]


def test_with_dynamic_sampling_the_reward_of_nemo_rl_is_the_one_of_the_sample_that_was_kept(tmp_path: Path) -> None:
    path = tmp_path / "train_data_step3.jsonl"
    lines = []
    for line in dump("nemo-rl").read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        lines.append(json.dumps(record | {"filtered_rewards": record["rewards"], "rewards": [9.0]}) + "\n")
    path.write_text("".join(lines), encoding="utf-8")
    assert loss([path]) == loss([dump("nemo-rl")])


@pytest.mark.parametrize("name", ["rllm", "oat", "inspect-ai", "inspect-ai-summaries"])
@pytest.mark.parametrize("naming", [(), ("--preset",)], ids=["detected", "named"])
def test_a_document_on_one_line_is_known_as_well_as_an_indented_one(
    name: str, naming: tuple[str, ...], tmp_path: Path
) -> None:
    documents = [dump(name), *(DUMPS / file for file in EXPECTED[name].also)]
    path = tmp_path / "episodes.jsonl"  # jq -c . FILES
    path.write_text("".join(json.dumps(json.loads(one.read_bytes())) + "\n" for one in documents), encoding="utf-8")
    answer = of_json(run(path, *REWARD_ONLY, *naming, *((name,) if naming else ()), "-f", "json", "--precision", "15"))
    expected = EXPECTED[name]
    assert (answer["prompts"], answer["responses"]) == (expected.prompts, expected.responses)
    assert answer["loss"] == pytest.approx(expected.squares / expected.responses, rel=1e-12)


def test_a_task_of_rllm_is_another_prompt_in_another_step_and_epoch(tmp_path: Path) -> None:
    path = tmp_path / "episodes.jsonl"
    episodes = [
        {"training_step": step, "epoch": epoch, "episode_id": f"t:{i}", "task_hash": "a0", "trajectories": trajectories}
        for step, epoch, reward in ((1, 0, 1.0), (9, 0, 0.0), (9, 1, 0.5))
        for i in range(2)
        for trajectories in [[{"name": "solver", "reward": reward, "steps": []}]]
    ]
    path.write_text("".join(json.dumps(episode) + "\n" for episode in episodes), encoding="utf-8")
    name, answer = loss([path])
    assert (name, answer.prompts, answer.responses, answer.loss) == ("rllm", 3, 6, 0.0)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, 93])
def test_the_samples_of_a_log_of_inspect_ai_are_read_from_its_summaries(method: int, tmp_path: Path) -> None:
    summaries = json.dumps(json.loads(dump("inspect-ai-summaries").read_bytes())).encode()
    path = tmp_path / "2026-08-22_toy.eval"
    stored = summaries if method == zipfile.ZIP_DEFLATED else pytest.importorskip("zstandard").compress(summaries)
    how = method if method == zipfile.ZIP_DEFLATED else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", how) as archive:
        archive.writestr("_journal/start.json", b"{}")
        archive.writestr("samples/add_epoch_1.json", b'{"id": "add", "epoch": 1}')
        archive.writestr("summaries.json", stored)
        archive.writestr("header.json", b"{}")
    if method != zipfile.ZIP_DEFLATED:  # zipfile writes no zstd: 8 and 10 bytes into a member's headers is its method
        raw = path.read_bytes()
        for header, at in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
            for found in re.finditer(re.escape(header), raw):
                place = found.start() + at
                name_at = found.start() + (30 if at == 8 else 46)
                if raw[name_at:].startswith(b"summaries.json"):
                    raw = raw[:place] + method.to_bytes(2, "little") + raw[place + 2 :]
        path.write_bytes(raw)
    name, answer = loss([path])
    assert (name, answer.prompts, answer.responses, answer.loss) == ("inspect-ai-summaries", 2, 4, 0.15625)


def test_of_several_scores_of_inspect_ai_none_is_chosen(tmp_path: Path) -> None:
    samples = json.loads(dump("inspect-ai-summaries").read_bytes())
    for sample in samples:
        sample.get("scores", {})["judge"] = {"value": 0.25}
    path = tmp_path / "summaries.json"
    path.write_text(json.dumps(samples), encoding="utf-8")
    done = run(path, *REWARD_ONLY)
    assert done.returncode == 1
    assert "expected one score, found 2 (match, judge): choose one, as in graded(scores.NAME)" in done.stdout.decode()
    chosen = run(path, *REWARD_ONLY, "--field", "reward=graded(scores.match)", "--field", "prompt_id=id", "-f", "json")
    assert b"1 record of 5 rejected" in chosen.stderr  # the failed one, which only the preset leaves out
    named = ("--preset", "inspect-ai-summaries", "--field", "reward=graded(scores.match)", "--precision", "15")
    assert of_json(run(path, *REWARD_ONLY, *named, "-f", "json"))["loss"] == 0.15625


def turns_of(name: str) -> list[Any]:
    """Return lines of three rows: two turns of a rollout, the last with reward 1, and another rollout with 0."""
    rows = [(0, 0, 0.0, 2), (0, 1, 1.0, 3), (1, 0, 0.0, 4)]  # rollout, turn, reward, tokens
    if name == "pipeline-rl":
        sample: dict[str, Any] = {
            "group_id": "actor_0",
            "logprobs": [],
            "ref_logprobs": [],
            "input_ids": [],
            "labels": [],
        }
        return [
            [
                {
                    **sample,
                    "reward": reward,
                    "output_tokens": n,
                    "metadata": {"rollout_index": rollout, "step_index": turn},
                }
                for rollout, turn, reward, n in rows
            ]
        ]
    if name == "trinity-rft":
        return [
            {"eid": {"batch": 2, "task": 0, "run": rollout, "step": turn}, "response_length": n, "reward": reward}
            for rollout, turn, reward, n in rows
        ]
    if name == "marin-skyrl":
        first = json.loads(dump(name).read_bytes().splitlines()[0])
        return [
            first | {"trajectory_id": f"a1_{rollout}", "is_last_step": last, "reward": reward, "response_len": n}
            for (rollout, _, reward, n), last in zip(rows, (False, True, True), strict=True)
        ]
    (line, *_) = map(json.loads, dump(name).read_bytes().splitlines())
    whole = json.loads(line["trajectory_data"][0])
    data = [
        {
            **whole,
            "trajectory_id": f"swe_bench_0_0_17_{rollout}_20260801_120000_000000" + ("" if rollout else f"_b{turn}"),
            "branch_or_step_idx": turn,
            "num_branches_or_steps": 1 if rollout else 2,
            "reward_info": {"episode_reward": 0.0 if rollout else 1.0, "step_reward": reward},
        }
        for rollout, turn, reward, _ in rows
    ]
    columns = {key: value[:3] for key, value in line.items()}
    return [columns | {"trajectory_data": [json.dumps(one) for one in data]}]


@pytest.mark.parametrize("name", ["pipeline-rl", "trinity-rft", "marin-skyrl", "roll-agentic-proxy"])
def test_the_turns_of_a_rollout_are_one_response(name: str, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in turns_of(name)), encoding="utf-8")
    answer = of_json(run(path, *REWARD_ONLY, "-f", "json"))
    assert (answer["responses"], answer["prompts"], answer["loss"]) == (2, 1, 0.25)
    if name != "roll-agentic-proxy":
        assert (answer["length"]["min"], answer["length"]["max"]) == (4, 5)


# ---- what the user gives, and what is detected


@pytest.mark.parametrize(
    ("name", "mapping", "places"),
    [
        ("verl-v1", "response_length=step", "prompt_id←stem(uid, '_', `2`), reward←score, response_length←step"),
        ("verl-v1", "reward=step", "prompt_id←stem(uid, '_', `2`), reward←step"),
        (
            "areal",
            "prompt_id=prompt",
            "prompt_id←prompt, reward←reward,"
            " response_length←version_rle && sum(version_rle[*][1]) || minus(seqlen, prompt_len)",
        ),
    ],
)
def test_mappings_of_the_user_override_those_of_the_preset(name: str, mapping: str, places: str) -> None:
    done = run(dump(name), "--field", mapping, *REWARD_ONLY, "-f", "json")
    assert done.stderr.decode() == f"budget-cli: {dump(name)}: reading as {name}: {places}\n"


@pytest.mark.parametrize("mappings", [("prompt_id=uid", "reward=score"), ("prompt_id=nowhere", "reward=nowhere")])
def test_no_preset_is_detected_if_the_user_maps_all_required_fields(mappings: tuple[str, str]) -> None:
    options = [word for mapping in mappings for word in ("--field", mapping)]
    assert b"reading as" not in run(dump("verl-v1"), *options, *REWARD_ONLY).stderr


def test_if_no_preset_fits_the_fields_that_the_user_does_not_map_have_canonical_names() -> None:
    done = run("--field", "reward=grade", *REWARD_ONLY, stdin=b'{"prompt": 1, "grade": 1}\n' * 2)
    assert done.returncode == 1
    assert done.stdout.decode().splitlines()[-3] == (
        "fail      prompt_id is in no record: missing (the record has prompt, grade); give --field prompt_id=PATH"
    )


GROUPS = [  # records, --group, prompts and their ids
    ([{"reward": 1}, {"reward": 0}], "file", ["<stdin>"]),
    ([{"rewards": [1, 0]}, {"rewards": [0, 0]}], "line", ["<stdin>:1", "<stdin>:2"]),
    ([{"prompt_id": "a", "reward": 1}, {"prompt_id": "b", "reward": 0}], "file", ["<stdin>"]),
]


@pytest.mark.parametrize(("records", "group", "ids"), GROUPS)
def test_a_line_or_a_file_may_be_the_prompt(records: list[Any], group: str, ids: list[str]) -> None:
    lines = b"".join(json.dumps(record).encode() + b"\n" for record in records)
    answer = of_json(run("--group", group, "--per-prompt", *REWARD_ONLY, "-f", "json", stdin=lines))
    assert [prompt["prompt_id"] for prompt in answer["per_prompt"]] == ids


def test_a_group_given_by_the_user_overrides_the_preset() -> None:
    done = run(dump("areal"), "--group", "file", "-B", "5", "--kl-coef", "0", "-f", "json")
    answer = of_json(done)
    assert (answer["prompts"], answer["responses"], answer["length"]["max"]) == (1, 4, 12)
    assert "prompt_id←each file, reward←reward, response_length←version_rle && sum(" in done.stderr.decode()


CONTRADICTIONS = [
    (
        ("--group", "line", "--field", "prompt_id=a"),
        "--group and --field prompt_id=… both define the prompt: give one of them",
    ),
    (
        ("--reward-weights", "a=1", "--field", "reward=b"),
        "--reward-weights and --field reward=… both define the reward: give one of them",
    ),
]


@pytest.mark.parametrize(("options", "message"), CONTRADICTIONS)
def test_options_that_say_the_same_thing_twice_are_refused(options: tuple[str, ...], message: str) -> None:
    done = run(dump("verl-v1"), *REWARD_ONLY, *options)
    assert (done.returncode, last_line(done)) == (2, f"budget-cli: {message}")


# ---- rewards by function


@pytest.mark.parametrize(
    ("name", "weights", "files"),
    [
        ("trl", ("accuracy_reward=1,format_reward=0.5",), ("trl.parquet", "trl.second.parquet")),
        ("trl", ("accuracy_reward=1", "format_reward=.5"), ("trl.parquet", "trl.second.parquet")),
        ("ms-swift", ("Accuracy=1, Format=0.5",), ("ms-swift.jsonl",)),
    ],
)
def test_rewards_by_function_are_summed_with_their_weights(
    name: str, weights: tuple[str, ...], files: tuple[str, ...]
) -> None:
    options = [word for weight in weights for word in ("--reward-weights", weight)]
    done = run(*(DUMPS / file for file in files), *options, *REWARD_ONLY, "-f", "json", "--precision", "15")
    expected = EXPECTED[name]
    assert of_json(done)["loss"] == pytest.approx(expected.squares / expected.responses, rel=1e-12)


def test_rewards_by_function_without_weights_are_refused_with_the_flag_to_give() -> None:
    done = run(dump("trl"), *REWARD_ONLY)
    assert (done.returncode, done.stdout) == (2, b"")
    assert last_line(done) == (
        "budget-cli: this trl dump has no reward: give --reward-weights accuracy_reward=1,format_reward=1"
        " with the weights of the run"
    )
    done = run(dump("trl"))
    assert last_line(done).startswith("budget-cli: give a budget (-B TOKENS)")
    done = run(dump("trl"), "-B", "9")
    assert last_line(done) == (
        "budget-cli: this trl dump has no reward and no log_prob and no old_log_prob and no response_length: give"
        " --reward-weights accuracy_reward=1,format_reward=1 with the weights of the run and --kl-coef 0 and"
        f" --budget-penalty-coef 0{TOKENIZER}, or --field log_prob=PATH --field old_log_prob=PATH"
        " --field response_length=PATH"
    )


def test_a_reward_that_a_function_did_not_give_counts_nothing_and_none_at_all_refuses_the_record(
    tmp_path: Path,
) -> None:
    rewards = ((1.0, 1.0), (None, 1.0), (None, None))
    rows = [{"step": 1, "prompt": "a", "completion": "b", "x": x, "y": y, "advantage": 0.0} for x, y in rewards]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    done = run(path, "--reward-weights", "x=1,y=1", *REWARD_ONLY, "-f", "json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["loss"] == 0.25
    message = "a.jsonl:3:1: reward (nandot([x, y], `[1.0, 1.0]`)): all 2 values are null or NaN"
    assert message in done.stderr.decode()


# ---- ids in several files


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", [name for name, preset in presets.load().items() if preset.ids_are_per_file])
def test_an_id_without_a_step_is_unique_only_within_its_file(name: str, tmp_path: Path) -> None:
    other = tmp_path / dump(name).name
    other.write_bytes(dump(name).read_bytes())
    expected = EXPECTED[name]
    _, answer = loss([dump(name), other], group_size=expected.group_size)
    assert (answer.prompts, answer.responses) == (2 * expected.prompts, 2 * expected.responses)
    assert answer.loss == pytest.approx(expected.squares / expected.responses, rel=1e-12)


def test_per_file_ids_of_several_files_include_the_file_name_and_a_line_says_so(tmp_path: Path) -> None:
    files = []
    for step in (1, 2):
        (tmp_path / f"step_{step}").mkdir()
        files.append(tmp_path / f"step_{step}" / "results.jsonl")
        records = [{"example_id": key, "prompt": [], "completion": [], "reward": 1} for key in (4, "4", "a")]
        files[-1].write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    done = run(*files, "--per-prompt", *REWARD_ONLY, "-f", "json")
    ids = [prompt["prompt_id"] for prompt in of_json(done)["per_prompt"]]
    assert ids == [f"step_{step}/results.jsonl:{key}" for step in (1, 2) for key in ("4", '"4"', "a")]
    assert "reading as verifiers: prompt_id←example_id in each file, reward←reward" in done.stderr.decode()
    given = run(*files, "--field", "prompt_id=example_id", "--preset", "verifiers", *REWARD_ONLY, "-f", "json")
    assert of_json(given)["prompts"] == 3


def test_steps_that_are_summarized_one_by_one_keep_their_ids_apart_too(tmp_path: Path) -> None:
    for step in ("1", "2"):
        (tmp_path / step).mkdir()
        (tmp_path / step / "results.jsonl").write_bytes(dump("verifiers").read_bytes())
        command.run("summarize", step, *REWARD_ONLY, "-o", f"{step}.summary", cwd=tmp_path)
    said = [
        run(*paths, *REWARD_ONLY, "-f", "json", cwd=tmp_path).stdout
        for paths in (("1", "2"), ("1.summary", "2.summary"))
    ]
    assert said[0] == said[1]
    assert json.loads(said[0])["prompts"] == 2 * EXPECTED["verifiers"].prompts


def test_the_same_files_of_two_folders_have_the_same_ids(tmp_path: Path) -> None:
    for folder in ("monday", "tuesday"):
        (tmp_path / folder).mkdir()
        for name in ("1.jsonl", "2.jsonl"):
            (tmp_path / folder / name).write_bytes(dump("verifiers").read_bytes())
    done = command.run("compare", "monday", "tuesday", *REWARD_ONLY, "-f", "json", cwd=tmp_path)
    assert json.loads(done.stdout)["prompts"]["paired"] == 2 * EXPECTED["verifiers"].prompts


def test_files_of_no_common_folder_are_named_in_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.jsonl").write_bytes(dump("verifiers").read_bytes())
    answer = of_json(run("a.jsonl", dump("verifiers"), *REWARD_ONLY, "--per-prompt", "-f", "json"))
    ids = [prompt["prompt_id"] for prompt in answer["per_prompt"]]
    assert {key.rpartition(":")[0] for key in ids} == {"a.jsonl", str(dump("verifiers"))}


# ---- lengths that are no token counts


def test_lengths_that_count_characters_raise_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    texts = ["forty two", "42", "it is forty two"]
    records = [{"prompt_id": 1, "reward": 1, "response_length": len(text), "note": "", "out": text} for text in texts]
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    warning = "response_length is the number of characters of out, not of tokens, in all 3 samples examined"
    done = run(path, "-B", "3", "--kl-coef", "0")
    assert (done.returncode, done.stderr.decode()) == (0, f"budget-cli: {path}: warning: {warning}\n")
    assert run(path, *REWARD_ONLY).stderr == run(path, "-B", "3", "--kl-coef", "0", "-q").stderr == b""
    records[1]["response_length"] = 1
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    assert run(path, "-B", "3", "--kl-coef", "0").stderr == b""


@pytest.mark.parametrize(
    ("records", "place", "said"),
    [
        ([{"response_length": 9, "out": [{"role": "assistant", "content": "forty two"}]}], "response_length", "out"),
        ([{"response_length": 9, "out": "forty two"}, {"response_length": None, "out": ""}], "response_length", "out"),
        ([{"usage": {"n": 9.0}, "out": "forty two"}], "usage.n", "out"),
        ([{"response_length": 7, "out": "0123456"}], "response_length", None),  # may be chance
        ([{"response_length": n, "out": "forty two"} for n in (9, 8)], "response_length", None),
        ([{"response_length": 9, "a": "forty two"}, {"response_length": 9, "b": "forty two"}], "response_length", None),
        ([{"response_length": "9", "out": "forty two"}], "response_length", None),
        ([], "response_length", None),
    ],
)
def test_a_text_whose_characters_are_the_length_is_named(
    records: list[dict[str, Any]], place: str, said: str | None
) -> None:
    fields = Fields().with_places(parse_mappings([f"response_length={place}"]))
    found = wrong_unit(records, fields)
    assert str(found or "").startswith(f"response_length is the number of characters of {said}" if said else "")
    assert (found is None) is (said is None)


# ---- the first records


def test_a_dump_with_a_nan_in_every_line_is_recognized_and_then_rejected(tmp_path: Path) -> None:
    path = tmp_path / "1.jsonl"
    line = '{"input": "a", "output": "b", "score": NaN, "step": 1}\n'
    path.write_text(line * 3, encoding="utf-8")
    done = run(path, *REWARD_ONLY)
    assert done.returncode == 1
    assert done.stderr.decode().startswith(f"budget-cli: {path}: reading as verl-v0: ")
    assert f"rejected  {path}:1:40: score: NaN is not a number that can be averaged" in done.stdout.decode()


def test_the_preset_is_detected_from_the_first_file_that_has_records(tmp_path: Path) -> None:
    empty = tmp_path / "0.jsonl"
    empty.write_bytes(b"")
    name, _ = loss([empty, dump("areal")])
    assert name == "areal"


# ---- the page about dumps

PAGE = (DUMPS.parent.parent / "docs" / "dumps.md").read_text(encoding="utf-8")
ON_THE_PAGE = re.findall(r"`budget-cli loss ([^`…]*)`", PAGE) + re.findall(
    r"^\$ budget-cli loss (.*)$", PAGE, re.MULTILINE
)


def test_the_page_about_dumps_has_a_row_for_every_preset() -> None:
    assert re.findall(r"^\|[^|]*\| `([\w-]+)` \|", PAGE, flags=re.MULTILINE) == list(EXPECTED)
    assert f"knows {len(EXPECTED)} ways" in PAGE
    assert {Path(command.split()[0]).stem.rstrip("*") for command in ON_THE_PAGE} == set(EXPECTED)


@pytest.mark.exhaustive
@pytest.mark.parametrize("shown", ON_THE_PAGE)
def test_the_commands_on_the_page_about_dumps_work(shown: str) -> None:
    arguments: list[str] = []
    for word in shlex.split(shown):
        arguments += map(str, sorted(DUMPS.parent.parent.glob(word))) if word.startswith("tests/") else [word]
    assert isinstance(of_json(run(*arguments, "-f", "json"))["loss"], float)


def test_the_lines_that_convert_a_pickle_make_records_that_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (script,) = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE)
    (tmp_path / "convert.py").write_text(script, encoding="utf-8")
    stand_in = (
        "import pickle\ndef load(path, weights_only):\n    with open(path, 'rb') as file: return pickle.load(file)\n"
    )
    (tmp_path / "torch.py").write_text(stand_in, encoding="utf-8")
    sample = {"group_index": 3, "reward": 1.0, "response_length": 2, "rollout_log_probs": [-1.0, -0.5], "tokens": [7]}
    dumped = {"rollout_id": 7, "samples": [sample, sample | {"reward": 0.0}]}
    (tmp_path / "7.pt").write_bytes(pickle.dumps(dumped))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "argv", ["convert.py", "7.pt"])
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        runpy.run_path("convert.py", run_name="__main__")
    monkeypatch.delitem(sys.modules, "torch")
    converted = printed.getvalue().encode()
    (options,) = re.findall(r"`python convert.py 7.pt \| budget-cli loss - ([^`]*)`", PAGE)
    answer = of_json(run("-", *shlex.split(options), "-f", "json", stdin=converted))
    assert (answer["loss"], answer["prompts"], answer["length"]["mean"]) == (0.25, 1, 2.0)
    refused = run(tmp_path / "7.pt", *REWARD_ONLY)
    assert refused.returncode == 3
    assert "a pickle: loading it would run any code inside it; docs/dumps.md shows" in refused.stderr.decode()


# ---- what is no framework's dump


CANONICAL: list[dict[str, Any]] = [
    {"prompt_id": "p", "reward": 1.0},
    {"prompt_id": "p", "rewards": [1.0, 0.0]},
    # all that several presets look for, and the canonical fields
    {"prompt_id": "p", "reward": 1.0, "uid": "a_0_0", "input": "", "output": "", "score": 0.0, "step": 1},
    {"prompt_id": "p", "reward": 1.0, "example_id": 4, "prompt": [], "completion": []},
    {"prompt_id": "p", "reward": 1.0, "group_id": 4, "response_len": 3, "rollout_id": 1},
]


@pytest.mark.parametrize("record", CANONICAL, ids=lambda record: " ".join(record))
def test_records_with_the_canonical_fields_are_read_by_those(record: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "dump.jsonl"
    path.write_text(json.dumps(record) + "\n", encoding="utf-8")
    found = sources.find([str(path)])
    assert detection.canonical_first_record(found, Fields()) == record
    assert detection.detect_preset(detection.sniff(found), presets.load()) is None
    done = run("-", *REWARD_ONLY, "-f", "json", stdin=path.read_bytes())
    assert done.stderr == b""
    assert of_json(done)["reward"]["max"] == 1.0


NONE_FITS: list[tuple[list[Any], str]] = [
    (
        [{"input": "a", "output": "b", "gts": "c"}],
        "no prompt_id and reward, and no preset fits (found input, output, gts); nearest: verl-v0 (but for score);"
        " give --field 'prompt_id=digest(input)' --field reward=PATH, or --preset NAME",
    ),
    (
        [{"task_id": 1, "sample_idx": 0, "prompt_len": 4, "seqlen": 9}],
        "no prompt_id and reward, and no preset fits (found task_id, sample_idx, prompt_len, seqlen);"
        " nearest: areal (but for reward); give --field prompt_id=task_id --field reward=PATH, or --preset NAME",
    ),
    (
        [{"question": "a", "grade": 1}],
        "no prompt_id and reward, and no preset fits (found question, grade);"
        " give --field 'prompt_id=digest(question)' --field reward=grade, or --preset NAME",
    ),
    (  # what one of the records lacks, the dump lacks
        [{"input": "a", "output": "b", "score": 1.0}, {"input": "a", "output": "b"}],
        "no prompt_id and reward, and no preset fits (found input, output, score); nearest: verl-v0 (but for score);"
        " give --field 'prompt_id=digest(input)' --field reward=PATH, or --preset NAME",
    ),
]


@pytest.mark.parametrize(("records", "message"), NONE_FITS)
def test_if_no_preset_fits_the_nearest_ones_are_named_with_what_is_missing(records: list[Any], message: str) -> None:
    done = run(*REWARD_ONLY, stdin=b"".join(json.dumps(record).encode() + b"\n" for record in records))
    assert (done.returncode, done.stdout, last_line(done)) == (2, b"", f"budget-cli: {message}")


@pytest.mark.parametrize("width", [20, 60, 200])
def test_a_refusal_is_never_cut_within_the_options_that_it_names(width: int) -> None:
    def key(name: str) -> str:
        return f"{'x' * width}.{name}"

    record = {f"other_{i}_{'y' * width}": "" for i in range(9)}
    records = [record | {key("qid"): f"q{i // 2}", key("reward"): i % 2, key("gen_len"): 9 + i} for i in range(8)]
    done = run("-B", "9", stdin=b"".join(json.dumps(each).encode() + b"\n" for each in records))
    message = last_line(done)
    assert done.returncode == 2
    assert message.endswith(
        (" --kl-coef 0, or --preset NAME", "; budget-cli fields shows the options that place its fields")
    )
    assert ("fields shows" in message) is (width == 200)


DOUBTED = [  # what a record holds, the options that a refusal names, and what it says of them
    ({"qid": "q{p}", "outcome": "{k}"}, "prompt_id=qid --field reward=outcome", "reward may be another"),
    (
        {"qid": "q{p}", "reward_a": "{k}", "reward_b": "{k}.5"},
        "prompt_id=qid --field reward=reward_a",
        "reward may be another (or reward=reward_b)",
    ),
    (
        {"question": "is {i} odd", "score": "{k}"},
        "'prompt_id=digest(question)' --field reward=score",
        "prompt_id may be another",
    ),
    (
        {"question": "is {i} odd", "outcome": "{k}"},
        "'prompt_id=digest(question)' --field reward=outcome",
        "prompt_id and reward may be another",
    ),
]


@pytest.mark.parametrize(("record", "named", "doubt"), DOUBTED, ids=[each[2] for each in DOUBTED])
def test_a_refusal_says_after_the_options_what_is_only_possible(record: dict[str, str], named: str, doubt: str) -> None:
    def value(key: str, text: str, i: int) -> Any:
        filled = text.format(i=i, p=i // 4, k=i % 2)
        return filled if key in ("qid", "question") else float(filled)

    records = [{key: value(key, text, i) for key, text in record.items()} for i in range(16)]
    dump = b"".join(json.dumps(each).encode() + b"\n" for each in records)
    refused = run(*REWARD_ONLY, stdin=dump)
    assert refused.returncode == 2
    assert last_line(refused).endswith(f"; give --field {named}, though {doubt}, or --preset NAME")
    assert run(*REWARD_ONLY, "--field", *shlex.split(named), stdin=dump).returncode == 0


def test_if_two_presets_fit_the_user_must_choose() -> None:
    known = presets.load()
    record = {"rollout_id": "r", "prompt": "p", "response": "a", "reward": 1.0, "gen_step": 1, "completion": "a"}
    with pytest.raises(UsageProblem) as caught:
        presets.choose([record], known)
    assert str(caught.value) == (
        "these records fit agent-lightning and ms-swift-ray: name one, as in --preset agent-lightning"
    )


TOKENIZER = (
    ", or --tokenizer path/to/tokenizer.json in place of --budget-penalty-coef 0 to count the tokens of the responses"
)
UNMAPPED = [
    (
        "areal",
        ("-B", "10"),
        "this areal dump has no log_prob and no old_log_prob: give --kl-coef 0 to do without",
        ["log_prob", "old_log_prob"],
    ),
    (
        "verl-v1",
        ("-B", "10", "--kl-coef", "0"),
        f"this verl-v1 dump has no response_length: give --budget-penalty-coef 0 to do without{TOKENIZER}",
        ["response_length"],
    ),
    (
        "verl-v1",
        ("-B", "10"),
        "this verl-v1 dump has no log_prob and no old_log_prob and no response_length:"
        f" give --kl-coef 0 --budget-penalty-coef 0 to do without{TOKENIZER}",
        ["log_prob", "old_log_prob", "response_length"],
    ),
    (
        "nemo-rl",
        ("-B", "10"),
        "this nemo-rl dump has no old_log_prob: give --kl-coef 0 to do without",
        ["old_log_prob"],
    ),
]


@pytest.mark.parametrize(("name", "options", "message", "unmapped"), UNMAPPED)
def test_a_field_that_the_coefficients_need_and_the_dump_lacks_is_reported_with_both_remedies(
    name: str, options: tuple[str, ...], message: str, unmapped: list[str]
) -> None:
    done = run(dump(name), *options)
    ways = "".join(f" --field {field}=PATH" for field in unmapped)
    assert (done.returncode, done.stdout) == (2, b"")
    assert last_line(done) == f"budget-cli: {message}, or{ways}"


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", [name for name in EXPECTED if EXPECTED[name].lengths])
def test_a_budget_needs_no_length_beside_log_probabilities_by_token(name: str) -> None:
    expected = EXPECTED[name]
    kl_coef = "0.1" if expected.log_ratios else "0"
    files = [dump(name), *(DUMPS / file for file in expected.also)]
    grouping = ("--group-size", str(expected.group_size)) if expected.group_size else ()
    answer = of_json(run(*files, "-B", "3", "--kl-coef", kl_coef, *grouping, "-f", "json"))
    assert answer["over_budget"]["responses"] == sum(length > 3 for length in expected.lengths or [])


def test_columns_that_the_user_adds_to_a_dump_by_their_canonical_names_are_read(tmp_path: Path) -> None:
    path = tmp_path / "12.jsonl"
    added = [{"response_length": n, "log_prob": -1.0, "old_log_prob": -0.5} for n in (2, 4, 2, 5, 1)]
    lines = [json.loads(line) for line in dump("verl-v1").read_text(encoding="utf-8").splitlines()]
    path.write_text("".join(json.dumps(a | b) + "\n" for a, b in zip(lines, added, strict=True)), encoding="utf-8")
    answer = of_json(run(path, "-B", "3", "-f", "json"))
    assert (answer["length"]["max"], answer["over_budget"]["responses"], answer["kl"]["k1"]) == (5, 2, -0.5)


def test_a_dump_of_rewards_by_function_needs_their_weights() -> None:
    done = run(dump("ms-swift"), *REWARD_ONLY)
    assert done.returncode == 2
    assert "this ms-swift dump has no reward: give " in last_line(done)
    done = run(dump("ms-swift"), *REWARD_ONLY, "--preset", "ms-swift", "--field", WEIGHTED, "-f", "json")
    assert of_json(done)["loss"] == 0.25


def test_log_probabilities_that_the_reference_has_not_given_yet_are_missing_and_not_zero() -> None:
    done = run(dump("pipeline-rl"), "--budget-penalty-coef", "0", "-f", "json")
    assert done.returncode == 1
    records = json.loads(done.stdout)["records"]
    assert records == {"read": 2, "used": 0, "rejected": 2, "blank": 0, "skipped": 0, "left_out": 0}
    assert "old_log_prob (ref_logprobs || `null`)" in done.stderr.decode()


# ---- what no preset reads: the options that a refusal names

REFUSED: list[tuple[str, Any, str, tuple[str, ...], float]] = [  # name, content, the refusal, what it names, the loss
    (
        "graded.jsonl",
        [{"problem_id": 1, "scalar_reward": r, "mean_reward": 0.5, "task": "a"} for r in (1, 0)],
        "give --field prompt_id=problem_id --field reward=scalar_reward, or --preset NAME",
        ("--field", "prompt_id=problem_id", "--field", "reward=scalar_reward"),
        0.25,
    ),
    (
        "judged.jsonl",
        [{"idx": 1, "question": "a", "score": [True, False], "pred_score": [[0.5], [1.5]]}],
        "give --field prompt_id=idx --field 'rewards=number(score)', or --preset NAME",
        ("--field", "prompt_id=idx", "--field", "rewards=number(score)"),
        0.25,
    ),
    (
        "rollouts.json",
        [{"puzzle_id": "p", "rollouts": [{"text": "a", "reward": 1.0}, {"text": "b", "reward": 0.0}]}],
        "a JSON document with a list of 1 records: give --field prompt_id=puzzle_id"
        " --field 'rewards=rollouts[*].reward', or --preset NAME",
        ("--field", "prompt_id=puzzle_id", "--field", "rewards=rollouts[*].reward"),
        0.25,
    ),
    (
        "outputs.json",
        {"run": 4, "outputs": [{"qid": "p", "correct": True}, {"qid": "p", "correct": False}]},
        "a JSON document with a list of 2 records: give --field prompt_id=qid --field 'reward=number(correct)',"
        " or --preset NAME",
        ("--field", "prompt_id=qid", "--field", "reward=number(correct)"),
        0.25,
    ),
]


@pytest.mark.parametrize(
    ("name", "content", "message", "named", "expected"), REFUSED, ids=[each[0] for each in REFUSED]
)
def test_a_refusal_names_the_options_that_read_the_dump(
    name: str, content: Any, message: str, named: tuple[str, ...], expected: float, tmp_path: Path
) -> None:
    path = tmp_path / name
    as_lines = name.endswith("l")
    text = "".join(json.dumps(each) + "\n" for each in content) if as_lines else json.dumps(content, indent=2)
    path.write_text(text, encoding="utf-8")
    done = run(path, *REWARD_ONLY)
    assert (done.returncode, done.stdout) == (2, b"")
    assert last_line(done).endswith(message)
    answer = of_json(run(path, *REWARD_ONLY, *named, "-f", "json"))
    assert (answer["loss"], answer["responses"]) == (expected, 2)


def test_lists_within_a_document_are_read_with_the_options_that_the_refusal_names(tmp_path: Path) -> None:
    tasks = {name: [{"task_id": name, "base_status": status}] for name, status in (("a", "pass"), ("b", "fail"))}
    for indent in (None, 2):
        path = tmp_path / "eval_results.json"
        path.write_text(json.dumps({"date": "2024-07-03", "eval": tasks}, indent=indent), encoding="utf-8")
        assert last_line(run(path, *REWARD_ONLY)).endswith(
            """give --field prompt_id=task_id --field "reward=number(base_status == 'pass')", or --preset NAME"""
        )
        given = ("--field", "prompt_id=task_id", "--field", "reward=number(base_status == 'pass')")
        assert of_json(run(path, *REWARD_ONLY, *given, "-f", "json"))["reward"]["mean"] == 0.5


@pytest.mark.parametrize(
    ("record", "what"),
    [
        ({"line": 1, "offset": 0, "id": "e", "trace_ids": ["t"], "reward": 1.0, "chunk": 0}, "prime-rl's index of its"),
        ({"version": 1, "trace_id": "t", "info": {}, "branches": []}, "prime-rl's annotations of its episodes"),
        ({"sample_index": 1, "response_length": 2, "rollout_log_probs": [-1.0]}, "columns of miles, whose rewards are"),
    ],
)
def test_a_file_beside_a_dump_is_not_proposed_as_one(record: dict[str, Any], what: str) -> None:
    done = run(*REWARD_ONLY, stdin=json.dumps(record).encode())
    assert (done.returncode, done.stdout) == (2, b"")
    assert f"this is no dump but {what}" in last_line(done)


@pytest.mark.parametrize(
    "record",
    [
        {"is_validation": False, "group_id": 0, "rollout_id": 0, "reward": 1.0, "reward_breakdown": {}, "turns": []},
        {"group_id": 0, "selection_type": "best", "total_reward": 1.0},
    ],
)
def test_a_choice_of_the_rollouts_is_read_only_where_the_user_says_that_it_is_none(record: dict[str, Any]) -> None:
    reward = "reward=reward" if "reward" in record else "reward=total_reward"
    done = run(*REWARD_ONLY, stdin=json.dumps(record).encode())
    assert done.returncode == 2
    assert last_line(done).endswith(
        f"so no loss over these is the trainer's; if yours kept all, give --field prompt_id=group_id --field {reward}"
    )
    given = ("--field", "prompt_id=group_id", "--field", reward)
    assert of_json(run(*REWARD_ONLY, *given, "-f", "json", stdin=json.dumps(record).encode()))["responses"] == 1


def test_a_dump_without_any_trace_of_the_prompt_needs_the_size_of_the_groups() -> None:
    done = run(dump("nemo-rl-without-tokens"), *REWARD_ONLY)
    assert done.returncode == 2
    assert last_line(done) == (
        "budget-cli: this nemo-rl-without-tokens dump has no prompt_id: give --group-size N, the responses to a prompt"
        " one after another, or --field prompt_id=PATH"
    )


def test_lists_of_log_probs_that_are_all_empty_are_none_and_cost_nothing_where_none_is_needed(tmp_path: Path) -> None:
    path = tmp_path / "rollouts.jsonl"
    lines = dump("nemo-gym").read_text(encoding="utf-8").splitlines()
    for i in (0, 3):  # as an agent wrote them that kept no tokens
        record = json.loads(lines[i])
        for item in record["response"]["output"]:
            item |= {"generation_log_probs": []} if "generation_log_probs" in item else {}
        lines[i] = json.dumps(record)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert loss([path])[1].loss == loss([dump("nemo-gym")])[1].loss
    done = run(path, "--budget-penalty-coef", "0", "--field", "old_log_prob=response.output[].generation_log_probs")
    assert "2 records of 4 rejected" in done.stdout.decode()
    assert "log_prob (response.output[].generation_log_probs)" in done.stdout.decode()


def test_a_uid_that_all_responses_to_a_prompt_share_is_not_taken_for_that_of_a_session(tmp_path: Path) -> None:
    path = tmp_path / "12.jsonl"
    for uid in ("5c0a9f3e-1d2b-4f7e", "algebra_17"):
        rows = [{"uid": uid, "input": "q", "output": "a", "score": score, "step": 1} for score in (1.0, 0.0)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        name, answer = loss([path])
        assert (name, answer.prompts, answer.responses, answer.loss) == ("verl-uid", 1, 2, 0.25)


def test_a_pointer_of_git_lfs_is_named_as_such(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 7\n", encoding="utf-8")
    done = run(path, *REWARD_ONLY)
    assert done.returncode == 3
    assert "a pointer of Git LFS in place of the file: `git lfs pull` fetches it" in done.stderr.decode()


# ---- presets by name, and one's own


def test_an_unknown_preset_is_refused_with_the_nearest_name_or_all_names() -> None:
    done = run(dump("areal"), *REWARD_ONLY, "--preset", "arael")
    there = ", ".join(EXPECTED)
    assert done.returncode == 2
    assert last_line(done) == "budget-cli: --preset: unknown preset 'arael' (did you mean areal?)"
    done = run(dump("areal"), *REWARD_ONLY, "--preset", "zzz")
    expected = f"budget-cli: --preset: unknown preset 'zzz'; expected one of {there}"
    assert last_line(done)[:400] == expected[:400]  # a message is cut at some length


OWN = """
[house]
detect = ["prompt.id", "grade"]
prompt_id = "prompt.id"
reward = "grade"
response_length = "length(tokens)"
"""
OWN_RECORDS = [{"prompt": {"id": 1}, "grade": grade, "tokens": [0] * n} for grade, n in [(1.0, 4), (0.0, 2)]]


@pytest.mark.parametrize("naming", [(), ("--preset", "house")], ids=["detected", "named"])
def test_a_preset_of_the_user_works_like_a_built_in_one(naming: tuple[str, ...], tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(OWN, encoding="utf-8")
    records = b"".join(json.dumps(record).encode() + b"\n" for record in OWN_RECORDS)
    done = run("-B", "3", "--kl-coef", "0", "--presets", own, *naming, "-f", "json", stdin=records)
    answer = of_json(done)
    assert (answer["prompts"], answer["responses"], answer["length"]["max"]) == (1, 2, 4)
    assert done.stderr.decode() == (
        "budget-cli: <stdin>: reading as house: prompt_id←prompt.id, reward←grade, response_length←length(tokens)\n"
    )


def test_a_preset_of_the_user_replaces_the_built_in_one_of_that_name(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text('[areal]\ndetect = ["task_id"]\nprompt_id = "task_id"\nreward = "seqlen"\n', encoding="utf-8")
    known = presets.load([str(own)])
    assert known["areal"].places == (("prompt_id", "task_id"), ("reward", "seqlen"))
    assert known["areal"].source == str(own)
    assert set(known) == set(EXPECTED)


def test_a_preset_without_detect_is_used_only_by_name(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text('[house]\nprompt_id = "question"\nreward = "grade"\n', encoding="utf-8")
    record = b'{"question": "a", "grade": 1}\n'
    assert run(*REWARD_ONLY, "--presets", own, stdin=record).returncode == 2
    assert of_json(run(*REWARD_ONLY, "--presets", own, "--preset", "house", "-f", "json", stdin=record))["prompts"] == 1


WRONG = [
    ("a = 1", "[a]: expected a table, found 1"),
    ('[x]\nrewrd = "a"', "[x]: unknown key 'rewrd' (did you mean reward?)"),
    ('[x]\nprompt = "a"', "[x]: unknown key 'prompt' (did you mean prompt_id, prompt_text or prompt_length?)"),
    (
        '[x]\nzzz = "a"',
        "[x]: unknown key 'zzz'; expected one of source, detect, unless, document, records, group, per_file, skips,"
        " leave_out, prompt_id, reward, log_prob, old_log_prob, response_length, prompt_text, response_text,"
        " finish_reason, step, advantage",
    ),
    ('[x]\ngroup = "lines"', "[x]: group: expected line or file, found 'lines'"),
    ('[x]\ndetect = "uid"', "[x]: detect: expected a list of paths, found 'uid'"),
    ("[x]\nunless = [1]", "[x]: unless: expected a list of paths, found [1]"),
    ("[x]\nreward = 1", "[x]: reward: expected a path or an expression, found 1"),
    (
        '[x]\nreward = "a("',
        "[x]: reward: expression 'a(': neither a dotted path nor JMESPath: Invalid jmespath expression",
    ),
    (
        '[x]\nreward = "wieghted(a)"',
        "[x]: reward: expression 'wieghted(a)': unknown function 'wieghted'; expected one of ",
    ),
    ('[x]\ndetect = ["a..b"]', "[x]: detect: path 'a..b': expected keys joined by dots"),
    ('[x]\nprompt_id = "a[].b"', "[x]: prompt_id: a prompt id is a single value, so its path cannot contain []"),
    ('[x]\nrecords = "a..b[]"', "[x]: records: path 'a..b[]': expected keys joined by dots"),
    ("[x]\nrecords = 5", "[x]: records: expected a path or an expression, found 5"),
    ("[x]\nsource = []", "[x]: source: expected a text, found []"),
    ('[x]\nskips = "no"', "[x]: skips: expected true or false, found 'no'"),
    ("[x]\ndocument = 1", "[x]: document: expected true or false, found 1"),
    ("[x]\nper_file = 0", "[x]: per_file: expected true or false, found 0"),
    ('[x]\nstep = "a..b"', "[x]: step: path 'a..b': expected keys joined by dots"),
    ('[x]\nfinish_reason = "' + "[" * 300 + "a" + "]" * 300 + '"', "[x]: finish_reason: expression '[[["),
    ('[x]\nreward = "' + "|".join(["[a, a]"] * 30) + '"', "[x]: reward: expression '[a, a]|"),
    ("[x]\nreward = 0x" + "f" * 9000, "[x]: reward: expected a path or an expression, found a value that cannot be"),
    ("x = " + "[" * 3000, "not TOML: nested too deeply"),
    ("x = " + "9" * 5000, "not TOML: Exceeds the limit (4300 digits)"),
    ("#" * (1 << 20) + "#", "cannot be read: larger than 1,048,576 bytes"),
    ("a." * 40_000 + "a = 1", "not TOML: a key of more than 64 parts"),
    ("[x\n", "not TOML: Expected ']' at the end of a table declaration (at line 1, column 3)"),
]


@pytest.mark.exhaustive
@pytest.mark.parametrize(("text", "message"), WRONG)
def test_a_mistake_in_a_file_of_presets_is_reported_before_anything_is_read(
    text: str, message: str, tmp_path: Path
) -> None:
    own = tmp_path / "own.toml"
    own.write_text(text, encoding="utf-8")
    with pytest.raises(UsageProblem) as caught:
        presets.load([str(own)])
    assert str(caught.value).startswith(f"--presets {own}: {message}")


def test_a_missing_file_of_presets_is_a_usage_error(tmp_path: Path) -> None:
    own = tmp_path / "none.toml"
    done = run(dump("areal"), *REWARD_ONLY, "--presets", own)
    assert done.returncode == 2
    assert last_line(done) == f"budget-cli: --presets {own}: cannot be read: No such file or directory"
