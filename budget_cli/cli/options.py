"""The options that several commands share, and the checks on their values."""

import contextlib
import math
import os
from enum import StrEnum
from typing import Annotated

import typer

from budget_cli.analysis.numbers import MOST_TOKENS
from budget_cli.errors import InputProblem, UsageProblem


class LossFormat(StrEnum):
    """Output formats of `loss`."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"
    MARKDOWN = "markdown"
    GITHUB = "github"
    JUNIT = "junit"


class Aggregate(StrEnum):
    """The unit over which the loss is averaged."""

    RESPONSE = "response"
    PROMPT = "prompt"
    ROW = "row"
    TOKEN = "token"
    PROMPT_TOKEN = "prompt-token"
    CONSTANT = "constant"


class Engine(StrEnum):
    """Where reading runs."""

    LOCAL = "local"
    RAY = "ray"


class Colour(StrEnum):
    """When a table is coloured."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


class GroupBy(StrEnum):
    """What makes up a prompt, if not an id within a step."""

    PROMPT = "prompt"
    LINE = "line"
    FILE = "file"


def finite(value: float | None) -> float | None:
    """Return the value of an option; refuse infinity and NaN."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"expected a finite number, found {value}")
    return value


def _presets(incomplete: str) -> list[str]:
    from budget_cli.schema import presets

    return [name for name in presets.load() if name.startswith(incomplete)]


def _reasons(context: typer.Context, incomplete: str) -> list[str]:
    """The reasons of the preset that is named or fits the first file, and `all`; those of every preset if none does."""
    from budget_cli.records import detection
    from budget_cli.schema import presets
    from budget_cli.sources import local

    known = presets.load()
    preset = known.get(context.params.get("preset") or "")
    files = [name for name in context.args if os.path.exists(name)][:1]  # arguments, as --keep lacks its value
    if preset is None and files:
        with contextlib.suppress(InputProblem, UsageProblem):
            preset = detection.detect_preset(detection.sniff(local.find(files)), known)
    those = known.values() if preset is None else [preset]
    reasons = dict.fromkeys(reason for one in those for reason in one.reasons)
    return [reason for reason in (*reasons, presets.ALL) if reason.startswith(incomplete)]


def _fields(incomplete: str) -> list[str]:
    from budget_cli.schema.fields import NAMED

    return [f"{name}=" for name in NAMED if name.startswith(incomplete)]


def _objectives(incomplete: str) -> list[str]:
    from budget_cli.cli import recipes

    return [name for name in recipes.load() if name.startswith(incomplete)]


def _objective_keys(incomplete: str) -> list[str]:
    from budget_cli.objective.settings import CHOICES, KEYS

    known = [f"{key}={value}" for key, values in CHOICES.items() for value in values]
    known += [f"{key}=" for key in KEYS if key not in CHOICES]
    return [each for each in known if each.startswith(incomplete)]


def _numbers(context: typer.Context, incomplete: str) -> list[str]:
    from budget_cli.analysis import compare
    from budget_cli.analysis.loss import Loss, number_names

    kind = compare.Comparison if context.info_name == "compare" else Loss
    return [name for name in number_names(kind) if name.startswith(incomplete)]


def _numbers_of_prompts(incomplete: str) -> list[str]:
    from budget_cli.analysis.loss import Prompt

    return [name for name in Prompt._fields if name.startswith(incomplete) and name != "prompt_id"]


def terms(incomplete: str) -> list[str]:
    """Complete what `explain` explains."""
    from budget_cli.analysis.glossary import completions

    return [name for name in completions() if name.startswith(incomplete)]


def codes(incomplete: str) -> list[str]:
    """Complete the code of a check, also the last of several that are joined by commas."""
    from budget_cli.analysis.checks.catalogue import CHECKS

    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{code}" for code in CHECKS if code.startswith(last)]


def codes_and_topics(incomplete: str) -> list[str]:
    """Complete the code of a check, or the topic of several."""
    from budget_cli.analysis.checks.catalogue import TOPICS

    before, comma, last = incomplete.rpartition(",")
    return [*(f"{before}{comma}{topic}" for topic in TOPICS if topic.startswith(last)), *codes(incomplete)]


def codes_and_all(incomplete: str) -> list[str]:
    """Complete what `check --explain` explains."""
    return [*codes(incomplete), *(["all"] if "all".startswith(incomplete) else [])]


def thresholds(incomplete: str) -> list[str]:
    """Complete the name of a threshold."""
    from budget_cli.analysis.checks.catalogue import THRESHOLDS

    return [f"{name}=" for name in THRESHOLDS if name.startswith(incomplete)]


def labels(incomplete: str) -> list[str]:
    """Complete what `--by` can name besides the fields of the records."""
    from budget_cli.schema.fields import EXTRAS

    known = ["file", *(name for name, kind in EXTRAS.items() if kind == "label" and name != "by")]
    return [name for name in known if name.startswith(incomplete)]


Files = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[FILES]...",
        help="JSONL, JSON, CSV and TSV, plain or compressed (gz, bz2, xz, zst, zip); Parquet; folders (the dumps in"
        " them, to their bottom); URLs (s3://, gs://, hf://, https://). With - or no files: standard input.",
        show_default=False,
    ),
]
TokenBudget = Annotated[
    int | None,
    typer.Option(
        "--token-budget",
        "-B",
        min=0,
        max=MOST_TOKENS,
        show_default=False,
        rich_help_panel="Loss",
        metavar="TOKENS",
        help="Token budget B. There is no default: the budget is yours to decide.",
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
        help="β: reward lost per token over the budget. With 0, neither lengths nor a budget are needed.",
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
        help="α: weight of the log-ratio to the reference policy. With 0, no log-probs are needed.",
    ),
]
AggregateBy = Annotated[
    Aggregate,
    typer.Option(
        "--aggregate",
        rich_help_panel="Loss",
        help="Average over responses; over prompts (the mean of the per-prompt means); over rows, where a response"
        " was written as several records; over tokens, over those of each prompt, or sum them over a constant.",
    ),
]
MaxResponseLength = Annotated[
    int | None,
    typer.Option(
        "--max-response-length",
        min=1,
        max=MOST_TOKENS,
        show_default=False,
        rich_help_panel="Loss",
        metavar="TOKENS",
        help="DAPO's terms in place of -B and --beta, with --overlong-buffer: the longest response allowed.",
    ),
]
OverlongBuffer = Annotated[
    int | None,
    typer.Option(
        "--overlong-buffer",
        min=1,
        max=MOST_TOKENS,
        show_default=False,
        rich_help_panel="Loss",
        metavar="TOKENS",
        help="Tokens before that length over which the penalty grows: B = length − buffer, β = penalty / buffer.",
    ),
]
OverlongPenalty = Annotated[
    float,
    typer.Option(
        "--overlong-penalty",
        callback=finite,
        rich_help_panel="Loss",
        metavar="REWARD",
        help="Penalty at the end of the buffer.",
    ),
]
ObjectiveName = Annotated[
    str | None,
    typer.Option(
        "--objective",
        metavar="NAME|FILE.toml",
        show_default="kimi-k2",
        rich_help_panel="Loss",
        autocompletion=_objectives,
        help="The objective that was trained: a name (dapo, trl-grpo, verl-grpo, dr-grpo, rloo, …) or a file of such.",
    ),
]
ObjectiveKeys = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        show_default=False,
        rich_help_panel="Loss",
        autocompletion=_objective_keys,
        help="Change a key of the objective: penalty=capped, cap=2048, penalize=correct, advantage=grpo, … Repeatable.",
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
        help="Where to find a field: a dotted path, with [] for each element of a list"
        " (log_prob=output[].logprobs). Repeatable.",
    ),
]
RewardWeights = Annotated[
    list[str] | None,
    typer.Option(
        "--reward-weights",
        metavar="NAME=W,…",
        show_default=False,
        rich_help_panel="Fields",
        help="Use the weighted sum of these fields as the reward (accuracy=1,format=0.5): for TRL and ms-swift.",
    ),
]
Where = Annotated[
    str | None,
    typer.Option(
        "--where",
        metavar="EXPR",
        show_default=False,
        rich_help_panel="Fields",
        help="Leave out, and count, every sample for which this path or expression is not true: 'step > `100`'.",
    ),
]
Keep = Annotated[
    list[str] | None,
    typer.Option(
        "--keep",
        metavar="REASON|all",
        show_default=False,
        autocompletion=_reasons,
        rich_help_panel="Fields",
        help="Use the samples that the preset leaves out for this reason, such as failed. Repeatable.",
    ),
]
IgnoreUnneeded = Annotated[
    bool,
    typer.Option(
        "--ignore-unneeded",
        rich_help_panel="Fields",
        help="Accept records with an invalid value, even NaN, outside the fields that the coefficients need.",
    ),
]
Group = Annotated[
    GroupBy | None,
    typer.Option(
        "--group",
        show_default=False,
        rich_help_panel="Fields",
        help="prompt: equal ids in different steps are one prompt (by default, one per step). line, file: the"
        " responses of each line, or of each file, are one prompt; ids are ignored.",
    ),
]
GroupSize = Annotated[
    int | None,
    typer.Option(
        "--group-size",
        metavar="N",
        min=1,
        max=MOST_TOKENS,
        show_default=False,
        rich_help_panel="Fields",
        help="Every N lines of a file, in its order, are one prompt; ids are ignored.",
    ),
]
IdsPerFile = Annotated[
    bool,
    typer.Option(
        "--ids-per-file",
        rich_help_panel="Fields",
        help="Equal ids in different files are different prompts: for one file per step, without steps in the records.",
    ),
]
RecordsPlace = Annotated[
    str | None,
    typer.Option(
        "--records",
        metavar="PLACE",
        show_default=False,
        rich_help_panel="Fields",
        help="Where the records are in a JSON document, or in each line: results[] for the list under results, *[] for"
        " the lists under any key, [][] for lists of lists. Default: the one place that holds records.",
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
        help="Layout of the dump, by framework (verl-v1, nemo-gym, …). Default: detected from the first records."
        " --field overrides single fields of it.",
    ),
]
PresetFiles = Annotated[
    list[str] | None,
    typer.Option(
        "--presets",
        metavar="FILE",
        show_default=False,
        rich_help_panel="Fields",
        help="TOML file with presets of your own. Repeatable.",
    ),
]
TokenizerFile = Annotated[
    str | None,
    typer.Option(
        "--tokenizer",
        metavar="FILE",
        show_default=False,
        rich_help_panel="Fields",
        help="A tokenizer.json (Hugging Face): a response without a length gets the number of tokens of its text.",
    ),
]
OutputFormat = Annotated[
    LossFormat,
    typer.Option(
        "--format",
        "-f",
        rich_help_panel="Output",
        help="Output format; jsonl has a line for each row of --by, with names for experiment trackers.",
    ),
]
Precision = Annotated[
    int,
    typer.Option(
        min=0,
        max=17,
        rich_help_panel="Output",
        metavar="PLACES",
        help="Decimal places to show; gates use unrounded values.",
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
        help="Gate: fails the run (exit 1) when the condition is true, as in 'over_budget.fraction > 0.2', on any"
        " number of the JSON. A missing (null) number fails every gate. Repeatable.",
    ),
]
MaxErrors = Annotated[
    str,
    typer.Option(
        metavar="N|P%",
        rich_help_panel="Verdict",
        help="Number or share of rejected records to tolerate. They are still counted as rejected.",
    ),
]
Include = Annotated[
    list[str] | None,
    typer.Option(
        "--include",
        metavar="PATTERN",
        show_default=False,
        rich_help_panel="Reading",
        help="Of a folder, read only the files whose name, or path in it, fits this pattern ('train/*'), whatever they"
        " end in. Repeatable.",
    ),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(
        "--exclude",
        metavar="PATTERN",
        show_default=False,
        rich_help_panel="Reading",
        help="Of a folder, leave out the files whose name, or path in it, fits this pattern. Repeatable.",
    ),
]
MaxLineBytes = Annotated[
    int,
    typer.Option(
        min=1,
        max=1 << 40,
        rich_help_panel="Reading",
        metavar="BYTES",
        help="Reject longer lines, without holding them in memory.",
    ),
]
AllowTruncatedTail = Annotated[
    bool,
    typer.Option("--allow-truncated-tail", rich_help_panel="Verdict", help="Tolerate a truncated last line of a file."),
]
AllowEmpty = Annotated[
    bool, typer.Option("--allow-empty", rich_help_panel="Verdict", help="Tolerate input without records.")
]
Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        "-j",
        min=1,
        max=1 << 16,
        show_default=False,
        rich_help_panel="Reading",
        metavar="N",
        help="Worker processes, or concurrent tasks of Ray; the result is the same for any number."
        " Default: one per core, once the input is large enough to benefit.",
    ),
]
ReadBy = Annotated[
    Engine,
    typer.Option(
        "--engine",
        rich_help_panel="Reading",
        help="Read on this machine, or in tasks of the Ray cluster that runs here or at $RAY_ADDRESS.",
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
        help="Write the result to FILE, which appears only when complete; - is standard output.",
        show_default=False,
        callback=_standard_output,
    ),
]
PerPrompt = Annotated[
    bool,
    typer.Option(
        "--per-prompt",
        rich_help_panel="Output",
        help="Also report the numbers of every prompt; in jsonl, csv, parquet and markdown, only these.",
    ),
]
Top = Annotated[
    int | None,
    typer.Option(
        "--top",
        min=1,
        metavar="N",
        show_default=False,
        rich_help_panel="Output",
        help="Of the prompts, report only the first N, by --sort. Implies --per-prompt.",
    ),
]
Sort = Annotated[
    str | None,
    typer.Option(
        "--sort",
        metavar="[-]NAME",
        show_default=False,
        rich_help_panel="Output",
        autocompletion=_numbers_of_prompts,
        help="Order the prompts by a number of theirs, such as length_mean, the largest first, or with - before it the"
        " smallest. Implies --per-prompt. Default: loss, where --top or the table orders them.",
    ),
]
By = Annotated[
    str | None,
    typer.Option(
        "--by",
        metavar="FIELD|file",
        show_default=False,
        rich_help_panel="Output",
        autocompletion=labels,
        help="Also report the numbers for each value of a field, as in --by step, of several fields (task,step), or for"
        " each file.",
    ),
]
Each = Annotated[
    bool,
    typer.Option(
        "--each",
        rich_help_panel="Verdict",
        help="With --by: apply the gates to every row, too.",
    ),
]
WhenColour = Annotated[
    Colour,
    typer.Option(
        "--color",
        rich_help_panel="Output",
        help="Colour the table; auto: on a terminal or if FORCE_COLOR is set, but never if NO_COLOR is set.",
    ),
]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", rich_help_panel="Output", help="Print only failures on standard error.")
]
Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose", "-v", rich_help_panel="Output", help="List every rejected record, not just the first ten."
    ),
]
