"""If this fails, a program that checks our JSON by its schema refuses it, or a name that we write is in no schema."""

import json
from pathlib import Path
from typing import Any

import pytest
import schemas
from command import Run
from pages import ROOT

jsonschema = pytest.importorskip("jsonschema", reason="results are held against their schemas by jsonschema")
Draft202012Validator = jsonschema.Draft202012Validator

SAMPLE, DAMAGED = ROOT / "sample_data" / "rollouts.jsonl", ROOT / "sample_data" / "damaged.jsonl"
STEPS = ROOT / "sample_data" / "steps"
BUDGET = ("-B", "1024")
FREE = ("--beta", "0", "--kl-coef", "0")
TRAINER = ROOT / "tests" / "trainer"
ALL = schemas.schemas()


def strict(schema: Any) -> Any:
    """The schema without the promise that names may be added: each name that is written has to be in it."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {
        name: {key: strict(each) for key, each in value.items()} if name in ("properties", "$defs") else strict(value)
        for name, value in schema.items()
    }
    return {"additionalProperties": False, **inner} if "properties" in inner else inner


STRICT = {name: Draft202012Validator(strict(schema)) for name, schema in ALL.items()}


def problems(name: str, document: Any) -> list[str]:
    return [f"{error.json_path}: {error.message[:200]}" for error in STRICT[name].iter_errors(document)]


RUNS: list[tuple[str, tuple[object, ...]]] = [
    ("loss", (SAMPLE, *BUDGET, "--per-prompt", "--fail-if", "loss < 0")),
    ("loss", (DAMAGED, *BUDGET)),
    ("loss", (STEPS, *BUDGET, "--by", "step,finish_reason", "--fail-if", "loss > 0.1", "--each", "--precision", "17")),
    ("loss", (SAMPLE, *BUDGET, "--objective", "dr-grpo", "--set", "penalty=capped", "--set", "cap=100", "--top", "1")),
    ("loss", ("/dev/null", *BUDGET)),
    ("loss", (TRAINER / "verifiers_failed.jsonl", *FREE)),
    ("loss", (TRAINER / "overlong_applied.jsonl", "-B", "3", "--kl-coef", "0")),
    ("check", (SAMPLE, *BUDGET, "--text", "--duplicate-keys")),
    ("check", (DAMAGED, *BUDGET)),
    ("check", (STEPS, *BUDGET, "--by", "step")),
    ("check", (TRAINER / "own_names.jsonl", "--field", "prompt_id=qid", "--field", "reward=total_score", *FREE)),
    ("check", (TRAINER / "nemo_rl_unfilled.jsonl", *FREE)),
    ("sweep", (SAMPLE, "-B", "512,1024", "--beta", "0,0.01")),
    ("sweep", (STEPS, "-B", "512,1024", "--beta", "0,0.01", "--all-numbers", "--by", "step")),
    ("sweep", (SAMPLE, "--max-response-length", "1280", "--overlong-buffer", "256")),
    ("sweep", (DAMAGED, "-B", "512")),
    ("suggestion", (SAMPLE, "--suggest")),
    ("compare", (STEPS / "41.jsonl", STEPS / "44.jsonl", *BUDGET, "--fail-if", "loss.delta > 0", "--by", "step")),
    ("compare", (STEPS / "41.jsonl", DAMAGED, *BUDGET)),
    ("show", (SAMPLE, *BUDGET, "--top", "2")),
    ("show", (TRAINER / "nemo_gym_log_probs.jsonl", "--beta", "0", "--kl-coef", "0")),
    ("fields", (SAMPLE,)),
    ("fields", (TRAINER / "own_names.jsonl",)),
]


@pytest.mark.parametrize(("name", "arguments"), RUNS)
def test_what_a_command_writes_fits_its_schema(budget_cli: Run, name: str, arguments: tuple[Any, ...]) -> None:
    command = {"suggestion": "sweep"}.get(name, name)
    done = budget_cli(command, *map(str, arguments), "-f", "json")
    assert done.returncode in (0, 1), done.stderr.decode()
    assert problems(name, json.loads(done.stdout)) == []


@pytest.mark.parametrize("path", sorted((ROOT / "tests" / "dumps").iterdir()), ids=lambda path: path.name)
def test_the_results_of_every_dump_fit(budget_cli: Run, path: Path) -> None:
    for name, more in (("fields", ()), ("loss", FREE), ("check", FREE), ("show", FREE)):
        done = budget_cli(name, str(path), *more, "-f", "json")
        if done.returncode != 2:  # as with rewards by function, which need weights
            assert done.stdout, done.stderr
            assert problems(name, json.loads(done.stdout)) == []


def test_records_with_their_terms_and_the_head_of_a_summary_fit(budget_cli: Run) -> None:
    arrays = ROOT / "sample_data" / "rollouts_arrays.jsonl"
    for path in (SAMPLE, arrays):
        for line in budget_cli("annotate", path, *BUDGET).stdout.splitlines():
            assert problems("annotated", json.loads(line)) == []
    for path in (SAMPLE, DAMAGED, STEPS, TRAINER / "verifiers_failed.jsonl"):
        needs = FREE if path.parent == TRAINER else ()
        for own in ((), ("--objective", "dr-grpo", "--set", "penalize=correct")):
            head, *_ = budget_cli("summarize", path, *BUDGET, *needs, *own).stdout.splitlines()
            assert problems("summary", json.loads(head)) == []


@pytest.mark.parametrize("name", ALL)
def test_a_schema_is_one_and_allows_names_that_will_be_added(name: str) -> None:
    Draft202012Validator.check_schema(ALL[name])
    assert "additionalProperties" not in ALL[name] or ALL[name]["additionalProperties"] is True


def test_a_sweep_of_budgets_of_their_own_fits(budget_cli: Run, tmp_path: Path) -> None:
    dump = tmp_path / "own.jsonl"
    record = {"prompt_id": "p", "reward": 1.0, "log_prob": -1.0, "old_log_prob": -1.0, "response_length": 9, "own": 5}
    dump.write_text(json.dumps(record) + "\n" + json.dumps(record | {"reward": 0.0}) + "\n")
    done = budget_cli("sweep", dump, "--set", "budget_field=own", "--budget-factor", "0.5,1", "-f", "json")
    assert problems("sweep", json.loads(done.stdout)) == []
    lines = budget_cli("sweep", SAMPLE, "-B", "512,1024", "--beta", "0.01", "-f", "jsonl").stdout.splitlines()
    cell = Draft202012Validator(strict(ALL["sweep"]["$defs"]["cell"]))
    assert [list(cell.iter_errors(json.loads(line))) for line in lines] == [[], []]


def test_a_result_that_lacks_a_name_or_has_another_type_does_not_fit(budget_cli: Run) -> None:
    result = json.loads(budget_cli("loss", SAMPLE, *BUDGET, "-f", "json").stdout)
    assert problems("loss", result) == []
    del result["kl"]["k3"]
    result["groups"]["phantom"] = "one"
    assert sorted(problems("loss", result)) == [
        "$.groups.phantom: 'one' is not of type 'integer', 'null'",
        "$.kl: 'k3' is a required property",
    ]
