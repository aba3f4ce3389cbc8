"""The commands of `budget-cli`, one module each, and what belongs to all of them."""

from typing import Annotated

import typer

from budget_cli import __version__
from budget_cli.cli import annotate, compare, fields, loss, report, summarize, sweep

app = typer.Typer(
    name="budget-cli",
    help="Recompute the budget-aware RL loss of a rollout dump, and say what it is made of.",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help: rich would cost a start-up 50 ms
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("loss", epilog=loss.EPILOG)(loss.command)
app.command("sweep", epilog=sweep.EPILOG)(sweep.command)
app.command("report", epilog=report.EPILOG)(report.command)
app.command("compare", epilog=compare.EPILOG)(compare.command)
app.command("annotate", epilog=annotate.EPILOG)(annotate.command)
app.command("summarize", epilog=summarize.EPILOG)(summarize.command)
app.command("fields", epilog=fields.EPILOG)(fields.command)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"budget-cli {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Recompute the budget-aware RL loss of a rollout dump, and say what it is made of."""
