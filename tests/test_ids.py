"""If this fails, two prompts count as one, one counts as two, or a prompt is shown under another id."""

import contextlib
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from budget_cli import native
from budget_cli.ids import Ids, Key, Packed, PlainTable, keys_at

key = st.integers(-(2**63), 2**64 - 1) | st.text(max_size=40) | st.sampled_from([1, "1", 0, "0", "", '"', "\\", "é\0,"])
keys = st.lists(key, max_size=300)
EXTENSIONS = [True, False] if native.AVAILABLE else [False]


@pytest.fixture(params=EXTENSIONS, ids=lambda compiled: "compiled" if compiled else "plain")
def ids(request: pytest.FixtureRequest) -> Ids:
    return new_ids(request.param)


def new_ids(compiled: bool) -> Ids:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "AVAILABLE", compiled)
        return Ids()


def test_places_number_the_distinct_ids_in_order_of_first_occurrence(ids: Ids) -> None:
    assert ids.places(["b", 1, "b", "1", 1]).tolist() == [0, 1, 0, 2, 1]
    assert ids.find(["1", "c", 1]).tolist() == [2, -1, 1]
    assert ids.places(["c", "b"]).tolist() == [3, 0]
    assert (list(ids.all()), len(ids)) == (["b", 1, "1", "c"], 4)


def test_an_id_that_was_only_looked_for_stays_unknown(ids: Ids) -> None:
    assert ids.find(["a"]).tolist() == [-1]
    assert (list(ids.all()), len(ids)) == ([], 0)


@pytest.mark.parametrize("compiled", EXTENSIONS)
def test_ids_use_the_compiled_table_if_there_is_one(compiled: bool) -> None:
    assert (type(new_ids(compiled)._table) is PlainTable) is not compiled


@given(st.lists(keys, max_size=5), st.sampled_from(EXTENSIONS))
def test_ids_behave_like_a_dict(parts: list[list[Key]], compiled: bool) -> None:
    ids, known = new_ids(compiled), dict[Key, int]()
    for part in parts:
        assert ids.find(part).tolist() == [known.get(each, -1) for each in part]
        expected = [known.setdefault(each, len(known)) for each in part]
        packed = Packed.from_ids(list(dict.fromkeys(part)))
        assert ids.places(part).tolist() == expected
        assert ids.places(packed).tolist() == list(dict.fromkeys(expected))
    assert list(ids.all()) == list(known)


@given(st.lists(key, unique_by=lambda one: (type(one), one), min_size=1, max_size=300), st.data())
def test_packed_ids_behave_like_a_sequence(some: list[Key], data: st.DataObject) -> None:
    packed = Packed.from_ids(some)
    at = data.draw(st.integers(-len(some), len(some) - 1))
    begin, stop = data.draw(st.integers(-5, 305)), data.draw(st.integers(-5, 305))
    assert (list(packed), len(packed), packed[at]) == (some, len(some), some[at])
    assert (packed[begin:stop], packed[::-1]) == (some[begin:stop], some[::-1])
    assert packed == some
    assert packed != some[1:]
    assert pickle.loads(pickle.dumps(packed)) == some
    places = data.draw(st.lists(st.integers(0, len(some) - 1), max_size=20))
    assert keys_at(packed, places) == [some[place] for place in places]


def test_beyond_the_last_id_there_is_none() -> None:
    packed = Packed.from_ids(["a"])
    for at in (1, -2):
        with pytest.raises(IndexError, match=f"{at} of 1 ids"):
            packed[at]


@pytest.mark.skipif(not native.AVAILABLE, reason="nothing was compiled here")
def test_more_ids_than_the_first_table_holds_are_found_again() -> None:
    ids, many = Ids(), Packed.from_ids([f"prompt {number}" for number in range(20_000)])
    for begin in range(0, 20_000, 137):
        part = Packed.from_ids(many[begin : begin + 137])
        assert np.array_equal(ids.places(part), np.arange(begin, begin + len(part)))
    assert np.array_equal(ids.find(many), np.arange(20_000))
    assert ids.all().texts == many.texts


@pytest.mark.skipif(not native.AVAILABLE, reason="nothing was compiled here")
@pytest.mark.parametrize("ends", [[3], [2, 1], [-1], [1, 2**40]])
def test_ends_beyond_the_texts_are_refused(ends: list[int]) -> None:
    with pytest.raises(ValueError, match="expected the end of each text"):
        native.ids.Table().places(b"1,", np.array(ends, dtype=np.int64))


@pytest.mark.skipif(not native.AVAILABLE, reason="nothing was compiled here")
@pytest.mark.parametrize(
    "ends", [np.array([2.0]), np.array([2], dtype=np.int32), np.array([2], dtype=">i8"), b"\2" * 8]
)
def test_ends_of_another_type_are_refused(ends: Any) -> None:
    with pytest.raises(TypeError, match="ends: expected an array of int64"):
        native.ids.Table().places(b"1,", ends)


@pytest.mark.skipif(not native.AVAILABLE, reason="nothing was compiled here")
def test_an_empty_text_is_a_text() -> None:
    table, ends = native.ids.Table(), np.zeros(2, dtype=np.int64)
    assert np.frombuffer(table.places(b"", ends), dtype=np.int64).tolist() == [0, 0]
    assert (table.texts(), len(table)) == ((b"", bytes(8)), 1)


@pytest.mark.skipif(not native.AVAILABLE, reason="nothing was compiled here")
def test_a_table_in_use_by_another_thread_is_refused_or_complete() -> None:
    many, table = Packed.from_ids(range(200_000)), native.ids.Table()
    whole = {(b"", b""), (many.texts, many.ends.tobytes())}
    with ThreadPoolExecutor(1) as pool:
        adding = pool.submit(table.places, many.texts, many.ends)
        while not adding.done():
            with contextlib.suppress(RuntimeError):
                assert table.texts() in whole
    assert table.texts() == (many.texts, many.ends.tobytes())
