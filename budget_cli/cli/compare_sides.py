"""BASE and NEW of a comparison, each a dump to scan or an earlier result of `loss --format json`."""

import inspect
import shlex
from collections.abc import Collection, Sequence

from budget_cli.analysis import compare, verdict
from budget_cli.analysis.breakdown import ordered
from budget_cli.analysis.compare import Comparison, Moved, Order, Row
from budget_cli.analysis.earlier_result import EarlierResult, from_result
from budget_cli.analysis.loss import Aggregate, Coefficients, LengthSource, compute_loss, length_source
from budget_cli.analysis.verdict import Reason
from budget_cli.cli.bundles import FieldOptions
from budget_cli.cli.recipes import flags_of
from budget_cli.cli.session import ScanSpec, Session, counted_twice
from budget_cli.errors import InputProblem, UsageProblem
from budget_cli.groups.groups import Groups
from budget_cli.ids import Key
from budget_cli.objective.settings import DEFAULT
from budget_cli.records.columns import Tally
from budget_cli.rendering.compare import Side as ShownSide
from budget_cli.sources.local import Kind, without_secrets
from budget_cli.sources.results import read_result

OF_PROMPTS = ("response", "prompt")  # aggregates that sums over prompts give
ONLY_NAMED = 10  # prompts in one dump only that are listed; all are counted


class Side:
    """One side of a comparison."""

    def __init__(self, name: str, session: Session) -> None:
        """Find the dump, or read the earlier result.

        Raises:
            InputProblem: the file cannot be read, or is an incomplete result.
            UsageProblem: the file is a result of another command.
        """
        self.name, self.session = without_secrets(name), session
        self.earlier: EarlierResult | None = None
        self.by: str | None = None  # the label of the scan
        self.problems: list[str] = []
        self.only_here: list[Key] = []
        session.find([name])
        if len(session.found) != 1 or session.found[0].kind is not Kind.RESULT:
            return
        (source,) = session.found
        if source.schema == "loss/1":
            try:
                self.earlier = from_result(read_result(source))
            except ValueError as error:
                what = "this result of budget-cli loss was damaged or edited"
                raise InputProblem(self.name, f"{what}: {error}: create it again") from None
            self.problems = [f"{self.name}: {problem}" for problem in self.earlier.incomplete]
        elif (command := source.schema.split("/")[0]) in ("compare", "sweep", "check", "fields"):
            raise UsageProblem(
                f"{self.name}: this is a result of budget-cli {command}: expected a dump, or a result of loss"
            )

    def read(self, at: Coefficients, by: str | None = None) -> None:
        """Scan the dump for a comparison at these coefficients, by this label; an earlier result was read already.

        Raises:
            UsageProblem: an earlier result is to be split.
        """
        if by == "file":
            raise UsageProblem("--by file: the files of two dumps are not the same: give a field, such as a step")
        if by is not None and self.earlier is not None:
            raise UsageProblem(f"--by {by}: {self.name} is a result, which holds no records: give the dump itself")
        if self.earlier is None:
            self.by, label = by, "" if by is None else self.session.placement.label(by)
            self.session.place()
            budgets = () if at.token_budget is None else (at.token_budget,)
            self.session.scan(budgets, ScanSpec(by=label, if_penalised=counted_twice(at.budget_penalty_coef)))
            self.problems = self.session.problems

    @property
    def tally(self) -> Tally:
        """The counts of the records of this side."""
        return self.session.scanned.tally if self.earlier is None else self.earlier.tally

    @property
    def lengths(self) -> LengthSource:
        """Where its lengths come from."""
        return length_source(self.tally) if self.earlier is None else self.earlier.lengths

    @property
    def lengths_are_from(self) -> str | None:
        """Where its lengths come from, in words; None if it has none."""
        return self.lengths.sentence or (self.lengths.name and "the field")

    def reasons(self) -> list[Reason]:
        """Return why this side makes the verdict fail."""
        if self.earlier is None:
            reasons = [*self.session.reasons(), *self.session.no_label(self.by)]
        else:
            reasons = verdict.reasons_to_fail(self.tally, [], self.problems, self.session.allowance)
        return [
            reason if reason.kind == "incomplete" else reason._replace(text=f"{self.name}: {reason.text}")
            for reason in reasons
        ]

    def shown(self) -> ShownSide:
        """Return what the result shows of this side."""
        rejections = [] if self.earlier is not None else self.session.rejections()
        warnings = self.earlier.warnings if self.earlier is not None else self.session.warnings
        return ShownSide(self.name, self.tally, rejections, self.only_here, self.problems, self.lengths, warnings)

    def result(self, coefficients: Coefficients, aggregate: Aggregate) -> EarlierResult:
        """Return the earlier result, or that of the dump, to be compared with an earlier result."""
        if self.earlier is not None:
            return self.earlier
        scan = self.session.scanned
        trained = self.session.objective
        loss = compute_loss(scan.groups, coefficients, scan.tally, aggregate, trained=trained)
        return compare.from_loss(loss, scan.tally)


def common_settings(
    sides: Sequence[Side], given: Coefficients, aggregate: Aggregate, typed: Collection[str] = ()
) -> tuple[Coefficients, Aggregate]:
    """Return the coefficients and the aggregate of both sides: as given, or those of earlier results.

    Args:
        sides: BASE and NEW.
        given: the coefficients of the command line, or their defaults.
        aggregate: the same of the aggregate.
        typed: the names of the options that the command line gives.

    Raises:
        UsageProblem: the sides were computed with different ones, so the losses cannot be compared, or with others than
            the command line gives; or they are results, and an option says how to read records.
    """
    results = [(side.name, side.earlier) for side in sides if side.earlier is not None]
    if not results:
        return given, aggregate
    (_, first), *_ = results
    _require_one_objective(sides, typed)
    common = given._replace(token_budget=given.token_budget or first.coefficients.token_budget)
    if len(results) == len(sides):
        _require_of_results(first, given, aggregate, typed)
        common, aggregate = first.coefficients, first.aggregate
    for name, result in results:
        if (result.coefficients, result.aggregate) != (common, aggregate):
            raise UsageProblem(
                f"{name}: computed with {_flags(result.coefficients, result.aggregate)}, the other with"
                f" {_flags(common, aggregate)}: both must use the same"
            )
    return common, aggregate


def _require_one_objective(sides: Sequence[Side], typed: Collection[str]) -> None:
    """Require that earlier results were made with the objective of the other side, and with that which is given.

    Raises:
        UsageProblem: one was not.
    """
    asked = sides[0].session.objective
    wanted, sentence = asked.settings(), asked.sentence()
    if all(side.earlier is not None for side in sides) and not {"objective", "set"} & set(typed):
        assert sides[0].earlier is not None
        wanted, sentence = dict(sides[0].earlier.objective), sides[0].earlier.objective_sentence
    for side, other in zip(sides, reversed(sides), strict=True):
        made = side.earlier
        if made is None or made.objective == wanted:
            continue
        flags = shlex.join(flags_of(made.objective_name, made.objective) or ["--objective", DEFAULT.name])
        if other.earlier is not None:
            way = "make both by budget-cli loss with the same --objective and --set"
        elif made.aggregate in OF_PROMPTS and compare.is_comparable(
            made.objective["advantage"], made.objective["singletons"]
        ):
            way = f"give {flags}"
        else:
            of_loss = f"{_flags(made.coefficients, made.aggregate)} {flags}"
            way = f"compare two results: budget-cli loss {other.name} {of_loss} -f json makes the other"
        raise UsageProblem(f"{side.name}: computed with {made.objective_sentence}, not with {sentence}: {way}")


def _require_of_results(
    first: EarlierResult, given: Coefficients, aggregate: Aggregate, typed: Collection[str]
) -> None:
    """Refuse options without an effect on two results, which hold no records and were computed before.

    Raises:
        UsageProblem: such an option is given.
    """
    for name in inspect.get_annotations(FieldOptions):
        if name in typed:
            flag = f"--{name.replace('_', '-')}"
            raise UsageProblem(f"{flag}: BASE and NEW are results, which hold no records: give it to budget-cli loss")
    wanted = {name: value for name, value in given._asdict().items() if name in typed} | (
        {"aggregate": aggregate} if "aggregate" in typed else {}
    )
    has = {**first.coefficients._asdict(), "aggregate": first.aggregate}
    for name, value in wanted.items():
        if value != has[name]:
            flag = f"--{name.replace('_', '-')} {value}"
            raise UsageProblem(
                f"{flag}: BASE and NEW are results, computed with {_flags(first.coefficients, first.aggregate)}: leave"
                " it out, or give it to budget-cli loss"
            )


def _flags(coefficients: Coefficients, aggregate: Aggregate) -> str:
    budget, beta, alpha = coefficients
    flags = f"{'no budget' if budget is None else f'-B {budget}'} --beta {beta:g} --alpha {alpha:g}"
    return flags if aggregate == "response" else f"{flags} --aggregate {aggregate}"


def compare_sides(
    base: Side, new: Side, coefficients: Coefficients, aggregate: Aggregate, order: Order, top: int
) -> tuple[Comparison, list[Moved]]:
    """Compare the sides and rank the prompts that moved most; set `only_here` on each side."""
    comparison, moved = _compared(base, new, coefficients, aggregate, order, top)
    left_out = compare.left_out_counts(base.tally.left_out, new.tally.left_out)
    return comparison._replace(left_out=left_out), moved


def compare_labels(base: Side, new: Side, coefficients: Coefficients, aggregate: Aggregate) -> list[Row]:
    """Compare the sides label by label; a label of one side alone has nothing on the other."""
    of_base, of_new = base.session.scanned.by, new.session.scanned.by
    rows = []
    for label in ordered(dict.fromkeys((*of_base, *of_new))):
        empty = Groups(base.session.scanned.groups.layout)
        one, two = of_base.get(label, empty), of_new.get(label, empty)
        pairing, trained = compare.pair(one, two), base.session.objective
        rows.append(Row(label, compare.compare_groups(one, two, pairing, coefficients, aggregate, trained)))
    return rows


def _compared(
    base: Side, new: Side, coefficients: Coefficients, aggregate: Aggregate, order: Order, top: int
) -> tuple[Comparison, list[Moved]]:
    if base.earlier is not None or new.earlier is not None:
        earlier, later = base.result(coefficients, aggregate), new.result(coefficients, aggregate)
        return compare.compare_results(earlier, later, coefficients, aggregate), []
    one, two = base.session.scanned.groups, new.session.scanned.groups
    pairing = compare.pair(one, two)
    if pairing.paired:
        base.only_here = compare.prompt_ids(one, pairing.only_base, ONLY_NAMED)
        new.only_here = compare.prompt_ids(two, pairing.only_new, ONLY_NAMED)
    trained = base.session.objective
    moved = compare.moved(one, two, pairing, coefficients, order, top, trained)
    return compare.compare_groups(one, two, pairing, coefficients, aggregate, trained), moved
