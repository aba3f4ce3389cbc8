"""`budget-cli fields FILES…`: which preset fits these files, and where each field is."""

from collections import deque
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from budget_cli.cli import console, options
from budget_cli.cli.bundles import FieldOptions, InventoryOptions, flattened
from budget_cli.errors import Exit, UsageProblem

if TYPE_CHECKING:
    from budget_cli.sources.local import Source

EPILOG = """Examples:

\b
  budget-cli fields rollouts/
  budget-cli fields rollouts/1.jsonl --field prompt_id=uid
  budget-cli fields rollouts/1.jsonl --format json | jq .fields

Exit: 0 a prompt id and a reward were found, 1 they were not, 2 usage, 3 input or output.
"""


class Format(StrEnum):
    """What the inventory is written as."""

    TABLE = "table"
    JSON = "json"


InventoryFormat = Annotated[
    Format, typer.Option("--format", "-f", rich_help_panel="Output", help="What the inventory is written as.")
]


@flattened
@console.exits
def command(
    *,
    files: options.Files = None,
    fields: FieldOptions,
    format: InventoryFormat = Format.TABLE,
    screen: InventoryOptions,
) -> Exit:
    """Which preset fits these files, and where each field was found.

    Says what is missing, too, and what to give instead. Looks at the first thousand lines of the first file only, and
    computes nothing.
    """
    console.require_writable(screen.output)
    from budget_cli.analysis.fields import take_inventory  # numpy from here on: not for --help
    from budget_cli.cli import inputs
    from budget_cli.records import detection
    from budget_cli.rendering import fields as rendering
    from budget_cli.schema import presets
    from budget_cli.schema.fields import Fields

    placement = inputs.Placement(fields, Fields())
    known = placement.presets()
    found = inputs.find(files, {"-o": screen.output})
    inputs.require_records(found, "fields")
    start = detection.sniff(found)
    if not start.values:
        console.say(_why_nothing(found))
    try:
        preset, name = placement.preset(start), presets.CANONICAL
    except UsageProblem:
        if fields.preset is not None:
            raise
        preset, name = None, "none"
    places = placement.mapped
    if preset is not None:
        places, name = preset.apply_to(placement.bare).with_places(placement.places), preset.name
    near = [] if preset or name == presets.CANONICAL else presets.rank(start.values, known)
    inventory = take_inventory(start.values, places, name, near, detection.numeric_keys(start, preset))
    is_json = format is Format.JSON
    result = rendering.json(inventory) if is_json else console.drawn(rendering.screen(inventory), screen)
    console.write(result, screen.output)
    there = {one.name for one in inventory.fields if one.samples}
    return Exit.PASS if {"prompt_id", "reward"} <= there else Exit.FAIL


def _why_nothing(found: "list[Source]") -> str:
    """What is wrong with the first line that there is.

    Raises:
        InputProblem: a file cannot be read.
    """
    from budget_cli.records import detection, reference
    from budget_cli.records.columns import RejectionLimit
    from budget_cli.schema.fields import Fields
    from budget_cli.sources import local as sources

    for source in found:
        if source.kind is sources.Kind.PARQUET:
            from budget_cli.records import parquet

            parquet.row_groups(source)
            continue
        head = sources.head(source, detection.GLANCE_BYTES)
        if len(head) < detection.GLANCE_BYTES:  # to its end, or to what is wrong
            deque(sources.pieces(source), maxlen=0)
        for rejection in reference.decode(head, Fields(), len(head), RejectionLimit(1)).rejections:
            return str(rejection._replace(source=source.name))
    return "no records: there is nothing in these files"
