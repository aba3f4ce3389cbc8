"""If this fails, a dump with several samples per line is read as other samples or prompts than it holds."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from budget_cli.groups.moments import Layout
from budget_cli.records import reference
from budget_cli.records.columns import ALL_REJECTIONS, Decoded
from budget_cli.records.jsonl import Limits
from budget_cli.scanning.plan import scan_plan
from budget_cli.scanning.scan import scan
from budget_cli.scanning.state import Scan
from budget_cli.schema.fields import Fields, parse_mappings
from budget_cli.sources import blocks
from budget_cli.sources import local as sources

Read = list[tuple[Any, float]]  # prompt id and reward of each response


def rewards_alone(records: str = "", group: str = "", skip_unscored: bool = False, *mappings: str) -> Fields:
    fields = Fields(
        records=records, group=group, skip_unscored=skip_unscored, needs_length=False, needs_log_probs=False
    )
    return fields.with_places(parse_mappings(mappings))


def read(value: Any, fields: Fields) -> Decoded:
    return reference.decode(json.dumps(value).encode() + b"\n", fields, 1 << 20, ALL_REJECTIONS)


def of(decoded: Decoded) -> Read:
    columns = decoded.columns
    return [(columns.keys[code], reward) for code, reward in zip(columns.codes, columns.reward.tolist(), strict=True)]


def one(key: Any, reward: Any, **more: Any) -> dict[str, Any]:
    return {"prompt_id": key, "reward": reward, **more}


SHAPES: list[tuple[str, Any, Read]] = [  # records, a line's value, its responses
    ("", one("a", 1), [("a", 1)]),
    ("[]", [one("a", 1), one("b", 2), one("a", 3)], [("a", 1), ("b", 2), ("a", 3)]),
    ("[]", [one("a", 1), {"prompt_id": "b", "rewards": [2, 3]}], [("a", 1), ("b", 2), ("b", 3)]),
    ("[]", [], []),
    ("samples[]", {"prompt_id": "a", "samples": [{"reward": 1}, {"reward": 2}]}, [("a", 1), ("a", 2)]),
    ("samples[]", one("a", 9, samples=[{"reward": 1}, {"prompt_id": "b"}, {}]), [("a", 1), ("b", 9), ("a", 9)]),
    ("group.samples[]", {"prompt_id": "a", "group": {"samples": [{"reward": 1}]}}, [("a", 1)]),
    (
        "turns[].samples[]",
        {"prompt_id": "a", "turns": [{"samples": [{"reward": 1}]}, {"samples": [{"reward": 2}, {"reward": 3}]}]},
        [("a", 1), ("a", 2), ("a", 3)],
    ),
    ("columns", one(["a", "b", "a"], [1, 2, 3]), [("a", 1), ("b", 2), ("a", 3)]),
    ("columns", one("a", [1, 2], step=7, note=None), [("a", 1), ("a", 2)]),
    ("columns", one(["a"], [1]), [("a", 1)]),
    ("columns", one("a", []), []),
    ("columns", one("a", [1, 2], unread=[1, 2, 3]), [("a", 1), ("a", 2)]),
]


@pytest.mark.parametrize(("records", "value", "responses"), SHAPES)
def test_a_line_holds_the_responses_of_its_shape(records: str, value: Any, responses: Read) -> None:
    decoded = read(value, rewards_alone(records))
    assert decoded.rejections == []
    assert of(decoded) == responses
    assert (decoded.tally.read, decoded.tally.used, decoded.tally.rejected, decoded.tally.skipped) == (1, 1, 0, 0)


def test_columns_hold_log_probs_and_lengths_of_each_response() -> None:
    value = one("a", [1, 2], log_prob=[[-1, -2], [-4]], old_log_prob=[[-1, -1], [-1]])
    columns = read(value, Fields(records="columns")).columns
    assert columns.log_prob is not None
    assert columns.old_log_prob is not None
    assert columns.length is not None
    assert (columns.log_prob.tolist(), columns.old_log_prob.tolist()) == ([-3, -4], [-2, -1])
    assert columns.length.tolist() == [2, 1]


def test_parallel_arrays_may_be_found_by_an_expression() -> None:
    fields = rewards_alone("columns", "", False, "prompt_id=digest(text)", "reward=minus(won, lost)")
    decoded = read({"text": ["x", "y", "x"], "won": [3, 2, 1], "lost": [1, 1, 1], "others": [0]}, fields)
    assert decoded.columns.reward.tolist() == [2, 1, 0]
    assert decoded.columns.codes.tolist() == [0, 1, 0]


LIST_OF_SAMPLES = "missing: expected a list of samples"
COUNTED = "expected a number, found true; --field 'reward=number(reward)' counts true as 1 and false as 0"
NO_ARRAYS = "expected arrays with an element for each response, found none"
WRONG: list[tuple[str, Any, int, str, str | None, str]] = [  # records, value, column, code, field, message
    ("", [one("a", 1)], 1, "not-an-object", None, "expected an object, found a list"),
    ("[]", one("a", 1), 1, "wrong-type", None, "expected a list of records, found an object"),
    ("[]", "a", 1, "wrong-type", None, "expected a list of records, found a string"),
    ("[]", None, 1, "wrong-type", None, "expected a list of records, found null"),
    ("[]", [one("a", 1), 3], 1, "not-an-object", None, "expected an object, found a number"),
    ("[]", [[one("a", 1)]], 1, "not-an-object", None, "expected an object, found a list"),
    ("[]", [one("a", 1), one("a", True)], 1, "wrong-type", "reward", COUNTED),
    ("samples[]", [one("a", 1)], 1, "not-an-object", None, "expected an object, found a list"),
    ("samples[]", one("a", 1), 1, "missing", "samples[]", LIST_OF_SAMPLES),
    ("samples[]", {"samples": {"reward": 1}}, 13, "wrong-type", "samples[]", "expected a list, found an object"),
    ("samples[]", {"samples": None}, 13, "wrong-type", "samples[]", "expected a list, found null"),
    ("samples[]", one("a", 1, samples=[{}, 5]), 1, "not-an-object", None, "expected an object, found a number"),
    ("a[].b[]", {"a": [3]}, 7, "wrong-type", "a[].b[]", "element 0: expected an object, found a number"),
    ("columns", [one("a", 1)], 1, "not-an-object", None, "expected an object, found a list"),
    ("columns", one("a", 1), 1, "wrong-type", None, NO_ARRAYS),
    ("columns", {}, 1, "wrong-type", None, NO_ARRAYS),
    ("columns", one(["a"], [1, 2]), 1, "unequal-lengths", "prompt_id", "1 element, but others have 2"),
    ("columns", one(["a", "b", "c"], [1, 2]), 1, "unequal-lengths", "reward", "2 elements, but others have 3"),
    ("columns", one("a", [1, "x"]), 30, "wrong-type", "reward", "expected a number, found a string"),
    ("columns", one("a", [1, None]), 30, "null", "reward", "null"),
]


@pytest.mark.parametrize(("records", "value", "column", "code", "field", "message"), WRONG)
def test_a_line_of_another_shape_is_refused_whole_with_the_reason(
    records: str, value: Any, column: int, code: str, field: str | None, message: str
) -> None:
    decoded = read(value, rewards_alone(records))
    assert [rejection[2:6] for rejection in decoded.rejections] == [(column, code, field, message)]
    assert (of(decoded), decoded.tally.used, decoded.tally.rejected, decoded.tally.skipped) == ([], 0, 1, 0)


# ---- lines that are no samples

SKIPPED: list[tuple[str, Any]] = [
    ("", {"summary": True}),
    ("", {"prompt_id": "a", "note": 3}),
    ("samples[]", {"prompt_id": "a"}),
    ("columns", {"prompt_id": "a", "step": 3}),
]


@pytest.mark.parametrize(("records", "value"), SKIPPED)
def test_a_line_without_a_reward_is_skipped_only_if_the_preset_allows_it(records: str, value: Any) -> None:
    for skip_unscored in (True, False):
        tally = read(value, rewards_alone(records, "", skip_unscored)).tally
        skipped = int(skip_unscored)
        assert (tally.read, tally.used, tally.skipped, tally.rejected) == (1, 0, skipped, 1 - skipped)


@pytest.mark.parametrize("value", [3, [], None, one("a", None), one("a", True), {"reward": 1}, {"rewards": []}])
def test_a_line_that_is_wrong_is_never_skipped(value: Any) -> None:
    tally = read(value, rewards_alone("", "", True)).tally
    assert (tally.skipped, tally.rejected) == (0, 1)


def test_good_samples_beside_one_without_a_reward_are_not_lost() -> None:
    decoded = read([one("a", 1), {"note": "x"}], rewards_alone("[]", "", True))
    assert of(decoded) == [("a", 1)] or decoded.tally.rejected == 1


# ---- a line, or a file, as the prompt


@pytest.fixture(params=[1 << 22, 40], ids=["one block", "several blocks"])
def _blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK_BYTES", request.param)
    monkeypatch.setattr(blocks, "PIECE_BYTES", 16)


def scanned(paths: list[Path], fields: Fields, jobs: int = 1) -> Scan:
    plan = scan_plan(fields, Layout(()), Limits(keep=ALL_REJECTIONS))
    return scan(sources.find([str(path) for path in paths]), plan, jobs=jobs)


def prompts(result: Scan) -> dict[Any, tuple[float, float]]:
    """Return the number of responses of each prompt, and the sum of their rewards."""
    n, r0, r1 = (result.groups.column(name).tolist() for name in ("n", "r0", "r1"))
    return {key: (n[i], n[i] * r0[i] + r1[i]) for i, key in enumerate(result.groups.keys())}


FIRST = [
    '[{"reward": 1}, {"reward": 2}]',
    "",
    '[{"reward": 4}]',
    "[3]",
    '[{"reward": 8}, {"reward": 16}, {"reward": 32}]',
    '[{"reward": 64}]',
]
SECOND = ['[{"reward": 5}]', '[{"reward": 6}, {"prompt_id": "not asked", "reward": 7}]']


@pytest.fixture
def two_files(tmp_path: Path) -> list[Path]:
    first, second = tmp_path / "a.jsonl", tmp_path / "b.jsonl.gz"
    first.write_text("\n".join(FIRST) + "\n")
    second.write_bytes(gzip.compress("\n".join(SECOND).encode()))
    return [first, second]


@pytest.mark.usefixtures("_blocks")
@pytest.mark.parametrize("jobs", [1, 2])
def test_where_a_line_is_a_prompt_its_id_is_its_file_and_physical_line(two_files: list[Path], jobs: int) -> None:
    result = scanned(two_files, rewards_alone("[]", "line"), jobs)
    a, b = two_files
    assert prompts(result) == {
        f"{a}:1": (2, 3),
        f"{a}:3": (1, 4),
        f"{a}:5": (3, 56),
        f"{a}:6": (1, 64),
        f"{b}:1": (1, 5),
        f"{b}:2": (2, 13),
    }
    assert [(rejection.source, rejection.line) for rejection in result.rejections] == [(str(a), 4)]
    assert (result.tally.read, result.tally.used, result.tally.rejected, result.tally.blank) == (7, 6, 1, 1)


@pytest.mark.usefixtures("_blocks")
@pytest.mark.parametrize("jobs", [1, 2])
def test_where_a_file_is_a_prompt_its_id_is_its_name(two_files: list[Path], jobs: int) -> None:
    result = scanned(two_files, rewards_alone("[]", "file"), jobs)
    assert prompts(result) == {str(two_files[0]): (7, 127), str(two_files[1]): (3, 18)}


@pytest.mark.usefixtures("_blocks")
def test_skipped_lines_are_counted_in_all_blocks_and_count_for_line_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    header, good, bad = '{"run": "of a line that is longer than a block"}', '{"reward": 1}', '{"reward": true}'
    path.write_text("\n".join([header, good, header, bad, good, header]))
    result = scanned([path], rewards_alone("", "line", True))
    assert prompts(result) == {f"{path}:2": (1, 1), f"{path}:5": (1, 1)}
    tally = result.tally
    assert (tally.read, tally.used, tally.rejected, tally.skipped, tally.blank) == (6, 2, 1, 3, 0)
    assert [rejection.line for rejection in result.rejections] == [4]


@pytest.mark.parametrize(
    ("given", "needed", "length"), [(None, True, 2.0), (None, False, None), (3, True, 3.0), ("missing", False, 2.0)]
)
def test_a_writer_that_did_not_count_the_tokens_says_null_and_its_log_probs_are_counted(
    given: Any, needed: bool, length: float | None
) -> None:
    record = one("a", 1, log_prob=[-1, -2], response_length=given)
    if given == "missing":
        del record["response_length"]
    found = read(record, Fields(needs_length=needed, needs_log_probs=False)).columns.length
    assert (None if found is None else found.tolist()) == (None if length is None else [length])
