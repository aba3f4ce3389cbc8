"""An overview → one HTML file that opens from disk and asks nobody for anything.

Every string of the data goes through `html.escape`, or into JSON in which no `<` is left; a policy in the page's head
forbids requests and scripts from elsewhere. Knows what the numbers are called; how they are drawn is page.js, and how
it looks page.css, both handed in with the charting library.
"""

import json
import math
import re
import shlex
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any, NamedTuple

import numpy as np

from budget_cli.analysis.checks.findings import Finding
from budget_cli.analysis.loss import number_at
from budget_cli.analysis.numbers import counted
from budget_cli.analysis.report import PROMPTS, SCHEMA, PageData, Segment
from budget_cli.analysis.totals import Totals
from budget_cli.analysis.verdict import Reason
from budget_cli.records.columns import Rejection
from budget_cli.rendering.loss import findings
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
            ("advantage.budget_share", "of the advantage made by length", "percent"),
            ("kl.r2", "R² = 1 − loss / mean A²", "number"),
        ),
    ),
    (
        "Reward",
        (
            ("reward.mean", "mean", "number"),
            ("reward.std", "standard deviation", "number"),
            ("reward.min", "least", "number"),
            ("reward.max", "most", "number"),
            ("adjusted_reward.mean", "adjusted, mean", "number"),
            ("adjusted_reward.std", "adjusted, standard deviation", "number"),
        ),
    ),
    (
        "Over the budget",
        (
            ("over_budget.responses", "responses", "whole"),
            ("over_budget.fraction", "of all", "percent"),
            ("over_budget.excess_tokens", "tokens over it", "whole"),
            ("over_budget.excess_mean", "each, mean", "number"),
        ),
    ),
    (
        "Length, tokens",
        (
            ("length.mean", "mean", "number"),
            ("length.min", "least", "whole"),
            ("length.p50", "median", "number"),
            ("length.p90", "90 %", "number"),
            ("length.p99", "99 %", "number"),
            ("length.max", "most", "whole"),
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
            ("groups.size.min", "responses of a prompt, least", "whole"),
            ("groups.size.mean", "mean", "number"),
            ("groups.size.max", "most", "whole"),
            ("groups.singletons", "with a single response", "whole"),
            ("groups.doubled", "with a multiple of the usual number", "whole"),
            ("groups.zero_variance", "all rewards equal", "whole"),
            ("groups.zero_variance_adjusted", "all adjusted rewards equal", "whole"),
            ("groups.phantom", "phantom: an advantage from length alone", "whole"),
            ("groups.reordered", "the worst response gets more than the best", "whole"),
        ),
    ),
    (
        "Records",
        (
            ("records.read", "read", "whole"),
            ("records.used", "used", "whole"),
            ("records.rejected", "rejected", "whole"),
            ("records.blank", "blank lines", "whole"),
            ("records.skipped", "no samples", "whole"),
        ),
    ),
)
FIGURES = (
    ("lengths", "Lengths against the budget", "All responses, by length; the line is the budget."),
    ("against", "Adjusted reward against length", "What β takes away from each response, beyond the budget."),
    (
        "parts",
        "Reward part against length part",
        "Of each advantage: how far from the prompt's mean reward, and how far"
        " from its mean penalty. Left of the middle but above it: a worse answer that gains by being short.",
    ),
    ("advantages", "Advantages", "Of responses: adjusted reward minus its mean over the prompt."),
    (
        "rates",
        "Mean reward per prompt",
        "All prompts. With rewards of 0 and 1 it is the solve rate; prompts at either end teach nothing but length.",
    ),
    (
        "share",
        "How much of the advantage is made by length",
        "For every budget and β of the sliders; the circle is where they stand.",
    ),
    ("trend", "Loss by {by}", "The responses of each {by} on their own, in order.{thinned}"),
    (
        "shares",
        "Length by {by}",
        "Of each {by} on its own: how much of the advantage is made by length, and how many"
        " responses are over the budget.{thinned}",
    ),
)
SAMPLED = ("against", "parts", "advantages")


class Assets(NamedTuple):
    """What goes into the page as it is: program text of this package and of the charting library."""

    style: str
    script: str
    charts: str


def html(
    overview: PageData,
    sources: Sequence[str],
    by: str | None,
    reasons: Sequence[Reason],
    rejections: Sequence[Rejection],
    found: Sequence[Finding] | None,
    assets: Assets,
) -> bytes:
    """The page.

    Args:
        overview: what it shows.
        sources: names of the files, as they were given.
        by: what the parts of the overview are by, a field or `file`.
        reasons: why the verdict is fail; none: it is pass.
        rejections: the first records that could not be used.
        found: what the checks found; None: there were none, since the records are not at hand.
        assets: style and scripts.
    """
    loss = overview.loss
    names = ", ".join(_text(name, 120) for name in sources[:6]) + (
        f" and {len(sources) - 6:,} more" if sources[6:] else ""
    )
    verdict = "fail" if reasons else "pass"
    body = [
        "<header>",
        f'<h1>budget-cli report <span class="badge {verdict}">{verdict}</span></h1>',
        f'<p class="names">{names}</p>',
        f'<p class="quiet">{counted(loss.responses, "response")}, {counted(loss.prompts, "prompt")}'
        f"{'' if loss.aggregate == 'response' else ', mean over prompts'}."
        " The loss is the mean of (A − α·k)², where A is r − β·max(0, L − B) minus its mean over the prompt,"
        " and k the log-ratio to the reference policy.</p>",
        "</header>",
        _controls(overview),
        "<main>",
        '<noscript><p class="warning">Without JavaScript: the numbers and findings, no pictures.</p></noscript>',
        '<section aria-labelledby="h-findings"><h2 id="h-findings">Findings</h2>',
        _findings(overview, reasons, rejections, found),
        "</section>",
        '<section aria-labelledby="h-pictures"><h2 id="h-pictures">Pictures</h2><div class="figures">',
        *(_figure(*figure, overview, by or "file") for figure in FIGURES),
        "</div></section>",
        '<section aria-labelledby="h-prompts"><h2 id="h-prompts">The prompts that matter most</h2>',
        f'<p class="quiet">{_which_prompts(overview)}</p>',
        '<div class="wide" tabindex="0" role="region" aria-labelledby="h-prompts"><table id="prompts"><thead><tr>',
        *(
            f'<th scope="col">{name}</th>'
            for name in ("prompt", "n", "loss", "reward", "mean A²", "by length", "over", "longest", "note")
        ),
        "</tr></thead><tbody></tbody></table></div></section>",
        '<section aria-labelledby="h-numbers"><h2 id="h-numbers">All numbers</h2><div class="columns">',
        *(_numbers(caption, rows, overview) for caption, rows in SECTIONS),
        "</div></section></main>",
        f"<footer><p>{_sampling(overview)} Numbers and counts are of all records;"
        " the sliders compute them again from the sums that the scan kept.</p></footer>",
    ]
    return "\n".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>budget-cli report: {names}</title>",
            '<link rel="icon" href="data:,">',
            f"<style>{_inside(assets.style)}</style></head><body>",
            *body,
            f'<script type="application/json" id="data">{_json(_data(overview, sources))}</script>',
            f"<script>{_inside(assets.charts)}</script>",
            f"<script>{_inside(assets.script)}</script>",
            "</body></html>\n",
        ]
    ).encode("utf-8", "replace")


def _controls(overview: PageData) -> str:
    sliders = (
        ("token_budget", "B, token budget"),
        ("budget_penalty_coef", "β, reward per token over it"),
        ("kl_coef", "α, weight of the log-ratio"),
    )
    headline = (
        ("loss", "loss", "number"),
        ("advantage.mean_square", "mean A²", "number"),
        ("advantage.budget_share", "made by length", "percent"),
        ("over_budget.fraction", "over", "percent"),
        ("groups.phantom", "phantom", "whole"),
        ("groups.reordered", "reordered", "whole"),
    )
    parts = ['<div class="controls" role="region" aria-label="Coefficients"><div>']
    parts += [
        f'<div class="slider"><label for="{name}"><span>{text}</span><output id="{name}-value" for="{name}">'
        f"{_shown(number_at(overview.loss, f'coefficients.{name}'), 'short')}</output></label>"
        f'<input type="range" id="{name}" min="0" max="0" step="1" value="0"></div>'
        for name, text in sliders
    ]
    parts.append('<button type="button" id="reset">as it was</button><div class="headline" aria-live="polite">')
    parts += [f"<span>{text} <b>{_number(overview, path, kind)}</b></span>" for path, text, kind in headline]
    parts.append('<span class="quiet">the same from the command: <code id="command"></code></span></div></div></div>')
    return "".join(parts)


def _findings(
    overview: PageData, reasons: Sequence[Reason], rejections: Sequence[Rejection], found: Sequence[Finding] | None
) -> str:
    """Why the verdict is fail, and what the checks found, with the evidence; of a summary, what its numbers say."""
    said = [("fail", escape(for_terminal(reason, 400))) for reason in reasons]
    if found is None:
        for level, *pieces in findings(overview.loss, overview.phantoms):
            said.append((level.text.strip(), escape("".join(piece.text for piece in pieces))))
    else:
        said += [(finding.severity, _finding(finding)) for finding in found]
    said += [("fail", f"rejected {escape(for_terminal(rejection, 400))}") for rejection in rejections]
    if not said:
        said.append(("pass", "nothing to report: every record was read, and no prompt is out of the ordinary"))
    items = "".join(f'<li><span class="level {level}">{level}</span>{text}</li>' for level, text in said)
    return f'<p class="quiet">With {_coefficients(overview)}.</p><ul class="findings">{items}</ul>'


def _finding(finding: Finding) -> str:
    """What was found; where, why it matters and what to do are one click away."""
    places = []
    for one in finding.evidence:
        line = "" if one.line is None else f":{one.line}"
        where = "" if one.source is None else f"{for_terminal(one.source)}{line}"
        prompt = "" if one.prompt_id is None else for_terminal(one.prompt_id)
        places.append(" ".join(filter(None, (where, prompt))))
    seen = f"<p>Seen at: {escape(', '.join(places))}</p>" if places else ""
    return (
        f"<details><summary>{escape(finding.message)} <code>{finding.code}</code></summary>{seen}"
        f"<p>Why: {escape(finding.why)}</p><p>Do: {escape(finding.remedy)}</p></details>"
    )


def _coefficients(overview: PageData) -> str:
    c = overview.loss.coefficients
    budget = "no budget" if c.token_budget is None else f"B {c.token_budget:,} tokens"
    return f"{budget}, β {c.budget_penalty_coef:g}, α {c.kl_coef:g}"


def _figure(name: str, title: str, caption: str, overview: PageData, by: str) -> str:
    if name in SAMPLED and not _sample_is_all(overview):
        caption += " A sample, see below."
    thinned = ""
    if overview.parts and len(overview.parts) < overview.parts_in_all:
        thinned = f" {len(overview.parts):,} of {overview.parts_in_all:,}, evenly spaced."
    title, caption = (text.format(by=_text(by, 40), thinned=thinned) for text in (title, caption))
    return (
        f'<figure id="figure-{name}"><figcaption><strong>{title}</strong>{caption}</figcaption>'
        '<div class="picture"></div></figure>'
    )


def _numbers(caption: str, rows: Iterable[tuple[str, str, str]], overview: PageData) -> str:
    cells = (
        f'<tr><th scope="row">{label}</th><td>{_number(overview, path, kind)}</td></tr>' for path, label, kind in rows
    )
    return f"<table><caption>{caption}</caption><tbody>{''.join(cells)}</tbody></table>"


def _number(overview: PageData, path: str, kind: str) -> str:
    value = number_at(overview.loss, path)
    exact = "null" if value is None else repr(value)
    return f'<span data-number="{path}" data-kind="{kind}" data-value="{exact}">{_shown(value, kind)}</span>'


def _shown(value: float | None, kind: str) -> str:
    """As page.js shows it."""
    if value is None:
        return "–"
    if kind == "whole":
        return f"{value:,.0f}"
    if kind == "percent":
        return f"{value:.1%}"
    if kind == "short":
        return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
    return f"{value:,.4f}" if value == 0 or 1e-4 <= abs(value) < 1e6 else f"{value:.4e}"


def _which_prompts(overview: PageData) -> str:
    if len(overview.prompts) == overview.loss.prompts:
        return "Of all prompts, those with the largest loss where the sliders stand."
    return (
        f"Those with the largest loss where the sliders stand, of the {len(overview.prompts):,} prompts in this page:"
        f" the {PROMPTS} with the largest loss at some budgets, with the β that was given and ten times as much."
    )


def _sampled(overview: PageData) -> int:
    return sum(len(one.reward) for one in overview.sample)


def _sample_is_all(overview: PageData) -> bool:
    return _sampled(overview) == overview.loss.responses and _sampled(overview) <= 1500


def _sampling(overview: PageData) -> str:
    if overview.loss.responses and not overview.sample:
        return "A summary holds no single responses: the pictures of responses are left out."
    if _sample_is_all(overview):
        return "All pictures are of all responses."
    return (
        f"Advantages, and the pictures with a point for each response, are of a sample: all"
        f" {counted(_sampled(overview), 'response')} of {counted(len(overview.sample), 'prompt')}, chosen by a hash of"
        " the prompt's id; of the points at most 1,500 are drawn."
    )


def _data(overview: PageData, sources: Sequence[str]) -> dict[str, Any]:
    """What page.js computes with."""
    loss = overview.loss
    return {
        "schema": SCHEMA,
        "grid": overview.grid._asdict(),
        "at": overview.at,
        "aggregate": loss.aggregate,
        "budgeted": loss.over_budget.responses is not None,
        "with_k": loss.coverage.log_ratio == loss.responses > 0,
        "totals": _totals(overview.totals),
        "parts": [
            {"label": label, "totals": _of_part(part)}
            for label, part in zip(_labels(overview.parts), overview.parts, strict=True)
        ],
        "lengths": None if overview.lengths is None else overview.lengths._asdict(),
        "rates": None if overview.rates is None else overview.rates._asdict(),
        "prompts": [prompt._asdict() for prompt in overview.prompts],
        "sample": [
            {"prompt_id": one.prompt_id, "reward": one.reward.tolist(), "length": one.length.tolist()}
            for one in overview.sample
        ],
        "command": " ".join(
            ["budget-cli loss", *(shlex.quote(name) for name in sources[:3]), *(["…"] if sources[3:] else [])]
        )
        + ("" if loss.aggregate == "response" else " --aggregate prompt"),
    }


def _totals(totals: Totals | None) -> Any:
    """Named tuples and arrays as objects and lists."""
    if totals is None:
        return None
    return {name: value._asdict() if hasattr(value, "_asdict") else value for name, value in totals._asdict().items()}


def _labels(parts: Sequence[Segment]) -> list[str]:
    """What the parts are called: of files in one folder, without the folder."""
    names = ["none" if part.label is None else str(part.label) for part in parts]
    folder = names[0].rpartition("/")[0] + "/" if names else ""
    return [name.removeprefix(folder) for name in names] if all(name.startswith(folder) for name in names) else names


def _of_part(part: Segment) -> dict[str, Any]:
    """What a trend needs."""
    t = part.totals
    whole = {"rr": t.whole.rr, "ee": t.whole.ee}
    return {"responses": t.responses, "mean": t.mean._asdict(), "whole": whole, "over": t.over}


def _text(text: str, limit: int) -> str:
    return escape(for_terminal(text, limit))


def _json(value: Any) -> str:
    """JSON that ends no script and is no markup, whatever strings are in it; what is not finite is null."""
    text = json.dumps(_plain(value), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value


def _inside(program: str) -> str:
    """Program text in an element that would end at `</script` or `</style`."""
    return re.sub(
        r"</(?=script|style)|<!(?=--)", lambda found: f"{found[0][0]}\\{found[0][1]}", program, flags=re.IGNORECASE
    )
