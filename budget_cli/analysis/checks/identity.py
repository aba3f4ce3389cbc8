"""Prompt ids, texts and responses → findings on duplicates, and on ids that do not match their texts."""

from typing import Any

import numpy as np

from budget_cli.analysis.checks.findings import CheckInput, Findings, finding
from budget_cli.analysis.numbers import counted, percent
from budget_cli.evidence.counters import FEW, Location
from budget_cli.evidence.distinct_sample import KEPT
from budget_cli.evidence.per_prompt import PerPrompt

BY_TEXT = "Group by the text: `{}`. If that varies on purpose, keep the id."
SPREAD = np.uint64(0x9E3779B97F4A7C15)  # odd, so that multiplying by it loses nothing


def check(dump: CheckInput) -> Findings:
    """Yield the findings on identity."""
    yield from _id_types(dump)
    if not dump.has_texts:
        yield from _first_texts(dump)
    if dump.per_prompt is not None:
        yield from _prompt_texts(dump)
        yield from _equal_responses(dump, dump.per_prompt)


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


def _first_texts(dump: CheckInput) -> Findings:
    """Yield what the first records show, which are read in any case."""
    for doubt in dump.doubts:
        if doubt.several_texts:
            remedy = BY_TEXT.format(doubt.remedy)
            yield finding("id-over-texts", doubt.message, doubt.prompts, doubt.of, "prompts", remedy=remedy)


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
        remedy = BY_TEXT.format(dump.by_prompt_text)
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
            f"Group by the text: `{dump.by_prompt_text}`.",
        )


def _equal_responses(dump: CheckInput, kept: PerPrompt) -> Findings:
    sample = kept.sample
    if not sample.digest.size:
        return
    row, place, digest = sample.row, sample.place, sample.digest
    quick = np.sort(digest ^ (row.astype(np.uint64) * SPREAD))
    if not np.any(quick[1:] == quick[:-1]):  # as in most dumps
        return
    order = np.lexsort((place, digest, row))
    row, digest, place = row[order], digest[order], place[order]
    is_first = np.ones(row.size, dtype=np.bool_)
    is_first[1:] = (row[1:] != row[:-1]) | (digest[1:] != digest[:-1])
    starts = np.flatnonzero(is_first)
    times = np.diff(np.append(starts, row.size))  # how often each distinct response of a prompt occurs
    if times.max() == 1:
        return
    weight = 2**sample.level
    prompts = len(dump.groups)
    copied = _copied_prompts(sample.row, sample.record, prompts)
    again = ~is_first
    for code, wanted in (("duplicate-records", copied[row]), ("identical-responses", ~copied[row])):
        found = np.flatnonzero(again & wanted)
        if not found.size:
            continue
        count, of = int(found.size) * weight, kept.digested
        about = f"about {count:,}" if weight > 1 else f"{count:,}"
        first = found[np.argsort(place[found], kind="stable")[:FEW]]
        evidence = dump.evidence(Location(int(place[i]), int(row[i])) for i in first)
        if code == "duplicate-records":
            often = int(times[copied[row[starts]]].max())
            several = int(np.count_nonzero(copied))
            message = f"every response to {counted(several, 'prompt')} occurs {often} times: {about} copies"
            severity = None
        else:
            message = (
                f"{about} of {counted(of, 'response')} ({percent(count, of)}) repeat another response to their prompt"
            )
            severity = "warning" if count >= dump.threshold("identical-responses.share") * of else "info"
        message += f" (in a sample of {KEPT:,})" if weight > 1 else ""
        yield finding(code, message, count, of, "responses", evidence, severity)


def _copied_prompts(row: Any, record: Any, prompts: int) -> Any:
    """Return a mask of the prompts with several distinct records that occur equally often, and more than once."""
    order = np.lexsort((record, row))
    row, record = row[order], record[order]
    is_first = np.ones(row.size, dtype=np.bool_)
    is_first[1:] = (row[1:] != row[:-1]) | (record[1:] != record[:-1])
    starts = np.flatnonzero(is_first)
    times = np.diff(np.append(starts, row.size))
    times[record[starts] == 0] = 1  # without a digest, records cannot be compared
    least, most = np.full(prompts, np.iinfo(np.int64).max), np.zeros(prompts, dtype=np.int64)
    np.minimum.at(least, row[starts], times)
    np.maximum.at(most, row[starts], times)
    return (np.bincount(row[starts], minlength=prompts) > 1) & (least == most) & (most > 1)
