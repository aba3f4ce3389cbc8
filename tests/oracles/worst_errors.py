"""The worst relative error of every number over adversarial dumps, against exact rationals, as a table.

    PYTHONPATH=tests/support:tests/oracles python tests/oracles/worst_errors.py --dumps 10000

Dump i of a kind is made from the seed i alone, and folded from one to four parts.
"""

import argparse
import random
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
from exact_numbers import (
    QUANTITIES,
    Exact,
    Response,
    budget_numbers,
    differences,
    loss_numbers,
    prompt_numbers,
    relative_error,
    term_numbers,
)
from exact_objectives import learnability_numbers, objective_numbers, policy_numbers
from grouping import groups_of
from page_numbers import NODE, PROMPT, shown_by

from budget_cli.analysis.compare import compare_groups, pair
from budget_cli.analysis.grid import Grid
from budget_cli.analysis.learnability import compute_learnability
from budget_cli.analysis.loss import Coefficients, compute_loss, number_at, per_prompt_losses
from budget_cli.analysis.policies import compare_policies
from budget_cli.analysis.report import build_page_data
from budget_cli.analysis.sweep import VARYING, compute_sweep
from budget_cli.evidence.counters import Counters
from budget_cli.evidence.responses import ObservationSpec, Responses
from budget_cli.groups.groups import Groups
from budget_cli.groups.moments import Layout
from budget_cli.groups.penalty import hinges_of, penalised
from budget_cli.objective.estimators import ESTIMATORS
from budget_cli.objective.settings import DEFAULT, Objective, parse
from budget_cli.records.columns import ResponseColumns, Tally
from budget_cli.scanning.terms import Trained, terms_of

Dice = random.Random
Dump = tuple[list[Response], Coefficients]
Errors = dict[str, float]

BUDGET = 1000


def _shaped(
    dice: Dice,
    reward: Callable[[int], float],
    length: Callable[[], int],
    log_ratio: Callable[[int], float],
    sizes: tuple[int, int] = (1, 8),
) -> list[Response]:
    """Return one to four prompts, their responses interleaved."""
    responses = []
    for prompt in range(dice.randint(1, 4)):
        responses += [
            Response(prompt, reward(prompt), length(), log_ratio(prompt)) for _ in range(dice.randint(*sizes))
        ]
    dice.shuffle(responses)
    return responses


def _tokens(dice: Dice) -> int:
    return max(0, round(dice.gauss(BUDGET, 300)))


def ordinary(dice: Dice) -> Dump:
    """Rewards about 1, log-ratios of a tenth of a nat, the default coefficients."""
    responses = _shaped(
        dice, lambda _: dice.choice([0.0, 1.0, dice.random()]), lambda: _tokens(dice), lambda _: dice.gauss(0, 0.1)
    )
    return responses, Coefficients(BUDGET, 0.01, 0.1)


def far_from_zero(dice: Dice) -> Dump:
    """Means of 1e9 with a spread of 1e-3."""
    means = [dice.choice([-1, 1]) * 1e9 for _ in range(2)]
    same = dice.random() < 0.5
    k_mean = means[1] if dice.random() < 0.5 else 0.0
    responses = _shaped(
        dice,
        lambda prompt: dice.gauss(means[0] * (1 if same else (-1) ** prompt), 1e-3),
        lambda: _tokens(dice),
        lambda _: dice.gauss(k_mean, 1e-3),
    )
    return responses, Coefficients(BUDGET, 10 ** dice.uniform(-8, -2), 10 ** dice.uniform(-12, 0))


def scales(dice: Dice) -> Dump:
    """Every size of spread and coefficient, from 1e-6 to 1e6."""
    spreads = [10 ** dice.uniform(-6, 6) for _ in range(2)]
    responses = _shaped(
        dice,
        lambda prompt: dice.gauss(0, spreads[0] * 10.0 ** (-2 * prompt)),
        lambda: round(10 ** dice.uniform(0, 9)),
        lambda prompt: dice.gauss(0, spreads[1] * 10.0**-prompt),
    )
    return responses, Coefficients(BUDGET, 10 ** dice.uniform(-6, 6), 10 ** dice.uniform(-6, 6))


def cancelling_means(dice: Dice) -> Dump:
    """Rewards and log-ratios whose sums are 1e-12 to 1e-3 of their terms."""
    responses = _shaped(dice, lambda _: dice.gauss(0, 1), lambda: _tokens(dice), lambda _: dice.gauss(0, 1))
    rest = 10 ** dice.uniform(-12, -3)
    turned = [each._replace(reward=rest - each.reward, log_ratio=rest - each.log_ratio) for each in responses]
    both = responses + turned
    dice.shuffle(both)
    return both, Coefficients(BUDGET, 10 ** dice.uniform(-15, -3), 10 ** dice.uniform(-9, 0))


def near_ties(smallest: float, largest: float) -> Callable[[Dice], Dump]:
    """Two or three responses whose adjusted rewards differ by this share of what cancels."""

    def make(dice: Dice) -> Dump:
        beta, gap = 10 ** dice.uniform(-4, 0), 10 ** dice.uniform(smallest, largest)
        responses = []
        for prompt in range(dice.randint(1, 3)):
            level = dice.gauss(0, 1)
            for _ in range(dice.randint(2, 3)):
                tokens = BUDGET + dice.randint(0, 2000)
                reward = level + beta * (tokens - BUDGET) * (1 + dice.choice([-1, 1]) * gap)
                responses.append(Response(prompt, reward, tokens, dice.gauss(0, 1)))
        return responses, Coefficients(BUDGET, beta, dice.choice([0.0, gap * gap]))

    return make


def explained(dice: Dice) -> Dump:
    """Advantages that α·k explains but for 1e-6 to 1e-1 of them, or of which it explains no more than that."""
    alpha, gap = 10 ** dice.uniform(-3, 1), 10 ** dice.uniform(-6, -1)
    responses = []
    for prompt in range(dice.randint(1, 3)):
        for _ in range(dice.randint(2, 4)):
            k = dice.gauss(0, 1)
            responses.append(Response(prompt, alpha * (k + gap * dice.gauss(0, 1)), _tokens(dice), k))
    responses += [one._replace(reward=-one.reward, log_ratio=-one.log_ratio) for one in responses]
    return responses, Coefficients(BUDGET, dice.choice([0.0, 1e-9]), alpha * dice.choice([1, gap]))


def large(dice: Dice) -> Dump:
    """One prompt of thousands of responses among small ones."""
    responses = [
        Response("a", dice.gauss(5, 1), _tokens(dice), dice.gauss(-3, 1)) for _ in range(dice.randint(2000, 2500))
    ]
    return responses + [
        Response("b", dice.gauss(0, 1), _tokens(dice), dice.gauss(0, 1)) for _ in range(3)
    ], Coefficients(BUDGET, 0.01, 0.1)


KINDS: dict[str, Callable[[Dice], Dump]] = {
    "ordinary": ordinary,
    "1e9 ± 1e-3": far_from_zero,
    "scales": scales,
    "sums cancel": cancelling_means,
    "ties to 1e-2": near_ties(-2, 0),
    "ties to 1e-5": near_ties(-5, -2),
    "explained": explained,
    "thousands": large,
}
RARE = {"thousands": 500}  # one for so many others, as exact rationals are slow


def cut(dice: Dice, responses: Sequence[Response]) -> list[Sequence[Response]]:
    """Return from one to four parts."""
    cuts = sorted(dice.sample(range(len(responses) + 1), min(dice.randint(0, 3), len(responses))))
    return [responses[first:last] for first, last in zip([0, *cuts], [*cuts, len(responses)], strict=True)]


def folded(dice: Dice, responses: Sequence[Response], budgets: Sequence[int], layout: Layout | None = None) -> Groups:
    """Return the groups of these responses, from one to four parts."""
    groups = Groups(layout or Layout(tuple(budgets)))
    for part in cut(dice, responses):
        groups.merge(groups_of(part, budgets, layout))
    return groups


def errors(found: Callable[[str], float | None], exact: dict[str, Exact], prefix: str) -> Errors:
    """Return the relative error of each number."""
    return {f"{prefix} {name}": relative_error(found(name), value) for name, value in exact.items()}


def of_loss(dice: Dice, dump: Dump) -> list[Errors]:
    """The numbers of `loss`, by response and by prompt, and of each prompt."""
    responses, coefficients = dump
    groups = folded(dice, responses, [BUDGET])
    found = []
    for by in ("response", "prompt"):
        loss = compute_loss(groups, coefficients, Tally(), by)  # type: ignore[arg-type]
        found.append(errors(partial(number_at, loss), loss_numbers(responses, coefficients, by), "loss"))
    for one, exact in zip(
        per_prompt_losses(groups, coefficients), prompt_numbers(responses, coefficients), strict=True
    ):
        found.append(errors(partial(getattr, one), exact, "prompts"))
    return found


def of_sweep(dice: Dice, dump: Dump) -> list[Errors]:
    """The numbers of the cells of a sweep."""
    responses, coefficients = dump
    _, beta, alpha = coefficients
    grid = Grid((BUDGET - 100, BUDGET), (beta, beta / 3), (alpha, alpha / 3))
    sweep = compute_sweep(folded(dice, responses, grid.token_budget), grid, Tally())  # type: ignore[arg-type]
    found = []
    for b, i, j in ((0, 1, 0), (1, 0, 0), (1, 0, 1)):
        exact = loss_numbers(
            responses, Coefficients(grid.token_budget[b], grid.budget_penalty_coef[i], grid.kl_coef[j])
        )
        varying = {name: value for name, value in exact.items() if name in VARYING}
        found.append(errors({name: float(sweep.at(name)[b, i, j]) for name in varying}.__getitem__, varying, "sweep"))
    for effect, budget in zip(sweep.budgets, grid.token_budget, strict=True):
        effects = budget_numbers(responses, budget or 0)
        found.append(errors(partial(getattr, effect), effects, "sweep, budgets"))
    return found


def of_annotate(dice: Dice, dump: Dump) -> list[Errors]:
    """The terms of each response."""
    responses, coefficients = dump
    groups = folded(dice, responses, [BUDGET])
    return _terms_of(responses, groups, coefficients, term_numbers(responses, coefficients), DEFAULT, "annotate")


def _terms_of(
    responses: Sequence[Response],
    groups: Groups,
    coefficients: Coefficients,
    exact: Sequence[dict[str, Exact]],
    of: Objective,
    prefix: str,
) -> list[Errors]:
    ids = list(dict.fromkeys(each.prompt for each in responses))
    responses = sorted(responses, key=lambda each: ids.index(each.prompt))
    r, tokens, k = (np.array([each[i] for each in responses], dtype=np.float64) for i in (1, 2, 3))
    codes = np.array([ids.index(each.prompt) for each in responses], dtype=np.intp)
    columns = ResponseColumns(ids, codes, codes, r, tokens, k, np.zeros_like(k), None)
    terms = terms_of(columns, groups.rows(ids)[codes], Trained.of(groups, *coefficients[1:], of))
    return [
        errors({name: float(getattr(terms, name)[i]) for name in numbers}.__getitem__, numbers, prefix)
        for i, numbers in enumerate(exact)
    ]


def of_compare(dice: Dice, dump: Dump) -> list[Errors]:
    """The differences between the dump and another like it, or one with slightly other numbers."""
    responses, coefficients = dump
    by = 10 ** dice.uniform(-9, 0) * (np.std([one.reward for one in responses]) or 1.0)
    other = [
        one._replace(
            reward=one.reward + dice.gauss(0, by),
            log_ratio=one.log_ratio + dice.gauss(0, by),
            length=max(0, one.length + dice.randint(-1, 1)),
        )
        for one in responses
    ]
    base, new = folded(dice, responses, [BUDGET]), folded(dice, other, [BUDGET])
    comparison = compare_groups(base, new, pair(base, new), coefficients)
    exact = differences(responses, other, coefficients)
    return [
        errors(partial(getattr, getattr(comparison, quantity)), exact[quantity], f"compare {quantity}")
        for quantity in QUANTITIES
        if quantity != "zero_variance"
    ]


def of_page(dice: Dice, dump: Dump) -> list[Errors]:
    """The numbers that the page of `report` computes, at some positions of its sliders, and those of its prompts."""
    responses, (_, beta, alpha) = dump
    grid = Grid((BUDGET - 100, BUDGET), (beta / 3, beta), (alpha / 3, alpha))
    groups, found, pages, asked = folded(dice, responses, (BUDGET - 100, BUDGET)), [], [], []
    for b, i, j in ((0, 0, 1), (1, 1, 0), (1, 1, 1)):
        coefficients = Coefficients(grid.token_budget[b], grid.budget_penalty_coef[i], grid.kl_coef[j])
        distinct = grid._replace(kl_coef=tuple(sorted({*grid.kl_coef})))
        pages.append(build_page_data(groups, {}, distinct, coefficients, Tally()))
        asked.append(coefficients)
    for shown, coefficients in zip(shown_by(pages), asked, strict=True):
        exact = {name: value for name, value in loss_numbers(responses, coefficients).items() if name in VARYING}
        found.append(errors(shown.numbers.__getitem__, exact, "page"))
        keys = list(dict.fromkeys(str(each.prompt) for each in responses))
        for key, numbers in zip(keys, prompt_numbers(responses, coefficients), strict=True):
            of_prompt = {name: value for name, value in numbers.items() if name in PROMPT}
            found.append(errors(shown.prompts[key].__getitem__, of_prompt, "page, prompts"))
    return found


ESTIMATED = {name: {"advantage": name} for name in ESTIMATORS if name != "centred"}
PENALISED: dict[str, dict[str, Any]] = {
    "capped": {"penalty": "capped", "cap": 400},
    "step": {"penalty": "step"},
    "distance": {"penalty": "distance"},
    "correct": {"penalize": "correct"},
    "distance of correct": {"penalty": "distance", "penalize": "correct"},
    "solve rate": {"scale": "solve-rate", "scale_floor": "1/n"},
    "gate": {"gate": 0.5},
}
WEIGHTED: dict[str, dict[str, Any]] = {
    "token": {"aggregate": "token"},
    "prompt-token": {"aggregate": "prompt-token"},
    "constant": {"aggregate": "constant", "constant": 4096},
}
FAMILIES = {"advantage": ESTIMATED, "penalty": PENALISED, "aggregate": WEIGHTED}


def of_objectives(dice: Dice, dump: Dump) -> list[Errors]:
    """The numbers of `loss`, `sweep` and `annotate` with another advantage, another penalty and another aggregate."""
    found = []
    for family, settings in FAMILIES.items():
        if family == "aggregate" and sum(each.length**2 for each in dump[0]) >= 2**53:
            continue  # tokens by tokens are no whole numbers of a double then: docs/numbers.md says so
        name = dice.choice(list(settings))
        values = dict(settings[name])
        if family == "aggregate" and dice.random() < 0.5:  # and with both of the others
            values |= dice.choice(list(ESTIMATED.values())) | dice.choice(list(PENALISED.values()))
        elif family == "advantage" and ESTIMATORS[name].divides:
            values["eps"] = dice.choice([0, 1e-6, 1e-4])
        if family == "advantage" and not ESTIMATORS[name].of_batch:
            values["singletons"] = dice.choice(["zero", "reward"])
        values |= {"correct_above": dice.choice([0.0, dump[0][0].reward])}
        found += _of_objective(dice, dump, parse("mine", values), f"{family}=… ")
    return found


def _of_objective(dice: Dice, dump: Dump, of: Objective, prefix: str) -> list[Errors]:
    responses, coefficients = dump
    aggregate: Any = of.aggregate
    groups = penalised(folded(dice, responses, (BUDGET,), hinges_of(of, (BUDGET,))), of, (BUDGET,))
    numbers, prompts, terms = objective_numbers(responses, coefficients, of)
    loss = compute_loss(groups, coefficients, Tally(), aggregate, trained=of)
    found = [errors(partial(number_at, loss), numbers, prefix + "loss")]
    if groups.layout.by_token:
        return found
    for one, exact in zip(per_prompt_losses(groups, coefficients, trained=of), prompts, strict=True):
        found.append(errors(partial(getattr, one), exact, prefix + "prompts"))
    _, beta, alpha = coefficients
    grid = Grid((BUDGET,), (beta / 3, beta), (alpha / 3, alpha))
    sweep = compute_sweep(groups, grid, Tally(), trained=of)
    for i, j in ((0, 0), (1, 1)):
        at = Coefficients(BUDGET, grid.budget_penalty_coef[i], grid.kl_coef[j])
        exact = numbers if (i, j) == (1, 1) else objective_numbers(responses, at, of)[0]
        cell = {name: float(sweep.at(name)[0, i, j]) for name in exact}
        found.append(errors(cell.__getitem__, exact, prefix + "sweep"))
    return found + _terms_of(responses, groups, coefficients, terms, of, prefix + "annotate")


def of_learnability(dice: Dice, dump: Dump) -> list[Errors]:
    """The fractions of `learnability`, with a reward of the dump as the one that is right, or the next below."""
    responses, _ = dump
    above = dice.choice([0.0, dice.choice(responses).reward])
    learned = compute_learnability(folded(dice, responses, (), Layout((), above)))
    return [errors(partial(number_at, learned), learnability_numbers(responses, above), "learnability")]


def of_policies(dice: Dice, dump: Dump) -> list[Errors]:
    """The numbers of `check` on two policies, whose largest log-ratio is from 1e-9 to 100 nats."""
    found = []
    largest = max(abs(each.log_ratio) for each in dump[0]) or 1.0
    for nats in (10 ** dice.uniform(-9, -3), 10 ** dice.uniform(-3, 2)):
        responses = [each._replace(log_ratio=each.log_ratio / largest * nats) for each in dump[0]]
        counters = Counters()
        for part in filter(None, cut(dice, responses)):
            k, at = np.array([each.log_ratio for each in part]), np.arange(len(part))
            names = [str(i) for i in at]
            block = Responses(names, at, at, np.zeros_like(k), log_prob=k, old_log_prob=np.zeros_like(k))
            counters.merge(Counters.from_responses(ObservationSpec(), block), at, 0)
        shown: Any = SimpleNamespace(counters=counters, responses=len(responses), at=lambda *_: None)
        (pair,) = compare_policies(shown)
        exact = policy_numbers([each.log_ratio for each in responses])
        found.append(errors(partial(getattr, pair), exact, "policies"))
    return found


COMMANDS: dict[str, Callable[[Dice, Dump], list[Errors]]] = {
    "loss": of_loss,
    "sweep": of_sweep,
    "annotate": of_annotate,
    "compare": of_compare,
    "objectives": of_objectives,
    "learnability": of_learnability,
    "policies": of_policies,
    **({"page": of_page} if NODE else {}),  # far slower: Node.js is started for every dump
}


def worst_of(
    kind: str, seeds: Sequence[int], commands: Sequence[str] = tuple(COMMANDS)
) -> dict[str, tuple[float, int]]:
    """Return the worst error of each number, and the seed that gave it."""
    worst: dict[str, tuple[float, int]] = defaultdict(lambda: (0.0, -1))
    for seed in seeds:
        dump = KINDS[kind](random.Random(seed))
        for command in commands:
            for each in COMMANDS[command](random.Random(seed), dump):
                for name, error in each.items():
                    worst[name] = max(worst[name], (error, seed))
    return dict(worst)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dumps", type=int, default=10000, help="of all kinds together")
    parser.add_argument("--kinds", nargs="*", choices=KINDS, default=list(KINDS))
    parser.add_argument("--commands", nargs="*", choices=COMMANDS, default=list(COMMANDS))
    parser.add_argument("--seeds", action="store_true", help="show the seed of each worst dump")
    chosen = parser.parse_args()
    many = chosen.dumps // max(1, sum(kind not in RARE for kind in chosen.kinds))
    columns: list[dict[str, Any]] = [
        worst_of(kind, range(max(1, many // RARE.get(kind, 1))), chosen.commands) for kind in chosen.kinds
    ]
    lines = ["| number | " + " | ".join(chosen.kinds) + " |", "|---|" + "---|" * len(columns)]
    for name in dict.fromkeys(name for column in columns for name in column):
        cells = []
        for column in columns:
            error, seed = column.get(name, (None, -1))
            cells.append("" if error is None else "0" if not error else f"{error:.0e}" + f" ({seed})" * chosen.seeds)
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
