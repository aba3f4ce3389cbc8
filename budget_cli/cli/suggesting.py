"""What `sweep --suggest` is asked for → its answer: one scan for the lengths, and one at their percentiles."""

import contextlib
from collections.abc import Sequence

from budget_cli.analysis.suggestion import budgets, suggest_budgets
from budget_cli.cli.bundles import FieldOptions, ReadingOptions, ScreenOptions, VerdictOptions
from budget_cli.cli.inputs import rereadable
from budget_cli.cli.session import ScanSpec, Session, needed_fields
from budget_cli.errors import UsageProblem
from budget_cli.rendering.suggestion import SuggestionAnswer


def suggested(
    files: Sequence[str] | None,
    share: float,
    precision: int,
    fields: FieldOptions,
    verdict: VerdictOptions,
    reading: ReadingOptions,
    screen: ScreenOptions,
) -> tuple[Session, SuggestionAnswer]:
    """Suggest a β for the budget at each percentile of the lengths.

    Args:
        files: names of files and folders; None: standard input.
        share: of the advantage's variance that length is to make.
        precision: places after the point.
        fields: where the fields are.
        verdict: what is tolerated.
        reading: how to read.
        screen: where the result goes.

    Raises:
        UsageProblem: an option is invalid, or a summary answers only for other budgets.
        InputProblem: a file cannot be read, or holds no records.
    """
    session = Session(fields, verdict, reading, screen, needed_fields(True, False))
    session.find(files)
    with contextlib.ExitStack() as stack:
        session.found = stack.enter_context(rereadable(session.found))
        if session.summary_budgets is not None:
            wanted = "chooses its own budgets, but a summary answers only for those it was made with: give -B"
            raise UsageProblem(f"--suggest {wanted}")
        session.place()
        percentiles = budgets(session.scan([]).groups.lengths)
        scan = session.scan(percentiles.values(), ScanSpec(if_penalised="what is suggested comes on top of it"))
    suggestions = suggest_budgets(scan.groups, percentiles, share, scan.tally)
    return session, SuggestionAnswer(
        suggestions, share, scan.tally, session.reasons(), scan.rejections, session.rejections(), precision
    )
