"""`budget-cli explain TERM`: what a word, a key of the JSON or the code of a check means."""

from typing import Annotated

import typer

from budget_cli.cli import console, options, output
from budget_cli.cli.bundles import InventoryOptions
from budget_cli.errors import Exit

EPILOG = """Examples:

\b
  budget-cli explain phantom
  budget-cli explain made by length
  budget-cli explain over_budget.fraction
  budget-cli explain truncated

Exit codes: 0 explained, 2 usage error (such as an unknown term), 3 output error, 70 bug,
71 out of memory.
"""

Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[TERM]",
        show_default=False,
        autocompletion=options.terms,
        help="A term of the screens, a key of the JSON, or the code of a check. Without one: a list of all. all: the"
        " page docs/glossary.md.",
    ),
]


def command(*, words: Words = None, screen: InventoryOptions) -> Exit:
    """Explain a term, a number of the JSON, or a check.

    Says in one sentence what it is, how it is computed and in which unit, what high and low values mean, and which
    commands show it.
    """
    output.require_writable(screen.output)
    from budget_cli.analysis import glossary
    from budget_cli.rendering import explain  # numpy: not for --help

    name = " ".join(words or [])
    if name == "all":
        return console.show(explain.glossary(), screen.output)
    lines = explain.screen(glossary.called(name), console.columns()) if name else explain.listing(console.columns())
    console.page(console.draw(lines, screen), screen.output)
    return Exit.PASS
