"""If this fails, a key that occurs twice goes unnoticed, or one that occurs once is reported."""

import pytest

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


@pytest.mark.parametrize(("line", "keys"), LINES)
def test_the_repeated_keys_of_an_object_are_named(line: bytes, keys: list[str]) -> None:
    expected = [(1, keys), (3, keys)] if keys else []
    assert list(diagnosis.find_duplicate_keys(line + b'\n{"x": 1}\n' + line)) == expected
