"""Prompt ids → their places among the distinct ones, first seen first. Knows nothing of prompts.

An id is a string or an integer; 1 and "1" are two. Many of them are kept packed, as JSON texts one after the other:
what the compiled reader finds in a block then goes through a scan without a Python object for each.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import overload

import numpy as np
import orjson
from numpy.typing import NDArray

from budget_cli import native

Key = str | int
Places = NDArray[np.intp]

AT_ONCE = 1 << 13  # ids turned into Python's at a time


class Packed(Sequence[Key]):
    """Distinct ids, each as the JSON that orjson writes of it and a comma; one is Python's when it is asked for."""

    def __init__(self, texts: bytes, ends: NDArray[np.int64]) -> None:
        self.texts = texts
        self.ends = ends  # of each id, its comma included, in bytes

    @classmethod
    def of(cls, ids: Sequence[Key]) -> "Packed":
        """These ids, packed."""
        if isinstance(ids, cls):
            return ids
        texts = [_text(key) for key in ids]
        return cls(b"".join(texts), np.cumsum([len(text) for text in texts], dtype=np.int64))

    @classmethod
    def joined(cls, parts: Sequence["Packed"]) -> "Packed":
        """The ids of these parts, one after the other."""
        before = np.cumsum([0, *(len(part.texts) for part in parts)])
        ends = [part.ends + at for part, at in zip(parts, before.tolist(), strict=False)]
        return cls(b"".join(part.texts for part in parts), np.concatenate([np.zeros(0, dtype=np.int64), *ends]))

    def cut(self) -> Iterator[bytes]:
        """The JSON of each id, and its comma."""
        return _cut(self.texts, self.ends)

    def __len__(self) -> int:
        return self.ends.size

    @overload
    def __getitem__(self, at: int) -> Key: ...
    @overload
    def __getitem__(self, at: slice) -> list[Key]: ...
    def __getitem__(self, at: int | slice) -> Key | list[Key]:
        begin, stop, step = (at if isinstance(at, slice) else slice(at, at + 1 or None)).indices(len(self))
        if begin >= stop or step != 1:
            if isinstance(at, slice):
                return list(self)[at]
            raise IndexError(f"{at} of {len(self)} ids")
        first = int(self.ends[begin - 1]) if begin else 0
        found = _ids(self.texts[first : int(self.ends[stop - 1]) - 1])
        return found if isinstance(at, slice) else found[0]

    def __iter__(self) -> Iterator[Key]:
        for begin in range(0, len(self), AT_ONCE):
            yield from self[begin : begin + AT_ONCE]

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, list | Packed) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # as of a list


def picked(ids: Sequence[Key], places: Sequence[int]) -> list[Key]:
    """The ids at these places."""
    if len(places) > len(ids) // 8:  # cheaper to turn all of them into Python's than each alone
        ids = list(ids)
    return [ids[place] for place in places]


def taken(ids: Packed, places: Places) -> Packed:
    """The ids at these places, packed as well."""
    texts, sizes = np.frombuffer(ids.texts, dtype=np.uint8), np.diff(ids.ends, prepend=0)
    found = []
    for begin in range(0, places.size, AT_ONCE):
        at = places[begin : begin + AT_ONCE]
        ends = np.cumsum(sizes[at])
        of_byte = np.repeat(ids.ends[at] - ends, sizes[at])  # how far before it in the texts
        found.append(texts[of_byte + np.arange(of_byte.size)].tobytes())
    return Packed(b"".join(found), np.cumsum(sizes[places]))


def _text(key: Key) -> bytes:
    try:
        return orjson.dumps(key) + b","
    except TypeError:  # a file's name that is no Unicode text
        return json.dumps(key).encode() + b","


def _ids(texts: bytes) -> list[Key]:
    try:
        found: list[Key] = orjson.loads(b"[%b]" % texts)
    except orjson.JSONDecodeError:
        found = json.loads(b"[%b]" % texts)
    return found


class Ids:
    """Ids and their places; in compiled code where there is some."""

    def __init__(self) -> None:
        self._table = native.ids.Table() if native.AVAILABLE else PlainTable()

    def places(self, ids: Sequence[Key]) -> Places:
        """The place of each of these ids; an unknown one gets the next."""
        return self._looked_up(ids, self._table.places)

    def find(self, ids: Sequence[Key]) -> Places:
        """The place of each of these ids; -1 for an unknown one, which stays so."""
        return self._looked_up(ids, self._table.find)

    def _looked_up(self, ids: Sequence[Key], look_up: Callable[[bytes, NDArray[np.int64]], bytes]) -> Places:
        if isinstance(ids, Packed):
            return np.frombuffer(look_up(ids.texts, ids.ends), dtype=np.int64)
        distinct = dict.fromkeys(ids)
        packed = Packed.of(list(distinct))
        places = np.frombuffer(look_up(packed.texts, packed.ends), dtype=np.int64)
        if len(distinct) == len(ids):
            return places
        place = dict(zip(distinct, places.tolist(), strict=True))
        return np.fromiter(map(place.__getitem__, ids), dtype=np.intp, count=len(ids))

    def all(self) -> Packed:
        """The distinct ids, first seen first."""
        texts, ends = self._table.texts()
        return Packed(texts, np.frombuffer(ends, dtype=np.int64))

    def __len__(self) -> int:
        return len(self._table)


class PlainTable:
    """What `native/ids.c` does, in Python."""

    def __init__(self) -> None:
        self._places: defaultdict[bytes, int] = defaultdict()
        self._places.default_factory = self._places.__len__  # asked before the new text is in: its place is the next

    def places(self, texts: bytes, ends: NDArray[np.int64]) -> bytes:
        """The place of each text; an unknown one gets the next."""
        return np.array([self._places[text] for text in _cut(texts, ends)], dtype=np.int64).tobytes()

    def find(self, texts: bytes, ends: NDArray[np.int64]) -> bytes:
        """The same, -1 for an unknown one, which stays so."""
        return np.array([self._places.get(text, -1) for text in _cut(texts, ends)], dtype=np.int64).tobytes()

    def texts(self) -> tuple[bytes, bytes]:
        """The distinct texts, first seen first, and their ends."""
        return b"".join(self._places), np.cumsum([len(text) for text in self._places], dtype=np.int64).tobytes()

    def __len__(self) -> int:
        return len(self._places)


def _cut(texts: bytes, ends: NDArray[np.int64]) -> Iterator[bytes]:
    for begin, end in pairwise([0, *ends.tolist()]):
        yield texts[begin:end]
