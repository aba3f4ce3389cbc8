"""Commands and dumps → Markdown tables of time and memory: budget-cli beside tools that can compute the same loss.

Run by `make bench`, with the Python of an environment that holds budget-cli and the peers. Every command is a whole
process that reads the file and prints the loss; a loss that differs by more than 1e-9 relative ends the benchmark.

    python benchmarks/run.py                            everything
    python benchmarks/run.py --workloads small --runs 3
    python benchmarks/run.py --startup --growth --fold --full
    python benchmarks/run.py --varied --seeds 2 5 8
    python benchmarks/run.py --varied --seeds random
"""

import argparse
import json
import math
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import generate
from measure import HAS_PSS, Command, Usage, in_turn

HERE = Path(__file__).parent
ROOT = HERE.parent
PYTHON = sys.executable
BUDGET_CLI = str(Path(PYTHON).parent / "budget-cli")
SAMPLE = str(ROOT / "sample_data/rollouts.jsonl")
ELSEWHERE = Path(tempfile.gettempdir())  # a folder without settings; here they would be looked for in pyproject.toml
OPTIONS = ["-B", "1024", "--beta", "0.01", "--kl-coef", "0.1", "--format", "json", "--precision", "17"]
PEERS = {"DuckDB": "duckdb", "Polars": "polars", "pandas": "pandas", "orjson script": "orjson"}
PACKAGES = ("budget-cli", "numpy", "duckdb", "polars", "pandas", "orjson")
SLOW_RUNS = {"pandas": 3, "jq": 3}  # at most; they take many times longer than the rest
FOLD_RUNS = 3  # at most; the dumps are large
STARTUP_RUNS = 4  # times as many; a start takes a fraction of a second
RELATIVE = 1e-9
WHAT_IS_COUNTED = """\
Wall and CPU: medians of whole processes, run in turn, file in the page cache; CPU is user and system, workers included.
Peak: process and workers counted together (Pss, sampled every 10 ms in a run of its own that is not timed);
anonymous: the part of it that is not a mapped file; largest process: the highest resident set of any one process, as
wait4 has it, which is never less than that of the runner itself (about 20).
×: wall time divided by that of budget-cli; above 1, budget-cli is faster. Sizes are in MB of 10⁶ bytes."""


def budget_cli(path: Path | str, jobs: int | None = None) -> Command:
    """budget-cli on this dump; no jobs: its own choice."""
    return [BUDGET_CLI, "loss", str(path), *OPTIONS, *([] if jobs is None else ["--jobs", str(jobs)])]


def peers(
    path: Path, names: Sequence[str], tokens: bool = False, places: dict[str, str] | None = None
) -> dict[str, Command]:
    """Those of the peers that are installed, on this dump, whose fields may have other places."""
    options = [*(["--tokens"] if tokens else []), *(["--fields", json.dumps(places)] if places else [])]
    commands: dict[str, Command] = {}
    for name in names:
        if name in PEERS and _version(PEERS[name]):
            script = HERE / "peers" / f"{PEERS[name]}_loss.py"
            commands[name] = [PYTHON, str(script), str(path), *options]
        elif name == "jq" and shutil.which("jq"):
            commands[name] = ["jq", "-n", "-f", str(HERE / "peers" / "jq_loss.jq"), str(path)]
        else:
            print(f"{name} is not installed, so it is left out", file=sys.stderr)
    return commands


def workload(name: str, runs: int) -> None:
    """One of the three dumps, every tool."""
    path = generate.write(name)
    commands = {"budget-cli": budget_cli(path), "budget-cli -j 1": budget_cli(path, jobs=1)}
    commands |= peers(path, [*PEERS, "jq"], tokens=name == "tokens")
    compared(f"{name}: {generate.RECORDS[name]:,} records, {_size(path)}", path, commands, runs)


def varied(runs: int, seeds: Sequence[int]) -> None:
    """A quarter of each dump as other authors would write it: names, order, digits, spaces and nesting by a seed."""
    for seed in seeds:
        shape = generate.Shape.from_seed(seed)
        flags = [word for field, place in shape.places.items() for word in ("--field", f"{field}={place}")]
        for name, records in generate.RECORDS.items():
            path = generate.write(name, records // 4, seed=seed)
            commands = {
                "budget-cli": [*budget_cli(path), *flags],
                "budget-cli -j 1": [*budget_cli(path, jobs=1), *flags],
                **peers(path, ["DuckDB", "Polars", "orjson script"], name == "tokens", shape.places),
            }
            fields = ", ".join(shape.places.values())
            compared(f"{name} by seed {seed}, {_size(path)}: {shape.digits} digits; {fields}", path, commands, runs)


def fold(runs: int, full: bool) -> None:
    """Very many prompts and very few, the tools that stream."""
    many = 5_000_000 if full else 1_000_000
    for records, prompts in ((many * generate.GROUP, many), (10_000_000, 10)):
        path = generate.write("small", records, prompts)
        commands = {"budget-cli": budget_cli(path), "budget-cli -j 1": budget_cli(path, jobs=1)}
        commands |= peers(path, ["DuckDB", "Polars"])
        title = f"fold: {prompts:,} prompts of {records // prompts:,}, {_size(path)}"
        compared(title, path, commands, min(runs, FOLD_RUNS))


def compared(title: str, path: Path, commands: dict[str, Command], runs: int) -> None:
    """Measure these commands on one dump, hold their losses together, and print their table."""
    print(title, file=sys.stderr)
    _warm(path)
    usages = in_turn(commands, {name: min(runs, SLOW_RUNS.get(name, runs)) for name in commands}, ELSEWHERE)
    _require_same_loss(usages)
    base = usages["budget-cli"].wall
    header = ["", "runs", "wall s", "range", "CPU s", "×", "peak MB", "anonymous", "largest process"]
    print_table(
        f"{title}, loss {_loss(usages['budget-cli']):.10g}",
        header,
        [
            [name, str(len(usage.walls)), *_times(usage), f"{usage.wall / base:.2f}", *_memory(usage)]
            for name, usage in usages.items()
        ],
    )


def growth(runs: int) -> None:
    """budget-cli on 1, 2, 4 and 8 times the records: of as many more prompts, and of the same 100."""
    step = 250_000
    sizes = [(step * times, step * times // generate.GROUP) for times in (1, 2, 4, 8)]
    sizes += [(100_000 * times, 100) for times in (1, 2, 4, 8, 10)]
    cases = {(records, prompts, jobs): "" for records, prompts in sizes for jobs in (1, 2)}
    commands: dict[str, Command] = {}
    for records, prompts, jobs in cases:
        path = generate.write("small", records, prompts)
        _warm(path)
        commands[f"{records:,} of {prompts:,}, {jobs} jobs"] = budget_cli(path, jobs)
    print("growth", file=sys.stderr)
    usages = in_turn(commands, dict.fromkeys(commands, runs), ELSEWHERE)
    rows = []
    for (records, prompts, jobs), usage in zip(cases, usages.values(), strict=True):
        rate = records / usage.wall / 1e6
        rows.append([f"{records:,}", f"{prompts:,}", str(jobs), *_times(usage), f"{rate:.2f}", *_memory(usage)])
    for one, two in zip(list(usages.values())[::2], list(usages.values())[1::2], strict=True):
        if one.output != two.output:
            raise SystemExit("jobs 1 and jobs 2 disagree:\n" + one.output + two.output)
    print_table(
        "growth: budget-cli, small records (jobs 1 and 2 gave the same bytes)",
        [
            "records",
            "prompts",
            "jobs",
            "wall s",
            "range",
            "CPU s",
            "million/s",
            "peak MB",
            "anonymous",
            "largest process",
        ],
        rows,
    )


def startup(runs: int) -> None:
    """The whole job on the sample file, against a process that only starts DuckDB."""
    commands = {
        "budget-cli loss sample_data/rollouts.jsonl": budget_cli(SAMPLE),
        "budget-cli --version": [BUDGET_CLI, "--version"],
        "python -c \"import duckdb; duckdb.sql('select 1')\"": [PYTHON, "-c", "import duckdb; duckdb.sql('select 1')"],
        "python -c pass": [PYTHON, "-c", "pass"],
    }
    in_turn(commands, dict.fromkeys(commands, 1), ELSEWHERE)  # page cache and bytecode; not counted
    usages = in_turn(commands, dict.fromkeys(commands, runs * STARTUP_RUNS), ELSEWHERE)
    base = next(iter(usages.values())).wall
    print_table(
        "start-up",
        ["", "runs", "wall s", "range", "CPU s", "×", "peak MB", "anonymous", "largest process"],
        [
            [f"`{name}`", str(len(usage.walls)), *_times(usage, 3), f"{usage.wall / base:.2f}", *_memory(usage)]
            for name, usage in usages.items()
        ],
    )


def machine() -> str:
    """What it ran on, in one line."""
    cpu = platform.processor()
    if os.path.exists("/proc/cpuinfo"):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), cpu)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    versions = [f"{name} {_version(name)}" for name in PACKAGES if _version(name)]
    if shutil.which("jq"):
        versions.append(subprocess.run(["jq", "--version"], capture_output=True, text=True, check=True).stdout.strip())
    return (
        f"{cpu}, {os.cpu_count()} cores, {memory:.0f} GB, load {os.getloadavg()[0]:.2f} at the start; "
        f"{platform.system()} {platform.release()}, Python {platform.python_version()}; {', '.join(versions)}"
    )


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A Markdown table under its title, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    print(f"\n### {title}\n")
    rule = [":" + "-" * (widths[0] - 1), *("-" * (width - 1) + ":" for width in widths[1:])]
    for cells in (header, rule, *rows):
        first, *others = (
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(cells, widths, strict=True))
        )
        print(f"| {' | '.join([first, *others])} |", flush=True)


def _times(usage: Usage, digits: int = 2) -> list[str]:
    span = f"{min(usage.walls):.{digits}f}–{max(usage.walls):.{digits}f}"
    return [f"{usage.wall:.{digits}f}", span, f"{usage.cpu:.{digits}f}"]


def _memory(usage: Usage) -> list[str]:
    return ["–" if size is None else f"{size:,.0f}" for size in (usage.peak, usage.peak_anonymous, usage.largest)]


def _require_same_loss(usages: dict[str, Usage]) -> None:
    losses = {name: _loss(usage) for name, usage in usages.items()}
    expected = losses["budget-cli"]
    if not all(math.isclose(loss, expected, rel_tol=RELATIVE, abs_tol=0) for loss in losses.values()):
        raise SystemExit(f"the losses differ by more than {RELATIVE:g}: {losses}")


def _loss(usage: Usage) -> float:
    answer = json.loads(usage.output)
    return float(answer["loss"] if isinstance(answer, dict) else answer)


def _size(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:,.0f} MB"


def _warm(path: Path) -> None:
    with path.open("rb", buffering=0) as file:
        while file.read(1 << 20):
            pass


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def main() -> None:
    """Run the sections that were asked for, or all of them."""
    parser = argparse.ArgumentParser(description="Time and memory of budget-cli beside other tools.")
    parser.add_argument("--runs", type=int, default=5, help="timed runs of each command (default 5)")
    parser.add_argument("--workloads", nargs="*", choices=generate.RECORDS, metavar="NAME", help="small, text, tokens")
    parser.add_argument("--startup", action="store_true", help="the sample file against an empty DuckDB query")
    parser.add_argument("--varied", action="store_true", help="the workloads with names, order and digits by a seed")
    parser.add_argument(
        "--seeds", nargs="*", type=generate.seed_of, default=[2, 5, 8], metavar="SEED", help="of --varied; or: random"
    )
    parser.add_argument("--growth", action="store_true", help="1, 2, 4 and 8 times the records")
    parser.add_argument("--fold", action="store_true", help="very many prompts, and very few")
    parser.add_argument("--full", action="store_true", help="5 million prompts in --fold, a dump of 5 GB")
    asked = parser.parse_args()
    everything = asked.workloads is None and not (asked.startup or asked.varied or asked.growth or asked.fold)
    print(machine() + "\n\n" + WHAT_IS_COUNTED, flush=True)
    if not HAS_PSS:
        print("This system has no /proc/*/smaps_rollup, so only the largest process is known.")
    chosen = generate.RECORDS if everything or asked.workloads == [] else asked.workloads or []
    if everything or asked.startup:
        startup(asked.runs)
    for name in chosen:
        workload(name, asked.runs)
    if everything or asked.varied:
        varied(asked.runs, asked.seeds)
    if everything or asked.growth:
        growth(asked.runs)
    if everything or asked.fold:
        fold(asked.runs, asked.full)


if __name__ == "__main__":
    main()
