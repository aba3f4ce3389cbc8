"""Prompt ids → their places among the distinct ids, in order of first occurrence. Knows nothing of prompts.

An id is a string or an integer; 1 and "1" are two ids. Many ids are kept packed, as concatenated JSON texts, so that
the ids that the compiled reader finds in a block pass through a scan without one Python object each.
"""

import re
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

PLAIN = re.compile(rb'(?:"[A-Za-z_][^"\\/,]*",)+')  # strings that begin with a letter, without escapes or separators
CHUNK = 1 << 13  # ids that are decoded at a time


class Packed(Sequence[Key]):
    """Distinct ids, each as the JSON that orjson writes, followed by a comma; decoded on access."""

    def __init__(self, texts: bytes, ends: NDArray[np.int64]) -> None:
        self.texts = texts
        self.ends = ends  # end of each id in `texts`, after its comma; bytes

    @classmethod
    def from_ids(cls, ids: Sequence[Key]) -> "Packed":
        """Pack these ids."""
        if isinstance(ids, cls):
            return ids
        if set(map(type, ids)) == {str}:
            whole = orjson.dumps(ids)[1:-1] + b","
            ends = np.cumsum(np.fromiter(map(len, ids), np.int64, len(ids)) + len('"",'))  # type: ignore[arg-type]
            if ends[-1] == len(whole):  # no escapes, and no character of several bytes
                return cls(whole, ends)
        texts = [_text(key) for key in ids]
        return cls(b"".join(texts), np.cumsum([len(text) for text in texts], dtype=np.int64))

    @classmethod
    def concatenate(cls, parts: Sequence["Packed"]) -> "Packed":
        """Concatenate the ids of these parts."""
        before = np.cumsum([0, *(len(part.texts) for part in parts)])
        ends = [part.ends + at for part, at in zip(parts, before.tolist(), strict=False)]
        return cls(b"".join(part.texts for part in parts), np.concatenate([np.zeros(0, dtype=np.int64), *ends]))

    def take(self, places: Places) -> "Packed":
        """Pack the ids at these places."""
        texts, sizes = np.frombuffer(self.texts, dtype=np.uint8), np.diff(self.ends, prepend=0)
        chunks = []
        for begin in range(0, places.size, CHUNK):
            at = places[begin : begin + CHUNK]
            ends = np.cumsum(sizes[at])
            offset = np.repeat(self.ends[at] - ends, sizes[at])  # of each byte, from the new texts to the old ones
            chunks.append(texts[offset + np.arange(offset.size)].tobytes())
        return Packed(b"".join(chunks), np.cumsum(sizes[places]))

    def with_prefix(self, prefix: bytes) -> "Packed | None":
        """Put text before each id; None unless all ids are strings that begin with a letter and need no escapes.

        Args:
            prefix: text that needs no escapes in JSON.
        """
        if not PLAIN.fullmatch(self.texts):
            return None
        texts = self.texts.replace(b',"', b',"' + prefix)
        counts = np.arange(1, len(self) + 1, dtype=np.int64)
        return Packed(texts[:1] + prefix + texts[1:], self.ends + len(prefix) * counts)

    def split(self) -> Iterator[bytes]:
        """Yield the JSON of each id, with its comma."""
        return _split(self.texts, self.ends)

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
        ids = _decoded(self.texts[first : int(self.ends[stop - 1]) - 1])
        return ids if isinstance(at, slice) else ids[0]

    def __iter__(self) -> Iterator[Key]:
        for begin in range(0, len(self), CHUNK):
            yield from self[begin : begin + CHUNK]

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, list | Packed) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # a sequence like a list, which has no hash either


def keys_at(ids: Sequence[Key], places: Sequence[int]) -> list[Key]:
    """Return the ids at these places."""
    if len(places) > len(ids) // 8:  # decoding all ids at once is cheaper than decoding each of these alone
        ids = list(ids)
    return [ids[place] for place in places]


def places_of_texts(texts: bytes | memoryview, ends: NDArray[np.int64]) -> Places:
    """Number these texts, whatever they mean, in order of first occurrence; `ends` has the end of each."""
    if native.AVAILABLE:
        return np.frombuffer(native.ids.Table().places(texts, ends), dtype=np.int64)
    return np.frombuffer(PlainTable().places(bytes(texts), ends), dtype=np.int64)


def _text(key: Key) -> bytes:
    return orjson.dumps(key) + b","


def _decoded(texts: bytes) -> list[Key]:
    ids: list[Key] = orjson.loads(b"[%b]" % texts)
    return ids


class Ids:
    """Distinct ids and their places, in a compiled table if there is one."""

    def __init__(self) -> None:
        self._table = native.ids.Table() if native.AVAILABLE else PlainTable()

    def places(self, ids: Sequence[Key]) -> Places:
        """Return the place of each of these ids; add the unknown ones."""
        return self._look_up(ids, self._table.places)

    def find(self, ids: Sequence[Key]) -> Places:
        """Return the place of each of these ids, or -1 if it is unknown; add none."""
        return self._look_up(ids, self._table.find)

    def _look_up(self, ids: Sequence[Key], places_of: Callable[[bytes, NDArray[np.int64]], bytes]) -> Places:
        if isinstance(ids, Packed):
            return np.frombuffer(places_of(ids.texts, ids.ends), dtype=np.int64)
        distinct = dict.fromkeys(ids)
        packed = Packed.from_ids(list(distinct))
        places = np.frombuffer(places_of(packed.texts, packed.ends), dtype=np.int64)
        if len(distinct) == len(ids):
            return places
        place = dict(zip(distinct, places.tolist(), strict=True))
        return np.fromiter(map(place.__getitem__, ids), dtype=np.intp, count=len(ids))

    def all(self) -> Packed:
        """Return the distinct ids in order of first occurrence."""
        texts, ends = self._table.texts()
        return Packed(texts, np.frombuffer(ends, dtype=np.int64))

    def __len__(self) -> int:
        return len(self._table)


class PlainTable:
    """The table of `native/ids.c`, in Python."""

    def __init__(self) -> None:
        self._places: defaultdict[bytes, int] = defaultdict()
        # called before a new text is added, when the length is the place that the text gets
        self._places.default_factory = self._places.__len__

    def places(self, texts: bytes, ends: NDArray[np.int64]) -> bytes:
        """Return the place of each text; add the unknown ones."""
        return np.array([self._places[text] for text in _split(texts, ends)], dtype=np.int64).tobytes()

    def find(self, texts: bytes, ends: NDArray[np.int64]) -> bytes:
        """Return the place of each text, or -1 if it is unknown; add none."""
        return np.array([self._places.get(text, -1) for text in _split(texts, ends)], dtype=np.int64).tobytes()

    def texts(self) -> tuple[bytes, bytes]:
        """Return the distinct texts in order of first occurrence, and their ends."""
        return b"".join(self._places), np.cumsum([len(text) for text in self._places], dtype=np.int64).tobytes()

    def __len__(self) -> int:
        return len(self._places)


def _split(texts: bytes, ends: NDArray[np.int64]) -> Iterator[bytes]:
    for begin, end in pairwise([0, *ends.tolist()]):
        yield texts[begin:end]
