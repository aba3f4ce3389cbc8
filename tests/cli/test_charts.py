"""If this fails, every page costs seconds of bundling, or a damaged or planted script gets into a page."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from budget_cli.cli import charts

SCRIPT = "globalThis.vegaEmbed = é;\r\n"


class Bundler(SimpleNamespace):
    """A stand-in for vl-convert that counts its calls."""

    __version__ = "1.2.3"
    bundled = 0

    def javascript_bundle(self, exports: str) -> str:
        assert exports == charts.EXPORTS
        self.bundled += 1
        return SCRIPT


@pytest.fixture
def bundler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Bundler:
    bundler = Bundler()
    monkeypatch.setitem(sys.modules, "vl_convert", bundler)  # type: ignore[arg-type]  # a stand-in, not a module
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return bundler


def cached(tmp_path: Path) -> Path:
    return tmp_path / "budget-cli" / "vl-convert-1.2.3.js"


def test_the_script_is_bundled_once_and_then_read_from_the_cache(bundler: Bundler, tmp_path: Path) -> None:
    assert [charts.charts_script() for _ in range(3)] == [SCRIPT] * 3
    assert bundler.bundled == 1
    assert os.listdir(tmp_path / "budget-cli") == [cached(tmp_path).name]


def test_each_version_is_bundled_separately(bundler: Bundler, tmp_path: Path) -> None:
    charts.charts_script()
    bundler.__version__ = "1.2.4"
    charts.charts_script()
    assert bundler.bundled == 2
    assert sorted(os.listdir(tmp_path / "budget-cli")) == ["vl-convert-1.2.3.js", "vl-convert-1.2.4.js"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(path.read_bytes() + b";"),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"\xff"),
        lambda path: path.write_text(SCRIPT),
        lambda path: path.chmod(0o666),
        lambda path: path.unlink(),
    ],
    ids=["cut", "longer", "empty", "not UTF-8", "without a digest", "writable by all", "gone"],
)
def test_a_damaged_or_foreign_script_is_bundled_again(bundler: Bundler, tmp_path: Path, damage: object) -> None:
    charts.charts_script()
    assert callable(damage)
    damage(cached(tmp_path))
    assert [charts.charts_script() for _ in range(2)] == [SCRIPT] * 2
    assert bundler.bundled == 2


def test_a_file_of_another_user_is_bundled_again(bundler: Bundler, monkeypatch: pytest.MonkeyPatch) -> None:
    charts.charts_script()
    me = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: me + 1)
    charts.charts_script()
    assert bundler.bundled == 2


def test_without_a_writable_cache_every_page_bundles_the_script(
    bundler: Bundler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "budget-cli").write_text("a file where the directory would be")
    assert [charts.charts_script() for _ in range(2)] == [SCRIPT] * 2
    assert bundler.bundled == 2
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", "not/absolute")
    assert charts.charts_script() == SCRIPT
    assert bundler.bundled == 3


def test_a_relative_cache_home_is_ignored(bundler: Bundler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", "here")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    charts.charts_script()
    assert os.listdir(tmp_path) == ["home"]
    assert os.listdir(tmp_path / "home" / ".cache" / "budget-cli") == ["vl-convert-1.2.3.js"]
