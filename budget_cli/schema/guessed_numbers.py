"""The places of some records → what may be their rewards, log-probs and lengths, with the reason. Knows no bytes.

What a name says is held against the values: a reward differs between the responses to a prompt, log-probs are never
above 0, a length is that of another list or in proportion to a text. Nothing is guessed by values alone except for a
length that is exactly that of the response's log-probs.
"""

import itertools
import math
import re
from collections.abc import Hashable, Sequence

from budget_cli.schema.guessed_prompts import FEWEST, ID_WORDS, STEP_WORDS, Confidence, Guess
from budget_cli.schema.leaves import Leaf, is_number, words_of

STRONG = {
    *("reward", "rewards", "score", "scores", "return", "returns", "grade", "grades", "rating", "ratings", "points"),
    *("ret", "rm", "pts", "rew", "rews", "marks", "utility", "payoff"),
}
SHORT = {"r", "rw"}  # as a whole name, or its first word
VERDICTS = {
    *("correct", "correctness", "passed", "pass", "passes", "solved", "success", "succeeded", "successful"),
    *("ok", "acc", "accuracy", "right", "won", "win", "verdict", "outcome", "resolved", "accepted", "status"),
    *("result", "verified", "proved", "proven", "match", "matched", "matches", "exact"),
}
PARTS = {"format", "fmt", "formatting", "style", "bonus", "repetition", "language", "penalty"}
OF_A_RUN = {"ok", "status"}  # as likely of the run as of the answer
UNCLEAR = {"status", "result", "outcome"}  # of numbers: 0 may be what is good
METRICS = {"em", "f1", "bleu", "rouge", "comet", "iou", "chrf"}  # one of which may be the reward, or none
TOTAL = {"total", "sum", "final", "overall", "combined", "scalar", "aggregate"}
NO_REWARD = {
    *("mean", "avg", "average", "std", "var", "max", "min", "best", "worst", "baseline", "adv", "advantage"),
    *("advantages", "weight", "weights", "coef", "threshold", "ratio", "norm", "normalized", "expected", "gold"),
    *("difficulty", "confidence", "entropy", "kl", "prev", "previous", "ema", "running", "median", "count", "num"),
    *("model", "prompt", "id", "idx", "version", "time", "seconds", "ms", "ppl", "perplexity", "target", "rank"),
    *("tokens", "len", "length", "temperature", "likelihood", "prob", "logprob", "logprobs", "to", "go", "discount"),
    *("ground", "truth", "gt", "answer", "label", "reference", "text", "spec", "name", "type", "config", "format_spec"),
    *("z", "code", "human", "prior", "unnormalized", "step", "steps", "group"),
}
PAIRS = {  # of a verdict in words: what is good → what is not
    "pass": ("fail", "failed", "failure"),
    "passed": ("failed", "fail", "failure"),
    "correct": ("incorrect", "wrong"),
    "right": ("wrong",),
    "success": ("failure", "fail", "failed", "error"),
    "solved": ("unsolved", "failed"),
    "accepted": ("rejected",),
    "ok": ("fail", "failed", "wrong", "ko"),
    "win": ("loss", "lose", "lost"),
    "won": ("lost",),
    "true": ("false",),
    "yes": ("no",),
}
LOG_PROB = r"(^|_)(log_?p(s|is?|rob(s|abs?|abilit(y|ies))?)?|lps?|log_?lik(elihood)?s?)(_|$)"
NO_LOG_PROB = {
    *("reward", "rewards", "penalty", "kl", "adv", "advantage", "advantages", "entropy", "value", "values", "diff"),
    *("ratio", "delta", "cost", "mean", "avg", "min", "max", "prompt", "input", "question", "top", "score", "margin"),
    *("kls", "difference", "log_ratio", "return", "returns"),
}
REFERENCE = {
    *("ref", "reference", "base", "frozen", "init", "initial", "sft", "anchor", "prior", "pretrained", "orig"),
    *("original", "teacher", "baseline"),
}
OLD = {"old", "prev", "previous", "behaviour", "behavior", "behav", "mu", "lagged"}
POLICY = {"policy", "pi", "cur", "current", "new", "actor", "theta", "train", "trainer", "live", "student", "now"}
LENGTHS = {
    *("len", "lens", "length", "lengths", "tokens", "token", "toks", "tok", "ntok", "ntoks", "ntokens", "tokcount"),
    *("numtokens", "tokenlen"),
}
COUNTS = {"n", "num", "count", "cnt", "number"}
RESPONSE = {
    *("response", "responses", "resp", "completion", "completions", "output", "outputs", "out", "gen", "generated"),
    *("generation", "answer", "reply", "action", "actions", "solution", "decoded", "rollout", "written", "emitted"),
    *("produced", "sampled", "new"),
}
NO_LENGTH = {
    *(
        "prompt",
        "input",
        "inputs",
        "in",
        "total",
        "max",
        "min",
        "budget",
        "limit",
        "context",
        "ctx",
        "query",
        "question",
    ),
    *(
        "cap",
        "seq",
        "sequence",
        "overall",
        "cached",
        "cache",
        "pad",
        "padded",
        "turn",
        "turns",
        "char",
        "chars",
        "bytes",
    ),
    *(
        "characters",
        "words",
        "word",
        "lines",
        "line",
        "per",
        "rate",
        "second",
        "seconds",
        "sec",
        "cost",
        "tool",
        "tools",
    ),
    *(
        "previous",
        "prev",
        "next",
        "mean",
        "avg",
        "target",
        "gold",
        "ref",
        "reference",
        "id",
        "ids",
        "first",
        "last",
        "eos",
        "bos",
        "penalty",
    ),
    *(
        "previous",
        "prev",
        "next",
        "sum",
        "full",
        "all",
        "image",
        "system",
        "user",
        "problem",
        "speed",
        "tps",
        "time",
        "ms",
        "price",
        "logprob",
    ),
    *("reward", "score", "thinking", "think", "reasoning", "cot", "thought", "left", "remaining", "allowed", "vocab"),
}
WHOLE = {"seq", "sequence", "total", "full", "overall"}  # of the prompt and the response
PART_OF_IT = {"answer", "reply", "solution"}  # of what was written
MOST_AT_ITS_END = 2  # tokens
NOT_WRITTEN = {"prompt", "question", "problem", "input", "gold", "reference", "ref", "expected", "system", "tool"}
THOUGHTS = {"thinking", "think", "reasoning", "cot", "thought", "thoughts"}
TOKEN_IDS = {"ids", "tokens", "token", "toks", "tok"}
SUMMED, TOTALS, REWARD, ALONE, OF_A_KIND, VERDICT, METRIC = range(7)  # what a reward is known by, the best first
MOST_FUNCTIONS = 8  # numbers among which a sum is looked for
TOLERANCE = 1e-6


def log_prob_guesses(leaves: Sequence[Leaf]) -> tuple[list[Guess], list[str]]:
    """Guess the log-probs under the policy and under the reference, and say what is not known."""
    found = [leaf for leaf in leaves if _are_log_probs(leaf)]
    lists = [leaf for leaf in found if not leaf.are_numbers]
    found = lists or found  # sums beside the lists add nothing
    named = [leaf for leaf in found if _named_log_prob(leaf)]
    found = named or found
    if not found:
        remark = _no_log_probs(leaves)
        return [], [] if remark is None else [remark]
    nested = [leaf for leaf in leaves if leaf not in found and _named_log_prob(leaf) and _holds_lists(leaf)]
    if nested:  # of several turns
        part = f"{found[0].place} may be a part of them"
        remark = f"log_prob, old_log_prob: {nested[0].place} holds lists in lists, and {part}"
        return [_log_prob("log_prob", leaf, "possible") for leaf in found[:2]], [remark]
    ranks = [(_side(leaf), leaf) for leaf in found]
    if not named and not any(_is_of_tokens(leaf, leaves) for leaf in found):
        names = ", ".join(leaf.place for leaf in found[:4])
        remark = f"log_prob, old_log_prob: {names} are never above 0, but neither their names nor their sizes say more"
        return [_log_prob("log_prob", leaf, "possible") for leaf in found[:2]], [remark]
    if len(found) == 1:
        side, leaf = ranks[0]
        if side == 3 or leaf.path[-1].key in ("old_log_prob", "old_log_probs"):
            return [_log_prob("old_log_prob", leaf, "likely")], [f"log_prob: the only log-probs are {leaf.place}"]
        remark = f"old_log_prob: the only log-probs are {leaf.place}, of the policy by their name or for want of others"
        return [_log_prob("log_prob", leaf, "likely")], [remark]
    top, bottom = max(side for side, _ in ranks), min(side for side, _ in ranks)
    reference = [leaf for side, leaf in ranks if side == top]
    policy = [leaf for side, leaf in ranks if side == bottom]
    if top == bottom or top < 2 or len(reference) > 1 or len(policy) > 1:
        names = ", ".join(leaf.place for leaf in found[:4])
        remark = f"log_prob, old_log_prob: {names} hold log-probs, and their names do not say which are the reference's"
        return [_log_prob(name, leaf, "possible") for name in ("log_prob", "old_log_prob") for leaf in found[:2]], [
            remark
        ]
    confidence: Confidence = "sure" if named and top == 3 and len(found) == 2 else "likely"
    return [_log_prob("log_prob", policy[0], confidence), _log_prob("old_log_prob", reference[0], confidence)], []


def _log_prob(field: str, leaf: Leaf, confidence: Confidence) -> Guess:
    what = "numbers" if leaf.are_numbers else "lists of numbers"
    reason = f"{what} that are never above 0"
    if _named_log_prob(leaf):
        reason += ", named like log-probs"
    if field == "old_log_prob" and confidence != "possible":
        reason += ", of the reference by its name" if _side(leaf) == 3 else ", of an earlier policy by its name"
    return Guess(_plural(field, leaf), "--field", _plural_value(leaf), confidence, reason)


def _plural(field: str, leaf: Leaf) -> str:
    plurals = {
        "reward": "rewards",
        "log_prob": "log_probs",
        "old_log_prob": "old_log_probs",
        "response_length": "response_lengths",
    }
    return plurals[field] if leaf.of_prompt else field


def _plural_value(leaf: Leaf) -> str:
    return leaf.place


def _are_log_probs(leaf: Leaf) -> bool:
    """True for lists of numbers, or numbers with such a name, that are never above 0 and not all whole."""
    if leaf.are_number_lists:
        values = [each for value in leaf.present for each in value]
    elif leaf.are_numbers and _named_log_prob(leaf):
        values = leaf.present
    else:
        return False
    if {*leaf.words} & NO_LOG_PROB and not _named_log_prob(leaf):
        return False
    if {*leaf.words} & (NO_LOG_PROB - {"score"}):
        return False
    few = len(values) < 2 * FEWEST
    return (
        max(values) <= 0
        and min(values) > -1e5
        and any(value != int(value) for value in values)
        and (_named_log_prob(leaf) or not few)
    )


def _is_of_tokens(leaf: Leaf, leaves: Sequence[Leaf]) -> bool:
    """True if the lists differ in size, and some number or list of whole numbers has their sizes."""
    sizes = [None if value is None else len(value) for value in leaf.values]
    if len({*sizes}) < FEWEST:
        return False
    for other in leaves:
        if other.are_whole and other.values == sizes:
            return True
        whole = other is not leaf and other.are_number_lists and all(type(e) is int for v in other.present for e in v)
        if whole and [None if value is None else len(value) for value in other.values] == sizes:
            return True
    return False


def _holds_lists(leaf: Leaf) -> bool:
    return any(isinstance(value, list) and any(isinstance(each, list) for each in value) for value in leaf.present)


def _named_log_prob(leaf: Leaf) -> bool:
    return bool(re.search(LOG_PROB, "_".join(leaf.words)))


def _side(leaf: Leaf) -> int:
    """3: the reference by its name; 2: an earlier policy; 1: nothing said; 0: the policy."""
    words = {*leaf.words}
    if words & REFERENCE:
        return 3
    return 2 if words & OLD else 0 if words & POLICY else 1


def doubted_log_probs(guesses: Sequence[Guess], leaves: Sequence[Leaf]) -> tuple[list[Guess], list[str]]:
    """Return log-probs that are only possible, with the reason, where their lists hold more than the response."""
    for leaf in leaves:
        if not leaf.are_number_lists or leaf.place not in {each.value for each in guesses if each.is_confident}:
            continue
        why = _holds_more(leaf, leaves)
        if why is not None:
            remark = (
                f"log_prob, old_log_prob: {leaf.place} is {why}, so it may hold the prompt's tokens or padding, too"
            )
            return [each._replace(confidence="possible") for each in guesses], [remark]
    return [*guesses], []


def _holds_more(leaf: Leaf, leaves: Sequence[Leaf]) -> str | None:
    """Say what number shows that lists hold more than a response's tokens; None if nothing does, or one shows it not.

    One or two tokens more may be those that end the text.
    """
    longer, whole = None, None
    for other in leaves:
        if not other.are_whole or not other.says(LENGTHS, COUNTS):
            continue
        pairs = zip(leaf.values, other.values, strict=True)
        off = [len(one) - n for one, n in pairs if one is not None and n is not None]
        if other.says(WHOLE) and not any(off):
            whole = f"as long as {other.place}"
        elif other.says(RESPONSE - PART_OF_IT) and not other.says(NO_LENGTH):
            if all(abs(each) <= MOST_AT_ITS_END for each in off):
                return None
            if min(off) >= 0:
                longer = f"longer than {other.place}"
    return longer or whole


def _no_log_probs(leaves: Sequence[Leaf]) -> str | None:
    """Say what only looks like log-probs; None if nothing does."""
    for leaf in leaves:
        if leaf.are_number_lists and leaf.says({"nll", "nlls", "surprisal", "loss", "neglogp"}):
            values = [each for value in leaf.present for each in value]
            if min(values) >= 0 and any(value != int(value) for value in values):
                return f"log_prob, old_log_prob: {leaf.place} are the negatives of log-probs, if anything"
        if leaf.are_number_lists and leaf.says({"probs", "prob", "probabilities", "p"}):
            values = [each for value in leaf.present for each in value]
            if min(values) >= 0 and max(values) <= 1:
                return f"log_prob, old_log_prob: {leaf.place} are probabilities, not their logarithms"
    return None


# ---- lengths


def length_guesses(leaves: Sequence[Leaf]) -> tuple[list[Guess], list[str]]:
    """Guess the number of tokens of a response, and say what only looks like one."""
    rows = max((len(leaf.values) for leaf in leaves), default=0)
    remarks: list[str] = []
    lists = [leaf for leaf in leaves if leaf.are_number_lists]
    log_probs = [leaf for leaf in lists if _are_log_probs(leaf)]
    tokens = [leaf for leaf in lists if _are_response_tokens(leaf)]
    masks = [leaf for leaf in lists if _is_mask(leaf)]
    texts = [leaf for leaf in leaves if leaf.are_strings or (leaf.is_everywhere and _is_chat(leaf))]
    guesses: list[Guess] = []
    for leaf in leaves:
        if (
            not leaf.are_whole
            or _is_constant(leaf)
            or leaf.says(NO_LENGTH - {"ids"} if leaf.says(RESPONSE) else NO_LENGTH)
        ):
            continue
        named = leaf.says(LENGTHS) or (leaf.says(COUNTS) and leaf.says(RESPONSE))
        counted = _counts_text(leaf, texts)
        if counted is not None:
            if named or leaf.says(RESPONSE):
                remarks.append(f"response_length: {leaf.place} is {counted}, not of tokens")
            continue
        guess = _length_of_lists(leaf, [*log_probs, *tokens], masks) if rows >= FEWEST else None
        if guess is None:
            guess = _named_length(leaf, texts)
        if guess is not None:
            guesses.append(guess)
    thoughts = [leaf for leaf in leaves if leaf.are_whole and leaf.says(THOUGHTS) and leaf.says(LENGTHS, COUNTS)]
    if thoughts:  # which an answer may be without
        answers = [leaf.place for leaf in leaves if leaf.says({"answer", "reply", "solution", "final"})]
        guesses = [
            each._replace(confidence="possible", reason=f"{each.reason}; {thoughts[0].place} may be another part")
            if each.value in answers and each.confidence == "likely"
            else each
            for each in guesses
        ]
    guesses = _best(guesses)
    if not any(guess.is_confident for guess in guesses) and not log_probs:
        guesses = [*_counted_tokens(tokens, masks), *guesses]
    return guesses, remarks


def _length(leaf: Leaf, confidence: Confidence, reason: str) -> Guess:
    return Guess(_plural("response_length", leaf), "--field", leaf.place, confidence, reason)


def _length_of_lists(leaf: Leaf, lists: Sequence[Leaf], masks: Sequence[Leaf]) -> Guess | None:
    for other in lists:
        off = {
            number - len(value)
            for number, value in zip(leaf.values, other.values, strict=True)
            if number is not None and value is not None
        }
        if off == {0}:
            return _length(leaf, "sure", f"the length of {other.place} in every record")
        if len(off) == 1 and abs(off.copy().pop()) <= 2 and leaf.says(LENGTHS, COUNTS):
            by = off.pop()
            return _length(leaf, "likely", f"the length of {other.place} {'and' if by > 0 else 'less'} {abs(by)}")
    for mask in masks:
        if all(
            number is None or value is None or number == sum(value)
            for number, value in zip(leaf.values, mask.values, strict=True)
        ):
            return _length(leaf, "sure", f"the number of ones in {mask.place} in every record")
    return None


def _named_length(leaf: Leaf, texts: Sequence[Leaf]) -> Guess | None:
    ratio = _characters_each(leaf, texts)
    is_length, of_response = leaf.says(LENGTHS), leaf.says(RESPONSE)
    seen = "" if ratio is None else f", about one for every {ratio[1]:.1f} characters of {ratio[0].place}"
    fits = ratio is None or ratio[2]
    if is_length and of_response:
        return _length(leaf, "likely" if fits else "possible", f"named like the length of a response{seen}")
    if is_length:
        bare = {*leaf.last} <= COUNTS | LENGTHS - {"len", "lens", "length", "lengths"}  # which may be all tokens
        good = fits and (ratio is not None or (len(leaf.path) == 1 and not bare))
        return _length(leaf, "likely" if good else "possible", f"named like a length{seen}")
    if leaf.says(COUNTS) and of_response:
        good = ratio is not None and ratio[2]
        return _length(leaf, "likely" if good else "possible", f"named like a count of what was written{seen}")
    if "completion" in leaf.last and leaf.says({"usage"}):
        return _length(leaf, "likely", f"named like the usage of a response{seen}")
    if ratio is not None and ratio[2]:
        return _length(leaf, "possible", f"no name that says so{seen}")
    return None


def _best(guesses: list[Guess]) -> list[Guess]:
    """Order the guesses; several likely ones are only possible, except that one that names the response wins."""
    order = ("sure", "likely", "possible")
    ranked = sorted(guesses, key=lambda guess: order.index(guess.confidence))
    if not ranked or ranked[0].confidence != "likely":
        return ranked
    likely = [guess for guess in ranked if guess.confidence == "likely"]
    naming = [guess for guess in likely if "of a response" in guess.reason]
    best = naming if len(naming) == 1 else likely
    if len(best) == 1:
        return [*best, *(guess for guess in ranked if guess is not best[0])]
    return [guess._replace(confidence="possible") for guess in ranked]


def _counted_tokens(tokens: Sequence[Leaf], masks: Sequence[Leaf]) -> list[Guess]:
    for leaf in tokens:
        if not leaf.of_prompt and leaf.says(RESPONSE, {"a"}):
            return [
                Guess(
                    "response_length",
                    "--field",
                    f"length({leaf.expression})",
                    "likely",
                    "a list of tokens, named like those of a response",
                )
            ]
    for leaf in masks:
        if not leaf.of_prompt and leaf.says(RESPONSE, {"loss"}) and len({*map(len, leaf.present)}) > 1:
            return [
                Guess(
                    "response_length",
                    "--field",
                    f"kept({leaf.expression})",
                    "likely",
                    "a mask of zeros and ones, named like that of a response",
                )
            ]
    return []


def _are_response_tokens(leaf: Leaf) -> bool:
    if leaf.says({"prompt", "input", "question", "query", "context", "q"}) or not leaf.says(TOKEN_IDS):
        return False
    values = [each for value in leaf.present for each in value]
    whole = all(isinstance(each, int) and each >= 0 for each in values)
    return whole and len(set(values)) > 2 and leaf.says(RESPONSE, {"a"})


def _is_mask(leaf: Leaf) -> bool:
    return {each for value in leaf.present for each in value} == {0, 1}


def _is_chat(leaf: Leaf) -> bool:
    return all(
        isinstance(value, list)
        and value
        and all(isinstance(m, dict) and isinstance(m.get("content"), str) for m in value)
        for value in leaf.present
    )


def _is_constant(leaf: Leaf) -> bool:
    return len(leaf.values) >= FEWEST and len(leaf.counts) == 1


def _characters(value: object) -> int:
    if isinstance(value, str):
        return len(value)
    return sum(len(message["content"]) for message in value) if isinstance(value, list) else 0


def _counts_text(leaf: Leaf, texts: Sequence[Leaf]) -> str | None:
    """Say of what text a number counts the characters or words in every record; None if of none."""
    if max(leaf.present) < 8:
        return None
    for text in texts:
        pairs = [(n, value) for n, value in zip(leaf.values, text.values, strict=True) if n is not None and value]
        if pairs and all(n == _characters(value) for n, value in pairs):
            return f"the number of characters of {text.place}"
        if pairs and text.are_strings and all(n == len(value.split()) for n, value in pairs):
            return f"the number of words of {text.place}"
    return None


def _characters_each(leaf: Leaf, texts: Sequence[Leaf]) -> tuple[Leaf, float, bool] | None:
    """Return the response's text, its characters for each of a number, and whether that is as of tokens; None: no text.

    Of tokens, there are 1.5 to 8 characters each, and hardly more for one response than for another.
    """
    if len(leaf.values) < FEWEST:
        return None
    best = None
    for text in texts:
        if 2 * len(text.counts) < len(text.values) or text.says({"prompt", "question", "problem", "q"}):
            continue
        pairs = [(n, _characters(value)) for n, value in zip(leaf.values, text.values, strict=True) if n and value]
        if len(pairs) < FEWEST or max(size for _, size in pairs) < 20:
            continue
        each = [size / n for n, size in pairs]
        mean = sum(each) / len(each)
        spread = math.sqrt(sum((one - mean) ** 2 for one in each) / len(each)) / mean if mean else math.inf
        fits = 1.5 <= mean <= 8 and spread < 0.35 and _correlation(pairs) > 0.8
        if best is None or spread < best[3]:
            best = (text, mean, fits, spread)
    return None if best is None else best[:3]


def _correlation(pairs: Sequence[tuple[float, float]]) -> float:
    means = [sum(each) / len(pairs) for each in zip(*pairs, strict=True)]
    off = [(one - means[0], other - means[1]) for one, other in pairs]
    scale = math.sqrt(sum(one * one for one, _ in off) * sum(other * other for _, other in off))
    return sum(one * other for one, other in off) / scale if scale else 0.0


def text_guesses(leaves: Sequence[Leaf]) -> list[Guess]:
    """Guess the text of a response, whose tokens can be counted: the one text that is another in each record."""
    texts = []
    for leaf in leaves:
        if leaf.are_strings and len(leaf.path) <= 2 and len(leaf.values) >= FEWEST:
            spaced = 2 * sum(" " in value for value in leaf.present) > len(leaf.present)
            if spaced and 4 * len(leaf.counts) >= 3 * len(leaf.values):
                texts.append(leaf)
    named = [leaf for leaf in texts if leaf.says(RESPONSE, {"a", "text", "body"}) and not leaf.says(NOT_WRITTEN)]
    if len(named) != 1:
        return []
    field = "response_texts" if named[0].of_prompt else "response_text"
    return [Guess(field, "--field", named[0].place, "likely", "the only text that is named like that of a response")]


# ---- rewards


def reward_guesses(
    leaves: Sequence[Leaf], groups: Sequence[Hashable] | None
) -> tuple[list[Guess], list[str], list[str]]:
    """Guess the reward.

    Args:
        leaves: the places.
        groups: what makes the prompt of each record; None if that is not known.

    Returns:
        The guesses, the best first; what was seen where there is none; the names that --reward-weights may take.
    """
    found: list[tuple[int, Leaf, str, list[float]]] = []  # the rank of a name, and the place as numbers
    remarks = []
    for leaf in leaves:
        rank = _reward_rank(leaf)
        mapping = _as_number(leaf)
        if mapping is None:
            if rank is not None and rank >= OF_A_KIND and leaf.are_strings and 1 < len(leaf.counts) <= 6:
                words = ", ".join(sorted(map(str, leaf.counts)))
                remarks.append(f"reward: {leaf.place} holds {words}: say which of them is good")
            continue
        if rank is None:
            continue
        place, numbers = mapping
        if groups is not None and _is_advantage(numbers, groups):
            remarks.append(f"reward: {leaf.place} has mean 0 in every group, as an advantage has")
            continue
        if leaf.are_numbers and rank == VERDICT and len({*numbers}) > 2 and not all(0 <= n <= 1 for n in numbers):
            continue  # a status or a result that is a number is a code
        found.append((rank, leaf, place, numbers))
    numeric = [(leaf, numbers) for _, leaf, _, numbers in found if leaf.are_numbers][:MOST_FUNCTIONS]
    summed = {leaf.place: parts for leaf, _ in numeric if (parts := _parts(leaf, numeric, leaves))}
    parts_of = {part for parts in summed.values() for part in parts}
    ranked = sorted(
        (
            (SUMMED if leaf.place in summed else rank, leaf, place, numbers)
            for rank, leaf, place, numbers in found
            if leaf.place not in parts_of
        ),
        key=lambda each: each[0],
    )
    if not ranked:
        remarks = remarks or ["reward: no number or verdict here is named like one"]
        return [], remarks, []
    best = [each for each in ranked if each[0] == ranked[0][0]]
    missing = [leaf for leaf in leaves if not leaf.is_everywhere and leaf.present and _is_better(leaf, best[0][0])]
    for leaf in missing[:1]:
        number = leaf.values.count(None)
        remarks.append(f"reward: {leaf.place} is missing in {number:,} of {len(leaf.values):,} records")
    alike = len(best) == 1 or (len(leaves[0].values) >= FEWEST and all(_agree(best[0][3], each[3]) for each in best))
    alike = alike and not missing and not _is_doubtful(best, leaves, groups)
    guesses = []
    for rank, leaf, place, numbers in ranked:
        is_best = rank == best[0][0]
        guesses.append(_reward(leaf, place, numbers, groups, summed.get(leaf.place), is_best and alike))
    weights = []
    if not alike:
        weights = [
            leaf.place for _, leaf, _, _ in best if leaf.are_numbers and len(leaf.path) == 1 and not leaf.of_prompt
        ]
        names = ", ".join(leaf.place for _, leaf, _, _ in best[:6])
        remarks.append(f"reward: {names} may {'' if len(best) == 1 else 'each '}be it, or a part of it")
    first = next((guess for guess in guesses if guess.is_confident), None)
    if first is not None:
        guesses.remove(first)
        guesses.insert(0, first)
    return guesses, remarks, weights if len(weights) > 1 else []


def _is_doubtful(
    best: Sequence[tuple[int, Leaf, str, list[float]]], leaves: Sequence[Leaf], groups: Sequence[Hashable] | None
) -> bool:
    """True if the name of what is best may be that of the run's state, or of a part of a reward."""
    rank, leaf = best[0][:2]
    words = {*leaf.last}
    if (
        rank == METRIC
        or words <= OF_A_RUN
        or (rank == VERDICT and words & (PARTS | (UNCLEAR if leaf.are_numbers else set())))
    ):
        return True
    return rank >= OF_A_KIND and _has_companion(best, leaves, groups)


def _has_companion(
    best: Sequence[tuple[int, Leaf, str, list[float]]], leaves: Sequence[Leaf], groups: Sequence[Hashable] | None
) -> bool:
    """True if another number is named like a part of a reward, so that none of them needs to be the whole."""
    places = [leaf.place for _, leaf, _, _ in best]
    others = [leaf for leaf in leaves if leaf.are_numbers and leaf.place not in places and _is_part({*leaf.last})]
    return any(groups is None or _varies([float(v or 0) for v in leaf.values], groups) for leaf in others)


def _is_better(leaf: Leaf, rank: int) -> bool:
    """True for a number whose name is more of a reward than one of this rank."""
    own = _reward_rank(leaf)
    return own is not None and own < rank and own < OF_A_KIND and all(map(is_number, leaf.present))


def _is_part(words: set[str]) -> bool:
    """True for the name of a part of a reward, such as a penalty or the reward of a length."""
    return bool(words & PARTS or (words & STRONG and words & {"length", "len", "time", "step", "kl", "tokens"}))


def _reward(
    leaf: Leaf,
    place: str,
    numbers: Sequence[float],
    groups: Sequence[Hashable] | None,
    parts: Sequence[str] | None,
    is_only: bool,
) -> Guess:
    in_words = "a number written as a text" if place.startswith("to_number(") else "a verdict in words"
    what = "true or false" if leaf.are_booleans else in_words if leaf.are_strings else "a number"
    reason = (
        f"{what}, named like a reward" if (_reward_rank(leaf) or VERDICT) < VERDICT else f"{what}, named like a verdict"
    )
    confidence: Confidence = "likely" if is_only else "possible"
    if parts:
        reason += f", the sum of {' and '.join(parts)} in every record"
        confidence = "sure" if is_only else "possible"
    if groups is not None and len(numbers) >= FEWEST:
        varies = _varies(numbers, groups)
        if varies:
            reason += ", and differs between the responses to a prompt"
            if is_only and (_reward_rank(leaf) or VERDICT) < OF_A_KIND:
                confidence = "sure"
        elif len({*numbers}) > 1 and len({*groups}) > 2 and len({*groups}) < len(groups):
            reason += ", but is the same for all responses to a prompt"
            confidence = confidence if leaf.of_prompt or (_reward_rank(leaf) or VERDICT) < OF_A_KIND else "possible"
    return Guess(_plural("reward", leaf), "--field", place, confidence, reason)


def may_be_function(key: str) -> bool:
    """True unless a key is named like an id, a count, a step, a length, an advantage or a statistic."""
    others = NO_REWARD | LENGTHS | COUNTS | ID_WORDS | STEP_WORDS
    return not {*words_of(key)} & (others | {"turns", "turn", "seed", "level", "iter", "uid", "group", "at"})


def _reward_rank(leaf: Leaf) -> int | None:
    """Return what the name is: of a total, of a reward alone, of one of some kind, of a verdict; None of neither."""
    last, words = {*leaf.last}, {*leaf.words}
    short = leaf.last[:1] and leaf.last[0] in SHORT
    if last & NO_REWARD:
        return None
    if (last & STRONG or short) and last & TOTAL:
        return TOTALS
    if last & STRONG or short:
        return REWARD if last <= {"reward", "rewards"} else ALONE if len(leaf.last) == 1 else OF_A_KIND
    if words & STRONG and last <= TOTAL:
        return TOTALS
    if last & VERDICTS:
        return VERDICT
    if last & METRICS or leaf.last[:2] == ("f", "1"):
        return METRIC
    if words & STRONG and not words & NO_REWARD:
        return OF_A_KIND
    return VERDICT if words & VERDICTS and leaf.are_booleans else None


def _as_number(leaf: Leaf) -> tuple[str, list[float]] | None:
    """Return the mapping that makes a reward of a place, and its numbers; None if it is none."""
    if leaf.are_numbers:
        return leaf.place, [float(value or 0) for value in leaf.values]
    if leaf.are_booleans:
        return f"number({leaf.expression})", [float(bool(value)) for value in leaf.values]
    if leaf.are_strings and 1 <= len(leaf.counts) <= 2 and not leaf.of_prompt:
        for good, bad in PAIRS.items():
            spelled = {str(value).lower(): str(value) for value in leaf.counts}
            if good in spelled and {*spelled} <= {good, *bad}:
                return f"number({leaf.expression} == '{spelled[good]}')", [
                    float(value == spelled[good]) for value in leaf.values
                ]
            if len(spelled) == 1 and {*spelled} <= {*bad}:
                return f"number({leaf.expression} == '{good}')", [0.0 for _ in leaf.values]
    if (
        leaf.are_strings
        and {*leaf.last} & (STRONG | SHORT)
        and (_reward_rank(leaf) or VERDICT) < VERDICT
        and all(map(_spells_a_number, leaf.present))
    ):
        return f"to_number({leaf.expression})", [float(value) for value in leaf.present]
    of_one = (
        leaf.of_prompt
        and leaf.is_everywhere
        and all(isinstance(value, list) and len(value) == 1 and is_number(value[0]) for value in leaf.present)
    )
    return (f"{leaf.expression}[*][0]", [float(value[0]) for value in leaf.present]) if of_one else None


def _spells_a_number(text: str) -> bool:
    return bool(re.fullmatch(r"-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?", text))


def _parts(leaf: Leaf, numeric: Sequence[tuple[Leaf, list[float]]], leaves: Sequence[Leaf]) -> list[str]:
    """Return the places of which a number is the sum in every record; [] if there are none."""
    if len(leaf.values) < FEWEST or _is_constant(leaf):
        return []
    total = [float(value or 0) for value in leaf.values]
    within = [
        other
        for other in leaves
        if other.are_numbers and other is not leaf and len(other.path) > 1 and not other.of_prompt
    ]
    for parent in dict.fromkeys(other.path[:-1] for other in within):
        several = [other for other in within if other.path[:-1] == parent]
        if len(several) > 1 and _is_sum(total, [[float(v or 0) for v in other.values] for other in several]):
            return [other.place for other in several]
    others = [(other, numbers) for other, numbers in numeric if other is not leaf and len({*numbers}) > 1]
    for size in range(2, min(len(others), 4) + 1):
        for chosen in itertools.combinations(others, size):
            if _is_sum(total, [numbers for _, numbers in chosen]):
                return [other.place for other, _ in chosen]
    return []


def _is_sum(total: Sequence[float], parts: Sequence[Sequence[float]]) -> bool:
    sums = (sum(each) for each in zip(*parts, strict=True))
    return all(abs(one - other) <= TOLERANCE * max(1.0, abs(one)) for one, other in zip(total, sums, strict=True))


def _agree(one: Sequence[float], other: Sequence[float]) -> bool:
    return all(abs(a - b) <= TOLERANCE for a, b in zip(one, other, strict=True))


def _varies(numbers: Sequence[float], groups: Sequence[Hashable]) -> bool:
    first: dict[Hashable, float] = {}
    return any(first.setdefault(key, number) != number for key, number in zip(groups, numbers, strict=True))


def _is_advantage(numbers: Sequence[float], groups: Sequence[Hashable]) -> bool:
    """True if the numbers of each prompt sum to 0, and are not all 0."""
    sums: dict[Hashable, float] = {}
    for key, number in zip(groups, numbers, strict=True):
        sums[key] = sums.get(key, 0.0) + number
    scale = max(map(abs, numbers), default=0.0)
    whole = list(sums.values())[:-1]  # the last may be cut off
    return len(whole) > 1 and scale > 0 and any(n < 0 for n in numbers) and all(abs(s) <= 1e-3 * scale for s in whole)
