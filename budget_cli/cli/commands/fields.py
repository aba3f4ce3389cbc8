"""`budget-cli fields FILES…`: which preset fits these files, and where each field is."""

from collections import deque
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from budget_cli.cli import console, options
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


@console.exits
def command(
    files: options.Files = None,
    field: options.FieldMappings = None,
    reward_weights: options.RewardWeights = None,
    group: options.Group = None,
    preset: options.PresetName = None,
    presets: options.PresetFiles = None,
    format: Annotated[
        Format, typer.Option("--format", "-f", rich_help_panel="Output", help="What the fields is written as.")
    ] = Format.TABLE,
    output: options.Output = None,
    color: options.WhenColour = options.Colour.AUTO,
) -> Exit:
    """Which preset fits these files, and where each field was found.

    Says what is missing, too, and what to give instead. Looks at the first thousand lines of the first file only, and
    computes nothing.
    """
    console.require_writable(output)
    from budget_cli.analysis.fields import take_inventory
    from budget_cli.cli.session import as_typed, find, preset_of, require_records
    from budget_cli.records import detection
    from budget_cli.schema import presets as known_presets
    from budget_cli.schema.fields import Fields

    mappings, bare = as_typed(Fields(), field, reward_weights, group)
    fields = bare.with_mappings(mappings)
    known = known_presets.load(presets or [])
    found = find(files, output)
    require_records(found, "fields")
    begun = detection.sniff(found)
    if not begun.values:
        console.say(_why_nothing(found))
    name, judged = known_presets.CANONICAL, known_presets.rank(begun.values, known)
    try:
        chosen = preset_of(begun, known, preset, fields, mappings)
    except UsageProblem:
        if preset is not None:
            raise
        chosen, name = None, "none"
    if chosen is not None:
        fields, name = chosen.apply_to(bare).with_mappings(mappings), chosen.name
    near = [] if chosen or name == known_presets.CANONICAL else judged
    taken = take_inventory(begun.values, fields, name, near, detection.numeric_keys(begun, chosen))
    from budget_cli.rendering import fields as rendering

    result = rendering.json(taken) if format is Format.JSON else console.drawn(rendering.screen(taken), output, color)
    console.write(result, output)
    there = {one.name for one in taken.fields if one.samples}
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
