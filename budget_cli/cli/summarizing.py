"""What `summarize` is asked for → the lines of a summary: the dump scanned and observed, each source apart."""

from collections.abc import Iterator, Sequence

from budget_cli.analysis.checks.catalogue import THRESHOLDS
from budget_cli.analysis.left_out import described
from budget_cli.cli.bundles import AllowanceOptions, FieldOptions, OutputOptions, ReadingOptions
from budget_cli.cli.session import ScanSpec, Session, needed_fields, observation_spec
from budget_cli.evidence.counters import FEW
from budget_cli.objective.settings import Objective
from budget_cli.records.columns import FIRST_TEN, RejectionLimit
from budget_cli.scanning import summary_writing

FOR_CHECKS = ("finish_reason", "sampler_log_prob", "advantage")  # read where the records have them


def summarized(
    files: Sequence[str] | None,
    budgets: tuple[int, ...],
    trained: Objective,
    needs: tuple[bool, bool],
    fields: FieldOptions,
    allowance: AllowanceOptions,
    reading: ReadingOptions,
    output: OutputOptions,
) -> tuple[Session, Iterator[bytes]]:
    """Scan the files, which is done once this returns, and yield the lines of their summary.

    Args:
        files: names of files and folders; None: standard input.
        budgets: that the summary is to answer for, in tokens.
        trained: the objective.
        needs: whether a record needs a length, and log-probs.
        fields: where the fields are.
        allowance: what is tolerated.
        reading: how to read.
        output: where the summary goes.

    Raises:
        UsageProblem: an option is invalid.
        InputProblem: a file cannot be read, or holds no records.
    """
    read = needed_fields(*needs, FOR_CHECKS, compares_tokens=True)
    session = Session(fields, allowance, reading, output, read, trained)
    session.find(files)
    session.place(optional=FOR_CHECKS, in_full=True)
    observe = observation_spec(budgets, THRESHOLDS, per_prompt=False)
    unchecked = session.why_unchecked(observe)
    keep = RejectionLimit(FIRST_TEN.first, FEW)
    scan = session.scan(budgets, ScanSpec(observe=observe, keep=keep, sources_apart=True))
    if unchecked:
        scan.notes.append(f"check will not accept this summary: {unchecked}")
    if scan.tally.left_out:
        scan.notes.append(f"left out: {described(scan.tally.left_out)}")
    settings = session.summary_settings()
    return session, summary_writing.write(scan, session.fields, session.layout(budgets), observe, settings)
