"""A line's value → its responses: finds the fields, checks them, and says of which field something is wrong."""

import json
from collections.abc import Callable
from typing import Any

from budget_cli.ids import Key
from budget_cli.records.values import (
    exact_sum,
    finite_number,
    finite_sum,
    is_number_as_text,
    list_of,
    prompt_id,
    same_for_every_token,
    sequence_log_prob,
    text_digest,
    token_count,
)
from budget_cli.schema.fields import EXTRA_PLURALS, EXTRAS, KINDS, Fields, names_for
from budget_cli.schema.json_values import Invalid, type_name
from budget_cli.schema.lookup import MISSING, NotASample, count_elements, root_keys, split_records, value_at
from budget_cli.schema.parsing import place_text
from budget_cli.schema.paths import Expression, Place, traverses_list

KEYS_SHOWN = 12  # of a record, where the one looked for is missing

# prompt id, reward, length (tokens), log-prob and old log-prob (nats), tokens of a list of log-probs, extras
Response = tuple[Key, float, float | None, float | None, float | None, int | None, tuple[Any, ...]]


def responses(value: Any, fields: Fields, line: int) -> list[Response]:
    """The responses that a line's value holds.

    Raises:
        Bad: a field that is needed is missing or not what it must be.
        Skipped: the line is no sample, and may be none.
    """
    found: list[Response] = []
    samples = split_records(value, fields)
    if fields.skip_unscored and all(isinstance(sample, dict) and not _has_reward(sample, fields) for sample in samples):
        raise NotASample
    for record in samples:
        if not isinstance(record, dict):
            raise Invalid("not-an-object", f"expected an object, found {type_name(record)}", column=1)
        found += _of_record(record, fields, line)
    return found


def is_prompt_record(record: dict[str, Any], fields: Fields) -> bool:
    """Whether a record holds the arrays of a prompt's responses.

    Raises:
        Bad: something else than a place expects lies on the way to it.
    """
    return _looked_up(record, fields, "rewards") is not MISSING and _looked_up(record, fields, "reward") is MISSING


def _has_reward(record: dict[str, Any], fields: Fields) -> bool:
    return any(_looked_up(record, fields, name) is not MISSING for name in names_for("reward"))


def _looked_up(record: dict[str, Any], fields: Fields, name: str) -> Any:
    """What is at the field's place; what is wrong on the way there names the field.

    Raises:
        Bad: something else than the place expects.
    """
    place = fields.paths[name]
    try:
        return value_at(record, place)
    except Invalid as bad:
        raise _named(bad, name, place) from None


def _named(bad: Invalid, name: str, place: Place) -> Invalid:
    shown = place_text(place)
    bad.field = name if shown == name else f"{name} ({shown})"
    bad.path = place
    return bad


def _of_record(record: dict[str, Any], fields: Fields, line: int) -> list[Response]:
    key: Key = line if fields.group else _field(record, fields, "prompt_id", "prompt_id", prompt_id)
    if is_prompt_record(record, fields):
        return _prompt(record, fields, key)
    reward = _field(record, fields, "reward", "reward", finite_number)
    log_prob, tokens = _field(record, fields, "log_prob", "log_prob", sequence_log_prob) or (None, None)
    old_log_prob, old_tokens = _field(record, fields, "old_log_prob", "old_log_prob", sequence_log_prob) or (None, None)
    if tokens is not None and old_tokens is not None and tokens != old_tokens:
        raise Invalid(
            "unequal-lengths",
            f"{count_elements(old_tokens)}, but log_prob has {tokens}",
            "old_log_prob",
            fields.paths["old_log_prob"],
        )
    tokens = tokens if tokens is not None else old_tokens
    length = _length(record, fields, "response_length", token_count, tokens)
    extras = tuple(extra_value(record, fields, name) for name in fields.extras)
    return [(key, reward, length, log_prob, old_log_prob, tokens, extras)]


def _prompt(record: dict[str, Any], fields: Fields, key: Key) -> list[Response]:
    """A record with the arrays of a prompt's responses."""
    rewards = _field(record, fields, "rewards", "reward", list_of(finite_number))
    log_probs = _field(record, fields, "log_probs", "log_prob", list_of(sequence_log_prob))
    old_log_probs = _field(record, fields, "old_log_probs", "old_log_prob", list_of(sequence_log_prob))
    tokens = next((p for p in (log_probs, old_log_probs) if p and all(n is not None for _, n in p)), None)
    lengths = _length(
        record, fields, "response_lengths", list_of(token_count), [n for _, n in tokens] if tokens else None
    )
    named = {"log_probs": log_probs, "old_log_probs": old_log_probs, "response_lengths": lengths}
    for name, values in named.items():
        if values is not None and len(values) != len(rewards):
            message = f"{count_elements(len(values))}, but rewards has {len(rewards)}"
            raise Invalid("unequal-lengths", message, name, fields.paths[name])
    for i, ((_, tokens_i), (_, old_tokens_i)) in enumerate(zip(log_probs or [], old_log_probs or [], strict=False)):
        if tokens_i is not None and old_tokens_i is not None and tokens_i != old_tokens_i:
            message = f"response {i}: {count_elements(old_tokens_i)}, but log_probs has {tokens_i}"
            raise Invalid("unequal-lengths", message, "old_log_probs", fields.paths["old_log_probs"])
    nothing = [None] * len(rewards)
    absent = [(None, None)] * len(rewards)
    extras = zip(*(_extra_of_each(record, fields, name, len(rewards)) for name in fields.extras), strict=True)
    return [
        (key, reward, length, log_prob, old, tokens_i if tokens_i is not None else old_tokens_i, each_extras)
        for reward, length, (log_prob, tokens_i), (old, old_tokens_i), each_extras in zip(
            rewards,
            lengths or nothing,
            log_probs or absent,
            old_log_probs or absent,
            extras if fields.extras else [()] * len(rewards),
            strict=True,
        )
    ]


def extra_value(record: dict[str, Any], fields: Fields, name: str) -> Any:
    """The value of an extra, None where there is none: it is never a reason to refuse a record."""
    return _read_extra(_extra_at(record, fields, name), name, fields)


def _extra_of_each(record: dict[str, Any], fields: Fields, name: str, size: int) -> list[Any]:
    """The values of an extra in a record of so many responses: one that all share, or an array of them."""
    shared = _extra_at(record, fields, name)
    if shared is None and name in EXTRA_PLURALS:
        several = _extra_at(record, fields, EXTRA_PLURALS[name])
        if isinstance(several, list) and len(several) == size:
            return [_read_extra(value, name, fields) for value in several]
    return [_read_extra(shared, name, fields)] * size


def _extra_at(record: dict[str, Any], fields: Fields, name: str) -> Any:
    try:
        value = value_at(record, fields.paths[name])
    except Invalid:
        return None
    return None if value is MISSING else value


def _read_extra(value: Any, name: str, fields: Fields) -> Any:
    if value is None:
        return None
    kind, place = EXTRAS[name], fields.paths[name]
    try:
        if kind == "text":
            return text_digest(value)
        if isinstance(value, list) and value:
            # of several turns the last; an expression's list is one label of several parts
            value = (
                same_for_every_token(value)
                if kind == "number"
                else value[-1]
                if traverses_list(place)
                else composite(value)
            )
        return finite_number(value) if kind == "number" else prompt_id(value)
    except Invalid:
        return None


def _field(record: dict[str, Any], fields: Fields, name: str, canonical: str, check: Callable[[Any], Any]) -> Any:
    """The checked value of a field; None where it is not there and not needed."""
    path = fields.paths[name]
    value: Any = MISSING
    try:
        value = value_at(record, path)
        if value is MISSING or value is None:
            if not fields.required(canonical):
                return None
            raise _absent(value, name, canonical, record, path)
        if traverses_list(path):
            value = _summable(value, KINDS[canonical])
        if canonical == "prompt_id" and isinstance(path, Expression):
            value = composite(value)
        return check(value)
    except Invalid as bad:
        if bad.code == "null" and isinstance(path, Expression):
            bad = _lacking(bad, record, path)
        if is_number_as_text(value) and KINDS[canonical] != "id":
            bad.message += f"; --field '{name}=to_number({place_text(path)})' reads it"
        raise _named(bad, name, path) from None


def _lacking(bad: Invalid, record: dict[str, Any], path: Place) -> Invalid:
    """Where an expression met null, the keys that are not there at all."""
    lacking = [key for key in root_keys(path) if key not in record]
    return Invalid("missing", f"no {' and no '.join(lacking)} (there are {_keys(record)})") if lacking else bad


def _keys(record: dict[str, Any]) -> str:
    return ", ".join(list(record)[:KEYS_SHOWN]) + (", …" if len(record) > KEYS_SHOWN else "")


def composite(value: Any) -> Any:
    """Several values as one id: `[step, prompt_idx]` is 40/3, and no other list is."""
    return "/".join(map(part_of_id, value)) if isinstance(value, list) and value else value


def part_of_id(value: Any) -> str:
    """One of several values that make an id, such that different ones stay different: 1 and "1", a/b and its parts."""
    part = prompt_id(value)
    plain = isinstance(part, int) or not (part.lstrip("-").isdecimal() or "/" in part or part[:1] in ("", '"'))
    return str(part) if plain else json.dumps(part)


def _absent(value: Any, name: str, canonical: str, record: dict[str, Any], path: Place) -> Invalid:
    """What is not there and is needed, and every way out."""
    if value is None:
        return Invalid("null", "null")
    without = {
        "log_prob": "--kl-coef 0 does without it, or ",
        "old_log_prob": "--kl-coef 0 does without it, or ",
        "response_length": "--budget-penalty-coef 0 does without it, or ",
    }.get(canonical, "")
    keys = f" (there are {_keys(record)})" if isinstance(path, Expression) or path[0].key not in record else ""
    return Invalid("missing", f"missing{keys}; {without}give --field {name}=PATH")


def _length(record: dict[str, Any], fields: Fields, name: str, check: Callable[[Any], Any], tokens: Any) -> Any:
    """The length as given, else the number of tokens of a log-prob list, else None where none is needed."""
    if tokens is not None:
        given = _looked_up(record, fields, name)
        if given is MISSING or (given is None and fields.needs_length):  # a writer that did not count says null
            return tokens
    return _field(record, fields, name, "response_length", check)


def _summable(values: list[Any], kind: str) -> Any:
    """What `[]` found, as one value of this kind: tokens are joined, numbers are summed."""
    if kind == "log_prob":
        joined: list[Any] = []
        for value in values:
            joined += value if isinstance(value, list) else [value]
        return joined
    check = token_count if kind == "tokens" else finite_number
    return finite_sum(exact_sum(map(check, values)))
