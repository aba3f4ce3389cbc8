"""The options of a command → its help page, section by section, and the other ways to set an option."""

from typing import Any

import typer
import typer.core

from budget_cli.cli import console, settings
from budget_cli.cli.bundles import is_given_here

ENDING = """Every option can also be set in the environment or in a file: --token-budget 4096 is
BUDGET_CLI_TOKEN_BUDGET=4096, or token-budget = 4096 in budget-cli.toml or under [tool.budget-cli] in pyproject.toml.
The file is searched for from the current directory upward. Flags override the environment, which overrides the file."""
ARGUMENTS, OWN, HELP = "Arguments", "Options", "Help"  # sections; OWN has the options of this command alone
ORDER = (ARGUMENTS, "Loss", OWN, "Output", "Verdict", "Fields", "Reading", HELP)  # what most people need comes first
EXAMPLES = "Examples:\n\n"
ENVIRONMENT = {"auto_envvar_prefix": "BUDGET_CLI"}  # context settings of every command


def _on_help(context: typer.Context, option: Any, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        console.show_page(f"{context.get_help()}\n")
        context.exit()


def _is_of_file(option: Any, context: Any) -> bool:
    """True if an option has its value from the settings file, and another one than without it."""
    source = context.get_parameter_source(option.name)
    if source is None or source.name != "DEFAULT_MAP":
        return False
    if option.name == "set" and is_given_here(context, "objective"):  # which replaces the objective of the file
        return False
    return bool(context.params[option.name] != option.type_cast_value(context, option.default))


class _Whole:
    """Writes its help as everything is written. A base before a class of typer."""

    def get_help_option(self, ctx: Any) -> Any:
        """Return the option --help."""
        option = super().get_help_option(ctx)  # type: ignore[misc]  # of the class of typer
        option.callback = _on_help
        return option


def _write(text: str, formatter: Any) -> None:
    """Write paragraphs."""
    if text:
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(text)


class Program(_Whole, typer.core.TyperGroup):
    """The program without a command."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the commands, the examples, and last the options, which few people need."""
        self.format_commands(ctx, formatter)
        _write(self.epilog or "", formatter)
        typer.core.TyperCommand.format_options(self, ctx, formatter)  # type: ignore[arg-type]  # without the commands

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write nothing: the examples stand before the options."""


class Command(_Whole, typer.core.TyperCommand):
    """A command whose help has one section per group of options (`rich_help_panel`)."""

    def invoke(self, ctx: Any) -> Any:
        """Say which settings file is in force, then run the command."""
        if ctx.obj is not None:
            keys = [option.name or "" for option in self.params if _is_of_file(option, ctx)]
            said = settings.in_force(ctx.obj, keys, quiet=bool(ctx.params.get("quiet")))
            if said is not None:
                console.say(said)
        return super().invoke(ctx)

    def format_help_text(self, ctx: Any, formatter: Any) -> None:
        """Write what the command does, then its examples: what most people look for."""
        super().format_help_text(ctx, formatter)
        _write("\n\n".join(filter(None, self.remarks()[:2])), formatter)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments, then the options, section by section."""
        for panel, records in self.sections(ctx).items():
            with formatter.section(panel):
                formatter.write_dl(records)

    def sections(self, ctx: Any) -> dict[str, list[tuple[str, str]]]:
        """Return the sections of the options, in their order: what is typed, and what it does."""
        from budget_cli.cli import usage  # not for what runs

        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            parameter.show_envvar = False  # type: ignore[attr-defined]  # click's attribute; ENDING covers all options
            record = parameter.get_help_record(ctx)
            if record is not None:
                record = record[0], usage.for_help(record[1])
                panel = getattr(parameter, "rich_help_panel", None) or OWN
                if parameter.param_type_name == "argument":
                    panel = ARGUMENTS
                elif parameter.name == "help":
                    panel = HELP
                sections.setdefault(panel, []).append(record)
        return dict(sorted(sections.items(), key=lambda x: ORDER.index(x[0]) if x[0] in ORDER else len(ORDER) - 2))

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the remarks and exit codes of the command, then ENDING."""
        _write(f"{self.remarks()[2]}\n\n{ENDING}", formatter)

    def remarks(self) -> tuple[str, str, str]:
        """Return the parts of the epilog: what comes before the examples, these, and what follows them."""
        before, head, after = (self.epilog or "").partition(EXAMPLES)
        block, _, rest = after.partition("\n\n")
        return before.strip(), head + block, rest
