"""The commands of `budget-cli`, one module each, and what belongs to all of them."""

import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from budget_cli import __version__
from budget_cli.cli import console, settings
from budget_cli.cli.commands import annotate, check, compare, fields, loss, report, summarize, sweep
from budget_cli.cli.help import ENVIRONMENT, Command
from budget_cli.errors import BudgetCliError

EPILOG = """Examples:

\b
  budget-cli loss rollouts/ -B 4096
  budget-cli check rollouts/ -B 4096
  budget-cli compare monday/ tuesday/ -B 4096
  budget-cli annotate 40.jsonl -B 4096 | jq .budget_cli
  budget-cli COMMAND --help
"""

COMMANDS = {
    "loss": loss,
    "check": check,
    "sweep": sweep,
    "report": report,
    "compare": compare,
    "annotate": annotate,
    "summarize": summarize,
    "fields": fields,
}


def app_of(*names: str) -> typer.Typer:
    """The program with these commands; typer makes all options of all of them at every start, 1 ms a command."""
    app = typer.Typer(
        name="budget-cli",
        help="Recompute the budget-aware RL loss of a rollout dump, and say what it is made of.",
        no_args_is_help=True,
        rich_markup_mode=None,  # plain help: rich would cost a start-up 50 ms
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        epilog=EPILOG,
    )
    for name in names:
        module = COMMANDS[name]
        app.command(name, cls=Command, epilog=module.EPILOG, context_settings=ENVIRONMENT)(module.command)
    app.callback()(_main)
    return app


def run(arguments: Sequence[str]) -> None:
    """The command line; leaves with its exit code."""
    plain = arguments and arguments[0] in COMMANDS and "_BUDGET_CLI_COMPLETE" not in os.environ
    app_of(*(arguments[:1] if plain else COMMANDS))(prog_name="budget-cli")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"budget-cli {__version__}")
        raise typer.Exit


def _main(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
    config: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            envvar="BUDGET_CLI_CONFIG",
            show_default=False,
            help="Settings, in place of the budget-cli.toml or pyproject.toml that is found from here upward.",
        ),
    ] = None,
    no_config: Annotated[
        bool, typer.Option("--no-config", envvar="BUDGET_CLI_NO_CONFIG", help="No settings from any file.")
    ] = False,
) -> None:
    """Recompute the budget-aware RL loss of a rollout dump, and say what it is made of."""
    command = context.invoked_subcommand
    if command is None or {"-h", "--help"} & set(sys.argv):  # help is there, whatever the file says
        return
    try:
        this = context.command.commands[command]  # type: ignore[attr-defined]
        told = settings.defaults(this, _all, command, config, search=not no_config)
    except BudgetCliError as error:
        console.say(str(error))
        console.leave(error.exit_code)
    context.default_map = {command: told}


def _all() -> Any:
    """Every command by its name, with its options."""
    return typer.main.get_command(app_of(*COMMANDS)).commands  # type: ignore[attr-defined]
