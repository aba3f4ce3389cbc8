"""If this fails, summaries made on many machines differ from one scan of the same files."""

import os
import random
import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import scans
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from budget_cli import native
from budget_cli.errors import InputProblem, UsageProblem
from budget_cli.evidence.responses import ObservationSpec
from budget_cli.groups.moments import RIGHT, Layout
from budget_cli.records.columns import RejectionLimit
from budget_cli.records.jsonl import Limits
from budget_cli.scanning import summary, summary_writing
from budget_cli.scanning.plan import Plan, scan_plan
from budget_cli.scanning.scan import scan
from budget_cli.scanning.state import Scan
from budget_cli.schema.fields import Fields, parse_mappings
from budget_cli.sources import local as sources
from budget_cli.sources.local import Kind

LAYOUT = Layout((100, 500))


SPEC = ObservationSpec(LAYOUT.budgets, positive=0.001, outlier=20.0, per_prompt=False)


def plan(fields: Fields = Fields(), layout: Layout = LAYOUT, apart: bool = False) -> Plan:  # noqa: B008  frozen
    limits = Limits(keep=RejectionLimit(3, 2))
    return scan_plan(fields, layout, limits, sources_apart=apart, observe=SPEC._replace(budgets=layout.budgets))


NOT_KEPT = {"bytes", "notes", "problems"}  # of the files that were read to make a summary


def content(found: Scan) -> dict[str, Any]:
    """Return everything that a scan holds of its input."""
    return {name: value for name, value in scans.content(found).items() if name not in NOT_KEPT}


def scanned(paths: list[Path], apart: bool = False, layout: Layout = LAYOUT, fields: Fields = Fields()) -> Scan:  # noqa: B008  frozen
    return scan(sources.find(list(map(str, paths))), plan(fields, layout, apart), jobs=1)


def summarized(paths: list[Path], to: Path, layout: Layout = LAYOUT, fields: Fields = Fields()) -> Path:  # noqa: B008  frozen
    to.write_bytes(b"".join(summary_writing.write(scanned(paths, True, layout, fields), fields, layout, SPEC)))
    return to


def dumps(folder: Path, seed: int, files: int) -> list[Path]:
    """Write files whose prompts recur in other files; some lines are no records."""
    chance = random.Random(seed)
    paths = []
    for number in range(files):
        path = folder / f"{seed}-{number}.jsonl"
        with path.open("wb") as file:
            for _ in range(chance.randrange(12)):
                record = {
                    "prompt_id": chance.choice(["a", "b", "é\n", 7, "7", f"only in {number}"]),
                    "reward": chance.choice([0.0, 1.0, chance.gauss(0, 1e6), 1e9 + chance.random()]),
                    "log_prob": chance.gauss(-100, 30),
                    "old_log_prob": chance.gauss(-100, 30),
                    "response_length": chance.randrange(2000),
                }
                file.write(b"{\n" if chance.random() < 0.1 else orjson.dumps(record) + b"\n")
        paths.append(path)
    return paths


@examples(60)
@given(seed=st.integers(0, 2**32), cuts=st.lists(st.integers(0, 5), max_size=4), again=st.booleans())
def test_summaries_give_the_scan_of_their_files_however_the_files_are_distributed(
    tmp_path_factory: pytest.TempPathFactory, seed: int, cuts: list[int], again: bool
) -> None:
    folder = tmp_path_factory.mktemp("dumps")
    paths = dumps(folder, seed, 5)
    bounds = [0, *sorted(cuts), 5]
    inputs = []
    for part, (begin, end) in enumerate(pairwise(bounds)):
        if (part + seed) % 3:
            inputs.append(summarized(paths[begin:end], folder / f"{part}.summary"))
        else:
            inputs += paths[begin:end]  # summaries and records side by side
    if again:
        inputs = [summarized(inputs, folder / "all.summary")]
    assert content(scanned(inputs)) == content(scanned(paths))


@examples(20)
@given(seed=st.integers(0, 2**32), cut=st.integers(1, 4))
def test_a_summary_of_summaries_is_the_summary_of_their_files(
    tmp_path_factory: pytest.TempPathFactory, seed: int, cut: int
) -> None:
    folder = tmp_path_factory.mktemp("dumps")
    paths = dumps(folder, seed, 5)
    parts = [summarized(part, folder / str(i)) for i, part in enumerate((paths[:cut], paths[cut:]))]
    assert summarized(parts, folder / "all").read_bytes() == summarized(paths, folder / "at once").read_bytes()


@pytest.mark.parametrize("compiler", sorted({False, native.AVAILABLE}))
def test_numbers_that_json_cannot_express_read_back(
    tmp_path: Path, compiler: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "AVAILABLE", compiler)
    path = tmp_path / "a.jsonl"
    far = {"prompt_id": "p", "reward": -0.0, "log_prob": -1000, "old_log_prob": 0, "response_length": 70_000}
    path.write_bytes((orjson.dumps(far) + b"\n") * 2 + orjson.dumps({**far, "prompt_id": "q", "log_prob": 0.1}) + b"\n")
    found, expected = scanned([summarized([path], tmp_path / "s")]), scanned([path])
    np.testing.assert_array_equal(found.groups.table, expected.groups.table)
    first, second = content(found), content(expected)
    del first["groups"]["table"], second["groups"]["table"]  # equal but for the bits of NaN
    assert first == second
    assert found.groups.column("k3")[0] == float("inf")


def test_a_summary_of_rewards_alone_has_no_columns_for_the_rest(tmp_path: Path) -> None:
    fields = Fields(needs_length=False, needs_log_probs=False)
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"prompt_id": 1, "reward": 0.5}\n{"prompt_id": 1, "reward": 1}\n')
    made = summarized([path], tmp_path / "s", fields=fields)
    header, line = map(orjson.loads, made.read_bytes().splitlines())
    assert header["columns"] == ["n", "r0", "rr", "r_min", "r_max", "right"]  # r1 is 0, too: r0 is the mean
    assert line == {"prompt_id": 1, "row": [0, 2, 0.75, 0.125, 0.5, 1, 2]}
    assert content(scanned([made], fields=fields)) == content(scanned([path], fields=fields))


def test_a_summary_answers_for_some_of_its_budgets(tmp_path: Path) -> None:
    (path,) = dumps(tmp_path, 5, 1)
    made = summarized([path], tmp_path / "s")
    one = Layout((500,))
    assert content(scanned([made], layout=one)) == content(scanned([path], layout=one))


def test_a_source_that_was_not_read_to_its_end_stays_incomplete(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(bytes.fromhex("1f8b0800000000000003"))  # a header of gzip and nothing more
    found = scanned([summarized([path], tmp_path / "s")])
    assert [str(problem) for problem in found.problems] == [str(p) for p in scanned([path]).problems] != []


def edited(line: int, what: str, field: str = "") -> str:
    return f"damaged or edited summary: line {line}: {field}{what}: summarize the files again"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[: data.rindex(b"{")], "truncated summary: it has 3 of 4 prompts"),
        (lambda data: data[:-9], edited(5, "not JSON")),
        (lambda data: data[:-1], edited(1, "checksum: that of the lines is another")),
        (lambda data: re.sub(rb',"checksum":"\w+"', b"", data, count=1), edited(1, "checksum: missing")),
        (lambda data: data[:60] + b"\n", "truncated summary: its header is incomplete"),
        (
            lambda data: data.replace(b"[0,1.0,0.5", b"[0,1.0,0.25", 1),
            edited(2, "r1: a mean beyond r_min and r_max", "row: "),
        ),
        (lambda data: data.replace(b'"k0"', b'"k1"', 1), edited(1, "checksum: that of the lines is another")),
        (lambda data: data.replace(b'"r0"', b'"rr"', 1), edited(2, "row: r1: a mean beyond r_min and r_max")),
        (lambda data: data.replace(b'"k0"', b'"r0"', 1), edited(1, "columns: expected different names")),
        (lambda data: data.replace(b'"r0"', b'"r9"', 1), edited(1, "columns: expected the names of moments")),
        (lambda data: data.replace(b"[[9,4]]", b"[[0,4]]", 1), edited(1, "lengths: the sum of L_sum differs")),
        (lambda data: data.replace(b"[[9,4]]", b"[[9,5]]", 1), edited(1, "lengths: not as many as with_length")),
        (
            lambda data: data.replace(b'"rejected":0', b'"rejected":-5', 1),
            edited(1, "records: expected read, used, rejected, blank, skipped: whole numbers, 0 or more"),
        ),
        (
            lambda data: data.replace(b'"used":4', b'"used":3', 1),
            edited(1, "records: used, rejected and skipped do not add up to read"),
        ),
        (
            lambda data: data.replace(b'"prompt_id":2', b'"prompt_id":1', 1),
            edited(4, "prompt_id: it occurs before"),
        ),
        *(
            (
                lambda data, key=key: data.replace(b'"prompt_id":2', b'"prompt_id":' + key, 1),
                edited(4, "prompt_id: expected a text or a whole number"),
            )
            for key in (b"null", b"true", b"1.5", b"[]", b"9223372036854775808", b"1e3")
        ),
        (
            lambda data: data.replace(b"[0,1.0", b"[1,1.0", 1),
            edited(2, "row: expected the number of a source first"),
        ),
        (
            lambda data: data.replace(b"[0,1.0", b"[0,1.5", 1),
            edited(2, "row: n: expected a whole number of responses, 1 or more"),
        ),
        (
            lambda data: data.replace(b'"responses":4,"rows":4', b'"responses":5,"rows":5', 1),
            edited(1, "responses: the sum of n differs"),
        ),
        (
            lambda data: data.replace(b"[0,1.0", b"[0,2", 1),
            edited(2, "row: right: not the responses above 0 that r_min and r_max allow"),
        ),
        (
            lambda data: data.replace(b"1.0,9.0]", b"0.5,9.0]", 1),
            edited(2, "row: right: expected a whole number, at most n"),
        ),
        (
            lambda data: data.replace(b"1.0,9.0]", b"1.0,10.0]", 1),
            edited(2, "row: L_right: expected a whole number of tokens, at most L_sum"),
        ),
        (
            lambda data: data.replace(b'"correct_above":0.0,', b"", 1),
            edited(1, "correct_above: missing"),
        ),
        (
            lambda data: data.replace(b'"correct_above":0.0', b'"correct_above":null', 1),
            edited(1, "correct_above: expected a number"),
        ),
        (lambda data: data.replace(b"[0,1.0", b"[0,true", 1), edited(2, "row: expected numbers")),
        (lambda data: data.replace(b"[0,1.0", b'[0,"1"', 1), edited(2, "row: expected numbers")),
        (lambda data: data[:60], "truncated summary: its header is incomplete"),
        (
            lambda data: data.replace(b'"row":[0,', b'"row":[0,1,', 1),
            edited(2, "row: expected 14 numbers for each source"),
        ),
    ],
)
def test_a_damaged_summary_is_refused(tmp_path: Path, damage: Any, message: str) -> None:
    path = tmp_path / "a.jsonl"
    record = {"reward": 0.5, "log_prob": -1, "old_log_prob": -2, "response_length": 9}
    path.write_bytes(b"".join(orjson.dumps({"prompt_id": i, **record}) + b"\n" for i in range(4)))
    made = summarized([path], tmp_path / "s")
    made.write_bytes(damage(made.read_bytes()))
    with pytest.raises(InputProblem) as caught:
        summary.read(sources.find([str(made)])[0], LAYOUT)
    assert caught.value.problem == message


def with_header(path: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    """Write the same summary with a different header."""
    head, _, rest = path.read_bytes().partition(b"\n")
    header = orjson.loads(head)
    del header["checksum"]  # as the first version writes it
    header["schema"] = "budget-cli/summary/1"
    change(header)
    path.write_bytes(orjson.dumps(header) + b"\n" + rest)
    return path


def is_later(column: str) -> bool:
    return "_low" in column or column in RIGHT


def to_version_1(path: Path) -> Path:
    """Write the same summary without what version 1 of the format does not have."""
    header, *rows = map(orjson.loads, path.read_bytes().splitlines())
    width, names = len(header["columns"]) + 1, ["source", *header["columns"]]
    for row in rows:
        row["row"] = [value for i, value in enumerate(row["row"]) if not is_later(names[i % width])]
    header["columns"] = [name for name in header["columns"] if not is_later(name)]
    del header["correct_above"]
    header["schema"] = "budget-cli/summary/1"
    del header["checksum"]
    path.write_bytes(b"".join(orjson.dumps(each) + b"\n" for each in (header, *rows)))
    return path


def test_a_summary_of_version_1_is_read_and_written_on_as_version_2(tmp_path: Path) -> None:
    paths = dumps(tmp_path, 5, 4)
    old = to_version_1(summarized(paths[:2], tmp_path / "old"))
    expected, found = scanned(paths[:2]).groups, scanned([old]).groups
    for i, name in enumerate(LAYOUT.names):
        if not is_later(name):
            assert found.table[:, i] == pytest.approx(expected.table[:, i], rel=1e-15), name
    assert found.keys() == expected.keys()
    both = [old, summarized(paths[2:], tmp_path / "new")]
    again = summarized(both, tmp_path / "both")
    assert header(again)["schema"] == "budget-cli/summary/2"
    assert "correct_above" not in header(again)
    assert not set(RIGHT) & set(header(again)["columns"])
    for read in (found, scanned([again]).groups):
        assert np.isnan(read.column("right")).all()
        assert np.isnan(read.column("L_right")).all()
    got, wanted = scanned([again]), scanned(both)
    for each in (got, wanted):
        each.groups.table[:, [LAYOUT.at(name) for name in RIGHT]] = 0.0
    assert content(got) == content(wanted)


def test_what_is_right_is_known_of_the_threshold_that_a_summary_was_made_with(tmp_path: Path) -> None:
    path = dumps(tmp_path, 5, 1)[0]
    half = Layout(LAYOUT.budgets, 0.5)
    made = summarized([path], tmp_path / "half", half)
    assert header(made)["correct_above"] == 0.5
    assert content(scanned([made], layout=half)) == content(scanned([path], layout=half))
    other = scanned([made]).groups
    assert np.isnan(other.column("right")).all()
    assert other.column("n").tolist() == scanned([path]).groups.column("n").tolist()
    both = summarized([made, path], tmp_path / "both")  # the records by another threshold than the summary
    assert "correct_above" not in header(both)


def test_why_it_is_not_known_what_is_right_is_said(tmp_path: Path) -> None:
    path = dumps(tmp_path, 5, 1)[0]
    half = summarized([path], tmp_path / "half", Layout(LAYOUT.budgets, 0.5))
    old = to_version_1(summarized([path], tmp_path / "old"))
    headers = {"half": header(half), "old": header(old)}
    assert summary.missing_right({"half": headers["half"]}, 0.5) is None
    assert summary.missing_right(headers, 0.5) == (
        "old: this summary does not count right responses (columns right and L_right): summarize again"
    )
    assert summary.missing_right(headers, 0.0) == (
        "half: in this summary a response is right above a reward of 0.5, not 0: give --set correct_above=0.5, or"
        " summarize again with --set correct_above=0"
    )


WRITTEN_BY_0_1_0 = b"""\
{"schema":"budget-cli/summary/1","budgets":[100],"fields":{"prompt_id":"prompt_id","reward":"reward",\
"log_prob":"log_prob","old_log_prob":"old_log_prob","response_length":"response_length"},\
"columns":["n","r0","r1","rr","r_min","r_max","k0","k1","kk","rk","k3","L_sum","L_min","L_max","L_best","L_worst",\
"e1@100","ee@100","re@100","ek@100","over@100"],"prompts":1,"sources":["a.jsonl"],"responses":2,"with_length":2,\
"with_log_ratio":2,"lengths":[[90,1],[150,1]],"records":{"read":2,"used":2,"rejected":0,"blank":0},"rejected":{},\
"lacking":{},"rejections":[],"incomplete":[]}
{"prompt_id":"a","row":[0,2,1,-1,0.5,0,1,0.5,-0.25,0.03125,0.125,0.1,240,90,150,150,90,-50,1250,25,6.25,1]}
"""


def test_a_summary_as_version_0_1_0_wrote_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_bytes(WRITTEN_BY_0_1_0)
    groups = scanned([path], layout=Layout((100,))).groups
    row = dict(zip(groups.layout.names, groups.table[0].tolist(), strict=True))
    assert [row[name] for name in ("n", "r0", "r1", "rr", "rr_low", "k3", "re@100", "re_low@100")] == [
        *(2, 1, -1, 0.5, 0),
        *(0.1, 25, 0),
    ]


def test_a_summary_of_a_later_version_is_refused_by_its_version(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_bytes(b'{"schema":"budget-cli/summary/9","anything":1}\n')
    with pytest.raises(InputProblem) as caught:
        summary.read(sources.find([str(path)])[0], LAYOUT)
    assert caught.value.problem == (
        "schema 'budget-cli/summary/9', expected budget-cli/summary/1 or budget-cli/summary/2: summarize the files"
        " again"
    )


def test_what_a_sum_lost_is_no_more_than_rounding_loses(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    record = {"prompt_id": "a", "log_prob": -1, "old_log_prob": -2, "response_length": 9}
    path.write_bytes(b"".join(orjson.dumps({**record, "reward": r}) + b"\n" for r in (0.1, 0.7, 0.3)))
    made = summarized([path], tmp_path / "s")
    head, line = made.read_bytes().splitlines()
    at = orjson.loads(head)["columns"].index("rr_low") + 1
    row = orjson.loads(line)
    row["row"][at] = 1e-3
    made.write_bytes(head + b"\n" + orjson.dumps(row) + b"\n")
    with pytest.raises(InputProblem) as caught:
        summary.read(sources.find([str(made)])[0], LAYOUT)
    assert caught.value.problem == edited(2, "row: rr_low: more than a rounding of rr")


@pytest.mark.parametrize(
    "evidence",
    [None, {}, [], [{}, {}], [None], [3], [{"sums": {"x": "y"}}], [{"spotted": {"zero_length": [1, [[1, 9]]]}}]],
)
def test_damaged_evidence_is_refused(tmp_path: Path, evidence: Any) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"prompt_id": 1, "reward": 0.5, "log_prob": -1, "old_log_prob": -1, "response_length": 0}\n')
    made = with_header(summarized([path], tmp_path / "s"), lambda header: header.update(seen=evidence))
    with pytest.raises(InputProblem) as caught:
        summary.read(sources.find([str(made)])[0], LAYOUT, SPEC)
    assert caught.value.problem.startswith("damaged or edited summary: line 1: seen: ")


def of_an_earlier_version(header: dict[str, Any]) -> None:
    del header["seen"], header["thresholds"]


OUTLIER = "log-ratio-outlier.nats"


def test_evidence_is_written_only_if_every_source_was_observed(tmp_path: Path) -> None:
    paths = dumps(tmp_path, 5, 2)
    old = with_header(summarized(paths[:1], tmp_path / "old"), of_an_earlier_version)
    other = with_header(
        summarized(paths[1:], tmp_path / "other"), lambda header: header["thresholds"].update({OUTLIER: 5.0})
    )
    for inputs in ([old], [old, paths[1]], [paths[0], other]):
        both = header(summarized(inputs, tmp_path / "both"))
        assert ("seen" in both, "thresholds" in both) == (False, False)
        found, expected = content(scanned(inputs)), content(scanned(paths[: len(inputs)]))
        assert [found[name] for name in ("groups", "tally")] == [expected[name] for name in ("groups", "tally")]


COUNTED = [
    (lambda header: None, None),
    (of_an_earlier_version, "s: this summary of an earlier version has no evidence for the checks: summarize again"),
    (lambda header: header["thresholds"].update({"another": 7}), None),
    (
        lambda header: header["thresholds"].pop(OUTLIER),
        "s: this summary of an earlier version has no evidence for the checks: summarize again",
    ),
    (
        lambda header: header["thresholds"].update({OUTLIER: 12.5}),
        "s: this summary was made with log-ratio-outlier.nats=12.5, not 20, and the threshold applies while"
        " records are read: give --threshold log-ratio-outlier.nats=12.5, or check the records",
    ),
]


@pytest.mark.parametrize(("change", "reason"), COUNTED)
def test_why_checks_cannot_run_on_a_summary(tmp_path: Path, change: Any, reason: str | None) -> None:
    made = with_header(summarized(dumps(tmp_path, 5, 1), tmp_path / "s"), change)
    assert summary.missing_evidence({"s": header(made)}, SPEC) == reason
    (part,) = summary.read(sources.find([str(made)])[0], LAYOUT, SPEC).source_results
    assert (part.observations is None) == (reason is not None)


def test_a_file_name_need_not_be_utf_8(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xfe.jsonl"))
    path.write_bytes(b'{"prompt_id": 1, "reward": 1, "log_prob": 0, "old_log_prob": 0, "response_length": 9}\n{\n')
    found = scanned([summarized([path], tmp_path / "s")])
    assert found.sources == [f"{tmp_path}/\\xfe.jsonl"]
    assert [one.source for one in found.rejections] == found.sources


def test_an_id_that_is_such_a_name_is_written_readably(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xfe.jsonl"))
    path.write_bytes(b'{"reward": 1, "log_prob": 0, "old_log_prob": 0, "response_length": 9}\n')
    made = summarized([path], tmp_path / "s", fields=Fields(group="file"))
    assert list(scanned([made]).groups.keys()) == [f"{tmp_path}/\\xfe.jsonl"]


def test_a_header_may_be_long(tmp_path: Path) -> None:
    paths = [tmp_path / f"{i:04}-{'x' * 230}.jsonl" for i in range(250)]
    for path in paths:
        path.write_bytes(b'{"prompt_id": 1, "reward": 1, "log_prob": 0, "old_log_prob": 0, "response_length": 9}\n')
    made = summarized(paths, tmp_path / "s")
    assert len(made.read_bytes().partition(b"\n")[0]) > 1 << 16
    assert header(made)["sources"] == list(map(str, paths))
    assert content(scanned([made])) == content(scanned(paths))


def header(path: Path) -> dict[str, Any]:
    return summary.header_of(sources.find([str(path)])[0])


def test_summaries_that_cannot_be_combined_are_refused(tmp_path: Path) -> None:
    (path,) = dumps(tmp_path, 5, 1)
    other = tmp_path / "other.jsonl"
    other.write_bytes(b'{"uid": "a", "reward": 1, "response_length": 3}\n')
    uid = Fields(needs_log_probs=False).with_places(parse_mappings(["prompt_id=uid"]))
    headers = {
        "a": header(summarized([path], tmp_path / "a")),
        "b": header(summarized([other], tmp_path / "b", fields=uid)),
    }
    summary.require_alike({"a": headers["a"]}, Fields(), Layout((100,)), beside_records=True)
    cases: list[tuple[dict[str, Any], Fields, list[int], bool, str]] = [
        (
            {"a": headers["a"]},
            Fields(),
            [7],
            False,
            "a: this summary was made for other budgets (100, 500), not 7: give one of those with -B, or summarize"
            " again with 7",
        ),
        (
            {"b": headers["b"]},
            Fields(),
            [],
            False,
            "b: this summary has log-probs of 0 of 1 responses: give --kl-coef 0",
        ),
        (
            headers,
            Fields(needs_log_probs=False),
            [],
            False,
            "b: this summary was made with fields prompt_id=uid, but a with prompt_id=prompt_id: they cannot be"
            " combined",
        ),
        (
            {"b": headers["b"]},
            Fields(needs_log_probs=False),
            [],
            True,
            "b: this summary was made with fields prompt_id=uid, but the records with prompt_id=prompt_id: they"
            " cannot be combined",
        ),
    ]
    for given_headers, fields, budgets, beside, message in cases:
        with pytest.raises(UsageProblem) as caught:
            summary.require_alike(given_headers, fields, Layout(tuple(budgets)), beside)
        assert str(caught.value) == message


def test_a_line_of_a_summary_has_a_limit(tmp_path: Path) -> None:
    made = summarized(dumps(tmp_path, 5, 1), tmp_path / "s")
    head, first, rest = made.read_bytes().split(b"\n", 2)
    for most, message in (
        (len(head) - 1, f"line 1 is longer than {len(head) - 1:,} bytes (--max-line-bytes)"),
        (len(head), f"line 3 is longer than {len(head):,} bytes (--max-line-bytes)"),
    ):
        made.write_bytes(b"\n".join([head, first, b"1" * (len(head) + 1), rest]))
        with pytest.raises(InputProblem) as caught:
            summary.read(sources.find([str(made)])[0], LAYOUT, max_line_bytes=most)
        assert caught.value.problem == message


# ---- edits

TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*|true|false|null|[][{},:]')
OTHERS = [*rb'0 1 -1 7 2.5 1e400 99999999999999999999 true null "" "n" "x" [] {} [0] "inf" "nan" NaN , ]'.split()]


def edits(data: bytes, chance: random.Random, number: int) -> Iterator[bytes]:
    """Change one token each time, or a few bytes."""
    tokens = list(TOKENS.finditer(data))
    for _ in range(number):
        token = chance.choice(tokens)
        other = chance.choice(OTHERS) if chance.random() < 0.8 else chance.choice(tokens)[0]
        if chance.random() < 0.1:
            other = token[0][:1] + bytes([chance.randrange(256)]) + token[0][2:]
        yield data[: token.start()] + other + data[token.end() :]


@pytest.mark.parametrize("sealed", [True, False])
def test_no_edit_of_a_summary_gives_other_numbers_or_a_bug(tmp_path: Path, sealed: bool) -> None:
    made = summarized(dumps(tmp_path, 11, 2), tmp_path / "s")
    if not sealed:
        with_header(made, lambda header: None)  # a summary of an earlier version: what it says once cannot be checked
    data, whole = made.read_bytes(), content(scanned([made]))
    chance, refused = random.Random(5), 0
    for changed in edits(data, chance, 500):
        made.write_bytes(changed)
        try:
            (source,) = sources.find([str(made)])
            if source.kind is not Kind.SUMMARY:
                continue
            summary.header_of(source)
            found = scanned([made])
        except InputProblem:
            refused += 1
            continue
        assert not sealed or found.problems or content(found) == whole, changed
        refused += bool(found.problems)
    assert refused > 300
