"""The data of pages → the numbers that page.js computes and shows, unrounded, by Node.js with an empty document."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from shutil import which
from typing import Any, NamedTuple

import budget_cli.rendering
from budget_cli.analysis.report import PageData
from budget_cli.analysis.sweep import VARYING
from budget_cli.rendering.report import _json, _script_data

NODE = which("node")
PAGE = Path(budget_cli.rendering.__file__).with_name("page.js")
PROMPT = ("responses", "loss", "reward_mean", "advantage_mean_square", "budget_share")  # the first cells of a row

# Numbers are shown with all their digits here; a share is shown as a percentage.
RUN = """
const { toExponential } = Number.prototype;
Number.prototype.toLocaleString = function () { return String(this); };
Number.prototype.toExponential = function (n) { return n === 1 ? toExponential.call(this, 1) : String(this); };
Number.prototype.toFixed = function () { return String(this / 100); };
const page = require("fs").readFileSync(process.argv[1], "utf8");
const [names, ...all] = require("fs").readFileSync(0, "utf8").trim().split("\\n");
const anything = () => new Proxy(function () {}, {
  get: (target, name) => (name in target ? target[name] : anything()),
  set: (target, name, value) => { target[name] = value; return true; },
  apply: () => anything(),
});
for (const data of all) {
  const cells = JSON.parse(names).map((number) => ({ dataset: { number, kind: "number" } }));
  let rows = [];
  const verdict = {};
  const document = {
    getElementById: (id) =>
      id === "data" ? { textContent: data } : id === "verdict" ? verdict : id.startsWith("figure-") ? null : anything(),
    querySelectorAll: (what) => (what === "[data-number]" ? cells : []),
    querySelector: () => ({ replaceChildren: (...found) => { rows = found; } }),
    createElement: () => ({ children: [], dataset: {}, append(...found) { this.children.push(...found); } }),
    documentElement: anything(),
  };
  new Function("document", "addEventListener", "location", page)(document, () => {}, { hash: "" });
  console.log(JSON.stringify({
    numbers: Object.fromEntries(cells.map(({ dataset }) => [dataset.number, dataset.value])),
    verdict: verdict.textContent,
    prompts: rows.map((row) => row.children.map((cell) => cell.textContent)),
  }));
}
"""


class Shown(NamedTuple):
    """What a page shows; None where it shows that there is no number."""

    numbers: dict[str, float | None]
    prompts: dict[str, dict[str, float | None]]  # those with the largest losses, by their ids
    verdict: str  # the sentence


def shown_by(pages: Sequence[PageData]) -> list[Shown]:
    """Return what each of these pages shows when it is opened."""
    return shown_for([_script_data(page, "") for page in pages])


def shown_for(pages: Sequence[dict[str, Any]]) -> list[Shown]:
    """Return what the pages with these data show; `at` has the places of the sliders."""
    assert NODE is not None, "Node.js is needed to run page.js"
    lines = [json.dumps(VARYING), *map(_json, pages)]
    done = subprocess.run([NODE, "-e", RUN, PAGE], input="\n".join(lines).encode(), capture_output=True, check=True)
    return [_shown(json.loads(line)) for line in done.stdout.splitlines()]


def _shown(found: dict[str, Any]) -> Shown:
    numbers = {name: json.loads(value) for name, value in found["numbers"].items()}
    rows = {
        key: {
            name: None if text == "–" else float(text.removesuffix("%"))
            for name, text in zip(PROMPT, cells, strict=False)
        }
        for key, *cells in found["prompts"]
    }
    return Shown(numbers, rows, found["verdict"])
