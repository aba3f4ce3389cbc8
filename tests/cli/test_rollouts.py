"""If this fails, a rollout that was written as several rows counts several times, or not as the trainer counts it."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from command import LossJson, Run

EXACT = ("--precision", "17")
FREE = ("--beta", "0", "--kl-coef", "0", *EXACT)
SHOWS = "budget-cli fields shows what each path holds"
MAPPED = ("--field", "rollout_id=sid", "--field", "turn=t")


def row(prompt: str, session: str | None, turn: int | None, reward: float, length: int = 1, k: float = 0) -> Any:
    record = {"prompt_id": prompt, "reward": reward, "response_length": length, "log_prob": -1.0, "old_log_prob": k - 1}
    return record | ({} if session is None else {"sid": session}) | ({} if turn is None else {"t": turn})


def dump(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


# a session of three turns, 1.0 in its last, and one of a single turn
SESSIONS = [row("p", "a", 0, 0.0, 10), row("p", "a", 1, 0.0, 20), row("p", "a", 2, 1.0, 30), row("p", "b", 0, 0.0, 50)]


def test_a_session_is_one_response_with_the_reward_of_its_last_turn(loss_json: LossJson, tmp_path: Path) -> None:
    path = dump(tmp_path / "a.jsonl", SESSIONS)
    found = loss_json(path, *FREE, *MAPPED)
    assert (found["loss"], found["responses"], found["rows"]) == (0.25, 2, 4)
    assert loss_json(path, *FREE)["loss"] == 0.1875  # without the mapping, four responses
    # the length is the sum of the turns, 60 and 50: 10 and 0 over, R' 0.9 and 0
    over = loss_json(path, "-B", "50", "--beta", "0.01", "--kl-coef", "0", *MAPPED)
    assert over["loss"] == pytest.approx(0.45**2, rel=1e-15)
    assert (over["length"]["max"], over["over_budget"]["excess_tokens"]) == (60, 10)


def test_log_probs_are_added_over_the_turns(loss_json: LossJson, tmp_path: Path) -> None:
    rows = [row("p", "a", 0, 0.0, k=0.25), row("p", "a", 1, 1.0, k=0.5), row("p", "b", 0, 0.0)]
    found = loss_json(dump(tmp_path / "a.jsonl", rows), "--beta", "0", "--kl-coef", "1", *MAPPED, *EXACT)
    # k is log_prob − old_log_prob: −0.75 and 0
    assert found["loss"] == pytest.approx(((0.5 + 0.75) ** 2 + 0.5**2) / 2, rel=1e-15)


def test_the_last_row_is_the_last_turn_wherever_it_stands(loss_json: LossJson, tmp_path: Path) -> None:
    shuffled = [SESSIONS[2], SESSIONS[3], SESSIONS[0], SESSIONS[1]]
    assert loss_json(dump(tmp_path / "a.jsonl", shuffled), *FREE, *MAPPED)["loss"] == 0.25
    no_turns = [{**one, "t": None} for one in SESSIONS]
    assert loss_json(dump(tmp_path / "b.jsonl", no_turns), *FREE, *MAPPED)["loss"] == 0.25


def test_a_row_without_a_rollout_is_a_response_of_its_own(loss_json: LossJson, tmp_path: Path) -> None:
    rows = [*SESSIONS, row("p", None, None, 1.0), row("p", None, None, 0.0)]
    found = loss_json(dump(tmp_path / "a.jsonl", rows), *FREE, *MAPPED)
    assert (found["loss"], found["responses"], found["rows"]) == (0.25, 4, 6)


def test_the_same_rollout_id_of_another_prompt_is_another_rollout(loss_json: LossJson, tmp_path: Path) -> None:
    rows = [row(prompt, session, 0, float(session == "a")) for prompt in "pq" for session in "ab"]
    assert loss_json(dump(tmp_path / "a.jsonl", rows), *FREE, *MAPPED)["responses"] == 4


@pytest.mark.parametrize("jobs", ["2", "3"])
def test_a_session_spread_over_the_file_is_one_whatever_the_jobs(
    loss_json: LossJson, tmp_path: Path, jobs: str
) -> None:
    chosen = random.Random(5)
    rows = [
        row(f"p{i}", s, t, chosen.choice([0.0, 0.5, 1.0]), chosen.randrange(90), chosen.gauss(0, 0.1))
        | {"pad": "x" * 400}
        for i in range(900)
        for s in "abc"
        for t in range(chosen.randrange(1, 4))
    ]
    chosen.shuffle(rows)
    path = dump(tmp_path / "a.jsonl", rows)
    whole = loss_json(path, "-B", "60", *EXACT, *MAPPED, "--jobs", "1")
    assert (whole["responses"], whole["rows"]) == (2700, len(rows))
    assert loss_json(path, "-B", "60", *EXACT, *MAPPED, "--jobs", jobs) == whole
    # as the same sessions written as one row each
    joined: dict[tuple[str, str], Any] = {}
    for one in sorted(rows, key=lambda row: row["t"]):
        so_far = joined.get((one["prompt_id"], one["sid"]))
        if so_far is not None:
            one = one | {n: one[n] + so_far[n] for n in ("response_length", "log_prob", "old_log_prob")}
        joined[one["prompt_id"], one["sid"]] = one
    apart = loss_json(dump(tmp_path / "b.jsonl", list(joined.values())), "-B", "60", *EXACT)
    assert apart["loss"] == pytest.approx(whole["loss"], rel=1e-12)
    assert apart["length"]["max"] == whole["length"]["max"]


def test_every_row_is_annotated_with_the_terms_of_its_rollout(budget_cli: Run, tmp_path: Path) -> None:
    at = ("-B", "50", "--beta", "0.01", "--kl-coef", "0")
    done = budget_cli("annotate", dump(tmp_path / "a.jsonl", SESSIONS), *at, *MAPPED)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line)["budget_cli"] for line in done.stdout.splitlines()]
    assert [each["advantage"] for each in found] == pytest.approx([0.45, 0.45, 0.45, -0.45])
    assert [each["penalty"] for each in found] == pytest.approx([0.1, 0.1, 0.1, 0.0])


def test_a_step_that_all_rows_share_changes_nothing(budget_cli: Run, loss_json: LossJson, tmp_path: Path) -> None:
    """The step is no part of the ids then, and the rollouts that are kept for a second look know that, too."""
    at = ("-B", "50", "--beta", "0.01", "--kl-coef", "0", *MAPPED)
    plain = dump(tmp_path / "plain.jsonl", SESSIONS)
    stepped = dump(tmp_path / "stepped.jsonl", [{"step": 7, **one} for one in SESSIONS])

    def terms(path: Path) -> list[Any]:
        return [json.loads(line)["budget_cli"] for line in budget_cli("annotate", path, *at).stdout.splitlines()]

    def shown(path: Path) -> list[Any]:
        prompts = json.loads(budget_cli("show", path, *at, "-f", "json").stdout)["prompts"]
        return [one["penalty"] for prompt in prompts for one in prompt["shown"]]

    assert terms(stepped) == terms(plain)
    assert terms(plain)[0]["penalty"] == pytest.approx(0.1)
    assert shown(stepped) == shown(plain)
    by_row = [loss_json(path, *at, "--aggregate", "row", *EXACT)["loss"] for path in (stepped, plain)]
    assert by_row[0] == by_row[1] == pytest.approx(0.45**2, rel=1e-15)


def test_a_summary_of_rollouts_adds_up_to_their_loss(loss_json: LossJson, budget_cli: Run, tmp_path: Path) -> None:
    path, kept = dump(tmp_path / "a.jsonl", SESSIONS), tmp_path / "kept.bcs"
    assert budget_cli("summarize", path, "-B", "50", *MAPPED, "-o", kept).returncode == 0
    found = loss_json(kept, "-B", "50", "--beta", "0.01", "--kl-coef", "0")
    assert (found["responses"], found["rows"]) == (2, 4)
    assert found["loss"] == pytest.approx(0.45**2, rel=1e-15)


def test_over_rows_a_response_weighs_as_many_rows_as_it_has(
    loss_json: LossJson, budget_cli: Run, tmp_path: Path
) -> None:
    rows = [row("p", "a", 0, 1.0), row("p", "a", 1, 1.0), row("p", "b", 0, 0.0), row("p", "c", 0, 0.0)]
    path = dump(tmp_path / "a.jsonl", rows)
    # the mean reward is 1/3: (2·(2/3)² + 2·(1/3)²) / 4
    found = loss_json(path, *FREE, *MAPPED, "--aggregate", "row")
    assert found["loss"] == pytest.approx(10 / 36, rel=1e-15)
    assert found["advantage"]["mean_square"] == found["loss"]
    assert loss_json(path, *FREE, *MAPPED)["loss"] == pytest.approx(6 / 27, rel=1e-15)
    screen = budget_cli("loss", path, *FREE, *MAPPED, "--aggregate", "row").stdout.decode()
    assert "3 responses in 4 rows, 1 prompt, mean over rows" in screen
    # each response one row: the loss over responses
    one_each = dump(tmp_path / "b.jsonl", rows[1:])
    assert (
        loss_json(one_each, *FREE, "--aggregate", "row")["loss"]
        == loss_json(one_each, *FREE, "--aggregate", "response")["loss"]
    )


def test_what_kl_explains_over_rows_keeps_its_digits_where_it_nearly_cancels(
    loss_json: LossJson, tmp_path: Path
) -> None:
    k = 0.25 + 2.0**-40
    rows = [row("p", "a", 0, 0.5, k=k), row("p", "a", 1, 0.5, k=k), row("p", "b", 0, 0.0, k=0.0), row("p", "c", 0, 1.0)]
    # A is 0, −1/2 and 1/2, so that α·k explains −2·k² by the first response alone
    found = loss_json(
        dump(tmp_path / "a.jsonl", rows), "--beta", "0", "--kl-coef", "1e-9", *EXACT, *MAPPED, "--aggregate", "row"
    )
    assert found["kl"]["r2"] == pytest.approx(-2 * (1e-9 * k) ** 2 / 0.5, rel=1e-12)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (
            ("loss", "-B", "8", "--by", "sid"),
            "the rows of --by keep only their sums: select the records of one row",
        ),
        (("sweep", "-B", "8"), "sweep keeps only their sums: budget-cli loss --aggregate row computes one cell"),
        (("report", "-B", "8"), "report keeps only their sums: budget-cli loss --aggregate row computes it at one B"),
    ],
)
def test_where_only_sums_are_kept_a_mean_over_rows_is_refused(
    budget_cli: Run, tmp_path: Path, arguments: tuple[str, ...], why: str
) -> None:
    command, *more = arguments
    path, over_rows = dump(tmp_path / "a.jsonl", SESSIONS), ("--aggregate", "row")
    done = budget_cli(command, path, *more, "--kl-coef", "0", *MAPPED, *over_rows)
    assert done.returncode == 2
    assert f"budget-cli: --aggregate row weighs single responses, and {why}" in done.stderr.decode()


def test_verl_sessions_are_found_in_the_uid(loss_json: LossJson, tmp_path: Path) -> None:
    rows = [
        {"input": "q", "output": text, "gts": "1", "score": score, "step": 3, "uid": uid}
        for text, score, uid in [("1", 1.0, "u_0_0"), ("2", 1.0, "u_0_1"), ("3", 1.0, "u_0_2"), ("1b", 0.0, "u_1_0")]
    ]
    found = loss_json(dump(tmp_path / "a.jsonl", rows), *FREE)
    assert (found["loss"], found["responses"], found["rows"]) == (0.25, 2, 4)


def test_a_rollout_id_is_read_by_its_own_name_but_not_where_a_preset_does_not_know_it(
    loss_json: LossJson, tmp_path: Path
) -> None:
    own = [{"rollout_id" if key == "sid" else key: value for key, value in one.items()} for one in SESSIONS]
    assert loss_json(dump(tmp_path / "a.jsonl", own), *FREE)["responses"] == 2
    verl = [
        {"input": "q", "output": str(i), "gts": "1", "score": i % 2, "step": 3, "rollout_id": 3} for i in range(4)
    ]  # there, the number of the step
    assert loss_json(dump(tmp_path / "b.jsonl", verl), *FREE)["responses"] == 4
    assert loss_json(dump(tmp_path / "b.jsonl", verl), *FREE, "--field", "rollout_id=rollout_id")["responses"] == 1


def test_a_rollout_that_only_later_records_have_is_read_if_it_is_named(loss_json: LossJson, tmp_path: Path) -> None:
    rows = [row("q", None, None, 0.0)] * 200 + SESSIONS
    assert loss_json(dump(tmp_path / "a.jsonl", rows), *FREE, *MAPPED)["responses"] == 202


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (
            ("--field", "rollout_id=sidd"),
            f"--field rollout_id=sidd: no record has a string or an integer there; {SHOWS}",
        ),
        ((*MAPPED, "--field", "turn=tt"), f"--field turn=tt: no record has a number there; {SHOWS}"),
        (("--field", "turn=t"), "--field turn=… orders the rows of a rollout: give --field rollout_id=…, too"),
        (("--field", "step=at.stp"), f"--field step=at.stp: no record has a string or an integer there; {SHOWS}"),
    ],
)
def test_a_name_that_no_record_has_is_refused(budget_cli: Run, tmp_path: Path, more: tuple[str, ...], why: str) -> None:
    done = budget_cli("loss", dump(tmp_path / "a.jsonl", SESSIONS), *FREE, *more)
    assert (done.returncode, done.stdout, done.stderr.decode()) == (2, b"", f"budget-cli: {why}\n")


def test_records_without_a_rollout_beside_those_with_one_are_named(budget_cli: Run, tmp_path: Path) -> None:
    rows = [*SESSIONS, row("p", None, None, 1.0), row("p", None, None, 0.0)]
    done = budget_cli("loss", dump(tmp_path / "a.jsonl", rows), *FREE, *MAPPED)
    assert done.returncode == 0
    assert "budget-cli: 2 records without a rollout_id: each is a response of its own\n" in done.stderr.decode()


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_rollout_that_is_cut_over_two_files_is_a_warning(
    budget_cli: Run, loss_json: LossJson, tmp_path: Path, jobs: str
) -> None:
    paths = [dump(tmp_path / "a.jsonl", SESSIONS[:2]), dump(tmp_path / "b.jsonl", SESSIONS[2:])]
    found = loss_json(*paths, *FREE, *MAPPED, "--jobs", jobs)
    warning = (
        "1 rollout of an earlier file came back in a later one, and counted as another response there: pipe the files"
        " as one (cat) if its rows are cut over files, or give the file that was written twice once"
    )
    assert (found["loss"], found["responses"], found["warnings"]) == (pytest.approx(2 / 9, rel=1e-15), 3, [warning])
    for command in ("check", "sweep", "annotate", "summarize"):
        options = () if command in ("check", "summarize") else FREE[2:4]
        done = budget_cli(command, *paths, "-B", "50", *options, *MAPPED)
        assert f"budget-cli: warning: {warning}\n" in done.stderr.decode(), command
    whole = loss_json(*FREE, *MAPPED, stdin=b"".join(path.read_bytes() for path in paths))
    assert (whole["loss"], whole["warnings"]) == (0.25, [])
    apart = loss_json(*paths, *FREE, *MAPPED, "--ids-per-file")
    assert (apart["responses"], apart["warnings"]) == (3, [])


def test_what_summarize_warned_of_every_reader_of_the_summary_warns_of(
    budget_cli: Run, loss_json: LossJson, tmp_path: Path
) -> None:
    cut = [dump(tmp_path / "a.jsonl", SESSIONS[:2]), dump(tmp_path / "b.jsonl", SESSIONS[2:])]
    twice = dump(tmp_path / "twice.jsonl", SESSIONS * 2)
    summary, again = tmp_path / "s.summary", tmp_path / "again.summary"
    for files, warning in ((cut, "1 rollout of an earlier file came back"), ([twice], "4 of 8 records repeat an")):
        options = ("-B", "50", "--kl-coef", "0", *MAPPED)
        assert budget_cli("summarize", *files, *options, "-o", summary).returncode == 0
        of_records = loss_json(*files, *options)
        assert of_records["warnings"][0].startswith(warning)
        assert budget_cli("summarize", summary, *options[:4], "-o", again).returncode == 0
        for path in (summary, again):
            found = loss_json(path, *options[:4])
            assert (found["loss"], found["warnings"]) == (of_records["loss"], of_records["warnings"])
        for command in ("check", "sweep"):
            said = budget_cli(command, summary, "-B", "50", *(options[2:4] if command == "sweep" else ())).stderr
            assert f"budget-cli: warning: {warning}" in said.decode(), command


def test_a_summary_of_files_that_nothing_was_said_of_says_nothing(
    loss_json: LossJson, budget_cli: Run, tmp_path: Path
) -> None:
    whole, summary = dump(tmp_path / "a.jsonl", SESSIONS), tmp_path / "s.summary"
    assert budget_cli("summarize", whole, "-B", "50", "--kl-coef", "0", *MAPPED, "-o", summary).returncode == 0
    assert b'"warnings"' not in summary.read_bytes()
    assert loss_json(summary, "-B", "50", "--kl-coef", "0")["warnings"] == []


def test_ids_that_contradict_the_texts_are_a_warning_of_the_summary_too(
    budget_cli: Run, loss_json: LossJson, tmp_path: Path
) -> None:
    texts = [{"prompt_id": "p", "prompt_text": f"What is {n}?", "reward": n % 2} for n in range(4)]
    path, summary = dump(tmp_path / "a.jsonl", texts), tmp_path / "s.summary"
    of_records = loss_json(path, *FREE)["warnings"]
    assert len(of_records) == 1
    assert "stands for several prompts" in of_records[0]
    assert budget_cli("summarize", path, *FREE[:4], "-o", summary).returncode == 0
    assert loss_json(summary, *FREE)["warnings"] == of_records
