"""64 summaries of drawn prompts → a folder, for the time and memory of folding them (docs/scale.md).

python benchmarks/parts.py benchmarks/data/parts                    5,000,000 prompts, each in one summary
python benchmarks/parts.py benchmarks/data/same --prompts 250000 --same      250,000, each in all of them
budget-cli loss benchmarks/data/parts -B 1024
"""

import argparse
from pathlib import Path

import numpy as np

from budget_cli.groups.groups import Groups
from budget_cli.groups.moments import Layout
from budget_cli.ids import Packed
from budget_cli.records.columns import Tally
from budget_cli.scanning import summary_writing
from budget_cli.scanning.state import Scan, SourceResult
from budget_cli.schema.fields import Fields

PARTS, GROUP, LAYOUT = 64, 8, Layout((1024,))


def write(folder: Path, prompts: int, same: bool) -> None:
    """The summaries of `prompts` each, with the same prompts in all of them or other ones in each."""
    folder.mkdir(parents=True, exist_ok=True)
    chance = np.random.default_rng(7)
    codes = np.repeat(np.arange(prompts), GROUP)
    for part in range(PARTS):
        ids = Packed.from_ids([f"p{number + (0 if same else part * prompts):07d}" for number in range(prompts)])
        reward = chance.integers(0, 2, codes.size).astype(np.float64)
        length = np.round(chance.lognormal(6.5, 0.6, codes.size))
        log_ratio = np.round(chance.normal(0, 0.5, codes.size), 10)
        groups = Groups.from_responses(LAYOUT, ids, codes, reward, length, log_ratio)
        result = SourceResult(f"{part}.jsonl", groups)
        scan = Scan(groups, source_results=[result], tally=Tally(read=codes.size, used=codes.size))
        with (folder / f"{part:02}.jsonl").open("wb") as file:
            file.writelines(summary_writing.write(scan, Fields(), LAYOUT))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write 64 summaries.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--prompts", type=int, default=78_125, help="of each summary (default 78125)")
    parser.add_argument("--same", action="store_true", help="the same prompts in all of them")
    asked = parser.parse_args()
    write(asked.folder, asked.prompts, asked.same)
