"""Fuzz the compiled parts: `python tests/fuzz/run.py [TARGET …] [--seconds N]`; `--seed N` repeats one seed.

For each target, seeds from a random one on until the time is over, or until one fails, whose number is printed.
"""

import argparse
import random
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent / "support"))  # as pytest has it

from targets import TARGETS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; default: all")
    parser.add_argument("--seconds", type=float, default=20, help="for each target")
    parser.add_argument("--seed", type=int, help="only this one")
    options = parser.parse_args()
    if unknown := set(options.targets) - set(TARGETS):
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    for name in options.targets or TARGETS:
        first = seed = random.randrange(2**40) if options.seed is None else options.seed
        end = time.monotonic() + (options.seconds if options.seed is None else 0)
        while seed == first or time.monotonic() < end:
            try:
                TARGETS[name](random.Random(seed))
            except Exception:
                print(f"{name}: seed {seed} fails", file=sys.stderr)
                raise
            seed += 1
        print(f"{name}: {seed - first} inputs, none fails")


if __name__ == "__main__":
    main()
