"""If this fails, the screen of a sweep wraps, shades the wrong cell, or lets a prompt id speak to the terminal."""

import random
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from typer.testing import Result

Make = Callable[..., dict[str, Any]]
Sweep = Callable[..., Result]

ANSI = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture
def sweep(show: Callable[..., Result]) -> Sweep:
    """`budget-cli sweep ARGUMENTS… FILE` on a file of these records."""
    return partial(show, command="sweep")


def dump(response: Make, count: int = 200, id_length: int = 12) -> list[dict[str, Any]]:
    chance = random.Random(count)
    return [
        response(
            prompt_id=f"{number % 9:0{id_length}d}",
            response_length=chance.randrange(40_000),
            reward=0.0 if number % 9 < 2 else chance.choice([-1, 0, 0.5, 1]),
            log_prob=-50,
            old_log_prob=-50 + chance.gauss(0, 5),
        )
        for number in range(count)
    ]


BETAS = ("--beta", "0,1e-7:0.1:log9")
GRIDS = [
    ("-B", "16384"),
    ("-B", "100:40000:50"),
    ("-B", "16384", *BETAS),
    ("-B", "100:40000:4", *BETAS),
    ("-B", "100:40000:20", *BETAS, "--alpha", "0:100:7"),
    ("-B", "100:40000:60", "--beta", "1e-9:1e9:log99"),
    ("-B", "16384", *BETAS, "--alpha", "0:1:3"),
    ("-B", "100:40000:5", "--alpha", "0:1e9:3"),
    ("-B", "100,40000", "--beta", "0:1:200", "--alpha", "0"),
    ("-B", "100:40000:99", "--beta", "0:1:99"),
    ("-B", "100", "--beta", "0,1", "--alpha", "0:1:200"),
    ("--suggest",),
]


@pytest.mark.exhaustive
@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("id_length", [1, 60])
@pytest.mark.parametrize("columns", [None, "60"])
def test_no_line_is_wider_than_80_characters(
    sweep: Sweep, response: Make, grid: tuple[str, ...], id_length: int, columns: str | None
) -> None:
    done = sweep(dump(response, id_length=id_length), *grid, COLUMNS=columns)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert not [line for line in lines if line != line.rstrip() or "\x1b" in line]
    assert " ".join("".join(lines[-2:]).split()).partition("pass")[2].startswith(" read completely: 200 records, none")


def test_the_deepest_shade_stands_where_the_loss_is_highest(sweep: Sweep, response: Make) -> None:
    out = sweep(dump(response), "-B", "1000,20000,50000", *BETAS).stdout
    (block,) = re.findall(r"  loss   α 0.1, B across, β down\n(.*?)\n\n", out, flags=re.DOTALL)
    header, *rows = block.splitlines()
    assert header.split() == ["1,000", "20,000", "50,000"]
    assert [row.split()[0] for row in rows][:2] == ["0", "1e-07"]
    assert rows[-1].split()[0] == "0.1"
    shades = [re.findall("[░▒▓█]", row) for row in rows]
    assert shades[0] == []  # the lowest loss is without any
    assert shades[-1][0] == "█"
    assert rows[-1].split()[1] > rows[0].split()[1]
    assert rows[-1].split()[-1] == rows[0].split()[-1]  # beyond the longest response the penalty does nothing


def test_where_the_numbers_do_not_fit_the_shades_stay(sweep: Sweep, response: Make) -> None:
    out = sweep(dump(response), "-B", "100:40000:20", *BETAS).stdout
    assert "\n            100 to 40,000\n" in out
    assert re.search(r"\n  0\.1 +█{2,}[▓▒░]", out)
    assert re.search(r"░ low, █ high: 0\.\d+ to [\d,.e+]+; --format csv has the numbers\n", out)


def test_plain_characters_where_the_terminal_has_no_others(sweep: Sweep, response: Make) -> None:
    done = sweep(dump(response), "-B", "100:40000:5", *BETAS, charset="ascii")
    assert done.exit_code == 0, done.output
    assert done.stdout.isascii()
    assert "\\u" not in done.stdout
    assert "#" in done.stdout


def test_colour_changes_no_character(sweep: Sweep, response: Make) -> None:
    plain = sweep(dump(response), "-B", "100:40000:5", *BETAS).stdout
    coloured = sweep(dump(response), "-B", "100:40000:5", *BETAS, FORCE_COLOR="1").stdout
    assert "\x1b[1;38;5;131m" in coloured
    assert [line.rstrip() for line in ANSI.sub("", coloured).splitlines()] == plain.splitlines()


def test_hostile_ids_are_escaped(sweep: Sweep, response: Make) -> None:
    hostile = "\x1b[31m[/INST]"
    phantom = [response(prompt_id=hostile, response_length=length) for length in (1, 500)]
    reordered = [response(prompt_id="\x9b2J" + hostile, response_length=n, reward=r) for n, r in ((600, 1), (10, 0))]
    out = sweep([*phantom, *reordered], "-B", "100,1000", "--beta", "0.01,1", FORCE_COLOR="1").stdout
    assert "\\x1b[31m[/INST]" in out
    assert "\\x9b2J" in out
    assert "\x1b[31m[" not in out


def test_one_cell_is_a_row(sweep: Sweep, response: Make) -> None:
    two = [response(reward=r, response_length=n, log_prob=0, old_log_prob=0) for r, n in ((1, 300), (0, 100))]
    assert sweep(two, "-B", "200", "--beta", "0.02", "--alpha", "0").stdout == (
        "loss in 1 cell: 1 budget × 1 β × 1 α     2 responses, 1 prompt\n"
        "kimi-k2: linear penalty max(0, L − B), advantage x − mean x\n"
        "β 0.02   α 0\n"
        "\n"
        "  B                 loss     mean A²  by length  phantom  reordered\n"
        "  200             0.2500      0.2500        80%        0          1\n"
        "\n"
        "  B            over  phantom   half at beta  reorders at  turn phantom\n"
        "  200         50.0%        0   0.01          0.01\n"
        "\n"
        "warning   most of the advantage comes from length in 1 of 1 cell\n"
        "warning   some prompt's worst response beats its best in 1 of 1 cell\n"
        "          first p, above β 0.01 at B 200\n"
        "pass      read completely: 2 records, none rejected; 2 warnings\n"
    )
