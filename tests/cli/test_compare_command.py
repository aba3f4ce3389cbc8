"""If this fails, dumps are compared that cannot be compared, or differences between them are not reported."""

import json
import math
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command import Run
from samples import lines

RESULT = tuple[int, str, str]


def record(prompt: Any, reward: float, length: int = 120) -> dict[str, Any]:
    return {"prompt_id": prompt, "reward": reward, "log_prob": -1.0, "old_log_prob": -1.5, "response_length": length}


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """Two dumps that share the prompts a and b."""
    base, new = tmp_path / "base.jsonl", tmp_path / "new.jsonl"
    base.write_bytes(lines([record(p, r) for p, r in [("a", 0), ("a", 1), ("b", 0), ("b", 0), ("x", 1)]]))
    new.write_bytes(lines([record(p, r, 90) for p, r in [("b", 0), ("b", 1), ("a", 1), ("y", 0), ("z", 1)]]))
    return base, new


def answer(done: Any) -> RESULT:
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def test_the_screen_shows_differences_and_standard_errors(budget_cli: Run, two: tuple[Path, Path]) -> None:
    code, screen, errors = answer(budget_cli("compare", "base.jsonl", "new.jsonl", "-B", "100", cwd=two[0].parent))
    assert (code, errors) == (0, "")
    assert screen == (
        "base.jsonl → new.jsonl\n"
        "B 100 tokens   β 0.01 per token   α 0.1\n"
        "kimi-k2: linear penalty max(0, L − B), advantage x − mean x\n"
        "4 against 3 responses of 2 prompts, paired by id\n"
        "  only in base.jsonl: 1 prompt: x\n"
        "  only in new.jsonl: 2 prompts: y, z\n"
        "\n"
        "                         base         new    difference   standard error\n"
        "  loss                 0.1275      0.1692       +0.0417 ± 0.2361\n"
        "  reward               0.2500      0.6667       +0.4167 ± 0.0278 *\n"
        "  adjusted reward      0.0500      0.6667       +0.6167 ± 0.0278 *\n"
        "  log ratio            0.5000      0.5000        0.0000 ± 0.0000\n"
        "  length                120.0        90.0         -30.0 ± 0.0\n"
        "  over budget          100.0%        0.0%       -100.0% ± 0.0%\n"
        "  zero variance         50.0%        0.0%        -50.0% ± 50.0%\n"
        "                                                    * beyond two standard errors\n"
        "\n"
        "  moved most by loss              n       loss   reward   length\n"
        "  a                            2, 1    -0.2500    +0.50      -30\n"
        "  b                            2, 2    +0.2500    +0.50      -30\n"
        "\n"
        "pass      read completely: 5 and 5 records, none rejected\n"
    )
    assert max(map(len, screen.splitlines())) <= 80


def test_the_json_has_the_numbers_and_their_sources(budget_cli: Run, two: tuple[Path, Path]) -> None:
    done = budget_cli("compare", *two, "-B", "100", "--format", "json", "--precision", "6", "--moved-by", "reward")
    answer = json.loads(done.stdout)
    assert list(answer)[:8] == [
        "schema",
        "status",
        "pairing",
        "aggregate",
        "coefficients",
        "prompts",
        "responses",
        "loss",
    ]
    assert (answer["schema"], answer["status"], answer["pairing"]) == ("budget-cli/compare/1", "pass", "prompt")
    assert answer["prompts"] == {"base": 3, "new": 4, "paired": 2, "only_base": 1, "only_new": 2}
    assert answer["reward"] == {"base": 0.25, "new": 0.666667, "delta": 0.416667, "se": 0.027778, "z": 15}
    assert answer["length"] == {"base": 120, "new": 90, "delta": -30, "se": 0, "z": None}
    assert [prompt["prompt_id"] for prompt in answer["moved"]] == ["a", "b"]
    assert answer["uncertain"] == {}
    assert answer["base"]["only_here"] == ["x"]
    assert answer["new"]["records"] == {"read": 5, "used": 5, "rejected": 0, "blank": 0, "skipped": 0, "left_out": 0}


def test_a_difference_with_more_digits_than_are_kept_has_a_bound_of_its_error(budget_cli: Run, tmp_path: Path) -> None:
    log_ratios = [math.sin(i) * 1e6 for i in range(40)]
    dumps = []
    for step in (0, 1):
        rows = [
            {
                "prompt_id": "ab"[i % 2],
                "reward": math.cos(i) * 1e-9 + step * (i % 3) * 1e-17,
                "response_length": 50,
                "log_prob": k,
                "old_log_prob": 0.0,
            }
            for i, k in enumerate(log_ratios)
        ]
        dumps.append(tmp_path / f"{step}.jsonl")
        dumps[-1].write_bytes(lines(rows[:: 1 - 2 * step]))  # the other way round, so sums are rounded otherwise
    flags = ("-B", "100", "--kl-coef", "1")
    uncertain = json.loads(budget_cli("compare", *dumps, *flags, "-f", "json").stdout)["uncertain"]
    assert list(uncertain) == ["loss"]
    assert 1e-12 < uncertain["loss"] < 1e-3
    sentence = f"loss: of its difference and standard error, up to {uncertain['loss']:.0e} may be rounding\n"
    for form in ("table", "markdown"):
        assert sentence in budget_cli("compare", *dumps, *flags, "-f", form).stdout.decode()


def test_no_file_name_breaks_the_markdown_tables(budget_cli: Run, tmp_path: Path) -> None:
    for name in ("a|b.jsonl", "c.jsonl"):
        (tmp_path / name).write_bytes(lines([record("p|q`", len(name)), record("p|q`", 1)]))
    flags = ("-B", "100", "-f", "markdown", "--fail-if", "reward.delta < 0")
    done = budget_cli("compare", "a|b.jsonl", "c.jsonl", *flags, cwd=tmp_path)
    text = done.stdout.decode()
    assert text.startswith("a\\|b.jsonl → c.jsonl: 2 against 2 responses of 1 prompt, paired by id; status fail\n\n")
    assert "| quantity | base | new | delta | se | z |\n| --- | --- | --- | --- | --- | --- |\n| loss | " in text
    assert "\n| p\\|q\\` | 2 | 2 | " in text
    assert text.endswith("| gate | value | verdict |\n| --- | --- | --- |\n| reward.delta \\< 0 | -1.0 | fail |\n")


GATES: list[tuple[str, int]] = [
    ("reward.delta > 0.5", 0),
    ("reward.delta > 0.4", 1),
    ("reward.z > 14", 1),
    ("over_budget.new > 0", 0),
    ("prompts.only_new > 1", 1),
    ("log_ratio.z > 2", 1),  # a missing number fails every gate
]


@pytest.mark.parametrize(("gate", "code"), GATES)
def test_a_gate_can_name_any_number(budget_cli: Run, two: tuple[Path, Path], gate: str, code: int) -> None:
    assert budget_cli("compare", *two, "-B", "100", "--fail-if", gate).returncode == code


def test_a_gate_on_an_unknown_number_is_refused(budget_cli: Run, two: tuple[Path, Path]) -> None:
    assert answer(budget_cli("compare", *two, "-B", "100", "--fail-if", "loss.dleta > 0")) == (
        2,
        "",
        "budget-cli: --fail-if: no number is called 'loss.dleta' (did you mean loss.delta?)\n",
    )


def test_a_dump_does_not_differ_from_itself(budget_cli: Run, large: Path) -> None:
    done = budget_cli("compare", large, large, "-B", "1000", "-f", "json")
    answer = json.loads(done.stdout)
    assert [answer[name]["delta"] for name in ("loss", "reward", "length")] == [0, 0, 0]
    assert (answer["loss"]["se"], answer["moved"]) == (0, [])


@pytest.fixture
def earlier(budget_cli: Run, two: tuple[Path, Path]) -> Path:
    """The earlier result of `loss` on the first dump."""
    path = two[0].with_name("base.json")
    assert budget_cli("loss", two[0], "-B", "100", "-f", "json", "-o", path).returncode == 0
    return path


def test_an_earlier_result_is_compared_as_a_whole(
    budget_cli: Run, loss_json: Callable[..., dict[str, Any]], two: tuple[Path, Path], earlier: Path
) -> None:
    done = budget_cli("compare", earlier, two[1], "-f", "json")  # with the budget of the result
    answer = json.loads(done.stdout)
    new = loss_json(two[1], "-B", "100")
    assert (done.returncode, answer["pairing"]) == (0, "none")
    assert answer["prompts"] == {"base": 3, "new": 4, "paired": 0, "only_base": None, "only_new": None}
    assert answer["loss"]["new"] == new["loss"]
    assert answer["reward"] == {"base": 0.4, "new": 0.6, "delta": 0.2, "se": None, "z": None}
    assert budget_cli("compare", earlier, earlier, "--fail-if", "loss.delta > 0").returncode == 0
    assert budget_cli("compare", earlier, two[1], "--fail-if", "reward.z > 9").returncode == 1


def test_an_incomplete_result_stays_incomplete(budget_cli: Run, two: tuple[Path, Path], earlier: Path) -> None:
    cut = json.loads(earlier.read_bytes()) | {"incomplete": ["base.jsonl: cut off"]}
    earlier.write_text(json.dumps(cut))
    done = budget_cli("compare", earlier, two[1])
    assert done.returncode == 3
    assert f"fail      {earlier}: base.jsonl: cut off\n" in done.stdout.decode()


REFUSED: list[tuple[str, str, str]] = [  # the content of the first file, more flags, the message
    (
        "",
        "-B 99",
        "base.json: computed with -B 100 --beta 0.01 --alpha 0.1, the other with -B 99 --beta 0.01"
        " --alpha 0.1: both must use the same",
    ),
    (
        "",
        "--aggregate prompt",
        "base.json: computed with -B 100 --beta 0.01 --alpha 0.1, the other with -B 100"
        " --beta 0.01 --alpha 0.1 --aggregate prompt: both must use the same",
    ),
    (
        '{"schema": "budget-cli/loss/1", "prompts": 1}',
        "",
        "base.json: this result of budget-cli loss was damaged or edited: no responses: create it again",
    ),
    (
        '{"schema": "budget-cli/compare/1"}',
        "",
        "base.json: this is a result of budget-cli compare: expected a dump, or a result of loss",
    ),
    (
        '{"schema": "budget-cli/loss/1", "prom',
        "",
        "base.json: begins as a result of budget-cli and is not a whole one:"
        " unexpected end of data: line 1 column 38 (char 37)",
    ),
]


@pytest.mark.parametrize(("content", "flags", "expected"), REFUSED)
def test_a_result_that_cannot_be_compared_is_refused(
    budget_cli: Run, two: tuple[Path, Path], earlier: Path, content: str, flags: str, expected: str
) -> None:
    if content:
        earlier.write_text(content)
    done = budget_cli("compare", "base.json", "new.jsonl", *flags.split(), cwd=earlier.parent)
    assert (done.returncode in (2, 3), done.stderr.decode()) == (True, f"budget-cli: {expected}\n")


@pytest.mark.parametrize(
    ("place", "value", "what"),
    [
        ("loss", True, "loss: expected a number or null, 0 or more"),
        ("loss", -0.5, "loss: expected a number or null, 0 or more"),
        ("loss", 1.5e308, "loss: expected a number or null, 0 or more"),
        ("prompts", 1.5, "prompts: expected a whole number, 0 or more"),
        ("prompts", 10**9, "prompts: more than responses"),
        ("reward", [], "no reward.mean"),
        ("reward.mean", 2.5, "reward.mean: beyond min and max"),
        ("length.mean", 0.5, "length.mean: beyond min and max"),
        ("over_budget.fraction", 7, "over_budget.fraction: expected a share from 0 to 1, or null"),
        ("over_budget.responses", 9, "over_budget.fraction: not that of over_budget.responses"),
        ("records.rejected", -5, "records.rejected: expected a whole number, 0 or more"),
        ("records.used", 0, "records: used, rejected and skipped do not add up to read"),
        ("coefficients.kl_coef", None, "coefficients.kl_coef: expected a number, 0 or more"),
        ("coefficients.token_budget", "x", "coefficients.token_budget: expected a whole number, 0 or more, or null"),
        ("aggregate", {}, "aggregate: expected response or prompt or row or token or prompt-token or constant"),
        ("incomplete", [1], "incomplete: expected a list of texts"),
        ("groups.zero_variance", 99, "groups.zero_variance: more than prompts"),
        ("length_origins", {"field": "x"}, "length_origins: expected a whole number, 0 or more for each reason"),
        ("lengths_from", [], "lengths_from: expected field, tokens, tokenizer, mixed or null"),
        ("tokenizer", 1, "tokenizer: expected a text or null"),
    ],
)
def test_an_edited_result_is_refused_with_the_field(
    budget_cli: Run, two: tuple[Path, Path], earlier: Path, place: str, value: Any, what: str
) -> None:
    result = json.loads(earlier.read_bytes())
    inner = result
    *way, last = place.split(".")
    for key in way:
        inner = inner[key]
    inner[last] = value
    earlier.write_text(json.dumps(result))
    done = budget_cli("compare", "base.json", "new.jsonl", cwd=earlier.parent)
    assert (done.returncode, done.stdout) == (3, b"")
    assert done.stderr.decode() == (
        f"budget-cli: base.json: this result of budget-cli loss was damaged or edited: {what}: create it again\n"
    )


@pytest.mark.exhaustive
def test_no_edit_of_a_result_is_a_bug(budget_cli: Run, two: tuple[Path, Path], earlier: Path) -> None:
    data, chance = earlier.read_bytes(), random.Random(3)
    tokens = list(re.finditer(rb'"[^"]*"|-?\d[\d.]*|null|[][{},:]', data))
    for _ in range(150):
        token = chance.choice(tokens)
        other = chance.choice([*rb'0 -1 1e400 true null "x" [] {} [0] NaN , ]'.split(), chance.choice(tokens)[0]])
        earlier.write_bytes(data[: token.start()] + other + data[token.end() :])
        for form in ("table", "json", "markdown"):
            done = budget_cli("compare", earlier, two[1], "-B", "100", "-f", form)
            assert done.returncode in (0, 1, 2, 3), (other, token, done.stderr.decode())
            if done.returncode > 1:
                break  # refused before it had a form


def test_rejected_records_of_either_side_make_it_fail(budget_cli: Run, two: tuple[Path, Path]) -> None:
    two[1].write_bytes(two[1].read_bytes() + b'{"prompt_id": "a"}\n')
    code, screen, _ = answer(budget_cli("compare", *two, "-B", "100"))
    assert code == 1
    assert f"rejected  {two[1]}:6:1: reward: missing" in screen
    assert screen.endswith(f"fail      {two[1]}: 1 record of 6 rejected\n")
    code, screen, _ = answer(budget_cli("compare", *two, "-B", "100", "--max-errors", "1"))
    assert (code, screen.endswith("pass      read completely: 5 and 6 records, 0 and 1 rejected as allowed\n")) == (
        0,
        True,
    )
    code, _, errors = answer(budget_cli("compare", *two, "-B", "100", "-f", "json"))
    assert (code, errors.splitlines()[-1]) == (1, f"budget-cli: fail: {two[1]}: 1 record of 6 rejected")


USAGE: list[tuple[tuple[str, ...], str]] = [
    (("a", "b"), "a: no such file or directory"),
    (("-", "-"), "BASE and NEW are both standard input: give one of them as a file"),
]


@pytest.mark.parametrize(("files", "expected"), USAGE)
def test_a_usage_error_is_one_line(budget_cli: Run, tmp_path: Path, files: tuple[str, ...], expected: str) -> None:
    done = budget_cli("compare", *files, "-B", "1", cwd=tmp_path)
    assert (done.returncode in (2, 3), done.stderr.decode()) == (True, f"budget-cli: {expected}\n")


def test_two_dumps_need_a_budget(budget_cli: Run, two: tuple[Path, Path]) -> None:
    assert answer(budget_cli("compare", *two)) == (
        2,
        "",
        "budget-cli: give a budget (-B TOKENS), or --budget-penalty-coef 0 to do without one\n",
    )


def test_one_side_can_be_standard_input(budget_cli: Run, two: tuple[Path, Path]) -> None:
    piped = budget_cli("compare", two[0], "-", "-B", "100", "-f", "json", stdin=two[1].read_bytes())
    named = budget_cli("compare", *two, "-B", "100", "-f", "json")
    one, other = json.loads(piped.stdout), json.loads(named.stdout)
    assert one.pop("new")["name"] == "-"
    other.pop("new")
    assert one == other


def test_ids_are_safe_on_the_screen(budget_cli: Run, tmp_path: Path) -> None:
    for name, reward in (("a.jsonl", 0), ("b.jsonl", 1)):
        (tmp_path / name).write_bytes(lines([record("\x1b[31m[/INST]", reward), record("\x1b[31m[/INST]", 1)]))
    done = budget_cli("compare", tmp_path / "a.jsonl", tmp_path / "b.jsonl", "-B", "1", FORCE_COLOR="1")
    assert done.returncode == 0
    assert b"\\x1b[31m[/INST]" in done.stdout


def test_summaries_are_paired_like_the_dumps_that_they_replace(budget_cli: Run, two: tuple[Path, Path]) -> None:
    parts = []
    for dump in two:
        parts.append(dump.with_suffix(".summary.jsonl"))
        assert budget_cli("summarize", dump, "-B", "100,200", "-o", parts[-1]).returncode == 0
    of_dumps, of_summaries, mixed = (
        json.loads(budget_cli("compare", *pair, "-B", "100", "-f", "json", "--precision", "12").stdout)
        for pair in (two, parts, (parts[0], two[1]))
    )
    for answer in (of_dumps, of_summaries, mixed):
        del answer["base"]["name"], answer["new"]["name"]
    assert of_dumps == of_summaries == mixed
    assert of_dumps["pairing"] == "prompt"


@pytest.mark.parametrize(
    ("option", "refusal"),
    [
        ("--where step", "--where: BASE and NEW are results, which hold no records: give it to budget-cli loss"),
        ("--ids-per-file", "--ids-per-file: BASE and NEW are results, which hold no records: give it to budget-cli"),
        ("--beta 0.5", "--budget-penalty-coef 0.5: BASE and NEW are results, computed with -B 100 --beta 0.01 --alpha"),
        (
            "-B 99",
            "--token-budget 99: BASE and NEW are results, computed with -B 100 --beta 0.01 --alpha 0.1: leave it",
        ),
        ("--aggregate prompt", "--aggregate prompt: BASE and NEW are results, computed with -B 100 --beta 0.01"),
        ("-B 100 --beta 0.01 --aggregate response", ""),
    ],
)
def test_an_option_has_an_effect_on_two_results_or_is_refused(
    budget_cli: Run, earlier: Path, option: str, refusal: str
) -> None:
    done = budget_cli("compare", earlier, earlier, *option.split())
    assert done.returncode == (2 if refusal else 0)
    assert done.stderr.decode().startswith(f"budget-cli: {refusal}") if refusal else not done.stderr


def test_the_settings_do_not_keep_results_from_being_compared(budget_cli: Run, earlier: Path) -> None:
    (earlier.parent / "budget-cli.toml").write_text('field = ["reward=score"]\nbeta = 0.5\n')
    assert budget_cli("compare", "base.json", "base.json", cwd=earlier.parent).returncode == 0
