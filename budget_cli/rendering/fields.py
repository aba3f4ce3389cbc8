"""An inventory of fields → the screen and JSON."""

import re
import textwrap
from collections.abc import Iterator
from typing import Any

from budget_cli.analysis.fields import SCHEMA, Inventory
from budget_cli.rendering.formats import as_dict, json_document
from budget_cli.rendering.safe import for_terminal
from budget_cli.rendering.text import WARNING, WHOLE, WIDTH, Line, Piece, room_for

GUESSES = 3  # of a field that are shown


def screen(inventory: Inventory, columns: int = WIDTH) -> Iterator[Line]:
    """Yield one line per field: its place, the number of samples that have it, and an example, or what it may be."""
    present = sum(1 for found in inventory.fields if found.samples)
    yield [
        Piece(f"preset {for_terminal(inventory.preset)}", "bold"),
        Piece(f"   {present} fields of {len(inventory.fields)}   first {inventory.records:,} lines, "),
        Piece(f"{inventory.samples:,} samples"),
    ]
    for found in inventory.fields:
        if not found.samples:
            yield from _missing(found.name, inventory, columns)
            continue
        label = Piece(f"  {found.name:<16} ", "bold")
        example = "" if found.example is None else f"   e.g. {for_terminal(found.example, 40)}"
        yield [label, Piece(f"← {for_terminal(found.place)}   {found.samples:,}"), Piece(example, "dim")]
    if any(guess.field == "step" for guess in inventory.guesses):
        yield from _missing("step", inventory, columns)
    for reason, place, samples in inventory.left_out:
        yield [Piece("  left out         ", "dim"), Piece(f"{reason}: {for_terminal(place, 200)}   {samples:,}")]
    if inventory.objective is not None:
        default = f"--objective {inventory.objective.name}, by default of its framework"
        yield [Piece("  trained with     ", "dim"), Piece(default)]
    guessed = " ".join(each.value for each in inventory.guesses if each.is_confident)
    unused = [key for key in inventory.unused if not re.search(rf"(?<!\w){re.escape(key)}(?!\w)", guessed)]
    if unused:
        yield [Piece(f"  not used: {for_terminal(', '.join(unused), 200)}", "dim")]
    if inventory.near:
        yield [Piece(f"  near: {for_terminal('; '.join(inventory.near), 200)}", "dim")]
    for cannot in inventory.cannot:
        yield [Piece("cannot    ", "yellow"), Piece(cannot)]
    for warning in inventory.warnings:
        yield [WARNING, Piece(for_terminal(warning, 400))]
    if inventory.command and inventory.missing:
        yield [Piece("try       ", "cyan"), Piece(_caveat(inventory))]
        yield [Piece(for_terminal(inventory.command, 4000), WHOLE)]


def _missing(name: str, inventory: Inventory, columns: int) -> Iterator[Line]:
    """Yield what a field may be, and why; or that it is not there."""
    guesses = [each for each in inventory.guesses if each.one == name]
    said = [f"{_place(each)} ({each.confidence}): {each.reason}" for each in guesses[:GUESSES]]
    for remark in inventory.not_known:
        names, _, why = remark.partition(": ")
        if name in names.split(", "):
            said.append(why if guesses else f"not known: {why}")
    label, style = Piece(f"  {name:<16} ", "bold" if guesses else "dim"), "" if guesses else "yellow"
    for i, text in enumerate(said or ["not in these records"]):
        for j, line in enumerate(
            textwrap.wrap(for_terminal(text, 400), room_for(columns) - 24, break_on_hyphens=False)
        ):
            start = [label, Piece("← ?  ", "yellow")] if i == j == 0 else [Piece(" " * 24)]
            yield [*start, Piece(line, style)]


def _place(guess: Any) -> str:
    return guess.value if guess.option == "--field" else f"{guess.option} {guess.value}"


def _caveat(inventory: Inventory) -> str:
    """Say what the command takes for granted."""
    unsure = [name for name in ("prompt_id", "reward") if _is_unsure(name, inventory)]
    budget = "; B is the median length here" if " -B " in inventory.command else ""
    if "PATH" in inventory.command:
        return f"this, with the place of what is not known for PATH{budget}:"
    if "reward" in inventory.missing and "--reward-weights" in inventory.command:
        return f"this, with the weights of the run in place of 1{budget}:"
    return f"this{', though ' + ' and '.join(unsure) + ' may be another' if unsure else ''}{budget}:"


def _is_unsure(name: str, inventory: Inventory) -> bool:
    found = [each for each in inventory.guesses if each.one == name]
    return bool(found) and not any(each.is_confident for each in found)


def json(inventory: Inventory) -> bytes:
    """Return one JSON object."""
    several = {name: [as_dict(each) for each in getattr(inventory, name)] for name in ("fields", "left_out", "guesses")}
    return json_document({"schema": SCHEMA, **as_dict(inventory), **several})
