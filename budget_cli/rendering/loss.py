"""A loss → the screen that a person sees: the point in two seconds, the reasons in ten."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

from budget_cli.analysis.gates import Verdict
from budget_cli.analysis.loss import Loss, Prompt, Records
from budget_cli.groups.lengths import Histogram
from budget_cli.ids import Key
from budget_cli.records.columns import Rejection
from budget_cli.rendering.safe import for_terminal
from budget_cli.rendering.text import Line, Piece

BARS = "▁▂▃▄▅▆▇█"
LABEL = 19  # characters before the numbers begin
PROMPTS_SHOWN = 20
WIDTH = 80


def of_loss(
    loss: Loss,
    histogram: Histogram | None,
    reasons: Sequence[str],
    gates: Sequence[Verdict],
    rejections: Sequence[Rejection],
    precision: int,
    phantoms: Sequence[Key] = (),
    rows: Iterable[Line] = (),
) -> Iterator[Line]:
    """The lines of the screen; none is wider than 80 characters unless the numbers are; `rows` come amid them."""

    def number(value: float | None) -> str:
        return figure(value, precision)

    c = loss.coefficients
    counts = f"{count(loss.responses, 'response')}, {count(loss.prompts, 'prompt')}"
    yield [
        Piece("budget-aware loss  ", "bold"),
        Piece(number(loss.loss), "bold cyan"),
        Piece(f"     {counts}" + ("" if loss.aggregate == "response" else ", mean over prompts")),
    ]
    budget = "no budget" if c.token_budget is None else f"B {c.token_budget:,} tokens"
    yield [Piece(f"{budget}   β {c.budget_penalty_coef:g} per token   α {c.kl_coef:g}", "dim")]
    yield []
    if loss.responses:
        yield from _numbers(loss, histogram, number)
    yield from rows
    yield from findings(loss, phantoms)
    if not reasons:
        yield from _uncovered(loss)
    yield from of_rejections(rejections, loss.records.rejected)
    yield from verdict(loss.records, reasons, gates)


def figure(value: float | None, precision: int) -> str:
    """A number for the screen; a dash for what does not exist."""
    if value is None:
        return "–"
    return f"{round(value, precision) + 0.0:,.{precision}f}" if abs(value) < 1e12 else f"{value:.{precision}g}"


def _numbers(loss: Loss, histogram: Histogram | None, number: Callable[[float | None], str]) -> Iterator[Line]:
    c, over = loss.coefficients, loss.over_budget
    kl_terms = None
    if loss.loss is not None and loss.advantage.mean_square is not None:
        kl_terms = loss.loss - loss.advantage.mean_square
    square = number(loss.advantage.mean_square)
    made_of = f"mean A² {square}   KL terms {number(kl_terms)}"
    yield _row("made of", made_of + (f"   R² {number(loss.kl.r2)}" if c.kl_coef else ""))
    yield _row(
        "reward",
        f"{number(loss.reward.mean)} ± {number(loss.reward.std)}   from "
        f"{number(loss.reward.min)} to {number(loss.reward.max)}",
    )
    if loss.adjusted_reward.mean is not None and c.budget_penalty_coef:
        yield _row("adjusted reward", f"{number(loss.adjusted_reward.mean)} ± {number(loss.adjusted_reward.std)}")
    if over.responses is not None and over.fraction is not None:
        text = f"{over.responses:,} of {loss.responses:,} ({over.fraction:.1%})"
        if over.excess_tokens and over.excess_mean is not None:
            text += f"   {over.excess_tokens:,.0f} tokens, {over.excess_mean:,.0f} each"
        yield _row("over budget", text)
    if loss.advantage.budget_share is not None and c.budget_penalty_coef:
        yield _row("advantage", f"{loss.advantage.budget_share:.0%} of it is made by length")
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
    size = loss.groups.size
    if size.min is not None and size.max is not None and size.mean is not None:
        text = f"{size.min:,} each" if size.min == size.max else f"{size.min:,} to {size.max:,}, mean {size.mean:,.1f}"
        yield _row("group size", text)
    if histogram is not None and histogram.longest:
        yield []
        yield _bars(histogram)
    yield []


def of_prompts(prompts: Iterable[Prompt], precision: int) -> Iterator[Line]:
    """A row a prompt, those with the largest loss first; the first few only."""
    ranked = sorted(prompts, key=lambda prompt: -prompt.loss if prompt.loss is not None else -math.inf)
    yield []
    yield [Piece(f"{'prompt':<18}{'n':>5}{'loss':>11}{'reward':>9}{'A²':>11}{'by length':>10}{'over':>6}", "bold")]
    for prompt in ranked[:PROMPTS_SHOWN]:
        square = "–" if prompt.advantage_mean_square is None else f"{prompt.advantage_mean_square:.{precision}f}"
        loss = "–" if prompt.loss is None else f"{prompt.loss:.{precision}f}"
        share = "–" if prompt.budget_share is None else f"{prompt.budget_share:.0%}"
        over = "–" if prompt.over_budget is None else f"{prompt.over_budget:,}"
        yield [
            Piece(f"{for_terminal(prompt.prompt_id, 17):<18}{prompt.responses:>5,}{loss:>11}"),
            Piece(f"{prompt.reward_mean:>9.{precision}f}{square:>11}{share:>10}{over:>6}"),
            Piece("  phantom" if prompt.phantom else "", "yellow"),
        ]
    if len(ranked) > PROMPTS_SHOWN:
        yield [Piece(f"and {len(ranked) - PROMPTS_SHOWN:,} more: --format csv or json has them all", "dim")]


def of_rejections(rejections: Sequence[Rejection], total: int) -> Iterator[Line]:
    """Where each of the first rejected records is, and why."""
    for rejection in rejections:
        yield [Piece("rejected  ", "red"), Piece(for_terminal(rejection, 240))]
    if rejections and total > len(rejections):
        yield [Piece(f"          and {total - len(rejections):,} more (-v shows all)", "dim")]


def _row(label: str, text: str) -> Line:
    return [Piece(f"  {label:<{LABEL - 2}}", "dim"), Piece(text)]


def _bars(histogram: Histogram) -> Line:
    """One character a bin, its height the count; the budget is a line before its bin."""
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
    """What is out of the ordinary, a line each: its level, then what it is."""
    groups = loss.groups
    if groups.phantom:
        verb = "gets an advantage" if groups.phantom == 1 else "get an advantage"
        text = f"{count(groups.phantom, 'prompt')} {verb} from length alone (phantom)"
        yield [Piece("warning   ", "yellow"), Piece(text + listed(phantoms, groups.phantom, WIDTH - 10 - len(text)))]
    if loss.length.max == 0:
        text = "every length is 0: these are no token counts, and no budget can mean anything"
        yield [Piece("warning   ", "yellow"), Piece(text)]
    if loss.kl.k1 is not None and loss.kl.k3 is None:
        yield [Piece("warning   ", "yellow"), Piece("k3 is beyond the range of a double: some log-ratio is below -709")]
    if groups.zero_variance:
        text = f"{groups.zero_variance:,} of {count(loss.prompts, 'prompt')} with zero variance: all rewards equal"
        yield [Piece("info      ", "cyan"), Piece(text)]
    if groups.doubled:
        text = f"{count(groups.doubled, 'prompt')} with a multiple of the usual responses: two groups under one id?"
        yield [Piece("warning   ", "yellow"), Piece(text)]
    if groups.singletons:
        text = f"{count(groups.singletons, 'prompt')} with a single response, whose advantage is 0"
        yield [Piece("warning   ", "yellow"), Piece(text)]


def _uncovered(loss: Loss) -> Iterator[Line]:
    """How many records are not in the loss for want of a field that only a coefficient needs."""
    coverage = loss.coverage
    without = {
        "log_prob": coverage.no_log_prob,
        "old_log_prob": coverage.no_old_log_prob,
        "response_length": coverage.no_length,
    }
    for name, records in without.items():
        if records and loss.records.used:
            text = f"{count(records, 'record')} of {loss.records.read:,} without {name}: the loss is over the others"
            yield [Piece("warning   ", "yellow"), Piece(text)]


def listed(ids: Sequence[Key], total: int, room: int) -> str:
    """`: p07, p11, …` in at most `room` characters; as many of the ids as fit, nothing if none does."""
    text = ""
    for shown, key in enumerate(ids, start=1):
        longer = text + (", " if text else ": ") + for_terminal(key, 20)
        if len(longer) + (3 if shown < total else 0) > room:
            return f"{text}, …" if text else ""
        text = longer
    return f"{text}, …" if text and len(ids) < total else text


def verdict(records: Records, reasons: Sequence[str], gates: Sequence[Verdict] = ()) -> Iterator[Line]:
    """Pass, with what was read; or fail, with every reason."""
    if reasons:
        for reason in reasons:
            yield [Piece("fail      ", "bold red"), Piece(for_terminal(reason, 400))]
        return
    blank = f", {count(records.blank, 'blank line')}" if records.blank else ""
    said = f"{count(records.read, 'record')} read{blank}"
    said += f", {records.rejected:,} rejected as allowed" if records.rejected else ", none rejected"
    if gates:
        said += "; " + ("the gate holds" if len(gates) == 1 else f"all {len(gates)} gates hold")
    yield [Piece("pass      ", "bold green"), Piece(said)]


def count(number: int, noun: str) -> str:
    """`1 prompt`, `2 prompts`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
