"""Files as typed → a scan, with its progress shown where somebody looks on."""

import gc

from budget_cli.cli import console
from budget_cli.errors import UsageProblem
from budget_cli.groups.moments import Layout
from budget_cli.reading import sources
from budget_cli.reading.decoding import Limits
from budget_cli.reading.fields import Fields
from budget_cli.scanning.scan import Plan, Scan, scan


def scanned(
    files: list[str] | None,
    fields: Fields,
    budgets: tuple[int, ...],
    max_line_bytes: int,
    jobs: int | None,
    quiet: bool,
    verbose: bool,
) -> Scan:
    """Everything that these files hold.

    Raises:
        UsageProblem: no files, and nothing is piped in.
        InputProblem: a file is not there.
    """
    gc.freeze()
    gc.enable()
    if not files and not sources.stdin_is_piped():
        raise UsageProblem("no files: name some, or a directory, or pipe records in (see budget-cli loss --help)")
    found = sources.find(files or ["-"])
    plan = Plan(fields, Layout(budgets), Limits(max_line_bytes, None if verbose else 10))
    if not console.progress_wanted(quiet):
        return scan(found, plan, jobs)
    from budget_cli.cli.progress import Progress

    sizes = [source.size for source in found]
    total = None if None in sizes or not all(source.in_ranges for source in found) else sum(s or 0 for s in sizes)
    with Progress(total) as progress:
        return scan(found, plan, jobs, progress.update)
