"""Grow the corpus: `python tests/fuzz/collect.py [--seconds N] [--seed N]`; needs clang.

Builds the compiled reader with a counter in every branch, and feeds it lines: new ones, and damaged ones of those that
reached a branch, or a branch so many times, that none had reached before. Of all that did, as few and as short lines as
reach everything are written to the corpus, which keeps what it has: the first were read otherwise by one of the two
readers, or by an earlier version.
"""

import argparse
import ctypes
import random
import subprocess
import sys
import sysconfig
import tempfile
import time
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent.parent / "support"))  # as pytest has it

import numpy as np
from blocks import CORPUS, KINDS_OF_DUMPS, LIMIT, corpus, record_text, varied
from texts import mutated

from budget_cli import native
from budget_cli.records.reader_plan import plan_for

LONGEST, ROOM = 400, 50_000  # bytes of a line that is added, and of the corpus
COUNTERS = """
#include <stddef.h>
#include <stdint.h>
static uint8_t *first, *end;
void __sanitizer_cov_8bit_counters_init(uint8_t *start, uint8_t *stop) { first = start; end = stop; }
uint8_t *counters(void) { return first; }
size_t counter_count(void) { return end - first; }
"""


class Counted:
    """The compiled reader, and what each line reaches in it."""

    def __init__(self, folder: Path) -> None:
        built, counters = folder / "reader.so", folder / "counters.c"
        counters.write_text(COUNTERS)
        source = Path(native.__file__).parent / "reader.c"
        options = ["-O1", "-D_GNU_SOURCE", "-fPIC", f"-I{source.parent}", f"-I{sysconfig.get_path('include')}"]
        compile_ = ["clang", *options, "-c", "-o"]
        guided = "-fsanitize-coverage=inline-8bit-counters"
        subprocess.run([*compile_, folder / "reader.o", guided, source], check=True)
        subprocess.run([*compile_, folder / "counters.o", counters], check=True)
        subprocess.run(["clang", "-shared", "-o", built, *folder.glob("*.o"), "-lm"], check=True)
        library = ctypes.CDLL(str(built))
        library.counters.restype, library.counter_count.restype = ctypes.POINTER(ctypes.c_uint8), ctypes.c_size_t
        spec = spec_from_loader("reader", ExtensionFileLoader("reader", str(built)))
        assert spec is not None
        assert spec.loader is not None
        module: Any = module_from_spec(spec)
        spec.loader.exec_module(module)
        self.counts = np.ctypeslib.as_array(library.counters(), (library.counter_count(),))
        plans = [plan_for(kind.fields) for kind in KINDS_OF_DUMPS.values()]
        self.readers = [module.Reader(plan.nodes, plan.slots) for plan in plans if plan is not None]

    def reached(self, line: bytes) -> set[tuple[str, int, int]]:
        """Return the branches taken under each plan, and how often, to a power of two, under any."""
        found = set()
        for number, reader in enumerate(self.readers):
            self.counts[:] = 0
            reader.read(line + b"\n", 0, len(line) + 1, LIMIT)
            for branch in np.flatnonzero(self.counts).tolist():
                times = int(self.counts[branch]).bit_length()
                found |= {("plan", branch, number), ("times", branch, times)}
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    options = parser.parse_args()
    chance, kinds = random.Random(options.seed), list(KINDS_OF_DUMPS.values())
    with tempfile.TemporaryDirectory() as folder:
        counted = Counted(Path(folder))
        kept = {line: counted.reached(line) for line in corpus()}
        known, before, tried = set().union(*kept.values()), len(kept), 0
        pool, end = list(kept), time.monotonic() + options.seconds
        while time.monotonic() < end:
            tried += 1
            line = record_text(chance, chance.choice(kinds)) if chance.random() < 0.2 else chance.choice(pool)
            line = mutated(chance, varied(chance, line or b"{}")).replace(b"\n", b"")
            reached = counted.reached(line) if len(line) <= LONGEST else set()
            if reached - known:
                known |= reached
                kept[line] = reached
                pool.append(line)
    lines = corpus()
    missing = known.difference(*(kept[line] for line in lines))
    while missing and sum(map(len, lines)) < ROOM - LONGEST:  # the line that reaches most of it per byte
        best = max(kept, key=lambda line: len(kept[line] & missing) / (len(line) + 50))
        lines.append(best)
        missing -= kept[best]
    CORPUS.write_bytes(b"".join(line + b"\n" for line in lines))
    print(f"{tried} lines, {len(known)} branches and counts; {before} lines before, {len(lines)} now")


if __name__ == "__main__":
    main()
