"""An inventory of fields → the screen and JSON."""

from collections.abc import Iterator

from budget_cli.analysis.fields import SCHEMA, Inventory
from budget_cli.rendering.formats import as_dict, json_document
from budget_cli.rendering.safe import for_terminal
from budget_cli.rendering.text import WARNING, Line, Piece


def screen(inventory: Inventory) -> Iterator[Line]:
    """Yield one line per field: its place, the number of samples that have it, and an example."""
    present = sum(1 for found in inventory.fields if found.samples)
    yield [
        Piece(f"preset {for_terminal(inventory.preset)}", "bold"),
        Piece(f"   {present} fields of {len(inventory.fields)}   first {inventory.records:,} lines, "),
        Piece(f"{inventory.samples:,} samples"),
    ]
    for found in inventory.fields:
        label = [Piece(f"  {found.name:<16} ", "bold" if found.samples else "dim")]
        if not found.samples:
            yield [*label, Piece("← ?  not in these records", "yellow")]
            continue
        example = "" if found.example is None else f"   e.g. {for_terminal(found.example, 40)}"
        yield [*label, Piece(f"← {for_terminal(found.place)}   {found.samples:,}"), Piece(example, "dim")]
    for reason, place, samples in inventory.left_out:
        yield [Piece("  left out         ", "dim"), Piece(f"{reason}: {for_terminal(place, 200)}   {samples:,}")]
    if inventory.unused:
        yield [Piece(f"  not used: {for_terminal(', '.join(inventory.unused), 200)}", "dim")]
    if inventory.near:
        yield [Piece(f"  near: {for_terminal('; '.join(inventory.near), 200)}", "dim")]
    for cannot in inventory.cannot:
        yield [Piece("cannot    ", "yellow"), Piece(cannot)]
    for warning in inventory.warnings:
        yield [WARNING, Piece(for_terminal(warning, 400))]


def json(inventory: Inventory) -> bytes:
    """Return one JSON object."""
    fields = [as_dict(field) for field in inventory.fields]
    left_out = [as_dict(one) for one in inventory.left_out]
    return json_document({"schema": SCHEMA, **as_dict(inventory), "fields": fields, "left_out": left_out})
