"""`budget-cli fields FILES…`: which preset fits the files, and where each field is."""

from enum import StrEnum
from typing import Annotated

import typer

from budget_cli.cli import console, options, output
from budget_cli.cli.bundles import FieldOptions, FolderOptions, InventoryOptions, is_typed
from budget_cli.errors import Exit, UsageProblem

EPILOG = """Examples:

\b
  budget-cli fields rollouts/
  budget-cli fields rollouts/1.jsonl --field prompt_id=uid --write
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


WriteOption = Annotated[
    bool,
    typer.Option(
        "--write",
        rich_help_panel="Output",
        help="Put the options of the command that is shown into budget-cli.toml of this folder.",
    ),
]


def command(
    *,
    context: typer.Context,
    files: options.Files = None,
    fields: FieldOptions,
    folders: FolderOptions,
    format: FieldsFormatOption = FieldsFormat.TABLE,
    write: WriteOption = False,
    screen: InventoryOptions,
) -> Exit:
    """Show which preset fits the files and where each field is.

    Also guesses the fields that are missing, with the reason, and shows the command that would read them. Reads only
    the first thousand lines of the first file, of the second only to compare ids, and computes nothing.
    """
    output.require_writable(screen.output)
    if fields.ignore_unneeded and is_typed(context, "ignore_unneeded"):
        raise UsageProblem("--ignore-unneeded: fields rejects no record: leave it out here, and give it to loss")
    from budget_cli.analysis.fields import propose, take_inventory  # numpy from here on: not for --help
    from budget_cli.analysis.loss import given as objective_given
    from budget_cli.cli import inputs, proposal
    from budget_cli.cli.placement import Placement
    from budget_cli.cli.recipes import of_framework
    from budget_cli.records import detection
    from budget_cli.rendering import fields as rendering
    from budget_cli.schema import presets
    from budget_cli.schema.fields import EXTRAS, Fields
    from budget_cli.schema.guesses import flags

    placement = Placement(fields, Fields())
    known = placement.presets()
    found = inputs.find(files, {"-o": screen.output}, folders)
    inputs.require_records(found, "fields")
    start = detection.sniff(found)
    if not start.values:
        console.say(inputs.why_no_records(found))
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
    functions = detection.reward_functions(inner, preset)
    named = [one for one in EXTRAS if one in placement.named_extras]
    guessed = propose(start.values, places, functions)
    inventory = take_inventory(start.values, places, name, near, functions, named, guessed)
    given = proposal.typed(fields, folders, guessed.missing)
    chosen = flags(guessed.guesses, guessed.missing, Fields(), functions)
    trained = of_framework(name)
    inventory = inventory._replace(
        objective=None if trained is None else objective_given(trained),
        warnings=(*inventory.warnings, *placement.warnings(found, start, preset)),
        command=proposal.command_line(files or (), given, chosen, guessed.length) if inventory.samples else "",
    )
    is_json = format is FieldsFormat.JSON
    result = (
        rendering.json(inventory) if is_json else console.draw(rendering.screen(inventory, console.columns()), screen)
    )
    output.write(result, screen.output)
    if write:
        keys = proposal.write(guessed.guesses, name, given, chosen, context.obj)
        console.say(f"budget-cli.toml: sets {keys}")
    present = {field.name for field in inventory.fields if field.samples}
    return Exit.PASS if {"prompt_id", "reward"} <= present else Exit.FAIL
