"""If this fails, `budget-cli loss` gives a wrong number, verdict or exit code."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from command import LossJson, Run
from samples import GOOD, lines

WORKED = [  # rewards, log_probs, old_log_probs, response_lengths, kl_coef, budget_penalty_coef, loss
    ([[1.0, 0.5]], [[-1.0, -1.5]], [[-1.2, -1.3]], [[150, 80]], 0.1, 0.01, 0.0004),
    ([[1.0, 2.0]], [[-0.5, -0.8]], [[-0.5, -0.8]], [[50, 60]], 0.1, 0.01, 0.25),
    (
        [[1.0, 0.5], [0.8, 1.2]],
        [[-1.0, -1.2], [-0.8, -0.9]],
        [[-1.1, -1.1], [-0.7, -1.0]],
        [[120, 80], [90, 110]],
        0.05,
        0.02,
        0.0055,
    ),
]

CONTRACT = {
    "": (
        "schema",
        "status",
        "loss",
        "aggregate",
        "coefficients",
        "prompts",
        "responses",
        "reward",
        "adjusted_reward",
        "advantage",
        "kl",
        "length",
        "over_budget",
        "groups",
        "records",
        "rejections",
        "gates",
    ),
    "coefficients": ("token_budget", "budget_penalty_coef", "kl_coef"),
    "reward": ("mean", "std", "min", "max"),
    "adjusted_reward": ("mean", "std"),
    "advantage": ("mean_square", "budget_share"),
    "kl": ("k1", "k2", "k3", "r2"),
    "length": ("mean", "min", "p50", "p90", "p99", "max"),
    "over_budget": ("responses", "fraction", "excess_tokens", "excess_mean"),
    "groups": ("size", "singletons", "doubled", "zero_variance", "zero_variance_adjusted", "phantom"),
    "groups.size": ("min", "mean", "max"),
    "records": ("read", "used", "rejected", "blank"),
}


def at(answer: dict[str, Any], path: str) -> Any:
    for name in filter(None, path.split(".")):
        answer = answer[name]
    return answer


@pytest.mark.parametrize(("rewards", "log_probs", "old", "lengths", "alpha", "beta", "loss"), WORKED)
@pytest.mark.parametrize("arrays", [True, False])
def test_the_worked_examples_hold(
    loss_json: LossJson,
    rewards: Any,
    log_probs: Any,
    old: Any,
    lengths: Any,
    alpha: float,
    beta: float,
    loss: float,
    arrays: bool,
) -> None:
    prompts = zip(rewards, log_probs, old, lengths, strict=True)
    if arrays:
        names = ("rewards", "log_probs", "old_log_probs", "response_lengths")
        data = lines(({"prompt_id": i, **dict(zip(names, row, strict=True))} for i, row in enumerate(prompts)))
    else:
        names = ("reward", "log_prob", "old_log_prob", "response_length")
        each = [(i, one) for i, row in enumerate(prompts) for one in zip(*row, strict=True)]
        data = lines(({"prompt_id": i, **dict(zip(names, one, strict=True))} for i, one in each))
    answer = loss_json("-B", "100", "--kl-coef", str(alpha), "--budget-penalty-coef", str(beta), stdin=data)
    assert answer["loss"] == loss
    assert answer["prompts"] == len(rewards)
    assert answer["coefficients"] == {"token_budget": 100, "budget_penalty_coef": beta, "kl_coef": alpha}


def test_the_json_has_all_names_of_the_contract(loss_json: LossJson, small: Path) -> None:
    answer = loss_json(small, "-B", "1000", "--fail-if", "loss < 0")
    for path, names in CONTRACT.items():
        assert set(names) <= set(at(answer, path)), path
    assert answer["schema"] == "budget-cli/loss/1"
    assert answer["status"] == "pass"
    assert answer["gates"] == [{"expression": "loss < 0", "value": answer["gates"][0]["value"], "passed": True}]
    (rejection,) = loss_json("-B", "1", stdin=lines([{**GOOD, "reward": None}]), exits=1)["rejections"]
    assert {"source", "line", "column", "code", "field", "message"} <= set(rejection)


def test_without_coefficients_missing_numbers_are_null(loss_json: LossJson) -> None:
    data = lines([{"prompt_id": 1, "reward": 1}, {"prompt_id": 1, "reward": 0}])
    answer = loss_json("--beta", "0", "--alpha", "0", stdin=data)
    assert answer["loss"] == 0.25
    for path in ("coefficients.token_budget", "kl.k1", "kl.k2", "kl.k3", "length.mean", "over_budget.fraction"):
        assert at(answer, path) is None, path


def test_precision_rounds_the_output_but_not_the_numbers_of_gates(loss_json: LossJson, small: Path) -> None:
    whole = loss_json(small, "-B", "1000", "--precision", "17")["loss"]
    for places in (0, 2, 6):
        answer = loss_json(small, "-B", "1000", "--precision", str(places), "--fail-if", "loss < 0")
        assert answer["loss"] == round(whole, places)
        assert answer["gates"][0]["value"] == whole


def test_the_mean_over_prompts_weighs_every_prompt_equally(loss_json: LossJson) -> None:
    two = [{**GOOD, "reward": reward, "response_length": 1, "old_log_prob": -1} for reward in (0, 1)]
    data = lines([*two, *two, {**GOOD, "prompt_id": "q", "old_log_prob": -1, "response_length": 1}])
    assert loss_json("-B", "9", stdin=data)["loss"] == 0.2
    assert loss_json("-B", "9", "--aggregate", "prompt", stdin=data)["loss"] == 0.125


def test_per_prompt_numbers_are_the_same_in_every_format(budget_cli: Run, loss_json: LossJson, small: Path) -> None:
    wanted = loss_json(small, "-B", "1000", "--per-prompt")["per_prompt"]
    assert len(wanted) == 37
    table = budget_cli("loss", small, "-B", "1000", "--per-prompt", "--format", "csv").stdout.decode()
    rows = list(csv.DictReader(io.StringIO(table)))
    assert [row["prompt_id"] for row in rows] == [prompt["prompt_id"] for prompt in wanted]
    assert [float(row["loss"]) for row in rows] == [prompt["loss"] for prompt in wanted]
    markdown = budget_cli("loss", small, "-B", "1000", "--per-prompt", "-f", "markdown").stdout.decode().splitlines()
    assert markdown[0].split(" | ")[:3] == ["| prompt\\_id", "responses", "loss"]
    assert [line.split(" | ")[2] for line in markdown[2:]] == [str(prompt["loss"]) for prompt in wanted]
    screen = budget_cli("loss", small, "-B", "1000", "--per-prompt").stdout.decode()
    assert "and 17 more: --format csv or json has them all" in screen
    largest = max(wanted, key=lambda prompt: prompt["loss"])
    assert f"\n{largest['prompt_id']} " in screen


def test_csv_and_markdown_have_the_numbers_of_the_json(budget_cli: Run, loss_json: LossJson, small: Path) -> None:
    wanted = loss_json(small, "-B", "1000")
    (row,) = csv.DictReader(io.StringIO(budget_cli("loss", small, "-B", "1000", "-f", "csv").stdout.decode()))
    assert row.pop("status") == "pass"
    assert row.pop("aggregate") == "response"
    assert {name: float(cell) if cell else None for name, cell in row.items()} == {
        name: at(wanted, name) for name in row
    }
    markdown = budget_cli("loss", small, "-B", "1000", "-f", "markdown").stdout.decode()
    assert f"| over\\_budget.fraction | {wanted['over_budget']['fraction']} |\n" in markdown


@pytest.mark.parametrize(
    ("gate", "passes"),
    [
        ("loss > 1e9", True),
        ("loss < 1e9", False),
        ("responses != 60", True),
        ("responses == 60", False),
        ("responses >= 61", True),
        ("responses>=60", False),
        ("records.rejected > 0", True),
    ],
)
def test_a_gate_decides_the_exit_code_and_nothing_else(budget_cli: Run, small: Path, gate: str, passes: bool) -> None:
    done = budget_cli("loss", small, "-B", "1000", "-f", "json", "--fail-if", gate)
    answer = json.loads(done.stdout)
    assert done.returncode == (0 if passes else 1)
    assert answer["status"] == ("pass" if passes else "fail")
    assert answer["gates"][0]["passed"] is passes
    assert answer["responses"] == 60
    assert (done.stderr.decode() == "") is passes


@pytest.mark.parametrize("gate", ["kl.k1 > 1e9", "kl.k1 < -1e9", "length.p99 > 4000", "kl.k1 != 0"])
def test_a_missing_number_fails_every_gate(loss_json: LossJson, gate: str) -> None:
    arguments = ("--beta", "0", "--alpha", "0", "--fail-if", gate)
    answer = loss_json(*arguments, stdin=b'{"prompt_id": 1, "reward": 1}\n', exits=1)
    assert answer["gates"] == [{"expression": gate, "value": None, "passed": False}]


def test_one_failing_gate_is_enough_to_fail(loss_json: LossJson, small: Path) -> None:
    answer = loss_json(small, "-B", "9", "--fail-if", "loss < 0", "--fail-if", "responses > 5", exits=1)
    assert [gate["passed"] for gate in answer["gates"]] == [True, False]


TWO_BAD_OF_FOUR = lines([GOOD]) + b"[]\n" + lines([GOOD]) + b'{"prompt_id": "p", "rew'

VERDICTS = [
    ((), 1),
    (("--max-errors", "1"), 1),
    (("--max-errors", "2"), 0),
    (("--max-errors", "49.9%"), 1),
    (("--max-errors", "50%"), 0),
    (("--allow-truncated-tail",), 1),
    (("--allow-truncated-tail", "--max-errors", "1"), 0),
]


@pytest.mark.parametrize(("arguments", "exits"), VERDICTS)
def test_tolerances_change_the_verdict_but_not_the_counts(
    loss_json: LossJson, arguments: tuple[str, ...], exits: int
) -> None:
    answer = loss_json("-B", "100", *arguments, stdin=TWO_BAD_OF_FOUR, exits=exits)
    assert answer["status"] == ("fail" if exits else "pass")
    assert answer["records"].items() >= {"read": 4, "used": 2, "rejected": 2, "blank": 0}.items()
    assert [(r["line"], r["code"]) for r in answer["rejections"]] == [(2, "not-an-object"), (4, "truncated-tail")]
    assert answer["responses"] == 2


@pytest.mark.parametrize(
    ("data", "arguments", "exits"),
    [
        (b"", (), 1),
        (b"", ("--allow-empty",), 0),
        (b"\n\n", (), 1),
        (b"\n\n", ("--allow-empty",), 0),
        (b"x\n", ("--max-errors", "1"), 1),
        (b"x\n", ("--max-errors", "1", "--allow-empty"), 0),
    ],
)
def test_no_usable_records_fail_unless_tolerated(
    loss_json: LossJson, data: bytes, arguments: tuple[str, ...], exits: int
) -> None:
    answer = loss_json("-B", "100", *arguments, stdin=data, exits=exits)
    assert answer["loss"] is None
    assert answer["responses"] == 0


def test_ten_rejections_are_listed_and_verbose_lists_all(budget_cli: Run) -> None:
    bad = b"x\n" * 14
    done = budget_cli("loss", "-B", "9", "-f", "json", stdin=bad)
    assert len(json.loads(done.stdout)["rejections"]) == 10
    assert "budget-cli: and 4 more rejected records (-v shows all)\n" in done.stderr.decode()
    screen = budget_cli("loss", "-B", "9", stdin=bad).stdout.decode()
    assert screen.count("\nrejected  <stdin>:") == 10
    assert "and 4 more (-v shows all)" in screen
    assert len(json.loads(budget_cli("loss", "-B", "9", "-f", "json", "-v", stdin=bad).stdout)["rejections"]) == 14


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        (("--top", "2"), ["c", "b"]),
        (("--sort", "length_mean"), ["b", "a", "c"]),
        (("--sort=-length_mean", "--top", "1"), ["c"]),
        (("--sort", "reward_std"), ["c", "a", "b"]),  # equal ones stay in the order of the input
        (("--per-prompt",), ["a", "b", "c"]),
    ],
)
def test_prompts_are_reported_in_the_order_that_is_asked_for(
    loss_json: LossJson, budget_cli: Run, options: tuple[str, ...], ids: list[str]
) -> None:
    made = [("a", 0, 20), ("a", 0, 20), ("b", 0, 30), ("b", 0, 40), ("c", 0, 10), ("c", 1, 10)]
    data = lines(
        [
            {**GOOD, "prompt_id": i, "reward": r, "response_length": n, "log_prob": -1, "old_log_prob": -1}
            for i, r, n in made
        ]
    )
    answer = loss_json("-B", "25", *options, stdin=data)
    assert [prompt["prompt_id"] for prompt in answer["per_prompt"]] == ids
    csv = budget_cli("loss", "-B", "25", *options, "-f", "csv", stdin=data).stdout.decode().splitlines()
    assert [line.split(",")[0] for line in csv[1:]] == ids


def test_an_unknown_number_of_prompts_is_refused_with_the_near_one(budget_cli: Run) -> None:
    done = budget_cli("loss", "no-such-file", "-B", "1", "--sort", "-length")
    assert done.returncode == 2
    assert done.stderr.decode().startswith("budget-cli: --sort -length: expected one of responses, loss, reward_mean,")
    assert done.stderr.decode().endswith("(did you mean length_max or length_mean?)\n")


def test_coefficients_that_nobody_gave_are_said_to_be_defaults(budget_cli: Run, small: Path, tmp_path: Path) -> None:
    def second(*options: str, budget: tuple[str, ...] = ("-B", "1000"), **environment: str) -> str:
        done = budget_cli("loss", small, *budget, *options, cwd=tmp_path, **environment)
        return str(done.stdout.decode().split("\n")[1])

    buffer = ("--max-response-length", "1200", "--overlong-buffer", "200")
    assert second(budget=buffer) == "B 1,000 tokens   β 0.005 per token   α 0.1 (default)"
    assert second() == "B 1,000 tokens   β 0.01 per token (default)   α 0.1 (default)"
    assert second("--beta", "0.01") == "B 1,000 tokens   β 0.01 per token   α 0.1 (default)"
    assert second(BUDGET_CLI_KL_COEF="0.1") == "B 1,000 tokens   β 0.01 per token (default)   α 0.1"
    (tmp_path / "budget-cli.toml").write_text("budget-penalty-coef = 0.01\nkl-coef = 0.1\n")
    assert second() == "B 1,000 tokens   β 0.01 per token   α 0.1"
