"""The JSON of an earlier `loss --format json`, as anybody may have written it → what can be compared, checked.

Reads no files. A result says some things twice, and where these disagree it was edited.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, get_args

from budget_cli.analysis.loss import Aggregate, Coefficients, LengthOrigins, LengthSource
from budget_cli.objective.settings import DEFAULT, parse
from budget_cli.records.columns import Tally

EXACT = 2**53  # every count up to this is exact as a double
LARGEST = 8e307  # of a number; differences of two are finite
COUNT = "a whole number, 0 or more"
NUMBER = "a number or null"
NO_ORIGINS = {"field": 0, "tokens": 0, "tokenizer": 0}  # in results of version 0.1.0


class EarlierResult(NamedTuple):
    """The comparable numbers of one loss: of an earlier result, or of a dump."""

    quantities: dict[str, float | None]  # by name, rounded if they were read from a file
    coefficients: Coefficients
    aggregate: Aggregate
    prompts: int
    responses: int
    tally: Tally
    lengths: LengthSource
    incomplete: list[str]
    warnings: Sequence[str] = ()  # why the numbers may not be the trainer's
    objective_name: str = DEFAULT.name
    objective: Mapping[str, Any] = DEFAULT.settings()
    objective_sentence: str = DEFAULT.sentence()


def from_result(result: Any) -> EarlierResult:
    """Take the comparable numbers from the JSON of `budget-cli loss --format json`.

    Raises:
        ValueError: the JSON is not such a result; the message names the field.
    """
    look = _Fields(result)
    prompts, responses = look.at("prompts", COUNT, _is_count), look.at("responses", COUNT, _is_count)
    quantities = {
        "loss": look.at("loss", f"{NUMBER}, 0 or more", _is_number_from(0)),
        "reward": look.at("reward.mean", NUMBER, _is_number),
        "adjusted_reward": look.at("adjusted_reward.mean", NUMBER, _is_number),
        "log_ratio": look.at("kl.k1", NUMBER, _is_number),
        "length": look.at("length.mean", f"{NUMBER}, 0 or more", _is_number_from(0)),
        "over_budget": look.at("over_budget.fraction", "a share from 0 to 1, or null", _is_number_from(0, 1)),
    }
    zero_variance = look.at("groups.zero_variance", COUNT, _is_count)
    quantities["zero_variance"] = zero_variance / prompts if prompts else None
    budget = look.at("coefficients.token_budget", f"{COUNT}, or null", lambda value: value is None or _is_count(value))
    beta, alpha = (
        look.at(
            f"coefficients.{name}", "a number, 0 or more", lambda value: value is not None and _is_number_from(0)(value)
        )
        for name in ("budget_penalty_coef", "kl_coef")
    )
    read, used, rejected, blank, skipped = (
        look.at(f"records.{name}", COUNT, _is_count) for name in ("read", "used", "rejected", "blank", "skipped")
    )
    counts = f"{COUNT} for each reason"
    left_out = look.at("left_out", counts, _is_map_of_counts) if "left_out" in result else {}
    origins = look.at("length_origins", counts, _are_origins) if "length_origins" in result else NO_ORIGINS
    sources = ("field", "tokens", "tokenizer", "mixed", None)
    lengths_from = look.at(
        "lengths_from", "field, tokens, tokenizer, mixed or null", lambda value: value in sources, None
    )
    tokenizer = look.at("tokenizer", "a text or null", lambda value: value is None or isinstance(value, str), None)
    aggregate = look.at("aggregate", " or ".join(get_args(Aggregate)), lambda value: value in get_args(Aggregate))
    incomplete = look.at("incomplete", "a list of texts", _are_texts, [])
    for what, holds in (
        ("prompts: more than responses", prompts <= responses),
        ("groups.zero_variance: more than prompts", zero_variance <= prompts),
        (
            "records: used, rejected and skipped do not add up to read",
            0 <= read - used - rejected - skipped <= sum(left_out.values()),
        ),
        ("reward.mean: beyond min and max", _is_between(result, "reward")),
        ("length.mean: beyond min and max", _is_between(result, "length")),
        ("over_budget.fraction: not that of over_budget.responses", _is_share(result, responses)),
    ):
        if not holds:
            raise ValueError(what)
    return EarlierResult(
        quantities,
        Coefficients(budget, beta, alpha),
        aggregate,
        prompts,
        responses,
        Tally(read, used, rejected, blank, skipped, left_out=Counter(left_out)),
        LengthSource(lengths_from, LengthOrigins(**origins), tokenizer),
        incomplete,
        look.at("warnings", "a list of texts", _are_texts, []),
        look.at("objective.name", "a text", lambda value: isinstance(value, str), DEFAULT.name),
        look.at("objective.settings", "the keys of an objective", _is_objective, DEFAULT.settings()),
        look.at("objective.sentence", "a text", lambda value: isinstance(value, str), DEFAULT.sentence()),
    )


class _Fields:
    """Looks up fields of a result by their dotted names."""

    def __init__(self, result: Any) -> None:
        self._result = result

    def at(self, name: str, what: str, fits: Callable[[Any], bool], *otherwise: Any) -> Any:
        """Return the value of a field.

        Raises:
            ValueError: there is none, and no other value to take, or it does not fit.
        """
        value = self._result
        for key in name.split("."):
            if not isinstance(value, dict) or key not in value:
                if otherwise:
                    return otherwise[0]
                raise ValueError(f"no {name}")
            value = value[key]
        if not fits(value):
            raise ValueError(f"{name}: expected {what}")
        return value


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= EXACT


def _is_number(value: Any) -> bool:
    return value is None or (type(value) in (int, float) and abs(value) <= LARGEST)


def _is_number_from(least: float, most: float = LARGEST) -> Callable[[Any], bool]:
    return lambda value: _is_number(value) and (value is None or least <= value <= most)


def _is_map_of_counts(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_count, value.values()))


def _are_origins(value: Any) -> bool:
    return _is_map_of_counts(value) and value.keys() == NO_ORIGINS.keys()


def _is_objective(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    try:
        parse("", {key: "none" if one is None else one for key, one in value.items()})
    except ValueError:
        return False
    return {"advantage", "singletons"} <= value.keys()


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _is_between(result: Mapping[str, Any], name: str) -> bool:
    """True if a mean lies between the extremes, as far as its digits tell."""
    mean, least, most = (result[name].get(key) for key in ("mean", "min", "max"))
    if not all(type(value) in (int, float) for value in (mean, least, most)):
        return True
    digits = max(_last_digit(value) for value in (mean, least, most))
    return bool(least - digits <= mean <= most + digits)


def _is_share(result: Mapping[str, Any], responses: int) -> bool:
    share, over = result["over_budget"]["fraction"], result["over_budget"].get("responses")
    return share is None or not responses or not _is_count(over) or abs(share - over / responses) <= _last_digit(share)


def _last_digit(value: float) -> float:
    """Return the weight of the last digit of a number as it is written; results are rounded."""
    text = repr(float(value)).partition("e")
    return 10.0 ** (int(text[2] or 0) - len(text[0].partition(".")[2]))
