"""What the program says of itself → the generated pages, the JSON Schemas and the man pages.

`python docs/generate.py` writes what is generated in docs/: commands/ (what `--help` shows), checks.md, glossary.md,
schemas/ (see schemas.py) and notebook.md. `screens` as an argument runs the commands that the README and the pages
show, and writes what they print into them; `man FOLDER` writes the man pages, from the same source as commands/. Run it
from a checkout with its dev extras. Tests hold the pages to what it writes.
"""

import json
import re
import sys
import textwrap
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import typer
from schemas import schemas

from budget_cli import __version__
from budget_cli.cli.app import COMMANDS, build_app
from budget_cli.cli.help import ENDING
from budget_cli.rendering import explain

CODES = "Exit codes: "
DOCS = Path(__file__).resolve().parent
SEE = {  # the pages that a command's page leads to
    "loss": ("loss.md", "json.md", "ci.md", "compare.md", "objectives.md"),
    "check": ("checking.md", "checks.md", "ci.md"),
    "sweep": ("what-if.md", "story.md"),
    "report": ("what-if.md", "getting-started.md"),
    "compare": ("compare.md", "ci.md"),
    "show": ("responses.md",),
    "annotate": ("responses.md", "dumps.md"),
    "summarize": ("summaries.md", "scale.md"),
    "fields": ("getting-started.md", "input.md", "dumps.md"),
    "explain": ("glossary.md", "checks.md"),
}

TYPED = re.compile(  # what is quoted, an option, a name with an underscore, a setting, a path, a file, a table
    r"""('[^' ][^']*[=>\[`*][^']*'|(?<![\w-])--?[a-zA-Z][\w-]*|\$?\w[\w.-]*(?:\[\]|[_=])(?:[^\s,;:()']*[^\s,;:().'])?"""
    r"""|(?:\*\[\]|\[\]\[\]|\[\])|[\w/-]+\.(?:md|toml|json)\b|\[tool[^]]*\])"""
)


class Manual(NamedTuple):
    """What `--help` says of a command.

    `paragraphs` come before the examples, `remarks` after the options; a section has a title and, for each option, what
    is typed and what it does.
    """

    name: str
    usage: str
    purpose: str
    paragraphs: list[str]
    examples: list[str]
    sections: dict[str, list[tuple[str, str]]]
    remarks: list[str]


def manuals() -> list[Manual]:
    """Return the manual of each command, in the order of the help."""
    program: Any = typer.main.get_command(build_app())
    with program.make_context("budget-cli", [], resilient_parsing=True) as context:
        return [_manual(name, program.commands[name], context) for name in COMMANDS]


def pages() -> dict[str, str]:
    """Return the generated pages by their names in docs/."""
    every = manuals()
    written = {f"commands/{each.name}.md": _page(each) for each in every}
    written["commands/index.md"] = _index(every)
    written |= {
        f"schemas/{name}.json": json.dumps(each, indent=1, ensure_ascii=False) + "\n"
        for name, each in schemas().items()
    }
    written["notebook.md"] = _notebook(json.loads((DOCS / "notebook.ipynb").read_text("utf-8")))
    return written | {"checks.md": explain.all_checks(), "glossary.md": explain.glossary()}


def man_pages() -> dict[str, str]:
    """Return the man pages by the names of their files."""
    every = manuals()
    return {f"budget-cli-{each.name}.1": _man(each) for each in every} | {"budget-cli.1": _man_of_all(every)}


def _manual(name: str, command: Any, above: Any) -> Manual:
    with command.make_context(name, [], parent=above, resilient_parsing=True) as context:
        usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
        before, examples, after = command.remarks()
        purpose, *rest = _paragraphs(command.help)
        lines = [line.strip() for line in examples.splitlines() if line.startswith("  ")]
        return Manual(
            name, usage, purpose, [*rest, *_paragraphs(before)], lines, command.sections(context), _paragraphs(after)
        )


def _paragraphs(text: str) -> list[str]:
    return [" ".join(part.split()) for part in re.split(r"\n\s*\n", text) if part.strip()]


# ---- Markdown


def _page(manual: Manual) -> str:
    lines = [f"# budget-cli {manual.name}", "", _marked(manual.purpose)]
    lines += ["", "```", manual.usage, "```"]
    for paragraph in manual.paragraphs:
        lines += ["", _marked(paragraph)]
    lines += ["", "## Examples", "", "```sh", *manual.examples, "```"]
    for title, options in manual.sections.items():
        lines += ["", f"## {title}", ""]
        lines += [f"- `{typed}` — {_marked(does)}" for typed, does in options]
    codes = [each for each in manual.remarks if each.startswith(CODES)]
    others = [each for each in manual.remarks if each not in codes]
    for title, paragraphs in (("Remarks", others), ("Exit codes", codes)):
        lines += [f"\n## {title}"] * bool(paragraphs)
        lines += [f"\n{_marked(each.removeprefix(CODES))}" for each in paragraphs]
    lines += ["", "## Other ways to set an option", "", _marked(" ".join(ENDING.split())), ""]
    lines += ["See also: " + ", ".join(f"[{_title(page)}](../{page})" for page in SEE[manual.name]) + "."]
    lines += ["", f"(This page is what `budget-cli {manual.name} --help` shows, written by `docs/generate.py`.)"]
    return "\n".join(lines) + "\n"


def _index(every: list[Manual]) -> str:
    rows = [f"| [`{each.name}`]({each.name}.md) | {_marked(each.purpose)} |" for each in every]
    return "\n".join(
        [
            "# Commands",
            "",
            "`budget-cli COMMAND --help` shows these pages, and `make man` in a checkout writes them as man pages.",
            "",
            "| command | |",
            "|---|---|",
            *rows,
            "",
        ]
    )


def _notebook(notebook: dict[str, Any]) -> str:
    """Return a notebook as a page: its cells, and as text what they show."""
    lines: list[str] = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        lines += [source, ""] if cell["cell_type"] == "markdown" else ["```py", source, "```", ""]
        for output in cell.get("outputs", []):
            shown = "".join(output["data"]["text/plain"]).splitlines()
            lines += ["```text", *(line for each in shown for line in textwrap.wrap(each, 110) or [""]), "```", ""]
    return "\n".join([*lines, "(This page is [notebook.ipynb](notebook.ipynb), written by `docs/generate.py`.)", ""])


def _title(page: str) -> str:
    return (DOCS / page).read_text("utf-8").partition("\n")[0].removeprefix("# ")


def _marked(text: str) -> str:
    """Return text as Markdown: what is typed as code, everything else as it stands."""
    pieces = TYPED.split(text)
    for i in range(1, len(pieces), 2):  # what the expression found
        code = pieces[i].strip("'")
        pieces[i] = f"`` {code} ``" if "`" in code else f"`{code}`"
    pieces[0::2] = [re.sub(r"([\\`*_<>|])", r"\\\1", piece) for piece in pieces[0::2]]
    return re.sub(r" +\[([^][]*)\]$", r" *(\1)*", "".join(pieces))  # the default, the range


# ---- roff


def _man(manual: Manual) -> str:
    name = f"budget-cli-{manual.name}"
    lines = [*_head(name, manual.purpose), f".B {_roff(manual.usage)}", ".SH DESCRIPTION"]
    lines += [_roff(manual.purpose), *(line for each in manual.paragraphs for line in (".PP", _roff(each)))]
    lines += [".SH EXAMPLES", ".nf", *map(_roff, manual.examples), ".fi", ".SH OPTIONS"]
    for title, options in manual.sections.items():
        lines.append(f".SS {_roff(title)}")
        for typed, does in options:
            lines += [".TP", f"\\fB{_roff(typed)}\\fR", _roff(does)]
    codes = [each for each in manual.remarks if each.startswith(CODES)]
    others = [each for each in manual.remarks if each not in codes]
    if others:
        lines += [".SH NOTES", *(line for each in others for line in (_roff(each), ".PP"))][:-1]
    lines += [".SH EXIT STATUS", *(_roff(each.removeprefix(CODES)) for each in codes)]
    lines += [".SH ENVIRONMENT", _roff(" ".join(ENDING.split())), ".SH SEE ALSO", ".BR budget\\-cli (1)"]
    return "\n".join(lines) + "\n"


def _man_of_all(every: list[Manual]) -> str:
    purpose = "recompute the budget-aware RL loss of a rollout dump and break it down."
    lines = [*_head("budget-cli", purpose), ".B budget\\-cli COMMAND [OPTIONS] [FILES]...", ".SH COMMANDS"]
    for each in every:
        lines += [".TP", f".BR budget\\-cli\\-{each.name} (1)", _roff(each.purpose)]
    lines += [".SH ENVIRONMENT", _roff(" ".join(ENDING.split()))]
    return "\n".join(lines) + "\n"


def _head(name: str, purpose: str) -> Iterator[str]:
    yield f'.TH {_roff(name.upper())} 1 {date.today()} "budget\\-cli {_roff(__version__)}"'
    yield ".SH NAME"
    yield f"{_roff(name)} \\- {_roff(purpose[0].lower() + purpose[1:].rstrip('.'))}"
    yield ".SH SYNOPSIS"


def _roff(text: str) -> str:
    """Return text for a line of a man page, in which nothing is a request or an escape."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{text}" if text.startswith((".", "'")) else text


def write(folder: Path, files: dict[str, str]) -> None:
    """Write files into a folder."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:2] == ["man"]:
        write(Path(sys.argv[2]), man_pages())
    elif sys.argv[1:2] == ["screens"]:
        sys.path.append(str(DOCS.parent / "tests" / "support"))
        import screens

        screens.renew()
    else:
        write(DOCS, pages())
