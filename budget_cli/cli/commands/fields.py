"""`budget-cli fields FILES…`: which preset fits the files, and where each field is."""

from collections import deque
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from budget_cli.cli import console, options, output
from budget_cli.cli.bundles import FieldOptions, FolderOptions, InventoryOptions, is_typed
from budget_cli.errors import Exit, UsageProblem

if TYPE_CHECKING:
    from budget_cli.sources.local import Source

EPILOG = """Examples:

\b
  budget-cli fields rollouts/
  budget-cli fields rollouts/1.jsonl --field prompt_id=uid
  budget-cli fields rollouts/1.jsonl --format json | jq .fields

Exit codes: 0 prompt id and reward found, 1 not found, 2 usage error, 3 input or output error, 70 bug,
71 out of memory.
"""


class FieldsFormat(StrEnum):
    """Output formats of `fields`."""

    TABLE = "table"
    JSON = "json"


FieldsFormatOption = Annotated[
    FieldsFormat, typer.Option("--format", "-f", rich_help_panel="Output", help="Output format.")
]


def command(
    *,
    context: typer.Context,
    files: options.Files = None,
    fields: FieldOptions,
    folders: FolderOptions,
    format: FieldsFormatOption = FieldsFormat.TABLE,
    screen: InventoryOptions,
) -> Exit:
    """Show which preset fits the files and where each field is.

    Also shows which fields are missing and which options to give instead. Reads only the first thousand lines of the
    first file, of the second only to compare ids, and computes nothing.
    """
    output.require_writable(screen.output)
    if fields.ignore_unneeded and is_typed(context, "ignore_unneeded"):
        raise UsageProblem("--ignore-unneeded: fields rejects no record: leave it out here, and give it to loss")
    from budget_cli.analysis.fields import take_inventory  # numpy from here on: not for --help
    from budget_cli.cli import inputs
    from budget_cli.cli.placement import Placement
    from budget_cli.records import detection
    from budget_cli.rendering import fields as rendering
    from budget_cli.schema import presets
    from budget_cli.schema.fields import EXTRAS, Fields

    placement = Placement(fields, Fields())
    known = placement.presets()
    found = inputs.find(files, {"-o": screen.output}, folders)
    inputs.require_records(found, "fields")
    start = detection.sniff(found)
    if not start.values:
        console.say(_why_no_records(found))
    start, inner = placement.opened(start, found[0].name, any_place=True)
    places = placement.within(start, inner, placement.fields, "")
    try:
        preset, name = placement.preset(inner, places), presets.CANONICAL
    except UsageProblem:
        if fields.preset is not None:
            raise
        preset, name = None, "none"
    if preset is not None:
        places, name = preset.apply_to(placement.fields).with_places(placement.places), preset.name
    places = placement.within(start, inner, places)
    if placement.keep:
        places = placement.with_kept(places)
    near = [] if preset or name == presets.CANONICAL else presets.rank(inner.values, known)
    numbers, named = detection.numeric_keys(inner, preset), [one for one in EXTRAS if one in placement.named_extras]
    inventory = take_inventory(start.values, places, name, near, numbers, named)
    warnings = (*inventory.warnings, *placement.warnings(found, start, preset))
    inventory = inventory._replace(warnings=warnings)
    is_json = format is FieldsFormat.JSON
    result = rendering.json(inventory) if is_json else console.draw(rendering.screen(inventory), screen)
    output.write(result, screen.output)
    present = {field.name for field in inventory.fields if field.samples}
    return Exit.PASS if {"prompt_id", "reward"} <= present else Exit.FAIL


def _why_no_records(found: "list[Source]") -> str:
    """Describe what is wrong with the first line, as no record was found.

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
        if source.kind in detection.ROWS:
            continue
        head = sources.head(source, detection.GLANCE_BYTES)
        if len(head) < detection.GLANCE_BYTES:  # read to the end, so that damage is reported
            deque(sources.pieces(source), maxlen=0)
        for rejection in reference.decode(head, Fields(), len(head), RejectionLimit(1)).rejections:
            return str(rejection._replace(source=source.name))
    return "no records: these files are empty or blank"
