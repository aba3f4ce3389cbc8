"""Command-line entry point: the commands of `budget-cli`, and the options of the program itself."""

import contextlib
import io
import os
import sys
from collections.abc import Collection, Sequence
from importlib import import_module
from typing import Annotated, Any, NoReturn

import typer

from budget_cli.cli import console, settings, signals
from budget_cli.cli.bundles import flattened
from budget_cli.cli.help import ENVIRONMENT, Command, Program
from budget_cli.errors import Exit
from budget_cli.version import __version__

PURPOSE = "Recompute the budget-aware RL loss of a rollout dump and break it down."
EPILOG = """Examples:

\b
  budget-cli loss rollouts/ -B 4096
  budget-cli check rollouts/ -B 4096
  budget-cli show rollouts/ -B 4096 --top 5
  budget-cli compare monday/ tuesday/ -B 4096
  budget-cli annotate 40.jsonl -B 4096 | jq .budget_cli
  budget-cli COMMAND --help
"""

COMPLETION = "_BUDGET_CLI_COMPLETE"  # set by the script of a shell
ClickException: Any = typer.BadParameter.__mro__[2]  # of the click that typer carries; it has no public name there
# each in commands/NAME.py, in the order of the help
COMMANDS = ("loss", "check", "sweep", "report", "compare", "show", "annotate", "summarize", "fields", "explain")


def build_app(names: Sequence[str] = COMMANDS, with_options: Collection[str] = COMMANDS) -> typer.Typer:
    """Build the program.

    Args:
        names: its commands.
        with_options: those that can be run. The others are only listed: the options of a command take 3 ms to build.
    """
    app = typer.Typer(
        name="budget-cli",
        cls=Program,
        help=PURPOSE,
        no_args_is_help=True,
        rich_markup_mode=None,  # plain help: rich would add 50 ms to every start
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        epilog=EPILOG,
    )
    for name in names:
        module = import_module(f"budget_cli.cli.commands.{name}")
        command = flattened(module.command) if name in with_options else _only_listed
        app.command(name, cls=Command, help=module.command.__doc__, epilog=module.EPILOG, context_settings=ENVIRONMENT)(
            command
        )
    app.callback()(_main)
    return app


def run(arguments: Sequence[str]) -> NoReturn:
    """Run the command line, and end the process with the exit code of the command, or that fits what it raises."""
    try:
        if COMPLETION in os.environ or not {"--install-completion", "--show-completion"}.isdisjoint(arguments):
            code = _complete(build_app())
        else:
            named = [name for name in COMMANDS if name in arguments]
            program = typer.main.get_command(build_app(arguments[:1] if arguments[0:1] == named else COMMANDS, named))
            # not `main`, which has exit codes of its own for a closed pipe and for Ctrl-C
            with program.make_context("budget-cli", list(arguments)) as context:
                code = program.invoke(context)
    except typer.Exit as leaving:  # after --help or --version
        code = Exit(leaving.exit_code)
    except ClickException as problem:
        if type(problem).__name__ == "NoArgsIsHelpError":
            console.say_lines(problem.message)
        else:
            from budget_cli.cli import usage  # only for what is wrong

            console.say(usage.message(problem))
        code = Exit.USAGE
    except (Exception, signals.Terminated) as error:
        code = console.say_why(error)
    console.leave(code)


def _complete(app: typer.Typer) -> Exit:
    """Write what TAB completes, or the script for a shell: typer prints it and ends the process."""
    said, code = io.StringIO(), 0
    with contextlib.redirect_stdout(said):
        try:
            app(prog_name="budget-cli")
        except SystemExit as leaving:
            code = leaving.code if isinstance(leaving.code, int) else Exit.USAGE
    console.show(said.getvalue())
    return Exit(code)


def _only_listed() -> None:
    """Stand for a command that the arguments do not name."""


def _print_version(wanted: bool) -> None:
    if wanted:
        console.show(f"budget-cli {__version__}\n")
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
            help="Settings file. Default: budget-cli.toml or pyproject.toml, searched for from here upward.",
        ),
    ] = None,
    no_config: Annotated[
        bool, typer.Option("--no-config", envvar="BUDGET_CLI_NO_CONFIG", help="Ignore all settings files.")
    ] = False,
) -> None:
    """Apply the settings file to the options of the command."""
    command = context.invoked_subcommand
    if command is None or {"-h", "--help"} & set(sys.argv):  # help works whatever the file contains
        return
    this = context.command.commands[command]  # type: ignore[attr-defined]  # a Group, typed as Command
    found = settings.defaults(this, _all_commands, command, config, search=not no_config)
    if found is not None:
        context.default_map, context.obj = {command: found.values}, found.path


def _all_commands() -> Any:
    """Return every command by its name, with its options."""
    return typer.main.get_command(build_app()).commands  # type: ignore[attr-defined]  # a Group, likewise
