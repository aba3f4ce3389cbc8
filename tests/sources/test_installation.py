"""If this fails, a message advises an installation that fails: of a name that no index has, or by another installer."""

import json
import shutil
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from budget_cli.sources.extras import install


class Installed:
    """The metadata of an installation."""

    def __init__(self, origin: dict[str, Any] | None, installer: str | None) -> None:
        self._texts = {"direct_url.json": None if origin is None else json.dumps(origin), "INSTALLER": installer}

    def read_text(self, name: str) -> str | None:
        return self._texts[name]


@pytest.fixture
def active(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the environment of this process be the active one."""
    monkeypatch.setenv("VIRTUAL_ENV", sys.prefix)
    monkeypatch.setattr(shutil, "which", lambda name: f"{Path(sys.executable).parent}/{name}")


FOLDER = {"url": "file:///home/me/my%20tools/budget-cli", "dir_info": {}}
CHECKOUT = {"url": "file:///src/budget-cli", "dir_info": {"editable": True}}
WHEEL = {"url": "file:///tmp/budget_cli-0.1.0-py3-none-any.whl", "archive_info": {}}
COMMIT = {"url": "https://host/x.git", "vcs_info": {"vcs": "git", "commit_id": "0a1b"}}


@pytest.mark.parametrize(
    ("origin", "installer", "says"),
    [
        (None, "pip\n", "pip install 'budget-cli[zstd]'"),
        (None, "uv", "uv pip install 'budget-cli[zstd]'"),
        (None, None, "pip install 'budget-cli[zstd]'"),
        (FOLDER, "pip\n", "pip install '/home/me/my tools/budget-cli[zstd]'"),
        (CHECKOUT, "uv", "uv pip install -e '/src/budget-cli[zstd]'"),
        (WHEEL, "pip\n", "pip install '/tmp/budget_cli-0.1.0-py3-none-any.whl[zstd]'"),
        (COMMIT, "pip\n", "pip install 'budget-cli[zstd] @ git+https://host/x.git@0a1b'"),
        (
            {"url": "https://host/a.whl", "archive_info": {}},
            "pip",
            "pip install 'budget-cli[zstd] @ https://host/a.whl'",
        ),
    ],
)
@pytest.mark.usefixtures("active")
def test_an_extra_comes_from_where_the_program_came_from(
    origin: dict[str, Any] | None, installer: str | None, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metadata, "distribution", lambda name: Installed(origin, installer))
    assert install("zstd") == says


@pytest.mark.parametrize("installer", ["pip", "uv"])  # pipx takes either
def test_in_an_environment_of_pipx_the_command_is_that_of_pipx(
    installer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metadata, "distribution", lambda name: Installed(None, installer))
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    (tmp_path / "pipx_metadata.json").touch()
    assert install("zstd") == "pipx runpip budget-cli install 'budget-cli[zstd]'"
    assert install("gcsfs", is_extra=False) == "pipx runpip budget-cli install gcsfs"


def test_in_an_environment_of_uv_that_is_not_active_its_python_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metadata, "distribution", lambda name: Installed(WHEEL, "uv"))
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(sys, "executable", f"{tmp_path}/bin/python")
    (tmp_path / "uv-receipt.toml").touch()
    wanted = "'/tmp/budget_cli-0.1.0-py3-none-any.whl[report]'"
    assert install("report") == f"uv pip install --python {tmp_path}/bin/python {wanted}"


def test_a_pip_of_another_environment_is_not_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "distribution", lambda name: Installed(None, "pip"))
    monkeypatch.setattr(sys, "executable", "/srv/my tools/bin/python")
    assert install("ray") == "'/srv/my tools/bin/python' -m pip install 'budget-cli[ray]'"


@pytest.mark.usefixtures("active")
def test_what_is_not_installed_at_all_is_taken_from_an_index(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(name: str) -> Any:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", none)
    assert install("remote") == "pip install 'budget-cli[remote]'"
