"""KEY=VALUE → the objective that was trained: the penalty, whom it is applied to, and the advantage. Data only.

A contradiction is refused in a sentence; what is left is an objective whose numbers are defined.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, NamedTuple

from budget_cli.objective.estimators import ESTIMATORS, NOT_HERE, Estimator
from budget_cli.objective.penalties import NOT_HERE as OF_OTHERS
from budget_cli.objective.penalties import SHAPES, Hinges, gated

FLOOR = 0  # no response is shorter, in tokens
OWN_FLOOR = -(2**31)  # no response is shorter than its own budget by more, in tokens
MOST_TOKENS = 2**31
PER_RESPONSE = "1/n"  # as a scale_floor: one response of the prompt
TOKENS = ("token", "prompt-token", "constant")  # aggregates that weigh a response by its tokens
AGGREGATES = ("response", "prompt", "row", *TOKENS)


class Objective(NamedTuple):
    """What a trainer minimises, apart from B, β and α. The defaults are Kimi K2's objective."""

    name: str = "kimi-k2"
    penalty: str = "linear"  # a name in SHAPES
    cap: int | None = None  # tokens
    penalize: str = "all"  # or correct: only responses with a reward above `correct_above`
    correct_above: float = 0.0
    scale: str = "none"  # or solve-rate: β is multiplied by the share of the prompt's responses that are correct
    scale_floor: float | str = 0.0  # the smallest such factor; "1/n": one response
    gate: float | None = None  # the solve rate from which on a prompt is penalised
    budget_field: str | None = None  # the place in a record of its own budget, in tokens
    budget_by: str | None = None  # the place of a label that `budgets` knows
    budgets: tuple[tuple[str, int], ...] = ()  # tokens by label
    factors: tuple[float, ...] = (1.0,)  # of these budgets, which a sweep varies
    otherwise: int | None = None  # tokens, for records without a budget of their own
    advantage: str = "centred"  # a name in ESTIMATORS
    ddof: int = 1
    eps: float = 1e-6
    singletons: str = "zero"  # or reward: the advantage of a prompt's only response
    aggregate: str = "response"
    constant: int | None = None  # tokens that the sum over those of a response is divided by, for aggregate=constant

    @property
    def estimator(self) -> Estimator:
        """The estimator of the advantage."""
        return ESTIMATORS[self.advantage]

    @property
    def has_plain_penalty(self) -> bool:
        """True if the penalty of every response is its excess over B."""
        return (self.penalty, self.penalize, self.scale, self.gate) == ("linear", "all", "none", None)

    @property
    def needs_solve_rate(self) -> bool:
        """True if the penalty of a prompt depends on how many of its responses are correct."""
        return self.scale != "none" or self.gate is not None

    @property
    def has_plain_advantage(self) -> bool:
        """True if the advantage is the adjusted reward minus its mean."""
        return self.estimator.is_linear and self.singletons == "zero"

    @property
    def has_own_budgets(self) -> bool:
        """True if records have budgets of their own; lengths are then compared with these, and B is the rest: 0."""
        return self.budget_field is not None or self.budget_by is not None

    @property
    def without_length(self) -> str:
        """The options that do without the lengths of responses."""
        needless = ["--set advantage=centred"] if self.advantage == "opo" else []
        needless += ["--aggregate response"] if self.aggregate in TOKENS else []
        return " ".join([*needless, "--budget-penalty-coef 0"])

    @property
    def floor(self) -> int:
        """A number of tokens that no length is below, or no difference between a length and its own budget."""
        return OWN_FLOOR if self.has_own_budgets else FLOOR

    @property
    def is_gated(self) -> bool:
        """True if only correct responses are penalised."""
        return self.penalize == "correct"

    def shape(self, budget: int) -> Hinges:
        """Return the penalty of a response that is penalised."""
        return SHAPES[self.penalty].hinges(budget, self.cap or 0, self.floor)

    def hinges(self, budget: int) -> Hinges:
        """Return the penalty as a sum of hinges, of correct responses if only those are penalised."""
        if self.is_gated and self.has_own_budgets and self.penalty == "distance":
            return Hinges(((0, 1),))  # of the distance itself
        return gated(self.shape(budget), self.floor) if self.is_gated else self.shape(budget)

    def settings(self) -> dict[str, Any]:
        """Return the keys that say something: those of the penalty and the advantage, and others where they matter."""
        found: dict[str, Any] = {"penalty": self.penalty}
        if self.penalty == "capped":
            found["cap"] = self.cap
        found |= {"penalize": self.penalize, "correct_above": self.correct_above}
        found["scale"] = self.scale
        if self.scale != "none":
            found["scale_floor"] = self.scale_floor
        found |= {"gate": self.gate}
        if self.budget_field is not None:
            found["budget_field"] = self.budget_field
        if self.budget_by is not None:
            found |= {"budget_by": self.budget_by, "budgets": dict(self.budgets)}
        found["advantage"] = self.advantage
        if self.estimator.divides:
            found |= ({} if self.advantage == "maxrl" else {"ddof": self.ddof}) | {"eps": self.eps}
        return found | {"singletons": self.singletons} | ({} if self.constant is None else {"constant": self.constant})

    def sentence(self) -> str:
        """Say what is trained, in one line."""
        shape = SHAPES[self.penalty].formula
        if self.penalty == "capped":
            shape = shape.replace("c,", f"{self.cap:,},")
        right = "correct" if not self.correct_above else f"correct (reward above {self.correct_above:g})"
        parts = [f"{self.penalty} penalty {shape}"]
        parts += [f"of {right} responses only"] if self.is_gated else []
        if self.budget_field is not None:
            parts.append(f"B in {self.budget_field} of each record")
        if self.budget_by is not None:
            parts.append(f"B by {self.budget_by} ({', '.join(f'{name} {tokens:,}' for name, tokens in self.budgets)})")
        parts += [f"otherwise {self.otherwise:,}"] if self.otherwise is not None else []
        if self.scale != "none":
            floor = self.scale_floor
            least = f", at least {floor if isinstance(floor, str) else format(floor, 'g')}" if floor else ""
            parts.append(f"times the solve rate{least}")
        parts += [f"where the solve rate is {self.gate:g} or more"] if self.gate is not None else []
        advantage = f"advantage {self.estimator.formula}"
        if self.estimator.divides:
            of = [f"ε {self.eps:g}"] if self.advantage == "maxrl" else [f"ddof {self.ddof}", f"ε {self.eps:g}"]
            advantage += f" ({', '.join(of)})"
        parts.append(advantage)
        parts += ["single responses keep their reward"] if self.singletons == "reward" else []
        return f"{self.name}: {', '.join(parts)}"


DEFAULT = Objective()
CHOICES = {
    "penalty": tuple(SHAPES),
    "penalize": ("all", "correct"),
    "scale": ("none", "solve-rate"),
    "advantage": tuple(ESTIMATORS),
    "singletons": ("zero", "reward"),
    "aggregate": AGGREGATES,
}
KEYS = tuple(name for name in Objective._fields if name not in ("name", "factors", "otherwise"))
OF_LABEL = "budgets."  # before a label, as in budgets.math=8192


def parse(name: str, values: Mapping[str, Any]) -> Objective:
    """Return the objective with these values, given as text or as TOML's numbers.

    Raises:
        ValueError: a key is unknown, a value is not one of its key, or two of them contradict each other.
    """
    plain = {key: value for key, value in values.items() if key != "budgets" and not key.startswith(OF_LABEL)}
    budgets = _budgets(values)
    found = {key: _value(key, value) for key, value in plain.items()}
    return _without_contradiction(Objective(name, **found, budgets=budgets), {*values})


def _budgets(values: Mapping[str, Any]) -> tuple[tuple[str, int], ...]:
    """Return the tokens by label, of the keys `budgets.LABEL` and the table `budgets`."""
    table = values.get("budgets", {})
    if not isinstance(table, Mapping):
        raise ValueError(f"budgets={table}: expected tokens by label, as in budgets.math=8192")
    named = {key.removeprefix(OF_LABEL): value for key, value in values.items() if key.startswith(OF_LABEL)}
    return tuple((label, _value(f"{OF_LABEL}{label}", value)) for label, value in {**table, **named}.items())


def _value(key: str, value: Any) -> Any:
    if key in ("budget_field", "budget_by"):
        if isinstance(value, str) and value:
            return value
        raise ValueError(f"{key}={value}: expected the place of a field, as in {key}=meta.budget")
    of_label = key.startswith(OF_LABEL)
    if key not in KEYS and not of_label:
        close = get_close_matches(key.replace("-", "_"), KEYS, n=1)
        raise ValueError(f"{key}: unknown key" + (f" (did you mean {close[0]}?)" if close else f": {', '.join(KEYS)}"))
    if key in CHOICES:
        if value in CHOICES[key]:
            return value
        why = {**NOT_HERE, **OF_OTHERS}.get(str(value).lower())
        close = get_close_matches(str(value).lower(), CHOICES[key], n=1)
        hint = f"; {value} {why}" if why else f" (did you mean {close[0]}?)" if close else ""
        raise ValueError(f"{key}={value}: expected {' or '.join(CHOICES[key])}{hint}")
    if key == "scale_floor" and value == PER_RESPONSE:
        return value
    if key == "gate" and value == "none":
        return None
    wanted = {
        key: "a whole number of tokens, 0 or more",
        "cap": "a whole number of tokens from 1 on",
        "constant": "a whole number of tokens from 1 on",
        "ddof": "0 or 1",
        "scale_floor": f"a number from 0 to 1, or {PER_RESPONSE}",
        "gate": "a solve rate from 0 to 1, or none",
        "eps": "a number of 0 or more",
        "correct_above": "a number",
    }[key]
    try:
        number = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else float("nan")
    except (ValueError, OverflowError):
        number = float("nan")
    whole = number.is_integer()
    fits = {
        key: whole and 0 <= number <= MOST_TOKENS,
        "cap": whole and 1 <= number <= MOST_TOKENS,
        "constant": whole and 1 <= number <= MOST_TOKENS,
        "ddof": number in (0, 1),
        "scale_floor": 0 <= number <= 1,
        "gate": 0 <= number <= 1,
        "eps": 0 <= number < float("inf"),
        "correct_above": abs(number) < float("inf"),
    }[key]
    if not fits:
        raise ValueError(f"{key}={value}: expected {wanted}")
    return int(number) if key in ("cap", "constant", "ddof") or of_label else number


def _without_contradiction(one: Objective, given: set[str]) -> Objective:
    if one.penalty == "capped" and one.cap is None:
        raise ValueError("penalty=capped: give the tokens over which it grows, as in --set cap=2048")
    if one.penalty != "capped" and one.cap is not None:
        raise ValueError(f"cap={one.cap}: only penalty=capped has one, and the penalty is {one.penalty}")
    if "scale_floor" in given and one.scale == "none" and one.scale_floor:
        raise ValueError(f"scale_floor={one.scale_floor}: applies to scale=solve-rate, and nothing is scaled")
    for key in {"ddof", "eps"} & given:
        if not one.estimator.divides or (key == "ddof" and one.advantage == "maxrl"):
            raise ValueError(f"{key}={getattr(one, key):g}: advantage={one.advantage} has no {key}")
    if one.budget_field is not None and one.budget_by is not None:
        raise ValueError("budget_field and budget_by: both say which budget a record has: give one of them")
    if one.budgets and one.budget_by is None:
        raise ValueError(f"budgets.{one.budgets[0][0]}: give the field of these labels, as in budget_by=task")
    if one.budget_by is not None and not one.budgets:
        raise ValueError(f"budget_by={one.budget_by}: give tokens by label, as in budgets.math=8192")
    if one.has_own_budgets and one.advantage == "opo":
        raise ValueError("advantage=opo: weighs by length, which budgets of their own leave no sum of: give one -B")
    if one.aggregate == "constant" and one.constant is None:
        raise ValueError("aggregate=constant: give the tokens that sums are divided by, as in constant=8192")
    if one.singletons == "reward" and one.estimator.of_batch:
        raise ValueError(f"singletons=reward: advantage={one.advantage} takes its mean or deviation from the batch")
    return one
