"""If this fails, the sentence above the numbers says what does not follow from them."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command import LossJson, Run
from samples import lines

from budget_cli.rendering.headline import beta_of_share

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "sample_data" / "rollouts.jsonl"
Rows = list[tuple[Any, Any, int | None]]  # prompt, reward, length; a budget of 100 tokens and β 0.01 unless said


def records(rows: Rows, **more: Any) -> bytes:
    base = {"log_prob": -1.0, "old_log_prob": -1.0} | more
    made = [{"prompt_id": p, "reward": r, "response_length": n} | base for p, r, n in rows]
    return lines([{k: v for k, v in one.items() if v is not None or k == "reward"} for one in made])


UP = [("a", 1, 100), ("a", 0, 100)]  # S_rr = 1/2; nothing over the budget
LONG = [("b", 1, 100), ("b", 1, 300)]  # penalties 0 and 2: β²·S_ee = 2
BOTH = [("c", 1, 100), ("c", 0, 200)]  # penalties 0 and 1: β²·S_ee = S_rr = 1/2
SAME = [("d", 1, 50), ("d", 1, 60)]
ALL_OVER = [("e", 1, 200), ("e", 0, 200)]  # the penalty is 1 for both
CANCELS = [("f", 1, 200), ("f", 0, 100)]  # 1 − 1 and 0 − 0
ONE = [("g", 1, 300)]
ALONE = "so the learning signal is that of the rewards alone"

SENTENCES: list[tuple[str, Rows, tuple[str, ...], str]] = [
    # share 1/2, so x² = 1; a tenth needs β² = 0.01²/9
    ("half", BOTH, (), "50% of the learning signal is length; β 0.0033 would make it 10%."),
    # β²·S_ee = 2.5 of 3
    (
        "phantom",
        [*BOTH, *LONG],
        (),
        "83% of the learning signal is length; β 0.0015 would make it 10%; 1 of 2 prompts teaches length alone.",
    ),
    (
        "phantoms",
        [*BOTH, *LONG, *[("B", r, n) for _, r, n in LONG], *SAME],
        (),
        "90% of the learning signal is length; β 0.0011 would make it 10%; of 4 prompts, 2 teach length alone and 1"
        " nothing.",
    ),
    (
        "nothing",
        [*BOTH, *SAME, *ONE],
        (),
        "50% of the learning signal is length; β 0.0033 would make it 10%; 2 of 3 prompts teach nothing.",
    ),
    # β 1/300: β²·S_ee = 1/18 of 10/18
    ("a tenth", BOTH, ("--beta", "0.0033333333333"), "10% of the learning signal is length."),
    ("little", BOTH, ("--beta", "0.001"), "1% of the learning signal is length."),
    ("hardly", BOTH, ("--beta", "0.0001"), "Less than 1% of the learning signal is length."),
    ("nearly", BOTH, ("--beta", "1"), "More than 99% of the learning signal is length; β 0.0033 would make it 10%."),
    # a reward for length: the share is the same
    (
        "negative",
        [("c", 1, 200), ("c", 0, 100)],
        ("--beta", "-0.01"),
        "50% of the learning signal is length; β -0.0033 would make it 10%.",
    ),
    ("no budget", UP, ("--beta", "0"), f"β is 0, {ALONE}."),
    ("beta 0", [*UP, *SAME], ("-B", "100", "--beta", "0"), f"β is 0, {ALONE}; 1 of 2 prompts teaches nothing."),
    ("under", UP, (), f"No response is over the budget, {ALONE}."),
    ("all over", ALL_OVER, (), f"The penalty is the same for all responses to a prompt, {ALONE}."),
    (
        "all phantom",
        [*LONG, *[("B", r, n) for _, r, n in LONG], *SAME],
        (),
        "All of the learning signal is length, at any β above 0: within no prompt do rewards differ; of 3 prompts, 2"
        " teach length alone and 1 nothing.",
    ),
    (
        "one phantom",
        LONG,
        (),
        "All of the learning signal is length, at any β above 0: within no prompt do rewards differ.",
    ),
    ("equal", SAME, (), "Nothing can be learned: within the only prompt, all adjusted rewards are equal."),
    (
        "all equal",
        [*SAME, ("z", 0, 1), ("z", 0, 2)],
        (),
        "Nothing can be learned: within each prompt, all adjusted rewards are equal.",
    ),
    ("cancelled", CANCELS, (), "Nothing can be learned: within the only prompt, all adjusted rewards are equal."),
    ("one response", ONE, (), "Nothing can be learned: the only prompt has a single response."),
    (
        "single responses",
        [*ONE, ("h", 0, 1)],
        (),
        "Nothing can be learned: every prompt has a single response.",
    ),
    ("rejected", [*BOTH, ("x", None, 1)], (), "1 of 3 records is rejected; of the others, 50% of the learning signal"),
    ("none used", [("x", None, 1)], (), ""),
]


@pytest.mark.parametrize(("rows", "arguments", "said"), [case[1:] for case in SENTENCES], ids=[c[0] for c in SENTENCES])
def test_the_sentence_follows_from_the_numbers(
    loss_json: LossJson, rows: Rows, arguments: tuple[str, ...], said: str
) -> None:
    budget = () if "-B" in arguments or arguments == ("--beta", "0") else ("-B", "100")
    fails = any(row[1] is None for row in rows)
    answer = loss_json(*budget, *arguments, stdin=records(rows), exits=int(fails))
    if said.endswith((".", "")) and not fails:
        assert answer["headline"] == said
    else:
        assert answer["headline"].startswith(said)
        assert bool(answer["headline"]) is bool(said)


def test_without_log_probs_it_says_the_same(loss_json: LossJson) -> None:
    dump = records(BOTH, log_prob=None, old_log_prob=None)
    answer = loss_json("-B", "100", "--kl-coef", "0", stdin=dump)
    assert answer["headline"] == "50% of the learning signal is length; β 0.0033 would make it 10%."
    assert answer["kl"]["k1"] is None


OBJECTIVES = [  # a penalty or an estimator that leaves the share as it is, or gives it another size
    "penalty=linear",
    "penalty=capped cap=100",
    "penalty=distance",
    "penalize=correct",
    "scale=solve-rate",
    "advantage=rloo",
    "advantage=batch-std",
    "advantage=opo",
    "advantage=reinforce++",
]


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_beta_that_it_names_has_that_share_under_other_objectives(loss_json: LossJson, objective: str) -> None:
    given = [word for setting in objective.split() for word in ("--set", setting)]
    said = loss_json(SAMPLE, "-B", "1024", *given)["headline"]
    beta = said.split("β ")[1].split()[0]
    assert f"{loss_json(SAMPLE, '-B', '1024', *given, '--beta', beta)['advantage']['budget_share']:.0%}" == "10%"


@pytest.mark.parametrize("estimator", ["grpo", "maxrl"])
def test_it_names_none_where_the_share_does_not_follow_beta(loss_json: LossJson, estimator: str) -> None:
    said = loss_json(SAMPLE, "-B", "1024", "--set", f"advantage={estimator}")["headline"]
    assert " of the learning signal is length; of 6 prompts, 1 teaches" in said


TWO = [("a", 1, 10), ("a", 1, 20), ("b", 0, 10), ("b", 0, 20)]  # equal within, but not between prompts
BEYOND: list[tuple[Rows, tuple[str, ...], str]] = [
    (
        TWO,
        ("--set", "advantage=reinforce++"),
        "Within each prompt, all adjusted rewards are equal, so responses are told apart by their prompts alone.",
    ),
    (
        [*BOTH, *SAME],
        ("--set", "advantage=reinforce++"),
        "50% of the learning signal within prompts is length; β 0.0033 would make it 10%.",
    ),
    (
        [*BOTH, *ONE],
        ("--set", "singletons=reward"),
        "50% of the learning signal within prompts is length; β 0.0033 would make it 10%.",
    ),
    (TWO, (), "Nothing can be learned: within each prompt, all adjusted rewards are equal."),
]


@pytest.mark.parametrize(("rows", "arguments", "said"), BEYOND)
def test_what_is_learned_between_prompts_is_not_called_nothing(
    loss_json: LossJson, rows: Rows, arguments: tuple[str, ...], said: str
) -> None:
    assert loss_json("-B", "100", *arguments, stdin=records(rows))["headline"] == said


CHECKED: list[tuple[Rows, tuple[str, ...], str]] = [
    (BOTH, (), "Without a budget (-B TOKENS), the share of length in the learning signal is not known."),
    (
        [("c", 1, 100), ("c", 0, None)],
        ("-B", "100"),
        "As 1 of 2 responses has no length, the share of length in the learning signal is not known.",
    ),
    (BOTH, ("-B", "100"), "50% of the learning signal is length; β 0.0033 would make it 10%."),
    (
        [("c", 1, 100), ("c", 0, None)],
        ("--set", "budget_field=budget"),
        "As 1 of 2 responses has no length, the share of length in the learning signal is not known.",
    ),
]


@pytest.mark.parametrize(("rows", "arguments", "said"), CHECKED)
def test_check_says_what_is_wrong_then_the_same(
    budget_cli: Run, rows: Rows, arguments: tuple[str, ...], said: str
) -> None:
    text = " ".join(budget_cli("check", *arguments, stdin=records(rows, budget=100)).stdout.decode().split())
    assert f". {said} " in text


FOUND: list[tuple[Callable[[int], Any], tuple[str, ...], str]] = [
    (lambda i: i % 3, ("--select", "singleton"), "Nothing wrong or suspicious in 1 check."),
    (lambda i: 1, ("--select", "constant-reward,zero-variance"), "1 error (constant-reward)"),
    (lambda i: i // 4 % 2, ("--select", "zero-variance"), "1 error (zero-variance)."),
    (lambda i: int(i < 5), ("--select", "zero-variance"), "1 warning (zero-variance)."),
    (lambda i: int(i % 2 or i < 4), ("--select", "zero-variance"), "Nothing wrong in 1 check, and 1 to know"),
]


@pytest.mark.parametrize(("reward", "arguments", "said"), FOUND)
def test_check_names_what_it_found_worst_first(
    budget_cli: Run, reward: Callable[[int], Any], arguments: tuple[str, ...], said: str
) -> None:
    dump = records([(i // 4, reward(i), 50 + i) for i in range(40)])
    text = " ".join(budget_cli("check", "-B", "100", *arguments, stdin=dump).stdout.decode().split())
    assert text.startswith(said)


def test_the_beta_that_it_names_has_that_share(loss_json: LossJson) -> None:
    answer = loss_json(SAMPLE, "-B", "1024")
    beta = answer["headline"].split("β ")[1].split()[0]
    assert beta == "0.0024"
    assert f"{loss_json(SAMPLE, '-B', '1024', '--beta', beta)['advantage']['budget_share']:.0%}" == "10%"
    exact = beta_of_share(0.01, loss_json(SAMPLE, "-B", "1024", "--precision", "17")["advantage"]["budget_share"], 0.25)
    share = loss_json(SAMPLE, "-B", "1024", "--beta", repr(exact))["advantage"]["budget_share"]
    assert math.isclose(share, 0.25, abs_tol=1e-4)


@pytest.mark.parametrize("command", ["loss", "check"])
def test_the_screen_has_the_sentence_of_the_json(budget_cli: Run, loss_json: LossJson, command: str) -> None:
    said = loss_json(SAMPLE, "-B", "1024")["headline"]
    for columns in ("60", "80", "120"):
        screen = budget_cli(command, SAMPLE, "-B", "1024", COLUMNS=columns).stdout.decode()
        assert said in " ".join(screen.split())
