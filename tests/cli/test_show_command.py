"""If this fails, `show` shows other responses than those asked for, other numbers than annotate, or not their texts."""

import csv
import json
import os
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command import Run
from samples import lines
from test_annotate_command import CHANGES

from budget_cli.cli.session import Session
from budget_cli.scanning import formats
from budget_cli.sources import blocks

FLAGS = ("-B", "100", "--precision", "17")


def made(i: int, chance: random.Random) -> dict[str, Any]:
    return {
        "prompt_id": f"p{i // 4 % 20}",
        "reward": chance.random(),
        "response_length": chance.randrange(40, 400),
        "log_prob": [-chance.random() for _ in range(3)],
        "old_log_prob": [-chance.random() for _ in range(3)],
        "prompt_text": f"question {i // 4 % 20}",
        "response_text": f"answer {i}",
        "finish_reason": "stop",
    }


@pytest.fixture(scope="session")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records of several blocks."""
    chance = random.Random(11)
    records = [made(i, chance) | {"padding": "x" * (blocks.BLOCK_BYTES // 60)} for i in range(160)]
    path = tmp_path_factory.mktemp("dumps") / "texts.jsonl"
    path.write_bytes(lines(records))
    return path


def shown(budget_cli: Run, *arguments: str | Path, stdin: bytes | None = None) -> list[dict[str, Any]]:
    """Return the responses that are shown, in order, each with the id of its prompt."""
    done = budget_cli("show", *arguments, *FLAGS, "-f", "json", stdin=stdin)
    assert done.returncode == 0, done.stderr.decode()
    prompts = json.loads(done.stdout)["prompts"]
    return [{"prompt_id": prompt["prompt_id"], **one} for prompt in prompts for one in prompt["shown"]]


def annotated(budget_cli: Run, *arguments: str | Path) -> list[dict[str, Any]]:
    written = budget_cli("annotate", *arguments, "-B", "100").stdout.splitlines()
    return [{"line": at, **json.loads(line)} for at, line in enumerate(written, start=1)]


RANKS = {
    "loss": lambda record: record["budget_cli"]["loss"],
    "penalty": lambda record: record["budget_cli"]["penalty"],
    "length": lambda record: record["response_length"],
    "advantage": lambda record: abs(record["budget_cli"]["advantage"]),
    "log-ratio": lambda record: abs(record["budget_cli"]["log_ratio"]),
}


@pytest.mark.parametrize("by", RANKS)
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_the_first_responses_by_a_rank_have_the_terms_of_annotate(
    budget_cli: Run, texts: Path, by: str, jobs: str
) -> None:
    records = sorted(annotated(budget_cli, texts), key=lambda record: -RANKS[by](record))[:7]
    found = shown(budget_cli, texts, "--top", "7", "--by", by, "-j", jobs)
    of_line = {one["line"]: one for one in found}
    assert set(of_line) == {record["line"] for record in records}
    for record in records:
        one = of_line[record["line"]]
        assert one["prompt_id"] == record["prompt_id"]
        for name in ("penalty", "advantage", "log_ratio", "loss"):
            assert one[name] == pytest.approx(record["budget_cli"][name], rel=1e-13), name
        assert (one["text"], one["length"], one["finish_reason"]) == (
            record["response_text"],
            record["response_length"],
            "stop",
        )


def test_all_responses_to_a_prompt_are_shown_in_order_with_its_question(budget_cli: Run, texts: Path) -> None:
    done = budget_cli("show", texts, "--prompt", "p3", "--prompt", "p7", *FLAGS, "-f", "json")
    first, second = json.loads(done.stdout)["prompts"]
    assert (first["question"], second["question"]) == ("question 3", "question 7")
    assert (first["responses"], [one["line"] for one in first["shown"]]) == (8, [13, 14, 15, 16, 93, 94, 95, 96])
    piped = shown(budget_cli, "--prompt", "p3", stdin=texts.read_bytes())
    assert [one["line"] for one in piped] == [13, 14, 15, 16, 93, 94, 95, 96]


def test_the_responses_of_parquet_are_those_of_the_lines(budget_cli: Run, texts: Path, tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    path = tmp_path / "texts.parquet"
    rows = [json.loads(line) for line in texts.read_bytes().splitlines()]
    parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=50)
    for selection in (("--top", "7"), ("--prompt", "p3")):
        of_rows, of_lines = (shown(budget_cli, file, *selection) for file in (path, texts))
        assert [{**one, "source": ""} for one in of_rows] == [{**one, "source": ""} for one in of_lines]


def test_the_responses_of_documents_and_tables_are_those_of_the_lines(
    budget_cli: Run, texts: Path, tmp_path: Path
) -> None:
    rows = [json.loads(line) for line in texts.read_bytes().splitlines()]
    for row in rows:
        del row["padding"]
        row["log_prob"], row["old_log_prob"] = sum(row["log_prob"]), sum(row["old_log_prob"])
    (tmp_path / "a.jsonl").write_bytes(lines(rows))
    (tmp_path / "a.json").write_text(json.dumps({"results": rows}))
    with open(tmp_path / "a.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    for selection in (("--top", "7"), ("--prompt", "p3")):
        of_lines = shown(budget_cli, tmp_path / "a.jsonl", *selection)
        of_document = shown(budget_cli, tmp_path / "a.json", *selection)
        of_table = shown(budget_cli, tmp_path / "a.csv", *selection)
        piped = shown(budget_cli, *selection, stdin=(tmp_path / "a.csv").read_bytes())
        assert [{**one, "source": ""} for one in piped] == [{**one, "source": ""} for one in of_table]
        assert [one["path"] for one in of_document] == [f"results[{one['line'] - 1}]" for one in of_lines]
        assert [{**one, "source": "", "path": None} for one in of_document] == [
            {**one, "source": ""} for one in of_lines
        ]
        assert [{**one, "source": "", "line": one["line"] - 1} for one in of_table] == [
            {**one, "source": ""} for one in of_lines
        ]


ROW = {"prompt_id": 7, "reward": 0, "response_length": 5, "log_prob": [-1, -2, -6], "old_log_prob": [-1, -1.5, -2]}


def test_the_worst_tokens_are_those_whose_log_ratio_is_farthest_from_0(budget_cli: Run) -> None:
    (one,) = shown(budget_cli, stdin=lines([ROW]))
    assert one["worst_tokens"] == [
        {"position": 2, "log_prob": -6.0, "old_log_prob": -2.0, "log_ratio": -4.0},
        {"position": 1, "log_prob": -2.0, "old_log_prob": -1.5, "log_ratio": -0.5},
    ]
    text = budget_cli("show", "-B", "100", stdin=lines([ROW])).stdout.decode()
    assert "worst tokens by log-ratio, from 0: 2: -4, 1: -0.5\n" in text


def test_the_worst_tokens_beside_the_sampler_are_shown_too(budget_cli: Run) -> None:
    row = {**ROW, "sampler_log_prob": [-1, -2.25, -6]}
    (one,) = shown(budget_cli, stdin=lines([row]))
    assert one["worst_tokens_of_sampler"] == [
        {"position": 1, "log_prob": -2.0, "log_ratio": 0.25, "sampler_log_prob": -2.25}
    ]
    text = budget_cli("show", "-B", "100", stdin=lines([row])).stdout.decode()
    assert "worst tokens by log-ratio to the sampler, from 0: 1: +0.25\n" in text


def test_as_many_responses_are_announced_as_there_are(budget_cli: Run) -> None:
    text = budget_cli("show", "-B", "9", "--top", "7", stdin=lines([ROW, ROW])).stdout.decode()
    assert text.startswith("the 2 responses with the largest loss\n")


def test_a_response_in_an_array_is_named_by_its_place_in_the_line(budget_cli: Run) -> None:
    record = {
        "prompt_id": "a",
        "rewards": [0, 1, 0],
        "response_lengths": [50, 60, 170],
        "log_probs": [-1, -2, -3],
        "old_log_probs": [-1, -2, -3],
        "response_texts": ["x", "y", "z"],
        "prompt_text": "why?",
    }
    one, *_ = shown(budget_cli, "--by", "length", stdin=b"\n" + lines([record]))
    assert (one["line"], one["sample"], one["text"], one["excess"]) == (2, 2, "z", 70.0)
    text = budget_cli("show", "-B", "100", "--by", "length", stdin=lines([record])).stdout.decode()
    assert "    <stdin>:1 #2\n" in text


@pytest.mark.parametrize("group", [("--group", "line"), ("--group-size", "2"), ("--group", "file")])
def test_prompts_without_ids_are_shown_by_the_names_that_results_give_them(
    budget_cli: Run, texts: Path, group: tuple[str, str]
) -> None:
    done = budget_cli("loss", texts, "-B", "100", *group, "--per-prompt", "-f", "json")
    last = json.loads(done.stdout)["per_prompt"][-1]
    found = shown(budget_cli, texts, *group, "--prompt", str(last["prompt_id"]))
    assert len(found) == last["responses"]
    assert found[-1]["line"] == 160


def test_a_finding_is_shown_by_the_prompts_that_it_names(budget_cli: Run, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    records = [
        {**ROW, "prompt_id": i // 2, "reward": i % 2 if i < 4 else 0, "response_length": 90 + 20 * (i % 2)}
        for i in range(6)
    ]
    path.write_bytes(lines(records))
    found = shown(budget_cli, path, "--finding", "phantom-advantage")
    assert [(one["line"], one["marked"]) for one in found] == [(5, True), (6, False)]
    text = budget_cli("show", path, "-B", "100", "--finding", "phantom-advantage").stdout.decode()
    assert text.startswith("phantom-advantage: 1 prompt has equal rewards but unequal penalties")
    assert f"\n  > {path}:5\n" in text
    nothing = budget_cli("show", path, "-B", "100", "--finding", "positive-log-prob")
    assert (nothing.returncode, nothing.stdout.decode().splitlines()[0]) == (0, "check finds no positive-log-prob here")


LONG = "".join(f"line {i} of the answer\n" for i in range(400))


def test_texts_are_shortened_in_their_middle_unless_they_are_to_be_full(budget_cli: Run) -> None:
    data = lines([{**ROW, "response_text": LONG}])
    text = budget_cli("show", "-B", "9", stdin=data).stdout.decode()
    assert "line 0 of the answer" in text
    assert "line 399 of the answer" in text
    assert "line 200 of the answer" not in text
    assert "lines …\n" in text
    assert "line 200 of the answer" in budget_cli("show", "-B", "9", "--full", stdin=data).stdout.decode()
    (one,) = shown(budget_cli, stdin=data)
    assert one["text"] == LONG


HOSTILE = "\x1b[31mred\x1b[0m \u202eback\u202c \x9b2J ::error::x ##[group]\r\nnext"


def test_no_text_of_the_data_reaches_the_terminal_as_it_is(budget_cli: Run) -> None:
    record = {**ROW, "prompt_id": HOSTILE, "prompt_text": HOSTILE, "response_text": HOSTILE, "finish_reason": HOSTILE}
    text = budget_cli("show", "-B", "9", stdin=lines([record])).stdout.decode()
    assert not set(text) & set("\x1b\u202e\u202c\x9b\r")
    assert not any(line.lstrip().startswith("::") or "##[" in line for line in text.splitlines())


def test_without_a_place_for_texts_usual_names_are_tried_and_then_asked_for(budget_cli: Run) -> None:
    chat = [{"role": "user", "content": "17 + 25?"}]
    (one,) = shown(budget_cli, stdin=lines([{**ROW, "completion": "42", "messages": chat}]))
    assert one["text"] == "42"
    both = {"prompt_id": 7, "rewards": [1, 0], "question": "6 * 7?"}
    free = ("--beta", "0", "--kl-coef", "0", "--field", "rewards=rollouts[*].reward")
    for more in (
        {"response": ["42", "41"]},
        {"rollouts": [{"reward": 1, "response": "42"}, {"reward": 0, "response": "41"}]},
    ):
        several = shown(budget_cli, *free[: 6 if "rollouts" in more else 4], stdin=lines([{**both, **more}]))
        assert {one["sample"]: one["text"] for one in several} == {0: "42", 1: "41"}
    text = budget_cli("show", "-B", "9", stdin=lines([{**ROW, "said": "42"}])).stdout.decode()
    assert "no text   give --field response_text=PATH and --field prompt_text=PATH\n" in text
    assert "(the records have prompt_id, reward, response_length, log_prob, old_log_prob, said)\n" in text
    mapped = shown(budget_cli, "--field", "response_text=said", stdin=lines([{**ROW, "said": "42"}]))
    assert mapped[0]["text"] == "42"


@pytest.mark.parametrize(("change", "message"), CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("selection", [("--top", "2"), ("--prompt", "p2")], ids=" ".join)
def test_a_file_that_changes_between_the_two_passes_is_noticed(
    budget_cli: Run,
    small: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    selection: tuple[str, str],
    change: Callable[[bytes], bytes],
    message: str,
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(small.read_bytes())
    first_reading = Session.scan

    def scan(*arguments: Any) -> Any:
        found = first_reading(*arguments)
        path.write_bytes(change(path.read_bytes()))
        os.utime(path, ns=(0, 0))  # two writes may fall into one tick of the clock
        return found

    monkeypatch.setattr(Session, "scan", scan)
    done = budget_cli("show", path, "-B", "1000", *selection)
    assert (done.returncode, done.stdout) == (3, b"")
    assert message in done.stderr.decode()


REFUSED = [
    (("--prompt", "8"), "--prompt 8: none of the 1 prompt has this id"),
    (("--prompt", "p7"), "--prompt p7: none of the 1 prompt has this id (did you mean 7?)"),
    (("--prompt", "7", "--top", "3"), "--prompt and --top both choose what is shown: give one"),
    (("--prompt", "7", "--finding", "singleton"), "--prompt and --finding both choose what is shown: give one"),
    (("--finding", "phantom"), "--finding: no check is called 'phantom' (did you mean phantom-advantage?)"),
    (("--finding", "truncated"), "--finding truncated: this check cannot be made: no finish reason in these records"),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED)
def test_what_cannot_be_shown_is_refused(budget_cli: Run, arguments: tuple[str, ...], message: str) -> None:
    done = budget_cli("show", "-B", "9", *arguments, stdin=lines([ROW]))
    assert (done.returncode, done.stderr.decode()) == (2, f"budget-cli: {message}\n")


def test_rejected_records_fail_as_in_every_command(budget_cli: Run) -> None:
    done = budget_cli("show", "-B", "9", stdin=lines([ROW, {**ROW, "reward": None}]))
    assert (done.returncode, b"reward 0.0000" in done.stdout) == (1, True)
    assert done.stderr.decode().endswith("budget-cli: fail: 1 record of 2 rejected\n")


def test_only_the_blocks_that_hold_a_prompt_are_read_again(
    budget_cli: Run, texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    decode = formats.decode
    monkeypatch.setattr(formats, "decode", lambda *given: read.append(len(given[1])) or decode(*given))
    found = shown(budget_cli, texts, "--prompt", "p3", "-j", "1")
    assert [(one["line"], one["text"]) for one in found] == [
        (i + 1, f"answer {i}") for i in (12, 13, 14, 15, 92, 93, 94, 95)
    ]
    assert len(read) == 3 + 2  # of three blocks, in two passes
    read.clear()
    assert len(shown(budget_cli, texts, "--top", "1", "-j", "1")) == 1
    assert len(read) == 3 + 3


@pytest.mark.parametrize(
    "hostile", ["\x1b]0;t\x07\x9b31m", "\u202egnp\u2066\u200f", "</script>]]>\x00\r", "<img src=x>\x08"]
)
@pytest.mark.parametrize("form", ["table", "json"])
def test_no_string_of_the_data_controls_the_terminal(budget_cli: Run, hostile: str, form: str) -> None:
    texts = dict.fromkeys(("prompt_id", "prompt_text", "response_text", "finish_reason"), hostile)
    done = budget_cli("show", "-B", "9", "-f", form, "--full", stdin=lines([{**ROW, **texts}]))
    assert done.returncode == 0
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]", done.stdout.decode())
    if form == "json":
        (prompt,) = json.loads(done.stdout)["prompts"]
        assert (prompt["prompt_id"], prompt["shown"][0]["text"]) == (hostile, hostile)
