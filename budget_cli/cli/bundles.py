"""Options that belong together → one value per group. Typer sees each field as an option of the command.

Named tuples, as a frozen dataclass takes six times as long to make, at every start.
"""

import functools
import inspect
from collections.abc import Callable, Collection
from enum import Enum
from typing import Annotated, Any, NamedTuple, get_type_hints

import typer

from budget_cli.cli import options
from budget_cli.cli.options import Colour, Engine
from budget_cli.errors import UsageProblem

Command = Callable[..., Any]


class CoefficientOptions(NamedTuple):
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


class FieldOptions(NamedTuple):
    """Where to find the fields of a record."""

    field: options.FieldMappings = None
    reward_weights: options.RewardWeights = None
    group: options.Group = None
    group_size: options.GroupSize = None
    ids_per_file: options.IdsPerFile = False
    preset: options.PresetName = None
    presets: options.PresetFiles = None
    where: options.Where = None
    keep: options.Keep = None
    ignore_unneeded: options.IgnoreUnneeded = False
    tokenizer: options.TokenizerFile = None


class VerdictOptions(NamedTuple):
    """The gates, and the defects of a dump that are tolerated."""

    fail_if: options.FailIf = None
    max_errors: options.MaxErrors = "0"
    allow_truncated_tail: options.AllowTruncatedTail = False
    allow_empty: options.AllowEmpty = False


class AllowanceOptions(NamedTuple):
    """The tolerated defects, for a command that has no gates."""

    max_errors: options.MaxErrors = "0"
    allow_truncated_tail: options.AllowTruncatedTail = False
    allow_empty: options.AllowEmpty = False


class ReadingOptions(NamedTuple):
    """How to read the input."""

    max_line_bytes: options.MaxLineBytes = 64 << 20
    jobs: options.Jobs = None
    engine: options.ReadBy = Engine.LOCAL


class LocalReadingOptions(NamedTuple):
    """How to read the input, for a command that does not run on a cluster."""

    max_line_bytes: options.MaxLineBytes = 64 << 20
    jobs: options.Jobs = None


class OutputOptions(NamedTuple):
    """Where to write the result, and how much to report on standard error."""

    output: options.Output = None
    quiet: options.Quiet = False
    verbose: options.Verbose = False


class ScreenOptions(NamedTuple):
    """Output options of a command that can draw a table."""

    output: options.Output = None
    color: options.WhenColour = Colour.AUTO
    quiet: options.Quiet = False
    verbose: options.Verbose = False


class CheckScreenOptions(NamedTuple):
    """Where the findings are written, and how much is shown."""

    output: options.Output = None
    color: options.WhenColour = Colour.AUTO
    quiet: options.Quiet = False
    verbose: Annotated[
        bool,
        typer.Option("--verbose", "-v", help="For findings of severity info, too, say why they matter and what to do."),
    ] = False


class InventoryOptions(NamedTuple):
    """Output options of `fields`, which reports nothing on standard error."""

    output: options.Output = None
    color: options.WhenColour = Colour.AUTO


def as_arguments(bundle: Any, without: Collection[str] = ()) -> list[str]:
    """Return the arguments of a command line that give the options of a bundle their values, but for the defaults.

    Args:
        bundle: a named tuple of options.
        without: names of options to leave out.
    """
    arguments: list[str] = []
    for name, default in bundle._field_defaults.items():
        value = getattr(bundle, name)
        if value in (default, [], ()) or name in without:
            continue
        flag = f"--{name.replace('_', '-')}"
        for each in value if isinstance(value, list | tuple) else [value]:
            arguments += [flag] if each is True else [flag, str(each.value if isinstance(each, Enum) else each)]
    return arguments


def flattened(command: Command) -> Command:
    """Replace the bundles among a command's parameters by their fields, in the same order."""
    hints = get_type_hints(command, include_extras=True)
    bundles: dict[str, Any] = {}
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        if not (isinstance(hints[name], type) and issubclass(hints[name], tuple)):
            parameters.append(parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY))
            continue
        bundles[name] = hints[name]
        types = get_type_hints(hints[name], include_extras=True)
        parameters += [
            inspect.Parameter(option, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=types[option])
            for option, default in hints[name]._field_defaults.items()
        ]

    @functools.wraps(command)
    def run(**given: Any) -> Any:
        made = {
            name: bundle(**{option: given.pop(option) for option in bundle._fields}) for name, bundle in bundles.items()
        }
        return command(**made, **given)

    run.__signature__ = inspect.Signature(parameters, return_annotation=hints["return"])  # type: ignore[attr-defined]  # read by inspect
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run
