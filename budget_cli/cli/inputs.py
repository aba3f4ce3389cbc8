"""Names of files, or standard input → sources, and what a command asks of them. Reads headers of summaries only."""

import contextlib
import os
import shlex
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from budget_cli.cli import console, output
from budget_cli.cli.bundles import (
    CoefficientOptions,
    FieldOptions,
    FolderOptions,
    LocalReadingOptions,
    ReadingOptions,
    as_arguments,
)
from budget_cli.errors import OutputProblem, UsageProblem
from budget_cli.sources import local as sources
from budget_cli.sources.folders import Patterns
from budget_cli.sources.local import Kind, Source

if TYPE_CHECKING:
    from budget_cli.analysis.loss import Loss
    from budget_cli.scanning.annotate import Forms

MOST_BYTES = 64 << 20  # of a small file
NAMED = 20  # files in a command that is shown


def find(
    names: Sequence[str] | None,
    outputs: Mapping[str, str | None],
    reading: ReadingOptions | LocalReadingOptions | FolderOptions,
    quiet: bool = True,
) -> list[Source]:
    """Find the sources of these names; standard input if there are none.

    Args:
        names: files, directories and URLs.
        outputs: output file by option; none of them may be a source.
        reading: which files of a folder to read.
        quiet: True to report nothing on standard error.

    Raises:
        UsageProblem: there are no files and nothing is piped in, or an output would overwrite an input.
        InputProblem: a file does not exist.
    """
    if not names and not sources.stdin_is_piped():
        raise UsageProblem("no input: give files or a directory, or pipe records in (see budget-cli loss --help)")
    left_out: dict[str, str] = {}
    patterns = Patterns(tuple(reading.include or ()), tuple(reading.exclude or ()))
    found = sources.find(names or ["-"], patterns, left_out)
    for name, account in left_out.items() if not quiet else ():
        console.say(f"{name}: {account}")
    for option, path in outputs.items():
        identity = None if path is None else sources.identity_of(path)
        if identity is not None and identity in {source.identity for source in found}:
            raise UsageProblem(f"{option} {path}: is also an input; give the result another name")
    return found


def require_records(found: Sequence[Source], purpose: str) -> None:
    """Refuse summaries, which have no individual records.

    Raises:
        UsageProblem: one of the sources is a summary.
    """
    for source in found:
        if source.kind is Kind.SUMMARY:
            raise UsageProblem(f"{source.name}: a summary has no individual records, which {purpose} needs")


def require_written_as(found: Sequence[Source], output: str | None, rejects: str | None) -> "Forms":
    """Refuse sources whose records cannot be written again to these files.

    Returns:
        What the rows of Parquet among them become, by the names of the files.

    Raises:
        UsageProblem: one of the sources is a summary, CSV or TSV, is lines where Parquet is to be written, or Parquet
            that lines cannot hold.
        InputProblem: a Parquet file is damaged.
    """
    from budget_cli.scanning.annotate import Forms

    require_records(found, "annotate")
    for source in found:
        if source.kind in (Kind.CSV, Kind.TSV):
            reason = "annotate keeps every record byte for byte, which it can do for JSON only"
            raise UsageProblem(f"{source.name}: this is {source.kind.upper()}: {reason}")
    files = {"-o": output, "--rejects": rejects}
    to_parquet = {option: (name or "").lower().endswith(".parquet") for option, name in files.items()}
    rows = [source for source in found if source.kind is Kind.PARQUET]
    others = [source.name for source in found if source.kind is not Kind.PARQUET]
    for option, name in files.items():
        if to_parquet[option] and others:
            what = f"{others[0]} is not Parquet, so its records stay JSON lines"
            raise UsageProblem(f"{option} {name}: {what}: give a name that does not end in .parquet")
    if rows:
        from budget_cli.records import parquet_writing  # and pyarrow, which only Parquet needs

        if any(to_parquet.values()):
            parquet_writing.require_one_schema(rows)
        if not to_parquet["-o"] or (rejects is not None and not to_parquet["--rejects"]):
            for source in rows:
                parquet_writing.require_json(source)
    return Forms(to_parquet["-o"], to_parquet["--rejects"], rejects is not None)


def content_of(option: str, path: str) -> bytes:
    """Read a small file that an option names.

    Raises:
        UsageProblem: it cannot be read, or is too large.
    """
    from budget_cli.schema import small_files

    try:
        return small_files.read(path, MOST_BYTES)
    except OSError as error:
        raise UsageProblem(f"{option} {path}: cannot be read: {error.strerror}") from None


def file_argument(name: str) -> str:
    """Write a file or a URL as one argument of a shell: none that begins an option, with `$'…'` for odd characters."""
    name = sources.without_secrets(name)
    if name.startswith("-"):
        name = f"./{name}"
    if name.isprintable() and _is_unicode(name):
        return shlex.quote(name)
    shown = (chr(b) if 32 <= b < 127 and chr(b) not in "\\'" else f"\\x{b:02x}" for b in os.fsencode(name))
    return f"$'{''.join(shown)}'"


def _is_unicode(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def show_command(
    names: Sequence[str] | None,
    found: Sequence[Source],
    loss: "Loss",
    kl_coef: float | None,
    fields: FieldOptions,
    reading: ReadingOptions,
) -> str:
    """Return the command that shows what is behind a number of this loss; "" if its records are gone.

    Args:
        names: of the files, as given.
        found: the sources that they stand for.
        loss: at the coefficients that are given.
        kl_coef: α; None if it is not given.
        fields: where the fields are.
        reading: which files of folders are read.
    """
    if not names or "-" in names or len(names) > NAMED or any(source.kind is Kind.SUMMARY for source in found):
        return ""
    budget, beta, _ = loss.coefficients
    given = [] if budget is None else ["-B", str(budget)]
    if budget is None or loss.coverage.length < loss.responses or not beta:
        given = ["--beta", "0"]
    elif beta != CoefficientOptions.budget_penalty_coef:
        given += ["--beta", f"{beta:g}"]
    if loss.coverage.log_ratio < loss.responses:
        given += ["--kl-coef", "0"]
    elif kl_coef is not None:
        given += ["--kl-coef", f"{kl_coef:g}"]
    from budget_cli.cli.recipes import flags_of  # only for who has something to show

    given += flags_of(loss.objective.name, loss.objective.settings)
    given += [*as_arguments(fields), *as_arguments(reading, {"jobs", "engine"})]
    return f"budget-cli show {' '.join(map(file_argument, names))} {shlex.join(given)}"


def summary_headers(found: Sequence[Source]) -> dict[str, dict[str, Any]]:
    """Read the header of each summary among the sources, by its name."""
    summaries = [source for source in found if source.kind is Kind.SUMMARY]
    if not summaries:
        return {}
    from budget_cli.scanning.summary import header_of  # 2 ms, and few dumps have one

    return {source.name: header_of(source) for source in summaries}


@contextlib.contextmanager
def rereadable(found: Sequence[Source]) -> Iterator[list[Source]]:
    """Make the sources readable twice, by keeping piped input in a temporary file.

    Raises:
        InputProblem: a pipe could not be read to its end.
        OutputProblem: the temporary file could not be written.
    """
    with contextlib.ExitStack() as stack:
        kept = []
        for source in found:
            if source.size is None:
                try:
                    source = sources.spool(source, *stack.enter_context(output.scratch()))
                except OSError as error:
                    folder = os.environ.get("TMPDIR", "/tmp")
                    where = f"{source.name}: cannot keep a temporary copy in {folder} ($TMPDIR)"
                    why = f"{error.strerror or error}; files given by name need no copy"
                    raise OutputProblem(f"{where}: {why}") from None
            kept.append(source)
        yield kept


def why_no_records(found: Sequence[Source]) -> str:
    """Describe what is wrong with the first line, as no record was found.

    Raises:
        InputProblem: a file cannot be read.
    """
    from budget_cli.records import detection, reference
    from budget_cli.records.columns import RejectionLimit
    from budget_cli.schema.fields import Fields

    for source in found:
        if source.kind is sources.Kind.PARQUET:
            from budget_cli.records import parquet

            parquet.row_groups(source)
            parquet.head(source, 1, 1)  # damage in the first rows is said
            continue
        if source.kind in detection.ROWS:
            continue
        head = sources.head(source, detection.GLANCE_BYTES)
        if len(head) < detection.GLANCE_BYTES:  # read to the end, so that damage is reported
            deque(sources.pieces(source), maxlen=0)
        for rejection in reference.decode(head, Fields(), len(head), RejectionLimit(1)).rejections:
            return str(rejection._replace(source=source.name))
    return "no records: these files are empty or blank"
