"""If this fails, `budget-cli sweep` contradicts its help: a wrong cell, conversion, exit code or message."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command import LossJson, Run

SAMPLE = Path(__file__).parents[2] / "sample_data" / "rollouts.jsonl"
GRID = ("-B", "512,1024", "--beta", "0,0.0001:0.1:log4", "--alpha", "0:0.5:3")
GOOD = {"prompt_id": "p", "reward": 1.0, "log_prob": -1.0, "old_log_prob": -1.5, "response_length": 120}


@pytest.fixture(scope="module")
def sweep_json(budget_cli: Run) -> Callable[..., dict[str, Any]]:
    """Return the JSON of `budget-cli sweep`, which must exit with the given code."""

    def run(*arguments: str | Path, stdin: bytes | None = None, exits: int = 0) -> dict[str, Any]:
        done = budget_cli("sweep", *arguments, "--format", "json", stdin=stdin)
        assert done.returncode == exits, done.stderr.decode()
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    return run


SweepJson = Callable[..., dict[str, Any]]


def flat(nested: dict[str, Any], above: str = "") -> dict[str, Any]:
    pairs: dict[str, Any] = {}
    for key, value in nested.items():
        pairs |= flat(value, f"{above}{key}.") if isinstance(value, dict) else {above + key: value}
    return pairs


def test_every_cell_of_the_sample_equals_the_json_of_loss(sweep_json: SweepJson, loss_json: LossJson) -> None:
    answer = sweep_json(SAMPLE, "-B", "512,1024", "--beta", "0,0.003", "--alpha", "0,0.1", "--all-numbers")
    assert (answer["schema"], answer["status"]) == ("budget-cli/sweep/1", "pass")
    assert answer["grid"] == {"token_budget": [512, 1024], "budget_penalty_coef": [0, 0.003], "kl_coef": [0, 0.1]}
    assert len(answer["cells"]) == 8
    for cell in answer["cells"]:
        budget, beta, alpha = cell["coefficients"].values()
        loss = loss_json(SAMPLE, "-B", str(budget), "--beta", str(beta), "--alpha", str(alpha))
        assert flat(cell).items() <= flat(loss).items()
        assert {"kl.k3", "length.p99", "groups.size.max", "records.used"} <= set(flat(cell))


def test_json_lines_csv_and_markdown_have_the_same_cells(budget_cli: Run, sweep_json: SweepJson) -> None:
    cells = [flat(cell) for cell in sweep_json(SAMPLE, *GRID)["cells"]]
    assert len(cells) == 30
    lines = budget_cli("sweep", SAMPLE, *GRID, "-f", "jsonl").stdout.splitlines()
    assert [flat(json.loads(line)) for line in lines] == cells
    table = list(csv.DictReader(io.StringIO(budget_cli("sweep", SAMPLE, *GRID, "-f", "csv").stdout.decode())))
    assert [{name: float(value) for name, value in row.items()} for row in table] == cells
    markdown = budget_cli("sweep", SAMPLE, *GRID, "-f", "markdown").stdout.decode().splitlines()
    header, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in markdown]
    names = [name.replace("\\", "") for name in header]
    assert [{n: float(v.replace("\\", "")) for n, v in zip(names, row, strict=True)} for row in rows] == cells


def test_coefficients_are_not_rounded(sweep_json: SweepJson) -> None:
    answer = sweep_json(SAMPLE, "-B", "1000", "--beta", "0.000012345678", "--precision", "2")
    assert answer["cells"][0]["coefficients"]["budget_penalty_coef"] == 0.000012345678
    assert answer["cells"][0]["loss"] == 0.14
    assert answer["budgets"][0]["half_share_coef"] == pytest.approx(0.00635, abs=1e-5)
    assert answer["budgets"][0]["half_share_coef"] != round(answer["budgets"][0]["half_share_coef"], 4)


def test_the_prompts_that_turn_phantom_are_named_once(sweep_json: SweepJson) -> None:
    budgets = sweep_json(SAMPLE, "-B", "300,512,1024,1280")["budgets"]
    assert [(b["token_budget"], b["phantom"], b["turns_phantom"]) for b in budgets] == [
        (300, 2, []),
        (512, 2, ["series-311"]),
        (1024, 1, ["geometry-203"]),
        (1280, 0, []),
    ]
    assert budgets[-1]["reorder_coef"] is budgets[-1]["half_share_coef"] is None


# ---- DAPO's terms


def test_an_overlong_buffer_is_reported_as_a_budget_and_a_beta(budget_cli: Run, sweep_json: SweepJson) -> None:
    buffer = ("--max-response-length", "1280", "--overlong-buffer", "256")
    plain = sweep_json(SAMPLE, "-B", "1024", "--beta", "0.00390625")
    answer = sweep_json(SAMPLE, *buffer)
    assert answer["cells"] == plain["cells"]
    assert plain["overlong"] is None
    assert answer["overlong"] == {
        "max_response_length": [1280],
        "overlong_buffer": 256,
        "overlong_penalty": [1],
        "token_budget": [1024],
        "budget_penalty_coef": [0.00390625],
    }
    done = budget_cli("sweep", SAMPLE, *buffer)
    assert done.stderr.decode() == (
        "budget-cli: overlong buffer of 256 tokens: B 1,024 tokens, β 0.00390625 per token"
        " (DAPO's penalty stays as it is above the maximum length, this one grows on; --objective dapo caps it)\n"
    )
    assert budget_cli("sweep", SAMPLE, *buffer, "-q").stderr == b""


def test_several_lengths_and_penalties_form_a_grid(sweep_json: SweepJson) -> None:
    buffer = ("--max-response-length", "1024,1280", "--overlong-buffer", "256", "--overlong-penalty", "0.5,1")
    assert sweep_json(SAMPLE, *buffer)["grid"] == {
        "token_budget": [768, 1024],
        "budget_penalty_coef": [0.5 / 256, 1 / 256],
        "kl_coef": [0.1],
    }


# ---- suggestions


def test_a_suggestion_reaches_the_requested_share(sweep_json: SweepJson, loss_json: LossJson) -> None:
    for share in ("0.1", "0.5"):
        answer = sweep_json(SAMPLE, "--suggest", "--share", share)
        assert (answer["schema"], answer["share"]) == ("budget-cli/suggestion/1", float(share))
        assert [one["percentile"] for one in answer["suggestions"]] == [50, 75, 90, 95, 99]
        for one in answer["suggestions"]:
            budget, beta = str(one["token_budget"]), repr(one["budget_penalty_coef"])
            loss = loss_json(SAMPLE, "-B", budget, "--beta", beta)
            assert loss["advantage"]["budget_share"] == float(share)
            assert loss["over_budget"]["responses"] == one["over"]
            assert loss["groups"]["phantom"] == one["phantom"]


def test_suggestions_work_on_a_pipe_and_leave_no_file_behind(budget_cli: Run, tmp_path: Path) -> None:
    for form in ("table", "json", "jsonl", "csv", "markdown"):
        named = budget_cli("sweep", SAMPLE, "--suggest", "-f", form)
        piped = budget_cli("sweep", "--suggest", "-f", form, stdin=SAMPLE.read_bytes(), TMPDIR=str(tmp_path))
        assert (piped.returncode, piped.stdout, piped.stderr) == (0, named.stdout, b"")
        assert list(tmp_path.iterdir()) == []


def test_a_summary_is_swept_at_its_budgets_but_allows_no_suggestions(
    budget_cli: Run, sweep_json: SweepJson, tmp_path: Path
) -> None:
    summary = tmp_path / "summary.jsonl"
    assert budget_cli("summarize", SAMPLE, "-B", "512,1024,1280", "-o", summary).returncode == 0
    assert sweep_json(summary, *GRID)["cells"] == sweep_json(SAMPLE, *GRID)["cells"]
    done = budget_cli("sweep", summary, "--suggest")
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.decode() == (
        "budget-cli: --suggest chooses its own budgets, but a summary answers only for those it was made with:"
        " give -B\n"
    )


def test_suggestions_need_no_log_probs(sweep_json: SweepJson) -> None:
    records = [{"prompt_id": 1, "reward": r, "response_length": n} for r, n in ((0, 100), (1, 300), (1, 200))]
    data = b"".join(json.dumps(record).encode() + b"\n" for record in records)
    assert sweep_json("--suggest", stdin=data)["suggestions"][0]["token_budget"] == 200


# ---- verdict and messages


def test_a_damaged_dump_fails_but_is_still_swept(budget_cli: Run, sweep_json: SweepJson) -> None:
    damaged = SAMPLE.with_name("damaged.jsonl")
    answer = sweep_json(damaged, *GRID, exits=1)
    assert (answer["status"], answer["records"]["rejected"], len(answer["rejections"])) == ("fail", 23, 10)
    done = budget_cli("sweep", damaged, "-B", "1024")
    assert done.returncode == 1
    assert done.stdout.decode().endswith("fail      23 records of 28 rejected\n")
    assert budget_cli("sweep", damaged, "-B", "1024", "--max-errors", "23").returncode == 0
    assert budget_cli("sweep", damaged, "--suggest").returncode == 1


def test_no_records_fail_with_a_grid_of_missing_numbers(sweep_json: SweepJson) -> None:
    answer = sweep_json(*GRID, stdin=b"", exits=1)
    assert {cell["loss"] for cell in answer["cells"]} == {None}
    assert sweep_json("--suggest", stdin=b"", exits=1)["suggestions"] == []


def test_numbers_that_overflow_a_double_fail(budget_cli: Run) -> None:
    data = b"".join(json.dumps({**GOOD, "reward": r}).encode() + b"\n" for r in (1e200, -1e200))
    done = budget_cli("sweep", "-B", "1", "-f", "csv", stdin=data)
    assert done.returncode == 1
    assert done.stderr.decode() == (
        "budget-cli: fail: the numbers are too large: their squares are beyond the range of a double\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give budgets (-B 512,1024), or --budget-penalty-coef 0 to do without; --suggest finds some"),
        (("-B", "x"), "--token-budget 'x': expected numbers separated by commas, a:b:n or a:b:logn, found 'x'"),
        (("-B", "1", "--beta", "0:1"), "--budget-penalty-coef '0:1': expected numbers separated by commas,"),
        (("-B", "1", "--kl-coef", ""), "--kl-coef '': expected numbers separated by commas,"),
        (("-B", "0:9999:10000", "--beta", "0:1:9999"), "a grid of 99,990,000 cells, expected at most 1,000,000"),
        (("--suggest", "-B", "1"), "--suggest chooses budgets and β itself: leave out -B, --beta and the overlong"),
        (("--overlong-buffer", "9"), "--max-response-length and --overlong-buffer go together: give both"),
        (("--max-response-length", "9"), "--max-response-length and --overlong-buffer go together: give both"),
        (
            ("--max-response-length", "9", "--overlong-buffer", "5", "-B", "4"),
            "--overlong-buffer sets both the budget and β: give either it or -B and --beta",
        ),
        (
            ("--max-response-length", "9", "--overlong-buffer", "10"),
            "--overlong-buffer 10: expected at most --max-response-length, 9",
        ),
    ],
)
def test_a_usage_error_is_reported_before_anything_is_read(
    budget_cli: Run, arguments: tuple[str, ...], message: str
) -> None:
    done = budget_cli("sweep", "no-such-file.jsonl", *arguments)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.decode().startswith(f"budget-cli: {message}")
    assert done.stderr.count(b"\n") == 1


def test_without_a_penalty_neither_lengths_nor_budgets_are_needed(sweep_json: SweepJson) -> None:
    data = b"".join(json.dumps({"prompt_id": 1, "reward": r}).encode() + b"\n" for r in (0, 1))
    answer = sweep_json("--beta", "0", "--alpha", "0", stdin=data)
    (cell,) = answer["cells"]
    assert (cell["loss"], cell["coefficients"]["token_budget"], cell["over_budget"]["fraction"]) == (0.25, None, None)
    assert answer["budgets"][0]["over"] is None


def test_a_gate_fails_if_it_fails_in_any_cell(budget_cli: Run) -> None:
    cells = ("-B", "512,1024", "--beta", "0,0.01")
    assert budget_cli("sweep", SAMPLE, *cells, "--fail-if", "loss > 3").returncode == 0
    done = budget_cli("sweep", SAMPLE, *cells, "--fail-if", "loss > 0.2", "--format", "json")
    assert done.returncode == 1
    assert done.stderr.decode() == (
        "budget-cli: fail: gate loss > 0.2: in 2 of 4 cells, first at B 512, β 0.01, α 0.1: it is 2.07963\n"
    )
    assert b'"status": "fail"' in done.stdout
    suggested = budget_cli("sweep", SAMPLE, "--suggest", "--fail-if", "loss > 3")
    assert (suggested.returncode, suggested.stderr) == (
        2,
        b"budget-cli: --fail-if: gates apply to the cells of a grid, and --suggest has none; use -B instead\n",
    )
