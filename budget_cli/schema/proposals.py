"""Some records that no preset fits → the options that would read them, for a refusal to name. Knows no bytes.

Only names and types are looked at, so a proposal may be wrong: it is shown, never applied.
"""

import re
import shlex
from typing import Any

from budget_cli.schema.fields import Fields, as_expression

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


def by_prompt_text(fields: Fields) -> str:
    """Write the options that group records by the text or the tokens of their prompts, where the fields place it."""
    digest = f"prompt_id=digest({as_expression(fields.paths['prompt_text'])})"
    return f"--field {quoted(digest)}" + (" --ids-per-file" if fields.id_file_prefix is not None else "")


def as_field(name: str, place: str) -> str:
    """Write the option that says where a field is."""
    return f"--field {quoted(f'{name}={place}')}"


def quoted(text: str) -> str:
    """Write a text as one argument of a shell, in double quotes where it holds single ones."""
    plain = "'" in text and not re.search(r'["$`\\!]', text)
    return f'"{text}"' if plain else shlex.quote(text)
