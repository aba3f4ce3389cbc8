"""If this fails, a word on a screen or a key of the JSON has no explanation, or one that is not true of it."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from command import Run

from budget_cli.analysis import glossary
from budget_cli.analysis.checks.catalogue import CHECKS
from budget_cli.analysis.glossary import PER_PROMPT, TERMS
from budget_cli.analysis.loss import Prompt, number_names

ROOT = Path(__file__).parents[2]
SAMPLE = str(ROOT / "sample_data" / "rollouts.jsonl")
B = ("-B", "1024")
COMMANDS: dict[str, tuple[str, ...]] = {
    "loss": ("loss", SAMPLE, *B, "-f", "json"),
    PER_PROMPT: ("loss", SAMPLE, *B, "--per-prompt", "-f", "json"),
    "check": ("check", SAMPLE, *B, "-f", "json"),
    "sweep": ("sweep", SAMPLE, *B, "-f", "json"),
    "sweep --suggest": ("sweep", SAMPLE, "--suggest", "-f", "json"),
    "compare": ("compare", SAMPLE, SAMPLE, *B, "-f", "json"),
    "annotate": ("annotate", SAMPLE, *B),
    "show": ("show", SAMPLE, *B, "-f", "json"),
}


def keys(value: Any, above: str = "") -> set[str]:
    """Return the paths of everything within a JSON value, `[]` standing for the elements of a list."""
    if isinstance(value, dict):
        inner = [keys(each, f"{above}.{key}" if above else key) for key, each in value.items()]
        return {above}.union(*inner)
    if isinstance(value, list) and value:
        return {above} | keys(value[0], f"{above}[]")
    return {above}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_key_that_a_term_names_is_in_the_json(budget_cli: Run, command: str) -> None:
    done = budget_cli(*COMMANDS[command])
    known = keys(json.loads(done.stdout.splitlines()[0] if command == "annotate" else done.stdout))
    named = {key for term in TERMS.values() for of, key in term.shown if of == command}
    assert named
    assert named - known == set()


def test_every_command_that_a_term_names_is_one_of_these() -> None:
    assert {command for term in TERMS.values() for command, _ in term.shown} == set(COMMANDS)


@pytest.mark.parametrize("name", [*number_names(), *(f"per_prompt[].{name}" for name in Prompt._fields)])
def test_every_number_of_the_json_has_a_term(name: str) -> None:
    """A number of the result that fails here needs a key in `shown` of a term in `analysis/glossary.py`."""
    shown = [key for term in TERMS.values() for _, key in term.shown]
    if name in ("per_prompt[].prompt_id", "per_prompt[].reward_std", "per_prompt[].length_max"):
        return  # as the one beside it
    assert [key for key in shown if f"{name}.".startswith(f"{key}.")] != []


def test_no_name_stands_for_two_terms_and_every_name_that_is_pointed_to_exists() -> None:
    names = [name for term in TERMS.values() for name in (term.name, *term.aliases)]
    counts = Counter(map(glossary._plain, names))
    assert [name for name, count in counts.items() if count > 1] == []
    pointed = {name for term in TERMS.values() for name in term.see}
    assert pointed - {*TERMS, *CHECKS} == set()
    assert [term.name for term in TERMS.values() if term.name in term.see] == []


@pytest.mark.parametrize("term", TERMS.values(), ids=lambda term: term.name)
def test_a_term_is_defined_in_a_sentence_with_a_formula_and_a_meaning(term: glossary.Term) -> None:
    assert term.definition.endswith((".", ".)"))
    assert len(term.definition) <= 220
    assert term.formula
    assert term.meaning.endswith(".")


ASKED = [
    ("phantom", "phantom\n"),
    ("Phantom", "phantom\n"),
    ("made by length", "budget share\n"),
    ("made-by-length", "budget share\n"),
    ("R²", "R²\n"),
    ("r2", "R²\n"),
    ("k1", "k1\n"),
    ("half at beta", "half at β\n"),
    ("advantage.budget_share", "budget share\n"),
    ("per_prompt[].phantom", "phantom\n"),
    ("length_mean", "response length\n"),
    ("over_budget.fraction", "over budget\n"),
    ("pass@k", "pass@k\n"),
    ("truncated", "truncated  check, info\n"),
    ("phantom-advantage", "phantom-advantage  check, warning\n"),
]


@pytest.mark.parametrize(("name", "first"), ASKED)
def test_a_term_is_found_by_its_name_an_alias_a_key_or_the_code_of_a_check(
    budget_cli: Run, name: str, first: str
) -> None:
    for words in ([name], name.split()):
        done = budget_cli("explain", *words)
        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout.decode().startswith(first)


def test_a_name_of_both_explains_both(budget_cli: Run) -> None:
    said = budget_cli("explain", "zero-variance").stdout.decode()
    assert said.startswith("zero variance\n")
    assert "\n\nzero-variance  check, info\n" in said


UNKNOWN = [
    ("phantm", " (did you mean phantom?)"),
    ("non-finit", " (did you mean non-finite?)"),
    ("bugdet share", " (did you mean budget-share?)"),
    ("zzz", ""),
    ("", None),
]


@pytest.mark.parametrize(("name", "hint"), UNKNOWN)
def test_an_unknown_term_names_the_nearest(budget_cli: Run, name: str, hint: str | None) -> None:
    done = budget_cli("explain", name)
    if hint is None:
        assert done.returncode == 0
        return
    said = f"budget-cli: explain: no term and no check is called {name!r}{hint}; budget-cli explain lists all terms\n"
    assert (done.returncode, done.stdout, done.stderr.decode()) == (2, b"", said)


def test_without_a_term_all_terms_and_checks_are_listed(budget_cli: Run) -> None:
    said = budget_cli("explain").stdout.decode()
    assert [name for name in TERMS if f"\n  {name}" not in said] == []
    assert [code for code in CHECKS if code not in said] == []


@pytest.mark.parametrize("columns", ["60", "80", "120"])
@pytest.mark.parametrize("words", [(), ("phantom",), ("zero-variance",), ("overlong", "buffer"), ("recurring-ids",)])
def test_nothing_is_wider_than_the_terminal(budget_cli: Run, words: tuple[str, ...], columns: str) -> None:
    said = budget_cli("explain", *words, COLUMNS=columns).stdout.decode()
    assert max(map(len, said.splitlines())) <= min(int(columns), 80)


def test_the_page_of_terms_is_what_explain_all_prints(budget_cli: Run) -> None:
    page = budget_cli("explain", "all").stdout.decode()
    assert page == (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    assert [name for name in TERMS if f"\n### {name}\n" not in page] == []


def test_a_result_can_go_to_a_file(budget_cli: Run, tmp_path: Path) -> None:
    done = budget_cli("explain", "phantom", "-o", tmp_path / "x.txt")
    assert (done.returncode, done.stdout) == (0, b"")
    assert (tmp_path / "x.txt").read_text(encoding="utf-8").startswith("phantom\n")
