"""If this fails, a key that occurs twice goes unnoticed, or one that occurs once is reported."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budget_cli.records import diagnosis

LINES: list[tuple[bytes, list[str]]] = [
    (b'{"a": 1, "b": 2}', []),
    (b'{"a": 1, "b": 2, "a": 1}', ["a"]),
    (b'{"a": {"a": 1}, "b": [{"a": 1}, {"a": 2}]}', []),
    (b'{"b": [{"a": 1, "a": 2}], "c": {"d": 1, "d": 2, "d": 3}}', ["a", "d"]),
    (rb'{"a": 1, "\u0061": 2}', ["a"]),  # the same key, written otherwise
    (b'{"a": 1, "A": 2, "a ": 3}', []),
    (b'{"a": "\\"a\\": 1", "b": ""}', []),
    (b'{"a": 1' + b"0" * 5000 + b', "a": 1e999}', ["a"]),
    (b'{"a": ' + b"[" * 1000 + b"]" * 1000 + b', "a": 1}', ["a"]),
    (b'{"a": ' + b'{"b":' * 1000 + b'{"c":1,"c":2}' + b"}" * 1000 + b"}", ["c"]),
    (b'{"' + b'a":1,"' * 40_000 + b'a":1}', ["a"]),
    (b"{" + b",".join(b'"%d":1' % n for n in (*range(40_000), 7)) + b"}", ["7"]),  # was quadratic: 30 s
    (b'{"a": NaN, "a": 2}', ["a"]),  # --ignore-unneeded may use it
    (b'{"a": 1, "a": 2}}', []),
    (b'}{"a": 1, "a": 2}', []),
    (b'{"\\": 1, "\\\\": 2, "\\"": 3}', []),
    (b'{"a": 1, "a": 2', []),  # no record
    (b'{"a": 1, "a": "\xff"}', []),
    (b"[" * 5000 + b"]" * 5000, []),
    (b"", []),
]


names = st.sampled_from(['"a"', '"b"', '"\\u0061"', '":"', '"\\":"', '""'])
values = st.recursive(
    st.sampled_from(["1", "null", '":"', '"a\\": 1"', '" , "', '": a"', "1e999", '"\\\\"']),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda members: f"[{', '.join(members)}]")
        | st.lists(st.tuples(names, st.sampled_from([":", " : "]), inner), max_size=4).map(
            lambda members: f"{{{','.join(map(''.join, members))}}}"
        )
    ),
    max_leaves=8,
)


def repeats(text: str) -> list[str]:
    """Return the keys that an object repeats, from all of its pairs."""
    found: list[str] = []

    def note(pairs: list[tuple[str, object]]) -> None:
        keys = [key for key, _ in pairs]
        found.extend(key for key in keys if keys.count(key) > 1)

    json.loads(text, object_pairs_hook=note)
    return found


@given(values)
def test_a_key_is_repeated_where_the_pairs_of_an_object_repeat_it(text: str) -> None:
    found = [key for _, keys in diagnosis.find_duplicate_keys(text.encode()) for key in keys]
    assert sorted(found) == sorted(set(repeats(text)))


@pytest.mark.parametrize(("line", "keys"), LINES)
def test_the_repeated_keys_of_an_object_are_named(line: bytes, keys: list[str]) -> None:
    expected = [(1, keys), (3, keys)] if keys else []
    assert list(diagnosis.find_duplicate_keys(line + b'\n{"x": 1}\n' + line)) == expected
