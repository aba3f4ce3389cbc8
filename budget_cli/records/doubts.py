"""The first samples of a dump → what contradicts their prompt ids, and the options that would group otherwise.

Knows no bytes. Looks at few samples, so that every command can: `check` looks at all of them.
"""

import contextlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from budget_cli.records.record import composite, extra_value
from budget_cli.schema.fields import Fields
from budget_cli.schema.json_values import Invalid, canonical
from budget_cli.schema.lookup import MISSING, value_at
from budget_cli.schema.parsing import place_text
from budget_cli.schema.paths import Step
from budget_cli.schema.proposals import by_prompt_text

LOOKED_AT = 256  # samples
FEWEST = 4  # samples, below which ids that all differ show nothing
LARGEST = 1 << 10  # responses to a prompt
OTHER_TEXTS = {"prompt", "prompt_tokens", "prompt_token_ids"}  # keys of what prompt_text is
STEPS = {"epoch", "global_step", "training_step"}  # keys that say when a prompt was drawn
ZERO = 0.01  # of the root mean square: a sum of advantages, per response, that is 0 but for rounding to 16 bits


class Doubt(NamedTuple):
    """What the first samples show against the prompt ids."""

    message: str
    remedy: str  # options
    prompts: int  # that are in doubt
    of: int
    several_texts: bool  # True if one id stands for several texts; False if each stands for one response of several

    def __str__(self) -> str:
        return f"{self.message}: {self.remedy} groups by that"


class Scattered(NamedTuple):
    """Answers that come again among the first samples, under prompt ids that have nothing to do with them."""

    pairs: int  # of equal answers
    together: int  # of these pairs, those under one id
    expected: float  # if ids were drawn by lot
    right: int  # different answers that come again and have the best reward
    samples: int
    prompts: int

    def __str__(self) -> str:
        return (
            f"of {self.pairs:,} pairs of equal answers among the first {self.samples:,} samples, {self.together:,} are"
            f" under one prompt id; ids drawn by lot would give {self.expected:.0f} ({self.right:,} different answers"
            " that come again are right)"
        )


class FirstIds(NamedTuple):
    """What the first samples show of their ids beside their texts."""

    one_text: bool = False  # True if all have the same prompt
    scattered: Scattered | None = None


def first_ids(samples: Sequence[dict[str, Any]], fields: Fields) -> FirstIds:
    """Compare the ids of the first samples with their prompts and answers."""
    fields = _with_prompt_text(samples[:LOOKED_AT], fields)
    texts = {_prompt_text(sample, fields) for sample in samples[:LOOKED_AT]}
    one_text = len(texts) == 1 and None not in texts
    return FirstIds(one_text, None if one_text or fields.group else _scattered(samples[:LOOKED_AT], fields))


def _scattered(samples: Sequence[dict[str, Any]], fields: Fields) -> Scattered | None:
    """Return that answers to several questions are spread over the ids as if by lot; None if they are not.

    They are answers to several questions if several of them are right, and if an answer has one reward under all ids,
    which it would not have as the answer to different questions.
    """
    rewards: dict[str, set[float]] = {}
    answers: list[tuple[str, str]] = []
    for sample in samples:
        text = _at(sample, fields, "response_text")
        if not isinstance(text, str):
            return None
        key, reward = _key(sample, fields), _at(sample, fields, "reward")
        if key is None or type(reward) not in (int, float):
            return None
        rewards.setdefault(text, set()).add(reward)
        answers.append((key, text))
    of_text, of_id = Counter(text for _, text in answers), Counter(key for key, _ in answers)
    again = [text for text, number in of_text.items() if number > 1]
    best = max(map(max, rewards.values()), default=0.0)
    right = sum(rewards[text] == {best} for text in again)
    if any(len(rewards[text]) > 1 for text in again) or right < max(FEWEST, len(of_id) / 2) or len(of_id) < FEWEST:
        return None
    pairs, grouped, together = (_pairs(counts) for counts in (of_text, of_id, Counter(answers)))
    expected = pairs * grouped / _pairs({"": len(answers)})
    most = expected + 3 * math.sqrt(expected)
    if together > most or 2 * most >= min(pairs, grouped):  # answers go with ids, or there are too few to tell
        return None
    return Scattered(pairs, together, expected, right, len(answers), len(of_id))


def _pairs(counts: Mapping[Any, int]) -> int:
    """Return the number of pairs of equal values, of which so many of each are there."""
    return sum(number * (number - 1) // 2 for number in counts.values())


def doubts(samples: Sequence[dict[str, Any]], fields: Fields) -> list[Doubt]:
    """Return what the first samples say against the ids by which the fields group them."""
    if fields.group:
        return []
    fields = _with_prompt_text(samples[:LOOKED_AT], fields)
    first = [(sample, key) for sample in samples[:LOOKED_AT] if (key := _key(sample, fields)) is not None]
    return [doubt for doubt in (_several_texts(first, fields), _one_of_several(first, fields)) if doubt is not None]


def _with_prompt_text(samples: Sequence[dict[str, Any]], fields: Fields) -> Fields:
    """Return the fields with the prompt's text where all samples have it, if it is not where it is looked for."""
    if fields.paths["prompt_text"] != (Step("prompt_text"),) or any("prompt_text" in sample for sample in samples):
        return fields
    for name in sorted(OTHER_TEXTS):
        moved = replace(fields, places=tuple({**fields.paths, "prompt_text": (Step(name),)}.items()))
        if samples and all(_prompt_text(sample, moved) for sample in samples):
            return moved
    return fields


def _several_texts(first: Sequence[tuple[dict[str, Any], str]], fields: Fields) -> Doubt | None:
    texts: dict[str, set[str]] = {}
    begun = set()
    for sample, key in first:
        if fields.has_rollouts:  # the prompt of a later turn holds those before
            rollout = extra_value(sample, fields, "rollout_id")
            if rollout is not None and (key, rollout) in begun:
                continue
            begun.add((key, rollout))
        text = _prompt_text(sample, fields)
        if text:
            texts.setdefault(key, set()).add(text)
    count = sum(len(of_key) > 1 for of_key in texts.values())
    if not count:
        return None
    verb, each = ("stands", "it has") if count == 1 else ("stand", "they have")
    message = f"{count} of the first {len(texts)} prompt ids {verb} for several prompts, as {each} different"
    message += f" {place_text(fields.paths['prompt_text'])}"
    return Doubt(message, by_prompt_text(fields), count, len(texts), several_texts=True)


def _one_of_several(first: Sequence[tuple[dict[str, Any], str]], fields: Fields) -> Doubt | None:
    keys = [key for _, key in first]
    if len(keys) < FEWEST or len(set(keys)) < len(keys) or fields.has_rollouts:
        return None
    message = f"no prompt id comes twice among the first {len(keys)} records, but "
    advantages = [extra_value(sample, fields, "advantage") for sample, _ in first]
    size = None if None in advantages else lines_of_a_group(advantages)
    if size is not None:
        message += f"over every {size} of them the stored advantages sum to 0"
        return Doubt(message, f"--group-size {size}", len(keys), len(keys), several_texts=False)
    texts = Counter((str(_at(sample, fields, "step")), _prompt_text(sample, fields)) for sample, _ in first)
    shared = [number for (_, text), number in texts.items() if text and number > 1]
    if len(shared) < 2 or 2 * sum(shared) < len(keys):  # games may all begin with the same words
        return None
    message += f"{len(shared)} prompts do, by {place_text(fields.paths['prompt_text'])}"
    return Doubt(message, by_prompt_text(fields), len(keys), len(keys), several_texts=False)


def unread_step(samples: Sequence[dict[str, Any]], fields: Fields) -> Doubt | None:
    """Return that ids come back at other values of a key that looks like a step and is none; None if none does."""
    if fields.group or fields.has_rollouts or fields.paths["prompt_id"] != (Step("prompt_id"),):
        return None
    first = [(sample, key) for sample in samples[:LOOKED_AT] if (key := _key(sample, fields)) is not None]
    for name in sorted(STEPS):
        values: dict[str, set[str]] = {}
        for sample, key in first:
            if type(sample.get(name)) in (int, str):
                values.setdefault(key, set()).add(str(sample[name]))
        count = sum(len(of_key) > 1 for of_key in values.values())
        if count:
            verb = "comes" if count == 1 else "come"
            message = f"{count} of the first {len(values)} prompt ids {verb} back at another {name}"
            remedy = f"--field 'prompt_id=[{name}, prompt_id]'" if fields.prompts_of_steps else f"--field step={name}"
            return Doubt(message, remedy, count, len(values), several_texts=False)
    return None


def ids_recur(first: Sequence[dict[str, Any]], later: Sequence[dict[str, Any]], fields: Fields) -> bool:
    """True if most prompts of the first samples of a later file come as often in those of the first file."""
    one, other = (Counter(key for sample in each if (key := _key(sample, fields))) for each in (first, later))
    return 2 * sum(number > 1 and one[key] == number for key, number in other.items()) > len(other)


def _key(sample: dict[str, Any], fields: Fields) -> str | None:
    """Return what makes the prompt of a sample, with its step if that is a part of it."""
    names = ("step", "prompt_id") if fields.prompts_of_steps else ("prompt_id",)
    parts = [_at(sample, fields, name) for name in names]
    if parts[-1] is MISSING:
        return None
    try:
        return canonical([None if part is MISSING else composite(part) for part in parts])
    except Invalid:
        return None


def _prompt_text(sample: dict[str, Any], fields: Fields) -> str | None:
    """Return the text of a sample's prompt; None if there is none."""
    text = _at(sample, fields, "prompt_text")
    if isinstance(text, (str, list, dict)) and text:
        with contextlib.suppress(Invalid):  # Parquet may hold what has no text
            return text if isinstance(text, str) else canonical(text)
    return None


def _at(sample: dict[str, Any], fields: Fields, name: str) -> Any:
    try:
        return value_at(sample, fields.paths[name])
    except Invalid:
        return MISSING


def lines_of_a_group(advantages: Sequence[float] | NDArray[np.float64], whole: bool = False) -> int | None:
    """Return the number of responses after which the stored advantages sum to 0 again and again; None if none does.

    Args:
        advantages: of responses that follow each other in the dump.
        whole: True if these are all of a file, so that the last group is complete.
    """
    values = np.array(advantages, dtype=np.float64)
    if not np.all(np.isfinite(values)) or not np.any(values):
        return None
    close = ZERO * float(np.sqrt(np.mean(values * values)))
    sums, sizes = (np.append(0.0, np.cumsum(each)) for each in (values, np.abs(values)))
    for size in range(2, min(LARGEST, values.size // 2) + 1):
        if not (whole and values.size % size):
            off, taught = np.abs(np.diff(sums[::size])), np.diff(sizes[::size]) > close
            if np.all(off <= close * size) and np.count_nonzero(taught) > 1:
                return size
    return None
