"""Prompts → findings on what their rewards teach (nothing, or only length) and on whether the groups are right."""

import math

import numpy as np

from budget_cli import objective
from budget_cli.analysis.checks.findings import CheckInput, Findings, finding
from budget_cli.analysis.numbers import counted, percent
from budget_cli.groups.moments import Floats
from budget_cli.records.doubts import lines_of_a_group

FEWEST = 4  # prompts, below which a share means nothing
FEWEST_RESPONSES = 16  # below which sizes of groups show nothing
INCOMPLETE = (
    "See whether the dump was written and copied to its end. If responses were dropped on purpose, failed or late ones,"
    " write them with a mark and leave them out with `--where`, or give `--ignore uneven-groups,singleton`."
)


def check(dump: CheckInput) -> Findings:
    """Yield the findings on groups."""
    if dump.responses:
        yield from _variance(dump)
        yield from _penalised(dump)
        yield from _one_prompt(dump)
        lines = _lines_of_a_group(dump)
        yield from _sizes(dump, lines)
        if dump.advantages and not dump.no_advantages:
            from budget_cli.analysis.checks import stored_advantages  # which only dumps with advantages need

            yield from _stored_advantages(dump, lines)
            yield from stored_advantages.check(dump)


def _variance(dump: CheckInput) -> Findings:
    groups, n = dump.groups, dump.groups.column("n")
    low, high = groups.column("r_min"), groups.column("r_max")
    least, most = float(low.min()), float(high.max())
    if least == most:
        if dump.responses > 1:
            message = f"every reward is {least:g}, in all {dump.responses:,} responses"
            evidence, severity = dump.prompts(n > 0), None
            is_usual = dump.is_cut or (dump.is_row and n.size < FEWEST)  # as where --by is the reward or the prompt
            if dump.responses >= dump.threshold("constant-reward.responses") and not is_usual:
                severity = "error"
            yield finding("constant-reward", message, dump.responses, dump.responses, "responses", evidence, severity)
        return
    several, alike = n > 1, (n > 1) & (low == high)
    prompts, found = int(several.sum()), int(alike.sum())
    lowest, highest = int((alike & (high == least)).sum()), int((alike & (low == most)).sum())
    parts = ((lowest, f"all {least:g}"), (highest, f"all {most:g}"), (found - lowest - highest, "between"))
    split = ", ".join(f"{number:,} {what}" for number, what in parts if number)
    message = f"{found:,} of {counted(prompts, 'prompt')} have equal rewards" + (f" ({split})" if split else "")
    as_expected = False
    rewards = dump.counters.values.get("reward", {})
    if set(rewards) == {least, most} and prompts:
        rate = rewards[most] / dump.responses
        expected, spread = _by_chance(rate, n[several])
        as_expected = abs(found - expected) <= 2 * spread
        message += f"; chance alone, at a pass rate of {percent(rate, 1)}, gives {expected:.1f}"
        if expected - found > 3 * max(spread, 1):
            yield finding("zero-variance-filtered", message, found, prompts, "prompts")
    if found:
        many = prompts >= FEWEST and found >= dump.threshold("zero-variance.share") * prompts and not as_expected
        severity = "warning" if many else "info"
        enough = int(n[several].sum()) >= dump.threshold("zero-variance.responses") and not dump.is_cut
        if found == prompts >= FEWEST and enough:
            severity = "error"
        yield finding("zero-variance", message, found, prompts, "prompts", dump.prompts(alike), severity)


def _by_chance(rate: float, sizes: Floats) -> tuple[float, float]:
    """Return the expected number of groups with equal binary rewards, and its standard deviation.

    Args:
        rate: the pass rate, the same for every prompt.
        sizes: responses per prompt, two or more.
    """
    distinct, numbers = np.unique(sizes, return_counts=True)
    chances = rate**distinct + (1 - rate) ** distinct
    return float(numbers @ chances), math.sqrt(float(numbers @ (chances * (1 - chances))))


def _penalised(dump: CheckInput) -> Findings:
    if not dump.is_penalised:
        return
    groups, c = dump.groups, dump.loss.coefficients
    beta, budget = c.budget_penalty_coef, c.token_budget or 0
    n, alike = groups.column("n"), groups.column("r_min") == groups.column("r_max")
    phantom = (n > 1) & alike & (groups.column("ee", 0) > 0)
    prompts = len(groups)
    if phantom.any():
        least = beta * objective.excess(groups.column("L_min")[phantom], budget).min()
        most = beta * objective.excess(groups.column("L_max")[phantom], budget).max()
        count = int(phantom.sum())
        verb = "has equal rewards but unequal penalties" if count == 1 else "have equal rewards but unequal penalties"
        message = f"{counted(count, 'prompt')} {verb}, from {least:.3g} to {most:.3g}"
        yield finding("phantom-advantage", message, count, prompts, "prompts", dump.prompts(phantom))
    rr, re, ee = groups.column("rr"), groups.column("re", 0), groups.column("ee", 0)
    cancels = (n > 1) & ~alike & (objective.adjusted_scatter(rr, re, ee, beta) == 0)
    if cancels.any():
        count = int(cancels.sum())
        message = f"in {counted(count, 'prompt')} the penalty exactly cancels the difference between the rewards"
        yield finding("penalty-cancels", message, count, prompts, "prompts", dump.prompts(cancels))
    if dump.per_prompt is not None:
        yield from _best_changes(dump)


def _best_changes(dump: CheckInput) -> Findings:
    n, prompts = dump.groups.column("n"), len(dump.groups)
    best, of_best = dump.row("a_max"), dump.row("a_of_best")
    changes = (n > 1) & (best - of_best > 1e-12 * np.maximum(1, np.abs(best)))
    if changes.any():
        count = int(changes.sum())
        message = f"in {count:,} of {counted(prompts, 'prompt')} the best response is a different one after the penalty"
        yield finding("best-response-changes", message, count, prompts, "prompts", dump.prompts(changes))


def _lines_of_a_group(dump: CheckInput) -> int | None:
    """Return the number of lines over which stored advantages sum to 0, where every prompt has one response.

    None if there is no such number, or if not every line holds a response.
    """
    n = dump.groups.column("n")
    if dump.per_prompt is None or np.any(n != 1) or np.any(dump.of_advantages("a_n") != 1):
        return None
    source, line = np.divmod(dump.row("place"), dump.lines_per_source)
    ends = np.append(np.flatnonzero(np.diff(source)) + 1, n.size)
    starts = np.append(0, ends[:-1])
    if np.any(line != np.arange(n.size) - np.repeat(starts, ends - starts) + 1):
        return None
    size = lines_of_a_group(dump.of_advantages("a"), whole=True)
    return size if size and not np.any((ends - starts) % size) else None


def _one_prompt(dump: CheckInput) -> Findings:
    """Yield a finding if one id, in each step, has so many responses that it cannot be a prompt's."""
    n, steps = dump.groups.column("n"), max(1, len(dump.steps))
    if dump.is_row or dump.per_prompt is None or not dump.by_prompt_text or n.size != steps:
        return
    if dump.responses < dump.threshold("one-prompt.responses") * steps or dump.first_ids.one_text:
        return
    if dump.has_texts and np.all(dump.row("text") > 0) and not np.any(dump.row("text_place")):
        return  # it is one prompt
    keys = dump.groups.keys()
    if len({str(key).partition("/")[2] if dump.steps else key for key in keys}) > 1:
        return
    each = "" if steps == 1 else f" in each of {steps:,} steps"
    message = f"all {dump.responses:,} responses have one prompt id{each}"
    yield finding("one-prompt", message, dump.responses, dump.responses, "responses", dump.prompts(n > 0))


def _missing(dump: CheckInput) -> int:
    """Return how many responses are missing, beside the largest group, if the dump seems to be a part of one; else 0.

    Either one prompt alone lacks many responses, as where the end of a file is missing, or sizes vary without one that
    is usual, as in half of a shuffled dump.
    """
    n = dump.groups.column("n")
    most, total = float(n.max()), float(n.sum())
    lacking = most * n.size - total
    explained = dump.tally.rejected + sum(dump.tally.left_out.values())
    if dump.is_cut or n.size < FEWEST or total < FEWEST_RESPONSES or 2 * explained >= lacking:
        return 0
    short = n[n < most]
    if short.size == 1:
        missing = most - float(short[0])
        return int(missing) if missing >= max(2, dump.threshold("uneven-groups.missing") * most) else 0
    sizes, numbers = np.unique(n, return_counts=True)
    is_multiple = sizes[0] > 1 and not np.any(sizes % sizes[0])
    is_usual = numbers.max() * 2 > n.size
    if is_usual or is_multiple or sizes.size < 3 or 2 * sizes[0] > most:
        return 0
    return int(lacking) if lacking >= dump.threshold("uneven-groups.spread") * most * n.size else 0


def _sizes(dump: CheckInput, lines: int | None) -> Findings:
    n, prompts = dump.groups.column("n"), len(dump.groups)
    single = n == 1
    missing, severity, incomplete = _missing(dump), None, ""
    if missing:
        of = int(n.max()) * prompts
        severity = "error"
        incomplete = f"; beside the largest group, {missing:,} of {counted(of, 'response')} are missing"
    if single.any():
        count = int(single.sum())
        if count == prompts:
            message = (
                f"every prompt has a single response ({counted(count, 'prompt')}): does the id identify responses?"
            )
        else:
            message = f"{count:,} of {counted(prompts, 'prompt')} {'has' if count == 1 else 'have'} a single response"
        remedy = _by_lines(lines) or (_by_doubt(dump) if count == prompts else None)
        none_has_two = count == prompts >= dump.threshold("singleton.prompts") and not dump.is_cut
        is_torn = bool(missing) and count == np.count_nonzero(n < n.max())
        worse = "error" if none_has_two or is_torn else None
        message += incomplete if is_torn else ""
        remedy = remedy or (INCOMPLETE if is_torn else None)
        yield finding("singleton", message, count, prompts, "prompts", dump.prompts(single), worse, remedy)
    sizes, numbers = np.unique(n[~single], return_counts=True)
    if sizes.size < 2:
        return
    usual = float(sizes[numbers.argmax()])
    is_usual = numbers.max() * 2 > numbers.sum()
    doubled = (n > usual) & (n % usual == 0) & is_usual
    if doubled.any():
        count = int(doubled.sum())
        least, most = int(n[doubled].min()), int(n[doubled].max())
        multiples = f"{least:,}" if least == most else f"{least:,} to {most:,}"
        message = f"{counted(count, 'prompt')} with a multiple of the usual {usual:.0f} responses: {multiples}"
        yield finding("doubled-group", message, count, prompts, "prompts", dump.prompts(doubled))
    uneven = ~single & ~doubled & (n != usual)
    if uneven.any():
        count = int(uneven.sum())
        ranked = sorted(zip(numbers.tolist(), sizes.tolist(), strict=True), key=lambda pair: (-pair[0], pair[1]))
        shown = ", ".join(f"{size:,.0f} in {number:,}" for number, size in ranked[:4])
        more = ", …" if len(ranked) > 4 else ""
        message = f"prompts have unequal numbers of responses: {shown}{more}{incomplete}"
        remedy = INCOMPLETE if missing else None
        yield finding("uneven-groups", message, count, prompts, "prompts", dump.prompts(uneven), severity, remedy)


def _by_lines(lines: int | None) -> str | None:
    """Return what to do where the advantages show how many lines a group has; None if they do not."""
    if lines is None:
        return None
    return f"Give `--group-size {lines}`: over every {lines} lines the stored advantages sum to 0."


def _by_doubt(dump: CheckInput) -> str | None:
    """Return what to do where the first records show what groups them; None if they do not."""
    shown = (f"Give `{doubt.remedy}`: {doubt.message}." for doubt in dump.doubts if not doubt.several_texts)
    return next(shown, None)


def _stored_advantages(dump: CheckInput, lines: int | None) -> Findings:
    n, known = dump.groups.column("n"), dump.of_advantages("a_n")
    complete = known == n
    several, single = complete & (n > 1), complete & (n == 1)
    total, squares = dump.of_advantages("a"), dump.of_advantages("aa")
    typical = np.sqrt(squares / n)
    off = several & (np.abs(total) / n > np.maximum(1e-6, dump.threshold("stored-advantage.share") * typical))
    if dump.stored is not None and not dump.stored.centred:
        off &= ~several  # the estimator has another baseline than the mean
    flat = several & (squares == 0) & (dump.groups.column("rr") > 0)
    alone = single & (np.abs(total) > 1e-6)
    wrong = off | flat | alone
    if wrong.any():
        of = int(complete.sum())
        among = f"of {counted(int(several.sum()), 'prompt')} the stored advantages"
        problems = [f"in {int(off.sum()):,} {among} do not sum to 0"] if off.any() else []
        problems += [f"in {int(flat.sum()):,} {among} are all 0 although rewards differ"] if flat.any() else []
        if alone.any():
            singles = f"{counted(int(single.sum()), 'prompt')} with a single response"
            problems.append(f"in {int(alone.sum()):,} of {singles} the stored advantage is not 0")
        message, remedy = "; ".join(problems), _by_lines(lines)
        yield finding("stored-advantage", message, int(wrong.sum()), of, "prompts", dump.prompts(wrong), remedy=remedy)
