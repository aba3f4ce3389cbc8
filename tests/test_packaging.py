"""If this fails, a fresh clone cannot be set up, or its documents do not agree with the package."""

import os
import re
from pathlib import Path

import pytest
from pages import DOCS, PAGES, ROOT, text

import budget_cli


@pytest.mark.parametrize(
    "target",
    ["help", "demo", "test", "test-scale", "check", "sanitize", "fuzz", "bench", "docs", "man", "pages", "clean"],
)
def test_make_has_the_target_and_describes_it(target: str) -> None:
    assert re.search(rf"^{target}:.* ## \S", text("Makefile"), flags=re.MULTILINE)


def test_the_newest_version_of_the_changelog_is_that_of_the_package() -> None:
    versions = re.findall(r"^## \[(\d[^]]*)\]", text("CHANGELOG.md"), flags=re.MULTILINE)
    assert versions[0] == budget_cli.__version__


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_every_file_that_a_page_names_exists(page: str) -> None:
    quoted = re.findall(
        r"`((?:budget_cli|sample_data|tests|benchmarks|\.ci)/[\w./]*|\w+\.(?:md|toml)|\.ci/run)`", text(page)
    )
    in_commands = re.findall(r"sample_data/\w+\.jsonl", text(page))
    assert quoted or in_commands
    assert [name for name in sorted({*quoted, *in_commands}) if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("page", [*PAGES, "CONTRIBUTING.md", "CHANGELOG.md"])
def test_every_link_of_a_page_leads_to_a_file_and_a_heading(page: str) -> None:
    for link in re.findall(r"\]\(([^):]+)\)", re.sub(r"`[^`\n]*`", "", text(page))):
        name, _, anchor = link.partition("#")
        target = (ROOT / page).parent / name if name else ROOT / page
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.*)", target.read_text(encoding="utf-8"), flags=re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in headings}, link


def test_every_page_is_in_the_navigation_of_the_site() -> None:
    pages = [name.removeprefix("docs/") for name in DOCS]
    assert [
        name for name in pages if not re.search(rf"[-:] {re.escape(name)}$", text("mkdocs.yml"), re.MULTILINE)
    ] == []


def test_the_licence_is_complete() -> None:
    licence = text("LICENSE")
    assert "Apache License" in licence
    assert "END OF TERMS AND CONDITIONS" in licence


def test_the_gate_of_ci_can_be_run() -> None:
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.mark.parametrize("path", [*WORKFLOWS, ROOT / "action.yml"], ids=lambda path: path.name)
def test_every_action_is_pinned_to_a_commit_with_its_version(path: Path) -> None:
    used = re.findall(r"^ *(?:- )?uses: (.*)", path.read_text("utf-8"), flags=re.MULTILINE)
    assert used
    assert [each for each in used if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v[\d.]+", each)] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_may_read_and_a_job_has_an_end(path: Path) -> None:
    text = path.read_text("utf-8")
    assert "\npermissions:\n  contents: read\n" in text
    assert text.count("runs-on: ") == text.count("timeout-minutes: ")


def test_no_document_names_a_place_that_was_made_up() -> None:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob(".github/**/*"), ROOT / "pyproject.toml"]
    found = {page.name for page in pages if page.is_file() and re.search(r"\bOWNER\b|example/budget", text(str(page)))}
    assert found == set()
