"""What `budget-cli show` is asked for → the first pass over a dump, and what the second finds → the answer."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from typing import Any, NamedTuple

from budget_cli.analysis.checks.catalogue import THRESHOLDS
from budget_cli.analysis.checks.findings import Finding
from budget_cli.analysis.checks.run import run_checks
from budget_cli.analysis.checks.selection import check_called
from budget_cli.analysis.loss import Coefficients, Prompt, compute_loss, given, per_prompt_losses
from budget_cli.analysis.numbers import counted, finite_or_none
from budget_cli.analysis.show import Shown, ShownPrompt, ShownResponse, text_of, worst_tokens
from budget_cli.cli.session import ScanSpec, Session, observation_spec
from budget_cli.errors import UsageProblem
from budget_cli.evidence.counters import FEW
from budget_cli.groups.groups import Groups
from budget_cli.ids import Key
from budget_cli.objective.settings import DEFAULT, Objective
from budget_cli.records.columns import ALL_REJECTIONS, RejectionLimit
from budget_cli.records.jsonl import Limits
from budget_cli.records.record import extra_value
from budget_cli.scanning.plan import scan_plan
from budget_cli.scanning.show import Found, ShowPlan, Wanted, sample_of
from budget_cli.scanning.state import Scan
from budget_cli.scanning.terms import Trained
from budget_cli.schema.fields import EXTRA_PLURALS, SAMPLER, Fields
from budget_cli.schema.lookup import field_value

TEXTS = ("prompt_text", "response_text")
EXTRAS = (*TEXTS, "finish_reason", "advantage", "prompt_length", "sampler_log_prob")  # read where the records have them
USUAL = {  # names of texts, where neither a preset nor the user says
    "prompt_text": ("prompt", "question", "problem", "query", "instruction", "input", "messages"),
    "response_text": (
        "response",
        "completion",
        "output",
        "answer",
        "generation",
        "generated_text",
        "text",
        "solution",
        "decoded_completion",
        "raw_completion",
    ),
}
KEPT = ("step", "rollout_id", "turn", "budget", "budget_label")  # what a second pass still needs
KEYS = 12  # of a record without texts, that are named


class NamedFinding(NamedTuple):
    """What `check` found under a code."""

    code: str
    found: Sequence[Finding]

    @property
    def prompts(self) -> frozenset[Key]:
        """The prompts that it names."""
        return frozenset(e.prompt_id for one in self.found for e in one.evidence if e.prompt_id is not None)

    @property
    def places(self) -> frozenset[tuple[str | None, int | None]]:
        """The lines that it names."""
        return frozenset((e.source, e.line) for one in self.found for e in one.evidence)


def first_pass(session: Session, at: Coefficients, code: str | None) -> tuple[Scan, NamedFinding | None]:
    """Scan the dump; look for the finding with this code, if there is one.

    Raises:
        UsageProblem: no check has this code.
    """
    texts = code is not None and "text" in check_called(code, "--finding").needs
    kept = tuple(name for name in session.fields.extras if texts or name not in TEXTS)
    session.fields = replace(session.fields, extras=kept)
    spec = ScanSpec(keep_responses=session.fields.has_rollouts, part_rows=True)
    budgets = () if at.token_budget is None else (at.token_budget,)
    if code is None:
        return session.scan(budgets, spec), None
    spec.observe = observation_spec(budgets, THRESHOLDS, at.budget_penalty_coef)
    spec.keep, spec.verbose_keeps_all = RejectionLimit(0, FEW), False
    scan = session.scan(budgets, spec)
    loss = compute_loss(scan.groups, at, scan.tally, trained=session.objective)
    has_texts = bool(set(TEXTS) & set(kept)) if texts else None
    run = run_checks(session.check_input(loss, scan.groups, THRESHOLDS, has_texts), {code})
    for skipped in run.unchecked:
        raise UsageProblem(f"--finding {code}: this check cannot be made: {skipped.reason}")
    return scan, NamedFinding(code, run.findings)


def plan_of(session: Session, scan: Scan, at: Coefficients, wanted: Wanted) -> ShowPlan:
    """Plan the second pass."""
    budgets = () if at.token_budget is None else (at.token_budget,)
    extras = tuple(name for name in session.fields.extras if name in KEPT)
    fields = replace(session.fields, extras=extras, compares_tokens=False)
    plan = scan_plan(fields, session.layout(budgets), Limits(session.max_line_bytes, ALL_REJECTIONS))
    trained = Trained.of(scan.groups, at.budget_penalty_coef, at.kl_coef, session.objective)
    return ShowPlan(plan, trained, scan.responses, wanted)


def known_prompts(keys: Sequence[Key], given: Iterable[str]) -> frozenset[Key]:
    """Return the prompts with these ids, as a result writes them.

    Raises:
        UsageProblem: there is no such prompt.
    """
    by_text: dict[str, list[Key]] = {}
    for key in keys:
        by_text.setdefault(str(key), []).append(key)
    wanted: list[Key] = []
    for name in given:
        if name not in by_text:
            ends = [text for text in by_text if text.endswith(f"/{name}")][:3]  # without the step
            near = ends or get_close_matches(name, by_text, n=1)
            hint = f" (did you mean {' or '.join(near)}?)" if near else ""
            raise UsageProblem(f"--prompt {name}: none of the {counted(len(by_text), 'prompt')} has this id{hint}")
        wanted += by_text[name]
    return frozenset(wanted)


def answer(
    fields: Fields,
    groups: Groups,
    at: Coefficients,
    found: Sequence[Found],
    wanted: Wanted,
    finding: NamedFinding | None,
    trained: Objective = DEFAULT,
) -> Shown:
    """Put the responses that were found under their prompts."""
    by_prompt: dict[Key, list[Found]] = {}
    for one in found:
        by_prompt.setdefault(one.key, []).append(one)
    numbers: dict[Key, Prompt] = {}
    for prompt in per_prompt_losses(groups, at, trained=trained):
        if prompt.prompt_id in by_prompt:
            numbers[prompt.prompt_id] = prompt
        if len(numbers) == len(by_prompt):
            break
    places = frozenset() if finding is None else finding.places
    prompts = [_prompt(numbers[key], each, at, fields, places) for key, each in by_prompt.items()]
    has_text = any(one.text is not None for prompt in prompts for one in prompt.shown)
    first = found[0].value if found and not has_text else None
    keys = list(first)[:KEYS] if isinstance(first, dict) else ()
    return Shown(_why(wanted, finding, len(found)), at, prompts, keys, objective=given(trained))


def _why(wanted: Wanted, finding: NamedFinding | None, responses: int) -> str:
    if finding is not None:
        messages = "; ".join(one.message for one in finding.found)
        return f"{finding.code}: {messages}" if finding.found else f"check finds no {finding.code} here"
    if wanted.term:
        name = wanted.term.replace("_", "-")
        return f"the {counted(responses, 'response')} with the largest {name}{', by size' if wanted.by_size else ''}"
    return f"all responses to {counted(len(wanted.keys), 'prompt')}"


def _prompt(
    prompt: Prompt, found: Sequence[Found], at: Coefficients, fields: Fields, places: frozenset[Any]
) -> ShownPrompt:
    return ShownPrompt(prompt, *texts_of(found, at, fields, places))


def texts_of(
    found: Sequence[Found], at: Coefficients, fields: Fields, places: frozenset[Any] = frozenset()
) -> tuple[str | None, list[ShownResponse]]:
    """Return the question of a prompt, and its responses."""
    shown, question = [], None
    for one in found:
        held = None if one.value is None else sample_of(one, fields)
        record, index = held or ({}, None)
        question = question or _text(record, fields, "prompt_text", index)
        shown.append(_response(one, record, index, at, fields, (one.source, one.line) in places))
    return question, shown


def have_texts(samples: Iterable[Mapping[str, Any]], fields: Fields) -> bool:
    """True if some of these samples have a question or a response to show."""
    return any(_text(sample, fields, name, None) is not None for sample in samples for name in TEXTS)


def _response(
    one: Found, record: Mapping[str, Any], index: int | None, at: Coefficients, fields: Fields, marked: bool
) -> ShownResponse:
    terms, length = one.terms, finite_or_none(one.length)
    excess = None if length is None or at.token_budget is None else max(0.0, length - at.token_budget)
    k = finite_or_none(terms.log_ratio)
    new, old = _of_response(record, fields, "log_prob", index), _of_response(record, fields, "old_log_prob", index)
    reason = extra_value(dict(record), fields, "finish_reason") if index is None else None
    return ShownResponse(
        one.source,
        one.line,
        one.path,
        one.sample,
        one.reward,
        length,
        excess,
        finite_or_none(terms.penalty),
        finite_or_none(terms.adjusted_reward),
        finite_or_none(terms.advantage),
        k,
        finite_or_none(terms.loss),
        reason,
        marked,
        _text(record, fields, "response_text", index),
        worst_tokens(new, old),
        worst_tokens(new, _of_response(record, fields, SAMPLER, index)),
    )


def _text(record: Mapping[str, Any], fields: Fields, name: str, index: int | None) -> str | None:
    """Return a text at its place, or under a name that such texts usually have, as it is only shown."""
    value = field_value(dict(record), fields, name)
    found = text_of(_of_response(record, fields, name, index) if name == "response_text" else value)
    if found is not None:
        return found
    holders = [record] if index is None or name == "prompt_text" else _of_element(record, fields, index)
    usual = (holder[each] for holder in holders for each in USUAL[name] if each in holder)
    return next(filter(None, map(text_of, usual)), None)


def _of_element(record: Mapping[str, Any], fields: Fields, index: int) -> list[Mapping[str, Any]]:
    """Return what lists beside the rewards, of as many elements, hold of one response; objects among it come last."""
    rewards = field_value(dict(record), fields, "rewards")
    size = len(rewards) if isinstance(rewards, list) else 0
    own = {key: each[index] for key, each in record.items() if isinstance(each, list) and len(each) == size}
    return [own, *(each for each in own.values() if isinstance(each, dict))]


def _of_response(record: Mapping[str, Any], fields: Fields, name: str, index: int | None) -> Any:
    """Return the value of a field of a response; from the record's array, if it has an index there."""
    if index is None:
        return field_value(dict(record), fields, name)
    plural = {**EXTRA_PLURALS, "log_prob": "log_probs", "old_log_prob": "old_log_probs"}[name]
    values = field_value(dict(record), fields, plural)
    return values[index] if isinstance(values, list) and index < len(values) else None
