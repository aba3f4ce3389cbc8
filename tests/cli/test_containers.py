"""If this fails, what is around the records (a list, an object, lists of lists) changes their loss."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from command import LossJson, Run

from budget_cli.records import detection, documents

REWARDS = ("--kl-coef", "0", "--beta", "0")
P = [{"prompt_id": "p", "reward": 1.0}, {"prompt_id": "p", "reward": 0.0}]  # (1 − ½)² = ¼ each
Q = [{"prompt_id": "q", "reward": 0.5}, {"prompt_id": "q", "reward": 0.5}]
LOSS = 0.125  # of both: (¼ + ¼ + 0 + 0) / 4
BARE_P, BARE_Q = [{"reward": 1.0}, {"reward": 0.0}], [{"reward": 0.5}, {"reward": 0.5}]
META = {"model": "m", "config": {"layers": [1, 2]}, "notes": []}

CONTAINERS: dict[str, Any] = {
    "a list": [*P, *Q],
    "outputs": {**META, "outputs": [*P, *Q]},
    "results": {**META, "results": [*P, *Q]},
    "one key": {"samples": [*P, *Q]},
    "two keys deep": {**META, "data": {"rollouts": [*P, *Q]}},
    "lists by key": {**META, "eval": {"t0": P, "t1": Q}},
    "lists by key, without ids": {**META, "eval": {"t0": BARE_P, "t1": BARE_Q}},
    "one prompt per key": {"t0": BARE_P, "t1": BARE_Q},
    "one prompt per key, with ids": {"t0": P, "t1": Q},
    "an empty list among them": {"t0": BARE_P, "t1": BARE_Q, "t2": []},
    "one record per key": {"t0": {"rewards": [1.0, 0.0]}, "t1": {"rewards": [0.5, 0.5]}},
    "lists of lists": [P, Q],
    "lists of lists, without ids": [BARE_P, BARE_Q],
    "lists of lists inside": {**META, "response": {"output": [BARE_P, BARE_Q]}},
    "lists of lists of lists": [[BARE_P], [BARE_Q]],
    "a prompt in each record": [{"prompt_id": "p", "rewards": [1.0, 0.0]}, {"prompt_id": "q", "rewards": [0.5, 0.5]}],
    "a table": {"columns": ["prompt_id", "reward"], "data": [["p", 1], ["p", 0], ["q", 0.5], ["q", 0.5]]},
}


def written(path: Path, value: Any, indent: int | None = None) -> Path:
    path.write_text(json.dumps(value, indent=indent), encoding="utf-8")
    return path


def error(budget_cli: Run, *arguments: str | Path, status: int) -> str:
    done = budget_cli("loss", *arguments, *REWARDS)
    assert (done.returncode, done.stdout) == (status, b""), done.stdout.decode()
    (line,) = done.stderr.decode().splitlines()
    return line.removeprefix("budget-cli: ")


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("name", CONTAINERS)
def test_records_are_found_in_what_holds_them(
    loss_json: LossJson, tmp_path: Path, name: str, indent: int | None
) -> None:
    answer = loss_json(written(tmp_path / "a.json", CONTAINERS[name], indent), *REWARDS)
    assert (answer["loss"], answer["prompts"], answer["responses"]) == (LOSS, 2, 4)
    read = 2 if name in ("a prompt in each record", "one record per key") else 4
    assert (answer["records"]["read"], answer["records"]["used"]) == (read, read)


@pytest.mark.parametrize("name", ["a list", "results", "lists by key, without ids", "lists of lists, without ids"])
def test_a_document_that_is_piped_in_or_packed_is_the_same(budget_cli: Run, tmp_path: Path, name: str) -> None:
    text = json.dumps(CONTAINERS[name], indent=2).encode()
    done = budget_cli("loss", "-", *REWARDS, "-f", "json", stdin=b"\xef\xbb\xbf" + text)
    assert json.loads(done.stdout)["loss"] == LOSS


@pytest.mark.parametrize("name", CONTAINERS)
def test_every_command_reads_a_document(budget_cli: Run, tmp_path: Path, name: str) -> None:
    path = written(tmp_path / "a.json", CONTAINERS[name], 1)
    assert budget_cli("check", path).returncode == 0
    assert budget_cli("sweep", path, "--kl-coef", "0", "--beta", "0,0").returncode in (0, 2)
    assert budget_cli("report", path, *REWARDS, "-o", tmp_path / "a.html").returncode == 0
    assert budget_cli("fields", path).returncode == 0
    assert budget_cli("compare", path, path, *REWARDS).returncode == 0
    assert budget_cli("summarize", path, *REWARDS, "-o", tmp_path / "s.jsonl").returncode == 0
    done = budget_cli("loss", tmp_path / "s.jsonl", *REWARDS, "-f", "json")
    assert json.loads(done.stdout)["loss"] == LOSS


def terms(value: Any) -> list[Any]:
    """Return what annotate wrote into the records of a document, in their order."""
    if isinstance(value, list):
        return [term for each in value for term in terms(each)]
    if not isinstance(value, dict):
        return []
    own = value.pop("budget_cli", None)
    found = [] if own is None else own["advantage"] if isinstance(own["advantage"], list) else [own["advantage"]]
    return found + [term for each in value.values() for term in terms(each)]


@pytest.mark.parametrize("name", [name for name in CONTAINERS if name != "a table"])
def test_annotate_keeps_the_document_and_adds_the_terms(budget_cli: Run, tmp_path: Path, name: str) -> None:
    path = written(tmp_path / "a.json", CONTAINERS[name], 1)
    done = budget_cli("annotate", path, *REWARDS)
    assert done.returncode == 0, done.stderr.decode()
    whole = json.loads(done.stdout)
    assert terms(whole) == [0.5, -0.5, 0, 0]
    assert whole == CONTAINERS[name]


@pytest.mark.parametrize("name", CONTAINERS)
def test_the_compiled_reader_gives_what_the_one_record_by_record_gives(
    loss_json: LossJson, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = written(tmp_path / "a.json", CONTAINERS[name])
    options = (*REWARDS, "--per-prompt", "--precision", "17")
    answer = loss_json(path, *options)
    monkeypatch.setattr(documents, "_decoded_at_once", lambda *_: None)
    assert loss_json(path, *options) == answer


@pytest.mark.parametrize("name", ["oat.json", "rllm.json", "inspect-ai.json"])
def test_checks_of_a_document_do_not_depend_on_the_reader(
    budget_cli: Run, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    command = ("check", Path(__file__).parents[1] / "dumps" / name, "--text", "-f", "json")
    found = budget_cli(*command)
    monkeypatch.setattr(documents, "_decoded_at_once", lambda *_: None)
    assert budget_cli(*command).stdout == found.stdout != b""


# ---- what a record sees of what is around it


def test_an_id_beside_the_list_is_that_of_its_records(loss_json: LossJson, tmp_path: Path) -> None:
    prompts = [{"prompt_id": "p", "samples": BARE_P}, {"prompt_id": "q", "samples": BARE_Q}]
    path = written(tmp_path / "a.json", prompts)
    assert loss_json(path, *REWARDS, "--records", "[].samples[]")["loss"] == LOSS


def test_a_mean_beside_the_list_is_not_the_reward_of_a_record_without_one(budget_cli: Run, tmp_path: Path) -> None:
    path = written(tmp_path / "a.json", {"reward": 0.9, "results": [*P, {"prompt_id": "p"}]})
    done = budget_cli("loss", path, *REWARDS)
    assert done.returncode == 1
    assert "results[2].reward: reward: missing" in done.stdout.decode()


def test_keys_and_indexes_of_lists_in_lists_make_an_id_together(loss_json: LossJson, tmp_path: Path) -> None:
    value = {"a": {"t": BARE_P, "u": BARE_Q}, "b": {"t": BARE_Q, "u": BARE_P}}
    answer = loss_json(written(tmp_path / "a.json", value), *REWARDS, "--records", "*.*[]", "--per-prompt")
    assert [one["prompt_id"] for one in answer["per_prompt"]] == ["a/t", "a/u", "b/t", "b/u"]


def test_lists_of_other_files_are_other_prompts_by_index_and_the_same_by_key(
    loss_json: LossJson, tmp_path: Path
) -> None:
    for name in ("1.json", "2.json"):
        written(tmp_path / name, [BARE_P, BARE_Q])
    assert loss_json(tmp_path, *REWARDS)["prompts"] == 4
    for name in ("1.json", "2.json"):
        written(tmp_path / name, {"t0": BARE_P, "t1": BARE_Q})
    assert loss_json(tmp_path, *REWARDS)["prompts"] == 2


def test_a_list_may_be_a_step(loss_json: LossJson, budget_cli: Run, tmp_path: Path) -> None:
    path = written(tmp_path / "a.json", {"step_1": [*P, *Q], "step_2": [*P, *Q]})
    refusal = error(budget_cli, path, status=2)
    assert "the prompt 'p' is in two lists of *[] (step_1, step_2): give --field step=_group if each" in refusal
    assert loss_json(path, *REWARDS, "--field", "step=_group")["prompts"] == 4
    assert loss_json(path, *REWARDS, "--records", "*[]")["prompts"] == 2
    assert loss_json(path, *REWARDS, "--records", "step_2[]")["responses"] == 4


def test_group_size_counts_the_records_of_a_document(loss_json: LossJson, tmp_path: Path) -> None:
    path = written(tmp_path / "a.json", [*BARE_P, *BARE_Q], 1)
    answer = loss_json(path, *REWARDS, "--group-size", "2")
    assert (answer["loss"], answer["prompts"]) == (LOSS, 2)


@pytest.mark.parametrize("indent", [None, 1])
def test_records_of_a_framework_are_known_in_a_list(budget_cli: Run, tmp_path: Path, indent: int | None) -> None:
    rows = [{"uid": uid, "input": "i", "output": "o", "score": score} for uid, score in (("p", 1), ("p", 0))]
    done = budget_cli("loss", written(tmp_path / "a.json", {"n": 1, "rows": rows}, indent), *REWARDS, "-f", "json")
    assert json.loads(done.stdout)["loss"] == 0.25
    assert b"reading as verl-uid: prompt_id" in done.stderr


def test_lists_on_lines_are_read_line_by_line(loss_json: LossJson, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(f"{json.dumps(P)}\n{json.dumps(Q)}\n")
    answer = loss_json(path, *REWARDS)
    assert (answer["loss"], answer["records"]["read"]) == (LOSS, 2)
    path.write_text("".join(json.dumps({"n": 1, "samples": each}) + "\n" for each in (P, Q)))
    assert loss_json(path, *REWARDS, "--records", "samples[]")["loss"] == LOSS


def test_a_preset_of_the_users_own_may_name_such_a_place(loss_json: LossJson, tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text('[mine]\ndocument = true\nrecords = "eval.*[]"\nprompt_id = "task"\nreward = "ok"\n')
    tasks = {name: [{"task": name, "ok": 1}, {"task": name, "ok": 0}] for name in ("a/1", "a/2")}
    path = written(tmp_path / "a.json", {"eval": tasks}, 1)
    assert loss_json(path, *REWARDS, "--presets", own, "--preset", "mine")["loss"] == 0.25


# ---- nothing is guessed


def test_two_lists_of_records_are_named_with_the_option_that_chooses(
    budget_cli: Run, loss_json: LossJson, tmp_path: Path
) -> None:
    path = written(tmp_path / "a.json", {**META, "before": P, "after": Q}, 1)
    refusal = error(budget_cli, path, status=2)
    assert refusal.endswith("there are records in before[] and in after[]: name one, as in --records 'before[]'")
    named = shlex.split(refusal.partition("as in ")[2])
    assert loss_json(path, *REWARDS, *named)["loss"] == 0.25


@pytest.mark.parametrize("keys", [("train", "eval"), ("test", "dev")])
def test_splits_are_never_read_as_one_dump(budget_cli: Run, loss_json: LossJson, tmp_path: Path, keys: Any) -> None:
    path = written(tmp_path / "a.json", dict(zip(keys, (P, Q), strict=True)))
    refusal = error(budget_cli, path, status=2)
    assert f"there are records in {keys[0]}[] and in {keys[1]}[]: name one, as in --records '{keys[0]}[]'" in refusal
    assert loss_json(path, *REWARDS, *shlex.split(refusal.partition("as in ")[2]))["loss"] == 0.25


def test_a_place_without_records_is_refused_with_those_that_there_are(budget_cli: Run, tmp_path: Path) -> None:
    path = written(tmp_path / "a.json", {"results": P}, 1)
    refusal = error(budget_cli, path, "--records", "outputs[]", status=2)
    missing = "outputs: missing: expected a list; there are objects in results[]"
    assert refusal == f"--records outputs[]: {path}: {missing}"
    refusal = error(budget_cli, path, "--records", "results", status=2)
    assert refusal == "--records results: expected a place such as results[], eval.*[] or [][]"


# ---- what is wrong with a document


BAD: dict[str, tuple[bytes, int, str]] = {
    "cut off": (json.dumps([*P, *Q]).encode()[:-5], 3, "this JSON document is cut off in [3].reward (line 1, column"),
    "cut off, indented": (json.dumps([*P, *Q], indent=1).encode()[:-30], 3, "this JSON document is cut off in [3]"),
    "cut off in a string": (b'[{"prompt_id": "p', 3, "this JSON document is cut off in [0].prompt_id (line 1, column"),
    "too deep": (b"[" * 10_000 + b"]" * 10_000, 3, "this JSON document is nested deeper than 1024 levels"),
    "two lists": (json.dumps(P).encode() * 2, 3, "a second JSON value begins at line 1, column "),
    "two lists, indented": (json.dumps(P, indent=1).encode() * 2, 3, "a second JSON value begins at line 10, column 2"),
    "a comma too many": (b'[{"reward": 1,}]', 3, "this is no JSON document: trailing comma is not allowed in [0]"),
    "single quotes": (b"[{'reward': 1}]", 3, "this is no JSON document: unexpected character, expected a string key"),
    "Latin-1": (b'[{"a": "\xe9"}]', 3, "this is no JSON document: byte 0xe9 is not UTF-8 in [0].a (line 1, column 9)"),
    "numbers": (b"[1, 2]", 3, "a JSON document, a list without records in it: expected a list of objects"),
    "an empty list": (b"[]", 3, "a JSON document, a list without records in it: expected a list of objects"),
    "UTF-16": (json.dumps(P).encode("utf-16"), 3, "this is UTF-16, expected UTF-8: try `iconv"),
    "HTML": (
        b"<!DOCTYPE html>\n<html><title>404 Not Found</title>",
        3,
        "an HTML page in place of the dump (404 Not Found)",
    ),
    "XML": (
        b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
        3,
        "XML in place of the dump (AccessDenied)",
    ),
    "a log": (
        b"2026-01-01 12:00:01 INFO start\n2026-01-01 12:00:02 INFO end\n",
        3,
        "a log, not a dump: its first line",
    ),
    "another log": (b"INFO:root:saved\nINFO:root:done\n", 3, "a log, not a dump: its first line is 'INFO:root:saved'"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_document_is_called_what_it_is(budget_cli: Run, tmp_path: Path, name: str) -> None:
    content, status, message = BAD[name]
    (tmp_path / "a.json").write_bytes(content)
    found = budget_cli("loss", "a.json", *REWARDS, cwd=tmp_path)
    assert found.returncode == status
    lines = [line for line in found.stderr.decode().splitlines() if not line.startswith("budget-cli: fail: ")]
    assert len(lines) == 1
    assert lines[0].startswith(f"budget-cli: a.json: {message}")
    piped = budget_cli("loss", "-", *REWARDS, stdin=content)
    assert piped.returncode == status


def test_an_object_that_is_cut_off_on_its_only_line_is_a_last_line_that_is_cut_off(
    budget_cli: Run, tmp_path: Path
) -> None:
    (tmp_path / "a.json").write_bytes(json.dumps({"results": [*P, *Q]}).encode()[:-5])
    done = budget_cli("loss", "a.json", *REWARDS, cwd=tmp_path)
    assert done.returncode == 1
    assert "a.json:1:" in done.stdout.decode()
    assert "the last line is cut off" in done.stdout.decode()


@pytest.mark.parametrize("name", ["HTML", "XML", "a log"])
def test_another_file_among_dumps_is_called_what_it_is(budget_cli: Run, tmp_path: Path, name: str) -> None:
    (tmp_path / "1.jsonl").write_text("".join(json.dumps(one) + "\n" for one in P))
    (tmp_path / "2.jsonl").write_bytes(BAD[name][0])
    done = budget_cli("loss", "1.jsonl", "2.jsonl", *REWARDS, "-f", "json", cwd=tmp_path)
    assert done.returncode == 3
    assert f"2.jsonl: {BAD[name][2]}" in done.stderr.decode()
    assert json.loads(done.stdout)["responses"] == 2


@pytest.mark.parametrize(
    "content", [b"saved 8 rollouts\n", b"12:30 noon\n", b"<3 this\n", b"INFORMATION\n", b"error\n"]
)
def test_a_line_that_only_might_be_of_a_log_is_a_rejection(budget_cli: Run, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.jsonl").write_bytes(content)
    assert budget_cli("loss", tmp_path / "a.jsonl", *REWARDS).returncode == 1


def test_a_log_line_before_the_records_costs_only_itself(budget_cli: Run, tmp_path: Path) -> None:
    text = "2026-01-01 12:00:01 INFO start\n" + "".join(json.dumps(one) + "\n" for one in P)
    (tmp_path / "a.jsonl").write_text(text)
    done = budget_cli("loss", tmp_path / "a.jsonl", *REWARDS, "--max-errors", "1", "-f", "json")
    assert (done.returncode, json.loads(done.stdout)["loss"]) == (0, 0.25)


@pytest.mark.parametrize("known", [False, True])
def test_a_document_that_is_too_long_says_what_allows_for_it(
    budget_cli: Run, loss_json: LossJson, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    """Whether its beginning was read for detection or not."""
    if not known:
        monkeypatch.setattr(detection, "HEAD_BYTES", 1 << 12)
        monkeypatch.setattr(detection, "LONGEST_BYTES", 1 << 16)
    path = written(tmp_path / "a.json", [{**one, "text": "x" * (2 << 20)} for one in P], 1)
    done = budget_cli("loss", path, "--max-line-bytes", "65536", *REWARDS)
    assert done.returncode == 3
    message = done.stderr.decode().splitlines()[-1].removeprefix(f"budget-cli: {path}: ")
    assert message.startswith("a JSON document of more than 65,536 bytes, which is read in whole: --max-line-bytes 4")
    named = shlex.split(message.rpartition(": ")[2].partition(" allows")[0])
    assert loss_json(path, *REWARDS, *named)["loss"] == 0.25


# ---- where in a document


def test_a_rejection_names_the_path_and_costs_one_record(budget_cli: Run, tmp_path: Path) -> None:
    records = [*P, {"prompt_id": "q", "score": "high"}, 7, {"prompt_id": "q", "score": float("nan")}]
    for one in records[:2]:
        one["score"] = one["reward"]
    path = written(tmp_path / "a.json", {"results": records}, 1)
    named = ("--field", "reward=score", "--records", "results[]", "-v")
    done = budget_cli("loss", "a.json", *REWARDS, *named, cwd=tmp_path)
    assert done.returncode == 1
    rejected = [
        line.split("  ", 1)[1].strip() for line in done.stdout.decode().splitlines() if line.startswith("rejected")
    ]
    assert rejected[0] == "a.json: results[2].score: reward (score): expected a number, found a string"
    assert rejected[1] == "a.json: results[3]: expected an object, found a number"
    assert rejected[2] == "a.json: results[4]: NaN or Infinity is not a number that can be averaged"
    answer = json.loads(budget_cli("loss", path, *REWARDS, *named, "-f", "json").stdout)
    assert (answer["records"]["read"], answer["records"]["used"], answer["loss"]) == (5, 2, 0.25)
    assert [(one["line"], one["column"], one["path"]) for one in answer["rejections"]] == [
        (3, None, "results[2].score"),
        (4, None, "results[3]"),
        (5, None, "results[4]"),
    ]
    assert budget_cli("loss", path, *REWARDS, *named, "--max-errors", "3").returncode == 0
    noted = budget_cli("loss", "a.json", *REWARDS, *named, "-f", "github", cwd=tmp_path).stdout.decode()
    assert "file=a.json,title=budget-cli loss%3A wrong-type::results[2].score: reward (score): expected" in noted


def test_the_path_of_a_rejection_outlives_a_summary(budget_cli: Run, tmp_path: Path) -> None:
    path = written(tmp_path / "a.json", {"eval": {"t/0": [*P, {"prompt_id": "p"}], "t/1": Q}})
    summary = tmp_path / "s.jsonl"
    assert budget_cli("summarize", path, *REWARDS, "-o", summary, "--max-errors", "1").returncode == 0
    shown = budget_cli("loss", summary, *REWARDS, "--max-errors", "1").stdout.decode()
    assert 'a.json: eval["t/0"][2].reward: reward: missing' in shown


def test_a_rejected_record_stays_in_an_annotated_document(budget_cli: Run, tmp_path: Path) -> None:
    records = [P[0], 7, {"prompt_id": "p"}, [1], P[1]]
    path, rejects = written(tmp_path / "a.json", {"results": records}), tmp_path / "rejects.jsonl"
    options = (*REWARDS, "--records", "results[]", "--max-errors", "3")
    done = budget_cli("annotate", path, *options, "--rejects", rejects)
    assert done.returncode == 0, done.stderr.decode()
    assert f"3 of 5 records have no terms; copies are in {rejects}" in done.stderr.decode()
    whole = json.loads(done.stdout)
    assert terms(whole) == [0.5, -0.5]
    assert whole == {"results": records}
    assert [json.loads(line) for line in rejects.read_text().splitlines()] == [7, {"prompt_id": "p"}, [1]]


def test_samples_that_are_left_out_of_a_document_stay_in_it(budget_cli: Run, tmp_path: Path) -> None:
    path = written(
        tmp_path / "a.json", [{**P[0], "split": "train"}, {**P[1], "split": "train"}, {**Q[0], "split": "eval"}]
    )
    options = (*REWARDS, "--where", "split == 'train'")
    answer = json.loads(budget_cli("loss", path, *options, "-f", "json").stdout)
    assert (answer["loss"], answer["records"]["left_out"]) == (0.25, 1)
    assert terms(json.loads(budget_cli("annotate", path, *options).stdout)) == [0.5, -0.5]


@pytest.mark.parametrize(
    ("form", "options", "place"),
    [
        ('{{"t0": {q}, "t1": {q}, "t0": {p}}}', (), "t0"),
        ('{{"t0": {p}, "t1": {q}, "t0": null}}', ("--records", "*[]"), "t0"),
        ('{{"t0": {p}, "t1": {q}, "t\\u0030": {p}}}', (), "t0"),
        ('{{"results": {i}, "results": {i}}}', (), "results"),
        ('{{"results": {i}, "result\\u0073": {i}}}', (), "results"),
        ('{{"eval": {{"a": {p}, "b": {q}, "a": {p}}}}}', (), "eval.a"),
        ('[{{"samples": {i}}}, {{"samples": {i}, "samples": {i}}}]', ("--records", "[].samples[]"), "[1].samples"),
    ],
)
@pytest.mark.parametrize("command", ["loss", "check", "annotate"])
def test_a_repeated_key_on_the_way_to_records_is_refused(
    budget_cli: Run, tmp_path: Path, form: str, options: tuple[str, ...], place: str, command: str
) -> None:
    text = form.format(p=json.dumps(BARE_P), q=json.dumps(BARE_Q), i=json.dumps(P))
    (tmp_path / "a.json").write_text(text)
    done = budget_cli(command, "a.json", *(REWARDS if command != "check" else ()), *options, cwd=tmp_path)
    assert done.returncode == 3
    expected = f"a.json: the key {place} stands twice, and only the last would count: rename one of the two"
    assert expected in done.stderr.decode()


def test_a_repeated_key_elsewhere_is_not_refused(loss_json: LossJson, tmp_path: Path) -> None:
    records = [{**one, "results": [1]} for one in (*P, *Q)]
    text = json.dumps({"results": records, "note": '"results": ['}).replace(
        '"results": [1]', '"results": [1], "results": [2]'
    )
    (tmp_path / "a.json").write_text(text)
    assert loss_json(tmp_path / "a.json", *REWARDS)["loss"] == LOSS


@pytest.mark.parametrize(
    "name", ["a list", "results", "lists by key", "lists of lists, without ids", "one record per key"]
)
def test_a_finding_names_the_path_of_its_record(budget_cli: Run, tmp_path: Path, name: str) -> None:
    """Of the second prompt, whose rewards are equal."""
    paths = {
        "a list": "[2]",
        "results": "results[2]",
        "lists by key": "eval.t1[0]",
        "lists of lists, without ids": "[1][0]",
        "one record per key": "t1",
    }
    written(tmp_path / "a.json", CONTAINERS[name], 1)
    done = budget_cli("check", "a.json", "-f", "json", cwd=tmp_path)
    (finding,) = (one for one in json.loads(done.stdout)["findings"] if one["code"] == "zero-variance")
    assert finding["evidence"][0]["path"] == paths[name]
    assert f"a.json: {paths[name]}  info  zero-variance" in budget_cli("check", "a.json", cwd=tmp_path).stdout.decode()
    noted = budget_cli("check", "a.json", "-f", "github", cwd=tmp_path).stdout.decode()
    assert f"::notice file=a.json,title=zero-variance::{paths[name]}: " in noted


def test_a_repeated_key_is_found_in_a_document_of_many_lines(budget_cli: Run, tmp_path: Path) -> None:
    text = json.dumps([*P, *Q], indent=1).replace('"reward": 1.0', '"reward": 0.0,\n "reward": 1.0')
    (tmp_path / "a.json").write_text(text)
    done = budget_cli("check", tmp_path / "a.json", "--duplicate-keys", "-f", "json")
    assert "duplicate-keys" in {one["code"] for one in json.loads(done.stdout)["findings"]}


def test_fields_shows_the_records_of_a_document_whose_fields_are_not_known_yet(budget_cli: Run, tmp_path: Path) -> None:
    path = written(tmp_path / "a.json", {"run": 1, "rows": [{"qid": "a", "points": 1}, {"qid": "a", "points": 0}]}, 1)
    done = budget_cli("fields", path)
    assert done.returncode == 1
    assert "2 samples" in done.stdout.decode()


def test_a_record_on_the_only_line_is_not_taken_for_a_document(
    budget_cli: Run, loss_json: LossJson, tmp_path: Path
) -> None:
    """Whose responses are in a list: what the refusal proposes is about the record."""
    record = {"question": "x", "samples": [{"text": "a", "score": 1.0}, {"text": "b", "score": 0.0}]}
    path = written(tmp_path / "a.jsonl", record)
    refusal = error(budget_cli, path, status=2)
    assert "a JSON document" not in refusal
    named = shlex.split(refusal.partition("give ")[2].partition(", or --preset")[0].partition(", though ")[0])
    assert loss_json(path, *REWARDS, *named)["loss"] == 0.25


# ---- lists within the objects of a list, and lists by key with other members beside them


def qid(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"question_id": one["prompt_id"], "reward": one["reward"]} for one in records]


INSIDE: dict[str, tuple[Any, str]] = {
    "steps in a list": ([{"step": 1, "samples": [*P, *Q]}, {"step": 2, "samples": [*Q, *P]}], "[].samples[]"),
    "one step in a list": ([{"samples": [*P, *Q]}], "[].samples[]"),
    "steps by key": ({"a": {"samples": P}, "b": {"samples": Q}}, "*.samples[]"),
    "lists deep inside": ({"eval": {"y": [{"items": [*P, *Q]}]}}, "eval.y[].items[]"),
    "lists in lists": ([{"groups": [{"samples": P}, {"samples": Q}]}], "[].groups[].samples[]"),
}


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("name", INSIDE)
def test_records_with_ids_in_the_objects_of_a_list_keep_them(
    budget_cli: Run, loss_json: LossJson, tmp_path: Path, name: str, indent: int | None
) -> None:
    value, place = INSIDE[name]
    path = written(tmp_path / "a.json", value, indent)
    answer = loss_json(path, *REWARDS)
    assert (answer["loss"], answer["prompts"]) == (LOSS, 4 if name == "steps in a list" else 2)
    assert loss_json(path, *REWARDS, "--records", place)["loss"] == LOSS
    shown = json.loads(budget_cli("fields", path, "-f", "json").stdout)
    assert {one["name"]: one["place"] for one in shown["fields"] if one["samples"]}["prompt_id"] == "prompt_id"


def test_records_with_ids_in_the_lists_of_lines_keep_them(loss_json: LossJson, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"step": n, "samples": [*P, *Q]}) + "\n" for n in (1, 2)))
    answer = loss_json(path, *REWARDS)
    assert (answer["loss"], answer["prompts"], answer["responses"]) == (LOSS, 4, 8)


@pytest.mark.parametrize("lines", [False, True])
def test_ids_of_another_name_in_the_objects_of_a_list_are_proposed(
    budget_cli: Run, loss_json: LossJson, tmp_path: Path, lines: bool
) -> None:
    steps = [{"step": n, "samples": [*qid(P), *qid(Q)]} for n in (1, 2)]
    path = written(tmp_path / "a.jsonl", steps)
    if lines:
        path.write_text("".join(json.dumps(step) + "\n" for step in steps))
    place = "samples[]" if lines else "[].samples[]"
    refusal = error(budget_cli, path, status=2)
    held = "lines" if lines else "a JSON document"
    assert refusal.startswith(f"{path}: {held} with records in {place}: give --records '{place}' --field ")
    assert "--group" not in refusal
    answer = loss_json(path, *shlex.split(refusal.partition("give ")[2]), *REWARDS)
    assert (answer["loss"], answer["prompts"]) == (LOSS, 4)
    shown = json.loads(budget_cli("fields", path, "-f", "json").stdout)["command"]
    assert loss_json(*shlex.split(shown)[2:], *REWARDS)["loss"] == LOSS


@pytest.mark.parametrize("names", [("prompt_id", "reward"), ("question_id", "seen")])
def test_the_turns_of_a_rollout_are_no_records(budget_cli: Run, tmp_path: Path, names: tuple[str, str]) -> None:
    turns = [dict(zip(names, values, strict=True)) for values in (("x", 1), ("x", 0), ("y", 1))]
    lines = [{"uid": f"u{i // 4}", "score": float(i % 3 == 0), "turns": turns} for i in range(12)]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert "--field prompt_id=uid --field reward=score" in error(budget_cli, path, status=2)


def test_an_index_in_the_objects_of_a_list_is_no_id(budget_cli: Run, tmp_path: Path) -> None:
    """It comes back in each list, and once in each."""
    rollouts = [[{"id": i, "reward": one["reward"]} for i, one in enumerate(each)] for each in (P, Q, P, Q)]
    path = written(tmp_path / "a.json", [{"samples": each} for each in rollouts])
    assert "--group line" in error(budget_cli, path, status=2)


@pytest.mark.parametrize("options", [(), ("--records", "*[]")])
def test_what_is_beside_one_prompt_per_key_is_named(budget_cli: Run, tmp_path: Path, options: tuple[str, ...]) -> None:
    written(tmp_path / "a.json", {"t0": BARE_P, "t1": BARE_Q, "meta": META, "seed": 1})
    done = budget_cli("loss", "a.json", *REWARDS, *options, "-f", "json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    assert (json.loads(done.stdout)["loss"], json.loads(done.stdout)["prompts"]) == (LOSS, 2)
    assert done.stderr.decode() == "budget-cli: a.json: left out, as no list of records: meta, seed\n"


def test_the_reward_of_one_prompt_per_key_is_proposed_for_all_keys(
    budget_cli: Run, loss_json: LossJson, tmp_path: Path
) -> None:
    scores = [[{"score": one["reward"], "text": "t"} for one in each] for each in (BARE_P, BARE_Q)]
    path = written(tmp_path / "a.json", {"t0": scores[0], "t1": scores[1], "meta": META})
    refusal = error(budget_cli, path, status=2)
    assert "give --records '*[]' --field reward=score" in refusal
    assert loss_json(path, *shlex.split(refusal.partition("give ")[2]), *REWARDS)["loss"] == LOSS


@pytest.mark.parametrize("options", [(), ("--records", "*[]")])
def test_a_record_beside_one_prompt_per_key_is_not_left_out(
    budget_cli: Run, tmp_path: Path, options: tuple[str, ...]
) -> None:
    written(tmp_path / "a.json", {"t0": BARE_P, "t1": BARE_Q, "t2": {"reward": 1.0}})
    done = budget_cli("loss", "a.json", *REWARDS, *options, cwd=tmp_path)
    assert done.returncode == 2
    assert "a.json: t2: expected a list, found an object" in done.stderr.decode()


def test_prompts_of_another_name_are_not_the_keys_of_their_lists(
    budget_cli: Run, loss_json: LossJson, tmp_path: Path
) -> None:
    path = written(tmp_path / "a.json", {"s1": [*qid(P), *qid(Q)], "s2": [*qid(Q), *qid(P)]})
    for options in ((), ("--records", "*[]")):
        refusal = error(budget_cli, path, *options, status=2)
        assert "--field prompt_id=question_id" in refusal
    answer = loss_json(path, *REWARDS, "--field", "prompt_id=question_id", "--field", "step=_group")
    assert (answer["loss"], answer["prompts"]) == (LOSS, 4)


# ---- one record, or columns, over many lines; and what is no dump


@pytest.mark.parametrize("command", ["loss", "check", "fields", "annotate"])
def test_one_record_over_many_lines_is_a_record(budget_cli: Run, tmp_path: Path, command: str) -> None:
    written(tmp_path / "a.json", P[0], 2)
    named = REWARDS if command in ("loss", "annotate") else ()
    done = budget_cli(command, "a.json", *named, *(("-f", "json") if command != "annotate" else ()), cwd=tmp_path)
    answer = json.loads(done.stdout)
    if command == "loss":
        assert (done.returncode, answer["loss"], answer["responses"]) == (0, 0, 1)
    elif command == "annotate":
        assert (done.returncode, terms(answer)) == (0, [0])
    assert b"JSON lines are expected" not in done.stderr


@pytest.mark.parametrize("indent", [None, 1])
def test_arrays_of_ids_and_rewards_are_columns(
    budget_cli: Run, loss_json: LossJson, tmp_path: Path, indent: int | None
) -> None:
    columns = {name: [one[name] for one in (*P, *Q)] for name in ("prompt_id", "reward")}
    path = written(tmp_path / "a.json", {**columns, "step": 3, "tags": ["x"]}, indent)
    answer = loss_json(path, *REWARDS)
    assert (answer["loss"], answer["prompts"], answer["responses"]) == (LOSS, 2, 4)
    assert json.loads(budget_cli("fields", path, "-f", "json").stdout)["samples"] == 4
    assert terms(json.loads(budget_cli("annotate", path, *REWARDS).stdout)) == [0.5, -0.5, 0, 0]


def test_arrays_of_other_lengths_are_not_guessed_to_be_columns(budget_cli: Run, tmp_path: Path) -> None:
    path = written(tmp_path / "a.json", {"prompt_id": ["p", "p"], "reward": [1.0, 0.0, 1.0]}, 1)
    assert budget_cli("loss", path, *REWARDS).returncode != 0


def test_a_list_before_records_says_what_makes_lines_of_both(
    budget_cli: Run, loss_json: LossJson, tmp_path: Path
) -> None:
    (tmp_path / "a.json").write_text(f"{json.dumps(P)}\n{json.dumps(Q[0])}\n")
    done = budget_cli("loss", "a.json", *REWARDS, cwd=tmp_path)
    assert done.returncode == 3
    expected = (
        "budget-cli: a.json: a list on its first line, and more lines after it: expected one record on each line, or"
        """ nothing but lists: make lines of it: jq -c 'if type == "array" then .[] else . end' a.json"""
    )
    assert done.stderr.decode().startswith(expected)


def test_an_empty_object_is_called_empty(budget_cli: Run, tmp_path: Path) -> None:
    path = written(tmp_path / "a.json", {})
    assert error(budget_cli, path, status=3) == f"{path}: a JSON document that is empty, {{}}: expected records"


def test_a_file_of_a_folder_that_no_preset_fits_is_named_with_what_leaves_it_out(
    budget_cli: Run, loss_json: LossJson, tmp_path: Path
) -> None:
    (tmp_path / "log.jsonl").write_text('{"a": 1}\n')
    (tmp_path / "r.jsonl").write_text("".join(json.dumps(one) + "\n" for one in P))
    refusal = error(budget_cli, tmp_path, status=2)
    assert refusal.startswith(f"{tmp_path / 'log.jsonl'}: no prompt_id and reward, and no preset fits (found a); give ")
    named = shlex.split(refusal.partition("leave it out of its folder with ")[2].rstrip(")"))
    assert named == ["--exclude", "log.jsonl"]
    assert loss_json(tmp_path, *REWARDS, *named)["loss"] == 0.25
