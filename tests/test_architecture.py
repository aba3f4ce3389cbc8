"""If this fails, a room of the program knows more than it should and can no longer be changed on its own."""

import ast
import functools
from collections.abc import Iterator, Sequence
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

import budget_cli

ROOT = Path(budget_cli.__file__).parent
MODULES = {path: ".".join(path.relative_to(ROOT.parent).with_suffix("").parts) for path in sorted(ROOT.rglob("*.py"))}

# Each room, and the rooms that it may import. Every room stands below the rooms that it imports nothing from.
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "system": set(),
    "version": set(),
    "objective": set(),
    "native": set(),
    "ids": {"native"},
    "sources": {"errors", "system"},
    "schema": {"errors"},
    "records": {"errors", "native", "ids", "sources", "schema"},
    "groups": {"objective", "native", "ids"},
    "evidence": {"ids", "groups"},
    "scanning": {
        "errors",
        "system",
        "objective",
        "native",
        "ids",
        "sources",
        "schema",
        "records",
        "groups",
        "evidence",
    },
    "analysis": {"errors", "objective", "ids", "schema", "records", "groups", "evidence"},
    "rendering": {"objective", "ids", "records", "groups", "analysis", "__init__"},
    "cli": {
        "errors",
        "system",
        "objective",
        "native",
        "ids",
        "sources",
        "schema",
        "records",
        "groups",
        "evidence",
        "scanning",
        "analysis",
        "rendering",
        "version",
    },
    "api": {
        "errors",
        "objective",
        "ids",
        "sources",
        "records",
        "scanning",
        "analysis",
        "rendering",
        "cli",
    },
    "torch": set(),  # PyTorch's tensors alone
    "__init__": {"errors", "version", "objective", "api"},
    "__main__": {"cli"},
}
START_PROCESSES = {
    "process",
    "browser",
    "scale",
    "fuzz",
    "oracles",  # Node.js, which runs the page's JavaScript
    "faults",
    "support",
}  # folders of tests that `make quick` leaves out, or shared
OPENS_FILES = {"sources", "schema", "records", "scanning", "cli"}
WRITES = {"os.write", "os.link", "os.replace", "os.rename", "mkstemp", "NamedTemporaryFile", "TemporaryFile", "fdopen"}
EXITS = {"print", "exit", "quit", "sys.exit", "os._exit", "SystemExit", "sys.stdout.write", "sys.stderr.write"}
OPENERS = {
    "open",
    "fdopen",
    "mkstemp",
    "NamedTemporaryFile",
    "TemporaryFile",
    "read_text",
    "read_bytes",
    "write_text",
    "write_bytes",
    "ZipFile",
    "memmap",
    "fromfile",
    "tofile",
    "loadtxt",
    "savetxt",
    "genfromtxt",
}


class Use(NamedTuple):
    """A name that a module uses, and its line."""

    name: str
    line: int


def room_of(module: str) -> str:
    """Return the room of a module: budget_cli.groups.moments → groups; budget_cli itself → __init__."""
    return module.split(".")[1] if "." in module else "__init__"


@functools.cache
def nodes(source: str) -> Sequence[ast.AST]:
    """Return all nodes of a module, which several tests look at."""
    return list(ast.walk(ast.parse(source)))


def imports(source: str, module: str) -> Iterator[Use]:
    """Yield the modules of the package that are imported at the top, in a function or for type checking."""
    for node in nodes(source):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Use(alias.name, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(filter(None, [*(module.split(".")[: -node.level] if node.level else []), node.module]))
            for alias in node.names:
                below = ROOT.parent / base.replace(".", "/") / alias.name
                is_module = below.with_suffix(".py").exists() or below.with_suffix(".c").exists() or below.is_dir()
                yield Use(f"{base}.{alias.name}" if is_module else base, node.lineno)


def calls(source: str) -> Iterator[Use]:
    """Yield every call, by its dotted name, and every `raise` of a bare class."""
    for node in nodes(source):
        if isinstance(node, ast.Call):
            yield Use(ast.unparse(node.func), node.lineno)
        elif isinstance(node, ast.Raise) and isinstance(node.exc, ast.Name):
            yield Use(node.exc.id, node.lineno)


def forbidden(source: str, module: str) -> list[Use]:
    """Yield the imports of rooms that this module must not know."""
    room = room_of(module)
    return [
        use
        for use in imports(source, module)
        if use.name.split(".")[0] == "budget_cli" and room_of(use.name) not in MAY_IMPORT[room] | {room}
    ]


def openings(source: str) -> list[Use]:
    return [use for use in calls(source) if use.name.rpartition(".")[2] in OPENERS]


def exits(source: str) -> list[Use]:
    return [use for use in calls(source) if use.name in EXITS]


def writings(source: str) -> list[Use]:
    """Calls that write to a file, or open one for it; streams are written to through `cli/output.py` all the same."""
    writers = {
        "write_text",
        "write_bytes",
        "tofile",
        "savetxt",
        *(use.rpartition(".")[2] for use in WRITES if "os." not in use),
    }
    opens = [
        node.lineno
        for node in nodes(source)
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in {"open", "FileIO"}
        for mode in [*node.args[1:2], *(each.value for each in node.keywords if each.arg == "mode")]
        if isinstance(mode, ast.Constant) and isinstance(mode.value, str) and set(mode.value) & set("wax+")
    ]
    named = [use for use in calls(source) if use.name in WRITES or use.name.rpartition(".")[2] in writers]
    named = [use for use in named if use.name != "formatter.write_text"]  # of a help page
    return [*named, *(Use("open", line) for line in opens)]


def typers(source: str) -> list[Use]:
    return [use for use in imports(source, "budget_cli.x") if use.name.split(".")[0] in {"typer", "click"}]


def everywhere_but(rooms: set[str], find: object) -> dict[str, list[Use]]:
    assert callable(find)
    found = {module: find(path.read_text("utf-8")) for path, module in MODULES.items() if room_of(module) not in rooms}
    return {module: uses for module, uses in found.items() if uses}


def test_every_room_is_listed() -> None:
    rooms = {"__init__" if module == "budget_cli.__init__" else room_of(module) for module in MODULES.values()}
    assert rooms == set(MAY_IMPORT)
    above: set[str] = set()
    for room, known in reversed(MAY_IMPORT.items()):
        assert not known & above, f"{room} imports a room above it"
        above |= {room} - {"__init__", "__main__"}


def test_a_room_imports_only_the_rooms_that_it_may_know() -> None:
    wrong = {module: forbidden(path.read_text("utf-8"), module) for path, module in MODULES.items()}
    assert {module: uses for module, uses in wrong.items() if uses} == {}


def test_a_file_of_a_command_holds_what_differs_about_it() -> None:
    lines = {path.name: len(path.read_text("utf-8").splitlines()) for path in (ROOT / "cli" / "commands").glob("*.py")}
    assert {name: size for name, size in lines.items() if size > 120} == {}


def test_no_module_imports_itself_through_others() -> None:
    graph = {
        module.removesuffix(".__init__"): {
            use.name
            for use in imports(path.read_text("utf-8"), module)
            if use.name.startswith("budget_cli.") and use.name != module.removesuffix(".__init__")
        }
        for path, module in MODULES.items()
    }
    assert len(list(TopologicalSorter(graph).static_order())) >= len(graph)


def test_only_the_command_line_prints_exits_and_knows_typer() -> None:
    assert everywhere_but({"cli", "__main__"}, exits) == everywhere_but({"cli", "__main__"}, typers) == {}


def test_everything_is_written_in_one_place() -> None:
    found = {module: writings(path.read_text("utf-8")) for path, module in MODULES.items()}
    assert {module for module, uses in found.items() if uses} == {"budget_cli.cli.output"}


def test_arithmetic_and_rendering_open_no_files() -> None:
    assert everywhere_but(OPENS_FILES, openings) == {}


def test_the_formula_knows_no_arrays_and_no_files() -> None:
    for path in (ROOT / "objective").glob("*.py"):
        used = {use.name for use in imports(path.read_text("utf-8"), "budget_cli.objective")}
        outside = {name for name in used if not name.startswith("budget_cli.objective.")}
        assert outside <= {"math", "collections.abc", "typing", "difflib"}, path


@pytest.mark.parametrize(
    ("module", "source", "allowed"),
    [
        ("budget_cli.groups.groups", "from budget_cli.records.columns import Tally", False),
        ("budget_cli.records.jsonl", "from budget_cli.groups import moments", False),
        ("budget_cli.analysis.loss", "def f():\n    from budget_cli.scanning.state import Scan", False),
        ("budget_cli.scanning.scan", "if TYPE_CHECKING:\n    from budget_cli.analysis import loss", False),
        ("budget_cli.rendering.loss", "from ..cli import console", False),
        ("budget_cli.analysis.loss", "from budget_cli.version import __version__", False),
        ("budget_cli.cli.app", "from budget_cli.version import __version__", True),
        ("budget_cli.groups.groups", "from .moments import Table\nimport numpy", True),
    ],
)
def test_an_import_is_judged_however_it_is_written(module: str, source: str, allowed: bool) -> None:
    assert (forbidden(source, module) == []) is allowed


@pytest.mark.parametrize(
    ("find", "source"),
    [
        (exits, "print(1)"),
        (exits, "import sys\nsys.exit(1)"),
        (exits, "raise SystemExit"),
        (typers, "def f():\n    import typer.testing"),
        (openings, "with open('x') as file: pass"),
        (openings, "Path('x').read_text()"),
        (writings, "open('x', 'ab')"),
        (writings, "open('x', mode='r+')"),
        (writings, "os.replace('x', 'y')"),
        (writings, "Path('x').write_text('')"),
    ],
)
def test_what_is_forbidden_is_found_where_it_occurs(find: object, source: str) -> None:
    assert callable(find)
    assert len(find(source)) == 1


def test_only_some_folders_of_tests_start_processes() -> None:
    tests = Path(__file__).parent
    starters = {"subprocess", "pty", "selenium", "multiprocessing"}
    found = {
        str(path.relative_to(tests))
        for path in sorted(tests.rglob("*.py"))
        for source in [path.read_text("utf-8")]
        if any(starter in source for starter in starters)  # others need no parsing
        for use in imports(source, "tests.x")
        if use.name in starters and path.relative_to(tests).parts[0] not in START_PROCESSES
    }
    assert found == set()
