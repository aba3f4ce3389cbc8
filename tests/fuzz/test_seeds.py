"""If this fails, a compiled part differs from its oracle: `tests/fuzz/run.py TARGET --seed N` repeats the seed."""

import random
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from budget_cli import native

if not native.AVAILABLE:
    pytest.skip("there was no C compiler", allow_module_level=True)

import blocks
from targets import TARGETS

NATIVE = Path(native.__file__).parent
HASHED = """
#include <stdio.h>
#include "hash.h"
int main(void) { /* the hashes of texts of 24 bytes, under two seeds */
    unsigned char text[24];
    while (fread(text, sizeof text, 1, stdin))
        printf("%llu %llu\\n", (unsigned long long)hash_of(text, sizeof text, (Seed){1234567, 89}),
               (unsigned long long)hash_of(text, sizeof text, (Seed){1234567, 90}));
}
"""
SCANNED = """
#include <stdio.h>
#include "scanner.c"
int main(void) { /* each line of the input */
    static unsigned char line[1 << 16];
    while (fgets((char *)line, sizeof line, stdin)) LLVMFuzzerTestOneInput(line, strcspn((char *)line, "\\n"));
}
"""
WITHOUT_PYTHON = [
    "portable.h",
    "json_scan.h",
    "decimal.h",
    "exact_sum.h",
    "hash.h",
    "arena.h",
    "blake2b.h",
    "column.h",
    "evaluate.h",
]


SEEDS = {"reader": 200, "moments": 300, "ids": 200, "summary": 40, "parquet": 40}  # the others are quicker


@pytest.mark.exhaustive
@pytest.mark.parametrize("target", TARGETS)
def test_a_compiled_part_agrees_with_its_oracle(target: str) -> None:
    for seed in range(SEEDS.get(target, 1000)):
        try:
            TARGETS[target](random.Random(seed))
        except AssertionError as failure:
            failure.add_note(f"seed {seed}")
            raise


@pytest.mark.exhaustive
@pytest.mark.parametrize("kind", blocks.KINDS_OF_DUMPS)
def test_each_line_of_the_corpus_gets_the_reference_reader_s_answer(kind: str) -> None:
    fields = blocks.KINDS_OF_DUMPS[kind].fields
    for line in blocks.corpus():
        blocks.through(line + b"\n", fields)
    blocks.through(b"\n".join(blocks.corpus()), fields)


def test_the_dumps_go_through_every_operation_that_a_plan_can_have() -> None:
    assert {each for kind in blocks.KINDS_OF_DUMPS for each in blocks.operations_of(kind)} == {
        "ID",
        "ID lenient",
        "ID by operations",
        "ID lenient by operations",
        "NUMBER",
        "NUMBER joins",
        "NUMBER lenient",
        "NUMBER by operations",
        "NUMBER lenient by operations",
        "TOKENS",
        "TOKENS joins",
        "TOKENS by operations",
        "LOG_PROB",
        "LOG_PROB joins",
        "LOG_PROB keeps",
        "LOG_PROB joins keeps",
        "LOG_PROB lenient keeps",
        "LOG_PROB keeps by operations",
        "NUMBER_ARRAY lenient",
        "TOKENS_ARRAY lenient",
        "SPAN computed",
        "SPAN judged",
        "SPAN computed and counted",
        "SPAN of operations",
        "TRUTH by operations",
    }
    assert blocks.CORPUS.stat().st_size < 50_000


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
@pytest.mark.parametrize("header", WITHOUT_PYTHON)
def test_a_header_compiles_alone_and_without_python(header: str) -> None:
    command = ["cc", "-x", "c", "-", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", f"-I{NATIVE}"]
    done = subprocess.run(command, input=f'#include "{header}"\n', capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def unseeded_collisions(number: int) -> list[bytes]:
    """Return texts of 24 bytes whose hashes were all the same in version 0.1.0, which had no seed."""
    multiplier, bits = 0x9E3779B97F4A7C15, 2**64 - 1

    def step(state: int, eight: int) -> int:
        state = (state ^ eight) * multiplier & bits
        return state ^ state >> 32

    texts = []
    for first in range(number):
        second = step(24, first) ^ 0x1234567890ABCDEF  # so that every state after it is the same
        texts.append(first.to_bytes(8, "little") + second.to_bytes(8, "little") + b"the same")
    return texts


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_ids_that_collided_have_hashes_that_spread_and_depend_on_the_seed(tmp_path: Path) -> None:
    texts, program = unseeded_collisions(20_000), tmp_path / "hashed"
    subprocess.run(["cc", "-O1", "-x", "c", "-", f"-I{NATIVE}", "-o", program], input=HASHED, text=True, check=True)
    written = subprocess.run([program], input=b"".join(texts), capture_output=True, check=True).stdout
    one, other = ([*map(int, column)] for column in zip(*map(bytes.split, written.splitlines()), strict=True))
    assert len(set(one)) == len(set(other)) == len(texts)
    assert not any(map(int.__eq__, one, other))
    for hashes in (one, other):  # as the tables use them
        places = Counter(each % 2**16 for each in hashes)
        assert len(places) > 17_000  # of 20,000 in 65,536 places; at random 17,236 on average
        assert max(places.values()) < 9


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_a_value_ends_at_the_same_place_in_steps_of_any_width(tmp_path: Path) -> None:
    chance, program = random.Random(7), tmp_path / "scanned"
    bits = [
        b"plain and longer",
        b"a",
        b'"',
        b"\\",
        b'\\"',
        b"\\n",
        b"\\u0041",
        b"\\ud83d\\ude00",
        b"\\ud83d",
        b"\xc3\xa9",
        b"\xff",
        b"\t",
    ]
    rarely = [8, 8, 0.1, 0.1, 1, 1, 1, 1, 0.05, 1, 0.05, 0.05]
    lines = [b'"' + b"".join(chance.choices(bits, rarely, k=chance.randrange(80))) + b'"' for _ in range(20_000)]
    command = ["cc", "-O2", "-x", "c", "-", f"-I{NATIVE}", f"-I{Path(__file__).parent}", "-o", program]
    subprocess.run(command, input=SCANNED, text=True, check=True)
    done = subprocess.run([program], input=b"\n".join(lines), capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
