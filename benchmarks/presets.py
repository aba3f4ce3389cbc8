"""The fixture of each preset, many times over → CPU time and MB/s of reading it, beside another version if asked for.

The records of `tests/dumps/` are repeated with other prompts and other log-probs each time, to a few MB in
`benchmarks/data/presets/`. Every command is a whole process with one job; the time that the fixture itself takes, which
is that of the start, is taken off. A loss that is not the fixture's ends the benchmark.

    python benchmarks/presets.py
    python benchmarks/presets.py --presets verl-v1 nemo-rl --megabytes 16 --runs 9
    python benchmarks/presets.py --against ../before/.venv/bin/budget-cli
    python benchmarks/presets.py --beside

With `--beside`, two tools read the same file with no field in mind: orjson parses each line, which is the least that a
script with it takes, and DuckDB reads every column that it finds. Where a cell is empty, the tool cannot read the file.
"""

import argparse
import json
import math
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from measure import Command, in_turn
from run import BUDGET_CLI, ELSEWHERE, HERE, PYTHON, ROOT, machine, print_table

FIXTURES = ROOT / "tests" / "dumps"
DATA = HERE / "data" / "presets"
PRESETS = tomllib.loads((ROOT / "budget_cli" / "schema" / "presets.toml").read_text(encoding="utf-8"))
FREE = ["--beta", "0", "--kl-coef", "0", "--jobs", "1", "--format", "json", "--precision", "17", "--quiet"]
MORE = {  # what a preset cannot know
    "trl": ["--reward-weights", "accuracy_reward=1,format_reward=0.5"],
    "ms-swift": ["--reward-weights", "Accuracy=1,Format=0.5"],
    "ms-swift-megatron": ["--reward-weights", "Accuracy=1,Format=0.5"],
    "nemo-rl-without-tokens": ["--group-size", "2"],
}
NO_IDS = re.compile("mask|labels|mode")  # beside or below what makes an id, and no part of it


def fixture(name: str) -> Path:
    """The dump of a preset, or the first of several."""
    return next(path for path in sorted(FIXTURES.iterdir()) if path.name.partition(".")[0] == name)


def values(path: Path) -> list[Any]:
    """The lines, documents or rows of a dump."""
    if path.suffix == ".parquet":
        from pyarrow.parquet import read_table  # of an extra

        rows: list[Any] = read_table(path).to_pylist()
        return rows
    text = path.read_text(encoding="utf-8")
    return [json.loads(text)] if path.suffix == ".json" else [json.loads(line) for line in text.splitlines()]


def renewed(value: Any, ids: set[str], turn: int, in_id: bool = False) -> Any:
    """The same value with the ids of another prompt and slightly other floats."""
    if isinstance(value, dict):
        return {
            key: renewed(inner, ids, turn, (in_id or key in ids) and not NO_IDS.search(key))
            for key, inner in value.items()
        }
    if isinstance(value, list):
        return [renewed(inner, ids, turn, in_id) for inner in value]
    if isinstance(value, str) and value.startswith("{"):  # JSON as text
        return json.dumps(renewed(json.loads(value), ids, turn))
    if isinstance(value, str) and in_id:
        return f"r{turn}{value}"
    if isinstance(value, float):
        return value if value == int(value) else value * (1 + turn * 1e-9)
    return value + turn * 100_000 if in_id and isinstance(value, int) and not isinstance(value, bool) else value


def repeated(name: str, megabytes: float) -> Iterator[Any]:
    """The values of a preset's fixture, over and over, until they make so many MB."""
    found, turn, size = values(fixture(name)), 0, 0
    places = [PRESETS[name].get(field, "") for field in ("prompt_id", "rollout_id", "step")]
    ids = {word for place in places for word in re.findall(r"[A-Za-z_]\w*", place)}
    while size < megabytes * 1e6:
        turn += 1
        for value in found:
            one = renewed(value, ids, turn)
            size += len(json.dumps(one))
            yield one


def write(name: str, megabytes: float) -> Path:
    """Write the repeated fixture of a preset; documents are a line each."""
    suffix = fixture(name).suffix
    path = DATA / f"{name}-{megabytes:g}{'.parquet' if suffix == '.parquet' else '.jsonl'}"
    if path.exists():
        return path
    DATA.mkdir(parents=True, exist_ok=True)
    if suffix == ".parquet":
        import pyarrow
        from pyarrow.parquet import read_schema, write_table

        rows = list(repeated(name, megabytes))
        write_table(
            pyarrow.Table.from_pylist(rows, read_schema(fixture(name))), path, compression="none", use_dictionary=False
        )
    else:
        text = "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in repeated(name, megabytes))
        path.write_text(text, encoding="utf-8")
    return path


def command(program: str, name: str, path: Path) -> Command:
    """The command that reads a dump of this preset."""
    return [program, "loss", str(path), "--preset", name, *FREE, *MORE.get(name, [])]


def readers(path: Path) -> dict[str, Command]:
    """The commands of other tools that read a dump whole; only those that can."""
    tools = ["duckdb"] if path.suffix == ".parquet" else ["orjson", "duckdb"]
    commands = {tool: [PYTHON, str(HERE / "peers" / f"{tool}_reads.py"), str(path)] for tool in tools}
    runs = {tool: subprocess.run(one, capture_output=True, check=False) for tool, one in commands.items()}
    return {tool: commands[tool] for tool, done in runs.items() if done.returncode == 0}


def answer(command: Command) -> dict[str, Any] | None:
    """What the command answers; None if it refuses."""
    done = subprocess.run(command, cwd=ELSEWHERE, capture_output=True, check=False)
    found: dict[str, Any] | None = json.loads(done.stdout) if done.returncode == 0 else None
    return found


def require_same(name: str, small: dict[str, Any] | None, large: dict[str, Any] | None) -> None:
    """End the benchmark unless the repeated dump is the fixture many times over."""
    if small is None or large is None:
        raise SystemExit(f"{name}: cannot be read")
    times = large["responses"] / small["responses"]
    same = math.isclose(large["loss"], small["loss"], rel_tol=1e-3) and large["prompts"] == times * small["prompts"]
    if not same:
        raise SystemExit(f"{name}: {times:g} times the fixture, but a loss of {large['loss']}, not {small['loss']}")


def main() -> None:
    """Measure the presets that were asked for, or all of them."""
    parser = argparse.ArgumentParser(description="MB/s of each preset, one process.")
    parser.add_argument("--runs", type=int, default=5, help="timed runs of each command (default 5)")
    parser.add_argument("--megabytes", type=float, default=8, help="size of each dump (default 8)")
    parser.add_argument("--against", metavar="BUDGET_CLI", help="the command of another version")
    parser.add_argument("--beside", action="store_true", help="orjson and DuckDB, reading the same file, too")
    parser.add_argument("--presets", nargs="*", choices=PRESETS, metavar="NAME", help="default: all")
    asked = parser.parse_args()
    print(machine(), flush=True)
    programs = {"now": BUDGET_CLI} | ({"before": asked.against} if asked.against else {})
    columns = [*programs, *(["orjson", "duckdb"] if asked.beside else [])]
    rows = []
    for name in asked.presets or PRESETS:
        print(name, file=sys.stderr)
        small, large = fixture(name), write(name, asked.megabytes)
        require_same(name, answer(command(BUDGET_CLI, name, small)), answer(command(BUDGET_CLI, name, large)))
        commands = {
            f"{when} {size}": command(program, name, path)
            for when, program in programs.items()
            if answer(command(program, name, large)) is not None
            for size, path in (("start", small), ("all", large))
        }
        for size, path in (("start", small), ("all", large)) if asked.beside else ():
            commands |= {f"{tool} {size}": one for tool, one in readers(path).items()}
        usages = in_turn(commands, dict.fromkeys(commands, asked.runs), ELSEWHERE)
        megabytes = large.stat().st_size / 1e6
        cells, seconds = [name, f"{megabytes:.1f}"], []
        for when in columns:
            known = f"{when} all" in usages
            taken = (
                usages[f"{when} all"].cpu - usages[f"{when} start"].cpu
                if known and f"{when} start" in usages
                else math.nan
            )
            seconds.append(taken)
            cells += [f"{taken:.3f}", f"{megabytes / taken:.0f}"] if taken > 0 else ["–", "–"]
        ratio = f"{seconds[1] / seconds[0]:.2f}" if asked.against and min(seconds[:2]) > 0 else "–"
        rows.append([*cells, *([ratio] if asked.against else [])])
    header = ["preset", "MB", *(word for when in columns for word in (f"CPU s, {when}", f"MB/s, {when}"))]
    print_table("presets: CPU time beyond the start", [*header, *(["before / now"] if asked.against else [])], rows)


if __name__ == "__main__":
    main()
