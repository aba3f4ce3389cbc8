"""Options that belong together → one value per group. Typer sees each field as an option of the command."""

import functools
import inspect
from collections.abc import Callable, Collection
from enum import Enum
from typing import Annotated, Any, Self, dataclass_transform

import typer

from budget_cli.cli import options
from budget_cli.cli.options import Colour, Engine
from budget_cli.errors import UsageProblem

Command = Callable[..., Any]


@dataclass_transform(kw_only_default=True)
class Bundle:
    """Fields with defaults, each an option. A dataclass would say the same, and take 2 ms at every start."""

    def __init__(self, **given: Any) -> None:
        """Set these fields; the others keep their defaults."""
        self.__dict__.update(given)

    def changed(self, **fields: Any) -> Self:
        """Return a copy with other values of these fields."""
        return type(self)(**{**vars(self), **fields})


class CoefficientOptions(Bundle):
    """A single value for each of B, β and α."""

    token_budget: options.TokenBudget = None
    budget_penalty_coef: options.BudgetPenaltyCoef = 0.01
    kl_coef: options.KlCoef = 0.1

    def require_budget(self) -> None:
        """Refuse a penalty without a budget.

        Raises:
            UsageProblem: β is not 0 and no B is given.
        """
        if self.budget_penalty_coef and self.token_budget is None:
            raise UsageProblem("give a budget (-B TOKENS), or --budget-penalty-coef 0 to do without one")

    @property
    def values(self) -> tuple[int | None, float, float]:
        """B, β and α."""
        return self.token_budget, self.budget_penalty_coef, self.kl_coef

    @property
    def budgets(self) -> tuple[int, ...]:
        """The budget as a tuple, in the form that a scan takes."""
        return () if self.token_budget is None else (self.token_budget,)


class OverlongOptions(Bundle):
    """B and β in DAPO's terms."""

    max_response_length: options.MaxResponseLength = None
    overlong_buffer: options.OverlongBuffer = None
    overlong_penalty: options.OverlongPenalty = 1.0

    def coefficients(self, context: typer.Context, budget: int | None, beta: float) -> tuple[int | None, float]:
        """Return B and β: those given, or those that the overlong buffer amounts to.

        Raises:
            UsageProblem: one of length and buffer is missing, the buffer is longer, or B or β is given as well.
        """
        length, buffer = self.max_response_length, self.overlong_buffer
        if length is None and buffer is None:
            return budget, beta
        if is_typed(context, "token_budget") or is_typed(context, "budget_penalty_coef"):
            raise UsageProblem("--overlong-buffer sets both the budget and β: give either it or -B and --beta")
        if length is None or buffer is None:
            raise UsageProblem("--max-response-length and --overlong-buffer go together: give both")
        if buffer > length:
            raise UsageProblem(f"--overlong-buffer {buffer}: expected at most --max-response-length, {length}")
        return length - buffer, self.overlong_penalty / buffer


class ObjectiveOptions(Bundle):
    """The objective that was trained, apart from its coefficients."""

    objective: options.ObjectiveName = None
    set: options.ObjectiveKeys = None


class FieldOptions(Bundle):
    """Where to find the fields of a record."""

    field: options.FieldMappings = None
    reward_weights: options.RewardWeights = None
    group: options.Group = None
    group_size: options.GroupSize = None
    ids_per_file: options.IdsPerFile = False
    records: options.RecordsPlace = None
    preset: options.PresetName = None
    presets: options.PresetFiles = None
    where: options.Where = None
    keep: options.Keep = None
    ignore_unneeded: options.IgnoreUnneeded = False
    tokenizer: options.TokenizerFile = None


class VerdictOptions(Bundle):
    """The gates, and the defects of a dump that are tolerated."""

    fail_if: options.FailIf = None
    max_errors: options.MaxErrors = "0"
    allow_truncated_tail: options.AllowTruncatedTail = False
    allow_empty: options.AllowEmpty = False


class AllowanceOptions(Bundle):
    """The tolerated defects, for a command that has no gates."""

    max_errors: options.MaxErrors = "0"
    allow_truncated_tail: options.AllowTruncatedTail = False
    allow_empty: options.AllowEmpty = False


class ReadingOptions(Bundle):
    """How to read the input."""

    include: options.Include = None
    exclude: options.Exclude = None
    max_line_bytes: options.MaxLineBytes = 64 << 20
    jobs: options.Jobs = None
    engine: options.ReadBy = Engine.LOCAL


class LocalReadingOptions(Bundle):
    """How to read the input, for a command that does not run on a cluster."""

    include: options.Include = None
    exclude: options.Exclude = None
    max_line_bytes: options.MaxLineBytes = 64 << 20
    jobs: options.Jobs = None


class FolderOptions(Bundle):
    """Which files of a folder to read, for a command that reads no more than their beginning."""

    include: options.Include = None
    exclude: options.Exclude = None


class OutputOptions(Bundle):
    """Where to write the result, and how much to report on standard error."""

    output: options.Output = None
    quiet: options.Quiet = False
    verbose: options.Verbose = False


class ScreenOptions(Bundle):
    """Output options of a command that can draw a table."""

    output: options.Output = None
    color: options.WhenColour = Colour.AUTO
    quiet: options.Quiet = False
    verbose: options.Verbose = False


class CheckScreenOptions(Bundle):
    """Where the findings are written, and how much is shown."""

    output: options.Output = None
    color: options.WhenColour = Colour.AUTO
    quiet: options.Quiet = False
    verbose: Annotated[
        bool,
        typer.Option("--verbose", "-v", help="For findings of severity info, too, say why they matter and what to do."),
    ] = False


class InventoryOptions(Bundle):
    """Output options of `fields`, which reports nothing on standard error."""

    output: options.Output = None
    color: options.WhenColour = Colour.AUTO


def is_typed(context: typer.Context, name: str) -> bool:
    """True if the command line gives this option, rather than the environment, the settings file or its default."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def is_of_file(context: typer.Context, name: str) -> bool:
    """True if this option has its value from a settings file."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "DEFAULT_MAP"


def is_given_here(context: typer.Context, name: str) -> bool:
    """True if the command line or the environment gives this option."""
    source = context.get_parameter_source(name)
    return source is not None and source.name in ("COMMANDLINE", "ENVIRONMENT")


def defaults(context: typer.Context) -> list[str]:
    """Return the options that nobody has given: not on the command line, nor in the environment or a settings file."""
    set_by_others = {"budget_penalty_coef"} if context.params.get("overlong_buffer") else set()
    names = [name for name in context.params if name not in set_by_others]
    sources = ((name, context.get_parameter_source(name)) for name in names)
    return [name for name, source in sources if source is not None and source.name == "DEFAULT"]


def as_arguments(bundle: Bundle, without: Collection[str] = ()) -> list[str]:
    """Return the arguments of a command line that give the options of a bundle their values, but for the defaults.

    Args:
        bundle: a group of options.
        without: names of options to leave out.
    """
    arguments: list[str] = []
    for name in inspect.get_annotations(type(bundle)):
        value, default = getattr(bundle, name), getattr(type(bundle), name)
        if value in (default, [], ()) or name in without:
            continue
        flag = f"--{name.replace('_', '-')}"
        for each in value if isinstance(value, list | tuple) else [value]:
            arguments += [flag] if each is True else [flag, str(each.value if isinstance(each, Enum) else each)]
    return arguments


def flattened(command: Command) -> Command:
    """Replace the bundles among a command's parameters by their fields, in the same order."""
    bundles: dict[str, type[Bundle]] = {}
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        kind = parameter.annotation
        if not (isinstance(kind, type) and issubclass(kind, Bundle)):
            parameters.append(parameter)
            continue
        bundles[name] = kind
        parameters += [
            inspect.Parameter(option, parameter.kind, default=getattr(kind, option), annotation=annotation)
            for option, annotation in inspect.get_annotations(kind).items()
        ]

    @functools.wraps(command)
    def run(**given: Any) -> Any:
        made = {
            name: bundle(**{option: given.pop(option) for option in inspect.get_annotations(bundle)})
            for name, bundle in bundles.items()
        }
        return command(**made, **given)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # read by inspect
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run
