"""The lines of a summary → the results of its sources, ready to be folded; and whether summaries fit together.

The counterpart of `summary_writing`, which describes the form. Reads summaries of versions 1, with and
without evidence, and 2, which has what one double loses of a sum. Knows no records.
"""

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from itertools import chain, pairwise
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from budget_cli import native
from budget_cli.errors import InputProblem, UsageProblem
from budget_cli.evidence.advantages import BUDGET, Advantages, column_names
from budget_cli.evidence.responses import THRESHOLDS, ObservationSpec
from budget_cli.groups.groups import Groups
from budget_cli.groups.lengths import Lengths
from budget_cli.groups.moments import RIGHT, Floats, Layout, Table
from budget_cli.ids import Ids, Key, Packed
from budget_cli.records.columns import LeftOut, Rejection, Tally
from budget_cli.scanning import evidence_json
from budget_cli.scanning.state import SourceResult, Summary
from budget_cli.scanning.summary_checks import (
    VERSIONS,
    check_rows,
    checked_header,
    layout_of,
    opened,
    parsed_lines,
    refuse,
    row_of_duplicate,
)
from budget_cli.schema.fields import KINDS, UNUSABLE, WHERE, Fields
from budget_cli.schema.parsing import place_text
from budget_cli.schema.paths import Place, Step
from budget_cli.schema.presets import ALL, CANONICAL
from budget_cli.sources import blocks
from budget_cli.sources import local as sources
from budget_cli.sources.local import SUMMARY, Source

SCHEMA = f"budget-cli/{SUMMARY}"
MOST_STEPS = 2  # in a header: whether there is one step is all that anybody asks
ALIKE = ("fields", "records_are", "group", "prompts_of_steps", "leave_out")  # settings; the last two since 0.2
NEED_OF = {"response_length": "length", "log_prob": "log_probs", "old_log_prob": "log_probs"}  # in a header's `needs`
DAMAGED = "seen: not the evidence of a summary"
LONGEST = 64 << 20  # bytes of a header, as of a line of records (--max-line-bytes)


def settings_of(fields: Fields, options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the settings of a summary, most of which must be equal for everything that is folded together.

    Args:
        fields: what is read from the records.
        options: the options for that, as in a header, but for places.
    """
    moved = {name: place_text(place) for name, place in fields.places if name not in KINDS and place != (Step(name),)}
    return {
        "fields": {name: place_text(fields.paths[name]) for name in KINDS},
        "records_are": fields.records,
        "group": fields.group,
        "prompts_of_steps": fields.prompts_of_steps,
        "needs": {"length": fields.needs_length, "log_probs": fields.needs_log_probs},
        **({"leave_out": _leave_out(fields)} if fields.leave_out or fields.empty_reason else {}),
        "options": {"places": moved, **(options or {})},
    }


def _leave_out(fields: Fields) -> dict[str, str]:
    """Return what is left out, by reason."""
    empty = {fields.empty_reason: "no samples"} if fields.empty_reason else {}
    return {reason: place_text(place) for reason, place in fields.leave_out} | empty


def thresholds_of(spec: ObservationSpec) -> dict[str, float]:
    """Return the thresholds that apply while records are read, by the names that the checks give them."""
    return {name: getattr(spec, attribute) for name, attribute in THRESHOLDS.items()}


def header_of(source: Source) -> dict[str, Any]:
    """Read the header of a summary, its first line.

    Raises:
        InputProblem: it is too long, or is no header.
    """
    head = b""
    for most in (1 << 16, 1 << 20, 1 << 24, LONGEST + 1):
        head = sources.head(source, most)
        if b"\n" in head or len(head) < most:
            break
    line, newline, _ = head.partition(b"\n")
    if not newline and len(line) > LONGEST:
        raise InputProblem(source.name, f"the header of this summary is longer than {LONGEST:,} bytes")
    return checked_header(source.name, opened(line)[0])


def require_alike(
    headers: Mapping[str, dict[str, Any]],
    fields: Fields,
    layout: Layout,
    beside_records: bool,
    options: Mapping[str, Any] | None = None,
    asked: Collection[int] | None = None,
) -> None:
    """Check that these summaries can be folded together and hold what the command needs.

    Args:
        headers: by the name of the summary.
        fields: what the coefficients need, and what is read from records.
        layout: the budgets, and those of right responses.
        beside_records: True if records are read, too; then the summaries must have been made with the same fields.
        options: those for the records, as in a header.
        asked: the budgets of the command; others are those that its objective needs. None: all are of the command.

    Raises:
        UsageProblem: a summary has no such budget, lengths or log-probs, or was made with different fields.
    """
    first, expected = next(iter(headers.items()))
    if beside_records:
        first, expected = "the records", settings_of(fields, options)
    for name, header in headers.items():
        _require_own_budgets(name, header, layout)
        for budget in layout.budgets:
            if budget not in header["budgets"]:
                has = ", ".join(map(str, header["budgets"])) or "none"
                if asked is not None and budget not in asked:
                    raise UsageProblem(
                        f"{name}: this summary has the excess over {has}, and the objective needs that over {budget},"
                        " too: summarize again with the same --objective and --set"
                    )
                raise UsageProblem(
                    f"{name}: this summary was made for other budgets ({has}), not {budget}: give one of those with -B,"
                    f" or summarize again with {budget}"
                )
        _require_right(name, header, layout)
        for need, known, what, instead in (
            (fields.needs_log_probs, header["with_log_ratio"], "log-probs", "--kl-coef 0"),
            (fields.needs_length, header["with_length"], "lengths", fields.without_length),
        ):
            if need and known < header["responses"]:
                raise UsageProblem(
                    f"{name}: this summary has {what} of {known:,} of {header['responses']:,} responses: give {instead}"
                )
        for setting in ALIKE:
            nothing: Any = {} if setting == "leave_out" else False
            has, wanted = header.get(setting, nothing), expected.get(setting, nothing)
            if has != wanted:
                one, other = _differing(has, wanted)
                raise UsageProblem(
                    f"{name}: this summary was made with {setting} {one}, but {first} with {other}: they cannot be"
                    " combined"
                )
        apart = [part["options"].get("ids_per_file", False) for part in (header, expected) if "options" in part]
        if len({*apart}) > 1:
            one, other = ("with --ids-per-file" if each else "without" for each in apart)
            raise UsageProblem(f"{name}: this summary was made {one}, but {first} {other}: they cannot be combined")


def _require_own_budgets(name: str, header: Mapping[str, Any], layout: Layout) -> None:
    """Require a summary of the same budgets of records, or of none if none are asked for."""
    has, wanted = layout_of(dict(header)).own, layout.own
    if (has and has._replace(factors=())) == (wanted and wanted._replace(factors=())) and (
        has is None or wanted is None or {*wanted.factors} <= {*has.factors}
    ):
        return
    made = "budgets of records" if has is not None else "one budget for all records"
    raise UsageProblem(
        f"{name}: this summary was made with {made}, not with those of this objective: summarize again with the same"
        " --objective, --set and -B"
    )


def _require_right(name: str, header: Mapping[str, Any], layout: Layout) -> None:
    """Require the columns of right responses that an objective is computed from."""
    lacking = [budget for budget in layout.right if budget not in header.get("right", ())]
    differs = bool(layout.right) and header.get("correct_above") != layout.correct_above
    if layout.by_token and "by_token" not in header:
        raise UsageProblem(
            f"{name}: this summary has no sums over tokens: summarize again with --set aggregate=token, or give"
            " --aggregate response"
        )
    if lacking or differs:
        raise UsageProblem(
            f"{name}: this summary has no excess of right responses (reward above {layout.correct_above:g}), which the"
            " objective penalises alone: summarize again with the same --objective and --set"
        )


def require_as_given(
    headers: Mapping[str, dict[str, Any]],
    places: Mapping[str, Place],
    group: str,
    joins_steps: bool,
    where: str | None,
    options: Mapping[str, Any],
) -> None:
    """Check that these summaries were made with the options for fields, prompts and samples that are given now.

    Args:
        headers: by the name of the summary.
        places: those that the user gives, by field.
        group: what a prompt is by `--group` or `--group-size`, as in a header; "": not given.
        joins_steps: True with `--group prompt`.
        where: the value of `--where`.
        options: the other options that are given, as in a header.

    Raises:
        UsageProblem: one was made without such an option, which would have no effect.
    """
    for name, header in headers.items():
        left_out, made = header.get("leave_out", {}), header.get("options")
        if joins_steps and header.get("prompts_of_steps"):
            _refuse_option("--group prompt", name, "was made with prompts of steps")
        if group and header.get("group", "") != group:
            given = f"--group-size {group.partition(' ')[0]}" if group.endswith(" lines") else f"--group {group}"
            _refuse_option(given, name)
        if where is not None and left_out.get(WHERE) != where:
            was = f"was made with --where {left_out[WHERE]!r}" if WHERE in left_out else "was made without it"
            _refuse_option(f"--where {where!r}", name, was)
        for field, place in places.items():
            text, known = place_text(place), header["fields"] if field in KINDS or made is None else made["places"]
            there = known.get(field, None if made is None else field)
            if there != text and header.get("needs", {}).get(NEED_OF.get(field, ""), True):
                was = UNKNOWN if there is None else f"was made with {field}={there}"
                _refuse_option(f"--field {field}={text}", name, was)
        for option, value in options.items():
            for given, flag in _flags(option, value):
                if not _was_made_with(option, given, made or {}, left_out):
                    _refuse_option(flag, name, UNKNOWN if made is None else _made_with(option, made))


UNKNOWN = "was made by an earlier version, which does not say whether with it"


def _refuse_option(given: str, name: str, why: str = "was made without it") -> NoReturn:
    raise UsageProblem(
        f"{given}: {name} {why}: a summary holds no single records, so leave it out, or summarize again with it"
    )


def _flags(option: str, value: Any) -> list[tuple[Any, str]]:
    """Return each value of an option with what the user gave."""
    flag = f"--{option.replace('_', '-')}"
    if value is True:
        return [(value, flag)]
    return [(each, f"{flag} {each}") for each in (value if isinstance(value, list) else [value])]


def _was_made_with(option: str, given: Any, made: Mapping[str, Any], left_out: Mapping[str, str]) -> bool:
    """True if a summary with these options was made with this value of an option."""
    has = made.get(option)
    if option == "preset":
        return bool(given == (has or CANONICAL))
    if option == "tokenizer":
        return bool(given.rpartition("@")[2] == (has or "").rpartition("@")[2])
    if option == "keep" and given == ALL:
        return bool(made) and not set(left_out) - {WHERE, *UNUSABLE}
    if option == "keep" and ALL in (has or []) and given not in left_out:
        return True
    return given in has if isinstance(has, list) else bool(given == has)


def _made_with(option: str, made: Mapping[str, Any]) -> str:
    has = made.get(option)
    return "was made without it" if not has else f"was made with {has if isinstance(has, str) else ', '.join(has)}"


def merged_settings(headers: Mapping[str, dict[str, Any]], of_records: dict[str, Any] | None) -> dict[str, Any]:
    """Return the settings of a summary of these summaries, which can be folded together.

    Args:
        headers: by the name of the summary.
        of_records: the settings of the records that are read along with them; None: there are none.

    Returns:
        The settings; of the options, those with which all of them were made.
    """
    parts = [*([] if of_records is None else [of_records]), *headers.values()]
    merged = {name: parts[0][name] for name in (*ALIKE, "needs") if name in parts[0]}
    merged["needs"] = {
        need: all(part.get("needs", {}).get(need, True) for part in parts) for need in merged.get("needs", {})
    }
    if all("options" in part for part in parts):
        first, *others = (part["options"] for part in parts)
        merged["options"] = {
            name: value for name, value in first.items() if all(other.get(name) == value for other in others)
        }
        merged["options"].setdefault("places", {})
    return merged


def _length_origins(header: dict[str, Any]) -> Counter[str]:
    """Return the number of lengths by origin; a summary of version 0.1.0, which does not say it, had no tokenizer."""
    origins = header.get("length_origins")
    known = {"field": header["with_length"]} if header["with_length"] else {}
    return Counter(known if origins is None else origins)


def require_one_tokenizer(headers: Mapping[str, dict[str, Any]], fields: Fields) -> None:
    """Check that all lengths that were counted, here and in these summaries, are tokens of one tokenizer.

    Raises:
        UsageProblem: there are two, so that no budget fits both.
    """
    counted = [] if fields.tokenizer is None else [("--tokenizer", fields.tokenizer.label)]
    for name, header in headers.items():
        counted += [(name, origin) for origin in _length_origins(header) if origin not in ("field", "tokens")]
    for name, label in counted[1:]:
        first, expected = counted[0]
        if label.rpartition("@")[2] != expected.rpartition("@")[2]:
            raise UsageProblem(
                f"{name}: its lengths were counted by {label}, but those of {first} are by {expected}: a token budget"
                " cannot be compared with both; summarize again with one tokenizer"
            )


def _differing(one: Any, other: Any) -> tuple[str, str]:
    """Show two settings, of mappings only the entries that differ."""
    if not isinstance(one, dict):
        return repr(one), repr(other)
    names = [name for name in dict.fromkeys([*one, *other]) if one.get(name) != other.get(name)]
    shown, other_shown = (", ".join(f"{name}={each.get(name)}" for name in names) for each in (one, other))
    return shown, other_shown


def missing_right(headers: Mapping[str, dict[str, Any]], above: float) -> str | None:
    """Say why it is not known which responses of these summaries are right, and what to do; None if it is.

    Args:
        headers: by the name of the summary.
        above: the reward above which a response is right.
    """
    for name, header in headers.items():
        known = header.get("correct_above")
        if known is None:
            columns = f"columns {' and '.join(RIGHT)}"
            return f"{name}: this summary does not count right responses ({columns}): summarize again"
        if known != above:
            return (
                f"{name}: in this summary a response is right above a reward of {known:g}, not {above:g}: give --set"
                f" correct_above={known:g}, or summarize again with --set correct_above={above:g}"
            )
    return None


def missing_evidence(headers: Mapping[str, dict[str, Any]], spec: ObservationSpec) -> str | None:
    """Say why the checks cannot run on these summaries, and what to do; None if they can.

    Args:
        headers: by the name of the summary.
        spec: the thresholds to check with.
    """
    for name, header in headers.items():
        counted = _observed_with(header)
        if counted is None:
            return f"{name}: this summary of an earlier version has no evidence for the checks: summarize again"
        for threshold, wanted in thresholds_of(spec).items():
            used = counted[threshold]
            if used != wanted:
                return (
                    f"{name}: this summary was made with {threshold}={used:g}, not {wanted:g}, and the threshold"
                    f" applies while records are read: give --threshold {threshold}={used:g}, or check the records"
                )
    return None


def without_advantages(headers: Mapping[str, dict[str, Any]]) -> str:
    """Say which summary does not tell what advantages were stored, and what to do; "" if all of them do."""
    name = next((name for name, header in headers.items() if "with_advantage" not in header), None)
    if name is None:
        return ""
    return f"{name}: this summary of an earlier version has no sums of stored advantages: summarize again"


def _observed_with(header: dict[str, Any]) -> dict[str, float] | None:
    """Return the thresholds with which responses were observed; None if they were not observed."""
    thresholds = header.get("thresholds")
    if "seen" not in header or not isinstance(thresholds, dict):
        return None
    used: dict[str, Any] = {name: thresholds.get(name) for name in THRESHOLDS}
    return used if all(type(value) in (int, float) for value in used.values()) else None


def read(
    source: Source,
    layout: Layout,
    spec: ObservationSpec | None = None,
    sample_rewards: bool = False,
    max_line_bytes: int = LONGEST,
) -> Summary:
    """Read a whole summary.

    Args:
        source: the summary.
        layout: the budgets whose columns are read, and the threshold above which a reward is right.
        spec: what to observe; evidence is read only if the summary was made with the same thresholds.
        sample_rewards: True to read the sample of rewards, which depends on no threshold.
        max_line_bytes: the longest line that is read.

    Raises:
        InputProblem: the summary is truncated, damaged or edited, or a line is too long.
    """
    stream = blocks.cut(source.name, sources.pieces(source), max_line_bytes)
    first = next(stream, None)
    line, _, rest = (b"" if first is None else bytes(first.view)).partition(b"\n")
    _require_short(source, 1, line, max_line_bytes)
    line, checksum = opened(line)
    header, digest = checked_header(source.name, line), hashlib.blake2b(line, digest_size=16)
    width = len(header["columns"]) + 1  # the number of the source, then the columns
    keys, prompts = [Packed.from_ids([])], 0
    places, rows, size = [np.zeros(0, np.intp)], [np.zeros((0, width))], len(line) + 1
    ids = Ids()
    for data in chain([rest], (bytes(block.view) for block in stream)):
        size += len(data)
        digest.update(data)
        _require_short(source, prompts + 2, data, max_line_bytes)
        found, counts, values = _parsed(source, data, prompts + 2)
        if np.any(counts % width) or not np.all(counts):
            at = int(np.argmax((counts % width != 0) | (counts == 0)))
            refuse(source.name, prompts + at + 2, f"row: expected {width} numbers for each source")
        packed = Packed.from_ids(found)
        again = row_of_duplicate(ids.places(packed) - prompts)
        if again is not None:
            refuse(source.name, prompts + again + 2, "prompt_id: it occurs before")
        places.append(np.repeat(np.arange(prompts, prompts + len(found)), counts // width))
        rows.append(values.reshape(-1, width))
        keys.append(packed)
        prompts += len(found)
    if prompts != header["prompts"]:
        raise InputProblem(source.name, f"truncated summary: it has {prompts:,} of {header['prompts']:,} prompts")
    of_prompts, numbers = np.concatenate(places), np.concatenate(rows)
    all_budgets = layout_of(header)
    check_rows(source.name, header, numbers, of_prompts, _table(header, numbers, all_budgets))
    if checksum is None and header.get("schema") == VERSIONS[-1]:
        refuse(source.name, 1, "checksum: missing")
    if checksum is not None and digest.hexdigest() != checksum:
        refuse(source.name, 1, "checksum: that of the lines is another")
    evidence, packed = _evidence(source, header, spec), Packed.concatenate(keys)
    results = _source_results(source, header, layout, packed, of_prompts, numbers, evidence)
    tally = Tally(
        **header["records"],
        by_code=Counter(header["rejected"]),
        by_absent_field=Counter(header["lacking"]),
        left_out=Counter(header.get("left_out", {})),
        length_origins=_length_origins(header),
    )
    left_out = [LeftOut(*place) for place in header.get("left_out_places", [])]
    rejections = [Rejection(**rejection) for rejection in header["rejections"]]
    incomplete = [(name, why) for name, why in header["incomplete"]]
    sample = evidence_json.reward_sample(header.get("seen", [])) if sample_rewards else None
    if sample_rewards and sample is None:
        refuse(source.name, 1, DAMAGED)
    return Summary(results, tally, rejections, incomplete, size, set(header.get("steps", [])), left_out, sample)


def _evidence(source: Source, header: dict[str, Any], spec: ObservationSpec | None) -> list[Any]:
    """Return each source's evidence as JSON; None for all if it was not gathered with these thresholds."""
    number = len(header["sources"])
    if spec is None or _observed_with(header) != thresholds_of(spec):
        return [None] * number
    evidence = header["seen"]
    if not isinstance(evidence, list) or len(evidence) != number or None in evidence:
        refuse(source.name, 1, DAMAGED)
    return evidence


def _require_short(source: Source, first: int, data: bytes, most: int) -> None:
    """Refuse a line of more than `most` bytes; `first` is the number of the first line of the data."""
    if len(data) > most:
        for number, line in enumerate(data.split(b"\n"), start=first):
            if len(line) > most:
                raise InputProblem(source.name, f"line {number:,} is longer than {most:,} bytes (--max-line-bytes)")


def _parsed(source: Source, data: bytes, line: int) -> tuple[Sequence[Key], NDArray[np.int64], Floats]:
    """Return the ids in these lines, how many numbers each line has, and all the numbers."""
    if native.AVAILABLE:
        from budget_cli.records import compiled  # can be imported only where it was compiled

        plain = compiled.ids_and_rows(data, "prompt_id", "row")
        if plain is not None:
            return plain
    return parsed_lines(source.name, data, line)


def _table(header: dict[str, Any], rows: Table, layout: Layout) -> Table:
    """Return the rows in the columns of a layout; NaN for what is right, if that is not known of its threshold."""
    table = np.repeat(layout.empty(1), len(rows), axis=0)
    column = {name: i for i, name in enumerate(header["columns"], start=1)}
    for i, name in enumerate(layout.names):
        if name in column:
            table[:, i] = rows[:, column[name]]
    if header.get("correct_above") != layout.correct_above:
        for name in RIGHT:
            table[:, layout.at(name)] = np.nan
    return table


def _advantages(header: dict[str, Any], rows: Table, layout: Layout) -> tuple[list[int], Floats] | None:
    """Return the budgets and the sums of the stored advantages of each row; None if there are none."""
    at = {name: i for i, name in enumerate(header["columns"], start=1)}
    if "a_n" not in at:
        return None
    budgets = [budget for budget in layout.budgets if f"{BUDGET}@{budget}" in at]
    return budgets, rows[:, [at[name] for name in column_names(budgets)]]


def _source_results(
    source: Source,
    header: dict[str, Any],
    layout: Layout,
    keys: Packed,
    places: NDArray[np.intp],
    rows: Table,
    evidence: list[Any],
) -> list[SourceResult]:
    """Return the result of each source. The first carries the lengths and counts of all, which add in any order."""
    table, sums = _table(header, rows, layout), _advantages(header, rows, layout)
    number = rows[:, 0].astype(np.intp)
    order = np.argsort(number, kind="stable")
    bounds = np.searchsorted(number[order], np.arange(len(header["sources"]) + 1)).tolist()
    results = []
    for name, (begin, end), shown in zip(header["sources"], pairwise(bounds), evidence, strict=True):
        selected = order[begin:end]
        prompts = places[selected]
        if np.array_equal(places, np.arange(len(keys))) and selected.size == len(keys):  # all rows, in order
            groups = Groups.from_rows(layout, keys, table)
        else:
            groups = Groups.from_rows(layout, keys.take(prompts), table[selected])
        observed = None if shown is None else evidence_json.from_json(shown, prompts, layout.budgets)
        if shown is not None and observed is None:
            refuse(source.name, 1, DAMAGED)
        if observed is not None:
            observed.advantages.is_known = "with_advantage" in header
        if observed is not None and sums is not None:
            of_source = observed.advantages
            observed.advantages = Advantages(sums[0], sums[1][selected])
            observed.advantages.sample, observed.advantages.first = of_source.sample, of_source.first
        results.append(SourceResult(name, groups, observed))
    if results:
        first = results[0].groups
        first.lengths = Lengths.from_items(header["lengths"])
        first.with_length, first.with_log_ratio = header["with_length"], header["with_log_ratio"]
        first.row_count += header.get("rows", header["responses"]) - header["responses"]
    return results
