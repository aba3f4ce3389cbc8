"""If this fails, a locale with a decimal comma changes a number."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from budget_cli import native

pytestmark = pytest.mark.skipif(not native.AVAILABLE, reason="nothing could be compiled here")


IN_A_LOCALE = """
import locale, sys
from budget_cli.native.reader import NUMBER, Reader
locale.setlocale(locale.LC_NUMERIC, sys.argv[1])
assert locale.localeconv()["decimal_point"] == ","
reader = Reader([(b'"', 0, -1, -1, 1, 1), (b'x"', 0, 0, -1, 0, 0)], [(NUMBER, 0, 0)])
for text in sys.argv[2:]:
    line = b'{"x": %b}\\n' % text.encode()
    read = reader.read(line, 0, len(line), len(line))
    assert read.slots[0].values == __import__("array").array("d", [float(text)]).tobytes(), text
"""


@pytest.mark.skipif(shutil.which("localedef") is None, reason="no localedef, with which to make a locale")
def test_numbers_have_a_point_whatever_the_locale(tmp_path: Path) -> None:
    made = subprocess.run(
        ["localedef", "--force", "-i", "de_DE", "-f", "UTF-8", str(tmp_path / "comma")], capture_output=True, text=True
    )
    if not (tmp_path / "comma").exists():
        pytest.skip(f"no locale with a decimal comma could be made: {made.stderr}")
    env = {**os.environ, "LOCPATH": str(tmp_path)}
    hard = ["0.1234567890123456789012", "-1.5e-300", "1.5e300"]  # those that are left to the C library
    subprocess.run([sys.executable, "-c", IN_A_LOCALE, "comma", *hard], env=env, check=True)
