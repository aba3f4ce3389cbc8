"""`budget-cli compare BASE NEW`: what differs between two dumps, and how sure that is."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from budget_cli.cli import console, options
from budget_cli.cli.options import Aggregate, Engine
from budget_cli.errors import Exit, InputProblem, UsageProblem

if TYPE_CHECKING:
    from budget_cli.analysis.compare import Comparison, EarlierResult, Moved
    from budget_cli.analysis.compare import Order as Quantity
    from budget_cli.analysis.loss import Aggregate as Weighing
    from budget_cli.analysis.loss import Coefficients
    from budget_cli.analysis.verdict import Allowance
    from budget_cli.ids import Key
    from budget_cli.records.columns import Tally
    from budget_cli.rendering.compare import Side
    from budget_cli.scanning.state import Scan
    from budget_cli.schema.fields import Fields
    from budget_cli.sources.local import Source

ONLY_NAMED = 10  # prompts that only one dump has, by name; all are counted

EPILOG = """Examples:

\b
  budget-cli compare monday/ tuesday/ -B 4096
  budget-cli compare base.jsonl new.jsonl -B 4096 --fail-if 'loss.delta > 0.05'
  budget-cli compare base.jsonl new.jsonl -B 4096 --fail-if 'reward.z < -2'
  budget-cli loss main.jsonl -B 4096 -f json -o main.json
  budget-cli compare main.json branch.jsonl -f markdown >>"$GITHUB_STEP_SUMMARY"

Exit: 0 all read and all held, 1 verdict fail, 2 usage, 3 input or output, 70 a bug.
"""


class Format(StrEnum):
    """What the comparison is written as."""

    TABLE = "table"
    JSON = "json"
    MARKDOWN = "markdown"


class Order(StrEnum):
    """What prompts are ranked by."""

    LOSS = "loss"
    REWARD = "reward"
    LENGTH = "length"


DUMP = "A file or a directory, as for loss; -: standard input; or what loss --format json wrote."
Base = Annotated[str, typer.Argument(metavar="BASE", show_default=False, help=DUMP)]
New = Annotated[str, typer.Argument(metavar="NEW", show_default=False, help="The same.")]
Top = Annotated[
    int,
    typer.Option(
        min=0, metavar="N", rich_help_panel="Output", help="How many of the prompts that moved most are shown."
    ),
]
By = Annotated[
    Order, typer.Option("--moved-by", rich_help_panel="Output", help="What the prompts that moved most are chosen by.")
]


@console.exits
def command(
    base: Base,
    new: New,
    token_budget: options.TokenBudget = None,
    budget_penalty_coef: options.BudgetPenaltyCoef = 0.01,
    kl_coef: options.KlCoef = 0.1,
    aggregate: options.AggregateBy = Aggregate.RESPONSE,
    field: options.FieldMappings = None,
    reward_weights: options.RewardWeights = None,
    group: options.Group = None,
    preset: options.PresetName = None,
    presets: options.PresetFiles = None,
    top: Top = 5,
    moved_by: By = Order.LOSS,
    format: Annotated[
        Format, typer.Option("--format", "-f", rich_help_panel="Output", help="What the compare is written as.")
    ] = Format.TABLE,
    precision: options.Precision = 4,
    fail_if: options.FailIf = None,
    max_errors: options.MaxErrors = "0",
    max_line_bytes: options.MaxLineBytes = 64 << 20,
    allow_truncated_tail: options.AllowTruncatedTail = False,
    allow_empty: options.AllowEmpty = False,
    jobs: options.Jobs = None,
    engine: options.ReadBy = options.Engine.LOCAL,
    output: options.Output = None,
    color: options.WhenColour = options.Colour.AUTO,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> Exit:
    """Two dumps side by side, and how sure each difference is.

    Compares loss, reward, adjusted reward, log-ratio, length, over-budget share and zero-variance share.

    Prompts whose id is in both are compared with each other, the others are left out and counted; where no id is in
    both, all prompts are compared, unpaired. A standard error is clustered by prompt. The result of an earlier loss
    --format json has no prompts any more: it is compared as a whole, without standard errors.

    A gate names a quantity (loss, reward, adjusted_reward, log_ratio, length, over_budget, zero_variance) and base,
    new, delta (new - base), se (its standard error) or z (delta / se), as in 'loss.delta > 0.05'.
    """
    console.require_writable(output)
    from budget_cli.analysis import compare, gates, verdict
    from budget_cli.analysis.loss import Coefficients, number_at, number_names
    from budget_cli.cli.session import as_typed, find
    from budget_cli.rendering import compare as rendering
    from budget_cli.schema.fields import Fields

    wanted_gates = gates.parse(fail_if or [], number_names(compare.Comparison))
    allowed, in_percent = verdict.parse_max_errors(max_errors)
    allowance = verdict.Allowance(allowed, in_percent, allow_truncated_tail, allow_empty)
    if base == new == "-":
        raise UsageProblem("BASE and NEW are both standard input: give one of them as a file")
    fields = Fields(needs_length=budget_penalty_coef != 0, needs_log_probs=kl_coef != 0)
    mappings, fields = as_typed(fields, field, reward_weights, group)
    sides = [_Side(name, find([name], output)) for name in (base, new)]
    given = Coefficients(token_budget, budget_penalty_coef, kl_coef)
    coefficients, weighing = _agreed(sides, given, aggregate.value)
    for side in sides:
        if side.earlier is None:
            options.require_budget(coefficients.token_budget, budget_penalty_coef)
            side.read(
                fields, mappings, preset, presets or [], coefficients, max_line_bytes, jobs, engine, quiet, verbose
            )

    compared, moved = _compared(sides, coefficients, weighing, moved_by.value, top)
    judged = []
    for gate in wanted_gates:
        value = number_at(compared, gate.path)
        judged.append(gates.Verdict(gate.expression, value, gate.passes(value)))
    reasons = [reason for side in sides for reason in side.reasons(allowance)] + verdict.failed_gates(judged)
    shown = (sides[0].shown(), sides[1].shown())
    if format is Format.TABLE:
        screen = rendering.screen(compared, shown, moved, moved_by.value, reasons, judged, precision)
        result = console.drawn(screen, output, color)
    else:
        write = rendering.json if format is Format.JSON else rendering.markdown
        result = write(compared, shown, moved, "fail" if reasons else "pass", judged, precision)
    console.write(result, output)
    for side in sides:
        side.tell(format is Format.TABLE, quiet)
    for reason in reasons if format is not Format.TABLE else []:
        console.say(f"fail: {reason}")
    if any(side.problems for side in sides):
        return Exit.IO
    return Exit.FAIL if reasons else Exit.PASS


class _Side:
    """BASE or NEW: a dump that is scanned, or what an earlier result says of one."""

    def __init__(self, name: str, found: "list[Source]") -> None:
        from budget_cli.analysis import compare
        from budget_cli.sources import results

        self.name, self._found = name, found
        self.scan: Scan | None = None
        self.earlier: EarlierResult | None = None
        self.problems: list[str] = []
        self.only_here: list[Key] = []
        kind = found[0].schema if len(found) == 1 else ""
        if kind == "loss/1":
            result = results.read_result(found[0])
            try:
                self.earlier = compare.from_result(result)
            except (KeyError, TypeError) as error:
                raise InputProblem(name, f"a result of budget-cli loss without {error}: write it anew") from None
            self.problems = [f"{name}: {problem}" for problem in result.get("incomplete", [])]
        elif kind.split("/")[0] in ("compare", "sweep", "check", "fields"):
            raise UsageProblem(f"{name}: a result of budget-cli {kind.split('/')[0]}: expected a dump, or one of loss")

    def read(
        self,
        fields: "Fields",
        mappings: list[str],
        preset: str | None,
        presets: list[str],
        coefficients: "Coefficients",
        max_line_bytes: int,
        jobs: int | None,
        engine: Engine,
        quiet: bool,
        verbose: bool,
    ) -> None:
        """Scan the dump."""
        from budget_cli.cli.session import placed, scanned

        budgets = () if coefficients.token_budget is None else (coefficients.token_budget,)
        fields = placed(self._found, fields, mappings, preset, presets, quiet)
        self.scan = scanned(self._found, fields, budgets, max_line_bytes, jobs, quiet, verbose, engine=engine)
        self.problems = [str(problem) for problem in self.scan.problems]

    @property
    def tally(self) -> "Tally":
        """What became of its records."""
        if self.scan is not None:
            return self.scan.tally
        assert self.earlier is not None
        return self.earlier.tally

    @property
    def _nowhere(self) -> str | None:
        from budget_cli.analysis import verdict

        return None if self.scan is None else verdict.nowhere(self.scan.tally, self.scan.rejections)

    def reasons(self, allowance: "Allowance") -> list[str]:
        """Why this side alone makes the verdict fail."""
        from budget_cli.analysis import verdict

        reasons = list(self.problems)
        if self._nowhere is not None:
            reasons.append(f"{self.name}: {self._nowhere}")
        return reasons + [f"{self.name}: {why}" for why in verdict.reasons_to_fail(self.tally, allowance, [])]

    def shown(self) -> "Side":
        """What the result says of it."""
        from budget_cli.rendering.compare import Side

        rejections = [] if self.scan is None or self._nowhere is not None else self.scan.rejections
        return Side(self.name, self.tally, rejections, self.only_here, self.problems)

    def tell(self, is_screen: bool, quiet: bool) -> None:
        """On standard error, what the result does not say."""
        from budget_cli.cli import outcome

        if self.scan is not None:
            outcome.tell(self.scan, [], is_screen, quiet)


def _agreed(sides: list[_Side], given: "Coefficients", aggregate: "Weighing") -> "tuple[Coefficients, Weighing]":
    """The coefficients of both and what weighs the same in their means: as given, or those of earlier results.

    Raises:
        UsageProblem: they are not the same, so the losses cannot be compared.
    """
    results = [(side.name, side.earlier) for side in sides if side.earlier is not None]
    if not results:
        return given, aggregate
    first, rest = results[0], results[1:]
    told = given._replace(token_budget=given.token_budget or first[1].coefficients.token_budget)
    if len(results) == len(sides) and given.token_budget is None:
        told, aggregate = first[1].coefficients, first[1].aggregate  # no dump for which the options would count
    for name, result in [first, *rest]:
        if (result.coefficients, result.aggregate) != (told, aggregate):
            raise UsageProblem(
                f"{name}: computed with {_flags(result.coefficients, result.aggregate)}, the other with"
                f" {_flags(told, aggregate)}: only the same can be compared"
            )
    return told, aggregate


def _flags(coefficients: "Coefficients", aggregate: "Weighing") -> str:
    budget, beta, alpha = coefficients
    flags = f"{'no budget' if budget is None else f'-B {budget}'} --beta {beta:g} --alpha {alpha:g}"
    return flags if aggregate == "response" else f"{flags} --aggregate {aggregate}"


def _compared(
    sides: list[_Side], coefficients: "Coefficients", aggregate: "Weighing", order: "Quantity", top: int
) -> "tuple[Comparison, list[Moved]]":
    """The comparison, and the prompts that moved most; tells each side which prompts it alone has."""
    from budget_cli.analysis import compare

    base, new = sides
    if base.scan is not None and new.scan is not None:
        one, two = base.scan.groups, new.scan.groups
        pairing = compare.pair(one, two)
        if pairing.paired:
            base.only_here = compare.prompt_ids(one, pairing.only_base, ONLY_NAMED)
            new.only_here = compare.prompt_ids(two, pairing.only_new, ONLY_NAMED)
        moved = compare.moved(one, two, pairing, coefficients, order, top)
        return compare.compare_groups(one, two, pairing, coefficients, aggregate), moved
    earlier = [side.earlier or _summed(side, coefficients, aggregate) for side in sides]
    return compare.compare_results(earlier[0], earlier[1], coefficients, aggregate), []


def _summed(side: _Side, coefficients: "Coefficients", aggregate: "Weighing") -> "EarlierResult":
    """A dump as a result, to stand beside one."""
    from budget_cli.analysis import compare
    from budget_cli.analysis.loss import compute_loss

    assert side.scan is not None
    loss = compute_loss(side.scan.groups, coefficients, side.scan.tally, aggregate)
    return compare.from_loss(loss, side.scan.tally)
