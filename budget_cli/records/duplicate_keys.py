"""A block's lines → which of them have a key twice in one object, which every other reading leaves to the last of them.

Slow, as it builds every object once more: only for those who ask.
"""

import json
from collections.abc import Iterator
from typing import Any


def find_duplicate_keys(data: bytes) -> Iterator[tuple[int, list[str]]]:
    """(line, counted from 1; the keys that occur more than once in an object of it), for every line that has one."""
    repeated: list[str] = []

    def noted(pairs: list[tuple[str, Any]]) -> None:
        keys = [key for key, _ in pairs]
        if len(set(keys)) < len(keys):
            repeated.extend(dict.fromkeys(key for key in keys if keys.count(key) > 1))

    decoder = json.JSONDecoder(object_pairs_hook=noted, parse_int=len, parse_float=len)
    for number, line in enumerate(data.split(b"\n"), start=1):
        if line.count(b'"') < 4:  # no two keys
            continue
        repeated.clear()
        try:
            decoder.decode(line.decode())
        except (ValueError, RecursionError):  # the record is rejected for it
            continue
        if repeated:
            yield number, list(dict.fromkeys(repeated))
