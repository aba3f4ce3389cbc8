"""If this fails, a folder stands for files that are not its dumps, or one of its dumps is left out without a word."""

import errno
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from budget_cli.errors import InputProblem, UsageProblem
from budget_cli.sources import folders, local
from budget_cli.sources.folders import Patterns, choose


def refusal(names: Sequence[str], patterns: Patterns = folders.ALL) -> str:
    with pytest.raises(UsageProblem) as raised:
        choose(names, patterns)
    return str(raised.value)


LEFT_OUT = [
    (".a.jsonl", "hidden"),
    ("x/.ipynb_checkpoints/", "hidden"),
    ("a.jsonl~", "a backup or unfinished"),
    ("a.jsonl.bak", "a backup or unfinished"),
    ("x/a.jsonl.gz.tmp", "a backup or unfinished"),
    ("a.parquet.part", "a backup or unfinished"),
    ("a.txt", "other endings"),
    ("a.jsonl.sha256", "other endings"),
    ("a.parquet.gz", "other endings"),
    ("a.tar.gz", "other endings"),
    ("notes~", "other endings"),
    ("batch_summary.json", "rllm's summary of the episodes beside it"),
    ("x/aggregated_results.jsonl", "SkyRL's metrics of the evaluations beside it"),
    ("run_7_metadata.jsonl.gz", "open-instruct's settings of the run"),
    ("traces/stream.index.jsonl", "an index of the dump beside it"),
    ("traces/annotations/p/00001.jsonl", "prime-rl's annotations of its episodes"),
    ("a_failures.jsonl", "NeMo-Gym's failures, which have no reward"),
    ("episode.json", "of another kind than the dumps beside it"),
    ("config.json", "settings of the run"),
    ("x/run_config.json", "settings of the run"),
    ("scores.csv", "of another kind than the dumps beside it"),
]


@pytest.mark.parametrize(("name", "reason"), LEFT_OUT)
def test_what_is_no_dump_of_the_training_is_left_out_with_its_reason(name: str, reason: str) -> None:
    assert choose([name, "b.jsonl"]) == (["b.jsonl"], {reason: [name]}, [])


@pytest.mark.parametrize(
    "name",
    ["a.ndjson", "A.JSONL", "a.jsonl.zip", "a.jsonl.zst", "step-7.summary.gz", "x/evaluated.jsonl", "x.y/a.jsonl"],
)
def test_every_ending_of_json_lines_is_read_whatever_it_is_packed_with(name: str) -> None:
    assert choose(["b.jsonl", name]).dumps == sorted(["b.jsonl", name], key=folders.natural_order)


def test_names_are_in_natural_order_over_folders() -> None:
    given = ["step_10/a.jsonl", "step_9/b.jsonl", "10.jsonl", "2.jsonl"]
    assert choose(given).dumps == ["2.jsonl", "10.jsonl", "step_9/b.jsonl", "step_10/a.jsonl"]


@pytest.mark.parametrize("names", [["a.json", "x/b.json"], ["a.csv", "b.tsv.gz"], ["eval/a.jsonl", "val/b.jsonl"]])
def test_documents_tables_and_evaluations_are_dumps_where_there_is_nothing_else(names: list[str]) -> None:
    assert choose(names) == (names, {}, [])


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (
            ["a.jsonl", "x/b.parquet"],
            "holds files of two kinds, a.jsonl and x/b.parquet: give one kind, by --include '*.jsonl*' or"
            " --include '*.parquet*'",
        ),
        (
            ["a.json", "b.csv"],
            "holds files of two kinds, a.json and b.csv: give one kind, by --include '*.json*' or --include '*.csv*'",
        ),
        (["a.jsonl", "a.jsonl.gz"], "holds both a.jsonl and a.jsonl.gz, probably the same dump: give one"),
        (
            ["a.jsonl", "a.jsonl.1"],
            "is a.jsonl.1 a part of the dump? give --include '*' to read it, or --exclude '*.1'",
        ),
        (
            ["a.jsonl.lz4"],
            "a.jsonl.lz4: .lz4 cannot be unpacked here: unpack it first, or give --exclude '*.lz4'",
        ),
    ],
)
def test_what_names_do_not_tell_is_refused_with_a_way_out(names: list[str], says: str) -> None:
    assert refusal(names) == says


def test_each_way_out_of_a_refusal_is_one() -> None:
    both = ["a.jsonl", "x/b.parquet"]
    assert choose(both, Patterns(["*.jsonl*"])).dumps == ["a.jsonl"]
    assert choose(both, Patterns(["*.parquet*"])).dumps == ["x/b.parquet"]
    assert choose(["a.jsonl", "a.jsonl.1"], Patterns((), ["*.1"])).dumps == ["a.jsonl"]
    assert choose(["a.jsonl", "a.jsonl.1"], Patterns(["*"])).dumps == ["a.jsonl", "a.jsonl.1"]


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [
        ("train/*", ["train/a.jsonl", "train/x/b.jsonl"]),
        ("train", ["train/a.jsonl", "train/x/b.jsonl"]),
        ("train/", ["train/a.jsonl", "train/x/b.jsonl"]),
        ("x", ["train/x/b.jsonl"]),
        ("b.jsonl", ["b.jsonl", "train/x/b.jsonl"]),
        ("*.txt", ["c.txt"]),
        (".h.jsonl", [".h.jsonl"]),
    ],
)
def test_a_pattern_is_of_a_name_a_path_or_a_folder_on_the_way(pattern: str, fits: list[str]) -> None:
    there = ["b.jsonl", "train/a.jsonl", "train/x/b.jsonl", "c.txt", ".h.jsonl"]
    included = choose(there, Patterns([pattern]))
    assert sorted(included.dumps) == sorted(fits)
    assert sorted(included.left_out["not in --include"]) == sorted({*there} - {*fits})
    assert sorted(choose(there, Patterns(["*"], [pattern])).dumps) == sorted({*there} - {*fits})


def test_the_account_of_what_is_left_out_is_one_line() -> None:
    left_out = choose(
        ["a.jsonl", *(f"{i}.pt" for i in range(1200)), "README", ".h", "1.jsonl~", "2.jsonl~", "3.jsonl~"]
    )
    assert folders.account(left_out) == (
        "not read: 1.jsonl~, 2.jsonl~ and 1 more (a backup or unfinished), .h (hidden), 1,201 files (other"
        " endings: .pt, README)"
    )


@pytest.mark.parametrize(
    "name", ["eval/b.jsonl", "x/eval-rollout/7.jsonl", "eval_b.jsonl", "global_step_3_eval/m.jsonl"]
)
def test_an_evaluation_that_is_read_beside_training_is_named(name: str) -> None:
    chosen = choose(["a.jsonl", name])
    assert (set(chosen.dumps), chosen.evaluation) == ({"a.jsonl", name}, [name])
    assert folders.account(chosen) == f"read with the rest: {name} (an evaluation? --exclude '*eval*' leaves it out)"
    assert choose(["a.jsonl", name], Patterns((), ["*eval*"])).dumps == ["a.jsonl"]
    assert folders.account(choose(["evaluated.jsonl", "a.jsonl"])) == ""


# ---- folders of this machine


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("run/2.jsonl", "run/step_1/1.jsonl", "run/step_1/deep/er/3.jsonl", "run/.git/a.jsonl"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"{}\n")
    return tmp_path / "run"


def test_a_folder_is_read_to_its_bottom(run: Path) -> None:
    left_out: dict[str, str] = {}
    found = local.find(["run"], left_out=left_out)
    assert [source.name for source in found] == ["run/2.jsonl", "run/step_1/1.jsonl", "run/step_1/deep/er/3.jsonl"]
    assert left_out == {"run": "not read: .git/ (hidden)"}


def test_a_link_to_a_folder_is_followed_once_and_never_out_and_around(run: Path, tmp_path: Path) -> None:
    (run / "latest").symlink_to("step_1")
    (run / "loop").symlink_to("..")
    (run / "step_1" / "self").symlink_to(".")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "9.jsonl").write_bytes(b"{}\n")
    (tmp_path / "beside.jsonl").write_bytes(b"{}\n")
    (run / "a").symlink_to(tmp_path / "elsewhere")
    left_out: dict[str, str] = {}
    found = [source.name for source in local.find(["run"], left_out=left_out)]
    assert found == ["run/2.jsonl", "run/a/9.jsonl", "run/step_1/1.jsonl", "run/step_1/deep/er/3.jsonl"]
    linked = "latest/, loop/ and 1 more (a link to what is read, or around this folder)"
    assert left_out == {"run": f"not read: .git/ (hidden), {linked}"}


def test_a_link_to_a_dump_that_is_read_is_named_and_one_to_another_is_read(run: Path, tmp_path: Path) -> None:
    (run / "1.jsonl").symlink_to("2.jsonl")
    (tmp_path / "other.jsonl").write_bytes(b"{}\n")
    (run / "3.jsonl").symlink_to(tmp_path / "other.jsonl")
    left_out: dict[str, str] = {}
    found = [source.name for source in local.find(["run"], Patterns((), ["step_1"]), left_out)]
    assert found == ["run/2.jsonl", "run/3.jsonl"]
    assert "1.jsonl (a link to what is read, or around this folder)" in left_out["run"]


def test_a_hidden_folder_is_read_if_it_is_included(run: Path) -> None:
    assert [source.name for source in local.find(["run"], Patterns([".git"]))] == ["run/.git/a.jsonl"]


def test_a_folder_below_that_cannot_be_listed_is_refused(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def refuse(path: str) -> Iterator[Any]:
        if path.endswith("deep"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)  # root, who may run this, can list every folder
    with pytest.raises(InputProblem, match=r"^run/step_1/deep: this folder cannot be read: Permission denied$"):
        local.find(["run"])


def test_a_folder_without_dumps_says_what_it_holds(run: Path) -> None:
    (run / "only").mkdir()
    (run / "only" / "model.pt").touch()
    says = (
        "run/only: no dump in this folder: expected files that end in .jsonl, .ndjson, .summary, .parquet, .json, .csv"
    )
    with pytest.raises(InputProblem) as raised:
        local.find(["run/only"])
    assert str(raised.value) == f"{says} or .tsv; not read: 1 file (other endings: .pt)"


def test_patterns_without_a_folder_are_refused(run: Path) -> None:
    with pytest.raises(UsageProblem) as raised:
        local.find(["run/2.jsonl"], Patterns(["*"]))
    assert str(raised.value) == "--include and --exclude choose among the files of a folder, and none is given"
