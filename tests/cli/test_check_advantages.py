"""If this fails, annotate gives other advantages than a trainer stored whose estimator is the centred one."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from command import Run

TESTS = Path(__file__).parents[1]
SHARED = Path(__file__).parents[3] / "shared"
REWARD_ONLY = ("--budget-penalty-coef", "0", "--kl-coef", "0", "--ignore-unneeded", "-q")


class Stored(NamedTuple):
    """A dump, the options that read it, and the advantages that a record of it holds."""

    path: Path
    options: tuple[str, ...]
    advantages: Callable[[dict[str, Any]], list[float]]


def one(record: dict[str, Any]) -> list[float]:
    return [record["advantage"]]


def of_last_token(record: dict[str, Any]) -> list[float]:
    return [next(a for a, kept in zip(record["advantages"][0], record["token_loss_mask"][0], strict=True) if kept)]


def of_group(record: dict[str, Any]) -> list[float]:
    found: list[float] = record["advantages"]
    return found


MINI_SWE = ("--field", "prompt_id=puzzle_id", "--field", "rewards=rewards")
BY_POSITION = ("--field", "prompt_id=[step, prompt_idx]")
CENTRED = [
    Stored(TESTS / "dumps" / "open-instruct.jsonl", (), one),
    Stored(TESTS / "dumps" / "prime-rl-platform.jsonl", (), one),
    Stored(TESTS / "trainer" / "open_instruct_whole.jsonl", (), one),
    Stored(TESTS / "trainer" / "nemo_rl_same_prompt.jsonl", (), of_last_token),
    Stored(TESTS / "trainer" / "nemo_rl_path_in_prompt.jsonl", ("--group-size", "3"), of_last_token),
    Stored(SHARED / "dumps" / "prime_rl_train_j1i1ys.jsonl", (), one),
    Stored(SHARED / "dumps" / "wild" / "mini-swe-grpo-rollouts.json", MINI_SWE, of_group),
    Stored(SHARED / "threads" / "nemo_rl_logprob_ok.jsonl", (), of_last_token),
    Stored(SHARED / "threads" / "nemo_rl_path_in_prompt.jsonl", ("--group-size", "4"), of_last_token),
]


def records(written: bytes) -> Iterator[dict[str, Any]]:
    """Yield the annotated records of lines, or of a list over many lines."""
    if written.startswith(b"["):
        yield from json.loads(written)
    else:
        yield from map(json.loads, written.splitlines())


def annotated(budget_cli: Run, stored: Stored) -> list[tuple[float, float]]:
    """Return each response's stored advantage, and the one that annotate gives it."""
    if not stored.path.is_file():
        pytest.skip("this dump is not beside this checkout")
    done = budget_cli("annotate", stored.path, *REWARD_ONLY, *stored.options)
    assert done.returncode == 0, done.stderr.decode()
    pairs: list[tuple[float, float]] = []
    for record in records(done.stdout):
        given = record["budget_cli"]["advantage"]
        pairs += zip(stored.advantages(record), given if isinstance(given, list) else [given], strict=True)
    return pairs


@pytest.mark.parametrize("stored", CENTRED, ids=[f"{one.path.parent.name}-{one.path.stem}" for one in CENTRED])
def test_annotate_gives_the_advantages_back_that_a_centred_estimator_stored(budget_cli: Run, stored: Stored) -> None:
    pairs = annotated(budget_cli, stored)
    assert len(pairs) > 3
    assert [given for _, given in pairs] == pytest.approx([kept for kept, _ in pairs], abs=1e-6)


def test_divided_by_the_standard_deviation_they_differ_by_one_factor_per_prompt(budget_cli: Run) -> None:
    # open-instruct's `standard`: (r − mean) / (s + ε), over groups in which s is ½ where rewards differ
    regrouped = Stored(SHARED / "threads" / "open_instruct_regrouped.jsonl", BY_POSITION, one)
    pairs = annotated(budget_cli, regrouped)
    assert [kept for kept, _ in pairs] == pytest.approx([2 * given for _, given in pairs], abs=1e-6)
