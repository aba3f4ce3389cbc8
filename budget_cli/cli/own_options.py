"""The options that only one command has, a bundle per command."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from budget_cli.cli import options
from budget_cli.cli.bundles import ScreenOptions, VerdictOptions
from budget_cli.errors import UsageProblem

if TYPE_CHECKING:
    from budget_cli.analysis.grid import Overlong


class CheckFormat(StrEnum):
    """What the findings are written as."""

    TABLE = "table"
    JSON = "json"
    MARKDOWN = "markdown"
    GITHUB = "github"
    JUNIT = "junit"


class FailOn(StrEnum):
    """From which severity on the verdict is fail."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True)
class CheckOptions:
    """Which checks are made, and what fails."""

    kl_coef: Annotated[
        float | None,
        typer.Option(
            "--kl-coef",
            "--alpha",
            callback=options.finite,
            show_default=False,
            help="α: above 0 a record without log-probs is rejected, as in loss; by default it is not.",
        ),
    ] = None
    text: Annotated[bool, typer.Option("--text", help="Read the texts of prompts and responses, too.")] = False
    duplicate_keys: Annotated[
        bool, typer.Option("--duplicate-keys", help="Look for keys that occur twice in an object, too (slow).")
    ] = False
    select: Annotated[
        list[str] | None,
        typer.Option(metavar="CODE", show_default=False, help="Only these checks or topics. Repeatable, or a,b."),
    ] = None
    ignore: Annotated[
        list[str] | None,
        typer.Option(metavar="CODE", show_default=False, help="All but these checks or topics. Repeatable, or a,b."),
    ] = None
    threshold: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            show_default=False,
            help="Another threshold, as in truncated.share=0.1. Repeatable; --explain CODE names them.",
        ),
    ] = None
    fail_on: Annotated[FailOn, typer.Option(help="From which severity on the exit code is 1.")] = FailOn.ERROR
    baseline: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            show_default=False,
            help="The JSON of an earlier check: what was found there and is no worse now does not fail.",
        ),
    ] = None
    tolerance: Annotated[
        str, typer.Option(metavar="P%", help="By how much of itself the share of a finding may have grown since.")
    ] = "0%"
    explain: Annotated[
        str | None,
        typer.Option(metavar="CODE", show_default=False, help="Print what there is to know about a check, or all."),
    ] = None


CheckFormatOption = Annotated[CheckFormat, typer.Option("--format", "-f", help="What the findings are written as.")]


@dataclass(frozen=True)
class CheckScreenOptions(ScreenOptions):
    """Where the findings go."""

    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Also of an info: why it matters and what to do.")
    ] = False


class CompareFormat(StrEnum):
    """What the comparison is written as."""

    TABLE = "table"
    JSON = "json"
    MARKDOWN = "markdown"


class MovedBy(StrEnum):
    """What prompts are ranked by."""

    LOSS = "loss"
    REWARD = "reward"
    LENGTH = "length"


DUMP = "A file or a directory, as for loss; -: standard input; or what loss --format json wrote."
Base = Annotated[str, typer.Argument(metavar="BASE", show_default=False, help=DUMP)]
New = Annotated[str, typer.Argument(metavar="NEW", show_default=False, help="The same.")]


@dataclass(frozen=True)
class CompareOptions:
    """How a comparison is shown."""

    top: Annotated[
        int,
        typer.Option(
            min=0, metavar="N", rich_help_panel="Output", help="How many of the prompts that moved most are shown."
        ),
    ] = 5
    moved_by: Annotated[
        MovedBy,
        typer.Option("--moved-by", rich_help_panel="Output", help="What the prompts that moved most are chosen by."),
    ] = MovedBy.LOSS
    format: Annotated[
        CompareFormat,
        typer.Option("--format", "-f", rich_help_panel="Output", help="What the comparison is written as."),
    ] = CompareFormat.TABLE
    precision: options.Precision = 4


@dataclass(frozen=True)
class ReportOptions:
    """What the page offers."""

    budgets: Annotated[
        str | None,
        typer.Option(
            "--budgets",
            metavar="VALUES",
            show_default=False,
            help="Budgets that the page's slider offers, as in sweep. Default: from B/4 to 4·B.",
        ),
    ] = None
    by: Annotated[
        str | None,
        typer.Option(
            "--by",
            metavar="FIELD|file",
            show_default=False,
            help="What the trends are along, as in --by step. Default: the files, if there are several.",
        ),
    ] = None


class SweepFormat(StrEnum):
    """What the cells are written as."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"
    MARKDOWN = "markdown"


@dataclass(frozen=True)
class SweepOptions:
    """The grid, or the suggestion in its place."""

    token_budget: Annotated[
        str | None,
        typer.Option("--token-budget", "-B", metavar="VALUES", show_default=False, help="Budgets, in tokens."),
    ] = None
    budget_penalty_coef: Annotated[
        str | None,
        typer.Option(
            "--budget-penalty-coef",
            "--beta",
            metavar="VALUES",
            help="β, reward lost per token over the budget.",
            show_default="0.01",
        ),
    ] = None
    kl_coef: Annotated[
        str,
        typer.Option("--kl-coef", "--alpha", metavar="VALUES", help="α, weight of the log-ratio to the reference."),
    ] = "0.1"
    max_response_length: Annotated[
        str | None,
        typer.Option(
            "--max-response-length",
            metavar="VALUES",
            show_default=False,
            help="In DAPO's terms, with --overlong-buffer in place of -B and --beta: the longest a response may be.",
        ),
    ] = None
    overlong_buffer: Annotated[
        int | None,
        typer.Option(
            "--overlong-buffer",
            min=1,
            metavar="TOKENS",
            show_default=False,
            help="Tokens before that length in which the penalty grows: B = length − buffer, β = penalty / buffer.",
        ),
    ] = None
    overlong_penalty: Annotated[
        str,
        typer.Option("--overlong-penalty", metavar="VALUES", help="The penalty at the end of the buffer."),
    ] = "1"
    suggest: Annotated[
        bool,
        typer.Option(
            "--suggest",
            help="Say which budgets and β to try, and why. Reads the input twice; a pipe is kept meanwhile.",
        ),
    ] = False
    share: Annotated[
        float,
        typer.Option(
            "--share", min=0.001, max=0.999, help="--suggest: the part of the advantage that length is to make."
        ),
    ] = 0.1
    all_numbers: Annotated[
        bool, typer.Option("--all-numbers", help="json, jsonl, csv, markdown: every number of the loss in each cell.")
    ] = False

    def as_typed(self, context: typer.Context) -> "SweepOptions":
        """With --suggest or an overlong buffer, count B and β only if they are typed, not if settings give them."""
        if not self.suggest and self.max_response_length is None and self.overlong_buffer is None:
            return self

        def typed(name: str) -> str | None:
            source = context.get_parameter_source(name)
            return getattr(self, name) if source is not None and source.name == "COMMANDLINE" else None

        return replace(self, token_budget=typed("token_budget"), budget_penalty_coef=typed("budget_penalty_coef"))

    def require_suggestion_alone(self, verdict: VerdictOptions) -> None:
        """Refuse, beside --suggest, what it finds itself, and gates on cells.

        Raises:
            UsageProblem: one of them is given.
        """
        if verdict.fail_if:
            raise UsageProblem("--fail-if: a suggestion has no cells; give it with -B")
        grid = self.token_budget, self.budget_penalty_coef, self.max_response_length, self.overlong_buffer
        if any(given is not None for given in grid):
            raise UsageProblem("--suggest finds budgets and β itself: give it no -B, no --beta and no overlong buffer")

    def overlong(self) -> "Overlong | None":
        """Return the budgets and β that a buffer in DAPO's terms stands for; None if there is none.

        Raises:
            UsageProblem: half of the terms are missing, or B and β are given, too.
        """
        from budget_cli.analysis.grid import overlong  # not for --help

        if self.max_response_length is None and self.overlong_buffer is None:
            return None
        if self.token_budget is not None or self.budget_penalty_coef is not None:
            raise UsageProblem("--overlong-buffer stands for a budget and a β: give it, or -B and --beta, not both")
        if self.max_response_length is None or self.overlong_buffer is None:
            raise UsageProblem("--max-response-length and --overlong-buffer go together: give both")
        return overlong(self.max_response_length, self.overlong_buffer, self.overlong_penalty)


SweepFormatOption = Annotated[SweepFormat, typer.Option("--format", "-f", help="What the cells are written as.")]
