"""The options that only one command has, in one bundle per command."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from budget_cli.analysis.numbers import MOST_TOKENS
from budget_cli.cli import options
from budget_cli.cli.bundles import Bundle, VerdictOptions, is_typed
from budget_cli.errors import UsageProblem
from budget_cli.objective.settings import DEFAULT, Objective

if TYPE_CHECKING:
    from budget_cli.analysis import grid


class CheckFormat(StrEnum):
    """Output formats of `check`."""

    TABLE = "table"
    JSON = "json"
    MARKDOWN = "markdown"
    GITHUB = "github"
    JUNIT = "junit"
    SARIF = "sarif"


class FailOn(StrEnum):
    """The lowest severity that makes the verdict fail."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class CheckOptions(Bundle):
    """Which checks run, and which findings fail."""

    kl_coef: Annotated[
        float | None,
        typer.Option(
            "--kl-coef",
            "--alpha",
            callback=options.finite,
            metavar="COEF",
            show_default=False,
            help="α: unless 0, records without log-probs are rejected, as in loss. By default they are accepted.",
        ),
    ] = None
    text: Annotated[bool, typer.Option("--text", help="Also read the texts of prompts and responses.")] = False
    duplicate_keys: Annotated[
        bool,
        typer.Option(
            "--duplicate-keys", help="Also look for duplicate keys of an object (slow); not in Parquet, CSV, TSV."
        ),
    ] = False
    select: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CODE",
            show_default=False,
            autocompletion=options.codes_and_topics,
            help="Run only these checks or topics. Repeatable, or a,b.",
        ),
    ] = None
    ignore: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CODE",
            show_default=False,
            autocompletion=options.codes_and_topics,
            help="Skip these checks or topics. Repeatable, or a,b.",
        ),
    ] = None
    threshold: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            show_default=False,
            autocompletion=options.thresholds,
            help="Change a threshold, as in truncated.share=0.1. Repeatable; budget-cli explain CODE has them.",
        ),
    ] = None
    fail_on: Annotated[FailOn, typer.Option(help="Lowest severity of a finding that fails the run (exit 1).")] = (
        FailOn.ERROR
    )
    baseline: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            show_default=False,
            help="JSON of an earlier check: findings that are in it and no worse now do not fail the run.",
        ),
    ] = None
    tolerance: Annotated[
        str,
        typer.Option(
            metavar="P%",
            help="How much the share of a finding may have grown since the baseline, relative to its value there.",
        ),
    ] = "0%"
    explain: Annotated[
        str | None,
        typer.Option(
            metavar="CODE",
            show_default=False,
            autocompletion=options.codes_and_all,
            help="Explain a check (or all) and exit.",
        ),
    ] = None
    by: Annotated[
        str | None,
        typer.Option(
            "--by",
            metavar="FIELD|file",
            show_default=False,
            rich_help_panel="Output",
            autocompletion=options.labels,
            help="Also check the responses of each value of a field apart, of several fields (task,step), or of each"
            " file. What only such a row has fails the run, too.",
        ),
    ] = None


CheckFormatOption = Annotated[CheckFormat, typer.Option("--format", "-f", help="Output format.")]


class CompareFormat(StrEnum):
    """Output formats of `compare`."""

    TABLE = "table"
    JSON = "json"
    MARKDOWN = "markdown"


class MovedBy(StrEnum):
    """The quantity that prompts are ranked by."""

    LOSS = "loss"
    REWARD = "reward"
    LENGTH = "length"


DUMP = "A file or directory, as for loss; or - for standard input; or a result of loss --format json."
Base = Annotated[str, typer.Argument(metavar="BASE", show_default=False, help=DUMP)]
New = Annotated[
    str,
    typer.Argument(metavar="NEW", show_default=False, help="What to compare with BASE, given in any of these ways."),
]


class CompareOptions(Bundle):
    """How a comparison is shown."""

    top: Annotated[
        int,
        typer.Option(
            min=0, metavar="N", rich_help_panel="Output", help="How many of the prompts that changed most to show."
        ),
    ] = 5
    moved_by: Annotated[
        MovedBy,
        typer.Option("--moved-by", rich_help_panel="Output", help="Quantity whose change ranks these prompts."),
    ] = MovedBy.LOSS
    format: Annotated[
        CompareFormat,
        typer.Option("--format", "-f", rich_help_panel="Output", help="Output format."),
    ] = CompareFormat.TABLE
    by: options.By = None
    precision: options.Precision = 4


class ShowFormat(StrEnum):
    """Output formats of `show`."""

    TABLE = "table"
    JSON = "json"


class RankBy(StrEnum):
    """What ranks the responses that `show` shows."""

    LOSS = "loss"
    PENALTY = "penalty"
    LENGTH = "length"
    ADVANTAGE = "advantage"
    LOG_RATIO = "log-ratio"


class ShowOptions(Bundle):
    """Which responses are shown, and how."""

    prompt: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", show_default=False, help="Show all responses to this prompt. Repeatable."),
    ] = None
    finding: Annotated[
        str | None,
        typer.Option(
            metavar="CODE",
            show_default=False,
            autocompletion=options.codes,
            help="Show the prompts that this finding of check names, such as phantom-advantage.",
        ),
    ] = None
    top: Annotated[
        int,
        typer.Option(min=1, max=10_000, metavar="N", help="Show the N responses that rank first by --by."),
    ] = 5
    by: Annotated[
        RankBy, typer.Option("--by", help="What ranks them, the largest first; an advantage and a log-ratio by size.")
    ] = RankBy.LOSS
    full: Annotated[bool, typer.Option("--full", help="Show every text whole, not shortened in its middle.")] = False
    format: Annotated[ShowFormat, typer.Option("--format", "-f", rich_help_panel="Output", help="Output format.")] = (
        ShowFormat.TABLE
    )
    precision: options.Precision = 4


class ReportOptions(Bundle):
    """What the page shows."""

    budgets: Annotated[
        str | None,
        typer.Option(
            "--budgets",
            metavar="VALUES",
            show_default=False,
            help="Budgets offered by the slider, as in sweep. Default: from B/4 to 4·B.",
        ),
    ] = None
    by: Annotated[
        str | None,
        typer.Option(
            "--by",
            metavar="FIELD|file",
            show_default=False,
            help="Horizontal axis of the trends, as in --by step. Default: the steps; without several, the files.",
        ),
    ] = None


class SweepFormat(StrEnum):
    """Output formats of `sweep`."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"
    MARKDOWN = "markdown"


class AnnotateFormat(StrEnum):
    """Output formats of `annotate`."""

    RECORDS = "records"
    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"


AnnotateFormatOption = Annotated[
    AnnotateFormat,
    typer.Option(
        "--format",
        "-f",
        rich_help_panel="Output",
        help="The records themselves, or a flat table with a row per response: its place, numbers and terms.",
    ),
]


class SweepOptions(Bundle):
    """The grid, or --suggest in its place."""

    token_budget: Annotated[
        str | None,
        typer.Option("--token-budget", "-B", metavar="VALUES", show_default=False, help="Token budgets B."),
    ] = None
    budget_factor: Annotated[
        str | None,
        typer.Option(
            "--budget-factor",
            metavar="VALUES",
            help="Factors of the budgets that records have of their own (budget_field or budget_by of the objective).",
            show_default="1",
        ),
    ] = None
    budget_penalty_coef: Annotated[
        str | None,
        typer.Option(
            "--budget-penalty-coef",
            "--beta",
            metavar="VALUES",
            help="β: reward lost per token over the budget.",
            show_default="0.01",
        ),
    ] = None
    kl_coef: Annotated[
        str,
        typer.Option(
            "--kl-coef", "--alpha", metavar="VALUES", help="α: weight of the log-ratio to the reference policy."
        ),
    ] = "0.1"
    max_response_length: Annotated[
        str | None,
        typer.Option(
            "--max-response-length",
            metavar="VALUES",
            show_default=False,
            help="DAPO's terms in place of -B and --beta, with --overlong-buffer: the longest response allowed.",
        ),
    ] = None
    overlong_buffer: Annotated[
        int | None,
        typer.Option(
            "--overlong-buffer",
            min=1,
            max=MOST_TOKENS,
            metavar="TOKENS",
            show_default=False,
            help="Tokens before that length over which the penalty grows: B = length − buffer, β = penalty / buffer.",
        ),
    ] = None
    overlong_penalty: Annotated[
        str,
        typer.Option("--overlong-penalty", metavar="VALUES", help="Penalty at the end of the buffer."),
    ] = "1"
    suggest: Annotated[
        bool,
        typer.Option(
            "--suggest",
            help="Suggest budgets and β to try, and why. Reads the input twice; piped input goes to a temporary file.",
        ),
    ] = False
    share: Annotated[
        float,
        typer.Option(
            "--share",
            min=0.001,
            max=0.999,
            metavar="SHARE",
            help="With --suggest: share of the advantage that is to come from length.",
        ),
    ] = 0.1
    all_numbers: Annotated[
        bool,
        typer.Option("--all-numbers", help="In json, jsonl, csv and markdown: every number of the loss for each cell."),
    ] = False
    by: options.By = None

    def as_typed(self, context: typer.Context) -> "SweepOptions":
        """Return the options, with B and β from the command line only if --suggest or an overlong buffer is given."""
        if not self.suggest and self.max_response_length is None and self.overlong_buffer is None:
            return self

        def typed(name: str) -> str | None:
            return getattr(self, name) if is_typed(context, name) else None

        return self.changed(token_budget=typed("token_budget"), budget_penalty_coef=typed("budget_penalty_coef"))

    def require_suggestion_alone(self, verdict: VerdictOptions, trained: Objective) -> None:
        """Refuse options that contradict --suggest: a grid, and gates on its cells.

        Raises:
            UsageProblem: one of them is given.
        """
        if verdict.fail_if:
            raise UsageProblem("--fail-if: gates apply to the cells of a grid, and --suggest has none; use -B instead")
        axes = self.token_budget, self.budget_penalty_coef, self.max_response_length, self.overlong_buffer
        if any(axis is not None for axis in axes):
            raise UsageProblem("--suggest chooses budgets and β itself: leave out -B, --beta and the overlong buffer")
        if trained != DEFAULT:
            raise UsageProblem(
                f"--suggest chooses B and β for the objective {DEFAULT.name}: leave out --objective, --set"
            )
        if self.by is not None:
            raise UsageProblem("--by: --suggest chooses for the whole dump: select the records of one row by --where")

    def of_own_budgets(self, trained: Objective) -> "tuple[Objective, grid.Grid]":
        """Return the objective and the grid where records have budgets of their own.

        Raises:
            UsageProblem: the values are not of the grammar, or there is more than one B for records without a budget.
        """
        from budget_cli.analysis import grid  # 1 ms, not for --help

        budgets = () if self.token_budget is None else grid.parse_budgets("--token-budget", self.token_budget)
        if len(budgets) > 1:
            raise UsageProblem(f"-B {self.token_budget}: give one B for records without a budget, and --budget-factor")
        own = grid.own_grid(self.budget_factor or "1", self.budget_penalty_coef, self.kl_coef)
        return trained._replace(factors=own.budget_factor, otherwise=next(iter(budgets), None)), own

    def overlong(self) -> "grid.Overlong | None":
        """Return the budgets and β that DAPO's overlong buffer amounts to; None without one.

        Raises:
            UsageProblem: one of length and buffer is missing, or B or β is given as well.
        """
        if self.max_response_length is None and self.overlong_buffer is None:
            return None
        from budget_cli.analysis import grid  # 1 ms, not for --help

        if self.token_budget is not None or self.budget_penalty_coef is not None:
            raise UsageProblem("--overlong-buffer sets both the budget and β: give either it or -B and --beta")
        if self.max_response_length is None or self.overlong_buffer is None:
            raise UsageProblem("--max-response-length and --overlong-buffer go together: give both")
        return grid.overlong(self.max_response_length, self.overlong_buffer, self.overlong_penalty)


SweepFormatOption = Annotated[SweepFormat, typer.Option("--format", "-f", help="Output format.")]
