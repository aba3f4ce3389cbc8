"""Thirty dumps with names of their own, no two alike, and what their fields are: what `fields` has to guess.

The first fifteen were written before the rules of `budget_cli/schema/guesses.py`, the others after them.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

WORDS = ["add", "the", "two", "numbers", "then", "carry", "one", "left", "over", "check", "whether", "seven", "divides"]
WORDS += [
    "total",
    "because",
    "both",
    "sides",
    "must",
    "agree",
    "so",
    "we",
    "return",
    "a",
    "list",
    "of",
    "every",
    "index",
]
WORDS += ["index", "below", "limit", "and", "keep", "white", "knight", "near", "centre", "before", "castling", "short"]
Record = dict[str, Any]


class Rollout(NamedTuple):
    """A response as a trainer made it: all that a dump may write of it."""

    step: int
    prompt: int  # of the step, from 0
    problem: int  # the same in another step is drawn again
    k: int  # of the prompt, from 0
    group: int
    at: int  # of the dump, from 0
    question: str
    text: str
    question_tokens: list[int]
    tokens: list[int]
    log_probs: list[float]
    reference: list[float]
    parts: tuple[float, float]  # of the reward, which is their sum
    passed: bool
    advantage: float
    seconds: float

    @property
    def length(self) -> int:
        """Tokens."""
        return len(self.tokens)

    @property
    def reward(self) -> float:
        """The sum of its parts."""
        return sum(self.parts)


class OwnNames(NamedTuple):
    """A dump, and for each field its value of each response; a field that the dump does not tell is left out."""

    name: str
    records: list[Record]
    truth: dict[str, list[Any]]


def rollouts(seed: int, prompts: int = 6, group: int = 4, steps: int = 1, again: bool = False) -> list[Rollout]:
    """Make the responses of some steps; with `again`, each step draws the same problems."""
    chance = random.Random(seed)
    made: list[Rollout] = []
    questions = [_words(chance, 9, 25) for _ in range(prompts * (1 if again else steps))]
    for step in range(steps):
        for prompt in range(prompts):
            problem = prompt if again else step * prompts + prompt
            question = questions[problem]
            question_tokens = [chance.randrange(50, 30_000) for _ in range(len(question) // 4)]
            luck = chance.random()
            several = []
            for k in range(group):
                length = chance.randrange(8, 40)
                log_probs = [round(-chance.expovariate(2) - 1e-4, 4) for _ in range(length)]
                reference = [round(min(-1e-4, each + chance.gauss(0, 0.05)), 4) for each in log_probs]
                passed = chance.random() < 0.2 + 0.6 * luck
                parts = (float(passed), chance.choice((0.0, 0.25, 0.5)))
                several.append(
                    Rollout(
                        step,
                        prompt,
                        problem,
                        k,
                        group,
                        len(made) + k,
                        question,
                        _text(chance, length),
                        question_tokens,
                        [chance.randrange(50, 30_000) for _ in range(length)],
                        log_probs,
                        reference,
                        parts,
                        passed,
                        0.0,
                        round(chance.uniform(1, 9), 3),
                    )
                )
            mean = sum(each.reward for each in several) / group
            made += [each._replace(advantage=round(each.reward - mean, 9)) for each in several]
    return made


def _words(chance: random.Random, least: int, most: int) -> str:
    return " ".join(chance.choice(WORDS) for _ in range(chance.randrange(least, most)))


def _text(chance: random.Random, tokens: int) -> str:
    """Return a text of about four characters a token."""
    text = ""
    while len(text) < tokens * 3.2 + chance.randrange(6):
        text += chance.choice(WORDS) + chance.choice((" ", ", ", ".\n"))
    return text


def _by_prompt(made: Sequence[Rollout]) -> Iterator[list[Rollout]]:
    for i in range(0, len(made), made[0].group):
        yield list(made[i : i + made[0].group])


VALUES: dict[str, Callable[[Rollout], Any]] = {
    "prompt_id": lambda r: [r.step, r.prompt],
    "reward": lambda r: r.reward,
    "log_prob": lambda r: r.log_probs,
    "old_log_prob": lambda r: r.reference,
    "response_length": lambda r: r.length,
}
ALL = tuple(VALUES)


def _dump(
    name: str,
    made: Sequence[Rollout],
    records: list[Record],
    fields: Sequence[str],
    **others: Callable[[Rollout], Any],
) -> OwnNames:
    """Put a dump beside the truth; `others` says what a field is that is not as in VALUES."""
    values = {field: VALUES[field] for field in fields} | others
    return OwnNames(name, records, {field: [value(r) for r in made] for field, value in values.items()})


def passed(r: Rollout) -> float:
    """The reward of those that write only whether a response passed."""
    return float(r.passed)


def first_fifteen() -> Iterator[OwnNames]:
    """Yield those that were written before the rules."""
    made = rollouts(1, steps=2)
    yield _dump(
        "math, a line a response, with an iteration",
        made,
        [
            {
                "iter": r.step,
                "qid": f"gsm-{r.problem:04}",
                "rollout_idx": r.k,
                "total_score": r.reward,
                "num_gen_tokens": r.length,
                "num_prompt_tokens": len(r.question_tokens),
                "token_logps": r.log_probs,
                "ref_token_logps": r.reference,
                "temperature": 1.0,
            }
            for r in made
        ],
        ALL,
    )
    made = rollouts(2, group=8, prompts=5)
    yield _dump(
        "code, nested",
        made,
        [
            {
                "problem": {"slug": f"two-sum-{r.problem}", "difficulty": 1 + r.problem % 3, "lang": "python"},
                "attempt": r.k,
                "verdict": {"all_tests_ok": r.passed, "runtime_ms": r.seconds * 100},
                "sampler": {"n_out": r.length, "n_in": len(r.question_tokens), "temp": 0.8, "seed": r.at * 7919},
                "policy_lp": r.log_probs,
                "frozen_lp": r.reference,
            }
            for r in made
        ],
        ALL,
        reward=passed,
    )
    made = rollouts(3)
    yield _dump(
        "math, a line a prompt, arrays",
        made,
        [
            {
                "task_uid": f"m-{of[0].problem}",
                "statement": of[0].question,
                "answers": [r.text for r in of],
                "grades": [r.reward for r in of],
                "out_lens": [r.length for r in of],
                "lps": [r.log_probs for r in of],
                "base_lps": [r.reference for r in of],
                "mean_grade": sum(r.reward for r in of) / len(of),
            }
            for of in _by_prompt(made)
        ],
        ALL,
    )
    made = rollouts(4)
    yield _dump(
        "chat, a judge, sums of log-probs",
        made,
        [
            {
                "conv": f"c-{9000 + 13 * r.problem}",
                "turns": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": r.question}],
                "reply": r.text,
                "judge_rating": r.reward * 4,
                "reply_toks": r.length,
                "seq_logprob": sum(r.log_probs),
                "seq_logprob_sft": sum(r.reference),
                "ts": 1_790_000_000.25 + r.at * 1.5,
                "latency_s": r.seconds,
            }
            for r in made
        ],
        ALL,
        reward=lambda r: r.reward * 4,
        log_prob=lambda r: sum(r.log_probs),
        old_log_prob=lambda r: sum(r.reference),
    )
    made = rollouts(5, prompts=8)
    yield _dump(
        "games, a board by its seed",
        made,
        [
            {
                "board_seed": 41 + r.problem * 17,
                "episode": r.at,
                "return": r.reward,
                "moves": 5 + r.at % 9,
                "gen_tokens": r.length,
                "actions_logp": r.log_probs,
                "behaviour_logp": r.reference,
                "ppl": round(2 + r.seconds / 7, 3),
            }
            for r in made
        ],
        ALL,
    )
    made = rollouts(6)
    yield _dump(
        "math, no id but the question, no reference",
        made,
        [{"q": r.question, "a": r.text, "correct": r.passed, "a_token_ids": r.tokens, "lp": r.log_probs} for r in made],
        ("prompt_id", "log_prob", "response_length"),
        reward=passed,
    )
    made = rollouts(7)
    yield _dump(
        "chat, nothing says which prompt",
        made,
        [{"reply": r.text, "pts": r.reward, "ntok": r.length, "model": "m-7b"} for r in made],
        ("reward", "response_length"),
    )
    made = rollouts(8)
    yield _dump(
        "math, parts and their sum",
        made,
        [
            {
                "uid_q": 3 + r.problem,
                "r_acc": r.parts[0],
                "r_fmt": r.parts[1],
                "r_sum": r.reward,
                "len": r.length,
                "adv": r.advantage,
            }
            for r in made
        ],
        ("prompt_id", "reward", "response_length"),
    )
    made = rollouts(9)
    yield _dump(
        "math, parts and no sum",
        made,
        [
            {
                "pid": f"{r.problem:x}f",
                "reward_format": r.parts[1],
                "reward_correct": r.parts[0],
                "completion_tokens": r.length,
                "max_tokens": 64,
                "level": 1 + r.problem % 2,
            }
            for r in made
        ],
        ("prompt_id", "response_length"),
    )
    made = rollouts(10)
    yield _dump(
        "puzzles, a line a prompt, a list of objects",
        made,
        [
            {
                "puzzle": f"sudoku-{of[0].problem}",
                "samples": [{"text": r.text, "score": r.reward, "n_tokens": r.length, "secs": r.seconds} for r in of],
                "best_of": max(r.reward for r in of),
            }
            for of in _by_prompt(made)
        ],
        ("prompt_id", "reward", "response_length"),
    )
    made = rollouts(11)
    yield _dump(
        "code, characters for a length",
        made,
        [
            {"example": 12 + r.problem, "output": r.text, "output_len": len(r.text), "is_right": int(r.passed)}
            for r in made
        ],
        ("prompt_id",),
        reward=passed,
    )
    made = rollouts(12)
    yield _dump(
        "two lists of log-probs that their names do not tell apart",
        made,
        [
            {"g": f"grp{r.problem:02}", "rew": r.reward, "T": r.length, "lp_a": r.log_probs, "lp_b": r.reference}
            for r in made
        ],
        ("prompt_id", "reward", "response_length"),
    )
    made = rollouts(13)
    yield _dump(
        "chat, negative log-likelihoods with the other sign",
        made,
        [
            {
                "doc": f"d{r.problem}",
                "nll": [-each for each in r.log_probs],
                "win": r.passed,
                "tokens_out": r.length,
                "tokens_in": len(r.question_tokens),
                "perplexity": 1 + r.seconds,
            }
            for r in made
        ],
        ("prompt_id", "response_length"),
        reward=passed,
    )
    made = rollouts(14, prompts=7)
    yield _dump(
        "code, a verdict in words, nested log-probs",
        made,
        [
            {
                "meta": {"grp": f"cf/{1700 + r.problem}", "idx": r.at, "wall": 1_790_000_000 + r.at},
                "outcome": "pass" if r.passed else "fail",
                "usage": {"prompt": len(r.question_tokens), "completion": r.length},
                "logprobs": {"cur": r.log_probs, "ref": r.reference},
            }
            for r in made
        ],
        ALL,
        reward=passed,
    )
    made = rollouts(15)
    yield _dump(
        "tokens of prompt and response, a mask, single letters",
        made,
        [
            {
                "prompt_hash": f"{(r.problem + 3) * 2_654_435_761 % 2**32:08x}",
                "input_ids": r.question_tokens + r.tokens,
                "mask": [0] * len(r.question_tokens) + [1] * r.length,
                "lp_cur": r.log_probs,
                "lp_init": r.reference,
                "R": r.reward,
                "A": r.advantage,
            }
            for r in made
        ],
        ALL,
    )


def second_fifteen() -> Iterator[OwnNames]:
    """Yield those that were written after the rules, and against them."""
    made = rollouts(16, steps=2, again=True)
    yield _dump(
        "chat, ids that begin again in each epoch",
        made,
        [
            {
                "promptNo": r.prompt,
                "epochNo": r.step,
                "finalReward": r.reward,
                "completionLength": r.length,
                "policyLogProb": sum(r.log_probs),
                "baseLogProb": sum(r.reference),
                "lengthPenalty": -0.001 * r.length,
            }
            for r in made
        ],
        ALL,
        log_prob=lambda r: sum(r.log_probs),
        old_log_prob=lambda r: sum(r.reference),
    )
    made = rollouts(17, prompts=8)
    yield _dump(
        "math, buckets of two prompts, and a name that says nothing",
        made,
        [{"bucket": f"b{r.problem // 2}", "text": r.text, "val": r.reward, "w": 1.0} for r in made],
        (),
    )
    made = _shuffled(rollouts(18, prompts=7))
    yield _dump(
        "games, three ends, regrets that look like log-probs",
        made,
        [
            {
                "match_id": f"m{r.problem}",
                "end": ("loss", "draw", "win")[r.at % 3],
                "regrets": [-0.25, -0.5 - r.at / 100, -0.125],
                "plies": 20 + r.at % 11,
                "clock": r.seconds,
            }
            for r in made
        ],
        ("prompt_id",),
    )
    made = rollouts(19, group=8, prompts=4)
    yield _dump(
        "code, counts of tests and their share",
        made,
        [
            {
                "challenge_id": 100 + r.problem,
                "tests_passed": int(r.parts[1] * 8),
                "tests_total": 4,
                "pass_rate": r.parts[1] * 2,
                "gen_len": r.length,
                "prompt_len": len(r.question_tokens),
                "wall_ms": r.seconds * 1000,
            }
            for r in made
        ],
        ("prompt_id", "response_length"),
        reward=lambda r: r.parts[1] * 2,
    )
    made = _shuffled(rollouts(20, prompts=9))
    yield _dump(
        "chat, a score of the prompt, and a reward that is not named like one",
        made,
        [
            {
                "qhash": f"{r.problem * 7919 + 13:06x}",
                "difficulty_score": 0.1 * (r.problem % 4),
                "helpfulness": r.reward,
                "toks": r.length,
                "content": r.text,
            }
            for r in made
        ],
        ("prompt_id", "response_length"),
    )
    made = rollouts(21)
    yield _dump(
        "math, a weighted total, an id of each response",
        made,
        [
            {
                "id": f"{r.at:08d}",
                "grp_key": f"{r.step}-{r.prompt}",
                "rm_score": r.parts[1],
                "rule_score": r.parts[0],
                "final_score": 0.8 * r.parts[0] + 0.2 * r.parts[1],
                "reward_latency_ms": r.seconds,
                "ntoks_out": r.length,
                "ntoks_ctx": r.length + len(r.question_tokens),
            }
            for r in made
        ],
        ("prompt_id", "response_length"),
        reward=lambda r: 0.8 * r.parts[0] + 0.2 * r.parts[1],
    )
    made = rollouts(22, prompts=5, group=6)
    yield _dump(
        "chat, an object for each token",
        made,
        [
            {
                "item": 5 + r.problem,
                "choice": {
                    "message": {"role": "assistant", "content": r.text},
                    "logprobs": [
                        {"token": str(token), "logprob": one, "ref_logprob": other}
                        for token, one, other in zip(r.tokens, r.log_probs, r.reference, strict=True)
                    ],
                },
                "graded": {"points": r.reward, "by": "judge-3"},
            }
            for r in made
        ],
        ALL,
    )
    made = rollouts(23)
    yield _dump(
        "games, two returns and neither the total",
        made,
        [
            {
                "prompt_key": f"k/{r.problem}",
                "shaped_return": r.reward - 0.01 * r.length,
                "raw_return": r.reward,
                "adv_norm": r.advantage / 2,
                "horizon": 64,
                "emitted": r.length,
            }
            for r in made
        ],
        ("prompt_id", "response_length"),
    )
    made = rollouts(24, prompts=8)
    yield _dump(
        "chat, several turns, each with a reward",
        made,
        [
            {
                "dialog_id": f"dlg-{r.problem}",
                "turn_rewards": [0.0, r.parts[0], r.parts[1]],
                "reply_lens": [r.length // 2, 1, r.length - r.length // 2 - 1],
                "episode_reward": r.reward,
                "n_generated": r.length,
                "user_lens": [4, 6, 5],
                "log_ratio_clip": 0.2,
            }
            for r in made
        ],
        ("prompt_id", "reward", "response_length"),
    )
    made = rollouts(25)
    yield _dump(
        "essays, a rubric and its total",
        made,
        [
            {
                "essay_task": f"E{r.problem}",
                "rubric": {"style": r.parts[1], "facts": r.parts[0]},
                "total": r.reward,
                "word_count": len(r.text.split()),
                "body": r.text,
            }
            for r in made
        ],
        ("prompt_id", "reward"),
    )
    made = rollouts(26)
    yield _dump(
        "tokens only",
        made,
        [
            {
                "in_ids": r.question_tokens,
                "out_ids": r.tokens,
                "solved_flag": int(r.passed),
                "lp_out": r.log_probs,
                "entropy_out": [0.5 - each / 7 for each in r.log_probs],
            }
            for r in made
        ],
        ("prompt_id", "log_prob", "response_length"),
        reward=passed,
    )
    made = rollouts(27, prompts=10, group=3)
    yield _dump(
        "agents, a task by its file",
        made,
        [
            {
                "task": f"/data/task_{r.problem}.json",
                "try": r.k + 1,
                "prior_success": 0.4,
                "ok": r.passed,
                "steps_taken": 3 + r.at % 8,
                "usd": round(r.length * 0.0003, 5),
                "out_tok": r.length,
                "in_tok": 5 * r.length + len(r.question_tokens),
            }
            for r in made
        ],
        ("prompt_id", "response_length"),
        reward=passed,
    )
    made = _shuffled(rollouts(28, prompts=6, steps=2))
    yield _dump(
        "math, three policies",
        made,
        [
            {
                "uid": r.at,
                "example_uid": 123_456_789_012 + r.problem,
                "sum_logp_new": sum(r.log_probs),
                "sum_logp_old": sum(r.log_probs) - 0.01,
                "sum_logp_ref": sum(r.reference),
                "pts_awarded": r.reward,
                "n_new_tokens": r.length,
                "seed": 17,
            }
            for r in made
        ],
        ALL,
        log_prob=lambda r: sum(r.log_probs),
        old_log_prob=lambda r: sum(r.reference),
    )
    made = [r for r in rollouts(29, prompts=8, group=6) if r.at % 5 or r.problem % 2]
    yield _dump(
        "science, groups of which some responses were dropped",
        made,
        [
            {
                "topic": ("physics", "chemistry")[r.problem % 2],
                "q_idx": r.problem,
                "verified": r.passed,
                "response": {"text": r.text, "n_tok": r.length},
                "prompt": {"n_tok": len(r.question_tokens)},
            }
            for r in made
        ],
        ("prompt_id", "response_length"),
        reward=passed,
    )
    made = rollouts(30)
    yield _dump(
        "a table whose numbers are texts",
        made,
        [
            {"pid": f"p{r.problem}", "score": f"{r.reward}", "length": f"{r.length}", "when": f"2026-11-{r.at + 1:02}"}
            for r in made
        ],
        ("prompt_id", "reward"),
    )


def _shuffled(made: list[Rollout]) -> list[Rollout]:
    random.Random(99).shuffle(made)
    return made


def own_names() -> list[OwnNames]:
    """Return all thirty."""
    return [*first_fifteen(), *second_fifteen()]
