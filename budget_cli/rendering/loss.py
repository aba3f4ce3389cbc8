"""A loss, or its prompts → the screen, JSON, CSV, Markdown, annotations of GitHub and test cases of JUnit."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

from budget_cli.analysis.gates import GateResult
from budget_cli.analysis.learnability import Learnability, PassAt
from budget_cli.analysis.loss import SCHEMA, Loss, Prompt, number_at, number_names, per_prompt_losses, phantom_prompts
from budget_cli.analysis.numbers import counted
from budget_cli.analysis.prompt_order import PromptOrder
from budget_cli.analysis.verdict import Reason
from budget_cli.groups.groups import Groups
from budget_cli.groups.lengths import Histogram, length_histogram
from budget_cli.ids import Key
from budget_cli.objective.settings import DEFAULT, Objective
from budget_cli.records.columns import Rejection
from budget_cli.rendering import breakdown
from budget_cli.rendering.breakdown import Breakdown
from budget_cli.rendering.formats import (
    as_dict,
    csv_table,
    gates_table,
    json_document,
    json_line,
    markdown_table,
    rejections_as_dicts,
    rounded,
    utf8,
)
from budget_cli.rendering.headline import headline
from budget_cli.rendering.safe import for_markdown, for_terminal
from budget_cli.rendering.text import (
    BARS,
    INFO,
    MISSING,
    WARNING,
    WIDTH,
    Line,
    Piece,
    coefficients,
    failures,
    figure,
    in_bold,
    left_out,
    listed,
    objective,
    passes,
    rejected,
    room_for,
)

AVERAGED = {
    "response": "",
    "prompt": ", mean over prompts",
    "row": ", mean over rows",
    "token": ", mean over tokens",
    "prompt-token": ", mean over prompts of token means",
    "constant": ", token sums over a constant",
}
LABEL = 19  # characters before the numbers begin
PROMPTS_SHOWN = 20
OFTEN_NONE = frozenset(f"learnability.pass_at.{k}" for k in PassAt.KEYS)  # no row in Markdown then


def _numbers(loss: Loss, histogram: Histogram | None, precision: int) -> Iterator[Line]:
    number = partial(figure, precision=precision)
    c, over = loss.coefficients, loss.over_budget
    source = loss.length_sentence
    kl_terms = None
    if loss.loss is not None and loss.advantage.mean_square is not None:
        kl_terms = loss.loss - loss.advantage.mean_square
    square = number(loss.advantage.mean_square)
    kl = f"   KL terms {number(kl_terms)}   R² {number(loss.kl.r2)}" if c.kl_coef else ""
    yield _row("components", f"mean A² {square}{kl}")
    yield _row(
        "reward",
        f"{number(loss.reward.mean)} ± {number(loss.reward.std)}   from "
        f"{number(loss.reward.min)} to {number(loss.reward.max)}",
    )
    yield from _right(loss)
    if loss.adjusted_reward.mean is not None and c.budget_penalty_coef:
        yield _row("adjusted reward", f"{number(loss.adjusted_reward.mean)} ± {number(loss.adjusted_reward.std)}")
    if over.responses is not None and over.fraction is not None:
        text = f"{over.responses:,} of {loss.responses:,} ({over.fraction:.1%})"
        if over.excess_tokens and over.excess_mean is not None:
            text += f"   {over.excess_tokens:,.0f} excess tokens, {over.excess_mean:,.0f} each"
        yield _row("over budget", text)
    if loss.advantage.budget_share is not None and c.budget_penalty_coef:
        yield _row("advantage", f"{loss.advantage.budget_share:.0%} of it comes from length")
    if loss.kl.k1 is not None:
        yield _row("log-ratio", f"k1 {number(loss.kl.k1)}   k2 {number(loss.kl.k2)}   k3 {number(loss.kl.k3)}")
    elif loss.coverage.log_ratio:
        yield _row("log-ratio", f"known for {loss.coverage.log_ratio:,} of {loss.responses:,} responses, so not shown")
    if loss.length.mean is not None:
        names = ("mean", "p50", "p90", "p99", "max")
        parts = [f"{name} {getattr(loss.length, name):,.0f}" for name in names]
        yield _row("length", ("   " if sum(map(len, parts)) + 3 * 4 <= WIDTH - LABEL else "  ").join(parts))
    elif loss.coverage.length:
        yield _row("length", f"known for {loss.coverage.length:,} of {loss.responses:,} responses, so not shown")
    if source is not None:
        yield _row("lengths from", for_terminal(source, 200))
    size = loss.groups.size
    if size.min is not None and size.max is not None and size.mean is not None:
        text = f"{size.min:,} each" if size.min == size.max else f"{size.min:,} to {size.max:,}, mean {size.mean:,.1f}"
        yield _row("group size", text)
    yield from _solved(loss.learnability)
    if histogram is not None and histogram.longest:
        yield []
        yield _bars(histogram)
    yield []


def _right(loss: Loss) -> Iterator[Line]:
    """Yield how many responses are right, and the lengths of both kinds, if there are others, too."""
    of = loss.learnability
    if of.right and of.right < loss.responses:
        text = f"{of.right_fraction:.1%} (reward above {of.correct_above:g})"
        if of.length_right is not None and of.length_wrong is not None and loss.length.max:
            text += f"   mean length {of.length_right:,.0f}, wrong {of.length_wrong:,.0f}"
        yield _row("right", text)


def _solved(of: Learnability) -> Iterator[Line]:
    """Yield how many prompts are all right, all wrong or mixed, if any is mixed, and the largest pass@k."""
    if of.mixed:
        text = f"{of.all_right:,} all right, {of.all_wrong:,} all wrong, {of.mixed:,} mixed"
        known = [f"   pass@{k} {value:.1%}" for k, value in of.pass_at.items() if value is not None and k != "1"]
        passes = known[-1] if known and len(text) + len(known[-1]) <= WIDTH - LABEL else ""
        yield _row("prompts", text + passes)


def _row(label: str, text: str) -> Line:
    return [Piece(f"  {label:<{LABEL - 2}}", "dim"), Piece(text)]


def _bars(histogram: Histogram) -> Line:
    """Return one character per bin, with the count as its height; the budget is a line before its bin."""
    top = max(histogram.counts)
    line = [Piece("       0 ", "dim")]
    for i, number in enumerate(histogram.counts):
        if i == histogram.budget_at:
            line.append(Piece("│", "bold yellow"))
        line.append(Piece(BARS[-(-number * len(BARS) // top) - 1] if number else " "))
    line.append(Piece(f" {histogram.longest:,} tokens", "dim"))
    if histogram.budget_at is not None:
        line.append(Piece("   │ budget", "yellow"))
    return line


def findings(loss: Loss, phantoms: Sequence[Key]) -> Iterator[Line]:
    """Yield one line per unusual thing: its level, then its description."""
    groups = loss.groups
    if groups.phantom:
        verb = "gets an advantage" if groups.phantom == 1 else "get an advantage"
        text = f"{counted(groups.phantom, 'prompt')} {verb} from length alone (phantom)"
        yield [WARNING, Piece(text + listed(phantoms, groups.phantom, WIDTH - 10 - len(text)))]
    if loss.length.max == 0:
        text = "every length is 0: these are not token counts, so no budget has any meaning"
        yield [WARNING, Piece(text)]
    if loss.kl.k1 is not None and loss.kl.k3 is None:
        yield [WARNING, Piece("k3 exceeds the range of a double: a log-ratio is below -709")]
    if groups.zero_variance:
        text = f"{groups.zero_variance:,} of {counted(loss.prompts, 'prompt')} with zero variance: all rewards equal"
        yield [INFO, Piece(text)]
    if groups.doubled:
        text = f"{counted(groups.doubled, 'prompt')} with a multiple of the usual group size: two groups under one id?"
        yield [WARNING, Piece(text)]
    if groups.singletons:
        text = f"{counted(groups.singletons, 'prompt')} with a single response, whose advantage is 0"
        yield [WARNING, Piece(text)]


def _uncovered(loss: Loss) -> Iterator[Line]:
    """Yield the number of records that the loss leaves out because a field that only a coefficient needs is missing."""
    coverage = loss.coverage
    without = {
        "log_prob": coverage.no_log_prob,
        "old_log_prob": coverage.no_old_log_prob,
        "response_length": coverage.no_length,
    }
    for name, records in without.items():
        if records and loss.records.used:
            them = "it" if records == 1 else "them"
            text = f"{counted(records, 'record')} of {loss.records.read:,} without {name}: the loss leaves {them} out"
            yield [WARNING, Piece(text)]


def json(
    loss: Loss,
    status: str,
    gates: Sequence[GateResult],
    rejections: Sequence[Rejection],
    incomplete: Sequence[str],
    prompts: Iterable[Prompt] | None,
    precision: int,
    by: Sequence[dict[str, Any]] | None = None,
    warnings: Sequence[str] = (),
) -> bytes:
    """Return one JSON object; numbers are rounded to `precision` places, except the coefficients and the gates."""
    body = rounded(as_dict(loss), precision)
    body["coefficients"] = as_dict(loss.coefficients)
    body["objective"] = as_dict(loss.objective)
    result = {
        "schema": SCHEMA,
        "status": status,
        "headline": headline(loss),
        **body,
        "rejections": rejections_as_dicts(rejections),
        "gates": [as_dict(gate) for gate in gates],
        "incomplete": [utf8(problem) for problem in incomplete],
        "warnings": [utf8(warning) for warning in warnings],
    }
    if prompts is not None:
        result["per_prompt"] = [rounded(as_dict(prompt), precision) for prompt in prompts]
    if by is not None:
        result["by"] = by
    return json_document(result)


def markdown(loss: Loss, status: str, reasons: Sequence[Reason], gates: Sequence[GateResult], precision: int) -> bytes:
    """Return the reasons to fail, the sentence, one row per number of the result, and the gates."""
    said = headline(loss)
    lead = "".join(f"- {for_markdown(reason.text, 400)}\n" for reason in reasons)
    lead += "\n" * bool(reasons) + f"{for_markdown(said, 600)}\n\n" * bool(said)
    rows: list[tuple[object, ...]] = [
        ("status", status),
        ("objective", loss.objective.sentence),
    ]
    numbers = ((name, number_at(loss, name)) for name in number_names())
    rows += [
        (name, rounded(value, precision)) for name, value in numbers if name not in OFTEN_NONE or value is not None
    ]
    text = lead + markdown_table(("number", "value"), rows) + gates_table(gates)
    return text.encode("utf-8", "backslashreplace")


def prompts_screen(prompts: Iterable[Prompt], precision: int, width: int = WIDTH) -> Iterator[Line]:
    """Yield one row per prompt for the first few."""
    ranked = list(prompts)
    narrow = width < WIDTH
    name, n, wide, mean, part, few = (13, 5, 8, 8, 10, 5) if narrow else (18, 5, 11, 9, 10, 6)
    yield []
    head = f"{'prompt':<{name}}{'n':>{n}}{'loss':>{wide}}{'reward':>{mean}}{'A²':>{wide}}"
    yield [Piece(f"{head}{'by length':>{part}}{'over':>{few}}", "bold")]
    for prompt in ranked[:PROMPTS_SHOWN]:
        square, loss = (_in(wide, x, precision) for x in (prompt.advantage_mean_square, prompt.loss))
        share = MISSING if prompt.budget_share is None else f"{prompt.budget_share:.0%}"
        over = MISSING if prompt.over_budget is None else f"{prompt.over_budget:,}"
        yield [
            Piece(f"{for_terminal(prompt.prompt_id, name - 1):<{name}}{prompt.responses:>{n},}{loss:>{wide}}"),
            Piece(f"{_in(mean, prompt.reward_mean, precision):>{mean}}{square:>{wide}}{share:>{part}}{over:>{few}}"),
            Piece((" *" if narrow else "  phantom") if prompt.phantom else "", "yellow"),
        ]
    if narrow and any(prompt.phantom for prompt in ranked[:PROMPTS_SHOWN]):
        yield [Piece("* phantom: an advantage from length alone", "dim")]
    if len(ranked) > PROMPTS_SHOWN:
        yield [Piece(f"and {len(ranked) - PROMPTS_SHOWN:,} more: --format csv or json has them all", "dim")]


def _in(width: int, value: float | None, precision: int) -> str:
    """Return a number for a column; with fewer places where it would touch the one before."""
    if value is None:
        return MISSING
    texts = (f"{value:.{places}f}" for places in range(precision, -1, -1))
    return next((text for text in texts if len(text) < width), f"{value:.{max(width - 7, 1)}g}")


def loss_table(loss: Loss, status: str, precision: int) -> tuple[Sequence[str], Iterable[Sequence[object]]]:
    """Return dotted names and one row."""
    names = number_names()
    numbers = [rounded(number_at(loss, name), precision) for name in names]
    return ["status", "aggregate", *names], [[status, loss.aggregate, *numbers]]


def prompts_table(prompts: Iterable[Prompt], precision: int) -> tuple[Sequence[str], Iterable[Sequence[object]]]:
    """Return the names and one row per prompt."""
    return Prompt._fields, ([rounded(value, precision) for value in prompt] for prompt in prompts)


def prompts_markdown(prompts: Iterable[Prompt], precision: int) -> bytes:
    """Return one row per prompt."""
    names = Prompt._fields
    rows = ([rounded(getattr(prompt, name), precision) for name in names] for prompt in prompts)
    return markdown_table(names, rows).encode("utf-8", "backslashreplace")


class LossAnswer(NamedTuple):
    """The answer of `budget-cli loss`."""

    loss: Loss
    groups: Groups
    gates: Sequence[GateResult]
    reasons: Sequence[Reason]  # why the verdict is fail; none if it is pass
    rejections: Sequence[Rejection]  # the first ones
    shown: Sequence[Rejection]  # those shown to a person: none if one reason stands for all
    split: Breakdown | None  # the rows of --by
    per_prompt: PromptOrder | None  # None: the numbers of the prompts are not asked for
    precision: int
    warnings: Sequence[str] = ()  # why the numbers may not be the trainer's
    defaults: Collection[str] = ()  # coefficients that nobody gave
    trained: Objective = DEFAULT

    @property
    def status(self) -> str:
        """`pass` or `fail`."""
        return "fail" if self.reasons else "pass"

    @property
    def prompts(self) -> Iterable[Prompt]:
        """The numbers of the prompts, in the order that is asked for."""
        prompts = per_prompt_losses(self.groups, self.loss.coefficients, trained=self.trained)
        return prompts if self.per_prompt is None else self.per_prompt.of(prompts)

    def lines(self, columns: int) -> Iterator[Line]:
        """Yield the lines of the screen, at most 80 characters wide unless the numbers are wider.

        Args:
            columns: the width of the terminal, for the bars of the lengths.
        """
        loss, c = self.loss, self.loss.coefficients
        width = room_for(columns)
        written = f" in {loss.rows:,} rows" if loss.rows != loss.responses else ""
        counts = f"{counted(loss.responses, 'response')}{written}, {counted(loss.prompts, 'prompt')}"
        yield [
            Piece("budget-aware loss  ", "bold"),
            Piece(figure(loss.loss, self.precision), "bold cyan"),
            Piece(f"     {counts}" + AVERAGED[loss.aggregate]),
        ]
        yield coefficients(c, self.defaults, loss.objective.has_own_budgets)
        yield from objective(loss.objective.sentence)
        yield []
        if loss.responses:
            yield from in_bold(headline(loss), width)
            yield []
            bins = max(20, min(columns, 120) - 46)
            yield from _numbers(loss, length_histogram(self.groups.lengths, bins, c.token_budget), self.precision)
        if self.split is not None:
            yield from breakdown.screen(self.split, loss, self.precision, width)
        unusual = list(findings(loss, phantom_prompts(self.groups, most=3) if loss.groups.phantom else []))
        unusual += [] if self.reasons else _uncovered(loss)
        yield from unusual
        warnings = sum(WARNING in line for line in unusual)
        yield from left_out(loss.left_out)
        yield from rejected(self.shown, loss.records.rejected)
        yield from (
            failures(self.reasons, 400)
            if self.reasons
            else passes(loss.records, self.gates, warnings, len(self.warnings))
        )
        if self.per_prompt is not None:
            yield from prompts_screen(self.per_prompt.ranked(self.prompts), self.precision, width)

    def json(self) -> bytes:
        """Return one JSON object."""
        incomplete = [reason.text for reason in self.reasons if reason.kind == "incomplete"]
        prompts = None if self.per_prompt is None else self.prompts
        by = None if self.split is None else breakdown.json_rows(self.split, self.precision)
        verdict = (self.status, self.gates, self.rejections, incomplete)
        return json(self.loss, *verdict, prompts, self.precision, by, self.warnings)

    def table(self) -> tuple[Sequence[str], Iterable[Sequence[object]]]:
        """Return the names and the rows of a table of the prompts, of the labels, or of one row."""
        if self.per_prompt is not None:
            return prompts_table(self.prompts, self.precision)
        if self.split is not None:
            return breakdown.table(self.split, self.precision)
        return loss_table(self.loss, self.status, self.precision)

    def csv(self) -> bytes:
        """Return the table as CSV."""
        return csv_table(*self.table())

    def jsonl(self) -> bytes:
        """Return a line per prompt, with the names of the JSON; or per label, or one, with names for a tracker."""
        if self.per_prompt is not None:
            return b"".join(json_line(rounded(as_dict(prompt), self.precision)) for prompt in self.prompts)
        if self.split is not None:
            return breakdown.jsonl(self.split, self.precision)
        return json_line(breakdown.tracked(self.loss, self.precision))

    def markdown(self) -> bytes:
        """Return a table of the prompts, or of the numbers and the labels."""
        return self.step_summary() if self.per_prompt is None else prompts_markdown(self.prompts, self.precision)

    def step_summary(self) -> bytes:
        """Return the numbers and the labels in Markdown."""
        text = markdown(self.loss, self.status, self.reasons, self.gates, self.precision)
        return text if self.split is None else text + b"\n" + breakdown.markdown(self.split, self.precision)

    def github(self) -> bytes:
        """Return annotations of GitHub Actions."""
        from budget_cli.rendering import loss_for_ci  # which no screen needs

        return loss_for_ci.github(self.loss, self.shown, self.reasons, self.precision, self.warnings)

    def junit(self) -> bytes:
        """Return a test report."""
        from budget_cli.rendering import loss_for_ci

        rows = () if self.split is None else self.split.rows
        return loss_for_ci.junit(self.loss, self.shown, self.reasons, self.gates, rows)
