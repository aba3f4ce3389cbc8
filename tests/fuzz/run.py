"""Fuzz the compiled parts: `python tests/fuzz/run.py [TARGET …] [--seconds N]`; `--seed N` repeats one seed.

For each target, seeds from a random one on until the time is over, or until one fails, whose number is printed.
`--lines N` reads blocks with both readers until N lines have gone through each operation of the compiled plan, and
prints how many did.
"""

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

sys.path.append(str(Path(__file__).parent.parent / "support"))  # as pytest has it

import blocks
from targets import TARGETS

LINES_AT_ONCE = 2000
Made = TypeVar("Made")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; default: all")
    parser.add_argument("--seconds", type=float, default=20, help="for each target")
    parser.add_argument("--seed", type=int, help="only this one; with --lines, the first")
    parser.add_argument("--lines", type=int, help="through each operation of the compiled plan")
    options = parser.parse_args()
    if unknown := set(options.targets) - set(TARGETS):
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    first = random.randrange(2**40) if options.seed is None else options.seed
    if options.lines is not None:
        through_each_operation(options.lines, first)
        return
    for name in options.targets or TARGETS:
        inputs, seed, end = 0, first, time.monotonic() + (options.seconds if options.seed is None else 0)
        while seed == first or time.monotonic() < end:
            inputs += attempt(name, seed, TARGETS[name]) or 1
            seed += 1
        print(f"{name}: {inputs:,} inputs, none fails")


def through_each_operation(lines: int, seed: int) -> None:
    """Read blocks with both readers until so many lines went through each operation of the compiled plan."""
    seen = Counter[str]()
    print(f"first seed {seed}", flush=True)
    for name in blocks.KINDS_OF_DUMPS:
        while min(seen[each] for each in blocks.operations_of(name)) < lines:
            seen += attempt(f"--lines, {name}", seed, partial(blocks.many_lines, lines=LINES_AT_ONCE, of=name))
            seed += 1
        print(f"after {name}, up to seed {seed - 1}, each line read as the reference reader does:")
        for operation, count in sorted(seen.items()):
            print(f"  {operation:<28}{count:>12,}", flush=True)


def attempt(name: str, seed: int, target: Callable[[random.Random], Made]) -> Made:
    """Run a target on a seed, whose number is printed if it fails."""
    try:
        return target(random.Random(seed))
    except Exception:
        print(f"{name}: seed {seed} fails", file=sys.stderr)
        raise


if __name__ == "__main__":
    main()
