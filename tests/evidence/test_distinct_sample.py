"""If this fails, finding copies depends on where a dump was split, or different responses pass for copies."""

from typing import Any

import numpy as np
import pytest

from budget_cli.evidence import distinct_sample
from budget_cli.evidence.distinct_sample import DistinctSample


def test_a_sample_holds_all_or_none_of_equal_digests_and_stays_within_its_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(distinct_sample, "KEPT", 100)
    chance = np.random.default_rng(3)
    distinct = chance.integers(0, 2**64, 2000, dtype=np.uint64)
    digest = np.concatenate([distinct, distinct[:500]])
    place = np.arange(digest.size)
    samples = []
    for size in (2500, 700, 31):
        sample = DistinctSample()
        for at in range(0, digest.size, size):
            one = DistinctSample()
            piece = slice(at, at + size)
            one.add(digest[piece], place[piece].astype(np.intp), place[piece], digest[piece])
            sample.merge(one, np.arange(digest.size), 0)
        assert sample.digest.size <= 100
        samples.append((sample.level, sorted(sample.place.tolist())))
    assert samples[0] == samples[1] == samples[2]
    level, places = samples[0]
    assert level == 5  # 2500 / 2^5 = 78
    kept = set(digest[places].tolist())
    assert places == [i for i, one in enumerate(digest.tolist()) if one in kept]


def test_digests_differ_if_any_number_differs() -> None:
    columns: list[Any] = [None, np.array([1.0, 1.0, 2.0, 1.0]), np.array([2.0, 2.0, 1.0, np.nan])]
    mixed = distinct_sample.number_digests(4, columns).tolist()
    assert mixed[0] == mixed[1]
    assert len(set(mixed)) == 3
    assert distinct_sample.number_digests(4, [np.full(4, np.nan), *columns[1:]]).tolist() == mixed


def test_numbers_with_few_bits_have_distinct_digests() -> None:
    # multiples of 1/256 and whole tokens: all but some twenty bits of each are 0
    reward, length = (each.ravel().astype(np.float64) for each in np.meshgrid(np.arange(-256, 257) / 256, range(400)))
    digests = distinct_sample.number_digests(reward.size, [reward, length, None])
    assert len(set(digests.tolist())) == reward.size == 205_200
