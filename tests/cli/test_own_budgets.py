"""If this fails, records with budgets of their own are held against another one, or against none."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

LossJson = Callable[..., dict[str, Any]]
# On paper, β = 0.01: a (budget 100) x = 0.8, 0 → A = ±0.4; b (budget 50) x = 0.9, −0.4 → A = ±0.65.
RECORDS = [("a", 1, 120, "math", 100), ("a", 0, 80, "math", 100), ("b", 1, 60, "chat", 50), ("b", 0, 90, "chat", 50)]
LOSS = (2 * 0.4**2 + 2 * 0.65**2) / 4
FIELD = ("--set", "budget_field=meta.budget")
LABELS = ("--set", "budget_by=task", "--set", "budgets.math=100", "--set", "budgets.chat=50")
REST = ("--alpha", "0", "--precision", "12")


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    path = tmp_path / "own.jsonl"
    names = ("prompt_id", "reward", "response_length", "task")
    records = [dict(zip(names, row, strict=False)) | {"meta": {"budget": row[4]}} for row in RECORDS]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


@pytest.mark.parametrize(
    "given",
    [FIELD, LABELS, ("--set", "budget_by=task", "--set", "budgets.math=100", "-B", "50")],
    ids=["field", "label", "-B for the rest"],
)
def test_every_response_is_held_against_its_own_budget(loss_json: LossJson, dump: Path, given: Sequence[str]) -> None:
    answer = loss_json(dump, *given, *REST)
    assert answer["loss"] == pytest.approx(LOSS, rel=1e-11)
    assert answer["over_budget"] == {
        "responses": 3, "fraction": 0.75, "excess_tokens": 70, "excess_mean": pytest.approx(70 / 3)
    }  # fmt: skip
    assert answer["coefficients"]["token_budget"] is None
    assert answer["groups"]["reordered"] is None


def test_the_same_from_a_summary_and_for_any_jobs(budget_cli: Any, loss_json: LossJson, dump: Path) -> None:
    summary = dump.with_name("own.summary")
    made = budget_cli("summarize", dump, *LABELS, "--alpha", "0", "-o", summary)
    assert made.returncode == 0, made.stderr
    whole = loss_json(dump, *LABELS, *REST)
    assert loss_json(summary, *LABELS, *REST) == whole
    assert loss_json(dump, *LABELS, *REST, "--jobs", "2") == whole
    refused = budget_cli("loss", summary, *FIELD, *REST)
    assert refused.returncode == 2
    assert b"summarize again with the same --objective, --set and -B" in refused.stderr


def test_a_label_without_a_budget_stops_the_run(budget_cli: Any, dump: Path) -> None:
    done = budget_cli("loss", dump, "--set", "budget_by=task", "--set", "budgets.math=100", *REST, "-f", "json")
    assert done.returncode == 3
    assert done.stderr.decode().splitlines()[-1] == (
        f"budget-cli: {dump}: a response to the prompt b: expected a label with a budget, found 'chat': give -B TOKENS"
        " for records without one"
    )


def test_a_sweep_multiplies_the_budgets(budget_cli: Any, dump: Path, loss_json: LossJson) -> None:
    done = budget_cli("sweep", dump, *FIELD, "--budget-factor", "0.5,1,1.5", *REST, "-f", "json")
    cells = json.loads(done.stdout)["cells"]
    assert [cell["coefficients"]["budget_factor"] for cell in cells] == [0.5, 1, 1.5]
    assert cells[1]["loss"] == loss_json(dump, *FIELD, *REST)["loss"]
    assert [cell["over_budget"]["fraction"] for cell in cells] == [1, 0.75, 0.25]
    refused = budget_cli("sweep", dump, "-B", "9", "--budget-factor", "1")
    assert refused.returncode == 2
    assert (
        b"--budget-factor: records have budgets of their own only by --set budget_field or budget_by" in refused.stderr
    )


def test_annotate_has_the_terms_of_each_budget(budget_cli: Any, dump: Path) -> None:
    lines = budget_cli("annotate", dump, *FIELD, "--alpha", "0").stdout.splitlines()
    terms = [json.loads(line)["budget_cli"] for line in lines]
    assert [each["penalty"] for each in terms] == pytest.approx([0.2, 0, 0.1, 0.4])
    assert [each["advantage"] for each in terms] == pytest.approx([0.4, -0.4, 0.65, -0.65])


def test_a_settings_file_has_them_as_a_table(
    budget_cli: Any, dump: Path, loss_json: LossJson, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = '[objective]\nbudget_by = "task"\nbudgets = { math = 100, chat = 50 }\n'
    (dump.parent / "budget-cli.toml").write_text(settings)
    done = budget_cli("loss", dump, *REST, "-f", "json", cwd=dump.parent)
    assert json.loads(done.stdout)["loss"] == pytest.approx(LOSS, rel=1e-11)


def test_a_response_without_a_budget_of_its_own_is_counted(budget_cli: Any, loss_json: LossJson, dump: Path) -> None:
    given = ("--set", "budget_by=task", "--set", "budgets.math=100", "-B", "50")
    said = "2 of 4 responses without a label with a budget in task: their budget is 50 tokens (-B)"
    assert loss_json(dump, *given, *REST)["warnings"] == [said]
    summary = dump.with_name("rest.summary")
    budget_cli("summarize", dump, *given, "--alpha", "0", "-o", summary)
    assert loss_json(summary, *given, *REST)["warnings"] == [said]


@pytest.mark.parametrize("place", ["bugdet", "task"])
def test_a_place_where_no_record_has_a_budget_is_refused(budget_cli: Any, dump: Path, place: str) -> None:
    refused = budget_cli("loss", dump, "--set", f"budget_field={place}", "-B", "50", *REST)
    assert refused.returncode == 2
    assert refused.stderr.decode() == (
        f"budget-cli: --set budget_field={place}: no record has a number there: correct it, or leave it out, as -B"
        " alone is the budget of all\n"
    )
