"""If this fails, code scanning refuses the log of `check`, or shows a finding in another place."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from command import Run
from samples import ROOT

from budget_cli import __version__
from budget_cli.rendering.sarif import _message, _uri

DAMAGED = "sample_data/damaged.jsonl"


def run_of(budget_cli: Run, *arguments: str | Path, stdin: bytes | None = None, code: int = 0) -> dict[str, Any]:
    done = budget_cli("check", *arguments, "-f", "sarif", stdin=stdin, cwd=ROOT)
    assert done.returncode == code, done.stderr
    log = json.loads(done.stdout)
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    return dict(run)


def test_every_finding_is_a_result_of_a_rule_at_its_place(budget_cli: Run) -> None:
    run = run_of(budget_cli, DAMAGED, "-B", "1024", code=1)
    found = json.loads(budget_cli("check", DAMAGED, "-B", "1024", "-f", "json", cwd=ROOT).stdout)
    driver = run["tool"]["driver"]
    assert (driver["name"], driver["version"]) == ("budget-cli", __version__)
    rules = [rule["id"] for rule in driver["rules"]]
    assert set(found["checked"]) <= set(rules)
    assert len(set(rules)) == len(rules)
    assert [result["ruleId"] for result in run["results"]] == [one["code"] for one in found["findings"]]
    for result, one in zip(run["results"], found["findings"], strict=True):
        assert rules[result["ruleIndex"]] == result["ruleId"]
        assert result["level"] == {"error": "error", "warning": "warning", "info": "note"}[one["severity"]]
        assert result["message"]["text"] == f"{one['message']}. {one['remedy']}"
        assert result["occurrenceCount"] == max(1, one["count"])
        places = [*result["locations"], *result.get("relatedLocations", [])]
        assert len(places) == max(1, len(one["evidence"]))
        for place, evidence in zip(places, one["evidence"], strict=False):
            at = place["physicalLocation"]
            assert at["artifactLocation"] == {"uri": DAMAGED}
            assert at["region"]["startLine"] == evidence["line"]
            assert at["region"].get("startColumn") == evidence["column"]
    assert run["properties"]["status"] == "fail"
    assert run["invocations"] == [
        {
            "executionSuccessful": True,
            "toolExecutionNotifications": [{"level": "error", "message": {"text": "22 records of 28 rejected"}}],
        }
    ]


def test_a_rule_says_why_and_what_to_do(budget_cli: Run) -> None:
    (rule,) = [
        rule
        for rule in run_of(budget_cli, "sample_data/rollouts.jsonl", "-B", "1024")["tool"]["driver"]["rules"]
        if rule["id"] == "singleton"
    ]
    assert set(rule) == {"id", "shortDescription", "fullDescription", "help", "defaultConfiguration", "properties"}
    assert rule["properties"]["tags"] == ["groups", "dump"]
    assert all(rule[name]["text"].strip() for name in ("shortDescription", "fullDescription", "help"))


def test_a_file_that_could_not_be_read_is_no_success(budget_cli: Run, tmp_path: Path) -> None:
    cut = tmp_path / "a b.jsonl.gz"
    import gzip

    cut.write_bytes(gzip.compress((ROOT / "sample_data" / "rollouts.jsonl").read_bytes())[:-40])
    run = run_of(budget_cli, cut, "-B", "1024", code=3)
    (invocation,) = run["invocations"]
    assert not invocation["executionSuccessful"]
    assert "a b.jsonl.gz" in invocation["toolExecutionNotifications"][0]["message"]["text"]


def test_standard_input_is_no_file(budget_cli: Run) -> None:
    run = run_of(budget_cli, "-", "-B", "1024", stdin=(ROOT / DAMAGED).read_bytes(), code=1)
    places = [place for result in run["results"] for place in result["locations"]]
    assert all(set(place) <= {"message"} for place in places)
    assert all(place for place in places)


def test_what_was_there_before_is_suppressed(budget_cli: Run, tmp_path: Path) -> None:
    old = tmp_path / "old.json"
    budget_cli("check", DAMAGED, "-B", "1024", "-f", "json", "-o", old, cwd=ROOT)
    results = run_of(budget_cli, DAMAGED, "-B", "1024", "--baseline", old, "--max-errors", "22")["results"]
    assert {json.dumps(result.get("suppressions")) for result in results} == {
        '[{"kind": "external", "justification": "no worse than in the baseline"}]'
    }


@pytest.mark.parametrize(
    ("source", "uri"),
    [
        ("rollouts/a.jsonl", "rollouts/a.jsonl"),
        ("my dumps/40%.jsonl", "my%20dumps/40%25.jsonl"),
        ("/data/a.jsonl", "file:///data/a.jsonl"),
        ("s3://bucket/a b.jsonl", "s3://bucket/a%20b.jsonl"),
        ("\udce9.jsonl", "%E9.jsonl"),
    ],
)
def test_a_path_is_a_uri(source: str, uri: str) -> None:
    assert _uri(source) == uri
    assert re.fullmatch(r"[!-~]+", uri)


def test_nothing_of_the_data_becomes_a_link() -> None:
    assert _message("prompt [x](https://host)") == {"text": "prompt \\[x\\](https://host)"}
    assert _message("--records '[]'") == {"text": "--records '[]'"}
