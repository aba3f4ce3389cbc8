"""The first samples of a dump → what their lengths count, beside the texts and tokens in the same records.

Knows no bytes. Looks at few samples, which are decoded in any case; `check --text` compares the lengths of all.
"""

import json
import re
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from budget_cli.schema.fields import Fields
from budget_cli.schema.json_values import canonical, count_characters
from budget_cli.schema.lookup import field_value
from budget_cli.schema.parsing import place_text

LONG_RUN = 16  # tokens; of so many in a row no policy is certain that is hardly ever certain of one
CERTAIN = 0.01  # share of the other tokens with a log-prob of exactly 0, above which zeros are the policy's
TELLING = 8  # tokens; shorter texts may have as many characters by chance
# what writers put before text that the policy did not write, and that is part of the response's text
MARKERS = (
    "<tool_response>",  # the chat templates of Qwen, and verl's agent loops
    "<information>",  # Search-R1
    "<interpreter>",  # ReTool
    "<observation>",
    "<|observation|>",  # GLM
    "[TOOL_RESULTS]",  # Mistral
    "<|tool▁output▁begin|>",  # DeepSeek
    "<|im_start|>user",
    "<|im_start|>tool",
    "<|start_header_id|>user",  # Llama
    "<|start_header_id|>ipython",
    "<start_of_turn>user",  # Gemma
)
# what a place that counts only generated tokens has in its path: a mask, or what the server counted
GENERATED = ("kept(", "mask", "output_tokens", "completion_tokens", "version_rle", "ac_len")

RESPONSES = ("response", "completion", "output", "generated")  # in the name of a list of the response's tokens


class WrongUnit(NamedTuple):
    """What the lengths of all samples are in place of tokens."""

    unit: Literal["characters", "turns"]
    key: str  # of the record: what they are the number of characters or of lists of
    samples: int
    tokens: str = ""  # the expression that counts tokens in place of turns

    def __str__(self) -> str:
        what = "characters of" if self.unit == "characters" else "turns in"
        return (
            f"response_length is the number of {what} {self.key}, not of tokens, in all {self.samples:,} samples"
            " examined"
        )


class Sizes(NamedTuple):
    """The sizes of the responses themselves, in samples that have a length."""

    unit: Literal["characters", "tokens"]
    samples: int
    mean: float
    spread: float  # standard deviation
    prompts: int  # with several of these samples
    uneven: int  # of these prompts, those whose samples have different sizes


class OtherText(NamedTuple):
    """Texts of responses that hold text which the policy did not write."""

    marker: str  # the first that was found
    texts: int
    of: int
    is_counted: bool  # True if the tokens of these texts are counted here; False if the lengths are the dump's

    def __str__(self) -> str:
        hold = "holds" if self.texts == 1 else "hold"
        return (
            f"{self.texts:,} of the first {self.of:,} texts {hold} {self.marker} and what follows it, which the policy"
            f" did not write, and the lengths {'' if self.is_counted else 'may '}count it"
        )


class ZeroRuns(NamedTuple):
    """Responses of which many tokens in a row have a log-prob of exactly 0, as where a writer masks by zeros."""

    responses: int
    of: int  # responses with log-probs by token
    sample: int  # the first of them among the samples, from 1
    first: int  # its first such token, from 0
    last: int

    def __str__(self) -> str:
        have = "has" if self.responses == 1 else "have"
        return (
            f"{self.responses:,} of the first {self.of:,} lists of log-probs {have} {LONG_RUN} zeros in a row or more,"
            f" and hardly a zero elsewhere, and the length counts them: in sample {self.sample:,}, tokens"
            f" {self.first + 1:,} to {self.last + 1:,} of the response (indices {self.first} to {self.last})"
        )


class FirstLengths(NamedTuple):
    """What the first samples show of their lengths; None: nothing."""

    wrong_unit: WrongUnit | None = None
    sizes: Sizes | None = None
    other_text: OtherText | None = None
    zero_runs: ZeroRuns | None = None


def first_lengths(found: Sequence[dict[str, Any]], fields: Fields) -> FirstLengths:
    """Compare the lengths of these samples with their texts and tokens."""
    return FirstLengths(
        wrong_unit(found, fields), _sizes(found, fields), other_text(found, fields), zero_runs(found, fields)
    )


def wrong_unit(found: Sequence[dict[str, Any]], fields: Fields) -> WrongUnit | None:
    """Return what every length is the number of, if that is not tokens."""
    lengths = [(sample, length) for sample in found if (length := _length(sample, fields)) is not None]
    if not lengths:
        return None
    longest = max(length for _, length in lengths)
    for key in lengths[0][0]:
        if longest >= TELLING and all(count_characters(sample.get(key)) == length for sample, length in lengths):
            return WrongUnit("characters", key, len(lengths))
        if longest > 1 and all(_count_turns(sample.get(key)) == length for sample, length in lengths):
            return WrongUnit("turns", key, len(lengths), _counted(key, lengths[0][0][key]))
    return None


def _counted(key: str, turns: list[list[int]]) -> str:
    """Return the expression that counts the tokens in these lists, or those that they keep if they are masks."""
    name = key if re.fullmatch(r"[A-Za-z_]\w*", key) else json.dumps(key)
    is_mask = all(token in (0, 1, -100) for turn in turns for token in turn)
    return f"{'kept' if is_mask else 'length'}({name}[])"


def other_text(found: Sequence[dict[str, Any]], fields: Fields) -> OtherText | None:
    """Return how many texts of responses hold text that the policy did not write, which their lengths may count."""
    place = place_text(fields.paths["response_length"])
    if any(part in place for part in GENERATED):
        return None
    texts = [
        (sample, text) for sample in found if isinstance(text := field_value(sample, fields, "response_text"), str)
    ]
    marked = [(sample, marker) for sample, text in texts if (marker := _marker(text)) is not None]
    if not marked:
        return None
    is_counted = fields.tokenizer is not None and _length(marked[0][0], fields) is None
    if not is_counted and all(_length(sample, fields) is None for sample, _ in marked):
        return None
    return OtherText(marked[0][1], len(marked), len(texts), is_counted)


def zero_runs(found: Sequence[dict[str, Any]], fields: Fields) -> ZeroRuns | None:
    """Return the responses whose log-probs are 0 over long runs of tokens that their lengths count.

    A policy may be certain of single tokens, so nothing is returned where zeros occur elsewhere, too.
    """
    runs, lists, elsewhere, tokens = [], 0, 0, 0
    for number, sample in enumerate(found, start=1):
        each = [
            one for name in ("log_prob", "old_log_prob") if _are_log_probs(one := field_value(sample, fields, name))
        ]
        if not each or len({*map(len, each)}) > 1:
            continue
        lists += 1
        zeros = "".join("0" if not any(of_token) else "1" for of_token in zip(*each, strict=True))
        in_runs = [run.span() for run in re.finditer(f"0{{{LONG_RUN},}}", zeros)] if "1" in zeros else []
        masked = sum(end - begin for begin, end in in_runs)
        tokens += len(zeros) - masked
        elsewhere += zeros.count("0") - masked
        if in_runs and _length(sample, fields) in (None, len(zeros)):
            runs.append((number, in_runs[0]))
    if not runs or elsewhere > CERTAIN * tokens:
        return None
    number, (begin, end) = runs[0]
    return ZeroRuns(len(runs), lists, number, begin, end - 1)


def _are_log_probs(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(type(one) in (int, float) for one in value)


def _marker(text: str) -> str | None:
    return next((marker for marker in MARKERS if marker in text), None)


def _sizes(found: Sequence[dict[str, Any]], fields: Fields) -> Sizes | None:
    measured = [(sample, *size) for sample in found if (size := _size(sample, fields)) is not None]
    unit = measured[0][2] if measured else "characters"
    by_prompt: dict[str, set[int]] = {}
    several = set()
    for sample, each_size, _ in measured:
        key = canonical([field_value(sample, fields, name) for name in ("step", "prompt_id")])
        if key in by_prompt:
            several.add(key)
        by_prompt.setdefault(key, set()).add(each_size)
    sizes = [size for _, size, each in measured if each == unit]
    if len(sizes) < 2:
        return None
    mean = sum(sizes) / len(sizes)
    spread = (sum((size - mean) ** 2 for size in sizes) / len(sizes)) ** 0.5
    return Sizes(unit, len(sizes), mean, spread, len(several), sum(len(by_prompt[key]) > 1 for key in several))


def _size(sample: dict[str, Any], fields: Fields) -> tuple[int, Literal["characters", "tokens"]] | None:
    """Return the size of the response itself; None if it has no length, or is not in the record."""
    if _length(sample, fields) is None:
        return None
    response = field_value(sample, fields, "response_text")
    named = (value for key, value in sample.items() if any(part in key.lower() for part in RESPONSES))
    tokens = next(filter(_is_tokens, (response, *named)), None)
    if tokens is not None:
        return len(tokens), "tokens"
    characters = count_characters(response)
    return (characters, "characters") if characters >= 0 else None


def _count_turns(value: Any) -> int:
    """Return how many lists of tokens a list holds, one for each turn; -1 if it is none, or tells no turn from a token.

    In lists of one token the number of both is the same.
    """
    if not isinstance(value, list) or not value or not all(map(_is_tokens, value)):
        return -1
    return len(value) if sum(map(len, value)) >= TELLING * len(value) else -1


def _is_tokens(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(type(token) is int for token in value)


def _length(sample: dict[str, Any], fields: Fields) -> float | None:
    length = field_value(sample, fields, "response_length")
    return length if isinstance(length, (int, float)) and not isinstance(length, bool) else None
