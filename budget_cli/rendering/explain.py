"""Terms and checks → the screens and pages that explain them. Knows no numbers.

`docs/checks.md` and `docs/glossary.md` are written here.
"""

from collections.abc import Iterator, Sequence
from textwrap import wrap

from budget_cli.analysis.checks.catalogue import CHECKS, TOPICS, Check
from budget_cli.analysis.glossary import TOPICS as TOPICS_OF_TERMS
from budget_cli.analysis.glossary import Term
from budget_cli.rendering.text import WIDTH, Line, Piece

NAME = 24  # characters of a name in the list of all
NARROWEST = 40
TITLES = {
    "records": "Records that were rejected or left out",
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
    "two_policies": "log-probs of two policies",
    "sampler": "log-probs of the sampler (`sampler_log_prob`)",
    "text": "`--text`",
    "finish_reason": "a finish reason",
    "advantage": "stored advantages",
    "keys": "`--duplicate-keys`",
}
CLASSES = {
    "dump": "*dump*, of the records themselves",
    "choice": "*choice*, of B and β for these records",
}
CHECKS_LEAD = """# Checks

`budget-cli check FILES` looks for anything wrong or suspicious in a dump. Each finding has a code; this page has a
section for each, and `budget-cli explain CODE` prints it. (This page is generated from
`budget_cli/analysis/checks/catalogue.py`: `budget-cli check --explain all -o docs/checks.md`.)

- **Severity**: an *error* cannot be right, a *warning* usually is not, an *info* is good to know. `--fail-on` sets the
  severity from which the exit code is 1; the default is *error*. Rejected records follow `--max-errors`, as in `loss`.
- **Class**: a finding is about the *dump* (it is broken, or teaches nothing), or about the *choice* of B and β for it.
  Only the first kind is ever an error, so that a run without `--fail-on` fails on a dump and never on a choice; a
  choice is gated by numbers, as in `loss --fail-if 'groups.phantom > 0'`. With `--by`, sizes and equal rewards of
  groups are no errors in rows among which the responses to a prompt are divided.
- **`--select` and `--ignore`** take codes and topics (%s).
- **`--threshold NAME=VALUE`** changes a threshold; the defaults and their sources are below.
- **`--text`** also reads the texts of prompts and responses, which takes longer; some checks need them.
- **Summaries** (`budget-cli summarize`) can stand in for records and give the findings of one scan of their files.
  Checks that need single records are then skipped, and listed as such; a prompt is located by its file, without a line.
- **`--baseline FILE`** takes the JSON of an earlier check: a finding that it contains and that is no worse now does not
  fail the run.
- **JSON** (`budget-cli/check/1`): `status`, the `headline` of the screen, `counts` by severity, and `findings`, each
  with `code`, `severity`, `class`, `message`, `why`, `remedy`, `count` of `of` (`unit`: responses, prompts, records or
  samples), `accepted` (why it does not count, or null) and `evidence`: the first five places as `source`, `line`,
  `column`, `prompt_id`. Then `coefficients`, `penalty_in_reward` (the penalty that the rewards hold; `found` is false
  if they hold none; null if neither shows), `policies` (how far two policies are apart: below),
  `stored_advantages` (below; null if there are none, or if they do not show whose they are), `prompts`, `responses`,
  `records`, `left_out` by reason, the codes `checked`, those `unchecked` with the reason, `thresholds`, the `reasons`
  for failing, and what is `incomplete`. More keys may be added.
- **`stored_advantages`**: whether an estimator is `found`; those that fit equally well in `fits`, the simplest first,
  each with the keys `advantage`, `ddof` and `eps` of an objective, `all_eps` that fit as well, and for a batch its
  `slope` and `baseline`; the `options` that reproduce them (null: none do); of how many `prompts` (with two responses
  or more, all with an advantage; `of_sample`: those of a sample, where the sums do not hold the excess over the
  penalty's budget) how many are `agreeing` and `differing`, and how many of these are `regrouped`; the
  `largest_residual` of a prompt that agrees and the `worst_residual` of one that does not, each the root mean square
  over its responses, and the `tolerance`; the `penalty` that only the advantages hold (below 0: only the rewards); the
  `singletons` by what is stored of them; the prompts that are `incomplete`; the `nearest` estimator, with its
  `residual`; and their `root_mean_square`; if none is found, `by_position`: groups of so many responses that follow
  each other, of which one gives the advantages. With `--by`, each row has its own.

## Two policies

`policies` in the JSON, and a line on the screen, has one entry for each pair whose log-probs are both there:
policy/reference (`log_prob`, `old_log_prob`) and trainer/sampler (`log_prob`, and `sampler_log_prob`, the log-probs as
the inference engine computed them). In NeMo-RL's dumps the second one is found; elsewhere it is mapped, as in
`--field log_prob=trainer_logprobs --field sampler_log_prob=rollout_log_probs`; where no record has it, `check` points
out a field that is named like it. Both are a number, or a list with one for each token. A sampler's list that is not as
long as `log_prob` does not count.

The weight of a response is w = e^k, where k is `log_prob` − the other one, in nats, over the whole sequence. Numbers
are kept however large k is; one that is beyond the range of a double is null. verl's names, for its sequence level
(`rollout_corr_helper.py`, which clamps k to ±20 first):

| here | is | in verl |
|---|---|---|
| `responses`, `of` | responses with both log-probs, and all | |
| `effective_sample_size`, `effective_share` | (Σw)² / Σw², in responses; its share | `rollout_is_eff_sample_size` |
| `mean_weight` | mean w; 1 is expected for trainer/sampler | `rollout_is_mean` |
| `max_weight`, `max_log_weight`, `max_at` | the largest w, its logarithm in nats, and its place | `rollout_is_max` |
| `chi_square` | mean w² − 1 | `chi2_seq` |
| `below`, `above`, `outside_share` | responses with w outside `clip`, PPO's 1 ± 0.2 | `rollout_is_ratio_fraction_…` |
| `tokens.responses`, `tokens.tokens` | what the rest of `tokens` is of: responses with both lists; null without | |
| `tokens.mean_size` | mean size of a token's log-ratio, in nats | |
| `tokens.outside`, `tokens.outside_share` | tokens with a ratio outside `cap`, 0.5 to 2 | the same, at token level |
| `tokens.worst` | the five responses with the worst tokens: place, `token` (its index, from 0), `log_ratio` | |
| `tokens.shifted` | responses whose lists fit if one is moved by a token, and the size per token as it is and moved | |
| `missing` | why there are no numbers, and what to do; null if there are | |

Summaries hold the sums; the numbers are those of one scan of the files. In a summary of a version that had none they
are null. In a rollout of several records, an index counts the tokens of all its records.
"""


GLOSSARY_LEAD = """# Glossary

Every word of the screens and of the JSON. `budget-cli explain TERM` prints an entry, of a term, an alias, a key of the
JSON (`advantage.budget_share`) or the code of a check ([checks.md](checks.md)). `budget-cli explain` lists them all.
(This page is generated from `budget_cli/analysis/glossary.py`: `budget-cli explain all -o docs/glossary.md`.)

Symbols: r reward, L response length (tokens), B token budget, e = max(0, L − B) excess, β penalty per token over the
budget, k log-ratio to the reference policy (nats), α its weight, A advantage, n responses to the prompt. S_xy is the
sum over prompts of the products of distances of x and y from the means of their prompt.
"""


def all_checks() -> str:
    """Return the page about all checks, `docs/checks.md`."""
    lead = CHECKS_LEAD % ", ".join(f"`{topic}`" for topic in TOPICS)
    parts = [lead, "\n".join(_index_of_checks())]
    for topic in TOPICS:
        parts.append(f"## {TITLES[topic]}\n")
        parts += [check_section(check) for check in CHECKS.values() if check.topic == topic]
    return "\n".join(parts)


def _index_of_checks() -> Iterator[str]:
    yield "| code | severity | class | finding |"
    yield "|---|---|---|---|"
    for check in CHECKS.values():
        yield f"| [`{check.code}`](#{check.code}) | {check.severity} | {check.class_} | {check.title} |"
    yield ""


def check_section(check: Check) -> str:
    """Return the section about one check, in lines of at most 80 characters."""
    lines = [f"### {check.code}", "", *_wrapped(f"{check.title} ({_severity(check)})"), "", *_wrapped(check.why), ""]
    lines += [f"    {check.example}", ""]
    for label, text in _points_of_check(check):
        lines += _wrapped(f"**{label}**: {text}", "- ")
    return "\n".join([*lines, ""])


def _severity(check: Check) -> str:
    return check.severity + (f"; {check.otherwise}" if check.otherwise else "")


def _points_of_check(check: Check) -> Iterator[tuple[str, str]]:
    yield "What to do", check.remedy
    yield "Known false alarms", check.false_alarms
    yield "Class", f"{CLASSES[check.class_]}."
    if check.needs:
        yield "Needs", f"{', '.join(NEEDS[need] for need in check.needs)}."
    for threshold in check.thresholds:
        setting = f"`--threshold {threshold.name}={threshold.default:g}`"
        yield setting, f"{threshold.meaning}. Source: {threshold.source}."


def _wrapped(text: str, lead: str = "") -> list[str]:
    return wrap(lead + text, WIDTH, subsequent_indent=" " * len(lead), break_long_words=False, break_on_hyphens=False)


def glossary() -> str:
    """Return the page about all terms, `docs/glossary.md`."""
    parts = [GLOSSARY_LEAD]
    for topic, terms in TOPICS_OF_TERMS.items():
        parts.append(f"## {topic}\n")
        parts += map(term_section, terms)
    return "\n".join(parts)


def term_section(term: Term) -> str:
    """Return the section of the page about one term, in lines of at most 80 characters."""
    lines = [f"### {term.name}", "", *_wrapped(term.definition), ""]
    for label, text in _points_of_term(term):
        lines += _wrapped(f"**{label}**: {text}", "- ")
    return "\n".join([*lines, ""])


def _points_of_term(term: Term, as_links: bool = True) -> Iterator[tuple[str, str]]:
    yield "Formula", term.formula
    yield "Meaning", term.meaning
    keys: dict[str, list[str]] = {}
    for command, key in term.shown:
        keys.setdefault(command, []).append(f"`{key}`" if as_links else key)
    each = (f"{f'`{command}`' if as_links else command}: {', '.join(of)}" for command, of in keys.items())
    if keys:
        yield "In the JSON of", ("; " if as_links else "\n").join(each)
    if term.aliases:
        yield "Also called", ", ".join(term.aliases)
    if term.see:
        yield "See", ", ".join(map(_link, term.see) if as_links else term.see)


def _link(name: str) -> str:
    if name in CHECKS:
        return f"[`{name}`](checks.md#{name})"
    anchor = name.replace(" ", "-")
    return f"[{name}](#{anchor.lower()})" if anchor.isascii() and "@" not in anchor else name


def listing(columns: int) -> Iterator[Line]:
    """Yield all terms with their definitions, and the codes of the checks."""
    width = min(max(columns, NARROWEST), WIDTH)
    for topic, terms in TOPICS_OF_TERMS.items():
        yield [Piece(topic, "bold")]
        for term in terms:
            yield from _row(term.name, term.definition, width)
        yield []
    yield [Piece("Checks", "bold")]
    for topic in TOPICS:
        yield from _row(topic, ", ".join(check.code for check in CHECKS.values() if check.topic == topic), width)
    yield []
    yield from ([Piece(line, "dim")] for line in wrap("budget-cli explain TERM, or CODE of a check, says more.", width))


def screen(found: Sequence[Term | Check], columns: int) -> Iterator[Line]:
    """Yield what is to be said of these terms and checks."""
    width = min(max(columns, NARROWEST), WIDTH)
    for number, one in enumerate(found):
        if number:
            yield []
        if isinstance(one, Term):
            yield [Piece(one.name, "bold")]
            sentences, points = [one.definition], list(_points_of_term(one, as_links=False))
        else:
            yield [Piece(one.code, "bold"), Piece(f"  check, {one.severity}")]
            sentences = [f"{one.title} ({one.otherwise})" if one.otherwise else one.title, one.why]
            points = [("Example", one.example), *_points_of_check(one)]
        for sentence in sentences:
            yield from ([Piece(line)] for line in wrap(_as_said(sentence), width, break_on_hyphens=False))
        yield []
        for label, text in points:
            yield [Piece(_as_said(label), "bold")]
            for part in _as_said(text).split("\n"):
                yield from ([Piece(f"  {line}")] for line in wrap(part, width - 2, break_on_hyphens=False))


def _row(name: str, text: str, width: int) -> Iterator[Line]:
    name_width = NAME if width > 60 else NAME - 7
    lines = wrap(text, width - name_width - 2, break_on_hyphens=False)
    if len(name) >= name_width:
        yield [Piece(f"  {name}")]
        name = ""
    for number, line in enumerate(lines):
        yield [Piece(f"  {'' if number else name:<{name_width}}"), Piece(line, "dim")]


def _as_said(text: str) -> str:
    """Return a text without the marks of Markdown."""
    return text.replace("`", "").replace("*", "")
