"""If this fails, the page or the notebook about Python shows what Python does not."""

import doctest
import runpy
from pathlib import Path

import pytest
from pages import ROOT, fenced


def test_every_example_gives_what_the_page_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    examples = "\n".join(fenced("docs/python.md", "pycon"))
    test = doctest.DocTestParser().get_doctest(examples, {}, "docs/python.md", "docs/python.md", 0)
    shown: list[str] = []
    result = doctest.DocTestRunner().run(test, out=shown.append)
    assert result.attempted > 10
    assert not shown, "".join(shown)


def test_the_notebook_shows_what_its_cells_give(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    tool = runpy.run_path(str(ROOT / "docs" / "notebook.py"))
    notebook = Path(ROOT / "docs" / "notebook.ipynb").read_text(encoding="utf-8")
    assert tool["written"](tool["run"](tool["read"]())) == notebook, "after a change: python docs/notebook.py"
