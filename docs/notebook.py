"""notebook.ipynb → the same cells with what they show now.

`python docs/notebook.py` runs every cell, in the folder above, and writes the outputs into the notebook. A test holds
the notebook to what this writes.
"""

import ast
import json
import os
from pathlib import Path
from typing import Any

NOTEBOOK = Path(__file__).resolve().with_name("notebook.ipynb")


def run(notebook: dict[str, Any]) -> dict[str, Any]:
    """Return the notebook with the outputs of its cells, which are run in this process and share their names."""
    names: dict[str, Any] = {}
    cells = []
    count = 0
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            count += 1
            cell = {**cell, "execution_count": count, "outputs": _outputs("".join(cell["source"]), names, count)}
        cells.append(cell)
    return {**notebook, "cells": cells}


def _outputs(code: str, names: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """Run a cell, and return what Jupyter would keep of the value of its last expression."""
    *body, last = ast.parse(code).body
    if not isinstance(last, ast.Expr):
        exec(compile(ast.Module([*body, last], []), "cell", "exec"), names)
        return []
    exec(compile(ast.Module(body, []), "cell", "exec"), names)
    value = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
    if value is None:
        return []
    data = {"text/plain": _lines(repr(value))}
    if hasattr(value, "_repr_html_"):
        data = {"text/html": _lines(value._repr_html_()), **data}
    return [{"data": data, "execution_count": count, "metadata": {}, "output_type": "execute_result"}]


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def written(notebook: dict[str, Any]) -> str:
    """Return the notebook as its file has it."""
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def read() -> dict[str, Any]:
    """Return the notebook."""
    notebook: dict[str, Any] = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    return notebook


if __name__ == "__main__":
    os.chdir(NOTEBOOK.parent.parent)
    NOTEBOOK.write_text(written(run(read())), encoding="utf-8")
