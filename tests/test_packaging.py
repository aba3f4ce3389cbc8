"""If this fails, a fresh clone cannot be set up, or its documents do not agree with the package."""

import os
import re
from pathlib import Path

import pytest

import budget_cli

ROOT = Path(__file__).parent.parent


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "target", ["help", "demo", "test", "test-scale", "check", "sanitize", "fuzz", "bench", "clean"]
)
def test_make_has_the_target_and_describes_it(target: str) -> None:
    assert re.search(rf"^{target}:.* ## \S", text("Makefile"), flags=re.MULTILINE)


def test_the_newest_version_of_the_changelog_is_that_of_the_package() -> None:
    versions = re.findall(r"^## \[(\d[^]]*)\]", text("CHANGELOG.md"), flags=re.MULTILINE)
    assert versions[0] == budget_cli.__version__


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_every_file_that_a_page_names_exists(page: str) -> None:
    linked = re.findall(r"\]\(([^):]+)\)", text(page))
    quoted = re.findall(
        r"`((?:budget_cli|sample_data|tests|benchmarks|\.ci)/[\w./]*|\w+\.(?:md|toml)|\.ci/run)`", text(page)
    )
    in_commands = re.findall(r"sample_data/\w+\.jsonl", text(page))
    assert linked or quoted
    files = {name.partition("#")[0] for name in (*linked, *quoted, *in_commands)} - {""}
    assert [name for name in sorted(files) if not (ROOT / name).exists()] == []
    for name, anchor in (link.split("#") for link in linked if "#" in link):
        headings = re.findall(r"^#+ (.*)", text(name or page), flags=re.MULTILINE)
        assert anchor in {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}, name


def test_the_licence_is_complete() -> None:
    licence = text("LICENSE")
    assert "Apache License" in licence
    assert "END OF TERMS AND CONDITIONS" in licence


def test_the_gate_of_ci_can_be_run() -> None:
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
