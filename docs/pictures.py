"""The sample data → the pictures of README and site: `python docs/pictures.py`, from a checkout with its dev extras.

The terminal becomes an SVG whose letters are the reader's own monospaced font, so nothing is fetched; the page becomes
WebP, smaller than a PNG, by the headless Chromium that the tests use.
"""

import base64
import io
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from shutil import which

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
COMMAND = [sys.executable, "-m", "budget_cli"]
LOSS = ["loss", "sample_data/rollouts.jsonl", "-B", "1024"]
SIZE = (1180, 1020)  # of the page's window, in CSS pixels


def terminal() -> None:
    """Write the screen of `budget-cli loss`."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BUDGET_CLI_")}
    environment |= {"COLUMNS": "80", "LC_ALL": "C.UTF-8"}
    printed = subprocess.run(
        [*COMMAND, *LOSS, "--color", "always"], cwd=ROOT, env=environment, stdout=subprocess.PIPE, check=True
    )
    console = Console(record=True, width=80, file=io.StringIO())
    console.print(Text.from_ansi("$ budget-cli " + " ".join(LOSS) + "\n" + printed.stdout.decode().rstrip("\n")))
    form = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)  # they name a server
    form = form.replace("Fira Code, monospace", "ui-monospace, Menlo, Consolas, DejaVu Sans Mono, monospace")
    console.save_svg(
        str(IMAGES / "terminal.svg"), title="budget-cli", theme=MONOKAI, code_format=form, unique_id="terminal"
    )


def page() -> None:
    """Write the upper part of the page of `budget-cli report`."""
    from selenium import webdriver
    from selenium.webdriver.support.ui import WebDriverWait

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        report = Path(folder) / "report.html"
        subprocess.run([*COMMAND, "report", *LOSS[1:], "-o", str(report)], cwd=ROOT, check=True)
        options = webdriver.ChromeOptions()
        options.binary_location = which("chromium") or which("chromium-browser") or ""
        for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"):
            options.add_argument(flag)
        options.add_argument(f"--user-data-dir={folder}/profile")
        browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(which("chromedriver")))
        try:
            browser.execute_cdp_cmd(
                "Emulation.setDeviceMetricsOverride",
                {"width": SIZE[0], "height": SIZE[1], "deviceScaleFactor": 1, "mobile": False},
            )
            browser.get(report.as_uri())
            WebDriverWait(browser, 30).until(
                lambda each: each.execute_script("return document.documentElement.dataset.drawn === 'yes'")
            )
            taken = browser.execute_cdp_cmd("Page.captureScreenshot", {"format": "webp", "quality": 88})
            (IMAGES / "page.webp").write_bytes(base64.b64decode(taken["data"]))
        finally:
            browser.quit()


if __name__ == "__main__":
    IMAGES.mkdir(exist_ok=True)
    terminal()
    page()
