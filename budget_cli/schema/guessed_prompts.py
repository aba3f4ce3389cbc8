"""The places of some records → what may say to which prompt and step a response belongs, with the reason.

Knows no bytes. Names are evidence, and so are values: of an id, that it comes back as often for each prompt; of a step,
that it hardly ever goes down. What is a prompt's by its values and has a name that says nothing is only possible.
"""

import re
from collections import Counter
from collections.abc import Hashable, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

from budget_cli.schema.fields import singular
from budget_cli.schema.leaves import Leaf

Confidence = Literal["sure", "likely", "possible"]
FEWEST = 4  # records, below which values show nothing and only names count
UNIFORM = 0.8  # share of the prompts that have the most common number of responses
DISORDER = 0.05  # share of records whose step is below the one before
LONGEST_ID = 200  # characters
FEWEST_PROMPTS = 4  # by a name that may be that of a category, too
LARGEST_GROUP = 64  # the same
ID_WORDS = {"id", "ids", "idx", "uid", "uuid", "index", "key", "hash", "slug"}
AT_ITS_END = {"no", "nr", "num", "number"}  # an id only as the last word: num_prompts is none
PROMPT_WORDS = {
    *("prompt", "problem", "question", "puzzle", "task", "example", "query", "item", "group", "grp", "instance"),
    *("challenge", "exercise", "board", "game", "scenario", "case", "conv", "conversation", "dialog", "dialogue"),
    *(
        "doc",
        "document",
        "row",
        "ex",
        "q",
        "prob",
        "ques",
        "level",
        "quest",
        "riddle",
        "theorem",
        "goal",
        "issue",
        "thm",
        "lemma",
    ),
}
BOTH = r"(q|p|t|g|ex|prob|problem|prompt|task|question|group|grp|puzzle|item|example)(id|idx|uid|hash|key|no|num|nr)s?"
ITEM_WORDS = {  # what is numbered is one response, or a place in the run
    *("rollout", "rollouts", "sample", "completion", "generation", "gen", "response", "answer", "trace", "parent"),
    *("session", "request", "req", "traj", "trajectory", "episode", "attempt", "worker", "rank", "shard", "replica"),
    *("batch", "chunk", "file", "page", "job", "process", "device", "stage", "thread", "actor", "engine", "seed"),
    *("turn", "try", "trial", "node", "gpu", "host", "server", "seq", "beam", "candidate", "member", "k", "run"),
}
OTHER_WORDS = {  # what no prompt is known by, though it may come back as often for each
    *("model", "policy", "checkpoint", "ckpt", "commit", "version", "dataset", "source", "split", "lang", "language"),
    *(
        "difficulty",
        "category",
        "topic",
        "domain",
        "type",
        "kind",
        "tag",
        "tags",
        "subject",
        "finish",
        "stop",
        "reason",
    ),
    *("status", "verdict", "outcome", "result", "role", "system", "gold", "gt", "gts", "truth", "target", "expected"),
    *("label", "reference", "ref", "solution", "temperature", "temp", "top", "length", "len", "tokens", "toks", "tok"),
    *("ntok", "max", "min", "budget", "limit", "time", "ts", "timestamp", "date", "seconds", "reward", "score", "mode"),
    *(
        "size",
        "count",
        "cnt",
        "n",
        "level",
        "right",
        "solved",
        "success",
        "ok",
        "won",
        "win",
        "epoch",
        "step",
        "iter",
        "iteration",
        "update",
        "correct",
        "passed",
        "env",
    ),
    *("response", "completion", "output", "reply", "answer", "prediction", "pred", "config", "user", "annotator"),
}
NUMBER_WORDS = {"tokens", "toks", "tok", "usage", "in", "out", "length", "len", "chars", "reward", "score"}
STEP_WORDS = {"step", "iter", "iteration", "epoch", "update"}
NO_STEP = {
    "env",
    "action",
    "tool",
    "num",
    "n",
    "max",
    "total",
    "count",
    "reasoning",
    "per",
    "turn",
    "sub",
    "size",
    "taken",
}
TEXT_WORDS = {
    *("prompt", "question", "problem", "query", "input", "instruction", "instructions", "task", "q", "statement"),
    *("messages", "conversation", "conv", "context", "observation", "obs", "user", "puzzle", "description", "dialog"),
    *(
        "src",
        "claim",
        "sentence",
        "turns",
        "chat",
        "request",
        "ask",
        "goal",
        "board",
        "position",
        "state",
        "exercise",
        "theorem",
    ),
}
QUESTIONS = {  # what a prompt has only one of
    *("prompt", "question", "problem", "query", "q", "instruction", "instructions", "puzzle", "exercise", "input"),
}
SHARED_TEXT = {"template", "templates", "system"}  # around the questions of several prompts
NO_TEXT = {  # of the response, or of what is right
    *("response", "completion", "output", "answer", "a", "reply", "generation", "solution", "rollout", "prediction"),
    *("gold", "gt", "gts", "truth", "target", "expected", "label", "reference", "system", "final", "extracted"),
}


class Guess(NamedTuple):
    """Where a field may be."""

    field: str
    option: str  # --field, --group or --group-size
    value: str  # of the option
    confidence: Confidence
    reason: str

    @property
    def one(self) -> str:
        """The field of one response, whether it is `reward` or `rewards`."""
        return singular(self.field)

    @property
    def is_confident(self) -> bool:
        """True if it stands in the command that is proposed."""
        return self.confidence != "possible"


class Groups(NamedTuple):
    """How a value groups the records."""

    prompts: int
    size: int  # the most common number of records of a prompt
    share: float  # of the prompts, those of that size
    largest: int
    is_even: bool  # True if all have that size

    @property
    def recurs(self) -> bool:
        """True if there are several prompts, and most come more than once."""
        return self.prompts > 1 and self.size > 1

    @property
    def is_uniform(self) -> bool:
        """True if nearly all prompts have as many records."""
        return self.recurs and self.share >= UNIFORM

    def __str__(self) -> str:
        each = f"{self.size} times" if self.is_even else f"mostly {self.size} times"
        return f"{self.prompts:,} values, each {each}"


def grouped(keys: Sequence[Hashable]) -> Groups:
    """Count the records of each key; the last prompt of what was read may be cut off."""
    counts = Counter(keys)
    sizes = Counter(counts.values())
    size, prompts = max(sizes.items(), key=lambda pair: (pair[1], pair[0]))
    last = counts[keys[-1]]
    whole = len(counts) - (last < size)
    return Groups(len(counts), size, prompts / max(whole, 1), max(counts.values()), len(sizes) == 1)


def same_groups(one: Sequence[Hashable], other: Sequence[Hashable]) -> bool:
    """True if two keys group the records alike."""
    pairs = set(zip(one, other, strict=True))
    return len(pairs) == len(set(one)) == len(set(other))


def refines(fine: Sequence[Hashable], coarse: Sequence[Hashable]) -> bool:
    """True if each group of one key lies within a group of the other."""
    return len(set(zip(fine, coarse, strict=True))) == len(set(fine))


def step_of(leaves: Sequence[Leaf]) -> Leaf | None:
    """Return the place that says in which step a response was drawn; None if there is no one such place."""
    found = []
    for leaf in leaves:
        if not (leaf.last and STEP_WORDS & {*leaf.last} and not leaf.says(NO_STEP)) or not leaf.is_everywhere:
            continue
        values = [value for value in leaf.present if isinstance(value, int | str) and not isinstance(value, bool)]
        numbers = [int(value) for value in values if isinstance(value, int) or value.isdecimal()]
        if len(numbers) < len(leaf.values) or 2 * len(leaf.counts) > len(numbers) > FEWEST:
            continue
        down = sum(later < earlier for earlier, later in pairwise(numbers))
        if down <= DISORDER * len(numbers):
            found.append(leaf)
    exact = [leaf for leaf in found if leaf.last[-1] == "step"]
    return found[0] if len(found) == 1 else exact[0] if len(exact) == 1 else None


def step_guess(step: Leaf | None) -> list[Guess]:
    """Return the guess of a step that has another name than `step`."""
    if step is None or step.place == "step":
        return []
    seen = f"{len(step.counts)} of them, one after another" if len(step.counts) > 1 else "the same so far"
    return [Guess("step", "--field", step.place, "likely", f"named like a step, {seen}")]


def with_step(leaf: Leaf, step: Leaf | None) -> list[Hashable]:
    """Return what makes the prompt of each record if a place holds its id."""
    if step is None:
        return leaf.keys
    return list(zip(step.keys, leaf.keys, strict=True))


def prompt_guesses(leaves: Sequence[Leaf], step: Leaf | None) -> tuple[list[Guess], list[str]]:
    """Guess what says which responses have the same prompt, best first, and say what was seen where nothing does."""
    few = len(leaves[0].values) < FEWEST if leaves else True
    texts = _texts(leaves, step, few)
    text = texts[0][0] if texts else None
    ids = [] if few else _ids_by_values(leaves, step, text)
    ids = ids or (_ids_by_names(leaves, few) if few else [])
    for leaf, named in texts:
        groups = grouped(with_step(leaf, step))
        if few:
            confidence, reason = "likely", "named like a prompt's text; too few records to see more"
        else:
            finest = text is not None and same_groups(leaf.keys, text.keys)
            confidence = "possible" if not (named and finest) else "sure" if groups.is_uniform else "likely"
            reason = f"a text that comes back: {groups}"
        guess = Guess("prompt_id", "--field", f"digest({leaf.expression})", confidence, reason)  # type: ignore[arg-type]
        ids.append(_doubted(guess, leaf, leaves, step))
    if any(each.is_confident for each in ids):
        return ids, []
    by_place = _by_place(leaves)
    if by_place:
        return [*by_place, *ids], []
    ids = ids or [*_ids_that_never_recur(leaves), *_ids_by_names(leaves, few), *_texts_that_never_recur(leaves)]
    seen = f"{ids[0].value} may be it" if ids else "nothing here comes back as often for each prompt"
    return ids, [f"prompt_id: {seen}; where the responses to a prompt follow each other, --group-size N does"]


def _ids_by_values(leaves: Sequence[Leaf], step: Leaf | None, text: Leaf | None) -> list[Guess]:
    found: list[tuple[int, Groups, list[Hashable], Leaf]] = []
    for leaf in leaves:
        if leaf is step or not may_be_id(leaf):
            continue
        keys = with_step(leaf, step)
        groups = grouped(keys)
        if groups.recurs:
            found.append((id_rank(leaf), groups, keys, leaf))
    of_text = with_step(text, step) if text is not None else None
    guesses = []
    agreeing = [
        each
        for each in found
        if of_text is not None and each[3] is not text and same_groups(each[2], of_text) and _tells(each)
    ]
    for rank, groups, keys, leaf in sorted(
        found, key=lambda each: (each not in agreeing, -each[0], _may_be_around(each[3]), -each[1].prompts)
    ):
        if of_text is not None and not same_groups(keys, of_text) and not (rank and refines(keys, of_text)):
            continue  # prompts with other texts are other prompts
        if (rank, groups, keys, leaf) in agreeing and text is not None:
            guess = ("sure", f"{groups}, as {text.place} does")
        elif rank == 2:
            guess = ("sure" if groups.is_uniform else "likely", f"named like a prompt's id, {groups}")
        elif rank == 1 and groups.is_uniform and _is_no_category(leaf, groups, keys):
            guess = ("likely", f"named like an id, {groups}")
        elif groups.is_uniform and _has_attempts(leaf, groups, leaves, keys):
            guess = ("likely", f"{groups}, once with each number of an attempt")
        elif groups.is_uniform and leaf.are_strings:
            guess = ("possible", f"{groups}, but its name does not say what it is")
        else:
            continue
        one = Guess("prompt_id", "--field", leaf.place, *guess)  # type: ignore[arg-type]
        guesses.append((keys, _doubted(one, leaf, leaves, step)))
    return _without_rivals(guesses)


def _without_rivals(guesses: list[tuple[list[Hashable], Guess]]) -> list[Guess]:
    """Order the guesses; what groups otherwise than the best and is as good makes both no more than possible."""
    order = ("sure", "likely", "possible")
    ranked = sorted(guesses, key=lambda each: order.index(each[1].confidence))
    if not ranked or not ranked[0][1].is_confident:
        return [guess for _, guess in ranked]
    best = ranked[0][1].confidence
    rivals = [each for each in ranked if each[1].confidence == best]
    finest = max(rivals, key=lambda each: len(set(each[0])))
    if any(not refines(finest[0], keys) for keys, _ in rivals):
        unclear = [_possible(guess) for _, guess in rivals]
        return [*unclear, *(guess for _, guess in ranked if guess.confidence != best)]
    alike = [each for each in rivals if len(set(each[0])) == len(set(finest[0]))]
    keys, first = alike[0]
    return [
        first,
        *(guess if same_groups(keys, other) else _possible(guess) for other, guess in ranked if guess is not first),
    ]


def _doubted(guess: Guess, leaf: Leaf, leaves: Sequence[Leaf], step: Leaf | None) -> Guess:
    """Return a guess that is only possible if what it takes for one prompt has several questions."""
    keys = with_step(leaf, step)
    for other in leaves:
        if other is not leaf and _is_question(other) and not refines(keys, with_step(other, step)):
            return guess._replace(confidence="possible", reason=f"{guess.reason}; but {other.place} differs within it")
    return guess


def _is_question(leaf: Leaf) -> bool:
    """True for texts, messages or tokens that are named like a prompt's, of which each prompt has one."""
    if not leaf.is_everywhere or any(step.each for step in leaf.path) or {*leaf.last} & NO_TEXT or not leaf.last:
        return False
    if not {*leaf.last} & QUESTIONS or leaf.last[-1] not in QUESTIONS | {"text", "str", "messages", "tokens", "ids"}:
        return False
    is_list = all(isinstance(value, list) for value in leaf.present)
    return leaf.are_strings or (is_list and "input" not in leaf.last)  # whose tokens may be those of the response, too


def _possible(guess: Guess) -> Guess:
    return guess._replace(confidence="possible", reason=guess.reason + "; others group otherwise")


def _is_no_category(leaf: Leaf, groups: Groups, keys: Sequence[Hashable]) -> bool:
    """True if a value that comes back is as that of a prompt: of several, with few responses each.

    A whole number that no word says to be a prompt's may count the responses to one: its records have to be adjacent.
    """
    if not {*leaf.last} & PROMPT_WORDS | {*leaf.last} & {"g", "p"}:
        runs = 1 + sum(one != other for one, other in pairwise(keys))
        if not leaf.are_strings and runs > groups.prompts:
            return False
    return groups.prompts >= FEWEST_PROMPTS and groups.largest <= LARGEST_GROUP


def _may_be_around(leaf: Leaf) -> bool:
    """True unless the name is that of a prompt itself: what may be around several comes later."""
    return not leaf.says({"prompt", "problem", "question", "task", "puzzle", "qid", "pid", "query"})


def _tells(found: tuple[int, Groups, list[Hashable], Leaf]) -> bool:
    """True if an agreement with the prompt's text is no accident: its name says so, or it is no number."""
    return found[0] > 0 or found[3].are_strings


def may_be_id(leaf: Leaf) -> bool:
    """True for strings and whole numbers that are in each record, and whose name is not that of something else."""
    if not leaf.is_everywhere or leaf.path[-1].each or any(step.each for step in leaf.path):
        return False
    for value in leaf.present:
        if isinstance(value, bool) or not isinstance(value, int | str):
            return False
        if isinstance(value, str) and (len(value) > LONGEST_ID or "\n" in value or value.count(" ") > 3):
            return False
    if leaf.last and (leaf.last[-1] in OTHER_WORDS or leaf.last[0] in OTHER_WORDS - {"n"}) and not _names_prompt(leaf):
        return False
    if leaf.says(ITEM_WORDS) and not _names_prompt(leaf) and not {*leaf.last} >= {"board", "seed"}:
        return False
    if leaf.says(NUMBER_WORDS) or leaf.says(SHARED_TEXT):
        return False
    return _names_prompt(leaf) or not _cycles(leaf)


def _names_prompt(leaf: Leaf) -> bool:
    """True if the last key is that of a prompt's id, whatever else it says."""
    last = {*leaf.last}
    if any(re.fullmatch(BOTH, word) for word in last):
        return True
    return bool(last & PROMPT_WORDS and _has_id_word(leaf) and not last & ITEM_WORDS)


def _has_id_word(leaf: Leaf) -> bool:
    return bool({*leaf.last} & ID_WORDS) or leaf.last[-1:] in [(word,) for word in AT_ITS_END]


def id_rank(leaf: Leaf) -> int:
    """2 if it is named like a prompt's id, 1 if like some id or a prompt, else 0."""
    last, words = {*leaf.last}, {*leaf.words}
    if _names_prompt(leaf) or (words & PROMPT_WORDS and _has_id_word(leaf)):
        return 2
    return 1 if (_has_id_word(leaf) or last & (PROMPT_WORDS | {"g", "p"})) else 0


def _cycles(leaf: Leaf) -> int:
    """Return after how many records a whole number begins again, each time; 0 if it does not."""
    if not leaf.are_whole or len(leaf.values) < FEWEST:
        return 0
    size = len(leaf.counts)
    values = [int(value) for value in leaf.present]
    if not 1 < size <= len(values) // 2:
        return 0
    first = values[0]
    return size if all(value == first + i % size for i, value in enumerate(values)) else 0


def _has_attempts(leaf: Leaf, groups: Groups, leaves: Sequence[Leaf], keys: list[Hashable]) -> bool:
    """True if some other place counts the responses of each value."""
    for other in leaves:
        if other is not leaf and other.are_whole and len(other.counts) == groups.largest > 1:
            low, high = min(other.present), max(other.present)
            pairs = set(zip(keys, other.keys, strict=True))
            if high - low + 1 == groups.largest and low in (0, 1) and len(pairs) == len(keys):
                return True
    return False


def _ids_by_names(leaves: Sequence[Leaf], few: bool) -> list[Guess]:
    """Guess by names alone, where values show nothing: too few records, or one prompt only."""
    ranked = [(rank, leaf) for leaf in leaves if may_be_id(leaf) and (rank := id_rank(leaf))]
    named = [each for each in ranked if few or len(each[1].counts) == 1]
    named = [(rank, leaf) for rank, leaf in named if rank == 2 or not (leaf.are_strings and {*leaf.last} & TEXT_WORDS)]
    if not named:
        return []
    top = max(rank for rank, _ in named)
    best = [leaf for rank, leaf in named if rank == top]
    seen = "too few records to see more" if few else "the same in all of these records"
    confidence: Confidence = "likely" if few and len(best) == 1 else "possible"
    guesses = [Guess("prompt_id", "--field", leaf.place, confidence, f"named like an id; {seen}") for leaf in best]
    return [_doubted(guess, leaf, leaves, None) for guess, leaf in zip(guesses, best, strict=True)]


def _ids_that_never_recur(leaves: Sequence[Leaf]) -> list[Guess]:
    reason = "named like a prompt's id, but none comes twice in these records"
    found = [leaf for leaf in leaves if may_be_id(leaf) and id_rank(leaf) == 2 and len(leaf.counts) == len(leaf.values)]
    return [Guess("prompt_id", "--field", leaf.place, "possible", reason) for leaf in found]


def _texts_that_never_recur(leaves: Sequence[Leaf]) -> list[Guess]:
    reason = "named like a prompt's text, but none comes twice in these records"
    named = [leaf for leaf in leaves if leaf.are_strings and {*leaf.last} & TEXT_WORDS and not {*leaf.last} & NO_TEXT]
    found = [leaf for leaf in named if id_rank(leaf) < 2]
    return [Guess("prompt_id", "--field", f"digest({leaf.expression})", "possible", reason) for leaf in found]


def _texts(leaves: Sequence[Leaf], step: Leaf | None, few: bool) -> list[tuple[Leaf, bool]]:
    """List the places that hold the prompt's text, the best first, and whether their names say so."""
    found = []
    for leaf in leaves:
        if not leaf.is_everywhere or any(each.each for each in leaf.path) or {*leaf.last} & NO_TEXT:
            continue
        is_text = leaf.are_strings and 2 * sum(" " in value for value in leaf.present) > len(leaf.present)
        is_chat = all(
            isinstance(value, list) and value and all(isinstance(m, dict) and "content" in m for m in value)
            for value in leaf.present
        )
        named = bool({*leaf.last} & TEXT_WORDS)
        if leaf.are_number_lists and leaf.says(TEXT_WORDS, {"in"}) and not few:  # its tokens
            if grouped(with_step(leaf, step)).is_uniform:
                found.append((leaf, True))
            continue
        if few:
            if named and (leaf.are_strings or is_chat):
                found.append((leaf, True))
            continue
        groups = grouped(with_step(leaf, step))
        spaced = is_chat or (is_text and sum(value.count(" ") > 2 for value in leaf.present) * 2 > len(leaf.present))
        if groups.recurs and ((named and (is_text or is_chat)) or (spaced and groups.is_uniform)):
            found.append((leaf, named))
    return sorted(found, key=lambda each: (not each[1], -len(each[0].counts)))  # several questions on one text


def _by_place(leaves: Sequence[Leaf]) -> list[Guess]:
    """Guess the size of groups that follow each other, by what counts their responses or sums to 0 over each."""
    for leaf in leaves:
        size = _cycles(leaf)
        if size and leaf.says(ITEM_WORDS, {"idx", "index", "i", "j"}):
            reason = f"{leaf.place} counts {size} responses, again and again"
            return [Guess("prompt_id", "--group-size", str(size), "likely", reason)]
    for leaf in leaves:
        if leaf.are_numbers and leaf.says({"adv", "advantage", "advantages"}):
            values = [float(value) for value in leaf.present]
            size = next((size for size in range(2, len(values) // 2 + 1) if _sums_to_zero(values, size)), 0)
            if size:
                reason = f"{leaf.place} sums to 0 over every {size} records, as advantages of a prompt do"
                return [Guess("prompt_id", "--group-size", str(size), "likely", reason)]
    return []


def _sums_to_zero(values: Sequence[float], size: int) -> bool:
    parts = [values[i : i + size] for i in range(0, len(values) - size + 1, size)]
    scale = max(map(abs, values), default=0.0)
    taught = sum(any(part) for part in parts)
    return taught > 1 and all(abs(sum(part)) <= 1e-3 * scale * size for part in parts)
