"""A command's options → its help page: what belongs together stands together, and how else an option may be said."""

from typing import Any

import typer.core

ENDING = """Every option may also come from the environment or a file: --token-budget 4096 is
BUDGET_CLI_TOKEN_BUDGET=4096, or token-budget = 4096 in budget-cli.toml or under [tool.budget-cli] in pyproject.toml,
looked for from the current directory upward. A flag beats the environment, the environment beats the file."""
ARGUMENTS, OWN, HELP = "Arguments", "Options", "Help"  # the first, what only this command has, and the last
ENVIRONMENT = {"auto_envvar_prefix": "BUDGET_CLI"}  # context settings of every command


class Command(typer.core.TyperCommand):
    """A command whose help has a section for each group of options (`rich_help_panel`)."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """The arguments, then the options, section by section."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            parameter.show_envvar = False  # type: ignore[attr-defined]  # the ending says it for all of them
            record = parameter.get_help_record(ctx)
            if record is not None:
                panel = getattr(parameter, "rich_help_panel", None) or OWN
                if parameter.param_type_name == "argument":
                    panel = ARGUMENTS
                elif parameter.name == "help":
                    panel = HELP
                sections.setdefault(panel, []).append(record)
        for panel in sorted(sections, key=lambda panel: (panel != ARGUMENTS, panel != OWN, panel == HELP)):
            with formatter.section(panel):
                formatter.write_dl(sections[panel])

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Examples and exit codes, as the command has them, and where settings may come from."""
        super().format_epilog(ctx, formatter)
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(ENDING)
