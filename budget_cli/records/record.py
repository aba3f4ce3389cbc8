"""The value of a line → its checked responses, or the field that is wrong and the reason."""

import json
import shlex
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from budget_cli.ids import Key
from budget_cli.records.columns import LengthFrom
from budget_cli.records.values import (
    LogProb,
    finite_number,
    finite_sum,
    is_number_as_text,
    label,
    list_of,
    prompt_id,
    same_for_every_token,
    sequence_log_prob,
    summed_if_any,
    text_digest,
    token_count,
)
from budget_cli.schema.fields import EXTRA_PLURALS, EXTRAS, KINDS, PAIRS, PLURALS, SAMPLER, WHERE, Fields, names_for
from budget_cli.schema.json_values import Invalid, exact_sum, generated_texts, type_name
from budget_cli.schema.lookup import (
    MISSING,
    NotASample,
    count_elements,
    field_value,
    root_keys,
    split_records,
    value_at,
)
from budget_cli.schema.parsing import place_text
from budget_cli.schema.paths import GROUP, Expression, Place, Step, traverses_list

GROUP_PLACE = (Step(GROUP),)  # several keys and indexes, where lists are in lists of lists
KEYS_SHOWN = 12  # keys of a record that a message about a missing one names


class Length(NamedTuple):
    """The length of a response, or the texts whose tokens are to be counted."""

    tokens: float | None = None  # None: there is no length, or it is to be counted
    origin: LengthFrom = LengthFrom.FIELD
    texts: Sequence[str] = ()


TokenPair = tuple[Sequence[float], Sequence[float]]  # the log-probs of the same tokens under two policies

# prompt id, reward, length, log-prob and old log-prob (nats), length of a list of log-probs, optional fields, and for
# each pair of policies that is compared the lists of both, if there are such
Response = tuple[
    Key, float, Length, float | None, float | None, int | None, tuple[Any, ...], tuple[TokenPair | None, ...]
]


def responses(value: Any, fields: Fields, line: int) -> tuple[list[Response], list[tuple[str, Key | None]]]:
    """Return the responses that the value of a line holds, and the reason and label of each sample that is left out.

    Raises:
        Invalid: a required field is missing, or a field is not what it must be.
        NotASample: the line has no reward, and such lines are to be skipped.
    """
    found: list[Response] = []
    left_out: list[tuple[str, Key | None]] = []
    samples = split_records(value, fields)
    if fields.skip_unscored and is_unscored(samples, fields):
        raise NotASample
    if not samples and fields.empty_reason:
        left_out.append((fields.empty_reason, _label(value, fields)))
    for record in samples:
        if not isinstance(record, dict):
            raise Invalid("not-an-object", f"expected an object, found {type_name(record)}", column=1)
        reason = reason_to_leave_out(record, fields)
        if reason is None:
            found += _responses_of_record(record, fields, line)
        else:
            left_out.append((reason, _label(record, fields)))
    return found, left_out


def _label(record: Any, fields: Fields) -> Key | None:
    """Return the label of a sample that is left out; None without one, or if nothing is split by label."""
    label: Key | None = extra_value(record, fields, fields.by) if fields.by and isinstance(record, dict) else None
    return label


def reason_to_leave_out(record: dict[str, Any], fields: Fields) -> str | None:
    """Return the first reason for which the trainer does not train on a sample; None if there is none.

    Raises:
        Invalid: an expression cannot be computed, or gives what is neither true nor false.
    """
    for reason, place in fields.leave_out:
        try:
            value = value_at(record, place)
            # as in JMESPath, but for numbers and strings, of which there 0 and "False" are true
            if isinstance(value, (int, float, str)) and not isinstance(value, bool):
                comparison = f"compare it, as in {place_text(place)} == `{json.dumps(value)[:20]}`"
                raise Invalid("wrong-type", f"expected true or false, found {type_name(value)}: {comparison}")
        except Invalid as bad:
            bad.field = f"--where ({place_text(place)})" if reason == WHERE else f"leave_out.{reason}"
            bad.path = place
            raise
        if (value is not MISSING and bool(value)) is not (reason == WHERE):
            return reason
    return None


def is_prompt_record(record: dict[str, Any], fields: Fields) -> bool:
    """True if a record holds arrays over all responses to a prompt.

    Raises:
        Invalid: a value on the way to a field has the wrong type, or there are both a reward and an array of them.
    """
    if fields.scored_by == "rewards":
        return True
    several = _raw_value(record, fields, "rewards")
    if several is MISSING:
        return False
    if _raw_value(record, fields, "reward") is MISSING:
        return True
    if isinstance(several, list) and not fields.scored_by:
        ways = ", or ".join(
            f"--field {name}={place_text(fields.paths[name])} for {what}"
            for name, what in (("reward", "the one number"), ("rewards", "the array, one for each response"))
        )
        raise Invalid(
            "wrong-value",
            f"an array beside a single reward, and only one of them can count: give {ways}",
            "rewards",
            fields.paths["rewards"],
        )
    return False


def is_unscored(samples: Sequence[Any], fields: Fields) -> bool:
    """True if none of these samples, all objects, has a reward.

    Raises:
        Invalid: a value on the way to a reward has the wrong type.
    """
    return all(isinstance(sample, dict) and not _has_reward(sample, fields) for sample in samples)


def _has_reward(record: dict[str, Any], fields: Fields) -> bool:
    names = ("rewards",) if fields.scored_by == "rewards" else names_for("reward")
    return any(_raw_value(record, fields, name) is not MISSING for name in names)


def _raw_value(record: dict[str, Any], fields: Fields, name: str) -> Any:
    """Return the value of a field, unchecked, or MISSING.

    Raises:
        Invalid: a value on the way to it has the wrong type; the error names the field.
    """
    place = fields.paths[name]
    try:
        return value_at(record, place)
    except Invalid as bad:
        raise _with_field(bad, name, place) from None


def _with_field(bad: Invalid, name: str, place: Place) -> Invalid:
    shown = place_text(place)
    bad.field = name if shown == name else f"{name} ({shown})"
    bad.path = place
    return bad


def _responses_of_record(record: dict[str, Any], fields: Fields, line: int) -> list[Response]:
    key: Key = line if fields.group else _field(record, fields, "prompt_id", "prompt_id", prompt_id)
    if is_prompt_record(record, fields):
        return _responses_of_prompt(record, fields, key)
    reward = _field(record, fields, "reward", "reward", finite_number)
    summed = sequence_log_prob if fields.needs_log_probs else summed_if_any
    log_prob: LogProb = _field(record, fields, "log_prob", "log_prob", summed) or LogProb()
    old: LogProb = _field(record, fields, "old_log_prob", "old_log_prob", summed) or LogProb()
    old_tokens = old.size
    tokens = log_prob.size if log_prob.size is not None else old_tokens
    if old_tokens is not None and tokens != old_tokens:
        if _is_ignored(fields, "old_log_prob"):
            old = LogProb()
        else:
            raise Invalid(
                "unequal-lengths",
                f"{count_elements(old_tokens)}, but log_prob has {tokens}",
                "old_log_prob",
                fields.paths["old_log_prob"],
            )
    length = _length(record, fields, tokens)
    extras = _fitting_extras(fields, [extra_value(record, fields, name) for name in fields.extras], log_prob)
    return [(key, reward, length, log_prob.total, old.total, tokens, extras, _pairs(fields, log_prob, old, extras))]


def _fitting_extras(fields: Fields, extras: Sequence[Any], log_prob: LogProb) -> tuple[Any, ...]:
    """Return the optional fields of a response, without log-probs of the sampler that are not of as many tokens."""
    fitting = list(extras)
    if SAMPLER in fields.extras:
        at = fields.extras.index(SAMPLER)
        sampler: LogProb | None = fitting[at]
        if sampler is not None and None not in (sampler.size, log_prob.size) and sampler.size != log_prob.size:
            fitting[at] = None
    return tuple(fitting)


def _pairs(fields: Fields, log_prob: LogProb, old: LogProb, extras: Sequence[Any]) -> tuple[TokenPair | None, ...]:
    """Return the two lists of log-probs of each pair that is compared; None without lists."""
    pairs: list[TokenPair | None] = []
    for pair in fields.pairs:
        name = PAIRS[pair][1]
        other = old if name in KINDS else extras[fields.extras.index(name)] or LogProb()
        is_listed = log_prob.size is not None and log_prob.size == other.size
        pairs.append((log_prob.tokens, other.tokens) if is_listed else None)
    return tuple(pairs)


def _responses_of_prompt(record: dict[str, Any], fields: Fields, key: Key) -> list[Response]:
    """Return the responses of a record that holds arrays over all responses to a prompt."""
    rewards = _field(record, fields, "rewards", "reward", list_of(finite_number))
    summed = sequence_log_prob if fields.needs_log_probs else summed_if_any
    log_probs = _field(record, fields, "log_probs", "log_prob", list_of(summed))
    old_log_probs = _field(record, fields, "old_log_probs", "old_log_prob", list_of(summed))
    log_probs = _fitting(log_probs, rewards, fields, "log_prob")
    old_log_probs = _fitting(old_log_probs, rewards, fields, "old_log_prob")
    tokens = next((p for p in (log_probs, old_log_probs) if p and all(one.size is not None for one in p)), None)
    lengths = _lengths(record, fields, [one.size for one in tokens] if tokens else None, len(rewards))
    lengths = _fitting(lengths, rewards, fields, "response_length")
    named = {"log_probs": log_probs, "old_log_probs": old_log_probs, "response_lengths": lengths}
    for name, values in named.items():
        if values is not None and len(values) != len(rewards):
            message = f"{count_elements(len(values))}, but rewards has {len(rewards)}"
            raise Invalid("unequal-lengths", message, name, fields.paths[name])
    for i, (one, old) in enumerate(zip(log_probs or [], old_log_probs or [], strict=False)):
        if one.size is not None and old.size is not None and one.size != old.size:
            if _is_ignored(fields, "old_log_prob"):
                old_log_probs = None
                break
            message = f"response {i}: {count_elements(old.size)}, but log_probs has {one.size}"
            raise Invalid("unequal-lengths", message, "old_log_probs", fields.paths["old_log_probs"])
    absent = [LogProb()] * len(rewards)
    extras = zip(*(_extra_of_each(record, fields, name, len(rewards)) for name in fields.extras), strict=True)
    several = log_probs or absent
    of_each = [
        _fitting_extras(fields, each, log_prob)
        for each, log_prob in zip(extras if fields.extras else [()] * len(rewards), several, strict=True)
    ]
    return [
        (
            key,
            reward,
            length,
            log_prob.total,
            old.total,
            log_prob.size if log_prob.size is not None else old.size,
            each_extras,
            _pairs(fields, log_prob, old, each_extras),
        )
        for reward, length, log_prob, old, each_extras in zip(
            rewards,
            lengths or [Length()] * len(rewards),
            several,
            old_log_probs or absent,
            of_each,
            strict=True,
        )
    ]


def _fitting(values: Any, rewards: list[float], fields: Fields, canonical: str) -> Any:
    """Return the values of a field; None if there are not as many as rewards, and that is to be ignored."""
    misfits = values is not None and len(values) != len(rewards)
    return None if misfits and _is_ignored(fields, canonical) else values


def _is_ignored(fields: Fields, canonical: str) -> bool:
    """True if an invalid value of this field counts as none."""
    return fields.ignore_unneeded and not fields.required(canonical)


def extra_value(record: dict[str, Any], fields: Fields, name: str) -> Any:
    """Return the value of an optional field; None if it is absent or invalid, which never rejects a record."""
    return read_extra(field_value(record, fields, name), name, fields)


def _extra_of_each(record: dict[str, Any], fields: Fields, name: str, size: int) -> list[Any]:
    """Return an optional field of each of `size` responses, which share one value or have an array of them."""
    shared = field_value(record, fields, name)
    if shared is None and name in EXTRA_PLURALS:
        several = field_value(record, fields, EXTRA_PLURALS[name])
        if isinstance(several, list) and len(several) == size:
            return [read_extra(value, name, fields) for value in several]
    return [read_extra(shared, name, fields)] * size


def read_extra(value: Any, name: str, fields: Fields) -> Any:
    """Return what an optional field holds, from the value at its place; None if that is invalid."""
    if value is None:
        return None
    kind, place = EXTRAS[name], fields.paths[name]
    try:
        if kind == "text":
            return text_digest(value)
        if kind == "log_prob":
            several = _combined(value, kind) if isinstance(value, list) and traverses_list(place) else value
            return sequence_log_prob(several)
        if isinstance(value, list) and value:
            if kind == "number":
                value = same_for_every_token(value)
            elif traverses_list(place):
                value = value[-1]  # the label of the last of several turns
            else:
                value = _composite_label(value) if name == "by" else composite(value)
        if kind == "number":
            return finite_number(value)
        return label(value) if name == "by" and value is not None else prompt_id(value)
    except Invalid:
        return None


def _composite_label(values: list[Any]) -> Any:
    """Join values into one label, as in `math/true/0.7`, with (none) for one that is not there; None if none is."""
    there = [value for value in values if value is not None]
    return "/".join("(none)" if value is None else part_of_id(label(value)) for value in values) if there else None


def _field(record: dict[str, Any], fields: Fields, name: str, canonical: str, check: Callable[[Any], Any]) -> Any:
    """Return the checked value of a field; None if it is absent and not required."""
    path = fields.paths[name]
    value: Any = MISSING
    try:
        value = value_at(record, path)
        if name != canonical and traverses_list(path) and value is not MISSING:
            _require_in_each(record, path)
        if value is MISSING or value is None:
            if not fields.required(canonical):
                return None
            raise _absence(value, name, canonical, record, fields)
        if name == canonical and traverses_list(path):
            value = _combined(value, KINDS[canonical])
        if canonical == "prompt_id" and (isinstance(path, Expression) or path == GROUP_PLACE):
            value = composite(value)
        return check(value)
    except Invalid as bad:
        if _is_ignored(fields, canonical):
            return None
        if bad.code == "null" and isinstance(path, Expression):
            bad = _with_missing_keys(bad, record, path)
        if is_number_as_text(value) and KINDS[canonical] != "id":
            bad.message += f"; --field '{name}=to_number({place_text(path)})' reads it"
        if _is_boolean(value) and KINDS[canonical] == "number":
            bad.message += f"; --field '{name}=number({place_text(path)})' counts true as 1 and false as 0"
        if isinstance(value, dict) and KINDS[canonical] == "number" and not isinstance(path, Expression):
            bad.message += _numbers_inside(value, name, path)
        if name == "rewards" and type(value) in (int, float) and not _has_arrays(record, fields):
            bad.message += f"; --field {shlex.quote(f'reward={place_text(path)}')} reads it as that of one response"
        raise _with_field(bad, name, path) from None


def _numbers_inside(value: dict[str, Any], name: str, path: Place) -> str:
    """Name the option that takes a number inside an object; "" if there is none with a plain key."""
    inside = [key for key, each in value.items() if type(each) in (int, float) and key.isidentifier()][:KEYS_SHOWN]
    if not inside:
        return ""
    several = f"; in it are {', '.join(inside)}" if len(inside) > 1 else ""
    return f"{several}; --field {name}={place_text(path)}.{inside[0]} takes {inside[0]}"


def _has_arrays(record: dict[str, Any], fields: Fields) -> bool:
    """True if a record holds an array over the responses to a prompt."""
    return any(isinstance(field_value(record, fields, name), list) for name in PLURALS.values())


def _is_boolean(value: Any) -> bool:
    """True for true or false, and for a list of them."""
    return isinstance(value, bool) or (isinstance(value, list) and bool(value) and isinstance(value[0], bool))


def _require_in_each(record: dict[str, Any], path: Place) -> None:
    """Check that a path which gives one value per response finds one in each element of its list.

    Raises:
        Invalid: an element has none.
    """
    assert not isinstance(path, Expression)
    depth = next(i for i, step in enumerate(path) if step.each)
    elements = value_at(record, (*path[:depth], path[depth]._replace(each=False)))
    for i, element in enumerate(elements):
        if path[depth + 1 :] and value_at(element, path[depth + 1 :]) is MISSING:
            raise Invalid("missing", f"response {i}: missing")


def _with_missing_keys(bad: Invalid, record: dict[str, Any], path: Place) -> Invalid:
    """Name the keys that the record does not have at all, where an expression came upon null."""
    missing = [key for key in root_keys(path) if key not in record]
    return Invalid("missing", f"no {' and no '.join(missing)} (the record has {_keys(record)})") if missing else bad


def _keys(record: dict[str, Any]) -> str:
    return ", ".join(list(record)[:KEYS_SHOWN]) + (", …" if len(record) > KEYS_SHOWN else "")


def composite(value: Any) -> Any:
    """Join several values into one id, unlike that of any other list: `[step, prompt_idx]` becomes 40/3."""
    return "/".join(map(part_of_id, value)) if isinstance(value, list) and value else value


def part_of_id(value: Any) -> str:
    """Write one part of a composite id so that different parts stay different: 1 and "1", `a/b` and its halves."""
    part = prompt_id(value)
    plain = isinstance(part, int) or not (part.lstrip("-").isdecimal() or "/" in part or part[:1] in ("", '"'))
    return str(part) if plain else json.dumps(part)


def _absence(value: Any, name: str, canonical: str, record: dict[str, Any], fields: Fields) -> Invalid:
    """Explain that a required field is absent, with every way to do without it or to place it."""
    if value is None:
        return Invalid("null", "null")
    path = fields.paths[name]
    without = {
        "log_prob": "--kl-coef 0 does without it, or ",
        "old_log_prob": "--kl-coef 0 does without it, or ",
        "response_length": f"{fields.without_length} does without it, or ",
    }.get(canonical, "")
    if name == "response_length" and _generated_texts(record, fields) is not None:
        shown = place_text(fields.paths["response_text"])
        without = f"{fields.without_length} does without it, --tokenizer FILE counts the tokens of {shown}, or "
    keys = f" (the record has {_keys(record)})" if isinstance(path, Expression) or path[0].key not in record else ""
    return Invalid("missing", f"missing{keys}; {without}give --field {name}=PATH")


def _length(record: dict[str, Any], fields: Fields, tokens: int | None) -> Length:
    """Return the given length, else the number of log-probs, else the text to count, else no length.

    Raises:
        Invalid: there is none of them, and the length is required.
    """
    if tokens is not None or fields.tokenizer is not None:
        given = _given_length(record, fields, "response_length")
        if tokens is not None and _is_absent(given, fields):
            return Length(tokens, LengthFrom.TOKENS)
        if given is MISSING or given is None:
            texts = response_texts(record, fields)
            if texts is not None:
                return Length(None, LengthFrom.TOKENIZER, texts)
            if fields.tokenizer is not None and fields.needs_length:
                raise _no_text(record, fields, "response_length", "response_text")
    return Length(_field(record, fields, "response_length", "response_length", token_count))


def _lengths(
    record: dict[str, Any], fields: Fields, tokens: Sequence[int | None] | None, size: int
) -> list[Length] | None:
    """Return the length of each of `size` responses to a prompt, as `_length` does; None if there are none.

    Raises:
        Invalid: as `_length`.
    """
    if tokens is not None or fields.tokenizer is not None:
        given = _given_length(record, fields, "response_lengths")
        if tokens is not None and _is_absent(given, fields):
            return [Length(each, LengthFrom.TOKENS) for each in tokens]
        if fields.tokenizer is not None and (given is MISSING or given is None):
            texts = value_at(record, fields.paths["response_texts"])
            found = [generated_texts(each) for each in texts] if isinstance(texts, list) else []
            counted = [Length(None, LengthFrom.TOKENIZER, each) for each in found if each is not None]
            if len(counted) == len(found) == size:
                return counted
            if fields.needs_length:
                raise _no_text(record, fields, "response_lengths", "response_texts")
            return None
    lengths = _field(record, fields, "response_lengths", "response_length", list_of(token_count))
    return None if lengths is None else [Length(each) for each in lengths]


def _given_length(record: dict[str, Any], fields: Fields, name: str) -> Any:
    """Return the value of a field of lengths, unchecked, or MISSING.

    Raises:
        Invalid: a value on the way to it has the wrong type.
    """
    try:
        return _raw_value(record, fields, name)
    except Invalid:
        if _is_ignored(fields, "response_length"):
            return MISSING
        raise


def _is_absent(length: Any, fields: Fields) -> bool:
    """True if the number of log-probs stands in for this length; null means that its writer did not count."""
    return length is MISSING or (length is None and (fields.needs_length or fields.tokenizer is not None))


def response_texts(record: dict[str, Any], fields: Fields) -> list[str] | None:
    """Return the texts whose tokens are the length of a response; None if there are none, or nothing counts them."""
    return None if fields.tokenizer is None else _generated_texts(record, fields)


def _generated_texts(record: dict[str, Any], fields: Fields) -> list[str] | None:
    try:
        return generated_texts(value_at(record, fields.paths["response_text"]))
    except Invalid:
        return None


def _no_text(record: dict[str, Any], fields: Fields, name: str, text_name: str) -> Invalid:
    """Explain that there is neither a length nor a text to count, with every way out."""
    place = fields.paths[text_name]
    try:
        value = value_at(record, place)
        found = f"missing (the record has {_keys(record)})" if value is MISSING else f"{type_name(value)}, not a text"
        if text_name == "response_texts" and isinstance(value, list):
            found = "not one text for each reward"
    except Invalid as bad:
        found = bad.message
    shown = place_text(place)
    what = text_name if shown == text_name else f"{text_name} ({shown})"
    absent = Invalid(
        "missing",
        f"missing, and {what}, which --tokenizer counts, is {found}; {fields.without_length} does without it, or give"
        f" --field {text_name}=PATH or --field {name}=PATH",
    )
    return _with_field(absent, name, fields.paths[name])


def _combined(values: list[Any], kind: str) -> Any:
    """Combine the values that a path through `[]` found: log-probs of tokens are joined, numbers are summed."""
    if kind == "log_prob":
        joined: list[Any] = []
        for value in values:
            joined += value if isinstance(value, list) else [value]
        return joined
    check = token_count if kind == "tokens" else finite_number
    return finite_sum(exact_sum(map(check, values)))
