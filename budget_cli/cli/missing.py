"""The required fields that a dump does not have → what to give, all at once: a guess, or the ways to do without."""

import shlex
from collections.abc import Collection, Sequence
from typing import Any

from budget_cli.schema.fields import KINDS, Fields
from budget_cli.schema.guesses import doubt, flags, guess
from budget_cli.schema.proposals import quoted

Samples = Sequence[dict[str, Any]]


def from_preset(preset: str, fields: Fields, samples: Samples, functions: Sequence[str], has_text: bool) -> str:
    """Name the fields that a dump does not have, and every way out.

    Args:
        preset: its name.
        fields: as placed.
        samples: the first.
        functions: keys of rewards by function, if there is no total.
        has_text: True if the place of the response's text is known.
    """
    ways = _guessed(fields.unmapped, samples, fields, functions) or _ways_out(fields, functions, has_text)
    return f"this {preset} dump has no {' and no '.join(fields.unmapped)}: {ways}"


def from_samples(missing: Sequence[str], samples: Samples, fields: Fields) -> str | None:
    """Write what to give where the first samples do not have some fields; None if the message of a record says it."""
    given = _guessed(missing, samples, fields)
    if given is None and len(missing) > 1 and not {"prompt_id", "reward"} & {*missing}:
        return f"give {' '.join(_without(missing, fields))} to do without"
    return given


def _guessed(missing: Sequence[str], samples: Samples, fields: Fields, functions: Sequence[str] = ()) -> str | None:
    """Write what to give if one of the missing fields is guessed with confidence."""
    found = guess(samples, {*KINDS} - {*missing} | ({"reward"} if functions else set()), fields)
    if not any(found.best(name) for name in missing):
        return None
    options = " ".join(f"{option} {quoted(value)}" for option, value in flags(found, missing, fields, functions))
    return f"give {options}{doubt(found)}; budget-cli fields says why"


def _without(missing: Collection[str], fields: Fields) -> list[str]:
    """Return the options that do without the missing fields."""
    log_probs = ["--kl-coef 0"] if {"log_prob", "old_log_prob"} & {*missing} else []
    return log_probs + ([fields.without_length] if "response_length" in missing else [])


def _ways_out(fields: Fields, functions: Sequence[str], has_text: bool) -> str:
    """Write every way out where nothing is guessed."""
    missing = fields.unmapped
    give = _without(missing, fields)
    if "reward" in missing and functions:
        weights = ",".join(f"{name}=1" for name in functions)
        give.insert(0, f"--reward-weights {shlex.quote(weights)} with the weights of the run")
        missing = [name for name in missing if name != "reward"]
        ways = [f"give {' and '.join(give)}"]
    else:
        ways = [f"give {' '.join(give)} to do without"] if give else []
    if "response_length" in missing:
        text = "" if has_text else " --field response_text=PATH"
        tokenizer = "--tokenizer path/to/tokenizer.json" if fields.tokenizer is None else "--tokenizer"
        ways.append(f"{tokenizer}{text} in place of {fields.without_length} to count the tokens of the responses")
    if "prompt_id" in missing:
        ways.insert(0, "give --group-size N, the responses to a prompt one after another")
    if missing:
        ways.append(("" if ways else "give ") + " ".join(f"--field {name}=PATH" for name in missing))
    return ", or ".join(ways)
