"""Findings → the screen, JSON, Markdown, annotations of GitHub, test cases of JUnit and SARIF."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from budget_cli.analysis.checks.catalogue import CHECKS
from budget_cli.analysis.checks.findings import Evidence, Finding, Severity
from budget_cli.analysis.checks.run import SCHEMA, CheckRun
from budget_cli.analysis.checks.verdict import CheckResult, LabelRun
from budget_cli.analysis.loss import given
from budget_cli.analysis.numbers import counted
from budget_cli.objective.settings import DEFAULT
from budget_cli.rendering import policies
from budget_cli.rendering.formats import as_dict, json_document, utf8, utf8_key
from budget_cli.rendering.github import Annotation, workflow_commands
from budget_cli.rendering.headline import headline
from budget_cli.rendering.junit import Case, joined, xml
from budget_cli.rendering.safe import end_for_terminal, for_markdown, for_terminal
from budget_cli.rendering.text import WHOLE, WIDTH, Line, Piece, failures, in_bold, passes, room_for

if TYPE_CHECKING:
    from budget_cli.analysis.estimators_known import Candidate

STYLES = {"error": "bold red", "warning": "yellow", "info": "cyan"}
LEVELS = {"error": "error", "warning": "warning", "info": "notice"}
LABEL = 20  # characters of a label
ROWS = 30  # of labels on the screen
INDENT = 10  # characters of a label with the blanks after it
TEXT = 600  # characters of a sentence that may contain strings of the data


def screen(result: CheckResult, verbose: bool, columns: int = WIDTH) -> Iterator[Line]:
    """Yield the verdict in words; each finding with its location, why it matters and what to do; then the verdict."""
    width = room_for(columns)
    if result.loss.responses:
        yield from in_bold(in_words(result), width)
        yield []
    for finding in result.run.findings:
        yield from _finding(finding, result.sources, verbose, width)
    yield from _rows(result, width)
    yield from _closing(result, width)


def in_words(result: CheckResult) -> str:
    """Return what was found in a sentence, worst first; then how much of the learning signal is length."""
    codes: dict[str, list[str]] = {severity: [] for severity in STYLES}
    for finding in result.run.findings:
        codes[finding.severity].append(finding.code)
    worse = [
        f"{counted(len(found), severity)} ({', '.join(found)})"
        for severity, found in codes.items()
        if found and severity != "info"
    ]
    checks = counted(len(result.run.checked), "check")
    if worse:
        said = " and ".join(worse)
    elif codes["info"]:
        said = f"Nothing wrong in {checks}, and {len(codes['info'])} to know ({', '.join(codes['info'])})"
    else:
        said = f"Nothing wrong or suspicious in {checks}"
    return f"{said}. {headline(result.loss)}"


def _rows(result: CheckResult, width: int) -> Iterator[Line]:
    """Yield one row per label: how much it holds, and the codes of its findings."""
    if not result.rows:
        return
    label, wide = (LABEL, 9) if width == WIDTH else (14, 8)
    yield []
    head = f"{for_terminal('by ' + (result.by or ''), label):<{label}}{'prompts':>{wide}}{'n':>{wide}}"
    yield [Piece(f"{head}  findings", "bold")]
    for row in result.rows[:ROWS]:
        name = end_for_terminal("(none)" if row.key is None else str(row.key), label - 1)
        counts = f"{name:<{label}}{row.loss.prompts:>{wide},}{row.loss.responses:>{wide},}  "
        found = row.run.findings
        worst = max((one.rank for one in found), default=Severity.info)
        codes = wrap(", ".join(one.code for one in found) or "none", width - len(counts), break_on_hyphens=False)
        style = STYLES[worst.name] if found else "dim"
        for number, line in enumerate(codes):
            yield [Piece(" " * len(counts) if number else counts), Piece(line, style)]
    if len(result.rows) > ROWS:
        yield [Piece(f"… {len(result.rows) - ROWS:,} more: --format json has them all", "dim")]
    if not result.run.findings:
        yield []


def _finding(finding: Finding, sources: Sequence[str], verbose: bool, width: int) -> Iterator[Line]:
    first, *more = finding.evidence or [Evidence(None, None, None, None)]
    yield [
        Piece(f"{_place(first, sources)}  "),
        Piece(finding.severity, STYLES[finding.severity]),
        Piece(f"  {finding.code}", "bold"),
        Piece(f"  {_prompt(first)}", "dim"),
    ]
    yield from _sentence(width, "", finding.message + (f" ({finding.accepted})" if finding.accepted else ""))
    if more and finding.count > 1:
        also, before = [], first
        for evidence in more:
            also.append(_also(evidence, before))
            before = evidence
        rest = finding.count - len(finding.evidence)
        yield from _sentence(width, "also: ", ", ".join(also) + (f" and {rest:,} more" if rest > 0 else ""), "dim")
    if verbose or finding.rank > Severity.info:
        yield from _sentence(width, "Why:  ", finding.why, "dim")
        yield from _sentence(width, "Do:   ", finding.remedy)


def _place(evidence: Evidence, sources: Sequence[str]) -> str:
    if evidence.source is None:
        more = f" and {len(sources) - 1} more" if len(sources) > 1 else ""
        return for_terminal(sources[0] if sources else "no records", 200) + more
    return for_terminal(evidence.source, 200) + _line(evidence)


def _line(evidence: Evidence) -> str:
    if evidence.path is not None:
        return f": {for_terminal(evidence.path, 200)}" if evidence.path else ""
    if evidence.line is None:
        return ""
    return f":{evidence.line}" + ("" if evidence.column is None else f":{evidence.column}")


def _also(evidence: Evidence, before: Evidence) -> str:
    """Return another location; its source and prompt only if they differ from those of the one before."""
    source = "" if evidence.source in (before.source, None) else for_terminal(evidence.source, 200)
    prompt = "" if evidence.prompt_id == before.prompt_id else _prompt(evidence)
    return f"{source}{_line(evidence)} {prompt}".strip()


def _prompt(evidence: Evidence) -> str:
    """Return the prompt id; "" if it only repeats the location, as it does when each line or file is one prompt."""
    if evidence.prompt_id is None or (evidence.source and str(evidence.prompt_id).startswith(evidence.source)):
        return ""
    return for_terminal(evidence.prompt_id, 30)


def _sentence(width: int, label: str, text: str, style: str = "") -> Iterator[Line]:
    shown = wrap(for_terminal(text, TEXT), width - 4 - len(label), break_long_words=False, break_on_hyphens=False)
    for number, line in enumerate(shown):
        yield [Piece("    " + (label if number == 0 else " " * len(label)), "dim"), Piece(line, style)]


def _closing(result: CheckResult, width: int) -> Iterator[Line]:
    run = result.run
    if run.findings:
        yield []
    loss = result.loss
    source = loss.length_sentence
    if source is not None:
        yield [Piece("lengths   ", "dim"), Piece(f"from {for_terminal(source, 200)}", "dim")]
    if loss.objective != given(DEFAULT):
        yield from _under("computed  ", for_terminal(loss.objective.sentence, 400), width)
    if run.without_penalty is not None:
        yield from _under("rewards   ", run.without_penalty, width)
    for one in run.policies:
        for number, text in enumerate(policies.sentences(one)):
            yield from _under("" if number else "policies  ", for_terminal(text, TEXT), width)
    yield from _advantages(run, width)
    if run.unchecked:
        reasons = "; ".join(f"{one.reason} ({len(one.codes)})" for one in run.unchecked)
        skipped = counted(sum(len(one.codes) for one in run.unchecked), "check")
        yield from _under("skipped   ", f"{skipped}: {reasons}", width)
    counts = Counter(finding.severity for finding in run.findings)
    summary = ", ".join(counted(counts[s], s) if s != "info" else f"{counts[s]} info" for s in STYLES if counts[s])
    summary = f"{counted(len(run.findings), 'finding')}: {summary}" if counts else "nothing"
    yield [Piece("found     ", "dim"), Piece(f"{summary}, in {counted(len(run.checked), 'check')}")]
    if counts:
        yield [Piece("explain   ", "dim"), Piece(f"budget-cli explain {run.findings[0].code}", WHOLE)]
    named = [one.code for one in run.findings if any(e.prompt_id is not None for e in one.evidence)]
    if named and result.show:
        yield [Piece("show      ", "dim"), Piece(for_terminal(f"{result.show} --finding {named[0]}", 2000), WHOLE)]
    yield from failures(result.reasons, 200)
    if not result.reasons:
        yield from passes(result.loss.records, warnings=sum(finding.rank > Severity.info for finding in run.findings))


def _under(label: str, text: str, width: int) -> Iterator[Line]:
    """Yield a label, and a text beside it, whose words stay whole, as a path is one."""
    shown = wrap(text, width - INDENT, break_long_words=False, break_on_hyphens=False)
    for number, line in enumerate(shown):
        yield [Piece(f"{'' if number else label:<{INDENT}}", "dim"), Piece(line, "dim")]


def _advantages(run: CheckRun, width: int) -> Iterator[Line]:
    """Yield whose advantages the trainer stored, and the options that reproduce them."""
    if run.stored is None:
        return
    from budget_cli.analysis.checks.stored_advantages import estimator_sentence  # which few dumps need

    sentence = estimator_sentence(run.stored)
    if sentence is None:
        return
    yield from _under("estimator ", sentence, width)
    if run.stored.options is not None:
        yield [Piece("objective ", "dim"), Piece(run.stored.options, WHOLE)]


def json(result: CheckResult) -> bytes:
    """Return one JSON object, which can be the baseline of a later run."""
    run, loss = result.run, result.loss
    document = {
        "schema": SCHEMA,
        "status": result.status,
        "headline": in_words(result),
        "counts": _counts(run.findings),
        "findings": [_as_dict(finding) for finding in run.findings],
        "coefficients": {
            "token_budget": loss.coefficients.token_budget,
            "budget_penalty_coef": loss.coefficients.budget_penalty_coef,
        },
        "objective": as_dict(loss.objective),
        "penalty_in_reward": _penalty(run),
        "policies": [policies.as_json(one) for one in run.policies],
        "stored_advantages": _stored(run),
        "prompts": loss.prompts,
        "responses": loss.responses,
        "records": as_dict(loss.records),
        "left_out": loss.left_out,
        "lengths_from": loss.lengths_from,
        "length_origins": as_dict(loss.length_origins),
        "tokenizer": loss.tokenizer,
        "checked": run.checked,
        "unchecked": [as_dict(unchecked) for unchecked in run.unchecked],
        "thresholds": result.thresholds,
        "reasons": [utf8(reason.text) for reason in result.reasons],
        "incomplete": [utf8(problem) for problem in result.incomplete],
    }
    if result.by is not None:
        document["by"] = [_row(row) for row in result.rows]
    return json_document(document)


def _row(row: LabelRun) -> dict[str, Any]:
    return {
        "key": utf8_key(row.key),
        "prompts": row.loss.prompts,
        "responses": row.loss.responses,
        "counts": _counts(row.run.findings),
        "findings": [_as_dict(finding) for finding in row.run.findings],
        "policies": [policies.as_json(one) for one in row.run.policies],
        "stored_advantages": _stored(row.run),
    }


def _counts(findings: Sequence[Finding]) -> dict[str, int]:
    counts = Counter(finding.severity for finding in findings)
    return {severity: counts[severity] for severity in STYLES}


def _penalty(run: CheckRun) -> dict[str, Any] | None:
    """Return the penalty that the rewards hold, or that they hold none; None if neither shows."""
    held = run.penalty
    if held is None:
        return None if run.without_penalty is None else {"found": False}
    return {
        "found": True,
        "token_budget": held.budget,
        "budget_penalty_coef": held.beta,
        "largest": held.cap,
        "counts_prompt": held.counts_prompt,
        "responses": held.fitting,
        "of": held.over,
    }


def _stored(run: CheckRun) -> dict[str, Any] | None:
    """Return whose advantages the trainer stored; None if there are none, or they do not show it."""
    stored = run.stored
    if stored is None:
        return None
    penalty = stored.penalty
    return {
        "found": bool(stored.fits),
        "fits": [{**_estimator(fit.candidate), "all_eps": fit.eps} for fit in stored.fits],
        "options": stored.options,
        "prompts": stored.prompts,
        "of_sample": stored.of_sample,
        "agreeing": stored.agreeing,
        "differing": stored.prompts - stored.agreeing if stored.fits else None,
        "regrouped": stored.regrouped,
        "largest_residual": stored.largest_residual if stored.fits else None,
        "worst_residual": stored.worst_residual if stored.fits else None,
        "tolerance": {"share": stored.tolerance[0], "absolute": stored.tolerance[1]},
        "penalty": penalty
        and {
            "token_budget": penalty.budget,
            "budget_penalty_coef": penalty.beta,
            "cap": penalty.cap,
            "penalize": "correct" if penalty.right_only else "all",
        },
        "singletons": stored.singletons._asdict(),
        "incomplete": stored.incomplete,
        "nearest": {**_estimator(stored.nearest), "residual": stored.nearest_residual},
        "root_mean_square": stored.typical,
        "by_position": stored.by_position
        and {
            "size": stored.by_position.size,
            **_estimator(stored.by_position.candidate),
            "agreeing": stored.by_position.agreeing,
            "of": stored.by_position.groups,
        },
    }


def _estimator(candidate: "Candidate") -> dict[str, Any]:
    """Return an estimator and its settings by the keys of an objective; of a batch, its slope and baseline."""
    name, ddof, eps, slope, baseline = candidate
    return {"advantage": name, "ddof": ddof, "eps": eps, "slope": slope, "baseline": baseline}


def _as_dict(finding: Finding) -> dict[str, Any]:
    evidence = [
        {**one._asdict(), "source": None if one.source is None else utf8(one.source)} for one in finding.evidence
    ]
    for one in evidence:
        if one["path"] is None:  # there is none but in JSON documents
            del one["path"]
    of_class = {"class": CHECKS[finding.code].class_}
    return {**asdict(finding), **of_class, "message": utf8(finding.message), "evidence": evidence}


def markdown(result: CheckResult) -> bytes:
    """Return the verdict and one row per finding."""
    lead = f"**{result.status}**: " + (
        "; ".join(for_markdown(reason.text, TEXT) for reason in result.reasons)
        or f"read completely, and no finding that fails (--fail-on {result.fail_on.name})"
    )
    lines = [lead, ""]
    if result.loss.responses:
        lines += [for_markdown(in_words(result), TEXT), ""]
    if result.loss.objective != given(DEFAULT):
        lines += [f"Computed with {for_markdown(result.loss.objective.sentence, TEXT)}", ""]
    if result.run.findings:
        lines += ["| severity | check | finding | first location | what to do |", "| --- | --- | --- | --- | --- |"]
    for finding in result.run.findings:
        first = _place(finding.evidence[0], result.sources) if finding.evidence else ""
        message = finding.message + (f" ({finding.accepted})" if finding.accepted else "")
        cells = [for_markdown(cell, TEXT) for cell in (finding.severity, finding.code, message, first, finding.remedy)]
        lines.append(f"| {' | '.join(cells)} |")
    return "".join(line + "\n" for line in lines).encode("utf-8", "backslashreplace")


def annotations(result: CheckResult) -> list[Annotation]:
    """Return one annotation per finding, at its first location; and one per reason to fail that is not a finding."""
    notes = [
        Annotation("error", "budget-cli check", reason.text) for reason in result.reasons if reason.kind == "incomplete"
    ]
    for finding in result.run.findings:
        first = finding.evidence[0] if finding.evidence else Evidence(None, None, None, None)
        level = "notice" if finding.accepted else LEVELS[finding.severity]
        prompt = f" [{_prompt(first)}]" if _prompt(first) else ""
        message = f"{finding.message}{prompt}. {finding.remedy}"
        message, line = (message, first.line) if first.path is None else (f"{first.path}: {message}", None)
        notes.append(Annotation(level, finding.code, message, first.source, line, first.column))
    if result.reasons and not any(result.fails(finding) for finding in result.run.findings):
        others = [reason for reason in result.reasons if reason.kind != "incomplete"]
        notes += [Annotation("error", "budget-cli check", reason.text) for reason in others]
    return notes


def cases(result: CheckResult) -> list[Case]:
    """Return one case per check, failed if a finding makes the verdict fail; and one for reading the files."""
    by_code: dict[str, list[Finding]] = {}
    for finding in result.run.findings:
        by_code.setdefault(finding.code, []).append(finding)
    unread = joined(result.incomplete) or None
    if not unread and not any(result.fails(f) for f in result.run.findings) and result.reasons:
        unread = joined(reason.text for reason in result.reasons)
    made = [Case("read", "records", failure=unread)]
    for code in result.run.checked:
        found = by_code.get(code, [])
        failing = [_report(finding, result.sources) for finding in found if result.fails(finding)]
        other = [_report(finding, result.sources) for finding in found if not result.fails(finding)]
        topic = CHECKS[code].topic
        made.append(Case(code, topic, failure="\n".join(failing) or None, output="\n".join(other)))
    for unchecked in result.run.unchecked:
        made += [Case(code, CHECKS[code].topic, skipped=unchecked.reason) for code in unchecked.codes]
    return made


def github(result: CheckResult) -> bytes:
    """Return annotations of GitHub Actions."""
    return workflow_commands(annotations(result))


def junit(result: CheckResult) -> bytes:
    """Return a test report."""
    return xml("budget-cli check", cases(result))


def sarif(result: CheckResult) -> bytes:
    """Return a log for code scanning."""
    from budget_cli.rendering.sarif import document  # only for this format

    return json_document(document(result))


FORMS = {"json": json, "markdown": markdown, "github": github, "junit": junit, "sarif": sarif}


def _report(finding: Finding, sources: Sequence[str]) -> str:
    places = [_place(evidence, sources) for evidence in finding.evidence]
    return joined([f"{finding.severity}: {finding.message}", *places, finding.why, finding.remedy])
