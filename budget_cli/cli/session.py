"""Files as typed → a scan, with its progress shown where somebody looks on."""

import contextlib
import gc
import os
import shlex
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from budget_cli import native
from budget_cli.cli import console
from budget_cli.cli.options import Engine, GroupBy
from budget_cli.errors import OutputProblem, UsageProblem
from budget_cli.evidence.responses import ObservationSpec
from budget_cli.groups.moments import Layout
from budget_cli.records.columns import ALL_REJECTIONS, FIRST_TEN, RejectionLimit
from budget_cli.records.jsonl import Limits
from budget_cli.scanning import summary
from budget_cli.scanning.scan import scan
from budget_cli.scanning.state import Plan, Scan
from budget_cli.schema.fields import EXTRAS, KINDS, Fields, singular, weights_expression
from budget_cli.schema.parsing import parse_place
from budget_cli.sources import local as sources
from budget_cli.sources.local import Kind, Source

WORTH_A_COMPILER = 1 << 28  # bytes; reading fewer is over before anybody wonders
LABEL = "by"  # among the extras: what --by names

if TYPE_CHECKING:
    from budget_cli.cli.progress import SoFar
    from budget_cli.records.detection import Sniffed
    from budget_cli.schema.presets import Preset


def find(files: list[str] | None, output: str | None = None, rejects: str | None = None) -> list[Source]:
    """The sources that these files mean; standard input where there are none.

    Raises:
        UsageProblem: no files, and nothing is piped in; or an output would take the place of an input.
        InputProblem: a file is not there.
    """
    gc.freeze()
    gc.enable()
    if not files and not sources.stdin_is_piped():
        raise UsageProblem("no files: name some, or a directory, or pipe records in (see budget-cli loss --help)")
    found = sources.find(files or ["-"])
    for option, path in (("-o", output), ("--rejects", rejects)):
        identity = None if path is None else sources.identity_of(path)
        if identity is not None and identity in {source.identity for source in found}:
            raise UsageProblem(f"{option} {path}: is one of the inputs; give the result a name of its own")
    return found


def as_typed(
    fields: Fields, field: list[str] | None, reward_weights: list[str] | None, group: GroupBy | None
) -> tuple[list[str], Fields]:
    """What `--field`, `--reward-weights` and `--group` say: mappings, and the fields with the group.

    Raises:
        UsageProblem: one of them makes no sense, or two contradict each other.
    """
    mappings = list(field or [])
    names = {mapping.partition("=")[0] for mapping in mappings}
    if reward_weights:
        if "reward" in names:
            raise UsageProblem("--reward-weights and --field reward=… both say what the reward is: give one")
        mappings += weights_expression(reward_weights)
    if group is not None:
        if "prompt_id" in names:
            raise UsageProblem("--group and --field prompt_id=… both say what a prompt is: give one")
        fields = replace(fields, group=group.value)
    fields.with_mappings(mappings)
    return mappings, fields


def _require_once(found: list[Source], headers: Mapping[str, Any]) -> None:
    """That no source is read beside a summary of it.

    Raises:
        UsageProblem: one is, so its records would count twice.
    """
    read = {os.path.normpath(source.name): source.name for source in found if source.name not in headers}
    for name_of_summary, header in headers.items():
        for name in header["sources"]:
            if os.path.normpath(name) in read:
                raise UsageProblem(
                    f"{read[os.path.normpath(name)]}: is in the summary {name_of_summary}, too: give one of them"
                )


def require_records(found: list[Source], command: str) -> None:
    """That each of these sources holds records.

    Raises:
        UsageProblem: one is a summary.
    """
    for source in found:
        if source.kind is Kind.SUMMARY:
            raise UsageProblem(f"{source.name}: a summary holds no single records, which is what {command} is about")


def labelled(by: str, fields: Fields) -> tuple[str, Fields]:
    """What the plan of a scan calls the labels that `--by` names, and the fields with those among them.

    Raises:
        UsageProblem: neither `file` nor a place in a record.
    """
    if by == "file":
        return by, fields
    if EXTRAS.get(by) == "label" and by != LABEL:  # a field that a preset may place
        return by, replace(fields, extras=(by,))
    try:
        place = parse_place(by)
    except UsageProblem as problem:
        raise UsageProblem(f"--by {by}: expected file, or where a field is: {problem}") from None
    places = dict(fields.paths) | {LABEL: place}
    return LABEL, replace(fields, places=tuple(places.items()), extras=(LABEL,))


def placed(
    found: list[Source],
    fields: Fields,
    mappings: list[str],
    preset: str | None,
    preset_files: list[str],
    quiet: bool,
    in_full: bool = False,
) -> Fields:
    """Where the fields of these sources are: by a preset, or the one that the first records show, and as told.

    Where an id counts within its file, the file is a part of it if there are several; `in_full`: always, by its whole
    name, as others will be added.

    Raises:
        UsageProblem: nobody can tell, or what is needed is not in such a dump.
    """
    found = [source for source in found if source.kind is not Kind.SUMMARY]
    if not found:
        return fields.with_mappings(mappings)
    from budget_cli.records import detection

    as_told = fields.with_mappings(mappings)
    where = found[0].name + (f" and {len(found) - 1} more" if len(found) > 1 else "")
    if preset is None:
        record = detection.canonical_first_record(found, as_told)
        if record is not None and detection.character_length_warning([record], as_told) is None:
            return as_told
    from budget_cli.schema import presets

    known = presets.load(preset_files)
    begun = detection.sniff(found)
    chosen = preset_of(begun, known, preset, as_told, mappings)
    if chosen is None:
        _doubt(begun, as_told, where, quiet)
        return as_told
    fields = chosen.apply_to(fields).with_mappings(mappings)
    if fields.id_file_prefix is not None and not in_full:
        fields = replace(fields, id_file_prefix=_common(found) if len(found) > 1 else None)
    if not quiet:
        console.say(f"{where}: reading as {chosen.name}: {chosen.summary(fields)}")
    if fields.unmapped:
        raise UsageProblem(_lacking(chosen.name, fields, detection.numeric_keys(begun, chosen)))
    _doubt(begun, fields, where, quiet)
    return fields


def with_those_there(found: list[Source], fields: Fields, optional: Collection[str]) -> Fields:
    """The fields without the extras among `optional` that no first record has: to read on for them takes time."""
    from budget_cli.records import detection

    records = [source for source in found if source.kind is not Kind.SUMMARY]
    there = detection.extras_present(records, fields) if records else set()
    return replace(fields, extras=tuple(name for name in fields.extras if name in there or name not in optional))


def watch_of(
    budgets: tuple[int, ...], thresholds: Mapping[str, float], beta: float = 0.0, per_prompt: bool = True
) -> ObservationSpec:
    """What the checks, with these thresholds, want to be seen while records are read."""
    used = {called: thresholds[name] for name, called in summary.THRESHOLDS.items()}
    return ObservationSpec(budgets, used["positive"], used["outlier"], per_prompt, beta)


def _common(found: list[Source]) -> str:
    """The folder that all these names begin with: the same files of another folder give the same ids."""
    try:
        folder = os.path.commonpath([os.path.dirname(source.name) for source in found])
    except ValueError:  # some are absolute
        return ""
    return os.path.join(folder, "") if folder else ""


def _doubt(begun: "Sniffed", fields: Fields, where: str, quiet: bool) -> None:
    """Say what the lengths are, where they are used and look like characters."""
    from budget_cli.records import detection

    if fields.needs_length and not quiet:
        doubt = detection.character_length_warning(detection.samples(begun.values, fields), fields)
        if doubt is not None:
            console.say(f"{where}: warning: {doubt}")


def is_told_whole(as_told: Fields, mappings: list[str]) -> bool:
    """Whether the command line says where everything is that nothing can do without."""
    return {"prompt_id", "reward"} <= _said(as_told, mappings)


def _said(as_told: Fields, mappings: list[str]) -> set[str]:
    named = {singular(mapping.partition("=")[0]) for mapping in mappings} & set(KINDS)
    return named | ({"prompt_id"} if as_told.group else set())


def preset_of(
    begun: "Sniffed", known: "dict[str, Preset]", name: str | None, as_told: Fields, mappings: list[str]
) -> "Preset | None":
    """The preset of this name, or that of a dump that begins so; None: everything is where it is told.

    Raises:
        UsageProblem: there is none of this name, or nobody can tell.
    """
    from budget_cli.records import detection
    from budget_cli.schema import presets

    if name == presets.CANONICAL:
        return None
    if name is not None:
        return presets.find(name, known)
    if is_told_whole(as_told, mappings):
        return None
    return detection.detect_preset(begun, known, as_told, some_mapped=bool(_said(as_told, mappings)))


def _lacking(preset: str, fields: Fields, numbers: list[str]) -> str:
    """What a dump does not hold, and every way out; `numbers`: what might be rewards, where there is no total."""
    give = []
    if not fields.known >= {"log_prob", "old_log_prob"} and fields.needs_log_probs:
        give.append("--kl-coef 0")
    if "response_length" not in fields.known and fields.needs_length:
        give.append("--budget-penalty-coef 0")
    lacking = fields.unmapped
    if "reward" in lacking and numbers:
        weights = ",".join(f"{name}=1" for name in numbers)
        give.insert(0, f"--reward-weights {shlex.quote(weights)} with the weights of the run")
        lacking = [name for name in lacking if name != "reward"]
        ways = [f"give {' and '.join(give)}"]
    else:
        ways = [f"give {' '.join(give)} to do without"] if give else []
    if lacking:
        ways.append(("" if ways else "give ") + " ".join(f"--field {name}=PATH" for name in lacking))
    return f"a dump of {preset} holds no {' and no '.join(fields.unmapped)}: {', or '.join(ways)}"


@contextlib.contextmanager
def rereadable(found: list[Source]) -> Iterator[list[Source]]:
    """The same sources, to be read twice: what comes through a pipe is in a temporary file meanwhile.

    Raises:
        InputProblem: not all of a pipe's bytes could be had.
        OutputProblem: the temporary file could not be written.
    """
    import tempfile

    with contextlib.ExitStack() as stack:
        kept = []
        for source in found:
            if source.size is None:
                try:
                    file = stack.enter_context(tempfile.NamedTemporaryFile(prefix="budget-cli-"))
                    source = sources.spool(source, file)
                except OSError as error:
                    where = f"{source.name}: no temporary file in {tempfile.gettempdir()} ($TMPDIR)"
                    why = f"{error.strerror or error}; files given by name need none"
                    raise OutputProblem(f"{where}: {why}") from None
            kept.append(source)
        yield kept


def budgets_of_summaries(found: list[Source]) -> tuple[int, ...] | None:
    """The budgets that all summaries among these sources know; None where there is no summary."""
    headers = _headers(found)
    if not headers:
        return None
    return tuple(sorted(set.intersection(*(set(header["budgets"]) for header in headers.values()))))


def uncounted(found: list[Source], watch: ObservationSpec) -> str | None:
    """Why checks cannot be made of the summaries among these sources."""
    return summary.missing_evidence(_headers(found), watch)


def _headers(found: list[Source]) -> dict[str, dict[str, Any]]:
    return {source.name: summary.header_of(source) for source in found if source.kind is Kind.SUMMARY}


def scanned(
    found: list[Source],
    fields: Fields,
    budgets: tuple[int, ...],
    max_line_bytes: int,
    jobs: int | None,
    quiet: bool,
    verbose: bool,
    by: str = "",
    apart: bool = False,
    sample: int = 0,
    watch: ObservationSpec | None = None,
    keep: RejectionLimit = FIRST_TEN,
    repeated_keys: bool = False,
    engine: Engine = Engine.LOCAL,
) -> Scan:
    """Everything that these sources hold.

    Raises:
        UsageProblem: there are summaries among them that cannot be folded together, or do not answer for these budgets.
    """
    headers = _headers(found)
    if headers:
        if by:
            raise UsageProblem(f"--by {by}: {next(iter(headers))} is a summary, which holds no single records")
        _require_once(found, headers)
        summary.require_alike(headers, fields, budgets, len(headers) < len(found))
        if watch is not None and not apart:
            reason = summary.missing_evidence(headers, watch)
            if reason is not None:
                raise UsageProblem(reason)
            watch = watch._replace(per_prompt=False)
    limits = Limits(max_line_bytes, ALL_REJECTIONS if verbose else keep)
    plan = Plan(
        fields,
        Layout(budgets),
        limits,
        by,
        sample,
        keep_sources_apart=apart,
        observe=watch,
        look_for_duplicate_keys=repeated_keys,
    )
    with progress_over(found, quiet) as update:
        if engine is Engine.RAY:
            from budget_cli.scanning import ray as cluster

            return cluster.scan(found, plan, jobs, update)
        result = scan(found, plan, jobs, update)
    if result.bytes >= WORTH_A_COMPILER and not native.AVAILABLE:
        result.notes.append(
            "read without the compiled reader, which takes a fraction of the time: there was no C compiler when"
            " budget-cli was installed"
        )
    return result


@contextlib.contextmanager
def progress_over(found: list[Source], quiet: bool) -> "Iterator[Callable[[SoFar], None] | None]":
    """What to call after every block, if somebody looks on."""
    if not console.progress_wanted(quiet):
        yield None
        return
    from budget_cli.cli.progress import Progress

    sizes = [source.size for source in found]
    total = None if None in sizes or not all(source.at_once for source in found) else sum(s or 0 for s in sizes)
    with Progress(total) as progress:
        yield progress.update
