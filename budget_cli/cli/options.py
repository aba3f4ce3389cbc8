"""The options that commands share, and their checks."""

import math
from enum import StrEnum
from typing import Annotated

import typer


class Format(StrEnum):
    """What the result is written as."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    MARKDOWN = "markdown"
    GITHUB = "github"
    JUNIT = "junit"


class Aggregate(StrEnum):
    """What weighs the same in the mean."""

    RESPONSE = "response"
    PROMPT = "prompt"


class Engine(StrEnum):
    """Who reads."""

    LOCAL = "local"
    RAY = "ray"


class Colour(StrEnum):
    """When a screen has colour."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


class GroupBy(StrEnum):
    """What is a prompt, where no id says it."""

    LINE = "line"
    FILE = "file"


def finite(value: float | None) -> float | None:
    """The value of an option that must be finite."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"expected a finite number, found {value}")
    return value


def _presets(incomplete: str) -> list[str]:
    from budget_cli.schema import presets

    return [name for name in presets.load() if name.startswith(incomplete)]


def _fields(incomplete: str) -> list[str]:
    from budget_cli.schema.fields import NAMED

    return [f"{name}=" for name in NAMED if name.startswith(incomplete)]


def _numbers(context: typer.Context, incomplete: str) -> list[str]:
    from budget_cli.analysis import compare
    from budget_cli.analysis.loss import Loss, number_names

    kind = compare.Comparison if context.info_name == "compare" else Loss
    return [name for name in number_names(kind) if name.startswith(incomplete)]


def _labels(incomplete: str) -> list[str]:
    from budget_cli.schema.fields import EXTRAS

    known = ["file", *(name for name, kind in EXTRAS.items() if kind == "label" and name != "by")]
    return [name for name in known if name.startswith(incomplete)]


Files = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[FILES]...",
        help="JSONL files, plain or gz, bz2, xz, zst, zip; Parquet; directories (their *.jsonl*, or their *.parquet);"
        " s3://, gs://, hf://, https://; - or nothing: standard input.",
        show_default=False,
    ),
]
TokenBudget = Annotated[
    int | None,
    typer.Option(
        "--token-budget",
        "-B",
        min=0,
        show_default=False,
        rich_help_panel="Loss",
        metavar="TOKENS",
        help="B, in tokens. There is no default: a budget is somebody's decision.",
    ),
]
BudgetPenaltyCoef = Annotated[
    float,
    typer.Option(
        "--budget-penalty-coef",
        "--beta",
        callback=finite,
        rich_help_panel="Loss",
        metavar="COEF",
        help="β, reward lost per token over the budget. 0: neither lengths nor a budget are needed.",
    ),
]
KlCoef = Annotated[
    float,
    typer.Option(
        "--kl-coef",
        "--alpha",
        callback=finite,
        rich_help_panel="Loss",
        metavar="COEF",
        help="α, weight of the log-ratio to the reference. 0: no log-probs are needed.",
    ),
]
AggregateBy = Annotated[
    Aggregate,
    typer.Option(
        "--aggregate",
        rich_help_panel="Loss",
        help="What weighs the same: every response, or every prompt (the mean of their means).",
    ),
]
FieldMappings = Annotated[
    list[str] | None,
    typer.Option(
        "--field",
        metavar="NAME=PATH",
        show_default=False,
        rich_help_panel="Fields",
        autocompletion=_fields,
        help="Where a field is: a dotted path, with [] for each of a list (log_prob=output[].logprobs). Repeatable.",
    ),
]
RewardWeights = Annotated[
    list[str] | None,
    typer.Option(
        "--reward-weights",
        metavar="NAME=W,…",
        show_default=False,
        rich_help_panel="Fields",
        help="The reward is the sum of these fields, each by its weight (accuracy=1,format=0.5): TRL, ms-swift.",
    ),
]
Group = Annotated[
    GroupBy | None,
    typer.Option(
        "--group",
        show_default=False,
        rich_help_panel="Fields",
        help="A line's responses, or a file's, are the prompt; no id is looked for.",
    ),
]
PresetName = Annotated[
    str | None,
    typer.Option(
        "--preset",
        metavar="NAME",
        show_default=False,
        rich_help_panel="Fields",
        autocompletion=_presets,
        help="Whose dump it is (verl-v1, nemo-gym, …); by default the first records tell. --field goes on top of it.",
    ),
]
PresetFiles = Annotated[
    list[str] | None,
    typer.Option(
        "--presets",
        metavar="FILE",
        show_default=False,
        rich_help_panel="Fields",
        help="A TOML file with presets of your own. Repeatable.",
    ),
]
OutputFormat = Annotated[
    Format,
    typer.Option("--format", "-f", rich_help_panel="Output", help="What the result is written as."),
]
Precision = Annotated[
    int,
    typer.Option(
        min=0,
        max=17,
        rich_help_panel="Output",
        metavar="PLACES",
        help="Decimal places; gates use unrounded values.",
    ),
]
FailIf = Annotated[
    list[str] | None,
    typer.Option(
        "--fail-if",
        metavar="EXPR",
        show_default=False,
        rich_help_panel="Verdict",
        autocompletion=_numbers,
        help="A gate: exit 1 if EXPR holds, as in 'over_budget.fraction > 0.2'; any number of the JSON. Repeatable.",
    ),
]
MaxErrors = Annotated[
    str,
    typer.Option(
        metavar="N|P%",
        rich_help_panel="Verdict",
        help="How many rejected records, or what share, may still pass. They are counted all the same.",
    ),
]
MaxLineBytes = Annotated[
    int,
    typer.Option(
        min=1,
        rich_help_panel="Reading",
        metavar="BYTES",
        help="A longer line is rejected, not held.",
    ),
]
AllowTruncatedTail = Annotated[
    bool,
    typer.Option(
        "--allow-truncated-tail", rich_help_panel="Verdict", help="A torn last line of a file may still pass."
    ),
]
AllowEmpty = Annotated[
    bool, typer.Option("--allow-empty", rich_help_panel="Verdict", help="An input without records may still pass.")
]
Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        "-j",
        min=1,
        show_default=False,
        rich_help_panel="Reading",
        metavar="N",
        help="Workers, with ray tasks at a time; the result is the same for every number. "
        "Default: the cores, once it is worth it.",
    ),
]
ReadBy = Annotated[
    Engine,
    typer.Option(
        "--engine",
        rich_help_panel="Reading",
        help="Who reads: this machine, or the tasks of the Ray cluster that runs here or at $RAY_ADDRESS.",
    ),
]


def _standard_output(path: str | None) -> str | None:
    return None if path == "-" else path


Output = Annotated[
    str | None,
    typer.Option(
        "-o",
        "--output",
        metavar="FILE",
        rich_help_panel="Output",
        help="Write the result there, whole or not at all; - is standard output.",
        show_default=False,
        callback=_standard_output,
    ),
]
PerPrompt = Annotated[
    bool,
    typer.Option(
        "--per-prompt",
        rich_help_panel="Output",
        help="The numbers of every prompt, too; csv and markdown: of them only.",
    ),
]
By = Annotated[
    str | None,
    typer.Option(
        "--by",
        metavar="FIELD|file",
        show_default=False,
        rich_help_panel="Output",
        autocompletion=_labels,
        help="The same numbers for each value of a field, as in --by step, or for each file.",
    ),
]
Each = Annotated[
    bool,
    typer.Option(
        "--each",
        rich_help_panel="Verdict",
        help="With --by: the gates must hold in every row, too.",
    ),
]
WhenColour = Annotated[
    Colour,
    typer.Option(
        "--color",
        rich_help_panel="Output",
        help="Colour in the table; auto: on a terminal, unless NO_COLOR is set, or wherever FORCE_COLOR is.",
    ),
]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", rich_help_panel="Output", help="On standard error only what failed.")
]
Verbose = Annotated[
    bool,
    typer.Option("--verbose", "-v", rich_help_panel="Output", help="Name every rejected record, not the first ten."),
]
