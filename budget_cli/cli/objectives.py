"""`--objective NAME|FILE.toml` and `--set KEY=VALUE` → the objective; with B, β and α, what a loss is computed by."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from budget_cli.cli.bundles import (
    CoefficientOptions,
    ObjectiveOptions,
    OverlongOptions,
    is_given_here,
    is_of_file,
    is_typed,
)
from budget_cli.cli.options import Aggregate
from budget_cli.cli.recipes import keys_of
from budget_cli.errors import UsageProblem
from budget_cli.objective.estimators import ESTIMATORS
from budget_cli.objective.settings import DEFAULT, KEYS, TOKENS, Objective, parse

if TYPE_CHECKING:
    from budget_cli.analysis.loss import Coefficients


class Asked(NamedTuple):
    """The objective that is asked for, with its coefficients."""

    at: "Coefficients"
    objective: Objective
    aggregate: Aggregate

    @property
    def budgets(self) -> tuple[int, ...]:
        """The budget as a tuple, in the form that a scan takes."""
        return () if self.at.token_budget is None else (self.at.token_budget,)

    @property
    def needs(self) -> tuple[bool, bool]:
        """Whether a record needs a length, and log-probs."""
        return needs_length(self.objective, self.at.budget_penalty_coef), bool(self.at.kl_coef)


def asked(
    context: typer.Context,
    coefficients: CoefficientOptions,
    overlong: OverlongOptions,
    given: ObjectiveOptions,
    aggregate: Aggregate = Aggregate.RESPONSE,
) -> Asked:
    """Return what the options ask for.

    Raises:
        UsageProblem: an option is invalid, or contradicts another; there is a penalty, but no budget.
    """
    budget, beta = overlong.coefficients(context, coefficients.token_budget, coefficients.budget_penalty_coef)
    objective, budget = with_own_budgets(chosen(context, given, overlong.overlong_buffer), budget)
    if not objective.has_own_budgets:
        coefficients.changed(token_budget=budget, budget_penalty_coef=beta).require_budget()
    from budget_cli.analysis.loss import Coefficients  # and numpy, which --help and a refusal do not need

    at = Coefficients(budget, beta, coefficients.kl_coef)
    aggregate = aggregate_of(context, aggregate, objective)
    if aggregate is Aggregate.CONSTANT and objective.constant is None:
        raise UsageProblem("--aggregate constant: give the tokens that sums are divided by: --set constant=8192")
    return Asked(at, objective._replace(aggregate=aggregate.value), aggregate)


def with_own_budgets(objective: Objective, budget: int | None) -> tuple[Objective, int | None]:
    """Return the objective and B; if records have budgets of their own, B is that of the records without one."""
    return (objective._replace(otherwise=budget), None) if objective.has_own_budgets else (objective, budget)


def aggregate_of(context: typer.Context, aggregate: Aggregate, objective: Objective) -> Aggregate:
    """Return the unit to average over: that of --aggregate, or else of the objective."""
    if is_typed(context, "aggregate") or objective.aggregate == DEFAULT.aggregate:
        return aggregate
    return Aggregate(objective.aggregate)


def needs_length(objective: Objective, beta: float) -> bool:
    """True if the objective needs the length of every response."""
    return bool(beta) or objective.advantage == "opo" or objective.aggregate in TOKENS


def chosen(context: typer.Context, given: ObjectiveOptions, buffer: int | None = None) -> Objective:
    """Return the objective of --objective, with the keys of --set.

    A name on the command line replaces the objective of a settings file; keys without a name change it.

    Args:
        context: says where the options have their values from.
        given: the options.
        buffer: the overlong buffer (tokens), which is the cap of a capped penalty without one.

    Raises:
        UsageProblem: the name or a key is unknown, a value is invalid, or two of them contradict each other.
    """
    if given.objective is None and not given.set:
        return DEFAULT
    name, values = keys_of(DEFAULT.name if given.objective is None else given.objective)
    of_file, here = _layers(context, given)
    for layer in (of_file, here):
        values = {**_without_leftovers(values, layer), **layer}
    if values.get("penalty") == "capped" and buffer is not None:
        values.setdefault("cap", buffer)
    try:
        return parse(name, values)
    except ValueError as error:
        key = str(error).partition(":")[0].partition("=")[0]
        if key in here:
            raise UsageProblem(f"--set {error}") from None
        where = f"{context.obj}: objective." if key in of_file else f"--objective {given.objective}: "
        raise UsageProblem(f"{where}{error}") from None


def named(name: str | None, keys: Mapping[str, Any]) -> Objective:
    """Return the objective of this name, or the default, with these keys in place of its own.

    Raises:
        UsageProblem: the name or a key is unknown, a value is invalid, or two of them contradict each other.
    """
    name, values = keys_of(DEFAULT.name if name is None else name)
    try:
        return parse(name, {**_without_leftovers(values, keys), **keys})
    except ValueError as error:
        key = str(error).partition(":")[0].partition("=")[0]
        remedy = re.sub(r"--set (\w+)=(\w+)", r"set={'\1': \2}", str(error))
        raise UsageProblem(f"set={error}" if key in keys else f"objective={name}: {remedy}") from None


def _layers(context: typer.Context, given: ObjectiveOptions) -> tuple[dict[str, str], dict[str, str]]:
    """Return the keys that the settings file changes, and those that the command line or the environment does."""
    keys = dict(map(_pair, given.set or []))
    if is_of_file(context, "set"):
        return ({}, {}) if is_given_here(context, "objective") else (keys, {})
    if is_given_here(context, "objective"):
        return {}, keys
    return dict(map(_pair, context.lookup_default("set") or [])), keys


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not value or not key.strip():
        raise UsageProblem(f"--set {text}: expected KEY=VALUE, as in penalty=capped; the keys are {', '.join(KEYS)}")
    return key.strip(), value.strip()


def _without_leftovers(values: Mapping[str, Any], changed: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of a recipe without those that a key of --set makes meaningless."""
    left = dict(values)
    for key, leads in {"cap": "penalty", "scale_floor": "scale", "ddof": "advantage", "eps": "advantage"}.items():
        if leads in changed:
            left.pop(key, None)
    estimator = ESTIMATORS.get(str(changed.get("advantage", "")))
    if estimator is not None and estimator.of_batch:  # which has no singletons
        left.pop("singletons", None)
    return left
