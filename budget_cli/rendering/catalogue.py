"""The catalogue of checks → the page `docs/checks.md`, or a section of it."""

from collections.abc import Iterator
from textwrap import wrap

from budget_cli.analysis.checks.catalogue import CHECKS, TOPICS, Check

WIDTH = 80
TITLES = {
    "records": "Records that were rejected",
    "groups": "Groups",
    "budget": "Budget",
    "lengths": "Lengths",
    "log-probs": "Log-probs",
    "identity": "Identity",
}
NEEDS = {
    "records": "single records (a summary holds none)",
    "budget": "a budget (`-B`), β above 0 and lengths",
    "length": "lengths",
    "log_prob": "log-probs",
    "log_ratio": "log-probs of both policies",
    "text": "`--text`",
    "finish_reason": "a finish reason",
    "advantage": "stored advantages",
    "keys": "`--duplicate-keys`",
}
LEAD = """# Checks

`budget-cli check FILES` looks for what is wrong or suspicious in a dump. Each finding has a code; this page has a
section for each, and `budget-cli check --explain CODE` prints it. (The page is made from
`budget_cli/analysis/checks/catalogue.py`: `budget-cli check --explain all -o docs/checks.md`.)

- **Severity**: an *error* cannot be right, a *warning* mostly is not, an *info* is good to know. `--fail-on` says from
  which on the exit code is 1; by default from *error* on. Rejected records follow `--max-errors`, as in `loss`.
- **`--select` and `--ignore`** take codes and topics (%s).
- **`--threshold NAME=VALUE`** changes a threshold; its default and where it comes from are below.
- **`--text`** reads the texts of prompts and responses, too, which takes longer; some checks need them.
- **Summaries** (`budget-cli summarize`) may stand in place of records and have the findings of one scan of their files.
  What needs single records is not checked then, and that is said; a prompt has its file, and no line.
- **`--baseline FILE`** takes the JSON of an earlier check: what was found there, and is not worse now, does not fail.
- **JSON** (`budget-cli/check/1`): `status`, `counts` by severity, and `findings`, each with `code`, `severity`,
  `message`, `why`, `remedy`, `count` of `of` (`unit`: responses, prompts or records), `accepted` (why it does not
  count, or null) and `evidence`: the first five places as `source`, `line`, `column`, `prompt_id`. Then `coefficients`,
  `prompts`, `responses`, `records`, the codes `checked`, those `unchecked` with the reason, `thresholds`, `reasons` to
  fail, and what is `incomplete`. More may be added.
"""


def page() -> str:
    """The whole page."""
    lead = LEAD % ", ".join(f"`{topic}`" for topic in TOPICS)
    parts = [lead, "\n".join(_index())]
    for topic in TOPICS:
        parts.append(f"## {TITLES[topic]}\n")
        parts += [section(check) for check in CHECKS.values() if check.topic == topic]
    return "\n".join(parts)


def _index() -> Iterator[str]:
    yield "| code | severity | when |"
    yield "|---|---|---|"
    for check in CHECKS.values():
        yield f"| [`{check.code}`](#{check.code}) | {check.severity} | {check.title} |"
    yield ""


def section(check: Check) -> str:
    """What there is to know about one check, in lines of at most 80 characters."""
    severity = check.severity + (f"; {check.otherwise}" if check.otherwise else "")
    points = [f"**What to do**: {check.remedy}", f"**Known false alarms**: {check.false_alarms}"]
    if check.needs:
        points.append(f"**Needs**: {', '.join(NEEDS[need] for need in check.needs)}.")
    for threshold in check.thresholds:
        setting = f"--threshold {threshold.name}={threshold.default:g}"
        points.append(f"**`{setting}`**: {threshold.meaning}. Source: {threshold.source}.")
    lines = [f"### {check.code}", "", *_wrapped(f"{check.title} ({severity})"), "", *_wrapped(check.why), ""]
    lines += [f"    {check.example}", ""]
    for point in points:
        lines += _wrapped(point, "- ")
    return "\n".join([*lines, ""])


def _wrapped(text: str, lead: str = "") -> list[str]:
    return wrap(lead + text, WIDTH, subsequent_indent=" " * len(lead), break_long_words=False, break_on_hyphens=False)
