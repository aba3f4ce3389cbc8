"""Some records that no preset fits → the options that would read them, for a refusal to name. Knows no bytes.

Only names and types are looked at, so a proposal may be wrong: it is shown, never applied.
"""

import re
import shlex
from collections.abc import Iterable, Sequence
from typing import Any

from budget_cli.schema.fields import Fields, as_expression

# patterns of keys, compiled when a refusal needs them: 2 ms
ID_NAME = r"(?i)(prompt|problem|question|puzzle|example|task|group|q)?_?(id|idx|uid|index)$|^uid$"
REWARD_NAME = r"(?i)reward|score|correct|solved|passed|success|^acc$|status"
ITEM_ID = (
    "rollout",
    "sample",
    "completion",
    "generation",
    "response",
    "trace",
    "parent",
    "session",
    "request",
    "traj",
    "episode",
)
TEXTS = ("prompt", "question", "problem", "query", "input", "messages")
VERDICTS = {"pass", "fail"}
NO_DUMPS = {  # keys of a file beside a dump → what it is, and where the dump is
    ("chunk", "offset", "trace_ids"): "prime-rl's index of its episodes, which are in traces/stream/",
    ("branches", "trace_id", "version"): "prime-rl's annotations of its episodes, which are in traces/stream/",
    ("response_length", "rollout_log_probs", "sample_index"): "columns of miles, whose rewards are in trajectory/",
}
CHOICES = {  # keys of what is no more than a choice of the rollouts → whose it is
    ("is_validation", "reward_breakdown", "turns"): "torchtitan's recorder keeps the best and the worst of each group",
    ("selection_type", "total_reward"): "this logger keeps the best, the worst and one other rollout",
}


def a_choice(record: dict[str, Any]) -> str | None:
    """Say that a writer keeps only some of the rollouts; None if it is not known to."""
    return next((what for keys, what in CHOICES.items() if all(key in record for key in keys)), None)


def no_dump(record: dict[str, Any]) -> str | None:
    """Say what a record of a file beside a dump is; None if it is not known as such."""
    return next((what for keys, what in NO_DUMPS.items() if all(key in record for key in keys)), None)


def options(records: Sequence[dict[str, Any]]) -> str:
    """Write `--field prompt_id=idx --field rewards=scores`, with PATH for what no key of the records looks like."""
    prompt_id = next(iter(_ids(records)), None) or _text_of_prompt(records)
    found = list(_rewards(records))
    reward, *others = found or ["reward=PATH"]
    flags = [f"prompt_id={prompt_id or 'PATH'}", reward]
    also = f" (or {', '.join(_quoted(other) for other in others[:2])})" if others else ""
    return " ".join(f"--field {_quoted(flag)}" for flag in flags) + also


def by_prompt_text(fields: Fields) -> str:
    """Write the options that group records by the text or the tokens of their prompts, where the fields place it."""
    digest = f"prompt_id=digest({as_expression(fields.paths['prompt_text'])})"
    return f"--field {_quoted(digest)}" + (" --ids-per-file" if fields.id_file_prefix is not None else "")


def as_field(name: str, place: str) -> str:
    """Write the option that says where a field is."""
    return f"--field {_quoted(f'{name}={place}')}"


def _quoted(text: str) -> str:
    """Write a text as one argument of a shell, in double quotes where it holds single ones."""
    plain = "'" in text and not re.search(r'["$`\\!]', text)
    return f'"{text}"' if plain else shlex.quote(text)


def inner_lists(value: Any) -> tuple[str, list[dict[str, Any]]] | None:
    """Find the records that a document holds.

    Returns:
        Where they are as a path of jq (`.[]`, `.eval[][]`), and the first of them; None if there is no one such place.
    """
    if isinstance(value, list):
        return (".[]", _objects(value)) if _objects(value) else None
    if not isinstance(value, dict):
        return None
    places: list[tuple[str, list[dict[str, Any]]]] = []
    for key, inner in value.items():
        name = f".{key}" if re.fullmatch(r"[A-Za-z_]\w*", key) else f'["{key}"]'
        if isinstance(inner, list) and _objects(inner):
            places.append((f"{name}[]", _objects(inner)))
        elif isinstance(inner, dict) and inner and all(isinstance(each, list) for each in inner.values()):
            within = [record for each in inner.values() for record in _objects(each)]
            if within:
                places.append((f"{name}[][]", within))
    return places[0] if len(places) == 1 else None


def _objects(values: Iterable[Any]) -> list[dict[str, Any]]:
    return [value for value in values if isinstance(value, dict)]


def _ids(records: Sequence[dict[str, Any]]) -> list[str]:
    """List the keys that look like a prompt's id, those that name a prompt or a problem first."""
    keys = [key for key, value in _common(records) if re.search(ID_NAME, key) and _is_id(value)]
    keys = [key for key in keys if not key.lower().startswith(ITEM_ID)]
    return sorted(keys, key=lambda key: key.lower() in ("id", "index"))


def _text_of_prompt(records: Sequence[dict[str, Any]]) -> str | None:
    """Write the id that the text of a prompt makes, in its step if there is one; None if there is no such text."""
    there = dict(_common(records))
    text = next((key for key in TEXTS if isinstance(there.get(key), str | list)), None)
    if text is None:
        return None
    return f"digest([step, {text}])" if "step" in there else f"digest({text})"


def _rewards(records: Sequence[dict[str, Any]]) -> list[str]:
    """List the mappings of the reward that look possible, a number before an array, and a reward before a verdict."""
    found: list[tuple[int, str]] = []
    for key, value in _common(records):
        if re.search(REWARD_NAME, key):
            mapping = _mapping(key, [record.get(key) for record in records], value)
            if mapping:
                found.append((_rank(key), mapping))
        elif isinstance(value, list):
            inner = _objects(value)
            names = [name for name, each in _common(inner) if re.search(REWARD_NAME, name) and _is_number(each)]
            if names:
                best = min(names, key=_rank)
                found.append((_rank(best) + 2, f"rewards={key}[*].{best}"))
    return [mapping for _, mapping in sorted(found, key=lambda each: each[0])]


def _rank(key: str) -> int:
    order = ("reward", "rewards", "score", "scores", "scalar_reward")
    lower = key.lower()
    if lower in order:
        return order.index(lower)
    return 10 if re.search(r"(^|_)(reward|score)s?$", lower) and "mean" not in lower else 20


def _mapping(key: str, values: Sequence[Any], value: Any) -> str | None:
    """Write the mapping of a reward that is a number, a boolean, a verdict or a list of such; None if it is none."""
    if isinstance(value, bool):
        return f"reward=number({key})"
    if _is_number(value):
        return f"reward={key}"
    if isinstance(value, str) and set(values) <= VERDICTS:
        return f"reward=number({key} == 'pass')"
    if isinstance(value, list) and value:
        if all(isinstance(each, bool) for each in value):
            return f"rewards=number({key})"
        if all(map(_is_number, value)):
            return f"rewards={key}"
        if all(isinstance(each, list) and len(each) == 1 and _is_number(each[0]) for each in value):
            return f"rewards={key}[*][0]"
    return None


def _common(records: Sequence[dict[str, Any]]) -> list[tuple[str, Any]]:
    """List the keys that all records have, in the order of the first, with its values."""
    if not records:
        return []
    return [(key, value) for key, value in records[0].items() if all(key in record for record in records)]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_id(value: Any) -> bool:
    return isinstance(value, (str, int)) and not isinstance(value, bool)
