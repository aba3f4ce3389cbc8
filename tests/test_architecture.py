"""If this fails, a part of the program has come to know what it should not, and can no longer be changed on its own."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import budget_cli

ROOT = Path(budget_cli.__file__).parent
ALL = sorted(ROOT.rglob("*.py"))

# a part imports from lower floors and from itself, never from a neighbour on its own floor
FLOOR = {
    "objective": 0, "errors": 0, "ids": 0,
    "reading": 1, "groups": 1,
    "scanning": 2, "analysis": 2,
    "rendering": 3,
    "cli": 4,
}  # fmt: skip
DOORS = {"__init__": {"objective"}, "__main__": {"cli"}}  # the package's own two files, and what they open onto

EXITS = {"print", "exit", "quit", "sys.exit", "os._exit", "SystemExit", "sys.stdout.write", "sys.stderr.write"}
OPENERS = {
    "open", "fdopen", "mkstemp", "NamedTemporaryFile", "TemporaryFile", "read_text", "read_bytes", "write_text",
    "write_bytes", "ZipFile", "memmap", "fromfile", "tofile", "loadtxt", "savetxt", "genfromtxt",
}  # fmt: skip


class Use(NamedTuple):
    """What a module names, and on which line."""

    name: str
    line: int


def name_of(path: Path) -> str:
    """budget_cli/groups/moments.py → budget_cli.groups.moments; a folder's own file → the folder."""
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def part_of(module: str) -> str:
    """budget_cli.groups.moments → groups; budget_cli itself → __init__."""
    return module.split(".")[1] if "." in module else "__init__"


def imports(source: str, module: str = "budget_cli.x") -> Iterator[Use]:
    """Every module that is imported: at the top, inside a function, or for type checking only."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Use(alias.name, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(filter(None, [*(module.split(".")[: -node.level] if node.level else []), node.module]))
            for alias in node.names:
                is_module = (ROOT.parent / base.replace(".", "/") / alias.name).with_suffix(".py").exists()
                is_folder = (ROOT.parent / base.replace(".", "/") / alias.name).is_dir()
                yield Use(f"{base}.{alias.name}" if is_module or is_folder else base, node.lineno)


def calls(source: str) -> Iterator[Use]:
    """Every call, by its dotted name; and every `raise` of a bare class."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            yield Use(ast.unparse(node.func), node.lineno)
        elif isinstance(node, ast.Raise) and isinstance(node.exc, ast.Name):
            yield Use(node.exc.id, node.lineno)


def outside(*parts: str) -> list[Path]:
    return [path for path in ALL if part_of(name_of(path)) not in parts]


def shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def forbidden(source: str, module: str) -> list[Use]:
    """The imports that do not point down."""
    part = part_of(module)
    found = []
    for use in imports(source, module):
        if use.name.split(".")[0] != "budget_cli":
            continue
        other = part_of(use.name)
        if part in DOORS:
            allowed = other in DOORS[part]
        elif other == "__init__":
            allowed = part == "cli"  # its version
        else:
            allowed = other == part or FLOOR[other] < FLOOR[part]
        if not allowed:
            found.append(use)
    return found


def test_every_part_of_the_package_has_a_floor() -> None:
    assert {part_of(name_of(path)) for path in ALL} == set(FLOOR) | set(DOORS)


@pytest.mark.parametrize("path", ALL, ids=shown)
def test_imports_point_one_way_down(path: Path) -> None:
    assert forbidden(path.read_text("utf-8"), name_of(path)) == []


def test_the_formula_knows_no_arrays_and_no_files() -> None:
    source = (ROOT / "objective.py").read_text("utf-8")
    assert {use.name for use in imports(source, "budget_cli.objective")} == {"math", "collections.abc", "typing"}


def openings(source: str) -> list[Use]:
    return [use for use in calls(source) if use.name.rpartition(".")[2] in OPENERS]


def exits(source: str) -> list[Use]:
    return [use for use in calls(source) if use.name in EXITS]


def typers(source: str) -> list[Use]:
    return [use for use in imports(source) if use.name.split(".")[0] in {"typer", "click"}]


@pytest.mark.parametrize("path", outside("cli", "__main__"), ids=shown)
def test_only_the_command_line_prints_exits_and_knows_typer(path: Path) -> None:
    source = path.read_text("utf-8")
    assert exits(source) == typers(source) == []


@pytest.mark.parametrize("path", outside("reading", "scanning", "cli"), ids=shown)
def test_only_reading_scanning_and_the_command_line_open_files(path: Path) -> None:
    assert openings(path.read_text("utf-8")) == []


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("import budget_cli.cli.app", ["budget_cli.cli.app"]),
        ("from budget_cli import objective, __version__", ["budget_cli.objective", "budget_cli"]),
        ("from budget_cli.groups import moments", ["budget_cli.groups.moments"]),
        ("from budget_cli.groups.moments import Table", ["budget_cli.groups.moments"]),
        ("def f():\n    from budget_cli.cli import app", ["budget_cli.cli.app"]),
        ("if TYPE_CHECKING:\n    from budget_cli.scanning.scan import Scan", ["budget_cli.scanning.scan"]),
        ("from ..reading import columns", ["budget_cli.reading.columns"]),
        ("from .lengths import Lengths", ["budget_cli.groups.lengths"]),
        ("from . import lengths", ["budget_cli.groups.lengths"]),
    ],
)
def test_an_import_is_seen_however_it_is_written(source: str, names: list[str]) -> None:
    assert [use.name for use in imports(source, "budget_cli.groups.groups")] == names


@pytest.mark.parametrize(
    ("module", "source", "allowed"),
    [
        ("budget_cli.groups.groups", "from budget_cli.reading.columns import Key", False),
        ("budget_cli.reading.typed", "from budget_cli.groups import moments", False),
        ("budget_cli.analysis.report", "from budget_cli.scanning.scan import Scan", False),
        ("budget_cli.scanning.scan", "if TYPE_CHECKING:\n    from budget_cli.analysis import report", False),
        ("budget_cli.objective", "from budget_cli import errors", False),
        ("budget_cli.rendering.table", "def f():\n    from budget_cli.cli import console", False),
        ("budget_cli.analysis.report", "from budget_cli import __version__", False),
        ("budget_cli", "from budget_cli.groups.groups import Groups", False),
        ("budget_cli.cli.app", "from budget_cli import __version__", True),
        ("budget_cli.cli.loss", "from budget_cli.groups import moments", True),
        ("budget_cli.groups.groups", "from .moments import Table\nimport numpy", True),
        ("budget_cli.groups.groups", "from ..reading import columns", False),
    ],
)
def test_an_import_that_points_up_or_sideways_is_refused(module: str, source: str, allowed: bool) -> None:
    assert (forbidden(source, module) == []) is allowed


@pytest.mark.parametrize(
    ("find", "source"),
    [
        (exits, "print(1)"),
        (exits, "import sys\nsys.exit(1)"),
        (exits, "raise SystemExit"),
        (exits, "raise SystemExit(2)"),
        (typers, "from typer import echo"),
        (typers, "def f():\n    import typer.testing"),
        (openings, "with open('x') as file: pass"),
        (openings, "import os\nos.open('x', 0)"),
        (openings, "Path('x').read_text()"),
        (openings, "gzip.open('x')"),
    ],
)
def test_what_is_forbidden_is_found_where_it_occurs(find: object, source: str) -> None:
    assert callable(find)
    assert len(find(source)) == 1
