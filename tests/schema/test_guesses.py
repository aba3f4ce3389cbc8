"""If this fails, `fields` guesses wrong of a dump with names of its own, or claims to know what it cannot."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from command import Run
from own_names import OwnNames, first_fifteen, own_names, second_fifteen

from budget_cli.schema.fields import KINDS, Fields
from budget_cli.schema.guessed_prompts import Guess
from budget_cli.schema.guesses import Guesses, flags, guess
from budget_cli.schema.lookup import value_at
from budget_cli.schema.parsing import parse_place

DUMPS = {dump.name: dump for dump in own_names()}
# what is not known of a dump; of the others all is
NOT_KNOWN = {
    "chat, nothing says which prompt": ["prompt_id"],
    "math, parts and no sum": ["reward"],
    "two lists of log-probs that their names do not tell apart": ["log_prob", "old_log_prob"],
    "math, buckets of two prompts, and a name that says nothing": ["prompt_id", "reward", "response_length"],
    "games, three ends, regrets that look like log-probs": ["reward"],
    "chat, a score of the prompt, and a reward that is not named like one": ["reward"],
    "games, two returns and neither the total": ["reward", "response_length"],
    "chat, several turns, each with a reward": ["response_length"],
    "essays, a rubric and its total": ["reward"],
}


def values_of(best: Guess, dump: OwnNames, step: Guess | None) -> list[Any]:
    """Return the value of each response at the place that was guessed."""
    if best.option == "--group-size":
        return [i // int(best.value) for i in range(len(dump.records))]
    place = parse_place(best.value)
    found = [value_at(record, place) for record in dump.records]
    if best.field.endswith("s"):  # of all responses to a prompt
        return [each for several in found for each in several]
    if best.field == "prompt_id":
        steps = [None] * len(found) if step is None else [record[step.value] for record in dump.records]
        sizes = _sizes(dump)
        return [[s, value] for s, value, n in zip(steps, found, sizes, strict=True) for _ in range(n)]
    return found


def _sizes(dump: OwnNames) -> list[int]:
    """Return how many responses each record holds."""
    several = max(map(len, dump.truth.values())) if dump.truth else len(dump.records)
    return [several // len(dump.records)] * len(dump.records)


def is_right(best: Guess, dump: OwnNames, step: Guess | None) -> bool:
    field = best.field.removesuffix("s")
    truth = dump.truth.get(field)
    if truth is None:
        return False
    found = values_of(best, dump, step)
    if field == "prompt_id":
        groups = [{json.dumps(each): i for i, each in enumerate(several)} for several in (truth, found)]
        return sorted(groups[0].values()) == sorted(groups[1].values())  # the last response of each prompt
    return found == pytest.approx(truth) if field == "reward" else found == truth


def confident(guesses: Guesses) -> list[Guess]:
    return [each for each in guesses.guesses if each.is_confident and each.field != "step"]


@pytest.mark.parametrize("name", DUMPS)
def test_what_is_guessed_with_confidence_is_right(name: str) -> None:
    dump = DUMPS[name]
    guesses = guess(dump.records)
    step = guesses.best("step")
    assert [each for each in confident(guesses) if not is_right(each, dump, step)] == []


@pytest.mark.parametrize("name", DUMPS)
def test_what_is_not_known_is_said_and_the_rest_is_guessed(name: str) -> None:
    dump = DUMPS[name]
    guesses = guess(dump.records)
    expected = NOT_KNOWN.get(name, [])
    by_token = guesses.median_length is not None  # the log-probs give the lengths
    asked = [field for field in KINDS if field in dump.truth or field in expected]
    unknown = [f for f in asked if guesses.best(f) is None and not (f == "response_length" and by_token)]
    assert unknown == expected
    said = {field for remark in guesses.remarks for field in remark.partition(":")[0].split(", ")}
    assert {*unknown} & {"prompt_id", "reward"} <= said


def test_of_thirty_dumps_most_are_guessed_right_and_none_is_guessed_wrong() -> None:
    """Fifteen were written before the rules and fifteen after; of those, two were guessed wrong at first."""
    assert len(DUMPS) == len({json.dumps(dump.records[0]) for dump in own_names()}) == 30
    known = Counter(name in NOT_KNOWN for each in (first_fifteen, second_fifteen) for name in (d.name for d in each()))
    assert known == {False: 21, True: 9}


@pytest.mark.parametrize("name", [name for name in DUMPS if name not in NOT_KNOWN])
def test_the_options_give_the_loss_that_the_dump_has_by_its_canonical_names(
    budget_cli: Run, tmp_path: Path, name: str
) -> None:
    dump = DUMPS[name]
    own, canonical = tmp_path / "own.jsonl", tmp_path / "canonical.jsonl"
    own.write_text("".join(json.dumps(record) + "\n" for record in dump.records))
    rows = zip(*dump.truth.values(), strict=True)
    named = [dict(zip(dump.truth, row, strict=True)) for row in rows]
    canonical.write_text("".join(json.dumps(r | {"prompt_id": json.dumps(r["prompt_id"])}) + "\n" for r in named))
    guesses = guess(dump.records)
    chosen = flags(guesses, list(KINDS), Fields())
    without = [part for flag in chosen if flag[0] != "--field" and "group" not in flag[0] for part in flag]
    budget = [] if "--budget-penalty-coef" in without else ["-B", str(guesses.median_length)]
    answers = []
    for file, options in ((own, [part for flag in chosen for part in flag]), (canonical, without)):
        done = budget_cli("loss", file, *options, *budget, "-f", "json")
        assert done.returncode == 0, done.stderr
        answers.append(json.loads(done.stdout))
    assert answers[0]["loss"] == pytest.approx(answers[1]["loss"], rel=1e-12)
    for key in ("responses", "prompts", "over_budget"):
        assert answers[0][key] == answers[1][key]
