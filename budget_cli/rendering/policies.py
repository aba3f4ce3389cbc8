"""Two policies compared → JSON, and sentences for `check`'s screen: one, or more if there is something to say."""

from collections.abc import Iterator
from typing import Any

from budget_cli.analysis.checks.findings import Evidence
from budget_cli.analysis.numbers import percent
from budget_cli.analysis.policies import Policies, Tokens
from budget_cli.rendering.formats import utf8

WORTH_MORE = 0.3  # share of the responses below which the effective sample of a policy and its reference is looked into


def as_json(one: Policies) -> dict[str, Any]:
    """Return the numbers by name, with places by their members."""
    shown = {name: value for name, value in one._asdict().items() if name != "pair"}
    shown["max_at"] = None if one.max_at is None else _members(one.max_at)
    if one.tokens is not None:
        tokens = shown["tokens"] = one.tokens._asdict()
        tokens["worst"] = [{**_members(w.at), "token": w.token, "log_ratio": w.log_ratio} for w in one.tokens.worst]
        tokens["shifted"] = one.tokens.shifted._asdict()
    return shown


def _members(at: Evidence) -> dict[str, Any]:
    members = {**at._asdict(), "source": None if at.source is None else utf8(at.source)}
    return {name: value for name, value in members.items() if name not in ("column", "path") or value is not None}


def sentences(one: Policies) -> Iterator[str]:
    """Yield a sentence on the weights of the responses, and one on their tokens if some are far apart."""
    if one.missing is not None:
        yield f"{one.policies}: {one.missing}"
        return
    effective = "?" if one.effective_sample_size is None else f"{one.effective_sample_size:,.4g}"
    text = f"{one.policies}: effective sample {effective} of {one.responses:,}, mean weight {_shown(one.mean_weight)}"
    tells_more = one.is_sampler or (one.effective_share or 1.0) < WORTH_MORE
    if tells_more and (one.below or one.above):
        low, high = one.clip
        outside = percent((one.below or 0) + (one.above or 0), one.responses)
        text += f", {outside} outside {low:g} to {high:g}, χ² {_shown(one.chi_square)}"
    if tells_more and one.max_at is not None and one.above:
        text += f", largest {_shown(one.max_weight)} at {_place(one.max_at)}"
    yield text
    if one.tokens is not None and one.tokens.outside:
        yield _of_tokens(one.tokens)


def _of_tokens(tokens: Tokens) -> str:
    low, high = tokens.cap
    share = percent(tokens.outside, tokens.tokens)
    text = f"{tokens.outside:,} of {tokens.tokens:,} tokens ({share}) have a ratio outside {low:g} to {high:g}"
    worst = tokens.worst[0]
    nats = "" if worst.log_ratio is None else f" ({worst.log_ratio:.3g} nats)"
    return f"{text}, the worst at {_place(worst.at)}, index {worst.token}{nats}"


def _place(at: Evidence) -> str:
    if at.path is not None:
        return f"{at.source}: {at.path}"
    return f"{at.source}:{at.line}"


def _shown(value: float | None) -> str:
    """Return a number to three digits, or in full up to a million; a question mark if it is beyond a double."""
    if value is None:
        return "?"
    return f"{value:,.0f}" if 1000 <= abs(value) < 1_000_000 else f"{value:.3g}"
