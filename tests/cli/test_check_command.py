"""If this fails, a CI job trusts an exit code of `check` that does not mean what the README says."""

import json
import re
import shlex
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from command import Done, Run

ROOT = Path(__file__).parents[2]
ROLLOUTS, DAMAGED = ROOT / "sample_data" / "rollouts.jsonl", ROOT / "sample_data" / "damaged.jsonl"
GOOD = b'{"prompt_id": "p", "reward": 1}\n{"prompt_id": "p", "reward": 0}\n'
MANY = b"".join(GOOD.replace(b'"p"', b'"p%d"' % number) for number in range(2000))
BAD = b'{"prompt_id": "p", "reward": NaN}\n'
HOT = b'{"prompt_id": "p", "reward": 1, "log_prob": 2.5, "old_log_prob": -1}\n'


def of_json(done: Done) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def found(done: Done) -> dict[str, str]:
    return {finding["code"]: finding["severity"] for finding in of_json(done)["findings"]}


# ---- exit codes

EXITS = [
    (GOOD, (), 0, []),
    (GOOD + BAD, (), 1, ["1 record of 3 rejected"]),
    (GOOD + BAD, ("--max-errors", "1"), 0, []),
    (GOOD + BAD, ("--max-errors", "40%"), 0, []),
    (GOOD + BAD, ("--ignore", "non-finite"), 1, ["1 record of 3 rejected"]),  # not a finding, but still not used
    (GOOD + BAD, ("--select", "groups"), 1, ["1 record of 3 rejected"]),
    (GOOD + GOOD[:20], (), 1, ["1 record of 3 rejected"]),
    (GOOD + GOOD[:20], ("--allow-truncated-tail",), 0, []),
    (GOOD + HOT, (), 1, ["1 error, with --fail-on error"]),
    (GOOD + HOT, ("--ignore", "positive-log-prob"), 0, []),
    (GOOD + HOT, ("--threshold", "positive-log-prob.nats=3"), 0, []),
    (GOOD + HOT, ("--fail-on", "warning"), 1, ["1 error and 1 warning, with --fail-on warning"]),
    (GOOD + HOT, ("--fail-on", "warning", "--select", "budget"), 0, []),
    (GOOD[:32], ("--fail-on", "warning"), 1, ["1 warning, with --fail-on warning"]),
    (b"", (), 1, ["no records at all"]),
    (b"", ("--allow-empty",), 0, []),
    (BAD, ("--max-errors", "1"), 1, ["no record could be used"]),
]


@pytest.mark.exhaustive
@pytest.mark.parametrize(("data", "options", "code", "reasons"), EXITS)
def test_the_exit_code_is_that_of_the_verdict(
    budget_cli: Run, data: bytes, options: tuple[str, ...], code: int, reasons: list[str]
) -> None:
    done = budget_cli("check", *options, "-f", "json", stdin=data)
    answer = of_json(done)
    assert (done.returncode, answer["status"], answer["reasons"]) == (code, "fail" if code else "pass", reasons)
    assert done.stderr.decode() == "".join(f"budget-cli: fail: {reason}\n" for reason in reasons)


def test_input_that_cannot_be_read_to_its_end_is_exit_3_and_never_a_pass(budget_cli: Run, tmp_path: Path) -> None:
    import gzip

    path = tmp_path / "cut.jsonl.gz"
    path.write_bytes(gzip.compress(MANY)[:-10])
    done = budget_cli("check", path, "-f", "json")
    assert (done.returncode, of_json(done)["status"]) == (3, "fail")
    assert of_json(done)["incomplete"][0].startswith(f"{path}: ")
    junit = ElementTree.fromstring(budget_cli("check", path, "-f", "junit").stdout)
    assert [case.get("name") for case in junit.iter("testcase") if case.find("failure") is not None] == ["read"]
    assert budget_cli("check", path, "-f", "github").stdout.startswith(b"::error title=budget-cli check::")


USAGE = [
    (("--select", "phantom"), "--select: no check is called 'phantom' (did you mean phantom-advantage?)"),
    (("--ignore", "groups,lenths"), "--ignore: no check is called 'lenths' (did you mean lengths?)"),
    (("--threshold", "truncated=1"), "--threshold: none is called 'truncated' (did you mean truncated.share?)"),
    (
        ("--threshold", "truncated.share=x"),
        "--threshold truncated.share=x: expected NAME=NUMBER, as in truncated.share=0.25",
    ),
    (
        ("--threshold", "truncated.share=nan"),
        "--threshold truncated.share=nan: expected NAME=NUMBER, as in truncated.share=0.25",
    ),
    (("--explain", "non-finit"), "--explain: no check is called 'non-finit' (did you mean non-finite?)"),
    (("--tolerance", "ten"), "--tolerance 'ten': expected a share, as in 10%"),
    (("--baseline", "none.json"), "--baseline none.json: cannot be read: No such file or directory"),
    (("--field", "rewrd=x"), None),
    (("--kl-coef", "nan"), None),
    (("--fail-on", "fatal"), None),
]


@pytest.mark.parametrize(("options", "message"), USAGE)
def test_a_usage_error_is_exit_2_before_anything_is_read(
    budget_cli: Run, options: tuple[str, ...], message: str | None, tmp_path: Path
) -> None:
    done = budget_cli("check", tmp_path / "not-there.jsonl", *options, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, b"")
    if message is not None:
        assert done.stderr.decode() == f"budget-cli: {message}\n"


# ---- the same findings however the records are read


@pytest.mark.exhaustive
@pytest.mark.parametrize("options", [(), ("--text", "--field", "response_text=text", "--field", "prompt_text=text")])
def test_any_number_of_jobs_gives_the_same_bytes(
    budget_cli: Run, large_damaged: Path, options: tuple[str, ...]
) -> None:
    alone = budget_cli("check", large_damaged, "-B", "1000", "-f", "json", "-j", "1", *options)
    assert alone.returncode == 1
    assert {"phantom-advantage", "uneven-groups", "log-ratio-outlier"} & set(found(alone))
    for jobs in ("2", "5"):
        done = budget_cli("check", large_damaged, "-B", "1000", "-f", "json", "-j", jobs, *options)
        assert (done.returncode, done.stdout) == (1, alone.stdout)


def test_files_and_their_concatenation_differ_only_in_locations(budget_cli: Run, large: Path) -> None:
    whole = of_json(budget_cli("check", large, "-B", "1000", "-f", "json"))
    piped = of_json(budget_cli("check", "-", "-B", "1000", "-f", "json", stdin=large.read_bytes()))
    assert whole["findings"]
    places = [place for finding in whole["findings"] for place in finding["evidence"]]
    for place in (*places, *(pair["max_at"] for pair in whole["policies"])):
        place["source"] = "<stdin>" if place["source"] else None
    assert piped == whole


def test_evidence_names_the_file_and_the_line_in_it(budget_cli: Run, tmp_path: Path) -> None:
    (tmp_path / "1.jsonl").write_bytes(GOOD)
    (tmp_path / "2.jsonl").write_bytes(b"\n" + GOOD + HOT.replace(b'"p"', b'"q"'))
    done = budget_cli("check", ".", "--fail-on", "warning", "-f", "json", cwd=tmp_path)
    places = {
        f["code"]: [(e["source"], e["line"], e["prompt_id"]) for e in f["evidence"]] for f in of_json(done)["findings"]
    }
    assert places["positive-log-prob"] == [("2.jsonl", 4, "q")]
    assert places["singleton"] == [("2.jsonl", 4, "q")]
    assert places["some-without-log-prob"][:2] == [("1.jsonl", 1, "p"), ("1.jsonl", 2, "p")]
    assert places["some-without-log-prob"][2] == ("2.jsonl", 2, "p")


def test_a_rare_reason_keeps_its_location_after_many_others(budget_cli: Run) -> None:
    done = budget_cli("check", "-f", "json", stdin=GOOD + BAD * 1500 + b"[]\n")
    places = {f["code"]: (f["message"], [e["line"] for e in f["evidence"]]) for f in of_json(done)["findings"]}
    assert places["not-an-object"] == ("1 record of 1,503: expected an object, found a list", [1503])
    assert places["non-finite"][1] == [3, 4, 5, 6, 7]


def test_numbers_near_the_range_of_a_double_cause_no_warnings(budget_cli: Run) -> None:
    far = b'{"prompt_id": "p", "reward": %s, "log_prob": -1e200, "old_log_prob": %s, "response_length": 9}\n'
    done = budget_cli("check", "-B", "4", "-f", "json", stdin=far % (b"1", b"-1e308") + far % (b"1e308", b"1.7e308"))
    assert (done.returncode, done.stderr.decode()) == (1, "budget-cli: fail: 1 error, with --fail-on error\n")
    assert {"positive-log-prob", "implausible-log-prob", "log-ratio-large"} <= set(found(done))


def test_a_preset_is_detected_although_an_optional_field_is_mapped(budget_cli: Run) -> None:
    dump = ROOT / "tests" / "dumps" / "verl-v1.jsonl"
    done = budget_cli("check", dump, "--field", "finish_reason=gts", "--text", "-f", "json")
    assert done.stderr.decode().startswith(f"budget-cli: {dump}: reading as verl-v1: prompt_id←stem(")
    assert "truncated" in of_json(done)["checked"]
    assert "id-over-texts" in of_json(done)["checked"]


# ---- summaries in place of records


@pytest.fixture
def steps(budget_cli: Run, tmp_path: Path) -> Path:
    """The steps of the sample: two as a summary, one as a compressed summary, and one as a dump."""
    for name, files in (("1.jsonl", ("41", "42")), ("2.jsonl.gz", ("43",))):
        paths = [f"sample_data/steps/{file}.jsonl" for file in files]
        assert budget_cli("summarize", *paths, "-B", "512,1024", "-o", tmp_path / name, cwd=ROOT).returncode == 0
    return tmp_path


def test_from_a_summary_a_response_is_located_by_line_and_a_prompt_by_file(budget_cli: Run, steps: Path) -> None:
    done = budget_cli("check", steps / "1.jsonl", steps / "2.jsonl.gz", "-B", "1024", "-f", "json")
    assert (done.returncode, done.stderr) == (0, b"")
    places = {
        f["code"]: [(e["source"], e["line"], e["prompt_id"]) for e in f["evidence"]][:3]
        for f in of_json(done)["findings"]
    }
    files = [f"sample_data/steps/{step}.jsonl" for step in (41, 42, 43)]
    assert places["truncated"] == [
        (files[1], 5, "42/primes-128"),
        (files[1], 6, "42/geometry-203"),
        (files[2], 1, "43/primes-128"),
    ]
    assert places["penalty-outweighs-reward"] == [
        (files[0], None, "41/primes-128"),
        (files[1], None, "42/primes-128"),
        (files[1], None, "42/geometry-203"),
    ]


def test_the_screen_lists_the_checks_skipped_for_a_summary(budget_cli: Run, steps: Path) -> None:
    done = budget_cli("check", "1.jsonl", "2.jsonl.gz", "-B", "1024", cwd=steps)
    lines = done.stdout.decode().splitlines()
    assert max(map(len, lines)) <= 80
    assert "sample_data/steps/42.jsonl:5  info  truncated  42/primes-128" in lines
    assert "sample_data/steps/41.jsonl  warning  penalty-outweighs-reward  41/primes-128" in lines
    assert [line for line in lines if line.startswith("skipped")] == [
        "skipped   19 checks: a summary has no individual records (13); no log-probs of"
    ]
    assert lines[-1] == "pass      read completely: 72 records, none rejected; 2 warnings"


def test_together_with_a_summary_checks_of_individual_records_are_skipped(budget_cli: Run, steps: Path) -> None:
    last = "sample_data/steps/44.jsonl"
    for inputs in ((steps / "1.jsonl",), (steps / "1.jsonl", steps / "2.jsonl.gz", last)):
        answer = of_json(budget_cli("check", *inputs, "-B", "1024", "-f", "json", cwd=ROOT))
        assert answer["unchecked"] == [
            {
                "codes": [
                    "best-response-changes",
                    "one-prompt",
                    "length-in-reward",
                    "length-is-characters",
                    "length-is-turns",
                    "lengths-hold-other-text",
                    "lengths-hold-masked-tokens",
                    "duplicate-keys",
                    "id-over-texts",
                    "text-under-ids",
                    "scattered-answers",
                    "duplicate-records",
                    "identical-responses",
                ],
                "reason": "a summary has no individual records",
            },
            {
                "codes": ["low-effective-sample-size", "mean-weight-off"],
                "reason": "no log-probs of the sampler in these records",
            },
            {
                "codes": ["stored-advantage", "advantage-penalty", "advantage-differs", "advantage-unknown"],
                "reason": "no stored advantages in these records",
            },
        ]
        assert {"phantom-advantage", "truncated", "penalty-in-reward"} <= set(answer["checked"])
    whole = of_json(budget_cli("check", "sample_data/steps", "-B", "1024", "-f", "json", cwd=ROOT))
    assert found_in(answer) == found_in(whole)


def found_in(answer: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(finding["code"], finding["severity"], finding["message"]) for finding in answer["findings"]]


def test_records_rejected_by_summarize_are_findings(budget_cli: Run, tmp_path: Path) -> None:
    part = tmp_path / "part.jsonl"
    assert (
        budget_cli(
            "summarize", "sample_data/damaged.jsonl", "-B", "1024", "--kl-coef", "0", "-o", part, cwd=ROOT
        ).returncode
        == 1
    )
    for options in ((), ("-B", "1024"), ("--max-errors", "23"), ("--allow-truncated-tail",)):
        of_part = budget_cli("check", part, "--select", "records", "-f", "json", *options)
        of_file = budget_cli(
            "check", "sample_data/damaged.jsonl", "--select", "records", "-f", "json", *options, cwd=ROOT
        )
        assert of_part.returncode == of_file.returncode
        # summarize needed lengths, check does not, so only the latter can do without
        hint = b"; --ignore-unneeded reads on without it"
        answers = [json.loads(done.stdout.replace(hint, b"")) for done in (of_part, of_file)]
        assert {**answers[0], "unchecked": []} == {**answers[1], "unchecked": []}


SUMMARIES = [
    (
        ("-B", "9"),
        "1.jsonl: this summary was made for other budgets (512, 1024), not 9: give one of those with -B, or"
        " summarize again with 9",
    ),
    (("--text",), "1.jsonl: a summary has no individual records, which check --text needs"),
    (
        ("--duplicate-keys",),
        "1.jsonl: a summary has no individual records, which check --duplicate-keys needs",
    ),
    (
        ("--threshold", "log-ratio-outlier.nats=3"),
        "1.jsonl: this summary was made with log-ratio-outlier.nats=20, not 3, and the threshold applies while"
        " records are read: give --threshold log-ratio-outlier.nats=20, or check the records",
    ),
    (("--threshold", "truncated.share=0.01"), None),
    (("--threshold", "positive-log-prob.nats=0.001"), None),
]


@pytest.mark.parametrize(("options", "message"), SUMMARIES)
def test_what_a_summary_cannot_answer_is_reported_in_one_line(
    budget_cli: Run, steps: Path, options: tuple[str, ...], message: str | None
) -> None:
    done = budget_cli("check", "1.jsonl", *options, cwd=steps)
    assert done.stderr.decode() == ("" if message is None else f"budget-cli: {message}\n")
    assert done.returncode == (0 if message is None else 2)


def test_a_summary_of_an_earlier_version_must_be_made_again(budget_cli: Run, steps: Path) -> None:
    head, _, rest = (steps / "1.jsonl").read_bytes().partition(b"\n")
    header = json.loads(head)
    old = {key: value for key, value in header.items() if key not in ("seen", "thresholds", "checksum")}
    old["schema"] = "budget-cli/summary/1"
    (steps / "1.jsonl").write_bytes(json.dumps(old, separators=(",", ":")).encode() + b"\n" + rest)
    done = budget_cli("check", "1.jsonl", "2.jsonl.gz", cwd=steps)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.decode() == (
        "budget-cli: 1.jsonl: this summary of an earlier version has no evidence for the checks: summarize again\n"
    )
    assert budget_cli("loss", "1.jsonl", "-B", "512", cwd=steps).returncode == 0
    # a summary made from it has no evidence either
    together = budget_cli("summarize", "1.jsonl", "2.jsonl.gz", "-B", "512", "-o", "all.jsonl", cwd=steps)
    assert together.returncode == 0
    assert together.stderr == done.stderr.replace(b" 1.jsonl", b" check will not accept this summary: 1.jsonl")
    assert budget_cli("check", "all.jsonl", cwd=steps).stderr == done.stderr.replace(b" 1.jsonl", b" all.jsonl")


def test_a_damaged_summary_is_an_error_and_not_a_finding(budget_cli: Run, steps: Path) -> None:
    whole = (steps / "1.jsonl").read_bytes()
    (steps / "1.jsonl").write_bytes(whole.replace(b'"truncated":[2,', b'"truncated":["2",'))
    done = budget_cli("check", "1.jsonl", "2.jsonl.gz", "-f", "json", cwd=steps)
    assert done.returncode == 3
    problem = (
        "1.jsonl: damaged or edited summary: line 1: checksum: that of the lines is another: summarize the files again"
    )
    assert (of_json(done)["incomplete"], of_json(done)["status"]) == ([problem], "fail")
    assert done.stderr.decode() == f"budget-cli: {problem}\n"


def test_an_annotation_from_a_summary_points_to_the_file_that_was_summarized(budget_cli: Run, steps: Path) -> None:
    lines = budget_cli("check", "1.jsonl", "-B", "1024", "-f", "github", cwd=steps).stdout.decode().splitlines()
    assert lines[0].startswith("::warning file=sample_data/steps/42.jsonl,title=phantom-advantage::")
    assert lines[-1].startswith("::notice file=sample_data/steps/42.jsonl,line=5,title=truncated::")


# ---- the baseline

COLD = HOT.replace(b"2.5", b"-2.5")
OLD = COLD * 18 + HOT * 2


def test_findings_of_the_baseline_pass_unless_they_got_worse(budget_cli: Run, tmp_path: Path) -> None:
    base = tmp_path / "old.json"
    assert budget_cli("check", "-f", "json", "-o", base, stdin=OLD).returncode == 1
    same = budget_cli("check", "--baseline", base, "-f", "json", stdin=OLD)
    assert (same.returncode, of_json(same)["reasons"]) == (0, [])
    assert {f["accepted"] for f in of_json(same)["findings"]} == {"no worse than in the baseline"}
    better = budget_cli("check", "--baseline", base, stdin=OLD + COLD)
    assert better.returncode == 0
    worse = budget_cli("check", "--baseline", base, "-f", "json", stdin=OLD + HOT)
    assert (worse.returncode, of_json(worse)["reasons"]) == (1, ["1 error, with --fail-on error"])
    # from 2 of 20 to 3 of 21: the share grew by almost half
    assert budget_cli("check", "--baseline", base, "--tolerance", "42%", stdin=OLD + HOT).returncode == 1
    assert budget_cli("check", "--baseline", base, "--tolerance", "43%", stdin=OLD + HOT).returncode == 0


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("code", "[]"),
        ("code", "1"),
        ("severity", '"grave"'),
        ("severity", "{}"),
        ("count", "-1"),
        ("count", "true"),
        ("count", '"1"'),
        ("count", "1.5"),
        ("count", "NaN"),
        ("count", "9" * 400),
        ("of", "null"),
        ("of", "-3"),
        ("of", "1e400"),
        ("x", "[" * 100_000),
    ],
)
def test_a_baseline_that_was_edited_is_refused(key: str, value: str, budget_cli: Run, tmp_path: Path) -> None:
    finding = {"code": '"singleton"', "severity": '"warning"', "count": "1", "of": "2"} | {key: value}
    members = ", ".join(f'"{name}": {text}' for name, text in finding.items())
    base = tmp_path / "base.json"
    base.write_text(f'{{"schema": "budget-cli/check/1", "findings": [{{{members}}}]}}')
    done = budget_cli("check", "--baseline", base, stdin=OLD)
    assert done.returncode == 2
    assert done.stderr.decode() == (
        f"budget-cli: --baseline {base}: expected the result of `budget-cli check --format json`\n"
    )


def test_a_baseline_covers_rejected_records_too(budget_cli: Run, tmp_path: Path) -> None:
    base = tmp_path / "old.json"
    budget_cli("check", "-f", "json", "-o", base, stdin=GOOD + BAD)
    assert budget_cli("check", "--baseline", base, stdin=GOOD + BAD).returncode == 0
    assert budget_cli("check", "--baseline", base, stdin=GOOD + BAD + BAD).returncode == 1
    other = budget_cli("check", "--baseline", base, "-f", "json", stdin=GOOD + BAD.replace(b"NaN", b"null"))
    assert (other.returncode, of_json(other)["reasons"]) == (1, ["1 record of 3 rejected"])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"schema": "budget-cli/loss/1"}',
        '{"schema": "budget-cli/check/1", "findings": [{"code": "x"}]}',
    ],
)
def test_a_baseline_must_be_the_result_of_an_earlier_check(budget_cli: Run, tmp_path: Path, text: str) -> None:
    (tmp_path / "old.json").write_text(text)
    done = budget_cli("check", "--baseline", "old.json", cwd=tmp_path, stdin=GOOD)
    assert done.returncode == 2
    assert done.stderr.decode() == (
        "budget-cli: --baseline old.json: expected the result of `budget-cli check --format json`\n"
    )


# ---- output formats


def test_the_screen_fits_80_columns_and_lists_skipped_checks(budget_cli: Run) -> None:
    done = budget_cli("check", "sample_data/rollouts.jsonl", cwd=ROOT)
    lines = done.stdout.decode().splitlines()
    assert done.returncode == 0
    assert max(len(line) for line in lines if not line.startswith("show  ")) <= 80  # a command is not broken
    assert any(re.match(r"skipped   \d+ checks: no budget: give -B TOKENS \(\d+\);", line) for line in lines)
    assert lines[-1] == "pass      read completely: 48 records, none rejected"


def test_verbose_explains_findings_of_severity_info(budget_cli: Run) -> None:
    short, long = (
        budget_cli("check", ROLLOUTS, "--select", "zero-variance", *v).stdout.decode() for v in ((), ("-v",))
    )
    assert "    Why:  Their advantages are 0" in long
    assert "Why:" not in short


def test_strings_of_the_data_are_escaped_on_the_screen(budget_cli: Run) -> None:
    data = b'{"prompt_id": "\\u001b[31m\\u202e[/b]", "reward": 1, "log_prob": 3, "old_log_prob": -1}\n' * 2
    for form in ("table", "github", "markdown", "junit"):
        out = budget_cli("check", "-f", form, stdin=data, FORCE_COLOR="").stdout.decode()
        assert "\x1b" not in out
        assert "\u202e" not in out
    assert json.loads(budget_cli("check", "-f", "json", stdin=data).stdout)["findings"][0]["evidence"][0][
        "prompt_id"
    ].startswith("\x1b[31m")


def test_github_gets_annotations_and_a_step_summary(budget_cli: Run, tmp_path: Path) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("# Before\n")
    done = budget_cli("check", "sample_data/damaged.jsonl", "-f", "github", cwd=ROOT, GITHUB_STEP_SUMMARY=str(summary))
    lines = done.stdout.decode().splitlines()
    assert done.returncode == 1
    assert len(lines) == 11
    assert lines[0].startswith("::error file=sample_data/damaged.jsonl,line=2,col=37,title=non-finite::4 records of 28")
    assert lines[-1] == "::notice title=budget-cli::and 8 more"
    assert summary.read_text().startswith("# Before\n**fail**: 22 records of 28 rejected")
    assert summary.read_text().count("\n| error |") == 15


def test_junit_has_a_case_for_every_check(budget_cli: Run) -> None:
    done = budget_cli("check", "sample_data/damaged.jsonl", "-B", "1024", "-f", "junit", cwd=ROOT)
    (suite,) = ElementTree.fromstring(done.stdout)
    cases = {case.get("name"): case for case in suite}
    failed = {name for name, case in cases.items() if case.find("failure") is not None}
    assert suite.get("tests") == str(len(suite))
    assert suite.get("failures") == str(len(failed))
    assert {"non-finite", "truncated-tail", "null"} <= failed
    assert cases["singleton"].find("failure") is None
    skipped = cases["id-over-texts"].find("skipped")
    assert skipped is not None
    assert skipped.get("message") == "texts are read only with --text"


def test_a_result_can_go_to_a_file(budget_cli: Run, tmp_path: Path) -> None:
    done = budget_cli("check", "-o", tmp_path / "x.txt", stdin=GOOD)
    assert (done.returncode, done.stdout) == (0, b"")
    assert (tmp_path / "x.txt").read_text().endswith("pass      read completely: 2 records, none rejected\n")


# ---- explanations


def test_explain_prints_the_section_of_a_check_from_the_page(budget_cli: Run) -> None:
    done = budget_cli("check", "--explain", "phantom-advantage")
    section = done.stdout.decode()
    assert done.returncode == 0
    assert section.startswith("### phantom-advantage\n\nPrompts with equal rewards but unequal penalties")
    assert max(map(len, section.splitlines())) <= 80
    assert section in (ROOT / "docs" / "checks.md").read_text(encoding="utf-8")


def test_the_page_about_checks_is_what_explain_all_prints(budget_cli: Run) -> None:
    done = budget_cli("check", "--explain", "all")
    assert done.stdout.decode() == (ROOT / "docs" / "checks.md").read_text(encoding="utf-8")


# ---- findings on the sample data are the ones that its README names

SAMPLE = {
    "phantom-advantage": ("warning", "geometry-203"),
    "penalty-outweighs-reward": ("warning", "geometry-203"),
    "zero-variance": ("info", "series-311"),
    "truncated": ("info", "primes-128"),
}


def test_the_findings_in_the_sample_are_those_that_a_person_would_name(budget_cli: Run) -> None:
    done = budget_cli("check", ROLLOUTS, "-B", "1024", "-f", "json")
    assert done.returncode == 0
    named = {f["code"]: (f["severity"], f["evidence"][0]["prompt_id"]) for f in of_json(done)["findings"]}
    assert named == SAMPLE


def test_the_findings_in_the_damaged_sample_are_its_rejections_and_three_more(budget_cli: Run) -> None:
    done = budget_cli("check", DAMAGED, "-B", "1024", "-f", "json")
    severities = found(done)
    assert done.returncode == 1
    assert severities.pop("token-count-differs") == "warning"  # a list of log-probs in a dump of numbers
    assert severities.pop("some-without-log-prob") == "warning"  # an empty list of them
    assert severities.pop("uneven-groups") == "warning"
    assert set(severities.values()) == {"error"}
    assert set(severities) == {
        "non-finite",
        "number-as-string",
        "wrong-type",
        "null",
        "missing",
        "wrong-value",
        "inexact-id",
        "unequal-lengths",
        "not-an-object",
        "not-json",
        "truncated-tail",
        "invalid-utf8",
        "lone-surrogate",
        "nul-bytes",
        "too-deep",
    }


def test_the_last_lines_name_the_command_that_shows_the_worst_finding(budget_cli: Run, tmp_path: Path) -> None:
    path = tmp_path / "a b.jsonl"
    path.write_bytes((ROOT / "sample_data" / "rollouts.jsonl").read_bytes().replace(b'"reward"', b'"score"'))
    done = budget_cli("check", path, "-B", "1024", "--beta", "0.002", "--field", "reward=score")
    (command,) = [line[10:] for line in done.stdout.decode().splitlines() if line.startswith("show  ")]
    assert command == (
        f"budget-cli show '{path}' -B 1024 --beta 0.002 --field reward=score --finding phantom-advantage"
    )
    text = budget_cli(*shlex.split(command)[1:]).stdout.decode()
    assert text.startswith("phantom-advantage: 1 prompt has equal rewards but unequal penalties")
    for source in ((), ("-",)):
        piped = budget_cli("check", *source, "-B", "1024", "--field", "reward=score", stdin=path.read_bytes())
        assert "show  " not in piped.stdout.decode()


def test_the_command_that_shows_a_finding_does_without_what_the_dump_does_not_have(budget_cli: Run) -> None:
    path = ROOT / "tests" / "dumps" / "verl-v0.jsonl"
    done = budget_cli("check", path)
    (command,) = [line[10:] for line in done.stdout.decode().splitlines() if line.startswith("show  ")]
    assert command == f"budget-cli show {path} --beta 0 --kl-coef 0 --finding zero-variance"
    assert budget_cli(*shlex.split(command)[1:]).returncode == 0


def test_the_command_that_shows_a_finding_reads_the_same_files_of_a_folder(budget_cli: Run, tmp_path: Path) -> None:
    data = (ROOT / "sample_data" / "rollouts.jsonl").read_bytes()
    for name in ("a.jsonl", "b.jsonl.1"):
        (tmp_path / name).write_bytes(data)
    done = budget_cli("check", ".", "-B", "1024", "--exclude", "*.1", cwd=tmp_path)
    (command,) = [line[10:] for line in done.stdout.decode().splitlines() if line.startswith("show  ")]
    assert command == "budget-cli show . -B 1024 --exclude '*.1' --finding phantom-advantage"


def test_lengths_of_none_and_one_token_alone(budget_cli: Run, tmp_path: Path) -> None:
    dump = [{"prompt_id": "p", "reward": 1.0, "response_length": int(i == 0)} for i in range(40)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(record) + "\n" for record in dump))
    assert budget_cli("check", "a.jsonl", "--kl-coef", "0", cwd=tmp_path).returncode in (0, 1)
