"""If this fails, packages of one version can be published under the tag of another."""

import os
import subprocess
from pathlib import Path

import pytest
from pages import ROOT

import budget_cli


@pytest.mark.parametrize(
    ("tag", "says"),
    [
        ("v9.9.9", f"the tag is v9.9.9, __version__ is {budget_cli.__version__}\n"),
        (f"v{budget_cli.__version__}", "is not of version"),
    ],
)
def test_packages_of_another_version_than_the_tag_are_not_published(tag: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "budget_cli-9.9.9.tar.gz").touch()
    done = subprocess.run(
        ["bash", ".ci/packages", tmp_path],
        cwd=ROOT,
        env={**os.environ, "GITHUB_REF_TYPE": "tag", "GITHUB_REF_NAME": tag},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert says in done.stdout
