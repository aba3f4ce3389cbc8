"""If this fails, an effective sample size or another number on importance weights is wrong, or depends on the order."""

import math
import random
from collections.abc import Sequence
from decimal import Context, Decimal, localcontext

import numpy as np
import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from budget_cli.evidence.counters import Counters
from budget_cli.evidence.weights import LARGEST, UNKNOWN, Extreme, Weights
from budget_cli.scanning import evidence_json

ROWS = np.arange(1000)
EXACT = Context(prec=60, Emin=-(10**17), Emax=10**17)


def weights_of(log_ratios: Sequence[float]) -> Weights:
    """The weights of responses on the lines from 1 on, each of a prompt of its own."""
    k, line = np.array(log_ratios, dtype=np.float64), np.arange(1, len(log_ratios) + 1)
    return Weights.from_log_ratios(k, line, line - 1)


def merged(parts: Sequence[Sequence[float]]) -> Weights:
    total, lines = Weights(), 0
    for part in parts:
        total.merge(weights_of(part), ROWS[lines:], lines)
        lines += len(part)
    return total


def test_two_weights_by_hand() -> None:
    found = weights_of([math.log(2), -math.log(2)])  # w is 2 and 1/2
    assert found.moment(1, 2) == 1.25
    assert found.moment(2, 2) == pytest.approx(4.25 / 2)
    assert found.effective == pytest.approx(25 / 17)  # 2.5² / 4.25
    assert [(one.log_ratio, one.place, one.row) for one in found.largest] == [
        (math.log(2), 1, 0),
        (-math.log(2), 2, 1),
    ]


@pytest.mark.parametrize("n", [1, 2, 7, 1000])
def test_of_equal_policies_every_response_counts(n: int) -> None:
    found = weights_of([0.0] * n)
    assert (found.effective, found.moment(1, n), found.moment(2, n)) == (n, 1.0, 1.0)


@pytest.mark.parametrize(
    ("log_ratios", "effective", "mean", "square"),
    [
        ([800.0], 1.0, None, None),
        ([-800.0], 1.0, 0.0, 0.0),  # e^-800 rounds to 0
        ([800.0, -800.0], 1.0, None, None),
        ([800.0, 800.0, 800.0], 3.0, None, None),
        ([-800.0] * 4, 4.0, 0.0, 0.0),
        ([300.0], 1.0, math.exp(300), math.exp(600)),
        ([400.0], 1.0, math.exp(400), None),
        ([1e300, 1e300, 0.0], 2.0, None, None),
        ([-1e308], 1.0, 0.0, 0.0),
        ([math.inf, 0.0], None, None, None),  # the difference of two log-probs overflowed
        ([-math.inf, 0.0], 1.0, 0.5, 0.5),
        ([-math.inf], None, 0.0, 0.0),
    ],
)
def test_a_number_is_missing_only_where_a_double_cannot_hold_it(
    log_ratios: list[float], effective: float | None, mean: float | None, square: float | None
) -> None:
    for found in (weights_of(log_ratios), merged([[one] for one in log_ratios])):
        assert (found.effective is None) == (effective is None)
        assert found.effective == pytest.approx(effective) if effective else True
        for power, expected in ((1, mean), (2, square)):
            moment = found.moment(power, len(log_ratios))
            assert moment == (None if expected is None else pytest.approx(expected, rel=1e-12))


@pytest.mark.parametrize("nats", [1e-9, 1e-5, 1e-3, 0.5, 10.0])
def test_chi_square_keeps_its_digits_where_policies_are_close(nats: float) -> None:
    every = [nats, -nats, 0.3 * nats, nats * nats]
    with localcontext(EXACT):
        exact = sum((2 * Decimal(k)).exp() - 1 for k in every) / len(every)
    for found in (weights_of(every), merged([[one] for one in every])):
        assert found.chi_square(len(every)) == pytest.approx(float(exact), rel=1e-14)


def test_without_the_sum_of_an_earlier_version_chi_square_is_the_mean_square_less_1() -> None:
    found = weights_of([math.log(2)])
    found.merge(Weights(0.0, 1.0, 1.0, beyond=UNKNOWN), ROWS, 0)
    assert found.chi_square(2) == pytest.approx(1.5)


LOG_RATIOS = st.floats(-900, 900) | st.floats(-1, 1) | st.sampled_from([0.0, 800.0, -800.0, 256.0, -256.0])


@given(parts=st.lists(st.lists(LOG_RATIOS, max_size=12), min_size=1, max_size=5))
@example(parts=[[767.0], [777.0]])  # on both sides of where the pivot changes
@example(parts=[[-260.0, -250.0], [-257.0]])
def test_the_sums_are_those_of_plain_arithmetic(parts: list[list[float]]) -> None:
    every = [k for part in parts for k in part]
    with localcontext(EXACT):
        w = [Decimal(k).exp() for k in every]
        total, squares = sum(w), sum(one * one for one in w)
        effective = float(total * total / squares) if w else None
        mean = float(total / len(w)) if w else None
    for found in (merged(parts), merged([every])):
        assert found.effective == (None if effective is None else pytest.approx(effective, rel=1e-12))
        moment = found.moment(1, len(every))
        if mean is None or mean == math.inf:
            assert moment is None
        else:
            assert moment == pytest.approx(mean, rel=1e-12, abs=1e-300)
        ranked = sorted(range(len(every)), key=lambda i: (-every[i], i))[:LARGEST]
        assert [(one.log_ratio, one.place, one.row) for one in found.largest] == [(every[i], i + 1, i) for i in ranked]


@given(st.lists(LOG_RATIOS, min_size=1, max_size=20), st.randoms())
def test_the_order_of_responses_does_not_matter(log_ratios: list[float], chance: random.Random) -> None:
    other = list(log_ratios)
    chance.shuffle(other)
    one, two = weights_of(log_ratios), weights_of(other)
    assert one.effective == pytest.approx(two.effective, rel=1e-12)
    assert one.pivot == two.pivot


@given(st.lists(st.lists(LOG_RATIOS, min_size=1, max_size=6), min_size=1, max_size=4))
def test_a_summary_changes_no_bit(parts: list[list[float]]) -> None:
    def through(weights: Weights) -> Weights:
        counters = Counters()
        counters.weights["reference"] = weights
        shown = orjson.loads(orjson.dumps(evidence_json.to_json(counters, ROWS * 2)))
        found = evidence_json.from_json(shown, ROWS * 2, ())
        assert found is not None
        return found.counters.weights["reference"]

    first, total, again = weights_of(parts[0]), Weights(), Weights()
    first.worst = [Extreme(-math.inf, 3, 0, 17), Extreme(1.5, 1, 0, 0)]
    for part in (first, *map(weights_of, parts[1:])):
        total.merge(part, ROWS, 1000)
        again.merge(through(part), ROWS, 1000)
    assert vars(total) == vars(again) == vars(through(again))


@pytest.mark.parametrize(
    "shown",
    [
        [],
        [0, 1, 1, []],
        [0, 1, 1, [], [], []],
        ["nan", 1, 1, [], []],
        [0, "1", 1, [], []],
        [0, -1, 1, [], []],
        [0, 1, 1, [[0.5, 0, 2, -1]], []],
        [0, 1, 1, [[0.5, 2**40, 2, -1]], []],
        [0, 1, 1, [[0.5, 1, 3, -1]], []],  # no prompt of this source
        [0, 1, 1, [[0.5, 1, 2]], []],
        [0, 1, 1, [], [[0.5, 1, 2, -2]]],
        [True, 1, 1, [], []],
        {},
        None,
    ],
)
def test_what_is_no_sum_of_weights_is_no_evidence(shown: object) -> None:
    assert evidence_json.from_json({"weights": {"reference": shown}}, np.array([2]), ()) is None
