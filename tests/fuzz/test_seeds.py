"""If this fails, a compiled part differs from its oracle: `tests/fuzz/run.py TARGET --seed N` repeats the seed."""

import random
import shutil
import subprocess
from pathlib import Path

import pytest

from budget_cli import native

if not native.AVAILABLE:
    pytest.skip("there was no C compiler", allow_module_level=True)

from targets import TARGETS

NATIVE = Path(native.__file__).parent
WITHOUT_PYTHON = ["portable.h", "json_scan.h", "decimal.h", "exact_sum.h", "hash.h"]


SEEDS = {"reader": 200, "moments": 300, "ids": 200}  # the others are quicker


@pytest.mark.parametrize("target", TARGETS)
def test_a_compiled_part_agrees_with_its_oracle(target: str) -> None:
    for seed in range(SEEDS.get(target, 1000)):
        try:
            TARGETS[target](random.Random(seed))
        except AssertionError as failure:
            failure.add_note(f"seed {seed}")
            raise


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
@pytest.mark.parametrize("header", WITHOUT_PYTHON)
def test_a_header_compiles_alone_and_without_python(header: str) -> None:
    command = ["cc", "-x", "c", "-", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", f"-I{NATIVE}"]
    done = subprocess.run(command, input=f'#include "{header}"\n', capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
