"""If this fails, `budget-cli report` writes no page, or one that a browser does not read as intended."""

import json
import re
import shlex
import sys
from collections.abc import Callable
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from command import ENVIRONMENT, LossJson, Run
from word_counter import write_tokenizer

from budget_cli.rendering.safe import for_terminal
from budget_cli.sources.extras import install

pytest.importorskip("vl_convert", reason="the page's charts need the extra: pip install 'budget-cli[report]'")

SAMPLE = Path(__file__).parents[2] / "sample_data" / "rollouts.jsonl"
HOSTILE = "</script><script>alert(1)</script><!--<script>\u2028&\x1b[31m"
GOOD = {"prompt_id": "p", "reward": 1.0, "log_prob": -1.0, "old_log_prob": -1.5, "response_length": 120}


class Page(HTMLParser):
    """The elements of a page, and the text inside and outside its scripts."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text = ""
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.elements and self.elements[-1][0] == "script" and self.lasttag == "script":
            self.scripts[-1] += data
        else:
            self.text += data

    @property
    def data(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.scripts[0])
        return found


@pytest.fixture(scope="module")
def page_of(budget_cli: Run) -> Callable[..., Page]:
    """Return the page on standard output of a command that must exit with the given code."""

    def run(*arguments: str | Path, stdin: bytes | None = None, exits: int = 0) -> Page:
        done = budget_cli("report", *arguments, stdin=stdin)
        assert done.returncode == exits, done.stderr.decode()
        return Page(done.stdout)

    return run


PageOf = Callable[..., Page]


def lines(*records: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def test_the_page_is_self_contained_and_works_offline(budget_cli: Run, tmp_path: Path) -> None:
    done = budget_cli("report", SAMPLE, "-B", "1024", "-o", tmp_path / "report.html")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    page = (tmp_path / "report.html").read_bytes()
    assert len(page) < 6_000_000
    found = Page(page)
    links = [value for _, attributes in found.elements for key, value in attributes.items() if key in ("src", "href")]
    assert links == ["data:,"]  # no icon
    (policy,) = [a["content"] for tag, a in found.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    assert policy.startswith("default-src 'none'; script-src 'unsafe-inline';")
    assert [tag for tag, _ in found.elements].count("script") == 3


def test_the_numbers_of_the_page_are_those_of_the_command(page_of: PageOf, loss_json: LossJson) -> None:
    page = page_of(SAMPLE, "-B", "1024", "--beta", "0.003", "--alpha", "0.2")
    loss = loss_json(SAMPLE, "-B", "1024", "--beta", "0.003", "--alpha", "0.2", "--precision", "17")
    shown = {a["data-number"]: a["data-value"] for _, a in page.elements if "data-number" in a}
    assert len(shown) > 35
    for path, value in shown.items():
        assert path is not None
        number: Any = loss
        for name in path.split("."):
            number = number[name]
        found = json.loads(value or "")
        assert (round(found, 17) if isinstance(found, float) else found) == number, path


def test_the_page_names_its_version_its_day_and_the_command_that_makes_it_again(
    budget_cli: Run, page_of: PageOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.gmtime", lambda *_: (2026, 3, 4, 5, 6, 7, 2, 63, 0))
    gate = ("--fail-if", "over_budget.fraction > 0.9")
    more = (
        "--field",
        "reward=reward",
        "--objective",
        "dapo",
        "--max-response-length",
        "1024",
        "--overlong-buffer",
        "256",
    )
    page = page_of(SAMPLE, *more, *gate, "--budgets", "512,768")
    made = "Made by budget-cli 0.1.0 on 2026-03-04 with "
    assert made in page.text
    command = shlex.split(page.text.partition(made)[2].split("\n")[0])
    assert command[-2:] == ["-o", "report.html"]
    assert command[:3] == ["budget-cli", "report", str(SAMPLE)]
    again = page_of(*command[2:-2])
    assert (again.data, again.text.partition("Made by")[0]) == (page.data, page.text.partition("Made by")[0])
    expected = json.loads(budget_cli("loss", SAMPLE, *more, "-f", "json").stdout)
    words = [*shlex.split(page.data["command"])[1:], "-B", "768", "--beta", str(1 / 256), "-f", "json"]
    found = json.loads(budget_cli(*words).stdout)
    assert (found["loss"], found["objective"]) == (expected["loss"], expected["objective"])


def test_the_page_has_the_command_that_shows_the_responses_to_a_prompt(
    budget_cli: Run, page_of: PageOf, tmp_path: Path
) -> None:
    place = "The texts of the responses to a prompt, with their places in the files: "
    page = page_of(SAMPLE, "-B", "1024", "--aggregate", "prompt", "--set", "penalize=correct")
    words = shlex.split(page.text.partition(place)[2].split("\n")[0])
    assert words[-2:] == ["--prompt", "ID"]
    assert b"rollouts.jsonl:11" in budget_cli(*words[1:-1], "geometry-203", "--color", "never").stdout
    budget_cli("summarize", SAMPLE, "-B", "1024", "-o", tmp_path / "a.jsonl")
    assert place not in page_of(tmp_path / "a.jsonl", "-B", "1024").text


def test_the_commands_of_the_page_have_the_budget_of_records_without_one(budget_cli: Run, page_of: PageOf) -> None:
    own, other = {**GOOD, "budget": 50}, {**GOOD, "reward": 0}
    given = ("-B", "100", "--set", "budget_field=budget")
    page = page_of(*given, stdin=lines(own, other))
    words = shlex.split(page.data["command"])
    expected = budget_cli("loss", *given, "-f", "json", stdin=lines(own, other)).stdout
    assert budget_cli(*words[1:], "-f", "json", stdin=lines(own, other)).stdout == expected


TRAINER = Path(__file__).parents[1] / "trainer"
DUMPS = Path(__file__).parents[1] / "dumps"
REWARDS = ("--beta", "0", "--kl-coef", "0")
SAME: list[tuple[str | Path, ...]] = [
    (SAMPLE.parent / "steps", "-B", "1024"),
    (SAMPLE.parent / "steps", "-B", "1024", "--group", "prompt"),
    (SAMPLE.parent / "steps", "-B", "1024", "--aggregate", "prompt", "--by", "step"),
    (TRAINER / "verifiers_failed.jsonl", *REWARDS, "--keep", "failed", "--where", "!(example_id == `1`)"),
    (TRAINER / "boolean_reward.jsonl", *REWARDS, "--field", "reward=number(acc)"),
    (TRAINER / "multi_task_rewards.jsonl", *REWARDS, "--reward-weights", "math=2,code=4", "--max-errors", "1"),
    (TRAINER / "nan_log_prob.jsonl", "--kl-coef", "0", "-B", "100", "--ignore-unneeded"),
    (DUMPS / "nemo-rl-without-tokens.jsonl", "--kl-coef", "0", "-B", "3", "--group-size", "2"),
    (
        DUMPS / "xtuner.jsonl",
        DUMPS / "areal.jsonl",
        *REWARDS,
        "--preset",
        "xtuner",
        "--group",
        "file",
        "--max-errors",
        "9",
    ),
    (SAMPLE, "-B", "1024", "--max-line-bytes", "183", "--max-errors", "100%"),
]


@pytest.mark.exhaustive
@pytest.mark.parametrize("arguments", SAME, ids=[" ".join(map(str, same[1:])) for same in SAME])
def test_the_command_that_the_page_shows_gives_its_numbers(
    budget_cli: Run, page_of: PageOf, arguments: tuple[str | Path, ...]
) -> None:
    data = page_of(*arguments).data
    budget, beta, alpha = (
        data["grid"][name][at]
        for name, at in zip(("token_budget", "budget_penalty_coef", "kl_coef"), data["at"], strict=True)
    )
    words = [*shlex.split(data["command"]), *(() if budget is None else ("-B", str(budget)))]
    assert words[:2] == ["budget-cli", "loss"]
    same = budget_cli(*words[1:], "--beta", str(beta), "--kl-coef", str(alpha), "-f", "json", "--precision", "17")
    expected = budget_cli("loss", *arguments, "-f", "json", "--precision", "17")
    assert (same.returncode, json.loads(same.stdout)) == (0, json.loads(expected.stdout))


def test_the_command_of_a_page_of_counted_lengths_names_the_tokenizer(
    budget_cli: Run, page_of: PageOf, tmp_path: Path
) -> None:
    pytest.importorskip("tokenizers")
    tokenizer, presets = write_tokenizer(tmp_path / "tok en.json"), tmp_path / "own.toml"
    presets.write_text('[own]\ndetect = ["q"]\nprompt_id = "q"\nreward = "r"\nresponse_text = "text"\n')
    dump = tmp_path / "a.jsonl"
    dump.write_bytes(lines({"q": 1, "r": 1, "text": "one two three"}, {"q": 1, "r": 0, "text": "one"}))
    own = ("--tokenizer", tokenizer, "--presets", presets, "--preset", "own")
    data = page_of(dump, "-B", "1", "--kl-coef", "0", "--beta", "0.1", *own).data
    words = [*shlex.split(data["command"])[1:], "-B", "1", "--kl-coef", "0", "--beta", "0.1", "-f", "json"]
    assert json.loads(budget_cli(*words).stdout)["loss"] == 0.16  # 0.8 and 0 about 0.4


@pytest.mark.parametrize("arguments", [("--by", "file"), ("--by", "step"), ("--budgets", "100,5000")])
def test_the_findings_of_the_page_are_those_of_check_with_locations(
    budget_cli: Run, page_of: PageOf, arguments: tuple[str, ...]
) -> None:
    checked = json.loads(budget_cli("check", SAMPLE, "-B", "1024", "--format", "json").stdout)
    page = page_of(SAMPLE, "-B", "1024", *arguments)
    assert len(checked["findings"]) >= 4
    for finding in checked["findings"]:
        assert f"{finding['message']} {finding['code']}Locations: " in page.text
    assert "rollouts.jsonl:11 geometry-203" in page.text


def test_the_findings_of_a_summary_are_those_of_check(budget_cli: Run, page_of: PageOf, tmp_path: Path) -> None:
    steps = SAMPLE.parent / "steps"
    budget_cli("summarize", steps / "41.jsonl", steps / "42.jsonl", "-B", "512,1024", "-o", tmp_path / "a.jsonl")
    for inputs in ((tmp_path / "a.jsonl",), (tmp_path / "a.jsonl", steps / "43.jsonl")):
        checked = json.loads(budget_cli("check", *inputs, "-B", "1024", "--format", "json").stdout)
        page = page_of(*inputs, "-B", "1024")
        assert {"truncated", "penalty-outweighs-reward"} <= {finding["code"] for finding in checked["findings"]}
        for finding in checked["findings"]:
            assert f"{finding['message']} {finding['code']}Locations: " in page.text
        assert f"Locations: {steps}/41.jsonl 41/primes-128" in page.text  # a summary locates a prompt by its file
        assert f"{steps}/42.jsonl:5 42/primes-128" in page.text


def test_a_summary_of_an_earlier_version_gives_a_page_without_findings(budget_cli: Run, tmp_path: Path) -> None:
    budget_cli("summarize", SAMPLE, "-B", "1024", "-o", tmp_path / "a.jsonl")
    head, _, rest = (tmp_path / "a.jsonl").read_bytes().partition(b"\n")
    old = {key: value for key, value in json.loads(head).items() if key not in ("seen", "thresholds", "checksum")}
    old["schema"] = "budget-cli/summary/1"
    (tmp_path / "a.jsonl").write_bytes(json.dumps(old, separators=(",", ":")).encode() + b"\n" + rest)
    done = budget_cli("report", "a.jsonl", "-B", "1024", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stderr.decode() == (
        "budget-cli: the page has no findings of check: a.jsonl: this summary of an earlier version has no"
        " evidence for the checks: summarize again\n"
    )
    assert "1 prompt gets an advantage from length alone (phantom): geometry-203" in Page(done.stdout).text


def test_the_page_uses_the_finish_reason_that_a_preset_maps(budget_cli: Run, page_of: PageOf, tmp_path: Path) -> None:
    dump = SAMPLE.parents[1] / "tests" / "dumps" / "verifiers.jsonl"
    path = tmp_path / "a.jsonl"
    path.write_bytes(dump.read_bytes().replace(b'"is_truncated": false', b'"is_truncated": true'))
    checked = json.loads(budget_cli("check", path, "-f", "json").stdout)
    (message,) = (finding["message"] for finding in checked["findings"] if finding["code"] == "truncated")
    assert message in page_of(path, "-B", "1", "--kl-coef", "0").text


def test_strings_of_the_data_never_become_markup(page_of: PageOf, tmp_path: Path) -> None:
    path = tmp_path / "<img src=x onerror=alert(1)>.jsonl"
    records = [{**GOOD, "prompt_id": HOSTILE, "response_length": n} for n in (100, 300)]
    path.write_bytes(lines(*records, {**GOOD, "reward": "<b>"}, {"prompt_id": "<i>"}))
    page = page_of(path, "-B", "200", exits=1)
    tags = {tag for tag, _ in page.elements}
    assert tags & {"b", "i", "img"} == {"b"}  # b: the numbers of the headline
    assert [tag for tag, _ in page.elements].count("script") == 3
    assert "alert(1)" not in "".join(page.scripts[1:])
    assert "<" not in page.scripts[0]
    assert page.data["prompts"][0]["prompt_id"] == for_terminal(HOSTILE)
    assert "</script><script>alert(1)</script>" in page.text
    assert "<img src=x onerror=alert(1)>.jsonl" in page.text
    assert "\x1b" not in page.text


def test_a_damaged_dump_gives_a_page_that_shows_fail_and_the_reasons(page_of: PageOf) -> None:
    page = page_of(SAMPLE.with_name("damaged.jsonl"), "-B", "1024", exits=1)
    assert "fail23 records of 28 rejected" in page.text
    assert "damaged.jsonl:10:1: reward: missing" in page.text
    assert page_of(SAMPLE.with_name("damaged.jsonl"), "-B", "1024", "--max-errors", "23").data["totals"]["prompts"] == 2


def test_no_records_still_give_a_page(page_of: PageOf) -> None:
    page = page_of("-B", "1024", stdin=b"", exits=1)
    assert page.data["totals"] is None
    assert "failno records at all" in page.text


def test_several_files_form_a_trend_and_a_single_set_of_prompts(
    page_of: PageOf, loss_json: LossJson, tmp_path: Path
) -> None:
    records = SAMPLE.read_bytes().splitlines(keepends=True)
    (tmp_path / "10.jsonl").write_bytes(b"".join(records[20:]))
    (tmp_path / "2.jsonl").write_bytes(b"".join(records[:20]))
    page = page_of(tmp_path, "-B", "1024")
    assert [part["label"] for part in page.data["parts"]] == ["2.jsonl", "10.jsonl"]
    assert [part["totals"]["responses"] for part in page.data["parts"]] == [20, 28]
    loss = loss_json(tmp_path, "-B", "1024", "--precision", "17")
    value = {a["data-number"]: a["data-value"] for _, a in page.elements if "data-number" in a}["loss"]
    assert float(value or "") == pytest.approx(loss["loss"], rel=1e-12)
    assert (page.data["totals"]["prompts"], page.data["totals"]["responses"]) == (6, 48)


def test_the_slider_offers_the_given_budgets(page_of: PageOf) -> None:
    grid = page_of(SAMPLE, "-B", "1024", "--budgets", "500:1000:3").data["grid"]
    assert grid["token_budget"] == [500, 750, 1000, 1024]


def test_the_page_counts_prompts_by_their_solve_rate(page_of: PageOf) -> None:
    right = {"a": 0, "b": 1, "c": 2, "d": 3, "e": 3, "f": 4}  # of 4 each; g has a single response
    records = [{**GOOD, "prompt_id": p, "reward": int(i < n)} for p, n in right.items() for i in range(4)]
    page = page_of("-B", "500", stdin=lines(*records, {**GOOD, "prompt_id": "g"}))
    table = page.text.partition("How often prompts are solved")[2]
    assert "The 6 prompts with two or more responses, by the share of right responses" in table
    assert "solvedpromptsshareall wrong116.7%up to ¼116.7%up to ½116.7%up to ¾233.3%more00.0%all right116.7%" in table
    assert "How often" not in page_of("-B", "500", stdin=lines({**GOOD, "reward": 0.3})).text


def test_a_sample_is_called_a_sample(page_of: PageOf) -> None:
    records = [{**GOOD, "prompt_id": i // 4, "reward": i % 2, "response_length": i % 1000} for i in range(6000)]
    page = page_of("-B", "500", stdin=lines(*records))
    assert "all 4,000 responses to 1,000 prompts, chosen by a hash of the prompt id" in page.text
    assert page.text.count("Shows a sample, see below.") == 3
    assert len(page.data["prompts"]) == 120
    small = page_of(SAMPLE, "-B", "500")
    assert "All charts show all responses." in small.text
    assert "sample, see below" not in small.text


def test_a_summary_gives_a_page_for_its_budgets_without_a_sample(
    budget_cli: Run, page_of: PageOf, tmp_path: Path
) -> None:
    summary = tmp_path / "summary.jsonl"
    assert budget_cli("summarize", SAMPLE, "-B", "300,512,1024", "-o", summary).returncode == 0
    page = page_of(summary, "-B", "512")
    assert page.data["grid"]["token_budget"] == [300, 512, 1024]
    assert page.data["sample"] == []
    assert "A summary holds no single responses" in page.text
    whole = page_of(SAMPLE, "-B", "512", "--budgets", "300,1024")
    assert page.data["totals"] == whole.data["totals"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give a budget (-B TOKENS), or --budget-penalty-coef 0 to do without one"),
        (("-B", "1", "--budgets", "x"), "--budgets 'x': expected numbers separated by commas"),
        (("--beta", "0", "--budgets", "5"), "--budgets: the slider needs a budget to start from: give -B TOKENS"),
        (("-B", "1", "-o", "no/such/place.html"), "-o no/such/place.html: there is no directory"),
    ],
)
def test_a_usage_error_is_reported_before_anything_is_read(
    budget_cli: Run, arguments: tuple[str, ...], message: str
) -> None:
    done = budget_cli("report", "no-such-file.jsonl", *arguments)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.decode().startswith(f"budget-cli: {message}")


def test_without_the_extra_the_message_names_what_to_install(budget_cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    monkeypatch.setenv("PATH", ENVIRONMENT["PATH"])
    done = budget_cli("report", SAMPLE, "-B", "1024")
    assert done.returncode == 2
    assert done.stderr.decode() == f"budget-cli: the charts need the extra: {install('report')}\n"


@pytest.mark.exhaustive
def test_the_page_has_the_same_bytes_for_any_number_of_jobs(budget_cli: Run) -> None:
    records = [{**GOOD, "prompt_id": i % 3000, "reward": i % 7 / 3, "response_length": i % 997} for i in range(9000)]
    pages = [
        budget_cli("report", "-B", "500", "--jobs", jobs, stdin=lines(*records)).stdout for jobs in ("1", "2", "3")
    ]
    assert pages[0]
    assert pages[1:] == pages[:1] * 2
    visible = re.sub(rb"<time .*?</time>", b"", pages[0].split(b'id="data">')[0])
    assert not re.search(rb"/tmp|/home|20\d\d-\d\d-\d\d", visible)


def shown_texts(page: bytes) -> list[str]:
    """Return the folded texts of a page, as a reader sees them."""
    folded = re.findall(r'<details class="text".*?</details>', page.decode(), flags=re.DOTALL)
    return [unescape(re.sub(r"<[^>]*>", "|", one)) for one in folded]


TALK = [
    {**GOOD, "prompt_id": p, "prompt_text": f"ask {p}?", "response_text": f"say {p}{n}", "reward": n, "step": 1}
    for p in ("a", "b")
    for n in (0, 1)
]


def test_the_page_holds_the_texts_of_the_prompts_with_the_largest_losses(budget_cli: Run, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(lines(*TALK[:2], {**TALK[2], "reward": 0.4}, {**TALK[3], "reward": 0.6}))
    done = budget_cli("report", path, "-B", "100")
    first, second = shown_texts(done.stdout)
    assert [part for part in first.split("|") if part.strip()] == [
        "a", " 2 responses", "Prompt", "ask a?",
        f"{path}:1", "reward 0.0000, length 120, penalty 0.2000, advantage -0.5000, log-ratio 0.5000, loss 0.3025",
        "say a0",
        f"{path}:2", "reward 1.0000, length 120, penalty 0.2000, advantage 0.5000, log-ratio 0.5000, loss 0.2025",
        "say a1",
    ]  # fmt: skip
    assert "ask b?" in second
    data = Page(done.stdout).data
    assert [(each["prompt_id"], each["place"], each["text"]) for each in data["prompts"]] == [
        ("a", f"{path}:1", 0),
        ("b", f"{path}:3", 1),
    ]


def test_prompts_that_a_warning_names_have_their_texts_too(budget_cli: Run, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    others = [{**GOOD, "prompt_id": f"p{i}", "prompt_text": "long", "reward": 9 * n} for i in range(20) for n in (0, 1)]
    phantom = [{**GOOD, "prompt_id": "phantom", "prompt_text": "short", "response_length": n} for n in (50, 101)]
    path.write_bytes(lines(*others, *phantom))
    folded = shown_texts(budget_cli("report", path, "-B", "100").stdout)
    assert [one.split("|")[3] for one in folded] == ["phantom", *(f"p{i}" for i in range(11))]


def test_texts_are_cut_in_their_middle_and_stay_within_a_budget(budget_cli: Run, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(lines(*({**GOOD, "prompt_id": i // 4, "response_text": "é" * 100_000} for i in range(80))))
    page = budget_cli("report", path, "-B", "100").stdout
    folded = shown_texts(page)
    assert len(folded) == 12
    assert "é" * 2000 + "\n… 96,000 characters …\n" + "é" * 2000 in folded[0]
    assert len(page) < 3_000_000


def test_standard_input_has_no_texts_and_the_page_says_so(budget_cli: Run) -> None:
    page = budget_cli("report", "-B", "100", stdin=lines(*TALK)).stdout
    assert shown_texts(page) == []
    why = "Texts are left out: standard input and pipes cannot be read twice: give the files by name."
    assert why in page.decode()
    assert [each["place"] for each in Page(page).data["prompts"]] == ["<stdin>:1", "<stdin>:3"]


@pytest.mark.parametrize("field", ["prompt_id", "prompt_text", "response_text", "finish_reason", "step"])
@pytest.mark.parametrize(
    "hostile",
    [
        HOSTILE,
        "]]></pre></details></table><svg onload=alert(1)>",
        "\u202egnp.exe\u2066\u200f\u2069",
        "\x1b]0;title\x07\x9b31m\x00\x08\r",
        "<!-- {{x}} ${x} `x` \\u003c &lt; &#60; ' \" javascript:alert(1)",
    ],
)
def test_no_string_of_the_data_is_markup_or_a_control(
    budget_cli: Run, tmp_path: Path, field: str, hostile: str
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(lines(*({**record, field: hostile} for record in TALK)))
    plain = tmp_path / "b.jsonl"
    plain.write_bytes(lines(*({**record, field: "plain"} for record in TALK)))
    pages = [budget_cli("report", each, "-B", "100").stdout for each in (path, plain)]
    of_hostile, of_plain = ([tag for tag, _ in Page(page).elements] for page in pages)
    assert of_hostile == of_plain
    ours = pages[0].decode().rpartition("<script>")[0]
    body = ours.partition("</head>")[2].partition("<script>")[0]
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\u2028]", body)


def test_a_prompt_of_null_texts_has_none(budget_cli: Run, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(lines(*({**record, "prompt_text": None, "response_text": None} for record in TALK)))
    page = budget_cli("report", path, "-B", "100").stdout
    assert (shown_texts(page), b"Texts are left out" in page) == ([], False)


# nats; a bin holds its lower edge
RATIOS = [-4.0, -3.0, -2.5, -0.5, -0.05, -0.011, -0.009, 0.0, 0.0, 0.009, 0.02, 0.05, 0.2, 0.5, 2.0, 3.5]
IN_BINS = [1, 2, 1, 0, 1, 1, 4, 1, 1, 1, 1, 1, 1]


def test_tokens_are_counted_by_their_log_ratios(page_of: PageOf) -> None:
    other = [-9.0] * len(RATIOS)
    record = {**GOOD, "log_prob": [-9.0 + k for k in RATIOS], "old_log_prob": other, "response_length": len(RATIOS)}
    assert page_of("-B", "9", stdin=lines(record)).data["log_ratios"] == {"to the reference": IN_BINS}
    sampled = {**record, "sampler_log_prob": other, "log_prob": [-9.0] * len(RATIOS)}
    middle = [0] * 6 + [len(RATIOS)] + [0] * 6
    both = page_of("-B", "9", stdin=lines(sampled)).data["log_ratios"]
    assert both == {"to the reference": middle, "to the sampler": middle}


def test_the_bins_are_the_same_for_any_jobs_form_and_reader(budget_cli: Run, tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    records = [
        {
            "prompt_id": f"p{i // 4}",
            "reward": float(i % 2),
            "log_prob": [-((7 * i + n) % 50) / 100 for n in range(1 + i % 60)],
            "old_log_prob": [-((5 * i + 3 * n) % 90) / 300 for n in range(1 + i % 60)],
            "response_length": 1 + i % 60,
        }
        for i in range(400)
    ]
    (tmp_path / "a.jsonl").write_bytes(lines(*records))
    parquet.write_table(pyarrow.Table.from_pylist(records), tmp_path / "a.parquet", row_group_size=90)
    spaced = [json.dumps(one).replace("-0.0,", "-0.00e0,").encode() + b"\n" for one in records]
    (tmp_path / "c.jsonl").write_bytes(b"".join(spaced))
    rows = [
        {
            **one,
            "rollout_id": f"r{i}",
            "turn": turn,
            **{name: one[name][turn::2] for name in ("log_prob", "old_log_prob")},
        }
        for i, one in enumerate(records)
        for turn in (0, 1)
        if one["log_prob"][turn::2]
    ]
    (tmp_path / "d.jsonl").write_bytes(lines(*rows))
    expected = None
    for name, jobs in (("a.jsonl", "1"), ("a.jsonl", "3"), ("a.parquet", "2"), ("c.jsonl", "1"), ("d.jsonl", "1")):
        found = Page(budget_cli("report", tmp_path / name, "-B", "30", "-j", jobs).stdout).data["log_ratios"]
        expected = expected or found
        assert (name, found) == (name, expected)
    assert expected is not None
    assert sum(expected["to the reference"]) == sum(len(one["log_prob"]) for one in records)  # type: ignore[arg-type]


def test_a_dump_without_lists_has_no_bins(page_of: PageOf) -> None:
    assert page_of("-B", "9", stdin=lines(GOOD)).data["log_ratios"] == {}
