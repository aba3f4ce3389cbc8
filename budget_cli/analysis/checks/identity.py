"""Prompt ids, texts and responses → findings on duplicates, and on ids that do not match their texts."""

import math
import shlex
from collections.abc import Sequence
from typing import Any

import numpy as np

from budget_cli.analysis.checks.findings import CheckInput, Evidence, Findings, finding
from budget_cli.analysis.numbers import counted, percent
from budget_cli.evidence.counters import COPIED_ROWS, FEW, Location
from budget_cli.evidence.distinct_sample import KEPT
from budget_cli.evidence.per_prompt import BARE, IDENTIFIES, PerPrompt
from budget_cli.records.record import part_of_id

BY_TEXT = "Group by the text: `{}`. If that varies on purpose, keep the id."
MOST_TIMES = 8  # that a dump was written
NEARLY_ALL = 0.9  # share of prompts, or of the responses of a step; a line may be cut or rejected
MOSTLY_NEW = 0.75  # share of the responses of a step that are the only ones of their kind
NAMED = 3  # steps in a message
SURE = 12.0  # nats: chance alone gives this in one dump of 160,000
SPREAD = np.uint64(0x9E3779B97F4A7C15)  # odd, so that multiplying by it loses nothing


def check(dump: CheckInput) -> Findings:
    """Yield the findings on identity."""
    yield from _id_types(dump)
    yield from _recurring(dump)
    if not dump.has_texts:
        yield from _first_texts(dump)
    yield from _scattered(dump)
    yield from _rows_twice(dump)
    if dump.per_prompt is not None:
        yield from _prompt_texts(dump)
        yield from _equal_responses(dump, dump.per_prompt)
        yield from _steps_again(dump, dump.per_prompt)


def _id_types(dump: CheckInput) -> Findings:
    keys = dump.groups.keys()
    if len(set(map(type, keys))) < 2:
        return
    integers = np.fromiter((type(key) is int for key in keys), dtype=np.bool_, count=len(keys))
    count = int(integers.sum())
    written = {str(key) for key in keys if type(key) is int}
    both = sum(type(key) is str and key in written for key in keys)
    message = f"prompt ids are of two types: {counted(count, 'integer')} and {counted(len(keys) - count, 'string')}"
    if both:
        message += f"; {both:,} {'occurs' if both == 1 else 'occur'} as both, and these are different prompts"
    rarer = integers if count * 2 <= len(keys) else ~integers
    yield finding("mixed-id-types", message, int(rarer.sum()), len(keys), "prompts", dump.prompts(rarer))


def _recurring(dump: CheckInput) -> Findings:
    if dump.recurring:
        of = dump.later_prompts
        message = (
            f"{dump.recurring:,} of the {counted(of, 'prompt')} after the first file recur from an earlier one, with"
        )
        message += " the same number of responses"
        yield finding("recurring-ids", message, dump.recurring, of, "prompts")


def _first_texts(dump: CheckInput) -> Findings:
    """Yield what the first records show, which are read in any case."""
    for doubt in dump.doubts:
        if doubt.several_texts:
            remedy = BY_TEXT.format(doubt.remedy)
            yield finding("id-over-texts", doubt.message, doubt.prompts, doubt.of, "prompts", remedy=remedy)


def _scattered(dump: CheckInput) -> Findings:
    """Yield the finding on answers that have nothing to do with their ids."""
    found = dump.first_ids.scattered
    if found is not None:
        yield finding("scattered-answers", str(found), found.samples, found.samples, "responses")


def _prompt_texts(dump: CheckInput) -> Findings:
    text = dump.row("text")
    known = np.flatnonzero(text)
    if not known.size:
        return
    other = dump.row("text_place")
    if other.any():
        count = int(np.count_nonzero(other))
        message = f"{count:,} of {counted(known.size, 'prompt id')} stand for more than one prompt text"
        rows = np.flatnonzero(other)[:FEW].tolist()
        evidence = dump.evidence(Location(int(other[row]), row) for row in rows)
        remedy = BY_TEXT.format(dump.by_prompt_text) if dump.by_prompt_text else None
        yield finding("id-over-texts", message, count, known.size, "prompts", evidence, remedy=remedy)
    # the same prompt in another step is another group
    of_step = text[known] ^ (dump.row("step")[known] * SPREAD)
    _, place, numbers = np.unique(of_step, return_inverse=True, return_counts=True)
    shared = numbers[place] > 1
    if shared.any():
        count, texts = int(shared.sum()), int((numbers > 1).sum())
        everywhere = numbers.size == 1
        message = (
            f"{count:,} of {counted(known.size, 'prompt id')} share their text with another ({counted(texts, 'text')})"
        )
        mask = np.zeros(len(text), dtype=np.bool_)
        mask[known[shared]] = True
        yield finding(
            "text-under-ids",
            message,
            count,
            known.size,
            "prompts",
            dump.prompts(mask),
            "info" if everywhere else "warning",
            f"Group by the text: `{dump.by_prompt_text}`." if dump.by_prompt_text else None,
        )


def _rows_twice(dump: CheckInput) -> Findings:
    """Yield the finding on rows of rollouts that were written again; the fold has dropped them."""
    copies = dump.counters.count(COPIED_ROWS)
    if copies:
        of = dump.tally.used
        every = "every record is there twice: " if copies * 2 == of else ""
        message = (
            f"{every}{copies:,} of {counted(of, 'record')} repeat an earlier one, of the same rollout and turn and"
        )
        message += " with the same numbers; each counts once"
        evidence, severity = dump.occurrences(COPIED_ROWS), _of_copies(dump, copies / of)
        yield finding("duplicate-records", message, copies, of, "records", evidence, severity, _once(dump))


def _of_copies(dump: CheckInput, share: float) -> str | None:
    """Return the severity of so large a share of copies; None: the check's own."""
    return "error" if share >= dump.threshold("duplicate-records.share") else None


def _once(dump: CheckInput) -> str | None:
    """Return what to do against copies, with the name of the file; None if there are several files."""
    if len(dump.sources) != 1 or not dump.sources[0].endswith(".jsonl"):
        return None
    command = f"awk '!seen[$0]++' {shlex.quote(dump.sources[0])} >once.jsonl"
    return f"Remove the copies: `{command}` keeps the first of lines that are equal byte for byte."


def _equal_responses(dump: CheckInput, kept: PerPrompt) -> Findings:
    sample = kept.sample
    if not sample.digest.size:
        return
    row, place, digest, record = sample.row, sample.place, sample.digest, sample.record
    quick = np.sort(digest ^ (row.astype(np.uint64) * SPREAD))
    if not np.any(quick[1:] == quick[:-1]):  # as in most dumps
        return
    weight, prompts = 2**sample.level, len(dump.groups)
    copies = _written_again(row, place, digest, record, prompts)
    order_of_first = "in the same order"
    everywhere = _each_record_again(row, record, prompts)
    if np.count_nonzero(everywhere > 1) > np.count_nonzero(copies > 1):
        copies, order_of_first = everywhere, "in any order"
    copied = copies > 1
    order = np.lexsort((place, digest, row))
    row, digest, place, record = row[order], digest[order], place[order], record[order]
    again = np.zeros(row.size, dtype=np.bool_)
    again[1:] = (row[1:] == row[:-1]) & (digest[1:] == digest[:-1])
    alike = again & ~copied[row] & (record & BARE == 0)
    about = "about " if weight > 1 else ""
    sampled = f" (in a sample of {KEPT:,})" if weight > 1 else ""

    def evidence(found: Any) -> Sequence[Evidence]:
        first = found[np.argsort(place[found], kind="stable")[:FEW]]
        return dump.evidence(Location(int(place[i]), int(row[i])) for i in first)

    if copied.any():
        sizes = np.bincount(row, minlength=prompts)
        count = int((sizes - sizes // np.maximum(copies, 1))[copied].sum()) * weight
        number = f"{about}{count:,}"
        several, often = int(np.count_nonzero(copied)), int(copies.max())
        message = f"every response to {counted(several, 'prompt')} occurs {often} times, {order_of_first}:"
        message += f" {number} copies{sampled}"
        first = np.flatnonzero(copied[row] & again)
        of = max(kept.digested, dump.responses if np.any(record & BARE) else 0)
        severity = _of_copies(dump, several / prompts)
        yield finding("duplicate-records", message, count, of, "responses", evidence(first), severity, _once(dump))
    found = np.flatnonzero(alike)
    if found.size:
        count, of = int(found.size) * weight, kept.digested
        message = f"{about}{count:,} of {counted(of, 'response')} ({percent(count, of)})"
        message += f" repeat another response to their prompt{sampled}"
        alarm = "warning" if count >= dump.threshold("identical-responses.share") * of else "info"
        yield finding("identical-responses", message, count, of, "responses", evidence(found), alarm)


def _written_again(row: Any, place: Any, digest: Any, record: Any, prompts: int) -> Any:
    """Return how often the responses to each prompt were written, in the same order; 1: once, as far as is known.

    A shared seed repeats responses within a group. A second writing repeats the group: after other prompts, in the same
    order. Short texts, and numbers without a log-prob, are equal by chance, too: they count if more prompts repeat than
    chance explains.

    Args:
        row: shape (responses,), the prompt of each.
        place: of each.
        digest: of each.
        record: of each; its bits say what the digest is of.
        prompts: their number.
    """
    times = np.ones(prompts, dtype=np.int64)
    rank = np.empty(place.size, dtype=np.int64)
    rank[np.argsort(place, kind="stable")] = np.arange(place.size)
    order = np.lexsort((place, row))
    row, rank, digest, record = row[order], rank[order], digest[order], record[order]
    sizes = np.bincount(row, minlength=prompts)
    starts = np.cumsum(sizes) - sizes
    within = np.arange(row.size) - starts[row]
    sure = np.bincount(row, record & IDENTIFIES == 0, prompts) == 0
    apart = np.zeros(prompts, dtype=np.bool_)
    for number in range(MOST_TIMES, 1, -1):
        period = sizes // number
        may = (sizes % number == 0) & (period > 1) & (times == 1)
        if not may.any():
            continue
        later = np.flatnonzero(may[row] & (within >= period[row]))
        differs = digest[later] != digest[later - period[row[later]]]
        periodic = may & (np.bincount(row[later], differs, prompts) == 0)
        if not periodic.any():
            continue
        pairs, equal = _equal_pairs(row, digest, within < period[row], prompts)
        periodic &= equal < pairs
        # by chance, if the later ones equal the first as often as these equal each other; groups of one size at a time
        likely = ((equal + 1) / (pairs + 1)) ** (sizes - period)
        doubtful = may & ~sure & (equal < pairs)
        expected = np.bincount(sizes[doubtful], likely[doubtful])
        for size, found in enumerate(np.bincount(sizes[doubtful & periodic]).tolist()):
            if found and not _is_beyond_chance(found, float(expected[size])):
                periodic &= sure | (sizes != size)
        times[periodic] = number
        second = np.minimum(starts + period, row.size - 1)
        apart |= periodic & (rank[second] - rank[second - 1] > 1)
    if not np.any(apart) and np.count_nonzero(sizes) > 1:
        times[:] = 1
    return times


def _each_record_again(row: Any, record: Any, prompts: int) -> Any:
    """Return how often each record of a prompt was written, in any order; 1: once, as far as is known.

    A number counts if it divides how often nearly every record occurs, of those that only copies equal. Greedy sampling
    gives one record many times, which shows nothing; where a prompt has several, each sharing out of its n responses to
    d records is as likely as any other (as where their probabilities are drawn uniformly), so that chance gives
    multiples of k everywhere with C(n/k - 1, d - 1) / C(n - 1, d - 1).

    Args:
        row: shape (responses,), the prompt of each.
        record: digest of the whole record of each; its bits say what it is of.
        prompts: their number.
    """
    times = np.ones(prompts, dtype=np.int64)
    sure = (record & IDENTIFIES != 0) & (record & BARE == 0)
    row, record = row[sure], record[sure]
    order = np.lexsort((record, row))
    row, record = row[order], record[order]
    starts = np.flatnonzero(_changes(row, record))
    runs = np.diff(np.append(starts, row.size))
    n, d = np.bincount(row, minlength=prompts), np.bincount(row[starts], minlength=prompts)
    several, of = d > 1, int(np.count_nonzero(d > 1))
    if not of:
        return times
    log_factorial = np.append(0.0, np.cumsum(np.log(np.arange(1, int(n.max()) + 1))))
    for number in range(MOST_TIMES, 1, -1):
        multiples = (n > 0) & (np.bincount(row[starts], runs % number != 0, prompts) == 0)
        found = int(np.count_nonzero(multiples & several))
        if found < NEARLY_ALL * of:
            continue
        can = several & (n % number == 0) & (d * number <= n)
        units, all_, kinds = n[can] // number, n[can], d[can]
        chance = log_factorial[units - 1] - log_factorial[units - kinds]
        chance -= log_factorial[all_ - 1] - log_factorial[all_ - kinds]  # the factor (d - 1)! is in both
        if _is_beyond_share(found, float(np.exp(chance).sum()), of):
            times[multiples] = number
            return times
    return times


def _is_beyond_share(found: float, expected: float, of: int) -> bool:
    """True if so many of these are as good as impossible where so few are expected (Hoeffding, JASA 1963)."""
    rest = of - found
    nats = found * math.log(found / max(expected, 1e-300)) if found else 0.0
    nats += rest * math.log(rest / max(of - expected, 1e-300)) if rest else 0.0
    return found > expected and nats > SURE


def _steps_again(dump: CheckInput, kept: PerPrompt) -> Findings:
    """Yield the finding on steps whose responses are those of an earlier step, with the same log-probs or texts."""
    sample = kept.sample
    told = np.flatnonzero((sample.record & IDENTIFIES != 0) & (sample.record & BARE == 0))
    if len(dump.steps) < 2 or not told.size:
        return
    row, record, place = sample.row[told], sample.record[told], sample.place[told]
    quick = np.sort(record)
    if not np.any(quick[1:] == quick[:-1]):  # as in most dumps
        return
    number_of, step, prompt = _apart(dump)
    order = np.lexsort((step[row], record, prompt[row]))
    row, record, place = row[order], record[order], place[order]
    starts = _changes(prompt[row], record)
    first = np.maximum.accumulate(np.where(starts, np.arange(row.size), 0))  # of the earliest step among equal records
    earlier, later = step[row[first]], step[row]
    again = (earlier >= 0) & (later >= 0) & (earlier != later)
    if not again.any():
        return
    in_step = np.bincount(later + 1, minlength=len(number_of) + 1)[1:]
    copies = np.bincount(later[again], minlength=len(number_of))
    repeats = [
        one
        for one in np.flatnonzero((copies > 0) & (copies >= NEARLY_ALL * in_step)).tolist()
        if _is_no_chance(row[later == one], record[later == one], again[later == one])
    ]
    if not repeats:
        return
    names = list(number_of)
    pairs = [(names[one], names[np.bincount(earlier[again & (later == one)]).argmax()]) for one in repeats]
    message = ", ".join(f"step {one} repeats step {other}" for one, other in pairs[:NAMED])
    message += f" and {len(pairs) - NAMED:,} more do such" if len(pairs) > NAMED else ""
    weight = 2**sample.level
    count, of = int(copies[repeats].sum()) * weight, max(kept.digested, dump.responses)
    about, sampled = ("about ", f" (in a sample of {KEPT:,})") if weight > 1 else ("", "")
    message += f": {about}{count:,} of {counted(of, 'response')} have the numbers and texts"
    message += f" of an earlier step's, under the same prompts{sampled}"
    found = np.flatnonzero(again & np.isin(later, repeats))
    found = found[np.argsort(place[found], kind="stable")[:FEW]]
    evidence = dump.evidence(Location(int(place[i]), int(row[i])) for i in found)
    remedy = (
        "Write each step once. If rollouts are reused for several updates on purpose, `--ignore duplicate-records`."
    )
    severity = _of_copies(dump, count / of)
    yield finding("duplicate-records", message, count, of, "responses", evidence, severity, remedy)


def _apart(dump: CheckInput) -> tuple[dict[str, int], Any, Any]:
    """Return the number of each step, and the numbers of the step and of the id of each prompt.

    A prompt is `step/id`; -1 is the step of a prompt without one.
    """
    labels = sorted((label for label in dump.steps if label is not None), key=lambda one: (isinstance(one, str), one))
    steps = {part_of_id(label): number for number, label in enumerate(labels)}
    ids: dict[str, int] = {}
    step, prompt = np.full(len(dump.groups), -1), np.empty(len(dump.groups), dtype=np.int64)
    for at, key in enumerate(map(str, dump.groups.keys())):
        name, slash, rest = key.partition("/")
        if slash and name in steps:
            step[at] = steps[name]
        prompt[at] = ids.setdefault(rest if step[at] >= 0 else key, len(ids))
    return steps, step, prompt


def _is_no_chance(row: Any, record: Any, again: Any) -> bool:
    """True if a policy that stays the same does not write so many of these records again by chance.

    A response that is the only one of its kind shows that others are likely: the share of such estimates how often one
    is new (Good, "The Population Frequencies of Species", Biometrika 1953). There are few where few responses are
    possible, as letters of a choice, or where sampling is greedy; a single response to a prompt shows nothing.

    Args:
        row: shape (responses,), the prompt of each, in ascending order of prompt and record.
        record: digest of the whole record of each.
        again: True for those that an earlier step has, too.
    """
    is_first = np.append(_changes(row, record), True)
    among_others = np.bincount(row)[row] > 1
    alone = int(np.count_nonzero(is_first[:-1] & is_first[1:] & among_others))
    of, found = int(np.count_nonzero(among_others)), int(np.count_nonzero(again & among_others))
    if not of or alone < MOSTLY_NEW * of:
        return False
    prompts = int(np.count_nonzero(np.bincount(row) > 1))  # the responses to one are not independent of each other
    return _is_beyond_share(found / of * prompts, prompts * (of - alone + 1) / (of + 1), prompts)


def _changes(row: Any, record: Any) -> Any:
    """Return where another record or prompt than that before begins; both are in order."""
    begins = np.ones(row.size, dtype=np.bool_)
    begins[1:] = (row[1:] != row[:-1]) | (record[1:] != record[:-1])
    return begins


def _equal_pairs(row: Any, digest: Any, wanted: Any, prompts: int) -> tuple[Any, Any]:
    """Return, for each prompt, the number of pairs of the wanted responses, and of those that are equal."""
    row, digest = row[wanted], digest[wanted]
    order = np.lexsort((digest, row))
    row, digest = row[order], digest[order]
    is_first = np.ones(row.size, dtype=np.bool_)
    is_first[1:] = (row[1:] != row[:-1]) | (digest[1:] != digest[:-1])
    starts = np.flatnonzero(is_first)
    runs, sizes = np.diff(np.append(starts, row.size)), np.bincount(row, minlength=prompts)
    return sizes * (sizes - 1) // 2, np.bincount(row[starts], runs * (runs - 1) // 2, prompts)


def _is_beyond_chance(found: int, expected: float) -> bool:
    """True if so many are as good as impossible where so few are expected (Chernoff's bound for a Poisson number)."""
    return found > expected and found * math.log(found / max(expected, 1e-300)) - (found - expected) > SURE
