"""If this fails, the README or a page of the documentation shows something that the program does not do."""

import contextlib
import html
import io
import json
import re
from typing import Any

import pytest
from command import LossJson, Run
from pages import PAGES, ROOT, fenced, text


def table(page: str, header: str) -> list[list[str]]:
    """Return the cells, row by row, of the table with this header."""
    after = text(page).split(f"\n{header}\n", 1)[1]
    rows = after.split("\n\n", 1)[0].splitlines()[1:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def leaves(value: Any, above: str = "") -> set[str]:
    """Return the dotted names of all leaves of a JSON object; a list is represented by its first element."""
    if isinstance(value, list) and value:
        value = value[0]
    if not isinstance(value, dict):
        return {above}
    return set().union(*(leaves(inner, f"{above}.{key}" if above else key) for key, inner in value.items()))


def test_the_readme_has_at_most_150_lines() -> None:
    assert len(text("README.md").splitlines()) <= 150


def test_the_picture_of_the_terminal_is_that_of_the_screen(budget_cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    shown = html.unescape("".join(re.findall(r"<text[^>]*>([^<]*)</text>", text("docs/images/terminal.svg"))))
    printed = budget_cli("loss", "sample_data/rollouts.jsonl", "-B", "1024", COLUMNS="80").stdout.decode()
    assert "".join(printed.split()) in "".join(shown.split()), "make it anew: python docs/pictures.py"


@pytest.mark.parametrize(
    "block", [block for page in PAGES if page != "docs/dumps.md" for block in fenced(page, "python")]
)  # its lines that load a pickle are run by tests/schema/test_presets.py
def test_python_blocks_print_what_their_comments_say(block: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    expected = re.findall(r"^print\(.*\)  # (.*)$", block, flags=re.MULTILINE)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(block, "a page", "exec"), {})
    assert expected
    assert printed.getvalue().splitlines() == expected


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_make_targets_that_a_page_names_exist(page: str) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    named = [line.split()[:2] for block in fenced(page, "sh") for line in block.splitlines()]
    assert named
    assert all(command == "make" and target in targets for command, target in named)


def test_the_table_of_numbers_names_every_number_of_the_json_and_no_other(loss_json: LossJson) -> None:
    whole, damaged = (
        loss_json(ROOT / "sample_data" / name, "-B", "1024", "--fail-if", "loss < 0", exits=exits)
        for name, exits in (("rollouts.jsonl", 0), ("damaged.jsonl", 1))
    )
    in_table = set()
    for thing, names, _ in table("docs/json.md", "| object | names | |"):
        above = f"{thing.strip('`')}." if thing else ""
        in_table |= {above + name for name in re.findall(r"`(\w+)`", names)}
    assert in_table == leaves(whole | {"rejections": damaged["rejections"]})


def test_the_table_of_exit_codes_has_every_code() -> None:
    from budget_cli.errors import Exit

    rows = table("docs/ci.md", "| exit | meaning |")
    assert {int(code) for codes, _ in rows for code in codes.split(",")} == {int(code) for code in Exit}


def test_every_expression_gives_the_value_that_the_page_shows() -> None:
    from budget_cli.records import reference
    from budget_cli.records.columns import ALL_REJECTIONS
    from budget_cli.schema import expressions
    from budget_cli.schema.fields import Fields, parse_mappings

    record = json.loads(
        re.findall(r'^    (\{"step": .*?\})\n\n', text("docs/input.md"), flags=re.DOTALL | re.MULTILINE)[0]
    )
    line = json.dumps({"prompt_id": "p", "reward": 0} | record).encode() + b"\n"
    rows = table("docs/input.md", "| `--field` | is | |")
    for written, value, _ in rows:
        mapping = re.sub(r"^(`+)(.*)\1$", r"\2", written)
        fields = Fields(needs_length=False, needs_log_probs=False).with_places(parse_mappings([mapping]))
        columns = reference.decode(line, fields, 1 << 20, ALL_REJECTIONS).columns
        found = {
            "prompt_id": columns.keys,
            "reward": columns.reward,
            "log_prob": columns.log_prob,
            "response_length": columns.length,
        }[mapping.partition("=")[0]]
        assert (mapping, [f"`{x}`" if isinstance(x, str) else f"`{x:g}`" for x in found]) == (mapping, [value])
    added = {name.removeprefix("_func_") for name in vars(expressions.Functions) if name.startswith("_func_")}
    of_jmespath = expressions.Functions.__base__  # on one of its own there is only a limit
    added -= {name for name in added if hasattr(of_jmespath, f"_func_{name}")}
    assert {name for name in added if any(f"{name}(" in row[0] for row in rows)} == added
