"""If this fails, a browser shows other numbers than the command, sends a request, or runs a prompt id as code."""

import json
import random
import shlex
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import which
from typing import Any

import pytest
from command import LossJson, Run

from budget_cli.analysis.sweep import VARYING

pytest.importorskip("vl_convert", reason="the page's charts need the extra: pip install 'budget-cli[report]'")
webdriver = pytest.importorskip("selenium.webdriver", reason="the page is driven by selenium: pip install selenium")

CHROMIUM, DRIVER = which("chromium") or which("chromium-browser"), which("chromedriver")
if CHROMIUM is None or DRIVER is None:
    pytest.skip(
        "no chromium and chromedriver here (Debian: apt-get install chromium chromium-driver)", allow_module_level=True
    )


SAMPLE = Path(__file__).parents[2] / "sample_data" / "rollouts.jsonl"
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
GOOD = {"prompt_id": "p", "reward": 1.0, "log_prob": -1.0, "old_log_prob": -1.5, "response_length": 120}
ALL = {"lengths", "against", "parts", "advantages", "rates", "share"}
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
        alerts = "window.alerts = []; window.alert = (x) => window.alerts.push(x);"
        driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": alerts})
        yield driver
        driver.quit()


class Page:
    """A page that the browser has opened from disk and drawn."""

    def __init__(self, browser: Any, path: Path, width: int = 1280) -> None:
        self.browser = browser
        browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False},
        )
        browser.get_log("browser")
        browser.get_log("performance")
        browser.get(path.as_uri())
        self.settle("document.documentElement.dataset.drawn === 'yes'")

    def settle(self, condition: str) -> None:
        """Wait until a condition holds."""
        from selenium.webdriver.support.ui import WebDriverWait

        WebDriverWait(self.browser, 20, 0.02).until(lambda _: self.run(f"return {condition}"))

    def run(self, script: str, *arguments: object) -> Any:
        return self.browser.execute_script(script, *arguments)

    def numbers(self) -> dict[str, float | None]:
        """Return every number shown, unrounded, by its dotted name."""
        cells = "[...document.querySelectorAll('main [data-number]')]"
        script = f"return {cells}.map((cell) => [cell.dataset.number, cell.dataset.value])"
        return {name: json.loads(value) for name, value in self.run(script)}

    def text(self, selector: str) -> str:
        text: str = self.run("return document.querySelector(arguments[0]).textContent", selector)
        return text

    def slide(self, name: str, place: int) -> None:
        self.run(
            "const s = document.getElementById(arguments[0]); s.value = arguments[1];"
            " s.dispatchEvent(new Event('input', {bubbles: true}))",
            name,
            place,
        )
        self.run("window.frames_ = 0; requestAnimationFrame(() => requestAnimationFrame(() => { window.frames_ = 1 }))")
        self.settle("window.frames_ === 1")

    def data(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.text("#data"))
        return found

    def charts(self) -> dict[str, str]:
        """Return the chart of each visible figure, as SVG."""
        script = (
            "return [...document.querySelectorAll('figure:not([hidden])')].map((f) =>"
            " [f.id, f.querySelector('svg')?.outerHTML ?? ''])"
        )
        return dict(self.run(script))

    def errors(self) -> list[dict[str, Any]]:
        return list(self.browser.get_log("browser"))

    def requests(self) -> list[str]:
        """Return the address of every request."""
        messages = [json.loads(entry["message"])["message"] for entry in self.browser.get_log("performance")]
        return [each["params"]["request"]["url"] for each in messages if each["method"] == "Network.requestWillBeSent"]


Open = Callable[..., Page]


@pytest.fixture(scope="module")
def opened(browser: Any, budget_cli: Run, tmp_path_factory: pytest.TempPathFactory) -> Open:
    """Open the page of `budget-cli report ARGUMENTS…` in the browser."""

    def run(*arguments: str | Path, stdin: bytes | None = None, exits: int = 0, width: int = 1280) -> Page:
        path = tmp_path_factory.mktemp("page") / "report.html"
        done = budget_cli("report", *arguments, "-o", path, stdin=stdin)
        assert done.returncode == exits, done.stderr.decode()
        return Page(browser, path, width)

    return run


def lines(*records: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_is_drawn_without_errors_requests_or_horizontal_scrolling(opened: Open, width: int) -> None:
    page = opened(SAMPLE, "-B", "1024", width=width)
    assert page.errors() == []
    assert {address.partition(":")[0] for address in page.requests()} <= {"file", "data"}
    assert page.run("return document.documentElement.scrollWidth") <= width
    charts = page.charts()
    assert set(charts) == {f"figure-{name}" for name in ALL}
    assert all("mark-" in svg for svg in charts.values())


@pytest.mark.parametrize("aggregate", ["response", "prompt"])
def test_at_any_position_of_the_sliders_the_numbers_are_those_of_the_command(
    opened: Open, loss_json: LossJson, aggregate: str
) -> None:
    page = opened(SAMPLE, "-B", "1024", "--aggregate", aggregate)
    grid = page.data()["grid"]
    places = [(n, len(grid[n])) for n in ("token_budget", "budget_penalty_coef", "kl_coef")]
    dice = random.Random(aggregate)
    for budget, beta, alpha in [(0, 0, 0), *([dice.randrange(n) for _, n in places] for _ in range(10))]:
        for (name, _), place in zip(places, (budget, beta, alpha), strict=True):
            page.slide(name, place)
        command, *arguments = shlex.split(page.text("#command"))
        assert (command, arguments[0]) == ("budget-cli", "loss")
        loss = loss_json(*arguments[1:], "--precision", "17")
        assert list(loss["coefficients"].values()) == [
            grid[name][place] for (name, _), place in zip(places, (budget, beta, alpha), strict=True)
        ]
        found = page.numbers()
        assert set(VARYING) <= set(found)
        for path, value in found.items():
            expected: Any = loss
            for name in path.split("."):
                expected = expected[name]
            if expected is None or isinstance(expected, int):
                assert (path, value) == (path, expected), arguments
            else:
                assert value == pytest.approx(expected, rel=1e-9, abs=1e-12), (path, arguments)
    assert page.errors() == []


def test_the_sentence_follows_the_sliders_and_what_does_not_says_so(opened: Open, loss_json: LossJson) -> None:
    page = opened(SAMPLE, "-B", "1024")
    still = "return [...document.querySelectorAll('.moved')].map((each) => each.checkVisibility())"
    assert page.text("#verdict").replace("β\u00a0", "β ") == loss_json(SAMPLE, "-B", "1024")["headline"]
    assert page.run(still) == [False, False]
    page.slide("budget_penalty_coef", 0)
    assert page.text("#verdict").startswith("β is 0, so the learning signal is that of the rewards alone;")
    assert page.run(still) == [True, True]
    assert page.text(".status") == (
        "passread completely, with B 1,024 tokens, β 0.01, α 0.1, in spite of warnings."
        " The sliders are elsewhere now; this has not moved."
    )
    page.run("document.getElementById('reset').click()")
    assert page.run(still) == [False, False]


@pytest.mark.parametrize("width", [1280, 390])
def test_no_text_of_a_chart_is_small_or_lies_over_another(opened: Open, width: int) -> None:
    page = opened(SAMPLE.with_name("steps"), "-B", "1024", width=width)
    assert len(page.charts()) == 11
    assert_readable(page)


def assert_readable(page: Page) -> None:
    boxes = page.run(
        "return [...document.querySelectorAll('figure:not([hidden])')].map((figure) =>"
        " [...figure.querySelectorAll('svg text, svg .role-legend-symbol path')]"
        " .filter((each) => each.tagName === 'path' || each.textContent && getComputedStyle(each).opacity !== '0')"
        " .map((each) => [each.textContent, each.getBoundingClientRect().toJSON(),"
        " parseFloat(getComputedStyle(each).fontSize)]))"
    )
    for texts in boxes:
        assert min(size for text, _, size in texts if text) >= 12
        for n, (text, a, _) in enumerate(texts):
            for other, b, _ in texts[:n]:
                beside = a["left"] >= b["right"] - 1 or b["left"] >= a["right"] - 1
                assert beside or a["top"] >= b["bottom"] - 1 or b["top"] >= a["bottom"] - 1, (text, other)


def test_counts_are_whole_and_tooltips_name_what_they_show(opened: Open) -> None:
    page = opened(SAMPLE, "-B", "1024")
    axis = "[...document.querySelectorAll('#figure-rates .role-axis[aria-label^=\"Y\"] text')]"
    ticks = page.run(f"return {axis}.map((each) => each.textContent).filter((text) => text)")
    assert ticks == ["0", "1", "prompts"]
    bar = page.run("return document.querySelector('#figure-rates .mark-rect path').ariaLabel")
    assert bar.endswith("prompts: 1; from: 0; to: 0.05")
    assert page.text("[data-number='length.p50']") == "878"


def test_moving_a_slider_updates_every_chart_that_depends_on_it(opened: Open) -> None:
    page = opened(SAMPLE, "-B", "1024")
    before, row = page.charts(), page.text("#prompts tbody")
    page.slide("token_budget", 2)
    page.settle("document.querySelectorAll('#figure-lengths .mark-rect path[fill=\"#c46a12\"]').length > 20")
    after = page.charts()
    assert {name for name in before if before[name] == after[name]} == {"figure-rates"}
    assert page.text("#prompts tbody") != row
    page.run("document.getElementById('reset').click()")
    page.settle("document.querySelectorAll('#figure-lengths .mark-rect path[fill=\"#c46a12\"]').length < 12")
    assert page.text("#prompts tbody") == row
    assert page.text("#token_budget-value") == "1,024"


def test_the_table_of_prompts_is_sorted_searched_and_unfolded(opened: Open) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    records = [
        {**GOOD, "prompt_id": f"q<{i}>", "reward": n * i, "response_length": 100 + (61 * i) % 97}
        for i in range(30)
        for n in (0, 1)
    ]
    page = opened("-B", "150", stdin=lines(*records))

    def column(n: int) -> list[str]:
        found: list[str] = page.run(
            "return [...document.querySelectorAll('#prompts tbody tr')].map((r) => r.cells[arguments[0]].textContent)",
            n,
        )
        return found

    def sort(name: str, key: str) -> str:
        button = page.browser.find_element(By.CSS_SELECTOR, f"[data-column={name}]")
        button.send_keys(key)
        sorts = page.run("return [...document.querySelectorAll('[aria-sort]')].map((e) => [e.textContent, e.ariaSort])")
        assert [text for text, _ in sorts] == [button.text.rstrip(" ↓↑")]
        order: str = sorts[0][1]
        return order

    by_loss = [f"q<{i}>" for i in range(29, 9, -1)]  # the spread of rewards grows with i
    assert (column(0), page.text("#listed")) == (by_loss, "20 of 30")
    assert sort("id", Keys.ENTER) == "ascending"
    assert column(0) == [f"q<{i}>" for i in range(20)]
    assert sort("id", Keys.SPACE) == "descending"
    assert column(0) == by_loss
    assert sort("length", Keys.ENTER) == "descending"
    longest = [int(text) for text in column(7)]
    assert longest == sorted((100 + (61 * i) % 97 for i in range(30)), reverse=True)[:20]
    fold = page.browser.find_element(By.ID, "fold")
    assert (fold.text, fold.get_attribute("aria-expanded")) == ("show all 30", "false")
    fold.send_keys(Keys.ENTER)
    assert (len(column(0)), fold.text, fold.get_attribute("aria-expanded")) == (30, "show 20", "true")
    find = page.browser.find_element(By.ID, "find")
    find.send_keys("Q<7")
    assert (column(0), page.text("#listed"), fold.is_displayed()) == (["q<7>"], "1 of 30", False)
    page.slide("budget_penalty_coef", 0)
    assert column(0) == ["q<7>"]
    find.send_keys(Keys.END, *[Keys.BACKSPACE] * 3, "<img src=x onerror=alert(5)>")
    assert (column(0), page.run("return window.alerts"), page.errors()) == ([], [], [])


def test_a_link_holds_the_places_of_the_sliders(opened: Open) -> None:
    page = opened(SAMPLE, "-B", "1024")
    length = page.run("return history.length")
    page.slide("budget_penalty_coef", 0)
    page.slide("token_budget", 2)
    page.settle("location.hash === '#B=384&beta=0&alpha=0.1'")
    there = page.numbers(), page.text("#verdict")
    assert page.run("return history.length") == length
    page.run("location.reload()")
    page.settle(
        "document.documentElement.dataset.drawn === 'yes' && document.querySelector('#token_budget').value === '2'"
    )
    assert (page.numbers(), page.text("#verdict")) == there
    for garbage in ("#B=%00&beta=<b>&alpha", "#%E0%A4%A", "#beta=1e999&__proto__=1"):
        page.run("location.hash = arguments[0]", garbage)
        page.settle("document.documentElement.dataset.moved === 'no'")
        page.run("location.hash = '#beta=0'")
        page.settle("document.documentElement.dataset.moved === 'yes'")
    page.run("document.getElementById('reset').click()")
    page.settle("location.hash === ''")
    assert page.errors() == []


def test_the_command_is_copied_or_else_selected(opened: Open) -> None:
    page = opened(SAMPLE, "-B", "1024")
    own = (
        "Object.defineProperty(navigator, 'clipboard', {value: {writeText: async (text) => { window.copied = text; }}})"
    )
    page.run(own)
    page.run("document.getElementById('copy').click()")
    page.settle("document.getElementById('copy').textContent === 'copied'")
    assert page.run("return window.copied") == page.text("#command")
    page = opened(SAMPLE, "-B", "1024")
    page.run("Object.defineProperty(navigator, 'clipboard', {value: undefined}); document.execCommand = () => false")
    page.run("document.getElementById('copy').click()")
    page.settle("document.getElementById('copy').textContent === 'selected: press Ctrl+C'")
    assert page.run("return String(getSelection())") == page.text("#command")


def test_the_sliders_have_names_and_respond_to_the_keyboard(opened: Open) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    page = opened(SAMPLE, "-B", "1024")
    slider = page.browser.find_element(By.ID, "budget_penalty_coef")
    assert slider.accessible_name.startswith("β, reward per token over it")
    assert slider.get_attribute("aria-valuetext") == "0.01 reward per token"
    before = page.numbers()["loss"]
    slider.send_keys(Keys.ARROW_RIGHT)
    assert slider.get_attribute("aria-valuetext") == "0.0126 reward per token"
    assert (page.numbers()["loss"] or 0) > (before or 0)
    slider.send_keys(Keys.HOME)
    assert slider.get_attribute("aria-valuetext") == "0 reward per token"


def test_hostile_strings_are_shown_as_text_and_never_run(opened: Open, tmp_path: Path) -> None:
    path = tmp_path / "<img src=x onerror=alert(3)>.jsonl"
    records = [{**GOOD, "prompt_id": HOSTILE, "response_length": n} for n in (100, 300)]
    path.write_bytes(lines(*records, {**GOOD, "reward": "<img src=x onerror=alert(4)>"}))
    page = opened(path, "-B", "200", exits=1)
    assert page.run("return window.alerts") == []
    assert page.errors() == []
    assert page.run("return document.querySelectorAll('img, main script').length") == 0
    assert page.text("#prompts tbody th") == HOSTILE
    assert HOSTILE in page.text(".findings")
    assert "onerror=alert(3)" in page.text("h1 + p")


@pytest.mark.parametrize(
    ("arguments", "records", "exits", "figures"),
    [
        pytest.param(("-B", "9"), [], 1, set(), id="no records"),
        pytest.param(("-B", "9"), [GOOD], 0, ALL, id="one"),
        pytest.param(
            ("--beta", "0", "--alpha", "0"),
            [{"prompt_id": 1, "reward": r} for r in (0, 1)],
            0,
            {"advantages", "rates"},
            id="rewards alone",
        ),
        pytest.param(
            ("-B", "9", "--alpha", "0"),
            [{"prompt_id": 1, "reward": r, "response_length": 9 + r} for r in (0, 1)],
            0,
            ALL,
            id="no log-probs",
        ),
        pytest.param(("-B", "9"), [{**GOOD, "reward": r} for r in (1e200, -1e200)], 1, ALL, id="beyond a double"),
    ],
)
def test_a_tiny_dump_gives_a_page(
    opened: Open, arguments: tuple[str, ...], records: list[dict[str, Any]], exits: int, figures: set[str]
) -> None:
    page = opened(*arguments, stdin=lines(*records), exits=exits)
    assert [each for each in page.errors() if each["level"] == "SEVERE"] == []
    assert {name.removeprefix("figure-") for name in page.charts()} == figures


def test_several_files_form_a_trend(opened: Open, tmp_path: Path) -> None:
    records = SAMPLE.read_bytes().splitlines(keepends=True)
    for step in range(3):
        (tmp_path / f"step-{step}.jsonl").write_bytes(b"".join(records[step::3]))
    page = opened(tmp_path, "-B", "1024")
    assert page.errors() == []
    trend = page.charts()["figure-trend"]
    assert "mark-line" in trend
    assert "step-1.jsonl" in trend


def test_on_a_phone_each_prompt_is_a_card_with_all_its_numbers(opened: Open) -> None:
    page = opened(SAMPLE, "-B", "1024", width=390)
    seen = page.run(
        "return [...document.querySelectorAll('#prompts tbody :is(th, td)')]"
        ".map((cell) => [cell.getBoundingClientRect().right, cell.scrollWidth - cell.clientWidth])"
    )
    assert len(seen) == 6 * 10
    assert all(right <= 390 and hidden <= 0 for right, hidden in seen)
    labels = page.run(
        "return [...document.querySelectorAll('#prompts tbody tr:first-child td')].map((c) => c.dataset.label)"
    )
    assert labels == ["n", "loss", "reward", "mean A²", "from length", "over", "longest", "note", "first at"]


def test_curves_follow_the_steps_of_a_dump(opened: Open, loss_json: LossJson) -> None:
    records = [
        {**GOOD, "step": step, "prompt_id": i // 4, "reward": (i + step) % 2, "response_length": 60 + 10 * i + step}
        for step in (9, 10)
        for i in range(8)
    ]
    dump = lines(*records)
    page = opened("-B", "100", stdin=dump)
    assert page.text("#figure-tokens figcaption strong") == "Length by step"
    rows = loss_json("-B", "100", "--by", "step", "--precision", "17", stdin=dump)["by"]
    shown = {
        "rewards": ["reward.mean", "adjusted_reward.mean"],
        "tokens": ["length.mean"],
        "divergence": ["kl.k1", "kl.k3"],
        "trend": ["loss", "advantage.mean_square"],
        "shares": ["advantage.budget_share", "over_budget.fraction"],
    }
    for name, paths in shown.items():
        points = page.run(
            "return [...document.querySelectorAll(`#figure-${arguments[0]} .mark-symbol path[aria-label]`)]"
            ".map((path) => path.ariaLabel)",
            name,
        )
        texts = [point.rpartition("value: ")[2].replace("\u2212", "-") for point in points]
        numbers = [float(text.removesuffix("%").replace(",", "")) / (100 if "%" in text else 1) for text in texts]
        expected = [number_in(row, path) for row in rows for path in paths]
        assert sorted(numbers) == pytest.approx(sorted(expected), rel=1e-3, abs=5e-4), name
        assert [row["key"] for row in rows] == [9, 10]


def number_in(row: dict[str, Any], path: str) -> float:
    value: Any = row
    for name in path.split("."):
        value = value[name]
    return float(value)


def test_a_dump_of_one_step_has_no_curves(opened: Open) -> None:
    dump = lines(*({**GOOD, "step": 3, "reward": i % 2} for i in range(4)))
    assert {name.removeprefix("figure-") for name in opened("-B", "100", stdin=dump).charts()} == ALL


def test_tasks_are_points_without_a_line(opened: Open) -> None:
    records = [{**GOOD, "task": HOSTILE if i < 4 else "math", "reward": i % 2, "prompt_id": i // 4} for i in range(8)]
    page = opened("-B", "100", "--by", "task", stdin=lines(*records))
    charts = page.charts()
    assert "mark-symbol" in charts["figure-rewards"]
    assert "mark-line" not in charts["figure-rewards"]
    assert (page.run("return window.alerts"), page.errors()) == ([], [])


def test_a_field_can_be_the_axis_of_the_trend(opened: Open) -> None:
    records = [{**GOOD, "epoch": HOSTILE if i < 2 else i // 2, "reward": i % 2, "prompt_id": i // 2} for i in range(40)]
    page = opened("-B", "100", "--by", "epoch", stdin=lines(*records))
    assert page.errors() == []
    assert "Loss by epoch" in page.text("#figure-trend figcaption")
    assert [part["label"] for part in page.data()["parts"]] == [*map(str, range(1, 20)), HOSTILE]
    page.slide("budget_penalty_coef", 40)
    assert (page.run("return window.alerts"), page.errors()) == ([], [])


def test_dark_and_print_have_their_own_colours(opened: Open) -> None:
    page = opened(SAMPLE, "-B", "1024")
    paper = "return getComputedStyle(document.body).backgroundColor"
    ink = "return getComputedStyle(document.querySelector('#figure-lengths svg text')).fill"
    light = page.run(paper), page.run(ink)
    dark = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", dark)
    assert light == ("rgb(255, 255, 255)", "rgb(28, 36, 48)")
    assert (page.run(paper), page.run(ink)) == ("rgb(18, 22, 28)", "rgb(230, 234, 240)")
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {**dark, "media": "print"})
    assert (page.run(paper), page.run(ink)) == ("rgb(255, 255, 255)", "rgb(0, 0, 0)")
    assert page.run("return getComputedStyle(document.getElementById('kl_coef')).display") == "none"
    printed = "return [...document.querySelectorAll('#prompts button')].every((each) => each.checkVisibility())"
    assert page.run(printed)  # the headings, and the ids that have texts
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})


def test_the_texts_of_a_prompt_unfold_from_its_row(opened: Open) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    page = opened(SAMPLE, "-B", "1024")
    assert page.run("return [...document.querySelectorAll('.text')].map((each) => each.open)") == [False] * 6
    page.slide("budget_penalty_coef", 0)
    link = page.browser.find_element(By.CSS_SELECTOR, "#prompts tbody .link")
    link.send_keys(Keys.ENTER)
    assert page.run("return [...document.querySelectorAll('.text[open] summary b')].map((e) => e.textContent)") == [
        link.text
    ]
    assert page.run("return document.activeElement.textContent").startswith(link.text)
    assert page.run("return location.hash.startsWith('#B=1024&beta=0') || location.hash === ''")
    assert page.errors() == []


@pytest.mark.parametrize("width", [1280, 390])
def test_tokens_are_drawn_by_their_log_ratios_without_overlaps(opened: Open, width: int) -> None:
    lists = {
        "log_prob": [-1.0, -2.0, -5.0],
        "old_log_prob": [-1.0, -2.05, -1.0],
        "sampler_log_prob": [-1.0, -2.0, -4.9],
    }
    page = opened("-B", "9", stdin=lines({**GOOD, **lists, "response_length": 3}), width=width)
    bars = page.run(
        "return [...document.querySelectorAll('#figure-ratios .mark-rect path')].map((bar) => bar.ariaLabel)"
    )
    assert sum("tokens: 1" in bar for bar in bars) == 4  # −4, 0, 0.05 and −0.1
    assert any("to the reference" in bar and "from: −∞; to: −3" in bar for bar in bars)
    assert_readable(page)
