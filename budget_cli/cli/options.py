"""The options that commands share, and their checks."""

import math
from enum import StrEnum
from typing import Annotated

import typer

from budget_cli.errors import UsageProblem


class Format(StrEnum):
    """What the result is written as."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    MARKDOWN = "markdown"


class Aggregate(StrEnum):
    """What weighs the same in the mean."""

    RESPONSE = "response"
    PROMPT = "prompt"


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise typer.BadParameter(f"expected a finite number, found {value}")
    return value


def require_budget(token_budget: int | None, budget_penalty_coef: float) -> None:
    """That there is a budget where a penalty needs one.

    Raises:
        UsageProblem: there is none.
    """
    if budget_penalty_coef and token_budget is None:
        raise UsageProblem("give a budget (-B TOKENS), or --budget-penalty-coef 0 to do without one")


Files = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[FILES]...",
        help="JSONL files, plain or gz, bz2, xz, zst, zip; directories (their *.jsonl*); - or nothing: standard input.",
        show_default=False,
    ),
]
TokenBudget = Annotated[
    int | None,
    typer.Option(
        "--token-budget", "-B", min=0, envvar="BUDGET_CLI_TOKEN_BUDGET", show_default=False,
        help="B, in tokens. There is no default: a budget is somebody's decision.",
    ),
]  # fmt: skip
BudgetPenaltyCoef = Annotated[
    float,
    typer.Option(
        "--budget-penalty-coef", "--beta", callback=_finite, envvar="BUDGET_CLI_BUDGET_PENALTY_COEF",
        help="β, reward lost per token over the budget. 0: neither lengths nor a budget are needed.",
    ),
]  # fmt: skip
KlCoef = Annotated[
    float,
    typer.Option(
        "--kl-coef", "--alpha", callback=_finite, envvar="BUDGET_CLI_KL_COEF",
        help="α, weight of the log-ratio to the reference. 0: no log-probs are needed.",
    ),
]  # fmt: skip
AggregateBy = Annotated[
    Aggregate,
    typer.Option(
        "--aggregate", envvar="BUDGET_CLI_AGGREGATE",
        help="What weighs the same: every response, or every prompt (the mean of their means).",
    ),
]  # fmt: skip
FieldMappings = Annotated[
    list[str] | None,
    typer.Option(
        "--field", metavar="NAME=PATH", envvar="BUDGET_CLI_FIELD", show_default=False,
        help="Where a field is: a dotted path, with [] for each of a list (log_prob=output[].logprobs). Repeatable.",
    ),
]  # fmt: skip
PresetName = Annotated[
    str | None,
    typer.Option(
        "--preset", metavar="NAME", envvar="BUDGET_CLI_PRESET", show_default=False,
        help="Whose dump it is (verl-v1, nemo-gym, …); by default the first records tell. --field goes on top of it.",
    ),
]  # fmt: skip
PresetFiles = Annotated[
    list[str] | None,
    typer.Option(
        "--presets", metavar="FILE", envvar="BUDGET_CLI_PRESETS", show_default=False,
        help="A TOML file with presets of your own. Repeatable.",
    ),
]  # fmt: skip
OutputFormat = Annotated[
    Format, typer.Option("--format", "-f", envvar="BUDGET_CLI_FORMAT", help="What the result is written as.")
]
Precision = Annotated[
    int, typer.Option(min=0, max=17, envvar="BUDGET_CLI_PRECISION", help="Decimal places; gates use unrounded values.")
]
FailIf = Annotated[
    list[str] | None,
    typer.Option(
        "--fail-if", metavar="EXPR", envvar="BUDGET_CLI_FAIL_IF", show_default=False,
        help="A gate: exit 1 if EXPR holds, as in 'over_budget.fraction > 0.2'; any number of the JSON. Repeatable.",
    ),
]  # fmt: skip
MaxErrors = Annotated[
    str,
    typer.Option(
        metavar="N|P%", envvar="BUDGET_CLI_MAX_ERRORS",
        help="How many rejected records, or what share, may still pass. They are counted all the same.",
    ),
]  # fmt: skip
MaxLineBytes = Annotated[
    int, typer.Option(min=1, envvar="BUDGET_CLI_MAX_LINE_BYTES", help="A longer line is rejected, not held.")
]
AllowTruncatedTail = Annotated[
    bool, typer.Option("--allow-truncated-tail", help="A torn last line of a file may still pass.")
]
AllowEmpty = Annotated[bool, typer.Option("--allow-empty", help="An input without records may still pass.")]
Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs", "-j", min=1, envvar="BUDGET_CLI_JOBS", show_default=False,
        help="Processes; the result is the same for every number. Default: the cores, once it is worth it.",
    ),
]  # fmt: skip
Output = Annotated[
    str | None,
    typer.Option(
        "-o", "--output", metavar="FILE", help="Write the result there, whole or not at all.", show_default=False
    ),
]
PerPrompt = Annotated[
    bool, typer.Option("--per-prompt", help="The numbers of every prompt, too; csv and markdown: of them only.")
]
By = Annotated[
    str | None,
    typer.Option(
        "--by", metavar="FIELD|file", envvar="BUDGET_CLI_BY", show_default=False,
        help="The same numbers for each value of a field, as in --by step, or for each file.",
    ),
]  # fmt: skip
Each = Annotated[
    bool, typer.Option("--each", envvar="BUDGET_CLI_EACH", help="With --by: the gates must hold in every row, too.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="On standard error only what failed.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Name every rejected record, not the first ten.")]
