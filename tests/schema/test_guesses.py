"""If this fails, `fields` guesses wrong of a dump with names of its own, or claims to know what it cannot."""

import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command import Run
from examples import examples
from hypothesis import given
from hypothesis.strategies import dictionaries, lists, sampled_from
from own_names import OwnNames, first_fifteen, own_names, second_fifteen

from budget_cli.schema.fields import KINDS, PLURALS, Fields, parse_mappings
from budget_cli.schema.guessed_prompts import Guess
from budget_cli.schema.guesses import Guesses, flags, guess
from budget_cli.schema.json_values import Foreign
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
    "agents, a task by its file": ["reward"],
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
    return [each for each in guesses.guesses if each.is_confident and each.one in KINDS]


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


def test_the_text_that_could_be_counted_is_the_responses() -> None:
    found = {name: guess(dump.records).best("response_text") for name, dump in DUMPS.items()}
    assert {name: best.value for name, best in found.items() if best is not None} == {
        "code, characters for a length": "output",
        "math, buckets of two prompts, and a name that says nothing": "text",
        "essays, a rubric and its total": "body",
    }


def test_of_thirty_dumps_most_are_guessed_right_and_none_is_guessed_wrong() -> None:
    """Fifteen were written before the rules and fifteen after; of those, two were guessed wrong at first."""
    assert len(DUMPS) == len({json.dumps(dump.records[0]) for dump in own_names()}) == 30
    known = Counter(name in NOT_KNOWN for each in (first_fifteen, second_fifteen) for name in (d.name for d in each()))
    assert known == {False: 20, True: 10}


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


def shuffled(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    random.Random(5).shuffle(records)
    return records


def several(make: Callable[[int, int], dict[str, Any]], prompts: int = 8, group: int = 4) -> list[dict[str, Any]]:
    """Return records, each made of its prompt and its place among the responses to it."""
    return [make(p, k) for p in range(prompts) for k in range(group)]


def size(p: int, k: int) -> int:
    return 20 + (7 * p + 13 * k) % 17


TRAPS: dict[str, tuple[list[dict[str, Any]], str]] = {  # records, and the field that nothing in them is
    "a task is a category": (several(lambda p, k: {"task": ("gsm8k", "aime24")[p % 2], "score": k % 2}), "prompt_id"),
    "so is its name": (
        several(lambda p, k: {"task_name": ("gsm8k", "aime24", "mbpp")[p % 3], "score": k}, 6),
        "prompt_id",
    ),
    "a seed of each attempt": (shuffled(several(lambda p, k: {"seed": k, "score": p % 2})), "prompt_id"),
    "an index of each attempt": (shuffled(several(lambda p, k: {"idx": k, "score": p % 2})), "prompt_id"),
    "a batch of two prompts": (several(lambda p, k: {"batch_id": p // 2, "score": k % 2}), "prompt_id"),
    "a text that several questions are on": (
        several(lambda p, k: {"persona": f"You are a kind teacher of class {p // 2}", "score": k % 2}),
        "prompt_id",
    ),
    "a reward beside one of the length": (
        several(lambda p, k: {"qid": f"q{p}", "accuracy_reward": k % 2, "length_reward": -0.1 * size(p, k)}),
        "reward",
    ),
    "a format that is right": (several(lambda p, k: {"qid": f"q{p}", "format_ok": k % 2 == 0}), "reward"),
    "an exit status": (several(lambda p, k: {"qid": f"q{p}", "status": k % 2}), "reward"),
    "how hard a prompt is": (several(lambda p, k: {"qid": f"q{p}", "human_score": p / 8, "solved": p % 2}), "reward"),
    "means of the group": (several(lambda p, k: {"qid": f"q{p}", "mean_reward": p / 8, "reward_std": 0.5}), "reward"),
    "a weight": (several(lambda p, k: {"qid": f"q{p}", "reward_weight": k / 4}), "reward"),
    "advantages": (several(lambda p, k: {"qid": f"q{p}", "score": (-1.5, 0.5, 0.5, 0.5)[k]}), "reward"),
    "tokens of both": (several(lambda p, k: {"qid": f"q{p}", "score": k, "tokens": size(p, k)}), "response_length"),
    "tokens of the prompt": (several(lambda p, k: {"qid": f"q{p}", "prompt_tokens": 9 + p}), "response_length"),
    "tokens of thought and answer": (
        several(lambda p, k: {"qid": f"q{p}", "think_tokens": size(p, k), "answer_tokens": 3 + k, "tool_tokens": k}),
        "response_length",
    ),
    "words": (
        several(lambda p, k: {"qid": f"q{p}", "output": "so it is " * size(p, k), "output_len": 3 * size(p, k)}),
        "response_length",
    ),
    "the sampler and the trainer": (
        several(lambda p, k: {"qid": f"q{p}", "rollout_logp": [-0.5] * size(p, k), "train_logp": [-0.4] * size(p, k)}),
        "old_log_prob",
    ),
    "log-probs of the prompt": (
        several(lambda p, k: {"qid": f"q{p}", "prompt_logprobs": [-0.5] * (3 + p)}),
        "log_prob",
    ),
    "probabilities": (several(lambda p, k: {"qid": f"q{p}", "probs": [0.5] * size(p, k)}), "log_prob"),
    "rewards by token": (
        several(lambda p, k: {"qid": f"q{p}", "n_out": size(p, k), "token_rewards": [-0.1] * size(p, k)}),
        "log_prob",
    ),
    "a KL by token": (several(lambda p, k: {"qid": f"q{p}", "kl": [-0.01] * size(p, k), "n": size(p, k)}), "log_prob"),
    "whether it ran": (several(lambda p, k: {"qid": f"q{p}", "ok": k % 2 == 0, "n_out": size(p, k)}), "reward"),
    "a reward that some records lack": (
        several(lambda p, k: {"qid": f"q{p}", "accuracy": k % 2} | ({"reward": k / 2} if k else {})),
        "reward",
    ),
    "the truth in the settings of a reward": (
        several(lambda p, k: {"qid": f"q{p}", "reward_spec": {"ground_truth": str(p)}, "out_len": size(p, k)}),
        "reward",
    ),
    "the length before": (
        several(lambda p, k: {"qid": f"q{p}", "score": k, "previous_response_length": size(p, k)}),
        "response_length",
    ),
    "a mask of samples": (several(lambda p, k: {"qid": f"q{p}", "sample_loss_mask": [k % 2]}), "response_length"),
    "log-probs of the last turn": (
        several(lambda p, k: {"qid": f"q{p}", "last": {"logps": [-0.5] * 3}, "turns": [{"logps": [-0.5] * 3}] * 2}),
        "log_prob",
    ),
    "a metric among others": (several(lambda p, k: {"qid": f"q{p}", "bleu": k / 8, "comet": 1 + p * k}), "reward"),
    "columns of several prompts": (
        [
            {"id": ["a", "a", "b", "b"], "prompt": ["x", "x", "y", "y"], "scores": [0.0, 1.0, 1.0, i / 8]}
            for i in range(8)
        ],
        "prompt_id",
    ),
}


@pytest.mark.parametrize("name", TRAPS)
def test_what_only_looks_like_a_field_is_not_taken_for_it_with_confidence(name: str) -> None:
    records, field = TRAPS[name]
    assert guess(records).best(field) is None


def test_the_finer_of_two_texts_is_the_prompt() -> None:
    records = several(lambda p, k: {"context": f"a long text, no. {p // 2}", "question": f"what is in it, {p}?"})
    found = guess(records)
    assert [(each.value, each.confidence) for each in found.guesses if each.field == "prompt_id"] == [
        ("digest(question)", "sure"),
        ("digest(context)", "possible"),
    ]


def texts_of(p: int, k: int) -> dict[str, Any]:
    """Return a prompt's text that comes back for each of its responses."""
    return {"prompt": f"Q{p}", "score": k % 2}


DOUBTED: dict[str, tuple[list[dict[str, Any]], str, str]] = {  # records, the place that is no prompt's, what is
    "a group of several prompts": (several(lambda p, k: {"group_id": p // 2} | texts_of(p, k)), "group_id", "prompt"),
    "an id of a prompt that has two": (
        several(lambda p, k: {"prompt_id": p // 2, "q": f"Q{p}", "score": k}),
        "prompt_id",
        "q",
    ),
    "a hash of something coarser": (
        several(lambda p, k: {"prompt_hash": f"{p // 2}", "q": f"Q{p}", "score": k}),
        "prompt_hash",
        "q",
    ),
    "a template, with its text": (
        several(
            lambda p, k: {
                "prompt_key": f"t{p // 2}",
                "prompt_text": f"Answer this question, number {p // 2}, step by step",
                "question": f"{p}+1",
                "score": k,
            }
        ),
        "prompt_key",
        "question",
    ),
    "messages": (
        several(lambda p, k: {"group_id": p // 2, "prompt": [{"role": "user", "content": f"Q{p}"}], "score": k}),
        "group_id",
        "digest(prompt)",
    ),
    "too few records to see more": ([{"group_id": 0} | texts_of(p, p) for p in range(3)], "group_id", "digest(prompt)"),
    "texts that never come twice": (
        several(lambda p, k: {"group_id": p, "prompt": f"Q{p}/{k}", "score": k}),
        "group_id",
        "",
    ),
}


@pytest.mark.parametrize("name", DOUBTED)
def test_an_id_of_several_texts_is_only_possible(name: str) -> None:
    records, wrong, right = DOUBTED[name]
    found = guess(records)
    ids = {each.value: each.confidence for each in found.guesses if each.field == "prompt_id"}
    assert ids.get(wrong, "possible") == "possible"
    best = found.best("prompt_id")
    assert (best.value if best else "") == right


def test_an_id_within_whose_texts_no_two_differ_is_sure() -> None:
    """Though two ids have the same text."""
    best = guess(several(lambda p, k: {"qid": p, "prompt": f"Q{p // 2}", "score": k})).best("prompt_id")
    assert best is not None
    assert (best.value, best.confidence) == ("qid", "sure")


def test_a_template_is_no_prompt() -> None:
    assert guess(several(lambda p, k: {"prompt_template_hash": f"{p}", "score": k})).best("prompt_id") is None


LONG = {  # the lengths that a record has beside lists of its prompt's tokens and those of its response
    "a response's": lambda prompt, size: {"resp_len": size},
    "a response's by its canonical name": lambda prompt, size: {"response_length": size},
    "both": lambda prompt, size: {"resp_len": size, "seq_len": prompt + size},
    "of all tokens": lambda prompt, size: {"total_tokens": prompt + size},
}


@pytest.mark.parametrize("name", LONG)
def test_log_probs_of_the_prompt_and_the_response_are_only_possible(name: str) -> None:
    def record(p: int, k: int) -> dict[str, Any]:
        n = size(p, k)
        return {"pid": p, "score": k, "logprobs": [-0.25] * (7 + n), "ref_logprobs": [-0.5] * (7 + n)} | LONG[name](
            7, n
        )

    found = guess(several(record))
    for field, place in (("log_prob", "logprobs"), ("old_log_prob", "ref_logprobs")):
        assert [(each.value, each.confidence) for each in found.unsure(field)] == [(place, "possible")]
    why = "as long as total_tokens" if "all" in name else f"longer than {next(iter(LONG[name](7, 1)))}"
    assert (
        f"log_prob, old_log_prob: logprobs is {why}, so it may hold the prompt's tokens or padding, too"
        in found.remarks
    )
    best = found.best("response_length")
    assert best is None or best.value in ("resp_len", "response_length")


OLD, LONE = {"old_log_prob": -0.5}, {"log_prob": -0.5}
TAKEN: dict[str, tuple[dict[str, Any], dict[str, str], str, str]] = {  # keys, places, the field, why it is not known
    "the reference is not the policy": (OLD, {}, "log_prob", "the only log-probs are old_log_prob"),
    "the policy is not the reference": (
        LONE | {"lp": -0.5},
        {"log_prob": "lp"},
        "old_log_prob",
        "log_prob holds log_prob",
    ),
    "lists of the reference": ({"old_log_prob": [-0.5, -0.25]}, {}, "log_prob", "the only log-probs are old_log_prob"),
    "within an object": ({"a": OLD}, {}, "log_prob", "the only log-probs are a.old_log_prob"),
    "placed by an option": ({"lp": -0.5}, {"old_log_prob": "lp"}, "log_prob", "lp holds old_log_prob"),
    "placed in an expression": ({"lps": [-0.5]}, {"old_log_prob": "sum(lps)"}, "log_prob", "lps holds old_log_prob"),
    "a score that is the advantage": ({"score": 1}, {"advantage": "score"}, "reward", "score holds advantage"),
    "a number of tokens that is the reward": (
        {"n_out": 1},
        {"reward": "n_out"},
        "response_length",
        "n_out holds reward",
    ),
    "an id that is the step": ({"task_id": 1}, {"step": "task_id"}, "prompt_id", "task_id holds step"),
}


@pytest.mark.parametrize("name", TAKEN)
def test_what_holds_one_field_is_not_proposed_for_another(name: str) -> None:
    keys, places, field, why = TAKEN[name]

    def record(p: int, k: int) -> dict[str, Any]:
        own = {} if field == "prompt_id" else {"prompt_id": p}
        return own | {key: _varied(key, value, p, k) for key, value in keys.items()}

    given = Fields().with_places({one: parse_place(place) for one, place in places.items()})
    found = guess(several(record), {*KINDS} - {field}, given)
    assert [each for each in found.guesses if each.one == field] == []
    assert f"{field}: {why}" in found.remarks


def _varied(key: str, value: Any, p: int, k: int) -> Any:
    """Return another value for each response, or for each prompt if the key is that of an id."""
    if isinstance(value, dict):
        return {inner: _varied(inner, one, p, k) for inner, one in value.items()}
    if isinstance(value, list):
        return value * size(p, k)
    return p if key.endswith("id") else size(p, k) if value > 0 else value * size(p, k)


def test_arrays_of_the_reference_are_not_proposed_for_the_policy() -> None:
    records = [
        {"prompt_id": p, "rewards": [1.0, p / 8], "old_log_probs": [-2.5, -3.5], "response_lengths": [3, 4 + p]}
        for p in range(8)
    ]
    found = guess(records, {*KINDS} - {"log_prob"})
    assert (found.guesses, found.remarks) == ((), ("log_prob: the only log-probs are old_log_probs",))


OTHERS = {"step": 1, "advantage": 0.5, "prompt_length": 9, "turn": 0, "rollout_id": 3, "finish_reason": "stop"}


@pytest.mark.parametrize("by_token", [False, True])
@pytest.mark.parametrize("missing", KINDS)
@pytest.mark.parametrize("form", ["one response", "all responses"])
def test_of_canonical_names_none_is_proposed_for_another(form: str, missing: str, by_token: bool) -> None:
    def response(p: int, k: int) -> dict[str, Any]:
        n = size(p, k)
        sums = {"log_prob": -0.5 * n, "old_log_prob": -0.25 * n}
        lists = {"log_prob": [-0.5] * n, "old_log_prob": [-0.25] * n}
        return {"prompt_id": p, "reward": k / 4, "response_length": n} | (lists if by_token else sums)

    def prompt(p: int) -> dict[str, Any]:
        drawn = [response(p, k) for k in range(4)]
        return {"prompt_id": p} | {many: [each[one] for each in drawn] for one, many in PLURALS.items()}

    records = (
        [response(p, k) | OTHERS for p in range(8) for k in range(4)]
        if form == "one response"
        else list(map(prompt, range(8)))
    )
    for record in records:
        record.pop(missing, None)
        record.pop(PLURALS.get(missing, ""), None)
    found = guess(records, {*KINDS} - {missing})
    proposed = [each.value for each in found.guesses if each.option == "--field" and each.one == missing]
    assert proposed == []


def test_the_policy_is_found_beside_a_reference_that_is_placed() -> None:
    records = several(lambda p, k: {"prompt_id": p, "logp": -0.5 * size(p, k), "old_log_prob": -0.25 * size(p, k)})
    best = guess(records, {*KINDS} - {"log_prob"}).best("log_prob")
    assert best is not None
    assert best.value == "logp"


HOSTILE: list[Any] = [
    *(10**400, float("nan"), float("inf"), -1e308, None, True, "", "\ud800", Foreign("a time"), {}, [], [[]], [None]),
    *([-0.5, 10**400], [{"content": 3}], [{"": 1}], {"": {"": 1}}, {"a": {"b": {"c": {"d": {"e": 1}}}}}, -0.5, 3, "p1"),
]
HELD = (
    "qid",
    "prompt",
    "reward",
    "score",
    "logp",
    "ref_logp",
    "n_out",
    "mask",
    "messages",
    "step",
    "a.b",
    "it's",
    "\ud800",
)


@examples(200)
@given(records=lists(dictionaries(sampled_from(HELD), sampled_from(HOSTILE), max_size=6), min_size=1, max_size=9))
def test_whatever_records_hold_the_options_can_be_parsed(records: list[dict[str, Any]]) -> None:
    for option, value in flags(guess(records), list(KINDS), Fields()):
        if option == "--field" and not value.endswith("=PATH"):
            parse_mappings([value])
