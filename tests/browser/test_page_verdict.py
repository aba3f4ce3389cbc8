"""If this fails, the sentence above the sliders says something else than `loss` at the same B, β and α."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from command import LossJson, Run
from page_numbers import NODE, shown_for
from samples import lines

pytest.importorskip("vl_convert", reason="the page's charts need the extra: pip install 'budget-cli[report]'")
pytestmark = pytest.mark.skipif(NODE is None, reason="there is no Node.js to run page.js")

SAMPLE = (Path(__file__).parents[2] / "sample_data" / "rollouts.jsonl").read_bytes()
STATES = 10


def records(*rows: tuple[str, float | None, int | None], **more: Any) -> bytes:
    base = {"log_prob": -1.0, "old_log_prob": -1.0} | more
    made = [{"prompt_id": p, "reward": r, "response_length": n} | base for p, r, n in rows]
    return lines([{k: v for k, v in one.items() if v is not None or k == "reward"} for one in made])


HALF = [("c", 1, 100), ("c", 0, 200)]
LONG = [("b", 1, 100), ("b", 1, 300)]
NOTHING = [("d", 1, 50), ("d", 1, 60)]
EIGHTH = [("h", reward, length) for reward, length in ((7, 100), (0, 100), (0, 200), (7, 200))]
DUMPS: dict[str, tuple[bytes, tuple[str, ...]]] = {
    "sample": (SAMPLE, ("-B", "1024")),
    "by prompt": (SAMPLE, ("-B", "700", "--aggregate", "prompt")),
    "grpo": (SAMPLE, ("-B", "1024", "--objective", "trl-grpo")),
    "reinforce++": (SAMPLE, ("-B", "1024", "--set", "advantage=reinforce++")),
    "distance": (SAMPLE, ("-B", "1024", "--set", "penalty=distance")),
    "all kinds": (records(*HALF, *LONG, *NOTHING, ("g", 1, 300)), ("-B", "100")),
    "singletons": (records(*HALF, ("g", 1, 300)), ("-B", "100", "--set", "singletons=reward")),
    "phantom": (records(*LONG), ("-B", "100")),
    "nothing": (records(*NOTHING), ("-B", "100")),
    "alone": (records(("g", 1, 300), ("h", 0, 1)), ("-B", "100")),
    "exact halves of a percent": (records(*EIGHTH), ("-B", "100", "--beta", "0.01")),
    "rejected": (records(*HALF, ("x", None, 1)), ("-B", "100")),
    "no lengths": (records(*[(p, r, None) for p, r, _ in HALF]), ("--beta", "0")),
    "no log-probs": (records(*HALF, log_prob=None, old_log_prob=None), ("-B", "100", "--kl-coef", "0")),
    "own budgets": (records(*HALF, *LONG, budget=120), ("--set", "budget_field=budget")),
    "beyond a double": (records(("p", 1e200, 120), ("p", -1e200, 120)), ("-B", "9")),
}


@pytest.mark.parametrize("name", DUMPS)
def test_the_sentence_is_that_of_the_command_at_ten_places_of_the_sliders(
    budget_cli: Run, loss_json: LossJson, name: str
) -> None:
    dump, arguments = DUMPS[name]
    page = budget_cli("report", *arguments, stdin=dump).stdout.decode()
    data = json.loads(page.partition('id="data">')[2].partition("</script>")[0])
    axes = [data["grid"][axis] for axis in ("token_budget", "budget_penalty_coef", "kl_coef")]
    dice = random.Random(name)
    if "--kl-coef" in arguments:  # without log-probs, `loss` takes no other α
        axes[2] = axes[2][:1]
    random_places = [[dice.randrange(len(values)) for values in axes] for _ in range(STATES - 2)]
    places = [data["at"], [0, 0, 0], *random_places]
    shown = shown_for([data | {"at": at} for at in places])
    given = [word for word in arguments if word not in ("-B", "1024", "700", "100", "9")]
    for at, found in zip(places, shown, strict=True):
        budget, beta, alpha = (values[place] for values, place in zip(axes, at, strict=True))
        b = () if budget is None else ("-B", str(budget))
        run = budget_cli(
            "loss", *given, *b, "--beta", str(beta), "--kl-coef", str(alpha), "-f", "json", "--ignore-unneeded",
            stdin=dump,
        )  # fmt: skip
        assert found.verdict.replace("β\u00a0", "β ") == json.loads(run.stdout)["headline"], (budget, beta, alpha)
    assert shown[0].verdict in page.replace("&#x27;", "'")
