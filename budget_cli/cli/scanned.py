"""Files as typed → a scan, with its progress shown where somebody looks on."""

import contextlib
import gc
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from budget_cli.cli import console
from budget_cli.errors import OutputProblem, UsageProblem
from budget_cli.groups.moments import Layout
from budget_cli.groups.observations import Watch
from budget_cli.reading import decoding, sources
from budget_cli.reading.decoding import Limits
from budget_cli.reading.fields import EXTRAS, KINDS, Fields, parse, singular
from budget_cli.reading.sources import Source
from budget_cli.scanning import summaries
from budget_cli.scanning.scan import Plan, Scan, scan

WORTH_A_COMPILER = 1 << 28  # bytes; reading fewer is over before anybody wonders
LABEL = "by"  # among the extras: what --by names

if TYPE_CHECKING:
    from budget_cli.cli.progress import SoFar


def find(files: list[str] | None) -> list[Source]:
    """The sources that these files mean; standard input where there are none.

    Raises:
        UsageProblem: no files, and nothing is piped in.
        InputProblem: a file is not there.
    """
    gc.freeze()
    gc.enable()
    if not files and not sources.stdin_is_piped():
        raise UsageProblem("no files: name some, or a directory, or pipe records in (see budget-cli loss --help)")
    return sources.find(files or ["-"])


def require_records(found: list[Source], command: str) -> None:
    """That each of these sources holds records.

    Raises:
        UsageProblem: one is a summary.
    """
    for source in found:
        if summaries.is_summary(source):
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
        place = parse(by)
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
) -> Fields:
    """Where the fields of these sources are: as told, by a preset, or as the first records show.

    Raises:
        UsageProblem: nobody can tell, or what is needed is not in such a dump.
    """
    found = [source for source in found if not summaries.is_summary(source)]
    if not found:
        return fields.with_mappings(mappings)
    chosen = None
    if preset is not None or not any(singular(mapping.partition("=")[0]) in KINDS for mapping in mappings):
        from budget_cli.reading import detection

        if preset is not None or not detection.is_canonical_at_once(found):
            from budget_cli.reading import presets

            known = presets.load(preset_files)
            chosen = presets.named(preset, known) if preset is not None else detection.preset_of(found, known)
    if chosen is not None:
        fields = chosen.applied(fields)
        if not quiet:
            where = found[0].name + (f" and {len(found) - 1} more" if len(found) > 1 else "")
            console.say(f"{where}: reading as {chosen.name}: {chosen.summary()}")
    fields = fields.with_mappings(mappings)
    if chosen is not None and fields.lacking:
        raise UsageProblem(_lacking(chosen.name, fields))
    return fields


def _lacking(preset: str, fields: Fields) -> str:
    """What a dump does not hold, and both ways out."""
    ways = []
    if not fields.known >= {"log_prob", "old_log_prob"} and fields.needs_log_probs:
        ways.append("--kl-coef 0")
    if "response_length" not in fields.known and fields.needs_length:
        ways.append("--budget-penalty-coef 0")
    give = " ".join(ways)
    mapped = " ".join([f"--preset {preset}", *(f"--field {name}=PATH" for name in fields.lacking)])
    without = f"give {give} to do without, or " if give else "give "
    return f"a dump of {preset} holds no {' and no '.join(fields.lacking)}: {without}{mapped}"


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
                    source = sources.spooled(source, file)
                except OSError as error:
                    where = f"{source.name}: no temporary file in {tempfile.gettempdir()} ($TMPDIR)"
                    why = f"{error.strerror or error}; files given by name need none"
                    raise OutputProblem(f"{where}: {why}") from None
            kept.append(source)
        yield kept


def budgets_of_summaries(found: list[Source]) -> tuple[int, ...] | None:
    """The budgets that all summaries among these sources know; None where there is no summary."""
    headers = [summaries.header_of(source) for source in found if summaries.is_summary(source)]
    if not headers:
        return None
    return tuple(sorted(set.intersection(*(set(header["budgets"]) for header in headers))))


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
    watch: Watch | None = None,
    rejections: int = 10,
    repeated_keys: bool = False,
) -> Scan:
    """Everything that these sources hold.

    Raises:
        UsageProblem: there are summaries among them that cannot be folded together, or do not answer for these budgets.
    """
    headers = {source.name: summaries.header_of(source) for source in found if summaries.is_summary(source)}
    if headers:
        if by:
            raise UsageProblem(f"--by {by}: {next(iter(headers))} is a summary, which holds no single records")
        summaries.require_alike(headers, fields, budgets, len(headers) < len(found))
    limits = Limits(max_line_bytes, None if verbose else rejections)
    plan = Plan(fields, Layout(budgets), limits, by, sample, apart=apart, watch=watch, repeated_keys=repeated_keys)
    with progress_over(found, quiet) as update:
        result = scan(found, plan, jobs, update)
    if result.bytes >= WORTH_A_COMPILER and not decoding.has_compiled_reader():
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
    total = None if None in sizes or not all(source.in_ranges for source in found) else sum(s or 0 for s in sizes)
    with Progress(total) as progress:
        yield progress.update
