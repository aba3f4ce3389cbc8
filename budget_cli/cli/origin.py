"""The options of `report` → the commands that give the same numbers and the same page, with the version and the day."""

import shlex
import time
from collections.abc import Sequence

from budget_cli.cli.bundles import FieldOptions, ReadingOptions, VerdictOptions, as_arguments
from budget_cli.cli.objectives import Asked
from budget_cli.cli.options import Aggregate
from budget_cli.cli.own_options import ReportOptions
from budget_cli.cli.recipes import flags_of
from budget_cli.rendering.report import Origin
from budget_cli.version import __version__

NAMED = 20  # files in a command that the page shows; more would be a page of their own


def origin_of(
    names: Sequence[str],
    asked: Asked,
    page: ReportOptions,
    fields: FieldOptions,
    verdict: VerdictOptions,
    reading: ReadingOptions,
    has_records: bool,
) -> Origin:
    """Return what the page says of its own origin.

    Args:
        names: the inputs, without secrets.
        asked: B, β and α, and the objective.
        page: what the page shows.
        fields: where the fields are.
        verdict: the gates, and the defects that are tolerated.
        reading: how the input is read.
        has_records: False if the inputs are summaries, whose responses `show` cannot show.
    """
    trained = asked.objective
    given = [*as_arguments(fields), *as_arguments(verdict, {"fail_if"}), *as_arguments(reading, {"jobs", "engine"})]
    averaged = [] if asked.aggregate is Aggregate.RESPONSE else ["--aggregate", asked.aggregate.value]
    given += flags_of(trained.name, trained.settings())
    if trained.otherwise is not None:
        given += ["-B", str(trained.otherwise)]  # a slider has no B where records have their own
    at = [] if asked.at.token_budget is None else ["-B", str(asked.at.token_budget)]
    at += ["--beta", f"{asked.at.budget_penalty_coef!r}", "--kl-coef", f"{asked.at.kl_coef!r}"]
    gates = [word for gate in verdict.fail_if or [] for word in ("--fail-if", gate)]
    more = " …" if names[NAMED:] else ""

    def command(name: str, *words: str) -> str:
        return f"budget-cli {name} {shlex.join([*names[:NAMED], *given, *words])}{more}"

    return Origin(
        version=__version__,
        day=time.strftime("%Y-%m-%d", time.gmtime()),
        loss=command("loss", *averaged, *(["--by", page.by] if page.by else [])),
        report=command("report", *averaged, *at, *gates, *as_arguments(page), "-o", "report.html"),
        show=command("show", *at, "--prompt", "ID") if has_records else "",
    )
