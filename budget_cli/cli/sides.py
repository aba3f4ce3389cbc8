"""BASE and NEW of a comparison: each a dump that is scanned, or the earlier result of `loss --format json`."""

from collections.abc import Sequence

from budget_cli.analysis import compare, verdict
from budget_cli.analysis.compare import Comparison, EarlierResult, Moved, Order
from budget_cli.analysis.loss import Aggregate, Coefficients, compute_loss
from budget_cli.analysis.verdict import Reason
from budget_cli.cli.session import Session
from budget_cli.errors import InputProblem, UsageProblem
from budget_cli.ids import Key
from budget_cli.records.columns import Tally
from budget_cli.rendering.compare import Side as ShownSide
from budget_cli.sources.local import Kind
from budget_cli.sources.results import read_result

ONLY_NAMED = 10  # prompts that only one dump has, by name; all are counted


class Side:
    """One of the two."""

    def __init__(self, name: str, session: Session) -> None:
        """Find the dump, or read the earlier result.

        Raises:
            InputProblem: it cannot be read, or is an incomplete result.
            UsageProblem: it is a result of another command.
        """
        self.name, self.session = name, session
        self.earlier: EarlierResult | None = None
        self.problems: list[str] = []
        self.only_here: list[Key] = []
        session.find([name])
        if len(session.found) != 1 or session.found[0].kind is not Kind.RESULT:
            return
        (source,) = session.found
        if source.schema == "loss/1":
            result = read_result(source)
            try:
                self.earlier = compare.from_result(result)
            except (KeyError, TypeError) as error:
                raise InputProblem(name, f"a result of budget-cli loss without {error}: write it anew") from None
            self.problems = [f"{name}: {problem}" for problem in result.get("incomplete", [])]
        elif (command := source.schema.split("/")[0]) in ("compare", "sweep", "check", "fields"):
            raise UsageProblem(f"{name}: a result of budget-cli {command}: expected a dump, or one of loss")

    def read(self, budgets: Sequence[int]) -> None:
        """Scan the dump, if it is one."""
        if self.earlier is None:
            self.session.place()
            self.session.scan(budgets)
            self.problems = self.session.problems

    @property
    def tally(self) -> Tally:
        """The counts of its records."""
        return self.session.scanned.tally if self.earlier is None else self.earlier.tally

    def reasons(self) -> list[Reason]:
        """Why this side alone makes the verdict fail."""
        if self.earlier is None:
            reasons = self.session.reasons()
        else:
            reasons = verdict.reasons_to_fail(self.tally, [], self.problems, self.session.allowance)
        return [
            reason if reason.kind == "incomplete" else Reason(reason.kind, f"{self.name}: {reason}")
            for reason in reasons
        ]

    def shown(self) -> ShownSide:
        """What the result shows of it."""
        rejections = [] if self.earlier is not None else self.session.rejections()
        return ShownSide(self.name, self.tally, rejections, self.only_here, self.problems)

    def result(self, coefficients: Coefficients, aggregate: Aggregate) -> EarlierResult:
        """The earlier result; or a dump summed up as one, to stand beside one."""
        if self.earlier is not None:
            return self.earlier
        scan = self.session.scanned
        return compare.from_loss(compute_loss(scan.groups, coefficients, scan.tally, aggregate), scan.tally)


def agreed(sides: Sequence[Side], given: Coefficients, aggregate: Aggregate) -> tuple[Coefficients, Aggregate]:
    """Return the coefficients and the aggregate of both: as given, or those of earlier results.

    Raises:
        UsageProblem: they differ, so the losses cannot be compared.
    """
    results = [(side.name, side.earlier) for side in sides if side.earlier is not None]
    if not results:
        return given, aggregate
    (_, first), *_ = results
    common = given._replace(token_budget=given.token_budget or first.coefficients.token_budget)
    if len(results) == len(sides) and given.token_budget is None:
        common, aggregate = first.coefficients, first.aggregate  # there is no dump that the options could be about
    for name, result in results:
        if (result.coefficients, result.aggregate) != (common, aggregate):
            raise UsageProblem(
                f"{name}: computed with {_flags(result.coefficients, result.aggregate)}, the other with"
                f" {_flags(common, aggregate)}: only the same can be compared"
            )
    return common, aggregate


def _flags(coefficients: Coefficients, aggregate: Aggregate) -> str:
    budget, beta, alpha = coefficients
    flags = f"{'no budget' if budget is None else f'-B {budget}'} --beta {beta:g} --alpha {alpha:g}"
    return flags if aggregate == "response" else f"{flags} --aggregate {aggregate}"


def compared(
    base: Side, new: Side, coefficients: Coefficients, aggregate: Aggregate, order: Order, top: int
) -> tuple[Comparison, list[Moved]]:
    """Compare the sides, and rank the prompts that moved most; note on each side the prompts that it alone has."""
    if base.earlier is not None or new.earlier is not None:
        earlier, later = base.result(coefficients, aggregate), new.result(coefficients, aggregate)
        return compare.compare_results(earlier, later, coefficients, aggregate), []
    one, two = base.session.scanned.groups, new.session.scanned.groups
    pairing = compare.pair(one, two)
    if pairing.paired:
        base.only_here = compare.prompt_ids(one, pairing.only_base, ONLY_NAMED)
        new.only_here = compare.prompt_ids(two, pairing.only_new, ONLY_NAMED)
    moved = compare.moved(one, two, pairing, coefficients, order, top)
    return compare.compare_groups(one, two, pairing, coefficients, aggregate), moved
