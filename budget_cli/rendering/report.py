"""The data of a page → one HTML file that is self-contained and works offline.

Every string of the data goes through `html.escape`, or into JSON in which every `<` is escaped; a policy in the head of
the page forbids requests and scripts from elsewhere. Knows the labels of the numbers; page.js draws them and page.css
styles them, both passed in with the charting library.
"""

import json
import math
import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any, NamedTuple

import numpy as np

from budget_cli.analysis.checks.findings import Evidence, Finding
from budget_cli.analysis.loss import number_at
from budget_cli.analysis.numbers import counted
from budget_cli.analysis.report import PROMPTS, SCHEMA, PageData, Segment
from budget_cli.analysis.totals import Scatter, Totals
from budget_cli.analysis.verdict import Reason
from budget_cli.groups.double_double import DoubleDouble
from budget_cli.objective.settings import DEFAULT, Objective
from budget_cli.records.columns import Rejection
from budget_cli.rendering.headline import headline
from budget_cli.rendering.loss import findings
from budget_cli.rendering.page_texts import NO_TEXTS, Texts, place, section
from budget_cli.rendering.safe import for_terminal

POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:;"
    " form-action 'none'; base-uri 'none'"
)
SECTIONS: Sequence[tuple[str, Sequence[tuple[str, str, str]]]] = (
    (
        "The loss",
        (
            ("loss", "budget-aware loss", "number"),
            ("advantage.mean_square", "mean A²", "number"),
            ("advantage.budget_share", "share of the advantage from length", "percent"),
            ("advantage.phantom_share", "share of A² in prompts with an advantage from length alone", "percent"),
            ("kl.r2", "R² = 1 − loss / mean A²", "number"),
        ),
    ),
    (
        "Reward",
        (
            ("reward.mean", "mean", "number"),
            ("reward.std", "standard deviation", "number"),
            ("reward.min", "minimum", "number"),
            ("reward.max", "maximum", "number"),
            ("adjusted_reward.mean", "adjusted, mean", "number"),
            ("adjusted_reward.std", "adjusted, standard deviation", "number"),
        ),
    ),
    (
        "Over the budget",
        (
            ("over_budget.responses", "responses", "whole"),
            ("over_budget.fraction", "share of all responses", "percent"),
            ("over_budget.excess_tokens", "excess tokens", "whole"),
            ("over_budget.excess_mean", "excess tokens each, mean", "tenths"),
        ),
    ),
    (
        "Length, tokens",
        (
            ("length.mean", "mean", "tenths"),
            ("length.min", "minimum", "whole"),
            ("length.p50", "median", "tenths"),
            ("length.p90", "90th percentile", "tenths"),
            ("length.p99", "99th percentile", "tenths"),
            ("length.max", "maximum", "whole"),
        ),
    ),
    (
        "Log-ratio to the reference, nats",
        (
            ("kl.k1", "k1 = mean k", "number"),
            ("kl.k2", "k2 = mean k²/2", "number"),
            ("kl.k3", "k3 = mean e^−k − 1 + k", "number"),
        ),
    ),
    (
        "Prompts",
        (
            ("prompts", "prompts", "whole"),
            ("responses", "responses", "whole"),
            ("groups.size.min", "responses per prompt, minimum", "whole"),
            ("groups.size.mean", "responses per prompt, mean", "tenths"),
            ("groups.size.max", "responses per prompt, maximum", "whole"),
            ("groups.singletons", "with a single response", "whole"),
            ("groups.doubled", "with a multiple of the usual group size", "whole"),
            ("groups.zero_variance", "all rewards equal", "whole"),
            ("groups.zero_variance_adjusted", "all adjusted rewards equal", "whole"),
            ("groups.phantom", "phantom: an advantage from length alone", "whole"),
            ("groups.reordered", "the worst response beats the best", "whole"),
        ),
    ),
    (
        "Right and wrong",
        (
            ("learnability.correct_above", "right is a reward above", "short"),
            ("learnability.right_fraction", "share of right responses", "percent"),
            ("learnability.length_right", "mean length of right ones, tokens", "tenths"),
            ("learnability.length_wrong", "mean length of wrong ones, tokens", "tenths"),
            *((f"learnability.pass_at.{k}", f"pass@{k}", "percent") for k in (1, 4, 8, 16)),
            *(
                (f"learnability.zero_variance_at.{n}", f"all alike, expected of {n} each", "percent")
                for n in (4, 8, 16)
            ),
        ),
    ),
    (
        "Records",
        (
            ("records.read", "read", "whole"),
            ("records.used", "used", "whole"),
            ("records.rejected", "rejected", "whole"),
            ("records.blank", "blank lines", "whole"),
            ("records.skipped", "without samples", "whole"),
            ("records.left_out", "samples left out", "whole"),
        ),
    ),
)
FIGURES = (
    ("lengths", "Lengths against the budget", "All responses, by length. The line marks the budget."),
    ("against", "Adjusted reward against length", "The reward that each response loses beyond the budget."),
    (
        "parts",
        "Reward part against length part",
        "The two parts of each advantage: the distance of the reward from its mean"
        " over the prompt, and that of the penalty. Points at the upper left are worse answers that gain by being"
        " short.",
    ),
    ("advantages", "Advantages", "Adjusted reward of each response, minus its mean over the prompt."),
    (
        "rates",
        "Mean reward per prompt",
        "All prompts. With rewards of 0 and 1, this is the solve rate; prompts at either end teach nothing but length.",
    ),
    (
        "ratios",
        "Log-ratios of tokens",
        "All tokens with log-probs under both policies, by log π − log π′. Both scales are logarithmic.",
    ),
    (
        "share",
        "Share of the advantage that comes from length",
        "For every budget and β of the sliders. The circle marks their current values.",
    ),
    ("trend", "Loss by {by}", "Computed for each {by} separately, in order.{thinned}"),
    ("rewards", "Reward by {by}", "The mean over responses, with and without the penalty.{thinned}"),
    ("tokens", "Length by {by}", "The mean over responses.{thinned}"),
    ("divergence", "Distance to the reference by {by}", "Two estimates of the KL divergence.{thinned}"),
    (
        "shares",
        "Share of length by {by}",
        "For each {by} separately: the share of the advantage that comes from length, and"
        " the share of responses over the budget.{thinned}",
    ),
)
RATES = (
    ("all wrong", "all_wrong"),
    ("up to ¼", "prompts_by_rate.up_to_quarter"),
    ("up to ½", "prompts_by_rate.up_to_half"),
    ("up to ¾", "prompts_by_rate.up_to_three_quarters"),
    ("more", "prompts_by_rate.below_all"),
    ("all right", "all_right"),
)
COLUMNS = (
    ("id", "prompt", ""),
    ("n", "n", ""),
    ("loss", "loss", ' aria-sort="descending"'),
    ("reward", "reward", ""),
    ("square", "mean A²", ""),
    ("share", "from length", ""),
    ("over", "over", ""),
    ("length", "longest", ""),
    ("phantom", "note", ""),
    ("place", "first at", ""),
)
MOVED = ' <strong class="moved">The sliders are elsewhere now; this has not moved.</strong>'  # page.css hides it before
SAMPLED = ("against", "parts", "advantages")


POLICIES = {"reference": "to the reference", "sampler": "to the sampler"}


class Origin(NamedTuple):
    """What made the page."""

    version: str
    day: str  # year-month-day, UTC
    loss: str  # the command with the same numbers, but for the coefficients, which the page adds
    report: str  # the command that makes the page again
    show: str  # the command that shows the responses to the prompt ID; "" if there is none


class Assets(NamedTuple):
    """Program text that goes into the page as it is, of this package and of the charting library."""

    style: str
    script: str
    charts: str


def html(
    data: PageData,
    sources: Sequence[str],
    origin: Origin,
    by: str | None,
    reasons: Sequence[Reason],
    rejections: Sequence[Rejection],
    found: Sequence[Finding] | None,
    assets: Assets,
    places: Sequence[Evidence] = (),
    texts: Texts = NO_TEXTS,
) -> bytes:
    """Return the page.

    Args:
        data: the data of the page.
        sources: names of the files, as given.
        origin: what made the page.
        by: what the parts of the data are split by, a field or `file`.
        reasons: why the verdict is fail; none if it is pass.
        rejections: the first rejected records.
        found: what the checks found; None if they could not run because a file is a summary.
        assets: style and scripts.
        places: where the first response to each prompt of the page is; none if they are not known.
        texts: what some prompts and their responses say.
    """
    names = ", ".join(_text(name, 120) for name in sources[:6])
    if sources[6:]:
        names += f" and {len(sources) - 6:,} more"
    said = section(texts, _coefficients(data))
    body = [
        _header(data, names, _status(data, reasons, found)),
        _controls(data),
        "<main>",
        '<noscript><p class="warning">Without JavaScript, the page shows the numbers and findings but no charts.</p>'
        "</noscript>",
        _section("findings", "Findings", _findings(data, reasons, rejections, found)),
        _section("pictures", "Charts", _figures(data, by or "file")),
        _rates(data),
        _section("prompts", "Prompts with the largest losses", _prompts(data, origin)),
        _section("texts", "What they say", said) if said else "",
        _section("numbers", "All numbers", _all_numbers(data)),
        "</main>",
        f"<footer><p>{_sampling(data)} Numbers and counts cover all records;"
        " the sliders recompute them from sums that the scan kept.</p>"
        f'<p>Made by budget-cli {_text(origin.version, 40)} on <time datetime="{origin.day}">{origin.day}</time> with'
        f" <code>{_text(origin.report, 4000)}</code></p></footer>",
        f'<script type="application/json" id="data">{_json(_script_data(data, origin.loss, places, texts))}</script>',
        f"<script>{_inside(assets.charts)}</script>",
        f"<script>{_inside(assets.script)}</script>",
    ]
    head = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>budget-cli report: {names}</title>",
        '<link rel="icon" href="data:,">',
        f"<style>{_inside(assets.style)}</style></head><body>",
    ]
    return "\n".join([*head, *body, "</body></html>\n"]).encode("utf-8", "replace")


def _of_loss(trained: Objective) -> str:
    """Say what A is."""
    if trained == DEFAULT:
        return "A is r − β·max(0, L − B) minus its mean over the prompt"
    return f"A is {trained.estimator.formula} with x = r − β·φ and φ the {trained.penalty} penalty"


def _status(data: PageData, reasons: Sequence[Reason], found: Sequence[Finding] | None) -> str:
    """Return the badge of the status, and a sentence on what it means and at which coefficients."""
    if reasons:
        return (
            f'<span class="badge fail">fail</span><span>with {_coefficients(data)}: the findings say why.{MOVED}</span>'
        )
    warned = any(finding.severity == "warning" for finding in found or ())
    return (
        f'<span class="badge {"warning" if warned else "pass"}">pass</span><span>read completely, with'
        f" {_coefficients(data)}{', in spite of warnings' if warned else ''}.{MOVED}</span>"
    )


def _header(data: PageData, names: str, status: str) -> str:
    loss = data.loss
    size = f"{counted(loss.responses, 'response')}, {counted(loss.prompts, 'prompt')}"
    weighting = "" if loss.aggregate == "response" else ", mean over prompts"
    source = loss.length_sentence
    lengths = "" if source is None else f" Lengths are from {_text(source, 200)}."
    return (
        f"<header>\n<h1>budget-cli report</h1>\n"
        f'<p class="names">{names}</p>\n<p class="status">{status}</p>\n<p class="quiet">{size}{weighting}.'
        f" The loss is the mean of (A − α·k)²: {_text(_of_loss(data.trained), 400)},"
        f" and k is the log-ratio to the reference policy.{lengths}</p>\n"
        f'<p class="quiet">Objective {_text(loss.objective.sentence, 400)}.</p>\n</header>'
    )


def _section(name: str, title: str, content: str) -> str:
    return f'<section aria-labelledby="h-{name}"><h2 id="h-{name}">{title}</h2>\n{content}\n</section>'


def _controls(data: PageData) -> str:
    sliders = (
        ("token_budget", "B, token budget"),
        ("budget_penalty_coef", "β, reward per token over it"),
        ("kl_coef", "α, weight of the log-ratio"),
    )
    numbers = (
        ("loss", "loss", "number"),
        ("advantage.mean_square", "mean A²", "number"),
        ("advantage.budget_share", "from length", "percent"),
        ("over_budget.fraction", "over", "percent"),
        ("groups.phantom", "phantom", "whole"),
        ("groups.reordered", "reordered", "whole"),
    )
    parts = ['<div class="controls" role="region" aria-label="Coefficients"><div>']
    parts += [
        f'<div class="slider"><label for="{name}"><span>{text}</span><output id="{name}-value" for="{name}">'
        f"{_shown(number_at(data.loss, f'coefficients.{name}'), 'short')}</output></label>"
        f'<input type="range" id="{name}" min="0" max="0" step="1" value="0"></div>'
        for name, text in sliders
    ]
    parts.append('<button type="button" id="reset">reset</button><div class="headline" aria-live="polite">')
    said = re.sub(r"β (?=[-\d])", "β\u00a0", _text(headline(data.loss), 600))
    parts.append(f'<p id="verdict">{said}</p>')
    parts += [f"<span>{text} <b>{_number(data, path, kind)}</b></span>" for path, text, kind in numbers]
    parts.append(
        '<span class="quiet">the same on the command line: <code id="command"></code>'
        ' <button type="button" id="copy">copy</button></span></div></div></div>'
    )
    return "".join(parts)


def _findings(
    data: PageData, reasons: Sequence[Reason], rejections: Sequence[Rejection], found: Sequence[Finding] | None
) -> str:
    """List the reasons to fail and the findings of the checks; for a summary, what its numbers show."""
    items = [("fail", escape(for_terminal(reason.text, 400))) for reason in reasons]
    if found is None:
        for level, *pieces in findings(data.loss, data.phantoms):
            items.append((level.text.strip(), escape("".join(piece.text for piece in pieces))))
    else:
        items += [(finding.severity, _finding(finding)) for finding in found]
    items += [("fail", f"rejected {escape(for_terminal(rejection, 400))}") for rejection in rejections]
    if not items:
        items.append(("pass", "nothing to report: every record was read, and no prompt is unusual"))
    rows = "".join(f'<li><span class="level {level}">{level}</span>{text}</li>' for level, text in items)
    return f'<p class="quiet">With {_coefficients(data)}.{MOVED}</p><ul class="findings">{rows}</ul>'


def _finding(finding: Finding) -> str:
    """Show a finding; its locations, why it matters and what to do are one click away."""
    places = []
    for one in finding.evidence:
        where = place(one.source, one.line, one.path)
        prompt = "" if one.prompt_id is None else for_terminal(one.prompt_id)
        places.append(" ".join(filter(None, (where, prompt))))
    locations = f"<p>Locations: {escape(', '.join(places))}</p>" if places else ""
    return (
        f"<details><summary>{_text(finding.message, 1000)} <code>{finding.code}</code></summary>{locations}"
        f"<p>Why: {_text(finding.why, 1000)}</p><p>Do: {_text(finding.remedy, 1000)}</p></details>"
    )


def _coefficients(data: PageData) -> str:
    c = data.loss.coefficients
    none = "B of each record" if data.trained.has_own_budgets else "no budget"
    budget = none if c.token_budget is None else f"B {c.token_budget:,} tokens"
    return f"{budget}, β {c.budget_penalty_coef:g}, α {c.kl_coef:g}"


def _figures(data: PageData, by: str) -> str:
    return f'<div class="figures">{"".join(_figure(*figure, data, by) for figure in FIGURES)}</div>'


def _figure(name: str, title: str, caption: str, data: PageData, by: str) -> str:
    if name in SAMPLED and not _sample_is_all(data):
        caption += " Shows a sample, see below."
    thinned = ""
    if data.parts and len(data.parts) < data.parts_in_all:
        thinned = f" {len(data.parts):,} of {data.parts_in_all:,}, evenly spaced."
    title, caption = (text.format(by=_text(by, 40), thinned=thinned) for text in (title, caption))
    return (
        f'<figure id="figure-{name}"><figcaption><strong>{title}</strong>{caption}</figcaption>'
        '<div class="picture"></div></figure>'
    )


def _rates(data: PageData) -> str:
    """Return how many prompts have which solve rate; "" if it is not known which responses are right."""
    of = data.loss.learnability
    if not of.prompts:
        return ""
    paths = [f"learnability.{name}" for _, name in RATES]
    rows = "".join(
        f'<tr><th scope="row">{name}</th><td>{_number(data, path, "whole")}</td>'
        f"<td>{_shown((number_at(data.loss, path) or 0) / of.prompts, 'percent')}</td></tr>"
        for (name, _), path in zip(RATES, paths, strict=True)
    )
    which = (
        "All prompts" if of.prompts == data.loss.prompts else f"The {of.prompts:,} prompts with two or more responses"
    )
    table = (
        f'<p class="quiet">{which}, by the share of right responses, those with a reward above'
        f" {_shown(of.correct_above, 'short')}. Prompts that are all wrong or all right teach nothing about being"
        " right.</p>"
        '<table id="rates"><thead><tr><th scope="col">solved</th><th scope="col">prompts</th><th scope="col">share</th>'
        f"</tr></thead><tbody>{rows}</tbody></table>"
    )
    return _section("rates", "How often prompts are solved", table)


def _prompts(data: PageData, origin: Origin) -> str:
    """Return the table of prompts, whose rows page.js writes and sorts by any column."""
    head = "".join(
        f'<th scope="col"{more}><button type="button" data-column="{column}">{name}</button></th>'
        for column, name, more in COLUMNS
    )
    show = ""
    if origin.show:
        show = (
            '<p class="quiet">The texts of the responses to a prompt, with their places in the files:'
            f" <code>{_text(origin.show, 4000)}</code></p>"
        )
    return (
        f'<p class="quiet">{_which_prompts(data)}</p>'
        '<p class="tools"><label>find by id <input type="search" id="find" autocomplete="off" spellcheck="false">'
        "</label>"
        ' <output id="listed" for="find"></output> <button type="button" id="fold" aria-controls="prompts"'
        ' aria-expanded="false" hidden>show all</button></p>'
        '<div class="wide" tabindex="0" role="region" aria-label="table of prompts"><table id="prompts">'
        f"<thead><tr>{head}</tr></thead><tbody></tbody></table></div>{show}"
    )


def _all_numbers(data: PageData) -> str:
    return f'<div class="columns">{"".join(_numbers(caption, rows, data) for caption, rows in SECTIONS)}</div>'


def _numbers(caption: str, rows: Iterable[tuple[str, str, str]], data: PageData) -> str:
    cells = (f'<tr><th scope="row">{label}</th><td>{_number(data, path, kind)}</td></tr>' for path, label, kind in rows)
    return f"<table><caption>{caption}</caption><tbody>{''.join(cells)}</tbody></table>"


def _number(data: PageData, path: str, kind: str) -> str:
    value = number_at(data.loss, path)
    exact = "null" if value is None else repr(value)
    return f'<span data-number="{path}" data-kind="{kind}" data-value="{exact}">{_shown(value, kind)}</span>'


def _shown(value: float | None, kind: str) -> str:
    """Format a number as page.js does."""
    if value is None:
        return "–"
    if kind == "whole":
        return f"{value:,.0f}"
    if kind == "tenths":
        return f"{value:,.1f}".removesuffix(".0")
    if kind == "percent":
        return f"{value:.1%}"
    if kind == "short":
        return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
    return f"{value:,.4f}" if value == 0 or 1e-4 <= abs(value) < 1e6 else f"{value:.4e}"


def _which_prompts(data: PageData) -> str:
    if len(data.prompts) == data.loss.prompts:
        return "The prompts with the largest losses at the current values of the sliders."
    return (
        "The prompts with the largest losses at the current values of the sliders, out of"
        f" {len(data.prompts):,} in this page: the {PROMPTS} with the largest losses at several budgets, with the given"
        " β and with ten times that."
    )


def _sampled(data: PageData) -> int:
    return sum(len(one.reward) for one in data.sample)


def _sample_is_all(data: PageData) -> bool:
    return _sampled(data) == data.loss.responses and _sampled(data) <= 1500


def _sampling(data: PageData) -> str:
    if data.loss.responses and not data.sample:
        return "A summary holds no single responses, so the charts of responses are left out."
    if _sample_is_all(data):
        return "All charts show all responses."
    return (
        "The chart of advantages and the scatter plots show a sample: all"
        f" {counted(_sampled(data), 'response')} to {counted(len(data.sample), 'prompt')}, chosen by a hash of"
        " the prompt id. A scatter plot has at most 1,500 points."
    )


def _script_data(
    data: PageData, command: str, places: Sequence[Evidence] = (), texts: Texts = NO_TEXTS
) -> dict[str, Any]:
    """Return the data that page.js computes with."""
    loss = data.loss
    numbers = {text.prompt_id: number for number, text in enumerate(texts.prompts)}
    where = [place(one.source, one.line, one.path) for one in places] or [""] * len(data.prompts)
    return {
        "schema": SCHEMA,
        "grid": data.grid._asdict(),
        "at": data.at,
        "aggregate": loss.aggregate,
        "counts": {
            "prompts": loss.prompts,
            "responses": loss.responses,
            "singletons": loss.groups.singletons,
            "with_length": loss.coverage.length,
            "with_log_ratio": loss.coverage.log_ratio,
            "read": loss.records.read,
            "rejected": loss.records.rejected,
        },
        "budgeted": loss.over_budget.responses is not None,
        "with_k": loss.coverage.log_ratio == loss.responses > 0,
        "totals": _totals(data.totals),
        "in_order": len({re.sub(r"-?[0-9]+([.][0-9]+)?", "", label) for label in _labels(data.parts)}) == 1,
        "parts": [
            {**part._asdict(), "label": label, "totals": _of_part(part)}
            for label, part in zip(_labels(data.parts), data.parts, strict=True)
        ],
        "lengths": None if data.lengths is None else data.lengths._asdict(),
        "rates": None if data.rates is None else data.rates._asdict(),
        "log_ratios": {POLICIES[pair]: counts for pair, counts in data.log_ratios.items()},
        "edges": data.edges,
        "prompts": [
            {**_in_pairs(prompt), "place": at, "text": numbers.get(prompt.prompt_id)}
            for prompt, at in zip(data.prompts, where, strict=True)
        ],
        "sample": [
            {"prompt_id": one.prompt_id, "reward": one.reward.tolist(), "length": one.length.tolist()}
            for one in data.sample
        ],
        "command": command,
        "objective": _objective(data),
    }


def _objective(data: PageData) -> dict[str, Any]:
    """Return what the page computes the penalty and the advantage of single responses from."""
    of = data.trained
    shapes = [None if budget is None else of.shape(budget)._asdict() for budget in data.grid.token_budget]
    return {
        **of._asdict(),
        "shapes": shapes,
        "divides": of.estimator.divides,
        "is_plain": of.has_plain_advantage,
        "has_own_budgets": of.has_own_budgets,
    }


def _totals(totals: Totals | None) -> Any:
    """Convert named tuples to dicts."""
    if totals is None:
        return None
    return {
        **totals._asdict(),
        "mean": _in_pairs(totals.mean),
        "whole": _in_pairs(totals.whole),
        "spread": _in_pairs(totals.spread),
        "penalty_mean": _pairs(DoubleDouble(totals.penalty) / totals.responses),
        "estimated": None if totals.estimated is None else totals.estimated._asdict(),
        "unordered": bool(np.isnan(totals.reorder_coef).any()),
    }


def _sums(scatter: Scatter) -> dict[str, Any]:
    """Return the sums in one double each."""
    return {name: sums.value for name, sums in scatter._asdict().items()}


def _in_pairs(of: NamedTuple) -> dict[str, Any]:
    """Convert what is in two doubles to pairs."""
    return {name: _pairs(value) if isinstance(value, DoubleDouble) else value for name, value in of._asdict().items()}


def _pairs(number: DoubleDouble) -> Any:
    return np.stack([number.hi, number.lo], axis=-1)


def _labels(parts: Sequence[Segment]) -> list[str]:
    """Return the labels of the parts; files that share a folder are named without it."""
    names = ["none" if part.label is None else str(part.label) for part in parts]
    folder = names[0].rpartition("/")[0] + "/" if names else ""
    return [name.removeprefix(folder) for name in names] if all(name.startswith(folder) for name in names) else names


def _of_part(part: Segment) -> dict[str, Any]:
    """Return the totals of a part that a trend needs."""
    t = part.totals
    whole = {name: sums for name, sums in _sums(t.whole).items() if name in ("rr", "ee")}
    estimated = None if t.estimated is None else t.estimated._asdict()
    return {
        "responses": t.responses,
        "penalty": t.penalty / t.responses,
        "mean": _sums(t.mean),
        "whole": whole,
        "over": t.over,
        "estimated": estimated,
    }


def _text(text: str, limit: int) -> str:
    return escape(for_terminal(text, limit))


def _json(value: Any) -> str:
    """Return JSON that cannot end its script element, whatever its strings; numbers that are not finite are null."""
    text = json.dumps(_plain(value), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return for_terminal(value, 10 * len(value) + 10)
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {_plain(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value


def _inside(program: str) -> str:
    """Escape program text so that it cannot end its script or style element."""
    return re.sub(
        r"</(?=script|style)|<!(?=--)", lambda found: f"{found[0][0]}\\{found[0][1]}", program, flags=re.IGNORECASE
    )
