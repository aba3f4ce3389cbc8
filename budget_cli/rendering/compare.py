"""A comparison → the screen, JSON and Markdown."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from budget_cli.analysis.compare import QUANTITIES, SCHEMA, Comparison, Moved, Row
from budget_cli.analysis.differences import Difference
from budget_cli.analysis.gates import GateResult
from budget_cli.analysis.loss import LengthSource, Records
from budget_cli.analysis.numbers import counted
from budget_cli.analysis.verdict import Reason
from budget_cli.ids import Key
from budget_cli.records.columns import Rejection, Tally
from budget_cli.rendering.breakdown import NO_LABEL
from budget_cli.rendering.formats import (
    as_dict,
    gates_table,
    json_document,
    markdown_table,
    rejections_as_dicts,
    rounded,
    utf8,
    utf8_key,
)
from budget_cli.rendering.safe import end_for_terminal, for_markdown, for_terminal
from budget_cli.rendering.text import (
    WIDTH,
    Line,
    Piece,
    coefficients,
    failures,
    figure,
    gates_hold,
    left_out,
    listed,
    objective,
    passed,
    rejected,
    room_for,
)

LABELS = {name: name.replace("_", " ") for name in QUANTITIES}
SHARES = ("over_budget", "zero_variance")
CLEAR = 2.0  # standard errors
LABEL = 20  # characters of a label
ROWS = 30  # of labels on the screen
WIDTHS, NARROW_WIDTHS = (16, 11, 12, 14), (16, 9, 10, 11)  # of the columns


class Side(NamedTuple):
    """One of the two dumps: its name, and what became of its records."""

    name: str
    tally: Tally
    rejections: Sequence[Rejection]
    only_here: Sequence[Key]  # the first prompts that the other does not have
    incomplete: Sequence[str]
    lengths: LengthSource
    warnings: Sequence[str] = ()  # why its numbers may not be the trainer's


def screen(
    comparison: Comparison,
    sides: tuple[Side, Side],
    moved: Sequence[Moved],
    order: str,
    reasons: Sequence[Reason],
    gates: Sequence[GateResult],
    precision: int,
    by: str | None = None,
    rows: Sequence[Row] | None = None,
    columns: int = WIDTH,
) -> Iterator[Line]:
    """Yield the lines of the screen."""
    base, new = sides
    width = room_for(columns)
    room = width // 2 - 2
    yield [Piece(f"{end_for_terminal(base.name, room)} → {end_for_terminal(new.name, room)}", "bold")]
    yield coefficients(comparison.coefficients, has_own_budgets=comparison.objective.has_own_budgets)
    yield from objective(comparison.objective.sentence)
    yield [Piece(_compared(comparison))]
    for side, only in zip(sides, (comparison.prompts.only_base, comparison.prompts.only_new), strict=True):
        if only and comparison.pairing == "prompt":
            text = f"  only in {end_for_terminal(side.name, 40)}: {counted(only, 'prompt')}"
            yield [Piece(text, "yellow"), Piece(listed(side.only_here, only, width - 2 - len(text)), "dim")]
    yield []
    widths = WIDTHS if width == WIDTH else NARROW_WIDTHS
    of_base, of_new, of_delta = widths[1:]
    title = "standard error" if width == WIDTH else "error"
    yield [Piece(f"  {'':<{widths[0]}}{'base':>{of_base}}{'new':>{of_new}}{'difference':>{of_delta}}   {title}", "dim")]
    for name in QUANTITIES:
        places = min(precision, 1) if name == "length" else precision
        yield _row(LABELS[name], getattr(comparison, name), name in SHARES, places, widths)
    if any(_is_clear(getattr(comparison, name)) for name in QUANTITIES):
        yield [Piece(f"  {'':<{width - 30}}* beyond two standard errors", "dim")]
    for name, error in comparison.uncertain.items():
        yield [Piece(f"  {_uncertain(name, error)}", "yellow")]
    yield []
    if rows is not None:
        yield from _by_label(rows, by, precision, width)
    if moved:
        wide = 24 if width == WIDTH else 19
        yield [Piece(f"  {f'moved most by {order}':<{wide}}{'n':>9}{'loss':>11}{'reward':>9}{'length':>9}", "bold")]
        for prompt in moved:
            n = f"{prompt.responses_base}, {prompt.responses_new}"
            yield [
                Piece(f"  {for_terminal(prompt.prompt_id, wide - 1):<{wide}}{n:>9}"),
                Piece(f"{_signed(prompt.loss_delta, precision):>11}{_signed(prompt.reward_delta, 2):>9}"),
                Piece(f"{_signed(prompt.length_delta, 0):>9}"),
            ]
        yield []
    for side in sides:
        yield from left_out(side.tally.left_out)
        yield from rejected(side.rejections, side.tally.rejected)
    yield from _verdict(sides, reasons, gates)


def _by_label(rows: Sequence[Row], by: str | None, precision: int, width: int) -> Iterator[Line]:
    """Yield one row per label: the responses of both dumps, and three differences with their standard errors."""
    label, n, loss, mean = (LABEL, 14, 11, 9) if width == WIDTH else (11, 10, 10, 8)
    heads = f"{'n':>{n}}{'loss':>{loss}}{'':>{loss}}{'reward':>{mean}}{'length':>{mean}}"
    yield [Piece(f"  {for_terminal('by ' + (by or ''), label):<{label}}{heads}", "bold")]
    for key, each in rows[:ROWS]:
        name = end_for_terminal(NO_LABEL if key is None else str(key), label - 1)
        se = "" if each.loss.se is None else f" ± {figure(each.loss.se, precision)}"
        clear = any(_is_clear(one) for one in (each.loss, each.reward, each.length))
        yield [
            Piece(f"  {name:<{label}}{f'{each.responses.base:,}, {each.responses.new:,}':>{n}}"),
            Piece(
                f"{_signed(each.loss.delta, precision):>{loss}}{se:>{loss}}",
                "bold yellow" if _is_clear(each.loss) else "",
            ),
            Piece(f"{_signed(each.reward.delta, 2):>{mean}}", "bold yellow" if _is_clear(each.reward) else ""),
            Piece(f"{_signed(each.length.delta, 0):>{mean}}", "bold yellow" if _is_clear(each.length) else ""),
            Piece(" *" if clear else "", "bold yellow"),
        ]
    if len(rows) > ROWS:
        yield [Piece(f"  … {len(rows) - ROWS:,} more: --format json has them all", "dim")]
    yield []


def _uncertain(name: str, error: float) -> str:
    return f"{LABELS[name]}: of its difference and standard error, up to {error:.0e} may be rounding"


def _compared(comparison: Comparison) -> str:
    prompts, responses = comparison.prompts, comparison.responses
    summary = f"{responses.base:,} against {responses.new:,} responses"
    if comparison.pairing == "prompt":
        return f"{summary} of {counted(prompts.paired, 'prompt')}, paired by id"
    if prompts.only_base is None:
        return f"{summary}; a result holds no prompts, so there are no standard errors"
    return f"{summary} of {prompts.base:,} and {counted(prompts.new, 'prompt')}, unpaired: they share no id"


def _row(label: str, difference: Difference, share: bool, precision: int, widths: Sequence[int]) -> Line:
    def shown(value: float | None) -> str:
        return f"{value:.1%}" if share and value is not None else figure(value, precision)

    clear = _is_clear(difference)
    delta = shown(difference.delta)
    delta = f"+{delta}" if difference.delta is not None and difference.delta > 0 else delta
    return [
        Piece(f"  {label:<{widths[0]}}", "dim"),
        Piece(f"{shown(difference.base):>{widths[1]}}{shown(difference.new):>{widths[2]}}"),
        Piece(f"{delta:>{widths[3]}}", "bold yellow" if clear else ""),
        Piece(f" ± {shown(difference.se)}" if difference.se is not None else "   –"),
        Piece(" *" if clear else "", "bold yellow"),
    ]


def _is_clear(difference: Difference) -> bool:
    return difference.z is not None and abs(difference.z) > CLEAR


def _signed(value: float | None, precision: int) -> str:
    text = figure(value, precision)
    return f"+{text}" if value is not None and round(value, precision) > 0 else text


def _verdict(sides: tuple[Side, Side], reasons: Sequence[Reason], gates: Sequence[GateResult]) -> Iterator[Line]:
    if reasons:
        yield from failures(reasons, 200)
        return
    read, refused = (" and ".join(f"{getattr(side.tally, name):,}" for side in sides) for name in ("read", "rejected"))
    summary = f"read completely: {read} records, "
    summary += "none rejected" if not any(side.tally.rejected for side in sides) else f"{refused} rejected as allowed"
    yield passed(summary + gates_hold(gates), others=sum(len(side.warnings) for side in sides))


def json(
    comparison: Comparison,
    sides: tuple[Side, Side],
    moved: Sequence[Moved],
    status: str,
    gates: Sequence[GateResult],
    precision: int,
    rows: Sequence[Row] | None = None,
) -> bytes:
    """Return one JSON object; numbers are rounded to `precision` places, except the coefficients and the gates."""
    body = rounded(as_dict(comparison._replace(left_out={}, uncertain={})), precision)
    del body["left_out"]  # to follow the quantities
    body["uncertain"] = dict(comparison.uncertain)
    body["left_out"] = {reason: as_dict(counts) for reason, counts in comparison.left_out.items()}
    body["coefficients"] = as_dict(comparison.coefficients)
    body["objective"] = as_dict(comparison.objective)
    result: dict[str, Any] = {
        "schema": SCHEMA,
        "status": status,
        **body,
        "moved": [rounded(as_dict(prompt), precision) for prompt in moved],
        "gates": [as_dict(gate) for gate in gates],
    }
    for key, side in zip(("base", "new"), sides, strict=True):
        tally = side.tally
        result[key] = {
            "name": utf8(side.name),
            "records": as_dict(Records.from_tally(tally)),
            "left_out": dict(tally.left_out),
            "lengths_from": side.lengths.name,
            "length_origins": as_dict(side.lengths.origins),
            "tokenizer": side.lengths.tokenizer,
            "only_here": list(side.only_here),
            "rejections": rejections_as_dicts(side.rejections),
            "incomplete": [utf8(problem) for problem in side.incomplete],
            "warnings": [utf8(warning) for warning in side.warnings],
        }
    if rows is not None:
        result["by"] = []
        for label, of_label in rows:
            numbers = rounded(as_dict(of_label._replace(left_out={}, uncertain={})), precision)
            kept = {name: numbers[name] for name in ("pairing", "prompts", "responses", *QUANTITIES)}
            result["by"].append({"key": utf8_key(label), **kept, "uncertain": dict(of_label.uncertain)})
    return json_document(result)


def markdown(
    comparison: Comparison,
    sides: tuple[Side, Side],
    moved: Sequence[Moved],
    status: str,
    gates: Sequence[GateResult],
    precision: int,
    labels: Sequence[Row] | None = None,
) -> bytes:
    """Return a table of the quantities, one of the prompts that moved most, and one of the gates."""
    base, new = (for_markdown(side.name) for side in sides)
    text = f"{base} → {new}: {for_markdown(_compared(comparison))}; status {status}\n\n"
    text += f"{for_markdown(comparison.objective.sentence)}\n\n"
    rows = [(LABELS[name], *(rounded(value, precision) for value in getattr(comparison, name))) for name in QUANTITIES]
    text += markdown_table(("quantity", *Difference._fields), rows)
    text += "".join(f"\n{_uncertain(name, error)}\n" for name, error in comparison.uncertain.items())
    if moved:
        text += "\n" + markdown_table(
            Moved._fields, ([rounded(value, precision) for value in prompt] for prompt in moved)
        )
    if labels is not None:
        text += "\n" + markdown_table(
            ("key", "quantity", *Difference._fields),
            (
                (NO_LABEL if key is None else key, LABELS[name], *(rounded(n, precision) for n in getattr(each, name)))
                for key, each in labels
                for name in QUANTITIES
            ),
        )
    return (text + gates_table(gates)).encode("utf-8", "backslashreplace")
